//! The store from outside: what it keeps, refuses, survives and gives back.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod backup;
mod damage;
mod kill;
mod migrations;
mod samples;
mod writes;
