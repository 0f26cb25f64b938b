//! Guests that mean harm. Each ends as it must, within its bounds, and learns nothing.
//!
//! A [`Case`] is run twice, in two processes of its own with other environments,
//! folders, time zones and limits. Both must come to the same root, and neither may
//! take more of the host's memory than the workunit's limits and 64 MiB. The child is
//! this test binary again, with [`child`] as its only test.

mod compile;
mod depth;
mod files;
mod floods;
mod memory;
mod names;
mod pointers;
mod time;
mod traps;

use crate::guest::with_inputs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use symbolon_executor::{Cancel, Engine, Outcome, Profile};
use symbolon_primitives::Workunit;

/// What a run may take of the host beyond what its workunit asks for.
const SLACK: u64 = 64 << 20;

/// Bytes that one name may take in the host's tables and in the list of outputs.
const NAME: u64 = 2 << 10;

/// A safety net: nothing here needs half as long, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(100);

/// A guest and how it must end.
pub(super) struct Case {
    module: Vec<u8>,
    unit: Workunit,
    inputs: Vec<(&'static str, &'static [u8])>,
    slack: u64,
    most: Option<u64>,
}

/// What a child tells about its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// `Outcome` as text, or `refused: …`, or `error: …`.
    pub(super) end: String,
    pub(super) fuel: u64,
    root: String,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// Outputs: how many, and bytes of all together.
    pub(super) outputs: (u64, u64),
}

/// A report, and the memory behind it in bytes.
struct Measured {
    report: Report,
    compiling: u64,
    running: u64,
}

/// A guest in text.
pub(super) fn guest(text: &str) -> Case {
    bytes(wat::parse_str(text).unwrap())
}

/// A guest in bytes.
pub(super) fn bytes(module: Vec<u8>) -> Case {
    let mut unit = crate::guest::unit();
    unit.max_fuel = 50_000_000;
    Case { module, unit, inputs: Vec::new(), slack: SLACK, most: None }
}

impl Case {
    pub(super) fn edit(mut self, edit: impl FnOnce(&mut Workunit)) -> Self {
        edit(&mut self.unit);
        self
    }

    pub(super) fn fuel(self, max_fuel: u64) -> Self {
        self.edit(|unit| unit.max_fuel = max_fuel)
    }

    pub(super) fn inputs(mut self, files: &[(&'static str, &'static [u8])]) -> Self {
        self.inputs = files.to_vec();
        self
    }

    /// Lets the run take more of the host, for a reason that its test gives.
    pub(super) fn slack(mut self, bytes: u64) -> Self {
        self.slack = bytes;
        self
    }

    /// Holds the run to less than its limits allow.
    pub(super) fn at_most(mut self, bytes: u64) -> Self {
        self.most = Some(bytes);
        self
    }

    /// The bound on a run: memory, outputs, names, and the slack.
    fn bound(&self) -> u64 {
        if let Some(most) = self.most {
            return most;
        }
        let limits = self.unit.limits;
        limits.memory_bytes + limits.output_bytes + u64::from(limits.files) * NAME + self.slack
    }

    /// Runs the guest in two processes and compares what they say.
    pub(super) fn run(self) -> Report {
        let (unit, _) = with_inputs(self.unit.clone(), &self.inputs);
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("module.wasm"), &self.module).unwrap();
        std::fs::write(path("unit.json"), serde_json::to_vec(&unit).unwrap()).unwrap();
        for (i, (_, bytes)) in self.inputs.iter().enumerate() {
            std::fs::write(path(&format!("input-{i}")), bytes).unwrap();
        }
        let here = spawn(dir.path(), |command| {
            command.env("TZ", "UTC").env("LANG", "C");
        });
        let there = spawn(dir.path(), |command| {
            command
                .env("TZ", "Pacific/Chatham")
                .env("LANG", "tr_TR.UTF-8")
                .env("HOME", "/nonexistent")
                .env("SECRET", "of the host")
                .current_dir("/");
        });
        eprintln!(
            "{}: {} fuel, {} KiB to compile, {} KiB to run",
            here.report.end,
            here.report.fuel,
            here.compiling >> 10,
            here.running >> 10
        );
        assert_eq!(here.report, there.report, "the host shows");
        for measured in [&here, &there] {
            assert!(measured.running <= self.bound(), "{} bytes of {}", measured.running, self.bound());
        }
        here.report
    }

    /// Compiles the guest in a process and says how it ended, and what it took.
    pub(super) fn run_and_measure_compiling(self) -> (Report, u64) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("module.wasm"), &self.module).unwrap();
        std::fs::write(dir.path().join("unit.json"), serde_json::to_vec(&self.unit).unwrap()).unwrap();
        let start = Instant::now();
        let measured = spawn(dir.path(), |_| ());
        eprintln!(
            "{}: {} bytes, {} KiB to compile, in {:?}",
            measured.report.end,
            self.module.len(),
            measured.compiling >> 10,
            start.elapsed()
        );
        assert!(measured.running <= self.bound(), "{} bytes of {}", measured.running, self.bound());
        (measured.report, measured.compiling)
    }

    /// Expects an end, and gives the rest.
    pub(super) fn ends(self, end: impl std::fmt::Display) -> Report {
        let max_fuel = self.unit.max_fuel;
        let report = self.run();
        let said = String::from_utf8_lossy(&report.stderr).into_owned();
        assert_eq!(report.end, end.to_string(), "{said}");
        if !report.end.starts_with("exited") {
            let fuel = if report.root.is_empty() { 0 } else { max_fuel };
            assert_eq!((report.fuel, report.outputs), (fuel, (0, 0)));
        }
        report
    }
}

fn spawn(dir: &Path, environment: impl FnOnce(&mut Command)) -> Measured {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "hostile::child", "--nocapture"]).stdin(Stdio::null());
    environment(&mut command);
    let output = command.env("SYMBOLON_HOSTILE", dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the child died: {said}");
    read_report(dir)
}

fn read_report(dir: &Path) -> Measured {
    let text = std::fs::read_to_string(dir.join("report")).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let number = |name: &str| field(name).parse().unwrap();
    Measured {
        report: Report {
            end: field("end"),
            fuel: number("fuel"),
            root: field("root"),
            stdout: std::fs::read(dir.join("stdout")).unwrap(),
            stderr: std::fs::read(dir.join("stderr")).unwrap(),
            outputs: (number("outputs"), number("bytes")),
        },
        compiling: number("compiling"),
        running: number("running"),
    }
}

/// The most memory of this process since the last look, in bytes beyond what it has
/// now; a look begins anew.
struct Watermark {
    start: u64,
}

impl Watermark {
    fn new() -> Self {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self { start: Self::status("VmRSS:") }
    }

    fn rise(&self) -> u64 {
        Self::status("VmHWM:").saturating_sub(self.start)
    }

    fn status(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib << 10
    }
}

/// Runs what lies in a folder and writes a report there.
fn run_folder(dir: &Path) {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let unit: Workunit = serde_json::from_slice(&read("unit.json")).unwrap();
    let inputs = unit.inputs.iter().enumerate();
    let inputs = inputs.map(|(i, input)| (input.path.clone(), read(&format!("input-{i}")).into())).collect();
    let module = read("module.wasm");
    let engine = Engine::new(Profile::V1).unwrap();

    let watermark = Watermark::new();
    let compiled = engine.compile(&module);
    let compiling = watermark.rise();
    drop(module);
    let watermark = Watermark::new();
    let run = compiled.map(|compiled| engine.run(&compiled, &unit, &inputs, &Cancel::after(PATIENCE)));
    let running = watermark.rise();

    let (mut end, mut fuel, mut root, mut outputs) = (String::new(), 0, String::new(), (0, 0));
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    match run {
        Err(refused) => end.push_str(&format!("refused: {}", refused.name())),
        Ok(Err(error)) => end.push_str(&format!("error: {error}")),
        Ok(Ok(execution)) => {
            end = execution.outcome.to_string();
            fuel = execution.fuel;
            root = execution.result_root().to_string();
            outputs =
                (execution.outputs.len() as u64, execution.outputs.values().map(|bytes| bytes.len() as u64).sum());
            stdout = execution.stdout;
            stderr = execution.stderr;
        }
    }
    std::fs::write(dir.join("stdout"), stdout).unwrap();
    std::fs::write(dir.join("stderr"), stderr).unwrap();
    let (count, bytes) = outputs;
    let report = format!(
        "end {end}\nfuel {fuel}\nroot {root}\noutputs {count}\nbytes {bytes}\ncompiling {compiling}\nrunning {running}\n"
    );
    std::fs::write(dir.join("report"), report).unwrap();
}

/// What a child process runs. By itself it runs a harmless guest in the same way.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os("SYMBOLON_HOSTILE") {
        return run_folder(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let text = crate::guest::wasi("", "(call $proc_exit (i32.const 7))");
    std::fs::write(dir.path().join("module.wasm"), wat::parse_str(text).unwrap()).unwrap();
    std::fs::write(dir.path().join("unit.json"), serde_json::to_vec(&crate::guest::unit()).unwrap()).unwrap();
    run_folder(dir.path());
    let measured = read_report(dir.path());
    assert_eq!(measured.report.end, Outcome::Exited { code: 7 }.to_string());
    assert!(measured.report.fuel > 0 && measured.report.root.len() == 64);
}

/// A canary: the measure sees memory that is taken.
#[test]
fn the_watermark_rises_with_what_is_touched() {
    let watermark = Watermark::new();
    let taken = vec![1u8; 96 << 20];
    assert!(taken.iter().step_by(4096).all(|byte| *byte == 1));
    assert!(watermark.rise() >= 90 << 20, "{}", watermark.rise());
}
