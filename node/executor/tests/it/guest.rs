//! Shorthands: a guest's text in, its run out.

use std::sync::{Arc, OnceLock};
use symbolon_executor::{
    Cancel, CompiledModule, Engine, Execution, ExecutorError, Inputs, Outcome, Profile, Refused, TrapKind,
};
use symbolon_primitives::{ContentRef, Input, Level, Limits, Workunit};

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(Profile::V1).unwrap())
}

pub(crate) fn compile(text: &str) -> CompiledModule {
    engine().compile(&wat::parse_str(text).unwrap()).unwrap()
}

pub(crate) fn refuse(text: &str) -> Refused {
    engine().compile(&wat::parse_str(text).unwrap()).unwrap_err()
}

pub(crate) fn unit() -> Workunit {
    Workunit {
        module: ContentRef::from_bytes([1; 32]),
        args: vec!["guest".into()],
        env: vec![],
        inputs: vec![],
        level: Level::Command,
        limits: Limits { memory_bytes: 16 << 20, output_bytes: 1 << 20, files: 64 },
        max_fuel: 100_000_000,
        seed: [0; 32],
    }
}

pub(crate) fn with_inputs(mut unit: Workunit, files: &[(&str, &[u8])]) -> (Workunit, Inputs) {
    let mut inputs = Inputs::new();
    for (path, bytes) in files {
        unit.inputs.push(Input {
            path: (*path).to_owned(),
            content: symbolon_content::reference(bytes),
            size: bytes.len() as u64,
        });
        inputs.insert((*path).to_owned(), Arc::from(*bytes));
    }
    (unit, inputs)
}

pub(crate) fn try_run(text: &str, unit: &Workunit) -> Result<Execution, ExecutorError> {
    engine().run(&compile(text), unit, &Inputs::new(), &Cancel::new())
}

pub(crate) fn run(text: &str, unit: &Workunit) -> Execution {
    try_run(text, unit).unwrap()
}

/// Runs a body of `_start` that may use locals `$i` and `$j` (i32) and `$l` (i64).
pub(crate) fn run_body(body: &str) -> Execution {
    run(&start(body), &unit())
}

pub(crate) fn start(body: &str) -> String {
    format!(
        "(module (memory (export \"memory\") 1) {body_of})",
        body_of = format_args!("(func (export \"_start\") (local $i i32) (local $j i32) (local $l i64) {body})")
    )
}

pub(crate) fn trapped(kind: TrapKind) -> Outcome {
    Outcome::Trapped { kind }
}

pub(crate) fn exited(code: u32) -> Outcome {
    Outcome::Exited { code }
}

/// Every import of the interface, under its own name.
pub(crate) const WASI: &str = r#"
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $clock_res_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_advise" (func $fd_advise (param i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_allocate" (func $fd_allocate (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_datasync" (func $fd_datasync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $fd_fdstat_set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_rights" (func $fd_fdstat_set_rights (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_filestat_set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_times" (func $fd_filestat_set_times (param i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_sync" (func $fd_sync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_tell" (func $fd_tell (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_set_times" (func $path_filestat_set_times (param i32 i32 i32 i32 i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link" (func $path_link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink" (func $path_readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory" (func $path_remove_directory (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "proc_raise" (func $proc_raise (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $sock_recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $sock_send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $sock_shutdown (param i32 i32) (result i32)))
"#;

/// A guest with every import, data, and `$ok`, which traps on an errno, and `$is`,
/// which exits with `100 + n` when the n-th expectation does not hold.
pub(crate) fn wasi(data: &str, body: &str) -> String {
    format!(
        r#"(module {WASI}
  (memory (export "memory") 2)
  {data}
  (global $n (mut i32) (i32.const 0))
  (func $is (param i32 i32)
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (if (i32.ne (local.get 0) (local.get 1))
      (then (call $say (local.get 0)) (call $proc_exit (i32.add (i32.const 100) (global.get $n))))))
  (func $ok (param i32) (call $is (local.get 0) (i32.const 0)))
  ;; puts what came instead on standard error, as two digits
  (func $say (param i32)
    (i32.store8 (i32.const 131000) (i32.add (i32.const 48) (i32.div_u (local.get 0) (i32.const 10))))
    (i32.store8 (i32.const 131001) (i32.add (i32.const 48) (i32.rem_u (local.get 0) (i32.const 10))))
    (i32.store (i32.const 131004) (i32.const 131000))
    (i32.store (i32.const 131008) (i32.const 2))
    (drop (call $fd_write (i32.const 2) (i32.const 131004) (i32.const 1) (i32.const 131012))))
  (func (export "_start") (local $i i32) (local $j i32) (local $fd i32) {body}))"#
    )
}

/// The same guest built for the older interface, which lacks one call.
pub(crate) fn wasi_unstable(data: &str, body: &str) -> String {
    let text = wasi(data, body).replace("\"wasi_snapshot_preview1\"", "\"wasi_unstable\"");
    text.lines().filter(|line| !line.contains("\"sock_accept\"")).flat_map(|line| [line, "\n"]).collect()
}

/// Runs [`wasi`] and expects that every expectation held.
pub(crate) fn holds(data: &str, body: &str, files: &[(&str, &[u8])]) -> Execution {
    let (unit, inputs) = with_inputs(unit(), files);
    let text = wasi(data, body);
    let run = engine().run(&compile(&text), &unit, &inputs, &Cancel::new()).unwrap();
    assert_eq!(run.outcome, exited(0), "expectation failed; got errno {:?}", String::from_utf8_lossy(&run.stderr));
    run
}
