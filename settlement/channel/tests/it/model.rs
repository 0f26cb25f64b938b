//! What a channel has to say, told again from the list of what happened alone:
//! no state is carried from step to step but the facts.

use crate::desk::digest;
use symbolon_channel::{Effect, Effects, Order, Payee, PayeeInput, Payer, PayerInput, View};
use symbolon_primitives::{Epoch, OrderDigest};

/// An order that one end took.
struct Taken {
    order: Order,
    /// The total of the Result that was signed.
    result: Option<u128>,
    over: bool,
}

/// The facts at one end that are durable.
#[derive(Default)]
pub(crate) struct Facts {
    /// Vouchers signed, or kept.
    vouchers: Vec<(Epoch, u128)>,
    taken: Vec<Taken>,
    /// Every `claimed` that was seen.
    claimed: Vec<u128>,
    consented: Vec<Epoch>,
}

impl Facts {
    fn best(&self, epoch: Epoch) -> Option<u128> {
        self.vouchers.iter().filter(|voucher| voucher.0 == epoch).map(|voucher| voucher.1).max()
    }

    fn results(&self, epoch: Epoch) -> u128 {
        let of = self.taken.iter().filter(|taken| taken.order.leaf.epoch == epoch);
        of.filter_map(|taken| taken.result).max().unwrap_or_default()
    }

    fn open(&self, view: &View) -> Option<&Taken> {
        self.taken.iter().rev().find(|taken| !taken.over && taken.order.leaf.epoch == view.epoch)
    }

    fn end(&mut self, order: OrderDigest) {
        self.taken.iter_mut().filter(|taken| taken.order.digest == order).for_each(|taken| taken.over = true);
    }

    fn end_late(&mut self, now: u64) {
        self.taken.iter_mut().filter(|taken| taken.order.settle_by.0 < now).for_each(|taken| taken.over = true);
    }

    fn fits(&self, order: &Order, view: &View, now: u64, margin: u64) -> bool {
        let most = order.leaf.total(order.max_fuel);
        order.leaf.epoch == view.epoch
            && !self.consented.contains(&order.leaf.epoch)
            && order.settle_by.0 > now
            && most.is_ok_and(|most| most <= view.allocated)
            && view.expiry.0 >= order.settle_by.0 + margin
    }

    /// What a durable step at the payee adds.
    pub(crate) fn payee_did(&mut self, input: &PayeeInput, effects: &Effects, now: u64) {
        match input {
            PayeeInput::Seen(view) => self.claimed.push(view.claimed.get()),
            PayeeInput::Offered(order) if effects.contains(&Effect::Persist) => {
                self.end_late(now);
                self.taken.push(Taken { order: *order, result: None, over: false });
            }
            PayeeInput::Attest { order, fuel } => {
                let open = self.taken.iter_mut().filter(|taken| taken.order.digest == *order && !taken.over);
                for taken in open {
                    let total = taken.order.leaf.total(*fuel).unwrap().get();
                    taken.result = Some(taken.result.unwrap_or_default().max(total));
                }
            }
            PayeeInput::GiveUp { order } => self.end(*order),
            PayeeInput::ReleaseAsked { epoch } => self.consented.push(*epoch),
            PayeeInput::Timer => self.end_late(now),
            _ => {}
        }
        for effect in effects {
            match effect {
                Effect::Keep(signed) => self.vouchers.push((signed.voucher.epoch, signed.voucher.cumulative.get())),
                Effect::Paid { order } => self.end(*order),
                _ => {}
            }
        }
    }

    /// What a durable step at the payer adds.
    pub(crate) fn payer_did(&mut self, input: &PayerInput, effects: &Effects, now: u64) {
        match input {
            PayerInput::Seen(view) => self.claimed.push(view.claimed.get()),
            PayerInput::Issue(order) if effects.contains(&Effect::Persist) => {
                self.end_late(now);
                self.taken.push(Taken { order: *order, result: None, over: false });
            }
            PayerInput::GaveUp { order } | PayerInput::Settled { order, .. } => self.end(*order),
            PayerInput::Agreed { order, .. } => self.end(*order),
            PayerInput::Consented { epoch, .. } => {
                self.consented.push(*epoch);
                self.taken.iter_mut().for_each(|taken| taken.over = true);
            }
            PayerInput::Timer => self.end_late(now),
            _ => {}
        }
        for effect in effects {
            if let Effect::Keep(signed) = effect {
                self.vouchers.push((signed.voucher.epoch, signed.voucher.cumulative.get()));
            }
        }
    }

    /// Whether the payee has to take this, where the facts decide it.
    pub(crate) fn payee_takes(&self, input: &PayeeInput, view: &View, now: u64, margin: u64) -> Option<bool> {
        let best = self.best(view.epoch);
        let earned = best.unwrap_or_default().max(self.results(view.epoch)).max(view.claimed.get());
        match input {
            PayeeInput::Voucher { signed, .. } => {
                let (total, epoch) = (signed.voucher.cumulative.get(), signed.voucher.epoch);
                let better = total > best.unwrap_or_default() && total <= view.allocated.get();
                Some(epoch == view.epoch && !self.consented.contains(&epoch) && (better || best == Some(total)))
            }
            PayeeInput::Offered(order) => {
                let open = self.open(view);
                let again = open.is_some_and(|open| open.order == *order);
                let free = open.is_none_or(|open| open.order.settle_by.0 < now);
                let fits = self.fits(order, view, now, margin) && order.leaf.owed.get() >= earned;
                Some(again || free && fits)
            }
            PayeeInput::ReleaseAsked { epoch } => {
                Some(*epoch == view.epoch && self.open(view).is_none() && view.claimed.get() >= earned)
            }
            PayeeInput::Attest { order, .. } => Some(self.open(view).is_some_and(|open| open.order.digest == *order)),
            PayeeInput::GiveUp { order } => {
                let open = self.open(view).filter(|open| open.order.digest == *order);
                if open.is_some_and(|open| open.result.is_some()) {
                    return Some(false);
                }
                let of = |taken: &&Taken| taken.order.digest == *order && taken.order.leaf.epoch == view.epoch;
                let unpaid = self.taken.iter().filter(of).filter_map(|taken| taken.result);
                let secured = best.unwrap_or_default().min(view.allocated.get()).max(view.claimed.get());
                // Of more than sixteen unpaid orders the first are forgotten: nothing is said of those.
                if unpaid.max().is_some_and(|total| total > secured) { None } else { Some(true) }
            }
            _ => None,
        }
    }

    /// Whether the payer has to issue this.
    pub(crate) fn payer_issues(&self, order: &Order, view: &View, now: u64, margin: u64) -> bool {
        let open = self.open(view);
        let again = open.is_some_and(|open| open.order == *order);
        let free = open.is_none_or(|open| open.order.settle_by.0 < now);
        again || free && self.fits(order, view, now, margin) && order.leaf.owed.get() == self.owed(view)
    }

    fn owed(&self, view: &View) -> u128 {
        let settled = self.claimed.iter().copied().max().unwrap_or_default();
        self.best(view.epoch).unwrap_or_default().max(settled)
    }

    pub(crate) fn check_payee(&self, payee: &Payee) {
        let view = payee.view();
        let (best, results) = (self.best(view.epoch).unwrap_or_default(), self.results(view.epoch));
        let secured = best.min(view.allocated.get()).max(view.claimed.get());
        assert_eq!(payee.earned().get(), best.max(results).max(view.claimed.get()));
        assert_eq!((payee.secured().get(), payee.claimable().get()), (secured, secured - view.claimed.get()));
        let open = self.open(view);
        assert_eq!(payee.open_order(), open.map(|open| open.order.digest));
        let most = open.map_or(0, |open| open.result.unwrap_or_else(|| open.order.most().get()));
        assert_eq!(payee.exposure().get(), most.max(results).saturating_sub(secured), "L5");
    }

    pub(crate) fn check_payer(&self, payer: &Payer) {
        let view = payer.view();
        let promised = self.best(view.epoch).unwrap_or_default();
        assert_eq!((payer.promised().get(), payer.owed().get()), (promised, self.owed(view)));
        let open = self.open(view);
        assert_eq!(payer.open_order(), open.map(|open| open.order.digest));
        let most = open.map_or(0, |open| open.order.most().get()).max(self.owed(view));
        assert_eq!(payer.room().get(), view.allocated.get().saturating_sub(most), "L1");
    }
}

#[test]
fn the_model_sees_a_machine_that_forgets() {
    // A canary: the facts of one voucher, and a machine that never heard of it.
    let mut desk = crate::desk::Desk::open(100);
    let mut facts = Facts::default();
    facts.payee_did(&PayeeInput::Seen(*desk.payee.view()), &vec![], 0);
    facts.check_payee(&desk.payee);
    let signed = desk.voucher(crate::desk::amount(7), 0);
    let input = PayeeInput::Voucher { order: digest(1), signed };
    let before = desk.payee.clone();
    let effects = desk.work(input, 1).unwrap();
    facts.payee_did(&input, &effects, 1);
    facts.check_payee(&desk.payee);
    let forgot = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| facts.check_payee(&before)));
    assert!(forgot.is_err());
}
