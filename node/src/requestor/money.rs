//! The requestor's money: earmarks, vouchers, releases.

use super::{Done, JobError, Partner, Requestor};
use crate::{
    context::{Context, NodeError, now},
    event::Event,
    find,
    known::{Role, known_channels},
    peer::CallError,
    snapshot::{self, Snapshot},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};
use symbolon_channel::{
    ChannelTerms, Effect, Effects, Order, Payer, PayerInput, Reason, Rejected, SignedVoucher, View,
};
use symbolon_primitives::{
    Address, Amount, Domain, Epoch, Lane, Leaf, OrderDigest, Release, Royalty, Signature, SignedOrder, Signer,
    Timestamp, Voucher, price,
};
use symbolon_settlement::{
    Depth, Header,
    ops::{self, LaneEarmarks},
};
use symbolon_store::{Durable, PayerEpoch, StoreError, View as StoreView, VoucherKey, VoucherRow, Write};
use symbolon_wire::{RefusalCode, Request, Response};
use tokio::time::{Instant, sleep};

/// Time for payees to claim and to sign releases at a job's end.
const RELEASES: Duration = Duration::from_secs(45);
/// Between two questions for a release.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Runs of lanes that a restored store looks through for one that is free.
const LANE_RUNS: u16 = 64;
/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A channel of this requestor's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PayerRecord {
    pub(crate) payer: Payer,
}

impl Snapshot for PayerRecord {
    const KIND: &'static str = "payer-channel";

    fn catch_up(&mut self, view: &StoreView<'_>) -> Result<(), NodeError> {
        if let Some(kept) = view.best_voucher(&self.epoch(self.payer.view().epoch).issued())? {
            let VoucherRow { key: VoucherKey { payee, lane, epoch, .. }, cumulative, signature, order, .. } = kept;
            let voucher = Voucher { payee, lane, cumulative, epoch };
            self.payer.catch_up(&SignedVoucher { voucher, signature }, order);
        }
        Ok(())
    }
}

impl PayerRecord {
    fn key(&self) -> Vec<u8> {
        let terms = self.payer.terms();
        [terms.payee.as_slice(), terms.lane.word().as_slice()].concat()
    }

    fn epoch(&self, epoch: Epoch) -> PayerEpoch {
        let terms = self.payer.terms();
        PayerEpoch { payer: terms.payer, payee: terms.payee, lane: terms.lane, epoch }
    }

    /// The write that stores it.
    pub(crate) fn put(&self) -> Result<Write, NodeError> {
        snapshot::put(&self.key(), self)
    }

    pub(super) fn id(&self) -> (Address, u16) {
        (self.payer.terms().payee, self.payer.terms().lane.number16())
    }
}

/// Channels that are open, as the chain shows them at depth.
pub(super) struct Opened {
    pub(super) views: Vec<((Address, u16), View)>,
}

impl Requestor {
    /// The lowest free lane of a partner whose earmark covers `max_fuel`.
    pub(super) fn free_lane(&self, partner: &Partner, max_fuel: u64) -> Option<u16> {
        let terms = &partner.agreement.terms;
        let most = price(terms.flat, terms.rate, max_fuel).ok()?;
        self.lanes_of(partner.provider).into_iter().find(|number| {
            self.channels.get(&(partner.provider, *number)).is_some_and(|record| {
                record.payer.open_order().is_none() && record.payer.room() >= most && lasts(record, partner)
            })
        })
    }

    /// The lanes this job uses with a partner: the lowest that are not held by an order which came to nothing, which the
    /// partner did not answer, or which is another job's. Those are left to run out.
    fn lanes_of(&self, provider: Address) -> Vec<u16> {
        let most = self.spec.rules.lanes;
        let held = |number: &u16| {
            let Some(record) = self.channels.get(&(provider, *number)) else { return false };
            let is_over = |running: &super::RunningOrder| running.is_lost() || running.missing.contains(&provider);
            let open = record.payer.open_order();
            record.payer.halted().is_some() || open.is_some_and(|order| self.orders.get(&order).is_none_or(is_over))
        };
        self.clear.clone().filter(|number| !held(number)).take(most.into()).collect()
    }

    /// Whether this order holds a lane of the provider's.
    pub(super) fn holds_lane(&self, order: OrderDigest, provider: Address) -> bool {
        let open = |record: &PayerRecord| record.payer.open_order() == Some(order);
        self.channels.values().any(|record| record.payer.terms().payee == provider && open(record))
    }

    /// What the budget has left: neither paid by this job nor set aside.
    pub(super) fn left(&self) -> Result<Amount, JobError> {
        let mut left = self.spec.budget;
        for running in self.orders.values() {
            let Some((_, fuel)) = running.verdict.canonical() else { continue };
            for leaf in running.order().leaves.iter().filter(|leaf| running.agreed.contains(&leaf.provider)) {
                left = left.saturating_sub(leaf.price(fuel)?);
            }
        }
        for record in self.channels.values() {
            left = left.saturating_sub(record.payer.view().allocated.saturating_sub(record.payer.owed()));
        }
        Ok(left)
    }

    /// Whether the chain shows this member's part of an order as paid, or its channel's epoch as over.
    pub(super) fn is_paid_on_chain(&self, leaf: &Leaf, fuel: u64) -> Result<bool, JobError> {
        let Some(record) = self.channels.get(&(leaf.provider, leaf.lane_number)) else { return Ok(false) };
        let view = record.payer.view();
        Ok(view.epoch > leaf.epoch || view.epoch == leaf.epoch && view.claimed >= leaf.total(fuel)?)
    }

    /// The leaf of a partner for an order on this lane.
    pub(super) fn leaf(&self, partner: &Partner, lane_number: u16, _now: Timestamp) -> Result<Leaf, JobError> {
        let record = self.channels.get(&(partner.provider, lane_number));
        let record = record.ok_or(JobError::Node(NodeError::Snapshot { kind: PayerRecord::KIND }))?;
        Ok(Leaf {
            provider: partner.provider,
            owed: record.payer.owed(),
            flat: partner.agreement.terms.flat,
            rate: partner.agreement.terms.rate,
            epoch: record.payer.view().epoch,
            lane_number,
        })
    }

    /// Marks the lanes of an order's leaves as taken; answers what must be stored before it leaves.
    pub(super) fn reserve_lanes(
        &mut self,
        order: OrderDigest,
        signed: &SignedOrder,
        settle_by: Timestamp,
    ) -> Result<Vec<Write>, JobError> {
        let mut writes = Vec::with_capacity(signed.leaves.len());
        for leaf in &signed.leaves {
            let Some(record) = self.channels.get_mut(&(leaf.provider, leaf.lane_number)) else { continue };
            let issue = Order { digest: order, leaf: *leaf, max_fuel: signed.order.max_fuel, settle_by };
            record.payer.handle(&self.context.key, PayerInput::Issue(issue), now()).map_err(NodeError::from)?;
            writes.push(Write::Promise(record.epoch(leaf.epoch)));
            writes.push(snapshot::put(&record.key(), record)?);
        }
        Ok(writes)
    }

    /// Hands an input to a channel; what must be durable is durable when this returns.
    pub(super) async fn channel(
        &mut self,
        id: (Address, u16),
        input: PayerInput,
    ) -> Result<Durable<Effects>, JobError> {
        let nothing = Durable::promises_nothing(Effects::new());
        let Some(record) = self.channels.get_mut(&id) else { return Ok(nothing) };
        let before = record.payer.clone();
        let effects = match record.payer.handle(&self.context.key, input, now()) {
            // A look that came after another one, or an order that was paid in an earlier run.
            Err(Rejected { reason: Reason::Stale { .. } | Reason::NotOpen(_), .. }) => return Ok(nothing),
            answer => answer.map_err(NodeError::from)?,
        };
        let order = order_of(&input);
        // Where a voucher tells the whole step, it alone is written.
        let told =
            |effect: &Effect| matches!(effect, Effect::Keep(kept) if record.payer.is_kept_by(&before, kept, order));
        let told = effects.iter().any(told);
        let mut writes = Vec::new();
        for effect in &effects {
            match effect {
                Effect::Persist if told => {}
                Effect::Persist => writes.push(snapshot::put(&record.key(), record)?),
                Effect::Keep(signed) => writes.push(Write::PutVoucher(issued(record, signed, order))),
                _ => {}
            }
        }
        let effects = self.context.store.keep(writes, effects).await?;
        for effect in effects.get() {
            if let Effect::Halted(conflict) = effect {
                let message = format!("a channel is stopped: {conflict}");
                tracing::error!("{message}");
                self.context.events.emit(Event::Warning { message });
            }
        }
        Ok(effects)
    }

    /// Whether nothing may be signed, because the endpoints do not tell the chain alike (N6).
    pub(super) fn is_halted(&mut self) -> bool {
        let trouble = self.context.vault.chain().trouble();
        let before = std::mem::replace(&mut self.halted, trouble.is_some());
        match trouble {
            Some(why) if !before => self.warn(format!("nothing is signed until the chain can be told again: {why}")),
            None if before => tracing::info!("the chain can be told again"),
            _ => {}
        }
        self.halted
    }

    /// Gives the vouchers that had to wait.
    pub(super) async fn pay_waiting(&mut self) -> Result<(), JobError> {
        if self.unpaid.is_empty() || self.is_halted() {
            return Ok(());
        }
        for (order, leaf, fuel) in std::mem::take(&mut self.unpaid) {
            self.pay(order, &leaf, fuel).await?;
        }
        Ok(())
    }

    /// Signs, stores and sends the voucher of a replica that agreed (SYM-24).
    pub(super) async fn pay(&mut self, order: OrderDigest, leaf: &Leaf, fuel: u64) -> Result<(), JobError> {
        if self.is_halted() {
            self.unpaid.push((order, *leaf, fuel));
            return Ok(());
        }
        let agreed = self.channel((leaf.provider, leaf.lane_number), PayerInput::Agreed { order, fuel }).await;
        let (effects, why) = match agreed {
            // A person has to look at this channel. Others are paid all the same.
            Err(JobError::Node(NodeError::Channel(Rejected { reason: Reason::Halted(_), .. }))) => (
                Durable::promises_nothing(Effects::new()),
                format!("its channel is stopped (symbolon channel resume {})", leaf.provider),
            ),
            effects => (effects?, "it is not open in its channel any more".to_owned()),
        };
        let is_silent = effects.get().is_empty();
        if is_silent && self.is_promised(leaf, fuel)? {
            if let Some(running) = self.orders.get_mut(&order) {
                running.paid.insert(leaf.provider);
            }
            self.add_source(order, leaf.provider);
        } else if is_silent {
            self.warn(format!("no voucher is signed for order {order} of {}: {why}", leaf.provider));
            // The chain may have paid for it meanwhile.
            self.look_at(order);
        }
        for effect in effects {
            let Effect::SendVoucher { order, .. } = *effect.get() else { continue };
            let Some(partner) = self.partners.get(&leaf.provider) else { continue };
            if let Some(running) = self.orders.get_mut(&order) {
                running.paid.insert(leaf.provider);
            }
            let Some(request) = voucher_request(effect) else { continue };
            let (outbox, reports) = (self.context.outbox.clone(), self.reports.clone());
            let (peer, provider) = (partner.peer.clone(), partner.provider);
            tokio::spawn(async move {
                let delivered = outbox
                    .deliver(&peer, &request, super::orders::VOUCHER)
                    .await
                    .map(|_| ())
                    .map_err(|why| why.to_string());
                // The loop is gone only when the job is over.
                let _ = reports.send(Done::Delivered { order, provider, delivered }).await;
            });
        }
        Ok(())
    }

    /// Whether a voucher of this or a later order covers a member's part of an order already.
    fn is_promised(&self, leaf: &Leaf, fuel: u64) -> Result<bool, JobError> {
        let Some(record) = self.channels.get(&(leaf.provider, leaf.lane_number)) else { return Ok(false) };
        let promised = record.payer.view().epoch == leaf.epoch && record.payer.promised() >= leaf.total(fuel)?;
        Ok(promised || self.is_paid_on_chain(leaf, fuel)?)
    }

    pub(super) async fn lane_given_up(&mut self, order: OrderDigest, provider: Address) -> Result<(), JobError> {
        let open = self
            .channels
            .values()
            .find(|record| record.payer.terms().payee == provider && record.payer.open_order() == Some(order));
        if let Some(id) = open.map(PayerRecord::id) {
            self.channel(id, PayerInput::GaveUp { order }).await?;
        }
        Ok(())
    }

    /// Frees lanes whose order can be settled no more.
    pub(super) async fn lanes_tick(&mut self) -> Result<(), JobError> {
        let runs_out = |record: &&PayerRecord| {
            let Some(order) = record.payer.open_order() else { return false };
            let payee = record.payer.terms().payee;
            let is_owed = |running: &super::RunningOrder| running.may_owe(payee, self.spec.withhold_vouchers);
            !self.orders.get(&order).is_some_and(is_owed)
        };
        let held: Vec<(Address, u16)> = self.channels.values().filter(runs_out).map(PayerRecord::id).collect();
        for id in held {
            self.channel(id, PayerInput::Timer).await?;
        }
        Ok(())
    }

    /// Whether an idle reserve of a decided order has yet to give it up.
    pub(super) fn waits_for_lanes(&self) -> bool {
        self.channels.values().any(|record| {
            let order = record.payer.open_order().and_then(|order| self.orders.get(&order));
            order.is_some_and(|running| running.is_idle_reserve(record.payer.terms().payee))
        })
    }

    /// The lanes on which this store may promise. One that was restored from a backup, or that finds
    /// channels of its key on chain which it does not know, may have promised more than it knows wherever part of an
    /// earmark is unclaimed: such lanes wait for the claim or the release.
    async fn clear_lanes(&self, anchor: &Header) -> Result<Range<u16>, JobError> {
        let (store, vault, me) = (&self.context.store, &self.context.vault, self.context.key.address());
        let restored = store.read(|view| view.restored()).map_err(NodeError::from)?.is_some();
        let head = vault.chain().head().await.map_err(NodeError::from)?;
        let opened = find::opened_by(vault, me, self.context.deployed_at, store, &head).await?;
        let known = store.read(|view| known_lanes(&view, &self.context.domain, me))?;
        let strange: BTreeSet<(Address, Lane)> = opened.into_iter().filter(|place| !known.contains(place)).collect();
        if !restored && strange.is_empty() {
            return Ok(0..u16::MAX);
        }
        let lanes = self.spec.rules.lanes.max(1);
        let mut frozen = None;
        for first in (0..lanes.saturating_mul(LANE_RUNS)).step_by(lanes.into()) {
            let (mut writes, mut free) = (Vec::new(), true);
            for number in first..first.saturating_add(lanes) {
                for provider in self.partners.keys() {
                    let lane = self.spec.terms.royalty.lane(number);
                    if !restored && !strange.contains(&(*provider, lane)) {
                        continue;
                    }
                    let (deep, last) = (
                        look(&self.context, *provider, lane, anchor).await?,
                        look(&self.context, *provider, lane, &head).await?,
                    );
                    let epoch = PayerEpoch { payer: me, payee: *provider, lane, epoch: deep.epoch };
                    if restored && store.read(|view| view.may_promise(&epoch)).map_err(NodeError::from)? {
                        continue;
                    }
                    let settled = deep.allocated;
                    if deep.epoch == last.epoch && [deep.claimed, last.allocated, last.claimed] == [settled; 3] {
                        writes.push(Write::ClearEpoch { epoch, settled, at: now() });
                    } else {
                        (frozen, free) = (Some(epoch), false);
                    }
                }
            }
            if free {
                store.write(writes).await.map_err(NodeError::from)?;
                if frozen.is_some() {
                    self.warn(format!(
                        "lanes below {first} hold earmarks of which this data folder does not know everything: they \
                         wait until they are claimed or released (symbolon channel find)"
                    ));
                }
                return Ok(first..first.saturating_add(lanes));
            }
        }
        Err(frozen.map_or(JobError::NoOffers, |epoch| NodeError::Store(StoreError::Frozen { epoch }).into()))
    }

    /// Takes up the channels that the store knows, as the chain shows them now.
    pub(super) async fn load_channels(&mut self) -> Result<Header, JobError> {
        let stored: Vec<PayerRecord> = snapshot::all(&self.context.store)?;
        let context = Arc::clone(&self.context);
        let anchor = context.vault.chain().anchor(Depth::Blocks(context.timing.depth.into())).await?;
        for record in stored {
            let (terms, id) = (*record.payer.terms(), record.id());
            let is_other = self.spec.terms.royalty.lane(terms.lane.number16()) != terms.lane;
            if terms.domain != context.domain || is_other || self.channels.contains_key(&id) {
                continue;
            }
            self.channels.insert(id, record);
            let view = look(&context, terms.payee, terms.lane, &anchor).await?;
            self.channel(id, PayerInput::Seen(view)).await?;
        }
        Ok(anchor)
    }

    /// Opens every partner's lanes in one transaction, as far as what is earmarked already does not do.
    pub(super) async fn open_first(&mut self) -> Result<(), JobError> {
        let anchor = self.load_channels().await?;
        // Whatever order has run out since.
        self.lanes_tick().await?;
        self.clear = self.clear_lanes(&anchor).await?;
        let batch = self.pending.iter().map(|(batch, _)| self.max_fuel(batch)).max().unwrap_or_default();
        let members = self.spec.rules.members();
        let mut offers = Vec::with_capacity(self.partners.len());
        for partner in self.partners.values().filter(|partner| partner.offered) {
            let terms = &partner.agreement.terms;
            offers.push((partner.clone(), price(terms.flat, terms.rate, batch)?, self.lanes_of(partner.provider)));
        }
        offers.sort_by_key(|(_, price, _)| *price);
        let left = self.left()?;
        let first = |offer: &(Partner, Amount, Vec<u16>)| self.lacking(offer, 0, 1);
        let need = Amount::checked_sum(offers.iter().take(members).map(first))?;
        if need > left {
            return Err(JobError::BudgetTooSmall { have: left, need });
        }
        // Each lane's even share of all orders, as long as the budget carries it.
        let seats = self.pending.len().saturating_mul(members);
        let lanes = offers.len().saturating_mul(self.spec.rules.lanes.into()).max(1);
        let mut share = u64::try_from(seats.div_ceil(lanes)).unwrap_or(u64::MAX).max(1);
        let mut lanes_each = usize::from(self.spec.rules.lanes);
        loop {
            let lacking = offers.iter().flat_map(|offer| (0..lanes_each).map(move |lane| (offer, lane)));
            let all = Amount::checked_sum(lacking.map(|(offer, lane)| self.lacking(offer, lane, share)));
            if all.is_ok_and(|all| all <= left) {
                break;
            }
            if share > 1 {
                share -= 1;
            } else if lanes_each > 1 {
                lanes_each -= 1;
            } else {
                // Not even one order for everybody: the cheapest ones get it.
                offers.truncate(offers.len().saturating_sub(1).max(members));
                if offers.len() == members {
                    break;
                }
            }
        }
        let mut amounts = Vec::new();
        for lane in 0..lanes_each {
            for offer in &offers {
                let lacking = self.lacking(offer, lane, share);
                let Some(number) = offer.2.get(lane).filter(|_| !lacking.is_zero()) else { continue };
                amounts.push(((offer.0.provider, *number), lacking));
            }
        }
        if amounts.is_empty() { Ok(()) } else { self.open(amounts) }
    }

    /// What a partner's lane lacks for so many orders. One that holds an order of this job has its share.
    fn lacking(&self, (partner, price, lanes): &(Partner, Amount, Vec<u16>), lane: usize, orders: u64) -> Amount {
        let Some(number) = lanes.get(lane) else { return Amount::ZERO };
        let all = price.checked_mul(orders).unwrap_or(Amount::MAX);
        match self.channels.get(&(partner.provider, *number)) {
            Some(record) if record.payer.open_order().is_some() => Amount::ZERO,
            Some(record) => lacks(&record.payer, all, lasts(record, partner)),
            None => all,
        }
    }

    /// Tops up free lanes that do not cover a batch; whether there is anything to wait for.
    pub(super) fn top_up(&mut self, batch: &[usize]) -> Result<bool, JobError> {
        if self.opening {
            return Ok(true);
        }
        let max_fuel = self.max_fuel(batch);
        let mut left = self.left()?;
        let mut amounts = Vec::new();
        for partner in self.partners.values().filter(|partner| partner.offered) {
            let ready = self.prepared.get(&partner.provider) == Some(&true);
            if self.struck.contains(&partner.provider) || !ready || self.free_lane(partner, max_fuel).is_some() {
                continue;
            }
            let terms = &partner.agreement.terms;
            let most = price(terms.flat, terms.rate, max_fuel)?;
            let lane = self.lanes_of(partner.provider).into_iter().find_map(|number| {
                let Some(record) = self.channels.get(&(partner.provider, number)) else { return Some((number, most)) };
                let lacks = lacks(&record.payer, most, lasts(record, partner));
                record.payer.open().is_none().then_some((number, lacks))
            });
            let Some((number, missing)) = lane else { continue };
            if missing.is_zero() || missing > left {
                continue;
            }
            left = left.checked_sub(missing)?;
            amounts.push(((partner.provider, number), missing));
        }
        if amounts.is_empty() {
            return Ok(false);
        }
        self.open(amounts)?;
        Ok(true)
    }

    /// Earmarks amounts in one transaction, as many as it takes, and waits for its depth in the background. What it does
    /// not take is topped up once there is work for it.
    fn open(&mut self, mut amounts: Vec<((Address, u16), Amount)>) -> Result<(), JobError> {
        amounts.truncate(ops::OPEN_ROWS);
        let royalty = self.spec.terms.royalty;
        let mut lanes: BTreeMap<u16, Vec<(Address, Amount)>> = BTreeMap::new();
        let mut sum = Amount::ZERO;
        for ((provider, number), amount) in &amounts {
            sum = sum.checked_add(*amount)?;
            lanes.entry(*number).or_default().push((*provider, *amount));
        }
        let lanes: Vec<LaneEarmarks> =
            lanes.into_iter().map(|(number, amounts)| LaneEarmarks { lane: royalty.lane(number), amounts }).collect();
        let expiry = now().plus_secs(self.context.timing.expiry_secs.into());
        let key = self.context.key.address();
        let tag = ops::tag(&[b"open", &rand::random::<[u8; 32]>()]);
        let intent = ops::open(self.context.vault.address(), key, expiry, &lanes, tag);
        self.earmarked = self.earmarked.checked_add(sum)?;
        self.job.add_open(intent.id(self.context.vault.chain().chain_id(), key), sum);
        self.opening = true;
        let channels: Vec<(Address, u16)> = amounts.into_iter().map(|(id, _)| id).collect();
        for (provider, number) in &channels {
            // Known before it is open: whatever happens, it can be found and released.
            self.channels.entry((*provider, *number)).or_insert_with(|| PayerRecord {
                payer: Payer::new(channel_terms(&self.context, *provider, royalty, *number)),
            });
        }
        let mut writes = vec![self.job.put()?];
        for id in &channels {
            if let Some(record) = self.channels.get(id) {
                writes.push(snapshot::put(&record.key(), record)?);
            }
        }
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        tokio::spawn(async move {
            let opened = open_and_look(&context, writes, intent, &channels, royalty).await;
            // The loop is gone only when the job is over.
            let _ = reports.send(Done::Earmarked(opened)).await;
        });
        Ok(())
    }

    pub(super) async fn on_opened(&mut self, opened: Opened) -> Result<(), JobError> {
        let channels = opened.views.len();
        for (id, view) in opened.views {
            self.channel(id, PayerInput::Seen(view)).await?;
        }
        self.context.events.emit(Event::Earmarked { amount: self.earmarked, channels });
        Ok(())
    }
}

/// What has to be earmarked before orders of this price can leave. What does not last is earmarked still, and whatever
/// comes on top moves the expiry.
fn lacks(payer: &Payer, all: Amount, lasts: bool) -> Amount {
    let missing = payer.missing(all);
    if lasts { missing } else { missing.max(Amount::from_u64(1)) }
}

/// The lanes on which this folder pays, under whatever royalty.
fn known_lanes(view: &StoreView<'_>, domain: &Domain, me: Address) -> Result<BTreeSet<(Address, Lane)>, NodeError> {
    let known = known_channels(view, domain)?.into_iter();
    let paying = known.filter(|known| known.role == Role::Payer && known.payer == me);
    Ok(paying.map(|known| (known.payee, known.lane)).collect())
}

/// Whether a channel's expiry leaves an order under this agreement the time it may take.
fn lasts(record: &PayerRecord, partner: &Partner) -> bool {
    let terms = &partner.agreement.terms;
    let settle = now().plus_secs(terms.settle_secs.into()).plus_secs(terms.margin_secs.into());
    record.payer.view().expiry > settle.plus_secs(1)
}

fn channel_terms(context: &Context, payee: Address, royalty: Royalty, number: u16) -> ChannelTerms {
    ChannelTerms {
        domain: context.domain,
        payer: context.key.address(),
        payee,
        lane: royalty.lane(number),
        margin_secs: context.timing.margin_secs.into(),
    }
}

async fn open_and_look(
    context: &Context,
    writes: Vec<Write>,
    intent: symbolon_settlement::Intent,
    channels: &[(Address, u16)],
    royalty: Royalty,
) -> Result<Opened, NodeError> {
    context.store.write(writes).await?;
    // Confirmed means as deep as anybody asks for.
    context.txs.run(intent).await?;
    look_all(context, channels, royalty).await
}

/// Channels as the chain shows them now, at depth.
pub(super) async fn look_all(
    context: &Context,
    channels: &[(Address, u16)],
    royalty: Royalty,
) -> Result<Opened, NodeError> {
    let anchor = context.vault.chain().anchor(Depth::Blocks(context.timing.depth.into())).await?;
    let mut views = Vec::with_capacity(channels.len());
    for (provider, number) in channels {
        views.push(((*provider, *number), look(context, *provider, royalty.lane(*number), &anchor).await?));
    }
    Ok(Opened { views })
}

async fn look(context: &Context, payee: Address, lane: Lane, at: &Header) -> Result<View, NodeError> {
    let state = context.vault.channel(context.key.address(), payee, lane, at).await?;
    let symbolon_settlement::ChannelState { allocated, claimed, epoch, expiry } = state;
    Ok(View { allocated, claimed, epoch, expiry, block: at.number })
}

/// What a voucher that is signed for `input` pays.
const fn order_of(input: &PayerInput) -> Option<OrderDigest> {
    match input {
        PayerInput::Agreed { order, .. } => Some(*order),
        _ => None,
    }
}

/// The message that gives a voucher, once it is on disk.
fn voucher_request(effect: Durable<Effect>) -> Option<Durable<Request>> {
    let Effect::SendVoucher { order, signed } = *effect.get() else { return None };
    let SignedVoucher { voucher, signature } = signed;
    Some(effect.map(|_| Request::Voucher { order, voucher, signature }))
}

fn issued(record: &PayerRecord, signed: &SignedVoucher, order: Option<OrderDigest>) -> VoucherRow {
    VoucherRow {
        key: record.epoch(signed.voucher.epoch).issued(),
        cumulative: signed.voucher.cumulative,
        signature: signed.signature,
        order,
        created_at: now(),
    }
}

/// Asks every payee with nothing in flight to sign the release of what is left,
/// takes it back on chain, and pays the free balance out. Answers what came back.
pub(super) async fn release_all(
    context: Arc<Context>,
    channels: Vec<PayerRecord>,
    partners: BTreeMap<Address, Partner>,
) -> Result<Amount, JobError> {
    let asking = channels.into_iter().filter(|record| !record.payer.view().allocated.is_zero()).map(|record| {
        let (context, partner) = (Arc::clone(&context), partners.get(&record.payer.terms().payee).cloned());
        async move {
            // Whoever still holds an order would refuse; its earmark comes back after the expiry.
            if record.payer.open_order().is_some() {
                return None;
            }
            let consent = ask_release(&context, &partner?, &record).await?;
            Some((record.payer.terms().lane, record.payer.terms().payee, consent))
        }
    });
    let consents: Vec<(Lane, Address, Signature)> =
        futures::future::join_all(asking).await.into_iter().flatten().collect();
    let mut lanes: BTreeMap<Lane, Vec<(Address, Option<Signature>)>> = BTreeMap::new();
    for (lane, payee, consent) in consents {
        lanes.entry(lane).or_default().push((payee, Some(consent)));
    }
    let mut released = Amount::ZERO;
    let key = context.key.address();
    let mut handles = Vec::with_capacity(lanes.len());
    let batches = lanes.iter().flat_map(|(lane, rows)| rows.chunks(ops::RELEASE_ROWS).map(move |rows| (lane, rows)));
    for (lane, rows) in batches {
        let head = context.vault.chain().head().await?;
        for (payee, _) in rows {
            let state = context.vault.channel(key, *payee, *lane, &head).await?;
            released = released.checked_add(state.allocated.saturating_sub(state.claimed))?;
        }
        let tag = ops::tag(&[b"release", &rand::random::<[u8; 32]>()]);
        handles.push(context.txs.submit(ops::release(context.vault.address(), key, *lane, rows, tag)).await?);
    }
    for handle in handles {
        handle.wait().await?;
    }
    pay_out_free(&context).await?;
    Ok(released)
}

/// Pays the key's free balance out to its wallet.
pub(super) async fn pay_out_free(context: &Context) -> Result<(), NodeError> {
    let key = context.key.address();
    let head = context.vault.chain().head().await?;
    let free = context.vault.account(key, &head).await?.balance;
    if !free.is_zero() {
        let tag = ops::tag(&[b"withdraw", &rand::random::<[u8; 32]>()]);
        context.txs.run(ops::withdraw(context.vault.address(), key, key, free, tag)).await?;
    }
    Ok(())
}

/// One payee's consent, once all it holds is claimed.
async fn ask_release(context: &Context, partner: &Partner, record: &PayerRecord) -> Option<Signature> {
    let terms = record.payer.terms();
    let epoch = record.payer.view().epoch;
    let request = Request::Release { payer: terms.payer, lane: terms.lane, epoch };
    let digest = Release { payer: terms.payer, lane: terms.lane, epoch }.digest(&context.domain);
    let until = Instant::now() + RELEASES;
    loop {
        match crate::peer::call(&context.client, &partner.peer, &request, ANSWER).await {
            Ok(Response::Signed(consent)) if consent.check(&digest, terms.payee).is_ok() => return Some(consent),
            Err(CallError::Refused(refusal)) if refusal.code == RefusalCode::Later => {
                tracing::debug!(payee = %terms.payee, reason = refusal.reason, "no release yet");
            }
            Err(CallError::Request(error)) => tracing::debug!(payee = %terms.payee, %error, "no answer"),
            other => {
                tracing::info!(payee = %terms.payee, ?other, "no release before the expiry");
                return None;
            }
        }
        if Instant::now() + ASK_AGAIN > until {
            return None;
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Looks at the newest block again and again, so that whoever is about to sign is told when the chain cannot be told.
pub(super) async fn watch_head(context: Arc<Context>) {
    let poll = Duration::from_millis(context.timing.poll_millis);
    loop {
        if let Err(error) = context.vault.chain().head().await {
            tracing::debug!(%error, "the newest block cannot be told");
        }
        sleep(poll).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_primitives::Key;
    use symbolon_store::Store;

    #[test]
    fn a_channel_under_another_royalty_is_no_stranger() {
        let me = Key::from_bytes(&[1; 32]).unwrap().address();
        let domain = Domain { chain_id: 1, vault: Address::ZERO };
        let place = |payer, vault, royalty: Royalty| ChannelTerms {
            domain: Domain { vault, ..domain },
            payer,
            payee: Address::repeat_byte(2),
            lane: royalty.lane(3),
            margin_secs: 10,
        };
        let other = Royalty::new(Address::repeat_byte(9), 100).unwrap();
        let ours = [Royalty::NONE, other].map(|royalty| place(me, domain.vault, royalty));
        let foreign = [
            place(Address::repeat_byte(4), domain.vault, Royalty::new(Address::repeat_byte(9), 200).unwrap()),
            place(me, Address::repeat_byte(5), Royalty::new(Address::repeat_byte(9), 300).unwrap()),
        ];
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let put = |terms: &ChannelTerms| PayerRecord { payer: Payer::new(*terms) }.put().unwrap();
        store.write(&ours.iter().chain(&foreign).map(put).collect::<Vec<_>>()).unwrap();
        let known = known_lanes(&store.view(), &domain, me).unwrap();
        assert_eq!(known, ours.iter().map(|terms| (terms.payee, terms.lane)).collect());
    }

    #[test]
    fn a_lane_that_does_not_last_lacks_what_moves_its_expiry_and_not_its_share_again() {
        let key = Key::from_bytes(&[1; 32]).unwrap();
        let terms = ChannelTerms {
            domain: Domain { chain_id: 1, vault: Address::ZERO },
            payer: key.address(),
            payee: Address::repeat_byte(2),
            lane: Royalty::NONE.lane(0),
            margin_secs: 10,
        };
        let mut payer = Payer::new(terms);
        let [share, one] = [100, 1].map(Amount::from_u64);
        let view = View { allocated: share, expiry: Timestamp(1_000), block: 1, ..View::default() };
        payer.handle(&key, PayerInput::Seen(view), Timestamp(0)).unwrap();
        assert_eq!((lacks(&payer, share, true), lacks(&payer, share, false)), (Amount::ZERO, one));
        assert_eq!(lacks(&payer, Amount::from_u64(130), false), Amount::from_u64(30));
    }
}
