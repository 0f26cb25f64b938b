//! The payer's side of one order: who agreed, who dissented, who is missing (SYM-23).

use crate::{
    book::{Book, Kept},
    effects::{Effect, Effects, Reason, Rejected},
    message::{Message, SignedCommit},
    round::{Calls, largest},
    settlement::{Evidence, Settlement, SignedStatement},
    terms::{MemberSet, OrderTerms},
};
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Address, Leaf, Refuse, ResultsRoot, Seal, Timestamp};

/// What a [`Verdict`] is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerdictInput {
    /// A message of a member, over its authenticated connection.
    Received {
        /// The provider at the other end.
        from: Address,
        /// What it said.
        message: Message,
    },
    /// A member signed that it will never ask anything for the order.
    GaveUp(Address),
    /// The time set by [`Effect::SetTimer`] has come, or may have.
    Timer,
    /// The process started again from the stored machine: say everything once more.
    Resume,
}

/// What the node learns from a [`Verdict`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerdictEvent {
    /// This reserve is called; the message to it goes along.
    ReserveCalled(Leaf),
    /// A quorum stands behind this result: the canonical one.
    Decided {
        /// Salted root over the workunits' results.
        results_root: ResultsRoot,
        /// The fuel everybody who agreed is paid for.
        fuel: u64,
    },
    /// It agreed and signed its Result: pay it `owed + price(fuel)`. Comes after
    /// `Decided`, also for later arrivals; again after [`VerdictInput::Resume`].
    Agreed {
        /// Its leaf.
        leaf: Leaf,
        /// The fuel it is paid for.
        fuel: u64,
        /// Its signed Result, against which the voucher is given.
        result: SignedStatement,
    },
    /// It answered something else: unpaid, not punished (SYM-13).
    Dissented(Address),
    /// It was to answer and is in no quorum: unpaid, not punished.
    Missing(Address),
    /// No quorum: nobody is paid by voucher, nobody punished, the work may be
    /// given to others. A quorum that still forms before settle-by is decided
    /// all the same, for the vault would pay it too.
    Undecided,
    /// A member signed two different Results: the court's evidence.
    Equivocated(Evidence),
    /// A member signed two different Commits.
    Conflicted(Address),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Decision {
    results_root: ResultsRoot,
    fuel: u64,
    agreed: MemberSet,
}

/// One order at its payer.
///
/// # Safety of funds
/// `Agreed` is the only ground for a voucher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    terms: OrderTerms,
    book: Book,
    calls: Calls,
    gave_up: MemberSet,
    decision: Option<Decision>,
    undecided: bool,
    dissented: MemberSet,
    missing: MemberSet,
    timer: Option<Timestamp>,
    /// When silent reserves are called once more, and how long until the time after.
    resend: Option<(Timestamp, u64)>,
}

type Out = Vec<Effect<VerdictEvent>>;

impl Verdict {
    /// The verdict on an order that was sent out.
    #[must_use]
    pub fn new(terms: OrderTerms) -> Self {
        let book = Book::new(&terms);
        Self {
            terms,
            book,
            calls: Calls::default(),
            gave_up: MemberSet::EMPTY,
            decision: None,
            undecided: false,
            dissented: MemberSet::EMPTY,
            missing: MemberSet::EMPTY,
            timer: None,
            resend: None,
        }
    }

    /// The order.
    #[must_use]
    pub const fn terms(&self) -> &OrderTerms {
        &self.terms
    }

    /// The canonical results root and fuel, once a quorum stands.
    #[must_use]
    pub fn canonical(&self) -> Option<(ResultsRoot, u64)> {
        self.decision.map(|decision| (decision.results_root, decision.fuel))
    }

    /// Who is to be paid so far.
    #[must_use]
    pub fn agreed(&self) -> MemberSet {
        self.decision.map_or(MemberSet::EMPTY, |decision| decision.agreed)
    }

    /// Who answered something else.
    #[must_use]
    pub const fn dissented(&self) -> MemberSet {
        self.dissented
    }

    /// Who was to answer and is in no quorum.
    #[must_use]
    pub const fn missing(&self) -> MemberSet {
        self.missing
    }

    /// Reserves that were called, or started without a call of the payer's.
    #[must_use]
    pub fn called(&self) -> MemberSet {
        self.calls.members()
    }

    /// Whether waiting for a quorum is over.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        self.undecided && self.decision.is_none()
    }

    /// The seal of a member's Commit, if one is held.
    #[must_use]
    pub fn seal(&self, index: usize) -> Option<Seal> {
        self.book.commit(index).map(|commit| commit.seal)
    }

    /// What `settleQuorum` takes, once a quorum signed a common Result.
    #[must_use]
    pub fn settlement(&self) -> Option<Settlement> {
        let outcome = self.canonical()?;
        let complete = self.book.complete(&self.terms, outcome);
        let widest = complete.into_iter().max_by_key(|members| members.len())?;
        self.book.settlement(&self.terms, outcome, widest)
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`Rejected`], and the machine is as it was.
    ///
    /// # Safety of funds
    /// Carry out [`Effect::Persist`] before any effect after it.
    pub fn handle(&mut self, input: VerdictInput, now: Timestamp) -> Result<Effects<VerdictEvent>, Rejected> {
        let mut next = self.clone();
        let mut out = Out::new();
        let resume = matches!(input, VerdictInput::Resume);
        next.take(input, now, &mut out)?;
        next.call_reserves(now, &mut out);
        next.decide(resume, &mut out);
        next.give_in(now, &mut out);
        next.say_again(resume, now, &mut out);
        next.set_timer(resume, now, &mut out);
        let changed = next != *self;
        *self = next;
        Ok(Effects::new(changed, out))
    }

    fn take(&mut self, input: VerdictInput, now: Timestamp, out: &mut Out) -> Result<(), Rejected> {
        let (from, message) = match input {
            VerdictInput::Received { from, message } => (from, message),
            VerdictInput::GaveUp(provider) => {
                let index = self.terms.position(provider).ok_or(Reason::NotAMember(provider).disconnect())?;
                self.gave_up = self.gave_up.with(index);
                return Ok(());
            }
            VerdictInput::Timer => return Ok(()),
            VerdictInput::Resume => {
                out.extend(self.book.evidence().map(|evidence| Effect::Emit(VerdictEvent::Equivocated(evidence))));
                return Ok(());
            }
        };
        let author = self.terms.position(from).ok_or(Reason::NotAMember(from).disconnect())?;
        match message {
            Message::Commit(commit) => self.hold(&[commit], now, out),
            Message::Answer { answer, commits } => {
                self.hold(&commits, now, out)?;
                self.book.hold_answer(&self.terms, author, &answer).map(|_| ())
            }
            Message::Result(results) => {
                let (_, evidence) = self.book.hold_results(&self.terms, author, &results)?;
                out.extend(evidence.map(|evidence| Effect::Emit(VerdictEvent::Equivocated(evidence))));
                Ok(())
            }
            Message::Call { .. } => Err(Reason::NotForPayer.warn()),
        }
    }

    fn hold(&mut self, commits: &[SignedCommit], now: Timestamp, out: &mut Out) -> Result<(), Rejected> {
        let (reserves, commit_by, reserve_by) = (self.terms.reserves(), self.terms.commit_by, self.terms.reserve_by);
        let counts = |index: usize| now <= if reserves.contains(index) { reserve_by } else { commit_by };
        for (index, kept) in self.book.hold_commits(&self.terms, commits, now, counts)? {
            match kept {
                Kept::Known => {}
                Kept::Conflict => {
                    let provider = self.terms.provider(index).unwrap_or_default();
                    out.push(Effect::Emit(VerdictEvent::Conflicted(provider)));
                }
                Kept::New => {
                    if reserves.contains(index) {
                        self.calls.seen(index, now);
                    }
                }
            }
        }
        Ok(())
    }

    fn call_reserves(&mut self, now: Timestamp, out: &mut Out) {
        if self.decision.is_some() {
            return;
        }
        for index in self.calls.advance(&self.terms, &self.book, None, MemberSet::EMPTY, now) {
            if let Some(leaf) = self.terms.leaves().get(index) {
                out.push(Effect::Send { to: leaf.provider, message: self.call() });
                out.push(Effect::Emit(VerdictEvent::ReserveCalled(*leaf)));
                let step = self.terms.timing.wait_secs.max(1);
                self.resend = Some((now.plus_secs(step), step));
            }
        }
    }

    /// Decides once a quorum of answers is equal, and says who agreed and signed.
    fn decide(&mut self, resume: bool, out: &mut Out) {
        let decided = self.decision;
        let Some(outcome) = self.canonical().or_else(|| self.quorum()) else {
            return;
        };
        let (results_root, fuel) = outcome;
        if decided.is_none() || resume {
            out.push(Effect::Emit(VerdictEvent::Decided { results_root, fuel }));
        }
        let before = self.agreed();
        let mut agreed = before;
        for leaf in self.terms.leaves() {
            let index = self.terms.position(leaf.provider).unwrap_or(usize::MAX);
            let known = before.contains(index);
            if known && !resume {
                continue;
            }
            let result = self.result_of(index, outcome);
            if let Some(result) = result {
                agreed = agreed.with(index);
                out.push(Effect::Emit(VerdictEvent::Agreed { leaf: *leaf, fuel, result }));
            }
        }
        self.decision = Some(Decision { results_root, fuel, agreed });
        for index in self.book.answered().iter() {
            let differs = self.book.answer(index).is_some_and(|answer| answer.outcome() != outcome);
            if differs && !self.dissented.contains(index) {
                self.dissented = self.dissented.with(index);
                let provider = self.terms.provider(index).unwrap_or_default();
                out.push(Effect::Emit(VerdictEvent::Dissented(provider)));
            }
        }
    }

    /// What a quorum answered: of active replicas whose Commits were here in time,
    /// or of those who attest each other's, as the vault takes it.
    fn quorum(&self) -> Option<(ResultsRoot, u64)> {
        let bound =
            self.book.groups(self.judged()).into_iter().find(|group| group.members.len() >= self.terms.quorum());
        let attested = || {
            let groups = self.book.groups(self.book.answered()).into_iter();
            groups.map(|group| group.outcome).find(|outcome| !self.book.complete(&self.terms, *outcome).is_empty())
        };
        bound.map(|group| group.outcome).or_else(attested)
    }

    /// Whose Commits are the payer's to judge. A reserve commits when answers are
    /// shown already: whether it saw one before, only those know who showed it.
    fn judged(&self) -> MemberSet {
        let actives = self.terms.actives();
        self.book.bound().iter().filter(|index| actives.contains(*index)).collect()
    }

    /// The Result against which `index` is paid, if it is to be.
    fn result_of(&self, index: usize, outcome: (ResultsRoot, u64)) -> Option<SignedStatement> {
        if self.judged().contains(index)
            && let Some(result) = self.book.witness(&self.terms, index, outcome)
        {
            return Some(result);
        }
        let complete = self.book.complete(&self.terms, outcome);
        let with = complete.into_iter().find(|members| members.contains(index))?;
        self.book.signed_by(&self.terms, index, with)
    }

    /// Says who is missing, and when no quorum can be hoped for any more.
    fn give_in(&mut self, now: Timestamp, out: &mut Out) {
        let called = self.terms.actives().union(self.calls.members());
        let end = if self.calls.is_open() { self.terms.reserve_wait() } else { self.terms.second_wait() };
        if self.decision.is_none() && !self.undecided && self.is_hopeless(now) {
            self.undecided = true;
            out.push(Effect::Emit(VerdictEvent::Undecided));
        }
        if !(self.undecided || self.decision.is_some() && now >= end) {
            return;
        }
        let accounted = self.agreed().union(self.book.answered()).union(self.missing);
        for index in called.iter().filter(|index| !accounted.contains(*index)) {
            self.missing = self.missing.with(index);
            out.push(Effect::Emit(VerdictEvent::Missing(self.terms.provider(index).unwrap_or_default())));
        }
    }

    fn is_hopeless(&self, now: Timestamp) -> bool {
        if now > self.terms.settle_by() {
            return true;
        }
        let members = self.terms.members();
        let out = self.book.answered().union(self.gave_up);
        let open = members.iter().filter(|index| !out.contains(*index)).count();
        let best = largest(&self.book, members);
        best.saturating_add(open) < self.terms.quorum()
            || now >= self.terms.reserve_wait() && best < self.terms.quorum()
            || now >= self.attest_wait()
    }

    /// One waiting time after round two: from here on a missing Result counts too.
    const fn attest_wait(&self) -> Timestamp {
        self.terms.reserve_wait().plus_secs(self.terms.timing.wait_secs)
    }

    /// Calls silent reserves once more, less and less often.
    fn say_again(&mut self, resume: bool, now: Timestamp, out: &mut Out) {
        let Some((at, step)) = self.resend else {
            return;
        };
        if !resume {
            if now < at || now > self.terms.reserve_by || self.decision.is_some() {
                return;
            }
            let step = step.saturating_mul(2);
            self.resend = Some((now.plus_secs(step), step));
        }
        let silent = |index: &usize| self.book.commit(*index).is_none();
        for to in self.calls.members().iter().filter(silent).filter_map(|index| self.terms.provider(index)) {
            out.push(Effect::Send { to, message: self.call() });
        }
    }

    fn set_timer(&mut self, resume: bool, now: Timestamp, out: &mut Out) {
        let terms = &self.terms;
        let mut times = vec![terms.first_wait(), terms.second_wait(), terms.reserve_wait(), self.attest_wait()];
        times.push(terms.settle_by().plus_secs(1));
        times.extend(self.calls.next_timer(terms, &self.book, now));
        times.extend(self.resend.map(|(at, _)| at));
        let next = times.into_iter().filter(|at| *at > now).min();
        if next != self.timer || resume {
            self.timer = next;
            out.extend(next.map(|at| Effect::SetTimer { at }));
        }
    }

    fn call(&self) -> Message {
        Message::Call { commits: self.book.commits(&self.terms, None) }
    }
}
