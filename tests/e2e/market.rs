//! A devnet with providers, and requestors whose keys are known here.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use symbolon_primitives::Key;
use symbolon_tests::{Devnet, Running, command, ensure_ok, party, run, text};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A data folder whose key is known here.
pub(crate) fn party_of(data: &Path, key: &Key) {
    std::fs::create_dir_all(data).unwrap();
    for (name, word) in [("password", "correct horse\n".to_owned()), ("secret", hex(&key.secret_bytes()))] {
        std::fs::write(data.join(name), word).unwrap();
        std::fs::set_permissions(data.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (data, secret, password) = (text(data), text(&data.join("secret")), text(&data.join("password")));
    ensure_ok(&run(&["key", "new", "--import", &secret, "--data", &data, "--password-file", &password]).unwrap())
        .unwrap();
}

/// A process that says what happens, one JSON object a line.
pub(crate) struct Telling {
    pub(crate) process: Running,
    said: Arc<Mutex<Vec<Value>>>,
}

/// Hears a stream to its end.
fn hear(stream: impl Read + Send + 'static, said: &Arc<Mutex<Vec<Value>>>, read: fn(String) -> Option<Value>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            said.lock().unwrap().extend(read(line));
        }
    });
}

impl Telling {
    pub(crate) fn start(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        hear(child.stdout.take().unwrap(), &said, |line| serde_json::from_str(&line).ok());
        // What is for people stands among the rest when something fails.
        hear(child.stderr.take().unwrap(), &said, |line| Some(serde_json::json!({ "stderr": line })));
        Self { process: Running(child), said }
    }

    pub(crate) fn said(&self) -> Vec<Value> {
        self.said.lock().unwrap().clone()
    }

    /// How many events of a kind it told.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.said().iter().filter(|said| said["event"] == event).count()
    }

    /// Waits until it has told more than `after` events of a kind.
    pub(crate) fn wait_after(&self, event: &str, after: usize) {
        self.wait_for(event, |said| said.iter().filter(|said| said["event"] == event).count() > after);
    }

    /// Waits until it has warned of something.
    pub(crate) fn wait_warning(&self, words: &str, after: usize) {
        self.wait_for(words, |said| said.iter().filter(|said| warns(said, words)).count() > after);
    }

    pub(crate) fn warnings(&self, words: &str) -> usize {
        self.said().iter().filter(|said| warns(said, words)).count()
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(&self.said()) {
            assert!(Instant::now() < end, "no {what} in {:#?}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Asks it to end, and sees it end.
    pub(crate) fn stop(&mut self) {
        std::process::Command::new("kill").arg(self.process.0.id().to_string()).status().unwrap();
        self.process.ended_within(PATIENCE).expect("it does not end");
    }
}

fn warns(said: &Value, words: &str) -> bool {
    said["event"] == "warning" && said["message"].as_str().is_some_and(|message| message.contains(words))
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) struct Market {
    pub(crate) providers: Vec<Telling>,
    // Goes down after the providers, and the folder after it.
    pub(crate) devnet: Devnet,
    pub(crate) dir: tempfile::TempDir,
}

impl Market {
    /// Three providers at 0.05 tokens a Gfuel, which claim nothing by themselves before a job's end.
    pub(crate) fn new() -> Self {
        Self::of(false)
    }

    /// One whose last provider gets no module compiled before [`Market::let_compile`]. An order has three members here:
    /// whatever else is done by then, none goes out.
    pub(crate) fn that_holds() -> Self {
        let market = Self::of(true);
        // The node starts compilers from the path of its own program, where something else stands now.
        let (program, held) = (market.own_program(), market.folder("held"));
        std::fs::write(&held, []).unwrap();
        let (new, real) = (market.folder("waits"), symbolon_tests::symbolon().unwrap());
        let waits = "#!/bin/sh\nwhile [ -e '{held}' ]; do /bin/sleep 0.05; done\nexec '{real}' \"$@\"\n";
        let waits = waits.replace("{held}", &text(&held)).replace("{real}", &text(&real));
        std::fs::write(&new, waits).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::rename(&new, &program).unwrap();
        market
    }

    /// Lets the last provider's compilers go on.
    pub(crate) fn let_compile(&self) {
        std::fs::remove_file(self.folder("held")).unwrap();
    }

    /// The last provider's own copy of the program, in a market that holds.
    fn own_program(&self) -> PathBuf {
        self.folder("symbolon")
    }

    fn of(holds: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let devnet = Devnet::up(&dir.path().join("devnet")).unwrap();
        let mut market = Self { providers: Vec::new(), devnet, dir };
        if holds {
            std::fs::copy(symbolon_tests::symbolon().unwrap(), market.own_program()).unwrap();
        }
        for index in 0..3 {
            let address = party(&market.folder(&provider_name(index))).unwrap();
            market.devnet.fund(&address).unwrap();
            let provider = market.provider(index);
            market.providers.push(provider);
        }
        for provider in &market.providers {
            provider.wait_after("provider_ready", 0);
        }
        market
    }

    pub(crate) fn provider(&self, index: usize) -> Telling {
        let args = ["provider", "run", "--rate", "0.05", "--claim-at", "1000"];
        let usual = self.command(&provider_name(index), &args);
        if index < 2 || !self.own_program().exists() {
            return Telling::start(usual);
        }
        let mut own = std::process::Command::new(self.own_program());
        own.args(usual.get_args()).stdin(Stdio::null());
        for (name, value) in usual.get_envs() {
            match value {
                Some(value) => own.env(name, value),
                None => own.env_remove(name),
            };
        }
        Telling::start(own)
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn rpc(&self) -> String {
        let network: Value = serde_json::from_slice(&std::fs::read(self.devnet.network()).unwrap()).unwrap();
        network["rpc"].as_str().unwrap().to_owned()
    }

    /// A requestor with this key, ether and tokens.
    pub(crate) fn requestor(&self, name: &str, key: &Key) {
        party_of(&self.folder(name), key);
        self.devnet.fund(&symbolon_primitives::Signer::address(key).to_string()).unwrap();
    }

    pub(crate) fn command(&self, name: &str, args: &[&str]) -> std::process::Command {
        let (data, password) = (text(&self.folder(name)), text(&self.folder(name).join("password")));
        let mut all = vec!["--json", "--data", &data, "--password-file", &password];
        all.extend(args);
        let mut command = command(&all).unwrap();
        command.env("SYMBOLON_NETWORK", self.devnet.network());
        command
    }

    pub(crate) fn run(&self, name: &str, args: &[&str]) -> Output {
        self.command(name, args).output().unwrap()
    }

    /// What a command that succeeds answers.
    pub(crate) fn ask(&self, name: &str, args: &[&str]) -> Vec<Value> {
        let said = ensure_ok(&self.run(name, args)).unwrap();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A job that begins to run: two parts on a budget of 5, unless `more` says otherwise.
    pub(crate) fn job(&self, name: &str, words: usize, more: &[&str]) -> Telling {
        let (script, wav) = (self.folder("text.txt"), self.folder(&format!("{name}.wav")));
        std::fs::write(&script, "a lamp that nobody lit ".repeat(words / 5)).unwrap();
        let _ = std::fs::remove_file(&wav);
        let (script, wav) = (text(&script), text(&wav));
        let mut args = vec!["flite", "--events", "--batch", "1", "--bid", "1", "--await-offers", "3"];
        for [flag, usual] in [["--budget", "5"], ["--subtasks", "2"]] {
            if !more.contains(&flag) {
                args.extend([flag, usual]);
            }
        }
        args.extend(more);
        args.extend([script.as_str(), wav.as_str()]);
        Telling::start(self.command(name, &args))
    }

    /// Waits until a job has brought its sound.
    pub(crate) fn finish(&self, name: &str, mut job: Telling) -> Vec<Value> {
        let status = job.process.ended_within(PATIENCE).expect("the job does not end");
        assert!(status.success(), "{:#?}", job.said());
        assert!(std::fs::read(self.folder(&format!("{name}.wav"))).unwrap().starts_with(b"RIFF"));
        job.said()
    }
}

pub(crate) fn provider_name(index: usize) -> String {
    format!("provider-{index}")
}
