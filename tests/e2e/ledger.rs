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
