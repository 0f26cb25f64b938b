//! Rust bindings of the contracts, generated from the committed artifacts; no logic, no provider, no solc.
//!
//! - [`vault`], [`court`], [`factory`] and [`token`]: calls, events and errors of each contract.
//! - The structs that parties sign and pass, once each, at the root: [`Voucher`], [`WorkOrder`], [`Result`],
//!   [`Bind`], [`Release`], [`Earmarks`], [`Closing`]. The signed ones implement
//!   [`alloy_sol_types::SolStruct`]; their digests come from the same declaration as the contract's.
//! - [`domain`], creation code, and the addresses that are the same on every chain.

mod addresses;
mod generated;

pub use addresses::{
    DEPLOYER, SALT, court_address, court_creation_code, court_deployment, factory_address, factory_creation_code,
    factory_deployment, token_creation_code, vault_address, vault_address_of, vault_creation_code,
};
pub use generated::{court, factory, token, vault};
pub use vault::{Bind, Closing, Earmarks, Release, Result, Voucher, WorkOrder};

use alloy_primitives::Address;
use alloy_sol_types::{Eip712Domain, eip712_domain};

/// The name in every vault's EIP-712 domain.
pub const DOMAIN_NAME: &str = "symbolon";

/// The version in every vault's EIP-712 domain.
pub const DOMAIN_VERSION: &str = "1";

/// The EIP-712 domain of a vault (SYM-05): every instrument is signed in the vault's own.
///
/// # Safety of funds
/// A wrong chain id or vault gives signatures that pay nothing here and may pay elsewhere.
pub fn domain(chain_id: u64, vault: Address) -> Eip712Domain {
    eip712_domain! {
        name: DOMAIN_NAME,
        version: DOMAIN_VERSION,
        chain_id: chain_id,
        verifying_contract: vault,
    }
}

impl From<Result> for court::Result {
    fn from(result: Result) -> Self {
        Self { order: result.order, resultsRoot: result.resultsRoot, fuel: result.fuel, seals: result.seals }
    }
}

#[cfg(test)]
mod tests;
