//! Orders at the requestor: issuing them, and carrying out what the verdict says.

use super::{Done, JobError, JobId, Partner, Requestor};
use crate::{
    context::{NodeError, now},
    convert,
    event::Event,
    known::Role,
    ledger::{MemberEntry, NoReceipt, OrderEntry, OrderState, Stands, receipt_of},
    peer::Peer,
    serve::refusal,
    snapshot::{self, Snapshot},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use symbolon_market::Candidate;
use symbolon_net::PeerId;
use symbolon_primitives::{
    Address, ContentRef, Domain, GiveUp, Leaf, OrderDigest, Salt, Signature, SignedAgreement, SignedOrder, Timestamp,
    UnitResult, Work, receipt::Receipt, results::total_fuel, results_root,
};
use symbolon_quorum::{
    Effect, Effects, MemberSet, Message, OrderTerms, Remedy, Timing, Verdict, VerdictEvent, VerdictInput,
};
use symbolon_settlement::ops;
use symbolon_store::{Direction, Durable, View};
use symbolon_wire::{Member, OrderMessage, RefusalCode, Request, Response, members_hash};
use tokio::time::Instant;

/// Time for members to take an order: their inputs are small by then.
pub(super) const TAKE: Duration = Duration::from_secs(20);
/// Time for a voucher to arrive; the quorum can settle without it.
pub(super) const VOUCHER: Duration = Duration::from_secs(60);
/// Time for a reserve to give an order up in writing.
const GIVE_UP: Duration = Duration::from_secs(30);

/// An order that went out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunningOrder {
    /// The job it is of.
    pub(super) job: JobId,
    pub(super) message: OrderMessage,
    /// What the order stands on, in roster order.
    pub(super) agreements: Vec<SignedAgreement>,
    pub(super) verdict: Verdict,
    /// The job's parts it is about.
    pub(super) batch: Vec<usize>,
    pub(super) attempt: u32,
    /// What each member says its parts came to.
    answers: BTreeMap<Address, Vec<UnitResult>>,
    /// Its outputs are in this node's own content.
    pub(super) fetched: bool,
    #[serde(skip)]
    pub(super) taken: BTreeSet<Address>,
    #[serde(skip)]
    pub(super) refused: BTreeSet<Address>,
    #[serde(skip)]
    pub(super) called: BTreeSet<Address>,
    #[serde(skip)]
    pub(super) agreed: BTreeSet<Address>,
    #[serde(skip)]
    pub(super) dissented: BTreeSet<Address>,
    #[serde(skip)]
    pub(super) missing: BTreeSet<Address>,
    /// Those who agreed and have their voucher, or were paid on chain.
    #[serde(skip)]
    pub(super) paid: BTreeSet<Address>,
    /// Paid replicas that may be asked for outputs.
    #[serde(skip)]
    pub(super) sources: Vec<Address>,
    #[serde(skip)]
    pub(super) failures: usize,
    #[serde(skip)]
    pub(super) failing_since: Option<Instant>,
    /// When outputs may be asked for again.
    #[serde(skip)]
    pub(super) fetch_from: Option<Instant>,
    #[serde(skip)]
    pub(super) fetching: bool,
    /// An earlier run sent it out.
    #[serde(skip)]
    pub(super) resumed: bool,
    /// It is given out anew then, if its members have not shown a quorum by that time.
    #[serde(skip)]
    pub(super) reissue_at: Option<Timestamp>,
    /// Its members' channels were looked at since they were asked.
    #[serde(skip)]
    pub(super) looked: bool,
    /// It was said that its members are waited for.
    #[serde(skip)]
    pub(super) waited_for: bool,
    /// Nothing more is wanted of it: its outputs are here, or its work is given out anew.
    #[serde(skip)]
    pub(super) done: bool,
}

impl Snapshot for RunningOrder {
    const KIND: &'static str = "issued-order";
}

impl RunningOrder {
    /// One that is about to go out.
    fn new(
        job: JobId,
        message: OrderMessage,
        agreements: Vec<SignedAgreement>,
        terms: OrderTerms,
        batch: Vec<usize>,
        attempt: u32,
    ) -> Self {
        Self {
            job,
            message,
            agreements,
            verdict: Verdict::new(terms),
            batch,
            attempt,
            answers: BTreeMap::new(),
            fetched: false,
            taken: BTreeSet::new(),
            refused: BTreeSet::new(),
            called: BTreeSet::new(),
            agreed: BTreeSet::new(),
            dissented: BTreeSet::new(),
            missing: BTreeSet::new(),
            paid: BTreeSet::new(),
            sources: Vec::new(),
            failures: 0,
            failing_since: None,
            fetch_from: None,
            fetching: false,
            resumed: false,
            reissue_at: None,
            looked: false,
            waited_for: false,
            done: false,
        }
    }

    pub(super) fn order(&self) -> &SignedOrder {
        &self.message.order
    }

    /// Ascends from a batch's first order to its newest. A later one may well have the earlier settle-by, by the terms of
    /// its members.
    pub(super) fn age(&self) -> (u32, Timestamp, OrderDigest) {
        (self.attempt, self.verdict.terms().settle_by(), self.verdict.terms().digest())
    }

    /// Where a member is reached, as the order says.
    pub(super) fn peer_of(&self, provider: Address) -> Option<Peer> {
        let member = self.message.members.iter().find(|member| member.provider == provider)?;
        Peer::from_wire(&member.peer, &member.addrs).ok()
    }

    /// After a start: what is kept in the machine alone.
    pub(super) fn recall(&mut self) {
        let of = |set: MemberSet| -> BTreeSet<Address> {
            set.iter().filter_map(|index| self.verdict.terms().provider(index)).collect()
        };
        self.agreed = of(self.verdict.agreed());
        self.dissented = of(self.verdict.dissented());
        self.missing = of(self.verdict.missing());
        self.called = of(self.verdict.called());
        self.resumed = true;
    }

    /// Whether its lanes are left to run out: it came to nothing.
    pub(super) fn is_lost(&self) -> bool {
        self.verdict.is_undecided() || self.done && self.verdict.canonical().is_none()
    }

    /// Whether its members were asked what became of it, and may still answer.
    fn is_asked_about(&self) -> bool {
        self.resumed && !self.done && self.verdict.canonical().is_none()
    }

    /// Whether a member's voucher is still to be signed, or may be, however late it is: it waits for endpoints that tell
    /// the chain alike, or for members that were asked. With the lane free it never could be.
    pub(super) fn may_owe(&self, provider: Address, withheld: bool) -> bool {
        self.is_asked_about() || !withheld && self.agreed.contains(&provider)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Address> + '_ {
        self.order().leaves.iter().map(|leaf| leaf.provider)
    }

    pub(super) fn is_input(&self, root: ContentRef) -> bool {
        self.order()
            .work
            .workunits
            .iter()
            .any(|unit| unit.module == root || unit.inputs.iter().any(|input| input.content == root))
    }

    fn split(&self) -> (Vec<Address>, Vec<Address>) {
        let (reserves, active): (Vec<_>, Vec<_>) =
            self.members().enumerate().partition(|(index, _)| self.order().is_reserve(*index));
        let only = |list: Vec<(usize, Address)>| list.into_iter().map(|(_, provider)| provider).collect();
        (only(active), only(reserves))
    }
}

impl Requestor {
    /// Gives out as many batches as there are free lanes for.
    pub(super) async fn assign(&mut self) -> Result<(), JobError> {
        let waited = self.ready_since.is_some_and(|since| since.elapsed() >= super::PREPARE_GRACE);
        let all = self.partners.values().filter(|partner| partner.offered).count();
        if !self.engaged || self.opening || !(waited || self.prepared.len() == all) {
            return Ok(());
        }
        let mut issued = Vec::new();
        while let Some((batch, attempt)) = self.pending.front().cloned() {
            if self.is_halted() {
                break;
            }
            let candidates = self.candidates(&batch);
            let need = self.spec.rules.members();
            if candidates.len() < need {
                if self.top_up(&batch)? || self.orders.values().any(|running| !running.done) {
                    break;
                }
                return Err(JobError::TooFewProviders { have: candidates.len(), need });
            }
            let drawn = self
                .spec
                .rules
                .draw(&candidates, self.draws)
                .map_err(|_| JobError::TooFewProviders { have: candidates.len(), need })?;
            self.draws += 1;
            self.pending.pop_front();
            issued.push(self.issue(batch, attempt, &drawn).await?);
        }
        if self.first_wave == 0 {
            self.first_wave = issued.len();
        }
        Ok(())
    }

    /// Providers that may be drawn for a batch: ready, in good standing, with a
    /// free lane whose earmark covers it.
    fn candidates(&self, batch: &[usize]) -> Vec<Candidate> {
        let time = now();
        self.partners
            .values()
            .filter(|partner| {
                !self.struck.contains(&partner.provider)
                    && self.prepared.get(&partner.provider) == Some(&true)
                    && super::market::usable(partner, time)
                    && self.free_lane(partner, self.max_fuel(batch)).is_some()
            })
            .map(|partner| Candidate { provider: partner.provider, stake: partner.stake, network_group: partner.group })
            .collect()
    }

    pub(super) fn max_fuel(&self, batch: &[usize]) -> u64 {
        batch.iter().filter_map(|part| self.units.get(*part)).fold(0, |sum, unit| sum.saturating_add(unit.max_fuel))
    }

    /// Signs an order for the drawn members, stores it, and sends it out.
    async fn issue(&mut self, batch: Vec<usize>, attempt: u32, drawn: &[Address]) -> Result<OrderDigest, JobError> {
        let time = now();
        let max_fuel = self.max_fuel(&batch);
        let active: BTreeSet<Address> = drawn.iter().take(usize::from(self.spec.rules.redundancy)).copied().collect();
        let mut members: Vec<(Partner, u16)> = drawn
            .iter()
            .filter_map(|provider| {
                let partner = self.partners.get(provider)?;
                Some((partner.clone(), self.free_lane(partner, max_fuel)?))
            })
            .collect();
        members.sort_by_key(|(partner, _)| partner.provider);
        let mut leaves: Vec<Leaf> = Vec::with_capacity(members.len());
        let mut reserves = 0_u8;
        for (index, (partner, lane_number)) in members.iter().enumerate() {
            if !active.contains(&partner.provider) {
                reserves |= 1 << index;
            }
            leaves.push(self.leaf(partner, *lane_number, time)?);
        }
        // Terms may differ between agreements: what all of them allow.
        let least = |pick: fn(&symbolon_primitives::Agreement) -> u32| {
            members.iter().map(|(partner, _)| pick(&partner.agreement.terms)).min().unwrap_or_default()
        };
        let wait_secs = least(|terms| terms.wait_secs);
        let commit_by = time.plus_secs(least(|terms| terms.commit_secs).into());
        let reserve_by = commit_by.plus_secs(wait_secs.into()).plus_secs(least(|terms| terms.reserve_secs).into());
        let settle_by = time.plus_secs(least(|terms| terms.settle_secs).into());
        let ways: Vec<Member> = members.iter().map(|(partner, _)| partner.peer.member(partner.provider)).collect();
        let work = Work {
            members: members_hash(&ways).into(),
            agreements: members.iter().map(|(partner, _)| partner.digest).collect(),
            profile: self.spec.terms.profile,
            workunits: batch.iter().filter_map(|part| self.units.get(*part)).cloned().collect(),
            commit_by,
            reserve_by,
            keep_until: reserve_by.plus_secs(least(|terms| terms.keep_secs).into()),
            reserves,
            salt: Salt::from_bytes(rand::random()),
        };
        let context = Arc::clone(&self.context);
        let order = SignedOrder::sign(
            &context.key,
            &context.domain,
            work,
            leaves,
            self.spec.terms.royalty,
            self.spec.rules.redundancy,
            settle_by,
        );
        let digest = order.digest(&context.domain);
        let payer = symbolon_primitives::Signer::address(&context.key);
        let timing = Timing { wait_secs: wait_secs.into(), ..context.timing.quorum() };
        let terms = OrderTerms::new(&order, context.domain, payer, timing).map_err(NodeError::from)?;
        let message = OrderMessage { order, members: ways, commits: Vec::new() };
        let agreements = members.iter().map(|(partner, _)| partner.agreement).collect();
        let running = RunningOrder::new(self.job.id(), message.clone(), agreements, terms, batch, attempt);
        let mut writes = vec![snapshot::put(digest.as_bytes(), &running)?];
        writes.extend(self.reserve_lanes(digest, &running.message.order, settle_by)?);
        let message = context.store.keep(writes, message).await?;
        let first = running.batch.first().copied().unwrap_or_default();
        *self.given_out.entry(first).or_default() += 1;
        for (partner, _) in &members {
            self.send_order(digest, partner, message.clone());
        }
        self.orders.insert(digest, running);
        self.feed(digest, VerdictInput::Resume).await?;
        Ok(digest)
    }

    fn send_order(&self, order: OrderDigest, partner: &Partner, message: Durable<OrderMessage>) {
        let (outbox, reports) = (self.context.outbox.clone(), self.reports.clone());
        let (peer, provider) = (partner.peer.clone(), partner.provider);
        let request = message.map(Request::Order);
        tokio::spawn(async move {
            let taken = outbox.deliver(&peer, &request, TAKE).await;
            let taken = taken.map(|_| ()).map_err(|why| (why.is_passing(), why.to_string()));
            // The loop is gone only when the job is over.
            let _ = reports.send(Done::Taken { order, provider, taken }).await;
        });
    }

    pub(super) fn on_taken(&mut self, order: OrderDigest, provider: Address, taken: Result<(), (bool, String)>) {
        // An order from before is asked about, not given out: it may well be too late for it.
        let asked = self.orders.get(&order).is_some_and(|running| running.resumed);
        if let Err((passing, reason)) = &taken
            && !asked
        {
            self.warn(format!("{provider} did not take order {order}: {reason}"));
            if !passing {
                self.struck.insert(provider);
            }
        }
        let first_wave = self.first_wave;
        let out = self.orders.values().filter(|running| running.is_out()).count();
        let Some(running) = self.orders.get_mut(&order) else { return };
        let was_out = running.is_out();
        match taken {
            Ok(()) => running.taken.insert(provider),
            // Whoever could not be asked may hold it all the same.
            Err((true, _)) if asked => false,
            Err(_) => running.refused.insert(provider),
        };
        if asked && running.refused.len() == running.message.members.len() {
            running.reissue_at = Some(now());
        }
        if running.is_out() && !was_out {
            let (active, reserves) = running.split();
            self.context.events.emit(Event::OrderOut { order, active, reserves, out: out + 1, first_wave });
        }
    }

    /// Asks every member of an order from before what became of it: who has the order says again what it said.
    pub(super) fn ask_about(&self, order: OrderDigest) {
        let Some(running) = self.orders.get(&order) else { return };
        for provider in running.members() {
            if let Some(partner) = self.partners.get(&provider) {
                // Given out before, and on disk since then.
                self.send_order(order, partner, Durable::promises_nothing(running.message.clone()));
            }
        }
    }

    /// Hands an input to an order's verdict and carries out the effects.
    pub(super) async fn feed(&mut self, order: OrderDigest, input: VerdictInput) -> Result<(), JobError> {
        if let Err(rejected) = self.feed_or_reject(order, input, None).await? {
            tracing::debug!(%order, %rejected, "refused an input");
        }
        Ok(())
    }

    /// As [`Self::feed`]; `parts` is what an answer says its parts came to, kept with the answer.
    async fn feed_or_reject(
        &mut self,
        order: OrderDigest,
        input: VerdictInput,
        parts: Option<(Address, Vec<UnitResult>)>,
    ) -> Result<Result<(), symbolon_quorum::Rejected>, JobError> {
        let Some(running) = self.orders.get_mut(&order) else { return Ok(Ok(())) };
        match running.verdict.handle(input, now()) {
            Ok(effects) => {
                // Only an answer that fits its seal is kept.
                running.answers.extend(parts);
                self.perform(order, effects).await.map(Ok)
            }
            Err(rejected) => Ok(Err(rejected)),
        }
    }

    /// Effects in their order. Whatever follows a `Persist` waits for the disk.
    async fn perform(&mut self, order: OrderDigest, effects: Effects<VerdictEvent>) -> Result<(), JobError> {
        let changed = self.orders.get(&order).filter(|_| effects.has_persist());
        let write = changed.map(|running| snapshot::put(order.as_bytes(), running)).transpose()?;
        let written = self.context.store.keep(write.into_iter().collect(), ()).await?;
        for effect in effects {
            match effect {
                Effect::Persist => {}
                Effect::Send { to, message } => self.send(order, to, written.map(|()| &message)),
                Effect::SetTimer { at } => {
                    self.timers.insert(order, at);
                }
                Effect::Emit(event) => self.on_verdict_event(order, event).await?,
            }
        }
        Ok(())
    }

    fn send(&self, order: OrderDigest, to: Address, message: Durable<&Message>) {
        let Some(running) = self.orders.get(&order) else { return };
        let Some(peer) = running.peer_of(to) else { return };
        let me = symbolon_primitives::Signer::address(&self.context.key);
        let request = message.map(|message| convert::to_request(order, me, message, &[], &running.message));
        let left = running.order().work.reserve_by.secs_since(now());
        self.context.outbox.send(peer, request, Duration::from_secs(left.max(1)));
    }

    async fn on_verdict_event(&mut self, order: OrderDigest, event: VerdictEvent) -> Result<(), JobError> {
        let Some(running) = self.orders.get_mut(&order) else { return Ok(()) };
        match event {
            VerdictEvent::ReserveCalled(leaf) => {
                let answered = running.answers.len();
                let reason =
                    if answered < usize::from(running.order().order.quorum) { "silence" } else { "disagreement" };
                running.called.insert(leaf.provider);
                let event = Event::ReserveCalled { order, provider: leaf.provider, reason: reason.into() };
                self.context.events.emit(event);
            }
            VerdictEvent::Decided { .. } => self.ask_idle_reserves(order),
            VerdictEvent::Agreed { leaf, fuel, .. } => {
                running.agreed.insert(leaf.provider);
                if !self.spec.withhold_vouchers {
                    self.pay(order, &leaf, fuel).await?;
                }
            }
            VerdictEvent::Dissented(provider) => {
                running.dissented.insert(provider);
                self.struck.insert(provider);
            }
            VerdictEvent::Missing(provider) => {
                running.missing.insert(provider);
                // It may have been this node that was away.
                if !running.resumed {
                    self.struck.insert(provider);
                }
                self.ask_to_give_up(order, [provider]);
            }
            VerdictEvent::Undecided => {
                running.give_in();
                self.reissue_lost()?;
            }
            VerdictEvent::Equivocated(evidence) => {
                self.struck.insert(evidence.provider);
                self.warn(format!("{} signed two different results for order {order}", evidence.provider));
                let (first, second) = (evidence.first, evidence.second);
                let intent = ops::slash(
                    self.context.vault.address(),
                    (&first.statement, &first.signature),
                    (&second.statement, &second.signature),
                    ops::tag(&[b"slash", order.as_bytes(), evidence.provider.as_slice()]),
                );
                let context = Arc::clone(&self.context);
                tokio::spawn(async move {
                    if let Err(error) = context.txs.run(intent).await {
                        tracing::warn!(%error, "the court did not take the evidence");
                    }
                });
            }
            VerdictEvent::Conflicted(provider) => {
                self.struck.insert(provider);
                self.warn(format!("{provider} signed two different commits for order {order}"));
            }
        }
        Ok(())
    }

    /// A Commit, an answer or Results of a member.
    pub(super) async fn on_member_message(&mut self, peer: PeerId, request: &Request) -> Result<Response, JobError> {
        let Some((order, from, message)) = convert::from_request(request) else {
            return Ok(refusal(RefusalCode::Never, "not about an order"));
        };
        let Some(running) = self.orders.get_mut(&order) else {
            return Ok(refusal(RefusalCode::Unknown, "that order is not known here"));
        };
        if running.peer_of(from).is_none_or(|known| known.id != peer) {
            return Ok(refusal(RefusalCode::Forbidden, "that member speaks through another peer"));
        }
        if let Request::Answer(answer) = request {
            let work = &running.order().work;
            let same = answer.units.len() == work.workunits.len()
                && answer.units.iter().zip(&work.workunits).all(|(result, unit)| result.id == unit.id(work.profile))
                && total_fuel(&answer.units) == Some(answer.fuel)
                && results_root(work.salt, &answer.units) == answer.results_root;
            if !same {
                return Ok(refusal(RefusalCode::Never, "the parts do not make the answer's root"));
            }
        }
        let parts = match request {
            Request::Answer(answer) => Some((from, answer.units.clone())),
            _ => None,
        };
        match self.feed_or_reject(order, VerdictInput::Received { from, message }, parts).await? {
            Ok(()) => {
                self.fetch_outputs(order);
                Ok(Response::Done)
            }
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

    /// Reserves that never ran give the order up in writing, so that their channels are free again (SYM-21).
    fn ask_idle_reserves(&self, order: OrderDigest) {
        let Some(running) = self.orders.get(&order) else { return };
        let (_, reserves) = running.split();
        self.ask_to_give_up(order, reserves.into_iter().filter(|provider| !running.called.contains(provider)));
    }

    /// Asks for a signed word that nothing will be asked for an order. Whoever works on it refuses.
    pub(super) fn ask_to_give_up(&self, order: OrderDigest, providers: impl IntoIterator<Item = Address>) {
        for provider in providers {
            let Some(partner) = self.partners.get(&provider).filter(|_| self.holds_lane(order, provider)) else {
                continue;
            };
            let (outbox, reports, peer) = (self.context.outbox.clone(), self.reports.clone(), partner.peer.clone());
            let request = Durable::promises_nothing(Request::GiveUp { order });
            tokio::spawn(async move {
                let signed = match outbox.deliver(&peer, &request, GIVE_UP).await {
                    Ok(Response::Signed(signature)) => Some(signature),
                    _ => None,
                };
                // The loop is gone only when the job is over.
                let _ = reports.send(Done::GaveUp { order, provider, signed }).await;
            });
        }
    }

    pub(super) async fn on_gave_up(
        &mut self,
        order: OrderDigest,
        provider: Address,
        signed: Option<Signature>,
    ) -> Result<(), JobError> {
        let digest = GiveUp { order }.digest(&self.context.domain);
        if signed.is_some_and(|signature| signature.check(&digest, provider).is_ok()) {
            self.lane_given_up(order, provider).await?;
            self.feed(order, VerdictInput::GaveUp(provider)).await?;
        }
        Ok(())
    }

    pub(super) fn on_delivered(&mut self, order: OrderDigest, provider: Address, delivered: Result<(), String>) {
        match delivered {
            Ok(()) => self.add_source(order, provider),
            Err(reason) => self.warn(format!("the voucher for {provider} did not arrive: {reason}")),
        }
    }

    /// Adds the orders up, those of earlier runs included.
    pub(super) fn add_up_orders(&mut self) -> Result<(), JobError> {
        for running in self.orders.values() {
            let (active, _) = running.split();
            let decided = running.verdict.canonical();
            self.report.orders += usize::from(decided.is_some());
            self.report.fuel = self.report.fuel.saturating_add(decided.map_or(0, |(_, fuel)| fuel));
            for leaf in &running.order().leaves {
                let provider = leaf.provider;
                let Some(part) = self.report.providers.get_mut(&provider) else { continue };
                part.orders += 1;
                if let Some((_, fuel)) = decided.filter(|_| running.paid.contains(&provider)) {
                    part.voucher = part.voucher.checked_add(leaf.price(fuel)?)?;
                }
                if running.agreed.contains(&provider) {
                    part.agreed += 1;
                    part.fuel = part.fuel.saturating_add(decided.map_or(0, |(_, fuel)| fuel));
                } else if running.dissented.contains(&provider) {
                    part.disagreed += 1;
                } else if active.contains(&provider) || running.called.contains(&provider) {
                    part.missing += 1;
                }
            }
        }
        Ok(())
    }
}

impl RunningOrder {
    /// What a folder's ledger has to say of it.
    pub(crate) fn entry(&self, view: &View<'_>, domain: &Domain) -> Result<OrderEntry, NodeError> {
        let order = self.verdict.terms().digest();
        let (payer, decided) = (self.verdict.terms().payer(), self.verdict.canonical());
        let fuel = decided.map(|(_, fuel)| fuel);
        let mut members = Vec::with_capacity(self.order().leaves.len());
        for (index, leaf) in self.order().leaves.iter().enumerate() {
            let lane = self.order().order.royalty.lane(leaf.lane_number);
            let stands = if self.verdict.agreed().contains(index) {
                Stands::Agreed
            } else if self.verdict.dissented().contains(index) {
                Stands::Dissented
            } else if self.order().is_reserve(index) {
                Stands::Reserve
            } else if decided.is_some() || self.verdict.is_undecided() {
                Stands::Missing
            } else {
                Stands::Awaited
            };
            members.push(MemberEntry::read(view, Direction::Issued, payer, lane, leaf, fuel, stands)?);
        }
        let paid = |member: &MemberEntry| member.stands != Stands::Agreed || member.voucher.is_some();
        let state = match decided {
            Some(_) if members.iter().all(paid) => OrderState::Paid,
            Some(_) => OrderState::Decided,
            None if self.verdict.is_undecided() => OrderState::Undecided,
            None => OrderState::Out,
        };
        Ok(OrderEntry {
            role: Role::Payer,
            order,
            payer,
            agreements: self.agreements.iter().map(|signed| signed.terms.digest(domain)).collect(),
            units: self.order().work.workunits.len(),
            max_fuel: self.order().order.max_fuel,
            fuel,
            state,
            settle_by: self.verdict.terms().settle_by(),
            settles_at: None,
            members,
        })
    }

    /// What shows that a quorum stood behind it and was paid.
    pub(crate) fn receipt(&self, view: &View<'_>, domain: &Domain) -> Result<Receipt, NoReceipt> {
        let settlement = self.verdict.settlement().ok_or(NoReceipt::NoQuorum)?;
        let units = self.canonical_units().ok_or(NoReceipt::NoQuorum)?;
        receipt_of(view, domain, Direction::Issued, self.order(), self.agreements.clone(), units, &settlement)
    }

    /// Whether `provider` is a reserve that was never called although the order is decided.
    pub(super) fn is_idle_reserve(&self, provider: Address) -> bool {
        let (_, reserves) = self.split();
        self.verdict.canonical().is_some() && reserves.contains(&provider) && !self.called.contains(&provider)
    }

    /// The parts' results that a quorum stands behind.
    pub(super) fn canonical_units(&self) -> Option<Vec<UnitResult>> {
        let (root, fuel) = self.verdict.canonical()?;
        let salt = self.order().work.salt;
        let fits = |units: &&Vec<UnitResult>| results_root(salt, units) == root && total_fuel(units) == Some(fuel);
        self.answers.values().find(fits).cloned()
    }

    fn is_out(&self) -> bool {
        !self.taken.is_empty() && self.taken.len() + self.refused.len() == self.message.members.len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_primitives::{AgreementDigest, Amount, Key, Level, Limits, ProfileId, Royalty, Signer, Workunit};

    /// An order of two replicas and a reserve, each on this lane with so much owed before it.
    pub(in crate::requestor) fn running(lane_number: u16, owed: u64) -> RunningOrder {
        running_until(lane_number, owed, 0, Timestamp(300))
    }

    fn running_until(lane_number: u16, owed: u64, attempt: u32, settle_by: Timestamp) -> RunningOrder {
        let (key, domain) = (Key::from_bytes(&[1; 32]).unwrap(), Domain { chain_id: 1, vault: Address::ZERO });
        let providers = [2, 3, 4].map(Address::repeat_byte);
        let leaf = |provider| Leaf {
            provider,
            owed: Amount::from_u64(owed),
            flat: Amount::from_u64(10),
            rate: Amount::ZERO,
            epoch: 0,
            lane_number,
        };
        let unit = Workunit {
            module: ContentRef::from_bytes([5; 32]),
            args: vec!["part".to_owned()],
            env: Vec::new(),
            inputs: Vec::new(),
            level: Level::Command,
            limits: Limits { memory_bytes: 1 << 20, output_bytes: 1 << 20, files: 8 },
            max_fuel: 1_000,
            seed: [0; 32],
        };
        let work = Work {
            members: members_hash(&[]).into(),
            agreements: vec![AgreementDigest::default(); 3],
            profile: ProfileId::default(),
            workunits: vec![unit],
            commit_by: Timestamp(100),
            reserve_by: Timestamp(200),
            keep_until: Timestamp(400),
            reserves: 0b100,
            salt: Salt::from_bytes(rand::random()),
        };
        let leaves = providers.map(leaf).to_vec();
        let order = SignedOrder::sign(&key, &domain, work, leaves, Royalty::NONE, 2, settle_by);
        let member = |provider| Member { provider, peer: Vec::new(), addrs: Vec::new() };
        let terms = OrderTerms::new(&order, domain, key.address(), Timing::default()).unwrap();
        let message = OrderMessage { order, members: providers.map(member).to_vec(), commits: Vec::new() };
        RunningOrder::new(JobId::default(), message, Vec::new(), terms, vec![0], attempt)
    }

    #[test]
    fn a_later_attempt_is_newer_whatever_its_members_need_for_settling() {
        let (first, second) = (running_until(0, 0, 0, Timestamp(300)), running_until(0, 0, 1, Timestamp(250)));
        assert!(first.age() < second.age());
    }

    #[test]
    fn a_lane_is_held_past_settle_by_while_its_voucher_may_be_owed() {
        let mut order = running(0, 0);
        let [agreed, other] = [2, 3].map(Address::repeat_byte);
        assert!(!order.may_owe(agreed, false));
        order.agreed.insert(agreed);
        assert!(order.may_owe(agreed, false) && !order.may_owe(other, false));
        assert!(!order.may_owe(agreed, true), "nothing is ever signed for it");
        order.recall();
        assert!(order.may_owe(other, true), "it was asked");
        order.done = true;
        assert!(!order.may_owe(other, false));
    }
}
