//! Arrows only go down: which crate may use which.

use crate::{Finding, Tree};
use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};
use core::fmt;
use std::path::Path;

/// Crates that do input and output, keep time or roll dice; none below layer 3.
const HEAVY: [&str; 11] = [
    "alloy",
    "axum",
    "futures",
    "getrandom",
    "hyper",
    "libp2p",
    "rand",
    "reqwest",
    "tokio",
    "wasmtime",
    "wasmtime-wasi",
];

/// Error types without a type; for the terminal and for tools.
const UNTYPED_ERRORS: [&str; 3] = ["anyhow", "eyre", "miette"];

/// A crate's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// 0 (bindings) to 5 (terminal).
    Number(u8),
    /// Tools and tests, which may use anything and which nothing uses.
    Dev,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "layer {number}"),
            Self::Dev => f.write_str("layer dev"),
        }
    }
}

/// What the checks need of a crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    /// Its package name.
    pub name: String,
    /// Its folder from the root.
    pub folder: String,
    /// Its stated layer, if it states a sound one.
    pub layer: Option<Layer>,
    /// Direct dependencies for building and running.
    pub uses: Vec<String>,
    /// Direct dependencies of its tests.
    pub tests_use: Vec<String>,
}

impl Crate {
    fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

/// Asks cargo for the workspace's crates. Works without a network.
///
/// # Errors
/// When cargo does not answer.
pub fn workspace(root: &Path) -> Result<Vec<Crate>> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let base = metadata.workspace_root.clone();
    let mut crates = Vec::new();
    for package in metadata.workspace_packages() {
        let folder =
            package.manifest_path.parent().map(|folder| folder.strip_prefix(&base).unwrap_or(folder).to_string());
        let stated = package.metadata.get("symbolon").and_then(|table| table.get("layer"));
        let layer = match stated.map(|layer| (layer.as_u64(), layer.as_str())) {
            Some((Some(number), _)) => u8::try_from(number).ok().filter(|number| *number <= 5).map(Layer::Number),
            Some((_, Some("dev"))) => Some(Layer::Dev),
            _ => None,
        };
        let named = |tests: bool| {
            let kind = move |kind| {
                if tests { kind == DependencyKind::Development } else { kind != DependencyKind::Development }
            };
            package.dependencies.iter().filter(move |one| kind(one.kind)).map(|one| one.name.clone()).collect()
        };
        crates.push(Crate {
            name: package.name.to_string(),
            folder: folder.unwrap_or_default(),
            layer,
            uses: named(false),
            tests_use: named(true),
        });
    }
    Ok(crates)
}

/// Checks every arrow between the crates of a workspace.
#[must_use]
pub fn check(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in crates {
        let mut find = |message: String| findings.push(Finding::new(&one.manifest(), 0, "layers", message));
        let Some(layer) = one.layer else {
            find(format!("{} states no [package.metadata.symbolon] layer of 0 to 5 or \"dev\"", one.name));
            continue;
        };
        for used in &one.uses {
            if let Layer::Number(number) = layer {
                // The store is the one crate below layer 3 that touches the disk, hence a thread of its own.
                let disk = one.folder == "settlement/store" && used == "tokio";
                // The one crate that turns bytes into machine code has to know the engine.
                let code = one.folder == "node/executor/artifact" && used == "wasmtime";
                if number < 3 && !disk && !code && HEAVY.contains(&used.as_str()) {
                    find(format!("{} ({layer}) uses {used}, which is for layer 3 and above", one.name));
                }
                if number < 5 && UNTYPED_ERRORS.contains(&used.as_str()) {
                    find(format!("{} ({layer}) uses {used}: libraries have typed errors", one.name));
                }
            }
            let Some(other) = crates.iter().find(|other| other.name == *used) else { continue };
            if let Some(why) = refused(one, layer, other) {
                find(format!("{} ({layer}) uses {used}: {why}", one.name));
            }
        }
        for used in &one.tests_use {
            let above = crates.iter().find(|other| other.name == *used).and_then(|other| other.layer);
            if let (Layer::Number(own), Some(Layer::Number(other))) = (layer, above)
                && other > own
            {
                find(format!("tests of {} ({layer}) use {used} of layer {other}", one.name));
            }
        }
    }
    findings
}

fn refused(one: &Crate, layer: Layer, other: &Crate) -> Option<String> {
    let below = match (layer, other.layer?) {
        (Layer::Dev, _) => return None,
        (Layer::Number(_), Layer::Dev) => return Some("nothing uses a crate of layer dev".into()),
        (Layer::Number(own), Layer::Number(other)) if other > own => {
            return Some(format!("it lies above, in layer {other}"));
        }
        (Layer::Number(own), Layer::Number(other)) => other < own || own == 1,
    };
    // Layer 1 is a short stack of its own: values, the tree, the store.
    if !below {
        return Some("crates of one layer do not know each other".into());
    }
    if one.folder.starts_with("settlement") && other.folder.starts_with("node") {
        return Some("the settlement never imports the node".into());
    }
    if one.folder == "node/net" && other.folder == "node/market" {
        return Some("the network never imports the market".into());
    }
    None
}

/// Every pure crate (layer 2) has a clippy.toml of its own with the bans that
/// make it pure, and repeats the root's entries, which it replaces.
#[must_use]
pub fn check_lint_files(crates: &[Crate], tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What is banned, and every other setting as it stands on its line.
    let settings = |text: &str| -> Vec<String> {
        let quoted = |line: &str| line.split_once("path = \"")?.1.split_once('"').map(|(path, _)| path.to_owned());
        let plain = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase()) && !line.ends_with('[');
        text.lines().filter_map(|line| quoted(line).or_else(|| plain(line).then(|| line.to_owned()))).collect()
    };
    let root = tree.get("clippy.toml").map(settings).unwrap_or_default();
    for one in crates.iter().filter(|one| one.layer == Some(Layer::Number(2))) {
        let path = format!("{}/clippy.toml", one.folder);
        let Some(text) = tree.get(&path) else {
            findings.push(Finding::new(&path, 0, "layers", format!("{} is pure and bans nothing", one.name)));
            continue;
        };
        for needed in ["HashMap", "HashSet", "Instant", "SystemTime"] {
            if !text.contains(&format!("::{needed}\"")) {
                findings.push(Finding::new(&path, 0, "layers", format!("does not ban {needed}")));
            }
        }
        let own = settings(text);
        for line in root.iter().filter(|line| !own.contains(line)) {
            findings.push(Finding::new(&path, 0, "layers", format!("does not repeat the root's `{line}`")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(name: &str, folder: &str, layer: Layer, uses: &[&str]) -> Crate {
        Crate {
            name: name.into(),
            folder: folder.into(),
            layer: Some(layer),
            uses: uses.iter().map(|used| (*used).to_owned()).collect(),
            tests_use: Vec::new(),
        }
    }

    fn sound() -> Vec<Crate> {
        use Layer::{Dev, Number};
        vec![
            one("bindings", "contracts/bindings", Number(0), &["alloy-primitives"]),
            one("primitives", "settlement/primitives", Number(1), &["bindings"]),
            one("store", "settlement/store", Number(1), &["primitives", "tokio"]),
            one("channel", "settlement/channel", Number(2), &["primitives", "bindings"]),
            one("market", "node/market", Number(2), &["primitives"]),
            one("settlement", "settlement", Number(3), &["channel", "store", "tokio"]),
            one("net", "node/net", Number(3), &["primitives", "libp2p"]),
            one("node", "node", Number(4), &["settlement", "net", "market", "rand"]),
            one("cli", "cli", Number(5), &["node", "primitives", "anyhow"]),
            one("xtask", "scripts/xtask", Dev, &["cli", "anyhow"]),
        ]
    }

    fn planted(name: &str, used: &str) -> Vec<String> {
        let mut crates = sound();
        crates.iter_mut().find(|one| one.name == name).unwrap().uses.push(used.into());
        check(&crates).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_sound_workspace_has_no_finding() {
        assert_eq!(check(&sound()), []);
    }

    #[test]
    fn canary_every_wrong_arrow_is_found() {
        for (from, to) in [
            ("bindings", "primitives"),
            ("primitives", "channel"),
            ("channel", "market"),
            ("market", "channel"),
            ("channel", "node"),
            ("settlement", "net"),
            ("settlement", "market"),
            ("net", "market"),
            ("net", "settlement"),
            ("node", "cli"),
            ("cli", "xtask"),
            ("channel", "tokio"),
            ("market", "rand"),
            ("store", "libp2p"),
            ("primitives", "anyhow"),
            ("node", "anyhow"),
        ] {
            let found = planted(from, to);
            assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
        }
    }

    #[test]
    fn canary_a_missing_layer_and_a_test_that_looks_up_are_found() {
        let mut crates = sound();
        let market = crates.iter_mut().find(|one| one.name == "market").unwrap();
        market.tests_use.push("node".into());
        assert!(check(&crates).iter().any(|finding| finding.message.contains("tests of market")));
        crates.iter_mut().find(|one| one.name == "market").unwrap().layer = None;
        assert!(check(&crates).iter().any(|finding| finding.message.contains("market states no")));
    }

    #[test]
    fn canary_a_pure_crate_without_bans_is_found() {
        let crates = [one("market", "node/market", Layer::Number(2), &[])];
        let bans = ["HashMap", "HashSet", "Instant", "SystemTime", "sleep"]
            .map(|name| format!("    {{ path = \"a::{name}\", reason = \"pure\" }},\n"))
            .concat();
        let found = |own: &str| {
            let root = "msrv = \"1\"\ndisallowed-methods = [\n    { path = \"a::sleep\" },\n]\n";
            let tree = Tree::of([("clippy.toml", root), ("node/market/clippy.toml", own)]);
            check_lint_files(&crates, &tree).len()
        };
        assert_eq!(found(&format!("msrv = \"1\"\n{bans}\n")), 0);
        assert_eq!(found(&format!("{bans}\n")), 1);
        assert_eq!(found(&format!("msrv = \"1\"\n{}\n", bans.replace("HashSet", "Other"))), 1);
        assert_eq!(found(&format!("msrv = \"1\"\n{}\n", bans.replace("sleep", "Other"))), 1);
        assert_eq!(check_lint_files(&crates, &Tree::default()).len(), 1);
    }
}
