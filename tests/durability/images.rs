//! What a cut of the power can leave of a store's files.

use std::{collections::BTreeSet, path::Path};
use symbolon_disk::{Change, Disk, Image, Record, Tear};
use symbolon_primitives::{Address, Amount, Lane, Signature, Timestamp};
use symbolon_store::{Direction, Store, StoreError, VoucherKey, VoucherRow, Write};

const TOTALS: u64 = 28;

fn key() -> VoucherKey {
    VoucherKey {
        direction: Direction::Issued,
        payer: Address::repeat_byte(1),
        payee: Address::repeat_byte(2),
        lane: Lane::default(),
        epoch: 0,
    }
}

/// A voucher and a snapshot beside it, some of them so large that the log grows
/// over its limit and is taken back into the file.
fn writes(total: u64) -> [Write; 2] {
    let voucher = VoucherRow {
        key: key(),
        cumulative: Amount::from_u64(total),
        signature: Signature::from_bytes([7; 64]),
        order: None,
        created_at: Timestamp(total),
    };
    let bytes = if (20..23).contains(&total) { 1_500_000 } else { 600 };
    let mut snapshot = vec![u8::try_from(total % 251).unwrap(); bytes];
    snapshot[..8].copy_from_slice(&total.to_be_bytes());
    [Write::PutVoucher(voucher), Write::put("total", [0], snapshot)]
}

/// What a store says it holds, after checking that both halves of a write agree.
fn held(dir: &Path) -> Result<u64, String> {
    let store = Store::open(dir).map_err(|error| format!("does not open: {error}"))?;
    if let Some(why) = store.closed_by() {
        return Err(format!("is damaged: {why}"));
    }
    let record = store.view().record("total", &[0]).map_err(|error| error.to_string())?;
    let best = store.view().best_voucher(&key()).map_err(|error| error.to_string())?;
    match (record, best) {
        (None, None) => Ok(0),
        (Some(record), Some(best)) => {
            let total = u64::from_be_bytes(record[..8].try_into().unwrap());
            if best.cumulative == Amount::from_u64(total) { Ok(total) } else { Err("a write is torn".to_owned()) }
        }
        _ => Err("half of a write".to_owned()),
    }
}

/// A folder in memory where the system has one: what is tried here is the order of
/// writes, not the disk's speed.
pub(crate) fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn lay(image: &Image, dir: &Path) {
    if dir.exists() {
        std::fs::remove_dir_all(dir).unwrap();
    }
    std::fs::create_dir(dir).unwrap();
    for (name, bytes) in image {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Tries the images of a record: after each cut, everything acknowledged is there and
/// nothing that was never asked for. Answers how many were tried, or the first that fails.
fn try_images(
    record: &Record,
    seed: u64,
    cuts: impl IntoIterator<Item = usize>,
    held: impl Fn(&Path) -> Result<u64, String>,
) -> Result<usize, String> {
    let place = memory();
    let dir = place.path().join("image");
    let mut tried = 0;
    for at in cuts {
        let number = seed.wrapping_add(at as u64);
        for tear in [Tear::None, Tear::All, Tear::Some(number), Tear::Torn(number), Tear::Torn(!number)] {
            let acknowledged = record.acknowledged(at).unwrap_or(0);
            lay(&record.image(at, tear), &dir);
            tried += 1;
            let found = held(&dir).map_err(|why| format!("after change {at}, {tear:?}: {why}"))?;
            if found < acknowledged || found > acknowledged + 1 {
                return Err(format!("after change {at}, {tear:?}: {acknowledged} was acknowledged, {found} is there"));
            }
        }
    }
    Ok(tried)
}

/// Where the power goes: on both sides of every sync, and at places between; at every
/// change in the long form.
fn cuts(record: &Record) -> BTreeSet<usize> {
    let all = record.changes().len();
    if std::env::var_os("SYMBOLON_KILLS").is_some() {
        return (0..=all).collect();
    }
    let syncs = record.changes().iter().enumerate().filter(|(_, change)| matches!(change, Change::Synced { .. }));
    syncs.flat_map(|(at, _)| [at, at + 1]).chain((0..=all).step_by(all / 20 + 1)).collect()
}

fn seed() -> u64 {
    std::env::var("SYMBOLON_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_d15c)
}

#[test]
fn l8_whatever_a_cut_of_the_power_leaves_everything_acknowledged_is_there() {
    let place = memory();
    let dir = place.path().canonicalize().unwrap();
    let disk = Disk::watch(&dir).unwrap();
    let mut store = Store::open(&dir).unwrap();
    for total in 1..=TOTALS {
        store.write(&writes(total)).unwrap();
        disk.acknowledged(total);
    }
    drop(store);
    let record = disk.record();
    drop(disk);
    let syncs = record.changes().iter().filter(|change| matches!(change, Change::Synced { .. })).count();
    let into_file = record
        .changes()
        .iter()
        .filter(|change| matches!(change, Change::Written { file, .. } if file == "symbolon.db"))
        .count();
    assert!(syncs >= usize::try_from(TOTALS).unwrap(), "{syncs} syncs for {TOTALS} writes");
    assert!(into_file > 100 && into_file < 3_000, "the log was taken back into the file: {into_file} writes");
    let seed = seed();
    let tried = try_images(&record, seed, cuts(&record), held).unwrap_or_else(|why| panic!("seed {seed:#x}: {why}"));
    eprintln!("seed {seed:#x}: {tried} images of {} changes, {syncs} syncs", record.changes().len());
    assert!(tried > 200);
}

/// The store's own tables, written by somebody who does not wait for the disk.
fn careless(dir: &Path, pragma: &str, disk: &Disk) {
    drop(Store::open(dir).unwrap());
    let conn = rusqlite::Connection::open(dir.join("symbolon.db")).unwrap();
    conn.execute_batch(pragma).unwrap();
    for total in 1..=12_u64 {
        let cumulative = Amount::from_u64(total).to_be_bytes12();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        conn.execute(
            if total == 1 {
                "INSERT INTO best_vouchers (direction, payer, payee, lane, epoch, cumulative, signature, created_at)
                 VALUES (0, ?1, ?2, ?3, 0, ?4, ?5, 0)"
            } else {
                "UPDATE best_vouchers SET cumulative = ?4, signature = ?5
                 WHERE direction = 0 AND payer = ?1 AND payee = ?2 AND lane = ?3 AND epoch = 0"
            },
            rusqlite::params![
                key().payer.as_slice(),
                key().payee.as_slice(),
                key().lane.word().as_slice(),
                cumulative,
                [7_u8; 64]
            ],
        )
        .unwrap();
        let record = [total.to_be_bytes().as_slice(), &[0; 600]].concat();
        conn.execute(
            "INSERT INTO records (kind, id, bytes) VALUES ('total', x'00', ?1)
             ON CONFLICT (kind, id) DO UPDATE SET bytes = excluded.bytes",
            [record],
        )
        .unwrap();
        conn.execute_batch("COMMIT").unwrap();
        disk.acknowledged(total);
    }
}

#[test]
fn l8_canary_a_store_that_does_not_wait_for_the_disk_is_found() {
    let found = |pragma: &str| {
        let place = memory();
        let dir = place.path().canonicalize().unwrap();
        let disk = Disk::watch(&dir).unwrap();
        careless(&dir, pragma, &disk);
        let record = disk.record();
        try_images(&record, seed(), 0..=record.changes().len(), held)
    };
    for pragma in ["PRAGMA synchronous = OFF", "PRAGMA synchronous = NORMAL"] {
        let why = found(pragma).expect_err(pragma);
        assert!(why.contains("was acknowledged"), "{pragma}: {why}");
    }
    // The same writes, waited for, pass.
    found("PRAGMA synchronous = FULL").unwrap();
}

#[test]
fn l8_an_older_total_is_refused_after_every_cut() {
    let place = memory();
    let dir = place.path().canonicalize().unwrap();
    let disk = Disk::watch(&dir).unwrap();
    let mut store = Store::open(&dir).unwrap();
    for total in 1..=5 {
        store.write(&writes(total)).unwrap();
        disk.acknowledged(total);
    }
    drop(store);
    let record = disk.record();
    drop(disk);
    let image = place.path().join("image");
    for at in (0..record.changes().len()).filter(|at| record.acknowledged(*at) == Some(4)) {
        lay(&record.image(at, Tear::None), &image);
        let mut store = Store::open(&image).unwrap();
        assert!(matches!(store.write(&writes(3)), Err(StoreError::VoucherBelow { .. })), "after change {at}");
        store.write(&writes(6)).unwrap();
    }
}
