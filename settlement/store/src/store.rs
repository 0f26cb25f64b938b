//! The writer: one connection, one process, durable when a call returns.

use crate::{
    CommitRow, Direction, MAX_NAME_BYTES, MAX_RECORD_BYTES, StoreError, TxAttempt, TxOutcome, TxPlan, TxState, View,
    VoucherKey, VoucherRow, Write, lock::FolderLock, schema, view::int,
};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use std::{
    fs::{DirBuilder, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use symbolon_primitives::{B256, Timestamp};

/// The name of the database in the data folder.
pub(crate) const FILE: &str = "symbolon.db";

/// Limits of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// The most the database file may grow to. Reaching it is a full disk: the
    /// store takes no more writes until it is opened with more room.
    pub max_bytes: Option<u64>,
}

/// The opened store. Dropping it lets go of the folder.
#[derive(Debug)]
pub struct Store {
    // Declared before the lock, so that it is closed first.
    conn: Connection,
    path: PathBuf,
    read_only: Arc<AtomicBool>,
    _lock: FolderLock,
}

/// One atomic, durable write under way.
#[derive(Debug)]
pub struct Transaction<'s> {
    conn: &'s Connection,
    faults: Faults<'s>,
}

/// What becomes of the transaction after a job.
pub(crate) enum More {
    Keep,
    Undo,
    Done,
}

/// Closes the store for writing when the disk fails.
#[derive(Clone, Copy, Debug)]
struct Faults<'s>(&'s AtomicBool);

impl Faults<'_> {
    fn note<T, E: Into<StoreError>>(self, result: Result<T, E>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let error = error.into();
            if error.is_disk() {
                self.0.store(true, Ordering::Release);
            }
            error
        })
    }
}

impl Store {
    /// Opens the store in `dir`, making both when they are not there. Takes
    /// the folder for this process, checks the file and brings an older schema
    /// up to date.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has the folder,
    /// [`StoreError::SchemaTooNew`], [`StoreError::ForeignDatabase`] or
    /// [`StoreError::Damaged`] for a file that cannot be used, and errors of
    /// the disk.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, StoreOptions::default())
    }

    /// As [`Store::open`], with limits.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let failed = |source: io::Error| StoreError::Folder { path: dir.to_owned(), source: Arc::new(source) };
        make_private_dir(dir).map_err(failed)?;
        let lock = FolderLock::take(dir)?;
        let path = dir.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let mut conn = Connection::open_with_flags(&path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF;
             PRAGMA cell_size_check = ON;",
        )?;
        let finding: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if finding != "ok" {
            return Err(StoreError::Damaged { finding });
        }
        schema::migrate(&mut conn)?;
        if let Some(max_bytes) = options.max_bytes {
            let page_bytes: i64 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
            let pages = int("a size", max_bytes)?.checked_div(page_bytes).unwrap_or(i64::MAX);
            conn.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
        }
        // The names of new files are durable only when their folder is.
        sync_dir(dir).map_err(failed)?;
        Ok(Self { conn, path, read_only: Arc::default(), _lock: lock })
    }

    /// The stored state.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View(&self.conn)
    }

    /// Whether an error of the disk has closed the store for writing (N12).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    /// Writes the whole list, or nothing of it. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`] of the first write that is refused, or of the disk.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.transaction(|tx| tx.apply_all(writes))
    }

    /// Runs `body` as one atomic write. What it answers is durable when this
    /// returns; when it answers an error nothing is written.
    ///
    /// # Errors
    /// What `body` answers, [`StoreError::ReadOnly`] after an earlier error of
    /// the disk, [`StoreError::Disk`] on a new one.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.is_read_only() {
            return Err(StoreError::ReadOnly.into());
        }
        let faults = Faults(&self.read_only);
        let tx = faults.note(self.conn.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let value = body(&Transaction { conn: &tx, faults })?;
        if faults.0.load(Ordering::Acquire) {
            // The disk failed inside, whatever `body` made of it.
            return Err(StoreError::ReadOnly.into());
        }
        faults.note(tx.commit())?;
        Ok(value)
    }

    /// Runs jobs in one transaction until one says [`More::Done`], each behind
    /// its own savepoint: a job that is undone leaves the others alone.
    pub(crate) fn group(&mut self, mut each: impl FnMut(&Transaction<'_>) -> More) -> Result<(), StoreError> {
        self.transaction(|tx| {
            loop {
                tx.batch("SAVEPOINT job")?;
                let more = each(tx);
                if tx.conn.is_autocommit() || tx.faults.0.load(Ordering::Acquire) {
                    // SQLite gave the whole transaction up, or is about to.
                    return Err(StoreError::ReadOnly);
                }
                match more {
                    More::Keep => tx.batch("RELEASE job")?,
                    More::Undo => tx.batch("ROLLBACK TO job; RELEASE job")?,
                    More::Done => return tx.batch("RELEASE job"),
                }
            }
        })
    }

    pub(crate) fn read_only_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.read_only)
    }

    /// A second connection that only reads.
    pub(crate) fn reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(conn)
    }
}

impl<'s> Transaction<'s> {
    /// The state as this transaction sees it, its own writes included.
    #[must_use]
    pub fn view(&self) -> View<'s> {
        View(self.conn)
    }

    /// Adds every write of the list.
    ///
    /// # Errors
    /// [`StoreError`] of the first that is refused.
    pub fn apply_all(&self, writes: &[Write]) -> Result<(), StoreError> {
        writes.iter().try_for_each(|write| self.apply(write))
    }

    /// Adds one write.
    ///
    /// # Errors
    /// [`StoreError::VoucherBelow`], [`StoreError::VoucherConflict`],
    /// [`StoreError::CommitConflict`], [`StoreError::NonceConflict`],
    /// [`StoreError::TxFinished`] or [`StoreError::UnknownTx`] when a guard
    /// refuses it, [`StoreError::TooLarge`] above a limit, and errors of the disk.
    pub fn apply(&self, write: &Write) -> Result<(), StoreError> {
        self.faults.note(match write {
            Write::PutRecord { kind, id, bytes } => self.put_record(kind, id, bytes),
            Write::DeleteRecord { kind, id } => {
                self.run("DELETE FROM records WHERE kind = ?1 AND id = ?2", params![kind, id])
            }
            Write::PutVoucher(row) => self.put_voucher(row),
            Write::PruneVouchers(key) => self.prune_vouchers(key),
            Write::PutCommit(row) => self.put_commit(row),
            Write::PlanTx(plan) => self.plan_tx(plan),
            Write::AddTxAttempt { id, attempt } => self.add_attempt(*id, attempt),
            Write::RequeueTx { id, at } => self.requeue(*id, *at),
            Write::FinishTx { id, succeeded, outcome, at } => self.finish(*id, *succeeded, outcome.as_ref(), *at),
        })
    }

    fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.faults.note(self.conn.execute_batch(sql))
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    fn put_record(&self, kind: &str, id: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
        limit("a kind", kind.len(), MAX_NAME_BYTES)?;
        limit("an id", id.len(), MAX_NAME_BYTES)?;
        limit("a record", bytes.len(), MAX_RECORD_BYTES)?;
        self.run(
            "INSERT INTO records (kind, id, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT (kind, id) DO UPDATE SET bytes = excluded.bytes",
            params![kind, id, bytes],
        )
    }

    fn put_voucher(&self, row: &VoucherRow) -> Result<(), StoreError> {
        let VoucherRow { key, cumulative, signature, order, created_at } = row;
        if let Some(best) = self.view().best_voucher(key)? {
            if *cumulative < best.cumulative {
                return Err(StoreError::VoucherBelow { have: best.cumulative, offered: *cumulative });
            }
            if *cumulative == best.cumulative {
                // Either signature of a received total claims the same money.
                return if key.direction == Direction::Issued && *signature != best.signature {
                    Err(StoreError::VoucherConflict { cumulative: *cumulative })
                } else {
                    Ok(())
                };
            }
        }
        self.run(
            "INSERT INTO vouchers
                 (direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                key.direction.code(),
                key.payer.as_slice(),
                key.payee.as_slice(),
                key.lane.word().as_slice(),
                key.epoch,
                cumulative.to_be_bytes12(),
                signature.as_bytes(),
                order.as_ref().map(|order| order.as_bytes().as_slice()),
                int("a time", created_at.0)?
            ],
        )
    }

    fn prune_vouchers(&self, key: &VoucherKey) -> Result<(), StoreError> {
        let Some(best) = self.view().best_voucher(key)? else { return Ok(()) };
        self.run(
            "DELETE FROM vouchers WHERE direction = ?1 AND payer = ?2 AND payee = ?3 AND lane = ?4 AND epoch = ?5
             AND cumulative < ?6",
            params![
                key.direction.code(),
                key.payer.as_slice(),
                key.payee.as_slice(),
                key.lane.word().as_slice(),
                key.epoch,
                best.cumulative.to_be_bytes12()
            ],
        )
    }

    fn put_commit(&self, row: &CommitRow) -> Result<(), StoreError> {
        if let Some(have) = self.view().commit(row.order, row.provider)? {
            return if have.seal == row.seal {
                Ok(())
            } else {
                Err(StoreError::CommitConflict { have: have.seal, offered: row.seal })
            };
        }
        self.run(
            "INSERT INTO commits (order_digest, provider, seal, signature, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                row.order.as_bytes(),
                row.provider.as_slice(),
                row.seal.as_bytes(),
                row.signature.as_bytes(),
                int("a time", row.created_at.0)?
            ],
        )
    }

    fn plan_tx(&self, plan: &TxPlan) -> Result<(), StoreError> {
        limit("a kind", plan.kind.len(), MAX_NAME_BYTES)?;
        limit("a transaction", plan.body.len(), MAX_RECORD_BYTES)?;
        let at = int("a time", plan.at.0)?;
        self.run(
            "INSERT INTO tx_intents (id, chain_id, sender, kind, body, state, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (id) DO NOTHING",
            params![
                plan.id.as_slice(),
                int("a chain id", plan.chain_id)?,
                plan.sender.as_slice(),
                plan.kind,
                plan.body,
                TxState::Planned.code(),
                at
            ],
        )
    }

    /// The state and nonce of an intent without an outcome.
    fn open_tx(&self, id: B256) -> Result<Option<u64>, StoreError> {
        let found = self.view().tx(id)?.ok_or(StoreError::UnknownTx { id })?;
        if found.state.is_final() { Err(StoreError::TxFinished { id }) } else { Ok(found.nonce) }
    }

    fn add_attempt(&self, id: B256, attempt: &TxAttempt) -> Result<(), StoreError> {
        limit("a transaction", attempt.raw.len(), MAX_RECORD_BYTES)?;
        if let Some(have) = self.open_tx(id)?
            && have != attempt.nonce
        {
            return Err(StoreError::NonceConflict { id, have, offered: attempt.nonce });
        }
        let (nonce, at) = (int("a nonce", attempt.nonce)?, int("a time", attempt.at.0)?);
        self.run(
            "INSERT INTO tx_attempts (id, number, hash, nonce, raw, created_at)
             SELECT ?1, count(*), ?2, ?3, ?4, ?5 FROM tx_attempts WHERE id = ?1",
            params![id.as_slice(), attempt.hash.as_slice(), nonce, attempt.raw, at],
        )?;
        self.run(
            "UPDATE tx_intents SET state = ?2, nonce = ?3, updated_at = ?4 WHERE id = ?1",
            params![id.as_slice(), TxState::Sent.code(), nonce, at],
        )
    }

    fn requeue(&self, id: B256, at: Timestamp) -> Result<(), StoreError> {
        self.open_tx(id)?;
        self.run(
            "UPDATE tx_intents SET state = ?2, nonce = NULL, updated_at = ?3 WHERE id = ?1",
            params![id.as_slice(), TxState::Planned.code(), int("a time", at.0)?],
        )
    }

    fn finish(&self, id: B256, succeeded: bool, outcome: Option<&TxOutcome>, at: Timestamp) -> Result<(), StoreError> {
        self.open_tx(id)?;
        let state = if succeeded { TxState::Confirmed } else { TxState::Failed };
        let at = int("a time", at.0)?;
        match outcome {
            Some(outcome) => self.run(
                "UPDATE tx_intents SET state = ?2, tx_hash = ?3, block = ?4, gas_used = ?5, fee_wei = ?6, updated_at = ?7
                 WHERE id = ?1",
                params![
                    id.as_slice(),
                    state.code(),
                    outcome.hash.as_slice(),
                    int("a block", outcome.block)?,
                    int("gas", outcome.gas_used)?,
                    outcome.fee_wei.to_string(),
                    at
                ],
            ),
            None => self.run(
                "UPDATE tx_intents SET state = ?2, nonce = NULL, updated_at = ?3 WHERE id = ?1",
                params![id.as_slice(), state.code(), at],
            ),
        }
    }
}

fn limit(what: &'static str, have: usize, limit: usize) -> Result<(), StoreError> {
    if have <= limit {
        return Ok(());
    }
    let wide = |size| u64::try_from(size).unwrap_or(u64::MAX);
    Err(StoreError::TooLarge { what, have: wide(have), limit: wide(limit) })
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Makes the names of files in `dir` durable, where the system has a way.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_primitives::{Address, Amount, Lane, OrderDigest, Seal, Signature};

    fn key(direction: Direction) -> VoucherKey {
        VoucherKey {
            direction,
            payer: Address::repeat_byte(1),
            payee: Address::repeat_byte(2),
            lane: Lane::default(),
            epoch: 3,
        }
    }

    fn voucher(direction: Direction, cumulative: u64, signature: u8) -> VoucherRow {
        VoucherRow {
            key: key(direction),
            cumulative: Amount::from_u64(cumulative),
            signature: Signature::from_bytes([signature; 64]),
            order: Some(OrderDigest::from_bytes([signature; 32])),
            created_at: Timestamp(7),
        }
    }

    fn commit(seal: u8, signature: u8) -> CommitRow {
        CommitRow {
            order: OrderDigest::from_bytes([1; 32]),
            provider: Address::repeat_byte(9),
            seal: Seal::from_bytes([seal; 32]),
            signature: Signature::from_bytes([signature; 64]),
            created_at: Timestamp(8),
        }
    }

    fn plan(id: u8) -> TxPlan {
        TxPlan {
            id: B256::repeat_byte(id),
            chain_id: 31_337,
            sender: Address::repeat_byte(4),
            kind: "claim".to_owned(),
            body: vec![id],
            at: Timestamp(u64::from(id)),
        }
    }

    fn attempt(nonce: u64, hash: u8) -> TxAttempt {
        TxAttempt { hash: B256::repeat_byte(hash), nonce, raw: vec![hash; 3], at: Timestamp(20) }
    }

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
            vec![crate::Record { id: vec![2], bytes: vec![21] }]
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
            let covering =
                |total: u64| store.view().voucher_covering(&key(direction), Amount::from_u64(total)).unwrap();
            assert_eq!(covering(0).map(|row| row.cumulative.get()), Some(0));
            assert_eq!(covering(2).map(|row| row.cumulative.get()), Some(255));
            assert_eq!(covering(256).map(|row| row.cumulative.get()), Some(256));
            // Another epoch, lane or direction is another ledger.
            let mut other = voucher(direction, 1, 1);
            other.key.epoch = 4;
            store.write(&[Write::PutVoucher(other)]).unwrap();
            store.write(&[Write::PruneVouchers(key(direction))]).unwrap();
            assert_eq!(store.view().vouchers(&key(direction), 10).unwrap(), vec![top]);
        }
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
        assert_eq!(
            store.view().best_voucher(&key(Direction::Received)).unwrap(),
            Some(voucher(Direction::Received, 5, 1))
        );
    }

    #[test]
    fn l3_the_database_guards_itself_against_code_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.write(&[Write::PutVoucher(voucher(Direction::Issued, 5, 1)), Write::PutCommit(commit(1, 1))]).unwrap();
        store.write(&[Write::PlanTx(plan(1))]).unwrap();
        let end = Write::FinishTx { id: plan(1).id, succeeded: false, outcome: None, at: Timestamp(2) };
        store.write(&[end]).unwrap();
        let lower = "INSERT OR REPLACE INTO vouchers SELECT direction, payer, payee, lane, epoch,
            x'000000000000000000000004', signature, order_digest, created_at FROM vouchers";
        let same = "INSERT OR REPLACE INTO vouchers SELECT direction, payer, payee, lane, epoch,
            cumulative, zeroblob(64), order_digest, created_at FROM vouchers";
        for sql in [
            lower,
            same,
            "UPDATE vouchers SET cumulative = zeroblob(12)",
            "UPDATE vouchers SET signature = zeroblob(64)",
            "DELETE FROM vouchers",
            "UPDATE commits SET seal = zeroblob(32)",
            "UPDATE tx_intents SET state = 0",
            "UPDATE tx_intents SET state = 7",
        ] {
            assert!(store.conn.execute_batch(sql).is_err(), "{sql}");
        }
        assert_eq!(store.view().vouchers(&key(Direction::Issued), 9).unwrap(), vec![voucher(Direction::Issued, 5, 1)]);
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
    fn n13_a_store_of_schema_1_is_migrated_and_a_newer_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        {
            let conn = Connection::open(dir.path().join(FILE)).unwrap();
            conn.execute_batch(schema::MIGRATIONS.first().unwrap()).unwrap();
            conn.execute_batch(&format!(
                "PRAGMA application_id = {}; PRAGMA user_version = 1;
                 INSERT INTO records VALUES ('order', x'01', x'02');",
                schema::APPLICATION_ID
            ))
            .unwrap();
        }
        {
            let mut store = Store::open(dir.path()).unwrap();
            assert_eq!(store.view().record("order", &[1]).unwrap(), Some(vec![2]));
            store.write(&[Write::PlanTx(plan(1))]).unwrap();
            store.conn.execute_batch("PRAGMA user_version = 99").unwrap();
        }
        assert!(matches!(
            Store::open(dir.path()),
            Err(StoreError::SchemaTooNew { have: 99, supported: crate::SCHEMA_VERSION })
        ));
    }

    #[test]
    fn n13_foreign_and_damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        Connection::open(dir.path().join(FILE)).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::ForeignDatabase { application_id: 0 })));

        let dir = tempfile::tempdir().unwrap();
        {
            let mut store = Store::open(dir.path()).unwrap();
            for id in 0..200_u8 {
                store.write(&[Write::put("order", [id], vec![id; 3000])]).unwrap();
            }
        }
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes.iter_mut().skip(half).take(20_000).for_each(|byte| *byte = 0x5a);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Damaged { .. } | StoreError::Disk(_))));
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
        let mut store = Store::open_with(dir.path(), StoreOptions { max_bytes: Some(200_000) }).unwrap();
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
}
