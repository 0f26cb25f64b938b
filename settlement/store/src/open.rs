//! Opening: taking the folder, checking the file, and what is done with a file
//! that cannot be used as it is.

use crate::{
    StoreError,
    lock::{FolderLock, Held},
    rescue, schema,
    store::{Checked, StoreOptions},
    view::{int, rotten_rows},
};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::{
    fs::{self, DirBuilder, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// The name of the database in the data folder.
pub(crate) const FILE: &str = "symbolon.db";
/// Its write-ahead log.
const LOG: &str = "symbolon.db-wal";
/// A folder in memory, where the system has one.
const MEMORY: &str = "/dev/shm";

/// How long a statement waits for a reader.
const BUSY: Duration = Duration::from_secs(5);
/// More than there are statements in this crate: each is parsed once.
const STATEMENTS: usize = 64;
/// Steps of SQLite between two looks at the clock.
const STEPS: i32 = 1_000;

/// An opened file.
pub(crate) struct Opened {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) lock: FolderLock,
    pub(crate) checked: Checked,
    pub(crate) closed_by: Option<StoreError>,
    pub(crate) stand_in: Option<tempfile::TempDir>,
}

pub(crate) fn open(dir: &Path, options: StoreOptions) -> Result<Opened, StoreError> {
    make_private_dir(dir).map_err(|source| folder(dir, source))?;
    let path = dir.join(FILE);
    let lock = match FolderLock::take(dir)? {
        Held::Writable(lock) => lock,
        Held::WriteProtected(lock) => return stand_in(dir, lock, StoreError::WriteProtected { path: dir.to_owned() }),
    };
    let has_bytes = fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    match in_place(dir, &path, options) {
        Ok((conn, checked)) => Ok(Opened { conn, path, lock, checked, closed_by: None, stand_in: None }),
        Err(StoreError::Disk(error)) if is_write_protected(&error) && path.exists() => {
            stand_in(dir, lock, StoreError::WriteProtected { path })
        }
        Err(StoreError::Disk(error)) if is_damage(&error) => {
            let finding = error.to_string();
            stand_in(dir, lock, StoreError::Damaged { finding })
        }
        Err(damaged @ StoreError::Damaged { .. }) => stand_in(dir, lock, damaged),
        // Full, or failing, before anything could be read: what is there may read all the same.
        Err(failed @ StoreError::Disk(_)) if has_bytes => stand_in(dir, lock, failed),
        Err(error) => Err(error),
    }
}

/// The ordinary way.
fn in_place(dir: &Path, path: &Path, options: StoreOptions) -> Result<(Connection, Checked), StoreError> {
    let mut conn = writer(path)?;
    if conn.is_readonly("main")? {
        return Err(
            rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY), None).into()
        );
    }
    let checked = check(&mut conn, options.check_within)?;
    schema::migrate(&mut conn)?;
    if let Some(max_bytes) = options.max_bytes {
        let page_bytes: i64 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = int("a size", max_bytes)?.checked_div(page_bytes).unwrap_or(i64::MAX);
        conn.execute_batch(&format!("PRAGMA max_page_count = {pages}"))?;
    }
    // The names of new files are durable only when their folder is.
    sync_dir(dir).map_err(|source| folder(dir, source))?;
    Ok((conn, checked))
}

/// A folder in `parent` with a copy of the store's files.
fn copied(dir: &Path, parent: &Path) -> Result<tempfile::TempDir, StoreError> {
    let place = tempfile::Builder::new().prefix("symbolon-stand-in-").tempdir_in(parent);
    let place = place.map_err(|source| folder(parent, source))?;
    for name in [FILE, LOG] {
        let copy = place.path().join(name);
        match fs::copy(dir.join(name), &copy) {
            // A copied file is as protected as the original.
            Ok(_) => make_writable(&copy).map_err(|source| folder(place.path(), source))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && name == LOG => {}
            Err(source) => return Err(folder(&copy, source)),
        }
    }
    Ok(place)
}

/// A copy elsewhere of whatever can be read, for looking at only.
fn stand_in(dir: &Path, lock: FolderLock, why: StoreError) -> Result<Opened, StoreError> {
    // The usual place may lie on the same full disk: memory does not.
    let place =
        copied(dir, &std::env::temp_dir()).or_else(|error| copied(dir, Path::new(MEMORY)).map_err(|_| error))?;
    let path = match &why {
        StoreError::Damaged { finding } => rescue::rescue(&place.path().join(FILE), place.path()).map_err(|error| {
            StoreError::Damaged { finding: format!("{finding}; nothing of it can be read: {error}") }
        })?,
        _ => {
            let path = place.path().join(FILE);
            let mut conn = writer(&path)?;
            check(&mut conn, Duration::MAX)?;
            schema::migrate(&mut conn)?;
            path
        }
    };
    let conn = reader(&path)?;
    Ok(Opened { conn, path, lock, checked: Checked::Whole, closed_by: Some(why), stand_in: Some(place) })
}

/// A connection that writes, each commit synced. Its page cache (16 MiB) holds what a whole group changes: what does
/// not fit is written before the commit and read again.
pub(crate) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA cache_size = -16384;
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;",
    )?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(conn)
}

/// SQLite's own check, table by table, what signatures depend on first, and then
/// every row's sum.
fn check(conn: &mut Connection, within: Duration) -> Result<Checked, StoreError> {
    let schema = schema::recognise(conn)?;
    let until = Instant::now().checked_add(within);
    conn.progress_handler(STEPS, Some(move || until.is_some_and(|until| Instant::now() >= until)))?;
    let outcome = check_tables(conn).and_then(|()| if schema < schema::SUMS { Ok(()) } else { check_sums(conn) });
    conn.progress_handler(0, None::<fn() -> bool>)?;
    match outcome {
        Ok(()) => Ok(Checked::Whole),
        Err(StoreError::Sql(error)) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Checked::Partly)
        }
        Err(error) => Err(error),
    }
}

fn check_tables(conn: &Connection) -> Result<(), StoreError> {
    const FIRST: [&str; 5] = ["restores", "cleared_epochs", "best_vouchers", "vouchers", "tx_intents"];
    let mut tables: Vec<String> = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    tables.sort_by_key(|table| FIRST.iter().position(|first| first == table).unwrap_or(FIRST.len()));
    for table in tables {
        let finding: String = conn.query_row(&format!("PRAGMA quick_check(\"{table}\")"), [], |row| row.get(0))?;
        if finding != "ok" {
            return Err(StoreError::Damaged { finding });
        }
    }
    Ok(())
}

fn check_sums(conn: &Connection) -> Result<(), StoreError> {
    let mut rotten = 0_usize;
    rotten_rows(conn, |_, _| {
        rotten = rotten.saturating_add(1);
        Ok(())
    })?;
    if rotten == 0 { Ok(()) } else { Err(StoreError::Damaged { finding: format!("{rotten} rows have changed") }) }
}

fn is_write_protected(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

pub(crate) fn folder(path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { path: path.to_owned(), source: Arc::new(source) }
}

pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

fn make_writable(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    #[cfg(unix)]
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    #[cfg(not(unix))]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions)
}

/// Makes the names of files in `dir` durable, where the system has a way.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
