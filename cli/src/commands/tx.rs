//! `symbolon tx`: transactions of a data folder that are under way, and what to do when one is stuck.

use super::ledger::age;
use crate::{
    args::{Global, NetworkArgs, TxCommand},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, cap_flag, store_failure, tx_failure},
    output::{foreign, gwei, json, line, note, tokens},
};
use std::{collections::BTreeMap, time::Duration};
use symbolon_primitives::{B256, Signer};
use symbolon_settlement::{JournalledTx, Receipt, TxConfig, TxError, TxHandle, TxManager};
use symbolon_store::Look;

/// How long a transaction that a person sees through waits for the next higher fee.
const PUSH_AFTER: Duration = Duration::from_secs(5);
/// How often a transaction under way is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Runs `symbolon tx`.
pub(crate) async fn run(args: &NetworkArgs, command: TxCommand, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    let key = keys::open(&global.data, &global.password)?;
    match command {
        TxCommand::Ls => list(&network, key.address(), global).await,
        TxCommand::Push { fees } => {
            let vault = network.connect().await?;
            let config = TxConfig { replace_after: PUSH_AFTER, ..network.tx_config(&fees) };
            let (txs, store) = super::vault::manager(vault.chain(), key, global, config).await?;
            let done = push(&txs, global.json).await;
            store.close().await;
            done
        }
        TxCommand::Cancel { id, fees } => {
            let vault = network.connect().await?;
            let config = TxConfig { replace_after: PUSH_AFTER, ..network.tx_config(&fees) };
            // What is to be cancelled is not sent once more before, and nothing else is touched.
            let (txs, store) = super::vault::idle_manager(vault.chain(), key.clone(), global, config).await?;
            let done = async {
                let open =
                    store.read(|view| view.open_txs(vault.chain().chain_id(), key.address())).map_err(store_failure)?;
                let id = named(&open.iter().map(JournalledTx::of).collect::<Vec<_>>(), &id)?;
                cancel(&txs, id, global.json).await
            };
            let done = done.await;
            store.close().await;
            done
        }
    }
}

/// The one whose name begins like this.
fn named(open: &[JournalledTx], text: &str) -> Result<B256, Failure> {
    let wanted = text.trim_start_matches("0x").to_ascii_lowercase();
    let mut found = open.iter().map(|tx| tx.id).filter(|id| hex(*id).starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(id), None) if !wanted.is_empty() => Ok(id),
        (Some(_), _) => Err(Failure::input(format!("{} begins the names of several", foreign(text)))
            .hint("give more of it, as symbolon tx ls prints it")),
        (None, _) => Err(Failure::input(format!("no transaction under way is named {}", foreign(text)))
            .hint("symbolon tx ls shows those there are")),
    }
}

fn hex(id: B256) -> String {
    id.to_string().trim_start_matches("0x").to_owned()
}

async fn list(network: &NetworkFile, me: symbolon_primitives::Address, global: &Global) -> Result<(), Failure> {
    let open: Vec<JournalledTx> = {
        let look = Look::open(&global.data).map_err(store_failure)?;
        let open = look.view().open_txs(network.chain_id, me).map_err(store_failure)?;
        open.iter().map(JournalledTx::of).collect()
    };
    // The journal is worth a look also where the chain cannot be asked.
    let vault = match network.connect_to_collect().await {
        Ok((vault, _)) => Some(vault),
        Err(failure) => {
            note(&format!("warning: {}; what is mined is not told apart", failure.message));
            None
        }
    };
    let mut waiting = 0_usize;
    for tx in &open {
        let mut mined = None;
        if let Some(vault) = &vault {
            for hash in tx.hashes.iter().rev() {
                if let Ok(Some(receipt)) = vault.chain().receipt(*hash).await {
                    mined = receipt.block_number.map(|block| (block, *hash));
                }
            }
        }
        let block = mined.map(|(block, _)| block);
        let state = match (tx.sent, block) {
            (_, Some(_)) if mined.is_some_and(|(_, hash)| tx.cancels.contains(&hash)) => "cancelled",
            (_, Some(_)) => "mined",
            (true, None) if tx.is_cancelling() => "cancelling",
            (true, None) => "waiting",
            (false, None) => "planned",
        };
        waiting += usize::from(block.is_none() && tx.sent);
        show(tx, state, block, global.json);
    }
    if !global.json {
        note(&format!("{} transactions without an end in the journal, {waiting} of them wait to be mined", open.len()));
        if waiting > 0 {
            note("a running node sees them through; without one: symbolon tx push, or symbolon tx cancel ID");
        }
    }
    Ok(())
}

fn show(tx: &JournalledTx, state: &str, block: Option<u64>, as_json: bool) {
    if as_json {
        return json(&serde_json::json!({
            "id": tx.id, "kind": tx.kind, "state": state, "nonce": tx.nonce, "since": tx.since, "block": block,
            "transactions": tx.hashes, "max_fee_per_gas_wei": tx.max_fee_per_gas.map(|wei| wei.to_string()),
            "may_cost_wei": tx.worst_wei.map(|wei| wei.to_string()),
        }));
    }
    let nonce = tx.nonce.map_or_else(String::new, |nonce| format!(", nonce {nonce}"));
    let cost = match (tx.max_fee_per_gas, tx.worst_wei) {
        (Some(fee), Some(worst)) => {
            format!(", up to {} gwei for one gas, {} ether in all", gwei(fee), tokens(worst))
        }
        _ => String::new(),
    };
    let block = block.map_or_else(String::new, |block| format!(" in block {block}, watched for reorganisations"));
    line(&format!(
        "{}  {:<14}  {state}{block}, begun {} ago, signed {} times{nonce}{cost}",
        tx.id,
        tx.kind,
        age(tx.since),
        tx.hashes.len()
    ));
}

async fn push(txs: &TxManager, as_json: bool) -> Result<(), Failure> {
    let under_way = txs.pending();
    if under_way.is_empty() {
        note("nothing is under way");
    }
    let mut failed = None;
    for pending in under_way {
        // Found under way, not sent again under another name.
        let Some(handle) = txs.find(pending.id) else { continue };
        match see_through(txs, &handle).await? {
            Ok(receipt) => mined(&handle, &pending.kind.to_string(), &receipt, as_json),
            Err(error) => {
                note(&format!("{} {}: {}", pending.kind, pending.id, foreign(&error.to_string())));
                // Taken back by somebody, which is what was wanted.
                failed = failed.or(Some(error).filter(|error| !matches!(error, TxError::Cancelled)));
            }
        }
    }
    failed.map_or(Ok(()), |error| Err(tx_failure(&error)))
}

async fn cancel(txs: &TxManager, id: B256, as_json: bool) -> Result<(), Failure> {
    let handle = txs.cancel(id).await.map_err(|error| tx_failure(&error))?;
    match see_through(txs, &handle).await? {
        Err(TxError::Cancelled) => {
            if as_json {
                json(&serde_json::json!({ "id": id, "cancelled": true }));
            } else {
                note(&format!("{id} is cancelled: it does not happen"));
            }
            Ok(())
        }
        Ok(receipt) => {
            if as_json {
                json(&serde_json::json!({ "id": id, "cancelled": false, "transaction": receipt.hash }));
            }
            Err(Failure::chain(format!("{id} was mined before it could be cancelled, in {}", receipt.hash))
                .hint("it has happened; symbolon tx ls shows what else is under way"))
        }
        Err(error) => Err(tx_failure(&error)),
    }
}

fn mined(handle: &TxHandle, kind: &str, receipt: &Receipt, as_json: bool) {
    if as_json {
        json(&serde_json::json!({
            "id": handle.id(), "kind": kind, "transaction": receipt.hash, "block": receipt.block,
            "fee_wei": receipt.fee_wei.to_string(),
        }));
    } else {
        note(&format!("{kind} {} is mined in block {}: {}", handle.id(), receipt.block, receipt.hash));
    }
}

/// Waits for the end, and says what keeps a transaction from it. A cap ends the wait: only a person raises it.
async fn see_through(txs: &TxManager, handle: &TxHandle) -> Result<Result<Receipt, TxError>, Failure> {
    let mut said: BTreeMap<B256, String> = BTreeMap::new();
    let stop = super::stop_requested();
    tokio::pin!(stop);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            outcome = handle.wait() => return Ok(outcome),
            () = &mut stop => {
                return Err(Failure::chain("stopped before it was mined")
                    .hint("it stays in the pool and in the journal: symbolon tx ls"));
            }
            _ = look.tick() => {
                let pending = txs.pending().into_iter().find(|pending| pending.id == handle.id());
                let Some(trouble) = pending.and_then(|pending| pending.trouble) else { continue };
                if cap_flag(&trouble).is_some() {
                    return Err(tx_failure(&trouble));
                }
                let words = foreign(&trouble.to_string());
                if said.get(&handle.id()) != Some(&words) {
                    note(&format!("waiting: {words}"));
                    said.insert(handle.id(), words);
                }
            }
        }
    }
}
