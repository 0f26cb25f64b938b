//! The command line, apart from what it does.

use crate::keys::{KeyCommand, PasswordArgs};
use clap::{Args, Parser, Subcommand};
use std::{path::PathBuf, sync::Arc};
use symbolon_executor::Profile;
use symbolon_primitives::{Address, Amount, ContentRef, OrderDigest};
use symbolon_store::Witness;

/// Rent out idle machines, or rent them: results that agree get paid on chain
#[derive(Debug, Parser)]
#[command(name = "symbolon", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Print results as JSON on stdout, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Folder with this party's key, peer identity and state
    #[arg(long, global = true, value_name = "DIR", env = "SYMBOLON_DATA", default_value = ".symbolon/data")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    /// Sees every point of every write of the nodes' stores: for programs that are built to, and no argument.
    #[arg(skip)]
    pub(crate) witness: Option<Arc<dyn Witness>>,
}

/// Which chain and vault to use.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Network file, as `symbolon devnet up` writes it
    #[arg(long, value_name = "FILE", env = "SYMBOLON_NETWORK", default_value = ".symbolon/devnet/network.json")]
    pub(crate) network: PathBuf,
    /// RPC endpoint (http or ws), instead of the network file's; of several, more than half have to agree
    #[arg(long, value_name = "URL", env = "SYMBOLON_RPC", value_delimiter = ',')]
    pub(crate) rpc: Vec<String>,
}

/// What transactions may cost. One that would cost more waits, and says so.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Fees of transactions")]
pub(crate) struct FeeArgs {
    /// The most ever paid for one gas, tip included, in gwei [default: 500]
    #[arg(long, value_name = "GWEI", env = "SYMBOLON_MAX_GAS_PRICE", value_parser = crate::output::parse_gwei)]
    pub(crate) max_gas_price: Option<u128>,
    /// The most that one transaction may cost, in ether [default: 1]
    #[arg(long, value_name = "ETHER", env = "SYMBOLON_MAX_TX_FEE", value_parser = crate::output::parse_ether)]
    pub(crate) max_tx_fee: Option<u128>,
    /// The most that all transactions of 24 hours may cost, in ether [default: 5]
    #[arg(long, value_name = "ETHER", env = "SYMBOLON_MAX_DAY_FEE", value_parser = crate::output::parse_ether)]
    pub(crate) max_day_fee: Option<u128>,
}

/// What gas is weighed with.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PriceArgs {
    /// What one ether is worth in tokens, to tell whether exposure limits are above the gas of settling
    #[arg(long, value_name = "TOKENS", env = "SYMBOLON_ETHER_PRICE", default_value = "0", value_parser = crate::output::parse_tokens)]
    pub(crate) ether_price: Amount,
}

/// When a claim is worth its gas.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "When to claim")]
pub(crate) struct ClaimArgs {
    /// The most of a claim that may go into its gas, such as 0.05 or 5%; needs --ether-price to mean anything
    #[arg(long, value_name = "RATIO", default_value = "5%", value_parser = crate::output::parse_ratio)]
    pub(crate) max_fee_ratio: u16,
    /// What one ether is worth in tokens, for weighing claims against their gas
    #[arg(long, value_name = "TOKENS", env = "SYMBOLON_ETHER_PRICE", default_value = "0", value_parser = crate::output::parse_tokens)]
    pub(crate) ether_price: Amount,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start, look at, or stop a local chain with the contracts on it
    Devnet {
        /// Folder of the devnet
        #[arg(long, value_name = "DIR", default_value = ".symbolon/devnet")]
        dir: PathBuf,
        #[command(subcommand)]
        command: DevnetCommand,
    },
    /// Make keys and show their addresses
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Rent this machine out
    Provider {
        #[command(subcommand)]
        command: ProviderCommand,
    },
    /// Speak a text on strangers' machines and join the sound
    #[command(
        after_help = "Example:\n  symbolon flite --subtasks 6 --budget 5 story.txt story.wav\n\nA run that was cut off goes on when the same command is given again, or with `symbolon job resume`:\nwhat was paid is fetched and not paid again. --budget, --bid and the timeouts may be other ones then."
    )]
    Flite(FliteArgs),
    /// Jobs: what became of each, and going on with one that was cut off
    #[command(
        after_help = "A job is cut off when its command is stopped, fails after work went out, or dies. The same command,\ngiven in the same folder, goes on with it; so does `symbolon job resume`. Work is given out anew only\nif its order came to nothing; results that are paid are fetched, and a part that is here is kept."
    )]
    Job {
        #[command(flatten)]
        network: NetworkArgs,
        #[command(subcommand)]
        command: JobCommand,
    },
    /// Money in the vault
    Vault {
        #[command(flatten)]
        network: NetworkArgs,
        #[command(subcommand)]
        command: VaultCommand,
    },
    /// Transactions of this data folder that are under way: look, see through, cancel
    #[command(
        after_help = "Examples:\n  symbolon tx ls\n  symbolon tx push --max-tx-fee 0.2\n  symbolon tx cancel 0x1234…"
    )]
    Tx {
        #[command(flatten)]
        network: NetworkArgs,
        #[command(subcommand)]
        command: TxCommand,
    },
    /// Channels and the vouchers in them
    #[command(
        after_help = "Examples:\n  symbolon channel claim --dry-run --ether-price 2500 --max-fee-ratio 2%\n  symbolon channel find\n  symbolon channel resume 0x1234…"
    )]
    Channel {
        #[command(flatten)]
        network: NetworkArgs,
        #[command(subcommand)]
        command: ChannelCommand,
    },
    /// For every counterparty: what is set aside, earned, promised, paid and at risk, and what happens next
    Exposure {
        #[command(flatten)]
        network: NetworkArgs,
        #[command(flatten)]
        price: PriceArgs,
    },
    /// What this provider earned, by payer: paid, on its way, at risk, and what gas cost
    Earnings {
        #[command(flatten)]
        network: NetworkArgs,
    },
    /// Show others, without a chain, that a quorum stood behind a result and what it was paid
    #[command(
        after_help = "Examples:\n  symbolon receipt export 0x1234… --out receipt.json\n  symbolon receipt verify --reexecute receipt.json"
    )]
    Receipt {
        #[command(subcommand)]
        command: ReceiptCommand,
    },
    /// Say in plain words what is wrong, or soon will be, and which command mends it
    #[command(after_help = "The exit status is 6 when something is wrong.")]
    Doctor {
        #[command(flatten)]
        network: NetworkArgs,
        #[command(flatten)]
        price: PriceArgs,
    },
    /// Collect for payees that are away: claim packages are submitted before their deadline
    #[command(
        after_help = "Examples:\n  symbolon watchtower run --listen /ip4/0.0.0.0/tcp/4010\n  symbolon provider run --watchtower /ip4/203.0.113.7/tcp/4010/p2p/12D3KooW…\n  symbolon watchtower export --out packages && symbolon watchtower send --to ADDRESS packages/*.json"
    )]
    Watchtower {
        #[command(subcommand)]
        command: WatchtowerCommand,
    },
    /// Run a module once, here, in the sandbox providers use
    #[command(
        after_help = "Example:\n  symbolon exec --dir .::/ --env LANG=C module.wasm -- -o out.txt\n\nThe exit status is the guest's; 134 after a trap, 137 when the fuel ran out."
    )]
    Exec(ExecArgs),
    /// Say what a module must be and what a run may use: the determinism profile
    Profile,
    /// Say whether a module fits the profile, and everything that keeps it from fitting
    #[command(
        after_help = "Example:\n  symbolon inspect --json module.wasm\n\nThe exit status is 3 when it does not fit."
    )]
    Inspect {
        /// Write what is compiled in its stead: with all that is counted and made canonical
        #[arg(long, value_name = "FILE")]
        compiled: Option<PathBuf>,
        /// The WebAssembly module
        module: PathBuf,
    },
    /// Name bytes, keep them, and prove that a part belongs to a name
    #[command(
        after_help = "Examples:\n  symbolon content ref story.txt\n  symbolon content prove $(symbolon content put story.txt) --offset 4096 > proof.json\n  symbolon content check proof.json"
    )]
    Content {
        #[command(subcommand)]
        command: ContentCommand,
    },
    /// Copy a node's state into one file; the node may be running
    #[command(
        after_help = "Keys stay where they are unless --with-keys is given; they are in the file as encrypted as in the folder."
    )]
    Backup {
        /// The file to write
        file: PathBuf,
        /// Put the key and the peer identity into it as well
        #[arg(long)]
        with_keys: bool,
    },
    /// Make a node's state from a backup, in a folder that has none
    #[command(
        after_help = "As provider everything in it can be claimed. As requestor nothing more is promised in a channel\nuntil the chain shows that nothing unknown can be outstanding in it; other lanes are used meanwhile."
    )]
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Compile one module from standard input within limits, for a node
    #[command(hide = true)]
    CompileModule,
    /// Run the whole story on this machine: devnet, strangers, a spoken text, payment
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevnetCommand {
    /// Start anvil, deploy the contracts, write the network file
    Up {
        /// Port of the RPC endpoint; 0 takes a free one
        #[arg(long, default_value_t = 8545)]
        port: u16,
    },
    /// Hold the chain in the foreground
    #[command(hide = true)]
    Serve {
        /// Port of the RPC endpoint; 0 takes a free one
        #[arg(long, default_value_t = 8545)]
        port: u16,
    },
    /// Say whether it runs, where, and at which block
    Status,
    /// Stop it
    Down,
    /// Give an address ether for gas and tokens to spend
    Fund {
        /// Who gets them
        address: Address,
        /// Tokens, such as 10 or 0.5
        #[arg(long, default_value = "100", value_parser = crate::output::parse_tokens)]
        tokens: Amount,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// Stake, register, and work until stopped
    #[command(
        after_help = "Example, claiming when gas takes at most 2% and spending at most 0.05 ether a day on it:\n  symbolon provider run --rate 0.05 --ether-price 2500 --max-fee-ratio 2% --max-day-fee 0.05\n\nsymbolon channel claim --dry-run with the same --claim-at, --ether-price and --max-fee-ratio\nshows what it would claim now of jobs that go on, and why."
    )]
    Run(ProviderArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ProviderArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Where to listen
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/0")]
    pub(crate) listen: Vec<String>,
    /// Price of one Gfuel, in tokens
    #[arg(long, default_value = "0.001", value_parser = crate::output::parse_tokens)]
    pub(crate) rate: Amount,
    /// Price of an order, in tokens
    #[arg(long, default_value = "0", value_parser = crate::output::parse_tokens)]
    pub(crate) flat: Amount,
    /// Stake to keep in the vault, in tokens
    #[arg(long, default_value = "10", value_parser = crate::output::parse_tokens)]
    pub(crate) stake: Amount,
    /// The most to work ahead of the money of one payer, in tokens
    #[arg(long, default_value = "100", value_parser = crate::output::parse_tokens)]
    pub(crate) exposure: Amount,
    /// The exposure to a payer key that has paid nothing yet, in tokens
    #[arg(long, default_value = "10", value_parser = crate::output::parse_tokens)]
    pub(crate) unproven: Amount,
    /// Claim vouchers once they are worth this much together, in tokens
    #[arg(long, default_value = "10", value_parser = crate::output::parse_tokens)]
    pub(crate) claim_at: Amount,
    #[command(flatten)]
    pub(crate) claims: ClaimArgs,
    /// The same as --max-fee-ratio once a job is over or its requestor is silent, where that is more
    #[arg(long, value_name = "RATIO", default_value = "20%", value_parser = crate::output::parse_ratio, help_heading = "When to claim")]
    pub(crate) max_fee_ratio_at_end: u16,
    #[command(flatten)]
    pub(crate) fees: FeeArgs,
    /// The most of the price that may go to the author of the code, in basis points
    #[arg(long, default_value_t = 2000)]
    pub(crate) max_royalty: u16,
    /// A watchtower that collects while this provider is away; several can be named
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) watchtower: Vec<String>,
    /// Misbehave on purpose, to show what becomes of it
    #[arg(long, hide = true, value_enum)]
    pub(crate) fault: Option<FaultArg>,
}

/// How a provider of the demo misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FaultArg {
    /// Flips a byte in what it returns.
    FlipByte,
    /// Dies in the middle of its work.
    Die,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct FliteArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// The text, in UTF-8
    pub(crate) input: PathBuf,
    /// The WAV file to write
    pub(crate) output: PathBuf,
    /// Parts the text is split into
    #[arg(long, default_value_t = 6)]
    pub(crate) subtasks: usize,
    /// The most to spend, in tokens
    #[arg(long, default_value = "1", value_parser = crate::output::parse_tokens)]
    pub(crate) budget: Amount,
    /// The most to pay for one Gfuel, in tokens
    #[arg(long, default_value = "0.01", value_parser = crate::output::parse_tokens)]
    pub(crate) bid: Amount,
    /// The least stake of a provider, in tokens
    #[arg(long, default_value = "1", value_parser = crate::output::parse_tokens)]
    pub(crate) min_stake: Amount,
    /// Replicas that work at once; as many must agree
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=4))]
    pub(crate) redundancy: u8,
    /// Parts given to the same replicas at once
    #[arg(long, default_value_t = 2)]
    pub(crate) batch: usize,
    /// Split at ends of sentences, which sounds better
    #[arg(long)]
    pub(crate) sentences: bool,
    /// Voice
    #[arg(long, default_value = "kal")]
    pub(crate) voice: String,
    /// The flite module
    #[arg(long, value_name = "FILE", env = "SYMBOLON_FLITE")]
    pub(crate) module: Option<PathBuf>,
    /// The author of the code, who gets --royalty of what every provider is paid
    #[arg(long, value_name = "ADDRESS", requires = "royalty")]
    pub(crate) author: Option<Address>,
    /// The author's share, in basis points, such as 250; providers choose how much they let go
    #[arg(long, value_name = "BPS", requires = "author")]
    pub(crate) royalty: Option<u16>,
    /// Time for the whole job
    #[arg(long, default_value = "00:10:00", value_parser = parse_hms)]
    pub(crate) task_timeout: u64,
    /// Time for one part
    #[arg(long, default_value = "00:01:00", value_parser = parse_hms)]
    pub(crate) subtask_timeout: u64,
    #[command(flatten)]
    pub(crate) fees: FeeArgs,
    /// Print every event as JSON on stdout
    #[arg(long, hide = true)]
    pub(crate) events: bool,
    /// Fix the randomness of the draw (demo and tests)
    #[arg(long, hide = true, value_name = "HEX")]
    pub(crate) draw_seed: Option<symbolon_primitives::Nonce>,
    /// Sign no vouchers (demo of a silent requestor)
    #[arg(long, hide = true)]
    pub(crate) withhold_vouchers: bool,
    /// Offers to wait for
    #[arg(long, hide = true)]
    pub(crate) await_offers: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// What the vault holds for this key, or for an address
    Balance {
        /// Whose; this key's when absent
        address: Option<Address>,
    },
    /// Move tokens from the wallet into the vault
    Deposit {
        /// Tokens, such as 10 or 0.5
        #[arg(value_parser = crate::output::parse_tokens)]
        amount: Amount,
        #[command(flatten)]
        fees: FeeArgs,
    },
    /// Move free balance out of the vault
    Withdraw {
        /// Tokens; everything free when absent
        #[arg(value_parser = crate::output::parse_tokens)]
        amount: Option<Amount>,
        /// Where to; this key's own address when absent
        #[arg(long)]
        to: Option<Address>,
        #[command(flatten)]
        fees: FeeArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Every unfinished job of this data folder, with the command that goes on with it
    Ls {
        /// Those that are over as well
        #[arg(long)]
        all: bool,
    },
    /// One job, also one that is over: for each order the agreements, commits, result, vouchers and transactions
    #[command(
        after_help = "A transaction is looked for on the chain; without one the ledger is shown as far as this folder knows it.\n`symbolon receipt export ORDER` shows one of the orders to others."
    )]
    Show {
        /// Which, as symbolon job ls --all names it; the newest when absent
        job: Option<symbolon_node::JobId>,
    },
    /// Go on with the unfinished job, in the folder it was begun in
    Resume,
    /// Forget an unfinished job, so that another one can begin
    #[command(
        after_help = "What was paid for and not fetched is not asked for any more; what was earmarked comes back\nwith `symbolon channel release` after its expiry. `symbolon job ls` shows how many orders are out."
    )]
    Drop {
        /// Which; the unfinished one when absent, if it is the only one
        job: Option<symbolon_node::JobId>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// Every channel this data folder knows, with what it holds and what is promised
    Ls,
    /// The channels with one counterparty: every order from its agreement to the transaction that paid it
    Show {
        /// The other side: a payer key or a payee
        address: Address,
        /// Only this lane
        #[arg(long)]
        lane: Option<u16>,
        #[command(flatten)]
        price: PriceArgs,
    },
    /// Take back what expired channels of this key have left, also of those that this data folder does not know
    Release {
        #[command(flatten)]
        fees: FeeArgs,
    },
    /// Claim what this data folder holds and is worth its gas, as a running provider does by itself while a job goes on
    #[command(
        after_help = "With --dry-run nothing is sent and a node may be running: it prints what would be sent, what would not, and why.\nWithout --ether-price nobody can weigh a claim against its gas: everything is claimed, whatever it costs.\n\nExamples:\n  symbolon channel claim --dry-run --ether-price 2500 --max-fee-ratio 2%\n  symbolon channel claim --ether-price 2500 --max-tx-fee 0.1"
    )]
    Claim {
        /// Print what would be sent and why, and send nothing
        #[arg(long)]
        dry_run: bool,
        /// The least that a claim collects while its job goes on, in tokens
        #[arg(long, value_name = "TOKENS", default_value = "0", value_parser = crate::output::parse_tokens)]
        claim_at: Amount,
        #[command(flatten)]
        claims: ClaimArgs,
        #[command(flatten)]
        fees: FeeArgs,
    },
    /// Look on the chain for channels of this key that this data folder does not know
    #[command(
        after_help = "For a folder that was lost, or restored from an old backup: it needs nothing but the key. What this key earmarked comes back with `symbolon channel release` after the expiry; what others earmarked for it is claimed with vouchers, which are in the lost folder, its backups, and with its watchtowers.\n\nExample, in a new folder:\n  symbolon key new --import secret.txt --data found && symbolon channel find --data found"
    )]
    Find,
    /// Let channels go on that the chain contradicted, after showing what happened and what may be lost
    #[command(
        after_help = "Examples:\n  symbolon channel resume 0x1234…\n  symbolon channel resume 0x1234… --lane 1 --yes"
    )]
    Resume {
        /// The other side: a payer key or a payee; several can be named
        #[arg(required = true)]
        addresses: Vec<Address>,
        /// Only this lane
        #[arg(long)]
        lane: Option<u16>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TxCommand {
    /// Everything in the journal that has no end yet; a node may be running
    Ls,
    /// See through what is under way: send it again, and raise its fee up to the caps, until it is mined
    Push {
        #[command(flatten)]
        fees: FeeArgs,
    },
    /// Put a transaction without effect in the place of one under way
    #[command(
        after_help = "Whichever of the two is mined counts. What is cancelled is not done again by itself. Others are left alone.\n\nExample:\n  symbolon tx cancel 0x1234… --max-gas-price 900"
    )]
    Cancel {
        /// The intent, as symbolon tx ls names it; its beginning is enough
        id: String,
        #[command(flatten)]
        fees: FeeArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WatchtowerCommand {
    /// Take packages over the network and from a folder, and submit each before its deadline
    Run(WatchtowerArgs),
    /// Write what a provider's data folder holds and has not collected as package files
    Export {
        #[command(flatten)]
        network: NetworkArgs,
        /// The folder to write to
        #[arg(long, short, value_name = "DIR")]
        out: PathBuf,
    },
    /// Hand package files to a watchtower and print its receipts
    Send {
        #[command(flatten)]
        network: NetworkArgs,
        /// The watchtower, with its peer id
        #[arg(long, value_name = "MULTIADDR")]
        to: String,
        /// The packages
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// What this data folder holds for others, and what watchtowers hold for it
    Ls,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WatchtowerArgs {
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Where to listen
    #[arg(long, value_name = "MULTIADDR", default_value = "/ip4/127.0.0.1/tcp/0")]
    pub(crate) listen: Vec<String>,
    /// A folder of package files to collect as well; receipts are put beside them
    #[arg(long, value_name = "DIR")]
    pub(crate) packages: Option<PathBuf>,
    /// Seconds before a channel's expiry at which its voucher is claimed, up to four times as many while the chain is
    /// congested; half a provider's margin when absent
    #[arg(long, value_name = "SECONDS")]
    pub(crate) margin: Option<u64>,
    /// Seconds before an order's settle-by at which its quorum is settled, likewise; a sixth of an order's time when absent
    #[arg(long, value_name = "SECONDS")]
    pub(crate) settle_margin: Option<u64>,
    /// The least a package has to collect, in tokens: the gas is this watchtower's
    #[arg(long, default_value = "0", value_parser = crate::output::parse_tokens)]
    pub(crate) least: Amount,
    /// The most packages of one client
    #[arg(long, default_value_t = 256)]
    pub(crate) per_client: usize,
    /// The most packages in all
    #[arg(long, default_value_t = 10_000)]
    pub(crate) most: usize,
    #[command(flatten)]
    pub(crate) fees: FeeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Write the receipt of an order this data folder knows: agreements, order, results, quorum, vouchers
    Export {
        #[command(flatten)]
        network: NetworkArgs,
        /// The order; see symbolon channel show
        order: Option<OrderDigest>,
        /// All orders that a quorum decided, each in a file of the folder --out
        #[arg(long, requires = "out", conflicts_with = "order")]
        all: bool,
        /// The file, or with --all the folder, to write; standard output when absent
        #[arg(long, short, value_name = "PATH")]
        out: Option<PathBuf>,
    },
    /// Check a receipt with nothing but the receipt: signatures, quorum, results and prices
    Verify {
        /// The receipt; - for standard input
        file: PathBuf,
        /// Also compute the results again, here
        #[arg(long)]
        reexecute: bool,
        /// The folder with the module and inputs; the data folder's own when absent
        #[arg(long, value_name = "DIR", requires = "reexecute")]
        content: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContentCommand {
    /// Print the reference of a file, however long (the chunk tree that Swarm uses)
    Ref {
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Keep a file in the data folder and print its reference
    Put {
        /// The file; - for standard input
        file: PathBuf,
    },
    /// Read kept bytes, checked against their reference
    Get {
        /// Their reference
        reference: ContentRef,
        /// The file to write; standard output when absent
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print a proof that 32 bytes of kept content belong to its reference
    Prove {
        /// The reference
        reference: ContentRef,
        /// A byte among the 32
        #[arg(long)]
        offset: u64,
    },
    /// Check a proof with nothing but the proof, and print the bytes it proves
    Check {
        /// The proof; - for standard input
        proof: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ExecArgs {
    /// An environment variable for the guest; without a value, this process's own
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub(crate) env: Vec<(String, String)>,
    /// What the guest finds as its own name, instead of the module's
    #[arg(long, value_name = "NAME")]
    pub(crate) argv0: Option<String>,
    /// A host folder the guest sees; what it writes there comes back
    #[arg(long, value_name = "HOST[::GUEST]")]
    pub(crate) dir: Vec<String>,
    /// The most fuel to burn
    #[arg(long, default_value_t = 1_000_000_000_000)]
    pub(crate) fuel: u64,
    /// The most linear memory, such as 256MiB or 1GiB
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub(crate) memory: u64,
    /// The determinism profile, by number or id; there is one so far
    #[arg(long, default_value = "1", value_parser = parse_profile)]
    pub(crate) profile: Profile,
    /// How the module is started
    #[arg(long, value_enum, default_value = "command")]
    pub(crate) level: LevelArg,
    /// Write what the run came to as JSON: outcome, fuel, virtual seconds, result root, outputs
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// The WebAssembly module
    pub(crate) module: PathBuf,
    /// The guest's arguments: from the first word on that is no option of symbolon's own, or everything behind --
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// How a module is started (SYM-35).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LevelArg {
    /// `_start`, with folders, streams, arguments and environment.
    Command,
    /// `compute(in, out)`: standard input in, standard output out, and nothing else.
    Compute,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// What happens
    #[arg(long, value_enum, default_value = "speech")]
    pub(crate) scenario: Scenario,
    /// Write the facts as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// The text to speak, in UTF-8
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// Providers in all, one liar and one that dies among them
    #[arg(long, value_name = "N")]
    pub(crate) providers: Option<usize>,
    /// Replicas that work at once; as many must agree
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=4))]
    pub(crate) redundancy: u8,
    /// Parts the text is split into
    #[arg(long, default_value_t = 12)]
    pub(crate) subtasks: usize,
    /// Budget, in tokens
    #[arg(long, default_value = "20", value_parser = crate::output::parse_tokens)]
    pub(crate) budget: Amount,
    /// Leave the devnet and the nodes running
    #[arg(long)]
    pub(crate) keep: bool,
    /// Port of the devnet; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Where everything of this run goes
    #[arg(long, value_name = "DIR", default_value = "out/demo")]
    pub(crate) out: PathBuf,
}

/// What the demo shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// A text is spoken and paid for
    Speech,
    /// The requestor dies before it pays; the providers settle by quorum
    SilentRequestor,
}

fn parse_env(text: &str) -> Result<(String, String), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => (text, std::env::var(text).map_err(|_| format!("{text} is not set here; NAME=VALUE gives a value"))?),
    };
    if name.is_empty() { Err("expected NAME or NAME=VALUE".into()) } else { Ok((name.into(), value)) }
}

/// Bytes, with an optional power of 1,024.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err("expected bytes, or a number followed by KiB, MiB or GiB".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number such as 256MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "that is more than a machine has".into())
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    if text == "1" || text == Profile::V1.id().to_string() {
        return Ok(Profile::V1);
    }
    Err("this version serves profile 1 only (see symbolon profile)".into())
}

fn parse_hms(text: &str) -> Result<u64, String> {
    let wrong = || "expected HH:MM:SS, more than zero".to_owned();
    let parts: Vec<&str> = text.split(':').collect();
    let [hours, minutes, seconds] = parts.as_slice() else { return Err(wrong()) };
    let number = |s: &str, below: u64| match s.parse::<u64>() {
        Ok(n) if s.len() == 2 && n < below => Ok(n),
        _ => Err(wrong()),
    };
    let secs = number(hours, 100)? * 3600 + number(minutes, 60)? * 60 + number(seconds, 60)?;
    if secs == 0 { Err(wrong()) } else { Ok(secs) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_and_profiles() {
        assert_eq!(parse_size("65536"), Ok(65_536));
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        for bad in ["", "MiB", "1.5GiB", "-1", "1TB", "99999999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_profile(&Profile::V1.id().to_string()), Ok(Profile::V1));
        assert!(parse_profile("2").is_err());
    }

    #[test]
    fn times_and_variables() {
        assert_eq!(parse_hms("00:10:00"), Ok(600));
        for bad in ["", "00:00:00", "1:2:3", "00:60:00", "10:00", "-1:00:00"] {
            assert!(parse_hms(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_env("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(parse_env("=x").is_err());
    }
}
