//! `phala attest`: shows evidence, verifies it with a transcript, computes measurements, and renews collateral.

mod collateral;
mod enclave;
mod events;
mod fields;
mod image;
mod measurement;
#[cfg(test)]
pub mod samples;
mod transcript;
mod verify;

pub use transcript::{report_json, report_text};

use crate::{
    args::{AttestCommand, Global},
    error::CliError,
    evidence::{read, read_evidence},
    output::Output,
};
use events::EventLog;
use fields::fields;
use serde_json::json;

/// Runs `phala attest`.
pub async fn run(global: &Global, command: AttestCommand, output: Output) -> Result<(), CliError> {
    match command {
        AttestCommand::Show { file, event_log } => {
            let evidence = read_evidence(&file)?;
            let fields = fields(&evidence)
                .map_err(|error| CliError::invalid(format!("{} is no quote: {error}", file.display())))?;
            let log = event_log.map(|log| EventLog::of(&read(&log)?, &evidence)).transpose()?;
            let json = json!({
                "judged": false,
                "fields": fields::to_json(&fields),
                "places": fields::places(&fields),
                "event_log": log.as_ref().map(EventLog::to_json),
            });
            output.data(&json, || {
                let mut parts = vec![fields::to_text(&fields)];
                parts.extend(log.map(|log| log.to_text("this quote, which are its claims")));
                parts.push("nothing of this is judged: `phala attest verify` does that".to_owned());
                parts.join("\n")
            });
            Ok(())
        }
        AttestCommand::Measurement { file } => {
            let measurement = measurement::of_fields(&read(&file)?)?;
            output.data(&json!({"measurement": measurement}), || measurement.clone());
            Ok(())
        }
        AttestCommand::Enclave(args) => enclave::run(&args, output),
        AttestCommand::Image(args) => image::run(&args, output),
        AttestCommand::Verify(args) => verify::run(&args, output),
        AttestCommand::Collateral(command) => collateral::run(global, command, output).await,
    }
}
