//! `phala contract deploy`: stores code, creates a contract, and waits until its constructor has run.

use super::{encode, options};
use crate::{
    accounts,
    args::{DeployArgs, Global},
    error::{io, CliError},
    network,
    output::{note, pha, Output},
};
use phala_client::{
    command::{failure_error, Failed},
    worker::WorkerEndpoint,
    Account, ClientError, CommandOptions, Deadline, Metadata, Network,
};
use phala_protocol::{limits::MAX_CODE_BYTES, ClusterId, ContractId};
use serde_json::json;

/// What is deployed, and where.
pub struct Deployment<'a> {
    /// The contract's WebAssembly.
    pub wasm: &'a [u8],
    /// The constructor's arguments as words of a command line.
    pub words: &'a [String],
    /// Where it runs.
    pub cluster: ClusterId,
    /// What may be spent.
    pub options: CommandOptions,
    /// Workers of the cluster, who tell what became of the constructor.
    pub workers: &'a [WorkerEndpoint],
}

/// Runs `phala contract deploy`.
pub async fn run(global: &Global, args: &DeployArgs, output: Output) -> Result<(), CliError> {
    let length = std::fs::metadata(&args.file).map_err(io("read", &args.file))?.len();
    if length > u64::from(MAX_CODE_BYTES) {
        return Err(CliError::new(
            phala_client::ErrorCode::OverLimit,
            format!("{} has {length} bytes; code has at most {MAX_CODE_BYTES}", args.file.display()),
        )
        .with_hint("deploy what `phala contract build` makes: it is built for size"));
    }
    let wasm = std::fs::read(&args.file).map_err(io("read", &args.file))?;
    let connected = network::connect(global).await?;
    let cluster = ClusterId(args.cluster);
    let account = accounts::signer(global, &connected.network, &args.from).await?;
    let deployment = Deployment {
        wasm: &wasm,
        words: &args.args,
        cluster,
        options: options(&args.limits),
        workers: &connected.workers_of(cluster)?,
    };
    let deposit = connected.network.code_deposit(&wasm).await?;
    if deposit > 0 {
        note(&format!(
            "note: {length} bytes of code are stored against a deposit of {}, held from {}",
            pha(deposit),
            args.from
        ));
    }
    let contract = deploy(&connected.network, &account, &deployment).await?;
    output.data(&json!({"contract": contract.to_string(), "deposit": deposit.to_string()}), || contract.to_string());
    Ok(())
}

/// Deploys, and waits until a final result says that the constructor has run.
pub async fn deploy(network: &Network, account: &Account, deployment: &Deployment<'_>) -> Result<ContractId, CliError> {
    let metadata = Metadata::from_wasm(deployment.wasm).map_err(ClientError::from)?;
    // Before anything is paid for: arguments that do not fit.
    let input = encode(&metadata.constructor, deployment.words)?;
    let deadline = Deadline::after(deployment.options.timeout);
    let code = network.upload_code(account, deployment.wasm, deadline.left()).await?;
    let options = CommandOptions { timeout: deadline.left(), ..deployment.options.clone() };
    let command = network.instantiate(account, deployment.cluster, code, input, &options).await?;
    let completed = network.complete(account, &command, deployment.workers, deadline.left()).await?;
    match completed.output() {
        Ok(_) => Ok(command.contract),
        Err(failed) => {
            let refusal = match &failed {
                Failed::Reverted(bytes) => metadata.constructor.decode_error(bytes).ok().map(|error| error.to_string()),
                Failed::Failed(_) => None,
            };
            let error = CliError::from(failure_error(&failed, refusal.as_deref()));
            Err(CliError { message: format!("the constructor failed: {}", error.message), ..error })
        }
    }
}
