//! The command line: the flags every Substrate node has, and the subcommands of this one.
//!
//! Data goes to standard output, logs to standard error. The RPC listens on loopback unless `--rpc-external` says otherwise;
//! on a development chain so does the peer-to-peer port, unless `--listen-addr` names another address. A node that stops for the sake
//! of its disk exits with 9, one that a mapped file ends with 13 ([`crate::fault`]), everything else that fails with 1.

use crate::{
    anchor, chain_spec,
    disk::{DiskArguments, DiskFailure, Watch},
    service, whole,
};
use sc_cli::SubstrateCli;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where peers connect when `--port` does not say.
const DEFAULT_PEER_PORT: u16 = 30333;
/// What the process exits with when this machine's disk has to be seen to: the class of `environment` in SPECIFICATION.md.
const DISK_EXIT_CODE: u8 = 9;

/// The command line of the chain node.
#[derive(Debug, clap::Parser)]
pub struct Cli {
    #[command(subcommand)]
    subcommand: Option<Subcommand>,

    #[clap(flatten)]
    run: sc_cli::RunCmd,

    #[clap(flatten)]
    disk: DiskArguments,
}

/// Why the program ends otherwise than it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something of the command line, the chain or the node.
    #[error(transparent)]
    Cli(#[from] sc_cli::Error),
    /// The disk has to be seen to.
    #[error(transparent)]
    Disk(#[from] DiskFailure),
}

impl Failure {
    /// What the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Cli(_) => ExitCode::FAILURE,
            Self::Disk(_) => ExitCode::from(DISK_EXIT_CODE),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Make, inspect and insert keys.
    #[command(subcommand)]
    Key(sc_cli::KeySubcommand),

    /// Print a chain's specification.
    ExportChainSpec(sc_cli::ExportChainSpecCmd),

    /// Complete the `staging` preset with authorities, stakes and balances, and print the chain's specification.
    BuildStagingSpec(BuildStagingSpec),

    /// Print what light clients pin: the genesis header and the proof of the first GRANDPA authorities.
    ExportGenesisAnchor(ExportGenesisAnchor),

    /// Remove a chain's database.
    PurgeChain(sc_cli::PurgeChainCmd),
}

#[derive(Debug, clap::Args)]
struct BuildStagingSpec {
    /// A JSON patch of the genesis: `session.keys`, `staking.stakers` and `balances.balances` at least.
    #[arg(long, value_name = "FILE")]
    genesis: PathBuf,

    /// The chain's name for people.
    #[arg(long)]
    name: String,

    /// The chain's identifier, which also names its folder.
    #[arg(long)]
    id: String,
}

#[derive(Debug, clap::Args)]
struct ExportGenesisAnchor {
    /// The chain: dev, local or a specification file.
    #[arg(long)]
    chain: String,

    /// JSON for people and scripts, or the bare SCALE encoding.
    #[arg(long, value_enum, default_value = "json")]
    format: anchor::Format,

    /// Where to write it instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl SubstrateCli for Cli {
    fn impl_name() -> String {
        "Phala Node".into()
    }

    fn impl_version() -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn description() -> String {
        "Runs a node of a Phala chain.".into()
    }

    fn author() -> String {
        "The Phala developers".into()
    }

    fn support_url() -> String {
        concat!(env!("CARGO_PKG_REPOSITORY"), "/issues").into()
    }

    fn copyright_start_year() -> i32 {
        2026
    }

    fn load_spec(&self, id: &str) -> Result<Box<dyn sc_service::ChainSpec>, String> {
        chain_spec::load(id).map(|spec| Box::new(spec) as _).map_err(|error| error.to_string())
    }
}

/// The configuration of a node that is run with `arguments`.
#[cfg(test)]
pub(crate) fn configuration(
    arguments: &[&str],
    handle: tokio::runtime::Handle,
) -> sc_cli::Result<sc_service::Configuration> {
    let cli = <Cli as clap::Parser>::parse_from(arguments);
    cli.create_configuration(&cli.run, handle)
}

/// Does what the command line says.
pub fn run() -> Result<(), Failure> {
    let cli = Cli::from_args();
    if let Some(subcommand) = &cli.subcommand {
        return Ok(run_subcommand(&cli, subcommand)?);
    }
    run_node(cli)
}

fn run_subcommand(cli: &Cli, subcommand: &Subcommand) -> sc_cli::Result<()> {
    match subcommand {
        Subcommand::Key(command) => command.run(cli),
        Subcommand::ExportChainSpec(command) => command.run(cli.load_spec(&command.chain)?),
        Subcommand::BuildStagingSpec(command) => {
            let spec = chain_spec::staging(&command.genesis, &command.name, &command.id).map_err(application)?;
            println!("{}", sc_service::chain_ops::build_spec(&spec, false)?);
            Ok(())
        }
        Subcommand::ExportGenesisAnchor(command) => {
            let spec = chain_spec::load(&command.chain).map_err(application)?;
            let anchor = anchor::Anchor::of(&spec).map_err(application)?;
            let bytes = anchor.render(command.format);
            match &command.output {
                Some(path) => std::fs::write(path, bytes)?,
                None => std::io::Write::write_all(&mut std::io::stdout(), &bytes)?,
            }
            Ok(())
        }
        Subcommand::PurgeChain(command) => {
            let runner = cli.create_runner(command)?;
            runner.sync_run(|config| command.run(config.database))
        }
    }
}

fn run_node(mut cli: Cli) -> Result<(), Failure> {
    let shared = &cli.run.shared_params;
    let development =
        chain_spec::load(&shared.chain_id(shared.dev)).is_ok_and(|spec| chain_spec::is_development(&spec));
    if development {
        // Elsewhere an authority's peer identity has to be made on purpose, because peers may rely on it.
        cli.run.network_params.node_key_params.unsafe_force_node_key_generation = true;
    }
    let mut runner = cli.create_runner(&cli.run)?;
    if development && cli.run.network_params.listen_addr.is_empty() {
        let port = cli.run.network_params.port.unwrap_or(DEFAULT_PEER_PORT);
        runner.config_mut().network.listen_addresses = vec![loopback(port)];
    }
    let database = runner.config().database.path().unwrap_or(Path::new(".")).to_owned();
    let disk = Watch::new(&cli.disk, &database, development);
    // Before the database is opened: replaying its log on a full disk would end the process.
    disk.check_room()?;
    // And before it maps files into memory that end sooner than it believes.
    whole::check(&database)?;
    // SIGTERM and Ctrl-C end this with `Ok`, which is exit code 0.
    let watch = disk.clone();
    let ended = runner.run_node_until_exit(|config| async move { service::start(config, watch) });
    ended.map_err(|error: sc_service::Error| {
        let failure = disk.failure().or_else(|| disk.check_room().err());
        failure.map_or_else(|| sc_cli::Error::Service(error).into(), Failure::Disk)
    })
}

fn loopback(port: u16) -> sc_network::Multiaddr {
    use sc_network::multiaddr::Protocol;
    sc_network::Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::LOCALHOST)).with(Protocol::Tcp(port))
}

fn application(error: impl std::error::Error + Send + Sync + 'static) -> sc_cli::Error {
    sc_cli::Error::Application(Box::new(error))
}
