//! The matrix of reorganisations (N5, L10): each kind of event, at each depth,
//! included again, dropped for good, or replaced by another tool's transaction
//! under the same nonce. After each, the view is that of the canonical chain;
//! after a while, the intent has happened, and once.

use crate::world::{Party as Actor, World, amount, is_deep, key, lane, quick, soon, until};
use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::Encodable2718,
    primitives::{Address, Bytes, Signature as EvmSignature, TxKind, U256},
};
use serde_json::json;
use std::collections::BTreeSet;
use symbolon_contracts::Bind;
use symbolon_primitives::{Key, Signer};
use symbolon_settlement::{ChannelBook, Intent, Party, Place, TxConfig, ops, ops::tag};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Deposit,
    Withdraw,
    Bind,
    Open,
    TopUp,
    Claim,
    ReleaseByConsent,
    ReleaseAtExpiry,
    Settle,
    Stake,
    RequestUnstake,
    Gift,
}

const KINDS: [Kind; 12] = [
    Kind::Deposit,
    Kind::Withdraw,
    Kind::Bind,
    Kind::Open,
    Kind::TopUp,
    Kind::Claim,
    Kind::ReleaseByConsent,
    Kind::ReleaseAtExpiry,
    Kind::Settle,
    Kind::Stake,
    Kind::RequestUnstake,
    Kind::Gift,
];

const DEPTHS: [u64; 7] = [1, 2, 3, 6, 12, 32, 64];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    IncludedAgain,
    Dropped,
    Replaced,
}

const FATES: [Fate; 3] = [Fate::IncludedAgain, Fate::Dropped, Fate::Replaced];

/// anvil forgets states of old blocks, those that were reorganised away included, and then reorganises to nothing.
const CELLS_OF_A_CHAIN: usize = 7;

/// A cell's parties, each cell with keys of its own.
struct Cell<'a> {
    world: &'a World,
    name: String,
    payer: Actor,
    payees: Vec<Key>,
}

impl<'a> Cell<'a> {
    async fn new(world: &'a World, name: String) -> Self {
        let payees: Vec<Key> = (0..3).map(|n| key(&format!("{name} payee {n}"))).collect();
        world.fund(&format!("{name} payer")).await;
        // Deeper than any reorganisation here, so that the manager looks after it to the end.
        let config = TxConfig { watched_blocks: 200, ..quick() };
        let payer = world.party(&world.vault, &format!("{name} payer"), config).await;
        Self { world, name, payer, payees }
    }

    async fn before(&self, intent: Intent) {
        soon(self.payer.tx.run(intent)).await.unwrap();
    }

    fn addresses(&self) -> Vec<Address> {
        self.payees.iter().map(Signer::address).collect()
    }

    /// What has to be there first; then the intent of this kind.
    async fn intent(&self, kind: Kind) -> Intent {
        let (world, at, me) = (self.world, self.world.at, self.payer.address());
        let (first, once) = (tag(&[b"first"]), tag(&[b"once"]));
        let payees = self.addresses();
        let with_channels =
            matches!(kind, Kind::TopUp | Kind::Claim | Kind::ReleaseByConsent | Kind::ReleaseAtExpiry | Kind::Settle);
        if with_channels {
            self.before(world.open(me, &payees, 1_000, first).await).await;
        }
        match kind {
            Kind::Deposit => {
                self.before(ops::mint(at.token, me, amount(50), first)).await;
                self.before(ops::approve(at.token, at.vault, amount(50), first)).await;
                ops::deposit(at.vault, me, amount(50), once)
            }
            Kind::Withdraw => {
                ops::withdraw(at.vault, me, key(&format!("{} wallet", self.name)).address(), amount(70), once)
            }
            Kind::Bind => {
                let hot = key(&format!("{} hot", self.name));
                let consent = hot.sign(&world.vault.domain().digest(&Bind { owner: me }));
                ops::bind(at.vault, hot.address(), &consent, once)
            }
            Kind::Open | Kind::TopUp => world.open(me, &payees, 30, once).await,
            // Anybody may claim for the payee: here the payer, whose manager is looked at.
            Kind::Claim => ops::claim_for(at.vault, &[world.voucher(&self.payer.key, payees[0], 40)], once),
            Kind::ReleaseByConsent => {
                let consent = world.consent(me, &self.payees[0], 0);
                ops::release(at.vault, me, lane(), &[(payees[0], Some(consent))], once)
            }
            Kind::ReleaseAtExpiry => {
                world.anvil.warp(86_500).await.unwrap();
                ops::release(at.vault, me, lane(), &[(payees[0], None)], once)
            }
            Kind::Settle => world.settlement(&self.payer.key, &self.payees, once).await.1,
            Kind::Stake => ops::stake(at.vault, amount(90), once),
            Kind::RequestUnstake => {
                self.before(ops::stake(at.vault, amount(90), first)).await;
                ops::request_unstake(at.vault, once)
            }
            Kind::Gift => ops::pay_many(at.vault, &[(payees[0], amount(5))], once),
        }
    }

    /// All that any of the kinds changes, read from the contract.
    async fn state(&self) -> Vec<String> {
        let world = self.world;
        let head = world.view.head().await.unwrap();
        let me = self.payer.address();
        let mut state = Vec::new();
        for account in [vec![me], self.addresses()].concat() {
            let found = world.vault.account(account, &head).await.unwrap();
            state.push(format!("{} {} {}", found.balance, found.stake, found.unbonding_at.is_some()));
        }
        for payee in self.addresses() {
            let channel = world.vault.channel(me, payee, lane(), &head).await.unwrap();
            state.push(format!("{} {} {}", channel.allocated, channel.claimed, channel.epoch));
        }
        let wallet = key(&format!("{} wallet", self.name)).address();
        state.push(world.wallet(wallet).await.to_string());
        let hot = key(&format!("{} hot", self.name)).address();
        state.push(format!("{:?}", world.vault.owner_of(hot, &head).await.unwrap()));
        state
    }

    /// N5: the books, refreshed over whatever happened, say what the contract
    /// says and what books say that begin anew.
    async fn check_books(&self, books: &mut [ChannelBook; 2], when: &str) {
        let head = self.world.view.head().await.unwrap();
        let (me, payee) = (self.payer.address(), self.payees[0].address());
        let parties = [Party::Payer(me), Party::Payee(payee)];
        for (book, party) in books.iter_mut().zip(parties) {
            book.refresh(&head).await.unwrap();
            let mut fresh = ChannelBook::new(&self.world.vault, party, self.world.at.block);
            fresh.refresh(&head).await.unwrap();
            assert_eq!(book.channels(), fresh.channels(), "{} {party:?} {when}", self.name);
            for (Place { payee, payer, lane }, state) in book.channels() {
                let truth = self.world.vault.channel(*payer, *payee, *lane, &head).await.unwrap();
                assert_eq!((*state, truth.expiry.0 > 0), (truth, true), "{} {party:?} {when}", self.name);
            }
        }
        // Not one too few either.
        let opened = self.world.vault.channel(me, payee, lane(), &head).await.unwrap().expiry.0 > 0;
        let expected = if opened { [3, 1] } else { [0, 0] };
        let found = [books[0].channels().len(), books[1].channels().len()];
        assert_eq!(found, expected, "{} {when}", self.name);
    }
}

/// Another tool's transaction under this nonce: a wei to nobody.
fn foreign(world: &World, key: &Key, nonce: u64) -> Bytes {
    let tx = TxEip1559 {
        chain_id: world.anvil.chain_id(),
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 300_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::repeat_byte(0x99)),
        value: U256::from(1),
        access_list: Default::default(),
        input: Bytes::new(),
    };
    let signature = key.sign(&tx.signature_hash().0);
    let signed = tx.into_signed(EvmSignature::from_erc2098(signature.as_bytes()));
    TxEnvelope::from(signed).encoded_2718().into()
}

async fn cell(world: &World, kind: Kind, depth: u64, fate: Fate) {
    let cell = Cell::new(world, format!("{kind:?} {depth} {fate:?}")).await;
    let intent = cell.intent(kind).await;
    let parties = [Party::Payer(cell.payer.address()), Party::Payee(cell.payees[0].address())];
    let mut books = parties.map(|party| ChannelBook::new(&world.vault, party, world.at.block));
    // Old enough that only the intent is taken away.
    world.anvil.mine(3).await.unwrap();
    cell.check_books(&mut books, "before").await;
    let before = cell.state().await;
    let handle = cell.payer.tx.submit(intent.clone()).await.unwrap();
    let receipt = soon(handle.wait()).await.unwrap();
    world.anvil.mine(depth - 1).await.unwrap();
    let after = cell.state().await;
    assert_ne!(before, after, "{}: nothing happened", cell.name);
    cell.check_books(&mut books, "after").await;
    let journal = || cell.payer.store.read(|view| view.tx(handle.id())).unwrap().unwrap();
    let sent = journal();
    let nonce = sent.nonce.unwrap();
    let head = world.view.head().await.unwrap();
    assert_eq!(head.number + 1 - receipt.block, depth);

    world.anvil.set_automine(false).await.unwrap();
    let raw = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let pairs = match fate {
        Fate::IncludedAgain => json!([[raw(&sent.attempts.last().unwrap().raw), depth / 2]]),
        Fate::Dropped => json!([]),
        Fate::Replaced => json!([[foreign(world, &cell.payer.key, nonce), depth / 2]]),
    };
    // Another miner: the new blocks are others even where they hold the same.
    let miner = key(&format!("{} miner", cell.name)).address();
    world.rpc("anvil_setCoinbase", json!([miner])).await;
    world.rpc("anvil_reorg", json!([depth, pairs])).await;
    let new_head = world.view.head().await.unwrap();
    assert_ne!(new_head.hash, head.hash);
    let now = cell.state().await;
    assert_eq!(now == after, fate == Fate::IncludedAgain, "{}", cell.name);
    assert_eq!(now == before, fate != Fate::IncludedAgain, "{}", cell.name);
    cell.check_books(&mut books, "reorganised").await;

    // L10: it happens again, or has happened; in the end once.
    until(&format!("{} happens again", cell.name), async || {
        world.anvil.mine(1).await.unwrap();
        let pending = cell.payer.tx.pending();
        let mine = pending.iter().find(|pending| pending.id == handle.id())?;
        let head = world.view.head().await.unwrap().number;
        // Mined by the new chain, and some blocks deep, so that a second one would show.
        (mine.mined_in.is_some_and(|block| block + 4 <= head) && cell.state().await == after).then_some(())
    })
    .await;
    let end = journal();
    let nonces: BTreeSet<u64> = end.attempts.iter().map(|attempt| attempt.nonce).collect();
    let expected: BTreeSet<u64> = if fate == Fate::Replaced { [nonce, nonce + 1].into() } else { [nonce].into() };
    assert_eq!(nonces, expected, "{}", cell.name);
    assert_eq!(world.sent_by(cell.payer.address()).await, expected.last().unwrap() + 1, "{}", cell.name);
    cell.check_books(&mut books, "mended").await;
    // Asked for once more, it is what it was.
    assert!(soon(cell.payer.tx.run(intent)).await.is_ok());
    assert_eq!(cell.state().await, after, "{}", cell.name);
    world.anvil.set_automine(true).await.unwrap();
}

#[tokio::test]
async fn n5_l10_after_any_reorganisation_the_view_is_the_canonical_chain_and_intents_happen_once() {
    let all: Vec<(Kind, u64, Fate)> = KINDS
        .into_iter()
        .flat_map(|kind| {
            DEPTHS.into_iter().flat_map(move |depth| FATES.into_iter().map(move |fate| (kind, depth, fate)))
        })
        .collect();
    assert_eq!(all.len(), 252);
    // A tenth, in which every kind, depth and fate has its turn.
    let chosen: Vec<_> = if is_deep() { all } else { all.into_iter().step_by(10).collect() };
    let kinds: BTreeSet<Kind> = chosen.iter().map(|(kind, ..)| *kind).collect();
    let depths: BTreeSet<u64> = chosen.iter().map(|(_, depth, _)| *depth).collect();
    let fates: BTreeSet<Fate> = chosen.iter().map(|(.., fate)| *fate).collect();
    assert_eq!((kinds.len(), depths.len(), fates.len()), (12, 7, 3));
    for some in chosen.chunks(CELLS_OF_A_CHAIN) {
        let world = World::new().await;
        for (kind, depth, fate) in some {
            cell(&world, *kind, *depth, *fate).await;
        }
    }
    println!("{} cells", chosen.len());
}
