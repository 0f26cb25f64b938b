//! What a run came to, and what it left.

use crate::manifest::{Manifest, Part};
use std::collections::BTreeMap;
use symbolon_primitives::ResultRoot;

/// How a run ended (SYM-31). Whatever the host ran out of is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The guest ended by itself.
    Exited {
        /// Its exit code; 0 also when `_start` just returned.
        code: u32,
    },
    /// The guest did something that WebAssembly forbids.
    Trapped {
        /// What it was.
        kind: TrapKind,
    },
    /// No fuel was left at the end, however it came.
    OutOfFuel,
}

/// What a trapped guest did. The numbers stand in manifests and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum TrapKind {
    /// `unreachable` was executed.
    Unreachable = 1,
    /// An access outside of a memory, also by a data segment.
    MemoryOutOfBounds = 2,
    /// An access outside of a table, also by an element segment.
    TableOutOfBounds = 3,
    /// An indirect call of an empty table slot.
    IndirectCallToNull = 4,
    /// An indirect call with another signature.
    BadSignature = 5,
    /// An integer overflowed where that is a trap.
    IntegerOverflow = 6,
    /// A division by zero.
    IntegerDivisionByZero = 7,
    /// A float that no integer holds.
    BadConversionToInteger = 8,
    /// A null reference was used.
    NullReference = 9,
    /// Calls nested deeper than the profile allows (SYM-31c).
    CallDepth = 10,
    /// An exception left the guest.
    UncaughtException = 11,
    /// The module lacks what its level starts with.
    NoEntry = 12,
    /// The module's own minimum of memory or tables exceeds the limits.
    InitialLimits = 13,
    /// The guest tried to exit where its level forbids the call.
    Forbidden = 14,
    /// An atomic access at an address that is not aligned.
    UnalignedAtomic = 15,
    /// Waiting on a memory, where no other thread could wake the guest.
    AtomicWait = 16,
}

impl TrapKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 16] = [
        Self::Unreachable,
        Self::MemoryOutOfBounds,
        Self::TableOutOfBounds,
        Self::IndirectCallToNull,
        Self::BadSignature,
        Self::IntegerOverflow,
        Self::IntegerDivisionByZero,
        Self::BadConversionToInteger,
        Self::NullReference,
        Self::CallDepth,
        Self::UncaughtException,
        Self::NoEntry,
        Self::InitialLimits,
        Self::Forbidden,
        Self::UnalignedAtomic,
        Self::AtomicWait,
    ];

    /// The number that stands in a manifest.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// A name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::MemoryOutOfBounds => "memory out of bounds",
            Self::TableOutOfBounds => "table out of bounds",
            Self::IndirectCallToNull => "indirect call to null",
            Self::BadSignature => "indirect call with another signature",
            Self::IntegerOverflow => "integer overflow",
            Self::IntegerDivisionByZero => "integer division by zero",
            Self::BadConversionToInteger => "bad conversion to integer",
            Self::NullReference => "null reference",
            Self::CallDepth => "call depth",
            Self::UncaughtException => "uncaught exception",
            Self::NoEntry => "no entry point",
            Self::InitialLimits => "initial memory or tables above the limits",
            Self::Forbidden => "exit where the level forbids it",
            Self::UnalignedAtomic => "unaligned atomic access",
            Self::AtomicWait => "waiting on memory that is not shared",
        }
    }
}

impl std::fmt::Display for TrapKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited with {code}"),
            Self::Trapped { kind } => write!(f, "trapped: {kind}"),
            Self::OutOfFuel => f.write_str("out of fuel"),
        }
    }
}

/// One finished run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// Fuel to be paid for; the workunit's maximum unless it exited (SYM-31).
    pub fuel: u64,
    /// Standard output, up to the last byte before the end whatever the outcome.
    pub stdout: Vec<u8>,
    /// Standard error, likewise.
    pub stderr: Vec<u8>,
    /// Files that the guest made or changed, by path without a leading slash; empty
    /// unless it exited.
    pub outputs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How far the guest's clock went, in nanoseconds. No part of the result.
    pub virtual_time_ns: u64,
    /// The most linear memory the guest had, in bytes. No part of the result.
    pub peak_memory_bytes: u64,
}

impl Execution {
    /// The manifest that names this result.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        Manifest {
            outcome: self.outcome,
            fuel: self.fuel,
            stdout: Part::of(&self.stdout),
            stderr: Part::of(&self.stderr),
            outputs: self.outputs.iter().map(|(path, bytes)| (path.clone(), Part::of(bytes))).collect(),
        }
    }

    /// The result root (SYM-36): the reference of the encoded manifest.
    #[must_use]
    pub fn result_root(&self) -> ResultRoot {
        self.manifest().result_root()
    }

    /// Whether the guest exited with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.outcome == Outcome::Exited { code: 0 }
    }
}

/// A guest's output for a terminal: control characters other than line ends and tabs,
/// with which a guest could rewrite what the user sees, become visible escapes, and
/// what is not UTF-8 becomes replacement characters.
#[must_use]
pub fn for_terminal(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        // Bidirectional overrides reorder text just as well as escape sequences do.
        let hidden = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if matches!(character, '\n' | '\t') || !(character.is_control() || hidden) {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w7_escape_sequences_are_neutralised_on_terminals() {
        assert_eq!(for_terminal("plain \u{e9}\n\tx".as_bytes()), "plain \u{e9}\n\tx");
        assert_eq!(for_terminal(b"\x1b[2Jgone\r\x07"), "\\u{1b}[2Jgone\\u{d}\\u{7}");
        assert_eq!(for_terminal("\u{9b}31m\u{202e}abc".as_bytes()), "\\u{9b}31m\\u{202e}abc");
        assert_eq!(for_terminal(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn sym_36_trap_kinds_keep_their_numbers() {
        for (i, kind) in TrapKind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), i + 1);
            assert_eq!(TrapKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(TrapKind::from_code(0), None);
        assert_eq!(TrapKind::UnalignedAtomic.code(), 15);
        assert_eq!(TrapKind::from_code(17), None);
    }
}
