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
            wait_secs: draft.wait_secs.clamp(1, timing.wait_secs.max(1)),
            settle_secs: draft.settle_secs.clamp(timing.settle_secs, UNSTAKE_SECS),
            keep_secs: draft.keep_secs.min(timing.keep_secs),
            margin_secs: draft.margin_secs.max(timing.margin_secs),
            ..*draft
        };
        let round_two = u64::from(counter.commit_secs)
            .saturating_add(counter.wait_secs.into())
            .saturating_add(counter.reserve_secs.into());
        if round_two > u64::from(counter.settle_secs) {
            return Err(TermsRefused::Deadlines);
        }
        Ok(counter)
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
            && counter.flat <= self.max_flat
            && counter.rate <= self.max_rate
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
        }
    }

    fn requestor(max_rate: u64) -> RequestorTerms {
        RequestorTerms {
            max_flat: Amount::ZERO,
            max_rate: Amount::from_u64(max_rate),
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
        assert!(requestor(5).accepts(&draft(1), &counter));
        assert!(!requestor(4).accepts(&draft(1), &counter));
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
        ] {
            assert!(!requestor(5).accepts(&base, &change));
        }
    }

    #[test]
    fn sym_15_no_settle_by_outlives_the_stake_timer() {
        let far = Agreement { settle_secs: u32::MAX, ..draft(5) };
        assert_eq!(provider().counter(&far, Timestamp(10)).unwrap().settle_secs, UNSTAKE_SECS);
        let over = Agreement { valid_until: Timestamp(10), ..draft(5) };
        assert_eq!(provider().counter(&over, Timestamp(10)), Err(TermsRefused::ValidUntil(Timestamp(10))));
    }
}
