//! What a worker is told on its command line, and what of that can be had on this host.
//!
//! [`Arguments`] is what clap reads; [`Config`] is what came through every check that needs neither socket nor file
//! written. Nothing is started and nothing is changed here. Every error names the flag and says what would be right.

use crate::greeting::{ClusterKey, KeyError, WORKER_NAME_BYTES_MAX};
use crate::lane::setup::Patience;
use crate::status::ExecutorPlacement;
use crate::worker::host;
use crate::worker::quantities::{parse_cpus, parse_size, size_text};
use crate::worker::sharing::{FolderError, HostSharing, check_folder};
use clap::{Parser, ValueEnum};
use faasstore::binding::{PAYLOAD_BYTES_MAX, WaitStrategy};
use faasstore::segment::HugePages;
use faasstore::tier::{StoreUrl, StoreUrlError};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Least memory that a worker can do anything with: segments of rings and arenas are allocated in full.
pub const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// Disk that a worker spills to unless it is told otherwise.
const SPILL_BYTES_MAX: u64 = 16 << 30;
/// How long an activation may go on unless another limit is named: a day, which is also the longest `timeout_ms` of a node.
const LEASE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Name of the environment variable that stands for `--driver` where that is not given, so that a whole test suite
/// can run on either driver.
pub const DRIVER_VARIABLE: &str = "FAASFLOW_DRIVER";

/// Runs functions of FaaSFlow workflows on this host.
///
/// Prints `ready NAME ADDRESS` on standard output once it takes connections, and its log on standard error. SIGTERM
/// and SIGINT end it in good order. Exit codes: 0 after such an end, 1 if something failed while it ran, 2 if what it
/// was told cannot be done here.
#[derive(Parser, Debug, Clone)]
#[command(name = "faasflow-worker", version)]
pub struct Arguments {
    /// Address to take connections on, as HOST:PORT; port 0 takes a free one. Beyond loopback a key is needed
    #[arg(long, value_name = "ADDR")]
    pub listen: String,
    /// CPUs to use, as in `0-2,4`; lanes are pinned to the first ones
    #[arg(long, value_name = "LIST")]
    pub cpus: String,
    /// Memory for payloads, as in `512M` or `2GiB`: half for what arrives, half for executors to be reserved
    #[arg(long, value_name = "SIZE")]
    pub memory: String,
    /// Folder of the executables that workflows may name
    #[arg(long, value_name = "DIR")]
    pub functions: PathBuf,
    /// This worker's name, unique in its cluster [default: the host's name and the port]
    #[arg(long)]
    pub name: Option<String>,
    /// Where its restart epoch lives [default: $XDG_STATE_HOME/faasflow/NAME, or ~/.local/state/faasflow/NAME]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Disk space for payloads that memory has no room for, as in `64G`; 0 for none
    #[arg(long, value_name = "SIZE")]
    pub spill_max: Option<String>,
    /// Where they lie; a file system on a disk [default: spill, in the state folder]
    #[arg(long, value_name = "DIR")]
    pub spill_dir: Option<PathBuf>,
    /// A server that takes payloads too, as in redis://127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// How much of it this worker may use, as in `16G`
    #[arg(long, value_name = "SIZE", default_value = "64G")]
    pub store_max: String,
    /// How long a disk or store may take for an operation, on top of what its bytes take at 8 MiB/s
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub store_patience: u32,
    /// How lanes and executors wait for work
    #[arg(long, value_enum, default_value_t = Wait::Adaptive)]
    pub wait: Wait,
    /// Where executors run: on their lane's CPU, on the others, or the first of a pool where its wake is cheaper
    #[arg(long, value_enum, default_value_t = ExecutorPlacement::Auto)]
    pub executors: ExecutorPlacement,
    /// File of the key that all parties of the cluster hold; at least 16 bytes, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    pub cluster_key_file: Option<PathBuf>,
    /// Engine threads, each pinned to a CPU of its own
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub lanes: u8,
    /// How to do I/O; `auto` takes io_uring where it is allowed [default: $FAASFLOW_DRIVER, or auto]
    #[arg(long, value_enum)]
    pub driver: Option<DriverChoice>,
    /// With `--wait adaptive`, how long to poll before parking [default: what a wake costs here, as measured]
    #[arg(long, value_name = "MICROSECONDS")]
    pub spin_budget_us: Option<u32>,
    /// How long an executor beyond the first of its pool may be idle before it is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub keep_alive_s: u32,
    /// How long what runs may go on once it was told to stop, its invocation being over; then its executor is killed
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    pub grace_ms: u32,
    /// How long an activation may go on, and so hold the payloads that it reads; then it is told to stop, and has failed.
    /// 0: for ever
    #[arg(long, value_name = "MILLISECONDS", default_value_t = LEASE_MS_MAX)]
    pub lease_max_ms: u64,
    /// Invocations in flight that one lane takes from clients; beyond it they are refused
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub in_flight_max: u32,
    /// Largest payload, as in `64M`
    #[arg(long, value_name = "SIZE", default_value = "16G")]
    pub max_payload: String,
    /// Pages of 2 MiB for large segments: where the kernel allows transparent ones for shared memory, or from the pool as well
    #[arg(long, value_enum, default_value_t = HugePagesChoice::Auto)]
    pub huge_pages: HugePagesChoice,
    /// Clients that may be connected to one lane; beyond it they are refused
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub clients_max: u32,
    /// How often a lane says something to each peer, if there is nothing else to say
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    pub heartbeat_ms: u32,
    /// How long nothing may be heard of a peer before it is taken to be stopped or cut off
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 3000)]
    pub peer_silence_ms: u32,
    /// How long nothing may come of a message or payload that a client or peer has begun to send
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub transfer_idle_s: u32,
    /// Cover the bytes of payloads that are streamed to other workers by checksums of our own, beside TCP's
    #[arg(long)]
    pub checksum_payloads: bool,
    /// Share no memory with workers on this host: payloads travel over the network between them, too
    #[arg(long, conflicts_with = "host_sharing")]
    pub no_host_sharing: bool,
    /// Share memory with workers of this user that name the same folder, whichever network namespace they are in
    /// [default: with those in this network namespace]
    #[arg(long, value_name = "DIR")]
    pub host_sharing: Option<PathBuf>,
    /// End, as by SIGTERM, when standard input ends: for whoever starts a worker that must not outlive him
    #[arg(long)]
    pub end_with_stdin: bool,
}

/// How lanes and executors wait, as the command line has it.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Poll for ever: the lowest latency; takes the CPUs whole
    Spin,
    /// Poll for a moment, then sleep
    Adaptive,
    /// Sleep at once
    Park,
}

impl From<Wait> for WaitStrategy {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::Spin => Self::Spin,
            Wait::Adaptive => Self::Adaptive,
            Wait::Park => Self::Park,
        }
    }
}

/// Which huge pages the worker and its executors may take.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugePagesChoice {
    /// Transparent ones, where `shmem_enabled` allows them
    Auto,
    /// From the pool of `vm.nr_hugepages` while it has room, else as `auto`
    Reserved,
    /// None
    Never,
}

impl From<HugePagesChoice> for HugePages {
    fn from(choice: HugePagesChoice) -> Self {
        match choice {
            HugePagesChoice::Auto => Self::Auto,
            HugePagesChoice::Reserved => Self::Reserved,
            HugePagesChoice::Never => Self::Never,
        }
    }
}

/// Which driver is wanted.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriverChoice {
    /// io_uring where it is allowed, else epoll
    Auto,
    /// io_uring, or not start at all
    IoUring,
    /// epoll
    Epoll,
}

/// What a worker does, every part of it possible on this host as far as can be known without trying.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// CPUs to use, in the order named; never empty, each allowed.
    pub cpus: Vec<u32>,
    /// Bytes for payloads.
    pub memory_bytes: u64,
    /// A folder, as an absolute path.
    pub functions: PathBuf,
    /// As `check_name` allows.
    pub name: String,
    /// Where the restart epoch lives; may not exist yet.
    pub state_dir: PathBuf,
    /// Where payloads are spilled to.
    pub spill_dir: PathBuf,
    /// Bytes of disk for that; 0 if none are.
    pub spill_bytes_max: u64,
    /// Whether it was asked for.
    pub spill_required: bool,
    /// A remote store.
    pub store: Option<StoreUrl>,
    /// Bytes that may be kept there.
    pub store_bytes_max: u64,
    /// How long a disk or store may take for an operation, whatever its size.
    pub store_patience: Duration,
    /// How lanes and executors wait.
    pub wait: WaitStrategy,
    /// Where executors run.
    pub executors: ExecutorPlacement,
    /// The cluster's key.
    pub key: ClusterKey,
    /// At least 1, at most as many as `cpus`.
    pub lanes: u8,
    /// Which driver is wanted.
    pub driver: DriverChoice,
    /// How long to poll before parking, in nanoseconds, if it was said.
    pub spin_budget_ns: Option<u64>,
    /// How long an executor beyond the first of its pool may be idle.
    pub keep_alive: Duration,
    /// How long what was told to stop may go on.
    pub grace: Duration,
    /// How long an activation may go on; none: for ever.
    pub lease_max: Option<Duration>,
    /// Invocations in flight on one lane; at least 1.
    pub in_flight_max: u32,
    /// Bytes of one payload; at least 1.
    pub payload_bytes_max: u64,
    /// Which huge pages may be taken for segments.
    pub huge_pages: HugePages,
    /// Clients connected to one lane; at least 1.
    pub clients_max: u32,
    /// How long lanes wait for what others have to say.
    pub patience: Patience,
    /// Whether payloads that are streamed to other workers have checksums.
    pub checksum_payloads: bool,
    /// With whom on this host memory is shared.
    pub host_sharing: HostSharing,
    /// Whether to end when standard input does.
    pub end_with_stdin: bool,
}

/// What cannot be done of what a worker was told.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// An address that is none.
    #[error("--listen {given}: {reason}; write HOST:PORT, as in 127.0.0.1:7400")]
    Listen {
        /// As given.
        given: String,
        /// What is wrong.
        reason: String,
    },
    /// Open to the network, and no key.
    #[error(
        "--listen {address} takes connections from other hosts, so --cluster-key-file is needed: make a key with \
         `head -c 32 /dev/urandom > KEY; chmod 600 KEY`, or listen on 127.0.0.1"
    )]
    NoKey {
        /// Where.
        address: SocketAddr,
    },
    /// The key is not to be had.
    #[error("--cluster-key-file: {0}")]
    Key(#[from] KeyError),
    /// A folder that sockets cannot be in.
    #[error(transparent)]
    HostSharing(#[from] FolderError),
    /// A list that is none.
    #[error("--cpus {given}: {source}")]
    CpuList {
        /// As given.
        given: String,
        /// What is wrong.
        source: crate::worker::quantities::CpuListError,
    },
    /// No such CPU.
    #[error("--cpus: CPU {cpu} does not exist here; this process may use {allowed}")]
    CpuMissing {
        /// Which.
        cpu: u32,
        /// Those that may be used.
        allowed: String,
    },
    /// A CPU that others keep for themselves.
    #[error(
        "--cpus: CPU {cpu} exists, but this process may only use {allowed} (see its cpuset or taskset)"
    )]
    CpuForbidden {
        /// Which.
        cpu: u32,
        /// Those that may be used.
        allowed: String,
    },
    /// A size that is none.
    #[error("{flag}: {source}")]
    Size {
        /// Which flag.
        flag: &'static str,
        /// What is wrong.
        source: crate::worker::quantities::SizeError,
    },
    /// Less than anything needs.
    #[error("--memory {}: a worker needs at least {}", size_text(*.bytes), size_text(MEMORY_BYTES_MIN))]
    MemorySmall {
        /// As given.
        bytes: u64,
    },
    /// More than there is.
    #[error("--memory {}: {set_by} has {}", size_text(*.bytes), size_text(*.bound_bytes))]
    MemoryLarge {
        /// As given.
        bytes: u64,
        /// What there is.
        bound_bytes: u64,
        /// Who says so.
        set_by: String,
    },
    /// No such folder.
    #[error(
        "--functions {path}: {reason}; name the folder that holds the executables of your functions"
    )]
    Functions {
        /// As given.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A name that is none.
    #[error("--name {given:?}: a worker's name has {WORKER_NAME_SYNTAX}")]
    Name {
        /// As given.
        given: String,
    },
    /// No home to keep state in.
    #[error(
        "neither XDG_STATE_HOME nor HOME is set: say with --state-dir where to keep this worker's state"
    )]
    NoStateDir,
    /// Too many or none.
    #[error(
        "--lanes {lanes}: each lane needs a CPU of its own, and --cpus names {cpus}; take 1 to {cpus}"
    )]
    Lanes {
        /// As given.
        lanes: u8,
        /// How many CPUs there are.
        cpus: usize,
    },
    /// A number outside its bounds.
    #[error("{flag} {given}: take {min} to {max}")]
    Range {
        /// Which flag.
        flag: &'static str,
        /// As given.
        given: u64,
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// A URL that is none.
    #[error("--store {0}")]
    Store(#[from] StoreUrlError),
    /// The environment names a driver that there is not.
    #[error("{DRIVER_VARIABLE}={given}: take auto, io-uring or epoll")]
    DriverVariable {
        /// As given.
        given: String,
    },
}

impl Config {
    /// Checks what was given against this host.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the flag and says what would be right.
    pub fn check(arguments: Arguments) -> Result<Self, ConfigError> {
        let listen = resolve(&arguments.listen)?;
        let key = match &arguments.cluster_key_file {
            Some(path) => ClusterKey::load(path)?,
            None if listen.ip().is_loopback() => ClusterKey::none(),
            None => return Err(ConfigError::NoKey { address: listen }),
        };
        let cpus = check_cpus(&arguments.cpus, &host::allowed_cpus())?;
        let lanes = arguments.lanes;
        if lanes == 0 || usize::from(lanes) > cpus.len() {
            return Err(ConfigError::Lanes {
                lanes,
                cpus: cpus.len(),
            });
        }
        let name = match &arguments.name {
            Some(name) => check_name(name).map(|()| name.clone())?,
            None => default_name(listen.port()),
        };
        let state_dir = match &arguments.state_dir {
            Some(path) => path.clone(),
            None => default_state_dir(&name)?,
        };
        let payload_bytes_max = size("--max-payload", &arguments.max_payload)?;
        in_range("--max-payload", payload_bytes_max, 1, PAYLOAD_BYTES_MAX)?;
        in_range("--clients-max", arguments.clients_max.into(), 1, 1 << 20)?;
        in_range("--grace-ms", arguments.grace_ms.into(), 0, 3_600_000)?;
        in_range(
            "--lease-max-ms",
            arguments.lease_max_ms,
            0,
            31 * LEASE_MS_MAX,
        )?;
        in_range(
            "--in-flight-max",
            arguments.in_flight_max.into(),
            1,
            u32::MAX.into(),
        )?;
        let spill_bytes_max = match &arguments.spill_max {
            Some(given) => size_or_none("--spill-max", given)?,
            None => SPILL_BYTES_MAX,
        };
        in_range(
            "--store-patience",
            arguments.store_patience.into(),
            1,
            86_400,
        )?;
        let store = arguments.store.as_deref().map(StoreUrl::parse);
        Ok(Self {
            listen,
            cpus,
            memory_bytes: check_memory(size("--memory", &arguments.memory)?, host::memory_bound())?,
            functions: check_functions(&arguments.functions)?,
            name,
            spill_dir: arguments
                .spill_dir
                .clone()
                .unwrap_or_else(|| state_dir.join("spill")),
            spill_bytes_max,
            spill_required: arguments.spill_dir.is_some() || arguments.spill_max.is_some(),
            store: store.transpose()?,
            store_bytes_max: size("--store-max", &arguments.store_max)?,
            store_patience: Duration::from_secs(arguments.store_patience.into()),
            state_dir,
            wait: arguments.wait.into(),
            executors: arguments.executors,
            key,
            lanes,
            driver: match arguments.driver {
                Some(driver) => driver,
                None => driver_from_environment(std::env::var_os(DRIVER_VARIABLE))?,
            },
            spin_budget_ns: arguments.spin_budget_us.map(|us| u64::from(us) * 1000),
            keep_alive: Duration::from_secs(arguments.keep_alive_s.into()),
            grace: Duration::from_millis(arguments.grace_ms.into()),
            lease_max: (arguments.lease_max_ms > 0)
                .then(|| Duration::from_millis(arguments.lease_max_ms)),
            in_flight_max: arguments.in_flight_max,
            payload_bytes_max,
            huge_pages: arguments.huge_pages.into(),
            clients_max: arguments.clients_max,
            patience: check_patience(&arguments)?,
            checksum_payloads: arguments.checksum_payloads,
            host_sharing: match (&arguments.host_sharing, arguments.no_host_sharing) {
                (_, true) => HostSharing::Off,
                (None, false) => HostSharing::Namespace,
                (Some(folder), false) => HostSharing::Folder(check_folder(folder)?),
            },
            end_with_stdin: arguments.end_with_stdin,
        })
    }

    /// Bytes that the lanes' own arenas may take together: inputs of clients, payloads of peers, tables. What is left
    /// is for executors to be reserved. A payload that crosses workers lies once with its producer's executor and
    /// once with its receiver's lane, so both have a half.
    #[must_use]
    pub const fn lanes_bytes(&self) -> u64 {
        self.memory_bytes / 2
    }
}

fn resolve(given: &str) -> Result<SocketAddr, ConfigError> {
    let wrong = |reason: String| ConfigError::Listen {
        given: given.to_owned(),
        reason,
    };
    let mut addresses = given
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| wrong("the name has no address".to_owned()))
}

fn check_cpus(given: &str, allowed: &[u32]) -> Result<Vec<u32>, ConfigError> {
    let cpus = parse_cpus(given).map_err(|source| ConfigError::CpuList {
        given: given.to_owned(),
        source,
    })?;
    let allowed_text = || match allowed {
        [] => "none that the kernel names".to_owned(),
        [only] => format!("CPU {only}"),
        many => format!(
            "CPUs {}",
            many.iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(",")
        ),
    };
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        None => Ok(cpus),
        Some(&cpu) if host::cpu_exists(cpu) => Err(ConfigError::CpuForbidden {
            cpu,
            allowed: allowed_text(),
        }),
        Some(&cpu) => Err(ConfigError::CpuMissing {
            cpu,
            allowed: allowed_text(),
        }),
    }
}

fn size(flag: &'static str, given: &str) -> Result<u64, ConfigError> {
    parse_size(given).map_err(|source| ConfigError::Size { flag, source })
}

/// A size, or 0.
fn size_or_none(flag: &'static str, given: &str) -> Result<u64, ConfigError> {
    if given == "0" {
        return Ok(0);
    }
    size(flag, given)
}

fn in_range(flag: &'static str, given: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&given) {
        return Ok(());
    }
    Err(ConfigError::Range {
        flag,
        given,
        min,
        max,
    })
}

fn check_patience(arguments: &Arguments) -> Result<Patience, ConfigError> {
    let heartbeat_ms = u64::from(arguments.heartbeat_ms);
    let peer_silence_ms = u64::from(arguments.peer_silence_ms);
    let transfer_idle_s = u64::from(arguments.transfer_idle_s);
    in_range("--heartbeat-ms", heartbeat_ms, 10, 60_000)?;
    // One heartbeat may always be late.
    in_range(
        "--peer-silence-ms",
        peer_silence_ms,
        2 * heartbeat_ms,
        3_600_000,
    )?;
    in_range("--transfer-idle-s", transfer_idle_s, 1, 86_400)?;
    Ok(Patience {
        heartbeat: Duration::from_millis(heartbeat_ms),
        peer_silence: Duration::from_millis(peer_silence_ms),
        transfer_idle: Duration::from_secs(transfer_idle_s),
    })
}

fn check_memory(bytes: u64, bound: Option<host::MemoryBound>) -> Result<u64, ConfigError> {
    if bytes < MEMORY_BYTES_MIN {
        return Err(ConfigError::MemorySmall { bytes });
    }
    match bound {
        Some(bound) if bytes > bound.bytes => Err(ConfigError::MemoryLarge {
            bytes,
            bound_bytes: bound.bytes,
            set_by: bound.set_by,
        }),
        _ => Ok(bytes),
    }
}

fn check_functions(path: &Path) -> Result<PathBuf, ConfigError> {
    let wrong = |reason: String| ConfigError::Functions {
        path: path.to_owned(),
        reason,
    };
    let absolute = path
        .canonicalize()
        .map_err(|error| wrong(error.to_string()))?;
    let entries = std::fs::read_dir(&absolute).map_err(|error| wrong(error.to_string()));
    entries.map(|_| absolute)
}

/// What a worker's name has, in words: what [`is_plain_name`] allows within [`WORKER_NAME_BYTES_MAX`].
pub const WORKER_NAME_SYNTAX: &str =
    "1 to 64 letters, digits, `.`, `_` or `-`, and begins with a letter or digit";
const _: () = assert!(WORKER_NAME_BYTES_MAX == 64);

/// Whether a worker, an executable or the like may have this name: it becomes part of paths, messages and tables.
#[must_use]
pub fn is_plain_name(name: &str, bytes_max: usize) -> bool {
    name.len() <= bytes_max
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    if is_plain_name(name, WORKER_NAME_BYTES_MAX) {
        return Ok(());
    }
    Err(ConfigError::Name {
        given: name.to_owned(),
    })
}

/// The host's name without what no name may have, and the port unless the kernel is to choose it.
fn default_name(port: u16) -> String {
    let host = nix::sys::utsname::uname()
        .map_or_else(|_| String::new(), |u| u.nodename().to_string_lossy().into());
    let plain: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(48)
        .collect();
    let plain = plain.trim_start_matches('-');
    let host = if plain.is_empty() { "worker" } else { plain };
    if port == 0 {
        host.to_owned()
    } else {
        format!("{host}-{port}")
    }
}

fn default_state_dir(name: &str) -> Result<PathBuf, ConfigError> {
    let folder = |variable: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    state
        .map(|state| state.join("faasflow").join(name))
        .ok_or(ConfigError::NoStateDir)
}

fn driver_from_environment(value: Option<std::ffi::OsString>) -> Result<DriverChoice, ConfigError> {
    let Some(value) = value else {
        return Ok(DriverChoice::Auto);
    };
    let given = value.to_string_lossy().into_owned();
    DriverChoice::from_str(&given, true).map_err(|_| ConfigError::DriverVariable { given })
}

#[cfg(test)]
mod tests;
