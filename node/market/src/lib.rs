//! The market's language: what demands and offers say, whether they match, how
//! a proposal goes back and forth, and who is drawn to compute.
//!
//! Bird's eye: a [`Body`] is the text that a signed demand or offer commits to:
//! [`Properties`] of the side that wrote it, and a [`Constraint`] on the other
//! side's. [`matches`] compares two bodies, [`Quote`] reads the price and checks
//! that an agreement keeps to it (SYM-20), a [`Proposal`] moves the terms until
//! both sides accept the same, and [`draw`] picks the replicas of an order
//! (SYM-28). Signatures are checked where messages are read, in the wire crate.
//!
//! Layer 2: no clock, no randomness, no input or output, no floats. The time and
//! the random word are arguments, and every size is bounded before it is read.

#![warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

mod body;
mod constraint;
mod draw;
mod json;
pub mod names;
mod properties;
mod proposal;
mod quote;
mod value;

pub use body::{Body, BodyError, MAX_BODY_BYTES, Negotiation, matches, negotiate};
pub use constraint::{Constraint, ConstraintError, MAX_CONSTRAINT_DEPTH, MAX_TERMS, Operator, Pattern, Truth};
pub use draw::{Candidate, DrawError, EXACT_HONEST, Grouping, NetworkGroup, draw, largest_staker_quorum_chance_ppm_up};
pub use json::{JsonError, MAX_JSON_DEPTH};
pub use properties::{MAX_LIST, MAX_NAME_BYTES, MAX_PROPERTIES, MAX_TEXT_BYTES, Properties, Property, PropertyError};
pub use proposal::{
    MAX_ROUNDS, Proposal, ProposalError, ProposalInput, ProposalState, Reaction, RejectReason, Rejected, Side,
};
pub use quote::{Quote, QuoteError, TermsError};
pub use value::{DateTime, Decimal, Kind, MAX_DIGITS, Value, ValueError, Version};
