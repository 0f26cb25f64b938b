//! How many channels fit into a node, and how long it takes to have them again after a start.
//!
//! Three are measured, each in a process of its own, so that none lives in what another has freed: the payee's
//! machine, the payer's machine, and a provider as it starts, with the store, the record it keeps of each channel,
//! its network and its engine. Each channel is its snapshot and a voucher that was kept after it. A provider's start
//! is measured with an empty folder as well: memory is the difference, time is all of it.
//!
//! Measured on two busy cores, for 100,000 channels: a payee's machine takes 1,416 bytes and all of them 1.4 s, a
//! payer's 1,388 bytes and 1.4 s, a provider's record 942 bytes and its whole start 1.6 s, 0.05 s of it without any
//! channel. It takes less than the machine alone because the node builds its map from a list that is complete, so
//! that the map's nodes are full. The targets are 2,048 bytes and 5 s. What a start then looks up on chain is not in it.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use symbolon_channel::{ChannelTerms, Hosting, Payee, PayeeInput, Payer, PayerInput, SignedVoucher, View};
use symbolon_executor::CompilerProcess;
use symbolon_net::Identity;
use symbolon_node::{Events, NodeConfig, Provider, ProviderConfig, ProviderTerms, Timing};
use symbolon_primitives::{
    Address, AgreementDigest, Amount, Domain, Key, Lane, ProfileId, Royalty, Signature, Signer, Timestamp, Voucher,
    keccak256,
};
use symbolon_settlement::{ClaimPolicy, TxConfig};
use symbolon_store::{Direction, Store, VoucherKey, VoucherRow, Write};

/// Channels that are opened at start and held in memory.
pub(crate) const OPEN: u32 = 100_000;
/// Memory for one of them, in bytes.
pub(crate) const MOST_BYTES: u64 = 2_048;
/// Time to have all of them.
pub(crate) const MOST_OPENING: Duration = Duration::from_secs(5);

/// When the channels expire.
const EXPIRY: Timestamp = Timestamp(4_000_000_000);
/// When their hosting begins.
pub(crate) const BEGIN: Timestamp = Timestamp(1_000_000_000);

const PAYER: &str = "payer-channel";
const PAYEE: &str = "payee-channel";
/// Periods paid by the voucher that was kept.
const PAID: u64 = 3;

/// What is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    /// The payee's machines.
    Payee,
    /// The payer's machines.
    Payer,
    /// A provider.
    Provider,
    /// A provider that has no channel.
    Empty,
}

/// What one process found.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Opened {
    channels: u32,
    secs: f64,
    /// Memory that lies in the process, in bytes: before and after.
    before: u64,
    after: u64,
}

/// A figure for one side.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// Memory of one open channel, where there is any.
    pub(crate) bytes: Option<u64>,
    /// Time until all of them were there.
    pub(crate) secs: f64,
}

/// What of this process lies in memory, in bytes.
fn resident() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").context("memory is measured on Linux")?;
    let pages: u64 = text.split(' ').nth(1).context("no resident set")?.parse()?;
    Ok(pages * 4_096)
}

/// The one party of all channels.
fn own() -> Result<Key> {
    Ok(Key::from_bytes(&keccak256(b"bench opening"))?)
}

fn other(number: u32) -> Address {
    let hash = keccak256(&number.to_be_bytes());
    Address::from_slice(hash.get(..20).unwrap_or(&[0; 20]))
}

fn lane() -> Lane {
    Royalty::NONE.lane(3)
}

/// A channel of the bench's.
pub(crate) fn terms(payer: Address, payee: Address) -> ChannelTerms {
    let domain = Domain { chain_id: 31_337, vault: Address::repeat_byte(0xee) };
    ChannelTerms { domain, payer, payee, lane: lane(), margin_secs: 1_000 }
}

/// The channel at depth: earmarks without an end.
pub(crate) fn seen() -> View {
    View { allocated: Amount::MAX, expiry: EXPIRY, block: 1, ..View::default() }
}

/// Hosting in which a voucher is due every second: nothing but vouchers.
pub(crate) fn hosting() -> Hosting {
    Hosting {
        agreement: AgreementDigest::from_bytes([7; 32]),
        epoch: 0,
        owed: Amount::ZERO,
        price: Amount::from_u64(1_000),
        begin: BEGIN,
        period_secs: 10,
        lead_secs: 5,
        periods: u32::MAX,
    }
}

/// The voucher kept after a channel's snapshot. Nobody checks its signature again: the store's own are taken as they are.
fn kept(direction: Direction, payer: Address, payee: Address) -> Write {
    Write::PutVoucher(VoucherRow {
        key: VoucherKey { direction, payer, payee, lane: lane(), epoch: 0 },
        cumulative: Amount::from_u64(PAID * 1_000),
        signature: Signature::from_bytes([5; 64]),
        order: None,
        created_at: Timestamp(1),
    })
}

/// A provider's record of a channel beside the machine: its finality threshold and depth.
fn record(payee: &Payee) -> Result<Vec<u8>> {
    Ok(postcard::to_allocvec(&(payee, Amount::MAX, 12_u16))?)
}

/// A folder in which all channels are open.
fn fill(dir: &Path, side: Side) -> Result<()> {
    let (key, mut store) = (own()?, Store::open(dir)?);
    let me = key.address();
    let row = |number: u32| -> Result<[Write; 2]> {
        let other = other(number);
        Ok(if side == Side::Payer {
            let mut payer = Payer::new(terms(me, other));
            payer.handle(&key, PayerInput::Seen(seen()), Timestamp(0))?;
            payer.handle(&key, PayerInput::Host(hosting()), Timestamp(0))?;
            let id = [other.as_slice(), lane().word().as_slice()].concat();
            [Write::put(PAYER, id, postcard::to_allocvec(&payer)?), kept(Direction::Issued, me, other)]
        } else {
            let mut payee = Payee::new(terms(other, me));
            payee.handle(&key, PayeeInput::Seen(seen()), Timestamp(0))?;
            payee.handle(&key, PayeeInput::Host(hosting()), Timestamp(0))?;
            let id = [other.as_slice(), lane().word().as_slice()].concat();
            let bytes = if side == Side::Provider { record(&payee)? } else { postcard::to_allocvec(&payee)? };
            [Write::put(PAYEE, id, bytes), kept(Direction::Received, other, me)]
        })
    };
    for chunk in (0..OPEN).collect::<Vec<_>>().chunks(10_000) {
        let rows: Vec<[Write; 2]> = chunk.iter().map(|number| row(*number)).collect::<Result<_>>()?;
        store.write(&rows.concat())?;
    }
    Ok(())
}

/// That the records are what a provider reads, each with its voucher.
fn check_records(dir: &Path) -> Result<()> {
    let store = Store::open(dir)?;
    let known = symbolon_node::known_channels(&store.view(), &terms(Address::ZERO, Address::ZERO).domain)?;
    let paid = Amount::from_u64(PAID * 1_000);
    let all_paid = known.iter().all(|channel| channel.voucher == paid);
    ensure!(known.len() == usize::try_from(OPEN)? && all_paid, "a provider does not know a channel or its voucher");
    Ok(())
}

/// Reads every machine of a kind and catches it up.
fn machines<T: DeserializeOwned>(
    dir: &Path,
    kind: &str,
    catch_up: impl Fn(&mut T, &symbolon_store::View<'_>) -> Result<Address>,
) -> Result<(Opened, BTreeMap<Address, T>)> {
    let (before, start) = (resident()?, Instant::now());
    let store = Store::open(dir)?;
    let mut channels = BTreeMap::new();
    store.view().for_each_record(kind, |_, bytes| {
        let mut machine: T = postcard::from_bytes(bytes)?;
        let other = catch_up(&mut machine, &store.view())?;
        channels.insert(other, machine);
        anyhow::Ok(())
    })?;
    let secs = start.elapsed().as_secs_f64();
    let opened = Opened { channels: u32::try_from(channels.len())?, secs, before, after: resident()? };
    Ok((opened, channels))
}

/// The voucher that was kept for a channel.
fn best(view: &symbolon_store::View<'_>, direction: Direction, terms: &ChannelTerms) -> Result<SignedVoucher> {
    let ChannelTerms { payer, payee, lane, .. } = *terms;
    let row = view.best_voucher(&VoucherKey { direction, payer, payee, lane, epoch: 0 })?;
    let row = row.context("a voucher is missing")?;
    let voucher = Voucher { payee, lane, cumulative: row.cumulative, epoch: 0 };
    Ok(SignedVoucher { voucher, signature: row.signature })
}

/// Starts a provider on a folder as `symbolon provider run` does, on a chain of its own.
async fn provider(dir: &Path, channels: u32) -> Result<Opened> {
    let world = super::gas::World::new().await?;
    let (key, identity) = (own()?, Identity::generate());
    let timing = Timing::PUBLIC;
    let config = ProviderConfig {
        node: NodeConfig {
            data: dir.to_owned(),
            listen: Vec::new(),
            timing,
            deployed_at: 0,
            compiler: CompilerProcess::new(PathBuf::from("symbolon"), Vec::new()),
            witness: None,
        },
        terms: ProviderTerms {
            flat: Amount::ZERO,
            rate: Amount::ZERO,
            profile: ProfileId::default(),
            exposure_limit: Amount::ZERO,
            timing,
            max_commit_secs: 3_600,
            max_agreement_secs: 3_600,
            max_royalty_bps: 0,
        },
        stake: Amount::ZERO,
        least_member_stake: Amount::ZERO,
        unproven_limit: Amount::ZERO,
        claims: ClaimPolicy::default(),
        base_per_ether: Amount::ZERO,
        cores: 1,
        watchtowers: Vec::new(),
        fault: None,
    };
    let (events, _heard) = Events::channel(16);
    let (before, start) = (resident()?, Instant::now());
    let vault = world.vault().clone();
    let (provider, _net) = Provider::start(config, key, identity, vault, TxConfig::default(), events).await?;
    let secs = start.elapsed().as_secs_f64();
    let opened = Opened { channels, secs, before, after: resident()? };
    drop(provider);
    Ok(opened)
}

/// Measures one side in this process, and says it in one line of JSON.
pub(crate) async fn open(side: Side, dir: &Path) -> Result<()> {
    let paid = Amount::from_u64(PAID * 1_000);
    let opened = match side {
        Side::Payee => {
            let (opened, channels) = machines(dir, PAYEE, |payee: &mut Payee, view| {
                payee.catch_up(&best(view, Direction::Received, payee.terms())?);
                Ok(payee.terms().payer)
            })?;
            let known = |payee: &Payee| payee.best().is_some_and(|best| best.voucher.cumulative == paid);
            ensure!(channels.values().all(known), "a channel does not know its voucher");
            opened
        }
        Side::Payer => {
            let (opened, channels) = machines(dir, PAYER, |payer: &mut Payer, view| {
                payer.catch_up(&best(view, Direction::Issued, payer.terms())?, None);
                Ok(payer.terms().payee)
            })?;
            ensure!(channels.values().all(|payer| payer.promised() == paid), "a channel does not know its voucher");
            opened
        }
        Side::Provider => provider(dir, OPEN).await?,
        Side::Empty => provider(dir, 0).await?,
    };
    println!("{}", serde_json::to_string(&opened)?);
    Ok(())
}

fn in_a_process(side: Side, dir: &Path) -> Result<Opened> {
    let name = match side {
        Side::Payee => "payee",
        Side::Payer => "payer",
        Side::Provider => "provider",
        Side::Empty => "empty",
    };
    let done = std::process::Command::new(std::env::current_exe()?)
        .args(["opening", name])
        .arg(dir)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !done.status.success() {
        bail!("opening the {name}'s channels ended with {}", done.status);
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

/// Opens all channels of each side.
pub(crate) fn all(dir: &Path) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let opened = |side: Side, name: &str| -> Result<Opened> {
        let dir = dir.join(name);
        fill(&dir, side)?;
        if side == Side::Provider {
            check_records(&dir)?;
        }
        let opened = in_a_process(side, &dir)?;
        ensure!(opened.channels == OPEN, "{} channels are open", opened.channels);
        Ok(opened)
    };
    for (side, name) in [(Side::Payee, "payee"), (Side::Payer, "payer")] {
        let Opened { secs, before, after, .. } = opened(side, name)?;
        let bytes = Some(after.saturating_sub(before) / u64::from(OPEN));
        figures.push(Figure { name, bytes, secs });
    }
    let empty = dir.join("empty");
    drop(Store::open(&empty)?);
    let empty = in_a_process(Side::Empty, &empty)?;
    let full = opened(Side::Provider, "provider")?;
    let grown = |opened: &Opened| opened.after.saturating_sub(opened.before);
    let bytes = Some(grown(&full).saturating_sub(grown(&empty)) / u64::from(OPEN));
    figures.push(Figure { name: "provider", bytes, secs: full.secs });
    figures.push(Figure { name: "provider_empty", bytes: None, secs: empty.secs });
    Ok(figures)
}
