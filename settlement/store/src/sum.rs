//! What a row held when it was written, in 64 bits (FNV-1a): against bits that
//! flip on a disk, not against people.

use crate::{VoucherKey, VoucherRow};

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The sum so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sum(u64);

impl Sum {
    fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(PRIME)))
    }

    /// A part that ends where its length says.
    fn part(self, bytes: &[u8]) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes(&length.to_be_bytes()).bytes(bytes)
    }

    fn column(self) -> i64 {
        i64::from_be_bytes(self.0.to_be_bytes())
    }

    /// The beginning of the sum of every voucher of an epoch.
    pub(crate) fn of_epoch(key: &VoucherKey) -> Self {
        Self(OFFSET)
            .bytes(&key.direction.code().to_be_bytes())
            .bytes(key.payer.as_slice())
            .bytes(key.payee.as_slice())
            .bytes(key.lane.word().as_slice())
            .bytes(&key.epoch.to_be_bytes())
    }

    /// The sum of a voucher; this has to be [`Sum::of_epoch`] of its key.
    pub(crate) fn of_voucher(self, row: &VoucherRow) -> i64 {
        let VoucherRow { key: _, cumulative, signature, order, created_at } = row;
        self.bytes(&cumulative.to_be_bytes12())
            .bytes(signature.as_bytes())
            .part(order.as_ref().map_or(&[], |order| order.as_bytes().as_slice()))
            .bytes(&created_at.0.to_be_bytes())
            .column()
    }
}

pub(crate) fn record_sum(kind: &str, id: &[u8], bytes: &[u8]) -> i64 {
    Sum(OFFSET).part(kind.as_bytes()).part(id).part(bytes).column()
}

pub(crate) fn voucher_sum(row: &VoucherRow) -> i64 {
    Sum::of_epoch(&row.key).of_voucher(row)
}
