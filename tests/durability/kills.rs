//! Real processes, ended with SIGKILL at every point where a crash can fall.

use crate::{
    link::Hole,
    run::{Broken, Targets, Told, World, run},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    process::Command,
    time::{Duration, Instant},
};

/// Points that no run of these parties passes, and why: these parties work by orders, not by the period; the release
/// goes out by its own transaction, whose points are passed; nobody forfeits anything. Nothing else may be missing.
const NEVER: [&str; 6] = [
    "ChannelHosting-before",
    "ChannelHosting-after",
    "ChannelRelease-before",
    "ChannelRelease-after",
    "ChannelTell-before",
    "ChannelTell-after",
];

/// Kills in one life story of a party.
const IN_A_ROW: usize = 8;

fn seed() -> u64 {
    let given = std::env::var("SYMBOLON_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) * 1_000_003)
}

fn listed() -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_symbolon-party")).args(["points", "-"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn nobody() -> Vec<Targets> {
    vec![Targets::new(); 3]
}

/// How often each point is passed by a payer and by a payee, in the order of first passing.
fn recorded(world: &World, seed: u64) -> [Vec<(String, u64)>; 2] {
    let told = run(world, seed, nobody(), None, true).unwrap_or_else(|Broken(why)| panic!("seed {seed}: {why}"));
    assert!(told.kills.is_empty());
    [0, 1].map(|party| {
        let mut counts: Vec<(String, u64)> = Vec::new();
        for point in &told.passed[party] {
            match counts.iter_mut().find(|(name, _)| name == point) {
                Some((_, count)) => *count += 1,
                None => counts.push((point.clone(), 1)),
            }
        }
        counts
    })
}

#[test]
fn sym_24_every_listed_point_is_passed() {
    let (world, seed) = (World::new(), seed());
    let recorded = recorded(&world, seed);
    let passed: BTreeSet<&str> = recorded.iter().flatten().map(|(name, _)| name.as_str()).collect();
    let listed = listed();
    let missing: Vec<&str> = listed.iter().map(String::as_str).filter(|name| !passed.contains(name)).collect();
    assert_eq!(missing, NEVER, "points that nothing passes prove nothing");
    assert!(passed.iter().all(|name| listed.iter().any(|listed| listed == name)), "a point that is not listed");
}

#[test]
fn sym_24_l3_l4_l8_l10_kill_9_at_every_point_loses_and_contradicts_nothing() {
    let (world, seed) = (World::new(), seed());
    let wanted: usize = std::env::var("SYMBOLON_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(0);
    let began = Instant::now();
    let recorded = recorded(&world, seed);
    // In the short form each point once; in the long form each passing of each, over and over.
    let pending = |round: u64| -> [Targets; 2] {
        recorded.each_ref().map(|points| {
            let passings = points.iter().flat_map(|(name, count)| {
                let count = if wanted == 0 { 1 } else { (*count).min(1 + round * 3) };
                (1..=count).map(|at| (name.clone(), at))
            });
            passings.collect()
        })
    };
    let (mut kills, mut runs, mut round) = (0, 0_u64, 0);
    let mut by_point: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let [mut payer, mut payee] = pending(round);
        let mut without = 0;
        while (!payer.is_empty() || !payee.is_empty()) && (wanted == 0 || kills < wanted) {
            let take = |from: &mut Targets| -> Targets { (0..IN_A_ROW).map_while(|_| from.pop_front()).collect() };
            let targets = vec![take(&mut payer), take(&mut payee), take(&mut payee)];
            runs += 1;
            let this = seed.wrapping_add(runs);
            let told = run(&world, this, targets.clone(), None, false)
                .unwrap_or_else(|Broken(why)| panic!("seed {this} of {seed}, {targets:?}: {why}"));
            let Told { kills: done, left, .. } = told;
            for (_, point, _) in &done {
                *by_point.entry(point.clone()).or_default() += 1;
            }
            if wanted > 0 && kills / 100 < (kills + done.len()) / 100 {
                eprintln!("{} kills in {runs} runs, {:?}", kills + done.len(), began.elapsed());
            }
            kills += done.len();
            // What was not reached comes up again, in another company.
            without = if done.is_empty() { without + 1 } else { 0 };
            assert!(without < 6, "seed {seed}: nothing reaches {payer:?} {payee:?} {left:?}");
            if without < 3 {
                for (party, targets) in left.into_iter().enumerate() {
                    if party == 0 { payer.extend(targets) } else { payee.extend(targets) }
                }
            }
        }
        round += 1;
        if kills >= wanted {
            break;
        }
    }
    let missed: Vec<&String> =
        recorded.iter().flatten().map(|(name, _)| name).filter(|name| !by_point.contains_key(*name)).collect();
    eprintln!("seed {seed}: {kills} kills at {} points in {runs} runs, {:?}", by_point.len(), began.elapsed());
    assert!(missed.is_empty(), "seed {seed}: never killed at {missed:?}");
    let troubles = world.troubles();
    assert_eq!(troubles, BTreeSet::from(["error", "forwarded-and-refused", "half", "late"]), "seed {seed}");
    assert!(wanted == 0 || kills >= wanted);
    assert!(began.elapsed() < Duration::from_secs(36_000));
}

#[test]
fn sym_24_canary_a_planted_hole_is_found() {
    let (world, seed) = (World::new(), seed());
    let at = |point: &str| -> Targets { VecDeque::from([(point.to_owned(), 1)]) };
    // Said before it is stored: the process dies in between.
    let mut seeds = seed..;
    let mut fresh = || seeds.next().unwrap();
    for (payer, payee, what) in [
        (at("ChannelKeep-before"), Targets::new(), "a payer that sends a voucher first"),
        (Targets::new(), at("ChannelKeep-before"), "a payee that acknowledges a voucher first"),
    ] {
        let targets = vec![payer.clone(), payee.clone(), Targets::new()];
        let seed = fresh();
        let found = run(&world, seed, targets.clone(), Some(Hole::SaidBeforeStored), false);
        let Err(Broken(why)) = found else { panic!("seed {seed}: {what} was not found") };
        assert!(why.starts_with("L3"), "seed {seed}: {what} was found as: {why}");
        // The same kill of an honest party is survived.
        let seed = fresh();
        let told = run(&world, seed, targets, None, false).unwrap_or_else(|Broken(why)| panic!("seed {seed}: {why}"));
        assert_eq!(told.kills.len(), 1);
    }
}
