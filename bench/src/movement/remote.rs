//! The store `remote-only`: functions that bring their payloads to a Redis server and from it by themselves, as those of the
//! published system do with its database. What goes from node to node are [`Key`]s.
//!
//! - [`Address`]: where the server is, as functions are told
//! - `through`: a definition of which all functions do so
//! - [`run`]: the function

use super::key::Key;
use crate::payload::server::login;
use faasstore::tier::RedisUrl;
use faasstore::{Call, Error, OutputWriter};
use master::import::{Draft, Feed, Work};
use redis::Connection;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::time::Duration;
use synthetic::{Carrier, Spot, payload};

/// The executable that has it.
pub(super) const EXECUTABLE: &str = "bench-functions";
/// The function, by which name `bench-functions` serves it.
pub const FUNCTION: &str = "remote";
/// The function that is replaced.
const REPLACED: &str = "synthetic:run";
/// The input that tells a function where the server is.
const ADDRESS: &str = "faasflow_bench_store";
/// How long the server may take to connect, and to answer.
const CONNECT_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long a payload stays if this program ends before it takes it away, in seconds.
const EXPIRY_S: u32 = 600;

/// Where the server is.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    database: u16,
    user: Option<String>,
    password: Option<String>,
}

impl From<&RedisUrl> for Address {
    fn from(url: &RedisUrl) -> Self {
        Self {
            host: url.host.clone(),
            port: url.port,
            database: url.database,
            user: url.user.clone(),
            password: url.password.clone(),
        }
    }
}

impl From<Address> for RedisUrl {
    fn from(address: Address) -> Self {
        Self {
            host: address.host,
            port: address.port,
            database: address.database,
            user: address.user,
            password: address.password,
        }
    }
}

/// Makes all synthetic functions bring their payloads to that server and from it.
pub(super) fn through(draft: &mut Draft, url: &RedisUrl) -> serde_json::Result<()> {
    let address = serde_json::to_value(Address::from(url))?;
    for node in &mut draft.nodes {
        if node.work == Work::Function(REPLACED.to_owned()) {
            node.work = Work::Function(format!("{EXECUTABLE}:{FUNCTION}"));
            let feed = Feed::Value(address.clone());
            node.inputs.push((ADDRESS.to_owned(), feed));
        }
    }
    Ok(())
}

/// A connection to a server.
///
/// # Errors
/// Those of the client.
pub(super) fn connect(url: &RedisUrl) -> redis::RedisResult<Connection> {
    let client = redis::Client::open(login(url)?)?;
    let connection = client.get_connection_with_timeout(CONNECT_MAX)?;
    connection.set_read_timeout(Some(ANSWER_MAX))?;
    connection.set_write_timeout(Some(ANSWER_MAX))?;
    Ok(connection)
}

/// Gets a payload, which is as long as its key says.
///
/// # Errors
/// If the server does not answer, or has something else.
pub(super) fn get(connection: &mut Connection, key: &Key) -> Result<Vec<u8>, Error> {
    let found: Option<Vec<u8>> = redis::cmd("GET").arg(&key.name).query(connection)?;
    let name = &key.name;
    let payload = found.ok_or_else(|| {
        Error::new(format!(
            "the store has no {name}: it has expired, or somebody else writes there"
        ))
    })?;
    if payload.len() != key.bytes {
        return Err(Error::new(format!(
            "{name} has {} bytes in the store, where {} were set",
            payload.len(),
            key.bytes
        )));
    }
    Ok(payload)
}

thread_local! {
    /// The connection of this executor, and to where.
    static CONNECTION: RefCell<Option<(RedisUrl, Connection)>> = const { RefCell::new(None) };
}

/// The synthetic function, with payloads that lie in Redis.
///
/// # Errors
/// As the synthetic function, and if the server cannot be reached or has something else than was set.
pub fn run(call: &mut Call<'_>) -> Result<(), Error> {
    let url: RedisUrl = call.value::<Address>(ADDRESS)?.into();
    let kept = CONNECTION.take().filter(|(known, _)| *known == url);
    let connection = match kept {
        Some((_, connection)) => connection,
        None => connect(&url)
            .map_err(|error| Error::new(format!("the store {url} cannot be reached: {error}")))?,
    };
    let mut carrier = Remote {
        connection,
        brought: Vec::new(),
    };
    // One that failed is not used again.
    synthetic::run_carried(call, &mut carrier)?;
    CONNECTION.set(Some((url, carrier.connection)));
    Ok(())
}

struct Remote {
    connection: Connection,
    /// The payload that was got last.
    brought: Vec<u8>,
}

impl Carrier for Remote {
    fn own_input(&self) -> Option<&'static str> {
        Some(ADDRESS)
    }

    fn bring<'p>(&'p mut self, input: &'p [u8]) -> Result<&'p [u8], Error> {
        let Some(key) = Key::parse(input) else {
            return Ok(input);
        };
        self.brought = get(&mut self.connection, &key)?;
        Ok(&self.brought)
    }

    fn take<'w>(
        &mut self,
        spot: &Spot<'_>,
        room: impl FnOnce(usize) -> Result<OutputWriter<'w>, Error>,
    ) -> Result<(), Error> {
        let mut content = vec![0; spot.bytes];
        payload::fill(&mut content, spot.seed);
        let key = Key::of(spot);
        let mut set = redis::cmd("SET");
        set.arg(&key.name).arg(&content).arg("EX").arg(EXPIRY_S);
        set.query::<()>(&mut self.connection)?;
        let key = key.to_string();
        let mut writer = room(key.len())?;
        writer.as_mut_slice().copy_from_slice(key.as_bytes());
        writer.commit(key.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faasstore::tier::StoreUrl;
    use master::import::Node;

    #[test]
    fn synthetic_functions_alone_are_replaced_and_told_where_the_server_is() {
        let Ok(StoreUrl::Redis(url)) = StoreUrl::parse("redis://me:secret@store:7000/3") else {
            panic!("it is a URL of Redis");
        };
        let works = [REPLACED, "other:run"].map(|name| Work::Function(name.to_owned()));
        let mut draft = Draft {
            nodes: works.map(|work| Node::new("n", work)).to_vec(),
            ..Draft::default()
        };
        through(&mut draft, &url).unwrap();
        let [replaced, other] = &draft.nodes[..] else {
            panic!("two nodes");
        };
        assert_eq!(
            replaced.work,
            Work::Function("bench-functions:remote".to_owned())
        );
        let [(name, Feed::Value(told))] = &replaced.inputs[..] else {
            panic!("{:?}", replaced.inputs);
        };
        assert_eq!(name, ADDRESS);
        let told: Address = serde_json::from_value(told.clone()).unwrap();
        assert_eq!(RedisUrl::from(told), url);
        assert_eq!(other.work, Work::Function("other:run".to_owned()));
        assert!(other.inputs.is_empty());
    }
}
