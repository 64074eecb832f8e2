//! What a compiled expression is made of.

use super::functions::Function;
use super::syntax::{Macro, Operator, Span};
use super::value::Literal;

/// A part, and where it stands in the text.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Literal(Literal),
    /// A value by its number, or what lies in it.
    Value {
        slot: usize,
        path: Box<[String]>,
    },
    /// Whether a value is there.
    IsPresent {
        slot: usize,
    },
    /// What a macro binds, by how many macros lie around that one.
    Local(usize),
    Select {
        of: Box<Node>,
        field: String,
    },
    Has {
        of: Box<Node>,
        field: String,
    },
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Every(Vec<Node>),
    Some(Vec<Node>),
    Binary {
        operator: Operator,
        operands: Box<[Node; 2]>,
    },
    /// Condition, then, otherwise.
    Choose(Box<[Node; 3]>),
    List(Vec<Node>),
    Map(Vec<[Node; 2]>),
    Call {
        function: Function,
        arguments: Vec<Node>,
    },
    Macro {
        which: Macro,
        over: Box<Node>,
        /// As in the call.
        parts: Vec<Node>,
    },
}
