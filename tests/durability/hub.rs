//! Passes on what parties say to each other, and keeps all of it.

use crate::link::{self, Frame, Say};
use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use symbolon_primitives::Address;

#[derive(Default)]
struct Shared {
    tape: Vec<Frame>,
    last: Option<Instant>,
    links: BTreeMap<Address, TcpStream>,
    /// Connections that still may have something to say.
    live: BTreeMap<Address, usize>,
    finished: bool,
    over: bool,
}

/// A hub on a free port.
pub(crate) struct Hub {
    pub(crate) port: u16,
    shared: Arc<Mutex<Shared>>,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let of_hub = Arc::clone(&shared);
        std::thread::spawn(move || {
            for link in listener.incoming().flatten() {
                if of_hub.lock().unwrap().over {
                    break;
                }
                let shared = Arc::clone(&of_hub);
                std::thread::spawn(move || listen(link, &shared));
            }
        });
        Self { port, shared }
    }

    /// Waits until all that a dead party has said is on the tape.
    pub(crate) fn drained(&self, who: Address) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.shared.lock().unwrap().live.get(&who).is_some_and(|live| *live > 0) {
            assert!(Instant::now() < until, "the connection of a dead party stays open");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.shared.lock().unwrap().finished
    }

    pub(crate) fn tape(&self) -> Vec<Frame> {
        self.shared.lock().unwrap().tape.clone()
    }

    /// Who said how much of what, and how long ago the last word was.
    pub(crate) fn summary(&self) -> String {
        let shared = self.shared.lock().unwrap();
        let mut counts: BTreeMap<(Address, Address, String), usize> = BTreeMap::new();
        for Frame { from, to, say } in &shared.tape {
            let words = format!("{say:?}");
            let kind: String = words.split(|c: char| !c.is_alphanumeric() && c != ' ').take(1).collect();
            *counts.entry((*from, *to, kind)).or_default() += 1;
        }
        let silent = shared.last.map(|last| last.elapsed());
        format!("{} words, the last one {silent:?} ago: {counts:#?}", shared.tape.len())
    }

    /// Ends all connections.
    pub(crate) fn stop(&self) {
        let mut shared = self.shared.lock().unwrap();
        shared.over = true;
        for link in shared.links.values() {
            // One that is gone is as good as ended.
            let _ = link.shutdown(Shutdown::Both);
        }
        drop(shared);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn listen(mut link: TcpStream, shared: &Mutex<Shared>) {
    let Ok(writing) = link.try_clone() else { return };
    let mut me = None;
    while let Ok(frame) = link::get::<Frame>(&mut link) {
        let mut shared = shared.lock().unwrap();
        if me.is_none() {
            me = Some(frame.from);
            *shared.live.entry(frame.from).or_default() += 1;
            shared.links.insert(frame.from, writing.try_clone().unwrap());
        }
        if frame.say == Say::Finished {
            shared.finished = true;
        }
        let to = shared.links.get(&frame.to).and_then(|link| link.try_clone().ok());
        shared.tape.push(frame.clone());
        shared.last = Some(Instant::now());
        drop(shared);
        if let Some(mut to) = to {
            // Lost like a datagram when nobody is there: it is said again.
            let _ = link::put(&mut to, &frame);
        }
    }
    if let Some(me) = me {
        *shared.lock().unwrap().live.entry(me).or_insert(1) -= 1;
    }
}
