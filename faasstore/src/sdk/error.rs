//! What a function returns when it fails.

use crate::arena::ArenaError;
use crate::descriptor::FailureCode;

/// Why an activation failed: text for people, and whose fault it was.
///
/// Like `anyhow::Error` it is made from any error by `?`, and is therefore none itself.
#[derive(Debug)]
pub struct Error {
    code: FailureCode,
    text: Box<str>,
}

impl Error {
    /// A failure of the function's own.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self::of(FailureCode::Error, text)
    }

    pub(crate) fn of(code: FailureCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into().into_boxed_str(),
        }
    }

    pub(crate) fn input(text: impl Into<String>) -> Self {
        Self::of(FailureCode::Input, text)
    }

    pub(crate) fn output(text: impl Into<String>) -> Self {
        Self::of(FailureCode::Output, text)
    }

    pub(crate) fn memory(error: &ArenaError) -> Self {
        Self::of(FailureCode::Memory, error.to_string())
    }

    /// Whose fault it was.
    #[must_use]
    pub fn code(&self) -> FailureCode {
        self.code
    }

    /// What happened.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(text)
    }
}
