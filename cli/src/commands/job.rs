//! `symbolon job`: jobs that were cut off, and going on with them.

use crate::{
    args::{Cli, Command, FliteArgs, Global, JobCommand, NetworkArgs},
    fail::{Failure, Hint},
    network::{NetworkFile, node_failure, store_failure},
    output::{command_line, json, line, note},
};
use clap::Parser;
use std::sync::Arc;
use symbolon_node::{JobId, UnfinishedJob, forget_job, now, unfinished_jobs};
use symbolon_store::{Look, StoreHandle, StoreOptions};

/// Runs `symbolon job`.
pub(crate) async fn run(args: &NetworkArgs, command: JobCommand, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    match command {
        JobCommand::Ls => {
            list(&unfinished(&network, global)?, global.json);
            Ok(())
        }
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
