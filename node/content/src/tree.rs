//! Bytes in, chunks and the root reference out.

use crate::chunk::{CHUNK_SIZE, Chunk, SEGMENT_SIZE, address_of_root, merkle_root};
use std::convert::Infallible;
use symbolon_primitives::ContentRef;

/// What a whole byte string is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Address of the topmost chunk.
    pub reference: ContentRef,
    /// Length in bytes.
    pub len: u64,
}

/// References that wait for their parent at one level; never a full group.
#[derive(Debug, Default)]
struct Level {
    refs: Vec<u8>,
    span: u64,
}

/// Cuts a stream of bytes into chunks and hands every one to a sink.
///
/// Leaves come in order; a parent comes after its children; the root comes last.
/// Memory stays at one chunk a level (at most ten levels). The only error is the
/// sink's own; after one the splitter is of no further use.
#[derive(Debug)]
pub struct Splitter<S> {
    sink: S,
    leaf: Vec<u8>,
    levels: Vec<Level>,
    len: u64,
}

impl<S, E> Splitter<S>
where
    S: FnMut(&Chunk<'_>) -> Result<(), E>,
{
    /// A splitter that gives every chunk to `sink`.
    pub fn new(sink: S) -> Self {
        Self { sink, leaf: Vec::with_capacity(CHUNK_SIZE), levels: Vec::new(), len: 0 }
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// The sink's.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), E> {
        while !bytes.is_empty() {
            let room = CHUNK_SIZE.saturating_sub(self.leaf.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.leaf.extend_from_slice(now);
            bytes = later;
            if self.leaf.len() == CHUNK_SIZE {
                self.emit_leaf()?;
            }
        }
        Ok(())
    }

    /// Ends the byte string and says what it is called.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> Result<Root, E> {
        if !self.leaf.is_empty() {
            self.emit_leaf()?;
        }
        let mut carried: Option<(ContentRef, u64)> = None;
        for mut level in std::mem::take(&mut self.levels) {
            if let Some((address, span)) = carried {
                level.refs.extend_from_slice(address.as_bytes());
                level.span = level.span.saturating_add(span);
            }
            carried = match <[u8; SEGMENT_SIZE]>::try_from(level.refs.as_slice()) {
                // The carrier rule: a lone reference is not wrapped.
                Ok(lone) => Some((ContentRef::from_bytes(lone), level.span)),
                Err(_) if level.refs.is_empty() => None,
                Err(_) => Some((self.emit(level.span, &level.refs)?, level.span)),
            };
        }
        let reference = match carried {
            Some((address, _)) => address,
            // The empty byte string is one chunk without bytes.
            None => self.emit(0, &[])?,
        };
        Ok(Root { reference, len: self.len })
    }

    fn emit(&mut self, span: u64, payload: &[u8]) -> Result<ContentRef, E> {
        let address = address_of_root(span, &merkle_root(payload));
        (self.sink)(&Chunk { address, span, payload })?;
        Ok(address)
    }

    fn emit_leaf(&mut self) -> Result<(), E> {
        let leaf = std::mem::take(&mut self.leaf);
        let span = leaf.len() as u64;
        let address = self.emit(span, &leaf)?;
        self.len = self.len.saturating_add(span);
        self.leaf = leaf;
        self.leaf.clear();
        self.push(address, span)
    }

    /// Adds a leaf's reference; a group that became full is wrapped and rises.
    fn push(&mut self, mut address: ContentRef, mut span: u64) -> Result<(), E> {
        for at in 0.. {
            if self.levels.len() <= at {
                self.levels.push(Level::default());
            }
            let Some(level) = self.levels.get_mut(at) else {
                break;
            };
            level.refs.extend_from_slice(address.as_bytes());
            level.span = level.span.saturating_add(span);
            if level.refs.len() < CHUNK_SIZE {
                break;
            }
            let full = std::mem::take(level);
            address = self.emit(full.span, &full.refs)?;
            span = full.span;
        }
        Ok(())
    }
}

/// Splits a byte string that is in memory.
///
/// # Errors
/// The sink's.
pub fn split<S, E>(bytes: &[u8], sink: S) -> Result<Root, E>
where
    S: FnMut(&Chunk<'_>) -> Result<(), E>,
{
    let mut splitter = Splitter::new(sink);
    splitter.write(bytes)?;
    splitter.finish()
}

/// The reference of a byte string, when nobody needs its chunks.
#[must_use]
pub fn reference(bytes: &[u8]) -> ContentRef {
    let Ok(root) = split(bytes, |_| Ok::<(), Infallible>(()));
    root.reference
}
