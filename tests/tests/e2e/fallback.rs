//! Where io_uring is refused a worker says so once, and works.

use engine::status::Driver;
use faasflow_tests::cluster::{Setup, bytes, output};
use faasflow_tests::process::{self, PROMPTLY};

/// As a container's seccomp profile does it: `io_uring_setup` answers EPERM.
const REFUSING: &str = "without-io-uring";

const ACROSS: &str = "
workflow: across
input: { in: bytes }
nodes:
  first: { function: test-functions:upper, input: { in: input.in }, output: { out: bytes } }
  second: { function: test-functions:echo, input: { in: first.out }, output: { out: bytes } }
output: { out: second.out }
";

#[test]
fn a_worker_that_is_refused_io_uring_falls_back_to_epoll_says_so_once_and_works() {
    let cluster = Setup::workers(&["a", "b"])
        .through(REFUSING)
        .flag("--driver=auto")
        .start();
    cluster.deploy(ACROSS, &[("first", "a"), ("second", "b")]);
    // Inside a state event, and streamed beside it.
    for length in [10, 3 << 20] {
        let text = "x".repeat(length);
        let answered = cluster.invoke("a", "across", &[("in", bytes(&text))]);
        let answered = answered.expect("the worker answers");
        assert!(output(&answered, "out") == text.to_uppercase().as_bytes());
    }
    for worker in ["a", "b"] {
        let driver = cluster.status(worker).driver;
        assert_eq!(driver.kind, Driver::Epoll);
        assert!(
            driver.reason.contains("Operation not permitted"),
            "{}",
            driver.reason
        );
        let log = cluster.log(worker);
        let about: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("io_uring") || line.contains("epoll"))
            .collect();
        let [line] = about[..] else {
            panic!("not one line but {about:?}");
        };
        for part in [
            "WARN",
            "using epoll",
            "io_uring cannot be used here",
            "Operation not permitted",
        ] {
            assert!(line.contains(part), "no {part:?} in {line}");
        }
    }
}

#[test]
fn a_worker_that_must_use_io_uring_and_may_not_does_not_start() {
    let cluster = Setup::workers(&[])
        .through(REFUSING)
        .flag("--driver=io-uring")
        .start();
    let finished = process::run(
        &mut cluster.worker_command("a", "127.0.0.1:0"),
        PROMPTLY * 3,
    );
    finished.refused(&[
        "--driver io-uring",
        "Operation not permitted",
        "--driver auto",
    ]);
}
