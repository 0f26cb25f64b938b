//! Each rule of a channel alone.

use crate::desk::{Desk, EXPIRY, MARGIN, Rng, amount, digest};
use symbolon_channel::{
    Conflict, Effect, Effects, Open, PayeeInput, PayerInput, Reason, Rejected, Remedy, SignedVoucher, Standing, View,
};
use symbolon_primitives::{Amount, Key, Release, Royalty, Signer, Timestamp};

fn reason<T: core::fmt::Debug>(answer: Result<T, Rejected>) -> Reason {
    answer.unwrap_err().reason
}

fn voucher_in(effects: &Effects) -> SignedVoucher {
    let sent = effects.iter().find_map(|effect| match effect {
        Effect::SendVoucher { signed, .. } => Some(*signed),
        _ => None,
    });
    sent.unwrap()
}

/// The total that pays exactly `number` fuel units on top of `owed`, with an
/// order taken and attested.
fn attested(desk: &mut Desk, number: u64, owed: u64, fuel: u64) {
    let offer = desk.order(number, owed, fuel, 100);
    desk.work(PayeeInput::Offered(offer), 10).unwrap();
    desk.work(PayeeInput::Attest { order: digest(number), fuel }, 20).unwrap();
}

#[test]
fn sym_21_one_order_at_a_time_at_both_ends() {
    let mut desk = Desk::open(1_000);
    let (first, second) = (desk.order(1, 0, 100, 500), desk.order(2, 0, 100, 500));
    desk.pay(PayerInput::Issue(first), 10).unwrap();
    assert!(desk.pay(PayerInput::Issue(first), 10).unwrap().is_empty(), "a repetition changes nothing");
    assert_eq!(reason(desk.pay(PayerInput::Issue(second), 10)), Reason::InFlight(Open::Order(digest(1))));
    assert_eq!(reason(desk.pay(PayerInput::Issue(second), 500)), Reason::InFlight(Open::Order(digest(1))));
    let third = desk.order(3, 0, 100, 900);
    desk.pay(PayerInput::Issue(third), 501).unwrap();

    let (first, second) = (desk.order(1, 0, 100, 500), desk.order(2, 0, 100, 500));
    desk.work(PayeeInput::Offered(first), 10).unwrap();
    assert!(desk.work(PayeeInput::Offered(first), 10).unwrap().is_empty());
    assert_eq!(reason(desk.work(PayeeInput::Offered(second), 10)), Reason::InFlight(Open::Order(digest(1))));
    desk.work(PayeeInput::GiveUp { order: digest(1) }, 20).unwrap();
    desk.work(PayeeInput::Offered(second), 20).unwrap();
}

#[test]
fn sym_21_owed_covers_what_is_claimed_promised_and_attested() {
    for (claimed, promised, fuel, need) in [(40, 0, 0, 40), (0, 50, 0, 50), (0, 0, 60, 60), (40, 50, 60, 60)] {
        let mut desk = Desk::open(1_000);
        attested(&mut desk, 1, 0, fuel);
        desk.work(PayeeInput::Timer, 101).unwrap();
        if promised > 0 {
            let signed = desk.voucher(amount(promised), 0);
            desk.work(PayeeInput::Voucher { order: digest(1), signed }, 102).unwrap();
        }
        let view = View { claimed: amount(claimed), ..*desk.payee.view() };
        desk.work(PayeeInput::Seen(view), 103).unwrap();
        let low = desk.order(2, need - 1, 10, 500);
        let refused = reason(desk.work(PayeeInput::Offered(low), 104));
        assert_eq!(refused, Reason::OwedTooLow { have: amount(need - 1), need: amount(need) });
        let enough = desk.order(2, need, 10, 500);
        desk.work(PayeeInput::Offered(enough), 104).unwrap();
    }
}

#[test]
fn sym_21_the_earmark_covers_the_maximum_and_lasts_past_settle_by() {
    let mut desk = Desk::open(100);
    let settle_by = EXPIRY - MARGIN;
    for (max_fuel, settle_by, fine) in [
        (100, settle_by, true),
        (101, settle_by, false),
        (100, settle_by + 1, false),
        (100, 10, false),
        (u64::MAX, settle_by, false),
    ] {
        let (issue, offer) = (desk.order(1, 0, max_fuel, settle_by), desk.order(1, 0, max_fuel, settle_by));
        assert_eq!(desk.pay(PayerInput::Issue(issue), 10).is_ok(), fine, "{max_fuel} {settle_by}");
        assert_eq!(desk.work(PayeeInput::Offered(offer), 10).is_ok(), fine, "{max_fuel} {settle_by}");
        desk.pay(PayerInput::GaveUp { order: digest(1) }, 10).unwrap();
        desk.work(PayeeInput::GiveUp { order: digest(1) }, 10).unwrap();
    }
    let issue = desk.order(1, 0, 101, settle_by);
    let short = Reason::EarmarkTooSmall { have: amount(100), need: amount(101) };
    assert_eq!(reason(desk.pay(PayerInput::Issue(issue), 10)), short);
}

#[test]
fn sym_16_a_leaf_of_another_lane_or_payee_is_no_leaf_of_this_channel() {
    let mut desk = Desk::open(100);
    let (mut offer, mut issue) = (desk.order(1, 0, 10, 100), desk.order(1, 0, 10, 100));
    (offer.leaf.lane_number, issue.leaf.lane_number) = (4, 4);
    assert_eq!(reason(desk.work(PayeeInput::Offered(offer), 10)), Reason::OtherChannel);
    assert_eq!(reason(desk.pay(PayerInput::Issue(issue), 10)), Reason::OtherChannel);
    let mut offer = desk.order(1, 0, 10, 100);
    offer.leaf.provider = desk.terms.payer;
    assert_eq!(reason(desk.work(PayeeInput::Offered(offer), 10)), Reason::OtherChannel);
}

#[test]
fn sym_24_a_voucher_is_stored_before_it_is_sent_and_said_again_alike() {
    let mut desk = Desk::open(1_000);
    let issue = desk.order(1, 0, 100, 500);
    desk.pay(PayerInput::Issue(issue), 10).unwrap();
    let agreed = PayerInput::Agreed { order: digest(1), fuel: 70 };
    let effects = desk.pay(agreed, 20).unwrap();
    let signed = voucher_in(&effects);
    let order = digest(1);
    assert_eq!(effects, [Effect::Persist, Effect::Keep(signed), Effect::SendVoucher { order, signed }]);
    assert_eq!((signed.voucher.cumulative, desk.payer.owed()), (amount(70), amount(70)));
    assert_eq!(desk.pay(agreed, 30).unwrap(), [Effect::SendVoucher { order, signed }]);
    // Another fuel for the same order signs nothing new.
    let other = desk.pay(PayerInput::Agreed { order, fuel: 99 }, 30).unwrap();
    assert_eq!(other, [Effect::SendVoucher { order, signed }]);
    let next = desk.order(2, 69, 100, 500);
    let refused = reason(desk.pay(PayerInput::Issue(next), 40));
    assert_eq!(refused, Reason::OwedDiffers { have: amount(69), need: amount(70) });
}

#[test]
fn l1_no_voucher_above_the_maximum_or_the_earmark() {
    let mut desk = Desk::open(100);
    let issue = desk.order(1, 0, 100, 500);
    desk.pay(PayerInput::Issue(issue), 10).unwrap();
    let refused = reason(desk.pay(PayerInput::Agreed { order: digest(1), fuel: 101 }, 20));
    assert_eq!(refused, Reason::FuelAboveMaximum { have: 100, need: 101 });
    // A reorganisation below the depth took a top-up back: nothing is signed until a person has looked.
    let conflict = Conflict::EarmarkFell { have: amount(60), seen: amount(100) };
    let view = View { allocated: amount(60), ..*desk.payer.view() };
    assert_eq!(desk.pay(PayerInput::Seen(view), 20).unwrap(), [Effect::Persist, Effect::Halted(conflict)]);
    let refused = desk.pay(PayerInput::Agreed { order: digest(1), fuel: 60 }, 20).unwrap_err();
    assert_eq!((refused.remedy, refused.reason), (Remedy::CloseChannel, Reason::Halted(conflict)));
    desk.pay(PayerInput::Overruled, 20).unwrap();
    let refused = desk.pay(PayerInput::Agreed { order: digest(1), fuel: 61 }, 20).unwrap_err();
    assert_eq!(refused.reason, Reason::EarmarkTooSmall { have: amount(60), need: amount(61) });
    desk.pay(PayerInput::Agreed { order: digest(1), fuel: 60 }, 20).unwrap();
}

#[test]
fn sym_24_a_payee_keeps_only_better_vouchers_of_its_payer_channel_and_epoch() {
    let mut desk = Desk::open(100);
    let order = digest(1);
    let take = |desk: &mut Desk, signed| desk.work(PayeeInput::Voucher { order, signed }, 10);
    let fifty = desk.voucher(amount(50), 0);
    assert_eq!(take(&mut desk, fifty).unwrap(), [Effect::Persist, Effect::Keep(fifty)]);
    for base in [0, 1, 49] {
        let lower = desk.voucher(amount(base), 0);
        let refused = reason(take(&mut desk, lower));
        assert_eq!(refused, Reason::NotHigher { have: amount(base), best: amount(50) });
    }
    for too_much in [amount(101), Amount::MAX] {
        let over = desk.voucher(too_much, 0);
        assert_eq!(reason(take(&mut desk, over)), Reason::EarmarkTooSmall { have: amount(100), need: too_much });
    }
    let next_epoch = desk.voucher(amount(60), 1);
    assert_eq!(reason(take(&mut desk, next_epoch)), Reason::WrongEpoch { have: 1, need: 0 });
    let mut forged = desk.voucher(amount(60), 0);
    forged.signature = Key::from_bytes(&[9; 32]).unwrap().sign(&forged.voucher.digest(&desk.terms.domain));
    let refused = take(&mut desk, forged).unwrap_err();
    assert_eq!(refused.remedy, Remedy::Disconnect);
    let mut elsewhere = desk.voucher(amount(60), 0);
    elsewhere.voucher.lane = symbolon_primitives::Royalty::NONE.lane(4);
    assert_eq!(reason(take(&mut desk, elsewhere)), Reason::OtherChannel);
    assert_eq!(desk.payee.best(), Some(&fifty));
    let all = desk.voucher(amount(100), 0);
    take(&mut desk, all).unwrap();
    assert_eq!(desk.payee.claimable(), amount(100));
}

#[test]
fn sym_25_exposure_is_what_is_owed_and_in_flight_without_what_is_secured() {
    let mut desk = Desk::open(1_000);
    assert_eq!(desk.payee.exposure(), Amount::ZERO);
    let offer = desk.order(1, 5, 100, 100);
    desk.work(PayeeInput::Offered(offer), 10).unwrap();
    assert_eq!(desk.payee.exposure(), amount(105), "owed and the maximum");
    desk.work(PayeeInput::Attest { order: digest(1), fuel: 70 }, 20).unwrap();
    assert_eq!(desk.payee.exposure(), amount(75));
    let signed = desk.voucher(amount(30), 0);
    assert_eq!(desk.work(PayeeInput::Voucher { order: digest(1), signed }, 30).unwrap().len(), 2, "kept, not paid");
    assert_eq!(desk.payee.exposure(), amount(45));
    // Past its settle-by it still is owed.
    desk.work(PayeeInput::Timer, 101).unwrap();
    assert_eq!((desk.payee.open_order(), desk.payee.exposure()), (None, amount(45)));
    // A quorum's settlement secures without a voucher; a vanished earmark secures nothing.
    let view = *desk.payee.view();
    desk.work(PayeeInput::Seen(View { claimed: amount(60), ..view }), 102).unwrap();
    assert_eq!(desk.payee.exposure(), amount(15));
    desk.work(PayeeInput::Seen(View { allocated: amount(10), claimed: Amount::ZERO, ..view }), 103).unwrap();
    assert_eq!(desk.payee.exposure(), amount(65));
    assert!(desk.payee.halted().is_some(), "and stops the channel");
}

#[test]
fn sym_27_no_order_is_paid_because_the_sender_says_so() {
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    let signed = desk.voucher(amount(50), 0);
    let paid = Effect::Paid { order: digest(1) };
    assert!(desk.work(PayeeInput::Voucher { order: digest(1), signed }, 30).unwrap().contains(&paid));
    // The second order ends without a Result, or with one that is not covered.
    let offer = desk.order(2, 50, 10, 100);
    desk.work(PayeeInput::Offered(offer), 40).unwrap();
    let replay = PayeeInput::Voucher { order: digest(2), signed };
    assert!(desk.work(replay, 50).unwrap().is_empty(), "in flight");
    desk.work(PayeeInput::Timer, 101).unwrap();
    assert!(desk.work(replay, 102).unwrap().is_empty(), "lapsed");
    assert_eq!(
        desk.work(PayeeInput::Voucher { order: digest(1), signed }, 103).unwrap(),
        [paid],
        "the answer got lost"
    );
}

#[test]
fn sym_25_settling_the_last_order_collects_everything_earlier() {
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    desk.work(PayeeInput::Timer, 101).unwrap();
    let offer = desk.order(2, 50, 30, 300);
    desk.work(PayeeInput::Offered(offer), 110).unwrap();
    desk.work(PayeeInput::Attest { order: digest(2), fuel: 30 }, 120).unwrap();
    let signed = desk.voucher(amount(80), 0);
    let effects = desk.work(PayeeInput::Voucher { order: digest(2), signed }, 130).unwrap();
    let paid = [Effect::Paid { order: digest(1) }, Effect::Paid { order: digest(2) }];
    assert!(effects.ends_with(&paid), "{effects:?}");
}

#[test]
fn sym_21_who_attested_cannot_give_up() {
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    let give_up = PayeeInput::GiveUp { order: digest(1) };
    assert_eq!(reason(desk.work(give_up, 30)), Reason::Attested { order: digest(1) });
    let attest = PayeeInput::Attest { order: digest(2), fuel: 1 };
    assert_eq!(reason(desk.work(attest, 30)), Reason::NotOpen(Open::Order(digest(2))));
    // Of another order nothing is waived, and nothing is refused.
    assert!(desk.work(PayeeInput::GiveUp { order: digest(2) }, 30).unwrap().is_empty());
    assert_eq!(desk.payee.open_order(), Some(digest(1)));
    let mut desk = Desk::open(1_000);
    let order = desk.order(1, 0, 10, 100);
    desk.work(PayeeInput::Offered(order), 10).unwrap();
    assert!(desk.work(PayeeInput::GiveUp { order: digest(2) }, 30).unwrap().is_empty());
    assert_eq!(desk.payee.open_order(), Some(digest(1)), "only the order that is named");
}

#[test]
fn sym_04_a_release_is_signed_only_when_nothing_is_left_to_lose() {
    let mut desk = Desk::new();
    let ask = PayeeInput::ReleaseAsked { epoch: 0 };
    assert_eq!(reason(desk.work(ask, 10)), Reason::NotSeen);
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    assert_eq!(reason(desk.work(ask, 30)), Reason::InFlight(Open::Order(digest(1))));
    let signed = desk.voucher(amount(60), 0);
    desk.work(PayeeInput::Voucher { order: digest(1), signed }, 40).unwrap();
    let view = *desk.payee.view();
    for claimed in [0, 50, 59] {
        let view = View { claimed: amount(claimed), ..view };
        desk.work(PayeeInput::Seen(view), 50).unwrap();
        let refused = Reason::NotClaimed { claimed: amount(claimed), earned: amount(60) };
        assert_eq!(reason(desk.work(ask, 50)), refused);
    }
    let settled = View { claimed: amount(60), ..view };
    desk.work(PayeeInput::Seen(settled), 60).unwrap();
    assert_eq!(reason(desk.work(PayeeInput::ReleaseAsked { epoch: 1 }, 60)), Reason::WrongEpoch { have: 1, need: 0 });
    let effects = desk.work(ask, 60).unwrap();
    let [Effect::Persist, Effect::Consent { release, signature }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*release, Release { payer: desk.terms.payer, lane: desk.terms.lane, epoch: 0 });
    assert_eq!(signature.check(&release.digest(&desk.terms.domain), desk.terms.payee), Ok(()));
    // Ever after, nothing of the epoch is accepted; asking again is answered alike.
    assert_eq!(desk.work(ask, 70).unwrap(), effects[1..]);
    let late = desk.voucher(amount(70), 0);
    let refused = reason(desk.work(PayeeInput::Voucher { order: digest(1), signed: late }, 70));
    assert_eq!(refused, Reason::EpochClosed { epoch: 0 });
    let offer = desk.order(2, 60, 10, 500);
    assert_eq!(reason(desk.work(PayeeInput::Offered(offer), 70)), Reason::EpochClosed { epoch: 0 });
    // The next epoch goes on from what is claimed, once its bump is deep enough.
    desk.work(PayeeInput::Seen(View { epoch: 1, ..settled }), 80).unwrap();
    let mut offer = desk.order(2, 60, 10, 500);
    desk.work(PayeeInput::Offered(offer), 90).unwrap();
    offer.leaf.epoch = 0;
    assert!(desk.work(PayeeInput::Offered(offer), 90).is_err());
}

#[test]
fn sym_26_what_the_chain_cannot_show_stops_the_channel_until_a_person_has_looked() {
    let seen = View { allocated: amount(100), claimed: amount(10), epoch: 2, expiry: Timestamp(EXPIRY), block: 50 };
    let back = Conflict::EpochWentBack { have: 1, seen: 2 };
    let fell = Conflict::EarmarkFell { have: amount(99), seen: amount(100) };
    let sooner = Conflict::ExpiryFell { have: Timestamp(EXPIRY - 1), seen: Timestamp(EXPIRY) };
    let above = Conflict::ClaimedAboveSigned { have: amount(11), most: amount(10) };
    let early = Conflict::ReleasedEarly { epoch: 2, expiry: Timestamp(EXPIRY) };
    for (view, payer, payee) in [
        (View { epoch: 1, ..seen }, Some(back), Some(back)),
        (View { allocated: amount(99), ..seen }, Some(fell), Some(fell)),
        (View { expiry: Timestamp(EXPIRY - 1), ..seen }, Some(sooner), Some(sooner)),
        // A payee may be paid on what it never saw; a payer knows all it signed.
        (View { claimed: amount(11), ..seen }, Some(above), None),
        (View { claimed: amount(11), epoch: 3, ..seen }, Some(above), Some(early)),
        // Its own consent, or the expiry, ends an epoch.
        (View { epoch: 3, ..seen }, None, Some(early)),
        (View { claimed: amount(9), ..seen }, None, None),
        (View { allocated: amount(200), expiry: Timestamp(EXPIRY + 1), ..seen }, None, None),
    ] {
        let mut desk = Desk::new();
        desk.pay(PayerInput::Seen(seen), 10).unwrap();
        desk.work(PayeeInput::Seen(seen), 10).unwrap();
        let view = View { block: 51, ..view };
        let told = desk.pay(PayerInput::Seen(view), 20).unwrap();
        assert_eq!((desk.payer.halted(), told.contains(&Effect::Persist)), (payer, true), "{view:?}");
        assert_eq!(told.last(), payer.map(Effect::Halted).as_ref().or(Some(&Effect::Persist)));
        let told = desk.work(PayeeInput::Seen(view), 20).unwrap();
        assert_eq!(desk.payee.halted(), payee, "{view:?}");
        assert_eq!(told.last(), payee.map(Effect::Halted).as_ref().or(Some(&Effect::Persist)));
        // What the chain says is taken over all the same, except an epoch that went back.
        let epoch_back = view.epoch < seen.epoch;
        assert_eq!(*desk.payer.view(), if epoch_back { seen } else { view });
        assert_eq!(*desk.payee.view(), if epoch_back { seen } else { view });
        // The second conflict does not hide the first.
        let worse = View { allocated: Amount::ZERO, epoch: view.epoch.max(2), block: 52, ..view };
        desk.pay(PayerInput::Seen(worse), 30).unwrap();
        assert!(payer.is_none() || desk.payer.halted() == payer);
        // Stopped: no order, no release; a person lets it go on.
        let order = desk.order(1, desk.payer.owed().get() as u64, 10, 500);
        if let Some(conflict) = desk.payer.halted() {
            let refused = desk.pay(PayerInput::Issue(order), 30).unwrap_err();
            assert_eq!((refused.remedy, refused.reason), (Remedy::CloseChannel, Reason::Halted(conflict)));
            desk.pay(PayerInput::Overruled, 30).unwrap();
            assert_eq!(desk.payer.halted(), None);
        }
        if let Some(conflict) = payee {
            let owed = desk.payee.earned().get() as u64;
            let order = desk.order(1, owed, 10, 500);
            assert_eq!(reason(desk.work(PayeeInput::Offered(order), 30)), Reason::Halted(conflict));
            let hosting = desk.hosting(1, owed);
            assert_eq!(reason(desk.work(PayeeInput::Host(hosting), 30)), Reason::Halted(conflict));
            let ask = PayeeInput::ReleaseAsked { epoch: desk.payee.view().epoch };
            assert_eq!(reason(desk.work(ask, 30)), Reason::Halted(conflict));
            desk.work(PayeeInput::Overruled, 30).unwrap();
            desk.work(PayeeInput::Offered(order), 30).unwrap();
        }
    }
}

#[test]
fn sym_26_a_release_counts_as_early_up_to_the_margin() {
    for (now, early) in [(EXPIRY - MARGIN - 1, true), (EXPIRY - MARGIN, false)] {
        let mut desk = Desk::open(100);
        let view = View { epoch: 1, ..*desk.payee.view() };
        desk.work(PayeeInput::Seen(view), now).unwrap();
        assert_eq!(desk.payee.halted().is_some(), early, "{now}");
    }
}

#[test]
fn sym_25_a_payer_keys_standing_is_the_sum_over_its_channels() {
    let mut desk = Desk::open(1_000);
    let order = desk.order(1, 0, 70, 100);
    desk.work(PayeeInput::Offered(order), 10).unwrap();
    let mut other = Desk::open(1_000);
    let signed = other.voucher(amount(30), 0);
    other.work(PayeeInput::Voucher { order: digest(1), signed }, 10).unwrap();
    let order = other.order(2, 30, 5, 100);
    other.work(PayeeInput::Offered(order), 10).unwrap();
    let standing = Standing::of([&desk.payee, &other.payee]);
    assert_eq!((standing.exposed, standing.secured), (amount(75), amount(30)));
    assert_eq!(Standing::of([]), Standing::default());
}

#[test]
fn sym_24_a_voucher_of_a_later_epoch_is_asked_for_again_and_one_of_an_earlier_is_not() {
    let mut desk = Desk::open(100);
    desk.see(View { epoch: 5, ..*desk.payee.view() });
    for (epoch, remedy) in [(4, Remedy::Ignore), (6, Remedy::Retry)] {
        let signed = desk.voucher(amount(1), epoch);
        let refused = desk.work(PayeeInput::Voucher { order: digest(1), signed }, 10).unwrap_err();
        assert_eq!((refused.remedy, refused.reason), (remedy, Reason::WrongEpoch { have: epoch, need: 5 }));
    }
}

#[test]
fn sym_26_the_first_look_and_older_ones_are_no_conflict() {
    let mut desk = Desk::new();
    let view = View { allocated: amount(9), claimed: amount(5), epoch: 4, expiry: Timestamp(EXPIRY), block: 7 };
    desk.pay(PayerInput::Seen(view), 10).unwrap();
    desk.work(PayeeInput::Seen(view), 10).unwrap();
    assert_eq!((desk.payer.halted(), desk.payee.halted()), (None, None));
    assert_eq!(desk.payer.owed(), amount(5));
    let stale = View { epoch: 0, block: 6, ..view };
    assert_eq!(reason(desk.pay(PayerInput::Seen(stale), 10)), Reason::Stale { have: 6, seen: 7 });
    assert_eq!(reason(desk.work(PayeeInput::Seen(stale), 10)), Reason::Stale { have: 6, seen: 7 });
    // What was settled once stays owed, whatever a reorganisation takes back.
    desk.pay(PayerInput::Seen(View { claimed: amount(4), block: 8, ..view }), 10).unwrap();
    assert_eq!((desk.payer.halted(), desk.payer.owed()), (None, amount(5)));
}

#[test]
fn sym_26_an_order_that_left_bounds_what_may_be_claimed() {
    let mut desk = Desk::open(100);
    let order = desk.order(1, 0, 40, 500);
    desk.pay(PayerInput::Issue(order), 10).unwrap();
    desk.pay(PayerInput::Timer, 501).unwrap();
    let view = *desk.payer.view();
    desk.pay(PayerInput::Seen(View { claimed: amount(40), ..view }), 510).unwrap();
    assert_eq!((desk.payer.halted(), desk.payer.owed(), desk.payer.room()), (None, amount(40), amount(60)));
    desk.pay(PayerInput::Seen(View { claimed: amount(41), ..view }), 520).unwrap();
    let above = Conflict::ClaimedAboveSigned { have: amount(41), most: amount(40) };
    assert_eq!(desk.payer.halted(), Some(above));
}

#[test]
fn sym_04_what_an_epoch_ends_with_unclaimed_is_said() {
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    let view = View { claimed: amount(20), epoch: 1, ..*desk.payee.view() };
    let effects = desk.work(PayeeInput::Seen(view), EXPIRY).unwrap();
    assert_eq!(effects, [Effect::Persist, Effect::Forfeited { epoch: 0, amount: amount(30) }]);
    assert_eq!((desk.payee.halted(), desk.payee.open(), desk.payee.earned()), (None, None, amount(20)));
    // Nothing is said when everything was claimed.
    let view = View { epoch: 2, ..view };
    assert_eq!(desk.work(PayeeInput::Seen(view), EXPIRY).unwrap(), [Effect::Persist]);
}

#[test]
fn sym_08_a_settled_quorum_pays_as_soon_as_it_is_seen() {
    let mut desk = Desk::open(1_000);
    let order = desk.order(1, 0, 50, 100);
    desk.pay(PayerInput::Issue(order), 10).unwrap();
    attested(&mut desk, 1, 0, 50);
    let settled = PayerInput::Settled { order: digest(1), fuel: 50 };
    let early = Reason::NotClaimed { claimed: amount(0), earned: amount(50) };
    assert_eq!(reason(desk.pay(settled, 20)), early, "the event came before the look");
    let view = *desk.payee.view();
    desk.work(PayeeInput::Seen(View { claimed: amount(49), ..view }), 20).unwrap();
    assert_eq!(desk.payee.open_order(), Some(digest(1)));
    let full = View { claimed: amount(50), ..view };
    let paid = Effect::Paid { order: digest(1) };
    assert_eq!(desk.work(PayeeInput::Seen(full), 20).unwrap(), [Effect::Persist, paid]);
    assert_eq!((desk.payee.open(), desk.payee.exposure()), (None, Amount::ZERO));
    desk.pay(PayerInput::Seen(full), 20).unwrap();
    desk.pay(settled, 20).unwrap();
    assert_eq!((desk.payer.open(), desk.payer.owed()), (None, amount(50)));
    // No voucher for what the quorum took, and none is needed.
    let refused = reason(desk.pay(PayerInput::Agreed { order: digest(1), fuel: 50 }, 30));
    assert_eq!(refused, Reason::NotOpen(Open::Order(digest(1))));
}

#[test]
fn sym_04_a_payer_releases_with_its_payees_consent_alone() {
    let mut desk = Desk::open(1_000);
    let ask = PayeeInput::ReleaseAsked { epoch: 0 };
    let effects = desk.work(ask, 10).unwrap();
    let Some(Effect::Consent { release, signature }) = effects.last().copied() else { panic!("{effects:?}") };
    let forged = desk.payer_key.sign(&release.digest(&desk.terms.domain));
    let refused = desk.pay(PayerInput::Consented { epoch: 0, signature: forged }, 20).unwrap_err();
    assert_eq!(refused.remedy, Remedy::Disconnect);
    let other = desk.pay(PayerInput::Consented { epoch: 1, signature }, 20);
    assert_eq!(reason(other), Reason::WrongEpoch { have: 1, need: 0 });
    let effects = desk.pay(PayerInput::Consented { epoch: 0, signature }, 20).unwrap();
    assert_eq!(effects, [Effect::Persist, Effect::Release { release, signature }]);
    let order = desk.order(1, 0, 10, 500);
    assert_eq!(reason(desk.pay(PayerInput::Issue(order), 30)), Reason::EpochClosed { epoch: 0 });
    let hosting = desk.hosting(1, 0);
    assert_eq!(reason(desk.pay(PayerInput::Host(hosting), 30)), Reason::EpochClosed { epoch: 0 });
    assert_eq!(reason(desk.work(PayeeInput::Host(hosting), 30)), Reason::EpochClosed { epoch: 0 });
    desk.see(View { epoch: 1, ..*desk.payer.view() });
    assert_eq!(desk.payee.halted(), None, "it consented");
    let order = desk.order(1, 0, 10, 500);
    desk.pay(PayerInput::Issue(order), 40).unwrap();
    desk.work(PayeeInput::Offered(order), 40).unwrap();
}

#[test]
fn sym_05_each_end_signs_with_its_own_key_alone() {
    let mut desk = Desk::open(100);
    let (payer, payee) = (desk.terms.payer, desk.terms.payee);
    let refused = desk.payer.handle(&desk.payee_key, PayerInput::Timer, Timestamp(1)).unwrap_err();
    assert_eq!(refused.reason, Reason::WrongSigner { have: payee, need: payer });
    let refused = desk.payee.handle(&desk.payer_key, PayeeInput::Timer, Timestamp(1)).unwrap_err();
    assert_eq!(refused.reason, Reason::WrongSigner { have: payer, need: payee });
}

#[test]
fn sym_16_a_lane_of_a_long_number_takes_no_orders() {
    let mut desk = Desk::new();
    let mut word = Royalty::NONE.lane(3).word();
    word.0[23] = 1;
    desk.terms.lane = symbolon_primitives::Lane::from_word(word);
    desk.payer = symbolon_channel::Payer::new(desk.terms);
    desk.payee = symbolon_channel::Payee::new(desk.terms);
    desk.see(View { allocated: amount(100), expiry: Timestamp(EXPIRY), ..View::default() });
    let order = desk.order(1, 0, 10, 500);
    assert_eq!(reason(desk.pay(PayerInput::Issue(order), 10)), Reason::OtherChannel);
    assert_eq!(reason(desk.work(PayeeInput::Offered(order), 10)), Reason::OtherChannel);
}

#[test]
fn sym_21_what_an_order_lacks_is_said_to_the_unit() {
    let mut desk = Desk::open(100);
    assert_eq!((desk.payer.room(), desk.payer.missing(amount(100))), (amount(100), Amount::ZERO));
    assert_eq!(desk.payer.missing(amount(101)), amount(1));
    let order = desk.order(1, 0, 30, 500);
    desk.pay(PayerInput::Issue(order), 10).unwrap();
    assert_eq!((desk.payer.room(), desk.payer.missing(amount(71))), (amount(70), amount(1)));
    assert_eq!((desk.payer.timer(), order.most()), (Some(Timestamp(501)), amount(30)));
    desk.work(PayeeInput::Offered(order), 10).unwrap();
    assert_eq!(desk.payee.timer(), Some(Timestamp(501)));
    // Up to its settle-by it is open at both ends, and no second longer.
    for (now, open) in [(500, true), (501, false)] {
        desk.pay(PayerInput::Timer, now).unwrap();
        desk.work(PayeeInput::Timer, now).unwrap();
        assert_eq!((desk.payer.open().is_some(), desk.payee.open().is_some()), (open, open));
    }
    assert_eq!((desk.payer.timer(), desk.payee.timer()), (None, None));
    assert_eq!(desk.payee.claim_by(), None);
    let signed = desk.voucher(amount(1), 0);
    desk.work(PayeeInput::Voucher { order: digest(1), signed }, 600).unwrap();
    assert_eq!(desk.payee.claim_by(), Some(Timestamp(EXPIRY - MARGIN)), "L11");
}

#[test]
fn sym_24_after_a_restart_the_last_voucher_is_said_again() {
    let mut desk = Desk::open(100);
    assert!(desk.pay(PayerInput::Resume, 5).unwrap().is_empty());
    let order = desk.order(1, 0, 30, 500);
    desk.pay(PayerInput::Issue(order), 10).unwrap();
    let said = desk.pay(PayerInput::Agreed { order: digest(1), fuel: 9 }, 20).unwrap();
    assert_eq!(desk.pay(PayerInput::Resume, 30).unwrap(), said[2..]);
}

#[test]
fn sym_21_a_result_past_its_settle_by_cannot_be_given_up() {
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    assert_eq!(desk.payee.due_until(), None);
    desk.work(PayeeInput::Timer, 101).unwrap();
    assert_eq!(desk.payee.due_until(), Some(Timestamp(100 + MARGIN)));
    let give_up = PayeeInput::GiveUp { order: digest(1) };
    assert_eq!(reason(desk.work(give_up, 102)), Reason::Attested { order: digest(1) });
    desk.work(PayeeInput::GiveUp { order: digest(2) }, 102).unwrap();
}

#[test]
fn n3_only_the_last_unpaid_orders_are_remembered_and_none_is_waived() {
    let mut desk = Desk::open(1_000);
    for number in 1..=20 {
        let order = desk.order(number, number - 1, 1, number * 10 + 5);
        desk.work(PayeeInput::Offered(order), number * 10).unwrap();
        desk.work(PayeeInput::Attest { order: digest(number), fuel: 1 }, number * 10).unwrap();
    }
    desk.work(PayeeInput::Timer, 900).unwrap();
    assert_eq!((desk.payee.exposure(), desk.payee.earned()), (amount(20), amount(20)));
    let signed = desk.voucher(amount(20), 0);
    let paid = desk.work(PayeeInput::Voucher { order: digest(20), signed }, 910).unwrap();
    assert_eq!(paid.len(), 2 + 16);
    assert_eq!(desk.payee.exposure(), Amount::ZERO);
}

#[test]
fn sym_09_any_order_of_instruments_ends_alike_once_each_came_after_the_last_top_up() {
    let mut rng = Rng(9);
    for _ in 0..500 {
        let top = 100 + rng.below(100);
        let totals: Vec<u64> =
            (0..5).map(|_| [0, 1, 99, 100, 101, top - 1, top, top + 1, 500][rng.below(9) as usize]).collect();
        let start = View { allocated: amount(100), claimed: amount(rng.below(101)), ..View::default() };
        let mut ends = Vec::new();
        for _ in 0..4 {
            let mut view = start;
            let top_up_at = rng.below(10);
            for step in 0..10 {
                if step == top_up_at {
                    view.allocated = amount(top);
                }
                let before = view;
                view = view.after(u32::from(rng.chance(20)), amount(totals[rng.below(5) as usize]));
                assert!(before.claimed <= view.claimed && view.claimed <= view.allocated);
            }
            for total in &totals {
                view = view.after(0, amount(*total));
                assert_eq!(view, view.after(0, amount(*total)), "twice pays once");
            }
            ends.push(view.claimed);
        }
        let best = totals.iter().map(|total| amount(*total)).max().unwrap();
        assert!(ends.iter().all(|end| *end == best.min(amount(top)).max(start.claimed)));
    }
}
