//! What the end-to-end tests share: the built command, run as its users run it.
// Real processes are looked at again and again, each time with a deadline.
#![allow(clippy::disallowed_methods)]

pub mod rpc_proxy;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new(".")).to_owned()
}

/// The built `symbolon`, beside the test binaries.
///
/// # Errors
/// When it was not built, with the command that builds it.
pub fn symbolon() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let path = exe.parent().and_then(Path::parent).context("no target folder")?.join("symbolon");
    ensure!(path.exists(), "{} is missing; build it first: cargo build --workspace", path.display());
    Ok(path)
}

/// A command line of `symbolon`, away from this machine's own settings.
///
/// # Errors
/// When the command was not built.
pub fn command(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(symbolon()?);
    for variable in ["DATA", "NETWORK", "RPC", "PASSWORD_FILE", "LOG", "ETHER_PRICE"] {
        command.env_remove(format!("SYMBOLON_{variable}"));
    }
    command.env("SYMBOLON_ROOT", root()).args(args).stdin(Stdio::null());
    Ok(command)
}

/// Runs `symbolon` to its end.
///
/// # Errors
/// When it does not start.
pub fn run(args: &[&str]) -> Result<Output> {
    Ok(command(args)?.output()?)
}

/// Checks that a command failed as it should: this exit code, this sentence, a hint, and no panic.
///
/// # Errors
/// Naming what is missing, with everything the command said.
pub fn ensure_refused(output: &Output, code: i32, sentence: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "exit {:?} instead of {code}: {said}", output.status.code());
    ensure!(said.contains(sentence), "no {sentence:?} in: {said}");
    ensure!(said.contains("hint: "), "no hint in: {said}");
    ensure!(!said.contains("panicked"), "a panic: {said}");
    Ok(())
}

/// Checks that a command succeeded and answers its stdout.
///
/// # Errors
/// With everything the command said.
pub fn ensure_ok(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "exit {:?}: {said}", output.status.code());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A data folder with a password and a key; answers the key's address.
///
/// # Errors
/// When the key cannot be made.
pub fn party(data: &Path) -> Result<String> {
    std::fs::create_dir_all(data)?;
    let password = data.join("password");
    std::fs::write(&password, "correct horse\n")?;
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600))?;
    let made = run(&["key", "new", "--data", &text(data), "--password-file", &text(&password)])?;
    Ok(ensure_ok(&made)?.trim().to_owned())
}

/// A path as an argument.
#[must_use]
pub fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A devnet that goes down when dropped.
#[derive(Debug)]
pub struct Devnet {
    dir: PathBuf,
}

impl Devnet {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// With what the command said.
    pub fn up(dir: &Path) -> Result<Self> {
        let devnet = Self { dir: dir.to_owned() };
        ensure_ok(&run(&["devnet", "--dir", &text(dir), "up", "--port", "0"])?)?;
        Ok(devnet)
    }

    /// Its network file.
    #[must_use]
    pub fn network(&self) -> String {
        text(&self.dir.join("network.json"))
    }

    /// Gives an address ether and tokens.
    ///
    /// # Errors
    /// With what the command said.
    pub fn fund(&self, address: &str) -> Result<()> {
        ensure_ok(&run(&["devnet", "--dir", &text(&self.dir), "fund", address])?)?;
        Ok(())
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if let Ok(mut command) = command(&["devnet", "--dir", &text(&self.dir), "down"]) {
            let _ = command.output();
        }
    }
}

/// A child that is killed when dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits until the child has ended; nothing when it has not within `limit`.
    pub fn ended_within(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Some(status);
            }
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads the child's stdout until `wanted` stands in it.
    ///
    /// # Errors
    /// When stdout ends first.
    pub fn read_until(&mut self, wanted: &str) -> Result<String> {
        let stdout = self.0.stdout.as_mut().context("stdout is not piped")?;
        let (mut said, mut byte) = (Vec::new(), [0]);
        while stdout.read(&mut byte)? > 0 {
            said.extend_from_slice(&byte);
            if String::from_utf8_lossy(&said).contains(wanted) {
                return Ok(String::from_utf8_lossy(&said).into_owned());
            }
        }
        anyhow::bail!("no {wanted:?} in: {}", String::from_utf8_lossy(&said))
    }
}

/// How many processes name `needle` in their command line.
#[must_use]
pub fn processes_naming(needle: &str) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(needle))
        .count()
}

/// A JSON member that is a decimal string of base units.
///
/// # Errors
/// When it is something else.
pub fn base_units(value: &Value) -> Result<u128> {
    let text = value.as_str().with_context(|| format!("{value} is not a string"))?;
    Ok(text.parse()?)
}
