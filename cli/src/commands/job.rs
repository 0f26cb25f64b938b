//! `symbolon job`: what became of jobs, and going on with those that were cut off.

use super::ledger::{Paid, age, until};
use crate::{
    args::{Cli, Command, FliteArgs, Global, JobCommand, NetworkArgs},
    fail::{Failure, Hint},
    network::{NetworkFile, chain_failure, node_failure, store_failure},
    output::{command_line, json, line, note, tokens},
};
use clap::Parser;
use std::{collections::BTreeMap, sync::Arc};
use symbolon_node::{
    JobEntry, JobId, JobOrder, MemberEntry, UnfinishedJob, forget_job, known_jobs, now, unfinished_jobs,
};
use symbolon_primitives::{Address, Amount, B256, OrderDigest};
use symbolon_store::{Look, StoreHandle, StoreOptions};

/// Runs `symbolon job`.
pub(crate) async fn run(args: &NetworkArgs, command: JobCommand, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    match command {
        JobCommand::Ls { all: false } => {
            list(&unfinished(&network, global)?, global.json);
            Ok(())
        }
        JobCommand::Ls { all: true } => {
            list_all(&known(&network, global)?, global.json);
            Ok(())
        }
        JobCommand::Show { job } => show(&network, job, global).await,
        JobCommand::Resume => {
            let jobs = unfinished(&network, global)?;
            let Some(job) = jobs.first() else {
                return Err(Failure::input("no job of this data folder was cut off").hint("symbolon flite begins one"));
            };
            resume(job, args, global).await
        }
        JobCommand::Drop { job, yes } => drop_job(&network, job, yes, global).await,
    }
}

fn unfinished(network: &NetworkFile, global: &Global) -> Result<Vec<UnfinishedJob>, Failure> {
    let look = Look::open(&global.data).map_err(store_failure)?;
    unfinished_jobs(&look.view(), &network.domain()).map_err(node_failure)
}

fn known(network: &NetworkFile, global: &Global) -> Result<Vec<JobEntry>, Failure> {
    let look = Look::open(&global.data).map_err(store_failure)?;
    known_jobs(&look.view(), &network.domain()).map_err(node_failure)
}

fn list_all(jobs: &[JobEntry], as_json: bool) {
    if !as_json {
        note(&format!("{} jobs", jobs.len()));
    }
    for JobEntry { id, state, command, begun_at, ended_at, parts, done, orders } in jobs {
        if as_json {
            json(&serde_json::json!({
                "id": id, "state": state, "command": command, "begun_at": begun_at, "ended_at": ended_at,
                "parts": parts, "done": done, "orders": orders.len(),
            }));
            continue;
        }
        let orders = orders.len();
        line(&format!("{id}  {state}, begun {} ago, {done} of {parts} parts in {orders} orders", age(*begun_at)));
    }
}

/// The transactions that paid a job's orders, by order and provider.
type Transactions = BTreeMap<(OrderDigest, Address), B256>;

/// Shows one job from its agreements to its transactions.
async fn show(network: &NetworkFile, wanted: Option<JobId>, global: &Global) -> Result<(), Failure> {
    let jobs = known(network, global)?;
    let job = match wanted {
        Some(id) => jobs.iter().find(|job| job.id == id),
        None => jobs.last(),
    };
    let job = job.ok_or_else(|| {
        Failure::input("no such job in this data folder").hint("symbolon job ls --all shows those there are")
    })?;
    // What the folder knows is worth showing also where the chain cannot be asked.
    let paid_in = match transactions(network, job).await {
        Ok(found) => Some(found),
        Err(failure) => {
            note(&format!("warning: {}; transactions are not looked for", failure.message));
            None
        }
    };
    if global.json {
        show_json(job, paid_in.as_ref());
    } else {
        show_text(job, &paid_in.unwrap_or_default());
    }
    Ok(())
}

async fn transactions(network: &NetworkFile, job: &JobEntry) -> Result<Transactions, Failure> {
    let mut found = Transactions::new();
    if job.orders.is_empty() {
        return Ok(found);
    }
    let vault = network.connect().await?;
    let head = vault.chain().head().await.map_err(chain_failure)?;
    let mut paid = Paid::new(&vault, network.deployed_at, head.number);
    for JobOrder { order, .. } in &job.orders {
        for member in &order.members {
            let payment = paid.by(order, member).await?;
            found.extend(payment.map(|payment| ((order.order, member.provider), payment.tx)));
        }
    }
    Ok(found)
}

/// What is paid or promised for good: prices that a voucher covers, or a transaction paid.
fn cost(job: &JobEntry, paid_in: &Transactions) -> Amount {
    let members = job.orders.iter().flat_map(|of| of.order.members.iter().map(|member| (of.order.order, member)));
    let settled =
        members.filter(|(order, member)| member.voucher.is_some() || paid_in.contains_key(&(*order, member.provider)));
    settled
        .filter_map(|(_, member)| member.price)
        .fold(Amount::ZERO, |sum, price| sum.checked_add(price).unwrap_or(Amount::MAX))
}

fn show_json(job: &JobEntry, paid_in: Option<&Transactions>) {
    let empty = Transactions::new();
    let found = paid_in.unwrap_or(&empty);
    let orders: Vec<serde_json::Value> = job
        .orders
        .iter()
        .map(|JobOrder { parts, attempt, results_root, fetched, commits, order }| {
            let rest = order.agreements.iter().zip(commits);
            let members: Vec<serde_json::Value> = order
                .members
                .iter()
                .zip(rest)
                .map(|(member, (agreement, commit))| {
                    let MemberEntry { provider, lane, epoch, owed, price, total, stands, voucher } = member;
                    serde_json::json!({
                        "provider": provider, "agreement": agreement, "lane": lane, "epoch": epoch, "commit": commit,
                        "stands": stands, "owed": owed, "price": price, "total": total, "voucher": voucher,
                        "transaction": found.get(&(order.order, *provider)),
                    })
                })
                .collect();
            serde_json::json!({
                "order": order.order, "state": order.state, "parts": parts, "attempt": attempt, "fetched": fetched,
                "results_root": results_root, "fuel": order.fuel, "max_fuel": order.max_fuel,
                "settle_by": order.settle_by, "members": members,
            })
        })
        .collect();
    json(&serde_json::json!({
        "id": job.id, "state": job.state, "command": job.command, "begun_at": job.begun_at, "ended_at": job.ended_at,
        "parts": job.parts, "done": job.done, "cost": cost(job, found), "chain_asked": paid_in.is_some(),
        "orders": orders,
    }));
}

fn show_text(job: &JobEntry, paid_in: &Transactions) {
    line(&format!("job {}: {}", job.id, job.state));
    line(&format!("  command      {}", command_line(&job.command)));
    line(&format!("  begun        {} ago", age(job.begun_at)));
    if let Some(ended) = job.ended_at {
        line(&format!("  ended        {} ago", age(ended)));
    }
    line(&format!("  parts        {} of {} were fetched", job.done, job.parts));
    line(&format!("  cost         {} tokens vouchered or settled", tokens(cost(job, paid_in).get())));
    for JobOrder { parts, attempt, results_root, commits, order, .. } in &job.orders {
        let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
        let again = if *attempt > 0 { format!(", try {}", attempt.saturating_add(1)) } else { String::new() };
        line(&format!("  order {}: {}, parts {}{again}", order.order, order.state, parts.join(" ")));
        match (results_root, order.fuel) {
            (Some(root), Some(fuel)) => line(&format!("    result       {root} for {fuel} fuel")),
            _ => line(&format!("    result       none, its settle-by: {}", until(order.settle_by))),
        }
        let rest = order.agreements.iter().zip(commits);
        for (member, (agreement, commit)) in order.members.iter().zip(rest) {
            line(&format!("    {}, lane {}: {}", member.provider, member.lane.number16(), member.stands));
            line(&format!("      agreement    {agreement}"));
            if let Some(commit) = commit {
                line(&format!("      commit       {commit}"));
            }
            if let Some(price) = member.price {
                line(&format!("      price        {}", tokens(price.get())));
            }
            if let Some(voucher) = member.voucher {
                line(&format!("      voucher      {} in all, epoch {}", tokens(voucher.get()), member.epoch));
            }
            if let Some(tx) = paid_in.get(&(order.order, member.provider)) {
                line(&format!("      transaction  {tx}"));
            }
        }
    }
}

fn list(jobs: &[UnfinishedJob], as_json: bool) {
    if !as_json {
        note(&format!("{} jobs were cut off", jobs.len()));
    }
    for job in jobs {
        if as_json {
            match serde_json::to_value(job) {
                Ok(value) => json(&value),
                Err(error) => tracing::error!(%error, "a job cannot be printed"),
            }
            continue;
        }
        line(&format!("job {}", job.id));
        line(&format!("  begun        {} min ago", now().secs_since(job.begun_at) / 60));
        line(&format!("  parts        {} of {} are here", job.done, job.parts));
        line(&format!("  orders       {} are out", job.open_orders));
        line(&format!("  go on        {}", command_line(&job.command)));
        line(&format!("  give up      symbolon job drop {}", job.id));
    }
}

/// Runs the command that began a job once more, on the network where the job was found: the same job goes on.
async fn resume(job: &UnfinishedJob, network: &NetworkArgs, global: &Global) -> Result<(), Failure> {
    let words = std::iter::once("symbolon".to_owned()).chain(job.command.iter().cloned());
    let lost = || {
        Failure::input(format!("the command that began job {} is not one of this version", job.id))
            .hint(format!("it was: {}", command_line(&job.command)))
    };
    match Cli::try_parse_from(words).map_err(|_| lost())?.command {
        Command::Flite(args) => {
            let args = FliteArgs { network: network.clone(), ..args };
            Box::pin(super::flite::run_as(&args, global, job.command.clone())).await
        }
        _ => Err(lost()),
    }
}

async fn drop_job(network: &NetworkFile, job: Option<JobId>, yes: bool, global: &Global) -> Result<(), Failure> {
    let jobs = unfinished(network, global)?;
    let chosen: Vec<&UnfinishedJob> = jobs.iter().filter(|known| job.is_none_or(|job| job == known.id)).collect();
    let job = match chosen.as_slice() {
        [job] => *job,
        [] => {
            return Err(Failure::input("no such job was cut off in this data folder").hint("symbolon job ls"));
        }
        several => {
            return Err(Failure::input(format!("{} jobs were cut off", several.len()))
                .hint("name one: symbolon job ls shows them"));
        }
    };
    note(&format!("job {}: {} of {} parts are here, {} orders are out", job.id, job.done, job.parts, job.open_orders));
    // Nothing is lost by it where nothing went out.
    if job.open_orders > 0 {
        note("what was paid for and is not here will not be fetched any more");
        if !yes && !super::channel::confirmed("give the job up?")? {
            note("it stays; go on with it: symbolon job resume");
            return Ok(());
        }
    }
    forget(job.id, global).await?;
    if global.json {
        json(&serde_json::json!({ "dropped": job.id }));
    } else {
        note(&format!(
            "job {} is given up. What providers earned they collect by themselves; what is earmarked comes back with \
             `symbolon channel release` after its expiry.",
            job.id
        ));
    }
    Ok(())
}

/// Forgets a job whose outputs are where they belong, or that is given up. No node may use the data folder.
pub(crate) async fn forget(job: JobId, global: &Global) -> Result<(), Failure> {
    let (data, options) = (global.data.clone(), StoreOptions::default());
    let store = match &global.witness {
        None => StoreHandle::open_with(data, options).await,
        Some(witness) => StoreHandle::open_watched(data, options, Arc::clone(witness)).await,
    };
    let store = store.map_err(store_failure)?;
    let forgotten = forget_job(&store, job).await;
    store.close().await;
    forgotten.map(|_| ()).map_err(node_failure)
}
