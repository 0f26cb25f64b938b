//! Work orders and what is signed about them. The EIP-712 encodings of what
//! the vault checks come from its committed ABI, never typed twice.

use crate::{
    Amount, AmountError, ContentRef, Domain, Epoch, Key, Lane, Nonce, OrderDigest, ProfileId, ResultsRoot, Royalty,
    Salt, Seal, Signature, SignatureError, Signer, Timestamp, Workunit, keccak256, price, work::Level,
};
use alloy_primitives::{Address, B256, aliases::U24, aliases::U40};
use alloy_sol_types::{SolStruct, SolValue};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// The most leaves a roster has.
pub const MAX_LEAVES: usize = 8;

/// The most workunits an order has.
pub const MAX_WORKUNITS: usize = 256;

/// A cumulative promise of a payer key to one payee.
///
/// # Safety of funds
/// Persist it before it is sent and before it is acted on (SYM-24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Who is credited.
    pub payee: Address,
    /// The channel's lane.
    pub lane: Lane,
    /// Absolute total of the epoch.
    pub cumulative: Amount,
    /// The epoch the total belongs to.
    pub epoch: Epoch,
}

impl Voucher {
    /// What the payer key signs.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> [u8; 32] {
        static TYPE: OnceLock<B256> = OnceLock::new();
        let voucher = symbolon_contracts::Voucher {
            payee: self.payee,
            lane: self.lane.word(),
            cumulative: self.cumulative.to_u96(),
            epoch: U24::from(self.epoch),
        };
        domain.digest_of(&TYPE, &voucher)
    }
}

/// A payee's consent to close an epoch before the channel's expiry (SYM-04).
///
/// # Safety of funds
/// Whatever of the epoch is not claimed when this is signed is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The payer key.
    pub payer: Address,
    /// The channel's lane.
    pub lane: Lane,
    /// The epoch that ends.
    pub epoch: Epoch,
}

impl Release {
    /// What the payee signs.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> [u8; 32] {
        domain.digest(&symbolon_contracts::Release {
            payer: self.payer,
            lane: self.lane.word(),
            epoch: U24::from(self.epoch),
        })
    }
}

/// A member of an order's roster: 61 packed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The payee.
    pub provider: Address,
    /// What its channel owes it before this order, as an absolute total.
    pub owed: Amount,
    /// Price of an order, in base units.
    pub flat: Amount,
    /// Price of one Gfuel, in base units.
    pub rate: Amount,
    /// The channel's epoch.
    pub epoch: Epoch,
    /// The channel's lane number under the order's royalty.
    pub lane_number: u16,
}

impl Leaf {
    /// The packed leaf as `settleQuorum` takes it.
    #[must_use]
    pub fn to_bytes61(&self) -> [u8; 61] {
        let mut bytes = [0; 61];
        let [_, epoch @ ..] = self.epoch.to_be_bytes();
        let parts: [&[u8]; 6] = [
            self.provider.as_slice(),
            &self.owed.to_be_bytes12(),
            &self.flat.to_be_bytes12(),
            &self.rate.to_be_bytes12(),
            &epoch,
            &self.lane_number.to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(parts.concat()) {
            *to = from;
        }
        bytes
    }

    /// keccak256 of the packed leaf.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        keccak256(&self.to_bytes61())
    }

    /// What this member earns for `fuel`.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] when the price is no amount.
    pub fn price(&self, fuel: u64) -> Result<Amount, AmountError> {
        price(self.flat, self.rate, fuel)
    }

    /// `owed + price(fuel)`: the total an instrument for `fuel` names (SYM-09).
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] when the total is no amount.
    pub fn total(&self, fuel: u64) -> Result<Amount, AmountError> {
        self.owed.checked_add(self.price(fuel)?)
    }
}

/// keccak256 of the leaf hashes in order.
#[must_use]
pub fn roster_hash(leaves: &[Leaf]) -> [u8; 32] {
    keccak256(&leaves.iter().map(Leaf::hash).collect::<Vec<_>>().concat())
}

/// What the chain need not know of an order. Only its hash stands in the [`WorkOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Digests of the members' agreements, in roster order.
    pub agreements: Vec<crate::AgreementDigest>,
    /// The determinism profile.
    pub profile: ProfileId,
    /// The workunits; all of one module, level and limits.
    pub workunits: Vec<Workunit>,
    /// A Commit after this second is late.
    pub commit_by: Timestamp,
    /// A reserve's Commit after this second is late.
    pub reserve_by: Timestamp,
    /// How long outputs are kept for the payer.
    pub keep_until: Timestamp,
    /// Bit i set: leaf i is a reserve. Reserves are called in roster order.
    pub reserves: u8,
    /// Hash of the peers that speak for the members, in roster order.
    pub members: B256,
    /// Makes the results root unguessable (SYM-27).
    pub salt: Salt,
}

/// The signed structs under the names their type hashes carry.
mod abi {
    alloy_sol_types::sol! {
        #[derive(Debug)]
        struct Work {
            bytes32 agreements;
            bytes32 module;
            bytes32 inputs;
            bytes32 profile;
            uint8 level;
            bytes32 limits;
            bytes32 workunits;
            uint40 commitBy;
            uint40 reserveBy;
            uint40 keepUntil;
            uint8 reserves;
            bytes32 members;
            bytes32 salt;
        }

        #[derive(Debug)]
        struct Commit {
            bytes32 order;
            bytes32 seal;
        }

        #[derive(Debug)]
        struct GiveUp {
            bytes32 order;
        }
    }
}

impl Work {
    /// The EIP-712 struct hash (no domain) that stands in the work order.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let first = self.workunits.first();
        let agreements: Vec<u8> = self.agreements.iter().flat_map(|digest| *digest.as_bytes()).collect();
        let inputs: Vec<u8> = self.workunits.iter().flat_map(|unit| unit.inputs_root()).collect();
        let units: Vec<u8> = self.workunits.iter().flat_map(|unit| *unit.id(self.profile).as_bytes()).collect();
        abi::Work {
            agreements: keccak256(&agreements).into(),
            module: first.map_or(ContentRef::default(), |unit| unit.module).word(),
            inputs: keccak256(&inputs).into(),
            profile: self.profile.word(),
            level: first.map_or(Level::Command, |unit| unit.level).code(),
            limits: first.map(|unit| unit.limits.hash()).unwrap_or_default().into(),
            workunits: keccak256(&units).into(),
            commitBy: u40(self.commit_by),
            reserveBy: u40(self.reserve_by),
            keepUntil: u40(self.keep_until),
            reserves: self.reserves,
            members: self.members,
            salt: self.salt.word(),
        }
        .eip712_hash_struct()
        .0
    }
}

/// A batch of work given to the same replicas, as the payer key signs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkOrder {
    /// [`Work::hash`].
    pub work: B256,
    /// The upper part of every member's lane.
    pub royalty: Royalty,
    /// [`roster_hash`] of the leaves.
    pub roster: B256,
    /// How many equal results settle it.
    pub quorum: u8,
    /// The most fuel it may be billed for.
    pub max_fuel: u64,
    /// The last second at which a quorum may settle it on chain.
    pub settle_by: Timestamp,
}

impl WorkOrder {
    /// The order as the vault's ABI carries it.
    #[must_use]
    pub fn to_abi(&self) -> symbolon_contracts::WorkOrder {
        symbolon_contracts::WorkOrder {
            work: self.work,
            royalty: self.royalty.to_bytes22().into(),
            roster: self.roster,
            quorum: self.quorum,
            maxFuel: self.max_fuel,
            settleBy: u40(self.settle_by),
        }
    }

    /// The full digest: the order's name everywhere.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> OrderDigest {
        OrderDigest::from_bytes(domain.digest(&self.to_abi()))
    }
}

/// Why an order is malformed, whatever its terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Not signed by the payer it is said to come from.
    #[error("order signature: {0}")]
    Signature(#[from] SignatureError),
    /// The work does not hash to what is signed.
    #[error("the work is not the one signed")]
    WorkMismatch,
    /// The leaves do not hash to what is signed.
    #[error("the roster is not the one signed")]
    RosterMismatch,
    /// Leaves out of order, doubled, too many, or too few.
    #[error("{leaves} leaves for a quorum of {quorum}")]
    BadRoster {
        /// How many leaves there are.
        leaves: usize,
        /// The quorum.
        quorum: u8,
    },
    /// The reserves leave no quorum of active replicas, or name leaves that are not there.
    #[error("reserves {reserves:#b} do not fit the roster")]
    BadReserves {
        /// The reserves' bits.
        reserves: u8,
    },
    /// No workunits, too many, or of different modules, levels or limits.
    #[error("the workunits do not form one batch")]
    BadBatch,
    /// The workunits' maxima add up to more than the order's.
    #[error("workunits may burn {need} fuel, the order allows {have}")]
    FuelAboveMaximum {
        /// The order's maximum.
        have: u64,
        /// The sum of the workunits' maxima.
        need: u64,
    },
    /// commit-by, reserve-by, settle-by and keep-until do not follow one another.
    #[error("deadlines are out of order")]
    BadDeadlines,
    /// One agreement for each leaf.
    #[error("an agreement is missing")]
    MissingAgreement,
}

/// An order with all that its members need to check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    /// What is signed.
    pub order: WorkOrder,
    /// The payer key's signature.
    pub signature: Signature,
    /// What the order's `work` hashes.
    pub work: Work,
    /// What the order's `roster` hashes.
    pub leaves: Vec<Leaf>,
}

impl SignedOrder {
    /// Signs `work` for `leaves`, which must ascend strictly by provider.
    #[must_use]
    pub fn sign(
        key: &Key,
        domain: &Domain,
        work: Work,
        leaves: Vec<Leaf>,
        royalty: Royalty,
        quorum: u8,
        settle_by: Timestamp,
    ) -> Self {
        let max_fuel = work.workunits.iter().fold(0, |sum: u64, unit| sum.saturating_add(unit.max_fuel));
        let order = WorkOrder {
            work: work.hash().into(),
            royalty,
            roster: roster_hash(&leaves).into(),
            quorum,
            max_fuel,
            settle_by,
        };
        let signature = key.sign(order.digest(domain).as_bytes());
        Self { order, signature, work, leaves }
    }

    /// The order's name.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> OrderDigest {
        self.order.digest(domain)
    }

    /// Whether leaf `index` is a reserve.
    #[must_use]
    pub fn is_reserve(&self, index: usize) -> bool {
        index < MAX_LEAVES && self.work.reserves >> index & 1 == 1
    }

    /// The leaf of `provider`, with its index.
    #[must_use]
    pub fn leaf_of(&self, provider: Address) -> Option<(usize, &Leaf)> {
        self.leaves.iter().enumerate().find(|(_, leaf)| leaf.provider == provider)
    }

    /// Checks everything that needs no chain and no agreement: the signature of
    /// the payer, the hashes, and the refusals of SYM-08a. Answers the payer key.
    ///
    /// # Errors
    /// [`OrderError`] naming the first thing wrong.
    pub fn check(&self, domain: &Domain) -> Result<Address, OrderError> {
        let Self { order, work, leaves, .. } = self;
        let quorum = usize::from(order.quorum);
        let bad_roster = OrderError::BadRoster { leaves: leaves.len(), quorum: order.quorum };
        if leaves.len() > MAX_LEAVES || quorum < 2 || quorum > leaves.len() || quorum * 2 <= leaves.len() {
            return Err(bad_roster);
        }
        if !leaves.is_sorted_by(|a, b| a.provider < b.provider) {
            return Err(bad_roster);
        }
        let named = u32::from(work.reserves) >> leaves.len();
        let reserves = usize::try_from(work.reserves.count_ones()).unwrap_or(MAX_LEAVES);
        if named != 0 || leaves.len().saturating_sub(reserves) < quorum {
            return Err(OrderError::BadReserves { reserves: work.reserves });
        }
        if work.agreements.len() != leaves.len() {
            return Err(OrderError::MissingAgreement);
        }
        let first = work.workunits.first().ok_or(OrderError::BadBatch)?;
        let alike = |unit: &Workunit| {
            unit.module == first.module && unit.level == first.level && unit.limits == first.limits && unit.is_sound()
        };
        if work.workunits.len() > MAX_WORKUNITS || !work.workunits.iter().all(alike) {
            return Err(OrderError::BadBatch);
        }
        let need = work.workunits.iter().fold(0, |sum: u64, unit| sum.saturating_add(unit.max_fuel));
        if need > order.max_fuel {
            return Err(OrderError::FuelAboveMaximum { have: order.max_fuel, need });
        }
        if work.commit_by > work.reserve_by || work.reserve_by > order.settle_by || work.keep_until < work.reserve_by {
            return Err(OrderError::BadDeadlines);
        }
        if order.work.0 != work.hash() {
            return Err(OrderError::WorkMismatch);
        }
        if order.roster.0 != roster_hash(leaves) {
            return Err(OrderError::RosterMismatch);
        }
        Ok(self.signature.recover(self.digest(domain).as_bytes())?)
    }
}

/// A replica's promise of an answer it does not show yet (SYM-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The order.
    pub order: OrderDigest,
    /// [`seal`] of the answer.
    pub seal: Seal,
}

impl Commit {
    /// What the provider signs.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> [u8; 32] {
        domain.digest(&abi::Commit { order: self.order.word(), seal: self.seal.word() })
    }
}

/// A payee's word that it will never ask anything for an order (SYM-21).
///
/// # Safety of funds
/// Whoever signs it earns nothing for the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUp {
    /// The order.
    pub order: OrderDigest,
}

impl GiveUp {
    /// What the provider signs.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> [u8; 32] {
        domain.digest(&abi::GiveUp { order: self.order.word() })
    }
}

/// `keccak256(abi.encode(order, provider, resultsRoot, fuel, nonce))`.
#[must_use]
pub fn seal(order: OrderDigest, provider: Address, root: ResultsRoot, fuel: u64, nonce: Nonce) -> Seal {
    Seal::from_bytes(keccak256(&(order.word(), provider, root.word(), fuel, nonce.word()).abi_encode()))
}

/// keccak256 of the seals in row order.
#[must_use]
pub fn seals_hash(seals: &[Seal]) -> [u8; 32] {
    keccak256(&seals.iter().flat_map(|seal| *seal.as_bytes()).collect::<Vec<_>>())
}

/// What one replica attests: the vault's `Result` struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultStatement {
    /// The order.
    pub order: OrderDigest,
    /// Salted root over the workunits' results.
    pub results_root: ResultsRoot,
    /// Sum of the workunits' fuel.
    pub fuel: u64,
    /// [`seals_hash`] of exactly the replicas settled with.
    pub seals: B256,
}

impl ResultStatement {
    /// The statement as the vault's ABI carries it.
    #[must_use]
    pub fn to_abi(&self) -> symbolon_contracts::Result {
        symbolon_contracts::Result {
            order: self.order.word(),
            resultsRoot: self.results_root.word(),
            fuel: self.fuel,
            seals: self.seals,
        }
    }

    /// What the provider signs.
    ///
    /// # Safety of funds
    /// Two signatures over one order with different root or fuel cost the whole stake (SYM-12).
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> [u8; 32] {
        domain.digest(&self.to_abi())
    }
}

pub(crate) fn u40(time: Timestamp) -> U40 {
    U40::saturating_from(time.0)
}
