//! `phala session`: one signature of the account for many commands. `phala contract call --session` uses what is opened here.

use super::fees;
use crate::{
    accounts,
    args::{Global, SessionCommand, SessionOpenArgs},
    error::{CliError, Code},
    network::{self, Connected},
    output::{note, Output},
    sessions::{Held, Place, Store, OPEN},
};
use phala_client::{
    command::{
        session::{verify_open, Session},
        Command, Journal,
    },
    Account, ClientError, CommandOptions, Deadline, ErrorCode,
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
    let deadline = Deadline::after(Duration::from_secs(args.timeout));
    let connected = deadline.before_sending(network::connect(global)).await?;
    let cluster = ClusterId(args.cluster);
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let workers = connected.workers_of(cluster)?;
    let store = Store::open()?;
    let held = deadline.before_sending(store.hold(place(&connected, &account, cluster))).await?;
    let (session, command) = open_another(&connected, &account, &held, cluster, args.max_fee, deadline).await?;
    let completed = connected.network.complete(&account, &command, &workers, deadline.left()).await?;
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

/// Opens a session, and keeps it before it is known to be open: it was paid for.
async fn open_another(
    connected: &Connected,
    account: &Account,
    held: &Held,
    cluster: ClusterId,
    max_fee: Option<u128>,
    deadline: Deadline,
) -> Result<(Session, Command), CliError> {
    let options = CommandOptions {
        gas_limit: GasClass::Small.gas(),
        max_fee,
        timeout: deadline.left(),
        ..CommandOptions::default()
    };
    let (session, command) = connected.network.open_session_alone(account, cluster, &options).await?;
    held.write(account, session.keep().expose())?;
    Ok((session, command))
}

/// Sends a command in the session that `account` has open in `cluster`. One that has no number left is replaced before: what its
/// numbers were given to was refused, and a number is never given again.
pub async fn call(
    connected: &Connected,
    account: &Account,
    cluster: ClusterId,
    contract: &ContractId,
    input: Vec<u8>,
    options: &CommandOptions,
    journal: &mut impl Journal,
) -> Result<Command, CliError> {
    let (deadline, store) = (Deadline::after(options.timeout), Store::open()?);
    let held = deadline.before_sending(store.hold(place(connected, account, cluster))).await?;
    let mut session = held.read(account)?;
    if session.is_used_up() {
        let (another, opener) = open_another(connected, account, &held, cluster, options.max_fee, deadline).await?;
        note(&format!(
            "note: too many commands in a row were refused, which used up the session; opened another in block {}, {}",
            opener.block,
            fees(&opener)
        ));
        session = another;
    }
    held.write(account, session.keep_ahead().expose())?;
    let options = CommandOptions { timeout: deadline.left(), ..options.clone() };
    let sent = connected.network.call_in_session(&mut session, account, contract, input, &options, journal).await;
    // How far the cluster's window reaches now, or that a number was not given to a command and is the next one's.
    let kept = held.write(account, session.keep().expose());
    after(sent, kept)
}

/// What came of a command, when what became of its session was `kept` or not.
fn after(sent: Result<Command, ClientError>, kept: Result<(), CliError>) -> Result<Command, CliError> {
    match sent {
        // What was kept ahead holds: nothing can fail any more for a command that is in the inbox.
        Ok(command) => Ok(command),
        // It may be in the inbox yet: nothing else that went wrong is worth hiding that.
        Err(error) if matches!(error.code, ErrorCode::Timeout | ErrorCode::Unreachable) => Err(error.into()),
        Err(error) => {
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

    #[test]
    fn what_became_of_a_command_is_said_before_what_became_of_the_disk() {
        let full = || Err(CliError::environment("the disk is full"));
        let failed = |code: ErrorCode, kept| after(Err(ClientError::new(code, "what")), kept).unwrap_err();
        assert_eq!(failed(ErrorCode::Timeout, full()).code.as_str(), "timeout");
        assert_eq!(failed(ErrorCode::Unreachable, full()).code.as_str(), "unreachable");
        assert_eq!(failed(ErrorCode::Busy, full()).code.as_str(), "environment");
        assert_eq!(failed(ErrorCode::Busy, Ok(())).code.as_str(), "busy");
    }
}
