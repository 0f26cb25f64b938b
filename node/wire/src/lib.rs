//! What nodes say to each other: versioned messages, one encoding, hard limits.
//!
//! Layer 2, and the only crate that serialises for the network. A message is
//! one version byte and its postcard encoding. There is exactly one encoding
//! of a message: whatever does not re-encode to the same bytes is refused, so
//! that hashes and signatures over messages mean one thing (L13).

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use symbolon_primitives::{
    Address, Agreement, AgreementDigest, B256, Commit, ContentRef, Demand, Domain, Epoch, Lane, Nonce, Offer,
    OfferDigest, OrderDigest, ResultsRoot, Signature, SignatureError, SignedAgreement, SignedOrder, UnitResult,
    Voucher,
    watch::{Package, Watched},
};

/// The protocol version every message starts with.
pub const VERSION: u8 = 1;
/// The longest gossip message, in bytes.
pub const MAX_GOSSIP: usize = 1024;
/// The longest request, in bytes.
pub const MAX_REQUEST: usize = 2 << 20;
/// The longest response, in bytes.
pub const MAX_RESPONSE: usize = 2 << 20;
/// The most chunks asked for at once: with their headers they fit a response.
pub const MAX_CHUNKS: usize = 384;
/// The most addresses a peer may name for itself.
pub const MAX_ADDRS: usize = 4;
/// The topic of demands and offers.
pub const MARKET_TOPIC: &str = "symbolon/1/market";

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Longer than its kind may be.
    #[error("message of {have} bytes, at most {max}")]
    TooLong {
        /// Its length.
        have: usize,
        /// The limit.
        max: usize,
    },
    /// Another version of the protocol.
    #[error("protocol version {have}, this node speaks {VERSION}")]
    Version {
        /// The version it starts with.
        have: u8,
    },
    /// Not an encoding of such a message.
    #[error("malformed message")]
    Malformed,
    /// Decodes, but is not the one encoding of what it says.
    #[error("message is not in its canonical encoding")]
    NotCanonical,
}

/// Encodes a message.
///
/// # Errors
/// [`WireError::TooLong`] above `max` bytes.
pub fn encode<T: Serialize>(message: &T, max: usize) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![VERSION];
    bytes = postcard::to_extend(message, bytes).map_err(|_| WireError::Malformed)?;
    if bytes.len() > max {
        return Err(WireError::TooLong { have: bytes.len(), max });
    }
    Ok(bytes)
}

/// Decodes a message.
///
/// # Errors
/// [`WireError`] for anything but the canonical encoding of a message of at most `max` bytes.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, WireError> {
    if bytes.len() > max {
        return Err(WireError::TooLong { have: bytes.len(), max });
    }
    let (&have, body) = bytes.split_first().ok_or(WireError::Malformed)?;
    if have != VERSION {
        return Err(WireError::Version { have });
    }
    let message: T = postcard::from_bytes(body).map_err(|_| WireError::Malformed)?;
    if encode(&message, max).as_deref() != Ok(bytes) {
        return Err(WireError::NotCanonical);
    }
    Ok(message)
}

/// A demand as gossiped. Nothing of it counts before the market crate has
/// checked signature, expiry and body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDemand {
    /// What is signed.
    pub terms: Demand,
    /// The payer key's signature.
    pub signature: Signature,
    /// The text that `terms.body` is the hash of.
    pub body: String,
}

/// An offer as gossiped; see [`SignedDemand`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOffer {
    /// What is signed.
    pub terms: Offer,
    /// The provider's signature.
    pub signature: Signature,
    /// The text that `terms.body` is the hash of.
    pub body: String,
}

/// What is gossiped on [`MARKET_TOPIC`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gossip {
    /// Somebody looks for providers.
    Demand(SignedDemand),
    /// Somebody offers to work.
    Offer(SignedOffer),
}

/// A member of an order as the other members reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The provider.
    pub provider: Address,
    /// Bytes of its peer id.
    pub peer: Vec<u8>,
    /// Where it listens.
    pub addrs: Vec<String>,
}

/// keccak256 of the members' encoding: what an order's payer signs of them, so
/// that nobody speaks in another's place.
#[must_use]
pub fn members_hash(members: &[Member]) -> [u8; 32] {
    // Plain fields always encode; an empty hash matches nothing that is signed.
    postcard::to_allocvec(members).map(|bytes| symbolon_primitives::keccak256(&bytes)).unwrap_or_default()
}

/// An order with the ways to its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderMessage {
    /// The order.
    pub order: SignedOrder,
    /// One for each leaf, in roster order.
    pub members: Vec<Member>,
    /// Commits the sender holds, when it calls a reserve to round two.
    pub commits: Vec<SignedCommit>,
}

/// A Commit with its provider's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCommit {
    /// Who commits.
    pub provider: Address,
    /// To what.
    pub commit: Commit,
    /// The provider's signature.
    pub signature: Signature,
}

impl SignedCommit {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`SignatureError`] when the provider did not sign it.
    pub fn check(&self, domain: &Domain) -> Result<(), SignatureError> {
        self.signature.check(&self.commit.digest(domain), self.provider)
    }
}

/// A replica's answer, bound by its Commit (SYM-22).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerMessage {
    /// The order.
    pub order: OrderDigest,
    /// Whose answer it is.
    pub provider: Address,
    /// Salted root over the units.
    pub results_root: ResultsRoot,
    /// Sum of the units' fuel.
    pub fuel: u64,
    /// What hid the seal.
    pub nonce: Nonce,
    /// The workunits' results; the payer fetches bytes by them.
    pub units: Vec<UnitResult>,
    /// The Commits it held before it showed this.
    pub commits: Vec<SignedCommit>,
}

/// One signature over a Result with the seals of `members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultSignature {
    /// Bit i set: leaf i's seal is among the seals.
    pub members: u8,
    /// Hash of those seals in row order.
    pub seals: B256,
    /// The replica's signature.
    pub signature: Signature,
}

/// A replica's signed Results for an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsMessage {
    /// The order.
    pub order: OrderDigest,
    /// Whose they are.
    pub provider: Address,
    /// Root they name.
    pub results_root: ResultsRoot,
    /// Fuel they name.
    pub fuel: u64,
    /// One for each subset of equal answers of quorum size or more with itself in it.
    pub signatures: Vec<ResultSignature>,
}

/// What a provider answers to a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposalReply {
    /// It stands by its offer.
    Accepted,
    /// It has changed its offer since.
    Countered(Box<SignedOffer>),
    /// No: the market's reason code, and whether another try is pointless.
    Rejected {
        /// The reason's code.
        reason: u8,
        /// Whether it is the last word.
        last: bool,
    },
}

/// What one node asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Takes an offer as it stands: the demand, and the hashes of both bodies.
    Propose {
        /// The requestor's demand.
        demand: SignedDemand,
        /// The offer that is meant.
        offer: OfferDigest,
        /// Hash of the demand's body.
        demand_body: B256,
        /// Hash of the offer's body.
        offer_body: B256,
    },
    /// Countersign an agreement.
    Agree {
        /// The terms.
        terms: Agreement,
        /// The payer key's signature over them.
        payer_signature: Signature,
    },
    /// Fetch and compile a module that orders under an agreement will name,
    /// before any deadline runs; answered when it is ready.
    Prepare {
        /// The agreement.
        agreement: AgreementDigest,
        /// The module.
        module: ContentRef,
    },
    /// Take an order; answered once every input has arrived.
    Order(OrderMessage),
    /// Run as a reserve: round two has begun.
    CallReserve(OrderMessage),
    /// A member's Commit.
    Commit(SignedCommit),
    /// A member's answer.
    Answer(AnswerMessage),
    /// A member's signed Results.
    Results(ResultsMessage),
    /// A voucher for an order.
    Voucher {
        /// What it pays for.
        order: OrderDigest,
        /// The voucher.
        voucher: Voucher,
        /// The payer key's signature.
        signature: Signature,
    },
    /// Asks the payee to give an order up in writing.
    GiveUp {
        /// The order.
        order: OrderDigest,
    },
    /// Asks the payee to sign the release of a channel.
    Release {
        /// The payer key.
        payer: Address,
        /// The channel's lane.
        lane: Lane,
        /// The epoch to close.
        epoch: Epoch,
    },
    /// Chunks of a tree that the asking peer has a right to.
    Chunks {
        /// What gives the right.
        right: Right,
        /// The tree's root.
        root: ContentRef,
        /// Chunk addresses within it; at most [`MAX_CHUNKS`].
        addresses: Vec<[u8; 32]>,
    },
    /// Asks a watchtower to submit a package in time if nobody else does.
    Watch {
        /// What is to be collected.
        package: Package,
        /// For whom: the client.
        payee: Address,
        /// The client's signature (`watch_digest`).
        consent: Signature,
    },
}

/// What gives a peer the right to bytes (SYM-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Right {
    /// Both sides of an agreement: its module.
    Agreement(AgreementDigest),
    /// Members of an order: module and inputs. The payer of a paid one: outputs.
    Order(OrderDigest),
}

/// Why a request was refused: a code to act on and words to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What to do about it.
    pub code: RefusalCode,
    /// Why, in a sentence.
    pub reason: String,
}

/// What the asker should do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RefusalCode {
    /// Never ask this again.
    Never,
    /// Ask again later.
    Later,
    /// The asker has no right to it.
    Forbidden,
    /// Nothing is known of what it names.
    Unknown,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Taken, durably where it matters.
    Done,
    /// No.
    Refused(Refusal),
    /// The answer to a proposal.
    Proposal(ProposalReply),
    /// The terms the provider would sign instead.
    Terms(Box<Agreement>),
    /// The countersigned agreement.
    Agreed(Box<SignedAgreement>),
    /// A signature that was asked for.
    Signed(Signature),
    /// The chunks asked for, in order.
    Chunks(Vec<Chunk>),
    /// A watchtower's signed word that it holds a package.
    Watched {
        /// What it says.
        word: Watched,
        /// Which watchtower: the address that signed.
        tower: Address,
        /// Its signature.
        signature: Signature,
    },
}

/// A content chunk as stored: eight bytes of span and at most 4,096 of payload.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chunk(#[serde(with = "payload")] pub Vec<u8>);

impl core::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Chunk({} bytes)", self.0.len())
    }
}

/// Bytes as one string of bytes rather than a list of numbers.
mod payload {
    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use symbolon_primitives::{Key, Signer, Timestamp};

    fn demand(key: &Key, expires: u64) -> SignedDemand {
        let domain = Domain { chain_id: 31337, vault: Address::repeat_byte(1) };
        let terms = Demand { payer: key.address(), body: B256::repeat_byte(2), expires: Timestamp(expires) };
        SignedDemand { terms, signature: key.sign(terms.digest(&domain).as_bytes()), body: "{}\n()".into() }
    }

    #[test]
    fn a_message_has_one_encoding() {
        let key = Key::from_bytes(&[7; 32]).unwrap();
        let message = Gossip::Demand(demand(&key, 10));
        let bytes = encode(&message, MAX_GOSSIP).unwrap();
        assert_eq!(decode::<Gossip>(&bytes, MAX_GOSSIP), Ok(message.clone()));

        let mut trailing = bytes.clone();
        trailing.push(0);
        assert_eq!(decode::<Gossip>(&trailing, MAX_GOSSIP), Err(WireError::NotCanonical));
        let mut version = bytes.clone();
        *version.first_mut().unwrap() = 2;
        assert_eq!(decode::<Gossip>(&version, MAX_GOSSIP), Err(WireError::Version { have: 2 }));
        assert!(matches!(decode::<Gossip>(&bytes, 10), Err(WireError::TooLong { .. })));
        assert_eq!(decode::<Gossip>(&[], MAX_GOSSIP), Err(WireError::Malformed));
        // Variant 0 spelled with two varint bytes instead of one.
        let mut long = vec![VERSION, 0x80, 0x00];
        long.extend_from_slice(bytes.get(2..).unwrap());
        assert!(decode::<Gossip>(&long, MAX_GOSSIP).is_err());
    }

    #[test]
    fn a_full_answer_of_chunks_fits_a_response() {
        let chunk = Chunk(vec![0xff; 4104]);
        let response = Response::Chunks(vec![chunk; MAX_CHUNKS]);
        let bytes = encode(&response, MAX_RESPONSE).unwrap();
        assert_eq!(decode::<Response>(&bytes, MAX_RESPONSE), Ok(response));
    }

    proptest! {
        #[test]
        fn n1_no_bytes_panic_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = decode::<Request>(&bytes, MAX_REQUEST);
            let _ = decode::<Response>(&bytes, MAX_RESPONSE);
            let _ = decode::<Gossip>(&bytes, MAX_GOSSIP);
            let mut versioned = vec![VERSION];
            versioned.extend(bytes);
            let _ = decode::<Request>(&versioned, MAX_REQUEST);
        }
    }
}
