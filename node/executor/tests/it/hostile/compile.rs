//! Modules that mean harm to whoever compiles them: cut, bent, deep, wide, and many.
//!
//! Compiling is bounded by the profile's counts, not by a run's limits; how much of the
//! host it takes is measured here and held to [`COMPILING`].

use super::{Report, bytes, guest};
use crate::guest::{engine, exited, trapped};
use symbolon_executor::{Refused, TrapKind};

/// Memory that compiling one of these modules may take.
const COMPILING: u64 = 768 << 20;

fn compiles(module: Vec<u8>) -> Report {
    let (report, compiling) = bytes(module).fuel(1 << 34).run_and_measure_compiling();
    assert!(compiling <= COMPILING, "{compiling} bytes to compile");
    report
}

fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A module of sections, each an id and a payload.
fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for (id, payload) in sections {
        out.push(*id);
        out.extend(leb(payload.len()));
        out.extend(payload);
    }
    out
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// `count` functions without arguments or results, each with this body, and `_start`,
/// which is the first.
fn functions(count: usize, body: &[u8]) -> Vec<u8> {
    let one = [leb(body.len()), body.to_vec()].concat();
    module(&[
        (1, vec![1, 0x60, 0, 0]),
        (3, [leb(count), vec![0; count]].concat()),
        (7, [&[1, 6][..], b"_start", &[0, 0]].concat()),
        (10, [leb(count), one.repeat(count)].concat()),
    ])
}

#[test]
fn sym_30_every_prefix_of_a_module_is_refused() {
    for whole in [
        text(include_str!("../fixtures/preview1.wat")),
        include_bytes!("../../../vectors/exceptions.wasm").to_vec(),
        include_bytes!("../../../vectors/memory.wasm").to_vec(),
    ] {
        let mut taken = 0;
        for cut in 0..whole.len() {
            match engine().compile(&whole[..cut]) {
                Err(Refused::Malformed { offset, .. }) => assert!(offset <= cut, "{offset} of {cut}"),
                Err(other) => panic!("cut at {cut}: {other}"),
                Ok(_) => {
                    // Cut between sections it can be a module of its own.
                    wasmparser::validate(&whole[..cut]).unwrap();
                    taken += 1;
                }
            }
        }
        assert!(taken < 10, "{taken}");
        engine().compile(&whole).unwrap();
    }
}

#[test]
fn sym_30_sections_that_lie_about_their_length() {
    let whole = functions(3, &[0, 0x0b]);
    engine().compile(&whole).unwrap();
    for at in 8..whole.len() {
        for value in [0, 0x7f, 0x80, 0xff, whole[at].wrapping_add(1), whole[at].wrapping_sub(1)] {
            let mut bent = whole.clone();
            bent[at] = value;
            match engine().compile(&bent) {
                Ok(_) | Err(Refused::Malformed { .. } | Refused::Feature { .. } | Refused::TooMany { .. }) => {}
                Err(other) => panic!("{value:#x} at {at}: {other}"),
            }
        }
    }
    // Numbers longer than they need be, up to five bytes, and one byte more.
    let long = |bytes: usize| module(&[(1, [vec![0x80; bytes - 1], vec![0]].concat())]);
    engine().compile(&long(5)).unwrap();
    assert!(matches!(engine().compile(&long(6)), Err(Refused::Malformed { .. })));
}

#[test]
fn sym_30_counts_without_anything_behind_them() {
    // Nothing is set aside for what a count promises.
    for id in [1u8, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13] {
        let report = compiles(module(&[(id, vec![0xff, 0xff, 0xff, 0xff, 0x0f])]));
        assert!(report.end.starts_with("refused: "), "{id}: {}", report.end);
        assert!(matches!(report.end.as_str(), "refused: too-many" | "refused: malformed"), "{id}: {}", report.end);
    }
}

#[test]
fn sym_30_a_million_functions() {
    bytes(functions(1_000_000, &[0, 0x0b])).ends("refused: too-many");
}

#[test]
fn w6_as_many_functions_as_the_profile_allows() {
    let report = compiles(functions(100_000, &[0, 0x0b]));
    assert_eq!(report.end, exited(0).to_string());
}

#[test]
fn w6_the_longest_function() {
    // A million operators in a row: a chain of additions.
    let count = (1 << 20) / 3 - 20;
    let mut body = vec![1, 1, 0x7f, 0x20, 0];
    for _ in 0..count {
        body.extend([0x41, 1, 0x6a]);
    }
    body.extend([0x1a, 0x0b]);
    assert_eq!(compiles(functions(1, &body)).end, exited(0).to_string());
    body.resize((1 << 20) + 10, 0x01);
    bytes(functions(1, &body)).ends("refused: too-many");
}

/// Blocks of a kind, each in the one before.
fn nested(open: &[u8], depth: usize) -> Vec<u8> {
    functions(1, &[&[0][..], &open.repeat(depth), &vec![0x0b; depth + 1]].concat())
}

/// The words of a refusal that names the function.
fn refusal(module: &[u8]) -> String {
    engine().compile(module).unwrap_err().to_string()
}

#[test]
fn w6_the_deepest_blocks() {
    assert_eq!(compiles(nested(&[0x02, 0x40], 10_000)).end, exited(0).to_string());
    assert_eq!(
        refusal(&nested(&[0x02, 0x40], 10_001)),
        "function 0 has 10001 nested blocks, at most 10000 are allowed"
    );
    // Named after where it is, imports counted first.
    let import = "(import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32)))";
    let deep = format!("{} {}", "loop ".repeat(1_025), "end ".repeat(1_025));
    let module = text(&format!("(module {import} (func) (func {deep}))"));
    assert_eq!(refusal(&module), "function 2 has 1025 nested loops, conditions and handlers, at most 1024 are allowed");
}

#[test]
fn w6_the_deepest_conditions_and_loops() {
    // The compiler's time grows with the square of the depth: thirty times as deep takes minutes.
    assert_eq!(compiles(nested(&[0x03, 0x40], 1_024)).end, exited(0).to_string());
    let depth = 512;
    let mut body = vec![0];
    body.extend([0x41, 1, 0x04, 0x40, 0x03, 0x40].repeat(depth));
    body.extend(vec![0x0b; 2 * depth + 1]);
    assert_eq!(compiles(functions(1, &body)).end, exited(0).to_string());
    for kind in [&[0x03, 0x40][..], &[0x41, 1, 0x04, 0x40], &[0x1f, 0x40, 0]] {
        bytes(nested(kind, 1_025)).ends("refused: too-many");
    }
}

#[test]
fn w6_loops_and_branches_one_after_the_other() {
    // Also these cost the square of their number.
    let row = |one: &[u8], count: usize| functions(1, &[&[0][..], &one.repeat(count), &[0x0b]].concat());
    let turn = [0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b];
    assert_eq!(compiles(row(&turn, 4_096)).end, exited(0).to_string());
    assert_eq!(refusal(&row(&turn, 4_097)), "function 0 has 4097 loops and handlers, at most 4096 are allowed");
    for one in [&[0x41, 1, 0x04, 0x40, 0x0b][..], &[0x02, 0x40, 0x41, 1, 0x0d, 0, 0x0b]] {
        assert_eq!(refusal(&row(one, 20_001)), "function 0 has 20001 branches, at most 20000 are allowed");
    }
    // And locals times branches.
    let body = [&[1][..], &leb(20_000), &[0x7e], &[0x41, 1, 0x04, 0x40, 0x0b].repeat(401), &[0x0b]].concat();
    assert_eq!(
        refusal(&functions(1, &body)),
        "function 0 has 8020000 locals times branches, at most 8000000 are allowed"
    );
    assert_eq!(
        compiles(functions(
            1,
            &[&[1][..], &leb(20_000), &[0x7e], &[0x41, 1, 0x04, 0x40, 0x0b].repeat(400), &[0x0b]].concat()
        ))
        .end,
        exited(0).to_string()
    );
}

#[test]
fn w6_additions_that_are_larger_than_the_function() {
    // Square roots of vectors, three bytes each: what is added is nine times as much.
    let count = (1 << 20) / 3 - 20;
    let body = [&[1, 1, 0x7b, 0x20, 0][..], &[0xfd, 0xe3, 0x01].repeat(count), &[0x1a, 0x0b]].concat();
    let refused = refusal(&functions(1, &body));
    assert!(refused.ends_with(" bytes to compile, at most 7340032 are allowed"), "{refused}");
}

#[test]
fn w6_blocks_that_are_never_closed() {
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(4_000));
    bytes(functions(1, &body)).ends("refused: malformed");
}

#[test]
fn w6_the_widest_branch_table() {
    let tables = |count: usize, targets: usize| {
        let one = [vec![0x02, 0x40, 0x41, 7, 0x0e], leb(targets), vec![0; targets + 1], vec![0x0b]].concat();
        functions(1, &[vec![0], one.repeat(count), vec![0x0b]].concat())
    };
    assert_eq!(compiles(tables(1, 20_000)).end, exited(0).to_string());
    assert_eq!(compiles(tables(100, 200)).end, exited(0).to_string());
    assert_eq!(compiles(tables(1, 20_001)).end, "refused: too-many");
    assert_eq!(compiles(tables(1, 1_000_000)).end, "refused: too-many");
    // A table that promises more than there is.
    let mut body = vec![0, 0x02, 0x40, 0x41, 7, 0x0e];
    body.extend(leb(0xffff_ffff));
    body.extend([0, 0x0b, 0x0b]);
    bytes(functions(1, &body)).ends("refused: malformed");
}

#[test]
fn w6_many_branch_tables_over_many_blocks() {
    // Targets times blocks: what an allocator of registers likes least.
    let depth = 500;
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(depth));
    for _ in 0..40 {
        body.extend([0x02, 0x40, 0x41, 3, 0x0e]);
        body.extend(leb(depth));
        body.extend((0..=depth).flat_map(leb));
        body.push(0x0b);
    }
    body.extend(vec![0x0b; depth + 1]);
    assert_eq!(compiles(functions(1, &body)).end, exited(0).to_string());
}

#[test]
fn w6_as_many_locals_as_the_profile_allows() {
    let locals = |count: usize| [vec![1], leb(count), vec![0x7e]].concat();
    let body = [locals(20_000), vec![0x0b]].concat();
    assert_eq!(compiles(functions(200, &body)).end, exited(0).to_string());
    for count in [20_001, 50_000, 0xffff_ffff] {
        let report = bytes(functions(1, &[locals(count), vec![0x0b]].concat())).run();
        assert!(matches!(report.end.as_str(), "refused: too-many" | "refused: malformed"), "{count}: {}", report.end);
    }
}

#[test]
fn w6_locals_that_all_live_at_once_across_branches() {
    let n = 2_000;
    let mut body = [vec![1], leb(n), vec![0x7e]].concat();
    for round in 0..20 {
        body.extend([0x03, 0x40]);
        for local in 0..n {
            // local = local + its neighbour
            body.push(0x20);
            body.extend(leb(local));
            body.push(0x20);
            body.extend(leb((local + round + 1) % n));
            body.push(0x7c);
            body.push(0x21);
            body.extend(leb(local));
        }
        body.push(0x0b);
    }
    body.push(0x0b);
    assert_eq!(compiles(functions(1, &body)).end, exited(0).to_string());
}

#[test]
fn w6_a_stack_of_operands_as_high_as_the_function_is_long() {
    let height = 100_000;
    let mut body = vec![0];
    body.extend([0x42, 5].repeat(height));
    body.extend(vec![0x1a; height]);
    body.push(0x0b);
    let report = compiles(functions(1, &body));
    assert_eq!(report.end, exited(0).to_string());
}

#[test]
fn w6_large_constant_expressions() {
    let sum = "(i32.const 1)".to_owned() + &"(i32.const 1) i32.add ".repeat(50_000);
    let module = text(&format!("(module (global i32 {sum}) (func (export \"_start\")))"));
    assert_eq!(compiles(module).end, exited(0).to_string());
}

#[test]
fn w6_types_exports_and_segments_without_end() {
    let types = module(&[(1, [leb(50_001), [0x60, 0, 0].repeat(50_001)].concat())]);
    bytes(types).ends("refused: too-many");
    let types = module(&[(1, [leb(50_000), [0x60, 0, 0].repeat(50_000)].concat())]);
    assert_eq!(compiles(types).end, trapped(TrapKind::NoEntry).to_string());
    // Two exports of one name, and a hundred thousand of different ones.
    guest_bytes_refused(&[1, 0x60, 0, 0], &[2, 1, b'a', 0, 0, 1, b'a', 0, 0]);
    let exports: String = (0..99_999).map(|i| format!("(export \"e{i}\" (func 0))")).collect();
    let many = text(&format!("(module (func (export \"_start\")) {exports})"));
    assert_eq!(compiles(many).end, exited(0).to_string());
    let segments: String = "(data \"x\")".repeat(100_000);
    let many = text(&format!("(module (memory 1) {segments} (func (export \"_start\")))"));
    assert_eq!(compiles(many).end, exited(0).to_string());
}

fn guest_bytes_refused(types: &[u8], exports: &[u8]) {
    let twice = module(&[(1, types.to_vec()), (3, vec![1, 0]), (7, exports.to_vec()), (10, vec![1, 2, 0, 0x0b])]);
    bytes(twice).ends("refused: malformed");
}

#[test]
fn w6_names_that_are_no_text_and_sections_of_ones_own() {
    // Custom sections are dropped, whatever is in them.
    let mut whole = functions(1, &[0, 0x0b]);
    let custom = [vec![4], b"name".to_vec(), vec![0xff; 1 << 20]].concat();
    whole.push(0);
    whole.extend(leb(custom.len()));
    whole.extend(custom);
    bytes(whole).ends(exited(0));
    guest_bytes_refused(&[1, 0x60, 0, 0], &[1, 1, 0xff, 0, 0]);
}

#[test]
fn sym_30_sections_twice_or_out_of_order() {
    let types = (1u8, vec![1, 0x60, 0, 0]);
    let functions = (3u8, vec![1, 0]);
    let code = (10u8, vec![1, 2, 0, 0x0b]);
    for sections in [
        vec![types.clone(), types.clone(), functions.clone(), code.clone()],
        vec![functions.clone(), types.clone(), code.clone()],
        vec![types.clone(), functions.clone()],
        vec![types.clone(), code.clone()],
        vec![types.clone(), functions.clone(), code.clone(), code.clone()],
        vec![types, functions, code, (0x2a, vec![])],
    ] {
        bytes(module(&sections)).ends("refused: malformed");
    }
}

#[test]
fn sym_30_what_is_no_module_at_all() {
    for no in [&b""[..], b"\0", b"\0asm", b"\0asm\x02\0\0\0", b"MZ", b"\x7fELF", b"#!/bin/sh\n", &[0xff; 4096]] {
        bytes(no.to_vec()).ends("refused: malformed");
    }
    guest("(component)").ends("refused: feature");
    // Sections that are kept, and a file that is too long whatever is in it.
    bytes(vec![1; (64 << 20) + 1]).ends("refused: too-large");
    bytes(vec![0; (256 << 20) + 1]).ends("refused: too-large");
}

#[test]
fn w6_calls_between_all_functions() {
    // A call graph without structure: 300 functions that each call all of them.
    let mut body = vec![0];
    for function in 0..300 {
        body.push(0x10);
        body.extend(leb(function));
    }
    body.push(0x0b);
    assert_eq!(compiles(functions(300, &body)).end, trapped(TrapKind::CallDepth).to_string());
}
