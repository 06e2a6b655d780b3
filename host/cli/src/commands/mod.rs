//! What each command does. A command reads what it needs, does one thing, and gives its data to [`Output`].

mod account;
mod attest;
mod beacon;
mod brake;
mod check;
mod confidence;
pub mod contract;
mod doctor;
mod gatekeeper;
mod logs;
mod roles;
mod session;
mod status;
mod stop;
mod verify;
mod worker;

use crate::{
    args::{Cli, Command},
    dev,
    error::CliError,
    network,
    output::{note, pha, Output},
};
use clap::CommandFactory;
use phala_client::command::Command as SentCommand;

/// Runs the command that was asked for.
pub async fn run(cli: Cli, output: &Output) -> Result<(), CliError> {
    let (mut global, output) = (cli.global, *output);
    let environment = std::env::var_os("PHALA_NETWORK");
    match &cli.command {
        Command::Dev(_) => {
            if let Some(said) = network::not_for_dev(global.network.as_deref(), environment.as_deref())? {
                note(said);
            }
        }
        _ => global.network = network::named(global.network, environment)?,
    }
    let global = &global;
    match cli.command {
        Command::Dev(args) => dev::run(&args, output).await,
        Command::Stop(args) => stop::run(global, &args, output).await,
        Command::Logs(args) => logs::run(global, &args, output).await,
        Command::Status => status::run(global, output).await,
        Command::Doctor => doctor::run(output).await,
        Command::Account(command) => account::run(global, command, output).await,
        Command::Contract(command) => contract::run(global, command, output).await,
        Command::Session(command) => session::run(global, command, output).await,
        Command::Verify(args) => verify::run(global, &args, output),
        Command::Attest(command) => attest::run(global, command, output).await,
        Command::Worker(command) => worker::run(global, command, output).await,
        Command::Gatekeeper(command) => gatekeeper::run(global, command, output).await,
        Command::Beacon(command) => beacon::run(global, command, output).await,
        Command::Brake(command) => brake::run(global, command, output).await,
        Command::Node(command) => roles::node(command),
        Command::Relayer(command) => roles::relayer(global, command).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "phala", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// What a command cost, for people: what the inbox charged, and the fee of the transaction.
fn fees(command: &SentCommand) -> String {
    match command.transaction_fee {
        Some(transaction) => format!("fee {}, and {} for the transaction", pha(command.fee), pha(transaction)),
        None => format!("fee {}, and that of the transaction", pha(command.fee)),
    }
}
