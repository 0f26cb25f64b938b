//! What the doctor names: how bad it is, what it is about, and a command that mends it and that there is.

use crate::market::{Market, Telling, party_of, provider_name, until};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use symbolon_primitives::{Address, Amount, Key, Lane, Signer, Timestamp, Voucher};
use symbolon_settlement::anvil::DEVNET_CHAIN_ID;
use symbolon_store::{Direction, Look, StoreHandle, TxAttempt, TxPlan, VoucherKey, VoucherRow, Write};
use symbolon_tests::{
    ensure_ok,
    rpc_proxy::{self, Fault, RpcProxy, Rule},
    run,
};

/// What the doctor says in a folder, one finding a line; its exit code says whether something is wrong.
fn examined(market: &Market, name: &str, more: &[&str]) -> Vec<Value> {
    let told = market.run(name, &[&["doctor"], more].concat());
    let found: Vec<Value> =
        String::from_utf8_lossy(&told.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let wrong = found.iter().any(|finding| finding["level"] == "wrong");
    assert_eq!(told.status.code(), Some(if wrong { 6 } else { 0 }), "{told:?}");
    found
}

fn is(finding: &Value, level: &str, about: &str, says: &str) -> bool {
    finding["level"] == level && finding["about"] == about && finding["says"].as_str().unwrap().contains(says)
}

/// A finding of this kind, with the beginning of its mend, and the mend holds.
#[track_caller]
fn names(found: &[Value], (level, about, says): (&str, &str, &str), mend: &str) {
    let finding = found.iter().find(|finding| is(finding, level, about, says));
    let finding = finding.unwrap_or_else(|| panic!("no {level} {about} {says:?} in {found:#?}"));
    let told = finding["mend"].as_str().unwrap();
    assert!(told.contains(mend), "no {mend:?} in {told:?}");
    exists(told);
}

/// Nothing is said against it.
#[track_caller]
fn is_quiet(found: &[Value], about: &str) {
    let bad: Vec<&Value> =
        found.iter().filter(|finding| finding["about"] == about && finding["level"] != "fine").collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Nothing of this kind but what is fine; it was looked at. Of channels the store tells that there are some.
#[track_caller]
fn is_fine(found: &[Value], about: &str) {
    let fine = |finding: &&Value| match about {
        "channel" => is(finding, "fine", "store", "channels") && !is(finding, "fine", "store", " 0 channels"),
        _ => is(finding, "fine", about, ""),
    };
    assert!(found.iter().any(|finding| fine(&finding)), "nothing is said of any {about}: {found:#?}");
    is_quiet(found, about);
}

fn help(path: &[&str]) -> String {
    let told = run(&[path, &["--help"]].concat()).unwrap();
    String::from_utf8_lossy(&told.stdout).into_owned()
}

/// Every command of a mend is one of the program's, and every flag one of a command's.
#[track_caller]
fn exists(mend: &str) {
    if mend.contains("timedatectl") {
        return;
    }
    let mut flags = help(&["provider", "run"]);
    let commands: Vec<&str> = mend.split("symbolon ").skip(1).collect();
    assert!(!commands.is_empty(), "no command in {mend:?}");
    for command in commands {
        let words: Vec<&str> = command.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        let mut path: Vec<&str> = Vec::new();
        for word in words {
            let longer = [path.as_slice(), &[word]].concat();
            let told = help(&longer);
            if word.is_empty() || !told.contains(&format!("Usage: symbolon {}", longer.join(" "))) {
                break;
            }
            path = longer;
            flags += &told;
        }
        assert!(!path.is_empty(), "symbolon {command:?} is no command");
    }
    let named = mend.split(|c: char| !c.is_ascii_lowercase() && c != '-').filter(|word| word.starts_with("--"));
    for flag in named.filter(|flag| flag.len() > 2) {
        assert!(flags.contains(flag), "{flag} is no flag");
    }
}

async fn call(market: &Market, method: &str, params: Value) -> Value {
    rpc_proxy::call(&market.rpc(), method, params).await.unwrap()
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Puts the chain's clock there, back as well as ahead, with a block that shows it.
async fn set_time(market: &Market, at: u64) {
    call(market, "evm_setTime", json!([at])).await;
    call(market, "evm_mine", json!([])).await;
}

async fn newest(market: &Market) -> u64 {
    let number = call(market, "eth_blockNumber", json!([])).await;
    u64::from_str_radix(number.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn e2e_sym_25_l11_n6_n11_the_doctor_names_each_trouble_and_the_command_that_mends_it() {
    let mut market = Market::new();
    let key = Key::from_bytes(&[0x41; 32]).unwrap();
    party_of(&market.folder("party"), &key);
    no_gas(&market, &key);
    endpoints(&market).await;
    clocks(&market).await;
    stuck(&market, &key).await;
    earmarks(&mut market).await;
}

fn no_gas(market: &Market, key: &Key) {
    let address = key.address().to_string();
    let mend = format!("symbolon devnet fund {address}");
    names(&examined(market, "party", &[]), ("wrong", "gas", "and one claim costs"), &mend);
    market.devnet.fund(&address).unwrap();
    is_fine(&examined(market, "party", &[]), "gas");
}

async fn endpoints(market: &Market) {
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(RpcProxy::start(&market.rpc()).await.unwrap());
    }
    let urls: Vec<String> = proxies.iter().map(RpcProxy::url).collect();
    let [one, two, three] = [0, 1, 2].map(|index| &proxies[index]);
    let all = urls.join(",");
    let ask = |rpc: &str| examined(market, "party", &["--rpc", rpc]);
    const TRY: &str = "symbolon doctor --rpc URL";

    let found = ask(&all);
    assert!(found.iter().any(|finding| is(finding, "fine", "endpoint", "3 of 3 endpoints")), "{found:#?}");
    // One of three goes on being named, and work goes on; with two of them it does not.
    one.set_listening(false);
    let host = urls[0].trim_start_matches("http://");
    let says = format!("{host} cannot be reached (2 of 3 endpoints are good, 2 have to be)");
    let found = ask(&all);
    names(&found, ("soon", "endpoint", &says), TRY);
    assert!(found.iter().all(|finding| finding["level"] != "wrong"), "{found:#?}");
    two.inject(Rule::always(Fault::WrongChain(5)));
    let found = ask(&all);
    names(&found, ("wrong", "endpoint", "serves chain 5, not 31337 (1 of 3 endpoints are good"), TRY);
    names(&found, ("wrong", "endpoint", "cannot be reached (1 of 3 endpoints are good"), TRY);
    assert!(found.iter().any(|finding| is(finding, "fine", "gas", "ether")), "one endpoint tells of gas: {found:#?}");
    names(&ask(&urls[1]), ("wrong", "endpoint", "serves chain 5, not 31337"), TRY);
    one.heal();
    names(&ask(&all), ("soon", "endpoint", "serves chain 5, not 31337 (2 of 3"), TRY);
    two.heal();
    // One that has not moved while the others did.
    let early = newest(market).await;
    set_time(market, unix_now() - 60).await;
    call(market, "anvil_mine", json!(["0x14"])).await;
    three.inject(Rule::always(Fault::Frozen(early)));
    names(&ask(&all), ("soon", "endpoint", "was seen before (2 of 3"), TRY);
    three.heal();
    // An only one that stands still is no clock that is ahead.
    three.inject(Rule::always(Fault::Frozen(newest(market).await)));
    let found = ask(&urls[2]);
    names(&found, ("wrong", "endpoint", "the endpoint is stale"), TRY);
    is_quiet(&found, "clock");
    three.heal();
    set_time(market, unix_now()).await;
    is_fine(&ask(&all), "endpoint");
}

async fn clocks(market: &Market) {
    let ask = || examined(market, "party", &[]);
    const SET: &str = "timedatectl set-ntp true";
    is_fine(&ask(), "clock");
    // What was called fine: more than members allow for, and no more than two minutes.
    set_time(market, unix_now() - 30).await;
    let found = ask();
    names(&found, ("wrong", "clock", "s ahead of the chain's"), SET);
    is_fine(&found, "endpoint");
    set_time(market, unix_now() + 30).await;
    names(&ask(), ("wrong", "clock", "s behind the chain's"), SET);
    // So far ahead that the chain's newest block is not believed.
    set_time(market, unix_now() - 1_000).await;
    names(&ask(), ("wrong", "clock", "s ahead of the chain's"), SET);
    set_time(market, unix_now()).await;
    is_fine(&ask(), "clock");
}

/// A folder with the party's key and journal, in which everything was planned and signed `by_secs` earlier.
async fn aged(market: &Market, key: &Key, by_secs: u64) {
    let open = {
        let look = Look::open(&market.folder("party")).unwrap();
        look.view().open_txs(DEVNET_CHAIN_ID, key.address()).unwrap()
    };
    party_of(&market.folder("aged"), key);
    let earlier = |at: Timestamp| Timestamp(at.0 - by_secs);
    let mut writes = Vec::new();
    for tx in open {
        let id = tx.plan.id;
        writes.push(Write::PlanTx(TxPlan { at: earlier(tx.plan.at), ..tx.plan }));
        let attempts = tx.attempts.into_iter();
        writes
            .extend(attempts.map(|one| Write::AddTxAttempt { id, attempt: TxAttempt { at: earlier(one.at), ..one } }));
    }
    let store = StoreHandle::open(market.folder("aged")).await.unwrap();
    store.write(writes).await.unwrap();
    store.close().await;
}

async fn stuck(market: &Market, key: &Key) {
    ensure_ok(&market.run("party", &["vault", "deposit", "1"])).unwrap();
    call(market, "evm_setIntervalMining", json!([0])).await;
    let waiting = || market.ask("party", &["tx", "ls"]).iter().any(|tx| tx["state"] == "waiting");
    let mut withdraw = Telling::start(market.command("party", &["vault", "withdraw", "0.25"]));
    until("a transaction that waits", waiting);
    withdraw.kill();
    is_fine(&examined(market, "party", &[]), "transaction");
    // It is no older for a chain that is a quarter of an hour ahead, and whose gas is above what it pays.
    call(market, "anvil_setNextBlockBaseFeePerGas", json!(["0x9184e72a000"])).await;
    set_time(market, unix_now() + 900).await;
    is_fine(&examined(market, "party", &[]), "transaction");
    // The same journal, begun a quarter of an hour earlier.
    aged(market, key, 900).await;
    let found = examined(market, "aged", &[]);
    names(&found, ("wrong", "transaction", "1 wait for more than 10 min, the oldest a withdraw"), "symbolon tx push");
    call(market, "anvil_setNextBlockBaseFeePerGas", json!(["0x3b9aca00"])).await;
    set_time(market, unix_now()).await;
    call(market, "evm_setIntervalMining", json!([1])).await;
    ensure_ok(&market.run("party", &["tx", "push"])).unwrap();
    is_fine(&examined(market, "party", &[]), "transaction");
}

/// The channel of a folder that has an order open, as `symbolon channel ls` shows it.
fn open_channel(market: &Market, name: &str) -> Option<Value> {
    market.ask(name, &["channel", "ls"]).into_iter().find(|channel| !channel["open_order"].is_null())
}

async fn earmarks(market: &mut Market) {
    let key = Key::from_bytes(&[0x42; 32]).unwrap();
    market.requestor("requestor", &key);
    let mut job = market.job("requestor", 6_000, &["--budget", "60"]);
    job.wait_after("order_out", 0);
    until("an order that is taken", || market.providers.iter().any(|provider| provider.count("order_taken") > 0));
    job.kill();
    market.providers.iter_mut().for_each(Telling::kill);
    let taken = (0..3).map(provider_name).find_map(|name| Some((open_channel(market, &name)?, name)));
    let (channel, provider) = taken.unwrap();
    is_fine(&examined(market, "requestor", &[]), "channel");
    is_fine(&examined(market, &provider, &[]), "channel");

    limits(market, &provider, channel["payer"].as_str().unwrap()).await;

    let expiry = channel["expiry"].as_u64().unwrap();
    set_time(market, expiry - 100).await;
    const UNPAID: &str = "have no voucher, and its earmark expires in";
    names(&examined(market, &provider, &[]), ("soon", "channel", UNPAID), "symbolon provider run");
    is_fine(&examined(market, "requestor", &[]), "channel");
    set_time(market, expiry - 40).await;
    names(&examined(market, &provider, &[]), ("wrong", "channel", UNPAID), "symbolon provider run");
    let found = examined(market, "requestor", &[]);
    names(&found, ("soon", "channel", "as far as they are not claimed, and an order is open"), "symbolon job resume");

    // Part of it is promised: that has to be claimed, and is.
    set_time(market, expiry - 50).await;
    promise(market, &key, &channel, &provider).await;
    const UNCLAIMED: &str = "are not claimed, and its earmark expires in";
    names(&examined(market, &provider, &[]), ("wrong", "channel", UNCLAIMED), "symbolon channel claim");
    let claims = market.ask(&provider, &["channel", "claim"]);
    assert!(claims.iter().any(|line| line["action"] == "claim" && !line["transaction"].is_null()), "{claims:#?}");
    let found = examined(market, &provider, &[]);
    assert!(!found.iter().any(|finding| is(finding, "wrong", "channel", "are not claimed")), "{found:#?}");

    set_time(market, expiry + 120).await;
    let found = examined(market, &provider, &[]);
    names(&found, ("wrong", "channel", "and the payer may release them now"), "symbolon provider run");
    names(&examined(market, "requestor", &[]), ("soon", "channel", "can come back"), "symbolon channel release");
    ensure_ok(&market.run("requestor", &["channel", "release"])).unwrap();
    is_fine(&examined(market, "requestor", &[]), "channel");
    is_fine(&examined(market, &provider, &[]), "channel");
}

/// What settling an order costs is said beside the limit, and whether it is more, wherever a provider looks (SYM-25).
async fn limits(market: &Market, provider: &str, payer: &str) {
    call(market, "anvil_setNextBlockBaseFeePerGas", json!(["0x3b9aca00"])).await;
    call(market, "evm_mine", json!([])).await;
    let below = |args: &[&str], price: &[&str]| {
        let shown = market.ask(provider, &[args, price].concat());
        let with = shown.iter().find(|line| !line["limit"].is_null()).unwrap_or_else(|| panic!("no limit: {shown:#?}"));
        assert_eq!(with["limit"], "60000000000000000000");
        assert_ne!(with["settle_gas_wei"], "0");
        assert_eq!(with["settle_gas_cost"].is_null(), price.is_empty());
        with["limit_below_gas"].clone()
    };
    let words = |args: &[&str], price: &[&str]| {
        let told = market.command(provider, &[args, price].concat());
        let mut plain = symbolon_tests::command(&[]).unwrap();
        plain.args(told.get_args().filter(|word| *word != "--json")).env("SYMBOLON_NETWORK", market.devnet.network());
        let told = plain.output().unwrap();
        [told.stdout, told.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
    };
    const SAID: &str = "the exposure limit, 60 tokens, is below";
    const DEAR: &[&str] = &["--ether-price", "1000000000"];
    const CHEAP: &[&str] = &["--ether-price", "0.001"];
    for args in [&["exposure"][..], &["channel", "show", payer]] {
        assert_eq!(below(args, DEAR), true);
        assert_eq!(below(args, CHEAP), false);
        assert_eq!(below(args, &[]), Value::Null);
        assert!(words(args, DEAR).contains(SAID), "{}", words(args, DEAR));
        assert!(!words(args, CHEAP).contains(SAID));
        assert!(words(args, &[]).contains("is told with --ether-price"));
    }
    let mend = "symbolon provider run --exposure";
    names(&examined(market, provider, DEAR), ("soon", "exposure", SAID), mend);
    is_fine(&examined(market, provider, CHEAP), "exposure");
    is_fine(&examined(market, provider, &[]), "exposure");
}

/// Keeps a voucher that the payer signed for a little of the channel, as its node would.
async fn promise(market: &Market, key: &Key, channel: &Value, provider: &str) {
    let network: Value = serde_json::from_slice(&std::fs::read(market.devnet.network()).unwrap()).unwrap();
    let vault: Address = network["vault"].as_str().unwrap().parse().unwrap();
    let domain = symbolon_primitives::Domain { chain_id: network["chain_id"].as_u64().unwrap(), vault };
    let payee: Address = channel["payee"].as_str().unwrap().parse().unwrap();
    let lane: Lane = serde_json::from_value(channel["lane"].clone()).unwrap();
    let epoch = u32::try_from(channel["epoch"].as_u64().unwrap()).unwrap();
    let voucher = Voucher { payee, lane, cumulative: Amount::from_u64(1_000_000), epoch };
    let row = VoucherRow {
        key: VoucherKey { direction: Direction::Received, payer: key.address(), payee, lane, epoch },
        cumulative: voucher.cumulative,
        signature: key.sign(&voucher.digest(&domain)),
        order: None,
        created_at: Timestamp(unix_now()),
    };
    let store = StoreHandle::open(market.folder(provider)).await.unwrap();
    store.write(vec![Write::PutVoucher(row)]).await.unwrap();
    store.close().await;
}
