//! `symbolon channel`: what is set aside, promised and paid.

use crate::{
    args::{ChannelCommand, Global, NetworkArgs},
    fail::Failure,
    keys,
    network::{NetworkFile, chain_failure, node_failure, tx_failure},
    output::{json, line, note, tokens},
};
use std::collections::BTreeMap;
use symbolon_node::{KnownChannel, Role, known_channels, open_store};
use symbolon_primitives::{Address, Lane, Signer};
use symbolon_settlement::{TxManager, VaultView, ops};
use symbolon_store::StoreHandle;

/// Runs `symbolon channel`.
pub(crate) async fn run(args: &NetworkArgs, command: ChannelCommand, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    match command {
        ChannelCommand::Ls => {
            let vault = network.connect().await?;
            let store = open_store(&global.data).await.map_err(node_failure)?;
            let known = known_channels(&store, &vault.domain()).map_err(node_failure);
            store.close().await;
            list(&vault, &known?, global.json).await
        }
        ChannelCommand::Release => {
            let key = keys::open(&global.data, &global.password)?;
            let vault = network.connect().await?;
            let (txs, store) = super::vault::manager(&vault, key.clone(), global, network.timing().depth).await?;
            let done = release(&vault, &txs, &store, key.address(), global.json).await;
            store.close().await;
            done
        }
    }
}

async fn list(vault: &VaultView, known: &[KnownChannel], as_json: bool) -> Result<(), Failure> {
    let head = vault.chain().head().await.map_err(chain_failure)?;
    if !as_json {
        note(&format!("{} channels at block {}", known.len(), head.number));
        if !known.is_empty() {
            line("payer       payee       lane  epoch  allocated  claimed  voucher  expiry");
        }
    }
    for channel in known {
        let state = vault.channel(channel.payer, channel.payee, channel.lane, &head).await.map_err(chain_failure)?;
        if as_json {
            json(&serde_json::json!({
                "payer": channel.payer, "payee": channel.payee, "lane": channel.lane, "role": channel.role,
                "epoch": state.epoch, "allocated": state.allocated, "claimed": state.claimed,
                "voucher": channel.voucher, "expiry": state.expiry,
            }));
        } else {
            line(&format!(
                "{}  {}  {}  {}  {}  {}  {}  {}",
                short(channel.payer),
                short(channel.payee),
                channel.lane.number16(),
                state.epoch,
                tokens(state.allocated.get()),
                tokens(state.claimed.get()),
                tokens(channel.voucher.get()),
                state.expiry,
            ));
        }
    }
    Ok(())
}

fn short(address: Address) -> String {
    let text = address.to_string();
    format!("{}…{}", text.get(..6).unwrap_or_default(), text.get(38..).unwrap_or_default())
}

/// Takes back what expired channels of this key have left.
async fn release(
    vault: &VaultView,
    txs: &TxManager,
    store: &StoreHandle,
    me: Address,
    as_json: bool,
) -> Result<(), Failure> {
    let known = known_channels(store, &vault.domain()).map_err(node_failure)?;
    let known = known.into_iter().filter(|channel| channel.role == Role::Payer && channel.payer == me);
    let head = vault.chain().head().await.map_err(chain_failure)?;
    let mut lanes: BTreeMap<Lane, Vec<(Address, Option<symbolon_primitives::Signature>)>> = BTreeMap::new();
    let mut waiting = 0_usize;
    let mut total = symbolon_primitives::Amount::ZERO;
    for channel in known {
        let state = vault.channel(me, channel.payee, channel.lane, &head).await.map_err(chain_failure)?;
        let left = state.allocated.saturating_sub(state.claimed);
        if left.is_zero() {
            continue;
        }
        if state.expiry.0 > head.timestamp {
            waiting += 1;
            continue;
        }
        total = total.checked_add(left).map_err(|e| Failure::input(e.to_string()))?;
        lanes.entry(channel.lane).or_default().push((channel.payee, None));
    }
    for (lane, rows) in &lanes {
        let tag = ops::tag(&[b"release expired", &rand::random::<[u8; 32]>()]);
        txs.run(ops::release(vault.address(), me, *lane, rows, tag)).await.map_err(|e| tx_failure(&e))?;
    }
    if as_json {
        json(&serde_json::json!({ "released": total, "waiting": waiting }));
    } else {
        note(&format!("{} tokens released; {waiting} channels have not expired yet", tokens(total.get())));
    }
    Ok(())
}
