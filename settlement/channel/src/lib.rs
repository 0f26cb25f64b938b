//! One payment channel between a payer key and a payee, from both sides: what is
//! owed, what is promised, and when a promise may be given or relied on.
//!
//! A [`Payer`] issues orders or begins hosting, and gives vouchers; a [`Payee`]
//! takes them, attests results, keeps vouchers and consents to releases. Both
//! are pure: time is an argument, keys are a
//! [`Signer`](symbolon_primitives::Signer) that is passed in, and when to look
//! again is a value ([`Payer::timer`], [`Payee::timer`]). An input changes the
//! machine and answers effects, or is [`Rejected`] and changes nothing.
//! [`Effect::Persist`] comes first: the whole machine is durable before
//! anything after it leaves the process (SYM-24). Where a voucher that is kept
//! tells the whole step ([`Payer::is_kept_by`], [`Payee::is_kept_by`]), it is
//! all that has to be written: a machine is its last snapshot, caught up with
//! the best voucher of its epoch ([`Payer::catch_up`], [`Payee::catch_up`]).
//!
//! Everything is an absolute total of one epoch (SYM-09). What the chain holds
//! is a [`View`] at the depth the agreement asks for (SYM-26), and nothing here
//! ever patches it. What it shows and cannot be is a [`Conflict`]: the channel
//! halts, and only claiming goes on.
//!
//! # What does not type-check
//!
//! What a machine holds is its own: it changes by an input or not at all. A
//! payer's last total is read, as here, and not set:
//!
//! ```
//! use symbolon_channel::Payer;
//! use symbolon_primitives::Amount;
//!
//! fn forget(payer: &mut Payer) -> Amount {
//!     payer.promised()
//! }
//! ```
//!
//! ```compile_fail,E0616
//! use symbolon_channel::Payer;
//! use symbolon_primitives::Amount;
//!
//! fn forget(payer: &mut Payer) {
//!     payer.signed = Amount::ZERO;
//! }
//! ```
//!
//! Nor does a payee take a voucher that nobody checked: there is a way in with
//! a check, and none without.
//!
//! ```
//! use symbolon_channel::{Effects, Payee, PayeeInput, Rejected, SignedVoucher};
//! use symbolon_primitives::{Signer, Timestamp};
//!
//! fn take(payee: &mut Payee, key: &dyn Signer, signed: SignedVoucher) -> Result<Effects, Rejected> {
//!     payee.handle(key, PayeeInput::Period(signed), Timestamp(1))
//! }
//! ```
//!
//! ```compile_fail,E0624
//! use symbolon_channel::{Effects, Payee, PayeeInput, Rejected, SignedVoucher};
//! use symbolon_primitives::{Signer, Timestamp};
//!
//! fn take(payee: &mut Payee, key: &dyn Signer, signed: SignedVoucher) {
//!     payee.take_over(signed);
//! }
//! ```
//!
//! An agreement is no order, although both are named by 32 bytes:
//!
//! ```
//! use symbolon_channel::PayerInput;
//! use symbolon_primitives::{AgreementDigest, OrderDigest};
//!
//! fn over(order: OrderDigest) -> PayerInput {
//!     PayerInput::GaveUp { order }
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use symbolon_channel::PayerInput;
//! use symbolon_primitives::{AgreementDigest, OrderDigest};
//!
//! fn over(order: AgreementDigest) -> PayerInput {
//!     PayerInput::GaveUp { order }
//! }
//! ```
//!
//! What depends on values is refused at run time instead, as a [`Rejected`]: a
//! total below the last or above the earmark, a second order while one is open,
//! an epoch that is closed. A type cannot see that [`Payer::catch_up`] is given
//! vouchers of its own store, nor that a snapshot is the latest. That a voucher
//! is on disk before it leaves is a type of the store's, its `Durable`.
#![warn(clippy::arithmetic_side_effects)]

mod exposure;
mod hosting;
mod order;
mod payee;
mod payer;
mod refusal;

pub use exposure::{Standing, allowance};
pub use hosting::Hosting;
pub use order::{Open, Order};
pub use payee::{Payee, PayeeInput};
pub use payer::{Payer, PayerInput};
pub use refusal::{Conflict, Reason, Rejected};
pub use symbolon_primitives::Remedy;

use serde::{Deserialize, Serialize};
use symbolon_primitives::{
    Address, AgreementDigest, Amount, Domain, Epoch, Lane, OrderDigest, Release, Signature, Timestamp, Voucher,
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
    /// The block it was read at.
    pub block: u64,
}

impl View {
    /// The one payment rule (SYM-09): if the epoch is the channel's, `claimed`
    /// becomes `max(claimed, min(total, allocated))`; otherwise nothing happens.
    #[must_use]
    pub fn after(&self, epoch: Epoch, total: Amount) -> Self {
        let claimed = if epoch == self.epoch { self.claimed.max(total.min(self.allocated)) } else { self.claimed };
        Self { claimed, ..*self }
    }

    /// Whether the channel was never looked at, or never opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expiry == Timestamp::default()
    }

    /// What an earmark or an expiry below the one in `seen` says, in one epoch.
    fn shrunk_since(&self, seen: &Self) -> Option<Conflict> {
        if self.allocated < seen.allocated {
            Some(Conflict::EarmarkFell { have: self.allocated, seen: seen.allocated })
        } else if self.expiry < seen.expiry {
            Some(Conflict::ExpiryFell { have: self.expiry, seen: seen.expiry })
        } else {
            None
        }
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
    /// Make the machine as it is now durable: by its snapshot, or by the voucher alone where that tells the whole
    /// step. Always first.
    Persist,
    /// Keep this voucher, durably, in the same write as the machine's snapshot, if one is written.
    Keep(SignedVoucher),
    /// Send this voucher to the payee for an order.
    SendVoucher {
        /// What it pays for.
        order: OrderDigest,
        /// The voucher.
        signed: SignedVoucher,
    },
    /// Send this voucher to the payee for a period of hosting.
    SendPeriod {
        /// What it pays for.
        agreement: AgreementDigest,
        /// How many periods are paid with it.
        paid: u32,
        /// The voucher.
        signed: SignedVoucher,
    },
    /// The next period cannot be paid: earmark this much more.
    TopUp {
        /// In base units.
        missing: Amount,
    },
    /// The order is paid: its outputs may be served.
    Paid {
        /// The order.
        order: OrderDigest,
    },
    /// The hosting is paid until then: serve.
    Serve {
        /// Under which agreement.
        agreement: AgreementDigest,
        /// The first second that is not paid.
        until: Timestamp,
    },
    /// The hosting is over: what follows is not paid.
    Stop {
        /// Under which agreement.
        agreement: AgreementDigest,
    },
    /// Give the owner this consent.
    Consent {
        /// What is consented to.
        release: Release,
        /// The payee's signature.
        signature: Signature,
    },
    /// The payee consents: release the channel with this.
    Release {
        /// What is consented to.
        release: Release,
        /// The payee's signature.
        signature: Signature,
    },
    /// The epoch ended, and this much that was earned in it was not claimed.
    Forfeited {
        /// The epoch.
        epoch: Epoch,
        /// In base units.
        amount: Amount,
    },
    /// The channel stopped: tell the person.
    Halted(Conflict),
}

/// Effects in the order they are to happen.
pub type Effects = Vec<Effect>;
