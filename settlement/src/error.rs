//! Why the chain gave no answer to rely on, in types.

use crate::{ContractError, transport::TransportFault};
use alloy::primitives::Bytes;
use std::{fmt, sync::Arc};

/// Why the chain gave no answer to rely on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The configuration names no endpoint.
    #[error("no RPC endpoint is configured")]
    NoEndpoint,
    /// Neither an HTTP nor a WebSocket address.
    #[error("RPC endpoint number {index} is not an http, https, ws or wss address")]
    BadUrl {
        /// Which one of the configured, from 0.
        index: usize,
    },
    /// Two addresses are one endpoint, which would agree with itself.
    #[error("RPC endpoint {endpoint} is named twice")]
    TwiceNamed {
        /// Its host.
        endpoint: String,
    },
    /// Nothing sensible came back from the endpoint.
    #[error("RPC endpoint {endpoint} cannot be reached")]
    Unreachable {
        /// Its host.
        endpoint: String,
        /// What went wrong on the way.
        source: Arc<TransportFault>,
    },
    /// The endpoint took too long.
    #[error("RPC endpoint {endpoint} gave no answer within {after_secs} s")]
    TimedOut {
        /// Its host.
        endpoint: String,
        /// The deadline.
        after_secs: u64,
    },
    /// The endpoint serves another chain.
    #[error("RPC endpoint {endpoint} serves chain {have}, not {need}")]
    WrongChain {
        /// Its host.
        endpoint: String,
        /// The chain it serves.
        have: u64,
        /// The chain configured.
        need: u64,
    },
    /// The endpoint is behind what was seen before.
    #[error("RPC endpoint {endpoint} is at block {have}, block {need} was seen before")]
    Stale {
        /// Its host.
        endpoint: String,
        /// Its head.
        have: u64,
        /// The highest head seen.
        need: u64,
    },
    /// The endpoint's newest block is too old to be the chain's.
    #[error("the newest block of RPC endpoint {endpoint} is {age_secs} s old, more than {limit_secs} s")]
    OldHead {
        /// Its host.
        endpoint: String,
        /// The block's age by this machine's clock.
        age_secs: u64,
        /// The bound.
        limit_secs: u64,
    },
    /// The endpoint wants fewer requests.
    #[error("RPC endpoint {endpoint} takes no more requests for {retry_secs} s")]
    RateLimited {
        /// Its host.
        endpoint: String,
        /// When it may be asked again.
        retry_secs: u64,
    },
    /// Endpoints answered, and no quorum of them the same.
    #[error("the RPC endpoints disagree about {what}, {need} have to agree: {}", Listed(said))]
    Disagreement {
        /// The JSON-RPC method.
        what: &'static str,
        /// How many have to say the same.
        need: usize,
        /// Which endpoint said what.
        said: Vec<Said>,
    },
    /// Too few endpoints answered to believe them.
    #[error("too few RPC endpoints answered {what}, {need} are needed: {}", Listed(said))]
    NoQuorum {
        /// The JSON-RPC method.
        what: &'static str,
        /// How many have to say the same.
        need: usize,
        /// Which endpoint said what, or why it said nothing.
        said: Vec<Said>,
    },
    /// The endpoint refused a request.
    #[error("{method} was refused: {message} (code {code})")]
    Refused {
        /// The JSON-RPC method.
        method: &'static str,
        /// JSON-RPC's error code.
        code: i64,
        /// The endpoint's words.
        message: String,
        /// What a contract gave back, where it was a contract that refused.
        data: Option<Bytes>,
    },
    /// A contract refused.
    #[error("{0}")]
    Reverted(ContractError),
    /// There is no such contract at that block.
    #[error("no contract at {address} in block {block}")]
    NoCode {
        /// The address asked.
        address: alloy::primitives::Address,
        /// The block's number.
        block: u64,
    },
    /// The endpoint does not know a block that has to be there.
    #[error("block {block} is not known to the endpoint")]
    UnknownBlock {
        /// The block's number.
        block: u64,
    },
    /// An answer that cannot be true or does not decode.
    #[error("the endpoint's answer to {method} makes no sense")]
    BadAnswer {
        /// The JSON-RPC method or the contract's call.
        method: &'static str,
    },
    /// A vault that the factory did not deploy for this token.
    #[error("vault {vault} is not the factory's vault of token {token}, which is {expected}")]
    ForeignVault {
        /// The vault asked about.
        vault: alloy::primitives::Address,
        /// The token it is said to hold.
        token: alloy::primitives::Address,
        /// The factory's vault for that token.
        expected: alloy::primitives::Address,
    },
}

/// What one endpoint said, or why it said nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its host.
    pub endpoint: String,
    /// Its answer, cut short.
    pub answer: String,
}

struct Listed<'a>(&'a [Said]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Said { endpoint, answer }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{endpoint}: {answer}")?;
        }
        Ok(())
    }
}

impl ChainError {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoEndpoint | Self::BadUrl { .. } => Some("give an endpoint such as http://127.0.0.1:8545"),
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                Some("check that the node is running and the address is right, or name a second endpoint")
            }
            Self::TwiceNamed { .. } => Some("name each endpoint once"),
            Self::WrongChain { .. } => Some("use an endpoint of the configured chain, or configure the other chain"),
            Self::Stale { .. } => Some("the endpoint is behind; wait until it has caught up, or use another"),
            Self::OldHead { .. } => Some("the endpoint is stuck, or this machine's clock is wrong"),
            Self::RateLimited { .. } => Some("wait, or name a second endpoint with --rpc"),
            Self::Disagreement { .. } => {
                Some("no new money until they agree; remove the endpoint that is wrong, or name a third one")
            }
            Self::NoQuorum { .. } => Some("no new money until enough endpoints answer; name more with --rpc"),
            Self::NoCode { .. } => Some("deploy the contracts first, or wait until the deployment is deep enough"),
            Self::ForeignVault { .. } => Some("use the vault that the factory deployed; never deposit into another"),
            Self::Reverted(error) => error.hint(),
            Self::BadAnswer { .. } => Some("the endpoint is broken or lies: use another"),
            Self::UnknownBlock { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether a contract refused, rather than an endpoint.
    pub(crate) fn is_revert(&self) -> bool {
        // Code 3 is "execution reverted"; some endpoints leave the empty data out.
        matches!(self, Self::Refused { data: Some(_), .. } | Self::Refused { code: 3, .. })
    }

    /// Whether another endpoint, or the same one later, may do better.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Stale { .. }
                | Self::OldHead { .. }
                | Self::RateLimited { .. }
                | Self::Disagreement { .. }
                | Self::NoQuorum { .. }
                | Self::UnknownBlock { .. }
                | Self::BadAnswer { .. }
        )
    }
}
