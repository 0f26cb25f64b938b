//! One atomic write: the list of effects, each behind its guard.

use crate::{
    CommitRow, Direction, MAX_NAME_BYTES, MAX_RECORD_BYTES, PayerEpoch, Restored, StoreError, TxAttempt, TxOutcome,
    TxPlan, TxState, View, VoucherKey, VoucherRow, Write,
    faults::Faults,
    points::WriteKind,
    sum::{Sum, record_sum},
    view::{columns, int},
};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension as _, ToSql, params};
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
};
use symbolon_primitives::{Amount, B256, Timestamp};

/// Stores the first voucher of an epoch; its values are [`with_values`]'s, without a number: SQLite gives it one.
pub(crate) const INSERT_VOUCHER: &str = "INSERT INTO best_vouchers
         (direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at, sum, id)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Hands a voucher's values to `run`, in the order of the columns, and last the row's number, if it has one.
pub(crate) fn with_values<T>(
    row: &VoucherRow,
    sum: i64,
    number: Option<i64>,
    run: impl FnOnce(&[&dyn ToSql]) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let VoucherRow { key, cumulative, signature, order, created_at } = row;
    let (direction, payer, payee, lane, epoch) = columns(key);
    let (total, signature) = (cumulative.to_be_bytes12(), signature.as_bytes());
    let order = order.as_ref().map(|order| order.as_bytes());
    let created_at = int("a time", created_at.0)?;
    run(params![direction, payer, payee, lane, epoch, total, signature, order, created_at, sum, number])
}

/// The numbers of rows of vouchers, by the sums of their epochs: a row whose number is known need not be sought.
///
/// A number may be another's: two epochs can have one sum, and a row that is undone leaves its number here. So whoever
/// uses one names the epoch too.
#[derive(Debug, Default)]
pub(crate) struct Numbers(HashMap<Sum, i64>);

impl Numbers {
    /// How many are kept, in some 5 MB.
    const MOST: usize = 200_000;

    fn keep(&mut self, epoch: Sum, number: i64) {
        if self.0.len() >= Self::MOST && !self.0.contains_key(&epoch) {
            self.0.clear();
        }
        self.0.insert(epoch, number);
    }
}

/// One atomic, durable write under way.
pub struct Transaction<'s> {
    conn: &'s Connection,
    faults: &'s Faults,
    /// What it has done so far.
    touched: &'s RefCell<BTreeSet<WriteKind>>,
    numbers: &'s RefCell<Numbers>,
    /// The statement that raises a voucher, found once for all of a group.
    raise: RefCell<Option<CachedStatement<'s>>>,
}

impl core::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Transaction").field("touched", &self.touched).finish_non_exhaustive()
    }
}

impl<'s> Transaction<'s> {
    pub(crate) const fn new(
        conn: &'s Connection,
        faults: &'s Faults,
        touched: &'s RefCell<BTreeSet<WriteKind>>,
        numbers: &'s RefCell<Numbers>,
    ) -> Self {
        Self { conn, faults, touched, numbers, raise: RefCell::new(None) }
    }

    /// How many rows were ever changed through this connection.
    pub(crate) fn changes(&self) -> u64 {
        self.conn.total_changes()
    }

    /// Whether SQLite gave the whole transaction up, or the disk failed inside.
    pub(crate) fn is_lost(&self) -> bool {
        self.conn.is_autocommit() || self.faults.first().is_some()
    }

    /// The state as this transaction sees it, its own writes included.
    #[must_use]
    pub fn view(&self) -> View<'s> {
        View { conn: self.conn, faults: self.faults }
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
    /// [`StoreError::CommitConflict`], [`StoreError::Frozen`],
    /// [`StoreError::NonceConflict`], [`StoreError::TxFinished`] or [`StoreError::UnknownTx`] when a guard
    /// refuses it, [`StoreError::TooLarge`] above a limit, and errors of the disk.
    pub fn apply(&self, write: &Write) -> Result<(), StoreError> {
        self.touched.borrow_mut().insert(write.kind());
        self.faults.note(|| match write {
            Write::PutRecord { kind, id, bytes } => self.put_record(kind, id, bytes),
            Write::DeleteRecord { kind, id } => {
                self.run("DELETE FROM records WHERE kind = ?1 AND id = ?2", params![kind, id])
            }
            Write::PutVoucher(row) => self.put_voucher(row),
            Write::PutCommit(row) => self.put_commit(row),
            Write::Promise(epoch) => self.promise(epoch).map(|_| ()),
            Write::ClearEpoch { epoch, settled, at } => self.clear_epoch(epoch, *settled, *at),
            Write::PlanTx(plan) => self.plan_tx(plan),
            Write::AddTxAttempt { id, attempt } => self.add_attempt(*id, attempt),
            Write::RequeueTx { id, at } => self.requeue(*id, *at),
            Write::FinishTx { id, succeeded, outcome, at } => self.finish(*id, *succeeded, outcome.as_ref(), *at),
        })
    }

    /// Whether a list that is refused has written nothing, if the voucher in it comes first: only a
    /// voucher can be refused, and there is one at most.
    pub(crate) fn is_plain(writes: &[Write]) -> bool {
        let mut vouchers = 0_u8;
        writes.iter().all(|write| match write {
            Write::PutVoucher(_) => {
                vouchers = vouchers.saturating_add(1);
                vouchers == 1
            }
            Write::PutRecord { kind, id, bytes } => record_limits(kind, id, bytes).is_ok(),
            Write::DeleteRecord { .. } => true,
            _ => false,
        })
    }

    /// Adds every write of a list that is plain, the voucher first.
    pub(crate) fn apply_plain(&self, writes: &[Write]) -> Result<(), StoreError> {
        if let [only] = writes {
            // What nearly every voucher is.
            return self.apply(only);
        }
        let is_voucher = |write: &&Write| matches!(write, Write::PutVoucher(_));
        let (first, rest) = (writes.iter().filter(is_voucher), writes.iter().filter(|write| !is_voucher(write)));
        first.chain(rest).try_for_each(|write| self.apply(write))
    }

    pub(crate) fn savepoint(&self, sql: &str) -> Result<(), StoreError> {
        self.faults.note(|| self.run(sql, []))
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }

    fn put_record(&self, kind: &str, id: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
        record_limits(kind, id, bytes)?;
        self.run(
            "INSERT INTO records (kind, id, bytes, sum) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, id) DO UPDATE SET bytes = excluded.bytes, sum = excluded.sum",
            params![kind, id, bytes, record_sum(kind, id, bytes)],
        )
    }

    /// Raises the epoch's row. What it holds is not asked first: the guards are the database's, and
    /// what a refusal means is found out when there is one.
    fn put_voucher(&self, row: &VoucherRow) -> Result<(), StoreError> {
        let epoch = Sum::of_epoch(&row.key);
        let sum = epoch.of_voucher(row);
        let known = self.numbers.borrow().0.get(&epoch).copied();
        if let Some(number) = known
            && self.raise(row, sum, number)?
        {
            return Ok(());
        }
        if let Some(number) = self.number(&row.key)? {
            self.numbers.borrow_mut().keep(epoch, number);
            // The index says that it is the epoch's.
            let raised = self.raise(row, sum, number)?;
            return if raised { Ok(()) } else { Err(StoreError::Rotten { table: "vouchers" }) };
        }
        with_values(row, sum, None, |values| match self.conn.prepare_cached(INSERT_VOUCHER)?.execute(values) {
            Ok(_) => {
                self.numbers.borrow_mut().keep(epoch, self.conn.last_insert_rowid());
                Ok(())
            }
            Err(refused) => self.why_refused(row, refused),
        })
    }

    /// The number of the epoch's row, if it has one.
    fn number(&self, key: &VoucherKey) -> Result<Option<i64>, StoreError> {
        let (direction, payer, payee, lane, epoch) = columns(key);
        let mut find = self.conn.prepare_cached(
            "SELECT id FROM best_vouchers
             WHERE direction = ?1 AND payer = ?2 AND payee = ?3 AND lane = ?4 AND epoch = ?5",
        )?;
        Ok(find.query_row(params![direction, payer, payee, lane, epoch], |found| found.get(0)).optional()?)
    }

    /// Raises the row of this number, if it is the epoch's: whether it is.
    fn raise(&self, row: &VoucherRow, sum: i64, number: i64) -> Result<bool, StoreError> {
        let mut raise = self.raise.borrow_mut();
        let statement = match raise.as_mut() {
            Some(statement) => statement,
            None => raise.insert(self.conn.prepare_cached(
                "UPDATE best_vouchers SET cumulative = ?6, signature = ?7, order_digest = ?8, created_at = ?9, sum = ?10
                 WHERE id = ?11 AND direction = ?1 AND payer = ?2 AND payee = ?3 AND lane = ?4 AND epoch = ?5",
            )?),
        };
        with_values(row, sum, Some(number), |values| match statement.execute(values) {
            Ok(raised) => Ok(raised > 0),
            Err(refused) => self.why_refused(row, refused).map(|()| true),
        })
    }

    /// What a guard's refusal of a voucher means: nothing when it is stored already.
    fn why_refused(&self, row: &VoucherRow, refused: rusqlite::Error) -> Result<(), StoreError> {
        if refused.sqlite_error_code() != Some(ErrorCode::ConstraintViolation) {
            return Err(refused.into());
        }
        let VoucherRow { key, cumulative, signature, .. } = row;
        if key.direction == Direction::Issued {
            let VoucherKey { payer, payee, lane, epoch, .. } = *key;
            let floor = self.promise(&PayerEpoch { payer, payee, lane, epoch })?;
            if *cumulative < floor {
                return Err(StoreError::VoucherBelow { have: floor, offered: *cumulative });
            }
        }
        match self.view().best_voucher(key)? {
            Some(best) if *cumulative < best.cumulative => {
                Err(StoreError::VoucherBelow { have: best.cumulative, offered: *cumulative })
            }
            // Either signature of a received total claims the same money.
            Some(best) if *cumulative == best.cumulative => {
                if key.direction == Direction::Issued && *signature != best.signature {
                    Err(StoreError::VoucherConflict { cumulative: *cumulative })
                } else {
                    Ok(())
                }
            }
            _ => Err(refused.into()),
        }
    }

    /// The least total that may be promised in an epoch.
    fn promise(&self, epoch: &PayerEpoch) -> Result<Amount, StoreError> {
        self.view().promise_floor(epoch)?.ok_or(StoreError::Frozen { epoch: *epoch })
    }

    fn clear_epoch(&self, epoch: &PayerEpoch, settled: Amount, at: Timestamp) -> Result<(), StoreError> {
        let Some(Restored { generation, .. }) = self.view().restored()? else { return Ok(()) };
        if self.view().promise_floor(epoch)?.is_some() {
            return Ok(());
        }
        if let Some(best) = self.view().best_voucher(&epoch.issued())?
            && settled < best.cumulative
        {
            // The chain cannot be as the caller says: this was promised above the earmark.
            return Err(StoreError::VoucherBelow { have: best.cumulative, offered: settled });
        }
        let PayerEpoch { payer, payee, lane, epoch } = epoch;
        self.run(
            "INSERT INTO cleared_epochs (generation, payer, payee, lane, epoch, floor, cleared_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                int("a generation", generation)?,
                payer.as_slice(),
                payee.as_slice(),
                lane.word().as_slice(),
                epoch,
                settled.to_be_bytes12(),
                int("a time", at.0)?
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

fn record_limits(kind: &str, id: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
    limit("a kind", kind.len(), MAX_NAME_BYTES)?;
    limit("an id", id.len(), MAX_NAME_BYTES)?;
    limit("a record", bytes.len(), MAX_RECORD_BYTES)
}

fn limit(what: &'static str, have: usize, limit: usize) -> Result<(), StoreError> {
    if have <= limit {
        return Ok(());
    }
    let wide = |size| u64::try_from(size).unwrap_or(u64::MAX);
    Err(StoreError::TooLarge { what, have: wide(have), limit: wide(limit) })
}
