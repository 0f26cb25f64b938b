//! An order's results root: a salted Merkle tree over its workunits (protocol, Roots).

use crate::{ResultRoot, ResultsRoot, Salt, WorkunitId, keccak256};
use serde::{Deserialize, Serialize};

/// One workunit's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitResult {
    /// What was run.
    pub id: WorkunitId,
    /// Reference of its canonical manifest.
    pub root: ResultRoot,
    /// Fuel it is billed.
    pub fuel: u64,
}

fn leaf(index: u32, unit: &UnitResult) -> [u8; 32] {
    let parts: [&[u8]; 5] =
        [&[0], &index.to_be_bytes(), unit.id.as_bytes(), unit.root.as_bytes(), &unit.fuel.to_be_bytes()];
    keccak256(&parts.concat())
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    keccak256(&[&[1], left.as_slice(), right].concat())
}

/// `keccak256(0x02 ‖ salt ‖ top)`, where `top` is the tree over the leaves in
/// order and an odd node is promoted. The top of no units is zero.
#[must_use]
pub fn results_root(salt: Salt, units: &[UnitResult]) -> ResultsRoot {
    let mut level: Vec<[u8; 32]> = (0..).zip(units).map(|(index, unit)| leaf(index, unit)).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .filter_map(|pair| match pair {
                [left, right] => Some(node(left, right)),
                [odd] => Some(*odd),
                _ => None,
            })
            .collect();
    }
    let top = level.first().copied().unwrap_or_default();
    ResultsRoot::from_bytes(keccak256(&[&[2], salt.as_bytes().as_slice(), &top].concat()))
}

/// The sum of the units' fuel, or nothing when it overflows.
#[must_use]
pub fn total_fuel(units: &[UnitResult]) -> Option<u64> {
    units.iter().try_fold(0_u64, |sum, unit| sum.checked_add(unit.fuel))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(count: u8) -> Vec<UnitResult> {
        (0..count)
            .map(|i| UnitResult {
                id: WorkunitId::from_bytes([i; 32]),
                root: ResultRoot::from_bytes([i ^ 0x55; 32]),
                fuel: u64::from(i),
            })
            .collect()
    }

    #[test]
    fn sym_27_the_salt_hides_the_root_and_every_part_moves_it() {
        let salt = Salt::from_bytes([1; 32]);
        let mut seen: Vec<_> = (0..9).map(|n| results_root(salt, &units(n))).collect();
        seen.push(results_root(Salt::from_bytes([2; 32]), &units(3)));
        let mut swapped = units(3);
        swapped.swap(0, 1);
        seen.push(results_root(salt, &swapped));
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn an_odd_node_is_promoted() {
        let salt = Salt::default();
        let three = units(3);
        let hashes: Vec<_> = (0..).zip(&three).map(|(i, unit)| leaf(i, unit)).collect();
        if let [a, b, c] = hashes.as_slice() {
            let top = node(&node(a, b), c);
            let expected = keccak256(&[&[2], salt.as_bytes().as_slice(), &top].concat());
            assert_eq!(results_root(salt, &three), ResultsRoot::from_bytes(expected));
        }
    }
}
