//! Mistakes in a word count that is otherwise good: what is replaced, by what, and what is said where.

use super::{each_gives, with};

#[test]
fn keys_that_mean_nothing_are_refused_with_the_nearest_that_does() {
    each_gives(&[
        (
            "function: wordcount:split",
            "functoin: wordcount:split",
            "6:5",
            "no key `functoin`",
            "`function`?",
        ),
        (
            "timeout_ms: 5000",
            "timeout: 5000",
            "17:5",
            "no key `timeout`",
            "did you mean `timeout_ms`?",
        ),
        (
            "timeout_ms: 5000",
            "zzz: 5000",
            "17:5",
            "a node has no key `zzz`",
            "its keys are `function`, `command`",
        ),
        (
            "memory_mib: 128",
            "memory_mb: 128",
            "15:18",
            "`resources` has no key",
            "did you mean `memory_mib`?",
        ),
        (
            "workflow: wordcount\n",
            "workflow: wordcount\nname: w\n",
            "2:1",
            "a workflow has no key `name`",
            "`nodes`",
        ),
        (
            "workflow: wordcount\n",
            "",
            "1:1",
            "the file has no `workflow`",
            "begin with `workflow: NAME`",
        ),
        (
            "function: wordcount:merge\n",
            "timeout_ms: 1\n",
            "18:3",
            "node `merge` has no `function`",
            "add `function",
        ),
    ]);
}

#[test]
fn numbers_are_held_to_their_ranges() {
    each_gives(&[
        (
            "timeout_ms: 5000",
            "timeout_ms: 0",
            "17:17",
            "from 1 to 86400000, but this is `0`",
            "-",
        ),
        (
            "timeout_ms: 5000",
            "timeout_ms: '5'",
            "17:17",
            "the text \"5\"",
            "numbers stand without quotes",
        ),
        (
            "timeout_ms: 5000",
            "timeout_ms: 5s",
            "17:17",
            "`5s`",
            "write the number alone",
        ),
        (
            "timeout_ms: 5000",
            "timeout_ms: [5]",
            "17:17",
            "a list",
            "-",
        ),
        (
            "timeout_ms: 5000",
            "timeout_ms:",
            "17:15",
            "but this is empty",
            "-",
        ),
        (
            "scale: 4",
            "scale: 0",
            "15:42",
            "`scale` must be a whole number from 1 to 1024",
            "-",
        ),
        ("scale: 4", "scale: -4", "15:42", "`-4`", "-"),
        ("scale: 4", "scale: +4", "15:42", "`+4`", "-"),
        (
            "scale: 4",
            "scale: 99999999999999999999",
            "15:42",
            "`99999999999999999999`",
            "-",
        ),
        (
            "attempts: 3",
            "attempts: 0",
            "16:24",
            "`attempts` must be a whole number from 1 to 1000",
            "-",
        ),
        ("memory_mib: 128", "memory_mib: 1.5", "15:30", "`1.5`", "-"),
        (
            "runtime_ms: 120",
            "runtime_ms: .nan",
            "14:28",
            "`.nan`",
            "write the number alone",
        ),
        (
            "runtime_ms: 120",
            "runtime_ms: 1e400",
            "14:28",
            "a number of milliseconds from 0",
            "-",
        ),
        ("runtime_ms: 120", "runtime_ms: -1", "14:28", "`-1`", "-"),
    ]);
    assert!(with("runtime_ms: 120", "runtime_ms: 0.02").is_empty());
}

#[test]
fn sources_that_lead_nowhere_are_refused_with_the_nearest_that_does() {
    each_gives(&[
        (
            "foreach: split.chunks",
            "foreach: split.chunk",
            "11:14",
            "no output `chunk`",
            "did you mean `split.chunks`?",
        ),
        (
            "foreach: split.chunks",
            "foreach: spilt.chunks",
            "11:14",
            "no node `spilt`",
            "did you mean `split.chunks`?",
        ),
        (
            "text: input.text",
            "text: input.txt",
            "7:20",
            "no input `txt`",
            "did you mean `input.text`?",
        ),
        (
            "text: input.text",
            "text: inptu.text",
            "7:20",
            "no node `inptu`",
            "did you mean `input.text`?",
        ),
        (
            "text: input.text",
            "text: input.number",
            "7:20",
            "no input `number`",
            "its inputs are `text`",
        ),
        (
            "text: input.text",
            "text: text",
            "7:20",
            "`text` is no source",
            "`input.NAME`, `NODE.OUTPUT`",
        ),
        (
            "text: input.text",
            "text: input.text.more",
            "7:20",
            "`input.text.more` is no source",
            "`NODE.OUTPUT`",
        ),
        (
            "input: { text: input.text }",
            "input: text",
            "7:12",
            "`input` must be a mapping",
            "{ NAME: SOURCE }",
        ),
        (
            "totals: merge.totals",
            "totals: merge.total",
            "24:11",
            "no output `total`",
            "did you mean `merge.totals`?",
        ),
        (
            "after: [split]",
            "after: [spilt]",
            "22:13",
            "there is no node `spilt`",
            "did you mean `split`?",
        ),
        (
            "after: [split]",
            "after: { a: b }",
            "22:12",
            "`after` must be a name",
            "`after: [NODE, NODE]`",
        ),
    ]);
}

#[test]
fn foreach_runs_over_lists_and_item_is_known_inside_it_alone() {
    each_gives(&[
        (
            "foreach: split.chunks",
            "foreach: input.text",
            "11:14",
            "`input.text` is bytes",
            "declare it as `text: list`",
        ),
        (
            "foreach: split.chunks",
            "foreach: merge.totals",
            "11:14",
            "`merge.totals` is bytes",
            "declare it in `merge`",
        ),
        (
            "foreach: split.chunks",
            "foreach: item",
            "11:14",
            "`item` has no meaning as the list",
            "own `foreach`",
        ),
        (
            "foreach: split.chunks",
            "foreach: [split.chunks]",
            "11:14",
            "but this is a list",
            "a source is `input.NAME`",
        ),
        (
            "text: input.text",
            "text: item",
            "7:20",
            "`item` has no meaning outside a foreach node",
            "own `foreach`",
        ),
        (
            "totals: merge.totals",
            "totals: item",
            "24:11",
            "no meaning among the workflow's outputs",
            "own `foreach`",
        ),
        (
            "counts: bytes",
            "counts: list",
            "20:22",
            "`count.counts` of all items would be a list of lists",
            "read it as `count.counts[item]`",
        ),
    ]);
}

#[test]
fn names_kinds_and_functions_have_a_syntax() {
    each_gives(&[
        (
            "  merge:\n",
            "  my merge:\n",
            "18:3",
            "`my merge` cannot be the name of a node",
            "a letter, then letters",
        ),
        (
            "  merge:\n",
            "  input:\n",
            "18:3",
            "`input` cannot be the name of a node",
            "begin sources",
        ),
        (
            "  merge:\n",
            "  split:\n",
            "18:3",
            "`split` is defined twice",
            "rename one of the two",
        ),
        (
            "  text: bytes",
            "  text: bytes\n  text: list",
            "4:3",
            "`text` is defined twice",
            "rename one of the two",
        ),
        (
            "workflow: wordcount\n",
            "workflow: [a]\n",
            "1:11",
            "must be a name, but this is a list",
            "a letter",
        ),
        (
            "counts: bytes",
            "counts: byte",
            "13:23",
            "`byte` is no kind",
            "did you mean `bytes`?",
        ),
        (
            "counts: bytes",
            "counts: picture",
            "13:23",
            "`picture` is no kind",
            "`bytes`, `list` or `value`",
        ),
        (
            "counts: bytes",
            "counts:",
            "13:21",
            "but this is empty",
            "`bytes`, `list` or `value`",
        ),
        (
            "after: [split]",
            "trust: them",
            "22:12",
            "`trust` must be `own` or `other`",
            "`trust: other` if somebody else has made the executable",
        ),
        (
            "wordcount:merge",
            "wordcount",
            "19:15",
            "`wordcount` names no function",
            "`EXECUTABLE:FUNCTION`",
        ),
        (
            "wordcount:merge",
            "../x:merge",
            "19:15",
            "`../x:merge` names no function",
            "an executable's name is",
        ),
        (
            "wordcount:merge",
            "a:b:c",
            "19:15",
            "`a:b:c` names no function",
            "`EXECUTABLE:FUNCTION`",
        ),
    ]);
}

#[test]
fn what_the_language_has_but_this_version_does_not_run_is_called_so() {
    let told = with("after: [split]", "sandbox: x");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("22:5 `sandbox` is not supported yet | "),
        "{told:#?}"
    );
}

#[test]
fn keys_that_belong_elsewhere_are_shown_where() {
    each_gives(&[
        (
            "after: [split]",
            "batch: 3",
            "22:5",
            "no key `batch`",
            "`foreach: { list: SOURCE, batch: N }`",
        ),
        (
            "after: [split]",
            "when: x > 1",
            "22:5",
            "no key `when`",
            "it stands in a case",
        ),
        (
            "after: [split]",
            "optional: true",
            "22:5",
            "no key `optional`",
            "it stands at an input",
        ),
        (
            "after: [split]",
            "default: split",
            "22:5",
            "`default` has no meaning at a function",
            "beside `function` it may have `foreach`",
        ),
        (
            "attempts: 3",
            "jitter_ms: 3",
            "16:14",
            "no key `jitter_ms`",
            "a share of the wait",
        ),
    ]);
}

#[test]
fn a_cycle_is_shown_the_whole_way_round() {
    each_gives(&[
        (
            "text: input.text",
            "text: merge.totals",
            "5:3",
            "split → count → merge → split",
            "in one direction",
        ),
        (
            "after: [split]",
            "after: merge",
            "18:3",
            "merge → merge",
            "in one direction",
        ),
    ]);
}
