//! Vouchers: what accepting and issuing one costs beside the bare operation on
//! the curve, in CPU time of this process in one run; how many channels fit (see
//! `opening`); and a thousand of them settled on a real chain.
//!
//! Accepting is all of it: the digest, the signature, the machine, and the
//! voucher on disk in the real store, with group commit, as a node does it (the
//! machine's snapshot where the voucher does not tell the whole step). Ratios
//! are throughput, of all rounds' the middle one, and that of the sums beside it:
//! 1 would be the bare operation and nothing else. `issue` and `accept` are
//! vouchers of hosting, `_order` ones pay an order.
//!
//! Measured on two quiet cores, one of which signs and checks: accepting 0.81 to
//! 0.86 of the bare recovery, issuing 0.74 to 0.79 of the bare signature, orders
//! as well as hosting. Recovery is the verification of a voucher: it is what the
//! vault does, and a signature with the other parity passes the cheaper one and
//! pays nobody. Beside that cheaper one accepting is 0.70 to 0.73. A voucher is
//! one row that is raised in place, by its number; that an order is paid is read
//! from it. A commit costs as much as some dozens of vouchers, so what counts
//! most is how many share one: the writer waits for company as long as it keeps
//! coming, and now and then for more than came the last time (`store`'s queue).
//! What is left above the curve, some 8 us, is half SQLite with its share of the
//! commit and half hashes, the machine, and the way to the writer and back.
//!
//! `sqlite_row` is the physical limit: what an unguarded row of a voucher's size
//! costs in SQLite when as many share a commit. One row for a whole group would
//! save the statement and lose the database's guards, and was not taken.

use super::opening::{self, BEGIN, Figure, MOST_BYTES, MOST_OPENING, OPEN, hosting, seen, terms};
use anyhow::{Context, Result, ensure};
use cpu_time::ProcessTime;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    hint::black_box,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use symbolon_channel::{ChannelTerms, Effect, Effects, Order, Payee, PayeeInput, Payer, PayerInput, SignedVoucher};
use symbolon_primitives::{Address, Amount, Key, Leaf, OrderDigest, Signer, Timestamp, keccak256};
use symbolon_store::{
    Direction, Moment, Point, Store, StoreHandle, StoreOptions, VoucherKey, VoucherRow, Witness, Write,
};

/// Channels in flight at once.
const FLIGHT: u32 = 512;
/// Vouchers of each in one round.
const EACH: u32 = 16;
/// Rounds; bare and whole operations take turns, so that both meet the same machine.
const ROUNDS: u32 = 32;
/// What accepting and issuing are to reach of the bare operation. Shown, not gated: time never is.
const TARGET_RATIO: f64 = 0.7;

const PAYER: &str = "payer-channel";
const PAYEE: &str = "payee-channel";
/// What a voucher's row takes, about.
const ROW_BYTES: usize = 220;

fn key(what: &str, number: u32) -> Result<Key> {
    Ok(Key::from_bytes(&keccak256(format!("bench {what} {number}").as_bytes()))?)
}

/// Both ends of one channel.
struct Pair {
    key: Key,
    payer: Payer,
    payee: Payee,
    paid: u32,
}

impl Pair {
    fn idle(number: u32, payee_key: &Key) -> Result<Self> {
        let key = key("payer", number)?;
        let terms = terms(key.address(), payee_key.address());
        let (mut payer, mut payee) = (Payer::new(terms), Payee::new(terms));
        payer.handle(&key, PayerInput::Seen(seen()), Timestamp(0))?;
        payee.handle(payee_key, PayeeInput::Seen(seen()), Timestamp(0))?;
        Ok(Self { key, payer, payee, paid: 0 })
    }

    fn new(number: u32, payee_key: &Key) -> Result<Self> {
        let mut pair = Self::idle(number, payee_key)?;
        pair.payer.handle(&pair.key, PayerInput::Host(hosting()), Timestamp(0))?;
        pair.payee.handle(payee_key, PayeeInput::Host(hosting()), Timestamp(0))?;
        Ok(pair)
    }

    fn pay(&mut self, input: PayerInput, now: Timestamp) -> Result<(Effects, Vec<Write>)> {
        let before = self.payer.clone();
        let effects = self.payer.handle(&self.key, input, now)?;
        let order = match input {
            PayerInput::Agreed { order, .. } => Some(order),
            _ => None,
        };
        let told = kept(&effects).is_some_and(|kept| self.payer.is_kept_by(&before, kept, order));
        let writes = writes((PAYER, &self.payer), self.payer.terms(), &effects, order, told)?;
        Ok((effects, writes))
    }

    fn work(&mut self, key: &Key, input: PayeeInput, now: Timestamp) -> Result<Vec<Write>> {
        let before = self.payee.clone();
        let effects = self.payee.handle(key, input, now)?;
        let told = kept(&effects).is_some_and(|kept| self.payee.is_kept_by(&before, kept));
        let order = match input {
            PayeeInput::Voucher { order, .. } => Some(order),
            _ => None,
        };
        writes((PAYEE, &self.payee), self.payee.terms(), &effects, order, told)
    }

    /// Signs the next period's voucher; what is to be durable first.
    fn issue(&mut self) -> Result<(SignedVoucher, Vec<Write>)> {
        let now = hosting().due_after(self.paid);
        self.paid += 1;
        let (effects, writes) = self.pay(PayerInput::Timer, now)?;
        Ok((*kept(&effects).context("no voucher")?, writes))
    }
}

/// As the node writes them: the voucher, and the machine where the voucher does not tell the whole step.
fn writes<T: serde::Serialize>(
    machine: (&str, &T),
    terms: &ChannelTerms,
    effects: &Effects,
    order: Option<OrderDigest>,
    told: bool,
) -> Result<Vec<Write>> {
    let (kind, machine) = machine;
    let direction = if kind == PAYEE { Direction::Received } else { Direction::Issued };
    let mut writes = Vec::with_capacity(2);
    for effect in effects {
        match effect {
            Effect::Persist if told => {}
            Effect::Persist => {
                let id = [terms.payer.as_slice(), terms.lane.word().as_slice()].concat();
                writes.push(Write::put(kind, id, postcard::to_allocvec(machine)?));
            }
            Effect::Keep(signed) => writes.push(Write::PutVoucher(VoucherRow {
                key: VoucherKey {
                    direction,
                    payer: terms.payer,
                    payee: terms.payee,
                    lane: terms.lane,
                    epoch: signed.voucher.epoch,
                },
                cumulative: signed.voucher.cumulative,
                signature: signed.signature,
                order,
                created_at: BEGIN,
            })),
            _ => {}
        }
    }
    Ok(writes)
}

fn kept(effects: &Effects) -> Option<&SignedVoucher> {
    effects.iter().find_map(|effect| match effect {
        Effect::Keep(signed) => Some(signed),
        _ => None,
    })
}

/// CPU and wall time of operations, round by round.
#[derive(Clone, Default)]
struct Spent {
    cpu: Duration,
    wall: Duration,
    count: u32,
    /// CPU time of one operation, in microseconds.
    rounds: Vec<f64>,
    committing: Duration,
    commits: u32,
}

impl Spent {
    fn add(&mut self, cpu: Duration, wall: Duration, count: u32) {
        self.cpu += cpu;
        self.wall += wall;
        self.count += count;
        self.rounds.push(cpu.as_secs_f64() * 1e6 / f64::from(count.max(1)));
    }

    fn add_commits(&mut self, seen: &Seen) {
        self.committing += seen.took;
        self.commits += seen.count;
    }

    fn micros(&self) -> f64 {
        middle(self.rounds.clone())
    }

    /// Throughput of this beside `bare`, in CPU time: of the rounds' ratios the middle one, for what else the machine
    /// does meets one round and not the next.
    fn ratio(&self, bare: &Self) -> f64 {
        let rounds = self.rounds.iter().zip(&bare.rounds);
        middle(rounds.map(|(whole, bare)| bare / whole.max(f64::MIN_POSITIVE)).collect())
    }

    /// As [`Spent::ratio`], of all rounds together.
    fn ratio_of_sums(&self, bare: &Self) -> f64 {
        let each = |spent: &Self| spent.cpu.as_secs_f64() / f64::from(spent.count.max(1));
        each(bare) / each(self).max(f64::MIN_POSITIVE)
    }

    /// Of the wall time, that in which a commit was under way: the disk's share, with the work of writing pages in it.
    fn committing(&self) -> f64 {
        self.committing.as_secs_f64() / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// How many operations shared one commit.
    fn sharing(&self) -> f64 {
        f64::from(self.count) / f64::from(self.commits.max(1))
    }
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = |place: usize| figures.get(place).copied().unwrap_or_default();
    f64::midpoint(at(figures.len().saturating_sub(1) / 2), at(figures.len() / 2))
}

/// How long the store's commits take, as it passes their beginnings and ends.
#[derive(Debug, Default)]
struct Commits(Mutex<Seen>);

/// What was seen of commits since the last look.
#[derive(Debug, Default)]
struct Seen {
    began: Option<Instant>,
    took: Duration,
    count: u32,
}

impl Commits {
    fn take(&self) -> Seen {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Witness for Commits {
    fn at(&self, point: Point) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once for each kind of write in it: the first beginning and the first end count.
        match point.moment {
            Moment::Staged => seen.began = seen.began.or_else(|| Some(Instant::now())),
            Moment::Durable => {
                if let Some(began) = seen.began.take() {
                    seen.took += began.elapsed();
                    seen.count += 1;
                }
            }
        }
    }
}

/// The store, and what its commits take.
struct Watched {
    store: StoreHandle,
    commits: Arc<Commits>,
}

fn bare<I, T>(spent: &mut Spent, inputs: impl ExactSizeIterator<Item = I>, mut run: impl FnMut(I) -> T) {
    let count = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    for input in inputs {
        black_box(run(input));
    }
    spent.add(cpu.elapsed(), wall.elapsed(), count);
}

/// The curve's operations alone, of both libraries.
#[derive(Default)]
struct Bare {
    recover: Spent,
    verify: Spent,
    sign: Spent,
    k256_recover: Spent,
    k256_sign: Spent,
}

impl Bare {
    fn round(&mut self) -> Result<()> {
        use secp256k1::{Message, SECP256K1, SecretKey};
        let secret = keccak256(b"bench secret");
        let digests: Vec<_> = (0..FLIGHT * EACH / 2).map(|number| keccak256(&number.to_be_bytes())).collect();
        let ours = SecretKey::from_byte_array(secret)?;
        let public = ours.public_key(SECP256K1);
        let messages: Vec<_> = digests.iter().map(|digest| Message::from_digest(*digest)).collect();
        let signed: Vec<_> = messages.iter().map(|message| SECP256K1.sign_ecdsa_recoverable(*message, &ours)).collect();
        let plain: Vec<_> = signed.iter().map(|signature| signature.to_standard()).collect();
        bare(&mut self.recover, messages.iter().zip(&signed), |(m, s)| SECP256K1.recover_ecdsa(*m, s));
        bare(&mut self.verify, messages.iter().zip(&plain), |(m, s)| SECP256K1.verify_ecdsa(*m, s, &public));
        bare(&mut self.sign, messages.iter(), |m| SECP256K1.sign_ecdsa_recoverable(*m, &ours));

        use k256::ecdsa::{SigningKey, VerifyingKey};
        let theirs = SigningKey::from_slice(&secret)?;
        let digests = digests.get(..digests.len() / 16).unwrap_or_default();
        let signed: Vec<_> =
            digests.iter().map(|digest| theirs.sign_prehash_recoverable(digest)).collect::<Result<_, _>>()?;
        bare(&mut self.k256_recover, digests.iter().zip(&signed), |(digest, (s, id))| {
            VerifyingKey::recover_from_prehash(digest, s, *id)
        });
        bare(&mut self.k256_sign, digests.iter(), |digest| theirs.sign_prehash_recoverable(digest));
        Ok(())
    }
}

/// One round over all channels at once, each waiting for its own voucher to be durable.
async fn round(node: &Watched, pairs: Vec<Pair>, payee: &Arc<Key>, spent: &mut [Spent; 2]) -> Result<Vec<Pair>> {
    let (mut issued, mut accepted) = (Vec::with_capacity(pairs.len()), Vec::with_capacity(pairs.len()));
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for mut pair in pairs {
        let store = node.store.clone();
        tasks.spawn_local(async move {
            let mut vouchers = Vec::with_capacity(usize::try_from(EACH)?);
            for _ in 0..EACH {
                let (signed, writes) = pair.issue()?;
                store.write(writes).await?;
                vouchers.push(signed);
            }
            anyhow::Ok((pair, vouchers))
        });
    }
    while let Some(done) = tasks.join_next().await {
        issued.push(done??);
    }
    let [issue, accept] = spent;
    issue.add(cpu.elapsed(), wall.elapsed(), FLIGHT * EACH);
    issue.add_commits(&node.commits.take());

    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for (mut pair, vouchers) in issued {
        let (store, payee) = (node.store.clone(), Arc::clone(payee));
        tasks.spawn_local(async move {
            for signed in vouchers {
                store.write(pair.work(&payee, PayeeInput::Period(signed), Timestamp(0))?).await?;
            }
            anyhow::Ok(pair)
        });
    }
    while let Some(done) = tasks.join_next().await {
        accepted.push(done??);
    }
    accept.add(cpu.elapsed(), wall.elapsed(), FLIGHT * EACH);
    accept.add_commits(&node.commits.take());
    Ok(accepted)
}

/// Runs `step` for all channels at once; each is durable when this answers.
async fn all(
    node: &Watched,
    pairs: &mut [Pair],
    spent: &mut Spent,
    step: impl FnMut(&mut Pair) -> Result<Vec<Write>>,
) -> Result<()> {
    let (cpu, wall, count) = (ProcessTime::now(), Instant::now(), u32::try_from(pairs.len())?);
    let writes = pairs.iter_mut().map(step).collect::<Result<Vec<_>>>()?;
    futures::future::try_join_all(writes.into_iter().map(|writes| node.store.write(writes))).await?;
    spent.add(cpu.elapsed(), wall.elapsed(), count);
    spent.add_commits(&node.commits.take());
    Ok(())
}

/// The vouchers of orders: as above. Taking the order is not counted.
async fn orders(node: &Watched, pairs: &mut [Pair], payee: &Key, number: u8, spent: &mut [Spent; 2]) -> Result<()> {
    let digest = |pair: &Pair| OrderDigest::from_bytes(keccak256(&[pair.key.address().as_slice(), &[number]].concat()));
    let mut aside = Spent::default();
    let offer = |pair: &Pair| -> Result<Order> {
        let (owed, flat) = (pair.payer.owed(), Amount::from_u64(1_000));
        let terms = pair.payer.terms();
        let leaf = Leaf {
            provider: terms.payee,
            owed,
            flat,
            rate: Amount::ZERO,
            epoch: 0,
            lane_number: terms.lane.number16(),
        };
        Ok(Order { digest: digest(pair), leaf, max_fuel: 1, settle_by: Timestamp(BEGIN.0 + 1_000) })
    };
    all(node, pairs, &mut aside, |pair| Ok(pair.pay(PayerInput::Issue(offer(pair)?), BEGIN)?.1)).await?;
    all(node, pairs, &mut aside, |pair| pair.work(payee, PayeeInput::Offered(offer(pair)?), BEGIN)).await?;
    let attest = |pair: &mut Pair| pair.work(payee, PayeeInput::Attest { order: digest(pair), fuel: 1 }, BEGIN);
    all(node, pairs, &mut aside, attest).await?;
    let [issue, accept] = spent;
    let mut vouchers = Vec::with_capacity(pairs.len());
    all(node, pairs, issue, |pair| {
        let (effects, writes) = pair.pay(PayerInput::Agreed { order: digest(pair), fuel: 1 }, BEGIN)?;
        vouchers.push(*kept(&effects).context("no voucher")?);
        Ok(writes)
    })
    .await?;
    let mut vouchers = vouchers.into_iter();
    all(node, pairs, accept, |pair| {
        let (order, signed) = (digest(pair), vouchers.next().context("no voucher")?);
        pair.work(payee, PayeeInput::Voucher { order, signed }, BEGIN)
    })
    .await
}

/// What a row of a voucher's size costs in SQLite alone, when as many share a commit as there are channels.
fn bare_rows(dir: &Path, spent: &mut Spent) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let conn = rusqlite::Connection::open(dir.join("bare.db"))?;
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT",
    )?;
    let (cpu, wall) = (ProcessTime::now(), Instant::now());
    for _ in 0..EACH {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let mut insert = conn.prepare_cached("INSERT INTO rows (bytes) VALUES (?1)")?;
        for number in 0..FLIGHT {
            insert.execute([[u8::try_from(number % 251)?; ROW_BYTES]])?;
        }
        conn.execute_batch("COMMIT")?;
    }
    spent.add(cpu.elapsed(), wall.elapsed(), FLIGHT * EACH);
    Ok(())
}

/// What was measured.
#[derive(Default)]
struct Measured {
    bare: Bare,
    row: Spent,
    /// Issuing and accepting.
    periods: [Spent; 2],
    orders: [Spent; 2],
}

async fn throughput(dir: &Path) -> Result<Measured> {
    let payee = Arc::new(key("payee", 0)?);
    let commits = Arc::new(Commits::default());
    let watching = Arc::<Commits>::clone(&commits);
    let store = StoreHandle::open_watched(dir.join("node"), StoreOptions::default(), watching).await?;
    let node = Watched { store, commits };
    let mut pairs = (0..FLIGHT).map(|number| Pair::new(number, &payee)).collect::<Result<Vec<_>>>()?;
    let mut paying = (FLIGHT..2 * FLIGHT).map(|number| Pair::idle(number, &payee)).collect::<Result<Vec<_>>>()?;
    let mut measured = Measured::default();
    // Files grow, caches fill: the first round does not count.
    pairs = round(&node, pairs, &payee, &mut Default::default()).await?;
    orders(&node, &mut paying, &payee, 0, &mut Default::default()).await?;
    bare_rows(&dir.join("bare"), &mut Spent::default())?;
    for number in 1..=ROUNDS {
        measured.bare.round()?;
        bare_rows(&dir.join("bare"), &mut measured.row)?;
        pairs = round(&node, pairs, &payee, &mut measured.periods).await?;
        orders(&node, &mut paying, &payee, u8::try_from(number)?, &mut measured.orders).await?;
    }
    // What counts is what a node would find that starts now.
    node.store.close().await;
    let store = Store::open(&dir.join("node"))?;
    let best = |direction| -> Result<BTreeMap<Address, Amount>> {
        let rows = store.view().best_vouchers(direction)?;
        Ok(rows.into_iter().map(|row| (row.key.payer, row.cumulative)).collect())
    };
    let (issued, received) = (best(Direction::Issued)?, best(Direction::Received)?);
    let by_period = hosting().total((ROUNDS + 1) * EACH)?;
    let by_order = Amount::from_u64(1_000 * u64::from(ROUNDS + 1));
    for (pairs, all) in [(&pairs, by_period), (&paying, by_order)] {
        for pair in pairs {
            let held = pair.payee.best().map(|best| best.voucher.cumulative);
            ensure!(held == Some(all) && pair.payer.promised() == all, "a voucher is missing");
            let payer = pair.key.address();
            ensure!([&issued, &received].iter().all(|best| best.get(&payer) == Some(&all)), "a voucher is not stored");
        }
    }
    Ok(measured)
}

/// Prints the figures; fails when one that is promised is missed.
pub(crate) async fn run(as_json: bool) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let at = dir.path().join("throughput");
    let measured = std::thread::spawn(move || -> Result<_> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        tokio::task::LocalSet::new().block_on(&runtime, throughput(&at))
    });
    let measured = measured.join().map_err(|_| anyhow::anyhow!("the measurement ended early"))??;
    let Measured { bare, row, periods: [issue, accept], orders: [issue_order, accept_order] } = measured;
    let opened = opening::all(&dir.path().join("opening"))?;
    let settled = super::gas::settle_thousand().await?;

    let mut all = Map::new();
    let mut say = |name: &str, figures: &[(f64, &str)], text: String| {
        for (value, unit) in figures {
            all.insert(format!("{name}_{unit}"), json!((value * 1_000.0).round() / 1_000.0));
        }
        if !as_json {
            println!("{name:24} {text}");
        }
    };
    for (name, spent) in [
        ("libsecp256k1_recover", &bare.recover),
        ("libsecp256k1_verify", &bare.verify),
        ("libsecp256k1_sign", &bare.sign),
        ("k256_recover", &bare.k256_recover),
        ("k256_sign", &bare.k256_sign),
        ("sqlite_row", &row),
        ("issue", &issue),
        ("accept", &accept),
        ("issue_order", &issue_order),
        ("accept_order", &accept_order),
    ] {
        let micros = spent.micros();
        say(name, &[(micros, "cpu_us")], format!("{micros:8.1} us of CPU time"));
    }
    for (name, whole, bare) in [
        ("accept_to_recover", &accept, &bare.recover),
        ("accept_to_verify", &accept, &bare.verify),
        ("issue_to_sign", &issue, &bare.sign),
        ("accept_order_to_recover", &accept_order, &bare.recover),
        ("accept_order_to_verify", &accept_order, &bare.verify),
        ("issue_order_to_sign", &issue_order, &bare.sign),
    ] {
        let (ratio, of_sums) = (whole.ratio(bare), whole.ratio_of_sums(bare));
        let text = format!("{ratio:8.2} of the bare throughput ({of_sums:.2} of sums), {TARGET_RATIO} is the target");
        say(name, &[(ratio, "ratio"), (of_sums, "ratio_of_sums")], text);
    }
    for (name, spent) in
        [("accept", &accept), ("issue", &issue), ("accept_order", &accept_order), ("issue_order", &issue_order)]
    {
        let (committing, sharing) = (spent.committing(), spent.sharing());
        let text = format!("{committing:8.3} of the wall time a commit was under way, {sharing:.0} share one");
        say(name, &[(committing, "committing"), (sharing, "sharing")], text);
    }
    for Figure { name, bytes, secs } in &opened {
        match bytes {
            Some(bytes) => {
                let text = format!("{bytes:8} bytes for an open channel, {secs:.2} s for {OPEN} of them");
                say(&format!("open_{name}"), &[(*bytes as f64, "bytes"), (*secs, "secs")], text);
            }
            None => say(&format!("open_{name}"), &[(*secs, "secs")], format!("{secs:8.2} s with no channel")),
        }
    }
    for (name, value) in settled {
        say(name, &[(value as f64, "count")], format!("{value:8}"));
    }
    all.insert("in_flight".into(), FLIGHT.into());
    if as_json {
        println!("{}", serde_json::to_string_pretty(&Value::Object(all))?);
    }
    for Figure { name, bytes, secs } in &opened {
        let bytes = bytes.unwrap_or_default();
        ensure!(bytes <= MOST_BYTES, "{name}: {bytes} bytes for an open channel, at most {MOST_BYTES}");
        ensure!(
            *secs <= MOST_OPENING.as_secs_f64(),
            "{name}: {secs:.1} s for {OPEN} channels, at most {MOST_OPENING:?}"
        );
    }
    Ok(())
}
