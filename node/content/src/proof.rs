//! Proofs that one 32-byte segment belongs to a reference.

use crate::chunk::{
    BMT_LEVELS, CHUNK_SIZE, Chunk, ChunkError, Layout, REFS_PER_CHUNK, SEGMENT_SIZE, address_of_root, hash_pair,
    parse_stored, sisters,
};
use std::collections::BTreeMap;
use symbolon_primitives::ContentRef;

/// Why a proof could not be made or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The bytes are no chunk.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A chunk has segments 0 to 127.
    #[error("segment {index} of a chunk that has {REFS_PER_CHUNK}")]
    NoSuchSegment {
        /// The index asked for.
        index: u64,
    },
    /// The offset lies behind the last byte.
    #[error("offset {offset} in {len} bytes")]
    BeyondEnd {
        /// Offset of the segment's first byte.
        offset: u64,
        /// Length of the whole.
        len: u64,
    },
    /// The source has no such chunk.
    #[error("chunk {address} is missing")]
    Missing {
        /// Its address.
        address: ContentRef,
    },
    /// A level of the proof leads to another address.
    #[error("proof leads to {found} instead of {wanted}")]
    WrongAddress {
        /// The address to be proven.
        wanted: ContentRef,
        /// Where the proof leads.
        found: ContentRef,
    },
    /// A level's span, index or number does not fit the tree of the root's length.
    #[error("level {level} of the proof does not fit the tree")]
    WrongShape {
        /// Counted from the root.
        level: usize,
    },
}

/// One segment of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentProof {
    /// Bytes that lie in and below the chunk.
    pub span: u64,
    /// Which of the 128 segments.
    pub index: u8,
    /// The segment itself; zeros past the payload's end.
    pub segment: [u8; SEGMENT_SIZE],
    /// Sister hashes from the bottom up.
    pub sisters: [[u8; 32]; BMT_LEVELS],
}

impl SegmentProof {
    /// Proves segment `index` of the chunk with this span and payload.
    ///
    /// # Errors
    /// [`ProofError::Chunk`] for a payload that is too long,
    /// [`ProofError::NoSuchSegment`] for an index above 127.
    pub fn new(span: u64, payload: &[u8], index: u8) -> Result<Self, ProofError> {
        if payload.len() > CHUNK_SIZE {
            return Err(ChunkError::TooLong { len: payload.len() }.into());
        }
        if usize::from(index) >= REFS_PER_CHUNK {
            return Err(ProofError::NoSuchSegment { index: u64::from(index) });
        }
        let (segment, sisters) = sisters(payload, usize::from(index));
        Ok(Self { span, index, segment, sisters })
    }

    /// The chunk address that this proof leads to.
    #[must_use]
    pub fn address(&self) -> ContentRef {
        let mut node = self.segment;
        let mut at = self.index;
        for sister in &self.sisters {
            node = if at & 1 == 0 { hash_pair(&node, sister) } else { hash_pair(sister, &node) };
            at >>= 1;
        }
        address_of_root(self.span, &node)
    }

    /// Checks the proof against a chunk's address.
    ///
    /// # Errors
    /// [`ProofError::NoSuchSegment`] and [`ProofError::WrongAddress`].
    pub fn verify(&self, address: &ContentRef) -> Result<(), ProofError> {
        if usize::from(self.index) >= REFS_PER_CHUNK {
            return Err(ProofError::NoSuchSegment { index: u64::from(self.index) });
        }
        let found = self.address();
        if found == *address { Ok(()) } else { Err(ProofError::WrongAddress { wanted: *address, found }) }
    }
}

/// One segment of a whole byte string: a [`SegmentProof`] a level, root first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProof {
    /// The levels; every level but the last proves a child's reference.
    pub levels: Vec<SegmentProof>,
}

impl FileProof {
    /// Proves the segment that holds byte `offset`, reading chunks from `source`.
    ///
    /// # Errors
    /// [`ProofError::Missing`], [`ProofError::BeyondEnd`], and
    /// [`ProofError::WrongShape`] when the stored tree is malformed.
    pub fn new(
        root: ContentRef,
        offset: u64,
        mut source: impl FnMut(&ContentRef) -> Option<Vec<u8>>,
    ) -> Result<Self, ProofError> {
        let mut levels: Vec<SegmentProof> = Vec::new();
        let mut address = root;
        let mut within = offset;
        loop {
            let stored = source(&address).ok_or(ProofError::Missing { address })?;
            let (span, payload) = parse_stored(&stored)?;
            if within >= span {
                return Err(ProofError::BeyondEnd { offset: within, len: span });
            }
            let layout = Layout::of(span);
            if layout.payload_len() != payload.len() {
                return Err(ProofError::WrongShape { level: levels.len() });
            }
            let (index, rest) = place(layout, within);
            let proof = SegmentProof::new(span, payload, index)?;
            let next = proof.segment;
            levels.push(proof);
            match rest {
                None => return Ok(Self { levels }),
                Some(rest) => {
                    address = ContentRef::from_bytes(next);
                    within = rest;
                }
            }
        }
    }

    /// Checks the proof against the root's reference and the byte offset, and gives
    /// the proven segment and the whole's length.
    ///
    /// # Errors
    /// Any [`ProofError`] but `Missing` and `Chunk`.
    pub fn verify(&self, root: &ContentRef, offset: u64) -> Result<([u8; SEGMENT_SIZE], u64), ProofError> {
        let mut address = *root;
        let mut within = offset;
        let mut expected: Option<u64> = None;
        let mut len = 0;
        let last = self.levels.len().checked_sub(1);
        for (level, proof) in self.levels.iter().enumerate() {
            proof.verify(&address)?;
            match expected {
                None => len = proof.span,
                Some(span) if span == proof.span => {}
                Some(_) => return Err(ProofError::WrongShape { level }),
            }
            if within >= proof.span {
                return Err(ProofError::BeyondEnd { offset: within, len: proof.span });
            }
            let layout = Layout::of(proof.span);
            let (index, rest) = place(layout, within);
            let is_last = Some(level) == last;
            if index != proof.index || rest.is_none() != is_last {
                return Err(ProofError::WrongShape { level });
            }
            match (rest, layout) {
                (Some(rest), Layout::Node { children, child_span, last_span }) => {
                    address = ContentRef::from_bytes(proof.segment);
                    within = rest;
                    let is_tail = usize::from(index).saturating_add(1) == children;
                    expected = Some(if is_tail { last_span } else { child_span });
                }
                _ => return Ok((proof.segment, len)),
            }
        }
        Err(ProofError::WrongShape { level: self.levels.len() })
    }
}

/// Gathers in one pass over a byte string what proofs of some of its bytes need.
///
/// It keeps the chunks above each offset, one a level, and nothing else: a file
/// need not fit in memory, nor its chunks be stored.
///
/// ```
/// use symbolon_content::{Chunk, Prover, Splitter};
///
/// let mut prover = Prover::new([70_000]);
/// let mut splitter = Splitter::new(|chunk: &Chunk<'_>| {
///     prover.see(chunk);
///     Ok::<(), std::convert::Infallible>(())
/// });
/// for _ in 0..100 {
///     splitter.write(&[7; 1000])?;
/// }
/// let root = splitter.finish()?;
/// let proof = prover.prove(root.reference, 70_000)?;
/// assert_eq!(proof.verify(&root.reference, 70_000)?, ([7; 32], 100_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prover {
    offsets: Vec<u64>,
    /// Bytes that lie in the leaves seen so far.
    seen: u64,
    kept: BTreeMap<ContentRef, Vec<u8>>,
}

impl Prover {
    /// A prover for the segments with these bytes.
    pub fn new(offsets: impl IntoIterator<Item = u64>) -> Self {
        Self { offsets: offsets.into_iter().collect(), seen: 0, kept: BTreeMap::new() }
    }

    /// Looks at the next chunk in the order of a [`Splitter`](crate::Splitter).
    pub fn see(&mut self, chunk: &Chunk<'_>) {
        if chunk.span <= CHUNK_SIZE as u64 {
            self.seen = self.seen.saturating_add(chunk.span);
        }
        // A chunk above the leaves comes as soon as the last of them did.
        let from = self.seen.saturating_sub(chunk.span);
        if self.offsets.iter().any(|offset| (from..self.seen).contains(offset)) {
            self.kept.insert(chunk.address, chunk.stored());
        }
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn size(&self) -> usize {
        self.kept.values().map(Vec::len).sum()
    }

    /// Proves the segment that holds byte `offset`.
    ///
    /// # Errors
    /// As [`FileProof::new`]; [`ProofError::Missing`] for an offset that the prover
    /// was not made for, or a root whose chunks it has not seen.
    pub fn prove(&self, root: ContentRef, offset: u64) -> Result<FileProof, ProofError> {
        FileProof::new(root, offset, |address| self.kept.get(address).cloned())
    }
}

/// The segment that leads to byte `within`, and the offset inside the child below it.
fn place(layout: Layout, within: u64) -> (u8, Option<u64>) {
    match layout {
        Layout::Leaf { .. } => {
            let index = within / SEGMENT_SIZE as u64;
            (u8::try_from(index).unwrap_or(u8::MAX), None)
        }
        Layout::Node { child_span, .. } => {
            let index = within / child_span.max(1);
            let rest = within % child_span.max(1);
            (u8::try_from(index).unwrap_or(u8::MAX), Some(rest))
        }
    }
}
