//! One process for a data folder (N9).

use crate::{StoreError, open};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

const FILE: &str = "symbolon.lock";

/// Held for as long as the value lives; the system lets go when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: Option<File>,
}

/// A folder that is ours.
pub(crate) enum Held {
    /// To read and write.
    Writable(FolderLock),
    /// To read: nothing in it can be written.
    WriteProtected(FolderLock),
}

impl FolderLock {
    pub(crate) fn take(dir: &Path) -> Result<Held, StoreError> {
        let path = dir.join(FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if is_write_protected(&error) => return Self::take_to_read(dir),
            Err(source) => return Err(open::folder(&path, source)),
        };
        hold(dir, &mut file)?;
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(std::process::id().to_string().as_bytes())?;
            file.sync_all()
        };
        // On a full disk the name of the holder is all that is missing.
        match write(&mut file) {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(open::folder(&path, error)),
            _ => Ok(Held::Writable(Self { _file: Some(file) })),
        }
    }

    fn take_to_read(dir: &Path) -> Result<Held, StoreError> {
        let path = dir.join(FILE);
        match File::open(&path) {
            Ok(mut file) => {
                hold(dir, &mut file)?;
                Ok(Held::WriteProtected(Self { _file: Some(file) }))
            }
            // Whoever could write here would have made the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Held::WriteProtected(Self { _file: None })),
            Err(source) => Err(open::folder(&path, source)),
        }
    }
}

fn hold(dir: &Path, file: &mut File) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            // The holder may be between locking and writing its id.
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            Err(StoreError::Locked { path: dir.to_owned(), pid })
        }
        Err(TryLockError::Error(source)) => Err(open::folder(&dir.join(FILE), source)),
    }
}

fn is_write_protected(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}
