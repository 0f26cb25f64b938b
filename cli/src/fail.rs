//! How the command fails: a sentence, a hint, and an exit code that means
//! something. A command line that makes no sense ends with 2, which is clap's.

use std::fmt;

/// Exit code for bad input: files, keys, texts, amounts.
pub(crate) const INPUT: u8 = 3;
/// Exit code for a chain that cannot be reached or is not the right one.
pub(crate) const CHAIN: u8 = 4;
/// Exit code for a market that did not bring enough providers or agreement.
pub(crate) const MARKET: u8 = 5;
/// Exit code for work that did not come to an agreed result.
pub(crate) const WORK: u8 = 6;
/// Exit code for a missing tool.
pub(crate) const TOOL: u8 = 7;

/// Why a command ends without having done what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(INPUT, message)
    }

    pub(crate) fn chain(message: impl Into<String>) -> Self {
        Self::new(CHAIN, message)
    }

    pub(crate) fn market(message: impl Into<String>) -> Self {
        Self::new(MARKET, message)
    }

    pub(crate) fn work(message: impl Into<String>) -> Self {
        Self::new(WORK, message)
    }

    pub(crate) fn tool(message: impl Into<String>) -> Self {
        Self::new(TOOL, message)
    }
}

/// Adds what to do about it.
pub(crate) trait Hint {
    fn hint(self, hint: impl Into<String>) -> Self;
}

impl Hint for Failure {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
