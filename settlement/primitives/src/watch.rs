//! Claim packages: what a watchtower needs to collect for a payee that is away,
//! and what both sides sign about them.
//!
//! Whoever holds a package can only pay its payees with it: every instrument in
//! it names them (SYM-06, SYM-08).

use crate::{
    Address, Amount, B256, Domain, Epoch, Lane, Leaf, ResultStatement, ResultsRoot, Signature, SignatureError,
    Timestamp, WorkOrder,
    order::{MAX_LEAVES, roster_hash, seal, seals_hash, u40},
    receipt::{Attested, Paid, ReceiptError, shares_of},
};
use serde::{Deserialize, Serialize};

/// The signed structs under the names their type hashes carry.
mod abi {
    alloy_sol_types::sol! {
        #[derive(Debug)]
        struct Watch {
            bytes32 instrument;
        }

        #[derive(Debug)]
        struct Watched {
            bytes32 instrument;
            address payee;
            uint40 until;
        }
    }
}

/// A quorum's settlement, without the work that the chain need not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumPackage {
    /// The order.
    pub order: WorkOrder,
    /// The payer key's signature over it.
    pub signature: Signature,
    /// Its whole roster.
    pub leaves: Vec<Leaf>,
    /// What the quorum signed.
    pub results_root: ResultsRoot,
    /// What the quorum signed.
    pub fuel: u64,
    /// The quorum, ascending by provider.
    pub quorum: Vec<Attested>,
}

/// Something a watchtower can submit for a payee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Package {
    /// A voucher, for `claimFor`.
    Voucher(Paid),
    /// A quorum, for `settleQuorum`.
    Quorum(Box<QuorumPackage>),
}

/// What a package collects from one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// The payer key that signed it.
    pub payer: Address,
    /// Who is credited.
    pub payee: Address,
    /// The channel's lane.
    pub lane: Lane,
    /// The epoch it names.
    pub epoch: Epoch,
    /// The absolute total it names (SYM-09).
    pub total: Amount,
}

/// Why a package collects nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A signature of the payer key that is none.
    #[error("payer's signature: {0}")]
    Payer(#[from] SignatureError),
    /// The roster is not the order's, or not one that a vault settles (SYM-08a).
    #[error("the roster is not one that the order names")]
    Roster,
    /// More fuel than the order allows.
    #[error("{have} fuel, the order allows {limit}")]
    Fuel {
        /// What the quorum says.
        have: u64,
        /// The order's maximum.
        limit: u64,
    },
    /// The quorum is none.
    #[error(transparent)]
    Quorum(#[from] ReceiptError),
}

impl Package {
    /// Checks every signature and answers what it would collect, from which channels.
    ///
    /// # Errors
    /// [`PackageError`]: a vault would refuse it.
    pub fn check(&self, domain: &Domain) -> Result<Vec<Instrument>, PackageError> {
        match self {
            Self::Voucher(Paid { voucher, signature }) => {
                let payer = signature.recover(&voucher.digest(domain))?;
                let (payee, lane, epoch) = (voucher.payee, voucher.lane, voucher.epoch);
                Ok(vec![Instrument { payer, payee, lane, epoch, total: voucher.cumulative }])
            }
            Self::Quorum(package) => package.check(domain),
        }
    }

    /// Its name: the digest of what pays, the voucher or the common Result.
    #[must_use]
    pub fn name(&self, domain: &Domain) -> B256 {
        match self {
            Self::Voucher(paid) => paid.voucher.digest(domain).into(),
            Self::Quorum(package) => package.statement(domain).digest(domain).into(),
        }
    }

    /// After which second nobody can submit it any more, where the instrument itself says so.
    #[must_use]
    pub fn settle_by(&self) -> Option<Timestamp> {
        match self {
            Self::Voucher(_) => None,
            Self::Quorum(package) => Some(package.order.settle_by),
        }
    }
}

impl QuorumPackage {
    fn statement(&self, domain: &Domain) -> ResultStatement {
        let (order, root, fuel) = (self.order.digest(domain), self.results_root, self.fuel);
        let seals: Vec<_> = self.quorum.iter().map(|row| seal(order, row.provider, root, fuel, row.nonce)).collect();
        ResultStatement { order, results_root: root, fuel, seals: seals_hash(&seals).into() }
    }

    fn check(&self, domain: &Domain) -> Result<Vec<Instrument>, PackageError> {
        let (order, leaves) = (&self.order, &self.leaves);
        let quorum = usize::from(order.quorum);
        let sound = leaves.len() <= MAX_LEAVES
            && leaves.is_sorted_by(|a, b| a.provider < b.provider)
            && (2..=leaves.len()).contains(&quorum)
            && quorum.saturating_mul(2) > leaves.len()
            && order.roster.0 == roster_hash(leaves);
        if !sound {
            return Err(PackageError::Roster);
        }
        if self.fuel > order.max_fuel {
            return Err(PackageError::Fuel { have: self.fuel, limit: order.max_fuel });
        }
        let digest = order.digest(domain);
        let payer = self.signature.recover(digest.as_bytes())?;
        let outcome = (self.results_root, self.fuel);
        let shares = shares_of(domain, digest, order.quorum, leaves, outcome, &self.quorum)?;
        let of = |leaf: &Leaf| shares.iter().find(|share| share.provider == leaf.provider);
        let instrument = |(leaf, total): (&Leaf, Amount)| Instrument {
            payer,
            payee: leaf.provider,
            lane: order.royalty.lane(leaf.lane_number),
            epoch: leaf.epoch,
            total,
        };
        Ok(leaves.iter().filter_map(|leaf| of(leaf).map(|share| (leaf, share.total))).map(instrument).collect())
    }
}

/// What a payee signs when it hands a package to a watchtower, so that nobody else fills its place there.
#[must_use]
pub fn watch_digest(domain: &Domain, package: B256) -> [u8; 32] {
    domain.digest(&abi::Watch { instrument: package })
}

/// A watchtower's word that it holds a package and will submit it in time.
///
/// # Safety of funds
/// It binds nobody on chain: whoever cannot bear the loss hands the package to several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// [`Package::name`].
    pub package: B256,
    /// For whom.
    pub payee: Address,
    /// The deadline it was accepted for.
    pub until: Timestamp,
}

impl Watched {
    /// What the watchtower signs.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> [u8; 32] {
        let Self { package, payee, until } = *self;
        domain.digest(&abi::Watched { instrument: package, payee, until: u40(until) })
    }
}
