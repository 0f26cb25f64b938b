//! The `symbolon` command: results on stdout, everything for people on stderr.
//!
//! A library so that tests can be the same command with a witness of their own
//! in its nodes' stores. The binary passes none.

mod args;
mod commands;
mod fail;
mod keys;
mod network;
mod output;
mod speech;

use args::{Cli, Command};
use clap::Parser;
use fail::Failure;
use std::{process::ExitCode, sync::Arc, time::Duration};
use symbolon_store::Witness;

/// Time for what still runs when a command is done.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Does what the process's arguments say. `witness` sees every point of every write of its nodes' stores.
#[must_use]
pub fn main(witness: Option<Arc<dyn Witness>>) -> ExitCode {
    let mut cli = Cli::parse();
    cli.global.witness = witness;
    let filter = tracing_subscriber::EnvFilter::try_from_env("SYMBOLON_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            output::note(&failure.to_string());
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // What needs neither a network nor a runtime.
    match &cli.command {
        Command::Exec(args) => return commands::exec::run(args),
        Command::CompileModule => return Ok(symbolon_executor::modules::compiler_main()),
        Command::Inspect { module, compiled } => {
            return commands::module::inspect_file(module, compiled.as_deref(), cli.global.json);
        }
        Command::Backup { file, with_keys } => {
            commands::backup::backup(file, *with_keys, &cli.global)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Restore { file } => {
            commands::backup::restore(file, &cli.global)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Profile => {
            commands::module::profile(cli.global.json);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Content { command } => {
            commands::content::run(command, &cli.global.data, cli.global.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Receipt { command } => {
            commands::receipt::run(command, &cli.global)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::tool(format!("cannot start the async runtime: {e}")))?;
    let global = cli.global;
    let done = runtime.block_on(async move {
        match cli.command {
            Command::Devnet { dir, command } => commands::devnet::run(&dir, command, &global).await,
            Command::Key { command } => keys::run(&command, &global.data, &global.password, global.json),
            Command::Provider { command: args::ProviderCommand::Run(args) } => {
                commands::provider::run(&args, &global).await
            }
            Command::Flite(args) => commands::flite::run(&args, &global).await,
            Command::Job { network, command } => commands::job::run(&network, command, &global).await,
            Command::Vault { network, command } => commands::vault::run(&network, command, &global).await,
            Command::Tx { network, command } => commands::tx::run(&network, command, &global).await,
            Command::Channel { network, command } => commands::ledger::channel(&network, command, &global).await,
            Command::Exposure { network, price } => commands::ledger::exposure(&network, price, &global).await,
            Command::Earnings { network } => commands::ledger::earnings(&network, &global).await,
            Command::Watchtower { command } => commands::watchtower::run(&command, &global).await,
            Command::Doctor { network, price } => commands::doctor::run(&network, price, &global).await,
            Command::Demo(args) => commands::demo::run(&args, &global).await,
            Command::Exec(_)
            | Command::Inspect { .. }
            | Command::Profile
            | Command::Backup { .. }
            | Command::Restore { .. }
            | Command::Content { .. }
            | Command::Receipt { .. }
            | Command::CompileModule => Ok(()),
        }
        .map(|()| ExitCode::SUCCESS)
    });
    // A blocked thread of some task must not hold up whoever waits for the answer.
    runtime.shutdown_timeout(SHUTDOWN);
    done
}
