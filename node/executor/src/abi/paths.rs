//! Calls that take a path, always below a descriptor.

use super::descriptors::{put_stat, times};
use super::{Call, Done, Ptr, Stop};
use crate::world::errno::Errno;
use crate::world::fds::{Fd, Target, flags, rights};
use crate::world::fs::{Found, Ino, Type};

const FOLLOW: u32 = 1;
const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;

/// The folder behind a descriptor that has a right.
fn folder(call: &Call<'_>, fd: u32, right: u64) -> Result<Ino, Errno> {
    let fd = call.world.fds.get(fd)?;
    let Target::Dir { ino, .. } = fd.target else {
        return Err(Errno::NotDir);
    };
    fd.need(right)?;
    Ok(ino)
}

fn find(call: &mut Call<'_>, fd: u32, right: u64, path: Ptr, len: u32, follow: bool) -> Result<Found, Stop> {
    let dir = folder(call, fd, right)?;
    let path = call.path(path, len)?;
    Ok(call.world.fs.resolve(dir, &path, follow)?)
}

pub(super) fn path_create_directory(call: &mut Call<'_>, fd: u32, path: Ptr, len: u32) -> Done {
    let found = find(call, fd, rights::PATH_CREATE_DIRECTORY, path, len, false)?;
    let now = call.world.now();
    call.world.fs.create_dir(&found, now)?;
    Ok(())
}

pub(super) fn path_filestat_get(call: &mut Call<'_>, fd: u32, lookup: u32, path: Ptr, len: u32, out: Ptr) -> Done {
    let follow = lookup & FOLLOW != 0;
    let found = find(call, fd, rights::PATH_FILESTAT_GET, path, len, follow)?;
    let stat = call.world.fs.stat(found.node.ok_or(Errno::NoEnt)?)?;
    put_stat(call, out, Some(&stat))
}

#[expect(clippy::too_many_arguments, reason = "the interface's own arguments")]
pub(super) fn path_filestat_set_times(
    call: &mut Call<'_>,
    fd: u32,
    lookup: u32,
    path: Ptr,
    len: u32,
    atim: u64,
    mtim: u64,
    fst: u32,
) -> Done {
    let (accessed, modified) = times(call, atim, mtim, fst)?;
    let follow = lookup & FOLLOW != 0;
    let found = find(call, fd, rights::PATH_FILESTAT_SET_TIMES, path, len, follow)?;
    let now = call.world.now();
    let ino = found.node.ok_or(Errno::NoEnt)?;
    call.world.fs.set_times(ino, accessed, modified, now)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the interface's own arguments")]
pub(super) fn path_link(
    call: &mut Call<'_>,
    fd: u32,
    lookup: u32,
    path: Ptr,
    len: u32,
    to: u32,
    to_path: Ptr,
    to_len: u32,
) -> Done {
    if lookup & FOLLOW != 0 {
        // As on other hosts: a hard link never follows.
        return Err(Errno::Inval.into());
    }
    let source = find(call, fd, rights::PATH_LINK_SOURCE, path, len, false)?;
    let target = find(call, to, rights::PATH_LINK_TARGET, to_path, to_len, false)?;
    let now = call.world.now();
    let ino = source.node.ok_or(Errno::NoEnt)?;
    call.world.fs.link(ino, &target, now)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the interface's own arguments")]
pub(super) fn path_open(
    call: &mut Call<'_>,
    fd: u32,
    lookup: u32,
    path: Ptr,
    len: u32,
    oflags: u32,
    base: u64,
    inheriting: u64,
    fd_flags: u32,
    out: Ptr,
) -> Done {
    let fd_flags = u16::try_from(fd_flags).map_err(|_| Errno::Inval)?;
    let has = |flag| oflags & flag != 0;
    if fd_flags & !flags::ALL != 0
        || oflags & !(CREATE | DIRECTORY | EXCLUSIVE | TRUNCATE) != 0
        || has(CREATE) && has(DIRECTORY)
    {
        return Err(Errno::Inval.into());
    }
    let parent = call.world.fds.get(fd)?;
    // Programs ask for more than they can have; what remains is what both allow.
    let base = base & parent.inheriting;
    let inheriting = inheriting & parent.inheriting;
    let mut need = rights::PATH_OPEN;
    if has(CREATE) {
        need |= rights::PATH_CREATE_FILE;
    }
    if has(TRUNCATE) {
        need |= rights::PATH_FILESTAT_SET_SIZE;
    }
    call.slice(out, 4)?;
    let follow = lookup & FOLLOW != 0 && !(has(CREATE) && has(EXCLUSIVE));
    let found = find(call, fd, need, path, len, follow)?;
    if !call.world.fds.has_room() {
        return Err(Errno::MFile.into());
    }
    let now = call.world.now();
    let fs = &mut call.world.fs;
    let writing = base & rights::FD_WRITE != 0;
    let ino = match found.node {
        None if has(CREATE) => fs.create_file(&found, now)?,
        None => return Err(Errno::NoEnt.into()),
        Some(_) if has(CREATE) && has(EXCLUSIVE) => return Err(Errno::Exist.into()),
        Some(ino) => ino,
    };
    let opened = match fs.type_of(ino)? {
        Type::Link => return Err(Errno::Loop.into()),
        Type::Dir => {
            if writing || has(TRUNCATE) || has(CREATE) {
                return Err(Errno::IsDir.into());
            }
            Fd {
                target: Target::Dir { ino, preopen: None, listing: None },
                rights: base & rights::DIR,
                inheriting,
                flags: fd_flags,
            }
        }
        Type::File => {
            if has(DIRECTORY) {
                return Err(Errno::NotDir.into());
            }
            let mut rights = base & rights::FILE;
            if fs.is_read_only(ino) {
                if writing || has(TRUNCATE) {
                    return Err(Errno::RoFs.into());
                }
                rights &= !rights::WRITING;
            }
            if has(TRUNCATE) {
                fs.set_len(ino, 0, now)?;
            }
            Fd { target: Target::File { ino, at: 0 }, rights, inheriting: 0, flags: fd_flags }
        }
    };
    fs.hold(ino);
    let number = call.world.fds.push(opened)?;
    call.put_u32(out, number)
}

pub(super) fn path_readlink(
    call: &mut Call<'_>,
    fd: u32,
    path: Ptr,
    len: u32,
    buf: Ptr,
    buf_len: u32,
    out: Ptr,
) -> Done {
    let found = find(call, fd, rights::PATH_READLINK, path, len, false)?;
    let target = call.world.fs.read_link(found.node.ok_or(Errno::NoEnt)?)?.to_vec();
    let count = target.len().min(buf_len as usize);
    call.put(buf, target.get(..count).unwrap_or(&target))?;
    call.put_u32(out, u32::try_from(count).unwrap_or(buf_len))
}

pub(super) fn path_remove_directory(call: &mut Call<'_>, fd: u32, path: Ptr, len: u32) -> Done {
    let found = find(call, fd, rights::PATH_REMOVE_DIRECTORY, path, len, false)?;
    let now = call.world.now();
    call.world.fs.remove_dir(&found, now)?;
    Ok(())
}

pub(super) fn path_rename(
    call: &mut Call<'_>,
    fd: u32,
    path: Ptr,
    len: u32,
    to: u32,
    to_path: Ptr,
    to_len: u32,
) -> Done {
    let source = find(call, fd, rights::PATH_RENAME_SOURCE, path, len, false)?;
    let target = find(call, to, rights::PATH_RENAME_TARGET, to_path, to_len, false)?;
    let now = call.world.now();
    call.world.fs.rename(&source, &target, now)?;
    Ok(())
}

pub(super) fn path_symlink(call: &mut Call<'_>, target: Ptr, target_len: u32, fd: u32, path: Ptr, len: u32) -> Done {
    let target = call.path(target, target_len)?;
    let found = find(call, fd, rights::PATH_SYMLINK, path, len, false)?;
    let now = call.world.now();
    call.world.fs.create_link(&found, &target, now)?;
    Ok(())
}

pub(super) fn path_unlink_file(call: &mut Call<'_>, fd: u32, path: Ptr, len: u32) -> Done {
    let found = find(call, fd, rights::PATH_UNLINK_FILE, path, len, false)?;
    let now = call.world.now();
    call.world.fs.unlink(&found, now)?;
    Ok(())
}
