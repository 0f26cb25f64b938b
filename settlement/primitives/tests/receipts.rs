//! Receipts: a sound one shows every share, and no part of it can change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use serde_json::Value;
use symbolon_primitives::{
    Address, Agreement, Amount, B256, ContentRef, DemandDigest, Domain, Key, Leaf, Level, Limits, Nonce, OfferDigest,
    ProfileId, ResultRoot, ResultStatement, Royalty, Salt, SignatureError, SignedAgreement, SignedOrder, Signer,
    Timestamp, UnitResult, Voucher, Work, Workunit,
    order::{roster_hash, seal, seals_hash},
    receipt::{Attested, Paid, Receipt, ReceiptError, VERSION},
    results::results_root,
    watch::{Package, PackageError, QuorumPackage, Watched, watch_digest},
};

const FUEL: u64 = 2_500_000_001;

fn domain() -> Domain {
    Domain { chain_id: 31337, vault: Address::repeat_byte(0x5a) }
}

fn payer() -> Key {
    Key::from_bytes(&[0x11; 32]).unwrap()
}

/// Three providers, ascending by address.
fn providers() -> Vec<Key> {
    let mut keys: Vec<Key> = (1..4).map(|byte| Key::from_bytes(&[byte; 32]).unwrap()).collect();
    keys.sort_by_key(Key::address);
    keys
}

fn royalty() -> Royalty {
    Royalty::new(Address::repeat_byte(0xaa), 250).unwrap()
}

fn agreement(provider: &Key) -> SignedAgreement {
    let terms = Agreement {
        demand: DemandDigest::from_bytes([1; 32]),
        offer: OfferDigest::from_bytes([2; 32]),
        owner: payer().address(),
        payer: payer().address(),
        payee: provider.address(),
        royalty: royalty(),
        flat: Amount::from_u64(10),
        rate: Amount::from_u64(1000),
        profile: ProfileId::from_bytes([3; 32]),
        exposure_limit: Amount::from_u64(1_000_000),
        finality_threshold: Amount::MAX,
        depth: 1,
        commit_secs: 60,
        reserve_secs: 60,
        wait_secs: 1,
        settle_secs: 300,
        keep_secs: 600,
        margin_secs: 60,
        valid_until: Timestamp(9999),
    };
    let digest = terms.digest(&domain());
    SignedAgreement {
        terms,
        payer_signature: payer().sign(digest.as_bytes()),
        payee_signature: provider.sign(digest.as_bytes()),
    }
}

fn unit(seed: u8) -> Workunit {
    Workunit {
        module: ContentRef::from_bytes([1; 32]),
        args: vec!["prog".into(), "x".into()],
        env: vec![("A".into(), "b".into())],
        inputs: vec![symbolon_primitives::Input {
            path: "in".into(),
            content: ContentRef::from_bytes([7; 32]),
            size: 3,
        }],
        level: Level::Command,
        limits: Limits::default(),
        max_fuel: 2_000_000_000,
        seed: [seed; 32],
    }
}

fn results(order: &SignedOrder) -> Vec<UnitResult> {
    let fuels = [FUEL - 1_000_000_000, 1_000_000_000];
    let unit = |(unit, fuel): (&Workunit, u64)| UnitResult {
        id: unit.id(order.work.profile),
        root: ResultRoot::from_bytes([9; 32]),
        fuel,
    };
    order.work.workunits.iter().zip(fuels).map(unit).collect()
}

/// The receipt of an order that the first two of three providers agreed on.
fn receipt() -> Receipt {
    let (domain, providers) = (domain(), providers());
    let agreements: Vec<SignedAgreement> = providers.iter().map(agreement).collect();
    let leaves: Vec<Leaf> = (0..)
        .zip(&providers)
        .map(|(lane_number, provider)| Leaf {
            provider: provider.address(),
            owed: Amount::from_u64(7),
            flat: Amount::from_u64(10),
            rate: Amount::from_u64(1000),
            epoch: 2,
            lane_number,
        })
        .collect();
    let work = Work {
        agreements: agreements.iter().map(|signed| signed.terms.digest(&domain)).collect(),
        profile: ProfileId::from_bytes([3; 32]),
        workunits: vec![unit(0), unit(1)],
        commit_by: Timestamp(100),
        reserve_by: Timestamp(200),
        keep_until: Timestamp(400),
        reserves: 0b100,
        members: B256::repeat_byte(4),
        salt: Salt::from_bytes([5; 32]),
    };
    let order = SignedOrder::sign(&payer(), &domain, work, leaves, royalty(), 2, Timestamp(300));
    let units = results(&order);
    let root = results_root(order.work.salt, &units);
    let (mut quorum, mut vouchers) = (Vec::new(), Vec::new());
    let nonce = |index: u8| Nonce::from_bytes([index; 32]);
    let digest = order.digest(&domain);
    let seals: Vec<_> = (0..)
        .zip(providers.iter().take(2))
        .map(|(index, key)| seal(digest, key.address(), root, FUEL, nonce(index)))
        .collect();
    let statement = ResultStatement { order: digest, results_root: root, fuel: FUEL, seals: seals_hash(&seals).into() };
    for (index, key) in (0..).zip(providers.iter().take(2)) {
        let provider = key.address();
        quorum.push(Attested { provider, nonce: nonce(index), signature: key.sign(&statement.digest(&domain)) });
        // 7 owed, 10 flat, and 2,500,000,001 fuel at 1,000 a Gfuel, rounded up.
        let voucher = Voucher {
            payee: provider,
            lane: royalty().lane(u16::from(index)),
            cumulative: Amount::from_u64(7 + 10 + 2501),
            epoch: 2,
        };
        vouchers.push(Paid { voucher, signature: payer().sign(&voucher.digest(&domain)) });
    }
    Receipt {
        version: VERSION,
        domain,
        payer: payer().address(),
        agreements,
        order,
        units,
        results_root: root,
        fuel: FUEL,
        quorum,
        vouchers,
    }
}

#[test]
fn sym_20_a_sound_receipt_shows_every_share() {
    let receipt = receipt();
    let shown = receipt.check().unwrap();
    assert_eq!(shown.order, receipt.order.digest(&domain()));
    assert_eq!(shown.agreements.len(), 3);
    assert_eq!(shown.shares.len(), 2);
    for share in &shown.shares {
        assert_eq!((share.owed.get(), share.price.get(), share.total.get()), (7, 2511, 2518));
        assert_eq!(share.voucher, Some(share.total));
    }
    // A provider has its own voucher and agreement only, and none when the quorum settled.
    let mut own = receipt.clone();
    own.vouchers.truncate(1);
    own.agreements.truncate(1);
    assert_eq!(own.check().unwrap().shares[1].voucher, None);
    own.vouchers.clear();
    own.check().unwrap();
    // A later voucher of the channel covers the order as well.
    let mut later = receipt;
    let voucher = &mut later.vouchers[0];
    voucher.voucher.cumulative = Amount::from_u64(9999);
    voucher.signature = payer().sign(&voucher.voucher.digest(&domain()));
    assert_eq!(later.check().unwrap().shares[0].voucher, Some(Amount::from_u64(9999)));
    let text = serde_json::to_string(&later).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), later);
}

/// Every value in a JSON text, as pointers.
fn leaves_of(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves_of(value, &format!("{at}/{key}"), found)),
        Value::Array(list) => {
            (0..).zip(list).for_each(|(i, value): (usize, _)| leaves_of(value, &format!("{at}/{i}"), found))
        }
        _ => found.push(at.to_owned()),
    }
}

/// Another value of the same shape.
fn other(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_u64().unwrap() ^ 1),
        Value::String(text) => match text.chars().last() {
            Some('0') => Value::from(format!("{}1", &text[..text.len() - 1])),
            Some(last) if last.is_ascii() => Value::from(format!("{}0", &text[..text.len() - 1])),
            _ => Value::from("x"),
        },
        Value::Bool(value) => Value::from(!value),
        other => panic!("{other}"),
    }
}

#[test]
fn sym_20_no_value_in_a_receipt_can_change() {
    let whole = serde_json::to_value(receipt()).unwrap();
    let mut pointers = Vec::new();
    leaves_of(&whole, "", &mut pointers);
    assert!(pointers.len() > 150, "{}", pointers.len());
    for pointer in pointers {
        let mut changed = whole.clone();
        let value = changed.pointer_mut(&pointer).unwrap();
        *value = other(value);
        let read = serde_json::from_value::<Receipt>(changed);
        assert!(read.is_err() || read.unwrap().check().is_err(), "{pointer} can change");
    }
}

#[test]
fn sym_20_no_part_of_a_receipt_can_be_left_out_doubled_or_put_elsewhere() {
    let refused = |edit: fn(&mut Receipt)| {
        let mut receipt = receipt();
        edit(&mut receipt);
        receipt.check().unwrap_err()
    };
    assert_eq!(refused(|r| r.version = 2), ReceiptError::Version { have: 2 });
    assert_eq!(refused(|r| r.quorum.truncate(1)), ReceiptError::Quorum { have: 1, need: 2 });
    assert_eq!(refused(|r| r.quorum.swap(0, 1)), ReceiptError::Disorder);
    assert_eq!(refused(|r| r.quorum[1] = r.quorum[0]), ReceiptError::Disorder);
    assert_eq!(refused(|r| r.units.truncate(1)), ReceiptError::OtherUnits);
    assert_eq!(refused(|r| r.units.swap(0, 1)), ReceiptError::OtherUnits);
    assert_eq!(refused(|r| r.units[0].fuel += 1), ReceiptError::OtherResults { what: "root" });
    assert_eq!(refused(|r| r.fuel += 1), ReceiptError::OtherResults { what: "fuel" });
    assert!(matches!(refused(|r| r.payer = Address::ZERO), ReceiptError::Payer { .. }));
    assert!(matches!(refused(|r| r.domain.chain_id = 1), ReceiptError::Payer { .. } | ReceiptError::Order(_)));
    assert!(matches!(refused(|r| r.agreements[0].terms.flat = Amount::ZERO), ReceiptError::Agreement { .. }));
    // A sound agreement that the order does not stand on, and one of a stranger.
    assert!(matches!(
        refused(|r| {
            let signed = &mut r.agreements[0];
            signed.terms.valid_until = Timestamp(1);
            let digest = signed.terms.digest(&domain());
            signed.payer_signature = payer().sign(digest.as_bytes());
            signed.payee_signature = providers()[0].sign(digest.as_bytes());
        }),
        ReceiptError::OtherAgreement { .. }
    ));
    let stranger = Key::from_bytes(&[0x77; 32]).unwrap();
    let mut foreign = receipt();
    foreign.agreements[0] = agreement(&stranger);
    assert_eq!(foreign.check(), Err(ReceiptError::NotAMember { provider: stranger.address() }));
    assert!(matches!(refused(|r| r.agreements = vec![r.agreements[0]; 9]), ReceiptError::TooMany { have: 9, .. }));
    assert!(matches!(refused(|r| r.vouchers = vec![r.vouchers[0]; 9]), ReceiptError::TooMany { have: 9, .. }));
    // Vouchers: too low, of another lane or epoch, for a reserve that never ran, by somebody else.
    fn sign(receipt: &mut Receipt, edit: impl Fn(&mut Voucher)) {
        let paid = &mut receipt.vouchers[0];
        edit(&mut paid.voucher);
        paid.signature = payer().sign(&paid.voucher.digest(&domain()));
    }
    assert!(matches!(
        refused(|r| sign(r, |v| v.cumulative = Amount::from_u64(2517))),
        ReceiptError::TooLow { have, need, .. } if have.get() == 2517 && need.get() == 2518
    ));
    assert!(matches!(refused(|r| sign(r, |v| v.epoch = 3)), ReceiptError::OtherChannel { .. }));
    assert!(matches!(refused(|r| sign(r, |v| v.lane = royalty().lane(9))), ReceiptError::OtherChannel { .. }));
    let reserve = providers()[2].address();
    let mut unpaid = receipt();
    sign(&mut unpaid, |v| v.payee = reserve);
    assert_eq!(unpaid.check(), Err(ReceiptError::NotAMember { provider: reserve }));
    let forged = refused(|r| r.vouchers[0].signature = r.vouchers[1].signature);
    assert!(matches!(forged, ReceiptError::Voucher { source: SignatureError::WrongSigner { .. }, .. }));
    let swapped = refused(|r| r.quorum[0].signature = r.quorum[1].signature);
    assert!(matches!(swapped, ReceiptError::Result { source: SignatureError::WrongSigner { .. }, .. }));
    // A price other than the one agreed on shows, although the payer signed the order.
    let mut dear = receipt();
    dear.order.leaves[0].rate = Amount::from_u64(999);
    let SignedOrder { work, leaves, .. } = dear.order.clone();
    dear.order = SignedOrder::sign(&payer(), &domain(), work, leaves, royalty(), 2, Timestamp(300));
    let what = "rate";
    assert_eq!(dear.check(), Err(ReceiptError::OtherTerms { provider: providers()[0].address(), what }));
}

fn package() -> QuorumPackage {
    let Receipt { order, results_root, fuel, quorum, .. } = receipt();
    let SignedOrder { order, signature, leaves, .. } = order;
    QuorumPackage { order, signature, leaves, results_root, fuel, quorum }
}

#[test]
fn sym_06_a_package_names_every_channel_it_pays_and_no_value_in_it_can_change() {
    let voucher = Package::Voucher(receipt().vouchers[0]);
    let quorum = Package::Quorum(Box::new(package()));
    let found = voucher.check(&domain()).unwrap();
    assert_eq!(quorum.check(&domain()).unwrap()[0], found[0]);
    assert_eq!(quorum.check(&domain()).unwrap().len(), 2);
    assert_eq!((found[0].payer, found[0].total.get()), (payer().address(), 2518));
    assert_eq!((voucher.settle_by(), quorum.settle_by()), (None, Some(Timestamp(300))));
    for package in [voucher, quorum] {
        let (name, whole) = (package.name(&domain()), serde_json::to_value(&package).unwrap());
        let before = package.check(&domain()).unwrap();
        let mut pointers = Vec::new();
        leaves_of(&whole, "", &mut pointers);
        assert!(pointers.len() >= 5);
        for pointer in pointers {
            let mut changed = whole.clone();
            let value = changed.pointer_mut(&pointer).unwrap();
            *value = other(value);
            // Another voucher recovers to another key, which has set nothing aside.
            let Ok(read) = serde_json::from_value::<Package>(changed) else { continue };
            let same = read.check(&domain()).is_ok_and(|found| found[0].payer == before[0].payer);
            assert!(!same, "{pointer} can change");
            assert!(
                read.name(&domain()) != name || pointer.contains("signature") || pointer.contains("/leaves/"),
                "{pointer} is not in the name"
            );
        }
    }
}

#[test]
fn sym_08a_a_package_that_no_vault_settles_is_refused() {
    let refused = |edit: fn(&mut QuorumPackage)| {
        let mut package = package();
        edit(&mut package);
        Package::Quorum(Box::new(package)).check(&domain()).unwrap_err()
    };
    assert_eq!(refused(|p| p.leaves.swap(0, 1)), PackageError::Roster);
    assert_eq!(refused(|p| p.leaves.truncate(2)), PackageError::Roster);
    assert_eq!(refused(|p| p.order.quorum = 1), PackageError::Roster);
    assert_eq!(refused(|p| p.order.quorum = 4), PackageError::Roster);
    assert_eq!(refused(|p| p.fuel = u64::MAX), PackageError::Fuel { have: u64::MAX, limit: 4_000_000_000 });
    assert_eq!(refused(|p| p.quorum.truncate(1)), PackageError::Quorum(ReceiptError::Quorum { have: 1, need: 2 }));
    assert_eq!(refused(|p| p.quorum.swap(0, 1)), PackageError::Quorum(ReceiptError::Disorder));
    // A quorum that is no majority could be two.
    let mut wide = package();
    let leaves: Vec<Leaf> =
        (1..=4).map(|byte| Leaf { provider: Address::repeat_byte(byte), ..wide.leaves[0] }).collect();
    wide.order.roster = roster_hash(&leaves).into();
    wide.leaves = leaves;
    assert_eq!(Package::Quorum(Box::new(wide)).check(&domain()), Err(PackageError::Roster));
}

#[test]
fn l13_a_watchtowers_word_names_package_payee_and_time() {
    let name = Package::Voucher(receipt().vouchers[0]).name(&domain());
    let word = Watched { package: name, payee: Address::repeat_byte(1), until: Timestamp(5) };
    let digests = [
        word.digest(&domain()),
        Watched { package: B256::ZERO, ..word }.digest(&domain()),
        Watched { payee: Address::ZERO, ..word }.digest(&domain()),
        Watched { until: Timestamp(6), ..word }.digest(&domain()),
        watch_digest(&domain(), name),
        watch_digest(&Domain { chain_id: 1, ..domain() }, name),
    ];
    let unique: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(unique.len(), digests.len());
}
