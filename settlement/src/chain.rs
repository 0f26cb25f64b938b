//! What the chain says, at a depth that the reader chooses (SYM-26).

use crate::{
    ContractError, Intent, TxConfig,
    error::ChainError,
    rpc::{ChainConfig, EndpointStatus, Header, Rpc, Trust, parse},
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

/// How a transaction was mined, without what endpoints tell differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mined {
    pub(crate) hash: B256,
    pub(crate) block: u64,
    pub(crate) block_hash: B256,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) fee_wei: u128,
}

/// A connected view of one chain. Cheap to clone.
///
/// Of several endpoints more than half have to give the same answer; what does
/// not come about halts new money, with an error that says which endpoint said
/// what. [`ChainView::for_collecting`] makes do with one.
#[derive(Clone, Debug)]
pub struct ChainView {
    rpc: Arc<Rpc>,
    trust: Trust,
}

impl ChainView {
    /// Connects and checks that an endpoint serves the configured chain.
    ///
    /// # Errors
    /// [`ChainError::Unreachable`] or [`ChainError::TimedOut`] when no endpoint
    /// answers, [`ChainError::WrongChain`] when they serve another chain.
    pub async fn connect(config: &ChainConfig) -> Result<Self, ChainError> {
        let view = Self { rpc: Arc::new(Rpc::new(config)?), trust: Trust::Quorum };
        view.head().await?;
        Ok(view)
    }

    /// As [`ChainView::connect`], for whoever only has something to collect: one
    /// endpoint that serves the chain is enough to start with.
    ///
    /// # Errors
    /// As [`ChainView::connect`].
    pub async fn connect_any(config: &ChainConfig) -> Result<Self, ChainError> {
        let view = Self { rpc: Arc::new(Rpc::new(config)?), trust: Trust::Quorum };
        view.for_collecting().head().await?;
        Ok(view)
    }

    /// The same chain by the word of a single endpoint.
    ///
    /// # Safety of funds
    /// Only for what collects money that is signed already (SYM-09: nothing
    /// that is submitted lowers what an instrument pays). Nothing may be
    /// accepted or signed on what this says.
    #[must_use]
    pub fn for_collecting(&self) -> Self {
        Self { rpc: Arc::clone(&self.rpc), trust: Trust::Any }
    }

    /// How each endpoint stands.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        self.rpc.status()
    }

    /// Why the newest block could not be told at the last look, if it could
    /// not: as long as there is a reason, nothing new is to be signed or
    /// accepted.
    #[must_use]
    pub fn trouble(&self) -> Option<ChainError> {
        self.rpc.trouble()
    }

    pub(crate) fn rpc(&self) -> &Arc<Rpc> {
        &self.rpc
    }

    pub(crate) fn trust(&self) -> Trust {
        self.trust
    }

    pub(crate) fn endpoint_count(&self) -> usize {
        self.rpc.endpoint_count()
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
        self.rpc.head(self.trust).await
    }

    /// The block with this number.
    ///
    /// # Errors
    /// [`ChainError::UnknownBlock`] when there is none yet.
    pub async fn block(&self, number: u64) -> Result<Header, ChainError> {
        self.rpc.block(self.trust, number).await
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
                // However the newest blocks fork: those at the depth are what has to agree.
                let head = self.head().await?;
                self.block(head.number.saturating_sub(blocks)).await
            }
            Depth::Finalized => self.rpc.finalized(self.trust).await,
        }
    }

    /// Whether there is code at the address.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers.
    pub async fn has_code(&self, address: Address, at: &Header) -> Result<bool, ChainError> {
        self.ask("eth_getCode", json!([address, at_block(at)]), |code: Bytes| !code.is_empty()).await
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
        let answer = self.ask("eth_call", json!([request, at_block(at)]), |answer: Bytes| answer).await;
        let answer = answer.map_err(reverted)?;
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
        let answer = match self.trust {
            Trust::Any => self.rpc.lenient("eth_call", &json!([request, "latest"])).await,
            Trust::Quorum => {
                let head = self.head().await?;
                self.ask("eth_call", json!([request, at_block(&head)]), |answer: Bytes| answer).await
            }
        };
        answer.map_err(reverted)
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
        let gas: U64 = self.rpc.lenient("eth_estimateGas", &json!([request, "latest"])).await.map_err(reverted)?;
        Ok(gas.to())
    }

    /// The tip that the endpoint suggests, in wei for one gas, where it does.
    pub(crate) async fn suggested_tip(&self) -> Option<u128> {
        let tip: Result<U128, _> = self.rpc.request("eth_maxPriorityFeePerGas", json!([])).await;
        tip.ok().map(|tip| tip.to())
    }

    /// What one gas is about to cost after `head`, in wei: its base fee and the tip that a transaction would offer, which
    /// is what the endpoint suggests, as far as the usual caps believe it.
    pub async fn wei_per_gas(&self, head: &Header) -> u128 {
        let usual = TxConfig::default();
        let tip = self.suggested_tip().await.unwrap_or(usual.tip_per_gas).min(usual.max_tip_per_gas);
        head.base_fee.saturating_add(tip)
    }

    /// How many transactions of an account are mined, or wait to be.
    pub(crate) async fn next_nonce(&self, address: Address) -> Result<u64, ChainError> {
        self.rpc.high(self.trust, "eth_getTransactionCount", &json!([address, "pending"])).await
    }

    /// How many transactions of an account were mined up to a block.
    pub(crate) async fn nonce_at(&self, address: Address, block: u64) -> Result<u64, ChainError> {
        let params = json!([address, U64::from(block)]);
        self.ask("eth_getTransactionCount", params, |count: U64| count.to()).await
    }

    /// Hands a signed transaction to every endpoint.
    pub(crate) async fn send_raw(&self, raw: &[u8]) -> Result<(), ChainError> {
        self.rpc.broadcast(raw).await
    }

    /// Whether an endpoint knows a transaction, mined or not.
    pub(crate) async fn knows(&self, hash: B256) -> Result<bool, ChainError> {
        let found: Option<Value> = self.rpc.request("eth_getTransactionByHash", json!([hash])).await?;
        Ok(found.is_some())
    }

    /// Sender, nonce and hash of a block's transactions.
    pub(crate) async fn senders(&self, block: u64) -> Result<Vec<(Address, u64, B256)>, ChainError> {
        #[derive(serde::Deserialize)]
        struct Block {
            transactions: Vec<Sent>,
        }
        #[derive(serde::Deserialize)]
        struct Sent {
            from: Address,
            nonce: U64,
            hash: B256,
        }
        let found = self.ask("eth_getBlockByNumber", json!([U64::from(block), true]), |found: Option<Block>| {
            found.map(|found| found.transactions.iter().map(|tx| (tx.from, tx.nonce.to(), tx.hash)).collect::<Vec<_>>())
        });
        found.await?.ok_or(ChainError::UnknownBlock { block })
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

    /// As [`ChainView::receipt`], as far as endpoints have to agree on it.
    pub(crate) async fn mined(&self, hash: B256) -> Result<Option<Mined>, ChainError> {
        let method = "eth_getTransactionReceipt";
        let mined = self.ask(method, json!([hash]), |receipt: Option<TransactionReceipt>| {
            let receipt = receipt?;
            Some((
                receipt.transaction_hash,
                receipt.block_number,
                receipt.block_hash,
                receipt.status(),
                receipt.gas_used,
                receipt.effective_gas_price,
            ))
        });
        match mined.await? {
            None => Ok(None),
            Some((found, Some(block), Some(block_hash), succeeded, gas_used, price)) if found == hash => {
                let fee_wei = u128::from(gas_used).saturating_mul(price);
                Ok(Some(Mined { hash, block, block_hash, succeeded, gas_used, fee_wei }))
            }
            Some(_) => Err(ChainError::BadAnswer { method }),
        }
    }

    /// Asks with this view's trust; `read` makes what endpoints have to agree on.
    pub(crate) async fn ask<R, T>(
        &self,
        method: &'static str,
        params: Value,
        read: impl Fn(R) -> T,
    ) -> Result<T, ChainError>
    where
        R: serde::de::DeserializeOwned,
        T: PartialEq + std::fmt::Debug,
    {
        self.rpc.ask(self.trust, method, &params, |_, value| Ok(read(parse(method, value)?))).await
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

    /// The same vault by the word of a single endpoint.
    ///
    /// # Safety of funds
    /// As [`ChainView::for_collecting`]: nothing may be accepted or signed on it.
    #[must_use]
    pub fn for_collecting(&self) -> Self {
        Self { chain: self.chain.for_collecting(), ..self.clone() }
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
        ChainError::Refused { ref data, .. } if error.is_revert() => {
            ChainError::Reverted(ContractError::decode(data.as_ref().map_or(&[], |data| data.as_ref())))
        }
        other => other,
    }
}
