//! A chain with the contracts on it, parties with keys and money, and views of
//! it through any endpoints.

use alloy_primitives::{Address, B256, U256};
use std::{future::Future, sync::Arc, time::Duration};
use symbolon_primitives::{
    Amount, Key, Lane, Leaf, Nonce, OrderDigest, Release, ResultStatement, ResultsRoot, Royalty, Salt, Signature,
    SignedOrder, Signer, Timestamp, Voucher, Work, WorkOrder, keccak256,
    order::{roster_hash, seal, seals_hash},
};
use symbolon_settlement::{
    ChainConfig, ChainView, Intent, Receipt, TxConfig, TxManager, VaultView,
    anvil::{self, Anvil, AnvilConfig},
    deploy::{Deployment, deploy},
    ops::{self, LaneEarmarks, QuorumRow, SignedVoucher, tag},
};
use symbolon_store::StoreHandle;

pub(crate) const LANE: u16 = 3;
/// How long an endpoint may take here.
pub(crate) const DEADLINE: Duration = Duration::from_millis(700);
/// What every payer has in its account.
pub(crate) const DEPOSIT: u64 = 10_000;

/// The long form of the tests, where it is asked for.
pub(crate) fn is_deep() -> bool {
    std::env::var_os("SYMBOLON_DEEP").is_some_and(|value| value != "0")
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("no end within a minute")
}

/// Looks again and again until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.unwrap_or_else(|_| panic!("never: {what}"))
}

pub(crate) fn amount(base: u64) -> Amount {
    Amount::from_u64(base)
}

pub(crate) fn lane() -> Lane {
    Royalty::NONE.lane(LANE)
}

pub(crate) fn key(label: &str) -> Key {
    Key::from_bytes(&keccak256(label.as_bytes())).unwrap()
}

pub(crate) fn quick() -> TxConfig {
    TxConfig { poll: Duration::from_millis(5), replace_after: Duration::from_millis(300), ..TxConfig::default() }
}

pub(crate) struct World {
    pub(crate) anvil: Anvil,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) at: Deployment,
    pub(crate) view: ChainView,
    pub(crate) vault: VaultView,
}

impl World {
    pub(crate) async fn new() -> Self {
        let contracts = symbolon_tests::root().join("contracts");
        let anvil = Anvil::spawn(&AnvilConfig::new(anvil::find(&contracts).unwrap())).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let view = ChainView::connect(&anvil.config()).await.unwrap();
        let store = StoreHandle::open(dir.path().join("deployer")).await.unwrap();
        let tx = TxManager::new(view.clone(), Arc::new(anvil.keys()[0].clone()), store, quick());
        let at = soon(deploy(&tx, None)).await.unwrap();
        let head = view.head().await.unwrap();
        let vault = view.vault(at.vault, at.token, &head).await.unwrap();
        Self { anvil, dir, at, view, vault }
    }

    /// One call of the chain itself.
    pub(crate) async fn rpc(&self, method: &str, params: serde_json::Value) -> serde_json::Value {
        symbolon_tests::rpc_proxy::call(self.anvil.url(), method, params).await.unwrap()
    }

    /// How many transactions of an account the chain has.
    pub(crate) async fn sent_by(&self, account: Address) -> u64 {
        let count = self.rpc("eth_getTransactionCount", serde_json::json!([account, "latest"])).await;
        u64::from_str_radix(count.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// A view through these endpoints.
    pub(crate) async fn through(&self, urls: Vec<String>) -> VaultView {
        let config = self.config(urls);
        let view = until("the endpoints answer", async || ChainView::connect(&config).await.ok()).await;
        until("the vault is there", async || {
            let head = view.head().await.ok()?;
            view.vault(self.at.vault, self.at.token, &head).await.ok()
        })
        .await
    }

    pub(crate) fn config(&self, urls: Vec<String>) -> ChainConfig {
        ChainConfig { timeout: DEADLINE, recheck: Duration::ZERO, max_body_bytes: 1 << 20, ..self.anvil.config() }
            .with_urls(urls)
    }

    pub(crate) async fn ether(&self, account: Address, ether: u64) {
        let wei = U256::from(ether) * U256::from(10).pow(U256::from(18));
        self.anvil.set_ether(account, wei).await.unwrap();
    }

    /// A key with ether, and a transaction manager with a store of its own, over `vault`'s endpoints.
    pub(crate) async fn party(&self, vault: &VaultView, label: &str, config: TxConfig) -> Party {
        let key = key(label);
        self.ether(key.address(), 10).await;
        let store = StoreHandle::open(self.dir.path().join(label)).await.unwrap();
        let tx = TxManager::new(vault.chain().clone(), Arc::new(key.clone()), store.clone(), config);
        Party { key, tx, store }
    }

    /// Gives a party its deposit, over the chain's own endpoint.
    pub(crate) async fn fund(&self, label: &str) {
        let funder = self.party(&self.vault, label, quick()).await;
        let (me, once) = (funder.tx.sender(), tag(&[b"fund"]));
        for intent in [
            ops::mint(self.at.token, me, amount(DEPOSIT), once),
            ops::approve(self.at.token, self.at.vault, amount(DEPOSIT), once),
            ops::deposit(self.at.vault, me, amount(DEPOSIT), once),
        ] {
            soon(funder.tx.run(intent)).await.unwrap();
        }
        funder.store.close().await;
    }

    pub(crate) async fn balance(&self, account: Address) -> u128 {
        let head = self.view.head().await.unwrap();
        self.vault.account(account, &head).await.unwrap().balance.get()
    }

    pub(crate) async fn wallet(&self, account: Address) -> U256 {
        let head = self.view.head().await.unwrap();
        self.view.token_balance(self.at.token, account, &head).await.unwrap()
    }

    pub(crate) async fn open(&self, payer: Address, payees: &[Address], base: u64, tag: B256) -> Intent {
        let head = self.view.head().await.unwrap();
        let amounts = payees.iter().map(|payee| (*payee, amount(base))).collect();
        let lanes = [LaneEarmarks { lane: lane(), amounts }];
        ops::open(self.at.vault, payer, Timestamp(head.timestamp + 86_400), &lanes, tag)
    }

    pub(crate) fn voucher(&self, payer: &Key, payee: Address, cumulative: u64) -> SignedVoucher {
        let voucher = Voucher { payee, lane: lane(), cumulative: amount(cumulative), epoch: 0 };
        SignedVoucher { voucher, signature: payer.sign(&voucher.digest(&self.vault.domain())) }
    }

    pub(crate) fn consent(&self, payer: Address, payee: &Key, epoch: u32) -> Signature {
        payee.sign(&Release { payer, lane: lane(), epoch }.digest(&self.vault.domain()))
    }

    /// An order for these members, settled by the first two: each is owed 100 and 10 for each Gfuel, 5 of them used.
    pub(crate) async fn settlement(&self, payer: &Key, members: &[Key], tag: B256) -> (OrderDigest, Intent) {
        let mut members = members.to_vec();
        members.sort_by_key(Signer::address);
        let leaf = |member: &Key| Leaf {
            provider: member.address(),
            owed: Amount::ZERO,
            flat: amount(100),
            rate: amount(10),
            epoch: 0,
            lane_number: LANE,
        };
        let leaves: Vec<Leaf> = members.iter().map(leaf).collect();
        let work = Work {
            agreements: Vec::new(),
            profile: Default::default(),
            workunits: Vec::new(),
            commit_by: Timestamp(0),
            reserve_by: Timestamp(0),
            keep_until: Timestamp(0),
            reserves: 0b100,
            members: Default::default(),
            salt: Salt::from_bytes(tag.0),
        };
        let head = self.view.head().await.unwrap();
        let order = WorkOrder {
            work: work.hash().into(),
            royalty: Royalty::NONE,
            roster: roster_hash(&leaves).into(),
            quorum: 2,
            max_fuel: 10_000_000_000,
            settle_by: Timestamp(head.timestamp + 3_600),
        };
        let domain = self.vault.domain();
        let digest = order.digest(&domain);
        let signed = SignedOrder { order, signature: payer.sign(digest.as_bytes()), work, leaves };
        let (root, fuel) = (ResultsRoot::from_bytes([8; 32]), 5_000_000_000);
        let pair = members.get(..2).unwrap();
        let nonces = [Nonce::from_bytes([1; 32]), Nonce::from_bytes([2; 32])];
        let seals: Vec<_> =
            pair.iter().zip(nonces).map(|(key, nonce)| seal(digest, key.address(), root, fuel, nonce)).collect();
        let result = ResultStatement { order: digest, results_root: root, fuel, seals: seals_hash(&seals).into() };
        let rows: Vec<QuorumRow> = pair
            .iter()
            .zip(nonces)
            .map(|(key, nonce)| QuorumRow {
                provider: key.address(),
                nonce,
                signature: key.sign(&result.digest(&domain)),
            })
            .collect();
        (digest, ops::settle_quorum(self.at.vault, &signed, root, fuel, &rows, tag).unwrap())
    }
}

pub(crate) struct Party {
    pub(crate) key: Key,
    pub(crate) tx: TxManager,
    pub(crate) store: StoreHandle,
}

impl Party {
    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    pub(crate) async fn run(&self, intent: Intent) -> Receipt {
        soon(self.tx.run(intent)).await.unwrap()
    }
}
