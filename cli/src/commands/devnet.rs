//! `symbolon devnet`: a local chain with the contracts on it.

use crate::{
    args::{DevnetCommand, Global},
    fail::{Failure, Hint},
    keys,
    network::{NetworkFile, chain_failure},
    output::{json, note},
};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use symbolon_primitives::{Address, Amount, U256};
use symbolon_settlement::{
    ChainConfig, ChainView, TxConfig, TxManager,
    anvil::{Anvil, AnvilConfig, AnvilError, DEVNET_CHAIN_ID, find},
    deploy::deploy,
};
use symbolon_store::StoreHandle;
use tokio::{
    process::{Child, Command},
    time::Instant,
};

/// The network file in a devnet's folder.
pub(crate) const NETWORK_FILE: &str = "network.json";
const PID_FILE: &str = "pid";
/// Ether that funding gives, in wei: 100.
const ETHER: u128 = 100_000_000_000_000_000_000;
const START: Duration = Duration::from_secs(60);

/// Runs `symbolon devnet`.
pub(crate) async fn run(dir: &Path, command: DevnetCommand, global: &Global) -> Result<(), Failure> {
    match command {
        DevnetCommand::Up { port } => up(dir, port, global.json).await,
        DevnetCommand::Serve { port } => serve(dir, port).await,
        DevnetCommand::Status => status(dir, global.json).await,
        DevnetCommand::Down => down(dir, global.json).await,
        DevnetCommand::Fund { address, tokens } => {
            let network = read(dir)?;
            fund(&network, &[address], tokens).await?;
            note(&format!("{address} has ether for gas and {} more tokens", crate::output::tokens(tokens.get())));
            Ok(())
        }
    }
}

fn read(dir: &Path) -> Result<NetworkFile, Failure> {
    let path = dir.join(NETWORK_FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Failure::input(format!("there is no devnet in {}: {e}", dir.display())).hint("symbolon devnet up")
    })?;
    serde_json::from_str(&text).map_err(|e| Failure::input(format!("{} is damaged: {e}", path.display())))
}

fn pid(dir: &Path) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(dir.join(PID_FILE)).ok()?.trim().parse().ok()?;
    // A process that is not ours any more is none.
    let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_else(|_| "symbolon".into());
    (name.contains("symbolon") && alive(pid)).then_some(pid)
}

fn alive(pid: u32) -> bool {
    super::send_signal(&["-0"], &pid.to_string())
}

/// One devnet a folder: its files name the process that ends it.
fn refuse_second(dir: &Path) -> Result<(), Failure> {
    if pid(dir).is_none() {
        return Ok(());
    }
    Err(Failure::input(format!("a devnet runs in {} already", dir.display()))
        .hint("symbolon devnet status, or symbolon devnet down"))
}

async fn up(dir: &Path, port: u16, as_json: bool) -> Result<(), Failure> {
    refuse_second(dir)?;
    keys::private_dir(dir)?;
    let _ = std::fs::remove_file(dir.join(NETWORK_FILE));
    let exe = std::env::current_exe().map_err(|e| Failure::tool(format!("cannot find this program: {e}")))?;
    let log = dir.join("log.txt");
    let failed = |e: std::io::Error| Failure::tool(format!("cannot start the devnet: {e}"));
    let stderr = std::fs::File::create(&log).map_err(failed)?;
    let mut child = Command::new(exe)
        .args(["devnet", "--dir"])
        .arg(dir)
        .args(["serve", "--port", &port.to_string()])
        .env_remove("SYMBOLON_EXIT_WITH_STDIN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let ready = tokio::select! {
        ready = get_ready(dir, &mut child, &log) => ready,
        () = super::stop_requested() => Err(Failure::chain("stopped before the devnet was ready")),
    };
    if let Err(failure) = ready {
        super::end(&mut child).await;
        return Err(failure);
    }
    status(dir, as_json).await
}

/// Waits until a devnet is there, or has ended with a reason.
async fn get_ready(dir: &Path, child: &mut Child, log: &Path) -> Result<(), Failure> {
    let until = Instant::now() + START;
    while !dir.join(NETWORK_FILE).exists() {
        if let Some(status) = super::ended_within(child, Duration::from_millis(50)).await {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::fail::CHAIN);
            let mut lines = said.lines().map(|line| line.trim_start_matches("error: ").trim_start_matches("hint: "));
            let message = lines.next().unwrap_or("the devnet ended at once").to_owned();
            let failure = Failure::new(code, message);
            return Err(match lines.next() {
                Some(hint) => failure.hint(hint),
                None => failure.hint(format!("its log is {}", log.display())),
            });
        }
        if Instant::now() > until {
            return Err(Failure::chain(format!("the devnet is not ready after {} s", START.as_secs()))
                .hint(format!("its log is {}", log.display())));
        }
    }
    Ok(())
}

/// Holds the chain until it is told to stop, which is heard from the first moment on:
/// anvil ends with its handle, and only with it.
async fn serve(dir: &Path, port: u16) -> Result<(), Failure> {
    let stop = super::stop_requested();
    tokio::pin!(stop);
    let started = tokio::select! {
        // Listening for signals begins before anvil does.
        biased;
        () = &mut stop => None,
        started = start(dir, port) => Some(started),
    };
    let served = match started {
        Some(Ok(_anvil)) => {
            stop.await;
            Ok(())
        }
        Some(Err(failure)) => Err(failure),
        None => Ok(()),
    };
    // Another devnet's files are its own.
    let own = std::fs::read_to_string(dir.join(PID_FILE)).is_ok_and(|pid| pid == std::process::id().to_string());
    if own {
        let _ = std::fs::remove_file(dir.join(NETWORK_FILE));
        let _ = std::fs::remove_file(dir.join(PID_FILE));
    }
    served
}

/// Starts anvil, deploys, and writes the network file.
async fn start(dir: &Path, port: u16) -> Result<Anvil, Failure> {
    refuse_second(dir)?;
    keys::private_dir(dir)?;
    let contracts =
        std::env::var_os("SYMBOLON_ROOT").map_or_else(|| PathBuf::from("."), PathBuf::from).join("contracts");
    if port != 0
        && let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port))
    {
        return Err(Failure::chain(format!("port {port} cannot be used: {error}"))
            .hint("stop what uses it, or take a free one with --port 0"));
    }
    let binary = find(&contracts).map_err(|e| anvil_failure(&e))?;
    let config = AnvilConfig { port, ..AnvilConfig::new(binary) };
    let anvil = Anvil::spawn(&config).await.map_err(|e| anvil_failure(&e))?;
    // Deploying needs many blocks, and nobody wants to wait for them.
    let chain = ChainView::connect(&anvil.config()).await.map_err(chain_failure)?;
    let key = anvil.keys().first().cloned().ok_or_else(|| Failure::chain("anvil has no funded key"))?;
    let deployer = dir.join("deployer");
    let _ = std::fs::remove_dir_all(&deployer);
    keys::private_dir(&deployer)?;
    let store = StoreHandle::open(deployer).await.map_err(|e| Failure::input(e.to_string()))?;
    let quick = TxConfig { poll: Duration::from_millis(20), ..TxConfig::default() };
    let txs = TxManager::new(chain, Arc::new(key), store, quick);
    let deployed = deploy(&txs, None).await.map_err(|e| {
        let failure = Failure::chain(format!("the contracts cannot be deployed: {e}"));
        match e.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    anvil.control("evm_setIntervalMining", serde_json::json!([1])).await.map_err(chain_failure)?;
    std::fs::write(dir.join(PID_FILE), std::process::id().to_string())
        .map_err(|e| Failure::input(format!("cannot write to {}: {e}", dir.display())))?;
    let network = NetworkFile {
        rpc: anvil.url().to_owned(),
        more_rpc: Vec::new(),
        chain_id: DEVNET_CHAIN_ID,
        token: deployed.token,
        vault: deployed.vault,
        deployed_at: deployed.block,
        devnet: true,
    };
    let partial = dir.join("network.partial");
    network.write(&partial)?;
    std::fs::rename(&partial, dir.join(NETWORK_FILE))
        .map_err(|e| Failure::input(format!("cannot write to {}: {e}", dir.display())))?;
    Ok(anvil)
}

fn anvil_failure(error: &AnvilError) -> Failure {
    let failure = Failure::tool(error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

async fn status(dir: &Path, as_json: bool) -> Result<(), Failure> {
    let network = read(dir)?;
    let pid = pid(dir).ok_or_else(|| {
        Failure::chain(format!("the devnet in {} does not run", dir.display())).hint("symbolon devnet up")
    })?;
    let vault = network.connect().await?;
    let head = vault.chain().head().await.map_err(chain_failure)?;
    if as_json {
        json(&serde_json::json!({
            "running": true, "pid": pid, "rpc": network.rpc, "chain_id": network.chain_id, "block": head.number,
            "token": network.token, "vault": network.vault, "network": dir.join(NETWORK_FILE),
        }));
    } else {
        note(&format!("devnet of chain {} at {}, block {}", network.chain_id, network.rpc, head.number));
        note(&format!("vault {} for token {}", network.vault, network.token));
        note(&format!("network file {}", dir.join(NETWORK_FILE).display()));
    }
    Ok(())
}

async fn down(dir: &Path, as_json: bool) -> Result<(), Failure> {
    let pid = pid(dir).ok_or_else(|| Failure::input(format!("no devnet runs in {}", dir.display())))?;
    super::terminate(pid);
    let until = Instant::now() + Duration::from_secs(10);
    while alive(pid) {
        if Instant::now() > until {
            return Err(Failure::chain(format!("the devnet (process {pid}) does not stop"))
                .hint(format!("kill -KILL -- -{pid} ends it and its anvil")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if as_json {
        json(&serde_json::json!({ "running": false }));
    } else {
        note("the devnet is down");
    }
    Ok(())
}

/// Gives addresses ether and tokens on a devnet.
pub(crate) async fn fund(network: &NetworkFile, addresses: &[Address], amount: Amount) -> Result<(), Failure> {
    if !network.devnet {
        return Err(Failure::input("only a devnet gives money away"));
    }
    let config = ChainConfig::new(network.rpc.clone(), network.chain_id);
    let chain = ChainView::connect(&config).await.map_err(chain_failure)?;
    symbolon_settlement::anvil::fund(&chain, network.token, addresses, U256::from(ETHER), amount)
        .await
        .map_err(chain_failure)?;
    Ok(())
}
