//! What can be open in a channel, one at a time.

use crate::{ChannelTerms, Reason, Rejected, View, refusal::no_amount};
use core::fmt;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{AgreementDigest, Amount, Leaf, OrderDigest, Refuse, Timestamp};

/// An order as the payee's leaf has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order's name.
    pub digest: OrderDigest,
    /// The payee's leaf.
    pub leaf: Leaf,
    /// The most fuel it may be billed for.
    pub max_fuel: u64,
    /// The last second a quorum may settle it.
    pub settle_by: Timestamp,
}

impl Order {
    /// The most that any instrument for it can name; [`Amount::MAX`] when that is no amount.
    #[must_use]
    pub fn most(&self) -> Amount {
        self.leaf.total(self.max_fuel).unwrap_or(Amount::MAX)
    }

    /// What both ends check, except `owed`.
    pub(crate) fn check(&self, terms: &ChannelTerms, view: &View, now: Timestamp) -> Result<(), Rejected> {
        let Self { leaf, max_fuel, settle_by, .. } = *self;
        if leaf.provider != terms.payee || !terms.lane.is_order_lane(leaf.lane_number) {
            return Err(Reason::OtherChannel.warn());
        }
        if leaf.epoch != view.epoch {
            return Err(Reason::WrongEpoch { have: leaf.epoch, need: view.epoch }.retry());
        }
        if settle_by <= now {
            return Err(Reason::Late { by: settle_by }.warn());
        }
        let need = leaf.total(max_fuel).map_err(no_amount)?;
        if view.allocated < need {
            return Err(Reason::EarmarkTooSmall { have: view.allocated, need }.retry());
        }
        let need = settle_by.plus_secs(terms.margin_secs);
        if view.expiry < need {
            return Err(Reason::ExpiresTooSoon { have: view.expiry, need }.warn());
        }
        Ok(())
    }
}

/// What is open in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Open {
    /// An order.
    Order(OrderDigest),
    /// Hosting under an agreement.
    Hosting(AgreementDigest),
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(order) => write!(f, "order {order}"),
            Self::Hosting(agreement) => write!(f, "hosting under agreement {agreement}"),
        }
    }
}
