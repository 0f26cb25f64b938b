//! Whole nodes that die: the product's own processes over libp2p on a real
//! chain, ended with SIGKILL and started again with the same folders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods)]

mod check;
mod kills;
mod resume;
mod world;
