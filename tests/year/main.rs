//! A simulated year of requestors and providers: the real machines of channel,
//! quorum and claim policy on a model of the chain, with everything that goes
//! wrong mixed in, seeded. Nobody loses more than the stated exposure, no honest
//! party misses a deadline, and every job ends.
//!
//! The ordinary run is a short one. `SYMBOLON_YEAR=200` runs 200 requestors and 200
//! providers for 365 days (any other number: that many); `SYMBOLON_SEED` names the first
//! seed, `SYMBOLON_SEEDS` how many there are, `SYMBOLON_DAYS` another length.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod chain;
mod dice;
mod faults;
mod hostile;
#[allow(dead_code, reason = "shared with the differential tests, which use the rest")]
#[path = "../differential/model.rs"]
mod model;
mod provider;
mod requestor;
#[allow(dead_code, reason = "shared with the differential tests, which use the rest")]
#[path = "../differential/step.rs"]
mod step;
mod world;

use world::{Size, World};

/// Prints the seed when a year panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::io::Write::write_all(&mut std::io::stderr(), format!("seed {}\n", self.0).as_bytes()).unwrap();
        }
    }
}

/// What has to happen at least once, or the year shows nothing.
const FACTS: &[&str] = &[
    "orders issued",
    "orders taken",
    "orders decided",
    "orders undecided",
    "orders paid: their bytes are served",
    "orders given up",
    "orders that ended paid",
    "orders that ended refunded",
    "agreed orders that ended paid",
    "orders refused: owed too low",
    "orders refused: exposure",
    "orders nobody signed",
    "orders that owe too little",
    "vouchers kept",
    "vouchers said again",
    "vouchers refused: signature",
    "vouchers refused: epoch",
    "vouchers refused: lane",
    "vouchers refused: above the earmark",
    "quorums settled on chain",
    "claims",
    "claims before an expiry",
    "claims of watchtowers",
    "earmarks",
    "epochs ended",
    "releases asked for",
    "releases with consent",
    "releases after the expiry",
    "reserves called",
    "replicas missing",
    "dissents",
    "second commits seen",
    "floods",
    "silences: to an order",
    "silences: before the commit",
    "silences: before the answer",
    "silences: before the result",
    "silences: to a voucher",
    "silences: to who asks for an order back",
    "silences: to who asks for a release",
    "lies about fuel",
    "baits of copiers",
    "copies",
    "late commits",
    "quorums collected in time",
    "cheats: silence from the order on",
    "cheats: idle reserves are left waiting",
    "cheats: no voucher",
    "cheats: an old voucher",
    "cheats: above the earmark",
    "cheats: another lane",
    "cheats: another epoch",
    "cheats: a malleated signature",
    "cheats: a stranger's signature",
    "cheats: one unit short",
    "cheats: its own vouchers on chain",
    "cheats: a release it asked for and does not make",
    "days away with a watchtower",
    "messages lost",
    "messages doubled",
    "messages overtaken",
    "stale readings",
    "transactions an endpoint took and forgot",
    "endpoints lagging",
    "endpoints swallowing transactions",
    "processes started again",
    "writes refused by a full disk",
    "accusations",
    "providers slashed",
    "providers vanished for days",
    "parties vanished for hours",
    "crashes before the store",
    "crashes after the store",
    "endpoints down",
    "disks full",
    "clock jumps",
    "fee spikes",
    "reorganisations",
    "transactions dropped by reorganisations",
    "transactions mined",
    "transactions reverted",
    "tokens paid on chain",
    "tenths of a token owed at most at once",
    "epochs that ended with unpaid work",
    "inputs a payer refused",
    "inputs a replica refused",
    "jobs that had to wait for channels",
    "late commits paid",
    "orders refused: other reasons",
    "orders that ended with nobody to pay",
    "second commits",
    "second results",
    "vouchers refused: epoch closed",
];

/// What may happen or not, by seed and length: counted for whoever reads the figures.
const RARE: &[&str] = &[
    "claims with a full disk",
    "copies paid that another hostile member gave away",
    "copies paid while honest members did not hear each other",
    "given-up orders that a start tells their channels",
    "orders decided by as many hostile as a quorum",
    "orders refused: another is open",
    "orders refused: earmark",
    "payments to as many hostile members as a quorum",
    "quorums whose members were in trouble until the end",
    "vouchers lost by who was away too long",
    "vouchers refused: other reasons",
];

fn year(seed: u64, size: Size) {
    let _seed = Seed(seed);
    println!("seed {seed}: {} requestors, {} providers, {} days", size.requestors, size.providers, size.days);
    let mut world = World::new(seed, size);
    world.run();
    world.check_end();
    println!("{} events", world.happened());
    for (fact, count) in &world.facts {
        println!("{count:>10} {fact}");
    }
    for fact in FACTS {
        assert!(world.facts.contains_key(fact) && world.facts[fact] > 0, "never: {fact}");
    }
    // Whatever is counted is one or the other, so that nothing new goes unnoticed.
    for fact in world.facts.keys() {
        assert!(FACTS.contains(fact) != RARE.contains(fact), "neither a fact nor rare: {fact}");
    }
}

#[test]
fn sym_25_l5_l6_l11_n7_nobody_loses_more_than_stated_in_a_year_of_everything() {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SYMBOLON_SEED").unwrap_or(1);
    let size = match number("SYMBOLON_YEAR") {
        Some(parties) => {
            let (parties, days) = (parties as usize, number("SYMBOLON_DAYS").unwrap_or(365));
            Size { requestors: parties, providers: parties, days, pause: 2 }
        }
        None => Size { requestors: 20, providers: 24, days: 45, pause: 1 },
    };
    for seed in seed..seed + number("SYMBOLON_SEEDS").unwrap_or(1) {
        year(seed, size);
    }
}
