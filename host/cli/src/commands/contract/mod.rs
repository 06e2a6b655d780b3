//! `phala contract`: from an empty folder to a deployed contract, its commands, queries and receipts.

mod address;
mod build;
mod call;
pub mod deploy;
mod egress;
mod new;
mod outcome;
mod query;
mod reply;
mod show;
pub mod toolchain;

use crate::{
    accounts,
    args::{ContractCommand, Global, Limits},
    error::CliError,
    output::Output,
    values,
};
use phala_client::{
    abi::{Kind, Method, Type},
    ClientError, CommandOptions, ErrorCode, Metadata, Network,
};
use phala_protocol::{chain_state::ContractRecord, ContractId};
use serde_json::Value;
use std::time::Duration;

/// Runs `phala contract`.
pub async fn run(global: &Global, command: ContractCommand, output: Output) -> Result<(), CliError> {
    match command {
        ContractCommand::New { name } => new::run(&name, output),
        ContractCommand::Build { folder } => build::run(&folder, output).await,
        ContractCommand::Deploy(args) => deploy::run(global, &args, output).await,
        ContractCommand::Call(args) => call::run(global, &args, output).await,
        ContractCommand::Reply(args) => reply::run(global, &args, output).await,
        ContractCommand::Pending => reply::list(output),
        ContractCommand::Query(args) => query::run(global, &args, output).await,
        ContractCommand::Address { contract } => address::run(global, &contract, output).await,
        ContractCommand::Egress { sequence, cluster } => egress::run(global, sequence, cluster, output).await,
        ContractCommand::List => show::list(global, output).await,
        ContractCommand::Info { contract } => show::info(global, &contract, output).await,
        ContractCommand::Estimate { cluster, contract } => {
            show::estimate(global, cluster, contract.as_deref(), output).await
        }
    }
}

/// A contract's record, and what its code says about itself.
async fn described(network: &Network, contract: &ContractId) -> Result<(ContractRecord, Metadata), CliError> {
    let record = network.contract(contract).await?;
    let metadata = metadata_of(network, &record).await?;
    Ok((record, metadata))
}

/// What the code of a contract whose record was proved says about itself. A node that does not give it withholds it, or has lost it.
async fn metadata_of(network: &Network, record: &ContractRecord) -> Result<Metadata, CliError> {
    let wasm = network.code(&record.code).await.map_err(|error| match error.code {
        ErrorCode::NotFound => {
            ClientError::new(ErrorCode::Unverified, "the node does not give the code of a contract that the chain has")
                .with_hint("the node lies or is damaged; use another one")
        }
        _ => error,
    })?;
    Ok(Metadata::from_wasm(&wasm).map_err(ClientError::from)?)
}

/// The method's input from the words of the command line.
fn encode(method: &Method, words: &[String]) -> Result<Vec<u8>, CliError> {
    let values = values::read(method, words)?;
    Ok(method.encode_input(&values, &accounts::by_name).map_err(ClientError::from)?)
}

/// The method `name`, with a better word where it is of the other kind.
fn method<'a>(metadata: &'a Metadata, kind: Kind, name: &str) -> Result<&'a Method, CliError> {
    metadata.method(kind, name).map_err(|error| {
        let error = CliError::from(ClientError::from(error));
        let other = match kind {
            Kind::Call => (Kind::Query, "it is a query: use `phala contract query`"),
            _ => (Kind::Call, "it changes state: use `phala contract call`"),
        };
        match metadata.method(other.0, name) {
            Ok(_) => error.with_hint(other.1),
            Err(_) => error,
        }
    })
}

/// A returned value for people; nothing if the method returns nothing.
fn shown(method: &Method, value: &Value) -> Option<String> {
    (method.returns != Type::Unit).then(|| value.to_string())
}

/// What a command may spend, as the client takes it.
fn options(limits: &Limits) -> CommandOptions {
    let defaults = CommandOptions::default();
    CommandOptions {
        gas_limit: limits.gas_limit.unwrap_or(defaults.gas_limit),
        max_fee: limits.max_fee,
        timeout: Duration::from_secs(limits.timeout),
        ..defaults
    }
}
