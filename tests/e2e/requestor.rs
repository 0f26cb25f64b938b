//! A requestor whose endpoints disagree, whose folder was restored or lost, and whose key somebody else has too.

use crate::market::{Market, Telling, provider_name, until};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use symbolon_primitives::{Address, Amount, Key, Lane, Signer, Voucher};
use symbolon_settlement::{
    ChainConfig, ChainView, TxConfig, TxManager,
    anvil::DEVNET_CHAIN_ID,
    ops::{self, SignedVoucher},
};
use symbolon_store::{Direction, Look, StoreHandle};
use symbolon_tests::{
    base_units, ensure_refused,
    rpc_proxy::{self, Fault, RpcProxy, Rule},
};

fn key(byte: u8) -> Key {
    Key::from_bytes(&[byte; 32]).unwrap()
}

/// The highest voucher that a folder signed, by payee, lane and epoch.
fn signed(market: &Market, name: &str) -> BTreeMap<(Address, u16, u32), Amount> {
    let look = Look::open(&market.folder(name)).unwrap();
    let rows = look.view().best_vouchers(Direction::Issued).unwrap();
    rows.iter().map(|row| ((row.key.payee, row.key.lane.number16(), row.key.epoch), row.cumulative)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_n6_a_requestor_signs_nothing_while_its_endpoints_cannot_tell_the_chain() {
    let market = Market::that_holds();
    market.requestor("requestor", &key(0x21));
    let (one, two) = (RpcProxy::start(&market.rpc()).await.unwrap(), RpcProxy::start(&market.rpc()).await.unwrap());
    let rpc = format!("{},{}", one.url(), two.url());
    // Parts that take a while, so that there is time between an order and its vouchers.
    let job = market.job("requestor", 6_000, &["--rpc", &rpc, "--budget", "60", "--subtask-timeout", "00:02:00"]);
    job.wait_after("earmarked", 0);
    two.set_listening(false);
    let polls = one.calls("eth_getBlockByNumber");
    until("a look that fails", || one.calls("eth_getBlockByNumber") > polls + 3);
    // With one provider's module the last thing is there that an order lacks.
    market.let_compile();
    const HALTED: &str = "nothing is signed until the chain can be told again";
    job.wait_warning(HALTED, 0);
    job.wait_after("prepared", 0);
    let polls = one.calls("eth_getBlockByNumber");
    until("further looks", || one.calls("eth_getBlockByNumber") > polls + 6);
    assert_eq!(job.count("order_out"), 0, "an order was signed");

    two.set_listening(true);
    job.wait_after("order_out", 0);
    two.set_listening(false);
    job.wait_warning(HALTED, 1);
    // The providers agree, get no voucher, and settle by quorum.
    until("a settlement", || market.providers.iter().any(|provider| provider.count("quorum_settled") > 0));
    assert_eq!(market.providers.iter().map(|provider| provider.count("vouchered")).sum::<usize>(), 0);
    assert!(signed(&market, "requestor").is_empty(), "a voucher was signed");

    two.set_listening(true);
    let said = market.finish("requestor", job);
    let report = said.iter().find(|said| said["event"] == "job_done").unwrap();
    assert!(base_units(&report["paid"]).unwrap() > 0);
    assert!(!signed(&market, "requestor").is_empty());
}

/// Seconds of an outage: a few, or what `SYMBOLON_OUTAGE` says.
fn outage() -> Duration {
    let secs = std::env::var("SYMBOLON_OUTAGE").map_or(10, |secs| secs.parse().expect("a number of seconds"));
    Duration::from_secs(secs)
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_n4_l11_a_provider_whose_endpoint_was_down_claims_once_it_is_back() {
    let mut market = Market::new();
    market.requestor("requestor", &key(0x27));
    let proxy = RpcProxy::start(&market.rpc()).await.unwrap();
    market.providers[0].stop();
    let behind = ["provider", "run", "--rate", "0.05", "--claim-at", "1000", "--rpc", &proxy.url()];
    market.providers[0] = Telling::start(market.command(&provider_name(0), &behind));
    market.providers[0].wait_after("provider_ready", 0);
    let mut job = market.job("requestor", 600, &["--subtasks", "6"]);
    market.providers[0].wait_after("vouchered", 0);
    job.kill();
    assert_eq!(market.providers[0].count("claimed"), 0);
    // Its endpoint takes nothing more just as it shows that the channels of an hour are about to expire, and is gone then.
    rpc_proxy::call(&market.rpc(), "evm_increaseTime", serde_json::json!([3_570])).await.unwrap();
    proxy.inject(Rule::always(Fault::Error(-32_005, "slow down")).on("eth_sendRawTransaction"));
    rpc_proxy::call(&market.rpc(), "evm_mine", serde_json::json!([])).await.unwrap();
    until("a claim that does not get out", || proxy.fired().contains_key("error"));
    proxy.set_listening(false);
    tokio::time::sleep(outage()).await;
    assert_eq!(market.providers[0].count("claimed"), 0);
    proxy.heal();
    proxy.set_listening(true);
    // It pauses no longer than it was down, and then all of it is there.
    let end = std::time::Instant::now() + 2 * outage() + Duration::from_secs(30);
    while market.providers[0].count("claimed") == 0 {
        assert!(std::time::Instant::now() < end, "no claim after {:?}: {:#?}", outage(), market.providers[0].said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l8_a_job_that_cannot_be_taken_up_is_left_for_the_next_run() {
    let market = Market::new();
    market.requestor("requestor", &key(0x24));
    // Both orders are still out when it dies.
    const WORDS: usize = 6_000;
    let budget = ["--budget", "60"];
    let mut job = market.job("requestor", WORDS, &budget);
    job.wait_after("order_out", 1);
    job.kill();
    let cut_off = market.ask("requestor", &["job", "ls"]);
    assert_eq!((cut_off.len(), cut_off[0]["open_orders"].as_u64()), (1, Some(2)), "{cut_off:?}");

    // Three calls look at the vault; the next ones would read the channels.
    let proxy = RpcProxy::start(&market.rpc()).await.unwrap();
    proxy.inject(Rule::always(Fault::Error(-32_005, "slow down")).on("eth_call").after(3));
    let mut job = market.job("requestor", WORDS, &["--rpc", &proxy.url(), "--budget", "60"]);
    let status = job.process.ended_within(Duration::from_secs(60)).expect("the job does not end");
    assert!(!status.success() && proxy.fired().contains_key("error"), "{:#?}", job.said());
    assert_eq!(market.ask("requestor", &["job", "ls"]), cut_off);

    let job = market.job("requestor", WORDS, &budget);
    let said = market.finish("requestor", job);
    assert!(said.iter().any(|said| said["event"] == "resumed"));
    let report = said.iter().find(|said| said["event"] == "job_done").unwrap();
    assert_eq!((&report["job"], report["orders"].as_u64()), (&cut_off[0]["id"], Some(2)), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_sym_04_a_lane_near_its_expiry_is_extended_and_not_earmarked_again() {
    let market = Market::that_holds();
    market.requestor("requestor", &key(0x26));
    let mut job = market.job("requestor", 200, &[]);
    job.wait_after("earmarked", 0);
    job.kill();
    let earmarked = |job: &Telling| {
        let said = job.said().into_iter().rev().find(|said| said["event"] == "earmarked").unwrap();
        base_units(&said["amount"]).unwrap()
    };
    let all = earmarked(&job);
    // An hour is left, which is what an order with parts of half an hour may take. Next to nothing of the budget is free.
    let budget = format!("{}.{:018}", (all + 1_000) / 10_u128.pow(18), (all + 1_000) % 10_u128.pow(18));
    let mut job = market.job("requestor", 200, &["--subtask-timeout", "00:29:11", "--budget", &budget]);
    job.wait_after("earmarked", 0);
    job.kill();
    let more = earmarked(&job) - all;
    assert!((1..=1_000).contains(&more), "{more} base units on top of {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l2_a_restored_requestor_signs_nothing_where_it_may_have_signed_before() {
    let mut market = Market::that_holds();
    market.requestor("first", &key(0x22));
    // More parts than there are lanes for: the job is not over when its first order is.
    let mut job = market.job("first", 600, &["--subtasks", "6"]);
    job.wait_after("earmarked", 0);
    // Of everything that follows the backup knows nothing.
    let backup = market.folder("backup.db").to_string_lossy().into_owned();
    symbolon_tests::ensure_ok(&market.run("first", &["backup", &backup, "--with-keys"])).unwrap();
    market.let_compile();
    // Nobody of an order's quorum has to settle it.
    let mut order = Value::Null;
    until("an order with both of its vouchers", || {
        let paid = market.providers.iter().flat_map(Telling::said).filter(|said| said["event"] == "vouchered");
        let orders: Vec<Value> = paid.map(|said| said["order"].clone()).collect();
        let twice = orders.iter().find(|order| orders.iter().filter(|other| other == order).count() > 1);
        order = twice.cloned().unwrap_or_default();
        twice.is_some()
    });
    job.kill();
    let before = signed(&market, "first");
    assert!(before.keys().all(|(_, lane, epoch)| *lane < 2 && *epoch == 0) && !before.is_empty(), "{before:?}");

    let (rpc, newest) = (market.rpc(), serde_json::json!(["latest", false]));
    let latest = rpc_proxy::call(&rpc, "eth_getBlockByNumber", newest).await.unwrap();
    let base_fee = latest["baseFeePerGas"].as_str().unwrap().trim_start_matches("0x").to_owned();
    claim_by_hand(&mut market, &order, u128::from_str_radix(&base_fee, 16).unwrap());

    std::fs::create_dir(market.folder("second")).unwrap();
    std::fs::copy(market.folder("first").join("password"), market.folder("second").join("password")).unwrap();
    symbolon_tests::ensure_ok(&market.run("second", &["restore", &backup])).unwrap();
    assert!(signed(&market, "second").is_empty());
    // The job of the backup stands in the way of another one until it is given up.
    let jobs = market.ask("second", &["job", "ls"]);
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    market.ask("second", &["job", "drop", job["id"].as_str().unwrap(), "--yes"]);
    for round in 0..2 {
        let job = market.job("second", 200, &[]);
        let said = market.finish("second", job);
        let warns = said.iter().any(|said| {
            let words = said["message"].as_str().unwrap_or_default();
            said["event"] == "warning" && words.contains("lanes below 2 hold earmarks")
        });
        let after = signed(&market, "second");
        if round == 0 {
            assert!(warns, "{said:#?}");
            // In lanes of their own.
            assert!(after.keys().all(|(_, lane, epoch)| *lane >= 2 && *epoch == 0), "{after:?}");
        } else {
            // Where the chain has cleared them by a release.
            assert!(after.keys().any(|(.., epoch)| *epoch > 0), "{after:?}");
        }
        // Never again in an epoch in which the folder that is gone promised something.
        assert!(!before.is_empty() && before.keys().all(|place| !after.contains_key(place)), "{before:?} {after:?}");
    }
    claims_by_the_chains_time(&market).await;
}

/// Providers claim before channels expire by the chain's time, whatever their own clock says.
async fn claims_by_the_chains_time(market: &Market) {
    let counts = |event| market.providers.iter().map(|provider| provider.count(event)).collect::<Vec<_>>();
    let (vouchered, claimed) = (counts("vouchered"), counts("claimed"));
    let mut job = market.job("second", 600, &["--subtasks", "6"]);
    until("a voucher", || counts("vouchered") > vouchered);
    job.kill();
    let paid: Vec<usize> =
        (0..vouchered.len()).filter(|index| counts("vouchered")[*index] > vouchered[*index]).collect();
    assert!(!paid.is_empty() && counts("claimed") == claimed, "nobody claims so little so soon");
    // Channels of an hour are about to expire; the clocks of the providers stay behind.
    rpc_proxy::call(&market.rpc(), "evm_increaseTime", serde_json::json!([3_570])).await.unwrap();
    rpc_proxy::call(&market.rpc(), "evm_mine", serde_json::json!([])).await.unwrap();
    until("their claims", || paid.iter().all(|index| counts("claimed")[*index] > claimed[*index]));
}

/// What a provider would claim, does not, and claims by hand.
fn claim_by_hand(market: &mut Market, order: &Value, base_fee: u128) {
    let paid =
        |provider: &Telling| provider.said().iter().any(|said| said["event"] == "vouchered" && said["order"] == *order);
    let index = market.providers.iter().position(paid).expect("somebody was paid by voucher");
    let name = provider_name(index);
    let dry = |market: &Market, more: &[&str]| {
        let mut args = vec!["channel", "claim", "--dry-run"];
        args.extend(more);
        market.ask(&name, &args)
    };
    let of = |lines: &[Value], action: &str| lines.iter().filter(|line| line["action"] == action).count();
    let waits = |lines: &[Value], why: &str| lines.iter().any(|line| !line["reason"][why].is_null());
    // While it runs: everything is worth it, nothing below the least asked for, nothing where gas is too dear.
    let free = dry(market, &[]);
    assert_eq!(of(&free, "claim"), 1, "{free:?}");
    assert_eq!(
        (&free[0]["why"], &free[0]["fee"], &free[0]["transaction"]),
        (&"worth".into(), &Value::Null, &Value::Null)
    );
    assert!(!free[0]["entries"].as_array().unwrap().is_empty());
    let least = dry(market, &["--claim-at", "1000"]);
    assert!(of(&least, "claim") == 0 && waits(&least, "below_minimum"), "{least:?}");
    // What makes a claim cost thousandths of a token, whatever gas costs on this devnet by now.
    let dear = format!("{}", 100_000_000_000 / base_fee.max(1));
    let dear = dry(market, &["--ether-price", &dear, "--max-fee-ratio", "0.01%"]);
    assert!(of(&dear, "claim") == 0 && waits(&dear, "fee_too_high"), "{dear:?}");
    let weighed = dry(market, &["--ether-price", "0.001", "--max-fee-ratio", "0.9"]);
    assert_eq!(of(&weighed, "claim"), 1);
    assert!(weighed[0]["fee"].is_string(), "{weighed:?}");
    ensure_refused(&market.run(&name, &["channel", "claim"]), 3, "in use").unwrap();

    market.providers[index].stop();
    let value = base_units(&free[0]["value"]).unwrap();
    // What is too dear says what it would have collected, and which flag lets it.
    let dear = market.run(&name, &["channel", "claim", "--max-gas-price", "0.000000001"]);
    ensure_refused(&dear, 4, "tokens are not collected").unwrap();
    assert!(String::from_utf8_lossy(&dear.stderr).contains("--max-gas-price"), "{dear:?}");
    let done = market.ask(&name, &["channel", "claim"]);
    assert_eq!(of(&done, "claim"), 1, "{done:?}");
    assert!(done[0]["transaction"].as_str().unwrap().starts_with("0x"));
    let earned = market.ask(&name, &["earnings"]);
    assert!(base_units(&earned.last().unwrap()["claimed"]).unwrap() >= value);
    let again = market.ask(&name, &["channel", "claim"]);
    assert_eq!(of(&again, "claim"), 0, "{again:?}");
    market.providers[index] = market.provider(index);
    market.providers[index].wait_after("provider_ready", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l12_a_channel_that_another_copy_of_the_key_used_stops_and_goes_on_when_a_person_says_so() {
    let market = Market::that_holds();
    let key = key(0x23);
    market.requestor("requestor", &key);
    let mut job = market.job("requestor", 200, &[]);
    job.wait_after("earmarked", 0);
    job.kill();
    market.let_compile();
    let channels = market.ask("requestor", &["channel", "ls"]);
    let live = |channel: &&Value| channel["allocated"] != "0";
    let payee: Address = channels.iter().find(live).unwrap()["payee"].as_str().unwrap().parse().unwrap();

    // A new folder with the same key: it finds everything, and signs nothing in those channels.
    crate::market::party_of(&market.folder("twin"), &key);
    let found = market.ask("twin", &["channel", "find"]);
    assert_eq!(found.len(), channels.len());
    assert!(found.iter().all(|channel| channel["role"] == "payer"));
    let says = |lines: &[Value], words: &str| {
        lines.iter().any(|line| line["says"].as_str().is_some_and(|says| says.contains(words)))
    };
    let told = market.ask("twin", &["doctor"]);
    assert!(says(&told, "channels that this folder does not know"), "{told:?}");
    let job = market.job("twin", 200, &[]);
    market.finish("twin", job);
    let theirs = signed(&market, "twin");
    assert!(theirs.keys().all(|(_, lane, _)| *lane >= 2) && !theirs.is_empty(), "{theirs:?}");
    assert!(market.ask("requestor", &["channel", "find"]).len() >= theirs.len(), "the twin's are strange here");

    // Somebody signs with the key, and the voucher is claimed.
    let (rpc, total) = (market.rpc(), Amount::from_u64(1_000_000));
    let lane = claim_foreign_voucher(&market, &rpc, &key, payee, total).await;
    let mut job = market.job("requestor", 200, &[]);
    job.wait_warning("a channel is stopped", 0);
    job.kill();
    let stopped = |market: &Market| {
        let channels = market.ask("requestor", &["channel", "ls"]);
        channels.into_iter().filter(|channel| !channel["stopped"].is_null()).collect::<Vec<_>>()
    };
    let halted = stopped(&market);
    assert_eq!(halted.len(), 1, "{halted:?}");
    assert_eq!((&halted[0]["payee"], &halted[0]["next"]["what"]), (&serde_json::json!(payee), &"look".into()));
    let doctor = market.run("requestor", &["doctor"]);
    assert_eq!(doctor.status.code(), Some(6));
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("is stopped") && said.contains(&format!("symbolon channel resume {payee}")), "{said}");

    let payee = payee.to_string();
    let shy = market.run("requestor", &["channel", "resume", &payee]);
    ensure_refused(&shy, 3, "somebody has to say yes to this").unwrap();
    let shown: Value = serde_json::from_slice(&shy.stdout).unwrap();
    assert_eq!(shown["claimed"], total.to_string());
    assert!(shown["says"].as_str().unwrap().contains("another copy of its key"));
    assert!(base_units(&shown["at_risk"]).unwrap() > 0);
    assert_eq!(stopped(&market).len(), 1, "nothing is changed by looking");
    let done = market.ask("requestor", &["channel", "resume", &payee, "--yes"]);
    assert_eq!(done.last().unwrap()["resumed"], 1);
    assert!(stopped(&market).is_empty());
    ensure_refused(&market.run("requestor", &["channel", "resume", &payee, "--yes"]), 3, "no channel with them")
        .unwrap();
    // It is used again, from what the chain shows on. Who is drawn decides the seed: one of them draws this payee.
    let mut above = None;
    for seed in 0..6_u8 {
        let job = market.job("requestor", 200, &["--draw-seed", &format!("{:#066x}", seed)]);
        assert_eq!(job.warnings("a channel is stopped"), 0);
        market.finish("requestor", job);
        above = signed(&market, "requestor").get(&(lane.0, lane.1, 0)).copied();
        if above.is_some() {
            break;
        }
    }
    assert!(above.expect("the channel that goes on pays") >= total, "{above:?}");

    // What is earmarked comes back from the key alone.
    let mut job = market.job("requestor", 200, &[]);
    job.wait_after("earmarked", 0);
    job.kill();
    crate::market::party_of(&market.folder("lost"), &key);
    let waiting = market.ask("lost", &["channel", "release"]);
    assert_eq!((&waiting[0]["released"], waiting[0]["waiting"].as_u64() > Some(0)), (&"0".into(), true));
    rpc_proxy::call(&rpc, "evm_increaseTime", serde_json::json!([4_000])).await.unwrap();
    rpc_proxy::call(&rpc, "evm_mine", serde_json::json!([])).await.unwrap();
    let released = market.ask("lost", &["channel", "release"]);
    assert!(base_units(&released[0]["released"]).unwrap() > 0);
    assert_eq!((&released[0]["waiting"], &released[0]["searched"]), (&0.into(), &true.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_l12_a_stopped_channel_does_not_keep_a_job_from_paying_the_others() {
    let market = Market::new();
    let key = key(0x25);
    market.requestor("requestor", &key);
    let job = |more: &[&str]| market.job("requestor", 600, &[&["--subtasks", "6", "--budget", "60"], more].concat());
    // Decided and not paid: the first orders are settled by their quorums.
    let mut silent = job(&["--withhold-vouchers"]);
    silent.wait_after("earmarked", 0);
    let first: Value = serde_json::json!(symbolon_primitives::Royalty::NONE.lane(0));
    let mut settled = Value::Null;
    until("a settlement in a first lane", || {
        let channels = market.ask("requestor", &["channel", "ls"]);
        let paid = |channel: &&Value| channel["lane"] == first && channel["claimed"] != "0";
        settled = channels.iter().find(paid).cloned().unwrap_or_default();
        !settled.is_null()
    });
    silent.kill();

    // Somebody else signs with the key on one of them.
    let payee: Address = settled["payee"].as_str().unwrap().parse().unwrap();
    let total = Amount::new(base_units(&settled["allocated"]).unwrap() - 1).unwrap();
    claim_foreign_voucher(&market, &market.rpc(), &key, payee, total).await;
    let said = market.finish("requestor", job(&[]));
    let stopped = |said: &&Value| said["message"].as_str().is_some_and(|said| said.contains("a channel is stopped"));
    assert_eq!(said.iter().filter(stopped).count(), 1, "{said:#?}");
    let report = said.iter().find(|said| said["event"] == "job_done").unwrap();
    assert_eq!(report["orders"].as_u64(), Some(6), "{report}");
    let vouchered = signed(&market, "requestor");
    assert!(!vouchered.contains_key(&(payee, 0, 0)), "{vouchered:?}");
    assert!(vouchered.keys().any(|(other, lane, _)| *other != payee && *lane == 0), "{vouchered:?}");
}

/// Claims a voucher that the folder never signed, on the first lane with an earmark for `payee`; answers which.
async fn claim_foreign_voucher(market: &Market, rpc: &str, key: &Key, payee: Address, total: Amount) -> (Address, u16) {
    let network: Value = serde_json::from_slice(&std::fs::read(market.devnet.network()).unwrap()).unwrap();
    let address = |name: &str| network[name].as_str().unwrap().parse::<Address>().unwrap();
    let view = ChainView::connect(&ChainConfig::new(rpc, DEVNET_CHAIN_ID)).await.unwrap();
    let head = view.head().await.unwrap();
    let vault = view.vault(address("vault"), address("token"), &head).await.unwrap();
    let lane: Lane = symbolon_primitives::Royalty::NONE.lane(0);
    let state = vault.channel(key.address(), payee, lane, &head).await.unwrap();
    assert!(state.allocated > total);
    let voucher = Voucher { payee, lane, cumulative: total, epoch: state.epoch };
    let signed = SignedVoucher { voucher, signature: key.sign(&voucher.digest(&vault.domain())) };
    let store = StoreHandle::open(market.folder("somebody")).await.unwrap();
    let config = TxConfig { poll: Duration::from_millis(20), confirmations: 3, ..TxConfig::default() };
    let somebody = Key::from_bytes(&[0x7f; 32]).unwrap();
    market.devnet.fund(&somebody.address().to_string()).unwrap();
    let txs = TxManager::new(view, Arc::new(somebody), store.clone(), config);
    txs.run(ops::claim_for(vault.address(), &[signed], ops::tag(&[b"foreign"]))).await.unwrap();
    store.close().await;
    (payee, lane.number16())
}
