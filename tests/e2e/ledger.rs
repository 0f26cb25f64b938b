//! What a folder's owner is shown after a job: channels, exposure, earnings, receipts, and the doctor's word.

use serde_json::Value;
use std::path::Path;
use symbolon_tests::{base_units, command, ensure_ok, ensure_refused, run, text};

/// A demo that goes on; everything of it ends with this.
struct Kept {
    out: tempfile::TempDir,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let folder = text(self.out.path());
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let own = pid == std::process::id().to_string();
            if !own && pid.bytes().all(|b| b.is_ascii_digit()) && String::from_utf8_lossy(&line).contains(&folder) {
                let _ = std::process::Command::new("kill").arg(&pid).status();
            }
        }
    }
}

impl Kept {
    fn new() -> Self {
        let kept = Self { out: tempfile::tempdir().unwrap() };
        let script = kept.out.path().join("text.txt");
        std::fs::write(&script, "A sound is made of small parts. Each of them is spoken by somebody else.").unwrap();
        let demo = run(&["demo", "--keep", "--out", &kept.folder("demo"), "--text", &text(&script), "--subtasks", "4"]);
        ensure_ok(&demo.unwrap()).unwrap();
        kept
    }

    fn folder(&self, name: &str) -> String {
        text(&self.out.path().join(name))
    }

    /// A command of one party, as JSON lines.
    fn ask(&self, party: &str, args: &[&str]) -> Vec<Value> {
        let output = self.run(party, args);
        let said = ensure_ok(&output).unwrap();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn run(&self, party: &str, args: &[&str]) -> std::process::Output {
        let (data, network) = (self.folder(&format!("demo/{party}")), self.folder("demo/devnet/network.json"));
        let password = text(&Path::new(&data).join("password"));
        let mut all = vec!["--json", "--data", &data, "--password-file", &password];
        all.extend(args);
        command(&all).unwrap().env("SYMBOLON_NETWORK", network).output().unwrap()
    }
}

fn sum(lines: &[Value], member: &str) -> u128 {
    lines.iter().map(|line| base_units(&line[member]).unwrap()).sum()
}

/// The job is over, and everything of it is still told: agreement, order, commits, result, vouchers, transactions.
fn one_job(kept: &Kept) {
    assert!(kept.ask("requestor", &["job", "ls"]).is_empty(), "it is not unfinished");
    let jobs = kept.ask("requestor", &["job", "ls", "--all"]);
    let [listed] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!((&listed["state"], &listed["parts"], &listed["done"]), (&"done".into(), &4.into(), &4.into()));
    let shown = kept.ask("requestor", &["job", "show"]);
    assert_eq!(shown, kept.ask("requestor", &["job", "show", listed["id"].as_str().unwrap()]));
    let job = &shown[0];
    assert_eq!((&job["id"], &job["state"], &job["chain_asked"]), (&listed["id"], &"done".into(), &true.into()));
    assert_eq!(job["command"][0], "flite");
    let orders = job["orders"].as_array().unwrap();
    assert_eq!(orders.len() as u64, listed["orders"].as_u64().unwrap());
    let payer = kept.ask("requestor", &["channel", "ls"])[0]["payer"].as_str().unwrap().to_owned();
    let (mut parts, mut cost) = (std::collections::BTreeSet::new(), 0);
    for order in orders.iter().filter(|order| order["state"] == "paid") {
        parts.extend(order["parts"].as_array().unwrap().iter().map(|part| part.as_u64().unwrap()));
        let word = |value: &Value| value.as_str().is_some_and(|text| text.len() == 66 && text.starts_with("0x"));
        assert!(word(&order["order"]) && word(&order["results_root"]), "{order}");
        let members = order["members"].as_array().unwrap();
        assert_eq!(members.len(), 3);
        let agreed: Vec<&Value> = members.iter().filter(|member| member["stands"] == "agreed").collect();
        assert!(agreed.len() >= 2, "{order}");
        for member in agreed {
            assert!(["agreement", "commit", "transaction"].iter().all(|name| word(&member[name])), "{member}");
            assert!(base_units(&member["voucher"]).unwrap() >= base_units(&member["total"]).unwrap());
            cost += base_units(&member["price"]).unwrap();
            // The payee's folder tells the same of it.
            let of_payee = |name: &&str| {
                let theirs = kept.ask(name, &["channel", "ls"]);
                theirs.iter().any(|channel| channel["payee"] == member["provider"])
            };
            let name = ["provider-1", "provider-2", "provider-3"].into_iter().find(of_payee).unwrap();
            let theirs = kept.ask(name, &["channel", "show", &payer]);
            let mut theirs = theirs.iter().flat_map(|channel| channel["orders"].as_array().unwrap());
            let same = theirs.find(|theirs| theirs["order"] == order["order"]).unwrap();
            assert_eq!(same["agreement"][0], member["agreement"]);
            assert_eq!((&same["price"], &same["transaction"]), (&member["price"], &member["transaction"]));
        }
    }
    assert_eq!(parts.into_iter().collect::<Vec<u64>>(), [0, 1, 2, 3]);
    assert_eq!(base_units(&job["cost"]).unwrap(), cost);
    // Without a chain it is told all the same, and said.
    let blind = kept.run("requestor", &["job", "--rpc", "http://127.0.0.1:9", "show"]);
    let told: Value = serde_json::from_str(&ensure_ok(&blind).unwrap()).unwrap();
    assert_eq!((&told["chain_asked"], &told["cost"]), (&false.into(), &job["cost"]));
    assert!(String::from_utf8_lossy(&blind.stderr).contains("transactions are not looked for"));
    let none = format!("0x{}", "00".repeat(32));
    ensure_refused(&kept.run("requestor", &["job", "show", &none]), 3, "no such job").unwrap();
    ensure_refused(&kept.run("provider-1", &["job", "show"]), 3, "no such job").unwrap();
}

#[test]
fn e2e_l12_the_ledger_of_both_sides_says_the_same_from_agreement_to_transaction() {
    let kept = Kept::new();
    // Running nodes are looked at, not stopped.
    let requestor = kept.ask("requestor", &["channel", "ls"]);
    let paying: Vec<&Value> = requestor.iter().filter(|channel| channel["claimed"] != "0").collect();
    assert!(!paying.is_empty());
    let mut claimed = 0;
    for provider in ["provider-1", "provider-2", "provider-3"] {
        let theirs = kept.ask(provider, &["channel", "ls"]);
        for channel in &theirs {
            let same =
                requestor.iter().find(|ours| ours["payee"] == channel["payee"] && ours["lane"] == channel["lane"]);
            assert_eq!(same.unwrap()["claimed"], channel["claimed"]);
            assert_eq!(channel["role"], "payee");
        }
        let earned = kept.ask(provider, &["earnings"]);
        let total = earned.last().unwrap();
        assert_eq!(total["total"], true);
        assert_eq!(base_units(&total["claimed"]).unwrap(), sum(&theirs, "claimed"));
        assert_eq!(total["net"], total["claimed"], "no royalty was agreed");
        claimed += base_units(&total["claimed"]).unwrap();
        let exposed = kept.ask(provider, &["exposure"]);
        assert_eq!(sum(&exposed, "at_risk"), 0);
        assert_eq!(sum(&exposed, "claimed"), sum(&theirs, "claimed"));

        let found = kept.ask(provider, &["doctor"]);
        assert!(found.iter().all(|finding| finding["level"] != "wrong"), "{found:?}");
        for about in ["executor", "disk", "endpoint", "store", "transaction", "gas", "stake"] {
            assert!(found.iter().any(|finding| finding["about"] == about), "{about}");
        }
    }
    assert_eq!(claimed, sum(&requestor, "claimed"));
    assert!(claimed > 0);

    // Every paid order leads from its agreement to the transaction that paid it, on both sides alike.
    let mut paid = 0;
    for channel in paying {
        let payee = channel["payee"].as_str().unwrap();
        for shown in kept.ask("requestor", &["channel", "show", payee]) {
            for order in shown["orders"].as_array().unwrap().iter().filter(|order| order["stands"] == "agreed") {
                assert_eq!(order["state"], "paid");
                assert!(order["transaction"].as_str().unwrap().starts_with("0x"));
                assert!(!order["agreement"].as_array().unwrap().is_empty());
                assert!(base_units(&order["voucher"]).unwrap() >= base_units(&order["total"]).unwrap());
                paid += 1;
            }
        }
    }
    assert!(paid >= 2, "{paid}");
    one_job(&kept);
    let stranger = "0x00000000000000000000000000000000000000aa";
    ensure_refused(&kept.run("requestor", &["channel", "show", stranger]), 3, "no channel with").unwrap();

    // Receipts of both sides hold without the chain, and come to the same here.
    for party in ["requestor", "provider-1", "provider-2", "provider-3"] {
        let folder = kept.folder(&format!("receipts of {party}"));
        ensure_ok(&kept.run(party, &["receipt", "export", "--all", "--out", &folder])).unwrap();
        for file in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = file.unwrap().path();
            let lines = kept.ask(party, &["receipt", "verify", "--reexecute", &text(&path)]);
            let shares = lines[0]["shares"].as_array().unwrap();
            assert!(shares.len() >= 2);
            assert!(shares.iter().any(|share| !share["voucher"].is_null()));
            assert!(lines.len() > 1 && lines[1..].iter().all(|part| part["agrees"] == true));
            // One digit changed, and it shows nothing.
            let whole = std::fs::read_to_string(&path).unwrap();
            let at = whole.find("\"fuel\": ").unwrap() + 8;
            let digit = if whole[at..].starts_with('1') { "2" } else { "1" };
            let forged = text(&path.with_extension("forged"));
            std::fs::write(&forged, format!("{}{digit}{}", &whole[..at], &whole[at + 1..])).unwrap();
            let refused = kept.run(party, &["receipt", "verify", &forged]);
            assert_eq!(refused.status.code(), Some(6));
            std::fs::remove_file(forged).unwrap();
        }
    }
    let receipts = std::fs::read_dir(kept.folder("receipts of requestor")).unwrap().count();
    assert!(receipts >= 2, "{receipts}");
}
