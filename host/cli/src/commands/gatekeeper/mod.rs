//! `phala gatekeeper`: shows roots, ceremonies, seats and identities, binds and starts them, has gatekeepers sign suspensions, and writes
//! and checks transcripts of ceremonies.

mod assemble;
mod identities;
mod status;
mod suspend;
mod transcript;

use crate::{
    accounts,
    args::{GatekeeperCommand, Global},
    error::CliError,
    network,
    output::Output,
    roots,
};
use phala_client::{chain::ChainCall, ClientError, Until};
use phala_protocol::{chain_state::WorkerRecord, storage, WorkerId};
use serde_json::json;

/// Runs `phala gatekeeper`.
pub async fn run(global: &Global, command: GatekeeperCommand, output: Output) -> Result<(), CliError> {
    match command {
        GatekeeperCommand::Status => status::run(global, output).await,
        GatekeeperCommand::RegisterSeat { identity, from, replace } => {
            register_seat(global, &identity, &from, replace, output).await
        }
        GatekeeperCommand::Start { identities, from } => start(global, &identities, &from, output).await,
        GatekeeperCommand::Identities => identities::run(global, output).await,
        GatekeeperCommand::StartIdentities { from } => identities::start(global, &from, output).await,
        GatekeeperCommand::CancelIdentities { from } => identities::cancel(global, &from, output).await,
        GatekeeperCommand::Suspend(args) => suspend::run(global, &args, output).await,
        GatekeeperCommand::Transcript(args) => assemble::run(global, &args, output).await,
        GatekeeperCommand::VerifyTranscript(args) => transcript::run(global, &args, output),
    }
}

fn identity(text: &str) -> Result<WorkerId, CliError> {
    network::hash(text).map(WorkerId).ok_or_else(|| {
        CliError::invalid(format!("`{text}` is no gatekeeper's identity: 0x and 64 digits"))
            .with_hint("`phala gatekeeper status` and `phala worker status URL` show identities")
    })
}

async fn register_seat(global: &Global, text: &str, from: &str, replace: bool, output: Output) -> Result<(), CliError> {
    let gatekeeper = identity(text)?;
    let connected = network::connect(global).await?;
    let validator = accounts::signer(global, &connected.network, from).await?;
    let keys = [storage::worker_key(&gatekeeper), roots::seat_key(&validator.id())];
    let proved = connected.network.read(&keys).await?;
    let [worker, seat] = &keys;
    let record: Option<WorkerRecord> = proved.get(worker)?;
    if let Some(record) = record.filter(|record| record.operator != validator.id()) {
        return Err(CliError::new(
            phala_client::ErrorCode::Unauthorised,
            format!("the gatekeeper's evidence names the operator {}", accounts::address(&record.operator)),
        )
        .with_hint("bind it as that account, or start the gatekeeper with the validator as --operator"));
    }
    let replaced = replaced(proved.get(seat)?, gatekeeper, replace)?;
    let call = ChainCall::register_seat(gatekeeper);
    let chain = connected.network.chain();
    let done = chain.submit(&validator, &call, Until::Finalised).await.map_err(ClientError::from)?;
    let json = json!({
        "gatekeeper": gatekeeper.to_string(),
        "validator": validator.address(),
        "replaced": replaced.as_ref().map(WorkerId::to_string),
        "block": done.block,
    });
    output.data(&json, || {
        let place = replaced.map(|former| format!(" in the place of {former}")).unwrap_or_default();
        let validator = validator.address();
        format!("bound the gatekeeper {gatekeeper} to the validator {validator}{place} in block {}", done.block)
    });
    Ok(())
}

/// The gatekeeper that the validator has and that `gatekeeper` is to replace, if it has one; refused unless that was asked for.
fn replaced(present: Option<WorkerId>, gatekeeper: WorkerId, asked_for: bool) -> Result<Option<WorkerId>, CliError> {
    match present.filter(|present| *present != gatekeeper) {
        Some(present) if !asked_for => Err(CliError::new(
            phala_client::ErrorCode::Refused,
            format!("the validator has the gatekeeper {present}"),
        )
        .with_hint(
            "--replace binds this one in its place: from the next election on, and nothing of what that one holds comes along",
        )),
        present => Ok(present),
    }
}

async fn start(global: &Global, texts: &[String], from: &str, output: Output) -> Result<(), CliError> {
    let seats = texts.iter().map(|text| identity(text)).collect::<Result<Vec<_>, _>>()?;
    let connected = network::connect(global).await?;
    let sudo = accounts::signer(global, &connected.network, from).await?;
    let call = ChainCall::start_ceremony(&seats);
    let chain = connected.network.chain();
    let done = chain.submit_sudo(&sudo, &call, Until::Finalised).await.map_err(ClientError::from)?;
    // It may have ended since, which is no failure.
    let ceremony = roots::read(&connected.network).await?.ceremony;
    let (era, attempt) = (ceremony.as_ref().map(|now| now.era), ceremony.as_ref().map(|now| now.attempt));
    output.data(&json!({"block": done.block, "seats": texts, "era": era, "attempt": attempt}), || {
        let of = era.map(|era| format!(" of era {era}")).unwrap_or_default();
        format!("started the ceremony{of} with {} seats in block {}", seats.len(), done.block)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use codec::Encode;

    #[test]
    fn an_identity_is_32_bytes_in_digits() {
        let id = WorkerId([0xab; 32]);
        assert_eq!(identity(&id.to_string()).unwrap(), id);
        for wrong in ["", "0xab", "abab", "gatekeeper-0"] {
            let error = identity(wrong).unwrap_err();
            assert_eq!(error.code.as_str(), "invalid");
        }
    }

    #[test]
    fn a_gatekeeper_is_replaced_by_another_and_only_when_that_is_asked_for() {
        let (present, other) = (WorkerId([1; 32]), WorkerId([2; 32]));
        let error = replaced(Some(present), other, false).unwrap_err();
        assert_eq!(error.code.as_str(), "refused");
        assert!(error.message.contains(&present.to_string()) && error.hint.unwrap().contains("--replace"));
        assert_eq!(replaced(Some(present), other, true).unwrap(), Some(present));
        // Nothing is replaced by itself, or where there is nothing.
        for asked_for in [false, true] {
            assert_eq!(replaced(Some(present), present, asked_for).unwrap(), None);
            assert_eq!(replaced(None, other, asked_for).unwrap(), None);
        }
    }

    #[test]
    fn calls_are_those_of_the_pallet() {
        let id = WorkerId([3; 32]);
        assert_eq!(ChainCall::register_seat(id), ChainCall::raw("Gatekeepers", "register_seat", vec![3; 32]));
        let seats = vec![id; 4];
        assert_eq!(ChainCall::start_ceremony(&seats), ChainCall::raw("Gatekeepers", "start", seats.encode()));
        let (start, cancel) = (ChainCall::start_identities(), ChainCall::cancel_identities());
        assert_eq!(start, ChainCall::raw("Gatekeepers", "start_identities", vec![]));
        assert_eq!(cancel, ChainCall::raw("Gatekeepers", "cancel_identities", vec![]));
    }
}
