//! Measurements that the documents quote: `scripts/bench`.
//!
//! Every figure comes from real transactions or runs in this process's own
//! time, beside a bound or a rival of the same run.
#![allow(clippy::print_stdout)]

mod content;
mod exec;
mod gas;
mod opening;
mod vouchers;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(name = "symbolon-bench", about = "Measures what the documents claim")]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Print one JSON object instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Gas of every money operation: receipts of real transactions on anvil.
    Gas {
        /// Write the figures to contracts/snapshots/receipts.json.
        #[arg(long)]
        bless: bool,
    },
    /// Runs in the sandbox beside the same engine bare.
    Exec,
    /// Speed of content references, beside a plain loop.
    Content,
    /// Vouchers accepted and issued, beside the bare operations on the curve.
    Vouchers,
    /// One part of `vouchers`, in a process of its own.
    #[command(hide = true)]
    Opening {
        /// What is opened.
        side: opening::Side,
        /// Where it lies.
        dir: PathBuf,
    },
}

/// The checkout.
fn root() -> PathBuf {
    std::env::var_os("SYMBOLON_ROOT").map_or_else(symbolon_tests::root, PathBuf::from)
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.what {
        What::Gas { bless } => gas::run(args.json, bless).await,
        What::Exec => exec::run(args.json),
        What::Content => content::run(args.json),
        What::Vouchers => vouchers::run(args.json).await,
        What::Opening { side, dir } => opening::open(side, &dir).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
