//! The end of a measurement that echoes probes, and reads chunks to throw them away.

use super::framed::{Broken, Framed};
use crate::wire::{
    CHUNK_HEAD_BYTES, Echo, FrameKind, Header, MEASURED_BYTES_MAX, PROBE_FILL_BYTES, Probe,
    ROUND_TRIPS_MAX, WireError,
};

/// Probes of one measurement: its round trips, those that warm up, and two for each transfer.
const PROBES_MAX: u32 = ROUND_TRIPS_MAX + super::near::WARM_ROUND_TRIPS + 2 * u64::BITS;

/// Serves until the other end has closed. It holds one part of a chunk at a time.
///
/// # Errors
/// What the other end did that it may not, which it is told; or how it was lost.
pub(super) fn answer(framed: &mut Framed) -> Result<(), Broken> {
    let answered = serve(framed);
    if let Err(broken) = &answered {
        framed.refuse(broken);
    }
    answered
}

fn serve(framed: &mut Framed) -> Result<(), Broken> {
    let (mut received_bytes, mut probes) = (0, 0);
    while let Some(header) = framed.next()? {
        match header.kind {
            FrameKind::Probe => {
                let Probe { number, .. } = framed.body(&header)?;
                probes += 1;
                if probes > PROBES_MAX {
                    return Err(Broken::Protocol("more probes than a measurement has"));
                }
                framed.send(&Echo {
                    number,
                    received_bytes,
                    at_ns: framed.elapsed().as_nanos() as u64,
                    fill: [0; PROBE_FILL_BYTES],
                })?;
            }
            FrameKind::Chunk => received_bytes += chunk(framed, &header, received_bytes)?,
            other => return Err(WireError::Unexpected(other).into()),
        }
    }
    Ok(())
}

/// Takes a chunk; how many raw bytes it had.
fn chunk(framed: &mut Framed, header: &Header, received_bytes: u64) -> Result<u64, Broken> {
    // Its length is told before it comes: what is too much is never read.
    let bytes = header.length.saturating_sub(CHUNK_HEAD_BYTES) as u64;
    if received_bytes + bytes > MEASURED_BYTES_MAX {
        return Err(Broken::Protocol("more bytes than a measurement has"));
    }
    let head = framed.discard_chunk(header)?;
    if head.offset != received_bytes {
        return Err(Broken::Protocol("a chunk out of its turn"));
    }
    Ok(bytes)
}
