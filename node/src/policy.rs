//! What a node puts into agreements and what it accepts in them.

use serde::{Deserialize, Serialize};
use symbolon_primitives::{Agreement, Amount, ProfileId, Royalty, Timestamp};

/// Times and depths of a network: long ones where blocks are slow and money is
/// real, short ones on a devnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Blocks below which chain state counts.
    pub depth: u16,
    /// Above this much, chain state counts at the `finalized` block.
    pub finality_threshold: Amount,
    /// Waiting after a deadline before silence counts.
    pub wait_secs: u32,
    /// From commit-by to reserve-by.
    pub reserve_secs: u32,
    /// From an order's signing to its settle-by.
    pub settle_secs: u32,
    /// How long outputs are kept after reserve-by.
    pub keep_secs: u32,
    /// How long before a channel's expiry the payee stops relying on it.
    pub margin_secs: u32,
    /// How long channels are opened for.
    pub expiry_secs: u32,
    /// After a quorum stands, before the payer counts as silent.
    pub silence_secs: u32,
    /// Between two replicas' turns at settling by quorum.
    pub spacing_secs: u32,
    /// How long demands and offers count.
    pub offer_secs: u32,
    /// Between two looks at the chain.
    pub poll_millis: u64,
}

impl Timing {
    /// For chains with money on them.
    pub const PUBLIC: Self = Self {
        depth: 12,
        finality_threshold: Amount::from_u64(1_000_000_000_000_000_000),
        wait_secs: 10,
        reserve_secs: 600,
        settle_secs: 6 * 3600,
        keep_secs: 24 * 3600,
        margin_secs: 24 * 3600,
        expiry_secs: 7 * 24 * 3600,
        silence_secs: 120,
        spacing_secs: 60,
        offer_secs: 600,
        poll_millis: 6000,
    };

    /// For a local chain with a block a second.
    pub const DEVNET: Self = Self {
        depth: 1,
        finality_threshold: Amount::MAX,
        wait_secs: 1,
        reserve_secs: 10,
        settle_secs: 300,
        keep_secs: 600,
        margin_secs: 60,
        expiry_secs: 3600,
        silence_secs: 5,
        spacing_secs: 3,
        offer_secs: 60,
        poll_millis: 500,
    };

    /// How long a silent payer is waited for and every replica has had its turn at settling.
    #[must_use]
    pub fn settling_secs(&self) -> u64 {
        let turns = u64::from(self.spacing_secs).saturating_mul(symbolon_primitives::order::MAX_LEAVES as u64 + 1);
        turns.saturating_add(self.silence_secs.into())
    }

    /// From an order's signing to the last replica's turn at settling it, when
    /// everything takes as long as it may (SYM-10).
    #[must_use]
    pub fn order_secs(&self, commit_secs: u32, reserve_secs: u32, wait_secs: u32) -> u64 {
        let rounds = u64::from(commit_secs).saturating_add(reserve_secs.into());
        rounds.saturating_add(u64::from(wait_secs).saturating_mul(4)).saturating_add(self.settling_secs())
    }

    /// The timing of the quorum machine.
    #[must_use]
    pub fn quorum(&self) -> symbolon_quorum::Timing {
        symbolon_quorum::Timing {
            wait_secs: self.wait_secs.into(),
            silence_secs: self.silence_secs.into(),
            spacing_secs: self.spacing_secs.into(),
        }
    }
}

/// What a provider insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderTerms {
    /// Price of an order.
    pub flat: Amount,
    /// Price of one Gfuel.
    pub rate: Amount,
    /// The determinism profile it serves.
    pub profile: ProfileId,
    /// The most it works ahead of its money, for one payer key.
    pub exposure_limit: Amount,
    /// Its network's times.
    pub timing: Timing,
    /// The longest it works on one order before its commit.
    pub max_commit_secs: u32,
    /// The longest an agreement may run.
    pub max_agreement_secs: u32,
    /// The most of its price that may go to the author of the code, in basis points.
    pub max_royalty_bps: u16,
}

/// Why a provider does not sign terms as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsRefused {
    /// Another profile than this node serves.
    #[error("profile {0} is not served here")]
    Profile(ProfileId),
    /// The agreement is over before it begins, or runs too long.
    #[error("valid until {0} is past or too far")]
    ValidUntil(Timestamp),
    /// The author would get more than this provider lets go.
    #[error("a royalty of {have} basis points, at most {most} here")]
    Royalty {
        /// What the draft asks.
        have: u16,
        /// What the provider allows.
        most: u16,
    },
    /// Settle-by lies beyond what a stake without a timer covers, or before the reserves' deadline.
    #[error("deadlines do not follow one another")]
    Deadlines,
}

impl ProviderTerms {
    /// The draft with this provider's own terms in place of what it does not
    /// accept. Equal to the draft when everything is fine.
    ///
    /// # Errors
    /// [`TermsRefused`] for what no counter can mend.
    pub fn counter(&self, draft: &Agreement, now: Timestamp) -> Result<Agreement, TermsRefused> {
        if draft.profile != self.profile {
            return Err(TermsRefused::Profile(draft.profile));
        }
        if draft.valid_until <= now || draft.valid_until > now.plus_secs(self.max_agreement_secs.into()) {
            return Err(TermsRefused::ValidUntil(draft.valid_until));
        }
        let (have, most) = (draft.royalty.bps(), self.max_royalty_bps);
        if have > most {
            return Err(TermsRefused::Royalty { have, most });
        }
        let timing = &self.timing;
        let counter = Agreement {
            flat: draft.flat.max(self.flat),
            rate: draft.rate.max(self.rate),
            royalty: draft.royalty,
            exposure_limit: draft.exposure_limit.min(self.exposure_limit),
            finality_threshold: draft.finality_threshold.min(timing.finality_threshold),
            depth: draft.depth.max(timing.depth),
            commit_secs: draft.commit_secs.clamp(1, self.max_commit_secs),
            reserve_secs: draft.reserve_secs.clamp(1, self.max_commit_secs.max(timing.reserve_secs)),
            settle_secs: draft.settle_secs.clamp(timing.settle_secs, UNSTAKE_SECS),
            keep_secs: draft.keep_secs.min(timing.keep_secs),
            margin_secs: draft.margin_secs.max(timing.margin_secs),
            ..*draft
        };
        let needed = timing.order_secs(counter.commit_secs, counter.reserve_secs, counter.wait_secs);
        let settle_secs = counter.settle_secs.max(u32::try_from(needed).unwrap_or(u32::MAX));
        if !(1..=timing.wait_secs.max(1)).contains(&counter.wait_secs) || settle_secs > UNSTAKE_SECS {
            return Err(TermsRefused::Deadlines);
        }
        Ok(Agreement { settle_secs, ..counter })
    }
}

/// The vault's stake timer, 14 days: no settle-by lies further away (SYM-15).
pub const UNSTAKE_SECS: u32 = 14 * 24 * 3600;

/// What a requestor would sign with a provider, before the names are filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestorTerms {
    /// The most it pays for an order.
    pub max_flat: Amount,
    /// The most it pays for one Gfuel.
    pub max_rate: Amount,
    /// The profile its work needs.
    pub profile: ProfileId,
    /// The royalty of the code's author.
    pub royalty: Royalty,
    /// How long providers may work on one order.
    pub commit_secs: u32,
    /// The exposure it proposes.
    pub exposure_limit: Amount,
    /// How long agreements run.
    pub agreement_secs: u32,
    /// Its network's times.
    pub timing: Timing,
}

impl RequestorTerms {
    /// Whether a counter of the draft still lies within what this requestor signs.
    #[must_use]
    pub fn accepts(&self, draft: &Agreement, counter: &Agreement) -> bool {
        let free = Agreement {
            flat: counter.flat,
            rate: counter.rate,
            exposure_limit: counter.exposure_limit,
            finality_threshold: counter.finality_threshold,
            depth: counter.depth,
            commit_secs: counter.commit_secs,
            reserve_secs: counter.reserve_secs,
            wait_secs: counter.wait_secs,
            settle_secs: counter.settle_secs,
            keep_secs: counter.keep_secs,
            margin_secs: counter.margin_secs,
            ..*draft
        };
        free == *counter
            // Never dearer than what was offered, and never a deadline that
            // honest members of the same order could not keep.
            && counter.flat <= draft.flat
            && counter.rate <= draft.rate
            && counter.commit_secs >= draft.commit_secs
            && counter.reserve_secs >= draft.reserve_secs
            && counter.wait_secs == draft.wait_secs
            && counter.settle_secs >= draft.settle_secs
            && counter.depth <= draft.depth.saturating_mul(2).max(64)
            && counter.settle_secs <= UNSTAKE_SECS
            && counter.keep_secs > 0
            && u64::from(counter.margin_secs).saturating_add(counter.settle_secs.into())
                < u64::from(self.timing.expiry_secs)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_primitives::{Address, DemandDigest, OfferDigest};

    fn draft(rate: u64) -> Agreement {
        let timing = Timing::DEVNET;
        Agreement {
            demand: DemandDigest::default(),
            offer: OfferDigest::default(),
            owner: Address::repeat_byte(1),
            payer: Address::repeat_byte(1),
            payee: Address::repeat_byte(2),
            royalty: Royalty::NONE,
            flat: Amount::ZERO,
            rate: Amount::from_u64(rate),
            profile: ProfileId::default(),
            exposure_limit: Amount::from_u64(100),
            finality_threshold: timing.finality_threshold,
            depth: timing.depth,
            commit_secs: 5,
            reserve_secs: timing.reserve_secs,
            wait_secs: timing.wait_secs,
            settle_secs: timing.settle_secs,
            keep_secs: timing.keep_secs,
            margin_secs: timing.margin_secs,
            valid_until: Timestamp(100),
        }
    }

    fn provider() -> ProviderTerms {
        ProviderTerms {
            flat: Amount::ZERO,
            rate: Amount::from_u64(5),
            profile: ProfileId::default(),
            exposure_limit: Amount::from_u64(50),
            timing: Timing::DEVNET,
            max_commit_secs: 60,
            max_agreement_secs: 1000,
            max_royalty_bps: 2_000,
        }
    }

    fn requestor() -> RequestorTerms {
        RequestorTerms {
            max_flat: Amount::ZERO,
            max_rate: Amount::from_u64(5),
            profile: ProfileId::default(),
            royalty: Royalty::NONE,
            commit_secs: 5,
            exposure_limit: Amount::from_u64(100),
            agreement_secs: 100,
            timing: Timing::DEVNET,
        }
    }

    #[test]
    fn a_counter_asks_for_the_providers_own_price_and_settles() {
        let now = Timestamp(10);
        let counter = provider().counter(&draft(1), now).unwrap();
        assert_eq!((counter.rate, counter.exposure_limit), (Amount::from_u64(5), Amount::from_u64(50)));
        assert!(!requestor().accepts(&draft(1), &counter), "dearer than offered");
        let limited = provider().counter(&draft(5), now).unwrap();
        assert!(requestor().accepts(&draft(5), &limited));
        assert_eq!(provider().counter(&counter, now), Ok(counter), "its own counter needs no counter");
    }

    #[test]
    fn nothing_but_prices_times_and_limits_is_open() {
        let base = draft(5);
        for change in [
            Agreement { payee: Address::ZERO, ..base },
            Agreement { payer: Address::ZERO, ..base },
            Agreement { profile: ProfileId::from_bytes([1; 32]), ..base },
            Agreement { valid_until: Timestamp(101), ..base },
            Agreement { keep_secs: 0, ..base },
            Agreement { settle_secs: UNSTAKE_SECS + 1, ..base },
            Agreement { margin_secs: 3600, ..base },
            Agreement { rate: Amount::from_u64(6), ..base },
            Agreement { flat: Amount::from_u64(1), ..base },
            Agreement { commit_secs: 4, ..base },
            Agreement { settle_secs: base.settle_secs - 1, ..base },
            Agreement { wait_secs: base.wait_secs + 1, ..base },
        ] {
            assert!(!requestor().accepts(&base, &change));
        }
    }

    #[test]
    fn sym_16_a_royalty_that_leaves_the_provider_nothing_is_refused() {
        let royalty = Royalty::new(Address::repeat_byte(9), 10_000).unwrap();
        let greedy = Agreement { royalty, ..draft(5) };
        let refused = Err(TermsRefused::Royalty { have: 10_000, most: 2_000 });
        assert_eq!(provider().counter(&greedy, Timestamp(10)), refused);
    }

    #[test]
    fn sym_10_terms_leave_every_replica_its_turn_at_settling() {
        let hasty = Agreement { commit_secs: 60, reserve_secs: 60, settle_secs: 60, ..draft(5) };
        let counter = provider().counter(&hasty, Timestamp(10)).unwrap();
        assert!(u64::from(counter.settle_secs) >= Timing::DEVNET.order_secs(60, 60, counter.wait_secs));
        assert!(counter.settle_secs >= Timing::DEVNET.settle_secs);
        let slow = Agreement { wait_secs: 2, ..draft(5) };
        assert_eq!(provider().counter(&slow, Timestamp(10)), Err(TermsRefused::Deadlines));
    }

    #[test]
    fn sym_15_no_settle_by_outlives_the_stake_timer() {
        let far = Agreement { settle_secs: u32::MAX, ..draft(5) };
        assert_eq!(provider().counter(&far, Timestamp(10)).unwrap().settle_secs, UNSTAKE_SECS);
        let over = Agreement { valid_until: Timestamp(10), ..draft(5) };
        assert_eq!(provider().counter(&over, Timestamp(10)), Err(TermsRefused::ValidUntil(Timestamp(10))));
    }
}
