//! A folder that is damaged or cannot be written still pays out what it holds (N12).

use crate::{
    migrations::{DUMPS, load},
    samples::{FILE, key, past, voucher},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};
use symbolon_primitives::{Address, Amount, Timestamp};
use symbolon_store::{Checked, Direction, Store, StoreError, StoreOptions, VoucherRow, Write, backup, restore};

const CHANNELS: u8 = 60;

/// Pages of no tree: what overflows others, and what is free.
const BETWEEN: &str = "between";

/// A store with many channels on many pages.
fn filled(dir: &Path) -> BTreeMap<Address, VoucherRow> {
    let mut store = Store::open(dir).unwrap();
    let mut held = BTreeMap::new();
    for channel in 1..=CHANNELS {
        let mut row = voucher(Direction::Received, 1, channel);
        row.key.payer = Address::repeat_byte(channel.wrapping_mul(37));
        for total in 1..=3 {
            row.cumulative = Amount::from_u64(total);
            // That of every other channel pays no order.
            row.order = row.order.filter(|_| channel % 2 == 0);
            store.write(&[Write::PutVoucher(row), Write::put("channel", [channel; 52], vec![channel; 700])]).unwrap();
        }
        held.insert(row.key.payer, row);
    }
    store.write(&[Write::PutVoucher(voucher(Direction::Issued, 5, 1))]).unwrap();
    // Bytes that overflow a page, and pages that nothing uses any more.
    store.write(&[Write::put("large", [1], vec![1; 20_000]), Write::put("gone", [1], vec![2; 30_000])]).unwrap();
    store.write(&[Write::delete("gone", [1])]).unwrap();
    held
}

/// The pages of each table, by SQLite's own account.
fn pages(dir: &Path) -> BTreeMap<String, Vec<usize>> {
    let conn = past(dir);
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize;
    let (page_bytes, size) = (number("PRAGMA page_size"), number("PRAGMA page_count"));
    let roots: Vec<(String, usize)> = conn
        .prepare("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0 UNION SELECT 'sqlite_schema', 1")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, u32>(1)? as usize)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let bytes = fs::read(dir.join(FILE)).unwrap();
    assert_eq!(bytes.len(), size * page_bytes);
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (name, root) in roots {
        // Down the tree: the children of interior pages (2 and 5) stand in their cells.
        let mut todo = vec![root];
        while let Some(page) = todo.pop() {
            found.entry(name.clone()).or_default().push(page);
            let start = (page - 1) * page_bytes;
            let body = &bytes[start..start + page_bytes];
            let head = &body[if page == 1 { 100 } else { 0 }..];
            if !matches!(head[0], 2 | 5) {
                continue;
            }
            let number = |at: &[u8]| u32::from_be_bytes(at[..4].try_into().unwrap()) as usize;
            todo.push(number(&head[8..]));
            let cells = usize::from(u16::from_be_bytes([head[3], head[4]]));
            for cell in 0..cells {
                let at = usize::from(u16::from_be_bytes([head[12 + 2 * cell], head[13 + 2 * cell]]));
                todo.push(number(&body[at..]));
            }
        }
    }
    let known: Vec<usize> = found.values().flatten().copied().collect();
    found.insert(BETWEEN.to_owned(), (1..=size).filter(|page| !known.contains(page)).collect());
    found
}

fn smash(dir: &Path, page: usize, with: impl Fn(usize, u8) -> u8) {
    let mut bytes = fs::read(dir.join(FILE)).unwrap();
    let page_bytes = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let start = (page - 1) * page_bytes;
    for (at, byte) in bytes[start..start + page_bytes].iter_mut().enumerate() {
        *byte = with(at, *byte);
    }
    fs::write(dir.join(FILE), bytes).unwrap();
}

fn copy_of(dir: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::copy(dir.join(FILE), to.join(FILE)).unwrap();
}

/// Opens a damaged store as often as it takes to see that nothing is written, and
/// answers the channels whose best voucher is still held.
fn still_held(dir: &Path, held: &BTreeMap<Address, VoucherRow>) -> usize {
    let mut store = match Store::open(dir) {
        Ok(store) => store,
        Err(error) => {
            assert!(error.hint().is_some(), "{error}");
            return 0;
        }
    };
    assert!(store.is_read_only());
    assert!(matches!(store.closed_by(), Some(StoreError::Damaged { .. })), "{:?}", store.closed_by());
    let refused = store.write(&[Write::PutVoucher(voucher(Direction::Issued, 99, 1))]);
    assert!(matches!(refused, Err(StoreError::ReadOnly)));
    let found = store.view().best_vouchers(Direction::Received).unwrap();
    found.iter().filter(|row| held.get(&row.key.payer) == Some(row)).count()
}

#[test]
fn n12_whatever_page_is_damaged_nothing_is_signed_and_all_other_vouchers_are_claimed() {
    let place = tempfile::tempdir().unwrap();
    let whole = place.path().join("whole");
    let held = filled(&whole);
    let pages = pages(&whole);
    let (best, records) = (&pages["best_vouchers"], &pages["records"]);
    assert!(best.len() > 3 && records.len() > 4 && pages[BETWEEN].len() > 8, "{pages:?}");
    let (mut tried, mut noticed) = (0, 0);
    for (table, list) in &pages {
        for page in list {
            for (kind, with) in [
                ("zeros", (|_, _| 0) as fn(usize, u8) -> u8),
                ("noise", |at, _| u8::try_from(at * 131 % 251).unwrap()),
                ("second half", |at, byte| if at < 2048 { byte } else { 0x5a }),
            ] {
                let dir = place.path().join(format!("{table}-{page}-{kind}"));
                copy_of(&whole, &dir);
                smash(&dir, *page, with);
                tried += 1;
                let store = Store::open(&dir);
                let whole_enough = store.as_ref().is_ok_and(|store| !store.is_read_only());
                drop(store);
                if whole_enough {
                    // An empty table's page of zeros, or a hole between cells: nothing was lost, or the rows say so.
                    let store = Store::open(&dir).unwrap();
                    let rows = store.view().best_vouchers(Direction::Received);
                    match rows {
                        Ok(rows) => assert!(
                            rows.iter().all(|row| held.get(&row.key.payer) == Some(row)),
                            "{table} {page} {kind}"
                        ),
                        Err(error) => assert!(error.is_disk() && store.is_read_only(), "{error}"),
                    }
                    continue;
                }
                noticed += 1;
                let found = still_held(&dir, &held);
                let root = list[0] == *page;
                match table.as_str() {
                    // A file without its schema holds nothing.
                    "sqlite_schema" => {}
                    // Its root leads to all of them, and holds none.
                    "best_vouchers" if !root => {
                        assert!(found >= held.len() * 3 / 5, "{found} of {} after {kind} on {page}", held.len());
                    }
                    _ => assert_eq!(found, held.len(), "{table} {page} {kind}"),
                }
            }
        }
    }
    eprintln!("{tried} damaged files, {noticed} noticed when opened");
    assert!(noticed * 2 > tried, "{noticed} of {tried}");
}

#[test]
fn n12_a_damaged_file_of_every_schema_still_pays_out() {
    for (version, dump) in (1..).zip(DUMPS) {
        for table in ["records", "best_vouchers"] {
            let place = tempfile::tempdir().unwrap();
            load(place.path(), dump);
            let pages = pages(place.path());
            // Schema 4 has the vouchers that pay orders twice; any other once.
            let Some(list) = pages.get(table).filter(|_| table == "records" || version == 4) else { continue };
            list.iter().for_each(|page| smash(place.path(), *page, |_, _| 0x5a));
            let store = Store::open(place.path()).unwrap();
            assert!(matches!(store.closed_by(), Some(StoreError::Damaged { .. })), "schema {version}, {table}");
            let received = VoucherRow { created_at: Timestamp(8), ..voucher(Direction::Received, 6, 2) };
            assert_eq!(
                store.view().best_vouchers(Direction::Received).unwrap(),
                [received],
                "schema {version}, {table}"
            );
        }
    }
}

#[test]
fn n12_a_bit_that_flips_inside_a_value_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let held = filled(&dir);
    // Past SQLite: the signature of one voucher and the bytes of one record, as rot would change them.
    let guard: String = past(&dir)
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'best_voucher_only_rises'", [], |row| row.get(0))
        .unwrap();
    let rot = "DROP TRIGGER best_voucher_only_rises;
         UPDATE best_vouchers SET signature = zeroblob(64) WHERE payer = (SELECT max(payer) FROM best_vouchers);
         UPDATE records SET bytes = x'00' WHERE kind = 'channel' AND id = (
             SELECT min(id) FROM records WHERE kind = 'channel');";
    let rot = format!("{rot} {guard};");
    {
        // While it is open: whoever reads it hears it, and nothing is written any more.
        let mut store = Store::open(&dir).unwrap();
        past(&dir).execute_batch(&rot).unwrap();
        let error = store.view().record("channel", &[1; 52]).unwrap_err();
        assert!(matches!(error, StoreError::Rotten { table: "records" }) && error.hint().is_some());
        assert!(store.is_read_only());
        assert!(matches!(store.write(&[Write::put("x", [1], [1])]), Err(StoreError::ReadOnly)));
        assert!(matches!(
            store.view().best_vouchers(Direction::Received),
            Err(StoreError::Rotten { table: "vouchers" })
        ));
        // What did not rot is read on.
        assert!(store.view().best_voucher(&key(Direction::Issued)).unwrap().is_some());
    }
    // At the next start: all but the rotten rows.
    assert_eq!(still_held(&dir, &held), held.len() - 1);
    let store = Store::open(&dir).unwrap();
    assert_eq!(store.view().records("channel", None, 200).unwrap().len(), held.len() - 1);
}

#[test]
fn n12_a_row_that_is_not_the_one_its_index_names_closes_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut row = *filled(dir.path()).values().next().unwrap();
    // In the row alone, and where the check at the start does not come to.
    let mut bytes = fs::read(dir.path().join(FILE)).unwrap();
    let channel = [row.key.payer.as_slice(), row.key.payee.as_slice()].concat();
    let signature = row.signature.as_bytes();
    let is_row = |at: &usize| {
        let rest = &bytes[*at..];
        rest.starts_with(&channel) && rest[..200.min(rest.len())].windows(64).any(|part| part == signature)
    };
    let rows: Vec<usize> = (0..bytes.len()).filter(is_row).collect();
    assert!(!rows.is_empty());
    rows.iter().for_each(|at| bytes[*at] ^= 1);
    fs::write(dir.path().join(FILE), bytes).unwrap();
    let options = StoreOptions { check_within: Duration::ZERO, ..StoreOptions::default() };
    let mut store = Store::open_with(dir.path(), options).unwrap();
    assert!(!store.is_read_only());
    row.cumulative = Amount::from_u64(4);
    let error = store.write(&[Write::PutVoucher(row)]).unwrap_err();
    assert!(matches!(error, StoreError::Rotten { table: "vouchers" }), "{error:?}");
    assert!(store.is_read_only());
}

#[test]
fn n12_a_damaged_store_is_backed_up_and_restored_as_far_as_it_is_read() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let held = filled(&dir);
    let leaf = *pages(&dir)["best_vouchers"].last().unwrap();
    smash(&dir, leaf, |_, _| 0x5a);
    let found = still_held(&dir, &held);
    assert!(found > 0 && found < held.len());
    let (file, new) = (place.path().join("file"), place.path().join("new"));
    backup(&dir, &file, &[]).unwrap();
    restore(&file, &new, Timestamp(9)).unwrap();
    let mut store = Store::open(&new).unwrap();
    assert!(!store.is_read_only());
    let restored = store.view().best_vouchers(Direction::Received).unwrap();
    assert_eq!(restored.iter().filter(|row| held.get(&row.key.payer) == Some(row)).count(), found);
    let promise = store.write(&[Write::PutVoucher(voucher(Direction::Issued, 99, 1))]);
    assert!(matches!(promise, Err(StoreError::Frozen { .. })));
}

#[test]
fn n12_the_check_at_the_start_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    assert_eq!(Store::open(dir.path()).unwrap().checked(), Checked::Whole);
    let options = StoreOptions { check_within: Duration::ZERO, ..StoreOptions::default() };
    let mut store = Store::open_with(dir.path(), options).unwrap();
    assert_eq!(store.checked(), Checked::Partly);
    // What is left unchecked does not stay switched off.
    store.write(&[Write::put("x", [1], [1])]).unwrap();
}

const READER: &str = "SYMBOLON_STORE_TEST_READER";

/// The child's part; without the variable this is an empty test.
#[test]
fn child_reads_what_it_cannot_write() {
    let Some(dir) = std::env::var_os(READER) else { return };
    let mut store = Store::open(Path::new(&dir)).unwrap();
    assert!(matches!(store.closed_by(), Some(StoreError::WriteProtected { .. })), "{:?}", store.closed_by());
    assert!(store.closed_by().unwrap().hint().is_some());
    let rows = store.view().best_vouchers(Direction::Received).unwrap();
    assert_eq!(rows.len(), usize::from(CHANNELS));
    assert_eq!(rows.iter().map(|row| row.cumulative).min(), Some(Amount::from_u64(3)));
    assert!(matches!(store.write(&[Write::put("x", [1], [1])]), Err(StoreError::ReadOnly)));
}

#[test]
fn n12_a_folder_that_cannot_be_written_is_read() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let dir = place.path().join("store");
    filled(&dir);
    // One left as a crash would, the last writes in the log alone; and one closed in order.
    let crashed = place.path().join("crashed");
    fs::create_dir(&crashed).unwrap();
    {
        let mut store = Store::open(&dir).unwrap();
        store.write(&[Write::put("in the log", [1], [1])]).unwrap();
        for name in [FILE, "symbolon.db-wal", "symbolon.lock"] {
            fs::copy(dir.join(name), crashed.join(name)).unwrap();
        }
    }
    assert!(fs::metadata(crashed.join("symbolon.db-wal")).unwrap().len() > 0);
    for folder in [&dir, &crashed] {
        for entry in fs::read_dir(folder).unwrap() {
            fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
        // The program itself may lie where only its owner gets to.
        let program = place.path().join("reader");
        if !program.exists() {
            fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        }
        let mut child = Command::new(&program);
        child.args(["--exact", "damage::child_reads_what_it_cannot_write", "--nocapture", "--test-threads=1"]);
        child.env(READER, folder).current_dir("/");
        // Permissions do not bind root: nobody reads in its place.
        if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            child.uid(65_534).gid(65_534);
        }
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
