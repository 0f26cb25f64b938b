//! Gas of whole transactions on anvil under Osaka rules, beside the protocol's
//! budget and beside the least that the gas schedule asks for that very
//! transaction. Existing slots and no royalty, unless the name says otherwise.

use alloy_sol_types::SolCall;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::time::Duration;
use symbolon_contracts::token;
use symbolon_primitives::{
    Address, Amount, B256, Key, Lane, Leaf, Nonce, OrderDigest, ResultStatement, ResultsRoot, Royalty, Salt,
    SignedOrder, Signer, Timestamp, U256, Voucher, Work, WorkOrder, keccak256,
    order::{roster_hash, seal, seals_hash},
};
use symbolon_settlement::{
    ChainView, Intent, IntentKind, TxConfig, TxManager, VaultView,
    anvil::{self, Anvil, AnvilConfig},
    claims::calls_for,
    deploy::{Deployment, deploy},
    ops::{self, LaneEarmarks, QuorumRow, SignedVoucher, tag},
};
use symbolon_store::StoreHandle;

/// Channels or payees in a batch.
const BATCH: usize = 100;
/// Workunits that one quorum settles when a job is cut fine.
const TASKS: u64 = 1_000;
/// When the chain's time begins, in seconds.
const START_SECS: u64 = 4_123_456_789;
/// Until when earmarks and orders are good, in seconds.
const EXPIRY: Timestamp = Timestamp(START_SECS + 30 * 86_400);
/// One token.
const UNIT: u64 = 1_000_000_000_000_000_000;

/// What the gas schedule takes for things no implementation of the operation can leave out (EIP-2929, 2200, 3529;
/// the yellow paper's appendix G). Calldata is counted byte by byte from the transaction itself.
mod schedule {
    pub(super) const TRANSACTION: u64 = 21_000;
    pub(super) const ZERO_BYTE: u64 = 4;
    pub(super) const BYTE: u64 = 16;
    /// A signature's recovery.
    pub(super) const RECOVER: u64 = 3_000;
    /// The first change of a slot that is not zero.
    pub(super) const CHANGE: u64 = 5_000;
    /// The first write of a slot that is zero.
    pub(super) const NEW: u64 = 22_100;
    /// The first call of the token, and the log it writes of a transfer.
    pub(super) const TOKEN: u64 = 2_600 + 375 * 4 + 256;
}

/// One measured operation.
struct Figure {
    name: &'static str,
    gas: u64,
    /// By how many the transaction's gas is divided.
    per: u64,
    budget: Option<u64>,
    bound: u64,
}

impl Figure {
    fn each(&self) -> u64 {
        self.gas.div_ceil(self.per)
    }
}

/// What an operation cannot do without, besides the transaction and its calldata.
#[derive(Default)]
struct Least {
    recover: u64,
    change: u64,
    new: u64,
    token: bool,
}

impl Least {
    fn of(&self, input: &[u8]) -> u64 {
        let calldata: u64 =
            input.iter().map(|byte| if *byte == 0 { schedule::ZERO_BYTE } else { schedule::BYTE }).sum();
        schedule::TRANSACTION
            + calldata
            + self.recover * schedule::RECOVER
            + self.change * schedule::CHANGE
            + self.new * schedule::NEW
            + if self.token { schedule::TOKEN } else { 0 }
    }
}

fn key(what: &str, index: usize) -> Result<Key> {
    Ok(Key::from_bytes(&keccak256(format!("bench {what} {index}").as_bytes()))?)
}

/// Whole tokens, in base units.
fn amount(tokens: u64) -> Amount {
    Amount::from_u256(U256::from(tokens) * U256::from(UNIT)).unwrap_or(Amount::MAX)
}

fn lane() -> Lane {
    Royalty::NONE.lane(1)
}

/// A chain with a vault.
pub(crate) struct World {
    anvil: Anvil,
    store: StoreHandle,
    _dir: tempfile::TempDir,
    view: ChainView,
    vault: VaultView,
    at: Deployment,
    figures: Vec<Figure>,
    nonce: u64,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        let contracts = super::root().join("contracts");
        let anvil = Anvil::spawn(&AnvilConfig::new(anvil::find(&contracts)?)).await?;
        let dir = tempfile::tempdir()?;
        let store = StoreHandle::open(dir.path()).await?;
        let view = ChainView::connect(&anvil.config()).await?;
        // Times stand in calldata, where a zero byte is cheaper: every run has the same.
        anvil.control("evm_setNextBlockTimestamp", json!([START_SECS])).await?;
        let first = anvil.keys().first().context("anvil has no keys")?.clone();
        let tx = manager(&view, first, &store);
        let at = deploy(&tx, None).await?;
        let head = view.head().await?;
        let vault = view.vault(at.vault, at.token, &head).await?;
        Ok(Self { anvil, store, _dir: dir, view, vault, at, figures: Vec::new(), nonce: 0 })
    }

    pub(crate) const fn vault(&self) -> &VaultView {
        &self.vault
    }

    /// A tag that makes an intent a new wish.
    fn once(&mut self) -> B256 {
        self.nonce += 1;
        tag(&[b"bench", &self.nonce.to_be_bytes()])
    }

    async fn send(&self, by: &Key, intent: Intent) -> Result<u64> {
        Ok(manager(&self.view, by.clone(), &self.store).run(intent).await?.gas_used)
    }

    async fn measure(
        &mut self,
        name: &'static str,
        per: usize,
        budget: Option<u64>,
        least: Least,
        by: &Key,
        intent: Intent,
    ) -> Result<()> {
        let bound = least.of(&intent.data);
        let gas = self.send(by, intent).await.context(name)?;
        let per = u64::try_from(per)?;
        self.figures.push(Figure { name, gas, per, budget, bound: bound / per });
        Ok(())
    }

    /// Ether, tokens and an endless allowance; what `deposited` says lies in its account afterwards.
    async fn party(&mut self, key: &Key, tokens: u64, deposited: u64) -> Result<()> {
        let me = key.address();
        self.anvil.set_ether(me, U256::from(UNIT) * U256::from(1_000)).await?;
        let (mint, deposit) = (self.once(), self.once());
        self.send(key, ops::mint(self.at.token, me, amount(tokens), mint)).await?;
        // An endless allowance is not written again by a transfer.
        let approve = token::approveCall { spender: self.at.vault, amount: U256::MAX };
        self.send(key, Intent::new(IntentKind::Approve, self.at.token, approve.abi_encode())).await?;
        if deposited > 0 {
            self.send(key, ops::deposit(self.at.vault, me, amount(deposited), deposit)).await?;
        }
        Ok(())
    }

    fn voucher(&self, payer: &Key, payee: Address, total: Amount) -> SignedVoucher {
        let voucher = Voucher { payee, lane: lane(), cumulative: total, epoch: 0 };
        SignedVoucher { voucher, signature: payer.sign(&voucher.digest(&self.vault.domain())) }
    }
}

fn manager(view: &ChainView, key: Key, store: &StoreHandle) -> TxManager {
    let config = TxConfig { poll: Duration::from_millis(5), ..TxConfig::default() };
    TxManager::new(view.clone(), std::sync::Arc::new(key), store.clone(), config)
}

async fn deposits(world: &mut World) -> Result<()> {
    let (old, fresh) = (key("depositor", 0)?, key("depositor", 1)?);
    world.party(&old, 100, 10).await?;
    world.party(&fresh, 100, 0).await?;
    let vault = world.at.vault;
    // Sender's token balance, vault's token balance; the account's slot.
    let first = ops::deposit(vault, fresh.address(), amount(7), world.once());
    let least = Least { change: 2, new: 1, token: true, ..Least::default() };
    world.measure("deposit_first", 1, Some(65_000), least, &fresh, first).await?;
    let again = ops::deposit(vault, fresh.address(), amount(3), world.once());
    let least = Least { change: 3, token: true, ..Least::default() };
    world.measure("deposit_again", 1, Some(48_000), least, &fresh, again).await?;
    let out = ops::withdraw(vault, old.address(), old.address(), amount(2), world.once());
    let least = Least { change: 3, token: true, ..Least::default() };
    world.measure("withdraw", 1, None, least, &old, out).await
}

async fn opens(world: &mut World) -> Result<()> {
    let requestor = key("requestor", 0)?;
    world.party(&requestor, 10_000, 10_000).await?;
    let payees: Vec<Address> = (0..BATCH).map(|i| Ok(key("opened", i)?.address())).collect::<Result<_>>()?;
    let amounts: Vec<_> = payees.iter().map(|payee| (*payee, amount(5))).collect();
    for (name, budget, least) in [
        ("open_100_new_per_provider", 24_000, Least { change: 1, new: 100, ..Least::default() }),
        ("open_100_again_per_provider", 7_000, Least { change: 101, ..Least::default() }),
    ] {
        let lanes = [LaneEarmarks { lane: lane(), amounts: amounts.clone() }];
        let open = ops::open(world.at.vault, requestor.address(), EXPIRY, &lanes, world.once());
        world.measure(name, BATCH, Some(budget), least, &requestor, open).await?;
    }
    let first = ops::pay_many(world.at.vault, &amounts, world.once());
    world.send(&requestor, first).await?;
    let again = ops::pay_many(world.at.vault, &amounts, world.once());
    let least = Least { change: 101, ..Least::default() };
    world.measure("pay_many_100_per_payee", BATCH, Some(6_500), least, &requestor, again).await
}

async fn claims(world: &mut World) -> Result<()> {
    let (payee, tower) = (key("payee", 0)?, key("watchtower", 0)?);
    world.party(&payee, 1, 1).await?;
    world.party(&tower, 1, 0).await?;
    let payers: Vec<Key> = (0..BATCH).map(|i| key("payer", i)).collect::<Result<_>>()?;
    for payer in &payers {
        world.party(payer, 20, 20).await?;
        let lanes = [LaneEarmarks { lane: lane(), amounts: vec![(payee.address(), amount(10))] }];
        let open = ops::open(world.at.vault, payer.address(), EXPIRY, &lanes, world.once());
        world.send(payer, open).await?;
    }
    // By somebody else, for 100 requestors, once to make the slots and once to measure.
    for tokens in [1, 2] {
        let rows: Vec<_> = payers.iter().map(|payer| world.voucher(payer, payee.address(), amount(tokens))).collect();
        let claim = ops::claim_for(world.at.vault, &rows, world.once());
        if tokens == 1 {
            world.send(&tower, claim).await?;
            continue;
        }
        let least = Least { recover: 100, change: 101, ..Least::default() };
        world.measure("claim_100_per_voucher", BATCH, Some(12_000), least, &tower, claim).await?;
    }
    let payer = payers.first().context("no payers")?;
    for tokens in [3, 4] {
        let rows = [world.voucher(payer, payee.address(), amount(tokens))];
        let claim = ops::claim(world.at.vault, &rows, Some(payee.address()), world.once());
        if tokens == 3 {
            world.send(&payee, claim).await?;
            continue;
        }
        // The channel, and two balances of the token.
        let least = Least { recover: 1, change: 3, token: true, ..Least::default() };
        world.measure("claim_1_paid_out", 1, Some(55_000), least, &payee, claim).await?;
    }
    Ok(())
}

/// Settles two orders of the same parties; the second is measured, so that every slot exists.
async fn quorum(world: &mut World, members: usize, need: u8, names: &[(&'static str, u64, Option<u64>)]) -> Result<()> {
    let requestor = key("quorum requestor", members)?;
    world.party(&requestor, 10_000, 10_000).await?;
    let mut providers: Vec<Key> =
        (0..members).map(|i| key(&format!("provider of {members}"), i)).collect::<Result<_>>()?;
    providers.sort_by_key(Signer::address);
    let amounts = providers.iter().map(|provider| (provider.address(), amount(100))).collect();
    let lanes = [LaneEarmarks { lane: lane(), amounts }];
    let open = ops::open(world.at.vault, requestor.address(), EXPIRY, &lanes, world.once());
    world.send(&requestor, open).await?;
    // Each provider's account exists.
    let credits: Vec<_> = providers.iter().map(|provider| (provider.address(), amount(1))).collect();
    let credit = ops::pay_many(world.at.vault, &credits, world.once());
    world.send(&requestor, credit).await?;

    for owed in [0, 7] {
        let intent = settlement(world, &requestor, &providers, need, amount(owed))?;
        if owed == 0 {
            world.send(&requestor, intent).await?;
            continue;
        }
        let rows = u64::from(need);
        let bound = Least { recover: 1 + rows, change: 2 * rows, ..Least::default() }.of(&intent.data);
        let gas = world.send(&requestor, intent).await?;
        for (name, per, budget) in names.iter().copied() {
            world.figures.push(Figure { name, gas, per, budget, bound: bound / per });
        }
    }
    Ok(())
}

fn settlement(world: &mut World, requestor: &Key, providers: &[Key], need: u8, owed: Amount) -> Result<Intent> {
    let leaves: Vec<Leaf> = providers
        .iter()
        .map(|provider| Leaf {
            provider: provider.address(),
            owed,
            flat: amount(1),
            rate: amount(1),
            epoch: 0,
            lane_number: 1,
        })
        .collect();
    let work = Work {
        agreements: Vec::new(),
        profile: Default::default(),
        workunits: Vec::new(),
        commit_by: Timestamp(0),
        reserve_by: Timestamp(0),
        keep_until: Timestamp(0),
        reserves: 0,
        members: B256::ZERO,
        salt: Salt::from_bytes(world.once().0),
    };
    let order = WorkOrder {
        work: work.hash().into(),
        royalty: Royalty::NONE,
        roster: roster_hash(&leaves).into(),
        quorum: need,
        max_fuel: 10_000_000_000,
        settle_by: EXPIRY,
    };
    let domain = world.vault.domain();
    let digest = order.digest(&domain);
    let signed = SignedOrder { order, signature: requestor.sign(digest.as_bytes()), work, leaves };
    let (root, fuel) = (ResultsRoot::from_bytes(keccak256(b"bench results")), 1_500_000_000);
    let agreeing = providers.get(..usize::from(need)).context("too few providers")?;
    let nonces: Vec<Nonce> =
        agreeing.iter().map(|key| Nonce::from_bytes(keccak256(key.address().as_slice()))).collect();
    let seals: Vec<_> =
        agreeing.iter().zip(&nonces).map(|(key, nonce)| seal(digest, key.address(), root, fuel, *nonce)).collect();
    let result = ResultStatement { order: digest, results_root: root, fuel, seals: seals_hash(&seals).into() };
    let rows: Vec<QuorumRow> = agreeing
        .iter()
        .zip(nonces)
        .map(|(key, nonce)| QuorumRow { provider: key.address(), nonce, signature: key.sign(&result.digest(&domain)) })
        .collect();
    Ok(ops::settle_quorum(world.at.vault, &signed, root, fuel, &rows, world.once())?)
}

async fn stakes(world: &mut World) -> Result<()> {
    let (liar, reporter) = (key("liar", 0)?, key("reporter", 0)?);
    world.party(&liar, 100, 100).await?;
    world.party(&reporter, 1, 1).await?;
    let stake = ops::stake(world.at.vault, amount(50), world.once());
    world.measure("stake", 1, None, Least { change: 1, ..Least::default() }, &liar, stake).await?;
    let domain = world.vault.domain();
    let said = |root: &[u8]| {
        let result = ResultStatement {
            order: OrderDigest::from_bytes(keccak256(b"bench order")),
            results_root: ResultsRoot::from_bytes(keccak256(root)),
            fuel: 5,
            seals: keccak256(b"seals").into(),
        };
        (result, liar.sign(&result.digest(&domain)))
    };
    let ((one, one_signature), (other, other_signature)) = (said(b"one"), said(b"other"));
    let slash = ops::slash(world.at.vault, (&one, &one_signature), (&other, &other_signature), world.once());
    // The record of the offence and the burned stake are new; the liar's and the reporter's accounts change.
    let least = Least { recover: 2, change: 2, new: 2, ..Least::default() };
    world.measure("slash", 1, None, least, &reporter, slash).await
}

/// Measures everything, compares with the budgets and with the committed receipts.
pub(crate) async fn run(json: bool, bless: bool) -> Result<()> {
    let mut world = World::new().await?;
    deposits(&mut world).await?;
    opens(&mut world).await?;
    claims(&mut world).await?;
    quorum(&mut world, 3, 2, &[("quorum_2_of_3", 1, Some(70_000))]).await?;
    let fine = ("quorum_3_of_5_batch_of_1000_per_task", TASKS, None);
    quorum(&mut world, 5, 3, &[("quorum_3_of_5", 1, Some(88_000)), fine]).await?;
    quorum(&mut world, 7, 4, &[("quorum_4_of_7", 1, Some(106_000))]).await?;
    stakes(&mut world).await?;

    let measured: Map<String, Value> =
        world.figures.iter().map(|figure| (figure.name.to_owned(), json!(figure.each()))).collect();
    if json {
        println!("{:#}", Value::Object(measured.clone()));
    } else {
        println!("{:<38} {:>8} {:>8} {:>8} {:>7}", "operation", "gas", "budget", "bound", "ratio");
        for figure in &world.figures {
            let budget = figure.budget.map_or_else(|| "-".to_owned(), |budget| budget.to_string());
            // Hundredths, in integers.
            let ratio = figure.each() * 100 / figure.bound.max(1);
            let ratio = format!("{}.{:02}", ratio / 100, ratio % 100);
            println!("{:<38} {:>8} {budget:>8} {:>8} {ratio:>7}", figure.name, figure.each(), figure.bound);
        }
    }

    let over: Vec<String> = world
        .figures
        .iter()
        .filter(|figure| figure.budget.is_some_and(|budget| figure.each() > budget))
        .map(|figure| format!("{} {}", figure.name, figure.each()))
        .collect();
    ensure!(over.is_empty(), "over the protocol's budget: {}", over.join(", "));
    let path = super::root().join("contracts/snapshots/receipts.json");
    let measured = Value::Object(measured);
    if bless {
        std::fs::write(&path, format!("{measured:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(());
    }
    let committed: Value = serde_json::from_slice(&std::fs::read(&path).unwrap_or_default()).unwrap_or_default();
    if committed != measured {
        bail!("gas has changed against {}\nhint: scripts/bench gas --bless, if it is meant to", path.display());
    }
    Ok(())
}

/// Claims of 1,000 channels of as many requestors, in as few transactions as the gas cap allows.
pub(crate) async fn settle_thousand() -> Result<Vec<(&'static str, u64)>> {
    const CHANNELS: usize = 1_000;
    const GAS_CAP: u64 = 16_777_216;
    let mut world = World::new().await?;
    let (payee, owner) = (key("settled payee", 0)?, key("owner", 0)?);
    world.party(&payee, 1, 1).await?;
    world.party(&owner, 100_000, 50_000).await?;
    let payers: Vec<Key> = (0..CHANNELS).map(|i| key("settled payer", i)).collect::<Result<_>>()?;
    for half in payers.chunks(CHANNELS / 2) {
        let gifts: Vec<_> = half.iter().map(|payer| (payer.address(), amount(20))).collect();
        let gift = ops::pay_many(world.at.vault, &gifts, world.once());
        world.send(&owner, gift).await?;
    }
    // Each requestor opens its own channel; the chain signs for them, in as few blocks as hold them.
    world.anvil.control("anvil_autoImpersonateAccount", json!([true])).await?;
    world.anvil.set_automine(false).await?;
    let domain = world.vault.domain();
    for payer in &payers {
        let me = payer.address();
        world.anvil.set_ether(me, U256::from(UNIT)).await?;
        let lanes = [LaneEarmarks { lane: lane(), amounts: vec![(payee.address(), amount(10))] }];
        let open = ops::open(world.at.vault, me, EXPIRY, &lanes, world.once());
        let data = format!("0x{}", hex::encode(&open.data));
        let call = json!([{ "from": me, "to": world.at.vault, "data": data, "gas": "0x30d40" }]);
        world.anvil.control("eth_sendTransaction", call).await?;
    }
    world.anvil.mine(20).await?;
    world.anvil.set_automine(true).await?;
    let rows: Vec<_> = payers
        .iter()
        .map(|payer| {
            let voucher = Voucher { payee: payee.address(), lane: lane(), cumulative: amount(7), epoch: 0 };
            SignedVoucher { voucher, signature: payer.sign(&voucher.digest(&domain)) }
        })
        .collect();
    let (mut transactions, mut gas) = (0, 0);
    for rows in calls_for(&rows, |row| &row.voucher) {
        let claim = ops::claim_for(world.at.vault, rows, world.once());
        let used = world.send(&owner, claim).await?;
        ensure!(used <= GAS_CAP, "{used} gas in one transaction, the cap is {GAS_CAP}");
        transactions += 1;
        gas += used;
    }
    let head = world.view.head().await?;
    let credited = world.vault.account(payee.address(), &head).await?.balance;
    ensure!(credited == amount(7 * 1_000 + 1), "{credited} base units were credited");
    let channels = u64::try_from(CHANNELS)?;
    Ok(vec![
        ("settled_channels", channels),
        ("settled_transactions", transactions),
        ("settled_gas_per_channel", gas / channels),
    ])
}
