//! The demo's child processes: each is one stranger with a folder of its own.

use crate::{
    commands::{EXIT_WITH_STDIN, end, ended_within, kill_group, terminate},
    fail::{Failure, Hint},
    output::foreign,
};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use symbolon_node::Event;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::timeout,
};

/// Events of one child that may wait.
const WAITING_EVENTS: usize = 1024;

/// A running child and what it says. It leads a process group, which ends with this
/// value unless it is left running on purpose.
pub(super) struct Process {
    name: String,
    left_running: bool,
    child: Child,
    /// Held apart from the child: waiting for it would close it, and with it the child.
    stdin: Option<ChildStdin>,
    log: PathBuf,
    events: mpsc::Receiver<Event>,
}

impl Process {
    /// Starts `symbolon ARGS` with its data in `data`; its stderr goes to a log file there.
    /// Unless `keep`, the child ends when this process does, however that ends.
    pub(super) fn start(name: &str, data: &Path, args: &[String], keep: bool) -> Result<Self, Failure> {
        let exe = std::env::current_exe().map_err(|e| Failure::tool(format!("cannot find this program: {e}")))?;
        let log = data.join("log.txt");
        let failed = |e: std::io::Error| Failure::tool(format!("cannot start {name}: {e}"));
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(failed)?;
        let mut command = Command::new(exe);
        command
            .args(args)
            .arg("--data")
            .arg(data)
            .arg("--password-file")
            .arg(data.join("password"))
            .arg("--json")
            .stdin(if keep { Stdio::null() } else { Stdio::piped() })
            .stdout(if keep { Stdio::from(stdout_file(data).map_err(failed)?) } else { Stdio::piped() })
            .stderr(stderr)
            // Ctrl-C is for the demo, which ends its children in order.
            .process_group(0);
        if keep {
            command.env_remove(EXIT_WITH_STDIN);
        } else {
            command.env(EXIT_WITH_STDIN, "1");
        }
        let mut child = command.spawn().map_err(failed)?;
        let stdin = child.stdin.take();
        let (sender, events) = mpsc::channel(WAITING_EVENTS);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read_events(stdout, sender));
        } else {
            tokio::spawn(follow_events(data.join("events.jsonl"), sender));
        }
        Ok(Self { name: name.to_owned(), left_running: false, child, stdin, log, events })
    }

    /// The process id.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The most memory it has had resident so far, in bytes; nothing where the system does not tell.
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An event that is already there.
    pub(super) fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Waits for an event that `pick` wants, and fails when the child ends or `within` passes first.
    pub(super) async fn expect<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut pick: impl FnMut(Event) -> Option<T>,
    ) -> Result<T, Failure> {
        let search = async {
            while let Some(event) = self.events.recv().await {
                if let Some(found) = pick(event) {
                    return Some(found);
                }
            }
            None
        };
        match timeout(within, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(self.ended(what).await),
            Err(_) => Err(Failure::work(format!("{} did not {what} within {} s", self.name, within.as_secs()))
                .hint(format!("its log is {}", self.log.display()))),
        }
    }

    /// Why the child ended: its own words, if it left any.
    pub(super) async fn ended(&mut self, what: &str) -> Failure {
        let status = ended_within(&mut self.child, Duration::from_secs(5)).await;
        let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        let words = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = words.lines().rev().take(2).collect::<Vec<_>>();
        let said: Vec<&str> = last.into_iter().rev().collect();
        Failure::new(
            code.filter(|&code| code != 0).unwrap_or(crate::fail::WORK),
            format!("{} ended before it could {what}: {}", self.name, foreign(&said.join(" / "))),
        )
        .hint(format!("its log is {}", self.log.display()))
    }

    /// Whether the child has ended by now, for a reason of its own.
    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Ends the child at once, as a crash would (SIGKILL), and waits for it.
    pub(super) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Waits until the child has ended by itself.
    pub(super) async fn wait(&mut self, within: Duration) -> Option<std::process::ExitStatus> {
        ended_within(&mut self.child, within).await
    }

    /// Asks the child to end, without waiting for it.
    pub(super) fn ask_to_end(&mut self) {
        drop(self.stdin.take());
        if let Some(id) = self.child.id() {
            terminate(id);
        }
    }

    /// Asks the child to end, and makes it and whatever it started after a while.
    pub(super) async fn stop(mut self) {
        drop(self.stdin.take());
        end(&mut self.child).await;
    }

    /// Lets the child outlive this value.
    pub(super) fn leave_running(mut self) {
        self.left_running = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(id) = self.child.id()
            && !self.left_running
        {
            kill_group(id);
        }
    }
}

fn stdout_file(data: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(data.join("events.jsonl"))
}

async fn read_events(stdout: tokio::process::ChildStdout, sender: mpsc::Sender<Event>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(event) => {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, line, "a child said something unknown"),
        }
    }
}

/// A child that outlives the demo writes its events to a file, which is read as it grows.
async fn follow_events(path: PathBuf, sender: mpsc::Sender<Event>) {
    let mut read = 0;
    while !sender.is_closed() {
        if let Ok(text) = tokio::fs::read_to_string(&path).await {
            let fresh = text.get(read..).unwrap_or_default();
            let whole = fresh.rfind('\n').map_or(0, |end| end + 1);
            for line in fresh.get(..whole).unwrap_or_default().lines() {
                if let Ok(event) = serde_json::from_str(line)
                    && sender.send(event).await.is_err()
                {
                    return;
                }
            }
            read += whole;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
