//! Modules ready to run: compiled once, in a process that can be ended, and kept.
//!
//! Compiling a stranger's module is the one thing whose time and memory no profile bounds well: the compiler's own
//! passes decide (W6). So a node hands it to a process of its own program, with a limit on address space, on processor
//! time and on time, and learns the result by a seal that the process makes with a key it is given. A module that
//! cannot be compiled within the limits is refused like one that the compiler refuses; no result depends on it.
//!
//! ```text
//! reference ──kept?──▶ sealed bytes ──seal, engine, flags──▶ code
//!     │ no                  ▲
//!     ▼                     │ seal
//! prepare (here) ──▶ compiler process (limits)
//! ```

use crate::engine::{CompiledModule, Engine};
use crate::instrument::{Facts, prepare};
use crate::profile::{ENGINE_VERSION, MAX_MODULE_BYTES, Profile};
use crate::refuse::Refused;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use symbolon_artifact::{Folder, Sealed};
use symbolon_primitives::{ContentRef, keccak256};

pub use symbolon_artifact::Key as SealKey;

/// The most bytes of a compiled module.
const MAX_CODE: u64 = 1 << 30;
/// The most bytes that a compiler process reads: a prepared module is at most a few times the original.
const MAX_REQUEST: u64 = 8 * MAX_MODULE_BYTES as u64;
/// The most bytes of facts.
const MAX_FACTS: usize = 64 << 20;

/// How modules of strangers are compiled.
#[derive(Debug, Clone)]
pub struct CompilerProcess {
    /// The program: one whose main is, with these arguments, [`compiler_main`].
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The most address space that it may use, in bytes.
    pub memory_bytes: u64,
    /// The most time that it may take, in whole seconds, on the clock and on all processors together.
    pub time: Duration,
}

impl CompilerProcess {
    /// Four gibibytes and two minutes: fifty times what the largest module seen needs.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<OsString>) -> Self {
        Self { program, args, memory_bytes: 4 << 30, time: Duration::from_secs(120) }
    }
}

/// Compiles modules and keeps them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Modules {
    engine: Engine,
    key: SealKey,
    folder: Option<Folder>,
    process: Option<Arc<CompilerProcess>>,
}

impl Modules {
    /// Modules for an engine, compiled in this process and not kept: for modules of one's own.
    #[must_use]
    pub fn here(engine: Engine) -> Self {
        Self { engine, key: SealKey::new([0; 32]), folder: None, process: None }
    }

    /// Modules for an engine, compiled in processes and kept in a folder of about so many bytes. The key is this
    /// node's secret: whoever knows it can put code into the folder that the node runs.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn kept(
        engine: Engine,
        key: SealKey,
        folder: &Path,
        max_bytes: u64,
        process: CompilerProcess,
    ) -> io::Result<Self> {
        let folder = Folder::open(folder, max_bytes)?;
        Ok(Self { engine, key, folder: Some(folder), process: Some(Arc::new(process)) })
    }

    /// The engine that the modules run on.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The module of this reference, if it was compiled here before and its file is sound.
    #[must_use]
    pub fn find(&self, reference: ContentRef) -> Option<CompiledModule> {
        let name = self.name(reference);
        let sealed = self.folder.as_ref()?.get(&self.key, &name)?;
        self.load(&sealed).inspect_err(|error| tracing::debug!(%error, "a kept module is of another engine")).ok()
    }

    /// Checks a module against the profile, compiles it within the limits, and keeps it. The caller has checked the
    /// bytes against the reference.
    ///
    /// # Errors
    /// [`Refused`], with the reason; [`Refused::Compiler`] also for a module that takes more than the limits.
    pub fn compile(&self, reference: ContentRef, bytes: &[u8]) -> Result<CompiledModule, Refused> {
        let Some(process) = &self.process else {
            return self.engine.compile(bytes);
        };
        let prepared = prepare(self.engine.profile(), bytes)?;
        let name = self.name(reference);
        let refused = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, module = %reference, "no code of a module that the profile admits");
            Refused::Compiler
        };
        let facts = postcard::to_allocvec(&prepared.facts).map_err(|error| refused(&error))?;
        let code = ask(process, &self.key, &name, &facts, &prepared.bytes).map_err(|error| refused(&error))?;
        let sealed =
            Sealed::open(&self.key, &name, code).ok_or_else(|| refused(&"the compiler's answer has no seal"))?;
        let module = self.load(&sealed).map_err(|error| refused(&error))?;
        if let Some(folder) = &self.folder
            && let Err(error) = folder.put(&name, &sealed)
        {
            // The module runs all the same.
            tracing::warn!(%error, "a compiled module cannot be kept");
        }
        Ok(module)
    }

    fn load(&self, sealed: &Sealed) -> wasmtime::Result<CompiledModule> {
        let facts: Facts = postcard::from_bytes(sealed.facts()).map_err(|error| wasmtime::format_err!("{error}"))?;
        self.engine.linked(&sealed.into_module(self.engine.inner(&facts))?, facts)
    }

    /// What compiled code depends on, apart from flags and the machine, which the engine itself checks.
    fn name(&self, reference: ContentRef) -> [u8; 32] {
        let profile = self.engine.profile().id();
        keccak256(&[reference.as_bytes().as_slice(), profile.as_bytes(), ENGINE_VERSION.as_bytes()].concat())
    }
}

/// Why a compiler process gave no code.
#[derive(Debug, thiserror::Error)]
enum NoCode {
    #[error("the compiler process cannot be started")]
    Start(#[source] io::Error),
    #[error("the compiler process took more than {0:?}")]
    Late(Duration),
    #[error("cannot speak with the compiler process")]
    Pipe(#[source] io::Error),
}

/// The request: key (32), name (32), then as big-endian 64-bit numbers memory, seconds and length of the facts, then
/// facts and module.
fn request(process: &CompilerProcess, key: &SealKey, name: &[u8; 32], facts: &[u8], module: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(88_usize.saturating_add(facts.len()).saturating_add(module.len()));
    out.extend_from_slice(key.secret());
    out.extend_from_slice(name);
    for number in [process.memory_bytes, process.time.as_secs().max(1), facts.len() as u64] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(facts);
    out.extend_from_slice(module);
    out
}

/// Runs a compiler process to its end, or to that of its time.
fn ask(
    process: &CompilerProcess,
    key: &SealKey,
    name: &[u8; 32],
    facts: &[u8],
    module: &[u8],
) -> Result<Vec<u8>, NoCode> {
    let mut child = Command::new(&process.program)
        .args(&process.args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(NoCode::Start)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let request = request(process, key, name, facts, module);
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(&request)));
        let (done, wait) = sync_channel(1);
        scope.spawn(move || {
            let mut code = Vec::new();
            let read = stdout.map_or(Ok(0), |stdout| stdout.take(MAX_CODE).read_to_end(&mut code));
            let _ = done.send(read.map(|_| code));
        });
        let answer = wait.recv_timeout(process.time);
        // It has said what it had to, or will not: the seal tells whether that is code, and whatever the process
        // still does, it holds nobody up. Both threads end with its pipes.
        let _ = child.kill();
        let _ = child.wait();
        answer.map_err(|_| NoCode::Late(process.time))?.map_err(NoCode::Pipe)
    })
}

/// The whole life of a compiler process: reads one request from standard input, limits itself, compiles for profile
/// 1, writes the sealed code to standard output. Fails without a word: whoever started it knows what it asked for.
#[must_use]
pub fn compiler_main() -> ExitCode {
    match answer() {
        Some(sealed) if io::stdout().lock().write_all(sealed.as_bytes()).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn answer() -> Option<Sealed> {
    let mut input = io::stdin().lock();
    let mut head = [0; 88];
    input.read_exact(&mut head).ok()?;
    let (key, rest) = head.split_first_chunk::<32>()?;
    let (name, rest) = rest.split_first_chunk::<32>()?;
    let (memory, rest) = rest.split_first_chunk::<8>()?;
    let (seconds, facts) = rest.split_first_chunk::<8>()?;
    let limit = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    // Before a byte of the stranger's is looked at.
    setrlimit(Resource::As, limit(u64::from_be_bytes(*memory))).ok()?;
    setrlimit(Resource::Cpu, limit(u64::from_be_bytes(*seconds))).ok()?;
    setrlimit(Resource::Core, limit(0)).ok()?;
    setrlimit(Resource::Fsize, limit(0)).ok()?;
    let mut rest = Vec::new();
    input.take(MAX_REQUEST).read_to_end(&mut rest).ok()?;
    let facts_len = usize::try_from(u64::from_be_bytes(facts.try_into().ok()?)).ok().filter(|len| *len <= MAX_FACTS)?;
    let (facts, module) = rest.split_at_checked(facts_len)?;
    let heap = postcard::from_bytes::<Facts>(facts).ok()?.heap;
    let engine = wasmtime::Engine::new(&Profile::V1.config(heap)).ok()?;
    let code = engine.precompile_module(module).ok()?;
    Sealed::new(&SealKey::new(*key), name, facts, &code)
}
