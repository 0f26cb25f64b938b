//! Modules compiled in processes with limits, and kept in a folder that nobody is trusted with.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use symbolon_content::reference;
use symbolon_executor::{
    Cancel, CompiledModule, CompilerProcess, Engine, Execution, ExecutorError, Inputs, Modules, Outcome, Profile,
    Refused, Tuning, modules::SealKey,
};
use symbolon_primitives::{Level, Limits, Workunit};

const SUM: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func $sum (param i32) (result i32)
        (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
            (else (i32.add (local.get 0) (call $sum (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "_start") (call $exit (call $sum (i32.const 9)))))"#;

fn process() -> CompilerProcess {
    CompilerProcess::new(PathBuf::from(env!("CARGO_BIN_EXE_symbolon-compile")), Vec::new())
}

fn modules(dir: &Path, key: u8, process: CompilerProcess) -> Modules {
    let engine = Engine::new(Profile::V1).unwrap();
    Modules::kept(engine, SealKey::new([key; 32]), dir, 1 << 30, process).unwrap()
}

fn unit(module: &[u8]) -> Workunit {
    Workunit {
        module: reference(module),
        args: vec!["sum".into()],
        env: Vec::new(),
        inputs: Vec::new(),
        level: Level::Command,
        limits: Limits::default(),
        max_fuel: 1_000_000,
        seed: [0; 32],
    }
}

fn ran(modules: &Modules, module: &CompiledModule, wasm: &[u8]) -> Execution {
    modules.engine().run(module, &unit(wasm), &Inputs::new(), &Cancel::new()).unwrap()
}

#[test]
fn w6_a_module_compiled_in_a_process_gives_the_same_result_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(SUM).unwrap();
    let name = reference(&wasm);
    let here = Modules::here(Engine::new(Profile::V1).unwrap());
    assert!(here.find(name).is_none());
    let plain = ran(&here, &here.compile(name, &wasm).unwrap(), &wasm);
    assert_eq!(plain.outcome, Outcome::Exited { code: 45 });

    let first = modules(dir.path(), 1, process());
    assert!(first.find(name).is_none());
    let compiled = ran(&first, &first.compile(name, &wasm).unwrap(), &wasm);
    let again = modules(dir.path(), 1, process());
    let kept = ran(&again, &again.find(name).unwrap(), &wasm);
    for other in [compiled, kept] {
        assert_eq!((other.result_root(), other.fuel), (plain.result_root(), plain.fuel));
    }
}

/// What a node does: code from the compiler process, which has no pool, and code that a node without one kept.
#[test]
fn w6_a_pool_runs_code_that_was_compiled_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let pooled = || {
        let engine = Engine::tuned(Profile::V1, u64::MAX, Tuning { pool: 1, ..Tuning::default() }).unwrap();
        Modules::kept(engine, SealKey::new([1; 32]), dir.path(), 1 << 30, process()).unwrap()
    };
    let throws = "(module (tag $t) (memory 1) (export \"memory\" (memory 0)) (func (export \"_start\") \
                  (block $h (try_table (catch $t $h) (throw $t)))))";
    for wat in [SUM, throws] {
        let wasm = wat::parse_str(wat).unwrap();
        let name = reference(&wasm);
        let here = Modules::here(Engine::new(Profile::V1).unwrap());
        let plain = ran(&here, &here.compile(name, &wasm).unwrap(), &wasm);
        let fresh = pooled();
        let compiled = ran(&fresh, &fresh.compile(name, &wasm).unwrap(), &wasm);
        let later = pooled();
        let kept = ran(&later, &later.find(name).unwrap(), &wasm);
        let unpooled = modules(dir.path(), 1, process());
        let other = ran(&unpooled, &unpooled.find(name).unwrap(), &wasm);
        for run in [compiled, kept, other] {
            assert_eq!((run.result_root(), run.fuel), (plain.result_root(), plain.fuel));
        }
    }
}

#[test]
fn w6_a_run_beyond_the_pool_has_no_outcome_and_those_after_it_do() {
    let engine = Engine::tuned(Profile::V1, u64::MAX, Tuning { pool: 1, ..Tuning::default() }).unwrap();
    let endless = wat::parse_str("(module (func (export \"_start\") (loop $l (br $l))))").unwrap();
    let sum = wat::parse_str(SUM).unwrap();
    let (looping, summing) = (engine.compile(&endless).unwrap(), engine.compile(&sum).unwrap());
    let long = Workunit { max_fuel: 1 << 46, ..unit(&endless) };
    let run = || engine.run(&summing, &unit(&sum), &Inputs::new(), &Cancel::new());
    let cancel = Cancel::after(Duration::from_secs(60));
    std::thread::scope(|scope| {
        // It may find the place taken by a short run of the other thread.
        let busy = scope.spawn(|| {
            loop {
                match engine.run(&looping, &long, &Inputs::new(), &cancel) {
                    Err(ExecutorError::PoolTaken) => std::thread::yield_now(),
                    end => break end,
                }
            }
        });
        // Until the other has its place.
        let refused = loop {
            match run() {
                Ok(_) if !busy.is_finished() => std::thread::yield_now(),
                end => break end,
            }
        };
        cancel.cancel();
        assert!(matches!(refused, Err(ExecutorError::PoolTaken)), "{refused:?}");
        assert!(matches!(busy.join().unwrap(), Err(ExecutorError::Cancelled)));
    });
    assert_eq!(run().unwrap().outcome, Outcome::Exited { code: 45 });
}

#[test]
fn w6_what_others_put_into_the_folder_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(SUM).unwrap();
    let name = reference(&wasm);
    modules(dir.path(), 1, process()).compile(name, &wasm).unwrap();
    let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let sound = fs::read(&file).unwrap();
    // Another node's key.
    assert!(modules(dir.path(), 2, process()).find(name).is_none());
    for at in [0, 40, sound.len() / 2, sound.len() - 1] {
        let mut bad = sound.clone();
        bad[at] ^= 0x10;
        fs::write(&file, bad).unwrap();
        assert!(modules(dir.path(), 1, process()).find(name).is_none(), "byte {at}");
    }
    fs::write(&file, &sound).unwrap();
    assert!(modules(dir.path(), 1, process()).find(name).is_some());
    // A module kept under another's name.
    let other = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    assert!(modules(dir.path(), 1, process()).find(reference(&other)).is_none());
}

#[test]
fn w6_a_compiler_that_takes_too_much_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(SUM).unwrap();
    let compile = |process| modules(dir.path(), 1, process).compile(reference(&wasm), &wasm).unwrap_err();
    // No room, no seal, no answer, no program.
    assert_eq!(compile(CompilerProcess { memory_bytes: 16 << 20, ..process() }), Refused::Compiler);
    let program = |name: &str, args: &[&str]| CompilerProcess {
        time: Duration::from_millis(300),
        ..CompilerProcess::new(name.into(), args.iter().map(Into::into).collect())
    };
    assert_eq!(compile(program("/bin/cat", &[])), Refused::Compiler);
    assert_eq!(compile(program("/bin/sleep", &["60"])), Refused::Compiler);
    assert_eq!(compile(program("/bin/false", &[])), Refused::Compiler);
    // Closes its mouth and its ears, and stays.
    assert_eq!(compile(program("/bin/sh", &["-c", "exec >&- <&-; exec /bin/sleep 60"])), Refused::Compiler);
    assert_eq!(compile(program("/no/such/program", &[])), Refused::Compiler);
    // What does not fit never gets there.
    let refused = modules(dir.path(), 1, program("/no/such/program", &[])).compile(reference(b"x"), b"x").unwrap_err();
    assert_eq!(refused.name(), "malformed");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
