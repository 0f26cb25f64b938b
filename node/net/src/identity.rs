//! The peer's own key, and proofs that a peer id stands behind a message.
//!
//! A peer id is a key of its own: it authenticates connections and signs
//! statements such as a provider's address. It never holds money. Ed25519 is
//! the only kind: its public key fits into the peer id, so a stranger can check
//! a statement knowing nothing but the id.

use std::fmt;

use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey, ed25519},
};

use crate::error::IdentityError;

/// Put before every statement, so that a signature made here can be neither a
/// handshake nor a gossip message, which the same key signs as well.
const STATEMENT_PREFIX: &[u8] = b"symbolon-peer-statement:1:";

/// An Ed25519 signature's length in bytes (RFC 8032).
const SIGNATURE_BYTES: usize = 64;

/// The longest encoded public key that is looked at; an Ed25519 one has 36 bytes.
const MAX_PUBLIC_KEY_BYTES: usize = 64;

/// The multihash code of a peer id that contains its own public key.
const INLINED: u64 = 0x00;

/// An Ed25519 key pair and the peer id that follows from it.
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
    signer: ed25519::Keypair,
    peer_id: PeerId,
}

impl Identity {
    /// A fresh identity from the operating system's randomness.
    pub fn generate() -> Self {
        Self::from_signer(ed25519::Keypair::generate())
    }

    /// The identity that 32 secret bytes determine.
    ///
    /// # Errors
    /// [`IdentityError::BadSecret`] if the bytes are refused by the curve's library.
    pub fn from_seed(mut seed: [u8; 32]) -> Result<Self, IdentityError> {
        let secret =
            ed25519::SecretKey::try_from_bytes(&mut seed).map_err(|source| IdentityError::BadSecret { source })?;
        Ok(Self::from_signer(ed25519::Keypair::from(secret)))
    }

    /// Reads an identity back from what [`Identity::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`IdentityError::BadSecret`] for bytes that are no key in libp2p's protobuf
    /// encoding, [`IdentityError::NotEd25519`] for a key of another kind.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let keypair = Keypair::from_protobuf_encoding(bytes).map_err(|source| IdentityError::BadSecret { source })?;
        let signer = keypair.try_into_ed25519().map_err(|_| IdentityError::NotEd25519)?;
        Ok(Self::from_signer(signer))
    }

    fn from_signer(signer: ed25519::Keypair) -> Self {
        let keypair = Keypair::from(signer.clone());
        let peer_id = keypair.public().to_peer_id();
        Self { keypair, signer, peer_id }
    }

    /// The secret key in libp2p's protobuf encoding. Whoever reads it is this peer.
    ///
    /// # Errors
    /// [`IdentityError::BadSecret`] if the library cannot encode the key.
    pub fn to_bytes(&self) -> Result<Vec<u8>, IdentityError> {
        self.keypair.to_protobuf_encoding().map_err(|source| IdentityError::BadSecret { source })
    }

    /// The id that other peers know this identity by.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The public key in libp2p's protobuf encoding (36 bytes).
    pub fn public_key(&self) -> Vec<u8> {
        self.keypair.public().encode_protobuf()
    }

    /// Signs a statement; checked by [`verify_peer_signature`]. 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signer.sign(&statement(message))
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

impl fmt::Debug for Identity {
    // Only the public half: a key never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer_id", &self.peer_id).finish_non_exhaustive()
    }
}

/// Checks that `peer` signed `message` with [`Identity::sign`].
///
/// `public_key` (libp2p's protobuf encoding) may be left out when the peer id
/// contains its key, as every Ed25519 id does; when given, it must be the one
/// that the id names.
///
/// # Errors
/// [`IdentityError`] says which part does not fit.
pub fn verify_peer_signature(
    peer: &PeerId,
    public_key: Option<&[u8]>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), IdentityError> {
    if signature.len() != SIGNATURE_BYTES {
        return Err(IdentityError::BadSignatureLength { len: signature.len() });
    }
    let multihash = peer.as_ref();
    let encoded = match public_key {
        Some(bytes) => bytes,
        None if multihash.code() == INLINED => multihash.digest(),
        None => return Err(IdentityError::KeyNotInlined { peer: *peer }),
    };
    if encoded.len() > MAX_PUBLIC_KEY_BYTES {
        return Err(IdentityError::NotEd25519);
    }
    let key = PublicKey::try_decode_protobuf(encoded).map_err(|source| IdentityError::BadPublicKey { source })?;
    let key = key.try_into_ed25519().map_err(|_| IdentityError::NotEd25519)?;
    let named = PublicKey::from(key.clone()).to_peer_id();
    if named != *peer {
        return Err(IdentityError::OtherKey { named });
    }
    if key.verify(&statement(message), signature) { Ok(()) } else { Err(IdentityError::WrongSignature { peer: *peer }) }
}

fn statement(message: &[u8]) -> Vec<u8> {
    [STATEMENT_PREFIX, message].concat()
}

#[cfg(test)]
mod tests {
    //! Keys round-trip, and statements bind one key to one message.
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identity_survives_its_encoding() {
        let identity = Identity::generate();
        let again = Identity::from_bytes(&identity.to_bytes().unwrap()).unwrap();
        assert_eq!(identity.peer_id(), again.peer_id());
        assert_eq!(identity.sign(b"x"), again.sign(b"x"));
    }

    #[test]
    fn a_seed_determines_the_identity() {
        let one = Identity::from_seed([7; 32]).unwrap();
        assert_eq!(one.peer_id(), Identity::from_seed([7; 32]).unwrap().peer_id());
        assert_ne!(one.peer_id(), Identity::from_seed([8; 32]).unwrap().peer_id());
    }

    #[test]
    fn a_statement_is_checked_by_the_peer_id_alone() {
        let identity = Identity::generate();
        let other = Identity::generate();
        let signature = identity.sign(b"provider 0x01");
        let check = |peer: &Identity, key: Option<&[u8]>, message: &[u8], signature: &[u8]| {
            verify_peer_signature(&peer.peer_id(), key, message, signature)
        };
        check(&identity, None, b"provider 0x01", &signature).unwrap();
        check(&identity, Some(&identity.public_key()), b"provider 0x01", &signature).unwrap();
        assert!(matches!(
            check(&identity, None, b"provider 0x02", &signature),
            Err(IdentityError::WrongSignature { .. })
        ));
        assert!(matches!(check(&other, None, b"provider 0x01", &signature), Err(IdentityError::WrongSignature { .. })));
        assert!(matches!(
            check(&other, Some(&identity.public_key()), b"provider 0x01", &signature),
            Err(IdentityError::OtherKey { .. })
        ));
        assert!(matches!(
            check(&identity, None, b"provider 0x01", signature.get(..63).unwrap()),
            Err(IdentityError::BadSignatureLength { len: 63 })
        ));
    }

    #[test]
    fn a_statement_is_no_raw_signature_of_the_same_key() {
        let identity = Identity::generate();
        let raw = identity.keypair().sign(b"provider 0x01").unwrap();
        assert!(verify_peer_signature(&identity.peer_id(), None, b"provider 0x01", &raw).is_err());
    }

    #[test]
    fn a_peer_id_without_its_key_needs_the_key() {
        let hashed = PeerId::from_multihash(libp2p::multihash::Multihash::<64>::wrap(0x12, &[1; 32]).unwrap()).unwrap();
        assert!(matches!(
            verify_peer_signature(&hashed, None, b"m", &[0; 64]),
            Err(IdentityError::KeyNotInlined { .. })
        ));
    }

    #[test]
    fn n10_debug_shows_no_secret() {
        let identity = Identity::from_seed([42; 32]).unwrap();
        let shown = format!("{identity:?}");
        assert!(shown.contains(&identity.peer_id().to_string()));
        assert!(!shown.contains("42, 42"));
        assert!(!shown.contains("2a2a"));
    }

    proptest! {
        #[test]
        fn n1_random_bytes_are_no_identity_and_no_proof(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            signature in proptest::collection::vec(any::<u8>(), 64),
        ) {
            let peer = Identity::from_seed([1; 32]).unwrap().peer_id();
            prop_assert!(Identity::from_bytes(&bytes).is_err());
            prop_assert!(verify_peer_signature(&peer, Some(&bytes), &bytes, &signature).is_err());
            prop_assert!(verify_peer_signature(&peer, None, &bytes, &signature).is_err());
        }
    }
}
