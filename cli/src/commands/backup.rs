//! `symbolon backup` and `symbolon restore`: a node's state in one file, and back.

use crate::{
    args::Global,
    fail::{Failure, Hint},
    keys::SECRET_FILES,
    output::{json, note},
};
use std::path::Path;
use symbolon_store::{Contents, StoreError};

/// Writes a backup.
pub(crate) fn backup(file: &Path, with_keys: bool, global: &Global) -> Result<(), Failure> {
    let with: &[&str] = if with_keys { &SECRET_FILES } else { &[] };
    let contents = symbolon_store::backup(&global.data, file, with).map_err(|error| store_failure(&error))?;
    say("backed up", file, &contents, global.json);
    Ok(())
}

/// Makes a folder's state from a backup.
pub(crate) fn restore(file: &Path, global: &Global) -> Result<(), Failure> {
    let contents =
        symbolon_store::restore(file, &global.data, symbolon_node::now()).map_err(|error| store_failure(&error))?;
    say("restored", file, &contents, global.json);
    if !global.json {
        note("never run it beside the node it was made from: both would sign with one key");
    }
    Ok(())
}

fn say(done: &str, file: &Path, contents: &Contents, as_json: bool) {
    let Contents { database_bytes, files } = contents;
    if as_json {
        json(&serde_json::json!({ "file": file, "database_bytes": database_bytes, "files": files }));
    } else {
        let keys = if files.is_empty() { "no keys".to_owned() } else { files.join(", ") };
        note(&format!("{done}: {database_bytes} bytes of state, {keys}"));
    }
}

fn store_failure(error: &StoreError) -> Failure {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(why) = cause {
        message = format!("{message}: {why}");
        cause = why.source();
    }
    let failure = Failure::input(message);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
