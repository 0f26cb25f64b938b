//! What a provider and a requestor both run on.

use crate::{
    content_store::{CONTENT_DIR, ContentStore},
    event::{Event, Events},
    outbox::Outbox,
    peer::Peer,
    policy::Timing,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use symbolon_executor::{CompilerProcess, Engine, Modules, Profile, Tuning, modules::SealKey};
use symbolon_net::{Client, Config, EventReceiver, Identity, Multiaddr, Network};
use symbolon_primitives::{B256, Domain, Key, Timestamp, keccak256};
use symbolon_settlement::{ChainError, TxConfig, TxError, TxHandle, TxManager, VaultView};
use symbolon_store::{StoreError, StoreHandle, StoreOptions, Witness};
use symbolon_wire::{MAX_GOSSIP, MAX_REQUEST, MAX_RESPONSE};

/// The longest a request to a peer may take: preparing a module is the longest.
pub(crate) const LONGEST_REQUEST: Duration = Duration::from_secs(120);

/// How long a transaction of an earlier run is waited for before a word is said of it.
const WORD_AFTER: Duration = Duration::from_secs(5);

/// Compiled modules kept on disk, in bytes.
const MODULE_CACHE_BYTES: u64 = 2 << 30;
/// Memory set aside for all guests together.
pub(crate) const GUEST_MEMORY_BYTES: u64 = 4 << 30;
/// The most guests whose place is kept ready: each takes 33 GiB of address space, and no memory until it runs.
const MOST_PLACES: usize = 128;

/// Why a node cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A transaction.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Net(#[from] symbolon_net::NetError),
    /// A topic cannot be subscribed to.
    #[error(transparent)]
    Subscribe(#[from] symbolon_net::SubscribeError),
    /// The network's loop is gone.
    #[error("the network has stopped")]
    NetworkGone,
    /// The engine cannot serve its profile.
    #[error("the executor refuses to serve: {0}")]
    Profile(#[from] symbolon_executor::ProfileError),
    /// The engine cannot start.
    #[error("the executor does not start: {0}")]
    Executor(#[from] symbolon_executor::ExecutorError),
    /// A folder of content.
    #[error("content folder {path}: {source}")]
    Content {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// An amount that no vault holds.
    #[error(transparent)]
    Amount(#[from] symbolon_primitives::AmountError),
    /// A listing of our own that cannot be written.
    #[error("own listing: {0}")]
    Listing(#[from] crate::listing::UseError),
    /// An order of our own that its machine refuses.
    #[error("own order: {0}")]
    Order(#[from] symbolon_quorum::TermsError),
    /// A channel that refuses what this node wants of it.
    #[error("channel: {0}")]
    Channel(#[from] symbolon_channel::Rejected),
    /// A snapshot that cannot be read: of another version, or rotten.
    #[error("a stored {kind} cannot be read")]
    Snapshot {
        /// What it is of.
        kind: &'static str,
    },
    /// Not enough money.
    #[error("{what}: have {have} base units, need {need}")]
    Funds {
        /// Where.
        what: &'static str,
        /// What there is.
        have: symbolon_primitives::Amount,
        /// What is needed.
        need: symbolon_primitives::Amount,
    },
}

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The folder of its state. One process at a time.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: Vec<Multiaddr>,
    /// Its network's times.
    pub timing: Timing,
    /// The block the contracts were deployed at.
    pub deployed_at: u64,
    /// Compiles strangers' modules.
    pub compiler: CompilerProcess,
    /// Sees every point of every write of its store; the product passes none.
    pub witness: Option<Arc<dyn Witness>>,
}

/// A node's parts, shared by its tasks.
#[derive(Debug)]
pub struct Context {
    /// Signs everything and pays for gas.
    pub key: Key,
    /// The checked vault.
    pub vault: VaultView,
    /// The vault's signing domain.
    pub domain: Domain,
    /// Sends transactions.
    pub txs: TxManager,
    /// Durable state.
    pub store: StoreHandle,
    /// The network.
    pub client: Client,
    /// Messages that must arrive.
    pub outbox: Outbox,
    /// Content of its own.
    pub content: ContentStore,
    /// Compiles modules and keeps them.
    pub modules: Modules,
    /// Runs modules.
    pub engine: Engine,
    /// Where its events go.
    pub events: Events,
    /// Its network's times.
    pub timing: Timing,
    /// The block the contracts were deployed at.
    pub deployed_at: u64,
    /// Transactions that an earlier run sent and did not see the end of.
    earlier: Vec<TxHandle>,
}

impl Context {
    /// Opens the folder, checks the executor and starts the network. `runs` guests at most run at once.
    ///
    /// # Errors
    /// [`NodeError`] naming the part that does not start.
    pub async fn start(
        config: &NodeConfig,
        key: Key,
        identity: Identity,
        vault: VaultView,
        tx_config: TxConfig,
        events: Events,
        runs: usize,
    ) -> Result<(Arc<Self>, EventReceiver), NodeError> {
        let store = match &config.witness {
            None => StoreHandle::open(config.data.clone()).await?,
            Some(witness) => {
                StoreHandle::open_watched(config.data.clone(), StoreOptions::default(), Arc::clone(witness)).await?
            }
        };
        let engine = engine_for(runs)?;
        let content = open_content(&config.data)?;
        let modules = open_modules(config, &key, &engine)?;
        let net = Config {
            listen: config.listen.clone(),
            max_request_bytes: MAX_REQUEST,
            max_response_bytes: MAX_RESPONSE,
            max_gossip_bytes: MAX_GOSSIP,
            network: format!("symbolon/{}", vault.chain().chain_id()),
            request_timeout: LONGEST_REQUEST,
            ..Config::default()
        };
        let (client, receiver) = Network::start(identity, net).await?;
        let txs = TxManager::new(vault.chain().clone(), Arc::new(key.clone()), store.clone(), tx_config);
        let earlier = txs.resume().await?;
        let context = Self {
            earlier,
            domain: vault.domain(),
            outbox: Outbox::new(client.clone()),
            timing: config.timing,
            deployed_at: config.deployed_at,
            key,
            vault,
            txs,
            store,
            client,
            content,
            modules,
            engine,
            events,
        };
        Ok((Arc::new(context), receiver))
    }

    /// Own transactions that wait to be mined.
    pub(crate) fn waiting(&self) -> usize {
        self.txs.pending().iter().filter(|pending| pending.mined_in.is_none()).count()
    }

    /// Waits for the end of what an earlier run sent to move its own money. Whoever looks at the vault before that
    /// deposits, stakes or sets aside twice. Everything else goes on by itself.
    pub(crate) async fn settle_earlier(&self) {
        let others = self.txs.pending().into_iter().filter(|tx| !tx.kind.moves_own_money());
        let others: Vec<B256> = others.map(|tx| tx.id).collect();
        for handle in self.earlier.iter().filter(|handle| !others.contains(&handle.id())) {
            if let Err(error) = self.see_through(handle).await {
                tracing::info!(%error, "a transaction of an earlier run came to nothing");
            }
        }
    }

    /// Waits for a transaction's end, and says what keeps it where that takes long.
    async fn see_through(&self, handle: &TxHandle) -> Result<(), TxError> {
        let mut said = None;
        loop {
            if let Ok(end) = tokio::time::timeout(WORD_AFTER, handle.wait()).await {
                return end.map(|_| ());
            }
            let Some(tx) = self.txs.pending().into_iter().find(|tx| tx.id == handle.id()) else { continue };
            // Once, and again when it is another reason.
            let reason = tx.trouble.as_ref().map(std::mem::discriminant);
            if said.replace(reason) == Some(reason) {
                continue;
            }
            let mut message = format!("waiting for the {} that an earlier run sent, nonce {}", tx.kind, tx.nonce);
            if let Some(trouble) = tx.trouble {
                message = format!("{message}: {trouble}");
                message.extend(trouble.hint().map(|hint| format!("; {hint}")));
            }
            self.events.emit(Event::Warning { message });
        }
    }

    /// This node as a peer.
    #[must_use]
    pub fn me(&self) -> Peer {
        Peer { id: self.client.peer_id(), addrs: self.client.listen_addrs() }
    }
}

fn open_content(data: &Path) -> Result<ContentStore, NodeError> {
    let path = data.join(CONTENT_DIR);
    ContentStore::open(&path).map_err(|source| NodeError::Content { path, source })
}

/// What this node has compiled. Sealed with a key that follows from its own: only who can sign for the node can put
/// code there.
fn open_modules(config: &NodeConfig, key: &Key, engine: &Engine) -> Result<Modules, NodeError> {
    let path = config.data.join("modules");
    let seal = keccak256(&[b"symbolon module seal".as_slice(), &key.secret_bytes()].concat());
    Modules::kept(engine.clone(), SealKey::new(seal), &path, MODULE_CACHE_BYTES, config.compiler.clone())
        .map_err(|source| NodeError::Content { path, source })
}

/// The engine with profile 1, after its vectors have run (SYM-31b).
///
/// # Errors
/// [`NodeError::Profile`] when this machine does not give the profile's numbers.
pub fn engine() -> Result<Engine, NodeError> {
    engine_for(0)
}

/// The same for a node that runs so many guests at once: their places are kept ready. More than are kept, or a machine
/// that has no address space for them, and each run asks the host for its own, which only takes longer.
fn engine_for(runs: usize) -> Result<Engine, NodeError> {
    let pool = u32::try_from(runs).ok().filter(|_| runs <= MOST_PLACES).unwrap_or(0);
    let tuned = |pool| Engine::tuned(Profile::V1, GUEST_MEMORY_BYTES, Tuning { pool, ..Tuning::default() });
    let engine = match tuned(pool) {
        Err(error) if pool > 0 => {
            tracing::warn!(%error, pool, "no places of guests are kept ready");
            tuned(0)?
        }
        engine => engine?,
    };
    engine.self_check()?;
    Ok(engine)
}

/// The wall clock: the one place that hands machines the time.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
