//! `symbolon exec`: one local run in the sandbox that providers use.

use crate::{
    args::{ExecArgs, LevelArg},
    fail::{Failure, Hint},
    output::{foreign, guest_bytes, note},
};
use serde_json::{Map, Value, json};
use std::{
    io::{IsTerminal, Read, Write},
    process::ExitCode,
};
use symbolon_content::{ContentRef, reference};
use symbolon_executor::{
    Cancel, Engine, Execution, Outcome,
    hostdir::{ExecRequest, HostDirError, Mapping, exec},
    manifest::Part,
};
use symbolon_primitives::{Level, Limits};

/// Exit code after a trap, as a shell shows an aborted program.
const TRAPPED: u8 = 134;
/// Exit code when the fuel ran out, as a shell shows a killed program.
const OUT_OF_FUEL: u8 = 137;
/// The file that a guest at the level compute writes.
const COMPUTE_OUTPUT: &[u8] = b"out";
/// Nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;
/// The most standard input read.
const MAX_STDIN: u64 = 1 << 30;

/// Runs `symbolon exec`.
pub(crate) fn run(args: &ExecArgs) -> Result<ExitCode, Failure> {
    let bytes = std::fs::read(&args.module).map_err(|e| {
        Failure::input(format!("cannot read the module {}: {e}", args.module.display())).hint("name a WebAssembly file")
    })?;
    // Before the time that compiling takes.
    let mut dirs = Vec::with_capacity(args.dir.len());
    for text in &args.dir {
        let mapping: Mapping = text.parse().map_err(|e: HostDirError| {
            Failure::input(e.to_string()).hint("--dir HOST::GUEST, for example --dir .::/")
        })?;
        if !mapping.host.is_dir() {
            return Err(Failure::input(format!("{} is no folder", mapping.host.display()))
                .hint("--dir HOST::GUEST maps a folder that exists"));
        }
        dirs.push(mapping);
    }
    let engine = Engine::new(args.profile).map_err(|e| Failure::tool(e.to_string()))?;
    let module = engine.compile(&bytes).map_err(|refused| {
        Failure::input(format!("{} does not fit the profile: {refused}", args.module.display()))
            .hint(format!("symbolon inspect {} names every reason", args.module.display()))
    })?;
    let mut stdin = Vec::new();
    let input = std::io::stdin();
    if !input.is_terminal() {
        input
            .lock()
            .take(MAX_STDIN)
            .read_to_end(&mut stdin)
            .map_err(|e| Failure::input(format!("cannot read standard input: {e}")))?;
    }
    let file = || args.module.file_name().map_or_else(|| "guest".into(), |name| name.to_string_lossy().into_owned());
    let name = args.argv0.clone().unwrap_or_else(file);
    let request = ExecRequest {
        level: match args.level {
            LevelArg::Command => Level::Command,
            LevelArg::Compute => Level::Compute,
        },
        args: std::iter::once(name).chain(args.args.iter().cloned()).collect(),
        env: args.env.clone(),
        stdin,
        dirs,
        max_fuel: args.fuel,
        limits: Limits { memory_bytes: args.memory, ..ExecRequest::default().limits },
        ..ExecRequest::default()
    };
    let report = exec(&engine, &module, &request, &Cancel::default()).map_err(|e| {
        use std::error::Error;
        let why = e.source().map_or_else(String::new, |source| format!(": {source}"));
        let failure = Failure::input(format!("{e}{why}"));
        match e {
            HostDirError::TooMuch { .. } => {
                failure.hint("a mapped folder is held in memory: map a smaller one, --dir HOST::GUEST")
            }
            _ => failure,
        }
    })?;
    if let Some(path) = &args.report {
        let text = format!("{:#}\n", facts(args, &reference(&bytes), &report.execution));
        std::fs::write(path, text)
            .map_err(|e| Failure::input(format!("cannot write the report {}: {e}", path.display())))?;
    }
    let mut execution = report.execution;
    if args.level == LevelArg::Compute {
        // What it computed is the output of the command.
        execution.stdout = execution.outputs.remove(COMPUTE_OUTPUT).unwrap_or_default();
    }
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let wrote = out.lock().write_all(&guest_bytes(&execution.stdout, out.is_terminal()));
    let _ = err.lock().write_all(&guest_bytes(&execution.stderr, err.is_terminal()));
    if let Err(error) = wrote
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        return Err(Failure::input(format!("cannot write standard output: {error}")));
    }
    for link in &report.skipped {
        note(&format!("warning: the guest made the link {}; it was not made here", foreign(&link.to_string_lossy())));
    }
    Ok(match execution.outcome {
        Outcome::Exited { code } => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        Outcome::Trapped { kind } => {
            note(&format!("error: the guest trapped: {kind}"));
            ExitCode::from(TRAPPED)
        }
        Outcome::OutOfFuel => {
            note(&format!("error: the guest used up its {} fuel", args.fuel));
            note("hint: allow more with --fuel");
            ExitCode::from(OUT_OF_FUEL)
        }
    })
}

/// What `--report` writes.
fn facts(args: &ExecArgs, module: &ContentRef, execution: &Execution) -> Value {
    let manifest = execution.manifest();
    let part = |part: &Part| json!({ "bytes": part.len, "reference": part.reference });
    let outputs: Map<String, Value> = manifest
        .outputs
        .iter()
        .map(|(path, bytes)| (String::from_utf8_lossy(path).into_owned(), part(bytes)))
        .collect();
    let outcome = match execution.outcome {
        Outcome::Exited { code } => json!({ "kind": "exited", "code": code }),
        Outcome::Trapped { kind } => json!({ "kind": "trapped", "trap": kind.to_string() }),
        Outcome::OutOfFuel => json!({ "kind": "out-of-fuel" }),
    };
    let seconds = format!("{}.{:09}", execution.virtual_time_ns / NANOS, execution.virtual_time_ns % NANOS);
    json!({
        "module": module,
        "profile": args.profile.id(),
        "level": super::module::level_name(match args.level {
            LevelArg::Command => Level::Command,
            LevelArg::Compute => Level::Compute,
        }),
        "outcome": outcome,
        "fuel": execution.fuel,
        "virtual_seconds": seconds,
        "peak_memory_bytes": execution.peak_memory_bytes,
        "result_root": manifest.result_root(),
        "stdout": part(&manifest.stdout),
        "stderr": part(&manifest.stderr),
        "outputs": outputs,
    })
}
