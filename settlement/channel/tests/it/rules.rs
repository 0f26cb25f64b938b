//! Each rule of a channel alone.

use crate::desk::{Desk, EXPIRY, MARGIN, Rng, amount, digest};
use symbolon_channel::{Effect, Effects, PayeeInput, PayerInput, Reason, Rejected, Remedy, SignedVoucher, View};
use symbolon_primitives::{Amount, Key, Release, Signer};

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
    let offer = desk.offer(number, owed, fuel, 100);
    desk.work(PayeeInput::Offered(offer), 10).unwrap();
    desk.work(PayeeInput::Attest { order: digest(number), fuel }, 20).unwrap();
}

#[test]
fn sym_21_one_order_at_a_time_at_both_ends() {
    let mut desk = Desk::open(1_000);
    let (first, second) = (desk.issue(1, 0, 100, 500), desk.issue(2, 0, 100, 500));
    desk.pay(PayerInput::Issue(first), 10).unwrap();
    assert!(desk.pay(PayerInput::Issue(first), 10).unwrap().is_empty(), "a repetition changes nothing");
    assert_eq!(reason(desk.pay(PayerInput::Issue(second), 10)), Reason::InFlight { order: digest(1) });
    assert_eq!(reason(desk.pay(PayerInput::Issue(second), 500)), Reason::InFlight { order: digest(1) });
    let third = desk.issue(3, 0, 100, 900);
    desk.pay(PayerInput::Issue(third), 501).unwrap();

    let (first, second) = (desk.offer(1, 0, 100, 500), desk.offer(2, 0, 100, 500));
    desk.work(PayeeInput::Offered(first), 10).unwrap();
    assert!(desk.work(PayeeInput::Offered(first), 10).unwrap().is_empty());
    assert_eq!(reason(desk.work(PayeeInput::Offered(second), 10)), Reason::InFlight { order: digest(1) });
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
        let low = desk.offer(2, need - 1, 10, 500);
        let refused = reason(desk.work(PayeeInput::Offered(low), 104));
        assert_eq!(refused, Reason::OwedTooLow { have: amount(need - 1), need: amount(need) });
        let enough = desk.offer(2, need, 10, 500);
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
        let (issue, offer) = (desk.issue(1, 0, max_fuel, settle_by), desk.offer(1, 0, max_fuel, settle_by));
        assert_eq!(desk.pay(PayerInput::Issue(issue), 10).is_ok(), fine, "{max_fuel} {settle_by}");
        assert_eq!(desk.work(PayeeInput::Offered(offer), 10).is_ok(), fine, "{max_fuel} {settle_by}");
        desk.pay(PayerInput::GaveUp { order: digest(1) }, 10).unwrap();
        desk.work(PayeeInput::GiveUp { order: digest(1) }, 10).unwrap();
    }
    let issue = desk.issue(1, 0, 101, settle_by);
    let short = Reason::EarmarkTooSmall { have: amount(100), need: amount(101) };
    assert_eq!(reason(desk.pay(PayerInput::Issue(issue), 10)), short);
}

#[test]
fn sym_16_a_leaf_of_another_lane_or_payee_is_no_leaf_of_this_channel() {
    let mut desk = Desk::open(100);
    let (mut offer, mut issue) = (desk.offer(1, 0, 10, 100), desk.issue(1, 0, 10, 100));
    (offer.leaf.lane_number, issue.leaf.lane_number) = (4, 4);
    assert_eq!(reason(desk.work(PayeeInput::Offered(offer), 10)), Reason::OtherChannel);
    assert_eq!(reason(desk.pay(PayerInput::Issue(issue), 10)), Reason::OtherChannel);
    let mut offer = desk.offer(1, 0, 10, 100);
    offer.leaf.provider = desk.terms.payer;
    assert_eq!(reason(desk.work(PayeeInput::Offered(offer), 10)), Reason::OtherChannel);
}

#[test]
fn sym_24_a_voucher_is_stored_before_it_is_sent_and_said_again_alike() {
    let mut desk = Desk::open(1_000);
    let issue = desk.issue(1, 0, 100, 500);
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
    let next = desk.issue(2, 69, 100, 500);
    let refused = reason(desk.pay(PayerInput::Issue(next), 40));
    assert_eq!(refused, Reason::OwedDiffers { have: amount(69), need: amount(70) });
}

#[test]
fn l1_no_voucher_above_the_maximum_or_the_earmark() {
    let mut desk = Desk::open(100);
    let issue = desk.issue(1, 0, 100, 500);
    desk.pay(PayerInput::Issue(issue), 10).unwrap();
    let refused = reason(desk.pay(PayerInput::Agreed { order: digest(1), fuel: 101 }, 20));
    assert_eq!(refused, Reason::FuelAboveMaximum { have: 100, need: 101 });
    // A reorganisation took a top-up back.
    let view = View { allocated: amount(60), ..*desk.payer.view() };
    desk.pay(PayerInput::Seen(view), 20).unwrap();
    let refused = desk.pay(PayerInput::Agreed { order: digest(1), fuel: 61 }, 20).unwrap_err();
    assert_eq!(refused.remedy, Remedy::CloseChannel);
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
    let offer = desk.offer(1, 5, 100, 100);
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
}

#[test]
fn sym_27_no_order_is_paid_because_the_sender_says_so() {
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    let signed = desk.voucher(amount(50), 0);
    let paid = Effect::Paid { order: digest(1) };
    assert!(desk.work(PayeeInput::Voucher { order: digest(1), signed }, 30).unwrap().contains(&paid));
    // The second order ends without a Result, or with one that is not covered.
    let offer = desk.offer(2, 50, 10, 100);
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
    let offer = desk.offer(2, 50, 30, 300);
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
    assert_eq!(reason(desk.work(attest, 30)), Reason::NotOpen { order: digest(2) });
}

#[test]
fn sym_04_a_release_is_signed_only_when_nothing_is_left_to_lose() {
    let mut desk = Desk::new();
    let ask = PayeeInput::ReleaseAsked { epoch: 0 };
    assert_eq!(reason(desk.work(ask, 10)), Reason::NotSeen);
    let mut desk = Desk::open(1_000);
    attested(&mut desk, 1, 0, 50);
    assert_eq!(reason(desk.work(ask, 30)), Reason::InFlight { order: digest(1) });
    let signed = desk.voucher(amount(60), 0);
    desk.work(PayeeInput::Voucher { order: digest(1), signed }, 40).unwrap();
    for claimed in [0, 50, 59] {
        let view = View { claimed: amount(claimed), ..*desk.payee.view() };
        desk.work(PayeeInput::Seen(view), 50).unwrap();
        let refused = Reason::NotClaimed { claimed: amount(claimed), earned: amount(60) };
        assert_eq!(reason(desk.work(ask, 50)), refused);
    }
    // Neither when the earmark shrank under the voucher: a top-up would pay it.
    let view = *desk.payee.view();
    desk.work(PayeeInput::Seen(View { allocated: amount(55), claimed: amount(55), ..view }), 55).unwrap();
    assert!(matches!(reason(desk.work(ask, 55)), Reason::NotClaimed { .. }));
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
    let offer = desk.offer(2, 60, 10, 500);
    assert_eq!(reason(desk.work(PayeeInput::Offered(offer), 70)), Reason::EpochClosed { epoch: 0 });
    // The next epoch goes on from what is claimed, once its bump is deep enough.
    desk.work(PayeeInput::Seen(View { epoch: 1, ..settled }), 80).unwrap();
    let mut offer = desk.offer(2, 60, 10, 500);
    desk.work(PayeeInput::Offered(offer), 90).unwrap();
    offer.leaf.epoch = 0;
    assert!(desk.work(PayeeInput::Offered(offer), 90).is_err());
}

#[test]
fn sym_26_an_epoch_that_goes_back_stops_both_ends() {
    let mut desk = Desk::open(1_000);
    let view = View { epoch: 2, ..*desk.payee.view() };
    desk.see(view);
    let back = View { epoch: 1, ..view };
    let refused = desk.work(PayeeInput::Seen(back), 10).unwrap_err();
    assert_eq!((refused.remedy, refused.reason), (Remedy::CloseChannel, Reason::EpochWentBack { have: 1, seen: 2 }));
    assert_eq!(desk.pay(PayerInput::Seen(back), 10).unwrap_err().remedy, Remedy::CloseChannel);
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
