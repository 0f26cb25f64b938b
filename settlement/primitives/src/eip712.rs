//! The one EIP-712 domain everything is signed under: the vault's (SYM-05).

use crate::keccak256;
use alloy_primitives::{Address, B256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use core::cell::Cell;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// A vault on a chain. Its name and version are `symbolon` and `1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Domain {
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// The vault: EIP-712's verifying contract.
    pub vault: Address,
}

impl Domain {
    /// The domain as EIP-712 spells it.
    #[must_use]
    pub fn eip712(&self) -> Eip712Domain {
        symbolon_contracts::domain(self.chain_id, self.vault)
    }

    /// The hash of the domain alone. A node signs under one: the last is remembered.
    fn separator(&self) -> B256 {
        thread_local! {
            static LAST: Cell<Option<(Domain, B256)>> = const { Cell::new(None) };
        }
        match LAST.get() {
            Some((domain, separator)) if domain == *self => separator,
            _ => {
                let separator = self.eip712().separator();
                LAST.set(Some((*self, separator)));
                separator
            }
        }
    }

    /// The digest that is signed for `statement` under this domain.
    #[must_use]
    pub fn digest(&self, statement: &impl SolStruct) -> [u8; 32] {
        self.digest_of_hash(statement.eip712_hash_struct())
    }

    /// As [`Domain::digest`], where `of_type` remembers the hash of the statement's type: one of four
    /// hashes of a voucher's digest.
    pub(crate) fn digest_of<S: SolStruct>(&self, of_type: &OnceLock<B256>, statement: &S) -> [u8; 32] {
        let of_type = of_type.get_or_init(|| statement.eip712_type_hash());
        self.digest_of_hash(keccak256(&[of_type.as_slice(), &statement.eip712_encode_data()].concat()).into())
    }

    fn digest_of_hash(&self, statement: B256) -> [u8; 32] {
        keccak256(&[b"\x19\x01".as_slice(), self.separator().as_slice(), statement.as_slice()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::aliases::{U24, U96};

    #[test]
    fn sym_05_a_digest_is_eip_712s_whichever_domain_came_before() {
        let voucher = symbolon_contracts::Voucher {
            payee: Address::repeat_byte(1),
            lane: B256::repeat_byte(2),
            cumulative: U96::from(3),
            epoch: U24::from(4),
        };
        let one = Domain { chain_id: 1, vault: Address::repeat_byte(9) };
        let other_chain = Domain { chain_id: 2, ..one };
        let other_vault = Domain { vault: Address::repeat_byte(8), ..one };
        static TYPE: OnceLock<B256> = OnceLock::new();
        let mut seen = Vec::new();
        for domain in [one, other_chain, one, other_vault, one, one] {
            let digest = domain.digest(&voucher);
            assert_eq!(digest, voucher.eip712_signing_hash(&domain.eip712()).0);
            assert_eq!(digest, domain.digest_of(&TYPE, &voucher));
            seen.push(digest);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 3);
    }
}
