//! The facts of a demo: as a table for people and as JSON for programs.

use crate::output::{note, tokens};
use serde::Serialize;
use std::collections::BTreeMap;
use symbolon_primitives::{Address, Amount};

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

/// The requestor's money.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct RequestorFacts {
    pub(super) deposited: Amount,
    pub(super) earmarked: Amount,
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
    pub(super) agreed: u32,
    pub(super) disagreed: u32,
    pub(super) fuel: u64,
    pub(super) voucher: Amount,
    pub(super) credited: Amount,
    pub(super) stake: Amount,
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
    pub(super) providers: Vec<ProviderFacts>,
    pub(super) chain: ChainFacts,
    pub(super) elapsed_secs: u64,
}

impl Report {
    /// What is wrong with the money or the work, one sentence each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let credited = Amount::checked_sum(self.providers.iter().map(|provider| provider.credited));
        if credited != Ok(self.requestor.paid) {
            complaints.push(format!(
                "the requestor paid {} base units but the providers were credited {}",
                self.requestor.paid,
                credited.unwrap_or(Amount::MAX)
            ));
        }
        for provider in &self.providers {
            match provider.role {
                Role::Honest if self.scenario == "speech" && provider.voucher != provider.credited => complaints
                    .push(format!("{} holds vouchers for {} that are not claimed", provider.address, provider.voucher)),
                Role::Liar | Role::Crasher if !provider.credited.is_zero() => {
                    complaints.push(format!("{} was paid for work that did not agree", provider.address));
                }
                _ => {}
            }
            if provider.stake.is_zero() {
                complaints.push(format!("{} lost its stake, though nobody equivocated", provider.address));
            }
        }
        if self.providers.iter().all(|provider| provider.credited.is_zero()) {
            complaints.push("nobody was paid".into());
        }
        if self.speech.as_ref().is_some_and(|speech| !speech.matches_local_run) {
            complaints.push("the joined sound is not what a local run gives".into());
        }
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
            ["requestor", "deposited", "earmarked", "paid", "released"].map(str::to_owned).to_vec(),
            vec![
                String::new(),
                tokens(requestor.deposited.get()),
                tokens(requestor.earmarked.get()),
                tokens(requestor.paid.get()),
                tokens(requestor.released.get()),
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
    use super::*;

    fn provider(role: Role, voucher: u64, credited: u64) -> ProviderFacts {
        ProviderFacts {
            address: Address::repeat_byte(1),
            role,
            price: Amount::from_u64(1),
            orders: 1,
            agreed: 1,
            disagreed: 0,
            fuel: 1,
            voucher: Amount::from_u64(voucher),
            credited: Amount::from_u64(credited),
            stake: Amount::from_u64(1),
            peak_memory_bytes: None,
        }
    }

    fn report(paid: u64, providers: Vec<ProviderFacts>) -> Report {
        Report {
            scenario: "speech",
            speech: None,
            requestor: RequestorFacts { paid: Amount::from_u64(paid), ..RequestorFacts::default() },
            providers,
            chain: ChainFacts::default(),
            elapsed_secs: 1,
        }
    }

    #[test]
    fn a_sound_report_has_no_complaints_and_every_lie_has_one() {
        let sound = || vec![provider(Role::Honest, 3, 3), provider(Role::Liar, 0, 0), provider(Role::Crasher, 0, 0)];
        assert!(report(3, sound()).complaints().is_empty());
        assert_eq!(report(4, sound()).complaints().len(), 1);
        let mut paid_liar = sound();
        paid_liar.push(provider(Role::Liar, 0, 1));
        assert_eq!(report(4, paid_liar).complaints().len(), 1);
        let mut unclaimed = sound();
        unclaimed.push(provider(Role::Honest, 2, 1));
        assert_eq!(report(4, unclaimed).complaints().len(), 1);
        let mut slashed = sound();
        slashed.iter_mut().for_each(|provider| provider.stake = Amount::ZERO);
        assert_eq!(report(3, slashed).complaints().len(), 3);
        assert_eq!(report(0, vec![provider(Role::Honest, 0, 0)]).complaints().len(), 1);
        let mut wrong = report(3, sound());
        wrong.speech =
            Some(Speech { path: String::new(), sha256: String::new(), seconds: 1, matches_local_run: false });
        assert_eq!(wrong.complaints().len(), 1);
    }
}
