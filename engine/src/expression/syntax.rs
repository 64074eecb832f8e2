//! What a text says, before anyone asks what its names are.

use super::value::Literal;

/// A part of the text, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) const fn to(self, last: Self) -> Self {
        Self {
            start: self.start,
            end: last.end,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug)]
pub(super) struct Syntax {
    pub(super) span: Span,
    /// Levels of its parts, itself included: what bounds every walk over the tree.
    pub(super) depth: u16,
    pub(super) kind: SyntaxKind,
}

/// A name within the text.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) span: Span,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) enum SyntaxKind {
    Literal(Literal),
    Name(String),
    Select {
        of: Box<Syntax>,
        field: Word,
    },
    Index {
        of: Box<Syntax>,
        by: Box<Syntax>,
    },
    Not(Box<Syntax>),
    Negate(Box<Syntax>),
    /// `&&` between two or more.
    Every(Vec<Syntax>),
    /// `||` between two or more.
    Some(Vec<Syntax>),
    Binary {
        operator: Operator,
        operands: Box<[Syntax; 2]>,
    },
    /// Condition, then, otherwise.
    Choose(Box<[Syntax; 3]>),
    List(Vec<Syntax>),
    Map(Vec<[Syntax; 2]>),
    Call {
        target: Option<Box<Syntax>>,
        function: Word,
        arguments: Vec<Syntax>,
    },
}

impl SyntaxKind {
    /// The parts, whatever they stand for.
    pub(super) fn parts(&self) -> Box<dyn Iterator<Item = &Syntax> + '_> {
        match self {
            Self::Literal(_) | Self::Name(_) => Box::new(std::iter::empty()),
            Self::Select { of, .. } => Box::new(std::iter::once(&**of)),
            Self::Index { of, by } => Box::new([&**of, &**by].into_iter()),
            Self::Not(of) | Self::Negate(of) => Box::new(std::iter::once(&**of)),
            Self::Every(parts) | Self::Some(parts) | Self::List(parts) => Box::new(parts.iter()),
            Self::Binary { operands, .. } => Box::new(operands.iter()),
            Self::Choose(parts) => Box::new(parts.iter()),
            Self::Map(entries) => Box::new(entries.iter().flatten()),
            Self::Call {
                target, arguments, ..
            } => Box::new(target.as_deref().into_iter().chain(arguments)),
        }
    }
}

/// A macro over the elements of a list, or the keys of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// A call of a macro, in its parts.
pub(super) struct MacroCall<'s> {
    pub(super) which: Macro,
    pub(super) over: &'s Syntax,
    pub(super) variable: &'s Syntax,
    /// What is asked or made of each element: one part, or for `map` a condition before it.
    pub(super) parts: &'s [Syntax],
}

impl Syntax {
    /// The macro that it calls, if it is such a call, with as many arguments as the macro takes.
    pub(super) fn as_macro(&self) -> Option<MacroCall<'_>> {
        let SyntaxKind::Call {
            target: Some(over),
            function,
            arguments,
        } = &self.kind
        else {
            return None;
        };
        let which = macro_named(&function.text)?;
        let [variable, parts @ ..] = &arguments[..] else {
            return None;
        };
        (parts.len() == 1 || which == Macro::Map && parts.len() == 2).then_some(MacroCall {
            which,
            over,
            variable,
            parts,
        })
    }
}

/// The macro of that name.
pub(super) fn macro_named(name: &str) -> Option<Macro> {
    Some(match name {
        "all" => Macro::All,
        "exists" => Macro::Exists,
        "exists_one" => Macro::ExistsOne,
        "filter" => Macro::Filter,
        "map" => Macro::Map,
        _ => return None,
    })
}
