//! Guests that write without end.

use super::guest;
use crate::guest::{exited, wasi};
use symbolon_executor::{Cancel, Engine, ExecutorError, Inputs, Outcome, Profile};

/// A kilobyte at 1024 and a list at 16 that names it; a megabyte's worth of limits.
const DATA: &str = "(data (i32.const 0) \"f\") (data (i32.const 16) \"\\00\\04\\00\\00\\00\\04\\00\\00\")";

const OPEN: &str = "(call $ok (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
    (i64.const 0x1fffffff) (i64.const 0) (i32.const FLAGS) (i32.const 32)))";

#[test]
fn w5_flood_on_standard_output() {
    // It is cut at the limit, and the guest hears of it, over and over.
    let body = "(loop (br_if 0 (i32.eqz (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))))
        (loop (call $is (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)) (i32.const 51)) (br 0))";
    let report = guest(&wasi(DATA, body)).ends(Outcome::OutOfFuel);
    assert_eq!(report.stdout.len(), 1 << 20);
}

#[test]
fn w5_flood_on_standard_error() {
    let body = "(loop (drop (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 32))) (br 0))";
    let report = guest(&wasi(DATA, body)).ends(Outcome::OutOfFuel);
    assert_eq!((report.stdout.len(), report.stderr.len()), (0, 1 << 20));
}

#[test]
fn w5_flood_byte_by_byte_on_both_streams() {
    let body = "(i32.store (i32.const 20) (i32.const 1))
        (loop (br_if 0 (i32.eqz (i32.or
          (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32))
          (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 32))))))";
    let report = guest(&wasi(DATA, body)).edit(|unit| unit.limits.output_bytes = 65_535).fuel(1 << 30).ends(exited(0));
    assert_eq!((report.stdout.len(), report.stderr.len()), (32_768, 32_767));
}

#[test]
fn w5_flood_into_a_file() {
    let body = format!(
        "{OPEN} (loop (br_if 0 (i32.eqz (call $fd_write (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 32)))))
         (call $is (call $fd_write (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 32)) (i32.const 51))"
    );
    let report = guest(&wasi(DATA, &body.replace("FLAGS", "0")))
        .edit(|unit| unit.limits.output_bytes = 20 << 20)
        .ends(exited(0));
    assert_eq!(report.outputs, (1, 20 << 20));
}

#[test]
fn w5_flood_by_appending_through_many_descriptors() {
    let opens = OPEN.repeat(10).replace("FLAGS", "1");
    let body = format!(
        "{opens} (loop
           (local.set $i (i32.rem_u (i32.add (local.get $i) (i32.const 1)) (i32.const 10)))
           (br_if 0 (i32.eqz (call $fd_write (i32.add (i32.const 4) (local.get $i)) (i32.const 16) (i32.const 1) (i32.const 32)))))"
    );
    let report = guest(&wasi(DATA, &body)).ends(exited(0));
    assert_eq!(report.outputs, (1, 1 << 20));
}

#[test]
fn w5_flood_of_holes() {
    // A byte at the end of what may be: the hole before it counts and is paid for.
    let body = format!(
        "{OPEN} (i32.store (i32.const 20) (i32.const 1))
         (call $ok (call $fd_pwrite (i32.const 4) (i32.const 16) (i32.const 1) (i64.const 1048575) (i32.const 32)))
         (call $is (call $fd_pwrite (i32.const 4) (i32.const 16) (i32.const 1) (i64.const 1048576) (i32.const 32)) (i32.const 51))
         (call $is (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)) (i32.const 51))"
    );
    let report = guest(&wasi(DATA, &body.replace("FLAGS", "0"))).ends(exited(0));
    assert_eq!(report.outputs, (1, 1 << 20));
    assert!(report.fuel > (1 << 20) / 8);
}

#[test]
fn w5_flood_of_randomness_and_listings() {
    let body = "(loop (call $ok (call $random_get (i32.const 0) (i32.const 131072))) (br 0))";
    guest(&wasi("", body)).ends(Outcome::OutOfFuel);
    let body = "(loop (call $ok (call $fd_readdir (i32.const 3) (i32.const 0) (i32.const 65536) (i64.const 0) (i32.const 70000))) (br 0))";
    guest(&wasi("", body)).inputs(&[("a", b""), ("b", b"")]).ends(Outcome::OutOfFuel);
}

#[test]
fn w5_reading_standard_input_that_is_not_there() {
    let body = "(loop (call $ok (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32)))
        (call $is (i32.load (i32.const 32)) (i32.const 0)) (br 0))";
    guest(&wasi(DATA, body)).ends(Outcome::OutOfFuel);
}

#[test]
fn w7_what_a_guest_prints_is_kept_as_it_is_and_shown_as_it_is_safe() {
    let text = "\\1b]0;title\\07\\1b[2J\\00\\ff";
    let data = format!("(data (i32.const 16) \"\\00\\04\\00\\00\\10\\00\\00\\00\") (data (i32.const 1024) \"{text}\")");
    let body = "(call $ok (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))";
    let report = guest(&wasi(&data, body)).ends(exited(0));
    assert_eq!(report.stdout, b"\x1b]0;title\x07\x1b[2J\0\xff");
    let shown = symbolon_executor::outcome::for_terminal(&report.stdout);
    assert!(shown.chars().all(|character| !character.is_control()), "{shown:?}");
}

#[test]
fn w3_a_crowd_of_guests_is_let_in_as_far_as_there_is_room() {
    // Thirty-two at once on a host that has room for four: each has its outcome or was
    // not let in, and what one does shows in no other.
    let engine = Engine::with_memory_budget(Profile::V1, 4 * (16 << 20)).unwrap();
    let text = wasi(
        "",
        "(loop (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then (br 1))))
         (memory.fill (i32.const 0) (i32.const 1) (i32.shl (memory.size) (i32.const 16)))
         (call $proc_exit (memory.size))",
    );
    let module = engine.compile(&wat::parse_str(&text).unwrap()).unwrap();
    let unit = crate::guest::unit();
    let runs: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..32).map(|_| scope.spawn(|| engine.run(&module, &unit, &Inputs::new(), &Cancel::new()))).collect();
        all.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let mut roots: Vec<_> = Vec::new();
    for run in runs {
        match run {
            Ok(execution) => roots.push(execution.result_root()),
            Err(error) => assert!(matches!(error, ExecutorError::NoRoom { .. }), "{error}"),
        }
    }
    assert!(!roots.is_empty());
    roots.dedup();
    assert_eq!(roots.len(), 1);
    // All of the room is given back.
    assert_eq!(engine.run(&module, &unit, &Inputs::new(), &Cancel::new()).unwrap().outcome, exited(256));
}
