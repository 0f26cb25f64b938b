//! A look at a data folder that a node may be using: reads, and nothing else.

use crate::{SCHEMA_VERSION, StoreError, View, faults::Faults, open::FILE, schema};
use rusqlite::{Connection, OpenFlags};
use std::{io, path::Path, sync::Arc, time::Duration};

/// An open look. Takes no lock and stops nobody: what it reads may be old a moment later, but each read is of one
/// durable state. Never a ground for signing.
#[derive(Debug)]
pub struct Look {
    conn: Connection,
    faults: Faults,
}

impl Look {
    /// Opens the store in `dir` to read.
    ///
    /// # Errors
    /// [`StoreError::Folder`] when there is none, [`StoreError::SchemaTooNew`] and [`StoreError::SchemaTooOld`] for
    /// one that another version of this program wrote, [`StoreError::ForeignDatabase`], and errors of the disk.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let missing = |source: io::Error| StoreError::Folder { path: path.clone(), source: Arc::new(source) };
        std::fs::metadata(&path).map_err(missing)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        match schema::recognise(&conn)? {
            SCHEMA_VERSION => Ok(Self { conn, faults: Faults::default() }),
            have => Err(StoreError::SchemaTooOld { have, needed: SCHEMA_VERSION }),
        }
    }

    /// What is durable.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { conn: &self.conn, faults: &self.faults }
    }

    /// The first thing SQLite's own check finds wrong with the file, if any. Reads all of it.
    ///
    /// # Errors
    /// [`StoreError`] when the check cannot be made.
    pub fn damage(&self) -> Result<Option<String>, StoreError> {
        let finding: String = self.conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((finding != "ok").then_some(finding))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Store, Write};

    #[test]
    fn n9_a_look_takes_no_lock_and_sees_what_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Look::open(dir.path()), Err(StoreError::Folder { .. })));
        let mut store = Store::open(dir.path()).unwrap();
        store.write(&[Write::put("k", [1], [2])]).unwrap();
        let look = Look::open(dir.path()).unwrap();
        assert_eq!(look.view().record("k", &[1]).unwrap(), Some(vec![2]));
        store.write(&[Write::put("k", [1], [3])]).unwrap();
        assert_eq!(look.view().record("k", &[1]).unwrap(), Some(vec![3]));
        assert_eq!(look.damage().unwrap(), None);
        drop(store);
        assert_eq!(look.view().record("k", &[1]).unwrap(), Some(vec![3]));
    }

    #[test]
    fn n13_a_look_refuses_other_schemas_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let path = dir.path().join(FILE);
        for (version, newer) in [(99, true), (1, false)] {
            Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
            let error = Look::open(dir.path()).unwrap_err();
            assert_eq!(matches!(error, StoreError::SchemaTooNew { .. }), newer, "{error}");
            assert_eq!(matches!(error, StoreError::SchemaTooOld { .. }), !newer, "{error}");
        }
        let foreign = tempfile::tempdir().unwrap();
        Connection::open(foreign.path().join(FILE)).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert!(matches!(Look::open(foreign.path()), Err(StoreError::ForeignDatabase { application_id: 0 })));
    }
}
