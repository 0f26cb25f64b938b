//! The store for async callers: one writing thread, a bounded queue, and
//! transactions that wait together sharing one sync of the disk.

use crate::{
    Store, StoreError, StoreOptions, Transaction, View, Write,
    faults::Faults,
    points::Witness,
    queue::{Company, Queue, Room},
};
use rusqlite::Connection;
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// A caller's own code, run as one write.
trait Job: Send {
    /// Runs it; whether what it did is to stand.
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

/// A list of writes: of one, mostly.
enum Writes {
    One(Write),
    Many(Vec<Write>),
}

impl Writes {
    fn new(mut writes: Vec<Write>) -> Self {
        if writes.len() == 1
            && let Some(only) = writes.pop()
        {
            return Self::One(only);
        }
        Self::Many(writes)
    }

    fn all(&self) -> &[Write] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(all) => all,
        }
    }
}

struct List {
    writes: Writes,
    plain: bool,
    result: Option<Result<(), StoreError>>,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

impl List {
    fn run(&mut self, tx: &Transaction<'_>) -> bool {
        let writes = self.writes.all();
        let result = if self.plain { tx.apply_plain(writes) } else { tx.apply_all(writes) };
        let stands = result.is_ok();
        self.result = Some(result);
        stands
    }

    fn finish(self, committed: Result<(), StoreError>) {
        let answer = match self.result {
            Some(Err(refused)) => Err(refused),
            Some(Ok(())) => committed,
            None => committed.and(Err(StoreError::Closed)),
        };
        // A caller that has gone hears nothing.
        let _gone = self.answer.send(answer);
    }
}

/// What waits in the queue. A list lies in it as it is: a box for each would be made by one thread and freed by the
/// other, which takes the better part of a microsecond.
#[expect(clippy::large_enum_variant, reason = "a list is what nearly all of them are")]
enum Command {
    Write(List),
    Run(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

impl Command {
    /// Whether it has written nothing when it is refused, so that there is nothing to undo.
    const fn is_plain(&self) -> bool {
        matches!(self, Self::Write(List { plain: true, .. }) | Self::Close(_))
    }

    fn run(&mut self, tx: &Transaction<'_>) -> bool {
        match self {
            Self::Write(list) => list.run(tx),
            Self::Run(job) => job.run(tx),
            Self::Close(_) => true,
        }
    }
}

/// Closes the queue when the last handle goes.
struct Commands(Arc<Queue<Command>>);

impl Drop for Commands {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Whoever waits for a writer that is gone hears it, however it went.
struct Writer(Arc<Queue<Command>>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A cloneable handle on an open store. The store is closed when the last
/// handle goes, or at [`StoreHandle::close`].
#[derive(Clone)]
pub struct StoreHandle {
    commands: Arc<Commands>,
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
        let commands = Arc::new(Commands(Arc::new(Queue::new())));
        let queue = Writer(Arc::clone(&commands.0));
        let writer =
            move || match Store::open_inner(&dir, options, witness).and_then(|store| Ok((store.reader()?, store))) {
                Ok((reader, store)) => {
                    let faults = store.faults();
                    if answer.send(Ok((reader, faults))).is_ok() {
                        serve(store, &queue.0);
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
        let room = self.room().await?;
        let (answer, answered) = oneshot::channel();
        let plain = Transaction::is_plain(&writes);
        let list = List { writes: Writes::new(writes), plain, result: None, answer };
        room.put(Command::Write(list), false)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    async fn room(&self) -> Result<Room<'_, Command>, StoreError> {
        self.commands.0.room().await
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
        let room = self.room().await?;
        let (answer, answered) = oneshot::channel();
        room.put(Command::Run(Box::new(Task { body: Some(body), result: None, answer })), false)?;
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
        let Ok(room) = self.room().await else { return };
        let (answer, closed) = oneshot::channel();
        if room.put(Command::Close(answer), true).is_ok() {
            let _closed = closed.await;
        }
    }
}

fn serve(mut store: Store, queue: &Queue<Command>) {
    let (mut company, mut patience) = (Company::none(), Duration::ZERO);
    let mut group = VecDeque::new();
    while queue.take(&mut group, &company, patience) {
        let jobs = group.iter_mut().map(|job| (job.is_plain(), |tx: &Transaction<'_>| job.run(tx)));
        let committed = store.group(jobs);
        company.came(group.len());
        patience = store.last_sync();
        let mut closing = Vec::new();
        for command in group.drain(..) {
            match command {
                Command::Write(list) => list.finish(committed.clone()),
                Command::Run(job) => job.finish(committed.clone()),
                Command::Close(answer) => closing.push(answer),
            }
        }
        if !closing.is_empty() {
            drop(store);
            closing.into_iter().for_each(|answer| {
                let _gone = answer.send(());
            });
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Direction, VoucherKey, VoucherRow};
    use symbolon_primitives::{Address, Amount, Lane, OrderDigest, Signature, Timestamp};

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

    fn row(channel: u16, total: u64, signature: u8) -> VoucherRow {
        let [high, low] = channel.to_be_bytes();
        let mut payer = [0; 20];
        payer[..2].copy_from_slice(&[high, low]);
        VoucherRow {
            key: VoucherKey {
                direction: Direction::Issued,
                payer: Address::from(payer),
                payee: Address::ZERO,
                lane: Lane::default(),
                epoch: 0,
            },
            cumulative: Amount::from_u64(total),
            signature: Signature::from_bytes([signature; 64]),
            order: channel.is_multiple_of(2).then(|| OrderDigest::from_bytes([signature; 32])),
            created_at: Timestamp(1),
        }
    }

    #[tokio::test]
    async fn l2_a_voucher_that_is_refused_leaves_nothing_of_its_list_and_all_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(dir.path()).await.unwrap();
        let list = |channel: u16, total, signature| {
            vec![
                Write::put("before", channel.to_be_bytes(), [signature]),
                Write::PutVoucher(row(channel, total, signature)),
                Write::put("after", channel.to_be_bytes(), [signature]),
            ]
        };
        let mut refused = 0;
        // What stands, what is below it, what is beside it, what is above, and the same once more.
        for (total, signature) in [(10, 1), (5, 2), (10, 3), (11, 4), (11, 4)] {
            let tasks: Vec<_> = (0..300_u16)
                .map(|channel| {
                    // Every seventh channel does all of it, the others only what stands.
                    let writes = if channel % 7 == 0 { list(channel, total, signature) } else { list(channel, 10, 1) };
                    let store = store.clone();
                    tokio::spawn(async move { store.write(writes).await })
                })
                .collect();
            for (channel, task) in (0..).zip(tasks) {
                let answer = task.await.unwrap();
                let bad = channel % 7 == 0 && matches!(signature, 2 | 3);
                refused += u32::from(bad);
                assert_eq!(answer.is_err(), bad, "{channel}: {answer:?}");
                let stands = if channel % 7 != 0 || signature < 4 { (10, 1) } else { (11, 4) };
                let best = store.read(|view| view.best_voucher(&row(channel, 0, 0).key)).unwrap().unwrap();
                assert_eq!(best, row(channel, stands.0, stands.1));
                for kind in ["before", "after"] {
                    let record = store.read(|view| view.record(kind, &u16::to_be_bytes(channel))).unwrap();
                    assert_eq!(record, Some(vec![stands.1]), "{kind} {channel}");
                }
            }
        }
        assert_eq!(refused, 2 * 43);
        assert!(!store.is_read_only());
    }

    type Ask<'a> = &'a dyn Fn(&Transaction<'_>) -> bool;

    #[test]
    fn l2_canary_a_list_that_is_refused_in_its_middle_takes_its_group_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        // It says that nothing is written when it is refused, and writes first.
        let one = |tx: &Transaction<'_>| tx.apply(&Write::put("one", [1], [1])).is_ok();
        let half = |tx: &Transaction<'_>| {
            tx.apply(&Write::put("half", [1], [1])).unwrap();
            false
        };
        let jobs: [(bool, Ask<'_>); 2] = [(true, &one), (true, &half)];
        assert!(matches!(store.group(jobs.into_iter()), Err(StoreError::HalfRefused)));
        let jobs: [(bool, Ask<'_>); 2] = [(true, &one), (false, &half)];
        store.group(jobs.into_iter()).unwrap();
        assert_eq!(store.view().record("one", &[1]).unwrap(), Some(vec![1]));
        assert_eq!(store.view().record("half", &[1]).unwrap(), None);
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
