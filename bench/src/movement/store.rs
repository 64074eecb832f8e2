//! The Redis server of a site: as its functions and its client reach it, and what the client asks of it.

use super::MovementError;
use super::key::{Key, PREFIX};
use super::relay::Relay;
use super::remote::{connect, get};
use crate::partition::namespaces::Namespace;
use crate::payload::server::{Home, Server};
use faasstore::tier::RedisUrl;
use master::client::Payload;
use redis::Connection;
use std::net::{Ipv4Addr, ToSocketAddrs};
use std::path::Path;
use synthetic::payload;

/// Keys that are looked through, and taken away, at once.
const KEYS_AT_ONCE: u32 = 1000;

/// A server, or what leads to one.
pub(super) struct Store {
    /// Where functions and the client reach it.
    pub(super) url: RedisUrl,
    server: Option<Server>,
    _relay: Option<Relay>,
}

impl Store {
    /// In a namespace, at an address there: a server of our own, or a relay to the one that was named.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn apart(
        namespace: &Namespace,
        address: Ipv4Addr,
        named: Option<&RedisUrl>,
    ) -> Result<Self, String> {
        let Some(named) = named else {
            return Server::own(Home {
                address,
                network: Some(namespace),
            })
            .map(Self::of);
        };
        let server = (named.host.clone(), named.port);
        let relay = Relay::open(namespace, address, server)
            .map_err(|error| format!("no relay to {named} can listen: {error}"))?;
        let url = RedisUrl {
            host: address.to_string(),
            port: relay.port,
            ..named.clone()
        };
        Ok(Self {
            url,
            server: None,
            _relay: Some(relay),
        })
    }

    /// On loopback: the one that was named, if it is there, or a server of our own.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn here(named: Option<&RedisUrl>) -> Result<Self, String> {
        match named {
            Some(url) if !is_here(url) => Err(not_here(url)),
            named => Server::find(named).map(Self::of),
        }
    }

    fn of(server: Server) -> Self {
        Self {
            url: server.url.clone(),
            server: Some(server),
            _relay: None,
        }
    }

    /// The folder of a server of our own.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.server.as_ref().and_then(Server::folder)
    }

    /// A client of it.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub(super) fn client(&self) -> Result<StoreClient, MovementError> {
        StoreClient::connect(&self.url)
    }
}

/// Whether a server listens on loopback, as far as its name says.
fn is_here(url: &RedisUrl) -> bool {
    let addresses = (url.host.as_str(), url.port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| addresses.all(|address| address.ip().is_loopback()))
}

fn not_here(url: &RedisUrl) -> String {
    format!(
        "what goes to {url} does not pass the loopback interface, which is what counts; name a server there, or leave --redis away"
    )
}

/// Tells, before anything is started, whether the server that a caller names can be used.
///
/// # Errors
/// If it does not answer, or bytes are to be counted on loopback and would not pass there.
pub(super) fn ask(named: &RedisUrl, loopback: bool) -> Result<(), MovementError> {
    if loopback && !is_here(named) {
        return Err(MovementError::NotHere(not_here(named)));
    }
    let mut client = StoreClient::connect(named)?;
    let asked = redis::cmd("PING").query::<()>(&mut client.connection);
    asked.map_err(|error| client.failed(&error))
}

/// What the benchmark asks of the server: it is no function, and what it moves does not count.
pub(super) struct StoreClient {
    url: RedisUrl,
    connection: Connection,
}

impl StoreClient {
    fn connect(url: &RedisUrl) -> Result<Self, MovementError> {
        match connect(url) {
            Ok(connection) => Ok(Self {
                url: url.clone(),
                connection,
            }),
            Err(error) => Err(failed(url, &error)),
        }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> MovementError {
        failed(&self.url, why)
    }

    /// Bytes that the server has received and sent, as it counts; those of this question are in the next answer.
    ///
    /// # Errors
    /// If it does not answer, or does not say so.
    pub(super) fn traffic(&mut self) -> Result<Traffic, MovementError> {
        let mut info = redis::cmd("INFO");
        let told = info.arg("stats").query::<String>(&mut self.connection);
        let told = told.map_err(|error| self.failed(&error))?;
        let count = |name: &str| -> Option<u64> {
            let mut lines = told.lines().filter_map(|line| line.split_once(':'));
            let (_, count) = lines.find(|(known, _)| *known == name)?;
            count.trim().parse().ok()
        };
        let counts = count("total_net_input_bytes").zip(count("total_net_output_bytes"));
        let (received, sent) =
            counts.ok_or_else(|| self.failed(&"it does not tell what it has received and sent"))?;
        Ok(Traffic {
            bytes: received + sent,
            told_bytes: told.len() as u64,
        })
    }

    /// Bytes of what a workflow gave, keys being followed and what they lead to checked.
    ///
    /// # Errors
    /// If a payload is not there, or is damaged.
    pub(super) fn output_bytes(
        &mut self,
        outputs: &[(String, Payload)],
    ) -> Result<u64, MovementError> {
        let payloads = outputs.iter().flat_map(|(_, payload)| match payload {
            Payload::Bytes(bytes) => vec![bytes],
            Payload::List(items) => items.iter().flatten().collect(),
        });
        let mut sum = 0;
        for given in payloads {
            sum += self.length(given)?;
        }
        Ok(sum)
    }

    fn length(&mut self, given: &[u8]) -> Result<u64, MovementError> {
        let Some(key) = Key::parse(given) else {
            return Ok(given.len() as u64);
        };
        let found = get(&mut self.connection, &key).map_err(|error| self.failed(&error))?;
        payload::check(&found).map_err(|damage| self.failed(&format!("{}: {damage}", key.name)))?;
        Ok(found.len() as u64)
    }

    /// Takes all payloads away.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(super) fn clear(&mut self) -> Result<(), MovementError> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{PREFIX}*"));
            scan.arg("COUNT").arg(KEYS_AT_ONCE);
            let found = scan.query::<(u64, Vec<String>)>(&mut self.connection);
            let (next, names) = found.map_err(|error| self.failed(&error))?;
            if !names.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                let gone = unlink.arg(names).query::<()>(&mut self.connection);
                gone.map_err(|error| self.failed(&error))?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

fn failed(url: &RedisUrl, why: &dyn std::fmt::Display) -> MovementError {
    MovementError::Store {
        url: url.to_string(),
        why: why.to_string(),
    }
}

/// What a server says that it has received and sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    bytes: u64,
    /// Bytes of the answer that said so.
    told_bytes: u64,
}

impl Traffic {
    /// What came since then, without the answer that told of it.
    pub(super) const fn since(self, then: Self) -> u64 {
        self.bytes
            .saturating_sub(then.bytes)
            .saturating_sub(then.told_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasstore::tier::StoreUrl;

    fn url(text: &str) -> RedisUrl {
        match StoreUrl::parse(text) {
            Ok(StoreUrl::Redis(url)) => url,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_listens_on_loopback_is_counted_there() {
        assert!(is_here(&url("redis://127.0.0.1:7000")));
        assert!(is_here(&url("redis://[::1]:7000")));
        assert!(!is_here(&url("redis://198.18.0.7:7000")));
        let refused = ask(&url("redis://198.18.0.7:7000"), true).unwrap_err();
        assert!(refused.to_string().contains("loopback"), "{refused}");
    }

    #[test]
    fn a_server_tells_what_moved_and_gives_up_what_was_set() {
        let store = match Store::here(None) {
            Ok(store) => store,
            Err(why) => {
                println!("SKIPPED: a Redis server: {why}");
                return;
            }
        };
        let mut client = store.client().unwrap();
        let before = client.traffic().unwrap();
        let mut content = vec![0; 100_000];
        payload::fill(&mut content, 7);
        let key = Key {
            name: format!("{PREFIX}key"),
            bytes: content.len(),
        };
        let mut other = connect(&store.url).unwrap();
        let mut set = |name: &str| {
            let mut set = redis::cmd("SET");
            set.arg(name).arg(&content).query::<()>(&mut other).unwrap();
        };
        set(&key.name);
        set("of somebody else");
        let output = Payload::Bytes(key.to_string().into_bytes());
        let given = [("o".to_owned(), output)];
        assert_eq!(client.output_bytes(&given).unwrap(), 100_000);
        let moved = client.traffic().unwrap().since(before);
        assert!((300_000..301_000).contains(&moved), "{moved}");
        client.clear().unwrap();
        let left = redis::cmd("KEYS").arg("*").query::<Vec<String>>(&mut other);
        assert_eq!(left.unwrap(), ["of somebody else"]);
        let missing = client.output_bytes(&given).unwrap_err().to_string();
        assert!(missing.contains("the store has no"), "{missing}");
    }
}
