//! The way to one endpoint: JSON-RPC over HTTP or WebSocket. Every answer has a
//! bound; whoever asks brings the deadline. Nothing is believed here.

use alloy::{rpc::json_rpc::ErrorPayload, transports::http::reqwest};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};

/// Requests on one WebSocket that wait for their answers.
const MAX_WAITING: usize = 1_024;

/// Why nothing sensible came back.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportFault {
    /// The connection failed, or ended in the middle.
    #[error("the connection failed")]
    Http(#[source] Arc<reqwest::Error>),
    /// The WebSocket failed.
    #[error("the WebSocket failed")]
    WebSocket(#[source] Arc<tungstenite::Error>),
    /// The WebSocket ended before the answer.
    #[error("the WebSocket ended")]
    Closed,
    /// Too many requests wait on the WebSocket.
    #[error("{limit} requests wait on the WebSocket already")]
    Busy {
        /// How many may.
        limit: usize,
    },
    /// An HTTP status other than success.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// Too many requests.
    #[error("too many requests")]
    RateLimited {
        /// When to come back, where the endpoint says so.
        retry_after: Option<Duration>,
    },
    /// More bytes than an answer may have.
    #[error("an answer of more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Not JSON-RPC.
    #[error("the answer is not JSON-RPC")]
    NotJson,
}

/// What an endpoint answered: a value, or an error of its own.
pub(crate) type Answer = Result<Value, ErrorPayload>;

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    error: Option<ErrorPayload>,
}

impl Envelope {
    fn answer(self) -> Answer {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.result),
        }
    }
}

/// One way to one endpoint.
pub(crate) enum Transport {
    Http { client: reqwest::Client, url: reqwest::Url, limit: usize },
    WebSocket(WebSocket),
}

/// An endpoint's address, in parts.
pub(crate) struct Address {
    /// Host and port: all that is ever shown.
    pub(crate) name: String,
    pub(crate) transport: Transport,
}

/// The transport for an address; nothing when it is none of ours.
pub(crate) fn open(url: &str, timeout: Duration, limit: usize) -> Option<Address> {
    let url: reqwest::Url = url.parse().ok()?;
    let host = url.host_str()?.to_owned();
    let name = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let transport = match url.scheme() {
        "http" | "https" => {
            // Whoever asks brings the deadline; this one only ends what nobody waits for.
            let mut builder = reqwest::Client::builder()
                .timeout(timeout.saturating_mul(2))
                .redirect(reqwest::redirect::Policy::none());
            if matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") {
                builder = builder.no_proxy();
            }
            Transport::Http { client: builder.build().ok()?, url, limit }
        }
        "ws" | "wss" => Transport::WebSocket(WebSocket { url: url.into(), limit, asks: Mutex::new(None) }),
        _ => return None,
    };
    Some(Address { name, transport })
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Transport {
    /// Asks once. The caller brings the deadline, and may go away at any time.
    pub(crate) async fn ask(&self, method: &str, params: &Value) -> Result<Answer, TransportFault> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        match self {
            Self::Http { client, url, limit } => {
                let bytes = post(client, url, *limit, body).await?;
                let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|_| TransportFault::NotJson)?;
                // An error about a request that could not be read has no id.
                let ours = envelope.id == json!(id) || (envelope.error.is_some() && envelope.id.is_null());
                if ours { Ok(envelope.answer()) } else { Err(TransportFault::NotJson) }
            }
            Self::WebSocket(socket) => socket.ask(id, body).await,
        }
    }

    /// Gives the connection up, where there is one: the next question opens another.
    pub(crate) async fn reset(&self) {
        if let Self::WebSocket(socket) = self {
            socket.asks.lock().await.take();
        }
    }
}

async fn post(
    client: &reqwest::Client,
    url: &reqwest::Url,
    limit: usize,
    body: String,
) -> Result<Vec<u8>, TransportFault> {
    // The address may hold an access token: errors go on without it.
    let http = |error: reqwest::Error| TransportFault::Http(Arc::new(error.without_url()));
    let request = client.post(url.clone()).header("content-type", "application/json").body(body);
    let mut response = request.send().await.map_err(http)?;
    let status = response.status();
    if status.as_u16() == 429 {
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = after.and_then(|secs| secs.trim().parse().ok()).map(Duration::from_secs);
        return Err(TransportFault::RateLimited { retry_after });
    }
    if !status.is_success() {
        return Err(TransportFault::Status { status: status.as_u16() });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(http)? {
        if bytes.len().saturating_add(chunk.len()) > limit {
            return Err(TransportFault::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// One question on a WebSocket.
struct Ask {
    id: u64,
    body: String,
    reply: oneshot::Sender<Result<Answer, TransportFault>>,
}

/// A connection that is opened when it is needed, and shared.
pub(crate) struct WebSocket {
    url: String,
    limit: usize,
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
}

impl WebSocket {
    async fn ask(&self, id: u64, body: String) -> Result<Answer, TransportFault> {
        let (reply, answer) = oneshot::channel();
        let asks = self.connected().await?;
        asks.send(Ask { id, body, reply }).await.map_err(|_| TransportFault::Closed)?;
        answer.await.map_err(|_| TransportFault::Closed)?
    }

    async fn connected(&self) -> Result<mpsc::Sender<Ask>, TransportFault> {
        let mut asks = self.asks.lock().await;
        if let Some(open) = asks.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let config = WebSocketConfig::default().max_message_size(Some(self.limit)).max_frame_size(Some(self.limit));
        let connect = tokio_tungstenite::connect_async_with_config(&self.url, Some(config), true);
        let (stream, _) = connect.await.map_err(|error| TransportFault::WebSocket(Arc::new(error)))?;
        let (send, receive) = mpsc::channel(64);
        tokio::spawn(talk(stream, receive, self.limit));
        *asks = Some(send.clone());
        Ok(send)
    }
}

/// Carries questions and answers until the connection or the last asker is gone.
async fn talk<S>(stream: tokio_tungstenite::WebSocketStream<S>, mut asks: mpsc::Receiver<Ask>, limit: usize)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = stream.split();
    let mut waiting: BTreeMap<u64, oneshot::Sender<Result<Answer, TransportFault>>> = BTreeMap::new();
    let end = loop {
        tokio::select! {
            ask = asks.recv() => {
                let Some(Ask { id, body, reply }) = ask else { return };
                if waiting.len() >= MAX_WAITING {
                    // Whoever gave up waits no more.
                    waiting.retain(|_, reply| !reply.is_closed());
                }
                if waiting.len() >= MAX_WAITING {
                    let _gone = reply.send(Err(TransportFault::Busy { limit: MAX_WAITING }));
                    continue;
                }
                waiting.insert(id, reply);
                if let Err(error) = sink.send(Message::text(body)).await {
                    break TransportFault::WebSocket(Arc::new(error));
                }
            }
            message = stream.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let Ok(envelope) = serde_json::from_str::<Envelope>(text.as_str()) else {
                        break TransportFault::NotJson;
                    };
                    // Answers nobody waits for any more, and pushed notices, are dropped.
                    if let Some(reply) = envelope.id.as_u64().and_then(|id| waiting.remove(&id)) {
                        let _gone = reply.send(Ok(envelope.answer()));
                    }
                }
                Some(Ok(Message::Close(_))) | None => break TransportFault::Closed,
                Some(Ok(_)) => {}
                Some(Err(tungstenite::Error::Capacity(_))) => break TransportFault::TooLarge { limit },
                Some(Err(error)) => break TransportFault::WebSocket(Arc::new(error)),
            },
        }
    };
    for (_, reply) in waiting {
        let _gone = reply.send(Err(end.clone()));
    }
}
