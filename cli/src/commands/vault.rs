//! `symbolon vault`: money in and out.

use crate::{
    args::{Global, NetworkArgs, VaultCommand},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, chain_failure, tx_failure},
    output::{json, line, note, tokens},
};
use symbolon_primitives::{Address, Amount, Key, Signer};
use symbolon_settlement::{ChainView, TxConfig, TxManager, VaultView, ops};
use symbolon_store::StoreHandle;

/// Runs `symbolon vault`.
pub(crate) async fn run(args: &NetworkArgs, command: VaultCommand, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    match command {
        VaultCommand::Balance { address } => {
            let vault = network.connect().await?;
            let address = match address {
                Some(address) => address,
                None => keys::open(&global.data, &global.password)?.address(),
            };
            balance(&vault, address, global.json).await
        }
        VaultCommand::Deposit { amount, fees } => {
            let key = keys::open(&global.data, &global.password)?;
            let vault = network.connect().await?;
            let (txs, store) = manager(vault.chain(), key.clone(), global, network.tx_config(&fees)).await?;
            let done = symbolon_node::deposit(&vault, &txs, key.address(), amount).await;
            store.close().await;
            done.map_err(crate::network::node_failure)?;
            balance(&vault, key.address(), global.json).await
        }
        VaultCommand::Withdraw { amount, to, fees } => {
            let key = keys::open(&global.data, &global.password)?;
            let vault = network.connect().await?;
            withdraw(&vault, key, amount, to, global, network.tx_config(&fees)).await
        }
    }
}

async fn balance(vault: &VaultView, address: Address, as_json: bool) -> Result<(), Failure> {
    let head = vault.chain().head().await.map_err(chain_failure)?;
    let account = vault.account(address, &head).await.map_err(chain_failure)?;
    let wallet = vault.chain().token_balance(vault.token(), address, &head).await.map_err(chain_failure)?;
    if as_json {
        json(&serde_json::json!({
            "address": address, "block": head.number, "balance": account.balance, "stake": account.stake,
            "unbonding_at": account.unbonding_at, "wallet": wallet.to_string(),
        }));
    } else {
        note(&format!("{address} at block {}", head.number));
        line(&format!("free    {}", tokens(account.balance.get())));
        line(&format!("staked  {}", tokens(account.stake.get())));
        line(&format!("wallet  {}", tokens(u128::try_from(wallet).unwrap_or(u128::MAX))));
    }
    Ok(())
}

/// A transaction manager on this data folder's journal, which sees through what was begun.
pub(crate) async fn manager(
    chain: &ChainView,
    key: Key,
    global: &Global,
    config: TxConfig,
) -> Result<(TxManager, StoreHandle), Failure> {
    let (txs, store) = idle_manager(chain, key, global, config).await?;
    txs.resume().await.map_err(|e| tx_failure(&e))?;
    Ok((txs, store))
}

/// The same, which leaves alone what was begun.
pub(crate) async fn idle_manager(
    chain: &ChainView,
    key: Key,
    global: &Global,
    config: TxConfig,
) -> Result<(TxManager, StoreHandle), Failure> {
    let store = StoreHandle::open(global.data.clone()).await.map_err(|e| {
        Failure::input(e.to_string()).hint("a running node uses this data folder: stop it first, or ask it")
    })?;
    let txs = TxManager::new(chain.clone(), std::sync::Arc::new(key), store.clone(), config);
    Ok((txs, store))
}

async fn withdraw(
    vault: &VaultView,
    key: Key,
    amount: Option<Amount>,
    to: Option<Address>,
    global: &Global,
    config: TxConfig,
) -> Result<(), Failure> {
    let head = vault.chain().head().await.map_err(chain_failure)?;
    let account = vault.account(key.address(), &head).await.map_err(chain_failure)?;
    let amount = amount.unwrap_or(account.balance);
    if amount.is_zero() || amount > account.balance {
        return Err(Failure::input(format!(
            "cannot withdraw {} of {} free tokens",
            tokens(amount.get()),
            tokens(account.balance.get())
        ))
        .hint("what is earmarked or staked is not free; see symbolon channel ls"));
    }
    let to = to.unwrap_or(key.address());
    let (txs, store) = manager(vault.chain(), key.clone(), global, config).await?;
    let tag = ops::tag(&[b"withdraw", &rand::random::<[u8; 32]>()]);
    let done = txs.run(ops::withdraw(vault.address(), key.address(), to, amount, tag)).await;
    store.close().await;
    let receipt = done.map_err(|e| tx_failure(&e))?;
    if global.json {
        json(&serde_json::json!({ "withdrawn": amount, "to": to, "transaction": receipt.hash }));
    } else {
        note(&format!("{} tokens went to {to} in {}", tokens(amount.get()), receipt.hash));
    }
    Ok(())
}
