//! `symbolon receipt`: shows others, without a chain, that a quorum stood behind a
//! result and what it was paid.

use crate::{
    args::{Global, ReceiptCommand},
    fail::{Failure, Hint},
    network::{NetworkFile, node_failure, store_failure},
    output::{foreign, gauge, json, line, note, tokens},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use symbolon_node::{CONTENT_DIR, ContentStore, NoReceipt, engine, known_orders, reexecute};
use symbolon_primitives::receipt::{Receipt, Shown};
use symbolon_store::Look;

/// The longest receipt read: an order's work is the largest part of it.
const MAX_RECEIPT_BYTES: u64 = 16 << 20;

/// Runs `symbolon receipt`.
pub(crate) fn run(command: &ReceiptCommand, global: &Global) -> Result<(), Failure> {
    match command {
        ReceiptCommand::Export { network, order, out, all } => {
            let network = NetworkFile::read(network)?;
            let domain = network.domain();
            let look = Look::open(&global.data).map_err(store_failure)?;
            let view = look.view();
            let orders = match (order, all) {
                (Some(order), _) => vec![*order],
                (None, true) => {
                    let known = known_orders(&view, &domain).map_err(node_failure)?;
                    known.into_iter().map(|entry| entry.order).collect()
                }
                (None, false) => {
                    return Err(
                        Failure::input("which order?").hint("name one, or say --all; see symbolon channel show")
                    );
                }
            };
            let mut written = 0_usize;
            for order in &orders {
                let receipt = match symbolon_node::receipt(&view, &domain, *order) {
                    Ok(receipt) => receipt,
                    Err(NoReceipt::NoQuorum) if *all => continue,
                    Err(NoReceipt::Node(error)) => return Err(node_failure(error)),
                    Err(error) => {
                        return Err(Failure::input(error.to_string())
                            .hint("symbolon channel show lists the orders of a channel and how far they are"));
                    }
                };
                // What this node would not believe it does not write either.
                receipt.check().map_err(|e| Failure::work(format!("the receipt of {order} does not hold: {e}")))?;
                write(&receipt, out.as_deref(), *all, &order.to_string())?;
                written += 1;
            }
            if *all {
                note(&format!("{written} receipts of {} orders", orders.len()));
            }
            Ok(())
        }
        ReceiptCommand::Verify { file, reexecute: again, content } => {
            let receipt = read(file)?;
            let shown = receipt.check().map_err(|e| Failure::work(format!("the receipt does not hold: {e}")))?;
            show(&receipt, &shown, global.json);
            if *again {
                let dir = content.clone().unwrap_or_else(|| global.data.join(CONTENT_DIR));
                compute_again(&receipt, &dir, global.json)?;
            }
            Ok(())
        }
    }
}

/// To stdout, a file, or with `many` a file of its own in a folder.
fn write(receipt: &Receipt, out: Option<&Path>, many: bool, name: &str) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(receipt).map_err(|e| Failure::work(format!("cannot write it: {e}")))?;
    let path: PathBuf = match (out, many) {
        (None, _) => {
            line(&text);
            return Ok(());
        }
        (Some(dir), true) => {
            std::fs::create_dir_all(dir).map_err(|e| Failure::input(format!("{}: {e}", dir.display())))?;
            dir.join(format!("{name}.json"))
        }
        (Some(file), false) => file.to_owned(),
    };
    std::fs::write(&path, text + "\n").map_err(|e| Failure::input(format!("cannot write {}: {e}", path.display())))
}

fn read(path: &Path) -> Result<Receipt, Failure> {
    let unreadable = |e: &std::io::Error| Failure::input(format!("cannot read {}: {e}", path.display()));
    let mut text = String::new();
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(|e| unreadable(&e))?)
    };
    source.take(MAX_RECEIPT_BYTES).read_to_string(&mut text).map_err(|e| unreadable(&e))?;
    serde_json::from_str(&text).map_err(|e| {
        Failure::input(format!("{} is no receipt: {}", path.display(), foreign(&e.to_string())))
            .hint("symbolon receipt export makes one")
    })
}

fn show(receipt: &Receipt, shown: &Shown, as_json: bool) {
    if as_json {
        return json(&serde_json::json!({
            "order": shown.order, "chain_id": receipt.domain.chain_id, "vault": receipt.domain.vault,
            "payer": receipt.payer, "results_root": receipt.results_root, "fuel": receipt.fuel,
            "units": receipt.units.len(), "quorum": receipt.order.order.quorum, "agreements": shown.agreements,
            "royalty": shown.royalty, "shares": shown.shares,
        }));
    }
    line(&format!("order {}", shown.order));
    line(&format!("  signed by    {}", receipt.payer));
    line(&format!("  vault        {} on chain {}", receipt.domain.vault, receipt.domain.chain_id));
    line(&format!("  results      {} of {} workunits", receipt.results_root, receipt.units.len()));
    line(&format!("  fuel         {}", receipt.fuel));
    let (have, need) = (shown.shares.len(), receipt.order.order.quorum);
    line(&format!("  quorum       {have} replicas signed, {need} were asked for"));
    line(&format!("  agreements   {} checked", shown.agreements.len()));
    if !shown.royalty.author().is_zero() {
        let (bps, author) = (shown.royalty.bps(), shown.royalty.author());
        line(&format!("  royalty      {}.{:02} % to {author}", bps / 100, bps % 100));
    }
    for share in &shown.shares {
        let voucher = share.voucher.map_or_else(
            || "no voucher in this receipt".to_owned(),
            |total| format!("vouchered up to {}", tokens(total.get())),
        );
        line(&format!("  {}  earned {}, {voucher}", share.provider, tokens(share.price.get())));
    }
    note("every signature holds, the quorum is one, and the prices are right");
}

fn compute_again(receipt: &Receipt, content: &Path, as_json: bool) -> Result<(), Failure> {
    let engine = engine().map_err(|e| Failure::tool(e.to_string()))?;
    let store = ContentStore::open(content).map_err(|e| Failure::input(format!("{}: {e}", content.display())))?;
    let bar = gauge(receipt.units.len(), "workunits");
    let done = reexecute(&engine, &store, receipt, |_| bar.inc(1));
    bar.finish_and_clear();
    let done = done.map_err(|why| {
        Failure::input(format!("cannot compute it again: {why}"))
            .hint("put the module and the inputs in with `symbolon content put`, or name their folder with --content")
    })?;
    let differ = done.iter().filter(|part| !part.agrees()).count();
    for part in done.iter().filter(|part| as_json || !part.agrees()) {
        if as_json {
            json(&serde_json::json!({
                "part": part.part, "agrees": part.agrees(), "signed": part.signed, "here": part.here,
            }));
        } else {
            line(&format!(
                "  part {}: signed {} with {} fuel, here {} with {}",
                part.part, part.signed.root, part.signed.fuel, part.here.root, part.here.fuel
            ));
        }
    }
    if differ > 0 {
        return Err(Failure::work(format!("{differ} of {} workunits come to something else here", done.len())));
    }
    note(&format!("all {} workunits come to the same result and fuel here", done.len()));
    Ok(())
}
