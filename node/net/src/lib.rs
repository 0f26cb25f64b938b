//! The network shell: bounded byte messages between authenticated peers.
//!
//! One task owns a libp2p swarm and runs one `tokio::select!` loop over closed
//! sets of commands and events. A cheap [`Client`] talks to it over a bounded
//! channel, and what peers do comes back through an [`EventReceiver`]. Bytes
//! go in and bytes come out: what they mean is for the crates above.
//!
//! **Architecture invariant.** Nothing here knows of markets, orders or money,
//! and nothing here decodes a payload. The crate imports no workspace crate.
//!
//! **Architecture invariant.** Every queue, map, message and wait is bounded
//! by a field of [`Config`] or a constant beside its use. A peer's bytes end
//! in a typed error, a refusal or a ban, never in a panic.
//!
//! ```no_run
//! use symbolon_net::{Config, Event, Identity, Network};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Network::start(Identity::generate(), Config::default()).await?;
//! client.subscribe("offers").await?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         Event::Request { bytes, reply, .. } => reply.send(bytes)?,
//!         Event::Gossip { accept, .. } => accept.accept(),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod behaviour;
mod budget;
mod client;
mod codec;
mod config;
mod error;
mod event;
mod guard;
mod identity;
mod muxer;
mod rate;
mod service;

pub use address::{NetworkGroup, dialable, named_peer, network_group};
pub use client::{Client, Network, RequestOptions};
pub use config::{Config, Limits};
pub use error::{
    DialError, IdentityError, NetError, PublishError, Refusal, RequestError, RespondError, Stopped, SubscribeError,
};
pub use event::{Event, EventReceiver, MessageId, Responder, Verdict};
pub use identity::{Identity, verify_peer_signature};
pub use libp2p::{Multiaddr, PeerId, multiaddr::Error as MultiaddrError};
pub use rate::Rate;
