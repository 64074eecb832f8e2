//! How long a node waits once it could start.

use super::Checker;
use super::expressions::{Bound, Names};
use crate::definition::problem::ProblemKind;
use crate::definition::raw::{RawDelay, RawNode};
use crate::definition::{Delay, DelayExpression, Spanned};
use engine::delay;
use engine::expression::{Expression, Gives};
use engine::plan::Join;

impl Checker<'_> {
    /// The delay of a node, if it has one. `bound` are the names under its own `input` that an expression may use.
    pub(super) fn delays(
        &mut self,
        raw: &RawNode,
        bound: &Bound,
        reader: Option<usize>,
    ) -> Option<Vec<Delay>> {
        let (text, gives) = match &raw.delay {
            RawDelay::Fixed(0) => return Some(Vec::new()),
            RawDelay::Fixed(delay_ms) => return Some(vec![Delay::Fixed(*delay_ms)]),
            RawDelay::Computed(text) => (text, Gives::Milliseconds),
            RawDelay::Until(text) => (text, Gives::Time),
        };
        let some = raw.join.value != Join::All;
        let mut names = Names::new(bound.clone(), some, reader);
        self.expression(text, gives, &mut names)?;
        let inputs = names.into_used();
        if inputs.is_empty() {
            self.constant_delay(text, gives)?;
        }
        let expression = DelayExpression {
            text: text.clone(),
            inputs,
        };
        Some(vec![match gives {
            Gives::Time => Delay::Until(expression),
            Gives::Milliseconds | Gives::Value | Gives::Truth => Delay::Computed(expression),
        }])
    }

    /// What names nothing gives the same always, so that it can be looked at here.
    fn constant_delay(&mut self, text: &Spanned<String>, gives: Gives) -> Option<()> {
        let value = Expression::compile(&text.value, &[]).ok()?.evaluate(&[]);
        let value = value.map_err(|error| error.to_string());
        let checked = value.and_then(|value| match gives {
            Gives::Time => delay::check_time(&value),
            Gives::Milliseconds | Gives::Value | Gives::Truth => delay::check_span(&value),
        });
        match checked {
            Ok(()) => Some(()),
            Err(cause) => {
                let kind = ProblemKind::Expression(cause);
                let help =
                    "what names nothing gives the same always: write a delay that a node can have";
                self.problems.add(text.span, kind, Some(help.to_owned()));
                None
            }
        }
    }
}
