//! A requestor that dies in the middle of its job, and the same command again.

use crate::{
    check::{Memory, adds_up, settlements},
    world::{Node, PARTS, STAKE, World, order_of, samples, was_killed},
};
use serde_json::Value;
use std::time::{Duration, Instant};
use symbolon_node::{Candidate, DrawRules, grouping};
use symbolon_primitives::{Address, Amount, Nonce, keccak256};
use symbolon_tests::{base_units, ensure_ok, ensure_refused, run, text};

const PROVIDERS: usize = 4;
const SOON: Duration = Duration::from_secs(120);

fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not happen within {within:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The job runs until it has said so, and dies.
fn dies_after(requestor: &mut Node, what: &str, more: &[&str]) -> Value {
    requestor.start_with(more);
    let event = requestor.until(what, SOON, |event| event["event"] == what);
    requestor.kill();
    event
}

#[test]
fn e2e_sym_23_sym_27_a_job_goes_on_where_it_was_cut_off_and_pays_for_nothing_twice() {
    let world = World::new();
    let mut providers: Vec<Node> = (0..PROVIDERS).map(|number| world.provider(&format!("provider-{number}"))).collect();
    providers.iter_mut().for_each(Node::start);
    let (mut requestor, wav) = world.requestor("requestor", PROVIDERS);
    providers.iter_mut().for_each(Node::until_ready);
    let mut memory = Memory::default();
    let jobs = |node: &Node, words: &[&str]| {
        let (data, password) = (text(&node.data), text(&node.data.join("password")));
        let begins = ["--json", "job", "--network", &world.network];
        run(&[&begins, words, &["--data", &data, "--password-file", &password]].concat()).unwrap()
    };

    // Money is set aside, nothing is out.
    dies_after(&mut requestor, "earmarked", &[]);
    memory.of_requestor(&requestor).unwrap();
    let listed: Value = serde_json::from_str(&ensure_ok(&jobs(&requestor, &["ls"])).unwrap()).unwrap();
    assert_eq!((listed["parts"].as_u64(), listed["done"].as_u64()), (Some(PARTS as u64), Some(0)));
    assert_eq!(listed["command"][0], "flite");

    // Another job in the same folder is not mixed with it, and is told so.
    let other = |name: &str, value: &str| {
        let mut words: Vec<String> = requestor.words().into_iter().map(str::to_owned).collect();
        let at = words.iter().position(|word| word == name).unwrap();
        words[at + 1] = value.to_owned();
        run(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    };
    ensure_refused(&other("--batch", "2"), 3, "2 parts at once instead of 1").unwrap();
    ensure_refused(&other("--subtasks", "5"), 3, "5 parts instead of 4").unwrap();
    let words = std::fs::read(world.place.path().join("text.txt")).unwrap();
    std::fs::write(world.place.path().join("text.txt"), [&words[1..], b"s"].concat()).unwrap();
    ensure_refused(&other("--batch", "1"), 3, "other inputs or arguments").unwrap();
    std::fs::write(world.place.path().join("text.txt"), &words).unwrap();

    // Orders are out and nobody pays: their quorums settle.
    let out = dies_after(&mut requestor, "order_out", &["--withhold-vouchers"]);
    let order = order_of(&out).unwrap();
    until("the settlement of what was out", SOON, || {
        let head = world.runtime.block_on(world.vault.chain().head()).unwrap();
        settlements(&world, head.number).unwrap().keys().any(|settled| settled.to_string() == order)
    });
    memory.of_requestor(&requestor).unwrap();

    // Some parts are here and paid, others are not.
    let done = dies_after(&mut requestor, "order_done", &[]);
    assert!(requestor.events.iter().any(|event| event["event"] == "resumed"));
    memory.of_requestor(&requestor).unwrap();
    assert!(done["units_done"].as_u64().unwrap() < PARTS as u64, "nothing was left to do");
    let listed: Value = serde_json::from_str(&ensure_ok(&jobs(&requestor, &["ls"])).unwrap()).unwrap();
    let here = listed["done"].as_u64().unwrap();
    assert!((1..PARTS as u64).contains(&here), "{listed}");

    // The command that the folder itself knows goes on with it, to the end.
    let before = requestor.events.len();
    let ended = jobs(&requestor, &["resume"]);
    let said = ensure_ok(&ended).unwrap();
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(requestor.events.len(), before);
    let resumed = events.iter().find(|event| event["event"] == "resumed").unwrap();
    assert_eq!(resumed["units_done"].as_u64(), Some(here), "what was here is not fetched again");
    let report = events.iter().find(|event| event["event"] == "job_done").unwrap();
    assert_eq!(samples(&std::fs::read(&wav).unwrap()), world.samples_here());
    assert!(ensure_ok(&jobs(&requestor, &["ls"])).unwrap().is_empty(), "a finished job is not kept");
    ensure_refused(&jobs(&requestor, &["resume"]), 3, "no job of this data folder was cut off").unwrap();

    // Everybody is paid, once, and the report says what the chain says.
    let nodes: Vec<&Node> = providers.iter().collect();
    let mut sums = None;
    until("everybody's payment", SOON, || {
        sums = adds_up(&world, &requestor, &nodes).unwrap();
        sums.is_some()
    });
    let sums = sums.unwrap();
    assert_eq!(sums.orders, PARTS, "a part was paid twice");
    assert!(sums.settled >= 1, "{sums:?}");
    assert_eq!(base_units(&report["paid"]).unwrap(), sums.paid.get());
    assert_eq!(report["orders"].as_u64(), Some(PARTS as u64));
    let of = |member: &str| base_units(&report[member]).unwrap();
    assert!(of("earmarked") >= of("paid") + of("released"));
    memory.of_requestor(&requestor).unwrap();
    for provider in &mut providers {
        provider.kill();
        memory.of_provider(provider, requestor.address).unwrap();
    }
    memory.agree().unwrap();
}

#[test]
fn e2e_sym_23_what_a_quorum_settled_while_its_requestor_was_away_is_not_given_out_anew() {
    let world = World::new();
    let mut providers: Vec<Node> = (0..3).map(|number| world.provider(&format!("provider-{number}"))).collect();
    providers.iter_mut().for_each(Node::start);
    let (mut requestor, _) = world.requestor_of("requestor", 3, 3);
    providers.iter_mut().for_each(Node::until_ready);
    requestor.start_with(&["--withhold-vouchers"]);
    let mut out = 0;
    requestor.until("send both orders out", SOON, |event| {
        out += usize::from(event["event"] == "order_out");
        out == 2
    });
    requestor.kill();
    let orders = requestor.orders("order_out");
    until("the settlement of what was out", SOON, || {
        let head = world.runtime.block_on(world.vault.chain().head()).unwrap();
        let settled = settlements(&world, head.number).unwrap();
        orders.iter().all(|order| settled.keys().any(|settled| settled.to_string() == *order))
    });
    // Who could say what it came to is away for longer than anybody is tried for.
    providers.iter_mut().for_each(Node::kill);
    requestor.start();
    // Nor is there anybody for the third part.
    requestor.until("wait for what is out", SOON, |event| {
        event["message"].as_str().is_some_and(|said| said.contains("are waited for") && said.contains("no offers"))
    });
    let next = requestor.until("say what it does about them", SOON, |event| {
        let waits = event["message"].as_str().is_some_and(|said| said.contains("was paid on chain"));
        waits || event["event"] == "order_undecided"
    });
    assert_eq!(next["event"], "warning", "{next}");
    providers.iter_mut().for_each(Node::start);
    assert!(requestor.end_within(SOON).success(), "{}", requestor.last_words());
    let nodes: Vec<&Node> = providers.iter().collect();
    let mut sums = None;
    until("everybody's payment", SOON, || {
        sums = adds_up(&world, &requestor, &nodes).unwrap();
        sums.is_some()
    });
    assert_eq!(sums.unwrap().orders, 3, "a part was paid twice");
}

#[test]
fn e2e_sym_24_members_are_heard_and_paid_while_providers_are_looked_for() {
    let world = World::new();
    let mut providers: Vec<Node> = (0..3).map(|number| world.provider(&format!("provider-{number}"))).collect();
    providers.iter_mut().for_each(Node::start);
    // More offers than there are: each search takes all the time it has.
    let (mut requestor, _) = world.requestor("requestor", 99);
    providers.iter_mut().for_each(Node::until_ready);
    let order = order_of(&dies_after(&mut requestor, "order_out", &[])).unwrap();
    until("the members' results", SOON, || {
        providers.iter_mut().for_each(Node::hear);
        providers.iter().filter(|provider| provider.orders("computed").contains(&order)).count() == 2
    });
    requestor.start();
    let next = requestor.until("see it through", SOON, |event| {
        event["event"] == "offers" || event["event"] == "order_done" && order_of(event).as_ref() == Some(&order)
    });
    assert_eq!(next["event"], "order_done", "{next}");
}

#[test]
fn e2e_a_job_that_is_given_up_makes_room_for_another() {
    let world = World::new();
    let mut providers: Vec<Node> = (0..3).map(|number| world.provider(&format!("provider-{number}"))).collect();
    providers.iter_mut().for_each(Node::start);
    let (mut requestor, _) = world.requestor("requestor", 3);
    providers.iter_mut().for_each(Node::until_ready);
    requestor.start();
    requestor.until("send an order out", SOON, |event| event["event"] == "order_out");
    // Told to stop, it says how to go on.
    requestor.interrupt();
    let status = requestor.end_within(SOON);
    assert!(!was_killed(status));
    let said = requestor.last_words();
    assert!(said.contains("hint: go on with it: symbolon flite"), "{said}");
    let (data, network) = (text(&requestor.data), world.network.clone());
    let drop = |more: &[&str]| run(&[&["job", "--network", &network, "drop", "--data", &data], more].concat()).unwrap();
    // With orders out somebody has to say so.
    ensure_refused(&drop(&[]), 3, "somebody has to say yes to this").unwrap();
    let dropped = drop(&["--yes"]);
    ensure_ok(&dropped).unwrap();
    assert!(String::from_utf8_lossy(&dropped.stderr).contains("is given up"));
    ensure_refused(&drop(&["--yes"]), 3, "no such job").unwrap();
    // The same command begins anew: nothing of the old one is taken up.
    requestor.start();
    let event = requestor.until("begin", SOON, |event| event["event"] == "deposited" || event["event"] == "resumed");
    assert_eq!(event["event"], "deposited");
}

#[test]
fn e2e_sym_21_a_provider_that_was_away_for_too_long_gives_its_order_up_and_works_on() {
    let world = World::new();
    let mut providers: Vec<Node> = (0..3).map(|number| world.provider(&format!("provider-{number}"))).collect();
    let mut everybody: Vec<Address> = providers.iter().map(|provider| provider.address).collect();
    everybody.sort();
    let stake = Amount::new(STAKE).unwrap();
    let candidates: Vec<Candidate> =
        everybody.iter().map(|provider| Candidate { provider: *provider, stake, network_group: None }).collect();
    // The first provider is to compute both of the first orders.
    let draws = |word: u32| {
        let secret = keccak256(&word.to_be_bytes());
        let rules = DrawRules { redundancy: 2, lanes: 2, grouping: grouping(true), secret };
        let computes = |number| rules.draw(&candidates, number).unwrap()[..2].contains(&providers[0].address);
        (computes(0) && computes(1)).then_some(secret)
    };
    let secret = Nonce::from_bytes((0..1_000).find_map(draws).unwrap()).to_string();
    // Its registration, its two books of channels, the agreement, and the first order, which it dies upon.
    providers[0].start_doomed(Some(("PutRecord-Durable", 5)), None);
    providers[1..].iter_mut().for_each(Node::start);
    let (mut requestor, wav) = world.requestor("requestor", 3);
    providers.iter_mut().for_each(Node::until_ready);
    requestor.start_with(&["--draw-seed", &secret]);
    assert!(was_killed(providers[0].end_within(SOON)));
    let open = |node: &Node| {
        let (data, network) = (text(&node.data), world.network.as_str());
        let listed = run(&["--json", "channel", "--network", network, "ls", "--data", &data]).unwrap();
        let said = ensure_ok(&listed).unwrap();
        let mut channels = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        channels.any(|channel| !channel["open_order"].is_null())
    };
    assert!(open(&providers[0]), "it had stored no order");
    // The reserve takes its place; there are two left for three seats, and the job ends for now.
    let status = requestor.end_within(SOON);
    assert_eq!(status.code(), Some(5), "{}", requestor.last_words());
    providers[0].start();
    // Long before the settle-by, its lane is free again.
    until("the giving up", Duration::from_secs(30), || !open(&providers[0]));
    let log = std::fs::read_to_string(providers[0].data.join("log.txt")).unwrap();
    assert!(log.contains("given up: its time to commit is over"), "{log}");
    requestor.start();
    assert!(requestor.end_within(SOON).success(), "{}", requestor.last_words());
    assert_eq!(samples(&std::fs::read(wav).unwrap()), world.samples_here());
}
