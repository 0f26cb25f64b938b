//! What differs between the two interfaces: a few records, and the order of `whence`.
//!
//! Both stand over the same world and have the same calls, but for `sock_accept`,
//! which came later. Sizes and offsets follow from the interfaces' own texts
//! (`typenames.witx` of preview 0 and preview 1).

use super::descriptors::type_code;
use crate::world::fs::Stat;

/// An interface, by the name under which a guest imports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abi {
    /// `wasi_unstable`, also called snapshot 0.
    Unstable,
    /// `wasi_snapshot_preview1`.
    Preview1,
}

/// From where an offset counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whence {
    Start,
    Current,
    End,
}

/// Where the fields of a subscription lie, in bytes from its start. The tag is at 8
/// and a descriptor at 16 in both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscription {
    /// Bytes of the whole.
    pub(super) size: u32,
    pub(super) clock: u32,
    pub(super) timeout: u32,
    pub(super) flags: u32,
}

impl Abi {
    /// Every interface that the world offers.
    pub(crate) const ALL: [Self; 2] = [Self::Unstable, Self::Preview1];

    /// The module's name in imports.
    pub(crate) const fn module(self) -> &'static str {
        match self {
            Self::Unstable => "wasi_unstable",
            Self::Preview1 => "wasi_snapshot_preview1",
        }
    }

    /// The interface that has this name.
    pub(crate) fn named(module: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|abi| abi.module() == module)
    }

    /// Whether the interface has a call.
    pub(crate) fn has(self, name: &str) -> bool {
        self == Self::Preview1 || name != "sock_accept"
    }

    pub(super) const fn whence(self, number: u32) -> Option<Whence> {
        match (self, number) {
            (Self::Unstable, 2) | (Self::Preview1, 0) => Some(Whence::Start),
            (Self::Unstable, 0) | (Self::Preview1, 1) => Some(Whence::Current),
            (Self::Unstable, 1) | (Self::Preview1, 2) => Some(Whence::End),
            _ => None,
        }
    }

    pub(super) const fn subscription(self) -> Subscription {
        match self {
            // A clock begins with an identifier that nothing looks at.
            Self::Unstable => Subscription { size: 56, clock: 24, timeout: 32, flags: 48 },
            Self::Preview1 => Subscription { size: 48, clock: 16, timeout: 24, flags: 40 },
        }
    }

    /// A node's description; without one, that of a stream: no node, no size, no
    /// times. The device of a node is always 1.
    pub(super) fn filestat(self, stat: Option<&Stat>) -> Vec<u8> {
        let mut record = Vec::with_capacity(64);
        let (device, ino, code, links, size, times) = match stat {
            Some(stat) => (1u64, stat.ino, type_code(stat.ty), stat.links, stat.size, stat.times.all()),
            None => (0, 0, 0, 0, 0, [0; 3]),
        };
        record.extend_from_slice(&device.to_le_bytes());
        record.extend_from_slice(&ino.to_le_bytes());
        match self {
            Self::Unstable => {
                record.extend_from_slice(&[code, 0, 0, 0]);
                record.extend_from_slice(&u32::try_from(links).unwrap_or(u32::MAX).to_le_bytes());
            }
            Self::Preview1 => {
                record.extend_from_slice(&[code, 0, 0, 0, 0, 0, 0, 0]);
                record.extend_from_slice(&links.to_le_bytes());
            }
        }
        record.extend_from_slice(&size.to_le_bytes());
        for time in times {
            record.extend_from_slice(&time.to_le_bytes());
        }
        record
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use crate::world::fs::{Times, Type};

    #[test]
    fn sym_32_the_two_interfaces_differ_where_their_texts_do() {
        use Whence::{Current, End, Start};
        let order = |abi: Abi| [0, 1, 2, 3, 256].map(|number| abi.whence(number));
        assert_eq!(order(Abi::Unstable), [Some(Current), Some(End), Some(Start), None, None]);
        assert_eq!(order(Abi::Preview1), [Some(Start), Some(Current), Some(End), None, None]);

        let times = Times { accessed: 4, modified: 5, changed: 6 };
        let mut stat = Stat { ino: 2, ty: Type::Dir, links: 7, size: 3, times };
        let word = |record: &[u8], at: usize| u64::from_le_bytes(std::array::from_fn(|i| record[at + i]));
        let old = Abi::Unstable.filestat(Some(&stat));
        assert_eq!(old.len(), 56);
        assert_eq!([0, 8, 24, 32, 40, 48].map(|at| word(&old, at)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(old[16..24], [3, 0, 0, 0, 7, 0, 0, 0]);
        let new = Abi::Preview1.filestat(Some(&stat));
        assert_eq!(new.len(), 64);
        assert_eq!([0, 8, 16, 24, 32, 40, 48, 56].map(|at| word(&new, at)), [1, 2, 3, 7, 3, 4, 5, 6]);

        // What 32 bits do not hold stays at their end.
        stat.links = u64::from(u32::MAX) + 8;
        assert_eq!(Abi::Unstable.filestat(Some(&stat))[20..24], [0xff; 4]);
        assert_eq!(Abi::Unstable.filestat(None), [0; 56]);
        assert_eq!(Abi::Preview1.filestat(None), [0; 64]);

        assert!(Abi::Preview1.has("sock_accept") && !Abi::Unstable.has("sock_accept"));
        assert_eq!(Abi::named("wasi_unstable"), Some(Abi::Unstable));
        assert_eq!(Abi::named("wasi_snapshot_preview2"), None);
    }
}
