//! A payer or a payee as a process of its own: the product's store, machines and
//! transaction manager, joined by the least that joins them, to be killed at
//! every point where a crash can fall.

mod link;
mod payee;
mod payer;
mod points;

use anyhow::{Context, Result};
use link::{Config, Frame, Say};
use points::{Act, Points};
use std::{
    net::TcpStream,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use symbolon_channel::{ChannelTerms, SignedVoucher, View};
use symbolon_primitives::{Address, Domain, Epoch, Key, Lane, OrderDigest, Royalty, Signer, Timestamp, Voucher};
use symbolon_quorum::Timing;
use symbolon_settlement::{ChainConfig, ChainError, ChainView, Intent, TxConfig, TxError, TxManager, VaultView};
use symbolon_store::{Direction, StoreHandle, StoreOptions, VoucherKey, Write};
use tokio::sync::mpsc;

/// How often unanswered things are said again.
const AGAIN: Duration = Duration::from_millis(150);
/// How often a chain that fails for a moment is asked for the same, and how long after one try the next.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);
/// What one unit of fuel costs: a base unit.
const RATE: u64 = 1_000_000_000;

/// What both sides run on.
struct Party {
    config: Config,
    key: Key,
    store: StoreHandle,
    vault: VaultView,
    domain: Domain,
    txs: TxManager,
    points: Arc<Points>,
    link: TcpStream,
}

impl Party {
    async fn start(config: Config) -> Result<(Self, mpsc::Receiver<Frame>)> {
        let points = Arc::new(Points::new(config.kill.clone(), config.record));
        let key = Key::from_bytes(&config.secret)?;
        let store =
            StoreHandle::open_watched(config.dir.clone(), StoreOptions::default(), Arc::<Points>::clone(&points))
                .await?;
        let endpoint = ChainConfig::new(config.url.clone(), config.chain_id);
        let chain = patiently(passes, async || ChainView::connect(&endpoint).await).await?;
        let vault = patiently(passes, async || {
            let head = chain.head().await?;
            chain.vault(config.vault, config.token, &head).await
        });
        let vault = vault.await?;
        // What an endpoint refused to send again after a restart is sent once more a sixth of this later.
        let replace_after = Duration::from_millis(1_200);
        let quick =
            TxConfig { poll: Duration::from_millis(10), watched_blocks: 0, replace_after, ..TxConfig::default() };
        let txs = TxManager::new(chain, Arc::new(key.clone()), store.clone(), quick);
        txs.resume().await?;
        let mut link = TcpStream::connect(("127.0.0.1", config.hub))?;
        link.set_nodelay(true)?;
        link::put(&mut link, &Frame { from: key.address(), to: Address::ZERO, say: Say::Hello })?;
        let mut reading = link.try_clone()?;
        let (sender, receiver) = mpsc::channel(1024);
        std::thread::spawn(move || {
            while let Ok(frame) = link::get::<Frame>(&mut reading) {
                if sender.blocking_send(frame).is_err() {
                    break;
                }
            }
        });
        let domain = vault.domain();
        Ok((Self { config, key, store, vault, domain, txs, points, link }, receiver))
    }

    fn me(&self) -> Address {
        self.key.address()
    }

    fn now(&self) -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Timestamp(now.saturating_add_signed(self.config.clock_off_secs))
    }

    fn say(&mut self, to: Address, say: Say) -> Result<()> {
        let frame = Frame { from: self.me(), to, say };
        link::put(&mut self.link, &frame).context("the hub is gone")
    }

    async fn write(&self, writes: Vec<Write>) -> Result<()> {
        Ok(self.store.write(writes).await?)
    }

    /// Sends an intent once, however often this is called and the endpoint refuses, and sees its end.
    async fn transact(&self, intent: Intent) -> Result<()> {
        self.points.before(Act::Submit);
        let is_passing = |error: &TxError| match error {
            TxError::NotAccepted { .. } => true,
            TxError::Chain(error) => passes(error),
            _ => false,
        };
        let handle = patiently(is_passing, async || self.txs.submit(intent.clone()).await).await?;
        self.points.after(Act::Submit);
        self.points.before(Act::Confirm);
        handle.wait().await?;
        self.points.after(Act::Confirm);
        Ok(())
    }

    fn terms(&self, payee: Address) -> ChannelTerms {
        ChannelTerms { domain: self.domain, payer: self.config.payer, payee, lane: lane(), margin_secs: 60 }
    }

    async fn look(&self, payee: Address) -> Result<View> {
        let looked = patiently(passes, async || {
            let head = self.vault.chain().head().await?;
            Ok((head, self.vault.channel(self.config.payer, payee, lane(), &head).await?))
        });
        let (head, state) = looked.await?;
        let (allocated, claimed, epoch, expiry) = (state.allocated, state.claimed, state.epoch, state.expiry);
        Ok(View { allocated, claimed, epoch, expiry, block: head.number })
    }

    /// The vouchers of this run's channel with `payee`.
    fn vouchers(&self, direction: Direction, payee: Address, epoch: Epoch) -> VoucherKey {
        VoucherKey { direction, payer: self.config.payer, payee, lane: lane(), epoch }
    }

    /// The best voucher of an epoch, and the order it pays.
    fn best(&self, key: &VoucherKey) -> Result<Option<(SignedVoucher, Option<OrderDigest>)>> {
        let kept = self.store.read(|view| view.best_voucher(key))?;
        Ok(kept.map(|row| {
            let VoucherKey { payee, lane, epoch, .. } = row.key;
            let voucher = Voucher { payee, lane, cumulative: row.cumulative, epoch };
            (SignedVoucher { voucher, signature: row.signature }, row.order)
        }))
    }

    fn stored<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.store.read(|view| {
            view.for_each_record(kind, |_, bytes| {
                found.push(postcard::from_bytes(bytes)?);
                Ok::<_, anyhow::Error>(())
            })
        })?;
        Ok(found)
    }
}

/// Tries again while what goes wrong may pass.
async fn patiently<T, E>(passes: impl Fn(&E) -> bool, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> Result<T>
where
    E: Into<anyhow::Error>,
{
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if passes(&error) => tokio::time::sleep(PAUSE).await,
            ended => return ended.map_err(Into::into),
        }
    }
    attempt().await.map_err(Into::into)
}

/// Whether an endpoint may do better at the next try.
fn passes(error: &ChainError) -> bool {
    error.is_transient() || matches!(error, ChainError::Refused { .. })
}

fn tick() -> tokio::time::Interval {
    let mut tick = tokio::time::interval(AGAIN);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

fn lane() -> Lane {
    Royalty::NONE.lane(1)
}

fn timing() -> Timing {
    Timing { wait_secs: 2, silence_secs: 7_200, spacing_secs: 60 }
}

fn record<T: serde::Serialize>(kind: &str, id: &[u8], value: &T) -> Result<Write> {
    Ok(Write::put(kind, id, postcard::to_allocvec(value)?))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (role, config) = (words.next().context("no role")?, words.next().context("no configuration")?);
    if role == "points" {
        let mut out = std::io::stdout().lock();
        for point in points::all() {
            std::io::Write::write_all(&mut out, format!("{point}\n").as_bytes())?;
        }
        return Ok(());
    }
    let config: Config = serde_json::from_str(&std::fs::read_to_string(config)?)?;
    let (party, incoming) = Party::start(config).await?;
    match role.as_str() {
        "payer" => payer::run(party, incoming).await,
        "payee" => payee::run(party, incoming).await,
        other => anyhow::bail!("no role {other}"),
    }
}
