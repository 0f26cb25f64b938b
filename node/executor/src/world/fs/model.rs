//! The file system against a model: the same operations on both, the same answers.
//!
//! The model is the slow and plain one. It knows paths instead of inodes, computes
//! quotas from what is there each time instead of keeping count, and follows a path by
//! writing it out. `SYMBOLON_FUZZ_SECONDS` makes the run longer, `SYMBOLON_SEED`
//! repeats one; the seed is printed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

use super::*;
use std::time::{Duration, Instant};

const BYTES: u64 = 64;
const NAMES: u32 = 10;

#[derive(Debug, Clone, PartialEq)]
enum Thing {
    /// A file, by its number in [`Model::files`].
    File(usize),
    Dir,
    /// A symbolic link, by its number, and where it leads.
    Link(u64, String),
}

/// Paths without a leading slash, in the order of their bytes; the top is `""`.
#[derive(Debug, Default)]
struct Model {
    things: BTreeMap<String, Thing>,
    files: Vec<Vec<u8>>,
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// A place: the folder, the name in it (empty for a folder itself), and what is there.
type Place = (String, String, Option<Thing>, bool);

impl Model {
    fn get(&self, path: &str) -> Option<Thing> {
        if path.is_empty() { Some(Thing::Dir) } else { self.things.get(path).cloned() }
    }

    /// Bytes in use: each name of a file counts.
    fn bytes(&self) -> u64 {
        let of = |thing: &Thing| if let Thing::File(file) = thing { self.files[*file].len() as u64 } else { 0 };
        self.things.values().map(of).sum()
    }

    fn links(&self, file: usize) -> u64 {
        self.things.values().filter(|thing| **thing == Thing::File(file)).count() as u64
    }

    fn resolve(&self, path: &str, follow: bool) -> Result<Place, Errno> {
        let mut hops = 0;
        let mut dir = String::new();
        let mut rest: Vec<String> = parts(path);
        let mut slash = path.ends_with('/');
        loop {
            if rest.is_empty() {
                return Ok((dir, String::new(), Some(Thing::Dir), true));
            }
            let name = rest.remove(0);
            match name.as_str() {
                "." => continue,
                ".." if dir.is_empty() => return Err(Errno::Perm),
                ".." => {
                    dir = dir.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned());
                    continue;
                }
                _ => {}
            }
            let last = rest.is_empty();
            let thing = self.get(&join(&dir, &name));
            match thing {
                None if last => return Ok((dir, name, None, slash)),
                None => return Err(Errno::NoEnt),
                Some(Thing::Link(_, target)) if !last || follow || slash => {
                    hops += 1;
                    if hops > MAX_LINK_HOPS_MODEL {
                        return Err(Errno::Loop);
                    }
                    slash |= last && target.ends_with('/');
                    rest = [parts(&target), rest].concat();
                }
                Some(Thing::Dir) if !last => dir = join(&dir, &name),
                Some(_) if !last => return Err(Errno::NotDir),
                Some(Thing::Dir) => return Ok((dir, name, Some(Thing::Dir), slash)),
                Some(_) if slash => return Err(Errno::NotDir),
                thing => return Ok((dir, name, thing, slash)),
            }
        }
    }

    fn room(&self, name: &str) -> Result<(), Errno> {
        if name.is_empty() {
            return Err(Errno::Exist);
        }
        if self.things.len() as u32 >= NAMES { Err(Errno::NoSpc) } else { Ok(()) }
    }

    fn make(&mut self, path: &str, thing: Thing) -> Result<(), Errno> {
        let (dir, name, found, slash) = self.resolve(path, false)?;
        if matches!(thing, Thing::File(_)) && slash {
            return Err(Errno::IsDir);
        }
        if matches!(thing, Thing::Link(..)) && slash && found.is_none() {
            return Err(Errno::NoEnt);
        }
        if found.is_some() {
            return Err(Errno::Exist);
        }
        self.room(&name)?;
        if let Thing::File(_) = thing {
            self.files.push(Vec::new());
            self.things.insert(join(&dir, &name), Thing::File(self.files.len() - 1));
        } else {
            self.things.insert(join(&dir, &name), thing);
        }
        Ok(())
    }

    fn link(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let (_, _, found, _) = self.resolve(from, false)?;
        let (to_dir, to_name, to_found, slash) = self.resolve(to, false)?;
        let thing = found.ok_or(Errno::NoEnt)?;
        if thing == Thing::Dir {
            return Err(Errno::Perm);
        }
        if to_found.is_some() {
            return Err(Errno::Exist);
        }
        if slash {
            return Err(Errno::NoEnt);
        }
        self.room(&to_name)?;
        if let Thing::File(file) = thing
            && self.bytes() + self.files[file].len() as u64 > BYTES
        {
            return Err(Errno::NoSpc);
        }
        self.things.insert(join(&to_dir, &to_name), thing);
        Ok(())
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let (dir, name, found, _) = self.resolve(path, false)?;
        match found.ok_or(Errno::NoEnt)? {
            Thing::Dir => Err(Errno::IsDir),
            _ => {
                self.things.remove(&join(&dir, &name));
                Ok(())
            }
        }
    }

    fn below(&self, dir: &str) -> Vec<String> {
        let prefix = format!("{dir}/");
        self.things.keys().filter(|path| path.starts_with(&prefix)).cloned().collect()
    }

    fn remove_dir(&mut self, path: &str) -> Result<(), Errno> {
        let (dir, name, found, _) = self.resolve(path, false)?;
        let thing = found.ok_or(Errno::NoEnt)?;
        if name.is_empty() {
            return Err(Errno::Inval);
        }
        if thing != Thing::Dir {
            return Err(Errno::NotDir);
        }
        let whole = join(&dir, &name);
        if !self.below(&whole).is_empty() {
            return Err(Errno::NotEmpty);
        }
        self.things.remove(&whole);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let (dir, name, found, _) = self.resolve(from, false)?;
        let (to_dir, to_name, target, slash) = self.resolve(to, false)?;
        let thing = found.ok_or(Errno::NoEnt)?;
        if name.is_empty() || to_name.is_empty() {
            return Err(Errno::Inval);
        }
        let is_dir = thing == Thing::Dir;
        if slash && !is_dir {
            return Err(Errno::NotDir);
        }
        let (old, new) = (join(&dir, &name), join(&to_dir, &to_name));
        // Two names of one file are one file: nothing happens.
        if old == new || (!is_dir && target.as_ref() == Some(&thing)) {
            return Ok(());
        }
        if let Some(target) = &target {
            match (is_dir, *target == Thing::Dir) {
                (true, false) => return Err(Errno::NotDir),
                (false, true) => return Err(Errno::IsDir),
                (true, true) if !self.below(&new).is_empty() => return Err(Errno::NotEmpty),
                _ => {}
            }
        }
        if is_dir && (to_dir == old || to_dir.starts_with(&format!("{old}/"))) {
            return Err(Errno::Inval);
        }
        for path in self.below(&old) {
            let thing = self.things.remove(&path).unwrap();
            self.things.insert(format!("{new}{}", &path[old.len()..]), thing);
        }
        self.things.remove(&old);
        self.things.insert(new, thing);
        Ok(())
    }

    fn file(&self, path: &str) -> Result<usize, Errno> {
        match self.resolve(path, true)?.2.ok_or(Errno::NoEnt)? {
            Thing::File(file) => Ok(file),
            Thing::Dir => Err(Errno::IsDir),
            Thing::Link(..) => Err(Errno::Inval),
        }
    }

    fn write(&mut self, path: &str, at: u64, data: &[u8]) -> Result<usize, Errno> {
        let file = self.file(path)?;
        if data.is_empty() {
            return Ok(0);
        }
        let links = self.links(file);
        let old = self.files[file].len() as u64;
        let most = old + (BYTES - self.bytes()) / links;
        let reach = (at + data.len() as u64).min(most.max(old));
        if reach <= at {
            return Err(Errno::NoSpc);
        }
        let count = (reach - at) as usize;
        let bytes = &mut self.files[file];
        bytes.resize(bytes.len().max(reach as usize), 0);
        bytes[at as usize..reach as usize].copy_from_slice(&data[..count]);
        Ok(count)
    }

    fn set_len(&mut self, path: &str, len: u64) -> Result<(), Errno> {
        let file = self.file(path)?;
        let old = self.files[file].len() as u64;
        if len > old && (len - old) * self.links(file) > BYTES - self.bytes() {
            return Err(Errno::NoSpc);
        }
        self.files[file].resize(len as usize, 0);
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let (dir, name, found, _) = self.resolve(path, true)?;
        match found.ok_or(Errno::NoEnt)? {
            Thing::Dir => {}
            _ => return Err(Errno::NotDir),
        }
        let whole = if name.is_empty() { dir } else { join(&dir, &name) };
        let own = |path: &&String| path.rsplit_once('/').map_or("", |(parent, _)| parent) == whole;
        let names = self.things.keys().filter(own).map(|path| path.rsplit('/').next().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok([vec![".".into(), "..".into()], names].concat())
    }
}

const MAX_LINK_HOPS_MODEL: u32 = 40;

fn parts(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The same calls on the real one.
struct Real(Fs);

impl Real {
    fn find(&mut self, path: &str, follow: bool) -> Result<Found, Errno> {
        self.0.resolve(self.0.root(), path.as_bytes(), follow)
    }

    fn file(&mut self, path: &str) -> Result<Ino, Errno> {
        let ino = self.find(path, true)?.node.ok_or(Errno::NoEnt)?;
        self.0.bytes(ino)?;
        Ok(ino)
    }

    fn list(&mut self, path: &str) -> Result<Vec<String>, Errno> {
        let ino = self.find(path, true)?.node.ok_or(Errno::NoEnt)?;
        let list = self.0.list(ino)?;
        Ok(list.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect())
    }
}

/// A small generator: the same numbers from the same seed everywhere.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// Few names and short paths, so that operations meet.
    fn path(&mut self) -> String {
        let mut path = String::new();
        for part in 0..[1, 1, 1, 2, 2, 3][self.next(6) as usize] {
            if part > 0 {
                path.push('/');
            }
            path.push_str(["a", "b", "c", "a", "b", "c", "a", "b", "..", "."][self.next(10) as usize]);
        }
        if self.next(10) == 0 {
            path.push('/');
        }
        path
    }
}

/// One history on both; says how many operations worked.
fn history(seed: u64) -> u64 {
    let mut numbers = Numbers(seed);
    let mut model = Model::default();
    let mut real = Real(Fs::new(BYTES, NAMES, 0));
    let mut worked = 0;
    for step in 0..120 {
        let (path, other) = (numbers.path(), numbers.path());
        let data: Vec<u8> = (0..numbers.next(20)).map(|i| i as u8).collect();
        let at = numbers.next(40);
        let number = numbers.next(12);
        let (expected, found): (Result<u64, Errno>, Result<u64, Errno>) = match number {
            0 | 1 => (
                model.make(&path, Thing::Dir).map(|()| 0),
                real.find(&path, false).and_then(|found| real.0.create_dir(&found, 0)).map(|_| 0),
            ),
            2 | 3 => (
                model.make(&path, Thing::File(0)).map(|()| 0),
                real.find(&path, false).and_then(|found| real.0.create_file(&found, 0)).map(|_| 0),
            ),
            4 => (
                model.make(&path, Thing::Link(step, other.clone())).map(|()| 0),
                real.find(&path, false).and_then(|found| real.0.create_link(&found, other.as_bytes(), 0)).map(|_| 0),
            ),
            5 => (
                model.link(&path, &other).map(|()| 0),
                real.find(&path, false)
                    .and_then(|from| Ok((from, real.find(&other, false)?)))
                    .and_then(|(from, to)| real.0.link(from.node.ok_or(Errno::NoEnt)?, &to, 0))
                    .map(|()| 0),
            ),
            6 => (
                model.unlink(&path).map(|()| 0),
                real.find(&path, false).and_then(|found| real.0.unlink(&found, 0)).map(|()| 0),
            ),
            7 => (
                model.remove_dir(&path).map(|()| 0),
                real.find(&path, false).and_then(|found| real.0.remove_dir(&found, 0)).map(|()| 0),
            ),
            8 => (
                model.rename(&path, &other).map(|()| 0),
                real.find(&path, false)
                    .and_then(|from| Ok((from, real.find(&other, false)?)))
                    .and_then(|(from, to)| real.0.rename(&from, &to, 0))
                    .map(|()| 0),
            ),
            9 | 10 => (
                model.write(&path, at, &data).map(|count| count as u64),
                real.file(&path).and_then(|ino| real.0.write(ino, at, &data, 0)).map(|count| count as u64),
            ),
            _ => (
                model.set_len(&path, at).map(|()| 0),
                real.file(&path).and_then(|ino| real.0.set_len(ino, at, 0)).map(|()| 0),
            ),
        };
        let what = format!("seed {seed}, step {step}: operation {number} on {path} and {other}");
        assert_eq!(found, expected, "{what}");
        worked += u64::from(expected.is_ok());
        assert_eq!(real.list(&other), model.list(&other), "{what}: listing {other}");
        assert_eq!(real.0.bytes_used, model.bytes(), "{what}");
        assert_eq!(real.0.names_used as usize, model.things.len(), "{what}");
    }
    // What is left: every file that is there, with its bytes.
    let files = |(path, thing): (&String, &Thing)| match thing {
        Thing::File(file) => Some((path.clone().into_bytes(), model.files[*file].clone())),
        _ => None,
    };
    let expected: BTreeMap<Vec<u8>, Vec<u8>> = model.things.iter().filter_map(files).collect();
    assert_eq!(real.0.outputs(), expected, "seed {seed}");
    worked
}

#[test]
fn sym_33_fuzz_the_file_system_against_a_model() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = number("SYMBOLON_SEED").unwrap_or_else(|| now().as_nanos() as u64);
    let longest = Duration::from_secs(number("SYMBOLON_FUZZ_SECONDS").unwrap_or(0));
    eprintln!("seeds from {first} on");
    let (start, mut seed, mut worked) = (Instant::now(), first, 0);
    while seed - first < 2_000 || start.elapsed() < longest {
        worked += history(seed);
        seed += 1;
    }
    let histories = seed - first;
    eprintln!("{histories} histories, {worked} operations that worked");
    // Many of the operations do something, or the paths never meet.
    assert!(worked > histories * 10, "{worked} in {histories}");
}
