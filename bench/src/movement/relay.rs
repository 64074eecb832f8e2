//! What makes a server that a caller names reachable from within network namespaces: connections that come to an address there
//! are led to the server, whose own network is that of this process.

use crate::partition::namespaces::Namespace;
use nix::sys::socket::{Shutdown as Ends, shutdown};
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;

/// Listens as long as it is there.
pub(super) struct Relay {
    listener: Arc<TcpListener>,
    /// Where.
    pub(super) port: u16,
}

impl Relay {
    /// Listens on an address of a namespace, for a server that is reached from here.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub(super) fn open(
        namespace: &Namespace,
        address: Ipv4Addr,
        server: (String, u16),
    ) -> io::Result<Self> {
        // A socket stays in the namespace that it was made in, whoever uses it.
        let listener = Arc::new(namespace.run(|| TcpListener::bind((address, 0)))??);
        let port = listener.local_addr()?.port();
        let accepting = Arc::clone(&listener);
        thread::spawn(move || {
            while let Ok((near, _)) = accepting.accept() {
                // One that cannot be led on sees its end at once.
                if let Ok(far) = TcpStream::connect((server.0.as_str(), server.1)) {
                    let _ = lead(near, far);
                }
            }
        });
        Ok(Self { listener, port })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Whoever waits there for the next one ends with that. It fails only if nobody listens any more.
        let _ = shutdown(self.listener.as_raw_fd(), Ends::Both);
    }
}

/// Copies both ways, until each has seen its end.
fn lead(near: TcpStream, far: TcpStream) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || {
            // However it ends, the other side is to hear of it.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn what_comes_is_led_to_the_server_and_back_until_the_relay_ends() {
        let Ok(namespace) = Namespace::new() else {
            println!("SKIPPED: network namespaces: they may not be made here; run as root");
            return;
        };
        if let Err(error) = namespace.tool("ip link set lo up") {
            println!("SKIPPED: network namespaces: {error}");
            return;
        }
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let there = server.local_addr().unwrap();
        let place = (there.ip().to_string(), there.port());
        let relay = Relay::open(&namespace, Ipv4Addr::LOCALHOST, place).unwrap();
        let address = (Ipv4Addr::LOCALHOST, relay.port);
        let connect = || namespace.run(|| TcpStream::connect(address)).unwrap();
        let mut client = connect().unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut served, _) = server.accept().unwrap();
        let mut question = String::new();
        served.read_to_string(&mut question).unwrap();
        served.write_all(b"answer").unwrap();
        drop(served);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        drop(relay);
        assert!(connect().is_err());
    }
}
