//! The virtual world of one run (SYM-32): files, descriptors, streams, a clock that
//! counts fuel, and randomness that follows from the workunit's name.
//!
//! Nothing here reads anything of the host, and nothing here knows about WebAssembly.

pub(crate) mod errno;
pub(crate) mod fds;
pub(crate) mod fs;

use crate::engine::Patience;
use crate::limiter::Limiter;
use crate::profile::{CLOCK_END_NS, CLOCK_START_NS};
use errno::Errno;
use fds::{Fd, Fds, Target, rights};
use fs::{Fs, Ino, Origin};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::sync::Arc;
use symbolon_primitives::{Level, Limits};

/// A folder that the guest finds open at the start.
#[derive(Debug, Clone)]
pub(crate) struct Preopen {
    /// The name that the guest asks for.
    pub(crate) name: String,
    /// What lies there.
    pub(crate) entries: Vec<Loaded>,
    /// Whether the guest may change what lies there.
    pub(crate) writable: bool,
}

/// One thing that is there before the run.
#[derive(Debug, Clone)]
pub(crate) enum Loaded {
    /// A file by its path below the preopened folder.
    File(Vec<u8>, Arc<[u8]>),
    /// A folder.
    Dir(Vec<u8>),
    /// A symbolic link and where it points.
    Link(Vec<u8>, Vec<u8>),
}

/// What a world is made from.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) level: Level,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) env: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) stdin: Arc<[u8]>,
    pub(crate) preopens: Vec<Preopen>,
    pub(crate) limits: Limits,
    pub(crate) max_fuel: u64,
    pub(crate) table_elements: u64,
    pub(crate) random_key: [u8; 32],
}

/// An input's path that the file system does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPath;

impl From<Errno> for BadPath {
    fn from(_: Errno) -> Self {
        Self
    }
}

/// Descriptors of the two streams at the level `compute`.
pub(crate) const COMPUTE_IN: u32 = 11;
pub(crate) const COMPUTE_OUT: u32 = 12;
/// Path of the input that `compute` reads and of the output that it writes.
pub(crate) const COMPUTE_IN_PATH: &str = "in";
pub(crate) const COMPUTE_OUT_PATH: &str = "out";

pub(crate) struct World {
    pub(crate) level: Level,
    /// Arguments, each with its terminating zero.
    pub(crate) args: Vec<Vec<u8>>,
    /// `NAME=value`, each with its terminating zero.
    pub(crate) env: Vec<Vec<u8>>,
    pub(crate) fs: Fs,
    pub(crate) fds: Fds,
    stdin: Arc<[u8]>,
    stdin_at: usize,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) preopened: Vec<Ino>,
    /// What the run may burn.
    pub(crate) max_fuel: u64,
    /// Fuel burned so far, as of the last host call.
    pub(crate) burned: u64,
    slept: u64,
    random: Stream,
    pub(crate) limiter: Limiter,
    /// The guest's memory, once it is known.
    pub(crate) memory: Option<wasmtime::Memory>,
    /// How long this host lets the run go on; no part of what the guest sees.
    pub(crate) patience: Option<Patience>,
    /// What was burned when a host call last looked at it.
    pub(crate) looked: u64,
}

impl World {
    pub(crate) fn new(spec: Spec) -> Result<Self, BadPath> {
        let mut fs = Fs::new(spec.limits.output_bytes, spec.limits.files, CLOCK_START_NS);
        let mut fds = Fds::default();
        let mut preopened = Vec::new();
        let single = spec.preopens.len() == 1;
        for (i, preopen) in spec.preopens.into_iter().enumerate() {
            let origin = if preopen.writable { Origin::Mapped } else { Origin::Input };
            // Several folders lie side by side under a root that no path reaches.
            let base = if single {
                fs.root()
            } else {
                let root = fs.root();
                fs.preload_dir(root, i.to_string().as_bytes(), origin, CLOCK_START_NS)?
            };
            for entry in preopen.entries {
                match entry {
                    Loaded::File(path, bytes) => fs.preload(base, &path, bytes, origin, CLOCK_START_NS)?,
                    Loaded::Dir(path) => fs.preload_dir(base, &path, origin, CLOCK_START_NS)?,
                    Loaded::Link(path, target) => fs.preload_link(base, &path, &target, origin, CLOCK_START_NS)?,
                };
            }
            preopened.push((base, preopen.name));
        }
        match spec.level {
            Level::Command => {
                fds.standard_streams();
                for (base, name) in &preopened {
                    fs.hold(*base);
                    fds.push(Fd::preopen(*base, name.as_bytes()))?;
                }
            }
            Level::Compute => Self::compute_streams(&mut fs, &mut fds)?,
        }
        let zero = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.push(0);
            bytes
        };
        Ok(Self {
            level: spec.level,
            args: spec.args.iter().map(|arg| zero(arg)).collect(),
            env: spec.env.iter().map(|(name, value)| zero(&[name.as_slice(), b"=", value].concat())).collect(),
            fs,
            fds,
            stdin: spec.stdin,
            stdin_at: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            preopened: preopened.into_iter().map(|(base, _)| base).collect(),
            max_fuel: spec.max_fuel,
            burned: 0,
            slept: 0,
            random: Stream::new(spec.random_key),
            limiter: Limiter::new(spec.limits.memory_bytes, spec.table_elements),
            memory: None,
            patience: None,
            looked: 0,
        })
    }

    /// Two descriptors with exactly one right each, and nothing else.
    fn compute_streams(fs: &mut Fs, fds: &mut Fds) -> Result<(), BadPath> {
        let root = fs.root();
        let input = fs.resolve(root, COMPUTE_IN_PATH.as_bytes(), false)?;
        let input = match input.node {
            Some(ino) => ino,
            None => fs.preload(root, COMPUTE_IN_PATH.as_bytes(), Arc::from(&[][..]), Origin::Input, CLOCK_START_NS)?,
        };
        let output = fs.resolve(root, COMPUTE_OUT_PATH.as_bytes(), false)?;
        if output.node.is_some() {
            return Err(BadPath);
        }
        let output = fs.create_file(&output, CLOCK_START_NS)?;
        for (at, ino, right) in [(COMPUTE_IN, input, rights::FD_READ), (COMPUTE_OUT, output, rights::FD_WRITE)] {
            fs.hold(ino);
            fds.put(at, Fd { target: Target::File { ino, at: 0 }, rights: right, inheriting: 0, flags: 0 })?;
        }
        Ok(())
    }

    /// Nanoseconds since the start of the run: fuel burned and time slept.
    pub(crate) fn elapsed(&self) -> u64 {
        self.burned.saturating_add(self.slept).min(CLOCK_END_NS)
    }

    /// The wall clock, in nanoseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        CLOCK_START_NS.saturating_add(self.elapsed()).min(CLOCK_END_NS)
    }

    /// Lets time pass without fuel.
    pub(crate) fn sleep(&mut self, ns: u64) {
        self.slept = self.slept.saturating_add(ns).min(CLOCK_END_NS);
    }

    pub(crate) fn random(&mut self, out: &mut [u8]) {
        self.random.fill(out);
    }

    pub(crate) fn stdin_left(&self) -> &[u8] {
        self.stdin.get(self.stdin_at..).unwrap_or(&[])
    }

    pub(crate) fn stdin_skip(&mut self, count: usize) {
        self.stdin_at = self.stdin_at.saturating_add(count).min(self.stdin.len());
    }

    /// Appends to a stream as much as the quota allows.
    pub(crate) fn print(&mut self, to_stderr: bool, bytes: &[u8]) -> Result<usize, Errno> {
        let given = self.fs.take_bytes(bytes.len() as u64);
        let given = usize::try_from(given).unwrap_or(bytes.len());
        if given == 0 && !bytes.is_empty() {
            return Err(Errno::NoSpc);
        }
        let stream = if to_stderr { &mut self.stderr } else { &mut self.stdout };
        stream.extend_from_slice(bytes.get(..given).unwrap_or(bytes));
        Ok(given)
    }
}

/// A ChaCha20 key stream (nonce 0, counter 0), byte for byte: how it is asked for
/// does not change what comes.
struct Stream {
    rng: ChaCha20Rng,
    block: [u8; 64],
    used: usize,
}

impl Stream {
    fn new(key: [u8; 32]) -> Self {
        Self { rng: ChaCha20Rng::from_seed(key), block: [0; 64], used: 64 }
    }

    fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used >= self.block.len() {
                self.rng.fill_bytes(&mut self.block);
                self.used = 0;
            }
            let ready = self.block.get(self.used..).unwrap_or(&[]);
            let count = ready.len().min(out.len());
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(ready.get(..count).unwrap_or(&[]));
            self.used = self.used.saturating_add(count);
            out = later;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn sym_34_randomness_is_the_chacha20_stream_however_it_is_cut() {
        // RFC 8439's block function with the zero key, nonce and counter.
        let mut whole = [0u8; 200];
        Stream::new([0; 32]).fill(&mut whole);
        assert_eq!(&whole[..8], &[0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
        let mut stream = Stream::new([0; 32]);
        let mut pieces = Vec::new();
        for size in [1usize, 2, 3, 59, 64, 70, 1] {
            let mut piece = vec![0; size];
            stream.fill(&mut piece);
            pieces.extend(piece);
        }
        assert_eq!(pieces, whole);
    }
}
