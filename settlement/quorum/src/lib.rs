//! Redundancy verification (SYM-22, SYM-23): who computed, who only copied,
//! which answer a quorum stands behind.
//!
//! Two machines over the same book of evidence. A [`Replica`] is one member's
//! side of one order: it commits, shows its answer to those bound by a Commit
//! of their own, attests with signed Results, calls reserves, and assembles
//! what `settleQuorum` takes. A [`Verdict`] is the payer's side: it calls
//! reserves and says who agreed, dissented or went missing.
//!
//! Both are pure. Time is an argument, the nonce an input, keys are a
//! [`Signer`](symbolon_primitives::Signer) that is passed in. An input either
//! changes the machine and answers effects, or is [`Rejected`] and changes
//! nothing. The first effect of a change is [`Effect::Persist`]: the whole
//! machine is stored before anything after it leaves the process.
//!
//! How the rules of SYM-22 are read where they leave room:
//! - A Commit is judged by when it is received here. An active replica's must
//!   be here by commit-by and before this replica showed its answer to anybody;
//!   a reserve's by reserve-by. A reserve was not there at commit-by: it judges
//!   the active ones by whether it held them before it showed its own answer,
//!   and waits once more between its Commit and its answer, so that a caller
//!   who passes on only some Commits cannot make it overlook the others.
//! - Late and contradicted Commits are worth nothing: their authors are not
//!   even shown an answer.
//! - An answer that is still missing two waiting times after commit-by counts
//!   like a missing Commit (SYM-23), or withholding would stop an order.
//! - A called reserve that is silent for half of the time it had counts as
//!   missing, and the next one is called.
//! - One that answers but signs no Result stops a quorum of the others as well:
//!   two waiting times later it counts as missing, unless the quorum stands or
//!   this replica is paid.
//! - The payer decides by answers bound by Commits that were here in time, and
//!   pays against a Result of the replica's own over a subset that all answered
//!   the same; where its own receipt was too slow, a subset that all its members
//!   signed, as the vault takes it, serves instead.
//!
//! **What this cannot do.** A copier that the payer helps is paid with the
//! payer's own money; a reserve cannot tell whether its call was warranted.
//!
//! # What does not type-check
//!
//! A machine over an order that nobody checked: terms come from
//! [`OrderTerms::new`] alone, which looks at the payer key's signature and at
//! every refusal of SYM-08a.
//!
//! ```
//! use symbolon_primitives::{Address, Domain, SignedOrder};
//! use symbolon_quorum::{OrderTerms, TermsError, Timing, Verdict};
//!
//! fn judge(order: SignedOrder, domain: Domain, payer: Address) -> Result<Verdict, TermsError> {
//!     Ok(Verdict::new(OrderTerms::new(&order, domain, payer, Timing::default())?))
//! }
//! ```
//!
//! ```compile_fail,E0308
//! use symbolon_primitives::{Address, Domain, SignedOrder};
//! use symbolon_quorum::{OrderTerms, TermsError, Timing, Verdict};
//!
//! fn judge(order: SignedOrder, domain: Domain, payer: Address) -> Result<Verdict, TermsError> {
//!     Ok(Verdict::new(order))
//! }
//! ```
//!
//! Taking back the one Commit: how far a replica is can be looked at only.
//!
//! ```
//! use symbolon_quorum::{Replica, ReplicaPhase};
//!
//! fn again(replica: &mut Replica) -> bool {
//!     *replica.phase() == ReplicaPhase::Computing
//! }
//! ```
//!
//! ```compile_fail,E0594
//! use symbolon_quorum::{Replica, ReplicaPhase};
//!
//! fn again(replica: &mut Replica) {
//!     *replica.phase() = ReplicaPhase::Computing;
//! }
//! ```
//!
//! Deadlines, and who may see what when, depend on values: those are refused at
//! run time. That a snapshot is the latest one is for whoever stores it to see to.
#![warn(clippy::arithmetic_side_effects)]

mod book;
mod effects;
mod message;
mod replica;
mod round;
mod settlement;
mod terms;
mod verdict;

pub use effects::{Effect, Effects, Reason, Rejected};
pub use message::{Answer, Attestation, Message, SignedCommit, SignedSubset};
pub use replica::{Replica, ReplicaEvent, ReplicaInput, ReplicaPhase};
pub use settlement::{Evidence, Row, Settlement, SignedStatement};
pub use symbolon_primitives::Remedy;
pub use terms::{MemberSet, OrderTerms, TermsError, Timing};
pub use verdict::{Verdict, VerdictEvent, VerdictInput};
