//! Every kind of fault of an endpoint in every phase of a channel's life (N6):
//! with one endpoint of three broken all goes on; with the only one broken
//! nothing wrong is believed, and all is done once when it has recovered.

use crate::world::{DEPOSIT, Party, World, amount, key, lane, quick, soon, until};
use alloy_primitives::{Address, B256, U256};
use futures::StreamExt;
use std::{collections::BTreeMap, time::Duration};
use symbolon_primitives::{Key, OrderDigest, Signer};
use symbolon_settlement::{ChainError, EventFilter, Intent, TxConfig, VaultView, ops, ops::tag};
use symbolon_tests::rpc_proxy::{Fault, RpcProxy, Rule};

/// Every kind, as it is thrown at each phase.
fn kinds(block: u64) -> Vec<Fault> {
    vec![
        Fault::Reset,
        Fault::Hang,
        Fault::Late(Duration::from_millis(900)),
        Fault::Status(503),
        Fault::RateLimited(1),
        Fault::Error(-32_603, "internal error"),
        Fault::Half,
        Fault::NotJson,
        Fault::Oversize(2 << 20),
        Fault::WrongChain(1),
        Fault::Frozen(block),
        Fault::LogsDropped,
        Fault::LogsDuplicated,
        Fault::LogsDisordered,
        Fault::LogsInvented,
        Fault::StateFalsified,
        Fault::Swallowed,
        Fault::ForwardedAndRefused("the server is busy"),
    ]
}

/// A channel's life, one phase after the other, each checked on the chain itself.
struct Life<'a> {
    world: &'a World,
    vault: VaultView,
    label: String,
    payer: Party,
    payees: Vec<Key>,
    claimer: Party,
    order: Option<OrderDigest>,
}

const PHASES: [&str; 5] = ["read view", "open", "claim", "settle", "withdraw"];

impl<'a> Life<'a> {
    async fn new(world: &'a World, vault: VaultView, label: &str) -> Self {
        let payees: Vec<Key> = (0..3).map(|n| key(&format!("{label} payee {n}"))).collect();
        world.fund(&format!("{label} payer")).await;
        let config = TxConfig { watched_blocks: 0, ..quick() };
        let payer = world.party(&vault, &format!("{label} payer"), config).await;
        let claimer = world.party(&vault, &format!("{label} payee 0"), config).await;
        Self { world, vault, label: label.to_owned(), payer, payees, claimer, order: None }
    }

    fn at(&self) -> Address {
        self.world.at.vault
    }

    fn tag(&self) -> B256 {
        tag(&[self.label.as_bytes()])
    }

    /// Who sends what in a phase.
    async fn intent(&mut self, phase: &str) -> Option<(&Party, Intent)> {
        let payees: Vec<Address> = self.payees.iter().map(Signer::address).collect();
        let once = self.tag();
        match phase {
            "open" => Some((&self.payer, self.world.open(self.payer.address(), &payees, 1_000, once).await)),
            "claim" => {
                let held = [self.world.voucher(&self.payer.key, payees[0], 40)];
                Some((&self.claimer, ops::claim(self.at(), &held, None, once)))
            }
            "settle" => {
                let (digest, settle) = self.world.settlement(&self.payer.key, &self.payees, once).await;
                self.order = Some(digest);
                Some((&self.claimer, settle))
            }
            "withdraw" => {
                let (me, to) = (self.payer.address(), key(&format!("{} wallet", self.label)).address());
                Some((&self.payer, ops::withdraw(self.at(), me, to, amount(500), once)))
            }
            _ => None,
        }
    }

    /// What the phase must have brought about, exactly, by the chain itself.
    async fn check(&self, phase: &str) {
        let payer = self.payer.address();
        let paid: u128 = {
            let mut sum = 0;
            for payee in &self.payees {
                sum += self.world.balance(payee.address()).await;
            }
            sum
        };
        let left = self.world.balance(payer).await;
        let (allocated, withdrawn) = match phase {
            "read view" => (0, 0),
            "withdraw" => (3_000, 500),
            _ => (3_000, 0),
        };
        assert_eq!(left, u128::from(DEPOSIT) - allocated - withdrawn, "{} after {phase}", self.label);
        // A settlement pays each of two what 150 is above what its channel paid already.
        let expected = match phase {
            "read view" | "open" => 0,
            "claim" => 40,
            _ => 40.max(if self.first_settles() { 150 } else { 40 }) + if self.first_settles() { 150 } else { 300 },
        };
        assert_eq!(paid, expected, "{} after {phase}", self.label);
        if phase == "withdraw" {
            let wallet = key(&format!("{} wallet", self.label)).address();
            assert_eq!(self.world.wallet(wallet).await, U256::from(500));
        }
    }

    /// Whether the claimer is one of the two that settle.
    fn first_settles(&self) -> bool {
        let mut sorted: Vec<Address> = self.payees.iter().map(Signer::address).collect();
        sorted.sort();
        sorted.iter().take(2).any(|payee| *payee == self.payees[0].address())
    }

    /// What the view says of the phase, state and events: what is wrong is an error, or comes back as a sentence.
    async fn look(&self, phase: &str) -> Result<Result<(), String>, ChainError> {
        let head = self.vault.chain().head().await?;
        let payer = self.payer.address();
        let state = self.vault.channel(payer, self.payees[0].address(), lane(), &head).await?;
        let allocated = if phase == "read view" { 0 } else { 1_000 };
        if state.allocated != amount(allocated) {
            return Ok(Err(format!("allocated is {}", state.allocated)));
        }
        let filter = match phase {
            "claim" => EventFilter::claims_of(self.payees[0].address()),
            "settle" => EventFilter::settlement_of(self.order.unwrap()),
            _ => EventFilter::channels_of(payer),
        };
        let page = self.vault.events(&filter, self.world.at.block, head.number).await?;
        let expected = usize::from(phase != "read view");
        if page.events.len() == expected { Ok(Ok(())) } else { Ok(Err(format!("{} events", page.events.len()))) }
    }
}

/// Whether one endpoint alone can tell this without being found out: it has to be outvoted, or to catch up.
fn is_plausible(fault: &Fault) -> bool {
    matches!(fault, Fault::Frozen(_) | Fault::LogsDropped | Fault::StateFalsified)
}

fn is_about_sending(fault: &Fault) -> bool {
    matches!(fault, Fault::Swallowed | Fault::ForwardedAndRefused(_))
}

fn times(proxy: &RpcProxy, fault: &Fault) -> u64 {
    proxy.fired().get(fault.name()).copied().unwrap_or_default()
}

async fn one_of_three(world: &World, fault: Fault) -> BTreeMap<&'static str, u64> {
    let mut urls = Vec::new();
    let mut broken = None;
    for _ in 0..3 {
        let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
        urls.push(proxy.url());
        broken.get_or_insert(proxy);
    }
    let broken = broken.unwrap();
    let vault = world.through(urls).await;
    let mut life = Life::new(world, vault, &format!("three {}", fault.name())).await;
    for phase in PHASES {
        broken.heal();
        until("it is asked again", async || {
            life.vault.chain().head().await.ok()?;
            life.vault.chain().endpoints()[0].trouble.is_none().then_some(())
        })
        .await;
        let before = times(&broken, &fault);
        broken.inject(Rule::always(fault.clone()));
        if let Some((party, intent)) = life.intent(phase).await {
            until("a quorum goes on", async || soon(party.tx.run(intent.clone())).await.ok()).await;
        }
        life.check(phase).await;
        let seen = until("a quorum tells", async || life.look(phase).await.ok()).await;
        assert_eq!(seen, Ok(()), "{} in {phase}", life.label);
        // A quorum is often faster than the one that is broken: asked until it was heard.
        if phase != "read view" || !is_about_sending(&fault) {
            until("the fault happened in this phase", async || {
                assert_eq!(life.look(phase).await.unwrap_or(Ok(())), Ok(()), "{} in {phase}", life.label);
                (times(&broken, &fault) > before).then_some(())
            })
            .await;
        }
    }
    broken.fired()
}

async fn the_only_one(world: &World, fault: Fault) -> BTreeMap<&'static str, u64> {
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    let vault = world.through(vec![proxy.url()]).await;
    let mut life = Life::new(world, vault, &format!("alone {}", fault.name())).await;
    for phase in PHASES {
        let wanted = life.intent(phase).await.map(|(_, intent)| intent);
        let before = times(&proxy, &fault);
        proxy.inject(Rule::always(fault.clone()));
        let party = if matches!(phase, "claim" | "settle") { &life.claimer } else { &life.payer };
        // Under the fault it goes out, or is refused in a type; it is never believed to be done when it is not.
        let first = match wanted.clone() {
            Some(intent) => Some(party.tx.submit(intent).await),
            None => None,
        };
        if let Some(Err(error)) = &first {
            assert!(!error.to_string().is_empty());
        }
        match life.look(phase).await {
            Err(error) => assert!(error.is_transient() || error.hint().is_some() || !error.to_string().is_empty()),
            Ok(Err(wrong)) => {
                let pending = !party.tx.pending().is_empty() || matches!(&first, Some(Err(_)));
                assert!(is_plausible(&fault) || pending, "{} in {phase}: {wrong}", life.label);
            }
            Ok(Ok(())) => {}
        }
        if phase != "read view" || !is_about_sending(&fault) {
            until("the fault happened in this phase", async || {
                let _seen = life.look(phase).await;
                (times(&proxy, &fault) > before).then_some(())
            })
            .await;
        }
        proxy.heal();
        if let Some(intent) = wanted {
            let label = format!("{} in {phase} is done", life.label);
            until(&label, async || soon(party.tx.run(intent.clone())).await.ok()).await;
        }
        life.check(phase).await;
        let seen = until("the endpoint tells again", async || life.look(phase).await.ok()).await;
        assert_eq!(seen, Ok(()), "{} in {phase}", life.label);
    }
    proxy.fired()
}

/// All kinds at once: each has keys and proxies of its own, on one chain.
async fn every_kind(of: impl AsyncFn(&World, Fault) -> BTreeMap<&'static str, u64>) {
    let world = World::new().await;
    let block = world.view.head().await.unwrap().number;
    let kinds = kinds(block);
    let names: Vec<&str> = kinds.iter().map(Fault::name).collect();
    assert!(names.len() >= 12, "12 kinds at least");
    // A few at a time: deadlines are for broken endpoints, not for busy machines.
    let fired: Vec<_> = futures::stream::iter(kinds).map(|fault| of(&world, fault)).buffered(6).collect().await;
    for (name, fired) in names.iter().zip(fired) {
        assert!(fired.get(name).is_some_and(|times| *times >= 3), "{name} hardly ever happened: {fired:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n6_one_broken_endpoint_of_three_disturbs_no_phase() {
    every_kind(one_of_three).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n6_l10_with_the_only_endpoint_broken_nothing_wrong_is_believed_and_all_is_done_once_after() {
    every_kind(the_only_one).await;
}
