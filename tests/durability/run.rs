//! One run of a payer and two payees, with kills, and what must hold of it.

use crate::{
    hub::Hub,
    link::{Config, Frame, Hole, Say},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use symbolon_primitives::{Address, Amount, Key, Royalty, Signer, keccak256};
use symbolon_quorum::Message;
use symbolon_settlement::{
    ChainView, TxConfig, TxManager, VaultView,
    anvil::{self, Anvil, AnvilConfig},
    deploy::{Deployment, deploy},
};
use symbolon_store::{Direction, Store, StoreHandle, VoucherKey};
use symbolon_tests::rpc_proxy::{Fault, RpcProxy, Rule};

pub(crate) const ORDERS: u8 = 2;
const DEPOSIT: u64 = 1_000;
const EARMARK: u64 = 300;
/// flat + rate * fuel of an order, as the parties have it.
const PRICE: u64 = 3 + 7;
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(100);

/// How often a party's endpoint refuses to send, in one run.
const REFUSALS: u64 = 6;

/// A chain with the contracts on it, for many runs.
pub(crate) struct World {
    runtime: tokio::runtime::Runtime,
    anvil: Anvil,
    /// Each party's only way to the chain.
    proxies: Vec<RpcProxy>,
    chain: ChainView,
    vault: VaultView,
    deployment: Deployment,
    expiry: u64,
}

/// What to kill: the names of points, each at its n-th passing in one process.
pub(crate) type Targets = VecDeque<(String, u64)>;

/// What a run was like.
#[derive(Default)]
pub(crate) struct Told {
    /// (party, point, passing) of each kill.
    pub(crate) kills: Vec<(usize, String, u64)>,
    /// What was not reached.
    pub(crate) left: Vec<Targets>,
    /// In a recorded run: every point, in the order of passing.
    pub(crate) passed: Vec<Vec<String>>,
}

/// A rule that did not hold.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

macro_rules! hold {
    ($what:expr, $($why:tt)*) => {
        if !$what { return Err(Broken(format!($($why)*))); }
    };
}

impl World {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (anvil, proxies, chain, vault, deployment, expiry) = runtime.block_on(async {
            let contracts = symbolon_tests::root().join("contracts");
            let anvil = Anvil::spawn(&AnvilConfig::new(anvil::find(&contracts).unwrap())).await.unwrap();
            let dir = tempfile::tempdir().unwrap();
            let store = StoreHandle::open(dir.path()).await.unwrap();
            let chain = ChainView::connect(&anvil.config()).await.unwrap();
            let quick = TxConfig { poll: Duration::from_millis(5), ..TxConfig::default() };
            let txs = TxManager::new(chain.clone(), Arc::new(anvil.keys()[0].clone()), store.clone(), quick);
            let deployment = deploy(&txs, None).await.unwrap();
            let head = chain.head().await.unwrap();
            let vault = chain.vault(deployment.vault, deployment.token, &head).await.unwrap();
            drop(txs);
            store.close().await;
            let expiry = head.timestamp + 3 * 86_400;
            let mut proxies = Vec::new();
            for _ in 0..3 {
                proxies.push(RpcProxy::start(anvil.url()).await.unwrap());
            }
            (anvil, proxies, chain, vault, deployment, expiry)
        });
        Self { runtime, anvil, proxies, chain, vault, deployment, expiry }
    }

    /// Does away with the faults of the last run, and draws those of this one.
    fn trouble(&self, seed: u64) {
        let mut chance = seed;
        let mut below = |bound: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % bound
        };
        for proxy in &self.proxies {
            proxy.heal();
            // Every other send is refused: whoever is killed at one refusal comes to another. Some are taken all the same.
            for sent in 0..REFUSALS {
                let refused = match below(3) {
                    0 => Fault::ForwardedAndRefused("busy"),
                    _ => Fault::Error(-32_000, "busy"),
                };
                proxy.inject(Rule::always(refused).on("eth_sendRawTransaction").after(sent).times(1));
            }
            let late = Duration::from_millis(1 + below(30));
            for fault in [Fault::Late(late), Fault::Half, Fault::Error(-32_000, "busy"), Fault::Late(late)] {
                proxy.inject(Rule::always(fault).after(below(40)).times(1));
            }
        }
    }

    /// The kinds of faults that the parties have met on the way to the chain.
    pub(crate) fn troubles(&self) -> BTreeSet<&'static str> {
        self.proxies.iter().flat_map(|proxy| proxy.fired().into_keys()).collect()
    }
}

/// One party over all its lives.
struct Life {
    role: &'static str,
    key: Key,
    config: Config,
    file: PathBuf,
    targets: Targets,
    current: Option<(String, u64)>,
    child: Option<Child>,
    said: Arc<Mutex<String>>,
    passed: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Life {
    fn start(&mut self, chance: &mut u64) {
        self.current = self.targets.pop_front();
        self.config.kill.clone_from(&self.current);
        // A clock that jumps by an hour between two lives (N11).
        *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.config.clock_off_secs = [0, 3_600, -3_600][usize::try_from(*chance >> 60).unwrap() % 3];
        std::fs::write(&self.file, serde_json::to_string(&self.config).unwrap()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_symbolon-party"))
            .arg(self.role)
            .arg(&self.file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (passed, said) = (Arc::clone(&self.passed), Arc::clone(&self.said));
        self.readers.push(std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(|line| passed.lock().unwrap().push(line));
        }));
        self.readers.push(std::thread::spawn(move || {
            let mut words = String::new();
            if err.read_to_string(&mut words).is_ok() {
                said.lock().unwrap().push_str(&words);
            }
        }));
        self.child = Some(child);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs one job to its end through all kills, and checks everything that must hold.
pub(crate) fn run(
    world: &World,
    seed: u64,
    targets: Vec<Targets>,
    hole: Option<Hole>,
    record: bool,
) -> Result<Told, Broken> {
    let place = tempfile::tempdir().unwrap();
    let hub = Hub::start();
    let key = |index: u8| {
        let secret = keccak256(&[seed.to_be_bytes().as_slice(), &[index]].concat());
        (secret, Key::from_bytes(&secret).unwrap())
    };
    let payer = key(0);
    let mut working = vec![key(1), key(2)];
    working.sort_by_key(|(_, key)| key.address());
    let payees: Vec<Address> = working.iter().map(|(_, key)| key.address()).collect();
    let everybody: Vec<([u8; 32], Key)> = std::iter::once(payer.clone()).chain(working).collect();
    let gas = symbolon_primitives::U256::from(10_u64.pow(18));
    for (_, key) in &everybody {
        world.runtime.block_on(world.anvil.set_ether(key.address(), gas)).unwrap();
    }
    world.trouble(seed);
    let mut chance = seed;
    let mut lives: Vec<Life> = everybody
        .into_iter()
        .zip(targets)
        .enumerate()
        .map(|(index, ((secret, key), targets))| Life {
            role: if index == 0 { "payer" } else { "payee" },
            file: place.path().join(format!("{index}.json")),
            config: Config {
                dir: place.path().join(index.to_string()),
                url: world.proxies[index].url(),
                chain_id: world.anvil.chain_id(),
                vault: world.deployment.vault,
                token: world.deployment.token,
                hub: hub.port,
                secret,
                payer: payer.1.address(),
                payees: payees.clone(),
                orders: ORDERS,
                deposit: DEPOSIT,
                earmark: EARMARK,
                expiry: world.expiry,
                clock_off_secs: 0,
                kill: None,
                record,
                hole,
            },
            key,
            targets,
            current: None,
            child: None,
            said: Arc::default(),
            passed: Arc::default(),
            readers: Vec::new(),
        })
        .collect();
    for life in &mut lives {
        life.start(&mut chance);
    }
    let mut told = Told::default();
    let until = Instant::now() + PATIENCE;
    let went = drive(&hub, &mut lives, &mut told, &mut chance, until);
    hub.stop();
    went?;
    for life in &mut lives {
        let Some(child) = &mut life.child else { continue };
        while child.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill();
        let _ = child.wait();
        life.child = None;
        life.readers.drain(..).for_each(|reader| reader.join().unwrap());
        hub.drained(life.key.address());
    }
    let tape = hub.tape();
    for life in &mut lives {
        durable(&life.config.dir, life.key.address(), &payer.1.address(), &tape)?;
        let left = life
            .current
            .take()
            .filter(|target| !told.kills.iter().any(|(_, point, at)| (point, at) == (&target.0, &target.1)));
        told.left.push(left.into_iter().chain(life.targets.drain(..)).collect());
        told.passed.push(std::mem::take(&mut life.passed.lock().unwrap()));
    }
    consistent(&tape, payer.1.address())?;
    world.runtime.block_on(world.adds_up(payer.1.address(), &payees))?;
    Ok(told)
}

fn drive(hub: &Hub, lives: &mut [Life], told: &mut Told, chance: &mut u64, until: Instant) -> Result<(), Broken> {
    let payer = lives[0].key.address();
    loop {
        for (index, life) in lives.iter_mut().enumerate() {
            let Some(status) = life.child.as_mut().and_then(|child| child.try_wait().unwrap()) else { continue };
            life.child = None;
            hub.drained(life.key.address());
            if status.signal() == Some(9) {
                durable(&life.config.dir, life.key.address(), &payer, &hub.tape())?;
                if let Some((point, at)) = life.current.take() {
                    told.kills.push((index, point, at));
                }
                life.start(chance);
            } else if index == 0 && status.success() && hub.is_finished() {
                return Ok(());
            } else {
                life.readers.drain(..).for_each(|reader| reader.join().unwrap());
                let said = life.said.lock().unwrap().clone();
                return Err(Broken(format!("{} {index} ended by itself, {status}: {said}", life.role)));
            }
        }
        if Instant::now() > until {
            return Err(Broken(format!("no end in {PATIENCE:?} after {:?}; {}", told.kills, hub.summary())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a dead process has said is in its store (L3, L4).
fn durable(dir: &Path, me: Address, payer: &Address, tape: &[Frame]) -> Result<(), Broken> {
    let store = Store::open(dir).map_err(|error| Broken(format!("the store of {me} does not open: {error}")))?;
    hold!(!store.is_read_only(), "the store of {me} is damaged: {:?}", store.closed_by());
    let view = store.view();
    for frame in tape.iter().filter(|frame| frame.from == me) {
        let (direction, payee, total, signature, epoch) = match &frame.say {
            Say::Voucher { signed, .. } => {
                let voucher = signed.voucher;
                (Direction::Issued, voucher.payee, voucher.cumulative, Some(signed.signature), voucher.epoch)
            }
            Say::Stored { cumulative, .. } => (Direction::Received, me, *cumulative, None, 0),
            Say::Member { order, message: Message::Commit(commit) } => {
                let kept = view.commit(*order, me).unwrap();
                hold!(
                    kept.is_some_and(|kept| kept.seal == commit.seal),
                    "L3: {me} signed a commit that it does not know"
                );
                continue;
            }
            _ => continue,
        };
        let key = VoucherKey { direction, payer: *payer, payee, lane: Royalty::NONE.lane(1), epoch };
        let best = view.best_voucher(&key).unwrap();
        let held = best.map(|row| row.cumulative);
        hold!(held >= Some(total), "L3: {me} said {total} in {direction:?}, its store has {held:?}");
        if let (Some(signature), Some(best)) = (signature, best) {
            let same = best.cumulative > total || best.signature == signature;
            hold!(same, "L3: {me} sent a voucher for {total} that it does not know");
        }
    }
    Ok(())
}

/// Nothing that was ever said contradicts anything else that was.
fn consistent(tape: &[Frame], payer: Address) -> Result<(), Broken> {
    let mut vouchers: BTreeMap<Address, Vec<(Amount, symbolon_primitives::Signature)>> = BTreeMap::new();
    let mut orders = BTreeMap::new();
    let (mut seals, mut results) = (BTreeMap::new(), BTreeMap::new());
    for frame in tape {
        match &frame.say {
            Say::Voucher { signed, .. } => {
                hold!(frame.from == payer, "a voucher of {}", frame.from);
                let (total, signature) = (signed.voucher.cumulative, signed.signature);
                let before = vouchers.entry(frame.to).or_default();
                for (earlier, signed_earlier) in before.iter() {
                    hold!(*earlier <= total, "SYM-24: a voucher for {total} after one for {earlier}");
                    hold!(*earlier != total || *signed_earlier == signature, "SYM-24: two signatures for {total}");
                }
                before.push((total, signature));
            }
            Say::Order(signed) => {
                for leaf in &signed.leaves {
                    let promised = vouchers.get(&leaf.provider).and_then(|list| list.last()).map(|(total, _)| *total);
                    let known = orders.contains_key(&signed.order.work);
                    hold!(
                        known || Some(leaf.owed) >= promised,
                        "SYM-24: an order owes {} after {promised:?}",
                        leaf.owed
                    );
                }
                orders.insert(signed.order.work, signed.clone());
            }
            Say::Member { order, message: Message::Commit(commit) } => {
                let seal = seals.entry((*order, commit.provider)).or_insert(commit.seal);
                hold!(*seal == commit.seal, "SYM-22: two commits of {}", commit.provider);
            }
            Say::Member { order, message: Message::Result(said) } => {
                let result = results.entry((*order, frame.from)).or_insert((said.results_root, said.fuel));
                hold!(*result == (said.results_root, said.fuel), "SYM-12: two results of {}", frame.from);
            }
            _ => {}
        }
    }
    hold!(orders.len() == usize::from(ORDERS), "{} orders were signed, {ORDERS} were wanted", orders.len());
    hold!(vouchers.len() == 2, "vouchers went to {} payees", vouchers.len());
    Ok(())
}

impl World {
    /// The chain has each transaction's effect once (L10), and nothing is missing.
    async fn adds_up(&self, payer: Address, payees: &[Address]) -> Result<(), Broken> {
        let head = self.chain.head().await.unwrap();
        let earned = Amount::from_u64(PRICE * u64::from(ORDERS));
        for payee in payees {
            let state = self.vault.channel(payer, *payee, Royalty::NONE.lane(1), &head).await.unwrap();
            let parts = (state.epoch, state.allocated, state.claimed);
            hold!(parts == (1, earned, earned), "L10: a channel of {earned} ends as {parts:?}");
            let balance = self.vault.account(*payee, &head).await.unwrap().balance;
            hold!(balance == earned, "L10: {payee} was credited {balance} of {earned}");
        }
        let paid = PRICE * u64::from(ORDERS) * u64::try_from(payees.len()).unwrap();
        let free = self.vault.account(payer, &head).await.unwrap().balance;
        hold!(free == Amount::from_u64(DEPOSIT - paid), "L10: {free} is left of {DEPOSIT} less {paid}");
        let wallet = self.chain.token_balance(self.deployment.token, payer, &head).await.unwrap();
        hold!(wallet.is_zero(), "L10: {wallet} tokens were minted or deposited otherwise than once");
        Ok(())
    }
}
