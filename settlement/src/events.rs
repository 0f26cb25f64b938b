//! The vault's events, read in bounded ranges that can be resumed. Whoever
//! follows them re-derives its state from the chain and never patches it.

use crate::{ChainError, TransportFault, VaultView, rpc::parse};
use alloy::{
    primitives::{Address, B256, U64},
    rpc::types::Log,
    sol_types::{SolEvent, SolEventInterface},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use symbolon_contracts::vault::{self, VaultEvents};
use symbolon_primitives::{Amount, OrderDigest};

/// The most events one page holds before it ends at a block's edge.
pub const MAX_PAGE_EVENTS: usize = 10_000;

/// How many blocks are asked for at once; halved when an endpoint finds it too many.
const SPAN_BLOCKS: u64 = 2_000;

/// How many blocks with events are looked up to see that they are of the chain.
const CHECKED_BLOCKS: usize = 32;

/// The longest peer id, signature or address list believed of a registration, in bytes.
pub const MAX_REGISTRATION_BYTES: usize = 1024;

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Hashes of the events' signatures; none means all.
    pub events: Vec<B256>,
    /// What their first indexed members have to be; nothing means anything.
    pub indexed: [Option<B256>; 3],
}

impl EventFilter {
    /// Everything the vault emits.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The settlements of one order: each its own `ResultsSettled`.
    #[must_use]
    pub fn settlement_of(order: OrderDigest) -> Self {
        Self { events: vec![vault::ResultsSettled::SIGNATURE_HASH], indexed: [Some(order.word()), None, None] }
    }

    /// Settlements by quorum, of every order.
    #[must_use]
    pub fn settlements() -> Self {
        Self { events: vec![vault::ResultsSettled::SIGNATURE_HASH], ..Self::default() }
    }

    /// Claims of one payee.
    #[must_use]
    pub fn claims_of(payee: Address) -> Self {
        Self { events: vec![vault::Claimed::SIGNATURE_HASH], indexed: [Some(payee.into_word()), None, None] }
    }

    /// Openings and releases of one payer key.
    #[must_use]
    pub fn channels_of(key: Address) -> Self {
        Self {
            events: vec![vault::Opened::SIGNATURE_HASH, vault::Released::SIGNATURE_HASH],
            indexed: [Some(key.into_word()), None, None],
        }
    }

    /// Openings and top-ups of one payer key.
    #[must_use]
    pub fn openings_of(key: Address) -> Self {
        Self { indexed: [Some(key.into_word()), None, None], ..Self::openings() }
    }

    /// Openings and top-ups of everybody. Payees stand in the words.
    #[must_use]
    pub fn openings() -> Self {
        Self { events: vec![vault::Opened::SIGNATURE_HASH], ..Self::default() }
    }

    /// Registrations of providers.
    #[must_use]
    pub fn registrations() -> Self {
        Self { events: vec![vault::ProviderRegistered::SIGNATURE_HASH], ..Self::default() }
    }

    fn topics(&self) -> Value {
        let first = if self.events.is_empty() { Value::Null } else { json!(self.events) };
        let mut topics = vec![first];
        topics.extend(self.indexed.iter().map(|topic| json!(topic)));
        Value::Array(topics)
    }
}

/// The words of an event, payee (20 bytes) and amount (12) each, in its order:
/// earmarks of `Opened`, credits of `ResultsSettled`, where zero is a row that
/// could not be paid.
pub fn amounts_of_words(words: &[B256]) -> impl Iterator<Item = (Address, Amount)> + '_ {
    words.iter().map(|word| {
        let (payee, low) = word.0.split_at(20);
        let amount = low.iter().fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        // Twelve bytes are always an amount.
        (Address::from_slice(payee), Amount::new(amount).unwrap_or(Amount::MAX))
    })
}

/// One event, with where it stands on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEvent {
    /// The block's number.
    pub block: u64,
    /// The block's hash: it tells whether a later read speaks of the same chain.
    pub block_hash: B256,
    /// The transaction.
    pub tx: B256,
    /// Its place among the block's events.
    pub index: u64,
    /// What happened.
    pub event: VaultEvents,
}

/// A stretch of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// In the order of the chain.
    pub events: Vec<ChainEvent>,
    /// The first block not read: where the next page begins.
    pub next: u64,
}

/// A provider's registration. Whether the peer id signed the provider's
/// address is the reader's to check, before anything is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who registered.
    pub provider: Address,
    /// The peer id, as bytes.
    pub peer_id: Vec<u8>,
    /// The peer id's signature over the provider's address.
    pub signature: Vec<u8>,
    /// Where to dial, in the network's encoding.
    pub addresses: Vec<u8>,
    /// The block it stands in.
    pub block: u64,
}

/// Whether fewer blocks at once may get an answer.
fn asks_for_less(error: &ChainError) -> bool {
    match error {
        ChainError::Refused { .. } => true,
        ChainError::Unreachable { source, .. } => matches!(**source, TransportFault::TooLarge { .. }),
        _ => false,
    }
}

impl VaultView {
    /// Events of the blocks `from` to `to`, both included. Ends early, at a
    /// block's edge, after [`MAX_PAGE_EVENTS`]; read on from `next` until it is
    /// past `to`. Ask for no block that is not deep enough to be relied on.
    ///
    /// # Errors
    /// [`ChainError`] when no endpoint answers, or one shows logs that were not
    /// asked for.
    pub async fn events(&self, filter: &EventFilter, from: u64, to: u64) -> Result<EventPage, ChainError> {
        let mut page = EventPage { events: Vec::new(), next: from };
        let mut span = SPAN_BLOCKS;
        while page.next <= to && page.events.len() < MAX_PAGE_EVENTS {
            let last = to.min(page.next.saturating_add(span.saturating_sub(1)));
            let query = json!([{
                "address": self.address(),
                "fromBlock": U64::from(page.next),
                "toBlock": U64::from(last),
                "topics": filter.topics(),
            }]);
            let range = (page.next, last);
            let read = |_: &str, value| self.events_of(filter, parse("eth_getLogs", value)?, range);
            let found = match self.chain().rpc().ask(self.chain().trust(), "eth_getLogs", &query, read).await {
                // "Too many blocks", "too many results" and "too large" have no code of their own.
                Err(error) if span > 1 && asks_for_less(&error) => {
                    span /= 2;
                    continue;
                }
                answer => answer?,
            };
            self.check_blocks(&found).await?;
            page.events.extend(found);
            page.next = last.saturating_add(1);
        }
        Ok(page)
    }

    /// The logs as events in the order of the chain, each once, whatever order
    /// they were shown in.
    fn events_of(
        &self,
        filter: &EventFilter,
        logs: Vec<Log>,
        range: (u64, u64),
    ) -> Result<Vec<ChainEvent>, ChainError> {
        let mut events = Vec::with_capacity(logs.len());
        for log in &logs {
            events.extend(self.event_of(filter, log, range.0, range.1)?);
        }
        events.sort_by_key(|event: &ChainEvent| (event.block, event.index));
        events.dedup();
        // Two events in one place, or two blocks of one number.
        let torn = events.windows(2).any(|pair| match pair {
            [a, b] => a.block == b.block && (a.index == b.index || a.block_hash != b.block_hash),
            _ => false,
        });
        if torn { Err(ChainError::BadAnswer { method: "eth_getLogs" }) } else { Ok(events) }
    }

    /// Whether events stand in blocks of the chain: the newest
    /// [`CHECKED_BLOCKS`] of them, where a single endpoint tells of them.
    async fn check_blocks(&self, events: &[ChainEvent]) -> Result<(), ChainError> {
        if self.chain().endpoint_count() > 1 {
            return Ok(());
        }
        let blocks: BTreeMap<u64, B256> = events.iter().map(|event| (event.block, event.block_hash)).collect();
        for (number, hash) in blocks.into_iter().rev().take(CHECKED_BLOCKS) {
            if self.chain().block(number).await?.hash != hash {
                return Err(ChainError::BadAnswer { method: "eth_getLogs" });
            }
        }
        Ok(())
    }

    /// The log as an event; nothing when a newer vault emitted it, an error when
    /// it is none that was asked for.
    fn event_of(&self, filter: &EventFilter, log: &Log, from: u64, to: u64) -> Result<Option<ChainEvent>, ChainError> {
        let lie = ChainError::BadAnswer { method: "eth_getLogs" };
        let (Some(block), Some(block_hash), Some(tx), Some(index)) =
            (log.block_number, log.block_hash, log.transaction_hash, log.log_index)
        else {
            return Err(lie);
        };
        let wanted = log.topic0().is_some_and(|topic| filter.events.is_empty() || filter.events.contains(topic));
        let matches = filter
            .indexed
            .iter()
            .zip(1..)
            .all(|(want, at)| want.as_ref().is_none_or(|want| log.topics().get(at) == Some(want)));
        if log.address() != self.address() || !(from..=to).contains(&block) || log.removed || !wanted || !matches {
            return Err(lie);
        }
        let event = VaultEvents::decode_log(&log.inner).ok();
        Ok(event.map(|event| ChainEvent { block, block_hash, tx, index, event: event.data }))
    }

    /// Registrations in the blocks `from` to `to`, with the first block not
    /// read. A provider's last one counts; stake is read beside it.
    ///
    /// # Errors
    /// As [`VaultView::events`].
    pub async fn registrations(&self, from: u64, to: u64) -> Result<(Vec<Registration>, u64), ChainError> {
        let page = self.events(&EventFilter::registrations(), from, to).await?;
        let found = page.events.into_iter().filter_map(|found| match found.event {
            VaultEvents::ProviderRegistered(event) => {
                let parts = [&event.peerId, &event.signature, &event.addresses];
                parts.iter().all(|part| part.len() <= MAX_REGISTRATION_BYTES).then(|| Registration {
                    provider: event.provider,
                    peer_id: event.peerId.to_vec(),
                    signature: event.signature.to_vec(),
                    addresses: event.addresses.to_vec(),
                    block: found.block,
                })
            }
            _ => None,
        });
        Ok((found.collect(), page.next))
    }
}
