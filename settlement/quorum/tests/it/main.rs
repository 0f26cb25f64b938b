//! The quorum machines from outside: each rule alone, then whole orders with
//! hostile members on a hostile network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation)]

mod rules;
mod simulation;
mod world;
