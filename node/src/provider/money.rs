//! The provider's money: what its channels promise, claims, settlements, stake.

use super::{Done, Provider, exposure, orders::OrderRecord};
use crate::{
    context::{Context, NodeError, now},
    event::Event,
    find::{Finder, FoundChannel},
    funds,
    known::Role,
    registry,
    serve::refusal,
    snapshot::{self, Snapshot},
    watch,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};
use symbolon_channel::{
    ChannelTerms, Effect, Effects, Order, Payee, PayeeInput, Reason, Rejected, Remedy, SignedVoucher, View,
};
use symbolon_contracts::vault::VaultEvents;
use symbolon_net::PeerId;
use symbolon_primitives::{
    Address, Agreement, Amount, Epoch, Lane, Leaf, OrderDigest, Refuse, Signature, SignedOrder, Signer, Timestamp,
    Voucher, watch::Package,
};
use symbolon_quorum::{Evidence, ReplicaInput, Settlement};
use symbolon_settlement::{
    ChainError, ChannelState, Depth, EventFilter, GasPrice, Header, HeldVoucher, Market, Recent, amounts_of_words, ops,
    plan,
};
use symbolon_store::{Direction, View as StoreView, VoucherKey, VoucherRow, Write};
use symbolon_wire::{MARKET_TOPIC, RefusalCode, Response};

/// Lanes without orders that are looked at in one go.
const MAX_UNSEEN: usize = 32;
/// How long a channel is looked at after somebody asked about it.
const WATCH_SECS: u64 = 120;

/// A channel and what it takes to look after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChannelRecord {
    pub(crate) payee: Payee,
    finality_threshold: Amount,
    depth: u16,
    #[serde(skip)]
    watch_until: Timestamp,
    /// When its requestor last did something in it, since the node started.
    #[serde(skip)]
    heard_at: Timestamp,
}

impl Snapshot for ChannelRecord {
    const KIND: &'static str = "payee-channel";

    fn catch_up(&mut self, view: &StoreView<'_>) -> Result<(), NodeError> {
        if let Some(kept) = view.best_voucher(&self.vouchers(self.payee.view().epoch))? {
            let VoucherRow { key: VoucherKey { payee, lane, epoch, .. }, cumulative, signature, .. } = kept;
            self.payee.catch_up(&SignedVoucher { voucher: Voucher { payee, lane, cumulative, epoch }, signature });
        }
        Ok(())
    }
}

impl ChannelRecord {
    pub(super) fn new(context: &Context, agreement: &Agreement, lane: Lane) -> Self {
        let payee = Payee::new(ChannelTerms {
            domain: context.domain,
            payer: agreement.payer,
            payee: agreement.payee,
            lane,
            margin_secs: agreement.margin_secs.into(),
        });
        Self {
            payee,
            finality_threshold: agreement.finality_threshold,
            depth: agreement.depth,
            watch_until: Timestamp::default(),
            heard_at: now(),
        }
    }

    /// A channel that asks for no depth.
    #[cfg(test)]
    pub(crate) fn of(payee: Payee) -> Self {
        let [watch_until, heard_at] = [Timestamp::default(); 2];
        Self { payee, finality_threshold: Amount::ZERO, depth: 0, watch_until, heard_at }
    }

    /// Whether the channel would take an order, as the chain shows it now; changes nothing.
    pub(super) fn would_take(mut self, context: &Context, seen: Look, signed: &SignedOrder) -> Result<(), Rejected> {
        let time = now();
        self.look(context, seen, time)?;
        let Some((_, leaf)) = signed.leaf_of(context.key.address()) else { return Ok(()) };
        let (order, max_fuel) = (signed.digest(&context.domain), signed.order.max_fuel);
        let order = Order { digest: order, leaf: *leaf, max_fuel, settle_by: signed.order.settle_by };
        self.payee.handle(&context.key, PayeeInput::Offered(order), time).map(|_| ())
    }

    /// Takes over what was seen for an order. A look that came after it counts
    /// as well, unless it was not as deep as this order needs (SYM-26).
    fn look(&mut self, context: &Context, seen: Look, time: Timestamp) -> Result<Effects, Rejected> {
        match self.payee.handle(&context.key, PayeeInput::Seen(seen.view), time) {
            Err(Rejected { reason: Reason::Stale { .. }, .. }) if !seen.finalized => Ok(Effects::new()),
            Err(Rejected { reason: reason @ Reason::Stale { .. }, .. }) => Err(reason.retry()),
            answer => answer,
        }
    }

    pub(super) fn id(&self) -> (Address, Lane) {
        (self.payee.terms().payer, self.payee.terms().lane)
    }

    fn vouchers(&self, epoch: Epoch) -> VoucherKey {
        let ChannelTerms { payer, payee, lane, .. } = *self.payee.terms();
        VoucherKey { direction: Direction::Received, payer, payee, lane, epoch }
    }

    fn key(&self) -> Vec<u8> {
        let (payer, lane) = self.id();
        [payer.as_slice(), lane.word().as_slice()].concat()
    }

    /// The write that stores it.
    pub(crate) fn put(&self) -> Result<Write, NodeError> {
        snapshot::put(&self.key(), self)
    }

    fn is_active(&self, time: Timestamp) -> bool {
        self.payee.open_order().is_some()
            || !self.payee.claimable().is_zero()
            || self.payee.due_until() >= Some(time)
            || self.payee.view().is_empty()
            || time < self.watch_until
    }

    fn held(&self, job_over: bool) -> Option<HeldVoucher> {
        let best = self.payee.best()?;
        let View { allocated, claimed, epoch, expiry, .. } = *self.payee.view();
        Some(HeldVoucher {
            payer: self.payee.terms().payer,
            signed: ops::SignedVoucher { voucher: best.voucher, signature: best.signature },
            channel: ChannelState { allocated, claimed, epoch, expiry },
            job_over,
            heard_at: (self.heard_at != Timestamp::default()).then_some(self.heard_at),
        })
    }
}

/// What of the chain this provider has seen.
pub(super) struct ChainState {
    /// The first block not read yet.
    next: u64,
    polling: bool,
    claiming: bool,
    /// Claim whatever is held, however little.
    urgent: bool,
    /// What gas cost at the last look.
    wei_per_gas: u128,
    blocks: Recent,
    /// No claim before this, after one that failed.
    claim_not_before: Timestamp,
    /// How long the next failure is waited out.
    backoff_secs: u64,
    /// Number of the look that the channels stand at, and of the one that shows the last claim.
    next_view: u64,
    claimed_at: u64,
    /// Epochs and totals that claims since the last look brought, or are about to.
    claimed: BTreeMap<(Address, Lane), (Epoch, Amount)>,
}

/// The longest pause after claims that failed.
const MAX_BACKOFF_SECS: u64 = 600;

impl ChainState {
    /// Looks for settlements from `head` on, or from the start when orders from before are open.
    pub(super) fn starting_at(head: Header, wei_per_gas: u128, orders: &BTreeMap<OrderDigest, OrderRecord>) -> Self {
        let open = orders.values().any(|record| !record.paid);
        let mut blocks = Recent::default();
        blocks.note(head);
        Self {
            next: if open { 0 } else { head.number },
            polling: false,
            claiming: false,
            urgent: false,
            wei_per_gas,
            blocks,
            claim_not_before: Timestamp(0),
            backoff_secs: 1,
            next_view: 0,
            claimed_at: 0,
            claimed: BTreeMap::new(),
        }
    }
}

/// What one look at the chain found.
pub(super) struct Poll {
    found: Result<Found, ChainError>,
}

struct Found {
    views: Vec<((Address, Lane), View)>,
    settled: Vec<OrderDigest>,
    next: u64,
    newest: Header,
    wei_per_gas: u128,
}

/// A transaction that has ended.
pub(super) enum Sent {
    Claim { vouchers: usize, value: Amount, error: Option<String> },
    Settlement { order: OrderDigest, error: Option<String> },
}

impl Provider {
    /// Brings the stake up and registers the peer, if anything changed, and enters the market; in the background.
    pub(super) fn stake_and_register(&self, peer_signature: Vec<u8>) {
        let (context, stake, reports) = (Arc::clone(&self.context), self.config.stake, self.reports.clone());
        tokio::spawn(async move {
            let staked = stake_and_register(&context, stake, &peer_signature).await;
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Staked(staked)).await;
        });
    }

    /// The channel's own checks of an order (SYM-21, SYM-25); stores channel and order together.
    pub(super) async fn channel_takes(
        &mut self,
        agreement: &Agreement,
        lane: Lane,
        seen: Look,
        leaf: &Leaf,
        order: OrderRecord,
    ) -> Result<Result<(), (RefusalCode, String)>, NodeError> {
        let time = now();
        let id = (agreement.payer, lane);
        let mut record =
            self.channels.get(&id).cloned().unwrap_or_else(|| ChannelRecord::new(&self.context, agreement, lane));
        let digest = order.digest();
        let offer = Order {
            digest,
            leaf: *leaf,
            max_fuel: order.order().order.max_fuel,
            settle_by: order.order().order.settle_by,
        };
        let key = &self.context.key;
        let looked = record.look(&self.context, seen, time);
        let taken = looked.as_ref().map_err(|rejected| *rejected).and_then(|_| {
            record.payee.handle(key, PayeeInput::Offered(offer), time)?;
            exposure::check(self.channels.values(), agreement, &record, self.config.unproven_limit)
        });
        if let Err(rejected) = taken {
            return Ok(Err((code_of(&rejected), rejected.to_string())));
        }
        let mut writes = vec![snapshot::put(&record.key(), &record)?, snapshot::put(digest.as_bytes(), &order)?];
        // What the look showed to be paid is stored with it.
        let paid = paid_in(&looked.unwrap_or_default());
        for earlier in &paid {
            if let Some(earlier) = self.orders.get_mut(earlier) {
                earlier.paid = true;
                writes.push(snapshot::put(earlier.digest().as_bytes(), earlier)?);
            }
        }
        self.context.store.write(writes).await?;
        self.channels.insert(id, record);
        self.orders.insert(digest, order);
        for earlier in paid {
            self.feed(earlier, ReplicaInput::Paid).await?;
        }
        Ok(Ok(()))
    }

    /// Hands an input to an order's channel; what must be durable is durable when this returns.
    async fn channel(
        &mut self,
        id: (Address, Lane),
        input: PayeeInput,
    ) -> Result<Result<Effects, Rejected>, NodeError> {
        let Some(record) = self.channels.get_mut(&id) else { return Ok(Ok(Effects::new())) };
        let before = record.payee.clone();
        let effects = match record.payee.handle(&self.context.key, input, now()) {
            Ok(effects) => effects,
            Err(rejected) => return Ok(Err(rejected)),
        };
        let kept = effects.iter().find_map(|effect| match effect {
            Effect::Keep(signed) => Some(signed),
            _ => None,
        });
        // Where a voucher tells the whole step, it alone is written.
        let told = kept.is_some_and(|kept| record.payee.is_kept_by(&before, kept));
        let kept = kept.map(|signed| received(record, signed, &input));
        let mut writes: Vec<Write> = kept.map(Write::PutVoucher).into_iter().collect();
        if !told && effects.contains(&Effect::Persist) {
            writes.push(snapshot::put(&record.key(), record)?);
        }
        // An order is paid by the voucher that tells so; what else pays it is stored with it.
        for effect in &effects {
            if let Effect::Paid { order } = effect
                && let Some(paid) = self.orders.get_mut(order).filter(|record| !record.paid)
            {
                paid.paid = true;
                if !kept.is_some_and(|kept| paid.is_paid_by(&kept)) {
                    writes.push(snapshot::put(order.as_bytes(), paid)?);
                }
            }
        }
        if !writes.is_empty() {
            self.context.store.write(writes).await?;
        }
        Ok(Ok(effects))
    }

    fn channel_of(&self, order: OrderDigest) -> Option<(Address, Lane)> {
        self.orders.get(&order).map(|record| (record.payer(), record.lane))
    }

    /// Before a Result leaves, its channel knows what it may be settled for.
    pub(super) async fn expect_payment(&mut self, order: OrderDigest, fuel: u64) -> Result<(), NodeError> {
        let Some(id) = self.channel_of(order) else { return Ok(()) };
        if let Err(rejected) = self.channel(id, PayeeInput::Attest { order, fuel }).await? {
            // Said again after it was paid: nothing more is expected.
            tracing::debug!(%order, %rejected, "no further payment expected");
        }
        Ok(())
    }

    pub(super) async fn channel_gave_up(&mut self, order: OrderDigest) -> Result<(), NodeError> {
        let Some(id) = self.channel_of(order) else { return Ok(()) };
        if let Err(rejected) = self.channel(id, PayeeInput::GiveUp { order }).await? {
            tracing::warn!(%order, %rejected, "a given-up order stays open in its channel");
        }
        Ok(())
    }

    pub(super) async fn channel_order_over(&mut self, order: OrderDigest) -> Result<(), NodeError> {
        let Some(id) = self.channel_of(order) else { return Ok(()) };
        if let Err(rejected) = self.channel(id, PayeeInput::Timer).await? {
            tracing::warn!(%order, %rejected, "a channel did not take the time");
        }
        Ok(())
    }

    /// A voucher: durable before it is answered (SYM-24).
    pub(super) async fn on_voucher(
        &mut self,
        order: OrderDigest,
        voucher: Voucher,
        signature: Signature,
    ) -> Result<Response, NodeError> {
        let Some(id) = self.channel_of(order) else {
            return Ok(refusal(RefusalCode::Unknown, "that order is not known here"));
        };
        let signed = SignedVoucher { voucher, signature };
        match self.channel(id, PayeeInput::Voucher { order, signed }).await? {
            Ok(effects) => {
                if let Some(record) = self.channels.get_mut(&id) {
                    record.heard_at = now();
                }
                for effect in effects {
                    if let Effect::Keep(kept) = effect {
                        self.hand_over(watch::voucher_package(&kept));
                    }
                    if let Effect::Paid { order } = effect {
                        self.feed(order, ReplicaInput::Paid).await?;
                        let cumulative = voucher.cumulative;
                        self.context.events.emit(Event::Vouchered { order, cumulative });
                    }
                }
                Ok(Response::Done)
            }
            Err(rejected) => Ok(refusal(code_of(&rejected), rejected.to_string())),
        }
    }

    /// Gives a package to every watchtower of this provider's, in the background.
    pub(super) fn hand_over(&self, package: Package) {
        for tower in &self.config.watchtowers {
            let (context, tower, package) = (Arc::clone(&self.context), tower.clone(), package.clone());
            tokio::spawn(async move {
                if let Err(error) = watch::hand_over_until_taken(&context, &tower, package).await {
                    let message = format!("watchtower {}: {error}", tower.id);
                    context.events.emit(Event::Warning { message });
                }
            });
        }
    }

    /// After a start watchtowers hear once more of everything that is not collected.
    pub(super) fn hand_over_everything(&self) {
        let vouchers = self.channels.values().filter(|record| !record.payee.claimable().is_zero());
        vouchers.filter_map(|record| record.payee.best()).for_each(|best| self.hand_over(watch::voucher_package(best)));
        self.orders.values().filter_map(OrderRecord::package).for_each(|package| self.hand_over(package));
    }

    /// Looks, in the background, for earmarks whose payers nothing here knows: vouchers for them may have been lost
    /// with another folder.
    pub(super) fn look_for_unknown_channels(&self) {
        let context = Arc::clone(&self.context);
        tokio::spawn(async move {
            let found = async {
                let at = context.vault.chain().anchor(Depth::Blocks(context.timing.depth.into())).await?;
                let (vault, me) = (&context.vault, context.key.address());
                let finder = context.store.read(|view| Finder::open(vault, me, context.deployed_at, Some(&view)));
                let mut finder = finder?;
                let found = finder.find(&at).await?;
                finder.save(&context.store).await?;
                Ok::<_, NodeError>(found)
            };
            match found.await {
                Ok(found) => {
                    let lost = |found: &&FoundChannel| found.role == Role::Payee && found.is_live() && !found.agreed;
                    let count = found.iter().filter(lost).count();
                    if count > 0 {
                        let message = format!(
                            "{count} channels earmark money for this key, and this data folder knows nothing of them: \
                             vouchers for them may lie in another folder or a backup (symbolon channel find)"
                        );
                        context.events.emit(Event::Warning { message });
                    }
                }
                Err(error) => tracing::warn!(%error, "no look for unknown channels"),
            }
        });
    }

    /// The owner wants a channel closed before its expiry (SYM-04).
    pub(super) async fn on_release(
        &mut self,
        peer: PeerId,
        payer: Address,
        lane: Lane,
        epoch: Epoch,
    ) -> Result<Response, NodeError> {
        let with = self
            .agreements
            .values()
            .find(|record| record.signed.terms.payer == payer && record.peer().is_some_and(|known| known.id == peer));
        let Some(agreement) = with.map(|record| record.signed.terms) else {
            return Ok(refusal(RefusalCode::Forbidden, "only the payer may ask"));
        };
        if agreement.royalty.lane(lane.number16()) != lane {
            return Ok(refusal(RefusalCode::Unknown, "no agreement covers that lane"));
        }
        let id = (payer, lane);
        if !self.channels.contains_key(&id) {
            // A lane that never had an order: looked at a few at a time.
            if self.unseen.len() >= MAX_UNSEEN {
                return Ok(refusal(RefusalCode::Later, "busy with other channels"));
            }
            self.unseen.entry(id).or_insert_with(|| ChannelRecord::new(&self.context, &agreement, lane));
            return Ok(refusal(RefusalCode::Later, "the channel has not been looked at yet"));
        }
        let Some(record) = self.channels.get_mut(&id) else {
            return Ok(refusal(RefusalCode::Later, "the channel has not been looked at yet"));
        };
        record.watch_until = now().plus_secs(WATCH_SECS);
        if record.payee.view().is_empty() {
            return Ok(refusal(RefusalCode::Later, "the channel has not been looked at yet"));
        }
        match self.channel(id, PayeeInput::ReleaseAsked { epoch }).await? {
            Ok(effects) => {
                let consent = effects.into_iter().find_map(|effect| match effect {
                    Effect::Consent { signature, .. } => Some(signature),
                    _ => None,
                });
                Ok(consent.map_or_else(|| refusal(RefusalCode::Never, "no consent"), Response::Signed))
            }
            Err(rejected) => {
                if matches!(rejected.reason, Reason::NotClaimed { .. }) {
                    // The job is over: whatever is held is claimed now.
                    self.chain.urgent = true;
                }
                Ok(refusal(RefusalCode::Later, rejected.to_string()))
            }
        }
    }

    /// Claims what is worth its gas, or everything when it is urgent.
    pub(super) fn claim_what_is_worth_it(&mut self, time: Timestamp) {
        if self.chain.claiming || time < self.chain.claim_not_before {
            return;
        }
        if self.chain.next_view >= self.chain.claimed_at {
            self.chain.claimed.clear();
        }
        let urgent = self.chain.urgent;
        let mut held: Vec<HeldVoucher> =
            self.channels.values().filter_map(|record| record.held(urgent)).filter(|held| self.is_news(held)).collect();
        // Channels expire by the chain's time, whatever this machine's clock says; silence is counted by this clock.
        let on_chain = time.max(self.chain.blocks.time());
        for heard in held.iter_mut().filter_map(|held| held.heard_at.as_mut()) {
            *heard = heard.plus_secs(on_chain.secs_since(time));
        }
        let market = Market {
            gas: GasPrice { wei_per_gas: self.chain.wei_per_gas, base_per_ether: self.config.base_per_ether },
            congestion: self.chain.blocks.congestion(self.context.waiting()),
        };
        // Orders are settled by quorum when their machine says so.
        let Some(claim) = plan(on_chain, &held, &[], &market, &self.config.claims).claims.into_iter().next() else {
            self.chain.urgent = false;
            return;
        };
        self.chain.claiming = true;
        self.chain.claimed.extend(claim.vouchers().iter().filter_map(|signed| {
            let held = held.iter().find(|held| held.signed == *signed)?;
            Some(((held.payer, signed.voucher.lane), (signed.voucher.epoch, total_of(held))))
        }));
        // Claims are idempotent on chain: each attempt is a transaction of its own.
        let tag = ops::tag(&[b"claim", &rand::random::<[u8; 32]>()]);
        let intent = ops::claim(self.context.vault.address(), claim.vouchers(), None, tag);
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        tokio::spawn(async move {
            let error = context.txs.run(intent).await.err().map(|error| error.to_string());
            let sent = Sent::Claim { vouchers: claim.vouchers().len(), value: claim.value, error };
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Sent(sent)).await;
        });
    }

    /// Whether claiming would bring what no claim since the last look has brought. Claiming waits for no look:
    /// the chain may not be told for hours, while endpoints disagree.
    fn is_news(&self, held: &HeldVoucher) -> bool {
        let claimed = self.chain.claimed.get(&(held.payer, held.signed.voucher.lane));
        claimed.is_none_or(|(epoch, total)| *epoch != held.channel.epoch || *total < total_of(held))
    }

    /// Settles an order by its quorum: the payer is silent.
    pub(super) fn settle(&self, order: OrderDigest, settlement: &Settlement) {
        let Some(record) = self.orders.get(&order) else { return };
        let rows = watch::rows(&watch::attested(settlement));
        let tag = ops::tag(&[b"settle", order.as_bytes(), &[settlement.members.bits()]]);
        let built = ops::settle_quorum(
            self.context.vault.address(),
            record.order(),
            settlement.results_root,
            settlement.fuel,
            &rows,
            tag,
        );
        let intent = match built {
            Ok(intent) => intent,
            Err(error) => return tracing::error!(%order, %error, "a quorum that cannot be settled"),
        };
        let (context, reports, from) = (Arc::clone(&self.context), self.reports.clone(), self.chain.next);
        tokio::spawn(async move {
            // Somebody else's turn may have come first.
            if is_settled(&context, order, from).await {
                return;
            }
            let error = context.txs.run(intent).await.err().map(|error| error.to_string());
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Sent(Sent::Settlement { order, error })).await;
        });
    }

    /// Shows the court a member that signed two different Results (SYM-12).
    pub(super) fn accuse(&self, evidence: &Evidence) {
        let (first, second) = (evidence.first, evidence.second);
        let tag = ops::tag(&[b"slash", first.statement.order.as_bytes(), evidence.provider.as_slice()]);
        let intent = ops::slash(
            self.context.vault.address(),
            (&first.statement, &first.signature),
            (&second.statement, &second.signature),
            tag,
        );
        let context = Arc::clone(&self.context);
        tokio::spawn(async move {
            if let Err(error) = context.txs.run(intent).await {
                tracing::warn!(%error, "the court did not take the evidence");
            }
        });
    }

    pub(super) async fn on_sent(&mut self, sent: Sent) -> Result<(), NodeError> {
        match sent {
            Sent::Claim { vouchers, value, error } => {
                self.chain.claiming = false;
                match error {
                    None => {
                        // The next claim waits for a look that began after this one was mined.
                        self.chain.claimed_at = self.chain.next_view + 1 + u64::from(self.chain.polling);
                        self.chain.backoff_secs = 1;
                        self.context.events.emit(Event::Claimed { vouchers, credited: value });
                    }
                    Some(error) => {
                        self.chain.claimed.clear();
                        self.chain.claim_not_before = now().plus_secs(self.chain.backoff_secs);
                        self.chain.backoff_secs = (self.chain.backoff_secs * 2).min(MAX_BACKOFF_SECS);
                        tracing::warn!(error, "a claim did not go through");
                        self.context.events.emit(Event::Warning { message: format!("claim: {error}") });
                    }
                }
                self.poll_chain();
            }
            Sent::Settlement { order, error } => match error {
                None => {
                    self.context.events.emit(Event::QuorumSettled { order, by_us: true });
                    self.poll_chain();
                }
                Some(error) => tracing::warn!(%order, error, "a settlement did not go through"),
            },
        }
        Ok(())
    }

    /// Carries out what a look at the chain brought up; it is durable already.
    async fn on_seen(&mut self, effects: &[Effect]) -> Result<(), NodeError> {
        for order in paid_in(effects) {
            self.feed(order, ReplicaInput::Paid).await?;
        }
        for effect in effects {
            let message = match effect {
                Effect::Halted(conflict) => format!("a channel is stopped: {conflict}"),
                Effect::Forfeited { epoch, amount } => {
                    format!("epoch {epoch} of a channel ended with {amount} base units unclaimed")
                }
                _ => continue,
            };
            tracing::error!("{message}");
            self.context.events.emit(Event::Warning { message });
        }
        Ok(())
    }

    /// Looks at the chain in the background, one look at a time.
    pub(super) fn poll_chain(&mut self) {
        let time = now();
        let active = self.channels.values().filter(|record| record.is_active(time));
        let channels: Vec<ChannelRecord> = active.chain(self.unseen.values()).cloned().collect();
        let waits = self.orders.values().any(|record| !record.paid);
        if self.chain.polling || (channels.is_empty() && !waits) {
            return;
        }
        self.chain.polling = true;
        let (context, reports, from) = (Arc::clone(&self.context), self.reports.clone(), self.chain.next);
        tokio::spawn(async move {
            let found = look(&context, &channels, from).await;
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Polled(Box::new(Poll { found }))).await;
        });
    }

    pub(super) async fn on_polled(&mut self, poll: Poll) -> Result<(), NodeError> {
        self.chain.polling = false;
        let found = match poll.found {
            Ok(found) => found,
            Err(error) => {
                self.unseen.clear();
                tracing::warn!(%error, "the chain could not be read");
                return Ok(());
            }
        };
        self.chain.next_view += 1;
        self.chain.wei_per_gas = found.wei_per_gas;
        self.chain.blocks.note(found.newest);
        self.chain.next = found.next.max(self.chain.next);
        for order in found.settled {
            if self.orders.contains_key(&order) {
                self.context.events.emit(Event::QuorumSettled { order, by_us: false });
            }
        }
        // Where the disk takes no more, what was seen of the others counts for claiming all the same.
        let mut all = Ok(());
        for (id, view) in found.views {
            all = all.and(self.saw(id, view).await);
        }
        all
    }

    async fn saw(&mut self, id: (Address, Lane), view: View) -> Result<(), NodeError> {
        if let Some(mut record) = self.unseen.remove(&id)
            && !view.allocated.is_zero()
        {
            // It is real: somebody paid for the slot.
            record.watch_until = now().plus_secs(WATCH_SECS);
            self.channels.entry(id).or_insert(record);
        }
        match self.channel(id, PayeeInput::Seen(view)).await? {
            Ok(effects) => self.on_seen(&effects).await?,
            Err(rejected) => tracing::debug!(%rejected, "a look at the chain came late"),
        }
        Ok(())
    }
}

/// A channel as it was seen for an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    view: View,
    /// Whether it was read at the finalized block, as the order's value asks for.
    finalized: bool,
}

impl Look {
    pub(super) fn new(state: ChannelState, block: u64, depth: Depth) -> Self {
        Self { view: view_of(state, block), finalized: depth == Depth::Finalized }
    }
}

fn view_of(state: ChannelState, block: u64) -> View {
    let ChannelState { allocated, claimed, epoch, expiry } = state;
    View { allocated, claimed, epoch, expiry, block }
}

fn paid_in(effects: &[Effect]) -> Vec<OrderDigest> {
    let paid = effects.iter().filter_map(|effect| match effect {
        Effect::Paid { order } => Some(*order),
        _ => None,
    });
    paid.collect()
}

fn received(record: &ChannelRecord, signed: &SignedVoucher, input: &PayeeInput) -> VoucherRow {
    VoucherRow {
        key: record.vouchers(signed.voucher.epoch),
        cumulative: signed.voucher.cumulative,
        signature: signed.signature,
        order: match input {
            PayeeInput::Voucher { order, .. } => Some(*order),
            _ => None,
        },
        created_at: now(),
    }
}

/// Whether asking again later can help.
fn code_of(rejected: &Rejected) -> RefusalCode {
    if rejected.remedy == Remedy::Retry { RefusalCode::Later } else { RefusalCode::Never }
}

/// The order that an event settles, if `me` is among those it credits.
fn settled_for(event: &VaultEvents, me: Address) -> Option<OrderDigest> {
    let VaultEvents::ResultsSettled(settled) = event else { return None };
    let mut payees = amounts_of_words(&settled.credits).map(|(payee, _)| payee);
    payees.any(|payee| payee == me).then(|| OrderDigest::from_bytes(settled.order.0))
}

/// What a channel will have paid once its voucher is claimed.
fn total_of(held: &HeldVoucher) -> Amount {
    held.signed.voucher.cumulative.min(held.channel.allocated)
}

async fn stake_and_register(context: &Context, stake: Amount, peer_signature: &[u8]) -> Result<(), NodeError> {
    context.settle_earlier().await;
    funds::ensure_stake(&context.vault, &context.txs, context.key.address(), stake).await?;
    let peer_id = context.client.peer_id().to_bytes();
    let addresses = registry::write_addresses(&context.client.listen_addrs());
    let said = [peer_id.as_slice(), &addresses].concat();
    let before = context.store.read(|view| view.record("registration", &[]))?;
    if before.as_deref() != Some(said.as_slice()) {
        let tag = ops::tag(&[b"register", &rand::random::<[u8; 32]>()]);
        context.txs.run(ops::register(context.vault.address(), &peer_id, peer_signature, &addresses, tag)).await?;
        context.store.write(vec![Write::put("registration", Vec::new(), said)]).await?;
    }
    Ok(context.client.subscribe(MARKET_TOPIC).await?)
}

async fn is_settled(context: &Context, order: OrderDigest, from: u64) -> bool {
    let Ok(head) = context.vault.chain().head().await else { return false };
    let me = context.key.address();
    let page = context.vault.events(&EventFilter::settlement_of(order), from, head.number).await;
    // A settlement by others that leaves this replica out pays it nothing.
    let pays_me = |event: &VaultEvents| settled_for(event, me).is_some();
    page.is_ok_and(|page| page.events.iter().any(|found| pays_me(&found.event)))
}

async fn look(context: &Context, channels: &[ChannelRecord], from: u64) -> Result<Found, ChainError> {
    let chain = context.vault.chain();
    let me = context.key.address();
    let mut views = Vec::with_capacity(channels.len());
    let mut anchors: BTreeMap<Option<u16>, symbolon_settlement::Header> = BTreeMap::new();
    for record in channels {
        let value = record.payee.view().allocated;
        let depth = Depth::for_value(value, record.finality_threshold, record.depth);
        let name = match depth {
            Depth::Blocks(_) => Some(record.depth),
            Depth::Finalized => None,
        };
        let anchor = match anchors.entry(name) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(chain.anchor(depth).await?),
        };
        let (payer, lane) = record.id();
        let state = context.vault.channel(payer, me, lane, &anchor).await?;
        views.push(((payer, lane), view_of(state, anchor.number)));
    }
    let deep = chain.anchor(Depth::Blocks(context.timing.depth.into())).await?;
    let wei_per_gas = chain.wei_per_gas(&deep).await;
    let mut found = Found { views, settled: Vec::new(), next: from, newest: deep, wei_per_gas };
    if from <= deep.number {
        let page = context.vault.events(&EventFilter::settlements(), from, deep.number).await?;
        found.settled.extend(page.events.iter().filter_map(|found| settled_for(&found.event, me)));
        found.next = page.next;
    }
    Ok(found)
}
