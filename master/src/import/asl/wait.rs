//! The state Wait: for seconds or until a time, which stand there or come from the state's input.

use super::cel::{Binding, Cel, Reads};
use super::machine::{State, Until};
use super::template::at_path;
use super::translate::{self, Entry, OUTPUT, Out, Translator};
use crate::import::draft::{Delay, Formula, Node, Work};
use crate::import::tree::{Tree, Value};
use engine::expression::Gives;

impl Translator<'_> {
    pub(super) fn wait(
        &mut self,
        state: &State<'_>,
        entry: &Entry,
        until: &Until<'_>,
    ) -> Option<Out> {
        let input = self.selected(state, &entry.base())?;
        let output = self.passed_on(state, &input)?;
        let output = self.tied(&output, entry);
        let formula = Formula::Value(self.checked(&output, state.span)?);
        let (delay, reads) = match *until {
            Until::SecondsPath(tree) => {
                let seconds = at_path(
                    self.reader,
                    tree,
                    "`SecondsPath`",
                    &self.scope(state, &input),
                )?;
                let ms = Cel::infix(Binding::Product, &seconds, "*", &Cel::whole(1000));
                let text = self.compiled(&ms, tree.span, Gives::Milliseconds)?;
                (Delay::Computed(text), ms.reads())
            }
            Until::TimestampPath(tree) => {
                let time = at_path(
                    self.reader,
                    tree,
                    "`TimestampPath`",
                    &self.scope(state, &input),
                )?;
                let text = self.compiled(&time, tree.span, Gives::Time)?;
                (Delay::Until(text), time.reads())
            }
            Until::Seconds(_) | Until::Timestamp(_) => (self.fixed_wait(until)?, Reads::default()),
        };
        let name = self.names.identifier(state.name, "state_");
        let mut node = Node::new(name, Work::Compute(vec![(OUTPUT.to_owned(), formula)]));
        node.delay = Some(delay);
        self.lead(&mut node, entry, output.reads().and(reads));
        Some(vec![(state.next, self.push(node))])
    }

    /// A Wait between states that pass bytes on, of which nothing can be read.
    pub(super) fn wait_over_bytes(
        &mut self,
        state: &State<'_>,
        entry: &Entry,
        until: &Until<'_>,
    ) -> Option<String> {
        if let Until::SecondsPath(tree) | Until::TimestampPath(tree) = until {
            self.over_bytes(tree.span, "a path to how long to wait");
            return None;
        }
        let delay = self.fixed_wait(until)?;
        let name = self.names.identifier(state.name, "state_");
        let mut node = Node::new(name, Work::Nothing);
        node.delay = Some(delay);
        self.lead(&mut node, entry, Reads::default());
        let name = node.name.clone();
        self.draft.nodes.push(node);
        Some(name)
    }

    /// What stands there itself.
    fn fixed_wait(&mut self, until: &Until<'_>) -> Option<Delay> {
        match until {
            Until::Seconds(tree) | Until::SecondsPath(tree) => {
                let delay_ms = translate::seconds(self.reader, tree, "Seconds")?;
                Some(Delay::Fixed(delay_ms))
            }
            Until::Timestamp(tree) | Until::TimestampPath(tree) => {
                Some(Delay::Until(self.timestamp(tree)?))
            }
        }
    }

    fn timestamp(&mut self, tree: &Tree) -> Option<String> {
        match &tree.value {
            Value::Text(text)
                if super::timestamp::is_timestamp(text) && engine::delay::is_timestamp(text) =>
            {
                Some(text.to_string())
            }
            _ => {
                let expected = "a time as in 2016-03-14T01:59:00Z";
                self.reader.shape(tree, "`Timestamp`", expected);
                None
            }
        }
    }
}
