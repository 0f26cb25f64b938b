//! Orders on a provider: computing them, and carrying out what the replica says.

use super::{Computed, Done, Fault, Provider};
use crate::{
    context::{Context, NodeError, now},
    convert,
    event::Event,
    known::Role,
    ledger::{self, MemberEntry, NoReceipt, OrderEntry, OrderState, Stands, receipt_of},
    peer::Peer,
    serve::{self, refusal, refuse},
    snapshot::{self, Snapshot},
    watch,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use symbolon_executor::{Cancel, CompiledModule, Outcome};
use symbolon_net::{PeerId, Responder};
use symbolon_primitives::{
    Address, Amount, ContentRef, Domain, GiveUp, Lane, Leaf, Nonce, OrderDigest, SignedAgreement, SignedOrder, Signer,
    Timestamp, UnitResult, Workunit, receipt::Receipt, results::total_fuel, results_root, watch::Package,
};
use symbolon_quorum::{
    Effect, Effects, Message, Rejected, Remedy, Replica, ReplicaEvent, ReplicaInput, ReplicaPhase, Settlement,
};
use symbolon_store::{Direction, Durable, View, VoucherKey, VoucherRow, Write};
use symbolon_wire::{OrderMessage, RefusalCode, Request, Response, Right};

/// How long a settlement has before a provider that only collects tries again, in seconds.
const SETTLE_AGAIN_SECS: u64 = 60;

/// Everything about one order on this provider, durable as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OrderRecord {
    pub(super) message: OrderMessage,
    /// What the order stands on.
    agreement: SignedAgreement,
    pub(super) replica: Replica,
    pub(super) lane: Lane,
    payer_peer: Vec<u8>,
    payer_addrs: Vec<String>,
    units: Vec<UnitResult>,
    outputs: BTreeSet<ContentRef>,
    /// A voucher for it is durable, or its settlement confirmed.
    pub(super) paid: bool,
}

impl Snapshot for OrderRecord {
    const KIND: &'static str = "order";

    /// A voucher that pays it is written without it.
    fn catch_up(&mut self, view: &View<'_>) -> Result<(), NodeError> {
        if !self.paid
            && let Some((key, total)) = self.pays_at()
        {
            self.paid = view.best_voucher(&key)?.is_some_and(|best| best.cumulative >= total);
        }
        Ok(())
    }
}

impl OrderRecord {
    pub(super) fn new(
        message: OrderMessage,
        agreement: SignedAgreement,
        replica: Replica,
        lane: Lane,
        payer_peer: &Peer,
    ) -> Self {
        let addrs = payer_peer.addrs.iter().map(ToString::to_string).collect();
        Self {
            message,
            agreement,
            replica,
            lane,
            payer_peer: payer_peer.id.to_bytes(),
            payer_addrs: addrs,
            units: Vec::new(),
            outputs: BTreeSet::new(),
            paid: false,
        }
    }

    pub(super) fn digest(&self) -> OrderDigest {
        self.replica.terms().digest()
    }

    pub(super) fn order(&self) -> &SignedOrder {
        &self.message.order
    }

    pub(super) fn payer(&self) -> Address {
        self.replica.terms().payer()
    }

    fn payer_peer(&self) -> Option<Peer> {
        Peer::from_wire(&self.payer_peer, &self.payer_addrs).ok()
    }

    fn member_peer(&self, provider: Address) -> Option<Peer> {
        let member = self.message.members.iter().find(|member| member.provider == provider)?;
        Peer::from_wire(&member.peer, &member.addrs).ok()
    }

    /// Where `to`, the payer key or a member, is reached.
    fn peer_of(&self, to: Address) -> Option<Peer> {
        if to == self.payer() { self.payer_peer() } else { self.member_peer(to) }
    }

    /// The payer key or member that a peer speaks for.
    pub(super) fn speaker(&self, peer: PeerId) -> Option<Address> {
        if self.is_payer(peer) {
            return Some(self.payer());
        }
        let id = peer.to_bytes();
        self.message.members.iter().find(|member| member.peer == id).map(|member| member.provider)
    }

    fn is_member(&self, peer: PeerId) -> bool {
        let id = peer.to_bytes();
        self.message.members.iter().any(|member| member.peer == id)
    }

    fn is_payer(&self, peer: PeerId) -> bool {
        self.payer_peer == peer.to_bytes()
    }

    /// What a folder's ledger has to say of it.
    pub(crate) fn entry(&self, view: &View<'_>, domain: &Domain) -> Result<OrderEntry, NodeError> {
        let terms = self.replica.terms();
        let phase = self.replica.phase();
        let fuel = match phase {
            ReplicaPhase::Committed { answer, .. } => Some(answer.fuel),
            _ => None,
        };
        let (stands, state) = match phase {
            _ if self.paid => (Stands::Agreed, OrderState::Paid),
            _ if self.replica.settlement().is_some() => (Stands::Agreed, OrderState::Decided),
            ReplicaPhase::Reserve => (Stands::Reserve, OrderState::Out),
            ReplicaPhase::Computing => (Stands::Awaited, OrderState::Out),
            ReplicaPhase::Committed { .. } if self.replica.has_attested() => (Stands::Awaited, OrderState::Attested),
            ReplicaPhase::Committed { .. } => (Stands::Awaited, OrderState::Committed),
            ReplicaPhase::GivenUp => (Stands::Missing, OrderState::GivenUp),
        };
        let mut members = Vec::new();
        for leaf in self.order().leaves.iter().filter(|leaf| leaf.provider == self.agreement.terms.payee) {
            members.push(MemberEntry::read(view, Direction::Received, self.payer(), self.lane, leaf, fuel, stands)?);
        }
        Ok(OrderEntry {
            role: Role::Payee,
            order: self.digest(),
            payer: self.payer(),
            agreements: vec![self.agreement.terms.digest(domain)],
            units: self.order().work.workunits.len(),
            max_fuel: self.order().order.max_fuel,
            fuel,
            state,
            settle_by: terms.settle_by(),
            settles_at: self.replica.settle_at().filter(|_| !self.paid),
            members,
        })
    }

    /// What shows that a quorum stood behind it and paid this provider.
    pub(crate) fn receipt(&self, view: &View<'_>, domain: &Domain) -> Result<Receipt, NoReceipt> {
        let settlement = self.replica.settlement().ok_or(NoReceipt::NoQuorum)?;
        let agreements = vec![self.agreement];
        receipt_of(view, domain, Direction::Received, self.order(), agreements, self.units.clone(), &settlement)
    }

    /// What a watchtower would settle it with, while it is unpaid.
    pub(crate) fn package(&self) -> Option<Package> {
        let settlement = self.replica.settlement().filter(|_| !self.paid)?;
        Some(watch::quorum_package(self.order(), &settlement))
    }

    /// From which total on a voucher of which epoch pays for it, once a Result of it is signed (SYM-27).
    fn pays_at(&self) -> Option<(VoucherKey, Amount)> {
        let ReplicaPhase::Committed { answer, .. } = self.replica.phase() else { return None };
        let (_, leaf) = self.order().leaf_of(self.agreement.terms.payee).filter(|_| self.replica.has_attested())?;
        let Leaf { provider: payee, epoch, .. } = *leaf;
        let key = VoucherKey { direction: Direction::Received, payer: self.payer(), payee, lane: self.lane, epoch };
        Some((key, leaf.total(answer.fuel).ok()?))
    }

    /// Whether the record, when it is read again, says by `kept` that it is paid.
    pub(super) fn is_paid_by(&self, kept: &VoucherRow) -> bool {
        self.pays_at().is_some_and(|(key, total)| key == kept.key && total <= kept.cumulative)
    }

    /// What members may fetch of each other: what the order's work needs.
    fn is_input(&self, root: ContentRef) -> bool {
        self.order().work.workunits.iter().any(|unit| needs(unit).any(|need| need == root))
    }
}

/// The content a workunit needs.
pub(super) fn needs(unit: &Workunit) -> impl Iterator<Item = ContentRef> + '_ {
    std::iter::once(unit.module).chain(unit.inputs.iter().map(|input| input.content))
}

impl Provider {
    async fn save_order(&self, order: OrderDigest) -> Result<Durable<()>, NodeError> {
        let record = self.orders.get(&order).map(|record| snapshot::put(order.as_bytes(), record)).transpose()?;
        Ok(self.context.store.keep(record.into_iter().collect(), ()).await?)
    }

    /// Hands an input to an order's replica and carries out the effects.
    pub(super) async fn feed(&mut self, order: OrderDigest, input: ReplicaInput) -> Result<(), NodeError> {
        self.feed_or_reject(order, input).await.map(|rejected| {
            if let Err(rejected) = rejected {
                tracing::debug!(%order, %rejected, "refused an input");
            }
        })
    }

    async fn feed_or_reject(
        &mut self,
        order: OrderDigest,
        input: ReplicaInput,
    ) -> Result<Result<(), Rejected>, NodeError> {
        let Some(record) = self.orders.get_mut(&order) else { return Ok(Ok(())) };
        let is_paid = matches!(input, ReplicaInput::Paid);
        match record.replica.handle(&self.context.key, input, now()) {
            Ok(effects) => self.perform(order, effects, is_paid).await.map(Ok),
            Err(rejected) => Ok(Err(rejected)),
        }
    }

    /// Effects in their order. Whatever follows a `Persist` waits for the disk.
    async fn perform(
        &mut self,
        order: OrderDigest,
        effects: Effects<ReplicaEvent>,
        is_paid: bool,
    ) -> Result<(), NodeError> {
        let written = if effects.has_persist() && !is_paid {
            self.save_order(order).await?
        } else {
            // Nothing changed; or it is paid: the record says so, or the voucher, and each start tells the replica.
            Durable::promises_nothing(())
        };
        for effect in effects {
            match effect {
                Effect::Persist => {}
                Effect::Send { to, message } => {
                    if let Message::Result(results) = &message {
                        // What this Result may be settled for must be known to
                        // the channel before it leaves.
                        self.expect_payment(order, results.fuel).await?;
                    }
                    self.send(order, to, written.map(|()| &message));
                }
                Effect::SetTimer { at } => {
                    self.timers.insert(order, at);
                }
                Effect::Emit(event) => self.on_replica_event(order, event),
            }
        }
        Ok(())
    }

    /// Settles by quorum whatever is due, where the disk takes no more: the replicas' own timers would have to be kept.
    pub(super) fn settle_what_is_due(&mut self, time: Timestamp) {
        let is_due = |at: Timestamp, order: &OrderDigest| {
            at <= time && self.settled_at.get(order).is_none_or(|last| last.plus_secs(SETTLE_AGAIN_SECS) <= time)
        };
        let unpaid = self.orders.iter().filter(|(_, record)| !record.paid);
        let due: Vec<(OrderDigest, Settlement)> = unpaid
            .filter(|(order, record)| record.replica.settle_at().is_some_and(|at| is_due(at, order)))
            .filter_map(|(order, record)| Some((*order, record.replica.settlement()?)))
            .collect();
        for (order, settlement) in due {
            self.settled_at.insert(order, time);
            self.settle(order, &settlement);
        }
    }

    fn send(&self, order: OrderDigest, to: Address, message: Durable<&Message>) {
        let Some(record) = self.orders.get(&order) else { return };
        let Some(peer) = record.peer_of(to) else { return };
        let request =
            message.map(|message| convert::to_request(order, self.me(), message, &record.units, &record.message));
        let left = record.replica.terms().settle_by().secs_since(now());
        self.context.outbox.send(peer, request, Duration::from_secs(left.max(1)));
    }

    /// A payer that sends an order again has been away: it hears again what was said to it.
    pub(super) fn tell_payer(&self, peer: PeerId, order: OrderDigest) {
        let Some(record) = self.orders.get(&order).filter(|record| record.is_payer(peer)) else { return };
        for message in record.replica.said() {
            // Said before, and on disk since then.
            self.send(order, record.payer(), Durable::promises_nothing(&message));
        }
    }

    fn on_replica_event(&mut self, order: OrderDigest, event: ReplicaEvent) {
        match event {
            ReplicaEvent::Compute => self.compute(order),
            ReplicaEvent::QuorumAssembled(settlement) => {
                tracing::info!(%order, "a quorum stands");
                if let Some(record) = self.orders.get(&order).filter(|record| !record.paid) {
                    self.hand_over(watch::quorum_package(record.order(), &settlement));
                }
            }
            ReplicaEvent::SettlementDue(settlement) => self.settle(order, &settlement),
            ReplicaEvent::Equivocated(evidence) => {
                tracing::warn!(%order, provider = %evidence.provider, "a member signed two different results");
                self.accuse(&evidence);
            }
            ReplicaEvent::Conflicted(provider) => tracing::warn!(%order, %provider, "a member signed two commits"),
        }
    }

    /// Computes an order, or puts it in line.
    fn compute(&mut self, order: OrderDigest) {
        if !self.computing.insert(order) {
            return;
        }
        self.start_computing(order);
    }

    /// Starts an order's work unless all cores are busy; whether it runs or waits.
    fn start_computing(&mut self, order: OrderDigest) -> bool {
        let Some(record) = self.orders.get(&order) else {
            self.computing.remove(&order);
            return false;
        };
        let left = self.commit_deadline(record).secs_since(now());
        if left == 0 || !matches!(record.replica.phase(), ReplicaPhase::Computing) {
            // Nobody would pay for it any more.
            self.computing.remove(&order);
            return false;
        }
        if self.running >= self.config.cores.max(1) {
            self.queue.push_back(order);
            return true;
        }
        let module = record.order().work.workunits.first().map(|unit| unit.module).unwrap_or_default();
        let compiled = self.modules.get(&module).cloned();
        let (context, fault) = (Arc::clone(&self.context), self.config.fault);
        let (signed, reports) = (record.order().clone(), self.reports.clone());
        let cancel = Cancel::after(Duration::from_secs(left));
        self.running += 1;
        tokio::task::spawn_blocking(move || {
            let work = compiled
                .map_or_else(|| compile_stored(&context, module), Ok)
                .and_then(|compiled| run(&context, &compiled, &signed, &cancel, fault));
            // The loop is gone only when the process is ending.
            let _ = reports.blocking_send(Done::Computed { order, work });
        });
        true
    }

    pub(super) async fn on_computed(
        &mut self,
        order: OrderDigest,
        work: Result<Computed, String>,
    ) -> Result<(), NodeError> {
        self.running = self.running.saturating_sub(1);
        self.computing.remove(&order);
        while let Some(next) = self.queue.pop_front() {
            if self.start_computing(next) {
                break;
            }
        }
        let work = match work {
            Ok(work) => work,
            Err(reason) => {
                // No outcome: nothing is committed, nothing is paid (SYM-31).
                tracing::error!(%order, reason, "an order came to no outcome");
                self.context.events.emit(Event::Warning { message: format!("order {order}: {reason}") });
                return Ok(());
            }
        };
        let Some(record) = self.orders.get_mut(&order) else { return Ok(()) };
        if !matches!(record.replica.phase(), ReplicaPhase::Computing) {
            return Ok(());
        }
        let Some(fuel) = total_fuel(&work.units) else { return Ok(()) };
        let results_root = results_root(record.order().work.salt, &work.units);
        record.units = work.units;
        record.outputs = work.outputs;
        self.context.events.emit(Event::Computed { order, fuel });
        let nonce = Nonce::from_bytes(rand::random());
        self.feed(order, ReplicaInput::Computed { results_root, fuel, nonce }).await
    }

    /// A Commit, an answer or Results of a member.
    pub(super) async fn on_member_message(&mut self, peer: PeerId, request: &Request) -> Result<Response, NodeError> {
        let Some((order, from, message)) = convert::from_request(request) else {
            return Ok(refusal(RefusalCode::Never, "not about an order"));
        };
        let Some(record) = self.orders.get(&order) else {
            // It may have overtaken the order itself.
            return Ok(refusal(RefusalCode::Unknown, "that order is not known here"));
        };
        // The connection proves the peer, the order names the peer of each member.
        if record.peer_of(from).is_none_or(|known| known.id != peer) {
            return Ok(refusal(RefusalCode::Forbidden, "that member speaks through another peer"));
        }
        match self.feed_or_reject(order, ReplicaInput::Received { from, message }).await? {
            Ok(()) => Ok(Response::Done),
            Err(rejected) => {
                tracing::debug!(%order, %from, %rejected, "refused a member's message");
                if rejected.remedy == Remedy::Disconnect {
                    let client = self.context.client.clone();
                    tokio::spawn(async move { client.disconnect(peer).await });
                }
                Ok(refusal(RefusalCode::Never, rejected.to_string()))
            }
        }
    }

    /// The payer asks for a signed word that nothing will be asked for an order.
    pub(super) async fn on_give_up(&mut self, peer: PeerId, order: OrderDigest) -> Result<Response, NodeError> {
        let Some(record) = self.orders.get(&order) else {
            return Ok(refusal(RefusalCode::Unknown, "that order is not known here"));
        };
        if !record.is_payer(peer) {
            return Ok(refusal(RefusalCode::Forbidden, "only the payer may ask"));
        }
        if !matches!(record.replica.phase(), ReplicaPhase::Reserve | ReplicaPhase::GivenUp) {
            return Ok(refusal(RefusalCode::Never, "this replica works on it"));
        }
        if self.feed_or_reject(order, ReplicaInput::GiveUp).await?.is_err() {
            return Ok(refusal(RefusalCode::Never, "this replica works on it"));
        }
        self.channel_gave_up(order).await?;
        let digest = GiveUp { order }.digest(&self.context.domain);
        Ok(Response::Signed(self.context.key.sign(&digest)))
    }

    /// Chunks: inputs for members, outputs for the payer once it has paid (SYM-27).
    pub(super) fn on_chunks(
        &self,
        peer: PeerId,
        right: Right,
        root: ContentRef,
        addresses: Vec<[u8; 32]>,
        reply: Responder,
    ) {
        let Right::Order(order) = right else {
            return refuse(reply, RefusalCode::Forbidden, "providers serve by order");
        };
        let Some(record) = self.orders.get(&order) else {
            return refuse(reply, RefusalCode::Unknown, "that order is not known here");
        };
        let as_member = record.is_member(peer) && record.is_input(root);
        let as_payer = record.is_payer(peer) && record.outputs.contains(&root);
        if as_payer && !record.paid {
            return refuse(reply, RefusalCode::Later, "outputs follow the voucher");
        }
        if !as_member && !as_payer {
            return refuse(reply, RefusalCode::Forbidden, "no right to this content");
        }
        serve::chunks(&self.context, root, addresses, reply);
    }

    /// Picks up stored orders after a start: each says everything once more, and
    /// computes what was not done.
    pub(super) async fn resume(&mut self) -> Result<(), NodeError> {
        let time = now();
        let orders: Vec<OrderDigest> = self.orders.keys().copied().collect();
        for order in orders {
            let Some(record) = self.orders.get(&order) else { continue };
            if record.replica.terms().settle_by() < time {
                continue;
            }
            let (paid, given_up) = (record.paid, *record.replica.phase() == ReplicaPhase::GivenUp);
            if paid {
                // What was stored with the voucher, the replica may not have heard.
                self.feed(order, ReplicaInput::Paid).await?;
            }
            if given_up {
                self.channel_gave_up(order).await?;
            }
            self.feed(order, ReplicaInput::Resume).await?;
        }
        Ok(())
    }

    /// Gives up orders whose Commit could come only too late: nobody would attest it (SYM-22), and the channel is free
    /// for the next one.
    pub(super) async fn give_up_late(&mut self, time: Timestamp) -> Result<(), NodeError> {
        let is_late = |record: &&OrderRecord| {
            *record.replica.phase() == ReplicaPhase::Computing
                && self.commit_deadline(record) < time
                && !self.computing.contains(&record.digest())
        };
        let late: Vec<OrderDigest> = self.orders.values().filter(is_late).map(OrderRecord::digest).collect();
        for order in late {
            tracing::info!(%order, "given up: its time to commit is over");
            self.feed(order, ReplicaInput::GiveUp).await?;
            self.channel_gave_up(order).await?;
        }
        Ok(())
    }

    /// Until when this provider's Commit to an order counts.
    fn commit_deadline(&self, record: &OrderRecord) -> Timestamp {
        let order = record.order();
        let reserve = order.leaf_of(self.me()).is_some_and(|(index, _)| order.is_reserve(index));
        if reserve { order.work.reserve_by } else { order.work.commit_by }
    }

    /// Forgets orders whose outputs need not be kept any more, and tells channels of those that are over.
    pub(super) async fn expire_orders(&mut self, time: Timestamp) -> Result<(), NodeError> {
        let over =
            |record: &OrderRecord| record.order().work.keep_until < time && record.replica.terms().settle_by() < time;
        let gone: Vec<OrderDigest> =
            self.orders.iter().filter(|(_, record)| over(record)).map(|(order, _)| *order).collect();
        for order in gone {
            self.channel_order_over(order).await?;
            let mut writes = vec![Write::delete(OrderRecord::KIND, order.as_bytes().to_vec())];
            let domain = &self.context.domain;
            if let Some(record) = self.orders.get(&order)
                && let Ok(receipt) = self.context.store.read(|view| record.receipt(&view, domain))
            {
                // The proof outlives the work.
                writes.push(ledger::keep_receipt(order, &receipt)?);
            }
            self.context.store.write(writes).await?;
            self.orders.remove(&order);
            self.timers.remove(&order);
        }
        Ok(())
    }
}

/// Compiles a module from this node's own content, if it was not compiled before.
pub(super) fn compile_stored(context: &Context, module: ContentRef) -> Result<CompiledModule, String> {
    if let Some(compiled) = context.modules.find(module) {
        return Ok(compiled);
    }
    let bytes = context.content.get(module).map_err(|e| format!("the module is not here: {e}"))?;
    context.modules.compile(module, &bytes).map_err(|refused| format!("the module does not fit the profile: {refused}"))
}

/// Runs an order's workunits one after another and keeps what they leave.
fn run(
    context: &Context,
    compiled: &CompiledModule,
    signed: &SignedOrder,
    cancel: &Cancel,
    fault: Option<Fault>,
) -> Result<Computed, String> {
    let mut computed = Computed { units: Vec::new(), outputs: BTreeSet::new() };
    for unit in &signed.work.workunits {
        let mut inputs: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        for input in &unit.inputs {
            let bytes = context.content.get(input.content).map_err(|e| format!("input {}: {e}", input.path))?;
            inputs.insert(input.path.clone(), bytes.into());
        }
        let mut execution = context.engine.run(compiled, unit, &inputs, cancel).map_err(|e| e.to_string())?;
        match fault {
            Some(Fault::FlipByte) => flip(&mut execution),
            // Mid-work: one unit is computed, nothing is committed.
            Some(Fault::Die) => std::process::abort(),
            None => {}
        }
        tracing::debug!(outcome = %execution.outcome, fuel = execution.fuel, "ran a workunit");
        let manifest = execution.manifest().encode();
        let keep = |bytes: &[u8]| context.content.put(bytes).map_err(|e| format!("cannot keep an output: {e}"));
        let root = keep(&manifest)?;
        computed.outputs.insert(root);
        for bytes in [&execution.stdout, &execution.stderr].into_iter().chain(execution.outputs.values()) {
            computed.outputs.insert(keep(bytes)?);
        }
        computed.units.push(UnitResult {
            id: unit.id(signed.work.profile),
            root: execution.result_root(),
            fuel: execution.fuel,
        });
    }
    Ok(computed)
}

/// The liar of the demo: one byte of what it returns is not what it computed.
fn flip(execution: &mut symbolon_executor::Execution) {
    let byte = execution.outputs.values_mut().find_map(|bytes| bytes.last_mut());
    match byte.or(execution.stdout.last_mut()) {
        Some(byte) => *byte ^= 1,
        None => execution.outcome = Outcome::Exited { code: 1 },
    }
}
