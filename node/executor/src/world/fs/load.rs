//! What is there before a run, and what is left behind it.

use super::path::check_path;
use super::{Bytes, Dir, Fs, Ino, Kind, Origin, Type};
use crate::profile::MAX_NAME_BYTES;
use crate::world::errno::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Fs {
    /// Puts a file there before the run, with the folders that lead to it.
    pub(crate) fn preload(
        &mut self,
        base: Ino,
        path: &[u8],
        bytes: Arc<[u8]>,
        origin: Origin,
        now: u64,
    ) -> Result<Ino, Errno> {
        let (dir, name) = self.preload_parent(base, path, origin, now)?;
        let ino = self.add(Kind::File(Bytes::Shared(bytes)), origin, now);
        self.enter(dir, name, ino, now)?;
        Ok(ino)
    }

    /// Puts a symbolic link there before the run.
    pub(crate) fn preload_link(
        &mut self,
        base: Ino,
        path: &[u8],
        target: &[u8],
        origin: Origin,
        now: u64,
    ) -> Result<Ino, Errno> {
        let (dir, name) = self.preload_parent(base, path, origin, now)?;
        let ino = self.add(Kind::Link(target.to_vec()), origin, now);
        self.enter(dir, name, ino, now)?;
        Ok(ino)
    }

    /// Puts a folder there before the run.
    pub(crate) fn preload_dir(&mut self, base: Ino, path: &[u8], origin: Origin, now: u64) -> Result<Ino, Errno> {
        let mut dir = base;
        for name in path.split(|byte| *byte == b'/') {
            if name.is_empty() || name == b"." || name == b".." || name.len() > MAX_NAME_BYTES {
                return Err(Errno::Inval);
            }
            dir = match self.dir(dir)?.entries.get(name).copied() {
                Some(child) => child,
                None => {
                    let own = Dir { entries: BTreeMap::new(), parent: dir, name_len: 0 };
                    let child = self.add(Kind::Dir(own), origin, now);
                    self.enter(dir, name.to_vec(), child, now)?;
                    child
                }
            };
        }
        self.dir(dir)?;
        Ok(dir)
    }

    fn preload_parent(&mut self, base: Ino, path: &[u8], origin: Origin, now: u64) -> Result<(Ino, Vec<u8>), Errno> {
        check_path(path)?;
        let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => {
                let (parent, name) = path.split_at(slash);
                (self.preload_dir(base, parent, origin, now)?, name.get(1..).unwrap_or(&[]))
            }
            None => (base, path),
        };
        if name.is_empty() || name == b"." || name == b".." || name.len() > MAX_NAME_BYTES {
            return Err(Errno::Inval);
        }
        if self.dir(dir)?.entries.contains_key(name) {
            return Err(Errno::Exist);
        }
        Ok((dir, name.to_vec()))
    }

    /// Everything under a folder, by path: what it is, and whether it is dirty.
    pub(crate) fn walk(&self, base: Ino) -> BTreeMap<Vec<u8>, (Ino, Type, bool)> {
        let mut all = BTreeMap::new();
        let mut todo = vec![(base, Vec::new())];
        while let Some((dir, prefix)) = todo.pop() {
            let Ok(dir) = self.dir(dir) else { continue };
            for (name, ino) in &dir.entries {
                let mut path = prefix.clone();
                path.extend_from_slice(name);
                let (Ok(ty), Some(node)) = (self.type_of(*ino), self.nodes.get(ino)) else {
                    continue;
                };
                if ty == Type::Dir {
                    let mut below = path.clone();
                    below.push(b'/');
                    todo.push((*ino, below));
                }
                all.insert(path, (*ino, ty, node.dirty));
            }
        }
        all
    }

    /// The files that the guest made or changed, by path, with their bytes.
    pub(crate) fn outputs(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut outputs = BTreeMap::new();
        for (path, (ino, ty, dirty)) in self.walk(self.root) {
            if ty != Type::File || !dirty {
                continue;
            }
            let Some(node) = self.nodes.get_mut(&ino) else {
                continue;
            };
            let last_name = node.links <= 1;
            node.links = node.links.saturating_sub(1);
            let Kind::File(bytes) = &mut node.kind else {
                continue;
            };
            let bytes = match bytes {
                // Big outputs are moved, not copied, unless another name follows.
                Bytes::Owned(bytes) if last_name => std::mem::take(bytes),
                bytes => bytes.as_slice().to_vec(),
            };
            outputs.insert(path, bytes);
        }
        outputs
    }
}
