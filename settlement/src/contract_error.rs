//! What a contract refused, decoded from its error data into a sentence with
//! the numbers needed to act.

use alloy::{
    primitives::{Bytes, U256},
    sol_types::{GenericContractError, SolInterface},
};
use std::fmt;
use symbolon_contracts::{court::CourtErrors, factory::FactoryErrors, vault::VaultErrors};
use token::TokenErrors;

/// What settlement tokens revert with. The vault hands none of it on, but a direct call does.
mod token {
    #![allow(missing_docs)]
    alloy::sol! {
        #[derive(Debug, PartialEq, Eq)]
        interface Token {
            // ERC-6093, which names them for every ERC-20.
            error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
            error ERC20InvalidSender(address sender);
            error ERC20InvalidReceiver(address receiver);
            error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
            error ERC20InvalidApprover(address approver);
            error ERC20InvalidSpender(address spender);
            // Those of the devnet's token, and of many lean ones.
            error InsufficientBalance();
            error InsufficientAllowance();
            error InvalidPermit();
            error PermitExpired();
            error TotalSupplyOverflow();
        }
    }
    pub(super) use Token::*;
}

/// A contract's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContractError {
    /// The vault's.
    Vault(VaultErrors),
    /// The court's.
    Court(CourtErrors),
    /// The factory's.
    Factory(FactoryErrors),
    /// The token's, where it uses the usual errors (ERC-6093, or their short forms).
    Token(TokenErrors),
    /// A `require` with a text, as older tokens have it.
    Text(String),
    /// A Solidity panic: a fault in the contract.
    Panic(U256),
    /// Anything else: bytes of a contract that is not ours, or none at all.
    Unknown(Bytes),
}

impl ContractError {
    /// Decodes error data.
    #[must_use]
    pub fn decode(data: &[u8]) -> Self {
        if let Ok(error) = VaultErrors::abi_decode(data) {
            return Self::Vault(error);
        }
        if let Ok(error) = CourtErrors::abi_decode(data) {
            return Self::Court(error);
        }
        if let Ok(error) = FactoryErrors::abi_decode(data) {
            return Self::Factory(error);
        }
        if let Ok(error) = TokenErrors::abi_decode(data) {
            return Self::Token(error);
        }
        match GenericContractError::abi_decode(data) {
            Ok(GenericContractError::Revert(text)) => Self::Text(text.reason),
            Ok(GenericContractError::Panic(panic)) => Self::Panic(panic.code),
            Err(_) => Self::Unknown(Bytes::copy_from_slice(data)),
        }
    }

    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        use TokenErrors as T;
        use VaultErrors as V;
        Some(match self {
            Self::Vault(V::InsufficientBalance(_)) => "deposit more, or release expired channels first",
            Self::Vault(V::TokenTransferFailed(_)) => "check the token's balance and the vault's allowance",
            Self::Vault(V::ExpiryTooFar(_)) => "choose an expiry at most 400 days ahead",
            Self::Vault(V::NotExpired(_)) => "wait for the expiry, or ask the payee to sign a Release",
            Self::Vault(V::SettleByPassed(_)) => "the order can only be paid by voucher now",
            Self::Vault(V::StakeLocked(_)) => "wait until the timer has run out",
            Self::Vault(V::UnstakeNotRequested(_)) => "request the unstake first",
            Self::Vault(V::NotKeyOwner(_)) => "send it from the account that owns the key",
            Self::Vault(V::KeyIsRevoked(_) | V::KeyIsBound(_) | V::KeyCannotBeBound(_)) => "use a fresh key",
            Self::Token(T::ERC20InsufficientAllowance(_) | T::InsufficientAllowance(_)) => {
                "approve the vault for the amount first"
            }
            Self::Token(T::ERC20InsufficientBalance(_) | T::InsufficientBalance(_)) => {
                "the account holds fewer tokens than that"
            }
            Self::Token(T::PermitExpired(_)) => "sign the permit again with a later deadline",
            _ => return None,
        })
    }
}

impl std::error::Error for ContractError {}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vault(error) => vault_sentence(error, f),
            Self::Court(error) => match error {
                CourtErrors::DifferentOrders(_) => f.write_str("the two Results are for different orders"),
                CourtErrors::SameResult(_) => f.write_str("the two Results are equal, which is no offence"),
                CourtErrors::BadEvidence(e) => write!(f, "signature {} of the evidence does not hold", e.which),
            },
            Self::Factory(FactoryErrors::ZeroAddress(_)) => f.write_str("the zero address has no vault"),
            Self::Token(error) => token_sentence(error, f),
            Self::Text(text) => write!(f, "the contract refused: {}", printable(text)),
            Self::Panic(code) => write!(f, "the contract panicked with code {code:#x}"),
            Self::Unknown(data) if data.is_empty() => f.write_str("the contract refused without a reason"),
            Self::Unknown(data) => write!(f, "the contract refused with unknown data {data}"),
        }
    }
}

/// A foreign contract's text goes to terminals and logs: no control characters, no novels.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn vault_sentence(error: &VaultErrors, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use VaultErrors as V;
    match error {
        V::InsufficientBalance(e) => write!(f, "the account has {} base units free, {} are needed", e.have, e.need),
        V::AmountTooLarge(e) => write!(f, "{} is more than an amount can be", e.amount),
        V::VaultFull(e) => write!(f, "the vault would hold {} base units, more than it can count", e.wouldHold),
        V::TokenTransferFailed(_) => f.write_str("the token did not move"),
        V::Reentered(_) => f.write_str("the token called back into the vault"),
        V::ZeroAddress(_) => f.write_str("the zero address is refused"),
        V::ZeroAmount(_) => f.write_str("an amount of zero is refused"),
        V::NotKeyOwner(e) => write!(f, "{} does not own key {}", e.caller, e.key),
        V::KeyIsBound(e) => write!(f, "key {} is bound to an owner", e.key),
        V::KeyIsRevoked(e) => write!(f, "key {} is revoked", e.key),
        V::KeyCannotBeBound(e) => write!(f, "key {} cannot be bound: it owns keys or holds a stake", e.key),
        V::BadSignature(_) => f.write_str("a signature does not hold"),
        V::BadLane(e) => write!(f, "lane {} has no valid royalty", e.lane),
        V::ExpiryTooFar(e) => write!(f, "expiry {} is too far ahead, at most {}", e.expiry, e.latest),
        V::ExpiryPassed(e) => write!(f, "expiry {} has passed", e.expiry),
        V::AllocationTooLarge(e) => write!(f, "the earmark for {} would be more than an amount can be", e.payee),
        V::NotExpired(e) => {
            write!(f, "the channel to {} expires at {} and its payee has not agreed", e.payee, e.expiry)
        }
        V::EpochExhausted(e) => write!(f, "the channel to {} has no epochs left", e.payee),
        V::BadRecords(e) => write!(f, "the packed records are malformed at byte {}", e.offset),
        V::QuorumTooSmall(e) => write!(f, "a quorum of {} is too small", e.quorum),
        V::TooManyReplicas(e) => write!(f, "{} replicas are too many", e.replicas),
        V::QuorumNotMajority(e) => write!(f, "a quorum of {} is no majority of {} replicas", e.quorum, e.replicas),
        V::NotEnoughRows(e) => write!(f, "{} rows do not make a quorum of {}", e.rows, e.quorum),
        V::BadRoster(_) => f.write_str("the leaves are not the roster that was signed"),
        V::BadRow(e) => write!(f, "row {} does not hold", e.row),
        V::SettleByPassed(e) => write!(f, "the order could be settled until {}", e.settleBy),
        V::FuelAboveMaximum(e) => write!(f, "fuel {} is above the order's maximum {}", e.fuel, e.maxFuel),
        V::NoStake(e) => write!(f, "{} has no stake", e.provider),
        V::StakeLocked(e) => write!(f, "the stake is locked until {}", e.unbondingAt),
        V::UnstakeNotRequested(_) => f.write_str("no unstake was requested"),
        V::NotCourt(e) => write!(f, "{} is not the court", e.caller),
        V::AlreadySlashed(e) => write!(f, "{} was slashed for order {} before", e.provider, e.order),
        V::RegistrationTooLong(e) => write!(f, "a registration of {} bytes is too long", e.length),
    }
}

fn token_sentence(error: &TokenErrors, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use TokenErrors as T;
    match error {
        T::ERC20InsufficientAllowance(e) => {
            write!(f, "{} may move {} base units, {} are needed", e.spender, e.allowance, e.needed)
        }
        T::ERC20InsufficientBalance(e) => {
            write!(f, "{} holds {} base units, {} are needed", e.sender, e.balance, e.needed)
        }
        T::ERC20InvalidApprover(e) => write!(f, "the token refuses {} as approver", e.approver),
        T::ERC20InvalidReceiver(e) => write!(f, "the token refuses {} as receiver", e.receiver),
        T::ERC20InvalidSender(e) => write!(f, "the token refuses {} as sender", e.sender),
        T::ERC20InvalidSpender(e) => write!(f, "the token refuses {} as spender", e.spender),
        T::InsufficientAllowance(_) => f.write_str("the allowance is smaller than the amount"),
        T::InsufficientBalance(_) => f.write_str("the sender holds fewer tokens than the amount"),
        T::InvalidPermit(_) => f.write_str("the permit's signature does not hold"),
        T::PermitExpired(_) => f.write_str("the permit has expired"),
        T::TotalSupplyOverflow(_) => f.write_str("the token's supply would be more than it can count"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use alloy::{
        primitives::{Address, aliases::U96},
        sol_types::{Revert, SolError},
    };
    use symbolon_contracts::vault;

    #[test]
    fn a_refusal_becomes_a_sentence_with_its_numbers() {
        let data = vault::InsufficientBalance { have: U96::from(3), need: U96::from(7) }.abi_encode();
        let error = ContractError::decode(&data);
        assert!(matches!(error, ContractError::Vault(VaultErrors::InsufficientBalance(_))));
        assert_eq!(error.to_string(), "the account has 3 base units free, 7 are needed");
        assert!(error.hint().is_some());

        let token = token::ERC20InsufficientAllowance {
            spender: Address::repeat_byte(1),
            allowance: U256::from(1),
            needed: U256::from(2),
        };
        assert!(matches!(ContractError::decode(&token.abi_encode()), ContractError::Token(_)));
        // Of one name with the vault's, but without its numbers.
        let short = ContractError::decode(&token::InsufficientBalance {}.abi_encode());
        assert_eq!(short.to_string(), "the sender holds fewer tokens than the amount");
    }

    #[test]
    fn w7_foreign_data_is_shown_and_never_trusted() {
        let text = Revert::from("no\u{1b}[31m money").abi_encode();
        assert_eq!(ContractError::decode(&text).to_string(), "the contract refused: no[31m money");
        assert_eq!(ContractError::decode(&[]).to_string(), "the contract refused without a reason");
        for length in 0..80 {
            let data = vec![0xee; length];
            assert!(matches!(ContractError::decode(&data), ContractError::Unknown(_)));
        }
        // Our selector with cut arguments is not our error.
        let mut cut = vault::InsufficientBalance { have: U96::from(3), need: U96::from(7) }.abi_encode();
        cut.truncate(20);
        assert!(matches!(ContractError::decode(&cut), ContractError::Unknown(_)));
    }
}
