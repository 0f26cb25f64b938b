//! Taking an order: every check of SYM-21 that is not the channel's own, and
//! everything the work needs, before a word of acceptance.

use super::{ChannelRecord, Done, Look, MAX_ORDERS, MAX_PAYER_ORDERS, PREPARING, Provider, orders};
use crate::{
    context::{Context, GUEST_MEMORY_BYTES, LONGEST_REQUEST, NodeError, now},
    convert,
    peer::{FetchError, Peer, fetch},
    serve::{answer, refuse},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use symbolon_executor::CompiledModule;
use symbolon_net::{PeerId, Responder};
use symbolon_primitives::{
    Address, Agreement, AgreementDigest, Amount, ContentRef, Domain, Lane, OrderError, SignedAgreement, SignedOrder,
    Signer, Timestamp,
};
use symbolon_quorum::{Message, OrderTerms, Replica, ReplicaInput, TermsError, Timing};
use symbolon_settlement::{ChainError, Depth};
use symbolon_wire::{OrderMessage, RefusalCode, Response, Right, members_hash};

/// Modules being fetched and compiled at once.
const MODULES_AT_ONCE: usize = 4;
/// The largest module fetched.
const MAX_MODULE_BYTES: u64 = 64 << 20;
/// The most input bytes of one order.
const MAX_INPUT_BYTES: u64 = 256 << 20;

/// Why an order is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum NotTaken {
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error(transparent)]
    Terms(#[from] TermsError),
    #[error("this provider is not in the roster")]
    NotInRoster,
    #[error("the members do not stand for the leaves")]
    Members,
    #[error("no agreement {0} is in force here")]
    NoAgreement(AgreementDigest),
    #[error("the order does not keep to its agreement: {0}")]
    Breach(&'static str),
    #[error("the order comes from another peer than its payer's or a member's")]
    Stranger,
    #[error("{have} bytes of memory, this node gives {most}")]
    Memory { have: u64, most: u64 },
    #[error("inputs of {have} bytes, at most {MAX_INPUT_BYTES}")]
    InputsTooLarge { have: u64 },
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("member {member} has {have} base units staked, less than {need} or on the way out")]
    MemberStake { member: Address, have: Amount, need: Amount },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0}")]
    Local(String),
    #[error("channel: {0}")]
    Channel(String),
    #[error("inputs arrived after commit-by")]
    TooLate,
}

impl NotTaken {
    fn code(&self) -> RefusalCode {
        match self {
            // Somebody else's stake is not the sender's fault.
            Self::Chain(_) | Self::Fetch(_) | Self::Local(_) | Self::Channel(_) | Self::MemberStake { .. } => {
                RefusalCode::Later
            }
            _ => RefusalCode::Never,
        }
    }
}

/// An order that passed everything but the channel's own checks.
pub(super) struct Accepted {
    message: OrderMessage,
    caller: Option<(Address, Message)>,
    reply: Responder,
    checked: Result<Ready, NotTaken>,
}

struct Ready {
    replica: Replica,
    lane: Lane,
    payer_peer: Peer,
    agreement: SignedAgreement,
    view: Look,
    compiled: CompiledModule,
}

/// What is known of an order before anything is read or fetched.
struct Checked {
    replica: Replica,
    lane: Lane,
    payer_peer: Peer,
    agreement: SignedAgreement,
    members: Vec<Peer>,
}

impl Provider {
    /// An order, or the call of a reserve, which brings the order along.
    pub(super) async fn on_order(
        &mut self,
        peer: PeerId,
        message: OrderMessage,
        called: bool,
        reply: Responder,
    ) -> Result<(), NodeError> {
        let order = message.order.digest(&self.context.domain);
        if let Some(known) = self.orders.get(&order) {
            if called && let Some(from) = known.speaker(peer) {
                let call = convert::call_of(order, &message);
                self.feed(order, ReplicaInput::Received { from, message: call }).await?;
            }
            answer(reply, &Response::Done);
            self.tell_payer(peer, order);
            return Ok(());
        }
        if self.preparing.contains(&order) || self.preparing.len() >= PREPARING {
            refuse(reply, RefusalCode::Later, "busy with it or with others");
            return Ok(());
        }
        let checked = match self.check_order(peer, &message, called) {
            Ok(checked) if self.has_no_room(checked.agreement.terms.payer) => {
                refuse(reply, RefusalCode::Later, "too many orders");
                return Ok(());
            }
            Ok(checked) => checked,
            Err(why) => {
                refuse(reply, why.code(), why.to_string());
                return Ok(());
            }
        };
        let caller = called
            .then(|| self.speaker(peer, &message).map(|from| (from, convert::call_of(order, &message))))
            .flatten();
        self.preparing.insert(order);
        let context = Arc::clone(&self.context);
        let least = self.config.least_member_stake;
        let known = self.channels.get(&(checked.agreement.terms.payer, checked.lane)).cloned();
        let module = message.order.work.workunits.first().map(|unit| unit.module).unwrap_or_default();
        let compiled = self.modules.get(&module).cloned();
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let checked = prepare(&context, &message.order, checked, least, known, compiled).await;
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Accepted(Box::new(Accepted { message, caller, reply, checked }))).await;
        });
        Ok(())
    }

    fn has_no_room(&self, payer: Address) -> bool {
        let of_payer = self.orders.values().filter(|record| record.payer() == payer).count();
        self.orders.len() >= MAX_ORDERS || of_payer >= MAX_PAYER_ORDERS
    }

    /// The payer key or member that a peer speaks for.
    fn speaker(&self, peer: PeerId, message: &OrderMessage) -> Option<Address> {
        let id = peer.to_bytes();
        if let Some(member) = message.members.iter().find(|member| member.peer == id) {
            return Some(member.provider);
        }
        let (index, _) = message.order.leaf_of(self.me())?;
        let record = self.agreements.get(message.order.work.agreements.get(index)?)?;
        (record.peer()?.id == peer).then_some(record.signed.terms.payer)
    }

    fn check_order(&self, peer: PeerId, message: &OrderMessage, called: bool) -> Result<Checked, NotTaken> {
        let domain: Domain = self.context.domain;
        let signed = &message.order;
        let time = now();
        let (index, leaf) = signed.leaf_of(self.me()).ok_or(NotTaken::NotInRoster)?;
        let same = message.members.len() == signed.leaves.len()
            && message.members.iter().zip(&signed.leaves).all(|(member, leaf)| member.provider == leaf.provider);
        if !same {
            return Err(NotTaken::Members);
        }
        let digest = signed.work.agreements.get(index).copied().unwrap_or_default();
        let record = self.agreements.get(&digest).ok_or(NotTaken::NoAgreement(digest))?;
        let terms = record.signed.terms;
        let payer_peer = record.peer().ok_or(NotTaken::Stranger)?;
        // Who speaks for which member is signed: nobody can put itself in another's place.
        if signed.work.members.0 != members_hash(&message.members) {
            return Err(NotTaken::Members);
        }
        let id = peer.to_bytes();
        if payer_peer.id != peer && !(called && message.members.iter().any(|member| member.peer == id)) {
            return Err(NotTaken::Stranger);
        }
        let timing = Timing { wait_secs: terms.wait_secs.into(), ..self.context.timing.quorum() };
        let order_terms = OrderTerms::new(signed, domain, terms.payer, timing)?;
        keeps_to(signed, &terms, time, self.context.timing.settling_secs()).map_err(NotTaken::Breach)?;
        if leaf.flat != terms.flat || leaf.rate != terms.rate {
            return Err(NotTaken::Breach("price"));
        }
        let most = GUEST_MEMORY_BYTES / u64::try_from(self.config.cores.max(1)).unwrap_or(1);
        let have = signed.work.workunits.first().map_or(0, |unit| unit.limits.memory_bytes);
        if have > most {
            return Err(NotTaken::Memory { have, most });
        }
        let sizes = signed.work.workunits.iter().flat_map(|unit| unit.inputs.iter().map(|input| input.size));
        let have = sizes.fold(0_u64, u64::saturating_add);
        if have > MAX_INPUT_BYTES {
            return Err(NotTaken::InputsTooLarge { have });
        }
        let members = message
            .members
            .iter()
            .filter(|member| member.provider != self.me())
            .filter_map(|member| Peer::from_wire(&member.peer, &member.addrs).ok())
            .collect();
        Ok(Checked {
            replica: Replica::new(order_terms, self.me())?,
            lane: signed.order.royalty.lane(leaf.lane_number),
            payer_peer,
            agreement: record.signed,
            members,
        })
    }

    /// The channel has the last word; then the order is stored, and only then taken.
    pub(super) async fn on_accepted(&mut self, accepted: Accepted) -> Result<(), NodeError> {
        let Accepted { message, caller, reply, checked } = accepted;
        let order = message.order.digest(&self.context.domain);
        self.preparing.remove(&order);
        let ready = match checked {
            Ok(ready) => ready,
            Err(why) => {
                tracing::info!(%order, %why, "an order is not taken");
                refuse(reply, why.code(), why.to_string());
                return Ok(());
            }
        };
        let module = message.order.work.workunits.first().map(|unit| unit.module).unwrap_or_default();
        self.keep_module(module, ready.compiled);
        let Some((index, leaf)) = message.order.leaf_of(self.me()).map(|(index, leaf)| (index, *leaf)) else {
            return Ok(());
        };
        let reserve = message.order.is_reserve(index);
        let record = orders::OrderRecord::new(message, ready.agreement, ready.replica, ready.lane, &ready.payer_peer);
        match self.channel_takes(&ready.agreement.terms, ready.lane, ready.view, &leaf, record).await? {
            Ok(()) => {
                answer(reply, &Response::Done);
                self.context.events.emit(crate::Event::OrderTaken { order, reserve });
                if reserve {
                    if let Some((from, message)) = caller {
                        self.feed(order, ReplicaInput::Received { from, message }).await?;
                    }
                } else {
                    // An active replica starts as one that was interrupted: by computing.
                    self.feed(order, ReplicaInput::Resume).await?;
                }
            }
            Err((code, why)) => {
                tracing::info!(%order, why, "the channel does not take an order");
                refuse(reply, code, why);
            }
        }
        Ok(())
    }

    /// Fetches and compiles a module that orders under an agreement will name.
    pub(super) fn on_prepare(
        &mut self,
        peer: PeerId,
        agreement: AgreementDigest,
        module: ContentRef,
        reply: Responder,
    ) {
        let Some(payer) = self.agreements.get(&agreement).and_then(super::AgreementRecord::peer) else {
            return refuse(reply, RefusalCode::Unknown, "no such agreement");
        };
        if payer.id != peer {
            return refuse(reply, RefusalCode::Forbidden, "the agreement is with another peer");
        }
        if self.modules.contains_key(&module) {
            return answer(reply, &Response::Done);
        }
        if self.fetching_modules.len() >= MODULES_AT_ONCE || !self.fetching_modules.insert((agreement, module)) {
            return refuse(reply, RefusalCode::Later, "busy with this module or with others");
        }
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        tokio::spawn(async move {
            let sources = [payer];
            let ready = module_ready(&context, module, Right::Agreement(agreement), &sources);
            let compiled = match tokio::time::timeout(LONGEST_REQUEST, ready).await {
                Ok(ready) => ready.map_err(|why| why.to_string()),
                Err(_) => Err("the module did not arrive in time".to_owned()),
            };
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Module { agreement, module, compiled, reply }).await;
        });
    }
}

/// The order's deadlines and terms against its agreement.
fn keeps_to(signed: &SignedOrder, terms: &Agreement, time: Timestamp, settling_secs: u64) -> Result<(), &'static str> {
    let (order, work) = (&signed.order, &signed.work);
    // Clocks differ: a few seconds more than agreed are fine.
    let within = |at: Timestamp, from: Timestamp, secs: u64| at <= from.plus_secs(secs).plus_secs(CLOCK_SLACK_SECS);
    let second_round = work.commit_by.plus_secs(terms.wait_secs.into());
    // A reserve needs about the time the active replicas have, and after it
    // everybody a turn at settling (SYM-10).
    let fair_reserve = second_round.plus_secs((work.commit_by.secs_since(time) / 2).max(1));
    let last_chance = work.reserve_by.plus_secs(u64::from(terms.wait_secs) * 2).plus_secs(settling_secs);
    if terms.valid_until < time {
        Err("the agreement is over")
    } else if order.royalty != terms.royalty {
        Err("royalty")
    } else if work.profile != terms.profile {
        Err("profile")
    } else if work.commit_by <= time || !within(work.commit_by, time, terms.commit_secs.into()) {
        Err("commit-by")
    } else if work.reserve_by < fair_reserve || !within(work.reserve_by, second_round, terms.reserve_secs.into()) {
        Err("reserve-by")
    } else if order.settle_by < last_chance || !within(order.settle_by, time, terms.settle_secs.into()) {
        Err("settle-by")
    } else if !within(work.keep_until, work.reserve_by, terms.keep_secs.into()) {
        Err("keep-until")
    } else {
        Ok(())
    }
}

/// How far two honest clocks may differ, in seconds: an order whose deadlines are further off is refused.
pub const CLOCK_SLACK_SECS: u64 = 5;

async fn prepare(
    context: &Arc<Context>,
    signed: &SignedOrder,
    checked: Checked,
    least_stake: Amount,
    known: Option<ChannelRecord>,
    compiled: Option<CompiledModule>,
) -> Result<Ready, NotTaken> {
    let Checked { replica, lane, payer_peer, agreement: signed_agreement, members } = checked;
    let agreement = signed_agreement.terms;
    let me = replica.terms().leaves();
    let most = me.iter().filter_map(|leaf| leaf.total(signed.order.max_fuel).ok()).max().unwrap_or_default();
    let depth = Depth::for_value(most, agreement.finality_threshold, agreement.depth);
    let anchor = context.vault.chain().anchor(depth).await?;
    let own = context.key.address();
    let state = context.vault.channel(agreement.payer, own, lane, &anchor).await?;
    let view = Look::new(state, anchor.number, depth);
    for leaf in signed.leaves.iter().filter(|leaf| leaf.provider != own) {
        let account = context.vault.account(leaf.provider, &anchor).await?;
        if account.stake < least_stake || account.unbonding_at.is_some() {
            return Err(NotTaken::MemberStake { member: leaf.provider, have: account.stake, need: least_stake });
        }
    }
    // Nothing is fetched for an order that the channel would refuse.
    known
        .unwrap_or_else(|| ChannelRecord::new(context, &agreement, lane))
        .would_take(context, view, signed)
        .map_err(|rejected| NotTaken::Channel(rejected.to_string()))?;
    let reserve = signed.leaf_of(own).is_some_and(|(index, _)| signed.is_reserve(index));
    let by = if reserve { signed.work.reserve_by } else { signed.work.commit_by };
    let left = Duration::from_secs(by.secs_since(now()));
    let gathering = gather(context, signed, &payer_peer, members, compiled);
    let compiled = tokio::time::timeout(left, gathering).await.map_err(|_| NotTaken::TooLate)??;
    Ok(Ready { replica, lane, payer_peer, agreement: signed_agreement, view, compiled })
}

/// Fetches the inputs and the module, and compiles it.
async fn gather(
    context: &Arc<Context>,
    signed: &SignedOrder,
    payer_peer: &Peer,
    members: Vec<Peer>,
    compiled: Option<CompiledModule>,
) -> Result<CompiledModule, NotTaken> {
    let right = Right::Order(signed.digest(&context.domain));
    let mut sources = vec![payer_peer.clone()];
    sources.extend(members);
    let wanted: BTreeSet<(ContentRef, u64)> = signed
        .work
        .workunits
        .iter()
        .flat_map(|unit| unit.inputs.iter().map(|input| (input.content, input.size)))
        .collect();
    for (content, size) in wanted {
        if !context.content.has(content) {
            let bytes = fetch(&context.client, &sources, right, content, size).await?;
            keep(context, bytes).await?;
        }
    }
    let module = signed.work.workunits.first().map(|unit| unit.module).unwrap_or_default();
    match compiled {
        Some(compiled) => Ok(compiled),
        None => module_ready(context, module, right, &sources).await,
    }
}

async fn keep(context: &Arc<Context>, bytes: Vec<u8>) -> Result<(), NotTaken> {
    let context = Arc::clone(context);
    let kept = tokio::task::spawn_blocking(move || context.content.put(&bytes)).await;
    match kept {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(NotTaken::Local(format!("cannot keep content: {error}"))),
        Err(error) => Err(NotTaken::Local(error.to_string())),
    }
}

async fn module_ready(
    context: &Arc<Context>,
    module: ContentRef,
    right: Right,
    sources: &[Peer],
) -> Result<CompiledModule, NotTaken> {
    if !context.content.has(module) {
        let bytes = fetch(&context.client, sources, right, module, MAX_MODULE_BYTES).await?;
        keep(context, bytes).await?;
    }
    let context = Arc::clone(context);
    let compiled = tokio::task::spawn_blocking(move || orders::compile_stored(&context, module)).await;
    compiled.map_err(|error| NotTaken::Local(error.to_string()))?.map_err(NotTaken::Local)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_primitives::{
        B256, DemandDigest, Key, Leaf, Level, Limits, OfferDigest, ProfileId, Royalty, Salt, Work, Workunit,
    };

    const NOW: Timestamp = Timestamp(1_000);
    const SETTLING: u64 = 20;

    fn terms() -> Agreement {
        Agreement {
            demand: DemandDigest::default(),
            offer: OfferDigest::default(),
            owner: Address::repeat_byte(1),
            payer: Address::repeat_byte(1),
            payee: Address::repeat_byte(2),
            royalty: Royalty::NONE,
            flat: Amount::ZERO,
            rate: Amount::from_u64(1),
            profile: ProfileId::default(),
            exposure_limit: Amount::MAX,
            finality_threshold: Amount::MAX,
            depth: 1,
            commit_secs: 10,
            reserve_secs: 10,
            wait_secs: 2,
            settle_secs: 100,
            keep_secs: 50,
            margin_secs: 0,
            valid_until: Timestamp(2_000),
        }
    }

    fn order(commit: u64, reserve: u64, settle: u64, keep: u64) -> SignedOrder {
        let work = Work {
            agreements: vec![AgreementDigest::default(); 3],
            profile: ProfileId::default(),
            workunits: vec![Workunit {
                module: ContentRef::default(),
                args: Vec::new(),
                env: Vec::new(),
                inputs: Vec::new(),
                level: Level::Command,
                limits: Limits::default(),
                max_fuel: 1,
                seed: [0; 32],
            }],
            commit_by: NOW.plus_secs(commit),
            reserve_by: NOW.plus_secs(reserve),
            keep_until: NOW.plus_secs(keep),
            reserves: 0b100,
            members: B256::ZERO,
            salt: Salt::default(),
        };
        let leaves = (1..=3)
            .map(|byte| Leaf {
                provider: Address::repeat_byte(byte),
                owed: Amount::ZERO,
                flat: Amount::ZERO,
                rate: Amount::from_u64(1),
                epoch: 0,
                lane_number: 0,
            })
            .collect();
        let domain = Domain { chain_id: 1, vault: Address::ZERO };
        let key = Key::from_bytes(&[1; 32]).unwrap();
        SignedOrder::sign(&key, &domain, work, leaves, Royalty::NONE, 2, NOW.plus_secs(settle))
    }

    fn verdict(commit: u64, reserve: u64, settle: u64, keep: u64) -> Result<(), &'static str> {
        keeps_to(&order(commit, reserve, settle, keep), &terms(), NOW, SETTLING)
    }

    #[test]
    fn sym_10_deadlines_leave_room_to_settle_and_no_more_than_agreed() {
        assert_eq!(verdict(10, 22, 100, 72), Ok(()));
        assert_eq!(verdict(0, 22, 100, 72), Err("commit-by"));
        assert_eq!(verdict(16, 22, 100, 72), Err("commit-by"));
        // A reserve without time to compute: the order can never be settled if one member fails.
        assert_eq!(verdict(10, 16, 100, 66), Err("reserve-by"));
        assert_eq!(verdict(10, 28, 100, 78), Err("reserve-by"));
        // Settle-by right behind the work: the quorum would be worth nothing.
        assert_eq!(verdict(10, 22, 22, 72), Err("settle-by"));
        assert_eq!(verdict(10, 22, 22 + 4 + SETTLING - 1, 72), Err("settle-by"));
        assert_eq!(verdict(10, 22, 22 + 4 + SETTLING, 72), Ok(()));
        assert_eq!(verdict(10, 22, 106, 72), Err("settle-by"));
        assert_eq!(verdict(10, 22, 100, 78), Err("keep-until"));
    }

    #[test]
    fn sym_21_an_order_outside_its_agreement_is_refused() {
        let sound = order(10, 22, 100, 72);
        let check = |terms: Agreement| keeps_to(&sound, &terms, NOW, SETTLING);
        assert_eq!(check(Agreement { valid_until: Timestamp(999), ..terms() }), Err("the agreement is over"));
        let royalty = Royalty::new(Address::repeat_byte(7), 1).unwrap();
        assert_eq!(check(Agreement { royalty, ..terms() }), Err("royalty"));
        assert_eq!(check(Agreement { profile: ProfileId::from_bytes([1; 32]), ..terms() }), Err("profile"));
    }
}
