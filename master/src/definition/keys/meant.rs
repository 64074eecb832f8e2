//! Which key an unknown one was probably meant to be: a slip of the pen, or the word that another system has for it.

use super::Shape;
use engine::nearest::{alike, nearest, slip};

/// What an unknown key was probably meant to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::definition) struct Meant {
    pub(in crate::definition) key: &'static str,
    /// Whether it is a slip of the pen. What stands under another word may be of another form.
    pub(in crate::definition) slip: bool,
}

impl Shape {
    /// The key that an unknown one was probably meant to be. A word of another system counts only for a key that is not
    /// there; `given` says which are.
    pub(in crate::definition) fn meant(
        &self,
        name: &str,
        given: impl Fn(&str) -> bool,
    ) -> Option<Meant> {
        let names = self.names();
        let words = SYNONYMS.iter().filter(|(slug, _, _)| *slug == self.slug);
        let words = words.filter(|(_, key, _)| !given(key));
        let words = words.flat_map(|(_, key, words)| words.iter().map(move |word| (*word, *key)));
        let words: Vec<(&str, &'static str)> = words.collect();
        let other = |name: &str| {
            let found = words.iter().find(|(word, _)| *word == name);
            found.map(|(_, key)| *key)
        };
        if let Some(key) = other(name) {
            return Some(Meant { key, slip: false });
        }
        if let Some(key) = slip(name, names.iter().copied()) {
            return Some(Meant { key, slip: true });
        }
        let written_otherwise = alike(name, words.iter().map(|(word, _)| *word));
        let key = written_otherwise
            .and_then(other)
            .or_else(|| nearest(name, names));
        key.map(|key| Meant { key, slip: false })
    }
}

/// By mapping and key: what other systems call it.
const SYNONYMS: &[(&str, &str, &[&str])] = &[
    ("workflow", "workflow", &["name", "id"]),
    ("workflow", "nodes", &["steps", "tasks", "jobs", "states"]),
    ("workflow", "input", &["params", "parameters", "arguments"]),
    ("workflow", "output", &["result", "results"]),
    ("workflow", "constants", &["const", "vars", "variables"]),
    ("workflow", "timeout_ms", &["timeout", "timeout_seconds"]),
    ("input", "kind", &["type"]),
    ("output", "kind", &["type"]),
    (
        "output",
        "max_bytes",
        &["max_size", "size", "bytes", "limit"],
    ),
    ("output", "max_items", &["max_length", "items", "max_count"]),
    ("binding", "from", &["source", "ref"]),
    ("binding", "first_of", &["any_of", "one_of"]),
    ("binding", "default", &["fallback"]),
    ("binding", "value", &["const", "constant"]),
    ("node", "function", &["handler", "func"]),
    ("node", "command", &["cmd", "run", "exec", "script"]),
    ("node", "compute", &["expression", "formula"]),
    ("node", "switch", &["choice", "choices", "cases"]),
    ("node", "workflow", &["subworkflow", "uses"]),
    ("node", "foreach", &["map", "loop", "items", "with_items"]),
    (
        "node",
        "input",
        &["with", "args", "arguments", "params", "parameters"],
    ),
    ("node", "output", &["returns", "result", "results"]),
    (
        "node",
        "after",
        &["needs", "depends_on", "dependencies", "requires"],
    ),
    ("node", "retry", &["retries", "retrier", "retry_policy"]),
    ("node", "catch", &["on_error", "on_failure", "except"]),
    ("node", "timeout_ms", &["timeout", "timeout_seconds"]),
    ("node", "delay_ms", &["delay", "wait", "sleep"]),
    ("node", "delay_until", &["until", "wait_until"]),
    ("case", "when", &["if", "case", "condition"]),
    ("case", "then", &["next", "to", "goto", "do"]),
    ("foreach", "list", &["items", "in", "over"]),
    ("foreach", "batch", &["batch_size", "chunk"]),
    (
        "foreach",
        "parallelism",
        &["concurrency", "max_concurrency", "max_parallel"],
    ),
    ("join", "at_least", &["count", "min"]),
    (
        "retry",
        "attempts",
        &["max_attempts", "max_retries", "retries", "count", "limit"],
    ),
    (
        "retry",
        "backoff_ms",
        &["backoff", "delay", "interval", "interval_seconds"],
    ),
    ("retry", "factor", &["multiplier", "backoff_rate"]),
    (
        "retry",
        "backoff_max_ms",
        &["max_delay", "max_interval", "max_backoff"],
    ),
    ("retry", "on", &["errors", "error_equals"]),
    ("catch", "on", &["errors", "error_equals"]),
    ("catch", "to", &["next", "then", "goto"]),
    ("resources", "memory_mib", &["memory", "mem", "ram"]),
    ("resources", "cpus", &["cores", "vcpus"]),
    ("resources", "scale", &["replicas", "instances"]),
    ("profile", "runtime_ms", &["duration", "runtime"]),
    ("profile", "output_bytes", &["bytes", "size"]),
    ("profile", "items", &["width", "split_ratio", "count"]),
    ("profile", "runs", &["probability", "share"]),
    ("profile", "busy", &["cpu", "utilisation", "utilization"]),
    (
        "profile",
        "peak_mib",
        &["memory", "mem_usage", "memory_mib"],
    ),
];

#[cfg(test)]
mod tests {
    use super::super::ALL;
    use super::*;

    fn meant(slug: &str, name: &str) -> Option<&'static str> {
        let shape = ALL.iter().find(|shape| shape.slug == slug).unwrap();
        shape.meant(name, |_| false).map(|meant| meant.key)
    }

    #[test]
    fn every_synonym_is_one_of_a_key_that_there_is_and_of_none_that_is_known() {
        for (slug, key, words) in SYNONYMS {
            let shape = ALL.iter().find(|shape| shape.slug == *slug).unwrap();
            assert!(shape.names().contains(key), "{slug} {key}");
            for word in *words {
                assert!(!shape.names().contains(word), "{slug} {word}");
                let elsewhere = shape.elsewhere.iter().any(|(other, _)| other == word);
                assert!(!elsewhere, "{slug} {word}");
                assert_eq!(meant(slug, word), Some(*key), "{slug} {word}");
            }
        }
    }

    #[test]
    fn slips_and_words_of_other_systems_lead_to_their_keys() {
        for (slug, name, key) in [
            ("node", "inptu", Some("input")),
            ("node", "functoin", Some("function")),
            ("workflow", "worklfow", Some("workflow")),
            ("node", "time_out", Some("timeout_ms")),
            ("node", "Timeout", Some("timeout_ms")),
            ("node", "timeuot", Some("timeout_ms")),
            ("node", "dependsOn", Some("after")),
            ("node", "delayMs", Some("delay_ms")),
            ("retry", "maxAttempts", Some("attempts")),
            ("node", "colour", None),
            ("node", "zzz", None),
        ] {
            assert_eq!(meant(slug, name), key, "{slug} {name}");
        }
    }

    #[test]
    fn what_stands_there_already_is_meant_by_a_slip_alone() {
        let node = ALL.iter().find(|shape| shape.slug == "node").unwrap();
        assert_eq!(node.meant("cmd", |key| key == "command"), None);
        let slip = node.meant("comand", |key| key == "command").unwrap();
        assert_eq!((slip.key, slip.slip), ("command", true));
    }
}
