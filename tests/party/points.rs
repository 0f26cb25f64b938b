//! Every point at which a party can be killed, listed by the code: those of the
//! store, and one before and one after each kind of effect.

use std::{
    collections::BTreeMap,
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
};
use symbolon_store::{Point, Witness};

macro_rules! listed {
    (enum $name:ident { $($value:ident,)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($value,)* }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$value,)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => stringify!($value),)* })
            }
        }
    };
}

listed! {
    enum Act {
        ChannelPersist,
        ChannelKeep,
        ChannelSendVoucher,
        ChannelPaid,
        ChannelConsent,
        ChannelHosting,
        ChannelRelease,
        ChannelTell,
        QuorumPersist,
        QuorumSend,
        QuorumSetTimer,
        QuorumEmit,
        SendOrder,
        Submit,
        Confirm,
    }
}

impl From<&symbolon_channel::Effect> for Act {
    // Without a wildcard: a new effect has to be given a point.
    fn from(effect: &symbolon_channel::Effect) -> Self {
        use symbolon_channel::Effect;
        match effect {
            Effect::Persist => Self::ChannelPersist,
            Effect::Keep(_) => Self::ChannelKeep,
            Effect::SendVoucher { .. } => Self::ChannelSendVoucher,
            Effect::Paid { .. } => Self::ChannelPaid,
            Effect::Consent { .. } => Self::ChannelConsent,
            Effect::SendPeriod { .. } | Effect::TopUp { .. } | Effect::Serve { .. } | Effect::Stop { .. } => {
                Self::ChannelHosting
            }
            Effect::Release { .. } => Self::ChannelRelease,
            Effect::Forfeited { .. } | Effect::Halted(_) => Self::ChannelTell,
        }
    }
}

impl<E> From<&symbolon_quorum::Effect<E>> for Act {
    fn from(effect: &symbolon_quorum::Effect<E>) -> Self {
        use symbolon_quorum::Effect;
        match effect {
            Effect::Persist => Self::QuorumPersist,
            Effect::Send { .. } => Self::QuorumSend,
            Effect::SetTimer { .. } => Self::QuorumSetTimer,
            Effect::Emit(_) => Self::QuorumEmit,
        }
    }
}

/// The names of all points.
pub(crate) fn all() -> Vec<String> {
    let acts = Act::ALL.iter().flat_map(|act| [format!("{act}-before"), format!("{act}-after")]);
    Point::all().map(|point| point.to_string()).chain(acts).collect()
}

/// Counts the points that are passed, and kills its process at one of them.
#[derive(Debug)]
pub(crate) struct Points {
    passed: Mutex<BTreeMap<String, u64>>,
    kill: Option<(String, u64)>,
    record: bool,
}

impl Points {
    pub(crate) fn new(kill: Option<(String, u64)>, record: bool) -> Self {
        Self { passed: Mutex::default(), kill, record }
    }

    pub(crate) fn before(&self, act: Act) {
        self.pass(format!("{act}-before"));
    }

    pub(crate) fn after(&self, act: Act) {
        self.pass(format!("{act}-after"));
    }

    fn pass(&self, name: String) {
        if self.record {
            let mut out = std::io::stdout().lock();
            // Whoever does not listen any more has ended this party.
            let _ = writeln!(out, "{name}").and_then(|()| out.flush());
        }
        let Some((point, occurrence)) = &self.kill else { return };
        if *point != name {
            return;
        }
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passed.entry(name).or_default();
        *count += 1;
        if *count == *occurrence {
            // kill -9, by the system: no destructor, no flush, no goodbye.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}

impl Witness for Points {
    fn at(&self, point: Point) {
        self.pass(point.to_string());
    }
}
