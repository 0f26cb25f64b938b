//! Assembles the fuel vectors and writes what they come to into `vectors/`, for
//! whoever makes a new profile: `cargo run -p symbolon-executor --example bless`.
//!
//! A profile that is in use is never blessed again: other numbers are another profile.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fmt::Write;
use symbolon_executor::{Cancel, Engine, Inputs, Outcome, Profile};
use symbolon_primitives::{ContentRef, Level, Limits, Workunit};

fn main() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let engine = Engine::new(Profile::V1).unwrap();
    let unit = Workunit {
        module: ContentRef::from_bytes([0; 32]),
        args: vec!["vector".to_owned()],
        env: Vec::new(),
        inputs: Vec::new(),
        level: Level::Command,
        limits: Limits { memory_bytes: 4 << 20, output_bytes: 1 << 20, files: 16 },
        max_fuel: 10_000_000,
        seed: [0; 32],
    };
    let mut out = String::from("const VECTORS: &[Vector] = &[\n");
    for name in ["arithmetic", "calls", "memory", "vectors", "exceptions", "nans", "world"] {
        let wasm = wat::parse_file(format!("{dir}/{name}.wat")).unwrap();
        std::fs::write(format!("{dir}/{name}.wasm"), &wasm).unwrap();
        let module = engine.compile(&wasm).unwrap();
        let run = engine.run(&module, &unit, &Inputs::new(), &Cancel::new()).unwrap();
        assert!(matches!(run.outcome, Outcome::Exited { .. }), "{name}: {}", run.outcome);
        println!("{name}: {}, {} fuel", run.outcome, run.fuel);
        let root = run.result_root();
        let (first, second) = root.as_bytes().split_at(16);
        let line = |half: &[u8]| half.iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(", ");
        write!(
            out,
            "    Vector {{\n        name: \"{name}\",\n        module: include_bytes!(\"../vectors/{name}.wasm\"),\n        \
             fuel: {},\n        root: [\n            {},\n            {},\n        ],\n    }},\n",
            run.fuel,
            line(first),
            line(second),
        )
        .unwrap();
    }
    out.push_str("];\n");
    std::fs::write(format!("{dir}/expected.in"), out).unwrap();
    println!("profile {}", Profile::V1.id());
}
