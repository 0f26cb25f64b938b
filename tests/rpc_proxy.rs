//! A liar between a client and a chain: a proxy in front of an RPC endpoint
//! that answers as broken, overloaded, lagging and dishonest endpoints do, over
//! HTTP and within the frames of a WebSocket. What it does is told at run time,
//! for each method and each call.

use anyhow::{Context, Result};
use futures::{SinkExt, StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

/// The longest head of a request or an answer.
const MAX_HEAD: usize = 64 << 10;

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset without an answer.
    Reset,
    /// No answer ever comes.
    Hang,
    /// The answer comes this late.
    Late(Duration),
    /// An HTTP status such as 503, with a page for people. A WebSocket is closed, as one that is restarted.
    Status(u16),
    /// HTTP 429, with the seconds to wait; on a WebSocket the same code, as JSON-RPC has it.
    RateLimited(u64),
    /// A JSON-RPC error.
    Error(i64, &'static str),
    /// The head promises everything, half of it comes, the connection ends.
    Half,
    /// An answer that is not JSON.
    NotJson,
    /// Bytes that are no message at all, of HTTP or of a WebSocket.
    Garbage,
    /// An answer of this many bytes.
    Oversize(usize),
    /// `eth_chainId` is this; everything else is as it was.
    WrongChain(u64),
    /// Everything is as it was at this block.
    Frozen(u64),
    /// `eth_getLogs` leaves every log out.
    LogsDropped,
    /// `eth_getLogs` shows every log twice.
    LogsDuplicated,
    /// `eth_getLogs` shows them backwards.
    LogsDisordered,
    /// `eth_getLogs` shows one more log, of a block that never was.
    LogsInvented,
    /// State reads (`eth_call`) answer with other bytes.
    StateFalsified,
    /// A sent transaction is taken, and never seen again.
    Swallowed,
    /// A sent transaction is handed on, and refused in words.
    ForwardedAndRefused(&'static str),
}

impl Fault {
    /// Its name, for counting.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Hang => "hang",
            Self::Late(_) => "late",
            Self::Status(_) => "status",
            Self::RateLimited(_) => "rate-limited",
            Self::Error(..) => "error",
            Self::Half => "half",
            Self::NotJson => "not-json",
            Self::Garbage => "garbage",
            Self::Oversize(_) => "oversize",
            Self::WrongChain(_) => "wrong-chain",
            Self::Frozen(_) => "frozen",
            Self::LogsDropped => "logs-dropped",
            Self::LogsDuplicated => "logs-duplicated",
            Self::LogsDisordered => "logs-disordered",
            Self::LogsInvented => "logs-invented",
            Self::StateFalsified => "state-falsified",
            Self::Swallowed => "swallowed",
            Self::ForwardedAndRefused(_) => "forwarded-and-refused",
        }
    }

    /// The methods that it can do anything to; nothing means all.
    fn methods(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::WrongChain(_) => Some(&["eth_chainId"]),
            Self::LogsDropped | Self::LogsDuplicated | Self::LogsDisordered | Self::LogsInvented => {
                Some(&["eth_getLogs"])
            }
            Self::StateFalsified => Some(&["eth_call"]),
            Self::Swallowed | Self::ForwardedAndRefused(_) => Some(&["eth_sendRawTransaction"]),
            _ => None,
        }
    }
}

/// When something goes wrong, and what.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<&'static str>,
    skip: u64,
    times: u64,
    fault: Fault,
}

impl Rule {
    /// At every call that the fault can do anything to.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self { method: None, skip: 0, times: u64::MAX, fault }
    }

    /// At calls of one method only.
    #[must_use]
    pub fn on(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Not at the first `calls` that it fits.
    #[must_use]
    pub fn after(self, calls: u64) -> Self {
        Self { skip: calls, ..self }
    }

    /// At no more than so many calls.
    #[must_use]
    pub fn times(self, calls: u64) -> Self {
        Self { times: calls, ..self }
    }

    fn fits(&self, method: &str) -> bool {
        self.method.is_none_or(|wanted| wanted == method)
            && self.fault.methods().is_none_or(|methods| methods.contains(&method))
    }
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    calls: BTreeMap<String, u64>,
    fired: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    listening: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
}

impl Shared {
    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is to go wrong with this call.
    fn fault_of(&self, method: &str) -> Option<Fault> {
        self.state(|state| {
            let calls = state.calls.entry(method.to_owned()).or_default();
            *calls = calls.saturating_add(1);
            for rule in &mut state.rules {
                if !rule.fits(method) {
                    continue;
                }
                if rule.skip > 0 {
                    rule.skip -= 1;
                } else if rule.times > 0 {
                    rule.times = rule.times.saturating_sub(u64::from(rule.times != u64::MAX));
                    let fired = state.fired.entry(rule.fault.name()).or_default();
                    *fired = fired.saturating_add(1);
                    return Some(rule.fault.clone());
                }
            }
            None
        })
    }
}

/// A running proxy. It ends with the runtime that started it.
#[derive(Clone, Debug)]
pub struct RpcProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl RpcProxy {
    /// Starts one in front of an `http://` endpoint of this machine.
    ///
    /// # Errors
    /// When the address is none, or no port is free.
    pub async fn start(upstream: &str) -> Result<Self> {
        let upstream = socket(upstream)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::default(),
            listening: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
        });
        tokio::spawn(listen(Arc::clone(&shared), listener, address));
        Ok(Self { shared, address })
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it answers by WebSocket.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Adds a rule. The first that fits a call is the one that counts.
    pub fn inject(&self, rule: Rule) {
        self.shared.state(|state| state.rules.push(rule));
    }

    /// Does away with all rules, and listens again.
    pub fn heal(&self) {
        self.shared.state(|state| state.rules.clear());
        self.set_listening(true);
    }

    /// Whether anybody listens: nobody does while a machine is down.
    pub fn set_listening(&self, listening: bool) {
        self.shared.listening.send_replace(listening);
        if !listening {
            self.cut();
        }
    }

    /// Ends every connection that is open.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts = cuts.wrapping_add(1));
    }

    /// How often a method was called.
    #[must_use]
    pub fn calls(&self, method: &str) -> u64 {
        self.shared.state(|state| state.calls.get(method).copied().unwrap_or_default())
    }

    /// How often each fault happened.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        self.shared.state(|state| state.fired.clone())
    }
}

async fn listen(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    let mut listening = shared.listening.subscribe();
    let mut listener = Some(listener);
    loop {
        let wanted = *listening.borrow_and_update();
        if !wanted {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = listening.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some((stream, _)) = accepted => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut cuts = shared.cuts.subscribe();
                    tokio::select! {
                        // An end like any other: the client sees a closed connection.
                        _done = serve(&shared, stream) => {}
                        _cut = cuts.changed() => {}
                    }
                });
            }
        }
    }
}

/// One connection, request after request.
async fn serve(shared: &Shared, mut client: TcpStream) -> Result<()> {
    while let Some((head, body)) = read_message(&mut client).await? {
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            return serve_socket(shared, client, &head).await;
        }
        let request: Value = serde_json::from_slice(&body)?;
        let method = request.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        let answer = match shared.fault_of(&method) {
            Some(fault) => broken(shared, &mut client, &method, request, fault).await?,
            None => Some(forward(shared, &request).await?),
        };
        match answer {
            Some(answer) => write_answer(&mut client, 200, "", answer.to_string().as_bytes()).await?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// One WebSocket, frame after frame.
async fn serve_socket(shared: &Shared, mut client: TcpStream, head: &str) -> Result<()> {
    let mut server = TcpStream::connect(shared.upstream).await?;
    server.write_all(head.as_bytes()).await?;
    let (accepted, _) = read_message(&mut server).await?.context("the endpoint opens no WebSocket")?;
    client.write_all(accepted.as_bytes()).await?;
    let mut client = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    let mut server = WebSocketStream::from_raw_socket(server, Role::Client, None).await;
    let mut late = FuturesUnordered::new();
    loop {
        tokio::select! {
            said = client.next() => {
                let Some(said) = said else { return Ok(()) };
                let said = said?;
                let Message::Text(text) = &said else {
                    server.send(said).await?;
                    continue;
                };
                let request: Value = serde_json::from_str(text)?;
                let method = request.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
                match shared.fault_of(&method) {
                    None => server.send(said).await?,
                    Some(Fault::Late(by)) => late.push(async move {
                        tokio::time::sleep(by).await;
                        forward(shared, &request).await
                    }),
                    Some(fault) => {
                        if !broken_frame(shared, &mut client, &method, request, fault).await? {
                            return Ok(());
                        }
                    }
                }
            }
            said = server.next() => {
                let Some(said) = said else { return Ok(()) };
                client.send(said?).await?;
            }
            Some(answer) = late.next() => client.send(Message::text(answer?.to_string())).await?,
        }
    }
}

/// A frame as the fault has it; whether the connection goes on.
async fn broken_frame(
    shared: &Shared,
    client: &mut WebSocketStream<TcpStream>,
    method: &str,
    request: Value,
    fault: Fault,
) -> Result<bool> {
    let answer = match fault {
        Fault::Reset => {
            client.get_mut().set_zero_linger()?;
            return Ok(false);
        }
        // The frame is lost; everything else on the connection goes on.
        Fault::Hang => return Ok(true),
        Fault::Status(_) => {
            let frame = CloseFrame { code: CloseCode::Restart, reason: "service restart".into() };
            client.close(Some(frame)).await?;
            return Ok(false);
        }
        Fault::RateLimited(_) => error(&request, 429, "slow down"),
        Fault::Half => {
            let body = forward(shared, &request).await?.to_string();
            let half = body.get(..body.len() / 2).unwrap_or_default();
            // A text frame of one whole message, its length in eight bytes.
            let head = [[0x81, 127].as_slice(), &u64::try_from(body.len())?.to_be_bytes()].concat();
            client.get_mut().write_all(&[head.as_slice(), half.as_bytes()].concat()).await?;
            return Ok(false);
        }
        Fault::NotJson => {
            client.send(Message::text("{\"jsonrpc\":\"2.0\",\"result\":0x")).await?;
            return Ok(true);
        }
        Fault::Garbage => {
            // Reserved bits and an opcode that is none.
            client.get_mut().write_all(&[0xff; 64]).await?;
            return Ok(true);
        }
        lie => told(shared, method, request, lie).await?,
    };
    client.send(Message::text(answer.to_string())).await?;
    Ok(true)
}

/// A message's head, with its empty line, and its body; nothing at the end.
async fn read_message(stream: &mut TcpStream) -> Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let split = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        anyhow::ensure!(bytes.len() < MAX_HEAD, "an endless head");
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(split);
    let head = String::from_utf8(bytes)?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())?;
    while body.len() < length {
        anyhow::ensure!(stream.read_buf(&mut body).await? > 0, "half a body");
    }
    body.truncate(length);
    Ok(Some((head, body)))
}

async fn write_answer(client: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    );
    client.write_all(&[head.as_bytes(), body].concat()).await?;
    Ok(())
}

fn socket(url: &str) -> Result<SocketAddr> {
    Ok(url.strip_prefix("http://").context("not an http address")?.trim_end_matches('/').parse()?)
}

/// One call of an `http://` endpoint of this machine, past every proxy.
///
/// # Errors
/// When it does not answer, or answers with an error.
pub async fn call(url: &str, method: &str, params: Value) -> Result<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut answer = exchange(socket(url)?, &request).await?;
    anyhow::ensure!(answer.get("error").is_none(), "{method}: {answer}");
    Ok(answer.get_mut("result").map(Value::take).unwrap_or_default())
}

async fn forward(shared: &Shared, request: &Value) -> Result<Value> {
    exchange(shared.upstream, request).await
}

async fn exchange(upstream: SocketAddr, request: &Value) -> Result<Value> {
    let mut server = TcpStream::connect(upstream).await?;
    let body = request.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        upstream,
        body.len()
    );
    server.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    let (_, body) = read_message(&mut server).await?.context("the endpoint said nothing")?;
    Ok(serde_json::from_slice(&body)?)
}

fn result(request: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request.get("id"), "result": result })
}

fn error(request: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": request.get("id"), "error": { "code": code, "message": message } })
}

/// Answers as the fault has it; nothing means that the connection ends here.
async fn broken(
    shared: &Shared,
    client: &mut TcpStream,
    method: &str,
    request: Value,
    fault: Fault,
) -> Result<Option<Value>> {
    Ok(match fault {
        Fault::Reset => {
            client.set_zero_linger()?;
            None
        }
        Fault::Hang => {
            // Until the client has enough of it.
            let mut rest = [0; 64];
            while client.read(&mut rest).await? > 0 {}
            None
        }
        Fault::Late(by) => {
            tokio::time::sleep(by).await;
            Some(forward(shared, &request).await?)
        }
        Fault::Status(status) => {
            write_answer(client, status, "", b"<html>Something went wrong</html>").await?;
            None
        }
        Fault::RateLimited(secs) => {
            write_answer(client, 429, &format!("retry-after: {secs}\r\n"), b"slow down").await?;
            None
        }
        Fault::Half => {
            let body = forward(shared, &request).await?.to_string();
            let half = body.get(..body.len() / 2).unwrap_or_default();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{half}", body.len());
            client.write_all(head.as_bytes()).await?;
            None
        }
        Fault::NotJson => {
            write_answer(client, 200, "", b"{\"jsonrpc\":\"2.0\",\"result\":0x").await?;
            None
        }
        Fault::Garbage => {
            client.write_all(&[0xff; 64]).await?;
            None
        }
        lie => Some(told(shared, method, request, lie).await?),
    })
}

/// An answer that arrives as any other does, and says what the fault has it say.
async fn told(shared: &Shared, method: &str, mut request: Value, fault: Fault) -> Result<Value> {
    Ok(match fault {
        Fault::Error(code, message) => error(&request, code, message),
        Fault::Oversize(bytes) => {
            let filling = "0".repeat(bytes);
            result(&request, Value::String(filling))
        }
        Fault::WrongChain(id) => result(&request, json!(format!("{id:#x}"))),
        Fault::Frozen(block) => frozen(shared, method, &mut request, block).await?,
        Fault::LogsDropped | Fault::LogsDuplicated | Fault::LogsDisordered | Fault::LogsInvented => {
            let mut answer = forward(shared, &request).await?;
            if let Some(logs) = answer.get_mut("result").and_then(Value::as_array_mut) {
                lie_about(logs, &fault, &request);
            }
            answer
        }
        Fault::StateFalsified => {
            let mut answer = forward(shared, &request).await?;
            if let Some(Value::String(bytes)) = answer.get_mut("result")
                && let Some(last) = bytes.pop()
            {
                bytes.push(if last == '0' { '1' } else { '0' });
            }
            answer
        }
        Fault::Swallowed => {
            let raw = request.pointer("/params/0").and_then(Value::as_str).unwrap_or_default();
            let bytes: alloy_primitives::Bytes = raw.parse()?;
            result(&request, json!(alloy_primitives::keccak256(&bytes)))
        }
        Fault::ForwardedAndRefused(message) => {
            forward(shared, &request).await?;
            error(&request, -32_000, message)
        }
        // Of the connection, not of what is said.
        Fault::Reset
        | Fault::Hang
        | Fault::Late(_)
        | Fault::Status(_)
        | Fault::RateLimited(_)
        | Fault::Half
        | Fault::NotJson
        | Fault::Garbage => forward(shared, &request).await?,
    })
}

fn lie_about(logs: &mut Vec<Value>, fault: &Fault, request: &Value) {
    match fault {
        Fault::LogsDropped => logs.clear(),
        Fault::LogsDuplicated => *logs = logs.iter().flat_map(|log| [log.clone(), log.clone()]).collect(),
        Fault::LogsDisordered => logs.reverse(),
        _ => {
            let asked = |name: &str| request.pointer(&format!("/params/0/{name}")).cloned().unwrap_or_default();
            let topic = |topic: Value| match topic {
                Value::Array(any) => any.into_iter().next().unwrap_or_default(),
                Value::Null => json!(format!("0x{}", "11".repeat(32))),
                one => one,
            };
            let topics: Vec<Value> =
                asked("topics").as_array().cloned().unwrap_or_default().into_iter().map(topic).collect();
            let word = format!("0x{}", "dd".repeat(32));
            if let Some(real) = logs.first().cloned() {
                // One that reads back, of a transaction that never was.
                logs.push(real);
                if let Some(log) = logs.last_mut().and_then(Value::as_object_mut) {
                    log.insert("blockNumber".to_owned(), asked("toBlock"));
                    log.insert("blockHash".to_owned(), json!(word));
                    log.insert("transactionHash".to_owned(), json!(word));
                }
                return;
            }
            logs.push(json!({
                "address": asked("address"), "topics": topics, "data": "0x", "blockNumber": asked("fromBlock"),
                "blockHash": word, "transactionHash": word, "transactionIndex": "0x0", "logIndex": "0x0",
                "removed": false,
            }));
        }
    }
}

/// The answer of an endpoint that has seen nothing since this block.
async fn frozen(shared: &Shared, method: &str, request: &mut Value, block: u64) -> Result<Value> {
    let number = |value: &Value| value.as_str().and_then(|text| u64::from_str_radix(text.get(2..)?, 16).ok());
    let pin = |value: &mut Value| {
        let is_tag = matches!(value.as_str(), Some("latest" | "pending" | "safe" | "finalized"));
        if is_tag {
            *value = json!(format!("{block:#x}"));
        }
        number(value).is_some_and(|asked| asked > block)
    };
    let place = match method {
        "eth_getBlockByNumber" => "/params/0",
        "eth_getLogs" => "/params/0/toBlock",
        _ => "/params/1",
    };
    if method == "eth_blockNumber" {
        return Ok(result(request, json!(format!("{block:#x}"))));
    }
    let beyond = request.pointer_mut(place).is_some_and(pin);
    if beyond && method == "eth_getLogs" {
        if let Some(to) = request.pointer_mut(place) {
            *to = json!(format!("{block:#x}"));
        }
        if request.pointer("/params/0/fromBlock").and_then(number).is_some_and(|from| from > block) {
            return Ok(result(request, json!([])));
        }
    } else if beyond {
        return Ok(match method {
            "eth_getBlockByNumber" => result(request, Value::Null),
            _ => error(request, -32_001, "block not found"),
        });
    }
    let answer = forward(shared, request).await?;
    let mined = answer.pointer("/result/blockNumber").and_then(number);
    if matches!(method, "eth_getTransactionReceipt" | "eth_getTransactionByHash") && mined.is_none_or(|at| at > block) {
        return Ok(result(request, Value::Null));
    }
    Ok(answer)
}
