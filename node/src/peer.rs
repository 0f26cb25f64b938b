//! Typed requests to peers, and content fetched from them.

use std::time::Duration;
use symbolon_content::{JoinError, Joiner};
use symbolon_net::{Client, Multiaddr, PeerId, RequestError, RequestOptions, named_peer};
use symbolon_primitives::ContentRef;
use symbolon_wire::{
    self as wire, MAX_CHUNKS, MAX_REQUEST, MAX_RESPONSE, Refusal, RefusalCode, Request, Response, Right,
};

/// A peer and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who, proven by the connection's handshake.
    pub id: PeerId,
    /// Where to dial.
    pub addrs: Vec<Multiaddr>,
}

/// Why a peer id or an address in a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Bytes that are no peer id.
    #[error("not a peer id")]
    BadId,
    /// More addresses than a peer may name.
    #[error("more than {} addresses", wire::MAX_ADDRS)]
    TooManyAddresses,
}

impl Peer {
    /// Reads a peer as messages name it. Addresses that do not parse are passed over.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn from_wire(id: &[u8], addrs: &[String]) -> Result<Self, PeerError> {
        if addrs.len() > wire::MAX_ADDRS {
            return Err(PeerError::TooManyAddresses);
        }
        let id = PeerId::from_bytes(id).map_err(|_| PeerError::BadId)?;
        Ok(Self { id, addrs: addrs.iter().filter_map(|addr| addr.parse().ok()).collect() })
    }

    /// Reads an address that names its peer, such as `/ip4/203.0.113.7/tcp/4001/p2p/12D3…`.
    ///
    /// # Errors
    /// [`PeerError::BadId`] when it names none.
    pub fn from_address(addr: &Multiaddr) -> Result<Self, PeerError> {
        let id = named_peer(addr).ok_or(PeerError::BadId)?;
        Ok(Self { id, addrs: vec![addr.clone()] })
    }

    /// The peer as a member of an order.
    #[must_use]
    pub fn member(&self, provider: symbolon_primitives::Address) -> wire::Member {
        wire::Member {
            provider,
            peer: self.id.to_bytes(),
            addrs: self.addrs.iter().take(wire::MAX_ADDRS).map(ToString::to_string).collect(),
        }
    }
}

/// Why a request to a peer came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It did not arrive, or no answer came.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Our own message is too long, or theirs is no message.
    #[error(transparent)]
    Wire(#[from] wire::WireError),
    /// The peer said no.
    #[error("refused: {}", .0.reason)]
    Refused(Refusal),
    /// Too many messages were under way for this one to leave in time.
    #[error("too many messages are under way")]
    Busy,
    /// An answer to another question.
    #[error("the peer answered something else than was asked")]
    WrongAnswer,
}

impl CallError {
    /// Whether asking again later can help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Refused(refusal) => matches!(refusal.code, RefusalCode::Later | RefusalCode::Unknown),
            Self::Busy => true,
            Self::Wire(_) | Self::WrongAnswer => false,
        }
    }
}

/// Asks a peer and waits for its answer, `timeout` at most. A refusal is an error.
///
/// # Errors
/// [`CallError`].
pub(crate) async fn call(
    client: &Client,
    peer: &Peer,
    request: &Request,
    timeout: Duration,
) -> Result<Response, CallError> {
    let bytes = wire::encode(request, MAX_REQUEST)?;
    let options = RequestOptions { timeout: Some(timeout), ..RequestOptions::default() };
    let answer = client.request_with(peer.id, peer.addrs.clone(), bytes, options).await?;
    match wire::decode(&answer, MAX_RESPONSE)? {
        Response::Refused(refusal) => Err(CallError::Refused(refusal)),
        response => Ok(response),
    }
}

/// Why content could not be fetched from anybody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody to ask.
    #[error("nobody has {0}")]
    NoSource(ContentRef),
    /// The last peer asked failed.
    #[error("fetching {reference}: {source}")]
    Call {
        /// What was fetched.
        reference: ContentRef,
        /// What the peer did.
        source: Box<CallError>,
    },
    /// The last peer asked sent chunks that do not belong.
    #[error("fetching {reference}: {source}")]
    Content {
        /// What was fetched.
        reference: ContentRef,
        /// What is wrong with it.
        source: JoinError,
    },
}

/// Time for one batch of chunks.
const CHUNKS_TIMEOUT: Duration = Duration::from_secs(20);

/// Fetches the tree at `root`, at most `max_len` bytes, from the first of `sources`
/// that serves it whole; what one has sent and checked is not fetched again.
///
/// # Errors
/// [`FetchError`] of the last source.
pub(crate) async fn fetch(
    client: &Client,
    sources: &[Peer],
    right: Right,
    root: ContentRef,
    max_len: u64,
) -> Result<Vec<u8>, FetchError> {
    let mut joiner = Joiner::new(root, max_len, MAX_CHUNKS * 2);
    let mut bytes = Vec::new();
    let mut last = FetchError::NoSource(root);
    for peer in sources {
        match fetch_from(client, peer, right, root, &mut joiner, &mut bytes).await {
            Ok(()) => return Ok(bytes),
            Err(error) => {
                tracing::debug!(%error, peer = %peer.id, "fetching from the next source");
                last = error;
            }
        }
    }
    Err(last)
}

async fn fetch_from(
    client: &Client,
    peer: &Peer,
    right: Right,
    root: ContentRef,
    joiner: &mut Joiner,
    bytes: &mut Vec<u8>,
) -> Result<(), FetchError> {
    while !joiner.is_complete() {
        let wanted = joiner.wanted(MAX_CHUNKS);
        let request =
            Request::Chunks { right, root, addresses: wanted.iter().map(|address| *address.as_bytes()).collect() };
        let failed = |joiner: &mut Joiner, source| {
            wanted.iter().for_each(|address| joiner.forget(address));
            Err(FetchError::Call { reference: root, source: Box::new(source) })
        };
        let chunks = match call(client, peer, &request, CHUNKS_TIMEOUT).await {
            Ok(Response::Chunks(chunks)) if chunks.len() == wanted.len() && !chunks.is_empty() => chunks,
            Ok(_) => return failed(joiner, CallError::WrongAnswer),
            Err(source) => return failed(joiner, source),
        };
        for (address, chunk) in wanted.iter().zip(&chunks) {
            if let Err(source) = joiner.supply(address, &chunk.0) {
                wanted.iter().for_each(|address| joiner.forget(address));
                return Err(FetchError::Content { reference: root, source });
            }
        }
        while let Some(part) = joiner.take() {
            bytes.extend_from_slice(&part);
        }
        // Hashing a batch is work; let the others of this thread run in between.
        tokio::task::yield_now().await;
    }
    Ok(())
}
