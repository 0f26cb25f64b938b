//! The chain shell among faults: endpoints that break and lie, transactions
//! that get lost, chains that are reorganised. Real chains, real stores.
//!
//! `SYMBOLON_DEEP=1` runs every cell of the matrix of reorganisations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]
#![allow(missing_docs)]

mod endpoints;
mod faults;
mod reorg;
mod txs;
mod world;
