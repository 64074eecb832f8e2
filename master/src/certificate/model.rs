//! When a node runs, as a circuit over free choices.
//!
//! The inputs of the circuit are choices: which case a switch takes, whether an optional input of the workflow is given,
//! and, where failures are allowed, how a node ends. Its gates count live edges, by the rules of docs/language.md. All
//! gates are monotone: an edge more that is live never makes a node be skipped.
//!
//! A node in a region is looked at for one item, in which the choices of the region's nodes are free as everywhere. Seen from
//! outside it is something else: it is gathered, with absent entries for items in which it was skipped, unless no item can run
//! it, whatever is chosen in them. Whether one of its cases was chosen in some item, or one of its catches took a failure in one,
//! is a free choice of its own. The first item of what is gathered is there if a node may have run in some item by these.

use crate::definition::{Definition, From, Node, Work};
use engine::plan::{Gate as InGate, Join, NodeId};
use rustc_hash::FxHashSet;
use std::collections::BTreeSet;

/// A gate of the circuit, by its place.
pub(super) type GateId = u32;
/// A choice, by its place.
pub(super) type Variable = u32;

/// What a gate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    /// Whether a choice falls so.
    Choice { variable: Variable, option: u16 },
    /// Whether so many of these hold; of none of none, always.
    AtLeast(u32, Vec<GateId>),
}

/// What is chosen freely.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Subject {
    /// Which case a switch takes.
    Switch(usize),
    /// Whether a client gives an input: the first option is that it does.
    Input(u16),
    /// How a node ends: well, or so that one of its catches takes it, or so that those who wait bear it.
    Ending(usize),
    /// Whether a case or catch of what runs for each item is live for some of them: the first option is that it is.
    SomeItem(InGate),
}

/// Something without which a node does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// One of the cases and catches that lead to it.
    Gates,
    /// A source of an input, by its place among [`Node::all_inputs`].
    Input(usize),
    /// The list of its foreach.
    Foreach,
    /// A live edge, whichever.
    Edge,
    /// So many live edges.
    Edges(u32),
}

/// Whether nodes may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failures {
    None,
    Free,
}

/// A definition as a circuit.
#[derive(Debug)]
pub(super) struct Model {
    /// Each reads earlier ones only.
    pub(super) gates: Vec<Gate>,
    /// What each choice is about, and how many options it has: two at least.
    pub(super) variables: Vec<(Subject, u16)>,
    /// By place in the definition: whether the node runs.
    pub(super) runs: Vec<GateId>,
    /// By place in the definition: what it needs, all of it.
    pub(super) needs: Vec<Vec<(Need, GateId)>>,
    /// By place in the definition: whether an output of the workflow has a source.
    pub(super) outputs: Vec<GateId>,
    /// By place in the definition: how many catches the node has.
    pub(super) catches: Vec<usize>,
}

impl Model {
    pub(super) fn of(definition: &Definition, failures: Failures) -> Self {
        let predecessors = definition.predecessors();
        let looked_for = looked_for(definition);
        let mut builder = Builder {
            definition,
            failures,
            in_gates: definition.gates(),
            tolerated: definition.tolerated(),
            gates: Vec::new(),
            variables: Vec::new(),
            given: Vec::new(),
            nodes: vec![Live::default(); definition.nodes.len()],
            gathered: vec![Vec::new(); definition.nodes.len()],
            shown: vec![Vec::new(); definition.nodes.len()],
            outward: outward(definition, &looked_for),
            looked_for,
            endings: vec![Vec::new(); definition.nodes.len()],
            depth: (0..definition.nodes.len())
                .map(|node| definition.regions_of(node).count())
                .collect(),
            needs: vec![Vec::new(); definition.nodes.len()],
        };
        let always = builder.all(Vec::new());
        builder.given = (0..definition.inputs.len())
            .map(|input| builder.input_given(input, always))
            .collect();
        for node in depth_first(&predecessors) {
            builder.node(node, always);
        }
        let outputs = definition.outputs.iter().map(|output| {
            let sources = output.from.iter().map(|from| from.value);
            builder.any_live(sources, Reader::OUTSIDE, always)
        });
        let outputs = outputs.collect();
        Self {
            runs: builder.nodes.iter().map(|live| live.runs).collect(),
            gates: builder.gates,
            variables: builder.variables,
            needs: builder.needs,
            outputs,
            catches: definition
                .nodes
                .iter()
                .map(|node| node.catches.len())
                .collect(),
        }
    }
}

/// The gates that say how a node ended.
#[derive(Clone, Default)]
struct Live {
    runs: GateId,
    well: GateId,
    /// A failure was taken by one of its catches.
    error: GateId,
    cases: Vec<GateId>,
    catches: Vec<GateId>,
    /// Of what is shown: it has run in some item.
    some: GateId,
}

struct Builder<'a> {
    definition: &'a Definition,
    failures: Failures,
    in_gates: Vec<Vec<InGate>>,
    tolerated: Vec<bool>,
    gates: Vec<Gate>,
    variables: Vec<(Subject, u16)>,
    given: Vec<GateId>,
    nodes: Vec<Live>,
    /// By node: the same as it is seen from around its region, then from around the region around that, and so on outward.
    gathered: Vec<Vec<Live>>,
    /// Likewise, the cases and catches of a node as those see them who are not part of its regions.
    shown: Vec<Vec<Live>>,
    /// Those that anybody sees so.
    outward: FxHashSet<InGate>,
    /// Nodes of which it counts whether they run in some item, by place in the definition.
    looked_for: FxHashSet<usize>,
    /// By place in the definition: how the node ends, of nodes that are there.
    endings: Vec<Vec<GateId>>,
    /// By place in the definition: how many regions the node is in.
    depth: Vec<usize>,
    needs: Vec<Vec<(Need, GateId)>>,
}

/// From where an edge is looked at.
#[derive(Clone, Copy)]
struct Reader {
    /// The region in which the reader runs.
    region: Option<usize>,
    /// Of how many of its regions, from the innermost outward, that is looked at for all items together: what they choose then
    /// counts as chosen in one of them.
    all: usize,
}

impl Reader {
    const OUTSIDE: Self = Self {
        region: None,
        all: 0,
    };
}

impl Builder<'_> {
    fn gate(&mut self, gate: Gate) -> GateId {
        self.gates.push(gate);
        (self.gates.len() - 1) as GateId
    }

    fn at_least(&mut self, count: u32, of: Vec<GateId>) -> GateId {
        match of[..] {
            [only] if count == 1 => only,
            _ => self.gate(Gate::AtLeast(count, of)),
        }
    }

    fn all(&mut self, of: Vec<GateId>) -> GateId {
        self.at_least(of.len() as u32, of)
    }

    fn any(&mut self, of: Vec<GateId>) -> GateId {
        self.at_least(1, of)
    }

    /// A gate for each option; what has one option is no choice.
    fn choice(&mut self, subject: Subject, options: usize, always: GateId) -> Vec<GateId> {
        if options == 1 {
            return vec![always];
        }
        let variable = self.variables.len() as Variable;
        self.variables.push((subject, options as u16));
        let gate = |option| Gate::Choice {
            variable,
            option: option as u16,
        };
        (0..options).map(|option| self.gate(gate(option))).collect()
    }

    fn input_given(&mut self, input: usize, always: GateId) -> GateId {
        let declared = &self.definition.inputs[input];
        if !declared.optional || declared.default.is_some() {
            return always;
        }
        self.choice(Subject::Input(input as u16), 2, always)[0]
    }

    fn live(&self, from: From, reader: Reader, always: GateId) -> GateId {
        match from {
            From::Item { .. } | From::Constant(_) => always,
            From::Input(input) => self.given[usize::from(input)],
            From::Output { node, output } => {
                let error = self.is_error(node, output);
                self.edge((node, error), reader)
            }
            From::First { node, output } if self.is_error(node, output) => {
                self.shown_to(node, reader).error
            }
            From::First { node, .. } => self.shown_to(node, reader).some,
        }
    }

    fn is_error(&self, node: usize, output: u16) -> bool {
        self.definition.nodes[node].error_output == Some(output)
    }

    /// Whether an edge from a node is live, or with `error` one that says what failed in it.
    fn edge(&self, (node, error): (usize, bool), reader: Reader) -> GateId {
        if error {
            return self.seen(node, reader).error;
        }
        match self.level(node, reader) {
            0 => self.nodes[node].well,
            level => self.gathered[node][level - 1].well,
        }
    }

    /// Of how many of a node's regions, from the innermost outward, a reader sees all items together: of those that it does
    /// not share, and of those of which it is looked at for all items itself.
    fn level(&self, node: usize, reader: Reader) -> usize {
        let outward = |region: &usize| self.definition.regions[*region].parent;
        let shares = |region: &usize| {
            let around = std::iter::successors(reader.region, outward);
            around.skip(reader.all).any(|other| other == *region)
        };
        let shared = self.definition.regions_of(node).filter(shares);
        self.depth[node] - shared.count()
    }

    /// What a reader sees of a node's cases and catches, and of what failed in it.
    fn seen(&self, node: usize, reader: Reader) -> &Live {
        let outward = |region: &usize| self.definition.regions[*region].parent;
        let for_all = std::iter::successors(reader.region, outward).take(reader.all);
        let mut shared =
            for_all.filter(|all| self.definition.regions_of(node).any(|own| own == *all));
        match (self.level(node, reader), shared.next()) {
            (0, _) => &self.nodes[node],
            (level, Some(_)) => &self.gathered[node][level - 1],
            (level, None) => &self.shown[node][level - 1],
        }
    }

    /// Whether a case or catch leads to what a reader looks at.
    fn let_in(&self, gate: InGate, reader: Reader) -> GateId {
        let live = self.seen(gate.node() as usize, reader);
        match gate {
            InGate::Case { case, .. } => live.cases[usize::from(case)],
            InGate::Catch { catch, .. } => live.catches[usize::from(catch)],
        }
    }

    fn any_live(
        &mut self,
        from: impl Iterator<Item = From>,
        reader: Reader,
        always: GateId,
    ) -> GateId {
        let live: BTreeSet<GateId> = from.map(|from| self.live(from, reader, always)).collect();
        if live.contains(&always) {
            return always;
        }
        self.any(live.into_iter().collect())
    }

    /// All that precede it are there.
    fn node(&mut self, place: usize, always: GateId) {
        let node = &self.definition.nodes[place];
        let needs = self.needs_of(place, 0, always);
        let runs = self.all(needs.iter().map(|(_, gate)| *gate).collect());
        self.needs[place] = needs;
        self.nodes[place] = self.endings(place, node, runs, always);
        for level in 1..=self.depth[place] {
            let needs = self.needs_of(place, level, always);
            let runs = self.all(needs.iter().map(|(_, gate)| *gate).collect());
            let gathered = self.gathered(place, node, runs);
            self.gathered[place].push(gathered);
            let shown = self.shown(place, level, runs, always);
            self.shown[place].push(shown);
        }
    }

    /// What is seen of a node's cases and catches by those who are not part of its region, if it may run for some item.
    fn shown(&mut self, place: usize, level: usize, runs: GateId, always: GateId) -> Live {
        let node = &self.definition.nodes[place];
        let never = self.at_least(1, Vec::new());
        let id = place as NodeId;
        let failures = self.failures;
        let mut some_item = |gate: InGate| {
            if !self.outward.contains(&gate) {
                return never;
            }
            let some = self.choice(Subject::SomeItem(gate), 2, always)[0];
            self.all(vec![runs, some])
        };
        let cases = match &node.work {
            Work::Switch(cases) => cases.len(),
            Work::Function { .. } | Work::Compute(_) | Work::Nothing => 0,
        };
        let cases = (0..cases as u16).map(|case| some_item(InGate::Case { node: id, case }));
        let cases: Vec<GateId> = cases.collect();
        let catches: Vec<GateId> = (0..node.catches.len())
            .map(|catch| match failures {
                Failures::Free if catch < reached(node) => {
                    let catch = catch as u16;
                    some_item(InGate::Catch { node: id, catch })
                }
                Failures::Free | Failures::None => never,
            })
            .collect();
        let some = match self.looked_for.contains(&place) {
            true => self.in_some_item(place, level, runs, always),
            false => never,
        };
        Live {
            runs,
            well: runs,
            error: self.any(catches.clone()),
            cases,
            catches,
            some,
        }
    }

    /// Whether a node has run in some item of so many of its regions: where what it needs is of the item, there is one that has
    /// that.
    fn in_some_item(&mut self, place: usize, level: usize, runs: GateId, always: GateId) -> GateId {
        let node = &self.definition.nodes[place];
        let mut needs = vec![runs];
        let outside = Reader {
            region: self.definition.regions_of(place).nth(level),
            all: 0,
        };
        let gates = self.in_gates[place].iter();
        let gates: Vec<GateId> = gates.map(|gate| self.let_in(*gate, outside)).collect();
        if !gates.is_empty() {
            needs.push(self.any(gates));
        }
        let reader = Reader {
            region: node.region,
            all: level,
        };
        for input in node.all_inputs().filter(|input| !input.optional) {
            let from = input.from.iter().map(|from| match from.value {
                From::Output { node: of, output } if self.level(of, outside) > 0 => {
                    let shown = self.shown_to(of, outside);
                    match (self.is_error(of, output), self.looked_for.contains(&of)) {
                        (true, _) => shown.error,
                        (false, true) => shown.some,
                        (false, false) => self.live(from.value, reader, always),
                    }
                }
                from => self.live(from, reader, always),
            });
            let from: Vec<GateId> = from.collect();
            needs.push(self.any(from));
        }
        self.all(needs)
    }

    /// What those see of a node who are not part of its regions, or of the innermost of them.
    fn shown_to(&self, node: usize, reader: Reader) -> &Live {
        &self.shown[node][self.level(node, reader) - 1]
    }

    /// All that a node needs in order to run for one item, or for any of all items of so many of its regions.
    fn needs_of(&mut self, place: usize, level: usize, always: GateId) -> Vec<(Need, GateId)> {
        let node = &self.definition.nodes[place];
        let reader = Reader {
            region: node.region,
            all: level,
        };
        let flow = self.definition.flow_edges(place);
        let flow = flow.into_iter().map(|edge| self.edge(edge, reader));
        let flow: Vec<GateId> = flow.collect();
        let gates = self.in_gates[place].iter();
        let gates: Vec<GateId> = gates.map(|gate| self.let_in(*gate, reader)).collect();
        let mut needs = Vec::new();
        if !gates.is_empty() {
            needs.push((Need::Gates, self.any(gates.clone())));
        }
        for (within, region) in self.definition.regions_of(place).enumerate() {
            let region = &self.definition.regions[region];
            let around = Reader {
                region: region.parent,
                all: level.saturating_sub(within + 1),
            };
            needs.push((Need::Foreach, self.live(region.list.value, around, always)));
        }
        match node.join {
            Join::AtLeast(count) => {
                needs.push((Need::Edges(count), self.at_least(count, flow)));
            }
            Join::All => {
                for (input, declared) in node.all_inputs().enumerate() {
                    if !declared.optional {
                        let sources = declared.from.iter().map(|from| from.value);
                        needs.push((Need::Input(input), self.any_live(sources, reader, always)));
                    }
                }
                let reached = self.definition.is_reached_by_list(place);
                if !(reached || flow.is_empty() && gates.is_empty()) {
                    let edges = flow.into_iter().chain(gates).collect();
                    needs.push((Need::Edge, self.any(edges)));
                }
            }
        }
        needs
    }

    /// What is seen of a node from around its region, if it may run for some item. Each of its items may end otherwise, so
    /// that nothing is left out; only a failure that those who wait for it bear is one of all items.
    fn gathered(&mut self, place: usize, node: &Node, runs: GateId) -> Live {
        let endings = self.endings[place].clone();
        let borne = self.tolerated[place] && endings.len() > 1;
        let well = if borne {
            let others = endings[..endings.len() - 1].to_vec();
            let ended = self.any(others);
            self.all(vec![runs, ended])
        } else {
            runs
        };
        let cases = match &node.work {
            Work::Switch(cases) => vec![well; cases.len()],
            Work::Function { .. } | Work::Compute(_) | Work::Nothing => Vec::new(),
        };
        Live {
            runs,
            well,
            error: if node.catches.is_empty() {
                self.at_least(1, Vec::new())
            } else {
                runs
            },
            cases,
            catches: vec![runs; node.catches.len()],
            some: runs,
        }
    }

    fn endings(&mut self, place: usize, node: &Node, runs: GateId, always: GateId) -> Live {
        let never = self.at_least(1, Vec::new());
        let tolerated = usize::from(self.tolerated[place]);
        let options = match self.failures {
            Failures::None => 1,
            Failures::Free => 1 + node.catches.len() + tolerated,
        };
        let ending = self.choice(Subject::Ending(place), options, always);
        self.endings[place].clone_from(&ending);
        let well = self.all(vec![runs, ending[0]]);
        let reached = reached(node);
        let catches: Vec<GateId> = (0..node.catches.len())
            .map(|catch| match ending.get(1 + catch) {
                Some(ending) if catch < reached => self.all(vec![runs, *ending]),
                _ => never,
            })
            .collect();
        let error = self.any(catches.clone());
        let cases = match &node.work {
            Work::Switch(cases) => self.choice(Subject::Switch(place), cases.len(), always),
            Work::Function { .. } | Work::Compute(_) | Work::Nothing => Vec::new(),
        };
        let cases = cases
            .into_iter()
            .map(|case| self.all(vec![well, case]))
            .collect();
        Live {
            runs,
            well,
            error,
            cases,
            catches,
            some: runs,
        }
    }
}

/// How many of a node's catches may take anything: what follows a catch of everything does not.
fn reached(node: &Node) -> usize {
    let all = node.catches.iter().position(|catch| catch.on.is_empty());
    all.map_or(node.catches.len(), |all| all + 1)
}

/// Whether a node runs outside of all regions, in this one, or around it.
fn is_around(definition: &Definition, region: Option<usize>, node: usize) -> bool {
    let outward = |region: &usize| definition.regions[*region].parent;
    let own = definition.nodes[node].region;
    own.is_none() || std::iter::successors(region, outward).any(|region| own == Some(region))
}

/// The cases and catches of what runs for each item of which others hear, or that let in what they look for.
fn outward(definition: &Definition, looked_for: &FxHashSet<usize>) -> FxHashSet<InGate> {
    let mut found = FxHashSet::default();
    for (place, gates) in definition.gates().iter().enumerate() {
        let region = definition.nodes[place].region;
        let looked_for = looked_for.contains(&place);
        let leaves = |node: usize| looked_for || !is_around(definition, region, node);
        found.extend(gates.iter().filter(|gate| leaves(gate.node() as usize)));
    }
    // Whoever reads what failed hears of all catches.
    let inputs = (0..definition.nodes.len()).map(|node| {
        let reads = definition.inputs_read(node);
        reads.collect::<Vec<From>>()
    });
    let outputs = definition.outputs.iter();
    let outputs = outputs.map(|output| output.from.iter().map(|from| from.value).collect());
    for from in inputs.chain(outputs).flatten() {
        if let Some((node, output)) = from.output()
            && definition.nodes[node].error_output == Some(output)
        {
            let catches = 0..definition.nodes[node].catches.len() as u16;
            found.extend(catches.map(|catch| InGate::Catch {
                node: node as NodeId,
                catch,
            }));
        }
    }
    found
}

/// Nodes the first of whose items is read, and those in their regions whose outputs these read.
fn looked_for(definition: &Definition) -> FxHashSet<usize> {
    let reads = (0..definition.nodes.len()).flat_map(|node| definition.inputs_read(node));
    let mut open: Vec<usize> = reads
        .filter_map(|from| match from {
            From::First { node, .. } => Some(node),
            _ => None,
        })
        .collect();
    let mut found = FxHashSet::default();
    while let Some(node) = open.pop() {
        if found.insert(node) {
            let within = |node: usize| definition.nodes[node].region;
            let said =
                |(of, output): (usize, u16)| definition.nodes[of].error_output != Some(output);
            let read = definition.inputs_read(node).filter_map(From::output);
            let read = read.filter(|read| said(*read)).map(|(of, _)| of);
            open.extend(read.filter(|of| within(*of) == within(node)));
        }
    }
    found
}

/// Every node behind all that it waits for, and close behind them: choices that matter together get numbers that are
/// close, on which the size of diagrams depends.
fn depth_first(predecessors: &[Vec<usize>]) -> Vec<usize> {
    let mut is_sink = vec![true; predecessors.len()];
    for predecessor in predecessors.iter().flatten() {
        is_sink[*predecessor] = false;
    }
    let mut seen = vec![false; predecessors.len()];
    let mut order = Vec::with_capacity(predecessors.len());
    let mut path: Vec<(usize, std::slice::Iter<'_, usize>)> = Vec::new();
    for sink in (0..predecessors.len()).filter(|node| is_sink[*node]) {
        seen[sink] = true;
        path.push((sink, predecessors[sink].iter()));
        while let Some((node, rest)) = path.last_mut() {
            match rest.next() {
                Some(next) if seen[*next] => {}
                Some(next) => {
                    seen[*next] = true;
                    path.push((*next, predecessors[*next].iter()));
                }
                None => {
                    order.push(*node);
                    path.pop();
                }
            }
        }
    }
    order
}
