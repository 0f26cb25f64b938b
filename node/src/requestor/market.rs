//! Finding providers: the register on chain, a demand, offers, agreements.

use crate::{
    context::{Context, now},
    event::Event,
    listing::{self, OfferRead},
    peer::{CallError, Peer, call},
    policy::RequestorTerms,
    registry,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use symbolon_market::{Body, Constraint, NetworkGroup, Proposal, ProposalState, Quote, RejectReason, matches};
use symbolon_net::Multiaddr;
use symbolon_primitives::{
    Address, Agreement, AgreementDigest, Amount, DemandDigest, SignedAgreement, Signer, Timestamp,
};
use symbolon_settlement::{ChainError, Depth};
use symbolon_wire::{self as wire, Gossip, MARKET_TOPIC, MAX_GOSSIP, ProposalReply, Request, Response, SignedDemand};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// Time for a peer to answer about an offer or an agreement.
const ANSWER: Duration = Duration::from_secs(10);
/// How often the demand is said again while offers come in.
const AGAIN: Duration = Duration::from_secs(1);
/// Rounds of terms with one provider.
const ROUNDS: usize = 3;
/// Registrations read before the first offers are waited for.
const MAX_REGISTERED: usize = 1024;

/// A provider with whom an agreement is signed.
#[derive(Clone, Debug)]
pub(crate) struct Partner {
    pub(crate) provider: Address,
    pub(crate) peer: Peer,
    pub(crate) agreement: SignedAgreement,
    pub(crate) digest: AgreementDigest,
    /// Stake without a running timer, at depth.
    pub(crate) stake: Amount,
    pub(crate) group: Option<NetworkGroup>,
    /// Found by this run's own demand: it may be drawn. Others are members of orders from before.
    pub(crate) offered: bool,
}

/// An offer under the ceiling, by a provider with stake.
struct Found {
    read: OfferRead,
    stake: Amount,
}

/// What the requestor looks for.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) terms: RequestorTerms,
    pub(crate) owner: Address,
    pub(crate) redundancy: u8,
    /// The least stake that counts.
    pub(crate) min_stake: Amount,
    /// Offers enough to stop waiting for more.
    pub(crate) enough: usize,
    /// The longest wait for offers.
    pub(crate) patience: Duration,
}

/// Publishes a demand, collects offers from what is `heard`, and signs
/// agreements. Answers whom it found, in the order of their addresses.
pub(crate) async fn find(
    context: &Arc<Context>,
    heard: &mut mpsc::Receiver<symbolon_net::Event>,
    search: &Search,
) -> Result<Vec<Partner>, super::JobError> {
    dial_registered(context).await?;
    let demand = Demanding::new(context, search)?;
    let found = collect(context, heard, search, &demand).await?;
    context.events.emit(Event::Offers { count: found.len() });
    let agreeing = found.into_values().map(|found| {
        let (context, search, demand) = (Arc::clone(context), search.clone(), demand.signed.clone());
        let body = demand_body(&demand);
        async move {
            let provider = found.read.provider;
            let agreed = agree(&context, &search, &demand, body, found).await;
            agreed.map_err(|why| tracing::info!(%provider, %why, "no agreement")).ok()
        }
    });
    let partners: Vec<Partner> = futures::future::join_all(agreeing).await.into_iter().flatten().collect();
    for partner in &partners {
        context.events.emit(Event::Agreed { with: partner.provider });
    }
    Ok(partners)
}

struct Demanding {
    signed: SignedDemand,
    body: Body,
}

fn demand_body(demand: &SignedDemand) -> Option<Body> {
    Body::read(&demand.body).ok()
}

impl Demanding {
    fn new(context: &Context, search: &Search) -> Result<Self, super::JobError> {
        let me = context.me();
        let terms = &search.terms;
        // Ceilings are constraints, so that nobody bothers to offer above them.
        let constraint: Constraint = format!(
            "(&(golem.runtime.name=symbolon)(symbolon.profile={})(symbolon.price.rate<={})(symbolon.price.flat<={}))",
            terms.profile, terms.max_rate, terms.max_flat
        )
        .parse()
        .map_err(|e| super::JobError::Listing(listing::UseError::Body(symbolon_market::BodyError::Constraint(e))))?;
        let expires = now().plus_secs(context.timing.offer_secs.into());
        let domain = &context.domain;
        let signed =
            listing::sign_demand(&context.key, domain, search.redundancy, &constraint, me.id, &me.addrs, expires)?;
        let body = listing::read_demand(&signed, domain, now())?.body;
        Ok(Self { signed, body })
    }
}

/// Dials who is registered on chain, a few at random if there are many.
async fn dial_registered(context: &Arc<Context>) -> Result<(), ChainError> {
    let chain = context.vault.chain();
    let head = chain.head().await?;
    let mut from = context.deployed_at;
    let mut latest: BTreeMap<Address, Peer> = BTreeMap::new();
    while from <= head.number && latest.len() < MAX_REGISTERED {
        let (page, next) = context.vault.registrations(from, head.number).await?;
        for registration in page {
            if let Some(peer) = registry::read(&registration, context.domain) {
                latest.insert(registration.provider, peer);
            }
        }
        if next <= from {
            break;
        }
        from = next;
    }
    let mut dialling = Vec::new();
    for (provider, peer) in latest {
        if provider == context.key.address() || peer.id == context.client.peer_id() {
            continue;
        }
        let (client, vault) = (context.client.clone(), context.vault.clone());
        dialling.push(async move {
            // A registration counts only with stake.
            let staked = vault.account(provider, &head).await.is_ok_and(|account| !account.stake.is_zero());
            if staked && let Err(error) = client.dial(peer.id, peer.addrs).await {
                tracing::debug!(%provider, %error, "a registered provider cannot be reached");
            }
        });
    }
    futures::future::join_all(dialling).await;
    Ok(())
}

async fn collect(
    context: &Arc<Context>,
    heard: &mut mpsc::Receiver<symbolon_net::Event>,
    search: &Search,
    demand: &Demanding,
) -> Result<BTreeMap<Address, Found>, super::JobError> {
    let mut demand_again = demand.signed.clone();
    let mut found: BTreeMap<Address, Found> = BTreeMap::new();
    let until = Instant::now() + search.patience;
    let mut again = Instant::now();
    while found.len() < search.enough && Instant::now() < until {
        if Instant::now() >= again {
            publish(context, &demand_again).await;
            // The next one has to differ, or gossip drops it as known.
            let expires = demand_again.terms.expires.plus_secs(1);
            demand_again.terms.expires = expires;
            demand_again.signature = context.key.sign(demand_again.terms.digest(&context.domain).as_bytes());
            again = Instant::now() + AGAIN;
        }
        match timeout_at(again.min(until), heard.recv()).await {
            Ok(Some(symbolon_net::Event::Gossip { bytes, accept, .. })) => match wire::decode(&bytes, MAX_GOSSIP) {
                Ok(Gossip::Offer(offer)) => match listing::read_offer(&offer, &context.domain, now()) {
                    Ok(read) => {
                        accept.accept();
                        let provider = read.provider;
                        if let Err(error) = consider(context, search, demand, read, &mut found).await {
                            tracing::debug!(%provider, %error, "an offer could not be checked");
                        }
                    }
                    Err(_) => accept.ignore(),
                },
                Ok(Gossip::Demand(_)) => accept.accept(),
                Err(_) => accept.reject(),
            },
            Ok(Some(_)) => {}
            Ok(None) => return Err(super::JobError::Node(crate::NodeError::NetworkGone)),
            Err(_) => {}
        }
    }
    Ok(found)
}

async fn publish(context: &Context, demand: &SignedDemand) {
    match wire::encode(&Gossip::Demand(demand.clone()), MAX_GOSSIP) {
        Ok(bytes) => {
            if let Err(error) = context.client.publish(MARKET_TOPIC, bytes).await {
                tracing::debug!(%error, "the demand was not heard");
            }
        }
        Err(error) => tracing::error!(%error, "the demand is too long"),
    }
}

/// Keeps an offer that fits, of a provider whose stake counts. The latest of a provider counts.
async fn consider(
    context: &Context,
    search: &Search,
    demand: &Demanding,
    read: OfferRead,
    found: &mut BTreeMap<Address, Found>,
) -> Result<(), ChainError> {
    if !matches(&demand.body, &read.body) || read.provider == context.key.address() {
        return Ok(());
    }
    let Ok(quote) = Quote::read(&read.body, &context.domain) else { return Ok(()) };
    if quote.rate > search.terms.max_rate || quote.flat > search.terms.max_flat {
        return Ok(());
    }
    let stake = match found.get(&read.provider) {
        Some(known) => known.stake,
        None => {
            let anchor = context.vault.chain().anchor(Depth::Blocks(context.timing.depth.into())).await?;
            let account = context.vault.account(read.provider, &anchor).await?;
            // Any key can offer; only stake makes it count (SYM-15).
            if account.stake < search.min_stake || account.stake.is_zero() || account.unbonding_at.is_some() {
                return Ok(());
            }
            account.stake
        }
    };
    found.insert(read.provider, Found { read, stake });
    Ok(())
}

/// Why there is no agreement with one provider.
#[derive(Debug, thiserror::Error)]
enum NoAgreement {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the proposal was rejected with reason {0:?}")]
    Rejected(Option<RejectReason>),
    #[error("the bodies do not match any more")]
    NoMatch,
    #[error("no terms after {ROUNDS} rounds")]
    TooManyRounds,
    #[error("terms that this requestor does not sign")]
    Terms,
    #[error("the countersigned agreement is not the one signed")]
    WrongAgreement,
}

async fn agree(
    context: &Arc<Context>,
    search: &Search,
    demand: &SignedDemand,
    body: Option<Body>,
    found: Found,
) -> Result<Partner, NoAgreement> {
    let Found { mut read, stake } = found;
    let demand_digest: DemandDigest = demand.terms.digest(&context.domain);
    let body = body.ok_or(NoAgreement::NoMatch)?;
    for _ in 0..ROUNDS {
        let expires = demand.terms.expires;
        let proposal = Proposal::new(body.clone(), read.body.clone(), expires).map_err(|_| NoAgreement::NoMatch)?;
        if proposal.state(now()) == ProposalState::Expired {
            return Err(NoAgreement::NoMatch);
        }
        let request = Request::Propose {
            demand: demand.clone(),
            offer: read.digest,
            demand_body: body.hash(),
            offer_body: read.body.hash(),
        };
        match call(&context.client, &read.peer, &request, ANSWER).await? {
            Response::Proposal(ProposalReply::Accepted) => {
                return sign(context, search, demand_digest, read, stake).await;
            }
            Response::Proposal(ProposalReply::Countered(offer)) => {
                let counter = listing::read_offer(&offer, &context.domain, now()).map_err(|_| NoAgreement::NoMatch)?;
                let quote = Quote::read(&counter.body, &context.domain).map_err(|_| NoAgreement::NoMatch)?;
                let dear = quote.rate > search.terms.max_rate || quote.flat > search.terms.max_flat;
                if dear || counter.provider != read.provider || counter.peer.id != read.peer.id {
                    return Err(NoAgreement::Terms);
                }
                read = counter;
            }
            Response::Proposal(ProposalReply::Rejected { reason, .. }) => {
                return Err(NoAgreement::Rejected(RejectReason::from_code(reason)));
            }
            _ => return Err(CallError::WrongAnswer.into()),
        }
    }
    Err(NoAgreement::TooManyRounds)
}

async fn sign(
    context: &Arc<Context>,
    search: &Search,
    demand: DemandDigest,
    read: OfferRead,
    stake: Amount,
) -> Result<Partner, NoAgreement> {
    let quote = Quote::read(&read.body, &context.domain).map_err(|_| NoAgreement::NoMatch)?;
    let terms = &search.terms;
    let timing = &terms.timing;
    let reserve_secs = timing.reserve_secs.max(terms.commit_secs);
    let needed = timing.order_secs(terms.commit_secs, reserve_secs, timing.wait_secs);
    let draft = Agreement {
        demand,
        offer: read.digest,
        owner: search.owner,
        payer: context.key.address(),
        payee: read.provider,
        royalty: terms.royalty,
        flat: quote.flat,
        rate: quote.rate,
        profile: terms.profile,
        exposure_limit: terms.exposure_limit.min(quote.exposure_limit),
        finality_threshold: timing.finality_threshold,
        depth: timing.depth,
        commit_secs: terms.commit_secs,
        reserve_secs,
        wait_secs: timing.wait_secs,
        settle_secs: timing.settle_secs.max(u32::try_from(needed).unwrap_or(u32::MAX)),
        keep_secs: timing.keep_secs,
        margin_secs: timing.margin_secs,
        valid_until: now().plus_secs(terms.agreement_secs.into()),
    };
    let mut proposed = draft;
    for _ in 0..ROUNDS {
        let digest = proposed.digest(&context.domain);
        let payer_signature = context.key.sign(digest.as_bytes());
        let request = Request::Agree { terms: proposed, payer_signature };
        match call(&context.client, &read.peer, &request, ANSWER).await? {
            Response::Agreed(agreement) => {
                let sound = agreement.terms == proposed && agreement.check(&context.domain) == Ok(digest);
                if !sound {
                    return Err(NoAgreement::WrongAgreement);
                }
                let seen = context.client.peer_addr(read.peer.id).await.ok().flatten();
                let group = seen.as_ref().and_then(ip_of).map(NetworkGroup::of);
                return Ok(Partner {
                    provider: read.provider,
                    peer: read.peer,
                    agreement: *agreement,
                    digest,
                    stake,
                    group,
                    offered: true,
                });
            }
            Response::Terms(counter) if terms.accepts(&draft, &counter) => proposed = *counter,
            Response::Terms(_) => return Err(NoAgreement::Terms),
            _ => return Err(CallError::WrongAnswer.into()),
        }
    }
    Err(NoAgreement::TooManyRounds)
}

fn ip_of(addr: &Multiaddr) -> Option<std::net::IpAddr> {
    let text = addr.to_string();
    let mut parts = text.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("ip4" | "ip6"), Some(ip)) => ip.parse().ok(),
        _ => None,
    }
}

/// When an agreement stops being usable for new orders of `secs`.
pub(crate) fn usable(partner: &Partner, time: Timestamp) -> bool {
    partner.agreement.terms.valid_until > time
}
