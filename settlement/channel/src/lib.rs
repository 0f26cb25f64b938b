//! One payment channel between a payer key and a payee, from both sides: what is
//! owed, what is promised, and when a promise may be given or relied on.
//!
//! A [`Payer`] issues orders and gives vouchers; a [`Payee`] takes orders,
//! attests results, keeps vouchers and consents to releases. Both are pure:
//! time is an argument, keys are a [`Signer`](symbolon_primitives::Signer) that
//! is passed in. An input changes the machine and answers effects, or is
//! [`Rejected`] and changes nothing. [`Effect::Persist`] comes first: the whole
//! machine is durable before anything after it leaves the process (SYM-24).
//!
//! Everything is an absolute total of one epoch (SYM-09). What the chain holds
//! is a [`View`] at the depth the agreement asks for (SYM-26), and nothing here
//! ever patches it.
#![warn(clippy::arithmetic_side_effects)]

mod exposure;
mod payee;
mod payer;

pub use exposure::allowance;
pub use payee::{Offer, Payee, PayeeInput};
pub use payer::{Issue, Payer, PayerInput};

use serde::{Deserialize, Serialize};
use symbolon_primitives::{
    Address, Amount, AmountError, Domain, Epoch, Lane, OrderDigest, Release, Signature, SignatureError, Timestamp,
    Voucher,
};

/// Which channel, on which vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelTerms {
    /// The vault's signing domain.
    pub domain: Domain,
    /// The payer key.
    pub payer: Address,
    /// The payee.
    pub payee: Address,
    /// The lane.
    pub lane: Lane,
    /// How long before the expiry the payee stops relying on the channel.
    pub margin_secs: u64,
}

/// The channel as the chain shows it at depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Earmarked, as an absolute total.
    pub allocated: Amount,
    /// Paid, as an absolute total.
    pub claimed: Amount,
    /// The epoch instruments have to name.
    pub epoch: Epoch,
    /// From when on the owner may release.
    pub expiry: Timestamp,
}

impl View {
    /// The one payment rule (SYM-09): if the epoch is the channel's, `claimed`
    /// becomes `max(claimed, min(total, allocated))`; otherwise nothing happens.
    #[must_use]
    pub fn after(&self, epoch: Epoch, total: Amount) -> Self {
        let claimed = if epoch == self.epoch { self.claimed.max(total.min(self.allocated)) } else { self.claimed };
        Self { claimed, ..*self }
    }
}

/// A voucher with its payer key's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVoucher {
    /// What is promised.
    pub voucher: Voucher,
    /// By whom: the key that recovers.
    pub signature: Signature,
}

/// One thing to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Store the machine as it is now, durably. Always first.
    Persist,
    /// Keep this voucher, durably, in the same write as the machine.
    Keep(SignedVoucher),
    /// Send this voucher to the payee for an order.
    SendVoucher {
        /// What it pays for.
        order: OrderDigest,
        /// The voucher.
        signed: SignedVoucher,
    },
    /// The order is paid: its outputs may be served.
    Paid {
        /// The order.
        order: OrderDigest,
    },
    /// Give the owner this consent.
    Consent {
        /// What is consented to.
        release: Release,
        /// The payee's signature.
        signature: Signature,
    },
}

/// Effects in the order they are to happen.
pub type Effects = Vec<Effect>;

/// What to do about a refused input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: it may be in order later, or is old news.
    Ignore,
    /// Note it against the sender.
    Warn,
    /// End the connection: no honest party sends this.
    Disconnect,
    /// Stop dealing in this channel until a person has looked.
    CloseChannel,
}

/// A refused input. The machine is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// What to do.
    pub remedy: Remedy,
    /// Why.
    #[source]
    pub reason: Reason,
}

/// Why an input is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The chain went back to an older epoch than was seen at depth.
    #[error("the chain shows epoch {have}, epoch {seen} was seen before")]
    EpochWentBack {
        /// What it shows.
        have: Epoch,
        /// What it had shown.
        seen: Epoch,
    },
    /// Of another epoch than the channel's.
    #[error("epoch {have}, the channel is in epoch {need}")]
    WrongEpoch {
        /// What the input names.
        have: Epoch,
        /// What the chain shows.
        need: Epoch,
    },
    /// The payee has consented to close this epoch (SYM-04).
    #[error("epoch {epoch} is closed")]
    EpochClosed {
        /// The epoch.
        epoch: Epoch,
    },
    /// One order at a time (SYM-21).
    #[error("order {order} is still open in this channel")]
    InFlight {
        /// The one that is open.
        order: OrderDigest,
    },
    /// `owed` lies below what the payee has earned.
    #[error("the order says {have} base units are owed, {need} are")]
    OwedTooLow {
        /// What the order says.
        have: Amount,
        /// What is owed.
        need: Amount,
    },
    /// The payer names another total than the one it last signed.
    #[error("the leaf says {have} base units are owed, this payer owes {need}")]
    OwedDiffers {
        /// What the leaf says.
        have: Amount,
        /// What is owed.
        need: Amount,
    },
    /// The earmark does not cover the order's maximum: top it up.
    #[error("earmark of {have} base units, {need} are needed")]
    EarmarkTooSmall {
        /// The earmark.
        have: Amount,
        /// What is needed.
        need: Amount,
    },
    /// The channel may be released before the order is safely settled.
    #[error("the channel expires at {have}, {need} is needed")]
    ExpiresTooSoon {
        /// Its expiry.
        have: Timestamp,
        /// The earliest that is fine.
        need: Timestamp,
    },
    /// Settle-by lies in the past.
    #[error("settle-by {settle_by} has passed")]
    Late {
        /// The order's settle-by.
        settle_by: Timestamp,
    },
    /// Not about the order that is open.
    #[error("order {order} is not open in this channel")]
    NotOpen {
        /// The order.
        order: OrderDigest,
    },
    /// A signed Result stands: giving up would waive money.
    #[error("a result for order {order} is signed")]
    Attested {
        /// The order.
        order: OrderDigest,
    },
    /// A voucher or a leaf for another payee or lane.
    #[error("that is about another channel")]
    OtherChannel,
    /// A voucher that is not the payer's.
    #[error("voucher signature: {0}")]
    BadSignature(SignatureError),
    /// A voucher no better than the one held.
    #[error("a voucher for {have} base units, one for {best} is held")]
    NotHigher {
        /// The new one's total.
        have: Amount,
        /// The held one's.
        best: Amount,
    },
    /// The channel was never read from the chain.
    #[error("the channel has not been looked at yet")]
    NotSeen,
    /// More fuel than the order allows.
    #[error("{need} fuel, the order allows {have}")]
    FuelAboveMaximum {
        /// The order's maximum.
        have: u64,
        /// What was asked.
        need: u64,
    },
    /// Not everything earned in this epoch is claimed at depth.
    #[error("{claimed} of {earned} base units are claimed")]
    NotClaimed {
        /// Claimed at depth.
        claimed: Amount,
        /// Earned in this epoch.
        earned: Amount,
    },
    /// A number that is no amount.
    #[error("amounts: {0}")]
    Amount(#[from] AmountError),
}

impl Reason {
    const fn ignore(self) -> Rejected {
        Rejected { remedy: Remedy::Ignore, reason: self }
    }

    const fn warn(self) -> Rejected {
        Rejected { remedy: Remedy::Warn, reason: self }
    }

    const fn disconnect(self) -> Rejected {
        Rejected { remedy: Remedy::Disconnect, reason: self }
    }

    const fn close(self) -> Rejected {
        Rejected { remedy: Remedy::CloseChannel, reason: self }
    }
}

impl From<AmountError> for Rejected {
    fn from(error: AmountError) -> Self {
        Reason::Amount(error).warn()
    }
}
