//! A node's own copies of content: plain files named by reference, served in
//! chunks to whoever has a right to them.
//!
//! A file is written whole under another name, synced and renamed, so that a
//! reference is either there with its bytes or not there. The chunk index of a
//! tree is rebuilt from its bytes, and only from bytes that give its reference.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use symbolon_content::{CHUNK_SIZE, Chunk, split};
use symbolon_primitives::ContentRef;

/// Where a node's content lies in its data folder.
pub const CONTENT_DIR: &str = "content";

/// Most trees whose index stays in memory; the rest is indexed again when asked for.
const MAX_INDEXED: usize = 256;

/// A folder of content.
#[derive(Debug)]
pub struct ContentStore {
    dir: PathBuf,
    trees: Mutex<BTreeMap<ContentRef, Arc<Tree>>>,
}

#[derive(Debug, Default)]
struct Tree {
    /// Leaves by address: where they start in the file.
    leaves: BTreeMap<ContentRef, u64>,
    /// Stored chunks above the leaves.
    inner: BTreeMap<ContentRef, Vec<u8>>,
    len: u64,
}

impl Tree {
    fn of(bytes: &[u8]) -> (ContentRef, Self) {
        let mut tree = Self::default();
        let root = split(bytes, |chunk: &Chunk<'_>| -> Result<(), Infallible> {
            if chunk.span > CHUNK_SIZE as u64 {
                tree.inner.insert(chunk.address, chunk.stored());
            } else {
                tree.leaves.insert(chunk.address, tree.len);
                tree.len = tree.len.saturating_add(chunk.span);
            }
            Ok(())
        });
        match root {
            Ok(root) => (root.reference, tree),
        }
    }
}

impl ContentStore {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), trees: Mutex::default() })
    }

    fn path(&self, reference: ContentRef) -> PathBuf {
        self.dir.join(reference.to_string())
    }

    /// Stores the bytes and answers their reference.
    ///
    /// # Errors
    /// The file system's.
    pub fn put(&self, bytes: &[u8]) -> io::Result<ContentRef> {
        let (reference, tree) = Tree::of(bytes);
        let path = self.path(reference);
        if !path.exists() {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|e| e.error)?;
        }
        self.remember(reference, Arc::new(tree));
        Ok(reference)
    }

    /// Whether the content is here.
    #[must_use]
    pub fn has(&self, reference: ContentRef) -> bool {
        self.path(reference).exists()
    }

    /// The bytes of a reference, checked against it.
    ///
    /// # Errors
    /// The file system's; a file that does not give its reference is [`io::ErrorKind::InvalidData`].
    pub fn get(&self, reference: ContentRef) -> io::Result<Vec<u8>> {
        let bytes = fs::read(self.path(reference))?;
        if symbolon_content::reference(&bytes) != reference {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "stored content does not match its reference"));
        }
        Ok(bytes)
    }

    /// One stored chunk of the tree at `root`; nothing when the tree has no such chunk.
    ///
    /// # Errors
    /// The file system's, as in [`ContentStore::get`].
    pub fn chunk(&self, root: ContentRef, address: ContentRef) -> io::Result<Option<Vec<u8>>> {
        let tree = self.tree(root)?;
        if let Some(stored) = tree.inner.get(&address) {
            return Ok(Some(stored.clone()));
        }
        let Some(&start) = tree.leaves.get(&address) else { return Ok(None) };
        let size = tree.len.saturating_sub(start).min(CHUNK_SIZE as u64);
        let mut file = fs::File::open(self.path(root))?;
        file.seek(SeekFrom::Start(start))?;
        let mut stored = size.to_le_bytes().to_vec();
        file.take(size).read_to_end(&mut stored)?;
        Ok(Some(stored))
    }

    fn tree(&self, root: ContentRef) -> io::Result<Arc<Tree>> {
        if let Some(tree) = self.trees.lock().unwrap_or_else(PoisonError::into_inner).get(&root) {
            return Ok(Arc::clone(tree));
        }
        let (reference, tree) = Tree::of(&fs::read(self.path(root))?);
        if reference != root {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "stored content does not match its reference"));
        }
        let tree = Arc::new(tree);
        self.remember(root, Arc::clone(&tree));
        Ok(tree)
    }

    fn remember(&self, root: ContentRef, tree: Arc<Tree>) {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        while trees.len() >= MAX_INDEXED {
            trees.pop_first();
        }
        trees.insert(root, tree);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use symbolon_content::Joiner;

    fn join_from(store: &ContentStore, root: ContentRef) -> Vec<u8> {
        let mut joiner = Joiner::new(root, 10 << 20, 64);
        let mut bytes = Vec::new();
        while !joiner.is_complete() {
            for address in joiner.wanted(16) {
                joiner.supply(&address, &store.chunk(root, address).unwrap().unwrap()).unwrap();
            }
            while let Some(part) = joiner.take() {
                bytes.extend(part);
            }
        }
        bytes
    }

    #[test]
    fn what_is_stored_is_served_in_chunks_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0_usize, 1, 4095, 4096, 4097, 4096 * 128, 4096 * 129 + 5] {
            let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let root = ContentStore::open(dir.path()).unwrap().put(&bytes).unwrap();
            let again = ContentStore::open(dir.path()).unwrap();
            assert!(again.has(root));
            assert_eq!(join_from(&again, root), bytes);
            assert_eq!(again.get(root).unwrap(), bytes);
            assert_eq!(again.chunk(root, ContentRef::from_bytes([9; 32])).unwrap(), None);
        }
    }

    #[test]
    fn a_corrupted_file_is_neither_read_nor_served() {
        let dir = tempfile::tempdir().unwrap();
        let root = ContentStore::open(dir.path()).unwrap().put(b"sound bytes").unwrap();
        fs::write(dir.path().join(root.to_string()), b"rotten byte").unwrap();
        let store = ContentStore::open(dir.path()).unwrap();
        assert_eq!(store.get(root).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(store.chunk(root, root).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
