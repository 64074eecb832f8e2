//! Workers whose network is counted by the kernel.
//!
//! ```text
//! namespace of worker 1    [faasflow0 198.18.0.1]─┐
//! namespace of worker 2    [faasflow0 198.18.0.2]─┤
//! ...                                             ├─ bridge, in a namespace of its own
//! namespace of the store   [faasflow0 198.18.0.253]┤
//! namespace of the client  [faasflow0 198.18.0.254]┘
//! ```
//!
//! What workers and the store receive from each other is what all their interfaces have received, without what the client's has
//! sent: so every byte counts once, at the end that receives it, whichever store carries payloads. Packets are counted as the
//! kernel hands them over: up to 64 KiB with one header, where a wire would carry many small ones.

use super::MovementError;
use super::store::Store;
use crate::cpu;
use crate::partition::apart::Workers;
use crate::partition::check::client_options;
use crate::partition::interrupt::Folders;
use crate::partition::live::Live;
use crate::partition::namespaces::{INTERFACE, Namespace, NamespaceError};
use crate::report::memory_bytes;
use crate::session::{SessionError, apart_flags};
use engine::greeting::ClusterKey;
use engine::status::WorkerStatus;
use faasstore::tier::RedisUrl;
use master::client;
use master::deploy::Cluster;
use master::local::{self, LocalWorkers};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Most workers that the range of addresses has room for.
pub const WORKERS_MAX: u8 = 100;
/// The places of the store and of the client in the range.
const STORE: u8 = 253;
const CLIENT: u8 = 254;
/// The bridge.
const BRIDGE: &str = "faasflow-bridge";
/// Loopback.
const LOOPBACK: &str = "lo";
/// The interfaces that count, as the kernel tells of the namespace of the thread that reads.
const DEVICES: &str = "/proc/thread-self/net/dev";
/// Places of received and sent bytes in a line of it, behind the name.
const RECEIVED: usize = 0;
const SENT: usize = 8;
/// Flags of the workers: as many as there are share few CPUs, where polling takes the others' time, and silence means nothing.
const FLAGS: [&str; 2] = ["--wait=park", "--peer-silence-ms=60000"];
/// The part of this host's memory that each worker may have: what is reserved is not taken, and no workflow comes near it.
const MEMORY_PART: u64 = 2;
/// Least memory of a worker.
const MEMORY_BYTES_MIN: u64 = 1 << 30;
/// How long counters may take to come to rest after an answer, and the pause between two looks.
const SHOWN_PAUSE: Duration = Duration::from_millis(10);
const SHOWN_TRIES: u32 = 50;

/// What counts the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// An interface for each worker.
    Namespaces,
    /// The loopback interface, over which all else of this host goes too.
    Loopback,
}

impl Way {
    /// As rows name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Loopback => "loopback",
        }
    }
}

/// Bytes that have moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Moved {
    /// Received by workers and the store from each other, as the kernel counts; on loopback all that anybody has sent there.
    pub(super) network_bytes: u64,
    /// Received by lanes, as they count.
    pub(super) product_bytes: u64,
    /// Received and sent by the remote store, as it counts.
    pub(super) store_bytes: u64,
}

/// Running workers. Fields are dropped in their order: workers end before the store, and that before their network does.
pub(super) struct Site {
    live: Live,
    _apart: Option<Workers>,
    _here: Option<LocalWorkers>,
    /// Or why there is none.
    store: Result<Store, String>,
    /// None on loopback.
    net: Option<Net>,
}

/// Namespaces with a bridge between them.
struct Net {
    workers: Vec<Namespace>,
    store: Namespace,
    client: Namespace,
    _hub: Namespace,
}

impl Net {
    fn new(count: u8) -> Result<Self, NamespaceError> {
        let namespace = || Namespace::new().map_err(NamespaceError::Namespace);
        let hub = namespace()?;
        silence(&hub);
        hub.tool(&format!("ip link add {BRIDGE} type bridge"))?;
        hub.tool(&format!("ip link set {BRIDGE} up"))?;
        let joined = |number: u8| {
            let namespace = namespace()?;
            let (end, peer) = (format!("faasflow-{number}"), namespace.path());
            silence(&namespace);
            hub.tool(&format!(
                "ip link add {end} type veth peer name {INTERFACE} netns {peer}"
            ))?;
            hub.tool(&format!("ip link set {end} master {BRIDGE}"))?;
            hub.tool(&format!("ip link set {end} up"))?;
            let address = address(number);
            namespace.tool(&format!("ip address add {address}/24 dev {INTERFACE}"))?;
            namespace.tool("ip link set lo up")?;
            namespace.tool(&format!("ip link set {INTERFACE} up"))?;
            Ok(namespace)
        };
        let workers = (1..=count).map(joined);
        Ok(Self {
            workers: workers.collect::<Result<_, NamespaceError>>()?,
            store: joined(STORE)?,
            client: joined(CLIENT)?,
            _hub: hub,
        })
    }

    /// What the interfaces of workers and the store have received that the client's has not sent.
    fn received(&self) -> io::Result<u64> {
        let read = |namespace: &Namespace, place| namespace.run(|| counter(INTERFACE, place))?;
        let receivers = self.workers.iter().chain([&self.store]);
        let received = receivers.map(|receiver| read(receiver, RECEIVED));
        let received = received.sum::<io::Result<u64>>()?;
        Ok(received.saturating_sub(read(&self.client, SENT)?))
    }
}

/// Leaves IPv6 away: each interface would announce itself to all others, once it is up. A kernel without it refuses.
fn silence(namespace: &Namespace) {
    const SWITCH: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    let _ = namespace.run(|| std::fs::write(SWITCH, "1"));
}

/// Of a range that is for tests of this kind (RFC 2544).
const fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, number)
}

/// A count of an interface of this thread's namespace.
fn counter(interface: &str, place: usize) -> io::Result<u64> {
    let text = std::fs::read_to_string(DEVICES)?;
    let missing = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{DEVICES} has no such line"),
        )
    };
    count_of(&text, interface, place).ok_or_else(missing)
}

fn count_of(text: &str, interface: &str, place: usize) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, counts) = lines.find(|(name, _)| name.trim() == interface)?;
    counts.split_whitespace().nth(place)?.parse().ok()
}

fn worker_memory_bytes() -> u64 {
    let host_bytes = memory_bytes().unwrap_or(MEMORY_PART * MEMORY_BYTES_MIN);
    (host_bytes / MEMORY_PART).max(MEMORY_BYTES_MIN)
}

fn flags() -> Vec<String> {
    let own = FLAGS.map(str::to_owned);
    apart_flags().into_iter().chain(own).collect()
}

/// A CPU for each worker, over and over.
fn cpu_sets(workers: u8) -> Vec<String> {
    let cpus = cpu::allowed();
    let cpus = cpus.iter().cycle().take(workers.into());
    cpus.map(ToString::to_string).collect()
}

impl Site {
    /// Starts workers and a store: in namespaces, unless loopback is wanted or nothing else is permitted, which is told then.
    ///
    /// # Errors
    /// If workers do not start.
    pub(super) fn start(
        count: u8,
        loopback: bool,
        named: Option<&RedisUrl>,
        functions: &Path,
        folders: &Folders,
    ) -> Result<(Self, Option<(String, String)>), MovementError> {
        let mut told = None;
        let apart = if loopback {
            None
        } else {
            match Self::start_apart(count, named, functions, folders) {
                Ok(site) => Some(site),
                Err(NamespaceError::Session(error)) => return Err(error.into()),
                Err(error @ (NamespaceError::Namespace(_) | NamespaceError::Tool { .. })) => {
                    let what = format!("{count} workers in network namespaces");
                    told = Some((what, format!("{error}; they listen on loopback instead")));
                    None
                }
                Err(error) => return Err(error.into()),
            }
        };
        let site = match apart {
            Some(site) => site,
            None => Self::start_here(count, named, functions)?,
        };
        if let Some(folder) = site.store.as_ref().ok().and_then(Store::folder) {
            folders.add(folder);
        }
        Ok((site, told))
    }

    fn start_apart(
        count: u8,
        named: Option<&RedisUrl>,
        functions: &Path,
        folders: &Folders,
    ) -> Result<Self, NamespaceError> {
        let net = Net::new(count)?;
        let mut workers = Workers::new(functions, worker_memory_bytes(), flags(), folders)?;
        let numbered = (1..).map(address).zip(&net.workers);
        for ((address, namespace), cpus) in numbered.zip(cpu_sets(count)) {
            workers.start(namespace, &address.to_string(), &cpus)?;
        }
        let key = ClusterKey::load(&workers.key_file)?;
        Ok(Self {
            live: Live {
                addresses: workers.addresses(),
                options: client::Options {
                    key,
                    ..client_options()
                },
            },
            _apart: Some(workers),
            _here: None,
            store: Store::apart(&net.store, address(STORE), named),
            net: Some(net),
        })
    }

    fn start_here(
        count: u8,
        named: Option<&RedisUrl>,
        functions: &Path,
    ) -> Result<Self, SessionError> {
        let workers = LocalWorkers::start(&local::Options {
            workers: count.into(),
            functions: functions.to_owned(),
            wait: None,
            executors: None,
            cpu_sets: Some(cpu_sets(count)),
            memory_bytes: Some(worker_memory_bytes()),
            key_file: None,
            grace_ms: None,
            // Their flags say that they do not share memory.
            between: local::Between::Memory,
            flags: flags(),
        })?;
        Ok(Self {
            live: Live {
                addresses: workers.addresses(),
                options: client_options(),
            },
            _apart: None,
            _here: Some(workers),
            store: Store::here(named),
            net: None,
        })
    }

    /// Runs something where the workers can be reached.
    ///
    /// # Errors
    /// If the client's namespace cannot be entered.
    pub(super) fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> Result<T, MovementError> {
        match &self.net {
            Some(net) => {
                let ran = net.client.run(what);
                Ok(ran.map_err(NamespaceError::Namespace)?)
            }
            None => Ok(what()),
        }
    }

    /// What keeps payloads remotely, within [`Site::run`]; or why nothing does.
    pub(super) fn store(&self) -> Result<&Store, &str> {
        self.store.as_ref().map_err(String::as_str)
    }

    /// How they are reached, within [`Site::run`].
    pub(super) const fn live(&self) -> &Live {
        &self.live
    }

    /// How many they are.
    pub(super) fn workers(&self) -> usize {
        self.live.addresses.len()
    }

    /// What counts the bytes.
    pub(super) const fn way(&self) -> Way {
        match &self.net {
            Some(_) => Way::Namespaces,
            None => Way::Loopback,
        }
    }

    /// What has moved until now, once it has come to rest; within [`Site::run`]. Asking the workers goes over the network, too:
    /// so that comes first here, and last in [`Site::since`].
    ///
    /// # Errors
    /// If a counter cannot be read, or a worker is lost.
    pub(super) fn until_now(&self) -> Result<Moved, MovementError> {
        let product_bytes = at_rest(|| self.product_bytes())?;
        let network_bytes = at_rest(|| self.network_bytes())?;
        Ok(Moved {
            network_bytes,
            product_bytes,
            store_bytes: 0,
        })
    }

    /// What has moved since then, once it has come to rest; within [`Site::run`].
    ///
    /// # Errors
    /// As [`Site::until_now`].
    pub(super) fn since(&self, then: Moved) -> Result<Moved, MovementError> {
        let network_bytes = at_rest(|| self.network_bytes())?;
        let product_bytes = at_rest(|| self.product_bytes())?;
        Ok(Moved {
            network_bytes: network_bytes.saturating_sub(then.network_bytes),
            product_bytes: product_bytes.saturating_sub(then.product_bytes),
            store_bytes: 0,
        })
    }

    fn network_bytes(&self) -> Result<u64, MovementError> {
        let (interface, read) = match &self.net {
            Some(net) => (INTERFACE, net.received()),
            None => (LOOPBACK, counter(LOOPBACK, SENT)),
        };
        read.map_err(|error| MovementError::Counters { interface, error })
    }

    fn product_bytes(&self) -> Result<u64, MovementError> {
        let mut cluster = Cluster::connect(&self.live.addresses, &self.live.options)
            .map_err(SessionError::from)?;
        let statuses = cluster.status().map_err(SessionError::from)?;
        let mut bytes = 0;
        for status in statuses {
            let status: WorkerStatus =
                serde_json::from_value(status).map_err(SessionError::from)?;
            bytes += status.counters.get("bytes_in").copied().unwrap_or_default();
        }
        Ok(bytes)
    }
}

/// A count, once it is the same twice.
fn at_rest(read: impl Fn() -> Result<u64, MovementError>) -> Result<u64, MovementError> {
    let mut count = read()?;
    for _ in 0..SHOWN_TRIES {
        thread::sleep(SHOWN_PAUSE);
        let again = read()?;
        if again == count {
            break;
        }
        count = again;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Inter-|   Receive                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      101       1    0    0    0     0       0          0
faasflow0: 2000      21    0    0    0     0          0         0     3000      31    0    0    0     0       0          0
";

    #[test]
    fn counts_are_those_of_the_interface_that_is_named() {
        assert_eq!(count_of(TEXT, INTERFACE, RECEIVED), Some(2000));
        assert_eq!(count_of(TEXT, INTERFACE, SENT), Some(3000));
        assert_eq!(count_of(TEXT, LOOPBACK, SENT), Some(101));
        assert_eq!(count_of(TEXT, "eth0", SENT), None);
    }

    #[test]
    fn what_workers_and_the_store_send_each_other_counts_once_and_what_the_client_does_not_at_all()
    {
        use std::net::UdpSocket;
        let net = match Net::new(2) {
            Ok(net) => net,
            Err(error) => {
                println!("SKIPPED: a bridge between network namespaces: {error}");
                return;
            }
        };
        let socket = |namespace: &Namespace, number| {
            let bound = namespace.run(|| UdpSocket::bind((address(number), 4000)));
            bound.unwrap().unwrap()
        };
        let [first, second] = [0, 1].map(|at: u8| socket(&net.workers[usize::from(at)], at + 1));
        let (store, client) = (socket(&net.store, STORE), socket(&net.client, CLIENT));
        let send = |from: &UdpSocket, to: &UdpSocket, bytes: &[u8]| {
            from.send_to(bytes, to.local_addr().unwrap()).unwrap();
            to.recv_from(&mut [0; 2000]).unwrap();
        };
        let ways = [
            (&client, &second, false),
            (&client, &store, false),
            (&store, &client, false),
            (&first, &second, true),
            (&first, &store, true),
            (&store, &second, true),
        ];
        // Who is where must be known first: that is asked of everybody.
        for (from, to, _) in ways {
            send(from, to, &[1]);
            send(to, from, &[1]);
        }
        for (number, (from, to, counts)) in ways.into_iter().enumerate() {
            let before = net.received().unwrap();
            send(from, to, &[1; 1000]);
            let moved = net.received().unwrap() - before;
            let most = if counts { 1000..1500 } else { 0..500 };
            assert!(most.contains(&moved), "way {number}: {moved}");
        }
    }
}
