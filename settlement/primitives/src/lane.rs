//! Lanes: what tells the channels of one payer and one payee apart, and the
//! royalty that rides on them (SYM-16).

use crate::Amount;
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// Why a lane is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// A share above the whole.
    #[error("royalty of {bps} basis points, at most 10000")]
    ShareTooLarge {
        /// The share asked for.
        bps: u16,
    },
    /// A share for nobody.
    #[error("a royalty of {bps} basis points needs an author")]
    NoAuthor {
        /// The share asked for.
        bps: u16,
    },
}

/// Author (20 bytes) and basis points (2): the upper 22 bytes of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Royalty {
    author: Address,
    bps: u16,
}

impl Royalty {
    /// No royalty.
    pub const NONE: Self = Self { author: Address::ZERO, bps: 0 };

    /// A share of every payment for the author of the code.
    ///
    /// # Errors
    /// [`LaneError`] for more than 10,000 basis points or a share without an author.
    pub fn new(author: Address, bps: u16) -> Result<Self, LaneError> {
        if bps > 10_000 {
            return Err(LaneError::ShareTooLarge { bps });
        }
        if author.is_zero() && bps != 0 {
            return Err(LaneError::NoAuthor { bps });
        }
        Ok(Self { author, bps })
    }

    /// Who is credited; zero means nobody.
    #[must_use]
    pub const fn author(self) -> Address {
        self.author
    }

    /// The share in basis points.
    #[must_use]
    pub const fn bps(self) -> u16 {
        self.bps
    }

    /// The 22 bytes that stand in a work order.
    #[must_use]
    pub fn to_bytes22(self) -> [u8; 22] {
        let mut bytes = [0; 22];
        let (author, bps) = bytes.split_at_mut(20);
        author.copy_from_slice(self.author.as_slice());
        bps.copy_from_slice(&self.bps.to_be_bytes());
        bytes
    }

    /// The channel number `number` under this royalty.
    #[must_use]
    pub fn lane(self, number: u16) -> Lane {
        let mut bytes = [0; 32];
        let (royalty, rest) = bytes.split_at_mut(22);
        royalty.copy_from_slice(&self.to_bytes22());
        let (_, low) = rest.split_at_mut(8);
        low.copy_from_slice(&number.to_be_bytes());
        Lane(B256::new(bytes))
    }
}

/// A channel's lane: royalty (22 bytes) and number (10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lane(B256);

impl Lane {
    /// Wraps the chain's word.
    #[must_use]
    pub const fn from_word(word: B256) -> Self {
        Self(word)
    }

    /// The word as the chain carries it.
    #[must_use]
    pub const fn word(self) -> B256 {
        self.0
    }

    /// What the author was credited once `claimed` is paid on this lane: floor of its share (SYM-16).
    #[must_use]
    pub fn author_share_down(self, claimed: Amount) -> Amount {
        let [.., high, low, _, _, _, _, _, _, _, _, _, _]: [u8; 32] = self.0.0;
        let has_author = self.0.0.iter().take(20).any(|byte| *byte != 0);
        let bps = if has_author { u128::from(u16::from_be_bytes([high, low])) } else { 0 };
        // An amount has 96 bits, a share at most 14 more.
        Amount::new(claimed.get().saturating_mul(bps) / 10_000).unwrap_or(claimed).min(claimed)
    }

    /// The royalty of every payment in this lane.
    ///
    /// # Errors
    /// [`LaneError`] for a lane that no vault opens.
    pub fn royalty(self) -> Result<Royalty, LaneError> {
        let (author, rest) = self.0.0.split_at(20);
        let bps = rest.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes));
        Royalty::new(Address::from_slice(author), bps)
    }

    /// Whether an order's leaf with this lane number means this very lane. A
    /// leaf carries 16 bits of the number, so longer numbers have no orders.
    #[must_use]
    pub fn is_order_lane(self, number: u16) -> bool {
        self.royalty().is_ok_and(|royalty| royalty.lane(number) == self)
    }

    /// The low 16 bits of the number, as a roster's leaf carries them.
    #[must_use]
    pub const fn number16(self) -> u16 {
        let [.., high, low] = self.0.0;
        u16::from_be_bytes([high, low])
    }
}

impl core::fmt::Display for Lane {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sym_16_a_lane_is_author_share_and_number() {
        let author = Address::repeat_byte(0xaa);
        let royalty = Royalty::new(author, 250);
        assert!(royalty.is_ok_and(|royalty| {
            let word = royalty.lane(0x0102).word();
            word.0.starts_with(author.as_slice())
                && word.0.ends_with(&[0, 250, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2])
                && royalty.lane(0x0102).number16() == 0x0102
        }));
        assert_eq!(Royalty::new(author, 10_001), Err(LaneError::ShareTooLarge { bps: 10_001 }));
        assert_eq!(Royalty::new(Address::ZERO, 1), Err(LaneError::NoAuthor { bps: 1 }));
        assert!(Royalty::new(author, 10_000).is_ok());
    }

    #[test]
    fn sym_16_an_authors_share_rounds_down_and_is_nobodys_without_an_author() {
        let share = |bps, claimed: u64| {
            let royalty = Royalty::new(Address::repeat_byte(0xaa), bps).unwrap_or_default();
            royalty.lane(7).author_share_down(Amount::from_u64(claimed)).get()
        };
        assert_eq!(
            (share(250, 39), share(250, 40), share(250, 10_000), share(10_000, 7), share(0, 7)),
            (0, 1, 250, 7, 0)
        );
        assert_eq!(Royalty::NONE.lane(0xffff).author_share_down(Amount::MAX), Amount::ZERO);
        let word = B256::repeat_byte(0xff);
        assert_eq!(Lane::from_word(word).author_share_down(Amount::MAX), Amount::MAX);
        let mut nobodys = word;
        nobodys.0.iter_mut().take(20).for_each(|byte| *byte = 0);
        assert_eq!(Lane::from_word(nobodys).author_share_down(Amount::MAX), Amount::ZERO);
    }

    #[test]
    fn sym_16_a_lane_names_its_royalty_and_only_short_numbers_have_orders() {
        let author = Address::repeat_byte(0xaa);
        let royalty = Royalty::new(author, 250).unwrap_or_default();
        let lane = royalty.lane(7);
        assert_eq!(lane.royalty(), Ok(royalty));
        assert!(lane.is_order_lane(7) && !lane.is_order_lane(6));
        let mut long = lane.word().0;
        long[24] = 1;
        let long = Lane::from_word(B256::new(long));
        assert_eq!((long.number16(), long.royalty()), (7, Ok(royalty)));
        assert!(!long.is_order_lane(7), "a number above 16 bits is another lane");
        let unsound = Lane::from_word(B256::repeat_byte(0xff));
        assert_eq!(unsound.royalty(), Err(LaneError::ShareTooLarge { bps: 0xffff }));
        assert!(!unsound.is_order_lane(0xffff));
    }
}
