//! `wasi_snapshot_preview1` and `wasi_unstable` over the virtual world: every call,
//! bounds-checked and metered.
//!
//! A call is a function from a [`Call`] (the guest's memory, the world, the fuel that
//! is left) and its arguments to an errno. [`host`] wraps it: it takes the constant
//! fee first, hands the fuel to the clock, and puts what is left back into the engine.

mod descriptors;
mod files;
mod layout;
mod paths;
mod process;

use crate::engine::{Patience, SLICE_FUEL};
use crate::profile::{BYTES_PER_FUEL, HOST_CALL_FUEL, MAX_IOVECS, MAX_PATH_BYTES};
use crate::world::World;
use crate::world::errno::Errno;
use layout::Abi;
use symbolon_primitives::Level;
use wasmtime::{Caller, Linker, Trap};

/// Every function: name, and its signature as letters (`i` i32, `l` i64) around `>`.
const SIGNATURES: [(&str, &str); 46] = [
    ("args_get", "ii>i"),
    ("args_sizes_get", "ii>i"),
    ("environ_get", "ii>i"),
    ("environ_sizes_get", "ii>i"),
    ("clock_res_get", "ii>i"),
    ("clock_time_get", "ili>i"),
    ("fd_advise", "illi>i"),
    ("fd_allocate", "ill>i"),
    ("fd_close", "i>i"),
    ("fd_datasync", "i>i"),
    ("fd_fdstat_get", "ii>i"),
    ("fd_fdstat_set_flags", "ii>i"),
    ("fd_fdstat_set_rights", "ill>i"),
    ("fd_filestat_get", "ii>i"),
    ("fd_filestat_set_size", "il>i"),
    ("fd_filestat_set_times", "illi>i"),
    ("fd_pread", "iiili>i"),
    ("fd_prestat_get", "ii>i"),
    ("fd_prestat_dir_name", "iii>i"),
    ("fd_pwrite", "iiili>i"),
    ("fd_read", "iiii>i"),
    ("fd_readdir", "iiili>i"),
    ("fd_renumber", "ii>i"),
    ("fd_seek", "ilii>i"),
    ("fd_sync", "i>i"),
    ("fd_tell", "ii>i"),
    ("fd_write", "iiii>i"),
    ("path_create_directory", "iii>i"),
    ("path_filestat_get", "iiiii>i"),
    ("path_filestat_set_times", "iiiilli>i"),
    ("path_link", "iiiiiii>i"),
    ("path_open", "iiiiillii>i"),
    ("path_readlink", "iiiiii>i"),
    ("path_remove_directory", "iii>i"),
    ("path_rename", "iiiiii>i"),
    ("path_symlink", "iiiii>i"),
    ("path_unlink_file", "iii>i"),
    ("poll_oneoff", "iiii>i"),
    ("proc_exit", "i>"),
    ("proc_raise", "i>i"),
    ("random_get", "ii>i"),
    ("sched_yield", ">i"),
    ("sock_accept", "iii>i"),
    ("sock_recv", "iiiiii>i"),
    ("sock_send", "iiiii>i"),
    ("sock_shutdown", "ii>i"),
];

/// What the level `compute` may call.
const COMPUTE: [&str; 4] = ["fd_read", "fd_write", "fd_close", "fd_fdstat_get"];

/// The signature of an import, if the world offers it.
pub(crate) fn signature(module: &str, name: &str) -> Option<&'static str> {
    Abi::named(module).filter(|abi| abi.has(name))?;
    SIGNATURES.iter().find(|(known, _)| *known == name).map(|(_, signature)| *signature)
}

/// The guest called `proc_exit`.
#[derive(Debug, thiserror::Error)]
#[error("guest exits with {code}")]
pub(crate) struct Exit {
    pub(crate) code: u32,
}

/// The guest called `proc_exit` where its level forbids it.
#[derive(Debug, thiserror::Error)]
#[error("call is not for this level")]
pub(crate) struct Forbidden;

/// How a call ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// With an error for the guest.
    Errno(Errno),
    /// The fuel does not suffice.
    OutOfFuel,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// How a call ends.
type Done = Result<(), Stop>;

/// A place in the guest's memory.
type Ptr = u32;

/// One call in progress.
struct Call<'a> {
    abi: Abi,
    memory: &'a mut [u8],
    world: &'a mut World,
    /// Fuel that is left.
    fuel: u64,
}

impl Call<'_> {
    /// Pays for bytes that are about to move.
    fn pay(&mut self, bytes: u64) -> Done {
        let cost = bytes.div_ceil(BYTES_PER_FUEL);
        self.fuel = self.fuel.checked_sub(cost).ok_or(Stop::OutOfFuel)?;
        Ok(())
    }

    /// A piece of the guest's memory.
    fn slice(&self, at: Ptr, len: u32) -> Result<&[u8], Stop> {
        self.memory.get(range(at, len)?).ok_or(Stop::Errno(Errno::Fault))
    }

    fn slice_mut(&mut self, at: Ptr, len: u32) -> Result<&mut [u8], Stop> {
        self.memory.get_mut(range(at, len)?).ok_or(Stop::Errno(Errno::Fault))
    }

    /// Copies a guest's path out, for a fee. One that is too long is not copied: it may
    /// be as long as the guest's memory.
    fn path(&mut self, at: Ptr, len: u32) -> Result<Vec<u8>, Stop> {
        self.pay(u64::from(len))?;
        let path = self.slice(at, len)?;
        if path.len() > MAX_PATH_BYTES {
            return Err(Errno::NameTooLong.into());
        }
        Ok(path.to_vec())
    }

    /// Copies bytes in, for a fee.
    fn put(&mut self, at: Ptr, bytes: &[u8]) -> Done {
        self.pay(bytes.len() as u64)?;
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.slice_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    fn put_u32(&mut self, at: Ptr, value: u32) -> Done {
        self.slice_mut(at, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn put_u64(&mut self, at: Ptr, value: u64) -> Done {
        self.slice_mut(at, 8)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn u32_at(&self, at: Ptr) -> Result<u32, Stop> {
        let bytes = self.slice(at, 4)?.try_into().map_err(|_| Errno::Fault)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64_at(&self, at: Ptr) -> Result<u64, Stop> {
        let bytes = self.slice(at, 8)?.try_into().map_err(|_| Errno::Fault)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The pieces of a scatter or gather list, each checked, and their sum.
    fn pieces(&mut self, list: Ptr, count: u32) -> Result<(Vec<(Ptr, u32)>, u32), Stop> {
        if count > MAX_IOVECS {
            return Err(Errno::Inval.into());
        }
        self.pay(u64::from(count).saturating_mul(8))?;
        let mut pieces = Vec::new();
        let mut total = 0u32;
        for i in 0..count {
            let at = offset(list, i, 8)?;
            let (ptr, len) = (self.u32_at(at)?, self.u32_at(offset(at, 1, 4)?)?);
            self.slice(ptr, len)?;
            total = total.checked_add(len).ok_or(Errno::Inval)?;
            pieces.push((ptr, len));
        }
        Ok((pieces, total))
    }
}

/// `base + i * size`, or a fault.
fn offset(base: Ptr, i: u32, size: u32) -> Result<Ptr, Stop> {
    i.checked_mul(size).and_then(|skip| base.checked_add(skip)).ok_or(Stop::Errno(Errno::Fault))
}

fn range(at: Ptr, len: u32) -> Result<std::ops::Range<usize>, Stop> {
    let start = usize::try_from(at).map_err(|_| Errno::Fault)?;
    let len = usize::try_from(len).map_err(|_| Errno::Fault)?;
    let end = start.checked_add(len).ok_or(Errno::Fault)?;
    Ok(start..end)
}

/// Runs one call: fee, fuel, memory, errno.
fn host(
    mut caller: Caller<'_, World>,
    abi: Abi,
    name: &str,
    body: impl FnOnce(&mut Call<'_>) -> Done,
) -> wasmtime::Result<i32> {
    let before = caller.get_fuel()?;
    let Some(left) = before.checked_sub(HOST_CALL_FUEL) else {
        caller.set_fuel(0)?;
        return Err(Trap::OutOfFuel.into());
    };
    if caller.data().level == Level::Compute && !COMPUTE.contains(&name) {
        caller.set_fuel(left)?;
        return Ok(i32::from(Errno::NotCapable.code()));
    }
    let memory = match caller.data().memory {
        Some(memory) => Some(memory),
        None => {
            let found = caller.get_export("memory").and_then(wasmtime::Extern::into_memory);
            caller.data_mut().memory = found;
            found
        }
    };
    let (memory, world) = match memory {
        Some(memory) => memory.data_and_store_mut(&mut caller),
        // Every pointer of a guest without a memory is out of bounds.
        None => (&mut [][..], caller.data_mut()),
    };
    world.burned = world.max_fuel.saturating_sub(left);
    if world.burned.saturating_sub(world.looked) >= SLICE_FUEL {
        world.looked = world.burned;
        world.patience.as_ref().map_or(Ok(()), Patience::check)?;
    }
    let mut call = Call { abi, memory, world, fuel: left };
    let done = body(&mut call);
    let work = call.world.fs.take_work();
    let left = call.fuel.checked_sub(work);
    let (left, done) = match (left, done) {
        (Some(left), Ok(())) => (left, Ok(0)),
        (Some(left), Err(Stop::Errno(errno))) => (left, Ok(i32::from(errno.code()))),
        (None, _) | (_, Err(Stop::OutOfFuel)) => (0, Err(Trap::OutOfFuel.into())),
    };
    caller.set_fuel(left)?;
    done
}

/// Defines every function of every interface in a linker. A guest may import from
/// both: each call then has the layouts of the interface that it was imported from.
pub(crate) fn link(linker: &mut Linker<World>) -> wasmtime::Result<()> {
    Abi::ALL.into_iter().try_for_each(|abi| link_one(linker, abi))
}

fn link_one(linker: &mut Linker<World>, abi: Abi) -> wasmtime::Result<()> {
    macro_rules! define {
        ($($home:ident::$name:ident($($arg:ident: $ty:ty),*);)*) => {$(
            if abi.has(stringify!($name)) {
                linker.func_wrap(
                    abi.module(),
                    stringify!($name),
                    move |caller: Caller<'_, World>, $($arg: $ty),*| -> wasmtime::Result<i32> {
                        host(caller, abi, stringify!($name), |call| $home::$name(call, $($arg),*))
                    },
                )?;
            }
        )*};
    }
    define! {
        process::args_get(argv: u32, buf: u32);
        process::args_sizes_get(count: u32, size: u32);
        process::environ_get(environ: u32, buf: u32);
        process::environ_sizes_get(count: u32, size: u32);
        process::clock_res_get(id: u32, out: u32);
        process::clock_time_get(id: u32, precision: u64, out: u32);
        process::poll_oneoff(subs: u32, events: u32, count: u32, out: u32);
        process::proc_raise(signal: u32);
        process::random_get(buf: u32, len: u32);
        process::sched_yield();
        process::sock_accept(fd: u32, flags: u32, out: u32);
        process::sock_recv(fd: u32, list: u32, count: u32, flags: u32, out: u32, out_flags: u32);
        process::sock_send(fd: u32, list: u32, count: u32, flags: u32, out: u32);
        process::sock_shutdown(fd: u32, how: u32);
        descriptors::fd_close(fd: u32);
        descriptors::fd_fdstat_get(fd: u32, out: u32);
        descriptors::fd_fdstat_set_flags(fd: u32, flags: u32);
        descriptors::fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        descriptors::fd_filestat_get(fd: u32, out: u32);
        descriptors::fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, flags: u32);
        descriptors::fd_prestat_get(fd: u32, out: u32);
        descriptors::fd_prestat_dir_name(fd: u32, buf: u32, len: u32);
        descriptors::fd_renumber(fd: u32, to: u32);
        files::fd_advise(fd: u32, at: u64, len: u64, advice: u32);
        files::fd_allocate(fd: u32, at: u64, len: u64);
        files::fd_datasync(fd: u32);
        files::fd_sync(fd: u32);
        files::fd_filestat_set_size(fd: u32, size: u64);
        files::fd_pread(fd: u32, list: u32, count: u32, at: u64, out: u32);
        files::fd_pwrite(fd: u32, list: u32, count: u32, at: u64, out: u32);
        files::fd_read(fd: u32, list: u32, count: u32, out: u32);
        files::fd_readdir(fd: u32, buf: u32, len: u32, cookie: u64, out: u32);
        files::fd_seek(fd: u32, by: i64, whence: u32, out: u32);
        files::fd_tell(fd: u32, out: u32);
        files::fd_write(fd: u32, list: u32, count: u32, out: u32);
        paths::path_create_directory(fd: u32, path: u32, len: u32);
        paths::path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, out: u32);
        paths::path_filestat_set_times(fd: u32, flags: u32, path: u32, len: u32, atim: u64, mtim: u64, fst: u32);
        paths::path_link(fd: u32, flags: u32, path: u32, len: u32, to: u32, to_path: u32, to_len: u32);
        paths::path_open(
            fd: u32, lookup: u32, path: u32, len: u32, oflags: u32,
            base: u64, inheriting: u64, flags: u32, out: u32
        );
        paths::path_readlink(fd: u32, path: u32, len: u32, buf: u32, buf_len: u32, out: u32);
        paths::path_remove_directory(fd: u32, path: u32, len: u32);
        paths::path_rename(fd: u32, path: u32, len: u32, to: u32, to_path: u32, to_len: u32);
        paths::path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
        paths::path_unlink_file(fd: u32, path: u32, len: u32);
    }
    linker.func_wrap(
        abi.module(),
        "proc_exit",
        |mut caller: Caller<'_, World>, code: u32| -> wasmtime::Result<()> {
            let left = caller.get_fuel()?.saturating_sub(HOST_CALL_FUEL);
            caller.set_fuel(left)?;
            match caller.data().level {
                Level::Command => Err(Exit { code }.into()),
                Level::Compute => Err(Forbidden.into()),
            }
        },
    )?;
    Ok(())
}
