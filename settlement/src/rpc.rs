//! The endpoints of one chain, none of which is believed alone where there are
//! several.
//!
//! - Each is checked for its chain id before it is first believed and again
//!   after every failure, and for the age and the height of its head.
//! - **Quorum.** Of `n` endpoints `n / 2 + 1` have to give the same answer: one
//!   of one, both of two, two of three. Answers are compared as values, at one
//!   block hash. Too few answers, or too many different ones, are an error that
//!   says who said what: nothing new is signed on it.
//! - **Any.** What only collects money (claims and settlements) makes do with
//!   one endpoint: nothing that it says can make a claim worse than not
//!   claiming.
//! - An endpoint that fails is left out for a while that doubles up to a
//!   minute, or for as long as it asks for. It is asked earlier only when there
//!   is no other.

use crate::{
    error::{ChainError, Said},
    health::Health,
    transport::{self, Answer, Transport, TransportFault},
};
use alloy::primitives::{B256, Bytes, U64, U128, keccak256};
use futures::{StreamExt, stream::FuturesUnordered};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How far behind what it showed before the only endpoint may be, in blocks.
const STALE_BLOCKS: u64 = 64;

/// How many blocks below the newest the endpoints may have forked.
const TIP_FORK_BLOCKS: u64 = 2;

/// Where the chain is, and which chain it has to be.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// HTTP or WebSocket endpoints, the preferred one first. They may hold
    /// access tokens: only their host is ever shown.
    pub urls: Vec<String>,
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// The longest an endpoint may take for one answer.
    pub timeout: Duration,
    /// The longest answer that is read, in bytes.
    pub max_body_bytes: usize,
    /// How old the newest block may be, by this machine's clock.
    pub max_head_age: Duration,
    /// How far an endpoint may be behind the others, in blocks.
    pub max_lag_blocks: u64,
    /// How often an endpoint is asked again which chain it serves.
    pub recheck: Duration,
}

impl ChainConfig {
    /// One endpoint with the default bounds: ten seconds and 32 MiB for an
    /// answer, a quarter of an hour for the newest block.
    #[must_use]
    pub fn new(url: impl Into<String>, chain_id: u64) -> Self {
        Self {
            urls: vec![url.into()],
            chain_id,
            timeout: Duration::from_secs(10),
            max_body_bytes: 32 << 20,
            max_head_age: Duration::from_secs(15 * 60),
            max_lag_blocks: 16,
            recheck: Duration::from_secs(30),
        }
    }

    /// The same with these endpoints.
    #[must_use]
    pub fn with_urls(self, urls: Vec<String>) -> Self {
        Self { urls, ..self }
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
    gas_used: U64,
    gas_limit: U64,
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
    /// Gas that its transactions used.
    pub gas_used: u64,
    /// The most they could use.
    pub gas_limit: u64,
}

impl From<RawHeader> for Header {
    fn from(raw: RawHeader) -> Self {
        Self {
            number: raw.number.to(),
            hash: raw.hash,
            parent_hash: raw.parent_hash,
            timestamp: raw.timestamp.to(),
            base_fee: raw.base_fee_per_gas.map_or(0, |fee| fee.to()),
            gas_used: raw.gas_used.to(),
            gas_limit: raw.gas_limit.to(),
        }
    }
}

/// How an endpoint stands, for whoever looks after the node.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// Its host.
    pub endpoint: String,
    /// For how long it is left out, if it is.
    pub left_out: Option<Duration>,
    /// The newest block it showed.
    pub head: Option<u64>,
    /// What went wrong last.
    pub trouble: Option<ChainError>,
}

/// How many endpoints have to say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// More than half of the configured.
    Quorum,
    /// One.
    Any,
}

struct Endpoint {
    name: String,
    transport: Transport,
    health: Mutex<Health>,
}

impl Endpoint {
    fn health<T>(&self, with: impl FnOnce(&mut Health) -> T) -> T {
        with(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self, error: &ChainError) {
        let hold = match error {
            ChainError::RateLimited { retry_secs, .. } => Some(Duration::from_secs(*retry_secs)),
            _ => None,
        };
        let out = self.health(|health| health.failed(Instant::now(), hold, error.clone()));
        tracing::debug!(endpoint = %self.name, %error, ?out, "endpoint left out");
    }
}

/// The endpoints of one chain.
pub(crate) struct Rpc {
    endpoints: Vec<Arc<Endpoint>>,
    preferred: AtomicUsize,
    highest: AtomicU64,
    config: ChainConfig,
    trouble: Mutex<Option<ChainError>>,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.endpoints.iter().map(|endpoint| &endpoint.name).collect();
        f.debug_struct("Rpc")
            .field("chain_id", &self.config.chain_id)
            .field("endpoints", &names)
            .finish_non_exhaustive()
    }
}

/// An answer that endpoints gave alike, and who.
struct Group<T> {
    told: Result<T, ChainError>,
    by: Vec<usize>,
}

impl Rpc {
    pub(crate) fn new(config: &ChainConfig) -> Result<Self, ChainError> {
        let mut endpoints: Vec<Arc<Endpoint>> = Vec::new();
        for (index, url) in config.urls.iter().enumerate() {
            let open = transport::open(url, config.timeout, config.max_body_bytes);
            let transport::Address { name, transport } = open.ok_or(ChainError::BadUrl { index })?;
            // One voice named twice would be a quorum of its own.
            if config.urls.iter().take(index).any(|earlier| earlier == url) {
                return Err(ChainError::TwiceNamed { endpoint: name });
            }
            endpoints.push(Arc::new(Endpoint { name, transport, health: Mutex::default() }));
        }
        if endpoints.is_empty() {
            return Err(ChainError::NoEndpoint);
        }
        Ok(Self {
            endpoints,
            preferred: AtomicUsize::new(0),
            highest: AtomicU64::new(0),
            config: config.clone(),
            trouble: Mutex::new(None),
        })
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.config.chain_id
    }

    pub(crate) fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// More than half of the configured endpoints.
    fn need(&self, trust: Trust) -> usize {
        match trust {
            Trust::Quorum => self.endpoints.len() / 2 + 1,
            Trust::Any => 1,
        }
    }

    pub(crate) fn status(&self) -> Vec<EndpointStatus> {
        let now = Instant::now();
        let status = |endpoint: &Arc<Endpoint>| {
            endpoint.health(|health| EndpointStatus {
                endpoint: endpoint.name.clone(),
                left_out: health.left_out(now),
                head: health.head,
                trouble: health.trouble.clone(),
            })
        };
        self.endpoints.iter().map(status).collect()
    }

    /// Why the last look at the head by quorum failed, if it did.
    pub(crate) fn trouble(&self) -> Option<ChainError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T>(&self, result: Result<T, ChainError>) -> Result<T, ChainError> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = result.as_ref().err().cloned();
        result
    }

    /// Asks the endpoints in turn, from the one that answered last, until one answers.
    pub(crate) async fn request<R>(&self, method: &'static str, params: Value) -> Result<R, ChainError>
    where
        R: DeserializeOwned,
    {
        self.any(method, &params, |_, value| parse(method, value)).await
    }

    /// Asks with the trust that is wanted. `read` makes the answer a value that
    /// can be compared; what it finds no good counts as no answer.
    pub(crate) async fn ask<T>(
        &self,
        trust: Trust,
        method: &'static str,
        params: &Value,
        read: impl Fn(&str, Value) -> Result<T, ChainError>,
    ) -> Result<T, ChainError>
    where
        T: PartialEq + fmt::Debug,
    {
        match trust {
            Trust::Any => self.any(method, params, read).await,
            Trust::Quorum => self.quorum(method, params, read).await,
        }
    }

    /// Which endpoints to ask, the preferred one first: those that are not left
    /// out, and where these are fewer than `need` the others too, except those
    /// that said when to come back.
    fn order(&self, need: usize) -> Vec<usize> {
        let now = Instant::now();
        let from = self.preferred.load(Ordering::Relaxed);
        let count = self.endpoints.len();
        let turn = (0..count).map(|step| from.wrapping_add(step) % count.max(1));
        let left_out = |index: &usize| {
            self.endpoints.get(*index).and_then(|endpoint| endpoint.health(|health| health.left_out(now)))
        };
        let (fit, out): (Vec<usize>, Vec<usize>) = turn.partition(|index| left_out(index).is_none());
        if fit.len() >= need {
            return fit;
        }
        let held = |index: &usize| self.endpoints.get(*index).is_some_and(|endpoint| endpoint.health(|h| h.held(now)));
        fit.into_iter().chain(out.into_iter().filter(|index| !held(index))).collect()
    }

    async fn any<T>(
        &self,
        method: &'static str,
        params: &Value,
        read: impl Fn(&str, Value) -> Result<T, ChainError>,
    ) -> Result<T, ChainError> {
        let mut first: Option<ChainError> = None;
        let mut order = self.order(1);
        // Those left out come last.
        order.extend((0..self.endpoints.len()).filter(|index| !order.contains(index)).collect::<Vec<_>>());
        for index in order {
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            if let Some(held) = endpoint.health(|health| health.hold_left(Instant::now())) {
                let retry_secs = held.as_secs().max(1);
                first.get_or_insert(ChainError::RateLimited { endpoint: endpoint.name.clone(), retry_secs });
                continue;
            }
            match self.one(endpoint, method, params, &read).await {
                // What a contract says is an answer; what an endpoint cannot do another may.
                Err(error) if !error.is_revert() => {
                    tracing::debug!(endpoint = %endpoint.name, %error, "no answer to rely on");
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

    async fn quorum<T>(
        &self,
        method: &'static str,
        params: &Value,
        read: impl Fn(&str, Value) -> Result<T, ChainError>,
    ) -> Result<T, ChainError>
    where
        T: PartialEq + fmt::Debug,
    {
        let need = self.need(Trust::Quorum);
        if self.endpoints.len() == 1 {
            return self.any(method, params, read).await;
        }
        let order = self.order(need);
        let mut asked: FuturesUnordered<_> = order
            .iter()
            .filter_map(|index| self.endpoints.get(*index).map(|endpoint| (*index, endpoint)))
            .map(|(index, endpoint)| {
                let read = &read;
                async move { (index, self.one(endpoint, method, params, read).await) }
            })
            .collect();
        let mut groups: Vec<Group<T>> = Vec::new();
        let (mut silent, mut refusals) = (Vec::new(), Vec::new());
        while let Some((index, told)) = asked.next().await {
            if let Err(error) = &told
                && !error.is_revert()
            {
                silent.push(self.said(index, error.to_string()));
                refusals.extend(matches!(error, ChainError::Refused { .. }).then(|| error.clone()));
                continue;
            }
            let same = groups.iter_mut().find(|group| same(&group.told, &told));
            let size = match same {
                Some(group) => {
                    group.by.push(index);
                    group.by.len()
                }
                None => {
                    groups.push(Group { told, by: vec![index] });
                    1
                }
            };
            if size >= need {
                let winner = groups.iter().position(|group| group.by.len() >= need).unwrap_or_default();
                let agreed = groups.swap_remove(winner);
                self.outvoted(method, &groups);
                return agreed.told;
            }
        }
        let answered: usize = groups.iter().map(|group| group.by.len()).sum();
        if method == "eth_getLogs" && groups.len() <= 1 && answered.saturating_add(refusals.len()) >= need {
            // Too many blocks for some of them, which is for the asker to mend.
            if let Some(refusal) = refusals.pop() {
                return Err(refusal);
            }
        }
        let mut said: Vec<Said> = groups
            .iter()
            .flat_map(|group| group.by.iter().map(|index| self.said(*index, brief(&group.told))))
            .collect();
        said.append(&mut silent);
        for endpoint in self.endpoints.iter() {
            // Left out, and said so.
            if !said.iter().any(|one| one.endpoint == endpoint.name) {
                let why = endpoint.health(|health| health.trouble.as_ref().map(ToString::to_string));
                said.push(Said { endpoint: endpoint.name.clone(), answer: why.unwrap_or_else(|| "left out".into()) });
            }
        }
        Err(if groups.len() > 1 {
            ChainError::Disagreement { what: method, need, said }
        } else {
            ChainError::NoQuorum { what: method, need, said }
        })
    }

    /// Leaves out whoever said something else than the quorum.
    fn outvoted<T: fmt::Debug>(&self, method: &'static str, others: &[Group<T>]) {
        for group in others {
            for index in &group.by {
                let Some(endpoint) = self.endpoints.get(*index) else { continue };
                let answer = brief(&group.told);
                tracing::warn!(endpoint = %endpoint.name, method, answer, "an endpoint contradicts the others");
                endpoint.failed(&ChainError::BadAnswer { method });
            }
        }
    }

    fn said(&self, index: usize, answer: String) -> Said {
        let endpoint = self.endpoints.get(index).map(|endpoint| endpoint.name.clone()).unwrap_or_default();
        Said { endpoint, answer: cut(answer) }
    }

    /// One endpoint, once: the chain it serves where that is due, and the question.
    async fn one<T>(
        &self,
        endpoint: &Endpoint,
        method: &'static str,
        params: &Value,
        read: &impl Fn(&str, Value) -> Result<T, ChainError>,
    ) -> Result<T, ChainError> {
        let answer = match self.verify(endpoint).await {
            Ok(()) => self.plain(endpoint, method, params).await.and_then(|value| read(&endpoint.name, value)),
            Err(error) => Err(error),
        };
        match &answer {
            // It answered; that it cannot do this one thing, or lags by a block, is no fault.
            Ok(_) | Err(ChainError::Refused { .. } | ChainError::UnknownBlock { .. }) => {
                endpoint.health(Health::answered);
            }
            Err(error) => endpoint.failed(error),
        }
        answer
    }

    async fn verify(&self, endpoint: &Endpoint) -> Result<(), ChainError> {
        if endpoint.health(|health| health.is_verified(Instant::now(), self.config.recheck)) {
            return Ok(());
        }
        let answer = self.plain(endpoint, "eth_chainId", &json!([])).await?;
        let have: U64 = parse("eth_chainId", answer)?;
        let (have, need) = (have.to(), self.config.chain_id);
        if have != need {
            return Err(ChainError::WrongChain { endpoint: endpoint.name.clone(), have, need });
        }
        endpoint.health(|health| health.verified = Some(Instant::now()));
        Ok(())
    }

    async fn plain(&self, endpoint: &Endpoint, method: &'static str, params: &Value) -> Result<Value, ChainError> {
        let name = || endpoint.name.clone();
        let Ok(answer) = tokio::time::timeout(self.config.timeout, endpoint.transport.ask(method, params)).await else {
            endpoint.transport.reset().await;
            return Err(ChainError::TimedOut { endpoint: name(), after_secs: self.config.timeout.as_secs() });
        };
        match answer {
            Ok(answer) => told(&endpoint.name, method, answer),
            Err(TransportFault::RateLimited { retry_after }) => Err(rate_limited(name(), retry_after)),
            Err(fault) => Err(ChainError::Unreachable { endpoint: name(), source: Arc::new(fault) }),
        }
    }

    /// Hands a signed transaction to every endpoint. Answers as soon as one
    /// takes it; the others are told in the background.
    pub(crate) async fn broadcast(self: &Arc<Self>, raw: &[u8]) -> Result<(), ChainError> {
        let params = json!([Bytes::copy_from_slice(raw)]);
        let (report, mut reports) = tokio::sync::mpsc::channel(self.endpoints.len().max(1));
        let mut order = self.order(self.endpoints.len());
        if order.is_empty() {
            // All of them want to be left alone, and this cannot wait for ever: one request.
            order.push(self.preferred.load(Ordering::Relaxed));
        }
        for index in order {
            let Some(endpoint) = self.endpoints.get(index).cloned() else { continue };
            let (rpc, params, report) = (Arc::clone(self), params.clone(), report.clone());
            tokio::spawn(async move {
                let read = |_: &str, _: Value| Ok(());
                let sent = rpc.one(&endpoint, "eth_sendRawTransaction", &params, &read).await;
                // Nobody listens any more once one has taken it.
                let _gone = report.send(sent).await;
            });
        }
        drop(report);
        let (mut refused, mut unknown) = (None, None);
        while let Some(sent) = reports.recv().await {
            match sent {
                Ok(()) => return Ok(()),
                Err(error @ ChainError::Refused { .. }) => refused = Some(error),
                Err(error) => unknown = Some(error),
            }
        }
        // An endpoint that said nothing may have taken it: that is not a refusal.
        Err(unknown.or(refused).unwrap_or(ChainError::NoEndpoint))
    }

    /// The newest block: by quorum, the newest that a quorum has.
    pub(crate) async fn head(&self, trust: Trust) -> Result<Header, ChainError> {
        if trust == Trust::Any || self.endpoints.len() == 1 {
            let latest = json!(["latest", false]);
            let head = self.any("eth_getBlockByNumber", &latest, |name, value| {
                let header = header(value)?.ok_or(ChainError::BadAnswer { method: "eth_getBlockByNumber" })?;
                self.check_head(name, &header, trust)?;
                Ok(header)
            });
            let head = head.await;
            if let Ok(header) = &head
                && self.endpoints.len() == 1
            {
                self.highest.fetch_max(header.number, Ordering::Relaxed);
            }
            return if trust == Trust::Quorum { self.note(head) } else { head };
        }
        let head = self.head_of_many("latest").await;
        self.note(head)
    }

    /// The newest block that the chain's consensus calls final.
    pub(crate) async fn finalized(&self, trust: Trust) -> Result<Header, ChainError> {
        if trust == Trust::Any || self.endpoints.len() == 1 {
            let read = |_: &str, value| header(value)?.ok_or(ChainError::UnknownBlock { block: 0 });
            return self.any("eth_getBlockByNumber", &json!(["finalized", false]), read).await;
        }
        self.head_of_many("finalized").await
    }

    fn check_head(&self, name: &str, header: &Header, trust: Trust) -> Result<(), ChainError> {
        let endpoint = || name.to_owned();
        let need = self.highest.load(Ordering::Relaxed);
        if header.number.saturating_add(STALE_BLOCKS) < need {
            return Err(ChainError::Stale { endpoint: endpoint(), have: header.number, need });
        }
        let age_secs = unix_now().saturating_sub(header.timestamp);
        let limit_secs = self.config.max_head_age.as_secs();
        if trust == Trust::Quorum && age_secs > limit_secs {
            return Err(ChainError::OldHead { endpoint: endpoint(), age_secs, limit_secs });
        }
        Ok(())
    }

    /// The highest block that a quorum of endpoints has and agrees on.
    async fn head_of_many(&self, tag: &'static str) -> Result<Header, ChainError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let need = self.need(Trust::Quorum);
        let params = json!([tag, false]);
        let read = |name: &str, value| {
            let header = header(value)?.ok_or(ChainError::UnknownBlock { block: 0 })?;
            if tag == "latest" {
                self.check_head(name, &header, Trust::Quorum)?;
            }
            Ok(header)
        };
        let (mut heads, mut said) = self.gather(need, METHOD, &params, read).await;
        heads.sort_by_key(|(_, header)| core::cmp::Reverse(header.number));
        let Some((_, newest)) = need.checked_sub(1).and_then(|place| heads.get(place)).copied() else {
            said.extend(heads.iter().map(|(index, header)| self.said(*index, format!("block {}", header.number))));
            return Err(ChainError::NoQuorum { what: METHOD, need, said });
        };
        self.mark_heads(tag, &heads, newest.number);
        let same = heads.iter().filter(|(_, header)| *header == newest).count();
        if same >= need {
            return Ok(newest);
        }
        let mut result = self.block(Trust::Quorum, newest.number).await;
        for below in 1..=TIP_FORK_BLOCKS {
            if !matches!(result, Err(ChainError::Disagreement { .. })) {
                break;
            }
            result = self.block(Trust::Quorum, newest.number.saturating_sub(below)).await;
        }
        result
    }

    /// What every endpoint says: the slow ones get a moment more once `need` of
    /// them have answered. With it, why the others said nothing.
    async fn gather<T>(
        &self,
        need: usize,
        method: &'static str,
        params: &Value,
        read: impl Fn(&str, Value) -> Result<T, ChainError>,
    ) -> (Vec<(usize, T)>, Vec<Said>) {
        let mut asked: FuturesUnordered<_> = self
            .order(need)
            .into_iter()
            .filter_map(|index| self.endpoints.get(index).map(|endpoint| (index, endpoint)))
            .map(|(index, endpoint)| {
                let read = &read;
                async move { (index, self.one(endpoint, method, params, read).await) }
            })
            .collect();
        let (mut told, mut silent) = (Vec::new(), Vec::new());
        let grace = (self.config.timeout / 8).min(Duration::from_millis(250));
        loop {
            let next = if told.len() >= need {
                match tokio::time::timeout(grace, asked.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                }
            } else {
                asked.next().await
            };
            match next {
                Some((index, Ok(value))) => told.push((index, value)),
                Some((index, Err(error))) => silent.push(self.said(index, error.to_string())),
                None => break,
            }
        }
        (told, silent)
    }

    /// The highest number that as many endpoints as are needed reach, or of
    /// those that answered.
    pub(crate) async fn high(&self, trust: Trust, method: &'static str, params: &Value) -> Result<u64, ChainError> {
        let need = self.need(trust);
        if self.endpoints.len() == 1 {
            return self.any(method, params, |_, value| parse::<U64>(method, value)).await.map(|number| number.to());
        }
        let read = |_: &str, value| parse::<U64>(method, value).map(|number| number.to::<u64>());
        let (mut told, said) = self.gather(self.need(Trust::Quorum), method, params, read).await;
        told.sort_by_key(|(_, number)| core::cmp::Reverse(*number));
        let place = self.need(Trust::Quorum).min(told.len()).checked_sub(1).filter(|_| told.len() >= need);
        let found = place.and_then(|place| told.get(place));
        found.map(|(_, number)| *number).ok_or(ChainError::NoQuorum { what: method, need, said })
    }

    /// The first answer that is no refusal, of a contract either: one endpoint
    /// that is behind sees refusals where there are none.
    pub(crate) async fn lenient<R: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<R, ChainError> {
        let mut refusal = None;
        let mut other = None;
        for index in self.order(1) {
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            match self.one(endpoint, method, params, &|_: &str, value| parse(method, value)).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_revert() => refusal = Some(error),
                Err(error) => other = Some(error),
            }
        }
        match refusal.or(other) {
            Some(error) => Err(error),
            // All of them want to be left alone, which is said there.
            None => self.request(method, params.clone()).await,
        }
    }

    /// Remembers the heads, and leaves out whoever is far behind a quorum of the others.
    fn mark_heads(&self, tag: &str, heads: &[(usize, Header)], quorum: u64) {
        if tag != "latest" {
            return;
        }
        self.highest.fetch_max(quorum, Ordering::Relaxed);
        for (index, header) in heads {
            let Some(endpoint) = self.endpoints.get(*index) else { continue };
            endpoint.health(|health| health.head = Some(header.number));
            if header.number.saturating_add(self.config.max_lag_blocks) < quorum {
                let endpoint_name = endpoint.name.clone();
                endpoint.failed(&ChainError::Stale { endpoint: endpoint_name, have: header.number, need: quorum });
            }
        }
    }

    /// The block with this number.
    pub(crate) async fn block(&self, trust: Trust, number: u64) -> Result<Header, ChainError> {
        let method = "eth_getBlockByNumber";
        self.ask(trust, method, &json!([U64::from(number), false]), |_, value| {
            let header = header(value)?.ok_or(ChainError::UnknownBlock { block: number })?;
            if header.number == number { Ok(header) } else { Err(ChainError::BadAnswer { method }) }
        })
        .await
    }
}

/// The value of an answer of this type.
pub(crate) fn parse<R: DeserializeOwned>(method: &'static str, value: Value) -> Result<R, ChainError> {
    serde_json::from_value(value).map_err(|_| ChainError::BadAnswer { method })
}

fn header(value: Value) -> Result<Option<Header>, ChainError> {
    Ok(parse::<Option<RawHeader>>("eth_getBlockByNumber", value)?.map(Header::from))
}

/// Values that are equal, or refusals of a contract with equal data.
fn same<T: PartialEq>(a: &Result<T, ChainError>, b: &Result<T, ChainError>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => a == b,
        (Err(ChainError::Refused { data: a, .. }), Err(ChainError::Refused { data: b, .. })) => {
            a.clone().unwrap_or_default() == b.clone().unwrap_or_default()
        }
        _ => false,
    }
}

fn brief<T: fmt::Debug>(told: &Result<T, ChainError>) -> String {
    match told {
        Ok(value) => cut(format!("{value:?}")),
        Err(error) => cut(error.to_string()),
    }
}

/// Beginning, end and a hash of a long text: two that differ look different.
fn cut(text: String) -> String {
    const LONGEST: usize = 160;
    let count = text.chars().count();
    if count <= LONGEST {
        return text;
    }
    let start: String = text.chars().take(LONGEST / 2).collect();
    let end: String = text.chars().skip(count.saturating_sub(LONGEST / 4)).collect();
    let hash = keccak256(text.as_bytes()).to_string();
    format!("{start}…{end} ({count} characters, keccak {})", hash.get(..10).unwrap_or_default())
}

fn told(endpoint: &str, method: &'static str, answer: Answer) -> Result<Value, ChainError> {
    answer.map_err(|payload| {
        if payload.is_retry_err() && !is_too_much(method, &payload.message) {
            return rate_limited(endpoint.to_owned(), None);
        }
        ChainError::Refused {
            method,
            code: payload.code,
            data: payload.as_revert_data(),
            message: cut(payload.message.into_owned()),
        }
    })
}

/// Whether it is the answer that would be too large, rather than the requests too many: EIP-1474 has one code for both.
fn is_too_much(method: &str, message: &str) -> bool {
    let words = message.to_ascii_lowercase();
    method == "eth_getLogs" && ["results", "range", "query timeout"].iter().any(|said| words.contains(said))
}

/// How long an endpoint is left alone that does not say how long.
const UNTOLD_PAUSE: Duration = Duration::from_secs(1);
/// The longest that one is believed to want.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

fn rate_limited(endpoint: String, retry_after: Option<Duration>) -> ChainError {
    ChainError::RateLimited { endpoint, retry_secs: retry_after.unwrap_or(UNTOLD_PAUSE).min(LONGEST_PAUSE).as_secs() }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
