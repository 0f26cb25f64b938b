//! Content addressing: what a piece of data is called, and how the name is checked.
//!
//! Bytes are cut into chunks of at most [`CHUNK_SIZE`]; a chunk's address is
//! `keccak256(span ‖ bmt_root)`, the root of a binary Merkle tree over its 32-byte
//! segments together with the length of everything below it. Chunks of references
//! stand above chunks of data until one is left, whose address names the whole
//! (the addressing of Swarm; Keccak is the legacy Keccak-256).
//!
//! - [`tree`]: bytes in, root and every chunk out ([`reference()`], [`Splitter`]);
//! - [`mod@join`]: untrusted chunks in, checked bytes out ([`Joiner`]);
//! - [`proof`]: one 32-byte segment belongs to a root ([`FileProof`]);
//! - [`chunk`]: one chunk's address, and the shape that a length implies;
//! - [`keccak`]: many hashes side by side.
//!
//! **Architecture invariant.** No I/O, no clock, no randomness, and no thread that outlives
//! a call: a store or a network gives and takes chunks through values. The shape of a tree follows
//! from its length alone, so one byte string has one reference and a joiner can tell
//! at every chunk whether the sender keeps to it.

pub mod chunk;
pub mod join;
pub mod keccak;
pub mod proof;
pub mod tree;

pub use chunk::{CHUNK_SIZE, Chunk, ChunkError, REFS_PER_CHUNK, SEGMENT_SIZE, chunk_address};
pub use join::{JoinError, Joiner, join};
pub use keccak::Lanes;
pub use proof::{FileProof, ProofError, Prover, SegmentProof};
pub use symbolon_primitives::ContentRef;
pub use tree::{Root, Splitter, reference, split};
