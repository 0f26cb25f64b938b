//! `symbolon channel`, `exposure` and `earnings`: what is set aside, promised,
//! paid and at risk, and what happens next. Looks only, also while a node runs.

use crate::{
    args::{ChannelCommand, Global, NetworkArgs, PriceArgs},
    fail::{Failure, Hint},
    network::{NetworkFile, chain_failure, node_failure, store_failure},
    output::{gauge, json, line, note, tokens},
};
use std::collections::{BTreeMap, btree_map::Entry};
use symbolon_node::{KnownChannel, MemberEntry, NextStep, OrderEntry, Role, Stands, known_channels, known_orders, now};
use symbolon_primitives::{Address, Amount, Timestamp};
use symbolon_settlement::{ChainView, ChannelState, GasPrice, Header, Instrument, Payment, VaultView, claims};
use symbolon_store::{GasTotal, Look};

/// Runs `symbolon channel`.
pub(crate) async fn channel(args: &NetworkArgs, command: ChannelCommand, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    match command {
        ChannelCommand::Ls => {
            let ledger = Ledger::read(&network, global).await?;
            list(&ledger, global.json);
            Ok(())
        }
        ChannelCommand::Show { address, lane, price } => {
            let ledger = Ledger::read(&network, global).await?;
            let cost = GasCost::at(ledger.vault.chain(), &ledger.head, price).await;
            show(&ledger, cost, network.deployed_at, (address, lane), global.json).await
        }
        other => super::channel::run(&network, other, global).await,
    }
}

/// Everything a data folder knows of a vault, beside what the chain says now.
struct Ledger {
    vault: VaultView,
    head: Header,
    channels: Vec<(KnownChannel, ChannelState)>,
    orders: Vec<OrderEntry>,
    gas: BTreeMap<String, GasTotal>,
}

impl Ledger {
    async fn read(network: &NetworkFile, global: &Global) -> Result<Self, Failure> {
        let vault = network.connect().await?;
        let (known, orders, gas) = {
            let look = Look::open(&global.data).map_err(store_failure)?;
            let view = look.view();
            let known = known_channels(&view, &vault.domain()).map_err(node_failure)?;
            let orders = known_orders(&view, &vault.domain()).map_err(node_failure)?;
            (known, orders, view.gas_by_kind(vault.chain().chain_id()).map_err(store_failure)?)
        };
        let head = vault.chain().head().await.map_err(chain_failure)?;
        let bar = gauge(known.len(), "channels");
        let mut channels = Vec::with_capacity(known.len());
        for known in known {
            let state = vault.channel(known.payer, known.payee, known.lane, &head).await.map_err(chain_failure)?;
            channels.push((known, state));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Self { vault, head, channels, orders, gas })
    }

    fn orders_of<'a>(&'a self, known: &'a KnownChannel) -> impl Iterator<Item = (&'a OrderEntry, &'a MemberEntry)> {
        self.orders.iter().filter(|order| order.payer == known.payer && order.role == known.role).filter_map(|order| {
            let member = order.members.iter().find(|m| m.provider == known.payee && m.lane == known.lane)?;
            Some((order, member))
        })
    }
}

/// What collecting costs now. Exposure is work without a voucher, so what a silent requestor owes is settled by a quorum:
/// a limit below the gas of that, by two replicas and without a royalty, is not worth having (SYM-25).
#[derive(Clone, Copy)]
pub(crate) struct GasCost {
    /// Of a claim of one voucher, in wei.
    claim_wei: u128,
    /// Of settling one order, in wei.
    settle_wei: u128,
    /// The same in base units of the token, where it was said what an ether is worth.
    settle: Option<Amount>,
}

impl GasCost {
    pub(crate) async fn at(chain: &ChainView, head: &Header, price: PriceArgs) -> Self {
        let claim = claims::CLAIM_GAS.saturating_add(claims::ROW_GAS);
        let settle = claims::SETTLE_GAS.saturating_add(claims::SETTLE_ROW_GAS.saturating_mul(2));
        let price = GasPrice { wei_per_gas: chain.wei_per_gas(head).await, base_per_ether: price.ether_price };
        let wei = |gas: u64| price.wei_per_gas.saturating_mul(gas.into());
        let is_weighed = !price.base_per_ether.is_zero();
        Self { claim_wei: wei(claim), settle_wei: wei(settle), settle: is_weighed.then(|| price.fee_up(settle)) }
    }

    /// Of a claim of one voucher, in wei.
    pub(crate) const fn claim_wei(&self) -> u128 {
        self.claim_wei
    }

    /// Whether it is known in tokens.
    pub(crate) const fn is_weighed(&self) -> bool {
        self.settle.is_some()
    }

    /// Says that a limit is below it, if it is.
    pub(crate) fn warning(&self, limit: Amount) -> Option<String> {
        let cost = self.settle.filter(|cost| limit < *cost)?;
        Some(format!(
            "the exposure limit, {} tokens, is below {}, the gas of settling one order: a silent requestor is not worth \
             going after",
            tokens(limit.get()),
            tokens(cost.get()),
        ))
    }

    /// Members that say so in JSON: the limit, the cost, and which is more where that is known.
    fn members(&self, limit: Option<Amount>) -> [(&'static str, serde_json::Value); 4] {
        let below = limit.and_then(|limit| Some(limit < self.settle?));
        [
            ("limit", serde_json::json!(limit)),
            ("settle_gas_wei", self.settle_wei.to_string().into()),
            ("settle_gas_cost", serde_json::json!(self.settle)),
            ("limit_below_gas", serde_json::json!(below)),
        ]
    }

    /// What is said where nobody can weigh the limits.
    fn note_unweighed(&self, limits: impl IntoIterator<Item = Option<Amount>>) {
        if !self.is_weighed() && limits.into_iter().flatten().next().is_some() {
            note(&format!(
                "settling one order costs {} ether now; whether the limits are above it is told with --ether-price",
                tokens(self.settle_wei)
            ));
        }
    }
}

fn add_members(value: &mut serde_json::Value, more: impl IntoIterator<Item = (&'static str, serde_json::Value)>) {
    if let Some(members) = value.as_object_mut() {
        members.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

fn channel_json(known: &KnownChannel, state: &ChannelState) -> serde_json::Value {
    serde_json::json!({
        "payer": known.payer, "payee": known.payee, "lane": known.lane, "role": known.role,
        "epoch": state.epoch, "allocated": state.allocated, "claimed": state.claimed, "voucher": known.voucher,
        "earned": known.earned, "claimable": known.claimable(state), "exposure": known.exposure,
        "open_order": known.open_order, "expiry": state.expiry, "unconfirmed": *state != known.seen,
        "next": known.next_step(state), "stopped": known.halted.map(|conflict| conflict.to_string()),
    })
}

fn list(ledger: &Ledger, as_json: bool) {
    if !as_json {
        note(&format!("{} channels at block {}", ledger.channels.len(), ledger.head.number));
        if !ledger.channels.is_empty() {
            line("role   payer        payee        lane  epoch  allocated  claimed  voucher  expires in  next");
        }
    }
    for (known, state) in &ledger.channels {
        if as_json {
            json(&channel_json(known, state));
            continue;
        }
        line(&format!(
            "{}  {}  {}  {:>4}  {:>5}  {:>9}  {:>7}  {:>7}  {:>10}  {}",
            role(known.role),
            short(known.payer),
            short(known.payee),
            known.lane.number16(),
            state.epoch,
            tokens(state.allocated.get()),
            tokens(state.claimed.get()),
            tokens(known.voucher.get()),
            until(state.expiry),
            stopped(known) + &step(known.next_step(state)),
        ));
    }
}

/// Said before what comes next: claiming goes on in a channel that is stopped.
fn stopped(known: &KnownChannel) -> String {
    let claims_on = known.halted.is_some() && known.role == Role::Payee;
    if claims_on { "stopped; ".to_owned() } else { String::new() }
}

pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Payer => "payer",
        Role::Payee => "payee",
    }
}

/// How long until a time, as people say it.
pub(crate) fn until(at: Timestamp) -> String {
    match at.secs_since(now()) {
        0 => "passed".to_owned(),
        left => span(left),
    }
}

/// How long since a time, as people say it.
pub(crate) fn age(at: Timestamp) -> String {
    span(now().secs_since(at))
}

/// So many seconds, as people say it.
pub(crate) fn span(secs: u64) -> String {
    match secs {
        0..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        7200..=172_799 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

fn step(next: NextStep) -> String {
    match next {
        NextStep::Order { order } => format!("order {} is paid or settled", short_hash(&order.to_string())),
        NextStep::Claim { by } if by <= now() => "the payee claims now".to_owned(),
        NextStep::Claim { by } => format!("the payee claims within {}", until(by)),
        NextStep::Look => "stopped, look at it: symbolon channel resume".to_owned(),
        NextStep::Release { from } if from <= now() => "release it: symbolon channel release".to_owned(),
        NextStep::Release { from } => format!("the rest can be released in {}", until(from)),
        NextStep::Idle => "nothing".to_owned(),
    }
}

pub(crate) fn short(address: Address) -> String {
    short_hash(&address.to_string())
}

fn short_hash(text: &str) -> String {
    let end = text.len().saturating_sub(4);
    format!("{}…{}", text.get(..6).unwrap_or_default(), text.get(end..).unwrap_or_default())
}

/// One counterparty's channels, each with its orders, vouchers and transactions.
async fn show(
    ledger: &Ledger,
    cost: GasCost,
    deployed_at: u64,
    (address, lane): (Address, Option<u16>),
    as_json: bool,
) -> Result<(), Failure> {
    let wanted = |known: &KnownChannel| {
        (known.payer == address || known.payee == address) && lane.is_none_or(|lane| known.lane.number16() == lane)
    };
    let channels: Vec<_> = ledger.channels.iter().filter(|(known, _)| wanted(known)).collect();
    if channels.is_empty() {
        return Err(Failure::input(format!("no channel with {address} in this data folder"))
            .hint("symbolon channel ls shows those there are"));
    }
    if !as_json {
        cost.note_unweighed(channels.iter().map(|(known, _)| known.limit));
    }
    let mut paid = Paid::new(&ledger.vault, deployed_at, ledger.head.number);
    for (known, state) in channels {
        show_one(ledger, cost, (known, state), paid.to(known.payee).await?, as_json);
    }
    Ok(())
}

/// What the chain paid, read once for each payee.
pub(crate) struct Paid<'a> {
    vault: &'a VaultView,
    from: u64,
    to: u64,
    by_payee: BTreeMap<Address, Vec<Payment>>,
}

impl<'a> Paid<'a> {
    /// Of the blocks `from` to `to`.
    pub(crate) const fn new(vault: &'a VaultView, from: u64, to: u64) -> Self {
        Self { vault, from, to, by_payee: BTreeMap::new() }
    }

    async fn to(&mut self, payee: Address) -> Result<&[Payment], Failure> {
        Ok(match self.by_payee.entry(payee) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                slot.insert(self.vault.payments_to(payee, self.from, self.to).await.map_err(chain_failure)?)
            }
        })
    }

    /// What first paid a member for an order.
    pub(crate) async fn by(&mut self, order: &OrderEntry, member: &MemberEntry) -> Result<Option<Payment>, Failure> {
        // Nothing is to be paid to the others.
        if member.stands != Stands::Agreed {
            return Ok(None);
        }
        Ok(paid_in(self.to(member.provider).await?, order, member).copied())
    }
}

/// The transaction that first paid an order: its quorum's settlement, or a voucher that covers it.
fn paid_in<'a>(payments: &'a [Payment], order: &OrderEntry, member: &MemberEntry) -> Option<&'a Payment> {
    payments.iter().filter(|payment| payment.payer == order.payer).find(|payment| match payment.by {
        Instrument::Quorum { order: settled, paid } => settled == order.order && !paid.is_zero(),
        Instrument::Voucher { lane, epoch, total } => {
            lane == member.lane && epoch == member.epoch && member.total.is_some_and(|need| total >= need)
        }
    })
}

fn show_one(
    ledger: &Ledger,
    cost: GasCost,
    (known, state): (&KnownChannel, &ChannelState),
    payments: &[Payment],
    as_json: bool,
) {
    let orders: Vec<_> = ledger
        .orders_of(known)
        .map(|(order, member)| (order, member, paid_in(payments, order, member).map(|payment| payment.tx)))
        .collect();
    if as_json {
        let mut value = channel_json(known, state);
        let orders: Vec<serde_json::Value> = orders
            .iter()
            .map(|(order, member, tx)| {
                serde_json::json!({
                    "agreement": order.agreements, "order": order.order, "state": order.state, "units": order.units,
                    "fuel": order.fuel, "settle_by": order.settle_by, "settles_at": order.settles_at,
                    "stands": member.stands, "owed": member.owed, "price": member.price, "total": member.total,
                    "voucher": member.voucher, "transaction": tx,
                })
            })
            .collect();
        add_members(&mut value, [("orders", orders.into())]);
        add_members(&mut value, cost.members(known.limit));
        return json(&value);
    }
    let amount = |amount: Amount| tokens(amount.get());
    line(&format!("channel of {} to {}, lane {}", known.payer, known.payee, known.lane.number16()));
    line(&format!("  this folder  {}", role(known.role)));
    line(&format!("  epoch        {}", state.epoch));
    line(&format!("  earmarked    {}", amount(state.allocated)));
    line(&format!("  claimed      {}", amount(state.claimed)));
    line(&format!("  vouchered    {}", amount(known.voucher)));
    line(&format!("  earned       {}", amount(known.earned)));
    line(&format!("  at risk      {}", amount(known.exposure)));
    if let Some(limit) = known.limit {
        line(&format!("  limit        {}, over all channels of this payer", amount(limit)));
        if let Some(warning) = cost.warning(limit) {
            line(&format!("               {warning}"));
        }
    }
    line(&format!("  expires in   {}", until(state.expiry)));
    line(&format!("  next         {}", step(known.next_step(state))));
    if let Some(conflict) = known.halted {
        line(&format!("  stopped      {conflict}"));
        let other = if known.role == Role::Payee { known.payer } else { known.payee };
        line(&format!("               symbolon channel resume {other} shows what may be lost, and lets it go on"));
    }
    if *state != known.seen {
        line("  unconfirmed  the newest block shows more than this node relies on yet");
    }
    for (order, member, tx) in orders {
        line(&format!("  order {}: {}, {}", order.order, order.state, member.stands));
        for agreement in &order.agreements {
            line(&format!("    agreement    {agreement}"));
        }
        let price = member.price.map_or_else(|| "not known yet".to_owned(), amount);
        let fuel = order.fuel.map_or_else(String::new, |fuel| format!(" for {fuel} fuel"));
        line(&format!("    price        {price}{fuel}"));
        if let Some(voucher) = member.voucher {
            line(&format!("    voucher      {}", amount(voucher)));
        }
        match (tx, order.settles_at) {
            (Some(tx), _) => line(&format!("    transaction  {tx}")),
            (None, Some(at)) => line(&format!("    settles      by quorum in {} if nothing comes", until(at))),
            (None, None) => {}
        }
    }
}

/// One counterparty's line of `symbolon exposure`.
#[derive(Default)]
struct Party {
    channels: usize,
    earmarked: Amount,
    earned: Amount,
    vouchered: Amount,
    claimed: Amount,
    at_risk: Amount,
    /// The most that may be at risk, where this folder is the payee.
    limit: Option<Amount>,
    unconfirmed: bool,
    /// How many of its channels are stopped.
    stopped: usize,
    first_expiry: Option<Timestamp>,
    next: Option<(Timestamp, NextStep)>,
}

/// Runs `symbolon exposure`.
pub(crate) async fn exposure(args: &NetworkArgs, price: PriceArgs, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    let ledger = Ledger::read(&network, global).await?;
    let mut parties: BTreeMap<(&str, Address), Party> = BTreeMap::new();
    for (known, state) in &ledger.channels {
        let other = if known.role == Role::Payee { known.payer } else { known.payee };
        let party = parties.entry((role(known.role), other)).or_default();
        let add = |sum: Amount, more: Amount| sum.checked_add(more).unwrap_or(Amount::MAX);
        party.channels += 1;
        party.earmarked = add(party.earmarked, state.allocated.saturating_sub(state.claimed));
        party.earned = add(party.earned, known.earned.max(state.claimed));
        party.vouchered = add(party.vouchered, known.voucher.max(state.claimed));
        party.claimed = add(party.claimed, state.claimed);
        party.at_risk = add(party.at_risk, known.exposure);
        party.limit = known.limit;
        party.unconfirmed |= *state != known.seen;
        party.stopped += usize::from(known.halted.is_some());
        let live = state.allocated > state.claimed;
        if live && party.first_expiry.is_none_or(|at| state.expiry < at) {
            party.first_expiry = Some(state.expiry);
        }
        let next = known.next_step(state);
        let at = match next {
            NextStep::Order { .. } | NextStep::Look => Timestamp(0),
            NextStep::Claim { by } => by,
            NextStep::Release { from } => from,
            NextStep::Idle => continue,
        };
        if party.next.is_none_or(|(first, _)| at < first) {
            party.next = Some((at, next));
        }
    }
    if !global.json {
        note(&format!("{} counterparties at block {}", parties.len(), ledger.head.number));
        if !parties.is_empty() {
            line("as     counterparty  earmarked  earned  vouchered  claimed  at risk  limit  expires in  next");
        }
    }
    let cost = GasCost::at(ledger.vault.chain(), &ledger.head, price).await;
    for ((as_role, other), party) in &parties {
        if global.json {
            let mut value = serde_json::json!({
                "role": as_role, "counterparty": other, "channels": party.channels, "earmarked": party.earmarked,
                "earned": party.earned, "vouchered": party.vouchered, "claimed": party.claimed,
                "at_risk": party.at_risk, "unconfirmed": party.unconfirmed, "stopped": party.stopped,
                "first_expiry": party.first_expiry,
                "next": party.next.map(|(_, next)| next),
            });
            add_members(&mut value, cost.members(party.limit));
            json(&value);
            continue;
        }
        let amount = |amount: Amount| tokens(amount.get());
        line(&format!(
            "{as_role}  {:<12}  {:>9}  {:>6}  {:>9}  {:>7}  {:>7}  {:>5}  {:>10}  {}{}",
            short(*other),
            amount(party.earmarked),
            amount(party.earned),
            amount(party.vouchered),
            amount(party.claimed),
            amount(party.at_risk),
            party.limit.map_or_else(|| "-".to_owned(), amount),
            party.first_expiry.map_or_else(|| "-".to_owned(), until),
            party.next.map_or_else(|| "nothing".to_owned(), |(_, next)| step(next)),
            if party.unconfirmed { " (unconfirmed)" } else { "" },
        ));
        if let Some(warning) = party.limit.and_then(|limit| cost.warning(limit)) {
            line(&format!("       {warning}"));
        }
    }
    if !global.json {
        cost.note_unweighed(parties.values().map(|party| party.limit));
    }
    Ok(())
}

/// Runs `symbolon earnings`.
pub(crate) async fn earnings(args: &NetworkArgs, global: &Global) -> Result<(), Failure> {
    let network = NetworkFile::read(args)?;
    let ledger = Ledger::read(&network, global).await?;
    let add = |sum: Amount, more: Amount| sum.checked_add(more).unwrap_or(Amount::MAX);
    let mut payers: BTreeMap<Address, [Amount; 4]> = BTreeMap::new();
    for (known, state) in ledger.channels.iter().filter(|(known, _)| known.role == Role::Payee) {
        let [claimed, royalty, claimable, at_risk] = payers.entry(known.payer).or_default();
        *claimed = add(*claimed, state.claimed);
        *royalty = add(*royalty, known.lane.author_share_down(state.claimed));
        *claimable = add(*claimable, known.claimable(state));
        *at_risk = add(*at_risk, known.exposure);
    }
    let sum = payers.values().fold([Amount::ZERO; 4], |sum, row| {
        let mut total = sum;
        total.iter_mut().zip(row).for_each(|(total, more)| *total = add(*total, *more));
        total
    });
    let fee_wei = ledger.gas.values().fold(0_u128, |sum, kind| sum.saturating_add(kind.fee_wei));
    let (orders, paid) = ledger
        .orders
        .iter()
        .filter(|order| order.role == Role::Payee)
        .fold((0, 0), |(all, paid), o| (all + 1, paid + usize::from(o.state == symbolon_node::OrderState::Paid)));
    if global.json {
        for (payer, [claimed, royalty, claimable, at_risk]) in &payers {
            json(&serde_json::json!({
                "payer": payer, "claimed": claimed, "royalty": royalty, "net": claimed.saturating_sub(*royalty),
                "claimable": claimable, "at_risk": at_risk,
            }));
        }
        let [claimed, royalty, claimable, at_risk] = sum;
        json(&serde_json::json!({
            "total": true, "claimed": claimed, "royalty": royalty, "net": claimed.saturating_sub(royalty),
            "claimable": claimable, "at_risk": at_risk, "gas_wei": fee_wei.to_string(), "orders": orders,
            "orders_paid": paid,
            "gas": ledger.gas.iter().map(|(kind, total)| (kind.clone(), serde_json::json!({
                "transactions": total.transactions, "gas": total.gas, "wei": total.fee_wei.to_string(),
            }))).collect::<serde_json::Map<_, _>>(),
        }));
        return Ok(());
    }
    note(&format!("earnings at block {}; {paid} of {orders} orders still known are paid", ledger.head.number));
    line("payer         claimed  to authors  net  not claimed yet  at risk");
    let show = |name: &str, [claimed, royalty, claimable, at_risk]: [Amount; 4]| {
        line(&format!(
            "{name:<12}  {:>7}  {:>10}  {}  {:>15}  {:>7}",
            tokens(claimed.get()),
            tokens(royalty.get()),
            tokens(claimed.saturating_sub(royalty).get()),
            tokens(claimable.get()),
            tokens(at_risk.get()),
        ));
    };
    for (payer, row) in &payers {
        show(&short(*payer), *row);
    }
    show("all", sum);
    line(&format!("gas of all transactions: {} ether", tokens(fee_wei)));
    Ok(())
}
