//! Contracts paid by time: a voucher in advance of each period.

use crate::{ChannelTerms, Reason, Rejected, View, refusal::no_amount};
use serde::{Deserialize, Serialize};
use symbolon_primitives::{AgreementDigest, Amount, AmountError, Epoch, Refuse, Timestamp};

/// Hosting as both ends of a channel agreed on it.
///
/// The voucher of period n (from 1) is due `lead_secs` before the period
/// begins and names `owed + n * price`. The payee serves as far as the vouchers
/// it holds reach, and no second further: it never works ahead of its money,
/// and the payer is never more than one period ahead of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosting {
    /// The agreement, signed by both.
    pub agreement: AgreementDigest,
    /// The channel's epoch.
    pub epoch: Epoch,
    /// What the channel owes its payee before the first period, as an absolute total.
    pub owed: Amount,
    /// Price of one period, in base units.
    pub price: Amount,
    /// When the first period begins.
    pub begin: Timestamp,
    /// Length of one period, in seconds.
    pub period_secs: u64,
    /// How long before a period its voucher is due.
    pub lead_secs: u64,
    /// The most periods it may last.
    pub periods: u32,
}

impl Hosting {
    /// The total that pays the first `count` periods.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] when it is no amount.
    pub fn total(&self, count: u32) -> Result<Amount, AmountError> {
        self.owed.checked_add(self.price.checked_mul(count.into())?)
    }

    /// When `count` paid periods end.
    #[must_use]
    pub fn covered_until(&self, count: u32) -> Timestamp {
        self.begin.plus_secs(self.period_secs.saturating_mul(count.into()))
    }

    /// From when on the voucher of the period after `paid` is due.
    #[must_use]
    pub fn due_after(&self, paid: u32) -> Timestamp {
        Timestamp(self.covered_until(paid).0.saturating_sub(self.lead_secs))
    }

    /// How many periods `total` pays, at most all.
    #[must_use]
    pub fn paid_by(&self, total: Amount) -> u32 {
        let paid = total.saturating_sub(self.owed).get().checked_div(self.price.get()).unwrap_or_default();
        u32::try_from(paid).unwrap_or(u32::MAX).min(self.periods)
    }

    /// What both ends check before they begin, except `owed`.
    pub(crate) fn check(&self, terms: &ChannelTerms, view: &View, now: Timestamp) -> Result<(), Rejected> {
        let sound = self.period_secs > 0
            && self.periods > 0
            && !self.price.is_zero()
            && self.lead_secs <= self.period_secs
            && self.total(self.periods).is_ok();
        if !sound {
            return Err(Reason::UnsoundHosting.warn());
        }
        if self.epoch != view.epoch {
            return Err(Reason::WrongEpoch { have: self.epoch, need: view.epoch }.retry());
        }
        if self.begin <= now {
            return Err(Reason::Late { by: self.begin }.warn());
        }
        self.covers(terms, view, 1)
    }

    /// Whether the channel carries the first `count` periods.
    pub(crate) fn covers(&self, terms: &ChannelTerms, view: &View, count: u32) -> Result<(), Rejected> {
        let need = self.total(count).map_err(no_amount)?;
        if view.allocated < need {
            return Err(Reason::EarmarkTooSmall { have: view.allocated, need }.retry());
        }
        let need = self.covered_until(count).plus_secs(terms.margin_secs);
        if view.expiry < need {
            return Err(Reason::ExpiresTooSoon { have: view.expiry, need }.warn());
        }
        Ok(())
    }
}
