//! A share of every payment for the author of the code.

use crate::market::Market;
use serde_json::Value;
use symbolon_primitives::{Address, Key, Signer};
use symbolon_tests::{base_units, ensure_refused};

fn key(byte: u8) -> Key {
    Key::from_bytes(&[byte; 32]).unwrap()
}

#[test]
fn e2e_sym_16_the_author_gets_a_share_of_what_every_provider_is_paid_and_takes_it_out() {
    let market = Market::new();
    let (payer, author) = (key(0x31), key(0x32));
    market.requestor("requestor", &payer);
    market.requestor("author", &author);
    let by = author.address().to_string();

    // More than the whole, and a share for nobody.
    let nobody = Address::ZERO.to_string();
    std::fs::write(market.folder("short.txt"), "one lamp two lamps three lamps four lamps").unwrap();
    let short = market.folder("short.txt").to_string_lossy().into_owned();
    for (royalty, author, why) in
        [("10001", &by, "royalty of 10001 basis points, at most 10000"), ("1", &nobody, "needs an author")]
    {
        let args = ["flite", "--royalty", royalty, "--author", author, &short, "sound.wav"];
        ensure_refused(&market.run("requestor", &args), 3, why).unwrap();
    }
    let alone = market.run("requestor", &["flite", "--royalty", "250", &short, "sound.wav"]);
    assert_eq!(alone.status.code(), Some(2), "for whom?");

    let job = market.job("requestor", 200, &["--royalty", "750", "--author", &by]);
    let said = market.finish("requestor", job);
    let report = said.iter().find(|said| said["event"] == "job_done").unwrap();
    let paid = base_units(&report["paid"]).unwrap();

    let all = |name: &str| -> Value { market.ask(name, &["earnings"]).pop().unwrap() };
    let (mut claimed, mut royalties) = (0, 0);
    for index in 0..market.providers.len() {
        let earned = all(&crate::market::provider_name(index));
        let of = |member: &str| base_units(&earned[member]).unwrap();
        assert_eq!(of("net"), of("claimed") - of("royalty"), "{earned}");
        // Rounded down once a lane, of which a job has two with each provider.
        assert!((of("claimed") * 750 / 10_000).abs_diff(of("royalty")) <= 2, "{earned}");
        claimed += of("claimed");
        royalties += of("royalty");
    }
    assert_eq!(claimed, paid);
    assert!(royalties > 0);

    // Credited without anybody's doing, to the unit, and the author's to take.
    let balance = || market.ask("author", &["vault", "balance"]).pop().unwrap();
    let before = balance();
    assert_eq!(base_units(&before["balance"]).unwrap(), royalties);
    market.ask("author", &["vault", "withdraw"]);
    let after = balance();
    assert_eq!(base_units(&after["balance"]).unwrap(), 0);
    assert_eq!(base_units(&after["wallet"]).unwrap(), base_units(&before["wallet"]).unwrap() + royalties);
}
