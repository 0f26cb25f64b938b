//! What a data folder knows of orders: from the agreement they stand on to the
//! voucher that paid them, and the receipt that shows it to others.

use crate::{
    content_store::ContentStore,
    context::NodeError,
    known::Role,
    provider::OrderRecord,
    requestor::RunningOrder,
    snapshot::{self, Snapshot},
    watch,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc};
use symbolon_executor::{Cancel, Engine};
use symbolon_primitives::{
    Address, AgreementDigest, Amount, AmountError, Domain, Epoch, Lane, Leaf, OrderDigest, SignedAgreement,
    SignedOrder, Timestamp, UnitResult,
    receipt::{Paid, Receipt, VERSION},
};
use symbolon_quorum::Settlement;
use symbolon_store::{Direction, StoreError, View, VoucherKey, Write};

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Out, or being computed.
    Out,
    /// This provider committed to its answer.
    Committed,
    /// This provider signed a Result.
    Attested,
    /// A quorum stands; the payment is to come.
    Decided,
    /// Vouchered or settled.
    Paid,
    /// No quorum came about.
    Undecided,
    /// Nothing will be asked for it.
    GivenUp,
}

/// How a member stands to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// Its answer is awaited.
    Awaited,
    /// A reserve that was not needed so far.
    Reserve,
    /// With the quorum.
    Agreed,
    /// It answered something else.
    Dissented,
    /// It did not answer.
    Missing,
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Out => "out",
            Self::Committed => "committed",
            Self::Attested => "attested",
            Self::Decided => "decided",
            Self::Paid => "paid",
            Self::Undecided => "undecided",
            Self::GivenUp => "given up",
        })
    }
}

impl fmt::Display for Stands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Awaited => "awaited",
            Self::Reserve => "reserve",
            Self::Agreed => "agreed",
            Self::Dissented => "dissented",
            Self::Missing => "missing",
        })
    }
}

/// A member of an order and its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemberEntry {
    /// The provider.
    pub provider: Address,
    /// Its channel's lane.
    pub lane: Lane,
    /// Its channel's epoch.
    pub epoch: Epoch,
    /// What the channel owed before.
    pub owed: Amount,
    /// What the order is worth, once its fuel is known.
    pub price: Option<Amount>,
    /// `owed + price`.
    pub total: Option<Amount>,
    /// How it stands.
    pub stands: Stands,
    /// The channel's best voucher, where it covers `total`.
    pub voucher: Option<Amount>,
}

impl MemberEntry {
    pub(crate) fn read(
        view: &View<'_>,
        direction: Direction,
        payer: Address,
        lane: Lane,
        leaf: &Leaf,
        fuel: Option<u64>,
        stands: Stands,
    ) -> Result<Self, NodeError> {
        let price = fuel.map(|fuel| leaf.price(fuel)).transpose()?;
        let total = fuel.map(|fuel| leaf.total(fuel)).transpose()?;
        let voucher = match total.filter(|_| stands == Stands::Agreed) {
            Some(total) => covering(view, direction, payer, lane, leaf, total)?.map(|paid| paid.voucher.cumulative),
            None => None,
        };
        let Leaf { provider, owed, epoch, .. } = *leaf;
        Ok(Self { provider, lane, epoch, owed, price, total, stands, voucher })
    }
}

/// An order that a data folder knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderEntry {
    /// This folder's side.
    pub role: Role,
    /// Its name.
    pub order: OrderDigest,
    /// The payer key.
    pub payer: Address,
    /// The agreements it stands on: a payer's all, a provider's own.
    pub agreements: Vec<AgreementDigest>,
    /// How many workunits it has.
    pub units: usize,
    /// The most fuel it may be billed.
    pub max_fuel: u64,
    /// What it is billed, once known.
    pub fuel: Option<u64>,
    /// How far it is.
    pub state: OrderState,
    /// The last second a quorum may settle it.
    pub settle_by: Timestamp,
    /// When this provider submits its quorum if the payer stays silent.
    pub settles_at: Option<Timestamp>,
    /// Its members: a payer sees all, a provider itself.
    pub members: Vec<MemberEntry>,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoReceipt {
    /// The order is not known.
    #[error("no order {0} in this data folder")]
    Unknown(OrderDigest),
    /// Nothing to show yet.
    #[error("no quorum has signed a common result for it, as far as this data folder knows")]
    NoQuorum,
    /// The store does not read.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<StoreError> for NoReceipt {
    fn from(error: StoreError) -> Self {
        Self::Node(error.into())
    }
}

impl From<AmountError> for NoReceipt {
    fn from(error: AmountError) -> Self {
        Self::Node(error.into())
    }
}

/// A receipt that outlives its order's record.
#[derive(Serialize, Deserialize)]
struct KeptReceipt(Receipt);

impl Snapshot for KeptReceipt {
    const KIND: &'static str = "receipt";
}

pub(crate) fn keep_receipt(order: OrderDigest, receipt: &Receipt) -> Result<Write, NodeError> {
    snapshot::put(order.as_bytes(), &KeptReceipt(receipt.clone()))
}

fn covering(
    view: &View<'_>,
    direction: Direction,
    payer: Address,
    lane: Lane,
    leaf: &Leaf,
    total: Amount,
) -> Result<Option<Paid>, StoreError> {
    let key = VoucherKey { direction, payer, payee: leaf.provider, lane, epoch: leaf.epoch };
    let row = view.best_voucher(&key)?.filter(|best| best.cumulative >= total);
    Ok(row.map(|row| Paid {
        voucher: symbolon_primitives::Voucher {
            payee: leaf.provider,
            lane,
            cumulative: row.cumulative,
            epoch: leaf.epoch,
        },
        signature: row.signature,
    }))
}

/// Puts a receipt together from what both sides of an order keep.
pub(crate) fn receipt_of(
    view: &View<'_>,
    domain: &Domain,
    direction: Direction,
    order: &SignedOrder,
    agreements: Vec<SignedAgreement>,
    units: Vec<UnitResult>,
    settlement: &Settlement,
) -> Result<Receipt, NoReceipt> {
    let mut vouchers = Vec::new();
    for row in &settlement.rows {
        let lane = order.order.royalty.lane(row.leaf.lane_number);
        let total = row.leaf.total(settlement.fuel)?;
        vouchers.extend(covering(view, direction, settlement.payer, lane, &row.leaf, total)?);
    }
    Ok(Receipt {
        version: VERSION,
        domain: *domain,
        payer: settlement.payer,
        agreements,
        order: order.clone(),
        units,
        results_root: settlement.results_root,
        fuel: settlement.fuel,
        quorum: watch::attested(settlement),
        vouchers,
    })
}

/// Every order of a vault that the store knows, by settle-by.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn known_orders(view: &View<'_>, domain: &Domain) -> Result<Vec<OrderEntry>, NodeError> {
    let mut entries = Vec::new();
    for running in snapshot::all_in::<RunningOrder>(view)? {
        entries.push(running.entry(view, domain)?);
    }
    for record in snapshot::all_in::<OrderRecord>(view)? {
        entries.push(record.entry(view, domain)?);
    }
    entries.sort_by_key(|entry| (entry.settle_by, entry.order));
    Ok(entries)
}

/// The receipt of an order: from its record, or the one that was kept of it.
///
/// # Errors
/// [`NoReceipt`] when there is nothing to show.
pub fn receipt(view: &View<'_>, domain: &Domain, order: OrderDigest) -> Result<Receipt, NoReceipt> {
    if let Some(running) = snapshot::one_in::<RunningOrder>(view, order.as_bytes())? {
        return running.receipt(view, domain);
    }
    if let Some(record) = snapshot::one_in::<OrderRecord>(view, order.as_bytes())? {
        return record.receipt(view, domain);
    }
    let kept = snapshot::one_in::<KeptReceipt>(view, order.as_bytes())?;
    kept.map(|kept| kept.0).ok_or(NoReceipt::Unknown(order))
}

/// How a result came out when it was computed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reexecution {
    /// The part, from 0.
    pub part: usize,
    /// What the quorum signed.
    pub signed: UnitResult,
    /// What this machine comes to.
    pub here: UnitResult,
}

impl Reexecution {
    /// Whether this machine stands behind it.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.signed == self.here
    }
}

/// Runs a receipt's workunits again from content in `content`, telling each as it ends.
///
/// # Errors
/// A sentence about what is missing or does not run here.
pub fn reexecute(
    engine: &Engine,
    content: &ContentStore,
    receipt: &Receipt,
    mut each: impl FnMut(&Reexecution),
) -> Result<Vec<Reexecution>, String> {
    let work = &receipt.order.work;
    if work.profile != engine.profile().id() {
        return Err(format!("the order is of profile {}, this node has {}", work.profile, engine.profile().id()));
    }
    let module = work.workunits.first().map(|unit| unit.module).unwrap_or_default();
    let bytes = content.get(module).map_err(|e| format!("module {module}: {e}"))?;
    let compiled = engine.compile(&bytes).map_err(|e| format!("module {module}: {e}"))?;
    let mut done = Vec::with_capacity(work.workunits.len());
    for (part, (unit, signed)) in work.workunits.iter().zip(&receipt.units).enumerate() {
        let mut inputs: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
        for input in &unit.inputs {
            let bytes =
                content.get(input.content).map_err(|e| format!("input {} {}: {e}", input.path, input.content))?;
            inputs.insert(input.path.clone(), bytes.into());
        }
        let execution =
            engine.run(&compiled, unit, &inputs, &Cancel::new()).map_err(|e| format!("part {part}: {e}"))?;
        let here = UnitResult { id: unit.id(work.profile), root: execution.result_root(), fuel: execution.fuel };
        let entry = Reexecution { part, signed: *signed, here };
        each(&entry);
        done.push(entry);
    }
    Ok(done)
}
