//! A watchtower as people run it: packages over the network and from a folder, claims before the deadline, kill -9.

use crate::market::{Telling, party_of};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use symbolon_primitives::{
    Address, Amount, B256, Key, Lane, Leaf, Nonce, ResultStatement, ResultsRoot, Royalty, Signer, Timestamp, U256,
    Voucher, WorkOrder,
    order::{roster_hash, seal, seals_hash},
    receipt::{Attested, Paid},
    watch::{Package, QuorumPackage},
};
use symbolon_settlement::{
    ChainView, Intent, TxConfig, TxManager, VaultView,
    anvil::{self, Anvil, AnvilConfig},
    deploy::deploy,
    ops::{self, LaneEarmarks},
};
use symbolon_store::StoreHandle;
use symbolon_tests::{Running, command, ensure_ok, ensure_refused, party, root, rpc_proxy::RpcProxy, run, text};

const FUEL: u64 = 3_000_000_000;

fn amount(tokens: u64) -> Amount {
    Amount::new(u128::from(tokens) * 10_u128.pow(18)).unwrap()
}

fn lane() -> Lane {
    Royalty::NONE.lane(0)
}

/// Lanes opened to each payee.
const LANES: u16 = 3;

/// A chain with a vault, and a payer with channels to three payees.
struct World {
    anvil: Anvil,
    vault: VaultView,
    payer: Key,
    /// Ascending by address.
    payees: Vec<Key>,
    network: String,
    head: u64,
}

impl World {
    async fn new(dir: &Path) -> Self {
        let anvil = Anvil::spawn(&AnvilConfig::new(anvil::find(&root().join("contracts")).unwrap())).await.unwrap();
        let store = StoreHandle::open(dir.join("deployer")).await.unwrap();
        let view = ChainView::connect(&anvil.config()).await.unwrap();
        let config = TxConfig { poll: Duration::from_millis(5), ..TxConfig::default() };
        let payer = anvil.keys()[0].clone();
        let txs = TxManager::new(view.clone(), Arc::new(payer.clone()), store.clone(), config);
        let at = deploy(&txs, None).await.unwrap();
        let head = view.head().await.unwrap();
        let vault = view.vault(at.vault, at.token, &head).await.unwrap();
        let mut payees: Vec<Key> = (1..4).map(|byte| Key::from_bytes(&[byte; 32]).unwrap()).collect();
        payees.sort_by_key(Key::address);
        let amounts: Vec<_> = payees.iter().map(|key| (key.address(), amount(50))).collect();
        let earmarks = |number| LaneEarmarks { lane: Royalty::NONE.lane(number), amounts: amounts.clone() };
        let lanes: Vec<_> = (0..LANES).map(earmarks).collect();
        let expiry = Timestamp(head.timestamp).plus_secs(3600);
        let tag = |word: u8| B256::repeat_byte(word);
        let intents: Vec<Intent> = vec![
            ops::mint(at.token, payer.address(), amount(1000), tag(1)),
            ops::approve(at.token, at.vault, amount(1000), tag(2)),
            ops::deposit(at.vault, payer.address(), amount(1000), tag(3)),
            ops::open(at.vault, payer.address(), expiry, &lanes, tag(4)),
        ];
        for intent in intents {
            txs.run(intent).await.unwrap();
        }
        let network = dir.join("network.json");
        let file = json!({
            "rpc": anvil.url(), "chain_id": anvil.chain_id(), "token": at.token, "vault": at.vault,
            "deployed_at": 0, "devnet": true,
        });
        std::fs::write(&network, file.to_string()).unwrap();
        Self { anvil, vault, payer, payees, network: text(&network), head: head.timestamp }
    }

    fn voucher(&self, payee: Address, total: u64) -> Package {
        self.voucher_on(0, payee, total)
    }

    fn voucher_on(&self, number: u16, payee: Address, total: u64) -> Package {
        let voucher = Voucher { payee, lane: Royalty::NONE.lane(number), cumulative: amount(total), epoch: 0 };
        Package::Voucher(Paid { voucher, signature: self.payer.sign(&voucher.digest(&self.vault.domain())) })
    }

    /// An order that the last two payees agreed on: 1 token flat, 2 a Gfuel.
    fn quorum(&self) -> Package {
        let domain = self.vault.domain();
        let leaf = |key: &Key| Leaf {
            provider: key.address(),
            owed: Amount::ZERO,
            flat: amount(1),
            rate: amount(2),
            epoch: 0,
            lane_number: 0,
        };
        let leaves: Vec<Leaf> = self.payees.iter().map(leaf).collect();
        let order = WorkOrder {
            work: B256::repeat_byte(1),
            royalty: Royalty::NONE,
            roster: roster_hash(&leaves).into(),
            quorum: 2,
            max_fuel: FUEL,
            settle_by: Timestamp(self.head + 600),
        };
        let (name, root) = (order.digest(&domain), ResultsRoot::from_bytes([2; 32]));
        let signers = &self.payees[1..];
        let nonce = Nonce::from_bytes([3; 32]);
        let seals: Vec<_> = signers.iter().map(|key| seal(name, key.address(), root, FUEL, nonce)).collect();
        let result = ResultStatement { order: name, results_root: root, fuel: FUEL, seals: seals_hash(&seals).into() };
        let attested =
            |key: &Key| Attested { provider: key.address(), nonce, signature: key.sign(&result.digest(&domain)) };
        Package::Quorum(Box::new(QuorumPackage {
            order,
            signature: self.payer.sign(name.as_bytes()),
            leaves,
            results_root: root,
            fuel: FUEL,
            quorum: signers.iter().map(attested).collect(),
        }))
    }

    async fn claimed(&self, payee: usize) -> Amount {
        self.claimed_on(0, payee).await
    }

    async fn claimed_on(&self, number: u16, payee: usize) -> Amount {
        let head = self.vault.chain().head().await.unwrap();
        let (payee, lane) = (self.payees[payee].address(), Royalty::NONE.lane(number));
        self.vault.channel(self.payer.address(), payee, lane, &head).await.unwrap().claimed
    }
}

fn write(path: &Path, package: &Package) -> String {
    std::fs::write(path, serde_json::to_vec(package).unwrap()).unwrap();
    text(path)
}

struct Tower {
    process: Running,
    address: String,
    packages: u64,
}

fn tower(world: &World, data: &Path, packages: &Path) -> Tower {
    tower_through(world, data, packages, world.anvil.url())
}

fn tower_through(world: &World, data: &Path, packages: &Path, rpc: &str) -> Tower {
    let mut command = tower_command(world, data, packages, rpc, 10_000);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut process = Running(child);
    let said = process.read_until("\n").unwrap();
    let ready: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(ready["event"], "watchtower_ready");
    Tower { process, address: address_of(&ready), packages: ready["packages"].as_u64().unwrap() }
}

fn address_of(ready: &Value) -> String {
    format!("{}/p2p/{}", ready["listen"][0].as_str().unwrap(), ready["peer"].as_str().unwrap())
}

/// A watchtower that takes two packages of a client and so many in all.
fn tower_command(world: &World, data: &Path, packages: &Path, rpc: &str, most: usize) -> std::process::Command {
    let (data, password, packages) = (text(data), text(&data.join("password")), text(packages));
    let most = most.to_string();
    let all = [
        "--json",
        "watchtower",
        "run",
        "--network",
        &world.network,
        "--rpc",
        rpc,
        "--data",
        &data,
        "--password-file",
        &password,
        "--packages",
        &packages,
        "--per-client",
        "2",
        "--most",
        &most,
    ];
    command(&all).unwrap()
}

fn send(world: &World, data: &Path, to: &str, files: &[&str]) -> std::process::Output {
    let (data, password) = (text(data), text(&data.join("password")));
    let mut all = vec![
        "--json",
        "watchtower",
        "send",
        "--network",
        &world.network,
        "--data",
        &data,
        "--password-file",
        &password,
        "--to",
        to,
    ];
    all.extend(files);
    run(&all).unwrap()
}

/// A world, the folder of a watchtower that has ether, an empty one for its packages, and its address.
async fn with_tower(dir: &Path) -> (World, PathBuf, PathBuf, Address) {
    let world = World::new(dir).await;
    let (data, packages) = (dir.join("tower"), dir.join("packages"));
    std::fs::create_dir(&packages).unwrap();
    let own: Address = party(&data).unwrap().parse().unwrap();
    world.anvil.set_ether(own, U256::from(10_u64.pow(18))).await.unwrap();
    (world, data, packages, own)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < end, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l11_a_watchtower_collects_in_time_for_those_who_are_away_and_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (world, data, packages, own) = with_tower(dir.path()).await;
    let payee = dir.path().join("payee");
    party_of(&payee, &world.payees[0]);
    let mut first = tower(&world, &data, &packages);
    assert_eq!(first.packages, 0);

    // Over the network: the payee's own, a better one in its place, and what is no use.
    let low = write(&dir.path().join("low.json"), &world.voucher(world.payees[0].address(), 3));
    let high = write(&dir.path().join("high.json"), &world.voucher(world.payees[0].address(), 5));
    let said = ensure_ok(&send(&world, &payee, &first.address, &[&low, &high])).unwrap();
    let receipts: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(receipts.len(), 2);
    assert_eq!(receipts[0]["receipt"]["tower"], json!(own));
    let again = send(&world, &payee, &first.address, &[&low]);
    assert_eq!(again.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&again.stderr).contains("a better package of that channel is held"));
    let others = write(&dir.path().join("others.json"), &world.voucher(world.payees[1].address(), 5));
    let foreign = send(&world, &payee, &first.address, &[&others]);
    assert!(String::from_utf8_lossy(&foreign.stderr).contains("it collects nothing for that payee"));
    let stranger = Key::from_bytes(&[0x55; 32]).unwrap();
    let voucher = Voucher { payee: world.payees[0].address(), lane: lane(), cumulative: amount(9), epoch: 0 };
    let signature = stranger.sign(&voucher.digest(&world.vault.domain()));
    let empty = write(&dir.path().join("empty.json"), &Package::Voucher(Paid { voucher, signature }));
    let unpaid = send(&world, &payee, &first.address, &[&empty]);
    assert!(String::from_utf8_lossy(&unpaid.stderr).contains("it collects 0 base units now"));
    ensure_refused(&send(&world, &payee, "/ip4/127.0.0.1/tcp/1", &[&low]), 3, "is no watchtower's address").unwrap();

    // From the folder, for both of its payees; rubbish beside it is passed over.
    std::fs::write(packages.join("rubbish.json"), b"{").unwrap();
    write(&packages.join("quorum.json"), &world.quorum());
    let watched = |key: &Key| packages.join(format!("quorum.{}.watched", key.address()));
    until("the folder's receipts", async || world.payees[1..].iter().all(|key| watched(key).exists())).await;

    // Killed in the middle of everything, it goes on where it was.
    first.process.0.kill().unwrap();
    first.process.0.wait().unwrap();
    let second = tower(&world, &data, &packages);
    assert_eq!(second.packages, 3);
    for payee in 0..3 {
        assert_eq!(world.claimed(payee).await, Amount::ZERO, "before its time");
    }

    // Shortly before the settle-by the quorum is settled, the voucher is not claimed yet.
    world.anvil.warp(560).await.unwrap();
    until("the settlement", async || world.claimed(2).await == amount(7)).await;
    assert_eq!(world.claimed(1).await, amount(7));
    assert_eq!(world.claimed(0).await, Amount::ZERO, "before its time");
    // Shortly before the expiry the best voucher is claimed, for its payee.
    world.anvil.warp(3600 - 560 - 20).await.unwrap();
    until("the claim", async || world.claimed(0).await == amount(5)).await;
    let head = world.vault.chain().head().await.unwrap();
    for (index, credit) in [(0, 5), (1, 7), (2, 7)] {
        let account = world.vault.account(world.payees[index].address(), &head).await.unwrap();
        assert_eq!(account.balance, amount(credit));
    }
    assert_eq!(world.vault.account(own, &head).await.unwrap().balance, Amount::ZERO);
    // What is collected is forgotten.
    world.anvil.warp(30).await.unwrap();
    world.anvil.mine(3).await.unwrap();
    let folder = text(&data);
    until("an empty folder", async || {
        ensure_ok(&run(&["--json", "watchtower", "ls", "--data", &folder]).unwrap()).unwrap().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l11_a_watchtower_tries_files_again_and_collects_earlier_while_the_chain_is_congested() {
    let dir = tempfile::tempdir().unwrap();
    let (world, data, packages, _) = with_tower(dir.path()).await;
    let (one, two) =
        (RpcProxy::start(world.anvil.url()).await.unwrap(), RpcProxy::start(world.anvil.url()).await.unwrap());
    let mut tower = tower_through(&world, &data, &packages, &format!("{},{}", one.url(), two.url()));

    // Refused while the endpoints do not come to a quorum, and taken without a restart once they do.
    two.set_listening(false);
    let payee = &world.payees[0];
    write(&packages.join("voucher.json"), &world.voucher(payee.address(), 5));
    tower.process.read_until("the chain could not be read").unwrap();
    let receipt = packages.join(format!("voucher.{}.watched", payee.address()));
    assert!(!receipt.exists());
    two.set_listening(true);
    until("the receipt", async || receipt.exists()).await;

    // Between the margin of a calm chain and that of a congested one.
    world.anvil.warp(3600 - 45).await.unwrap();
    let looks = async || {
        let before = one.calls("eth_getBlockByNumber");
        until("further looks", async || one.calls("eth_getBlockByNumber") > before + 12).await;
    };
    looks().await;
    assert_eq!(world.claimed(0).await, Amount::ZERO, "before its time");
    // Blocks get three times as dear and more: with one endpoint down it is claimed all the same.
    two.set_listening(false);
    let dear = json!([format!("{:#x}", 50_000_000_000_u64)]);
    world.anvil.control("anvil_setNextBlockBaseFeePerGas", dear).await.unwrap();
    // A channel is not looked at twice in a few seconds.
    world.anvil.warp(6).await.unwrap();
    until("the claim", async || world.claimed(0).await == amount(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_n3_a_full_watchtower_says_so_and_keeps_what_it_has_and_takes_more_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (world, data, packages, _) = with_tower(dir.path()).await;
    let [first, second, third] = [0, 1, 2].map(|payee| world.payees[payee].address());
    let folders: Vec<_> = (0..3).map(|payee| dir.path().join(format!("payee {payee}"))).collect();
    folders.iter().zip(&world.payees).for_each(|(folder, key)| party_of(folder, key));
    let file = |name: &str, package: &Package| write(&dir.path().join(name), package);

    // As many of one client at once as it has lanes, one more than a client may have: the chain is asked about all of
    // them at the same time.
    for number in 0..LANES {
        write(&packages.join(format!("{number}.json")), &world.voucher_on(number, first, 3));
    }
    let tower = Telling::start(tower_command(&world, &data, &packages, world.anvil.url(), 3));
    tower.wait_after("watchtower_ready", 0);
    let address = address_of(&tower.said()[0]);
    let refused = || tower.warnings("2 packages of this client are held, at most 2");
    until("an answer to each", async || tower.count("watching") + refused() >= usize::from(LANES)).await;
    assert_eq!(tower.count("watching"), 2, "a client has more than it may have");
    let is_watched = |number: &u16| packages.join(format!("{number}.{first}.watched")).exists();
    until("the receipts", async || (0..LANES).filter(is_watched).count() == 2).await;
    let (held, left): (Vec<u16>, Vec<u16>) = (0..LANES).partition(is_watched);

    // It keeps nobody else out, until all places are taken.
    let others = file("second.json", &world.voucher(second, 4));
    ensure_ok(&send(&world, &folders[1], &address, &[&others])).unwrap();
    let late = file("third.json", &world.voucher(third, 4));
    let full = send(&world, &folders[2], &address, &[&late]);
    ensure_refused(&full, 6, "this watchtower is full: 3 packages are held, at most 3").unwrap();
    assert!(String::from_utf8_lossy(&full.stderr).contains("hint: room is made when packages are collected"));
    // Its own limit is said first.
    let more = file("more.json", &world.voucher_on(left[0], first, 3));
    let refused = send(&world, &folders[0], &address, &[&more]);
    ensure_refused(&refused, 6, "2 packages of this client are held, at most 2").unwrap();
    // A better one takes the place of what is held.
    let better = file("better.json", &world.voucher_on(held[0], first, 5));
    ensure_ok(&send(&world, &folders[0], &address, &[&better])).unwrap();

    let folder = text(&data);
    let watched = || {
        let listed = ensure_ok(&run(&["--json", "watchtower", "ls", "--data", &folder]).unwrap()).unwrap();
        let rows = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut totals: Vec<_> = rows.map(|row| row["instrument"]["total"].as_str().unwrap().to_owned()).collect();
        totals.sort();
        totals
    };
    assert_eq!(watched(), [3, 4, 5].map(|tokens| amount(tokens).to_string()), "what was held before is held");

    // Collected, they make room: who was refused is taken now, and paid as well.
    world.anvil.warp(3600 - 20).await.unwrap();
    until("three claims", async || {
        world.claimed_on(held[0], 0).await == amount(5)
            && world.claimed_on(held[1], 0).await == amount(3)
            && world.claimed(1).await == amount(4)
    })
    .await;
    // A channel is not looked at twice in a few seconds of the chain.
    world.anvil.warp(6).await.unwrap();
    world.anvil.mine(3).await.unwrap();
    until("room", async || send(&world, &folders[2], &address, &[&late]).status.success()).await;
    until("room for the client", async || send(&world, &folders[0], &address, &[&more]).status.success()).await;
    until("two more claims", async || {
        world.claimed(2).await == amount(4) && world.claimed_on(left[0], 0).await == amount(3)
    })
    .await;
}
