//! Failures of nodes, by kind and by text, and when one is tried again.

use rkyv::{Archive, Deserialize, Serialize};

/// What kind of failure it was.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub enum ErrorClass {
    /// The function returned an error.
    Error,
    /// An input was not what the function takes.
    Input,
    /// Its outputs are not what the node declares.
    Output,
    /// The function panicked.
    Panic,
    /// No memory for an output.
    Memory,
    /// It exceeded its timeout.
    Timeout,
    /// Its executor died, or none could be started.
    Crash,
    /// An expression could not be evaluated, or no case of a switch holds.
    Expression,
}

impl ErrorClass {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Input,
        Self::Output,
        Self::Panic,
        Self::Memory,
        Self::Timeout,
        Self::Crash,
        Self::Expression,
    ];

    /// As definitions and reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Input => "input",
            Self::Output => "output",
            Self::Panic => "panic",
            Self::Memory => "memory",
            Self::Timeout => "timeout",
            Self::Crash => "crash",
            Self::Expression => "expression",
        }
    }
}

/// Which failures are meant.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum ErrorMatch {
    /// All of a class.
    Class(ErrorClass),
    /// Those that a function returned with a text that begins with this name and a colon.
    Named(String),
}

impl ErrorMatch {
    /// Whether a failure is meant by any of `these`; all are, if there are none.
    #[must_use]
    pub fn any(these: &[Self], class: ErrorClass, cause: &str) -> bool {
        let meant = |one: &Self| match one {
            Self::Class(meant) => *meant == class,
            Self::Named(name) => {
                class == ErrorClass::Error
                    && cause
                        .strip_prefix(name.as_str())
                        .is_some_and(|rest| rest.starts_with(':'))
            }
        };
        these.is_empty() || these.iter().any(meant)
    }
}

/// How often, and how soon, an activation is tried again that has failed in some way: one of a node's retriers.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    /// One more than it tries an activation again at most; at least 1. Of a node's only retrier, attempts in all.
    pub attempts: u32,
    /// Wait before it tries for the first time, in milliseconds.
    pub backoff_ms: u32,
    /// By how much each further wait is longer than the one before, in hundredths: 200 doubles it.
    pub factor_percent: u32,
    /// Longest wait, in milliseconds.
    pub backoff_max_ms: u32,
    /// Up to what share of a wait is left out at random, in hundredths.
    pub jitter_percent: u8,
    /// Which failures it takes; all, if none is named.
    pub on: Vec<ErrorMatch>,
}

impl Retry {
    /// The place of the first of `these` that takes a failure: it alone says whether that is tried again.
    #[must_use]
    pub fn first(these: &[Self], class: ErrorClass, cause: &str) -> Option<usize> {
        let takes = |one: &Self| ErrorMatch::any(&one.on, class, cause);
        these.iter().position(takes)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff_ms: 0,
            factor_percent: 200,
            backoff_max_ms: 24 * 60 * 60 * 1000,
            jitter_percent: 0,
            on: Vec::new(),
        }
    }
}
