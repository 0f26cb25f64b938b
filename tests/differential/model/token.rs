//! The settlement token: a sound ERC-20 with EIP-2612 permits.

use super::{Answer, Model, Refusal};
use alloy_primitives::{Address, Log, U256};
use alloy_sol_types::{SolEvent, SolStruct, eip712_domain, sol};
use std::collections::BTreeMap;
use symbolon_contracts::{token, vault};
use symbolon_primitives::Signature;

sol! {
    /// EIP-2612.
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

/// Who holds what, and what may be taken from whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token {
    pub(crate) supply: U256,
    pub(crate) balances: BTreeMap<Address, U256>,
    pub(crate) allowances: BTreeMap<(Address, Address), U256>,
    pub(crate) nonces: BTreeMap<Address, u64>,
}

impl Token {
    pub(crate) fn balance(&self, account: Address) -> U256 {
        self.balances.get(&account).copied().unwrap_or_default()
    }

    pub(crate) fn allowance(&self, owner: Address, spender: Address) -> U256 {
        self.allowances.get(&(owner, spender)).copied().unwrap_or_default()
    }

    pub(crate) fn nonce(&self, owner: Address) -> u64 {
        self.nonces.get(&owner).copied().unwrap_or_default()
    }
}

/// What the token's holder signs for a permit.
pub(crate) fn permit_digest(chain_id: u64, token: Address, permit: &Permit) -> [u8; 32] {
    let domain = eip712_domain! {
        name: "symbolon devnet token",
        version: "1",
        chain_id: chain_id,
        verifying_contract: token,
    };
    permit.eip712_signing_hash(&domain).0
}

impl Model {
    fn token_log(&mut self, event: &impl SolEvent) {
        self.logs.push(Log { address: self.place.token, data: event.encode_log_data() });
    }

    pub(super) fn mint(&mut self, call: &token::mintCall) -> Answer {
        let Some(supply) = self.state.token.supply.checked_add(call.amount) else {
            return super::refuse(token::TotalSupplyOverflow {});
        };
        self.state.token.supply = supply;
        *self.state.token.balances.entry(call.to).or_default() += call.amount;
        self.token_log(&token::Transfer { from: Address::ZERO, to: call.to, amount: call.amount });
        Ok(vec![])
    }

    pub(super) fn approve(&mut self, caller: Address, call: &token::approveCall) -> Answer {
        self.state.token.allowances.insert((caller, call.spender), call.amount);
        self.token_log(&token::Approval { owner: caller, spender: call.spender, amount: call.amount });
        Ok(vec![U256::ONE])
    }

    pub(super) fn transfer(&mut self, caller: Address, call: &token::transferCall) -> Answer {
        self.move_tokens(caller, call.to, call.amount)?;
        Ok(vec![U256::ONE])
    }

    fn move_tokens(&mut self, from: Address, to: Address, amount: U256) -> Result<(), Refusal> {
        let Some(left) = self.state.token.balance(from).checked_sub(amount) else {
            return super::refuse(token::InsufficientBalance {});
        };
        self.state.token.balances.insert(from, left);
        *self.state.token.balances.entry(to).or_default() += amount;
        self.token_log(&token::Transfer { from, to, amount });
        Ok(())
    }

    /// Takes from `owner` what it allowed the vault.
    pub(super) fn pull(&mut self, owner: Address, amount: u128) -> bool {
        let (spender, amount) = (self.place.vault, U256::from(amount));
        let allowed = self.state.token.allowance(owner, spender);
        let Some(left) = allowed.checked_sub(amount) else { return false };
        if allowed != U256::MAX {
            self.state.token.allowances.insert((owner, spender), left);
        }
        self.move_tokens(owner, spender, amount).is_ok()
    }

    /// Moves tokens out of the vault; false when nothing leaves it, because it would get them itself.
    pub(super) fn pay_out(&mut self, to: Address, amount: u128) -> bool {
        let vault = self.place.vault;
        self.move_tokens(vault, to, U256::from(amount)).is_ok() && to != vault
    }

    /// A permit that is not good changes nothing.
    pub(super) fn permit(&mut self, owner: Address, call: &vault::depositWithPermitCall) {
        let nonce = self.state.token.nonce(owner);
        let permit = Permit {
            owner,
            spender: self.place.vault,
            value: U256::from(call.amount),
            nonce: U256::from(nonce),
            deadline: call.deadline,
        };
        let digest = permit_digest(self.place.chain_id, self.place.token, &permit);
        let mut compact = [call.r.0, call.s.0].concat();
        if call.v == 28 {
            compact[32] |= 0x80;
        }
        let signed = (call.v == 27 || call.v == 28)
            && Signature::try_from(compact.as_slice()).is_ok_and(|s| s.recover(&digest) == Ok(owner));
        if !signed || U256::from(self.now) > call.deadline {
            self.notes.push("a permit failed and the deposit went on");
            return;
        }
        self.state.token.nonces.insert(owner, nonce + 1);
        self.state.token.allowances.insert((owner, permit.spender), permit.value);
        self.token_log(&token::Approval { owner, spender: permit.spender, amount: permit.value });
    }
}
