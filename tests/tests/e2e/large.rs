//! Large payloads: written piece by piece, passed on by reference, sliced, streamed between workers, and refused by name.

use engine::wire::Failure;
use faasflow_tests::cluster::{Cluster, Setup, bytes, named, output};
use faasflow_tests::pattern;
use faasflow_tests::process::until;
use master::client::{Answered, Client, Invocation, Options};
use std::time::Duration;

/// Bytes of a piece: no divisor of any segment.
const PIECE: usize = 300_000;

/// What a node streams is digested where it was made, on another worker, and as a slice of it.
fn workflow(memory_mib: u32) -> String {
    format!(
        "
workflow: large
input: {{ shape: value }}
nodes:
  make:
    function: test-functions:stream
    input: {{ shape: input.shape }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: {memory_mib} }}
  here:
    function: test-functions:digest
    input: {{ in: make.out }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: {memory_mib} }}
  there:
    function: test-functions:digest
    input: {{ in: make.out }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: {memory_mib} }}
  slice:
    function: test-functions:alias
    input: {{ data: make.out }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: {memory_mib} }}
  sliced:
    function: test-functions:digest
    input: {{ in: slice.out }}
    output: {{ out: bytes }}
    resources: {{ memory_mib: {memory_mib} }}
output: {{ here: here.out, there: there.out, sliced: sliced.out }}
"
    )
}

fn invoke(cluster: &Cluster, length: u64, hint: u64) -> Answered {
    let inputs = named(&[("shape", bytes(format!("[{length}, {hint}, {PIECE}]")))]);
    // Gigabytes take their time where nothing is optimized.
    let options = Options {
        silence_max: Some(Duration::from_secs(30 + (length >> 23))),
        ..cluster.options()
    };
    let client = Client::connect(cluster.worker("a").address(), &options);
    let answered = client.and_then(|mut client| {
        client.invoke(&Invocation {
            workflow: "large",
            inputs: &inputs,
            report: true,
            trace: false,
        })
    });
    answered.expect("the worker answers")
}

fn text(answered: &Answered, name: &str) -> String {
    String::from_utf8_lossy(output(answered, name)).into_owned()
}

#[test]
fn a_stream_arrives_whole_and_in_slices_with_a_hint_too_small_right_or_too_large() {
    let cluster = Setup::workers(&["a", "b"]).memory("512MiB").start();
    let on_a = ["make", "here", "slice", "sliced"].map(|node| (node, "a"));
    cluster.deploy(&workflow(96), &[&on_a[..], &[("there", "b")]].concat());
    // Packed, in a draft that grows, at the end of which a page is cut, and larger than both.
    for length in [2, 1000, (1 << 20) + 5, (4 << 20) + 1, (40 << 20) + 7] {
        for hint in [0, length, 2 * length] {
            let answered = invoke(&cluster, length, hint);
            let digest = pattern::digest_stream(length, PIECE);
            assert_eq!(text(&answered, "here"), digest, "hint {hint}");
            assert_eq!(text(&answered, "there"), digest, "hint {hint}");
            let sliced = text(&answered, "sliced");
            let expected = format!("{} bytes", length - 2);
            assert!(sliced.starts_with(&expected), "{sliced}");
        }
    }
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}

#[test]
fn what_outgrows_its_memory_is_refused_with_both_numbers_and_a_remedy() {
    let cluster = Setup::workers(&["a", "b"]).memory("256MiB").start();
    let on_a = ["make", "here", "slice", "sliced"].map(|node| (node, "a"));
    cluster.deploy(&workflow(24), &[&on_a[..], &[("there", "b")]].concat());
    match invoke(&cluster, 30 << 20, 0).result {
        Err(Failure::Node { node, cause, .. }) => {
            assert_eq!(node, "make");
            for part in ["no room for", "at most 25165824 bytes", "memory_mib"] {
                assert!(cause.contains(part), "{cause}");
            }
        }
        other => panic!("a failure was expected: {other:?}"),
    }
    // It is as it was.
    let answered = invoke(&cluster, 20 << 20, 0);
    assert_eq!(
        text(&answered, "here"),
        pattern::digest_stream(20 << 20, PIECE)
    );
    let _ = cluster.settled("a");

    // Half of 64 MiB is for what arrives.
    let cluster = Setup::workers(&["a", "b"]).memory("128MiB").start();
    let data = pattern::bytes(5, 70 << 20);
    cluster.deploy(
        "
workflow: large
input: { data: bytes }
nodes:
  digest:
    function: test-functions:digest
    input: { in: input.data }
    output: { out: bytes }
    resources: { memory_mib: 8 }
output: { digest: digest.out }
",
        &[("digest", "a")],
    );
    let answered = cluster.invoke("a", "large", &[("data", bytes(&data))]);
    match answered.expect("the worker answers").result {
        Err(failure) => {
            let failure = failure.to_string();
            for part in ["73400320", "67108864", "--memory"] {
                assert!(failure.contains(part), "{failure}");
            }
        }
        other => panic!("a failure was expected: {other:?}"),
    }
}

#[test]
fn the_memory_of_large_payloads_goes_back_while_their_worker_is_busy() {
    let cluster = Setup::workers(&["a"]).memory("512MiB").start();
    cluster.deploy(&workflow(200), &[]);
    // Each has another size, so that none fits where the one before was.
    for mebibytes in [60, 10, 28, 100, 14] {
        let length = mebibytes << 20;
        let answered = invoke(&cluster, length, length);
        assert_eq!(
            text(&answered, "here"),
            pattern::digest_stream(length, PIECE)
        );
        until("no more is held than a reserve and the last", || {
            let held = cluster.status("a").memory.held_bytes;
            // A quarter of the arena, what was let go of last, and ordinary segments.
            (held <= (50 << 20) + length + (40 << 20)).then_some(())
        });
    }
    let _ = cluster.settled("a");
}

/// Bytes of the payload of the tests below; another number can be given, for a machine with more memory.
fn huge_bytes() -> u64 {
    let given = std::env::var("FAASFLOW_TEST_LARGE_BYTES").ok();
    given.map_or(5 << 29, |given| given.parse().expect("a number of bytes"))
}

#[test]
#[ignore = "needs 3 GiB of memory: scripts/large runs it"]
fn a_payload_beyond_what_32_bits_say_is_passed_on_within_a_worker() {
    let length = huge_bytes();
    let mib = (length >> 20) + 1024;
    let cluster = Setup::workers(&["a"])
        .memory(&format!("{}MiB", 2 * mib + 512))
        .start();
    cluster.deploy(&workflow(mib as u32), &[]);
    let answered = invoke(&cluster, length, 0);
    let digest = pattern::digest_stream(length, PIECE);
    assert_eq!(text(&answered, "here"), digest);
    assert_eq!(text(&answered, "there"), digest);
    assert!(text(&answered, "sliced").starts_with(&format!("{} bytes", length - 2)));
    let _ = cluster.settled("a");
}

#[test]
#[ignore = "needs 5 GiB of memory: scripts/large runs it"]
fn a_payload_beyond_what_32_bits_say_is_streamed_between_workers() {
    let length = huge_bytes();
    let mib = (length >> 20) + 1024;
    let cluster = Setup::workers(&["a", "b"])
        .memory(&format!("{}MiB", 2 * mib + 512))
        .start();
    let on_a = ["make", "here", "slice", "sliced"].map(|node| (node, "a"));
    cluster.deploy(
        &workflow(mib as u32),
        &[&on_a[..], &[("there", "b")]].concat(),
    );
    let answered = invoke(&cluster, length, length);
    assert_eq!(
        text(&answered, "there"),
        pattern::digest_stream(length, PIECE)
    );
    for worker in ["a", "b"] {
        let _ = cluster.settled(worker);
    }
}
