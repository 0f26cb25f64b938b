//! The chain shell: everything that talks to a chain, and nothing that decides
//! what is owed.
//!
//! - [`chain`] reads: the head, a block at a depth, channels, accounts, logs
//!   (SYM-26). Several endpoints, each with a deadline, none of them trusted
//!   with more than an answer that can be checked.
//! - [`tx`] writes: one nonce authority for a key, every intent journalled
//!   before it is sent, replaced when it is stuck, the same transaction after a
//!   restart.
//! - [`ops`] builds the intents: one function for each call of the vault.
//! - [`claims`] decides, as a pure function, which vouchers to claim now.
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
pub mod events;
pub mod intent;
pub mod ops;
pub mod payments;
pub mod rpc;
pub mod tx;

pub use chain::{AccountState, ChainView, ChannelState, Depth, KeyOwner, VaultView};
pub use claims::{Claim, ClaimPolicy, GasPrice, HeldVoucher, decide};
pub use contract_error::ContractError;
pub use events::{ChainEvent, EventFilter, EventPage, Registration, amounts_of_words};
pub use intent::{Intent, IntentKind};
pub use payments::{Instrument, Payment};
pub use rpc::{ChainConfig, ChainError, Header};
pub use tx::{Receipt, TxConfig, TxError, TxHandle, TxManager};
