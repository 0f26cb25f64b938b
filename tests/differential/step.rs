//! One step of a history: who calls what, and how much later. A step is whole in itself, so that a history can be
//! cut and replayed.

use alloy_primitives::{Address, Bytes, Log};
use alloy_sol_types::SolCall;
use symbolon_contracts::{court, token, vault};

/// Everything a step can call, with its arguments.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Mint(token::mintCall),
    Approve(token::approveCall),
    Transfer(token::transferCall),
    Deposit(vault::depositCall),
    DepositWithPermit(vault::depositWithPermitCall),
    Withdraw(vault::withdrawCall),
    PayMany(vault::payManyCall),
    Bind(vault::bindCall),
    Revoke(vault::revokeCall),
    Open(vault::openCall),
    Release(vault::releaseCall),
    Claim(vault::claimCall),
    ClaimFor(vault::claimForCall),
    SettleQuorum(Box<vault::settleQuorumCall>),
    Stake(vault::stakeCall),
    RequestUnstake(vault::requestUnstakeCall),
    WithdrawStake(vault::withdrawStakeCall),
    Register(vault::registerCall),
    /// The vault's own `slash`, which only the court may call.
    VaultSlash(vault::slashCall),
    CourtSlash(Box<court::slashCall>),
}

/// Which contract a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Token,
    Vault,
    Court,
}

impl Call {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 20;

    pub(crate) fn target(&self) -> Target {
        match self {
            Self::Mint(_) | Self::Approve(_) | Self::Transfer(_) => Target::Token,
            Self::CourtSlash(_) => Target::Court,
            _ => Target::Vault,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mint(_) => "mint",
            Self::Approve(_) => "approve",
            Self::Transfer(_) => "transfer",
            Self::Deposit(_) => "deposit",
            Self::DepositWithPermit(_) => "depositWithPermit",
            Self::Withdraw(_) => "withdraw",
            Self::PayMany(_) => "payMany",
            Self::Bind(_) => "bind",
            Self::Revoke(_) => "revoke",
            Self::Open(_) => "open",
            Self::Release(_) => "release",
            Self::Claim(_) => "claim",
            Self::ClaimFor(_) => "claimFor",
            Self::SettleQuorum(_) => "settleQuorum",
            Self::Stake(_) => "stake",
            Self::RequestUnstake(_) => "requestUnstake",
            Self::WithdrawStake(_) => "withdrawStake",
            Self::Register(_) => "register",
            Self::VaultSlash(_) => "vault.slash",
            Self::CourtSlash(_) => "court.slash",
        }
    }

    pub(crate) fn calldata(&self) -> Bytes {
        match self {
            Self::Mint(call) => call.abi_encode(),
            Self::Approve(call) => call.abi_encode(),
            Self::Transfer(call) => call.abi_encode(),
            Self::Deposit(call) => call.abi_encode(),
            Self::DepositWithPermit(call) => call.abi_encode(),
            Self::Withdraw(call) => call.abi_encode(),
            Self::PayMany(call) => call.abi_encode(),
            Self::Bind(call) => call.abi_encode(),
            Self::Revoke(call) => call.abi_encode(),
            Self::Open(call) => call.abi_encode(),
            Self::Release(call) => call.abi_encode(),
            Self::Claim(call) => call.abi_encode(),
            Self::ClaimFor(call) => call.abi_encode(),
            Self::SettleQuorum(call) => call.abi_encode(),
            Self::Stake(call) => call.abi_encode(),
            Self::RequestUnstake(call) => call.abi_encode(),
            Self::WithdrawStake(call) => call.abi_encode(),
            Self::Register(call) => call.abi_encode(),
            Self::VaultSlash(call) => call.abi_encode(),
            Self::CourtSlash(call) => call.abi_encode(),
        }
        .into()
    }
}

/// A call by somebody, `wait` seconds after the step before.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) wait: u64,
    pub(crate) caller: Address,
    pub(crate) call: Call,
}

/// What a call did: what it returned, or the error it reverted with, and every log it left, the token's included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    pub(crate) data: Bytes,
    pub(crate) logs: Vec<Log>,
}

/// Where the contracts lie, and on which chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) chain_id: u64,
    pub(crate) token: Address,
    pub(crate) court: Address,
    pub(crate) vault: Address,
}
