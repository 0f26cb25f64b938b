//! What the commands do.

pub(crate) mod backup;
pub(crate) mod channel;
pub(crate) mod content;
pub(crate) mod demo;
pub(crate) mod devnet;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod flite;
pub(crate) mod job;
pub(crate) mod ledger;
pub(crate) mod module;
pub(crate) mod provider;
pub(crate) mod receipt;
pub(crate) mod tx;
pub(crate) mod vault;
pub(crate) mod watchtower;

use crate::fail::Failure;
use std::{
    io::Read,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use symbolon_executor::CompilerProcess;
use tokio::{
    process::Child,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

/// The hidden command that is a compiler process.
pub(crate) const COMPILER: &str = "compile-module";

/// How a node compiles strangers' modules: in processes of this very program.
fn compiler() -> Result<CompilerProcess, Failure> {
    let program = std::env::current_exe()
        .map_err(|e| Failure::tool(format!("cannot find this program to start compiler processes: {e}")))?;
    Ok(CompilerProcess::new(program, vec![COMPILER.into()]))
}

/// Set for children that must not outlive their parent: they end with their stdin.
const EXIT_WITH_STDIN: &str = "SYMBOLON_EXIT_WITH_STDIN";

/// Time for a printer to say the last of what it heard.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Time for a child that was asked to end.
const END: Duration = Duration::from_secs(5);

/// Sends a signal (`-TERM`, `-0`) to a process, or with `--` to a group, whose number
/// is its leader's with a minus; whether there was somebody to send it to.
fn send_signal(signal: &[&str], target: &str) -> bool {
    std::process::Command::new("kill")
        .args(signal)
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Asks a process to end.
fn terminate(pid: u32) {
    send_signal(&["-TERM"], &pid.to_string());
}

/// Ends at once everybody in the group that a child leads, and so what it started in turn.
fn kill_group(leader: u32) {
    send_signal(&["-KILL", "--"], &format!("-{leader}"));
}

/// Waits for a child that leads a process group. One that failed or was killed may
/// have left its own children behind: they end with it.
async fn ended_within(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let leader = child.id();
    let status = timeout(within, child.wait()).await.ok()?.ok()?;
    if let Some(leader) = leader
        && !status.success()
    {
        kill_group(leader);
    }
    Some(status)
}

/// Ends a child that leads a process group: asked first, so that it can end what it
/// started, then made to, and its group with it.
async fn end(child: &mut Child) {
    let Some(leader) = child.id() else { return };
    terminate(leader);
    if ended_within(child, END).await.is_none() {
        kill_group(leader);
        let _ = child.wait().await;
    }
}

/// Lets a printer of events finish. It ends with the last of the senders, which some
/// task that is still busy may hold: the command does not wait for that.
async fn finish_printing(mut printer: JoinHandle<()>) {
    if timeout(LAST_WORDS, &mut printer).await.is_err() {
        printer.abort();
    }
}

/// Resolves at Ctrl-C, at SIGTERM, and for children of the demo when the parent is gone.
pub(crate) async fn stop_requested() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = parent_gone() => {}
    }
}

async fn parent_gone() {
    if std::env::var_os(EXIT_WITH_STDIN).is_none() {
        return std::future::pending().await;
    }
    // A thread of its own: a blocked read must not keep the runtime from ending.
    let (gone, parent) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().lock().read(&mut buffer).is_ok_and(|read| read > 0) {}
        // Nobody waits any more when the command has ended by itself.
        let _ = gone.send(());
    });
    let _ = parent.await;
}
