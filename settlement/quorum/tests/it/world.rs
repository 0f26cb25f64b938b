//! An order of any redundancy with keys for everybody, and a small generator.

use symbolon_primitives::{
    Address, Amount, ContentRef, Domain, Key, Leaf, Level, Limits, Nonce, ProfileId, ResultsRoot, Royalty, Salt,
    SignedOrder, Signer, Timestamp, Work, Workunit,
};
use symbolon_quorum::{OrderTerms, Timing};

pub(crate) const START: u64 = 1_000;
pub(crate) const COMMIT_BY: u64 = 1_100;
pub(crate) const RESERVE_BY: u64 = 1_700;
pub(crate) const SETTLE_BY: u64 = 4_000;
pub(crate) const WAIT: u64 = 10;
pub(crate) const FUEL: u64 = 777;

/// Splitmix64: small, seeded, the same everywhere.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn nonce(&mut self) -> Nonce {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.word().to_be_bytes());
        Nonce::from_bytes(bytes)
    }
}

pub(crate) struct Setup {
    pub(crate) domain: Domain,
    pub(crate) payer: Address,
    /// In roster order.
    pub(crate) keys: Vec<Key>,
    pub(crate) terms: OrderTerms,
}

pub(crate) fn truth() -> ResultsRoot {
    ResultsRoot::from_bytes([0x11; 32])
}

pub(crate) fn lie(which: u8) -> ResultsRoot {
    ResultsRoot::from_bytes([0xa0 | which; 32])
}

/// Redundancy `quorum`: as many active replicas, one fewer reserves, drawn by `rng`.
pub(crate) fn setup(quorum: u8, rng: &mut Rng) -> Setup {
    let count = usize::from(quorum) * 2 - 1;
    let mut keys: Vec<Key> = (0..count).map(|i| Key::from_bytes(&[i as u8 + 1; 32]).unwrap()).collect();
    keys.sort_by_key(Signer::address);
    let payer_key = Key::from_bytes(&[0x77; 32]).unwrap();
    let mut reserves = 0_u8;
    while reserves.count_ones() < u32::from(quorum) - 1 {
        reserves |= 1 << rng.below(count as u64);
    }
    let leaves = keys.iter().map(|key| Leaf {
        provider: key.address(),
        owed: Amount::from_u64(5),
        flat: Amount::from_u64(10),
        rate: Amount::from_u64(1_000_000_000),
        epoch: 0,
        lane_number: 0,
    });
    let unit = Workunit {
        module: ContentRef::from_bytes([1; 32]),
        args: vec!["program".into()],
        env: vec![],
        inputs: vec![],
        level: Level::Command,
        limits: Limits::default(),
        max_fuel: 1_000,
        seed: [3; 32],
    };
    let work = Work {
        agreements: vec![Default::default(); count],
        profile: ProfileId::from_bytes([9; 32]),
        workunits: vec![unit],
        commit_by: Timestamp(COMMIT_BY),
        reserve_by: Timestamp(RESERVE_BY),
        keep_until: Timestamp(SETTLE_BY + 1_000),
        reserves,
        members: Default::default(),
        salt: Salt::from_bytes([4; 32]),
    };
    let domain = Domain { chain_id: 31_337, vault: Address::repeat_byte(0xee) };
    let order =
        SignedOrder::sign(&payer_key, &domain, work, leaves.collect(), Royalty::NONE, quorum, Timestamp(SETTLE_BY));
    let timing = Timing { wait_secs: WAIT, silence_secs: 60, spacing_secs: 60 };
    let terms = OrderTerms::new(&order, domain, payer_key.address(), timing).unwrap();
    Setup { domain, payer: payer_key.address(), keys, terms }
}
