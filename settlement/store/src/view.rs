//! Reads. Each is one consistent answer of what is on disk.

use crate::{
    CommitRow, Direction, PayerEpoch, Restored, StoreError, TxAttempt, TxIntent, TxOutcome, TxPlan, TxState,
    VoucherKey, VoucherRow,
};
use crate::{
    faults::Faults,
    sum::{record_sum, voucher_sum},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use symbolon_primitives::{Address, Amount, B256, Epoch, Lane, OrderDigest, Seal, Signature, Timestamp};

/// A window on the stored state.
#[derive(Clone, Copy, Debug)]
pub struct View<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) faults: &'c Faults,
}

/// One snapshot of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which one of its kind.
    pub id: Vec<u8>,
    /// The snapshot.
    pub bytes: Vec<u8>,
}

/// Gas of the mined transactions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GasTotal {
    /// How many were mined.
    pub transactions: u64,
    /// Gas they used together.
    pub gas: u64,
    /// What that cost, in wei.
    pub fee_wei: u128,
}

pub(crate) fn int(what: &'static str, value: u64) -> Result<i64, StoreError> {
    let limit = i64::MAX.unsigned_abs();
    i64::try_from(value).map_err(|_| StoreError::TooLarge { what, have: value, limit })
}

fn uint(table: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::BadRow { table })
}

fn array<const N: usize>(table: &'static str, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::BadRow { table })
}

pub(crate) fn amount(table: &'static str, bytes: &[u8]) -> Result<Amount, StoreError> {
    let low: [u8; 12] = array(table, bytes)?;
    let base = low.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    Amount::new(base).map_err(|_| StoreError::BadRow { table })
}

/// The columns of a voucher, and of a record: of one text with the rest of a statement.
macro_rules! select {
    (voucher $rest:literal) => {
        concat!(
            "SELECT direction, payer, payee, lane, epoch, cumulative, signature, order_digest, created_at, sum ",
            $rest
        )
    };
    (record $rest:literal) => {
        concat!("SELECT id, bytes, sum FROM records ", $rest)
    };
}

/// The columns of an epoch's key.
pub(crate) fn columns(key: &VoucherKey) -> (i64, &[u8], &[u8], [u8; 32], Epoch) {
    let VoucherKey { direction, payer, payee, lane, epoch } = key;
    (direction.code(), payer.as_slice(), payee.as_slice(), lane.word().0, *epoch)
}

struct RawRecord {
    record: Record,
    sum: Option<i64>,
}

impl RawRecord {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { record: Record { id: row.get(0)?, bytes: row.get(1)? }, sum: row.get(2)? })
    }

    fn checked(self, kind: &str) -> Result<Record, StoreError> {
        let Record { id, bytes } = &self.record;
        match self.sum {
            Some(sum) if sum != record_sum(kind, id, bytes) => Err(StoreError::Rotten { table: "records" }),
            _ => Ok(self.record),
        }
    }
}

struct RawVoucher {
    direction: i64,
    payer: Vec<u8>,
    payee: Vec<u8>,
    lane: Vec<u8>,
    epoch: i64,
    cumulative: Vec<u8>,
    signature: Vec<u8>,
    order: Option<Vec<u8>>,
    created_at: i64,
    sum: Option<i64>,
}

impl RawVoucher {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            direction: row.get(0)?,
            payer: row.get(1)?,
            payee: row.get(2)?,
            lane: row.get(3)?,
            epoch: row.get(4)?,
            cumulative: row.get(5)?,
            signature: row.get(6)?,
            order: row.get(7)?,
            created_at: row.get(8)?,
            sum: row.get(9)?,
        })
    }

    fn typed(self) -> Result<VoucherRow, StoreError> {
        const T: &str = "vouchers";
        let sum = self.sum;
        let row = self.read_back()?;
        if sum.is_some_and(|sum| sum != voucher_sum(&row)) { Err(StoreError::Rotten { table: T }) } else { Ok(row) }
    }

    fn read_back(self) -> Result<VoucherRow, StoreError> {
        const T: &str = "vouchers";
        Ok(VoucherRow {
            key: VoucherKey {
                direction: Direction::from_code(self.direction).ok_or(StoreError::BadRow { table: T })?,
                payer: Address::from(array::<20>(T, &self.payer)?),
                payee: Address::from(array::<20>(T, &self.payee)?),
                lane: Lane::from_word(B256::from(array::<32>(T, &self.lane)?)),
                epoch: u32::try_from(self.epoch).map_err(|_| StoreError::BadRow { table: T })?,
            },
            cumulative: amount(T, &self.cumulative)?,
            signature: Signature::from_bytes(array(T, &self.signature)?),
            order: match self.order {
                Some(bytes) => Some(OrderDigest::from_bytes(array(T, &bytes)?)),
                None => None,
            },
            created_at: Timestamp(uint(T, self.created_at)?),
        })
    }
}

/// Names every row whose bytes are not those that were written: its table and its key.
pub(crate) fn rotten_rows(
    conn: &Connection,
    mut each: impl FnMut(&'static str, Vec<rusqlite::types::Value>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    // Each stands in some schemas only.
    for (table, key, sql) in
        [("best_vouchers", 5, select!(voucher "FROM best_vouchers")), ("vouchers", 6, select!(voucher "FROM vouchers"))]
    {
        if !conn.table_exists::<&str>(None, table)? {
            continue;
        }
        let mut read = conn.prepare(sql)?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            if RawVoucher::read(row)?.typed().is_err() {
                each(table, (0..key).map(|column| row.get(column)).collect::<Result<_, _>>()?)?;
            }
        }
    }
    let mut read = conn.prepare("SELECT kind, id, bytes, sum FROM records WHERE sum IS NOT NULL")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, id, bytes) = (row.get_ref(0)?, row.get_ref(1)?, row.get_ref(2)?);
        let (Ok(kind), Ok(id), Ok(bytes)) = (kind.as_str(), id.as_blob(), bytes.as_blob()) else {
            return Err(StoreError::BadRow { table: "records" });
        };
        if row.get::<_, i64>(3)? != record_sum(kind, id, bytes) {
            each("records", (0..2).map(|column| row.get(column)).collect::<Result<_, _>>()?)?;
        }
    }
    Ok(())
}

fn commit_row(order: OrderDigest, raw: (Vec<u8>, Vec<u8>, Vec<u8>, i64)) -> Result<CommitRow, StoreError> {
    const T: &str = "commits";
    let (provider, seal, signature, created_at) = raw;
    Ok(CommitRow {
        order,
        provider: Address::from(array::<20>(T, &provider)?),
        seal: Seal::from_bytes(array(T, &seal)?),
        signature: Signature::from_bytes(array(T, &signature)?),
        created_at: Timestamp(uint(T, created_at)?),
    })
}

impl<'c> View<'c> {
    /// A machine's snapshot.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn record(&self, kind: &str, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(select!(record "WHERE kind = ?1 AND id = ?2"))?;
            let raw = read.query_row(params![kind, id], RawRecord::read).optional()?;
            raw.map(|raw| Ok(raw.checked(kind)?.bytes)).transpose()
        })
    }

    /// Up to `limit` snapshots of a kind with ids after `after`, ascending by id.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn records(&self, kind: &str, after: Option<&[u8]>, limit: u32) -> Result<Vec<Record>, StoreError> {
        self.faults.note(|| {
            let mut read = self
                .conn
                .prepare_cached(select!(record "WHERE kind = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3"))?;
            let rows = read.query_map(params![kind, after, limit], RawRecord::read)?;
            rows.map(|raw| raw?.checked(kind)).collect()
        })
    }

    /// Calls `each` for every snapshot of a kind, ascending by id.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails, or what `each` answers.
    pub fn for_each_record<E: From<StoreError>>(
        &self,
        kind: &str,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = |error: rusqlite::Error| E::from(self.faults.seen(error.into()));
        let mut read = self.conn.prepare_cached(select!(record "WHERE kind = ?1 ORDER BY id")).map_err(sql)?;
        let mut rows = read.query(params![kind]).map_err(sql)?;
        while let Some(row) = rows.next().map_err(sql)? {
            let raw = RawRecord::read(row).map_err(sql)?;
            let Record { id, bytes } = raw.checked(kind).map_err(|rotten| self.faults.seen(rotten))?;
            each(&id, &bytes)?;
        }
        Ok(())
    }

    /// The highest voucher of an epoch.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn best_voucher(&self, key: &VoucherKey) -> Result<Option<VoucherRow>, StoreError> {
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(select!(voucher
                "FROM best_vouchers
                 WHERE direction = ?1 AND payer = ?2 AND payee = ?3 AND lane = ?4 AND epoch = ?5"
            ))?;
            let (direction, payer, payee, lane, epoch) = columns(key);
            let found = read.query_row(params![direction, payer, payee, lane, epoch], RawVoucher::read).optional()?;
            found.map(RawVoucher::typed).transpose()
        })
    }

    /// The highest voucher of every epoch of every channel in one direction.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn best_vouchers(&self, direction: Direction) -> Result<Vec<VoucherRow>, StoreError> {
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(select!(voucher
                "FROM best_vouchers WHERE direction = ?1 ORDER BY payer, payee, lane, epoch"
            ))?;
            let rows = read.query_map(params![direction.code()], RawVoucher::read)?;
            rows.map(|raw| raw?.typed()).collect()
        })
    }

    /// A provider's Commit for an order.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn commit(&self, order: OrderDigest, provider: Address) -> Result<Option<CommitRow>, StoreError> {
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(
                "SELECT provider, seal, signature, created_at FROM commits WHERE order_digest = ?1 AND provider = ?2",
            )?;
            let found = read
                .query_row(params![order.as_bytes(), provider.as_slice()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            found.map(|raw| commit_row(order, raw)).transpose()
        })
    }

    /// All Commits for an order, ascending by provider.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn commits(&self, order: OrderDigest) -> Result<Vec<CommitRow>, StoreError> {
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(
                "SELECT provider, seal, signature, created_at FROM commits WHERE order_digest = ?1 ORDER BY provider",
            )?;
            let rows = read
                .query_map(params![order.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            rows.map(|raw| commit_row(order, raw?)).collect()
        })
    }

    /// A journalled transaction.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn tx(&self, id: B256) -> Result<Option<TxIntent>, StoreError> {
        self.faults.note(|| {
            const T: &str = "tx_intents";
            let bad = || StoreError::BadRow { table: T };
            let mut read = self.conn.prepare_cached(
                "SELECT chain_id, sender, kind, body, state, nonce, tx_hash, block, gas_used, fee_wei, created_at, updated_at
                 FROM tx_intents WHERE id = ?1",
            )?;
            let mut rows = read.query(params![id.as_slice()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let hash: Option<Vec<u8>> = row.get(6)?;
            let outcome = match hash {
                Some(hash) => Some(TxOutcome {
                    hash: B256::from(array::<32>(T, &hash)?),
                    block: uint(T, row.get(7)?)?,
                    gas_used: uint(T, row.get(8)?)?,
                    fee_wei: row.get::<_, String>(9)?.parse().map_err(|_| bad())?,
                }),
                None => None,
            };
            let nonce: Option<i64> = row.get(5)?;
            Ok(Some(TxIntent {
                plan: TxPlan {
                    id,
                    chain_id: uint(T, row.get(0)?)?,
                    sender: Address::from(array::<20>(T, &row.get::<_, Vec<u8>>(1)?)?),
                    kind: row.get(2)?,
                    body: row.get(3)?,
                    at: Timestamp(uint(T, row.get(10)?)?),
                },
                state: TxState::from_code(row.get(4)?).ok_or_else(bad)?,
                nonce: nonce.map(|nonce| uint(T, nonce)).transpose()?,
                attempts: self.attempts(id)?,
                outcome,
                updated_at: Timestamp(uint(T, row.get(11)?)?),
            }))
        })
    }

    fn attempts(&self, id: B256) -> Result<Vec<TxAttempt>, StoreError> {
        const T: &str = "tx_attempts";
        let mut read = self
            .conn
            .prepare_cached("SELECT hash, nonce, raw, created_at FROM tx_attempts WHERE id = ?1 ORDER BY number")?;
        let mut rows = read.query(params![id.as_slice()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(TxAttempt {
                hash: B256::from(array::<32>(T, &row.get::<_, Vec<u8>>(0)?)?),
                nonce: uint(T, row.get(1)?)?,
                raw: row.get(2)?,
                at: Timestamp(uint(T, row.get(3)?)?),
            });
        }
        Ok(found)
    }

    /// The transactions of a sender that have no outcome yet, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn open_txs(&self, chain_id: u64, sender: Address) -> Result<Vec<TxIntent>, StoreError> {
        self.txs(
            "SELECT id FROM tx_intents WHERE state < 2 AND chain_id = ?1 AND sender = ?2
             ORDER BY created_at, coalesce(nonce, 9223372036854775807), id",
            chain_id,
            sender,
        )
    }

    /// Those of them that hold a nonce, by nonce.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn sent_txs(&self, chain_id: u64, sender: Address) -> Result<Vec<TxIntent>, StoreError> {
        self.txs(
            "SELECT id FROM tx_intents WHERE state = 1 AND chain_id = ?1 AND sender = ?2 ORDER BY nonce",
            chain_id,
            sender,
        )
    }

    fn txs(&self, sql: &str, chain_id: u64, sender: Address) -> Result<Vec<TxIntent>, StoreError> {
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(sql)?;
            let ids = read
                .query_map(params![int("chain id", chain_id)?, sender.as_slice()], |row| row.get::<_, Vec<u8>>(0))?
                .collect::<Result<Vec<_>, _>>()?;
            let mut found = Vec::new();
            for id in ids {
                found.extend(self.tx(B256::from(array::<32>("tx_intents", &id)?))?);
            }
            Ok(found)
        })
    }

    /// The highest nonce that a transaction in flight of this sender holds.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn highest_open_nonce(&self, chain_id: u64, sender: Address) -> Result<Option<u64>, StoreError> {
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(
                "SELECT max(nonce) FROM tx_intents WHERE state = 1 AND chain_id = ?1 AND sender = ?2",
            )?;
            let nonce: Option<i64> =
                read.query_row(params![int("chain id", chain_id)?, sender.as_slice()], |row| row.get(0))?;
            nonce.map(|nonce| uint("tx_intents", nonce)).transpose()
        })
    }

    /// What the mined transactions of a sender cost together whose end was
    /// journalled since, in wei.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn fees_since(&self, chain_id: u64, sender: Address, since: Timestamp) -> Result<u128, StoreError> {
        self.faults.note(|| {
            const T: &str = "tx_intents";
            let mut read = self.conn.prepare_cached(
                "SELECT fee_wei FROM tx_intents
                 WHERE chain_id = ?1 AND sender = ?2 AND tx_hash IS NOT NULL AND updated_at >= ?3",
            )?;
            let (chain_id, since) = (int("chain id", chain_id)?, int("a time", since.0)?);
            let mut rows = read.query(params![chain_id, sender.as_slice(), since])?;
            let mut sum = 0_u128;
            while let Some(row) = rows.next()? {
                let fee: u128 = row.get::<_, String>(0)?.parse().map_err(|_| StoreError::BadRow { table: T })?;
                sum = sum.saturating_add(fee);
            }
            Ok(sum)
        })
    }

    /// Gas of all mined transactions on a chain, by kind.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn gas_by_kind(&self, chain_id: u64) -> Result<BTreeMap<String, GasTotal>, StoreError> {
        self.faults.note(|| {
            const T: &str = "tx_intents";
            let mut read = self.conn.prepare_cached(
                "SELECT kind, gas_used, fee_wei FROM tx_intents WHERE chain_id = ?1 AND tx_hash IS NOT NULL",
            )?;
            let mut rows = read.query(params![int("chain id", chain_id)?])?;
            let mut totals: BTreeMap<String, GasTotal> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let total = totals.entry(row.get(0)?).or_default();
                let fee: u128 = row.get::<_, String>(2)?.parse().map_err(|_| StoreError::BadRow { table: T })?;
                total.transactions = total.transactions.saturating_add(1);
                total.gas = total.gas.saturating_add(uint(T, row.get(1)?)?);
                total.fee_wei = total.fee_wei.saturating_add(fee);
            }
            Ok(totals)
        })
    }

    /// When this state was last made from a backup; nothing when it never was.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn restored(&self) -> Result<Option<Restored>, StoreError> {
        const T: &str = "restores";
        self.faults.note(|| {
            let mut read = self
                .conn
                .prepare_cached("SELECT generation, restored_at FROM restores ORDER BY generation DESC LIMIT 1")?;
            let found: Option<(i64, i64)> = read.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            found
                .map(|(generation, at)| Ok(Restored { generation: uint(T, generation)?, at: Timestamp(uint(T, at)?) }))
                .transpose()
        })
    }

    /// Whether this store may promise in the epoch: it never was restored, or the
    /// epoch was cleared since.
    ///
    /// # Errors
    /// [`StoreError`] when the disk or the database fails.
    pub fn may_promise(&self, epoch: &PayerEpoch) -> Result<bool, StoreError> {
        self.promise_floor(epoch).map(|floor| floor.is_some())
    }

    /// The least total that may be promised in the epoch, if any may.
    pub(crate) fn promise_floor(&self, epoch: &PayerEpoch) -> Result<Option<Amount>, StoreError> {
        let Some(Restored { generation, .. }) = self.restored()? else { return Ok(Some(Amount::ZERO)) };
        self.faults.note(|| {
            let mut read = self.conn.prepare_cached(
                "SELECT floor FROM cleared_epochs
                 WHERE generation = ?1 AND payer = ?2 AND payee = ?3 AND lane = ?4 AND epoch = ?5",
            )?;
            let PayerEpoch { payer, payee, lane, epoch } = epoch;
            let floor: Option<Vec<u8>> = read
                .query_row(
                    params![
                        int("a generation", generation)?,
                        payer.as_slice(),
                        payee.as_slice(),
                        lane.word().as_slice(),
                        epoch
                    ],
                    |row| row.get(0),
                )
                .optional()?;
            floor.map(|bytes| amount("cleared_epochs", &bytes)).transpose()
        })
    }
}
