//! Atomic operators on a memory that nobody shares (SYM-30): they do what plain ones do, and trap where those do not.

use crate::guest::{compile, engine, exited, refuse, run, run_body, start, trapped, unit};
use crate::matrix::engines;
use std::fmt::Write;
use symbolon_executor::{Cancel, Inputs, Outcome, Refused, TrapKind};

/// What memory holds, and what operators are given.
const OLD: [u64; 2] = [0xf1e2_d3c4_b5a6_9788, 0x0000_0000_0000_00ff];
const GIVEN: [u64; 3] = [0x1122_3344_5566_77ff, 0xffff_ffff_ffff_ff88, 0xf1e2_d3c4_b5a6_9788];

/// What an operator makes of what memory holds and what it is given.
type Change = fn(u64, u64) -> u64;

/// Every operator that changes memory, with its width in bytes and what it makes of two values.
fn operators() -> Vec<(String, &'static str, u32, Change)> {
    let mut all = Vec::new();
    for (ty, own, narrow) in [("i32", 4, &[1, 2][..]), ("i64", 8, &[1, 2, 4])] {
        let ops: [(&str, Change); 6] = [
            ("add", u64::wrapping_add),
            ("sub", u64::wrapping_sub),
            ("and", |a, b| a & b),
            ("or", |a, b| a | b),
            ("xor", |a, b| a ^ b),
            ("xchg", |_, b| b),
        ];
        for (name, op) in ops {
            all.push((format!("{ty}.atomic.rmw.{name}"), ty, own, op));
            for bytes in narrow {
                all.push((format!("{ty}.atomic.rmw{}.{name}_u", bytes * 8), ty, *bytes, op));
            }
        }
    }
    all
}

fn cut(value: u64, bytes: u32) -> u64 {
    if bytes == 8 { value } else { value & ((1 << (bytes * 8)) - 1) }
}

/// A guest that is told what to expect, and traps where it is not so.
fn expecting(body: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1)
          (func $is (param i64 i64) (if (i64.ne (local.get 0) (local.get 1)) (then unreachable)))
          (func (export "_start") (local $i i32) {body}))"#
    )
}

/// A value as an operand of a type.
fn operand(ty: &str, value: u64) -> String {
    format!("({ty}.const {})", if ty == "i32" { value & 0xffff_ffff } else { value })
}

fn widen(ty: &str, text: &str) -> String {
    if ty == "i32" { format!("(i64.extend_i32_u {text})") } else { text.to_owned() }
}

#[test]
fn sym_30_atomics_on_an_unshared_memory_do_what_plain_operators_do() {
    let mut body = String::new();
    let mut checks = 0;
    let mut expect = |body: &mut String, what: &str, value: u64| {
        write!(body, "(call $is {what} (i64.const {value}))").unwrap();
        checks += 1;
    };
    for (name, ty, bytes, op) in operators() {
        for old in OLD {
            for given in GIVEN {
                write!(body, "(i64.store (i32.const 24) (i64.const {old}))").unwrap();
                let call = format!("({name} offset=8 (i32.const 16) {})", operand(ty, given));
                expect(&mut body, &widen(ty, &call), cut(old, bytes));
                let new = cut(op(old, given), bytes) | if bytes == 8 { 0 } else { old >> (bytes * 8) << (bytes * 8) };
                expect(&mut body, "(i64.load (i32.const 24))", new);
            }
        }
    }
    for (ty, suffix, bytes) in [
        ("i32", "", 4),
        ("i64", "", 8),
        ("i32", "8", 1),
        ("i32", "16", 2),
        ("i64", "8", 1),
        ("i64", "16", 2),
        ("i64", "32", 4),
    ] {
        let u = if suffix.is_empty() { "" } else { "_u" };
        for old in OLD {
            // Loads, and stores beside what stays.
            write!(body, "(i64.store (i32.const 24) (i64.const {old}))").unwrap();
            let load = format!("({ty}.atomic.load{suffix}{u} (i32.const 24))");
            expect(&mut body, &widen(ty, &load), cut(old, bytes));
            write!(body, "({ty}.atomic.store{suffix} (i32.const 24) {})", operand(ty, GIVEN[0])).unwrap();
            let high = if bytes == 8 { 0 } else { old >> (bytes * 8) << (bytes * 8) };
            expect(&mut body, "(i64.load (i32.const 24))", cut(GIVEN[0], bytes) | high);
            // Exchanged when it is what was expected, of which the low bits count.
            for expected in [old, GIVEN[1], old ^ 1] {
                write!(body, "(i64.store (i32.const 24) (i64.const {old}))").unwrap();
                let call = format!(
                    "({ty}.atomic.rmw{suffix}.cmpxchg{u} (i32.const 24) {} {})",
                    operand(ty, expected),
                    operand(ty, GIVEN[0])
                );
                expect(&mut body, &widen(ty, &call), cut(old, bytes));
                let same = cut(old, bytes) == cut(expected, bytes);
                expect(&mut body, "(i64.load (i32.const 24))", if same { cut(GIVEN[0], bytes) | high } else { old });
            }
        }
    }
    body.push_str("(atomic.fence)");
    expect(&mut body, "(i64.extend_i32_u (memory.atomic.notify (i32.const 24) (i32.const 9)))", 0);
    eprintln!("{checks} checks");
    let text = wat::parse_str(expecting(&body)).unwrap();
    let mut first = None;
    for (name, engine) in engines() {
        let module = engine.compile(&text).unwrap();
        let run = engine.run(&module, &unit(), &Inputs::new(), &Cancel::new()).unwrap();
        assert_eq!(run.outcome, exited(0), "{name}");
        assert_eq!(first.get_or_insert(run.fuel), &run.fuel, "{name}");
    }
}

#[test]
fn sym_30_atomics_trap_where_they_are_not_aligned_or_wait() {
    let unaligned = trapped(TrapKind::UnalignedAtomic);
    for (name, ty, bytes, _) in operators() {
        // The address, or the offset, or both: what counts is the sum.
        for (address, offset) in [(1, 0), (0, 1), (bytes - 1, bytes), (2 * bytes - 1, 2)] {
            let body = format!("(drop ({name} offset={offset} (i32.const {address}) ({ty}.const 1)))");
            let aligned = (address + offset) % bytes == 0;
            let end = if aligned { exited(0) } else { unaligned };
            assert_eq!(run_body(&body).outcome, end, "{name} {address} {offset}");
        }
        let body = format!("(drop ({name} (i32.const 65536) ({ty}.const 1)))");
        assert_eq!(run_body(&body).outcome, trapped(TrapKind::MemoryOutOfBounds), "{name}");
    }
    for (body, end) in [
        ("(drop (i32.atomic.load offset=3 (i32.const 1)))", exited(0)),
        ("(drop (i64.atomic.load (i32.const 4)))", unaligned),
        ("(i32.atomic.store16 (i32.const 65535) (i32.const 1))", unaligned),
        ("(i64.atomic.store32 (i32.const -4) (i64.const 1))", trapped(TrapKind::MemoryOutOfBounds)),
        ("(drop (i64.atomic.rmw.cmpxchg (i32.const 4) (i64.const 0) (i64.const 0)))", unaligned),
        ("(drop (memory.atomic.notify (i32.const 2) (i32.const 1)))", unaligned),
        ("(drop (memory.atomic.notify (i32.const 65536) (i32.const 1)))", trapped(TrapKind::MemoryOutOfBounds)),
        ("(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))", trapped(TrapKind::AtomicWait)),
        ("(drop (memory.atomic.wait64 (i32.const 0) (i64.const 0) (i64.const 5)))", trapped(TrapKind::AtomicWait)),
        // Never reached, and typed like all that is never reached.
        ("(block (br 0) (drop (i64.atomic.rmw8.cmpxchg_u)))", exited(0)),
    ] {
        assert_eq!(run_body(body).outcome, end, "{body}");
    }
    // In a function that is counted, catches, and is not the first to be called.
    let text = r#"(module (memory 1) (tag $t)
      (func $deep (param i32)
        (block $out (try_table (catch_all $out)
          (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else (throw $t)))))
        (drop (i32.atomic.rmw.add (i32.const 2) (i32.const 1))))
      (func (export "_start") (call $deep (i32.const 5))))"#;
    assert_eq!(run(text, &unit()).outcome, unaligned);
}

#[test]
fn sym_30_a_memory_to_be_shared_is_refused_by_name() {
    let shared = Refused::Feature { feature: "shared memory" };
    assert_eq!(refuse("(module (memory 1 2 shared))"), shared);
    assert_eq!(refuse("(module (import \"env\" \"memory\" (memory 1 2 shared)))"), shared);
    assert_eq!(refuse("(module (memory 1) (memory 1 2 shared))"), shared);
}

#[test]
fn sym_30_atomics_of_several_memories_go_where_they_should() {
    let text = r#"(module (memory $a 1) (memory $b 1)
      (func (export "_start")
        (drop (i32.atomic.rmw.add $b offset=4 (i32.const 0) (i32.const 7)))
        (i64.atomic.store8 $b (i32.const 9) (i64.const 3))
        (if (i32.or (i32.load $a (i32.const 4)) (i32.ne (i32.load $b (i32.const 4)) (i32.const 7))) (then unreachable))
        (if (i32.ne (i32.load8_u $b (i32.const 9)) (i32.const 3)) (then unreachable))))"#;
    assert_eq!(run(text, &unit()).outcome, exited(0));
}

#[test]
fn sym_30_custom_sections_do_not_count_as_the_module() {
    let whole = wat::parse_str(start("")).unwrap();
    let custom = |len: usize| {
        let mut bytes = whole.clone();
        bytes.extend([0, 0x80 | (len & 0x7f) as u8, 0x80 | (len >> 7 & 0x7f) as u8]);
        bytes.extend([0x80 | (len >> 14 & 0x7f) as u8, (len >> 21) as u8]);
        bytes.extend(std::iter::repeat_n(0, len));
        bytes
    };
    // Longer than a module may be, and nearly all of it names.
    let module = engine().compile(&custom(70 << 20)).unwrap();
    let run = engine().run(&module, &unit(), &Inputs::new(), &Cancel::new()).unwrap();
    assert_eq!((run.outcome, run.fuel), {
        let plain = engine().run(&compile(&start("")), &unit(), &Inputs::new(), &Cancel::new()).unwrap();
        (Outcome::Exited { code: 0 }, plain.fuel)
    });
}
