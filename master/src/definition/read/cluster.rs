//! A file that describes a cluster.

use super::values::Fields;
use super::{Entry, Reader};
use crate::definition::cluster::{RawCluster, RawLink, RawPair, RawWorker};
use crate::definition::keys::{CLUSTER, CLUSTER_LINK, CLUSTER_PAIR, CLUSTER_WORKER};
use crate::definition::problem::{ProblemKind, Problems, quoted};
use crate::definition::tree::{self, Tree, Value};
use crate::definition::{DefinitionError, SourceText, Span, Spanned};
use engine::greeting::WORKER_NAME_BYTES_MAX;
use engine::worker::config::{WORKER_NAME_SYNTAX, is_plain_name};
use std::collections::HashMap;
use std::collections::hash_map;

const MIB: f64 = 1_048_576.0;

/// Reads a cluster file; what is wrong with it is added to `problems`.
///
/// # Errors
/// If it is no YAML.
pub(in crate::definition) fn read_cluster(
    source: &SourceText,
    problems: &mut Problems,
) -> Result<RawCluster, DefinitionError> {
    let tree = tree::parse(source, problems)?;
    let mut reader = Reader {
        source: source.clone(),
        problems: std::mem::replace(problems, Problems::new(source)),
        foreign: Vec::new(),
    };
    let cluster = reader.cluster(&tree).unwrap_or_default();
    reader.problems.forget_within(&reader.foreign);
    *problems = reader.problems;
    Ok(cluster)
}

impl Reader {
    fn cluster(&mut self, tree: &Tree) -> Option<RawCluster> {
        let fields = self.fields(tree, &CLUSTER)?;
        let workers = match fields.get("workers") {
            Some((_, tree)) => self.cluster_workers(tree),
            None => Vec::new(),
        };
        let link = match fields.get("link") {
            Some((_, tree)) => self
                .fields(tree, &CLUSTER_LINK)
                .map(|fields| self.link(&fields)),
            None => None,
        };
        let links = match fields.get("links") {
            Some((_, tree)) => self.links(tree),
            None => Vec::new(),
        };
        Some(RawCluster {
            workers,
            link: link.unwrap_or_default(),
            links,
        })
    }

    fn cluster_workers(&mut self, tree: &Tree) -> Vec<RawWorker> {
        const HELP: &str = "write NAME: { cpus: 4, memory_mib: 8192 } for each worker";
        let entries = self.map(tree, "`workers`", HELP).unwrap_or_default();
        let mut workers = Vec::with_capacity(entries.len());
        for (name, under) in entries {
            workers.extend(self.cluster_worker(name, under));
        }
        workers
    }

    fn cluster_worker(&mut self, name: &Spanned<String>, tree: &Tree) -> Option<RawWorker> {
        if !is_plain_name(&name.value, WORKER_NAME_BYTES_MAX) {
            let kind = ProblemKind::Name {
                what: "a worker",
                name: quoted(&name.value),
            };
            let help = format!("a worker's name has {WORKER_NAME_SYNTAX}");
            self.problems.add(name.span, kind, Some(help));
        }
        let fields = self.fields(tree, &CLUSTER_WORKER)?;
        let (cpus, lanes) = (self.whole(&fields, "cpus"), self.whole(&fields, "lanes"));
        if let (Some(cpus), Some(lanes), Some((_, tree))) = (cpus, lanes, fields.get("lanes"))
            && lanes > cpus
        {
            let kind = ProblemKind::Number {
                key: "lanes",
                expected: format!("a whole number from 1 to {cpus}, as many as `cpus`"),
                found: tree.describe(),
            };
            let help = "each lane needs a CPU of its own".to_owned();
            self.problems.add(tree.span, kind, Some(help));
        }
        Some(RawWorker {
            name: name.clone(),
            // Both are bounded by their keys.
            cpus: cpus.map(|cpus| cpus as u32),
            memory_mib: self.whole(&fields, "memory_mib"),
            lanes: lanes.map(|lanes| lanes as u8),
            speed: self.number(&fields, "speed"),
        })
    }

    fn link(&mut self, fields: &Fields<'_>) -> RawLink {
        let both = ["bandwidth_mib_per_s", "bytes_per_s"];
        let given = fields.among(&both);
        if given.len() > 1 {
            self.conflict(fields.span, &both, "say the bandwidth in one unit");
        } else if given.is_empty() && fields.get("latency_us").is_none() {
            let help = "say its `bandwidth_mib_per_s`, its `latency_us` or both";
            let _: Option<()> = self.missing(fields, "a link", "latency_us", help);
        }
        let bytes_per_s = match given[..] {
            ["bandwidth_mib_per_s"] => self.number(fields, both[0]).map(|mib| mib * MIB),
            ["bytes_per_s"] => self.whole(fields, both[1]).map(|bytes| bytes as f64),
            _ => None,
        };
        RawLink {
            bytes_per_s,
            latency_us: self.number(fields, "latency_us"),
        }
    }

    fn links(&mut self, tree: &Tree) -> Vec<RawPair> {
        const HELP: &str = "write a list of links, as in `- { between: [a, b], latency_us: 50 }`";
        let Value::List(items) = &tree.value else {
            self.shape(tree, "`links`", "a list", HELP);
            return Vec::new();
        };
        let mut pairs: Vec<RawPair> = Vec::with_capacity(items.len());
        let mut known: HashMap<(String, String), Span> = HashMap::new();
        for item in items {
            let Some(fields) = self.fields(item, &CLUSTER_PAIR) else {
                continue;
            };
            let link = self.link(&fields);
            for (from, to) in self.ends(&fields) {
                let ends = (from.value.clone(), to.value.clone());
                match known.entry(ends) {
                    hash_map::Entry::Vacant(entry) => {
                        entry.insert(item.span);
                        pairs.push(RawPair { from, to, link });
                    }
                    hash_map::Entry::Occupied(first) => self.problems.add_beside(
                        from.span,
                        ProblemKind::Twice {
                            what: format!(
                                "the link from `{}` to `{}`",
                                quoted(&from.value),
                                quoted(&to.value)
                            ),
                        },
                        Some("leave one of the two away".to_owned()),
                        Some((*first.get(), "first here")),
                    ),
                }
            }
        }
        pairs
    }

    /// The ways that a link is for: both, or one.
    fn ends(&mut self, fields: &Fields<'_>) -> Vec<(Spanned<String>, Spanned<String>)> {
        const HELP: &str =
            "write `between: [a, b]` for both ways, or `from: a` and `to: b` for one";
        let given = fields.among(&["between", "from", "to"]);
        match given[..] {
            ["between"] => {
                let Some((_, tree)) = fields.get("between") else {
                    return Vec::new();
                };
                let Some((a, b)) = self.two(tree) else {
                    return Vec::new();
                };
                if !self.are_two(&a, &b) {
                    return Vec::new();
                }
                vec![(a.clone(), b.clone()), (b, a)]
            }
            ["from", "to"] => {
                let mut end = |key: &str| {
                    let (_, tree): &Entry = fields.get(key)?;
                    self.worker_name(tree)
                };
                let ends = end("from").zip(end("to"));
                let ends = ends.filter(|(from, to)| self.are_two(from, to));
                ends.into_iter().collect()
            }
            ["from"] => {
                let _: Option<()> = self.missing(fields, "a link", "to", HELP);
                Vec::new()
            }
            ["to"] => {
                let _: Option<()> = self.missing(fields, "a link", "from", HELP);
                Vec::new()
            }
            [] => {
                let _: Option<()> = self.missing(fields, "a link", "between", HELP);
                Vec::new()
            }
            _ => {
                self.conflict(fields.span, &given, HELP);
                Vec::new()
            }
        }
    }

    fn two(&mut self, tree: &Tree) -> Option<(Spanned<String>, Spanned<String>)> {
        if let Value::List(items) = &tree.value
            && let [a, b] = &items[..]
        {
            return self.worker_name(a).zip(self.worker_name(b));
        }
        let help = "write both in brackets, as in `between: [a, b]`";
        self.shape(tree, "`between`", "a list of two workers", help);
        None
    }

    fn worker_name(&mut self, tree: &Tree) -> Option<Spanned<String>> {
        let text = self.scalar(
            tree,
            "a link's end",
            "the name of a worker",
            "name a worker",
        )?;
        Some(Spanned {
            value: text.to_owned(),
            span: tree.span,
        })
    }

    /// Whether a link's ends are not one worker, which is told otherwise.
    fn are_two(&mut self, from: &Spanned<String>, to: &Spanned<String>) -> bool {
        if from.value != to.value {
            return true;
        }
        let help = "what stays on a worker takes no link: name two workers";
        self.problems
            .add(to.span, ProblemKind::LinkToItself, Some(help.to_owned()));
        false
    }
}
