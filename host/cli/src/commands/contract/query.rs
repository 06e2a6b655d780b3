//! `phala contract query`: asks one attested worker, in private. Its answer is that machine's word, and nobody else's.

use super::{described, encode, method, shown};
use crate::{
    accounts,
    args::{Global, QueryArgs},
    error::CliError,
    network,
    output::{assurance, assurance_line, note, Output},
};
use phala_client::{
    abi::Kind,
    query::{AttestedWorker, VerifiedAnswer},
    ClientError, ErrorCode,
};
use phala_protocol::query::{AnswerContent, QueryRequest};
use serde_json::json;

/// Runs `phala contract query`.
pub async fn run(global: &Global, args: &QueryArgs, output: Output) -> Result<(), CliError> {
    let connected = network::connect(global).await?;
    let network = &connected.network;
    let contract = connected.contract(&args.contract)?;
    let (record, metadata) = described(network, &contract).await?;
    let method = method(&metadata, Kind::Query, &args.method)?;
    let request = QueryRequest::Contract { contract, payload: encode(method, &args.args)? };
    let account = accounts::signer(global, network, &args.from).await?;

    let mut last = CliError::new(ErrorCode::NotFound, format!("no worker of cluster {} is known here", record.cluster));
    for endpoint in connected.workers_of(record.cluster)? {
        let asked = async {
            let worker = AttestedWorker::verify(network, &endpoint, record.cluster).await?;
            worker.ask(network.genesis(), &account, &request, args.min_height).await
        };
        let answer = match asked.await {
            Ok(answer) => answer,
            // Another worker may do better, where the fault is this one's.
            Err(error) if can_be_another_workers(error.code) => {
                last = error.into();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        return show(&answer, method, output);
    }
    Err(last)
}

fn can_be_another_workers(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unreachable
            | ErrorCode::Timeout
            | ErrorCode::Busy
            | ErrorCode::Stale
            | ErrorCode::Unattested
            | ErrorCode::Unverified
            | ErrorCode::Internal
    )
}

fn show(answer: &VerifiedAnswer, method: &phala_client::abi::Method, output: Output) -> Result<(), CliError> {
    match &answer.answer.content {
        AnswerContent::Output(bytes) => {
            let value = method.decode_output(bytes).map_err(ClientError::from)?;
            if !output.is_json() {
                note(&format!(
                    "one attested worker says, at block {}; {}",
                    answer.answer.height,
                    assurance_line(answer.assurance)
                ));
            }
            let json = json!({"value": value, "assurance": assurance(answer.assurance)});
            output.data(&json, || shown(method, &value).unwrap_or_else(|| "nothing, and no refusal".to_owned()));
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
