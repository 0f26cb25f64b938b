//! How a machine refuses: why, and what to do about it.

use core::fmt;
use serde::{Deserialize, Serialize};

/// What to do about a refused input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Remedy {
    /// Nothing: ordinary lateness, disorder or repetition.
    Ignore,
    /// Try again: it may be in order later.
    Retry,
    /// Note it against the sender, who can know better.
    Warn,
    /// End the connection: no honest party sends this.
    Disconnect,
    /// Stop dealing in this channel until a person has looked.
    CloseChannel,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignore => "nothing needs to be done",
            Self::Retry => "try again later",
            Self::Warn => "the sender can know better",
            Self::Disconnect => "end the connection",
            Self::CloseChannel => "stop dealing in this channel until a person has looked",
        })
    }
}

/// A refused input. The machine is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected<R> {
    /// What to do about it.
    pub remedy: Remedy,
    /// Why.
    pub reason: R,
}

impl<R: fmt::Display> fmt::Display for Rejected<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.remedy)
    }
}

impl<R: core::error::Error + 'static> core::error::Error for Rejected<R> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        // The reason is in the text already: what lies below it comes next.
        self.reason.source()
    }
}

/// A reason that becomes a [`Rejected`] by naming what to do.
pub trait Refuse: Sized {
    /// Ordinary: nothing to do.
    fn ignore(self) -> Rejected<Self> {
        Rejected { remedy: Remedy::Ignore, reason: self }
    }

    /// In order later, maybe.
    fn retry(self) -> Rejected<Self> {
        Rejected { remedy: Remedy::Retry, reason: self }
    }

    /// The sender can know better.
    fn warn(self) -> Rejected<Self> {
        Rejected { remedy: Remedy::Warn, reason: self }
    }

    /// No honest party sends it.
    fn disconnect(self) -> Rejected<Self> {
        Rejected { remedy: Remedy::Disconnect, reason: self }
    }

    /// A person has to look.
    fn close(self) -> Rejected<Self> {
        Rejected { remedy: Remedy::CloseChannel, reason: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("too little")]
    struct TooLittle;

    impl Refuse for TooLittle {}

    #[test]
    fn every_refusal_says_why_and_what_to_do() {
        let all = [TooLittle.ignore(), TooLittle.retry(), TooLittle.warn(), TooLittle.disconnect(), TooLittle.close()];
        let remedies = [Remedy::Ignore, Remedy::Retry, Remedy::Warn, Remedy::Disconnect, Remedy::CloseChannel];
        let mut said: Vec<String> = Vec::new();
        for (refused, remedy) in all.into_iter().zip(remedies) {
            assert_eq!(refused.remedy, remedy);
            let text = refused.to_string();
            assert!(text.starts_with("too little (") && text.contains(&remedy.to_string()), "{text}");
            assert!(!said.contains(&text));
            said.push(text);
        }
    }
}
