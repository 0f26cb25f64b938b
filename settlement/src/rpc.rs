//! JSON-RPC over HTTP to several endpoints: a deadline on every request, the
//! chain id checked before an endpoint is first believed, the next endpoint
//! when one is down, slow, behind or talking nonsense.

use crate::ContractError;
use alloy::{
    primitives::{B256, Bytes, U64, U128},
    rpc::client::{ClientBuilder, RpcClient},
    transports::{RpcError, TransportError, http::reqwest},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How far behind the highest head ever seen an endpoint may be, in blocks.
const STALE_BLOCKS: u64 = 64;

/// Where the chain is, and which chain it has to be.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// HTTP endpoints, the preferred one first. They may hold access tokens:
    /// only their host is ever shown.
    pub urls: Vec<String>,
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// The longest an endpoint may take for one answer.
    pub timeout: Duration,
}

impl ChainConfig {
    /// One endpoint with the default deadline of ten seconds.
    #[must_use]
    pub fn new(url: impl Into<String>, chain_id: u64) -> Self {
        Self { urls: vec![url.into()], chain_id, timeout: Duration::from_secs(10) }
    }
}

/// Why the chain gave no answer to rely on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The configuration names no endpoint.
    #[error("no RPC endpoint is configured")]
    NoEndpoint,
    /// Not an HTTP address.
    #[error("RPC endpoint number {index} is not an http or https address")]
    BadUrl {
        /// Which one of the configured, from 0.
        index: usize,
    },
    /// Nothing sensible came back from the endpoint.
    #[error("RPC endpoint {endpoint} cannot be reached")]
    Unreachable {
        /// Its host.
        endpoint: String,
        /// What went wrong on the way.
        source: Arc<TransportError>,
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

impl ChainError {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoEndpoint | Self::BadUrl { .. } => Some("give an endpoint such as http://127.0.0.1:8545"),
            Self::Unreachable { .. } | Self::TimedOut { .. } => {
                Some("check that the node is running and the address is right, or name a second endpoint")
            }
            Self::WrongChain { .. } => Some("use an endpoint of the configured chain, or configure the other chain"),
            Self::Stale { .. } => Some("the endpoint is behind; wait until it has caught up, or use another"),
            Self::NoCode { .. } => Some("deploy the contracts first, or wait until the deployment is deep enough"),
            Self::ForeignVault { .. } => Some("use the vault that the factory deployed; never deposit into another"),
            Self::Reverted(error) => error.hint(),
            _ => None,
        }
    }

    /// Whether another endpoint, or the same one later, may do better.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Stale { .. }
                | Self::UnknownBlock { .. }
                | Self::BadAnswer { .. }
        )
    }
}

/// What is needed of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHeader {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
    #[serde(default)]
    base_fee_per_gas: Option<U128>,
}

/// A block, by what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of the block before it.
    pub parent_hash: B256,
    /// Seconds since the Unix epoch, as the chain counts them.
    pub timestamp: u64,
    /// Base fee, in wei for one gas (EIP-1559).
    pub base_fee: u128,
}

impl From<RawHeader> for Header {
    fn from(raw: RawHeader) -> Self {
        Self {
            number: raw.number.to(),
            hash: raw.hash,
            parent_hash: raw.parent_hash,
            timestamp: raw.timestamp.to(),
            base_fee: raw.base_fee_per_gas.map_or(0, |fee| fee.to()),
        }
    }
}

struct Endpoint {
    name: String,
    client: RpcClient,
    verified: AtomicBool,
}

/// The endpoints of one chain.
pub(crate) struct Rpc {
    endpoints: Vec<Endpoint>,
    preferred: AtomicUsize,
    highest: AtomicU64,
    chain_id: u64,
    timeout: Duration,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.endpoints.iter().map(|endpoint| &endpoint.name).collect();
        f.debug_struct("Rpc").field("chain_id", &self.chain_id).field("endpoints", &names).finish_non_exhaustive()
    }
}

impl Rpc {
    pub(crate) fn new(config: &ChainConfig) -> Result<Self, ChainError> {
        let endpoints = config
            .urls
            .iter()
            .enumerate()
            .map(|(index, url)| endpoint(url, config.timeout).ok_or(ChainError::BadUrl { index }))
            .collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(ChainError::NoEndpoint);
        }
        Ok(Self {
            endpoints,
            preferred: AtomicUsize::new(0),
            highest: AtomicU64::new(0),
            chain_id: config.chain_id,
            timeout: config.timeout,
        })
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Asks the endpoints in turn, from the one that answered last, until one answers.
    pub(crate) async fn request<R>(&self, method: &'static str, params: Value) -> Result<R, ChainError>
    where
        R: DeserializeOwned + fmt::Debug + Send + Sync + Unpin + 'static,
    {
        self.request_checked(method, params, |_, answer| Ok(answer)).await
    }

    /// As [`Rpc::request`]; an answer that `accept` finds no good is one to ask
    /// the next endpoint for.
    async fn request_checked<R, T>(
        &self,
        method: &'static str,
        params: Value,
        accept: impl Fn(&Endpoint, R) -> Result<T, ChainError> + Send + Sync,
    ) -> Result<T, ChainError>
    where
        R: DeserializeOwned + fmt::Debug + Send + Sync + Unpin + 'static,
    {
        let from = self.preferred.load(Ordering::Relaxed);
        let mut first = None;
        for index in (0..self.endpoints.len()).map(|step| from.wrapping_add(step) % self.endpoints.len().max(1)) {
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            let answer = match self.verify(endpoint).await {
                Ok(()) => self.one(endpoint, method, params.clone()).await,
                Err(error) => Err(error),
            };
            let answer = answer.and_then(|answer| accept(endpoint, answer));
            match answer {
                Err(error) if error.is_transient() || matches!(error, ChainError::WrongChain { .. }) => {
                    tracing::debug!(endpoint = %endpoint.name, %error, "endpoint gave no answer to rely on");
                    first.get_or_insert(error);
                }
                answer => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(first.unwrap_or(ChainError::NoEndpoint))
    }

    async fn verify(&self, endpoint: &Endpoint) -> Result<(), ChainError> {
        if endpoint.verified.load(Ordering::Acquire) {
            return Ok(());
        }
        let have: U64 = self.one(endpoint, "eth_chainId", json!([])).await?;
        let (have, need) = (have.to(), self.chain_id);
        if have != need {
            return Err(ChainError::WrongChain { endpoint: endpoint.name.clone(), have, need });
        }
        endpoint.verified.store(true, Ordering::Release);
        Ok(())
    }

    async fn one<R>(&self, endpoint: &Endpoint, method: &'static str, params: Value) -> Result<R, ChainError>
    where
        R: DeserializeOwned + fmt::Debug + Send + Sync + Unpin + 'static,
    {
        let request = endpoint.client.request::<Value, R>(method, params);
        let answer = tokio::time::timeout(self.timeout, request).await.map_err(|_| ChainError::TimedOut {
            endpoint: endpoint.name.clone(),
            after_secs: self.timeout.as_secs(),
        })?;
        answer.map_err(|error| match error {
            RpcError::ErrorResp(payload) if !payload.is_retry_err() => ChainError::Refused {
                method,
                code: payload.code,
                data: payload.as_revert_data(),
                message: payload.message.into_owned(),
            },
            RpcError::DeserError { .. } | RpcError::NullResp => ChainError::BadAnswer { method },
            other => ChainError::Unreachable { endpoint: endpoint.name.clone(), source: Arc::new(other) },
        })
    }

    /// The newest block, from an endpoint that is not far behind what was seen.
    pub(crate) async fn head(&self) -> Result<Header, ChainError> {
        let method = "eth_getBlockByNumber";
        self.request_checked(method, json!(["latest", false]), |endpoint, raw: Option<RawHeader>| {
            let header = Header::from(raw.ok_or(ChainError::BadAnswer { method })?);
            let need = self.highest.fetch_max(header.number, Ordering::Relaxed);
            if header.number.saturating_add(STALE_BLOCKS) < need {
                return Err(ChainError::Stale { endpoint: endpoint.name.clone(), have: header.number, need });
            }
            Ok(header)
        })
        .await
    }

    /// The block with this number.
    pub(crate) async fn block(&self, number: u64) -> Result<Header, ChainError> {
        let method = "eth_getBlockByNumber";
        self.request_checked(method, json!([U64::from(number), false]), |_, raw: Option<RawHeader>| {
            let header = Header::from(raw.ok_or(ChainError::UnknownBlock { block: number })?);
            if header.number == number { Ok(header) } else { Err(ChainError::BadAnswer { method }) }
        })
        .await
    }

    /// The newest block that the chain's consensus calls final.
    pub(crate) async fn finalized(&self) -> Result<Header, ChainError> {
        let raw: Option<RawHeader> = self.request("eth_getBlockByNumber", json!(["finalized", false])).await?;
        raw.map(Header::from).ok_or(ChainError::UnknownBlock { block: 0 })
    }
}

fn endpoint(url: &str, timeout: Duration) -> Option<Endpoint> {
    let url: reqwest::Url = url.parse().ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    let host = url.host_str()?.to_owned();
    let mut builder = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
    if matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") {
        builder = builder.no_proxy();
    }
    let client = builder.build().ok()?;
    let name = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let client = ClientBuilder::default().http_with_client(client, url);
    Some(Endpoint { name, client, verified: AtomicBool::new(false) })
}
