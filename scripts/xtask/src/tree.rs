//! The tree's own text files, in memory.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Folders that are generated or fetched, wherever they lie.
const SKIPPED: [&str; 5] = [".git", ".symbolon", "node_modules", "target", "proptest-regressions"];
/// The same, by their path from the root.
const SKIPPED_PATHS: [&str; 4] = ["contracts/out", "contracts/cache", "out", "tests/guests/packages"];
/// Files above this are data.
const MAX_BYTES: u64 = 4 << 20;

/// Text files by their path from the root, with `/` between the parts.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads everything under `root` that is UTF-8 and neither generated nor fetched.
    ///
    /// # Errors
    /// When a folder or file cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.folder(root, "")?;
        Ok(tree)
    }

    /// A tree of these files.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { files: files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect() }
    }

    /// All files, ascending by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The files whose name ends in `.extension`.
    pub fn with_extension<'a>(&'a self, extension: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files().filter(move |(path, _)| path.rsplit_once('.').is_some_and(|(_, end)| end == extension))
    }

    /// One file's text.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            // A name that is not UTF-8 is not ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !SKIPPED.contains(&name.as_str()) && !SKIPPED_PATHS.contains(&path.as_str()) {
                    self.folder(&entry.path(), &path)?;
                }
            } else if kind.is_file() && entry.metadata()?.len() <= MAX_BYTES {
                let bytes = fs::read(entry.path()).with_context(|| path.clone())?;
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.insert(path, text);
                }
            }
        }
        Ok(())
    }
}
