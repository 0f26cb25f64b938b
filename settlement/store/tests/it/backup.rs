//! Backup and restore: what is owed to a node comes back, what it may have
//! promised since does not (SYM-24).

use crate::samples::{FILE, attempt, epoch, key, past, plan, voucher};
use std::{fs, path::Path};
use symbolon_primitives::{Amount, Timestamp};
use symbolon_store::{Direction, PayerEpoch, Restored, Store, StoreError, TxState, VoucherRow, Write, backup, restore};

const NOW: Timestamp = Timestamp(100);

fn clear(epoch: PayerEpoch, settled: u64) -> Write {
    Write::ClearEpoch { epoch, settled: Amount::from_u64(settled), at: NOW }
}

fn in_epoch(epoch: u32, total: u64) -> Write {
    let mut row = voucher(Direction::Issued, total, 1);
    row.key.epoch = epoch;
    Write::PutVoucher(row)
}

/// A store that promised 5, was backed up, and promised 9; and one restored from the backup.
fn restored(place: &Path) -> Store {
    let (old, new, file) = (place.join("old"), place.join("new"), place.join("backup"));
    let mut store = Store::open(&old).unwrap();
    let first = [
        Write::PutVoucher(voucher(Direction::Issued, 5, 1)),
        Write::PutVoucher(voucher(Direction::Received, 6, 2)),
        Write::put("payer-channel", [1], [5]),
        Write::PlanTx(plan(1)),
        Write::AddTxAttempt { id: plan(1).id, attempt: attempt(3, 1) },
        Write::PlanTx(plan(2)),
    ];
    store.write(&first).unwrap();
    // While the node runs.
    let contents = backup(&old, &file, &["key.json"]).unwrap();
    assert!(contents.database_bytes > 0 && contents.files.is_empty());
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 9, 1)), in_epoch(7, 1)]).unwrap();
    drop(store);
    restore(&file, &new, NOW).unwrap();
    Store::open(&new).unwrap()
}

#[test]
fn sym_24_a_restored_payer_cannot_promise_less_than_it_did_after_the_backup() {
    let place = tempfile::tempdir().unwrap();
    let mut store = restored(place.path());
    assert_eq!(store.view().restored().unwrap(), Some(Restored { generation: 1, at: NOW }));
    // Known epochs and unknown ones, lower totals and higher ones, orders and vouchers.
    for total in [5, 6, 7, 8, 9, 10] {
        let error = store.write(&[Write::PutVoucher(voucher(Direction::Issued, total, 2))]).unwrap_err();
        assert!(matches!(error, StoreError::Frozen { epoch: frozen } if frozen == epoch(3)), "{total}: {error}");
        assert!(error.hint().is_some());
    }
    assert!(matches!(store.write(&[in_epoch(7, 1)]), Err(StoreError::Frozen { .. })));
    assert!(matches!(store.write(&[Write::Promise(epoch(3))]), Err(StoreError::Frozen { .. })));
    assert!(matches!(store.write(&[Write::Promise(epoch(8))]), Err(StoreError::Frozen { .. })));
    assert!(!store.is_read_only(), "a refusal is no fault of the disk");
    // Nor past the store's own code.
    let conn = past(&place.path().join("new"));
    let forged =
        "INSERT INTO best_vouchers SELECT NULL, direction, payer, payee, lane, epoch + 1, x'00000000000000000000000a',
        signature, order_digest, created_at, sum FROM best_vouchers WHERE direction = 0";
    let raised = "UPDATE best_vouchers SET cumulative = x'00000000000000000000000a' WHERE direction = 0";
    for sql in [forged, raised, "DELETE FROM restores", "UPDATE restores SET generation = 2"] {
        assert!(conn.execute_batch(sql).is_err(), "{sql}");
    }
}

#[test]
fn sym_24_what_a_restored_payee_holds_is_as_good_as_before() {
    let place = tempfile::tempdir().unwrap();
    let mut store = restored(place.path());
    let held = voucher(Direction::Received, 6, 2);
    assert_eq!(store.view().best_vouchers(Direction::Received).unwrap(), vec![held]);
    let better = voucher(Direction::Received, 8, 2);
    store.write(&[Write::PutVoucher(better)]).unwrap();
    assert_eq!(store.view().best_voucher(&held.key).unwrap(), Some(better));
    assert_eq!(store.view().record("payer-channel", &[1]).unwrap(), Some(vec![5]));
}

#[test]
fn sym_24_an_epoch_is_cleared_from_what_the_chain_settled_on() {
    let place = tempfile::tempdir().unwrap();
    let mut store = restored(place.path());
    // All that was promised lies at or below the earmark. Here it would lie above: the chain is not as claimed.
    assert!(matches!(store.write(&[clear(epoch(3), 4)]), Err(StoreError::VoucherBelow { .. })));
    store.write(&[clear(epoch(3), 9), clear(epoch(3), 9), Write::Promise(epoch(3))]).unwrap();
    for total in [5, 6, 8] {
        let error = store.write(&[Write::PutVoucher(voucher(Direction::Issued, total, 2))]).unwrap_err();
        assert!(matches!(error, StoreError::VoucherBelow { have, .. } if have == Amount::from_u64(9)), "{error}");
    }
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 9, 1))]).unwrap();
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 10, 1))]).unwrap();
    // A clearance holds for its own epoch, lane and payee.
    let elsewhere = PayerEpoch { payee: epoch(3).payer, ..epoch(3) };
    for other in [epoch(2), epoch(4), elsewhere] {
        assert!(!store.view().may_promise(&other).unwrap());
    }
    // A second clearing moves nothing.
    store.write(&[clear(epoch(3), 50)]).unwrap();
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 11, 1))]).unwrap();
}

#[test]
fn sym_24_each_restore_is_a_generation_and_takes_all_clearances_back() {
    let place = tempfile::tempdir().unwrap();
    let mut store = restored(place.path());
    store.write(&[clear(epoch(3), 9), Write::Promise(epoch(3))]).unwrap();
    let (second, third) = (place.path().join("second"), place.path().join("third"));
    backup(&place.path().join("new"), &second, &[]).unwrap();
    restore(&second, &third, Timestamp(200)).unwrap();
    let mut store = Store::open(&third).unwrap();
    assert_eq!(store.view().restored().unwrap(), Some(Restored { generation: 2, at: Timestamp(200) }));
    assert!(matches!(store.write(&[Write::Promise(epoch(3))]), Err(StoreError::Frozen { .. })));
}

#[test]
fn sym_24_a_store_that_never_was_restored_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Write::Promise(epoch(1)), clear(epoch(1), 7), in_epoch(1, 1)]).unwrap();
    assert_eq!(store.view().restored().unwrap(), None);
    assert!(store.view().may_promise(&epoch(99)).unwrap());
}

#[test]
fn l10_a_restored_store_sends_no_transaction_that_it_had_under_way() {
    let place = tempfile::tempdir().unwrap();
    let mut store = restored(place.path());
    let view = store.view();
    assert!(view.open_txs(31_337, plan(1).sender).unwrap().is_empty());
    assert_eq!(view.highest_open_nonce(31_337, plan(1).sender).unwrap(), None);
    for id in [1, 2] {
        assert_eq!(view.tx(plan(id).id).unwrap().map(|tx| tx.state), Some(TxState::Failed));
    }
    // The same intent is not planned anew either; a fresh one is.
    store.write(&[Write::PlanTx(plan(1)), Write::PlanTx(plan(3))]).unwrap();
    assert_eq!(store.view().open_txs(31_337, plan(1).sender).unwrap().len(), 1);
}

#[test]
fn sym_24_a_backup_that_changed_restores_nothing() {
    let place = tempfile::tempdir().unwrap();
    drop(restored(place.path()));
    let good = fs::read(place.path().join("backup")).unwrap();
    let seed = 0x5eed_u64;
    eprintln!("seed {seed:#x}");
    let (mut state, mut tried) = (seed, 0);
    let mut cases: Vec<Vec<u8>> = vec![Vec::new(), good[..17].to_vec(), [good.as_slice(), &[0]].concat()];
    for _ in 0..40 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 33).unwrap() % good.len();
        let mut bad = good.clone();
        bad[at] ^= 1 << (state % 8);
        cases.push(bad);
        cases.push(good[..at].to_vec());
    }
    for bad in cases {
        let (file, dir) = (place.path().join("bad"), place.path().join(format!("dir{tried}")));
        fs::write(&file, bad).unwrap();
        let error = restore(&file, &dir, NOW).unwrap_err();
        assert!(matches!(error, StoreError::BadBackup { .. }), "{error}");
        assert!(error.hint().is_some() && !dir.join(FILE).exists());
        // What a failed attempt left is not in the way of a good one.
        restore(&place.path().join("backup"), &dir, NOW).unwrap();
        tried += 1;
    }
    assert_eq!(tried, 83);
}

#[test]
fn sym_24_nothing_is_overwritten() {
    let place = tempfile::tempdir().unwrap();
    drop(restored(place.path()));
    let (file, new) = (place.path().join("backup"), place.path().join("new"));
    assert!(matches!(restore(&file, &new, NOW), Err(StoreError::Occupied { .. })));
    assert!(matches!(backup(&new, &file, &[]), Err(StoreError::Occupied { .. })));
    assert!(matches!(
        backup(&place.path().join("nowhere"), &place.path().join("b"), &[]),
        Err(StoreError::NoStore { .. })
    ));
    // A log without its database would be read into the restored one.
    let odd = place.path().join("odd");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("symbolon.db-wal"), [0]).unwrap();
    assert!(matches!(restore(&file, &odd, NOW), Err(StoreError::Occupied { .. })));
}

#[test]
fn n9_a_folder_in_use_is_not_restored_into() {
    let place = tempfile::tempdir().unwrap();
    let store = restored(place.path());
    let error = restore(&place.path().join("backup"), &place.path().join("new"), NOW).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(store);
}

#[test]
fn n10_keys_go_along_only_when_they_are_named() {
    let place = tempfile::tempdir().unwrap();
    let (old, file) = (place.path().join("old"), place.path().join("file"));
    drop(Store::open(&old).unwrap());
    fs::write(old.join("key.json"), "a secret").unwrap();
    backup(&old, &file, &[]).unwrap();
    let has_secret = |path: &Path| fs::read(path).unwrap().windows(8).any(|window| window == b"a secret");
    assert!(!has_secret(&file));
    let with = place.path().join("with");
    assert_eq!(backup(&old, &with, &["key.json", "peer.key"]).unwrap().files, ["key.json"]);
    assert!(has_secret(&with));
    for path in [&file, &with] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let new = place.path().join("new");
    restore(&with, &new, NOW).unwrap();
    assert_eq!(fs::read(new.join("key.json")).unwrap(), b"a secret");
    // A key that is there already stays.
    let other = place.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("key.json"), "another").unwrap();
    assert!(matches!(restore(&with, &other, NOW), Err(StoreError::Occupied { .. })));
    assert_eq!(fs::read(other.join("key.json")).unwrap(), b"another");
    assert!(!other.join(FILE).exists());
}

#[test]
fn n13_a_backup_of_an_older_schema_is_restored_and_of_a_newer_one_refused() {
    let place = tempfile::tempdir().unwrap();
    for (name, dump) in [("one", include_str!("../schemas/1.sql")), ("two", include_str!("../schemas/2.sql"))] {
        let old = place.path().join(name);
        fs::create_dir(&old).unwrap();
        past(&old).execute_batch(dump).unwrap();
        let (file, new) = (place.path().join(format!("{name}.backup")), place.path().join(format!("{name}.new")));
        backup(&old, &file, &[]).unwrap();
        restore(&file, &new, NOW).unwrap();
        let mut store = Store::open(&new).unwrap();
        let held: Vec<VoucherRow> = store.view().best_vouchers(Direction::Received).unwrap();
        assert_eq!(held.len(), 1);
        assert!(matches!(store.write(&[in_epoch(3, 6)]), Err(StoreError::Frozen { .. })));
    }
    let newer = place.path().join("newer");
    drop(Store::open(&newer).unwrap());
    past(&newer).execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(matches!(backup(&newer, &place.path().join("x"), &[]), Err(StoreError::SchemaTooNew { .. })));
}

#[test]
fn l8_a_restored_store_has_no_older_best_voucher_than_the_backup() {
    let place = tempfile::tempdir().unwrap();
    let store = restored(place.path());
    let best = store.view().best_voucher(&key(Direction::Issued)).unwrap();
    assert_eq!(best.map(|row| row.cumulative), Some(Amount::from_u64(5)));
}
