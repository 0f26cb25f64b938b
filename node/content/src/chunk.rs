//! One chunk: its address, its stored form, and the shape that a span implies.

use crate::keccak::{Hash, Lanes, hash_one};
use symbolon_primitives::ContentRef;

/// The most bytes one chunk carries.
pub const CHUNK_SIZE: usize = 4096;

/// Bytes of a segment: a leaf of a chunk's Merkle tree, and the size of a reference.
pub const SEGMENT_SIZE: usize = 32;

/// The most child references one chunk carries.
pub const REFS_PER_CHUNK: usize = CHUNK_SIZE / SEGMENT_SIZE;

/// Levels of a chunk's Merkle tree above its segments.
pub(crate) const BMT_LEVELS: usize = 7;

/// Bytes of the span that precedes a stored chunk's payload.
pub const SPAN_SIZE: usize = 8;

/// The most bytes a stored chunk (span and payload) has.
pub const MAX_STORED: usize = SPAN_SIZE + CHUNK_SIZE;

/// The same widths for spans, which are always 64-bit.
const CHUNK_SPAN: u64 = CHUNK_SIZE as u64;
const REFS: u64 = REFS_PER_CHUNK as u64;

/// Why bytes are no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The payload is longer than a chunk may carry.
    #[error("payload of {len} bytes is longer than {CHUNK_SIZE}")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// A stored chunk is shorter than its own span field.
    #[error("stored chunk of {len} bytes is shorter than its span")]
    TooShort {
        /// Bytes given.
        len: usize,
    },
}

/// A chunk as it leaves a [`Splitter`](crate::Splitter) or enters a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The address, `keccak256(span ‖ bmt_root)`.
    pub address: ContentRef,
    /// How many bytes of data lie in and below this chunk.
    pub span: u64,
    /// Data, or the child references one after another; not padded.
    pub payload: &'a [u8],
}

impl Chunk<'_> {
    /// The stored form: the span as 8 bytes little endian, then the payload.
    #[must_use]
    pub fn stored(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SPAN_SIZE + self.payload.len());
        out.extend_from_slice(&self.span.to_le_bytes());
        out.extend_from_slice(self.payload);
        out
    }
}

/// Splits a stored chunk into span and payload. Nothing is hashed here.
///
/// # Errors
/// [`ChunkError::TooShort`] and [`ChunkError::TooLong`].
pub fn parse_stored(stored: &[u8]) -> Result<(u64, &[u8]), ChunkError> {
    let Some((span, payload)) = stored.split_first_chunk::<SPAN_SIZE>() else {
        return Err(ChunkError::TooShort { len: stored.len() });
    };
    if payload.len() > CHUNK_SIZE {
        return Err(ChunkError::TooLong { len: payload.len() });
    }
    Ok((u64::from_le_bytes(*span), payload))
}

/// The address of the chunk with this span and payload.
///
/// # Errors
/// [`ChunkError::TooLong`] when the payload exceeds [`CHUNK_SIZE`].
pub fn chunk_address(span: u64, payload: &[u8]) -> Result<ContentRef, ChunkError> {
    let root = bmt_root(payload)?;
    Ok(address_of_root(span, &root))
}

/// What is hashed for the address of a chunk: the span, then the Merkle root.
fn address_input(span: u64, root: &Hash) -> [u8; SPAN_SIZE + 32] {
    let mut input = [0; SPAN_SIZE + 32];
    let (head, tail) = input.split_at_mut(SPAN_SIZE);
    head.copy_from_slice(&span.to_le_bytes());
    tail.copy_from_slice(root);
    input
}

/// The address of a chunk whose Merkle root is known.
pub(crate) fn address_of_root(span: u64, root: &Hash) -> ContentRef {
    ContentRef::from_bytes(hash_one(address_input(span, root)))
}

/// `keccak256(left ‖ right)`.
pub(crate) fn hash_pair(left: &Hash, right: &Hash) -> Hash {
    let mut pair = [0; 64];
    let (head, tail) = pair.split_at_mut(32);
    head.copy_from_slice(left);
    tail.copy_from_slice(right);
    hash_one(pair)
}

/// The addresses of full leaves, as far as there is room for them. Those of one call
/// share the processor's lanes, so a few together are faster than each alone.
pub(crate) fn full_leaves(leaves: &[[u8; CHUNK_SIZE]], addresses: &mut [Hash], lanes: Lanes) {
    let segments = leaves.as_flattened().as_chunks::<SEGMENT_SIZE>().0;
    let mut nodes = Vec::new();
    fold(segments, &mut nodes, lanes);
    let mut above = Vec::new();
    for _ in 1..BMT_LEVELS {
        fold(&nodes, &mut above, lanes);
        std::mem::swap(&mut nodes, &mut above);
    }
    let inputs: Vec<_> = nodes.iter().map(|root| address_input(CHUNK_SPAN, root)).collect();
    lanes.hash(&inputs, addresses);
}

/// One level up, for an even number of nodes.
fn fold(nodes: &[Hash], above: &mut Vec<Hash>, lanes: Lanes) {
    let pairs = nodes.as_flattened().as_chunks::<64>().0;
    above.resize(pairs.len(), Hash::default());
    lanes.hash(pairs, above);
}

/// The payload's segments, the last one zero-padded.
fn segments(payload: &[u8]) -> Vec<Hash> {
    let mut segments = vec![Hash::default(); payload.len().div_ceil(SEGMENT_SIZE)];
    for (to, from) in segments.as_flattened_mut().iter_mut().zip(payload) {
        *to = *from;
    }
    segments
}

/// Walks up from the payload's segments to the root. `see` gets the nodes of each
/// level below the root, and what stands for those that are not there.
fn climb(payload: &[u8], lanes: Lanes, mut see: impl FnMut(&[Hash], &Hash)) -> Hash {
    let mut nodes = segments(payload);
    let mut above = Vec::new();
    let mut zero = Hash::default();
    for zero_above in ZERO_LEVELS.get_or_init(zero_levels) {
        see(&nodes, &zero);
        if !nodes.len().is_multiple_of(2) {
            nodes.push(zero);
        }
        fold(&nodes, &mut above, lanes);
        std::mem::swap(&mut nodes, &mut above);
        zero = *zero_above;
    }
    nodes.first().copied().unwrap_or(zero)
}

/// The sisters of one segment, from the bottom up, and that segment.
pub(crate) fn sisters(payload: &[u8], index: usize) -> (Hash, [Hash; BMT_LEVELS]) {
    let mut found = [Hash::default(); BMT_LEVELS];
    let mut segment = None;
    let mut at = index;
    let mut free = found.iter_mut();
    climb(payload, Lanes::best(), |nodes, zero| {
        let node = |at: usize| nodes.get(at).copied().unwrap_or(*zero);
        segment.get_or_insert(node(at));
        if let Some(sister) = free.next() {
            *sister = node(at ^ 1);
        }
        at >>= 1;
    });
    (segment.unwrap_or_default(), found)
}

/// The Merkle root over the payload, zero-padded to [`CHUNK_SIZE`].
///
/// # Errors
/// [`ChunkError::TooLong`] when the payload exceeds [`CHUNK_SIZE`].
pub fn bmt_root(payload: &[u8]) -> Result<[u8; 32], ChunkError> {
    if payload.len() > CHUNK_SIZE {
        return Err(ChunkError::TooLong { len: payload.len() });
    }
    Ok(merkle_root(payload, Lanes::best()))
}

/// [`bmt_root`] of a payload that is known to fit a chunk.
pub(crate) fn merkle_root(payload: &[u8], lanes: Lanes) -> Hash {
    debug_assert!(payload.len() <= CHUNK_SIZE);
    climb(payload, lanes, |_, _| {})
}

/// Hashes of all-zero subtrees, one a level; computed once for the process.
static ZERO_LEVELS: std::sync::OnceLock<[Hash; BMT_LEVELS]> = std::sync::OnceLock::new();

fn zero_levels() -> [Hash; BMT_LEVELS] {
    let mut zero = Hash::default();
    std::array::from_fn(|_| {
        zero = hash_pair(&zero, &zero);
        zero
    })
}

/// How the chunk of a given span is laid out: the one shape that a splitter makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A leaf: the payload is the data.
    Leaf {
        /// Bytes of payload.
        len: usize,
    },
    /// A node: the payload is `children` references.
    Node {
        /// Number of references.
        children: usize,
        /// Span of every child but the last.
        child_span: u64,
        /// Span of the last child.
        last_span: u64,
    },
}

impl Layout {
    /// The layout of the chunk that covers `span` bytes.
    ///
    /// With the carrier rule a lone last reference rises unchanged, so the tree of
    /// the last child is the tree of its span and nothing else.
    pub(crate) fn of(span: u64) -> Self {
        if span <= CHUNK_SPAN {
            return Self::Leaf { len: usize::try_from(span).unwrap_or(CHUNK_SIZE) };
        }
        let mut child_span = CHUNK_SPAN;
        while child_span.checked_mul(REFS).is_some_and(|capacity| capacity < span) {
            child_span = child_span.saturating_mul(REFS);
        }
        let children = span.div_ceil(child_span);
        let before_last = children.saturating_sub(1).saturating_mul(child_span);
        Self::Node {
            children: usize::try_from(children).unwrap_or(REFS_PER_CHUNK),
            child_span,
            last_span: span.saturating_sub(before_last),
        }
    }

    /// Bytes of payload that this layout has.
    pub(crate) fn payload_len(self) -> usize {
        match self {
            Self::Leaf { len } => len,
            Self::Node { children, .. } => children.saturating_mul(SEGMENT_SIZE),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;

    #[test]
    fn sym_36_layout_of_boundary_spans() {
        assert_eq!(Layout::of(0), Layout::Leaf { len: 0 });
        assert_eq!(Layout::of(4096), Layout::Leaf { len: 4096 });
        assert_eq!(Layout::of(4097), Layout::Node { children: 2, child_span: 4096, last_span: 1 });
        assert_eq!(Layout::of(524_288), Layout::Node { children: 128, child_span: 4096, last_span: 4096 });
        assert_eq!(Layout::of(524_289), Layout::Node { children: 2, child_span: 524_288, last_span: 1 });
        // The largest span has a shape too: nothing overflows.
        let Layout::Node { children, .. } = Layout::of(u64::MAX) else { unreachable!() };
        assert!(children <= REFS_PER_CHUNK);
    }

    #[test]
    fn sym_36_zero_shortcut_equals_the_padded_tree() {
        for len in [0usize, 1, 31, 32, 33, 64, 65, 1000, 2048, 4095, 4096] {
            let mut payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let short = bmt_root(&payload).unwrap();
            payload.resize(CHUNK_SIZE, 0);
            assert_eq!(short, bmt_root(&payload).unwrap(), "length {len}");
        }
    }

    #[test]
    fn sym_36_stored_form_round_trips_and_refuses_bad_lengths() {
        let chunk = Chunk { address: chunk_address(3, b"abc").unwrap(), span: 3, payload: b"abc" };
        assert_eq!(parse_stored(&chunk.stored()).unwrap(), (3, &b"abc"[..]));
        assert_eq!(parse_stored(&[0; 7]), Err(ChunkError::TooShort { len: 7 }));
        assert_eq!(parse_stored(&[0; MAX_STORED + 1]), Err(ChunkError::TooLong { len: CHUNK_SIZE + 1 }));
        assert_eq!(chunk_address(0, &[0; CHUNK_SIZE + 1]), Err(ChunkError::TooLong { len: CHUNK_SIZE + 1 }));
    }
}
