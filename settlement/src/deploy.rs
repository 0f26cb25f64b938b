//! Puts the contracts on a chain: court and factory through the deterministic
//! deployment proxy, so that they sit at the same address everywhere, a vault
//! through the factory, and on a devnet a token. What is there already is left
//! alone.

use crate::{ChainError, Intent, IntentKind, TxError, TxManager, ops, rpc::Header};
use alloy::{
    primitives::{Address, B256, Bytes, U64, keccak256},
    rpc::types::Log,
    sol_types::SolEvent,
};
use serde_json::json;
use symbolon_contracts::{
    DEPLOYER, SALT, court_address, court_deployment, factory, factory_address, factory_deployment, token_creation_code,
    vault_address,
};

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deployment {
    /// The court.
    pub court: Address,
    /// The factory.
    pub factory: Address,
    /// The settlement token.
    pub token: Address,
    /// The token's vault.
    pub vault: Address,
    /// The block the vault was deployed in: logs begin here.
    pub block: u64,
}

/// Why the contracts are not there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The chain lacks the deterministic deployment proxy.
    #[error("the chain has no deterministic deployment proxy at {}", DEPLOYER)]
    NoProxy,
    /// A deployment was mined and left nothing.
    #[error("the deployment of the {what} left no code at {address}")]
    NothingThere {
        /// Which contract.
        what: &'static str,
        /// Where it had to be.
        address: Address,
    },
    /// The factory has no record of the vault.
    #[error("the factory has no record of vault {vault}")]
    NoRecord {
        /// The vault.
        vault: Address,
    },
    /// A transaction failed.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The chain could not be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl DeployError {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoProxy => Some("deploy the proxy first, with its well-known keyless transaction"),
            Self::NothingThere { .. } => Some("a devnet that was started anew needs a fresh data folder"),
            Self::Tx(error) => error.hint(),
            Self::Chain(error) => error.hint(),
            Self::NoRecord { .. } => None,
        }
    }
}

/// The devnet token's address: it is deployed through the proxy too.
#[must_use]
pub fn dev_token_address() -> Address {
    DEPLOYER.create2(SALT, keccak256(token_creation_code()))
}

/// Deploys what is missing, for `token`, or for a devnet token when none is
/// named. Calling it again changes nothing.
///
/// # Errors
/// [`DeployError`] when a transaction fails or the chain lacks the proxy.
pub async fn deploy(tx: &TxManager, token: Option<Address>) -> Result<Deployment, DeployError> {
    let chain = tx.chain();
    let head = chain.head().await?;
    if !chain.has_code(DEPLOYER, &head).await? {
        return Err(DeployError::NoProxy);
    }
    // A chain started anew under an old id has another first block.
    let tag = chain.block(0).await?.hash;
    let through_proxy = |data: Bytes| Intent::new(IntentKind::Deploy, DEPLOYER, data).tagged(tag);
    let (court, factory) = (court_address(), factory_address());
    ensure(tx, "court", court, through_proxy(court_deployment())).await?;
    ensure(tx, "factory", factory, through_proxy(factory_deployment())).await?;
    let token = match token {
        Some(token) => token,
        None => {
            let code = [SALT.as_slice(), &token_creation_code()].concat();
            ensure(tx, "token", dev_token_address(), through_proxy(code.into())).await?
        }
    };
    let vault = ensure(tx, "vault", vault_address(token), ops::deploy_vault(token, tag)).await?;
    let block = deployed_at(tx, vault, &chain.head().await?).await?;
    Ok(Deployment { court, factory, token, vault, block })
}

async fn ensure(tx: &TxManager, what: &'static str, address: Address, intent: Intent) -> Result<Address, DeployError> {
    let chain = tx.chain();
    if chain.has_code(address, &chain.head().await?).await? {
        return Ok(address);
    }
    tx.run(intent).await?;
    if chain.has_code(address, &chain.head().await?).await? {
        Ok(address)
    } else {
        Err(DeployError::NothingThere { what, address })
    }
}

/// The block in which the factory deployed the vault.
async fn deployed_at(tx: &TxManager, vault: Address, head: &Header) -> Result<u64, DeployError> {
    let topics: [Option<B256>; 3] = [Some(factory::VaultDeployed::SIGNATURE_HASH), None, Some(vault.into_word())];
    // Newest first: whoever asks has usually just deployed it.
    let mut last = head.number;
    loop {
        let first = last.saturating_sub(1_999);
        let query = json!([{
            "address": factory_address(),
            "fromBlock": U64::from(first),
            "toBlock": U64::from(last),
            "topics": topics,
        }]);
        let logs: Vec<Log> = tx.chain().rpc().request("eth_getLogs", query).await?;
        if let Some(block) = logs.iter().find_map(|log| log.block_number) {
            return Ok(block);
        }
        if first == 0 {
            return Err(DeployError::NoRecord { vault });
        }
        last = first.saturating_sub(1);
    }
}
