//! Guests that do what WebAssembly forbids: each kind of trap, by name.

use super::guest;
use crate::guest::{start, trapped};
use symbolon_executor::TrapKind;
use symbolon_primitives::Level;

fn body(body: &str, kind: TrapKind) {
    let report = guest(&start(body)).ends(trapped(kind));
    assert!(report.stdout.is_empty());
}

fn table(body: &str, kind: TrapKind) {
    let text = format!(
        "(module (type $t (func)) (table 2 funcref) (elem (i32.const 0) $f) (elem $e func $f) (func $f (param i64)) \
         (func (export \"_start\") {body}))"
    );
    guest(&text).fuel(1 << 40).ends(trapped(kind));
}

#[test]
fn sym_31_trap_01_unreachable() {
    body("unreachable", TrapKind::Unreachable);
}

#[test]
fn sym_31_trap_02_memory_out_of_bounds() {
    body("(drop (i32.load (i32.const 65533)))", TrapKind::MemoryOutOfBounds);
    body("(drop (i32.load8_u offset=0xffffffff (i32.const 0xffffffff)))", TrapKind::MemoryOutOfBounds);
    body("(i32.store8 (i32.const -1) (i32.const 0))", TrapKind::MemoryOutOfBounds);
}

#[test]
fn sym_31_trap_03_table_out_of_bounds() {
    table("(drop (table.get (i32.const 2)))", TrapKind::TableOutOfBounds);
    table("(table.set (i32.const -1) (ref.null func))", TrapKind::TableOutOfBounds);
    table("(call_indirect (type $t) (i32.const 2))", TrapKind::TableOutOfBounds);
    table("(table.init $e (i32.const 1) (i32.const 0) (i32.const 2))", TrapKind::TableOutOfBounds);
    table("(table.copy (i32.const 1) (i32.const 0) (i32.const -1))", TrapKind::TableOutOfBounds);
    table("(table.fill (i32.const 2) (ref.null func) (i32.const 1))", TrapKind::TableOutOfBounds);
}

#[test]
fn sym_31_trap_04_indirect_call_to_null() {
    table("(call_indirect (type $t) (i32.const 1))", TrapKind::IndirectCallToNull);
}

#[test]
fn sym_31_trap_05_indirect_call_with_another_signature() {
    table("(call_indirect (type $t) (i32.const 0))", TrapKind::BadSignature);
}

#[test]
fn sym_31_trap_06_integer_overflow() {
    body("(drop (i32.div_s (i32.const 0x80000000) (i32.sub (local.get $i) (i32.const 1))))", TrapKind::IntegerOverflow);
    body(
        "(drop (i64.div_s (i64.const 0x8000000000000000) (i64.sub (local.get $l) (i64.const 1))))",
        TrapKind::IntegerOverflow,
    );
    body("(drop (i32.trunc_f64_s (f64.const 1e10)))", TrapKind::IntegerOverflow);
    body("(drop (i64.trunc_f32_u (f32.const inf)))", TrapKind::IntegerOverflow);
}

#[test]
fn sym_31_trap_07_division_by_zero() {
    for operator in ["div_s", "div_u", "rem_s", "rem_u"] {
        body(&format!("(drop (i32.{operator} (i32.const 1) (local.get $i)))"), TrapKind::IntegerDivisionByZero);
        body(&format!("(drop (i64.{operator} (i64.const 1) (local.get $l)))"), TrapKind::IntegerDivisionByZero);
    }
}

#[test]
fn sym_31_trap_08_bad_conversion_to_integer() {
    body("(drop (i32.trunc_f32_u (f32.const nan)))", TrapKind::BadConversionToInteger);
    body("(drop (i64.trunc_f64_s (f64.const -nan:0x123)))", TrapKind::BadConversionToInteger);
}

#[test]
fn sym_31_trap_09_null_reference() {
    body("(throw_ref (ref.null exn))", TrapKind::NullReference);
}

#[test]
fn sym_31c_trap_10_call_depth() {
    guest("(module (func $f (export \"_start\") (call $f)))").ends(trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31_trap_11_uncaught_exception() {
    let text = "(module (tag $e (param i32)) (func $f (throw $e (i32.const 1))) (func (export \"_start\") (call $f)))";
    guest(text).ends(trapped(TrapKind::UncaughtException));
}

#[test]
fn sym_31_trap_12_no_entry_point() {
    guest("(module (func (export \"main\")))").ends(trapped(TrapKind::NoEntry));
}

#[test]
fn sym_31_trap_13_initial_limits() {
    guest("(module (memory 257) (func (export \"_start\")))").ends(trapped(TrapKind::InitialLimits));
}

#[test]
fn sym_31_trap_14_exit_where_the_level_forbids_it() {
    let text = "(module (import \"wasi_unstable\" \"proc_exit\" (func $x (param i32))) \
        (func (export \"compute\") (param i32 i32) (call $x (i32.const 0))))";
    guest(text).edit(|unit| unit.level = Level::Compute).ends(trapped(TrapKind::Forbidden));
}

#[test]
fn sym_31_a_trap_leaves_what_was_printed_and_nothing_else() {
    let text = crate::guest::wasi(
        "(data (i32.const 0) \"f\") (data (i32.const 16) \"\\40\\00\\00\\00\\05\\00\\00\\00\") (data (i32.const 64) \"hello\")",
        "(call $ok (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
           (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 1000)))
         (call $ok (call $fd_write (i32.const 4) (i32.const 16) (i32.const 1) (i32.const 1000)))
         (call $ok (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 1000)))
         (drop (i32.load (i32.const -1)))",
    );
    let report = guest(&text).ends(trapped(TrapKind::MemoryOutOfBounds));
    assert_eq!(report.stdout, b"hello");
}
