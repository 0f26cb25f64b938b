//! Which chain, which vault: the network file, and connecting by it.

use crate::{
    args::{FeeArgs, NetworkArgs},
    fail::{Failure, Hint},
    output::foreign,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use symbolon_node::{ChannelReason, Timing};
use symbolon_primitives::{Address, Domain};
use symbolon_settlement::{ChainConfig, ChainError, ChainView, TxConfig, TxError, VaultView};

/// A network, as `symbolon devnet up` writes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkFile {
    /// RPC endpoint.
    pub(crate) rpc: String,
    /// Further RPC endpoints: of all together, more than half have to agree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) more_rpc: Vec<String>,
    /// The chain's id (EIP-155).
    pub(crate) chain_id: u64,
    /// The settlement token.
    pub(crate) token: Address,
    /// The token's vault.
    pub(crate) vault: Address,
    /// The block the vault was deployed in.
    pub(crate) deployed_at: u64,
    /// Whether everybody lives on one machine with a block a second.
    pub(crate) devnet: bool,
}

impl NetworkFile {
    /// Reads the file, with the command line's endpoint in place of its own.
    pub(crate) fn read(args: &NetworkArgs) -> Result<Self, Failure> {
        let path = &args.network;
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::input(format!("cannot read the network file {}: {e}", path.display()))
                .hint("start a devnet with `symbolon devnet up`, or name another file with --network")
        })?;
        let mut network: Self = serde_json::from_str(&text).map_err(|e| {
            Failure::input(format!("{} is not a network file: {e}", path.display()))
                .hint("write it anew with `symbolon devnet up`")
        })?;
        if let [first, more @ ..] = args.rpc.as_slice() {
            network.rpc.clone_from(first);
            network.more_rpc = more.to_vec();
        }
        Ok(network)
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Failure::input(format!("cannot write the network file: {e}")))?;
        std::fs::write(path, text + "\n").map_err(|e| Failure::input(format!("cannot write {}: {e}", path.display())))
    }

    /// The network's times.
    pub(crate) fn timing(&self) -> Timing {
        if self.devnet { Timing::DEVNET } else { Timing::PUBLIC }
    }

    /// What everything about the vault is signed under.
    pub(crate) fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, vault: self.vault }
    }

    /// How to reach the chain.
    pub(crate) fn chain_config(&self) -> ChainConfig {
        let urls = [vec![self.rpc.clone()], self.more_rpc.clone()].concat();
        ChainConfig::new(self.rpc.clone(), self.chain_id).with_urls(urls)
    }

    /// How transactions are sent and watched, within the caps of the command line.
    pub(crate) fn tx_config(&self, fees: &FeeArgs) -> TxConfig {
        let usual = TxConfig { confirmations: u64::from(self.timing().depth).saturating_add(1), ..TxConfig::default() };
        TxConfig {
            poll: if self.devnet { std::time::Duration::from_millis(150) } else { usual.poll },
            max_fee_per_gas: fees.max_gas_price.unwrap_or(usual.max_fee_per_gas),
            max_tx_wei: fees.max_tx_fee.unwrap_or(usual.max_tx_wei),
            max_day_wei: fees.max_day_fee.unwrap_or(usual.max_day_wei),
            ..usual
        }
    }

    /// As [`NetworkFile::connect`], or by the word of one endpoint where they come to no quorum: good enough for
    /// collecting, and for nothing else. With it the chain by their quorum all the same, for whatever else is done.
    pub(crate) async fn connect_to_collect(&self) -> Result<(VaultView, ChainView), Failure> {
        if let Ok(vault) = self.connect().await {
            let chain = vault.chain().clone();
            return Ok((vault, chain));
        }
        let chain = ChainView::connect_any(&self.chain_config()).await.map_err(chain_failure)?;
        let view = chain.for_collecting();
        let head = view.head().await.map_err(chain_failure)?;
        let vault = view.vault(self.vault, self.token, &head).await.map_err(chain_failure)?;
        Ok((vault, chain))
    }

    /// Connects and checks the vault.
    pub(crate) async fn connect(&self) -> Result<VaultView, Failure> {
        let view = ChainView::connect(&self.chain_config()).await.map_err(chain_failure)?;
        let head = view.head().await.map_err(chain_failure)?;
        view.vault(self.vault, self.token, &head).await.map_err(chain_failure)
    }
}

/// A failure of the chain, with its hint.
pub(crate) fn chain_failure(error: ChainError) -> Failure {
    // The endpoint may have said part of it.
    let failure = Failure::chain(foreign(&error.to_string()));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A failure of a transaction, with its hint.
pub(crate) fn tx_failure(error: &TxError) -> Failure {
    let failure = Failure::chain(foreign(&error.to_string()));
    match (cap_flag(error), error.hint()) {
        (Some(flag), Some(hint)) => failure.hint(format!("{hint} ({flag})")),
        (_, Some(hint)) => failure.hint(hint),
        _ => failure,
    }
}

/// The flag that raises the cap which a transaction waits for.
pub(crate) fn cap_flag(error: &TxError) -> Option<&'static str> {
    match error {
        TxError::FeeAboveCap { .. } => Some("--max-gas-price GWEI"),
        TxError::TxAboveCap { .. } => Some("--max-tx-fee ETHER"),
        TxError::DayAboveCap { .. } => Some("--max-day-fee ETHER"),
        _ => None,
    }
}

/// A failure of the store, with its hint.
pub(crate) fn store_failure(error: symbolon_store::StoreError) -> Failure {
    let hint = error.hint().unwrap_or("symbolon doctor says more");
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(why) = cause {
        message = format!("{message}: {why}");
        cause = why.source();
    }
    Failure::input(message).hint(hint)
}

/// A failure of a node, with the hint of whatever is behind it.
pub(crate) fn node_failure(error: symbolon_node::NodeError) -> Failure {
    use symbolon_node::NodeError;
    match error {
        NodeError::Chain(error) => chain_failure(error),
        NodeError::Tx(error) => tx_failure(&error),
        NodeError::Store(error) => store_failure(error),
        NodeError::Funds { .. } => {
            Failure::input(error.to_string()).hint("on a devnet: symbolon devnet fund ADDRESS --tokens N")
        }
        NodeError::Channel(ref rejected) if matches!(rejected.reason, ChannelReason::Halted(_)) => {
            Failure::chain(error.to_string())
                .hint("symbolon doctor names the channel; symbolon channel resume PAYEE says more and goes on with it")
        }
        NodeError::Channel(_) => Failure::chain(error.to_string())
            .hint("the chain is not the one this data folder knows: a devnet that was started anew needs new folders"),
        NodeError::Net(_) => {
            Failure::input(error.to_string()).hint("choose another address with --listen; port 0 takes a free one")
        }
        other => Failure::work(foreign(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_node::{Conflict, NodeError};
    use symbolon_primitives::Refuse;

    #[test]
    fn a_stopped_channel_is_not_taken_for_another_chain() {
        let hint = |reason: ChannelReason| node_failure(NodeError::Channel(reason.close())).hint.unwrap_or_default();
        let stopped = hint(ChannelReason::Halted(Conflict::EpochWentBack { have: 2, seen: 1 }));
        assert!(stopped.contains("symbolon channel resume"), "{stopped}");
        let other = hint(ChannelReason::EpochClosed { epoch: 1 });
        assert!(other.contains("devnet"), "{other}");
    }
}
