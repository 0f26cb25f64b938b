//! Guests that never end, and guests that end before they begin.

use super::guest;
use crate::guest::{start, wasi};
use symbolon_executor::{Outcome, TrapKind};

const DRY: Outcome = Outcome::OutOfFuel;

fn trap(kind: TrapKind) -> Outcome {
    Outcome::Trapped { kind }
}

#[test]
fn sym_31_endless_loop() {
    guest(&start("(loop (br 0))")).ends(DRY);
}

#[test]
fn sym_31_endless_loop_of_branches_through_a_table() {
    guest(&start("(loop (block (br_table 1 0 1 (i32.const 7))) (br 0))")).ends(DRY);
}

#[test]
fn sym_31_endless_loop_of_bulk_fills() {
    guest(&start("(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))")).ends(DRY);
}

#[test]
fn sym_31_endless_loop_of_yields() {
    guest(&wasi("", "(loop (drop (call $sched_yield)) (br 0))")).ends(DRY);
}

#[test]
fn sym_31_endless_loop_of_failing_calls() {
    guest(&wasi("", "(loop (drop (call $fd_close (i32.const 99))) (br 0))")).ends(DRY);
}

#[test]
fn sym_31_endless_loop_of_exceptions_ends_at_the_hosts_heap_without_an_outcome() {
    // No collector runs: what is thrown stays, until the heap set aside for it is full.
    let text = "(module (tag $e (param i64)) (func (export \"_start\") \
        (loop $again (block $h (result i64) (try_table (catch $e $h) (throw $e (i64.const 1))) unreachable) drop (br $again))))";
    guest(text).fuel(1 << 40).ends("error: the exception heap is exhausted");
}

#[test]
fn sym_34_waiting_for_the_clock_to_move_by_an_hour() {
    // A unit of fuel is a nanosecond: 50 million of them are no hour.
    guest(&wasi(
        "",
        "(loop (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
           (br_if 0 (i64.lt_u (i64.load (i32.const 0)) (i64.const 3600000000000))))",
    ))
    .ends(DRY);
}

#[test]
fn sym_34_waiting_for_the_clock_to_turn_round() {
    // It stops at 2^63 - 1 and stays there.
    let report = guest(&wasi(
        "",
        "(i32.store (i32.const 116) (i32.const 1)) (i64.store (i32.const 124) (i64.const -1))
         (call $ok (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
         (loop (call $ok (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0)))
           (br_if 0 (i64.eq (i64.load (i32.const 0)) (i64.const 0x7fffffffffffffff))))",
    ))
    .ends(DRY);
    assert!(report.stderr.is_empty());
}

#[test]
fn sym_34_polling_for_ever() {
    // Each sleep of 584 years takes no time and costs its fee.
    guest(&wasi(
        "(data (i32.const 116) \"\\01\\00\\00\\00\\00\\00\\00\\00\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\")",
        "(loop (call $ok (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300))) (br 0))",
    ))
    .ends(DRY);
}

#[test]
fn sym_34_polling_for_nothing() {
    guest(&wasi(
        "",
        "(call $is (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 0) (i32.const 300)) (i32.const 28))
         (call $is (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1025) (i32.const 300)) (i32.const 28))
         (call $is (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const -1) (i32.const 300)) (i32.const 28))
         ;; an empty standard input is at its end, not something to wait for
         (i32.store8 (i32.const 108) (i32.const 1))
         (call $ok (call $poll_oneoff (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
         (call $is (i32.load16_u (i32.const 224)) (i32.const 1))",
    ))
    .ends(Outcome::Exited { code: 0 });
}

#[test]
fn sym_34_polling_a_thousand_things_over_their_own_records() {
    // 1,024 subscriptions of zeros, whose events are written over them.
    guest(&wasi(
        "",
        "(loop (call $ok (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 130000)))
           (call $is (i32.load (i32.const 130000)) (i32.const 1024))
           (memory.fill (i32.const 0) (i32.const 0) (i32.const 49152)) (br 0))",
    ))
    .ends(DRY);
}

#[test]
fn sym_31_start_function_that_never_ends() {
    guest("(module (func $s (loop (br 0))) (start $s) (func (export \"_start\")))").ends(DRY);
}

#[test]
fn sym_31_start_function_that_exits() {
    let text = "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32))) \
        (func $s (call $x (i32.const 42))) (start $s) (func (export \"_start\") unreachable))";
    guest(text).ends(Outcome::Exited { code: 42 });
}

#[test]
fn sym_31_start_function_that_is_start() {
    // It runs twice: once as the module's start, once as the level's.
    let text = "(module (global $n (mut i32) (i32.const 0)) (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32))) \
        (func $s (export \"_start\") (global.set $n (i32.add (global.get $n) (i32.const 1))) \
          (if (i32.eq (global.get $n) (i32.const 2)) (then (call $x (global.get $n))))) (start $s))";
    let text = text.replace("(global $n (mut i32) (i32.const 0)) ", "");
    let text = text.replace("(func $s", "(global $n (mut i32) (i32.const 0)) (func $s");
    guest(&text).ends(Outcome::Exited { code: 2 });
}

#[test]
fn sym_31_exit_codes_beyond_what_shells_know() {
    for code in [u32::MAX, 1 << 31, 256] {
        guest(&wasi("", &format!("(call $proc_exit (i32.const {code}))"))).ends(Outcome::Exited { code });
    }
}

#[test]
fn sym_31_exit_out_of_the_deepest_frame() {
    let body =
        "(if (i32.eqz (local.get 0)) (then (call $x (i32.const 3)))) (call $f (i32.sub (local.get 0) (i32.const 1)))";
    let text = format!(
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32))) \
         (func $f (param i32) {body}) (func (export \"_start\") (call $f (i32.const 100000))))"
    );
    guest(&text).ends(Outcome::Exited { code: 3 });
}

#[test]
fn sym_31_fuel_that_ends_inside_of_a_host_call() {
    // 6 million units for 48 MiB of randomness, a megabyte at a time, and 5 to spend.
    let text = wasi("", "(loop (drop (call $random_get (i32.const 0) (i32.const 131072))) (br 0))");
    guest(&text).fuel(5_000_000).ends(DRY);
}

#[test]
fn sym_31_no_more_fuel_than_the_start_costs() {
    guest(&start("")).fuel(8192).ends(DRY);
    guest(&start("")).fuel(1).ends(DRY);
}

#[test]
fn sym_31_a_guest_cannot_fork_or_start_threads() {
    for (module, name) in [("wasi", "thread-spawn"), ("wasix_32v1", "proc_fork"), ("env", "fork")] {
        let text = format!("(module (import \"{module}\" \"{name}\" (func (param i32) (result i32))))");
        guest(&text).ends("refused: unknown-import");
    }
}

#[test]
fn sym_35_a_guest_without_a_way_in() {
    guest("(module)").ends(trap(TrapKind::NoEntry));
    guest("(module (func (export \"_start\") (result i32) (i32.const 0)))").ends(trap(TrapKind::NoEntry));
}
