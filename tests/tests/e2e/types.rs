//! What functions say of their payloads: both ends of an edge are compared before anything runs, and what comes over the
//! network is held to it.

use engine::greeting::{self, ClusterKey};
use engine::plan::{DeploymentId, Limits, PortRef, PortType, Replica, WorkerRef};
use engine::wire::{
    Answer, BODY_BYTES_MAX, Body, Challenge, Control, ControlReply, Data, Failure, FrameKind,
    HEADER_BYTES, Header, Invoke, Role, decode, encode,
};
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::process::{PROMPTLY, Watched, until};
use faasflow_tests::programs::program;
use faasstore::schema::{Schema, hash};
use master::client::{Client, ControlClient, Invocation};
use master::definition::{self, Definition};
use master::deploy::{self, DeployError};
use master::graph::Graph;
use master::place;
use master::planner::{self, Terms};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

const ROW: &str = "rkyv:struct{word:string,count:u64}";
const OTHER_ROW: &str = "rkyv:struct{word:string,count:u32}";
const TOTAL: &str = "rkyv:struct{count:u64}";

const COUNT: &str = "
workflow: count
input: { text: bytes }
nodes:
  rows: { function: typed-functions:rows, input: { text: input.text }, output: { rows: list }, resources: { memory_mib: 16 } }
  sum: { function: typed-functions:sum, input: { rows: rows.rows }, output: { total: bytes }, resources: { memory_mib: 16 } }
  twice: { function: typed-functions:double, input: { of: sum.total }, output: { it: bytes }, resources: { memory_mib: 16 } }
  show: { function: typed-functions:show, input: { total: twice.it }, output: { text: bytes }, resources: { memory_mib: 16 } }
  raw: { function: typed-functions:length, input: { any: sum.total }, output: { n: bytes }, resources: { memory_mib: 16 } }
output: { text: show.text, total: sum.total, raw: raw.n }
";

/// Puts another build of `typed-functions` into a cluster's folder.
fn replace_build(cluster: &Cluster) {
    let path = cluster.functions().join("typed-functions");
    let script = format!(
        "#!/bin/sh\nFAASFLOW_TEST_BUILD=other exec {}\n",
        program("typed-functions").display()
    );
    let fresh = cluster.path("other-build");
    std::fs::write(&fresh, script).expect("the folder is there");
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    std::fs::rename(&fresh, &path).expect("both are in one folder");
}

fn read(text: &str) -> Definition {
    definition::parse("w.yaml", text.as_bytes()).expect("the definition is right")
}

#[test]
fn typed_payloads_go_from_function_to_function_and_from_worker_to_worker() {
    let cluster = Setup::workers(&["a", "b"]).start();
    for pins in [
        &[
            ("rows", "a"),
            ("sum", "a"),
            ("twice", "a"),
            ("show", "a"),
            ("raw", "a"),
        ],
        &[
            ("rows", "a"),
            ("sum", "b"),
            ("twice", "a"),
            ("show", "b"),
            ("raw", "a"),
        ],
    ] {
        cluster.deploy(COUNT, pins);
        for door in ["a", "b"] {
            let answered = cluster.invoke(door, "count", &[("text", bytes("one two three"))]);
            let answered = answered.expect("the worker answers");
            assert_eq!(output(&answered, "text"), b"6");
            assert_eq!(output(&answered, "raw"), b"8", "raw is whatever it is");
        }
    }
}

#[test]
fn a_table_is_passed_on_by_its_tag() {
    let cluster = Setup::workers(&["a"]).start();
    let table = "
workflow: table
nodes:
  make: { function: typed-functions:table, output: { table: bytes } }
  read: { function: typed-functions:columns, input: { table: make.table }, output: { text: bytes } }
output: { text: read.text }
";
    cluster.deploy(table, &[]);
    let answered = cluster
        .invoke("a", "table", &[])
        .expect("the worker answers");
    assert_eq!(output(&answered, "text"), b"4");
}

#[test]
fn what_does_not_go_together_is_refused_by_its_field_before_anything_is_deployed() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let wrong = "
workflow: wrong
input: { text: bytes }
nodes:
  rows: { function: typed-functions:rows, input: { text: input.text }, output: { rows: list } }
  each: { function: typed-functions:double, foreach: rows.rows, input: { of: item }, output: { it: bytes } }
output: { all: each.it }
";
    let file = cluster.file("wrong.yaml", wrong);
    let workers = cluster.addresses().join(",");
    let words = [
        "`typed-functions:rows` (node rows) writes `rows` as fields with `word` in place 1",
        "`typed-functions:double` (node each, input `of`) reads it as fields with `count` in place 1",
        "one description of that type",
    ];
    for command in ["deploy", "plan"] {
        cluster
            .faasflow(&[command, &file, "--workers", &workers])
            .refused(&words);
    }
    let local = ["run", &file, "--input", "text=a", "--functions"];
    let folder = cluster.functions().display().to_string();
    cluster
        .faasflow(&[&local[..], &[&folder]].concat())
        .refused(&words);
    for worker in ["a", "b"] {
        let status = cluster.status(worker);
        assert!(status.deployments.is_empty());
        assert_eq!(status.counters["plans_accepted"], 0);
        assert_eq!(
            status.counters["executors_started"], 0,
            "for what was asked none counts"
        );
        let _ = cluster.settled(worker);
    }
    // Of workers that are only described nothing is known.
    let _ = cluster.faasflow(&["plan", &file, "--workers", "2x4:1GiB"]);
    let _ = cluster.faasflow(&["validate", &file]).ok();
}

/// Two workers of one name of executable, and two builds.
fn two_builds() -> (Cluster, Cluster) {
    let [a, b] = ["a", "b"].map(|name| Setup::workers(&[name]).start());
    replace_build(&b);
    (a, b)
}

#[test]
fn two_builds_on_two_workers_are_refused_by_their_field() {
    let (a, b) = two_builds();
    let addresses = [a.addresses(), b.addresses()].concat();
    let mut cluster = deploy::Cluster::connect(&addresses, &a.options()).expect("both are there");
    // The same function on both; and, on each, one that gives the other something.
    let same = "
workflow: same
input: { text: bytes }
nodes:
  here: { function: typed-functions:rows, input: { text: input.text }, output: { rows: list } }
  there: { function: typed-functions:rows, input: { text: input.text }, output: { rows: list } }
";
    let edge = "
workflow: edge
input: { text: bytes }
nodes:
  here: { function: typed-functions:rows, input: { text: input.text }, output: { rows: list } }
  there: { function: typed-functions:sum, input: { rows: here.rows }, output: { total: bytes } }
";
    for (text, words) in [
        (
            same,
            "workers a and b have different builds of `typed-functions`: as `typed-functions:rows` has it, `rows.count` is u64 \
             on a, and is u32 on b",
        ),
        (
            edge,
            "workers a and b have different builds of `typed-functions`: as `typed-functions:rows` has it, `rows.count` is u64 \
             on a, and is u32 on b",
        ),
    ] {
        let fixed = [("here", "a"), ("there", "b")].map(|(n, w)| (n.to_owned(), w.to_owned()));
        let options = place::Options {
            fixed: fixed.into(),
            ..place::Options::default()
        };
        let refused = cluster.deploy(&read(text), &options, Limits::default());
        let error = refused.expect_err("the builds differ");
        assert!(matches!(error, DeployError::Types(_)), "{error:?}");
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn an_executable_that_was_replaced_by_another_build_is_not_started_for_what_runs() {
    let cluster = Setup::workers(&["a"]).start();
    cluster.deploy(COUNT, &[]);
    replace_build(&cluster);
    let invoke = || {
        let answered = cluster.invoke("a", "count", &[("text", bytes("one two"))]);
        answered.expect("the worker answers")
    };
    assert_eq!(
        output(&invoke(), "text"),
        b"4",
        "the executors are those of the build before"
    );
    for pid in cluster.executors("a") {
        let executor = Watched::new(pid).expect("it runs");
        assert!(executor.signal(Signal::KILL));
    }
    until("the worker has noticed", || {
        (cluster.executors("a").is_empty() && cluster.counter("a", "executors") == 0).then_some(())
    });
    let answered = invoke();
    let Err(Failure::Node { cause, .. }) = &answered.result else {
        panic!("{:?}", answered.result);
    };
    for words in [
        "was replaced since the workflow was planned",
        "deploy the workflow again",
    ] {
        assert!(cause.contains(words), "{cause}");
    }
    // Which makes the new build the one that runs.
    cluster.deploy(COUNT, &[]);
    let answered = invoke();
    let Err(Failure::Node { cause, .. }) = &answered.result else {
        panic!("{:?}", answered.result);
    };
    assert!(cause.contains("the other build only differs"), "{cause}");
    let _ = cluster.settled("a");
}

/// Plans that no master would send: worker `b` reads rows for what they are not.
fn deploy_unseen(a: &Cluster, b: &Cluster) {
    let definition = read(
        "
workflow: unseen
input: { text: bytes }
nodes:
  rows: { function: typed-functions:rows, input: { text: input.text }, output: { rows: list } }
  sum: { function: typed-functions:sum, input: { rows: rows.rows }, output: { total: bytes } }
output: { total: sum.total }
",
    );
    let mut cluster =
        deploy::Cluster::connect(&[a.addresses(), b.addresses()].concat(), &a.options())
            .expect("both are there");
    let workers: Vec<WorkerRef> = cluster.workers();
    let graph = Graph::of(&definition);
    let fixed = [("rows", "a"), ("sum", "b")].map(|(n, w)| (n.to_owned(), w.to_owned()));
    let options = place::Options {
        fixed: fixed.into(),
        ..place::Options::default()
    };
    let capacities = cluster.capacities_mut().to_vec();
    let placement = place::place(&graph, &capacities, &options).expect("there is room");
    let id = DeploymentId(77);
    let terms = Terms {
        deployment: id,
        replica: Replica::only(id),
        version: 1,
        limits: Limits::default(),
    };
    let mut plans = planner::plan(&definition, &graph, &placement, &workers, terms);
    let [rows, sum] = [0, 1].map(|worker: usize| plans[worker].nodes[0].id);
    plans[0].types = vec![PortType {
        port: PortRef::Written {
            node: rows,
            output: 0,
        },
        schema: hash(ROW),
    }];
    plans[1].types = vec![PortType {
        port: PortRef::Read {
            node: sum,
            input: 0,
        },
        schema: hash(OTHER_ROW),
    }];
    drop(cluster);
    let mut controls = [a, b].map(|one| {
        ControlClient::connect(&one.addresses()[0], &one.options()).expect("the worker is there")
    });
    let mut order = |worker: usize, request: &Control| {
        let reply = controls[worker]
            .request(request)
            .expect("the worker is there");
        assert_eq!(reply, ControlReply::Done);
    };
    for (worker, plan) in plans.into_iter().enumerate() {
        order(worker, &Control::Prepare(plan));
    }
    for worker in [0, 1] {
        order(worker, &Control::Activate(id));
    }
}

#[test]
fn a_payload_of_another_type_that_comes_over_the_network_fails_its_invocation_by_name() {
    let (a, b) = two_builds();
    deploy_unseen(&a, &b);
    let large = "word ".repeat(100_000);
    for (door, text) in [(&a, "one two"), (&b, "one two"), (&a, &large)] {
        let mut client =
            Client::connect(&door.addresses()[0], &door.options()).expect("it is there");
        let inputs = [("text".to_owned(), bytes(text))];
        let invocation = Invocation {
            workflow: "unseen",
            inputs: &inputs,
            report: false,
            trace: false,
        };
        let answered = client.invoke(&invocation).expect("the worker answers");
        let Err(Failure::Payload {
            node,
            worker,
            cause,
        }) = &answered.result
        else {
            panic!("{:?}", answered.result);
        };
        assert_eq!((node.as_str(), worker.as_str()), ("rows", "b"));
        assert_eq!(
            *cause,
            format!(
                "its type is {:016x}, and input rows of node sum takes {:016x}: the workers' plans differ; deploy the \
                 workflow again",
                hash(ROW),
                hash(OTHER_ROW)
            )
        );
    }
    let _ = (a.settled("a"), b.settled("b"));
}

/// What a client that knows of types gives and gets.
fn wish(cluster: &Cluster, input: &str, schema: u64) -> Answer {
    let mut stream = TcpStream::connect(cluster.worker("a").address()).expect("the port is open");
    stream
        .set_read_timeout(Some(PROMPTLY))
        .expect("a time other than zero");
    let mut frame = |send: Option<Vec<u8>>| {
        if let Some(message) = send {
            stream.write_all(&message).expect("it is open");
        }
        let mut header = [0; HEADER_BYTES];
        stream
            .read_exact(&mut header)
            .expect("a worker sends frames");
        let header = Header::parse(&header, BODY_BYTES_MAX).expect("a worker sends frames");
        let mut body = vec![0; header.padded_length()];
        stream
            .read_exact(&mut body)
            .expect("a worker sends whole frames");
        body.truncate(header.length);
        (header.kind, body)
    };
    let (_, body) = frame(None);
    let challenge: Challenge = decode(&body).expect("a challenge");
    let answer = greeting::answer(&ClusterKey::none(), &challenge, Role::Client);
    let mut message = Vec::new();
    encode(&answer.expect("an answer").0, &mut message);
    let (kind, _) = frame(Some(message));
    assert_eq!(kind, FrameKind::Welcome);
    let mut message = Vec::new();
    let invoke = Invoke {
        request: 1,
        workflow: "shown".to_owned(),
        inputs: vec![(
            "total".to_owned(),
            Body {
                items: None,
                section: None,
                schema,
                data: Data::Inline(input.as_bytes().to_vec()),
            },
        )],
        report: false,
        trace: false,
    };
    encode(&invoke, &mut message);
    let (kind, body) = frame(Some(message));
    assert_eq!(kind, FrameKind::Answer);
    decode(&body).expect("an answer")
}

#[test]
fn clients_may_say_what_they_give_and_are_told_what_they_get() {
    let cluster = Setup::workers(&["a"]).start();
    let shown = "
workflow: shown
input: { total: bytes }
nodes:
  twice: { function: typed-functions:double, input: { of: input.total }, output: { it: bytes } }
  length: { function: typed-functions:length, input: { any: twice.it }, output: { n: bytes } }
output: { total: twice.it, n: length.n }
";
    cluster.deploy(shown, &[]);
    let total = "\u{7}\0\0\0\0\0\0\0";
    for known in [0, hash(TOTAL)] {
        let outputs = wish(&cluster, total, known).result.expect("it ends well");
        let schemas: Vec<(&str, u64)> = outputs
            .iter()
            .map(|(name, body)| (name.as_str(), body.schema))
            .collect();
        assert_eq!(schemas, [("total", hash(TOTAL)), ("n", 0)]);
        assert_eq!(
            outputs[0].1.data,
            Data::Inline(vec![14, 0, 0, 0, 0, 0, 0, 0])
        );
    }
    let refused = wish(&cluster, total, hash(ROW))
        .result
        .expect_err("another type");
    let Failure::Refused { reason, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        *reason,
        format!(
            "input `total`: its type is {:016x}, and the functions that read it take {:016x}: build both from one description",
            hash(ROW),
            hash(TOTAL)
        )
    );
    let _ = cluster.settled("a");
}

#[test]
fn the_texts_of_this_test_are_those_of_the_executable() {
    for text in [ROW, OTHER_ROW, TOTAL] {
        assert_eq!(
            Schema::parse(text).expect("a description").to_string(),
            text
        );
    }
}
