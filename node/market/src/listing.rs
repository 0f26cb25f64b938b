//! What was heard becomes something to rely on only here: a demand or an offer
//! whose body is the one signed, by the one it names, and not yet over (SYM-20).

use crate::body::{Body, BodyError, MAX_BODY_BYTES};
use symbolon_primitives::{
    Address, B256, Demand, DemandDigest, Domain, Offer, OfferDigest, Signature, SignatureError, Timestamp, keccak256,
};

/// The longest life of a demand or offer, in seconds: what is heard can be
/// forgotten after this.
pub const MAX_LISTING_SECS: u64 = 24 * 60 * 60;

/// Why a demand or an offer does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListingError {
    /// Its time is over.
    #[error("over since {expires}, it is {now}")]
    Expired {
        /// When it ended.
        expires: Timestamp,
        /// The time given.
        now: Timestamp,
    },
    /// It would live longer than [`MAX_LISTING_SECS`].
    #[error("lasts until {expires}, more than {MAX_LISTING_SECS} s from {now}")]
    TooLong {
        /// When it would end.
        expires: Timestamp,
        /// The time given.
        now: Timestamp,
    },
    /// The body is another one than was signed.
    #[error("the body is not the one signed")]
    BodyMismatch,
    /// Not signed by the one it names.
    #[error("signature")]
    Signature(#[from] SignatureError),
    /// The body cannot be read.
    #[error("body")]
    Body(#[from] BodyError),
}

/// Checks a demand as it was heard, and reads its body.
///
/// # Errors
/// [`ListingError`] naming the first thing wrong; nothing of it may be relied on.
pub fn read_demand(
    demand: &Demand,
    body: &str,
    signature: &Signature,
    domain: &Domain,
    now: Timestamp,
) -> Result<(DemandDigest, Body), ListingError> {
    let digest = demand.digest(domain);
    let heard = Heard { body_hash: demand.body, expires: demand.expires, signer: demand.payer };
    Ok((digest, heard.read(body, signature, digest.as_bytes(), now)?))
}

/// Checks an offer as it was heard, and reads its body.
///
/// # Errors
/// [`ListingError`] naming the first thing wrong; nothing of it may be relied on.
pub fn read_offer(
    offer: &Offer,
    body: &str,
    signature: &Signature,
    domain: &Domain,
    now: Timestamp,
) -> Result<(OfferDigest, Body), ListingError> {
    let digest = offer.digest(domain);
    let heard = Heard { body_hash: offer.body, expires: offer.expires, signer: offer.provider };
    Ok((digest, heard.read(body, signature, digest.as_bytes(), now)?))
}

struct Heard {
    body_hash: B256,
    expires: Timestamp,
    signer: Address,
}

impl Heard {
    /// Cheap checks first: length, time, hash, signature, and only then the text.
    fn read(&self, body: &str, signature: &Signature, digest: &[u8; 32], now: Timestamp) -> Result<Body, ListingError> {
        let expires = self.expires;
        if body.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLong { have: body.len() }.into());
        }
        if expires <= now {
            return Err(ListingError::Expired { expires, now });
        }
        if expires.secs_since(now) > MAX_LISTING_SECS {
            return Err(ListingError::TooLong { expires, now });
        }
        if keccak256(body.as_bytes()) != self.body_hash.0 {
            return Err(ListingError::BodyMismatch);
        }
        signature.check(digest, self.signer)?;
        Ok(Body::read(body)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_primitives::{Key, Signer};

    const NOW: Timestamp = Timestamp(1_000);

    #[test]
    fn sym_20_only_what_its_author_signed_is_read() {
        let key = Key::from_bytes(&[1; 32]).unwrap();
        let other = Key::from_bytes(&[2; 32]).unwrap();
        let domain = Domain { chain_id: 1, vault: Address::repeat_byte(1) };
        let text = "{\"a\":1}\n()";
        let body = Body::read(text).unwrap().hash();
        let offer = Offer { provider: key.address(), body, expires: NOW.plus_secs(60) };
        let signature = key.sign(offer.digest(&domain).as_bytes());
        let read = |offer: &Offer, text: &str, signature: &Signature, now| {
            read_offer(offer, text, signature, &domain, now).map(|(_, body)| body)
        };
        assert_eq!(read(&offer, text, &signature, NOW).unwrap().text(), text);
        assert_eq!(read(&offer, text, &signature, Timestamp(1_059)).unwrap().text(), text);
        assert!(matches!(read(&offer, text, &signature, Timestamp(1_060)), Err(ListingError::Expired { .. })));
        assert_eq!(read(&offer, "{\"a\":2}\n()", &signature, NOW), Err(ListingError::BodyMismatch));
        let forged = other.sign(offer.digest(&domain).as_bytes());
        assert!(matches!(read(&offer, text, &forged, NOW), Err(ListingError::Signature(_))));
        let longer = Offer { expires: NOW.plus_secs(61), ..offer };
        assert!(matches!(read(&longer, text, &signature, NOW), Err(ListingError::Signature(_))));
        let elsewhere = Domain { chain_id: 2, ..domain };
        assert!(read_offer(&offer, text, &signature, &elsewhere, NOW).is_err());
        let endless = Offer { expires: NOW.plus_secs(MAX_LISTING_SECS + 1), ..offer };
        let signed = key.sign(endless.digest(&domain).as_bytes());
        assert!(matches!(read(&endless, text, &signed, NOW), Err(ListingError::TooLong { .. })));

        let demand = Demand { payer: key.address(), body, expires: offer.expires };
        let signed = key.sign(demand.digest(&domain).as_bytes());
        let (digest, read) = read_demand(&demand, text, &signed, &domain, NOW).unwrap();
        assert_eq!((digest, read.text()), (demand.digest(&domain), text));
        assert!(read_demand(&demand, text, &signature, &domain, NOW).is_err());
    }

    #[test]
    fn l13_a_signed_body_still_has_to_be_canonical() {
        let key = Key::from_bytes(&[1; 32]).unwrap();
        let domain = Domain { chain_id: 1, vault: Address::ZERO };
        let text = "{ }\n()";
        let offer =
            Offer { provider: key.address(), body: keccak256(text.as_bytes()).into(), expires: NOW.plus_secs(9) };
        let signature = key.sign(offer.digest(&domain).as_bytes());
        assert!(matches!(read_offer(&offer, text, &signature, &domain, NOW), Err(ListingError::Body(_))));
    }
}
