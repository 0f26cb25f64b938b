//! The book of evidence about one order: Commits, answers and Results, each
//! checked before it is written down. Bounded by the roster.

use crate::{
    effects::{Reason, Rejected},
    message::{Answer, Attestation, SignedCommit, SignedSubset},
    settlement::{Evidence, Row, Settlement, SignedStatement},
    terms::{MemberSet, OrderTerms},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use symbolon_primitives::{
    B256, Refuse, ResultStatement, ResultsRoot, Seal, Signature, Timestamp,
    order::{MAX_LEAVES, seal, seals_hash},
};

/// The most subsets one replica can attest: those of eight leaves that include it.
const MAX_SUBSETS: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldCommit {
    pub(crate) seal: Seal,
    pub(crate) signature: Signature,
    /// When it was first held.
    pub(crate) at: Timestamp,
    /// In time, and before this replica showed its own answer.
    pub(crate) counts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attested {
    results_root: ResultsRoot,
    fuel: u64,
    first: SignedSubset,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    commit: Option<HeldCommit>,
    conflicted: bool,
    answer: Option<Answer>,
    attested: Option<Attested>,
    signed: BTreeMap<MemberSet, (B256, Signature)>,
    equivocated: Option<Evidence>,
}

/// What became of a Commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    New,
    Known,
    Conflict,
}

/// Equal answers: outcome and who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) outcome: (ResultsRoot, u64),
    pub(crate) members: MemberSet,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Book {
    entries: Vec<Entry>,
}

impl Book {
    pub(crate) fn new(terms: &OrderTerms) -> Self {
        Self { entries: vec![Entry::default(); terms.leaves.len()] }
    }

    fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    pub(crate) fn commit(&self, index: usize) -> Option<&HeldCommit> {
        self.entry(index)?.commit.as_ref()
    }

    pub(crate) fn answer(&self, index: usize) -> Option<&Answer> {
        self.entry(index)?.answer.as_ref()
    }

    pub(crate) fn is_conflicted(&self, index: usize) -> bool {
        self.entry(index).is_some_and(|entry| entry.conflicted)
    }

    /// Members with one Commit only, that counts.
    pub(crate) fn bound(&self) -> MemberSet {
        let counts = |entry: &Entry| !entry.conflicted && entry.commit.is_some_and(|commit| commit.counts);
        self.entries.iter().enumerate().filter(|(_, entry)| counts(entry)).map(|(index, _)| index).collect()
    }

    pub(crate) fn answered(&self) -> MemberSet {
        self.entries.iter().enumerate().filter(|(_, entry)| entry.answer.is_some()).map(|(index, _)| index).collect()
    }

    /// The first Commit held of everybody, `first` leading.
    pub(crate) fn commits(&self, terms: &OrderTerms, first: Option<usize>) -> Vec<SignedCommit> {
        let rest = terms.members().iter().filter(|index| Some(*index) != first);
        first
            .into_iter()
            .chain(rest)
            .filter_map(|index| {
                let commit = self.commit(index)?;
                Some(SignedCommit { provider: terms.provider(index)?, seal: commit.seal, signature: commit.signature })
            })
            .collect()
    }

    /// Writes a Commit down after checking it. `counts` is asked only for a first one.
    pub(crate) fn hold_commit(
        &mut self,
        terms: &OrderTerms,
        commit: &SignedCommit,
        now: Timestamp,
        counts: impl FnOnce(usize) -> bool,
    ) -> Result<(usize, Kept), Rejected> {
        let index = terms.position(commit.provider).ok_or(Reason::NotAMember(commit.provider).warn())?;
        let Some(entry) = self.entries.get_mut(index) else {
            return Err(Reason::NotAMember(commit.provider).warn());
        };
        // Equal seals say the same, whatever the signature looks like.
        if entry.commit.is_some_and(|held| held.seal == commit.seal) || entry.conflicted {
            return Ok((index, Kept::Known));
        }
        commit
            .check(terms.digest, &terms.domain)
            .map_err(|source| Reason::BadSignature { provider: commit.provider, source }.disconnect())?;
        if entry.commit.is_some() {
            entry.conflicted = true;
            return Ok((index, Kept::Conflict));
        }
        let counts = counts(index);
        entry.commit = Some(HeldCommit { seal: commit.seal, signature: commit.signature, at: now, counts });
        Ok((index, Kept::New))
    }

    /// Writes down the Commits that came along with another message. One that
    /// does not hold is the sender's fault and refuses the message.
    pub(crate) fn hold_commits(
        &mut self,
        terms: &OrderTerms,
        commits: &[SignedCommit],
        now: Timestamp,
        counts: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Kept)>, Rejected> {
        if commits.len() > MAX_LEAVES {
            return Err(Reason::TooMany { have: commits.len(), most: MAX_LEAVES }.disconnect());
        }
        commits.iter().map(|commit| self.hold_commit(terms, commit, now, &counts)).collect()
    }

    /// Writes an answer down if it is the sealed one.
    pub(crate) fn hold_answer(&mut self, terms: &OrderTerms, index: usize, answer: &Answer) -> Result<bool, Rejected> {
        let (Some(provider), Some(entry)) = (terms.provider(index), self.entries.get_mut(index)) else {
            return Ok(false);
        };
        if answer.fuel > terms.order.max_fuel {
            return Err(Reason::FuelAboveMaximum { have: terms.order.max_fuel, need: answer.fuel }.warn());
        }
        let commit = entry.commit.ok_or(Reason::NoCommit(provider).warn())?;
        if seal(terms.digest, provider, answer.results_root, answer.fuel, answer.nonce) != commit.seal {
            return Err(Reason::SealMismatch(provider).warn());
        }
        let new = entry.answer.is_none();
        entry.answer = Some(*answer);
        Ok(new)
    }

    /// Writes Results down after checking their signatures. Answers whether
    /// anything was new, and evidence the first time the author contradicts itself.
    pub(crate) fn hold_results(
        &mut self,
        terms: &OrderTerms,
        index: usize,
        results: &Attestation,
    ) -> Result<(bool, Option<Evidence>), Rejected> {
        let Some(provider) = terms.provider(index) else {
            return Ok((false, None));
        };
        if results.signed.len() > MAX_SUBSETS {
            return Err(Reason::TooMany { have: results.signed.len(), most: MAX_SUBSETS }.disconnect());
        }
        if results.fuel > terms.order.max_fuel {
            return Err(Reason::FuelAboveMaximum { have: terms.order.max_fuel, need: results.fuel }.warn());
        }
        let (mut new, mut evidence) = (false, None);
        for subset in &results.signed {
            let sound = subset.members.contains(index)
                && subset.members.len() >= usize::from(terms.order.quorum)
                && terms.members().covers(subset.members);
            if !sound {
                return Err(Reason::BadSubset(provider).disconnect());
            }
            let ours = self.seals_of(subset.members);
            let Some(entry) = self.entries.get_mut(index) else {
                return Ok((false, None));
            };
            let outcome = entry.attested.map(|first| (first.results_root, first.fuel));
            let same = outcome == Some((results.results_root, results.fuel));
            // Nothing replaces a signature that a quorum can be settled with.
            let held = entry.signed.get(&subset.members).map(|(seals, _)| *seals);
            if same && held.is_some_and(|held| held == subset.seals || Some(held) == ours) {
                continue;
            }
            let statement = statement(terms, (results.results_root, results.fuel), subset.seals);
            subset
                .signature
                .check(&statement.digest(&terms.domain), provider)
                .map_err(|source| Reason::BadSignature { provider, source }.disconnect())?;
            let now = Attested { results_root: results.results_root, fuel: results.fuel, first: *subset };
            if let Some(first) = entry.attested.filter(|_| !same) {
                if entry.equivocated.is_none() {
                    let held = self::statement(terms, (first.results_root, first.fuel), first.first.seals);
                    let first = SignedStatement { statement: held, signature: first.first.signature };
                    let second = SignedStatement { statement, signature: subset.signature };
                    entry.equivocated = Some(Evidence { provider, first, second });
                    evidence = entry.equivocated;
                    new = true;
                }
                // Of two outcomes only the one it sealed can settle anything.
                if entry.answer.is_none_or(|answer| answer.outcome() != (results.results_root, results.fuel)) {
                    break;
                }
                entry.signed.clear();
                entry.attested = Some(now);
            }
            entry.attested.get_or_insert(now);
            entry.signed.insert(subset.members, (subset.seals, subset.signature));
            new = true;
        }
        Ok((new, evidence))
    }

    /// The equal answers among `counted`, most first, ties by outcome.
    pub(crate) fn groups(&self, counted: MemberSet) -> Vec<Group> {
        let mut groups: BTreeMap<(ResultsRoot, u64), MemberSet> = BTreeMap::new();
        for (index, entry) in self.entries.iter().enumerate().filter(|(index, _)| counted.contains(*index)) {
            if let Some(answer) = &entry.answer {
                let members = groups.entry(answer.outcome()).or_default();
                *members = members.with(index);
            }
        }
        let mut groups: Vec<Group> = groups.into_iter().map(|(outcome, members)| Group { outcome, members }).collect();
        groups.sort_by_key(|group| core::cmp::Reverse(group.members.len()));
        groups
    }

    /// Hash of the seals of `members` in row order, if all are held.
    pub(crate) fn seals_of(&self, members: MemberSet) -> Option<B256> {
        let seals: Option<Vec<Seal>> = members.iter().map(|index| Some(self.commit(index)?.seal)).collect();
        Some(seals_hash(&seals?).into())
    }

    /// Whether everybody in `members` answered `outcome` and signed the common Result.
    fn is_complete(&self, outcome: (ResultsRoot, u64), members: MemberSet) -> bool {
        let signed = |index: usize| {
            let entry = self.entry(index)?;
            entry.answer.filter(|answer| answer.outcome() == outcome)?;
            entry.attested.filter(|first| (first.results_root, first.fuel) == outcome)?;
            entry.signed.get(&members).map(|(seals, _)| *seals)
        };
        // Hashed last: of most subsets not everybody has signed.
        let held: Option<Vec<B256>> = members.iter().map(signed).collect();
        held.is_some_and(|held| self.seals_of(members).is_some_and(|seals| held.iter().all(|signed| *signed == seals)))
    }

    /// Every subset that a vault would settle `outcome` with.
    pub(crate) fn complete(&self, terms: &OrderTerms, outcome: (ResultsRoot, u64)) -> Vec<MemberSet> {
        let complete = |members: &MemberSet| self.is_complete(outcome, *members);
        self.signers(outcome).subsets(terms.quorum()).filter(complete).collect()
    }

    /// Everybody who signed Results over `outcome`.
    pub(crate) fn signers(&self, outcome: (ResultsRoot, u64)) -> MemberSet {
        let signed = |entry: &Entry| entry.attested.is_some_and(|first| (first.results_root, first.fuel) == outcome);
        self.entries.iter().enumerate().filter(|(_, entry)| signed(entry)).map(|(index, _)| index).collect()
    }

    /// Evidence against members who signed two different Results.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = Evidence> {
        self.entries.iter().filter_map(|entry| entry.equivocated)
    }

    /// A Result of `index` over `outcome` and a subset that all answered it.
    pub(crate) fn witness(
        &self,
        terms: &OrderTerms,
        index: usize,
        outcome: (ResultsRoot, u64),
    ) -> Option<SignedStatement> {
        let entry = self.entry(index)?;
        entry.attested.filter(|first| (first.results_root, first.fuel) == outcome)?;
        let answered = |member: usize| self.answer(member).is_some_and(|answer| answer.outcome() == outcome);
        let sound =
            |members: &MemberSet, seals: B256| members.iter().all(answered) && self.seals_of(*members) == Some(seals);
        let (members, _) = entry.signed.iter().find(|(members, (seals, _))| sound(members, *seals))?;
        self.signed_by(terms, index, *members)
    }

    /// The Results `index` signed, as one message.
    pub(crate) fn attestation(&self, index: usize, outcome: (ResultsRoot, u64)) -> Attestation {
        let signed = self.entry(index).into_iter().flat_map(|entry| {
            entry.signed.iter().map(|(members, (seals, signature))| SignedSubset {
                members: *members,
                seals: *seals,
                signature: *signature,
            })
        });
        Attestation { results_root: outcome.0, fuel: outcome.1, signed: signed.collect() }
    }

    /// The Result of `index` over exactly `members`.
    pub(crate) fn signed_by(&self, terms: &OrderTerms, index: usize, members: MemberSet) -> Option<SignedStatement> {
        let entry = self.entry(index)?;
        let first = entry.attested?;
        let (seals, signature) = entry.signed.get(&members)?;
        let statement = statement(terms, (first.results_root, first.fuel), *seals);
        Some(SignedStatement { statement, signature: *signature })
    }

    pub(crate) fn has_signed(&self, index: usize, members: MemberSet) -> bool {
        self.entry(index).is_some_and(|entry| entry.signed.contains_key(&members))
    }

    /// Writes down a Result of this replica's own.
    pub(crate) fn hold_own_result(&mut self, index: usize, outcome: (ResultsRoot, u64), subset: SignedSubset) {
        if let Some(entry) = self.entries.get_mut(index) {
            let (results_root, fuel) = outcome;
            entry.attested.get_or_insert(Attested { results_root, fuel, first: subset });
            entry.signed.insert(subset.members, (subset.seals, subset.signature));
        }
    }

    /// What `settleQuorum` takes for a complete subset.
    pub(crate) fn settlement(
        &self,
        terms: &OrderTerms,
        outcome: (ResultsRoot, u64),
        members: MemberSet,
    ) -> Option<Settlement> {
        let rows: Option<Vec<Row>> = members
            .iter()
            .map(|index| {
                Some(Row {
                    leaf: *terms.leaves.get(index)?,
                    nonce: self.answer(index)?.nonce,
                    signature: self.signed_by(terms, index, members)?.signature,
                })
            })
            .collect();
        let others = terms.leaves.iter().enumerate().filter(|(index, _)| !members.contains(*index));
        Some(Settlement {
            digest: terms.digest,
            payer: terms.payer,
            order: terms.order,
            order_signature: terms.signature,
            results_root: outcome.0,
            fuel: outcome.1,
            members,
            rows: rows?,
            other_leaf_hashes: others.map(|(_, leaf)| leaf.hash()).collect(),
        })
    }
}

pub(crate) fn statement(terms: &OrderTerms, outcome: (ResultsRoot, u64), seals: B256) -> ResultStatement {
    ResultStatement { order: terms.digest, results_root: outcome.0, fuel: outcome.1, seals }
}
