//! The file layer: SQLite's own, with a look at everything that changes a file.

use crate::{Change, Fault, is_watched, meets};
use rusqlite::ffi::{
    self, SQLITE_CANTOPEN, SQLITE_FULL, SQLITE_IOERR_DELETE, SQLITE_IOERR_FSYNC, SQLITE_IOERR_TRUNCATE,
    SQLITE_IOERR_WRITE, SQLITE_MISUSE, SQLITE_OK, sqlite3_file, sqlite3_io_methods, sqlite3_vfs,
};
use std::{
    ffi::{CStr, c_char, c_int, c_void},
    io,
    path::{Path, PathBuf},
    ptr,
    sync::OnceLock,
};

/// Calls the real layer's method on its part of the file.
macro_rules! forward {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let file = inner($file);
        // SAFETY: The real layer opened its part of the file, so its methods are set.
        unsafe {
            match (*(*file).pMethods).$method {
                Some(method) => method(file $(, $argument)*),
                None => SQLITE_MISUSE,
            }
        }
    }};
}

/// SQLite's own layer, which does all the work.
struct Real(*mut sqlite3_vfs);

// SAFETY: SQLite's layers are made to be called from any thread.
unsafe impl Send for Real {}
// SAFETY: As above.
unsafe impl Sync for Real {}

static REAL: OnceLock<Option<Real>> = OnceLock::new();

/// What SQLite holds of an open file. The real layer's part follows behind it.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// The folder and the name, when the folder is watched; made by `Box`.
    place: *mut Place,
}

struct Place {
    dir: PathBuf,
    name: String,
}

const OWN: usize = size_of::<File>().next_multiple_of(16);

/// Makes this layer SQLite's default one, once.
pub(crate) fn install() -> io::Result<()> {
    let real = REAL.get_or_init(|| {
        // SAFETY: A null name asks for the default layer, which lives as long as the process.
        let real = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        if real.is_null() {
            return None;
        }
        // SAFETY: SQLite answered a layer, and a layer is plain data and functions.
        let mut own = unsafe { ptr::read(real) };
        own.szOsFile = own.szOsFile.saturating_add(c_int::try_from(OWN).unwrap_or(c_int::MAX));
        own.zName = c"symbolon-disk".as_ptr();
        own.pNext = ptr::null_mut();
        own.xOpen = Some(open);
        own.xDelete = Some(delete);
        // SAFETY: The layer is never freed, and all its functions are set.
        let taken = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(own)), 1) };
        (taken == SQLITE_OK).then_some(Real(real))
    });
    if real.is_some() { Ok(()) } else { Err(io::Error::other("SQLite takes no file layer")) }
}

fn real() -> Option<*mut sqlite3_vfs> {
    REAL.get()?.as_ref().map(|real| real.0)
}

/// Folder and name of a file in a watched folder. Memory that SQLite shares
/// between connections is no file that a crash could leave.
///
/// # Safety
/// `name` is null or a C string.
unsafe fn place_of(name: *const c_char) -> Option<Place> {
    if name.is_null() {
        return None;
    }
    // SAFETY: As the caller says.
    let name = unsafe { CStr::from_ptr(name) }.to_str().ok()?;
    let path = Path::new(name);
    let dir = path.parent()?.to_owned();
    let name = path.file_name()?.to_str()?.to_owned();
    is_watched(&dir).then_some(Place { dir, name })
}

unsafe extern "C" fn open(
    _vfs: *mut sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let Some(real) = real() else { return SQLITE_CANTOPEN };
    let own = file.cast::<File>();
    // SAFETY: SQLite gives `szOsFile` bytes for the file, which hold ours and the real layer's.
    unsafe {
        (*own).base.pMethods = ptr::null();
        (*own).place = ptr::null_mut();
    }
    // SAFETY: SQLite passes a C string or null.
    let place = unsafe { place_of(name) };
    let is_new = place.as_ref().is_some_and(|place| !place.dir.join(&place.name).exists());
    if is_new && let Some(place) = &place {
        match meets(&place.dir, Change::Created { file: place.name.clone() }) {
            Some(Fault::Full | Fault::Broken) => return SQLITE_CANTOPEN,
            None => {}
        }
    }
    // SAFETY: The real layer is alive, and its part of the file is its own.
    let opened = unsafe {
        match (*real).xOpen {
            Some(open) => open(real, name, inner(file), flags, out_flags),
            None => SQLITE_MISUSE,
        }
    };
    if opened == SQLITE_OK {
        // SAFETY: Ours, as above.
        unsafe {
            (*own).place = place.map_or(ptr::null_mut(), |place| Box::into_raw(Box::new(place)));
            (*own).base.pMethods = &METHODS;
        }
    }
    opened
}

unsafe extern "C" fn delete(_vfs: *mut sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    let Some(real) = real() else { return SQLITE_MISUSE };
    // SAFETY: SQLite passes a C string.
    if let Some(place) = unsafe { place_of(name) }
        && meets(&place.dir, Change::Deleted { file: place.name.clone() }).is_some()
    {
        return SQLITE_IOERR_DELETE;
    }
    // SAFETY: The real layer is alive; the arguments are SQLite's own.
    unsafe {
        match (*real).xDelete {
            Some(delete) => delete(real, name, sync_dir),
            None => SQLITE_MISUSE,
        }
    }
}

/// The real layer's part of a file.
fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    file.cast::<u8>().wrapping_add(OWN).cast()
}

/// What happens to a change of an open file: the error it ends with, if it fails.
fn change(file: *mut sqlite3_file, failed: c_int, make: impl FnOnce(String) -> Change) -> Option<c_int> {
    // SAFETY: SQLite calls methods with files that `open` has filled in and nobody has closed.
    let place = unsafe { (*file.cast::<File>()).place.as_ref() }?;
    Some(match meets(&place.dir, make(place.name.clone()))? {
        Fault::Full => SQLITE_FULL,
        Fault::Broken => failed,
    })
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `place` came from a `Box` and is taken back once: SQLite closes a file once.
    unsafe {
        let place = ptr::replace(&raw mut (*file.cast::<File>()).place, ptr::null_mut());
        if !place.is_null() {
            drop(Box::from_raw(place));
        }
    }
    forward!(file, xClose)
}

unsafe extern "C" fn write(file: *mut sqlite3_file, bytes: *const c_void, length: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite passes `length` readable bytes.
    let said = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), usize::try_from(length).unwrap_or_default()) };
    let written =
        |name| Change::Written { file: name, offset: u64::try_from(offset).unwrap_or_default(), bytes: said.to_vec() };
    match change(file, SQLITE_IOERR_WRITE, written) {
        Some(error) => error,
        None => forward!(file, xWrite, bytes, length, offset),
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: i64) -> c_int {
    let cut = |name| Change::Truncated { file: name, length: u64::try_from(length).unwrap_or_default() };
    match change(file, SQLITE_IOERR_TRUNCATE, cut) {
        Some(error) => error,
        None => forward!(file, xTruncate, length),
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    match change(file, SQLITE_IOERR_FSYNC, |name| Change::Synced { file: name }) {
        Some(error) => error,
        None => forward!(file, xSync, flags),
    }
}

/// A method that only passes the call on.
macro_rules! passed {
    ($($name:ident = $method:ident ($($argument:ident : $kind:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $kind)*) -> c_int {
            forward!(file, $method $(, $argument)*)
        }
    )*};
}

passed! {
    read = xRead(bytes: *mut c_void, length: c_int, offset: i64);
    file_size = xFileSize(size: *mut i64);
    lock = xLock(level: c_int);
    unlock = xUnlock(level: c_int);
    check_lock = xCheckReservedLock(answer: *mut c_int);
    control = xFileControl(what: c_int, with: *mut c_void);
    sector_size = xSectorSize();
    characteristics = xDeviceCharacteristics();
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int);
    shm_unmap = xShmUnmap(delete: c_int);
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    let file = inner(file);
    // SAFETY: As in `forward`.
    unsafe {
        if let Some(barrier) = (*(*file).pMethods).xShmBarrier {
            barrier(file);
        }
    }
}

/// Without mapped files, which version 3 adds: every write is seen.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_lock),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
