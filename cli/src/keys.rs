//! Key files: Web3 secret storage (version 3), readable by their owner alone.

use crate::fail::{Failure, Hint};
use std::{
    fs,
    io::{IsTerminal, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};
use symbolon_primitives::{Key, Signer};

const KEY_FILE: &str = "key.json";
const PEER_FILE: &str = "peer.key";
/// The files of a data folder that hold secrets.
pub(crate) const SECRET_FILES: [&str; 2] = [KEY_FILE, PEER_FILE];

/// Where a password comes from: a file, the environment, or the terminal.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PasswordArgs {
    /// File whose first line is the key's password; asked for on a terminal otherwise
    #[arg(long, value_name = "FILE", env = "SYMBOLON_PASSWORD_FILE", global = true)]
    password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// A password in this file.
    pub(crate) fn from_file(path: PathBuf) -> Self {
        Self { password_file: Some(path) }
    }

    fn read(&self, prompt: &str) -> Result<String, Failure> {
        if let Some(path) = &self.password_file {
            refuse_loose(path, "password file")?;
            let text = fs::read_to_string(path).map_err(|e| {
                Failure::input(format!("cannot read the password file {}: {e}", path.display()))
                    .hint("give a readable file with --password-file")
            })?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        if std::io::stdin().is_terminal() {
            return rpassword::prompt_password(prompt)
                .map_err(|e| Failure::input(format!("cannot read a password from the terminal: {e}")));
        }
        Err(Failure::input("the key needs a password and there is no terminal to ask on")
            .hint("give --password-file FILE or set SYMBOLON_PASSWORD_FILE"))
    }
}

/// A file that holds a secret must be its owner's alone.
fn refuse_loose(path: &Path, what: &str) -> Result<(), Failure> {
    let Ok(meta) = fs::metadata(path) else { return Ok(()) };
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::input(format!("the {what} {} can be read by others (mode {mode:03o})", path.display()))
            .hint(format!("chmod 600 {}", path.display())));
    }
    Ok(())
}

/// Makes a folder that only its owner can enter.
pub(crate) fn private_dir(dir: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
        Failure::input(format!("cannot create the data folder {}: {e}", dir.display()))
            .hint("choose another one with --data")
    })
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let partial = path.with_extension("partial");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(partial, path)
}

/// Stores `secret`, or a new one, in `data`; never overwrites.
pub(crate) fn create(data: &Path, password: &PasswordArgs, secret: Option<[u8; 32]>) -> Result<Key, Failure> {
    private_dir(data)?;
    let path = data.join(KEY_FILE);
    if path.exists() {
        return Err(Failure::input(format!("{} exists already; it is not overwritten", path.display()))
            .hint("use another --data folder, or move the old key away first"));
    }
    let secret = match secret {
        Some(secret) => secret,
        None => loop {
            let secret: [u8; 32] = rand::random();
            if Key::from_bytes(&secret).is_ok() {
                break secret;
            }
        },
    };
    let key = Key::from_bytes(&secret).map_err(|e| Failure::input(format!("the secret is {e}")))?;
    let word = password.read("password for the new key: ")?;
    // Encrypted under another name first, so that the key file is never loose.
    let partial = format!("{KEY_FILE}.new");
    let failed = |e: &dyn std::fmt::Display| Failure::input(format!("cannot write {}: {e}", path.display()));
    eth_keystore::encrypt_key(data, &mut rand08::rngs::OsRng, secret, word, Some(&partial)).map_err(|e| failed(&e))?;
    let partial = data.join(partial);
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o600)).map_err(|e| failed(&e))?;
    fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(|e| failed(&e))?;
    fs::rename(&partial, &path).map_err(|e| failed(&e))?;
    Ok(key)
}

/// Opens the key of a data folder.
pub(crate) fn open(data: &Path, password: &PasswordArgs) -> Result<Key, Failure> {
    let path = data.join(KEY_FILE);
    if !path.exists() {
        return Err(Failure::input(format!("there is no key in {}", data.display()))
            .hint(format!("symbolon key new --data {}", data.display())));
    }
    refuse_loose(&path, "key file")?;
    let word = password.read("password: ")?;
    let secret = eth_keystore::decrypt_key(&path, word).map_err(|e| match e {
        eth_keystore::KeystoreError::MacMismatch => Failure::input(format!("wrong password for {}", path.display()))
            .hint("check --password-file; nothing was changed"),
        other => Failure::input(format!("{} is not a key file: {other}", path.display()))
            .hint("restore it from a backup, or make a new key in another folder"),
    })?;
    let secret: [u8; 32] =
        secret.try_into().map_err(|_| Failure::input(format!("{} does not hold a 32-byte secret", path.display())))?;
    Key::from_bytes(&secret).map_err(|e| Failure::input(format!("{}: {e}", path.display())))
}

/// The peer identity of a data folder: a key of its own, made at first use.
pub(crate) fn identity(data: &Path) -> Result<symbolon_net::Identity, Failure> {
    let path = data.join(PEER_FILE);
    if path.exists() {
        refuse_loose(&path, "peer key")?;
        let bytes = fs::read(&path).map_err(|e| Failure::input(format!("cannot read {}: {e}", path.display())))?;
        return symbolon_net::Identity::from_bytes(&bytes).map_err(|e| {
            Failure::input(format!("{} is not a peer key: {e}", path.display()))
                .hint("delete it; a new one is made at the next start")
        });
    }
    let identity = symbolon_net::Identity::generate();
    let bytes = identity.to_bytes().map_err(|e| Failure::input(format!("cannot make a peer key: {e}")))?;
    write_private(&path, &bytes).map_err(|e| Failure::input(format!("cannot write {}: {e}", path.display())))?;
    Ok(identity)
}

/// `symbolon key`
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key in a data folder
    New {
        /// Take the secret (64 hexadecimal digits) from this file instead of drawing one
        #[arg(long, value_name = "FILE")]
        import: Option<PathBuf>,
    },
    /// Print the address of a data folder's key
    Address,
}

/// Runs `symbolon key`.
pub(crate) fn run(command: &KeyCommand, data: &Path, password: &PasswordArgs, json: bool) -> Result<(), Failure> {
    let key = match command {
        KeyCommand::New { import } => {
            let secret = import.as_deref().map(read_secret).transpose()?;
            create(data, password, secret)?
        }
        KeyCommand::Address => open(data, password)?,
    };
    let address = key.address().to_string();
    if json {
        crate::output::json(&serde_json::json!({ "address": address }));
    } else {
        crate::output::line(&address);
    }
    Ok(())
}

fn read_secret(path: &Path) -> Result<[u8; 32], Failure> {
    refuse_loose(path, "secret file")?;
    let text = fs::read_to_string(path).map_err(|e| Failure::input(format!("cannot read {}: {e}", path.display())))?;
    let id: symbolon_primitives::Nonce = text
        .trim()
        .parse()
        .map_err(|_| Failure::input(format!("{} does not hold 64 hexadecimal digits", path.display())))?;
    Ok(*id.as_bytes())
}
