//! Everything that happened on a chain, counted by kind: for the reports of
//! devnets and benchmarks, where every block can be read.

use crate::{ChainError, ChainView, IntentKind};
use alloy::{
    primitives::{Address, Bytes, U64},
    sol_types::SolCall,
};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use symbolon_contracts::{DEPLOYER, court, court_address, factory, factory_address, token, vault};

/// The most blocks one census reads.
pub const MAX_BLOCKS: u64 = 100_000;

/// Transactions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub transactions: u64,
    /// Their gas, from the receipts.
    pub gas: u64,
}

#[derive(Debug, Deserialize)]
struct Block {
    transactions: Vec<Sent>,
}

#[derive(Debug, Deserialize)]
struct Sent {
    to: Option<Address>,
    input: Bytes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mined {
    gas_used: U64,
}

/// What a call of the token, the vault, the court or the factory is.
fn kind_of(to: Address, data: &[u8], vault_at: Address, token_at: Address) -> Option<IntentKind> {
    let selector = *data.first_chunk::<4>()?;
    let kinds: &[([u8; 4], IntentKind)] = if to == vault_at {
        &[
            (vault::depositCall::SELECTOR, IntentKind::Deposit),
            (vault::depositWithPermitCall::SELECTOR, IntentKind::Deposit),
            (vault::withdrawCall::SELECTOR, IntentKind::Withdraw),
            (vault::payManyCall::SELECTOR, IntentKind::PayMany),
            (vault::bindCall::SELECTOR, IntentKind::Bind),
            (vault::revokeCall::SELECTOR, IntentKind::Revoke),
            (vault::openCall::SELECTOR, IntentKind::Open),
            (vault::releaseCall::SELECTOR, IntentKind::Release),
            (vault::claimCall::SELECTOR, IntentKind::Claim),
            (vault::claimForCall::SELECTOR, IntentKind::Claim),
            (vault::settleQuorumCall::SELECTOR, IntentKind::SettleQuorum),
            (vault::stakeCall::SELECTOR, IntentKind::Stake),
            (vault::requestUnstakeCall::SELECTOR, IntentKind::RequestUnstake),
            (vault::withdrawStakeCall::SELECTOR, IntentKind::WithdrawStake),
            (vault::registerCall::SELECTOR, IntentKind::Register),
        ]
    } else if to == token_at {
        &[(token::approveCall::SELECTOR, IntentKind::Approve), (token::mintCall::SELECTOR, IntentKind::Mint)]
    } else if to == court_address() {
        &[(court::slashCall::SELECTOR, IntentKind::Slash)]
    } else if to == factory_address() {
        &[(factory::deployCall::SELECTOR, IntentKind::Deploy)]
    } else {
        return (to == DEPLOYER).then_some(IntentKind::Deploy);
    };
    kinds.iter().find(|(known, _)| *known == selector).map(|(_, kind)| *kind)
}

/// Counts every transaction of the blocks `from` to `to`, both included, by the
/// name of its kind; what is none of ours counts as `other`.
///
/// # Errors
/// [`ChainError`] when a block cannot be read.
pub async fn census(
    chain: &ChainView,
    vault_at: Address,
    token_at: Address,
    from: u64,
    to: u64,
) -> Result<BTreeMap<&'static str, Count>, ChainError> {
    let mut counts: BTreeMap<&'static str, Count> = BTreeMap::new();
    for number in from..=to.min(from.saturating_add(MAX_BLOCKS)) {
        let block: Option<Block> =
            chain.rpc().request("eth_getBlockByNumber", json!([U64::from(number), true])).await?;
        let Some(block) = block else { return Err(ChainError::UnknownBlock { block: number }) };
        if block.transactions.is_empty() {
            continue;
        }
        let mined: Vec<Mined> = chain.rpc().request("eth_getBlockReceipts", json!([U64::from(number)])).await?;
        if mined.len() != block.transactions.len() {
            return Err(ChainError::BadAnswer { method: "eth_getBlockReceipts" });
        }
        for (sent, mined) in block.transactions.iter().zip(&mined) {
            let kind = sent.to.and_then(|to| kind_of(to, &sent.input, vault_at, token_at));
            let count = counts.entry(kind.map_or("other", IntentKind::name)).or_default();
            count.transactions = count.transactions.saturating_add(1);
            count.gas = count.gas.saturating_add(mined.gas_used.to());
        }
    }
    Ok(counts)
}
