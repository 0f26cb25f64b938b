//! Where a crash can fall, listed by the code itself.
//!
//! A [`Witness`] is called at every point of every write. Only
//! [`Store::open_watched`](crate::Store::open_watched) takes one: no flag,
//! variable or file makes a program call it that was not built to.

use core::fmt;

/// An enum and the list of all its values, from one text.
macro_rules! listed {
    ($(#[$of:meta])* pub enum $name:ident { $($(#[$one:meta])* $value:ident,)* }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$one])* $value,)* }

        impl $name {
            /// Every value there is.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => stringify!($value),)* })
            }
        }
    };
}

listed! {
    /// What a [`Write`](crate::Write) does.
    pub enum WriteKind {
        /// A machine's snapshot.
        PutRecord,
        /// A machine's snapshot is forgotten.
        DeleteRecord,
        /// A voucher.
        PutVoucher,
        /// A Commit.
        PutCommit,
        /// The leave to promise in an epoch is asked for.
        Promise,
        /// A restored store may promise in an epoch again.
        ClearEpoch,
        /// A transaction is planned.
        PlanTx,
        /// A transaction is signed and about to be sent.
        AddTxAttempt,
        /// A transaction's nonce is taken back.
        RequeueTx,
        /// A transaction has ended.
        FinishTx,
    }
}

listed! {
    /// On which side of the disk.
    pub enum Moment {
        /// Everything is checked and handed to SQLite; nothing is committed.
        Staged,
        /// It is on disk; nobody has been told.
        Durable,
    }
}

/// One place in the life of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// What is written.
    pub write: WriteKind,
    /// How far it is.
    pub moment: Moment,
}

impl Point {
    /// Every point there is.
    pub fn all() -> impl Iterator<Item = Self> {
        WriteKind::ALL.iter().flat_map(|write| Moment::ALL.iter().map(|moment| Self { write: *write, moment: *moment }))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.write, self.moment)
    }
}

/// Sees every point as it is passed. What it does there, the store waits for.
pub trait Witness: fmt::Debug + Send + Sync {
    /// A point is passed.
    fn at(&self, point: Point);
}
