//! A joiner against trees made to deceive it.
//!
//! Every chunk here hashes to its address, as a stranger's would: what is wrong is what
//! the chunks say about each other. `SYMBOLON_FUZZ_SECONDS` makes the run longer,
//! `SYMBOLON_SEED` repeats one; the seed is printed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation, missing_docs)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use symbolon_content::{CHUNK_SIZE, ContentRef, JoinError, Joiner, chunk_address, reference, split};

/// The longest whole that the joiner is told to take.
const MAX_LEN: u64 = 3 << 20;
const WINDOW: usize = 8;

/// A small generator: the same numbers from the same seed everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// A length at an edge more often than not.
    fn span(&mut self) -> u64 {
        let edges = [
            0,
            1,
            31,
            32,
            33,
            4095,
            4096,
            4097,
            8192,
            4096 * 127,
            4096 * 128,
            4096 * 128 + 1,
            MAX_LEN,
            MAX_LEN + 1,
            u64::MAX,
        ];
        match self.next(3) {
            0 => self.next(4096 * 300),
            _ => edges[self.next(edges.len() as u64) as usize],
        }
    }
}

type Store = BTreeMap<ContentRef, Vec<u8>>;

fn keep(store: &mut Store, span: u64, payload: &[u8]) -> ContentRef {
    let address = chunk_address(span, payload).unwrap();
    store.insert(address, [&span.to_le_bytes()[..], payload].concat());
    address
}

/// Leaves, and nodes over whatever was made before them, some of them honest trees.
fn forest(numbers: &mut Numbers) -> (Store, Vec<ContentRef>) {
    let mut store = Store::new();
    let mut made = Vec::new();
    for _ in 0..2 {
        let bytes: Vec<u8> = vec![numbers.next(256) as u8; numbers.span().min(MAX_LEN + 1) as usize];
        let root = split(&bytes, |chunk| {
            store.insert(chunk.address, chunk.stored());
            Ok::<(), std::convert::Infallible>(())
        });
        made.push(root.unwrap().reference);
    }
    made.extend(store.keys().take(4).copied().collect::<Vec<_>>());
    for _ in 0..6 {
        let len = numbers.span().min(CHUNK_SIZE as u64) as usize;
        let span = if numbers.next(2) == 0 { len as u64 } else { numbers.span() };
        made.push(keep(&mut store, span, &vec![numbers.next(256) as u8; len]));
    }
    for _ in 0..8 {
        let children = 1 + numbers.next(128);
        let one = made[numbers.next(made.len() as u64) as usize];
        let mut payload = Vec::new();
        let mut sum = 0u64;
        for _ in 0..children {
            let child = if numbers.next(8) == 0 { made[numbers.next(made.len() as u64) as usize] } else { one };
            payload.extend_from_slice(child.as_bytes());
            let stored = &store[&child];
            sum = sum.saturating_add(u64::from_le_bytes(stored[..8].try_into().unwrap()));
        }
        if numbers.next(6) == 0 {
            payload.truncate(payload.len() - 1 - numbers.next(31) as usize);
        }
        let span = if numbers.next(2) == 0 { sum } else { numbers.span() };
        made.push(keep(&mut store, span, &payload));
    }
    (store, made)
}

/// Joins one root, with mistakes on the way; says whether it gave a whole.
fn attempt(numbers: &mut Numbers, store: &Store, root: ContentRef) -> Result<Vec<u8>, JoinError> {
    let mut joiner = Joiner::new(root, MAX_LEN, WINDOW);
    let mut whole = Vec::new();
    let mut calls = 0;
    while !joiner.is_complete() {
        let wanted = joiner.wanted(1 + numbers.next(9) as usize);
        assert!(wanted.len() <= WINDOW.max(1) + 1, "{} at once", wanted.len());
        assert!(!wanted.is_empty() || calls == 0, "nothing is wanted and nothing is there");
        for address in wanted {
            calls += 1;
            assert!(calls <= 2 * (MAX_LEN / CHUNK_SIZE as u64) + 16, "no end");
            let stored = store.get(&address).ok_or(JoinError::Missing { address })?;
            match numbers.next(12) {
                0 => {
                    // Bent on the way: refused, and asked for again.
                    let mut bent = stored.clone();
                    let at = numbers.next(bent.len() as u64) as usize;
                    bent[at] ^= 1 << numbers.next(8);
                    joiner.supply(&address, &bent).unwrap_err();
                }
                1 => {
                    joiner.forget(&address);
                    assert!(matches!(joiner.supply(&address, stored), Err(JoinError::NotWanted { .. })));
                    continue;
                }
                2 => {
                    let cut = numbers.next(stored.len() as u64) as usize;
                    joiner.supply(&address, &stored[..cut]).unwrap_err();
                }
                _ => {}
            }
            joiner.supply(&address, stored)?;
            assert!(matches!(joiner.supply(&address, stored), Err(JoinError::NotWanted { .. })), "twice");
        }
        while let Some(bytes) = joiner.take() {
            assert!(bytes.len() <= CHUNK_SIZE);
            whole.extend(bytes);
        }
    }
    Ok(whole)
}

#[test]
fn sym_36_fuzz_a_joiner_gives_what_the_root_names_or_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("SYMBOLON_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    let longest = Duration::from_secs(number("SYMBOLON_FUZZ_SECONDS").unwrap_or(0));
    eprintln!("seeds from {first} on");
    let (start, mut seed, mut joined, mut refused) = (Instant::now(), first, 0u64, 0u64);
    while seed.wrapping_sub(first) < 30 || start.elapsed() < longest {
        let mut numbers = Numbers(seed);
        let (store, made) = forest(&mut numbers);
        for root in made {
            match attempt(&mut numbers, &store, root) {
                Ok(whole) => {
                    assert_eq!(reference(&whole), root, "seed {seed}: another root for these bytes");
                    joined += 1;
                }
                Err(JoinError::NotWanted { .. } | JoinError::WrongHash { .. }) => panic!("seed {seed}: {root}"),
                Err(_) => refused += 1,
            }
        }
        seed = seed.wrapping_add(1);
    }
    eprintln!("{joined} joined, {refused} refused");
    assert!(joined > 30 && refused > 30, "{joined} joined, {refused} refused");
}
