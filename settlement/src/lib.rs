//! The chain shell: everything that talks to a chain, and nothing that decides
//! what is owed.
//!
//! - [`chain`] reads: the head, a block at a depth, channels, accounts, logs
//!   (SYM-26). Several endpoints, each with a deadline; more than half have to
//!   give the same answer ([`rpc`]).
//! - [`follow`] keeps up with events and channels over reorganisations.
//! - [`tx`] writes: one nonce authority for a key, every intent journalled
//!   before it is sent, replaced when it is stuck, sent again when it is lost,
//!   the same transaction after a restart.
//! - [`ops`] builds the intents: one function for each call of the vault.
//! - [`claims`] plans, as a pure function, what to claim and settle now, and why.
//! - [`contract_error`] turns what a contract refused into a sentence.
//! - [`payments`] reads which transaction paid what.
//! - [`census`] counts what happened, for reports.
//! - [`deploy`] puts the contracts on a chain; [`anvil`] runs a local one.
//!
//! Layer 3. Knows nothing of peers, jobs or markets. The clock and the network
//! are used here, for deadlines and polling, and never for a decision about
//! money: those are the machines' one layer down.

pub mod anvil;
pub mod census;
pub mod chain;
pub mod claims;
pub mod contract_error;
pub mod deploy;
mod error;
pub mod events;
mod fees;
pub mod follow;
mod health;
pub mod intent;
pub mod ops;
pub mod payments;
mod pilot;
pub mod rpc;
mod transport;
pub mod tx;

pub use chain::{AccountState, ChainView, ChannelState, Depth, KeyOwner, VaultView};
pub use claims::{
    Call, Claim, ClaimPolicy, Congestion, Entry, GasPrice, HeldQuorum, HeldVoucher, Market, Place, Plan, Recent, Wait,
    Why, plan,
};
pub use contract_error::ContractError;
pub use error::{ChainError, Said};
pub use events::{ChainEvent, EventFilter, EventPage, Registration, amounts_of_words};
pub use follow::{ChannelBook, Cursor, Follower, Mark, Party, Step};
pub use intent::{Intent, IntentKind};
pub use payments::{Instrument, Payment};
pub use rpc::{ChainConfig, EndpointStatus, Header};
pub use transport::TransportFault;
pub use tx::{JournalledTx, MAX_TX_GAS, PendingTx, Receipt, TxConfig, TxError, TxHandle, TxManager};
