//! Workunits: the parts of a job, and their names (SYM-34).

use crate::{ContentRef, ProfileId, WorkunitId, keccak256};
use alloy_primitives::B256;
use alloy_sol_types::SolValue;
use serde::{Deserialize, Serialize};

/// How a module is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `_start`, with arguments, environment and files.
    #[default]
    Command,
    /// `compute(in, out)`: two descriptors and nothing else.
    Compute,
}

impl Level {
    /// The number that stands in hashes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Command => 0,
            Self::Compute => 1,
        }
    }
}

/// What a run may use, beside fuel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// All linear memory together, in bytes.
    pub memory_bytes: u64,
    /// All outputs and both streams together, in bytes.
    pub output_bytes: u64,
    /// Files, directories and links that may exist at once.
    pub files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, output_bytes: 64 << 20, files: 4096 }
    }
}

impl Limits {
    /// keccak256 of the ABI encoding.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        keccak256(&(self.memory_bytes, self.output_bytes, self.files).abi_encode())
    }
}

/// A read-only file of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Input {
    /// Where the guest finds it: relative to its `/`, parts joined by `/`.
    pub path: String,
    /// Its bytes.
    pub content: ContentRef,
    /// How many.
    pub size: u64,
}

impl Input {
    /// Whether the path is relative, without empty parts, `.`, `..` or NUL, and bounded.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.path.len() <= MAX_PATH
            && !self.path.contains('\0')
            && self.path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.len() <= 255)
    }
}

/// The longest path of an input, in bytes.
pub const MAX_PATH: usize = 1024;
/// The most arguments, environment variables or inputs of one workunit.
pub const MAX_LIST: usize = 1024;
/// The most bytes of all arguments and environment variables together.
pub const MAX_ARG_BYTES: usize = 128 << 10;

/// One part of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Workunit {
    /// The WebAssembly module.
    pub module: ContentRef,
    /// The whole argv, the program's name first.
    pub args: Vec<String>,
    /// Environment, in the order the guest sees it.
    pub env: Vec<(String, String)>,
    /// Input files, strictly ascending by path.
    pub inputs: Vec<Input>,
    /// How the module is run.
    pub level: Level,
    /// What it may use.
    pub limits: Limits,
    /// The most fuel it may burn.
    pub max_fuel: u64,
    /// Seed chosen by the requestor; part of the name, hence of the randomness.
    pub seed: [u8; 32],
}

impl Workunit {
    /// keccak256 over the inputs: each is path hash, reference and size, ABI encoded.
    #[must_use]
    pub fn inputs_root(&self) -> [u8; 32] {
        let words: Vec<(B256, B256, u64)> = self
            .inputs
            .iter()
            .map(|input| (keccak256(input.path.as_bytes()).into(), input.content.word(), input.size))
            .collect();
        keccak256(&words.abi_encode())
    }

    /// The workunit's name: keccak256 of the ABI encoding of module, arguments,
    /// environment, inputs root, profile, level, limits, maximum fuel and seed,
    /// and nothing else (SYM-34).
    #[must_use]
    pub fn id(&self, profile: ProfileId) -> WorkunitId {
        let args: Vec<B256> = self.args.iter().map(|arg| keccak256(arg.as_bytes()).into()).collect();
        let env: Vec<(B256, B256)> = self
            .env
            .iter()
            .map(|(name, value)| (keccak256(name.as_bytes()).into(), keccak256(value.as_bytes()).into()))
            .collect();
        let words: [B256; 9] = [
            self.module.word(),
            keccak256(&args.abi_encode()).into(),
            keccak256(&env.abi_encode()).into(),
            self.inputs_root().into(),
            profile.word(),
            B256::with_last_byte(self.level.code()),
            self.limits.hash().into(),
            alloy_primitives::U256::from(self.max_fuel).into(),
            self.seed.into(),
        ];
        WorkunitId::from_bytes(keccak256(&words.abi_encode()))
    }

    /// Whether everything is bounded and the inputs ascend strictly by path.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let text: usize = self.args.iter().map(String::len).sum::<usize>()
            + self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.args.len() <= MAX_LIST
            && self.env.len() <= MAX_LIST
            && self.inputs.len() <= MAX_LIST
            && text <= MAX_ARG_BYTES
            && !self.args.iter().any(|arg| arg.contains('\0'))
            && !self
                .env
                .iter()
                .any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'))
            && self.inputs.iter().all(Input::is_sound)
            && self.inputs.is_sorted_by(|a, b| a.path < b.path)
            && self.max_fuel > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn unit() -> Workunit {
        Workunit {
            module: ContentRef::from_bytes([1; 32]),
            args: vec!["prog".into(), "x".into()],
            env: vec![("A".into(), "b".into())],
            inputs: vec![Input { path: "in.txt".into(), content: ContentRef::from_bytes([2; 32]), size: 5 }],
            level: Level::Command,
            limits: Limits::default(),
            max_fuel: 10,
            seed: [3; 32],
        }
    }

    #[test]
    fn sym_34_every_member_and_nothing_else_moves_the_name() {
        let profile = ProfileId::from_bytes([9; 32]);
        let base = unit().id(profile);
        let mut seen = vec![base, unit().id(ProfileId::from_bytes([8; 32]))];
        let edits: [fn(&mut Workunit); 12] = [
            |u| u.module = ContentRef::from_bytes([7; 32]),
            |u| u.args.push(String::new()),
            |u| u.args = vec!["progx".into()],
            |u| u.env.clear(),
            |u| u.inputs.iter_mut().for_each(|i| i.path.push('x')),
            |u| u.inputs.iter_mut().for_each(|i| i.size += 1),
            |u| u.inputs.iter_mut().for_each(|i| i.content = ContentRef::default()),
            |u| u.level = Level::Compute,
            |u| u.limits.memory_bytes += 1,
            |u| u.limits.files += 1,
            |u| u.max_fuel += 1,
            |u| u.seed = [0; 32],
        ];
        for edit in edits {
            let mut changed = unit();
            edit(&mut changed);
            seen.push(changed.id(profile));
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert_eq!(unit().id(profile), base);
    }

    #[test]
    fn unsound_workunits_are_named() {
        assert!(unit().is_sound());
        for path in ["", "/abs", "a//b", "a/../b", ".", "a\0b", "a/"] {
            let mut bad = unit();
            bad.inputs.iter_mut().for_each(|input| input.path = path.into());
            assert!(!bad.is_sound(), "{path:?}");
        }
        let mut twice = unit();
        twice.inputs.push(twice.inputs.first().unwrap().clone());
        assert!(!twice.is_sound());
    }
}
