//! What members of an order say to each other and to the payer. The wire
//! crate encodes it; every message names its order there.

use crate::terms::MemberSet;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{
    Address, B256, Commit, Domain, Nonce, OrderDigest, ResultsRoot, Seal, Signature, SignatureError,
};

/// A Commit as its author signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCommit {
    /// Its author.
    pub provider: Address,
    /// What binds the answer.
    pub seal: Seal,
    /// The author's signature over [`Commit`].
    pub signature: Signature,
}

impl SignedCommit {
    /// Checks the author's signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the author did not sign it.
    pub fn check(&self, order: OrderDigest, domain: &Domain) -> Result<(), SignatureError> {
        self.signature.check(&Commit { order, seal: self.seal }.digest(domain), self.provider)
    }
}

/// What a replica computed, and the nonce that opens its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Salted root over the workunits' results.
    pub results_root: ResultsRoot,
    /// Sum of the workunits' fuel.
    pub fuel: u64,
    /// Opens the seal.
    pub nonce: Nonce,
}

impl Answer {
    /// Equal means equal root and equal fuel (SYM-23); nonces always differ.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.outcome() == other.outcome()
    }

    pub(crate) const fn outcome(&self) -> (ResultsRoot, u64) {
        (self.results_root, self.fuel)
    }
}

/// One signed Result over the seals of exactly `members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSubset {
    /// The replicas it would be settled with.
    pub members: MemberSet,
    /// Hash of their seals in row order.
    pub seals: B256,
    /// The author's signature over the Result.
    pub signature: Signature,
}

/// All Results one replica signs about one outcome: a signature for every
/// subset of the equal answers, of quorum size or more, that includes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Salted root over the workunits' results.
    pub results_root: ResultsRoot,
    /// Sum of the workunits' fuel.
    pub fuel: u64,
    /// The signatures.
    pub signed: Vec<SignedSubset>,
}

/// A message about one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A replica's promise of an answer it does not show yet.
    Commit(SignedCommit),
    /// The answer of the sender, with the Commits the sender holds, its own first.
    Answer {
        /// The sender's answer.
        answer: Answer,
        /// Commits the sender holds.
        commits: Vec<SignedCommit>,
    },
    /// Signed Results of the sender.
    Result(Attestation),
    /// Round two: the receiver, a reserve, is to compute. The shell sends the
    /// whole order along.
    Call {
        /// Commits the sender holds.
        commits: Vec<SignedCommit>,
    },
}
