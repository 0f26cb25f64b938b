//! Both scenarios of the demo, checked by their reports.

use serde_json::Value;
use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use symbolon_tests::{Running, base_units, command, ensure_ok, processes_naming, root, run, text};

fn report(out: &Path, args: &[&str]) -> Value {
    let (folder, file) = (text(&out.join("demo")), text(&out.join("report.json")));
    let mut all = vec!["demo", "--out", &folder, "--report", &file];
    all.extend(args);
    ensure_ok(&run(&all).unwrap()).unwrap();
    assert_eq!(processes_naming(&folder), 0, "a process was left behind");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn sum(providers: &[Value], member: &str) -> u128 {
    providers.iter().map(|provider| base_units(&provider[member]).unwrap()).sum()
}

fn of_role<'a>(providers: &'a [Value], role: &str) -> Vec<&'a Value> {
    providers.iter().filter(|provider| provider["role"] == role).collect()
}

/// What holds in every scenario: the liar and the crasher are unpaid and keep
/// their stake, and what was paid is what was credited.
fn check_common(report: &Value) -> Vec<Value> {
    let providers = report["providers"].as_array().unwrap().clone();
    assert_eq!(of_role(&providers, "honest").len(), providers.len() - 2);
    for role in ["liar", "crasher"] {
        let faulty = of_role(&providers, role);
        assert_eq!(faulty.len(), 1);
        assert_eq!(faulty[0]["credited"], "0", "{role}");
        assert!(faulty[0]["active"].as_u64().unwrap() >= 1, "{role} got no work");
        assert!(faulty[0]["orders"].as_u64() >= faulty[0]["active"].as_u64(), "{role}");
        assert_eq!(faulty[0]["agreed"], 0, "{role}");
    }
    assert!(of_role(&providers, "liar")[0]["disagreed"].as_u64().unwrap() >= 1, "nobody noticed the liar");
    for provider in &providers {
        assert_eq!(provider["stake"], "10000000000000000000", "{provider}");
        assert_eq!(provider["staked"], provider["stake"], "{provider}");
        assert_eq!(provider["ended"], provider["role"] == "crasher", "{provider}");
    }
    for provider in of_role(&providers, "honest") {
        let peak = provider["peak_memory_bytes"].as_u64().unwrap();
        assert!(peak < 300 << 20, "a node had {peak} bytes resident");
    }
    let of = |member: &str| base_units(&report["requestor"][member]).unwrap();
    assert!(of("paid") > 0);
    assert_eq!(of("paid"), sum(&providers, "credited"));
    assert_eq!(of("earmarked"), of("paid") + of("released") + of("still_earmarked"));
    assert!(of("deposited") >= of("earmarked"));
    let prices: std::collections::BTreeSet<&str> =
        of_role(&providers, "honest").iter().map(|provider| provider["price"].as_str().unwrap()).collect();
    assert_eq!(prices.len(), of_role(&providers, "honest").len(), "honest providers have different prices");
    providers
}

#[test]
fn e2e_a_text_is_spoken_by_strangers_and_paid_by_matching_results() {
    let out = tempfile::tempdir().unwrap();
    let report = report(out.path(), &[]);
    let providers = check_common(&report);
    assert_eq!(report["scenario"], "speech");
    let speech = &report["speech"];
    assert_eq!(speech["matches_local_run"], true);
    assert!(speech["seconds"].as_u64().unwrap() > 300);
    let sound = std::fs::read(speech["path"].as_str().unwrap()).unwrap();
    assert!(sound.starts_with(b"RIFF"));
    let requestor = &report["requestor"];
    let of = |member: &str| base_units(&requestor[member]).unwrap();
    assert!(of("released") > 0);
    assert_eq!(of("paid"), sum(&providers, "voucher"));
    for provider in of_role(&providers, "honest") {
        assert_eq!(provider["voucher"], provider["credited"], "{provider}");
    }
    assert!(report["chain"]["claims"].as_u64().unwrap() >= 1);
    assert_eq!(report["chain"]["quorum_settlements"], 0);
    // Channels opened in one transaction; a top-up may add another.
    assert!(report["chain"]["by_kind"]["open"]["transactions"].as_u64().unwrap() <= 2);
}

#[test]
fn e2e_without_the_requestor_the_quorum_settles_on_chain() {
    let out = tempfile::tempdir().unwrap();
    let report = report(out.path(), &["--scenario", "silent-requestor"]);
    let providers = check_common(&report);
    assert_eq!(report["scenario"], "silent-requestor");
    assert_eq!(report["speech"], Value::Null);
    assert!(report["chain"]["quorum_settlements"].as_u64().unwrap() >= 1);
    assert_eq!(report["chain"]["claims"], 0);
    assert_eq!(sum(&providers, "voucher"), 0);
    // Nobody is left to ask for what nobody earned.
    assert_eq!(base_units(&report["requestor"]["released"]).unwrap(), 0);
    assert!(base_units(&report["requestor"]["still_earmarked"]).unwrap() > 0);
}

/// A demo that is interfered with: everything of it has to go, anvil included,
/// whose command line names the devnet's port and no folder.
struct Disturbed {
    demo: Running,
    folder: String,
    port: String,
}

impl Disturbed {
    fn start(out: &Path, more: &[&str]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let folder = text(&out.join("demo"));
        let mut demo = command(&["demo", "--out", &folder, "--port", &port]).unwrap();
        let child = demo.args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { demo: Running(child), folder, port }
    }

    fn anvils(&self) -> usize {
        // As the system separates arguments.
        processes_naming(&format!("--hardfork\0osaka\0--slots-in-an-epoch\01\0--port\0{}\0", self.port))
    }

    /// Waits until something of it is there.
    fn until(&mut self, what: &str, is_there: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(120);
        while !is_there(self) {
            assert!(Instant::now() < until, "{what} did not start");
            assert!(self.demo.ended_within(Duration::from_millis(5)).is_none(), "the demo ended early");
        }
    }

    fn ends_and_leaves_nothing(&mut self) {
        let status = self.demo.ended_within(Duration::from_secs(60)).expect("the demo did not end");
        assert!(!status.success());
        let until = Instant::now() + Duration::from_secs(10);
        while processes_naming(&self.folder) + self.anvils() > 0 {
            assert!(Instant::now() < until, "a process was left behind");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn kill(signal: &str, pid: &str) {
    assert!(std::process::Command::new("kill").args([signal, pid]).status().unwrap().success());
}

#[test]
fn e2e_ctrl_c_leaves_no_process_behind() {
    let out = tempfile::tempdir().unwrap();
    let mut disturbed = Disturbed::start(out.path(), &[]);
    // Once the requestor runs, everybody does.
    disturbed.until("the requestor", |it| processes_naming(&format!("{}/requestor", it.folder)) > 0);
    kill("-INT", &disturbed.demo.0.id().to_string());
    disturbed.ends_and_leaves_nothing();
}

#[test]
fn e2e_ctrl_c_while_the_devnet_starts_leaves_no_process_behind() {
    let out = tempfile::tempdir().unwrap();
    // Kept processes do not end with the demo's pipes.
    let mut disturbed = Disturbed::start(out.path(), &["--keep"]);
    disturbed.until("anvil", |it| it.anvils() > 0);
    kill("-INT", &disturbed.demo.0.id().to_string());
    disturbed.ends_and_leaves_nothing();
}

#[test]
fn e2e_a_devnet_that_is_killed_takes_its_chain_along() {
    let out = tempfile::tempdir().unwrap();
    let mut disturbed = Disturbed::start(out.path(), &["--keep"]);
    let devnet = out.path().join("demo/devnet");
    disturbed.until("the devnet", |_| devnet.join("network.json").exists());
    assert_eq!(disturbed.anvils(), 1);
    kill("-KILL", std::fs::read_to_string(devnet.join("pid")).unwrap().trim());
    disturbed.ends_and_leaves_nothing();
}

#[test]
fn e2e_the_demo_refuses_what_cannot_work_before_it_starts_anything() {
    let out = tempfile::tempdir().unwrap();
    let folder = text(&out.path().join("demo"));
    let too_few = run(&["demo", "--out", &folder, "--providers", "3"]).unwrap();
    symbolon_tests::ensure_refused(&too_few, 3, "3 providers are too few").unwrap();
    let wide = run(&["demo", "--out", &folder, "--redundancy", "5"]).unwrap();
    assert_eq!(wide.status.code(), Some(2));
    let missing = run(&["demo", "--out", &folder, "--text", "/nowhere.txt"]).unwrap();
    symbolon_tests::ensure_refused(&missing, 3, "cannot read /nowhere.txt").unwrap();
    let occupied = out.path().join("mine");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("precious"), "x").unwrap();
    let kept = run(&["demo", "--out", &text(&occupied)]).unwrap();
    symbolon_tests::ensure_refused(&kept, 3, "no demo made it").unwrap();
    assert!(occupied.join("precious").exists());
    assert!(root().join("examples/texts/lighthouse.txt").exists());
}
