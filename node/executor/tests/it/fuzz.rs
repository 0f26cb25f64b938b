//! Bytes that were bent: manifests and modules.
//!
//! Short here. `SYMBOLON_FUZZ_SECONDS` gives each target so long, `SYMBOLON_SEED`
//! repeats a run; the seed is printed. The file system and the joiner of chunks have
//! their own targets beside their code.

use crate::guest::{engine, unit};
use crate::random::{first_seed, number};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use symbolon_executor::inspect::inspect;
use symbolon_executor::manifest::Part;
use symbolon_executor::{Cancel, ExecutorError, Inputs, Manifest, Outcome, Profile, Refused, TrapKind};

/// Runs a target on one generator after the other, so often and so long.
fn fuzz(rounds: u64, mut target: impl FnMut(u64, &mut ChaCha8Rng)) {
    let first = first_seed();
    let longest = Duration::from_secs(number("SYMBOLON_FUZZ_SECONDS").unwrap_or(0));
    eprintln!("seeds from {first} on");
    let (start, mut seed) = (Instant::now(), first);
    while seed - first < rounds || start.elapsed() < longest {
        target(seed, &mut ChaCha8Rng::seed_from_u64(seed));
        seed += 1;
    }
    eprintln!("{} rounds", seed - first);
}

fn below(rng: &mut ChaCha8Rng, bound: usize) -> usize {
    rng.next_u32() as usize % bound.max(1)
}

/// Changes bytes in one of the ways in which files go bad.
fn bend(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>, others: &[&[u8]]) {
    let at = below(rng, bytes.len() + 1);
    match rng.next_u32() % 7 {
        0 if at < bytes.len() => bytes[at] ^= 1 << (rng.next_u32() % 8),
        1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(rng, 5)],
        2 => bytes.truncate(at),
        3 => bytes.insert(at, rng.next_u32() as u8),
        4 if at < bytes.len() => {
            bytes.remove(at);
        }
        5 => {
            // A piece of another, over or into this one.
            let other = others[below(rng, others.len())];
            let from = below(rng, other.len());
            let piece = &other[from..(from + below(rng, 64)).min(other.len())];
            let to = if rng.next_u32().is_multiple_of(2) { at } else { (at + piece.len()).min(bytes.len()) };
            bytes.splice(at..to, piece.iter().copied());
        }
        _ => {
            // The same again.
            let end = (at + below(rng, 32)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

#[test]
fn sym_36_fuzz_the_manifest_decoder() {
    let outputs = |paths: &[&str]| -> BTreeMap<Vec<u8>, Part> {
        paths.iter().map(|path| (path.as_bytes().to_vec(), Part::of(path.as_bytes()))).collect()
    };
    let base = Manifest {
        outcome: Outcome::Exited { code: 1 },
        fuel: 12,
        stdout: Part::of(b"out"),
        stderr: Part::of(b""),
        outputs: outputs(&["a", "a/b", "a.c", "\u{e9}", "z/y/x"]),
    };
    let whole: Vec<Vec<u8>> = [
        base.clone(),
        Manifest { outputs: BTreeMap::new(), ..base.clone() },
        Manifest { outcome: Outcome::OutOfFuel, outputs: BTreeMap::new(), ..base.clone() },
        Manifest { outcome: Outcome::Trapped { kind: TrapKind::CallDepth }, outputs: BTreeMap::new(), ..base },
    ]
    .iter()
    .map(Manifest::encode)
    .collect();
    let others: Vec<&[u8]> = whole.iter().map(Vec::as_slice).collect();
    let (mut read, mut refused) = (0u64, 0u64);
    fuzz(20_000, |seed, rng| {
        let mut bytes = whole[below(rng, whole.len())].clone();
        for _ in 0..rng.next_u32() % 4 {
            bend(rng, &mut bytes, &others);
        }
        match Manifest::decode(&bytes) {
            // What is read is what would be written.
            Ok(manifest) => {
                assert_eq!(manifest.encode(), bytes, "seed {seed}");
                read += 1;
            }
            Err(_) => refused += 1,
        }
    });
    assert!(read > 1_000 && refused > 1_000, "{read} read, {refused} refused");
}

#[test]
fn sym_30_fuzz_the_loading_of_modules() {
    let texts = [include_str!("fixtures/preview1.wat"), include_str!("fixtures/unstable.wat")];
    let mut whole: Vec<Vec<u8>> = texts.iter().map(|text| wat::parse_str(text).unwrap()).collect();
    for name in ["arithmetic", "calls", "memory", "vectors", "exceptions", "nans", "world"] {
        let path = format!("{}/vectors/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        whole.push(std::fs::read(path).unwrap());
    }
    let others: Vec<&[u8]> = whole.iter().map(Vec::as_slice).collect();
    let mut unit = unit();
    unit.max_fuel = 100_000;
    let (mut run, mut refused) = (0u64, 0u64);
    fuzz(400, |seed, rng| {
        let mut bytes = whole[below(rng, whole.len())].clone();
        for _ in 0..=u32::from(rng.next_u32().is_multiple_of(4)) {
            bend(rng, &mut bytes, &others);
        }
        let inspection = inspect(Profile::V1, &bytes);
        let compiled = engine().compile(&bytes);
        // Inspection and loading say the same, and what the profile takes is compiled.
        assert_eq!(inspection.fits(), compiled.is_ok(), "seed {seed}: {:?}", inspection.problems);
        match compiled {
            Err(why) => {
                assert_ne!(why, Refused::Compiler, "seed {seed}");
                refused += 1;
            }
            Ok(module) => {
                match engine().run(&module, &unit, &Inputs::new(), &Cancel::new()) {
                    Ok(_) | Err(ExecutorError::ExceptionHeap) => {}
                    Err(error) => panic!("seed {seed}: {error:?}"),
                }
                run += 1;
            }
        }
    });
    assert!(run > 10 && refused > 100, "{run} run, {refused} refused");
}
