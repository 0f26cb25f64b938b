//! The store for async callers: one writing thread, a bounded queue, and
//! transactions that wait together sharing one sync of the disk.

use crate::{Store, StoreError, StoreOptions, Transaction, View, Write, faults::Faults, points::Witness, store::More};
use rusqlite::Connection;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// How many transactions may wait for the writer.
const QUEUE: usize = 256;

/// How many transactions share one sync at most.
const GROUP: usize = 64;

/// One caller's writes.
trait Job: Send {
    /// Runs them; whether they are to stand.
    fn run(&mut self, tx: &Transaction<'_>) -> bool;
    /// Answers the caller, once it is known how the shared commit went.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Task<F, T, E> {
    body: Option<F>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Task<F, T, E>
where
    F: FnOnce(&Transaction<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, tx: &Transaction<'_>) -> bool {
        self.result = self.body.take().map(|body| body(tx));
        matches!(self.result, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (self.result, committed) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(refused)), _) => Err(refused),
            (_, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(StoreError::Closed.into()),
        };
        // A caller that has gone hears nothing.
        let _gone = self.answer.send(answer);
    }
}

enum Command {
    Run(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// A cloneable handle on an open store. The store is closed when the last
/// handle goes, or at [`StoreHandle::close`].
#[derive(Clone)]
pub struct StoreHandle {
    commands: mpsc::Sender<Command>,
    reader: Arc<Mutex<Connection>>,
    faults: Arc<Faults>,
}

impl core::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StoreHandle").field("read_only", &self.is_read_only()).finish_non_exhaustive()
    }
}

impl StoreHandle {
    /// Opens the store in `dir` on a thread of its own.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(dir, StoreOptions::default()).await
    }

    /// As [`StoreHandle::open`], with limits.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(dir: impl Into<PathBuf>, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_inner(dir.into(), options, None).await
    }

    /// As [`StoreHandle::open_with`]; `witness` sees every point of every write.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_watched(
        dir: impl Into<PathBuf>,
        options: StoreOptions,
        witness: Arc<dyn Witness>,
    ) -> Result<Self, StoreError> {
        Self::open_inner(dir.into(), options, Some(witness)).await
    }

    async fn open_inner(
        dir: PathBuf,
        options: StoreOptions,
        witness: Option<Arc<dyn Witness>>,
    ) -> Result<Self, StoreError> {
        let (answer, opened) = oneshot::channel();
        let (commands, mut queue) = mpsc::channel(QUEUE);
        let writer =
            move || match Store::open_inner(&dir, options, witness).and_then(|store| Ok((store.reader()?, store))) {
                Ok((reader, store)) => {
                    let faults = store.faults();
                    if answer.send(Ok((reader, faults))).is_ok() {
                        serve(store, &mut queue);
                    }
                }
                Err(error) => {
                    // Nobody is left to tell when the caller has gone.
                    let _gone = answer.send(Err(error));
                }
            };
        let named = thread::Builder::new().name("symbolon-store".to_owned());
        named.spawn(writer).map_err(|source| StoreError::Folder { path: PathBuf::new(), source: Arc::new(source) })?;
        let (reader, faults) = opened.await.map_err(|_| StoreError::Closed)??;
        Ok(Self { commands, reader: Arc::new(Mutex::new(reader)), faults })
    }

    /// Writes the whole list, or nothing of it. Durable when it resolves.
    ///
    /// Cancel-safe in one sense only: once polled, the write may happen
    /// although nobody waits for the answer.
    ///
    /// # Errors
    /// As [`Store::write`], and [`StoreError::Closed`].
    pub async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.transaction(move |tx| tx.apply_all(&writes)).await
    }

    /// Runs `body` as one atomic write on the writing thread. Durable when it
    /// resolves; others' failures do not touch it, nor its failure theirs.
    ///
    /// # Errors
    /// As [`Store::transaction`], and [`StoreError::Closed`].
    pub async fn transaction<T, E>(
        &self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Task { body: Some(body), result: None, answer });
        self.commands.send(Command::Run(job)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Reads what is durable. Blocks for as long as the reads take: point
    /// reads are a matter of microseconds, anything longer belongs on a
    /// blocking thread.
    ///
    /// # Errors
    /// What `body` answers.
    pub fn read<T, E>(&self, body: impl FnOnce(View<'_>) -> Result<T, E>) -> Result<T, E> {
        let conn = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        body(View { conn: &conn, faults: &self.faults })
    }

    /// Whether an error of the disk has closed the store for writing (N12).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.closed_by().is_some()
    }

    /// The fault that closed the store for writing.
    #[must_use]
    pub fn closed_by(&self) -> Option<&StoreError> {
        self.faults.first()
    }

    /// Closes the store after what is queued, for every handle. When it
    /// resolves the folder is free.
    pub async fn close(self) {
        let (answer, closed) = oneshot::channel();
        if self.commands.send(Command::Close(answer)).await.is_ok() {
            let _closed = closed.await;
        }
    }
}

fn serve(mut store: Store, queue: &mut mpsc::Receiver<Command>) {
    while let Some(command) = queue.blocking_recv() {
        let mut jobs: Vec<Box<dyn Job>> = Vec::new();
        let mut closing = None;
        let mut next = Some(command);
        let committed = store.group(|tx| {
            if jobs.len() >= GROUP {
                return More::Done;
            }
            let mut job = match next.take().map_or_else(|| queue.try_recv().ok(), Some) {
                Some(Command::Run(job)) => job,
                Some(Command::Close(answer)) => {
                    closing = Some(answer);
                    return More::Done;
                }
                None => return More::Done,
            };
            let stands = job.run(tx);
            jobs.push(job);
            if stands { More::Keep } else { More::Undo }
        });
        // The first command is still here when no transaction could begin.
        match next.take() {
            Some(Command::Run(job)) => jobs.push(job),
            Some(Command::Close(answer)) => closing = Some(answer),
            None => {}
        }
        for job in jobs {
            job.finish(committed.clone());
        }
        if let Some(answer) = closing {
            drop(store);
            let _gone = answer.send(());
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn sym_24_transactions_that_share_a_sync_fail_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(dir.path()).await.unwrap();
        let writes = (0..500_u16).map(|n| {
            let store = store.clone();
            async move {
                store
                    .transaction(move |tx| {
                        tx.apply(&Write::put("n", n.to_be_bytes(), [1]))?;
                        if n % 7 == 0 { Err(StoreError::Closed) } else { Ok(n) }
                    })
                    .await
            }
        });
        let tasks: Vec<_> = writes.map(tokio::spawn).collect();
        for (n, task) in (0..).zip(tasks) {
            let result = task.await.unwrap();
            assert_eq!(result.is_err(), n % 7 == 0, "{n}");
            let stored = store.read(|view| view.record("n", &u16::to_be_bytes(n))).unwrap();
            assert_eq!(stored.is_some(), n % 7 != 0, "{n}");
        }
        let other = store.clone();
        store.close().await;
        assert!(matches!(other.write(Vec::new()).await, Err(StoreError::Closed)));
        // The folder is free, and everything is there.
        let again = Store::open(dir.path()).unwrap();
        assert_eq!(again.view().records("n", None, 1000).unwrap().len(), 428);
    }

    #[tokio::test]
    async fn n12_after_a_fault_of_the_disk_every_writer_hears_it_and_readers_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { max_bytes: Some(200_000), ..StoreOptions::default() };
        let store = StoreHandle::open_with(dir.path(), options).await.unwrap();
        store.write(vec![Write::put("n", [1], [1])]).await.unwrap();
        assert!(matches!(store.write(vec![Write::put("n", [2], vec![0; 300_000])]).await, Err(StoreError::Disk(_))));
        assert!(store.is_read_only());
        assert!(matches!(store.write(vec![Write::put("n", [2], [1])]).await, Err(StoreError::ReadOnly)));
        assert_eq!(store.read(|view| view.record("n", &[1])).unwrap(), Some(vec![1]));
    }

    #[tokio::test]
    async fn n9_a_second_handle_on_one_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(dir.path()).await.unwrap();
        assert!(matches!(StoreHandle::open(dir.path()).await, Err(StoreError::Locked { .. })));
        store.close().await;
        StoreHandle::open(dir.path()).await.unwrap().close().await;
    }
}
