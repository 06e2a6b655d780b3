//! `phala session`: one signature of the account for many commands. `phala contract call --session` uses what is opened here.

use super::fees;
use crate::{
    accounts,
    args::{Global, SessionCommand, SessionOpenArgs},
    error::{CliError, Code},
    network::{self, Connected},
    output::Output,
    sessions::{Place, Store, OPEN},
};
use phala_client::{
    command::{session::verify_open, Command},
    Account, CommandOptions, ErrorCode,
};
use phala_protocol::{gas::GasClass, ClusterId, ContractId};
use serde_json::json;
use std::time::Duration;

/// Runs `phala session`.
pub async fn run(global: &Global, command: SessionCommand, output: Output) -> Result<(), CliError> {
    match command {
        SessionCommand::Open(args) => open(global, &args, output).await,
    }
}

async fn open(global: &Global, args: &SessionOpenArgs, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let cluster = ClusterId(args.cluster);
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let workers = connected.workers_of(cluster)?;
    let options = CommandOptions {
        gas_limit: GasClass::Small.gas(),
        max_fee: args.max_fee,
        timeout: Duration::from_secs(args.timeout),
        ..CommandOptions::default()
    };
    let held = Store::open()?.hold(place(&connected, &account, cluster)).await?;
    let (session, command) = connected.network.open_session_alone(&account, cluster, &options).await?;
    // Before it is known to be open: it was paid for.
    held.write(session.keep().expose())?;
    let completed = connected.network.complete(&account, &command, &workers, options.timeout).await?;
    verify_open(&completed)?;
    let json = json!({
        "cluster": cluster.0,
        "epoch": session.epoch(),
        "block": command.block,
        "fee": command.fee.to_string(),
        "transaction_fee": command.transaction_fee.map(|fee| fee.to_string()),
    });
    output.data(&json, || {
        format!(
            "open in cluster {cluster} until its epoch {} ends, {}; `phala contract call ... --session` uses it",
            session.epoch(),
            fees(&command)
        )
    });
    Ok(())
}

/// Sends a command in the session that `account` has open in `cluster`.
pub async fn call(
    connected: &Connected,
    account: &Account,
    cluster: ClusterId,
    contract: &ContractId,
    input: Vec<u8>,
    options: &CommandOptions,
) -> Result<Command, CliError> {
    let held = Store::open()?.hold(place(connected, account, cluster)).await?;
    let mut session = held.read()?;
    held.write(session.keep_ahead().expose())?;
    match connected.network.call_in_session(&mut session, account, contract, input, options).await {
        // What was kept ahead is what the session is now: nothing can fail any more for a command that is in the inbox.
        Ok(command) => Ok(command),
        Err(error) => {
            // A number that was not given to a command is the next one's again.
            let kept = held.write(session.keep().expose());
            if error.code == ErrorCode::Timeout {
                // It may be in the inbox yet: nothing else that went wrong is worth hiding that.
                return Err(error.into());
            }
            kept?;
            Err(over(error.into()))
        }
    }
}

/// What is said of a session's command that came to nothing: a session that its cluster does not know any more leaves no reply.
pub fn over(error: CliError) -> CliError {
    match error.code {
        Code::Client(ErrorCode::Expired) => error.with_hint(OPEN),
        Code::Client(ErrorCode::Stale | ErrorCode::Timeout) => error.with_hint(format!(
            "if it stays so, the session is over: it ends with its epoch, or when its account opens a fifth; {OPEN}"
        )),
        _ => error,
    }
}

fn place(connected: &Connected, account: &Account, cluster: ClusterId) -> Place {
    Place { genesis: *connected.network.genesis(), cluster, account: account.id() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_session_that_is_over_says_how_to_open_another() {
        let error = |code: ErrorCode| over(CliError::new(code, "what"));
        let expired = error(ErrorCode::Expired);
        assert_eq!((expired.code.as_str(), expired.exit_code(), expired.hint.as_deref()), ("expired", 6, Some(OPEN)));
        assert!(error(ErrorCode::Timeout).hint.unwrap().contains("phala session open"));
        assert_eq!(error(ErrorCode::OverLimit).hint, None);
    }
}
