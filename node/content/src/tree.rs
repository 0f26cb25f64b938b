//! Bytes in, chunks and the root reference out.

use crate::chunk::{CHUNK_SIZE, Chunk, SEGMENT_SIZE, address_of_root, full_leaves, merkle_root};
use crate::keccak::{Hash, Lanes};
use std::convert::Infallible;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use symbolon_primitives::ContentRef;

/// Leaves that are hashed together, to fill the processor's lanes at every level.
const BATCH: usize = 8;

/// Bytes that a splitter holds back until their leaves are hashed together.
const BATCH_SIZE: usize = BATCH * CHUNK_SIZE;

/// Leaves of one piece of work for a thread (256 KiB).
const PIECE: usize = 64;

/// From how many leaves in one call on threads pay (1 MiB).
const PARALLEL_FROM: usize = 256;

/// The most leaves whose addresses are held at once (16 MiB of data).
const WINDOW: usize = 4096;

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
/// Leaves come in order; a parent comes right after its last child; the root comes
/// last. The splitter itself never holds more than 32 KiB of data, the addresses of
/// 16 MiB, and one chunk a level (at most ten levels), however long the stream. The
/// only error is the sink's own; after one the splitter is of no further use.
///
/// Writes of 1 MiB and more are hashed by several threads, which end before the
/// write returns; the sink is called on the caller's thread alone.
#[derive(Debug)]
pub struct Splitter<S> {
    sink: S,
    lanes: Lanes,
    threads: usize,
    /// Data without a leaf yet, less than [`BATCH_SIZE`].
    held: Vec<u8>,
    levels: Vec<Level>,
    len: u64,
}

impl<S, E> Splitter<S>
where
    S: FnMut(&Chunk<'_>) -> Result<(), E>,
{
    /// A splitter that gives every chunk to `sink`.
    pub fn new(sink: S) -> Self {
        Self { sink, lanes: Lanes::best(), threads: processors(), held: Vec::new(), levels: Vec::new(), len: 0 }
    }

    /// Bounds the threads of a write: 1 is the caller's own. The default is one for
    /// each processor that this process may use.
    #[must_use]
    pub fn threads(self, most: usize) -> Self {
        Self { threads: most.max(1), ..self }
    }

    /// Hashes with other vectors than the best, for tests and measurements.
    #[must_use]
    pub fn lanes(self, lanes: Lanes) -> Self {
        Self { lanes, ..self }
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// The sink's.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), E> {
        if !self.held.is_empty() {
            let room = BATCH_SIZE.saturating_sub(self.held.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            if self.held.len() < BATCH_SIZE {
                return Ok(());
            }
            let held = std::mem::take(&mut self.held);
            self.emit_full(held.as_chunks().0)?;
            self.held = held;
            self.held.clear();
        }
        // What is long enough is never copied.
        let (batches, rest) = bytes.as_chunks::<BATCH_SIZE>();
        self.emit_full(batches.as_flattened().as_chunks().0)?;
        self.held.extend_from_slice(rest);
        Ok(())
    }

    /// Ends the byte string and says what it is called.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> Result<Root, E> {
        let held = std::mem::take(&mut self.held);
        let (full, rest) = held.as_chunks();
        self.emit_full(full)?;
        if !rest.is_empty() {
            let span = rest.len() as u64;
            let address = self.emit(span, rest)?;
            self.len = self.len.saturating_add(span);
            self.push(address, span)?;
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
        let address = address_of_root(span, &merkle_root(payload, self.lanes));
        (self.sink)(&Chunk { address, span, payload })?;
        Ok(address)
    }

    fn emit_full(&mut self, leaves: &[[u8; CHUNK_SIZE]]) -> Result<(), E> {
        let mut addresses = vec![Hash::default(); leaves.len().min(WINDOW)];
        for leaves in leaves.chunks(WINDOW) {
            hash_leaves(leaves, &mut addresses, self.lanes, self.threads);
            for (leaf, address) in leaves.iter().zip(&addresses) {
                let address = ContentRef::from_bytes(*address);
                let span = CHUNK_SIZE as u64;
                (self.sink)(&Chunk { address, span, payload: leaf })?;
                self.len = self.len.saturating_add(span);
                self.push(address, span)?;
            }
        }
        Ok(())
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

/// How many threads this process may run at once.
fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// The addresses of full leaves, by as many threads as are allowed and pay.
fn hash_leaves(leaves: &[[u8; CHUNK_SIZE]], addresses: &mut [Hash], lanes: Lanes, threads: usize) {
    let pieces = Mutex::new(leaves.chunks(PIECE).zip(addresses.chunks_mut(PIECE)));
    let work = || {
        loop {
            let piece = pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((leaves, addresses)) = piece else { return };
            for (leaves, addresses) in leaves.chunks(BATCH).zip(addresses.chunks_mut(BATCH)) {
                full_leaves(leaves, addresses, lanes);
            }
        }
    };
    let helpers =
        if leaves.len() < PARALLEL_FROM { 0 } else { threads.min(leaves.len().div_ceil(PIECE)).saturating_sub(1) };
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Without room for another thread those that are there do its work.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
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
