//! Signatures: 64 compact bytes (EIP-2098), low s only, over 32-byte digests.
//!
//! The one place that knows the curve libraries. libsecp256k1 signs and
//! recovers, because it is several times as fast (`scripts/bench vouchers`
//! measures both); k256 holds the secret keys, which it forgets when they are
//! dropped, and the tests hold the one against the other.

use crate::keccak256;
use alloy_primitives::Address;
use core::{cell::RefCell, fmt};
use k256::ecdsa::SigningKey;
use secp256k1::{
    Message, PublicKey, SECP256K1, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Half of the curve's order: the highest s that is taken.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Out of range, high s, or a point that is not on the curve.
    #[error("malformed signature")]
    Malformed,
    /// A sound signature of somebody else.
    #[error("signed by {signed_by}, not by {expected}")]
    WrongSigner {
        /// Whose signature it is over this digest.
        signed_by: Address,
        /// Whose it had to be.
        expected: Address,
    },
    /// Not 64 bytes.
    #[error("a signature has 64 bytes")]
    Length,
    /// Bytes that are no secret key.
    #[error("not a secp256k1 secret key")]
    BadKey,
}

/// A compact signature: r (32 bytes), parity of y in the top bit and s (255 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps bytes; whether they are sound shows in [`Signature::recover`].
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes as instruments carry them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Whose signature over `digest` this is.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`] for anything the vault would refuse.
    pub fn recover(&self, digest: &[u8; 32]) -> Result<Address, SignatureError> {
        let mut bytes = self.0;
        let top = bytes.get_mut(32).ok_or(SignatureError::Malformed)?;
        let parity = if *top & 0x80 == 0 { RecoveryId::Zero } else { RecoveryId::One };
        *top &= 0x7f;
        if bytes.last_chunk::<32>().is_none_or(|s| *s > HALF_ORDER) {
            return Err(SignatureError::Malformed);
        }
        let signature = RecoverableSignature::from_compact(&bytes, parity).map_err(|_| SignatureError::Malformed)?;
        let key = SECP256K1
            .recover_ecdsa(Message::from_digest(*digest), &signature)
            .map_err(|_| SignatureError::Malformed)?;
        Ok(address_of(&key))
    }

    /// Checks that `signer` signed `digest`.
    ///
    /// # Errors
    /// [`SignatureError`] when it did not.
    pub fn check(&self, digest: &[u8; 32], signer: Address) -> Result<(), SignatureError> {
        let signed_by = self.recover(digest)?;
        if signed_by == signer { Ok(()) } else { Err(SignatureError::WrongSigner { signed_by, expected: signer }) }
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        alloy_primitives::FixedBytes::<64>(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        alloy_primitives::FixedBytes::<64>::deserialize(deserializer).map(|b| Self(b.0)).map_err(D::Error::custom)
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = SignatureError;

    fn try_from(bytes: &[u8]) -> Result<Self, SignatureError> {
        bytes.try_into().map(Self).map_err(|_| SignatureError::Length)
    }
}

/// Something that signs digests for one address. Signing is deterministic
/// (RFC 6979), so that a restart repeats itself.
///
/// # Safety of funds
/// A signature is money: persist what is signed before it leaves the process.
pub trait Signer {
    /// Whose signatures these are.
    fn address(&self) -> Address;
    /// Signs the digest.
    fn sign(&self, digest: &[u8; 32]) -> Signature;
}

/// A secp256k1 secret key. Shows only its address.
#[derive(Clone)]
pub struct Key {
    secret: SigningKey,
    address: Address,
}

impl Key {
    /// The key with these 32 bytes as its secret.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] when they are zero or above the curve's order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, SignatureError> {
        let held = SigningKey::from_slice(secret).map_err(|_| SignatureError::BadKey)?;
        let mut key = SecretKey::from_byte_array(*secret).map_err(|_| SignatureError::BadKey)?;
        let address = address_of(&key.public_key(SECP256K1));
        key.non_secure_erase();
        Ok(Self { secret: held, address })
    }

    /// The secret bytes, for a key file or a wallet.
    ///
    /// # Safety of funds
    /// Whoever reads them owns what the key owns.
    #[must_use]
    pub fn secret_bytes(&self) -> [u8; 32] {
        self.secret.to_bytes().into()
    }
}

impl Signer for Key {
    fn address(&self) -> Address {
        self.address
    }

    fn sign(&self, digest: &[u8; 32]) -> Signature {
        // A secret that k256 took is within the curve's order: the zero
        // signature, which recovers to nobody, is never given.
        let Ok(mut key) = SecretKey::from_byte_array(self.secret_bytes()) else {
            return Signature([0; 64]);
        };
        let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(*digest), &key);
        key.non_secure_erase();
        let (parity, mut bytes) = signature.serialize_compact();
        if let Some(top) = bytes.get_mut(32)
            && matches!(parity, RecoveryId::One | RecoveryId::Three)
        {
            *top |= 0x80;
        }
        Signature(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The places in which a thread remembers the addresses of keys, in 172 KB.
const REMEMBERED: usize = 2_048;

thread_local! {
    /// Each key in the place that its first two bytes choose, where a later one takes over: who signs once signs again,
    /// and a hash costs more than a look.
    static KNOWN: RefCell<Vec<([u8; 64], Address)>> = const { RefCell::new(Vec::new()) };
}

fn address_of(key: &PublicKey) -> Address {
    // SEC1's first byte says "uncompressed"; the address is the end of the hash of the 64 after it.
    let [_, point @ ..] = key.serialize_uncompressed();
    KNOWN.with_borrow_mut(|known| {
        // No key is zero.
        known.resize(REMEMBERED, ([0; 64], Address::ZERO));
        let [first, second, ..] = point;
        let place = usize::from(u16::from_be_bytes([first, second])) % REMEMBERED;
        match known.get_mut(place) {
            Some((have, address)) if *have == point => *address,
            Some(place) => {
                *place = (point, hashed(&point));
                place.1
            }
            None => hashed(&point),
        }
    })
}

fn hashed(point: &[u8; 64]) -> Address {
    keccak256(point).last_chunk::<20>().map_or(Address::ZERO, Address::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> Key {
        Key::from_bytes(&[byte; 32]).unwrap()
    }

    proptest! {
        #[test]
        fn sym_05_every_signature_recovers_to_its_signer(seed in 1_u8..255, digest: [u8; 32]) {
            let key = key(seed);
            let signature = key.sign(&digest);
            prop_assert_eq!(signature.recover(&digest), Ok(key.address()));
            prop_assert_eq!(key.sign(&digest), signature);
        }
    }

    /// The curve's order, and numbers beside the edges of what is taken.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae,
        0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ];

    fn beside(number: [u8; 32], by: i8) -> [u8; 32] {
        let number = alloy_primitives::U256::from_be_bytes(number);
        let by256 = alloy_primitives::U256::from(by.unsigned_abs());
        let moved = if by < 0 { number.wrapping_sub(by256) } else { number.wrapping_add(by256) };
        moved.to_be_bytes()
    }

    fn scalar() -> impl Strategy<Value = [u8; 32]> {
        let edges = [[0; 32], ORDER, HALF_ORDER, [0xff; 32], [0x7f; 32]];
        prop_oneof![
            (proptest::sample::select(edges.to_vec()), -2_i8..=2).prop_map(|(edge, by)| beside(edge, by)),
            any::<[u8; 32]>(),
            (any::<[u8; 32]>(), Just(0_u8)).prop_map(|(mut bytes, top)| {
                bytes[0] = top;
                bytes
            }),
        ]
    }

    /// What k256 makes of the same bytes.
    fn reference(bytes: &[u8; 64], digest: &[u8; 32]) -> Option<Address> {
        use k256::ecdsa::{RecoveryId, Signature as Reference, VerifyingKey};
        let mut bytes = *bytes;
        let odd = bytes[32] & 0x80 != 0;
        bytes[32] &= 0x7f;
        let signature = Reference::from_slice(&bytes).ok()?;
        if signature.normalize_s().is_some() {
            return None;
        }
        let key = VerifyingKey::recover_from_prehash(digest, &signature, RecoveryId::new(odd, false)).ok()?;
        Some(Address::from_raw_public_key(&key.to_encoded_point(false).as_bytes()[1..]))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn sym_05_both_libraries_agree_on_every_hostile_signature(
            (r, s, digest) in (scalar(), scalar(), scalar()),
            seed in 1_u8..255,
            edit in 0_usize..8,
            bit in 0_usize..512,
        ) {
            let key = key(seed);
            let honest = *key.sign(&digest).as_bytes();
            let mut bytes = honest;
            match edit {
                0 => {}
                1 => bytes[..32].copy_from_slice(&r),
                2 => bytes[32..].copy_from_slice(&s),
                3 => bytes = [r, s].concat().try_into().unwrap(),
                4 => bytes[32] ^= 0x80,
                5 => bytes[bit / 8] ^= 1 << (bit % 8),
                // Malleated: s turned into the order less s, with either parity.
                _ => {
                    let mut low: [u8; 32] = honest[32..].try_into().unwrap();
                    low[0] &= 0x7f;
                    let order = alloy_primitives::U256::from_be_bytes(ORDER);
                    let high = order - alloy_primitives::U256::from_be_bytes(low);
                    bytes[32..].copy_from_slice(&high.to_be_bytes::<32>());
                    if edit == 6 { bytes[32] ^= 0x80; }
                }
            }
            let ours = Signature(bytes).recover(&digest).ok();
            prop_assert_eq!(ours, reference(&bytes, &digest));
            prop_assert_eq!(ours == Some(key.address()), bytes == honest, "one signature a key and digest");
        }

        #[test]
        fn sym_05_both_libraries_sign_alike(secret: [u8; 32], digest: [u8; 32]) {
            let (Ok(ours), Ok(theirs)) = (Key::from_bytes(&secret), SigningKey::from_slice(&secret)) else {
                return Ok(());
            };
            let (signature, parity) = theirs.sign_prehash_recoverable(&digest).unwrap();
            let mut bytes: [u8; 64] = signature.to_bytes().into();
            bytes[32] |= u8::from(parity.is_y_odd()) << 7;
            prop_assert_eq!(*ours.sign(&digest).as_bytes(), bytes);
            let point = theirs.verifying_key().to_encoded_point(false);
            prop_assert_eq!(ours.address(), Address::from_raw_public_key(&point.as_bytes()[1..]));
        }
    }

    #[test]
    fn sym_05_the_edges_of_r_s_and_secrets() {
        let (digest, one) = ([7; 32], beside([0; 32], 1));
        let refused = |r: [u8; 32], s: [u8; 32]| {
            let bytes = [r, s].concat().try_into().unwrap();
            assert_eq!(Signature(bytes).recover(&digest), Err(SignatureError::Malformed), "{r:?} {s:?}");
        };
        let r: [u8; 32] = key(1).sign(&digest).as_bytes()[..32].try_into().unwrap();
        refused([0; 32], one);
        refused(r, [0; 32]);
        refused(ORDER, one);
        refused(beside(ORDER, 1), one);
        refused(r, beside(HALF_ORDER, 1));
        refused([0; 32], [0; 32]);
        // No point has this x.
        refused(beside([0; 32], 5), one);
        let top: [u8; 64] = [r, HALF_ORDER].concat().try_into().unwrap();
        assert!(Signature(top).recover(&digest).is_ok(), "the highest s that is taken");
        let signature = key(1).sign(&digest);
        assert!(matches!(signature.check(&digest, Address::ZERO), Err(SignatureError::WrongSigner { .. })));
        assert!(matches!(Signature::try_from([0; 63].as_slice()), Err(SignatureError::Length)));
        for secret in [[0; 32], ORDER, beside(ORDER, 1), [0xff; 32]] {
            assert!(matches!(Key::from_bytes(&secret), Err(SignatureError::BadKey)));
        }
        let last = beside(ORDER, -1);
        assert_eq!(Key::from_bytes(&last).unwrap().secret_bytes(), last);
    }

    #[test]
    fn sym_05_an_address_is_its_keys_whichever_keys_came_before() {
        // More keys than are remembered, so that many share a place, and each twice.
        let count = 2 * u16::try_from(REMEMBERED).unwrap();
        for _ in 0..2 {
            for number in 1..=count {
                let mut secret = [0; 32];
                secret[30..].copy_from_slice(&number.to_be_bytes());
                let point = *SigningKey::from_slice(&secret).unwrap().verifying_key();
                let expected = Address::from_raw_public_key(&point.to_encoded_point(false).as_bytes()[1..]);
                assert_eq!(Key::from_bytes(&secret).unwrap().address(), expected, "{number}");
            }
        }
    }

    #[test]
    fn n10_a_key_never_shows_its_secret() {
        assert!(!format!("{:?}", key(0x11)).contains("1111111111"));
    }
}
