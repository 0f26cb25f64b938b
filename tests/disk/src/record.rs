//! What was asked of the disk, and what a cut of the power could have left of it.

use std::collections::BTreeMap;

/// The unit in which a disk writes all or nothing.
const SECTOR: usize = 512;

/// One thing that was asked of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file is there from here on.
    Created {
        /// The file's name.
        file: String,
    },
    /// Bytes were written.
    Written {
        /// The file's name.
        file: String,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file was cut or grown to this length.
    Truncated {
        /// The file's name.
        file: String,
        /// Its length.
        length: u64,
    },
    /// What was written to a file before is safe.
    Synced {
        /// The file's name.
        file: String,
    },
    /// A file is gone.
    Deleted {
        /// The file's name.
        file: String,
    },
    /// The test was told that something is durable.
    Acknowledged(u64),
}

/// How a change fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No room.
    Full,
    /// The device answers with an error.
    Broken,
}

/// Which changes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The first change that fails, from 0.
    pub from: u64,
    /// Whether it is the only one.
    pub once: bool,
    /// How.
    pub fault: Fault,
}

impl Trouble {
    pub(crate) fn at(self, number: u64) -> Option<Fault> {
        let hit = if self.once { number == self.from } else { number >= self.from };
        hit.then_some(self.fault)
    }
}

/// What becomes of the changes that were not synced when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// None of them reached the disk.
    None,
    /// All of them did.
    All,
    /// Any subset did, by this seed.
    Some(u64),
    /// Any subset did, and one of them only with its first sectors.
    Torn(u64),
}

/// Files by name, as found after the power came back.
pub type Image = BTreeMap<String, Vec<u8>>;

/// Everything in its order.
#[derive(Clone, Debug, Default)]
pub struct Record(Vec<Change>);

impl Record {
    pub(crate) fn push(&mut self, change: Change) {
        self.0.push(change);
    }

    /// The changes.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    /// What had been acknowledged last before change `at`.
    #[must_use]
    pub fn acknowledged(&self, at: usize) -> Option<u64> {
        self.0.iter().take(at).rev().find_map(|change| match change {
            Change::Acknowledged(what) => Some(*what),
            _ => None,
        })
    }

    /// The files when the power goes just before change `at`.
    #[must_use]
    pub fn image(&self, at: usize, tear: Tear) -> Image {
        let mut chance = Chance(match tear {
            Tear::Some(seed) | Tear::Torn(seed) => seed.wrapping_mul(2).wrapping_add(1),
            Tear::None | Tear::All => 1,
        });
        let mut image = Image::new();
        let before: Vec<&Change> = self.0.iter().take(at).collect();
        for (index, change) in before.iter().enumerate() {
            let file = match change {
                Change::Created { file } => {
                    image.entry(file.clone()).or_default();
                    continue;
                }
                Change::Deleted { file } => {
                    image.remove(file);
                    continue;
                }
                Change::Synced { .. } | Change::Acknowledged(_) => continue,
                Change::Written { file, .. } | Change::Truncated { file, .. } => file,
            };
            let safe = before
                .iter()
                .skip(index)
                .any(|later| matches!(later, Change::Synced { file: synced } if synced == file));
            let (kept, torn) = match tear {
                _ if safe => (true, false),
                Tear::None => (false, false),
                Tear::All => (true, false),
                Tear::Some(_) => (chance.next(2) == 0, false),
                Tear::Torn(_) => (chance.next(3) > 0, chance.next(3) == 0),
            };
            if !kept {
                continue;
            }
            let content = image.entry(file.clone()).or_default();
            match change {
                Change::Written { offset, bytes, .. } => {
                    let sectors = bytes.len().div_ceil(SECTOR).max(1);
                    let length =
                        if torn { chance.next(sectors).saturating_mul(SECTOR).min(bytes.len()) } else { bytes.len() };
                    put(content, *offset, bytes.get(..length).unwrap_or_default());
                }
                Change::Truncated { length, .. } => content.resize(index_of(*length), 0),
                _ => {}
            }
        }
        image
    }
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = index_of(offset);
    let end = start.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(start..end) {
        place.copy_from_slice(bytes);
    }
}

fn index_of(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        // xorshift64: any nonzero state goes on for ever.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or_default() % below.max(1)
    }
}
