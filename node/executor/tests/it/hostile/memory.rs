//! Guests that want all the memory there is.

use super::guest;
use crate::guest::{exited, start, trapped, wasi};
use symbolon_executor::{Outcome, TrapKind};

#[test]
fn w3_memory_bomb() {
    // Every page that can be had is had, and touched.
    let text = wasi(
        "",
        "(loop (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then (br 1))))
         (memory.fill (i32.const 0) (i32.const 1) (i32.shl (memory.size) (i32.const 16)))
         (call $proc_exit (memory.size))",
    );
    guest(&text).edit(|unit| unit.limits.memory_bytes = 64 << 20).fuel(1 << 30).ends(exited(1024));
}

#[test]
fn w3_memory_bomb_in_one_step() {
    for pages in ["-1", "65535", "65536", "1024"] {
        let body = format!("(call $proc_exit (i32.sub (i32.const 0) (memory.grow (i32.const {pages}))))");
        guest(&wasi("", &body)).fuel(1 << 40).ends(exited(1));
    }
}

#[test]
fn w3_asking_for_memory_for_ever() {
    guest(&start("(loop (drop (memory.grow (i32.const 0))) (br 0))")).ends(Outcome::OutOfFuel);
    guest(&start("(loop (drop (memory.grow (i32.const -1))) (br 0))")).ends(Outcome::OutOfFuel);
}

#[test]
fn w3_memory_bomb_over_eight_memories() {
    let grow: String = (0..8)
        .map(|i| format!("(loop (if (i32.ne (memory.grow {i} (i32.const 3)) (i32.const -1)) (then (br 1))))"))
        .collect();
    let sizes: String = (0..8).map(|i| format!("(i32.add (memory.size {i}))")).collect();
    let touch: String = (0..8)
        .map(|i| format!("(memory.fill {i} (i32.const 0) (i32.const 1) (i32.shl (memory.size {i}) (i32.const 16)))"))
        .collect();
    let text = format!(
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32))) (memory (export \"memory\") 0) {} \
         (func (export \"_start\") {grow} {touch} (i32.const 0) {} (call $x)))",
        "(memory 0)".repeat(7),
        sizes.replace("(i32.add (memory.size", "(memory.size").replace("))", ") i32.add ")
    );
    // 256 pages in steps of three: the last page is nobody's.
    guest(&text).fuel(1 << 30).ends(exited(255));
}

#[test]
fn w3_memory_whose_start_is_above_the_limit() {
    for text in [
        "(module (memory 65536) (func (export \"_start\")))",
        "(module (memory 200) (memory 57) (func (export \"_start\")))",
    ] {
        guest(text).ends(trapped(TrapKind::InitialLimits));
    }
}

#[test]
fn w3_limit_of_two_gigabytes_costs_nothing_until_it_is_touched() {
    let text = wasi("", "(if (i32.eq (memory.grow (i32.const 32766)) (i32.const -1)) (then unreachable))");
    let report = guest(&text)
        .edit(|unit| unit.limits.memory_bytes = 2 << 30)
        .fuel(1 << 30)
        // Of two gigabytes nothing may be had but the slack.
        .at_most(64 << 20)
        .ends(exited(0));
    // The growth is paid for, page by page.
    assert!(report.fuel > 32766 * 64);
}

#[test]
fn w3_table_bomb() {
    let text = "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32))) (table $t 0 funcref) (elem declare func $x) \
        (func (export \"_start\") \
          (loop (if (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then (br 1)))) \
          (table.fill $t (i32.const 0) (ref.func $x) (table.size $t)) (call $x (table.size $t))))";
    guest(text).ends(exited(1_048_000));
}

#[test]
fn w3_table_bomb_over_sixteen_tables() {
    let grow: String = (0..16)
        .map(|i| {
            format!(
                "(loop (if (i32.ne (table.grow {i} (ref.null extern) (i32.const 60000)) (i32.const -1)) (then (br 1))))"
            )
        })
        .collect();
    let sum = (0..16).map(|i| format!("(table.size {i}) i32.add ")).collect::<String>();
    let text = format!(
        "(module (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32))) {} \
         (func (export \"_start\") {grow} (i32.const 0) {sum} (call $x)))",
        "(table 0 externref)".repeat(16)
    );
    guest(&text).ends(exited(17 * 60_000));
}

#[test]
fn w3_table_bomb_in_one_step() {
    for elements in ["-1", "1048577", "0x7fffffff"] {
        let text = format!(
            "(module (table 0 funcref) (func (export \"_start\") \
             (if (i32.ne (table.grow (ref.null func) (i32.const {elements})) (i32.const -1)) (then unreachable))))"
        );
        guest(&text).fuel(1 << 40).ends(exited(0));
    }
    guest("(module (table 4294967295 funcref))").ends("refused: too-many");
}

#[test]
fn w3_huge_data_segments() {
    // 12 MiB of active data over each other: paid for before the first instruction.
    let segment = "x".repeat(1 << 20);
    let text = format!(
        "(module (memory 16) {} (func (export \"_start\")))",
        format!("(data (i32.const 0) \"{segment}\")").repeat(12)
    );
    let report = guest(&text).ends(exited(0));
    assert!(report.fuel >= (13 << 20) / 8);
    guest(&text).fuel((13 << 20) / 8).ends(Outcome::OutOfFuel);
}

#[test]
fn w3_data_segments_that_do_not_fit() {
    for (at, len) in [("65536", 1), ("0xffffffff", 1), ("65530", 7), ("0xfffffff0", 32)] {
        let text =
            format!("(module (memory 1) (data (i32.const {at}) \"{}\") (func (export \"_start\")))", "x".repeat(len));
        guest(&text).ends(trapped(TrapKind::MemoryOutOfBounds));
    }
}

#[test]
fn w3_bulk_operations_at_the_ends_of_memory() {
    for body in [
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const -1))",
        "(memory.copy (i32.const 65535) (i32.const 0) (i32.const 2))",
        "(memory.copy (i32.const 65537) (i32.const 0) (i32.const 0))",
        "(memory.fill (i32.const -1) (i32.const 0) (i32.const -1))",
        "(memory.init $d (i32.const 0) (i32.const 3) (i32.const 1))",
        "(memory.init $d (i32.const 0) (i32.const -1) (i32.const -1))",
        "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))",
        "(v128.store (i32.const 65521) (v128.const i64x2 0 0))",
        "(i64.store offset=0xffffffff (i32.const -1) (i64.const 0))",
    ] {
        let text = start(body).replace("(func ", "(data $d \"abc\") (func ");
        // Every byte is paid for before it is found that it is not there.
        guest(&text).fuel(1 << 40).ends(trapped(TrapKind::MemoryOutOfBounds));
    }
    // What overlaps is moved as if through another place; what ends at the end fits.
    let body = "(memory.copy (i32.const 1) (i32.const 0) (i32.const 65535)) (memory.copy (i32.const 0) (i32.const 1) (i32.const 65535)) \
        (memory.fill (i32.const 65536) (i32.const 0) (i32.const 0))";
    guest(&start(body)).ends(exited(0));
}

#[test]
fn w3_fragments_of_memory_grown_by_turns() {
    // Two memories, a page each by turns: neither may be moved at the host's cost.
    let text = "(module (memory $a 0) (memory $b 0) (func (export \"_start\") (local $i i32) \
        (loop (drop (memory.grow $a (i32.const 1))) (drop (memory.grow $b (i32.const 1))) \
          (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $i) (i32.const 5000)))) \
        (if (i32.ne (memory.size $a) (i32.const 128)) (then unreachable)) \
        (memory.fill $a (i32.const 0) (i32.const 1) (i32.const 8388608)) \
        (memory.fill $b (i32.const 0) (i32.const 1) (i32.const 8388608))))";
    guest(text).ends(exited(0));
}
