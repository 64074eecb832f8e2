//! A Redis server for the length of a benchmark: one that the caller names, or a child that ends with this program.

use super::leash::leashed;
use faasstore::tier::{RedisUrl, StoreUrl};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
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
pub(super) struct Server {
    /// Where it is.
    pub(super) url: RedisUrl,
    _own: Option<Own>,
}

/// A child and its folder, which go in this order.
#[derive(Debug)]
struct Own {
    child: Child,
    _folder: TempDir,
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
    pub(super) fn find(named: Option<&RedisUrl>) -> Result<Self, String> {
        if let Some(url) = named {
            return Ok(Self {
                url: url.clone(),
                _own: None,
            });
        }
        if !is_installed() {
            return Err(format!(
                "{PROGRAM} is in no folder of PATH; install it (Debian's package redis-server), or name a server with --redis"
            ));
        }
        for _ in 0..PORTS_MAX {
            if let Some(server) = Self::start().map_err(|error| format!("{PROGRAM}: {error}"))? {
                return Ok(server);
            }
        }
        Err(format!(
            "{PROGRAM} does not start; run it by hand to see why, or name a server with --redis"
        ))
    }

    /// Starts one that keeps everything in memory; none if it ended before it listened.
    fn start() -> std::io::Result<Option<Self>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let folder = tempfile::Builder::new()
            .prefix("faasflow-bench-")
            .tempdir()?;
        let mut command = leashed(PROGRAM);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]);
        command.arg(folder.path()).stdin(Stdio::null());
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut own = Own {
            child,
            _folder: folder,
        };
        let begun = Instant::now();
        while begun.elapsed() < LISTEN_MAX {
            if own.child.try_wait()?.is_some() {
                return Ok(None);
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                let url = StoreUrl::parse(&format!("redis://127.0.0.1:{port}"));
                let Ok(StoreUrl::Redis(url)) = url else {
                    unreachable!("it is a URL of Redis")
                };
                return Ok(Some(Self {
                    url,
                    _own: Some(own),
                }));
            }
            thread::sleep(LISTEN_PAUSE);
        }
        Ok(None)
    }
}
