//! Folders of this machine for a guest (`symbolon exec`): read before the run, written
//! back after it.
//!
//! The guest never touches the host. What it may see is copied in, within bounds, and
//! what it changed is copied out when it has exited. On the way in symbolic links of
//! the host stay links, so that nothing outside of the folder comes in through them;
//! on the way out nothing is written through a link, and links that the guest made
//! are not made here: another program would follow them to wherever they point.

use crate::engine::{Cancel, CompiledModule, Engine, ExecutorError};
use crate::outcome::{Execution, Outcome};
use crate::profile::{MAX_DIR_DEPTH, MAX_TABLE_ELEMENTS, ProfileError};
use crate::world::fs::{Ino, Type};
use crate::world::{COMPUTE_IN_PATH, Loaded, Preopen, Spec, World};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use symbolon_primitives::{Level, Limits};

/// A folder of this machine, and the name under which the guest finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The folder here.
    pub host: PathBuf,
    /// Its name there, for example `/` or `/data`.
    pub guest: String,
}

impl std::str::FromStr for Mapping {
    type Err = HostDirError;

    /// Reads `HOST::GUEST`, or `DIR` for the same name on both sides.
    fn from_str(text: &str) -> Result<Self, HostDirError> {
        let (host, guest) = text.split_once("::").unwrap_or((text, text));
        if host.is_empty() || guest.is_empty() {
            return Err(HostDirError::Mapping { text: text.to_owned() });
        }
        Ok(Self { host: PathBuf::from(host), guest: guest.to_owned() })
    }
}

/// How much may be read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, folders and links together.
    pub entries: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 1 << 30, entries: 100_000 }
    }
}

/// One run on this machine.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// How the module is run. At [`Level::Compute`] standard input is what the guest
    /// reads, what it writes is its output `out`, and there are no folders.
    pub level: Level,
    /// The whole argv, the program's name first.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Folders, in the order in which the guest finds them.
    pub dirs: Vec<Mapping>,
    /// What the run may use.
    pub limits: Limits,
    /// The most fuel.
    pub max_fuel: u64,
    /// How much may be read in.
    pub bounds: Bounds,
    /// Key of the guest's randomness; the same key gives the same run.
    pub random_key: [u8; 32],
}

impl Default for ExecRequest {
    fn default() -> Self {
        Self {
            level: Level::Command,
            args: vec!["guest".to_owned()],
            env: Vec::new(),
            stdin: Vec::new(),
            dirs: Vec::new(),
            limits: Limits { memory_bytes: 1 << 30, output_bytes: 1 << 30, files: 65_536 },
            max_fuel: 1 << 50,
            bounds: Bounds::default(),
            random_key: [0; 32],
        }
    }
}

/// What a run did to this machine's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecReport {
    /// The run, with every file the guest made or changed.
    pub execution: Execution,
    /// Files written and folders made, here.
    pub written: Vec<PathBuf>,
    /// Files, folders and links removed, here.
    pub removed: Vec<PathBuf>,
    /// Links that the guest made and that were not made here.
    pub skipped: Vec<PathBuf>,
}

/// Why a folder could not be mapped or written back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostDirError {
    /// A mapping is not `HOST::GUEST`.
    #[error("{text:?} is no mapping of the form HOST::GUEST")]
    Mapping {
        /// The text.
        text: String,
    },
    /// Reading or writing failed.
    #[error("{path}", path = .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that is no UTF-8; the guest's interface has no way to say it.
    #[error("{path} has a name that is not UTF-8", path = .path.display())]
    Name {
        /// Where.
        path: PathBuf,
    },
    /// The folder holds more than the bounds allow.
    #[error("{path} holds more than {max} {what}", path = .path.display())]
    TooMuch {
        /// The folder mapped.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// A place to be written became a link, or a folder, since it was read.
    #[error("{path} changed during the run and is left alone", path = .path.display())]
    Changed {
        /// Where.
        path: PathBuf,
    },
    /// Folders at a level that has none.
    #[error("the level compute has no folders, only standard input and output")]
    NoFolders,
    /// The run has no outcome.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

impl From<ProfileError> for HostDirError {
    fn from(error: ProfileError) -> Self {
        Self::Executor(error.into())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> HostDirError + '_ {
    move |source| HostDirError::Io { path: path.to_path_buf(), source }
}

/// Runs a command with folders of this machine, and writes back what it changed if it
/// exited (with whatever code).
///
/// # Errors
/// [`HostDirError`]; on an error while writing back some files may be written and
/// others not.
pub fn exec(
    engine: &Engine,
    module: &CompiledModule,
    request: &ExecRequest,
    cancel: &Cancel,
) -> Result<ExecReport, HostDirError> {
    engine.profile().admits_limits(&request.limits, request.max_fuel)?;
    let mut bounds = request.bounds;
    let mut preopens = Vec::with_capacity(request.dirs.len());
    if request.level == Level::Compute {
        if !request.dirs.is_empty() {
            return Err(HostDirError::NoFolders);
        }
        let input = Loaded::File(COMPUTE_IN_PATH.into(), Arc::from(request.stdin.as_slice()));
        preopens.push(Preopen { name: "/".to_owned(), entries: vec![input], writable: false });
    }
    for dir in &request.dirs {
        let entries = read(&dir.host, &mut bounds, request.bounds)?;
        preopens.push(Preopen { name: dir.guest.clone(), entries, writable: true });
    }
    let spec = Spec {
        level: request.level,
        args: request.args.iter().map(|arg| arg.clone().into_bytes()).collect(),
        env: request.env.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())).collect(),
        stdin: Arc::from(request.stdin.as_slice()),
        preopens,
        limits: request.limits,
        max_fuel: request.max_fuel,
        table_elements: MAX_TABLE_ELEMENTS,
        random_key: request.random_key,
    };
    let mut before = Vec::new();
    let (execution, mut world) = engine.run_world_noting(module, spec, cancel, |world| {
        before = world.preopened.iter().map(|base| world.fs.walk(*base)).collect();
    })?;
    let mut report = ExecReport { execution, written: Vec::new(), removed: Vec::new(), skipped: Vec::new() };
    if matches!(report.execution.outcome, Outcome::Exited { .. }) {
        for ((dir, base), before) in request.dirs.iter().zip(&world.preopened).zip(&before) {
            write_back(&dir.host, &world, *base, before, &mut report)?;
        }
        report.execution.outputs = world.fs.outputs();
    }
    Ok(report)
}

/// Copies a folder in. Links stay links, and what is neither file, folder nor link
/// stays out.
fn read(root: &Path, bounds: &mut Bounds, max: Bounds) -> Result<Vec<Loaded>, HostDirError> {
    let too_much = |what, max| HostDirError::TooMuch { path: root.to_path_buf(), what, max };
    let mut entries = Vec::new();
    let mut todo = vec![(root.to_path_buf(), String::new(), 0usize)];
    while let Some((dir, prefix, depth)) = todo.pop() {
        if depth > MAX_DIR_DEPTH {
            return Err(too_much("levels", MAX_DIR_DEPTH as u64));
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            let entry = entry.map_err(at(&dir))?;
            bounds.entries = bounds.entries.checked_sub(1).ok_or_else(|| too_much("entries", max.entries))?;
            names.push(entry.file_name());
        }
        // The order in which a disk lists things must not show in inode numbers.
        names.sort();
        let mut below = Vec::new();
        for name in names {
            let path = dir.join(&name);
            let Some(text) = name.to_str() else {
                return Err(HostDirError::Name { path });
            };
            let inside = if prefix.is_empty() { text.to_owned() } else { format!("{prefix}/{text}") };
            let meta = fs::symlink_metadata(&path).map_err(at(&path))?;
            let ty = meta.file_type();
            if ty.is_dir() {
                entries.push(Loaded::Dir(inside.clone().into_bytes()));
                below.push((path, inside, depth.saturating_add(1)));
            } else if ty.is_symlink() {
                let target = fs::read_link(&path).map_err(at(&path))?;
                let Some(target) = target.to_str() else {
                    return Err(HostDirError::Name { path });
                };
                entries.push(Loaded::Link(inside.into_bytes(), target.as_bytes().to_vec()));
            } else if ty.is_file() {
                bounds.bytes = bounds.bytes.checked_sub(meta.len()).ok_or_else(|| too_much("bytes", max.bytes))?;
                let bytes = fs::read(&path).map_err(at(&path))?;
                entries.push(Loaded::File(inside.into_bytes(), Arc::from(bytes)));
            }
        }
        below.reverse();
        todo.extend(below);
    }
    Ok(entries)
}

type Listing = BTreeMap<Vec<u8>, (Ino, Type, bool)>;

/// Makes a folder here what the guest made of it there.
fn write_back(
    root: &Path,
    world: &World,
    base: Ino,
    before: &Listing,
    report: &mut ExecReport,
) -> Result<(), HostDirError> {
    let after = world.fs.walk(base);
    let here = |path: &[u8]| -> Option<PathBuf> { std::str::from_utf8(path).ok().map(|path| root.join(path)) };
    // What went away, the deepest first.
    for (path, (_, ty, _)) in before.iter().rev() {
        if after.get(path).is_some_and(|(_, now, _)| now == ty) {
            continue;
        }
        let Some(place) = here(path) else { continue };
        remove(root, &place, *ty)?;
        report.removed.push(place);
    }
    for (path, (ino, ty, dirty)) in &after {
        let Some(place) = here(path) else { continue };
        let same = before.get(path).is_some_and(|(old, was, _)| old == ino && was == ty);
        match ty {
            Type::Dir if before.get(path).is_none_or(|(_, was, _)| was != ty) => {
                no_link_above(root, &place)?;
                fs::create_dir(&place).map_err(at(&place))?;
                report.written.push(place);
            }
            Type::File if !same || *dirty => {
                let bytes = world.fs.bytes(*ino).unwrap_or(&[]);
                write(root, &place, bytes)?;
                report.written.push(place);
            }
            Type::Link if !same => report.skipped.push(place),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a place that is reached through a link below the folder mapped.
fn no_link_above(root: &Path, place: &Path) -> Result<(), HostDirError> {
    let mut above = place.parent();
    while let Some(dir) = above {
        if dir == root || !dir.starts_with(root) {
            break;
        }
        let meta = fs::symlink_metadata(dir).map_err(at(dir))?;
        if !meta.is_dir() {
            return Err(HostDirError::Changed { path: dir.to_path_buf() });
        }
        above = dir.parent();
    }
    Ok(())
}

fn write(root: &Path, place: &Path, bytes: &[u8]) -> Result<(), HostDirError> {
    no_link_above(root, place)?;
    match fs::symlink_metadata(place) {
        Ok(meta) if !meta.is_file() => {
            return Err(HostDirError::Changed { path: place.to_path_buf() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(place)(error)),
    }
    fs::write(place, bytes).map_err(at(place))
}

fn remove(root: &Path, place: &Path, ty: Type) -> Result<(), HostDirError> {
    no_link_above(root, place)?;
    let removed = match ty {
        Type::Dir => fs::remove_dir(place),
        Type::File | Type::Link => fs::remove_file(place),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(place)(error)),
        _ => Ok(()),
    }
}
