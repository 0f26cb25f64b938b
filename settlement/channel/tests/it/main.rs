//! The channel machines from outside: each rule alone, then whole channels with
//! a hostile payer, a lossy network, a chain that lags, and processes that die.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation)]

mod desk;
mod hosting;
mod model;
mod rules;
mod simulation;
