//! What a node tells whoever watches it: one JSON object a line with `--json`,
//! a progress bar and sentences otherwise.

use crate::requestor::JobId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use symbolon_primitives::{Address, Amount, OrderDigest, Timestamp};
use tokio::sync::mpsc;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A provider is staked, registered and listening.
    ProviderReady {
        /// The provider's address.
        address: Address,
        /// Its peer id.
        peer: String,
        /// Where it listens.
        listen: Vec<String>,
    },
    /// A watchtower is listening.
    WatchtowerReady {
        /// The address that pays for its gas and signs its receipts.
        address: Address,
        /// Its peer id.
        peer: String,
        /// Where it listens.
        listen: Vec<String>,
        /// What it holds from before.
        packages: usize,
    },
    /// A watchtower took a package.
    Watching {
        /// For whom.
        payee: Address,
        /// The absolute total it names.
        total: Amount,
        /// Its deadline.
        until: Timestamp,
    },
    /// A watchtower took a package of this node's.
    HandedOver {
        /// Which watchtower.
        tower: Address,
        /// The deadline it accepted.
        until: Timestamp,
    },
    /// Both sides signed an agreement.
    Agreed {
        /// The other side.
        with: Address,
    },
    /// A provider took an order.
    OrderTaken {
        /// The order.
        order: OrderDigest,
        /// Whether it only runs if it is called.
        reserve: bool,
    },
    /// A provider finished an order's work.
    Computed {
        /// The order.
        order: OrderDigest,
        /// Fuel burnt.
        fuel: u64,
    },
    /// A provider stored a voucher.
    Vouchered {
        /// The order it pays for.
        order: OrderDigest,
        /// Absolute total of the channel's epoch.
        cumulative: Amount,
    },
    /// A claim is on chain.
    Claimed {
        /// Vouchers in it.
        vouchers: usize,
        /// What it credited.
        credited: Amount,
    },
    /// An order was settled by quorum on chain.
    QuorumSettled {
        /// The order.
        order: OrderDigest,
        /// Whether this node sent the transaction.
        by_us: bool,
    },
    /// A job goes on where an earlier run of it was cut off.
    Resumed {
        /// Parts whose outputs are here.
        units_done: usize,
        /// Parts in all.
        units: usize,
        /// Orders that are out and may still bring theirs.
        open_orders: usize,
    },
    /// A requestor's money is in the vault.
    Deposited {
        /// The free balance now.
        balance: Amount,
    },
    /// Offers that fit were found.
    Offers {
        /// How many.
        count: usize,
    },
    /// Channels are open, deep enough to be relied on.
    Earmarked {
        /// All of them together.
        amount: Amount,
        /// How many channels.
        channels: usize,
    },
    /// The providers have the module compiled and ready.
    Prepared {
        /// How many providers.
        providers: usize,
    },
    /// How likely the largest staker alone forms a quorum of an order (SYM-28).
    DrawRisk {
        /// In parts per million, rounded up.
        largest_staker_ppm: u32,
    },
    /// Every member of an order has taken it.
    OrderOut {
        /// The order.
        order: OrderDigest,
        /// The active replicas.
        active: Vec<Address>,
        /// The reserves.
        reserves: Vec<Address>,
        /// Orders out so far, this one included.
        out: usize,
        /// How many go out before the first answer is waited for.
        first_wave: usize,
    },
    /// A reserve was called to round two.
    ReserveCalled {
        /// The order.
        order: OrderDigest,
        /// The reserve.
        provider: Address,
        /// Why.
        reason: String,
    },
    /// A quorum agreed and its members have their vouchers.
    OrderDone {
        /// The order.
        order: OrderDigest,
        /// Members that agreed.
        agreed: Vec<Address>,
        /// Members that answered something else.
        dissented: Vec<Address>,
        /// Members that did not answer.
        missing: Vec<Address>,
        /// Workunits done so far.
        units_done: usize,
        /// Workunits in all.
        units: usize,
    },
    /// An order ended without a quorum; its work is given out again.
    OrderUndecided {
        /// The order.
        order: OrderDigest,
    },
    /// Unused earmarks are back.
    Released {
        /// How much.
        amount: Amount,
    },
    /// Something a person should know.
    Warning {
        /// What.
        message: String,
    },
    /// A job is over.
    JobDone(Box<JobReport>),
}

/// The money and the work of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// Its name in the data folder.
    pub job: JobId,
    /// What the requestor put into the vault for it.
    pub deposited: Amount,
    /// What was set aside for providers.
    pub earmarked: Amount,
    /// What vouchers promise, which is what providers were credited.
    pub paid: Amount,
    /// What came back from the earmarks.
    pub released: Amount,
    /// Each provider's part.
    pub providers: BTreeMap<Address, ProviderPart>,
    /// Orders that a quorum decided.
    pub orders: usize,
    /// Fuel of the agreed results.
    pub fuel: u64,
    /// Vouchers that are owed and not signed yet. The job is not to be forgotten before they are.
    pub unpaid: usize,
}

/// One provider's part of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPart {
    /// Price of an order.
    pub flat: Amount,
    /// Price of one Gfuel.
    pub rate: Amount,
    /// Orders it was a member of, reserves that never ran included.
    pub orders: u32,
    /// Orders in which it was with the quorum.
    pub agreed: u32,
    /// Orders in which it answered something else.
    pub disagreed: u32,
    /// Orders in which it did not answer in time.
    pub missing: u32,
    /// Fuel it was paid for.
    pub fuel: u64,
    /// The sum of its highest vouchers.
    pub voucher: Amount,
}

/// Where a node's events go. Whoever does not listen misses them; the node never waits.
#[derive(Clone, Debug, Default)]
pub struct Events(Option<mpsc::Sender<Event>>);

impl Events {
    /// A sender and what it fills; `capacity` events may wait.
    #[must_use]
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(Some(sender)), receiver)
    }

    /// Says it, if anybody listens.
    pub fn emit(&self, event: Event) {
        tracing::debug!(?event, "event");
        if let Some(sender) = &self.0
            && sender.try_send(event).is_err()
        {
            tracing::debug!("an event was not heard");
        }
    }
}
