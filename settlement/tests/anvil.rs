//! The chain shell against a real chain: anvil, the committed contracts, and
//! instruments signed by the primitives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use alloy::primitives::{Address, B256, U256};
use std::{future::Future, path::Path, sync::Arc, time::Duration};
use symbolon_contracts::vault::{VaultErrors, VaultEvents};
use symbolon_primitives::{
    Amount, Key, Lane, Leaf, Nonce, Release, ResultStatement, ResultsRoot, Royalty, Salt, SignedOrder, Signer,
    Timestamp, Voucher, Work, WorkOrder,
    order::{roster_hash, seal, seals_hash},
};
use symbolon_settlement::{
    AccountState, ChainConfig, ChainError, ChainView, ContractError, Depth, EventFilter, GasPrice, HeldVoucher, Intent,
    IntentKind, TxConfig, TxError, TxManager, VaultView,
    anvil::{self, Anvil, AnvilConfig, AnvilError},
    claims::{ClaimPolicy, Congestion, Market, calls_for, plan},
    deploy::{DeployError, Deployment, deploy},
    ops::{self, LaneEarmarks, QuorumRow, SignedVoucher, tag},
};
use symbolon_store::{StoreHandle, StoreOptions, TxState};

const LANE: u16 = 3;

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("no answer within a minute")
}

async fn chain() -> Anvil {
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts");
    let spawned = async { Anvil::spawn(&AnvilConfig::new(anvil::find(&contracts)?)).await };
    match spawned.await {
        Ok(anvil) => anvil,
        Err(error) => panic!("{error}\nhint: {}", error.hint().unwrap_or("none")),
    }
}

fn amount(base: u64) -> Amount {
    Amount::from_u64(base)
}

fn lane() -> Lane {
    Royalty::NONE.lane(LANE)
}

/// A chain with the contracts on it, and managers for its keys on one store.
struct World {
    anvil: Anvil,
    dir: tempfile::TempDir,
    store: StoreHandle,
    view: ChainView,
    vault: VaultView,
    deployment: Deployment,
}

impl World {
    async fn new() -> Self {
        let anvil = chain().await;
        let dir = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(dir.path()).await.unwrap();
        let view = ChainView::connect(&anvil.config()).await.unwrap();
        let tx = manager(&view, &anvil.keys()[0], &store, quick());
        let deployment = soon(deploy(&tx, None)).await.unwrap();
        let head = view.head().await.unwrap();
        let vault = view.vault(deployment.vault, deployment.token, &head).await.unwrap();
        Self { anvil, dir, store, view, vault, deployment }
    }

    fn key(&self, index: usize) -> Key {
        self.anvil.keys()[index].clone()
    }

    fn tx(&self, index: usize) -> TxManager {
        manager(&self.view, &self.key(index), &self.store, quick())
    }

    /// Tokens of the key's, deposited to its own account.
    async fn fund(&self, index: usize, base: u64) {
        let (tx, at) = (self.tx(index), self.deployment);
        let me = tx.sender();
        let once = tag(&[b"fund"]);
        for intent in [
            ops::mint(at.token, me, amount(base), once),
            ops::approve(at.token, at.vault, amount(base), once),
            ops::deposit(at.vault, me, amount(base), once),
        ] {
            soon(tx.run(intent)).await.unwrap();
        }
    }

    /// Earmarks of the key's for payees, for a day.
    async fn open(&self, index: usize, payees: &[Address], base: u64) {
        let head = self.view.head().await.unwrap();
        let amounts = payees.iter().map(|payee| (*payee, amount(base))).collect();
        let tx = self.tx(index);
        let lanes = [LaneEarmarks { lane: lane(), amounts }];
        let expiry = Timestamp(head.timestamp + 86_400);
        soon(tx.run(ops::open(self.deployment.vault, tx.sender(), expiry, &lanes, B256::ZERO))).await.unwrap();
    }

    async fn account(&self, account: Address) -> AccountState {
        let head = self.view.head().await.unwrap();
        self.vault.account(account, &head).await.unwrap()
    }

    fn voucher(&self, payer: &Key, payee: Address, cumulative: u64) -> SignedVoucher {
        let voucher = Voucher { payee, lane: lane(), cumulative: amount(cumulative), epoch: 0 };
        SignedVoucher { voucher, signature: payer.sign(&voucher.digest(&self.vault.domain())) }
    }
}

fn quick() -> TxConfig {
    TxConfig { poll: Duration::from_millis(5), watched_blocks: 0, ..TxConfig::default() }
}

fn manager(view: &ChainView, key: &Key, store: &StoreHandle, config: TxConfig) -> TxManager {
    TxManager::new(view.clone(), Arc::new(key.clone()), store.clone(), config)
}

#[tokio::test]
async fn sym_09_a_voucher_signed_off_chain_is_claimed_on_chain() {
    let world = World::new().await;
    let (payer, payee) = (world.key(0), world.key(1).address());
    world.fund(0, 1_000).await;
    world.open(0, &[payee], 400).await;
    let head = world.view.head().await.unwrap();
    let channel = world.vault.channel(payer.address(), payee, lane(), &head).await.unwrap();
    assert_eq!((channel.allocated, channel.claimed, channel.epoch), (amount(400), Amount::ZERO, 0));
    assert_eq!(channel.expiry.0 / 86_400, (head.timestamp + 86_400) / 86_400);
    assert_eq!(world.account(payer.address()).await.balance, amount(600));

    let signed = world.voucher(&payer, payee, 150);
    let held = HeldVoucher { payer: payer.address(), signed, channel, job_over: false, heard_at: None };
    let free = GasPrice { wei_per_gas: 0, base_per_ether: Amount::ZERO };
    let market = Market { gas: free, congestion: Congestion::of(&[head], 0) };
    let claims = plan(Timestamp(head.timestamp), &[held], &[], &market, &ClaimPolicy::default()).claims;
    assert_eq!((claims.len(), claims[0].value), (1, amount(150)));
    let tx = world.tx(1);
    let receipt =
        soon(tx.run(ops::claim(world.deployment.vault, claims[0].vouchers(), None, B256::ZERO))).await.unwrap();
    assert_eq!(world.account(payee).await.balance, amount(150));

    // A watchtower with a clamped voucher, beside a forged one that spoils nothing.
    let forged = world.voucher(&world.key(5), payee, 399);
    let rows = [forged, world.voucher(&payer, payee, 900)];
    soon(world.tx(2).run(ops::claim_for(world.deployment.vault, &rows, B256::ZERO))).await.unwrap();
    assert_eq!(world.account(payee).await.balance, amount(400));

    let to = world.view.head().await.unwrap().number;
    let page = world.vault.events(&EventFilter::claims_of(payee), world.deployment.block, to).await.unwrap();
    let credited: Vec<u64> = page
        .events
        .iter()
        .map(|found| match &found.event {
            VaultEvents::Claimed(event) => event.credited.to(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((credited, page.next), (vec![150, 250], to + 1));
    assert_eq!(page.events[0].tx, receipt.hash);

    // Paid out in the same call.
    let out = ops::claim(world.deployment.vault, &[world.voucher(&payer, payee, 400)], Some(payee), tag(&[b"out"]));
    soon(tx.run(out)).await.unwrap();
    let head = world.view.head().await.unwrap();
    assert_eq!(world.view.token_balance(world.deployment.token, payee, &head).await.unwrap(), U256::from(400));
    let gas = tx.gas_by_kind().unwrap();
    assert_eq!(gas["claim"].transactions, 3);
    assert!(gas["claim"].gas > 3 * 30_000 && gas["claim"].fee_wei > 0);
    assert!(gas.keys().all(|kind| IntentKind::from_name(kind).is_some()));
}

#[tokio::test]
async fn sym_08_two_of_three_settle_an_order_without_the_requestor() {
    let world = World::new().await;
    let payer = world.key(0);
    let mut providers: Vec<Key> = (1..4).map(|index| world.key(index)).collect();
    providers.sort_by_key(Signer::address);
    let payees: Vec<Address> = providers.iter().map(Signer::address).collect();
    world.fund(0, 3_000).await;
    world.open(0, &payees, 1_000).await;
    let leaves: Vec<Leaf> = (0..)
        .zip(&payees)
        .map(|(n, provider)| Leaf {
            provider: *provider,
            owed: Amount::ZERO,
            flat: amount(100 + n),
            rate: amount(10),
            epoch: 0,
            lane_number: LANE,
        })
        .collect();
    let work = Work {
        agreements: Vec::new(),
        profile: Default::default(),
        workunits: Vec::new(),
        commit_by: Timestamp(0),
        reserve_by: Timestamp(0),
        keep_until: Timestamp(0),
        reserves: 0b100,
        members: Default::default(),
        salt: Salt::default(),
    };
    let head = world.view.head().await.unwrap();
    let terms = WorkOrder {
        work: work.hash().into(),
        royalty: Royalty::NONE,
        roster: roster_hash(&leaves).into(),
        quorum: 2,
        max_fuel: 10_000_000_000,
        settle_by: Timestamp(head.timestamp + 3_600),
    };
    let domain = world.vault.domain();
    let digest = terms.digest(&domain);
    let order = SignedOrder { order: terms, signature: payer.sign(digest.as_bytes()), work, leaves };

    let (root, fuel) = (ResultsRoot::from_bytes([8; 32]), 5_000_000_000);
    let nonces = [Nonce::from_bytes([1; 32]), Nonce::from_bytes([2; 32])];
    // The first and the last member; the one between did not answer.
    let pair = [&providers[0], &providers[2]];
    let seals: Vec<_> =
        pair.iter().zip(nonces).map(|(key, nonce)| seal(digest, key.address(), root, fuel, nonce)).collect();
    let result = ResultStatement { order: digest, results_root: root, fuel, seals: seals_hash(&seals).into() };
    let mut rows: Vec<QuorumRow> = pair
        .iter()
        .zip(nonces)
        .map(|(key, nonce)| QuorumRow { provider: key.address(), nonce, signature: key.sign(&result.digest(&domain)) })
        .collect();
    rows.reverse();
    let at = world.deployment.vault;
    assert_eq!(
        ops::settle_quorum(at, &order, root, fuel, &rows[..1], B256::ZERO),
        Err(ops::OpsError::TooFewRows { have: 1, need: 2 })
    );
    let settle = ops::settle_quorum(at, &order, root, fuel, &rows, B256::ZERO).unwrap();
    soon(world.tx(7).run(settle)).await.unwrap();
    assert_eq!(world.account(payees[0]).await.balance, amount(150));
    assert_eq!(world.account(payees[1]).await.balance, Amount::ZERO);
    assert_eq!(world.account(payees[2]).await.balance, amount(152));

    // SYM-11: anyone can show what the quorum stood behind.
    let to = world.view.head().await.unwrap().number;
    let page = world.vault.events(&EventFilter::settlement_of(digest), 0, to).await.unwrap();
    let [found] = page.events.as_slice() else { panic!("one settlement, not {}", page.events.len()) };
    let VaultEvents::ResultsSettled(event) = &found.event else { panic!("{:?}", found.event) };
    assert_eq!((event.payer, event.resultsRoot, event.fuel), (payer.address(), root.word(), fuel));
    let credits: Vec<_> = symbolon_settlement::amounts_of_words(&event.credits).collect();
    assert_eq!(credits, [(payees[0], amount(150)), (payees[2], amount(152))]);

    // A wrong row is refused before it costs gas, with its number.
    rows[0].signature = rows[1].signature;
    let spoilt = ops::settle_quorum(at, &order, root, fuel, &rows, tag(&[b"spoilt"])).unwrap();
    let error = soon(world.tx(7).run(spoilt)).await.unwrap_err();
    assert!(
        matches!(
            error,
            TxError::WouldRevert(ContractError::Vault(VaultErrors::BadRow(_) | VaultErrors::BadSignature(_)))
        ),
        "{error}"
    );
}

#[tokio::test]
async fn sym_04_a_signed_release_gives_the_rest_back_before_the_expiry() {
    let world = World::new().await;
    let (payer, payee) = (world.key(0), world.key(1));
    world.fund(0, 1_000).await;
    world.open(0, &[payee.address()], 400).await;
    let tx = world.tx(0);
    let at = world.deployment.vault;
    let early = ops::release(at, payer.address(), lane(), &[(payee.address(), None)], B256::ZERO);
    let error = soon(tx.run(early.clone())).await.unwrap_err();
    assert!(matches!(error, TxError::WouldRevert(ContractError::Vault(VaultErrors::NotExpired(_)))));
    assert!(error.to_string().contains("expires") && error.hint().is_some());

    let consent = Release { payer: payer.address(), lane: lane(), epoch: 0 };
    let consent = payee.sign(&consent.digest(&world.vault.domain()));
    let release = ops::release(at, payer.address(), lane(), &[(payee.address(), Some(consent))], B256::ZERO);
    soon(tx.run(release)).await.unwrap();
    assert_eq!(world.account(payer.address()).await.balance, amount(1_000));
    let head = world.view.head().await.unwrap();
    assert_eq!(world.vault.channel(payer.address(), payee.address(), lane(), &head).await.unwrap().epoch, 1);

    // After the expiry no consent is needed; what was refused may be tried again.
    world.anvil.warp(86_401).await.unwrap();
    soon(tx.run(early)).await.unwrap();
    let all = ops::withdraw(at, payer.address(), payer.address(), amount(1_000), B256::ZERO);
    soon(tx.run(all)).await.unwrap();
    assert_eq!(world.account(payer.address()).await.balance, Amount::ZERO);
}

#[tokio::test]
async fn sym_15_stake_and_registration_are_read_from_the_chain_alone() {
    let world = World::new().await;
    world.fund(1, 500).await;
    let tx = world.tx(1);
    let at = world.deployment.vault;
    soon(tx.run(ops::stake(at, amount(300), B256::ZERO))).await.unwrap();
    soon(tx.run(ops::register(at, b"peer", b"signed", b"/ip4/127.0.0.1", B256::ZERO))).await.unwrap();
    soon(tx.run(ops::register(at, b"peer2", b"signed", b"", B256::ZERO))).await.unwrap();
    let to = world.view.head().await.unwrap().number;
    let (found, next) = world.vault.registrations(world.deployment.block, to).await.unwrap();
    assert_eq!(found.iter().map(|r| r.peer_id.as_slice()).collect::<Vec<_>>(), [b"peer".as_slice(), b"peer2"]);
    assert_eq!((found[0].provider, next), (tx.sender(), to + 1));
    assert_eq!(found[0].addresses, b"/ip4/127.0.0.1");
    // Read on from where the last page ended.
    let (rest, _) = world.vault.registrations(found[1].block, to).await.unwrap();
    assert_eq!(rest, found[1..]);
    assert_eq!(
        world.account(tx.sender()).await,
        AccountState { balance: amount(200), stake: amount(300), unbonding_at: None }
    );
    soon(tx.run(ops::request_unstake(at, B256::ZERO))).await.unwrap();
    assert!(world.account(tx.sender()).await.unbonding_at.is_some());
    let error = soon(tx.run(ops::withdraw_stake(at, B256::ZERO))).await.unwrap_err();
    assert!(matches!(error, TxError::WouldRevert(ContractError::Vault(VaultErrors::StakeLocked(_)))));
    world.anvil.warp(14 * 86_400 + 1).await.unwrap();
    soon(tx.run(ops::withdraw_stake(at, B256::ZERO))).await.unwrap();
}

#[tokio::test]
async fn sym_12_two_results_of_one_provider_cost_its_stake() {
    let world = World::new().await;
    world.fund(1, 1_000).await;
    let (tx, key) = (world.tx(1), world.key(1));
    let at = world.deployment.vault;
    soon(tx.run(ops::stake(at, amount(1_000), B256::ZERO))).await.unwrap();
    let order = symbolon_primitives::OrderDigest::from_bytes([7; 32]);
    let result = |root: u8| {
        let root = ResultsRoot::from_bytes([root; 32]);
        let result = ResultStatement { order, results_root: root, fuel: 1, seals: B256::ZERO };
        (result, key.sign(&result.digest(&world.vault.domain())))
    };
    let (first, second) = (result(1), result(2));
    let same = ops::slash(at, (&first.0, &first.1), (&first.0, &first.1), B256::ZERO);
    let error = soon(world.tx(2).run(same)).await.unwrap_err();
    assert!(matches!(error, TxError::WouldRevert(ContractError::Court(_))), "{error}");
    soon(world.tx(2).run(ops::slash(at, (&first.0, &first.1), (&second.0, &second.1), B256::ZERO))).await.unwrap();
    assert_eq!(world.account(key.address()).await.stake, Amount::ZERO);
    assert_eq!(world.account(world.key(2).address()).await.balance, amount(50));
    let head = world.view.head().await.unwrap();
    assert!(world.vault.is_slashed(key.address(), order, &head).await.unwrap());
}

#[tokio::test]
async fn sym_05a_a_bound_key_and_a_permit_are_taken() {
    let world = World::new().await;
    let (owner, hot) = (world.key(0), Key::from_bytes(&[0x42; 32]).unwrap());
    let tx = world.tx(0);
    let at = world.deployment;
    soon(tx.run(ops::mint(at.token, owner.address(), amount(700), B256::ZERO))).await.unwrap();
    let head = world.view.head().await.unwrap();
    let deadline = Timestamp(head.timestamp + 600);
    let (separator, nonce) = world.view.permit_terms(at.token, owner.address(), &head).await.unwrap();
    let digest = ops::permit_digest(separator, nonce, owner.address(), at.vault, amount(700), deadline);
    let permit = owner.sign(&digest);
    let deposit = ops::deposit_with_permit(at.vault, owner.address(), amount(700), deadline, &permit, B256::ZERO);
    soon(tx.run(deposit)).await.unwrap();
    assert_eq!(world.account(owner.address()).await.balance, amount(700));

    let consent = symbolon_contracts::Bind { owner: owner.address() };
    let consent = hot.sign(&world.vault.domain().digest(&consent));
    soon(tx.run(ops::bind(at.vault, hot.address(), &consent, B256::ZERO))).await.unwrap();
    let head = world.view.head().await.unwrap();
    let bound = world.vault.owner_of(hot.address(), &head).await.unwrap();
    assert_eq!((bound.owner, bound.revoked), (owner.address(), false));
    soon(tx.run(ops::revoke(at.vault, hot.address(), B256::ZERO))).await.unwrap();
    let head = world.view.head().await.unwrap();
    assert!(world.vault.owner_of(hot.address(), &head).await.unwrap().revoked);
    soon(tx.run(ops::pay_many(at.vault, &[(world.key(3).address(), amount(9))], B256::ZERO))).await.unwrap();
    assert_eq!(world.account(world.key(3).address()).await.balance, amount(9));
}

#[tokio::test]
async fn n6_a_wrong_or_missing_chain_is_told_with_a_hint() {
    let anvil = chain().await;
    let wrong = ChainConfig::new(anvil.url(), 1);
    let error = ChainView::connect(&wrong).await.unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { have: 31_337, need: 1, .. }));
    assert!(error.hint().is_some());

    // A port that was free a moment ago: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead = format!("http://127.0.0.1:{port}/with-a-secret-token");
    let error = ChainView::connect(&ChainConfig::new(dead.clone(), 31_337)).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }) && error.hint().is_some());
    assert!(!error.to_string().contains("secret"), "N10: {error}");
    for bad in ["ftp://x", "nonsense", ""] {
        let error = ChainView::connect(&ChainConfig::new(bad, 31_337)).await.unwrap_err();
        assert!(matches!(error, ChainError::BadUrl { index: 0 }));
    }
    let none = ChainConfig { urls: Vec::new(), ..wrong };
    assert!(matches!(ChainView::connect(&none).await, Err(ChainError::NoEndpoint)));

    // One of three is no quorum, and enough to collect what is owed.
    let other = Anvil::spawn(&AnvilConfig {
        chain_id: 5,
        ..AnvilConfig::new(anvil::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts")).unwrap())
    })
    .await
    .unwrap();
    let config = anvil.config().with_urls(vec![dead, other.url().to_owned(), anvil.url().to_owned()]);
    let error = ChainView::connect(&config).await.unwrap_err();
    assert!(matches!(error, ChainError::NoQuorum { need: 2, .. }) && error.hint().is_some());
    assert!(!error.to_string().contains("secret"), "N10: {error}");
    let view = ChainView::connect_any(&config).await.unwrap();
    anvil.mine(3).await.unwrap();
    assert_eq!(view.for_collecting().head().await.unwrap().number, 3);
    assert!(view.head().await.is_err());
}

#[tokio::test]
async fn n4_an_endpoint_that_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let config = ChainConfig { timeout: Duration::from_millis(50), ..ChainConfig::new(url, 1) };
    let error = soon(ChainView::connect(&config)).await.unwrap_err();
    assert!(matches!(error, ChainError::TimedOut { .. } | ChainError::Unreachable { .. }));
}

#[tokio::test]
async fn sym_26_state_is_read_at_the_depth_asked_for() {
    let world = World::new().await;
    let me = world.key(0).address();
    world.anvil.mine(3).await.unwrap();
    world.fund(0, 1_000).await;
    let deep = world.view.anchor(Depth::Blocks(1)).await.unwrap();
    let head = world.view.anchor(Depth::Blocks(0)).await.unwrap();
    assert_eq!((deep.number + 1, head.parent_hash), (head.number, deep.hash));
    assert_eq!(world.vault.account(me, &deep).await.unwrap().balance, Amount::ZERO);
    assert_eq!(world.vault.account(me, &head).await.unwrap().balance, amount(1_000));
    assert_eq!(Depth::for_value(amount(5), amount(5), 12), Depth::Blocks(12));
    assert_eq!(Depth::for_value(amount(6), amount(5), 12), Depth::Finalized);
    let finalized = world.view.anchor(Depth::Finalized).await.unwrap();
    assert!(finalized.number < head.number);
    assert_eq!(world.view.anchor(Depth::Blocks(u64::MAX)).await.unwrap().number, 0);
    // Before its deployment the vault is no contract.
    let first = world.view.block(0).await.unwrap();
    assert!(matches!(world.vault.account(me, &first).await, Err(ChainError::NoCode { block: 0, .. })));
    // N5: a block that a reorganisation took away answers nothing any more.
    world.anvil.control("anvil_rollback", serde_json::json!([1])).await.unwrap();
    assert!(world.vault.account(me, &head).await.is_err());
    let now = world.view.anchor(Depth::Blocks(0)).await.unwrap();
    assert_eq!(world.vault.account(me, &now).await.unwrap().balance, Amount::ZERO);
}

#[tokio::test]
async fn c19_only_the_factorys_vault_is_one_and_deploying_again_changes_nothing() {
    let world = World::new().await;
    let head = world.view.head().await.unwrap();
    let again = soon(deploy(&world.tx(4), None)).await.unwrap();
    assert_eq!(again, world.deployment);
    assert_eq!(world.view.head().await.unwrap(), head);
    for (vault, token) in [
        (world.deployment.factory, world.deployment.token),
        (world.deployment.vault, world.deployment.court),
        (Address::repeat_byte(1), world.deployment.token),
    ] {
        let error = world.view.vault(vault, token, &head).await.unwrap_err();
        assert!(matches!(error, ChainError::ForeignVault { .. }));
    }
    // The right address before anything stands there.
    let first = world.view.block(0).await.unwrap();
    let early = world.view.vault(world.deployment.vault, world.deployment.token, &first).await;
    assert!(matches!(early, Err(ChainError::NoCode { .. })));
    assert!(matches!(soon(deploy(&world.tx(4), Some(Address::ZERO))).await, Err(DeployError::Tx(_))));
}

#[tokio::test]
async fn l10_a_restart_finds_the_same_transaction() {
    let world = World::new().await;
    let me = world.key(0).address();
    world.anvil.set_automine(false).await.unwrap();
    let mint = |n: u64| ops::mint(world.deployment.token, me, amount(n), tag(&[b"restart"]));
    let first = world.tx(0);
    let handles = first.submit_all(vec![mint(1), mint(2)]).await;
    let ids: Vec<B256> = handles.iter().map(|handle| handle.as_ref().unwrap().id()).collect();
    // Twice is once.
    assert_eq!(first.submit(mint(1)).await.unwrap().id(), ids[0]);
    let hash = |id| world.store.read(|view| view.tx(id)).unwrap().unwrap().attempts[0].hash;
    let hashes = [hash(ids[0]), hash(ids[1])];
    let waiting = handles[0].clone().unwrap();
    drop(first);
    assert!(matches!(soon(waiting.wait()).await, Err(TxError::Stopped)));

    // The pool forgot one of them in the meantime.
    world.anvil.control("anvil_dropTransaction", serde_json::json!([hashes[1]])).await.unwrap();
    let second = world.tx(0);
    let resumed = second.resume().await.unwrap();
    assert_eq!(resumed.iter().map(|handle| handle.id()).collect::<Vec<_>>(), ids);
    assert_eq!(second.submit(mint(2)).await.unwrap().id(), ids[1]);
    world.anvil.mine(1).await.unwrap();
    for (handle, hash) in resumed.iter().zip(hashes) {
        assert_eq!(soon(handle.wait()).await.unwrap().hash, hash);
    }
    world.anvil.set_automine(true).await.unwrap();
    let third = world.tx(0);
    assert!(third.resume().await.unwrap().is_empty());
    assert_eq!(soon(third.run(mint(1))).await.unwrap().hash, hashes[0]);
    let head = world.view.head().await.unwrap();
    assert_eq!(world.view.token_balance(world.deployment.token, me, &head).await.unwrap(), U256::from(3));
}

#[tokio::test]
async fn l10_a_stuck_transaction_is_replaced_under_its_nonce() {
    let world = World::new().await;
    let me = world.key(0).address();
    world.anvil.set_automine(false).await.unwrap();
    let hasty = TxConfig { replace_after: Duration::from_millis(20), ..quick() };
    let tx = manager(&world.view, &world.key(0), &world.store, hasty);
    let handle = tx.submit(ops::mint(world.deployment.token, me, amount(9), B256::ZERO)).await.unwrap();
    let journal = || world.store.read(|view| view.tx(handle.id())).unwrap().unwrap();
    soon(async {
        while journal().attempts.len() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.anvil.mine(1).await.unwrap();
    let receipt = soon(handle.wait()).await.unwrap();
    let end = journal();
    assert!(end.attempts.iter().any(|attempt| attempt.hash == receipt.hash));
    assert!(end.attempts.iter().all(|attempt| Some(attempt.nonce) == end.nonce));
    assert_eq!((end.state, end.outcome.unwrap().hash), (TxState::Confirmed, receipt.hash));
    let head = world.view.head().await.unwrap();
    assert_eq!(world.view.token_balance(world.deployment.token, me, &head).await.unwrap(), U256::from(9));
}

#[tokio::test]
async fn l10_a_nonce_taken_by_another_program_is_given_up_and_the_intent_happens_once() {
    let world = World::new().await;
    let me = world.key(0).address();
    world.anvil.set_automine(false).await.unwrap();
    let tx = world.tx(0);
    let handle = tx.submit(ops::mint(world.deployment.token, me, amount(9), B256::ZERO)).await.unwrap();
    let lost = world.store.read(|view| view.tx(handle.id())).unwrap().unwrap();
    world.anvil.control("anvil_dropTransaction", serde_json::json!([lost.attempts[0].hash])).await.unwrap();
    // The same key in another program, which knows nothing of our journal.
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = StoreHandle::open(elsewhere.path()).await.unwrap();
    let other = manager(&world.view, &world.key(0), &elsewhere, quick());
    let theirs = other.submit(ops::mint(world.deployment.token, me, amount(100), B256::ZERO)).await.unwrap();
    world.anvil.mine(6).await.unwrap();
    soon(theirs.wait()).await.unwrap();
    world.anvil.set_automine(true).await.unwrap();
    world.anvil.mine(1).await.unwrap();
    soon(handle.wait()).await.unwrap();
    let end = world.store.read(|view| view.tx(handle.id())).unwrap().unwrap();
    assert_eq!(end.nonce, lost.nonce.map(|nonce| nonce + 1));
    let head = world.view.head().await.unwrap();
    assert_eq!(world.view.token_balance(world.deployment.token, me, &head).await.unwrap(), U256::from(109));
}

#[tokio::test]
async fn n12_with_a_full_disk_claims_go_out_and_nothing_else() {
    let world = World::new().await;
    let (payer, payee) = (world.key(0), world.key(1));
    world.fund(0, 1_000).await;
    world.open(0, &[payee.address()], 400).await;
    let dir = tempfile::tempdir().unwrap();
    let full = StoreHandle::open_with(dir.path(), StoreOptions { max_bytes: Some(150_000), ..StoreOptions::default() })
        .await
        .unwrap();
    let fill = symbolon_store::Write::put("filling", [0], vec![0; 300_000]);
    full.write(vec![fill]).await.unwrap_err();
    assert!(full.is_read_only());
    let tx = manager(&world.view, &payee, &full, quick());
    let at = world.deployment;
    let mint = ops::mint(at.token, payee.address(), amount(1), B256::ZERO);
    assert!(matches!(soon(tx.run(mint)).await, Err(TxError::Store(_))));
    world.anvil.set_automine(false).await.unwrap();
    let claims: Vec<Intent> = [100, 250]
        .map(|total| ops::claim(at.vault, &[world.voucher(&payer, payee.address(), total)], None, B256::ZERO))
        .into();
    let handles = tx.submit_all(claims).await;
    world.anvil.mine(1).await.unwrap();
    for handle in handles {
        soon(handle.unwrap().wait()).await.unwrap();
    }
    assert_eq!(world.account(payee.address()).await.balance, amount(250));
}

#[tokio::test]
async fn fees_above_the_cap_and_empty_pockets_are_told_apart_and_can_be_tried_again() {
    let world = World::new().await;
    let poor = Key::from_bytes(&[0x51; 32]).unwrap();
    let tx = manager(&world.view, &poor, &world.store, quick());
    let mint = ops::mint(world.deployment.token, poor.address(), amount(5), B256::ZERO);
    let error = soon(tx.run(mint.clone())).await.unwrap_err();
    let is_empty = matches!(&error, TxError::TooLittleEther { have, .. } if have.is_zero());
    assert!(is_empty && error.hint().is_some(), "{error}");
    let miser = manager(&world.view, &poor, &world.store, TxConfig { max_fee_per_gas: 1, ..quick() });
    assert!(matches!(soon(miser.run(mint.clone())).await, Err(TxError::FeeAboveCap { have: 1, .. })));
    // What never left is not taken up by itself, and goes out when it is asked for again.
    world.anvil.set_ether(poor.address(), U256::from(10).pow(U256::from(18))).await.unwrap();
    assert!(tx.resume().await.unwrap().is_empty());
    soon(tx.run(mint)).await.unwrap();
    let head = world.view.head().await.unwrap();
    assert_eq!(world.view.token_balance(world.deployment.token, poor.address(), &head).await.unwrap(), U256::from(5));
    assert!(world.dir.path().exists());
}

#[tokio::test]
async fn a_missing_anvil_is_an_error_with_a_hint() {
    let config = AnvilConfig::new(Path::new("nowhere").join("anvil"));
    assert!(matches!(Anvil::spawn(&config).await, Err(AnvilError::NotStarted { .. })));
}

#[tokio::test]
async fn sym_05_the_vault_hashes_what_it_checks_as_this_library_does() {
    use symbolon_contracts::vault;
    let world = World::new().await;
    let (domain, at) = (world.vault.domain(), world.deployment.vault);
    let head = world.view.head().await.unwrap();
    let lane = Royalty::new(Address::repeat_byte(0xaa), 250).unwrap().lane(3);
    let order = WorkOrder {
        work: B256::repeat_byte(1),
        royalty: Royalty::new(Address::repeat_byte(0xaa), 250).unwrap(),
        roster: B256::repeat_byte(2),
        quorum: 3,
        max_fuel: u64::MAX,
        settle_by: Timestamp((1 << 40) - 1),
    };
    let hashed = world.view.call(at, &vault::hashOrderCall { order: order.to_abi() }, &head).await.unwrap();
    assert_eq!(hashed.0, *order.digest(&domain).as_bytes());

    let result = ResultStatement {
        order: order.digest(&domain),
        results_root: ResultsRoot::from_bytes([8; 32]),
        fuel: 7,
        seals: B256::repeat_byte(9),
    };
    let hashed = world.view.call(at, &vault::hashResultCall { result: result.to_abi() }, &head).await.unwrap();
    assert_eq!(hashed.0, result.digest(&domain));

    let voucher = Voucher { payee: Address::repeat_byte(3), lane, cumulative: Amount::MAX, epoch: (1 << 24) - 1 };
    let abi = symbolon_contracts::Voucher {
        payee: voucher.payee,
        lane: lane.word(),
        cumulative: voucher.cumulative.to_u96(),
        epoch: alloy::primitives::aliases::U24::from(voucher.epoch),
    };
    let hashed = world.view.call(at, &vault::hashVoucherCall { voucher: abi }, &head).await.unwrap();
    assert_eq!(hashed.0, voucher.digest(&domain));
    let separator = world.view.call(at, &vault::DOMAIN_SEPARATORCall {}, &head).await.unwrap();
    assert_eq!(separator, domain.eip712().hash_struct());
}

/// Gas a row is what the vault asks for at most, and so a call that is cut by it goes through: whoever is credited.
#[tokio::test]
async fn l11_calls_are_cut_so_that_the_vault_takes_them_whoever_is_credited() {
    const ROWS: u16 = 1_000;
    let world = World::new().await;
    let (tx, at, payer) = (world.tx(0), world.deployment, world.key(0));
    world.fund(0, 4_000_000).await;
    let head = world.view.head().await.unwrap();
    let expiry = Timestamp(head.timestamp + 86_400);
    let account = |what: u8, index: u16| {
        let [high, low] = index.to_be_bytes();
        Address::left_padding_from(&[what, high, low])
    };
    let channels: Vec<(Address, Lane)> = (0..ROWS)
        .map(|index| (account(1, index), Royalty::new(account(2, index), 500).unwrap().lane(LANE)))
        .chain(
            (0..ROWS).map(|index| (world.key(1).address(), Royalty::new(account(3, index), 500).unwrap().lane(LANE))),
        )
        .collect();
    for (round, some) in channels.chunks(400).enumerate() {
        let lanes: Vec<_> = some
            .iter()
            .map(|(payee, lane)| LaneEarmarks { lane: *lane, amounts: vec![(*payee, amount(1_000))] })
            .collect();
        let open = ops::open(at.vault, payer.address(), expiry, &lanes, tag(&[b"open", &round.to_be_bytes()]));
        soon(tx.run(open)).await.unwrap();
    }
    let rows: Vec<SignedVoucher> = channels
        .iter()
        .map(|(payee, lane)| {
            let voucher = Voucher { payee: *payee, lane: *lane, cumulative: amount(1_000), epoch: 0 };
            SignedVoucher { voucher, signature: payer.sign(&voucher.digest(&world.vault.domain())) }
        })
        .collect();
    let (strangers, own) = rows.split_at(usize::from(ROWS));

    // Uncut they are too much, and nothing of them goes through.
    let whole = soon(tx.run(ops::claim_for(at.vault, strangers, tag(&[b"whole"])))).await.unwrap_err();
    assert!(matches!(whole, TxError::OverGasCap { .. }), "{whole}");
    let calls = calls_for(strangers, |row| &row.voucher);
    assert_eq!(calls.iter().map(|call| call.len()).sum::<usize>(), strangers.len());
    for (round, call) in calls.into_iter().enumerate() {
        let claim = ops::claim_for(at.vault, call, tag(&[b"strangers", &round.to_be_bytes()]));
        soon(tx.run(claim)).await.unwrap();
    }
    let head = world.view.head().await.unwrap();
    let balance = async |account| world.vault.account(account, &head).await.unwrap().balance;
    assert_eq!((balance(account(1, ROWS - 1)).await, balance(account(2, ROWS - 1)).await), (amount(950), amount(50)));

    // A payee's own, as its plan has them: no call takes more gas than it says.
    let mut held = Vec::with_capacity(own.len());
    for signed in own {
        let channel =
            world.vault.channel(payer.address(), signed.voucher.payee, signed.voucher.lane, &head).await.unwrap();
        held.push(HeldVoucher { payer: payer.address(), signed: *signed, channel, job_over: true, heard_at: None });
    }
    let market =
        Market { gas: GasPrice { wei_per_gas: 0, base_per_ether: Amount::ZERO }, congestion: Congestion::default() };
    let claims = plan(Timestamp(head.timestamp), &held, &[], &market, &ClaimPolicy::default()).claims;
    let payee = world.tx(1);
    for (round, claim) in claims.iter().enumerate() {
        let intent = ops::claim(at.vault, claim.vouchers(), None, tag(&[b"own", &round.to_be_bytes()]));
        let used = soon(payee.run(intent)).await.unwrap().gas_used;
        assert!(used <= claim.gas && used * 10 > claim.gas * 8, "{used} gas used, {} planned", claim.gas);
    }
    let head = world.view.head().await.unwrap();
    let credited = world.vault.account(payee.sender(), &head).await.unwrap().balance;
    assert_eq!(credited, amount(950 * u64::from(ROWS)));
}

#[tokio::test]
async fn as_many_earmarks_and_releases_as_one_transaction_is_said_to_take() {
    let world = World::new().await;
    let (tx, at, payer) = (world.tx(0), world.deployment, world.key(0));
    world.fund(0, 1_000_000).await;
    let head = world.view.head().await.unwrap();
    let expiry = Timestamp(head.timestamp + 86_400);
    let keys: Vec<Key> = (0..ops::OPEN_ROWS as u64)
        .map(|index| Key::from_bytes(&B256::left_padding_from(&(index + 1).to_be_bytes())).unwrap())
        .collect();
    let lanes: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| LaneEarmarks {
            lane: Royalty::NONE.lane(u16::from(index == 0)),
            amounts: vec![(key.address(), amount(1_000))],
        })
        .collect();
    soon(tx.run(ops::open(at.vault, payer.address(), expiry, &lanes, B256::ZERO))).await.unwrap();
    let consents: Vec<_> = keys[1..=ops::RELEASE_ROWS]
        .iter()
        .map(|key| {
            let release = Release { payer: payer.address(), lane: Royalty::NONE.lane(0), epoch: 0 };
            (key.address(), Some(key.sign(&release.digest(&world.vault.domain()))))
        })
        .collect();
    let release = ops::release(at.vault, payer.address(), Royalty::NONE.lane(0), &consents, B256::ZERO);
    assert!(release.data.len() < 128 * 1024, "{} bytes", release.data.len());
    soon(tx.run(release)).await.unwrap();
    let released = amount(1_000 * ops::RELEASE_ROWS as u64);
    let kept = amount(1_000_000 - 1_000 * ops::OPEN_ROWS as u64);
    assert_eq!(world.account(payer.address()).await.balance, kept.checked_add(released).unwrap());
}
