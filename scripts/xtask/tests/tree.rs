//! The rules of the tree, held against the tree itself.

use std::path::Path;
use symbolon_xtask::layers;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

#[test]
fn arrows_between_crates_only_go_down() {
    let crates = layers::workspace(root()).unwrap_or_default();
    assert!(crates.len() > 10, "cargo names {} crates", crates.len());
    let findings = layers::check(&crates);
    assert!(findings.is_empty(), "{findings:#?}");
}
