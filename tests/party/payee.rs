//! A payee: takes orders, commits, attests, keeps vouchers, claims, consents.

use crate::{
    Act, Party,
    link::{Frame, Hole, Say},
    record, timing,
};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use symbolon_channel::{Effect, Effects, Order, Payee, PayeeInput, SignedVoucher};
use symbolon_primitives::{Amount, Nonce, OrderDigest, ResultsRoot, SignedOrder, keccak256};
use symbolon_quorum::{Message, OrderTerms, Replica, ReplicaEvent, ReplicaInput, ReplicaPhase};
use symbolon_settlement::ops;
use symbolon_store::{CommitRow, Direction, VoucherRow, Write};
use tokio::sync::mpsc;

const CHANNEL: &str = "payee-channel";
const ORDER: &str = "order";
/// What every workunit burns.
const FUEL: u64 = 7;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Taken {
    signed: SignedOrder,
    replica: Replica,
    paid: bool,
}

struct Working {
    party: Party,
    channel: Payee,
    orders: BTreeMap<OrderDigest, Taken>,
}

pub(crate) async fn run(party: Party, mut incoming: mpsc::Receiver<Frame>) -> Result<()> {
    let mut channel = party.stored(CHANNEL)?.pop().unwrap_or_else(|| Payee::new(party.terms(party.me())));
    if let Some((kept, _)) = party.best(&party.vouchers(Direction::Received, party.me(), channel.view().epoch))? {
        channel.catch_up(&kept);
    }
    let orders: Vec<Taken> = party.stored(ORDER)?;
    let orders = orders.into_iter().map(|taken| (taken.signed.digest(&party.domain), taken)).collect();
    let mut working = Working { party, channel, orders };
    working.again().await?;
    let mut tick = crate::tick();
    loop {
        tokio::select! {
            frame = incoming.recv() => match frame {
                Some(frame) => working.hear(frame).await?,
                // The hub ends when the payer has finished.
                None => return Ok(()),
            },
            _ = tick.tick() => working.again().await?,
        }
    }
}

impl Working {
    /// Says everything once more: also who is paid still attests for the others.
    async fn again(&mut self) -> Result<()> {
        let open: Vec<OrderDigest> = self.orders.keys().copied().collect();
        for order in open {
            self.feed(order, ReplicaInput::Resume).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, frame: Frame) -> Result<()> {
        let Frame { from, say, .. } = frame;
        match say {
            Say::Order(signed) => self.take(signed).await,
            Say::Member { order, message } => self.feed(order, ReplicaInput::Received { from, message }).await,
            Say::Voucher { order, signed } => self.voucher(order, signed).await,
            Say::Claim => self.claim().await,
            Say::Release { epoch } => {
                self.see().await?;
                let Some(effects) = self.handle(PayeeInput::ReleaseAsked { epoch }, None).await? else { return Ok(()) };
                for effect in effects {
                    if let Effect::Consent { signature, .. } = effect {
                        self.party.points.before(Act::ChannelConsent);
                        self.party.say(from, Say::Consent { epoch, signature })?;
                        self.party.points.after(Act::ChannelConsent);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn see(&mut self) -> Result<()> {
        let view = self.party.look(self.party.me()).await?;
        self.handle(PayeeInput::Seen(view), None).await.map(|_| ())
    }

    /// Hands an input to the channel; what must be durable is durable when this returns.
    async fn handle(&mut self, input: PayeeInput, answer: Option<Say>) -> Result<Option<Effects>> {
        let (now, before) = (self.party.now(), self.channel.clone());
        // A refusal is disorder or repetition; the payer says it again.
        let Ok(effects) = self.channel.handle(&self.party.key, input, now) else { return Ok(None) };
        // As a node does it: where a voucher tells the whole step, it alone is written.
        let told = |effect: &Effect| matches!(effect, Effect::Keep(kept) if self.channel.is_kept_by(&before, kept));
        let told = effects.iter().any(told);
        let mut writes = Vec::new();
        for effect in &effects {
            match effect {
                Effect::Persist if told => {}
                Effect::Persist => writes.push(record(CHANNEL, &[0], &self.channel)?),
                Effect::Keep(signed) => writes.push(Write::PutVoucher(self.row(signed, &input))),
                Effect::Paid { order } => {
                    if let Some(taken) = self.orders.get_mut(order) {
                        taken.paid = true;
                        writes.push(record(ORDER, order.as_bytes(), taken)?);
                    }
                }
                _ => {}
            }
        }
        let payer = self.party.config.payer;
        let said_first = self.party.config.hole == Some(Hole::SaidBeforeStored);
        if let Some(say) = answer.clone().filter(|_| said_first) {
            self.party.say(payer, say)?;
        }
        if !writes.is_empty() {
            let kept: Vec<Act> = effects.iter().map(Act::from).filter(|act| *act != Act::ChannelConsent).collect();
            kept.iter().for_each(|act| self.party.points.before(*act));
            self.party.write(writes).await?;
            kept.iter().for_each(|act| self.party.points.after(*act));
        }
        if let Some(say) = answer.filter(|_| !said_first) {
            self.party.say(payer, say)?;
        }
        Ok(Some(effects))
    }

    fn row(&self, signed: &SignedVoucher, input: &PayeeInput) -> VoucherRow {
        VoucherRow {
            key: self.party.vouchers(Direction::Received, self.party.me(), signed.voucher.epoch),
            cumulative: signed.voucher.cumulative,
            signature: signed.signature,
            order: match input {
                PayeeInput::Voucher { order, .. } => Some(*order),
                _ => None,
            },
            created_at: self.party.now(),
        }
    }

    async fn take(&mut self, signed: SignedOrder) -> Result<()> {
        let order = signed.digest(&self.party.domain);
        if self.orders.contains_key(&order) {
            return Ok(());
        }
        self.see().await?;
        let terms = OrderTerms::new(&signed, self.party.domain, self.party.config.payer, timing())?;
        let replica = Replica::new(terms, self.party.me())?;
        let Some((_, leaf)) = signed.leaf_of(self.party.me()) else { return Ok(()) };
        let offer =
            Order { digest: order, leaf: *leaf, max_fuel: signed.order.max_fuel, settle_by: signed.order.settle_by };
        let now = self.party.now();
        let mut next = self.channel.clone();
        if next.handle(&self.party.key, PayeeInput::Offered(offer), now).is_err() {
            return Ok(());
        }
        let taken = Taken { signed, replica, paid: false };
        // Channel and order together.
        let writes = vec![record(CHANNEL, &[0], &next)?, record(ORDER, order.as_bytes(), &taken)?];
        self.party.points.before(Act::ChannelPersist);
        self.party.write(writes).await?;
        self.party.points.after(Act::ChannelPersist);
        self.channel = next;
        self.orders.insert(order, taken);
        self.feed(order, ReplicaInput::Resume).await
    }

    async fn feed(&mut self, order: OrderDigest, input: ReplicaInput) -> Result<()> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.party.now();
            let Some(taken) = self.orders.get_mut(&order) else { return Ok(()) };
            let Ok(effects) = taken.replica.handle(&self.party.key, input, now) else { continue };
            for effect in effects {
                let act = Act::from(&effect);
                self.party.points.before(act);
                match effect {
                    symbolon_quorum::Effect::Persist => self.save(order).await?,
                    symbolon_quorum::Effect::Send { to, message } => {
                        if let Message::Result(results) = &message {
                            // What it may be settled for is known to the channel before it leaves.
                            let fuel = results.fuel;
                            self.handle(PayeeInput::Attest { order, fuel }, None).await?;
                        }
                        self.party.say(to, Say::Member { order, message })?;
                    }
                    symbolon_quorum::Effect::Emit(ReplicaEvent::Compute) => {
                        let results_root = ResultsRoot::from_bytes(keccak256(order.as_bytes()));
                        let nonce = Nonce::from_bytes(rand::random());
                        inputs.push_back(ReplicaInput::Computed { results_root, fuel: FUEL, nonce });
                    }
                    symbolon_quorum::Effect::SetTimer { .. } | symbolon_quorum::Effect::Emit(_) => {}
                }
                self.party.points.after(act);
            }
        }
        Ok(())
    }

    async fn save(&mut self, order: OrderDigest) -> Result<()> {
        let taken = self.orders.get(&order).context("no order")?;
        let mut writes = vec![record(ORDER, order.as_bytes(), taken)?];
        if let ReplicaPhase::Committed { commit, at, .. } = taken.replica.phase() {
            // The store's own guard over the machine: one Commit for an order.
            let (provider, seal, signature) = (commit.provider, commit.seal, commit.signature);
            writes.push(Write::PutCommit(CommitRow { order, provider, seal, signature, created_at: *at }));
        }
        self.party.write(writes).await
    }

    async fn voucher(&mut self, order: OrderDigest, signed: SignedVoucher) -> Result<()> {
        let stored = Say::Stored { order, cumulative: signed.voucher.cumulative };
        if self.handle(PayeeInput::Voucher { order, signed }, Some(stored)).await?.is_some() {
            self.feed(order, ReplicaInput::Paid).await?;
        }
        Ok(())
    }

    async fn claim(&mut self) -> Result<()> {
        self.see().await?;
        if !self.channel.claimable().is_zero()
            && let Some(best) = self.channel.best().copied()
        {
            let tag = ops::tag(&[b"claim", &best.voucher.cumulative.to_be_bytes12()]);
            let held = ops::SignedVoucher { voucher: best.voucher, signature: best.signature };
            let intent = ops::claim(self.party.config.vault, &[held], None, tag);
            self.party.transact(intent).await?;
            self.see().await?;
        }
        if self.channel.claimable() == Amount::ZERO {
            self.party.say(self.party.config.payer, Say::Claimed)?;
        }
        Ok(())
    }
}
