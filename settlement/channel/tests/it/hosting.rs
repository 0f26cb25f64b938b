//! Contracts paid by time: a voucher in advance of each period.

use crate::desk::{Desk, EXPIRY, MARGIN, Rng, amount};
use symbolon_channel::{Effect, Hosting, Open, PayeeInput, PayerInput, Reason, SignedVoucher, View};
use symbolon_primitives::{Amount, OrderDigest, Timestamp};

fn period_in(effects: &[Effect]) -> Option<(u32, SignedVoucher)> {
    effects.iter().find_map(|effect| match effect {
        Effect::SendPeriod { paid, signed, .. } => Some((*paid, *signed)),
        _ => None,
    })
}

fn begun(allocated: u64) -> (Desk, Hosting) {
    let mut desk = Desk::open(allocated);
    let hosting = desk.hosting(1, 0);
    desk.pay(PayerInput::Host(hosting), 10).unwrap();
    desk.work(PayeeInput::Host(hosting), 10).unwrap();
    (desk, hosting)
}

#[test]
fn l5_l6_every_period_is_paid_before_it_begins_and_none_further() {
    let (mut desk, hosting) = begun(1_000);
    assert_eq!(desk.payee.serves_until(), Some(hosting.begin), "nothing is served before it is paid");
    let (payer, payee) = (desk.payer.clone(), desk.payee.clone());
    let idle = Desk::open(1_000);
    for number in 1..=10_u32 {
        let due = 1_000 + u64::from(number - 1) * 100 - 20;
        assert_eq!(desk.payer.timer(), Some(Timestamp(due)));
        assert!(desk.pay(PayerInput::Timer, due - 1).unwrap().is_empty(), "L6: not earlier");
        let before = desk.payer.clone();
        let effects = desk.pay(PayerInput::Timer, due).unwrap();
        let (paid, signed) = period_in(&effects).unwrap();
        // L8: each voucher stands for its step, and the last for all since the snapshot.
        assert!(desk.payer.is_kept_by(&before, &signed, None) && desk.payer.is_kept_by(&payer, &signed, None));
        assert!(!desk.payer.is_kept_by(&idle.payer, &signed, None), "no voucher tells what is hosted");
        assert_eq!(effects[..2], [Effect::Persist, Effect::Keep(signed)], "SYM-24");
        assert_eq!((paid, signed.voucher.cumulative), (number, amount(7 * u64::from(number))));
        assert!(desk.pay(PayerInput::Timer, due).unwrap().is_empty(), "once");
        let until = Timestamp(1_000 + u64::from(number) * 100);
        let serve = Effect::Serve { agreement: hosting.agreement, until };
        let before = desk.payee.clone();
        let effects = desk.work(PayeeInput::Period(signed), due + 5).unwrap();
        assert!(desk.payee.is_kept_by(&before, &signed) && desk.payee.is_kept_by(&payee, &signed), "L8");
        assert!(!desk.payee.is_kept_by(&idle.payee, &signed), "no voucher tells what is hosted");
        assert_eq!(effects, [Effect::Persist, Effect::Keep(signed), serve]);
        assert_eq!((desk.payee.serves_until(), desk.payee.timer()), (Some(until), Some(until)));
        assert!(desk.work(PayeeInput::Period(signed), due + 6).unwrap().is_empty(), "L7");
        assert_eq!(desk.payee.exposure(), Amount::ZERO, "L5");
    }
    // All periods are paid: both ends are free when the last one is over.
    assert_eq!(desk.payer.timer(), Some(Timestamp(2_000)));
    assert!(desk.pay(PayerInput::Timer, 1_999).unwrap().is_empty());
    assert_eq!(desk.pay(PayerInput::Timer, 2_000).unwrap(), [Effect::Persist]);
    assert!(desk.work(PayeeInput::Timer, 1_999).unwrap().is_empty());
    let stop = Effect::Stop { agreement: hosting.agreement };
    assert_eq!(desk.work(PayeeInput::Timer, 2_000).unwrap(), [Effect::Persist, stop]);
    assert_eq!((desk.payer.open(), desk.payee.open()), (None, None));
    assert_eq!((desk.payer.owed(), desk.payee.claimable()), (amount(70), amount(70)));
}

#[test]
fn l8_an_older_voucher_of_its_own_lowers_nothing_in_a_payer() {
    let (mut desk, _) = begun(1_000);
    let (_, first) = period_in(&desk.pay(PayerInput::Timer, 980).unwrap()).unwrap();
    let (_, second) = period_in(&desk.pay(PayerInput::Timer, 1_080).unwrap()).unwrap();
    assert!(first.voucher.cumulative < second.voucher.cumulative);
    let before = desk.payer.clone();
    for kept in [first, second] {
        desk.payer.catch_up(&kept, None);
        assert_eq!(desk.payer, before);
    }
    assert_eq!(desk.payer.promised(), amount(14));
}

#[test]
fn l3_a_kept_voucher_is_said_again_once_it_is_known_what_it_pays() {
    let mut desk = Desk::open(100);
    let (kept, order) = (desk.voucher(amount(7), 0), OrderDigest::from_bytes([5; 32]));
    desk.payer.catch_up(&kept, None);
    assert_eq!((desk.payer.promised(), desk.pay(PayerInput::Resume, 0).unwrap()), (amount(7), vec![]));
    desk.payer.catch_up(&kept, Some(order));
    let again = Effect::SendVoucher { order, signed: kept };
    assert_eq!((desk.payer.promised(), desk.pay(PayerInput::Resume, 0).unwrap()), (amount(7), vec![again]));
}

#[test]
fn l6_a_payee_stops_when_a_voucher_is_missing_and_the_payer_pays_no_more() {
    let (mut desk, hosting) = begun(1_000);
    let (_, first) = period_in(&desk.pay(PayerInput::Timer, 990).unwrap()).unwrap();
    desk.work(PayeeInput::Period(first), 995).unwrap();
    let stop = Effect::Stop { agreement: hosting.agreement };
    assert_eq!(desk.work(PayeeInput::Timer, 1_100).unwrap(), [Effect::Persist, stop]);
    // The payer slept through the second: whatever it would pay now, nobody serves it.
    let effects = desk.pay(PayerInput::Timer, 1_100).unwrap();
    assert_eq!((effects, desk.payer.open()), (vec![Effect::Persist], None));
    assert_eq!(desk.payer.promised(), amount(7));
    // A voucher for a period nobody serves is kept all the same.
    let late = desk.voucher(amount(14), 0);
    assert_eq!(desk.work(PayeeInput::Period(late), 1_110).unwrap(), [Effect::Persist, Effect::Keep(late)]);
}

#[test]
fn l1_no_period_is_paid_above_the_earmark_or_past_the_expiry() {
    let (mut desk, hosting) = begun(10);
    desk.pay(PayerInput::Timer, 990).unwrap();
    assert_eq!(desk.pay(PayerInput::Timer, 1_090).unwrap(), [Effect::TopUp { missing: amount(4) }]);
    desk.see(View { allocated: amount(14), ..*desk.payer.view() });
    assert_eq!(period_in(&desk.pay(PayerInput::Timer, 1_091).unwrap()).unwrap().0, 2);

    // The third period would end a second after the margin begins.
    let mut desk = Desk::new();
    let expiry = Timestamp(1_300 + MARGIN - 1);
    desk.see(View { allocated: amount(1_000), expiry, ..View::default() });
    desk.pay(PayerInput::Host(hosting), 10).unwrap();
    desk.pay(PayerInput::Timer, 990).unwrap();
    desk.pay(PayerInput::Timer, 1_090).unwrap();
    let refused = desk.pay(PayerInput::Timer, 1_190).unwrap_err().reason;
    assert_eq!(refused, Reason::ExpiresTooSoon { have: expiry, need: Timestamp(1_300 + MARGIN) });
    desk.see(View { expiry: Timestamp(EXPIRY), ..*desk.payer.view() });
    assert_eq!(period_in(&desk.pay(PayerInput::Timer, 1_190).unwrap()).unwrap().0, 3);
}

#[test]
fn sym_21_hosting_begins_only_in_a_free_channel_and_on_terms_that_can_be_kept() {
    let (mut desk, hosting) = begun(1_000);
    assert!(desk.pay(PayerInput::Host(hosting), 11).unwrap().is_empty());
    assert!(desk.work(PayeeInput::Host(hosting), 11).unwrap().is_empty());
    let busy = Reason::InFlight(Open::Hosting(hosting.agreement));
    let (order, other) = (desk.order(1, 0, 10, 500), desk.hosting(2, 0));
    assert_eq!(desk.pay(PayerInput::Issue(order), 11).unwrap_err().reason, busy);
    assert_eq!(desk.work(PayeeInput::Offered(order), 11).unwrap_err().reason, busy);
    assert_eq!(desk.pay(PayerInput::Host(other), 11).unwrap_err().reason, busy);
    assert_eq!(desk.work(PayeeInput::Host(other), 11).unwrap_err().reason, busy);
    assert_eq!(desk.work(PayeeInput::ReleaseAsked { epoch: 0 }, 11).unwrap_err().reason, busy);
    assert_eq!(desk.payer.room(), amount(930));
    // Of another agreement nothing is ended.
    desk.pay(PayerInput::EndHosting(other.agreement), 12).unwrap();
    assert!(desk.work(PayeeInput::EndHosting(other.agreement), 12).unwrap().is_empty());
    assert!(desk.payer.open().is_some() && desk.payee.open().is_some());
    desk.pay(PayerInput::EndHosting(hosting.agreement), 12).unwrap();
    let stop = Effect::Stop { agreement: hosting.agreement };
    assert_eq!(desk.work(PayeeInput::EndHosting(hosting.agreement), 12).unwrap(), [Effect::Persist, stop]);
    assert!(desk.payer.open().is_none() && desk.payee.open().is_none());

    let edits: [fn(&mut Hosting); 11] = [
        |h| (h.period_secs, h.lead_secs) = (0, 0),
        |h| h.periods = 0,
        |h| h.price = Amount::ZERO,
        |h| h.lead_secs = 101,
        |h| h.price = Amount::MAX,
        |h| h.epoch = 1,
        |h| h.begin = Timestamp(20),
        |h| h.price = amount(1_001),
        |h| h.begin = Timestamp(EXPIRY - MARGIN - 99),
        |h| h.owed = Amount::MAX,
        |h| h.owed = amount(1_000),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut bad = hosting;
        edit(&mut bad);
        assert!(desk.pay(PayerInput::Host(bad), 20).is_err(), "{number}");
        assert!(desk.work(PayeeInput::Host(bad), 20).is_err(), "{number}");
    }
    let last = Hosting { begin: Timestamp(EXPIRY - MARGIN - 100), lead_secs: 100, price: amount(100), ..hosting };
    desk.pay(PayerInput::Host(last), 20).unwrap();
    desk.work(PayeeInput::Host(last), 20).unwrap();
}

#[test]
fn sym_21_what_ended_makes_room_for_hosting_and_hosting_for_orders() {
    let mut desk = Desk::open(1_000);
    let order = desk.order(1, 0, 10, 500);
    desk.pay(PayerInput::Issue(order), 10).unwrap();
    desk.work(PayeeInput::Offered(order), 10).unwrap();
    let hosting = desk.hosting(1, 0);
    assert!(desk.pay(PayerInput::Host(hosting), 500).is_err());
    assert!(desk.work(PayeeInput::Host(hosting), 500).is_err());
    desk.pay(PayerInput::Host(hosting), 501).unwrap();
    desk.work(PayeeInput::Host(hosting), 501).unwrap();
    // Never paid: free again from its begin on.
    let order = desk.order(2, 0, 10, 2_000);
    assert!(desk.work(PayeeInput::Offered(order), 999).is_err());
    let stop = Effect::Stop { agreement: hosting.agreement };
    assert_eq!(desk.work(PayeeInput::Offered(order), 1_000).unwrap(), [Effect::Persist, stop]);
}

#[test]
fn n11_clock_jumps_never_pay_twice_or_ahead() {
    let (mut desk, _) = begun(1_000);
    desk.pay(PayerInput::Timer, 990).unwrap();
    // Back by an hour: nothing new. Forward: the contract is over, nothing is signed.
    assert!(desk.pay(PayerInput::Timer, 0).unwrap().is_empty());
    assert_eq!(desk.pay(PayerInput::Timer, 4_000).unwrap(), [Effect::Persist]);
    assert_eq!((desk.payer.promised(), desk.payer.open()), (amount(7), None));
}

#[test]
fn sym_24_a_period_is_said_again_after_a_restart() {
    let (mut desk, hosting) = begun(1_000);
    let effects = desk.pay(PayerInput::Timer, 990).unwrap();
    let (paid, signed) = period_in(&effects).unwrap();
    let again = Effect::SendPeriod { agreement: hosting.agreement, paid, signed };
    assert_eq!(desk.pay(PayerInput::Resume, 991).unwrap(), [again]);
    // One voucher may pay several periods that the network swallowed.
    let three = desk.voucher(amount(21), 0);
    let serve = Effect::Serve { agreement: hosting.agreement, until: Timestamp(1_300) };
    assert_eq!(desk.work(PayeeInput::Period(three), 995).unwrap().last(), Some(&serve));
    // A part of a period pays nothing of it.
    let part = desk.voucher(amount(27), 0);
    assert_eq!(desk.work(PayeeInput::Period(part), 996).unwrap(), [Effect::Persist, Effect::Keep(part)]);
    assert_eq!(hosting.paid_by(Amount::MAX), 10, "never more than all");
}

#[test]
fn sym_04_a_release_ends_hosting() {
    let (mut desk, hosting) = begun(1_000);
    let view = View { epoch: 1, ..*desk.payee.view() };
    let effects = desk.work(PayeeInput::Seen(view), EXPIRY).unwrap();
    assert_eq!(effects, [Effect::Persist, Effect::Stop { agreement: hosting.agreement }]);
    desk.pay(PayerInput::Seen(view), EXPIRY).unwrap();
    assert_eq!(desk.payer.open(), None);
}

/// What a process reads back after it died: the machine as stored before the step or after it.
fn reborn<T: Clone + serde::Serialize + serde::de::DeserializeOwned>(before: &T, after: &T, stored: bool) -> T {
    let kept = if stored { after } else { before };
    postcard::from_bytes(&postcard::to_allocvec(kept).unwrap()).unwrap()
}

#[test]
fn l5_l6_l8_hosting_survives_loss_disorder_and_death() {
    let (mut whole, mut cut, mut top_ups, mut deaths, mut served_all) = (0, 0, 0, 0, 0);
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let edges = [6, 7, 8, 13, 14, 69, 70, 71, 1_000];
        let mut allocated = edges[rng.below(9) as usize];
        let expiry = [1_000 + MARGIN + 500, 2_000 + MARGIN, EXPIRY][rng.below(3) as usize];
        let mut desk = Desk::new();
        let view = View { allocated: amount(allocated), expiry: Timestamp(expiry), ..View::default() };
        desk.see(view);
        let hosting = desk.hosting(1, 0);
        if desk.pay(PayerInput::Host(hosting), 10).is_err() || desk.work(PayeeInput::Host(hosting), 10).is_err() {
            assert!(allocated < 7, "seed {seed}");
            continue;
        }
        let (mut mail, mut signed_periods, mut now) = (Vec::new(), 0, 900);
        while now < 2_200 {
            now += rng.below(15);
            let (payer, payee) = (desk.payer.clone(), desk.payee.clone());
            let effects = match rng.below(10) {
                0 => vec![],
                1 => desk.pay(PayerInput::Resume, now).unwrap(),
                _ => desk.pay(PayerInput::Timer, now).unwrap_or_default(),
            };
            let dies = rng.chance(4);
            if let Some((paid, signed)) = period_in(&effects) {
                // Said again after a death it may be late; signed it never is.
                if effects.contains(&Effect::Keep(signed)) {
                    assert!(Timestamp(now) >= hosting.due_after(paid - 1), "L6: seed {seed}");
                    assert!(Timestamp(now) < hosting.covered_until(paid - 1), "L6: seed {seed}");
                    assert!(signed.voucher.cumulative <= amount(allocated), "L1: seed {seed}");
                }
                signed_periods = paid.max(signed_periods);
                if !dies && rng.chance(85) {
                    mail.push(signed);
                }
            }
            if effects.iter().any(|effect| matches!(effect, Effect::TopUp { .. })) {
                top_ups += 1;
                if rng.chance(30) {
                    allocated += [1, 7, 100][rng.below(3) as usize];
                    desk.see(View { allocated: amount(allocated), ..*desk.payer.view() });
                    continue;
                }
            }
            if dies {
                deaths += 1;
                desk.payer = reborn(&payer, &desk.payer, rng.chance(50));
            }
            if !mail.is_empty() && rng.chance(60) {
                let index = rng.below(mail.len() as u64) as usize;
                let signed = if rng.chance(30) { mail[index] } else { mail.swap_remove(index) };
                let _late = desk.work(PayeeInput::Period(signed), now);
                if rng.chance(4) {
                    deaths += 1;
                    desk.payee = reborn(&payee, &desk.payee, rng.chance(50));
                }
            }
            desk.work(PayeeInput::Timer, now).unwrap();
            assert_eq!(desk.payee.exposure(), Amount::ZERO, "L5: seed {seed}");
            if let Some(until) = desk.payee.serves_until() {
                assert!(until <= hosting.covered_until(hosting.paid_by(desk.payee.secured())), "L5: seed {seed}");
                assert!(until > Timestamp(now), "it stops by itself: seed {seed}");
            }
            assert!(desk.payee.earned() <= desk.payer.promised(), "nothing is paid that was not signed: seed {seed}");
        }
        assert_eq!((desk.payer.open(), desk.payee.open()), (None, None), "N7: seed {seed}");
        whole += u32::from(signed_periods == 10);
        cut += u32::from(signed_periods < 10);
        served_all += u32::from(desk.payee.earned() == amount(70));
    }
    assert!(whole > 0 && cut > 0 && top_ups > 0 && deaths > 0 && served_all > 0, "{whole} {cut} {top_ups} {deaths}");
}
