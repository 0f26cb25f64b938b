//! SYM-30: which modules are taken, and by which name the others are refused.

use crate::guest::{engine, exited, refuse, run, trapped, unit};
use proptest::prelude::*;
use symbolon_executor::{Cancel, ExecutorError, Inputs, Refused, TrapKind};

#[test]
fn sym_30_what_the_profile_leaves_out_is_refused_by_name() {
    for (text, feature) in [
        ("(module (memory 1 1 shared))", "shared memory"),
        ("(module (memory i64 1))", "memory64"),
        ("(module (type (struct)))", "gc types"),
        ("(module (type (array i8)))", "gc types"),
        ("(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))", "function references"),
        ("(module (memory 1 (pagesize 1)))", "custom page sizes"),
        (
            "(module (func (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))) drop))",
            "wide arithmetic",
        ),
        ("(module (tag $e) (func try catch $e end))", "legacy exceptions"),
        ("(component)", "the component model"),
    ] {
        assert_eq!(refuse(text), Refused::Feature { feature }, "{text}");
    }
    assert!(matches!(engine().compile(b"nothing"), Err(Refused::Malformed { .. })));
    assert!(matches!(engine().compile(b"\0asm\x01\0\0\0\x01\x01"), Err(Refused::Malformed { .. })));
    let invalid = wat::parse_str("(module (func (result i32)))").unwrap();
    assert!(matches!(engine().compile(&invalid), Err(Refused::Malformed { .. })));
}

#[test]
fn sym_30_exception_references_may_not_be_stored() {
    let refused = refuse("(module (table 1 exnref))");
    assert_eq!(refused, Refused::StoredException { place: "table" });
    let refused = refuse("(module (global (mut exnref) (ref.null exn)))");
    assert_eq!(refused, Refused::StoredException { place: "global" });
}

#[test]
fn sym_30_only_functions_of_the_interface_can_be_imported() {
    let refused = refuse(r#"(module (import "env" "f" (func)))"#);
    assert!(matches!(refused, Refused::UnknownImport { .. }), "{refused}");
    let refused = refuse(r#"(module (import "wasi_snapshot_preview1" "fd_dup" (func)))"#);
    assert!(matches!(refused, Refused::UnknownImport { .. }), "{refused}");
    let refused = refuse(r#"(module (import "env" "memory" (memory 1)))"#);
    assert!(matches!(refused, Refused::ImportKind { .. }), "{refused}");
    let refused = refuse(r#"(module (import "wasi_snapshot_preview1" "fd_close" (func (param i64) (result i32))))"#);
    assert!(matches!(refused, Refused::ImportSignature { .. }), "{refused}");
    let refused = refuse(r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32) (result i32))))"#);
    assert!(matches!(refused, Refused::ImportSignature { .. }), "{refused}");
}

#[test]
fn sym_30_counts_and_sizes_are_bounded() {
    let many = |what: &str, n: usize| format!("(module {})", what.repeat(n));
    for (text, what) in [
        (many("(memory 1)", 9), "memories"),
        (many("(table 1 funcref)", 17), "tables"),
        (many("(tag)", 1001), "tags"),
        ("(module (table 2000000 funcref))".to_owned(), "table elements"),
        (format!("(module (func {}))", "(local i32)".repeat(20_001)), "locals"),
        (format!("(module (func (param {})))", "i32 ".repeat(257)), "parameters or results"),
        (format!("(module (func {}))", "nop ".repeat((1 << 20) + 1)), "bytes of a function"),
    ] {
        let (Refused::TooMany { what: found, .. } | Refused::Function { what: found, .. }) = refuse(&text) else {
            panic!("{what}: {}", refuse(&text));
        };
        assert_eq!(found, what);
    }
    let huge = vec![0u8; (256 << 20) + 1];
    assert!(matches!(engine().compile(&huge), Err(Refused::TooLarge { .. })));
}

#[test]
fn sym_30_what_compilers_emit_is_taken() {
    let text = r#"(module
      (memory (export "memory") 1) (memory 1)
      (global i32 (i32.add (i32.const 40) (i32.const 2)))
      (table 1 externref)
      (func $tail (return_call $tail2)) (func $tail2)
      (func $many (result i32 f64 v128) (i32.const 1) (f64.const 2) (v128.const i64x2 1 2))
      (func (export "_start") (call $tail) (call $many) drop drop drop
        (drop (i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 1 2 3 4)))))"#;
    assert_eq!(run(text, &unit()).outcome, exited(0));
}

#[test]
fn sym_35_a_module_without_its_entry_traps() {
    let mut compute = unit();
    compute.level = symbolon_primitives::Level::Compute;
    let command = "(module (func (export \"_start\")))";
    assert_eq!(run("(module)", &unit()).outcome, trapped(TrapKind::NoEntry));
    assert_eq!(run(command, &compute).outcome, trapped(TrapKind::NoEntry));
    let odd = "(module (func (export \"_start\") (param i32)))";
    assert_eq!(run(odd, &unit()).outcome, trapped(TrapKind::NoEntry));
}

const SEEDS: [&[u8]; 6] = [
    include_bytes!("../../vectors/arithmetic.wasm"),
    include_bytes!("../../vectors/calls.wasm"),
    include_bytes!("../../vectors/memory.wasm"),
    include_bytes!("../../vectors/vectors.wasm"),
    include_bytes!("../../vectors/exceptions.wasm"),
    include_bytes!("../../vectors/world.wasm"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// What validates is compiled: the instrumented copy of a valid module is valid.
    /// What is compiled has an outcome or is stopped, and never harms the host.
    #[test]
    fn n1_w6_mangled_modules_are_refused_or_run(
        seed in 0usize..6,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::weighted(0.1, any::<proptest::sample::Index>()),
    ) {
        let mut bytes = SEEDS[seed].to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match engine().compile(&bytes) {
            Err(refused) => prop_assert_ne!(refused, Refused::Compiler),
            Ok(module) => {
                let mut unit = unit();
                unit.max_fuel = 200_000;
                let run = || engine().run(&module, &unit, &Inputs::new(), &Cancel::new());
                match run() {
                    Ok(first) => prop_assert_eq!(first, run().unwrap()),
                    Err(error) => prop_assert!(matches!(error, ExecutorError::ExceptionHeap), "{error:?}"),
                }
            }
        }
    }
}
