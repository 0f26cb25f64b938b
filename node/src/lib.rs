//! The node: providers and requestors as shells around the machines.
//!
//! ```text
//!  market ── who works with whom          content, executor ── what is computed
//!  quorum ── what is true                 channel ── what is owed
//!        \_________ provider / requestor: one task each ________/
//!              net, store, settlement: what is said, kept, paid
//! ```
//!
//! **Architecture invariant.** No rule of the protocol lives here. A provider or
//! requestor hands inputs, the time and randomness to machines and carries out
//! their effects in order; [`now`] is the only clock. Nothing leaves a node
//! before what it depends on is durable.

mod collect;
mod content_store;
mod context;
mod convert;
mod event;
mod find;
mod funds;
mod known;
mod ledger;
mod listing;
mod outbox;
mod overrule;
mod peer;
mod policy;
mod provider;
mod registry;
mod requestor;
mod serve;
mod snapshot;
mod watch;
mod watchtower;

pub use collect::{Collection, Holdings, holdings};
pub use content_store::{CONTENT_DIR, ContentStore};
pub use context::{Context, NodeConfig, NodeError, engine, now};
pub use event::{Event, Events, JobReport, ProviderPart};
pub use find::{Finder, FoundChannel};
pub use funds::{deposit, ensure_balance, ensure_stake};
pub use known::{KnownChannel, NextStep, Role, known_channels, open_store};
pub use ledger::{
    MemberEntry, NoReceipt, OrderEntry, OrderState, Reexecution, Stands, known_orders, receipt, reexecute,
};
pub use listing::UseError;
pub use outbox::Outbox;
pub use overrule::{Halt, StaysHalted};
pub use peer::{CallError, FetchError, Peer, PeerError};
pub use policy::{ProviderTerms, RequestorTerms, TermsRefused, Timing, UNSTAKE_SECS};
pub use provider::{CLOCK_SLACK_SECS, Fault, Provider, ProviderConfig};
pub use requestor::{
    DrawRules, JobEntry, JobError, JobId, JobOrder, JobSpec, JobState, Requestor, UnfinishedJob, UnitOutput, UnitSpec,
    batches, forget_job, grouping, known_jobs, unfinished_jobs,
};
pub use symbolon_channel::{Conflict, Reason as ChannelReason};
pub use symbolon_market::Candidate;
pub use watch::{HandOverError, hand_over, packages, watch_receipts};
pub use watchtower::{Kept, WatchReceipt, Watchtower, WatchtowerConfig, watched};
