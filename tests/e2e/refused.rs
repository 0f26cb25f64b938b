//! Bad input: a sentence, a hint, an exit code, and nothing lost.

use serde_json::Value;
use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Stdio};
use symbolon_tests::{Devnet, Running, base_units, command, ensure_ok, ensure_refused, party, run, text};

fn write(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    text(&path)
}

#[test]
fn e2e_texts_that_cannot_be_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let wav = text(&dir.path().join("out.wav"));
    let empty = write(dir.path(), "empty.txt", b" \n\t ");
    ensure_refused(&run(&["flite", &empty, &wav]).unwrap(), 3, "the text is empty").unwrap();
    let latin = write(dir.path(), "latin.txt", b"caf\xe9 society");
    ensure_refused(&run(&["flite", &latin, &wav]).unwrap(), 3, "is not UTF-8").unwrap();
    let short = write(dir.path(), "short.txt", b"only three words");
    ensure_refused(
        &run(&["flite", "--subtasks", "4", &short, &wav]).unwrap(),
        3,
        "cannot split input of 3 words into 4 subtasks",
    )
    .unwrap();
    ensure_refused(&run(&["flite", "/nowhere.txt", &wav]).unwrap(), 3, "cannot read /nowhere.txt").unwrap();
    ensure_refused(
        &run(&["flite", "--subtasks", "1", "--voice", "nobody", &short, &wav]).unwrap(),
        3,
        "there is no voice nobody",
    )
    .unwrap();
    ensure_refused(
        &run(&["flite", "--subtasks", "1", "--module", "/nowhere.wasm", &short, &wav]).unwrap(),
        7,
        "the flite module is not at /nowhere.wasm",
    )
    .unwrap();
    assert!(!Path::new(&wav).exists());
}

#[test]
fn e2e_a_machine_without_the_tools_is_told_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    // Everything the script itself calls, and none of the tools it needs.
    for tool in ["bash", "dirname", "uname", "cmp"] {
        let found = std::env::var("PATH")
            .unwrap()
            .split(':')
            .map(|folder| Path::new(folder).join(tool))
            .find(|path| path.exists())
            .expect("the tool is on this machine");
        std::os::unix::fs::symlink(found, dir.path().join(tool)).unwrap();
    }
    let output = std::process::Command::new(dir.path().join("bash"))
        .arg(symbolon_tests::root().join("scripts/demo"))
        .env("PATH", dir.path())
        .output()
        .unwrap();
    for tool in ["cargo", "node", "npm", "cc"] {
        ensure_refused(&output, 7, &format!("{tool} is missing")).unwrap();
    }
}

#[test]
fn e2e_keys_that_cannot_be_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    party(&data).unwrap();
    let (folder, password) = (text(&data), text(&data.join("password")));
    let open = |password: &str| run(&["key", "address", "--data", &folder, "--password-file", password]).unwrap();
    ensure_ok(&open(&password)).unwrap();

    let wrong = write(dir.path(), "wrong", b"battery staple\n");
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    ensure_refused(&open(&wrong), 3, "wrong password").unwrap();

    let key = data.join("key.json");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    ensure_refused(&open(&password), 3, "can be read by others (mode 644)").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();

    ensure_refused(
        &run(&["key", "new", "--data", &folder, "--password-file", &password]).unwrap(),
        3,
        "it is not overwritten",
    )
    .unwrap();
    ensure_ok(&open(&password)).unwrap();
    ensure_refused(&run(&["key", "address", "--data", &folder]).unwrap(), 3, "no terminal to ask on").unwrap();
    let nobody = text(&dir.path().join("nobody"));
    ensure_refused(
        &run(&["key", "address", "--data", &nobody, "--password-file", &password]).unwrap(),
        3,
        "there is no key in",
    )
    .unwrap();
}

#[test]
fn e2e_chains_that_are_not_there_or_not_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = text(&dir.path().join("network.json"));
    let balance = |network: &str, more: &[&str]| {
        let mut args = vec!["vault", "--network", network];
        args.extend(more);
        args.extend(["balance", "0x0000000000000000000000000000000000000001"]);
        run(&args).unwrap()
    };
    ensure_refused(&balance(&nowhere, &[]), 3, "cannot read the network file").unwrap();
    let rubbish = write(dir.path(), "rubbish.json", b"{}");
    ensure_refused(&balance(&rubbish, &[]), 3, "is not a network file").unwrap();

    let devnet = Devnet::up(&dir.path().join("devnet")).unwrap();
    ensure_ok(&balance(&devnet.network(), &[])).unwrap();
    let again = run(&["devnet", "--dir", &text(&dir.path().join("devnet")), "up", "--port", "0"]).unwrap();
    ensure_refused(&again, 3, "runs in").unwrap();

    // A port nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let dead = balance(&devnet.network(), &["--rpc", &url]);
    assert_eq!(dead.status.code(), Some(4));
    ensure_refused(&dead, 4, "").unwrap();

    let mut other: Value = serde_json::from_slice(&std::fs::read(devnet.network()).unwrap()).unwrap();
    other["chain_id"] = 1.into();
    let other = write(dir.path(), "other.json", other.to_string().as_bytes());
    ensure_refused(&balance(&other, &[]), 4, "31337").unwrap();

    let mut foreign: Value = serde_json::from_slice(&std::fs::read(devnet.network()).unwrap()).unwrap();
    foreign["vault"] = "0x00000000000000000000000000000000000000aa".into();
    let foreign = write(dir.path(), "foreign.json", foreign.to_string().as_bytes());
    let refused = balance(&foreign, &[]);
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn e2e_a_port_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let devnet = text(&dir.path().join("devnet"));
    let output = run(&["devnet", "--dir", &devnet, "up", "--port", &port]).unwrap();
    ensure_refused(&output, 4, &format!("port {port} cannot be used")).unwrap();
    ensure_refused(&run(&["devnet", "--dir", &devnet, "status"]).unwrap(), 3, "there is no devnet").unwrap();
    let demo = run(&["demo", "--out", &text(&dir.path().join("demo")), "--port", &port]).unwrap();
    ensure_refused(&demo, 4, &format!("port {port} cannot be used")).unwrap();
}

/// The market's own refusals: nobody there, too few, too dear, too little money.
#[test]
fn e2e_a_market_that_has_nothing_to_offer_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(&dir.path().join("devnet")).unwrap();
    let requestor = dir.path().join("requestor");
    let address = party(&requestor).unwrap();
    let story = write(dir.path(), "story.txt", b"A short story about a lamp that nobody lit.");
    let (wav, network) = (text(&dir.path().join("out.wav")), devnet.network());
    let (data, password) = (text(&requestor), text(&requestor.join("password")));
    let speak = |more: &[&str]| {
        let mut args = vec!["flite", "--network", &network, "--data", &data, "--password-file", &password];
        args.extend(["--subtasks", "1"]);
        args.extend(more);
        args.extend([story.as_str(), wav.as_str()]);
        run(&args).unwrap()
    };
    ensure_refused(&speak(&[]), 3, "tokens in the wallet").unwrap();
    devnet.fund(&address).unwrap();
    ensure_refused(&speak(&[]), 5, "no offers at or below the price").unwrap();

    let misfit = write(
        dir.path(),
        "misfit.wasm",
        &wat::parse_str(r#"(module (import "env" "magic" (func)) (func (export "_start")))"#).unwrap(),
    );
    ensure_refused(&speak(&["--module", &misfit]), 3, "the module does not fit the profile").unwrap();

    let mut providers = Vec::new();
    for index in 0..3 {
        let folder = dir.path().join(format!("provider-{index}"));
        let address = party(&folder).unwrap();
        devnet.fund(&address).unwrap();
        let child = command(&["provider", "run", "--json", "--rate", "0.05", "--network", &network])
            .unwrap()
            .args(["--data", &text(&folder), "--password-file", &text(&folder.join("password"))])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut provider = Running(child);
        provider.read_until("provider_ready").unwrap();
        providers.push(provider);
        if index == 1 {
            ensure_refused(&speak(&["--bid", "1", "--await-offers", "2"]), 5, "an order needs 3").unwrap();
        }
    }
    ensure_refused(&speak(&["--bid", "0.01"]), 5, "no offers at or below the price").unwrap();
    let poor = speak(&["--bid", "1", "--budget", "0.000001", "--await-offers", "3"]);
    ensure_refused(&poor, 5, "the budget does not cover").unwrap();
    assert!(!Path::new(&wav).exists());

    // Nothing is earmarked, and what was deposited can be withdrawn.
    let of = |args: &[&str]| {
        let mut all = vec!["vault", "--network", &network];
        all.extend(args);
        all.extend(["--json", "--data", &data, "--password-file", &password]);
        run(&all).unwrap()
    };
    let balance =
        |output: std::process::Output| -> Value { serde_json::from_str(&ensure_ok(&output).unwrap()).unwrap() };
    let all = 100_000_000_000_000_000_000;
    let refunded = balance(of(&["balance"]));
    assert_eq!(refunded["balance"], "0", "a refused job leaves nothing in the vault");
    assert_eq!(base_units(&refunded["wallet"]).unwrap(), all);
    let deposited = balance(of(&["deposit", "2.5"]));
    assert_eq!(deposited["balance"], "2500000000000000000");
    assert_eq!(base_units(&deposited["wallet"]).unwrap(), all - 2_500_000_000_000_000_000);
    ensure_refused(&of(&["withdraw", "3"]), 3, "cannot withdraw 3 of 2.5 free tokens").unwrap();
    ensure_ok(&of(&["withdraw"])).unwrap();
    let withdrawn = balance(of(&["balance"]));
    assert_eq!(base_units(&withdrawn["wallet"]).unwrap(), all);
    let listed = run(&["channel", "--network", &network, "ls", "--data", &data, "--json"]).unwrap();
    ensure_ok(&listed).unwrap();
}
