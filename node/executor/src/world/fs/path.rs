//! Following paths: from a folder, never above it, through symbolic links.

use super::{Fs, Ino, Kind};
use crate::profile::{MAX_LINK_HOPS, MAX_NAME_BYTES, MAX_PATH_BYTES};
use crate::world::errno::Errno;

/// Where a path leads.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The folder that holds the last name.
    pub(crate) dir: Ino,
    /// The last name; empty when the path ends in `.` or `..`.
    pub(crate) name: Vec<u8>,
    /// What is there.
    pub(crate) node: Option<Ino>,
    /// The path ended in a slash.
    pub(crate) wants_dir: bool,
}

impl Fs {
    /// Follows a path from a folder, never above it.
    pub(crate) fn resolve(&mut self, base: Ino, path: &[u8], follow: bool) -> Result<Found, Errno> {
        check_path(path)?;
        self.dir(base)?;
        let mut trail = vec![base];
        // Names still to go, the next one last.
        let mut names: Vec<Vec<u8>> = Vec::new();
        push_names(&mut names, path);
        let mut wants_dir = path.ends_with(b"/");
        let mut hops = 0u32;
        loop {
            let here = *trail.last().unwrap_or(&base);
            let Some(name) = names.pop() else {
                return Ok(Found { dir: here, name: Vec::new(), node: Some(here), wants_dir: true });
            };
            self.step();
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    trail.pop();
                    if trail.is_empty() {
                        return Err(Errno::Perm);
                    }
                    continue;
                }
                _ if name.len() > MAX_NAME_BYTES => return Err(Errno::NameTooLong),
                _ => {}
            }
            let is_last = names.is_empty();
            let Some(child) = self.dir(here)?.entries.get(&name).copied() else {
                if is_last {
                    return Ok(Found { dir: here, name, node: None, wants_dir });
                }
                return Err(Errno::NoEnt);
            };
            match &self.node(child)?.kind {
                Kind::Link(target) if !is_last || follow || wants_dir => {
                    hops = hops.saturating_add(1);
                    if hops > MAX_LINK_HOPS {
                        return Err(Errno::Loop);
                    }
                    let target = target.clone();
                    check_path(&target)?;
                    wants_dir |= is_last && target.ends_with(b"/");
                    self.moved(target.len() as u64);
                    push_names(&mut names, &target);
                }
                Kind::Dir(_) if !is_last => trail.push(child),
                _ if !is_last => return Err(Errno::NotDir),
                kind => {
                    if wants_dir && !matches!(kind, Kind::Dir(_)) {
                        return Err(Errno::NotDir);
                    }
                    return Ok(Found { dir: here, name, node: Some(child), wants_dir });
                }
            }
        }
    }
}

/// A path that may be followed at all.
pub(super) fn check_path(path: &[u8]) -> Result<(), Errno> {
    if path.is_empty() {
        return Err(Errno::NoEnt);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(Errno::NameTooLong);
    }
    if path.contains(&0) {
        return Err(Errno::Inval);
    }
    if std::str::from_utf8(path).is_err() {
        return Err(Errno::IlSeq);
    }
    if path.starts_with(b"/") {
        return Err(Errno::Perm);
    }
    Ok(())
}

fn push_names(names: &mut Vec<Vec<u8>>, path: &[u8]) {
    for name in path.rsplit(|byte| *byte == b'/') {
        if !name.is_empty() {
            names.push(name.to_vec());
        }
    }
}
