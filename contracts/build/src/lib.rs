//! Compiles the contracts with the pinned solc and keeps `contracts/artifacts` equal to their sources.
//!
//! The artifacts are committed, so that the bindings need no solc, no node and no network. They are plain
//! JSON with a fixed order of members and carry nothing that depends on a machine: no paths, no metadata
//! hash, no source maps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use foundry_compilers::{
    ProjectBuilder, ProjectPathsConfig, SolcConfig,
    artifacts::{BytecodeHash, CompactBytecode, EvmVersion, Remapping, Settings, SettingsMetadata},
    solc::{Solc, SolcCompiler, SolcSettings},
};
use serde_json::{Value, json};

/// The contracts that have an artifact.
pub const CONTRACTS: [&str; 5] = ["Court", "DevToken", "Factory", "IVault", "Vault"];

/// The compiler's version, as pinned in `package.json`.
pub const SOLC_VERSION: &str = "0.8.37";

/// The optimiser's runs: the contracts are called far more often than deployed.
pub const OPTIMIZER_RUNS: usize = 20_000;

/// The EVM version the bytecode is for.
pub const EVM_VERSION: EvmVersion = EvmVersion::Osaka;

/// One artifact: the contract's name and the exact text of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The contract's name.
    pub name: String,
    /// The text of `artifacts/<name>.json`, newline included.
    pub text: String,
}

/// The `contracts` folder that this crate lies in.
pub fn project_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("the crate has no parent folder")?;
    Ok(root.to_path_buf())
}

/// Where an artifact is kept.
pub fn artifact_path(root: &Path, name: &str) -> PathBuf {
    root.join("artifacts").join(format!("{name}.json"))
}

/// Compiles `src` under `root` and returns the artifacts, sorted by name.
///
/// # Errors
/// When the npm packages are missing, solc is not the pinned version, or the sources do not compile.
pub fn compile(root: &Path) -> Result<Vec<Artifact>> {
    if !root.join("node_modules").join("solc").is_dir() {
        bail!("solc is not installed\nhint: npm ci --ignore-scripts --prefix contracts");
    }
    let solc = Solc::new(root.join("solc")).context("cannot run contracts/solc")?;
    if solc.version_short().to_string() != SOLC_VERSION {
        bail!("solc {} is installed, {SOLC_VERSION} is pinned", solc.version);
    }

    let paths = ProjectPathsConfig::builder()
        .root(root)
        .sources(root.join("src"))
        .tests(root.join("no-tests"))
        .scripts(root.join("no-scripts"))
        .no_libs()
        .remapping(Remapping { context: None, name: "solady/".to_owned(), path: "node_modules/solady/".to_owned() })
        .build()?;
    let project = ProjectBuilder::<SolcCompiler>::default()
        .paths(paths)
        .settings(SolcSettings { settings: settings(), cli_settings: Default::default() })
        .ephemeral()
        .no_artifacts()
        .offline()
        .single_solc_jobs()
        .build(SolcCompiler::Specific(solc))?;
    let output = project.compile()?;
    if output.has_compiler_errors() {
        bail!("the contracts do not compile\n{output}");
    }

    CONTRACTS
        .iter()
        .map(|name| {
            let found = output.find_first(name).ok_or_else(|| anyhow!("no contract {name} in src"))?;
            let abi = found.abi.as_ref().ok_or_else(|| anyhow!("{name} has no abi"))?;
            let creation = hex_of(name, found.bytecode.as_ref())?;
            let deployed = found.deployed_bytecode.as_ref().and_then(|code| code.bytecode.as_ref());
            let deployed = hex_of(name, deployed)?;
            Ok(Artifact {
                name: (*name).to_owned(),
                text: render(name, &serde_json::to_value(abi)?, &creation, &deployed)?,
            })
        })
        .collect()
}

/// Writes the artifacts that changed and returns their names.
pub fn write(root: &Path, artifacts: &[Artifact]) -> Result<Vec<String>> {
    fs::create_dir_all(root.join("artifacts"))?;
    let mut written = Vec::new();
    for artifact in artifacts {
        let path = artifact_path(root, &artifact.name);
        if fs::read_to_string(&path).is_ok_and(|old| old == artifact.text) {
            continue;
        }
        fs::write(&path, &artifact.text).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(artifact.name.clone());
    }
    Ok(written)
}

/// Compares the committed artifacts with freshly compiled ones; each string names one difference.
pub fn differences(root: &Path, artifacts: &[Artifact]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for artifact in artifacts {
        match fs::read_to_string(artifact_path(root, &artifact.name)) {
            Err(error) => found.push(format!("{}: {error}", artifact.name)),
            Ok(old) if old == artifact.text => {}
            Ok(old) => found.push(describe(&artifact.name, &old, &artifact.text)),
        }
    }
    for entry in fs::read_dir(root.join("artifacts"))? {
        let file = entry?.file_name();
        let known = artifacts.iter().any(|artifact| file.to_str() == Some(&format!("{}.json", artifact.name)));
        if !known {
            found.push(format!("{}: no such contract", file.display()));
        }
    }
    Ok(found)
}

fn settings() -> Settings {
    let mut settings = SolcConfig::builder().build();
    settings.optimizer.enabled = Some(true);
    settings.optimizer.runs = Some(OPTIMIZER_RUNS);
    settings.via_ir = Some(true);
    settings.evm_version = Some(EVM_VERSION);
    settings.metadata = Some(SettingsMetadata {
        use_literal_content: None,
        bytecode_hash: Some(BytecodeHash::None),
        cbor_metadata: Some(false),
    });
    settings
}

/// The bytecode as hexadecimal text; `0x` for an interface. An unlinked library is refused.
fn hex_of(name: &str, bytecode: Option<&CompactBytecode>) -> Result<String> {
    match bytecode {
        None => Ok("0x".to_owned()),
        Some(code) => code.object.as_bytes().map(ToString::to_string).ok_or_else(|| anyhow!("{name} is not linked")),
    }
}

fn render(name: &str, abi: &Value, creation: &str, deployed: &str) -> Result<String> {
    let value = json!({
        "contractName": name,
        "compiler": { "solc": SOLC_VERSION },
        "settings": {
            "bytecodeHash": "none",
            "evmVersion": EVM_VERSION.to_string(),
            "optimizerRuns": OPTIMIZER_RUNS,
            "viaIR": true,
        },
        "abi": abi,
        "bytecode": creation,
        "deployedBytecode": deployed,
    });
    let mut text = serde_json::to_string_pretty(&value)?;
    text.push('\n');
    Ok(text)
}

/// Names the members of two artifacts that differ.
fn describe(name: &str, old: &str, new: &str) -> String {
    let (Ok(Value::Object(old)), Ok(Value::Object(new))) = (serde_json::from_str(old), serde_json::from_str(new))
    else {
        return format!("{name}: the committed file is not an artifact");
    };
    let members: Vec<&str> =
        new.iter().filter(|(key, value)| old.get(*key) != Some(value)).map(|(key, _)| key.as_str()).collect();
    if members.is_empty() { format!("{name}: layout of the file") } else { format!("{name}: {}", members.join(", ")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    /// Forge tests what the artifacts ship only while both compile with the same settings.
    #[test]
    fn foundry_toml_has_the_same_settings() {
        let text = fs::read_to_string(project_root().unwrap().join("foundry.toml")).unwrap();
        for line in [
            format!("optimizer_runs = {OPTIMIZER_RUNS}"),
            format!("evm_version = \"{EVM_VERSION}\""),
            "via_ir = true".to_owned(),
            "optimizer = true".to_owned(),
            "bytecode_hash = \"none\"".to_owned(),
            "cbor_metadata = false".to_owned(),
        ] {
            assert!(text.lines().any(|have| have == line), "{line}");
        }
    }

    #[test]
    fn package_json_pins_the_same_solc() {
        let text = fs::read_to_string(project_root().unwrap().join("package.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["devDependencies"]["solc"], SOLC_VERSION);
    }

    #[test]
    fn committed_artifacts_are_complete_and_deployable() {
        let root = project_root().unwrap();
        for name in CONTRACTS {
            let text = fs::read_to_string(artifact_path(&root, name)).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["contractName"], name);
            assert_eq!(value["compiler"]["solc"], SOLC_VERSION);
            let deployed = value["deployedBytecode"].as_str().unwrap();
            assert_eq!(deployed == "0x", name == "IVault", "only an interface has no code");
            assert!(deployed.len() < 2 * 24_576, "{name} is too large to deploy");
        }
    }

    #[test]
    fn differences_name_the_member_and_the_stranger() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let artifact = Artifact { name: "A".to_owned(), text: render("A", &json!([]), "0x01", "0x02").unwrap() };
        assert_eq!(write(root, std::slice::from_ref(&artifact)).unwrap(), ["A"]);
        assert!(differences(root, std::slice::from_ref(&artifact)).unwrap().is_empty());
        assert!(write(root, std::slice::from_ref(&artifact)).unwrap().is_empty());

        let other = Artifact { name: "A".to_owned(), text: render("A", &json!([]), "0x03", "0x02").unwrap() };
        assert_eq!(differences(root, &[other]).unwrap(), ["A: bytecode"]);
        assert_eq!(differences(root, &[]).unwrap(), ["A.json: no such contract"]);
        fs::write(artifact_path(root, "A"), "junk").unwrap();
        assert_eq!(differences(root, &[artifact]).unwrap(), ["A: the committed file is not an artifact"]);
    }

    #[test]
    fn a_tree_without_npm_packages_gets_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let message = compile(folder.path()).unwrap_err().to_string();
        assert!(message.contains("hint: npm ci"), "{message}");
    }
}
