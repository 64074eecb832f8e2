//! What lies between workers, measured by them: both ways, told and written, and read again by what places workflows.

use bench::partition::namespaces::{ADDRESSES, NamespaceError, Throttle, TwoNamespaces};
use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::gate::{Gate, Verdict};
use faasflow_tests::process::{Finished, Guarded, PROMPTLY, run};
use faasflow_tests::programs::program;
use faasflow_tests::skip::skip;
use master::client::Invocation;
use nix::sys::signal::Signal::SIGKILL;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const MIB: f64 = 1_048_576.0;

/// A workflow whose placement is worth planning.
const PAIR: &str = "
workflow: pair
input: { text: bytes }
nodes:
  first: { function: test-functions:echo, input: { in: input.text }, output: { out: bytes }, profile: { runtime_ms: 1, output_bytes: 1000000 } }
  second: { function: test-functions:upper, input: { in: first.out }, output: { out: bytes }, apart: first }
output: { out: second.out }
";

const GATED: &str = "
workflow: gated
input: { gate: bytes }
nodes:
  held: { function: test-functions:gate, input: { gate: input.gate }, output: { out: bytes } }
  behind: { function: test-functions:upper, input: { in: held.out }, output: { out: bytes } }
output: { out: behind.out }
";

fn json(finished: Finished) -> Value {
    let stdout = finished.ok().stdout;
    serde_json::from_slice(&stdout).expect("it prints one JSON object")
}

/// Of each link by its ends: microseconds, and MiB a second.
fn figures(object: &Value) -> BTreeMap<(String, String), (f64, f64)> {
    let links = object["links"].as_array().expect("a list");
    let text = |link: &Value, key: &str| link[key].as_str().expect("a name").to_owned();
    let number = |link: &Value, key: &str| link[key].as_f64().expect("a number");
    links
        .iter()
        .map(|link| {
            let ends = (text(link, "from"), text(link, "to"));
            let of = |key| number(link, key);
            (ends, (of("latency_us"), of("bandwidth_mib_per_s")))
        })
        .collect()
}

#[test]
fn every_link_is_measured_both_ways_and_the_file_that_is_written_is_one_for_the_placement() {
    let cluster = Setup::workers(&["a", "b", "c"]).start();
    let addresses = cluster.addresses().join(",");
    let arguments = ["links", "--workers", &addresses, "--write", "rack.yaml"];
    let object = json(cluster.faasflow(&[&arguments[..], &["--json"]].concat()));
    let found = figures(&object);
    let ends: Vec<(&str, &str)> = found
        .keys()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    let all = [
        ("a", "b"),
        ("a", "c"),
        ("b", "a"),
        ("b", "c"),
        ("c", "a"),
        ("c", "b"),
    ];
    assert_eq!(ends, all);
    for (latency_us, mib_per_s) in found.values() {
        assert!(*latency_us > 0.0 && *mib_per_s > 0.0, "{found:?}");
    }
    assert_eq!(object["written"]["file"], "rack.yaml");
    // Both ends have counted each.
    for worker in ["a", "b", "c"] {
        assert_eq!(cluster.counter(worker, "measurements"), 4);
        assert_eq!(cluster.counter(worker, "measurements_refused"), 0);
        assert_eq!(cluster.counter(worker, "measurements_broken"), 0);
    }

    // What is written says of each link what was told, to within a tenth or the time of a dispatch.
    let written = std::fs::read(cluster.path("rack.yaml")).expect("it is written");
    let file = master::place::ClusterFile::parse("rack.yaml", &written).expect("a cluster file");
    let names = ["a", "b", "c"];
    let mut workers = names.map(|name| master::place::WorkerCapacity::new(name, 1, 1 << 30));
    let network = file.apply(&mut workers).expect("it names these workers");
    let place = |name: &str| {
        names
            .iter()
            .position(|known| *known == name)
            .expect("known")
    };
    for ((from, to), (latency_us, mib_per_s)) in &found {
        let link = network.link(place(from), place(to));
        let (is_us, is_mib) = (link.latency_ns / 1e3, link.bytes_per_s / MIB);
        let off = |is: f64, told: f64| (is - told).abs() / is.min(told);
        assert!(
            off(is_mib, *mib_per_s) < 0.11
                && (off(is_us, *latency_us) < 0.11 || (is_us - latency_us).abs() < 10.1),
            "{from} → {to}: told {latency_us} µs, {mib_per_s} MiB/s; written {is_us}, {is_mib}"
        );
    }

    // The way to use it.
    let workflow = cluster.file("pair.yaml", PAIR);
    let planned = |more: &[&str]| {
        let call = ["plan", &workflow, "--workers", &addresses, "--json"];
        let object = json(cluster.faasflow(&[&call[..], more].concat()));
        object["estimate"]["makespan_ns"]
            .as_f64()
            .expect("a number")
    };
    assert_ne!(planned(&["--cluster", "rack.yaml"]), planned(&[]));

    // For people it is a table, and what people wrote stays.
    let before = format!(
        "workers: {{ a: {{ speed: 0.5 }} }} # old\n{}",
        String::from_utf8(written).expect("text")
    );
    let _ = cluster.file("rack.yaml", &before);
    let text = cluster.faasflow(&arguments).ok().text();
    for word in [
        "from",
        "to",
        "latency",
        "bandwidth",
        " µs",
        " MiB/s",
        "rack.yaml has",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let after = std::fs::read_to_string(cluster.path("rack.yaml")).expect("it is there");
    assert!(
        after.starts_with("workers: { a: { speed: 0.5 } } # old\n"),
        "{after}"
    );
    let _ = planned(&["--cluster", "rack.yaml"]);
}

#[test]
fn what_cannot_be_measured_is_told_with_both_workers_and_the_file_stays_as_it_was() {
    let cluster = Setup::workers(&["a", "b"]).start();
    let addresses = cluster.addresses().join(",");
    let links =
        |arguments: &[&str]| cluster.faasflow(&[&["links", "--workers"], arguments].concat());
    let one = cluster.addresses()[0].clone();
    links(&[&one]).refused(&["a is the only worker", "two workers"]);
    let twice = format!("{one},{one}");
    links(&[&twice]).refused(&["same worker, a"]);
    links(&["127.0.0.1:1,127.0.0.1:2"]).refused(&["cannot reach a worker"]);
    // Nothing is measured for a file that cannot be written.
    let wrong = cluster.file("wrong.yaml", "nodes: {}\n");
    links(&[&addresses, "--write", &wrong]).refused(&["wrong.yaml", "nodes"]);
    links(&[&addresses, "--write", "nowhere/rack.yaml"]).refused(&["nowhere/rack.yaml"]);
    links(&[&addresses, "--write", "functions"]).refused(&["functions"]);
    let odd = cluster.file("odd.yaml", "{ link: { latency_us: 1 } }\n");
    links(&[&addresses, "--write", &odd]).refused(&["odd.yaml", "too unusual", "another file"]);
    assert_eq!(cluster.counter("a", "measurements"), 0);

    // One that takes part in another measurement says so: here b has frozen while a waits for it.
    let file = cluster.file("rack.yaml", "link: { latency_us: 1 }\n");
    let b = cluster.worker("b").watched();
    let control = master::client::ControlClient::connect(&one, &cluster.options());
    let mut control = control.expect("a is there");
    assert!(b.signal(rustix::process::Signal::STOP));
    let wish = engine::wire::Control::MeasureLink(engine::wire::LinkWish {
        worker: "b".to_owned(),
        address: cluster.addresses()[1].clone(),
        round_trips: 1,
        bytes: 1 << 20,
    });
    let waits = std::thread::spawn(move || control.request(&wish).expect("a answers"));
    let said = match waits.join().expect("no panic") {
        engine::wire::ControlReply::Refused(said) => said,
        other => panic!("{other:?}"),
    };
    assert!(said.contains("worker b cannot be reached"), "{said}");
    assert!(b.signal(rustix::process::Signal::CONT));
    assert_eq!(
        std::fs::read_to_string(&file).expect("it is there"),
        "link: { latency_us: 1 }\n"
    );
    let _ = links(&[&addresses, "--write", &file]).ok();
}

#[test]
fn a_worker_that_dies_while_its_link_is_measured_is_named_with_the_other() {
    let mut cluster = Setup::workers(&["a", "b"]).start();
    let addresses = cluster.addresses().join(",");
    let file = cluster.file("rack.yaml", "link: { latency_us: 1 }\n");
    let call = ["links", "--workers", &addresses, "--write", &file];
    let measuring = cluster.begin_faasflow(&call);
    faasflow_tests::process::until("b takes part", || {
        (cluster.counter("b", "measurements") > 0).then_some(())
    });
    cluster.worker_mut("b").end_by(SIGKILL);
    let finished = measuring.finish(PROMPTLY * 3);
    finished.failed_with(1, &["the link from", "a", "b", "was not measured"]);
    assert_eq!(
        std::fs::read_to_string(&file).expect("it is there"),
        "link: { latency_us: 1 }\n"
    );
    // The other goes on, and measures it when it is back.
    cluster.restart("b");
    let _ = cluster.faasflow(&call).ok();
    assert!(cluster.counter("a", "measurements_broken") <= 1);
}

#[test]
fn invocations_go_on_while_links_are_measured() {
    let cluster = Setup::workers(&["a", "b"]).start();
    cluster.deploy(GATED, &[("held", "a"), ("behind", "b")]);
    let gate = Gate::new(cluster.folder(), "gate");
    let mut client = cluster.client("b");
    let inputs = [("gate".to_owned(), bytes(gate.input()))];
    let invocation = Invocation {
        workflow: "gated",
        inputs: &inputs,
        report: false,
        trace: false,
    };
    client.start(&invocation).expect("the worker takes it");
    let held = gate.next();
    let addresses = cluster.addresses().join(",");
    let found = figures(&json(cluster.faasflow(&[
        "links",
        "--json",
        "--workers",
        &addresses,
    ])));
    assert_eq!(found.len(), 2);
    held.tell(Verdict::Pass);
    let answered = client.next_answer().expect("the worker answers");
    assert_eq!(output(&answered, "out"), b"ATTEMPT 1");
    drop(client);
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
        assert_eq!(cluster.counter(worker, "links_remade"), 0);
    }
}

/// A worker in a namespace, and where it listens.
fn start_in(
    linked: &TwoNamespaces,
    index: usize,
    cluster: &Cluster,
    name: &str,
) -> (Guarded, String) {
    let mut command = cluster.worker_command(name, &format!("{}:0", ADDRESSES[index]));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = linked.namespaces[index].run(|| command.spawn());
    let child = child.expect("it may be entered").expect("a worker starts");
    let mut worker = Guarded(child);
    let mut line = String::new();
    let stdout = worker.0.stdout.as_mut().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it says something");
    let address = line.split_whitespace().nth(2).map(str::to_owned);
    (
        worker,
        address.unwrap_or_else(|| panic!("not ready: {line}")),
    )
}

#[test]
fn a_slow_link_is_told_from_a_fast_one_in_whatever_way_it_leads() {
    let throttle = Throttle {
        mbit: 40,
        delay_ms: 0,
    };
    let linked = match TwoNamespaces::new(throttle) {
        Ok(linked) => linked,
        Err(why @ (NamespaceError::Namespace(_) | NamespaceError::Tool { .. })) => {
            return skip("links in network namespaces", &why.to_string());
        }
        Err(other) => panic!("{other}"),
    };
    // For its key and its folder; its own worker takes no part.
    let cluster = Setup::workers(&["elsewhere"])
        .key(b"the key of all parties of this test")
        .start();
    let workers: Vec<(Guarded, String)> = [(0, "near-1"), (0, "near-2"), (1, "far")]
        .iter()
        .map(|(index, name)| start_in(&linked, *index, &cluster, name))
        .collect();
    let addresses: Vec<&str> = workers
        .iter()
        .map(|(_, address)| address.as_str())
        .collect();
    let mut command = Command::new(program("faasflow"));
    command.current_dir(cluster.folder());
    command.args([
        "links",
        "--json",
        "--write",
        "rack.yaml",
        "--cluster-key-file",
        "key",
    ]);
    command.args(["--workers", &addresses.join(",")]);
    let finished = linked.namespaces[0].run(|| run(&mut command, PROMPTLY * 6));
    let object = json(finished.expect("it may be entered"));
    let found = figures(&object);
    let of = |from: &str, to: &str| found[&(from.to_owned(), to.to_owned())].1;
    let fast = of("near-1", "near-2").min(of("near-2", "near-1"));
    for near in ["near-1", "near-2"] {
        for slow in [of(near, "far"), of("far", near)] {
            // 40 Mbit/s are 4.77 MiB/s, headers and the first burst apart.
            assert!((3.0..6.5).contains(&slow), "{found:?}");
            assert!(fast > 2.0 * slow, "{found:?}");
        }
    }
    // The four ways of slow links are most, so that the link of all others is one of these, and the fast ones are listed. A slow
    // one may be too, for how long it took.
    let written = std::fs::read_to_string(cluster.path("rack.yaml")).expect("it is written");
    let bandwidth = |line: &str| {
        let (_, behind) = line.split_once("bandwidth_mib_per_s: ").expect(line);
        let (figure, _) = behind.split_once(',').expect(line);
        figure.parse::<f64>().expect(line)
    };
    let lines = |what: &str| {
        let with = written.lines().filter(|line| line.contains(what));
        with.map(bandwidth).collect::<Vec<f64>>()
    };
    let slow = |figures: Vec<f64>| figures.into_iter().all(|figure| figure < 6.5);
    assert!(slow(lines("link: {")) && slow(lines("far")), "{written}");
    // Both ways in one if they are alike.
    let mut fast = lines("between: [near-1, near-2]");
    if fast.is_empty() {
        fast = [("near-1", "near-2"), ("near-2", "near-1")]
            .into_iter()
            .flat_map(|(from, to)| lines(&format!("from: {from}, to: {to}")))
            .collect();
        assert_eq!(fast.len(), 2, "{written}");
    }
    assert!(fast.into_iter().all(|fast| fast > 10.0), "{written}");
}
