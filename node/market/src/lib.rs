//! The market's language: what demands and offers say, whether they match, how
//! a proposal goes back and forth, and who is drawn to compute.
//!
//! Bird's eye: a [`Body`] is the text that a signed demand or offer commits to:
//! [`Properties`] of the side that wrote it, and a [`Constraint`] on the other
//! side's. [`read_demand`] and [`read_offer`] turn what was heard into a body
//! only when it is signed, current and canonical (SYM-20). [`matches()`] compares
//! two bodies, a [`Proposal`] moves them until both sides agree, [`Quote`] reads
//! the price, and [`draw`] picks the replicas of an order (SYM-28).
//!
//! Layer 2: no clock, no randomness, no input or output, no floats. The time and
//! the random word are arguments, and every size is bounded before it is read.

#![warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)]

mod body;
mod constraint;
mod draw;
mod json;
mod listing;
pub mod names;
mod properties;
mod proposal;
mod quote;
mod value;

pub use body::{Body, BodyError, MAX_BODY_BYTES, Negotiation, matches, negotiate};
pub use constraint::{Constraint, ConstraintError, MAX_CONSTRAINT_DEPTH, MAX_TERMS, Operator, Pattern, Truth};
pub use draw::{Candidate, DrawError, EXACT_HONEST, Grouping, NetworkGroup, draw, largest_staker_quorum_chance_ppm_up};
pub use json::{JsonError, MAX_JSON_DEPTH};
pub use listing::{ListingError, MAX_LISTING_SECS, read_demand, read_offer};
pub use properties::{MAX_LIST, MAX_NAME_BYTES, MAX_PROPERTIES, MAX_TEXT_BYTES, Properties, Property, PropertyError};
pub use proposal::{
    MAX_ROUNDS, Proposal, ProposalError, ProposalInput, ProposalState, Reaction, RejectReason, Rejected, Side,
};
pub use quote::{Quote, QuoteError, TermsError};
pub use value::{DateTime, Decimal, Kind, MAX_DIGITS, Value, ValueError, Version};
