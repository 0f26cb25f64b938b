//! What must hold of nodes that were killed: of their folders after each kill,
//! and of folders and chain together at the end.

use crate::world::{FUNDS, Node, STAKE, World};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_contracts::vault::VaultEvents;
use symbolon_node::{OrderEntry, OrderState, Stands, known_orders};
use symbolon_primitives::{Address, Amount, Epoch, Lane, OrderDigest, Royalty, Signature};
use symbolon_settlement::{EventFilter, amounts_of_words};
use symbolon_store::{Direction, Look, StoreError, TxState, VoucherKey};

/// Lanes looked at: those of a job, and those taken in place of lanes that lost orders hold.
pub(crate) const LANES: u16 = 16;

/// A rule that did not hold.
pub(crate) type Broken = String;

macro_rules! hold {
    ($what:expr, $($why:tt)*) => {
        if !$what { return Err(format!($($why)*)); }
    };
}

/// One epoch of a channel.
type Name = (Address, Lane, Epoch);
/// The best voucher of each.
type Vouchers = BTreeMap<Name, (Amount, Signature)>;

/// Everything that folders were ever seen to hold. What came later has to agree with it.
#[derive(Default)]
pub(crate) struct Memory {
    issued: Vouchers,
    received: BTreeMap<Address, Vouchers>,
}

/// What was going on when a node was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fact {
    /// A requestor's order was out and nothing was decided about it.
    OrderOut,
    /// A requestor had signed a voucher that its payee did not have yet.
    VoucherUnsaid,
    /// A requestor had paid outputs to fetch.
    PaidNotFetched,
    /// A provider was computing.
    Computing,
    /// A provider had committed and signed no Result.
    Committed,
    /// A provider had signed a Result and was not paid.
    Unpaid,
    /// A provider had its voucher, and its payer did not have the outputs.
    NotServed,
    /// A provider's claim was signed and not mined.
    ClaimUnderWay,
    /// A requestor's money was on its way into the vault or into channels.
    MoneyUnderWay,
}

fn rows(look: &Look, direction: Direction, payer: Address) -> Result<Vouchers, Broken> {
    let view = look.view();
    let mut found = Vouchers::new();
    for best in view.best_vouchers(direction).map_err(|error| error.to_string())? {
        hold!(best.key.payer == payer, "a voucher of {}", best.key.payer);
        let name = (best.key.payee, best.key.lane, best.key.epoch);
        found.insert(name, (best.cumulative, best.signature));
    }
    Ok(found)
}

/// What was seen before is there, or a higher one in its place.
fn grown(who: &str, before: &Vouchers, now: &Vouchers) -> Result<(), Broken> {
    for (name, (highest, signature)) in before {
        let later = now.get(name);
        hold!(later.is_some_and(|(total, _)| total >= highest), "SYM-24: {who} lost a voucher for {highest}");
        let changed = later.is_some_and(|(total, other)| total == highest && other != signature);
        hold!(!changed, "SYM-24: {who} has two signatures for {highest}");
    }
    Ok(())
}

/// A dead node's store; none only if it died before it had a whole one.
fn look_at(node: &Node) -> Result<Option<Look>, Broken> {
    match Look::open(&node.data) {
        Ok(look) => Ok(Some(look)),
        Err(StoreError::Folder { .. } | StoreError::SchemaTooOld { .. }) => Ok(None),
        Err(error) => Err(format!("the store of {}: {error}", node.name)),
    }
}

impl Memory {
    /// Looks at a requestor's folder.
    pub(crate) fn of_requestor(&mut self, node: &Node) -> Result<(), Broken> {
        let Some(look) = look_at(node)? else {
            hold!(self.issued.is_empty(), "the store of {} is gone", node.name);
            return Ok(());
        };
        let now = rows(&look, Direction::Issued, node.address)?;
        grown(&node.name, &self.issued, &now)?;
        self.issued = now;
        Ok(())
    }

    /// Looks at a provider's folder: what it said it holds, it holds.
    pub(crate) fn of_provider(&mut self, node: &Node, requestor: Address) -> Result<(), Broken> {
        let Some(look) = look_at(node)? else {
            let had = self.received.get(&node.address).is_some_and(|held| !held.is_empty());
            hold!(!had, "the store of {} is gone", node.name);
            return Ok(());
        };
        let now = rows(&look, Direction::Received, requestor)?;
        grown(&node.name, self.received.entry(node.address).or_default(), &now)?;
        hold!(now.keys().all(|(payee, ..)| *payee == node.address), "a voucher for somebody else");
        for event in node.events.iter().filter(|event| event["event"] == "vouchered") {
            let total: Amount = event["cumulative"].as_str().and_then(|said| said.parse().ok()).unwrap_or(Amount::MAX);
            let held = now.values().any(|(held, _)| *held >= total);
            hold!(held, "L3: {} said it holds a voucher for {total}", node.name);
        }
        self.received.insert(node.address, now);
        Ok(())
    }

    /// Of no voucher that a payee holds has the payer signed less, or the same total twice.
    pub(crate) fn agree(&self) -> Result<(), Broken> {
        for (name, (total, signature)) in self.received.values().flatten() {
            let known =
                self.issued.get(name).is_some_and(|(best, own)| best > total || best == total && own == signature);
            hold!(known, "L3: {} holds {total}, which its payer does not know", name.0);
        }
        Ok(())
    }
}

fn orders(world: &World, node: &Node) -> Result<Vec<OrderEntry>, Broken> {
    let Some(look) = look_at(node)? else { return Ok(Vec::new()) };
    known_orders(&look.view(), &world.domain).map_err(|error| format!("the orders of {}: {error}", node.name))
}

/// Transactions of a kind that are signed and not in a block.
pub(crate) fn under_way(world: &World, node: &Node, kinds: &[&str]) -> bool {
    let Ok(look) = Look::open(&node.data) else { return false };
    let open = look.view().open_txs(world.domain.chain_id, node.address).unwrap_or_default();
    open.iter().filter(|tx| tx.state == TxState::Sent && kinds.contains(&tx.plan.kind.as_str())).any(|tx| {
        let mined = |hash| world.runtime.block_on(world.vault.chain().receipt(hash)).is_ok_and(|mined| mined.is_some());
        !tx.attempts.iter().any(|attempt| mined(attempt.hash))
    })
}

/// Whether a payee lacks the highest voucher of its channel.
fn is_unsaid(requestor: &Node, providers: &[&Node]) -> bool {
    let issued = Look::open(&requestor.data).and_then(|look| look.view().best_vouchers(Direction::Issued));
    issued.unwrap_or_default().into_iter().any(|best| {
        let key = VoucherKey { direction: Direction::Received, ..best.key };
        let payee = providers.iter().find(|provider| provider.address == key.payee);
        let held = payee.and_then(|payee| Look::open(&payee.data).ok()?.view().best_voucher(&key).ok()?);
        held.map(|held| held.cumulative) < Some(best.cumulative)
    })
}

/// What was going on at a node that is dead now.
pub(crate) fn facts(
    world: &World,
    requestor: &Node,
    providers: &[&Node],
    node: &Node,
) -> Result<BTreeSet<Fact>, Broken> {
    let mut facts = BTreeSet::new();
    let fetched = requestor.orders("order_done");
    for order in orders(world, node)? {
        let here = fetched.contains(&order.order.to_string());
        hold!(
            order.state != OrderState::Paid || order.settles_at.is_none(),
            "{} would settle {}, which is paid",
            node.name,
            order.order
        );
        let fact = match order.state {
            _ if node.address != requestor.address => match order.state {
                OrderState::Out if order.members.iter().any(|member| member.stands == Stands::Awaited) => {
                    Fact::Computing
                }
                OrderState::Committed => Fact::Committed,
                OrderState::Attested | OrderState::Decided => Fact::Unpaid,
                OrderState::Paid if !here => Fact::NotServed,
                _ => continue,
            },
            OrderState::Out => Fact::OrderOut,
            OrderState::Decided | OrderState::Paid if !here => Fact::PaidNotFetched,
            _ => continue,
        };
        facts.insert(fact);
    }
    if node.address == requestor.address {
        facts.extend(is_unsaid(requestor, providers).then_some(Fact::VoucherUnsaid));
        facts.extend(under_way(world, node, &["approve", "deposit", "open"]).then_some(Fact::MoneyUnderWay));
    } else {
        facts.extend(under_way(world, node, &["claim"]).then_some(Fact::ClaimUnderWay));
    }
    Ok(facts)
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Sums {
    /// Orders that somebody was paid for.
    pub(crate) orders: usize,
    /// Orders that were settled by quorum.
    pub(crate) settled: usize,
    /// What providers were paid.
    pub(crate) paid: Amount,
}

/// Folders and chain together, when everybody has collected. Nothing when somebody still has to.
pub(crate) fn adds_up(world: &World, requestor: &Node, providers: &[&Node]) -> Result<Option<Sums>, Broken> {
    let (vault, chain) = (&world.vault, world.vault.chain());
    let head = world.runtime.block_on(chain.head()).map_err(|error| error.to_string())?;
    let settled = settlements(world, head.number)?;
    let issued = orders(world, requestor)?;
    let mut paid_orders: BTreeSet<OrderDigest> = BTreeSet::new();
    let mut paid = Amount::ZERO;
    let mut open = Amount::ZERO;
    for provider in providers {
        let me = provider.address;
        let mut prices: BTreeMap<OrderDigest, Amount> = BTreeMap::new();
        for order in &issued {
            let mine = order.members.iter().filter(|member| member.provider == me);
            for member in mine.filter(|member| member.stands == Stands::Agreed && member.voucher.is_some()) {
                prices.insert(order.order, member.price.unwrap_or_default());
            }
        }
        for order in orders(world, provider)? {
            for member in &order.members {
                // Whoever stands in a quorum ends paid, whatever the payer knows of it.
                let owed = matches!(order.state, OrderState::Decided | OrderState::Paid);
                if owed || settled.get(&order.order).is_some_and(|payees| payees.contains(&me)) {
                    prices.insert(order.order, member.price.unwrap_or_default());
                }
            }
        }
        let earned = Amount::checked_sum(prices.values().copied()).map_err(|error| error.to_string())?;
        let mut claimed = Amount::ZERO;
        for number in 0..LANES {
            let lane = Royalty::NONE.lane(number);
            let state = world.runtime.block_on(vault.channel(requestor.address, me, lane, &head));
            let state = state.map_err(|error| error.to_string())?;
            claimed = claimed.checked_add(state.claimed).map_err(|error| error.to_string())?;
            open =
                open.checked_add(state.allocated.saturating_sub(state.claimed)).map_err(|error| error.to_string())?;
        }
        hold!(claimed <= earned, "{} was paid {claimed} for {earned} of work", provider.name);
        if claimed < earned {
            return Ok(None);
        }
        let account = world.runtime.block_on(vault.account(me, &head)).map_err(|error| error.to_string())?;
        hold!(account.stake.get() == STAKE, "{} staked {}", provider.name, account.stake);
        let has = wallet(world, me, &head)? + account.balance.get() + account.stake.get();
        hold!(has == FUNDS + claimed.get(), "{} has {has} after {claimed}", provider.name);
        paid = paid.checked_add(claimed).map_err(|error| error.to_string())?;
        paid_orders.extend(prices.keys());
    }
    let account = world.runtime.block_on(vault.account(requestor.address, &head)).map_err(|error| error.to_string())?;
    let has = wallet(world, requestor.address, &head)? + account.balance.get() + open.get() + paid.get();
    hold!(has == FUNDS, "the requestor's {FUNDS} have become {has}: {paid} paid, {open} earmarked");
    let settled = settled.keys().filter(|order| issued.iter().any(|issued| issued.order == **order)).count();
    Ok(Some(Sums { orders: paid_orders.len(), settled, paid }))
}

fn wallet(world: &World, of: Address, head: &symbolon_settlement::Header) -> Result<u128, Broken> {
    let balance = world.runtime.block_on(world.vault.chain().token_balance(world.vault.token(), of, head));
    u128::try_from(balance.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

/// Orders that were settled by quorum, and whom each credited.
pub(crate) fn settlements(world: &World, head: u64) -> Result<BTreeMap<OrderDigest, BTreeSet<Address>>, Broken> {
    let (mut found, mut from) = (BTreeMap::new(), world.deployed_at);
    while from <= head {
        let page = world.runtime.block_on(world.vault.events(&EventFilter::all(), from, head));
        let page = page.map_err(|error| error.to_string())?;
        for event in &page.events {
            match &event.event {
                VaultEvents::ResultsSettled(settled) => {
                    let payees = amounts_of_words(&settled.credits).map(|(payee, _)| payee).collect();
                    found.insert(OrderDigest::from_bytes(settled.order.0), payees);
                }
                VaultEvents::Slashed(slashed) => return Err(format!("SYM-12: {slashed:?}")),
                _ => {}
            }
        }
        if page.next <= from {
            break;
        }
        from = page.next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(total: u64, signature: u8) -> Vouchers {
        let name = (Address::repeat_byte(1), Royalty::NONE.lane(0), 0);
        Vouchers::from([(name, (Amount::from_u64(total), Signature::from_bytes([signature; 64])))])
    }

    #[test]
    fn sym_24_canary_each_way_to_break_a_promise_is_found() {
        let before = held(5, 2);
        assert_eq!(grown("it", &before, &held(5, 2)), Ok(()), "nothing new");
        assert_eq!(grown("it", &before, &held(6, 3)), Ok(()), "a higher one");
        for (broken, why) in [
            (Vouchers::new(), "lost a voucher for 5"),
            (held(3, 1), "lost a voucher for 5"),
            (held(5, 9), "two signatures for 5"),
        ] {
            let found = grown("it", &before, &broken).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        let payee = |received| Memory {
            issued: before.clone(),
            received: BTreeMap::from([(Address::repeat_byte(1), received)]),
        };
        assert_eq!(payee(held(5, 2)).agree(), Ok(()));
        assert_eq!(payee(held(4, 7)).agree(), Ok(()), "one that a higher one followed");
        assert!(payee(held(5, 9)).agree().is_err(), "another signature");
        assert!(payee(held(6, 2)).agree().is_err(), "more than was signed");
    }
}
