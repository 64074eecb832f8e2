//! Answers, put together from their frames: a message, and the chunks of what it announced. No I/O.

use super::cancel::Outlet;
use super::connection::{FrameError, Receiver};
use super::{Answered, Payload};
use engine::wire::{
    Answer, Body, CHUNK_HEAD_BYTES, ChunkHead, Data, FrameKind, ITEM_ABSENT, ITEM_ALIGN, WireError,
    decode, padded_item,
};
use faasstore::descriptor::InvocationId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The answers that a connection owes, has begun to get, or has.
#[derive(Debug)]
pub(super) struct Answers {
    payload_bytes_max: u64,
    /// It knows the requests whose answer has not come.
    outlet: Arc<Outlet>,
    /// Answers whose chunks are still coming, by request.
    incomplete: HashMap<u64, Incomplete>,
    transfers: HashMap<u64, Transfer>,
    complete: VecDeque<Answered>,
}

#[derive(Debug)]
struct Incomplete {
    answer: Answer,
    transfers_left: usize,
}

#[derive(Debug)]
struct Transfer {
    request: u64,
    /// Which of the answer's outputs.
    output: usize,
    bytes: u64,
    arrived: Vec<u8>,
}

fn protocol<T>(what: impl Into<String>) -> Result<T, FrameError> {
    Err(FrameError::Protocol(what.into()))
}

impl Answers {
    pub(super) fn new(payload_bytes_max: u64, outlet: Arc<Outlet>) -> Self {
        Self {
            payload_bytes_max,
            outlet,
            incomplete: HashMap::new(),
            transfers: HashMap::new(),
            complete: VecDeque::new(),
        }
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outlet.outstanding() + self.incomplete.len() + self.complete.len()
    }

    pub(super) fn take(&mut self) -> Option<Answered> {
        self.complete.pop_front()
    }

    fn answer(&mut self, answer: Answer) -> Result<(), FrameError> {
        let request = answer.request;
        if !self.outlet.answered(request) {
            return protocol(format!(
                "an answer to request {request}, which is not under way"
            ));
        }
        let mut transfers_left = 0;
        for (output, (name, body)) in answer.result.iter().flatten().enumerate() {
            if matches!(body.data, Data::Lent { .. }) {
                return protocol(format!(
                    "output `{name}` is lent, which only workers can read"
                ));
            }
            let (Data::Streamed { bytes, .. }, limit) = (&body.data, self.payload_bytes_max) else {
                continue;
            };
            if *bytes > limit {
                return protocol(format!(
                    "output `{name}` of {bytes} bytes, above the limit of {limit}"
                ));
            }
            let Data::Streamed { transfer, bytes } = body.data else {
                continue;
            };
            if bytes == 0 {
                continue;
            }
            let begun = Transfer {
                request,
                output,
                bytes,
                arrived: Vec::new(),
            };
            if self.transfers.insert(transfer, begun).is_some() {
                return protocol(format!("transfer {transfer} was announced twice"));
            }
            transfers_left += 1;
        }
        if transfers_left == 0 {
            let answered = answered(answer)?;
            self.complete.push_back(answered);
        } else {
            self.incomplete.insert(
                request,
                Incomplete {
                    answer,
                    transfers_left,
                },
            );
        }
        Ok(())
    }

    fn chunk(&mut self, body: &[u8]) -> Result<(), FrameError> {
        let Some((head, raw)) = body.split_first_chunk::<CHUNK_HEAD_BYTES>() else {
            return protocol("a chunk without its head");
        };
        let ChunkHead {
            transfer: number,
            offset,
        } = ChunkHead::from_bytes(head);
        let Some(transfer) = self.transfers.get_mut(&number) else {
            return protocol(format!(
                "a chunk of transfer {number}, which was not announced"
            ));
        };
        let arrived = transfer.arrived.len() as u64;
        if offset != arrived || raw.len() as u64 > transfer.bytes - arrived {
            let (bytes, length) = (transfer.bytes, raw.len());
            return protocol(format!(
                "a chunk of {length} bytes at {offset} of transfer {number}, of which {arrived} of {bytes} have come"
            ));
        }
        transfer.arrived.extend_from_slice(raw);
        if (transfer.arrived.len() as u64) < transfer.bytes {
            return Ok(());
        }
        match self.transfers.remove(&number) {
            Some(transfer) => self.arrived(transfer),
            None => Ok(()),
        }
    }

    fn arrived(&mut self, transfer: Transfer) -> Result<(), FrameError> {
        let Some(incomplete) = self.incomplete.get_mut(&transfer.request) else {
            unreachable!("an answer stays until its transfers have arrived");
        };
        if let Ok(outputs) = &mut incomplete.answer.result {
            outputs[transfer.output].1.data = Data::Inline(transfer.arrived);
        }
        incomplete.transfers_left -= 1;
        if incomplete.transfers_left == 0
            && let Some(done) = self.incomplete.remove(&transfer.request)
        {
            self.complete.push_back(answered(done.answer)?);
        }
        Ok(())
    }
}

impl Receiver for Answers {
    fn frame(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), FrameError> {
        match kind {
            FrameKind::Answer => self.answer(decode(body)?),
            FrameKind::Chunk => self.chunk(body),
            other => Err(WireError::Unexpected(other).into()),
        }
    }
}

fn answered(answer: Answer) -> Result<Answered, FrameError> {
    let result = match answer.result {
        Ok(outputs) => {
            let outputs = outputs.into_iter().map(|(name, body)| {
                let payload = payload(&name, body)?;
                Ok((name, payload))
            });
            Ok(outputs.collect::<Result<_, FrameError>>()?)
        }
        Err(failure) => Err(failure),
    };
    Ok(Answered {
        request: answer.request,
        invocation: InvocationId(answer.invocation),
        latency_ns: answer.latency_ns,
        result,
        report: answer.report,
        trace: answer.trace,
    })
}

fn payload(name: &str, body: Body) -> Result<Payload, FrameError> {
    let bytes = match body.data {
        Data::Inline(bytes) => bytes,
        // Only a transfer of no bytes is still to come when an answer is complete, and nothing is lent to a client.
        Data::Streamed { .. } | Data::Lent { .. } => Vec::new(),
    };
    let Some(lengths) = body.items else {
        return Ok(Payload::Bytes(bytes));
    };
    let total = lengths
        .iter()
        .try_fold(0_u64, |sum, length| sum.checked_add(padded_item(*length)?));
    if total != Some(bytes.len() as u64) {
        return protocol(format!(
            "the {} items of `{name}` do not fill its {} bytes",
            lengths.len(),
            bytes.len()
        ));
    }
    let mut items = Vec::with_capacity(lengths.len());
    let mut rest = bytes.as_slice();
    for length in lengths {
        if length == ITEM_ABSENT {
            items.push(None);
            continue;
        }
        // The sum has just been found to be what there is.
        let (item, behind) = rest.split_at(length as usize);
        items.push(Some(item.to_vec()));
        rest = &behind[(length.next_multiple_of(ITEM_ALIGN) - length) as usize..];
    }
    Ok(Payload::List(items))
}
