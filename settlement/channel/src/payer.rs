//! The payer's side: issues one order or hosting at a time and gives cumulative vouchers.

use crate::{
    ChannelTerms, Conflict, Effect, Effects, Hosting, Open, Order, Reason, Rejected, SignedVoucher, View,
    refusal::no_amount,
};
use serde::{Deserialize, Serialize};
use symbolon_primitives::{
    AgreementDigest, Amount, Epoch, OrderDigest, Refuse, Release, Signature, Signer, Timestamp, Voucher,
};

/// What a [`Payer`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayerInput {
    /// The channel at depth.
    Seen(View),
    /// An order is about to leave.
    Issue(Order),
    /// The payee is in the order's quorum, and its signed Result is in hand.
    Agreed {
        /// The order.
        order: OrderDigest,
        /// The agreed fuel.
        fuel: u64,
    },
    /// A quorum over this fuel was settled, at depth.
    Settled {
        /// The order.
        order: OrderDigest,
        /// The fuel it was settled for.
        fuel: u64,
    },
    /// The payee gave the order up in a signed message.
    GaveUp {
        /// The order.
        order: OrderDigest,
    },
    /// Hosting is to begin, as both agreed. Its vouchers are signed on [`PayerInput::Timer`].
    Host(Hosting),
    /// No further period is to be paid.
    EndHosting(AgreementDigest),
    /// The payee's consent to close the epoch.
    Consented {
        /// Which epoch.
        epoch: Epoch,
        /// The payee's signature over the release.
        signature: Signature,
    },
    /// Time has passed.
    Timer,
    /// The process started again from the stored machine: say the last voucher once more.
    Resume,
    /// A person has looked at the [`Conflict`] and goes on from what the chain shows.
    Overruled,
}

/// What is open at the payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Flight {
    Order(Order),
    /// Hosting, of which `paid` periods are.
    Hosting {
        hosting: Hosting,
        paid: u32,
    },
}

impl Flight {
    const fn open(&self) -> Open {
        match self {
            Self::Order(order) => Open::Order(order.digest),
            Self::Hosting { hosting, .. } => Open::Hosting(hosting.agreement),
        }
    }
}

/// What a voucher was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum For {
    Order(OrderDigest),
    Periods { agreement: AgreementDigest, paid: u32 },
}

/// A channel at its payer.
///
/// # Safety of funds
/// Within an epoch the totals it signs never fall and never exceed the earmark.
/// Keep its snapshot: an older one signs what was signed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    terms: ChannelTerms,
    view: View,
    /// The highest total signed in this epoch.
    signed: Amount,
    /// The most that anything signed in this epoch, an order included, can claim.
    most: Amount,
    /// The highest `claimed` ever seen.
    settled: Amount,
    flight: Option<Flight>,
    /// The last voucher, to be said again when it got lost.
    last: Option<(For, SignedVoucher)>,
    /// The epoch the payee consented to close. Nothing in it is issued ever after.
    closed: Option<Epoch>,
    halted: Option<Conflict>,
}

impl Payer {
    /// A channel that nothing is known of yet.
    #[must_use]
    pub fn new(terms: ChannelTerms) -> Self {
        Self {
            terms,
            view: View::default(),
            signed: Amount::ZERO,
            most: Amount::ZERO,
            settled: Amount::ZERO,
            flight: None,
            last: None,
            closed: None,
            halted: None,
        }
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

    /// Takes over the best voucher that was kept for its epoch, with the order it was given for, if
    /// for one: a snapshot, caught up with it, is the machine as it was when that voucher was kept.
    /// One that the snapshot knows changes nothing.
    ///
    /// # Safety of funds
    /// Whatever the snapshot says, nothing below what was kept is signed after this.
    pub fn catch_up(&mut self, kept: &SignedVoucher, order: Option<OrderDigest>) {
        let voucher = kept.voucher;
        let known = self.last.is_some() && voucher.cumulative == self.signed;
        if voucher.epoch != self.view.epoch || voucher.cumulative < self.signed || known {
            return;
        }
        let what = match (order, self.flight) {
            (Some(order), flight) => {
                if flight.is_some_and(|flight| flight.open() == Open::Order(order)) {
                    self.flight = None;
                }
                Some(For::Order(order))
            }
            (None, Some(Flight::Hosting { hosting, .. })) => {
                let paid = hosting.paid_by(voucher.cumulative);
                self.flight = Some(Flight::Hosting { hosting, paid });
                Some(For::Periods { agreement: hosting.agreement, paid })
            }
            // Of an earlier snapshot's epoch nobody knows what for: never said again, never signed below.
            (None, _) => None,
        };
        self.signed = voucher.cumulative;
        self.most = self.most.max(voucher.cumulative);
        self.last = what.map(|what| (what, *kept));
    }

    /// Whether keeping `kept` made all of the step from `before` to here durable: the snapshot does
    /// not have to be written for it.
    #[must_use]
    pub fn is_kept_by(&self, before: &Self, kept: &SignedVoucher, order: Option<OrderDigest>) -> bool {
        let mut again = before.clone();
        again.catch_up(kept, order);
        again == *self
    }

    /// What is open.
    #[must_use]
    pub fn open(&self) -> Option<Open> {
        self.flight.map(|flight| flight.open())
    }

    /// The order that is open.
    #[must_use]
    pub fn open_order(&self) -> Option<OrderDigest> {
        match self.open() {
            Some(Open::Order(order)) => Some(order),
            _ => None,
        }
    }

    /// Why nothing is signed any more, if so.
    #[must_use]
    pub const fn halted(&self) -> Option<Conflict> {
        self.halted
    }

    /// What the next order's leaf has to say is owed.
    #[must_use]
    pub fn owed(&self) -> Amount {
        self.signed.max(self.settled)
    }

    /// The highest total signed in this epoch.
    #[must_use]
    pub const fn promised(&self) -> Amount {
        self.signed
    }

    /// What of the earmark neither is promised nor may be by what is open.
    #[must_use]
    pub fn room(&self) -> Amount {
        let most = match &self.flight {
            None => Amount::ZERO,
            Some(Flight::Order(order)) => order.most(),
            Some(Flight::Hosting { hosting, .. }) => hosting.total(hosting.periods).unwrap_or(Amount::MAX),
        };
        self.view.allocated.saturating_sub(most.max(self.owed()))
    }

    /// What has to be earmarked more before an order of this price can leave.
    #[must_use]
    pub fn missing(&self, price: Amount) -> Amount {
        price.saturating_sub(self.room())
    }

    /// When to hand back [`PayerInput::Timer`].
    #[must_use]
    pub fn timer(&self) -> Option<Timestamp> {
        match &self.flight {
            None => None,
            Some(Flight::Order(order)) => Some(order.settle_by.plus_secs(1)),
            Some(Flight::Hosting { hosting, paid }) if *paid < hosting.periods => Some(hosting.due_after(*paid)),
            Some(Flight::Hosting { hosting, paid }) => Some(hosting.covered_until(*paid)),
        }
    }

    /// Takes one input. `signer` is the payer key.
    ///
    /// # Errors
    /// [`Rejected`], and the machine is as it was.
    ///
    /// # Safety of funds
    /// Carry out [`Effect::Persist`] and [`Effect::Keep`] before a voucher or an order leaves.
    pub fn handle(&mut self, signer: &dyn Signer, input: PayerInput, now: Timestamp) -> Result<Effects, Rejected> {
        if signer.address() != self.terms.payer {
            return Err(Reason::WrongSigner { have: signer.address(), need: self.terms.payer }.close());
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

    fn take(&mut self, signer: &dyn Signer, input: PayerInput, now: Timestamp) -> Result<Effects, Rejected> {
        match input {
            PayerInput::Seen(view) => self.see(view),
            PayerInput::Issue(order) => self.issue(order, now),
            PayerInput::Agreed { order, fuel } => self.agreed(signer, order, fuel),
            PayerInput::Settled { order, fuel } => self.settled(order, fuel),
            PayerInput::GaveUp { order } => {
                self.end(Open::Order(order));
                Ok(Effects::new())
            }
            PayerInput::Host(hosting) => self.host(hosting, now),
            PayerInput::EndHosting(agreement) => {
                self.end(Open::Hosting(agreement));
                Ok(Effects::new())
            }
            PayerInput::Consented { epoch, signature } => self.consented(epoch, signature),
            PayerInput::Timer => self.timer_fired(signer, now),
            PayerInput::Resume => Ok(self.last.map(say).into_iter().collect()),
            PayerInput::Overruled => {
                self.halted = None;
                Ok(Effects::new())
            }
        }
    }

    fn end(&mut self, open: Open) {
        if self.open() == Some(open) {
            self.flight = None;
        }
    }

    fn see(&mut self, view: View) -> Result<Effects, Rejected> {
        if view.block < self.view.block {
            return Err(Reason::Stale { have: view.block, seen: self.view.block }.ignore());
        }
        let conflict = if self.view.is_empty() { None } else { self.conflict(&view) };
        if view.epoch > self.view.epoch {
            self.signed = Amount::ZERO;
            self.most = Amount::ZERO;
            self.flight = None;
            self.last = None;
        }
        if view.epoch >= self.view.epoch {
            self.view = view;
            self.settled = self.settled.max(view.claimed);
            self.most = self.most.max(self.settled);
        }
        Ok(halt(&mut self.halted, conflict))
    }

    fn conflict(&self, view: &View) -> Option<Conflict> {
        if view.epoch < self.view.epoch {
            return Some(Conflict::EpochWentBack { have: view.epoch, seen: self.view.epoch });
        }
        // Nothing was signed in an epoch that was never seen.
        if view.claimed > self.most {
            return Some(Conflict::ClaimedAboveSigned { have: view.claimed, most: self.most });
        }
        if view.epoch == self.view.epoch { view.shrunk_since(&self.view) } else { None }
    }

    /// What has to hold before anything new is promised in this epoch.
    fn may_begin(&self, epoch: Epoch, owed: Amount) -> Result<(), Rejected> {
        if let Some(conflict) = self.halted {
            return Err(Reason::Halted(conflict).close());
        }
        if self.view.is_empty() {
            return Err(Reason::NotSeen.retry());
        }
        if self.closed.is_some_and(|closed| epoch <= closed) {
            return Err(Reason::EpochClosed { epoch }.retry());
        }
        if owed != self.owed() {
            return Err(Reason::OwedDiffers { have: owed, need: self.owed() }.warn());
        }
        Ok(())
    }

    fn issue(&mut self, order: Order, now: Timestamp) -> Result<Effects, Rejected> {
        match self.flight {
            Some(Flight::Order(open)) if open == order => return Ok(Effects::new()),
            // Past its settle-by no quorum can be settled any more.
            Some(Flight::Order(open)) if open.settle_by < now => {}
            Some(flight) => return Err(Reason::InFlight(flight.open()).retry()),
            None => {}
        }
        self.may_begin(order.leaf.epoch, order.leaf.owed)?;
        order.check(&self.terms, &self.view, now)?;
        self.most = self.most.max(order.most());
        self.flight = Some(Flight::Order(order));
        Ok(Effects::new())
    }

    fn host(&mut self, hosting: Hosting, now: Timestamp) -> Result<Effects, Rejected> {
        match self.flight {
            Some(Flight::Hosting { hosting: open, .. }) if open == hosting => return Ok(Effects::new()),
            Some(Flight::Order(open)) if open.settle_by < now => {}
            Some(flight) => return Err(Reason::InFlight(flight.open()).retry()),
            None => {}
        }
        self.may_begin(hosting.epoch, hosting.owed)?;
        hosting.check(&self.terms, &self.view, now)?;
        self.flight = Some(Flight::Hosting { hosting, paid: 0 });
        Ok(Effects::new())
    }

    fn agreed(&mut self, signer: &dyn Signer, order: OrderDigest, fuel: u64) -> Result<Effects, Rejected> {
        if let Some(last @ (For::Order(paid), _)) = self.last
            && paid == order
        {
            return Ok(vec![say(last)]);
        }
        let open = match self.flight {
            Some(Flight::Order(open)) if open.digest == order => open,
            _ => return Err(Reason::NotOpen(Open::Order(order)).ignore()),
        };
        if let Some(conflict) = self.halted {
            return Err(Reason::Halted(conflict).close());
        }
        if fuel > open.max_fuel {
            return Err(Reason::FuelAboveMaximum { have: open.max_fuel, need: fuel }.warn());
        }
        let total = open.leaf.total(fuel).map_err(no_amount)?;
        let effects = self.promise(signer, For::Order(order), total)?;
        self.flight = None;
        Ok(effects)
    }

    /// Signs the total, or what was signed before if that is more (L1, L2).
    fn promise(&mut self, signer: &dyn Signer, what: For, total: Amount) -> Result<Effects, Rejected> {
        let cumulative = total.max(self.signed);
        if cumulative > self.view.allocated {
            return Err(Reason::EarmarkTooSmall { have: self.view.allocated, need: cumulative }.retry());
        }
        let voucher = Voucher { payee: self.terms.payee, lane: self.terms.lane, cumulative, epoch: self.view.epoch };
        let signed = SignedVoucher { voucher, signature: signer.sign(&voucher.digest(&self.terms.domain)) };
        self.signed = cumulative;
        self.most = self.most.max(cumulative);
        self.last = Some((what, signed));
        Ok(vec![Effect::Keep(signed), say((what, signed))])
    }

    fn settled(&mut self, order: OrderDigest, fuel: u64) -> Result<Effects, Rejected> {
        let open = match self.flight {
            Some(Flight::Order(open)) if open.digest == order => open,
            _ => return Ok(Effects::new()),
        };
        let earned = open.leaf.total(fuel).map_err(no_amount)?;
        if self.view.claimed < earned {
            // The event is here before the look that shows it.
            return Err(Reason::NotClaimed { claimed: self.view.claimed, earned }.retry());
        }
        self.flight = None;
        Ok(Effects::new())
    }

    fn consented(&mut self, epoch: Epoch, signature: Signature) -> Result<Effects, Rejected> {
        if epoch != self.view.epoch {
            return Err(Reason::WrongEpoch { have: epoch, need: self.view.epoch }.ignore());
        }
        let release = Release { payer: self.terms.payer, lane: self.terms.lane, epoch };
        signature
            .check(&release.digest(&self.terms.domain), self.terms.payee)
            .map_err(|error| Reason::BadSignature(error).disconnect())?;
        self.closed = Some(epoch);
        self.flight = None;
        Ok(vec![Effect::Release { release, signature }])
    }

    fn timer_fired(&mut self, signer: &dyn Signer, now: Timestamp) -> Result<Effects, Rejected> {
        match self.flight {
            Some(Flight::Order(order)) if order.settle_by < now => self.flight = None,
            Some(Flight::Hosting { hosting, paid }) => return self.next_period(signer, hosting, paid, now),
            _ => {}
        }
        Ok(Effects::new())
    }

    /// Pays the next period when it is due; ends the hosting when the payee has stopped by now.
    fn next_period(
        &mut self,
        signer: &dyn Signer,
        hosting: Hosting,
        paid: u32,
        now: Timestamp,
    ) -> Result<Effects, Rejected> {
        if now >= hosting.covered_until(paid) {
            self.flight = None;
            return Ok(Effects::new());
        }
        if now < hosting.due_after(paid) || paid >= hosting.periods || self.halted.is_some() {
            return Ok(Effects::new());
        }
        let paid = paid.saturating_add(1);
        match hosting.covers(&self.terms, &self.view, paid) {
            Ok(()) => {}
            Err(Rejected { reason: Reason::EarmarkTooSmall { have, need }, .. }) => {
                return Ok(vec![Effect::TopUp { missing: need.saturating_sub(have) }]);
            }
            Err(rejected) => return Err(rejected),
        }
        let what = For::Periods { agreement: hosting.agreement, paid };
        let effects = self.promise(signer, what, hosting.total(paid).map_err(no_amount)?)?;
        self.flight = Some(Flight::Hosting { hosting, paid });
        Ok(effects)
    }
}

fn say((what, signed): (For, SignedVoucher)) -> Effect {
    match what {
        For::Order(order) => Effect::SendVoucher { order, signed },
        For::Periods { agreement, paid } => Effect::SendPeriod { agreement, paid, signed },
    }
}

/// The first conflict stays until a person has looked.
pub(crate) fn halt(halted: &mut Option<Conflict>, conflict: Option<Conflict>) -> Effects {
    match conflict {
        Some(conflict) if halted.is_none() => {
            *halted = Some(conflict);
            vec![Effect::Halted(conflict)]
        }
        _ => Effects::new(),
    }
}
