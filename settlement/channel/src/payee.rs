//! The payee's side: takes orders and hosting, attests, keeps vouchers, consents to releases.

use crate::{
    ChannelTerms, Conflict, Effect, Effects, Hosting, Open, Order, Reason, Rejected, SignedVoucher, View, payer::halt,
    refusal::no_amount,
};
use core::cmp::Ordering;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{AgreementDigest, Amount, Epoch, OrderDigest, Refuse, Release, Signer, Timestamp};

/// What a [`Payee`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayeeInput {
    /// The channel at depth.
    Seen(View),
    /// An order to take.
    Offered(Order),
    /// This replica is about to sign a Result with this fuel.
    Attest {
        /// The order.
        order: OrderDigest,
        /// The Result's fuel.
        fuel: u64,
    },
    /// A voucher of the payer. `order` is what it says it pays for.
    Voucher {
        /// What it pays for.
        order: OrderDigest,
        /// The voucher.
        signed: SignedVoucher,
    },
    /// A voucher of the payer for a period of hosting.
    Period(SignedVoucher),
    /// Nothing will be asked for the order.
    GiveUp {
        /// The order.
        order: OrderDigest,
    },
    /// Hosting is to begin, as both agreed.
    Host(Hosting),
    /// It serves no longer.
    EndHosting(AgreementDigest),
    /// The owner asks to close this epoch before the expiry.
    ReleaseAsked {
        /// The epoch.
        epoch: Epoch,
    },
    /// Time has passed.
    Timer,
    /// A person has looked at the [`Conflict`] and goes on from what the chain shows.
    Overruled,
}

/// What is open at the payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Flight {
    /// An order; once a Result was signed, with `owed + price(fuel)` of it.
    Order { order: Order, attested: Option<Amount> },
    /// Hosting, of which `paid` periods are.
    Hosting { hosting: Hosting, paid: u32 },
}

impl Flight {
    const fn open(&self) -> Open {
        match self {
            Self::Order { order, .. } => Open::Order(order.digest),
            Self::Hosting { hosting, .. } => Open::Hosting(hosting.agreement),
        }
    }
}

/// A Result that was signed, whose order ended unpaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Due {
    order: OrderDigest,
    total: Amount,
    /// How long a settlement by quorum may still come to light.
    until: Timestamp,
}

/// The most orders remembered that ended unpaid; older ones stay in `attested`.
const MOST_DUE: usize = 16;

/// What belongs to one epoch and ends with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ledger {
    best: Option<SignedVoucher>,
    /// The highest total of any Result signed.
    attested: Amount,
    flight: Option<Flight>,
    /// Attested orders past their settle-by. The next order's `owed` has to cover them.
    due: Vec<Due>,
}

/// A channel at its payee.
///
/// # Safety of funds
/// A voucher counts once its `Keep` is durable. A consent gives up whatever of
/// the epoch is not claimed; it is given only when nothing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payee {
    terms: ChannelTerms,
    view: View,
    ledger: Ledger,
    /// The order that was paid last, to be said again when the answer got lost.
    paid: Option<OrderDigest>,
    /// The epoch whose closing was consented to. Nothing in it is accepted ever after.
    closed: Option<Epoch>,
    halted: Option<Conflict>,
}

impl Payee {
    /// A channel that nothing is known of yet.
    #[must_use]
    pub fn new(terms: ChannelTerms) -> Self {
        Self { terms, view: View::default(), ledger: Ledger::default(), paid: None, closed: None, halted: None }
    }

    /// Which channel.
    #[must_use]
    pub const fn terms(&self) -> &ChannelTerms {
        &self.terms
    }

    /// The channel at depth.
    #[must_use]
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Takes over the best voucher that was kept for its epoch: a snapshot, caught up with it, is
    /// the machine as it was when that voucher was kept. One that the snapshot knows changes nothing.
    ///
    /// # Safety of funds
    /// Only for vouchers from this node's own store: they were checked before they were kept.
    pub fn catch_up(&mut self, kept: &SignedVoucher) {
        let voucher = kept.voucher;
        if voucher.epoch == self.view.epoch && voucher.cumulative > self.promised() {
            self.take_over(*kept);
        }
    }

    /// Whether keeping `kept` made all of the step from `before` to here durable: the snapshot does
    /// not have to be written for it.
    #[must_use]
    pub fn is_kept_by(&self, before: &Self, kept: &SignedVoucher) -> bool {
        let mut again = before.clone();
        again.catch_up(kept);
        again == *self
    }

    /// What a voucher changes: answers the orders it pays, and how far hosting goes on.
    fn take_over(&mut self, signed: SignedVoucher) -> (Vec<OrderDigest>, Option<Effect>) {
        self.ledger.best = Some(signed);
        (self.paid_now(), self.serve())
    }

    /// The best voucher of the epoch.
    #[must_use]
    pub const fn best(&self) -> Option<&SignedVoucher> {
        self.ledger.best.as_ref()
    }

    /// What is open.
    #[must_use]
    pub fn open(&self) -> Option<Open> {
        self.ledger.flight.map(|flight| flight.open())
    }

    /// The order that is open.
    #[must_use]
    pub fn open_order(&self) -> Option<OrderDigest> {
        match self.open() {
            Some(Open::Order(order)) => Some(order),
            _ => None,
        }
    }

    /// Why no work is taken any more, if so.
    #[must_use]
    pub const fn halted(&self) -> Option<Conflict> {
        self.halted
    }

    /// The highest of what is claimed, promised and attested: nothing may say less is owed.
    #[must_use]
    pub fn earned(&self) -> Amount {
        self.view.claimed.max(self.promised()).max(self.ledger.attested)
    }

    fn promised(&self) -> Amount {
        self.ledger.best.map_or(Amount::ZERO, |best| best.voucher.cumulative)
    }

    /// What of this channel is paid, or payable whatever the payer does: a total.
    #[must_use]
    pub fn secured(&self) -> Amount {
        self.promised().min(self.view.allocated).max(self.view.claimed)
    }

    /// What a claim would credit now, gross of royalty.
    #[must_use]
    pub fn claimable(&self) -> Amount {
        self.secured().saturating_sub(self.view.claimed)
    }

    /// By when what is held has to be claimed (L11), if anything is.
    #[must_use]
    pub fn claim_by(&self) -> Option<Timestamp> {
        let by = self.view.expiry.0.saturating_sub(self.terms.margin_secs);
        (!self.claimable().is_zero()).then_some(Timestamp(by))
    }

    /// What this payee has worked, or may have, ahead of its money (SYM-25).
    /// Hosting adds nothing: it is paid in advance.
    #[must_use]
    pub fn exposure(&self) -> Amount {
        let most = match &self.ledger.flight {
            Some(Flight::Order { order, attested }) => attested.unwrap_or_else(|| order.most()),
            _ => Amount::ZERO,
        };
        most.max(self.ledger.attested).saturating_sub(self.secured())
    }

    /// Until when an order that ended unpaid may turn out to be settled by its
    /// quorum, if there is one: as long the chain is worth a look.
    #[must_use]
    pub fn due_until(&self) -> Option<Timestamp> {
        self.ledger.due.iter().map(|due| due.until).max()
    }

    /// Until when hosting is paid, if there is any: not a second further is served.
    #[must_use]
    pub fn serves_until(&self) -> Option<Timestamp> {
        match &self.ledger.flight {
            Some(Flight::Hosting { hosting, paid }) => Some(hosting.covered_until(*paid)),
            _ => None,
        }
    }

    /// When to hand back [`PayeeInput::Timer`].
    #[must_use]
    pub fn timer(&self) -> Option<Timestamp> {
        match &self.ledger.flight {
            Some(Flight::Order { order, .. }) => Some(order.settle_by.plus_secs(1)),
            _ => self.serves_until(),
        }
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`Rejected`], and the machine is as it was.
    ///
    /// # Safety of funds
    /// Carry out [`Effect::Persist`] and [`Effect::Keep`] before anything after them.
    pub fn handle(&mut self, signer: &dyn Signer, input: PayeeInput, now: Timestamp) -> Result<Effects, Rejected> {
        if signer.address() != self.terms.payee {
            return Err(Reason::WrongSigner { have: signer.address(), need: self.terms.payee }.close());
        }
        let mut next = self.clone();
        let rest = next.take(signer, input, now)?;
        let mut effects = Effects::with_capacity(rest.len().saturating_add(1));
        if next != *self {
            effects.push(Effect::Persist);
        }
        effects.extend(rest);
        *self = next;
        Ok(effects)
    }

    fn take(&mut self, signer: &dyn Signer, input: PayeeInput, now: Timestamp) -> Result<Effects, Rejected> {
        match input {
            PayeeInput::Seen(view) => self.see(view, now),
            PayeeInput::Offered(order) => self.offered(order, now),
            PayeeInput::Attest { order, fuel } => self.attest(order, fuel),
            PayeeInput::Voucher { order, signed } => self.voucher(Some(order), signed),
            PayeeInput::Period(signed) => self.voucher(None, signed),
            PayeeInput::GiveUp { order } => self.give_up(order),
            PayeeInput::Host(hosting) => self.host(hosting, now),
            PayeeInput::EndHosting(agreement) => {
                if self.open() == Some(Open::Hosting(agreement)) {
                    self.ledger.flight = None;
                    return Ok(vec![Effect::Stop { agreement }]);
                }
                Ok(Effects::new())
            }
            PayeeInput::ReleaseAsked { epoch } => self.release(signer, epoch),
            PayeeInput::Timer => Ok(self.lapse(now)),
            PayeeInput::Overruled => {
                self.halted = None;
                Ok(Effects::new())
            }
        }
    }

    /// Ends what is over. What was attested stays due.
    fn lapse(&mut self, now: Timestamp) -> Effects {
        match self.ledger.flight {
            Some(Flight::Order { order, attested }) if order.settle_by < now => {
                self.ledger.flight = None;
                if let Some(total) = attested {
                    if self.ledger.due.len() >= MOST_DUE {
                        self.ledger.due.remove(0);
                    }
                    let until = order.settle_by.plus_secs(self.terms.margin_secs);
                    self.ledger.due.push(Due { order: order.digest, total, until });
                }
                Effects::new()
            }
            Some(Flight::Hosting { hosting, paid }) if hosting.covered_until(paid) <= now => {
                self.ledger.flight = None;
                vec![Effect::Stop { agreement: hosting.agreement }]
            }
            _ => Effects::new(),
        }
    }

    fn see(&mut self, view: View, now: Timestamp) -> Result<Effects, Rejected> {
        if view.block < self.view.block {
            return Err(Reason::Stale { have: view.block, seen: self.view.block }.ignore());
        }
        let conflict = if self.view.is_empty() { None } else { self.conflict(&view, now) };
        let mut effects = halt(&mut self.halted, conflict);
        if view.epoch > self.view.epoch {
            // Instruments of an epoch that ended pay nothing any more.
            let lost = self.earned().saturating_sub(view.claimed);
            if !lost.is_zero() {
                effects.push(Effect::Forfeited { epoch: self.view.epoch, amount: lost });
            }
            if let Some(Open::Hosting(agreement)) = self.open() {
                effects.push(Effect::Stop { agreement });
            }
            self.ledger = Ledger::default();
        }
        if view.epoch >= self.view.epoch {
            self.view = view;
        }
        effects.extend(self.paid_now().into_iter().map(|order| Effect::Paid { order }));
        Ok(effects)
    }

    fn conflict(&self, view: &View, now: Timestamp) -> Option<Conflict> {
        let View { epoch, expiry, .. } = self.view;
        if view.epoch < epoch {
            return Some(Conflict::EpochWentBack { have: view.epoch, seen: epoch });
        }
        if view.epoch == epoch {
            return view.shrunk_since(&self.view);
        }
        let consented = self.closed.is_some_and(|closed| closed >= epoch);
        let early = now.plus_secs(self.terms.margin_secs) < expiry;
        (early && !consented).then_some(Conflict::ReleasedEarly { epoch, expiry })
    }

    /// What has to hold before any work is taken in this epoch.
    fn may_begin(&self, epoch: Epoch, owed: Amount) -> Result<(), Rejected> {
        if let Some(conflict) = self.halted {
            return Err(Reason::Halted(conflict).close());
        }
        if self.view.is_empty() {
            return Err(Reason::NotSeen.retry());
        }
        if self.closed.is_some_and(|closed| epoch <= closed) {
            return Err(Reason::EpochClosed { epoch }.warn());
        }
        // Of another epoch's totals nothing can be said.
        let earned = if epoch == self.view.epoch { self.earned() } else { Amount::ZERO };
        if owed < earned {
            return Err(Reason::OwedTooLow { have: owed, need: earned }.warn());
        }
        Ok(())
    }

    /// Refuses while something is open that is not over.
    fn is_free(&self, now: Timestamp) -> Result<(), Rejected> {
        match &self.ledger.flight {
            Some(Flight::Order { order, .. }) if order.settle_by < now => Ok(()),
            Some(Flight::Hosting { hosting, paid }) if hosting.covered_until(*paid) <= now => Ok(()),
            Some(flight) => Err(Reason::InFlight(flight.open()).retry()),
            None => Ok(()),
        }
    }

    fn offered(&mut self, offer: Order, now: Timestamp) -> Result<Effects, Rejected> {
        if matches!(self.ledger.flight, Some(Flight::Order { order, .. }) if order == offer) {
            return Ok(Effects::new());
        }
        self.is_free(now)?;
        self.may_begin(offer.leaf.epoch, offer.leaf.owed)?;
        offer.check(&self.terms, &self.view, now)?;
        let effects = self.lapse(now);
        self.ledger.flight = Some(Flight::Order { order: offer, attested: None });
        Ok(effects)
    }

    fn host(&mut self, offer: Hosting, now: Timestamp) -> Result<Effects, Rejected> {
        if matches!(self.ledger.flight, Some(Flight::Hosting { hosting, .. }) if hosting == offer) {
            return Ok(Effects::new());
        }
        self.is_free(now)?;
        self.may_begin(offer.epoch, offer.owed)?;
        offer.check(&self.terms, &self.view, now)?;
        let effects = self.lapse(now);
        self.ledger.flight = Some(Flight::Hosting { hosting: offer, paid: 0 });
        Ok(effects)
    }

    fn attest(&mut self, digest: OrderDigest, fuel: u64) -> Result<Effects, Rejected> {
        let Some(Flight::Order { order, attested }) = &mut self.ledger.flight else {
            return Err(Reason::NotOpen(Open::Order(digest)).ignore());
        };
        if order.digest != digest {
            return Err(Reason::NotOpen(Open::Order(digest)).ignore());
        }
        let have = order.max_fuel;
        if fuel > have {
            return Err(Reason::FuelAboveMaximum { have, need: fuel }.ignore());
        }
        let total = order.leaf.total(fuel).map_err(no_amount)?;
        *attested = Some(attested.map_or(total, |before| before.max(total)));
        self.ledger.attested = self.ledger.attested.max(total);
        Ok(Effects::new())
    }

    fn give_up(&mut self, digest: OrderDigest) -> Result<Effects, Rejected> {
        let waived = self.ledger.due.iter().any(|due| due.order == digest);
        match self.ledger.flight {
            Some(Flight::Order { order, attested }) if order.digest == digest => {
                if attested.is_some() {
                    return Err(Reason::Attested { order: digest }.ignore());
                }
                self.ledger.flight = None;
            }
            _ if waived => return Err(Reason::Attested { order: digest }.ignore()),
            _ => {}
        }
        Ok(Effects::new())
    }

    /// Takes a voucher; `order` is only what the sender says: it is answered
    /// for a repetition, never taken as a ground.
    fn voucher(&mut self, order: Option<OrderDigest>, signed: SignedVoucher) -> Result<Effects, Rejected> {
        let voucher = signed.voucher;
        if voucher.payee != self.terms.payee || voucher.lane != self.terms.lane {
            return Err(Reason::OtherChannel.disconnect());
        }
        if self.closed.is_some_and(|closed| voucher.epoch <= closed) {
            return Err(Reason::EpochClosed { epoch: voucher.epoch }.warn());
        }
        let wrong = Reason::WrongEpoch { have: voucher.epoch, need: self.view.epoch };
        match voucher.epoch.cmp(&self.view.epoch) {
            Ordering::Less => return Err(wrong.ignore()),
            Ordering::Equal => {}
            // Its bump may not be deep enough yet.
            Ordering::Greater => return Err(wrong.retry()),
        }
        let best = self.promised();
        if self.ledger.best.is_some() && voucher.cumulative == best {
            // The same promise again; whatever it paid is paid.
            let again = order.filter(|order| self.paid == Some(*order));
            return Ok(again.map(|order| Effect::Paid { order }).into_iter().collect());
        }
        if voucher.cumulative <= best {
            return Err(Reason::NotHigher { have: voucher.cumulative, best }.ignore());
        }
        if voucher.cumulative > self.view.allocated {
            let (have, need) = (self.view.allocated, voucher.cumulative);
            return Err(Reason::EarmarkTooSmall { have, need }.retry());
        }
        let digest = voucher.digest(&self.terms.domain);
        signed.signature.check(&digest, self.terms.payer).map_err(|e| Reason::BadSignature(e).disconnect())?;
        let (mut paid, serve) = self.take_over(signed);
        let mut effects = vec![Effect::Keep(signed)];
        paid.extend(order.filter(|order| paid.is_empty() && self.paid == Some(*order)));
        effects.extend(paid.into_iter().map(|order| Effect::Paid { order }));
        effects.extend(serve);
        Ok(effects)
    }

    /// Ends the orders whose Results what is secured covers (SYM-27).
    fn paid_now(&mut self) -> Vec<OrderDigest> {
        let total = self.secured();
        let due = &mut self.ledger.due;
        let mut covered: Vec<OrderDigest> = due.iter().filter(|due| due.total <= total).map(|due| due.order).collect();
        due.retain(|due| due.total > total);
        if let Some(Flight::Order { order, attested: Some(attested) }) = self.ledger.flight
            && attested <= total
        {
            self.ledger.flight = None;
            covered.push(order.digest);
        }
        self.paid = covered.last().copied().or(self.paid);
        covered
    }

    /// Says how far hosting may go on, if what is secured reaches further than before.
    fn serve(&mut self) -> Option<Effect> {
        let total = self.secured();
        let Some(Flight::Hosting { hosting, paid }) = &mut self.ledger.flight else { return None };
        let now_paid = hosting.paid_by(total);
        if now_paid <= *paid {
            return None;
        }
        *paid = now_paid;
        Some(Effect::Serve { agreement: hosting.agreement, until: hosting.covered_until(now_paid) })
    }

    fn release(&mut self, signer: &dyn Signer, epoch: Epoch) -> Result<Effects, Rejected> {
        if let Some(conflict) = self.halted {
            return Err(Reason::Halted(conflict).close());
        }
        if epoch != self.view.epoch {
            return Err(Reason::WrongEpoch { have: epoch, need: self.view.epoch }.retry());
        }
        if let Some(flight) = self.ledger.flight {
            return Err(Reason::InFlight(flight.open()).retry());
        }
        if self.view.is_empty() {
            return Err(Reason::NotSeen.retry());
        }
        // Not clamped: what a voucher promises above the earmark a top-up would still pay.
        let earned = self.earned();
        if self.view.claimed < earned {
            return Err(Reason::NotClaimed { claimed: self.view.claimed, earned }.retry());
        }
        self.closed = Some(epoch);
        let release = Release { payer: self.terms.payer, lane: self.terms.lane, epoch };
        let signature = signer.sign(&release.digest(&self.terms.domain));
        Ok(vec![Effect::Consent { release, signature }])
    }
}
