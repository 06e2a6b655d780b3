//! `phala contract pending` and `phala contract reply`: commands whose reply was not seen, and the reply of one of them, in whichever
//! process it was sent. Workers keep a reply for [`REPLY_BLOCKS`] only, and the chain what proves it for as long as the newest final
//! results of its cluster last.
//!
//! Whoever owns the folder controls which commands there are, workers what they answer; a reply is verified like any other.

use super::{described, outcome};
use crate::{
    accounts,
    args::{Global, ReplyArgs},
    error::CliError,
    home, network,
    output::{table, Output},
    pending::{Pending, Progress, Store},
};
use phala_client::{command::Fate, Deadline, ErrorCode};
use phala_protocol::{ids::to_hex, limits::REPLY_BLOCKS};
use serde_json::json;
use std::time::Duration;

/// Lists what is waited for, on any network.
pub fn list(output: Output) -> Result<(), CliError> {
    let all = Store::open()?.all()?;
    let json: Vec<_> = all
        .iter()
        .map(|pending| {
            json!({
                "nonce": pending.nonce.to_string(),
                "from": pending.name,
                "account": accounts::address(&pending.account),
                "cluster": pending.cluster.0,
                "valid_until": pending.valid_until,
                "failed": pending.progress != Progress::Left,
                "genesis": to_hex(&pending.genesis),
            })
        })
        .collect();
    output.data(&json!({"pending": json}), || {
        if all.is_empty() {
            return "no command waits for its reply here".to_owned();
        }
        table(&["NONCE", "FROM", "CLUSTER", "UNTIL BLOCK", "NETWORK"], &all.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}

fn row(pending: &Pending) -> Vec<String> {
    let network = to_hex(&pending.genesis).chars().take(10).collect();
    let Pending { nonce, name, cluster, valid_until, .. } = pending;
    vec![nonce.to_string(), name.clone(), cluster.to_string(), valid_until.to_string(), network]
}

/// Runs `phala contract reply`.
pub async fn run(global: &Global, args: &ReplyArgs, output: Output) -> Result<(), CliError> {
    if let Some(path) = &args.receipt {
        home::check_writable(path)?;
    }
    let deadline = Deadline::after(Duration::from_secs(args.timeout));
    let connected = deadline.before_sending(network::connect(global)).await?;
    let whose = args.from.as_deref().map(accounts::find).transpose()?;
    let pending = Store::open()?.find(connected.network.genesis(), args.nonce, whose)?;
    let account = accounts::signer(global, &connected.network, args.from.as_deref().unwrap_or(&pending.name)).await?;
    let (intent, name) = pending.open(&account).map_err(|error| {
        error.with_hint("--from names the account that sent it; `phala contract pending` shows its address")
    })?;
    let workers = connected.workers_of(intent.cluster)?;
    let (_, metadata) = deadline.before_sending(described(&connected.network, &intent.contract)).await?;
    let fate = connected.network.find_reply(&account, &intent, &workers, deadline.left()).await?;
    let completed = match fate {
        Fate::Completed(completed) => completed,
        Fate::Never => {
            pending.forget();
            let message = format!(
                "the command with nonce {} was not executed and cannot be any more, by the word of one attested worker: its last \
                 block {} has passed",
                intent.nonce, intent.valid_until
            );
            return Err(CliError::new(ErrorCode::Expired, message).with_hint("send it again, if it is still wanted"));
        }
        Fate::Forgotten => {
            pending.forget();
            let message = format!(
                "workers keep replies for {REPLY_BLOCKS} blocks, and the command with nonce {} is older: nobody can say any more \
                 whether it was executed",
                intent.nonce
            );
            let hint = "look by a query for what it would have done, before sending it again";
            return Err(CliError::new(ErrorCode::Expired, message).with_hint(hint));
        }
    };
    let command = &completed.command;
    let vouched = outcome::prove(&connected, command, &completed, &workers, args.receipt.as_deref()).await?;
    let fates = outcome::fates(&connected, &completed).await?;
    if outcome::is_settled(&completed) {
        pending.forget();
    }
    outcome::show(&metadata, &name, command, &completed, (vouched, fates.as_slice()), output)
}
