//! What the commands do.

pub(crate) mod channel;
pub(crate) mod demo;
pub(crate) mod devnet;
pub(crate) mod exec;
pub(crate) mod flite;
pub(crate) mod provider;
pub(crate) mod vault;

use std::io::Read;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Set for children that must not outlive their parent: they end with their stdin.
const EXIT_WITH_STDIN: &str = "SYMBOLON_EXIT_WITH_STDIN";

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
