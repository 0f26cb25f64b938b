//! What a machine wants done, and why it refuses.

use crate::message::Message;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Address, Refuse, SignatureError, Timestamp};

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect<E> {
    /// Store the machine as it is now, durably. Always first.
    ///
    /// # Safety of funds
    /// Nothing after it may leave the process before the store has answered.
    Persist,
    /// Send a message about this order to the payer key or a member.
    Send {
        /// The payer key or a member's provider.
        to: Address,
        /// What to send.
        message: Message,
    },
    /// Hand back a timer input at this time. Replaces the timer set before.
    SetTimer {
        /// When.
        at: Timestamp,
    },
    /// Something the node wants to know.
    Emit(E),
}

/// Effects in the order they are to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects<E>(Vec<Effect<E>>);

impl<E> Effects<E> {
    pub(crate) fn new(changed: bool, rest: Vec<Effect<E>>) -> Self {
        let mut all = Vec::with_capacity(rest.len().saturating_add(1));
        if changed {
            all.push(Effect::Persist);
        }
        all.extend(rest);
        Self(all)
    }

    /// The effects, first to last.
    pub fn iter(&self) -> core::slice::Iter<'_, Effect<E>> {
        self.0.iter()
    }

    /// Whether the machine changed: it is to be stored before anything else here is done.
    #[must_use]
    pub fn has_persist(&self) -> bool {
        matches!(self.0.first(), Some(Effect::Persist))
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<E> IntoIterator for Effects<E> {
    type Item = Effect<E>;
    type IntoIter = std::vec::IntoIter<Effect<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a Effects<E> {
    type Item = &'a Effect<E>;
    type IntoIter = core::slice::Iter<'a, Effect<E>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A refused input: why, and what to do about it.
pub type Rejected = symbolon_primitives::Rejected<Reason>;

/// Why an input is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Not the payer key and not in the roster.
    #[error("{0} is no member of the order")]
    NotAMember(Address),
    /// The signer handed in is not this replica's.
    #[error("the signer is {have}, the replica {need}")]
    WrongSigner {
        /// Whose signer was passed.
        have: Address,
        /// Whose it has to be.
        need: Address,
    },
    /// A signature that does not hold.
    #[error("signature of {provider} does not hold")]
    BadSignature {
        /// Whose it should be.
        provider: Address,
        /// What is wrong.
        source: SignatureError,
    },
    /// An answer of somebody whose Commit is not held.
    #[error("no commit of {0} is held")]
    NoCommit(Address),
    /// An answer that is not the sealed one.
    #[error("the answer of {0} does not fit its seal")]
    SealMismatch(Address),
    /// More fuel than the order allows.
    #[error("{need} fuel, the order allows {have}")]
    FuelAboveMaximum {
        /// The order's maximum.
        have: u64,
        /// What was asked.
        need: u64,
    },
    /// The deadline for it has passed.
    #[error("due by {by}, it is {now}")]
    TooLate {
        /// The last second.
        by: Timestamp,
        /// The time it came.
        now: Timestamp,
    },
    /// A reserve that was not called computes nothing.
    #[error("this reserve was not called")]
    NotCalled,
    /// A second, different answer of this replica's own.
    #[error("an order has one commit")]
    AlreadyCommitted,
    /// Giving up after a Result was signed would waive money others count on.
    #[error("a result is already signed")]
    AlreadyAttested,
    /// The order was given up.
    #[error("the order was given up")]
    GivenUp,
    /// A Result about a subset that cannot be: without its signer, below the
    /// quorum, outside the roster, or twice in one message.
    #[error("{0} attests a subset that cannot be")]
    BadSubset(Address),
    /// More entries than there can be.
    #[error("{have} entries, at most {most}")]
    TooMany {
        /// How many came.
        have: usize,
        /// How many there can be.
        most: usize,
    },
    /// A message that is not for this machine.
    #[error("the payer takes no calls")]
    NotForPayer,
}

impl Refuse for Reason {}
