//! An engine for one executor: a real process, its real socket and rings, and no scheduling.

use faasstore::Cancelled;
use faasstore::arena::{Arena, ArenaConfig};
use faasstore::binding::{
    ABI_VERSION, Announce, Announced, Hello, Kind, NodeBinding, Port, WORKER_PID_VARIABLE,
    WaitStrategy, Welcome,
};
use faasstore::channel::EngineChannel;
use faasstore::descriptor::{
    Activate, ArenaRange, Completion, InvocationId, Message, NO_ITEM, OutputRef, PayloadRef,
    RoomAnswer, TABLE_ENTRY_BYTES, decode_completion, encode_activate, encode_release, encode_room,
};
use faasstore::segment::{HugePages, SegmentReader};
use faasstore::socket::{Received, Socket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::HashMap;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing here takes long; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Of the executor's arena.
pub(crate) const SEGMENT_BYTES: u64 = 256 << 10;
/// Of the executor's arena.
pub(crate) const ARENA_BYTES_MAX: u64 = 4 * SEGMENT_BYTES;

/// The example executable, which cargo builds with the tests.
pub(crate) fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/functions");
    assert!(
        path.exists(),
        "{} is missing: run `cargo test -p faasstore`, which builds it",
        path.display()
    );
    path
}

/// The nodes by which the tests use the example's functions.
pub(crate) fn nodes() -> Vec<NodeBinding> {
    use Kind::{Bytes, List, Value};
    let ports = |ports: &[(&str, Kind)]| -> Vec<Port> {
        ports
            .iter()
            .map(|&(name, kind)| Port {
                name: name.to_owned(),
                kind,
            })
            .collect()
    };
    let numbered = |prefix: &str| -> Vec<Port> {
        (0..9)
            .map(|index| Port {
                name: format!("{prefix}{index}"),
                kind: Bytes,
            })
            .collect()
    };
    let one = || ports(&[("it", Bytes)]);
    let nodes = [
        ("upper", one(), one()),
        ("area", one(), one()),
        ("sleep", one(), one()),
        (
            "split",
            ports(&[("text", Bytes)]),
            ports(&[("lines", List)]),
        ),
        (
            "join",
            ports(&[("parts", List)]),
            ports(&[("whole", Bytes)]),
        ),
        (
            "count",
            ports(&[("to", Value)]),
            ports(&[("lines", Bytes), ("even", Value)]),
        ),
        (
            "assort",
            ports(&[("parts", List)]),
            ports(&[("items", List)]),
        ),
        ("reverse", numbered("in"), numbered("out")),
        (
            "which",
            ports(&[("a", Bytes), ("b", Bytes)]),
            ports(&[("chosen", Bytes)]),
        ),
        ("describe", vec![], ports(&[("text", Bytes)])),
        (
            "fail",
            ports(&[("way", Bytes)]),
            ports(&[("first", Bytes), ("second", Bytes)]),
        ),
        ("wait", one(), one()),
        ("burn", one(), one()),
        (
            "walk",
            ports(&[("parts", List)]),
            ports(&[("whole", Bytes)]),
        ),
        (
            "backwards",
            ports(&[("parts", List)]),
            ports(&[("whole", Bytes)]),
        ),
        ("keep", ports(&[("parts", List)]), ports(&[("items", List)])),
        (
            "measure",
            ports(&[("shapes", List)]),
            ports(&[("areas", List)]),
        ),
    ];
    (10..)
        .zip(nodes)
        .map(|(node, (name, inputs, outputs))| NodeBinding {
            node,
            name: format!("the-{name}"),
            function: name.to_owned(),
            arguments: Vec::new(),
            inputs,
            outputs,
            maxima: Vec::new(),
        })
        .collect()
}

pub(crate) struct Engine {
    pub(crate) child: Child,
    /// What it writes to standard error, when it has ended.
    pub(crate) log: Option<JoinHandle<String>>,
    pub(crate) channel: EngineChannel,
    pub(crate) socket: Socket,
    bell: EventFd,
    wait: WaitStrategy,
    /// Inputs lie here, as what came from the network does in a lane.
    pub(crate) arena: Arena,
    outputs: HashMap<(u32, u32), SegmentReader>,
    nodes: Vec<NodeBinding>,
    activation: u32,
    /// Whether completions are to say what was taken of CPUs.
    pub(crate) measures: bool,
}

/// Reads what a child writes to standard error until it ends: a pipe that nobody reads would stop it.
fn read_log(child: &mut Child) -> JoinHandle<String> {
    let mut stderr = child.stderr.take().unwrap();
    std::thread::spawn(move || {
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        log
    })
}

/// A process that has been welcomed, and its answer.
pub(crate) struct Greeted {
    pub(crate) child: Child,
    log: JoinHandle<String>,
    pub(crate) socket: Socket,
    pub(crate) hello: Received<Hello>,
    bell: EventFd,
    half: Arc<faasstore::segment::SegmentWriter>,
}

pub(crate) fn greet(wait: WaitStrategy, nodes: Vec<NodeBinding>) -> Greeted {
    greet_one_of(&executable(), wait, nodes)
}

fn greet_one_of(executable: &Path, wait: WaitStrategy, nodes: Vec<NodeBinding>) -> Greeted {
    let (socket, theirs) = Socket::pair().unwrap();
    let mut child = Command::new(executable)
        .env(WORKER_PID_VARIABLE, std::process::id().to_string())
        .stdin(Stdio::from(theirs.into_fd()))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = read_log(&mut child);
    let half = Arc::new(EngineChannel::create_segment().unwrap());
    let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
    let welcome = Welcome {
        abi_version: ABI_VERSION,
        worker: "hal".to_owned(),
        workflow: "odyssey".to_owned(),
        cpus: vec![0],
        wait,
        spin_budget_ns: 50_000,
        segment_bytes: SEGMENT_BYTES,
        arena_bytes_max: ARENA_BYTES_MAX,
        huge_pages: HugePages::Auto,
        nodes,
    };
    socket
        .send(&welcome, &[half.fd(), bell.as_fd()], PATIENCE)
        .unwrap();
    let hello = socket.receive::<Hello>(PATIENCE).unwrap();
    Greeted {
        child,
        log,
        socket,
        hello,
        bell,
        half,
    }
}

impl Engine {
    pub(crate) fn start(wait: WaitStrategy) -> Self {
        Self::start_one_of(&executable(), wait, nodes())
    }

    /// Starts another executable than the example, for these nodes.
    pub(crate) fn start_one_of(
        executable: &Path,
        wait: WaitStrategy,
        nodes: Vec<NodeBinding>,
    ) -> Self {
        let Greeted {
            child,
            log,
            socket,
            hello,
            bell,
            half,
        } = greet_one_of(executable, wait, nodes.clone());
        assert_eq!(hello.message.abi_version, ABI_VERSION);
        assert_eq!(hello.message.refusal, None);
        let [their_half]: [OwnedFd; 1] = hello.descriptors.try_into().unwrap();
        let channel =
            EngineChannel::connect(half, SegmentReader::open(their_half).unwrap(), wait).unwrap();
        let config = ArenaConfig {
            name: "inputs".to_owned(),
            segment_bytes: 64 << 10,
            bytes_max: 16 << 20,
        };
        let arena = Arena::new(config);
        Self {
            child,
            log: Some(log),
            channel,
            socket,
            bell,
            wait,
            arena,
            outputs: HashMap::new(),
            nodes,
            activation: 0,
            measures: false,
        }
    }

    pub(crate) fn push(&mut self, message: &Message) {
        self.channel.push(message).unwrap();
        self.channel.ring_bell();
    }

    /// A payload in a segment of the engine's, announced if it is new.
    pub(crate) fn payload(&mut self, bytes: &[u8]) -> PayloadRef {
        if bytes.is_empty() {
            return PayloadRef::EMPTY;
        }
        let reservation = self.arena.reserve(bytes.len() as u64).unwrap();
        self.arena.bytes_mut(&reservation)[..bytes.len()].copy_from_slice(bytes);
        let ArenaRange {
            segment,
            generation,
            offset,
            length,
        } = self.arena.commit(reservation, bytes.len() as u64);
        for new in self.arena.new_segments() {
            let segments = vec![Announced {
                segment: new.index,
                generation: new.generation,
            }];
            let announce = Announce { segments };
            self.socket
                .send(&announce, &[new.segment.fd()], PATIENCE)
                .unwrap();
        }
        PayloadRef {
            segment,
            generation,
            offset,
            length,
        }
    }

    pub(crate) fn table(&mut self, entries: &[PayloadRef]) -> PayloadRef {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| entry.to_words())
            .flat_map(u64::to_le_bytes)
            .collect();
        self.payload(&bytes)
    }

    pub(crate) fn list(&mut self, items: &[&[u8]]) -> PayloadRef {
        let items: Vec<_> = items.iter().map(|item| self.payload(item)).collect();
        self.table(&items)
    }

    /// Asks for a node by its name, or that of its function.
    pub(crate) fn activate(&mut self, name: &str, inputs: &[PayloadRef]) -> u32 {
        let node = self
            .nodes
            .iter()
            .find(|node| [&node.function, &node.name].contains(&&name.to_owned()))
            .unwrap()
            .node;
        self.activation += 1;
        let activate = Activate {
            node,
            attempt: 3,
            invocation: InvocationId::new(0xabc, 1, 2, 3),
            activation: self.activation,
            item: NO_ITEM,
            deadline_ns: Some(u64::MAX),
            measure: self.measures,
        };
        let message = if inputs.len() > 7 {
            let table = self.table(inputs);
            Message::written(|message| encode_activate(message, &activate, &[table], true))
        } else {
            Message::written(|message| encode_activate(message, &activate, inputs, false))
        };
        self.push(&message);
        self.activation
    }

    /// Answers the last activation, which waits for room.
    pub(crate) fn answer_full(&mut self, answer: RoomAnswer) {
        let activation = self.activation;
        self.push(&Message::written(|message| {
            encode_room(message, activation, answer)
        }));
    }

    /// The number of its last activation.
    pub(crate) fn last(&self) -> u32 {
        self.activation
    }

    /// Tells it that the last activation is to stop, which fails then; with what text. As a lane does, it takes the word
    /// back.
    pub(crate) fn stop(&mut self, why: Cancelled) -> String {
        self.channel.tell(self.activation, why);
        let failure = self.failure();
        self.channel.take_back();
        failure
    }

    /// The text with which the last activation fails.
    pub(crate) fn failure(&mut self) -> String {
        let (mut completion, _) = self.completion();
        while let Completion::Retire {
            segment,
            generation,
        } = completion
        {
            self.outputs.remove(&(segment, generation));
            (completion, _) = self.completion();
        }
        let Completion::Failed {
            activation,
            message,
            ..
        } = completion
        else {
            panic!("it has not failed: {completion:?}");
        };
        assert_eq!(activation, self.activation);
        let text = String::from_utf8(self.bytes(&message)).unwrap();
        self.release(&[message]);
        text
    }

    /// The next completion with its outputs, waiting as a lane would.
    pub(crate) fn completion(&mut self) -> (Completion, Vec<OutputRef>) {
        let (mut message, mut outputs) = (Message::default(), Vec::new());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.channel.pop(&mut message).unwrap() {
                let completion = decode_completion(&message, &mut outputs).unwrap();
                return (completion, outputs);
            }
            if self.wait == WaitStrategy::Spin {
                assert!(Instant::now() < deadline, "the executor does not answer");
                std::hint::spin_loop();
                continue;
            }
            self.channel.set_parked(true);
            if !self.channel.has_completion() {
                let timeout = PollTimeout::try_from(PATIENCE).unwrap();
                let woken = poll(
                    &mut [PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)],
                    timeout,
                )
                .unwrap();
                assert_eq!(woken, 1, "the executor did not ring");
                self.bell.read().unwrap();
            }
            self.channel.set_parked(false);
        }
    }

    /// Runs a function; its outputs, or its failure as code and text.
    pub(crate) fn call(
        &mut self,
        function: &str,
        inputs: &[PayloadRef],
    ) -> Result<Vec<OutputRef>, String> {
        let asked = self.activate(function, inputs);
        let (mut completion, mut outputs) = self.completion();
        loop {
            match completion {
                Completion::Retire {
                    segment,
                    generation,
                } => drop(self.outputs.remove(&(segment, generation))),
                // Nothing of what it has made comes back as long as it runs.
                Completion::Full(_) => self.answer_full(RoomAnswer::Never),
                _ => break,
            }
            (completion, outputs) = self.completion();
        }
        match completion {
            Completion::Done {
                activation, table, ..
            } => {
                assert_eq!(activation, asked);
                if !table {
                    return Ok(outputs);
                }
                let entries = self.items(&outputs[0]);
                self.release(&outputs);
                Ok(entries)
            }
            Completion::Failed {
                activation,
                code,
                message,
            } => {
                assert_eq!(activation, asked);
                let text = String::from_utf8(self.bytes(&message)).unwrap();
                self.release(&[message]);
                Err(format!("{code:?}: {text}"))
            }
            other @ (Completion::Retire { .. } | Completion::Want(_) | Completion::Full(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn own(&mut self, range: &ArenaRange) -> &[u8] {
        let key = (range.segment, range.generation);
        while !self.outputs.contains_key(&key) {
            let Received {
                message,
                descriptors,
            } = self.socket.receive::<Announce>(PATIENCE).unwrap();
            for (segment, descriptor) in message.segments.iter().zip(descriptors) {
                let reader = SegmentReader::open(descriptor).unwrap();
                self.outputs
                    .insert((segment.segment, segment.generation), reader);
            }
        }
        self.outputs[&key].read(range.offset, range.length).unwrap()
    }

    /// The bytes of an output that is no alias.
    pub(crate) fn bytes(&mut self, output: &OutputRef) -> Vec<u8> {
        match output {
            OutputRef::Empty => Vec::new(),
            OutputRef::Own(range) => self.own(range).to_vec(),
            OutputRef::Alias { .. } => panic!("an alias: {output:?}"),
        }
    }

    /// The entries of a list output.
    pub(crate) fn items(&mut self, output: &OutputRef) -> Vec<OutputRef> {
        let table = self.bytes(output);
        let entries = table.chunks_exact(TABLE_ENTRY_BYTES as usize).map(|entry| {
            let word =
                |index: usize| u64::from_le_bytes(entry[8 * index..][..8].try_into().unwrap());
            OutputRef::from_words([word(0), word(1), word(2)]).unwrap()
        });
        entries.collect()
    }

    /// Gives outputs back to the executor.
    pub(crate) fn release(&mut self, outputs: &[OutputRef]) {
        for output in outputs {
            if let OutputRef::Own(range) = output {
                self.push(&Message::written(|message| {
                    encode_release(message, &[*range])
                }));
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // A child whose test has failed must not outlive it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
