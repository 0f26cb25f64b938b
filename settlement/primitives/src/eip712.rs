//! The one EIP-712 domain everything is signed under: the vault's (SYM-05).

use alloy_primitives::Address;
use alloy_sol_types::{Eip712Domain, SolStruct};
use serde::{Deserialize, Serialize};

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

    /// The digest that is signed for `statement` under this domain.
    #[must_use]
    pub fn digest(&self, statement: &impl SolStruct) -> [u8; 32] {
        statement.eip712_signing_hash(&self.eip712()).0
    }
}
