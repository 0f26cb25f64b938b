//! Who computes (SYM-28): replicas drawn at random, weighted by stake, and what
//! the largest staker's chances are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use symbolon_primitives::{Address, Amount, keccak256};

/// Addresses that are likely one operator's, as the requestor sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NetworkGroup {
    /// The first 16 bits of an IPv4 address.
    V4([u8; 2]),
    /// The first 32 bits of an IPv6 address.
    V6([u8; 4]),
}

impl NetworkGroup {
    /// The group of an address. An IPv4 address written as IPv6 is IPv4.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, ..] = v4.octets();
                Self::V4([a, b])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.octets();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// Whether one network group gets one seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grouping {
    /// One seat for each group; all whose group is unknown are one group.
    #[default]
    PerNetwork,
    /// For a devnet, where everybody lives at one address.
    Off,
}

/// A provider that may be drawn: its offer matches and lies under the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The stake account, which is the key that signs results.
    pub provider: Address,
    /// Its stake without a running timer, read at depth (SYM-26), in base units.
    pub stake: Amount,
    /// Where the requestor sees it.
    pub network_group: Option<NetworkGroup>,
}

/// Why there is no draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// Not enough stakers in different network groups.
    #[error("have {have} eligible providers, need {need}")]
    TooFew {
        /// How many seats could be filled.
        have: usize,
        /// How many were asked for.
        need: usize,
    },
    /// The stakes add up to more than any vault can hold.
    #[error("the stakes add up to no amount")]
    StakeTooLarge,
}

/// Words that follow from a secret one: keccak256 over name, secret and counter.
struct Stream {
    randomness: [u8; 32],
    counter: u64,
}

impl Stream {
    fn next(&mut self) -> u128 {
        let block = keccak256(&[b"symbolon draw 1".as_slice(), &self.randomness, &self.counter.to_be_bytes()].concat());
        self.counter = self.counter.wrapping_add(1);
        let (word, _) = block.split_at(16);
        word.iter().fold(0, |word, byte| word << 8 | u128::from(*byte))
    }

    /// Uniform below `bound`, which is not zero: words above the largest
    /// multiple of it are thrown away.
    fn below(&mut self, bound: u128) -> u128 {
        let spare = (u128::MAX.checked_rem(bound).unwrap_or(0).saturating_add(1)).checked_rem(bound).unwrap_or(0);
        loop {
            let word = self.next();
            if word <= u128::MAX.saturating_sub(spare) {
                return word.checked_rem(bound).unwrap_or(0);
            }
        }
    }
}

/// Draws `n` providers, weighted by stake and without replacement: one key for
/// each stake account and, with [`Grouping::PerNetwork`], for each network
/// group. The answer is in the order drawn: active replicas first, then
/// reserves. It depends on the set of candidates and `randomness` alone, not on
/// the order they are given in.
///
/// A provider given twice counts once, with the smaller stake; one without
/// stake is never drawn.
///
/// # Errors
/// [`DrawError::TooFew`] rather than a short answer.
///
/// # Safety of funds
/// `randomness` must be the requestor's own and secret until the order is
/// signed: whoever knows it knows the draw.
pub fn draw(
    candidates: &[Candidate],
    n: usize,
    grouping: Grouping,
    randomness: [u8; 32],
) -> Result<Vec<Address>, DrawError> {
    let mut pool: BTreeMap<Address, (u128, Option<NetworkGroup>)> = BTreeMap::new();
    for candidate in candidates {
        let given = (candidate.stake.get(), candidate.network_group);
        pool.entry(candidate.provider).and_modify(|kept| *kept = given.min(*kept)).or_insert(given);
    }
    let mut stream = Stream { randomness, counter: 0 };
    let mut drawn = Vec::new();
    while drawn.len() < n {
        let total = pool
            .values()
            .try_fold(0_u128, |sum, (stake, _)| sum.checked_add(*stake))
            .ok_or(DrawError::StakeTooLarge)?;
        if total == 0 {
            return Err(DrawError::TooFew { have: drawn.len(), need: n });
        }
        let mut left = stream.below(total);
        let chosen = pool.iter().find(|(_, (stake, _))| match left.checked_sub(*stake) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        let Some((provider, (_, group))) = chosen.map(|(provider, seat)| (*provider, *seat)) else {
            return Err(DrawError::TooFew { have: drawn.len(), need: n });
        };
        pool.remove(&provider);
        if grouping == Grouping::PerNetwork {
            pool.retain(|_, (_, other)| *other != group);
        }
        drawn.push(provider);
    }
    debug_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), drawn.len());
    Ok(drawn)
}

/// Up to this many other stakers the chance is computed over every set of them.
pub const EXACT_HONEST: usize = 10;

/// One, in the fixed point of the chance.
const ONE: u128 = 1_000_000_000_000;

/// The chance, in parts per million and rounded up, that the largest staker
/// owns `quorum` or more of `n` seats of a [`draw`].
///
/// One account gets one seat, so the question is what the operator of the
/// largest stake gets who has split it over many keys in many networks. The
/// answer is for the finest split: a seat then takes nothing from its weight,
/// while every seat of another staker takes that staker's whole weight out of
/// the draw. With at most [`EXACT_HONEST`] others this is computed exactly, over
/// every set of others already drawn. With more it is an upper bound: after j
/// seats of others, the j largest of them count as gone.
///
/// Rounding is always against the requestor: stakes are cut to 56 bits with the
/// largest rounded up and the others down, and every division rounds up.
#[must_use]
pub fn largest_staker_quorum_chance_ppm_up(stakes: &[Amount], n: u8, quorum: u8) -> u32 {
    let mut sorted: Vec<u128> = stakes.iter().map(|stake| stake.get()).collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let total = sorted.iter().fold(0_u128, |sum, stake| sum.saturating_add(*stake));
    let shift = (u128::BITS.saturating_sub(total.leading_zeros())).saturating_sub(56);
    let mut stakes = sorted.into_iter();
    let largest = stakes.next().unwrap_or(0);
    if quorum == 0 {
        return 1_000_000;
    }
    if quorum > n || largest == 0 {
        return 0;
    }
    let largest = (largest >> shift).saturating_add(u128::from(shift > 0));
    let others: Vec<u128> = stakes.map(|stake| stake >> shift).filter(|stake| *stake > 0).collect();
    let chance = if others.len() <= EXACT_HONEST {
        exact_up(largest, &others, n, quorum)
    } else {
        bound_up(largest, &others, n, quorum)
    };
    chance.min(ONE).div_ceil(ONE / 1_000_000).try_into().unwrap_or(1_000_000)
}

/// `(won * largest + Σ lost_i * other_i) / (largest + Σ other_i)`, rounded up.
fn mean_up(largest: u128, won: u128, others: impl Iterator<Item = (u128, u128)>) -> u128 {
    let start = (largest.saturating_mul(won), largest);
    let (sum, weight) = others.fold(start, |(sum, weight), (other, lost)| {
        (sum.saturating_add(other.saturating_mul(lost)), weight.saturating_add(other))
    });
    sum.div_ceil(weight.max(1))
}

/// Whether the largest staker holds a quorum when `others` of `n` seats are not its own.
fn won(n: u8, quorum: u8, others: u32) -> u128 {
    if u32::from(n).saturating_sub(others) >= u32::from(quorum) { ONE } else { 0 }
}

/// Backwards over the seats: the chance given which others hold a seat, for every set of them.
fn exact_up(largest: u128, others: &[u128], n: u8, quorum: u8) -> u128 {
    let sets = 1_usize << others.len().min(EXACT_HONEST);
    let mut chances: Vec<u128> = (0..sets).map(|set| won(n, quorum, set.count_ones())).collect();
    for _ in 0..n {
        // Ascending in place: a set looks only at itself and at larger sets, not yet rewritten.
        for set in 0..sets {
            let at = |set: usize| chances.get(set).copied().unwrap_or(ONE);
            let rest = others.iter().enumerate().filter(|(index, _)| set >> index & 1 == 0);
            let next = mean_up(largest, at(set), rest.map(|(index, other)| (*other, at(set | 1 << index))));
            if let Some(chance) = chances.get_mut(set) {
                *chance = next;
            }
        }
    }
    chances.first().copied().unwrap_or(ONE)
}

/// The same over how many others hold a seat, the largest of them first.
///
/// It is a bound: a smaller remaining weight of the others only raises every
/// step's chance, and holding a seat oneself is never worse than another
/// holding it, by induction over the seats that remain.
fn bound_up(largest: u128, others: &[u128], n: u8, quorum: u8) -> u128 {
    let mut rests = vec![others.iter().fold(0_u128, |sum, other| sum.saturating_add(*other))];
    for other in others.iter().take(usize::from(n)) {
        rests.push(rests.last().copied().unwrap_or(0).saturating_sub(*other));
    }
    let mut chances: Vec<u128> = (0..=u32::from(n)).map(|seats| won(n, quorum, seats)).collect();
    for _ in 0..n {
        for seats in 0..chances.len() {
            let at = |seats: usize| chances.get(seats).copied().unwrap_or(0);
            let rest = rests.get(seats).copied().unwrap_or(0);
            let next = mean_up(largest, at(seats), core::iter::once((rest, at(seats.saturating_add(1)))));
            if let Some(chance) = chances.get_mut(seats) {
                *chance = next;
            }
        }
    }
    chances.first().copied().unwrap_or(ONE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn candidate(id: u16, stake: u128, group: u8) -> Candidate {
        let [high, low] = id.to_be_bytes();
        let mut provider = [0x11; 20];
        (provider[0], provider[1]) = (high, low);
        Candidate {
            provider: provider.into(),
            stake: Amount::new(stake).unwrap(),
            network_group: (group > 0).then_some(NetworkGroup::V4([10, group])),
        }
    }

    fn seed(n: u32) -> [u8; 32] {
        keccak256(&n.to_be_bytes())
    }

    fn stakes(of: &[u128]) -> Vec<Amount> {
        of.iter().map(|stake| Amount::new(*stake).unwrap()).collect()
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let stake = prop_oneof![Just(0), Just(1), 0_u128..1_000, Just(Amount::MAX.get() / 64)];
        proptest::collection::vec((0_u16..30, stake, 0_u8..6), 0..24)
            .prop_map(|rows| rows.into_iter().map(|(id, stake, group)| candidate(id, stake, group)).collect())
    }

    proptest! {
        #[test]
        fn sym_28_a_draw_is_a_set_of_stakers_of_different_networks(
            mut all in candidates(), n in 0_usize..8, randomness: [u8; 32], rotate in 0_usize..24,
        ) {
            for grouping in [Grouping::PerNetwork, Grouping::Off] {
                let first = draw(&all, n, grouping, randomness);
                let length = all.len().max(1);
                all.rotate_left(rotate % length);
                prop_assert_eq!(&draw(&all, n, grouping, randomness), &first);
                let staked: BTreeMap<_, _> =
                    all.iter().filter(|c| all.iter().all(|d| d.provider != c.provider || !d.stake.is_zero()))
                        .map(|c| (c.provider, c)).collect();
                match first {
                    Ok(drawn) => {
                        prop_assert_eq!(drawn.len(), n);
                        prop_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), n);
                        prop_assert!(drawn.iter().all(|provider| staked.contains_key(provider)));
                    }
                    Err(DrawError::TooFew { have, need }) => {
                        prop_assert!(have < need && need == n);
                        if grouping == Grouping::Off {
                            prop_assert_eq!(have, staked.len());
                        }
                    }
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
        }

        #[test]
        fn sym_28_no_network_group_sits_twice(sizes in proptest::collection::vec(1_u16..5, 1..6), randomness: [u8; 32]) {
            let mut all = Vec::new();
            for (group, size) in (0_u8..).zip(&sizes) {
                all.extend((0..*size).map(|i| candidate(u16::from(group) * 16 + i, 7, group)));
            }
            let drawn = draw(&all, sizes.len(), Grouping::PerNetwork, randomness).unwrap();
            let groups: BTreeSet<_> = drawn.iter().map(|p| all.iter().find(|c| c.provider == *p).unwrap().network_group).collect();
            prop_assert_eq!(groups.len(), sizes.len());
            let need = sizes.len() + 1;
            prop_assert_eq!(
                draw(&all, need, Grouping::PerNetwork, randomness),
                Err(DrawError::TooFew { have: sizes.len(), need })
            );
        }

        #[test]
        fn sym_28_the_bound_is_never_below_the_exact_chance(
            largest in 1_u128..1_000, others in proptest::collection::vec(1_u128..1_000, 1..7), n in 1_u8..8, quorum in 1_u8..5,
        ) {
            let mut others = others;
            others.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert!(bound_up(largest, &others, n, quorum) >= exact_up(largest, &others, n, quorum));
        }

        #[test]
        fn sym_28_the_chance_is_a_share_and_grows_with_the_stake(
            all in proptest::collection::vec(0_u128..=Amount::MAX.get() / 32, 0..20), n in 1_u8..8, quorum in 1_u8..5,
        ) {
            let chance = largest_staker_quorum_chance_ppm_up(&stakes(&all), n, quorum);
            prop_assert!(chance <= 1_000_000);
            let mut more = all.clone();
            if let Some(largest) = more.iter_mut().max() {
                *largest *= 2;
            }
            prop_assert!(largest_staker_quorum_chance_ppm_up(&stakes(&more), n, quorum) + 1 >= chance);
        }
    }

    #[test]
    fn sym_28_seats_follow_stake() {
        let all = [candidate(1, 1, 1), candidate(2, 3, 2), candidate(3, 6, 3)];
        let mut first = [0_u32; 3];
        for n in 0..10_000 {
            let drawn = draw(&all, 1, Grouping::PerNetwork, seed(n)).unwrap();
            let index = all.iter().position(|c| c.provider == drawn[0]).unwrap();
            first[index] += 1;
        }
        for (seen, expected) in first.into_iter().zip([1_000_u32, 3_000, 6_000]) {
            assert!(seen.abs_diff(expected) < 150, "{first:?}");
        }
    }

    #[test]
    fn sym_28_a_key_given_twice_counts_once_with_its_smaller_stake() {
        let all = [candidate(1, 9, 1), candidate(1, 0, 1), candidate(2, 1, 2)];
        for n in 0..50 {
            assert_eq!(draw(&all, 1, Grouping::Off, seed(n)), Ok(vec![all[2].provider]));
        }
    }

    #[test]
    fn sym_28_groups_are_16_and_32_bits() {
        let group = |text: &str| NetworkGroup::of(text.parse().unwrap());
        assert_eq!(group("10.1.2.3"), group("10.1.200.1"));
        assert_ne!(group("10.1.2.3"), group("10.2.2.3"));
        assert_eq!(group("::ffff:10.1.2.3"), group("10.1.9.9"));
        assert_eq!(group("2001:db8:1::1"), group("2001:db8:ffff::1"));
        assert_ne!(group("2001:db8::1"), group("2001:db9::1"));
    }

    #[test]
    fn sym_28_the_chance_by_hand() {
        let chance = |all: &[u128], n, quorum| largest_staker_quorum_chance_ppm_up(&stakes(all), n, quorum);
        // One of two equal stakes, one seat.
        assert_eq!(chance(&[5, 5], 1, 1), 500_000);
        // Two seats, both: a half, then a half again, for its weight stays.
        assert_eq!(chance(&[5, 5], 2, 2), 250_000);
        // At least one of two: 1 - P(other first) * P(other again) = 1, for then only its own weight is left.
        assert_eq!(chance(&[5, 5], 2, 1), 1_000_000);
        assert_eq!(chance(&[7], 3, 2), 1_000_000);
        assert_eq!(chance(&[0, 0], 3, 2), 0);
        assert_eq!(chance(&[], 3, 2), 0);
        assert_eq!(chance(&[5, 5], 1, 2), 0);
        assert_eq!(chance(&[5, 5], 3, 0), 1_000_000);
        // 1 of 101 equal stakes, 2 of 3 seats: close to 3 p^2 (1 - p) + p^3 with p = 1 / 101, and not below.
        let many = chance(&[1; 101], 3, 2);
        assert!((292..310).contains(&many), "{many}");
    }

    #[test]
    fn sym_28_the_chance_is_what_draws_show() {
        // The largest stake, 40 of 100, split over 200 keys against four honest ones.
        let mut all: Vec<_> = (0..200).map(|i| candidate(i, 2, 0)).collect();
        all.extend([(1000, 300), (1001, 150), (1002, 100), (1003, 50)].map(|(id, stake)| candidate(id, stake, 0)));
        let honest: Vec<_> = all[200..].iter().map(|c| c.provider).collect();
        let mut owned = 0_u32;
        for n in 0..2_000 {
            let drawn = draw(&all, 3, Grouping::Off, seed(n)).unwrap();
            owned += u32::from(drawn.iter().filter(|p| !honest.contains(p)).count() >= 2);
        }
        let expected = largest_staker_quorum_chance_ppm_up(&stakes(&[400, 300, 150, 100, 50]), 3, 2);
        assert!((owned * 500).abs_diff(expected) < 40_000, "{} {expected}", owned * 500);
    }
}
