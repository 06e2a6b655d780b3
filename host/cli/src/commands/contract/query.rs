//! `phala contract query`: asks one attested worker, in private. Its answer is that machine's word, and nobody else's.
//!
//! A contract that is not there, and one with nothing that the account may see, are the same error, and only a proof of the chain's state or a
//! worker's sealed answer says so. Hosts control what is not sealed: it ends nothing while another worker can be asked.

use super::{encode, metadata_of, method, shown};
use crate::{
    accounts,
    args::{Global, QueryArgs},
    error::CliError,
    network,
    output::{assurance, assurance_line, note, Output},
};
use phala_client::{
    abi::{Budget, Kind},
    query::{refusal_error, AttestedWorker, VerifiedAnswer},
    worker::WorkerEndpoint,
    ClientError, ErrorCode, Metadata, Network,
};
use phala_protocol::{
    chain_state::ContractRecord,
    query::{AnswerContent, QueryRefusal, QueryRequest},
    ContractId,
};
use serde_json::Value;
use std::future::Future;

/// Runs `phala contract query`.
pub async fn run(global: &Global, args: &QueryArgs, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let network = &connected.network;
    let contract = connected.contract(&args.contract)?;
    let (record, metadata) = known(network, &contract).await?;
    let method = method(&metadata, Kind::Query, &args.method)?;
    let request = QueryRequest::Contract { contract, payload: encode(method, &args.args)? };
    let account = accounts::signer(global, network, &args.from).await?;

    let (cluster, min_height) = (record.cluster, args.min_height);
    let (account, request) = (&account, &request);
    let answer = first_answer(connected.workers_of(cluster)?, move |endpoint| async move {
        let worker = AttestedWorker::verify(network, &endpoint, cluster).await?;
        worker.ask(network.genesis(), account, request, min_height).await
    })
    .await?;
    show(&answer, method, output)
}

/// A contract's record, and what its code says about itself. One that the chain is proved not to have is refused in a worker's words.
async fn known(network: &Network, contract: &ContractId) -> Result<(ContractRecord, Metadata), CliError> {
    let record = network.contract(contract).await.map_err(|error| match error.code {
        ErrorCode::NotFound => refusal_error(QueryRefusal::NotFound),
        _ => error,
    })?;
    let metadata = metadata_of(network, &record).await?;
    Ok((record, metadata))
}

/// What the first worker says that answers or refuses under its seal.
async fn first_answer<T, F: Future<Output = Result<T, ClientError>>>(
    endpoints: Vec<WorkerEndpoint>,
    mut ask: impl FnMut(WorkerEndpoint) -> F,
) -> Result<T, ClientError> {
    let mut last = ClientError::new(ErrorCode::Unreachable, "no worker of the cluster is known here");
    for endpoint in endpoints {
        match ask(endpoint).await {
            // Another worker may do better, where the fault is this one's.
            Err(error) if can_be_another_workers(error.code) => last = error,
            answered => return answered,
        }
    }
    Err(last)
}

/// Every code of a refusal that is not sealed is among them, and those sealed ones that a host brings about: by holding back blocks, or by
/// bringing a question twice or late.
fn can_be_another_workers(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unreachable
            | ErrorCode::Timeout
            | ErrorCode::Busy
            | ErrorCode::Stale
            | ErrorCode::Expired
            | ErrorCode::Unattested
            | ErrorCode::Unverified
            | ErrorCode::Internal
    )
}

fn show(answer: &VerifiedAnswer, method: &phala_client::abi::Method, output: Output) -> Result<(), CliError> {
    match &answer.answer.content {
        AnswerContent::Output(bytes) => {
            let value = method.decode_output(bytes, &mut Budget::default()).map_err(ClientError::from)?;
            if !output.is_json() {
                note(&format!(
                    "one attested worker says, at block {}; {}",
                    answer.answer.height,
                    assurance_line(answer.assurance)
                ));
            }
            // `json!` would copy the value, which may be large.
            let parts = [("value", value), ("assurance", assurance(answer.assurance).into())];
            let json: Value = parts.into_iter().collect();
            output
                .data(&json, || shown(method, &json["value"]).unwrap_or_else(|| "nothing, and no refusal".to_owned()));
            Ok(())
        }
        AnswerContent::Reverted(bytes) => {
            let why = method
                .decode_error(bytes)
                .map_or_else(|_| phala_protocol::ids::to_hex(bytes), |error| error.to_string());
            Err(CliError::new(ErrorCode::ContractError, format!("the contract refuses: {why}")))
        }
        _ => Err(CliError::new(ErrorCode::Unverified, "the worker answers something else than was asked")
            .with_hint("it is damaged, or of another version: ask another one with --worker URL")),
    }
}

#[cfg(test)]
mod tests;
