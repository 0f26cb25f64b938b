//! References against vectors made by another implementation, and what a joiner
//! refuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, missing_docs)]

use proptest::prelude::*;
use std::collections::BTreeMap;
use symbolon_content::{
    CHUNK_SIZE, ContentRef, FileProof, JoinError, Joiner, ProofError, SegmentProof, Splitter, chunk_address, join,
    reference, split,
};

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../tests/vectors/swarm.json")).unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 255) as u8).collect()
}

fn chunks_of(bytes: &[u8]) -> (ContentRef, BTreeMap<ContentRef, Vec<u8>>) {
    let mut store = BTreeMap::new();
    let root = split(bytes, |chunk| {
        store.insert(chunk.address, chunk.stored());
        Ok::<(), std::convert::Infallible>(())
    })
    .unwrap();
    assert_eq!(root.len, bytes.len() as u64);
    (root.reference, store)
}

#[test]
fn sym_36_references_match_the_vectors() {
    let vectors = vectors();
    for case in vectors["pattern"].as_array().unwrap() {
        let len = case["len"].as_u64().unwrap() as usize;
        let found = hex::encode(reference(&pattern(len)).as_bytes());
        assert_eq!(found, case["ref"].as_str().unwrap(), "length {len}");
    }
    for case in vectors["literal"].as_array().unwrap() {
        let text = case["utf8"].as_str().unwrap();
        let found = hex::encode(reference(text.as_bytes()).as_bytes());
        assert_eq!(found, case["ref"].as_str().unwrap(), "{text:?}");
    }
}

#[test]
fn sym_36_segment_proof_matches_the_vector() {
    let vectors = vectors();
    let case = &vectors["proof"];
    let index = case["segment_index"].as_u64().unwrap() as u8;
    let text = case["utf8"].as_str().unwrap();
    let proof = SegmentProof::new(case["span"].as_u64().unwrap(), text.as_bytes(), index).unwrap();
    assert_eq!(hex::encode(proof.segment), case["segment"].as_str().unwrap());
    for (sister, expected) in proof.sisters.iter().zip(case["sisters"].as_array().unwrap()) {
        assert_eq!(hex::encode(sister), expected.as_str().unwrap());
    }
    let address = hex::encode(proof.address().as_bytes());
    assert_eq!(address, case["address"].as_str().unwrap());
    proof.verify(&reference(text.as_bytes())).unwrap();

    let mut bad = proof.clone();
    bad.index = 1;
    assert!(matches!(bad.verify(&proof.address()), Err(ProofError::WrongAddress { .. })));
    let mut bad = proof.clone();
    bad.span = 12;
    assert!(bad.verify(&proof.address()).is_err());
    let mut bad = proof.clone();
    bad.index = 192;
    assert!(matches!(bad.verify(&proof.address()), Err(ProofError::NoSuchSegment { .. })));
}

#[test]
fn sym_36_split_then_join_is_identity_at_boundary_lengths() {
    for base in [0usize, 1, 2, 127, 128, 129, 255, 256, 257, 128 * 128] {
        for around in [-33i64, -1, 0, 1, 32, 33] {
            let len = (base * CHUNK_SIZE) as i64 + around;
            let Ok(len) = usize::try_from(len) else { continue };
            if base == 128 * 128 && around != 1 {
                continue;
            }
            let bytes = pattern(len);
            let (root, store) = chunks_of(&bytes);
            assert_eq!(root, reference(&bytes));
            let back = join(root, len as u64, |address| store.get(address).cloned()).unwrap();
            assert!(back == bytes, "length {len}");
            if len > 0 {
                assert!(matches!(
                    join(root, len as u64 - 1, |address| store.get(address).cloned()),
                    Err(JoinError::TooLong { .. })
                ));
            }
        }
    }
}

#[test]
fn sym_36_a_flipped_byte_in_any_chunk_is_refused() {
    let bytes = pattern(130 * CHUNK_SIZE + 5);
    let (root, store) = chunks_of(&bytes);
    for (i, address) in store.keys().enumerate() {
        let mut broken = store.clone();
        let chunk = broken.get_mut(address).unwrap();
        let at = (i * 37) % chunk.len();
        chunk[at] ^= 1 << (i % 8);
        let error = join(root, u64::MAX, |address| broken.get(address).cloned()).unwrap_err();
        assert!(matches!(&error, JoinError::WrongHash { wanted, .. } if wanted == address), "{error}");
    }
}

/// A tree that hashes well and lies about its shape.
fn forged(span: u64, payload: &[u8]) -> (ContentRef, Vec<u8>) {
    let mut stored = span.to_le_bytes().to_vec();
    stored.extend_from_slice(payload);
    (chunk_address(span, payload).unwrap(), stored)
}

#[test]
fn sym_36_lying_trees_are_refused() {
    let mut store = BTreeMap::new();
    let (leaf, stored) = forged(4096, &[7; 4096]);
    store.insert(leaf, stored);
    let (short, stored) = forged(4000, &[7; 4000]);
    store.insert(short, stored);
    let get = |store: &BTreeMap<ContentRef, Vec<u8>>, root| join(root, 1 << 20, |a| store.get(a).cloned());

    // A full place filled by a short leaf.
    let refs = [*short.as_bytes(), *leaf.as_bytes()].concat();
    let (root, stored) = forged(8096, &refs);
    store.insert(root, stored);
    assert!(matches!(get(&store, root), Err(JoinError::WrongSpan { expected: 4096, found: 4000, .. })));

    // Too few and too many references for the span.
    for count in [1usize, 3] {
        let refs: Vec<u8> = (0..count).flat_map(|_| *leaf.as_bytes()).collect();
        let (root, stored) = forged(8192, &refs);
        store.insert(root, stored);
        assert!(matches!(get(&store, root), Err(JoinError::WrongPayload { .. })));
    }

    // A lone reference that was wrapped although the carrier rule promotes it.
    let (root, stored) = forged(4096, leaf.as_bytes());
    store.insert(root, stored);
    assert!(matches!(get(&store, root), Err(JoinError::WrongPayload { .. })));

    // A length that no memory holds costs one chunk.
    let (root, stored) = forged(u64::MAX, &[0; 4096]);
    store.insert(root, stored);
    assert!(matches!(get(&store, root), Err(JoinError::TooLong { .. })));

    // A span with no bytes behind it.
    let (root, stored) = forged(5, &[]);
    store.insert(root, stored);
    assert!(matches!(get(&store, root), Err(JoinError::WrongPayload { .. })));
}

#[test]
fn sym_36_joiner_batches_requests_and_stays_in_its_window() {
    let bytes: Vec<u8> =
        (0..200 * CHUNK_SIZE as u32).flat_map(|i| (i / 7).to_le_bytes()).take(200 * CHUNK_SIZE).collect();
    let (root, store) = chunks_of(&bytes);
    let mut joiner = Joiner::new(root, u64::MAX, 16);
    assert_eq!(joiner.wanted(10), vec![root]);
    assert!(joiner.wanted(10).is_empty());
    joiner.forget(&root);
    assert_eq!(joiner.wanted(10), vec![root]);
    assert!(matches!(joiner.supply(&ContentRef::from_bytes([1; 32]), &[0; 9]), Err(JoinError::NotWanted { .. })));
    joiner.supply(&root, &store[&root]).unwrap();
    assert_eq!(joiner.len(), Some(bytes.len() as u64));

    let mut out = Vec::new();
    let mut most = 0;
    while !joiner.is_complete() {
        let mut batch = joiner.wanted(100);
        most = most.max(batch.len());
        assert!(batch.len() <= 16);
        // Answers come in any order, and a failed one is asked for again.
        batch.reverse();
        for (i, address) in batch.iter().enumerate() {
            if i == 3 {
                joiner.forget(address);
                continue;
            }
            joiner.supply(address, &store[address]).unwrap();
            assert!(matches!(joiner.supply(address, &store[address]), Err(JoinError::NotWanted { .. })));
        }
        while let Some(part) = joiner.take() {
            out.extend_from_slice(&part);
        }
    }
    assert!(most > 1);
    assert!(out == bytes);
}

#[test]
fn sym_36_file_proofs_hold_and_do_not_move() {
    for len in [1usize, 32, 4096, 4097, 128 * 4096 + 1, 129 * 4096 + 77] {
        let bytes = pattern(len);
        let (root, store) = chunks_of(&bytes);
        for offset in [0, len / 2, len - 1] {
            let proof = FileProof::new(root, offset as u64, |a| store.get(a).cloned()).unwrap();
            let (segment, whole) = proof.verify(&root, offset as u64).unwrap();
            assert_eq!(whole, len as u64);
            let start = offset / 32 * 32;
            let end = (start + 32).min(len);
            assert_eq!(&segment[..end - start], &bytes[start..end]);
            // The same proof does not stand for a segment elsewhere.
            let other = if offset >= 32 { offset - 32 } else { offset + 32 };
            assert!(proof.verify(&root, other as u64).is_err());
            let mut cut = proof.clone();
            cut.levels.pop();
            assert!(cut.verify(&root, offset as u64).is_err());
        }
        assert!(matches!(
            FileProof::new(root, len as u64, |a| store.get(a).cloned()),
            Err(ProofError::BeyondEnd { .. })
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn sym_36_any_way_of_writing_gives_one_reference(
        len in prop_oneof![Just(0usize), Just(4095), Just(4096), Just(4097), 0usize..600_000],
        cut in 1usize..9000,
        seed in any::<u8>(),
    ) {
        let bytes: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
        let mut splitter = Splitter::new(|_| Ok::<(), std::convert::Infallible>(()));
        for part in bytes.chunks(cut) {
            splitter.write(part).unwrap();
        }
        let root = splitter.finish().unwrap();
        prop_assert_eq!(root.reference, reference(&bytes));
        let (again, store) = chunks_of(&bytes);
        prop_assert_eq!(again, root.reference);
        let back = join(again, len as u64, |a| store.get(a).cloned()).unwrap();
        prop_assert!(back == bytes);
    }
}
