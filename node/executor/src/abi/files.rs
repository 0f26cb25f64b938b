//! Reading, writing, seeking, listing.

use super::descriptors::type_code;
use super::layout::Whence;
use super::{Call, Done, Ptr, Stop};
use crate::world::errno::Errno;
use crate::world::fds::{Target, flags, rights};
use crate::world::fs::Ino;

/// The file behind a descriptor that has a right.
fn file(call: &Call<'_>, fd: u32, right: u64) -> Result<(Ino, u64), Errno> {
    let fd = call.world.fds.get(fd)?;
    fd.need(right)?;
    match fd.target {
        Target::File { ino, at } => Ok((ino, at)),
        Target::Dir { .. } => Err(Errno::IsDir),
        _ => Err(Errno::SPipe),
    }
}

fn set_position(call: &mut Call<'_>, fd: u32, to: u64) -> Result<(), Errno> {
    if let Target::File { at, .. } = &mut call.world.fds.get_mut(fd)?.target {
        *at = to;
    }
    Ok(())
}

pub(super) fn fd_advise(call: &mut Call<'_>, fd: u32, at: u64, len: u64, advice: u32) -> Done {
    let (_, _) = file(call, fd, rights::FD_ADVISE)?;
    if advice > 5 || at.checked_add(len).is_none() {
        return Err(Errno::Inval.into());
    }
    Ok(())
}

pub(super) fn fd_allocate(call: &mut Call<'_>, fd: u32, at: u64, len: u64) -> Done {
    let (ino, _) = file(call, fd, rights::FD_ALLOCATE)?;
    let end = at.checked_add(len).ok_or(Errno::FBig)?;
    if len == 0 {
        return Err(Errno::Inval.into());
    }
    if end > call.world.fs.size(ino)? {
        let now = call.world.now();
        call.world.fs.set_len(ino, end, now)?;
    }
    Ok(())
}

pub(super) fn fd_sync(call: &mut Call<'_>, fd: u32) -> Done {
    call.world.fds.get(fd)?.need(rights::FD_SYNC)?;
    Ok(())
}

pub(super) fn fd_datasync(call: &mut Call<'_>, fd: u32) -> Done {
    call.world.fds.get(fd)?.need(rights::FD_DATASYNC)?;
    Ok(())
}

pub(super) fn fd_filestat_set_size(call: &mut Call<'_>, fd: u32, size: u64) -> Done {
    let (ino, _) = file(call, fd, rights::FD_FILESTAT_SET_SIZE)?;
    let now = call.world.now();
    call.world.fs.set_len(ino, size, now)?;
    Ok(())
}

/// Copies from a file into the guest's pieces; says how many bytes.
fn read_at(call: &mut Call<'_>, ino: Ino, at: u64, pieces: &[(Ptr, u32)]) -> Result<u32, Stop> {
    let available = call.world.fs.size(ino)?.saturating_sub(at);
    let wanted: u64 = pieces.iter().map(|(_, len)| u64::from(*len)).sum();
    call.pay(wanted.min(available))?;
    let memory = &mut *call.memory;
    let bytes = call.world.fs.bytes(ino)?;
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    Ok(scatter(memory, bytes.get(start..).unwrap_or(&[]), pieces)?)
}

/// Copies bytes into pieces of memory until either ends.
fn scatter(memory: &mut [u8], mut bytes: &[u8], pieces: &[(Ptr, u32)]) -> Result<u32, Errno> {
    let mut total = 0u32;
    for (ptr, len) in pieces {
        let start = usize::try_from(*ptr).map_err(|_| Errno::Fault)?;
        let count = bytes.len().min(usize::try_from(*len).map_err(|_| Errno::Fault)?);
        let end = start.checked_add(count).ok_or(Errno::Fault)?;
        let (now, later) = bytes.split_at_checked(count).ok_or(Errno::Fault)?;
        memory.get_mut(start..end).ok_or(Errno::Fault)?.copy_from_slice(now);
        bytes = later;
        total = total.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }
    Ok(total)
}

pub(super) fn fd_read(call: &mut Call<'_>, fd: u32, list: Ptr, count: u32, out: Ptr) -> Done {
    let (pieces, _) = call.pieces(list, count)?;
    call.slice(out, 4)?;
    let descriptor = call.world.fds.get(fd)?;
    descriptor.need(rights::FD_READ)?;
    let read = match descriptor.target {
        Target::Stdin => {
            let wanted: u64 = pieces.iter().map(|(_, len)| u64::from(*len)).sum();
            let left = call.world.stdin_left().len() as u64;
            call.pay(wanted.min(left))?;
            let read = scatter(call.memory, call.world.stdin_left(), &pieces)?;
            call.world.stdin_skip(read as usize);
            read
        }
        Target::File { ino, at } => {
            let read = read_at(call, ino, at, &pieces)?;
            set_position(call, fd, at.saturating_add(u64::from(read)))?;
            read
        }
        Target::Dir { .. } => return Err(Errno::IsDir.into()),
        Target::Stdout | Target::Stderr => return Err(Errno::BadF.into()),
    };
    call.put_u32(out, read)
}

pub(super) fn fd_pread(call: &mut Call<'_>, fd: u32, list: Ptr, count: u32, at: u64, out: Ptr) -> Done {
    let (pieces, _) = call.pieces(list, count)?;
    call.slice(out, 4)?;
    let (ino, _) = file(call, fd, rights::FD_READ | rights::FD_SEEK)?;
    let read = read_at(call, ino, at, &pieces)?;
    call.put_u32(out, read)
}

/// Copies the guest's pieces into a file, as much as the quota allows.
fn write_at(call: &mut Call<'_>, ino: Ino, at: u64, pieces: &[(Ptr, u32)]) -> Result<u32, Stop> {
    let now = call.world.now();
    let mut total = 0u32;
    let mut at = at;
    for (ptr, len) in pieces {
        call.pay(u64::from(*len))?;
        let bytes = call.memory.get(super::range(*ptr, *len)?).ok_or(Errno::Fault)?;
        match call.world.fs.write(ino, at, bytes, now) {
            Ok(written) => {
                let written = u32::try_from(written).map_err(|_| Errno::FBig)?;
                total = total.saturating_add(written);
                at = at.saturating_add(u64::from(written));
                if written < *len {
                    break;
                }
            }
            // What was written before stays written.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(total)
}

pub(super) fn fd_write(call: &mut Call<'_>, fd: u32, list: Ptr, count: u32, out: Ptr) -> Done {
    let (pieces, _) = call.pieces(list, count)?;
    call.slice(out, 4)?;
    let descriptor = call.world.fds.get(fd)?;
    descriptor.need(rights::FD_WRITE)?;
    let append = descriptor.flags & flags::APPEND != 0;
    let written = match descriptor.target {
        Target::Stdout => print(call, false, &pieces)?,
        Target::Stderr => print(call, true, &pieces)?,
        Target::File { ino, at } => {
            let at = if append { call.world.fs.size(ino)? } else { at };
            let written = write_at(call, ino, at, &pieces)?;
            set_position(call, fd, at.saturating_add(u64::from(written)))?;
            written
        }
        Target::Dir { .. } => return Err(Errno::IsDir.into()),
        Target::Stdin => return Err(Errno::BadF.into()),
    };
    call.put_u32(out, written)
}

fn print(call: &mut Call<'_>, to_stderr: bool, pieces: &[(Ptr, u32)]) -> Result<u32, Stop> {
    let mut total = 0u32;
    for (ptr, len) in pieces {
        call.pay(u64::from(*len))?;
        let bytes = call.memory.get(super::range(*ptr, *len)?).ok_or(Errno::Fault)?;
        match call.world.print(to_stderr, bytes) {
            Ok(written) => {
                let written = u32::try_from(written).map_err(|_| Errno::FBig)?;
                total = total.saturating_add(written);
                if written < *len {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(total)
}

pub(super) fn fd_pwrite(call: &mut Call<'_>, fd: u32, list: Ptr, count: u32, at: u64, out: Ptr) -> Done {
    let (pieces, _) = call.pieces(list, count)?;
    call.slice(out, 4)?;
    let (ino, _) = file(call, fd, rights::FD_WRITE | rights::FD_SEEK)?;
    let written = write_at(call, ino, at, &pieces)?;
    call.put_u32(out, written)
}

pub(super) fn fd_seek(call: &mut Call<'_>, fd: u32, by: i64, whence: u32, out: Ptr) -> Done {
    // Telling needs less than seeking.
    let from = call.abi.whence(whence);
    let right = if by == 0 && from == Some(Whence::Current) { rights::FD_TELL } else { rights::FD_SEEK };
    // A stream has neither right; what it answers is that it cannot seek.
    let descriptor = call.world.fds.get(fd)?;
    if descriptor.ino().is_none() {
        return Err(Errno::SPipe.into());
    }
    let (ino, at) = file(call, fd, right)?;
    let base = match from.ok_or(Errno::Inval)? {
        Whence::Start => 0,
        Whence::Current => at,
        Whence::End => call.world.fs.size(ino)?,
    };
    let to = base.checked_add_signed(by).ok_or(Errno::Inval)?;
    if i64::try_from(to).is_err() {
        return Err(Errno::Inval.into());
    }
    call.slice(out, 8)?;
    set_position(call, fd, to)?;
    call.put_u64(out, to)
}

pub(super) fn fd_tell(call: &mut Call<'_>, fd: u32, out: Ptr) -> Done {
    if call.world.fds.get(fd)?.ino().is_none() {
        return Err(Errno::SPipe.into());
    }
    let (_, at) = file(call, fd, rights::FD_TELL)?;
    call.put_u64(out, at)
}

const DIRENT_BYTES: usize = 24;

/// Writes entries from `cookie` on until the buffer is full; the last one may be cut,
/// by which the guest sees that there is more.
pub(super) fn fd_readdir(call: &mut Call<'_>, fd: u32, buf: Ptr, len: u32, cookie: u64, out: Ptr) -> Done {
    call.slice(buf, len)?;
    call.slice(out, 4)?;
    let descriptor = call.world.fds.get_mut(fd)?;
    descriptor.need(rights::FD_READDIR)?;
    let Target::Dir { ino, listing, .. } = &mut descriptor.target else {
        return Err(Errno::NotDir.into());
    };
    let entries = match listing.take() {
        Some(entries) if cookie > 0 => entries,
        _ => call.world.fs.list(*ino)?,
    };
    let room = len as usize;
    let mut bytes = Vec::new();
    let mut next = cookie;
    let from = usize::try_from(cookie).unwrap_or(usize::MAX);
    for entry in entries.iter().skip(from) {
        if bytes.len() >= room {
            break;
        }
        next = next.saturating_add(1);
        let name_len = u32::try_from(entry.name.len()).unwrap_or(u32::MAX);
        let mut head = [0u8; DIRENT_BYTES];
        let fields = [
            (0, &next.to_le_bytes()[..]),
            (8, &entry.ino.to_le_bytes()),
            (16, &name_len.to_le_bytes()),
            (20, &[type_code(entry.ty)]),
        ];
        for (at, field) in fields {
            for (to, from) in head.iter_mut().skip(at).zip(field) {
                *to = *from;
            }
        }
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&entry.name);
    }
    bytes.truncate(room);
    call.world.fds.remember(fd, entries)?;
    let used = u32::try_from(bytes.len()).unwrap_or(len);
    call.put(buf, &bytes)?;
    call.put_u32(out, used)
}
