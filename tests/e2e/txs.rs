//! Transactions that are stuck, and what a person does about them: look, see through, cancel, raise a cap.

use crate::market::{Telling, party_of, until};
use serde_json::{Value, json};
use std::process::Output;
use symbolon_primitives::{Key, Signer};
use symbolon_tests::{Devnet, base_units, command, ensure_ok, ensure_refused, rpc_proxy, run, text};

struct World {
    devnet: Devnet,
    dir: tempfile::TempDir,
    rpc: String,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let devnet = Devnet::up(&dir.path().join("devnet")).unwrap();
        let key = Key::from_bytes(&[0x31; 32]).unwrap();
        party_of(&dir.path().join("party"), &key);
        devnet.fund(&key.address().to_string()).unwrap();
        let network: Value = serde_json::from_slice(&std::fs::read(devnet.network()).unwrap()).unwrap();
        Self { devnet, dir, rpc: network["rpc"].as_str().unwrap().to_owned() }
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let (data, password) = (text(&self.dir.path().join("party")), text(&self.dir.path().join("party/password")));
        let mut all = vec!["--json", "--data", &data, "--password-file", &password];
        all.extend(args);
        let mut command = command(&all).unwrap();
        command.env("SYMBOLON_NETWORK", self.devnet.network());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn ask(&self, args: &[&str]) -> Vec<Value> {
        let said = ensure_ok(&self.run(args)).unwrap();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Transactions in this state.
    fn listed(&self, state: &str) -> Vec<Value> {
        self.ask(&["tx", "ls"]).into_iter().filter(|tx| tx["state"] == state).collect()
    }

    async fn call(&self, method: &str, params: Value) {
        rpc_proxy::call(&self.rpc, method, params).await.unwrap();
    }

    fn free(&self) -> u128 {
        base_units(&self.ask(&["vault", "balance"])[0]["balance"]).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l10_a_stuck_transaction_is_seen_and_seen_through_or_cancelled() {
    let world = World::new();
    assert!(world.ask(&["vault", "deposit", "1"])[0]["balance"] == "1000000000000000000");
    let tokens = |amount: u128| amount * 10_u128.pow(18);

    // No block comes: it waits, its process dies, and the journal knows.
    world.call("evm_setIntervalMining", json!([0])).await;
    let mut stuck = Telling::start(world.command(&["vault", "withdraw", "0.25"]));
    until("a transaction that waits", || world.listed("waiting").len() == 1);
    let waiting = world.listed("waiting").remove(0);
    assert_eq!((&waiting["kind"], waiting["nonce"].is_u64()), (&"withdraw".into(), true), "{waiting}");
    assert!(base_units(&waiting["may_cost_wei"]).unwrap() > 0);
    let id = waiting["id"].as_str().unwrap().to_owned();
    ensure_refused(&world.run(&["tx", "cancel", &id]), 3, "in use").unwrap();
    stuck.kill();
    assert_eq!(world.listed("waiting").len(), 1);
    ensure_refused(&world.run(&["tx", "cancel", "0xffff"]), 3, "no transaction under way is named").unwrap();

    // Cancelled: a transaction without effect takes its place.
    let mut cancel = Telling::start(world.command(&["tx", "cancel", &id[..10]]));
    until("the one that takes its place", || world.listed("cancelling").len() == 1);
    world.call("evm_setIntervalMining", json!([1])).await;
    until("the end", || cancel.said().contains(&json!({ "id": id, "cancelled": true })));
    assert!(cancel.process.0.wait().unwrap().success());
    until("it is told apart", || world.ask(&["tx", "ls"]).iter().any(|tx| tx["state"] == "cancelled"));
    assert_eq!(world.free(), tokens(1), "nothing was withdrawn");

    // Another one is seen through.
    world.call("evm_setIntervalMining", json!([0])).await;
    let mut stuck = Telling::start(world.command(&["vault", "withdraw", "0.5"]));
    until("a transaction that waits", || world.listed("waiting").len() == 1);
    stuck.kill();
    let mut push = Telling::start(world.command(&["tx", "push"]));
    // It raises the fee while nothing happens.
    until("a higher fee", || world.listed("waiting").iter().any(|tx| tx["transactions"].as_array().unwrap().len() > 1));
    world.call("evm_setIntervalMining", json!([1])).await;
    until("the end", || push.said().iter().any(|said| said["kind"] == "withdraw" && said["block"].is_u64()));
    assert!(push.process.0.wait().unwrap().success());
    assert_eq!(world.free(), tokens(1) / 2);
    assert!(world.listed("waiting").is_empty());
    let doctor = world.ask(&["doctor"]);
    assert!(doctor.iter().any(|finding| finding["about"] == "transaction" && finding["level"] == "fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l11_a_provider_starts_beside_what_is_stuck_and_says_what_it_waits_for() {
    let world = World::new();
    ensure_ok(&world.run(&["vault", "deposit", "2"])).unwrap();
    let ports = [0; 2].map(|any: u16| std::net::TcpListener::bind(("127.0.0.1", any)).unwrap());
    let [first, second] = ports.map(|port| format!("/ip4/127.0.0.1/tcp/{}", port.local_addr().unwrap().port()));
    let provider = |listen: &str| {
        Telling::start(world.command(&[
            "provider",
            "run",
            "--stake",
            "1",
            "--max-gas-price",
            "100",
            "--listen",
            listen,
        ]))
    };
    let mut staked = provider(&first);
    staked.wait_after("provider_ready", 0);
    staked.kill();

    // No block comes, and it moves: its registration is stuck. Back where it was, it needs none.
    world.call("evm_setIntervalMining", json!([0])).await;
    let mut moved = provider(&second);
    until("a registration that waits", || world.listed("waiting").iter().any(|tx| tx["kind"] == "register"));
    assert_eq!(moved.count("provider_ready"), 0);
    moved.kill();
    let mut back = provider(&first);
    back.wait_after("provider_ready", 0);
    back.kill();

    // What moves its own money is waited for, and said.
    let mut withdraw = Telling::start(world.command(&["vault", "withdraw", "0.25"]));
    until("a withdrawal that waits", || world.listed("waiting").iter().any(|tx| tx["kind"] == "withdraw"));
    withdraw.kill();
    let waiting = provider(&first);
    waiting.wait_warning("waiting for the withdraw that an earlier run sent", 0);
    assert_eq!(waiting.count("provider_ready"), 0);
    world.call("evm_setIntervalMining", json!([1])).await;
    waiting.wait_after("provider_ready", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_n10_caps_of_the_command_line_hold_and_the_flag_that_raises_each_is_named() {
    let world = World::new();
    ensure_ok(&world.run(&["vault", "deposit", "2"])).unwrap();
    // Dear enough that no cap below is met by chance.
    world.call("anvil_setNextBlockBaseFeePerGas", json!(["0x3b9aca00"])).await;
    for (flag, cap, sentence) in [
        ("--max-gas-price", "0.000001", "the cap is 1000"),
        ("--max-tx-fee", "0.000000000001", "the cap of one is 1000000"),
        ("--max-day-fee", "0.000000000001", "of the cap of 24 hours"),
    ] {
        let refused = world.run(&["vault", "withdraw", "1", flag, cap]);
        ensure_refused(&refused, 4, sentence).unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(flag), "{said}");
    }
    assert_eq!(world.free(), 2 * 10_u128.pow(18));
    // Nothing of it stays in the journal: the next try is another one.
    assert_eq!(world.ask(&["tx", "ls"]).iter().filter(|tx| tx["kind"] == "withdraw").count(), 0);
    ensure_ok(&world.run(&["vault", "withdraw", "1", "--max-gas-price", "100", "--max-tx-fee", "0.1"])).unwrap();
    assert_eq!(world.free(), 10_u128.pow(18));
    for bad in ["", "1,5", "-1"] {
        assert_eq!(world.run(&["vault", "withdraw", "1", "--max-tx-fee", bad]).status.code(), Some(2));
    }
    assert_eq!(run(&["channel", "claim", "--max-fee-ratio", "5"]).unwrap().status.code(), Some(2));
}
