//! Whole orders, K = 2, 3, 4 with 2K-1 members, fewer than K of them hostile,
//! over a network that delays, reorders, duplicates and delivers late, with
//! processes that die between storing and sending. A failing seed is printed.
//! `SYMBOLON_SEEDS` widens the run.

use crate::world::{COMMIT_BY, FUEL, Rng, SETTLE_BY, START, Setup, lie, setup, truth};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_primitives::{Commit, ResultStatement, ResultsRoot, Seal, Signer, Timestamp};
use symbolon_quorum::{
    Attestation, Effect, MemberSet, Message, Replica, ReplicaEvent, ReplicaInput, ReplicaPhase, Settlement,
    SignedCommit, Verdict, VerdictEvent, VerdictInput,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Honest,
    /// Computes something else; liars may agree on what.
    Liar(u8),
    /// Commits after commit-by, its clock set back.
    Late,
    /// Falls silent for ever at some time.
    Crasher(u64),
    /// Computes nothing; commits to whatever answer it can get hold of.
    Copier {
        junk_first: bool,
    },
    /// Commits, never shows its answer.
    Withholder,
    /// Answers, never attests.
    NoResult,
    /// Tells half of the members another Commit.
    TwoFaced,
    /// Signs a second, different Result.
    DoubleSigner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PayerRole {
    Honest,
    Silent,
    /// Shows every answer it gets to every copier.
    Leaky,
}

#[derive(Clone, Debug)]
enum Happening {
    Deliver { from: usize, message: Message },
    Timer,
    Compute,
    Resume,
    Paid,
}

/// Index of the payer among the actors.
const PAYER: usize = 100;

struct World {
    setup: Setup,
    roles: Vec<Role>,
    payer_role: PayerRole,
    replicas: Vec<Replica>,
    verdict: Verdict,
    queue: BTreeMap<(u64, u64), (usize, Happening)>,
    sequence: u64,
    rng: Rng,
    hiccups: bool,
    now: u64,
    computed: BTreeSet<usize>,
    /// Outcomes each honest replica signed Results over, and beside whom.
    signed: BTreeMap<usize, BTreeSet<(ResultsRoot, u64)>>,
    beside: BTreeMap<usize, MemberSet>,
    settlements: Vec<(usize, Settlement)>,
    due: Vec<usize>,
    settled: bool,
    decided: Option<(ResultsRoot, u64)>,
    agreed: BTreeSet<usize>,
    dissented: BTreeSet<usize>,
    undecided: bool,
    evidence: BTreeSet<usize>,
    called: BTreeSet<usize>,
    paid: BTreeSet<usize>,
}

impl World {
    fn new(quorum: u8, roles: Vec<Role>, payer_role: PayerRole, hiccups: bool, mut rng: Rng) -> Self {
        let setup = setup(quorum, &mut rng);
        let replicas = setup.keys.iter().map(|key| Replica::new(setup.terms.clone(), key.address()).unwrap()).collect();
        let verdict = Verdict::new(setup.terms.clone());
        let mut world = Self {
            setup,
            roles,
            payer_role,
            replicas,
            verdict,
            queue: BTreeMap::new(),
            sequence: 0,
            rng,
            hiccups,
            now: START,
            computed: BTreeSet::new(),
            signed: BTreeMap::new(),
            beside: BTreeMap::new(),
            settlements: Vec::new(),
            due: Vec::new(),
            settled: false,
            decided: None,
            agreed: BTreeSet::new(),
            dissented: BTreeSet::new(),
            undecided: false,
            evidence: BTreeSet::new(),
            called: BTreeSet::new(),
            paid: BTreeSet::new(),
        };
        for index in world.setup.terms.actives().iter() {
            let at = START + 5 + world.rng.below(40);
            let at = if world.roles[index] == Role::Late { COMMIT_BY + 1 + world.rng.below(30) } else { at };
            world.put(at, index, Happening::Compute);
            world.put(START, index, Happening::Timer);
        }
        world.put(START, PAYER, Happening::Timer);
        for index in 0..world.roles.len() {
            if world.roles[index] == (Role::Copier { junk_first: true }) {
                world.junk_commit(index);
            }
        }
        world
    }

    fn put(&mut self, at: u64, to: usize, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (to, happening));
    }

    fn index_of(&self, address: symbolon_primitives::Address) -> usize {
        self.setup.terms.position(address).unwrap_or(PAYER)
    }

    /// Delivers once or twice, in any order, sometimes much later.
    fn post(&mut self, from: usize, to: usize, message: Message) {
        for _ in 0..if self.rng.chance(10) { 2 } else { 1 } {
            let late = if self.rng.chance(10) { self.rng.below(15) } else { 0 };
            let at = self.now + self.rng.below(6) + late;
            self.put(at, to, Happening::Deliver { from, message: message.clone() });
        }
    }

    fn junk_commit(&mut self, index: usize) {
        let key = &self.setup.keys[index];
        let seal = Seal::from_bytes([0x66; 32]);
        let commit = Commit { order: self.setup.terms.digest(), seal };
        let signature = key.sign(&commit.digest(&self.setup.domain));
        let commit = SignedCommit { provider: key.address(), seal, signature };
        for to in (0..self.roles.len()).chain([PAYER]) {
            self.post(index, to, Message::Commit(commit));
        }
    }

    fn run(&mut self) {
        while let Some(((at, _), (to, happening))) = self.queue.pop_first() {
            if at > SETTLE_BY + 50 {
                break;
            }
            self.now = at;
            if to == PAYER {
                self.payer_takes(happening);
            } else {
                self.member_takes(to, happening);
            }
        }
    }

    fn payer_takes(&mut self, happening: Happening) {
        let input = match happening {
            Happening::Deliver { from, message } => {
                if self.payer_role == PayerRole::Leaky
                    && let Message::Answer { .. } = &message
                {
                    for index in 0..self.roles.len() {
                        if matches!(self.roles[index], Role::Copier { .. }) {
                            self.post(from, index, message.clone());
                        }
                    }
                }
                VerdictInput::Received { from: self.setup.keys[from].address(), message }
            }
            Happening::Resume => VerdictInput::Resume,
            _ => VerdictInput::Timer,
        };
        if self.payer_role == PayerRole::Silent {
            return;
        }
        let before = self.verdict.clone();
        let Ok(effects) = self.verdict.handle(input.clone(), Timestamp(self.now)) else {
            assert_eq!(before, self.verdict, "a refusal changes nothing");
            return;
        };
        self.verdict = stored(&self.verdict);
        if self.hiccups && self.rng.chance(3) {
            let at = self.now + 1 + self.rng.below(5);
            self.put(at, PAYER, Happening::Resume);
            return;
        }
        for effect in effects {
            match effect {
                Effect::Persist => {}
                Effect::Send { to, message } => {
                    let to = self.index_of(to);
                    self.post(PAYER, to, message);
                }
                Effect::SetTimer { at } => self.put(at.0, PAYER, Happening::Timer),
                Effect::Emit(event) => match event {
                    VerdictEvent::Decided { results_root, fuel } => {
                        assert!(self.decided.is_none_or(|before| before == (results_root, fuel)));
                        self.decided = Some((results_root, fuel));
                    }
                    VerdictEvent::Agreed { leaf, fuel, result } => {
                        assert_eq!(
                            Some((result.statement.results_root, fuel)),
                            self.decided.or(self.verdict.canonical())
                        );
                        let digest = result.statement.digest(&self.setup.domain);
                        assert_eq!(result.signature.check(&digest, leaf.provider), Ok(()));
                        let index = self.index_of(leaf.provider);
                        self.agreed.insert(index);
                        self.put(self.now + 3, index, Happening::Paid);
                    }
                    VerdictEvent::Dissented(provider) => {
                        self.dissented.insert(self.index_of(provider));
                    }
                    VerdictEvent::Undecided => self.undecided = true,
                    VerdictEvent::Equivocated(evidence) => {
                        self.evidence.insert(self.index_of(evidence.provider));
                    }
                    _ => {}
                },
            }
        }
    }

    fn member_takes(&mut self, me: usize, happening: Happening) {
        let role = self.roles[me];
        if matches!(role, Role::Crasher(at) if self.now >= at) {
            return;
        }
        let input = match happening {
            Happening::Deliver { from, message } => {
                let copied = match &message {
                    Message::Answer { answer, .. } if matches!(role, Role::Copier { .. }) => Some(*answer),
                    _ => None,
                };
                if let Some(answer) = copied {
                    // It commits to what it saw, with its clock set back.
                    let nonce = self.rng.nonce();
                    let (results_root, fuel) = (answer.results_root, answer.fuel);
                    let input = ReplicaInput::Computed { results_root, fuel, nonce };
                    self.drive(me, input, COMMIT_BY.min(self.now));
                }
                let from = if from == PAYER { self.setup.payer } else { self.setup.keys[from].address() };
                ReplicaInput::Received { from, message }
            }
            Happening::Compute => {
                self.computed.insert(me);
                if matches!(role, Role::Copier { .. }) {
                    return;
                }
                let results_root = if let Role::Liar(which) = role { lie(which) } else { truth() };
                ReplicaInput::Computed { results_root, fuel: FUEL, nonce: self.rng.nonce() }
            }
            Happening::Timer => ReplicaInput::Timer,
            Happening::Resume => ReplicaInput::Resume,
            Happening::Paid => {
                self.paid.insert(me);
                ReplicaInput::Paid
            }
        };
        let computing = matches!(input, ReplicaInput::Computed { .. });
        let clock = if role == Role::Late && computing && !self.setup.terms.reserves().contains(me) {
            COMMIT_BY.min(self.now)
        } else {
            self.now
        };
        self.drive(me, input, clock);
    }

    fn drive(&mut self, me: usize, input: ReplicaInput, clock: u64) {
        let before = self.replicas[me].clone();
        let honest = self.roles[me] == Role::Honest;
        let Ok(effects) = self.replicas[me].handle(&self.setup.keys[me], input.clone(), Timestamp(clock)) else {
            assert_eq!(before, self.replicas[me], "a refusal changes nothing");
            return;
        };
        // L7: the same message again, at the same time, changes nothing.
        if matches!(input, ReplicaInput::Received { .. }) {
            let mut again = self.replicas[me].clone();
            if again.handle(&self.setup.keys[me], input.clone(), Timestamp(clock)).is_ok() {
                assert_eq!(again, self.replicas[me]);
            }
        }
        assert_eq!(before != self.replicas[me], effects.iter().next() == Some(&Effect::Persist), "persist comes first");
        assert!(effects.iter().skip(1).all(|effect| *effect != Effect::Persist));
        if self.hiccups && honest && self.rng.chance(3) {
            if self.rng.chance(50) {
                // Killed before the store answered: nothing happened. The other
                // side has no acknowledgement and says it again.
                self.replicas[me] = before;
                if let ReplicaInput::Received { from, message } = input {
                    let from = self.index_of(from);
                    self.post(from, me, message);
                }
            }
            self.replicas[me] = stored(&self.replicas[me]);
            let at = self.now + 1 + self.rng.below(5);
            self.put(at, me, Happening::Resume);
            return;
        }
        self.replicas[me] = stored(&self.replicas[me]);
        for effect in effects {
            self.carry_out(me, effect);
        }
    }

    fn carry_out(&mut self, me: usize, effect: Effect<ReplicaEvent>) {
        let role = self.roles[me];
        match effect {
            Effect::Persist => {}
            Effect::SetTimer { at } => self.put(at.0, me, Happening::Timer),
            Effect::Send { to, message } => {
                let to = self.index_of(to);
                match (&message, role) {
                    (Message::Answer { .. } | Message::Result(_), Role::Withholder) => return,
                    (Message::Result(_), Role::NoResult) => return,
                    (Message::Result(results), Role::Honest) => {
                        self.signed.entry(me).or_default().insert((results.results_root, results.fuel));
                        let beside = self.beside.entry(me).or_default();
                        *beside = results.signed.iter().fold(*beside, |all, subset| all.union(subset.members));
                    }
                    (Message::Result(results), Role::DoubleSigner) => {
                        let (results_root, fuel) = (lie(9), results.fuel);
                        let mut subset = results.signed[0];
                        let order = self.setup.terms.digest();
                        let statement = ResultStatement { order, results_root, fuel, seals: subset.seals };
                        subset.signature = self.setup.keys[me].sign(&statement.digest(&self.setup.domain));
                        let second = Attestation { results_root, fuel, signed: vec![subset] };
                        self.post(me, to, Message::Result(second));
                    }
                    (Message::Commit(_), Role::TwoFaced) if to % 2 == 1 => {
                        let key = &self.setup.keys[me];
                        let seal = Seal::from_bytes([0x67; 32]);
                        let commit = Commit { order: self.setup.terms.digest(), seal };
                        let signature = key.sign(&commit.digest(&self.setup.domain));
                        let commit = SignedCommit { provider: key.address(), seal, signature };
                        self.post(me, to, Message::Commit(commit));
                        return;
                    }
                    _ => {}
                }
                self.post(me, to, message);
            }
            Effect::Emit(event) => match event {
                ReplicaEvent::Compute => {
                    self.called.insert(me);
                    let at = self.now + 5 + self.rng.below(20);
                    self.put(at, me, Happening::Compute);
                }
                ReplicaEvent::QuorumAssembled(settlement) => self.settlements.push((me, settlement)),
                ReplicaEvent::SettlementDue(settlement) => {
                    self.due.push(me);
                    self.settlements.push((me, settlement.clone()));
                    if !self.settled {
                        self.settled = true;
                        for index in settlement.members.iter() {
                            self.put(self.now + 20, index, Happening::Paid);
                        }
                    }
                }
                ReplicaEvent::Equivocated(evidence) => {
                    self.evidence.insert(self.index_of(evidence.provider));
                }
                ReplicaEvent::Conflicted(_) => {}
            },
        }
    }

    /// What must hold however it went.
    fn check(&self, seed: u64) {
        let what = format!("seed {seed}: {:?} payer {:?}", self.roles, self.payer_role);
        let right = (truth(), FUEL);
        let honest = |index: &usize| self.roles[*index] == Role::Honest;
        let copier = |index: usize| matches!(self.roles[index], Role::Copier { .. });
        for (_, settlement) in &self.settlements {
            assert_eq!((settlement.results_root, settlement.fuel), right, "V3 {what}");
            check_settlement(&self.setup, settlement);
            if self.payer_role != PayerRole::Leaky {
                assert!(!settlement.members.iter().any(copier), "a copier is in a quorum: {what}");
            }
        }
        for (index, outcomes) in &self.signed {
            assert!(outcomes.len() <= 1, "V6 {index} could be slashed: {what}");
        }
        for (index, beside) in &self.beside {
            let active = self.setup.terms.actives().contains(*index);
            if active || self.payer_role != PayerRole::Leaky {
                assert!(!beside.iter().any(copier), "{index} attests a copier: {what}");
                let late =
                    |member: usize| self.roles[member] == Role::Late && self.setup.terms.actives().contains(member);
                assert!(!active || !beside.iter().any(late), "{index} attests a late commit: {what}");
            }
        }
        assert!(self.decided.is_none_or(|decided| decided == right), "V3 {what}");
        // A payer that helps a copier pays it with its own money.
        if self.payer_role != PayerRole::Leaky {
            assert!(self.agreed.iter().all(|index| !copier(*index)), "a copier is paid: {what}");
        }
        for index in &self.evidence {
            assert_eq!(self.roles[*index], Role::DoubleSigner, "V6 {what}");
        }
        // Liveness: fewer than a quorum are hostile.
        for index in self.setup.terms.actives().iter().filter(honest) {
            // With a payer that pays, nobody needs the others' signatures.
            match self.payer_role {
                PayerRole::Silent => {
                    // A hostile member that held back its Result may settle for all.
                    let stands = self.replicas[index].settlement().is_some() || self.paid.contains(&index);
                    assert!(stands, "{index} has no quorum: {what}");
                    assert!(self.settled, "nobody settled: {what}");
                }
                _ => assert!(self.agreed.contains(&index), "{index} is not paid: {what}"),
            }
        }
        if self.payer_role != PayerRole::Silent {
            assert_eq!(self.decided, Some(right), "{what}");
            // A copier may copy a lie.
            let may = |index: &usize| matches!(self.roles[*index], Role::Liar(_) | Role::Copier { .. });
            assert!(self.dissented.iter().all(may), "{what}");
        }
    }
}

/// What a process finds after it died.
fn stored<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + core::fmt::Debug>(machine: &T) -> T {
    let bytes = postcard::to_allocvec(machine).unwrap();
    let back: T = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(&back, machine, "L8");
    back
}

/// Rebuilds what the vault rebuilds.
pub(crate) fn check_settlement(setup: &Setup, settlement: &Settlement) {
    use symbolon_primitives::order::{seal, seals_hash};
    let order = settlement.order.digest(&setup.domain);
    assert_eq!(order, setup.terms.digest());
    assert_eq!(settlement.order_signature.check(order.as_bytes(), setup.payer), Ok(()));
    assert!(settlement.rows.len() >= setup.terms.quorum());
    assert_eq!(settlement.rows.len() + settlement.other_leaf_hashes.len(), setup.terms.leaves().len());
    assert!(settlement.rows.is_sorted_by(|a, b| a.leaf.provider < b.leaf.provider));
    let (root, fuel) = (settlement.results_root, settlement.fuel);
    let seals: Vec<Seal> =
        settlement.rows.iter().map(|row| seal(order, row.leaf.provider, root, fuel, row.nonce)).collect();
    let statement = ResultStatement { order, results_root: root, fuel, seals: seals_hash(&seals).into() };
    for row in &settlement.rows {
        assert_eq!(row.signature.check(&statement.digest(&setup.domain), row.leaf.provider), Ok(()));
    }
    let (mut rows, mut others) = (settlement.rows.iter(), settlement.other_leaf_hashes.iter());
    let hashes: Vec<[u8; 32]> = (0..setup.terms.leaves().len())
        .map(|index| {
            if settlement.members.contains(index) { rows.next().unwrap().leaf.hash() } else { *others.next().unwrap() }
        })
        .collect();
    assert_eq!(symbolon_primitives::keccak256(&hashes.concat()), settlement.order.roster.0);
}

fn hostile(rng: &mut Rng) -> Role {
    match rng.below(11) {
        0 => Role::Liar(1),
        1 | 2 => Role::Liar(2),
        3 => Role::Late,
        4 => Role::Crasher(START + rng.below(300)),
        5 => Role::Copier { junk_first: false },
        6 => Role::Copier { junk_first: true },
        7 => Role::Withholder,
        8 => Role::NoResult,
        9 => Role::TwoFaced,
        _ => Role::DoubleSigner,
    }
}

fn seeds() -> u64 {
    std::env::var("SYMBOLON_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

fn simulate(quorum: u8, seed: u64) -> World {
    let mut rng = Rng(seed.wrapping_mul(0x1234_5678_9abc_def1) ^ u64::from(quorum));
    let count = usize::from(quorum) * 2 - 1;
    let mut roles = vec![Role::Honest; count];
    for _ in 0..rng.below(u64::from(quorum)) {
        let index = rng.below(count as u64) as usize;
        roles[index] = hostile(&mut rng);
    }
    let payer = match rng.below(5) {
        0 | 1 => PayerRole::Silent,
        2 => PayerRole::Leaky,
        _ => PayerRole::Honest,
    };
    let hiccups = rng.chance(50);
    let mut world = World::new(quorum, roles, payer, hiccups, rng);
    // A reserve that copies with the payer's help is paid with the payer's own money.
    for index in world.setup.terms.reserves().iter() {
        if payer == PayerRole::Leaky && matches!(world.roles[index], Role::Copier { .. }) {
            world.roles[index] = Role::Withholder;
        }
    }
    world.run();
    world.check(seed);
    world
}

fn many(quorum: u8) {
    let (mut silent, mut called, mut slashable, mut dissent) = (0, 0, 0, 0);
    for seed in 0..seeds() {
        let world = simulate(quorum, seed);
        silent += usize::from(world.settled);
        called += world.called.iter().filter(|index| world.setup.terms.reserves().contains(**index)).count();
        slashable += world.evidence.len();
        dissent += world.dissented.len();
    }
    // Sometimes facts: each of these happened.
    assert!(silent > 0 && called > 0 && dissent > 0, "{silent} {called} {dissent}");
    assert!(slashable > 0, "no double signer was caught");
}

#[test]
fn sym_22_sym_23_two_of_three_under_every_role() {
    many(2);
}

#[test]
fn sym_22_sym_23_three_of_five_under_every_role() {
    many(3);
}

#[test]
fn sym_22_sym_23_four_of_seven_under_every_role() {
    many(4);
}

#[test]
fn sym_22_no_reserve_computes_when_all_agree() {
    for quorum in 2..=4 {
        let roles = vec![Role::Honest; usize::from(quorum) * 2 - 1];
        let mut world = World::new(quorum, roles, PayerRole::Honest, false, Rng(7));
        world.run();
        world.check(7);
        assert_eq!(world.computed, world.setup.terms.actives().iter().collect());
        assert_eq!(world.agreed, world.computed);
        assert!(world.due.is_empty(), "the payer paid, nobody settles");
        for index in world.setup.terms.reserves().iter() {
            assert_eq!(*world.replicas[index].phase(), ReplicaPhase::Reserve);
        }
    }
}

#[test]
fn v3_a_quorum_of_liars_is_the_limit_and_nobody_honest_is_slashed() {
    // A quorum of colluders wins: what no rule can close. Honest ones stay unslashable.
    let roles = vec![Role::Liar(1), Role::Liar(1), Role::Liar(1)];
    let mut world = World::new(2, roles, PayerRole::Honest, false, Rng(3));
    world.run();
    assert_eq!(world.decided, Some((lie(1), FUEL)));
    assert!(world.evidence.is_empty());
}

#[test]
fn v1_without_any_quorum_the_order_ends_undecided_and_pays_nobody() {
    let roles = vec![Role::Liar(1), Role::Liar(2), Role::Honest];
    let mut world = World::new(2, roles, PayerRole::Honest, false, Rng(5));
    world.run();
    assert_eq!(world.decided, None);
    assert!(world.undecided && world.agreed.is_empty() && world.settlements.is_empty());
}
