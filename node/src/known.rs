//! What a data folder knows of channels, for commands that only look.

use crate::{
    context::NodeError,
    provider::{ChannelRecord, exposure_limits},
    requestor::PayerRecord,
    snapshot,
};
use serde::Serialize;
use std::{fmt, path::Path};
use symbolon_channel::Conflict;
use symbolon_primitives::{Address, Amount, Domain, Lane, OrderDigest, Timestamp};
use symbolon_settlement::ChannelState;
use symbolon_store::{StoreHandle, View};

/// Which side of a channel a data folder is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It signs the vouchers.
    Payer,
    /// It gets them.
    Payee,
}

/// A channel that a data folder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownChannel {
    /// The payer key.
    pub payer: Address,
    /// The payee.
    pub payee: Address,
    /// The lane.
    pub lane: Lane,
    /// This folder's side.
    pub role: Role,
    /// The channel as it was last seen at depth.
    pub seen: ChannelState,
    /// The highest voucher of the epoch.
    pub voucher: Amount,
    /// The highest of what is claimed, promised and, at the payee, attested.
    pub earned: Amount,
    /// Payee: worked, or may have, ahead of its money (SYM-25). Payer: the most the open order may still cost.
    pub exposure: Amount,
    /// Payee: the most exposure to this payer key, the lowest of its agreements in force, if one is.
    pub limit: Option<Amount>,
    /// The order that is open.
    pub open_order: Option<OrderDigest>,
    /// How long before the expiry the payee stops relying on the channel.
    pub margin_secs: u64,
    /// What the chain showed and could not be, if that stopped the channel.
    pub halted: Option<Conflict>,
}

/// What happens next in a channel, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum NextStep {
    /// An order is open; its voucher or its quorum comes next.
    Order {
        /// Which.
        order: OrderDigest,
    },
    /// The payee claims what it holds, at the latest at this time.
    Claim {
        /// The expiry less the margin.
        by: Timestamp,
    },
    /// It is stopped until a person has looked.
    Look,
    /// The owner may release since, or from, this time.
    Release {
        /// The expiry.
        from: Timestamp,
    },
    /// Nothing.
    Idle,
}

impl fmt::Display for NextStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order { order } => write!(f, "order {order} is paid, settled or given up"),
            Self::Claim { by } => write!(f, "the payee claims, by {by} at the latest"),
            Self::Look => f.write_str("it is stopped until somebody has looked: symbolon channel resume"),
            Self::Release { from } => write!(f, "the owner may release from {from} on"),
            Self::Idle => f.write_str("nothing"),
        }
    }
}

impl KnownChannel {
    /// What a claim would credit, with the channel as `state` has it.
    #[must_use]
    pub fn claimable(&self, state: &ChannelState) -> Amount {
        // A voucher of an epoch that is over pays nothing.
        let promised = if state.epoch == self.seen.epoch { self.voucher } else { Amount::ZERO };
        promised.min(state.allocated).saturating_sub(state.claimed)
    }

    /// What happens next, with the channel as `state` has it.
    #[must_use]
    pub fn next_step(&self, state: &ChannelState) -> NextStep {
        let claims = self.role == Role::Payee && !self.claimable(state).is_zero();
        if self.halted.is_some() && !claims {
            return NextStep::Look;
        }
        if let Some(order) = self.open_order {
            return NextStep::Order { order };
        }
        if !self.claimable(state).is_zero() {
            return NextStep::Claim { by: Timestamp(state.expiry.0.saturating_sub(self.margin_secs)) };
        }
        if state.allocated > state.claimed { NextStep::Release { from: state.expiry } } else { NextStep::Idle }
    }
}

/// Every channel of a vault that the store knows.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn known_channels(view: &View<'_>, domain: &Domain) -> Result<Vec<KnownChannel>, NodeError> {
    let paying = snapshot::all_in::<PayerRecord>(view)?.into_iter().map(|record| {
        let payer = &record.payer;
        let left = payer.view().allocated.saturating_sub(payer.owed());
        let known = KnownChannel {
            payer: payer.terms().payer,
            payee: payer.terms().payee,
            lane: payer.terms().lane,
            role: Role::Payer,
            seen: state_of(payer.view()),
            voucher: payer.promised(),
            earned: payer.owed(),
            limit: None,
            exposure: if payer.open_order().is_some() { left.saturating_sub(payer.room()) } else { Amount::ZERO },
            open_order: payer.open_order(),
            margin_secs: payer.terms().margin_secs,
            halted: payer.halted(),
        };
        (payer.terms().domain, known)
    });
    let limits = exposure_limits(view, domain)?;
    let paid = snapshot::all_in::<ChannelRecord>(view)?.into_iter().map(|record| {
        let payee = &record.payee;
        let known = KnownChannel {
            payer: payee.terms().payer,
            payee: payee.terms().payee,
            lane: payee.terms().lane,
            role: Role::Payee,
            seen: state_of(payee.view()),
            voucher: payee.best().map_or(Amount::ZERO, |best| best.voucher.cumulative),
            earned: payee.earned(),
            exposure: payee.exposure(),
            limit: limits.get(&payee.terms().payer).copied(),
            open_order: payee.open_order(),
            margin_secs: payee.terms().margin_secs,
            halted: payee.halted(),
        };
        (payee.terms().domain, known)
    });
    Ok(paying.chain(paid).filter(|(of, _)| of == domain).map(|(_, known)| known).collect())
}

fn state_of(view: &symbolon_channel::View) -> ChannelState {
    ChannelState { allocated: view.allocated, claimed: view.claimed, epoch: view.epoch, expiry: view.expiry }
}

/// Opens a data folder's store to change it. Nobody else may have it open.
///
/// # Errors
/// [`NodeError::Store`] when a node uses the folder.
pub async fn open_store(data: &Path) -> Result<StoreHandle, NodeError> {
    Ok(StoreHandle::open(data.to_owned()).await?)
}
