//! Content references: megabytes a second, beside the same tree hashed one pair
//! after another in the same run, by a plain loop with another Keccak and by ours in
//! one lane. Ratios are to the faster of the two, since the profile optimises them
//! differently. Nothing is gated: time is not a result.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::{
    convert::Infallible,
    time::{Duration, Instant},
};
use symbolon_content::{CHUNK_SIZE, Chunk, ContentRef, Lanes, SEGMENT_SIZE, Splitter, reference};
use symbolon_primitives::keccak256;

/// Bytes that are named.
const SIZE: usize = 64 << 20;
/// Bytes of one measured write. Short, so that other programs do not interrupt every one.
const PIECE: usize = 64 << 10;
/// Runs of which the fastest counts, where the whole is measured.
const RUNS: usize = 5;
/// What issue and documents promise of one core, in MB/s.
const TARGET: u64 = 300;

/// Our own Keccak without vectors.
const ONE_LANE: &str = "one_core_1_lanes";

struct Figure {
    name: String,
    mb_per_second: u64,
}

/// Megabytes (10^6 bytes) a second.
fn rate(bytes: usize, time: Duration) -> Result<u64> {
    let nanos = time.as_nanos().max(1);
    Ok(u64::try_from(bytes as u128 * 1_000 / nanos)?)
}

fn nothing(_: &Chunk<'_>) -> Result<(), Infallible> {
    Ok(())
}

/// One core: a fast write of a stream.
fn stream(bytes: &[u8], lanes: Lanes) -> Result<(u64, ContentRef)> {
    let mut splitter = Splitter::new(nothing).lanes(lanes).threads(1);
    let mut times = Vec::new();
    for piece in bytes.chunks(PIECE) {
        let start = Instant::now();
        splitter.write(piece)?;
        times.push(start.elapsed());
    }
    Ok((rate(PIECE, fast(times)?)?, splitter.finish()?.reference))
}

/// The time that a tenth of the pieces stayed below: those had the core for themselves.
fn fast(mut times: Vec<Duration>) -> Result<Duration> {
    times.sort_unstable();
    times.get(times.len() / 10).copied().context("nothing was measured")
}

/// Several cores: all of it at once.
fn whole(bytes: &[u8], threads: usize) -> Result<(u64, ContentRef)> {
    let mut best = (0, reference(&[]));
    for _ in 0..RUNS {
        let start = Instant::now();
        let mut splitter = Splitter::new(nothing).threads(threads);
        splitter.write(bytes)?;
        let root = splitter.finish()?;
        best = (rate(bytes.len(), start.elapsed())?.max(best.0), root.reference);
    }
    Ok(best)
}

/// The tree as one writes it down: a hash after another.
fn plain_chunk(span: u64, payload: &[u8]) -> [u8; 32] {
    let mut level = [[0u8; SEGMENT_SIZE]; CHUNK_SIZE / SEGMENT_SIZE];
    for (to, from) in level.as_flattened_mut().iter_mut().zip(payload) {
        *to = *from;
    }
    let mut nodes = level.len();
    while nodes > 1 {
        nodes /= 2;
        for at in 0..nodes {
            let pair = level.as_chunks::<2>().0.get(at).copied().unwrap_or_default();
            if let Some(to) = level.get_mut(at) {
                *to = keccak256(pair.as_flattened());
            }
        }
    }
    let [root, ..] = level;
    keccak256(&[&span.to_le_bytes()[..], &root].concat())
}

/// The plain loop over the leaves, and the reference of all of it.
fn plain(bytes: &[u8]) -> Result<(u64, ContentRef)> {
    let mut level: Vec<([u8; 32], u64)> = Vec::new();
    let mut times = Vec::new();
    for piece in bytes.chunks(PIECE) {
        let start = Instant::now();
        level.extend(piece.chunks(CHUNK_SIZE).map(|leaf| (plain_chunk(leaf.len() as u64, leaf), leaf.len() as u64)));
        times.push(start.elapsed());
    }
    while level.len() > 1 {
        level = level
            .chunks(CHUNK_SIZE / SEGMENT_SIZE)
            .map(|group| match group {
                [lone] => *lone,
                _ => {
                    let span = group.iter().map(|(_, span)| span).sum();
                    (plain_chunk(span, &group.iter().flat_map(|(hash, _)| *hash).collect::<Vec<u8>>()), span)
                }
            })
            .collect();
    }
    let (root, _) = level.first().context("nothing to name")?;
    Ok((rate(PIECE, fast(times)?)?, ContentRef::from_bytes(*root)))
}

/// Measures, and checks that every way gives one reference.
pub(crate) fn run(json: bool) -> Result<()> {
    let bytes: Vec<u8> = (0..=254).cycle().take(SIZE).collect();
    let (base, expected) = plain(&bytes)?;
    let mut figures = vec![Figure { name: "plain_loop_one_core".to_owned(), mb_per_second: base }];
    let mut add = |name: String, (mb_per_second, found): (u64, ContentRef)| {
        figures.push(Figure { name, mb_per_second });
        ensure!(found == expected, "another reference: {found} instead of {expected}");
        Ok(mb_per_second)
    };
    for lanes in Lanes::all() {
        add(format!("one_core_{}_lanes", lanes.count()), stream(&bytes, lanes)?)?;
    }
    let best = add("one_core".to_owned(), stream(&bytes, Lanes::best())?)?;
    let cores = std::thread::available_parallelism()?.get();
    for threads in [1, cores] {
        add(format!("whole_{threads}_threads"), whole(&bytes, threads)?)?;
    }

    // Hundredths, in integers.
    let one = figures.iter().find(|figure| figure.name == ONE_LANE).map_or(0, |figure| figure.mb_per_second);
    let base = base.max(one);
    let ratio = |figure: &Figure| figure.mb_per_second * 100 / base.max(1);
    let hundredths = |ratio: u64| format!("{}.{:02}", ratio / 100, ratio % 100);
    if json {
        let mut out: Map<String, Value> = figures
            .iter()
            .map(|figure| {
                let value =
                    json!({ "mb_per_second": figure.mb_per_second, "to_one_at_a_time": hundredths(ratio(figure)) });
                (figure.name.clone(), value)
            })
            .collect();
        out.insert("cores".to_owned(), json!(cores));
        out.insert("target_one_core".to_owned(), json!(TARGET));
        println!("{:#}", Value::Object(out));
    } else {
        println!("{:<24} {:>8} {:>17}", "references of 64 MiB", "MB/s", "to one at a time");
        for figure in &figures {
            println!("{:<24} {:>8} {:>17}", figure.name, figure.mb_per_second, hundredths(ratio(figure)));
        }
        let verdict = if best >= TARGET { "met" } else { "missed" };
        println!("target of one core: {TARGET} MB/s, {verdict}");
    }
    Ok(())
}
