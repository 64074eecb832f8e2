//! Map states: one Task done for each item of a list, or one Pass, which is an expression over the list.

use super::cel::{Cel, Reads};
use super::errors;
use super::machine::{Machine, State, Work as StateWork};
use super::resource;
use super::task::INPUT;
use super::template::{self, Scope};
use super::translate::{self, Entry, OUTPUT, Translator, Way, scope};
use crate::definition::keys::ITEMS_MAX;
use crate::import::draft::{Feed, Foreach, Node, Source, Work};
use crate::import::tree::{Tree, Value};
use faasstore::binding::Kind;

/// The variable that stands for an item.
const ITEM: &str = "it";
/// The variable that stands for an item's place.
const INDEX: &str = "index";

/// What is done to each item.
struct Each<'m, 't> {
    /// The Map.
    map: &'m State<'t>,
    /// The one state of its machine.
    inner: &'m State<'t>,
    /// The Map's own input, as far as its InputPath lets it through.
    input: Cel,
    selector: Option<&'t Tree>,
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
        self.whole_map_refusals(state)?;
        let inner = self.only_state(machine)?;
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
                template::at_path(self.reader, tree, "`ItemsPath`", &scope(state, &input))?
            }
            None => input.clone(),
        };
        let each = Each {
            map: state,
            inner,
            input,
            selector: *selector,
        };
        let parallelism = match concurrency {
            Some(tree) => self.reader.whole(tree, "MaxConcurrency", ITEMS_MAX)?,
            None => 0,
        };
        let (result, of) = match &inner.work {
            StateWork::Pass { result } => {
                let list = self.over_items(&items, |translator, item, index| {
                    let raw = translator.item(&each, item, index)?;
                    let input = translator.item_input(&each, &raw, item, index)?;
                    let value = result.map_or(input, |tree| Cel::literal(&tree.to_json()));
                    translator.output(each.inner, &raw, &value)
                })?;
                (list, Vec::new())
            }
            StateWork::Task { resource, timeout } => {
                let call = resource::call(
                    self.reader,
                    resource,
                    inner.parameters,
                    self.options,
                    &mut self.used,
                )?;
                if call.invoke.is_some() {
                    let help =
                        "name the function itself as Resource, and its input with Parameters";
                    self.reader
                        .not_covered(resource.span, "`lambda:invoke` within a Map", help);
                    return None;
                }
                let list = self.over_items(&items, |translator, item, index| {
                    let raw = translator.item(&each, item, index)?;
                    translator.item_input(&each, &raw, item, index)
                })?;
                let name = self
                    .names
                    .identifier(&format!("{}_items", state.name), "state_");
                let list = self.compute_list(name, &list, &entry, state)?;
                let mut node = Node::new(
                    self.names.identifier(inner.name, "state_"),
                    Work::Function(call.function),
                );
                if node.name != inner.name {
                    node.comments
                        .push(format!("State {:?} of {:?}.", inner.name, state.name));
                }
                node.foreach = Some(Foreach {
                    list: Source::output(&list, OUTPUT),
                    batch: None,
                    parallelism: (parallelism > 0).then_some(parallelism as u32),
                });
                node.inputs
                    .push((INPUT.to_owned(), Feed::from(Source::Item)));
                node.outputs.push((OUTPUT.to_owned(), Kind::Value));
                node.retriers = errors::retriers(self.reader, inner, &mut self.notes)?;
                node.timeout_ms = match timeout {
                    Some(tree) => Some(translate::timeout(self.reader, tree)?),
                    None => None,
                };
                let name = node.name.clone();
                self.push(node);
                let gathered = Cel::name(format!("{name}.{OUTPUT}"), Reads::RESULT);
                let result = self.item_outputs(&each, &items, &gathered)?;
                (result, vec![gathered])
            }
            _ => return None,
        };
        let output = self.output(state, &base, &result)?;
        let way = if of.is_empty() {
            let name = self.names.identifier(state.name, "state_");
            self.compute(name, &output, &entry, state.span)?
        } else {
            self.conclude(state, &entry, &output, &of)?
        };
        Some(vec![(state.next, way)])
    }

    /// Refuses what holds for a Map as a whole and has no like for a foreach node.
    fn whole_map_refusals(&mut self, state: &State<'_>) -> Option<()> {
        let mut complete = true;
        if let Some(retry) = state.retry.first() {
            let help = "put Retry into the Task that is done for each item";
            self.reader
                .not_covered(retry.span, "`Retry` of a Map", help);
            complete = false;
        }
        let around = self.around.iter().any(|handlers| !handlers.is_empty());
        if let Some(catch) = state.catch.first() {
            let help = "leave it away: a failure that no retry mends fails the invocation";
            self.reader
                .not_covered(catch.span, "`Catch` of a Map", help);
            complete = false;
        } else if around {
            let help =
                "leave away the Catch of the Parallel state around it, or do the items elsewhere";
            let what = "a Map within a Parallel state that has `Catch`";
            self.reader.not_covered(state.span, what, help);
            complete = false;
        }
        complete.then_some(())
    }

    /// The one state that a Map's machine may have.
    fn only_state<'m, 't>(&mut self, machine: &'m Machine<'t>) -> Option<&'m State<'t>> {
        let mut reached = machine.order.iter().map(|place| &machine.states[*place]);
        let first = reached.next()?;
        if let Some(second) = reached.next() {
            let help = "do it in one Task, or in several Map states one after the other";
            self.reader
                .not_covered(second.span, "a second state within a Map", help);
            return None;
        }
        match first.work {
            StateWork::Pass { .. } => Some(first),
            StateWork::Task { .. } if first.catch.is_empty() => Some(first),
            StateWork::Task { .. } => {
                let help = "leave it away: a failure that no retry mends fails the invocation";
                self.reader
                    .not_covered(first.span, "`Catch` within a Map", help);
                None
            }
            _ => {
                let help =
                    "a Task or a Pass is done for each item; put others before or behind the Map";
                let what = "a state within a Map that is neither Task nor Pass";
                self.reader.not_covered(first.span, what, help);
                None
            }
        }
    }

    /// The list of what becomes of each item. Where an item's place counts, the list of places is gone through.
    fn over_items(
        &mut self,
        items: &Cel,
        mut of: impl FnMut(&mut Self, &Cel, &Cel) -> Option<Cel>,
    ) -> Option<Cel> {
        let item = Cel::name(ITEM, Reads::ITEM);
        let index = Cel::name(INDEX, Reads::INDEX);
        let one = of(self, &item, &index)?;
        if one == item {
            return Some(items.clone());
        }
        if !one.reads().index {
            return Some(items.over("map", ITEM, &one));
        }
        let one = of(self, &items.at(&index), &index)?;
        Some(places(items).over("map", INDEX, &one))
    }

    /// An item as the Map's machine gets it.
    fn item(&mut self, each: &Each<'_, '_>, item: &Cel, index: &Cel) -> Option<Cel> {
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

    /// What the work is done on, of an item.
    fn item_input(
        &mut self,
        each: &Each<'_, '_>,
        raw: &Cel,
        item: &Cel,
        index: &Cel,
    ) -> Option<Cel> {
        let input = self.selected(each.inner, raw)?;
        match each.inner.parameters {
            None => Some(input),
            Some(tree) => {
                let scope = Scope {
                    input,
                    state: each.inner.name,
                    item: Some((item.clone(), index.clone())),
                };
                template::template(self.reader, tree, &scope)
            }
        }
    }

    /// What the Task passes on, of each item's result.
    fn item_outputs(&mut self, each: &Each<'_, '_>, items: &Cel, gathered: &Cel) -> Option<Cel> {
        let whole = |path: Option<&Tree>| match path {
            None => true,
            Some(tree) => tree.value == Value::Text("$".to_owned()),
        };
        if whole(each.inner.result_path) {
            // Nothing of the item is wanted.
            let result = Cel::name(ITEM, Reads::default());
            let one = self.output(each.inner, &result, &result)?;
            return Some(if one == result {
                gathered.clone()
            } else {
                gathered.over("map", ITEM, &one)
            });
        }
        let index = Cel::name(INDEX, Reads::default());
        let raw = self.item(each, &items.at(&index), &index)?;
        let one = self.output(each.inner, &raw, &gathered.at(&index))?;
        Some(places(gathered).over("map", INDEX, &one))
    }
}

/// The places of a list's items.
fn places(list: &Cel) -> Cel {
    Cel::call("range", &[&Cel::call("size", &[list])])
}
