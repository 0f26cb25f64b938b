//! Which transaction paid what: claims and settlements by quorum, read back from
//! events and calldata, which together rebuild the state (SYM-06).

use crate::{ChainError, ChainEvent, EventFilter, VaultView, ops::SignedVoucher};
use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolCall,
};
use serde::Deserialize;
use serde_json::json;
use symbolon_contracts::vault::{self, VaultEvents};
use symbolon_primitives::{Amount, Epoch, Lane, OrderDigest, Signature, Voucher};

/// The most transactions read for one question.
pub const MAX_TRANSACTIONS: usize = 10_000;

/// A claim's row: everything of a voucher but its payer, whom the signature names.
const ROW_BYTES: usize = 79;

/// What one transaction did for one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The transaction.
    pub tx: B256,
    /// Its block.
    pub block: u64,
    /// The payer key.
    pub payer: Address,
    /// The payee.
    pub payee: Address,
    /// By which instrument.
    pub by: Instrument,
}

/// What was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instrument {
    /// A voucher.
    Voucher {
        /// The channel's lane.
        lane: Lane,
        /// Its epoch.
        epoch: Epoch,
        /// The absolute total it names.
        total: Amount,
    },
    /// A quorum's settlement.
    Quorum {
        /// The order.
        order: OrderDigest,
        /// What the channel paid, gross of royalty; zero when it could not.
        paid: Amount,
    },
}

#[derive(Debug, Deserialize)]
struct Sent {
    to: Option<Address>,
    input: Bytes,
}

impl VaultView {
    /// What vouchers and quorums paid to `payee` in the blocks `from` to `to`, in the order of the chain. A claim that
    /// went through another contract is left out: its rows do not stand in the transaction.
    ///
    /// # Errors
    /// As [`VaultView::events`].
    pub async fn payments_to(&self, payee: Address, from: u64, to: u64) -> Result<Vec<Payment>, ChainError> {
        let mut found = Vec::new();
        for event in self.all_events(&EventFilter::settlements(), from, to).await? {
            let VaultEvents::ResultsSettled(settled) = &event.event else { continue };
            let mine = crate::amounts_of_words(&settled.credits).filter(|(to, _)| *to == payee);
            found.extend(mine.map(|(_, paid)| {
                let order = OrderDigest::from_bytes(settled.order.0);
                let by = Instrument::Quorum { order, paid };
                Payment { tx: event.tx, block: event.block, payer: settled.payer, payee, by }
            }));
        }
        let mut claims: Vec<(u64, B256)> = Vec::new();
        for event in self.all_events(&EventFilter::claims_of(payee), from, to).await? {
            // One event for each header of a claim.
            if claims.last() != Some(&(event.block, event.tx)) {
                claims.push((event.block, event.tx));
            }
        }
        for (block, tx) in claims.into_iter().take(MAX_TRANSACTIONS) {
            let sent: Option<Sent> = self.chain().rpc().request("eth_getTransactionByHash", json!([tx])).await?;
            let Some(sent) = sent.filter(|sent| sent.to == Some(self.address())) else { continue };
            for row in claimed_rows(&sent.input, payee).unwrap_or_default() {
                let Voucher { lane, cumulative: total, epoch, .. } = row.voucher;
                let Ok(payer) = row.signature.recover(&row.voucher.digest(&self.domain())) else { continue };
                found.push(Payment { tx, block, payer, payee, by: Instrument::Voucher { lane, epoch, total } });
            }
        }
        found.sort_by_key(|payment| payment.block);
        Ok(found)
    }

    async fn all_events(&self, filter: &EventFilter, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        let (mut events, mut next) = (Vec::new(), from);
        while next <= to && events.len() < MAX_TRANSACTIONS {
            let page = self.events(filter, next, to).await?;
            next = page.next;
            events.extend(page.events);
        }
        Ok(events)
    }
}

/// The rows of a claim that are for `payee`; nothing when the calldata is no claim.
#[must_use]
pub fn claimed_rows(calldata: &[u8], payee: Address) -> Option<Vec<SignedVoucher>> {
    let rows = if let Ok(claim) = vault::claimCall::abi_decode(calldata) {
        rows_of(&claim.records, |_| Some((payee, 0)))
    } else {
        let claim = vault::claimForCall::abi_decode(calldata).ok()?;
        rows_of(&claim.records, |header| Some((Address::from_slice(header.get(..20)?), 20)))
    }?;
    Some(rows.into_iter().filter(|row| row.voucher.payee == payee).collect())
}

fn rows_of(mut rest: &[u8], header: impl Fn(&[u8]) -> Option<(Address, usize)>) -> Option<Vec<SignedVoucher>> {
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let (payee, skip) = header(rest)?;
        let (lane, body) = rest.get(skip..)?.split_first_chunk::<32>()?;
        let (count, body) = body.split_first()?;
        let (packed, after) = body.split_at_checked(usize::from(*count).checked_mul(ROW_BYTES)?)?;
        for row in packed.chunks_exact(ROW_BYTES) {
            let (signature, row) = row.split_first_chunk::<64>()?;
            let (total, epoch) = row.split_first_chunk::<12>()?;
            let total = total.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
            let voucher = Voucher {
                payee,
                lane: Lane::from_word(B256::from(*lane)),
                cumulative: Amount::new(total).ok()?,
                epoch: epoch.iter().fold(0, |sum: Epoch, byte| sum << 8 | Epoch::from(*byte)),
            };
            rows.push(SignedVoucher { voucher, signature: Signature::from_bytes(*signature) });
        }
        rest = after;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ops;
    use symbolon_primitives::Royalty;

    fn voucher(payee: u8, lane: u16, total: u64) -> SignedVoucher {
        SignedVoucher {
            voucher: Voucher {
                payee: Address::repeat_byte(payee),
                lane: Royalty::NONE.lane(lane),
                cumulative: Amount::from_u64(total),
                epoch: 0x01_02_03,
            },
            signature: Signature::from_bytes([payee; 64]),
        }
    }

    #[test]
    fn sym_06_a_claims_calldata_gives_its_rows_back() {
        let (vault, tag) = (Address::ZERO, B256::ZERO);
        let mine: Vec<_> = (1..300).map(|total| voucher(7, 1, total)).chain([voucher(7, 2, u64::MAX)]).collect();
        let claim = ops::claim(vault, &mine, None, tag);
        assert_eq!(claimed_rows(&claim.data, Address::repeat_byte(7)), Some(mine.clone()));
        let mut all = mine.clone();
        all.extend([voucher(6, 1, 5), voucher(8, 1, 5)]);
        let claim = ops::claim_for(vault, &all, tag);
        assert_eq!(claimed_rows(&claim.data, Address::repeat_byte(7)), Some(mine));
        assert_eq!(claimed_rows(&claim.data, Address::repeat_byte(6)), Some(vec![voucher(6, 1, 5)]));
        assert_eq!(claimed_rows(&claim.data, Address::repeat_byte(9)), Some(Vec::new()));
    }

    #[test]
    fn n1_calldata_of_strangers_never_panics() {
        let payee = Address::repeat_byte(7);
        assert_eq!(claimed_rows(&[], payee), None);
        let whole = ops::claim_for_records(&[voucher(7, 1, 5), voucher(7, 1, 6)]);
        for cut in 0..whole.len() {
            let records = whole.get(..cut).unwrap().to_vec();
            let call = vault::claimForCall { records: records.into() }.abi_encode();
            assert!(claimed_rows(&call, payee).is_none_or(|rows| rows.is_empty()), "{cut}");
        }
    }
}
