//! W1: the same root and the same fuel, however and wherever a guest is run.
//!
//! [`jobs`] are real programs and small texts; [`engines`] are every way of running
//! them: code optimised and not, memories set aside or not, and the portable
//! interpreter, which stands for another processor. Further tests run all of it in
//! processes with another time zone, language, folder, home and limits, as another
//! user, from code that another process kept on disk, and while others keep the
//! machine busy. Large programs of other people are in `shipped`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use symbolon_content::reference;
use symbolon_executor::modules::SealKey;
use symbolon_executor::{
    Cancel, CompiledModule, CompilerProcess, Engine, Execution, ExecutorError, Inputs, Modules, Outcome, Profile,
    Tuning,
};
use symbolon_primitives::{Level, Limits, Workunit};

/// Every way in which a host may run guests.
pub(super) fn engines() -> Vec<(&'static str, Engine)> {
    [
        ("optimised", Tuning { optimise: true, pool: 0, interpret: false }),
        ("quick", Tuning { optimise: false, pool: 0, interpret: false }),
        ("optimised, pooled", Tuning { optimise: true, pool: 2, interpret: false }),
        ("quick, pooled", Tuning { optimise: false, pool: 2, interpret: false }),
        ("interpreted", Tuning { optimise: true, pool: 0, interpret: true }),
        ("interpreted, quick, pooled", Tuning { optimise: false, pool: 2, interpret: true }),
    ]
    .map(|(name, tuning)| (name, Engine::tuned(Profile::V1, u64::MAX, tuning).unwrap()))
    .into()
}

/// A module and what it is run as.
struct Job {
    name: String,
    module: Vec<u8>,
    units: Vec<(Workunit, Inputs)>,
}

/// Where the programs are: in this crate, or in a copy that another user may read.
fn here(path: &str) -> PathBuf {
    let root = std::env::var_os("SYMBOLON_MATRIX_ROOT").map(PathBuf::from);
    root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).join(path)
}

fn unit(max_fuel: u64) -> Workunit {
    Workunit {
        limits: Limits { memory_bytes: 128 << 20, output_bytes: 16 << 20, files: 1024 },
        max_fuel,
        ..crate::guest::unit()
    }
}

/// Guests built from C, with the arguments and inputs that their own list gives.
fn built(folder: &str, jobs: &mut Vec<Job>) {
    let list = std::fs::read(here(folder).join("expected.json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
    let mut by_guest: BTreeMap<String, Vec<(Workunit, Inputs)>> = BTreeMap::new();
    for case in &list {
        let guest = case["guest"].as_str().unwrap().to_owned();
        let texts = |name: &str| -> Vec<String> {
            let list = case[name].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut unit = unit(30_000_000);
        unit.args = [vec![guest.clone()], texts("args")].concat();
        if case["level"] == "compute" {
            unit.level = Level::Compute;
        }
        let input = case["input"].as_str().unwrap_or_default();
        let mut files: Vec<(&str, &[u8])> = case["inputs"]
            .as_object()
            .map(|inputs| {
                inputs.iter().map(|(path, text)| (path.as_str(), text.as_str().unwrap().as_bytes())).collect()
            })
            .unwrap_or_default();
        if unit.level == Level::Compute {
            files.push(("in", input.as_bytes()));
        }
        files.sort_unstable();
        by_guest.entry(guest).or_default().push(crate::guest::with_inputs(unit, &files));
    }
    for (guest, units) in by_guest {
        let place = match guest.split_once('/') {
            Some((group, guest)) => format!("{group}/built/{guest}.wasm"),
            None => format!("built/{guest}.wasm"),
        };
        let module = std::fs::read(here(folder).join(&place)).unwrap_or_else(|error| panic!("{place}: {error}"));
        jobs.push(Job { name: guest, module, units });
    }
}

fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    let plain = |name: &str, module: Vec<u8>| Job {
        name: name.to_owned(),
        module,
        units: vec![(unit(10_000_000), Inputs::new()), (unit(20_000), Inputs::new())],
    };
    for name in ["arithmetic", "calls", "memory", "vectors", "exceptions", "nans", "world"] {
        jobs.push(plain(name, std::fs::read(here(&format!("node/executor/vectors/{name}.wasm"))).unwrap()));
    }
    for (name, text) in [
        ("unstable", include_str!("fixtures/unstable.wat")),
        ("preview1", include_str!("fixtures/preview1.wat")),
        (
            "recursion",
            "(module (func $f (param i32) (call $f (i32.add (local.get 0) (i32.const 1)))) (func (export \"_start\") (call $f (i32.const 0))))",
        ),
        ("spin", "(module (func (export \"_start\") (loop (br 0))))"),
        (
            "start",
            "(module (global $g (mut i32) (i32.const 0)) (func $s (global.set $g (i32.const 3))) (start $s) (func (export \"_start\") (if (i32.ne (global.get $g) (i32.const 3)) (then unreachable))))",
        ),
    ] {
        jobs.push(plain(name, wat::parse_str(text).unwrap()));
    }
    built("examples/guests", &mut jobs);
    built("node/executor/tests/guests", &mut jobs);
    let flite = crate::flite::bytes();
    let speech = Workunit {
        args: ["flite", "-voice", "kal", "-f", "in.txt", "-o", "out.wav"].map(str::to_owned).to_vec(),
        ..unit(1 << 40)
    };
    let (speech, inputs) = crate::guest::with_inputs(speech, &[("in.txt", b"the same everywhere")]);
    jobs.push(Job { name: "flite".into(), module: flite, units: vec![(speech, inputs)] });
    let (module, script, words) = crate::shipped::quickjs(&here(crate::shipped::PLACE));
    let unit = Workunit { args: ["qjs", "--std", "/work.js", "500"].map(str::to_owned).to_vec(), ..unit(1 << 40) };
    let script = crate::guest::with_inputs(unit, &[("words.txt", words), ("work.js", script)]);
    jobs.push(Job { name: "quickjs".into(), module, units: vec![script] });
    jobs
}

/// A run in one line: all that counts, and all that is only told.
pub(super) fn line(run: &Result<Execution, ExecutorError>) -> String {
    match run {
        Ok(run) => format!(
            "{} fuel {} root {} time {} memory {}",
            run.outcome,
            run.fuel,
            run.result_root(),
            run.virtual_time_ns,
            run.peak_memory_bytes
        ),
        Err(error) => panic!("no outcome: {error:?}"),
    }
}

/// Every job on one engine, by name.
fn lines(engine: &Engine, jobs: &[Job]) -> Vec<String> {
    let compile = |job: &Job| engine.compile(&job.module).unwrap_or_else(|refused| panic!("{}: {refused}", job.name));
    lines_of(engine, jobs, compile)
}

/// The same with modules that come from wherever.
fn lines_of(engine: &Engine, jobs: &[Job], module: impl Fn(&Job) -> CompiledModule) -> Vec<String> {
    let mut lines = Vec::new();
    for job in jobs {
        let module = module(job);
        for (number, (unit, inputs)) in job.units.iter().enumerate() {
            let run = engine.run(&module, unit, inputs, &Cancel::new());
            lines.push(format!("{} {number}: {}", job.name, line(&run)));
        }
    }
    lines
}

#[test]
fn w1_every_engine_gives_the_same_root_and_fuel() {
    let jobs = jobs();
    assert!(jobs.len() >= 25, "{}", jobs.len());
    let mut engines = engines().into_iter();
    let (_, first) = engines.next().unwrap();
    let expected = lines(&first, &jobs);
    // Not all of it is failure: programs ended well, and each other end is there too.
    let count = |what: &str| expected.iter().filter(|line| line.contains(what)).count();
    assert!(count(": exited with 0 ") >= 20, "{expected:#?}");
    assert!(count(": trapped: ") >= 1 && count(": out of fuel ") >= 1);
    for (name, engine) in engines {
        for (found, expected) in lines(&engine, &jobs).iter().zip(&expected) {
            assert_eq!(found, expected, "{name}");
        }
        engine.self_check().unwrap();
    }
}

/// Modules compiled in processes and kept in a folder, as a node does.
fn kept(folder: &Path) -> Modules {
    let process = CompilerProcess::new(PathBuf::from(env!("CARGO_BIN_EXE_symbolon-compile")), Vec::new());
    Modules::kept(Engine::new(Profile::V1).unwrap(), SealKey::new([7; 32]), folder, 1 << 30, process).unwrap()
}

/// What a child process runs: every job on the engine that nodes use. It says first who it is.
#[test]
fn w1_child() {
    let jobs = jobs();
    let lines = match std::env::var_os("SYMBOLON_MATRIX_KEPT") {
        None => lines(crate::guest::engine(), &jobs),
        Some(folder) => {
            let kept = kept(Path::new(&folder));
            lines_of(kept.engine(), &jobs, |job| kept.compile(reference(&job.module), &job.module).unwrap())
        }
    };
    assert!(lines.iter().any(|line| line.starts_with("flite 0: exited with 0 ")));
    if let Some(path) = std::env::var_os("SYMBOLON_MATRIX") {
        let user = rustix::process::geteuid().as_raw();
        std::fs::write(path, format!("{user}\n{}", lines.join("\n"))).unwrap();
    }
}

/// What a child came to: who it was, and its lines.
type Told = (u32, String);

/// Runs [`w1_child`], and what it came to.
fn told(command: &mut Command, folder: &Path) -> Told {
    let path = folder.join("lines");
    let output = command.env("SYMBOLON_MATRIX", &path).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    let told = std::fs::read_to_string(path).unwrap();
    let (user, lines) = told.split_once('\n').unwrap();
    (user.parse().unwrap(), lines.to_owned())
}

/// Through a shell that changes the child's surroundings first.
fn child(change: &str, environment: &[(&str, &str)]) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{change} exec \"$0\" --exact matrix::w1_child");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap());
    command.envs(environment.iter().copied());
    told(&mut command, dir.path())
}

#[test]
fn w1_the_surroundings_do_not_show() {
    let expected = child("", &[("TZ", "UTC"), ("LANG", "C"), ("LC_ALL", "C")]);
    let elsewhere = child(
        "cd /; umask 077; ulimit -n 128; ulimit -c 0; ulimit -s 2048; exec <&-;",
        &[
            ("TZ", "Pacific/Chatham"),
            ("LANG", "tr_TR.UTF-8"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("HOME", "/nonexistent"),
            ("USER", "somebody"),
            ("TMPDIR", "/tmp"),
            ("MALLOC_ARENA_MAX", "1"),
            ("RAYON_NUM_THREADS", "1"),
        ],
    );
    assert_eq!(expected, elsewhere);
}

/// Copies a folder, readable by all whatever this user's mask.
fn copy(from: &Path, to: &Path) {
    let let_all = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(to).unwrap();
    let_all(to);
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
            let_all(&to);
        }
    }
}

/// Nobody of this machine. Root becomes it; others, who may not, become root of a namespace of their own.
const NOBODY: u32 = 65_534;

#[test]
fn w1_the_user_does_not_show() {
    let own = rustix::process::geteuid().as_raw();
    let expected = lines(crate::guest::engine(), &jobs()).join("\n");
    // The other may not be let into the folder of this one: it gets a copy of all it needs.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    for folder in ["node/executor/vectors", "node/executor/tests/guests", "examples/guests"] {
        copy(&here(folder), &dir.path().join(folder));
    }
    let quickjs = dir.path().join(crate::shipped::PLACE).join(crate::shipped::QUICKJS);
    std::fs::create_dir_all(quickjs.parent().unwrap()).unwrap();
    std::fs::copy(here(crate::shipped::PLACE).join(crate::shipped::QUICKJS), &quickjs).unwrap();
    let flite = dir.path().join("flite.wasm");
    std::fs::write(&flite, crate::flite::bytes()).unwrap();
    let program = dir.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();

    let mut command = if own == 0 {
        let mut command = Command::new(&program);
        command.uid(NOBODY).gid(NOBODY);
        command
    } else {
        let able = Command::new("unshare").args(["--map-root-user", "true"]).status();
        assert!(
            able.is_ok_and(|status| status.success()),
            "being another user takes root, or unshare (util-linux) and user namespaces: \
             sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"
        );
        let mut command = Command::new("unshare");
        command.arg("--map-root-user").arg(&program);
        command
    };
    command.args(["--exact", "matrix::w1_child"]).current_dir(dir.path());
    command.env_clear().env("SYMBOLON_MATRIX_ROOT", dir.path()).env("SYMBOLON_FLITE", &flite);
    let (user, found) = told(&mut command, dir.path());
    assert_eq!(user, if own == 0 { NOBODY } else { 0 });
    assert_eq!(found, expected);
}

#[test]
fn w1_code_that_another_process_kept_gives_the_same() {
    let jobs = jobs();
    let expected = lines(crate::guest::engine(), &jobs);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("modules");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "matrix::w1_child"]).env("SYMBOLON_MATRIX_KEPT", &folder);
    let (_, compiled) = told(&mut command, dir.path());
    assert_eq!(compiled, expected.join("\n"));
    // Nothing is compiled any more, and a second look finds the same.
    let kept = kept(&folder);
    for _ in 0..2 {
        let found = lines_of(kept.engine(), &jobs, |job| {
            kept.find(reference(&job.module)).unwrap_or_else(|| panic!("{} is not kept", job.name))
        });
        assert_eq!(found, expected);
    }
}

#[test]
fn w1_load_does_not_show() {
    let stop = AtomicBool::new(false);
    let jobs = jobs();
    let engine = crate::guest::engine();
    let spin = crate::guest::compile(
        "(module (memory 1) (func (export \"_start\") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))))",
    );
    let expected = lines(engine, &jobs);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let run = engine.run(&spin, &unit(20_000_000), &Inputs::new(), &Cancel::new()).unwrap();
                    assert_eq!(run.outcome, Outcome::OutOfFuel);
                }
            });
        }
        let found = lines(engine, &jobs);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(found, expected);
    });
}
