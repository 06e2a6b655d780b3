//! `phala node run` and `phala relayer run`: single roles by hand, for networks on several machines.

use crate::{
    accounts,
    args::{Global, NodeCommand, RelayerCommand},
    error::CliError,
    home, network,
    output::note,
};
use phala_relayer::{FetchConfig, RelayerConfig, TeeEndpoint};
use std::{os::unix::process::CommandExt, process::Command};

/// Becomes the node.
pub fn node(command: NodeCommand) -> Result<(), CliError> {
    let NodeCommand::Run { flags } = command;
    become_program("phala-node", |command| command.args(flags))
}

/// Replaces this process, so that signals and exit codes are the program's own. Returns only if that fails.
pub fn become_program(name: &str, prepare: impl FnOnce(&mut Command) -> &mut Command) -> Result<(), CliError> {
    let program = home::program(name)?;
    let mut command = Command::new(&program);
    let error = prepare(&mut command).exec();
    Err(CliError::environment(format!("cannot start {}: {error}", program.display())))
}

/// Runs a relayer until it is told to end.
pub async fn relayer(global: &Global, command: RelayerCommand) -> Result<(), CliError> {
    let RelayerCommand::Run(args) = command;
    let shutdown = shutdown()?;
    let node = node_url(global)?;
    // The node may be the one that is still starting: it is waited for here as the relayer itself waits for it later.
    let connect = async {
        loop {
            match network::connect(global).await {
                Ok(connected) => return Ok(connected),
                Err(error) if error.exit_code() == UNREACHABLE => {
                    note(&format!("{}; trying again", error.message));
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    };
    tokio::pin!(shutdown);
    let connected = tokio::select! {
        connected = connect => connected?,
        () = &mut shutdown => return Ok(()),
    };
    let mut tees = Vec::new();
    for text in &args.tees {
        let (url, name) = endpoint(text);
        let operator = match name {
            Some(name) => Some(accounts::signer(global, &connected.network, name).await?),
            None => None,
        };
        tees.push(TeeEndpoint { operator_url: url.to_owned(), operator });
    }
    let mut config = RelayerConfig::new(node, tees, accounts::signer(global, &connected.network, &args.from).await?);
    if let Some(sudo) = &args.sudo {
        note("INSECURE: records roots with the chain's sudo key");
        config.governance = Some(accounts::signer(global, &connected.network, sudo).await?);
    }
    config.collateral = args.collaterals;
    if !args.pccs.is_empty() {
        let folder = match args.collateral_folder {
            Some(folder) => folder,
            None => home::folder()?.join("collateral"),
        };
        config.fetch = Some(FetchConfig { services: args.pccs, authorities: args.ca_certificate, folder });
    }
    config.listen = args.listen;
    config.peers = args.peers;
    config.snapshots = args.snapshots;
    if config.listen.is_none() && !config.peers.is_empty() {
        note("letters go to the peers and none come back: without --listen, nobody else's TEEs can answer these");
    }
    drop(connected);
    Ok(phala_relayer::run(config, shutdown).await?)
}

/// A TEE's address, and the name of its operator's account where one stands after a comma.
fn endpoint(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(',') {
        Some((url, name)) => (url, Some(name)),
        None => (text, None),
    }
}

/// The exit class of what can be tried again.
const UNREACHABLE: u8 = 6;

fn node_url(global: &Global) -> Result<String, CliError> {
    Ok(match network::select(global)? {
        network::Selected::Url(url) => url,
        network::Selected::File(file) => file.node_ws,
    })
}

/// Ready at Ctrl-C or SIGTERM.
fn shutdown() -> Result<impl std::future::Future<Output = ()>, CliError> {
    use tokio::signal::unix::{signal, SignalKind};
    let listen =
        |kind| signal(kind).map_err(|error| CliError::environment(format!("cannot listen to signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tee_may_have_an_operator_of_its_own() {
        assert_eq!(endpoint("http://127.0.0.1:8300"), ("http://127.0.0.1:8300", None));
        assert_eq!(endpoint("http://127.0.0.1:8300,bob-stash"), ("http://127.0.0.1:8300", Some("bob-stash")));
    }
}
