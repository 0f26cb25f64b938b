//! Receipts: everything that shows, without a chain or a network, that a quorum
//! stood behind a result and what it was paid for.
//!
//! A receipt is as good as its signatures. It does not show that a voucher was
//! claimed: that is the chain's to say.

use crate::{
    Address, AgreementDigest, Amount, AmountError, Domain, Leaf, Nonce, OrderDigest, OrderError, ResultStatement,
    ResultsRoot, Royalty, Signature, SignatureError, SignedAgreement, SignedOrder, UnitResult, Voucher,
    order::{seal, seals_hash},
    results::{results_root, total_fuel},
};
use serde::{Deserialize, Serialize};

/// The version this program writes and reads.
pub const VERSION: u8 = 1;

/// The most vouchers in one receipt.
pub const MAX_VOUCHERS: usize = crate::order::MAX_LEAVES;

/// A replica of the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    /// The provider.
    pub provider: Address,
    /// Opens its seal.
    pub nonce: Nonce,
    /// Its signature over the common Result.
    pub signature: Signature,
}

/// A voucher with its payer key's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paid {
    /// What was promised.
    pub voucher: Voucher,
    /// The payer key's signature.
    pub signature: Signature,
}

/// One order from agreement to payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`VERSION`].
    pub version: u8,
    /// The chain and vault everything is signed for.
    pub domain: Domain,
    /// The payer key.
    pub payer: Address,
    /// The agreements its holder has: a payer all of them, a provider its own.
    pub agreements: Vec<SignedAgreement>,
    /// The order with work and roster.
    pub order: SignedOrder,
    /// Each workunit's result.
    pub units: Vec<UnitResult>,
    /// What the quorum signed: the salted root over the units.
    pub results_root: ResultsRoot,
    /// What the quorum signed: the fuel that is paid.
    pub fuel: u64,
    /// The quorum, ascending by provider.
    pub quorum: Vec<Attested>,
    /// The vouchers its holder has: a payer those it gave, a provider its own. None when the quorum settled on chain.
    pub vouchers: Vec<Paid>,
}

/// What a sound receipt shows of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The replica.
    pub provider: Address,
    /// What its channel owed before the order.
    pub owed: Amount,
    /// `flat + ceil(rate * fuel / 10^9)`, gross of royalty.
    pub price: Amount,
    /// The absolute total the order is settled at: `owed + price`.
    pub total: Amount,
    /// The voucher's total, where the receipt has one. At least `total`.
    pub voucher: Option<Amount>,
}

/// What a sound receipt shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The order's name.
    pub order: OrderDigest,
    /// Who gets which part of every payment beside the payees.
    pub royalty: Royalty,
    /// The agreements that were checked.
    pub agreements: Vec<AgreementDigest>,
    /// Every replica of the quorum.
    pub shares: Vec<Share>,
}

/// Why a receipt shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Written by another program.
    #[error("receipt of version {have}, this program reads {VERSION}")]
    Version {
        /// Its version.
        have: u8,
    },
    /// The order does not hold.
    #[error("order: {0}")]
    Order(#[from] OrderError),
    /// The order is somebody else's.
    #[error("the order is signed by {have}, the receipt names the payer {need}")]
    Payer {
        /// Who signed.
        have: Address,
        /// Who is named.
        need: Address,
    },
    /// More vouchers or agreements than an order has members.
    #[error("{have} {what}, an order has at most {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        have: usize,
        /// The limit.
        limit: usize,
    },
    /// A signature of an agreement.
    #[error("agreement with {payee}: {source}")]
    Agreement {
        /// The provider.
        payee: Address,
        /// What is wrong.
        source: SignatureError,
    },
    /// An agreement that the order does not name for its provider.
    #[error("the order does not stand on the agreement with {payee} given here")]
    OtherAgreement {
        /// The provider.
        payee: Address,
    },
    /// A leaf that prices the work otherwise than was agreed.
    #[error("{provider} agreed to other terms than the order has for it: {what}")]
    OtherTerms {
        /// The provider.
        provider: Address,
        /// Which term.
        what: &'static str,
    },
    /// The workunits' results are not those of the order's workunits.
    #[error("the results are not of this order's workunits")]
    OtherUnits,
    /// The results do not give the root or fuel that was signed.
    #[error("the results do not give the {what} that the quorum signed")]
    OtherResults {
        /// Root or fuel.
        what: &'static str,
    },
    /// More fuel than the payer signed for.
    #[error("{have} fuel, the order allows {limit}")]
    Fuel {
        /// What the quorum says.
        have: u64,
        /// The order's maximum.
        limit: u64,
    },
    /// Too few replicas.
    #[error("{have} replicas signed, the order asks for {need}")]
    Quorum {
        /// How many.
        have: usize,
        /// The order's quorum.
        need: u8,
    },
    /// Replicas out of order or named twice.
    #[error("the replicas do not ascend by address")]
    Disorder,
    /// A replica without a leaf in the order.
    #[error("{provider} is no member of the order")]
    NotAMember {
        /// Who.
        provider: Address,
    },
    /// A replica's signature.
    #[error("result of {provider}: {source}")]
    Result {
        /// The provider.
        provider: Address,
        /// What is wrong.
        source: SignatureError,
    },
    /// A voucher's signature.
    #[error("voucher to {payee}: {source}")]
    Voucher {
        /// The payee.
        payee: Address,
        /// What is wrong.
        source: SignatureError,
    },
    /// A voucher of another channel or epoch than the order's.
    #[error("the voucher to {payee} is of another channel than the order")]
    OtherChannel {
        /// The payee.
        payee: Address,
    },
    /// A voucher that does not cover the order.
    #[error("the voucher to {payee} is for {have} base units, the order comes to {need}")]
    TooLow {
        /// The payee.
        payee: Address,
        /// Its total.
        have: Amount,
        /// `owed + price`.
        need: Amount,
    },
    /// A price that is no amount.
    #[error("price: {0}")]
    Amount(#[from] AmountError),
}

impl Receipt {
    /// Checks every signature, that the quorum is one, that the results give what it signed, and the arithmetic of
    /// every price. Nothing but the receipt is needed.
    ///
    /// # Errors
    /// [`ReceiptError`] of the first thing that does not hold.
    pub fn check(&self) -> Result<Shown, ReceiptError> {
        if self.version != VERSION {
            return Err(ReceiptError::Version { have: self.version });
        }
        let order = self.order.digest(&self.domain);
        let have = self.order.check(&self.domain)?;
        if have != self.payer {
            return Err(ReceiptError::Payer { have, need: self.payer });
        }
        let agreements = self.check_agreements()?;
        self.check_results()?;
        let mut shares = self.check_quorum(order)?;
        self.check_vouchers(&mut shares)?;
        Ok(Shown { order, royalty: self.order.order.royalty, agreements, shares })
    }

    fn leaf(&self, provider: Address) -> Result<(usize, &Leaf), ReceiptError> {
        self.order.leaf_of(provider).ok_or(ReceiptError::NotAMember { provider })
    }

    fn check_agreements(&self) -> Result<Vec<AgreementDigest>, ReceiptError> {
        few("agreements", self.agreements.len())?;
        let mut checked = Vec::with_capacity(self.agreements.len());
        for signed in &self.agreements {
            let terms = &signed.terms;
            let payee = terms.payee;
            let digest = signed.check(&self.domain).map_err(|source| ReceiptError::Agreement { payee, source })?;
            let (index, leaf) = self.leaf(payee)?;
            if self.order.work.agreements.get(index) != Some(&digest) || terms.payer != self.payer {
                return Err(ReceiptError::OtherAgreement { payee });
            }
            let same = [
                ("flat price", terms.flat == leaf.flat),
                ("rate", terms.rate == leaf.rate),
                ("royalty", terms.royalty == self.order.order.royalty),
                ("profile", terms.profile == self.order.work.profile),
            ];
            if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
                return Err(ReceiptError::OtherTerms { provider: payee, what });
            }
            checked.push(digest);
        }
        Ok(checked)
    }

    fn check_results(&self) -> Result<(), ReceiptError> {
        let work = &self.order.work;
        if !work.workunits.iter().map(|unit| unit.id(work.profile)).eq(self.units.iter().map(|unit| unit.id)) {
            return Err(ReceiptError::OtherUnits);
        }
        if results_root(work.salt, &self.units) != self.results_root {
            return Err(ReceiptError::OtherResults { what: "root" });
        }
        if total_fuel(&self.units) != Some(self.fuel) {
            return Err(ReceiptError::OtherResults { what: "fuel" });
        }
        let limit = self.order.order.max_fuel;
        if self.fuel > limit { Err(ReceiptError::Fuel { have: self.fuel, limit }) } else { Ok(()) }
    }

    fn check_quorum(&self, order: OrderDigest) -> Result<Vec<Share>, ReceiptError> {
        let outcome = (self.results_root, self.fuel);
        shares_of(&self.domain, order, self.order.order.quorum, &self.order.leaves, outcome, &self.quorum)
    }

    fn check_vouchers(&self, shares: &mut [Share]) -> Result<(), ReceiptError> {
        few("vouchers", self.vouchers.len())?;
        for Paid { voucher, signature } in &self.vouchers {
            let payee = voucher.payee;
            let (_, leaf) = self.leaf(payee)?;
            let share = shares.iter_mut().find(|share| share.provider == payee);
            // Somebody who was not with the quorum is owed nothing for the order.
            let share = share.ok_or(ReceiptError::NotAMember { provider: payee })?;
            let lane = self.order.order.royalty.lane(leaf.lane_number);
            if voucher.lane != lane || voucher.epoch != leaf.epoch {
                return Err(ReceiptError::OtherChannel { payee });
            }
            signature
                .check(&voucher.digest(&self.domain), self.payer)
                .map_err(|source| ReceiptError::Voucher { payee, source })?;
            if voucher.cumulative < share.total {
                return Err(ReceiptError::TooLow { payee, have: voucher.cumulative, need: share.total });
            }
            share.voucher = Some(voucher.cumulative);
        }
        Ok(())
    }
}

/// What each replica of a quorum earns, once all of their signatures over the common Result hold.
pub(crate) fn shares_of(
    domain: &Domain,
    order: OrderDigest,
    need: u8,
    leaves: &[Leaf],
    (results_root, fuel): (ResultsRoot, u64),
    quorum: &[Attested],
) -> Result<Vec<Share>, ReceiptError> {
    let have = quorum.len();
    if have < usize::from(need) {
        return Err(ReceiptError::Quorum { have, need });
    }
    if !quorum.is_sorted_by(|a, b| a.provider < b.provider) {
        return Err(ReceiptError::Disorder);
    }
    let seals: Vec<_> = quorum.iter().map(|row| seal(order, row.provider, results_root, fuel, row.nonce)).collect();
    let statement = ResultStatement { order, results_root, fuel, seals: seals_hash(&seals).into() };
    let digest = statement.digest(domain);
    let mut shares = Vec::with_capacity(have);
    for row in quorum {
        let provider = row.provider;
        let leaf = leaves.iter().find(|leaf| leaf.provider == provider);
        let leaf = leaf.ok_or(ReceiptError::NotAMember { provider })?;
        row.signature.check(&digest, provider).map_err(|source| ReceiptError::Result { provider, source })?;
        let (price, total) = (leaf.price(fuel)?, leaf.total(fuel)?);
        shares.push(Share { provider, owed: leaf.owed, price, total, voucher: None });
    }
    Ok(shares)
}

fn few(what: &'static str, have: usize) -> Result<(), ReceiptError> {
    if have <= MAX_VOUCHERS { Ok(()) } else { Err(ReceiptError::TooMany { what, have, limit: MAX_VOUCHERS }) }
}
