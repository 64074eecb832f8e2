//! The client: invoking workflows on a worker, and the master's requests to it, over one blocking TCP connection each.
//!
//! A [`Client`] may have many requests in flight ([`Client::start`], [`Client::next_answer`]); threads that work side by
//! side have a connection each, and any of them may take back what is under way on one ([`Canceller`]). Whatever a worker sends is checked against a limit before memory is set aside, and
//! every error names the worker. Which worker to speak to is left to the caller: any one of a deployment will do.

mod answers;
mod cancel;
mod connection;
mod control;

pub use cancel::Canceller;
pub use control::ControlClient;

use answers::Answers;
use cancel::Outlet;
use connection::Connection;
use engine::greeting::{ClusterKey, GreetingError};
use engine::plan::Limits;
use engine::trace::PartTrace;
use engine::wire::{
    Body, CHUNK_BYTES_MAX, ChunkHead, Data, Failure, ITEM_ABSENT, ITEM_ALIGN, Invoke, NodeReport,
    Role, WireError, encode, padding,
};
use faasstore::descriptor::InvocationId;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How to reach workers.
#[derive(Clone, Debug)]
pub struct Options {
    /// The secret of the cluster.
    pub key: ClusterKey,
    /// Longest time from the first packet to the end of the greeting.
    pub connect_max: Duration,
    /// Longest silence of a worker that owes an answer; without it, for ever (but a minute where it owes the master a
    /// reply).
    pub silence_max: Option<Duration>,
    /// Longest payload that is sent or taken, in bytes.
    pub payload_bytes_max: u64,
}

impl Default for Options {
    /// No key, five seconds to connect, no limit to an answer's time, and payloads as [`Limits::default`] has them.
    fn default() -> Self {
        Self {
            key: ClusterKey::none(),
            connect_max: Duration::from_secs(5),
            silence_max: None,
            payload_bytes_max: Limits::default().payload_bytes_max,
        }
    }
}

/// What a client gives or gets under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Bytes, or the JSON text of a value.
    Bytes(Vec<u8>),
    /// The items of a list. One may be absent in what was gathered: it was skipped. A client gives them all.
    List(Vec<Option<Vec<u8>>>),
}

impl Payload {
    /// A list of which every item is there.
    #[must_use]
    pub fn list(items: Vec<Vec<u8>>) -> Self {
        Self::List(items.into_iter().map(Some).collect())
    }

    /// Bytes in all, without what separates items on the wire.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(items) => items.iter().flatten().map(|item| item.len() as u64).sum(),
        }
    }

    /// Whether there is not one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A request to run a workflow.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The workflow's name.
    pub workflow: &'a str,
    /// Its inputs by name.
    pub inputs: &'a [(String, Payload)],
    /// Whether the answer shall say what each node did.
    pub report: bool,
    /// Whether it shall say when each activation ran.
    pub trace: bool,
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The number that [`Client::start`] gave it.
    pub request: u64,
    /// The invocation's id; 0 if it was refused at the door.
    pub invocation: InvocationId,
    /// From the arrival of its inputs to its end at the worker, in nanoseconds.
    pub latency_ns: u64,
    /// The workflow's outputs by name, or why there are none.
    pub result: Result<Vec<(String, Payload)>, Failure>,
    /// If asked for: what each node did.
    pub report: Vec<NodeReport>,
    /// If asked for: when each activation ran, by worker, the one that was asked first. [`crate::trace`] puts them together.
    pub trace: Vec<PartTrace>,
}

/// Why a worker could not be spoken to. After an error the connection is of no more use.
#[derive(Debug, Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is none.
    #[error("{address} is no address of a worker: {source}")]
    #[diagnostic(help("write HOST:PORT, as the worker's --listen says"))]
    Address {
        /// As given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody there.
    #[error("cannot reach a worker at {address}: {source}")]
    #[diagnostic(help(
        "start it with `faasflow-worker --listen {address} …`, or correct --workers"
    ))]
    Connect {
        /// As given.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Too slow.
    #[error("worker {worker} did not answer within {waited:?}")]
    #[diagnostic(help("see its log, and whether the host is overloaded or cut off"))]
    Silent {
        /// Its name, once known, and its address.
        worker: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Somebody there, but no greeting came about.
    #[error("what answers at {address} is no worker that this program can speak to: {cause}")]
    #[diagnostic(help("is that the worker's address, and is the worker of the same release?"))]
    Stranger {
        /// As given.
        address: String,
        /// What went wrong.
        #[source]
        cause: Box<ClientError>,
    },
    /// The worker will not speak to this program.
    #[error("worker {worker} refused the connection: {reason}")]
    #[diagnostic(help("a wrong or missing --cluster-key-file is the usual cause"))]
    Refused {
        /// Its name and address.
        worker: String,
        /// As it says.
        reason: String,
    },
    /// The worker has not proved that it holds the key.
    #[error("the greeting with worker {worker} failed: {source}")]
    #[diagnostic(help("give this program the cluster key file that the worker was started with"))]
    Greeting {
        /// Its name and address.
        worker: String,
        /// Why.
        source: GreetingError,
    },
    /// The connection broke.
    #[error("the connection to worker {worker} was lost: {source}")]
    #[diagnostic(help(
        "the worker's log, or its end, says why; what was under way may or may not have happened"
    ))]
    Lost {
        /// Its name and address.
        worker: String,
        /// How.
        source: std::io::Error,
    },
    /// What came is no frame that may come.
    #[error("worker {worker} sent what cannot be read: {source}")]
    #[diagnostic(help("is it a FaaSFlow worker, of the same release?"))]
    Wire {
        /// Its name and address.
        worker: String,
        /// What is wrong.
        source: WireError,
    },
    /// Frames that are well made, but make no sense together.
    #[error("worker {worker} broke the protocol: {what}")]
    #[diagnostic(help("use programs of one release; otherwise this is a fault of the worker's"))]
    Protocol {
        /// Its name and address.
        worker: String,
        /// How.
        what: String,
    },
    /// A payload over the limit; nothing was sent.
    #[error("`{name}` has {bytes} bytes, above the limit of {limit} for one payload")]
    #[diagnostic(help("part it into several invocations"))]
    Payload {
        /// Which input.
        name: String,
        /// What it has.
        bytes: u64,
        /// What it may have.
        limit: u64,
    },
    /// An output that this process cannot take in.
    #[error("output `{name}` has {bytes} bytes, and this process has no memory for it")]
    #[diagnostic(help(
        "free memory, raise `ulimit -v`, or let the workflow give less; the invocation itself may have succeeded"
    ))]
    Memory {
        /// Which output.
        name: String,
        /// What it has.
        bytes: u64,
    },
    /// An invocation whose message would be too long; nothing was sent.
    #[error("the inputs together make a message of more than {limit} bytes")]
    #[diagnostic(help("pass fewer inputs, or lists of fewer items"))]
    Message {
        /// What it may have.
        limit: usize,
    },
    /// [`Canceller::cancel_all`] came first; nothing was sent, and the connection lives.
    #[error("it was cancelled before it was sent")]
    #[diagnostic(help("nothing of it was started"))]
    Cancelled,
    /// An answer was awaited that nobody owes.
    #[error("no request to worker {worker} is under way")]
    #[diagnostic(help("start one first: each is answered once"))]
    Idle {
        /// Its name and address.
        worker: String,
    },
}

/// A connection that invokes workflows.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    outlet: Arc<Outlet>,
    answers: Answers,
    next_request: u64,
    next_transfer: u64,
    payload_bytes_max: u64,
}

impl Client {
    /// Connects to a worker at `HOST:PORT`.
    ///
    /// # Errors
    /// If it cannot be reached or the greeting fails.
    pub fn connect(address: &str, options: &Options) -> Result<Self, ClientError> {
        let connection = Connection::open(address, Role::Client, options)?;
        let socket = Arc::clone(connection.socket());
        let outlet = Arc::new(Outlet::new(socket, connection.label()));
        Ok(Self {
            connection,
            answers: Answers::new(options.payload_bytes_max, Arc::clone(&outlet)),
            outlet,
            next_request: 1,
            next_transfer: 1,
            payload_bytes_max: options.payload_bytes_max,
        })
    }

    /// The worker's name, as it has proved it.
    #[must_use]
    pub fn worker(&self) -> &str {
        self.connection.worker_name()
    }

    /// What cancels requests of this client, from any thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::downgrade(&self.outlet))
    }

    /// Requests that have no answer yet, or one that [`Client::next_answer`] has not handed out.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.answers.outstanding()
    }

    /// Sends a request, and says which number its answer will have. Answers that arrive meanwhile are kept, so that a
    /// worker which sends while it is sent to can always go on.
    ///
    /// # Errors
    /// If an input is over the limit or all was cancelled (nothing was sent then, and the connection lives), or the
    /// connection is lost.
    pub fn start(&mut self, invocation: &Invocation<'_>) -> Result<u64, ClientError> {
        let (inputs, streams) = self.bodies(invocation.inputs)?;
        let request = self.next_request;
        let workflow = invocation.workflow.to_owned();
        let mut message = Vec::new();
        encode(
            &Invoke {
                request,
                workflow,
                inputs,
                report: invocation.report,
                trace: invocation.trace,
            },
            &mut message,
        );
        let limit = engine::wire::BODY_BYTES_MAX;
        if message.len() > limit {
            return Err(ClientError::Message { limit });
        }
        self.outlet.begin(request)?;
        self.next_request += 1;
        self.send(&[&message])?;
        for (transfer, bytes) in streams {
            for (index, raw) in bytes.chunks(CHUNK_BYTES_MAX).enumerate() {
                let head = ChunkHead {
                    transfer,
                    offset: (index * CHUNK_BYTES_MAX) as u64,
                };
                let zeros = [0; engine::wire::FRAME_ALIGN];
                let pad = &zeros[..padding(engine::wire::CHUNK_HEAD_BYTES + raw.len())];
                self.outlet.take_turn();
                self.send(&[&head.frame_start(raw), raw, pad])?;
            }
        }
        Ok(request)
    }

    /// Sends a frame, and what other threads have left to whoever has the turn, which it ends.
    fn send(&mut self, frame: &[&[u8]]) -> Result<(), ClientError> {
        let mut sent = self.connection.send(frame, &mut self.answers);
        while sent.is_ok()
            && let Some(frames) = self.outlet.end_turn()
        {
            sent = self.connection.send(&[&frames], &mut self.answers);
        }
        sent.inspect_err(|_| self.outlet.broke())
    }

    /// The next answer, in the order in which invocations end.
    ///
    /// # Errors
    /// If nothing is under way, or the worker is lost, silent, or sends nonsense.
    pub fn next_answer(&mut self) -> Result<Answered, ClientError> {
        loop {
            if let Some(answered) = self.answers.take() {
                return Ok(answered);
            }
            if self.answers.outstanding() == 0 {
                return Err(ClientError::Idle {
                    worker: self.connection.label().to_owned(),
                });
            }
            let received = self.connection.receive(&mut self.answers);
            received.inspect_err(|_| self.outlet.is_lost())?;
        }
    }

    /// Runs one invocation to its end.
    ///
    /// # Errors
    /// As [`Client::start`] and [`Client::next_answer`]. That an invocation failed is no error of this kind: see
    /// [`Answered::result`].
    ///
    /// # Panics
    /// If other requests are in flight: whose answer comes first cannot be said then.
    pub fn invoke(&mut self, invocation: &Invocation<'_>) -> Result<Answered, ClientError> {
        assert_eq!(
            self.in_flight(),
            0,
            "use start and next_answer for several requests at once"
        );
        self.start(invocation)?;
        self.next_answer()
    }

    /// The inputs as messages carry them, and what follows in chunks.
    #[expect(
        clippy::type_complexity,
        reason = "two lists of pairs, used in one place"
    )]
    fn bodies<'a>(
        &mut self,
        inputs: &'a [(String, Payload)],
    ) -> Result<(Vec<(String, Body)>, Vec<(u64, std::borrow::Cow<'a, [u8]>)>), ClientError> {
        let inline_max = Limits::default().inline_bytes_max as usize;
        let mut bodies = Vec::with_capacity(inputs.len());
        let mut streams = Vec::new();
        for (name, payload) in inputs {
            let (bytes, limit) = (payload.len(), self.payload_bytes_max);
            if bytes > limit {
                return Err(ClientError::Payload {
                    name: name.clone(),
                    bytes,
                    limit,
                });
            }
            let (items, bytes) = match payload {
                Payload::Bytes(bytes) => (None, std::borrow::Cow::Borrowed(bytes.as_slice())),
                Payload::List(items) => (
                    Some(items.iter().map(item_length).collect()),
                    joined(items).into(),
                ),
            };
            let data = if bytes.len() <= inline_max {
                Data::Inline(bytes.into_owned())
            } else {
                let transfer = self.next_transfer;
                self.next_transfer += 1;
                let length = bytes.len() as u64;
                streams.push((transfer, bytes));
                Data::Streamed {
                    transfer,
                    bytes: length,
                }
            };
            bodies.push((
                name.clone(),
                Body {
                    items,
                    section: None,
                    schema: 0,
                    data,
                },
            ));
        }
        Ok((bodies, streams))
    }
}

/// The length of an item on the wire.
fn item_length(item: &Option<Vec<u8>>) -> u64 {
    item.as_ref().map_or(ITEM_ABSENT, |item| item.len() as u64)
}

/// Items one behind the other, each padded.
fn joined(items: &[Option<Vec<u8>>]) -> Vec<u8> {
    let align = ITEM_ALIGN as usize;
    let mut bytes = Vec::with_capacity(
        items
            .iter()
            .flatten()
            .map(|item| item.len().next_multiple_of(align))
            .sum(),
    );
    for item in items.iter().flatten() {
        bytes.extend_from_slice(item);
        bytes.resize(bytes.len().next_multiple_of(align), 0);
    }
    bytes
}
