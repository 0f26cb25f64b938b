//! Each rule of SYM-22 alone, with every message placed by hand.

use crate::{
    simulation::check_settlement,
    world::{COMMIT_BY, FUEL, RESERVE_BY, Rng, SETTLE_BY, START, Setup, WAIT, lie, setup, truth},
};
use symbolon_primitives::{
    Address, Commit, Nonce, ResultStatement, ResultsRoot, Seal, Signer, Timestamp,
    order::{seal, seals_hash},
};
use symbolon_quorum::{
    Answer, Attestation, Effect, MemberSet, Message, Reason, Rejected, Remedy, Replica, ReplicaEvent, ReplicaInput,
    SignedCommit, SignedSubset, Verdict, VerdictEvent, VerdictInput,
};

type Sent = Vec<(Address, Message)>;

struct Table {
    setup: Setup,
    members: Vec<Replica>,
    /// Positions of the active replicas, then of the reserves.
    seats: Vec<usize>,
}

impl Table {
    fn new(quorum: u8) -> Self {
        let setup = setup(quorum, &mut Rng(1));
        let members = setup.keys.iter().map(|key| Replica::new(setup.terms.clone(), key.address()).unwrap()).collect();
        let seats = setup.terms.actives().iter().chain(setup.terms.reserves().iter()).collect();
        Self { setup, members, seats }
    }

    fn address(&self, seat: usize) -> Address {
        self.setup.keys[self.seats[seat]].address()
    }

    fn give(&mut self, seat: usize, input: ReplicaInput, now: u64) -> Result<(Sent, Vec<ReplicaEvent>), Rejected> {
        let index = self.seats[seat];
        let effects = self.members[index].handle(&self.setup.keys[index], input, Timestamp(now))?;
        let (mut sent, mut events) = (vec![], vec![]);
        for effect in effects {
            match effect {
                Effect::Send { to, message } => sent.push((to, message)),
                Effect::Emit(event) => events.push(event),
                _ => {}
            }
        }
        Ok((sent, events))
    }

    fn compute(&mut self, seat: usize, results_root: ResultsRoot, now: u64) -> Message {
        let nonce = Nonce::from_bytes([seat as u8 + 1; 32]);
        let (sent, _) = self.give(seat, ReplicaInput::Computed { results_root, fuel: FUEL, nonce }, now).unwrap();
        sent.into_iter().find(|(_, message)| matches!(message, Message::Commit(_))).unwrap().1
    }

    fn tell(&mut self, from: usize, to: usize, message: &Message, now: u64) -> (Sent, Vec<ReplicaEvent>) {
        self.try_tell(from, to, message, now).unwrap()
    }

    fn try_tell(
        &mut self,
        from: usize,
        to: usize,
        message: &Message,
        now: u64,
    ) -> Result<(Sent, Vec<ReplicaEvent>), Rejected> {
        let from = self.address(from);
        self.give(to, ReplicaInput::Received { from, message: message.clone() }, now)
    }

    fn tick(&mut self, seat: usize, now: u64) -> (Sent, Vec<ReplicaEvent>) {
        self.give(seat, ReplicaInput::Timer, now).unwrap()
    }

    fn set(&self, seats: &[usize]) -> MemberSet {
        seats.iter().map(|seat| self.seats[*seat]).collect()
    }
}

fn answer_to(sent: &Sent, to: Address) -> Option<Message> {
    sent.iter().find(|(at, message)| *at == to && matches!(message, Message::Answer { .. })).map(|(_, m)| m.clone())
}

fn result_to(sent: &Sent, to: Address) -> Option<Message> {
    sent.iter().find(|(at, message)| *at == to && matches!(message, Message::Result(_))).map(|(_, m)| m.clone())
}

fn subsets(message: &Message) -> Vec<MemberSet> {
    match message {
        Message::Result(results) => results.signed.iter().map(|subset| subset.members).collect(),
        _ => vec![],
    }
}

const T: u64 = START + 10;

#[test]
fn sym_22_one_commit_an_order() {
    let mut table = Table::new(2);
    let first = table.compute(0, truth(), T);
    assert!(matches!(first, Message::Commit(_)));
    let again = |root, nonce| ReplicaInput::Computed { results_root: root, fuel: FUEL, nonce };
    let (sent, _) = table.give(0, again(truth(), Nonce::from_bytes([9; 32])), T).unwrap();
    assert!(sent.is_empty(), "the same outcome with another nonce signs nothing");
    let refused = table.give(0, again(lie(1), Nonce::from_bytes([9; 32])), T).unwrap_err();
    assert_eq!(refused.reason, Reason::AlreadyCommitted);
}

#[test]
fn sym_22_an_answer_is_shown_only_once_all_active_commits_are_held() {
    let mut table = Table::new(3);
    let (payer, one, two) = (table.setup.payer, table.address(1), table.address(2));
    table.compute(0, truth(), T);
    let (b, c) = (table.compute(1, truth(), T), table.compute(2, truth(), T));
    let (sent, _) = table.tell(1, 0, &b, T + 1);
    assert!(answer_to(&sent, one).is_none() && answer_to(&sent, payer).is_none());
    let (sent, _) = table.tell(2, 0, &c, COMMIT_BY);
    for to in [payer, one, two] {
        assert!(answer_to(&sent, to).is_some());
    }
    assert!(answer_to(&sent, table.address(3)).is_none() && answer_to(&sent, table.address(4)).is_none());
}

#[test]
fn sym_22_or_once_those_of_a_quorum_are_held_and_the_wait_is_over() {
    let mut table = Table::new(2);
    // One active replica is silent; only the reserve makes a quorum.
    table.compute(0, truth(), T);
    let (sent, _) = table.tick(0, COMMIT_BY + WAIT - 1);
    assert!(!sent.iter().any(|(_, message)| matches!(message, Message::Call { .. })));
    let (sent, _) = table.tick(0, COMMIT_BY + WAIT);
    let call = sent.iter().find(|(to, message)| *to == table.address(2) && matches!(message, Message::Call { .. }));
    let call = call.unwrap().1.clone();
    assert!(answer_to(&sent, table.setup.payer).is_none(), "quorum - 1 others are not held");
    let (_, events) = table.tell(0, 2, &call, COMMIT_BY + WAIT + 1);
    assert_eq!(events, [ReplicaEvent::Compute]);
    let commit = table.compute(2, truth(), COMMIT_BY + 50);
    let (sent, _) = table.tell(2, 0, &commit, COMMIT_BY + 51);
    let reserve = table.address(2);
    let shown = answer_to(&sent, reserve).unwrap();
    assert!(answer_to(&sent, table.setup.payer).is_some());
    assert!(answer_to(&sent, table.address(1)).is_none(), "the silent one is bound by nothing");
    // The reserve gives its own commit one waiting time, then shows and attests.
    table.tell(0, 2, &shown, COMMIT_BY + 52);
    let (sent, _) = table.tick(2, COMMIT_BY + 50 + WAIT);
    let back = answer_to(&sent, table.address(0)).unwrap();
    let result = result_to(&sent, table.address(0)).unwrap();
    assert_eq!(subsets(&result), [table.set(&[0, 2])]);
    let (sent, _) = table.tell(2, 0, &back, COMMIT_BY + 61);
    assert_eq!(subsets(&result_to(&sent, reserve).unwrap()), [table.set(&[0, 2])]);
    let (_, events) = table.tell(2, 0, &result, COMMIT_BY + 62);
    let [ReplicaEvent::QuorumAssembled(settlement)] = events.as_slice() else { panic!("{events:?}") };
    check_settlement(&table.setup, settlement);
}

#[test]
fn sym_22_a_late_commit_is_never_attested_nor_shown_anything() {
    for (at, counts) in [(COMMIT_BY, true), (COMMIT_BY + 1, false)] {
        let mut table = Table::new(2);
        table.compute(0, truth(), T);
        let late = table.compute(1, truth(), T);
        let (sent, _) = table.tell(1, 0, &late, at);
        assert_eq!(answer_to(&sent, table.address(1)).is_some(), counts);
        let (sent, _) = table.tick(0, COMMIT_BY + WAIT);
        let called = sent.iter().any(|(_, message)| matches!(message, Message::Call { .. }));
        assert_eq!(called, !counts);
    }
}

#[test]
fn sym_22_who_commits_twice_is_never_attested() {
    let mut table = Table::new(2);
    let mut other = Table::new(2);
    table.compute(0, truth(), T);
    let (first, second) = (table.compute(1, truth(), T), other.compute(1, lie(1), T));
    // The answer leaves before the second Commit comes in ...
    table.tell(1, 0, &first, T);
    let (_, events) = table.tell(1, 0, &second, T + 1);
    assert_eq!(events, [ReplicaEvent::Conflicted(table.address(1))]);
    // ... but no Result does, whatever it answers.
    let (sent, _) = table.tell(0, 1, &table_commit(&table, 0), T + 2);
    let answer = answer_to(&sent, table.address(0)).unwrap();
    let (sent, _) = table.tell(1, 0, &answer, COMMIT_BY + WAIT);
    assert!(result_to(&sent, table.address(1)).is_none());
    assert!(sent.iter().any(|(to, message)| *to == table.address(2) && matches!(message, Message::Call { .. })));
}

/// The Commit of a seat, as it says it again.
fn table_commit(table: &Table, seat: usize) -> Message {
    match table.members[table.seats[seat]].phase() {
        symbolon_quorum::ReplicaPhase::Committed { commit, .. } => Message::Commit(*commit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sym_22_an_answer_has_to_fit_its_seal() {
    let mut table = Table::new(2);
    let (a, b) = (table.compute(0, truth(), T), table.compute(1, truth(), T));
    let (sent, _) = table.tell(0, 1, &a, T);
    let Some(Message::Answer { mut answer, commits }) = answer_to(&sent, table.address(0)) else { panic!() };
    for change in 0..3 {
        let mut forged = answer;
        match change {
            0 => forged.results_root = lie(1),
            1 => forged.fuel += 1,
            _ => forged.nonce = Nonce::from_bytes([0xff; 32]),
        }
        let message = Message::Answer { answer: forged, commits: commits.clone() };
        let refused = table.try_tell(1, 0, &message, T).unwrap_err();
        assert_eq!(refused, Rejected { remedy: Remedy::Warn, reason: Reason::SealMismatch(table.address(1)) });
    }
    let bare = Message::Answer { answer, commits: vec![] };
    assert_eq!(table.try_tell(1, 0, &bare, T).unwrap_err().reason, Reason::NoCommit(table.address(1)));
    answer.fuel = 1_001;
    let greedy = Message::Answer { answer, commits };
    let refused = table.try_tell(1, 0, &greedy, T).unwrap_err();
    assert_eq!(refused.reason, Reason::FuelAboveMaximum { have: 1_000, need: 1_001 });
    table.tell(1, 0, &b, T);
}

#[test]
fn sym_22_equal_answers_are_attested_at_once_when_all_are_there() {
    let mut table = Table::new(2);
    let (a, b) = (table.compute(0, truth(), T), table.compute(1, truth(), T));
    let (from_a, _) = table.tell(1, 0, &b, T);
    let (from_b, _) = table.tell(0, 1, &a, T);
    let (zero, one) = (table.address(0), table.address(1));
    let (sent, _) = table.tell(0, 1, &answer_to(&from_a, one).unwrap(), T + 1);
    let of_b = result_to(&sent, zero).unwrap();
    let (sent, _) = table.tell(1, 0, &answer_to(&from_b, zero).unwrap(), T + 1);
    assert_eq!(subsets(&result_to(&sent, one).unwrap()), [table.set(&[0, 1])]);
    let (_, events) = table.tell(1, 0, &of_b, T + 2);
    assert!(matches!(events.as_slice(), [ReplicaEvent::QuorumAssembled(_)]));
}

#[test]
fn sym_11_replicas_submit_in_turns_until_somebody_paid() {
    let mut table = Table::new(2);
    let (a, b) = (table.compute(0, truth(), T), table.compute(1, truth(), T));
    let (from_a, _) = table.tell(1, 0, &b, T);
    let (from_b, _) = table.tell(0, 1, &a, T);
    let (zero, one) = (table.address(0), table.address(1));
    let (of_b, _) = table.tell(0, 1, &answer_to(&from_a, one).unwrap(), T);
    let (of_a, _) = table.tell(1, 0, &answer_to(&from_b, zero).unwrap(), T);
    table.tell(1, 0, &result_to(&of_b, zero).unwrap(), T);
    table.tell(0, 1, &result_to(&of_a, one).unwrap(), T);
    let at = |table: &Table, seat: usize| table.members[table.seats[seat]].settle_at().unwrap().0;
    let turns = table.setup.terms.turns(table.set(&[0, 1]));
    let (early, late) = if turns[0] == table.seats[0] { (0, 1) } else { (1, 0) };
    assert_eq!((at(&table, early), at(&table, late)), (T + 60, T + 120));
    assert!(table.tick(early, T + 59).1.is_empty());
    let (_, events) = table.tick(early, T + 60);
    assert!(matches!(events.as_slice(), [ReplicaEvent::SettlementDue(_)]));
    // Not confirmed: the next turn comes.
    let (_, events) = table.tick(early, T + 120);
    assert!(matches!(events.as_slice(), [ReplicaEvent::SettlementDue(_)]));
    table.give(late, ReplicaInput::Paid, T + 70).unwrap();
    assert!(table.tick(late, T + 120).1.is_empty());
    // After settle-by nothing is submitted.
    assert!(table.tick(early, SETTLE_BY + 1).1.is_empty());
}

#[test]
fn sym_22_a_reserve_that_all_others_do_without_is_not_attested() {
    let mut table = Table::new(2);
    let (a, b) = (table.compute(0, truth(), T), table.compute(1, truth(), T));
    // The payer calls it although nobody is missing.
    let payer = table.setup.payer;
    let call = ReplicaInput::Received { from: payer, message: Message::Call { commits: vec![] } };
    let (_, events) = table.give(2, call, T).unwrap();
    assert_eq!(events, [ReplicaEvent::Compute]);
    let r = table.compute(2, truth(), T);
    let (sent, _) = table.tell(1, 0, &b, T);
    assert!(answer_to(&sent, table.address(1)).is_some());
    let (from_b, _) = table.tell(0, 1, &a, T);
    let (sent, _) = table.tell(2, 0, &r, T);
    assert!(sent.contains(&(table.address(2), a.clone())), "it is told the Commit it was not there for");
    table.tell(0, 2, &a, T);
    table.tell(1, 2, &b, T);
    let (sent, _) = table.tick(2, COMMIT_BY + WAIT);
    let answer = answer_to(&sent, table.address(0)).or_else(|| {
        let again = table.give(2, ReplicaInput::Resume, COMMIT_BY + WAIT).unwrap().0;
        answer_to(&again, table.address(0))
    });
    table.tell(2, 0, &answer.unwrap(), COMMIT_BY + WAIT);
    let zero = table.address(0);
    let (sent, _) = table.tell(1, 0, &answer_to(&from_b, zero).unwrap(), COMMIT_BY + WAIT);
    assert_eq!(subsets(&result_to(&sent, table.address(1)).unwrap()), [table.set(&[0, 1])]);
}

#[test]
fn sym_22_differing_answers_call_a_reserve_at_once_and_every_subset_is_signed() {
    let mut table = Table::new(3);
    let commits = [table.compute(0, truth(), T), table.compute(1, truth(), T), table.compute(2, lie(1), T)];
    let mut answers = vec![Sent::new(); 3];
    for (from, commit) in commits.iter().enumerate() {
        for (to, answers) in answers.iter_mut().enumerate().filter(|(to, _)| *to != from) {
            let (sent, _) = table.tell(from, to, commit, T);
            answers.extend(sent);
        }
    }
    let zero = table.address(0);
    let (sent, _) = table.tell(1, 0, &answer_to(&answers[1], zero).unwrap(), T + 1);
    assert!(sent.is_empty());
    let (sent, _) = table.tell(2, 0, &answer_to(&answers[2], zero).unwrap(), T + 1);
    let calls: Vec<Address> =
        sent.iter().filter(|(_, message)| matches!(message, Message::Call { .. })).map(|(to, _)| *to).collect();
    assert_eq!(calls, [table.address(3)], "one dissenter, one reserve");
    let call = sent.iter().find(|(_, message)| matches!(message, Message::Call { .. })).unwrap().1.clone();
    table.tell(0, 3, &call, T + 2);
    let commit = table.compute(3, truth(), T + 30);
    let (sent, _) = table.tell(3, 0, &commit, T + 31);
    let three = table.address(3);
    assert!(answer_to(&sent, three).is_some());
    // The reserve holds all active Commits from the call: it need not wait.
    let again = table.give(3, ReplicaInput::Resume, T + 32).unwrap().0;
    let (sent, _) = table.tell(3, 0, &answer_to(&again, zero).unwrap(), T + 33);
    let result = result_to(&sent, three).unwrap();
    assert_eq!(subsets(&result), [table.set(&[0, 1, 3])]);
    assert!(result_to(&sent, table.address(2)).is_none(), "a dissenter is sent nothing");
}

#[test]
fn sym_22_a_reserves_commit_is_judged_by_reserve_by() {
    for (at, counts) in [(RESERVE_BY, true), (RESERVE_BY + 1, false)] {
        let mut table = Table::new(2);
        table.compute(0, truth(), T);
        let (sent, _) = table.tick(0, COMMIT_BY + WAIT);
        let call = sent.into_iter().find(|(_, message)| matches!(message, Message::Call { .. })).unwrap().1;
        table.tell(0, 2, &call, COMMIT_BY + WAIT);
        let commit = table.compute(2, truth(), RESERVE_BY);
        let (sent, _) = table.tell(2, 0, &commit, at);
        assert_eq!(answer_to(&sent, table.address(2)).is_some(), counts);
    }
}

#[test]
fn sym_22_a_reserve_that_was_not_called_computes_nothing() {
    let mut table = Table::new(2);
    let computed = ReplicaInput::Computed { results_root: truth(), fuel: FUEL, nonce: Nonce::default() };
    assert_eq!(table.give(2, computed.clone(), T).unwrap_err().reason, Reason::NotCalled);
    let call = Message::Call { commits: vec![] };
    assert!(matches!(table.try_tell(0, 2, &call, RESERVE_BY + 1).unwrap_err().reason, Reason::TooLate { .. }));
    let stranger = ReplicaInput::Received { from: Address::repeat_byte(9), message: call };
    let refused = table.give(2, stranger, T).unwrap_err();
    assert_eq!((refused.remedy, refused.reason), (Remedy::Disconnect, Reason::NotAMember(Address::repeat_byte(9))));
    assert!(matches!(
        table.give(0, computed, COMMIT_BY + 1).unwrap_err().reason,
        Reason::TooLate { by: Timestamp(COMMIT_BY), .. }
    ));
}

#[test]
fn sym_21_who_gave_up_signs_nothing_and_who_attested_cannot() {
    let mut table = Table::new(2);
    table.give(0, ReplicaInput::GiveUp, T).unwrap();
    let computed = ReplicaInput::Computed { results_root: truth(), fuel: FUEL, nonce: Nonce::default() };
    assert_eq!(table.give(0, computed, T).unwrap_err().reason, Reason::GivenUp);

    let mut table = Table::new(2);
    let (a, b) = (table.compute(0, truth(), T), table.compute(1, truth(), T));
    table.tell(1, 0, &b, T);
    let (from_b, _) = table.tell(0, 1, &a, T);
    let zero = table.address(0);
    table.tell(1, 0, &answer_to(&from_b, zero).unwrap(), T);
    assert_eq!(table.give(0, ReplicaInput::GiveUp, T).unwrap_err().reason, Reason::AlreadyAttested);
}

#[test]
fn sym_23_the_payer_pays_against_signed_results_and_later_arrivals_too() {
    let mut table = Table::new(2);
    let mut verdict = Verdict::new(table.setup.terms.clone());
    let (a, b) = (table.compute(0, truth(), T), table.compute(1, truth(), T));
    let (from_a, _) = table.tell(1, 0, &b, T);
    let (from_b, _) = table.tell(0, 1, &a, T);
    let (zero, one, payer) = (table.address(0), table.address(1), table.setup.payer);
    let (of_b, _) = table.tell(0, 1, &answer_to(&from_a, one).unwrap(), T);
    let (of_a, _) = table.tell(1, 0, &answer_to(&from_b, zero).unwrap(), T);
    let mut tell = |from: Address, message: Message, now: u64| {
        let effects = verdict.handle(VerdictInput::Received { from, message }, Timestamp(now)).unwrap();
        let events = effects.into_iter().filter_map(|effect| match effect {
            Effect::Emit(event) => Some(event),
            _ => None,
        });
        events.collect::<Vec<_>>()
    };
    assert!(tell(zero, answer_to(&from_a, payer).unwrap(), T).is_empty());
    let decided = VerdictEvent::Decided { results_root: truth(), fuel: FUEL };
    assert_eq!(tell(one, answer_to(&from_b, payer).unwrap(), T), [decided]);
    let events = tell(one, result_to(&of_b, payer).unwrap(), T);
    assert!(matches!(events.as_slice(), [VerdictEvent::Agreed { leaf, .. }] if leaf.provider == one));
    assert!(tell(one, result_to(&of_b, payer).unwrap(), T).is_empty(), "once");
    let events = tell(zero, result_to(&of_a, payer).unwrap(), SETTLE_BY - 1);
    assert!(matches!(events.as_slice(), [VerdictEvent::Agreed { leaf, .. }] if leaf.provider == zero));
    check_settlement(&table.setup, &verdict.settlement().unwrap());
    let call = VerdictInput::Received { from: zero, message: Message::Call { commits: vec![] } };
    assert_eq!(verdict.handle(call, Timestamp(T)).unwrap_err().reason, Reason::NotForPayer);
}

/// What a reserve says to the payer when it has copied the truth: a Commit, the answer, a Result with `beside`.
fn copy_of(table: &Table, seat: usize, beside: &[(usize, Seal)]) -> [Message; 3] {
    let (order, domain) = (table.setup.terms.digest(), table.setup.domain);
    let key = &table.setup.keys[table.seats[seat]];
    let (provider, nonce) = (key.address(), Nonce::from_bytes([0xc0; 32]));
    let own = seal(order, provider, truth(), FUEL, nonce);
    let signature = key.sign(&Commit { order, seal: own }.digest(&domain));
    let mut seals: Vec<(usize, Seal)> = beside.iter().map(|(seat, seal)| (table.seats[*seat], *seal)).collect();
    seals.push((table.seats[seat], own));
    seals.sort_unstable_by_key(|(index, _)| *index);
    let members: MemberSet = seals.iter().map(|(index, _)| *index).collect();
    let seals = seals_hash(&seals.iter().map(|(_, seal)| *seal).collect::<Vec<_>>()).into();
    let statement = ResultStatement { order, results_root: truth(), fuel: FUEL, seals };
    let subset = SignedSubset { members, seals, signature: key.sign(&statement.digest(&domain)) };
    [
        Message::Commit(SignedCommit { provider, seal: own, signature }),
        Message::Answer { answer: Answer { results_root: truth(), fuel: FUEL, nonce }, commits: vec![] },
        Message::Result(Attestation { results_root: truth(), fuel: FUEL, signed: vec![subset] }),
    ]
}

#[test]
fn sym_22_a_reserve_is_paid_only_where_those_who_showed_it_their_answers_attest_it() {
    // Three of five: two honest, a liar, and a reserve that shows one member junk, copies, and commits the copy to the
    // payer, which cannot know what it saw.
    let mut table = Table::new(3);
    let mut verdict = Verdict::new(table.setup.terms.clone());
    let commits = [table.compute(0, truth(), T), table.compute(1, truth(), T), table.compute(2, lie(1), T)];
    let payer = table.setup.payer;
    let mut sent = vec![Sent::new(); 3];
    for (from, commit) in commits.iter().enumerate() {
        for (to, sent) in sent.iter_mut().enumerate().filter(|(to, _)| *to != from) {
            sent.extend(table.tell(from, to, commit, T).0);
        }
    }
    let mut tell = |from: Address, message: Message| {
        let effects = verdict.handle(VerdictInput::Received { from, message }, Timestamp(T + 1)).unwrap();
        let events = effects.into_iter().filter_map(|effect| match effect {
            Effect::Emit(event) => Some(event),
            _ => None,
        });
        events.collect::<Vec<_>>()
    };
    for (seat, sent) in sent.iter().enumerate() {
        let events = tell(table.address(seat), answer_to(sent, payer).unwrap());
        let called = matches!(events.as_slice(), [VerdictEvent::ReserveCalled(_)]);
        assert_eq!(called, seat == 2, "differing answers call a reserve");
    }
    let seal_of = |seat: usize| match &commits[seat] {
        Message::Commit(commit) => (seat, commit.seal),
        other => panic!("{other:?}"),
    };
    let reserve = table.address(3);
    let (beside_one, beside_two) = (seal_of(0), seal_of(1));
    for message in copy_of(&table, 3, &[beside_one, beside_two]) {
        let events = tell(reserve, message);
        assert!(events.is_empty(), "a copy decides nothing and is not paid: {events:?}");
    }
    // The two have not shown it their answers before this Commit, and attest it: now it is.
    let order = table.setup.terms.digest();
    let own = seal(order, reserve, truth(), FUEL, Nonce::from_bytes([0xc0; 32]));
    let mut seals = [beside_one, beside_two, (3, own)].map(|(seat, seal)| (table.seats[seat], seal));
    seals.sort_unstable_by_key(|(index, _)| *index);
    let members: MemberSet = seals.iter().map(|(index, _)| *index).collect();
    let seals = seals_hash(&seals.map(|(_, seal)| seal)).into();
    let statement = ResultStatement { order, results_root: truth(), fuel: FUEL, seals };
    let mut paid = Vec::new();
    for seat in [0, 1] {
        let signature = table.setup.keys[table.seats[seat]].sign(&statement.digest(&table.setup.domain));
        let signed = vec![SignedSubset { members, seals, signature }];
        let result = Message::Result(Attestation { results_root: truth(), fuel: FUEL, signed });
        paid = tell(table.address(seat), result);
    }
    let agreed = paid.iter().filter(|event| matches!(event, VerdictEvent::Agreed { .. })).count();
    assert_eq!((agreed, paid.len()), (3, 5), "{paid:?}");
}

#[test]
fn sym_23_a_payer_that_was_away_until_after_settle_by_learns_the_quorum_by_asking() {
    let mut table = Table::new(2);
    assert!(table.members[table.seats[0]].said().is_empty(), "nothing was committed");
    let (a, b) = (table.compute(0, truth(), T), table.compute(1, truth(), T));
    assert_eq!(table.members[table.seats[0]].said(), std::slice::from_ref(&a), "the answer was shown to nobody");
    let (from_a, _) = table.tell(1, 0, &b, T);
    let (from_b, _) = table.tell(0, 1, &a, T);
    let (zero, one) = (table.address(0), table.address(1));
    table.tell(0, 1, &answer_to(&from_a, one).unwrap(), T);
    table.tell(1, 0, &answer_to(&from_b, zero).unwrap(), T);
    let mut verdict = Verdict::new(table.setup.terms.clone());
    let mut events = Vec::new();
    let late = Timestamp(SETTLE_BY + 1_000);
    let resumed = verdict.handle(VerdictInput::Resume, late).unwrap();
    assert!(resumed.into_iter().any(|effect| effect == Effect::Emit(VerdictEvent::Undecided)));
    for seat in [0, 1] {
        let from = table.address(seat);
        for message in table.members[table.seats[seat]].said() {
            let effects = verdict.handle(VerdictInput::Received { from, message }, late).unwrap();
            events.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Emit(event) => Some(event),
                _ => None,
            }));
        }
    }
    assert!(events.contains(&VerdictEvent::Decided { results_root: truth(), fuel: FUEL }));
    assert_eq!(events.iter().filter(|event| matches!(event, VerdictEvent::Agreed { .. })).count(), 2);
    assert_eq!(verdict.agreed(), table.set(&[0, 1]));
    assert!(!verdict.is_undecided());
    check_settlement(&table.setup, &verdict.settlement().unwrap());
}

#[test]
fn sym_23_the_payer_calls_the_next_reserve_and_names_who_is_missing() {
    let table = Table::new(2);
    let mut verdict = Verdict::new(table.setup.terms.clone());
    let mut tick = |now: u64| {
        let effects = verdict.handle(VerdictInput::Timer, Timestamp(now)).unwrap();
        effects.into_iter().filter(|effect| matches!(effect, Effect::Emit(_) | Effect::Send { .. })).collect::<Vec<_>>()
    };
    assert!(tick(COMMIT_BY + WAIT - 1).is_empty());
    let effects = tick(COMMIT_BY + WAIT);
    assert!(matches!(&effects[0], Effect::Send { to, message: Message::Call { .. } } if *to == table.address(2)));
    assert!(matches!(&effects[1], Effect::Emit(VerdictEvent::ReserveCalled(_))));
    let effects = tick(RESERVE_BY + 2 * WAIT);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Emit(VerdictEvent::Missing(_)))).count(), 3);
    assert!(effects.contains(&Effect::Emit(VerdictEvent::Undecided)));
    assert!(tick(SETTLE_BY + 1).is_empty(), "said once");
    assert_eq!((verdict.called(), verdict.missing()), (table.set(&[2]), table.set(&[0, 1, 2])));
}
