//! Vouchers straight from the pages of a file, whatever leads to them (SQLite
//! file format, 1.6 "B-tree Pages" and 2.1 "Record Format").
//!
//! A damaged page inside a tree cuts off everything below it, and the rows
//! there are whole. Each carries the sum of what was written, so what a page
//! only seems to hold is not taken for a voucher.

use crate::{Direction, StoreError, VoucherKey, VoucherRow, open, sum::voucher_sum, view::amount};
use std::{
    io::{self, Read},
    path::Path,
};
use symbolon_primitives::{Address, B256, Lane, OrderDigest, Signature, Timestamp};

/// The smallest page there is.
const LEAST_PAGE: usize = 512;
/// A page of rows of a table.
const LEAF: u8 = 0x0d;
/// Where its list of cells begins.
const CELLS: usize = 8;

/// What a column holds.
#[derive(Clone, Copy)]
enum Value<'b> {
    Null,
    Int(i64),
    Blob(&'b [u8]),
}

/// Calls `each` for every voucher that stands on a page of rows, lower ones that stood there before among them.
pub(crate) fn each_voucher(
    path: &Path,
    mut file: impl Read,
    mut each: impl FnMut(&VoucherRow) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    // The first page is the schema's.
    let mut fill = |page: &mut [u8]| fill(&mut file, page).map_err(|source| open::folder(path, source));
    let mut page = vec![0; LEAST_PAGE];
    if fill(&mut page)? < LEAST_PAGE {
        return Ok(());
    }
    let page_bytes = match page.get(16..18).and_then(|size| size.try_into().ok()).map(u16::from_be_bytes) {
        // The format's way to say 65,536.
        Some(1) => 65_536,
        Some(size) if size.is_power_of_two() && usize::from(size) >= LEAST_PAGE => usize::from(size),
        _ => 4_096,
    };
    page.resize(page_bytes, 0);
    fill(page.get_mut(LEAST_PAGE..).unwrap_or_default())?;
    while fill(&mut page)? == page_bytes {
        if page.first() == Some(&LEAF) {
            rows(&page).try_for_each(|row| each(&row))?;
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file at its end; answers how much.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0_usize;
    while let Some(rest) = buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => have = have.saturating_add(more),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

fn rows(page: &[u8]) -> impl Iterator<Item = VoucherRow> + '_ {
    let count = page.get(3..5).and_then(|count| count.try_into().ok()).map_or(0, u16::from_be_bytes);
    let list = page.get(CELLS..).unwrap_or_default().chunks_exact(2).take(count.into());
    list.filter_map(|at| row(page.get(usize::from(u16::from_be_bytes(at.try_into().ok()?))..)?))
}

/// The voucher of a cell, if it is one and its sum holds.
fn row(cell: &[u8]) -> Option<VoucherRow> {
    let (length, rest) = varint(cell)?;
    let (_number, rest) = varint(rest)?;
    let record = rest.get(..usize::try_from(length).ok()?)?;
    let (header_bytes, _) = varint(record)?;
    let header_bytes = usize::try_from(header_bytes).ok()?;
    let mut types = record.get(..header_bytes).and_then(varint)?.1;
    let mut body = record.get(header_bytes..)?;
    let mut next = || {
        let (kind, rest) = varint(types)?;
        types = rest;
        let (value, rest) = value(kind, body)?;
        body = rest;
        Some(value)
    };
    let id = next()?;
    let direction = int(next()?)?;
    let (payer, payee, lane) = (blob(next()?)?, blob(next()?)?, blob(next()?)?);
    let epoch = int(next()?)?;
    let (cumulative, signature) = (blob(next()?)?, blob(next()?)?);
    let order = match next()? {
        Value::Null => None,
        order => Some(OrderDigest::from_bytes(blob(order)?.try_into().ok()?)),
    };
    let (created_at, sum) = (int(next()?)?, int(next()?)?);
    // The row's number stands in the cell, not in the record.
    if !matches!(id, Value::Null) || !types.is_empty() || !body.is_empty() {
        return None;
    }
    let row = VoucherRow {
        key: VoucherKey {
            direction: Direction::from_code(direction)?,
            payer: Address::from(<[u8; 20]>::try_from(payer).ok()?),
            payee: Address::from(<[u8; 20]>::try_from(payee).ok()?),
            lane: Lane::from_word(B256::from(<[u8; 32]>::try_from(lane).ok()?)),
            epoch: epoch.try_into().ok()?,
        },
        cumulative: amount("best_vouchers", cumulative).ok()?,
        signature: Signature::from_bytes(signature.try_into().ok()?),
        order,
        created_at: Timestamp(created_at.try_into().ok()?),
    };
    (voucher_sum(&row) == sum).then_some(row)
}

fn int(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Int(value) => Some(value),
        _ => None,
    }
}

fn blob(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Blob(bytes) => Some(bytes),
        _ => None,
    }
}

/// A value of a serial type, and what follows it.
fn value(kind: u64, body: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let bytes = match kind {
        0 => return Some((Value::Null, body)),
        1..=4 => usize::try_from(kind).ok()?,
        5 => 6,
        6 => 8,
        8 => return Some((Value::Int(0), body)),
        9 => return Some((Value::Int(1), body)),
        blob if blob >= 12 && blob % 2 == 0 => {
            let (bytes, rest) = body.split_at_checked(usize::try_from(blob / 2).ok()?.checked_sub(6)?)?;
            return Some((Value::Blob(bytes), rest));
        }
        _ => return None,
    };
    let (bytes, rest) = body.split_at_checked(bytes)?;
    let sign = if bytes.first()? & 0x80 == 0 { 0_i64 } else { -1 };
    Some((Value::Int(bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte))), rest))
}

/// A number of one to nine bytes, seven bits in each but the last, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        let rest = bytes.get(at.checked_add(1)?..)?;
        if at == 8 {
            return Some((value << 8 | u64::from(*byte), rest));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn n12_numbers_are_read_as_sqlite_writes_them() {
        for (bytes, value, left) in [
            (&[0_u8][..], Some(0), 0),
            (&[0x7f, 9], Some(127), 1),
            (&[0x81, 0], Some(128), 0),
            (&[0xff; 9], Some(u64::MAX), 0),
            (&[0xff; 12], Some(u64::MAX), 3),
            (&[0x80; 8], None, 0),
            (&[], None, 0),
        ] {
            assert_eq!(varint(bytes).map(|(value, rest)| (value, rest.len())), value.map(|value| (value, left)));
        }
        let ints = |kind, body: &[u8]| value(kind, body).and_then(|(value, rest)| Some((int(value)?, rest.len())));
        assert_eq!(ints(1, &[0xff, 1]), Some((-1, 1)));
        assert_eq!(ints(2, &[0x80, 0]), Some((-32_768, 0)));
        assert_eq!(ints(5, &[0, 0, 0, 1, 0, 0]), Some((65_536, 0)));
        assert_eq!(ints(6, &i64::MIN.to_be_bytes()), Some((i64::MIN, 0)));
        assert_eq!((ints(8, &[]), ints(9, &[])), (Some((0, 0)), Some((1, 0))));
        assert_eq!((ints(4, &[1, 2, 3]), ints(7, &[0; 8]), ints(13, &[0; 8])), (None, None, None));
        assert!(value(52, &[1; 19]).is_none() && value(52, &[1; 20]).is_some() && value(u64::MAX - 1, &[1]).is_none());
    }

    fn vouchers(file: &[u8]) -> Vec<VoucherRow> {
        let mut found = Vec::new();
        let each = |row: &VoucherRow| {
            found.push(*row);
            Ok(())
        };
        each_voucher(Path::new("file"), file, each).unwrap();
        found
    }

    /// A page of rows with one voucher in it, by hand.
    fn page(row: &VoucherRow, sum: i64) -> Vec<u8> {
        let blobs = [
            row.key.payer.as_slice(),
            row.key.payee.as_slice(),
            row.key.lane.word().as_slice(),
            &[3],
            &row.cumulative.to_be_bytes12(),
            row.signature.as_bytes(),
        ]
        .concat();
        let header = [12, 0, 9, 52, 52, 76, 1, 36, 0x81, 0x0c, 0, 1, 6];
        let record = [&[13], &header[1..], &blobs, &[7], &sum.to_be_bytes()].concat();
        let length = u16::try_from(record.len()).unwrap();
        let cell = [&[0x80 | u8::try_from(length >> 7).unwrap(), u8::try_from(length & 0x7f).unwrap(), 1], &record[..]];
        let mut page = vec![0; 512];
        page[..10].copy_from_slice(&[LEAF, 0, 0, 0, 1, 0, 0, 0, 0, 64]);
        let cell = cell.concat();
        page[64..64 + cell.len()].copy_from_slice(&cell);
        page
    }

    #[test]
    fn n12_a_row_counts_where_its_sum_holds_and_no_bytes_are_too_strange() {
        let row = VoucherRow {
            key: VoucherKey {
                direction: Direction::Received,
                payer: Address::repeat_byte(1),
                payee: Address::repeat_byte(2),
                lane: Lane::default(),
                epoch: 3,
            },
            cumulative: symbolon_primitives::Amount::from_u64(5),
            signature: Signature::from_bytes([4; 64]),
            order: None,
            created_at: Timestamp(7),
        };
        let mut first = vec![0; 512];
        first[16..18].copy_from_slice(&512_u16.to_be_bytes());
        let file = |page: &[u8]| [&first[..], page].concat();
        let whole = page(&row, voucher_sum(&row));
        assert_eq!(vouchers(&file(&whole)), [row]);
        assert_eq!(vouchers(&file(&page(&row, voucher_sum(&row) ^ 1))).len(), 0);
        // Whatever single byte is another one: it is this voucher or none.
        let mut kept = 0;
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut page = whole.clone();
                page[at] = byte;
                for found in vouchers(&file(&page)) {
                    assert_eq!(found, row, "{byte:#x} at {at}");
                    kept += 1;
                }
            }
        }
        // Most of a page is empty here.
        assert!(kept > 1_000, "{kept}");
        assert_eq!(vouchers(&[]).len() + vouchers(&[LEAF; 8_192]).len() + vouchers(&[0xff; 9_000]).len(), 0);
    }
}
