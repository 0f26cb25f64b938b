//! Calls about descriptors themselves.

use super::{Call, Done, Ptr};
use crate::world::errno::Errno;
use crate::world::fds::{Target, flags, rights};
use crate::world::fs::{Stat, Type};

/// File types.
const UNKNOWN: u8 = 0;
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;
const SYMLINK: u8 = 7;

/// Flags of the calls that set times.
const ATIM: u32 = 1;
const ATIM_NOW: u32 = 2;
const MTIM: u32 = 4;
const MTIM_NOW: u32 = 8;

pub(super) fn type_code(ty: Type) -> u8 {
    match ty {
        Type::File => REGULAR,
        Type::Dir => DIRECTORY,
        Type::Link => SYMLINK,
    }
}

pub(super) fn fd_close(call: &mut Call<'_>, fd: u32) -> Done {
    let fd = call.world.fds.remove(fd)?;
    if let Some(ino) = fd.ino() {
        call.world.fs.release(ino);
    }
    Ok(())
}

pub(super) fn fd_renumber(call: &mut Call<'_>, fd: u32, to: u32) -> Done {
    let fds = &mut call.world.fds;
    fds.get(fd)?;
    // As on other hosts the target must be open: numbers are not the guest's to give.
    fds.get(to)?;
    if fd == to {
        return Ok(());
    }
    let moved = fds.remove(fd)?;
    let closed = fds.remove(to)?;
    fds.put(to, moved)?;
    if let Some(ino) = closed.ino() {
        call.world.fs.release(ino);
    }
    Ok(())
}

pub(super) fn fd_fdstat_get(call: &mut Call<'_>, fd: u32, out: Ptr) -> Done {
    let fd = call.world.fds.get(fd)?;
    let ty = match &fd.target {
        Target::Stdin | Target::Stdout | Target::Stderr => UNKNOWN,
        Target::File { .. } => REGULAR,
        Target::Dir { .. } => DIRECTORY,
    };
    let (flags, base, inheriting) = (fd.flags, fd.rights, fd.inheriting);
    let mut record = [0u8; 24];
    fill(
        &mut record,
        &[(0, &[ty]), (2, &flags.to_le_bytes()), (8, &base.to_le_bytes()), (16, &inheriting.to_le_bytes())],
    );
    call.put(out, &record)
}

/// Puts fields into a record of zeros.
fn fill(record: &mut [u8], fields: &[(usize, &[u8])]) {
    for (at, bytes) in fields {
        for (to, from) in record.iter_mut().skip(*at).zip(*bytes) {
            *to = *from;
        }
    }
}

pub(super) fn fd_fdstat_set_flags(call: &mut Call<'_>, fd: u32, new: u32) -> Done {
    let new = u16::try_from(new).map_err(|_| Errno::Inval)?;
    if new & !flags::ALL != 0 {
        return Err(Errno::Inval.into());
    }
    let fd = call.world.fds.get_mut(fd)?;
    fd.need(rights::FD_FDSTAT_SET_FLAGS)?;
    fd.flags = new;
    Ok(())
}

pub(super) fn fd_fdstat_set_rights(call: &mut Call<'_>, fd: u32, base: u64, inheriting: u64) -> Done {
    let fd = call.world.fds.get_mut(fd)?;
    if base & !fd.rights != 0 || inheriting & !fd.inheriting != 0 {
        return Err(Errno::NotCapable.into());
    }
    fd.rights = base;
    fd.inheriting = inheriting;
    Ok(())
}

/// A node's description as the guest sees it.
pub(super) fn put_stat(call: &mut Call<'_>, out: Ptr, stat: Option<&Stat>) -> Done {
    let record = call.abi.filestat(stat);
    call.put(out, &record)
}

pub(super) fn fd_filestat_get(call: &mut Call<'_>, fd: u32, out: Ptr) -> Done {
    let fd = call.world.fds.get(fd)?;
    fd.need(rights::FD_FILESTAT_GET)?;
    let stat = fd.ino().map(|ino| call.world.fs.stat(ino)).transpose()?;
    put_stat(call, out, stat.as_ref())
}

/// The times that a call sets: `None` leaves one as it is.
pub(super) fn times(call: &Call<'_>, atim: u64, mtim: u64, fst: u32) -> Result<(Option<u64>, Option<u64>), Errno> {
    let both = |a: u32, b: u32| fst & a != 0 && fst & b != 0;
    if fst & !(ATIM | ATIM_NOW | MTIM | MTIM_NOW) != 0 || both(ATIM, ATIM_NOW) || both(MTIM, MTIM_NOW) {
        return Err(Errno::Inval);
    }
    let now = call.world.now();
    let pick = |given: u32, current: u32, value: u64| {
        if fst & given != 0 {
            Some(value)
        } else if fst & current != 0 {
            Some(now)
        } else {
            None
        }
    };
    Ok((pick(ATIM, ATIM_NOW, atim), pick(MTIM, MTIM_NOW, mtim)))
}

pub(super) fn fd_filestat_set_times(call: &mut Call<'_>, fd: u32, atim: u64, mtim: u64, fst: u32) -> Done {
    let (accessed, modified) = times(call, atim, mtim, fst)?;
    let now = call.world.now();
    let fd = call.world.fds.get(fd)?;
    fd.need(rights::FD_FILESTAT_SET_TIMES)?;
    let ino = fd.ino().ok_or(Errno::BadF)?;
    call.world.fs.set_times(ino, accessed, modified, now)?;
    Ok(())
}

fn preopen_name(call: &Call<'_>, fd: u32) -> Result<Vec<u8>, Errno> {
    match &call.world.fds.get(fd)?.target {
        Target::Dir { preopen: Some(name), .. } => Ok(name.clone()),
        _ => Err(Errno::BadF),
    }
}

pub(super) fn fd_prestat_get(call: &mut Call<'_>, fd: u32, out: Ptr) -> Done {
    let name = preopen_name(call, fd)?;
    let len = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
    let mut record = [0u8; 8];
    fill(&mut record, &[(4, &len.to_le_bytes())]);
    call.put(out, &record)
}

pub(super) fn fd_prestat_dir_name(call: &mut Call<'_>, fd: u32, buf: Ptr, len: u32) -> Done {
    let name = preopen_name(call, fd)?;
    if (len as usize) < name.len() {
        return Err(Errno::NameTooLong.into());
    }
    call.put(buf, &name)
}
