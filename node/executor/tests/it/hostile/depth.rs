//! Guests that dig: recursion of every kind, and frames as large as they can be made.

use super::{Report, guest};
use crate::guest::{exited, trapped, wasi};
use symbolon_executor::{Outcome, TrapKind};

/// Half of the native stack that the call depth allows; it comes on top of a run's
/// limits where frames are made as large as they can be.
const STACK: u64 = 64 << 20;

fn too_deep(text: &str) -> Report {
    guest(text).ends(trapped(TrapKind::CallDepth))
}

#[test]
fn sym_31c_direct_recursion() {
    too_deep("(module (func $f (export \"_start\") (call $f)))");
}

#[test]
fn sym_31c_recursion_in_a_circle() {
    too_deep(
        "(module (func $a (call $b)) (func $b (call $c)) (func $c (call $a)) (func (export \"_start\") (call $a)))",
    );
}

#[test]
fn sym_31c_indirect_recursion() {
    too_deep(
        "(module (type $t (func)) (table 1 funcref) (elem (i32.const 0) $f) \
         (func $f (export \"_start\") (call_indirect (type $t) (i32.const 0))))",
    );
}

#[test]
fn sym_31c_recursion_through_a_start_function() {
    too_deep("(module (func $f (call $f)) (start $f) (func (export \"_start\")))");
}

#[test]
fn sym_31c_recursion_with_host_calls_at_every_depth() {
    let report = too_deep(&wasi(
        "(func $dig (param i32) (call $ok (call $sched_yield)) (call $dig (i32.add (local.get 0) (i32.const 1))) \
           (call $ok (call $random_get (i32.const 0) (i32.const 8))))",
        "(call $dig (i32.const 0))",
    ));
    assert!(report.stderr.is_empty());
}

#[test]
fn sym_31c_recursion_through_handlers_of_exceptions() {
    too_deep(
        "(module (tag $e) (func $f (block $h (try_table (catch $e $h) (call $f))) (throw $e)) \
         (func (export \"_start\") (call $f)))",
    );
}

#[test]
fn sym_31c_exception_through_every_frame() {
    // Thrown at the bottom of 50,000 frames and caught at the top, again and again.
    let text = "(module (tag $e (param i32)) \
        (func $dig (param i32) (if (i32.eqz (local.get 0)) (then (throw $e (i32.const 7)))) \
          (call $dig (i32.sub (local.get 0) (i32.const 1)))) \
        (func $catch (result i32) (block $h (result i32) (try_table (catch $e $h) (call $dig (i32.const 50000))) (i32.const 0))) \
        (func (export \"_start\") (local $i i32) \
          (loop (if (i32.ne (call $catch) (i32.const 7)) (then unreachable)) \
            (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 20))))))";
    guest(text).ends(exited(0));
}

#[test]
fn sym_31c_endless_tail_calls_need_no_depth() {
    let text = "(module (func $a (return_call $b)) (func $b (return_call $a)) (func (export \"_start\") (call $a)))";
    guest(text).ends(Outcome::OutOfFuel);
}

#[test]
fn sym_31c_tail_calls_with_more_arguments_each_time() {
    // The frame of a tail call is its callee's: it may grow, and must not pile up.
    let ty = |n: usize| "i64 ".repeat(n);
    let zeros = |n: usize| "(i64.const 1)".repeat(n);
    let text = format!(
        "(module (func $small (return_call $large {})) (func $large (param {}) (return_call $small)) \
         (func (export \"_start\") (call $small)))",
        zeros(200),
        ty(200)
    );
    guest(&text).ends(Outcome::OutOfFuel);
}

#[test]
fn sym_31c_frames_with_thousands_of_locals() {
    // Used before the call and after it: a value without a use is not computed early.
    let sets: String = (1..=4000)
        .map(|i| format!("(local.set {i} (v128.xor (v128.const i64x2 {i} 7) (i32x4.splat (local.get 0))))"))
        .collect();
    let uses: String =
        (1..=4000).map(|i| format!("(global.set $g (v128.xor (global.get $g) (local.get {i})))")).collect();
    let text = format!(
        "(module (global $g (mut v128) (v128.const i64x2 1 2)) (func $f (param i32) (local {}) {sets} {uses} \
         (call $f (i32.add (local.get 0) (i32.const 1))) {uses}) (func (export \"_start\") (call $f (i32.const 0))))",
        "v128 ".repeat(4000)
    );
    guest(&text).fuel(1 << 40).ends(trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31c_frames_whose_values_only_the_optimiser_keeps() {
    // A chain of `n` vectors is computed before the call; afterwards the same chain is
    // written down again and every link is used, so that all of them live across the
    // call without a local or a place on the operand stack to be counted by.
    let n = 6000;
    let before = "i8x16.popcnt ".repeat(n);
    let links = "local.tee 1 v128.xor local.get 1 i8x16.popcnt ".repeat(n);
    let text = format!(
        "(module (global $g (mut v128) (v128.const i64x2 1 2)) (func $f (param v128) (local v128) \
         local.get 0 {before} global.set $g  (call $f (global.get $g)) \
         (v128.const i64x2 0 0) local.get 0 {links} drop global.set $g) \
         (func (export \"_start\") (call $f (v128.const i64x2 3 4))))"
    );
    guest(&text).fuel(1 << 40).slack(2 * STACK).ends(trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31c_frames_of_such_values_used_three_at_a_time() {
    // The same with fewer operators for each value: two links an instruction.
    let n = 6000;
    let before = "i8x16.popcnt ".repeat(n);
    let links =
        "local.tee 1 local.get 1 i8x16.popcnt local.tee 2 v128.bitselect local.get 2 i8x16.popcnt ".repeat(n / 2);
    let text = format!(
        "(module (global $g (mut v128) (v128.const i64x2 1 2)) (func $f (param v128) (local v128 v128) \
         local.get 0 {before} global.set $g (call $f (global.get $g)) \
         (v128.const i64x2 0 0) local.get 0 {links} drop global.set $g) \
         (func (export \"_start\") (call $f (v128.const i64x2 3 4))))"
    );
    guest(&text).fuel(1 << 40).slack(2 * STACK).ends(trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31c_frames_with_a_thousand_wide_calls() {
    // Results of a call come back through memory of its caller; it must not be set
    // aside once for each call.
    let wide = "i64 ".repeat(200);
    let calls = format!("(call $wide) {}", "drop ".repeat(200)).repeat(800);
    let text = format!(
        "(module (func $wide (result {wide}) {}) (func $f (call $f) {calls}) (func (export \"_start\") (call $f)))",
        "(i64.const 1)".repeat(200)
    );
    guest(&text).fuel(1 << 40).ends(trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31c_frames_of_references() {
    // A reference that lives across a call has a place of its own for the collector.
    let locals = "externref ".repeat(2000);
    let sets: String = (0..2000).map(|i| format!("(local.set {i} (table.get (i32.const {i})))")).collect();
    let uses: String = (0..2000).map(|i| format!("(table.set (i32.const {i}) (local.get {i}))")).collect();
    let text = format!(
        "(module (table 2000 externref) (func $f (local {locals}) {sets} (call $f) {uses}) (func (export \"_start\") (call $f)))"
    );
    guest(&text).fuel(1 << 40).ends(trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31c_the_largest_leaf_at_the_deepest_place() {
    // Leaves are not counted: one of them must fit below the deepest frame.
    let sets: String = (1..=900)
        .map(|i| format!("(local.set {i} (v128.xor (v128.const i64x2 {i} 7) (i32x4.splat (local.get 0))))"))
        .collect();
    let uses: String =
        (1..=900).map(|i| format!("(global.set $g (v128.xor (global.get $g) (local.get {i})))")).collect();
    let text = format!(
        "(module (global $g (mut v128) (v128.const i64x2 1 2)) \
         (func $leaf (param i32) (local {}) {sets} {uses} {uses}) \
         (func $f (param i32) (call $leaf (local.get 0)) (call $f (i32.add (local.get 0) (i32.const 1)))) \
         (func (export \"_start\") (call $f (i32.const 0))))",
        "v128 ".repeat(900)
    );
    guest(&text).fuel(1 << 40).ends(trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31c_a_guest_cannot_reach_the_count() {
    // Exports under the private names are the guest's own; the count has another.
    let squat = "(module (global (export \"symbolon:depth\") (mut i32) (i32.const -1)) \
        (func (export \"symbolon:start\") unreachable) (func (export \"_start\") unreachable))";
    guest(squat).ends(trapped(TrapKind::Unreachable));
    // The global behind the guest's last one is not there for it.
    let reach = wat::parse_str(
        "(module (global (mut i32) (i32.const 0)) (func (export \"_start\") (global.set 0 (i32.const 9))))",
    );
    let mut reach = reach.unwrap();
    let at = reach.windows(2).rposition(|two| two == [0x24, 0x00]).unwrap();
    reach[at + 1] = 1;
    super::bytes(reach).ends("refused: malformed");
}
