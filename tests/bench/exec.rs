//! Runs in the sandbox beside the same engine bare: no fuel, its own WASI on real files, both from a compiled module
//! to the end of the guest, in turns. Processor time of the whole process, the least of several runs, so that what
//! else the machine does stays out.

use anyhow::{Context, Result, ensure};
use cpu_time::ProcessTime;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use symbolon_content::reference;
use symbolon_executor::{
    Cancel, CompiledModule, CompilerProcess, Engine, Inputs, Modules, Outcome, Profile, Tuning, modules::SealKey,
};
use symbolon_primitives::{Input, Level, Limits, Workunit};

/// Runs of each guest on each side.
const RUNS: usize = 5;
/// For how long empty runs are counted.
const COUNTING: Duration = Duration::from_secs(1);

/// Plain wasmtime in a process of its own.
struct Bare {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Bare {
    fn start(root: &Path) -> Result<Self> {
        let python = std::env::var_os("SYMBOLON_BARE")
            .context("SYMBOLON_BARE names no Python with wasmtime\nhint: scripts/bench exec installs it")?;
        let mut child = Command::new(python)
            .arg(root.join("tests/bench/bare.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the rival")?;
        let stdin = child.stdin.take().context("no pipe to the rival")?;
        let stdout = BufReader::new(child.stdout.take().context("no pipe from the rival")?);
        Ok(Self { child, stdin, stdout })
    }

    /// Nanoseconds of processor time of one run.
    fn run(&mut self, module: &Path, args: &[&str], dir: Option<&Path>) -> Result<u64> {
        let request = json!({ "module": module, "args": args, "dir": dir, "runs": 1 });
        writeln!(self.stdin, "{request}")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let times: Vec<u64> = serde_json::from_str(&line).context("the rival failed; its words are above")?;
        times.first().copied().context("the rival ran nothing")
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A guest, its arguments and its input files.
struct Guest {
    name: &'static str,
    module: PathBuf,
    args: Vec<&'static str>,
    inputs: Vec<(&'static str, Vec<u8>)>,
    /// The most that our time may be of the rival's, in hundredths, where something was promised.
    target: Option<u64>,
}

fn guests(root: &Path, scratch: &Path) -> Result<Vec<Guest>> {
    let example = |name: &str| root.join("examples/guests/built").join(name).with_extension("wasm");
    let text = std::fs::read(root.join("examples/texts/lighthouse.txt"))?;
    let flite = std::env::var_os("SYMBOLON_FLITE").context("SYMBOLON_FLITE is not set")?;
    let guest = |name, module: PathBuf, args: &[&'static str], target| Guest {
        name,
        module,
        args: args.to_vec(),
        inputs: Vec::new(),
        target: Some(target),
    };
    let calls = scratch.join("calls.wasm");
    std::fs::write(&calls, wat::parse_str(include_str!("calls.wat"))?)?;
    let mut speech = guest("flite", flite.into(), &["flite", "-voice", "kal", "-f", "in.txt", "-o", "out.wav"], 125);
    speech.inputs.push(("in.txt", text));
    Ok(vec![
        speech,
        guest("tsp", example("tsp"), &["tsp", "rand", "1000"], 125),
        guest("tracer", example("tracer"), &["tracer", "160", "100", "0", "0", "160", "100", "16", "out.ppm"], 125),
        guest("pow", example("pow"), &["pow", "symbolon", "0", "1000000", "18"], 125),
        guest("files", example("files"), &["files", ".", "2000", "4096"], 100),
        Guest { target: None, ..guest("calls", calls, &["calls"], 0) },
    ])
}

fn unit(bytes: &[u8], args: &[&str]) -> Workunit {
    Workunit {
        module: reference(bytes),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: Vec::new(),
        inputs: Vec::new(),
        level: Level::Command,
        limits: Limits { memory_bytes: 1 << 30, output_bytes: 1 << 30, files: 65_536 },
        max_fuel: 1 << 50,
        seed: [0; 32],
    }
}

/// Nanoseconds of processor time of one run, which must end well.
fn ours(engine: &Engine, module: &CompiledModule, unit: &Workunit, inputs: &Inputs) -> Result<u64> {
    let start = ProcessTime::now();
    let execution = engine.run(module, unit, inputs, &Cancel::new())?;
    let taken = u64::try_from(start.elapsed().as_nanos())?;
    ensure!(
        execution.outcome == Outcome::Exited { code: 0 },
        "the guest {}: {}",
        execution.outcome,
        String::from_utf8_lossy(&execution.stderr)
    );
    Ok(taken)
}

/// Hundredths.
fn ratio(ours: u64, bare: u64) -> u64 {
    ours.saturating_mul(100) / bare.max(1)
}

fn decimal(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Compares every guest, then measures starts.
pub(crate) fn run(as_json: bool) -> Result<()> {
    let root = super::root();
    let engine = Engine::new(Profile::V1)?;
    engine.self_check()?;
    let mut bare = Bare::start(&root)?;
    let mut facts = Map::new();
    if !as_json {
        println!("{:<8} {:>10} {:>10} {:>7} {:>7}", "guest", "ours ms", "bare ms", "ratio", "target");
    }
    let scratch = tempfile::tempdir()?;
    for guest in guests(&root, scratch.path())? {
        let bytes = std::fs::read(&guest.module).with_context(|| format!("cannot read {}", guest.module.display()))?;
        let module = engine.compile(&bytes)?;
        let mut unit = unit(&bytes, &guest.args);
        let mut inputs: Inputs = BTreeMap::new();
        for (path, content) in &guest.inputs {
            unit.inputs.push(Input {
                path: (*path).to_owned(),
                content: reference(content),
                size: u64::try_from(content.len())?,
            });
            inputs.insert((*path).to_owned(), Arc::from(content.as_slice()));
        }
        let (mut mine, mut theirs) = (u64::MAX, u64::MAX);
        for _ in 0..RUNS {
            mine = mine.min(ours(&engine, &module, &unit, &inputs)?);
            // A fresh folder, as ours is.
            let dir = tempfile::tempdir()?;
            for (path, content) in &guest.inputs {
                std::fs::write(dir.path().join(path), content)?;
            }
            theirs = theirs.min(bare.run(&guest.module, &guest.args, Some(dir.path()))?);
        }
        let ratio = ratio(mine, theirs);
        if !as_json {
            println!(
                "{:<8} {:>10} {:>10} {:>7} {:>7}",
                guest.name,
                decimal(mine / 10_000),
                decimal(theirs / 10_000),
                decimal(ratio),
                guest.target.map_or_else(|| "-".to_owned(), decimal)
            );
        }
        facts.insert(
            guest.name.to_owned(),
            json!({ "ours_ns": mine, "bare_ns": theirs, "ratio_hundredths": ratio, "target_hundredths": guest.target }),
        );
    }
    starts(&engine, &root, as_json, &mut facts)?;
    if as_json {
        println!("{:#}", Value::Object(facts));
    }
    Ok(())
}

/// Runs in a second of processor time, by so many threads at once.
fn rate(engine: &Engine, module: &CompiledModule, unit: &Workunit, threads: usize) -> Result<u64> {
    let (begun, used) = (Instant::now(), ProcessTime::now());
    let count = || -> Result<u64> {
        let mut runs = 0;
        while begun.elapsed() < COUNTING {
            ours(engine, module, unit, &Inputs::new())?;
            runs += 1;
        }
        Ok(runs)
    };
    let runs = std::thread::scope(|scope| -> Result<u64> {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(count)).collect();
        threads.into_iter().try_fold(0, |sum, thread| {
            let runs = thread.join().map_err(|_| anyhow::anyhow!("a counting thread panicked"))??;
            Ok(sum + runs)
        })
    })?;
    Ok(runs * 1_000_000_000 / u64::try_from(used.elapsed().as_nanos())?.max(1))
}

/// A module that is there already, to its first instruction: kept on disk, and in memory; and empty runs in a second.
fn starts(engine: &Engine, root: &Path, as_json: bool, facts: &mut Map<String, Value>) -> Result<()> {
    // Its first instruction is its last.
    let empty = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)?;
    let unit = unit(&empty, &["empty"]);
    let cores = std::thread::available_parallelism()?.get();
    let pool = Tuning { pool: u32::try_from(cores)?, ..Tuning::default() };
    let pooled = Engine::tuned(Profile::V1, u64::MAX, pool)?;
    let mut least = u64::MAX;
    for (suffix, engine) in [("", engine), ("_pooled", &pooled)] {
        let module = engine.compile(&empty)?;
        let mut first = u64::MAX;
        for _ in 0..2_000 {
            first = first.min(ours(engine, &module, &unit, &Inputs::new())?);
        }
        least = least.min(first);
        facts.insert(format!("cold_start{suffix}_ns"), json!(first));
        let alone = rate(engine, &module, &unit, 1)?;
        let all = rate(engine, &module, &unit, cores)?;
        facts.insert(format!("empty_runs_per_core_second{suffix}"), json!(alone));
        facts.insert(format!("empty_runs_per_core_second_all_cores{suffix}"), json!(all));
        if !as_json {
            let how = if suffix.is_empty() { "" } else { ", pooled" };
            println!("start of a module in memory{how}: {} us (target 1000)", decimal(first / 10));
            println!("empty runs a second of a core{how}: {alone}; {all} on all {cores} at once (target 5000)");
        }
    }

    let dir = tempfile::tempdir()?;
    let program = std::env::current_exe()?.with_file_name("symbolon");
    let process = CompilerProcess::new(program, vec!["compile-module".into()]);
    let modules = Modules::kept(engine.clone(), SealKey::new([1; 32]), dir.path(), 1 << 30, process)?;
    let kept = root.join("examples/guests/built/hello.wasm");
    let bytes = std::fs::read(kept)?;
    let name = reference(&bytes);
    modules.compile(name, &bytes)?;
    let mut load = u64::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        modules.find(name).context("a kept module is gone")?;
        load = load.min(u64::try_from(start.elapsed().as_nanos())?);
    }
    facts.insert("cold_start_from_disk_ns".to_owned(), json!(least.saturating_add(load)));
    if !as_json {
        println!("start of one kept on disk: {} us", decimal(least.saturating_add(load) / 10));
    }
    Ok(())
}
