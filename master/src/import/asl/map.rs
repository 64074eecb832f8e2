//! Map states: a list of what each item's machine is given, and foreach nodes over it for the machine's states, which run
//! item by item with each other. A machine that is one Pass is an expression over the list.

use super::cel::{Cel, Reads};
use super::machine::{Machine, State, Until, Work as StateWork};
use super::map_catch::Relay;
use super::template::{self, Scope};
use super::translate::{Entry, ITEM, OUTPUT, RESULT, Translator, Way, first_of};
use crate::definition::keys::ITEMS_MAX;
use crate::import::draft::{Foreach, Formula, Node, Source, Work};
use crate::import::tree::{Tree, Value};

/// The variable that stands for an item in an expression over the list.
pub(super) const EACH: &str = "it";
/// The variable that stands for an item's place.
const INDEX: &str = "index";
/// What an item of the list holds if its machine asks for the item itself or its place: these, and what it is given.
const GIVEN: &str = "input";
const ITEM_VALUE: &str = "value";
const ITEM_INDEX: &str = "index";

/// A Map whose machine is translated.
pub(super) struct Items {
    /// How expressions name the item and its place, if they may.
    pub(super) item: Option<(Cel, Cel)>,
    /// The nodes of Fail states, which never have a result.
    pub(super) failing: Vec<String>,
}

/// What each item of a Map is given.
struct Each<'m, 't> {
    map: &'m State<'t>,
    /// The Map's own input, as far as its InputPath lets it through.
    input: Cel,
    selector: Option<&'t Tree>,
}

/// What a Map's machine comes to, gathered.
struct Gathered {
    /// The node whose outputs are the items' results.
    results: String,
    /// The node that says in brief how an item failed; none if no failure is taken.
    briefs: Option<String>,
}

impl Translator<'_> {
    pub(super) fn map(
        &mut self,
        state: &State<'_>,
        entry: Entry,
    ) -> Option<Vec<(Option<usize>, Way)>> {
        let StateWork::Map {
            machine,
            items_path,
            selector,
            concurrency,
        } = &state.work
        else {
            return None;
        };
        let own = self.handlers_of(state)?;
        let entry = if entry.sources.len() == 1 {
            entry
        } else {
            let way = self.through(&format!("{}_input", state.name), &entry)?;
            self.entry(state.name, vec![way])
        };
        let base = entry.base();
        let input = self.selected(state, &base)?;
        let items = match items_path {
            Some(tree) => {
                let scope = self.scope(state, &input);
                template::at_path(self.reader, tree, "`ItemsPath`", &scope)?
            }
            None => input.clone(),
        };
        let each = Each {
            map: state,
            input,
            selector: *selector,
        };
        let parallelism = match concurrency {
            Some(tree) => self.reader.whole(tree, "MaxConcurrency", ITEMS_MAX)?,
            None => 0,
        };
        if let Some((pass, result)) = only_pass(machine) {
            let list = self.over_items(&items, |translator, item, index| {
                let given = translator.given(&each, item, index)?;
                translator.passed(pass, result, &given, (item, index))
            })?;
            let output = self.output(state, &base, &list)?;
            let name = self.names.identifier(state.name, "state_");
            let way = self.compute(name, &output, &entry, state.span)?;
            return Some(vec![(state.next, way)]);
        }
        let whole = asks_for_item(machine);
        let list = self.over_items(&items, |translator, item, index| {
            let given = translator.given(&each, item, index)?;
            Some(if whole {
                Cel::object(&[
                    (GIVEN.to_owned(), given),
                    (ITEM_VALUE.to_owned(), item.clone()),
                    (ITEM_INDEX.to_owned(), index.clone()),
                ])
            } else {
                given
            })
        })?;
        let name = self
            .names
            .identifier(&format!("{}_items", state.name), "state_");
        let list = self.compute_list(name, &list, &entry, state)?;
        let foreach = Foreach {
            list: self.source(&list, OUTPUT),
            batch: None,
            parallelism: (parallelism > 0).then_some(parallelism as u32),
        };
        let relays = self.relays(state, &own)?;
        let item = Cel::name(ITEM, Reads::default());
        let item = whole.then(|| (item.field(ITEM_VALUE), item.field(ITEM_INDEX)));
        self.try_within(state, &own)?;
        let gathered = self.over_list(state, machine, &foreach, item, &relays);
        self.tried_around.pop();
        let gathered = gathered?;
        let results = format!("{}.{OUTPUT}", gathered.results);
        self.gathered.insert(results.clone());
        let result = Cel::name(results, Reads::RESULT);
        let output = self.output(state, &base, &result)?;
        let switch = match &gathered.briefs {
            Some(briefs) => Some(self.led_out(state, &relays, briefs)?),
            None => None,
        };
        let way = self.conclude(state, &entry, &output, &[result])?;
        if let Some(switch) = switch
            && let Some(name) = self.draft.nodes.last().map(|node| node.name.clone())
            && let Work::Switch { default, .. } = &mut self.draft.nodes[switch].work
        {
            *default = Some(vec![name]);
        }
        let mut out = vec![(state.next, way)];
        out.extend(self.caught(state, &entry, &own)?);
        Some(out)
    }

    /// The foreach nodes of a Map's machine.
    fn over_list(
        &mut self,
        state: &State<'_>,
        machine: &Machine<'_>,
        foreach: &Foreach,
        item: Option<(Cel, Cel)>,
        relays: &[Relay],
    ) -> Option<Gathered> {
        let first = self.draft.nodes.len();
        let failing = Vec::new();
        self.maps.push(Items { item, failing });
        let inner = relays.iter().map(|relay| relay.inner).collect();
        let around = std::mem::replace(&mut self.around, vec![inner]);
        let gathered = self.items(state, machine, relays);
        self.around = around;
        self.maps.pop();
        // Those of Maps within have a list of their own already.
        for node in &mut self.draft.nodes[first..] {
            node.foreach.get_or_insert_with(|| foreach.clone());
        }
        gathered
    }

    /// The nodes of a Map's machine, as for one item.
    fn items(
        &mut self,
        state: &State<'_>,
        machine: &Machine<'_>,
        relays: &[Relay],
    ) -> Option<Gathered> {
        let mut way = Way::from(Source::Item);
        if self.maps.last().is_some_and(|items| items.item.is_some()) {
            let name = self
                .names
                .identifier(&format!("{}_item", state.name), "state_");
            let entry = self.entry(state.name, vec![way]);
            let given = Cel::name(ITEM, Reads::STATE).field(GIVEN);
            way = self.compute(name, &given, &entry, state.span)?;
        }
        let ends = self.machine(machine, vec![way])?;
        let mut ends: Vec<Source> = ends.into_iter().map(|way| way.source).collect();
        if ends.is_empty() {
            // No item has a result; but where there are no items there is a list of none.
            let failing = self.maps.last().map(|items| items.failing.clone());
            ends = failing
                .unwrap_or_default()
                .iter()
                .map(|node| self.source(node, OUTPUT))
                .collect();
        }
        let briefs = self.relayed(state, relays)?;
        let results = self.result_of_item(state, ends)?;
        Some(Gathered { results, briefs })
    }

    /// The node whose output is an item's result, of the machine's ends.
    fn result_of_item(&mut self, state: &State<'_>, ends: Vec<Source>) -> Option<String> {
        // What is gathered has a limit as a whole, and is to be small where nobody looks at it.
        let unread = matches!(state.result_path, Some(path) if path.value == Value::Null);
        if let [Source::SameItem { node, .. }] = ends.as_slice()
            && !unread
        {
            return Some(node.clone());
        }
        let name = self
            .names
            .identifier(&format!("{}_result", state.name), "state_");
        let (result, bound) = match ends.as_slice() {
            [only] => (Cel::name(only.in_expression(), Reads::RESULT), None),
            _ => {
                let bound = (RESULT.to_owned(), first_of(ends));
                (Cel::name(RESULT, Reads::RESULT), Some(bound))
            }
        };
        let result = if unread {
            Cel::literal(&serde_json::Value::Null).having(&[result])
        } else {
            result
        };
        let formula = Formula::Value(self.checked(&result, state.span)?);
        let work = Work::Compute(vec![(OUTPUT.to_owned(), formula)]);
        let mut node = Node::new(name.clone(), work);
        node.inputs.extend(bound);
        self.push(node);
        Some(name)
    }

    /// The list of what becomes of each item. Where an item's place counts, the list of places is gone through.
    fn over_items(
        &mut self,
        items: &Cel,
        mut of: impl FnMut(&mut Self, &Cel, &Cel) -> Option<Cel>,
    ) -> Option<Cel> {
        let item = Cel::name(EACH, Reads::ITEM);
        let index = Cel::name(INDEX, Reads::INDEX);
        let one = of(self, &item, &index)?;
        if one == item {
            return Some(items.clone());
        }
        if !one.reads().index {
            return Some(items.over("map", EACH, &one));
        }
        let one = of(self, &items.at(&index), &index)?;
        let places = Cel::call("range", &[&Cel::call("size", &[items])]);
        Some(places.over("map", INDEX, &one))
    }

    /// An item as the Map's machine gets it.
    fn given(&mut self, each: &Each<'_, '_>, item: &Cel, index: &Cel) -> Option<Cel> {
        match each.selector {
            None => Some(item.clone()),
            Some(tree) => {
                let scope = Scope {
                    input: each.input.clone(),
                    state: each.map.name,
                    item: Some((item.clone(), index.clone())),
                };
                template::template(self.reader, tree, &scope)
            }
        }
    }

    /// What a Pass that is a Map's whole machine makes of an item.
    fn passed(
        &mut self,
        pass: &State<'_>,
        result: Option<&Tree>,
        given: &Cel,
        (item, index): (&Cel, &Cel),
    ) -> Option<Cel> {
        self.maps.push(Items {
            item: Some((item.clone(), index.clone())),
            failing: Vec::new(),
        });
        let output = self.pass_output(pass, result, given);
        self.maps.pop();
        output
    }
}

/// The Pass that is a machine's only state.
fn only_pass<'m, 't>(machine: &'m Machine<'t>) -> Option<(&'m State<'t>, Option<&'t Tree>)> {
    let [only] = machine.order.as_slice() else {
        return None;
    };
    let state = &machine.states[*only];
    match state.work {
        StateWork::Pass { result } => Some((state, result)),
        _ => None,
    }
}

/// Whether states of a Map's machine ask for the item that they are done for, or its place.
fn asks_for_item(machine: &Machine<'_>) -> bool {
    machine.states.iter().any(|state| {
        let paths = [
            state.input_path,
            state.parameters,
            state.result_selector,
            state.result_path,
            state.output_path,
        ];
        let work = match &state.work {
            StateWork::Choice { rules, .. } => rules.iter().any(|(rule, _)| names_item(rule)),
            StateWork::Fail {
                error_path,
                cause_path,
                ..
            } => error_path
                .iter()
                .chain(cause_path)
                .any(|tree| names_item(tree)),
            StateWork::Parallel(branches) => branches.iter().any(asks_for_item),
            // What it gives to its own items speaks of those.
            StateWork::Map { items_path, .. } => items_path.is_some_and(names_item),
            StateWork::Wait(Until::SecondsPath(path) | Until::TimestampPath(path)) => {
                names_item(path)
            }
            StateWork::Task { .. }
            | StateWork::Pass { .. }
            | StateWork::Wait(Until::Seconds(_) | Until::Timestamp(_))
            | StateWork::Succeed => false,
        };
        work || paths.into_iter().flatten().any(names_item)
    })
}

/// Whether a text in it names an item of a Map, or may.
fn names_item(tree: &Tree) -> bool {
    match &tree.value {
        Value::Text(text) => text.contains("$$") && text.contains("Map"),
        Value::List(items) => items.iter().any(names_item),
        Value::Map(entries) => entries.iter().any(|(_, value)| names_item(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
