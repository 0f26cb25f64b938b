//! `symbolon provider run`: rents this machine out until it is stopped.

use crate::{
    args::{FaultArg, Global, PriceArgs, ProviderArgs},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, node_failure},
    output::{foreign, json, note, tokens},
};
use symbolon_node::{Event, Events, Fault, NodeConfig, Provider, ProviderConfig, ProviderTerms, engine};
use symbolon_primitives::Amount;
use symbolon_settlement::ClaimPolicy;

/// Events that may wait to be printed.
const EVENTS: usize = 1024;

/// Runs `symbolon provider run`.
pub(crate) async fn run(args: &ProviderArgs, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(&args.network)?;
    keys::private_dir(&global.data)?;
    let key = keys::open(&global.data, &global.password)?;
    let identity = keys::identity(&global.data)?;
    let vault = network.connect().await?;
    let timing = network.timing();
    let profile = engine().map_err(|e| Failure::tool(e.to_string()))?.profile().id();
    let config = ProviderConfig {
        node: NodeConfig {
            data: global.data.clone(),
            listen: listen(&args.listen)?,
            timing,
            deployed_at: network.deployed_at,
            compiler: super::compiler()?,
            witness: global.witness.clone(),
        },
        terms: ProviderTerms {
            flat: args.flat,
            rate: args.rate,
            profile,
            exposure_limit: args.exposure,
            timing,
            max_commit_secs: 3600,
            max_agreement_secs: 7 * 24 * 3600,
            max_royalty_bps: args.max_royalty,
        },
        stake: args.stake,
        least_member_stake: Amount::from_u64(1),
        unproven_limit: args.unproven,
        claims: ClaimPolicy {
            max_fee_bps_at_end: args.max_fee_ratio_at_end,
            ..super::channel::policy(&args.claims, args.claim_at, &timing)
        },
        base_per_ether: args.claims.ether_price,
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        watchtowers: args
            .watchtower
            .iter()
            .map(|text| super::watchtower::parse_peer(text))
            .collect::<Result<_, _>>()?,
        fault: args.fault.map(|fault| match fault {
            FaultArg::FlipByte => Fault::FlipByte,
            FaultArg::Die => Fault::Die,
        }),
    };
    let as_json = global.json;
    if let Ok(head) = vault.chain().head().await {
        let cost = super::ledger::GasCost::at(vault.chain(), &head, PriceArgs { ether_price: args.claims.ether_price });
        let cost = cost.await;
        if let Some(message) = cost.warning(args.exposure) {
            print(&Event::Warning { message }, as_json);
        }
    }
    let (events, mut heard) = Events::channel(EVENTS);
    let printer = tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            print(&event, as_json);
        }
    });
    let tx_config = network.tx_config(&args.fees);
    let stop = super::stop_requested();
    tokio::pin!(stop);
    // Staking waits for the chain, however long that takes: being told to stop does not.
    let started = tokio::select! {
        biased;
        () = &mut stop => None,
        started = Provider::start(config, key, identity, vault, tx_config, events) => Some(started),
    };
    let done = match started {
        Some(Ok((provider, net))) => provider.run(net, stop).await,
        Some(Err(error)) => Err(error),
        None => Ok(()),
    };
    let done = done.map_err(node_failure);
    super::finish_printing(printer).await;
    done
}

/// Parses the addresses to listen on.
pub(crate) fn listen(texts: &[String]) -> Result<Vec<symbolon_net::Multiaddr>, Failure> {
    texts
        .iter()
        .map(|text| {
            text.parse().map_err(|e| {
                Failure::input(format!("{text} is not a multiaddr: {e}")).hint("for example /ip4/0.0.0.0/tcp/4001")
            })
        })
        .collect()
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
        Event::ProviderReady { address, peer, listen } => {
            note(&format!("provider {address} is staked, registered and ready"));
            note(&format!("peer {peer} at {}", listen.join(", ")));
        }
        Event::Agreed { with } => note(&format!("agreement with {with}")),
        Event::OrderTaken { order, reserve } => {
            note(&format!("took order {order}{}", if *reserve { " as a reserve" } else { "" }));
        }
        Event::Computed { order, fuel } => note(&format!("computed order {order}: {fuel} fuel")),
        Event::Vouchered { order, cumulative } => {
            note(&format!("voucher for order {order}: {} tokens in all", tokens(cumulative.get())));
        }
        Event::Claimed { vouchers, credited } => {
            note(&format!("claimed {vouchers} vouchers: {} tokens credited", tokens(credited.get())));
        }
        Event::HandedOver { tower, until } => {
            note(&format!("watchtower {tower} collects it within {}", super::ledger::until(*until)));
        }
        Event::QuorumSettled { order, by_us } => {
            note(&format!("order {order} is settled by quorum{}", if *by_us { ", by this node" } else { "" }));
        }
        Event::Warning { message } => note(&format!("warning: {}", foreign(message))),
        _ => {}
    }
}
