//! The facts of a demo: as a table for people and as JSON for programs.

use crate::output::{note, tokens};
use serde::Serialize;
use std::collections::BTreeMap;
use symbolon_primitives::{Address, Amount, AmountError};

/// What a provider of the demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Honest,
    Liar,
    Crasher,
}

/// The spoken text.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Speech {
    pub(super) path: String,
    pub(super) sha256: String,
    pub(super) seconds: u64,
    pub(super) matches_local_run: bool,
}

/// The requestor's money: its deposit as it told it, the rest as the vault has it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct RequestorFacts {
    pub(super) deposited: Amount,
    /// Of every opening, by the vault's events.
    pub(super) earmarked: Amount,
    /// What its channels hold as claimed, by the vault's state.
    pub(super) paid: Amount,
    /// Of every release, by the vault's events.
    pub(super) released: Amount,
    /// What its channels hold as neither claimed nor released, by the vault's state.
    pub(super) still_earmarked: Amount,
}

/// What the requestor says of the same money at the end of its job.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) earmarked: Amount,
    /// What its vouchers promise.
    pub(super) paid: Amount,
    pub(super) released: Amount,
}

/// One provider's part.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ProviderFacts {
    pub(super) address: Address,
    pub(super) role: Role,
    /// Base units for one Gfuel.
    pub(super) price: Amount,
    pub(super) orders: u32,
    /// Orders in which it was to compute from the start.
    pub(super) active: u32,
    pub(super) agreed: u32,
    pub(super) disagreed: u32,
    pub(super) fuel: u64,
    pub(super) voucher: Amount,
    /// By the vault's events.
    pub(super) credited: Amount,
    pub(super) stake: Amount,
    /// The stake it had at the start.
    pub(super) staked: Amount,
    /// Whether its process ended before anybody asked it to.
    pub(super) ended: bool,
    /// Most memory its process had resident; nothing once it is dead.
    pub(super) peak_memory_bytes: Option<u64>,
}

/// Transactions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct KindFacts {
    pub(super) transactions: u64,
    pub(super) gas: u64,
}

/// What the chain saw.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct ChainFacts {
    pub(super) transactions: u64,
    pub(super) gas: u64,
    pub(super) claims: u64,
    pub(super) quorum_settlements: u64,
    pub(super) by_kind: BTreeMap<String, KindFacts>,
}

/// Everything a demo shows.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) scenario: &'static str,
    pub(super) speech: Option<Speech>,
    pub(super) requestor: RequestorFacts,
    /// Nothing where the requestor did not live to tell.
    #[serde(skip)]
    pub(super) told: Option<Told>,
    pub(super) providers: Vec<ProviderFacts>,
    pub(super) chain: ChainFacts,
    pub(super) elapsed_secs: u64,
}

impl Report {
    /// What is wrong with the money or the work, one sentence each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints = self.of_money();
        for provider in &self.providers {
            complaints.extend(self.of_provider(provider));
        }
        if self.providers.iter().all(|provider| provider.credited.is_zero()) {
            complaints.push("nobody was paid".into());
        }
        if self.speech.as_ref().is_some_and(|speech| !speech.matches_local_run) {
            complaints.push("the joined sound is not what a local run gives".into());
        }
        complaints
    }

    fn of_money(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let requestor = self.requestor;
        let mut same = |what: &str, have: Result<Amount, AmountError>, but: &str, other: Amount| {
            if have != Ok(other) {
                let have = have.map_or_else(|e| e.to_string(), |have| have.to_string());
                complaints.push(format!("{what} {have} base units but {but} {other}"));
            }
        };
        let of_all = |amount: fn(&ProviderFacts) -> Amount| Amount::checked_sum(self.providers.iter().map(amount));
        same("the providers were credited", of_all(|provider| provider.credited), "the channels paid", requestor.paid);
        let parts = Amount::checked_sum([requestor.paid, requestor.released, requestor.still_earmarked]);
        same("paid, released and still earmarked are", parts, "earmarked were", requestor.earmarked);
        if let Some(told) = self.told {
            same("the vouchers promise", of_all(|provider| provider.voucher), "the channels paid", requestor.paid);
            same("the requestor says it paid", Ok(told.paid), "the channels paid", requestor.paid);
            same("the requestor says it earmarked", Ok(told.earmarked), "the vault has", requestor.earmarked);
            same("the requestor says it got back", Ok(told.released), "the vault released", requestor.released);
        }
        complaints
    }

    fn of_provider(&self, provider: &ProviderFacts) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut complain = |is_wrong: bool, what: String| {
            if is_wrong {
                complaints.push(format!("{} {what}", provider.address));
            }
        };
        match provider.role {
            Role::Honest => complain(
                self.told.is_some() && provider.voucher != provider.credited,
                format!("holds vouchers for {} but was credited {}", provider.voucher, provider.credited),
            ),
            Role::Liar | Role::Crasher => {
                complain(!provider.credited.is_zero(), "was paid for work that did not agree".into());
            }
        }
        complain(
            provider.role == Role::Liar && provider.active > 0 && provider.disagreed == 0,
            format!("lies, had to compute {} orders and never disagreed", provider.active),
        );
        complain(
            provider.role == Role::Crasher && !provider.ended,
            "was to die in the middle of its work and still runs".into(),
        );
        complain(provider.role != Role::Crasher && provider.ended, "ended though nobody asked it to".into());
        complain(
            provider.stake != provider.staked,
            format!(
                "has a stake of {} after {} were staked, though nobody equivocated",
                provider.stake, provider.staked
            ),
        );
        complaints
    }

    /// Prints the tables.
    pub(super) fn print(&self) {
        let mut rows = vec![
            ["provider", "role", "per Gfuel", "orders", "agreed", "disagreed", "Gfuel", "voucher", "credited", "stake"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for provider in &self.providers {
            rows.push(vec![
                short(provider.address),
                match provider.role {
                    Role::Honest => "honest",
                    Role::Liar => "liar",
                    Role::Crasher => "crasher",
                }
                .to_owned(),
                tokens(provider.price.get()),
                provider.orders.to_string(),
                provider.agreed.to_string(),
                provider.disagreed.to_string(),
                format!("{}.{:03}", provider.fuel / 1_000_000_000, provider.fuel / 1_000_000 % 1000),
                tokens(provider.voucher.get()),
                tokens(provider.credited.get()),
                tokens(provider.stake.get()),
            ]);
        }
        note("");
        print_table(&rows);
        let requestor = self.requestor;
        note("");
        print_table(&[
            ["requestor", "deposited", "earmarked", "paid", "released", "still earmarked"].map(str::to_owned).to_vec(),
            vec![
                String::new(),
                tokens(requestor.deposited.get()),
                tokens(requestor.earmarked.get()),
                tokens(requestor.paid.get()),
                tokens(requestor.released.get()),
                tokens(requestor.still_earmarked.get()),
            ],
        ]);
        note("");
        let mut rows = vec![["chain", "transactions", "gas"].map(str::to_owned).to_vec()];
        for (kind, facts) in &self.chain.by_kind {
            rows.push(vec![kind.clone(), facts.transactions.to_string(), facts.gas.to_string()]);
        }
        rows.push(vec!["all".into(), self.chain.transactions.to_string(), self.chain.gas.to_string()]);
        print_table(&rows);
        note("");
        if let Some(speech) = &self.speech {
            let matches = if speech.matches_local_run { "byte for byte" } else { "NOT" };
            note(&format!("Sound: {}, {} s long, {matches} what one local run gives.", speech.path, speech.seconds));
        }
    }
}

fn short(address: Address) -> String {
    let text = address.to_string();
    format!("{}…{}", text.get(..6).unwrap_or_default(), text.get(38..).unwrap_or_default())
}

/// Aligned columns: the first to the left, numbers to the right.
fn print_table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    for row in rows {
        let cells: Vec<String> = (0..)
            .zip(row.iter().zip(&widths))
            .map(
                |(column, (cell, width))| {
                    if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        note(cells.join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    type Lie<T> = fn(&mut T);

    fn units(amount: u64) -> Amount {
        Amount::from_u64(amount)
    }

    fn provider(role: Role, paid: u64) -> ProviderFacts {
        ProviderFacts {
            address: Address::repeat_byte(1),
            role,
            price: units(1),
            orders: 1,
            active: 1,
            agreed: 1,
            disagreed: u32::from(role == Role::Liar),
            fuel: 1,
            voucher: units(paid),
            credited: units(paid),
            stake: units(10),
            staked: units(10),
            ended: role == Role::Crasher,
            peak_memory_bytes: None,
        }
    }

    fn sound() -> Report {
        Report {
            scenario: "speech",
            speech: Some(Speech { path: String::new(), sha256: String::new(), seconds: 1, matches_local_run: true }),
            requestor: RequestorFacts {
                deposited: units(20),
                earmarked: units(12),
                paid: units(3),
                released: units(7),
                still_earmarked: units(2),
            },
            told: Some(Told { earmarked: units(12), paid: units(3), released: units(7) }),
            providers: vec![provider(Role::Honest, 3), provider(Role::Liar, 0), provider(Role::Crasher, 0)],
            chain: ChainFacts::default(),
            elapsed_secs: 1,
        }
    }

    fn silent() -> Report {
        let mut report = sound();
        (report.speech, report.told) = (None, None);
        report.providers[0].voucher = Amount::ZERO;
        report
    }

    #[test]
    fn a_sound_report_has_no_complaints() {
        assert_eq!(sound().complaints(), [""; 0]);
        assert_eq!(silent().complaints(), [""; 0]);
    }

    #[test]
    fn every_lie_has_a_complaint() {
        let lies: [(Lie<Report>, &str); 15] = [
            (|r| r.requestor.paid = units(4), "were credited 3 base units but the channels paid 4"),
            (|r| r.providers[0].credited = units(4), "were credited 4 base units but the channels paid 3"),
            (|r| r.requestor.released = units(6), "still earmarked are 11 base units but earmarked were 12"),
            (|r| r.requestor.still_earmarked = units(3), "still earmarked are 13 base units but earmarked were 12"),
            (|r| r.requestor.earmarked = Amount::MAX, "still earmarked are 12 base units but earmarked were"),
            (|r| r.providers[0].voucher = units(2), "the vouchers promise 2 base units but the channels paid 3"),
            (|r| r.providers[0].voucher = units(2), "holds vouchers for 2 but was credited 3"),
            (|r| r.providers[1].credited = units(1), "was paid for work that did not agree"),
            (|r| r.providers[2].credited = units(1), "was paid for work that did not agree"),
            (|r| r.providers[1].disagreed = 0, "had to compute 1 orders and never disagreed"),
            (|r| r.providers[2].ended = false, "was to die in the middle of its work and still runs"),
            (|r| r.providers[0].ended = true, "ended though nobody asked it to"),
            (|r| r.providers[0].stake = units(9), "has a stake of 9 after 10 were staked"),
            (|r| r.providers[1].stake = units(11), "has a stake of 11 after 10 were staked"),
            (|r| r.speech.iter_mut().for_each(|speech| speech.matches_local_run = false), "not what a local run gives"),
        ];
        for (lie, complaint) in lies {
            let mut report = sound();
            lie(&mut report);
            let complaints = report.complaints();
            assert!(complaints.iter().any(|said| said.contains(complaint)), "{complaint}: {complaints:?}");
        }
    }

    #[test]
    fn every_lie_of_the_requestor_has_one_complaint() {
        let lies: [(Lie<Told>, &str); 3] = [
            (|told| told.earmarked = units(11), "says it earmarked 11 base units but the vault has 12"),
            (|told| told.paid = units(4), "says it paid 4 base units but the channels paid 3"),
            (|told| told.released = units(8), "says it got back 8 base units but the vault released 7"),
        ];
        for (lie, complaint) in lies {
            let mut report = sound();
            report.told.iter_mut().for_each(lie);
            let complaints = report.complaints();
            assert!(complaints.len() == 1 && complaints[0].contains(complaint), "{complaint}: {complaints:?}");
        }
    }

    #[test]
    fn without_a_requestor_the_vault_alone_has_to_add_up() {
        let lies: [(Lie<Report>, usize); 4] = [
            (|r| r.requestor.paid = units(4), 2),
            (|r| r.providers[0].credited = units(2), 1),
            (|r| r.requestor.still_earmarked = units(9), 1),
            (|r| r.providers[1].active = 0, 0),
        ];
        for (number, (lie, complaints)) in (0..).zip(lies) {
            let mut report = silent();
            lie(&mut report);
            assert_eq!(report.complaints().len(), complaints, "lie {number}: {:?}", report.complaints());
        }
        let mut unpaid = silent();
        unpaid.requestor = RequestorFacts { earmarked: units(5), still_earmarked: units(5), ..unpaid.requestor };
        (unpaid.requestor.paid, unpaid.requestor.released) = (Amount::ZERO, Amount::ZERO);
        unpaid.providers[0].credited = Amount::ZERO;
        assert_eq!(unpaid.complaints(), ["nobody was paid"]);
    }
}
