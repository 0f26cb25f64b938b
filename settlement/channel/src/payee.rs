//! The payee's side: takes orders, attests, keeps vouchers, consents to releases.

use crate::{ChannelTerms, Effect, Effects, Reason, Rejected, SignedVoucher, View};
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Amount, Epoch, Leaf, OrderDigest, Release, Signer, Timestamp};

/// An order as this payee's leaf has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The order.
    pub order: OrderDigest,
    /// The payee's leaf.
    pub leaf: Leaf,
    /// The most fuel it may be billed for.
    pub max_fuel: u64,
    /// The last second a quorum may settle it.
    pub settle_by: Timestamp,
}

/// What a [`Payee`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayeeInput {
    /// The channel at depth.
    Seen(View),
    /// An order to take.
    Offered(Offer),
    /// This replica is about to sign a Result with this fuel.
    Attest {
        /// The order.
        order: OrderDigest,
        /// The Result's fuel.
        fuel: u64,
    },
    /// A voucher of the payer.
    Voucher {
        /// What it pays for.
        order: OrderDigest,
        /// The voucher.
        signed: SignedVoucher,
    },
    /// The order is settled by quorum, at depth.
    Settled {
        /// The order.
        order: OrderDigest,
    },
    /// Nothing will be asked for the order.
    GiveUp {
        /// The order.
        order: OrderDigest,
    },
    /// The owner asks to close this epoch before the expiry.
    ReleaseAsked {
        /// The epoch.
        epoch: Epoch,
    },
    /// Time has passed.
    Timer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    offer: Offer,
    /// `owed + price(fuel)` of the Result that was signed.
    attested: Option<Amount>,
}

/// A Result that was signed, whose order ended unpaid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Due {
    order: OrderDigest,
    total: Amount,
}

/// The most orders remembered that ended unpaid; older ones stay in `attested`.
const MOST_DUE: usize = 16;

/// A channel at its payee.
///
/// # Safety of funds
/// A voucher counts once its `Keep` is durable. A consent gives up whatever of
/// the epoch is not claimed; it is given only when nothing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payee {
    terms: ChannelTerms,
    view: View,
    best: Option<SignedVoucher>,
    /// The highest total of any Result signed in this epoch.
    attested: Amount,
    flight: Option<Flight>,
    /// Attested orders past their settle-by. The next order's `owed` has to cover them.
    due: Vec<Due>,
    /// The order that was paid last, to be said again when the answer got lost.
    paid: Option<OrderDigest>,
    /// The epoch whose closing was consented to. Nothing in it is accepted ever after.
    closed: Option<Epoch>,
}

impl Payee {
    /// A channel that nothing is known of yet.
    #[must_use]
    pub fn new(terms: ChannelTerms) -> Self {
        Self {
            terms,
            view: View::default(),
            best: None,
            attested: Amount::ZERO,
            flight: None,
            due: Vec::new(),
            paid: None,
            closed: None,
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

    /// The best voucher of the epoch.
    #[must_use]
    pub const fn best(&self) -> Option<&SignedVoucher> {
        self.best.as_ref()
    }

    /// The order that is open.
    #[must_use]
    pub fn open_order(&self) -> Option<OrderDigest> {
        self.flight.map(|flight| flight.offer.order)
    }

    /// The highest of what is claimed, promised and attested: no order may say less is owed.
    #[must_use]
    pub fn earned(&self) -> Amount {
        self.view.claimed.max(self.promised()).max(self.attested)
    }

    fn promised(&self) -> Amount {
        self.best.map_or(Amount::ZERO, |best| best.voucher.cumulative)
    }

    /// What a claim would credit now.
    #[must_use]
    pub fn claimable(&self) -> Amount {
        self.promised().min(self.view.allocated).saturating_sub(self.view.claimed)
    }

    /// What this payee has worked, or may have, ahead of its money (SYM-25).
    #[must_use]
    pub fn exposure(&self) -> Amount {
        let secured = self.promised().min(self.view.allocated).max(self.view.claimed);
        let most = self.flight.map_or(Amount::ZERO, |flight| {
            flight.attested.or_else(|| flight.offer.leaf.total(flight.offer.max_fuel).ok()).unwrap_or(Amount::MAX)
        });
        most.max(self.attested).saturating_sub(secured)
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`Rejected`], and the machine is as it was.
    ///
    /// # Safety of funds
    /// Carry out [`Effect::Persist`] and [`Effect::Keep`] before anything after them.
    pub fn handle(&mut self, signer: &dyn Signer, input: PayeeInput, now: Timestamp) -> Result<Effects, Rejected> {
        let mut next = self.clone();
        let rest = next.take(signer, input, now)?;
        let mut effects = Effects::new();
        if next != *self {
            effects.push(Effect::Persist);
        }
        effects.extend(rest);
        *self = next;
        Ok(effects)
    }

    fn take(&mut self, signer: &dyn Signer, input: PayeeInput, now: Timestamp) -> Result<Effects, Rejected> {
        match input {
            PayeeInput::Seen(view) => self.see(view).map(|()| Effects::new()),
            PayeeInput::Offered(offer) => self.offered(offer, now).map(|()| Effects::new()),
            PayeeInput::Attest { order, fuel } => self.attest(order, fuel).map(|()| Effects::new()),
            PayeeInput::Voucher { order, signed } => self.voucher(order, signed),
            PayeeInput::Settled { order } => {
                if self.open_order() == Some(order) {
                    self.flight = None;
                }
                self.due.retain(|due| due.order != order);
                self.paid = Some(order);
                Ok(vec![Effect::Paid { order }])
            }
            PayeeInput::GiveUp { order } => match self.flight {
                Some(flight) if flight.offer.order == order && flight.attested.is_some() => {
                    Err(Reason::Attested { order }.ignore())
                }
                Some(flight) if flight.offer.order == order => {
                    self.flight = None;
                    Ok(Effects::new())
                }
                _ => Ok(Effects::new()),
            },
            PayeeInput::ReleaseAsked { epoch } => self.release(signer, epoch),
            PayeeInput::Timer => {
                if self.flight.is_some_and(|flight| flight.offer.settle_by < now) {
                    self.lapse();
                }
                Ok(Effects::new())
            }
        }
    }

    /// The open order is past its settle-by. What was attested stays due.
    fn lapse(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        if let Some(total) = flight.attested {
            if self.due.len() >= MOST_DUE {
                self.due.remove(0);
            }
            self.due.push(Due { order: flight.offer.order, total });
        }
    }

    fn see(&mut self, view: View) -> Result<(), Rejected> {
        if view.epoch < self.view.epoch {
            return Err(Reason::EpochWentBack { have: view.epoch, seen: self.view.epoch }.close());
        }
        if view.epoch > self.view.epoch {
            // Instruments of a closed epoch pay nothing any more.
            self.best = None;
            self.attested = Amount::ZERO;
            self.flight = None;
            self.due.clear();
        }
        self.view = view;
        Ok(())
    }

    fn offered(&mut self, offer: Offer, now: Timestamp) -> Result<(), Rejected> {
        let Offer { leaf, settle_by, .. } = offer;
        if let Some(flight) = self.flight {
            if flight.offer == offer {
                return Ok(());
            }
            if flight.offer.settle_by >= now {
                return Err(Reason::InFlight { order: flight.offer.order }.ignore());
            }
        }
        if leaf.provider != self.terms.payee || leaf.lane_number != self.terms.lane.number16() {
            return Err(Reason::OtherChannel.warn());
        }
        if self.closed.is_some_and(|closed| leaf.epoch <= closed) {
            return Err(Reason::EpochClosed { epoch: leaf.epoch }.warn());
        }
        if leaf.epoch != self.view.epoch {
            return Err(Reason::WrongEpoch { have: leaf.epoch, need: self.view.epoch }.ignore());
        }
        if settle_by <= now {
            return Err(Reason::Late { settle_by }.warn());
        }
        let earned = self.earned();
        if leaf.owed < earned {
            return Err(Reason::OwedTooLow { have: leaf.owed, need: earned }.warn());
        }
        let most = leaf.total(offer.max_fuel)?;
        if self.view.allocated < most {
            return Err(Reason::EarmarkTooSmall { have: self.view.allocated, need: most }.ignore());
        }
        let need = settle_by.plus_secs(self.terms.margin_secs);
        if self.view.expiry < need {
            return Err(Reason::ExpiresTooSoon { have: self.view.expiry, need }.warn());
        }
        self.lapse();
        self.flight = Some(Flight { offer, attested: None });
        Ok(())
    }

    fn attest(&mut self, order: OrderDigest, fuel: u64) -> Result<(), Rejected> {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.offer.order == order) else {
            return Err(Reason::NotOpen { order }.ignore());
        };
        let have = flight.offer.max_fuel;
        if fuel > have {
            return Err(Reason::FuelAboveMaximum { have, need: fuel }.ignore());
        }
        let total = flight.offer.leaf.total(fuel)?;
        flight.attested = Some(flight.attested.map_or(total, |before| before.max(total)));
        self.attested = self.attested.max(total);
        Ok(())
    }

    fn voucher(&mut self, order: OrderDigest, signed: SignedVoucher) -> Result<Effects, Rejected> {
        let voucher = signed.voucher;
        if voucher.payee != self.terms.payee || voucher.lane != self.terms.lane {
            return Err(Reason::OtherChannel.disconnect());
        }
        if self.closed.is_some_and(|closed| voucher.epoch <= closed) {
            return Err(Reason::EpochClosed { epoch: voucher.epoch }.warn());
        }
        if voucher.epoch != self.view.epoch {
            return Err(Reason::WrongEpoch { have: voucher.epoch, need: self.view.epoch }.ignore());
        }
        let best = self.promised();
        if self.best.is_some() && voucher.cumulative == best {
            // The same promise again; whatever it paid is paid.
            return Ok(self.paid_by(best, order));
        }
        if voucher.cumulative <= best {
            return Err(Reason::NotHigher { have: voucher.cumulative, best }.ignore());
        }
        if voucher.cumulative > self.view.allocated {
            let (have, need) = (self.view.allocated, voucher.cumulative);
            return Err(Reason::EarmarkTooSmall { have, need }.ignore());
        }
        let digest = voucher.digest(&self.terms.domain);
        signed.signature.check(&digest, self.terms.payer).map_err(|e| Reason::BadSignature(e).disconnect())?;
        self.best = Some(signed);
        let mut effects = vec![Effect::Keep(signed)];
        effects.extend(self.paid_by(voucher.cumulative, order));
        Ok(effects)
    }

    /// Ends the orders whose Results `total` covers. `order` is only what the
    /// sender says: it is answered for a repetition, never taken as a ground.
    fn paid_by(&mut self, total: Amount, order: OrderDigest) -> Effects {
        let mut covered: Vec<OrderDigest> =
            self.due.iter().filter(|due| due.total <= total).map(|due| due.order).collect();
        self.due.retain(|due| due.total > total);
        let attested = self.flight.filter(|flight| flight.attested.is_some_and(|attested| attested <= total));
        if let Some(flight) = attested {
            self.flight = None;
            covered.push(flight.offer.order);
        }
        self.paid = covered.last().copied().or(self.paid);
        if covered.is_empty() && self.paid == Some(order) {
            covered.push(order);
        }
        covered.into_iter().map(|order| Effect::Paid { order }).collect()
    }

    fn release(&mut self, signer: &dyn Signer, epoch: Epoch) -> Result<Effects, Rejected> {
        if epoch != self.view.epoch {
            return Err(Reason::WrongEpoch { have: epoch, need: self.view.epoch }.ignore());
        }
        if let Some(flight) = self.flight {
            return Err(Reason::InFlight { order: flight.offer.order }.ignore());
        }
        if self.view.expiry == Timestamp::default() {
            return Err(Reason::NotSeen.ignore());
        }
        // Not clamped: what a voucher promises above the earmark a top-up would still pay.
        let earned = self.earned();
        if self.view.claimed < earned {
            return Err(Reason::NotClaimed { claimed: self.view.claimed, earned }.ignore());
        }
        self.closed = Some(epoch);
        let release = Release { payer: self.terms.payer, lane: self.terms.lane, epoch };
        let signature = signer.sign(&release.digest(&self.terms.domain));
        Ok(vec![Effect::Consent { release, signature }])
    }
}
