//! SYM-31: how runs end, what they cost, and what is no outcome.

use crate::guest::{compile, engine, exited, run, run_body, start, trapped, try_run, unit, wasi};
use std::time::Duration;
use symbolon_executor::{Cancel, Engine, ExecutorError, Inputs, Outcome, Profile, TrapKind};
use symbolon_primitives::Workunit;

#[test]
fn sym_31_every_trap_has_its_kind_and_costs_the_maximum() {
    for (body, kind) in [
        ("unreachable", TrapKind::Unreachable),
        ("(drop (i32.load (i32.const 65536)))", TrapKind::MemoryOutOfBounds),
        ("(drop (i32.load offset=0xfffffff0 (i32.const 0xfffffff0)))", TrapKind::MemoryOutOfBounds),
        ("(drop (i32.div_s (i32.const 1) (local.get $i)))", TrapKind::IntegerDivisionByZero),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.sub (local.get $i) (i32.const 1))))", TrapKind::IntegerOverflow),
        ("(drop (i32.trunc_f64_s (f64.const nan)))", TrapKind::BadConversionToInteger),
        ("(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7))", TrapKind::MemoryOutOfBounds),
    ] {
        let run = run_body(body);
        assert_eq!(run.outcome, trapped(kind), "{body}");
        assert_eq!(run.fuel, unit().max_fuel);
    }
    let table = |body: &str| {
        format!(
            "(module (type $t (func)) (table 2 funcref) (elem (i32.const 0) $f) (func $f (param i64)) \
             (func (export \"_start\") {body}))"
        )
    };
    for (body, kind) in [
        ("(call_indirect (type $t) (i32.const 0))", TrapKind::BadSignature),
        ("(call_indirect (type $t) (i32.const 1))", TrapKind::IndirectCallToNull),
        ("(call_indirect (type $t) (i32.const 2))", TrapKind::TableOutOfBounds),
        ("(table.set (i32.const 9) (ref.null func))", TrapKind::TableOutOfBounds),
    ] {
        assert_eq!(run(&table(body), &unit()).outcome, trapped(kind), "{body}");
    }
    let thrown = "(module (tag $e) (func (export \"_start\") (throw $e)))";
    assert_eq!(run(thrown, &unit()).outcome, trapped(TrapKind::UncaughtException));
    // Before the first instruction too.
    let segment = "(module (memory 1) (data (i32.const 65530) \"1234567\") (func (export \"_start\")))";
    assert_eq!(run(segment, &unit()).outcome, trapped(TrapKind::MemoryOutOfBounds));
    let segment = "(module (table 1 funcref) (elem (i32.const 1) $f) (func $f (export \"_start\")))";
    assert_eq!(run(segment, &unit()).outcome, trapped(TrapKind::TableOutOfBounds));
    let started = "(module (func $s unreachable) (start $s) (func (export \"_start\")))";
    assert_eq!(run(started, &unit()).outcome, trapped(TrapKind::Unreachable));
}

#[test]
fn sym_31_exits_tell_their_code_and_fuel() {
    let run = run(&wasi("", "(call $proc_exit (i32.const 0xdeadbeef))"), &unit());
    assert_eq!(run.outcome, exited(0xdead_beef));
    let returned = run_body("");
    assert_eq!(returned.outcome, exited(0));
    // One page of memory at the start is 8192 units.
    assert!((8192..8300).contains(&returned.fuel), "{}", returned.fuel);
    let busy = run_body(
        "(loop (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 1000))))",
    );
    assert!(busy.fuel > returned.fuel + 5000);
}

#[test]
fn sym_31_a_run_with_nothing_left_is_out_of_fuel_however_it_ended() {
    let text = wasi(
        "(data (i32.const 0) \"\\10\\00\\00\\00\\05\\00\\00\\00\") (data (i32.const 16) \"hello\")",
        "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
    );
    let need = run(&text, &unit()).fuel;
    let at = |max_fuel| {
        let mut unit = unit();
        unit.max_fuel = max_fuel;
        run(&text, &unit)
    };
    let enough = at(need + 1);
    assert_eq!((enough.outcome, enough.fuel), (exited(0), need));
    assert_eq!(enough.stdout, b"hello");
    for less in [need, need - 1, need - 50, need / 2, 1] {
        let dry = at(less);
        assert_eq!((dry.outcome, dry.fuel), (Outcome::OutOfFuel, less));
        assert!(dry.outputs.is_empty());
    }
}

#[test]
fn sym_31_endless_loops_and_recursion_run_dry_or_trap() {
    let spin = run_body("(loop (br 0))");
    assert_eq!((spin.outcome, spin.fuel), (Outcome::OutOfFuel, unit().max_fuel));
    let copy = run_body("(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))");
    assert_eq!(copy.outcome, Outcome::OutOfFuel);
    // A host call in a loop pays as well.
    let random = run(&wasi("", "(loop (drop (call $random_get (i32.const 0) (i32.const 65536))) (br 0))"), &unit());
    assert_eq!(random.outcome, Outcome::OutOfFuel);
}

#[test]
fn sym_31c_call_depth_is_a_trap_of_its_own_and_the_same_everywhere() {
    let text = "(module (memory (export \"memory\") 1) (func $f (param i32) (result i32) \
        (i32.store (i32.const 0) (local.get 0)) (i32.add (i32.const 1) (call $f (i32.add (local.get 0) (i32.const 1))))) \
        (func (export \"_start\") (drop (call $f (i32.const 0)))))";
    let deep = run(text, &unit());
    assert_eq!(deep.outcome, trapped(TrapKind::CallDepth));
    // Mutual and indirect recursion, and through a start function.
    let indirect = "(module (type $t (func)) (table 1 funcref) (elem (i32.const 0) $f) \
        (func $f (call_indirect (type $t) (i32.const 0))) (func (export \"_start\") (call $f)))";
    assert_eq!(run(indirect, &unit()).outcome, trapped(TrapKind::CallDepth));
    let started = "(module (func $f (call $f)) (start $f) (func (export \"_start\")))";
    assert_eq!(run(started, &unit()).outcome, trapped(TrapKind::CallDepth));
    // A guest that exports the engine's private names gains nothing.
    let squat = "(module (global (export \"symbolon:depth\") (mut i32) (i32.const -1)) \
        (func (export \"symbolon:start\") unreachable) (func (export \"_start\") unreachable))";
    assert_eq!(run(squat, &unit()).outcome, trapped(TrapKind::Unreachable));
}

/// A function that holds `n` values across its recursive call, and how deep it may go.
fn heavy(n: usize, ty: &str, make: &str, drop: &str) -> String {
    let locals = format!("(local {})", format!("{ty} ").repeat(n));
    let sets: String = (1..=n).map(|i| format!("(local.set {i} ({make}))")).collect();
    let uses: String = (1..=n).map(|i| format!("({drop} (local.get {i}))")).collect();
    format!(
        "(module (memory (export \"memory\") 1) (global $g (mut {ty}) ({ty0})) \
         (func $f (param i32) {locals} {sets} (call $f (i32.add (local.get 0) (i32.const 1))) {uses}) \
         (func (export \"_start\") (call $f (i32.const 0))))",
        ty0 = if ty == "v128" { "v128.const i64x2 0 0" } else { "i64.const 0" },
    )
}

#[test]
fn sym_31c_the_depth_ends_before_the_native_stack() {
    let mut unit = unit();
    unit.max_fuel = 10_000_000_000;
    for text in [
        heavy(400, "i64", "i64.add (global.get $g) (i64.extend_i32_u (local.get 0))", "global.set $g"),
        heavy(2000, "v128", "v128.xor (global.get $g) (i32x4.splat (local.get 0))", "global.set $g"),
        heavy(10, "i64", "i64.add (global.get $g) (i64.extend_i32_u (local.get 0))", "global.set $g"),
    ] {
        assert_eq!(run(&text, &unit).outcome, trapped(TrapKind::CallDepth));
    }
    // Values that only the optimiser keeps: the same expressions on both sides of the
    // call, with no locals and a low operand stack.
    let expressions: String = (1..=1000)
        .map(|i| {
            format!(
                "(global.set $g (i64.xor (global.get $g) (i64.mul (local.get 0) (i64.const {}))))",
                i * 2_654_435_761u64
            )
        })
        .collect();
    let hidden = format!(
        "(module (global $g (mut i64) (i64.const 0)) (func $f (param i64) {expressions} \
         (call $f (i64.add (local.get 0) (i64.const 1))) {expressions}) (func (export \"_start\") (call $f (i64.const 1))))"
    );
    assert_eq!(run(&hidden, &unit).outcome, trapped(TrapKind::CallDepth));
    // Many arguments and results on the stack.
    let wide = format!(
        "(module (func $f (param {p}) (result {p}) {gets} (call $f)) (func (export \"_start\") {consts} (call $f) {drops}))",
        p = "i64 ".repeat(200),
        gets = (0..200).map(|i| format!("(local.get {i})")).collect::<String>(),
        consts = "(i64.const 1)".repeat(200),
        drops = "drop ".repeat(200),
    );
    assert_eq!(run(&wide, &unit).outcome, trapped(TrapKind::CallDepth));
}

#[test]
fn sym_31c_depth_is_given_back_by_every_way_out() {
    // Far more calls than the depth allows, each leaving another way.
    for body in [
        "(return)",
        "(block (br 1))",
        "(block (block (br_table 0 1 2 (local.get 0))))",
        "(if (local.get 0) (then (return)) (else (br 1)))",
        "(return_call $leaf)",
        "(return_call_indirect (type $t) (i32.const 0))",
    ] {
        let text = format!(
            "(module (type $t (func)) (table 1 funcref) (elem (i32.const 0) $leaf) (func $leaf (call $leaf2)) (func $leaf2) \
             (func $f (param i32) (call $leaf) {body}) \
             (func (export \"_start\") (local $i i32) \
               (loop (call $f (i32.rem_u (local.get $i) (i32.const 4))) (local.set $i (i32.add (local.get $i) (i32.const 1))) \
                 (br_if 0 (i32.lt_u (local.get $i) (i32.const 300000))))))"
        );
        assert_eq!(run(&text, &unit()).outcome, exited(0), "{body}");
    }
    // Exceptions unwind frames that never gave back.
    let text = "(module (tag $e (param i32)) \
        (func $deep (param i32) (if (i32.eqz (local.get 0)) (then (throw $e (i32.const 1)))) (call $deep (i32.sub (local.get 0) (i32.const 1)))) \
        (func $try (result i32) (loop $l (result i32) (block $h (result i32) (try_table (catch $e $h) (call $deep (i32.const 50))) (i32.const 0)))) \
        (func $tail (result i32) (try_table (catch_all 0) (call $deep (i32.const 50))) (return_call $try)) \
        (func (export \"_start\") (local $i i32) \
          (loop (drop (call $try)) (block $c (try_table (catch_all $c) (call $deep (i32.const 9)))) \
            (local.set $i (i32.add (local.get $i) (i32.const 1))) \
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 9000))))))";
    let text = text.replace(
        "(func $tail (result i32) (try_table (catch_all 0) (call $deep (i32.const 50))) (return_call $try))",
        "",
    );
    let caught = run(&text, &unit());
    assert_eq!(caught.outcome, exited(0));
}

#[test]
fn sym_31c_memory_grows_to_the_limit_and_no_further() {
    // 16 MiB are 256 pages; how many were had is the exit code.
    let text = wasi(
        "",
        "(loop (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then (br 1)))) (call $proc_exit (memory.size))",
    );
    let bomb = run(&text, &unit());
    assert_eq!(bomb.outcome, exited(256));
    assert_eq!(bomb.peak_memory_bytes, 16 << 20);
    // All memories together.
    let two = wasi(
        "(memory $b 0)",
        "(loop (if (i32.ne (memory.grow $b (i32.const 1)) (i32.const -1)) (then (br 1)))) (call $proc_exit (memory.size $b))",
    );
    assert_eq!(run(&two, &unit()).outcome, exited(254));
    // The type's own maximum holds, and a failed growth does not count.
    let own = "(module (memory 1 3) (func (export \"_start\") \
        (if (i32.ne (memory.grow (i32.const 3)) (i32.const -1)) (then unreachable)) \
        (if (i32.ne (memory.grow (i32.const 2)) (i32.const 1)) (then unreachable))))";
    let own = run(own, &unit());
    assert_eq!((own.outcome, own.peak_memory_bytes), (exited(0), 3 << 16));
    let huge = "(module (memory 257) (func (export \"_start\")))";
    assert_eq!(run(huge, &unit()).outcome, trapped(TrapKind::InitialLimits));
    let tables = "(module (table 1 funcref) (func (export \"_start\") \
        (if (i32.ne (table.grow (ref.null func) (i32.const 1048576)) (i32.const -1)) (then unreachable)) \
        (if (i32.ne (table.grow (ref.null func) (i32.const 1048575)) (i32.const 1)) (then unreachable))))";
    assert_eq!(run(tables, &unit()).outcome, exited(0));
}

#[test]
fn sym_31_what_the_host_runs_out_of_is_no_outcome() {
    let mut long = unit();
    long.max_fuel = 1 << 60;
    let spin = compile(&start("(loop (br 0))"));
    let limit = Duration::from_millis(50);
    let error = engine().run(&spin, &long, &Inputs::new(), &Cancel::after(limit)).unwrap_err();
    assert!(matches!(error, ExecutorError::WallClock { .. }), "{error}");

    let cancel = Cancel::new();
    let token = cancel.clone();
    let error = std::thread::scope(|scope| {
        let run = scope.spawn(|| engine().run(&spin, &long, &Inputs::new(), &cancel));
        token.cancel();
        run.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, ExecutorError::Cancelled), "{error}");

    // Exceptions beyond what the host keeps for them.
    let throw = "(module (tag $e (param i64 i64)) (func $t (throw $e (i64.const 1) (i64.const 2))) \
        (func (export \"_start\") (loop $again (block $h (result i64 i64) (try_table (catch $e $h) (call $t)) (unreachable)) drop drop (br $again))))";
    let error = try_run(throw, &long).unwrap_err();
    assert!(matches!(error, ExecutorError::ExceptionHeap), "{error:?}");
}

#[test]
fn sym_31_runs_that_do_not_fit_this_host_are_not_started() {
    let engine = Engine::with_memory_budget(Profile::V1, 10 << 20).unwrap();
    let module = engine.compile(&wat::parse_str(start("")).unwrap()).unwrap();
    let error = engine.run(&module, &unit(), &Inputs::new(), &Cancel::new()).unwrap_err();
    assert!(matches!(error, ExecutorError::NoRoom { held: 0, .. }), "{error}");
    let mut small = unit();
    small.limits.memory_bytes = 10 << 20;
    for _ in 0..3 {
        engine.run(&module, &small, &Inputs::new(), &Cancel::new()).unwrap();
    }
}

#[test]
fn sym_31_workunits_beyond_the_profile_are_refused() {
    let module = compile(&start(""));
    let edits: [fn(&mut symbolon_primitives::Workunit); 5] = [
        |u| u.limits.memory_bytes = (2 << 30) + 1,
        |u| u.limits.output_bytes = u64::MAX,
        |u| u.limits.files = u32::MAX,
        |u| u.max_fuel = u64::MAX,
        |u| u.max_fuel = 0,
    ];
    for edit in edits {
        let mut unit = unit();
        edit(&mut unit);
        let error = engine().run(&module, &unit, &Inputs::new(), &Cancel::new()).unwrap_err();
        assert!(matches!(error, ExecutorError::Profile(_)), "{error}");
    }
}

#[test]
fn sym_30_nans_have_one_form() {
    // Every way to a NaN gives the canonical bits, whatever payload went in.
    let text = wasi(
        "(data (i32.const 0) \"\\10\\00\\00\\00\\10\\00\\00\\00\")",
        "(i64.store (i32.const 16) (i64.reinterpret_f64 (f64.add (f64.reinterpret_i64 (i64.const 0xfff0000000000001)) (f64.const 1)))) \
         (i32.store (i32.const 24) (i32.reinterpret_f32 (f32.sqrt (f32.const -1)))) \
         (i32.store (i32.const 28) (i32.reinterpret_f32 (f32.demote_f64 (f64.reinterpret_i64 (i64.const 0xfff8000000012345))))) \
         (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))",
    );
    let run = run(&text, &unit());
    assert_eq!(&run.stdout[..8], &0x7ff8_0000_0000_0000_u64.to_le_bytes());
    assert_eq!(&run.stdout[8..12], &0x7fc0_0000_u32.to_le_bytes());
    assert_eq!(&run.stdout[12..], &0x7fc0_0000_u32.to_le_bytes());
}

/// Host calls set what fuel is left, and with it the engine's count of the slice: they have to look themselves.
#[test]
fn n4_a_guest_that_only_calls_the_host_is_ended_too() {
    let body = "(loop $on (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 8))) (br $on))";
    let unit = Workunit { max_fuel: 50_000_000_000, ..unit() };
    let patience = Cancel::after(Duration::from_millis(100));
    let error = engine().run(&compile(&wasi("", body)), &unit, &Inputs::new(), &patience).unwrap_err();
    assert!(matches!(error, ExecutorError::WallClock { .. }), "{error}");
}
