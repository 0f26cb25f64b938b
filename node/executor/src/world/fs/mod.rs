//! Files in memory: nodes, quotas, paths (SYM-33).
//!
//! Nodes live in one map by inode number, numbered in order of creation and never
//! reused, so nothing here recurses and a deep or cyclic tree cannot hurt. Every
//! operation adds the steps it took to a counter that the caller turns into fuel.

use crate::profile::{BYTES_PER_FUEL, MAX_DIR_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, STEP_FUEL};
use crate::world::errno::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

mod load;
mod path;

pub(crate) use path::Found;
use path::check_path;

pub(crate) type Ino = u64;

/// Who put a node there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An input, or a folder that leads to one: read only.
    Input,
    /// Mapped in from outside and writable (`symbolon exec`).
    Mapped,
    /// The guest.
    Guest,
}

/// Times of a node in nanoseconds of the virtual clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl Times {
    /// In the order in which guests see them.
    pub(crate) const fn all(self) -> [u64; 3] {
        [self.accessed, self.modified, self.changed]
    }
}

#[derive(Debug)]
enum Bytes {
    /// Not the guest's own, hence free of charge; copied before the first change.
    Shared(Arc<[u8]>),
    Owned(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Bytes that count against the quota, per link.
    fn charged(&self) -> u64 {
        match self {
            Self::Shared(_) => 0,
            Self::Owned(bytes) => bytes.len() as u64,
        }
    }
}

#[derive(Debug)]
struct Dir {
    entries: BTreeMap<Vec<u8>, Ino>,
    parent: Ino,
    /// Bytes of the folder's own name.
    name_len: usize,
}

#[derive(Debug)]
enum Kind {
    File(Bytes),
    Dir(Dir),
    Link(Vec<u8>),
}

/// What a node is, as far as callers care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    File,
    Dir,
    Link,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    origin: Origin,
    /// Names that lead here.
    links: u64,
    /// Descriptors that hold it.
    opens: u64,
    /// Bytes were written or cut, or the guest made it.
    dirty: bool,
    times: Times,
}

/// A node's description.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub(crate) ino: Ino,
    pub(crate) ty: Type,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) times: Times,
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) ino: Ino,
    pub(crate) ty: Type,
}

#[derive(Debug)]
pub(crate) struct Fs {
    nodes: BTreeMap<Ino, Node>,
    next: Ino,
    root: Ino,
    /// Fuel owed for steps taken since the caller last asked.
    work: u64,
    bytes_used: u64,
    bytes_max: u64,
    /// Names made by the guest that exist now.
    names_used: u32,
    names_max: u32,
}

impl Fs {
    pub(crate) fn new(bytes_max: u64, names_max: u32, now: u64) -> Self {
        let mut fs = Self {
            nodes: BTreeMap::new(),
            next: 1,
            root: 1,
            work: 0,
            bytes_used: 0,
            bytes_max,
            names_used: 0,
            names_max,
        };
        let dir = Kind::Dir(Dir { entries: BTreeMap::new(), parent: 1, name_len: 0 });
        fs.root = fs.add(dir, Origin::Input, now);
        if let Some(root) = fs.nodes.get_mut(&fs.root) {
            root.links = 1;
        }
        fs
    }

    pub(crate) fn root(&self) -> Ino {
        self.root
    }

    /// Fuel for the steps since the last call.
    pub(crate) fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    fn step(&mut self) {
        self.work = self.work.saturating_add(STEP_FUEL);
    }

    fn moved(&mut self, bytes: u64) {
        self.work = self.work.saturating_add(bytes.div_ceil(BYTES_PER_FUEL));
    }

    /// Takes up to `want` bytes from the quota and says how many.
    pub(crate) fn take_bytes(&mut self, want: u64) -> u64 {
        let given = want.min(self.bytes_max.saturating_sub(self.bytes_used));
        self.bytes_used = self.bytes_used.saturating_add(given);
        given
    }

    fn give_bytes(&mut self, bytes: u64) {
        self.bytes_used = self.bytes_used.saturating_sub(bytes);
    }

    fn add(&mut self, kind: Kind, origin: Origin, now: u64) -> Ino {
        let ino = self.next;
        self.next = self.next.saturating_add(1);
        let node = Node {
            kind,
            origin,
            links: 0,
            opens: 0,
            dirty: origin == Origin::Guest,
            times: Times { accessed: now, modified: now, changed: now },
        };
        self.nodes.insert(ino, node);
        ino
    }

    fn node(&self, ino: Ino) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::BadF)
    }

    fn node_mut(&mut self, ino: Ino) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::BadF)
    }

    fn dir(&self, ino: Ino) -> Result<&Dir, Errno> {
        match &self.node(ino)?.kind {
            Kind::Dir(dir) => Ok(dir),
            _ => Err(Errno::NotDir),
        }
    }

    pub(crate) fn type_of(&self, ino: Ino) -> Result<Type, Errno> {
        Ok(match self.node(ino)?.kind {
            Kind::File(_) => Type::File,
            Kind::Dir(_) => Type::Dir,
            Kind::Link(_) => Type::Link,
        })
    }

    pub(crate) fn is_read_only(&self, ino: Ino) -> bool {
        self.nodes.get(&ino).is_some_and(|node| node.origin == Origin::Input && !matches!(node.kind, Kind::Dir(_)))
    }

    pub(crate) fn stat(&self, ino: Ino) -> Result<Stat, Errno> {
        let node = self.node(ino)?;
        let size = match &node.kind {
            Kind::File(bytes) => bytes.as_slice().len(),
            Kind::Dir(_) => 0,
            Kind::Link(target) => target.len(),
        };
        Ok(Stat { ino, ty: self.type_of(ino)?, links: node.links, size: size as u64, times: node.times })
    }

    pub(crate) fn set_times(
        &mut self,
        ino: Ino,
        accessed: Option<u64>,
        modified: Option<u64>,
        now: u64,
    ) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        if node.origin == Origin::Input {
            return Err(Errno::RoFs);
        }
        if let Some(accessed) = accessed {
            node.times.accessed = accessed;
        }
        if let Some(modified) = modified {
            node.times.modified = modified;
        }
        node.times.changed = now;
        Ok(())
    }

    /// Notes that a descriptor holds a node.
    pub(crate) fn hold(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.opens = node.opens.saturating_add(1);
        }
    }

    /// Notes that a descriptor let go of a node.
    pub(crate) fn release(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.opens = node.opens.saturating_sub(1);
        }
        self.drop_if_unused(ino);
    }

    fn drop_if_unused(&mut self, ino: Ino) {
        let unused = |node: &Node| node.links == 0 && node.opens == 0;
        if self.nodes.get(&ino).is_some_and(unused)
            && let Some(node) = self.nodes.remove(&ino)
            && let Kind::File(bytes) = node.kind
        {
            // A file without a name is charged as if it had one.
            self.give_bytes(bytes.charged());
        }
    }

    /// Depth of a folder and length of its path, from the root.
    fn place(&mut self, mut dir: Ino) -> Result<(usize, usize), Errno> {
        let mut depth = 0usize;
        let mut length = 0usize;
        while dir != self.root && depth <= MAX_DIR_DEPTH {
            let own = self.dir(dir)?;
            depth = depth.saturating_add(1);
            length = length.saturating_add(own.name_len).saturating_add(1);
            dir = own.parent;
            self.step();
        }
        Ok((depth, length))
    }

    /// Whether `name` may come to be in `dir`, with `below` levels and bytes under it.
    fn fits(&mut self, dir: Ino, name: &[u8], below: (usize, usize)) -> Result<(), Errno> {
        if name.is_empty() {
            return Err(Errno::Exist);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(Errno::NameTooLong);
        }
        if self.node(dir)?.links == 0 {
            return Err(Errno::NoEnt);
        }
        let (depth, length) = self.place(dir)?;
        let depth = depth.saturating_add(1).saturating_add(below.0);
        let length = length.saturating_add(name.len()).saturating_add(below.1);
        if depth > MAX_DIR_DEPTH || length > MAX_PATH_BYTES {
            return Err(Errno::NameTooLong);
        }
        Ok(())
    }

    fn take_name(&mut self) -> Result<(), Errno> {
        if self.names_used >= self.names_max {
            return Err(Errno::NoSpc);
        }
        self.names_used = self.names_used.saturating_add(1);
        Ok(())
    }

    fn give_name(&mut self, ino: Ino) {
        let guest = |node: &Node| node.origin == Origin::Guest;
        if self.nodes.get(&ino).is_some_and(guest) {
            self.names_used = self.names_used.saturating_sub(1);
        }
    }

    fn enter(&mut self, dir: Ino, name: Vec<u8>, ino: Ino, now: u64) -> Result<(), Errno> {
        let node = self.node_mut(ino)?;
        node.links = node.links.saturating_add(1);
        node.times.changed = now;
        if let Kind::Dir(own) = &mut node.kind {
            own.parent = dir;
            own.name_len = name.len();
        }
        let folder = self.node_mut(dir)?;
        folder.times.modified = now;
        folder.times.changed = now;
        if let Kind::Dir(folder) = &mut folder.kind {
            folder.entries.insert(name, ino);
        }
        Ok(())
    }

    fn leave(&mut self, dir: Ino, name: &[u8], now: u64) -> Result<Ino, Errno> {
        let folder = self.node_mut(dir)?;
        folder.times.modified = now;
        folder.times.changed = now;
        let Kind::Dir(folder) = &mut folder.kind else {
            return Err(Errno::NotDir);
        };
        let ino = folder.entries.remove(name).ok_or(Errno::NoEnt)?;
        let node = self.node_mut(ino)?;
        node.links = node.links.saturating_sub(1);
        node.times.changed = now;
        Ok(ino)
    }

    fn create(&mut self, found: &Found, kind: Kind, now: u64) -> Result<Ino, Errno> {
        if found.node.is_some() {
            return Err(Errno::Exist);
        }
        self.fits(found.dir, &found.name, (0, 0))?;
        self.take_name()?;
        let ino = self.add(kind, Origin::Guest, now);
        self.enter(found.dir, found.name.clone(), ino, now)?;
        Ok(ino)
    }

    pub(crate) fn create_file(&mut self, found: &Found, now: u64) -> Result<Ino, Errno> {
        if found.wants_dir {
            return Err(Errno::IsDir);
        }
        self.create(found, Kind::File(Bytes::Owned(Vec::new())), now)
    }

    pub(crate) fn create_dir(&mut self, found: &Found, now: u64) -> Result<Ino, Errno> {
        let dir = Dir { entries: BTreeMap::new(), parent: found.dir, name_len: 0 };
        self.create(found, Kind::Dir(dir), now)
    }

    pub(crate) fn create_link(&mut self, found: &Found, target: &[u8], now: u64) -> Result<Ino, Errno> {
        check_path(target)?;
        if found.wants_dir && found.node.is_none() {
            return Err(Errno::NoEnt);
        }
        self.moved(target.len() as u64);
        self.create(found, Kind::Link(target.to_vec()), now)
    }

    pub(crate) fn read_link(&self, ino: Ino) -> Result<&[u8], Errno> {
        match &self.node(ino)?.kind {
            Kind::Link(target) => Ok(target),
            _ => Err(Errno::Inval),
        }
    }

    /// Another name for a file.
    pub(crate) fn link(&mut self, ino: Ino, found: &Found, now: u64) -> Result<(), Errno> {
        let node = self.node(ino)?;
        if matches!(node.kind, Kind::Dir(_)) {
            return Err(Errno::Perm);
        }
        if node.origin != Origin::Guest {
            // A second name would make an output of what is none.
            return Err(Errno::Perm);
        }
        if found.node.is_some() {
            return Err(Errno::Exist);
        }
        if found.wants_dir {
            return Err(Errno::NoEnt);
        }
        // Every name is an output of its own, so every name is charged.
        let size = match &node.kind {
            Kind::File(bytes) => bytes.charged(),
            _ => 0,
        };
        self.fits(found.dir, &found.name, (0, 0))?;
        self.take_name()?;
        let given = self.take_bytes(size);
        if given < size {
            self.give_bytes(given);
            self.names_used = self.names_used.saturating_sub(1);
            return Err(Errno::NoSpc);
        }
        self.enter(found.dir, found.name.clone(), ino, now)
    }

    pub(crate) fn unlink(&mut self, found: &Found, now: u64) -> Result<(), Errno> {
        let ino = found.node.ok_or(Errno::NoEnt)?;
        let node = self.node(ino)?;
        if matches!(node.kind, Kind::Dir(_)) {
            return Err(Errno::IsDir);
        }
        if node.origin == Origin::Input {
            return Err(Errno::RoFs);
        }
        self.remove_name(found.dir, &found.name, ino, now)
    }

    /// Takes a name away and gives its quota back.
    fn remove_name(&mut self, dir: Ino, name: &[u8], ino: Ino, now: u64) -> Result<(), Errno> {
        self.leave(dir, name, now)?;
        self.give_name(ino);
        let node = self.node(ino)?;
        if let (Kind::File(bytes), true) = (&node.kind, node.links > 0) {
            let charged = bytes.charged();
            self.give_bytes(charged);
        }
        self.drop_if_unused(ino);
        Ok(())
    }

    pub(crate) fn remove_dir(&mut self, found: &Found, now: u64) -> Result<(), Errno> {
        let ino = found.node.ok_or(Errno::NoEnt)?;
        if found.name.is_empty() {
            return Err(Errno::Inval);
        }
        if !self.dir(ino)?.entries.is_empty() {
            return Err(Errno::NotEmpty);
        }
        if self.node(ino)?.origin == Origin::Input {
            return Err(Errno::RoFs);
        }
        self.remove_name(found.dir, &found.name, ino, now)
    }

    pub(crate) fn rename(&mut self, from: &Found, to: &Found, now: u64) -> Result<(), Errno> {
        let ino = from.node.ok_or(Errno::NoEnt)?;
        if from.name.is_empty() || to.name.is_empty() {
            return Err(Errno::Inval);
        }
        if self.node(ino)?.origin == Origin::Input {
            return Err(Errno::RoFs);
        }
        let is_dir = self.type_of(ino)? == Type::Dir;
        if to.wants_dir && !is_dir {
            return Err(Errno::NotDir);
        }
        if to.node == Some(ino) {
            return Ok(());
        }
        if let Some(target) = to.node {
            if self.node(target)?.origin == Origin::Input {
                return Err(Errno::RoFs);
            }
            match (is_dir, self.type_of(target)? == Type::Dir) {
                (true, false) => return Err(Errno::NotDir),
                (false, true) => return Err(Errno::IsDir),
                (true, true) if !self.dir(target)?.entries.is_empty() => {
                    return Err(Errno::NotEmpty);
                }
                _ => {}
            }
        }
        let below = if is_dir { self.below(ino, to.dir)? } else { (0, 0) };
        self.fits(to.dir, &to.name, below)?;
        if let Some(target) = to.node {
            self.remove_name(to.dir, &to.name, target, now)?;
        }
        self.leave(from.dir, &from.name, now)?;
        self.enter(to.dir, to.name.clone(), ino, now)
    }

    /// How many levels and path bytes lie under a folder; refuses to move it into
    /// itself.
    fn below(&mut self, top: Ino, into: Ino) -> Result<(usize, usize), Errno> {
        let mut deepest = 0usize;
        let mut longest = 0usize;
        let mut todo = vec![(top, 0usize, 0usize)];
        while let Some((dir, depth, length)) = todo.pop() {
            if dir == into {
                return Err(Errno::Inval);
            }
            let mut steps = 0u64;
            for (name, child) in &self.dir(dir)?.entries {
                let depth = depth.saturating_add(1);
                let length = length.saturating_add(1).saturating_add(name.len());
                deepest = deepest.max(depth);
                longest = longest.max(length);
                steps = steps.saturating_add(STEP_FUEL);
                if self.type_of(*child)? == Type::Dir {
                    todo.push((*child, depth, length));
                }
            }
            self.work = self.work.saturating_add(steps);
        }
        Ok((deepest, longest))
    }

    /// A folder's listing: `.` and `..`, then names by bytes.
    pub(crate) fn list(&mut self, ino: Ino) -> Result<Vec<Entry>, Errno> {
        let dir = self.dir(ino)?;
        let mut list = Vec::with_capacity(dir.entries.len().saturating_add(2));
        for (name, ino) in [(&b"."[..], ino), (&b".."[..], dir.parent)] {
            list.push(Entry { name: name.to_vec(), ino, ty: Type::Dir });
        }
        for (name, child) in &dir.entries {
            list.push(Entry { name: name.clone(), ino: *child, ty: self.type_of(*child)? });
        }
        let steps = STEP_FUEL.saturating_mul(list.len() as u64);
        self.work = self.work.saturating_add(steps);
        Ok(list)
    }

    /// A file's bytes.
    pub(crate) fn bytes(&self, ino: Ino) -> Result<&[u8], Errno> {
        match &self.node(ino)?.kind {
            Kind::File(bytes) => Ok(bytes.as_slice()),
            Kind::Dir(_) => Err(Errno::IsDir),
            Kind::Link(_) => Err(Errno::Inval),
        }
    }

    pub(crate) fn size(&self, ino: Ino) -> Result<u64, Errno> {
        Ok(self.bytes(ino)?.len() as u64)
    }

    /// The file's own bytes, copied first if they are not the guest's; with how many
    /// names they are charged for.
    fn owned(&mut self, ino: Ino) -> Result<(), Errno> {
        let node = self.node(ino)?;
        if node.origin == Origin::Input {
            return Err(Errno::RoFs);
        }
        let Kind::File(Bytes::Shared(shared)) = &node.kind else {
            return Ok(());
        };
        let shared = shared.clone();
        let size = shared.len() as u64;
        let cost = size.saturating_mul(node.links.max(1));
        let given = self.take_bytes(cost);
        if given < cost {
            self.give_bytes(given);
            return Err(Errno::NoSpc);
        }
        self.moved(size);
        self.node_mut(ino)?.kind = Kind::File(Bytes::Owned(shared.to_vec()));
        Ok(())
    }

    /// Writes, as much as the quota allows; at least one byte of a write that has any.
    pub(crate) fn write(&mut self, ino: Ino, at: u64, data: &[u8], now: u64) -> Result<usize, Errno> {
        self.owned(ino)?;
        if data.is_empty() {
            return Ok(0);
        }
        let len = self.size(ino)?;
        let end = at.checked_add(data.len() as u64).ok_or(Errno::FBig)?;
        let wanted = end.saturating_sub(len);
        let allowed = self.grow(ino, wanted)?;
        let reach = len.saturating_add(allowed).min(end).max(len.min(end));
        let count = reach.saturating_sub(at).min(data.len() as u64);
        if count == 0 {
            self.shrink(ino, allowed)?;
            return Err(Errno::NoSpc);
        }
        self.moved(at.saturating_sub(len));
        let count = usize::try_from(count).map_err(|_| Errno::FBig)?;
        let at = usize::try_from(at).map_err(|_| Errno::FBig)?;
        let stop = at.checked_add(count).ok_or(Errno::FBig)?;
        let node = self.node_mut(ino)?;
        let Kind::File(Bytes::Owned(bytes)) = &mut node.kind else {
            return Err(Errno::BadF);
        };
        if bytes.len() < stop {
            bytes.resize(stop, 0);
        }
        if let (Some(to), Some(from)) = (bytes.get_mut(at..stop), data.get(..count)) {
            to.copy_from_slice(from);
        }
        node.dirty = true;
        node.times.modified = now;
        node.times.changed = now;
        Ok(count)
    }

    /// Takes quota for a file to grow, once for each of its names; says how much the
    /// file may grow.
    fn grow(&mut self, ino: Ino, wanted: u64) -> Result<u64, Errno> {
        let links = self.node(ino)?.links.max(1);
        let room = self.bytes_max.saturating_sub(self.bytes_used) / links;
        let allowed = wanted.min(room);
        self.take_bytes(allowed.saturating_mul(links));
        Ok(allowed)
    }

    fn shrink(&mut self, ino: Ino, less: u64) -> Result<(), Errno> {
        let links = self.node(ino)?.links.max(1);
        self.give_bytes(less.saturating_mul(links));
        Ok(())
    }

    /// Sets a file's length; all or nothing.
    pub(crate) fn set_len(&mut self, ino: Ino, len: u64, now: u64) -> Result<(), Errno> {
        self.owned(ino)?;
        let old = self.size(ino)?;
        let wanted = len.saturating_sub(old);
        let allowed = self.grow(ino, wanted)?;
        if allowed < wanted {
            self.shrink(ino, allowed)?;
            return Err(Errno::NoSpc);
        }
        self.shrink(ino, old.saturating_sub(len))?;
        self.moved(wanted);
        let len = usize::try_from(len).map_err(|_| Errno::FBig)?;
        let node = self.node_mut(ino)?;
        if let Kind::File(Bytes::Owned(bytes)) = &mut node.kind {
            bytes.resize(len, 0);
            // What the quota gets back the host gets back too; not byte by byte, since
            // to grow again by a little would copy the whole.
            if (len as u64) < old && bytes.capacity().saturating_sub(len) > (len / 4).saturating_add(4096) {
                bytes.shrink_to(len);
            }
        }
        node.dirty = true;
        node.times.modified = now;
        node.times.changed = now;
        Ok(())
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
