//! What can still be read of a damaged file, in a file of its own.
//!
//! Each table is read from its first row on and from its last row back until a
//! damaged page stops it, and then from many places between; vouchers, which
//! are money, from every page that still holds any. Whatever is lost is what
//! stood on damaged pages.

use crate::{
    StoreError, VoucherRow, leaves, open, schema,
    sum::voucher_sum,
    transaction::{INSERT_VOUCHER, with_values},
    view::rotten_rows,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params_from_iter, types::Value};
use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

/// The first two bytes of a key are tried in steps of this.
const STEP: usize = 256;

/// A table, its key, and the column of the key that is jumped along.
struct Table {
    name: &'static str,
    key: &'static str,
    jump: &'static str,
    /// The columns before it that have few values.
    before: &'static str,
}

const TABLES: [Table; 8] = [
    Table { name: "restores", key: "generation", jump: "generation", before: "1" },
    Table { name: "cleared_epochs", key: "generation, payer, payee, lane, epoch", jump: "payer", before: "generation" },
    Table { name: "best_vouchers", key: "direction, payer, payee, lane, epoch", jump: "payer", before: "direction" },
    Table {
        name: "vouchers",
        key: "direction, payer, payee, lane, epoch, cumulative",
        jump: "payer",
        before: "direction",
    },
    Table { name: "commits", key: "order_digest, provider", jump: "order_digest", before: "1" },
    Table { name: "tx_intents", key: "id", jump: "id", before: "1" },
    Table { name: "tx_attempts", key: "id, number", jump: "id", before: "1" },
    Table { name: "records", key: "kind, id", jump: "id", before: "kind" },
];

/// Of two vouchers of an epoch the higher one stands.
const OR_RAISE: &str = "ON CONFLICT (direction, payer, payee, lane, epoch) DO UPDATE SET
         cumulative = excluded.cumulative, signature = excluded.signature,
         order_digest = excluded.order_digest, created_at = excluded.created_at, sum = excluded.sum
     WHERE excluded.cumulative > best_vouchers.cumulative";

/// Copies what can be read of `damaged` into a new file in `place`.
pub(crate) fn rescue(damaged: &Path, place: &Path) -> Result<PathBuf, StoreError> {
    let path = place.join("rescued.db");
    // What waits in the log belongs on the pages; where that fails, the log is read in its place.
    let _log_stays = open::writer(damaged).and_then(|conn| Ok(conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?));
    let from = open::reader(damaged)?;
    from.execute_batch("PRAGMA writable_schema = ON")?;
    // Of the same schema first.
    let have = schema::recognise(&from)?;
    let mut to = open::writer(&path)?;
    // It is thrown away with the process.
    to.execute_batch("PRAGMA synchronous = OFF")?;
    schema::migrate_to(&mut to, have)?;
    let tx = to.transaction()?;
    tx.execute_batch("PRAGMA defer_foreign_keys = ON")?;
    // The guards want rows in their order, which is not how they are found. They stand again before anybody reads.
    let triggers: Vec<(String, String)> = tx
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (name, _) in &triggers {
        tx.execute_batch(&format!("DROP TRIGGER {name}"))?;
    }
    for table in &TABLES {
        copy(&from, &tx, table)?;
    }
    if have >= schema::SUMS {
        forget_rotten(&tx)?;
    }
    if have >= schema::NUMBERED {
        let mut put = tx.prepare(&format!("{INSERT_VOUCHER} {OR_RAISE}"))?;
        let file = File::open(damaged).map_err(|source| open::folder(damaged, source))?;
        let each = |row: &VoucherRow| {
            with_values(row, voucher_sum(row), None, |values| Ok(put.execute(values).map(|_| ())?))
        };
        leaves::each_voucher(damaged, BufReader::new(file), each)?;
    }
    let has = |table| tx.table_exists::<&str>(None, table);
    if has("vouchers")? && has("best_vouchers")? {
        // Of one schema: a voucher that paid an order stands in both.
        tx.execute_batch(&format!(
            "INSERT INTO best_vouchers
                 SELECT direction, payer, payee, lane, epoch, max(cumulative), signature, order_digest, created_at, sum
                 FROM vouchers GROUP BY direction, payer, payee, lane, epoch {OR_RAISE}"
        ))?;
    }
    // What belongs to a row that is lost hangs in the air.
    for (table, sql) in [
        ("tx_attempts", "DELETE FROM tx_attempts WHERE id NOT IN (SELECT id FROM tx_intents)"),
        ("cleared_epochs", "DELETE FROM cleared_epochs WHERE generation NOT IN (SELECT generation FROM restores)"),
    ] {
        if has(table)? {
            tx.execute_batch(sql)?;
        }
    }
    for (_, sql) in &triggers {
        tx.execute_batch(sql)?;
    }
    tx.commit()?;
    schema::migrate(&mut to)?;
    Ok(path)
}

fn forget_rotten(to: &Connection) -> Result<(), StoreError> {
    let mut rotten = Vec::new();
    rotten_rows(to, |table, key| {
        rotten.push((table, key));
        Ok(())
    })?;
    for (table, key) in rotten {
        let columns = TABLES.iter().find(|known| known.name == table).map_or("", |known| known.key);
        let places = vec!["?"; key.len()].join(", ");
        to.execute(&format!("DELETE FROM {table} WHERE ({columns}) = ({places})"), params_from_iter(key))?;
    }
    Ok(())
}

fn copy(from: &Connection, to: &Connection, table: &Table) -> Result<(), StoreError> {
    let Table { name, key, jump, before } = table;
    let known = from
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", [name], |_| Ok(()))
        .optional()?;
    if known.is_none() {
        // Of an older schema.
        return Ok(());
    }
    let columns = columns(from, name)?;
    let numbered = *name == "best_vouchers" && columns.iter().any(|column| column == "id");
    let key = if numbered { "id" } else { *key };
    let list = columns.join(", ");
    let places = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT OR IGNORE INTO {name} ({list}) VALUES ({places})");
    let down = key.split(", ").map(|column| format!("{column} DESC")).collect::<Vec<_>>().join(", ");
    let up = run(from, to, &format!("SELECT {list} FROM {name} ORDER BY {key}"), &insert, &[])?;
    if up {
        return Ok(());
    }
    run(from, to, &format!("SELECT {list} FROM {name} ORDER BY {down}"), &insert, &[])?;
    if numbered {
        // What is between is read from the pages.
        return Ok(());
    }
    // From between: for each value of the columns before that turned up, along the next one.
    let heads: Vec<Value> = to
        .prepare(&format!("SELECT DISTINCT {before} FROM {name}"))?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut heads = heads;
    if name.ends_with("vouchers") {
        heads = vec![Value::Integer(0), Value::Integer(1)];
    }
    for head in heads {
        for prefix in (0..=usize::from(u16::MAX)).step_by(STEP) {
            let prefix = u16::try_from(prefix).unwrap_or(u16::MAX).to_be_bytes();
            // Only to the next place: a whole scan from each would read everything many times.
            let next = u16::from_be_bytes(prefix).checked_add(u16::try_from(STEP).unwrap_or(u16::MAX));
            let end = next.map_or_else(|| vec![0xff; 64], |next| next.to_be_bytes().to_vec());
            let sql = format!(
                "SELECT {list} FROM {name} WHERE {before} = ?1 AND {jump} >= ?2 AND {jump} < ?3 ORDER BY {key}"
            );
            let bounds = [head.clone(), Value::Blob(prefix.to_vec()), Value::Blob(end)];
            run(from, to, &sql, &insert, &bounds)?;
            let sql = sql.replace(&format!("ORDER BY {key}"), &format!("ORDER BY {down}"));
            run(from, to, &sql, &insert, &bounds)?;
        }
    }
    Ok(())
}

/// Copies rows until a damaged page; whether all were read.
fn run(from: &Connection, to: &Connection, sql: &str, insert: &str, bounds: &[Value]) -> Result<bool, StoreError> {
    let Some(mut read) = readable(from.prepare_cached(sql))? else { return Ok(false) };
    let count = read.column_count();
    let Some(mut rows) = readable(read.query(params_from_iter(bounds)))? else { return Ok(false) };
    let mut write = to.prepare_cached(insert)?;
    while let Some(next) = readable(rows.next())? {
        let Some(row) = next else { return Ok(true) };
        let mut values: Vec<Value> = Vec::with_capacity(count);
        for index in 0..count {
            match readable(row.get(index))? {
                Some(value) => values.push(value),
                None => return Ok(false),
            }
        }
        // A row that breaks the table's own rules is not what was written.
        match write.execute(params_from_iter(values)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
            other => {
                other?;
            }
        }
    }
    Ok(false)
}

/// Nothing where the file cannot be read.
fn readable<T>(result: rusqlite::Result<T>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match StoreError::from(error) {
            StoreError::Disk(_) => Ok(None),
            other => Err(other),
        },
    }
}

/// The columns both schemas have.
fn columns(conn: &Connection, table: &str) -> Result<Vec<String>, StoreError> {
    let mut read = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names: BTreeSet<String> = read.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names.into_iter().collect())
}
