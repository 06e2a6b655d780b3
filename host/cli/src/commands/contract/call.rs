//! `phala contract call`: a sealed command, its final reply, and the receipt that proves the reply to others.
//!
//! Guarantees: what is needed to find the reply is on the disk before the command leaves, and until the reply was shown: see
//! [`crate::pending`]. One that is sent again after it failed has the nonce of before, so that it and a copy of the first are executed once
//! between them. `--timeout` is one time for all of it.

use super::{described, encode, method, options, outcome};
use crate::{
    accounts,
    args::{CallArgs, Global},
    commands::{fees, session},
    error::{CliError, Code},
    home, network,
    output::{note, Output},
    pending::{self, Progress},
};
use phala_client::{abi::Kind, command::Intent, Command, CommandOptions, Deadline, ErrorCode};
use phala_protocol::ids::BlockNumber;
use serde_json::json;
use std::time::Duration;

/// Runs `phala contract call`.
pub async fn run(global: &Global, args: &CallArgs, output: Output) -> Result<(), CliError> {
    if let Some(path) = &args.receipt {
        // Found out before anything is paid for.
        home::check_writable(path)?;
    }
    let deadline = Deadline::after(Duration::from_secs(args.limits.timeout));
    let waits = args.wait || args.receipt.is_some();
    let known = async {
        let connected = network::connect(global).await?;
        let contract = connected.contract(&args.contract)?;
        let described = described(&connected.network, &contract).await?;
        Ok::<_, CliError>((connected, contract, described))
    };
    let (connected, contract, (record, metadata)) = deadline.before_sending(known).await?;
    let input = encode(method(&metadata, Kind::Call, &args.method)?, &args.args)?;
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let workers = if waits { connected.workers_of(record.cluster)? } else { Vec::new() };
    let store = pending::Store::open()?;
    let (genesis, call) = (*connected.network.genesis(), (args.method.as_str(), input.as_slice()));
    let failed = if args.anew { None } else { store.failed(&genesis, &account, &contract, call)? };
    let again = match failed {
        Some(failed) => Some(again(failed, deadline.before_sending(connected.network.sync()).await?.number())?),
        None => None,
    };
    let options = CommandOptions { timeout: deadline.left(), again, ..options(&args.limits) };
    let (network, input) = (&connected.network, input.clone());
    let mut entry = store.journal(&genesis, &account, &args.from, call);
    let sent = if args.session {
        session::call(&connected, &account, record.cluster, &contract, input, &options, &mut entry).await
    } else {
        network.call_noted(&account, &contract, input, &options, &mut entry).await.map_err(CliError::from)
    };
    // One that may be included yet has a reply to wait for: the entry says under which nonce.
    let command = sent.map_err(|error| {
        entry.failed();
        match entry.nonce() {
            Some(nonce) => unheard(error, nonce),
            None => error,
        }
    })?;
    entry.arrived(command.cluster, command.nonce);
    if !waits {
        return sent_off(&command, output);
    }
    let completed = connected.network.complete(&account, &command, &workers, deadline.left()).await;
    let completed = completed.map_err(|error| {
        let error = CliError::from(error);
        let error = if args.session { session::over(error) } else { error };
        match entry.nonce() {
            Some(nonce) => later(error, nonce),
            None => error,
        }
    })?;
    let receipt = args.receipt.as_deref();
    let vouched = outcome::prove(&connected, &command, &completed, &workers, receipt).await?;
    let fates = outcome::fates(&connected, &completed).await?;
    if outcome::is_settled(&completed) {
        entry.forget();
    }
    outcome::show(&metadata, &args.method, &command, &completed, (vouched, fates.as_slice()), output)
}

fn sent_off(command: &Command, output: Output) -> Result<(), CliError> {
    let json = json!({
        "cluster": command.cluster.0,
        "sequence": command.sequence,
        "nonce": command.nonce.to_string(),
        "block": command.block,
        "fee": command.fee.to_string(),
        "transaction_fee": command.transaction_fee.map(|fee| fee.to_string()),
    });
    output.data(&json, || {
        format!(
            "sent as item {} of cluster {} in block {}, {}; `phala contract reply {}` waits for what becomes of it",
            command.sequence,
            command.cluster,
            command.block,
            fees(command),
            command.nonce
        )
    });
    Ok(())
}

/// The attempt that failed before, to be repeated under its nonce at `height`; an error where that leads nowhere, and what became of it is
/// to be found out first.
fn again((intent, progress): (Intent, Progress), height: BlockNumber) -> Result<Intent, CliError> {
    let (nonce, valid_until) = (intent.nonce, intent.valid_until);
    let why = if height > valid_until {
        Some("its last block has passed")
    } else if progress == Progress::Overtaken {
        Some("other commands of its account were sent since")
    } else {
        None
    };
    if let Some(why) = why {
        let message = format!(
            "the same command failed before, with nonce {nonce}, and {why}: a copy of it may have been executed, and under its nonce it \
             cannot be sent any more"
        );
        return Err(CliError::new(ErrorCode::Stale, message).with_hint(format!(
            "`phala contract reply {nonce}` finds out, at the latest once its last block {valid_until} has passed and is final; --anew \
             sends it as another command"
        )));
    }
    note(&format!(
        "note: the same command failed before, with nonce {nonce}; it is sent under that nonce again, so that it is executed once at most \
         (--anew makes another of it)"
    ));
    Ok(intent)
}

/// A failure to hear what became of a command that is in the inbox.
fn later(error: CliError, nonce: u64) -> CliError {
    let fetch = format!("`phala contract reply {nonce}` fetches the reply once it is there");
    let hint = match &error.hint {
        Some(hint) => format!("{hint}; {fetch}"),
        None => fetch,
    };
    error.with_hint(hint)
}

/// A failure of a command that left, whatever chain or node says of it: what it carried is public, and may be executed yet.
fn unheard(error: CliError, nonce: u64) -> CliError {
    let fetch = format!("`phala contract reply {nonce}` finds out whether it was executed, and fetches the reply");
    let known = [ErrorCode::Timeout, ErrorCode::Unreachable, ErrorCode::Unverified].map(Code::Client);
    if known.contains(&error.code) {
        let message = format!(
            "{}; the command has nonce {nonce}, and must not be sent again before it is known what became of it",
            error.message
        );
        return CliError { message, ..error }.with_hint(fetch);
    }
    let message = format!(
        "{}; the command has nonce {nonce}, and a copy of it may be executed until its last block",
        error.message
    );
    let again = format!(
        "the very same command, sent again from here, has the same nonce, so that at most one of the two is executed; {fetch}"
    );
    let hint = match &error.hint {
        Some(first) => format!("{first}; {again}"),
        None => again,
    };
    CliError { message, ..error }.with_hint(hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_protocol::{AccountId, ClusterId, ContractId};

    #[test]
    fn what_was_not_heard_of_a_command_says_how_to_find_out_and_not_to_send_it_again() {
        let timeout = CliError::new(ErrorCode::Timeout, "not included in time").with_hint("wait");
        let said = unheard(timeout.clone(), 77);
        assert_eq!(said.code.as_str(), "timeout");
        assert!(said.message.contains("nonce 77, and must not be sent again"), "{}", said.message);
        let hint = said.hint.unwrap();
        assert!(hint.contains("`phala contract reply 77`") && !hint.contains("wait"), "{hint}");
        // What the chain refused is public all the same; what to do about the refusal is said first.
        let said = unheard(CliError::new(ErrorCode::OverLimit, "FeeOverMax").with_hint("allow a higher fee"), 77);
        assert_eq!(said.code.as_str(), "over_limit");
        assert!(said.message.contains("nonce 77, and a copy of it may be executed"), "{}", said.message);
        let hint = said.hint.unwrap();
        assert!(hint.starts_with("allow a higher fee; ") && hint.contains("at most one of the two"), "{hint}");
        let said = later(timeout, 77);
        let hint = said.hint.unwrap();
        assert!(hint.starts_with("wait; ") && hint.contains("`phala contract reply 77`"), "{hint}");
    }

    #[test]
    fn a_command_that_failed_is_sent_under_its_nonce_again_while_that_can_lead_anywhere() {
        let intent = Intent {
            cluster: ClusterId(0),
            contract: ContractId([1; 32]),
            account: AccountId([2; 32]),
            nonce: 77,
            since: 100,
            valid_until: 700,
        };
        assert_eq!(again((intent.clone(), Progress::Failed), 700).unwrap(), intent);
        // Nothing executes the first any more: what became of it can be known, and is to be asked for.
        for (progress, height, why) in
            [(Progress::Overtaken, 200, "other commands"), (Progress::Failed, 701, "its last block")]
        {
            let refused = again((intent.clone(), progress), height).unwrap_err();
            assert_eq!((refused.code.as_str(), refused.exit_code()), ("stale", 6));
            assert!(refused.message.contains(why), "{}", refused.message);
            let hint = refused.hint.unwrap();
            for part in ["`phala contract reply 77`", "block 700", "--anew"] {
                assert!(hint.contains(part), "{part}: {hint}");
            }
        }
    }
}
