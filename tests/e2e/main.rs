//! The command as people use it: real processes, a real chain, real sound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod backup;
mod demo;
mod disk;
mod doctor;
mod exec;
mod ledger;
mod market;
mod module;
mod refused;
mod requestor;
mod royalty;
mod txs;
mod watchtower;
