//! A disk that fails at the n-th change, for every n; two processes on one folder.

use crate::images::memory;
use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use symbolon_disk::{Disk, Fault, Trouble};
use symbolon_primitives::{Address, Amount, B256, Lane, Signature, Timestamp};
use symbolon_store::{Direction, Store, StoreError, TxAttempt, TxPlan, VoucherKey, VoucherRow, Write, backup, restore};

fn key(direction: Direction) -> VoucherKey {
    VoucherKey {
        direction,
        payer: Address::repeat_byte(1),
        payee: Address::repeat_byte(2),
        lane: Lane::default(),
        epoch: 0,
    }
}

fn voucher(direction: Direction, total: u64) -> Write {
    Write::PutVoucher(VoucherRow {
        key: key(direction),
        cumulative: Amount::from_u64(total),
        signature: Signature::from_bytes([7; 64]),
        order: None,
        created_at: Timestamp(total),
    })
}

/// Both directions, a snapshot, a transaction; large enough at times that the log is taken back.
fn step(total: u64) -> Vec<Write> {
    let bytes = if total == 6 { 4_100_000 } else { 500 };
    let id = B256::repeat_byte(u8::try_from(total).unwrap());
    let plan = TxPlan { id, chain_id: 1, sender: Address::ZERO, kind: "claim".into(), body: vec![1], at: Timestamp(1) };
    let attempt = TxAttempt { hash: id, nonce: total, raw: vec![2], at: Timestamp(2) };
    vec![
        voucher(Direction::Issued, total),
        voucher(Direction::Received, total),
        Write::put("snapshot", [0], vec![9; bytes]),
        Write::PlanTx(plan),
        Write::AddTxAttempt { id, attempt },
    ]
}

const STEPS: u64 = 10;

fn best(store: &Store, direction: Direction) -> u64 {
    let best = store.view().best_voucher(&key(direction)).unwrap();
    best.map_or(0, |row| u64::try_from(row.cumulative.get()).unwrap())
}

/// Works until the disk fails; what was acknowledged. After the first failure nothing
/// is written any more, and everything acknowledged is read.
fn work(dir: &Path) -> (u64, Option<StoreError>) {
    let mut store = match Store::open(dir) {
        Ok(store) => store,
        Err(error) => return (0, Some(error)),
    };
    if let Some(why) = store.closed_by() {
        return (0, Some(why.clone()));
    }
    let mut acknowledged = best(&store, Direction::Issued);
    for total in acknowledged + 1..=STEPS {
        match store.write(&step(total)) {
            Ok(()) => acknowledged = total,
            Err(error) => {
                assert!(error.is_disk() && error.hint().is_some(), "{error}");
                assert!(store.is_read_only());
                for later in [total, total + 1] {
                    assert!(matches!(store.write(&step(later)), Err(StoreError::ReadOnly)), "N12: it signs on");
                }
                for direction in [Direction::Issued, Direction::Received] {
                    assert!(best(&store, direction) >= acknowledged, "N12: what is held is not claimed");
                }
                return (acknowledged, Some(error));
            }
        }
    }
    (acknowledged, None)
}

#[test]
fn n12_the_disk_fails_at_every_change_once_and_nothing_acknowledged_is_lost() {
    for (fault, once) in [(Fault::Full, false), (Fault::Broken, false), (Fault::Broken, true)] {
        let (mut n, mut failed) = (0, 0);
        // The first changes one by one, then some; every single one in the long form.
        let stride = if std::env::var_os("SYMBOLON_KILLS").is_some() { 1 } else { 101 };
        loop {
            let place = memory();
            let dir = place.path().canonicalize().unwrap();
            let disk = Disk::watch(&dir).unwrap();
            disk.trouble(Some(Trouble { from: n, once, fault }));
            let (acknowledged, error) = work(&dir);
            let fired = disk.fired();
            disk.trouble(None);
            if let Some(error) = &error {
                failed += 1;
                assert!(fault == Fault::Full || !error.is_full(), "{error}");
            }
            // The disk is well again: the store opens, has everything, and goes on.
            let (after, error) = work(&dir);
            assert!(error.is_none(), "{fault:?} at {n}: {error:?}");
            assert_eq!(after, STEPS);
            let store = Store::open(&dir).unwrap();
            assert!(best(&store, Direction::Received) >= acknowledged);
            if !fired {
                assert_eq!(acknowledged, STEPS);
                break;
            }
            n += if n < 60 { 1 } else { stride };
        }
        eprintln!("{fault:?}, once {once}: {failed} failures at {n} changes");
        assert!(failed > 60, "{fault:?}: {failed} failures");
    }
}

#[test]
fn n12_a_disk_that_fails_in_the_middle_of_a_migration_leaves_the_old_store_or_the_new_one() {
    let dump = include_str!("../../settlement/store/tests/schemas/1.sql");
    for fault in [Fault::Full, Fault::Broken] {
        let (mut n, mut failed) = (0, 0);
        loop {
            let place = memory();
            let dir = place.path().canonicalize().unwrap();
            rusqlite::Connection::open(dir.join("symbolon.db")).unwrap().execute_batch(dump).unwrap();
            let disk = Disk::watch(&dir).unwrap();
            disk.trouble(Some(Trouble { from: n, once: false, fault }));
            let opened = Store::open(&dir).map(|store| store.is_read_only());
            let fired = disk.fired();
            failed += usize::from(!matches!(opened, Ok(false)));
            disk.trouble(None);
            let store = Store::open(&dir).unwrap();
            assert!(!store.is_read_only(), "{fault:?} at {n}");
            assert_eq!(store.view().record("payee-channel", &[1]).unwrap(), Some(vec![10, 11]), "{fault:?} at {n}");
            if !fired {
                break;
            }
            n += 1;
        }
        assert!(failed > 3, "{fault:?}: {failed} of {n}");
    }
}

#[test]
fn n12_a_backup_or_restore_that_fails_leaves_nothing_behind() {
    let place = memory();
    let root = place.path().canonicalize().unwrap();
    let (dir, good) = (root.join("store"), root.join("good"));
    drop(Store::open(&dir).unwrap());
    assert_eq!(work(&dir).0, STEPS);
    backup(&dir, &good, &[]).unwrap();
    // A limit on the size of files, set by the shell: the same on every system, for root too.
    for kilobytes in [0, 1, 4, 16] {
        for (task, target) in [("backup", "file"), ("restore", "folder")] {
            let target = root.join(format!("{target}-{kilobytes}"));
            let script = format!("ulimit -f {}; trap '' XFSZ; exec \"$0\" \"$@\"", kilobytes * 2);
            let output = Command::new("sh")
                .args(["-c", &script])
                .arg(symbolon_tests::symbolon().unwrap())
                .arg(task)
                .args([if task == "backup" { &target } else { &good }])
                .arg("--data")
                .args([if task == "backup" { &dir } else { &target }])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && said.contains("error: ") && !said.contains("panicked"),
                "{task} {kilobytes}: {said}"
            );
            if task == "backup" {
                assert!(!target.exists(), "{kilobytes}");
            } else {
                assert!(!target.join("symbolon.db").exists(), "{kilobytes}");
                restore(&good, &target, Timestamp(1)).unwrap();
                assert_eq!(best(&Store::open(&target).unwrap(), Direction::Received), STEPS);
            }
        }
    }
}

#[test]
fn n9_of_many_processes_on_one_folder_one_has_it() {
    const CHILD: &str = "SYMBOLON_TEST_HOLDER";
    if let Some(dir) = std::env::var_os(CHILD) {
        let said = match Store::open(Path::new(&dir)) {
            Ok(mut store) => {
                store.write(&[Write::put("holder", [0], std::process::id().to_be_bytes())]).unwrap();
                eprintln!("held it");
                // Until the parent has seen everybody.
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).unwrap();
                return;
            }
            Err(error @ StoreError::Locked { .. }) => error,
            Err(error) => panic!("{error}"),
        };
        eprintln!("refused: {said}; {}", said.hint().unwrap());
        return;
    }
    let place = memory();
    drop(Store::open(place.path()).unwrap());
    let mut children: Vec<_> = (0..6)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "faults::n9_of_many_processes_on_one_folder_one_has_it", "--nocapture"])
                .env(CHILD, place.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    // Those that are refused end by themselves; the one that holds it waits for its word.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while children.iter_mut().filter_map(|child| child.try_wait().unwrap()).count() < 5 {
        assert!(std::time::Instant::now() < until, "not everybody else was refused");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut held, mut refused) = (0, 0);
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        held += usize::from(said.contains("held it"));
        refused += usize::from(said.contains("refused: ") && said.contains("in use"));
    }
    assert_eq!((held, refused), (1, 5));
}
