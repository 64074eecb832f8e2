//! Why a plan cannot be followed.

use crate::expression::ExpressionError;
use crate::plan::{DeploymentId, NodeId};
use faasstore::binding::Kind;
use thiserror::Error;

/// Why a plan cannot be followed. `place` says where in the plan.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlanError {
    /// A number that names nothing.
    #[error("{place}: there is no {what} number {index}, only {count} of them")]
    Index {
        /// Where.
        place: String,
        /// What it should name.
        what: &'static str,
        /// As given.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A node that the plan does not hold.
    #[error("{place}: node {node} is not in the plan")]
    Node {
        /// Where.
        place: String,
        /// As given.
        node: NodeId,
    },
    /// A deployment that has another id than its first placement, or a further placement with that id.
    #[error(
        "placement {number} says that its deployment is {of}: a deployment has the id of its first placement, and no \
         other placement has it"
    )]
    Replica {
        /// Which placement.
        number: u16,
        /// As given.
        of: DeploymentId,
    },
    /// An edge that does not run forward.
    #[error("{place}: waits for node {producer}, which does not come before node {consumer}")]
    Order {
        /// Where.
        place: String,
        /// The node waited for.
        producer: NodeId,
        /// The node that waits.
        consumer: NodeId,
    },
    /// A list that is not in rising order, or names something twice.
    #[error("{place}: {what} must rise, and {index} comes after {before}")]
    Rising {
        /// Where.
        place: String,
        /// Of what.
        what: &'static str,
        /// As given.
        index: u64,
        /// What stands before it.
        before: u64,
    },
    /// Twice the same.
    #[error("{place}: {what} {name:?} stands there twice")]
    Twice {
        /// Where.
        place: String,
        /// Of what.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A name that is none.
    #[error("{place}: {name:?} is no name for {what}")]
    Name {
        /// Where.
        place: String,
        /// For what.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// A number outside its bounds.
    #[error("{place}: {what} is {given}, but must be {min} to {max}")]
    Range {
        /// Where.
        place: String,
        /// Of what.
        what: &'static str,
        /// As given.
        given: u64,
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// A source of another kind than what it feeds.
    #[error("{place}: takes {takes:?}, but its source gives {gives:?}")]
    Kind {
        /// Where.
        place: String,
        /// What the place declares.
        takes: Kind,
        /// What the source has.
        gives: Kind,
    },
    /// An item where there is none.
    #[error("{place}: there is no item to take, since nothing runs over a list here")]
    Item {
        /// Where.
        place: String,
    },
    /// A list whose items are lists.
    #[error(
        "{place}: an activation of a foreach node gives bytes or a value; a list of lists cannot be gathered"
    )]
    Nested {
        /// Where.
        place: String,
    },
    /// Parts of a node that do not go together.
    #[error("{place}: {reason}")]
    Rule {
        /// Where.
        place: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A worker that takes part unlisted, or is listed and has no part.
    #[error("{place}: {reason}")]
    Participants {
        /// Where.
        place: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A condition or a formula that cannot be evaluated.
    #[error("{place}: {error}, at character {column} of {text:?}{}", remedy(.error))]
    Expression {
        /// Where.
        place: String,
        /// As given, or its beginning.
        text: String,
        /// Where in the text, in characters, from 1.
        column: usize,
        /// What is wrong.
        error: ExpressionError,
    },
}

fn remedy(error: &ExpressionError) -> String {
    let help = error.help.as_deref();
    help.map_or(String::new(), |help| format!("; {help}"))
}
