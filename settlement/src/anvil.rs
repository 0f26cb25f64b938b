//! A local chain for the devnet and the tests: the anvil binary that the
//! contracts' package pins, started, awaited and ended.

use crate::{
    ChainError, ChainView, ops,
    rpc::{ChainConfig, Rpc, Trust},
};
use alloy::primitives::{Address, B256, U64, U256};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use symbolon_primitives::{Amount, Key};
use tokio::sync::oneshot;

/// The variable that names an anvil binary and goes before everything else.
pub const ANVIL_VARIABLE: &str = "SYMBOLON_ANVIL";

/// The chain id of a devnet, anvil's own.
pub const DEVNET_CHAIN_ID: u64 = 31_337;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no local chain.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnvilError {
    /// The binary is nowhere.
    #[error("anvil is not at {}", path.display())]
    NotFound {
        /// Where it had to be.
        path: PathBuf,
    },
    /// The system could not start it.
    #[error("anvil at {} did not start", path.display())]
    NotStarted {
        /// The binary.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// It ended, or said nothing for a minute.
    #[error("anvil did not get ready: {last_words}")]
    NotReady {
        /// The last line it wrote.
        last_words: String,
    },
    /// It runs and does not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl AnvilError {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } => {
                Some("npm ci --ignore-scripts --prefix contracts, or name a binary in SYMBOLON_ANVIL")
            }
            Self::NotReady { .. } => Some("the port may be taken; 0 picks a free one"),
            _ => None,
        }
    }
}

/// The binary that [`ANVIL_VARIABLE`] names, or the one installed under `contracts`.
///
/// # Errors
/// [`AnvilError::NotFound`] when there is none.
pub fn find(contracts: &Path) -> Result<PathBuf, AnvilError> {
    let path = match std::env::var_os(ANVIL_VARIABLE) {
        Some(named) => PathBuf::from(named),
        None => {
            let (os, exe) = match std::env::consts::OS {
                "macos" => ("darwin", "anvil"),
                "windows" => ("win32", "anvil.exe"),
                other => (other, "anvil"),
            };
            let arch = match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            };
            // The platform's binary: the wrapper beside it hides exit codes.
            contracts.join("node_modules/@foundry-rs").join(format!("anvil-{os}-{arch}")).join("bin").join(exe)
        }
    };
    if path.is_file() { Ok(path) } else { Err(AnvilError::NotFound { path }) }
}

/// How to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnvilConfig {
    /// The binary.
    pub binary: PathBuf,
    /// The port on the loopback interface; 0 picks a free one.
    pub port: u16,
    /// The chain's id.
    pub chain_id: u64,
    /// Seconds from block to block; nothing mines at each transaction.
    pub block_secs: Option<u64>,
    /// A file to load the state from and to save it to at the end.
    pub state: Option<PathBuf>,
}

impl AnvilConfig {
    /// A fresh chain on a free port that mines at each transaction.
    #[must_use]
    pub fn new(binary: PathBuf) -> Self {
        Self { binary, port: 0, chain_id: DEVNET_CHAIN_ID, block_secs: None, state: None }
    }
}

/// A running local chain, ended when dropped. It is in its owner's process group, so
/// that whoever kills an owner that drops nothing can kill the group, and it too.
#[derive(Debug)]
pub struct Anvil {
    process: Process,
    url: String,
    chain_id: u64,
    keys: Vec<Key>,
    rpc: Rpc,
}

/// What anvil says of itself when it starts.
#[derive(Default)]
struct Banner {
    port: Option<u16>,
    keys: Vec<Key>,
    last_words: String,
}

impl Anvil {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// [`AnvilError`] when it does not start, or does not answer in time.
    pub async fn spawn(config: &AnvilConfig) -> Result<Self, AnvilError> {
        let mut command = Command::new(&config.binary);
        command
            .args(["--host", "127.0.0.1", "--hardfork", "osaka", "--slots-in-an-epoch", "1"])
            .args(["--port", &config.port.to_string(), "--chain-id", &config.chain_id.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(secs) = config.block_secs {
            command.args(["--block-time", &secs.to_string()]);
        }
        if let Some(state) = &config.state {
            // Saved every other second: it is killed at the end, not asked.
            command.args(["--state-interval", "2", "--state"]).arg(state);
        }
        let not_started = |source| AnvilError::NotStarted { path: config.binary.clone(), source: Arc::new(source) };
        let mut process = Process(command.spawn().map_err(not_started)?);
        let banner = read_banner(&mut process.0).await?;
        let Some(port) = banner.port else {
            return Err(AnvilError::NotReady { last_words: banner.last_words });
        };
        let url = format!("http://127.0.0.1:{port}");
        let rpc = Rpc::new(&ChainConfig::new(url.clone(), config.chain_id))?;
        rpc.head(Trust::Any).await?;
        Ok(Self { process, url, chain_id: config.chain_id, keys: banner.keys, rpc })
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The chain's id.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// How to connect to it.
    #[must_use]
    pub fn config(&self) -> ChainConfig {
        ChainConfig::new(self.url.clone(), self.chain_id)
    }

    /// Its well-known keys, each with ether.
    ///
    /// # Safety of funds
    /// Everybody knows them: worthless anywhere but here.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Mines this many blocks.
    ///
    /// # Errors
    /// [`ChainError`] when it does not answer.
    pub async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        self.control("anvil_mine", json!([U64::from(blocks)])).await
    }

    /// Moves the chain's clock ahead and mines a block there.
    ///
    /// # Errors
    /// [`ChainError`] when it does not answer.
    pub async fn warp(&self, secs: u64) -> Result<(), ChainError> {
        self.control("evm_increaseTime", json!([U64::from(secs)])).await?;
        self.mine(1).await
    }

    /// Whether it mines at each transaction.
    ///
    /// # Errors
    /// [`ChainError`] when it does not answer.
    pub async fn set_automine(&self, on: bool) -> Result<(), ChainError> {
        self.control("evm_setAutomine", json!([on])).await
    }

    /// Gives an account ether.
    ///
    /// # Errors
    /// [`ChainError`] when it does not answer.
    pub async fn set_ether(&self, account: Address, wei: U256) -> Result<(), ChainError> {
        self.control("anvil_setBalance", json!([account, wei])).await
    }

    /// Any other of its own methods, for its effect.
    ///
    /// # Errors
    /// [`ChainError`] when it refuses or does not answer.
    pub async fn control(&self, method: &'static str, params: Value) -> Result<(), ChainError> {
        self.rpc.request::<Value>(method, params).await.map(|_| ())
    }
}

/// On a running devnet, gives each of `accounts` this much ether, and mints it
/// tokens of the devnet's token, at the expense of one of anvil's own accounts.
///
/// # Errors
/// [`ChainError`] when the endpoint is no anvil, or the token refuses.
pub async fn fund(
    chain: &ChainView,
    token: Address,
    accounts: &[Address],
    wei: U256,
    tokens: Amount,
) -> Result<(), ChainError> {
    let own: Vec<Address> = chain.rpc().request("eth_accounts", json!([])).await?;
    // The first one deploys.
    let from = own.last().copied().ok_or(ChainError::BadAnswer { method: "eth_accounts" })?;
    let mut sent = Vec::with_capacity(accounts.len());
    for account in accounts {
        chain.rpc().request::<Value>("anvil_setBalance", json!([account, wei])).await?;
        let mint = ops::mint(token, *account, tokens, B256::ZERO);
        let call = json!([{ "from": from, "to": mint.to, "data": mint.data }]);
        sent.push(chain.rpc().request::<B256>("eth_sendTransaction", call).await?);
    }
    // One block takes them all.
    for hash in sent {
        let mut polls = 0;
        let receipt = loop {
            match chain.receipt(hash).await? {
                Some(receipt) => break receipt,
                None if polls < FUND_POLLS => polls += 1,
                None => return Err(ChainError::BadAnswer { method: "eth_getTransactionReceipt" }),
            }
            tokio::time::sleep(FUND_POLL).await;
        };
        if !receipt.status() {
            return Err(ChainError::BadAnswer { method: "eth_sendTransaction" });
        }
    }
    Ok(())
}

const FUND_POLL: Duration = Duration::from_millis(50);
const FUND_POLLS: u32 = 600;

/// A child that ends with its owner.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is what was wanted.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Reads what anvil writes until it listens. The thread reads on to the end,
/// so that the pipe never fills.
async fn read_banner(child: &mut Child) -> Result<Banner, AnvilError> {
    let silent = || AnvilError::NotReady { last_words: String::new() };
    let output = child.stdout.take().ok_or_else(silent)?;
    let (ready, listening) = oneshot::channel();
    let mut ready = Some(ready);
    std::thread::spawn(move || {
        let mut banner = Banner::default();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if ready.is_none() {
                continue;
            }
            banner.read(&line);
            if banner.port.is_some()
                && let Some(ready) = ready.take()
            {
                let _gone = ready.send(std::mem::take(&mut banner));
            }
        }
        if let Some(ready) = ready.take() {
            let _gone = ready.send(banner);
        }
    });
    match tokio::time::timeout(READY_WITHIN, listening).await {
        Ok(Ok(banner)) => Ok(banner),
        _ => Err(silent()),
    }
}

impl Banner {
    fn read(&mut self, line: &str) {
        if let Some(address) = line.strip_prefix("Listening on ") {
            self.port = address.rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok());
        } else if let Some((number, secret)) = line.split_once(") 0x")
            && number.starts_with('(')
            && let Ok(secret) = secret.trim().parse::<B256>()
            && let Ok(key) = Key::from_bytes(&secret.0)
        {
            self.keys.push(key);
        }
        if !line.trim().is_empty() {
            self.last_words = line.trim().chars().take(200).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_keys_and_port() {
        let mut banner = Banner::default();
        for line in [
            "(0) 0x1111111111111111111111111111111111111111 (10000.000000000000000000 ETH)",
            "(0) 0x2222222222222222222222222222222222222222222222222222222222222222",
            "Base Fee",
            "Listening on 127.0.0.1:41234",
        ] {
            banner.read(line);
        }
        assert_eq!((banner.port, banner.keys.len()), (Some(41_234), 1));
    }

    #[test]
    fn a_missing_binary_comes_with_a_hint() {
        // The variable goes first; without it the folder is what counts.
        if std::env::var_os(ANVIL_VARIABLE).is_none() {
            let found = find(Path::new("nowhere"));
            assert!(matches!(&found, Err(error @ AnvilError::NotFound { .. }) if error.hint().is_some()));
        }
    }
}
