//! Amounts of a settlement token, in base units, at most 2^96 - 1 as on chain.

use alloy_primitives::{U256, aliases::U96};
use core::{fmt, str::FromStr};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An amount of the vault's token in base units. Never above [`Amount::MAX`]: there is no way past the check.
///
/// ```
/// use symbolon_primitives::Amount;
///
/// assert!(Amount::new(1 << 96).is_err());
/// ```
///
/// ```compile_fail,E0423
/// use symbolon_primitives::Amount;
///
/// let too_large = Amount(1 << 96);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

/// Why a number is no amount, or an operation on amounts has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// The sum or the number lies above 2^96 - 1.
    #[error("amount above 2^96 - 1 base units")]
    TooLarge,
    /// More would be taken than there is.
    #[error("have {have}, need {need}")]
    Insufficient {
        /// What there is.
        have: Amount,
        /// What would be taken.
        need: Amount,
    },
    /// The text is no decimal integer.
    #[error("not a whole number of base units")]
    NotANumber,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount the chain can hold in a slot: 2^96 - 1.
    pub const MAX: Self = Self((1 << 96) - 1);

    /// An amount of `base` units.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] above [`Amount::MAX`].
    pub const fn new(base: u128) -> Result<Self, AmountError> {
        if base > Self::MAX.0 { Err(AmountError::TooLarge) } else { Ok(Self(base)) }
    }

    /// An amount that always fits.
    #[must_use]
    pub const fn from_u64(base: u64) -> Self {
        Self(base as u128)
    }

    /// The base units.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] above [`Amount::MAX`].
    pub const fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        match self.0.checked_add(other.0) {
            Some(sum) => Self::new(sum),
            None => Err(AmountError::TooLarge),
        }
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountError::Insufficient`] when `other` is more.
    pub const fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Ok(Self(rest)),
            None => Err(AmountError::Insufficient { have: self, need: other }),
        }
    }

    /// The difference, or nothing when `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `count` times this amount.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] above [`Amount::MAX`].
    pub const fn checked_mul(self, count: u64) -> Result<Self, AmountError> {
        match self.0.checked_mul(count as u128) {
            Some(product) => Self::new(product),
            None => Err(AmountError::TooLarge),
        }
    }

    /// The sum of many.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] above [`Amount::MAX`].
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, AmountError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// The amount as the bindings carry it.
    #[must_use]
    pub fn to_u96(self) -> U96 {
        U96::from(self.0)
    }

    /// The amount the bindings carry.
    #[must_use]
    pub fn from_u96(value: U96) -> Self {
        Self(value.to::<u128>())
    }

    /// Twelve big-endian bytes, as packed records carry it.
    #[must_use]
    pub fn to_be_bytes12(self) -> [u8; 12] {
        self.to_u96().to_be_bytes::<12>()
    }

    /// An amount from a 256-bit word.
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] above [`Amount::MAX`].
    pub fn from_u256(value: U256) -> Result<Self, AmountError> {
        u128::try_from(value).map_err(|_| AmountError::TooLarge).and_then(Self::new)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AmountError::NotANumber);
        }
        text.parse::<u128>().map_err(|_| AmountError::TooLarge).and_then(Self::new)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(&self.0) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        } else {
            Self::new(u128::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_edges_of_an_amount() {
        assert_eq!(Amount::new(Amount::MAX.get() + 1), Err(AmountError::TooLarge));
        assert_eq!(Amount::MAX.checked_add(Amount::from_u64(1)), Err(AmountError::TooLarge));
        assert_eq!(Amount::MAX.checked_add(Amount::ZERO), Ok(Amount::MAX));
        assert!(matches!(Amount::from_u64(1).checked_sub(Amount::from_u64(2)), Err(AmountError::Insufficient { .. })));
        assert_eq!("+5".parse::<Amount>(), Err(AmountError::NotANumber));
        assert_eq!("".parse::<Amount>(), Err(AmountError::NotANumber));
        assert_eq!("79228162514264337593543950335".parse::<Amount>(), Ok(Amount::MAX));
        assert_eq!("79228162514264337593543950336".parse::<Amount>(), Err(AmountError::TooLarge));
    }

    #[test]
    fn both_encodings_round_trip_and_refuse_too_much() {
        let json = serde_json::to_string(&Amount::MAX).unwrap();
        assert_eq!(json, "\"79228162514264337593543950335\"");
        assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), Amount::MAX);
        let bytes = postcard::to_allocvec(&Amount::MAX).unwrap();
        assert_eq!(postcard::from_bytes::<Amount>(&bytes).unwrap(), Amount::MAX);
        let over = postcard::to_allocvec(&(1_u128 << 96)).unwrap();
        assert!(postcard::from_bytes::<Amount>(&over).is_err());
    }
}
