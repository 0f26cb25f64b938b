//! Demands and offers as this node writes and reads them: the market's language
//! with the peer that speaks for the signer beside it.

use crate::peer::Peer;
use symbolon_market::{Body, BodyError, Constraint, ListingError, Properties, PropertyError, Quote, names};
use symbolon_net::{Multiaddr, PeerId};
use symbolon_primitives::{Address, Demand, DemandDigest, Domain, Key, Offer, OfferDigest, Signer, Timestamp};
use symbolon_wire::{MAX_ADDRS, SignedDemand, SignedOffer};

/// The libp2p peer id that speaks for the signer, in base58.
pub(crate) const PEER: &str = "symbolon.peer";
/// Where that peer listens: a list of multiaddrs.
pub(crate) const ADDRS: &str = "symbolon.addrs";

/// Why a listing cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UseError {
    /// It does not count at all.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A property is missing or of another type.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// Its text is too long or malformed.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// It names no peer.
    #[error("no peer id in {PEER}")]
    NoPeer,
}

/// A demand that counts.
#[derive(Clone, Debug)]
pub(crate) struct DemandRead {
    /// Its name.
    pub digest: DemandDigest,
    /// Its body.
    pub body: Body,
    /// Who speaks for it.
    pub peer: Peer,
}

/// An offer that counts.
#[derive(Clone, Debug)]
pub(crate) struct OfferRead {
    /// Its name.
    pub digest: OfferDigest,
    /// Who signed it.
    pub provider: Address,
    /// Its body.
    pub body: Body,
    /// Who speaks for it.
    pub peer: Peer,
}

fn write_peer(properties: &mut Properties, peer: PeerId, addrs: &[Multiaddr]) -> Result<(), PropertyError> {
    properties.set_text(PEER, &peer.to_base58())?;
    let addrs: Vec<String> = addrs.iter().take(MAX_ADDRS).map(ToString::to_string).collect();
    properties.set_list(ADDRS, addrs.iter().map(String::as_str))?;
    Ok(())
}

fn read_peer(properties: &Properties) -> Result<Peer, UseError> {
    let id: PeerId = properties.text(PEER)?.parse().map_err(|_| UseError::NoPeer)?;
    let addrs = properties.texts(ADDRS)?;
    Ok(Peer { id, addrs: addrs.into_iter().take(MAX_ADDRS).filter_map(|addr| addr.parse().ok()).collect() })
}

/// Signs an offer.
///
/// # Errors
/// [`UseError`] when it grows too long.
pub(crate) fn sign_offer(
    key: &Key,
    domain: &Domain,
    quote: &Quote,
    peer: PeerId,
    addrs: &[Multiaddr],
    expires: Timestamp,
) -> Result<SignedOffer, UseError> {
    let mut properties = Properties::default();
    quote.write(&mut properties, domain)?;
    write_peer(&mut properties, peer, addrs)?;
    // A requestor has to want the same runtime; prices are the requestor's business.
    let body = Body::new(&properties, &runtime_constraint()?)?;
    let terms = Offer { provider: key.address(), body: body.hash(), expires };
    let signature = key.sign(terms.digest(domain).as_bytes());
    Ok(SignedOffer { terms, signature, body: body.text().to_owned() })
}

/// Signs a demand for work of `redundancy` at no more than `constraint` says.
///
/// # Errors
/// [`UseError`] when it grows too long.
pub(crate) fn sign_demand(
    key: &Key,
    domain: &Domain,
    redundancy: u8,
    constraint: &Constraint,
    peer: PeerId,
    addrs: &[Multiaddr],
    expires: Timestamp,
) -> Result<SignedDemand, UseError> {
    let mut properties = Properties::default();
    properties.set_text(names::RUNTIME_NAME, names::RUNTIME)?;
    properties.set_number(names::REDUNDANCY, redundancy.into())?;
    write_peer(&mut properties, peer, addrs)?;
    let body = Body::new(&properties, constraint)?;
    let terms = Demand { payer: key.address(), body: body.hash(), expires };
    let signature = key.sign(terms.digest(domain).as_bytes());
    Ok(SignedDemand { terms, signature, body: body.text().to_owned() })
}

fn runtime_constraint() -> Result<Constraint, UseError> {
    format!("({}={})", names::RUNTIME_NAME, names::RUNTIME).parse().map_err(|e| BodyError::Constraint(e).into())
}

/// Reads a demand that was heard.
///
/// # Errors
/// [`UseError`] when it does not count.
pub(crate) fn read_demand(heard: &SignedDemand, domain: &Domain, now: Timestamp) -> Result<DemandRead, UseError> {
    let (digest, body) = symbolon_market::read_demand(&heard.terms, &heard.body, &heard.signature, domain, now)?;
    let peer = read_peer(body.properties())?;
    Ok(DemandRead { digest, body, peer })
}

/// Reads an offer that was heard.
///
/// # Errors
/// [`UseError`] when it does not count.
pub(crate) fn read_offer(heard: &SignedOffer, domain: &Domain, now: Timestamp) -> Result<OfferRead, UseError> {
    let (digest, body) = symbolon_market::read_offer(&heard.terms, &heard.body, &heard.signature, domain, now)?;
    let peer = read_peer(body.properties())?;
    Ok(OfferRead { digest, provider: heard.terms.provider, body, peer })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_primitives::{Amount, ProfileId};
    use symbolon_wire::{Gossip, MAX_GOSSIP, encode};

    fn domain() -> Domain {
        Domain { chain_id: 31337, vault: Address::repeat_byte(0xfe) }
    }

    #[test]
    fn sym_20_a_full_listing_fits_gossip_and_reads_back() {
        let key = Key::from_bytes(&[3; 32]).unwrap();
        let identity = symbolon_net::Identity::generate();
        let addrs: Vec<Multiaddr> = vec!["/ip4/203.0.113.200/tcp/65535".parse().unwrap(); 2];
        let quote = Quote {
            flat: Amount::MAX,
            rate: Amount::MAX,
            profiles: vec![ProfileId::from_bytes([7; 32])],
            exposure_limit: Amount::MAX,
        };
        let expires = Timestamp(100);
        let offer = sign_offer(&key, &domain(), &quote, identity.peer_id(), &addrs, expires).unwrap();
        encode(&Gossip::Offer(offer.clone()), MAX_GOSSIP).unwrap();
        let read = read_offer(&offer, &domain(), Timestamp(99)).unwrap();
        assert_eq!(read.provider, key.address());
        assert_eq!(read.peer, Peer { id: identity.peer_id(), addrs: addrs.clone() });
        assert_eq!(Quote::read(&read.body, &domain()).unwrap(), quote);

        let constraint = runtime_constraint().unwrap();
        let demand = sign_demand(&key, &domain(), 2, &constraint, identity.peer_id(), &addrs, expires).unwrap();
        encode(&Gossip::Demand(demand.clone()), MAX_GOSSIP).unwrap();
        let demand = read_demand(&demand, &domain(), Timestamp(99)).unwrap();
        assert!(symbolon_market::matches(&demand.body, &read.body));

        let mut forged = offer;
        forged.terms.provider = Address::ZERO;
        assert!(read_offer(&forged, &domain(), Timestamp(99)).is_err());
    }
}
