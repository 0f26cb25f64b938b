//! What the chain says, at a depth that the reader chooses (SYM-26).

use crate::{
    ContractError, Intent,
    rpc::{ChainConfig, ChainError, Header, Rpc},
};
use alloy::{
    primitives::{Address, B256, Bytes, U64, U128, U256},
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};
use serde_json::{Value, json};
use std::sync::Arc;
use symbolon_contracts::{court_address, factory, factory_address, token, vault, vault_address};
use symbolon_primitives::{Amount, Domain, Epoch, Lane, OrderDigest, Timestamp};

/// How deep a block has to be to be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// This many blocks below the head; 0 is the head itself.
    Blocks(u64),
    /// What the chain's consensus calls final.
    Finalized,
}

impl Depth {
    /// The depth an agreement asks for a value (SYM-26): the `finalized` block
    /// above the threshold, else the agreement's depth.
    #[must_use]
    pub fn for_value(value: Amount, finality_threshold: Amount, depth: u16) -> Self {
        if value > finality_threshold { Self::Finalized } else { Self::Blocks(u64::from(depth)) }
    }
}

/// An account of a vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// Free to withdraw or to earmark.
    pub balance: Amount,
    /// Locked as stake.
    pub stake: Amount,
    /// When the stake may be paid out; nothing while no timer runs.
    pub unbonding_at: Option<Timestamp>,
}

/// A channel of a vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// Earmarked, as an absolute total.
    pub allocated: Amount,
    /// Paid, as an absolute total.
    pub claimed: Amount,
    /// The epoch instruments have to name.
    pub epoch: Epoch,
    /// From when on the owner may release.
    pub expiry: Timestamp,
}

/// Whose a key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyOwner {
    /// The account it is bound to; zero for a key that is its own.
    pub owner: Address,
    /// Whether new earmarks for it are over.
    pub revoked: bool,
}

/// A connected view of one chain. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChainView {
    rpc: Arc<Rpc>,
}

impl ChainView {
    /// Connects and checks that an endpoint serves the configured chain.
    ///
    /// # Errors
    /// [`ChainError::Unreachable`] or [`ChainError::TimedOut`] when no endpoint
    /// answers, [`ChainError::WrongChain`] when they serve another chain.
    pub async fn connect(config: &ChainConfig) -> Result<Self, ChainError> {
        let view = Self { rpc: Arc::new(Rpc::new(config)?) };
        view.head().await?;
        Ok(view)
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// The chain's id (EIP-155).
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.rpc.chain_id()
    }

    /// The newest block.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn head(&self) -> Result<Header, ChainError> {
        self.rpc.head().await
    }

    /// The block with this number.
    ///
    /// # Errors
    /// [`ChainError::UnknownBlock`] when there is none yet.
    pub async fn block(&self, number: u64) -> Result<Header, ChainError> {
        self.rpc.block(number).await
    }

    /// The block at this depth. Reads name it by hash, so that several of them
    /// speak of one state, or fail when a reorganisation took it away.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn anchor(&self, depth: Depth) -> Result<Header, ChainError> {
        match depth {
            Depth::Blocks(0) => self.head().await,
            Depth::Blocks(blocks) => {
                let head = self.head().await?;
                self.block(head.number.saturating_sub(blocks)).await
            }
            Depth::Finalized => self.rpc.finalized().await,
        }
    }

    /// Whether there is code at the address.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn has_code(&self, address: Address, at: &Header) -> Result<bool, ChainError> {
        let code: Bytes = self.rpc.request("eth_getCode", json!([address, at_block(at)])).await?;
        Ok(!code.is_empty())
    }

    /// The account's ether, in wei, at the head.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn ether(&self, address: Address) -> Result<U256, ChainError> {
        self.rpc.request("eth_getBalance", json!([address, "latest"])).await
    }

    /// A call of a contract, at a block.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] when the contract refuses, [`ChainError::NoCode`]
    /// when it is not there, and errors of the endpoints.
    pub async fn call<C: SolCall>(&self, to: Address, call: &C, at: &Header) -> Result<C::Return, ChainError> {
        let request = json!({ "to": to, "data": Bytes::from(call.abi_encode()) });
        let answer: Bytes = self.rpc.request("eth_call", json!([request, at_block(at)])).await.map_err(reverted)?;
        if answer.is_empty() {
            return Err(ChainError::NoCode { address: to, block: at.number });
        }
        C::abi_decode_returns(&answer).map_err(|_| ChainError::BadAnswer { method: C::SIGNATURE })
    }

    /// Runs an intent without sending it, at the head.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] when the contract would refuse it.
    pub async fn simulate(&self, from: Address, intent: &Intent) -> Result<Bytes, ChainError> {
        let request = request_of(from, intent);
        self.rpc.request("eth_call", json!([request, "latest"])).await.map_err(reverted)
    }

    /// As [`ChainView::simulate`], on the state after a block.
    pub(crate) async fn simulate_at(&self, from: Address, intent: &Intent, block: u64) -> Result<Bytes, ChainError> {
        let request = request_of(from, intent);
        self.rpc.request("eth_call", json!([request, U64::from(block)])).await.map_err(reverted)
    }

    /// Gas that an intent needs at the head.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] when the contract would refuse it.
    pub async fn estimate_gas(&self, from: Address, intent: &Intent) -> Result<u64, ChainError> {
        let request = request_of(from, intent);
        let gas: U64 = self.rpc.request("eth_estimateGas", json!([request, "latest"])).await.map_err(reverted)?;
        Ok(gas.to())
    }

    /// The tip that the endpoint suggests, in wei for one gas, where it does.
    pub(crate) async fn suggested_tip(&self) -> Option<u128> {
        let tip: Result<U128, _> = self.rpc.request("eth_maxPriorityFeePerGas", json!([])).await;
        tip.ok().map(|tip| tip.to())
    }

    /// How many transactions of an account are mined, or wait to be.
    pub(crate) async fn transaction_count(&self, address: Address, tag: Value) -> Result<u64, ChainError> {
        let count: U64 = self.rpc.request("eth_getTransactionCount", json!([address, tag])).await?;
        Ok(count.to())
    }

    pub(crate) async fn send_raw(&self, raw: &[u8]) -> Result<B256, ChainError> {
        self.rpc.request("eth_sendRawTransaction", json!([Bytes::copy_from_slice(raw)])).await
    }

    /// How a transaction was mined; nothing when it is not.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn receipt(&self, hash: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        let receipt: Option<TransactionReceipt> = self.rpc.request("eth_getTransactionReceipt", json!([hash])).await?;
        match receipt {
            Some(receipt) if receipt.transaction_hash != hash => {
                Err(ChainError::BadAnswer { method: "eth_getTransactionReceipt" })
            }
            receipt => Ok(receipt),
        }
    }

    /// A vault that the factory deployed, checked at this block: it answers for
    /// `token`, sits at its CREATE2 address, and its factory and court are
    /// those of every chain.
    ///
    /// # Errors
    /// [`ChainError::ForeignVault`] for any other contract.
    ///
    /// # Safety of funds
    /// Never deposit into, or count on, a vault that this refuses.
    pub async fn vault(&self, address: Address, token: Address, at: &Header) -> Result<VaultView, ChainError> {
        let expected = vault_address(token);
        let foreign = || ChainError::ForeignVault { vault: address, token, expected };
        if address != expected {
            return Err(foreign());
        }
        let known = self.call(factory_address(), &factory::isVaultCall { vault: address }, at).await?;
        let holds = self.call(address, &vault::tokenCall {}, at).await?;
        let court = self.call(address, &vault::courtCall {}, at).await?;
        if known && holds == token && court == court_address() {
            Ok(VaultView { chain: self.clone(), address, token })
        } else {
            Err(foreign())
        }
    }

    /// A token's balance of an account.
    ///
    /// # Errors
    /// [`ChainError`] when the token does not answer as one.
    pub async fn token_balance(&self, token: Address, account: Address, at: &Header) -> Result<U256, ChainError> {
        self.call(token, &token::balanceOfCall { owner: account }, at).await
    }

    /// What a vault may move of an account's tokens.
    ///
    /// # Errors
    /// [`ChainError`] when the token does not answer as one.
    pub async fn allowance(
        &self,
        token: Address,
        owner: Address,
        spender: Address,
        at: &Header,
    ) -> Result<U256, ChainError> {
        self.call(token, &token::allowanceCall { owner, spender }, at).await
    }

    /// What a permit (EIP-2612) of this account is signed with: the token's
    /// domain separator and the account's nonce.
    ///
    /// # Errors
    /// [`ChainError`] when the token has no permits.
    pub async fn permit_terms(&self, token: Address, owner: Address, at: &Header) -> Result<(B256, U256), ChainError> {
        let separator = self.call(token, &token::DOMAIN_SEPARATORCall {}, at).await?;
        let nonce = self.call(token, &token::noncesCall { owner }, at).await?;
        Ok((separator, nonce))
    }
}

/// A checked vault.
#[derive(Clone, Debug)]
pub struct VaultView {
    chain: ChainView,
    address: Address,
    token: Address,
}

impl VaultView {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// What it holds.
    #[must_use]
    pub fn token(&self) -> Address {
        self.token
    }

    /// The chain it is on.
    #[must_use]
    pub fn chain(&self) -> &ChainView {
        &self.chain
    }

    /// The domain everything about it is signed under (SYM-05).
    #[must_use]
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.chain.chain_id(), vault: self.address }
    }

    /// An account.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn account(&self, account: Address, at: &Header) -> Result<AccountState, ChainError> {
        let state = self.chain.call(self.address, &vault::accountOfCall { account }, at).await?;
        let unbonding_at = state.unbondingAt.to::<u64>();
        Ok(AccountState {
            balance: Amount::from_u96(state.balance),
            stake: Amount::from_u96(state.stake),
            unbonding_at: (unbonding_at != 0).then_some(Timestamp(unbonding_at)),
        })
    }

    /// A channel. One that was never opened is all zeros.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn channel(
        &self,
        key: Address,
        payee: Address,
        lane: Lane,
        at: &Header,
    ) -> Result<ChannelState, ChainError> {
        let call = vault::channelOfCall { key, payee, lane: lane.word() };
        let state = self.chain.call(self.address, &call, at).await?;
        Ok(ChannelState {
            allocated: Amount::from_u96(state.allocated),
            claimed: Amount::from_u96(state.claimed),
            epoch: state.epoch.to(),
            expiry: Timestamp(state.expiry.to()),
        })
    }

    /// Whose a key is (SYM-05a).
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn owner_of(&self, key: Address, at: &Header) -> Result<KeyOwner, ChainError> {
        let state = self.chain.call(self.address, &vault::ownerOfKeyCall { key }, at).await?;
        Ok(KeyOwner { owner: state.owner, revoked: state.revoked })
    }

    /// Whether a provider was slashed for an order (SYM-12).
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn is_slashed(&self, provider: Address, order: OrderDigest, at: &Header) -> Result<bool, ChainError> {
        self.chain.call(self.address, &vault::isSlashedCall { provider, order: order.word() }, at).await
    }
}

/// A block parameter that a reorganisation invalidates instead of changing (EIP-1898).
fn at_block(at: &Header) -> Value {
    json!({ "blockHash": at.hash, "requireCanonical": true })
}

fn request_of(from: Address, intent: &Intent) -> Value {
    json!({ "from": from, "to": intent.to, "value": intent.value, "data": intent.data })
}

/// A refusal of a contract, told apart from one of the endpoint.
fn reverted(error: ChainError) -> ChainError {
    match error {
        ChainError::Refused { data: Some(data), .. } => ChainError::Reverted(ContractError::decode(&data)),
        // Code 3 is "execution reverted"; some endpoints leave the empty data out.
        ChainError::Refused { code: 3, .. } => ChainError::Reverted(ContractError::decode(&[])),
        other => other,
    }
}
