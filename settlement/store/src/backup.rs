//! A copy of a node's state in one file, and a store made from it.
//!
//! A backup is older than what its node went on to sign. So a restored store
//! is another generation, which promises nothing as payer until the chain has
//! shown that nothing unknown can be outstanding ([`crate::Write::ClearEpoch`]),
//! and sends no transaction that it had under way: the one that was mined may
//! be a replacement it never heard of. What it holds as payee is as good as ever.
//!
//! The file: a magic line; for each part the length of its name (2 bytes), the
//! name, its length (8 bytes), its bytes; an empty name; and 32 bytes that
//! chain keccak256 over blocks of 1 MiB of everything before.

use crate::{
    Store, StoreError, StoreOptions,
    lock::{FolderLock, Held},
    open::{self, FILE},
    schema,
};
use rusqlite::params;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};
use symbolon_primitives::{Timestamp, keccak256};

const MAGIC: &[u8] = b"symbolon backup 1\n";
const BLOCK: usize = 1 << 20;
/// The longest name of a part.
const MAX_NAME: usize = 64;
/// The most parts of a backup, the database included.
const MAX_PARTS: usize = 16;

/// What a backup was made of, or a store from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Size of the database, in bytes.
    pub database_bytes: u64,
    /// The other files.
    pub files: Vec<String>,
}

/// Writes the state of the store in `dir` to the new file `to`, with the files
/// of the folder that `with` names. A node may be running on the folder.
///
/// A damaged store is backed up as far as it can be read.
///
/// # Errors
/// [`StoreError::Occupied`] when `to` exists, [`StoreError::NoStore`] when there
/// is nothing to back up, and errors of the disk.
pub fn backup(dir: &Path, to: &Path, with: &[&str]) -> Result<Contents, StoreError> {
    if to.exists() {
        return Err(StoreError::Occupied { path: to.to_owned() });
    }
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(StoreError::NoStore { path: dir.to_owned() });
    }
    let beside = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let place =
        tempfile::Builder::new().prefix(".symbolon-backup-").tempdir_in(beside).map_err(|e| open::folder(beside, e))?;
    let copy = place.path().join(FILE);
    match copied(&path, &copy) {
        Ok(()) => {}
        Err(error) if error.is_disk() => {
            // Whatever a store that is opened for looking makes of it.
            discard(&copy)?;
            let store = Store::open_with(dir, StoreOptions::default())?;
            vacuum_into(store.conn(), &copy)?;
        }
        Err(error) => return Err(error),
    }
    let sealed = place.path().join("sealed");
    let contents = seal(dir, &copy, &sealed, with)?;
    // Never over a file that appeared meanwhile.
    fs::hard_link(&sealed, to)
        .or_else(|_| if to.exists() { Err(io::ErrorKind::AlreadyExists.into()) } else { fs::rename(&sealed, to) })
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Occupied { path: to.to_owned() },
            _ => open::folder(to, source),
        })?;
    open::sync_dir(beside).map_err(|source| open::folder(beside, source))?;
    Ok(contents)
}

/// A consistent copy of a database that may be in use, checked whole.
fn copied(path: &Path, copy: &Path) -> Result<(), StoreError> {
    let conn = open::reader(path)?;
    schema::recognise(&conn)?;
    vacuum_into(&conn, copy)?;
    let finding: String = open::reader(copy)?.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if finding == "ok" { Ok(()) } else { Err(StoreError::Damaged { finding }) }
}

fn vacuum_into(conn: &rusqlite::Connection, copy: &Path) -> Result<(), StoreError> {
    conn.execute_batch("PRAGMA query_only = OFF")?;
    conn.execute("VACUUM INTO ?1", params![copy.to_string_lossy()])?;
    conn.execute_batch("PRAGMA query_only = ON")?;
    Ok(())
}

fn seal(dir: &Path, database: &Path, to: &Path, with: &[&str]) -> Result<Contents, StoreError> {
    let failed = |source| open::folder(to, source);
    let file = private(to).map_err(failed)?;
    let mut out = Summed::new(BufWriter::new(file));
    out.write(MAGIC).map_err(failed)?;
    let database_bytes = put_part(&mut out, FILE, database)?;
    let mut files = Vec::new();
    for name in with {
        let path = dir.join(name);
        if path.exists() {
            put_part(&mut out, name, &path)?;
            files.push((*name).to_owned());
        }
    }
    out.write(&0_u16.to_be_bytes()).map_err(failed)?;
    let (sum, mut out) = out.finish();
    out.write_all(&sum).map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(Contents { database_bytes, files })
}

fn put_part(out: &mut Summed<impl Write>, name: &str, path: &Path) -> Result<u64, StoreError> {
    let failed = |source| open::folder(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
    out.write(&length.to_be_bytes()).map_err(failed)?;
    out.write(name.as_bytes()).map_err(failed)?;
    out.write(&bytes.to_be_bytes()).map_err(failed)?;
    let mut left = bytes;
    let mut block = vec![0; BLOCK];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let Some(part) = block.get_mut(..most) else { break };
        file.read_exact(part).map_err(failed)?;
        out.write(part).map_err(failed)?;
        left = left.saturating_sub(u64::try_from(most).unwrap_or(left));
    }
    Ok(bytes)
}

/// Makes the store of `dir` from the backup `from`. The folder must have none.
/// `at` is the time now.
///
/// # Errors
/// [`StoreError::Occupied`] when the folder has a store, or a file that the
/// backup brings; [`StoreError::BadBackup`] when the file is none or has
/// changed; [`StoreError::SchemaTooNew`] and errors of the disk. Whatever goes
/// wrong, no store is there afterwards.
///
/// # Safety of funds
/// Never run the restored store beside the one it was made from: both sign with one key.
pub fn restore(from: &Path, dir: &Path, at: Timestamp) -> Result<Contents, StoreError> {
    open::make_private_dir(dir).map_err(|source| open::folder(dir, source))?;
    let Held::Writable(_lock) = FolderLock::take(dir)? else {
        return Err(StoreError::WriteProtected { path: dir.to_owned() });
    };
    // A log without its database would be taken for the new one's.
    for name in [FILE, "symbolon.db-wal", "symbolon.db-shm", "symbolon.db-journal"] {
        if dir.join(name).exists() {
            return Err(StoreError::Occupied { path: dir.join(name) });
        }
    }
    let place =
        tempfile::Builder::new().prefix(".restoring-").tempdir_in(dir).map_err(|source| open::folder(dir, source))?;
    let (contents, parts) = unseal(from, place.path())?;
    for name in parts.iter().filter(|name| *name != FILE) {
        if dir.join(name).exists() {
            return Err(StoreError::Occupied { path: dir.join(name) });
        }
    }
    next_generation(&place.path().join(FILE), at)?;
    // The database last: without it the folder has no store.
    let (database, others): (Vec<&String>, Vec<&String>) = parts.iter().partition(|name| *name == FILE);
    for name in others.into_iter().chain(database) {
        fs::rename(place.path().join(name), dir.join(name)).map_err(|source| open::folder(&dir.join(name), source))?;
    }
    open::sync_dir(dir).map_err(|source| open::folder(dir, source))?;
    Ok(contents)
}

/// Turns a copy into a store that knows that it is one.
fn next_generation(path: &Path, at: Timestamp) -> Result<(), StoreError> {
    let mut conn = open::writer(path)?;
    schema::recognise(&conn)?;
    let finding: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        return Err(StoreError::Damaged { finding });
    }
    schema::migrate(&mut conn)?;
    let at = crate::view::int("a time", at.0)?;
    let tx = conn.transaction()?;
    tx.execute(
        "INSERT INTO restores (generation, restored_at) SELECT coalesce(max(generation), 0) + 1, ?1 FROM restores",
        params![at],
    )?;
    tx.execute("UPDATE tx_intents SET state = 3, nonce = NULL, updated_at = ?1 WHERE state < 2", params![at])?;
    tx.commit()?;
    // One file again, without a log beside it.
    conn.execute_batch("PRAGMA journal_mode = DELETE")?;
    drop(conn);
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| open::folder(path, source))?;
    Ok(())
}

/// Takes a backup apart into `place`, once its sum is right.
fn unseal(from: &Path, place: &Path) -> Result<(Contents, Vec<String>), StoreError> {
    let bad = |why| StoreError::BadBackup { path: from.to_owned(), why };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::UnexpectedEof => bad("it ends too early"),
        _ => open::folder(from, source),
    };
    let mut input = Summing::new(BufReader::new(File::open(from).map_err(failed)?));
    let mut magic = [0; MAGIC.len()];
    input.read(&mut magic).map_err(failed)?;
    if magic != MAGIC {
        return Err(bad("it is no backup of this version"));
    }
    let mut parts: Vec<String> = Vec::new();
    let mut database_bytes = None;
    loop {
        let mut length = [0; 2];
        input.read(&mut length).map_err(failed)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 {
            break;
        }
        if length > MAX_NAME || parts.len() >= MAX_PARTS {
            return Err(bad("it has parts that no backup has"));
        }
        let mut name = vec![0; length];
        input.read(&mut name).map_err(failed)?;
        let name = String::from_utf8(name).map_err(|_| bad("it has parts that no backup has"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
        if !name.chars().all(plain) || name.starts_with('.') || parts.contains(&name) {
            return Err(bad("it has parts that no backup has"));
        }
        let mut bytes = [0; 8];
        input.read(&mut bytes).map_err(failed)?;
        let bytes = u64::from_be_bytes(bytes);
        if name == FILE {
            database_bytes = Some(bytes);
        }
        let path = place.join(&name);
        let mut out = private(&path).map_err(|source| open::folder(&path, source))?;
        let mut left = bytes;
        let mut block = vec![0; BLOCK];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let Some(part) = block.get_mut(..most) else { break };
            input.read(part).map_err(failed)?;
            out.write_all(part).map_err(|source| open::folder(&path, source))?;
            left = left.saturating_sub(u64::try_from(most).unwrap_or(left));
        }
        out.sync_all().map_err(|source| open::folder(&path, source))?;
        parts.push(name);
    }
    let (sum, mut input) = input.finish();
    let mut said = [0; 32];
    input.read_exact(&mut said).map_err(failed)?;
    if said != sum {
        return Err(bad("it has changed since it was made"));
    }
    if input.read(&mut [0]).map_err(failed)? > 0 {
        return Err(bad("something follows its end"));
    }
    let database_bytes = database_bytes.ok_or_else(|| bad("it holds no database"))?;
    let files = parts.iter().filter(|name| *name != FILE).cloned().collect();
    Ok((Contents { database_bytes, files }, parts))
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn discard(path: &PathBuf) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(open::folder(path, error)),
        _ => Ok(()),
    }
}

/// The chain of hashes over blocks.
#[derive(Default)]
struct Chain {
    sum: [u8; 32],
    block: Vec<u8>,
}

impl Chain {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK.saturating_sub(self.block.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.close_block();
            }
        }
    }

    fn close_block(&mut self) {
        self.sum = keccak256(&[self.sum.as_slice(), &self.block].concat());
        self.block.clear();
    }

    fn finish(mut self) -> [u8; 32] {
        self.close_block();
        self.sum
    }
}

struct Summed<W> {
    out: W,
    chain: Chain,
}

impl<W: Write> Summed<W> {
    fn new(out: W) -> Self {
        Self { out, chain: Chain::default() }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.chain.add(bytes);
        self.out.write_all(bytes)
    }

    fn finish(self) -> ([u8; 32], W) {
        (self.chain.finish(), self.out)
    }
}

struct Summing<R> {
    input: R,
    chain: Chain,
}

impl<R: Read> Summing<R> {
    fn new(input: R) -> Self {
        Self { input, chain: Chain::default() }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes)?;
        self.chain.add(bytes);
        Ok(())
    }

    fn finish(self) -> ([u8; 32], R) {
        (self.chain.finish(), self.input)
    }
}
