//! Demands, offers and agreements: what is signed before any work (SYM-20).

use crate::{
    Address, AgreementDigest, Amount, B256, DemandDigest, Domain, OfferDigest, ProfileId, Royalty, Signature,
    SignatureError, Timestamp, order::u40,
};
use serde::{Deserialize, Serialize};

/// The signed structs under the names their type hashes carry.
mod abi {
    alloy_sol_types::sol! {
        #[derive(Debug)]
        struct Demand {
            address payer;
            bytes32 body;
            uint40 expires;
        }

        #[derive(Debug)]
        struct Offer {
            address provider;
            bytes32 body;
            uint40 expires;
        }

        #[derive(Debug)]
        struct Agreement {
            bytes32 demand;
            bytes32 offer;
            address owner;
            address payer;
            address payee;
            bytes22 royalty;
            uint96 flat;
            uint96 rate;
            bytes32 profile;
            uint96 exposureLimit;
            uint96 finalityThreshold;
            uint16 depth;
            uint32 commitSecs;
            uint32 reserveSecs;
            uint32 waitSecs;
            uint32 settleSecs;
            uint32 keepSecs;
            uint32 marginSecs;
            uint40 validUntil;
        }
    }
}

/// What a requestor asks for. `body` is keccak256 of its property text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// The payer key, which signs it.
    pub payer: Address,
    /// Hash of the body.
    pub body: B256,
    /// When it stops counting.
    pub expires: Timestamp,
}

impl Demand {
    /// What the payer key signs, and the demand's name.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> DemandDigest {
        let terms = abi::Demand { payer: self.payer, body: self.body, expires: u40(self.expires) };
        DemandDigest::from_bytes(domain.digest(&terms))
    }
}

/// What a provider offers. `body` is keccak256 of its property text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The provider, which signs it.
    pub provider: Address,
    /// Hash of the body.
    pub body: B256,
    /// When it stops counting.
    pub expires: Timestamp,
}

impl Offer {
    /// What the provider signs, and the offer's name.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> OfferDigest {
        let terms = abi::Offer { provider: self.provider, body: self.body, expires: u40(self.expires) };
        OfferDigest::from_bytes(domain.digest(&terms))
    }
}

/// A contract of work between one payer key and one provider. Vault and chain
/// are the domain's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The demand it answers.
    pub demand: DemandDigest,
    /// The offer it takes.
    pub offer: OfferDigest,
    /// Who owns the payer key and its deposit.
    pub owner: Address,
    /// The key that signs orders and vouchers.
    pub payer: Address,
    /// The provider.
    pub payee: Address,
    /// The royalty of every lane under this agreement.
    pub royalty: Royalty,
    /// Price of an order.
    pub flat: Amount,
    /// Price of one Gfuel.
    pub rate: Amount,
    /// The determinism profile.
    pub profile: ProfileId,
    /// The most the payee works ahead of its money (SYM-25).
    pub exposure_limit: Amount,
    /// Above this much, chain state is read at the `finalized` block (SYM-26).
    pub finality_threshold: Amount,
    /// Blocks below which chain state counts otherwise.
    pub depth: u16,
    /// Seconds from an order's signing to its commit-by, at most.
    pub commit_secs: u32,
    /// Seconds from commit-by to reserve-by, at most.
    pub reserve_secs: u32,
    /// The waiting time after a deadline before silence counts (10 s unless a devnet).
    pub wait_secs: u32,
    /// Seconds from an order's signing to its settle-by, at most.
    pub settle_secs: u32,
    /// How long outputs are kept after an order's reserve-by.
    pub keep_secs: u32,
    /// How long before a channel's expiry the payee stops relying on it.
    pub margin_secs: u32,
    /// No order is signed under it after this.
    pub valid_until: Timestamp,
}

impl Agreement {
    /// What both sides sign, and the agreement's name.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> AgreementDigest {
        AgreementDigest::from_bytes(domain.digest(&abi::Agreement {
            demand: self.demand.word(),
            offer: self.offer.word(),
            owner: self.owner,
            payer: self.payer,
            payee: self.payee,
            royalty: self.royalty.to_bytes22().into(),
            flat: self.flat.to_u96(),
            rate: self.rate.to_u96(),
            profile: self.profile.word(),
            exposureLimit: self.exposure_limit.to_u96(),
            finalityThreshold: self.finality_threshold.to_u96(),
            depth: self.depth,
            commitSecs: self.commit_secs,
            reserveSecs: self.reserve_secs,
            waitSecs: self.wait_secs,
            settleSecs: self.settle_secs,
            keepSecs: self.keep_secs,
            marginSecs: self.margin_secs,
            validUntil: u40(self.valid_until),
        }))
    }
}

/// An agreement with both signatures: the only form anything relies on (SYM-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAgreement {
    /// The terms.
    pub terms: Agreement,
    /// The payer key's.
    pub payer_signature: Signature,
    /// The provider's.
    pub payee_signature: Signature,
}

impl SignedAgreement {
    /// Checks both signatures and answers the agreement's name.
    ///
    /// # Errors
    /// [`SignatureError`] of the first that does not hold.
    pub fn check(&self, domain: &Domain) -> Result<AgreementDigest, SignatureError> {
        let digest = self.terms.digest(domain);
        self.payer_signature.check(digest.as_bytes(), self.terms.payer)?;
        self.payee_signature.check(digest.as_bytes(), self.terms.payee)?;
        Ok(digest)
    }
}
