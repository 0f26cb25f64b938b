//! The `symbolon` command itself, with a witness in its stores that kills it
//! where it is told to. What it does until then is what the product does.

use std::{
    io::Write,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};
use symbolon_store::{Point, Witness};

/// Where to die: a point's name and the how manieth passing, as `PutVoucher-Durable 2`.
const DIE_AT: &str = "SYMBOLON_DIE_AT";
/// A file that gets the name of every point that is passed, a line each.
const PASSED: &str = "SYMBOLON_PASSED";

/// Kills its process at one point, as the system would: no destructor, no flush, no goodbye.
#[derive(Debug)]
struct Doom {
    point: Option<(String, u64)>,
    passed: Mutex<u64>,
    record: Option<Mutex<std::fs::File>>,
}

impl Doom {
    fn from_environment() -> Self {
        let point = std::env::var(DIE_AT).ok().and_then(|said| {
            let (name, at) = said.split_once(' ')?;
            Some((name.to_owned(), at.parse().ok()?))
        });
        let record = std::env::var_os(PASSED)
            .and_then(|path| std::fs::OpenOptions::new().create(true).append(true).open(path).ok().map(Mutex::new));
        Self { point, passed: Mutex::default(), record }
    }
}

impl Witness for Doom {
    fn at(&self, point: Point) {
        if let Some(record) = &self.record {
            // Whoever reads the file notices what is missing.
            let _ = writeln!(record.lock().unwrap_or_else(PoisonError::into_inner), "{point}");
        }
        let Some((name, at)) = &self.point else { return };
        if *name != point.to_string() {
            return;
        }
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        *passed += 1;
        if *passed == *at {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}

fn main() -> ExitCode {
    symbolon_cli::main(Some(Arc::new(Doom::from_environment())))
}
