//! Files of every earlier schema, and files of no schema at all (N13).

use crate::samples::{FILE, commit, epoch, key, past, plan, voucher};
use rusqlite::Connection;
use std::path::Path;
use symbolon_primitives::{Amount, B256, Timestamp};
use symbolon_store::{Direction, Restored, SCHEMA_VERSION, Store, StoreError, TxState, VoucherRow, Write};

/// Dumps of every schema there ever was, oldest first.
pub(crate) const DUMPS: [&str; 5] = [
    include_str!("../schemas/1.sql"),
    include_str!("../schemas/2.sql"),
    include_str!("../schemas/3.sql"),
    include_str!("../schemas/4.sql"),
    include_str!("../schemas/5.sql"),
];

pub(crate) fn load(dir: &Path, dump: &str) {
    Connection::open(dir.join(FILE)).unwrap().execute_batch(dump).unwrap();
}

/// Everything that was said to SQLite about tables and guards, without white space.
fn schema(dir: &Path) -> Vec<(String, String)> {
    let conn = past(dir);
    let mut read = conn.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
    let rows = read.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    rows.map(|row| row.map(|(name, sql)| (name, sql.split_whitespace().collect::<Vec<_>>().join(" "))).unwrap())
        .collect()
}

#[test]
fn n13_a_dump_of_every_schema_is_kept() {
    assert_eq!(DUMPS.len(), usize::try_from(SCHEMA_VERSION).unwrap(), "a new schema needs a dump in tests/schemas");
}

#[test]
fn n13_every_earlier_schema_is_migrated_with_all_it_holds_and_has_the_same_guards() {
    let fresh = tempfile::tempdir().unwrap();
    drop(Store::open(fresh.path()).unwrap());
    for (version, dump) in (1..).zip(DUMPS) {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), dump);
        let mut store = Store::open(dir.path()).unwrap();
        assert!(!store.is_read_only());
        let view = store.view();
        assert_eq!(view.record("payee-channel", &[1]).unwrap(), Some(vec![10, 11]), "schema {version}");
        let issued = VoucherRow { order: None, ..voucher(Direction::Issued, 5, 1) };
        let received = VoucherRow { created_at: Timestamp(8), ..voucher(Direction::Received, 6, 2) };
        assert_eq!(view.best_vouchers(Direction::Issued).unwrap(), vec![issued]);
        assert_eq!(view.best_vouchers(Direction::Received).unwrap(), vec![received]);
        assert_eq!(view.commits(commit(1, 1).order).unwrap(), vec![commit(1, 1)]);
        if version >= 2 {
            let (open, done) = (view.tx(B256::repeat_byte(1)).unwrap(), view.tx(B256::repeat_byte(2)).unwrap());
            assert_eq!(open.map(|tx| (tx.state, tx.nonce, tx.attempts.len())), Some((TxState::Sent, Some(3), 1)));
            assert_eq!(done.map(|tx| tx.state), Some(TxState::Confirmed));
        }
        if version >= 3 {
            assert_eq!(view.restored().unwrap(), Some(Restored { generation: 1, at: Timestamp(40) }));
            assert!(view.may_promise(&epoch(3)).unwrap() && !view.may_promise(&epoch(4)).unwrap());
        }
        // The guards of today hold over rows of then.
        let lower = store.write(&[Write::PutVoucher(voucher(Direction::Issued, 4, 1))]).unwrap_err();
        assert!(matches!(lower, StoreError::VoucherBelow { .. }), "{lower}");
        store.write(&[Write::PutVoucher(voucher(Direction::Issued, 9, 1)), Write::PlanTx(plan(9))]).unwrap();
        let best = store.view().best_voucher(&key(Direction::Issued)).unwrap();
        assert_eq!(best.map(|row| row.cumulative), Some(Amount::from_u64(9)));
        drop(store);
        assert_eq!(schema(dir.path()), schema(fresh.path()), "schema {version}");
        drop(Store::open(dir.path()).unwrap());
    }
}

#[test]
fn n13_of_all_vouchers_of_an_epoch_the_highest_is_its_best() {
    // Up to schema 3 every voucher stood in one table.
    for dump in &DUMPS[..3] {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), dump);
        let more = "INSERT INTO vouchers (direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at)
             SELECT direction, payer, payee, lane, epoch, ?1, signature, zeroblob(32), created_at FROM vouchers
             WHERE direction = 1 AND cumulative = x'000000000000000000000006'";
        for total in [255_u64, 256, 65_536] {
            past(dir.path()).execute(more, [Amount::from_u64(total).to_be_bytes12()]).unwrap();
        }
        let mut store = Store::open(dir.path()).unwrap();
        let best = store.view().best_vouchers(Direction::Received).unwrap();
        assert_eq!(best.iter().map(|row| row.cumulative.get()).collect::<Vec<_>>(), [65_536]);
        for total in [7, 65_535] {
            let lower = store.write(&[Write::PutVoucher(voucher(Direction::Received, total, 1))]).unwrap_err();
            assert!(matches!(lower, StoreError::VoucherBelow { .. }), "{lower}");
        }
        store.write(&[Write::PutVoucher(voucher(Direction::Received, 65_537, 1))]).unwrap();
    }
}

#[test]
fn n13_a_newer_schema_is_refused_with_a_hint_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    past(dir.path()).execute_batch("PRAGMA user_version = 99").unwrap();
    let before = std::fs::read(dir.path().join(FILE)).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::SchemaTooNew { have: 99, supported: SCHEMA_VERSION }));
    assert!(error.hint().unwrap().contains("newer"));
    assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), before);
}

#[test]
fn n13_files_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path(), "CREATE TABLE theirs (a)");
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::ForeignDatabase { application_id: 0 }) && error.hint().is_some());

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join(FILE),
        "a letter, not a database, and longer than a header of a hundred bytes".repeat(40),
    )
    .unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn n13_a_migration_that_is_cut_short_is_done_again() {
    // Each step is one transaction: a file is of the old schema or of the new one.
    for (version, dump) in (1..SCHEMA_VERSION).zip(DUMPS) {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), dump);
        // No room for the next table: the step fails and takes everything with it.
        let full = symbolon_store::StoreOptions::default();
        let pages: i64 = past(dir.path()).query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let before = schema(dir.path());
        let mut conn = past(dir.path());
        conn.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
        let tx = conn.transaction().unwrap();
        let grown = tx.execute_batch("CREATE TABLE filler (a); INSERT INTO filler VALUES (zeroblob(1000000));");
        assert!(grown.is_err());
        drop(tx);
        drop(conn);
        assert_eq!(schema(dir.path()), before, "schema {version}");
        assert!(!Store::open_with(dir.path(), full).unwrap().is_read_only());
    }
}
