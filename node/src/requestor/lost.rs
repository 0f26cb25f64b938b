//! Orders that no quorum decided in time: what becomes of their work.
//!
//! The members of an order from an earlier run are asked first, and then the chain: a quorum may have settled it while
//! its requestor was away, and whoever is paid serves the outputs. What was paid for is not given out anew while
//! somebody may still have it.

use super::{ATTEMPTS, Done, JobError, Requestor, money::Opened, orders::RunningOrder};
use crate::{
    context::{NodeError, now},
    event::Event,
};
use std::sync::Arc;
use symbolon_channel::PayerInput;
use symbolon_primitives::{Address, Amount, Leaf, OrderDigest};

/// How long members of an order from an earlier run may take to show a quorum before anything else is done about its
/// work. Longer than they are tried for, dialling included.
const ASKED_SECS: u64 = 30;

/// What is next for an order whose members had their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A look at its members' channels.
    Look,
    /// The same question to its members once more: it is paid for.
    Ask,
    /// Its work is given out anew.
    Anew,
    /// Nothing: its work was given out often enough in this run. Another one may begin anew.
    Enough,
}

impl RunningOrder {
    /// Its members are asked what became of it before its work is given out anew.
    pub(super) fn give_time(&mut self) {
        self.reissue_at.get_or_insert(now().plus_secs(ASKED_SECS));
    }

    /// No quorum can be hoped for, unless an earlier run sent it out and this node was away.
    pub(super) fn give_in(&mut self) {
        let wait = if self.resumed { ASKED_SECS } else { 0 };
        self.reissue_at = Some(now().plus_secs(wait));
    }

    /// `is_paid`: what the chain shows; `given_out`: how often this run gave its parts out.
    fn next(&self, is_paid: bool, given_out: u32) -> Next {
        let is_known = self.refused.len() < self.message.members.len();
        if self.resumed && !self.looked {
            Next::Look
        } else if self.resumed && is_paid && is_known {
            Next::Ask
        } else if given_out >= ATTEMPTS {
            Next::Enough
        } else {
            Next::Anew
        }
    }

    /// Whether more is claimed from a member's channel than was owed there when the order went out, and no order among
    /// `others` accounts for it. What is claimed never falls, however many epochs have gone by.
    fn is_paid<'a>(
        &self,
        others: impl Iterator<Item = &'a Self> + Clone,
        claimed: impl Fn(&Leaf) -> Option<Amount>,
    ) -> bool {
        self.order().leaves.iter().any(|leaf| {
            // One order at a time: of two that went out over the same total at most one was paid.
            let same = |other: &Leaf| {
                (other.provider, other.lane_number, other.owed) == (leaf.provider, leaf.lane_number, leaf.owed)
            };
            let mut paid = others.clone().filter(|other| other.agreed.contains(&leaf.provider));
            claimed(leaf).is_some_and(|claimed| claimed > leaf.owed)
                && !paid.any(|other| other.order().leaves.iter().any(same))
        })
    }
}

impl Requestor {
    /// Gives work out anew whose order has come to nothing.
    pub(super) fn reissue_lost(&mut self) -> Result<(), JobError> {
        let time = now();
        let due = |running: &RunningOrder| {
            let is_open = !running.done && running.verdict.canonical().is_none();
            is_open && running.reissue_at.is_some_and(|at| at <= time)
        };
        let due: Vec<OrderDigest> =
            self.orders.iter().filter(|(_, running)| due(running)).map(|(order, _)| *order).collect();
        for order in due {
            let is_paid = self.shows_as_paid(order);
            let Some(running) = self.orders.get_mut(&order) else { continue };
            let given_out = running.batch.first().and_then(|first| self.given_out.get(first));
            let next = running.next(is_paid, given_out.copied().unwrap_or_default());
            running.reissue_at = Some(time.plus_secs(ASKED_SECS));
            match next {
                Next::Look => self.look_at(order),
                Next::Ask => {
                    running.looked = false;
                    if !std::mem::replace(&mut running.waited_for, true) {
                        self.warn(format!(
                            "order {order} was paid on chain, and none of its members shows what it came to: they are \
                             asked again"
                        ));
                    }
                    self.ask_about(order);
                }
                Next::Anew => {
                    running.done = true;
                    let again = (running.batch.clone(), running.attempt + 1);
                    if is_paid {
                        self.warn(format!(
                            "order {order} was paid on chain, and none of its members knows it any more: its work is \
                             given out and paid for anew"
                        ));
                    }
                    self.pending.push_back(again);
                    self.context.events.emit(Event::OrderUndecided { order });
                }
                Next::Enough => return Err(JobError::Undecided { parts: running.batch.len() }),
            }
        }
        Ok(())
    }

    /// Whether the chain shows that an order was paid, as far as its channels were looked at.
    fn shows_as_paid(&self, order: OrderDigest) -> bool {
        let claimed = |leaf: &Leaf| {
            let record = self.channels.get(&(leaf.provider, leaf.lane_number))?;
            Some(record.payer.view().claimed)
        };
        let others = self.orders.iter().filter(|(other, _)| **other != order).map(|(_, running)| running);
        self.orders.get(&order).is_some_and(|running| running.is_paid(others, claimed))
    }

    /// Looks at the channels of an order's members once more, in the background.
    pub(super) fn look_at(&self, order: OrderDigest) {
        let Some(running) = self.orders.get(&order) else { return };
        let channels: Vec<(Address, u16)> =
            running.order().leaves.iter().map(|leaf| (leaf.provider, leaf.lane_number)).collect();
        let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
        let royalty = self.spec.terms.royalty;
        tokio::spawn(async move {
            let seen = super::money::look_all(&context, &channels, royalty).await;
            // The loop is gone only when the job is over.
            let _ = reports.send(Done::Looked { order, seen }).await;
        });
    }

    pub(super) async fn on_looked(
        &mut self,
        order: OrderDigest,
        seen: Result<Opened, NodeError>,
    ) -> Result<(), JobError> {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                // What waits for the look asks for another one.
                tracing::info!(%order, %error, "the channels of an order cannot be looked at");
                return Ok(());
            }
        };
        for (id, view) in seen.views {
            self.channel(id, PayerInput::Seen(view)).await?;
        }
        if let Some(running) = self.orders.get_mut(&order).filter(|running| running.reissue_at.is_some()) {
            running.looked = true;
            running.reissue_at = Some(now());
        }
        self.add_paid_sources(order)
    }

    /// Whoever was paid on chain serves outputs without any voucher.
    pub(super) fn add_paid_sources(&mut self, order: OrderDigest) -> Result<(), JobError> {
        let Some(running) = self.orders.get(&order) else { return Ok(()) };
        let Some((_, fuel)) = running.verdict.canonical() else { return Ok(()) };
        let dissented = running.dissented.clone();
        for leaf in running.order().leaves.clone() {
            if dissented.contains(&leaf.provider) || !self.is_paid_on_chain(&leaf, fuel)? {
                continue;
            }
            if let Some(running) = self.orders.get_mut(&order).filter(|running| running.agreed.contains(&leaf.provider))
            {
                running.paid.insert(leaf.provider);
            }
            self.add_source(order, leaf.provider);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::orders::tests::running, *};

    /// What a member of every order here was paid, by lane.
    fn claimed(lane_number: u16, total: u64) -> impl Fn(&Leaf) -> Option<Amount> {
        move |leaf| (leaf.lane_number == lane_number).then(|| Amount::from_u64(total))
    }

    #[test]
    fn what_the_chain_shows_as_paid_is_not_given_out_anew_while_a_member_may_have_it() {
        let mut order = running(1, 100);
        order.recall();
        assert_eq!(order.next(false, 0), Next::Look);
        assert_eq!(order.next(true, 0), Next::Look);
        order.looked = true;
        assert_eq!(order.next(false, 0), Next::Anew);
        assert_eq!(order.next(true, 0), Next::Ask);
        order.refused = order.members().collect();
        assert_eq!(order.next(true, 0), Next::Anew);
    }

    #[test]
    fn a_run_gives_work_out_so_often_however_often_others_did() {
        let mut order = running(1, 100);
        order.attempt = ATTEMPTS - 1;
        assert_eq!((order.next(false, ATTEMPTS - 1), order.next(false, ATTEMPTS)), (Next::Anew, Next::Enough));
        order.recall();
        order.looked = true;
        assert_eq!(order.next(false, 0), Next::Anew, "the job can go on");
    }

    #[test]
    fn an_order_was_paid_where_more_is_claimed_than_any_other_order_accounts_for() {
        let (order, mut other) = (running(1, 100), running(1, 100));
        let paid = |others: &[&RunningOrder], lane, total| order.is_paid(others.iter().copied(), claimed(lane, total));
        assert!(!paid(&[], 1, 100) && !paid(&[], 2, 101));
        assert!(paid(&[], 1, 101));
        assert!(paid(&[&other], 1, 101), "nobody was paid for the other one");
        other.agreed = other.members().collect();
        assert!(!paid(&[&other], 1, 101));
        // One after it stands on what it was paid itself; one on another lane has nothing to do with it.
        for mut other in [running(1, 150), running(2, 100)] {
            other.agreed = other.members().collect();
            assert!(paid(&[&other], 1, 200));
        }
    }

    #[test]
    fn members_are_tried_for_less_long_than_they_are_waited_for() {
        assert!(ASKED_SECS >= super::super::orders::TAKE.as_secs() + 10);
    }
}
