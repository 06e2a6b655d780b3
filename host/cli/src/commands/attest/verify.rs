//! `phala attest verify`: a verdict on a file, and the transcript that it rests on.
//!
//! A verdict is a function of evidence, collateral, policy and time, and all four are arguments here. Exit codes are those of `phala
//! verify`: 0 only if every check holds on hardware.

use super::{
    events::EventLog,
    transcript::{Check, Transcript},
};
use crate::{
    args::AttestVerifyArgs,
    error::{CliError, Code},
    evidence::{date, read, read_collateral, read_evidence},
    output::{assurance, assurance_line, line, Output},
};
use phala_attest::{AcceptedStatuses, Policy, PolicyTerms, TcbStatus};
use phala_client::ErrorCode;
use phala_protocol::attestation::Assurance;
use serde_json::{json, Value};

/// Runs `phala attest verify`.
pub fn run(args: &AttestVerifyArgs, output: Output) -> Result<(), CliError> {
    let evidence = read_evidence(&args.file)?;
    let collateral = read_collateral(&args.collateral)?;
    let terms = PolicyTerms { accepted: accepted(&args.accept)?, minimum_tcb_evaluation_number: 0 };
    let policy = Policy { anchor: args.root.anchor()?, terms };
    let transcript = Transcript::of(&evidence, &collateral, &policy, args.at);
    let log = args.event_log.as_ref().map(|log| EventLog::of(&read(log)?, &evidence)).transpose()?;
    if !output.is_json() {
        line(&format!("at {} ({})\n{}", args.at, date(args.at), transcript.to_text()));
        if let Some(log) = &log {
            let verified = transcript.failed().is_none();
            line(&log.to_text(if verified { "the verified evidence" } else { "evidence that does not hold" }));
        }
    }
    judge(&transcript, log.as_ref(), args.at, args.allow_simulated, output)
}

/// The statuses that pass.
fn accepted(names: &[String]) -> Result<AcceptedStatuses, CliError> {
    names.iter().try_fold(AcceptedStatuses::UP_TO_DATE, |accepted, name| match TcbStatus::from_name(name) {
        Some(TcbStatus::Revoked) | None => {
            Err(CliError::invalid(format!("`{name}` is no status that can be accepted")).with_hint(
                "SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded, OutOfDate, \
                 OutOfDateConfigurationNeeded",
            ))
        }
        Some(status) => Ok(accepted.with(status)),
    })
}

/// The transcript as an answer or as a failure with its exit code. Prints the answer under `--json`.
fn judge(
    transcript: &Transcript,
    log: Option<&EventLog>,
    at: u64,
    allow_simulated: bool,
    output: Output,
) -> Result<(), CliError> {
    let found = transcript.report.as_ref().map(|report| match report.assurance() {
        phala_attest::Assurance::Hardware => Assurance::Hardware,
        phala_attest::Assurance::Simulated => Assurance::Simulated,
    });
    if let (Some(found), false) = (found, output.is_json()) {
        line(assurance_line(found));
    }
    let fault = log.and_then(EventLog::fault);
    let mut details = transcript.to_json();
    if let Value::Object(details) = &mut details {
        details.insert("at".to_owned(), json!(at));
        details.insert("holds".to_owned(), json!(found.is_some() && fault.is_none()));
        if let Some(log) = log {
            details.insert("event_log".to_owned(), log.to_json());
        }
        details.insert("assurance".to_owned(), json!(found.map(assurance)));
    }
    let error = match (transcript.failed(), found) {
        (None, Some(_)) if fault.is_some() => Some(CliError::new(
            ErrorCode::Unattested,
            format!("the event log is not the machine's: {}", fault.map(|why| why.to_string()).unwrap_or_default()),
        )),
        (Some(Check { name, reason, .. }), _) => Some(CliError::new(
            ErrorCode::Unattested,
            format!("the check `{name}` does not hold: {}", reason.as_deref().unwrap_or_default()),
        )),
        (None, Some(Assurance::Simulated)) if !allow_simulated => Some(
            CliError::new(Code::Simulated, "every check holds, on INSECURE simulated evidence: nothing is proved")
                .with_hint("--allow-simulated accepts it, on development networks"),
        ),
        (None, Some(_)) => None,
        (None, None) => Some(CliError::new(ErrorCode::Internal, "not all checks were made")),
    };
    match (error, details) {
        (Some(mut error), Value::Object(details)) => {
            error.details = details;
            Err(error)
        }
        (Some(error), _) => Err(error),
        (None, details) => {
            if output.is_json() {
                output.data(&details, String::new);
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{
        commands::attest::samples::SAMPLES,
        evidence::{collateral, evidence, RootArgument},
    };
    use phala_insecure_tee::InsecureMachine;

    /// When the simulated machine's collateral is made.
    const THEN: u64 = 1_750_414_563;

    fn policy(root: RootArgument, accept: &[&str]) -> Policy {
        let accepted = accepted(&accept.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        Policy { anchor: root.anchor().unwrap(), terms: PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 } }
    }

    #[test]
    fn exit_codes_are_those_of_verifying_a_receipt() {
        let output = Output::new(true);
        let (good, other) = crate::commands::attest::events::tests::logs();
        for sample in &SAMPLES {
            let (quote, signed) = (evidence(sample.quote).unwrap(), collateral(sample.collateral).unwrap());
            let judged = |accept: &[&str], at: u64, log: Option<&EventLog>| {
                let found = Transcript::of(&quote, &signed, &policy(RootArgument::Intel, accept), at);
                judge(&found, log, at, false, output)
            };
            let own = [sample.status.name()];
            let accept: &[&str] = if sample.status == TcbStatus::UpToDate { &[] } else { &own };
            assert!(judged(accept, sample.at, None).is_ok(), "{}", own[0]);
            // A status that nobody names is not taken.
            assert_eq!(judged(&[], sample.at, None).is_ok(), sample.status == TcbStatus::UpToDate);
            assert!(judged(accept, sample.at, Some(&good)).is_ok());
            let error = judged(accept, sample.at, Some(&other)).unwrap_err();
            let (code, holds) = (error.code.as_str(), &error.details["holds"]);
            assert_eq!((code, error.exit_code(), holds), ("unattested", 7, &json!(false)));
            assert!(error.message.contains("rtmr0"), "{}", error.message);
            let error = judged(accept, sample.at + 60 * 86_400, None).unwrap_err();
            assert_eq!((error.code.as_str(), error.exit_code()), ("unattested", 7));
            assert_eq!(error.details["holds"], false);
        }

        let machine = InsecureMachine::new("machine", b"program", THEN).unwrap();
        let quote = evidence(&machine.quote([1; 64])).unwrap();
        let simulated = Transcript::of(&quote, machine.collateral(), &policy(RootArgument::Development, &[]), THEN);
        let error = judge(&simulated, None, THEN, false, output).unwrap_err();
        assert_eq!((error.code.as_str(), error.exit_code()), ("simulated", 8));
        assert_eq!(error.details["assurance"], "simulated");
        assert!(judge(&simulated, None, THEN, true, output).is_ok());
        let refused = Transcript::of(&quote, machine.collateral(), &policy(RootArgument::Intel, &[]), THEN);
        assert_eq!(
            judge(&refused, None, THEN, true, output).unwrap_err().exit_code(),
            7,
            "its root is not trusted unasked"
        );
    }

    #[test]
    fn only_statuses_that_a_policy_can_take_are_taken() {
        assert!(accepted(&["OutOfDate".to_owned()]).unwrap().contains(TcbStatus::OutOfDate));
        assert!(!accepted(&[]).unwrap().contains(TcbStatus::OutOfDate));
        for bad in ["Revoked", "uptodate", ""] {
            assert_eq!(accepted(&[bad.to_owned()]).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
