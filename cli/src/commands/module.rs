//! `symbolon profile` and `symbolon inspect`: what fits into the sandbox.

use crate::{
    fail::{Failure, Hint},
    output::{foreign, json, line},
};
use serde_json::json;
use std::{path::Path, process::ExitCode};
use symbolon_executor::{
    Profile,
    inspect::{compiled_form, inspect},
};
use symbolon_primitives::Level;

/// Runs `symbolon profile`.
pub(crate) fn profile(as_json: bool) {
    let profile = Profile::V1;
    if as_json {
        json(&json!({ "id": profile.id(), "text": profile.text() }));
    } else {
        line(&format!("{}\n", profile.id()));
        line(profile.text().trim_end());
    }
}

/// The level's name on the command line.
pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Command => "command",
        Level::Compute => "compute",
    }
}

/// Runs `symbolon inspect`. A module that does not fit ends with 3, as `exec` would.
pub(crate) fn inspect_file(path: &Path, compiled: Option<&Path>, as_json: bool) -> Result<ExitCode, Failure> {
    let bytes = std::fs::read(path).map_err(|e| {
        Failure::input(format!("cannot read the module {}: {e}", path.display())).hint("name a WebAssembly file")
    })?;
    let found = inspect(Profile::V1, &bytes);
    if let Some(file) = compiled
        && let Ok(form) = compiled_form(Profile::V1, &bytes)
    {
        std::fs::write(file, form).map_err(|e| Failure::input(format!("cannot write {}: {e}", file.display())))?;
    }
    let levels: Vec<_> = found.levels.iter().map(|level| level_name(*level)).collect();
    if as_json {
        let problems: Vec<_> =
            found.problems.iter().map(|p| json!({ "reason": p.name(), "text": p.to_string() })).collect();
        let imports: Vec<_> = found
            .imports
            .iter()
            .map(|i| json!({ "module": i.module, "name": i.name, "kind": i.kind, "known": i.known }))
            .collect();
        let exports: Vec<_> = found.exports.iter().map(|e| json!({ "name": e.name, "kind": e.kind })).collect();
        let memories: Vec<_> = found
            .memories
            .iter()
            .map(|m| json!({ "initial_pages": m.initial_pages, "maximum_pages": m.maximum_pages }))
            .collect();
        json(&json!({
            "fits": found.fits(),
            "profile": Profile::V1.id(),
            "problems": problems,
            "reference": found.reference,
            "bytes": found.bytes,
            "levels": levels,
            "functions": found.functions,
            "imports": imports,
            "exports": exports,
            "memories": memories,
            "data_bytes": found.data_bytes,
            "start_fuel": found.start_fuel,
        }));
    } else {
        line(&format!("reference  {}", found.reference));
        line(&format!("size       {} bytes, {} functions", found.bytes, found.functions));
        for memory in &found.memories {
            let most = memory.maximum_pages.map_or_else(|| "no maximum".into(), |pages| format!("at most {pages}"));
            line(&format!("memory     {} pages of 64 KiB at the start, {most}", memory.initial_pages));
        }
        for import in &found.imports {
            let unknown = if import.known { "" } else { "  (does not exist here)" };
            line(&format!("import     {} {}.{}{unknown}", import.kind, foreign(&import.module), foreign(&import.name)));
        }
        for export in &found.exports {
            line(&format!("export     {} {}", export.kind, foreign(&export.name)));
        }
        if let Some(fuel) = found.start_fuel {
            line(&format!("start      {fuel} fuel"));
        }
        if found.fits() {
            let at = if levels.is_empty() {
                "but has nothing to start: it exports neither _start nor compute".into()
            } else {
                format!("and runs as {}", levels.join(" and "))
            };
            line(&format!("fits       profile {} {at}", Profile::V1.id()));
        }
        for problem in &found.problems {
            line(&format!("refused    {}", foreign(&problem.to_string())));
        }
    }
    Ok(if found.fits() { ExitCode::SUCCESS } else { ExitCode::from(crate::fail::INPUT) })
}
