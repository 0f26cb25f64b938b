//! What waits for the writer: bounded, and taken a group at a time.
//!
//! Each commit costs one sync of the disk, and in processor time as much as
//! some dozens of vouchers. So a writer that had company the last time waits
//! for as much again, and now and then for twice as much, while more come from
//! one look to the next: the first after as long as the last sync took, each
//! other after twice as long. Whoever comes meanwhile wakes nobody. Whoever was
//! alone the last time is not waited with.

use crate::StoreError;
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// How many may wait.
const ROOM: usize = 1_024;
/// The most that are taken at once, and so share one sync.
pub(crate) const GROUP: usize = 512;
/// The longest wait for company, however slow the disk is and however many keep coming.
const MOST_PATIENCE: Duration = Duration::from_millis(30);
/// What is waited for the next one at least, however fast the disk is: a voucher takes a tenth of it.
const LEAST_PATIENCE: Duration = Duration::from_micros(500);

/// After a wait in vain, how many groups are taken before twice as many are waited for again.
const CONTENT: u8 = 16;

/// How many are waited for: as many as there seem to be.
#[derive(Debug)]
pub(crate) struct Company {
    wanted: usize,
    content: u8,
}

impl Company {
    pub(crate) const fn none() -> Self {
        Self { wanted: 1, content: 0 }
    }

    /// Learns from a group how many to wait for the next time.
    pub(crate) fn came(&mut self, count: usize) {
        if count < self.wanted {
            self.content = CONTENT;
        }
        let grows = count > 1 && self.content == 0;
        self.content = self.content.saturating_sub(1);
        self.wanted = if grows { count.saturating_mul(2).min(GROUP) } else { count };
    }
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    /// From how many on the taker wants to be woken; zero while it is busy.
    wanted: usize,
    closed: bool,
}

/// A queue with many who put and one who takes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    come: Condvar,
    room: Semaphore,
}

/// Room for one: what is put is made only when there is some.
#[derive(Debug)]
pub(crate) struct Room<'q, T> {
    queue: &'q Queue<T>,
    permit: SemaphorePermit<'q>,
}

impl<T> Room<'_, T> {
    /// Puts `value`. What is `urgent` is not waited with for more.
    pub(crate) fn put(self, value: T, urgent: bool) -> Result<(), StoreError> {
        let Self { queue, permit } = self;
        let mut state = queue.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        permit.forget();
        state.waiting.push_back(value);
        if state.wanted > 0 && (urgent || state.waiting.len() >= state.wanted) {
            state.wanted = 0;
            drop(state);
            queue.come.notify_one();
        }
        Ok(())
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { waiting: VecDeque::new(), wanted: 0, closed: false }),
            come: Condvar::new(),
            room: Semaphore::new(ROOM),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nobody panics while holding it, and what it guards is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for one.
    pub(crate) async fn room(&self) -> Result<Room<'_, T>, StoreError> {
        let permit = match self.room.try_acquire() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits) => self.room.acquire().await.map_err(|_| StoreError::Closed)?,
            Err(TryAcquireError::Closed) => return Err(StoreError::Closed),
        };
        Ok(Room { queue: self, permit })
    }

    /// The next group, in place of what is in `group`, at most [`GROUP`]: waits for the first, and for `company` while
    /// another one comes within `patience`, which doubles each time. False once the queue is closed and empty.
    pub(crate) fn take(&self, group: &mut VecDeque<T>, company: &Company, patience: Duration) -> bool {
        self.take_within(group, company.wanted, patience.clamp(LEAST_PATIENCE, MOST_PATIENCE), MOST_PATIENCE)
    }

    /// As [`Queue::take`], and for no longer than `most` altogether.
    fn take_within(&self, group: &mut VecDeque<T>, company: usize, patience: Duration, most: Duration) -> bool {
        group.clear();
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return false;
            }
            state.wanted = 1;
            state = self.come.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now().checked_add(most);
        let (mut here, mut patience) = (0, patience);
        while state.waiting.len() < company && state.waiting.len() > here && !state.closed {
            here = state.waiting.len();
            let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state.wanted = company;
            state = self.come.wait_timeout(state, left.min(patience)).unwrap_or_else(PoisonError::into_inner).0;
            if state.wanted == 0 && state.waiting.len() < company {
                // Somebody is in a hurry.
                break;
            }
            // Each look costs two switches of threads: they become rarer.
            patience = patience.saturating_mul(2);
        }
        state.wanted = 0;
        if state.waiting.len() <= GROUP {
            // The two change places, and keep their memory.
            std::mem::swap(group, &mut state.waiting);
        } else {
            group.extend(state.waiting.drain(..GROUP));
        }
        drop(state);
        self.room.add_permits(group.len());
        true
    }

    /// Nothing is put any more; what waits is still taken.
    pub(crate) fn close(&self) {
        self.room.close();
        self.lock().closed = true;
        self.come.notify_one();
    }

    /// As [`Queue::close`], and what waits is dropped.
    pub(crate) fn abandon(&self) {
        self.close();
        let dropped = std::mem::take(&mut self.lock().waiting);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(3_600);

    const fn many(wanted: usize) -> Company {
        Company { wanted, content: 0 }
    }

    async fn put<T>(queue: &Queue<T>, value: T) -> Result<(), StoreError> {
        queue.room().await?.put(value, false)
    }

    fn next<T>(queue: &Queue<T>, company: &Company, patience: Duration) -> Option<VecDeque<T>> {
        let mut group = VecDeque::new();
        queue.take(&mut group, company, patience).then_some(group)
    }

    #[tokio::test]
    async fn n3_what_is_put_is_taken_once_in_its_order_and_a_group_has_a_limit() {
        let queue = Arc::new(Queue::new());
        let count = 3 * GROUP + 1;
        let taker = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut groups = Vec::new();
                let mut company = Company::none();
                while let Some(group) = next(&queue, &company, LONG) {
                    company.came(group.len());
                    groups.push(group);
                }
                groups
            })
        };
        for number in 0..count {
            put(&queue, number).await.unwrap();
        }
        queue.close();
        assert!(put(&queue, 0).await.is_err());
        let groups = taker.join().unwrap();
        assert!(groups.iter().all(|group| !group.is_empty() && group.len() <= GROUP));
        let all: Vec<usize> = groups.into_iter().flatten().collect();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn l8_nobody_waits_for_company_that_does_not_come() {
        let queue = Queue::new();
        // Each would hang if patience had no end, or if who is urgent or the last were waited with.
        put(&queue, 1).await.unwrap();
        assert_eq!(next(&queue, &many(1), LONG).unwrap(), [1]);
        put(&queue, 2).await.unwrap();
        let began = Instant::now();
        assert_eq!(next(&queue, &many(GROUP), LONG).unwrap(), [2]);
        assert!(began.elapsed() >= MOST_PATIENCE);
        // A fast disk shortens the wait: none but the one comes.
        let began = Instant::now();
        put(&queue, 2).await.unwrap();
        assert_eq!(next(&queue, &many(GROUP), Duration::ZERO).unwrap(), [2]);
        assert!(began.elapsed() >= LEAST_PATIENCE);
        put(&queue, 3).await.unwrap();
        put(&queue, 4).await.unwrap();
        assert_eq!(next(&queue, &many(2), LONG).unwrap(), [3, 4]);
        put(&queue, 5).await.unwrap();
        queue.close();
        assert_eq!(next(&queue, &many(GROUP), LONG).unwrap(), [5]);
        assert!(next(&queue, &many(GROUP), LONG).is_none());
    }

    #[test]
    fn n3_as_many_are_waited_for_as_there_seem_to_be() {
        let mut company = Company::none();
        // Who is alone waits for nobody.
        for _ in 0..3 {
            company.came(1);
            assert_eq!(company.wanted, 1);
        }
        // With company for twice as many, as long as they come, and never for more than a group.
        let mut wanted = Vec::new();
        for _ in 0..12 {
            company.came(company.wanted.clamp(2, GROUP));
            wanted.push(company.wanted);
        }
        assert_eq!(wanted, [4, 8, 16, 32, 64, 128, 256, 512, 512, 512, 512, 512]);
        // After a wait in vain for those who came, and only now and then for more.
        company.came(40);
        let vain = (0..100)
            .filter(|_| {
                let asks_for_more = company.wanted > 40;
                company.came(40);
                asks_for_more
            })
            .count();
        assert_eq!((company.wanted, vain), (40, 100 / (usize::from(CONTENT) + 1)));
        company.came(1);
        assert_eq!(company.wanted, 1);
    }

    /// Each comes well within the patience of the one before, all of them together do not.
    #[tokio::test]
    async fn n3_as_long_as_more_come_they_share_a_sync() {
        let (patience, apart, count) = (Duration::from_secs(2), Duration::from_millis(550), 5);
        let queue = Arc::new(Queue::new());
        put(&queue, 0).await.unwrap();
        let taker = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let mut group = VecDeque::new();
                queue.take_within(&mut group, count, patience, LONG).then_some(group.len())
            }
        });
        for number in 1..count {
            tokio::time::sleep(apart).await;
            put(&queue, number).await.unwrap();
        }
        assert_eq!(taker.join().unwrap(), Some(count));
    }

    #[tokio::test]
    async fn n3_a_full_queue_makes_callers_wait_and_one_that_is_left_lets_them_go() {
        let queue = Arc::new(Queue::new());
        for number in 0..ROOM {
            put(&queue, number).await.unwrap();
        }
        let mut late = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { put(&queue, ROOM).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!late.is_finished());
        assert_eq!(next(&queue, &many(1), LONG).unwrap().len(), GROUP);
        assert!((&mut late).await.unwrap());
        for number in 1..GROUP {
            put(&queue, number).await.unwrap();
        }
        let late = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { put(&queue, 0).await.is_ok() }
        });
        tokio::task::yield_now().await;
        queue.abandon();
        assert!(!late.await.unwrap());
        assert!(next(&queue, &many(1), LONG).is_none());
    }
}
