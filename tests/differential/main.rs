//! The Rust model of the protocol against the deployed bytecode: the same random steps, the same outcome, the same
//! state after each.
//!
//! `SYMBOLON_DEEP=1` runs 100,000 operations (any other number: that many), `SYMBOLON_SEED` names the first seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]
#![allow(missing_docs)]

mod chain;
mod generator;
mod model;
mod pair;
mod step;

use alloy_sol_types::{Panic, SolError, SolInterface};
use model::Fault;
use pair::{Divergence, Facts, generate, shorten};
use std::{num::NonZero, ops::Range, thread, time::Instant};
use step::Call;
use symbolon_contracts::{
    court::CourtErrors,
    vault::{VaultErrors, VaultEvents},
};

/// Operations of one history, after which everybody starts anew.
const HISTORY: usize = 500;
/// Operations in the ordinary run.
const SHORT: usize = 2_500;
/// Operations that a deep run asks for.
const DEEP: usize = 100_000;
/// Where the seeds of an ordinary run begin.
const FIRST_SEED: u64 = 1;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// A divergence as somebody can work with it: few steps, and the seed.
fn report(seed: u64, fault: Option<Fault>, found: Divergence) -> (usize, String) {
    let long = found.steps.len();
    let found = shorten(seed, found, fault, 400);
    let steps: Vec<String> = found.steps.iter().map(|step| format!("  {step:?}")).collect();
    let text = format!("seed {seed}, step {long}: {}\nshown by these steps:\n{}", found.what, steps.join("\n"));
    (steps.len(), text)
}

/// Every history of these seeds, on every core.
fn histories_of(seeds: Range<u64>) -> Vec<Result<Facts, (u64, Divergence)>> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let every = |first: usize| {
        let mut facts = Facts::default();
        for seed in seeds.clone().skip(first).step_by(workers) {
            generate(seed, HISTORY, None, &mut facts).map_err(|found| (seed, found))?;
        }
        Ok(facts)
    };
    thread::scope(|scope| {
        let started: Vec<_> = (0..workers)
            .map(|first| {
                scope.spawn({
                    let every = &every;
                    move || every(first)
                })
            })
            .collect();
        started.into_iter().map(|worker| worker.join().expect("a worker ends")).collect()
    })
}

/// What must have happened for the agreement to mean anything.
fn check(facts: &Facts, deep: bool) {
    print(facts);
    assert_eq!(facts.calls.len(), Call::KINDS, "a call was never made");
    for (call, (succeeded, refused)) in &facts.calls {
        // The vault's own slash is the court's alone, and a sound token refuses no approval.
        assert!(*succeeded > 0 || *call == "vault.slash", "{call} never succeeded");
        assert!(*refused > 0 || *call == "approve", "{call} was never refused");
    }
    for note in [
        "a bound key's instrument paid",
        "a channel was released after its expiry",
        "a channel was released before its expiry",
        "a claim paid out",
        "a permit failed and the deposit went on",
        "a quorum paid an author",
        "a quorum's row could not be paid",
        "a quorum's row paid",
        "a reporter's part reached its limit",
        "a revoked key's instrument paid",
        "a running timer was cancelled",
        "a voucher was signed by nobody",
        "an earmark was topped up",
        "an instrument had nothing new to say",
        "an instrument named another epoch",
        "an instrument was clamped",
    ] {
        assert!(facts.noted(note) > 0, "never: {note}");
    }
    for topic in VaultEvents::SELECTORS {
        let name = VaultEvents::name_by_selector(*topic).unwrap_or("?");
        assert!(facts.event(*topic) > 0, "no {name}");
    }
    for selector in VaultErrors::selectors().chain([Panic::SELECTOR]) {
        let name = VaultErrors::name_by_selector(selector).unwrap_or("Panic");
        // Only a token that calls back meets the lock.
        assert!(facts.error(selector) > 0 || !deep || name == "Reentered", "never refused with {name}");
    }
}

fn print(facts: &Facts) {
    for (call, (succeeded, refused)) in &facts.calls {
        println!("{call}: {succeeded} succeeded, {refused} refused");
    }
    for (note, count) in &facts.notes {
        println!("{count} times {note}");
    }
    for topic in VaultEvents::SELECTORS {
        println!("event {}: {}", VaultEvents::name_by_selector(*topic).unwrap_or("?"), facts.event(*topic));
    }
    for selector in VaultErrors::selectors().chain(CourtErrors::selectors()).chain([Panic::SELECTOR]) {
        let name = VaultErrors::name_by_selector(selector).or(CourtErrors::name_by_selector(selector));
        println!("error {}: {}", name.unwrap_or("Panic"), facts.error(selector));
    }
}

#[test]
fn sym_09_the_deployed_bytecode_does_what_the_model_says() {
    let count = match number("SYMBOLON_DEEP").and_then(|count| usize::try_from(count).ok()) {
        None | Some(0) => SHORT,
        Some(1) => DEEP,
        Some(count) => count,
    };
    let first = number("SYMBOLON_SEED").unwrap_or(FIRST_SEED);
    let (started, mut facts) = (Instant::now(), Facts::default());
    let histories = u64::try_from(count.div_ceil(HISTORY)).unwrap();
    for part in histories_of(first..first + histories) {
        match part {
            Ok(part) => facts.add(part),
            Err((seed, found)) => panic!("{}", report(seed, None, found).1),
        }
    }
    println!("{} operations, seeds {first} to {}, {:?}", facts.steps, first + histories - 1, started.elapsed());
    check(&facts, count >= DEEP);
}

#[test]
fn every_planted_mistake_of_the_model_is_found() {
    for fault in Fault::ALL {
        let found = (FIRST_SEED..FIRST_SEED + 8).find_map(|seed| {
            let found = generate(seed, HISTORY, Some(fault), &mut Facts::default()).err()?;
            Some((seed, found))
        });
        let Some((seed, found)) = found else { panic!("nobody noticed {fault:?}") };
        println!("{fault:?}: seed {seed}, step {}", found.steps.len());
    }
}

#[test]
fn a_divergence_is_shown_by_few_steps() {
    let fault = Some(Fault::NoClamp);
    let mut found = None;
    for seed in FIRST_SEED..FIRST_SEED + 8 {
        if let Err(divergence) = generate(seed, HISTORY, fault, &mut Facts::default()) {
            found = Some((seed, divergence));
            break;
        }
    }
    let (seed, long) = found.expect("found above, too");
    let (steps, text) = report(seed, fault, long);
    // Mint, approve, deposit, open, claim.
    assert!(steps <= 8, "{text}");
    assert!(text.contains(&format!("seed {seed}")));
}
