//! `symbolon demo`: the whole story on one machine. Every party is a process of
//! its own with a folder of its own; this one only starts them, listens to what
//! they say, reads the chain, and checks the sums.

mod process;
mod report;

use super::{
    devnet::{self, NETWORK_FILE},
    flite,
};
use crate::{
    args::{DemoArgs, Global, NetworkArgs, Scenario},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, chain_failure},
    output::{json, note, tokens},
};
use indicatif::ProgressBar;
use process::Process;
use report::{ChainFacts, KindFacts, ProviderFacts, Report, RequestorFacts, Role, Speech, Told};
use sha2::Digest;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use symbolon_executor::Cancel;
use symbolon_node::{Candidate, DrawRules, Event, JobReport, engine, grouping};
use symbolon_primitives::{
    Address, Amount, AmountError, Input, Level, Nonce, OrderDigest, Royalty, Workunit, keccak256,
};
use symbolon_settlement::{EventFilter, VaultView, amounts_of_words, census::census};

/// Tokens each party gets from the devnet.
const WALLET: &str = "1000";
/// Stake of each provider, in tokens.
const STAKE: &str = "10";
/// Workunits of one order.
const BATCH: usize = 2;
/// Lanes of one provider, as the requestor has them.
const LANES: u16 = 2;
/// Time for one party to get ready.
const READY: Duration = Duration::from_secs(60);
/// Time for the job.
const JOB: Duration = Duration::from_secs(300);
/// Time for the quorums to settle without the requestor.
const SETTLED: Duration = Duration::from_secs(120);
/// Seeds tried until the faulty providers both get work.
const SEEDS: u32 = 100_000;
/// Marks a folder as a demo's own, which the next demo may empty.
const MARK: &str = ".symbolon-demo";

/// A provider of the demo.
struct Actor {
    address: Address,
    role: Role,
    rate: Amount,
    process: Process,
    taken: BTreeSet<OrderDigest>,
    fuel: BTreeMap<OrderDigest, u64>,
}

impl Actor {
    fn hear(&mut self) {
        while let Some(event) = self.process.try_next() {
            match event {
                Event::OrderTaken { order, .. } => {
                    self.taken.insert(order);
                }
                Event::Computed { order, fuel } => {
                    self.fuel.insert(order, fuel);
                }
                _ => {}
            }
        }
    }
}

/// Runs `symbolon demo`.
pub(crate) async fn run(args: &DemoArgs, global: &Global) -> Result<(), Failure> {
    let started = Instant::now();
    let members = usize::from(args.redundancy) * 2 - 1;
    let count = args.providers.unwrap_or(members + 2);
    if count < members + 2 {
        return Err(Failure::input(format!(
            "{count} providers are too few: redundancy {} needs {members} honest ones beside the liar and the crasher",
            args.redundancy
        ))
        .hint(format!("--providers {} or more", members + 2)));
    }
    let text = text_path(args.text.as_deref())?;
    let chunks = flite::chunks_of(&text, args.subtasks, false)?;
    let module = flite::module_path(None)?;
    let script = Script { count, text, chunks, module, started };
    let out = fresh_folder(&args.out)?;
    let mut stage = Stage { troupe: Troupe { out, keep: args.keep, actors: Vec::new() }, devnet: None };
    let told = tokio::select! {
        // Listening for signals begins before the first child does.
        biased;
        () = super::stop_requested() => Err(Failure::work("stopped")),
        told = tell(args, &script, &mut stage) => told,
    };
    let complaints = told.as_ref().map(Report::complaints).unwrap_or_default();
    // Whatever goes wrong from here on ends everybody, too: with the stage.
    let keep = args.keep && told.is_ok() && complaints.is_empty();
    if !keep {
        stage.clear().await;
    }
    let report = told?;
    report.print();
    if let Some(path) = &args.report {
        let value = serde_json::to_vec_pretty(&report)
            .map_err(|e| Failure::work(format!("the report cannot be written: {e}")))?;
        flite::write_whole(path, &value)?;
    }
    if global.json {
        json(&serde_json::to_value(&report).map_err(|e| Failure::work(e.to_string()))?);
    }
    if complaints.is_empty() {
        note(&format!(
            "The sums hold: {} tokens left the requestor's earmarks and exactly that was credited to providers.",
            tokens(report.requestor.paid.get())
        ));
        if keep {
            stage.leave_running();
        }
        Ok(())
    } else {
        Err(Failure::work(format!("the sums do not hold: {}", complaints.join("; ")))
            .hint(format!("logs are under {}", args.out.display())))
    }
}

/// What is to be told.
struct Script {
    /// Providers in all.
    count: usize,
    text: PathBuf,
    chunks: Vec<String>,
    module: PathBuf,
    started: Instant,
}

/// The providers, and where they live.
struct Troupe {
    out: PathBuf,
    keep: bool,
    actors: Vec<Actor>,
}

/// Everything that has to be cleared away.
struct Stage {
    troupe: Troupe,
    devnet: Option<Process>,
}

impl Stage {
    async fn clear(&mut self) {
        // All at once, so that the wait is for the slowest of them.
        for actor in &mut self.troupe.actors {
            actor.process.ask_to_end();
        }
        for actor in self.troupe.actors.drain(..) {
            actor.process.stop().await;
        }
        if let Some(devnet) = self.devnet.take() {
            devnet.stop().await;
        }
    }

    /// Lets everybody go on, and says how to talk to them.
    fn leave_running(&mut self) {
        let network = self.troupe.out.join("devnet").join(NETWORK_FILE);
        note("");
        note("The devnet and the nodes go on. Talk to them with:");
        note(&format!("  export SYMBOLON_NETWORK={}", network.display()));
        let data = self.troupe.out.join("requestor");
        let password = data.join("password");
        for command in ["vault balance", "channel ls"] {
            note(&format!("  symbolon {command} --data {} --password-file {}", data.display(), password.display()));
        }
        // The devnet last: the providers are the ones who talk to it.
        let processes = self.troupe.actors.drain(..).map(|actor| actor.process).chain(self.devnet.take());
        let mut ids = Vec::new();
        for process in processes {
            if let Some(id) = process.id() {
                note(&format!("  {} is process {id}", process.name()));
                ids.push(id.to_string());
            }
            process.leave_running();
        }
        note(&format!("Stop them with: kill {}", ids.join(" ")));
    }
}

async fn tell(args: &DemoArgs, script: &Script, stage: &mut Stage) -> Result<Report, Failure> {
    note("starting a devnet and deploying the contracts …");
    let network = start_devnet(stage, args.port).await?;
    // Its anvil may well outlive a devnet that was killed: nobody else would notice.
    tokio::select! {
        told = act(args, script, &mut stage.troupe, &network) => told,
        failure = ended(stage.devnet.as_mut()) => Err(failure),
    }
}

/// Why the devnet ended, once it has.
async fn ended(devnet: Option<&mut Process>) -> Failure {
    let Some(devnet) = devnet else { return std::future::pending().await };
    while devnet.wait(JOB).await.is_none() {}
    devnet.ended("see the job through").await
}

async fn act(args: &DemoArgs, script: &Script, troupe: &mut Troupe, network: &NetworkFile) -> Result<Report, Failure> {
    let Script { count, text, chunks, module, started } = script;
    let count = *count;
    let vault = network.connect().await?;
    note(&format!("starting {count} providers, one of which lies and one of which dies …"));
    let requestor_data = troupe.out.join("requestor");
    let requestor = party(&requestor_data)?;
    start_providers(troupe, network, count, requestor).await?;
    let wav = troupe.out.join("speech.wav");
    let silent = args.scenario == Scenario::SilentRequestor;
    let seed = seed_for(troupe, args.redundancy, chunks.len().div_ceil(BATCH))?;
    let mut command: Vec<String> = vec!["flite".into(), text.display().to_string(), wav.display().to_string()];
    let mut option = |name: &str, value: String| command.extend([format!("--{name}"), value]);
    option("network", troupe.out.join("devnet").join(NETWORK_FILE).display().to_string());
    option("subtasks", args.subtasks.to_string());
    option("batch", BATCH.to_string());
    option("redundancy", args.redundancy.to_string());
    option("budget", tokens(args.budget.get()));
    option("module", module.display().to_string());
    option("bid", "1".into());
    option("subtask-timeout", "00:00:04".into());
    option("draw-seed", seed.to_string());
    option("await-offers", count.to_string());
    command.push("--events".into());
    if silent {
        command.push("--withhold-vouchers".into());
    }
    let mut process = Process::start("the requestor", &requestor_data, &command, false)?;
    let bar = flite::progress(chunks.len() as u64, false);
    let told = if silent {
        silent_story(&mut process, &vault, network, requestor, troupe, &bar).await
    } else {
        speech_story(&mut process, &bar).await
    };
    bar.finish_and_clear();
    let Story { deposited, job, active } = match told {
        Ok(story) => story,
        Err(failure) => {
            process.kill().await;
            return Err(failure);
        }
    };
    let speech = if silent { None } else { Some(check_speech(&wav, chunks, module).await?) };
    // Everything is looked at in one block, or the sums would not have to hold.
    let head = vault.chain().head().await.map_err(chain_failure)?;
    let credited = credits(&vault, network, requestor, head.number).await?;
    let mut facts = RequestorFacts {
        deposited,
        earmarked: credited.earmarked,
        released: credited.released,
        ..RequestorFacts::default()
    };
    let staked = amount(STAKE)?;
    let part_of = |provider: &Address| job.as_ref().and_then(|job| job.providers.get(provider)).cloned();
    let mut providers = Vec::new();
    for actor in &mut troupe.actors {
        actor.hear();
        let part = part_of(&actor.address).unwrap_or_default();
        for number in 0..LANES {
            let lane = Royalty::NONE.lane(number);
            let channel = vault.channel(requestor, actor.address, lane, &head).await.map_err(chain_failure)?;
            add(&mut facts.paid, channel.claimed)?;
            add(&mut facts.still_earmarked, channel.allocated.checked_sub(channel.claimed).map_err(not_a_sum)?)?;
        }
        let account = vault.account(actor.address, &head).await.map_err(chain_failure)?;
        let settled = credited.settled.get(&actor.address);
        let (orders, agreed, disagreed, fuel) = if silent {
            let taken = u32::try_from(actor.taken.len()).unwrap_or(u32::MAX);
            let agreed = settled.map_or(0, BTreeSet::len);
            let agreed = u32::try_from(agreed).unwrap_or(u32::MAX);
            // It computed, the order is settled, and it was not among those who agreed.
            let disagreed = actor
                .fuel
                .keys()
                .filter(|order| credited.fuel.contains_key(*order) && !settled.is_some_and(|s| s.contains(*order)))
                .count();
            let fuel = settled
                .into_iter()
                .flatten()
                .filter_map(|order| credited.fuel.get(order))
                .fold(0_u64, |sum, fuel| sum.saturating_add(*fuel));
            (taken, agreed, u32::try_from(disagreed).unwrap_or(u32::MAX), fuel)
        } else {
            (part.orders, part.agreed, part.disagreed, part.fuel)
        };
        providers.push(ProviderFacts {
            address: actor.address,
            role: actor.role,
            price: actor.rate,
            orders,
            active: active.get(&actor.address).copied().unwrap_or_default(),
            agreed,
            disagreed,
            fuel,
            voucher: part.voucher,
            credited: credited.amounts.get(&actor.address).copied().unwrap_or_default(),
            stake: account.stake,
            staked,
            ended: actor.process.has_ended(),
            peak_memory_bytes: actor.process.peak_memory(),
        });
    }
    Ok(Report {
        scenario: if silent { "silent-requestor" } else { "speech" },
        speech,
        requestor: facts,
        told: job.map(|job| Told { earmarked: job.earmarked, paid: job.paid, released: job.released }),
        providers,
        chain: chain_facts(&vault, network, head.number).await?,
        elapsed_secs: started.elapsed().as_secs(),
    })
}

fn not_a_sum(error: AmountError) -> Failure {
    Failure::work(format!("the vault's amounts do not add up: {error}"))
}

fn add(sum: &mut Amount, amount: Amount) -> Result<(), Failure> {
    *sum = sum.checked_add(amount).map_err(not_a_sum)?;
    Ok(())
}

fn amount(text: &str) -> Result<Amount, Failure> {
    crate::output::parse_tokens(text).map_err(Failure::input)
}

/// The text to speak: the one given, or the project's own.
fn text_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let root = std::env::var_os("SYMBOLON_ROOT").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let path = root.join("examples/texts/lighthouse.txt");
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::input(format!("there is no text at {}", path.display())).hint("name one with --text FILE"))
}

/// An empty folder, or one that an earlier demo left, emptied.
fn fresh_folder(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |e: std::io::Error| Failure::input(format!("cannot use the folder {}: {e}", path.display()));
    let occupied = path.is_dir() && std::fs::read_dir(path).map_err(failed)?.next().is_some();
    if occupied && !path.join(MARK).exists() {
        return Err(Failure::input(format!("{} is not empty and no demo made it", path.display()))
            .hint("choose another folder with --out"));
    }
    if occupied {
        std::fs::remove_dir_all(path).map_err(failed)?;
    }
    keys::private_dir(path)?;
    std::fs::write(path.join(MARK), "The next demo may empty this folder.\n").map_err(failed)?;
    // Children run elsewhere than the user types.
    path.canonicalize().map_err(failed)
}

async fn start_devnet(stage: &mut Stage, port: u16) -> Result<NetworkFile, Failure> {
    let dir = stage.troupe.out.join("devnet");
    keys::private_dir(&dir)?;
    let command: Vec<String> = ["devnet", "--dir", &dir.display().to_string(), "serve", "--port", &port.to_string()]
        .map(str::to_owned)
        .to_vec();
    // On the stage before anything is waited for: whoever ends this ends it too.
    let process = stage.devnet.insert(Process::start("the devnet", &dir, &command, stage.troupe.keep)?);
    let file = dir.join(NETWORK_FILE);
    let until = Instant::now() + READY;
    while !file.exists() {
        if process.wait(Duration::from_millis(50)).await.is_some() {
            return Err(process.ended("serve a chain").await);
        }
        if Instant::now() > until {
            return Err(Failure::chain("the devnet did not get ready").hint("see its log.txt"));
        }
    }
    NetworkFile::read(&NetworkArgs { network: file, rpc: Vec::new() })
}

/// A folder with a password and a key of its own.
fn party(data: &Path) -> Result<Address, Failure> {
    use symbolon_primitives::Signer;
    keys::private_dir(data)?;
    let password = data.join("password");
    let word = Nonce::from_bytes(rand::random());
    keys::write_private(&password, format!("{word}\n").as_bytes())
        .map_err(|e| Failure::input(format!("cannot write {}: {e}", password.display())))?;
    let key = keys::create(data, &keys::PasswordArgs::from_file(password), None)?;
    Ok(key.address())
}

/// Starts the providers; money goes to them and to the requestor in one block.
async fn start_providers(
    troupe: &mut Troupe,
    network: &NetworkFile,
    count: usize,
    requestor: Address,
) -> Result<(), Failure> {
    let mut cast = Vec::with_capacity(count);
    for index in 0..count {
        let role = match index {
            0 => Role::Liar,
            1 => Role::Crasher,
            _ => Role::Honest,
        };
        // Honest ones first by name, each a little dearer than the last.
        let name = match role {
            Role::Liar => "liar".to_owned(),
            Role::Crasher => "crasher".to_owned(),
            Role::Honest => format!("provider-{}", index - 1),
        };
        let rate = amount(&format!("0.0{}", 50 + 2 * (index % 20)))?;
        let data = troupe.out.join(&name);
        let address = party(&data)?;
        cast.push((name, role, rate, data, address));
    }
    let mut everybody: Vec<Address> = cast.iter().map(|(.., address)| *address).collect();
    everybody.push(requestor);
    devnet::fund(network, &everybody, amount(WALLET)?).await?;
    for (name, role, rate, data, address) in cast {
        let mut command: Vec<String> = vec!["provider".into(), "run".into()];
        let mut option = |name: &str, value: String| command.extend([format!("--{name}"), value]);
        option("network", troupe.out.join("devnet").join(NETWORK_FILE).display().to_string());
        option("rate", tokens(rate.get()));
        option("stake", STAKE.into());
        match role {
            Role::Liar => option("fault", "flip-byte".into()),
            Role::Crasher => option("fault", "die".into()),
            Role::Honest => {}
        }
        let process = Process::start(&name, &data, &command, troupe.keep)?;
        troupe.actors.push(Actor { address, role, rate, process, taken: BTreeSet::new(), fuel: BTreeMap::new() });
    }
    for actor in &mut troupe.actors {
        actor
            .process
            .expect("stake and register", READY, |event| matches!(event, Event::ProviderReady { .. }).then_some(()))
            .await?;
    }
    // For the table: honest ones first.
    troupe.actors.sort_by_key(|actor| match actor.role {
        Role::Honest => 0,
        Role::Liar => 1,
        Role::Crasher => 2,
    });
    Ok(())
}

/// A seed under which the liar and the crasher each compute in the first wave,
/// and every order of the wave still has a quorum of honest members.
fn seed_for(troupe: &Troupe, redundancy: u8, orders: usize) -> Result<Nonce, Failure> {
    let stake = amount(STAKE)?;
    let candidates: Vec<Candidate> =
        troupe.actors.iter().map(|actor| Candidate { provider: actor.address, stake, network_group: None }).collect();
    let role = |address: &Address| {
        troupe.actors.iter().find(|actor| actor.address == *address).map_or(Role::Honest, |actor| actor.role)
    };
    for number in 0..SEEDS {
        let secret = keccak256(&number.to_be_bytes());
        let rules = DrawRules { redundancy, lanes: LANES, grouping: grouping(true), secret };
        let wave = rules.first_wave(&candidates, orders);
        let active = |wanted: Role| {
            wave.iter().any(|order| order.iter().take(redundancy.into()).any(|member| role(member) == wanted))
        };
        let honest = |order: &Vec<Address>| {
            order.iter().filter(|member| role(member) == Role::Honest).count() >= usize::from(redundancy)
        };
        if active(Role::Liar) && active(Role::Crasher) && wave.iter().all(honest) {
            return Ok(Nonce::from_bytes(secret));
        }
    }
    Err(Failure::input("no draw gives the liar and the crasher work").hint("ask for more parts with --subtasks"))
}

/// What the requestor told while it lived.
struct Story {
    deposited: Amount,
    /// Its report; nothing when it was killed before.
    job: Option<JobReport>,
    /// Orders in which each provider was to compute from the start.
    active: BTreeMap<Address, u32>,
}

fn count_active(counts: &mut BTreeMap<Address, u32>, active: &[Address]) {
    for provider in active {
        *counts.entry(*provider).or_default() += 1;
    }
}

/// The job runs to its end.
async fn speech_story(process: &mut Process, bar: &ProgressBar) -> Result<Story, Failure> {
    let mut counts = BTreeMap::new();
    let report = process
        .expect("finish the job", JOB, |event| {
            flite::show(bar, &event);
            match event {
                Event::OrderOut { active, .. } => count_active(&mut counts, &active),
                Event::JobDone(report) => return Some(*report),
                _ => {}
            }
            None
        })
        .await?;
    let status = process.wait(Duration::from_secs(20)).await;
    if !status.is_some_and(|status| status.success()) {
        return Err(process.ended("write the sound").await);
    }
    Ok(Story { deposited: report.deposited, job: Some(report), active: counts })
}

/// The requestor is killed when the orders are out; the providers settle alone.
async fn silent_story(
    process: &mut Process,
    vault: &VaultView,
    network: &NetworkFile,
    requestor: Address,
    troupe: &mut Troupe,
    bar: &ProgressBar,
) -> Result<Story, Failure> {
    let mut deposited = Amount::ZERO;
    let mut counts = BTreeMap::new();
    let mut orders = BTreeSet::new();
    process
        .expect("send its orders out", JOB, |event| {
            flite::show(bar, &event);
            match event {
                Event::Deposited { balance } => deposited = balance,
                Event::OrderOut { order, active, out, first_wave, .. } => {
                    orders.insert(order);
                    count_active(&mut counts, &active);
                    return (first_wave > 0 && out >= first_wave).then_some(());
                }
                _ => {}
            }
            None
        })
        .await?;
    process.kill().await;
    bar.suspend(|| note(&format!("{} orders are out; the requestor was killed before any voucher", orders.len())));
    let until = Instant::now() + SETTLED;
    let mut settled = 0;
    while settled < orders.len() {
        if Instant::now() > until {
            return Err(Failure::work(format!("{settled} of {} orders were settled by quorum", orders.len()))
                .hint(format!("logs are under {}", troupe.out.display())));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        troupe.actors.iter_mut().for_each(Actor::hear);
        let head = vault.chain().head().await.map_err(chain_failure)?;
        let now = credits(vault, network, requestor, head.number).await?;
        settled = orders.iter().filter(|order| now.fuel.contains_key(*order)).count();
        bar.set_message(format!("{settled} of {} orders settled by quorum", orders.len()));
    }
    Ok(Story { deposited, job: None, active: counts })
}

/// What the vault's events say: what was credited to whom, and what the requestor set aside.
#[derive(Default)]
struct Credits {
    /// What the requestor's openings set aside.
    earmarked: Amount,
    /// What its releases gave back.
    released: Amount,
    amounts: BTreeMap<Address, Amount>,
    /// Orders in whose quorum a provider was.
    settled: BTreeMap<Address, BTreeSet<OrderDigest>>,
    /// Fuel of the orders settled by quorum.
    fuel: BTreeMap<OrderDigest, u64>,
}

async fn credits(vault: &VaultView, network: &NetworkFile, requestor: Address, head: u64) -> Result<Credits, Failure> {
    use symbolon_contracts::vault::VaultEvents;
    let mut credits = Credits::default();
    let mut from = network.deployed_at;
    while from <= head {
        let page = vault.events(&EventFilter::all(), from, head).await.map_err(chain_failure)?;
        for event in page.events {
            match event.event {
                VaultEvents::Claimed(claimed) => {
                    let amount = Amount::from_u96(claimed.credited);
                    add(credits.amounts.entry(claimed.payee).or_default(), amount)?;
                }
                VaultEvents::ResultsSettled(settled) => {
                    let order = OrderDigest::from_bytes(settled.order.0);
                    credits.fuel.insert(order, settled.fuel);
                    for (payee, amount) in amounts_of_words(&settled.credits) {
                        credits.settled.entry(payee).or_default().insert(order);
                        add(credits.amounts.entry(payee).or_default(), amount)?;
                    }
                }
                VaultEvents::Opened(opened) if opened.key == requestor => {
                    for (_, amount) in amounts_of_words(&opened.words) {
                        add(&mut credits.earmarked, amount)?;
                    }
                }
                VaultEvents::Released(released) if released.key == requestor => {
                    add(&mut credits.released, Amount::from_u96(released.refund))?;
                }
                _ => {}
            }
        }
        if page.next <= from {
            break;
        }
        from = page.next;
    }
    Ok(credits)
}

async fn chain_facts(vault: &VaultView, network: &NetworkFile, head: u64) -> Result<ChainFacts, Failure> {
    let counts = census(vault.chain(), network.vault, network.token, 0, head).await.map_err(chain_failure)?;
    let mut facts = ChainFacts::default();
    for (kind, count) in counts {
        facts.transactions += count.transactions;
        facts.gas += count.gas;
        match kind {
            "claim" => facts.claims = count.transactions,
            "settle_quorum" => facts.quorum_settlements = count.transactions,
            _ => {}
        }
        facts.by_kind.insert(kind.to_owned(), KindFacts { transactions: count.transactions, gas: count.gas });
    }
    Ok(facts)
}

/// Speaks the same chunks here, in one process, and compares.
async fn check_speech(wav: &Path, chunks: &[String], module: &Path) -> Result<Speech, Failure> {
    let bytes = std::fs::read(wav).map_err(|e| Failure::work(format!("cannot read {}: {e}", wav.display())))?;
    let (chunks, module) = (chunks.to_vec(), module.to_owned());
    let local = tokio::task::spawn_blocking(move || speak_here(&chunks, &module))
        .await
        .map_err(|e| Failure::work(e.to_string()))??;
    let millis = crate::speech::wav_millis(&bytes).map_err(|e| Failure::work(e.to_string()))?;
    Ok(Speech {
        path: wav.display().to_string(),
        sha256: sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        seconds: millis / 1000,
        matches_local_run: bytes == local,
    })
}

fn speak_here(chunks: &[String], module: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |e: String| Failure::work(format!("the local run failed: {e}"));
    let engine = engine().map_err(|e| failed(e.to_string()))?;
    let bytes = std::fs::read(module).map_err(|e| failed(e.to_string()))?;
    let compiled = engine.compile(&bytes).map_err(|e| failed(e.to_string()))?;
    let mut outputs = Vec::new();
    for unit in flite::units_of(chunks, "kal") {
        let mut inputs: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        let mut named = Vec::new();
        for (path, bytes) in unit.inputs {
            named.push(Input {
                path: path.clone(),
                content: symbolon_content::reference(&bytes),
                size: bytes.len() as u64,
            });
            inputs.insert(path, bytes.into());
        }
        let workunit = Workunit {
            module: symbolon_content::reference(&bytes),
            args: unit.args,
            env: unit.env,
            inputs: named,
            level: Level::Command,
            limits: flite::limits(),
            max_fuel: unit.max_fuel,
            seed: [0; 32],
        };
        let execution =
            engine.run(&compiled, &workunit, &inputs, &Cancel::default()).map_err(|e| failed(e.to_string()))?;
        outputs.push(symbolon_node::UnitOutput {
            outcome: execution.outcome,
            fuel: execution.fuel,
            stdout: execution.stdout,
            stderr: execution.stderr,
            outputs: execution.outputs,
        });
    }
    flite::join(&outputs)
}
