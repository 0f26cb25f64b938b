//! One member's side of one order: commit, answer, attest, settle (SYM-22).

use crate::{
    book::{Book, Kept, statement},
    effects::{Effect, Effects, Reason, Rejected},
    message::{Answer, Message, SignedCommit, SignedSubset},
    round::Calls,
    settlement::{Evidence, Settlement},
    terms::{MemberSet, OrderTerms, TermsError, Timing},
};
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Address, Commit, Nonce, Refuse, ResultsRoot, Signer, Timestamp, order::seal};

/// What a [`Replica`] is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaInput {
    /// The executor finished. The nonce is fresh randomness of the shell's.
    Computed {
        /// Salted root over the workunits' results.
        results_root: ResultsRoot,
        /// Sum of the workunits' fuel.
        fuel: u64,
        /// Hides the sealed answer until it is shown.
        nonce: Nonce,
    },
    /// A message of the payer or a member, over its authenticated connection.
    Received {
        /// The provider or payer key at the other end.
        from: Address,
        /// What it said.
        message: Message,
    },
    /// The time set by [`Effect::SetTimer`] has come, or may have.
    Timer,
    /// The process started again from the stored machine: say everything once more.
    Resume,
    /// The voucher for this order is durable here, or a quorum's settlement is
    /// confirmed: no more submitting. Attesting goes on for the others.
    Paid,
    /// Nothing will ever be asked for this order.
    GiveUp,
}

/// What the node learns from a [`Replica`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaEvent {
    /// Compute now, or give up: this reserve was called, or the process was
    /// started again before the executor finished.
    Compute,
    /// A quorum that includes this replica stands; told again when it grows.
    QuorumAssembled(Settlement),
    /// It is this replica's turn to submit: the payer is silent. Repeated each
    /// turn until [`ReplicaInput::Paid`] or settle-by; submitting twice costs gas only.
    SettlementDue(Settlement),
    /// A member signed two different Results: the court's evidence.
    Equivocated(Evidence),
    /// A member signed two different Commits. No evidence of anything, never attested.
    Conflicted(Address),
}

/// How far this replica is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaPhase {
    /// A reserve that was not called.
    Reserve,
    /// The executor is at it.
    Computing,
    /// One Commit is signed; there is never another.
    Committed {
        /// The one answer.
        answer: Answer,
        /// The one Commit.
        commit: SignedCommit,
        /// When it was signed.
        at: Timestamp,
        /// Who was shown the answer, beside the payer; nothing while nobody was.
        shown: Option<MemberSet>,
    },
    /// Given up before any Result was signed.
    GivenUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Assembled {
    members: MemberSet,
    /// When this replica submits next.
    due: Timestamp,
}

/// One order on one member.
///
/// # Safety of funds
/// It signs Results over one outcome only, its own, so it can never be slashed
/// for an order, provided its snapshot is durable before an effect leaves and
/// never replaced by an older one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    terms: OrderTerms,
    me: usize,
    provider: Address,
    phase: ReplicaPhase,
    book: Book,
    calls: Calls,
    /// When the latest Result was signed.
    attested_at: Option<Timestamp>,
    assembled: Option<Assembled>,
    paid: bool,
    timer: Option<Timestamp>,
    /// When everything is said once more, and how long until the time after.
    resend: Option<(Timestamp, u64)>,
}

type Out = Vec<Effect<ReplicaEvent>>;

impl Replica {
    /// The replica of `provider` for an accepted order.
    ///
    /// # Errors
    /// [`TermsError::NoLeaf`] when the provider is not in the roster.
    pub fn new(terms: OrderTerms, provider: Address) -> Result<Self, TermsError> {
        let me = terms.position(provider).ok_or(TermsError::NoLeaf(provider))?;
        let phase = if terms.reserves().contains(me) { ReplicaPhase::Reserve } else { ReplicaPhase::Computing };
        let book = Book::new(&terms);
        let calls = Calls::default();
        Ok(Self {
            terms,
            me,
            provider,
            phase,
            book,
            calls,
            attested_at: None,
            assembled: None,
            paid: false,
            timer: None,
            resend: None,
        })
    }

    /// The order.
    #[must_use]
    pub const fn terms(&self) -> &OrderTerms {
        &self.terms
    }

    /// How far it is.
    #[must_use]
    pub const fn phase(&self) -> &ReplicaPhase {
        &self.phase
    }

    /// Whether a Result was signed: from then on money is expected for the order.
    #[must_use]
    pub fn has_attested(&self) -> bool {
        !self.attested().is_empty()
    }

    /// What `settleQuorum` takes, once a quorum stands.
    #[must_use]
    pub fn settlement(&self) -> Option<Settlement> {
        let assembled = self.assembled?;
        self.book.settlement(&self.terms, self.outcome()?, assembled.members)
    }

    /// When this replica would submit if the payer stays silent.
    #[must_use]
    pub fn settle_at(&self) -> Option<Timestamp> {
        self.assembled.filter(|_| !self.paid).map(|assembled| assembled.due)
    }

    /// What this replica has said to the payer so far, for a payer that asks
    /// again: the Commit, the answer once it was shown, the Results once signed.
    /// Also after settle-by, when nothing is said unasked.
    #[must_use]
    pub fn said(&self) -> Vec<Message> {
        let ReplicaPhase::Committed { answer, commit, shown, .. } = &self.phase else {
            return Vec::new();
        };
        let mut said = vec![Message::Commit(*commit)];
        if shown.is_some() {
            said.push(Message::Answer { answer: *answer, commits: self.book.commits(&self.terms, Some(self.me)) });
        }
        if self.has_attested() {
            said.push(Message::Result(self.book.attestation(self.me, answer.outcome())));
        }
        said
    }

    /// Takes one input. `signer` is this provider's key.
    ///
    /// # Errors
    /// [`Rejected`], and the machine is as it was.
    ///
    /// # Safety of funds
    /// Carry out [`Effect::Persist`] before any effect after it. Before a
    /// [`Message::Result`] leaves, the channel's payee must have stored what it expects.
    pub fn handle(
        &mut self,
        signer: &dyn Signer,
        input: ReplicaInput,
        now: Timestamp,
    ) -> Result<Effects<ReplicaEvent>, Rejected> {
        if signer.address() != self.provider {
            return Err(Reason::WrongSigner { have: signer.address(), need: self.provider }.ignore());
        }
        let mut next = self.clone();
        let mut out = Out::new();
        let resume = matches!(input, ReplicaInput::Resume);
        next.take(signer, input, now, &mut out)?;
        if now <= next.terms.settle_by() && next.phase != ReplicaPhase::GivenUp {
            next.call_reserves(now, &mut out);
            next.show(now, &mut out);
            next.attest(signer, now, &mut out);
            next.assemble(now, &mut out);
            next.say_again(resume, now, &mut out);
        }
        next.set_timer(resume, now, &mut out);
        let changed = next != *self;
        *self = next;
        Ok(Effects::new(changed, out))
    }

    fn take(
        &mut self,
        signer: &dyn Signer,
        input: ReplicaInput,
        now: Timestamp,
        out: &mut Out,
    ) -> Result<(), Rejected> {
        match input {
            ReplicaInput::Computed { results_root, fuel, nonce } => {
                self.commit(signer, Answer { results_root, fuel, nonce }, now, out)
            }
            ReplicaInput::Received { from, message } => self.receive(from, message, now, out),
            ReplicaInput::Timer => Ok(()),
            ReplicaInput::Resume => {
                if self.phase == ReplicaPhase::Computing {
                    out.push(Effect::Emit(ReplicaEvent::Compute));
                }
                out.extend(self.book.evidence().map(|evidence| Effect::Emit(ReplicaEvent::Equivocated(evidence))));
                Ok(())
            }
            ReplicaInput::Paid => {
                self.paid = true;
                Ok(())
            }
            ReplicaInput::GiveUp if self.has_attested() => Err(Reason::AlreadyAttested.ignore()),
            ReplicaInput::GiveUp => {
                self.phase = ReplicaPhase::GivenUp;
                Ok(())
            }
        }
    }

    fn commit(&mut self, signer: &dyn Signer, answer: Answer, now: Timestamp, out: &mut Out) -> Result<(), Rejected> {
        match &self.phase {
            ReplicaPhase::Computing => {}
            // The executor is deterministic: the same outcome again is a repetition.
            ReplicaPhase::Committed { answer: held, .. } if held.agrees_with(&answer) => return Ok(()),
            ReplicaPhase::Committed { .. } => return Err(Reason::AlreadyCommitted.ignore()),
            ReplicaPhase::Reserve => return Err(Reason::NotCalled.ignore()),
            ReplicaPhase::GivenUp => return Err(Reason::GivenUp.ignore()),
        }
        if answer.fuel > self.terms.order.max_fuel {
            return Err(Reason::FuelAboveMaximum { have: self.terms.order.max_fuel, need: answer.fuel }.ignore());
        }
        let by = if self.is_reserve() { self.terms.reserve_by } else { self.terms.commit_by };
        if now > by {
            return Err(Reason::TooLate { by, now }.ignore());
        }
        let order = self.terms.digest;
        let seal = seal(order, self.provider, answer.results_root, answer.fuel, answer.nonce);
        let signature = signer.sign(&Commit { order, seal }.digest(&self.terms.domain));
        let commit = SignedCommit { provider: self.provider, seal, signature };
        self.book.hold_commit(&self.terms, &commit, now, |_| true)?;
        self.book.hold_answer(&self.terms, self.me, &answer)?;
        self.phase = ReplicaPhase::Committed { answer, commit, at: now, shown: None };
        self.schedule(now);
        self.send_commit(out);
        Ok(())
    }

    fn receive(&mut self, from: Address, message: Message, now: Timestamp, out: &mut Out) -> Result<(), Rejected> {
        let author = self.terms.position(from);
        if author.is_none() && from != self.terms.payer {
            return Err(Reason::NotAMember(from).disconnect());
        }
        if self.phase == ReplicaPhase::GivenUp {
            return Err(Reason::GivenUp.ignore());
        }
        match message {
            Message::Commit(commit) => self.hold(&[commit], now, out),
            Message::Answer { answer, commits } => {
                self.hold(&commits, now, out)?;
                let author = author.ok_or(Reason::NotAMember(from).disconnect())?;
                self.book.hold_answer(&self.terms, author, &answer).map(|_| ())
            }
            Message::Result(results) => {
                let author = author.ok_or(Reason::NotAMember(from).disconnect())?;
                let (_, evidence) = self.book.hold_results(&self.terms, author, &results)?;
                out.extend(evidence.map(|evidence| Effect::Emit(ReplicaEvent::Equivocated(evidence))));
                Ok(())
            }
            Message::Call { commits } => {
                self.hold(&commits, now, out)?;
                if self.phase != ReplicaPhase::Reserve {
                    return Ok(());
                }
                let by = self.terms.reserve_by;
                if now > by {
                    return Err(Reason::TooLate { by, now }.ignore());
                }
                self.phase = ReplicaPhase::Computing;
                self.calls.seen(self.me, now);
                self.calls.open();
                out.push(Effect::Emit(ReplicaEvent::Compute));
                Ok(())
            }
        }
    }

    /// Writes Commits down and judges the new ones.
    fn hold(&mut self, commits: &[SignedCommit], now: Timestamp, out: &mut Out) -> Result<(), Rejected> {
        let hidden = !matches!(self.phase, ReplicaPhase::Committed { shown: Some(_), .. });
        let (reserves, own) = (self.terms.reserves(), self.is_reserve());
        let (commit_by, reserve_by) = (self.terms.commit_by, self.terms.reserve_by);
        // A reserve's Commit counts although others were shown the answer: it
        // never was itself, for only those whose Commit is held are.
        let counts = |index: usize| match (reserves.contains(index), own) {
            (true, _) => now <= reserve_by,
            (false, true) => hidden && now <= reserve_by,
            (false, false) => hidden && now <= commit_by,
        };
        let me = self.me;
        let others: Vec<SignedCommit> =
            commits.iter().filter(|commit| commit.provider != self.provider).copied().collect();
        for (index, kept) in self.book.hold_commits(&self.terms, &others, now, counts)? {
            match kept {
                Kept::Known => {}
                Kept::Conflict => {
                    let provider = self.terms.provider(index).unwrap_or_default();
                    out.push(Effect::Emit(ReplicaEvent::Conflicted(provider)));
                }
                Kept::New if reserves.contains(index) && index != me => {
                    self.calls.seen(index, now);
                    // It was not there when this replica committed.
                    if let (ReplicaPhase::Committed { commit, .. }, Some(to)) =
                        (&self.phase, self.terms.provider(index))
                    {
                        out.push(Effect::Send { to, message: Message::Commit(*commit) });
                    }
                }
                Kept::New => {}
            }
        }
        Ok(())
    }

    fn call_reserves(&mut self, now: Timestamp, out: &mut Out) {
        // A reserve that was not called has no say in whether others are.
        // One that is paid needs nobody else.
        if self.phase == ReplicaPhase::Reserve || self.paid {
            return;
        }
        let stalled = self.stalled(now);
        for index in self.calls.advance(&self.terms, &self.book, Some(self.me), stalled, now) {
            if let Some(to) = self.terms.provider(index) {
                out.push(Effect::Send { to, message: self.call() });
                self.schedule(now);
            }
        }
    }

    /// Shows the answer to whom it may be shown by now.
    fn show(&mut self, now: Timestamp, out: &mut Out) {
        let bound = self.book.bound();
        let others = bound.without(self.me);
        let ReplicaPhase::Committed { answer, at, shown, .. } = &mut self.phase else {
            return;
        };
        let new = match shown {
            Some(shown) => others.iter().filter(|index| !shown.contains(*index)).collect(),
            None => {
                let waited = if self.terms.reserves().contains(self.me) {
                    self.terms.first_wait().max(at.plus_secs(self.terms.timing.wait_secs))
                } else {
                    self.terms.first_wait()
                };
                let enough = others.len() >= self.terms.quorum().saturating_sub(1);
                if !(bound.covers(self.terms.actives()) || enough && now >= waited) {
                    return;
                }
                others
            }
        };
        let first = shown.is_none();
        if !first && new.is_empty() {
            return;
        }
        *shown = Some(shown.unwrap_or_default().union(new));
        let message = Message::Answer { answer: *answer, commits: self.book.commits(&self.terms, Some(self.me)) };
        let payer = first.then_some(self.terms.payer);
        let to = payer.into_iter().chain(new.iter().filter_map(|index| self.terms.provider(index)));
        out.extend(to.map(|to| Effect::Send { to, message: message.clone() }));
        self.schedule(now);
    }

    /// Signs a Result for every new subset of the equal answers.
    fn attest(&mut self, signer: &dyn Signer, now: Timestamp, out: &mut Out) {
        let ReplicaPhase::Committed { answer, shown: Some(_), .. } = self.phase else {
            return;
        };
        let complete =
            self.book.answered().covers(self.terms.actives()) && self.book.bound().covers(self.terms.actives());
        if !complete && now < self.terms.first_wait() {
            return;
        }
        let counted = self.attestable();
        let equal = self.book.groups(counted).into_iter().find(|group| group.outcome == answer.outcome());
        let Some(equal) = equal.filter(|group| group.members.contains(self.me)) else {
            return;
        };
        let mut signed = Vec::new();
        for members in equal.members.subsets(self.terms.quorum()).filter(|members| members.contains(self.me)) {
            if self.book.has_signed(self.me, members) {
                continue;
            }
            let Some(seals) = self.book.seals_of(members) else {
                continue;
            };
            let digest = statement(&self.terms, answer.outcome(), seals).digest(&self.terms.domain);
            let subset = SignedSubset { members, seals, signature: signer.sign(&digest) };
            self.book.hold_own_result(self.me, answer.outcome(), subset);
            signed.push(subset);
        }
        if signed.is_empty() {
            return;
        }
        self.attested_at = Some(now);
        let mut results = self.book.attestation(self.me, answer.outcome());
        results.signed = signed;
        self.send_results(equal.members, &Message::Result(results), out);
        self.schedule(now);
    }

    /// Looks for the largest quorum with this replica in it.
    fn assemble(&mut self, now: Timestamp, out: &mut Out) {
        let Some(outcome) = self.outcome() else {
            return;
        };
        let complete = self.book.complete(&self.terms, outcome).into_iter().filter(|members| members.contains(self.me));
        let Some(members) = complete.max_by_key(|members| members.len()) else {
            return;
        };
        let held = self.assembled.map_or(0, |assembled| assembled.members.len());
        if members.len() > held {
            let due = self.turn(members, now);
            // A larger quorum does not put off a turn that is coming up.
            let due = self.assembled.map_or(due, |assembled| assembled.due.min(due));
            self.assembled = Some(Assembled { members, due });
            if let Some(settlement) = self.settlement() {
                out.push(Effect::Emit(ReplicaEvent::QuorumAssembled(settlement)));
            }
        }
        if let Some(assembled) = self.assembled.filter(|assembled| !self.paid && now >= assembled.due)
            && let Some(settlement) = self.settlement()
        {
            let due = now.plus_secs(self.terms.timing.spacing_secs.max(1));
            self.assembled = Some(Assembled { due, ..assembled });
            out.push(Effect::Emit(ReplicaEvent::SettlementDue(settlement)));
        }
    }

    /// When it is this replica's turn to submit, counted from `now`.
    fn turn(&self, members: MemberSet, now: Timestamp) -> Timestamp {
        let Timing { spacing_secs, silence_secs, .. } = self.terms.timing;
        let place = (0_u64..).zip(self.terms.turns(members)).find(|(_, index)| *index == self.me);
        let after = place.map_or(0, |(place, _)| place).saturating_mul(spacing_secs);
        let due = now.plus_secs(silence_secs).plus_secs(after);
        // Never so late that settle-by passes while the transaction is under way.
        let last = Timestamp(self.terms.settle_by().0.saturating_sub(spacing_secs)).max(now);
        due.min(last)
    }

    /// Says everything once more when it is time, less and less often.
    fn say_again(&mut self, resume: bool, now: Timestamp, out: &mut Out) {
        let Some((at, step)) = self.resend else {
            return;
        };
        if resume {
            out.extend(self.settlement().map(|settlement| Effect::Emit(ReplicaEvent::QuorumAssembled(settlement))));
        } else if now < at {
            return;
        } else {
            let step = step.saturating_mul(2);
            self.resend = Some((now.plus_secs(step), step));
        }
        self.send_commit(out);
        let silent = |index: &usize| *index != self.me && self.book.commit(*index).is_none();
        for to in self.calls.members().iter().filter(silent).filter_map(|index| self.terms.provider(index)) {
            out.push(Effect::Send { to, message: self.call() });
        }
        if let ReplicaPhase::Committed { answer, shown: Some(shown), .. } = &self.phase {
            let message = Message::Answer { answer: *answer, commits: self.book.commits(&self.terms, Some(self.me)) };
            let to = shown.iter().filter_map(|index| self.terms.provider(index)).chain([self.terms.payer]);
            out.extend(to.map(|to| Effect::Send { to, message: message.clone() }));
        }
        let attested = self.attested();
        if let Some(outcome) = self.outcome().filter(|_| !attested.is_empty()) {
            let message = Message::Result(self.book.attestation(self.me, outcome));
            self.send_results(attested, &message, out);
        }
    }

    fn set_timer(&mut self, resume: bool, now: Timestamp, out: &mut Out) {
        let settle_by = self.terms.settle_by();
        let mut times = vec![self.terms.first_wait(), self.terms.second_wait()];
        times.extend(self.calls.next_timer(&self.terms, &self.book, now));
        times.extend(self.settle_at());
        times.extend(self.stalls_at());
        times.extend(self.resend.map(|(at, _)| at));
        if let ReplicaPhase::Committed { at, shown: None, .. } = &self.phase {
            times.push(at.plus_secs(self.terms.timing.wait_secs));
        }
        let idle = matches!(self.phase, ReplicaPhase::GivenUp | ReplicaPhase::Reserve);
        let next = times.into_iter().filter(|at| !idle && *at > now && *at <= settle_by).min();
        if next != self.timer || resume {
            self.timer = next;
            out.extend(next.map(|at| Effect::SetTimer { at }));
        }
    }

    fn is_reserve(&self) -> bool {
        self.terms.reserves().contains(self.me)
    }

    fn outcome(&self) -> Option<(ResultsRoot, u64)> {
        match &self.phase {
            ReplicaPhase::Committed { answer, .. } => Some(answer.outcome()),
            _ => None,
        }
    }

    /// Whose answers may stand beside this one's in a Result.
    fn attestable(&self) -> MemberSet {
        let reserves = self.terms.reserves();
        let open = self.calls.is_open();
        let bound = self.book.bound();
        bound.iter().filter(|index| *index == self.me || open || !reserves.contains(*index)).collect()
    }

    /// Everybody this replica stands beside in some Result.
    fn attested(&self) -> MemberSet {
        let subsets = self.terms.members().subsets(self.terms.quorum());
        subsets.filter(|members| self.book.has_signed(self.me, *members)).fold(MemberSet::EMPTY, MemberSet::union)
    }

    /// From when on one that stands beside this replica and signs nothing counts as missing.
    fn stalls_at(&self) -> Option<Timestamp> {
        let wait = self.terms.timing.wait_secs;
        self.attested_at.map(|at| at.plus_secs(wait).plus_secs(wait))
    }

    /// Who answered the same but does not attest: unpaid by its own choice, but
    /// without a quorum so would everybody else be.
    fn stalled(&self, now: Timestamp) -> MemberSet {
        if self.assembled.is_some() || self.stalls_at().is_none_or(|at| now < at) {
            return MemberSet::EMPTY;
        }
        let signers = self.outcome().map_or(MemberSet::EMPTY, |outcome| self.book.signers(outcome));
        signers.iter().fold(self.attested(), MemberSet::without)
    }

    fn call(&self) -> Message {
        Message::Call { commits: self.book.commits(&self.terms, Some(self.me)) }
    }

    fn send_commit(&self, out: &mut Out) {
        let ReplicaPhase::Committed { commit, .. } = &self.phase else {
            return;
        };
        let members = self.terms.actives().union(self.calls.members()).without(self.me);
        let to = members.iter().filter_map(|index| self.terms.provider(index)).chain([self.terms.payer]);
        out.extend(to.map(|to| Effect::Send { to, message: Message::Commit(*commit) }));
    }

    fn send_results(&self, members: MemberSet, message: &Message, out: &mut Out) {
        let members = members.without(self.me);
        let to = members.iter().filter_map(|index| self.terms.provider(index)).chain([self.terms.payer]);
        out.extend(to.map(|to| Effect::Send { to, message: message.clone() }));
    }

    /// Something new was said: repeat it soon, then ever more rarely.
    fn schedule(&mut self, now: Timestamp) {
        let step = self.terms.timing.wait_secs.max(1);
        self.resend = Some((now.plus_secs(step), step));
    }
}
