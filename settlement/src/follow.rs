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
use std::{cmp::Reverse, collections::BTreeMap, mem::take};
use symbolon_contracts::vault::VaultEvents;
use symbolon_primitives::{Amount, Lane};
use symbolon_store::{StoreError, StoreHandle, View, Write};

/// How many blocks one step reads at most.
const STEP_BLOCKS: u64 = 10_000;

/// The most marks kept. Of the older half every second goes when there are more.
const MAX_MARKS: usize = 128;

/// The most channels in the book of a payee: anybody may earmark for it. When there are more, the half with the least
/// earmarked goes. What is left fits into a record.
const MAX_OF_PAYEE: usize = 16_384;

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
    opened: Vec<(Address, Address, Lane, u64, Amount)>,
}

/// What events tell of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    /// The block in which it was first opened.
    block: u64,
    /// All that was ever earmarked for it, more or less: which channels matter most is told by it, and no more.
    earmarked: Amount,
}

/// Every channel of a party, as the contract has it.
#[derive(Clone, Debug)]
pub struct ChannelBook {
    follower: Follower,
    party: Party,
    opened: BTreeMap<Place, Opening>,
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
            let place =
                |(payee, payer, lane, block, earmarked)| (Place { payee, payer, lane }, Opening { block, earmarked });
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
        let row = |(place, opening): (&Place, &Opening)| {
            (place.payee, place.payer, place.lane, opening.block, opening.earmarked)
        };
        let saved = Saved { cursor: self.follower.cursor.clone(), opened: self.opened.iter().map(row).collect() };
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
                Step::Reorganised { from } => self.opened.retain(|_, opening| opening.block < from),
                Step::Read { events, reached } => {
                    for event in &events {
                        note(&mut self.opened, self.party, event);
                    }
                    if reached {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Every channel that anything was ever earmarked for, as far as was read; of a payee, those that matter most.
    pub fn opened(&self) -> impl Iterator<Item = Place> + '_ {
        self.opened.keys().copied()
    }

    /// The same, those first for which most was earmarked.
    #[must_use]
    pub fn by_earmark(&self) -> Vec<Place> {
        largest_first(self.opened.clone()).into_iter().map(|(place, _)| place).collect()
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
}

fn note(opened: &mut BTreeMap<Place, Opening>, party: Party, event: &ChainEvent) {
    let VaultEvents::Opened(found) = &event.event else { return };
    for (payee, amount) in amounts_of_words(&found.words) {
        let ours = match party {
            Party::Payer(key) => key == found.key,
            Party::Payee(account) => account == payee,
        };
        // Nothing earmarked costs whoever opens it next to nothing, and there is nothing in it.
        if !ours || amount.is_zero() {
            continue;
        }
        let place = Place { payee, payer: found.key, lane: Lane::from_word(found.lane) };
        let opening = opened.entry(place).or_insert(Opening { block: event.block, earmarked: Amount::ZERO });
        opening.earmarked = opening.earmarked.checked_add(amount).unwrap_or(Amount::MAX);
        if matches!(party, Party::Payee(_)) && opened.len() > MAX_OF_PAYEE {
            let largest = largest_first(take(opened));
            opened.extend(largest.into_iter().take(MAX_OF_PAYEE / 2));
        }
    }
}

fn largest_first(opened: BTreeMap<Place, Opening>) -> Vec<(Place, Opening)> {
    let mut all: Vec<_> = opened.into_iter().collect();
    all.sort_by_key(|(_, opening)| Reverse(opening.earmarked));
    all
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
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ops::amount_word;
    use symbolon_contracts::vault;
    use symbolon_primitives::Royalty;
    use symbolon_store::MAX_RECORD_BYTES;

    fn opening(payer: Address, lane: Lane, words: Vec<B256>) -> ChainEvent {
        let event = vault::Opened { key: payer, lane: lane.word(), expiry: Default::default(), words };
        let event = VaultEvents::Opened(event);
        ChainEvent { block: 1, block_hash: B256::ZERO, tx: B256::ZERO, index: 0, event }
    }

    #[test]
    fn n3_strangers_fill_no_book_and_those_that_matter_stay() {
        let [payee, friend, stranger] = [1, 2, 3].map(Address::repeat_byte);
        let (party, mut opened) = (Party::Payee(payee), BTreeMap::new());
        let mut earmark = |payer, number: u16, base| {
            let words = vec![amount_word(payee, Amount::from_u64(base)), amount_word(stranger, Amount::MAX)];
            note(&mut opened, party, &opening(payer, Royalty::NONE.lane(number), words));
            opened.len()
        };
        for number in 0..100 {
            assert_eq!(earmark(stranger, number, 0), 0, "nothing is earmarked");
        }
        assert_eq!(earmark(friend, 7, 500), 1);
        for number in 0..40_000 {
            assert!(earmark(stranger, number, 1) <= MAX_OF_PAYEE);
        }
        assert_eq!(earmark(friend, 8, 600), opened.len());
        let place = |number| Place { payee, payer: friend, lane: Royalty::NONE.lane(number) };
        let first: Vec<Place> = largest_first(opened.clone()).iter().take(2).map(|(place, _)| *place).collect();
        assert_eq!(first, [place(8), place(7)]);
        // The longest that can be is stored, so that the next look goes on from there.
        let row = (payee, stranger, Royalty::NONE.lane(0), u64::MAX, Amount::MAX);
        let marks = (0..MAX_MARKS).map(|_| Mark { number: u64::MAX, hash: B256::ZERO });
        let saved = Saved { cursor: Cursor { marks: marks.collect() }, opened: vec![row; MAX_OF_PAYEE] };
        assert!(serde_json::to_vec(&saved).unwrap().len() <= MAX_RECORD_BYTES);
        // What a key opened itself is all there: on a lane that it does not know of it signs nothing.
        let mut own = BTreeMap::new();
        for number in 0..40_000 {
            let words = vec![amount_word(payee, Amount::from_u64(1))];
            note(&mut own, Party::Payer(friend), &opening(friend, Royalty::NONE.lane(number), words));
        }
        assert_eq!(own.len(), 40_000);
    }

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
