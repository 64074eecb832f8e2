//! Failures of a Map's items: how they lead to the handlers of the Map and of the states around it.
//!
//! A failure leads no further than its item goes: for each handler there is a node of the item, `NAME_failed`, which says
//! what failed. Once all items have ended the first of them that failed decides. `NAME_brief` says for each item in few bytes
//! how it failed, so that many may; `NAME_first` is what the first says, and the switch `NAME_ended` leads to its handler, or
//! to what follows the Map. The handler is given the whole error, or the brief one if those of all items are too long to be
//! read together.

use super::cel::{Binding, Cel, Reads};
use super::machine::State;
use super::map::EACH;
use super::translate::{Handler, OUTPUT, Translator};
use crate::definition::Span;
use crate::import::draft::{Catch, Feed, Formula, Node, Work};
use engine::plan::ErrorClass;
use serde_json::Value;

/// Fields of what says that something failed.
const CLASS: &str = "class";
const CAUSE: &str = "cause";
/// Beside them, the place of the handler among those that a Map leads to.
const HANDLER: &str = "handler";

/// Places in a brief error.
const BRIEF_HANDLER: i64 = 0;
const BRIEF_CLASS: i64 = 1;
const BRIEF_CAUSE: i64 = 2;

/// Characters of a cause that a brief error has. A thousand brief errors are then less than the 65,536 bytes that an
/// expression reads of a list.
const BRIEF_CHARS: i64 = 40;
/// Characters that the name of an error and what parts it from its text have at most, as catchers may name it. A brief
/// error has the name whole.
const NAME_CHARS_MAX: i64 = crate::definition::NAME_BYTES_MAX as i64 + 2;

/// A handler around a Map's items, and the one that takes their failures within, item by item.
pub(super) struct Relay {
    outer: usize,
    pub(super) inner: usize,
}

impl Translator<'_> {
    /// For each handler of a Map, then of the states around it, one within.
    pub(super) fn relays(&mut self, state: &State<'_>, own: &[usize]) -> Option<Vec<Relay>> {
        let around = self.around.iter().rev().flatten();
        let outers: Vec<usize> = own.iter().chain(around).copied().collect();
        let mut relays = Vec::with_capacity(outers.len());
        for outer in outers {
            self.looks_at(outer, state)?;
            let node = self.name_of(state, "failed");
            let errors = self.handlers[outer].errors.clone();
            relays.push(Relay {
                outer,
                inner: self.handlers.len(),
            });
            self.handlers.push(Handler {
                node,
                errors,
                throwers: Vec::new(),
            });
        }
        Some(relays)
    }

    /// The nodes that an item's failures lead to. What comes out is the one that says in brief how the item failed; there
    /// is none if no failure is taken.
    pub(super) fn relayed(
        &mut self,
        state: &State<'_>,
        relays: &[Relay],
    ) -> Option<Option<String>> {
        let mut failed = Vec::new();
        for (place, relay) in relays.iter().enumerate() {
            let handler = &self.handlers[relay.inner];
            if handler.throwers.is_empty() {
                continue;
            }
            let name = handler.node.clone();
            let (error, bound) = self.thrown(relay.inner);
            let said = Cel::object(&[
                (HANDLER.to_owned(), Cel::whole(place as i64)),
                (CLASS.to_owned(), error.field(CLASS)),
                (CAUSE.to_owned(), error.field(CAUSE)),
            ]);
            self.say(name.clone(), &said, bound, state.span)?;
            failed.push((name, OUTPUT));
        }
        if failed.is_empty() {
            return Some(None);
        }
        let (error, bound) = self.error_of(&failed);
        let name = self.name_of(state, "brief");
        self.say(name.clone(), &brief(&error), bound, state.span)?;
        Some(Some(name))
    }

    /// Behind a Map, the switch that leads to the handler which takes the failure of the first item that failed. It is given
    /// by its place in the draft.
    pub(super) fn led_out(
        &mut self,
        state: &State<'_>,
        relays: &[Relay],
        briefs: &str,
    ) -> Option<usize> {
        let null = Cel::literal(&Value::Null);
        let briefs = Cel::name(format!("{briefs}.{OUTPUT}"), Reads::RESULT);
        let or_none = Cel::infix(
            Binding::Sum,
            &of_failed(&briefs),
            "+",
            &Cel::list(std::slice::from_ref(&null)),
        );
        let first = self.name_of(state, "first");
        let decides = or_none.at(&Cel::whole(0));
        self.say(first.clone(), &decides, None, state.span)?;
        let first = Cel::name(format!("{first}.{OUTPUT}"), Reads::RESULT);
        let mut cases = Vec::with_capacity(relays.len());
        let mut errors = Vec::with_capacity(2 * relays.len());
        for (place, relay) in relays.iter().enumerate() {
            let failed = &self.handlers[relay.inner];
            if failed.throwers.is_empty() {
                continue;
            }
            let failed = Cel::name(format!("{}.{OUTPUT}", failed.node), Reads::RESULT);
            let is_its = first
                .at(&Cel::whole(BRIEF_HANDLER))
                .compared("==", &Cel::whole(place as i64));
            let when = first.compared("!=", &null).and(&is_its);
            let when = self.checked_condition(&when, state.span)?;
            let whole = of_failed(&failed).at(&Cel::whole(0));
            let said = Cel::object(&[
                (CLASS.to_owned(), first.at(&Cel::whole(BRIEF_CLASS))),
                (CAUSE.to_owned(), first.at(&Cel::whole(BRIEF_CAUSE))),
            ]);
            let error = self.name_of(state, "error");
            let in_brief = self.name_of(state, "error_brief");
            let mut node = self.saying(error.clone(), &whole, None, state.span)?;
            // Nothing else can fail here than that the list is too long.
            node.catches.push(Catch {
                on: vec![ErrorClass::Expression.name().to_owned()],
                to: vec![in_brief.clone()],
            });
            errors.push(node);
            errors.push(self.saying(in_brief.clone(), &said, None, state.span)?);
            let outer = &mut self.handlers[relay.outer];
            cases.push((when, vec![error.clone(), outer.node.clone()]));
            outer.throwers.push((error, OUTPUT));
            outer.throwers.push((in_brief, OUTPUT));
        }
        let name = self.name_of(state, "ended");
        let switch = self.draft.nodes.len();
        let default = Some(Vec::new());
        self.push(Node::new(name, Work::Switch { cases, default }));
        for node in errors {
            self.push(node);
        }
        Some(switch)
    }

    fn name_of(&mut self, state: &State<'_>, what: &str) -> String {
        self.names
            .identifier(&format!("{}_{what}", state.name), "state_")
    }

    /// Adds a node that computes a value from what it names and binds.
    fn say(
        &mut self,
        name: String,
        value: &Cel,
        bound: Option<(String, Feed)>,
        span: Span,
    ) -> Option<()> {
        let node = self.saying(name, value, bound, span)?;
        self.push(node);
        Some(())
    }

    /// A node that computes a value from what it names and binds.
    fn saying(
        &mut self,
        name: String,
        value: &Cel,
        bound: Option<(String, Feed)>,
        span: Span,
    ) -> Option<Node> {
        let formula = Formula::Value(self.checked(value, span)?);
        let mut node = Node::new(name, Work::Compute(vec![(OUTPUT.to_owned(), formula)]));
        node.inputs.extend(bound);
        Some(node)
    }
}

/// Of a list that is gathered, what items say that failed: the others have null in their place.
fn of_failed(gathered: &Cel) -> Cel {
    let null = Cel::literal(&Value::Null);
    let failed = Cel::name(EACH, Reads::default()).compared("!=", &null);
    gathered.over("filter", EACH, &failed)
}

/// What an item says in few bytes of how it failed: the handler's place, the class and the beginning of the cause.
fn brief(error: &Cel) -> Cel {
    let cause = error.field(CAUSE);
    let from_first = |to: &Cel| cause.method("substring", &[&Cel::whole(0), to]);
    let name_ends = Cel::infix(
        Binding::Sum,
        &cause.method("indexOf", &[&Cel::text_literal(": ")]),
        "+",
        &Cel::whole(2),
    );
    let most = Cel::whole(BRIEF_CHARS);
    let has_long_name = name_ends
        .compared(">", &most)
        .and(&name_ends.compared("<=", &Cel::whole(NAME_CHARS_MAX)));
    let is_long = Cel::call("size", &[&cause]).compared(">", &most);
    let cut = has_long_name.choose(
        &from_first(&name_ends),
        &is_long.choose(&from_first(&most), &cause),
    );
    Cel::list(&[error.field(HANDLER), error.field(CLASS), cut])
}
