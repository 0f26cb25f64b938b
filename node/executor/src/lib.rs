//! Deterministic WebAssembly: a workunit in, the same result everywhere out.
//!
//! ```text
//! bytes ──compile──▶ CompiledModule ──run(workunit, inputs)──▶ Execution ──▶ result root
//!          │                              │
//!     profile: what a module         world: files, clock, randomness,
//!     may be (SYM-30)                streams, all virtual (SYM-32..34)
//! ```
//!
//! - [`profile`]: the rules as one text and its hash, and the vectors that a node
//!   runs before it serves them;
//! - [`tuning`]: what moves only the speed of this host;
//! - [`refuse`]: why a module is not taken; [`mod@inspect`]: all of the reasons, and what is in it;
//! - [`modules`]: modules compiled once, in a process that can be ended, and kept;
//! - [`engine`]: compiling and running, with the bounds that are the host's own;
//! - [`outcome`]: what a run came to, and what it left;
//! - [`manifest`]: the canonical encoding behind a result root (SYM-36);
//! - [`hostdir`]: folders of this machine, mapped in before a run and written back
//!   after it (`symbolon exec`).
//!
//! **Architecture invariant.** A guest sees nothing of the host: no file, clock,
//! environment, randomness or address of it. What the host runs out of (memory,
//! native stack, patience) is never an [`Outcome`]; it is an [`ExecutorError`], and
//! nobody commits to or is paid for it. A guest's fault never is the node's.

mod abi;
pub mod engine;
pub mod hostdir;
pub mod inspect;
mod instrument;
mod limiter;
pub mod manifest;
pub mod modules;
pub mod outcome;
pub mod profile;
pub mod refuse;
pub mod tuning;
mod vectors;
mod world;

pub use engine::{Cancel, CompiledModule, Engine, ExecutorError, Inputs};
pub use manifest::{Manifest, ManifestError};
pub use modules::{CompilerProcess, Modules};
pub use outcome::{Execution, Outcome, TrapKind};
pub use profile::{Profile, ProfileError};
pub use refuse::Refused;
pub use tuning::Tuning;
