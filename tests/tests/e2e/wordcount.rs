//! The main job: word count over two workers, with every edge between them, equals a plain count.

use faasflow_tests::cluster::{Cluster, Setup, bytes, output};
use faasflow_tests::pattern;
use faasflow_tests::shared_data;
use wordcount::reference::first_difference;

const WORKFLOW: &str = include_str!("../../../examples/wordcount/workflow.yaml");

/// `split` and `merge` on one worker, `count` on the other: all payloads cross.
fn counting(memory: &str) -> Cluster {
    let cluster = Setup::workers(&["a", "b"]).memory(memory).start();
    cluster.deploy(WORKFLOW, &[("split", "a"), ("count", "b"), ("merge", "a")]);
    cluster
}

#[track_caller]
fn is_counted(cluster: &Cluster, worker: &str, text: &[u8]) {
    let answered = cluster.invoke(worker, "wordcount", &[("text", bytes(text))]);
    let answered = answered.expect("the worker answers");
    let difference = first_difference(output(&answered, "totals"), text);
    assert_eq!(difference, None);
}

/// Text of about so many bytes, whose words are used as unevenly as those of people are.
fn generated(length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 16);
    let random = pattern::bytes(1, length);
    for bytes in random.chunks_exact(4) {
        if text.len() >= length {
            break;
        }
        // The product of two small numbers: some hundred words, a few of them often.
        let word = u32::from(bytes[0] % 64) * u32::from(bytes[1] % 64);
        text.extend_from_slice(format!("w{word:x}").as_bytes());
        text.push(b" \n\t,"[usize::from(bytes[2] % 4)]);
    }
    text
}

#[test]
fn word_count_over_two_workers_equals_the_reference() {
    let cluster = counting("1GiB");
    for worker in ["a", "b"] {
        is_counted(&cluster, worker, b"");
        is_counted(&cluster, worker, b"word");
        is_counted(&cluster, worker, b" \n\t\r\n ");
        is_counted(&cluster, worker, b"no newline at the end");
        is_counted(&cluster, worker, b"The the THE\nit's its it's\n");
        is_counted(
            &cluster,
            worker,
            b"caf\xc3\xa9 \xff\xfe\x00 \x80word word\x80\nna\xefve \0\0 word\n",
        );
        is_counted(&cluster, worker, &[b'x'; 300_000]);
        is_counted(&cluster, worker, &pattern::bytes(3, 500_000));
        is_counted(&cluster, worker, &generated(2_000_000));
    }
}

#[test]
fn fifty_megabytes_are_counted() {
    let cluster = counting("2GiB");
    is_counted(&cluster, "a", &generated(50_000_000));
}

#[test]
fn the_words_of_real_text_are_counted() {
    let name = "the_words_of_real_text_are_counted";
    let Some(folder) = shared_data::folder(name, "text") else {
        return;
    };
    let files = shared_data::names(&folder);
    assert!(!files.is_empty(), "no texts in {}", folder.display());
    let cluster = counting("2GiB");
    for file in files {
        let text = std::fs::read(folder.join(file)).unwrap();
        is_counted(&cluster, "b", &text);
    }
}

#[test]
fn one_command_starts_workers_counts_and_takes_them_down() {
    let cluster = Setup::workers(&[]).start();
    let text = cluster.file("text", generated(100_000));
    let workflow = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/wordcount/workflow.yaml"
    );
    let functions = cluster.functions();
    let run = cluster.faasflow(&[
        "run",
        workflow,
        "--functions",
        functions.to_str().unwrap(),
        "--input",
        &format!("text=@{text}"),
        "--output",
        "totals=@totals",
    ]);
    let run = run.ok();
    let totals = std::fs::read(cluster.path("totals")).unwrap();
    assert_eq!(
        first_difference(&totals, &generated(100_000)),
        None,
        "{}",
        run.text()
    );
}
