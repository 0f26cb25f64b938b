//! Following the vault's events and the channels they open: from the block of
//! the deployment, in ranges that can be resumed, and over reorganisations.
//!
//! Events say only where to look. What a channel holds is read from the
//! contract, all of it, at each refresh: nothing is added up, so nothing can be
//! missed for long, and after a reorganisation nothing is left of the blocks
//! that are gone.

use crate::{ChainError, ChainEvent, ChannelState, EventFilter, Header, Place, VaultView, amounts_of_words};
use alloy::primitives::{Address, B256};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use symbolon_contracts::vault::VaultEvents;
use symbolon_primitives::Lane;
use symbolon_store::{StoreError, StoreHandle, View, Write};

/// How many blocks one step reads at most.
const STEP_BLOCKS: u64 = 10_000;

/// The most marks kept. Of the older half every second goes when there are more.
const MAX_MARKS: usize = 128;

/// Reads of channels under way at once.
const READS_AT_ONCE: usize = 16;

/// A block that was read up to, by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its number.
    pub number: u64,
    /// Its hash: whether it is still there is told by it.
    pub hash: B256,
}

/// How far events were read. To be stored together with what they led to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Oldest first; the last is where reading goes on.
    marks: Vec<Mark>,
}

impl Cursor {
    /// The last block read, if there is one.
    #[must_use]
    pub fn last(&self) -> Option<Mark> {
        self.marks.last().copied()
    }

    fn push(&mut self, mark: Mark) {
        if self.marks.len() >= MAX_MARKS {
            let half = MAX_MARKS / 2;
            let mut place = 0;
            self.marks.retain(|_| {
                place += 1;
                place > half || place % 2 == 1
            });
        }
        self.marks.push(mark);
    }
}

/// One step of a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Events of further blocks.
    Read {
        /// In the order of the chain.
        events: Vec<ChainEvent>,
        /// Whether the block asked for is reached.
        reached: bool,
    },
    /// Blocks that were read are gone: whatever came from this one on, or after
    /// it, is to be forgotten. The next step reads it anew.
    Reorganised {
        /// The first block that has to be read again.
        from: u64,
    },
}

/// Reads the events of a filter, each block of the chain once.
#[derive(Clone, Debug)]
pub struct Follower {
    vault: VaultView,
    filter: EventFilter,
    start: u64,
    cursor: Cursor,
}

impl Follower {
    /// Goes on from a cursor; one that is new begins at `start`, the block of
    /// the deployment.
    #[must_use]
    pub fn new(vault: VaultView, filter: EventFilter, start: u64, cursor: Cursor) -> Self {
        Self { vault, filter, start, cursor }
    }

    /// How far it has read.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Reads on towards `to`, or finds that what was read is gone.
    ///
    /// # Errors
    /// [`ChainError`] when the endpoints do not answer, or not alike. Nothing
    /// has changed then.
    pub async fn step(&mut self, to: &Header) -> Result<Step, ChainError> {
        if let Some(last) = self.cursor.last()
            && !self.is_there(last).await?
        {
            let mut marks = self.cursor.marks.clone();
            marks.pop();
            while let Some(mark) = marks.last()
                && !self.is_there(*mark).await?
            {
                marks.pop();
            }
            let from = marks.last().map_or(self.start, |mark| mark.number.saturating_add(1));
            self.cursor.marks = marks;
            return Ok(Step::Reorganised { from });
        }
        let next = self.cursor.last().map_or(self.start, |mark| mark.number.saturating_add(1));
        if next > to.number {
            return Ok(Step::Read { events: Vec::new(), reached: true });
        }
        let until = to.number.min(next.saturating_add(STEP_BLOCKS - 1));
        // Read between two looks at the last block: the same hash, the same chain.
        let end = if until == to.number { *to } else { self.vault.chain().block(until).await? };
        let page = self.vault.events(&self.filter, next, until).await?;
        if self.vault.chain().block(until).await?.hash != end.hash {
            return Ok(Step::Read { events: Vec::new(), reached: false });
        }
        if page.next > until {
            self.cursor.push(Mark { number: until, hash: end.hash });
            return Ok(Step::Read { events: page.events, reached: until == to.number });
        }
        // Full before its end: up to the last block that is complete.
        let number = page.next.saturating_sub(1);
        let hash = self.vault.chain().block(number).await?.hash;
        self.cursor.push(Mark { number, hash });
        Ok(Step::Read { events: page.events, reached: false })
    }

    async fn is_there(&self, mark: Mark) -> Result<bool, ChainError> {
        let chain = self.vault.chain();
        if chain.head().await?.number < mark.number {
            return Ok(false);
        }
        Ok(chain.block(mark.number).await?.hash == mark.hash)
    }
}

/// Whose channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Those that this key pays on.
    Payer(Address),
    /// Those that this account is paid on.
    Payee(Address),
}

#[derive(Serialize, Deserialize)]
struct Saved {
    cursor: Cursor,
    opened: Vec<(Address, Address, Lane, u64)>,
}

/// Every channel of a party, as the contract has it.
#[derive(Clone, Debug)]
pub struct ChannelBook {
    follower: Follower,
    party: Party,
    /// With the block in which it was first opened.
    opened: BTreeMap<Place, u64>,
    states: BTreeMap<Place, ChannelState>,
}

const BOOK: &str = "channel-book";

impl ChannelBook {
    /// A party's book from what was saved of it, or a new one that begins at
    /// the block of the deployment.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not read.
    pub fn open(vault: &VaultView, party: Party, deployed_at: u64, store: &StoreHandle) -> Result<Self, StoreError> {
        store.read(|view| Self::open_in(vault, party, deployed_at, &view))
    }

    /// As [`ChannelBook::open`], of an open view: also where a node has the folder.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not read.
    pub fn open_in(vault: &VaultView, party: Party, deployed_at: u64, view: &View<'_>) -> Result<Self, StoreError> {
        let saved = view.record(BOOK, &id(vault, party))?;
        // One that does not read back is as good as none: all of it is on the chain.
        let saved = saved.and_then(|bytes| serde_json::from_slice::<Saved>(&bytes).ok());
        let mut book = Self::new(vault, party, deployed_at);
        if let Some(saved) = saved {
            book.follower.cursor = saved.cursor;
            let place = |(payee, payer, lane, block)| (Place { payee, payer, lane }, block);
            book.opened = saved.opened.into_iter().map(place).collect();
        }
        Ok(book)
    }

    /// A book that begins at the block of the deployment.
    #[must_use]
    pub fn new(vault: &VaultView, party: Party, deployed_at: u64) -> Self {
        let filter = match party {
            Party::Payer(key) => EventFilter::openings_of(key),
            Party::Payee(_) => EventFilter::openings(),
        };
        let follower = Follower::new(vault.clone(), filter, deployed_at, Cursor::default());
        Self { follower, party, opened: BTreeMap::new(), states: BTreeMap::new() }
    }

    /// What has to be stored for the next start to go on from here.
    #[must_use]
    pub fn save(&self) -> Write {
        let opened = self.opened.iter().map(|(place, block)| (place.payee, place.payer, place.lane, *block)).collect();
        let saved = Saved { cursor: self.follower.cursor.clone(), opened };
        let bytes = serde_json::to_vec(&saved).unwrap_or_default();
        Write::put(BOOK, id(&self.follower.vault, self.party), bytes)
    }

    /// Brings the book to the state at a block: reads on, forgets what a
    /// reorganisation took away, and reads every channel anew.
    ///
    /// # Errors
    /// [`ChainError`] when the endpoints do not answer, or not alike; the
    /// states are then those of the last refresh.
    pub async fn refresh(&mut self, at: &Header) -> Result<&BTreeMap<Place, ChannelState>, ChainError> {
        self.follow(at).await?;
        let vault = &self.follower.vault;
        let reads = self.opened.keys().map(|place| async move {
            let state = vault.channel(place.payer, place.payee, place.lane, at).await?;
            Ok::<_, ChainError>((*place, state))
        });
        let reads: Vec<_> = reads.collect();
        self.states = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE).try_collect().await?;
        Ok(&self.states)
    }

    /// Reads on to a block and forgets what a reorganisation took away. The
    /// channels' states stay those of the last refresh.
    ///
    /// # Errors
    /// [`ChainError`] when the endpoints do not answer, or not alike.
    pub async fn follow(&mut self, at: &Header) -> Result<(), ChainError> {
        loop {
            match self.follower.step(at).await? {
                Step::Reorganised { from } => self.opened.retain(|_, block| *block < from),
                Step::Read { events, reached } => {
                    for event in &events {
                        self.note(event);
                    }
                    if reached {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Every channel that was ever opened, as far as was read.
    pub fn opened(&self) -> impl Iterator<Item = Place> + '_ {
        self.opened.keys().copied()
    }

    /// The channels as of the last refresh.
    #[must_use]
    pub fn channels(&self) -> &BTreeMap<Place, ChannelState> {
        &self.states
    }

    /// How far it has read.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        self.follower.cursor()
    }

    fn note(&mut self, event: &ChainEvent) {
        let VaultEvents::Opened(opened) = &event.event else { return };
        for (payee, _) in amounts_of_words(&opened.words) {
            let ours = match self.party {
                Party::Payer(key) => key == opened.key,
                Party::Payee(account) => account == payee,
            };
            if ours {
                let place = Place { payee, payer: opened.key, lane: Lane::from_word(opened.lane) };
                self.opened.entry(place).or_insert(event.block);
            }
        }
    }
}

fn id(vault: &VaultView, party: Party) -> Vec<u8> {
    let (side, who) = match party {
        Party::Payer(key) => (0, key),
        Party::Payee(account) => (1, account),
    };
    [&vault.chain().chain_id().to_be_bytes(), vault.address().as_slice(), &[side], who.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_thin_out_and_the_newest_stay() {
        let mut cursor = Cursor::default();
        for number in 0..10_000 {
            cursor.push(Mark { number, hash: B256::ZERO });
            assert!(cursor.marks.len() <= MAX_MARKS);
        }
        assert_eq!(cursor.last().map(|mark| mark.number), Some(9_999));
        assert!(cursor.marks.is_sorted_by_key(|mark| mark.number));
        // As far back as the deepest reorganisation looked for, block by block; then fewer and fewer.
        let recent = cursor.marks.iter().rev().take(64).map(|mark| mark.number);
        assert!(recent.eq((9_936..10_000).rev()));
        assert_eq!(cursor.marks.first().map(|mark| mark.number), Some(0));
    }
}
