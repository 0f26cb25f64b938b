//! `symbolon backup` and `symbolon restore`: a node's state in one file, and back.

use crate::{
    args::Global,
    fail::Failure,
    keys::SECRET_FILES,
    network::store_failure,
    output::{json, note},
};
use std::path::Path;
use symbolon_store::Contents;

/// Writes a backup.
pub(crate) fn backup(file: &Path, with_keys: bool, global: &Global) -> Result<(), Failure> {
    let with: &[&str] = if with_keys { &SECRET_FILES } else { &[] };
    let contents = symbolon_store::backup(&global.data, file, with).map_err(store_failure)?;
    say("backed up", file, &contents, global.json);
    Ok(())
}

/// Makes a folder's state from a backup.
pub(crate) fn restore(file: &Path, global: &Global) -> Result<(), Failure> {
    let contents = symbolon_store::restore(file, &global.data, symbolon_node::now()).map_err(store_failure)?;
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
