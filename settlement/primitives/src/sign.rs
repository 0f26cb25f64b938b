//! Signatures: 64 compact bytes (EIP-2098), low s only, over 32-byte digests.
//!
//! The one place that knows the curve library, so that a faster one can take
//! its place without anybody noticing.

use alloy_primitives::Address;
use core::fmt;
use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

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
        let odd = *top & 0x80 != 0;
        *top &= 0x7f;
        let signature = EcdsaSignature::from_slice(&bytes).map_err(|_| SignatureError::Malformed)?;
        if signature.normalize_s().is_some() {
            return Err(SignatureError::Malformed);
        }
        let key = VerifyingKey::recover_from_prehash(digest, &signature, RecoveryId::new(odd, false))
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
        let secret = SigningKey::from_slice(secret).map_err(|_| SignatureError::BadKey)?;
        let address = address_of(secret.verifying_key());
        Ok(Self { secret, address })
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
        // Signing a 32-byte prehash fails only for a digest of another length,
        // which the type rules out; the zero signature recovers to nobody.
        let Ok((signature, recovery)) = self.secret.sign_prehash_recoverable(digest) else {
            return Signature([0; 64]);
        };
        let mut bytes: [u8; 64] = signature.to_bytes().into();
        if let Some(top) = bytes.get_mut(32)
            && recovery.is_y_odd()
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

fn address_of(key: &VerifyingKey) -> Address {
    // SEC1's first byte says "uncompressed"; the address is of the 64 after it.
    let point = key.to_encoded_point(false);
    Address::from_raw_public_key(point.as_bytes().get(1..).unwrap_or_default())
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

    #[test]
    fn sym_05_malleated_and_zero_signatures_are_refused() {
        use k256::elliptic_curve::ops::Neg;
        let digest = [7; 32];
        let signature = key(1).sign(&digest);
        let mut bytes = *signature.as_bytes();
        let odd = bytes[32] & 0x80 != 0;
        bytes[32] &= 0x7f;
        let (r, s) = EcdsaSignature::from_slice(&bytes).unwrap().split_scalars();
        let high = EcdsaSignature::from_scalars(*r, s.neg()).unwrap();
        let mut high: [u8; 64] = high.to_bytes().into();
        // The high s does not fit beside the parity bit or is refused as high.
        if !odd {
            high[32] |= 0x80;
        }
        assert_ne!(Signature(high).recover(&digest), Ok(key(1).address()));
        assert_eq!(Signature([0; 64]).recover(&digest), Err(SignatureError::Malformed));
        assert!(matches!(signature.check(&digest, Address::ZERO), Err(SignatureError::WrongSigner { .. })));
    }

    #[test]
    fn n10_a_key_never_shows_its_secret() {
        assert!(!format!("{:?}", key(0x11)).contains("1111111111"));
    }
}
