//! Commands: any program as a function, by `faasflow-command`.

use crate::engine::{Engine, PATIENCE};
use faasstore::Cancelled;
use faasstore::binding::Kind::{self, Bytes, List, Value};
use faasstore::binding::{NodeBinding, Port, VALUE_BYTES_MAX, WaitStrategy};
use faasstore::descriptor::{OutputRef, PayloadRef};
use std::path::Path;
use std::time::{Duration, Instant};

/// An executor of one command.
struct Command {
    engine: Engine,
}

impl Command {
    fn start(words: &[&str], inputs: &[(&str, Kind)], outputs: &[(&str, Kind)]) -> Self {
        let ports = |ports: &[(&str, Kind)]| {
            let port = |(name, kind): &(&str, Kind)| Port {
                name: (*name).to_owned(),
                kind: *kind,
            };
            ports.iter().map(port).collect()
        };
        let node = NodeBinding {
            node: 7,
            name: "the-node".to_owned(),
            function: "run".to_owned(),
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            inputs: ports(inputs),
            outputs: ports(outputs),
            maxima: Vec::new(),
        };
        let executable = Path::new(env!("CARGO_BIN_EXE_faasflow-command"));
        let engine = Engine::start_one_of(executable, WaitStrategy::Park, vec![node]);
        Self { engine }
    }

    /// Runs it over inputs of bytes.
    fn run(&mut self, inputs: &[&[u8]]) -> Result<Vec<u8>, String> {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|input| self.engine.payload(input))
            .collect();
        self.call(&inputs)
    }

    /// Runs it for the bytes of its one output.
    fn call(&mut self, inputs: &[PayloadRef]) -> Result<Vec<u8>, String> {
        let outputs = self.engine.call("run", inputs)?;
        let bytes = self.engine.bytes(&outputs[0]);
        self.engine.release(&outputs);
        Ok(bytes)
    }

    /// Runs it for the items of its one output.
    fn lines(&mut self, inputs: &[&[u8]]) -> Result<Vec<String>, String> {
        let inputs: Vec<_> = inputs
            .iter()
            .map(|input| self.engine.payload(input))
            .collect();
        let outputs = self.engine.call("run", &inputs)?;
        let items = self.engine.items(&outputs[0]);
        let text = |item: &OutputRef| String::from_utf8(self.engine.bytes(item)).unwrap();
        Ok(items.iter().map(text).collect())
    }
}

/// A script over one input of bytes that makes one output.
fn shell(script: &str, output: Kind) -> Command {
    Command::start(
        &["sh", "-c", script],
        &[("text", Bytes)],
        &[("out", output)],
    )
}

#[test]
fn a_program_sorts_its_standard_input() {
    let mut sort = Command::start(&["sort", "-u"], &[("lines", Bytes)], &[("sorted", Bytes)]);
    for _ in 0..3 {
        assert_eq!(sort.run(&[b"b\na\nb\n"]).unwrap(), b"a\nb\n");
        assert_eq!(sort.run(&[b""]).unwrap(), b"");
    }
}

#[test]
fn streams_larger_than_every_pipe_block_nobody() {
    // Each byte comes back on both streams before the next is read.
    let mut both = shell("tee /dev/stderr", Bytes);
    let bytes: Vec<u8> = (0..400_000u32).map(|byte| (byte % 251) as u8).collect();
    assert!(both.run(&[&bytes]).unwrap() == bytes);
    // Much is said before anything is heard.
    let mut late = shell("head -c 300000 /dev/zero >&2; cat", Bytes);
    assert!(late.run(&[&bytes]).unwrap() == bytes);
    // Not all of the input is wanted.
    let mut head = shell("head -c 3", Bytes);
    assert_eq!(head.run(&[&bytes]).unwrap(), bytes[..3]);
    let mut none = shell("echo done", Bytes);
    assert_eq!(none.run(&[&bytes]).unwrap(), b"done\n");
}

#[test]
fn an_output_beyond_the_arena_is_a_failure_of_memory_and_ends_the_program() {
    let mut endless = shell("cat /dev/zero", Bytes);
    for _ in 0..2 {
        let failure = endless.run(&[b""]).unwrap_err();
        assert!(failure.starts_with("Memory: "), "{failure}");
    }
}

#[test]
fn lines_without_end_are_a_failure_though_they_take_no_room_in_the_arena() {
    let mut endless = shell("yes ''", List);
    for _ in 0..2 {
        let failure = endless.run(&[b""]).unwrap_err();
        assert!(failure.contains("has more than 4194304 lines"), "{failure}");
    }
}

#[test]
fn words_name_inputs_as_paths_of_sealed_files() {
    let inputs = [("stdin", Bytes), ("a", Bytes), ("b", List)];
    let words = ["paste", "-d+", "-", "{input.a}", "{input.b}", "{input.a}"];
    let mut paste = Command::start(&words, &inputs, &[("out", Bytes)]);
    let (stdin, a) = (
        paste.engine.payload(b"1\n2\n"),
        paste.engine.payload(b"x\ny\n"),
    );
    let mut items = [&b"one"[..], b"three"]
        .map(|item| paste.engine.payload(item))
        .to_vec();
    items.insert(1, PayloadRef::ABSENT);
    let b = paste.engine.table(&items);
    assert_eq!(
        paste.call(&[stdin, a, b]).unwrap(),
        b"1+x+one+x\n2+y++y\n++three+\n"
    );
    // Of inputs that may be absent.
    let words = ["cat", "{input.a}", "-", "x{input.unclosed"];
    let mut cat = Command::start(&["cat", "{input.a}", "-"], &inputs[..2], &[("out", Bytes)]);
    assert_eq!(
        cat.call(&[PayloadRef::ABSENT, PayloadRef::ABSENT]).unwrap(),
        b""
    );
    let mut word = Command::start(&["echo", "-n", words[3], "{print}"], &[], &[("out", Bytes)]);
    assert_eq!(word.run(&[]).unwrap(), b"x{input.unclosed {print}");
    // What it is given it cannot change.
    let script = "echo more > \"$1\"";
    let mut change = Command::start(&["sh", "-c", script, "sh", "{input.a}"], &inputs[1..2], &[]);
    let failure = change.engine.payload(b"x");
    let failure = change.engine.call("run", &[failure]).unwrap_err();
    assert!(failure.starts_with("Error: exit-"), "{failure}");
}

#[test]
fn wrong_words_are_refused_by_name() {
    let failure = |words: &[&str], inputs: &[(&str, Kind)]| {
        let mut command = Command::start(words, inputs, &[("out", Bytes)]);
        let given: Vec<&[u8]> = inputs.iter().map(|_| &b"x"[..]).collect();
        command.run(&given).unwrap_err()
    };
    assert_eq!(
        failure(&["cat", "{input.b}"], &[("a", Bytes)]),
        "Error: a word names the input b, which the node does not have; it has: a"
    );
    assert_eq!(
        failure(&["cat"], &[("a", Bytes), ("b", Bytes)]),
        "Error: no word names the inputs a, b: call one of them stdin, or write {input.NAME} for the others"
    );
    assert_eq!(
        failure(&[], &[]),
        "Error: the node has no words of a command"
    );
    let mut two = Command::start(&["true"], &[], &[("a", Bytes), ("b", Bytes)]);
    assert_eq!(
        two.run(&[]).unwrap_err(),
        "Error: the node declares 2 outputs, and a command has one: its standard output"
    );
}

#[test]
fn a_program_that_is_missing_is_named() {
    let failure = |word| {
        Command::start(&[word], &[], &[("out", Bytes)])
            .run(&[])
            .unwrap_err()
    };
    assert_eq!(
        failure("no-such-program"),
        "Error: no-such-program cannot be started: there is no such program in the folders of PATH on this worker"
    );
    assert_eq!(
        failure("/no/such"),
        "Error: /no/such cannot be started: there is no such file on this worker"
    );
    assert_eq!(
        failure("/etc/passwd"),
        "Error: /etc/passwd cannot be started: it may not be executed"
    );
}

#[test]
fn a_program_that_fails_says_how_and_why() {
    let mut fails = shell("echo oh; echo no >&2; exit 3", Bytes);
    assert_eq!(
        fails.run(&[b""]).unwrap_err(),
        "Error: exit-3: sh ended with status 3: no"
    );
    let mut silent = Command::start(&["false"], &[], &[]);
    let failure = silent.engine.call("run", &[]).unwrap_err();
    assert_eq!(failure, "Error: exit-1: false ended with status 1");
    let mut killed = shell("kill -9 $$", Bytes);
    assert_eq!(
        killed.run(&[b""]).unwrap_err(),
        "Error: signal-9: sh was ended by signal 9 (SIGKILL)"
    );
    let mut talks = shell("seq 1000 >&2; exit 1", Bytes);
    let failure = talks.run(&[b""]).unwrap_err();
    assert!(
        failure.ends_with("\n999\n1000") && failure.contains(": …"),
        "{failure}"
    );
    assert!((2000..2200).contains(&failure.len()), "{}", failure.len());
}

#[test]
fn standard_output_can_be_a_value_or_a_list() {
    let mut value = shell("echo '{\"a\": [1, 2.50]}'", Value);
    assert_eq!(value.run(&[b""]).unwrap(), br#"{"a":[1,2.5]}"#);
    let mut none = shell("echo one two", Value);
    let failure = none.run(&[b""]).unwrap_err();
    assert!(
        failure.starts_with("Error: output out: \"one two\" is no JSON: "),
        "{failure}"
    );
    let mut long = shell("head -c 1000000 /dev/zero", Value);
    let failure = long.run(&[b""]).unwrap_err();
    assert!(
        failure.contains(&format!("more than {VALUE_BYTES_MAX} bytes")),
        "{failure}"
    );
    let mut lines = Command::start(&["cat"], &[("text", Bytes)], &[("lines", List)]);
    assert_eq!(lines.lines(&[b"a\n\nlast"]).unwrap(), ["a", "", "last"]);
    assert_eq!(lines.lines(&[b"a\n"]).unwrap(), ["a"]);
    assert_eq!(lines.lines(&[b""]).unwrap(), [""; 0]);
    let long = "x".repeat(100_000);
    let text = format!("{long}\nshort\n{long}");
    assert_eq!(
        lines.lines(&[text.as_bytes()]).unwrap(),
        [&long, "short", &long]
    );
}

#[test]
fn a_program_sees_nothing_of_its_executor_but_what_it_is_told() {
    let script = "ls /proc/self/fd; env | grep ^FAASFLOW_ | sort";
    let mut sees = shell(script, Bytes);
    let seen = String::from_utf8(sees.run(&[b"x"]).unwrap()).unwrap();
    // What whoever runs the tests leaves open is in every process.
    let mut ls = std::process::Command::new("ls");
    let anyway = ls.arg("/proc/self/fd").output().unwrap().stdout;
    let anyway = String::from_utf8(anyway).unwrap();
    let descriptors: Vec<&str> = seen
        .lines()
        .take_while(|line| !line.contains('='))
        .collect();
    assert_eq!(descriptors, anyway.lines().collect::<Vec<_>>(), "{seen}");
    let others = |line: &&str| {
        line.split_once('=')
            .is_none_or(|(name, _)| std::env::var_os(name).is_some())
    };
    let variables: Vec<&str> = seen.lines().filter(|line| !others(line)).collect();
    assert_eq!(variables.len(), 4, "{seen}");
    assert!(
        variables.contains(&"FAASFLOW_NODE=the-node") && variables.contains(&"FAASFLOW_ATTEMPT=3")
    );
}

/// Waits until a process is gone, or a zombie that nobody waits for.
fn ends(pid: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let is_gone = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ") || status.contains(") X ")
    };
    while !is_gone() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// A file that a script writes process numbers to, one a line, once there are `count`.
fn pids(path: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.ends_with('\n') && text.lines().count() == count {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(
            Instant::now() < deadline,
            "the program did not start: {text:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_executor_takes_its_program_and_all_that_it_has_started_along() {
    let path = std::env::temp_dir().join(format!("faasflow-command-{}", std::process::id()));
    let script = format!(
        "sleep 1000 & echo $$ $! | tr ' ' '\\n' > {}; wait",
        path.display()
    );
    let mut sleeps = shell(&script, Bytes);
    let input = sleeps.engine.payload(b"x");
    sleeps.engine.activate("run", &[input]);
    let pids = pids(&path, 2);
    sleeps.engine.child.kill().unwrap();
    sleeps.engine.child.wait().unwrap();
    for pid in pids {
        assert!(ends(&pid), "process {pid} outlives its executor");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_a_program_leaves_behind_holds_nothing_up_and_is_ended() {
    let mut leaves = shell("sleep 1000 & echo $!", Bytes);
    for _ in 0..2 {
        let said = String::from_utf8(leaves.run(&[b"x"]).unwrap()).unwrap();
        assert!(ends(said.trim()), "process {said} is left");
    }
}

#[test]
fn a_program_that_is_told_is_asked_to_end_with_all_that_it_has_started_and_its_executor_goes_on() {
    let path = std::env::temp_dir().join(format!("faasflow-told-{}", std::process::id()));
    // It cleans up; of what it has started one goes at once, and one does not hear, whether it holds the streams or not.
    for streams in ["", ">/dev/null 2>&1"] {
        let script = format!(
            "trap 'echo bye >&2; exit 7' TERM
            sleep 1000 {streams} & first=$!
            (trap '' TERM; while :; do sleep 1000; done) {streams} & second=$!
            echo $$ $first $second | tr ' ' '\\n' > {}
            wait",
            path.display()
        );
        let mut waits = shell(&script, Bytes);
        let executor = waits.engine.child.id();
        for why in [Cancelled::ByClient, Cancelled::FailedElsewhere] {
            let input = waits.engine.payload(b"x");
            waits.engine.activate("run", &[input]);
            let pids = pids(&path, 3);
            std::fs::remove_file(&path).unwrap();
            let failure = waits.engine.stop(why);
            assert_eq!(failure, "exit-7: sh ended with status 7: bye");
            for pid in pids {
                assert!(ends(&pid), "process {pid} is left");
            }
            assert_eq!(waits.engine.child.id(), executor);
            assert_eq!(waits.engine.child.try_wait().unwrap(), None);
        }
    }
}

#[test]
fn a_word_for_an_earlier_run_ends_no_later_program_and_one_that_comes_early_starts_none() {
    let path = std::env::temp_dir().join(format!("faasflow-early-{}", std::process::id()));
    let script = format!("echo > {0}; cat; rm {0}", path.display());
    let mut cat = shell(&script, Bytes);
    assert_eq!(cat.run(&[b"one"]).unwrap(), b"one");
    for _ in 0..3 {
        let ended = cat.engine.last();
        cat.engine.channel.tell(ended, Cancelled::ByClient);
        assert_eq!(cat.run(&[b"two"]).unwrap(), b"two");
    }
    let next = cat.engine.last() + 1;
    cat.engine.channel.tell(next, Cancelled::ByClient);
    let failure = cat.run(&[b"three"]).unwrap_err();
    assert_eq!(failure, format!("Error: {}", Cancelled::ByClient));
    assert!(!path.exists(), "the program was started");
    assert_eq!(cat.run(&[b"four"]).unwrap(), b"four");
}

#[test]
fn a_program_that_does_not_end_when_it_is_asked_to_ends_with_its_executor() {
    let path = std::env::temp_dir().join(format!("faasflow-deaf-{}", std::process::id()));
    let script = format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 0.01; done",
        path.display()
    );
    let mut deaf = shell(&script, Bytes);
    let input = deaf.engine.payload(b"x");
    deaf.engine.activate("run", &[input]);
    let pids = pids(&path, 1);
    let last = deaf.engine.last();
    deaf.engine.channel.tell(last, Cancelled::ByClient);
    deaf.engine.child.kill().unwrap();
    deaf.engine.child.wait().unwrap();
    assert!(ends(&pids[0]), "the program outlives its executor");
    std::fs::remove_file(path).unwrap();
}
