//! A party's own money: deposits, stake, registration.

use crate::context::NodeError;
use symbolon_primitives::{Address, Amount, U256};
use symbolon_settlement::{TxManager, VaultView, ops};

/// Moves `amount` from the sender's wallet into `beneficiary`'s account.
///
/// # Errors
/// [`NodeError::Funds`] when the wallet has less; errors of the chain.
///
/// # Safety of funds
/// The beneficiary owns it from then on.
pub async fn deposit(
    vault: &VaultView,
    txs: &TxManager,
    beneficiary: Address,
    amount: Amount,
) -> Result<(), NodeError> {
    let chain = vault.chain();
    let head = chain.head().await?;
    let wallet = chain.token_balance(vault.token(), txs.sender(), &head).await?;
    if wallet < U256::from(amount.get()) {
        let have = Amount::from_u256(wallet).unwrap_or(Amount::MAX);
        return Err(NodeError::Funds { what: "tokens in the wallet", have, need: amount });
    }
    let tag = ops::tag(&[b"deposit", &rand::random::<[u8; 32]>()]);
    let allowed = chain.allowance(vault.token(), txs.sender(), vault.address(), &head).await?;
    if allowed < U256::from(amount.get()) {
        txs.run(ops::approve(vault.token(), vault.address(), amount, tag)).await?;
    }
    txs.run(ops::deposit(vault.address(), beneficiary, amount, tag)).await?;
    Ok(())
}

/// Deposits what the account lacks of `need`; answers how much that was.
///
/// # Errors
/// As [`deposit`].
pub async fn ensure_balance(
    vault: &VaultView,
    txs: &TxManager,
    account: Address,
    need: Amount,
) -> Result<Amount, NodeError> {
    let head = vault.chain().head().await?;
    let have = vault.account(account, &head).await?.balance;
    let missing = need.saturating_sub(have);
    if !missing.is_zero() {
        deposit(vault, txs, account, missing).await?;
    }
    Ok(missing)
}

/// Brings an account's stake up to `need`.
///
/// # Errors
/// As [`deposit`].
///
/// # Safety of funds
/// Stake is lost to whoever shows two different results signed for one order.
pub async fn ensure_stake(vault: &VaultView, txs: &TxManager, account: Address, need: Amount) -> Result<(), NodeError> {
    let head = vault.chain().head().await?;
    let state = vault.account(account, &head).await?;
    let missing = need.saturating_sub(state.stake);
    if missing.is_zero() && state.unbonding_at.is_none() {
        return Ok(());
    }
    ensure_balance(vault, txs, account, missing).await?;
    let tag = ops::tag(&[b"stake", &rand::random::<[u8; 32]>()]);
    txs.run(ops::stake(vault.address(), missing, tag)).await?;
    Ok(())
}
