//! What a view makes of endpoints that lie, lag, hang and go away (N4, N6).

use crate::world::{DEADLINE, World, amount, lane, quick, soon, until};
use alloy_primitives::B256;
use std::time::{Duration, Instant};
use symbolon_primitives::Signer;
use symbolon_settlement::{ChainConfig, ChainError, ChainView, ChannelBook, Depth, EventFilter, Party, ops};
use symbolon_tests::rpc_proxy::{Fault, RpcProxy, Rule};

async fn proxies(world: &World, count: usize) -> Vec<RpcProxy> {
    let mut proxies = Vec::new();
    for _ in 0..count {
        proxies.push(RpcProxy::start(world.anvil.url()).await.unwrap());
    }
    proxies
}

fn urls(proxies: &[RpcProxy]) -> Vec<String> {
    proxies.iter().map(RpcProxy::url).collect()
}

/// The payer of a channel of 500 for `payee`.
async fn opened(world: &World, payee: alloy_primitives::Address) -> alloy_primitives::Address {
    world.fund("payer").await;
    let payer = world.party(&world.vault, "payer", quick()).await;
    payer.run(world.open(payer.address(), &[payee], 500, B256::ZERO).await).await;
    payer.address()
}

#[tokio::test]
async fn n6_two_of_three_decide_and_the_liar_is_left_out() {
    let world = World::new().await;
    let payee = crate::world::key("payee").address();
    let payer = opened(&world, payee).await;
    let three = proxies(&world, 3).await;
    let vault = world.through(urls(&three)).await;
    let head = vault.chain().head().await.unwrap();
    three[1].inject(Rule::always(Fault::StateFalsified));
    for _ in 0..5 {
        let state = vault.channel(payer, payee, lane(), &head).await.unwrap();
        assert_eq!(state.allocated, amount(500));
    }
    // The liar was heard, was told apart, and is asked no more for a while.
    until("the liar is left out", async || {
        vault.channel(payer, payee, lane(), &head).await.unwrap();
        vault.chain().endpoints()[1].trouble.is_some().then_some(())
    })
    .await;
    let status = &vault.chain().endpoints()[1];
    assert!(matches!(&status.trouble, Some(ChainError::BadAnswer { .. })), "{status:?}");
    assert!(three[1].fired()["state-falsified"] > 0 && vault.chain().trouble().is_none());
    // It comes back when it has mended its ways.
    three[1].heal();
    until("the liar is believed again", async || {
        vault.channel(payer, payee, lane(), &head).await.unwrap();
        vault.chain().endpoints()[1].trouble.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn n6_two_that_disagree_halt_new_money_and_say_who_said_what_but_claiming_goes_on() {
    let world = World::new().await;
    let payee = crate::world::key("payee").address();
    let payer = opened(&world, payee).await;
    let two = proxies(&world, 2).await;
    let vault = world.through(urls(&two)).await;
    let head = vault.chain().head().await.unwrap();
    two[1].inject(Rule::always(Fault::StateFalsified));
    let error = vault.channel(payer, payee, lane(), &head).await.unwrap_err();
    let ChainError::Disagreement { need: 2, said, .. } = &error else { panic!("{error}") };
    assert_eq!(said.len(), 2);
    let ports: Vec<&str> = said.iter().map(|one| one.endpoint.as_str()).collect();
    assert!(two.iter().all(|proxy| ports.iter().any(|port| proxy.url().ends_with(port))), "{error}");
    assert_ne!(said[0].answer, said[1].answer);
    assert!(error.hint().is_some() && error.is_transient());

    // One of them down: too few to believe, and the reason is told.
    two[1].heal();
    two[1].set_listening(false);
    let error = until("the second is missed", async || vault.chain().head().await.err()).await;
    assert!(matches!(error, ChainError::NoQuorum { need: 2, .. }), "{error}");
    assert!(vault.chain().trouble().is_some());
    // A new start halts too, unless there is only something to collect.
    let config = world.config(urls(&two));
    assert!(matches!(ChainView::connect(&config).await, Err(ChainError::NoQuorum { .. })));
    assert!(ChainView::connect_any(&config).await.is_ok());

    let claimer = world.party(&vault, "payee", quick()).await;
    let held = [world.voucher(&crate::world::key("payer"), payee, 300)];
    claimer.run(ops::claim(world.at.vault, &held, None, B256::ZERO)).await;
    assert_eq!(world.balance(payee).await, 300);
    let collecting = vault.for_collecting();
    let head = collecting.chain().head().await.unwrap();
    assert_eq!(collecting.channel(payer, payee, lane(), &head).await.unwrap().claimed, amount(300));
    // What needs the state for new money waits.
    let mint = ops::mint(world.at.token, payee, amount(1), B256::ZERO);
    let waiting = tokio::time::timeout(DEADLINE * 3, claimer.tx.run(mint.clone())).await;
    assert!(!matches!(waiting, Ok(Ok(_))), "{waiting:?}");

    two[1].heal();
    until("both agree again", async || vault.chain().head().await.ok()).await;
    assert!(vault.chain().trouble().is_none());
    until("what waited is done", async || claimer.tx.run(mint.clone()).await.ok()).await;
    assert_eq!(world.wallet(payee).await, alloy_primitives::U256::from(1));
}

#[tokio::test]
async fn n6_forked_endpoints_are_told_by_their_block_hashes() {
    let (world, other) = (World::new().await, World::new().await);
    world.anvil.mine(10).await.unwrap();
    // The same contracts, another history.
    other.anvil.warp(100).await.unwrap();
    other.anvil.mine(9).await.unwrap();
    let urls = |extra: &[&World]| -> Vec<String> {
        [&world, &other].iter().chain(extra).map(|world| world.anvil.url().to_owned()).collect()
    };
    let error = ChainView::connect(&world.config(urls(&[]))).await.unwrap_err();
    assert!(matches!(&error, ChainError::Disagreement { what: "eth_getBlockByNumber", .. }), "{error}");
    // With a third there is a majority. The same address twice is no third.
    let twice = ChainView::connect(&world.config(urls(&[&world]))).await.unwrap_err();
    assert!(matches!(&twice, ChainError::TwiceNamed { .. }) && twice.hint().is_some());
    let third = RpcProxy::start(world.anvil.url()).await.unwrap();
    let view = ChainView::connect(&world.config([urls(&[]), vec![third.url()]].concat())).await.unwrap();
    assert_eq!(view.head().await.unwrap(), world.view.head().await.unwrap());
    let deep = view.anchor(Depth::Blocks(4)).await.unwrap();
    assert_eq!(deep, world.view.anchor(Depth::Blocks(4)).await.unwrap());
    assert_eq!(view.anchor(Depth::Finalized).await.unwrap(), world.view.anchor(Depth::Finalized).await.unwrap());
}

#[tokio::test]
async fn n6_an_endpoint_that_has_stopped_is_told_by_the_others_and_by_the_clock() {
    let world = World::new().await;
    let frozen_at = world.view.head().await.unwrap().number;
    let three = proxies(&world, 3).await;
    let vault = world.through(urls(&three)).await;
    three[0].inject(Rule::always(Fault::Frozen(frozen_at)));
    world.anvil.mine(40).await.unwrap();
    let head = vault.chain().head().await.unwrap();
    assert_eq!(head.number, frozen_at + 40);
    let behind = until("the frozen one is left out", async || {
        vault.chain().head().await.unwrap();
        vault.chain().endpoints()[0].trouble.clone()
    })
    .await;
    assert!(matches!(behind, ChainError::Stale { .. }), "{behind}");

    // Alone, it is believed as long as its newest block may be the newest.
    let alone = ChainConfig { max_head_age: Duration::from_secs(30), ..world.config(urls(&three[..1])) };
    let view = ChainView::connect(&alone).await.unwrap();
    assert_eq!(view.head().await.unwrap().number, frozen_at);
    let impatient = ChainConfig { max_head_age: Duration::ZERO, ..alone };
    let error = until("the head is too old", async || ChainView::connect(&impatient).await.err()).await;
    assert!(matches!(&error, ChainError::OldHead { limit_secs: 0, .. }) && error.hint().is_some(), "{error}");
    assert!(ChainView::connect_any(&impatient).await.is_ok(), "collecting waits for no clock");
}

#[tokio::test]
async fn n4_one_that_hangs_costs_one_deadline_and_then_nothing_for_a_while() {
    let world = World::new().await;
    let three = proxies(&world, 3).await;
    let vault = world.through(urls(&three)).await;
    three[0].inject(Rule::always(Fault::Hang));
    let began = Instant::now();
    for _ in 0..20 {
        vault.chain().head().await.unwrap();
    }
    // Twenty looks by quorum never wait for the one that hangs longer than a moment each at the start.
    assert!(three[0].fired()["hang"] >= 1);
    assert!(began.elapsed() < DEADLINE * 20, "{:?}", began.elapsed());
    // By one endpoint: the first question waits for it, then it is left out.
    let two = world.through(urls(&three[1..])).await;
    assert!(two.for_collecting().chain().head().await.is_ok());
}

#[tokio::test]
async fn n4_a_rate_limit_is_kept_and_its_endpoint_left_alone() {
    let world = World::new().await;
    let one = proxies(&world, 1).await;
    let vault = world.through(urls(&one)).await;
    one[0].inject(Rule::always(Fault::RateLimited(1)));
    let error = vault.chain().head().await.unwrap_err();
    assert!(matches!(&error, ChainError::RateLimited { retry_secs: 1, .. }) && error.hint().is_some(), "{error}");
    let calls = one[0].calls("eth_chainId") + one[0].calls("eth_getBlockByNumber");
    for _ in 0..10 {
        assert!(matches!(vault.chain().head().await, Err(ChainError::RateLimited { .. })));
    }
    assert_eq!(one[0].calls("eth_chainId") + one[0].calls("eth_getBlockByNumber"), calls, "it was asked all the same");
    one[0].heal();
    until("it may be asked again", async || vault.chain().head().await.ok()).await;
}

#[tokio::test]
async fn n2_an_endless_answer_is_cut_off_and_too_many_logs_are_asked_for_in_parts() {
    let world = World::new().await;
    let payee = crate::world::key("payee").address();
    let payer = opened(&world, payee).await;
    let one = proxies(&world, 1).await;
    let config = ChainConfig { max_body_bytes: 20_000, ..world.config(urls(&one)) };
    let view = ChainView::connect(&config).await.unwrap();
    let head = view.head().await.unwrap();
    let vault = view.vault(world.at.vault, world.at.token, &head).await.unwrap();
    let filter = EventFilter::channels_of(payer);
    let all = vault.events(&filter, 0, head.number).await.unwrap();
    assert_eq!((all.events.len(), all.next), (1, head.number + 1));
    one[0].inject(Rule::always(Fault::Oversize(200_000)).on("eth_call").times(1));
    let error = vault.channel(payer, payee, lane(), &head).await.unwrap_err();
    assert!(matches!(&error, ChainError::Unreachable { .. }), "{error}");
    // "Query returned more than 10000 results", and an answer too large to read: less is asked for at once.
    // The code is that of too many requests too.
    for words in [
        "query returned more than 10000 results",
        "query returned more than 10000 results. Try with this block range [0x0, 0x10].",
        "query timeout exceeded",
    ] {
        one[0].inject(Rule::always(Fault::Error(-32_005, words)).on("eth_getLogs").times(1));
    }
    one[0]
        .inject(Rule::always(Fault::Error(-32_602, "range 1000000 exceeds limit of 10000")).on("eth_getLogs").times(2));
    one[0].inject(Rule::always(Fault::Oversize(200_000)).on("eth_getLogs").times(2));
    assert_eq!(vault.events(&filter, 0, head.number).await.unwrap(), all);
    assert_eq!((one[0].fired()["error"], one[0].fired()["oversize"]), (5, 3));
    // Too many requests, by the same code: fewer blocks at once are no help, and it is left alone.
    one[0].inject(Rule::always(Fault::Error(-32_005, "limit exceeded")).on("eth_getLogs").times(1));
    let error = vault.events(&filter, 0, head.number).await.unwrap_err();
    assert!(matches!(&error, ChainError::RateLimited { retry_secs: 1, .. }), "{error}");
    let again = until("it may be asked again", async || vault.events(&filter, 0, head.number).await.ok()).await;
    assert_eq!((again, one[0].fired()["error"]), (all, 6));
}

#[tokio::test]
async fn n6_logs_are_shown_in_order_once_and_of_the_chain() {
    let world = World::new().await;
    let payees: Vec<_> = (0..4).map(|n| crate::world::key(&format!("payee {n}")).address()).collect();
    let payer = opened(&world, payees[0]).await;
    let again = world.party(&world.vault, "again", quick()).await;
    drop(again);
    let opener = world.party(&world.vault, "opener", quick()).await;
    world.fund("second").await;
    drop(opener);
    let second = world.party(&world.vault, "second", quick()).await;
    for payee in &payees {
        second.run(world.open(second.address(), &[*payee], 10, B256::from(payee.into_word())).await).await;
    }
    let filter = EventFilter::channels_of(second.address());
    let to = world.view.head().await.unwrap().number;
    let truth = world.vault.events(&filter, 0, to).await.unwrap();
    assert_eq!(truth.events.len(), 4);

    let one = proxies(&world, 1).await;
    let vault = world.through(urls(&one)).await;
    for harmless in [Fault::LogsDuplicated, Fault::LogsDisordered] {
        one[0].inject(Rule::always(harmless));
        assert_eq!(vault.events(&filter, 0, to).await.unwrap(), truth);
        one[0].heal();
    }
    one[0].inject(Rule::always(Fault::LogsInvented));
    let error = vault.events(&filter, 0, to).await.unwrap_err();
    assert!(matches!(error, ChainError::BadAnswer { .. }), "{error}");
    // Left out logs: one endpoint alone can do that, and the contract's state tells all the same.
    one[0].heal();
    one[0].inject(Rule::always(Fault::LogsDropped));
    assert!(vault.events(&filter, 0, to).await.unwrap().events.is_empty());
    let head = vault.chain().head().await.unwrap();
    assert_eq!(vault.channel(payer, payees[0], lane(), &head).await.unwrap().allocated, amount(500));
    // Among three it is outvoted, whatever it does.
    let three = proxies(&world, 3).await;
    let vault = world.through(urls(&three)).await;
    for lie in [Fault::LogsDropped, Fault::LogsInvented, Fault::LogsDuplicated, Fault::LogsDisordered] {
        let name = lie.name();
        three[2].inject(Rule::always(lie));
        until("the lie is told", async || {
            assert_eq!(vault.events(&filter, 0, to).await.unwrap(), truth);
            three[2].fired().contains_key(name).then_some(())
        })
        .await;
        three[2].heal();
    }
    // Between two it halts.
    let two = proxies(&world, 2).await;
    let vault = world.through(urls(&two)).await;
    two[0].inject(Rule::always(Fault::LogsDropped));
    assert!(matches!(vault.events(&filter, 0, to).await, Err(ChainError::Disagreement { .. })));
}

#[tokio::test]
async fn n6_an_endpoint_that_changes_its_chain_is_found_out() {
    let world = World::new().await;
    let one = proxies(&world, 1).await;
    let vault = world.through(urls(&one)).await;
    one[0].inject(Rule::always(Fault::WrongChain(1)));
    let error = vault.chain().head().await.unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { have: 1, .. }), "{error}");
}

#[tokio::test]
async fn n4_a_websocket_serves_as_http_does_and_opens_again_when_it_is_cut() {
    let world = World::new().await;
    let payee = crate::world::key("payee").address();
    let payer = opened(&world, payee).await;
    let three = proxies(&world, 3).await;
    let vault = world.through(vec![three[0].ws_url()]).await;
    let head = vault.chain().head().await.unwrap();
    assert_eq!(vault.channel(payer, payee, lane(), &head).await.unwrap().allocated, amount(500));
    // Many at once on one connection.
    let reads = (0..50).map(|_| vault.channel(payer, payee, lane(), &head));
    let reads: Vec<_> = soon(futures::future::join_all(reads)).await;
    assert!(reads.iter().all(|read| read.as_ref().unwrap().allocated == amount(500)));
    three[0].cut();
    until("it opens again", async || vault.chain().head().await.ok()).await;
    three[0].set_listening(false);
    let error = until("it is missed", async || vault.chain().head().await.err()).await;
    assert!(matches!(error, ChainError::Unreachable { .. } | ChainError::TimedOut { .. }), "{error}");
    three[0].set_listening(true);
    until("it is back", async || vault.chain().head().await.ok()).await;
    // A contract's refusal comes through, and transactions go out.
    let sender = world.party(&vault, "sender", quick()).await;
    let all = ops::withdraw(world.at.vault, sender.address(), payee, amount(1), B256::ZERO);
    assert!(soon(sender.tx.run(all)).await.unwrap_err().to_string().starts_with("refused before it was sent"));
    sender.run(ops::mint(world.at.token, payee, amount(7), B256::ZERO)).await;
    // Mixed with HTTP, in a quorum.
    let mixed = world.through(vec![three[0].ws_url(), three[1].url(), three[2].ws_url()]).await;
    three[1].inject(Rule::always(Fault::Reset));
    let head = mixed.chain().head().await.unwrap();
    assert_eq!(mixed.channel(payer, payee, lane(), &head).await.unwrap().allocated, amount(500));
    // What is no WebSocket, or no TLS, is an error and no panic.
    for url in [format!("ws://{}", "127.0.0.1:1"), format!("wss://{}", three[0].url().trim_start_matches("http://"))] {
        let error = ChainView::connect(&world.config(vec![url])).await.unwrap_err();
        assert!(matches!(error, ChainError::Unreachable { .. } | ChainError::TimedOut { .. }), "{error}");
    }
}

#[tokio::test]
async fn n4_n6_a_websocket_whose_frames_break_is_said_to_be_in_trouble_left_out_and_comes_back() {
    let world = World::new().await;
    let payee = crate::world::key("payee").address();
    let payer = opened(&world, payee).await;
    let three = proxies(&world, 3).await;
    let alone = world.through(vec![three[0].ws_url()]).await;
    // Beside it two that are well, by HTTP.
    let among = world.through(vec![three[0].ws_url(), three[1].url(), three[2].url()]).await;
    let trouble = |vault: &symbolon_settlement::VaultView| vault.chain().endpoints()[0].trouble.clone();
    const HEAD: &str = "eth_getBlockByNumber";
    let broken = [
        Fault::Late(DEADLINE * 2),
        Fault::Hang,
        Fault::Half,
        Fault::Garbage,
        Fault::NotJson,
        Fault::Oversize(2 << 20),
        Fault::Status(503),
        Fault::Reset,
        Fault::RateLimited(1),
        Fault::WrongChain(1),
    ];
    for fault in broken {
        let (name, on) = (fault.name(), if matches!(fault, Fault::WrongChain(_)) { "eth_chainId" } else { HEAD });
        // A question under way on the same connection has an end too, and a head that is late by less is a head.
        three[0].inject(Rule::always(Fault::Late(DEADLINE / 4)).on("eth_call").times(1));
        let head = until("a head to ask at", async || alone.chain().head().await.ok()).await;
        three[0].inject(Rule::always(fault.clone()).on(on).times(1));
        let (read, error) =
            soon(async { tokio::join!(alone.channel(payer, payee, lane(), &head), alone.chain().head()) }).await;
        assert!(read.is_err() || read.is_ok_and(|state| state.allocated == amount(500)), "{name}");
        let error = if on == HEAD { error.unwrap_err() } else { ChainError::NoEndpoint };
        let is_it = match &fault {
            Fault::Late(_) | Fault::Hang => matches!(error, ChainError::TimedOut { .. }),
            Fault::RateLimited(_) => matches!(error, ChainError::RateLimited { retry_secs: 1, .. }),
            // Whichever of the two questions asked for the chain's id first.
            Fault::WrongChain(_) => true,
            _ => matches!(error, ChainError::Unreachable { .. }),
        };
        assert!(is_it, "{name}: {error}");
        let back = until("it is back", async || alone.chain().head().await.ok()).await;
        assert!(back.number >= head.number && trouble(&alone).is_none() && alone.chain().trouble().is_none(), "{name}");

        // For as long as it goes on, the others are enough, and it is said which one is missed. Nobody waits for one
        // that is only slow to find that out.
        let is_slow = matches!(fault, Fault::Late(_) | Fault::Hang);
        three[0].inject(Rule::always(fault).on(on));
        let began = Instant::now();
        among.chain().head().await.unwrap();
        assert!(!is_slow || began.elapsed() < DEADLINE, "{name}: {:?}", began.elapsed());
        let left_out = async || {
            among.chain().head().await.unwrap();
            trouble(&among)
        };
        if !is_slow {
            let why = until("it is left out", left_out).await;
            assert!(on == HEAD || matches!(why, ChainError::WrongChain { have: 1, .. }), "{name}: {why}");
        }
        assert_eq!(among.channel(payer, payee, lane(), &head).await.unwrap().allocated, amount(500));
        assert!(among.chain().trouble().is_none(), "{name}");
        three[0].heal();
        until("it is heard again", async || {
            among.chain().head().await.unwrap();
            trouble(&among).is_none().then_some(())
        })
        .await;
        assert!(three[0].fired()[name] >= 2, "{name}");
    }
    // Late by less than its deadline it is believed.
    three[0].inject(Rule::always(Fault::Late(DEADLINE / 4)));
    assert!(alone.chain().head().await.is_ok());
}

#[tokio::test]
async fn n5_a_book_goes_on_from_where_it_was_saved_and_finds_what_is_gone() {
    let world = World::new().await;
    let payees: Vec<_> = (0..3).map(|n| crate::world::key(&format!("payee {n}")).address()).collect();
    let payer = opened(&world, payees[0]).await;
    let party = world.party(&world.vault, "saver", quick()).await;
    let proxy = RpcProxy::start(world.anvil.url()).await.unwrap();
    let vault = world.through(vec![proxy.url()]).await;
    let mut book = ChannelBook::new(&vault, Party::Payer(payer), world.at.block);
    let head = vault.chain().head().await.unwrap();
    book.refresh(&head).await.unwrap();
    assert_eq!(book.channels().len(), 1);
    party.store.write(vec![book.save()]).await.unwrap();

    // Started again: only new blocks are asked about, and the range is halved where it is too much.
    let opener = world.party(&world.vault, "payer", quick()).await;
    opener.run(world.open(payer, &[payees[1]], 70, B256::repeat_byte(1)).await).await;
    let mut book = ChannelBook::open(&vault, Party::Payer(payer), world.at.block, &party.store).unwrap();
    assert_eq!(book.cursor().last().unwrap().hash, head.hash);
    let asked = proxy.calls("eth_getLogs");
    proxy.inject(
        Rule::always(Fault::Error(-32_602, "query returned more than 10000 results")).on("eth_getLogs").times(1),
    );
    world.anvil.mine(5).await.unwrap();
    let head = vault.chain().head().await.unwrap();
    book.refresh(&head).await.unwrap();
    assert_eq!(book.channels().len(), 2);
    assert!(proxy.calls("eth_getLogs") > asked + 1);
    let again = proxy.calls("eth_getLogs");
    book.refresh(&head).await.unwrap();
    assert_eq!(proxy.calls("eth_getLogs"), again, "nothing new to ask for");
    party.store.write(vec![book.save()]).await.unwrap();

    // While nobody looked, the chain lost the second opening, and is shorter for it.
    world.anvil.control("anvil_rollback", serde_json::json!([6])).await.unwrap();
    let mut book = ChannelBook::open(&vault, Party::Payer(payer), world.at.block, &party.store).unwrap();
    let head = vault.chain().head().await.unwrap();
    let found = book.refresh(&head).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found.values().next().unwrap().allocated, amount(500));
    // Another party, or what does not read back, begins anew.
    let payee = ChannelBook::open(&vault, Party::Payee(payees[0]), world.at.block, &party.store).unwrap();
    assert!(payee.cursor().last().is_none());
}
