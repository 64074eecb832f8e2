//! The tables: every mapping of the language, with its keys.

use super::{Holds, Key, Shape};

/// Longest that a time in a definition may be: one day, in milliseconds.
pub(crate) const TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Most executors of a node, and most CPUs of one.
pub(crate) const SCALE_MAX: u64 = 1024;
/// Most memory of an executor, in MiB: 1 TiB.
pub(crate) const MEMORY_MIB_MAX: u64 = 1 << 20;
/// Most attempts of an activation by one retrier.
pub(crate) const ATTEMPTS_MAX: u64 = engine::plan_check::ATTEMPTS_MAX as u64;
/// Most retriers of a node.
pub(crate) const RETRIERS_MAX: u64 = engine::plan_check::RETRIERS_MAX;
/// By how much a wait may be longer than the one before, at most.
pub(crate) const FACTOR_MAX: f64 = 100.0;
/// Most items that a profile may claim.
const PROFILE_ITEMS_MAX: u64 = 1_000_000_000;
/// A part of a whole.
const SHARE: Holds = Holds::Number {
    least: 0.0,
    most: 1.0,
};
/// Bytes of outputs.
const BYTES: Holds = Holds::Whole {
    least: 0,
    most: PROFILE_BYTES_MAX,
};
/// Most bytes that a profile may claim: 1 PiB.
pub(crate) const PROFILE_BYTES_MAX: u64 = 1 << 50;
/// Most bytes that a maximum may be: 16 TiB.
pub(crate) const MAXIMUM_BYTES_MAX: u64 = 1 << 44;
const MAX_BYTES: Key = key(
    "max_bytes",
    "Most bytes that it may have, as in `64KiB`; of a list, each of its items",
    Holds::Size,
);
const MAX_ITEMS: Key = key("max_items", "Most items that the list may have", COUNT);
const MAX_TOTAL_BYTES: Key = key(
    "max_total_bytes",
    "Most bytes that all items of the list may have together, as in `1MiB`",
    Holds::Size,
);
/// Most items that `batch` and `parallelism` may name.
pub(crate) const ITEMS_MAX: u64 = engine::plan_check::ITEMS_MAX as u64;
/// Most edges that a join may name.
const EDGES_MAX: u64 = 1 << 20;

const fn key(name: &'static str, about: &'static str, holds: Holds) -> Key {
    Key { name, about, holds }
}

/// The kinds, by name.
pub(in crate::definition) const KINDS: &[&str] = &["bytes", "list", "value"];
const TIME: Holds = Holds::Whole {
    least: 1,
    most: TIME_MS_MAX,
};
const _: () = assert!(TIME_MS_MAX == engine::delay::DELAY_MS_MAX as u64);
const WAIT: Holds = Holds::Whole {
    least: 0,
    most: TIME_MS_MAX,
};
const NODES: Holds = Holds::OneOrMore(&Holds::Name);
const FAILURES: Holds = Holds::OneOrMore(&Holds::Text);
const COUNT: Holds = Holds::Whole {
    least: 1,
    most: ITEMS_MAX,
};
const PARTS: Holds = Holds::Whole {
    least: 2,
    most: engine::plan::PARTS_MAX as u64,
};
const DIVIDES: &[&str] = &["auto", "never"];
/// Where payloads on an edge may go.
const EDGE_STORES: &[&str] = &["memory", "spill", "remote"];
const TRUSTS: &[&str] = &["own", "other"];
const BOUND: Holds = Holds::Named(&Holds::Either(&[
    Holds::Source,
    Holds::Plain,
    Holds::Keys(&BINDING),
]));

const NEEDED: &str =
    "it is needed unless it has `optional: true` or a `default`: take `required` away";

/// The file.
pub(in crate::definition) const WORKFLOW: Shape = Shape {
    slug: "workflow",
    what: "a workflow",
    keys: &[
        key(
            "workflow",
            "The name by which clients invoke it",
            Holds::Name,
        ),
        key(
            "input",
            "Inputs by name, each with its kind",
            Holds::Named(&Holds::Either(&[Holds::Words(KINDS), Holds::Keys(&INPUT)])),
        ),
        key(
            "constants",
            "Values by name, which `constant.NAME` names",
            Holds::Named(&Holds::Any),
        ),
        key(
            "nodes",
            "Nodes by name, at least one",
            Holds::Named(&Holds::Keys(&NODE)),
        ),
        key("output", "Outputs by name, each with its source", BOUND),
        key(
            "timeout_ms",
            "Longest that an invocation may take, in milliseconds",
            TIME,
        ),
        key(
            "store",
            "Where payloads go for which memory has no room",
            Holds::Keys(&STORE),
        ),
    ],
    needs: &["workflow", "nodes"],
    elsewhere: &[("constant", "constants stand under `constants`")],
    not_yet: &["limits"],
    ..Shape::PLAIN
};

/// Where payloads go for which memory has no room.
pub(in crate::definition) const STORE: Shape = Shape {
    slug: "store",
    what: "`store`",
    keys: &[
        key(
            "quota_mib",
            "Memory that payloads may have on each worker, in MiB; by default what executors reserve and do not use",
            Holds::Whole {
                least: 1,
                most: MEMORY_MIB_MAX,
            },
        ),
        key(
            "spill",
            "Whether they may be spilled to the worker's disk; they may by default",
            Holds::Flag,
        ),
        key(
            "remote",
            "Whether they may be carried to the worker's remote store, if it has one; they may by default",
            Holds::Flag,
        ),
    ],
    ..Shape::PLAIN
};

/// An input of the workflow that is more than a kind.
pub(in crate::definition) const INPUT: Shape = Shape {
    slug: "input",
    what: "an input",
    keys: &[
        key("kind", "What it holds", Holds::Words(KINDS)),
        key(
            "default",
            "What stands in for it if a client does not give it",
            Holds::Any,
        ),
        key(
            "optional",
            "Whether a client may leave it out, so that nodes see none",
            Holds::Flag,
        ),
        MAX_BYTES,
        MAX_ITEMS,
        MAX_TOTAL_BYTES,
    ],
    needs: &["kind"],
    elsewhere: &[("required", NEEDED)],
    ..Shape::PLAIN
};

/// An output of a node that is more than a kind.
pub(in crate::definition) const OUTPUT: Shape = Shape {
    slug: "output",
    what: "an output",
    keys: &[
        key("kind", "What it holds", Holds::Words(KINDS)),
        MAX_BYTES,
        MAX_ITEMS,
        MAX_TOTAL_BYTES,
    ],
    needs: &["kind"],
    ..Shape::PLAIN
};

/// What an input of a node, or an output of the workflow, is bound to.
pub(in crate::definition) const BINDING: Shape = Shape {
    slug: "binding",
    what: "a source",
    keys: &[
        key("from", "The one source", Holds::Source),
        key(
            "first_of",
            "Sources: the first in this order that is live is taken",
            Holds::List(&Holds::Source),
        ),
        key("default", "What is taken if no source is live", Holds::Any),
        key("optional", "Whether it may be absent", Holds::Flag),
        key(
            "store",
            "Where it may go if memory has no room for it; by default where the workflow's `store` says",
            Holds::Words(EDGE_STORES),
        ),
        key("value", "A constant value", Holds::Any),
        key("text", "Constant bytes", Holds::Text),
    ],
    needs_one_of: &["from", "first_of", "value", "text"],
    elsewhere: &[("required", NEEDED)],
    ..Shape::PLAIN
};

/// A node.
pub(in crate::definition) const NODE: Shape = Shape {
    slug: "node",
    what: "a node",
    keys: &[
        key(
            "function",
            "A function in an executable of the workers' functions folder: EXECUTABLE:FUNCTION",
            Holds::Function,
        ),
        key(
            "command",
            "A program and its words; `{input.NAME}` in a word is a path at which that input can be read",
            Holds::List(&Holds::Text),
        ),
        key(
            "compute",
            "Outputs by name, each a CEL expression over values",
            Holds::Named(&Holds::Either(&[Holds::Expression, Holds::Keys(&FORMULA)])),
        ),
        key(
            "switch",
            "Cases: the first whose condition holds is chosen",
            Holds::List(&Holds::Keys(&CASE)),
        ),
        key(
            "default",
            "Nodes that a switch leads to if no condition holds",
            NODES,
        ),
        key(
            "workflow",
            "Another workflow's file, relative to this one; its nodes are put in this one's place",
            Holds::Text,
        ),
        key(
            "foreach",
            "The node runs once for each item of this list",
            Holds::Either(&[Holds::Source, Holds::Keys(&FOREACH)]),
        ),
        key("input", "Inputs by name, each with its source", BOUND),
        key(
            "output",
            "Outputs by name, each with its kind",
            Holds::Named(&Holds::Either(&[Holds::Words(KINDS), Holds::Keys(&OUTPUT)])),
        ),
        key("after", "Nodes that must have ended first", NODES),
        key("apart", "Nodes that must not run on the same worker", NODES),
        key(
            "join",
            "Whether it waits for all nodes before it, for any one, or for some",
            Holds::Either(&[Holds::Words(&["all", "any"]), Holds::Keys(&JOIN)]),
        ),
        key(
            "retry",
            "How a failed activation is tried again; of several, the first that takes the failure says it",
            Holds::OneOrUpTo(RETRIERS_MAX, &Holds::Keys(&RETRY)),
        ),
        key(
            "catch",
            "Where failures lead that no attempt is left for",
            Holds::OneOrMore(&Holds::Either(&[Holds::Name, Holds::Keys(&CATCH)])),
        ),
        key(
            "timeout_ms",
            "Longest that an attempt may take, in milliseconds",
            TIME,
        ),
        key(
            "delay_ms",
            "How long it waits once it could start, in milliseconds: a number, or a CEL expression",
            Holds::Either(&[WAIT, Holds::ExpressionText]),
        ),
        key(
            "delay_until",
            "The time until which it waits once it could start: as RFC 3339 has it, or a CEL expression",
            Holds::Expression,
        ),
        key(
            "resources",
            "What it needs of a worker",
            Holds::Keys(&RESOURCES),
        ),
        key(
            "trust",
            "Whose its executable is: of somebody else's (`other`) payloads are copied before they are read",
            Holds::Words(TRUSTS),
        ),
        key(
            "profile",
            "What the partitioner may assume",
            Holds::Keys(&PROFILE),
        ),
    ],
    needs_one_of: &[
        "function",
        "command",
        "compute",
        "switch",
        "workflow",
        "delay_ms",
        "delay_until",
        "join",
    ],
    elsewhere: &[
        (
            "batch",
            "it stands in `foreach`: `foreach: { list: SOURCE, batch: N }`",
        ),
        (
            "parallelism",
            "it stands in `foreach`: `foreach: { list: SOURCE, parallelism: N }`",
        ),
        (
            "divide",
            "it stands in `foreach`: `foreach: { list: SOURCE, divide: N }`",
        ),
        (
            "when",
            "it stands in a case: `switch: [ { when: CONDITION, then: NODE } ]`",
        ),
        (
            "then",
            "it stands in a case: `switch: [ { when: CONDITION, then: NODE } ]`",
        ),
        (
            "optional",
            "it stands at an input: `input: { NAME: { from: SOURCE, optional: true } }`",
        ),
        (
            "store",
            "it stands at an input, or for all of the workflow beside `nodes`: `input: { NAME: { from: SOURCE, store: spill } }`",
        ),
        (
            "first_of",
            "it stands at an input: `input: { NAME: { first_of: [SOURCE, SOURCE] } }`",
        ),
        (
            "constants",
            "constants stand beside `nodes`, for the whole workflow",
        ),
        (
            "if",
            "conditions stand in a switch: `switch: [ { when: CONDITION, then: NODE } ]`",
        ),
        (
            "env",
            "programs see the worker's environment; what is this node's alone goes under `input`",
        ),
        (
            "type",
            "what a node does is said by one of `function`, `command`, `compute`, `switch` and `workflow`",
        ),
        (
            "scale",
            "it stands in `resources`: `resources: { scale: 4 }`",
        ),
        ("cpus", "it stands in `resources`: `resources: { cpus: 2 }`"),
        (
            "memory",
            "it stands in `resources`: `resources: { memory_mib: 256 }`",
        ),
        (
            "memory_mib",
            "it stands in `resources`: `resources: { memory_mib: 256 }`",
        ),
    ],
    not_yet: &["sandbox"],
    ..Shape::PLAIN
};

/// A case of a switch.
pub(in crate::definition) const CASE: Shape = Shape {
    slug: "case",
    what: "a case",
    keys: &[
        key("when", "A CEL condition over values", Holds::Expression),
        key("then", "Nodes that it leads to", NODES),
    ],
    needs: &["when", "then"],
    elsewhere: &[("default", "it stands beside `switch`: `default: NODE`")],
    ..Shape::PLAIN
};

/// A computed output that is a list.
pub(in crate::definition) const FORMULA: Shape = Shape {
    slug: "formula",
    what: "a computed output",
    keys: &[
        key(
            "from",
            "The first whole number, a CEL expression",
            Holds::Expression,
        ),
        key(
            "to",
            "Behind the last whole number, a CEL expression",
            Holds::Expression,
        ),
        key(
            "list",
            "A CEL expression that gives a list; each element is an item",
            Holds::Expression,
        ),
        MAX_ITEMS,
    ],
    needs_one_of: &["list", "to"],
    ..Shape::PLAIN
};

/// What a node runs over.
pub(in crate::definition) const FOREACH: Shape = Shape {
    slug: "foreach",
    what: "`foreach`",
    keys: &[
        key("list", "The list", Holds::Source),
        key(
            "from",
            "The first whole number, a CEL expression",
            Holds::Expression,
        ),
        key(
            "to",
            "Behind the last whole number, a CEL expression",
            Holds::Expression,
        ),
        key(
            "batch",
            "How many items each activation takes together",
            COUNT,
        ),
        key("parallelism", "Most activations at once", COUNT),
        key(
            "max_items",
            "Most whole numbers that it may run over",
            COUNT,
        ),
        key(
            "divide",
            "Whether its items may be divided among workers: where one is too small for it, or several are faster (`auto`), `never`, or in so many parts",
            Holds::Either(&[PARTS, Holds::Words(DIVIDES)]),
        ),
    ],
    needs_one_of: &["list", "to"],
    ..Shape::PLAIN
};

/// A join of some.
pub(in crate::definition) const JOIN: Shape = Shape {
    slug: "join",
    what: "`join`",
    keys: &[key(
        "at_least",
        "Live edges at which it starts",
        Holds::Whole {
            least: 1,
            most: EDGES_MAX,
        },
    )],
    needs: &["at_least"],
    ..Shape::PLAIN
};

/// How a failed activation is tried again.
pub(in crate::definition) const RETRY: Shape = Shape {
    slug: "retry",
    what: "`retry`",
    keys: &[
        key(
            "attempts",
            "Attempts in all; with several retriers, one more than this one adds at most",
            Holds::Whole {
                least: 1,
                most: ATTEMPTS_MAX,
            },
        ),
        key(
            "backoff_ms",
            "Wait before the first attempt that it adds, in milliseconds",
            WAIT,
        ),
        key(
            "factor",
            "By how much each further wait is longer than the one before",
            Holds::Number {
                least: 1.0,
                most: FACTOR_MAX,
            },
        ),
        key("backoff_max_ms", "Longest wait, in milliseconds", WAIT),
        key(
            "jitter",
            "Up to what share of a wait is left out at random",
            Holds::Number {
                least: 0.0,
                most: 1.0,
            },
        ),
        key(
            "on",
            "Which failures it takes: classes, or names with which errors begin; all, if none is named",
            FAILURES,
        ),
    ],
    elsewhere: &[("jitter_ms", "`jitter` is a share of the wait, from 0 to 1")],
    ..Shape::PLAIN
};

/// Where failures lead.
pub(in crate::definition) const CATCH: Shape = Shape {
    slug: "catch",
    what: "`catch`",
    keys: &[
        key(
            "on",
            "Which failures: classes, or names with which errors begin; all, if none is named",
            FAILURES,
        ),
        key("to", "Nodes that they lead to", NODES),
    ],
    needs: &["to"],
    ..Shape::PLAIN
};

/// What a node needs of a worker.
pub(in crate::definition) const RESOURCES: Shape = Shape {
    slug: "resources",
    what: "`resources`",
    keys: &[
        key(
            "memory_mib",
            "Memory of each executor, in MiB",
            Holds::Whole {
                least: 1,
                most: MEMORY_MIB_MAX,
            },
        ),
        key(
            "scale",
            "Executors",
            Holds::Whole {
                least: 1,
                most: SCALE_MAX,
            },
        ),
        key(
            "cpus",
            "CPUs that one activation keeps busy",
            Holds::Whole {
                least: 1,
                most: SCALE_MAX,
            },
        ),
    ],
    ..Shape::PLAIN
};

/// What the partitioner may assume.
pub(in crate::definition) const PROFILE: Shape = Shape {
    slug: "profile",
    what: "`profile`",
    keys: &[
        key(
            "runtime_ms",
            "How long one activation runs, in milliseconds",
            Holds::Number {
                least: 0.0,
                most: TIME_MS_MAX as f64,
            },
        ),
        key(
            "output_bytes",
            "All outputs of all activations in one invocation together, or each output by its name",
            Holds::Either(&[BYTES, Holds::Named(&BYTES)]),
        ),
        key(
            "items",
            "Items of the list that its `foreach` runs over",
            Holds::Whole {
                least: 0,
                most: PROFILE_ITEMS_MAX,
            },
        ),
        key(
            "runs",
            "The share of the invocations in which it runs",
            SHARE,
        ),
        key(
            "busy",
            "The share of its run time in which it keeps its CPUs busy",
            SHARE,
        ),
        key(
            "peak_mib",
            "Memory that one activation uses itself, payloads apart, in MiB",
            Holds::Whole {
                least: 0,
                most: MEMORY_MIB_MAX,
            },
        ),
        key(
            "placeholder",
            "Whether these are figures that nobody has measured",
            Holds::Flag,
        ),
    ],
    ..Shape::PLAIN
};

/// All mappings with known keys.
#[cfg(test)]
pub(in crate::definition) const ALL: &[&Shape] = &[
    &WORKFLOW, &INPUT, &OUTPUT, &BINDING, &NODE, &CASE, &FORMULA, &FOREACH, &JOIN, &RETRY, &CATCH,
    &RESOURCES, &PROFILE, &STORE,
];
