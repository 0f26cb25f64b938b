//! What becomes of transactions that get lost, stuck, contested, refused in
//! words only, cancelled, or too dear (L10).

use crate::world::{Party, World, amount, key, quick, soon, until};
use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::Decodable2718,
};
use alloy_primitives::{B256, U256};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use symbolon_primitives::Signer;
use symbolon_settlement::{Intent, MAX_TX_GAS, TxConfig, TxError, TxManager, ops, ops::tag};
use symbolon_store::{TxIntent, TxState};
use symbolon_tests::rpc_proxy::{Fault, RpcProxy, Rule};

const GWEI: u128 = 1_000_000_000;

/// Mints `base` to the party; each tag is a wish of its own, and one that repeats is none.
fn mint(world: &World, party: &Party, base: u64, wish: &str) -> Intent {
    ops::mint(world.at.token, party.address(), amount(base), tag(&[wish.as_bytes()]))
}

fn journal(party: &Party, id: B256) -> TxIntent {
    party.store.read(|view| view.tx(id)).unwrap().unwrap()
}

/// The most that each attempt pays for one gas, in wei.
fn fees(tx: &TxIntent) -> Vec<u128> {
    let fee = |raw: &Vec<u8>| TxEnvelope::decode_2718(&mut raw.as_slice()).unwrap().max_fee_per_gas();
    tx.attempts.iter().map(|attempt| fee(&attempt.raw)).collect()
}

const SEND: &str = "eth_sendRawTransaction";

#[tokio::test]
async fn l10_a_transaction_that_the_pool_forgot_is_sent_again() {
    let world = World::new().await;
    let party = world.party(&world.vault, "party", TxConfig { watched_blocks: 0, ..quick() }).await;
    world.anvil.set_automine(false).await.unwrap();
    let handle = party.tx.submit(mint(&world, &party, 5, "")).await.unwrap();
    let hash = journal(&party, handle.id()).attempts[0].hash;
    for _ in 0..3 {
        world.anvil.control("anvil_dropTransaction", json!([hash])).await.unwrap();
        until("the pool knows it again", async || {
            let last = journal(&party, handle.id()).attempts.last().unwrap().hash;
            (!world.rpc("eth_getTransactionByHash", json!([last])).await.is_null()).then_some(())
        })
        .await;
    }
    world.anvil.mine(1).await.unwrap();
    soon(handle.wait()).await.unwrap();
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(5), 1));
}

#[tokio::test]
async fn l10_swallowed_and_taken_but_refused_in_words_happen_once() {
    let world = World::new().await;
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    let vault = world.through(vec![proxy.url()]).await;
    let party = world.party(&vault, "party", TxConfig { watched_blocks: 0, ..quick() }).await;
    world.anvil.set_automine(false).await.unwrap();
    // Said to be taken, and never seen: sent again.
    proxy.inject(Rule::always(Fault::Swallowed).times(1));
    let handle = party.tx.submit(mint(&world, &party, 1, "swallowed")).await.unwrap();
    until("it was sent again", async || (proxy.calls("eth_sendRawTransaction") >= 2).then_some(())).await;
    world.anvil.mine(1).await.unwrap();
    soon(handle.wait()).await.unwrap();
    assert_eq!(world.wallet(party.address()).await, U256::from(1));

    // Refused, and mined all the same. Whoever asks again meanwhile gets no second one.
    let mut expected = 1;
    for words in ["internal error", "nonce too low", "insufficient funds for gas * price + value", "txpool is full"] {
        proxy.inject(Rule::always(Fault::ForwardedAndRefused(words)).times(1));
        let intent = mint(&world, &party, 1, words);
        let first = party.tx.submit(intent.clone()).await;
        if let Err(error) = &first {
            assert!(matches!(error, TxError::NotAccepted { .. }), "{error}");
        }
        let again = until("it is taken up", async || party.tx.submit(intent.clone()).await.ok()).await;
        world.anvil.mine(5).await.unwrap();
        soon(again.wait()).await.unwrap();
        expected += 1;
        assert_eq!(world.wallet(party.address()).await, U256::from(expected), "{words}");
        assert_eq!(world.sent_by(party.address()).await, expected, "{words}");
    }
    assert_eq!(proxy.fired()["forwarded-and-refused"], 4);
}

fn once() -> TxConfig {
    TxConfig { watched_blocks: 0, ..quick() }
}

#[tokio::test]
async fn l10_what_another_tool_put_under_the_nonce_is_left_alone_and_the_intent_follows() {
    let world = World::new().await;
    let party = world.party(&world.vault, "party", once()).await;
    world.anvil.set_automine(false).await.unwrap();
    let handle = party.tx.submit(mint(&world, &party, 5, "ours")).await.unwrap();
    let ours = journal(&party, handle.id());
    // Another program with the same key replaces it in the pool, at a far higher fee.
    let theirs = mint(&world, &party, 100, "theirs");
    world.rpc("anvil_impersonateAccount", json!([party.address()])).await;
    let call = json!([{
        "from": party.address(), "to": theirs.to, "data": theirs.data, "nonce": format!("{:#x}", ours.nonce.unwrap()),
        "maxFeePerGas": format!("{:#x}", 300 * GWEI), "maxPriorityFeePerGas": format!("{:#x}", 200 * GWEI),
    }]);
    world.rpc("eth_sendTransaction", call).await;
    let contested = until("it sees that the nonce is contested", async || {
        let pending = party.tx.pending();
        pending.first().and_then(|pending| pending.trouble.clone())
    })
    .await;
    assert!(matches!(&contested, TxError::NonceContested { .. }) && contested.hint().is_some(), "{contested}");
    world.anvil.mine(5).await.unwrap();
    assert_eq!(world.wallet(party.address()).await, U256::from(100));
    // At depth the nonce is theirs; ours takes the next one, and both happened once.
    until("ours follows", async || {
        world.anvil.mine(1).await.unwrap();
        party.tx.pending().is_empty().then_some(())
    })
    .await;
    soon(handle.wait()).await.unwrap();
    let end = journal(&party, handle.id());
    assert_eq!(end.nonce, ours.nonce.map(|nonce| nonce + 1));
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(105), 2));
}

#[tokio::test]
async fn l10_a_base_fee_times_fifty_is_waited_out_or_paid_within_the_caps() {
    let world = World::new().await;
    let cap = TxConfig { max_fee_per_gas: 40 * GWEI, ..once() };
    let party = world.party(&world.vault, "party", cap).await;
    let set_base_fee = async |wei: u128| {
        world.anvil.control("anvil_setNextBlockBaseFeePerGas", json!([format!("{wei:#x}")])).await.unwrap();
    };
    // In flight, when the fee goes up: it is raised until it is mined.
    world.anvil.set_automine(false).await.unwrap();
    set_base_fee(GWEI).await;
    world.anvil.mine(1).await.unwrap();
    let handle = party.tx.submit(mint(&world, &party, 1, "raised")).await.unwrap();
    let first = journal(&party, handle.id()).attempts.len();
    set_base_fee(20 * GWEI).await;
    world.anvil.mine(1).await.unwrap();
    assert_eq!(world.wallet(party.address()).await, U256::ZERO, "the old fee still sufficed");
    until("it is replaced and mined", async || {
        set_base_fee(20 * GWEI).await;
        world.anvil.mine(1).await.unwrap();
        party.tx.pending().is_empty().then_some(())
    })
    .await;
    soon(handle.wait()).await.unwrap();
    assert!(journal(&party, handle.id()).attempts.len() > first);
    // Fifty gwei are above the cap: nothing goes out, and what is asked for again later does.
    set_base_fee(50 * GWEI).await;
    world.anvil.mine(1).await.unwrap();
    let intent = mint(&world, &party, 1, "waited");
    let error = soon(party.tx.run(intent.clone())).await.unwrap_err();
    assert!(
        matches!(&error, TxError::FeeAboveCap { have, .. } if *have == 40 * GWEI) && error.hint().is_some(),
        "{error}"
    );
    // However often it is wanted, nothing of it stays in the journal.
    for wish in ["again", "and again"] {
        soon(party.tx.run(mint(&world, &party, 1, wish))).await.unwrap_err();
    }
    let open = || party.store.read(|view| view.open_txs(world.view.chain_id(), party.address())).unwrap();
    assert!(open().is_empty(), "{:?}", open());
    set_base_fee(GWEI).await;
    world.anvil.mine(1).await.unwrap();
    world.anvil.set_automine(true).await.unwrap();
    // Nor of what the account cannot pay for.
    let ether = world.view.ether(party.address()).await.unwrap();
    world.anvil.set_ether(party.address(), U256::from(1_000 * GWEI)).await.unwrap();
    for wish in ["poor", "and poor"] {
        let error = soon(party.tx.run(mint(&world, &party, 1, wish))).await.unwrap_err();
        assert!(matches!(&error, TxError::TooLittleEther { .. }) && error.hint().is_some(), "{error}");
    }
    assert!(open().is_empty(), "{:?}", open());
    world.anvil.set_ether(party.address(), ether).await.unwrap();
    soon(party.tx.run(intent)).await.unwrap();
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(2), 2));
}

#[tokio::test]
async fn l10_a_base_fee_that_rises_fifty_times_in_flight_is_paid_or_waited_out_within_the_cap() {
    let world = World::new().await;
    let next_base = async |gwei: u128| {
        let fee = format!("{:#x}", gwei * GWEI);
        world.anvil.control("anvil_setNextBlockBaseFeePerGas", json!([fee])).await.unwrap();
        world.anvil.mine(1).await.unwrap();
    };
    world.anvil.set_automine(false).await.unwrap();
    // (its cap, whether that is enough)
    for (label, cap, is_enough) in [("rich", 200 * GWEI, true), ("careful", 40 * GWEI, false)] {
        let party = world.party(&world.vault, label, TxConfig { max_fee_per_gas: cap, ..once() }).await;
        next_base(1).await;
        let handle = party.tx.submit(mint(&world, &party, 1, label)).await.unwrap();
        let first = fees(&journal(&party, handle.id()))[0];
        assert!(first < 50 * GWEI, "{first}");
        next_base(50).await;
        assert_eq!(world.wallet(party.address()).await, U256::ZERO, "the old fee still sufficed");
        if !is_enough {
            let why = until("it says what it waits for", async || {
                next_base(50).await;
                let pending = party.tx.pending();
                assert_eq!(pending[0].mined_in, None);
                pending[0].trouble.clone().filter(|why| !matches!(why, TxError::NotAccepted { .. }))
            })
            .await;
            let TxError::FeeAboveCap { have, need } = &why else { panic!("{why}") };
            assert!((*have, *need >= 50 * GWEI) == (cap, true) && why.hint().is_some(), "{why}");
            assert_eq!(world.sent_by(party.address()).await, 0);
        }
        let base = if is_enough { 50 } else { 1 };
        until("it is mined", async || {
            next_base(base).await;
            party.tx.pending().is_empty().then_some(())
        })
        .await;
        soon(handle.wait()).await.unwrap();
        let fees = fees(&journal(&party, handle.id()));
        assert!(fees.iter().all(|fee| *fee <= cap), "{fees:?}");
        assert!(!is_enough || fees.len() > 1 && fees.last().unwrap() > &(50 * GWEI), "{fees:?}");
        assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(1), 1));
    }
}

#[tokio::test]
async fn l10_what_a_pool_calls_underpriced_is_offered_more_up_to_the_cap() {
    let world = World::new().await;
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    let vault = world.through(vec![proxy.url()]).await;
    let underpriced = || Rule::always(Fault::Error(-32_000, "transaction underpriced")).on(SEND);
    // Nothing here waits for as long as a stuck one is left: it would not be over in time.
    let patient = TxConfig { replace_after: Duration::from_secs(600), ..once() };
    let party = world.party(&vault, "party", patient).await;
    proxy.inject(underpriced().times(3));
    let handle = party.tx.submit(mint(&world, &party, 1, "more")).await.unwrap();
    soon(handle.wait()).await.unwrap();
    let offered = fees(&journal(&party, handle.id()));
    assert!(offered.len() == 4 && offered.windows(2).all(|pair| pair[1] * 10 >= pair[0] * 11), "{offered:?}");
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(1), 1));

    // The pool wants more than the cap: it waits, says so, and goes out when the pool wants less.
    let cap = 4 * GWEI;
    let party = world.party(&vault, "careful", TxConfig { max_fee_per_gas: cap, ..once() }).await;
    proxy.inject(underpriced());
    let handle = party.tx.submit(mint(&world, &party, 1, "capped")).await.unwrap();
    let why = until("it says that its cap is too low", async || {
        let trouble = party.tx.pending().first().and_then(|pending| pending.trouble.clone());
        trouble.filter(|trouble| !matches!(trouble, TxError::NotAccepted { .. }))
    })
    .await;
    assert!(matches!(&why, TxError::FeeAboveCap { have, need } if *have == cap && *need > cap), "{why}");
    assert!(why.hint().is_some());
    let tried = proxy.calls(SEND);
    until("it is tried again", async || (proxy.calls(SEND) > tried + 2).then_some(())).await;
    assert!(fees(&journal(&party, handle.id())).iter().all(|fee| *fee <= cap));
    proxy.heal();
    soon(handle.wait()).await.unwrap();
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(1), 1));
}

#[tokio::test]
async fn l10_a_replacement_of_its_own_that_a_pool_calls_underpriced_is_raised_further() {
    let world = World::new().await;
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    let vault = world.through(vec![proxy.url()]).await;
    let party = world.party(&vault, "party", once()).await;
    world.anvil.set_automine(false).await.unwrap();
    let handle = party.tx.submit(mint(&world, &party, 1, "raised")).await.unwrap();
    // A pool that wants more than a tenth on top.
    proxy.inject(Rule::always(Fault::Error(-32_000, "replacement transaction underpriced")).on(SEND));
    let said =
        until("it is told", async || party.tx.pending().first().and_then(|pending| pending.trouble.clone())).await;
    assert!(matches!(said, TxError::NonceContested { .. }), "{said}");
    until("it is raised again and again", async || (journal(&party, handle.id()).attempts.len() > 3).then_some(()))
        .await;
    let offered = fees(&journal(&party, handle.id()));
    assert!(offered.windows(2).all(|pair| pair[1] * 10 >= pair[0] * 11), "{offered:?}");
    proxy.heal();
    until("the pool has the new one", async || {
        let last = journal(&party, handle.id()).attempts.last().unwrap().hash;
        (!world.rpc("eth_getTransactionByHash", json!([last])).await.is_null()).then_some(())
    })
    .await;
    world.anvil.mine(1).await.unwrap();
    soon(handle.wait()).await.unwrap();
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(1), 1));
}

#[tokio::test]
async fn l10_a_cancelled_intent_does_not_happen_unless_it_was_mined_first() {
    let world = World::new().await;
    let party = world.party(&world.vault, "party", once()).await;
    world.anvil.set_automine(false).await.unwrap();
    let handle = party.tx.submit(mint(&world, &party, 5, "cancelled")).await.unwrap();
    let again = party.tx.cancel(handle.id()).await.unwrap();
    until("what takes its place is signed", async || (journal(&party, handle.id()).attempts.len() > 1).then_some(()))
        .await;
    // A restart in between changes nothing of it.
    drop(party.tx);
    assert!(matches!(soon(again.wait()).await, Err(TxError::Stopped)));
    let party = Party {
        tx: TxManager::new(world.view.clone(), Arc::new(party.key.clone()), party.store.clone(), once()),
        ..party
    };
    let resumed = party.tx.resume().await.unwrap();
    world.anvil.mine(1).await.unwrap();
    assert!(matches!(soon(resumed[0].wait()).await, Err(TxError::Cancelled)));
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::ZERO, 1));
    // It stays so, and says so.
    let error = soon(party.tx.run(mint(&world, &party, 5, "cancelled"))).await.unwrap_err();
    assert!(matches!(error, TxError::Cancelled) && error.hint().is_some());
    assert_eq!(journal(&party, handle.id()).state, TxState::Failed);
    // Too late: it happened.
    world.anvil.set_automine(true).await.unwrap();
    let handle = party.tx.submit(mint(&world, &party, 7, "mined")).await.unwrap();
    let end = match party.tx.cancel(handle.id()).await {
        Ok(cancelled) => soon(cancelled.wait()).await,
        Err(TxError::NotUnderWay { .. }) => soon(handle.wait()).await,
        Err(error) => panic!("{error}"),
    };
    assert!(end.is_ok());
    assert!(matches!(party.tx.cancel(handle.id()).await, Err(TxError::NotUnderWay { .. })));
    assert!(matches!(party.tx.cancel(B256::ZERO).await, Err(TxError::NotUnderWay { .. })));
    assert_eq!(world.wallet(party.address()).await, U256::from(7));
}

#[tokio::test]
async fn l10_what_was_refused_is_taken_off_the_journal_once_the_chain_tells_that_it_cannot_happen() {
    let world = World::new().await;
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    let vault = world.through(vec![proxy.url()]).await;
    let party = world.party(&vault, "party", once()).await;
    let refused = mint(&world, &party, 1, "refused");
    let id = refused.id(world.view.chain_id(), party.address());
    proxy.inject(Rule::always(Fault::Error(-32_000, "busy")).on("eth_sendRawTransaction").times(1));
    assert!(matches!(soon(party.tx.run(refused)).await, Err(TxError::NotAccepted { .. })));
    let error = party.tx.cancel(id).await.unwrap_err();
    assert!(matches!(&error, TxError::MayStillHappen { .. }) && error.hint().is_some(), "{error}");
    // Its nonce went to another, which an endpoint without the state of old blocks does not tell.
    party.run(mint(&world, &party, 2, "next")).await;
    world.anvil.mine(5).await.unwrap();
    until("the other is over", async || party.tx.pending().is_empty().then_some(())).await;
    proxy.inject(Rule::always(Fault::Error(-32_000, "missing trie node")).on("eth_getTransactionCount").after(1));
    let error = party.tx.cancel(id).await.unwrap_err();
    assert!(matches!(&error, TxError::NotTold { .. }) && error.hint().is_some(), "{error}");
    proxy.heal();
    let cancelled = until("the endpoint is asked again", async || party.tx.cancel(id).await.ok()).await;
    assert!(matches!(soon(cancelled.wait()).await, Err(TxError::Cancelled)));
    assert_eq!(journal(&party, id).state, TxState::Failed);
    // Refused in words only: it has happened, and that is what is told.
    let mined = mint(&world, &party, 4, "mined");
    let id = mined.id(world.view.chain_id(), party.address());
    proxy.inject(Rule::always(Fault::ForwardedAndRefused("busy")).times(1));
    assert!(matches!(soon(party.tx.run(mined)).await, Err(TxError::NotAccepted { .. })));
    world.anvil.mine(5).await.unwrap();
    let handle = until("it is found", async || party.tx.cancel(id).await.ok()).await;
    soon(handle.wait()).await.unwrap();
    assert_eq!((world.wallet(party.address()).await, world.sent_by(party.address()).await), (U256::from(6), 2));
}

#[tokio::test]
async fn caps_of_a_transaction_and_of_a_day_and_the_gas_cap_are_kept() {
    let world = World::new().await;
    let party = world.party(&world.vault, "party", once()).await;
    let spend = async |config: TxConfig, wish: &str| {
        let tx = TxManager::new(world.view.clone(), Arc::new(party.key.clone()), party.store.clone(), config);
        soon(tx.run(mint(&world, &party, 1, wish))).await
    };
    let cost = spend(once(), "first").await.unwrap().fee_wei;
    let error = spend(TxConfig { max_tx_wei: 1_000, ..once() }, "dear").await.unwrap_err();
    assert!(matches!(error, TxError::TxAboveCap { have: 1_000, .. }) && error.hint().is_some(), "{error}");
    // What was spent today counts.
    let day = TxConfig { max_day_wei: cost * 3, ..once() };
    let tx = TxManager::new(world.view.clone(), Arc::new(party.key.clone()), party.store.clone(), day);
    assert_eq!(tx.left_today().unwrap(), cost * 2);
    let error = until("the day's cap is reached", async || {
        let wish = world.sent_by(party.address()).await.to_string();
        spend(day, &wish).await.err()
    })
    .await;
    assert!(matches!(error, TxError::DayAboveCap { .. }) && error.hint().is_some(), "{error}");
    let ether = party.tx.chain().ether(party.address()).await.unwrap();
    let spent = U256::from(10).pow(U256::from(19)) - ether;
    assert!(spent > U256::from(cost) && spent <= U256::from(cost * 3), "{spent} wei of {}", cost * 3);
    // A call that burns more than a transaction may have: told, before anything is signed.
    let payees: Vec<_> = (0..1_500_u32).map(|n| (key(&n.to_string()).address(), amount(1))).collect();
    world.fund("rich").await;
    let rich = world.party(&world.vault, "rich", once()).await;
    let error = soon(rich.tx.run(ops::pay_many(world.at.vault, &payees, B256::ZERO))).await.unwrap_err();
    assert!(matches!(&error, TxError::OverGasCap { have: MAX_TX_GAS }) && error.hint().is_some(), "{error}");
    assert_eq!(world.balance(rich.address()).await, u128::from(crate::world::DEPOSIT));
}
