//! W1 on NaNs: computed ones are canonical wherever they can be seen, moved ones keep every bit.
//!
//! The executor makes them canonical only where somebody looks. What it is held to does so behind every operator: the
//! same engine bare, with its own switch for that, and without the executor's pass over the module. Both must leave
//! the same bytes, on every kind of engine; first every operator before every way of looking, then functions that
//! nobody wrote, in which values go through locals, blocks, calls and exceptions.

use crate::matrix::engines;
use crate::random::{first_seed, number};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::fmt::Write;
use symbolon_executor::{Cancel, Engine, Inputs, Outcome};
use symbolon_primitives::{Limits, Workunit};
use wasmtime::{Collector, Config, Linker, Module, Store};

/// Where a guest leaves what it saw.
const OUT: usize = 65_536;

/// Values of both widths: numbers, and NaNs of each sign, quiet and signalling, with other payloads.
const DOUBLES: [u64; 12] = [
    0,
    0x8000_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0xc004_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0xfff8_0000_0000_0000,
    0x7ff8_0000_0000_0123,
    0xfffc_dead_beef_0001,
    0x7ff0_0000_0000_0001,
    0xfff4_5678_9abc_def0,
];
const SINGLES: [u32; 12] = [
    0,
    0x8000_0000,
    0x3fc0_0000,
    0xc020_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_0000,
    0x7fc0_0123,
    0xffe5_beef,
    0x7f80_0001,
    0xffa1_2345,
];

/// The first 96 bytes are the doubles, the next 48 the singles, then vectors of either.
fn table() -> String {
    let mut bytes: Vec<u8> = DOUBLES.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    bytes.extend(SINGLES.iter().flat_map(|bits| bits.to_le_bytes()));
    let mut text = String::from("(data (i32.const 0) \"");
    for byte in bytes {
        write!(text, "\\{byte:02x}").unwrap();
    }
    text + "\")"
}

/// A module that calls `$all`, and writes so many bytes from [`OUT`] on to standard output.
fn module(functions: &str, len: usize) -> Vec<u8> {
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  {}
  {functions}
  (func (export "_start")
    (call $all)
    (i32.store (i32.const 4096) (i32.const {OUT}))
    (i32.store (i32.const 4100) (i32.const {len}))
    (drop (call $fd_write (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 4104)))))"#,
        table()
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What the bare engine leaves that makes every NaN canonical at once.
fn eager(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut config = Config::new();
    config
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_exceptions(true)
        .collector(Collector::Null);
    let engine = wasmtime::Engine::new(&config).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("wasi_snapshot_preview1", "fd_write", |_: i32, _: i32, _: i32, _: i32| -> i32 { 0 }).unwrap();
    let module = Module::new(&engine, bytes).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    instance.get_typed_func::<(), ()>(&mut store, "_start").unwrap().call(&mut store, ()).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    memory.data(&store)[OUT..OUT + len].to_vec()
}

/// Runs a module on every engine, and compares what it leaves with what the bare engine does.
fn same_everywhere(name: &str, engines: &[(&str, Engine)], bytes: &[u8], len: usize) -> Vec<u8> {
    let expected = eager(bytes, len);
    let unit = Workunit {
        limits: Limits { memory_bytes: 16 << 20, output_bytes: 4 << 20, files: 4 },
        max_fuel: 1 << 40,
        ..crate::guest::unit()
    };
    let mut first = None;
    for (engine_name, engine) in engines {
        let compiled = engine.compile(bytes).unwrap_or_else(|refused| panic!("{name}: {refused}"));
        let run = engine.run(&compiled, &unit, &Inputs::new(), &Cancel::new()).unwrap();
        assert_eq!(run.outcome, Outcome::Exited { code: 0 }, "{name}, {engine_name}");
        if run.stdout != expected {
            let at = run.stdout.iter().zip(&expected).position(|(found, expected)| found != expected).unwrap();
            let at = at / 8 * 8;
            let (found, expected) = (&run.stdout[at..at + 8], &expected[at..at + 8]);
            panic!("{name}, {engine_name}: at {at} {found:02x?} instead of {expected:02x?}");
        }
        let expected = first.get_or_insert_with(|| run.clone());
        assert_eq!(&run, expected, "{name}, {engine_name}");
    }
    expected
}

/// Operators that compute, with `$a`, `$b` of a type and `$o` of the other.
fn operators(ty: &str) -> Vec<String> {
    let mut all: Vec<String> =
        ["add", "sub", "mul", "div", "min", "max"].map(|op| format!("local.get $a local.get $b {ty}.{op}")).to_vec();
    all.extend(["sqrt", "ceil", "floor", "trunc", "nearest"].map(|op| format!("local.get $a {ty}.{op}")));
    all.push(format!("local.get $o {ty}.{}", if ty == "f64" { "promote_f32" } else { "demote_f64" }));
    // What only moves bits: nothing may happen to them.
    all.push("local.get $a".to_owned());
    all.push(format!("local.get $a {ty}.neg"));
    all.push(format!("local.get $a local.get $b {ty}.copysign"));
    all
}

/// Ways of looking at a value, each of which stores one: `OP` computes it, `T` is its type, `I` the integers as wide.
const LOOKS: [&str; 39] = [
    "local.get $out OP T.store",
    "local.get $out OP I.reinterpret_T I.store",
    "local.get $out T.const 1 OP T.copysign T.store",
    "local.get $out OP local.get $b T.copysign T.store",
    "local.get $out OP T.neg local.get $b T.copysign T.store",
    "local.get $out OP T.neg T.store",
    "local.get $out OP T.abs T.store",
    "local.get $out OP T.neg T.neg T.store",
    "local.get $out OP T.neg T.abs T.neg T.store",
    "local.get $out OP call $id_T T.store",
    "local.get $out OP i32.const SLOT call_indirect (param T) (result T) T.store",
    "local.get $out local.get $a local.get $b local.get $o call $falls_K T.store",
    "local.get $out local.get $a local.get $b local.get $o call $returns_K T.store",
    "local.get $out local.get $a local.get $b local.get $o call $tail_K T.store",
    "OP global.set $g_T local.get $out global.get $g_T T.store",
    "local.get $out block (result T) OP br 0 end T.store",
    "local.get $out block (result T) OP i32.const 1 br_if 0 drop T.const 0 end T.store",
    "local.get $out block (result T) OP i32.const 0 br_if 0 end T.store",
    "local.get $out block (result T) block (result T) OP local.get $pa i32.const 1 i32.and br_table 0 1 end T.neg end T.store",
    "local.get $out block (result T) OP end T.store",
    "local.get $out local.get $pa if (result T) OP else local.get $b end T.store",
    "local.get $out OP loop (param T) (result T) T.neg end T.store",
    "OP local.set $t local.get $out local.get $t T.store",
    "local.get $out OP local.tee $t T.store local.get $out local.get $t T.store",
    "OP T.neg local.set $t local.get $out local.get $t T.store",
    // A local that holds what was loaded, or what was computed.
    "local.get $b local.set $t local.get $pa i32.const 8 i32.and if OP local.set $t end local.get $out local.get $t T.store",
    "local.get $b local.tee $t local.set $u local.get $pa i32.const 8 i32.and if OP local.set $u end local.get $out local.get $u T.store",
    "local.get $pa i32.const 8 i32.and if OP T.neg local.set $t else OP local.set $t end local.get $out local.get $t T.store",
    // Copied before it is known that the first holds what was loaded.
    "loop local.get $t local.set $u local.get $b local.set $t local.get $n i32.const 1 i32.add local.tee $n i32.const 2 i32.lt_u br_if 0 end OP drop local.get $out local.get $u T.store",
    "local.get $out OP local.get $b local.get $pa i32.const 8 i32.and select T.store",
    "local.get $out OP OP T.neg local.get $pa i32.const 8 i32.and select T.neg T.store",
    "local.get $out OP T.const 1 local.get $pa i32.const 8 i32.and select (result T) T.abs T.store",
    "local.get $out OP local.get $b local.get $pa select local.tee $t T.neg T.neg T.store local.get $t drop",
    "local.get $out block $h (result T) try_table (catch $e_T $h) OP throw $e_T end unreachable end T.store",
    "local.get $out OP LANES.splat LANES.extract_lane 1 T.store",
    "local.get $out v128.const i64x2 0 0 OP LANES.replace_lane 1 LANES.extract_lane 1 T.store",
    "local.get $out OP T.sqrt T.store",
    "local.get $out OP local.get $t T.add OP OP T.mul T.min local.tee $u T.neg T.store",
    // Numbers of the operand stack that lie below others.
    "local.get $out OP OP T.neg call $second_T T.store",
];

fn looks(ty: &str, functions: &mut String, calls: &mut String, slot: &mut usize) {
    let (other, int, lanes, size, id) =
        if ty == "f64" { ("f32", "i64", "f64x2", 8, 0) } else { ("f64", "i32", "f32x4", 4, 1) };
    let (at, other_at) = if ty == "f64" { (0, 96) } else { (96, 0) };
    for (number, op) in operators(ty).iter().enumerate() {
        let k = format!("{ty}_{number}");
        let inputs = format!("(param $a {ty}) (param $b {ty}) (param $o {other}) (result {ty})");
        writeln!(functions, "(func $falls_{k} {inputs} {op})").unwrap();
        writeln!(functions, "(func $returns_{k} {inputs} {op} return)").unwrap();
        writeln!(functions, "(func $tail_{k} {inputs} {op} return_call $id_{ty})").unwrap();
        for look in LOOKS {
            let body = look
                .replace("SLOT", &id.to_string())
                .replace("LANES", lanes)
                .replace("OP", op)
                .replace("_K", &format!("_{k}"))
                .replace('T', ty)
                .replace("I.", &format!("{int}."));
            writeln!(
                functions,
                "(func $look_{slot} (param $pa i32) (param $pb i32) (param $out i32)
                   (local $a {ty}) (local $b {ty}) (local $o {other}) (local $t {ty}) (local $u {ty}) (local $n i32)
                   (local.set $a ({ty}.load offset={at} (i32.mul (local.get $pa) (i32.const {size}))))
                   (local.set $b ({ty}.load offset={at} (i32.mul (local.get $pb) (i32.const {size}))))
                   (local.set $o ({other}.load offset={other_at} (i32.mul (local.get $pa) (i32.const {}))))
                   {body})",
                12 - size
            )
            .unwrap();
            writeln!(
                calls,
                "(call $look_{slot} (local.get $pa) (local.get $pb) (i32.add (local.get $out) (i32.const {})))",
                *slot * 8
            )
            .unwrap();
            *slot += 1;
        }
    }
}

/// Vector operators, each of which is stored.
fn vector_looks(functions: &mut String, calls: &mut String, slot: &mut usize) {
    let mut all = Vec::new();
    for lanes in ["f32x4", "f64x2"] {
        for op in ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax", "relaxed_min", "relaxed_max"] {
            all.push(format!("local.get $a local.get $b {lanes}.{op}"));
        }
        for op in ["sqrt", "ceil", "floor", "trunc", "nearest", "neg", "abs"] {
            all.push(format!("local.get $a {lanes}.{op}"));
        }
        for op in ["relaxed_madd", "relaxed_nmadd"] {
            all.push(format!("local.get $a local.get $b local.get $a {lanes}.{op}"));
        }
    }
    all.push("local.get $a f64x2.promote_low_f32x4".to_owned());
    all.push("local.get $a f32x4.demote_f64x2_zero".to_owned());
    for op in all {
        writeln!(
            functions,
            "(func $look_{slot} (param $pa i32) (param $pb i32) (param $out i32) (local $a v128) (local $b v128)
               (local.set $a (v128.load (i32.shl (local.get $pa) (i32.const 3))))
               (local.set $b (v128.load (i32.shl (local.get $pb) (i32.const 3))))
               local.get $out {op} v128.store)"
        )
        .unwrap();
        writeln!(
            calls,
            "(call $look_{slot} (local.get $pa) (local.get $pb) (i32.add (local.get $out) (i32.const {})))",
            *slot * 8
        )
        .unwrap();
        *slot += 2;
    }
}

#[test]
fn w1_computed_nans_are_canonical_wherever_they_are_seen() {
    let (mut functions, mut calls, mut slots) = (String::new(), String::new(), 0);
    for ty in ["f64", "f32"] {
        writeln!(
            functions,
            "(func $id_{ty} (param {ty}) (result {ty}) local.get 0)
             (func $second_{ty} (param {ty} {ty}) (result {ty}) local.get 0 local.get 1 {ty}.copysign)
             (global $g_{ty} (mut {ty}) ({ty}.const 0)) (tag $e_{ty} (param {ty}))"
        )
        .unwrap();
    }
    functions.push_str("(table funcref (elem $id_f64 $id_f32))");
    looks("f64", &mut functions, &mut calls, &mut slots);
    looks("f32", &mut functions, &mut calls, &mut slots);
    vector_looks(&mut functions, &mut calls, &mut slots);
    // Every pair of values would be eight times as much; every value meets every other all the same.
    let pairs = DOUBLES.len() * 2;
    writeln!(
        functions,
        "(func $pair (param $pa i32) (param $pb i32) (param $out i32) {calls})
         (func $all (local $i i32) (local $out i32)
           (local.set $out (i32.const {OUT}))
           (loop
             (call $pair (i32.rem_u (local.get $i) (i32.const 12))
               (i32.rem_u (i32.add (i32.mul (local.get $i) (i32.const 7)) (i32.div_u (local.get $i) (i32.const 12))) (i32.const 12))
               (local.get $out))
             (local.set $out (i32.add (local.get $out) (i32.const {})))
             (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {pairs})))))",
        slots * 8
    )
    .unwrap();
    let len = slots * 8 * pairs;
    let left = same_everywhere("looks", &engines(), &module(&functions, len), len);
    // It was about NaNs: many canonical ones of each sign, and payloads that were only moved.
    let of = |bits: u64| left.chunks_exact(8).filter(|chunk| *chunk == bits.to_le_bytes()).count();
    eprintln!("{slots} looks, {pairs} pairs, {} and {} canonical", of(DOUBLES[6]), of(DOUBLES[7]));
    for bits in &DOUBLES[6..] {
        assert!(of(*bits) > 50, "{bits:x}: {}", of(*bits));
    }
}

/// Functions that nobody wrote, as text without parentheses.
struct Author {
    rng: ChaCha8Rng,
    /// The function that is written may call those after it.
    function: usize,
    functions: usize,
    /// Loops around this place, each with a counter.
    loops: usize,
    /// Operators that may still be written.
    left: usize,
}

const FLOATS: [&str; 2] = ["f64", "f32"];

impl Author {
    fn below(&mut self, bound: usize) -> usize {
        self.rng.next_u32() as usize % bound
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// An expression that leaves a value of a type.
    fn value(&mut self, ty: &str, depth: usize) -> String {
        self.left = self.left.saturating_sub(1);
        if depth == 0 || self.left == 0 {
            return self.simple(ty);
        }
        let d = depth - 1;
        match ty {
            "f64" | "f32" => self.float(ty, d),
            "v128" => match self.below(5) {
                0 => {
                    format!("{} {} f64x2.{}", self.value(ty, d), self.value(ty, d), self.pick(&["add", "mul", "pmax"]))
                }
                1 => format!("{} {} f32x4.{}", self.value(ty, d), self.value(ty, d), self.pick(&["sub", "div", "min"])),
                2 => format!("{} f64x2.splat", self.value("f64", d)),
                3 => format!("{} {} f32x4.replace_lane 2", self.value(ty, d), self.value("f32", d)),
                _ => format!("{} f64x2.{}", self.value(ty, d), self.pick(&["sqrt", "neg", "abs", "nearest"])),
            },
            "i64" => match self.below(4) {
                0 | 1 => format!("{} i64.reinterpret_f64", self.value("f64", d)),
                2 => format!("{} i64.trunc_sat_f32_s", self.value("f32", d)),
                _ => format!("{} {} i64.xor", self.value(ty, d), self.value(ty, d)),
            },
            _ => match self.below(5) {
                0 => {
                    format!("{} {} f64.{}", self.value("f64", d), self.value("f64", d), self.pick(&["lt", "eq", "ge"]))
                }
                1 => {
                    format!("{} {} f32.{}", self.value("f32", d), self.value("f32", d), self.pick(&["gt", "ne", "le"]))
                }
                2 => format!("{} i32.reinterpret_f32", self.value("f32", d)),
                3 => format!("{} i32.trunc_sat_f64_u", self.value("f64", d)),
                _ => format!("{} {} i32.and", self.value(ty, d), self.value(ty, d)),
            },
        }
    }

    fn float(&mut self, ty: &str, d: usize) -> String {
        let other = if ty == "f64" { "f32" } else { "f64" };
        match self.below(22) {
            0..=4 => {
                let op = self.pick(&["add", "sub", "mul", "div", "min", "max"]);
                format!("{} {} {ty}.{op}", self.value(ty, d), self.value(ty, d))
            }
            5 | 6 => {
                format!("{} {ty}.{}", self.value(ty, d), self.pick(&["sqrt", "ceil", "floor", "trunc", "nearest"]))
            }
            7 | 8 => format!("{} {ty}.neg", self.value(ty, d)),
            9 => format!("{} {ty}.abs", self.value(ty, d)),
            10 => format!("{} {} {ty}.copysign", self.value(ty, d), self.value(ty, d)),
            11 | 12 => format!("{} {} {} select", self.value(ty, d), self.value(ty, d), self.value("i32", d)),
            13 => {
                let op = if ty == "f64" { "promote_f32" } else { "demote_f64" };
                format!("{} {ty}.{op}", self.value(other, d))
            }
            14 => format!("{} {ty}.convert_i64_u", self.value("i64", d)),
            15 | 16 => format!("{} local.tee ${ty}{}", self.value(ty, d), self.below(4)),
            17 if self.function + 1 < self.functions => {
                let callee = self.function + 1 + self.below(self.functions - self.function - 1);
                let call = match self.below(3) {
                    0 => format!("i32.const {callee} call_indirect (type ${ty})"),
                    _ => format!("call ${ty}_{callee}"),
                };
                // The table holds the functions of one type behind those of the other.
                let call = call.replace("i32.const ", &format!("i32.const {}", if ty == "f64" { "" } else { "1" }));
                format!("{} {} {call}", self.value("f64", d), self.value("f32", d))
            }
            18 => format!(
                "block (result {ty}) {} {} {} br_if 0 drop end",
                self.value(ty, d),
                self.value(ty, d),
                self.value("i32", d)
            )
            .replace("br_if 0 drop end", "br_if 0 br 0 end"),
            19 => format!(
                "{} if (result {ty}) {} else {} end",
                self.value("i32", d),
                self.value(ty, d),
                self.value(ty, d)
            ),
            20 => format!(
                "block (result {ty}) block (result {ty}) {} {} i32.const 3 i32.and br_table 0 1 0 1 end {ty}.neg end",
                self.value(ty, d),
                self.value("i32", d)
            ),
            21 if ty == "f64" => format!("{} f64.reinterpret_i64", self.value("i64", d)),
            _ => format!("{} {}.extract_lane 1", self.value("v128", d), if ty == "f64" { "f64x2" } else { "f32x4" }),
        }
    }

    fn simple(&mut self, ty: &str) -> String {
        let width = if ty == "f64" { 8 } else { 4 };
        match (ty, self.below(5)) {
            ("f64" | "f32", 0 | 1) => format!("local.get ${ty}{}", self.below(4)),
            ("f64" | "f32", 2) => {
                format!("i32.const {} {ty}.load", self.below(12) * width + if ty == "f64" { 0 } else { 96 })
            }
            ("f64" | "f32", 3) => format!("global.get $g_{ty}"),
            ("f64", _) => format!(
                "f64.const {}",
                self.pick(&["nan", "-nan", "nan:0x4000000000001", "inf", "-0", "1.5", "-nan:0x8000000000007"])
            ),
            ("f32", _) => format!(
                "f32.const {}",
                self.pick(&["nan", "-nan", "nan:0x200001", "-inf", "0", "-2.5", "-nan:0x400007"])
            ),
            ("v128", _) => format!("i32.const {} v128.load", self.below(8) * 16),
            ("i64", _) => format!("i32.const {} i64.load", self.below(18) * 8),
            _ => format!("i32.const {}", self.below(9)),
        }
    }

    fn statements(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            if self.left == 0 {
                break;
            }
            text.push_str(&self.statement());
            text.push('\n');
        }
        text
    }

    fn statement(&mut self) -> String {
        let ty = self.pick(&FLOATS);
        // Anywhere in what is compared, most of it on one place.
        let out = OUT + self.below(64) * 16;
        match self.below(16) {
            0..=3 => format!("{} local.set ${ty}{}", self.value(ty, 3), self.below(4)),
            4..=6 => format!("i32.const {out} {} {ty}.store", self.value(ty, 3)),
            7 => format!("i32.const {out} {} v128.store", self.value("v128", 3)),
            8 => format!("i32.const {out} {} i64.store", self.value("i64", 3)),
            9 => format!("{} global.set $g_{ty}", self.value(ty, 3)),
            10 => format!("{} if {} else {} end", self.value("i32", 2), self.statements(2), self.statements(2)),
            11 if self.loops < 2 => {
                let counter = self.loops;
                self.loops += 1;
                let body = self.statements(3);
                self.loops -= 1;
                format!(
                    "i32.const 0 local.set $n{counter} loop {body} local.get $n{counter} i32.const 1 i32.add local.tee $n{counter} i32.const 3 i32.lt_u br_if 0 end"
                )
            }
            12 => format!("block {} {} br_if 0 {} end", self.statements(2), self.value("i32", 2), self.statements(2)),
            13 => format!(
                "block $h (result f64 f32) try_table (catch $e $h) {} {} {} throw $e end unreachable end local.set $f32{} local.set $f64{}",
                self.statements(2),
                self.value("f64", 3),
                self.value("f32", 3),
                self.below(4),
                self.below(4)
            ),
            // Never reached.
            14 => format!("block br 0 {} {ty}.add {ty}.neg local.set ${ty}{} end", self.statements(1), self.below(4)),
            _ => format!(
                "{} {} loop (param {ty}) (result {ty}) {ty}.neg end {ty}.max drop",
                self.value(ty, 2),
                self.value(ty, 2)
            ),
        }
    }

    fn module(seed: u64) -> Vec<u8> {
        let mut author = Self { rng: ChaCha8Rng::seed_from_u64(seed), function: 0, functions: 3, loops: 0, left: 0 };
        let mut text = String::from(
            "(type $f64 (func (param f64 f32) (result f64))) (type $f32 (func (param f64 f32) (result f32)))
             (global $g_f64 (mut f64) (f64.const 0)) (global $g_f32 (mut f32) (f32.const 0)) (tag $e (param f64 f32))
             (table 20 funcref)
             (elem (i32.const 0) $f64_0 $f64_1 $f64_2) (elem (i32.const 10) $f32_0 $f32_1 $f32_2)",
        );
        for function in 0..author.functions {
            author.function = function;
            for ty in FLOATS {
                author.left = 150;
                let body = author.statements(10);
                author.left = 20;
                let last = author.value(ty, 4);
                let end = author.pick(&["", "return"]);
                writeln!(
                    text,
                    "(func ${ty}_{function} (param $f640 f64) (param $f320 f32) (result {ty})
                       (local $f641 f64) (local $f642 f64) (local $f643 f64)
                       (local $f321 f32) (local $f322 f32) (local $f323 f32) (local $n0 i32) (local $n1 i32)
                       {body} {last} {end})"
                )
                .unwrap();
            }
        }
        writeln!(
            text,
            "(func $all (i64.store (i32.const {OUT}) (i64.const 1))
               (f64.store (i32.const {}) (call $f64_0 (f64.load (i32.const 72)) (f32.load (i32.const 140))))
               (f32.store (i32.const {}) (call $f32_0 (f64.load (i32.const 80)) (f32.load (i32.const 132))))
               (f64.store (i32.const {}) (global.get $g_f64)))",
            OUT + 1024,
            OUT + 1032,
            OUT + 1040
        )
        .unwrap();
        module(&text, 1056)
    }
}

#[test]
fn w1_random_floats_are_the_same_as_when_every_nan_is_canonical_at_once() {
    let first = first_seed();
    let cases = number("SYMBOLON_CASES").unwrap_or(60);
    eprintln!("seeds {first} to {}", first + cases);
    let engines = engines();
    let (mut canonical, mut other) = (0, 0);
    for seed in first..first + cases {
        let left = same_everywhere(&format!("seed {seed}"), &engines, &Author::module(seed), 1056);
        for chunk in left.chunks_exact(8) {
            let bits = u64::from_le_bytes(chunk.try_into().unwrap());
            canonical += usize::from(bits << 1 == DOUBLES[6] << 1);
            other += usize::from(f64::from_bits(bits).is_nan() && bits << 1 != DOUBLES[6] << 1);
        }
    }
    eprintln!("{canonical} canonical NaNs and {other} others");
    assert!(canonical as u64 > cases && other as u64 > cases / 2);
}
