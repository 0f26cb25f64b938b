//! What a node has said and accepted outlives everything that can happen to its
//! process and its disk (SYM-24, L3, L4, L8, L10, N12).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod faults;
mod hub;
mod images;
mod kills;
#[path = "../party/link.rs"]
mod link;
mod run;
