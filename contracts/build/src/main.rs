//! Regenerates `contracts/artifacts`; with `--check` only says whether they are what the sources compile to.

use std::{env, io::Write, process::ExitCode};

use anyhow::{Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let check = match arguments.as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("the only argument is --check"),
    };
    let root = symbolon_contracts_build::project_root()?;
    let artifacts = symbolon_contracts_build::compile(&root)?;
    let mut stderr = std::io::stderr();
    if !check {
        for name in symbolon_contracts_build::write(&root, &artifacts)? {
            writeln!(stderr, "wrote artifacts/{name}.json")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let differences = symbolon_contracts_build::differences(&root, &artifacts)?;
    for difference in &differences {
        writeln!(stderr, "differs: {difference}")?;
    }
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(stderr, "hint: cargo run -p symbolon-contracts-build")?;
    Ok(ExitCode::FAILURE)
}
