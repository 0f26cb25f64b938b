//! Round two: when reserves are called, and which.

use crate::{
    book::Book,
    terms::{MemberSet, OrderTerms},
};
use serde::{Deserialize, Serialize};
use symbolon_primitives::Timestamp;

/// Which reserves were called, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// (position, time), in the order of calling.
    called: Vec<(usize, Timestamp)>,
    /// Round two is open as seen from here. Never closes again.
    open: bool,
}

impl Calls {
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) const fn open(&mut self) {
        self.open = true;
    }

    pub(crate) fn members(&self) -> MemberSet {
        self.called.iter().map(|(index, _)| *index).collect()
    }

    /// A reserve that somebody else called has started on its own.
    pub(crate) fn seen(&mut self, index: usize, now: Timestamp) {
        if !self.members().contains(index) {
            self.called.push((index, now));
        }
    }

    /// Opens round two when the active replicas can no longer make a quorum, and
    /// answers the reserves to call now: one for each that is short (SYM-23).
    /// `stalled` answered but do not attest: they count as missing.
    pub(crate) fn advance(
        &mut self,
        terms: &OrderTerms,
        book: &Book,
        me: Option<usize>,
        stalled: MemberSet,
        now: Timestamp,
    ) -> Vec<usize> {
        let awake = |members: MemberSet| stalled.iter().fold(members, MemberSet::without);
        if self.reachable(terms, book, awake(terms.actives()), now) < terms.quorum() {
            self.open = true;
        }
        let mut new = Vec::new();
        if !self.open || now > terms.reserve_by {
            return new;
        }
        let candidates = terms.reserves().iter().filter(|index| Some(*index) != me);
        for index in candidates.collect::<Vec<_>>() {
            let counted = terms.actives().union(self.members());
            let counted = awake(me.map_or(counted, |me| counted.with(me)));
            if self.reachable(terms, book, counted, now) >= terms.quorum() {
                break;
            }
            if !self.members().contains(index) {
                self.called.push((index, now));
                new.push(index);
            }
        }
        new
    }

    /// How many of `counted` may end up equal.
    fn reachable(&self, terms: &OrderTerms, book: &Book, counted: MemberSet, now: Timestamp) -> usize {
        largest(book, counted).saturating_add(self.pending(terms, book, counted, now))
    }

    /// How many of `counted` have not answered but still may.
    fn pending(&self, terms: &OrderTerms, book: &Book, counted: MemberSet, now: Timestamp) -> usize {
        let bound = book.bound();
        let waits = |index: &usize| {
            let index = *index;
            if bound.contains(index) && book.answer(index).is_some() {
                return false;
            }
            self.patience(terms, book, index).is_some_and(|until| now < until)
        };
        counted.iter().filter(waits).count()
    }

    /// Until when `index` is waited for.
    fn patience(&self, terms: &OrderTerms, book: &Book, index: usize) -> Option<Timestamp> {
        let commit = book.commit(index).filter(|commit| commit.counts && !book.is_conflicted(index));
        let wait = terms.timing.wait_secs;
        if !terms.reserves().contains(index) {
            return Some(if commit.is_some() { terms.second_wait() } else { terms.first_wait() });
        }
        match commit {
            Some(commit) => Some(commit.at.plus_secs(wait).plus_secs(wait)),
            None => self.called.iter().find(|(called, _)| *called == index).map(|(_, at)| half(*at, terms.reserve_by)),
        }
    }

    /// The next moment after `now` at which waiting for somebody ends.
    pub(crate) fn next_timer(&self, terms: &OrderTerms, book: &Book, now: Timestamp) -> Option<Timestamp> {
        let members = terms.actives().union(self.members());
        members.iter().filter_map(|index| self.patience(terms, book, index)).filter(|at| *at > now).min()
    }
}

pub(crate) fn largest(book: &Book, counted: MemberSet) -> usize {
    let counted = counted.iter().filter(|index| book.bound().contains(*index)).collect();
    book.groups(counted).first().map_or(0, |group| group.members.len())
}

/// The middle between two times, at least one second after the first.
fn half(from: Timestamp, to: Timestamp) -> Timestamp {
    from.plus_secs(to.secs_since(from).div_ceil(2).max(1))
}
