//! A Redis server for the length of a benchmark: one that the caller names, or a child that ends with this program.

use super::leash::leashed;
use crate::partition::namespaces::Namespace;
use faasstore::tier::RedisUrl;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program.
const PROGRAM: &str = "redis-server";
/// How long it may take to listen, and the pause between two looks.
const LISTEN_MAX: Duration = Duration::from_secs(10);
const LISTEN_PAUSE: Duration = Duration::from_millis(5);
/// Ports that are tried: somebody else may take one before the server does.
const PORTS_MAX: u32 = 5;

/// A server that may be filled.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it is.
    pub(crate) url: RedisUrl,
    own: Option<Own>,
}

/// Where a server of our own listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home<'n> {
    /// The address.
    pub(crate) address: Ipv4Addr,
    /// In which namespace, if not in this one.
    pub(crate) network: Option<&'n Namespace>,
}

impl Home<'_> {
    /// On loopback.
    pub(crate) const HERE: Self = Self {
        address: Ipv4Addr::LOCALHOST,
        network: None,
    };

    fn run<T: Send>(&self, what: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        match self.network {
            Some(network) => network.run(what)?,
            None => what(),
        }
    }

    /// A port that nobody has at this moment.
    fn free_port(&self) -> io::Result<u16> {
        let address = (self.address, 0);
        self.run(move || Ok(TcpListener::bind(address)?.local_addr()?.port()))
    }
}

/// A child and its folder, which go in this order.
#[derive(Debug)]
struct Own {
    child: Child,
    folder: TempDir,
}

impl Drop for Own {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_installed() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(PROGRAM).is_file())
}

impl Server {
    /// The server of the caller, or one of our own.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn find(named: Option<&RedisUrl>) -> Result<Self, String> {
        match named {
            Some(url) => Ok(Self {
                url: url.clone(),
                own: None,
            }),
            None => Self::own(Home::HERE),
        }
    }

    /// One of our own, which listens there.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn own(home: Home<'_>) -> Result<Self, String> {
        if !is_installed() {
            return Err(format!(
                "{PROGRAM} is in no folder of PATH; install it (Debian's package redis-server), or name a server with --redis"
            ));
        }
        for _ in 0..PORTS_MAX {
            if let Some(server) =
                Self::start(home).map_err(|error| format!("{PROGRAM}: {error}"))?
            {
                return Ok(server);
            }
        }
        Err(format!(
            "{PROGRAM} does not start; run it by hand to see why, or name a server with --redis"
        ))
    }

    /// Starts one that keeps everything in memory; none if it ended before it listened.
    fn start(home: Home<'_>) -> io::Result<Option<Self>> {
        let (host, port) = (home.address.to_string(), home.free_port()?);
        let folder = tempfile::Builder::new()
            .prefix("faasflow-bench-")
            .tempdir()?;
        let mut command = leashed(PROGRAM, home.network);
        command.args(["--port", &port.to_string(), "--bind", &host]);
        // It would not listen to other addresses than loopback's otherwise; whoever reaches these may fill it.
        command.args(["--protected-mode", "no"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]);
        command.arg(folder.path()).stdin(Stdio::null());
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut own = Own { child, folder };
        let begun = Instant::now();
        while begun.elapsed() < LISTEN_MAX {
            if own.child.try_wait()?.is_some() {
                return Ok(None);
            }
            let address = (home.address, port);
            if home.run(move || TcpStream::connect(address)).is_ok() {
                return Ok(Some(Self {
                    url: RedisUrl {
                        host,
                        port,
                        database: 0,
                        user: None,
                        password: None,
                    },
                    own: Some(own),
                }));
            }
            thread::sleep(LISTEN_PAUSE);
        }
        Ok(None)
    }

    /// The folder of one of our own.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.path())
    }
}

/// How a client connects to a server, and logs in.
pub(crate) fn login(url: &RedisUrl) -> RedisResult<ConnectionInfo> {
    let mut login = RedisConnectionInfo::default().set_db(i64::from(url.database));
    if let Some(user) = &url.user {
        login = login.set_username(user);
    }
    if let Some(password) = &url.password {
        login = login.set_password(password);
    }
    let server = ConnectionAddr::Tcp(url.host.clone(), url.port).into_connection_info()?;
    let settings = TcpSettings::default().set_nodelay(true);
    Ok(server.set_redis_settings(login).set_tcp_settings(settings))
}
