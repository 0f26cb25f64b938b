//! Machines as the store keeps them: their whole state, in one encoding.

use crate::context::NodeError;
use serde::{Serialize, de::DeserializeOwned};
use symbolon_store::{StoreHandle, View, Write};

/// A kind of record and what it holds.
pub(crate) trait Snapshot: Serialize + DeserializeOwned {
    /// The kind's name in the store.
    const KIND: &'static str;

    /// Takes over what the store keeps beside the record and later than it. Every record that is read goes through here.
    ///
    /// # Errors
    /// [`NodeError`] when the store does not read.
    fn catch_up(&mut self, _view: &View<'_>) -> Result<(), NodeError> {
        Ok(())
    }
}

/// The write that stores `value` under `id`.
pub(crate) fn put<T: Snapshot>(id: &[u8], value: &T) -> Result<Write, NodeError> {
    let bytes = postcard::to_allocvec(value).map_err(|_| NodeError::Snapshot { kind: T::KIND })?;
    Ok(Write::put(T::KIND, id, bytes))
}

/// Everything stored of a kind.
///
/// # Safety of funds
/// A record that cannot be read stops the node: guessing would sign twice.
pub(crate) fn all<T: Snapshot>(store: &StoreHandle) -> Result<Vec<T>, NodeError> {
    store.read(|view| all_in(&view))
}

/// As [`all`], of an open view.
pub(crate) fn all_in<T: Snapshot>(view: &View<'_>) -> Result<Vec<T>, NodeError> {
    let mut values = Vec::new();
    view.for_each_record(T::KIND, |_, bytes| {
        values.push(read(view, bytes)?);
        Ok::<_, NodeError>(())
    })?;
    Ok(values)
}

/// The one stored under `id`, if any.
pub(crate) fn one_in<T: Snapshot>(view: &View<'_>, id: &[u8]) -> Result<Option<T>, NodeError> {
    view.record(T::KIND, id)?.map(|bytes| read(view, &bytes)).transpose()
}

fn read<T: Snapshot>(view: &View<'_>, bytes: &[u8]) -> Result<T, NodeError> {
    let mut value: T = postcard::from_bytes(bytes).map_err(|_| NodeError::Snapshot { kind: T::KIND })?;
    value.catch_up(view)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::{provider::ChannelRecord, requestor::PayerRecord};
    use symbolon_channel::{ChannelTerms, Effect, Hosting, Payee, PayeeInput, Payer, PayerInput, View as Seen};
    use symbolon_primitives::{Address, AgreementDigest, Amount, Domain, Key, Royalty, Signer, Timestamp};
    use symbolon_store::{Direction, Store, VoucherKey, VoucherRow};

    #[test]
    fn sym_24_l8_a_channel_that_is_read_knows_the_voucher_kept_after_its_snapshot() {
        let [payer_key, payee_key] = [1, 2].map(|byte| Key::from_bytes(&[byte; 32]).unwrap());
        let terms = ChannelTerms {
            domain: Domain { chain_id: 1, vault: Address::ZERO },
            payer: payer_key.address(),
            payee: payee_key.address(),
            lane: Royalty::NONE.lane(1),
            margin_secs: 10,
        };
        let (mut payer, mut payee) = (Payer::new(terms), Payee::new(terms));
        let (allocated, expiry) = (Amount::from_u64(100), Timestamp(9_000));
        let seen = Seen { allocated, expiry, block: 1, ..Seen::default() };
        let hosting = Hosting {
            agreement: AgreementDigest::from_bytes([7; 32]),
            epoch: 0,
            owed: Amount::ZERO,
            price: Amount::from_u64(7),
            begin: Timestamp(100),
            period_secs: 10,
            lead_secs: 5,
            periods: 9,
        };
        for input in [PayerInput::Seen(seen), PayerInput::Host(hosting)] {
            payer.handle(&payer_key, input, Timestamp(0)).unwrap();
        }
        for input in [PayeeInput::Seen(seen), PayeeInput::Host(hosting)] {
            payee.handle(&payee_key, input, Timestamp(0)).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let snapshots = [
            put(&[1], &PayerRecord { payer: payer.clone() }).unwrap(),
            put(&[1], &ChannelRecord::of(payee.clone())).unwrap(),
        ];
        store.write(&snapshots).unwrap();
        for paid in 0..3 {
            let effects = payer.handle(&payer_key, PayerInput::Timer, hosting.due_after(paid)).unwrap();
            let Some(Effect::Keep(signed)) = effects.get(1).copied() else { panic!("no voucher: {effects:?}") };
            payee.handle(&payee_key, PayeeInput::Period(signed), Timestamp(0)).unwrap();
            for direction in [Direction::Issued, Direction::Received] {
                let ChannelTerms { payer, payee, lane, .. } = terms;
                let key = VoucherKey { direction, payer, payee, lane, epoch: 0 };
                let (cumulative, signature) = (signed.voucher.cumulative, signed.signature);
                let row = VoucherRow { key, cumulative, signature, order: None, created_at: Timestamp(1) };
                store.write(&[Write::PutVoucher(row)]).unwrap();
            }
        }
        // Without it the payer would sign the first period's total again.
        let view = store.view();
        assert_eq!(payer.promised(), Amount::from_u64(21));
        assert_eq!(all_in::<PayerRecord>(&view).unwrap().pop().unwrap().payer, payer);
        assert_eq!(all_in::<ChannelRecord>(&view).unwrap().pop().unwrap().payee, payee);
        assert_eq!(one_in::<PayerRecord>(&view, &[1]).unwrap().unwrap().payer, payer);
    }
}
