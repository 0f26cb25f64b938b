//! The binary format, as far as the pass writes it.

use crate::refuse::Refused;
use wasmparser::{RefType, ValType};

pub(super) const UNREACHABLE: u8 = 0x00;
pub(super) const BLOCK: u8 = 0x02;
pub(super) const IF: u8 = 0x04;
pub(super) const END: u8 = 0x0b;
pub(super) const BR: u8 = 0x0c;
pub(super) const SELECT: u8 = 0x1b;
pub(super) const LOCAL_GET: u8 = 0x20;
pub(super) const LOCAL_SET: u8 = 0x21;
pub(super) const LOCAL_TEE: u8 = 0x22;
pub(super) const GLOBAL_GET: u8 = 0x23;
pub(super) const GLOBAL_SET: u8 = 0x24;
pub(super) const I32_CONST: u8 = 0x41;
pub(super) const I64_CONST: u8 = 0x42;
pub(super) const F32_CONST: u8 = 0x43;
pub(super) const F64_CONST: u8 = 0x44;
pub(super) const I32_LT_S: u8 = 0x48;
pub(super) const F32_EQ: u8 = 0x5b;
pub(super) const F64_EQ: u8 = 0x61;
pub(super) const I32_ADD: u8 = 0x6a;
pub(super) const I32_SUB: u8 = 0x6b;
pub(super) const V128_CONST: [u8; 2] = [0xfd, 0x0c];
pub(super) const F32X4_EQ: [u8; 2] = [0xfd, 0x41];
pub(super) const F64X2_EQ: [u8; 2] = [0xfd, 0x47];
pub(super) const V128_BITSELECT: [u8; 2] = [0xfd, 0x52];
pub(super) const EMPTY: u8 = 0x40;
pub(super) const FUNC: u8 = 0x60;
pub(super) const I32: u8 = 0x7f;
pub(super) const I64: u8 = 0x7e;
pub(super) const MUTABLE: u8 = 1;

pub(super) fn val_type(ty: ValType) -> Result<u8, Refused> {
    Ok(match ty {
        ValType::I32 => 0x7f,
        ValType::I64 => 0x7e,
        ValType::F32 => 0x7d,
        ValType::F64 => 0x7c,
        ValType::V128 => 0x7b,
        ValType::Ref(RefType::FUNCREF) => 0x70,
        ValType::Ref(RefType::EXTERNREF) => 0x6f,
        ValType::Ref(RefType::EXNREF) => 0x69,
        ValType::Ref(_) => {
            return Err(Refused::Feature { feature: "gc types" });
        }
    })
}

pub(super) fn to_u32(len: usize) -> u32 {
    // What is written is bounded far below.
    u32::try_from(len).unwrap_or(u32::MAX)
}

pub(super) fn put_u32(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_i32(out: &mut Vec<u8>, mut value: i32) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        let done = (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0);
        if done {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// An operator and the index that it takes.
pub(super) fn put_op(out: &mut Vec<u8>, op: u8, index: u32) {
    out.push(op);
    put_u32(out, index);
}

pub(super) fn put_i32_const(out: &mut Vec<u8>, value: i32) {
    out.push(I32_CONST);
    put_i32(out, value);
}

pub(super) fn put_export(out: &mut Vec<u8>, name: &str, kind: u8, index: u32) {
    put_u32(out, to_u32(name.len()));
    out.extend_from_slice(name.as_bytes());
    out.push(kind);
    put_u32(out, index);
}
