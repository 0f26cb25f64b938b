//! What a provider's folder could collect: the plan of its claims and settlements, and what would be sent for it.
//!
//! For a look at a running node's folder (the dry run), and for claiming while no node runs. The plan is the one a
//! running provider makes of its vouchers as long as their jobs go on: that a job is over, or its requestor silent, is
//! in no folder.

use crate::{
    context::{NodeError, now},
    ledger::known_orders,
    watch::{self, packages},
};
use std::collections::BTreeMap;
use symbolon_primitives::{
    Address, Amount, Domain, OrderDigest, Timestamp,
    watch::{Instrument, Package, QuorumPackage},
};
use symbolon_settlement::{
    Call, ChainError, ChannelState, Claim, ClaimPolicy, GasPrice, HeldQuorum, HeldVoucher, Intent, Market, Plan,
    Recent, VaultView,
    claims::RECENT_BLOCKS,
    ops::{self, SignedVoucher},
    plan,
};
use symbolon_store::View;

/// What a folder holds and has not collected.
#[derive(Clone, Debug)]
pub struct Holdings {
    vouchers: Vec<(Instrument, SignedVoucher)>,
    quorums: Vec<(Instrument, Box<QuorumPackage>, OrderDigest)>,
    /// When it is this provider's turn to settle an order.
    turns: BTreeMap<OrderDigest, Timestamp>,
}

/// A plan, and what the chain was like when it was made.
#[derive(Clone, Debug)]
pub struct Collection {
    /// What goes out now, what stays, and why.
    pub plan: Plan,
    /// What gas costs and how congested the chain is.
    pub market: Market,
}

/// What a folder of `payee` holds.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn holdings(view: &View<'_>, domain: &Domain, payee: Address) -> Result<Holdings, NodeError> {
    let orders = known_orders(view, domain)?;
    let turns = orders.iter().filter_map(|order| Some((order.order, order.settles_at?))).collect();
    let mut held = Holdings { vouchers: Vec::new(), quorums: Vec::new(), turns };
    for package in packages(view, domain)? {
        let found = match package.check(domain) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "a stored package that no vault takes");
                continue;
            }
        };
        let Some(own) = found.into_iter().find(|instrument| instrument.payee == payee) else { continue };
        match package {
            Package::Voucher(paid) => {
                held.vouchers.push((own, SignedVoucher { voucher: paid.voucher, signature: paid.signature }));
            }
            Package::Quorum(quorum) => {
                let order = quorum.order.digest(domain);
                held.quorums.push((own, quorum, order));
            }
        }
    }
    Ok(held)
}

impl Holdings {
    /// Plans what to collect by the chain as one endpoint shows it, with `waiting` own transactions under way.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn plan(
        &self,
        vault: &VaultView,
        base_per_ether: Amount,
        policy: &ClaimPolicy,
        waiting: usize,
    ) -> Result<Collection, ChainError> {
        let vault = vault.for_collecting();
        let head = vault.chain().head().await?;
        let mut recent = Recent::default();
        let blocks = u64::try_from(RECENT_BLOCKS).unwrap_or_default();
        for number in head.number.saturating_add(1).saturating_sub(blocks)..head.number {
            recent.note(vault.chain().block(number).await?);
        }
        recent.note(head);
        let mut states: BTreeMap<(Address, symbolon_primitives::Lane), ChannelState> = BTreeMap::new();
        let instruments = self.vouchers.iter().map(|(own, _)| own).chain(self.quorums.iter().map(|(own, ..)| own));
        for Instrument { payer, payee, lane, .. } in instruments {
            if let std::collections::btree_map::Entry::Vacant(slot) = states.entry((*payer, *lane)) {
                slot.insert(vault.channel(*payer, *payee, *lane, &head).await?);
            }
        }
        let state = |own: &Instrument| states.get(&(own.payer, own.lane)).copied().unwrap_or_default();
        let vouchers: Vec<HeldVoucher> = self
            .vouchers
            .iter()
            .map(|(own, signed)| HeldVoucher {
                payer: own.payer,
                signed: *signed,
                channel: state(own),
                job_over: false,
                heard_at: None,
            })
            .collect();
        let quorums: Vec<HeldQuorum> = self
            .quorums
            .iter()
            .map(|(own, quorum, order)| HeldQuorum {
                order: *order,
                payer: own.payer,
                payee: own.payee,
                lane: own.lane,
                epoch: own.epoch,
                total: own.total,
                rows: u8::try_from(quorum.quorum.len()).unwrap_or(u8::MAX),
                channel: state(own),
                settle_by: quorum.order.settle_by,
                turn_at: self.turns.get(order).copied().unwrap_or_default(),
            })
            .collect();
        let market = Market {
            gas: GasPrice { wei_per_gas: vault.chain().wei_per_gas(&head).await, base_per_ether },
            congestion: recent.congestion(waiting),
        };
        let time = now().max(Timestamp(head.timestamp));
        Ok(Collection { plan: plan(time, &vouchers, &quorums, &market, policy), market })
    }

    /// The transaction of a planned claim or settlement; each time another one, since twice is as good as once (SYM-09).
    #[must_use]
    pub fn intent(&self, vault: Address, claim: &Claim) -> Option<Intent> {
        let fresh: [u8; 32] = rand::random();
        match &claim.call {
            Call::Claim(vouchers) => Some(ops::claim(vault, vouchers, None, ops::tag(&[b"claim", &fresh]))),
            Call::Settle(order) => {
                let (_, quorum, _) = self.quorums.iter().find(|(.., known)| known == order)?;
                let parts = (&quorum.order, &quorum.signature, quorum.leaves.as_slice());
                let outcome = (quorum.results_root, quorum.fuel);
                let tag = ops::tag(&[b"settle", order.as_bytes(), &fresh]);
                ops::settle_quorum_of(vault, parts, outcome, &watch::rows(&quorum.quorum), tag).ok()
            }
        }
    }
}
