//! What is to happen on chain, once.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use std::fmt;

/// What a transaction is for, as reports group it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IntentKind {
    /// Allows the vault to move tokens.
    Approve,
    /// Moves tokens into a vault.
    Deposit,
    /// Moves tokens out of a vault.
    Withdraw,
    /// Credits many accounts from one.
    PayMany,
    /// Binds a payer key to its owner.
    Bind,
    /// Ends new earmarks for a key.
    Revoke,
    /// Opens or tops up channels.
    Open,
    /// Takes back what channels have left.
    Release,
    /// Claims vouchers.
    Claim,
    /// Settles an order by quorum.
    SettleQuorum,
    /// Locks tokens as stake.
    Stake,
    /// Starts the stake's timer.
    RequestUnstake,
    /// Pays the stake out.
    WithdrawStake,
    /// Registers a peer id.
    Register,
    /// Shows the court two Results.
    Slash,
    /// Deploys a contract.
    Deploy,
    /// Mints devnet tokens.
    Mint,
}

impl IntentKind {
    const ALL: [Self; 17] = [
        Self::Approve,
        Self::Deposit,
        Self::Withdraw,
        Self::PayMany,
        Self::Bind,
        Self::Revoke,
        Self::Open,
        Self::Release,
        Self::Claim,
        Self::SettleQuorum,
        Self::Stake,
        Self::RequestUnstake,
        Self::WithdrawStake,
        Self::Register,
        Self::Slash,
        Self::Deploy,
        Self::Mint,
    ];

    /// The name that stands in reports and in the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deposit => "deposit",
            Self::Withdraw => "withdraw",
            Self::PayMany => "pay_many",
            Self::Bind => "bind",
            Self::Revoke => "revoke",
            Self::Open => "open",
            Self::Release => "release",
            Self::Claim => "claim",
            Self::SettleQuorum => "settle_quorum",
            Self::Stake => "stake",
            Self::RequestUnstake => "request_unstake",
            Self::WithdrawStake => "withdraw_stake",
            Self::Register => "register",
            Self::Slash => "slash",
            Self::Deploy => "deploy",
            Self::Mint => "mint",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it only collects what was signed, and twice is as good as once
    /// (SYM-09): such an intent goes out even when the journal cannot be
    /// written (N12: stop signing, keep claiming).
    #[must_use]
    pub const fn only_collects(self) -> bool {
        matches!(self, Self::Claim | Self::SettleQuorum)
    }

    /// Whether it moves what its sender has in its wallet, account, stake or earmarks: whoever plans on these waits
    /// for its end. What only collects may come at any time.
    #[must_use]
    pub const fn moves_own_money(self) -> bool {
        match self {
            Self::Approve
            | Self::Deposit
            | Self::Withdraw
            | Self::PayMany
            | Self::Open
            | Self::Release
            | Self::Stake
            | Self::RequestUnstake
            | Self::WithdrawStake
            | Self::Mint => true,
            Self::Bind
            | Self::Revoke
            | Self::Claim
            | Self::SettleQuorum
            | Self::Register
            | Self::Slash
            | Self::Deploy => false,
        }
    }
}

impl fmt::Display for IntentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One call, to be mined once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What it is for.
    pub kind: IntentKind,
    /// The contract called.
    pub to: Address,
    /// Ether sent along, in wei.
    pub value: U256,
    /// The call.
    pub data: Bytes,
    /// Tells apart two intents that are otherwise equal and are both meant.
    pub tag: B256,
}

impl Intent {
    /// A call without ether.
    #[must_use]
    pub fn new(kind: IntentKind, to: Address, data: impl Into<Bytes>) -> Self {
        Self { kind, to, value: U256::ZERO, data: data.into(), tag: B256::ZERO }
    }

    /// The same under another tag.
    ///
    /// # Safety of funds
    /// Equal intents with equal tags are one transaction for ever; a fresh tag
    /// makes it happen again.
    #[must_use]
    pub fn tagged(self, tag: B256) -> Self {
        Self { tag, ..self }
    }

    /// Its name in the journal: the hash of all it is, its sender and its chain.
    #[must_use]
    pub fn id(&self, chain_id: u64, sender: Address) -> B256 {
        let body = keccak256(self.to_bytes());
        let parts: [&[u8]; 4] =
            [&chain_id.to_be_bytes(), sender.as_slice(), self.kind.name().as_bytes(), body.as_slice()];
        keccak256(parts.concat())
    }

    /// To (20), value (32), tag (32), data.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.to.as_slice(), &self.value.to_be_bytes::<32>(), self.tag.as_slice(), &self.data].concat()
    }

    pub(crate) fn from_bytes(kind: IntentKind, bytes: &[u8]) -> Option<Self> {
        let (to, rest) = bytes.split_first_chunk::<20>()?;
        let (value, rest) = rest.split_first_chunk::<32>()?;
        let (tag, data) = rest.split_first_chunk::<32>()?;
        Some(Self {
            kind,
            to: Address::from(*to),
            value: U256::from_be_bytes(*value),
            tag: B256::from(*tag),
            data: Bytes::copy_from_slice(data),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l10_an_intent_reads_back_and_every_part_of_it_names_it() {
        let intent = Intent::new(IntentKind::Open, Address::repeat_byte(1), vec![1, 2, 3]);
        assert_eq!(Intent::from_bytes(intent.kind, &intent.to_bytes()), Some(intent.clone()));
        assert_eq!(Intent::from_bytes(intent.kind, &[0; 83]), None);
        let sender = Address::repeat_byte(9);
        let mut ids = vec![
            intent.id(1, sender),
            intent.id(2, sender),
            intent.id(1, Address::ZERO),
            intent.clone().tagged(B256::repeat_byte(1)).id(1, sender),
            Intent { kind: IntentKind::Claim, ..intent.clone() }.id(1, sender),
            Intent { to: Address::ZERO, ..intent.clone() }.id(1, sender),
            Intent { value: U256::from(1), ..intent.clone() }.id(1, sender),
            Intent { data: Bytes::new(), ..intent }.id(1, sender),
        ];
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 8);
        assert!(IntentKind::ALL.iter().all(|kind| IntentKind::from_name(kind.name()) == Some(*kind)));
    }
}
