//! Outputs of decided orders at the requestor: fetched from whoever was paid,
//! and kept, so that nothing that was paid for is asked for twice.

use super::{Done, JobError, Requestor, UnitOutput, orders::RunningOrder};
use crate::{
    context::Context,
    event::Event,
    peer::{Peer, fetch},
    snapshot,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use symbolon_executor::{Manifest, manifest::Part};
use symbolon_primitives::{Address, ContentRef, OrderDigest, UnitResult};
use symbolon_wire::Right;
use tokio::time::Instant;

/// How often every paid replica is asked for an order's outputs, at least.
const FETCH_ROUNDS: usize = 5;
/// How long at least: whoever was restarted serves again.
const FETCH_PATIENCE: Duration = Duration::from_secs(60);
/// The first pause after a failure; pauses double up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// The longest manifest read.
const MAX_MANIFEST: u64 = 4 << 20;

/// One part's output as fetched.
pub(super) struct Fetched {
    part: usize,
    output: UnitOutput,
}

impl Requestor {
    /// From now on this replica may be asked: it has its voucher, or its money.
    pub(super) fn add_source(&mut self, order: OrderDigest, provider: Address) {
        if let Some(running) = self.orders.get_mut(&order)
            && !running.sources.contains(&provider)
        {
            running.sources.push(provider);
        }
        self.fetch_outputs(order);
    }

    /// Fetches a decided order's outputs from a replica that has its voucher (SYM-27).
    pub(super) fn fetch_outputs(&mut self, order: OrderDigest) {
        let Some(running) = self.orders.get_mut(&order) else { return };
        let pausing = running.fetch_from.is_some_and(|from| Instant::now() < from);
        if running.fetching || running.done || pausing || running.sources.is_empty() {
            return;
        }
        // The agreed parts, whoever of the quorum sent them: never the source's own word.
        let Some(units) = running.canonical_units() else { return };
        let from = running.sources.remove(0);
        running.sources.push(from);
        let Some(partner) = self.partners.get(&from) else { return };
        running.fetching = true;
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        let (peer, batch, most) = (partner.peer.clone(), running.batch.clone(), self.spec.limits.output_bytes);
        tokio::spawn(async move {
            let fetched = fetch_units(&context, &peer, order, &batch, &units, most).await;
            // The loop is gone only when the job is over.
            let _ = reports.send(Done::Fetched { order, from, fetched }).await;
        });
    }

    /// Asks again for outputs that nobody has served yet.
    pub(super) fn fetch_again(&mut self) {
        let waiting: Vec<OrderDigest> = self
            .orders
            .iter()
            .filter(|(_, running)| !running.done && !running.fetching)
            .map(|(order, _)| *order)
            .collect();
        for order in waiting {
            self.fetch_outputs(order);
        }
    }

    pub(super) async fn on_fetched(
        &mut self,
        order: OrderDigest,
        from: Address,
        fetched: Result<Vec<Fetched>, String>,
    ) -> Result<(), JobError> {
        let Some(running) = self.orders.get_mut(&order) else { return Ok(()) };
        running.fetching = false;
        match fetched {
            Ok(fetched) => {
                running.done = true;
                running.fetched = true;
                let write = snapshot::put(order.as_bytes(), running)?;
                let event = Event::OrderDone {
                    order,
                    agreed: running.agreed.iter().copied().collect(),
                    dissented: running.dissented.iter().copied().collect(),
                    missing: running.missing.iter().copied().collect(),
                    units_done: self.outputs.len() + fetched.len(),
                    units: self.units.len(),
                };
                self.context.store.write(vec![write]).await?;
                self.outputs.extend(fetched.into_iter().map(|fetched| (fetched.part, fetched.output)));
                self.context.events.emit(event);
                Ok(())
            }
            Err(reason) => {
                let now = Instant::now();
                let pause = FIRST_PAUSE.saturating_mul(1 << running.failures.min(5)).min(LAST_PAUSE);
                running.failures += 1;
                running.fetch_from = Some(now + pause);
                let since = *running.failing_since.get_or_insert(now);
                let (failures, sources) = (running.failures, running.sources.len());
                self.warn(format!("{from} does not serve what it was paid for: {reason}"));
                if failures >= FETCH_ROUNDS.saturating_mul(sources) && since.elapsed() >= FETCH_PATIENCE {
                    return Err(JobError::OutputsLost { order, reason });
                }
                // The next paid replica is asked after the pause.
                Ok(())
            }
        }
    }

    /// Takes over what an earlier run fetched of an order; whether all of it is still here.
    pub(super) fn take_kept(&mut self, running: &RunningOrder) -> bool {
        let kept = running.fetched.then(|| kept_units(&self.context, running)).flatten();
        let is_here = kept.is_some();
        self.outputs.extend(kept.into_iter().flatten().map(|kept| (kept.part, kept.output)));
        is_here
    }
}

/// An order's outputs from this node's own content, if it has all of them.
fn kept_units(context: &Context, running: &RunningOrder) -> Option<Vec<Fetched>> {
    let get = |root: ContentRef| context.content.get(root).ok();
    let mut kept = Vec::with_capacity(running.batch.len());
    for (part, unit) in running.batch.iter().zip(running.canonical_units()?) {
        let manifest = Manifest::decode(&get(ContentRef::from_bytes(*unit.root.as_bytes()))?).ok()?;
        let mut outputs = BTreeMap::new();
        for (path, output) in manifest.outputs {
            outputs.insert(path, get(output.reference)?);
        }
        let (stdout, stderr) = (get(manifest.stdout.reference)?, get(manifest.stderr.reference)?);
        let output = UnitOutput { outcome: manifest.outcome, fuel: manifest.fuel, stdout, stderr, outputs };
        kept.push(Fetched { part: *part, output });
    }
    Some(kept)
}

async fn fetch_units(
    context: &Arc<Context>,
    peer: &Peer,
    order: OrderDigest,
    batch: &[usize],
    units: &[UnitResult],
    most: u64,
) -> Result<Vec<Fetched>, String> {
    let get = |root: ContentRef, len: u64| fetch_and_keep(context, peer, Right::Order(order), root, len);
    let part_bytes = |part: Part| async move {
        if part.len > most {
            return Err(format!("an output of {} bytes, at most {most}", part.len));
        }
        get(part.reference, part.len).await
    };
    let mut fetched = Vec::with_capacity(batch.len());
    for (part, unit) in batch.iter().zip(units) {
        let manifest = get(ContentRef::from_bytes(*unit.root.as_bytes()), MAX_MANIFEST).await?;
        let manifest = Manifest::decode(&manifest).map_err(|why| why.to_string())?;
        if manifest.fuel != unit.fuel {
            return Err("the manifest names other fuel than was paid".into());
        }
        let mut outputs = BTreeMap::new();
        for (path, output) in manifest.outputs {
            outputs.insert(path, part_bytes(output).await?);
        }
        let output = UnitOutput {
            outcome: manifest.outcome,
            fuel: manifest.fuel,
            stdout: part_bytes(manifest.stdout).await?,
            stderr: part_bytes(manifest.stderr).await?,
            outputs,
        };
        fetched.push(Fetched { part: *part, output });
    }
    Ok(fetched)
}

/// Content that a source serves, kept before it counts.
async fn fetch_and_keep(
    context: &Arc<Context>,
    peer: &Peer,
    right: Right,
    root: ContentRef,
    len: u64,
) -> Result<Vec<u8>, String> {
    if context.content.has(root)
        && let Ok(bytes) = context.content.get(root)
    {
        return Ok(bytes);
    }
    let bytes =
        fetch(&context.client, std::slice::from_ref(peer), right, root, len).await.map_err(|e| e.to_string())?;
    let context = Arc::clone(context);
    let kept = tokio::task::spawn_blocking(move || context.content.put(&bytes).map(|_| bytes)).await;
    match kept {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(format!("cannot keep an output: {error}")),
        Err(error) => Err(error.to_string()),
    }
}
