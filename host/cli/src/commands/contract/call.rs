//! `phala contract call`: a sealed command, its final reply, and the receipt that proves the reply to others.

use super::{described, encode, method, options};
use crate::{
    accounts,
    args::{CallArgs, Global},
    error::{io, CliError},
    network::{self, Connected},
    output::{pha, Output},
};
use phala_client::{
    abi::Kind,
    command::{failure_error, Completed, Failed},
    receipt::EvidenceOf,
    worker::WorkerEndpoint,
};
use serde_json::json;

/// Runs `phala contract call`.
pub async fn run(global: &Global, args: &CallArgs, output: Output) -> Result<(), CliError> {
    if let Some(path) = &args.receipt {
        // Found out before anything is paid for.
        std::fs::OpenOptions::new().append(true).create(true).open(path).map_err(io("write", path))?;
    }
    let connected = network::connect(global).await?;
    let contract = connected.contract(&args.contract)?;
    let (record, metadata) = described(&connected.network, &contract).await?;
    let method = method(&metadata, Kind::Call, &args.method)?;
    let input = encode(method, &args.args)?;
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let options = options(&args.limits);
    let command = connected.network.call(&account, &contract, input, &options).await?;
    if !args.wait && args.receipt.is_none() {
        let json = json!({
            "cluster": command.cluster.0,
            "sequence": command.sequence,
            "nonce": command.nonce.to_string(),
            "block": command.block,
            "fee": command.fee.to_string(),
        });
        output.data(&json, || {
            format!(
                "item {} of cluster {} in block {}, fee {}",
                command.sequence,
                command.cluster,
                command.block,
                pha(command.fee)
            )
        });
        return Ok(());
    }
    let workers = connected.workers_of(record.cluster)?;
    let completed = connected.network.complete(&account, &command, &workers, options.timeout).await?;
    if let Some(path) = &args.receipt {
        let evidence = evidence(&connected, &completed, &workers).await;
        let receipt = connected.network.receipt(&completed, evidence).await?;
        crate::home::write_whole(path, receipt.to_json()?.as_bytes())?;
    }
    let value = match completed.output() {
        Ok(bytes) => method.decode_output(bytes).map_err(phala_client::ClientError::from)?,
        Err(failed) => {
            let refusal = match &failed {
                Failed::Reverted(bytes) => method.decode_error(bytes).ok().map(|error| error.to_string()),
                Failed::Failed(_) => None,
            };
            return Err(failure_error(&failed, refusal.as_deref()).into());
        }
    };
    let json = json!({"value": value, "block": command.block, "fee": command.fee.to_string()});
    output.data(&json, || format!("{value}\nin block {}, fee {}", command.block, pha(command.fee)));
    Ok(())
}

/// The evidence of the workers that signed, where they show it and their collateral lies here: a receipt proves without it, by the
/// chain's record of what the chain verified.
async fn evidence(connected: &Connected, completed: &Completed, workers: &[WorkerEndpoint]) -> Vec<EvidenceOf> {
    let mut evidence = Vec::new();
    for worker in workers {
        let Ok(info) = worker.info().await else { continue };
        let file = connected.file.iter().flat_map(|file| &file.workers).find(|machine| machine.http == worker.url());
        let collateral = file.and_then(|machine| std::fs::read(machine.collateral.as_ref()?).ok()).unwrap_or_default();
        evidence.extend(
            EvidenceOf::from_info(&info, &collateral)
                .filter(|evidence| completed.record.votes.iter().any(|(voter, _)| *voter == evidence.worker)),
        );
    }
    evidence
}
