//! The packed layouts of sections 1.4 and 1.5, read into plain values.

use super::{Refusal, refuse};
use alloy_primitives::{Address, B256, U256};
use symbolon_contracts::vault;

/// One voucher of a claim.
#[derive(Clone, Debug)]
pub(crate) struct VoucherRow {
    pub(crate) signature: [u8; 64],
    pub(crate) cumulative: u128,
    pub(crate) epoch: u32,
}

/// One header of a claim and its vouchers.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) payee: Address,
    pub(crate) lane: B256,
    pub(crate) rows: Vec<VoucherRow>,
}

/// One row of a settlement by quorum.
#[derive(Clone, Debug)]
pub(crate) struct QuorumRow {
    pub(crate) leaf: [u8; 61],
    pub(crate) provider: Address,
    pub(crate) owed: u128,
    pub(crate) flat: u128,
    pub(crate) rate: u128,
    pub(crate) epoch: u32,
    pub(crate) lane_number: u16,
    pub(crate) nonce: B256,
    pub(crate) signature: [u8; 64],
}

fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

fn short(bytes: &[u8]) -> u32 {
    u32::try_from(number(bytes)).unwrap()
}

fn missing<T>(offset: usize) -> Result<T, Refusal> {
    refuse(vault::BadRecords { offset: U256::from(offset) })
}

/// Reads records: `payee` is the caller of `claim`, or nobody for `claimFor`, whose records name it.
pub(crate) fn headers(records: &[u8], payee: Option<Address>) -> Result<Vec<Header>, Refusal> {
    let mut headers = Vec::new();
    let mut at = 0;
    while at < records.len() {
        let payee = match payee {
            Some(payee) => payee,
            None => {
                let Some(bytes) = records.get(at..at + 20) else { return missing(at) };
                at += 20;
                Address::from_slice(bytes)
            }
        };
        let Some(bytes) = records.get(at..at + 33) else { return missing(at) };
        let (lane, count) = (B256::from_slice(&bytes[..32]), usize::from(bytes[32]));
        if count == 0 {
            return missing(at + 32);
        }
        at += 33;
        let Some(bytes) = records.get(at..at + 79 * count) else { return missing(at) };
        at += 79 * count;
        let rows = bytes.chunks_exact(79).map(|row| VoucherRow {
            signature: row[..64].try_into().unwrap(),
            cumulative: number(&row[64..76]),
            epoch: short(&row[76..]),
        });
        headers.push(Header { payee, lane, rows: rows.collect() });
    }
    Ok(headers)
}

/// Reads whole rows of a settlement.
pub(crate) fn quorum_rows(rows: &[u8]) -> Vec<QuorumRow> {
    let read = |row: &[u8]| QuorumRow {
        leaf: row[..61].try_into().unwrap(),
        provider: Address::from_slice(&row[..20]),
        owed: number(&row[20..32]),
        flat: number(&row[32..44]),
        rate: number(&row[44..56]),
        epoch: short(&row[56..59]),
        lane_number: u16::from_be_bytes(row[59..61].try_into().unwrap()),
        nonce: B256::from_slice(&row[61..93]),
        signature: row[93..].try_into().unwrap(),
    };
    rows.chunks_exact(157).map(read).collect()
}
