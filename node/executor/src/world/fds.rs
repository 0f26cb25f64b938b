//! Descriptors and their rights.

use crate::profile::{MAX_DESCRIPTORS, MAX_LISTED};
use crate::world::errno::Errno;
use crate::world::fs::{Entry, Ino};

/// Rights of `wasi_snapshot_preview1`.
pub(crate) mod rights {
    pub(crate) const FD_DATASYNC: u64 = 1;
    pub(crate) const FD_READ: u64 = 1 << 1;
    pub(crate) const FD_SEEK: u64 = 1 << 2;
    pub(crate) const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub(crate) const FD_SYNC: u64 = 1 << 4;
    pub(crate) const FD_TELL: u64 = 1 << 5;
    pub(crate) const FD_WRITE: u64 = 1 << 6;
    pub(crate) const FD_ADVISE: u64 = 1 << 7;
    pub(crate) const FD_ALLOCATE: u64 = 1 << 8;
    pub(crate) const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
    pub(crate) const PATH_CREATE_FILE: u64 = 1 << 10;
    pub(crate) const PATH_LINK_SOURCE: u64 = 1 << 11;
    pub(crate) const PATH_LINK_TARGET: u64 = 1 << 12;
    pub(crate) const PATH_OPEN: u64 = 1 << 13;
    pub(crate) const FD_READDIR: u64 = 1 << 14;
    pub(crate) const PATH_READLINK: u64 = 1 << 15;
    pub(crate) const PATH_RENAME_SOURCE: u64 = 1 << 16;
    pub(crate) const PATH_RENAME_TARGET: u64 = 1 << 17;
    pub(crate) const PATH_FILESTAT_GET: u64 = 1 << 18;
    pub(crate) const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
    pub(crate) const PATH_FILESTAT_SET_TIMES: u64 = 1 << 20;
    pub(crate) const FD_FILESTAT_GET: u64 = 1 << 21;
    pub(crate) const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub(crate) const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub(crate) const PATH_SYMLINK: u64 = 1 << 24;
    pub(crate) const PATH_REMOVE_DIRECTORY: u64 = 1 << 25;
    pub(crate) const PATH_UNLINK_FILE: u64 = 1 << 26;
    pub(crate) const POLL_FD_READWRITE: u64 = 1 << 27;

    /// What a regular file can be used for.
    pub(crate) const FILE: u64 = FD_DATASYNC
        | FD_READ
        | FD_SEEK
        | FD_FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_TELL
        | FD_WRITE
        | FD_ADVISE
        | FD_ALLOCATE
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_SIZE
        | FD_FILESTAT_SET_TIMES
        | POLL_FD_READWRITE;

    /// What changes a file.
    pub(crate) const WRITING: u64 = FD_DATASYNC | FD_WRITE | FD_ALLOCATE | FD_FILESTAT_SET_SIZE | FD_FILESTAT_SET_TIMES;

    /// What a folder can be used for.
    pub(crate) const DIR: u64 = FD_FDSTAT_SET_FLAGS
        | FD_SYNC
        | FD_ADVISE
        | PATH_CREATE_DIRECTORY
        | PATH_CREATE_FILE
        | PATH_LINK_SOURCE
        | PATH_LINK_TARGET
        | PATH_OPEN
        | FD_READDIR
        | PATH_READLINK
        | PATH_RENAME_SOURCE
        | PATH_RENAME_TARGET
        | PATH_FILESTAT_GET
        | PATH_FILESTAT_SET_SIZE
        | PATH_FILESTAT_SET_TIMES
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_TIMES
        | PATH_SYMLINK
        | PATH_REMOVE_DIRECTORY
        | PATH_UNLINK_FILE
        | POLL_FD_READWRITE;

    /// What a stream can be used for, before its direction.
    pub(crate) const STREAM: u64 = FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;
}

/// Descriptor flags.
pub(crate) mod flags {
    pub(crate) const APPEND: u16 = 1;
    pub(crate) const DSYNC: u16 = 2;
    pub(crate) const NONBLOCK: u16 = 4;
    pub(crate) const RSYNC: u16 = 8;
    pub(crate) const SYNC: u16 = 16;
    pub(crate) const ALL: u16 = APPEND | DSYNC | NONBLOCK | RSYNC | SYNC;
}

/// What a descriptor stands for.
#[derive(Debug)]
pub(crate) enum Target {
    Stdin,
    Stdout,
    Stderr,
    File {
        ino: Ino,
        at: u64,
    },
    Dir {
        ino: Ino,
        /// The name under which the guest found it open.
        preopen: Option<Vec<u8>>,
        /// The listing as it was when it was last read from its start.
        listing: Option<Vec<Entry>>,
    },
}

#[derive(Debug)]
pub(crate) struct Fd {
    pub(crate) target: Target,
    pub(crate) rights: u64,
    pub(crate) inheriting: u64,
    pub(crate) flags: u16,
}

impl Fd {
    pub(crate) fn preopen(ino: Ino, name: &[u8]) -> Self {
        Self {
            target: Target::Dir { ino, preopen: Some(name.to_vec()), listing: None },
            rights: rights::DIR,
            inheriting: rights::DIR | rights::FILE,
            flags: 0,
        }
    }

    /// The node behind it, unless it is a stream.
    pub(crate) fn ino(&self) -> Option<Ino> {
        match self.target {
            Target::File { ino, .. } | Target::Dir { ino, .. } => Some(ino),
            _ => None,
        }
    }

    /// Entries of the listing that it keeps.
    fn listed(&self) -> usize {
        match &self.target {
            Target::Dir { listing: Some(entries), .. } => entries.len(),
            _ => 0,
        }
    }

    pub(crate) fn need(&self, right: u64) -> Result<(), Errno> {
        if self.rights & right == right { Ok(()) } else { Err(Errno::NotCapable) }
    }
}

/// The table of descriptors; the lowest free number is given.
#[derive(Debug, Default)]
pub(crate) struct Fds {
    slots: Vec<Option<Fd>>,
}

impl Fds {
    pub(crate) fn standard_streams(&mut self) {
        for (target, right) in
            [(Target::Stdin, rights::FD_READ), (Target::Stdout, rights::FD_WRITE), (Target::Stderr, rights::FD_WRITE)]
        {
            self.slots.push(Some(Fd { target, rights: rights::STREAM | right, inheriting: 0, flags: 0 }));
        }
    }

    pub(crate) fn push(&mut self, fd: Fd) -> Result<u32, Errno> {
        let at = match self.slots.iter().position(Option::is_none) {
            Some(at) => at,
            None if self.slots.len() < MAX_DESCRIPTORS => {
                self.slots.push(None);
                self.slots.len().saturating_sub(1)
            }
            None => return Err(Errno::MFile),
        };
        let number = u32::try_from(at).map_err(|_| Errno::MFile)?;
        self.put(number, fd)?;
        Ok(number)
    }

    /// Whether one more descriptor fits.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < MAX_DESCRIPTORS || self.slots.iter().any(Option::is_none)
    }

    pub(crate) fn put(&mut self, at: u32, fd: Fd) -> Result<(), Errno> {
        let at = usize::try_from(at).map_err(|_| Errno::BadF)?;
        if at >= MAX_DESCRIPTORS {
            return Err(Errno::BadF);
        }
        while self.slots.len() <= at {
            self.slots.push(None);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Some(fd);
        }
        Ok(())
    }

    pub(crate) fn get(&self, at: u32) -> Result<&Fd, Errno> {
        usize::try_from(at).ok().and_then(|at| self.slots.get(at)?.as_ref()).ok_or(Errno::BadF)
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Result<&mut Fd, Errno> {
        usize::try_from(at).ok().and_then(|at| self.slots.get_mut(at)?.as_mut()).ok_or(Errno::BadF)
    }

    /// Keeps a folder's listing for the next piece of it. All that are kept together
    /// are bounded; at the bound the others are forgotten, and whoever reads on from
    /// one of those reads the folder as it is then.
    pub(crate) fn remember(&mut self, at: u32, entries: Vec<Entry>) -> Result<(), Errno> {
        let kept: usize = self.slots.iter().flatten().map(Fd::listed).sum();
        if kept.saturating_add(entries.len()) > MAX_LISTED {
            for slot in self.slots.iter_mut().flatten() {
                if let Target::Dir { listing, .. } = &mut slot.target {
                    *listing = None;
                }
            }
        }
        if let Target::Dir { listing, .. } = &mut self.get_mut(at)?.target {
            *listing = Some(entries);
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, at: u32) -> Result<Fd, Errno> {
        usize::try_from(at).ok().and_then(|at| self.slots.get_mut(at)?.take()).ok_or(Errno::BadF)
    }
}
