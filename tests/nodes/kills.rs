//! Kills of providers and of the requestor, in one job after another.

use crate::{
    check::{Broken, Fact, Memory, Sums, adds_up, facts, under_way},
    world::{Node, PARTS, World, samples, was_killed},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};
use symbolon_store::Point;
use symbolon_tests::rpc_proxy::{Fault, Rule};

/// An order takes three; one more lets a job go on without one of them.
const PROVIDERS: usize = 4;
/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(400);
/// Time for everybody to collect once the job is done.
const COLLECTED: Duration = Duration::from_secs(120);
/// How often commands may fail for want of providers or of the chain, which kills and faults bring about, before a run
/// counts as broken.
const FAILURES: usize = 12;
/// How a command ends when the chain does not answer, or refuses.
const CHAIN: i32 = 4;

/// Points that no node passes, and why: Commits stand in the snapshot of their order; only a store from a backup clears
/// epochs. Nothing else may be missing.
const NEVER: [&str; 4] = ["PutCommit-Staged", "PutCommit-Durable", "ClearEpoch-Staged", "ClearEpoch-Durable"];

/// Where a nonce is taken back, because the endpoint refuses to send.
const REQUEUED: [&str; 2] = ["RequeueTx-Staged", "RequeueTx-Durable"];

/// When to kill a node, counted from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// At the n-th passing of a point of its store.
    Point(String, u64),
    /// So much later.
    After(Duration),
    /// A moment after it says that something happened.
    Said(&'static str, Duration),
    /// When a claim of its own is signed and not mined.
    ClaimUnderWay,
}

fn at(point: &str, passing: u64) -> Target {
    Target::Point(point.to_owned(), passing)
}

/// A node and what becomes of it.
struct Doomed {
    node: Node,
    targets: VecDeque<Target>,
    current: Option<Target>,
    started: Instant,
    heard: usize,
    /// When it is started next.
    start_at: Option<Instant>,
    /// Its endpoint has begun to do worse than to be late.
    troubled: bool,
}

impl Doomed {
    fn new(node: Node, targets: VecDeque<Target>) -> Self {
        let now = Instant::now();
        Self { node, targets, current: None, started: now, heard: 0, start_at: Some(now), troubled: false }
    }

    /// Whether it has said that it is ready, in this life or in any.
    fn was_ready(&self, in_this_life: bool) -> bool {
        let from = if in_this_life { self.heard } else { 0 };
        self.node.events[from..].iter().any(|event| event["event"] == "provider_ready")
    }

    /// Its endpoint refuses what it sends next, and fails here and there.
    fn trouble(&mut self, dice: &mut Dice) {
        self.troubled = true;
        let busy = Fault::Error(-32_000, "busy");
        self.node.way.inject(Rule::always(busy.clone()).on("eth_sendRawTransaction").times(1));
        for fault in [busy, Fault::Half] {
            self.node.way.inject(Rule::always(fault).after(dice.below(150)).times(1));
        }
    }

    fn start(&mut self) {
        self.current = self.targets.pop_front();
        (self.started, self.start_at) = (Instant::now(), None);
        self.node.hear();
        self.heard = self.node.events.len();
        match &self.current {
            Some(Target::Point(point, passing)) => self.node.start_doomed(Some((point, *passing)), None),
            // As people run it.
            _ => self.node.start(),
        }
    }

    /// Whether it is to die now, by a hand from outside.
    fn is_due(&self, world: &World) -> bool {
        match &self.current {
            Some(Target::After(after)) => self.started.elapsed() >= *after,
            Some(Target::Said(what, after)) => {
                let said = self.node.events[self.heard..].iter().any(|event| event["event"] == **what);
                // Looked at often enough for the moment after to be one.
                if said {
                    std::thread::sleep(*after);
                }
                said
            }
            Some(Target::ClaimUnderWay) => under_way(world, &self.node, &["claim"]),
            Some(Target::Point(..)) | None => false,
        }
    }
}

/// What a run was like.
#[derive(Default)]
struct Told {
    kills: Vec<(String, Target)>,
    facts: BTreeSet<Fact>,
    left: Vec<(String, Target)>,
    failures: usize,
    sums: Option<Sums>,
    /// The kinds of faults that nodes met on the way to the chain.
    troubles: BTreeSet<&'static str>,
}

impl Told {
    /// The points of nonces taken back at which something was killed.
    fn requeued(&self) -> impl Iterator<Item = &'static str> {
        REQUEUED.into_iter().filter(|point| {
            let is_there = |target: &Target| matches!(target, Target::Point(name, _) if name == point);
            self.kills.iter().any(|(_, target)| is_there(target))
        })
    }
}

/// Splitmix64: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

fn seed() -> u64 {
    let given = std::env::var("SYMBOLON_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) * 1_000_003)
}

/// One job to its end through all kills, and everything that must hold of it.
/// `targets` has the requestor's first; `pause` is the longest a dead node stays dead, in milliseconds.
fn job(world: &World, run: &str, seed: u64, targets: Vec<VecDeque<Target>>, pause: u64) -> Result<Told, Broken> {
    let mut dice = Dice(seed);
    let mut told = Told::default();
    let mut memory = Memory::default();
    let mut targets = targets.into_iter();
    let (requestor, wav) = world.requestor(&format!("requestor-{run}"), PROVIDERS);
    let mut requestor = Doomed::new(requestor, targets.next().unwrap_or_default());
    let mut providers: Vec<Doomed> = (0..PROVIDERS)
        .map(|number| {
            Doomed::new(world.provider(&format!("provider-{run}-{number}")), targets.next().unwrap_or_default())
        })
        .collect();
    let payer = requestor.node.address;
    for one in providers.iter().chain([&requestor]) {
        for _ in 0..4 {
            let late = Fault::Late(dice.millis(50));
            one.node.way.inject(Rule::always(late).after(dice.below(300)).times(1));
        }
    }
    requestor.trouble(&mut dice);
    let until = Instant::now() + PATIENCE;
    let (mut finished, mut collecting) = (false, Instant::now());
    loop {
        // The requestor waits until everybody has been there once.
        let may_start = !finished && providers.iter().all(|one| one.was_ready(false));
        // A provider that cannot stake does not begin. One that has begun keeps on, whatever its endpoint does.
        for one in providers.iter_mut().filter(|one| !one.troubled && one.was_ready(false)) {
            one.trouble(&mut dice);
        }
        for index in 0..=PROVIDERS {
            let is_requestor = index == PROVIDERS;
            let one = if is_requestor { &mut requestor } else { &mut providers[index] };
            one.node.hear();
            if !one.node.is_running() {
                if one.start_at.is_some_and(|at| at <= Instant::now()) && (!is_requestor || may_start) {
                    one.start();
                }
                continue;
            }
            let ended = one.node.ended();
            let killed = match ended {
                Some(status) => was_killed(status),
                None if one.is_due(world) => {
                    one.node.kill();
                    true
                }
                None => continue,
            };
            let name = one.node.name.clone();
            if killed {
                // The sound is where it belongs and the job is forgotten: the same command would begin anew.
                let is_over = is_requestor && one.current == Some(at("DeleteRecord-Durable", 1));
                told.kills.extend(one.current.take().map(|target| (name, target)));
                one.start_at = Some(Instant::now() + dice.millis(pause.max(1)));
                let (node, others): (&Node, Vec<&Node>) = if is_requestor {
                    (&requestor.node, providers.iter().map(|one| &one.node).collect())
                } else {
                    (&providers[index].node, Vec::new())
                };
                if is_requestor {
                    memory.of_requestor(node)?;
                } else {
                    memory.of_provider(node, payer)?;
                }
                told.facts.extend(facts(world, &requestor.node, &others, node)?);
                if is_over {
                    (finished, collecting, requestor.start_at) = (true, Instant::now(), None);
                }
                continue;
            }
            let status = ended.map(|status| status.to_string()).unwrap_or_default();
            // A provider that finds no chain does not begin.
            let no_chain = ended.is_some_and(|status| status.code() == Some(CHAIN)) && !one.was_ready(true);
            if is_requestor && ended.is_some_and(|status| status.success()) {
                (finished, collecting) = (true, Instant::now());
            } else if (is_requestor || no_chain) && told.failures < FAILURES {
                // Without enough providers, or where the chain fails, a job fails. The same command goes on with it.
                told.failures += 1;
                // What it was to be killed at, it may come to in its next life.
                if let Some(target) = one.current.take() {
                    one.targets.push_front(target);
                }
                one.start_at = Some(Instant::now() + Duration::from_secs(1));
            } else {
                return Err(format!("{name} ended by itself, {status}: {}", one.node.last_words()));
            }
        }
        if finished {
            let nodes: Vec<&Node> = providers.iter().map(|one| &one.node).collect();
            told.sums = adds_up(world, &requestor.node, &nodes)?;
            if told.sums.is_some() && nodes.iter().all(|node| node.is_running()) {
                break;
            }
            if collecting.elapsed() > COLLECTED {
                return Err(format!("not everybody was paid within {COLLECTED:?}, after {:?}", told.kills));
            }
        }
        if Instant::now() > until {
            let said = requestor.node.last_words();
            return Err(format!("no end in {PATIENCE:?} after {:?}: {said}", told.kills));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // A part is given out anew only when its order came to nothing, and a quorum that forms after that is paid all the same.
    let undecided = requestor.node.orders("order_undecided").len();
    let orders = told.sums.as_ref().map_or(0, |sums| sums.orders);
    if !(PARTS..=PARTS + undecided).contains(&orders) {
        return Err(format!(
            "{orders} orders were paid for {PARTS} parts, {undecided} came to nothing: {:?}",
            told.kills
        ));
    }
    let spoken = std::fs::read(&wav).map_err(|error| format!("no sound: {error}"))?;
    if samples(&spoken) != world.samples_here() {
        return Err("the sound is not that of a local run".to_owned());
    }
    for one in &mut providers {
        one.node.kill();
        memory.of_provider(&one.node, payer)?;
    }
    memory.of_requestor(&requestor.node)?;
    memory.agree()?;
    told.troubles.extend(providers.iter().chain([&requestor]).flat_map(|one| one.node.way.fired().into_keys()));
    for one in providers.iter_mut().chain([&mut requestor]) {
        let name = one.node.name.clone();
        told.left.extend(one.current.take().into_iter().chain(one.targets.drain(..)).map(|left| (name.clone(), left)));
    }
    Ok(told)
}

fn or_panic(seed: u64, run: u64, told: Result<Told, Broken>) -> Told {
    told.unwrap_or_else(|why| panic!("seed {seed}, run {run}: {why}"))
}

#[test]
fn e2e_sym_24_sym_27_l3_l4_nodes_that_are_killed_lose_and_pay_nothing_twice() {
    let (world, seed) = (World::new(), seed());
    let mut dice = Dice(seed);
    let wanted = BTreeSet::from([Fact::OrderOut, Fact::VoucherUnsaid, Fact::NotServed, Fact::ClaimUnderWay]);
    let (mut seen, mut kills, mut requeued, mut troubles) = (BTreeSet::new(), 0, BTreeSet::new(), BTreeSet::new());
    let mut all = false;
    // Who is drawn, and who serves first, is chance: a further job or two may be needed for every kind of kill.
    for run in 0..4 {
        let targets = vec![
            // A send was refused; an order is stored and not sent; a voucher is stored and not sent; and some time.
            VecDeque::from([
                at("RequeueTx-Durable", 1),
                at("Promise-Durable", 2),
                at("PutVoucher-Durable", 1),
                Target::After(dice.millis(6_000)),
            ]),
            VecDeque::from([at("PutVoucher-Durable", 1), Target::ClaimUnderWay]),
            VecDeque::from([Target::Said("computed", dice.millis(50)), Target::ClaimUnderWay]),
            VecDeque::from([at("AddTxAttempt-Durable", 2), at("RequeueTx-Staged", 1)]),
        ];
        let began = Instant::now();
        let told = or_panic(seed, run, job(&world, &format!("short-{run}"), seed.wrapping_add(run), targets, 2_000));
        requeued.extend(told.requeued());
        let sums = told.sums.unwrap();
        eprintln!(
            "seed {seed}: {} kills in {:?}: {:?}; left {:?}; {} failures; {:?}; {sums:?}",
            told.kills.len(),
            began.elapsed(),
            told.kills,
            told.left,
            told.failures,
            told.facts
        );
        kills += told.kills.len();
        seen.extend(told.facts);
        troubles.extend(told.troubles);
        all = seen.is_superset(&wanted) && requeued.len() == REQUEUED.len() && kills >= 5;
        if all {
            break;
        }
    }
    assert!(all, "seed {seed}: {kills} kills fell on {seen:?}, {requeued:?}");
    assert_eq!(troubles, BTreeSet::from(["error", "half", "late"]), "seed {seed}");
    if let Some(wanted) = std::env::var("SYMBOLON_NODE_KILLS").ok().and_then(|kills| kills.parse().ok()) {
        over_and_over(&world, seed, wanted);
    }
}

/// The long form: every point that nodes pass, at every passing, and random moments.
fn over_and_over(world: &World, seed: u64, wanted: usize) {
    let mut dice = Dice(seed);
    let passed = recorded(world);
    let everywhere: BTreeSet<&str> = passed.iter().flatten().map(|(name, _)| name.as_str()).collect();
    let all: Vec<String> = Point::all().map(|point| point.to_string()).collect();
    let never: BTreeSet<&str> = all.iter().map(String::as_str).filter(|name| !everywhere.contains(name)).collect();
    assert_eq!(never, BTreeSet::from(NEVER), "points that no node passes prove nothing");
    let (mut kills, mut run, mut extra) = (0, 0, 0);
    let (mut by_point, mut known): (BTreeMap<String, usize>, BTreeSet<Fact>) = Default::default();
    let mut pending: [VecDeque<Target>; 2] = Default::default();
    while kills < wanted {
        run += 1;
        for (pending, passed) in pending.iter_mut().zip(&passed) {
            if pending.is_empty() {
                // Each passing of each point comes up, in a random order.
                let mut every: Vec<Target> = passed
                    .iter()
                    .flat_map(|(name, count)| (1..=*count).map(move |passing| at(name, passing)))
                    .collect();
                while !every.is_empty() {
                    let chosen = usize::try_from(dice.below(every.len() as u64)).unwrap();
                    pending.push_back(every.swap_remove(chosen));
                }
            }
        }
        let mut take = |from: &mut VecDeque<Target>, count: usize, longest: u64| -> VecDeque<Target> {
            let mut taken: VecDeque<Target> = (0..count).filter_map(|_| from.pop_front()).collect();
            taken.push_back(Target::After(dice.millis(longest)));
            taken
        };
        let mut targets = vec![take(&mut pending[0], 3, 12_000)];
        targets.extend((0..PROVIDERS - 1).map(|_| take(&mut pending[1], 2, 30_000)));
        let pause = [500, 3_000, 12_000][usize::try_from(dice.below(3)).unwrap()];
        let told = or_panic(seed, run, job(world, &run.to_string(), seed.wrapping_add(run), targets, pause));
        for (_, target) in &told.kills {
            let name = match target {
                Target::Point(name, _) => name.clone(),
                _ => "random".to_owned(),
            };
            *by_point.entry(name).or_default() += 1;
        }
        kills += told.kills.len();
        known.extend(told.facts);
        let sums = told.sums.unwrap();
        extra += sums.orders.saturating_sub(PARTS);
        eprintln!("run {run}: {kills} kills, {} failures, {sums:?}, {known:?}", told.failures);
    }
    eprintln!("seed {seed}: {kills} kills in {run} runs, {extra} orders beyond one a part; {by_point:?}");
    let facts = [
        Fact::OrderOut,
        Fact::VoucherUnsaid,
        Fact::PaidNotFetched,
        Fact::Computing,
        Fact::Unpaid,
        Fact::NotServed,
        Fact::ClaimUnderWay,
        Fact::MoneyUnderWay,
    ];
    let missing: Vec<Fact> = facts.into_iter().filter(|fact| !known.contains(fact)).collect();
    assert!(wanted < 200 || missing.is_empty(), "seed {seed}: no kill ever fell on {missing:?}");
}

/// How often each point is passed without kills: by the requestor, and most often by a provider.
fn recorded(world: &World) -> [Vec<(String, u64)>; 2] {
    let files = [world.place.path().join("passed-requestor"), world.place.path().join("passed-provider")];
    let mut providers: Vec<Node> =
        (0..PROVIDERS).map(|number| world.provider(&format!("provider-recorded-{number}"))).collect();
    for (number, provider) in providers.iter_mut().enumerate() {
        let file = (number == 0).then_some(files[1].as_path());
        provider.start_doomed(None, file);
    }
    providers.iter_mut().for_each(Node::until_ready);
    let (mut requestor, _) = world.requestor("requestor-recorded", PROVIDERS);
    // A send that is refused: a job fails of it, and goes on with the same command; a claim is tried again.
    for node in providers.iter().chain([&requestor]) {
        let refused = Rule::always(Fault::Error(-32_000, "busy")).on("eth_sendRawTransaction").times(1);
        node.way.inject(refused);
    }
    let until = Instant::now() + PATIENCE;
    for is_refused in [true, false] {
        requestor.start_doomed(None, Some(&files[0]));
        let status = requestor.end_within(until.saturating_duration_since(Instant::now()));
        assert_eq!(status.success(), !is_refused, "{}", requestor.last_words());
    }
    // A transaction ends in the journal only when no reorganisation can take it back any more.
    while !std::fs::read_to_string(&files[1]).unwrap().contains("FinishTx-Durable") {
        assert!(Instant::now() < until, "no transaction ended");
        std::thread::sleep(Duration::from_millis(200));
    }
    files.map(|file| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
        counts.into_iter().collect()
    })
}
