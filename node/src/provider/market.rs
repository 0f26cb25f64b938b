//! The provider's side of the market: offers, proposals, agreements.

use super::Provider;
use crate::{
    context::{NodeError, now},
    event::Event,
    listing::{self, OfferRead},
    peer::Peer,
    serve::refusal,
    snapshot::{self, Snapshot},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use symbolon_market::{Proposal, ProposalInput, ProposalState, Quote, RejectReason, Side, matches};
use symbolon_net::{PeerId, Verdict};
use symbolon_primitives::{
    Address, Agreement, AgreementDigest, Amount, B256, DemandDigest, Domain, OfferDigest, Signature, SignedAgreement,
    Signer, Timestamp,
};
use symbolon_store::{View, Write};
use symbolon_wire::{
    Gossip, MARKET_TOPIC, MAX_GOSSIP, ProposalReply, RefusalCode, Response, SignedDemand, SignedOffer, encode,
};

/// Most agreements in force at once.
const MAX_AGREEMENTS: usize = 4096;
/// Most agreements with one peer in force at once.
const MAX_PEER_AGREEMENTS: usize = 64;
/// Most demands whose peers are remembered until they agree.
const MAX_DEMANDS: usize = 1024;
/// Most offers of our own that proposals may still name.
const MAX_OFFERS: usize = 256;

/// An offer of this provider's.
#[derive(Clone)]
pub(super) struct OwnOffer {
    signed: SignedOffer,
    read: OfferRead,
}

/// A signed agreement and the peer that speaks for the payer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AgreementRecord {
    pub(super) signed: SignedAgreement,
    peer: Vec<u8>,
    addrs: Vec<String>,
}

impl Snapshot for AgreementRecord {
    const KIND: &'static str = "agreement";
}

impl AgreementRecord {
    pub(super) fn digest(&self, domain: &Domain) -> AgreementDigest {
        self.signed.terms.digest(domain)
    }

    /// Who speaks for the payer.
    pub(super) fn peer(&self) -> Option<Peer> {
        Peer::from_wire(&self.peer, &self.addrs).ok()
    }
}

/// The payers that a folder has an agreement with.
pub(crate) fn agreed_payers(view: &View<'_>) -> Result<BTreeSet<Address>, NodeError> {
    let records: Vec<AgreementRecord> = snapshot::all_in(view)?;
    Ok(records.iter().map(|record| record.signed.terms.payer).collect())
}

/// The lowest exposure limit of the agreements in force with each payer key (SYM-25): each order keeps to its own.
pub(crate) fn exposure_limits(view: &View<'_>, domain: &Domain) -> Result<BTreeMap<Address, Amount>, NodeError> {
    let (time, mut lowest) = (now(), BTreeMap::new());
    for record in snapshot::all_in::<AgreementRecord>(view)? {
        // Those of other vaults are kept under other names.
        if view.record(AgreementRecord::KIND, record.digest(domain).as_bytes())?.is_none() {
            continue;
        }
        let terms = &record.signed.terms;
        if terms.valid_until >= time {
            let kept = lowest.entry(terms.payer).or_insert(terms.exposure_limit);
            *kept = terms.exposure_limit.min(*kept);
        }
    }
    Ok(lowest)
}

impl Provider {
    fn quote(&self) -> Quote {
        let terms = &self.config.terms;
        Quote {
            flat: terms.flat,
            rate: terms.rate,
            profiles: vec![terms.profile],
            exposure_limit: terms.exposure_limit,
        }
    }

    /// Signs a fresh offer and says it when the last one is half over.
    pub(super) fn republish(&mut self, time: Timestamp) {
        let life = u64::from(self.context.timing.offer_secs);
        if self.offer.as_ref().is_none_or(|offer| offer.signed.terms.expires <= time.plus_secs(life / 2)) {
            self.renew_offer(time);
            self.publish_offer(None);
        }
    }

    /// Signs an offer that ends as late as one may. Gossip drops what it has
    /// seen: an offer that is said again has to have another end.
    fn renew_offer(&mut self, time: Timestamp) {
        let me = self.context.me();
        let expires = time.plus_secs(self.context.timing.offer_secs.into());
        if self.offer.as_ref().is_some_and(|offer| offer.signed.terms.expires == expires) {
            return;
        }
        let domain = self.context.domain;
        let made = listing::sign_offer(&self.context.key, &domain, &self.quote(), me.id, &me.addrs, expires)
            .and_then(|signed| Ok((listing::read_offer(&signed, &domain, time)?, signed)));
        match made {
            Ok((read, signed)) => {
                self.offers.retain(|_, offer| offer.signed.terms.expires > time);
                let offer = OwnOffer { signed, read };
                if self.offers.len() < MAX_OFFERS {
                    self.offers.insert(offer.read.digest, offer.clone());
                    self.offer = Some(offer);
                }
            }
            Err(error) => tracing::error!(%error, "cannot sign an offer"),
        }
    }

    /// Says the current offer, to `also` even before the mesh knows of it.
    fn publish_offer(&self, also: Option<Peer>) {
        let Some(offer) = &self.offer else { return };
        let bytes = match encode(&Gossip::Offer(offer.signed.clone()), MAX_GOSSIP) {
            Ok(bytes) => bytes,
            Err(error) => return tracing::error!(%error, "the offer is too long"),
        };
        let client = self.context.client.clone();
        // Whoever sends a demand chooses the address: only a few are dialled at once.
        let place = also.and_then(|peer| Some((peer, Arc::clone(&self.dialling).try_acquire_owned().ok()?)));
        tokio::spawn(async move {
            if let Some((peer, _place)) = place
                && let Err(error) = client.dial(peer.id, peer.addrs).await
            {
                tracing::debug!(%error, "a requestor cannot be reached");
            }
            if let Err(error) = client.publish(MARKET_TOPIC, bytes).await {
                tracing::debug!(%error, "the offer was not heard");
            }
        });
    }

    /// Hears a demand: hands it on, and answers with an offer when both sides fit.
    pub(super) fn on_demand(&mut self, demand: &SignedDemand, accept: Verdict) {
        let time = now();
        let Ok(read) = listing::read_demand(demand, &self.context.domain, time) else {
            accept.ignore();
            return;
        };
        accept.accept();
        if self.collect_only {
            return;
        }
        self.renew_offer(time);
        if self.offer.as_ref().is_some_and(|offer| matches(&read.body, &offer.read.body)) {
            self.publish_offer(Some(read.peer));
        }
    }

    /// A requestor takes an offer as it stands.
    pub(super) fn on_propose(
        &mut self,
        peer: PeerId,
        demand: &SignedDemand,
        offer: OfferDigest,
        demand_body: B256,
        offer_body: B256,
    ) -> Response {
        let time = now();
        let rejected =
            |reason: RejectReason, last| Response::Proposal(ProposalReply::Rejected { reason: reason.code(), last });
        let Ok(read) = listing::read_demand(demand, &self.context.domain, time) else {
            return refusal(RefusalCode::Never, "the demand does not count");
        };
        if read.peer.id != peer {
            return refusal(RefusalCode::Forbidden, "the demand names another peer");
        }
        while self.demands.len() >= MAX_DEMANDS {
            self.demands.pop_first();
        }
        self.demands.insert(read.digest, read.peer.clone());
        let Some(current) = &self.offer else { return rejected(RejectReason::NoCapacity, false) };
        let Some(meant) = self.offers.get(&offer) else {
            return Response::Proposal(ProposalReply::Countered(Box::new(current.signed.clone())));
        };
        let expires = meant.signed.terms.expires.min(demand.terms.expires);
        let Ok(mut proposal) = Proposal::new(read.body, meant.read.body.clone(), expires) else {
            return rejected(RejectReason::NoMatch, true);
        };
        let input = ProposalInput::Accept { from: Side::Requestor, demand: demand_body, offer: offer_body };
        match proposal.handle(input, time) {
            Ok(ProposalState::Accepted { .. }) => Response::Proposal(ProposalReply::Accepted),
            Ok(_) => rejected(RejectReason::Terms, false),
            Err(why) => {
                tracing::debug!(%why, "refused a proposal");
                rejected(RejectReason::NoMatch, false)
            }
        }
    }

    /// Forgets agreements under which nothing can happen any more.
    async fn forget_agreements(&mut self, time: Timestamp) -> Result<(), NodeError> {
        let over = |record: &AgreementRecord| {
            let terms = &record.signed.terms;
            let end = terms.valid_until.plus_secs(terms.settle_secs.into());
            end.plus_secs(terms.keep_secs.into()) <= time
        };
        let gone: Vec<AgreementDigest> =
            self.agreements.iter().filter(|(_, record)| over(record)).map(|(digest, _)| *digest).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let forget = gone.iter().map(|digest| Write::delete(AgreementRecord::KIND, digest.as_bytes().to_vec()));
        self.context.store.write(forget.collect()).await?;
        self.agreements.retain(|digest, _| !gone.contains(digest));
        Ok(())
    }

    /// Countersigns terms that keep to the offer and to what this provider insists on.
    pub(super) async fn on_agree(
        &mut self,
        peer: PeerId,
        terms: Agreement,
        payer_signature: Signature,
    ) -> Result<Response, NodeError> {
        let time = now();
        let domain = self.context.domain;
        let digest = terms.digest(&domain);
        if let Some(known) = self.agreements.get(&digest) {
            // Asked again: the same answer.
            return Ok(Response::Agreed(Box::new(known.signed)));
        }
        self.forget_agreements(time).await?;
        let id = peer.to_bytes();
        let of_peer = self.agreements.values().filter(|record| record.peer == id).count();
        if self.agreements.len() >= MAX_AGREEMENTS || of_peer >= MAX_PEER_AGREEMENTS {
            return Ok(refusal(RefusalCode::Later, "too many agreements in force"));
        }
        if let Err(error) = payer_signature.check(digest.as_bytes(), terms.payer) {
            return Ok(refusal(RefusalCode::Never, format!("payer signature: {error}")));
        }
        let Some(meant) = self.offers.get(&terms.offer) else {
            return Ok(refusal(RefusalCode::Unknown, "that offer is over"));
        };
        let Some(payer_peer) = self.demands.get(&terms.demand).filter(|known| known.id == peer).cloned() else {
            return Ok(refusal(RefusalCode::Unknown, "that demand was not proposed by this peer"));
        };
        let demand: (DemandDigest, _) = (terms.demand, terms.payer);
        let offer = (meant.read.digest, self.me());
        let checked = Quote::read(&meant.read.body, &domain)
            .map_err(|e| e.to_string())
            .and_then(|quote| quote.check(&terms, demand, offer, time).map_err(|e| e.to_string()));
        if let Err(why) = checked {
            return Ok(refusal(RefusalCode::Never, why));
        }
        match self.config.terms.counter(&terms, time) {
            Ok(counter) if counter == terms => {}
            Ok(counter) => return Ok(Response::Terms(Box::new(counter))),
            Err(why) => return Ok(refusal(RefusalCode::Never, why.to_string())),
        }
        let payee_signature = self.context.key.sign(digest.as_bytes());
        let record = AgreementRecord {
            signed: SignedAgreement { terms, payer_signature, payee_signature },
            peer: peer.to_bytes(),
            addrs: payer_peer.addrs.iter().map(ToString::to_string).collect(),
        };
        self.context.store.write(vec![snapshot::put(digest.as_bytes(), &record)?]).await?;
        let signed = record.signed;
        self.agreements.insert(digest, record);
        self.context.events.emit(Event::Agreed { with: terms.payer });
        Ok(Response::Agreed(Box::new(signed)))
    }
}
