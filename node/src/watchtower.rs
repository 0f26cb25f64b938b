//! A watchtower: submits claim packages of payees that are away, in time.
//!
//! It can lose nothing of theirs and take nothing: every package names who is
//! credited, and anybody may submit it (SYM-06, SYM-08). Its own risk is gas,
//! so it takes only what a channel on chain covers now, one place a channel,
//! and a limit of places a client.
//!
//! Its margins grow with congestion as a provider's do ([`Recent`]). Where the
//! endpoints do not come to a quorum it goes on submitting by the word of one;
//! nothing is taken or forgotten on that.

use crate::{
    context::{Context, NodeConfig, NodeError, now},
    event::{Event, Events},
    serve::{answer, refuse},
    snapshot::{self, Snapshot},
    watch,
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use symbolon_net::{EventReceiver, Identity, Responder};
use symbolon_primitives::{
    Address, Amount, Key, OrderDigest, Signer, Timestamp,
    watch::{Instrument, Package, QuorumPackage, Watched, watch_digest},
};
use symbolon_settlement::{
    ChainError, ChannelState, Congestion, Depth, Header, Recent, TxConfig, VaultView,
    claims::calls_for,
    ops::{self, SignedVoucher},
};
use symbolon_store::{View, Write};
use symbolon_wire::{self as wire, MAX_REQUEST, RefusalCode, Request, Response};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, MissedTickBehavior},
};

/// Packages being checked against the chain at once.
const CHECKING: usize = 16;
/// Reports of background tasks that may wait.
const REPORTS: usize = 256;
/// A package is looked at no less often than this.
const LOOK_SECS: u64 = 3600;
/// How soon a package is looked at again after something was sent for it.
const AGAIN_SECS: u64 = 5;
/// The longest package file read.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most files of a folder looked at.
const MAX_FILES: usize = 100_000;
/// How soon a file that was refused for a passing reason is tried again at first, and at the latest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Channels looked at in one go, the most pressing first, and how many at once.
const LOOKS: usize = 512;
/// See [`LOOKS`].
const READS_AT_ONCE: usize = 16;

/// How a watchtower is set up.
#[derive(Clone, Debug)]
pub struct WatchtowerConfig {
    /// Folder, addresses, times.
    pub node: NodeConfig,
    /// How long before a channel's expiry a voucher is claimed.
    pub expiry_margin_secs: u64,
    /// How long before its settle-by a quorum is settled.
    pub settle_margin_secs: u64,
    /// The least a package has to collect.
    pub least: Amount,
    /// Packages of one client at once.
    pub per_client: usize,
    /// Packages of all clients at once.
    pub most: usize,
    /// A folder whose files are packages too: `NAME.json`. Their receipts are put beside them.
    pub packages: Option<PathBuf>,
}

/// A package that a watchtower holds for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What is submitted.
    pub package: Package,
    /// What it collects for the client.
    pub instrument: Instrument,
    /// The deadline it was accepted for.
    pub until: Timestamp,
    #[serde(skip)]
    next_look: Timestamp,
    /// No look before this, however pressing.
    #[serde(skip)]
    not_before: Timestamp,
    /// How long it rests, as it was due and collected nothing at the last look; else zero.
    #[serde(skip)]
    rest_secs: u64,
}

impl Snapshot for Kept {
    const KIND: &'static str = "watched";
}

impl Kept {
    /// A channel's vouchers share a place, and so do an order's quorums.
    fn place(&self, context: &Context) -> Vec<u8> {
        let Instrument { payer, payee, lane, .. } = self.instrument;
        match &self.package {
            Package::Voucher(_) => [b"v", payer.as_slice(), payee.as_slice(), lane.word().as_slice()].concat(),
            Package::Quorum(quorum) => {
                [&quorum_places(quorum.order.digest(&context.domain)), payee.as_slice()].concat()
            }
        }
    }

    /// How long before its deadline it is submitted while the chain is calm.
    fn margin_secs(&self, config: &WatchtowerConfig) -> u64 {
        match self.package {
            Package::Voucher(_) => config.expiry_margin_secs,
            Package::Quorum(_) => config.settle_margin_secs,
        }
    }

    /// When it is submitted, as congested as the chain is.
    fn due(&self, config: &WatchtowerConfig, congestion: Congestion) -> Timestamp {
        Timestamp(self.until.0.saturating_sub(congestion.stretch(self.margin_secs(config))))
    }

    fn is_better_than(&self, other: &Self) -> bool {
        let rank = |kept: &Self| {
            let rows = match &kept.package {
                Package::Voucher(_) => 1,
                Package::Quorum(quorum) => quorum.quorum.len(),
            };
            (kept.instrument.epoch, kept.instrument.total, rows)
        };
        rank(self) > rank(other)
    }

    fn collects(&self, state: &ChannelState) -> Amount {
        if state.epoch != self.instrument.epoch {
            return Amount::ZERO;
        }
        self.instrument.total.min(state.allocated).saturating_sub(state.claimed)
    }

    /// Whether nothing can come of it any more. A top-up may still pay what the earmark does not cover now.
    fn is_over(&self, state: &ChannelState, time: Timestamp) -> bool {
        state.epoch != self.instrument.epoch
            || state.claimed >= self.instrument.total
            || self.package.settle_by().is_some_and(|by| by < time)
    }

    fn wants_look(&self, config: &WatchtowerConfig, congestion: Congestion, time: Timestamp) -> bool {
        let pressing = self.due(config, congestion) <= time;
        (self.next_look <= time || pressing) && self.not_before <= time
    }

    /// Takes over what the chain shows, and says what is to be done.
    fn looked(&mut self, look: &Look, config: &WatchtowerConfig, congestion: Congestion, time: Timestamp) -> Verdict {
        let again = time.plus_secs(AGAIN_SECS);
        (self.next_look, self.not_before) = (again, again);
        if look.deep.is_some_and(|deep| self.is_over(&deep, time)) {
            return Verdict::Over;
        }
        if matches!(self.package, Package::Voucher(_)) {
            // A top-up may have moved it; a single endpoint's word is good for less time only.
            let (known, shown) = (self.until, look.now.expiry);
            self.until = if look.deep.is_some() { shown } else { known.min(shown) };
        }
        let due = self.due(config, congestion);
        let collects = self.collects(&look.now);
        if time < due {
            // Due times are met to the second of the chain.
            self.next_look = due.min(time.plus_secs(LOOK_SECS));
            self.not_before = again.min(self.next_look);
            return Verdict::Wait;
        }
        if collects.is_zero() {
            // Only a top-up can help: it rests for longer each time, and half of what is left before its deadline.
            let left = self.until.secs_since(time) / 2;
            let longest = if left == 0 { LOOK_SECS } else { left.clamp(AGAIN_SECS, LOOK_SECS) };
            self.rest_secs = self.rest_secs.saturating_mul(2).clamp(AGAIN_SECS, longest);
            self.not_before = time.plus_secs(self.rest_secs);
            return Verdict::Wait;
        }
        self.rest_secs = 0;
        Verdict::Submit(collects)
    }
}

/// The places that are looked at now: the most pressing first. Those that were due and collected nothing come after
/// all others, the longest rested first: however many there are, they hold nobody up.
fn to_look_at<'k>(wanting: impl Iterator<Item = (&'k Vec<u8>, &'k Kept)>) -> Vec<(Vec<u8>, Instrument)> {
    let rank = |kept: &Kept| if kept.rest_secs == 0 { (false, kept.until) } else { (true, kept.not_before) };
    let mut wanted: Vec<_> = wanting.map(|(place, kept)| (rank(kept), place, kept.instrument)).collect();
    wanted.sort_unstable_by_key(|(rank, ..)| *rank);
    wanted.into_iter().take(LOOKS).map(|(_, place, instrument)| (place.clone(), instrument)).collect()
}

/// What a look at a package's channel comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing can come of it any more.
    Over,
    /// Not yet, or nothing to collect now.
    Wait,
    /// It is due and collects this.
    Submit(Amount),
}

/// What the places of an order's quorums begin with.
fn quorum_places(order: OrderDigest) -> Vec<u8> {
    [b"q".as_slice(), order.as_bytes()].concat()
}

fn pays(quorum: &QuorumPackage, payee: Address) -> bool {
    quorum.quorum.iter().any(|row| row.provider == payee)
}

/// As few of an order's quorums as pay everybody who holds one: those with the most rows first.
fn few(mut held: Vec<(Address, QuorumPackage)>) -> Vec<QuorumPackage> {
    held.sort_by_key(|(_, quorum)| Reverse(quorum.quorum.len()));
    let mut few: Vec<QuorumPackage> = Vec::new();
    for (payee, quorum) in held {
        if !few.iter().any(|other| pays(other, payee)) {
            few.push(quorum);
        }
    }
    few
}

/// Every package that a data folder holds, for commands that only look.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn watched(view: &View<'_>) -> Result<Vec<Kept>, NodeError> {
    snapshot::all_in(view)
}

/// A watchtower's signed word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchReceipt {
    /// What it says.
    pub word: Watched,
    /// Which watchtower.
    pub tower: Address,
    /// Its signature.
    pub signature: symbolon_primitives::Signature,
}

/// What background tasks report.
enum Done {
    Checked { kept: Box<Kept>, found: Result<ChannelState, ChainError>, asked: Asked },
    Anchored(Result<Anchors, ChainError>),
    Looked { time: Timestamp, found: Vec<(Vec<u8>, Result<Look, ChainError>)> },
    Sent { error: Option<String>, places: Vec<Vec<u8>>, what: Submitted },
}

/// What was submitted.
#[derive(Clone, Copy)]
enum Submitted {
    Vouchers { count: usize, value: Amount },
    Quorum(OrderDigest),
}

/// The blocks that a look is at, and by whose word.
struct Anchors {
    vault: VaultView,
    head: Header,
    /// Nothing where a single endpoint speaks: it is not believed that something is over.
    deep: Option<Header>,
}

/// Who waits for the word.
enum Asked {
    Peer(Responder),
    File(PathBuf),
}

/// A channel now and, where more than one endpoint speaks, at depth.
struct Look {
    now: ChannelState,
    deep: Option<ChannelState>,
}

/// A file of the folder that was looked at.
#[derive(Default)]
struct PackageFile {
    /// When it is tried again; nothing while it is being checked, or once it was answered for good.
    again_at: Option<Instant>,
    /// The last pause.
    pause: Duration,
}

impl PackageFile {
    fn is_due(&self, now: Instant) -> bool {
        self.again_at.is_some_and(|at| at <= now)
    }

    /// Refused for a passing reason: the next try is later each time.
    fn put_off(&mut self, now: Instant) {
        if self.again_at.is_none() {
            self.pause = self.pause.saturating_mul(2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.again_at = now.checked_add(self.pause);
        }
    }
}

/// A running watchtower.
pub struct Watchtower {
    context: Arc<Context>,
    config: WatchtowerConfig,
    kept: BTreeMap<Vec<u8>, Kept>,
    clients: BTreeMap<Address, usize>,
    checking: Arc<Semaphore>,
    looking: bool,
    /// Places of what was submitted and has not come to its end.
    sending: BTreeSet<Vec<u8>>,
    recent: Recent,
    files: BTreeMap<PathBuf, PackageFile>,
    reports: mpsc::Sender<Done>,
    incoming: mpsc::Receiver<Done>,
}

impl Watchtower {
    /// Opens the folder and starts listening.
    ///
    /// # Errors
    /// [`NodeError`] naming what does not start.
    pub async fn start(
        config: WatchtowerConfig,
        key: Key,
        identity: Identity,
        vault: VaultView,
        tx_config: TxConfig,
        events: Events,
    ) -> Result<(Self, EventReceiver), NodeError> {
        let (context, net) = Context::start(&config.node, key, identity, vault, tx_config, events, 0).await?;
        let stored: Vec<Kept> = snapshot::all(&context.store)?;
        let (reports, incoming) = mpsc::channel(REPORTS);
        let mut tower = Self {
            config,
            kept: BTreeMap::new(),
            clients: BTreeMap::new(),
            checking: Arc::new(Semaphore::new(CHECKING)),
            looking: false,
            sending: BTreeSet::new(),
            recent: Recent::default(),
            files: BTreeMap::new(),
            reports,
            incoming,
            context,
        };
        for kept in stored {
            tower.insert(kept);
        }
        tower.context.events.emit(Event::WatchtowerReady {
            address: tower.context.key.address(),
            peer: tower.context.client.peer_id().to_string(),
            listen: tower.context.client.listen_addrs().iter().map(ToString::to_string).collect(),
            packages: tower.kept.len(),
        });
        Ok((tower, net))
    }

    /// Watches until `stop` resolves or the network is gone.
    ///
    /// # Errors
    /// [`NodeError`] of the store.
    pub async fn run(mut self, mut net: EventReceiver, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        let mut poll = tokio::time::interval(Duration::from_millis(self.context.timing.poll_millis));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            let went = tokio::select! {
                () = &mut stop => break,
                event = net.recv() => match event {
                    Some(event) => {
                        self.on_network(event);
                        Ok(())
                    }
                    None => return Err(NodeError::NetworkGone),
                },
                Some(done) = self.incoming.recv() => self.on_done(done).await,
                _ = poll.tick() => {
                    self.read_folder();
                    self.look();
                    Ok(())
                }
            };
            match went {
                // What is held is still submitted; nothing more is taken.
                Err(NodeError::Store(error)) if error.is_disk() => {
                    self.context
                        .events
                        .emit(Event::Warning { message: format!("{error}; no package is taken any more") });
                }
                went => went?,
            }
        }
        self.context.client.shutdown().await;
        self.context.store.clone().close().await;
        Ok(())
    }

    fn insert(&mut self, kept: Kept) {
        let (place, payee) = (kept.place(&self.context), kept.instrument.payee);
        if self.kept.insert(place, kept).is_none() {
            *self.clients.entry(payee).or_default() += 1;
        }
    }

    fn remove(&mut self, place: &[u8]) {
        let Some(kept) = self.kept.remove(place) else { return };
        let payee = kept.instrument.payee;
        if let Some(count) = self.clients.get_mut(&payee) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.clients.remove(&payee);
            }
        }
    }

    fn on_network(&mut self, event: symbolon_net::Event) {
        match event {
            symbolon_net::Event::Request { bytes, reply, .. } => match wire::decode(&bytes, MAX_REQUEST) {
                Ok(Request::Watch { package, payee, consent }) => {
                    let name = package.name(&self.context.domain);
                    match consent.check(&watch_digest(&self.context.domain, name), payee) {
                        Ok(()) => self.check(package, payee, Asked::Peer(reply)),
                        Err(error) => refuse(reply, RefusalCode::Never, format!("the payee's signature: {error}")),
                    }
                }
                Ok(_) => refuse(reply, RefusalCode::Never, "a watchtower, no provider"),
                Err(error) => refuse(reply, RefusalCode::Never, error.to_string()),
            },
            symbolon_net::Event::Gossip { accept, .. } => accept.ignore(),
            _ => {}
        }
    }

    fn deny(&mut self, asked: Asked, code: RefusalCode, why: String) {
        match asked {
            Asked::Peer(reply) => refuse(reply, code, why),
            Asked::File(path) => {
                if code == RefusalCode::Later {
                    self.files.entry(path.clone()).or_default().put_off(Instant::now());
                }
                let message = format!("package {}: {why}", path.display());
                self.context.events.emit(Event::Warning { message });
            }
        }
    }

    /// Why there is no room for a package, if so. A better one takes the place of the one that is held.
    fn lacks_room_for(&self, kept: &Kept) -> Option<String> {
        let (place, payee) = (kept.place(&self.context), kept.instrument.payee);
        if self.kept.contains_key(&place) {
            return None;
        }
        let WatchtowerConfig { per_client, most, .. } = self.config;
        let (of_client, all) = (self.clients.get(&payee).copied().unwrap_or_default(), self.kept.len());
        if of_client >= per_client {
            return Some(format!("{of_client} packages of this client are held, at most {per_client}"));
        }
        (all >= most).then(|| format!("this watchtower is full: {all} packages are held, at most {most}"))
    }

    /// Everything that needs no chain; the chain is asked in the background.
    fn check(&mut self, package: Package, payee: Address, asked: Asked) {
        let instrument = match package.check(&self.context.domain) {
            Ok(found) => found.into_iter().find(|instrument| instrument.payee == payee),
            Err(error) => return self.deny(asked, RefusalCode::Never, error.to_string()),
        };
        let Some(instrument) = instrument else {
            return self.deny(asked, RefusalCode::Never, "it collects nothing for that payee".into());
        };
        let until = package.settle_by().unwrap_or_default();
        let [next_look, not_before] = [Timestamp::default(); 2];
        let kept = Kept { package, instrument, until, next_look, not_before, rest_secs: 0 };
        let known = self.kept.get(&kept.place(&self.context));
        if known.is_some_and(|known| !kept.is_better_than(known) && known.package != kept.package) {
            return self.deny(asked, RefusalCode::Never, "a better package of that channel is held".into());
        }
        if let Some(why) = self.lacks_room_for(&kept) {
            return self.deny(asked, RefusalCode::Later, why);
        }
        let Ok(place) = Arc::clone(&self.checking).try_acquire_owned() else {
            return self.deny(asked, RefusalCode::Later, "busy with other packages".into());
        };
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        tokio::spawn(async move {
            let found = channel_now(&context, &instrument).await;
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Checked { kept: Box::new(kept), found, asked }).await;
            drop(place);
        });
    }

    async fn on_done(&mut self, done: Done) -> Result<(), NodeError> {
        match done {
            Done::Checked { kept, found, asked } => self.on_checked(*kept, found, asked).await,
            Done::Anchored(anchors) => {
                self.on_anchored(anchors);
                Ok(())
            }
            Done::Looked { time, found } => self.on_looked(time, found).await,
            Done::Sent { error, places, what } => {
                for place in places {
                    self.sending.remove(&place);
                }
                self.context.events.emit(match (error, what) {
                    (Some(error), _) => Event::Warning { message: format!("a package was not submitted: {error}") },
                    (None, Submitted::Quorum(order)) => Event::QuorumSettled { order, by_us: true },
                    (None, Submitted::Vouchers { count, value }) => Event::Claimed { vouchers: count, credited: value },
                });
                Ok(())
            }
        }
    }

    async fn on_checked(
        &mut self,
        mut kept: Kept,
        found: Result<ChannelState, ChainError>,
        asked: Asked,
    ) -> Result<(), NodeError> {
        let state = match found {
            Ok(state) => state,
            Err(error) => {
                self.deny(asked, RefusalCode::Later, format!("the chain could not be read: {error}"));
                return Ok(());
            }
        };
        let collects = kept.collects(&state);
        if collects.is_zero() || collects < self.config.least {
            let why = format!("it collects {collects} base units now, at least {} are asked for", self.config.least);
            self.deny(asked, RefusalCode::Never, why);
            return Ok(());
        }
        // Others may have been taken while the chain was asked.
        if let Some(why) = self.lacks_room_for(&kept) {
            self.deny(asked, RefusalCode::Later, why);
            return Ok(());
        }
        kept.until = kept.package.settle_by().unwrap_or(state.expiry);
        let place = kept.place(&self.context);
        if self.kept.get(&place).is_none_or(|known| kept.is_better_than(known)) {
            self.context.store.write(vec![snapshot::put(&place, &kept)?]).await?;
            self.insert(kept.clone());
            let Instrument { payee, total, .. } = kept.instrument;
            self.context.events.emit(Event::Watching { payee, total, until: kept.until });
        }
        let word = Watched {
            package: kept.package.name(&self.context.domain),
            payee: kept.instrument.payee,
            until: kept.until,
        };
        let signature = self.context.key.sign(&word.digest(&self.context.domain));
        let tower = self.context.key.address();
        match asked {
            Asked::Peer(reply) => answer(reply, &Response::Watched { word, tower, signature }),
            Asked::File(path) => self.write_receipt(&path, &WatchReceipt { word, tower, signature }),
        }
        Ok(())
    }

    fn write_receipt(&self, path: &Path, receipt: &WatchReceipt) {
        let beside = path.with_extension(format!("{}.watched", receipt.word.payee));
        let written = serde_json::to_vec_pretty(receipt)
            .map_err(std::io::Error::from)
            .and_then(|text| std::fs::write(&beside, text));
        if let Err(error) = written {
            let message = format!("receipt {}: {error}", beside.display());
            self.context.events.emit(Event::Warning { message });
        }
    }

    /// Packages in the operator's folder; a file is read once, and again where the reason not to take it may pass.
    fn read_folder(&mut self) {
        let Some(dir) = self.config.packages.clone() else { return };
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) => return tracing::warn!(%error, dir = %dir.display(), "the folder of packages"),
        };
        let now = Instant::now();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).take(MAX_FILES);
        let wanted = paths.filter(|path| path.extension().is_some_and(|ext| ext == "json"));
        let due = wanted.filter(|path| self.files.get(path).is_none_or(|file| file.is_due(now)));
        for path in due.take(CHECKING).collect::<Vec<_>>() {
            if self.checking.available_permits() == 0 {
                break;
            }
            self.files.entry(path.clone()).or_default().again_at = None;
            let read = read_package(&path).and_then(|package| {
                let found = package.check(&self.context.domain).map_err(|e| e.to_string())?;
                Ok((package, found))
            });
            match read {
                Ok((package, found)) => {
                    for instrument in found {
                        self.check(package.clone(), instrument.payee, Asked::File(path.clone()));
                    }
                }
                Err(why) => self.deny(Asked::File(path), RefusalCode::Never, why),
            }
        }
    }

    /// Asks, in the background, where the chain is.
    fn look(&mut self) {
        if self.looking || self.kept.is_empty() {
            return;
        }
        self.looking = true;
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        tokio::spawn(async move {
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Anchored(anchors(&context).await)).await;
        });
    }

    /// Looks, in the background, at the channels whose time has come.
    fn on_anchored(&mut self, anchors: Result<Anchors, ChainError>) {
        let anchors = match anchors {
            Ok(anchors) => anchors,
            Err(error) => {
                self.looking = false;
                return tracing::warn!(%error, "the chain could not be read");
            }
        };
        self.recent.note(anchors.head);
        // The chain's time, or this machine's if that is later.
        let time = now().max(Timestamp(anchors.head.timestamp));
        let congestion = self.congestion();
        let wants_look = |(place, kept): &(&Vec<u8>, &Kept)| {
            kept.wants_look(&self.config, congestion, time) && !self.sending.contains(*place)
        };
        let wanted = to_look_at(self.kept.iter().filter(wants_look));
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let found = look_at(&anchors, wanted).await;
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Looked { time, found }).await;
        });
    }

    fn congestion(&self) -> Congestion {
        self.recent.congestion(self.context.waiting())
    }

    async fn on_looked(
        &mut self,
        time: Timestamp,
        found: Vec<(Vec<u8>, Result<Look, ChainError>)>,
    ) -> Result<(), NodeError> {
        self.looking = false;
        let congestion = self.congestion();
        let (mut over, mut vouchers) = (Vec::new(), Vec::new());
        let mut quorums: BTreeMap<OrderDigest, Vec<(Address, QuorumPackage)>> = BTreeMap::new();
        for (place, look) in found {
            let Some(kept) = self.kept.get_mut(&place) else { continue };
            let look = match look {
                Ok(look) => look,
                Err(error) => {
                    kept.not_before = time.plus_secs(AGAIN_SECS);
                    tracing::warn!(%error, "a watched channel could not be read");
                    continue;
                }
            };
            let collects = match kept.looked(&look, &self.config, congestion, time) {
                Verdict::Over => {
                    over.push(place);
                    continue;
                }
                Verdict::Wait => continue,
                Verdict::Submit(collects) => collects,
            };
            match &kept.package {
                Package::Voucher(paid) => {
                    let row = SignedVoucher { voucher: paid.voucher, signature: paid.signature };
                    vouchers.push((row, collects, place));
                }
                Package::Quorum(quorum) => {
                    let held = quorums.entry(quorum.order.digest(&self.context.domain)).or_default();
                    held.push((kept.instrument.payee, QuorumPackage::clone(quorum)));
                }
            }
        }
        for batch in calls_for(&vouchers, |(row, ..)| &row.voucher) {
            let value = Amount::checked_sum(batch.iter().map(|(_, collects, _)| *collects)).unwrap_or(Amount::MAX);
            let rows: Vec<SignedVoucher> = batch.iter().map(|(row, ..)| *row).collect();
            let places = batch.iter().map(|(.., place)| place.clone()).collect();
            let tag = ops::tag(&[b"watch", &rand::random::<[u8; 32]>()]);
            let intent = ops::claim_for(self.context.vault.address(), &rows, tag);
            self.send(intent, places, Submitted::Vouchers { count: rows.len(), value });
        }
        let quorums =
            quorums.into_iter().flat_map(|(order, held)| few(held).into_iter().map(move |quorum| (order, quorum)));
        for (order, quorum) in quorums {
            let rows = watch::rows(&quorum.quorum);
            let tag = ops::tag(&[b"watch settle", order.as_bytes(), &rand::random::<[u8; 32]>()]);
            let order_parts = (&quorum.order, &quorum.signature, quorum.leaves.as_slice());
            let outcome = (quorum.results_root, quorum.fuel);
            // One settlement pays all of the order's payees that stand in it.
            let first = quorum_places(order);
            let of_order = self.kept.range(first.clone()..).take_while(|(place, _)| place.starts_with(&first));
            let paid = of_order.filter(|(_, kept)| pays(&quorum, kept.instrument.payee));
            let places = paid.map(|(place, _)| place.clone()).collect();
            match ops::settle_quorum_of(self.context.vault.address(), order_parts, outcome, &rows, tag) {
                Ok(intent) => self.send(intent, places, Submitted::Quorum(order)),
                Err(error) => tracing::error!(%order, %error, "a checked quorum that cannot be settled"),
            }
        }
        if !over.is_empty() {
            let forget = over.iter().map(|place| Write::delete(Kept::KIND, place.clone())).collect();
            self.context.store.write(forget).await?;
            over.iter().for_each(|place| self.remove(place));
        }
        Ok(())
    }

    fn send(&mut self, intent: symbolon_settlement::Intent, places: Vec<Vec<u8>>, what: Submitted) {
        self.sending.extend(places.iter().cloned());
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        tokio::spawn(async move {
            let error = context.txs.run(intent).await.err().map(|error| error.to_string());
            // The loop is gone only when the process is ending.
            let _ = reports.send(Done::Sent { error, places, what }).await;
        });
    }
}

fn read_package(path: &Path) -> Result<Package, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    serde_json::from_reader(std::io::BufReader::new(file.take(MAX_FILE_BYTES))).map_err(|e| e.to_string())
}

async fn channel_now(context: &Context, instrument: &Instrument) -> Result<ChannelState, ChainError> {
    let head = context.vault.chain().head().await?;
    let Instrument { payer, payee, lane, .. } = *instrument;
    context.vault.channel(payer, payee, lane, &head).await
}

/// Where the chain is: by a quorum of the endpoints, or else by the word of one.
async fn anchors(context: &Context) -> Result<Anchors, ChainError> {
    let vault = &context.vault;
    let agreed = async {
        let head = vault.chain().head().await?;
        let deep = vault.chain().anchor(Depth::Blocks(context.timing.depth.into())).await?;
        Ok::<_, ChainError>(Anchors { vault: vault.clone(), head, deep: Some(deep) })
    };
    match agreed.await {
        Ok(anchors) => Ok(anchors),
        Err(error) => {
            tracing::warn!(%error, "no quorum of the endpoints; submitting by the word of one");
            let vault = vault.for_collecting();
            let head = vault.chain().head().await?;
            Ok(Anchors { vault, head, deep: None })
        }
    }
}

/// The channels of these places.
async fn look_at(anchors: &Anchors, wanted: Vec<(Vec<u8>, Instrument)>) -> Vec<(Vec<u8>, Result<Look, ChainError>)> {
    let Anchors { vault, head, deep } = anchors;
    let reads: Vec<_> = wanted
        .into_iter()
        .map(|(place, Instrument { payer, payee, lane, .. })| async move {
            let read = async {
                let now = vault.channel(payer, payee, lane, head).await?;
                let deep = match deep {
                    Some(deep) => Some(vault.channel(payer, payee, lane, deep).await?),
                    None => None,
                };
                Ok(Look { now, deep })
            };
            (place, read.await)
        })
        .collect();
    futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::Timing;
    use symbolon_executor::CompilerProcess;
    use symbolon_primitives::{
        B256, Nonce, ResultsRoot, Royalty, Signature, Voucher, WorkOrder,
        receipt::{Attested, Paid},
    };

    fn config() -> WatchtowerConfig {
        let node = NodeConfig {
            data: PathBuf::new(),
            listen: Vec::new(),
            timing: Timing::PUBLIC,
            deployed_at: 0,
            compiler: CompilerProcess::new(PathBuf::new(), Vec::new()),
            witness: None,
        };
        WatchtowerConfig {
            node,
            expiry_margin_secs: 3_600,
            settle_margin_secs: 600,
            least: Amount::ZERO,
            per_client: 256,
            most: 4_096,
            packages: None,
        }
    }

    fn kept(number: u16, total: u64, until: u64) -> Kept {
        let (payee, lane, cumulative) = (Address::ZERO, Royalty::NONE.lane(number), Amount::from_u64(total));
        let voucher = Voucher { payee, lane, cumulative, epoch: 0 };
        Kept {
            package: Package::Voucher(Paid { voucher, signature: Signature::from_bytes([0; 64]) }),
            instrument: Instrument { payer: Address::ZERO, payee, lane, epoch: 0, total: cumulative },
            until: Timestamp(until),
            next_look: Timestamp::default(),
            not_before: Timestamp::default(),
            rest_secs: 0,
        }
    }

    fn channel(allocated: u64, claimed: u64, expiry: u64) -> ChannelState {
        let [allocated, claimed] = [allocated, claimed].map(Amount::from_u64);
        ChannelState { allocated, claimed, epoch: 0, expiry: Timestamp(expiry) }
    }

    #[test]
    fn l11_packages_that_collect_nothing_hold_nobody_up_and_are_seen_again_in_time() {
        let (config, calm) = (config(), Congestion::default());
        // More channels than one round takes, claimed as far as they are earmarked; one that is due later than all of them.
        let (honest, topped_up) = (vec![0xff; 3], vec![0, 0, 7]);
        let mut channels: BTreeMap<Vec<u8>, (Kept, ChannelState)> = BTreeMap::new();
        for number in 0..u16::try_from(LOOKS + 8).unwrap() {
            let place = [[0].as_slice(), &number.to_be_bytes()].concat();
            channels.insert(place, (kept(number, 2, 10_000), channel(1, 1, 10_000)));
        }
        channels.insert(honest.clone(), (kept(u16::MAX, 5, 20_000), channel(5, 0, 20_000)));
        let (mut submitted, mut looks) = (BTreeMap::new(), 0);
        // A slow endpoint: each round lasts longer than the pause of what is pressing.
        for time in (6_400..20_000).step_by(6).map(Timestamp) {
            if time >= Timestamp(9_000)
                && let Some((_, state)) = channels.get_mut(&topped_up)
            {
                state.allocated = Amount::from_u64(2);
            }
            let wanting = channels.iter().map(|(place, (kept, _))| (place, kept));
            for (place, _) in to_look_at(wanting.filter(|(_, kept)| kept.wants_look(&config, calm, time))) {
                let (kept, state) = channels.get_mut(&place).unwrap();
                let look = Look { now: *state, deep: Some(*state) };
                looks += 1;
                match kept.looked(&look, &config, calm, time) {
                    Verdict::Submit(collects) => {
                        state.claimed = state.claimed.checked_add(collects).unwrap();
                        submitted.insert(place, time);
                    }
                    Verdict::Over => {
                        channels.remove(&place);
                    }
                    Verdict::Wait => {}
                }
            }
        }
        let due = Timestamp(20_000 - 3_600);
        assert!(submitted.get(&honest).is_some_and(|at| (due..due.plus_secs(6)).contains(at)), "{submitted:?}");
        // A top-up after the due time is seen before the expiry.
        assert!(submitted.get(&topped_up).is_some_and(|at| *at < Timestamp(10_000)), "{submitted:?}");
        assert_eq!(submitted.len(), 2);
        assert!(looks < LOOKS * 40, "{looks} looks");
    }

    #[test]
    fn sym_08_an_order_is_settled_by_the_quorum_that_pays_most_and_nobody_is_left_out() {
        let [one, two, three, four] = [1, 2, 3, 4].map(Address::repeat_byte);
        let quorum = |payees: &[Address]| {
            let row = |payee: &Address| Attested {
                provider: *payee,
                nonce: Nonce::from_bytes([0; 32]),
                signature: Signature::from_bytes([0; 64]),
            };
            let order = WorkOrder {
                work: B256::ZERO,
                royalty: Royalty::NONE,
                roster: B256::ZERO,
                quorum: 2,
                max_fuel: 1,
                settle_by: Timestamp(1),
            };
            QuorumPackage {
                order,
                signature: Signature::from_bytes([0; 64]),
                leaves: Vec::new(),
                results_root: ResultsRoot::from_bytes([0; 32]),
                fuel: 1,
                quorum: payees.iter().map(row).collect(),
            }
        };
        let (pair, all, other) = (quorum(&[one, two]), quorum(&[one, two, three]), quorum(&[three, four]));
        assert_eq!(few(vec![(one, all.clone()), (two, pair.clone()), (three, all.clone())]), vec![all.clone()]);
        assert_eq!(few(vec![(one, pair.clone()), (two, pair.clone())]), vec![pair.clone()]);
        assert_eq!(few(vec![(four, other.clone()), (two, all.clone()), (one, pair)]), vec![all, other]);
    }

    #[test]
    fn n3_a_file_is_put_off_for_longer_each_time_and_once_a_try() {
        let (mut file, mut now) = (PackageFile::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            file.put_off(now);
            // The other payees of the same file.
            file.put_off(now);
            pauses.push(file.pause.as_secs());
            assert!(!file.is_due(now));
            now += file.pause;
            assert!(file.is_due(now));
            file.again_at = None;
            assert!(!file.is_due(now), "it is being checked");
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
    }
}
