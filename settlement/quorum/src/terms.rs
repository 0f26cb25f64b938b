//! An order as its members and its payer track it.

use core::fmt;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{
    Address, Domain, Leaf, OrderDigest, OrderError, Signature, SignedOrder, Timestamp, WorkOrder, keccak256,
};

/// A set of roster positions: bit i is leaf i, as `settleQuorum` takes it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberSet(u8);

impl MemberSet {
    /// Nobody.
    pub const EMPTY: Self = Self(0);

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether leaf `index` is in it.
    #[must_use]
    pub const fn contains(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }

    /// This set and leaf `index`.
    #[must_use]
    pub const fn with(self, index: usize) -> Self {
        Self(self.0 | bit(index))
    }

    /// This set without leaf `index`.
    #[must_use]
    pub const fn without(self, index: usize) -> Self {
        Self(self.0 & !bit(index))
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether nobody is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The positions, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..8).filter(move |index| self.contains(*index))
    }

    /// Every subset with at least `least` members, ascending by bits.
    pub(crate) fn subsets(self, least: usize) -> impl Iterator<Item = Self> {
        (1..=u8::MAX).map(Self).filter(move |subset| self.covers(*subset) && subset.len() >= least)
    }
}

impl FromIterator<usize> for MemberSet {
    fn from_iter<T: IntoIterator<Item = usize>>(indices: T) -> Self {
        indices.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for MemberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

const fn bit(index: usize) -> u8 {
    match index {
        0 => 1,
        1 => 2,
        2 => 4,
        3 => 8,
        4 => 16,
        5 => 32,
        6 => 64,
        7 => 128,
        _ => 0,
    }
}

/// Waiting times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// After a deadline, before silence counts: a value of the agreement.
    pub wait_secs: u64,
    /// After a quorum stands, before the payer counts as silent.
    pub silence_secs: u64,
    /// Between two replicas' turns at submitting.
    pub spacing_secs: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { wait_secs: 10, silence_secs: 60, spacing_secs: 60 }
    }
}

/// Why an order cannot be tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// The order itself is refused.
    #[error("order refused")]
    Order(#[from] OrderError),
    /// Signed by somebody else than its payer is said to be.
    #[error("the order is of {have}, not of {need}")]
    OtherPayer {
        /// Who signed it.
        have: Address,
        /// Who should have.
        need: Address,
    },
    /// The provider has no leaf.
    #[error("{0} has no leaf in the roster")]
    NoLeaf(Address),
}

/// All that the machines need of an order: checked once, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    pub(crate) domain: Domain,
    pub(crate) digest: OrderDigest,
    pub(crate) payer: Address,
    pub(crate) order: WorkOrder,
    pub(crate) signature: Signature,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) reserves: MemberSet,
    pub(crate) commit_by: Timestamp,
    pub(crate) reserve_by: Timestamp,
    pub(crate) timing: Timing,
}

impl OrderTerms {
    /// Checks the order (signature, hashes, SYM-08a) and takes what is needed of it.
    ///
    /// # Errors
    /// [`TermsError`] naming what is wrong.
    pub fn new(signed: &SignedOrder, domain: Domain, payer: Address, timing: Timing) -> Result<Self, TermsError> {
        let signer = signed.check(&domain)?;
        if signer != payer {
            return Err(TermsError::OtherPayer { have: signer, need: payer });
        }
        Ok(Self {
            domain,
            digest: signed.digest(&domain),
            payer,
            order: signed.order,
            signature: signed.signature,
            leaves: signed.leaves.clone(),
            reserves: MemberSet::from_bits(signed.work.reserves),
            commit_by: signed.work.commit_by,
            reserve_by: signed.work.reserve_by,
            timing,
        })
    }

    /// The order's name.
    #[must_use]
    pub const fn digest(&self) -> OrderDigest {
        self.digest
    }

    /// The payer key.
    #[must_use]
    pub const fn payer(&self) -> Address {
        self.payer
    }

    /// The roster.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// How many equal results settle it.
    #[must_use]
    pub fn quorum(&self) -> usize {
        usize::from(self.order.quorum)
    }

    /// Where `provider` stands in the roster.
    #[must_use]
    pub fn position(&self, provider: Address) -> Option<usize> {
        self.leaves.iter().position(|leaf| leaf.provider == provider)
    }

    /// Who stands at `index`.
    #[must_use]
    pub fn provider(&self, index: usize) -> Option<Address> {
        self.leaves.get(index).map(|leaf| leaf.provider)
    }

    /// Everybody.
    #[must_use]
    pub fn members(&self) -> MemberSet {
        (0..self.leaves.len()).collect()
    }

    /// Those who compute at once.
    #[must_use]
    pub fn actives(&self) -> MemberSet {
        self.members().iter().filter(|index| !self.reserves.contains(*index)).collect()
    }

    /// Those who compute when called, in roster order.
    #[must_use]
    pub const fn reserves(&self) -> MemberSet {
        self.reserves
    }

    /// commit-by plus the waiting time: from here on silence counts.
    #[must_use]
    pub const fn first_wait(&self) -> Timestamp {
        self.commit_by.plus_secs(self.timing.wait_secs)
    }

    /// One waiting time later: from here on a missing answer counts too.
    #[must_use]
    pub const fn second_wait(&self) -> Timestamp {
        self.first_wait().plus_secs(self.timing.wait_secs)
    }

    /// When round two is over: reserve-by plus two waiting times.
    #[must_use]
    pub const fn reserve_wait(&self) -> Timestamp {
        self.reserve_by.plus_secs(self.timing.wait_secs).plus_secs(self.timing.wait_secs)
    }

    /// The last second at which a quorum may be settled.
    #[must_use]
    pub const fn settle_by(&self) -> Timestamp {
        self.order.settle_by
    }

    /// The order in which `members` submit: ascending by keccak256(order, provider).
    #[must_use]
    pub fn turns(&self, members: MemberSet) -> Vec<usize> {
        let mut turns: Vec<([u8; 32], usize)> = members
            .iter()
            .filter_map(|index| {
                let provider = self.provider(index)?;
                let parts: [&[u8]; 3] = [self.digest.as_bytes(), &[0; 12], provider.as_slice()];
                Some((keccak256(&parts.concat()), index))
            })
            .collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, index)| index).collect()
    }
}
