//! `phala attest`: shows evidence, verifies it with a transcript, and renews collateral.

mod collateral;
mod fetch;
mod fields;
mod measurement;
mod transcript;
mod verify;

pub use transcript::{report_json, report_text};

use crate::{
    args::{AttestCommand, Global},
    error::CliError,
    evidence::{read, read_evidence},
    output::Output,
};
use fields::fields;
use serde_json::json;

/// Runs `phala attest`.
pub async fn run(global: &Global, command: AttestCommand, output: Output) -> Result<(), CliError> {
    match command {
        AttestCommand::Show { file } => {
            let evidence = read_evidence(&file)?;
            let fields = fields(&evidence)
                .map_err(|error| CliError::invalid(format!("{} is no quote: {error}", file.display())))?;
            output.data(&json!({"judged": false, "fields": fields::to_json(&fields)}), || {
                format!("{}\nnothing of this is judged: `phala attest verify` does that", fields::to_text(&fields))
            });
            Ok(())
        }
        AttestCommand::Measurement { file } => {
            let measurement = measurement::of_fields(&read(&file)?)?;
            output.data(&json!({"measurement": measurement}), || measurement.clone());
            Ok(())
        }
        AttestCommand::Verify(args) => verify::run(&args, output),
        AttestCommand::Collateral(command) => collateral::run(global, command, output).await,
    }
}
