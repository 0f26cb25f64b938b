//! Guests against the executor, written in WebAssembly text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

mod atomics;
mod exec;
mod flite;
mod fuzz;
mod guest;
mod hostile;
mod interfaces;
mod matrix;
mod modules;
mod modules_kept;
mod nans;
mod outcomes;
mod programs;
mod random;
mod shipped;
mod wasi;
