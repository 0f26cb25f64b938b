//! Identifiers: newtypes over 32 bytes that do not convert into each other.

use alloy_primitives::B256;
use core::{fmt, str::FromStr};
use serde::{Deserialize, Serialize};

/// A text that is not 32 bytes of hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
#[non_exhaustive]
pub struct ParseIdError;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(B256);

        impl $name {
            /// Wraps the bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(B256::new(bytes))
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0.0
            }

            /// The bytes as the EVM's word.
            #[must_use]
            pub const fn word(self) -> B256 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in self.0 {
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let digits = text.strip_prefix("0x").unwrap_or(text);
                if digits.len() != 64 {
                    return Err(ParseIdError);
                }
                digits.parse::<B256>().map(Self).map_err(|_| ParseIdError)
            }
        }
    )*};
}

ids! {
    /// Reference of a byte string: the root of its Swarm chunk tree.
    ContentRef;
    /// What a workunit is, whoever runs it and whenever (SYM-34).
    WorkunitId;
    /// Hash of a determinism profile's text (SYM-31b).
    ProfileId;
    /// Reference of one workunit's canonical result manifest (SYM-36).
    ResultRoot;
    /// Salted Merkle root over an order's workunit results.
    ResultsRoot;
    /// Full EIP-712 digest of a [`crate::WorkOrder`].
    OrderDigest;
    /// Full EIP-712 digest of an [`crate::Agreement`].
    AgreementDigest;
    /// Full EIP-712 digest of an [`crate::Offer`].
    OfferDigest;
    /// Full EIP-712 digest of a [`crate::Demand`].
    DemandDigest;
    /// What a replica commits to: keccak256(abi.encode(order, provider, results root, fuel, nonce)).
    Seal;
    /// A requestor's own name for one job.
    JobId;
    /// The random word that hides a sealed answer until it is shown.
    Nonce;
    /// The random word that makes an order's results root unguessable.
    Salt;
}
