//! The command line, as clap reads it.
//!
//! Scripts rely on the names here. Whoever calls the command controls every value; none is trusted before the command that takes it
//! has looked at it.

mod attest;
mod beacon;
mod brake;
mod gatekeeper;

pub use attest::{
    AttestCommand, AttestEnclaveArgs, AttestImageArgs, AttestVerifyArgs, CollateralCommand, CollateralFetchArgs,
    PageOrderArgument, WorkerCheckArgs,
};
pub use beacon::{BeaconCommand, BeaconVerifyArgs};
pub use brake::{BrakeCommand, BrakePullArgs};
pub use gatekeeper::{GatekeeperCommand, SuspendArgs, TranscriptArgs, VerifyTranscriptArgs};

use clap::{Args, Parser, Subcommand};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// A confidential network from the command line.
#[derive(Debug, Parser)]
#[command(name = "phala", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Data as JSON, one object on one line
    #[arg(long, global = true)]
    pub json: bool,
    /// The network: a folder with network.json, or a node's address ws://... [default: PHALA_NETWORK, or the last `phala dev`]
    #[arg(long, global = true, value_name = "DIR|URL")]
    pub network: Option<String>,
    /// File with the password of key files
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// A worker's address, beside those that network.json names; can be repeated
    #[arg(long = "worker", global = true, value_name = "URL")]
    pub more_workers: Vec<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an INSECURE network on this machine: chain, gatekeepers, workers, relayer, all with simulated TEEs
    Dev(DevArgs),
    /// Stop the network that `phala dev` runs
    Stop(StopArgs),
    /// Print what a process of `phala dev` logged: node, gatekeeper, worker, relayer, tee, or one by its whole name
    Logs(LogsArgs),
    /// Show height, workers, clusters and queues
    Status,
    /// Say what is missing on this machine, and the fix
    Doctor,
    /// Keys and funds
    #[command(subcommand)]
    Account(AccountCommand),
    /// Write, deploy and use contracts
    #[command(subcommand)]
    Contract(ContractCommand),
    /// One signature for many commands
    #[command(subcommand)]
    Session(SessionCommand),
    /// Verify a receipt offline, link by link, against a pinned genesis
    Verify(VerifyArgs),
    /// Look at attestation evidence, and renew what it is verified with
    #[command(subcommand)]
    Attest(AttestCommand),
    /// Check a machine, run and register a worker or gatekeeper by hand
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Seats, ceremonies, roots and identities: who holds the network's keys, and how they are made
    #[command(subcommand)]
    Gatekeeper(GatekeeperCommand),
    /// The chain's public random values, and what shows them
    #[command(subcommand)]
    Beacon(BeaconCommand),
    /// The brake: who is suspended, and gatekeepers' parts of a suspension joined
    #[command(subcommand)]
    Brake(BrakeCommand),
    /// Run a chain node by hand
    #[command(subcommand)]
    Node(NodeCommand),
    /// Run a relayer by hand
    #[command(subcommand)]
    Relayer(RelayerCommand),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `phala dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// Forget the network that is in the folder and start another
    #[arg(long)]
    pub fresh: bool,
    /// Where the network lives [default: $PHALA_HOME/dev]
    #[arg(long, value_name = "DIR")]
    pub base_path: Option<PathBuf>,
    /// Chain authorities: 1 or 4
    #[arg(long, value_name = "N", value_parser = authorities)]
    pub authorities: Option<u32>,
    /// Workers, each with a cluster of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub workers: Option<u32>,
    /// Gatekeepers: 1, which holds the whole root, or 4, each of one of 4 authorities, which make a root in a ceremony. Decided once
    /// [default: as many as authorities]
    #[arg(long, value_name = "N", value_parser = gatekeepers)]
    pub gatekeepers: Option<u32>,
    /// Relayers, among which the machines are shared out, as if they were on several hosts: 1 to 4. More than one bring each other letters
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4))]
    pub relayers: Option<u16>,
    /// WebSocket port of the first node; an error if it is busy [default: 9944, or a free one]
    #[arg(long, value_name = "PORT")]
    pub node_port: Option<u16>,
    /// HTTP port of the first worker, the others follow; an error if one is busy [default: 8100, or free ones]
    #[arg(long, value_name = "PORT")]
    pub worker_port: Option<u16>,
    /// Blocks that a cluster's epoch stays open at least, 10 or more [default: 3600, or as it was]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(10..))]
    pub epoch_blocks: Option<u32>,
    /// Blocks of a session, 10 to 86400; after every 6 sessions the authorities that finalise change as a set. Part of the
    /// genesis: decided once [default: 60]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub session_blocks: Option<u32>,
    /// Milliseconds between two blocks, even, 500 to 60000. Part of the genesis: decided once [default: 1000]
    #[arg(long, value_name = "MS", value_parser = block_milliseconds)]
    pub block_milliseconds: Option<u32>,
}

#[cfg(test)]
impl DevArgs {
    /// `phala dev` alone.
    pub const NONE: Self = Self {
        fresh: false,
        base_path: None,
        authorities: None,
        workers: None,
        gatekeepers: None,
        relayers: None,
        node_port: None,
        worker_port: None,
        epoch_blocks: None,
        session_blocks: None,
        block_milliseconds: None,
    };
}

/// What the runtime takes: half of it is the least time between two blocks.
fn block_milliseconds(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(milliseconds @ 500..=60_000) if milliseconds.is_multiple_of(2) => Ok(milliseconds),
        _ => Err("an even number from 500 to 60000".to_owned()),
    }
}

fn authorities(text: &str) -> Result<u32, String> {
    match text {
        "1" => Ok(1),
        "4" => Ok(4),
        _ => Err("a development chain has 1 or 4 authorities".to_owned()),
    }
}

fn gatekeepers(text: &str) -> Result<u32, String> {
    match text {
        "1" => Ok(1),
        "4" => Ok(4),
        _ => Err("a development network has 1 gatekeeper, or 4: one of each authority".to_owned()),
    }
}

/// `phala stop`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Where the network lives [default: that of the last `phala dev`]
    #[arg(long, value_name = "DIR")]
    pub base_path: Option<PathBuf>,
}

/// `phala logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// node, gatekeeper, worker, relayer, tee; or worker-0, node-1, ...
    pub role: String,
    /// Lines from the end
    #[arg(long, short = 'n', default_value_t = 200)]
    pub lines: usize,
    /// Go on printing what is added
    #[arg(long, short)]
    pub follow: bool,
}

/// `phala account`.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account and keep its key encrypted
    New {
        /// What to call it here
        name: String,
    },
    /// List the accounts of this machine, and the INSECURE development accounts
    List,
    /// Keep a key file of polkadot.js
    Import {
        /// The JSON file
        file: PathBuf,
        /// What to call it here [default: its name in the file]
        #[arg(long)]
        name: Option<String>,
    },
    /// Print an account's encrypted key file, which polkadot.js reads
    Export {
        /// Which account
        name: String,
    },
    /// Show what an account has
    Balance {
        /// A name, an address, or 0x and 64 digits
        account: String,
    },
    /// Send funds
    Send {
        /// To whom: a name, an address, or 0x and 64 digits
        to: String,
        /// How much: in 10^-12 PHA, or such as 1.5PHA
        amount: String,
        /// From whom
        #[arg(long)]
        from: String,
    },
}

/// `phala contract`.
#[derive(Debug, Subcommand)]
pub enum ContractCommand {
    /// Make a folder NAME with a contract to start from, and its SDK: builds without network
    New {
        /// The contract's name, which is also the folder's
        name: String,
    },
    /// Build a contract, print the path of its WebAssembly
    Build {
        /// The contract's folder
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Store code, against a deposit by its bytes, and create a contract
    Deploy(DeployArgs),
    /// Send a sealed command
    Call(CallArgs),
    /// Fetch the reply to a command that was sent before: by `phala contract call` without --wait, or by one that was interrupted
    Reply(ReplyArgs),
    /// List the commands that were sent from here and whose reply was not seen yet
    Pending,
    /// Ask one attested worker, in private
    Query(QueryArgs),
    /// Show a contract's addresses elsewhere: its own public keys of both schemes, under which gatekeepers sign the messages that it sends
    Address {
        /// 0x and 64 digits, or a name in network.json
        contract: String,
    },
    /// Show what the chain did with something that a contract sent out of its cluster, and a message's signatures:
    /// `phala contract call --wait` names it
    Egress {
        /// Its place among all that the cluster sent
        sequence: u64,
        /// The cluster
        #[arg(long, default_value_t = 0)]
        cluster: u32,
    },
    /// List the network's contracts
    List,
    /// Show a contract and its methods
    Info {
        /// 0x and 64 digits, or a name in network.json
        contract: String,
    },
    /// What a command costs by its gas class: what the inbox charges, and the fee of the transaction on top
    Estimate {
        /// The cluster
        #[arg(long, default_value_t = 0)]
        cluster: u32,
        /// The cluster of this contract, instead of --cluster
        contract: Option<String>,
    },
}

/// `phala contract deploy`.
#[derive(Clone, Debug, Args)]
pub struct DeployArgs {
    /// The contract's WebAssembly
    pub file: PathBuf,
    /// The constructor's arguments: JSON, or names of accounts
    #[arg(allow_negative_numbers = true)]
    pub args: Vec<String>,
    /// Who deploys and pays
    #[arg(long)]
    pub from: String,
    /// Where it runs
    #[arg(long, default_value_t = 0)]
    pub cluster: u32,
    /// What may be spent
    #[command(flatten)]
    pub limits: Limits,
}

/// `phala contract call`.
#[derive(Clone, Debug, Args)]
pub struct CallArgs {
    /// 0x and 64 digits, or a name in network.json
    pub contract: String,
    /// The method
    pub method: String,
    /// Its arguments: JSON, or names of accounts
    #[arg(allow_negative_numbers = true)]
    pub args: Vec<String>,
    /// Who signs and pays
    #[arg(long)]
    pub from: String,
    /// Send it in the session that --from has open in the contract's cluster: see `phala session open`
    #[arg(long)]
    pub session: bool,
    /// Send it as another command, also where the same one failed before and a copy of that may be executed
    #[arg(long)]
    pub anew: bool,
    /// Wait for the final result and print what the method returned
    #[arg(long)]
    pub wait: bool,
    /// Write the receipt here; waits
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// What may be spent
    #[command(flatten)]
    pub limits: Limits,
}

/// `phala contract reply`.
#[derive(Clone, Debug, Args)]
pub struct ReplyArgs {
    /// The command's nonce: `phala contract call` prints it, and `phala contract pending` lists it
    pub nonce: u64,
    /// Who sent it, where that is not clear
    #[arg(long)]
    pub from: Option<String>,
    /// Write the receipt here
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Seconds to wait for the final result
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub timeout: u64,
}

/// `phala session`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Open a session of an account, instead of the one that it has open here. It ends with the cluster's epoch. Its file in
    /// $PHALA_HOME/sessions is sealed by the account's key; of a development account, whose key is published, anybody who reads
    /// the file can command in its name until then
    Open(SessionOpenArgs),
}

/// `phala session open`.
#[derive(Clone, Debug, Args)]
pub struct SessionOpenArgs {
    /// Who opens it and pays
    #[arg(long)]
    pub from: String,
    /// In which cluster
    #[arg(long, default_value_t = 0)]
    pub cluster: u32,
    /// The most that the inbox may charge, in 10^-12 PHA; the fee of the transaction comes on top [default: what it costs at the
    /// most]
    #[arg(long, value_name = "AMOUNT")]
    pub max_fee: Option<u128>,
    /// Seconds for all of it, until a final result shows that it is open
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// `phala contract query`.
#[derive(Clone, Debug, Args)]
pub struct QueryArgs {
    /// 0x and 64 digits, or a name in network.json
    pub contract: String,
    /// The read-only method
    pub method: String,
    /// Its arguments: JSON, or names of accounts
    #[arg(allow_negative_numbers = true)]
    pub args: Vec<String>,
    /// Who asks
    #[arg(long)]
    pub from: String,
    /// Only an answer on state that is final at this block or later
    #[arg(long, default_value_t = 0)]
    pub min_height: u32,
}

/// What a command may spend.
#[derive(Clone, Debug, Args)]
pub struct Limits {
    /// Gas that it may use; decides its class
    #[arg(long, value_name = "GAS")]
    pub gas_limit: Option<u64>,
    /// The most that the inbox may charge, in 10^-12 PHA; the fee of the transaction, by its bytes and weight, comes on top
    /// [default: what the class costs at the most]
    #[arg(long, value_name = "AMOUNT")]
    pub max_fee: Option<u128>,
    /// Seconds for all of it: until it is in a finalised block, and until its final result where that is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// `phala verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// The receipt
    pub receipt: PathBuf,
    /// Genesis hash of the chain that it has to be of [default: that of the network's file]
    #[arg(long, value_name = "0xHASH")]
    pub genesis: Option<String>,
    /// Exit with 0 also when the evidence is simulated, which proves nothing
    #[arg(long)]
    pub allow_simulated: bool,
    /// Exit with 0 also when the receipt does not prove the chain's list of bans: a worker that signed may have been revoked
    #[arg(long)]
    pub allow_unknown_bans: bool,
}

/// `phala worker`.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// Say which TEE this machine has, what is missing, and the fix
    Check(WorkerCheckArgs),
    /// Run a worker or gatekeeper on the network's chain, until Ctrl-C
    Run(WorkerRunArgs),
    /// Show what a worker says of itself, and what the chain says of it
    Status {
        /// Its public address, such as http://127.0.0.1:8100
        url: String,
    },
    /// Register a worker with the evidence that it shows; the relayer does the same by itself
    Register {
        /// Its public address
        url: String,
        /// The operator's account, which the evidence names
        #[arg(long)]
        from: String,
    },
}

/// `phala worker run`.
#[derive(Clone, Debug, Args)]
pub struct WorkerRunArgs {
    /// worker or gatekeeper
    #[arg(long, default_value = "worker", value_parser = ["worker", "gatekeeper"])]
    pub role: String,
    /// The account that operates it
    #[arg(long)]
    pub operator: String,
    /// The cluster that it may serve
    #[arg(long, default_value_t = 0)]
    pub cluster: u32,
    /// Its folder
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Its public address
    #[arg(long, default_value = "127.0.0.1:8100")]
    pub listen: String,
    /// The address for its relayer
    #[arg(long, default_value = "127.0.0.1:8300")]
    pub operator_listen: String,
    /// A folder with a report interface, instead of the machine's own: a simulator's, for one
    #[arg(long, value_name = "DIR")]
    pub tsm: Option<PathBuf>,
    /// A file with a sealing key, instead of the one that the TEE serves; development networks only
    #[arg(long, value_name = "FILE")]
    pub sealing_key: Option<PathBuf>,
}

/// `phala node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run `phala-node` with these flags
    Run {
        /// Flags of the node: see `phala node run -- --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<std::ffi::OsString>,
    },
}

/// `phala relayer`.
#[derive(Debug, Subcommand)]
pub enum RelayerCommand {
    /// Carry finality, proofs and messages between the chain and these TEEs, until Ctrl-C
    Run(RelayerRunArgs),
}

/// `phala relayer run`.
#[derive(Clone, Debug, Args)]
pub struct RelayerRunArgs {
    /// The operator's address of a TEE, such as http://127.0.0.1:8300, and after a comma its operator's account where that is not
    /// --from; can be repeated
    #[arg(long = "tee", value_name = "URL[,ACCOUNT]", required = true)]
    pub tees: Vec<String>,
    /// The platform's collateral as its vendor or simulator gives it; renewed when the file changes; can be repeated
    #[arg(long = "collateral", value_name = "FILE")]
    pub collaterals: Vec<PathBuf>,
    /// Fetch the collateral of the platforms that are served here or registered on the chain from this service, before it ends and when
    /// there is newer: Intel's, which is https://api.trustedservices.intel.com, or a PCCS such as https://127.0.0.1:8081. None is trusted;
    /// can be repeated, and all are asked
    #[arg(long, value_name = "URL")]
    pub pccs: Vec<String>,
    /// PEM of the only certificate authorities that may vouch for the https:// services of --pccs [default: those that the operating system
    /// trusts]
    #[arg(long, value_name = "FILE", requires = "pccs")]
    pub ca_certificate: Option<PathBuf>,
    /// Where what --pccs gave is kept [default: $PHALA_HOME/collateral]
    #[arg(long, value_name = "DIR", requires = "pccs")]
    pub collateral_folder: Option<PathBuf>,
    /// The account that pays, and operates TEEs that name no other
    #[arg(long)]
    pub from: String,
    /// INSECURE: the account with the sudo key of a development chain, which records roots
    #[arg(long, value_name = "ACCOUNT")]
    pub sudo: Option<String>,
    /// Where other relayers bring letters for these TEEs: a port, which is on loopback then, or an address of this machine with a port.
    /// Whoever reaches it may bring some [default: nowhere]
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = listen)]
    pub listen: Option<SocketAddr>,
    /// Another relayer, such as http://192.0.2.7:8400, to which letters go for TEEs that are not served here; can be repeated
    #[arg(long = "peer", value_name = "URL", value_parser = peer)]
    pub peers: Vec<String>,
    /// The folder in which snapshots of the states of these workers' clusters are kept, sealed, for workers that take their place, also at
    /// other relayers; 8 GiB at most, and a folder of this relayer's own [default: none are kept]
    #[arg(long, value_name = "DIR")]
    pub snapshots: Option<PathBuf>,
}

/// An address of this machine; a port alone is on loopback.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let on_loopback = text.parse::<u16>().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    on_loopback
        .or_else(|_| text.parse())
        .map_err(|_| "a port, or an IP address and a port, such as 192.0.2.7:8400".to_owned())
}

fn peer(text: &str) -> Result<String, String> {
    phala_relayer::check_peer(text).map(|()| text.to_owned()).map_err(|error| error.message)
}

#[cfg(test)]
mod tests;
