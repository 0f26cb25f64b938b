//! Atomic operators, written as plain ones.
//!
//! Compilers that may build for several threads emit them even where there is one, and the profile has only one: no
//! memory is shared. Then an atomic operator is a plain one that traps at an address that is not aligned, waiting
//! traps always, waking wakes nobody, and a fence is nothing. Not every engine that must agree has them, so none is
//! asked for them.
//!
//! What trapped is told by the depth global: [`UNALIGNED`] and [`WAITED`] are values that no depth reaches.

use super::encode::{
    EMPTY, END, GLOBAL_SET, I32, I32_ADD, I32_CONST, I64, I64_CONST, IF, LOCAL_GET, LOCAL_SET, UNREACHABLE, put_i32,
    put_i32_const, put_op,
};
use wasmparser::BinaryReader;

/// What the depth global holds after an atomic access that is not aligned.
pub(crate) const UNALIGNED: i32 = i32::MIN;
/// What it holds after waiting.
pub(crate) const WAITED: i32 = i32::MIN + 1;

/// The first byte of every atomic operator.
pub(super) const PREFIX: u8 = 0xfe;
/// Locals that one operator needs at most: of 32 bits, then of 64.
pub(super) const SCRATCH: [(u32, u8); 2] = [(4, I32), (3, I64)];

const NOTIFY: u32 = 0x00;
const WAIT_32: u32 = 0x01;
const WAIT_64: u32 = 0x02;
const FENCE: u32 = 0x03;
/// The first of the others, which come in rows of seven.
const FIRST: u32 = 0x10;

const DROP: u8 = 0x1a;
const I32_LOAD: u8 = 0x28;
const I32_AND: u8 = 0x71;

/// A column: how wide values and memory are, and the plain operators.
struct Shape {
    wide: bool,
    bytes: u8,
    load: u8,
    store: u8,
}

const fn shape(wide: bool, bytes: u8, load: u8, store: u8) -> Shape {
    Shape { wide, bytes, load, store }
}

const SHAPES: [Shape; 7] = [
    shape(false, 4, I32_LOAD, 0x36),
    shape(true, 8, 0x29, 0x37),
    shape(false, 1, 0x2d, 0x3a),
    shape(false, 2, 0x2f, 0x3b),
    shape(true, 1, 0x31, 0x3c),
    shape(true, 2, 0x33, 0x3d),
    shape(true, 4, 0x35, 0x3e),
];

/// `add sub and or xor` of 32 and of 64 bits.
const COMPUTE: [(u8, u8); 5] = [(0x6a, 0x7c), (0x6b, 0x7d), (0x71, 0x83), (0x72, 0x84), (0x73, 0x85)];

/// Where a function has its locals for this, and the depth global.
#[derive(Clone, Copy)]
pub(super) struct Places {
    /// The first of [`SCRATCH`].
    pub(super) scratch: u32,
    pub(super) left: u32,
}

/// Writes the plain operators for an atomic one, which is valid; nothing for bytes that are none.
pub(super) fn write(out: &mut Vec<u8>, operator: &[u8], places: Places) -> Option<()> {
    let mut reader = BinaryReader::new(operator, 0);
    reader.read_u8().ok()?;
    let code = reader.read_var_u32().ok()?;
    let access = operator.get(reader.original_position()..)?;
    let (row, column) = match code {
        FENCE => return Some(()),
        WAIT_32 | WAIT_64 => {
            trap(out, places, WAITED);
            return Some(());
        }
        NOTIFY => (None, SHAPES.first()?),
        _ => {
            let at = code.checked_sub(FIRST)?;
            (Some(at / 7), SHAPES.get(usize::try_from(at % 7).ok()?)?)
        }
    };
    // Alignment, the memory if it is not the first, and the offset.
    if reader.read_var_u32().ok()? & 0x40 != 0 {
        reader.read_var_u32().ok()?;
    }
    let offset = reader.read_var_u64().ok()?;

    let address = places.scratch;
    let local = |number: u32| {
        let [(narrow, _), _] = SCRATCH;
        places.scratch.saturating_add(if column.wide { narrow } else { 1 }).saturating_add(number)
    };
    let (value, old, expected) = (local(0), local(1), local(2));
    let plain = |out: &mut Vec<u8>, op: u8| {
        out.push(op);
        out.extend_from_slice(access);
    };
    // Operands go into locals, the address last.
    match row {
        None => out.push(DROP),
        Some(0) => {}
        Some(8) => {
            put_op(out, LOCAL_SET, value);
            put_op(out, LOCAL_SET, expected);
        }
        Some(_) => put_op(out, LOCAL_SET, value),
    }
    put_op(out, LOCAL_SET, address);
    align(out, places, column.bytes, offset);
    put_op(out, LOCAL_GET, address);
    let Some(row) = row else {
        // Nobody waits; an address outside of the memory traps all the same.
        plain(out, column.load);
        out.push(DROP);
        put_i32_const(out, 0);
        return Some(());
    };
    match row {
        0 => plain(out, column.load),
        1 => {
            put_op(out, LOCAL_GET, value);
            plain(out, column.store);
        }
        row => {
            plain(out, column.load);
            put_op(out, LOCAL_SET, old);
            if row == 8 {
                equal(out, column, old, expected);
                out.extend_from_slice(&[IF, EMPTY]);
            }
            put_op(out, LOCAL_GET, address);
            let compute = row.checked_sub(2).and_then(|at| COMPUTE.get(usize::try_from(at).ok()?));
            if let Some((narrow, wide)) = compute {
                put_op(out, LOCAL_GET, old);
                put_op(out, LOCAL_GET, value);
                out.push(if column.wide { *wide } else { *narrow });
            } else {
                put_op(out, LOCAL_GET, value);
            }
            plain(out, column.store);
            if row == 8 {
                out.push(END);
            }
            put_op(out, LOCAL_GET, old);
        }
    }
    Some(())
}

/// Whether what was loaded is what was expected, of which as many bits count.
fn equal(out: &mut Vec<u8>, column: &Shape, old: u32, expected: u32) {
    put_op(out, LOCAL_GET, old);
    put_op(out, LOCAL_GET, expected);
    let mask = match column.bytes {
        1 => Some(&[0xff, 0x01][..]),
        2 => Some(&[0xff, 0xff, 0x03][..]),
        4 if column.wide => Some(&[0xff, 0xff, 0xff, 0xff, 0x0f][..]),
        _ => None,
    };
    if let Some(mask) = mask {
        out.push(if column.wide { I64_CONST } else { I32_CONST });
        out.extend_from_slice(mask);
        out.push(if column.wide { 0x83 } else { I32_AND });
    }
    out.push(if column.wide { 0x51 } else { 0x46 });
}

/// Traps unless the address and the offset make a multiple of the width.
fn align(out: &mut Vec<u8>, places: Places, bytes: u8, offset: u64) {
    let low = i32::from(bytes) - 1;
    if low == 0 {
        return;
    }
    put_op(out, LOCAL_GET, places.scratch);
    let offset = i32::try_from(offset & u64::from(bytes - 1)).unwrap_or(0);
    if offset != 0 {
        put_i32_const(out, offset);
        out.push(I32_ADD);
    }
    put_i32_const(out, low);
    out.extend_from_slice(&[I32_AND, IF, EMPTY]);
    trap(out, places, UNALIGNED);
    out.push(END);
}

fn trap(out: &mut Vec<u8>, places: Places, why: i32) {
    out.push(I32_CONST);
    put_i32(out, why);
    put_op(out, GLOBAL_SET, places.left);
    out.push(UNREACHABLE);
}
