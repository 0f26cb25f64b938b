//! SYM-32: `wasi_unstable` and `wasi_snapshot_preview1`, two interfaces of one world.

use crate::guest::{compile, engine, exited, refuse, run, unit, wasi, wasi_unstable};
use symbolon_executor::{Cancel, Inputs, Refused};

const UNSTABLE: &str = include_str!("fixtures/unstable.wat");
const PREVIEW1: &str = include_str!("fixtures/preview1.wat");

#[test]
fn sym_32_each_interface_has_its_own_layouts() {
    for (name, text) in [("unstable", UNSTABLE), ("preview1", PREVIEW1)] {
        let run = run(text, &unit());
        assert_eq!(run.outcome, exited(0), "{name}");
        assert_eq!(run.outputs[&b"g"[..]], b"hello world", "{name}");
        assert!(run.virtual_time_ns > 3_600_000_000_000 && run.virtual_time_ns < 3_600_010_000_000, "{name}");
    }
}

#[test]
fn sym_32_a_guest_built_for_one_interface_fails_under_the_other() {
    // It seeks from another place than it asks for, and sees that.
    for (text, from, to, check) in [
        (UNSTABLE, "wasi_unstable", "wasi_snapshot_preview1", 106),
        (PREVIEW1, "wasi_snapshot_preview1", "wasi_unstable", 103),
    ] {
        assert_eq!(run(&text.replace(from, to), &unit()).outcome, exited(check), "{to}");
    }
}

#[test]
fn sym_32_every_call_is_in_both_interfaces_but_one() {
    let text = wasi("", "(call $ok (call $sched_yield))").replace("wasi_snapshot_preview1", "wasi_unstable");
    let refused = refuse(&text);
    let unknown = Refused::UnknownImport { module: "wasi_unstable".into(), name: "sock_accept".into() };
    assert_eq!(refused, unknown);
    let without = wasi_unstable("", "(call $ok (call $sched_yield))");
    assert_eq!(run(&without, &unit()).outcome, exited(0));
    assert_eq!(without.matches("(import \"wasi_unstable\"").count(), 45);
}

#[test]
fn sym_32_a_guest_may_mix_the_interfaces_call_by_call() {
    // One descriptor, sought from its end through both.
    let text = r#"(module
      (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_seek" (func $new (param i32 i64 i32 i32) (result i32)))
      (import "wasi_unstable" "fd_seek" (func $old (param i32 i64 i32 i32) (result i32)))
      (import "wasi_unstable" "fd_allocate" (func $allocate (param i32 i64 i64) (result i32)))
      (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (data (i32.const 0) "f")
      (func $ok (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
      (func (export "_start")
        (call $ok (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
          (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 8)))
        (call $ok (call $allocate (i32.const 4) (i64.const 0) (i64.const 10)))
        (call $ok (call $new (i32.const 4) (i64.const -3) (i32.const 2) (i32.const 16)))
        (if (i64.ne (i64.load (i32.const 16)) (i64.const 7)) (then unreachable))
        (call $ok (call $old (i32.const 4) (i64.const -4) (i32.const 1) (i32.const 16)))
        (if (i64.ne (i64.load (i32.const 16)) (i64.const 6)) (then unreachable))))"#;
    let module = compile(text);
    let run = engine().run(&module, &unit(), &Inputs::new(), &Cancel::new()).unwrap();
    assert_eq!(run.outcome, exited(0));
}
