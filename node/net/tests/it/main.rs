//! Real swarms over loopback TCP. Tests wait for events under a deadline, never
//! for time to pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gossip;
mod harness;
mod hostile;
mod lifecycle;
mod requests;
