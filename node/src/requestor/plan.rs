//! Who computes what: batches of workunits, and the draw of their replicas.

use std::collections::BTreeMap;
use symbolon_market::{Candidate, DrawError, Grouping, draw};
use symbolon_primitives::{Address, keccak256};

/// How an order's members are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawRules {
    /// K: active replicas, and how many of them must agree.
    pub redundancy: u8,
    /// Orders one provider may hold at once: the number of its lanes.
    pub lanes: u16,
    /// Whether one network group gets one seat.
    pub grouping: Grouping,
    /// The requestor's own secret.
    pub secret: [u8; 32],
}

impl DrawRules {
    /// Leaves of an order: K active replicas and K - 1 reserves.
    #[must_use]
    pub fn members(&self) -> usize {
        usize::from(self.redundancy) * 2 - 1
    }

    /// The randomness of draw number `number`.
    #[must_use]
    fn randomness(&self, number: u64) -> [u8; 32] {
        keccak256(&[b"symbolon order draw".as_slice(), &self.secret, &number.to_be_bytes()].concat())
    }

    /// Draw number `number`: active replicas first, then reserves.
    ///
    /// # Errors
    /// [`DrawError::TooFew`] when the candidates do not fill the seats.
    pub fn draw(&self, candidates: &[Candidate], number: u64) -> Result<Vec<Address>, DrawError> {
        draw(candidates, self.members(), self.grouping, self.randomness(number))
    }

    /// The draws of the orders that go out before the first answer is waited
    /// for: until the lanes are full or there are no orders left.
    #[must_use]
    pub fn first_wave(&self, candidates: &[Candidate], orders: usize) -> Vec<Vec<Address>> {
        let mut busy: BTreeMap<Address, u16> = BTreeMap::new();
        let mut wave = Vec::new();
        while wave.len() < orders {
            let free: Vec<Candidate> = candidates
                .iter()
                .filter(|candidate| busy.get(&candidate.provider).copied().unwrap_or_default() < self.lanes)
                .copied()
                .collect();
            let Ok(drawn) = self.draw(&free, wave.len() as u64) else { break };
            for provider in &drawn {
                *busy.entry(*provider).or_default() += 1;
            }
            wave.push(drawn);
        }
        wave
    }
}

/// Cuts `units` workunits into batches of at most `batch`, in order.
#[must_use]
pub fn batches(units: usize, batch: usize) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..units).collect();
    all.chunks(batch.max(1)).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;
    use symbolon_primitives::Amount;

    fn candidates(count: u8) -> Vec<Candidate> {
        (1..=count)
            .map(|byte| Candidate {
                provider: Address::repeat_byte(byte),
                stake: Amount::from_u64(10),
                network_group: None,
            })
            .collect()
    }

    fn rules(secret: u8) -> DrawRules {
        DrawRules { redundancy: 2, lanes: 2, grouping: Grouping::Off, secret: [secret; 32] }
    }

    #[test]
    fn sym_28_the_first_wave_fills_lanes_and_follows_from_the_secret_alone() {
        let wave = rules(1).first_wave(&candidates(5), 6);
        assert_eq!(wave, rules(1).first_wave(&candidates(5), 6));
        assert_ne!(wave, rules(2).first_wave(&candidates(5), 6));
        // Ten lanes, three a draw.
        assert!((2..=3).contains(&wave.len()), "{}", wave.len());
        let mut busy: BTreeMap<Address, u16> = BTreeMap::new();
        for order in &wave {
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 3);
            order.iter().for_each(|provider| *busy.entry(*provider).or_default() += 1);
        }
        assert!(busy.values().all(|lanes| *lanes <= 2));
        assert!(rules(1).first_wave(&candidates(2), 6).is_empty());
        assert_eq!(rules(1).first_wave(&candidates(5), 1).len(), 1);
    }

    #[test]
    fn batches_keep_the_order() {
        assert_eq!(batches(5, 2), vec![vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(batches(1, 0), vec![vec![0]]);
        assert!(batches(0, 2).is_empty());
    }
}
