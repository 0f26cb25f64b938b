//! Orders as strangers send them: every refusal that needs no chain, and the
//! committed digests of every signed struct.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use serde_json::{Value, json};
use symbolon_primitives::{
    Address, Agreement, AgreementDigest, Amount, B256, Commit, ContentRef, Demand, DemandDigest, Domain, GiveUp, Key,
    Leaf, Level, Limits, Offer, OfferDigest, OrderDigest, OrderError, ProfileId, Release, ResultStatement, ResultsRoot,
    Royalty, Salt, Seal, SignedOrder, Signer, Timestamp, Voucher, Work, Workunit,
};

fn domain() -> Domain {
    Domain { chain_id: 31337, vault: Address::repeat_byte(0x5a) }
}

fn key() -> Key {
    Key::from_bytes(&[0x11; 32]).unwrap()
}

fn leaf(byte: u8) -> Leaf {
    Leaf {
        provider: Address::repeat_byte(byte),
        owed: Amount::from_u64(7),
        flat: Amount::from_u64(1),
        rate: Amount::from_u64(1000),
        epoch: 2,
        lane_number: 3,
    }
}

fn unit(max_fuel: u64) -> Workunit {
    Workunit {
        module: ContentRef::from_bytes([1; 32]),
        args: vec!["prog".into()],
        env: Vec::new(),
        inputs: Vec::new(),
        level: Level::Command,
        limits: Limits::default(),
        max_fuel,
        seed: [0; 32],
    }
}

fn work(leaves: usize) -> Work {
    Work {
        agreements: vec![AgreementDigest::from_bytes([2; 32]); leaves],
        profile: ProfileId::from_bytes([3; 32]),
        workunits: vec![unit(10), unit(20)],
        commit_by: Timestamp(100),
        reserve_by: Timestamp(200),
        keep_until: Timestamp(400),
        reserves: 0b100,
        members: B256::repeat_byte(4),
        salt: Salt::from_bytes([5; 32]),
    }
}

fn sign(work: Work, leaves: Vec<Leaf>, quorum: u8) -> SignedOrder {
    SignedOrder::sign(&key(), &domain(), work, leaves, Royalty::NONE, quorum, Timestamp(300))
}

fn three() -> Vec<Leaf> {
    vec![leaf(1), leaf(2), leaf(3)]
}

#[test]
fn sym_08a_a_sound_order_names_its_payer_and_every_flaw_is_refused() {
    let sound = sign(work(3), three(), 2);
    assert_eq!(sound.check(&domain()), Ok(key().address()));
    assert_eq!(sound.order.max_fuel, 30);

    let check = |order: SignedOrder| order.check(&domain()).unwrap_err();
    let roster = |leaves, quorum| OrderError::BadRoster { leaves, quorum };
    assert_eq!(check(sign(work(3), three(), 1)), roster(3, 1));
    assert_eq!(check(sign(work(3), three(), 4)), roster(3, 4));
    assert_eq!(check(sign(work(4), vec![leaf(1), leaf(2), leaf(3), leaf(4)], 2)), roster(4, 2));
    assert_eq!(check(sign(work(3), vec![leaf(1), leaf(3), leaf(2)], 2)), roster(3, 2));
    assert_eq!(check(sign(work(3), vec![leaf(1), leaf(2), leaf(2)], 2)), roster(3, 2));
    let nine: Vec<Leaf> = (1..10).map(leaf).collect();
    assert_eq!(check(sign(work(9), nine, 5)), roster(9, 5));

    for reserves in [0b110, 0b111, 0b1000, 0b1000_0100] {
        let bad = Work { reserves, ..work(3) };
        assert_eq!(check(sign(bad, three(), 2)), OrderError::BadReserves { reserves });
    }
    assert_eq!(check(sign(work(2), three(), 2)), OrderError::MissingAgreement);
    for workunits in [Vec::new(), vec![unit(0)], vec![unit(1); 257]] {
        assert_eq!(check(sign(Work { workunits, ..work(3) }, three(), 2)), OrderError::BadBatch);
    }
    let mut mixed = work(3);
    mixed.workunits[1].module = ContentRef::from_bytes([9; 32]);
    assert_eq!(check(sign(mixed, three(), 2)), OrderError::BadBatch);
    for (commit_by, reserve_by, keep_until) in [(201, 200, 400), (100, 301, 400), (100, 200, 199)] {
        let bad = Work {
            commit_by: Timestamp(commit_by),
            reserve_by: Timestamp(reserve_by),
            keep_until: Timestamp(keep_until),
            ..work(3)
        };
        assert_eq!(check(sign(bad, three(), 2)), OrderError::BadDeadlines);
    }
}

#[test]
fn sym_05_nothing_in_a_signed_order_can_be_changed() {
    let sound = sign(work(3), three(), 2);
    let mut cheaper = sound.clone();
    cheaper.leaves[0].rate = Amount::from_u64(1);
    assert_eq!(cheaper.check(&domain()), Err(OrderError::RosterMismatch));
    let mut resalted = sound.clone();
    resalted.work.salt = Salt::default();
    assert_eq!(resalted.check(&domain()), Err(OrderError::WorkMismatch));
    let mut hijacked = sound.clone();
    hijacked.work.members = B256::ZERO;
    assert_eq!(hijacked.check(&domain()), Err(OrderError::WorkMismatch));
    let mut dearer = sound.clone();
    dearer.order.max_fuel = 29;
    assert_eq!(dearer.check(&domain()), Err(OrderError::FuelAboveMaximum { have: 29, need: 30 }));
    let mut longer = sound.clone();
    longer.order.settle_by = Timestamp(301);
    // The signature now recovers to somebody else, or to nobody.
    assert_ne!(longer.check(&domain()), Ok(key().address()));
    let elsewhere = Domain { chain_id: 1, ..domain() };
    assert_ne!(sound.check(&elsewhere), Ok(key().address()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digests of every signed struct with fixed members, under a fixed domain.
fn digests() -> Value {
    let domain = domain();
    let order = sign(work(3), three(), 2);
    let royalty = Royalty::new(Address::repeat_byte(0xaa), 250).unwrap();
    let lane = royalty.lane(3);
    let digest = OrderDigest::from_bytes([6; 32]);
    let voucher = Voucher { payee: Address::repeat_byte(1), lane, cumulative: Amount::from_u64(99), epoch: 2 };
    let release = Release { payer: Address::repeat_byte(2), lane, epoch: 2 };
    let result = ResultStatement {
        order: digest,
        results_root: ResultsRoot::from_bytes([7; 32]),
        fuel: 12_345,
        seals: B256::repeat_byte(8),
    };
    let commit = Commit { order: digest, seal: Seal::from_bytes([9; 32]) };
    let demand = Demand { payer: Address::repeat_byte(1), body: B256::repeat_byte(2), expires: Timestamp(1000) };
    let offer = Offer { provider: Address::repeat_byte(1), body: B256::repeat_byte(2), expires: Timestamp(1000) };
    let agreement = Agreement {
        demand: DemandDigest::from_bytes([1; 32]),
        offer: OfferDigest::from_bytes([2; 32]),
        owner: Address::repeat_byte(3),
        payer: Address::repeat_byte(4),
        payee: Address::repeat_byte(5),
        royalty,
        flat: Amount::from_u64(6),
        rate: Amount::from_u64(7),
        profile: ProfileId::from_bytes([8; 32]),
        exposure_limit: Amount::from_u64(9),
        finality_threshold: Amount::MAX,
        depth: 10,
        commit_secs: 11,
        reserve_secs: 12,
        wait_secs: 13,
        settle_secs: 14,
        keep_secs: 15,
        margin_secs: 16,
        valid_until: Timestamp(17),
    };
    json!({
        "domain": { "name": "symbolon", "version": "1", "chainId": 31337, "verifyingContract": domain.vault },
        "Voucher": hex(&voucher.digest(&domain)),
        "Release": hex(&release.digest(&domain)),
        "Result": hex(&result.digest(&domain)),
        "WorkOrder": hex(order.digest(&domain).as_bytes()),
        "Work": hex(&work(3).hash()),
        "roster": hex(&symbolon_primitives::order::roster_hash(&three())),
        "workunit": hex(unit(10).id(ProfileId::from_bytes([3; 32])).as_bytes()),
        "Commit": hex(&commit.digest(&domain)),
        "GiveUp": hex(&GiveUp { order: digest }.digest(&domain)),
        "Demand": hex(demand.digest(&domain).as_bytes()),
        "Offer": hex(offer.digest(&domain).as_bytes()),
        "Agreement": hex(agreement.digest(&domain).as_bytes()),
    })
}

/// A digest that moves breaks every signature ever made: it needs a new version
/// of the protocol, not a new file here.
#[test]
fn sym_05_the_digests_are_the_committed_ones() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/eip712.json");
    let committed: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(digests(), committed, "{:#}", digests());
}
