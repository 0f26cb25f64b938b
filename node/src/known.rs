//! What a data folder knows of channels, for commands that only look.

use crate::{context::NodeError, provider::ChannelRecord, requestor::PayerRecord, snapshot};
use serde::Serialize;
use std::path::Path;
use symbolon_primitives::{Address, Amount, Domain, Lane};
use symbolon_store::StoreHandle;

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
    /// The highest voucher of the epoch.
    pub voucher: Amount,
}

/// Every channel of a vault that the store knows.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn known_channels(store: &StoreHandle, domain: &Domain) -> Result<Vec<KnownChannel>, NodeError> {
    let paying = snapshot::all::<PayerRecord>(store)?.into_iter().map(|record| {
        let (terms, voucher) = (*record.payer.terms(), record.payer.promised());
        (terms, Role::Payer, voucher)
    });
    let paid = snapshot::all::<ChannelRecord>(store)?.into_iter().map(|record| {
        let voucher = record.payee.best().map_or(Amount::ZERO, |best| best.voucher.cumulative);
        (*record.payee.terms(), Role::Payee, voucher)
    });
    let known = paying.chain(paid).filter(|(terms, ..)| terms.domain == *domain);
    Ok(known
        .map(|(terms, role, voucher)| KnownChannel {
            payer: terms.payer,
            payee: terms.payee,
            lane: terms.lane,
            role,
            voucher,
        })
        .collect())
}

/// Opens a data folder's store to look at it. Nobody else may have it open.
///
/// # Errors
/// [`NodeError::Store`] when a node uses the folder.
pub async fn open_store(data: &Path) -> Result<StoreHandle, NodeError> {
    Ok(StoreHandle::open(data.to_owned()).await?)
}
