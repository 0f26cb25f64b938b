//! How far this provider works ahead of one payer key's money.

use super::ChannelRecord;
use symbolon_channel::{Rejected, Standing};
use symbolon_primitives::{Agreement, Amount};

/// SYM-25 over all channels of the agreement's payer key, with `record` in place of its old self. `unproven` is the
/// exposure to a payer key that has paid nothing yet (SYM-27), in base units.
///
/// # Errors
/// The channel's refusal, with the exposure there would be and the most that is allowed.
pub(super) fn check<'a>(
    channels: impl IntoIterator<Item = &'a ChannelRecord>,
    agreement: &Agreement,
    record: &ChannelRecord,
    unproven: Amount,
) -> Result<(), Rejected> {
    let others =
        channels.into_iter().filter(|other| other.payee.terms().payer == agreement.payer && other.id() != record.id());
    Standing::of(others.map(|other| &other.payee).chain([&record.payee])).check(agreement.exposure_limit, unproven)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_channel::{ChannelTerms, Order, Payee, PayeeInput, Reason, View};
    use symbolon_primitives::{
        Address, Domain, Key, Leaf, OrderDigest, ProfileId, Refuse, Royalty, Signer, Timestamp, Voucher,
    };

    fn key(byte: u8) -> Key {
        Key::from_bytes(&[byte; 32]).unwrap()
    }

    fn domain() -> Domain {
        Domain { chain_id: 1, vault: Address::ZERO }
    }

    /// A payer key's agreement with an exposure of 100 at most.
    fn agreement(payer: &Key) -> Agreement {
        Agreement {
            demand: Default::default(),
            offer: Default::default(),
            owner: payer.address(),
            payer: payer.address(),
            payee: key(9).address(),
            royalty: Royalty::NONE,
            flat: Amount::ZERO,
            rate: Amount::ZERO,
            profile: ProfileId::default(),
            exposure_limit: Amount::from_u64(100),
            finality_threshold: Amount::MAX,
            depth: 1,
            commit_secs: 1,
            reserve_secs: 1,
            wait_secs: 1,
            settle_secs: 1,
            keep_secs: 1,
            margin_secs: 1,
            valid_until: Timestamp(1_000),
        }
    }

    /// A channel of the payer key that has paid `paid`, with an order of `price` open in it.
    fn channel(payer: &Key, number: u16, paid: u64, price: u64) -> ChannelRecord {
        let (payee_key, lane) = (key(9), Royalty::NONE.lane(number));
        let terms =
            ChannelTerms { domain: domain(), payer: payer.address(), payee: payee_key.address(), lane, margin_secs: 1 };
        let mut payee = Payee::new(terms);
        let allocated = Amount::from_u64(10_000);
        let view = View { allocated, expiry: Timestamp(9_000), block: 1, ..View::default() };
        let leaf = Leaf {
            provider: terms.payee,
            owed: Amount::from_u64(paid),
            flat: Amount::from_u64(price),
            rate: Amount::ZERO,
            epoch: 0,
            lane_number: number,
        };
        let view = View { claimed: Amount::from_u64(paid), ..view };
        let order = Order {
            digest: OrderDigest::from_bytes([number.to_be_bytes()[1]; 32]),
            leaf,
            max_fuel: 1,
            settle_by: Timestamp(100),
        };
        for input in [PayeeInput::Seen(view), PayeeInput::Offered(order)] {
            payee.handle(&payee_key, input, Timestamp(1)).unwrap();
        }
        ChannelRecord::of(payee)
    }

    #[test]
    fn sym_25_l5_exposure_is_over_all_channels_of_a_payer_key_and_no_others() {
        let (payer, stranger) = (key(1), key(2));
        let agreed = agreement(&payer);
        let check = |channels: &[ChannelRecord], record: &ChannelRecord| {
            super::check(channels, &agreed, record, Amount::from_u64(40))
        };
        let too_high = |have: u64, most: u64| {
            let [have, most] = [have, most].map(Amount::from_u64);
            Err(Reason::ExposureTooHigh { have, most }.retry())
        };
        // One that has paid nothing: to the unit.
        assert_eq!(check(&[], &channel(&payer, 0, 0, 40)), Ok(()));
        assert_eq!(check(&[], &channel(&payer, 0, 0, 41)), too_high(41, 40));
        // What is open on its other lanes counts as well, and so does what was paid on them.
        let other = channel(&payer, 1, 0, 30);
        assert_eq!(check(std::slice::from_ref(&other), &channel(&payer, 0, 0, 10)), Ok(()));
        assert_eq!(check(std::slice::from_ref(&other), &channel(&payer, 0, 0, 11)), too_high(41, 40));
        let paying = channel(&payer, 1, 35, 30);
        assert_eq!(check(std::slice::from_ref(&paying), &channel(&payer, 0, 0, 40)), Ok(()));
        assert_eq!(check(std::slice::from_ref(&paying), &channel(&payer, 0, 0, 41)), too_high(71, 70));
        // However much it has paid, the agreement's limit holds.
        let proven = channel(&payer, 1, 5_000, 30);
        assert_eq!(check(std::slice::from_ref(&proven), &channel(&payer, 0, 0, 70)), Ok(()));
        assert_eq!(check(std::slice::from_ref(&proven), &channel(&payer, 0, 0, 71)), too_high(101, 100));
        // The channel as it was before the order is not counted beside itself.
        let old = channel(&payer, 0, 0, 40);
        assert_eq!(check(&[old], &channel(&payer, 0, 0, 40)), Ok(()));
        // Nor is another payer key, neither what it owes nor what it paid.
        let foreign = [channel(&stranger, 0, 0, 90), channel(&stranger, 1, 500, 90)];
        assert_eq!(check(&foreign, &channel(&payer, 0, 0, 40)), Ok(()));
        assert_eq!(check(&foreign, &channel(&payer, 0, 0, 41)), too_high(41, 40));
    }

    #[test]
    fn sym_27_a_voucher_makes_room_for_the_next_order() {
        let payer = key(1);
        let agreed = agreement(&payer);
        let unproven = Amount::from_u64(40);
        let other = channel(&payer, 1, 0, 40);
        assert!(super::check([&other], &agreed, &channel(&payer, 0, 0, 40), unproven).is_err());
        // Its order is attested and vouchered.
        let mut payee = other.payee;
        let order = payee.open_order().unwrap();
        let voucher =
            Voucher { payee: key(9).address(), lane: payee.terms().lane, cumulative: Amount::from_u64(40), epoch: 0 };
        let signed = symbolon_channel::SignedVoucher { voucher, signature: payer.sign(&voucher.digest(&domain())) };
        for input in [PayeeInput::Attest { order, fuel: 1 }, PayeeInput::Voucher { order, signed }] {
            payee.handle(&key(9), input, Timestamp(1)).unwrap();
        }
        let paid = ChannelRecord::of(payee);
        assert_eq!(super::check([&paid], &agreed, &channel(&payer, 0, 0, 80), unproven), Ok(()));
        assert!(super::check([&paid], &agreed, &channel(&payer, 0, 0, 81), unproven).is_err());
    }
}
