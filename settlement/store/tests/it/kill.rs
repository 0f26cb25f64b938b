//! A process killed in the middle of its writes has every one that it
//! acknowledged, and nothing that contradicts them.

#![allow(clippy::print_stdout)]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};
use symbolon_primitives::{Address, Amount, Lane, Signature, Timestamp};
use symbolon_store::{Direction, Store, StoreError, VoucherKey, VoucherRow, Write};

const CHILD: &str = "SYMBOLON_STORE_TEST_CHILD";

fn key() -> VoucherKey {
    VoucherKey {
        direction: Direction::Issued,
        payer: Address::repeat_byte(1),
        payee: Address::repeat_byte(2),
        lane: Lane::default(),
        epoch: 0,
    }
}

fn writes(total: u64) -> [Write; 2] {
    let voucher = VoucherRow {
        key: key(),
        cumulative: Amount::from_u64(total),
        signature: Signature::from_bytes([7; 64]),
        order: None,
        created_at: Timestamp(total),
    };
    [Write::PutVoucher(voucher), Write::put("total", [0], total.to_be_bytes())]
}

/// The child's part; without the variable this is an empty test.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let mut store = Store::open(Path::new(&dir)).unwrap();
    let from = stored(&store).unwrap_or(0);
    for total in from + 1.. {
        store.write(&writes(total)).unwrap();
        println!("acknowledged {total}");
    }
}

/// The stored total, after checking that both halves of a write agree.
fn stored(store: &Store) -> Option<u64> {
    let record = store.view().record("total", &[0]).unwrap()?;
    let total = u64::from_be_bytes(record.try_into().unwrap());
    let best = store.view().best_voucher(&key()).unwrap().unwrap();
    assert_eq!(best.cumulative, Amount::from_u64(total), "a write was torn");
    Some(total)
}

#[test]
fn sym_24_kill_9_in_the_middle_of_writes_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0_u64;
    for kill_after in [1, 2, 3, 7, 20, 41] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            // The harness writes its own words on the first line.
            let Some((_, total)) = line.split_once("acknowledged ") else { continue };
            acknowledged = total.parse().unwrap();
            seen += 1;
            if seen == kill_after {
                // SIGKILL on unix; what the pipe still holds is read on.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= kill_after, "the child stopped by itself");
        let mut store = Store::open(dir.path()).unwrap();
        let total = stored(&store).unwrap();
        assert!(total == acknowledged || total == acknowledged + 1, "acknowledged {acknowledged}, found {total}");
        assert!(matches!(store.write(&writes(total - 1)), Err(StoreError::VoucherBelow { .. })));
    }
}
