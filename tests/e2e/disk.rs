//! A provider whose folder is damaged, cannot be written, or lies on a full disk, as its own process: it says so,
//! collects what it holds, and takes nothing new (N12).

use crate::market::{Market, Telling, provider_name, until};
use serde_json::Value;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use symbolon_primitives::{Address, Amount, Key, Royalty, Signer, Voucher, receipt::Paid, watch::Package};
use symbolon_settlement::{ChainConfig, ChainView, VaultView};
use symbolon_store::{Direction, Look};
use symbolon_tests::text;

/// Room on the small disk.
const DISK: &str = "96m";
/// When to claim, in tokens: at once; not before a job's end.
const EAGER: &str = "0.000001";
const PATIENT: &str = "1000";

/// A provider's command.
fn provider(market: &Market, index: usize, more: &[&str]) -> Command {
    market.command(&provider_name(index), &[&["provider", "run", "--rate", "0.05"], more].concat())
}

/// A command whose folder lies on a disk of its own, seen by nobody else; `script` runs it as `"$@"`.
fn on_a_disk(command: &Command, folder: &Path, script: &str) -> Command {
    let mut unshare = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.arg("--mount");
    let mut able = Command::new("unshare");
    able.args(unshare.get_args()).arg("true");
    assert!(
        able.status().is_ok_and(|status| status.success()),
        "a disk of its own takes root, or unshare (util-linux) and user namespaces: \
         sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"
    );
    let disk = format!(
        "set -e; cp -a \"$FOLDER\" \"$FOLDER.copy\"; mount -t tmpfs -o mode=700,size={DISK} none \"$FOLDER\"; \
         cp -a \"$FOLDER.copy/.\" \"$FOLDER\"; rm -r \"$FOLDER.copy\"; {script}"
    );
    unshare.args(["sh", "-c", &disk, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    unshare.env("FOLDER", folder).stdin(Stdio::null());
    unshare
}

/// What all vouchers in a folder come to. From a copy: SQLite looks for the log of a file by the name that it has here,
/// where another disk is not seen.
fn held(folder: &Path) -> Amount {
    let copy = tempfile::tempdir().unwrap();
    for name in ["symbolon.db", "symbolon.db-wal"] {
        if folder.join(name).exists() {
            fs::copy(folder.join(name), copy.path().join(name)).unwrap();
        }
    }
    let look = Look::open(copy.path()).unwrap();
    let best = look.view().best_vouchers(Direction::Received).unwrap();
    Amount::checked_sum(best.iter().map(|row| row.cumulative)).unwrap()
}

/// Overwrites the first page of a table.
fn damage(folder: &Path, table: &str) {
    let file = folder.join("symbolon.db");
    let conn = rusqlite::Connection::open(&file).unwrap();
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize;
    let page_bytes = number("PRAGMA page_size");
    let page = number(&format!("SELECT rootpage FROM sqlite_schema WHERE name = '{table}'"));
    drop(conn);
    let mut bytes = fs::read(&file).unwrap();
    bytes[(page - 1) * page_bytes..page * page_bytes].fill(0xa5);
    fs::write(&file, bytes).unwrap();
}

/// Fills a disk to the last byte.
fn fill(folder: &Path) {
    let mut file = fs::File::create(folder.join("filler")).unwrap();
    for bytes in [vec![0; 1 << 20], vec![0; 1]] {
        let error = loop {
            if let Err(error) = file.write_all(&bytes) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    }
}

struct Chain {
    runtime: tokio::runtime::Runtime,
    vault: VaultView,
}

impl Chain {
    fn of(market: &Market) -> Self {
        let file: Value = serde_json::from_slice(&fs::read(market.devnet.network()).unwrap()).unwrap();
        let address = |name: &str| -> Address { file[name].as_str().unwrap().parse().unwrap() };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let vault = runtime.block_on(async {
            let config = ChainConfig::new(market.rpc(), file["chain_id"].as_u64().unwrap());
            let view = ChainView::connect(&config).await.unwrap();
            let head = view.head().await.unwrap();
            view.vault(address("vault"), address("token"), &head).await.unwrap()
        });
        Self { runtime, vault }
    }

    /// What an account of the vault holds, beside its stake.
    fn balance(&self, of: Address) -> Amount {
        self.runtime.block_on(async {
            let head = self.vault.chain().head().await.unwrap();
            self.vault.account(of, &head).await.unwrap().balance
        })
    }
}

/// What a provider that only collects does: it says why, and brings what it holds to the chain.
fn collects(chain: &Chain, provider: &Telling, why: &[&str], owner: Address, held: Amount) {
    provider.wait_warning("nothing is signed and no order is taken", 0);
    for words in why {
        assert_eq!(provider.warnings(words), 1, "{words}: {:#?}", provider.said());
    }
    // What a silent requestor owes besides is settled, and may come first.
    until("the claim", || chain.balance(owner) >= held);
    until("a claim or settlement", || provider.count("claimed") + provider.count("quorum_settled") > 0);
    assert_eq!((provider.count("provider_ready"), provider.count("order_taken")), (0, 0), "{:#?}", provider.said());
}

/// The address that a ready provider named.
fn owner(provider: &Telling) -> Address {
    let said = provider.said();
    let ready = said.iter().find(|said| said["event"] == "provider_ready").unwrap();
    ready["address"].as_str().unwrap().parse().unwrap()
}

#[test]
fn e2e_n12_l6_a_provider_that_cannot_write_settles_by_quorum_what_a_silent_requestor_owes() {
    let mut market = Market::new();
    let chain = Chain::of(&market);
    let owners: Vec<Address> = market.providers.iter().map(owner).collect();
    market.requestor("requestor", &Key::from_bytes(&[0x52; 32]).unwrap());
    let mut job = market.job("requestor", 140, &["--withhold-vouchers"]);
    let worked = |market: &Market| {
        let all = 0..market.providers.len();
        all.filter(|index| market.providers[*index].count("computed") > 0).collect::<Vec<_>>()
    };
    until("an answer of two", || worked(&market).len() > 1);
    // Time for their Results to be exchanged, and not for anybody's turn to settle.
    std::thread::sleep(Duration::from_secs(2));
    let one = worked(&market)[0];
    market.providers.iter_mut().for_each(Telling::stop);
    job.kill();
    assert!(chain.balance(owners[one]).is_zero(), "it was settled before its time");
    damage(&market.folder(&provider_name(one)), "tx_intents");
    let damaged = Telling::start(provider(&market, one, &["--claim-at", PATIENT]));
    damaged.wait_warning("nothing is signed and no order is taken", 0);
    damaged.wait_after("quorum_settled", 0);
    until("what it is owed", || !chain.balance(owners[one]).is_zero());
    assert_eq!((damaged.count("vouchered"), damaged.count("order_taken")), (0, 0));
}

#[test]
fn e2e_n12_a_provider_that_cannot_write_says_so_collects_what_it_holds_and_takes_nothing_new() {
    let mut market = Market::new();
    let chain = Chain::of(&market);
    let owners: Vec<Address> = market.providers.iter().map(owner).collect();
    let folders: Vec<PathBuf> = (0..3).map(|index| market.folder(&provider_name(index))).collect();
    // The last one works on a small disk, and is started there once more when it has ended. Nothing temporary has room
    // elsewhere then.
    market.providers[2].stop();
    let twice = format!(
        "setpriv --pdeathsig KILL \"$@\" --claim-at {PATIENT} & echo $! > \"$FOLDER.pid\"; wait $! || true; \
         cat /dev/zero > \"$FOLDER/more\" 2> /dev/null || true; exec env TMPDIR=\"$FOLDER\" \"$@\" --claim-at {EAGER}"
    );
    let small = on_a_disk(&provider(&market, 2, &[]), &folders[2], &twice);
    market.providers[2] = Telling::start(small);
    market.providers[2].wait_after("provider_ready", 0);
    let disk = PathBuf::from(format!("/proc/{}/root{}", market.providers[2].process.0.id(), text(&folders[2])));

    // Everybody is paid for something, and claims nothing of it.
    let payer = Key::from_bytes(&[0x51; 32]).unwrap();
    market.requestor("requestor", &payer);
    let parts = ["--subtasks", "14"];
    let mut job = market.job("requestor", 140, &parts);
    market.providers.iter().for_each(|provider| provider.wait_after("vouchered", 0));

    // The disk is full while it works. Whoever asks for anything hears why it does nothing.
    fill(&disk);
    market.providers[2].wait_warning("nothing is signed any more", 0);
    assert_eq!(market.providers[2].warnings("make room on the disk"), 1, "{:#?}", market.providers[2].said());
    job.kill();
    let said = market.providers[2].said();
    let ready = said.iter().find(|said| said["event"] == "provider_ready").unwrap();
    let to = format!("{}/p2p/{}", ready["listen"][0].as_str().unwrap(), ready["peer"].as_str().unwrap());
    let voucher = Voucher { payee: owners[2], lane: Royalty::NONE.lane(0), cumulative: Amount::from_u64(1), epoch: 0 };
    let package = Package::Voucher(Paid { voucher, signature: payer.sign(&voucher.digest(&chain.vault.domain())) });
    let file = market.folder("package.json");
    fs::write(&file, serde_json::to_vec(&package).unwrap()).unwrap();
    let sent = market.run("requestor", &["watchtower", "send", "--to", &to, &text(&file)]);
    let said = String::from_utf8_lossy(&[sent.stdout, sent.stderr].concat()).into_owned();
    assert!(said.contains("this provider's disk has failed"), "{said}");
    for provider in &mut market.providers[..2] {
        provider.stop();
    }
    let held: Vec<Amount> = [&folders[0], &folders[1], &disk].map(|folder| held(folder)).to_vec();
    assert!(held.iter().all(|held| !held.is_zero()), "{held:?}");
    for owner in &owners {
        assert!(chain.balance(*owner).is_zero(), "claimed before its time");
    }

    // A damaged page; a disk that cannot be written.
    damage(&folders[0], "tx_intents");
    let dear = ["--claim-at", EAGER, "--ether-price", "1000000000"];
    let mut weighs = Telling::start(provider(&market, 0, &dear));
    weighs.wait_warning("nothing is signed and no order is taken", 0);
    // Its exposure limit is below the gas of a claim, too (SYM-25).
    weighs.wait_warning("the exposure limit, 100 tokens, is below", 0);
    std::thread::sleep(Duration::from_secs(3));
    weighs.stop();
    assert_eq!(weighs.count("claimed"), 0, "gas costs more than what is held: {:#?}", weighs.said());
    let damaged = Telling::start(provider(&market, 0, &["--claim-at", EAGER]));
    collects(&chain, &damaged, &["damaged", "symbolon restore"], owners[0], held[0]);
    let read_only = "mount -o remount,ro \"$FOLDER\"; exec \"$@\"";
    let protected = Telling::start(on_a_disk(&provider(&market, 1, &["--claim-at", EAGER]), &folders[1], read_only));
    collects(&chain, &protected, &["cannot be written", "mount the disk writable"], owners[1], held[1]);

    // Three that only collect: nobody offers anything.
    let mut job = market.job("requestor", 140, &parts);
    job.wait_after("offers", 0);
    assert!(job.said().iter().all(|said| said["event"] != "offers" || said["count"] == 0), "{:#?}", job.said());
    job.kill();

    // On the full disk once more: it had no time to make room.
    let before = market.providers[2].said().len();
    let pid = fs::read_to_string(folders[2].with_extension("pid")).unwrap();
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    // Whether it finds out when it opens its store or at its first write.
    market.providers[2].wait_warning("nothing is signed", 1);
    until("the claim", || chain.balance(owners[2]) >= held[2]);
    let said = market.providers[2].said();
    assert!(said[before..].iter().all(|said| said["event"] != "provider_ready"), "{said:#?}");
}
