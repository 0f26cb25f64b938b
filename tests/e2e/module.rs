//! `symbolon profile`, `inspect`, `content`, and what `exec` reports.

use serde_json::Value;
use std::{path::Path, process::Stdio};
use symbolon_tests::{command, run, text};

/// Upper-cases what it reads, at the level compute.
const UPPER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "compute") (param $in i32) (param $out i32) (result i32) (local $at i32)
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 1000))
        (if (call $read (local.get $in) (i32.const 0) (i32.const 1) (i32.const 4)) (then (return (i32.const 1))))
        (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $at) (i32.load (i32.const 4))))
            (i32.store8 (i32.add (i32.const 64) (local.get $at))
                (i32.and (i32.load8_u (i32.add (i32.const 64) (local.get $at))) (i32.const 0xdf)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
        (call $write (local.get $out) (i32.const 0) (i32.const 1) (i32.const 8))))"#;

fn module(dir: &Path, name: &str, source: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, wat::parse_str(source).unwrap()).unwrap();
    text(&path)
}

fn with_input(args: &[&str], input: &[u8]) -> std::process::Output {
    use std::io::Write;
    let mut child =
        command(args).unwrap().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn json_of(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn e2e_sym_35_exec_runs_the_compute_level_from_stream_to_stream_and_reports() {
    let dir = tempfile::tempdir().unwrap();
    let upper = module(dir.path(), "upper.wasm", UPPER);
    let report = text(&dir.path().join("report.json"));
    let output = with_input(&["exec", "--level", "compute", "--report", &report, "--memory", "1MiB", &upper], b"loud");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"LOUD");
    let facts: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!((&facts["outcome"]["kind"], &facts["outcome"]["code"]), (&"exited".into(), &0.into()));
    assert_eq!((&facts["level"], &facts["outputs"]["out"]["bytes"]), (&"compute".into(), &4.into()));
    assert!(facts["fuel"].as_u64().unwrap() > 200, "{facts}");
    assert_eq!(facts["result_root"].as_str().unwrap().len(), 66);
    assert!(facts["virtual_seconds"].as_str().unwrap().starts_with("0.0000"), "{facts}");
    // The same again is the same; another input is another result.
    let again = text(&dir.path().join("again.json"));
    with_input(&["exec", "--level", "compute", "--report", &again, &upper], b"loud");
    let other = text(&dir.path().join("other.json"));
    with_input(&["exec", "--level", "compute", "--report", &other, &upper], b"soft");
    let root =
        |path: &str| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["result_root"].clone();
    assert_eq!(root(&report), root(&again));
    assert_ne!(root(&report), root(&other));
    // No folders at this level, and no command.
    let refused = with_input(&["exec", "--level", "compute", "--dir", ".", &upper], b"");
    assert_eq!(refused.status.code(), Some(3));
    let refused = with_input(&["exec", &upper], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no entry point"));
}

#[test]
fn e2e_sym_30_inspect_names_every_reason_and_the_profile_says_what_fits() {
    let dir = tempfile::tempdir().unwrap();
    let fits = module(dir.path(), "fits.wasm", UPPER);
    let found = json_of(&run(&["--json", "inspect", &fits]).unwrap());
    assert_eq!((&found["fits"], &found["levels"][0]), (&true.into(), &"compute".into()));
    let profile = json_of(&run(&["--json", "profile"]).unwrap());
    assert_eq!(profile["id"], found["profile"]);
    assert!(profile["text"].as_str().unwrap().starts_with("symbolon determinism profile 1\n"));
    let reference = run(&["content", "ref", &fits]).unwrap();
    assert_eq!(format!("0x{}", String::from_utf8(reference.stdout).unwrap().trim()), found["reference"]);

    let misfit = module(
        dir.path(),
        "misfit.wasm",
        r#"(module (import "env" "a" (func)) (import "env" "b" (func)) (memory i64 1) (func (export "_start")))"#,
    );
    let output = run(&["--json", "inspect", &misfit]).unwrap();
    assert_eq!(output.status.code(), Some(3));
    let reasons: Vec<_> = json_of(&output)["problems"].as_array().unwrap().iter().map(|p| p["text"].clone()).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons.iter().any(|text| text.as_str().unwrap().contains("memory64")));
    let words = run(&["inspect", &misfit]).unwrap();
    assert!(String::from_utf8_lossy(&words.stdout).contains("env.b"));
}

#[test]
fn e2e_content_is_named_kept_read_back_and_proven() {
    let dir = tempfile::tempdir().unwrap();
    let data = text(&dir.path().join("data"));
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = dir.path().join("file");
    std::fs::write(&file, &bytes).unwrap();
    let file = text(&file);
    let say = |args: &[&str]| {
        let output = run(&[&["--data", &data], args].concat()).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let named = String::from_utf8(say(&["content", "ref", &file])).unwrap();
    let kept = String::from_utf8(say(&["content", "put", &file])).unwrap();
    assert_eq!(named, kept);
    let reference = named.trim();
    assert_eq!(say(&["content", "get", reference]), bytes);

    for offset in [0, 31, 4_095, 524_288, 3_999_999] {
        let proof = say(&["content", "prove", reference, "--offset", &offset.to_string()]);
        let path = dir.path().join("proof.json");
        std::fs::write(&path, &proof).unwrap();
        let proven = json_of(&run(&["--json", "content", "check", &text(&path)]).unwrap());
        let start = offset - offset % 32;
        let want: String = bytes[start..start + 32].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((&proven["bytes"], &proven["length"]), (&want.into(), &bytes.len().into()));
        // One flipped digit, and it proves nothing.
        let forged = String::from_utf8(proof).unwrap().replacen("\"segment\":\"", "\"segment\":\"f", 1);
        std::fs::write(&path, forged).unwrap();
        assert!(!run(&["content", "check", &text(&path)]).unwrap().status.success());
    }
    let kept = dir.path().join("data/content").join(reference);
    std::fs::write(kept, b"rotten").unwrap();
    let rotten = run(&["--data", &data, "content", "get", reference]).unwrap();
    assert_eq!(rotten.status.code(), Some(3));
    let absent = run(&["--data", &data, "content", "get", &"0".repeat(64)]).unwrap();
    assert!(String::from_utf8_lossy(&absent.stderr).contains("hint: symbolon content put"));
}
