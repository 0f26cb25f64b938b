//! The words every other crate speaks: identifiers, amounts, lanes, prices,
//! signatures, the EIP-712 digests of every signed struct, and the encodings
//! of work orders, workunits and results.
//!
//! Layer 1: no clock, no randomness, no input or output. Everything here is a
//! value or a pure function.

pub mod agreement;
pub mod amount;
pub mod eip712;
pub mod id;
mod keccak;
pub mod lane;
pub mod order;
pub mod price;
pub mod receipt;
pub mod refuse;
pub mod results;
pub mod sign;
pub mod watch;
pub mod work;

pub use agreement::{Agreement, Demand, Offer, SignedAgreement};
pub use alloy_primitives::{Address, B256, U256};
pub use amount::{Amount, AmountError};
pub use eip712::Domain;
pub use id::{
    AgreementDigest, ContentRef, DemandDigest, JobId, Nonce, OfferDigest, OrderDigest, ProfileId, ResultRoot,
    ResultsRoot, Salt, Seal, WorkunitId,
};
pub use keccak::keccak256;
pub use lane::{Lane, LaneError, Royalty};
pub use order::{Commit, GiveUp, Leaf, OrderError, Release, ResultStatement, SignedOrder, Voucher, Work, WorkOrder};
pub use price::price;
pub use refuse::{Refuse, Rejected, Remedy};
pub use results::{UnitResult, results_root};
pub use sign::{Key, Signature, SignatureError, Signer};
pub use work::{Input, Level, Limits, Workunit};

/// Seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time plus `secs` seconds, saturating at the end of time.
    #[must_use]
    pub const fn plus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// Seconds from `earlier` to this time, zero when it is not earlier.
    #[must_use]
    pub const fn secs_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl core::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// A channel's epoch: 24 bits on chain. Grows by one at each release.
pub type Epoch = u32;

/// The largest epoch a channel can reach.
pub const MAX_EPOCH: Epoch = (1 << 24) - 1;
