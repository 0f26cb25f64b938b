//! The canonical encoding of a result (SYM-36).
//!
//! Integers are big endian, there is no optional form, and [`Manifest::decode`]
//! takes exactly what [`Manifest::encode`] makes:
//!
//! ```text
//! "symres" u8(1)
//! outcome: u8(0) u32 code | u8(1) u8 trap kind | u8(2)
//! u64 fuel
//! stdout:  u64 length, reference
//! stderr:  u64 length, reference
//! u32 number of outputs, then by path, ascending by bytes, each once:
//!   u32 path length, path, u64 length, reference
//! ```

use crate::outcome::{Outcome, TrapKind};
use std::collections::BTreeMap;
use symbolon_content::{ContentRef, reference};
use symbolon_primitives::ResultRoot;

const MAGIC: &[u8; 7] = b"symres\x01";

/// The longest output path, in bytes.
pub const MAX_OUTPUT_PATH: usize = 1024;

/// A byte string by length and reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Length in bytes.
    pub len: u64,
    /// Its Swarm reference.
    pub reference: ContentRef,
}

impl Part {
    /// The part that stands for these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { len: bytes.len() as u64, reference: reference(bytes) }
    }
}

/// A result, with every byte string by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// How the run ended.
    pub outcome: Outcome,
    /// Fuel to be paid for.
    pub fuel: u64,
    /// Standard output.
    pub stdout: Part,
    /// Standard error.
    pub stderr: Part,
    /// Outputs by path.
    pub outputs: BTreeMap<Vec<u8>, Part>,
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes end early.
    #[error("manifest ends at byte {at}")]
    Short {
        /// How many bytes there are.
        at: usize,
    },
    /// Bytes follow the end.
    #[error("{extra} bytes behind the manifest")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// Not a manifest, or of another version.
    #[error("no manifest of this version")]
    Magic,
    /// An outcome or trap kind that does not exist.
    #[error("unknown outcome {tag}")]
    UnknownOutcome {
        /// The number found.
        tag: u8,
    },
    /// Paths must ascend strictly by bytes.
    #[error("output {index} is out of order")]
    Order {
        /// Counted from zero.
        index: u32,
    },
    /// A path that no guest can make.
    #[error("output {index} has an impossible path")]
    Path {
        /// Counted from zero.
        index: u32,
    },
    /// A run that trapped or ran dry lists outputs.
    #[error("outputs of a run that did not exit")]
    OutputsWithoutExit,
}

impl Manifest {
    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        match self.outcome {
            Outcome::Exited { code } => {
                out.push(0);
                out.extend_from_slice(&code.to_be_bytes());
            }
            Outcome::Trapped { kind } => out.extend_from_slice(&[1, kind.code()]),
            Outcome::OutOfFuel => out.push(2),
        }
        out.extend_from_slice(&self.fuel.to_be_bytes());
        put_part(&mut out, &self.stdout);
        put_part(&mut out, &self.stderr);
        put_len(&mut out, self.outputs.len());
        for (path, part) in &self.outputs {
            put_len(&mut out, path.len());
            out.extend_from_slice(path);
            put_part(&mut out, part);
        }
        out
    }

    /// Reads an encoding, and nothing that is not one.
    ///
    /// # Errors
    /// Any [`ManifestError`]; memory stays below a small multiple of the input.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader { rest: bytes, len: bytes.len() };
        if reader.array::<7>()? != *MAGIC {
            return Err(ManifestError::Magic);
        }
        let outcome = match reader.byte()? {
            0 => Outcome::Exited { code: u32::from_be_bytes(reader.array()?) },
            1 => {
                let tag = reader.byte()?;
                let kind = TrapKind::from_code(tag).ok_or(ManifestError::UnknownOutcome { tag })?;
                Outcome::Trapped { kind }
            }
            2 => Outcome::OutOfFuel,
            tag => return Err(ManifestError::UnknownOutcome { tag }),
        };
        let fuel = u64::from_be_bytes(reader.array()?);
        let stdout = reader.part()?;
        let stderr = reader.part()?;
        let count = u32::from_be_bytes(reader.array()?);
        if count > 0 && !matches!(outcome, Outcome::Exited { .. }) {
            return Err(ManifestError::OutputsWithoutExit);
        }
        let mut outputs = BTreeMap::new();
        for index in 0..count {
            let len = u32::from_be_bytes(reader.array()?);
            let path = reader.take(usize::try_from(len).unwrap_or(usize::MAX))?;
            if !is_output_path(path) {
                return Err(ManifestError::Path { index });
            }
            let ascends = outputs.last_key_value().is_none_or(|(last, _): (&Vec<u8>, _)| last.as_slice() < path);
            if !ascends {
                return Err(ManifestError::Order { index });
            }
            let path = path.to_vec();
            let part = reader.part()?;
            outputs.insert(path, part);
        }
        if !reader.rest.is_empty() {
            return Err(ManifestError::Trailing { extra: reader.rest.len() });
        }
        Ok(Self { outcome, fuel, stdout, stderr, outputs })
    }

    /// The result root: the reference of the encoding.
    #[must_use]
    pub fn result_root(&self) -> ResultRoot {
        ResultRoot::from_bytes(*reference(&self.encode()).as_bytes())
    }
}

/// Whether a guest can have made a file of this name: parts of UTF-8 joined by `/`,
/// none of them empty, `.` or `..`.
#[must_use]
pub fn is_output_path(path: &[u8]) -> bool {
    path.len() <= MAX_OUTPUT_PATH
        && !path.contains(&0)
        && std::str::from_utf8(path).is_ok()
        && path
            .split(|byte| *byte == b'/')
            .all(|part| !part.is_empty() && part != b"." && part != b".." && part.len() <= 255)
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    // Counts and path lengths are bounded by the profile, far below 2^32.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
}

fn put_part(out: &mut Vec<u8>, part: &Part) {
    out.extend_from_slice(&part.len.to_be_bytes());
    out.extend_from_slice(part.reference.as_bytes());
}

struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ManifestError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ManifestError::Short { at: self.len })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ManifestError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ManifestError::Short { at: self.len })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, ManifestError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn part(&mut self) -> Result<Part, ManifestError> {
        Ok(Part { len: u64::from_be_bytes(self.array()?), reference: ContentRef::from_bytes(self.array()?) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn sample() -> Manifest {
        Manifest {
            outcome: Outcome::Exited { code: 3 },
            fuel: 77,
            stdout: Part::of(b"out"),
            stderr: Part::of(b""),
            outputs: [
                (b"a".to_vec(), Part::of(b"1")),
                (b"a/b".to_vec(), Part::of(b"2")),
                (b"a.txt".to_vec(), Part::of(b"3")),
            ]
            .into(),
        }
    }

    #[test]
    fn sym_36_manifest_round_trips_and_its_bytes_are_fixed() {
        for outcome in [Outcome::Exited { code: 0 }, Outcome::Exited { code: u32::MAX }] {
            let manifest = Manifest { outcome, ..sample() };
            assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }
        for kind in TrapKind::ALL {
            let outcome = Outcome::Trapped { kind };
            let manifest = Manifest { outcome, outputs: BTreeMap::new(), ..sample() };
            assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }
        let manifest = Manifest { outcome: Outcome::OutOfFuel, outputs: BTreeMap::new(), ..sample() };
        let bytes = manifest.encode();
        assert_eq!(&bytes[..8], b"symres\x01\x02");
        assert_eq!(bytes.len(), 7 + 1 + 8 + 40 + 40 + 4);
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    }

    #[test]
    fn sym_36_decoder_refuses_every_other_form() {
        let good = sample().encode();
        for cut in 0..good.len() {
            assert!(Manifest::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut long = good.clone();
        long.push(0);
        assert_eq!(Manifest::decode(&long), Err(ManifestError::Trailing { extra: 1 }));
        let mut version = good.clone();
        version[6] = 2;
        assert_eq!(Manifest::decode(&version), Err(ManifestError::Magic));
        let mut tag = good.clone();
        tag[7] = 3;
        assert_eq!(Manifest::decode(&tag), Err(ManifestError::UnknownOutcome { tag: 3 }));

        // A count larger than the bytes behind it costs nothing.
        let mut huge = good.clone();
        let at = 7 + 5 + 8 + 80;
        huge[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(Manifest::decode(&huge), Err(ManifestError::Short { .. })));

        let entry = |path: &[u8]| {
            let mut out = Vec::new();
            put_len(&mut out, path.len());
            out.extend_from_slice(path);
            put_part(&mut out, &Part::of(b""));
            out
        };
        let with = |paths: &[&[u8]]| {
            let mut bytes = Manifest { outputs: BTreeMap::new(), ..sample() }.encode();
            let end = bytes.len() - 4;
            bytes.truncate(end);
            put_len(&mut bytes, paths.len());
            for path in paths {
                bytes.extend(entry(path));
            }
            Manifest::decode(&bytes)
        };
        assert!(with(&[b"a", b"b"]).is_ok());
        assert_eq!(with(&[b"b", b"a"]), Err(ManifestError::Order { index: 1 }));
        assert_eq!(with(&[b"a", b"a"]), Err(ManifestError::Order { index: 1 }));
        for path in [&b""[..], b"/a", b"a/", b"a//b", b"..", b"a/./b", b"\xff", b"a\0"] {
            assert_eq!(with(&[path]), Err(ManifestError::Path { index: 0 }), "{path:?}");
        }
        let trapped = Manifest { outcome: Outcome::OutOfFuel, ..sample() };
        assert_eq!(Manifest::decode(&trapped.encode()), Err(ManifestError::OutputsWithoutExit));
    }

    #[test]
    fn sym_36_every_part_moves_the_root() {
        let base = sample().result_root();
        let mut others = vec![
            Manifest { fuel: 78, ..sample() },
            Manifest { outcome: Outcome::Exited { code: 4 }, ..sample() },
            Manifest { stdout: Part::of(b"ou"), ..sample() },
            Manifest { stderr: Part::of(b"x"), ..sample() },
        ];
        let mut renamed = sample();
        let part = renamed.outputs.remove(&b"a"[..]).unwrap();
        renamed.outputs.insert(b"c".to_vec(), part);
        others.push(renamed);
        let mut fewer = sample();
        fewer.outputs.clear();
        others.push(fewer);
        for other in others {
            assert_ne!(other.result_root(), base);
        }
    }
}
