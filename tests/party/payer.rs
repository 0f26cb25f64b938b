//! The payer: deposits, opens, orders, pays, releases.

use crate::{
    AGAIN, Act, Party, RATE, lane,
    link::{Frame, Hole, Say},
    record, timing,
};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_channel::{Effect, Order, Payer, PayerInput, View};
use symbolon_primitives::{
    Address, Amount, B256, ContentRef, Leaf, Level, Limits, OrderDigest, ProfileId, Royalty, Salt, Signature,
    SignedOrder, Timestamp, Work, Workunit,
};
use symbolon_quorum::{OrderTerms, Verdict, VerdictEvent, VerdictInput};
use symbolon_settlement::ops::{self, LaneEarmarks};
use symbolon_store::{Direction, PayerEpoch, VoucherRow, Write};
use tokio::sync::mpsc;

const CHANNEL: &str = "payer-channel";
const ORDER: &str = "issued-order";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Issued {
    number: u8,
    signed: SignedOrder,
    verdict: Verdict,
    /// Who said that its voucher is durable.
    stored: BTreeSet<Address>,
}

struct Paying {
    party: Party,
    channels: BTreeMap<Address, Payer>,
    orders: BTreeMap<u8, Issued>,
    claimed: BTreeSet<Address>,
    consents: BTreeMap<Address, Signature>,
}

pub(crate) async fn run(party: Party, mut incoming: mpsc::Receiver<Frame>) -> Result<()> {
    let mut channels: Vec<Payer> = party.stored(CHANNEL)?;
    for payer in &mut channels {
        let key = party.vouchers(Direction::Issued, payer.terms().payee, payer.view().epoch);
        if let Some((kept, order)) = party.best(&key)? {
            payer.catch_up(&kept, order);
        }
    }
    let orders: Vec<Issued> = party.stored(ORDER)?;
    let mut paying = Paying {
        channels: channels.into_iter().map(|payer| (payer.terms().payee, payer)).collect(),
        orders: orders.into_iter().map(|issued| (issued.number, issued)).collect(),
        claimed: BTreeSet::new(),
        consents: BTreeMap::new(),
        party,
    };
    paying.fund().await?;
    paying.look().await?;
    let mut tick = crate::tick();
    // Orders are forgotten once their epoch is closed.
    let payees = paying.party.config.payees.clone();
    let orders = if paying.is_released(&payees)? { 0 } else { paying.party.config.orders };
    for number in 0..orders {
        paying.issue(number).await?;
        while !paying.is_done(number) {
            // Others' words never keep this from being said again.
            tokio::select! {
                frame = incoming.recv() => paying.hear(frame.context("the hub is gone")?).await?,
                _ = tick.tick() => paying.again(number).await?,
            }
        }
    }
    paying.close(&mut incoming).await?;
    paying.party.say(Address::ZERO, Say::Finished)
}

impl Paying {
    /// Tokens, deposit and earmarks: the same transactions however often this runs.
    async fn fund(&mut self) -> Result<()> {
        let config = &self.party.config;
        let (me, vault, token) = (config.payer, config.vault, config.token);
        let (deposit, earmark) = (Amount::from_u64(config.deposit), Amount::from_u64(config.earmark));
        let amounts = config.payees.iter().map(|payee| (*payee, earmark)).collect();
        let once = ops::tag(&[b"party"]);
        // Known before they are open.
        if self.channels.is_empty() {
            let mut writes = Vec::new();
            for payee in self.party.config.payees.clone() {
                let payer = Payer::new(self.party.terms(payee));
                writes.push(record(CHANNEL, payee.as_slice(), &payer)?);
                let epoch = PayerEpoch { payer: me, payee, lane: lane(), epoch: 0 };
                writes.push(Write::ClearEpoch { epoch, settled: Amount::ZERO, at: self.party.now() });
                self.channels.insert(payee, payer);
            }
            self.party.write(writes).await?;
        }
        let config = &self.party.config;
        for intent in [
            ops::mint(token, me, deposit, once),
            ops::approve(token, vault, deposit, once),
            ops::deposit(vault, me, deposit, once),
            ops::open(vault, me, Timestamp(config.expiry), &[LaneEarmarks { lane: lane(), amounts }], once),
        ] {
            self.party.transact(intent).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<()> {
        for payee in self.party.config.payees.clone() {
            let view = self.party.look(payee).await?;
            self.channel(payee, PayerInput::Seen(view)).await?;
        }
        Ok(())
    }

    fn view(&self, payee: Address) -> Result<View> {
        Ok(*self.channels.get(&payee).context("no channel")?.view())
    }

    fn is_done(&self, number: u8) -> bool {
        let everybody = self.party.config.payees.len();
        self.orders.get(&number).is_some_and(|issued| issued.stored.len() == everybody)
    }

    /// Hands an input to a channel; what must be durable is durable before anything is said.
    async fn channel(&mut self, payee: Address, input: PayerInput) -> Result<()> {
        let payer = self.channels.get_mut(&payee).context("no channel")?;
        let (now, before) = (self.party.now(), payer.clone());
        let effects = match payer.handle(&self.party.key, input, now) {
            Ok(effects) => effects,
            Err(rejected) => {
                if matches!(input, PayerInput::Agreed { .. }) {
                    // Paid before, and another order since.
                    return Ok(());
                }
                bail!("the channel refuses {input:?}: {rejected}");
            }
        };
        let order = match input {
            PayerInput::Agreed { order, .. } => Some(order),
            _ => None,
        };
        // As a node does it: where a voucher tells the whole step, it alone is written.
        let told = |effect: &Effect| matches!(effect, Effect::Keep(kept) if payer.is_kept_by(&before, kept, order));
        let told = effects.iter().any(told);
        let mut writes = Vec::new();
        for effect in &effects {
            match effect {
                Effect::Persist if told => {}
                Effect::Persist => writes.push(record(CHANNEL, payee.as_slice(), payer)?),
                Effect::Keep(signed) => writes.push(Write::PutVoucher(VoucherRow {
                    key: self.party.vouchers(Direction::Issued, payee, signed.voucher.epoch),
                    cumulative: signed.voucher.cumulative,
                    signature: signed.signature,
                    order,
                    created_at: now,
                })),
                _ => {}
            }
        }
        let said_first = self.party.config.hole == Some(Hole::SaidBeforeStored);
        if said_first {
            self.say_vouchers(payee, &effects)?;
        }
        if !writes.is_empty() {
            let kept: Vec<Act> = effects.iter().map(Act::from).filter(|act| is_stored(*act)).collect();
            kept.iter().for_each(|act| self.party.points.before(*act));
            self.party.write(writes).await?;
            kept.iter().for_each(|act| self.party.points.after(*act));
        }
        if said_first { Ok(()) } else { self.say_vouchers(payee, &effects) }
    }

    fn say_vouchers(&mut self, payee: Address, effects: &[Effect]) -> Result<()> {
        for effect in effects {
            if let Effect::SendVoucher { order, signed } = effect {
                self.party.points.before(Act::ChannelSendVoucher);
                self.party.say(payee, Say::Voucher { order: *order, signed: *signed })?;
                self.party.points.after(Act::ChannelSendVoucher);
            }
        }
        Ok(())
    }

    async fn issue(&mut self, number: u8) -> Result<()> {
        if self.orders.contains_key(&number) {
            return self.again(number).await;
        }
        let now = self.party.now();
        let mut leaves = Vec::new();
        for (payee, payer) in &self.channels {
            leaves.push(Leaf {
                provider: *payee,
                owed: payer.owed(),
                flat: Amount::from_u64(3),
                rate: Amount::from_u64(RATE),
                epoch: payer.view().epoch,
                lane_number: lane().number16(),
            });
        }
        let hours = |hours: u64| now.plus_secs(hours * 3_600);
        let unit = Workunit {
            module: ContentRef::from_bytes([1; 32]),
            args: vec!["program".into()],
            env: Vec::new(),
            inputs: Vec::new(),
            level: Level::Command,
            limits: Limits::default(),
            max_fuel: 100,
            seed: [number; 32],
        };
        let work = Work {
            agreements: vec![Default::default(); leaves.len()],
            profile: ProfileId::from_bytes([9; 32]),
            workunits: vec![unit],
            commit_by: hours(3),
            reserve_by: hours(5),
            keep_until: hours(20),
            reserves: 0,
            members: B256::ZERO,
            salt: Salt::from_bytes(rand::random()),
        };
        let settle_by = hours(12);
        let party = &self.party;
        let signed = SignedOrder::sign(&party.key, &party.domain, work, leaves.clone(), Royalty::NONE, 2, settle_by);
        let order = signed.digest(&party.domain);
        let terms = OrderTerms::new(&signed, party.domain, party.me(), timing())?;
        let issued = Issued { number, signed, verdict: Verdict::new(terms), stored: BTreeSet::new() };
        let mut writes = vec![record(ORDER, &[number], &issued)?];
        for leaf in leaves {
            let payer = self.channels.get_mut(&leaf.provider).context("no channel")?;
            let issue = Order { digest: order, leaf, max_fuel: 100, settle_by };
            payer.handle(&self.party.key, PayerInput::Issue(issue), now)?;
            let (payer_key, epoch) = (payer.terms().payer, leaf.epoch);
            writes.push(Write::Promise(PayerEpoch { payer: payer_key, payee: leaf.provider, lane: lane(), epoch }));
            writes.push(record(CHANNEL, leaf.provider.as_slice(), payer)?);
        }
        self.party.points.before(Act::ChannelPersist);
        self.party.write(writes).await?;
        self.party.points.after(Act::ChannelPersist);
        self.orders.insert(number, issued);
        self.again(number).await
    }

    /// Says what is not answered yet once more.
    async fn again(&mut self, number: u8) -> Result<()> {
        let Some(issued) = self.orders.get(&number) else { return Ok(()) };
        let (signed, stored) = (issued.signed.clone(), issued.stored.clone());
        for payee in self.party.config.payees.clone() {
            if !stored.contains(&payee) {
                self.party.points.before(Act::SendOrder);
                self.party.say(payee, Say::Order(signed.clone()))?;
                self.party.points.after(Act::SendOrder);
            }
        }
        self.feed(number, VerdictInput::Resume).await
    }

    async fn feed(&mut self, number: u8, input: VerdictInput) -> Result<()> {
        let now = self.party.now();
        let Some(issued) = self.orders.get_mut(&number) else { return Ok(()) };
        // A refusal is disorder or repetition; what matters is said again.
        let Ok(effects) = issued.verdict.handle(input, now) else { return Ok(()) };
        for effect in effects {
            let act = Act::from(&effect);
            self.party.points.before(act);
            match effect {
                symbolon_quorum::Effect::Persist => {
                    let issued = self.orders.get(&number).context("no order")?;
                    self.party.write(vec![record(ORDER, &[number], issued)?]).await?;
                }
                symbolon_quorum::Effect::Send { to, message } => {
                    let order = self.digest(number)?;
                    self.party.say(to, Say::Member { order, message })?;
                }
                symbolon_quorum::Effect::Emit(VerdictEvent::Agreed { leaf, fuel, .. }) => {
                    let order = self.digest(number)?;
                    self.channel(leaf.provider, PayerInput::Agreed { order, fuel }).await?;
                }
                symbolon_quorum::Effect::SetTimer { .. } | symbolon_quorum::Effect::Emit(_) => {}
            }
            self.party.points.after(act);
        }
        Ok(())
    }

    fn digest(&self, number: u8) -> Result<OrderDigest> {
        Ok(self.orders.get(&number).context("no order")?.signed.digest(&self.party.domain))
    }

    fn number(&self, order: OrderDigest) -> Option<u8> {
        self.orders
            .values()
            .find(|issued| issued.signed.digest(&self.party.domain) == order)
            .map(|issued| issued.number)
    }

    async fn hear(&mut self, frame: Frame) -> Result<()> {
        let Frame { from, say, .. } = frame;
        match say {
            Say::Member { order, message } => {
                if let Some(number) = self.number(order) {
                    self.feed(number, VerdictInput::Received { from, message }).await?;
                }
            }
            Say::Stored { order, .. } => {
                if let Some(number) = self.number(order)
                    && let Some(issued) = self.orders.get_mut(&number)
                    && issued.stored.insert(from)
                {
                    let write = record(ORDER, &[number], issued)?;
                    self.party.write(vec![write]).await?;
                }
            }
            Say::Claimed => {
                self.claimed.insert(from);
            }
            Say::Consent { epoch: 0, signature } => {
                self.consents.insert(from, signature);
            }
            _ => {}
        }
        Ok(())
    }

    /// Has everybody claim, and takes back what is left of the earmarks.
    async fn close(&mut self, incoming: &mut mpsc::Receiver<Frame>) -> Result<()> {
        let payees = self.party.config.payees.clone();
        while self.claimed.len() < payees.len() && !self.is_released(&payees)? {
            for payee in payees.iter().filter(|payee| !self.claimed.contains(*payee)).copied().collect::<Vec<_>>() {
                self.party.say(payee, Say::Claim)?;
            }
            self.listen(incoming).await?;
        }
        while self.consents.len() < payees.len() && !self.is_released(&payees)? {
            for payee in payees.iter().filter(|payee| !self.consents.contains_key(*payee)).copied().collect::<Vec<_>>()
            {
                self.party.say(payee, Say::Release { epoch: 0 })?;
            }
            self.listen(incoming).await?;
        }
        if !self.is_released(&payees)? {
            let rows: Vec<(Address, Option<Signature>)> =
                self.consents.iter().map(|(payee, consent)| (*payee, Some(*consent))).collect();
            let config = &self.party.config;
            let intent = ops::release(config.vault, config.payer, lane(), &rows, ops::tag(&[b"party"]));
            self.party.transact(intent).await?;
        }
        self.look().await?;
        self.party.write(self.orders.keys().map(|number| Write::delete(ORDER, [*number])).collect()).await
    }

    fn is_released(&self, payees: &[Address]) -> Result<bool> {
        for payee in payees {
            if self.view(*payee)?.epoch == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn listen(&mut self, incoming: &mut mpsc::Receiver<Frame>) -> Result<()> {
        let until = tokio::time::Instant::now() + AGAIN;
        while let Ok(frame) = tokio::time::timeout_at(until, incoming.recv()).await {
            self.hear(frame.context("the hub is gone")?).await?;
        }
        self.look().await
    }
}

fn is_stored(act: Act) -> bool {
    matches!(act, Act::ChannelPersist | Act::ChannelKeep)
}
