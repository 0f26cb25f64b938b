//! The deployed bytecode, in an EVM of its own under Osaka rules.

use crate::step::{Outcome, Place, Step, Target};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use revm::{
    Context, ExecuteCommitEvm, ExecuteEvm, MainBuilder, MainContext, MainnetEvm,
    context::{BlockEnv, TxEnv},
    context_interface::result::ExecutionResult,
    database::{CacheDB, EmptyDB},
    handler::MainnetContext,
    primitives::{TxKind, hardfork::SpecId},
    state::EvmState,
};
use symbolon_contracts::{
    court_creation_code, factory, factory_creation_code, token_creation_code, vault, vault_address_of,
};

/// The time of the first block.
pub(crate) const GENESIS_SECS: u64 = 1_800_000_000;

/// The chain's id: that of a devnet.
pub(crate) const CHAIN_ID: u64 = 31_337;

/// The most gas a transaction may have under Osaka rules (EIP-7825).
const GAS_LIMIT: u64 = 1 << 24;

/// Token, court, factory and the vault that the factory deployed.
#[derive(Debug)]
pub(crate) struct Chain {
    evm: MainnetEvm<MainnetContext<CacheDB<EmptyDB>>>,
    pub(crate) place: Place,
    now: u64,
}

impl Chain {
    /// Deploys everything by its committed creation code.
    pub(crate) fn new() -> Self {
        let evm = Context::mainnet()
            .with_db(CacheDB::new(EmptyDB::default()))
            .modify_cfg_chained(|cfg| {
                cfg.set_spec_and_mainnet_gas_params(SpecId::OSAKA);
                cfg.chain_id = CHAIN_ID;
                cfg.disable_nonce_check = true;
            })
            .build_mainnet();
        let nowhere = Place { chain_id: CHAIN_ID, token: Address::ZERO, court: Address::ZERO, vault: Address::ZERO };
        let mut chain = Self { evm, place: nowhere, now: GENESIS_SECS };
        let court = chain.create(court_creation_code());
        let token = chain.create(token_creation_code());
        let factory = chain.create(factory_creation_code(court));
        let (deployed, _) = chain.execute(Address::ZERO, factory, factory::deployCall { token }.abi_encode().into());
        assert!(deployed.succeeded, "the factory refused: {}", deployed.data);
        let vault = vault_address_of(factory, court, token);
        assert_eq!(deployed.data, Bytes::from(vault.abi_encode()), "the vault lies where its address says");
        chain.place = Place { chain_id: CHAIN_ID, token, court, vault };
        assert_eq!(chain.view::<vault::tokenCall>(vault, &vault::tokenCall {}), token);
        assert_eq!(chain.view::<vault::courtCall>(vault, &vault::courtCall {}), court);
        chain
    }

    fn create(&mut self, code: Bytes) -> Address {
        let tx = self.transaction(Address::ZERO, TxKind::Create, code);
        let result = self.evm.transact_commit(tx).expect("a sound transaction");
        result.created_address().expect("the creation code runs")
    }

    /// Runs one step; answers also how many words of the vault's storage it changed.
    pub(crate) fn apply(&mut self, step: &Step) -> (Outcome, usize) {
        self.now += step.wait;
        let to = match step.call.target() {
            Target::Token => self.place.token,
            Target::Vault => self.place.vault,
            Target::Court => self.place.court,
        };
        self.execute(step.caller, to, step.call.calldata())
    }

    /// The answer of a view.
    pub(crate) fn view<C: SolCall>(&mut self, to: Address, call: &C) -> C::Return {
        let (outcome, _) = self.run(Address::ZERO, to, call.abi_encode().into());
        assert!(outcome.succeeded, "{} reverted: {}", C::SIGNATURE, outcome.data);
        C::abi_decode_returns(&outcome.data).expect("a view answers by its ABI")
    }

    /// Puts a channel into a late epoch, which no test could reach by releases. Where a channel's word lies, and how it
    /// is packed, stands in the protocol (section 1.2).
    pub(crate) fn set_epoch(&mut self, key: Address, payee: Address, lane: B256, epoch: u32) {
        let slot = keccak256((key, payee, lane).abi_encode());
        let word = U256::from(epoch) << 192;
        let vault = self.place.vault;
        self.evm.ctx.modify_db(|db| db.insert_account_storage(vault, slot.into(), word).expect("memory"));
    }

    fn execute(&mut self, caller: Address, to: Address, data: Bytes) -> (Outcome, usize) {
        let (outcome, state) = self.run(caller, to, data);
        let vault = self.place.vault;
        let changed =
            state.get(&vault).map_or(0, |account| account.storage.values().filter(|s| s.is_changed()).count());
        self.evm.commit(state);
        (outcome, changed)
    }

    fn run(&mut self, caller: Address, to: Address, data: Bytes) -> (Outcome, EvmState) {
        self.evm.set_block(BlockEnv { timestamp: U256::from(self.now), gas_limit: u64::MAX, ..BlockEnv::default() });
        let tx = self.transaction(caller, TxKind::Call(to), data);
        let done = self.evm.transact(tx).expect("a sound transaction");
        let outcome = match done.result {
            ExecutionResult::Success { logs, output, .. } => {
                Outcome { succeeded: true, data: output.into_data(), logs }
            }
            ExecutionResult::Revert { output, .. } => Outcome { succeeded: false, data: output, logs: Vec::new() },
            // No call may halt: it would burn all gas. Never equal to what the model says.
            ExecutionResult::Halt { reason, .. } => {
                let data = format!("halted: {reason:?}").into_bytes().into();
                Outcome { succeeded: false, data, logs: Vec::new() }
            }
        };
        (outcome, done.state)
    }

    fn transaction(&self, caller: Address, kind: TxKind, data: Bytes) -> TxEnv {
        TxEnv::builder()
            .caller(caller)
            .kind(kind)
            .data(data)
            .gas_limit(GAS_LIMIT)
            .chain_id(Some(CHAIN_ID))
            .build()
            .expect("a sound transaction")
    }
}
