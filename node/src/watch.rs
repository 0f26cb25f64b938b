//! Handing claim packages to watchtowers, and keeping their receipts.

use crate::{
    context::{Context, NodeError},
    peer::{CallError, Peer, call},
    provider::{ChannelRecord, OrderRecord},
    snapshot::{self, Snapshot},
    watchtower::WatchReceipt,
};
use std::time::Duration;
use symbolon_channel::SignedVoucher;
use symbolon_net::{Client, Config, Identity, Network};
use symbolon_primitives::{
    Address, Domain, Key, SignatureError, SignedOrder, Signer,
    receipt::{Attested, Paid},
    watch::{Package, QuorumPackage, watch_digest},
};
use symbolon_quorum::Settlement;
use symbolon_settlement::ops::QuorumRow;
use symbolon_store::{Durable, View};
use symbolon_wire::{MAX_GOSSIP, MAX_REQUEST, MAX_RESPONSE, Request, Response};

/// How long a watchtower that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Time for one answer: the watchtower asks the chain first.
const ANSWER: Duration = Duration::from_secs(30);

impl Snapshot for WatchReceipt {
    const KIND: &'static str = "watch-receipt";
}

/// Why a watchtower did not take a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// It refused, or did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answered about something else, or did not sign what it said.
    #[error("its receipt does not hold: {0}")]
    Receipt(#[from] SignatureError),
    /// It named another package or payee.
    #[error("its receipt is about another package")]
    OtherPackage,
    /// The own store or network.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl HandOverError {
    /// Whether the same watchtower may take it later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_passing())
    }
}

pub(crate) fn voucher_package(signed: &SignedVoucher) -> Package {
    Package::Voucher(Paid { voucher: signed.voucher, signature: signed.signature })
}

/// What the members of a settlement signed.
pub(crate) fn attested(settlement: &Settlement) -> Vec<Attested> {
    let of = |row: &symbolon_quorum::Row| Attested {
        provider: row.leaf.provider,
        nonce: row.nonce,
        signature: row.signature,
    };
    settlement.rows.iter().map(of).collect()
}

/// The same as the rows of a call.
pub(crate) fn rows(quorum: &[Attested]) -> Vec<QuorumRow> {
    let row = |row: &Attested| QuorumRow { provider: row.provider, nonce: row.nonce, signature: row.signature };
    quorum.iter().map(row).collect()
}

pub(crate) fn quorum_package(order: &SignedOrder, settlement: &Settlement) -> Package {
    Package::Quorum(Box::new(QuorumPackage {
        order: settlement.order,
        signature: settlement.order_signature,
        leaves: order.leaves.clone(),
        results_root: settlement.results_root,
        fuel: settlement.fuel,
        quorum: attested(settlement),
    }))
}

/// Everything in a provider's store that is not collected yet.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn packages(view: &View<'_>, domain: &Domain) -> Result<Vec<Package>, NodeError> {
    let mut found: Vec<Package> = snapshot::all_in::<ChannelRecord>(view)?
        .iter()
        .filter(|record| record.payee.terms().domain == *domain && !record.payee.claimable().is_zero())
        .filter_map(|record| record.payee.best().map(voucher_package))
        .collect();
    found.extend(snapshot::all_in::<OrderRecord>(view)?.iter().filter_map(OrderRecord::package));
    Ok(found)
}

fn request(key: &Key, domain: &Domain, package: Package) -> Request {
    let consent = key.sign(&watch_digest(domain, package.name(domain)));
    Request::Watch { package, payee: key.address(), consent }
}

/// Checks a watchtower's word about a package.
fn checked_receipt(
    domain: &Domain,
    package: &Package,
    payee: Address,
    response: Response,
) -> Result<WatchReceipt, HandOverError> {
    let Response::Watched { word, tower, signature } = response else {
        return Err(CallError::WrongAnswer.into());
    };
    if word.package != package.name(domain) || word.payee != payee {
        return Err(HandOverError::OtherPackage);
    }
    signature.check(&word.digest(domain), tower)?;
    Ok(WatchReceipt { word, tower, signature })
}

/// Hands a package over, however long the watchtower is away, and keeps its receipt.
pub(crate) async fn hand_over_until_taken(
    context: &Context,
    tower: &Peer,
    package: Package,
) -> Result<(), HandOverError> {
    // What others signed, and leave to hand it in: nothing that this node could be held to.
    let request = Durable::promises_nothing(request(&context.key, &context.domain, package.clone()));
    let response = context.outbox.deliver(tower, &request, PATIENCE).await?;
    let receipt = checked_receipt(&context.domain, &package, context.key.address(), response)?;
    let id = [receipt.word.package.as_slice(), receipt.tower.as_slice()].concat();
    context.store.write(vec![snapshot::put(&id, &receipt)?]).await.map_err(NodeError::from)?;
    let event = crate::Event::HandedOver { tower: receipt.tower, until: receipt.word.until };
    context.events.emit(event);
    Ok(())
}

/// Hands packages to a watchtower from outside a node: one answer for each.
///
/// # Errors
/// [`NodeError`] when no network starts.
pub async fn hand_over(
    domain: &Domain,
    key: &Key,
    tower: &Peer,
    packages: Vec<Package>,
) -> Result<Vec<Result<WatchReceipt, HandOverError>>, NodeError> {
    let config = Config {
        listen: Vec::new(),
        max_request_bytes: MAX_REQUEST,
        max_response_bytes: MAX_RESPONSE,
        max_gossip_bytes: MAX_GOSSIP,
        network: format!("symbolon/{}", domain.chain_id),
        ..Config::default()
    };
    let (client, _events) = Network::start(Identity::generate(), config).await?;
    let mut answers = Vec::with_capacity(packages.len());
    for package in packages {
        answers.push(hand_one(&client, domain, key, tower, package).await);
    }
    client.shutdown().await;
    Ok(answers)
}

async fn hand_one(
    client: &Client,
    domain: &Domain,
    key: &Key,
    tower: &Peer,
    package: Package,
) -> Result<WatchReceipt, HandOverError> {
    let response = call(client, tower, &request(key, domain, package.clone()), ANSWER).await?;
    checked_receipt(domain, &package, key.address(), response)
}

/// What watchtowers said they hold, as a data folder keeps it.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn watch_receipts(view: &View<'_>) -> Result<Vec<WatchReceipt>, NodeError> {
    snapshot::all_in(view)
}
