//! Every construct of the language stands in the plans as the definition has it, wherever its nodes run.

use super::*;
use engine::plan::{ErrorClass, ErrorMatch, Join, Retry};
use faasstore::binding::Kind;

const WHOLE: &str = "
workflow: whole
timeout_ms: 60000
input:
  text: bytes
  width: { kind: value, default: 200 }
  mode: { kind: value, optional: true }
constants: { limit: 100, names: [a, b] }
nodes:
  start:
    function: e:start
    input: { text: input.text, mode: { from: input.mode, optional: true } }
    output: { size: value, data: bytes }
    retry: [ { attempts: 3, on: [timeout] }, { attempts: 1, on: Fatal }, { attempts: 2, backoff_ms: 7 } ]
    catch:
      - { on: [crash, Busy], to: rescue }
      - rescue
  rescue: { function: f:rescue, input: { why: start.error }, output: { data: bytes } }
  choose:
    switch:
      - { when: start.size > constant.limit, then: [big, each] }
      - { when: start.size == input.width, then: [] }
    default: small
  big: { function: e:big, input: { data: start.data }, output: { data: bytes } }
  small: { command: [cat], input: { data: start.data }, output: { data: bytes } }
  merge:
    function: f:merge
    input: { data: 'first_of(big.data, small.data, rescue.data)', n: constant.names }
    output: { data: bytes }
  sums: { compute: { sum: start.size + 1, all: { list: '[1, 2]' } } }
  each: { function: e:each, foreach: { from: 0, to: sums.sum, parallelism: 2 }, input: { i: item }, output: { o: value } }
  named: { function: e:named, foreach: { list: constant.names, batch: 2 }, input: { i: item, all: sums.all } }
  pause: { delay_ms: 20, after: [named] }
  late: { function: f:late, input: { data: start.data }, delay_ms: sums.sum * input.width }
  until: { delay_until: 2030-01-01T00:00:00Z, after: start }
  try-a: { function: f:a, output: { o: bytes } }
  try-b: { function: f:b, output: { o: bytes } }
  fastest: { function: e:fastest, input: { a: try-a.o, b: try-b.o }, join: any }
  two: { join: { at_least: 2 }, after: [try-a, try-b, pause] }
output:
  data: merge.data
  each: { from: each.o, optional: true }
  sum: { from: sums.sum, default: 0 }
";

fn plans_where(place_of: impl Fn(usize) -> usize) -> (Definition, Graph, Vec<Plan>) {
    plans_of_definition(parse("w.yaml", WHOLE.as_bytes()).unwrap(), place_of)
}

fn plans_of_definition(
    definition: Definition,
    mut place_of: impl FnMut(usize) -> usize,
) -> (Definition, Graph, Vec<Plan>) {
    let graph = Graph::of(&definition);
    let capacities = [0, 1].map(|w| WorkerCapacity::new(format!("w{w}"), 99, 1 << 40));
    // What runs item by item runs on one worker: its first node says on which.
    let pins = graph.units().into_iter().map(|unit| {
        let node = graph.node(unit.start as NodeId);
        (node.name.clone(), format!("w{}", place_of(node.defined)))
    });
    let options = Options {
        fixed: pins.collect(),
        ..Options::default()
    };
    let placement = place(&graph, &capacities, &options).unwrap();
    let workers = [0, 1].map(|w| WorkerRef {
        name: format!("w{w}"),
        address: format!("127.0.0.1:{}", 7000 + w),
        lanes: 1,
        epoch: 1,
    });
    let terms = Terms {
        deployment: DeploymentId(7),
        replica: Replica::only(DeploymentId(7)),
        version: 1,
        limits: Limits::default(),
    };
    let plans = plan(&definition, &graph, &placement, &workers, terms);
    (definition, graph, plans)
}

fn node<'p>(plans: &'p [Plan], name: &str) -> &'p NodePlan {
    let mut nodes = plans.iter().flat_map(|plan| &plan.nodes);
    nodes.find(|node| node.name == name).unwrap()
}

/// What a node runs over.
fn region<'p>(plans: &'p [Plan], name: &str) -> &'p RegionPlan {
    let holds = |plan: &&&Plan| plan.nodes.iter().any(|node| node.name == name);
    let plan = plans.iter().collect::<Vec<_>>();
    let plan = plan.iter().find(holds).unwrap();
    &plan.regions[usize::from(node(plans, name).region.unwrap())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_construct_passes_the_workers_own_check_wherever_it_runs(places in prop::collection::vec(0_usize..2, 32)) {
        let (definition, _, plans) = plans_where(|index| places[index % places.len()]);
        for plan in &plans {
            if let Err(error) = plan.check() {
                prop_assert!(false, "worker {}: {}", plan.me, error);
            }
        }
        let names: Vec<&str> = plans.iter().flat_map(|plan| &plan.nodes).map(|node| node.name.as_str()).collect();
        prop_assert_eq!(names.len(), definition.nodes.len());
    }
}

#[test]
fn gates_catches_retriers_and_joins_are_those_of_the_definition() {
    let (_, _, plans) = plans_where(|index| index % 2);
    let id = |name: &str| node(&plans, name).id;
    let case = |case| Gate::Case {
        node: id("choose"),
        case,
    };
    assert_eq!(node(&plans, "big").gates, [case(0)]);
    assert_eq!(node(&plans, "each").gates, [case(0)]);
    assert_eq!(node(&plans, "each/range").gates, [case(0)]);
    assert_eq!(node(&plans, "small").gates, [case(2)]);
    let catch = |catch| Gate::Catch {
        node: id("start"),
        catch,
    };
    assert_eq!(node(&plans, "rescue").gates, [catch(0), catch(1)]);
    let start = node(&plans, "start");
    let named = ErrorMatch::Named("Busy".to_owned());
    let crash = ErrorMatch::Class(ErrorClass::Crash);
    assert_eq!(start.catches, [vec![crash, named], vec![]]);
    let retrier = |attempts, backoff_ms, on: Option<ErrorMatch>| Retry {
        attempts,
        backoff_ms,
        on: on.into_iter().collect(),
        ..Retry::default()
    };
    let expected = [
        retrier(3, 0, Some(ErrorMatch::Class(ErrorClass::Timeout))),
        retrier(1, 0, Some(ErrorMatch::Named("Fatal".to_owned()))),
        retrier(2, 7, None),
    ];
    assert_eq!(start.retriers, expected);
    assert_eq!(node(&plans, "rescue").retriers, []);
    assert_eq!((start.error_output, start.outputs.len()), (Some(2), 3));
    let error = Source::Output {
        node: start.id,
        output: 2,
    };
    assert_eq!(node(&plans, "rescue").inputs[0].sources, [error]);
    assert_eq!(node(&plans, "fastest").join, Join::AtLeast(1));
    assert_eq!(node(&plans, "two").join, Join::AtLeast(2));
    for (name, tolerated) in [
        ("try-a", true),
        ("try-b", true),
        ("start", false),
        ("two", false),
    ] {
        assert_eq!(node(&plans, name).tolerated, tolerated, "{name}");
    }
    let Work::Switch {
        conditions,
        default,
    } = &node(&plans, "choose").work
    else {
        panic!("a switch")
    };
    assert_eq!((conditions.len(), *default), (2, true));
    let Work::Function { arguments, .. } = &node(&plans, "small").work else {
        panic!("a command")
    };
    assert_eq!(*arguments, ["cat"]);
    assert_eq!(region(&plans, "named").batch, Some(2));
    assert_eq!(region(&plans, "each").parallelism, Some(2));
    assert_eq!(node(&plans, "pause").delays, [Delay::Fixed(20)]);
    let late = node(&plans, "late");
    let [Delay::Computed(delay)] = &late.delays[..] else {
        panic!("a computed delay")
    };
    assert_eq!(delay.text, "sums.sum * input.width");
    assert_eq!((delay.inputs.len(), late.inputs.len()), (2, 1));
    assert_eq!(delay.inputs[1].sources, [Source::Input(1)]);
    let until = &node(&plans, "until").delays;
    assert!(
        matches!(&until[..], [Delay::Until(delay)] if delay.text == "\"2030-01-01T00:00:00Z\""),
        "{until:?}"
    );
    assert_eq!(plans[0].timeout_ms, Some(60_000));
}

#[test]
fn alternatives_keep_their_order_and_constants_their_places() {
    let (_, _, plans) = plans_where(|_| 0);
    let id = |name: &str| node(&plans, name).id;
    let output = |name: &str| Source::Output {
        node: id(name),
        output: 0,
    };
    let merge = node(&plans, "merge");
    let expected = [output("big"), output("small"), output("rescue")];
    assert_eq!(merge.inputs[0].sources, expected);
    let plan = &plans[0];
    let constant = |source: Source| {
        let Source::Constant(place) = source else {
            panic!("{source:?} is no constant")
        };
        let constant = &plan.constants[usize::from(place)];
        let items = constant.items.iter().cloned();
        let texts: Vec<String> = items.map(|item| String::from_utf8(item).unwrap()).collect();
        texts
    };
    assert_eq!(constant(merge.inputs[1].sources[0]), ["[\"a\",\"b\"]"]);
    assert_eq!(constant(region(&plans, "named").list), ["\"a\"", "\"b\""]);
    let width = plan.inputs[1].default.unwrap();
    assert_eq!(constant(Source::Constant(width)), ["200"]);
    assert!(plan.inputs[2].optional && plan.outputs[1].optional);
    assert_eq!(constant(plan.outputs[2].sources[1].source), ["0"]);
}

#[test]
fn a_worker_knows_of_nodes_elsewhere_what_their_edges_to_it_need() {
    // `start` and `choose` on one worker, all that follows on the other.
    let (definition, _, _) = plans_where(|_| 0);
    let here = |index: usize| {
        let name = definition.nodes[index].name.value.as_str();
        usize::from(!matches!(name, "start" | "choose"))
    };
    let (_, _, plans) = plans_where(here);
    let remote = |name: &str| {
        let mut nodes = plans[1].remote_nodes.iter();
        nodes.find(|node| node.name == name).unwrap()
    };
    let choose = remote("choose");
    assert_eq!((choose.cases, choose.catches), (3, 0));
    let start = remote("start");
    assert_eq!(
        (start.cases, start.catches, start.error_output),
        (0, 2, Some(2))
    );
    let told = &node(&plans, "start").remote_consumers;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].outputs, [0, 1, 2]);
    let told = &node(&plans, "choose").remote_consumers;
    assert_eq!((told[0].worker, told[0].outputs.len()), (1, 0));
    assert_eq!(
        plans[0].participants[0].inputs,
        [0, 1, 2],
        "conditions read inputs too"
    );
}

const INNER: &str = "
workflow: inner
input: { i0: { kind: bytes, optional: true }, i1: { kind: value, default: 3 }, i2: { kind: list, default: [] } }
nodes:
  a: { function: e:a, input: { i: { from: input.i0, optional: true } }, output: { b: bytes, v: value }, catch: c }
  s: { switch: [ { when: a.v > input.i1, then: c } ] }
  c: { function: e:c, input: { x: { from: a.b, optional: true } }, output: { b: bytes } }
  d: { function: e:d, input: { v: input.i1 }, foreach: { from: 0, to: input.i1 }, output: { v: value } }
  e: { function: e:e, foreach: input.i2, input: { i: item, o: { from: input.i0, optional: true } }, output: { l: list, v: value } }
  g: { function: e:g, foreach: 'e.l[item]', input: { i: item, o: outer.item }, output: { v: value } }
  h: { function: e:h, foreach: e.v, input: { i: item, g: 'g.v[item]' } }
output:
  b: { first_of: [c.b, a.b, input.i0], optional: true }
  v: a.v
  l: d.v
";

/// Has what failed in another workflow read, in one node for all of it and in one for its items.
const MIDDLE: &str = "
workflow: middle
input: { i0: { kind: bytes, optional: true }, i1: { kind: value, default: 3 }, i2: { kind: list, default: [] } }
nodes:
  f: { workflow: inner.yaml, input: { i0: { from: input.i0, optional: true }, i2: input.i2 }, catch: { on: timeout, to: h } }
  h: { compute: { why: f.error } }
  m: { workflow: inner.yaml, foreach: input.i2, catch: { on: crash, to: k } }
  k: { input: { all: m.error }, function: e:k, output: { b: bytes, error: bytes }, catch: { on: Busy, to: z } }
  z: { function: e:z, input: { e: k.error } }
output:
  b: { first_of: [f.b, k.b, input.i0], optional: true }
  v: { first_of: [f.v, h.why] }
  l: f.l
";

/// Draws the text of a workflow, mostly a valid one.
struct Draw {
    state: u64,
    /// What later nodes may read, and what it is.
    sources: Vec<(String, Kind)>,
    /// What later foreach nodes may read of the same item.
    of_items: Vec<(String, Kind)>,
}

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        // Xorshift: every number comes, and the same seed gives the same text.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn source(&mut self, kind: Kind) -> String {
        if self.one_in(30) {
            return "input.o".to_owned();
        }
        let fits = self.sources.iter().filter(|(_, known)| *known == kind);
        let fits: Vec<String> = fits.map(|(source, _)| source.clone()).collect();
        if fits.is_empty() || self.one_in(200) {
            let any = self.below(self.sources.len() as u64) as usize;
            return self.sources[any].0.clone();
        }
        fits[self.below(fits.len() as u64) as usize].clone()
    }

    /// What the same item gave.
    fn of_item(&mut self, kind: Kind) -> String {
        let fits = self.of_items.iter().filter(|(_, known)| *known == kind);
        let fits: Vec<String> = fits.map(|(source, _)| source.clone()).collect();
        if fits.is_empty() || self.one_in(40) {
            return "item".to_owned();
        }
        let back = self.below(fits.len().min(3) as u64) as usize;
        fits[fits.len() - 1 - back].clone()
    }

    /// What a foreach runs over.
    fn over(&mut self) -> String {
        match self.below(8) {
            0 => {
                let to = self.source(Kind::Value);
                format!("{{ from: 0, to: {to}, parallelism: 2 }}")
            }
            1 => {
                let list = self.source(Kind::List);
                format!("{{ list: {list}, batch: 3 }}")
            }
            2 | 3 => match self.of_item(Kind::List) {
                list if list == "item" => "input.l".to_owned(),
                list => format!("\"{list}[item]\""),
            },
            4 => "input.l".to_owned(),
            _ => {
                let kind = [Kind::Bytes, Kind::Value][self.below(2) as usize];
                match self.of_item(kind) {
                    list if list == "item" => self.source(Kind::List),
                    list => list,
                }
            }
        }
    }

    /// An input of a foreach node.
    fn within(&mut self) -> String {
        let kind = self.kind();
        match self.below(6) {
            0 => "outer.item".to_owned(),
            1 | 2 => match self.of_item(kind) {
                source if source == "item" => source,
                source => format!("\"{source}[item]\""),
            },
            3 => self.binding(kind),
            _ => "item".to_owned(),
        }
    }

    fn kind(&mut self) -> Kind {
        [Kind::Bytes, Kind::Value, Kind::List][self.below(3) as usize]
    }

    fn binding(&mut self, kind: Kind) -> String {
        let (a, b) = (self.source(kind), self.source(kind));
        match self.below(7) {
            0 if a != b => format!("first_of({a}, {b})"),
            1 => format!("{{ from: {a}, optional: true }}"),
            2 if kind == Kind::Value => format!("{{ from: {a}, default: 1 }}"),
            3 => "{ from: input.o, optional: true }".to_owned(),
            4 if kind == Kind::Value => "7".to_owned(),
            _ => a,
        }
    }

    fn nodes(&mut self, from: u64, count: u64) -> String {
        let names: Vec<String> = (0..1 + self.below(2))
            .map(|_| format!("n{}", (from + self.below(count - from)).min(count)))
            .collect();
        if names.len() == 2 && names[0] == names[1] {
            return names[0].clone();
        }
        format!("[{}]", names.join(", "))
    }

    fn node(&mut self, number: u64, count: u64) -> String {
        let name = format!("n{number}");
        let before = (self.sources.clone(), self.of_items.clone());
        let gives = |draw: &mut Self, outputs: &[(&str, Kind)]| {
            let outputs = outputs.iter();
            let sources = outputs.map(|(output, kind)| (format!("{name}.{output}"), *kind));
            draw.sources.extend(sources);
        };
        let (b, v, l) = (("b", Kind::Bytes), ("v", Kind::Value), ("l", Kind::List));
        let value = self.source(Kind::Value);
        let bytes = self.binding(Kind::Bytes);
        let any = self.kind();
        let any = self.binding(any);
        let file = ["inner.yaml", "middle.yaml", "middle.yaml"][self.below(3) as usize];
        let each = |draw: &mut Self, outputs: &[(&str, Kind)]| {
            for (output, kind) in outputs {
                let source = format!("{name}.{output}");
                if *kind != Kind::List {
                    draw.sources.push((source.clone(), Kind::List));
                }
                draw.of_items.push((source, *kind));
            }
        };
        let (mut text, fails) = match self.below(13) {
            0 | 1 => {
                gives(self, &[b, v, l]);
                let outputs = "output: { b: bytes, v: value, l: list }";
                (
                    format!("function: e:f, {outputs}, input: {{ a: {any}, b: {bytes} }}"),
                    true,
                )
            }
            2 | 3 | 9 => {
                let (over, a, i) = (self.over(), self.within(), self.within());
                each(self, &[b, v, l]);
                let outputs = "output: { b: bytes, v: value, l: list }";
                (
                    format!(
                        "function: e{number}:f, foreach: {over}, {outputs}, input: {{ a: {a}, i: {i} }}"
                    ),
                    true,
                )
            }
            10 if number + 1 < count => {
                let (over, of, to) = (self.over(), self.of_item(Kind::Value), number + 1);
                (
                    format!(
                        "foreach: {over}, switch: [ {{ when: {of} == 1, then: n{to} }} ], default: []"
                    ),
                    true,
                )
            }
            11 => {
                let (over, of) = (self.over(), self.of_item(Kind::Value));
                each(self, &[v, l]);
                (
                    format!(
                        "foreach: {over}, compute: {{ v: {of} == 1, l: {{ from: 0, to: {of} }} }}"
                    ),
                    true,
                )
            }
            12 => {
                let (over, given, list) = (self.over(), self.within(), self.of_item(Kind::List));
                each(self, &[v]);
                let list = match over.contains("batch") || list == "item" {
                    true => "item".to_owned(),
                    false => format!("\"{list}[item]\""),
                };
                let list = match self.below(3) {
                    0 => String::new(),
                    _ => format!(", i2: {list}"),
                };
                (
                    format!(
                        "workflow: {file}, foreach: {over}, input: {{ i0: {{ from: {given}, optional: true }}{list} }}"
                    ),
                    true,
                )
            }
            4 => {
                gives(self, &[b]);
                (
                    format!("command: [cat], input: {{ x: {bytes} }}, output: {{ b: bytes }}"),
                    true,
                )
            }
            5 => {
                gives(self, &[v, l]);
                (
                    format!("compute: {{ v: {value} == 1, l: {{ from: 0, to: {value} }} }}"),
                    true,
                )
            }
            6 if number + 1 < count => {
                let (then, otherwise) =
                    (self.nodes(number + 1, count), self.nodes(number + 1, count));
                (
                    format!(
                        "switch: [ {{ when: {value} == 1, then: {then} }} ], default: {otherwise}"
                    ),
                    true,
                )
            }
            7 => {
                gives(self, &[b, v, l]);
                let (given, list) = (self.source(Kind::Bytes), self.source(Kind::List));
                (
                    format!(
                        "workflow: {file}, input: {{ i0: {{ from: {given}, optional: true }}, i2: {list} }}"
                    ),
                    true,
                )
            }
            _ => match self.below(3) {
                0 => ("delay_ms: 3".to_owned(), false),
                1 => (format!("delay_ms: '{}'", self.source(Kind::Value)), false),
                _ => (
                    format!("delay_until: '{}'", self.source(Kind::Value)),
                    false,
                ),
            },
        };
        let often = if text.starts_with("workflow") { 2 } else { 4 };
        if fails && number + 1 < count && self.one_in(often) {
            text += &format!(", catch: {}", self.nodes(number + 1, count));
            match text.contains("foreach") {
                true => each(self, &[("error", Kind::Value)]),
                false => gives(self, &[("error", Kind::Value)]),
            }
        }
        if number > 0 && self.one_in(4) {
            text += &format!(", after: n{}", self.below(number));
            if !text.starts_with("workflow") && self.one_in(2) {
                text += ", join: any";
            }
        }
        // What some nodes give is used by none, and what others give by many.
        if self.one_in(5) {
            (self.sources, self.of_items) = before;
        }
        format!("  {name}: {{ {text} }}\n")
    }
}

/// Whether a random definition is valid, and how many of its nodes run in regions: with others, and within others; whether it
/// reads what failed in another workflow, what failed in items there, and what failed in one that reads this itself. That its
/// plans then pass is asserted.
fn planned(seed: u64) -> Option<[bool; 5]> {
    let known = [
        ("input.b", Kind::Bytes),
        ("input.v", Kind::Value),
        ("input.l", Kind::List),
        ("constant.c", Kind::Value),
    ];
    let mut draw = Draw {
        state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        sources: known
            .map(|(source, kind)| (source.to_owned(), kind))
            .to_vec(),
        of_items: Vec::new(),
    };
    let mut text =
        "workflow: w\ninput: { b: bytes, v: value, l: list, o: { kind: value, optional: true } }\n\
                    constants: { c: 3 }\nnodes:\n"
            .to_owned();
    let count = 3 + draw.below(6);
    for number in 0..count {
        text += &draw.node(number, count);
    }
    let (value, bytes) = (draw.binding(Kind::Value), draw.binding(Kind::Bytes));
    text += &format!("output: {{ v: {value}, b: {bytes} }}\n");
    let mut others = |path: &std::path::Path| {
        let middle = path.ends_with("middle.yaml");
        Ok(if middle { MIDDLE } else { INNER }.as_bytes().to_vec())
    };
    let parsed = definition::parse_with("w.yaml", text.as_bytes(), &mut others);
    let definition = parsed.ok()?;
    let (definition, _, plans) = plans_of_definition(definition, |_| draw.below(2) as usize);
    for plan in &plans {
        if let Err(error) = plan.check() {
            panic!("seed {seed}, worker {}: {error}\n{text}", plan.me);
        }
    }
    let mut own = vec![0; definition.regions.len()];
    let regions = definition.nodes.iter().filter_map(|node| node.region);
    regions.for_each(|region| own[region] += 1);
    let within = definition.regions.iter();
    Some([
        own.iter().any(|nodes| *nodes > 1),
        within.clone().any(|region| region.parent.is_some()),
        definition
            .nodes
            .iter()
            .any(|node| node.name.value.ends_with(".error")),
        (0..definition.nodes.len())
            .flat_map(|node| definition.inputs_read(node))
            .any(|from| matches!(from, From::First { .. })),
        definition
            .nodes
            .iter()
            .any(|node| node.name.value.ends_with("/f.error") && node.error_output.is_some()),
    ])
}

#[test]
fn whatever_is_valid_gives_plans_that_pass_the_workers_own_check() {
    let valid: Vec<[bool; 5]> = (1..6000).filter_map(planned).collect();
    let held = [0, 1, 2, 3, 4].map(|what| valid.iter().filter(|held| held[what]).count());
    let counts = (valid.len(), held);
    assert!(
        valid.len() > 500 && held.iter().all(|held| *held > 20),
        "valid, with chains, with regions within others, with failures of other workflows, of items there, and of those that read such: {counts:?}"
    );
}
