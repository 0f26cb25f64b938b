//! What the store keeps and what its guards refuse.

use crate::samples::{attempt, commit, key, past, plan, voucher};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use symbolon_primitives::{Amount, B256, Timestamp};
use symbolon_store::{
    Direction, MAX_NAME_BYTES, MAX_RECORD_BYTES, Moment, Point, Store, StoreError, StoreOptions, TxOutcome, TxState,
    VoucherRow, Witness, Write, WriteKind,
};

#[test]
fn sym_24_what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = TxOutcome { hash: B256::repeat_byte(2), block: 5, gas_used: 21_000, fee_wei: u128::MAX };
    {
        let mut store = Store::open(dir.path()).unwrap();
        let writes = [
            Write::put("order", [1], [10]),
            Write::put("order", [2], [20]),
            Write::put("order", [2], [21]),
            Write::put("channel", [1], [30]),
            Write::delete("channel", [1]),
            Write::PutVoucher(voucher(Direction::Issued, 5, 1)),
            Write::PutVoucher(voucher(Direction::Received, 6, 2)),
            Write::PutCommit(commit(1, 1)),
            Write::PlanTx(plan(1)),
            Write::AddTxAttempt { id: plan(1).id, attempt: attempt(3, 1) },
            Write::AddTxAttempt { id: plan(1).id, attempt: attempt(3, 2) },
            Write::FinishTx { id: plan(1).id, succeeded: true, outcome: Some(outcome), at: Timestamp(30) },
            Write::PlanTx(plan(2)),
        ];
        store.write(&writes).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    let view = store.view();
    assert_eq!(view.record("order", &[2]).unwrap(), Some(vec![21]));
    assert_eq!(view.record("channel", &[1]).unwrap(), None);
    assert_eq!(
        view.records("order", Some(&[1]), 10).unwrap(),
        vec![symbolon_store::Record { id: vec![2], bytes: vec![21] }]
    );
    let mut seen = 0;
    view.for_each_record("order", |_, _| -> Result<(), StoreError> {
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, 2);
    let issued = voucher(Direction::Issued, 5, 1);
    assert_eq!(view.best_voucher(&key(Direction::Issued)).unwrap(), Some(issued));
    assert_eq!(view.best_vouchers(Direction::Received).unwrap(), vec![voucher(Direction::Received, 6, 2)]);
    assert_eq!(view.commits(commit(1, 1).order).unwrap(), vec![commit(1, 1)]);
    let tx = view.tx(plan(1).id).unwrap().unwrap();
    assert_eq!((tx.state, tx.nonce, tx.outcome), (TxState::Confirmed, Some(3), Some(outcome)));
    assert_eq!(tx.attempts, vec![attempt(3, 1), attempt(3, 2)]);
    assert_eq!(view.open_txs(31_337, plan(1).sender).unwrap().len(), 1);
    let gas = view.gas_by_kind(31_337).unwrap();
    assert_eq!(gas.get("claim").map(|total| (total.transactions, total.gas)), Some((1, 21_000)));
    let spent = |sender, since| view.fees_since(31_337, sender, Timestamp(since)).unwrap();
    assert_eq!((spent(plan(1).sender, 30), spent(plan(1).sender, 31)), (u128::MAX, 0));
    assert_eq!(spent(symbolon_primitives::Address::ZERO, 0), 0);
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Point>>);

impl Witness for Seen {
    fn at(&self, point: Point) {
        self.0.lock().unwrap().push(point);
    }
}

#[test]
fn l3_a_witness_sees_every_point_of_a_write_in_its_order_and_none_of_a_refused_one() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Seen::default());
    let mut store = Store::open_watched(dir.path(), StoreOptions::default(), Arc::<Seen>::clone(&seen)).unwrap();
    store.write(&[Write::put("a", [1], [1]), Write::PutVoucher(voucher(Direction::Issued, 5, 1))]).unwrap();
    let of = |moment| [WriteKind::PutRecord, WriteKind::PutVoucher].map(|write| Point { write, moment });
    assert_eq!(*seen.0.lock().unwrap(), [of(Moment::Staged), of(Moment::Durable)].concat());
    seen.0.lock().unwrap().clear();
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 4, 1))]).unwrap_err();
    assert!(seen.0.lock().unwrap().is_empty());
    // Every kind of write has its points, each with a name of its own.
    let names: BTreeSet<String> = Point::all().map(|point| point.to_string()).collect();
    assert_eq!(names.len(), WriteKind::ALL.len() * Moment::ALL.len());
}

#[test]
fn l2_a_voucher_total_never_falls() {
    for direction in [Direction::Issued, Direction::Received] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        for total in [0, 1, 255, 256, 65_536, u64::MAX] {
            store.write(&[Write::PutVoucher(voucher(direction, total, 1))]).unwrap();
        }
        let error = store.write(&[Write::PutVoucher(voucher(direction, 256, 1))]).unwrap_err();
        assert!(matches!(error, StoreError::VoucherBelow { have, offered }
            if have.get() == u128::from(u64::MAX) && offered.get() == 256));
        let top = VoucherRow { cumulative: Amount::MAX, ..voucher(direction, 0, 1) };
        store.write(&[Write::PutVoucher(top)]).unwrap();
        assert_eq!(store.view().best_voucher(&key(direction)).unwrap(), Some(top));
        // Another epoch, lane or direction is another ledger.
        let mut other = voucher(direction, 1, 1);
        other.key.epoch = 4;
        store.write(&[Write::PutVoucher(other)]).unwrap();
        assert_eq!(store.view().best_vouchers(direction).unwrap(), vec![top, other]);
    }
}

#[test]
fn l2_what_is_undone_leaves_no_row_to_be_raised_in_anothers_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let of = |epoch, total| {
        let mut row = voucher(Direction::Received, total, 1);
        row.key.epoch = epoch;
        row
    };
    // Each new epoch is first stored and undone, so that the next one has its row.
    let mut expected = Vec::new();
    for epoch in 0..50 {
        let undone: Result<(), StoreError> = store.transaction(|tx| {
            tx.apply(&Write::PutVoucher(of(epoch + 1, 1_000)))?;
            Err(StoreError::Closed)
        });
        assert!(undone.is_err());
        for total in [5, 7] {
            store.write(&[Write::PutVoucher(of(epoch, total))]).unwrap();
        }
        expected.push(of(epoch, 7));
        assert_eq!(store.view().best_vouchers(Direction::Received).unwrap(), expected);
    }
    let error = store.write(&[Write::PutVoucher(of(0, 6))]).unwrap_err();
    assert!(matches!(error, StoreError::VoucherBelow { .. }), "{error}");
}

#[test]
fn sym_24_one_issued_total_has_one_signature() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 5, 1))]).unwrap();
    // L7: a replay does nothing.
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 5, 1))]).unwrap();
    let error = store.write(&[Write::PutVoucher(voucher(Direction::Issued, 5, 2))]).unwrap_err();
    assert!(matches!(error, StoreError::VoucherConflict { cumulative } if cumulative.get() == 5));
    store.write(&[Write::PutVoucher(voucher(Direction::Received, 5, 1))]).unwrap();
    store.write(&[Write::PutVoucher(voucher(Direction::Received, 5, 2))]).unwrap();
    assert_eq!(store.view().best_voucher(&key(Direction::Received)).unwrap(), Some(voucher(Direction::Received, 5, 1)));
}

#[test]
fn l3_the_database_guards_itself_against_code_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 5, 1)), Write::PutCommit(commit(1, 1))]).unwrap();
    store.write(&[Write::PlanTx(plan(1))]).unwrap();
    let end = Write::FinishTx { id: plan(1).id, succeeded: false, outcome: None, at: Timestamp(2) };
    store.write(&[end]).unwrap();
    let conn = past(dir.path());
    let replace = |number: &str, epoch: &str, total: &str, signature: &str| {
        format!(
            "INSERT OR REPLACE INTO best_vouchers SELECT {number}, direction, payer, payee, lane, {epoch},
             {total}, {signature}, order_digest, created_at, sum FROM best_vouchers"
        )
    };
    let [lower, higher] = ["x'000000000000000000000004'", "x'000000000000000000000006'"];
    let replacing = [
        replace("id", "epoch", lower, "signature"),
        replace("NULL", "epoch", "cumulative", "zeroblob(64)"),
        replace("id + 1", "epoch", higher, "signature"),
        // In the place of another epoch's.
        replace("id", "epoch + 1", higher, "signature"),
        format!("UPDATE best_vouchers SET cumulative = {lower}"),
        format!("UPDATE OR REPLACE best_vouchers SET cumulative = {lower}"),
    ];
    for sql in replacing.iter().map(String::as_str).chain([
        "UPDATE best_vouchers SET cumulative = cumulative",
        "UPDATE best_vouchers SET signature = zeroblob(64)",
        "UPDATE best_vouchers SET epoch = epoch + 1, cumulative = x'000000000000000000000006'",
        "UPDATE best_vouchers SET id = id + 1, cumulative = x'000000000000000000000006'",
        "UPDATE OR REPLACE best_vouchers SET id = id + 1",
        "DELETE FROM best_vouchers",
        "UPDATE commits SET seal = zeroblob(32)",
        "UPDATE tx_intents SET state = 0",
        "UPDATE tx_intents SET state = 7",
    ]) {
        assert!(conn.execute_batch(sql).is_err(), "{sql}");
    }
    assert_eq!(store.view().best_vouchers(Direction::Issued).unwrap(), vec![voucher(Direction::Issued, 5, 1)]);
}

#[test]
fn sym_22_a_second_different_commit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Write::PutCommit(commit(1, 1))]).unwrap();
    store.write(&[Write::PutCommit(commit(1, 2))]).unwrap();
    let error = store.write(&[Write::put("x", [1], [1]), Write::PutCommit(commit(2, 1))]).unwrap_err();
    assert!(matches!(error, StoreError::CommitConflict { .. }));
    // The list is one: what stood beside the refused write is not there.
    assert_eq!(store.view().record("x", &[1]).unwrap(), None);
    assert_eq!(store.view().commit(commit(1, 1).order, commit(1, 1).provider).unwrap(), Some(commit(1, 1)));
}

#[test]
fn l10_a_transaction_keeps_its_nonce_and_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let id = plan(1).id;
    let add = |id, nonce, hash| Write::AddTxAttempt { id, attempt: attempt(nonce, hash) };
    assert!(matches!(store.write(&[add(id, 1, 1)]), Err(StoreError::UnknownTx { .. })));
    store.write(&[Write::PlanTx(plan(1)), Write::PlanTx(plan(1)), Write::PlanTx(plan(2))]).unwrap();
    store.write(&[add(id, 1, 1)]).unwrap();
    assert!(matches!(store.write(&[add(id, 2, 2)]), Err(StoreError::NonceConflict { have: 1, offered: 2, .. })));
    // Two in flight never share a nonce.
    assert!(matches!(store.write(&[add(plan(2).id, 1, 3)]), Err(StoreError::Sql(_))));
    assert_eq!(store.view().highest_open_nonce(31_337, plan(1).sender).unwrap(), Some(1));
    store.write(&[Write::RequeueTx { id, at: Timestamp(40) }]).unwrap();
    store.write(&[add(id, 2, 2)]).unwrap();
    let end = Write::FinishTx { id, succeeded: true, outcome: None, at: Timestamp(50) };
    store.write(std::slice::from_ref(&end)).unwrap();
    assert!(matches!(store.write(&[end]), Err(StoreError::TxFinished { .. })));
    assert!(matches!(store.write(&[add(id, 2, 4)]), Err(StoreError::TxFinished { .. })));
    store.write(&[Write::PlanTx(plan(1))]).unwrap();
    assert_eq!(store.view().tx(id).unwrap().map(|tx| tx.state), Some(TxState::Confirmed));
}

#[test]
fn n9_a_second_opener_is_refused_and_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Locked { pid: Some(pid), .. } if *pid == std::process::id()));
    assert!(error.to_string().contains(&std::process::id().to_string()));
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn n12_a_full_disk_closes_the_store_for_writing_and_not_for_reading() {
    let dir = tempfile::tempdir().unwrap();
    let mut store =
        Store::open_with(dir.path(), StoreOptions { max_bytes: Some(200_000), ..StoreOptions::default() }).unwrap();
    store.write(&[Write::PutVoucher(voucher(Direction::Received, 5, 1))]).unwrap();
    let error = store.write(&[Write::put("order", [1], vec![0; 300_000])]).unwrap_err();
    assert!(matches!(error, StoreError::Disk(_)) && error.is_disk());
    assert!(store.is_read_only());
    assert!(matches!(store.write(&[Write::put("order", [1], [0])]), Err(StoreError::ReadOnly)));
    assert!(store.view().best_voucher(&key(Direction::Received)).unwrap().is_some());
    drop(store);
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Write::put("order", [1], [0])]).unwrap();
}

#[test]
fn n3_what_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.write(&[Write::put("k", [1], vec![0; MAX_RECORD_BYTES])]).unwrap();
    for write in [
        Write::put("k", [1], vec![0; MAX_RECORD_BYTES + 1]),
        Write::put("k", [1; MAX_NAME_BYTES + 1], [0]),
        Write::put(&"k".repeat(MAX_NAME_BYTES + 1), [1], [0]),
    ] {
        assert!(matches!(store.write(&[write]), Err(StoreError::TooLarge { .. })));
    }
    assert!(!store.is_read_only());
}
