//! W1 on modules that nobody wrote: what wasm-smith makes, on every kind of engine.
//!
//! `SYMBOLON_CASES` says how many, `SYMBOLON_SEED` from which seed on; the seed of each
//! failing module is printed, and is all that it takes to make it again.

use arbitrary::Unstructured;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use symbolon_executor::{Cancel, Engine, Execution, ExecutorError, Inputs, Profile, Refused, Tuning};
use symbolon_primitives::{Level, Limits, Workunit};
use wasm_smith::{Config, Module};

pub(super) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The seed to start from: another one in each run, unless it is given.
pub(super) fn first_seed() -> u64 {
    number("SYMBOLON_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ now.as_secs() << 20
    })
}

/// What the profile takes, in modules whose value is seen: a `compute` that returns a
/// number, or a `_start` that may call the world.
fn config(level: Level) -> Config {
    let mut config = Config::default();
    let exports = match level {
        Level::Command => "(module (func (export \"_start\")) (memory (export \"memory\") 1 20))",
        Level::Compute => {
            "(module (func (export \"compute\") (param i32 i32) (result i32) unreachable) (memory (export \"memory\") 1 20))"
        }
    };
    config.exports = Some(wat::parse_str(exports).unwrap());
    if level == Level::Command {
        config.available_imports = Some(wat::parse_str(crate::guest::wasi("", "")).unwrap());
        config.max_imports = 12;
    } else {
        config.max_imports = 0;
    }
    config.gc_enabled = false;
    config.memory64_enabled = false;
    config.threads_enabled = false;
    config.max_memories = 3;
    config.max_tables = 3;
    config.max_memory32_bytes = 1 << 20;
    config.max_table_elements = 1_000;
    config.max_funcs = 12;
    config.max_instructions = 300;
    config.max_globals = 10;
    config
}

fn unit(level: Level) -> Workunit {
    Workunit {
        level,
        limits: Limits { memory_bytes: 8 << 20, output_bytes: 1 << 16, files: 16 },
        max_fuel: 300_000,
        ..crate::guest::unit()
    }
}

fn engines() -> Vec<(&'static str, Engine)> {
    [
        ("optimised", Tuning { optimise: true, pool: 0, interpret: false }),
        ("quick", Tuning { optimise: false, pool: 0, interpret: false }),
        ("interpreted", Tuning { optimise: true, pool: 0, interpret: true }),
        ("interpreted, quick, pooled", Tuning { optimise: false, pool: 2, interpret: true }),
    ]
    .map(|(name, tuning)| (name, Engine::tuned(Profile::V1, u64::MAX, tuning).unwrap()))
    .into()
}

fn module(seed: u64, level: Level) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    let mut config = config(level);
    // Half of them cannot trap: what they compute is seen to its end.
    config.disallow_traps = seed % 2 == 1;
    Module::new(config, &mut Unstructured::new(&bytes)).unwrap().to_bytes()
}

#[test]
fn w1_random_modules_run_the_same_on_every_engine() {
    let first = first_seed();
    let cases = number("SYMBOLON_CASES").unwrap_or(300);
    eprintln!("seeds {first} to {}", first + cases);
    let engines = engines();
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + cases {
        let level = if seed.is_multiple_of(3) { Level::Command } else { Level::Compute };
        let bytes = module(seed, level);
        let mut expected: Option<Result<Execution, String>> = None;
        for (name, engine) in &engines {
            let compiled = match engine.compile(&bytes) {
                Ok(compiled) => compiled,
                Err(refused) => {
                    assert_ne!(refused, Refused::Compiler, "seed {seed}, {name}");
                    *ends.entry(format!("refused: {}", refused.name())).or_default() += 1;
                    break;
                }
            };
            let run = match engine.run(&compiled, &unit(level), &Inputs::new(), &Cancel::new()) {
                Ok(run) => Ok(run),
                Err(error @ ExecutorError::ExceptionHeap) => Err(error.to_string()),
                Err(error) => panic!("seed {seed}, {name}: {error:?}"),
            };
            match &expected {
                Some(expected) => assert_eq!(&run, expected, "seed {seed}, {name}"),
                None => {
                    let end = run.as_ref().map_or_else(Clone::clone, |run| run.outcome.to_string());
                    let end = if end.starts_with("exited") { "exited".to_owned() } else { end };
                    *ends.entry(end).or_default() += 1;
                    expected = Some(run);
                }
            }
        }
    }
    eprintln!("{ends:?}");
    // The property is not empty: most modules were run, and many to their end.
    let of = |end: &str| ends.get(end).copied().unwrap_or(0);
    let refused: u64 = ends.iter().filter(|(end, _)| end.starts_with("refused")).map(|(_, count)| count).sum();
    assert!(refused * 2 <= cases, "{ends:?}");
    assert!(cases < 100 || of("exited") * 10 >= cases, "{ends:?}");
}
