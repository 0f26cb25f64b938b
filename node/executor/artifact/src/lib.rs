//! Compiled modules as bytes: sealed with a key, kept in a folder, and made code again.
//!
//! Compiled code is machine code. Whoever can slip some into a cache owns the process, and the engine says itself that
//! it cannot tell. So nothing becomes code here that does not carry the seal of a [`Key`] that only this node knows: a
//! file that rotted, was cut, was exchanged for another's, or was written by somebody else is a miss, and is compiled
//! again.
//!
//! **Architecture invariant.** The one crate with `unsafe` in it: one call, in [`Sealed::into_module`]. It knows
//! nothing of profiles, workunits or results.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use wasmtime::{Engine, Module};

/// Bytes of a seal.
const SEAL: usize = 32;
/// Separates this use of a key from any other.
const DOMAIN: &[u8] = b"symbolon compiled module 1";

/// The secret that seals compiled modules. Whoever knows it can run machine code in the node.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// A key from secret bytes.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The secret, to be handed to a compiler process of this program and to nobody else.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    fn mac(&self, name: &[u8; 32], facts: &[u8], code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).ok()?;
        mac.update(DOMAIN);
        mac.update(name);
        mac.update(&u64::try_from(facts.len()).ok()?.to_be_bytes());
        mac.update(facts);
        mac.update(code);
        Some(mac)
    }
}

/// A compiled module that carries its seal: 32 bytes of it, the length of the facts (8, big-endian), the facts, the
/// code. The facts are whatever the caller wants to know of the module without looking at it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    bytes: Vec<u8>,
    facts: std::ops::Range<usize>,
}

impl Sealed {
    /// Seals code that this process has just compiled.
    ///
    /// `name` says of what, for which engine and profile; the same name must be asked for later.
    #[must_use]
    pub fn new(key: &Key, name: &[u8; 32], facts: &[u8], code: &[u8]) -> Option<Self> {
        let seal = key.mac(name, facts, code)?.finalize().into_bytes();
        let len = u64::try_from(facts.len()).ok()?;
        let bytes = [seal.as_slice(), &len.to_be_bytes(), facts, code].concat();
        let start = SEAL.checked_add(8)?;
        Some(Self { bytes, facts: start..start.checked_add(facts.len())? })
    }

    /// Takes bytes for what they claim to be, if the seal is this key's for this name.
    #[must_use]
    pub fn open(key: &Key, name: &[u8; 32], bytes: Vec<u8>) -> Option<Self> {
        let (seal, rest) = bytes.split_at_checked(SEAL)?;
        let (len, rest) = rest.split_at_checked(8)?;
        let len = usize::try_from(u64::from_be_bytes(len.try_into().ok()?)).ok()?;
        let (facts, code) = rest.split_at_checked(len)?;
        // In constant time.
        key.mac(name, facts, code)?.verify_slice(seal).ok()?;
        let start = SEAL.checked_add(8)?;
        let facts = start..start.checked_add(len)?;
        Some(Self { bytes, facts })
    }

    /// The bytes, seal first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was sealed beside the code.
    #[must_use]
    pub fn facts(&self) -> &[u8] {
        self.bytes.get(self.facts.clone()).unwrap_or_default()
    }

    /// Makes the code runnable.
    ///
    /// # Errors
    /// When it was compiled by another version of the engine, with other flags or for another machine.
    #[allow(unsafe_code)]
    pub fn into_module(&self, engine: &Engine) -> wasmtime::Result<Module> {
        let code = self.bytes.get(self.facts.end..).unwrap_or_default();
        // SAFETY: `deserialize` wants bytes that `Engine::precompile_module` made and nobody changed since. A `Sealed`
        // exists only with a seal that this node's key made over them (`new` and `open`), in this process or in a
        // compiler process that it started, and the bytes are private memory of this process, not a mapped file.
        unsafe { Module::deserialize(engine, code) }
    }
}

/// A folder of sealed modules. Files are named by their name in hexadecimal.
#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
    max_bytes: u64,
}

impl Folder {
    /// Opens or makes the folder, which will hold about so many bytes at most.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(dir: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), max_bytes })
    }

    fn path(&self, name: &[u8; 32]) -> PathBuf {
        self.dir.join(name.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// The module of this name, if it is here and carries the key's seal. Anything else under its name is removed.
    #[must_use]
    pub fn get(&self, key: &Key, name: &[u8; 32]) -> Option<Sealed> {
        let path = self.path(name);
        let file = File::open(&path).ok()?;
        let mut bytes = Vec::new();
        let whole = file.take(self.max_bytes.saturating_add(1)).read_to_end(&mut bytes);
        let sealed = whole.ok().and_then(|_| Sealed::open(key, name, bytes));
        if sealed.is_none() {
            let _ = fs::remove_file(&path);
        }
        sealed
    }

    /// Keeps a module: whole and synced under another name first, so that a crash leaves it or nothing. Makes room by
    /// removing what was kept longest ago.
    ///
    /// # Errors
    /// The file system's.
    pub fn put(&self, name: &[u8; 32], sealed: &Sealed) -> io::Result<()> {
        let need = u64::try_from(sealed.bytes.len()).unwrap_or(u64::MAX);
        if need > self.max_bytes {
            return Ok(());
        }
        self.make_room(need)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&sealed.bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.path(name)).map_err(|error| error.error)?;
        Ok(())
    }

    fn make_room(&self, need: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        let mut total = need;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_file() {
                total = total.saturating_add(meta.len());
                kept.push((meta.modified()?, entry.path(), meta.len()));
            }
        }
        kept.sort();
        for (_, path, len) in kept {
            if total <= self.max_bytes {
                break;
            }
            fs::remove_file(path)?;
            total = total.saturating_sub(len);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const NAME: [u8; 32] = [7; 32];

    fn sealed(engine: &Engine, key: &Key) -> Sealed {
        let wasm = wat::parse_str(r#"(module (func (export "seven") (result i32) i32.const 7))"#).unwrap();
        Sealed::new(key, &NAME, b"facts", &engine.precompile_module(&wasm).unwrap()).unwrap()
    }

    fn seven(engine: &Engine, sealed: &Sealed) -> i32 {
        let module = sealed.into_module(engine).unwrap();
        let mut store = wasmtime::Store::new(engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        instance.get_typed_func::<(), i32>(&mut store, "seven").unwrap().call(&mut store, ()).unwrap()
    }

    #[test]
    fn w6_what_was_kept_runs_again_with_its_facts() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, key) = (Engine::default(), Key::new([1; 32]));
        let folder = Folder::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(folder.get(&key, &NAME), None);
        folder.put(&NAME, &sealed(&engine, &key)).unwrap();
        let found = Folder::open(dir.path(), 1 << 20).unwrap().get(&key, &NAME).unwrap();
        assert_eq!((found.facts(), seven(&engine, &found)), (&b"facts"[..], 7));
    }

    #[test]
    fn w6_no_byte_of_a_kept_module_can_be_changed_cut_or_exchanged() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, key) = (Engine::default(), Key::new([1; 32]));
        let folder = Folder::open(dir.path(), 1 << 20).unwrap();
        let good = sealed(&engine, &key);
        let bytes = good.as_bytes();
        let step = (bytes.len() / 300).max(1);
        let mut tried = 0;
        for at in (0..64).chain((64..bytes.len()).step_by(step)) {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1 << (at % 8);
            assert_eq!(Sealed::open(&key, &NAME, bad), None, "byte {at}");
            assert_eq!(Sealed::open(&key, &NAME, bytes[..at].to_vec()), None, "cut at {at}");
            tried += 1;
        }
        assert!(tried > 300);
        assert_eq!(Sealed::open(&key, &NAME, [bytes, b"x"].concat()), None);
        assert_eq!(Sealed::open(&key, &[8; 32], bytes.to_vec()), None);
        assert_eq!(Sealed::open(&Key::new([2; 32]), &NAME, bytes.to_vec()), None);
        // Facts and code cannot trade bytes.
        let mut shifted = bytes.to_vec();
        shifted[SEAL + 7] += 1;
        assert_eq!(Sealed::open(&key, &NAME, shifted), None);

        // Somebody else's file is a miss, and goes.
        let path = folder.path(&NAME);
        for foreign in [sealed(&engine, &Key::new([2; 32])).as_bytes().to_vec(), b"junk".to_vec(), Vec::new()] {
            fs::write(&path, foreign).unwrap();
            assert_eq!(folder.get(&key, &NAME), None);
            assert!(!path.exists());
        }
        assert!(Sealed::open(&key, &NAME, bytes.to_vec()).is_some());
    }

    #[test]
    fn w6_code_of_another_engine_is_refused() {
        let key = Key::new([1; 32]);
        let fuelled = Engine::new(wasmtime::Config::new().consume_fuel(true)).unwrap();
        assert!(sealed(&fuelled, &key).into_module(&Engine::default()).is_err());
    }

    #[test]
    fn n3_the_folder_makes_room_for_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::new([1; 32]);
        let one = Sealed::new(&key, &NAME, b"", &[0; 1000]).unwrap();
        let folder = Folder::open(dir.path(), 2500).unwrap();
        for n in 0..5_u8 {
            folder.put(&[n; 32], &one).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(n) + 1);
            File::options().write(true).open(folder.path(&[n; 32])).unwrap().set_modified(time).unwrap();
        }
        let kept: Vec<u8> = (0..5).filter(|n| folder.path(&[*n; 32]).exists()).collect();
        assert_eq!(kept, [3, 4]);
        let huge = Sealed::new(&key, &NAME, b"", &[0; 3000]).unwrap();
        folder.put(&NAME, &huge).unwrap();
        assert!(!folder.path(&NAME).exists());
    }
}
