//! Real programs, built from C, whose every byte of output is known: the examples of `examples/guests`, and the
//! fixtures of `tests/guests` that walk odd paths of a libc. Plain runtimes give the same on a real system, where the
//! README beside them does not say otherwise.

use crate::guest::engine;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use symbolon_executor::hostdir::{ExecRequest, Mapping, exec};
use symbolon_executor::{Cancel, Outcome};
use symbolon_primitives::Level;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().map_or_else(Vec::new, |list| list.iter().map(|text| text.as_str().unwrap().to_owned()).collect())
}

fn text(value: &Value) -> &[u8] {
    value.as_str().unwrap_or_default().as_bytes()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs one entry and says how it differs from what must come of it.
fn run(wasm: &Path, entry: &Value) -> Result<(), String> {
    let module = engine().compile(&fs::read(wasm).unwrap()).map_err(|refused| refused.to_string())?;
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in entry["inputs"].as_object().into_iter().flatten() {
        fs::write(dir.path().join(name), text(content)).unwrap();
    }
    let compute = entry["level"] == "compute";
    let name = wasm.file_stem().unwrap().to_string_lossy().into_owned();
    let env = entry["env"].as_object().into_iter().flatten();
    let request = ExecRequest {
        level: if compute { Level::Compute } else { Level::Command },
        args: std::iter::once(name + ".wasm").chain(strings(&entry["args"])).collect(),
        env: env.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        stdin: text(if compute { &entry["input"] } else { &entry["stdin"] }).to_vec(),
        dirs: if compute {
            Vec::new()
        } else {
            vec![Mapping { host: dir.path().to_path_buf(), guest: "/".to_owned() }]
        },
        ..ExecRequest::default()
    };
    let execution = exec(engine(), &module, &request, &Cancel::new()).map_err(|e| e.to_string())?.execution;
    let same = |what: &str, have: &[u8], want: &[u8]| {
        if have == want {
            return Ok(());
        }
        Err(format!("{what}:\n{}\ninstead of\n{}", String::from_utf8_lossy(have), String::from_utf8_lossy(want)))
    };
    same("standard error", &execution.stderr, text(&entry["stderr"]))?;
    same("standard output", &execution.stdout, text(&entry["stdout"]))?;
    match (&execution.outcome, &entry["outcome"]) {
        (Outcome::Exited { code }, want) if want["exited"] == *code => {}
        (Outcome::Trapped { kind }, want) if want["trapped"] == kind.to_string() => {}
        (have, want) => return Err(format!("{have} instead of {want}")),
    }
    for (path, hash) in entry["outputs_sha256"].as_object().into_iter().flatten() {
        let bytes = execution.outputs.get(path.as_bytes()).ok_or_else(|| format!("no output {path}"))?;
        same(path, sha256(bytes).as_bytes(), text(hash))?;
    }
    if let Some(hash) = entry["output_sha256"].as_str() {
        let bytes = execution.outputs.get(&b"out"[..]).ok_or("no output")?;
        same("output", sha256(bytes).as_bytes(), hash.as_bytes())?;
    }
    match entry["outputs"].as_u64() {
        Some(count) if count != execution.outputs.len() as u64 => {
            Err(format!("{} outputs instead of {count}", execution.outputs.len()))
        }
        _ => Ok(()),
    }
}

fn all(folder: &str, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = read(&folder.join("expected.json"));
    let entries = entries.as_array().unwrap();
    assert!(entries.len() >= least, "only {} runs", entries.len());
    let mut wrong = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let guest = Path::new(entry["guest"].as_str().unwrap());
        let parent = guest.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let wasm = folder.join(parent).join("built").join(guest.file_name().unwrap()).with_extension("wasm");
        if let Err(why) = run(&wasm, entry) {
            wrong.push(format!("run {at}, {} {}: {why}", guest.display(), entry["args"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn sym_32_programs_that_walk_odd_paths_find_an_ordinary_system() {
    all("tests/guests", 20);
}

#[test]
fn sym_35_the_examples_do_what_their_page_says() {
    all("../../examples/guests", 29);
}
