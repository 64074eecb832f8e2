//! How the command line names workers.

use crate::arguments::Key;
use crate::exit::Exit;
use engine::greeting::{ClusterKey, KeyError, WORKER_NAME_BYTES_MAX};
use engine::worker::config::{WORKER_NAME_SYNTAX, is_plain_name};
use engine::worker::quantities::parse_size;
use master::client::{ClientError, Options};
use master::deploy::{Cluster, DeployError};
use master::place::{DESCRIBED_CPUS_MAX, DESCRIBED_MEMORY_MIB_MAX, WorkerCapacity};
use miette::Diagnostic;
use thiserror::Error;

/// The cluster key file will not do.
#[derive(Debug, Error, Diagnostic)]
#[error("--cluster-key-file: {0}")]
#[diagnostic(help(
    "make one with `head -c 32 /dev/urandom > FILE` and `chmod 600 FILE`, and give every worker the same"
))]
struct KeyFileError(KeyError);

/// How to connect.
pub(crate) fn options(key: &Key) -> Result<Options, Exit> {
    let key = match &key.cluster_key_file {
        Some(path) => ClusterKey::load(path).map_err(|error| Exit::input(KeyFileError(error)))?,
        None => ClusterKey::none(),
    };
    Ok(Options {
        key,
        ..Options::default()
    })
}

/// What is wrong with workers that need not be there.
#[derive(Debug, Error, Diagnostic)]
enum DescriptionError {
    #[error("some of --workers are addresses and some are descriptions")]
    #[diagnostic(help("write HOST:PORT for all of them, or NAME:CPUS:MEMORY for all of them"))]
    Mixed,
    #[error(
        "--cluster-key-file has no effect: none of --workers is asked, since they are descriptions"
    )]
    #[diagnostic(help("take it away, or write HOST:PORT for each worker"))]
    Key,
    #[error("--cluster-key-file has no effect: no worker is asked, since --cluster describes them")]
    #[diagnostic(help("take it away, or give the addresses of the workers by --workers"))]
    KeyAlone,
    #[error("two of --workers are called {name}")]
    #[diagnostic(help("give each worker a name of its own"))]
    Twice { name: String },
    #[error("{text} describes no worker: {reason}")]
    #[diagnostic(help("write NAME:CPUS:MEMORY, as in a:4:8GiB"))]
    Form { text: String, reason: String },
}

/// The capacities of workers described as `NAME:CPUS:MEMORY`, which no key is needed for, or `None` if addresses are given.
pub(crate) fn described(
    workers: &[String],
    key: &Key,
) -> Result<Option<Vec<WorkerCapacity>>, Exit> {
    let descriptions = workers.iter().filter(|text| is_description(text)).count();
    if descriptions == 0 {
        return Ok(None);
    }
    if descriptions < workers.len() {
        return Err(Exit::input(DescriptionError::Mixed));
    }
    if key.cluster_key_file.is_some() {
        return Err(Exit::input(DescriptionError::Key));
    }
    let mut capacities: Vec<WorkerCapacity> = Vec::with_capacity(descriptions);
    for text in workers {
        let capacity = parse(text).map_err(|reason| {
            Exit::input(DescriptionError::Form {
                text: text.clone(),
                reason,
            })
        })?;
        if capacities.iter().any(|known| known.name == capacity.name) {
            return Err(Exit::input(DescriptionError::Twice {
                name: capacity.name,
            }));
        }
        capacities.push(capacity);
    }
    Ok(Some(capacities))
}

/// Nobody is at an address where a description could stand as well.
#[derive(Debug, Error, Diagnostic)]
#[error("{error}")]
#[diagnostic(help(
    "write HOST:PORT of a worker that runs (`faasflow-worker --listen HOST:PORT …`), or describe workers that need not be \
     there: NAME:CPUS:MEMORY, as in a:4:8GiB"
))]
struct NobodyThere {
    error: ClientError,
}

/// The workers that run at these addresses.
///
/// # Errors
/// As [`Cluster::connect`]; of what leads to no worker with both ways to name one.
pub(crate) fn asked(workers: &[String], key: &Key) -> Result<Cluster, Exit> {
    match Cluster::connect(workers, &options(key)?) {
        Ok(cluster) => Ok(cluster),
        Err(DeployError::Client(
            error @ (ClientError::Address { .. } | ClientError::Connect { .. }),
        )) => Err(Exit::input(NobodyThere { error })),
        Err(error) => Err(error.into()),
    }
}

/// That no key is given where no worker is asked.
///
/// # Errors
/// If one is.
pub(crate) fn unasked(key: &Key) -> Result<(), Exit> {
    match key.cluster_key_file {
        Some(_) => Err(Exit::input(DescriptionError::KeyAlone)),
        None => Ok(()),
    }
}

/// An address has one colon, or its host in brackets.
fn is_description(text: &str) -> bool {
    text.matches(':').count() == 2 && !text.starts_with('[')
}

fn parse(text: &str) -> Result<WorkerCapacity, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [name, cpus, memory] = parts[..] else {
        return Err("it has not three parts".to_owned());
    };
    if !is_plain_name(name, WORKER_NAME_BYTES_MAX) {
        return Err(format!("a worker's name has {WORKER_NAME_SYNTAX}"));
    }
    let cpus = match cpus.parse() {
        Ok(cpus) if (1..=DESCRIBED_CPUS_MAX).contains(&cpus) => cpus,
        _ => {
            return Err(format!(
                "`{cpus}` is no number of CPUs from 1 to {DESCRIBED_CPUS_MAX}"
            ));
        }
    };
    let memory_bytes = parse_size(memory).map_err(|error| error.to_string())?;
    if !(1..=DESCRIBED_MEMORY_MIB_MAX).contains(&(memory_bytes >> 20)) {
        return Err(format!("`{memory}` is no memory from 1MiB to 64TiB"));
    }
    Ok(WorkerCapacity::new(
        name,
        cpus,
        master::place::executor_memory_bytes(memory_bytes),
    ))
}
