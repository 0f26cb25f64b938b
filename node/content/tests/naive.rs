//! References, chunks and proofs against a tree that is written down plainly with
//! another Keccak, for every vector width, number of threads and way of writing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, missing_docs)]

use proptest::prelude::*;
use std::convert::Infallible;
use symbolon_content::{
    CHUNK_SIZE, Chunk, ContentRef, FileProof, Lanes, ProofError, Prover, Root, Splitter, chunk_address, reference,
    split,
};
use symbolon_primitives::keccak256;

type Hash = [u8; 32];

/// Lengths at which something changes: segments, pairs, chunks, batches, groups, threads.
fn edges() -> Vec<usize> {
    let mut all: Vec<usize> = (0..=2).chain(31..=33).chain(63..=65).chain(127..=129).collect();
    for chunks in [1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 264] {
        all.extend([chunks * CHUNK_SIZE - 1, chunks * CHUNK_SIZE, chunks * CHUNK_SIZE + 1]);
    }
    all
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut word).flatten().take(len).collect()
}

/// One chunk's address, padded to its full 128 segments.
fn naive_chunk(span: u64, payload: &[u8]) -> Hash {
    let mut padded = payload.to_vec();
    padded.resize(CHUNK_SIZE, 0);
    while padded.len() > 32 {
        padded = padded.chunks(64).flat_map(keccak256).collect();
    }
    keccak256(&[&span.to_le_bytes()[..], &padded].concat())
}

/// The reference of all of it, level by level.
fn naive(bytes: &[u8]) -> Hash {
    if bytes.is_empty() {
        return naive_chunk(0, &[]);
    }
    let mut level: Vec<(Hash, u64)> =
        bytes.chunks(CHUNK_SIZE).map(|leaf| (naive_chunk(leaf.len() as u64, leaf), leaf.len() as u64)).collect();
    while level.len() > 1 {
        level = level
            .chunks(128)
            .map(|group| {
                if let [lone] = group {
                    return *lone;
                }
                let span = group.iter().map(|(_, span)| span).sum();
                (naive_chunk(span, &group.iter().flat_map(|(hash, _)| *hash).collect::<Vec<u8>>()), span)
            })
            .collect();
    }
    level[0].0
}

/// Writes in pieces of these lengths, over and over; gives the root and every chunk in its order.
fn written(bytes: &[u8], pieces: &[usize], lanes: Lanes, threads: usize) -> (Root, Vec<(ContentRef, u64, usize)>) {
    let mut seen = Vec::new();
    let mut splitter = Splitter::new(|chunk: &Chunk<'_>| {
        seen.push((chunk.address, chunk.span, chunk.payload.len()));
        Ok::<(), Infallible>(())
    })
    .lanes(lanes)
    .threads(threads);
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        splitter.write(now).unwrap();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    let root = splitter.finish().unwrap();
    (root, seen)
}

#[test]
fn sym_36_every_width_and_thread_count_gives_the_plain_trees_reference() {
    let data = noise(264 * CHUNK_SIZE + 1, 7);
    for len in edges() {
        let bytes = &data[..len];
        let expected = ContentRef::from_bytes(naive(bytes));
        assert_eq!(reference(bytes), expected, "length {len}");
        for lanes in Lanes::all() {
            for threads in 1..=4 {
                let (root, _) = written(bytes, &[usize::MAX], lanes, threads);
                assert_eq!(root.reference, expected, "length {len}, {} lanes, {threads} threads", lanes.count());
                assert_eq!(root.len, len as u64);
                if len < 256 * CHUNK_SIZE {
                    break;
                }
            }
        }
    }
}

#[test]
fn sym_36_every_chunks_address_is_its_own() {
    for len in [0, 1, 65, 2048, 4095, 4096, 9 * CHUNK_SIZE + 5, 129 * CHUNK_SIZE + 33, 257 * CHUNK_SIZE] {
        let mut chunks = 0;
        split(&noise(len, 9), |chunk| {
            assert_eq!(*chunk.address.as_bytes(), naive_chunk(chunk.span, chunk.payload), "length {len}");
            assert_eq!(chunk_address(chunk.span, chunk.payload).unwrap(), chunk.address);
            chunks += 1;
            Ok::<(), Infallible>(())
        })
        .unwrap();
        assert!(chunks >= len.div_ceil(CHUNK_SIZE).max(1));
    }
}

#[test]
fn sym_36_chunks_come_in_one_order_however_they_are_written() {
    let bytes = noise(600 * CHUNK_SIZE + 77, 3);
    let (root, plain) = written(&bytes, &[1000], Lanes::ONE, 1);
    assert_eq!(plain.len(), 601 + 5 + 1);
    assert_eq!(plain.last().unwrap().0, root.reference);
    for lanes in Lanes::all() {
        for (threads, pieces) in [
            (1, &[usize::MAX][..]),
            (2, &[usize::MAX]),
            (3, &[1, 300 * CHUNK_SIZE]),
            (4, &[32 * 1024 - 1, 1, 260 * CHUNK_SIZE + 31]),
            (2, &[4095, 4097, 32 * 1024, 65_537]),
        ] {
            let (again, chunks) = written(&bytes, pieces, lanes, threads);
            assert_eq!(again, root);
            assert!(chunks == plain, "{} lanes, {threads} threads, {pieces:?}", lanes.count());
        }
    }
}

/// The largest vector, as a stream: made piece by piece and never held.
fn stream<E>(
    len: u64,
    splitter: &mut Splitter<impl FnMut(&Chunk<'_>) -> Result<(), E>>,
    piece: usize,
) -> Result<(), E> {
    // Whole periods of the pattern, so that every piece starts alike.
    let pattern: Vec<u8> = (0..=254).cycle().take(piece * 255).collect();
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).map_or(pattern.len(), |left| left.min(pattern.len()));
        splitter.write(&pattern[..now])?;
        left -= now as u64;
    }
    Ok(())
}

fn large_vector() -> (u64, ContentRef) {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../../tests/vectors/swarm.json")).unwrap();
    let case = vectors["pattern"].as_array().unwrap().iter().max_by_key(|case| case["len"].as_u64()).unwrap();
    let bytes = hex::decode(case["ref"].as_str().unwrap()).unwrap();
    (case["len"].as_u64().unwrap(), ContentRef::from_bytes(bytes.try_into().unwrap()))
}

#[test]
fn sym_36_a_long_stream_matches_the_vector_for_every_width_and_thread_count() {
    let (len, expected) = large_vector();
    assert_eq!(len, 64 << 20);
    for lanes in Lanes::all() {
        for (threads, piece) in [(1, 37), (2, 4113), (3, 8192), (4, 120_000)] {
            let mut splitter = Splitter::new(|_| Ok::<(), Infallible>(())).lanes(lanes).threads(threads);
            stream(len, &mut splitter, piece).unwrap();
            let root = splitter.finish().unwrap();
            assert_eq!(root, Root { reference: expected, len }, "{} lanes, {threads} threads", lanes.count());
            // The narrow ones are slow, and threads do not see the width.
            if lanes.count() < Lanes::best().count() && threads == 2 {
                break;
            }
        }
    }
}

#[test]
fn sym_36_proofs_of_a_long_stream_need_no_more_than_its_paths() {
    let (len, expected) = large_vector();
    // Twice: a full tree, and one with a lone last leaf that rises to the root's level.
    for extra in [0, 1] {
        let len = len + extra;
        let offsets = [0, 1, 31, 32, 4095, 4096, 128 * 4096 - 1, 128 * 4096, len / 2 + 5, len - 2, len - 1];
        let mut prover = Prover::new(offsets);
        let mut most = 0;
        let mut splitter = Splitter::new(|chunk: &Chunk<'_>| {
            prover.see(chunk);
            most = most.max(prover.size());
            Ok::<(), Infallible>(())
        });
        stream(len, &mut splitter, 4112).unwrap();
        let root = splitter.finish().unwrap();
        assert_eq!(root.reference == expected, extra == 0);
        assert!(most <= offsets.len() * 4 * (CHUNK_SIZE + 8), "{most} bytes");
        for offset in offsets {
            let proof = prover.prove(root.reference, offset).unwrap();
            let (segment, whole) = proof.verify(&root.reference, offset).unwrap();
            assert_eq!(whole, len);
            assert_eq!(segment[(offset % 32) as usize], (offset % 255) as u8);
            let other = ContentRef::from_bytes([1; 32]);
            assert!(matches!(proof.verify(&other, offset), Err(ProofError::WrongAddress { .. })));
            assert!(proof.verify(&root.reference, offset ^ 64).is_err());
        }
        assert!(matches!(prover.prove(root.reference, len), Err(ProofError::BeyondEnd { .. })));
        assert!(matches!(prover.prove(root.reference, 3 << 20), Err(ProofError::Missing { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn sym_36_random_bytes_in_random_pieces_name_the_plain_tree(
        len in prop_oneof![prop::sample::select(edges()), 0..300_000usize, 1_000_000..1_200_000usize],
        pieces in prop::collection::vec(prop_oneof![1..100usize, 4000..5000usize, 1..1_200_000usize], 1..6),
        threads in 1..=4usize,
        width in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let bytes = noise(len, seed);
        let lanes = *width.get(&Lanes::all());
        let (root, chunks) = written(&bytes, &pieces, lanes, threads);
        prop_assert_eq!(*root.reference.as_bytes(), naive(&bytes));
        prop_assert_eq!(root.len, len as u64);
        prop_assert_eq!(chunks.last().map(|chunk| chunk.0), Some(root.reference));
    }

    #[test]
    fn sym_36_a_proof_from_a_stream_is_the_proof_from_a_store(
        len in prop_oneof![prop::sample::select(edges()), 1..600_000usize],
        at in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let bytes = noise(len.max(1), seed);
        let offset = at.index(bytes.len()) as u64;
        let mut store = std::collections::BTreeMap::new();
        let mut prover = Prover::new([offset]);
        let root = split(&bytes, |chunk| {
            store.insert(chunk.address, chunk.stored());
            prover.see(chunk);
            Ok::<(), Infallible>(())
        })
        .unwrap()
        .reference;
        let proof = prover.prove(root, offset).unwrap();
        prop_assert_eq!(&proof, &FileProof::new(root, offset, |address| store.get(address).cloned()).unwrap());
        let (segment, _) = proof.verify(&root, offset).unwrap();
        prop_assert_eq!(segment[(offset % 32) as usize], bytes[offset as usize]);
    }
}
