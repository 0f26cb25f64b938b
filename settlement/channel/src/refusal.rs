//! Why an input is refused, and what of the chain cannot be true.

use crate::Open;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Address, Amount, AmountError, Epoch, OrderDigest, Refuse, SignatureError, Timestamp};

/// A refused input: why, and what to do about it.
pub type Rejected = symbolon_primitives::Rejected<Reason>;

/// What the chain shows at depth and cannot be, as far as this end knows. It
/// stops the channel: no signature is given and no work is taken until a person
/// has looked. What is held is still claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Conflict {
    /// Back to an older epoch than was seen at depth.
    #[error("the chain shows epoch {have}, epoch {seen} was seen before: it was reorganised below the depth")]
    EpochWentBack {
        /// What it shows.
        have: Epoch,
        /// What it had shown.
        seen: Epoch,
    },
    /// Less earmarked than was seen at depth in the same epoch.
    #[error(
        "the chain shows an earmark of {have} base units, {seen} were seen before: it was reorganised below the depth"
    )]
    EarmarkFell {
        /// What it shows.
        have: Amount,
        /// What it had shown.
        seen: Amount,
    },
    /// An earlier expiry than was seen at depth in the same epoch.
    #[error("the chain shows expiry {have}, {seen} was seen before: it was reorganised below the depth")]
    ExpiryFell {
        /// What it shows.
        have: Timestamp,
        /// What it had shown.
        seen: Timestamp,
    },
    /// Paid on instruments that this payer never gave.
    #[error(
        "{have} base units are claimed, this payer signed for {most} at most: another copy of its key is in use, or an older state of it was restored"
    )]
    ClaimedAboveSigned {
        /// Claimed.
        have: Amount,
        /// The most that anything signed here could have claimed.
        most: Amount,
    },
    /// The epoch ended before the expiry, and this payee never consented.
    #[error(
        "epoch {epoch} was released before its expiry {expiry} without this payee's consent: another copy of its key is in use"
    )]
    ReleasedEarly {
        /// The epoch that ended.
        epoch: Epoch,
        /// Its expiry.
        expiry: Timestamp,
    },
}

/// Why an input is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The channel is stopped.
    #[error("the channel is stopped: {0}")]
    Halted(Conflict),
    /// The signer handed in is not this end's.
    #[error("the signer is {have}, this end is {need}")]
    WrongSigner {
        /// Whose signer was passed.
        have: Address,
        /// Whose it has to be.
        need: Address,
    },
    /// Read at an older block than the last look.
    #[error("read at block {have}, block {seen} was seen before")]
    Stale {
        /// The reading's block.
        have: u64,
        /// The last one's.
        seen: u64,
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
    #[error("epoch {epoch} is closed: release the channel, then go on in the next one")]
    EpochClosed {
        /// The epoch.
        epoch: Epoch,
    },
    /// One order at a time (SYM-21).
    #[error("{0} is still open in this channel: wait, or use another lane")]
    InFlight(Open),
    /// `owed` lies below what the payee has earned.
    #[error("it says {have} base units are owed, {need} are")]
    OwedTooLow {
        /// What the order says.
        have: Amount,
        /// What is owed.
        need: Amount,
    },
    /// The payer names another total than the one it last signed.
    #[error("it says {have} base units are owed, this payer owes {need}")]
    OwedDiffers {
        /// What the leaf says.
        have: Amount,
        /// What is owed.
        need: Amount,
    },
    /// The earmark does not cover it.
    #[error("earmark of {have} base units, {need} are needed: top it up")]
    EarmarkTooSmall {
        /// The earmark.
        have: Amount,
        /// What is needed.
        need: Amount,
    },
    /// More than this payer key may owe (SYM-25).
    #[error("exposure of {have} base units to this payer key, {most} are allowed until it has paid more")]
    ExposureTooHigh {
        /// With the new order.
        have: Amount,
        /// What is allowed now.
        most: Amount,
    },
    /// The channel may be released before the order is safely settled.
    #[error("the channel expires at {have}, {need} is needed: extend it")]
    ExpiresTooSoon {
        /// Its expiry.
        have: Timestamp,
        /// The earliest that is fine.
        need: Timestamp,
    },
    /// Its time has passed.
    #[error("it had to come before {by}")]
    Late {
        /// The order's settle-by, or the begin of the hosting.
        by: Timestamp,
    },
    /// Terms nobody can keep: no time, no periods, or more than an amount holds.
    #[error("hosting without a period, or for more than there can be")]
    UnsoundHosting,
    /// Not about what is open.
    #[error("{0} is not open in this channel")]
    NotOpen(Open),
    /// A signed Result stands: giving up would waive money.
    #[error("a result for order {order} is signed")]
    Attested {
        /// The order.
        order: OrderDigest,
    },
    /// A voucher, leaf or lane of another channel.
    #[error("that is about another channel")]
    OtherChannel,
    /// A signature that is not the other end's.
    #[error("signature: {0}")]
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
    Amount(AmountError),
}

impl Refuse for Reason {}

/// An amount that a peer's numbers add up to and that is none.
pub(crate) fn no_amount(error: AmountError) -> Rejected {
    Reason::Amount(error).warn()
}
