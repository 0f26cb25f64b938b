//! `symbolon watchtower`: collects for payees that are away, in time.

use crate::{
    args::{Global, WatchtowerArgs, WatchtowerCommand},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, node_failure, store_failure},
    output::{foreign, gauge, json, line, note, tokens},
};
use std::{fs::File, io::Read, path::Path};
use symbolon_node::{
    Event, Events, NodeConfig, Peer, Watchtower, WatchtowerConfig, hand_over, packages, watch_receipts, watched,
};
use symbolon_primitives::watch::Package;
use symbolon_store::Look;

/// Events that may wait to be printed.
const EVENTS: usize = 1024;
/// The longest package file read.
const MAX_PACKAGE_BYTES: u64 = 1 << 20;

/// Runs `symbolon watchtower`.
pub(crate) async fn run(command: &WatchtowerCommand, global: &Global) -> Result<(), Failure> {
    match command {
        WatchtowerCommand::Run(args) => watch(args, global).await,
        WatchtowerCommand::Export { network, out } => export(&NetworkFile::read(network)?, out, global),
        WatchtowerCommand::Send { network, to, files } => {
            let tower = parse_peer(to)?;
            let key = keys::open(&global.data, &global.password)?;
            let network = NetworkFile::read(network)?;
            let read = files.iter().map(|file| read_package(file)).collect::<Result<Vec<_>, _>>()?;
            let bar = gauge(read.len(), "packages");
            let answers = hand_over(&network.domain(), &key, &tower, read).await.map_err(node_failure)?;
            bar.finish_and_clear();
            let (mut refused, mut passing) = (0_usize, false);
            for (file, answer) in files.iter().zip(answers) {
                match answer {
                    Ok(receipt) if global.json => {
                        json(&serde_json::json!({ "file": file, "receipt": receipt }));
                    }
                    Ok(receipt) => line(&format!(
                        "{}: {} collects it within {}",
                        file.display(),
                        receipt.tower,
                        super::ledger::until(receipt.word.until)
                    )),
                    Err(error) => {
                        refused += 1;
                        passing |= error.is_passing();
                        note(&format!("{}: {}", file.display(), foreign(&error.to_string())));
                    }
                }
            }
            if refused > 0 {
                let failure = Failure::work(format!("{refused} packages were not taken"));
                return Err(if passing {
                    failure.hint(
                        "room is made when packages are collected: send them again later, or to another watchtower",
                    )
                } else {
                    failure
                });
            }
            Ok(())
        }
        WatchtowerCommand::Ls => list(global),
    }
}

/// Reads a watchtower's address, which names its peer.
pub(crate) fn parse_peer(text: &str) -> Result<Peer, Failure> {
    let wrong = |why: String| {
        Failure::input(format!("{text} is no watchtower's address: {why}"))
            .hint("for example /ip4/203.0.113.7/tcp/4001/p2p/12D3KooW…, as symbolon watchtower run prints it")
    };
    let address = text.parse().map_err(|e: symbolon_net::MultiaddrError| wrong(e.to_string()))?;
    Peer::from_address(&address).map_err(|e| wrong(e.to_string()))
}

async fn watch(args: &WatchtowerArgs, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(&args.network)?;
    keys::private_dir(&global.data)?;
    let key = keys::open(&global.data, &global.password)?;
    let identity = keys::identity(&global.data)?;
    let vault = network.connect().await?;
    let timing = network.timing();
    let config = WatchtowerConfig {
        node: NodeConfig {
            data: global.data.clone(),
            listen: super::provider::listen(&args.listen)?,
            timing,
            deployed_at: network.deployed_at,
            compiler: super::compiler()?,
            witness: global.witness.clone(),
        },
        // A provider acts first: half of its own margin is left to the watchtower.
        expiry_margin_secs: args.margin.unwrap_or(u64::from(timing.margin_secs) / 2),
        settle_margin_secs: args.settle_margin.unwrap_or(u64::from(timing.settle_secs) / 6),
        least: args.least,
        per_client: args.per_client,
        most: args.most,
        packages: args.packages.clone(),
    };
    let (events, mut heard) = Events::channel(EVENTS);
    let as_json = global.json;
    let printer = tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            print(&event, as_json);
        }
    });
    let tx_config = network.tx_config(&args.fees);
    let stop = super::stop_requested();
    tokio::pin!(stop);
    let started = tokio::select! {
        biased;
        () = &mut stop => None,
        started = Watchtower::start(config, key, identity, vault, tx_config, events) => Some(started),
    };
    let done = match started {
        Some(Ok((tower, net))) => tower.run(net, stop).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    super::finish_printing(printer).await;
    done.map_err(node_failure)
}

fn print(event: &Event, as_json: bool) {
    if as_json {
        match serde_json::to_value(event) {
            Ok(value) => json(&value),
            Err(error) => tracing::error!(%error, "an event cannot be printed"),
        }
        return;
    }
    match event {
        Event::WatchtowerReady { address, peer, listen, packages } => {
            note(&format!("watchtower {address} holds {packages} packages"));
            for at in listen {
                note(&format!("give providers --watchtower {at}/p2p/{peer}"));
            }
        }
        Event::Watching { payee, total, until } => note(&format!(
            "took a package for {payee}: up to {} tokens, due in {}",
            tokens(total.get()),
            super::ledger::until(*until)
        )),
        Event::Claimed { vouchers, credited } => {
            note(&format!("claimed {vouchers} vouchers for their payees: {} tokens", tokens(credited.get())));
        }
        Event::QuorumSettled { order, .. } => note(&format!("settled order {order} by its quorum")),
        Event::Warning { message } => note(&format!("warning: {}", foreign(message))),
        _ => {}
    }
}

fn export(network: &NetworkFile, out: &Path, global: &Global) -> Result<(), Failure> {
    let look = Look::open(&global.data).map_err(store_failure)?;
    let domain = network.domain();
    let found = packages(&look.view(), &domain).map_err(node_failure)?;
    std::fs::create_dir_all(out).map_err(|e| Failure::input(format!("{}: {e}", out.display())))?;
    for package in &found {
        let path = out.join(format!("{}.json", package.name(&domain)));
        let text = serde_json::to_string_pretty(package).map_err(|e| Failure::work(e.to_string()))?;
        std::fs::write(&path, text).map_err(|e| Failure::input(format!("cannot write {}: {e}", path.display())))?;
        if global.json {
            json(&serde_json::json!({ "file": path }));
        }
    }
    note(&format!("{} packages that are not collected yet are in {}", found.len(), out.display()));
    Ok(())
}

fn read_package(path: &Path) -> Result<Package, Failure> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PACKAGE_BYTES).read_to_string(&mut text))
        .map_err(|e| Failure::input(format!("cannot read {}: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| {
        Failure::input(format!("{} is no claim package: {}", path.display(), foreign(&e.to_string())))
            .hint("symbolon watchtower export makes them")
    })
}

fn list(global: &Global) -> Result<(), Failure> {
    let look = Look::open(&global.data).map_err(store_failure)?;
    let (held, given) =
        (watched(&look.view()).map_err(node_failure)?, watch_receipts(&look.view()).map_err(node_failure)?);
    for kept in &held {
        let until = super::ledger::until(kept.until);
        let of = &kept.instrument;
        if global.json {
            json(&serde_json::json!({ "held": true, "instrument": of, "until": kept.until }));
        } else {
            let total = tokens(of.total.get());
            line(&format!("holds   for {}, signed by {}: total {total}, due in {until}", of.payee, of.payer));
        }
    }
    for receipt in &given {
        if global.json {
            json(&serde_json::json!({ "held": false, "receipt": receipt }));
        } else {
            let until = super::ledger::until(receipt.word.until);
            line(&format!("gave    {} to {}, due in {until}", receipt.word.package, receipt.tower));
        }
    }
    note(&format!("{} packages held for others, {} receipts of watchtowers", held.len(), given.len()));
    Ok(())
}
