//! The payer's side: issues orders one at a time and gives cumulative vouchers.

use crate::{ChannelTerms, Effect, Effects, Reason, Rejected, SignedVoucher, View};
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Amount, Leaf, OrderDigest, Signer, Timestamp, Voucher};

/// An order about to be signed, as the payee's leaf in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// The order.
    pub order: OrderDigest,
    /// The payee's leaf.
    pub leaf: Leaf,
    /// The most fuel it may be billed for.
    pub max_fuel: u64,
    /// The last second a quorum may settle it.
    pub settle_by: Timestamp,
}

/// What a [`Payer`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayerInput {
    /// The channel at depth.
    Seen(View),
    /// An order is about to leave.
    Issue(Issue),
    /// The payee is in the order's quorum, and its signed Result is in hand.
    Agreed {
        /// The order.
        order: OrderDigest,
        /// The agreed fuel.
        fuel: u64,
    },
    /// The order was settled by quorum, at depth.
    Settled {
        /// The order.
        order: OrderDigest,
    },
    /// The payee gave the order up in a signed message.
    GaveUp {
        /// The order.
        order: OrderDigest,
    },
    /// Time has passed.
    Timer,
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
    flight: Option<Issue>,
    /// The last voucher, to be said again when it got lost.
    last: Option<(OrderDigest, SignedVoucher)>,
}

impl Payer {
    /// A channel that nothing is known of yet.
    #[must_use]
    pub fn new(terms: ChannelTerms) -> Self {
        Self { terms, view: View::default(), signed: Amount::ZERO, flight: None, last: None }
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

    /// The order that is open.
    #[must_use]
    pub fn open_order(&self) -> Option<OrderDigest> {
        self.flight.map(|flight| flight.order)
    }

    /// What the next order's leaf has to say is owed.
    #[must_use]
    pub fn owed(&self) -> Amount {
        self.signed.max(self.view.claimed)
    }

    /// The highest total signed in this epoch.
    #[must_use]
    pub const fn promised(&self) -> Amount {
        self.signed
    }

    /// What of the earmark neither is promised nor may be by the open order.
    #[must_use]
    pub fn room(&self) -> Amount {
        let most = self.flight.and_then(|flight| flight.leaf.total(flight.max_fuel).ok()).unwrap_or_default();
        self.view.allocated.saturating_sub(most.max(self.owed()))
    }

    /// Takes one input. `signer` is the payer key.
    ///
    /// # Errors
    /// [`Rejected`], and the machine is as it was.
    ///
    /// # Safety of funds
    /// Carry out [`Effect::Persist`] and [`Effect::Keep`] before a voucher or an order leaves.
    pub fn handle(&mut self, signer: &dyn Signer, input: PayerInput, now: Timestamp) -> Result<Effects, Rejected> {
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

    fn take(&mut self, signer: &dyn Signer, input: PayerInput, now: Timestamp) -> Result<Effects, Rejected> {
        match input {
            PayerInput::Seen(view) => self.see(view).map(|()| Effects::new()),
            PayerInput::Issue(issue) => self.issue(issue, now).map(|()| Effects::new()),
            PayerInput::Agreed { order, fuel } => self.agreed(signer, order, fuel),
            PayerInput::Settled { order } | PayerInput::GaveUp { order } => {
                if self.open_order() == Some(order) {
                    self.flight = None;
                }
                Ok(Effects::new())
            }
            PayerInput::Timer => {
                if self.flight.is_some_and(|flight| flight.settle_by < now) {
                    self.flight = None;
                }
                Ok(Effects::new())
            }
        }
    }

    fn see(&mut self, view: View) -> Result<(), Rejected> {
        if view.epoch < self.view.epoch {
            return Err(Reason::EpochWentBack { have: view.epoch, seen: self.view.epoch }.close());
        }
        if view.epoch > self.view.epoch {
            self.signed = Amount::ZERO;
            self.flight = None;
            self.last = None;
        }
        self.view = view;
        Ok(())
    }

    fn issue(&mut self, issue: Issue, now: Timestamp) -> Result<(), Rejected> {
        if let Some(flight) = self.flight {
            if flight == issue {
                return Ok(());
            }
            if flight.settle_by >= now {
                return Err(Reason::InFlight { order: flight.order }.ignore());
            }
        }
        let Issue { leaf, settle_by, .. } = issue;
        if leaf.provider != self.terms.payee || leaf.lane_number != self.terms.lane.number16() {
            return Err(Reason::OtherChannel.ignore());
        }
        if leaf.epoch != self.view.epoch {
            return Err(Reason::WrongEpoch { have: leaf.epoch, need: self.view.epoch }.ignore());
        }
        if settle_by <= now {
            return Err(Reason::Late { settle_by }.ignore());
        }
        if leaf.owed != self.owed() {
            return Err(Reason::OwedDiffers { have: leaf.owed, need: self.owed() }.ignore());
        }
        let need = leaf.total(issue.max_fuel)?;
        if self.view.allocated < need {
            return Err(Reason::EarmarkTooSmall { have: self.view.allocated, need }.ignore());
        }
        let need = settle_by.plus_secs(self.terms.margin_secs);
        if self.view.expiry < need {
            return Err(Reason::ExpiresTooSoon { have: self.view.expiry, need }.ignore());
        }
        self.flight = Some(issue);
        Ok(())
    }

    fn agreed(&mut self, signer: &dyn Signer, order: OrderDigest, fuel: u64) -> Result<Effects, Rejected> {
        if let Some((paid, signed)) = self.last
            && paid == order
        {
            return Ok(vec![Effect::SendVoucher { order, signed }]);
        }
        let Some(flight) = self.flight.filter(|flight| flight.order == order) else {
            return Err(Reason::NotOpen { order }.ignore());
        };
        if fuel > flight.max_fuel {
            return Err(Reason::FuelAboveMaximum { have: flight.max_fuel, need: fuel }.warn());
        }
        let cumulative = flight.leaf.total(fuel)?.max(self.signed);
        if cumulative > self.view.allocated {
            // Cannot be: the earmark covered the maximum when the order left and only a release lowers it.
            return Err(Reason::EarmarkTooSmall { have: self.view.allocated, need: cumulative }.close());
        }
        let voucher = Voucher { payee: self.terms.payee, lane: self.terms.lane, cumulative, epoch: self.view.epoch };
        let signed = SignedVoucher { voucher, signature: signer.sign(&voucher.digest(&self.terms.domain)) };
        self.signed = cumulative;
        self.flight = None;
        self.last = Some((order, signed));
        Ok(vec![Effect::Keep(signed), Effect::SendVoucher { order, signed }])
    }
}
