//! `symbolon doctor`: names what is wrong, or soon will be, and the command that mends it.

mod endpoints;

use super::{
    channel::not_mined,
    ledger::{GasCost, span, until},
};
use crate::{
    args::{Global, NetworkArgs, PriceArgs},
    fail::Failure,
    keys,
    network::NetworkFile,
    output::{json, line, note, tokens},
};
use std::{collections::BTreeMap, fs::OpenOptions, io::Write, path::Path};
use symbolon_node::{Finder, FoundChannel, KnownChannel, Role, engine, known_channels, now};
use symbolon_primitives::{Address, Amount, Signer, Timestamp, U256};
use symbolon_settlement::{ChannelState, Header, JournalledTx, VaultView};
use symbolon_store::Look;

/// A transaction that waits longer is stuck.
const STUCK_SECS: u64 = 600;
/// Claims that the gas should last for.
const CLAIMS: u64 = 10;
/// What is written and taken away again to see that the disk has room.
const PROBE_BYTES: usize = 1 << 20;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Fine,
    Soon,
    Wrong,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Soon => "soon",
            Self::Wrong => "wrong",
        }
    }
}

/// What was looked at, what was found, and what mends it.
struct Finding {
    level: Level,
    about: &'static str,
    says: String,
    mend: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fine(&mut self, about: &'static str, says: impl Into<String>) {
        self.0.push(Finding { level: Level::Fine, about, says: says.into(), mend: None });
    }

    fn soon(&mut self, about: &'static str, says: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { level: Level::Soon, about, says: says.into(), mend: Some(mend.into()) });
    }

    fn wrong(&mut self, about: &'static str, says: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { level: Level::Wrong, about, says: says.into(), mend: Some(mend.into()) });
    }

    fn failed(&mut self, about: &'static str, failure: Failure) {
        self.0.push(Finding { level: Level::Wrong, about, says: failure.message, mend: failure.hint });
    }
}

/// Runs `symbolon doctor`.
pub(crate) async fn run(args: &NetworkArgs, price: PriceArgs, global: &Global) -> Result<(), Failure> {
    let mut found = Findings::default();
    match engine() {
        Ok(_) => found.fine("executor", "this machine gives the profile's numbers"),
        Err(error) => found.wrong("executor", error.to_string(), "run on another machine: results here would dissent"),
    }
    disk(&mut found, &global.data);
    let key = match keys::open(&global.data, &global.password) {
        Ok(key) => Some(key.address()),
        Err(failure) => {
            found.failed("key", failure);
            None
        }
    };
    match NetworkFile::read(args) {
        Ok(network) => look_at_network(&mut found, &network, (args, price), global, key).await,
        Err(failure) => found.failed("network", failure),
    }
    report(&found.0, global.json)
}

fn report(found: &[Finding], as_json: bool) -> Result<(), Failure> {
    for finding in found {
        let Finding { level, about, says, mend } = finding;
        if as_json {
            json(&serde_json::json!({ "level": level.name(), "about": about, "says": says, "mend": mend }));
            continue;
        }
        line(&format!("{:<5}  {about:<11}  {says}", level.name()));
        if let Some(mend) = mend {
            line(&format!("       {:<11}  mend: {mend}", ""));
        }
    }
    let count = |level: Level| found.iter().filter(|finding| finding.level == level).count();
    let (wrong, soon) = (count(Level::Wrong), count(Level::Soon));
    if wrong > 0 {
        return Err(Failure::work(format!("{wrong} things are wrong, {soon} need looking after soon")));
    }
    note(&format!("nothing is wrong; {soon} things need looking after soon"));
    Ok(())
}

fn disk(found: &mut Findings, data: &Path) {
    if !data.exists() {
        return found.fine("disk", format!("{} is not there yet", data.display()));
    }
    let probe = data.join(format!(".doctor-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)
        .and_then(|mut file| file.write_all(&vec![0x5a; PROBE_BYTES]).and_then(|()| file.sync_all()));
    let removed = std::fs::remove_file(&probe);
    match written.and(removed) {
        Ok(()) => found.fine("disk", format!("{} can be written", data.display())),
        Err(error) => found.wrong(
            "disk",
            format!("{} cannot be written: {error}", data.display()),
            "make room or mount it for writing; until then nothing is signed and claims go on",
        ),
    }
}

/// What the store has, if there is one.
struct Stored {
    channels: Vec<KnownChannel>,
    waiting: Vec<JournalledTx>,
    registered: bool,
    /// Looks for channels that the folder does not know.
    finder: Option<Finder>,
}

fn stored(
    found: &mut Findings,
    global: &Global,
    vault: &VaultView,
    deployed_at: u64,
    key: Option<Address>,
) -> Option<Stored> {
    if !global.data.join("symbolon.db").exists() {
        found.fine("store", "no node has run in this data folder yet");
        return None;
    }
    let read = || -> Result<(Option<String>, Stored), String> {
        let look = Look::open(&global.data).map_err(|e| e.to_string())?;
        let damage = look.damage().map_err(|e| e.to_string())?;
        let view = look.view();
        let channels = known_channels(&view, &vault.domain()).map_err(|e| e.to_string())?;
        let (mut waiting, mut finder) = (Vec::new(), None);
        if let Some(key) = key {
            let open = view.open_txs(vault.chain().chain_id(), key).map_err(|e| e.to_string())?;
            waiting = open.iter().map(JournalledTx::of).collect();
            finder = Some(Finder::open(vault, key, deployed_at, Some(&view)).map_err(|e| e.to_string())?);
        }
        let registered = view.record("registration", &[]).map_err(|e| e.to_string())?.is_some();
        Ok((damage, Stored { channels, waiting, registered, finder }))
    };
    let restore = "stop the node, keep a copy of the folder, and restore a backup; vouchers in it stay good";
    match read() {
        Ok((Some(damage), _)) => {
            found.wrong("store", format!("it is damaged: {damage}"), restore);
            None
        }
        Ok((None, stored)) => {
            found.fine("store", format!("sound, with {} channels of this vault", stored.channels.len()));
            Some(stored)
        }
        Err(error) => {
            found.wrong("store", error, restore);
            None
        }
    }
}

async fn look_at_network(
    found: &mut Findings,
    network: &NetworkFile,
    (args, price): (&NetworkArgs, PriceArgs),
    global: &Global,
    key: Option<Address>,
) {
    let asked = endpoints::ask(found, network, args).await;
    if asked.is_hopeless() {
        return;
    }
    let vault = match network.connect().await {
        Ok(vault) => vault,
        Err(failure) => {
            found.failed("endpoint", failure);
            // What the chain says of this folder's money is worth knowing by one endpoint's word too.
            match network.connect_to_collect().await {
                Ok((vault, _)) => vault,
                Err(_) => return,
            }
        }
    };
    let head = match vault.chain().head().await {
        Ok(head) => head,
        Err(error) => return found.failed("endpoint", crate::network::chain_failure(error)),
    };
    endpoints::clock(found, vault.chain(), &head, &asked).await;
    // The chain judges every deadline by its own time.
    let time = now().max(Timestamp(head.timestamp));
    let mut stored = stored(found, global, &vault, network.deployed_at, key);
    let cost = GasCost::at(vault.chain(), &head, price).await;
    if let Some(stored) = &mut stored {
        stuck(found, &not_mined(&vault, std::mem::take(&mut stored.waiting)).await);
        for known in &stored.channels {
            channel(found, &vault, &head, known, time).await;
        }
        limits(found, &stored.channels, cost);
    }
    if let Some(key) = key {
        let in_folder = stored.as_mut().and_then(|stored| stored.finder.take());
        match in_folder.map_or_else(|| Finder::open(&vault, key, network.deployed_at, None), Ok) {
            Ok(finder) => unknown(found, finder, &head).await,
            Err(error) => found.failed("channel", crate::network::node_failure(error)),
        }
        gas(found, &vault, cost, key).await;
        if stored.is_some_and(|stored| stored.registered) {
            stake(found, &vault, &head, key).await;
        }
    }
    asked.compared(found, vault.chain());
}

fn stuck(found: &mut Findings, waiting: &[JournalledTx]) {
    // This clock said when they were planned.
    let time = now();
    let is_old = |tx: &&JournalledTx| time.secs_since(tx.since) > STUCK_SECS;
    if let Some(oldest) = waiting.iter().filter(|tx| tx.sent).find(is_old) {
        let count = waiting.iter().filter(|tx| tx.sent).filter(is_old).count();
        found.wrong(
            "transaction",
            format!(
                "{count} wait for more than {} min, the oldest a {} for {}",
                STUCK_SECS / 60,
                oldest.kind,
                span(time.secs_since(oldest.since))
            ),
            "symbolon tx ls shows them; a running node raises the fee up to its caps (--max-gas-price, --max-tx-fee, \
             --max-day-fee); without one: symbolon tx push, or symbolon tx cancel ID",
        );
    } else {
        let sent = waiting.iter().filter(|tx| tx.sent).count();
        found.fine("transaction", format!("{sent} under way, none of them stuck"));
    }
    let given_up = waiting.iter().filter(|tx| !tx.sent).filter(is_old).count();
    if given_up > 0 {
        found.soon(
            "transaction",
            format!("{given_up} were planned and not taken by any endpoint: they do not happen by themselves"),
            "symbolon tx ls shows them, symbolon tx cancel ID takes them off the journal",
        );
    }
}

/// Channels of the key that nothing in the folder names.
async fn unknown(found: &mut Findings, mut finder: Finder, head: &Header) {
    let channels = match finder.find(head).await {
        Ok(channels) => channels,
        Err(error) => return found.failed("channel", crate::network::node_failure(error)),
    };
    for (role, what) in [(Role::Payer, "this key set aside"), (Role::Payee, "others set aside for this key")] {
        let lost = |channel: &&FoundChannel| channel.role == role && channel.is_live() && !channel.agreed;
        let left = channels.iter().filter(lost).map(|of| of.state.allocated.saturating_sub(of.state.claimed));
        let (count, sum) = left.fold((0_usize, Amount::ZERO), |(count, sum), left| {
            (count + 1, sum.checked_add(left).unwrap_or(Amount::MAX))
        });
        if count > 0 {
            found.soon(
                "channel",
                format!(
                    "{} tokens that {what} are in {count} channels that this folder does not know",
                    tokens(sum.get())
                ),
                "symbolon channel find shows them, and how each comes back",
            );
        }
    }
}

async fn channel(found: &mut Findings, vault: &VaultView, head: &Header, known: &KnownChannel, time: Timestamp) {
    let state = match vault.channel(known.payer, known.payee, known.lane, head).await {
        Ok(state) => state,
        Err(error) => return found.failed("channel", crate::network::chain_failure(error)),
    };
    if let Some(conflict) = known.halted {
        let other = if known.role == Role::Payee { known.payer } else { known.payee };
        found.wrong(
            "channel",
            format!("lane {} with {other} is stopped: {conflict}", known.lane.number16()),
            format!("symbolon channel resume {other} shows what may be lost, and lets it go on"),
        );
    }
    match known.role {
        Role::Payer => payers_earmark(found, known, &state, time),
        Role::Payee => payees_earmark(found, known, &state, time),
    }
}

/// Nothing is lost to a payer when its earmark expires: it gets the rest back then, and has to ask for it. With an
/// order open it pays first: before that no outputs are served.
fn payers_earmark(found: &mut Findings, known: &KnownChannel, state: &ChannelState, time: Timestamp) {
    let left = state.allocated.saturating_sub(state.claimed);
    if left.is_zero() || state.expiry.0.saturating_sub(known.margin_secs) > time.0 {
        return;
    }
    let says = format!("{} tokens set aside for {}", tokens(left.get()), known.payee);
    let when = match state.expiry.secs_since(time) {
        0 => "can come back".to_owned(),
        left => format!("can come back in {}, as far as they are not claimed", span(left)),
    };
    match known.open_order {
        None => found.soon("channel", format!("{says} {when}"), "symbolon channel release, once they can"),
        Some(_) => found.soon(
            "channel",
            format!("{says} {when}, and an order is open"),
            "symbolon job resume goes on with its job and pays; what is left: symbolon channel release, once it can",
        ),
    }
}

/// What a payee has not claimed by the expiry, and what it worked and got no voucher for, the payer may release.
fn payees_earmark(found: &mut Findings, known: &KnownChannel, state: &ChannelState, time: Timestamp) {
    let claimable = known.claimable(state);
    let reach = state.allocated.saturating_sub(state.claimed).saturating_sub(claimable);
    // In an epoch that is over nothing is to be had any more.
    let unpaid = if state.epoch == known.seen.epoch { known.exposure.min(reach) } else { Amount::ZERO };
    let margin = Timestamp(state.expiry.0.saturating_sub(known.margin_secs));
    let near = Timestamp(margin.0.saturating_sub(known.margin_secs));
    if near > time {
        return;
    }
    let when = match state.expiry.secs_since(time) {
        0 => "and the payer may release them now".to_owned(),
        left => format!("and its earmark expires in {}", span(left)),
    };
    let told = [
        (
            claimable,
            format!("{} tokens of {} are not claimed, {when}", tokens(claimable.get()), known.payer),
            "symbolon provider run claims them, symbolon channel claim at once, symbolon watchtower run while it is \
             off",
        ),
        (
            unpaid,
            format!("{} tokens of work for {} have no voucher, {when}", tokens(unpaid.get()), known.payer),
            "symbolon provider run gets its voucher or settles it by its quorum; symbolon channel claim settles at \
             once what a quorum has signed",
        ),
    ];
    for (amount, says, mend) in told {
        if amount.is_zero() {
            continue;
        }
        if margin <= time {
            found.wrong("channel", says, mend);
        } else {
            found.soon("channel", says, mend);
        }
    }
}

/// Whether the exposure limits of this payee are above what going after them costs (SYM-25).
fn limits(found: &mut Findings, channels: &[KnownChannel], cost: GasCost) {
    let limits: BTreeMap<Address, Amount> =
        channels.iter().filter_map(|known| Some((known.payer, known.limit?))).collect();
    let before = found.0.len();
    for (payer, limit) in &limits {
        if let Some(warning) = cost.warning(*limit) {
            let mend = "symbolon provider run --exposure TOKENS, for agreements from then on";
            found.soon("exposure", format!("with {payer} {warning}"), mend);
        }
    }
    if limits.is_empty() || found.0.len() > before {
        return;
    }
    let says = if cost.is_weighed() {
        "limits are above the gas of settling one order"
    } else {
        "limits are not weighed against gas: --ether-price says what an ether is worth"
    };
    found.fine("exposure", says);
}

async fn gas(found: &mut Findings, vault: &VaultView, cost: GasCost, key: Address) {
    let have = match vault.chain().ether(key).await {
        Ok(have) => have,
        Err(error) => return found.failed("gas", crate::network::chain_failure(error)),
    };
    let one = U256::from(cost.claim_wei());
    let ether = |wei: U256| tokens(u128::try_from(wei).unwrap_or(u128::MAX));
    let mend = format!("send ether to {key}; on a devnet: symbolon devnet fund {key}");
    if have < one || have.is_zero() {
        found.wrong("gas", format!("{} ether, and one claim costs {} now", ether(have), ether(one)), mend);
    } else if have < one.saturating_mul(U256::from(CLAIMS)) {
        found.soon("gas", format!("{} ether last for fewer than {CLAIMS} claims", ether(have)), mend);
    } else {
        found.fine("gas", format!("{} ether", ether(have)));
    }
}

async fn stake(found: &mut Findings, vault: &VaultView, head: &Header, key: Address) {
    match vault.account(key, head).await {
        Err(error) => found.failed("stake", crate::network::chain_failure(error)),
        Ok(account) if account.stake == Amount::ZERO => {
            found.wrong("stake", "this provider has no stake: no requestor draws it", "symbolon provider run --stake N")
        }
        Ok(account) => match account.unbonding_at {
            Some(at) => found.soon(
                "stake",
                format!("{} tokens leave in {}: no requestor counts them", tokens(account.stake.get()), until(at)),
                "symbolon provider run stakes again",
            ),
            None => found.fine("stake", format!("{} tokens", tokens(account.stake.get()))),
        },
    }
}
