//! Untrusted chunks in, checked bytes out.
//!
//! A [`Joiner`] says which addresses it needs next and takes chunks in any order.
//! It believes nothing: the hash of every chunk, the span of every child against
//! its parent's layout, the payload's length, and the whole length against a bound
//! are checked before a byte leaves. A root that names a wide or deep tree costs its
//! receiver nothing, since the first chunk already states the length.

use crate::chunk::{ChunkError, Layout, SEGMENT_SIZE, chunk_address, parse_stored};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_primitives::ContentRef;

/// Why a chunk or a tree is refused. Each says that its sender cheats or errs,
/// except [`JoinError::NotWanted`] and [`JoinError::Missing`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The bytes are no chunk at all.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The bytes hash to another address.
    #[error("chunk {wanted} hashes to {found}")]
    WrongHash {
        /// The address asked for.
        wanted: ContentRef,
        /// The address of what came.
        found: ContentRef,
    },
    /// Nobody asked for this chunk (or it came twice).
    #[error("chunk {address} was not asked for")]
    NotWanted {
        /// Its address.
        address: ContentRef,
    },
    /// The whole is longer than the caller allows.
    #[error("{len} bytes where at most {max} are allowed")]
    TooLong {
        /// Length that the root states.
        len: u64,
        /// The caller's bound.
        max: u64,
    },
    /// A child covers another number of bytes than its place in the tree says.
    #[error("chunk {address} spans {found} bytes where its parent leaves {expected}")]
    WrongSpan {
        /// The chunk.
        address: ContentRef,
        /// Span that the layout demands.
        expected: u64,
        /// Span that the chunk states.
        found: u64,
    },
    /// The payload's length does not follow from the span.
    #[error("chunk {address} carries {found} bytes of payload instead of {expected}")]
    WrongPayload {
        /// The chunk.
        address: ContentRef,
        /// Length that the layout demands.
        expected: usize,
        /// Length found.
        found: usize,
    },
    /// The source has no such chunk (only from [`join()`]).
    #[error("chunk {address} is missing")]
    Missing {
        /// Its address.
        address: ContentRef,
    },
}

#[derive(Debug)]
enum Item {
    /// A chunk not yet received.
    Wanted { address: ContentRef, span: u64, asked: bool },
    /// A leaf's bytes, received and checked.
    Data(Vec<u8>),
}

/// Rebuilds one byte string from chunks that come from strangers.
///
/// At most `window` leaves and requests are held at once, so memory stays bounded
/// whatever the length, provided that the caller drains [`Joiner::take`].
#[derive(Debug)]
pub struct Joiner {
    max_len: u64,
    window: usize,
    /// Known once the root chunk is there.
    len: Option<u64>,
    root: ContentRef,
    root_asked: bool,
    /// Keyed by the offset of the first byte that an item covers.
    items: BTreeMap<u64, Item>,
    /// Offsets that wait for an address; equal chunks are asked for once.
    asked: BTreeMap<ContentRef, BTreeSet<u64>>,
    buffered: usize,
    next: u64,
}

impl Joiner {
    /// A joiner for the tree at `root` of at most `max_len` bytes.
    #[must_use]
    pub fn new(root: ContentRef, max_len: u64, window: usize) -> Self {
        Self {
            max_len,
            window: window.max(1),
            len: None,
            root,
            root_asked: false,
            items: BTreeMap::new(),
            asked: BTreeMap::new(),
            buffered: 0,
            next: 0,
        }
    }

    /// The length in bytes, once the root chunk is there.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether the whole is known to be the empty byte string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }

    /// Whether every byte has been taken.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.len == Some(self.next)
    }

    /// Up to `max` addresses that are needed next and were not asked for before, in
    /// the order of the bytes they lead to. Empty while the window is full.
    pub fn wanted(&mut self, max: usize) -> Vec<ContentRef> {
        if self.len.is_none() {
            if self.root_asked || max == 0 {
                return Vec::new();
            }
            self.root_asked = true;
            return vec![self.root];
        }
        let mut room = self.window.saturating_sub(self.buffered).saturating_sub(self.asked.len());
        // What stands first must stay fetchable, or a full buffer waits for ever.
        if self.asked.is_empty() {
            room = room.max(1);
        }
        let room = room.min(max);
        let mut list = Vec::new();
        for (offset, item) in &mut self.items {
            if let Item::Wanted { address, asked, .. } = item
                && !*asked
            {
                if list.len() >= room && !self.asked.contains_key(address) {
                    break;
                }
                *asked = true;
                let places = self.asked.entry(*address).or_default();
                if places.is_empty() {
                    list.push(*address);
                }
                places.insert(*offset);
            }
        }
        list
    }

    /// Says that a request failed, so that [`Joiner::wanted`] names it again.
    pub fn forget(&mut self, address: &ContentRef) {
        if self.len.is_none() && *address == self.root {
            self.root_asked = false;
        }
        for offset in self.asked.remove(address).unwrap_or_default() {
            if let Some(Item::Wanted { asked, .. }) = self.items.get_mut(&offset) {
                *asked = false;
            }
        }
    }

    /// Takes a stored chunk (span and payload) that was asked for.
    ///
    /// # Errors
    /// Any [`JoinError`]; nothing is kept of a refused chunk, and the request stays
    /// open unless the tree itself is malformed ([`JoinError::TooLong`],
    /// [`JoinError::WrongSpan`], [`JoinError::WrongPayload`]), which no other sender
    /// can mend: the address itself commits to it.
    pub fn supply(&mut self, address: &ContentRef, stored: &[u8]) -> Result<(), JoinError> {
        let is_root = self.len.is_none() && self.root_asked && *address == self.root;
        if !is_root && !self.asked.contains_key(address) {
            return Err(JoinError::NotWanted { address: *address });
        }
        let (span, payload) = parse_stored(stored)?;
        let found = chunk_address(span, payload)?;
        if found != *address {
            return Err(JoinError::WrongHash { wanted: *address, found });
        }
        if is_root && span > self.max_len {
            return Err(JoinError::TooLong { len: span, max: self.max_len });
        }
        let layout = Layout::of(span);
        if layout.payload_len() != payload.len() {
            return Err(JoinError::WrongPayload {
                address: *address,
                expected: layout.payload_len(),
                found: payload.len(),
            });
        }
        if is_root {
            self.len = Some(span);
            if span > 0 {
                self.place(0, layout, payload);
            }
            return Ok(());
        }
        let places = self.asked.get(address).cloned().unwrap_or_default();
        for offset in &places {
            if let Some(Item::Wanted { span: expected, .. }) = self.items.get(offset)
                && *expected != span
            {
                return Err(JoinError::WrongSpan { address: *address, expected: *expected, found: span });
            }
        }
        self.asked.remove(address);
        for offset in places {
            self.place(offset, layout, payload);
        }
        Ok(())
    }

    /// Puts a checked chunk in its place: bytes, or the children that it names.
    fn place(&mut self, offset: u64, layout: Layout, payload: &[u8]) {
        match layout {
            Layout::Leaf { .. } => {
                self.items.insert(offset, Item::Data(payload.to_vec()));
                self.buffered = self.buffered.saturating_add(1);
            }
            Layout::Node { children, child_span, last_span } => {
                self.items.remove(&offset);
                let mut at = offset;
                for (i, reference) in payload.chunks_exact(SEGMENT_SIZE).enumerate() {
                    let mut address = [0u8; SEGMENT_SIZE];
                    address.copy_from_slice(reference);
                    let last = i.saturating_add(1) == children;
                    let span = if last { last_span } else { child_span };
                    self.items
                        .insert(at, Item::Wanted { address: ContentRef::from_bytes(address), span, asked: false });
                    at = at.saturating_add(span);
                }
            }
        }
    }

    /// The next bytes in order, at most one chunk of them, if they are there.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if !matches!(self.items.get(&self.next), Some(Item::Data(_))) {
            return None;
        }
        let Some(Item::Data(bytes)) = self.items.remove(&self.next) else {
            return None;
        };
        self.buffered = self.buffered.saturating_sub(1);
        self.next = self.next.saturating_add(bytes.len() as u64);
        Some(bytes)
    }
}

/// Joins a tree whose chunks `source` has at hand, of at most `max_len` bytes.
///
/// # Errors
/// Any [`JoinError`].
pub fn join(
    root: ContentRef,
    max_len: u64,
    mut source: impl FnMut(&ContentRef) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, JoinError> {
    let mut joiner = Joiner::new(root, max_len, 64);
    let mut out = Vec::new();
    while !joiner.is_complete() {
        for address in joiner.wanted(64) {
            let stored = source(&address).ok_or(JoinError::Missing { address })?;
            joiner.supply(&address, &stored)?;
        }
        while let Some(bytes) = joiner.take() {
            out.extend_from_slice(&bytes);
        }
    }
    Ok(out)
}
