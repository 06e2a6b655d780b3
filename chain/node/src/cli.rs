//! The command line: the flags every Substrate node has, and the subcommands of this one.
//!
//! Data goes to standard output, logs to standard error. The RPC listens on loopback unless `--rpc-external` says otherwise;
//! on a development chain so does the peer-to-peer port, unless `--listen-addr` names another address.

use crate::{anchor, chain_spec, service};
use sc_cli::SubstrateCli;
use std::path::PathBuf;

/// Where peers connect when `--port` does not say.
const DEFAULT_PEER_PORT: u16 = 30333;

/// The command line of the chain node.
#[derive(Debug, clap::Parser)]
pub struct Cli {
    #[command(subcommand)]
    subcommand: Option<Subcommand>,

    #[clap(flatten)]
    run: sc_cli::RunCmd,
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
pub fn run() -> sc_cli::Result<()> {
    let mut cli = Cli::from_args();
    match &cli.subcommand {
        Some(Subcommand::Key(command)) => command.run(&cli),
        Some(Subcommand::ExportChainSpec(command)) => command.run(cli.load_spec(&command.chain)?),
        Some(Subcommand::BuildStagingSpec(command)) => {
            let spec = chain_spec::staging(&command.genesis, &command.name, &command.id).map_err(application)?;
            println!("{}", sc_service::chain_ops::build_spec(&spec, false)?);
            Ok(())
        }
        Some(Subcommand::ExportGenesisAnchor(command)) => {
            let spec = chain_spec::load(&command.chain).map_err(application)?;
            let anchor = anchor::Anchor::of(&spec).map_err(application)?;
            let bytes = anchor.render(command.format);
            match &command.output {
                Some(path) => std::fs::write(path, bytes)?,
                None => std::io::Write::write_all(&mut std::io::stdout(), &bytes)?,
            }
            Ok(())
        }
        Some(Subcommand::PurgeChain(command)) => {
            let runner = cli.create_runner(command)?;
            runner.sync_run(|config| command.run(config.database))
        }
        None => {
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
            // SIGTERM and Ctrl-C end this with `Ok`, which is exit code 0.
            runner.run_node_until_exit(|config| async move { service::start(config) }).map_err(sc_cli::Error::Service)
        }
    }
}

fn loopback(port: u16) -> sc_network::Multiaddr {
    use sc_network::multiaddr::Protocol;
    sc_network::Multiaddr::empty().with(Protocol::Ip4(std::net::Ipv4Addr::LOCALHOST)).with(Protocol::Tcp(port))
}

fn application(error: impl std::error::Error + Send + Sync + 'static) -> sc_cli::Error {
    sc_cli::Error::Application(Box::new(error))
}
