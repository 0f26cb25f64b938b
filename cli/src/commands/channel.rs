//! `symbolon channel claim`, `find`, `resume` and `release`: what a person does with channels.

use super::ledger::{role, short, until};
use crate::{
    args::{ChannelCommand, ClaimArgs, FeeArgs, Global},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, chain_failure, node_failure, store_failure, tx_failure},
    output::{gwei, json, line, note, tokens},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, IsTerminal, Write},
};
use symbolon_node::{
    Collection, Conflict, Finder, FoundChannel, Halt, KnownChannel, Role, StaysHalted, Timing, holdings, known_channels,
};
use symbolon_primitives::{Address, Amount, B256, Lane, Signature, Signer, Timestamp};
use symbolon_settlement::{Call, Claim, ClaimPolicy, Depth, Entry, JournalledTx, TxManager, VaultView, Wait, Why, ops};
use symbolon_store::{Look, StoreError, StoreHandle, TxIntent};

/// What to do about what cannot be.
const REPORT: &str = "this is a mistake of this program: symbolon receipt export keeps what it was about";

/// Runs what of `symbolon channel` does more than look at the ledger.
pub(crate) async fn run(network: &NetworkFile, command: ChannelCommand, global: &Global) -> Result<(), Failure> {
    match command {
        ChannelCommand::Ls | ChannelCommand::Show { .. } => Ok(()),
        ChannelCommand::Release { fees } => {
            let key = keys::open(&global.data, &global.password)?;
            let vault = network.connect().await?;
            let (txs, store) =
                super::vault::manager(vault.chain(), key.clone(), global, network.tx_config(&fees)).await?;
            let done = release(&vault, &txs, &store, network.deployed_at, key.address(), global.json).await;
            store.close().await;
            done
        }
        ChannelCommand::Claim { dry_run, claim_at, claims, fees } => {
            let policy = policy(&claims, claim_at, &network.timing());
            if dry_run {
                dry_claim(network, &policy, claims.ether_price, global).await
            } else {
                claim(network, &policy, claims.ether_price, &fees, global).await
            }
        }
        ChannelCommand::Find => find(network, global).await,
        ChannelCommand::Resume { addresses, lane, yes } => resume(network, &addresses, lane, yes, global).await,
    }
}

/// The policy that the command line asks for.
pub(crate) fn policy(args: &ClaimArgs, claim_at: Amount, timing: &Timing) -> ClaimPolicy {
    ClaimPolicy {
        min_value: claim_at,
        max_fee_bps: args.max_fee_ratio,
        max_fee_bps_at_end: args.max_fee_ratio,
        before_expiry_margin_secs: timing.margin_secs.into(),
        ..ClaimPolicy::default()
    }
}

/// Transactions of the journal that no block has.
pub(crate) async fn not_mined(vault: &VaultView, open: Vec<JournalledTx>) -> Vec<JournalledTx> {
    let mut waiting = Vec::new();
    for tx in open {
        let mut mined = false;
        for hash in tx.hashes.iter().rev() {
            mined = mined || matches!(vault.chain().receipt(*hash).await, Ok(Some(_)));
        }
        if !mined {
            waiting.push(tx);
        }
    }
    waiting
}

/// How many transactions wait to be mined.
async fn waiting(vault: &VaultView, open: &[TxIntent]) -> usize {
    let sent = open.iter().map(JournalledTx::of).filter(|tx| tx.sent).collect();
    not_mined(vault, sent).await.len()
}

async fn dry_claim(
    network: &NetworkFile,
    policy: &ClaimPolicy,
    ether_price: Amount,
    global: &Global,
) -> Result<(), Failure> {
    let me = keys::open(&global.data, &global.password)?.address();
    let (vault, _) = network.connect_to_collect().await?;
    let (held, open) = {
        let look = Look::open(&global.data).map_err(store_failure)?;
        let view = look.view();
        let held = holdings(&view, &vault.domain(), me).map_err(node_failure)?;
        (held, view.open_txs(vault.chain().chain_id(), me).map_err(store_failure)?)
    };
    let waiting = waiting(&vault, &open).await;
    let found = held.plan(&vault, ether_price, policy, waiting).await.map_err(chain_failure)?;
    for claim in &found.plan.claims {
        show_claim(claim, "would ", None, is_weighed(&found), global.json);
    }
    show_rest(&found, global.json);
    Ok(())
}

async fn claim(
    network: &NetworkFile,
    policy: &ClaimPolicy,
    ether_price: Amount,
    fees: &FeeArgs,
    global: &Global,
) -> Result<(), Failure> {
    let key = keys::open(&global.data, &global.password)?;
    let (vault, chain) = network.connect_to_collect().await?;
    let (txs, store) =
        super::vault::manager(&chain, key.clone(), global, network.tx_config(fees)).await.map_err(|failure| {
            Failure {
                hint: Some("a running provider claims by itself; --dry-run shows what it would send".to_owned()),
                ..failure
            }
        })?;
    let done = async {
        let held = store.read(|view| holdings(&view, &vault.domain(), key.address())).map_err(node_failure)?;
        let open = store.read(|view| view.open_txs(vault.chain().chain_id(), key.address())).map_err(store_failure)?;
        let waiting = waiting(&vault, &open).await;
        let found = held.plan(&vault, ether_price, policy, waiting).await.map_err(chain_failure)?;
        if !is_weighed(&found) && !found.plan.claims.is_empty() {
            note("warning: without --ether-price nothing is weighed against its gas: all of it is claimed");
        }
        // All are sent before any is waited for: a settlement's time may be nearly over, and no failure keeps others.
        let mut sent = Vec::with_capacity(found.plan.claims.len());
        for claim in &found.plan.claims {
            let intent = held.intent(vault.address(), claim);
            let intent = intent.ok_or_else(|| Failure::input("a stored quorum makes no settlement").hint(REPORT));
            sent.push(match intent {
                Ok(intent) => txs.submit(intent).await.map_err(|error| tx_failure(&error)),
                Err(failure) => Err(failure),
            });
        }
        let mut failed = None;
        for (claim, sent) in found.plan.claims.iter().zip(sent) {
            let mined = match sent {
                Ok(handle) => handle.wait().await.map_err(|error| tx_failure(&error)),
                Err(failure) => Err(failure),
            };
            match mined {
                Ok(receipt) => show_claim(claim, "", Some(receipt.hash), is_weighed(&found), global.json),
                Err(failure) => {
                    let message =
                        format!("{} tokens are not collected: {}", tokens(claim.value.get()), failure.message);
                    let failure = Failure { message, ..failure };
                    // The first ends the command; of the others no less is said.
                    if failed.is_some() {
                        note(&format!("error: {}", failure.message));
                        failure.hint.iter().for_each(|hint| note(&format!("hint: {hint}")));
                    }
                    failed = failed.or(Some(failure));
                }
            }
        }
        show_rest(&found, global.json);
        failed.map_or(Ok(()), Err)
    };
    let done = done.await;
    store.close().await;
    done
}

const fn why(why: Why, weighed: bool) -> &'static str {
    match why {
        Why::Expiring => "it is about to expire",
        Why::JobOver => "its job is over",
        Why::Silent => "its requestor is silent",
        Why::Worth if weighed => "it is worth its gas",
        Why::Worth => "it has something to collect",
    }
}

fn why_not(wait: &Wait) -> String {
    let amount = |amount: &Amount| tokens(amount.get());
    match wait {
        Wait::NothingToCollect => "there is nothing to collect".to_owned(),
        Wait::BelowItsGas { fee } => format!("its gas costs {}, which is no less", amount(fee)),
        Wait::BelowMinimum { need } => format!("its claim collects less than {} (--claim-at)", amount(need)),
        Wait::FeeTooHigh { fee, allowed } => {
            format!(
                "its claim's gas costs {}, at most {} may go into it (--max-fee-ratio)",
                amount(fee),
                amount(allowed)
            )
        }
        Wait::NotItsTurn { at } => format!("another replica settles first; this one's turn comes in {}", until(*at)),
        Wait::TooLate => "its time to be settled is over: it can be paid by voucher only".to_owned(),
    }
}

fn entry_json<R: serde::Serialize>(entry: &Entry<R>) -> serde_json::Value {
    serde_json::json!({
        "payer": entry.place.payer, "lane": entry.place.lane, "order": entry.order, "value": entry.value,
        "reason": entry.reason,
    })
}

fn place<R>(entry: &Entry<R>) -> String {
    let order = entry.order.map_or_else(String::new, |order| format!(", order {order}"));
    format!("{}, lane {}{order}: {} tokens", entry.place.payer, entry.place.lane.number16(), tokens(entry.value.get()))
}

/// Whether it is known what gas costs in tokens.
fn is_weighed(found: &Collection) -> bool {
    !found.market.gas.base_per_ether.is_zero()
}

/// One transaction, sent or not, with a reason for each of its entries.
fn show_claim(claim: &Claim, would: &str, sent: Option<B256>, weighed: bool, as_json: bool) {
    let action = match claim.call {
        Call::Claim(_) => "claim",
        Call::Settle(_) => "settle",
    };
    if as_json {
        return json(&serde_json::json!({
            "action": action, "value": claim.value, "gas": claim.gas, "fee": weighed.then_some(claim.fee), "why": claim.why,
            "entries": claim.entries.iter().map(entry_json).collect::<Vec<_>>(), "transaction": sent,
        }));
    }
    // That it is worth its gas nobody knows then.
    let cost = if weighed { format!(", which costs {}", tokens(claim.fee.get())) } else { ", not weighed".to_owned() };
    line(&format!(
        "{would}{action} {} tokens for at most {} gas{cost}: {}{}",
        tokens(claim.value.get()),
        claim.gas,
        why(claim.why, weighed),
        sent.map_or_else(String::new, |hash| format!(", in {hash}")),
    ));
    for entry in &claim.entries {
        line(&format!("  {}: {}", place(entry), why(entry.reason, weighed)));
    }
}

fn show_rest(found: &Collection, as_json: bool) {
    let Collection { plan, market } = found;
    for entry in &plan.waiting {
        if as_json {
            let mut value = entry_json(entry);
            if let Some(members) = value.as_object_mut() {
                members.insert("action".to_owned(), "wait".into());
            }
            json(&value);
        } else {
            line(&format!("wait  {}: {}", place(entry), why_not(&entry.reason)));
        }
    }
    if !as_json {
        note(&format!(
            "{} transactions, {} entries wait; a gas costs {} gwei, congestion {} of 12{}",
            plan.claims.len(),
            plan.waiting.len(),
            gwei(market.gas.wei_per_gas),
            market.congestion.level(),
            if is_weighed(found) { "" } else { "; gas is weighed once --ether-price is given" },
        ));
    }
}

/// Looks for channels that the folder does not know. How far it looked is stored, unless a node has the folder.
async fn find(network: &NetworkFile, global: &Global) -> Result<(), Failure> {
    let me = keys::open(&global.data, &global.password)?.address();
    let vault = network.connect().await?;
    let head = vault.chain().head().await.map_err(chain_failure)?;
    let found = match StoreHandle::open(global.data.clone()).await {
        Ok(store) => {
            let finder = store.read(|view| Finder::open(&vault, me, network.deployed_at, Some(&view)));
            let done = async {
                let mut finder = finder?;
                let found = finder.find(&head).await?;
                finder.save(&store).await?;
                Ok(found)
            };
            let done = done.await;
            store.close().await;
            done
        }
        Err(StoreError::Locked { .. }) => {
            let look = Look::open(&global.data).map_err(store_failure)?;
            let mut finder = Finder::open(&vault, me, network.deployed_at, Some(&look.view())).map_err(node_failure)?;
            finder.find(&head).await
        }
        Err(error) => return Err(store_failure(error)),
    };
    let found = found.map_err(node_failure)?;
    for channel in &found {
        show_found(channel, global.json);
    }
    if !global.json {
        let live = found.iter().filter(|channel| channel.is_live()).count();
        note(&format!(
            "{} channels of {me} at block {} that this data folder does not know, {live} with money in them",
            found.len(),
            head.number
        ));
    }
    Ok(())
}

fn show_found(channel: &FoundChannel, as_json: bool) {
    let FoundChannel { payer, payee, lane, state, agreed, .. } = channel;
    let next = match channel.role {
        _ if !channel.is_live() => "nothing is left in it",
        Role::Payer if state.expiry <= symbolon_node::now() => "take it back: symbolon channel release",
        Role::Payer => "it can be taken back after the expiry: symbolon channel release",
        Role::Payee if *agreed => "it waits for its first order",
        Role::Payee => "claim it with a voucher from a backup (symbolon restore), or let a watchtower that has one",
    };
    if as_json {
        return json(&serde_json::json!({
            "role": channel.role, "payer": payer, "payee": payee, "lane": lane, "epoch": state.epoch,
            "allocated": state.allocated, "claimed": state.claimed, "expiry": state.expiry, "agreed": agreed,
            "next": next,
        }));
    }
    line(&format!(
        "{}  {} to {}, lane {}, epoch {}: {} earmarked, {} claimed, expires in {}; {next}",
        role(channel.role),
        short(*payer),
        short(*payee),
        lane.number16(),
        state.epoch,
        tokens(state.allocated.get()),
        tokens(state.claimed.get()),
        until(state.expiry),
    ));
}

/// Takes back what expired channels of this key have left, whether or not the folder knows them.
async fn release(
    vault: &VaultView,
    txs: &TxManager,
    store: &StoreHandle,
    deployed_at: u64,
    me: Address,
    as_json: bool,
) -> Result<(), Failure> {
    let head = vault.chain().head().await.map_err(chain_failure)?;
    let (known, finder) = store
        .read(|view| Ok((known_channels(&view, &vault.domain())?, Finder::open(vault, me, deployed_at, Some(&view))?)))
        .map_err(node_failure)?;
    let own = known.into_iter().filter(|channel| channel.role == Role::Payer && channel.payer == me);
    let mut places: BTreeSet<(Lane, Address)> = own.map(|channel| (channel.lane, channel.payee)).collect();
    let mut finder = finder;
    let mut unsearched = None;
    match finder.find(&head).await {
        Ok(found) => {
            let own = found.iter().filter(|channel| channel.role == Role::Payer);
            places.extend(own.map(|channel| (channel.lane, channel.payee)));
            finder.save(store).await.map_err(node_failure)?;
        }
        // Those that are known come back all the same.
        Err(error) => {
            note(&format!("warning: only channels of this data folder are looked at: {error}"));
            unsearched = Some(node_failure(error));
        }
    }
    let mut lanes: BTreeMap<Lane, Vec<(Address, Option<Signature>)>> = BTreeMap::new();
    let mut waiting = 0_usize;
    let mut total = Amount::ZERO;
    for (lane, payee) in places {
        let state = vault.channel(me, payee, lane, &head).await.map_err(chain_failure)?;
        let left = state.allocated.saturating_sub(state.claimed);
        if left.is_zero() {
            continue;
        }
        if state.expiry.0 > head.timestamp {
            waiting += 1;
            continue;
        }
        total = total.checked_add(left).map_err(|e| Failure::input(e.to_string()))?;
        lanes.entry(lane).or_default().push((payee, None));
    }
    let batches = lanes.iter().flat_map(|(lane, rows)| rows.chunks(ops::RELEASE_ROWS).map(move |rows| (lane, rows)));
    for (lane, rows) in batches {
        let tag = ops::tag(&[b"release expired", &rand::random::<[u8; 32]>()]);
        txs.run(ops::release(vault.address(), me, *lane, rows, tag)).await.map_err(|e| tx_failure(&e))?;
    }
    if as_json {
        json(&serde_json::json!({ "released": total, "waiting": waiting, "searched": unsearched.is_none() }));
    } else {
        note(&format!("{} tokens released; {waiting} channels have not expired yet", tokens(total.get())));
    }
    unsearched.map_or(Ok(()), Err)
}

/// Shows what stopped channels and lets them go on, once a person has said so.
async fn resume(
    network: &NetworkFile,
    addresses: &[Address],
    lane: Option<u16>,
    yes: bool,
    global: &Global,
) -> Result<(), Failure> {
    let key = keys::open(&global.data, &global.password)?;
    let vault = network.connect().await?;
    let deep = vault.chain().anchor(Depth::Blocks(network.timing().depth.into())).await.map_err(chain_failure)?;
    let store = StoreHandle::open(global.data.clone()).await.map_err(|error| {
        Failure::input(error.to_string())
            .hint("stop the node that uses this data folder first; it goes on with the channel when it starts")
    })?;
    let done = async {
        let known = store.read(|view| known_channels(&view, &vault.domain())).map_err(node_failure)?;
        let wanted = |known: &&KnownChannel| {
            known.halted.is_some()
                && addresses.iter().any(|address| known.payer == *address || known.payee == *address)
                && lane.is_none_or(|lane| known.lane.number16() == lane)
        };
        let stopped: Vec<KnownChannel> = known.iter().filter(wanted).copied().collect();
        if stopped.is_empty() {
            return Err(Failure::input("no channel with them is stopped in this data folder")
                .hint("symbolon channel ls shows which are"));
        }
        let (mut resumed, mut left) = (0_usize, 0_usize);
        for channel in stopped {
            let halt = Halt::read(&vault, channel, &deep).await.map_err(halt_failure)?;
            show_halt(&halt, global.json);
            if !yes && !confirmed("let the channel go on from what the chain shows?")? {
                left += 1;
                note("it stays stopped");
                continue;
            }
            halt.overrule(&store, &key, &vault.domain()).await.map_err(halt_failure)?;
            resumed += 1;
            if !global.json {
                note("it goes on from what the chain shows, at the next start of the node");
            }
        }
        if global.json {
            json(&serde_json::json!({ "resumed": resumed, "still_stopped": left }));
        }
        Ok(())
    };
    let done = done.await;
    store.close().await;
    done
}

fn halt_failure(error: StaysHalted) -> Failure {
    match error {
        StaysHalted::Node(error) => node_failure(error),
        StaysHalted::StillWrong { .. } => Failure::chain(error.to_string()).hint(
            "wait until the endpoints show the later epoch again, or name others with --rpc; other lanes go on meanwhile",
        ),
        StaysHalted::Behind { .. } => {
            Failure::chain(error.to_string()).hint("wait for the endpoint, or name another one with --rpc")
        }
        other => Failure::input(other.to_string()).hint("symbolon channel ls shows which channels are stopped"),
    }
}

/// Asks on the terminal.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::input("somebody has to say yes to this, and there is no terminal to ask on")
            .hint("read what is printed above, then give --yes"));
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut said = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut said)
        .map_err(|e| Failure::input(format!("cannot read from the terminal: {e}")))?;
    Ok(matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What may come of going on, in a sentence.
fn risk(halt: &Halt) -> String {
    let most = tokens(halt.at_risk().get());
    match (halt.channel.role, halt.conflict) {
        (Role::Payer, Conflict::ClaimedAboveSigned { .. }) => format!(
            "whoever else signs with this key, or an older state of this folder, may have promised up to {most} tokens more; \
             they are paid beside what is promised from now on. Find out who has the key before going on"
        ),
        (Role::Payer, _) => format!("vouchers given before may still claim up to {most} tokens of the earmark"),
        (Role::Payee, Conflict::ReleasedEarly { .. }) => {
            "what was earned in that epoch and not claimed is lost already; whoever has this key may sign the next one away \
             too. Find out who has the key before going on"
                .to_owned()
        }
        (Role::Payee, _) => format!("{most} tokens that were earned are covered by no earmark any more"),
    }
}

fn show_halt(halt: &Halt, as_json: bool) {
    let Halt { channel, conflict, state, .. } = halt;
    if as_json {
        return json(&serde_json::json!({
            "payer": channel.payer, "payee": channel.payee, "lane": channel.lane, "role": channel.role,
            "conflict": conflict, "says": conflict.to_string(), "epoch": state.epoch, "allocated": state.allocated,
            "claimed": state.claimed, "expiry": state.expiry, "voucher": channel.voucher, "earned": channel.earned,
            "at_risk": halt.at_risk(), "risk": risk(halt),
        }));
    }
    let amount = |amount: Amount| tokens(amount.get());
    let here = match channel.role {
        Role::Payer => format!("signed for {} in epoch {}", amount(channel.voucher), channel.seen.epoch),
        Role::Payee => format!(
            "holds a voucher for {} of epoch {}, earned {} in it",
            amount(channel.voucher),
            channel.seen.epoch,
            amount(channel.earned)
        ),
    };
    line(&format!("channel of {} to {}, lane {}", channel.payer, channel.payee, channel.lane.number16()));
    line(&format!("  stopped      {conflict}"));
    line(&format!("  this folder  {here}"));
    line(&format!(
        "  the chain    epoch {}: {} earmarked, {} claimed, expires in {}",
        state.epoch,
        amount(state.allocated),
        amount(state.claimed),
        if state.expiry == Timestamp::default() { "-".to_owned() } else { until(state.expiry) },
    ));
    line(&format!("  at risk      {}", risk(halt)));
}
