//! Creation code and CREATE2 addresses. Court and factory have the same address on every chain, because the
//! deterministic deployment proxy does; a vault's address follows from factory, court and token.

use alloy_primitives::{Address, B256, Bytes, address, keccak256};
use alloy_sol_types::SolConstructor;

use crate::generated::{court, factory, token, vault};

/// The deterministic deployment proxy: calldata is a salt (32 bytes) and creation code.
pub const DEPLOYER: Address = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");

/// The salt of every deployment, through the proxy and by the factory.
pub const SALT: B256 = B256::ZERO;

/// The address of the court, the same on every chain.
pub fn court_address() -> Address {
    DEPLOYER.create2(SALT, keccak256(court_creation_code()))
}

/// The address of the factory, the same on every chain.
pub fn factory_address() -> Address {
    DEPLOYER.create2(SALT, keccak256(factory_creation_code(court_address())))
}

/// The address of the vault that [`factory_address`] deploys for `token`.
///
/// # Safety of funds
/// The address alone proves no code: ask the factory's `isVault` before a deposit.
pub fn vault_address(token: Address) -> Address {
    vault_address_of(factory_address(), court_address(), token)
}

/// The address of the vault that any factory with this court deploys for `token`.
pub fn vault_address_of(factory: Address, court: Address, token: Address) -> Address {
    factory.create2(SALT, keccak256(vault_creation_code(token, court)))
}

/// Creation code of the court, which takes no arguments.
pub fn court_creation_code() -> Bytes {
    court::BYTECODE.clone()
}

/// Creation code of a factory whose vaults answer to `court`.
pub fn factory_creation_code(court: Address) -> Bytes {
    with_arguments(&factory::BYTECODE, &factory::constructorCall { court_: court })
}

/// Creation code of a vault.
pub fn vault_creation_code(token: Address, court: Address) -> Bytes {
    with_arguments(&vault::BYTECODE, &vault::constructorCall { token_: token, court_: court })
}

/// Creation code of the devnet token, which takes no arguments.
pub fn token_creation_code() -> Bytes {
    token::BYTECODE.clone()
}

/// Calldata that makes [`DEPLOYER`] deploy the court at [`court_address`].
pub fn court_deployment() -> Bytes {
    salted(&court_creation_code())
}

/// Calldata that makes [`DEPLOYER`] deploy the factory at [`factory_address`].
pub fn factory_deployment() -> Bytes {
    salted(&factory_creation_code(court_address()))
}

fn with_arguments(code: &Bytes, arguments: &impl SolConstructor) -> Bytes {
    [code.as_ref(), &arguments.abi_encode()].concat().into()
}

fn salted(code: &Bytes) -> Bytes {
    [SALT.as_slice(), code].concat().into()
}
