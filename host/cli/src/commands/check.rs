//! `phala worker check`: which TEE this machine has, what is missing and the fix, and what its evidence is worth.
//!
//! Changes nothing. Exits with 0 if a worker could run here now, and as `environment` if not. What evidence says is judged by the same
//! verifier that the chain uses, by the collateral that the operator gives; without collateral nothing is said of it. Which confidence
//! level it has is decided by the rules of the network that is named, or by those that a network begins with.

use super::{
    attest::report_text,
    confidence::{Confidence, Rules},
};
use crate::{
    args::{Global, WorkerCheckArgs},
    dev::output_of,
    error::CliError,
    evidence::{self, read_collateral, read_evidence, RootArgument},
    home,
    machine::{Appraisal, Appraised, Probe},
    output::{assurance, assurance_line, line, table, Output},
};
use phala_attest::{
    verify_collateral, verify_evidence, AcceptedStatuses, Collateral, Evidence, Policy, PolicyTerms, TcbStatus,
    VerifiedReport,
};
use phala_client::ErrorCode;
use phala_protocol::attestation::Assurance;
use serde_json::{json, Value};
use std::path::Path;

/// Runs `phala worker check`.
pub async fn run(global: &Global, args: &WorkerCheckArgs, output: Output) -> Result<(), CliError> {
    let appraisal = Appraisal::of(&Probe::new(&args.root));
    let evidence = match &args.collateral {
        Some(file) => {
            let collateral = read_collateral(file)?;
            match quote(args, &appraisal).await? {
                Some(evidence) => Some(assess(&evidence, &collateral, args.at, &Rules::of(global).await?)?),
                None => None,
            }
        }
        None => None,
    };
    answer(&appraisal, evidence.as_ref(), args.collateral.is_some(), output)
}

/// The machine's evidence: from a file, or by the worker's own program where a quote can be made.
async fn quote(args: &WorkerCheckArgs, appraisal: &Appraisal) -> Result<Option<Evidence>, CliError> {
    if let Some(file) = &args.quote {
        return read_evidence(file).map(Some);
    }
    let here = args.root == Path::new("/") && appraisal.ready().is_some_and(|way| way.way.makes_quotes_here());
    if !here {
        return Ok(None);
    }
    let text = output_of(&home::program("phala-worker")?, ["evidence"]).await?;
    evidence::evidence(&text)
        .map(Some)
        .map_err(|why| CliError::new(ErrorCode::Internal, format!("the worker's program printed no evidence: {why}")))
}

/// What evidence says about a machine, for its operator.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// What the verifier found.
    report: VerifiedReport,
    assurance: Assurance,
    /// What the network makes of it.
    confidence: Confidence,
}

/// Judges evidence by collateral at a time, under Intel's root or, INSECURE, the development one. Takes every status that any policy can
/// take: what the network takes is said beside it, by `rules`, and here the operator has to see what he has.
fn assess(evidence: &Evidence, collateral: &Collateral, at: u64, rules: &Rules) -> Result<Assessment, CliError> {
    let accepted = AcceptedStatuses::ALL_BUT_REVOKED;
    let mut refused = None;
    for root in [RootArgument::Intel, RootArgument::Development] {
        let anchor = root.anchor()?;
        let terms = PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 };
        let collateral = match verify_collateral(collateral, &anchor, at) {
            Ok(collateral) => collateral,
            Err(refusal) => {
                refused.get_or_insert(refusal.to_string());
                continue;
            }
        };
        let report = verify_evidence(evidence, &collateral, &Policy { anchor, terms }, at).map_err(|refusal| {
            CliError::new(ErrorCode::Unattested, format!("this machine's evidence does not hold: {refusal}"))
                .with_hint("`phala attest verify` shows every check")
        })?;
        let assurance = match report.assurance() {
            phala_attest::Assurance::Hardware => Assurance::Hardware,
            phala_attest::Assurance::Simulated => Assurance::Simulated,
        };
        let confidence = Confidence::of(&report, &collateral, rules);
        return Ok(Assessment { report, assurance, confidence });
    }
    let why = refused.unwrap_or_default();
    Err(CliError::new(ErrorCode::Unattested, format!("the collateral does not hold: {why}"))
        .with_hint("fetch it again if it has expired; `phala attest verify` shows every check"))
}

impl Assessment {
    /// What an operator can do about a status.
    fn advice(&self) -> &'static str {
        match self.report.tcb_status() {
            TcbStatus::UpToDate => "nothing that Intel knows of is missing",
            TcbStatus::SwHardeningNeeded => "the platform is up to date; software has to mitigate what the advisories name",
            TcbStatus::ConfigurationNeeded | TcbStatus::ConfigurationAndSwHardeningNeeded => {
                "a setting of the firmware leaves something open: the advisories say which (often hyper-threading)"
            }
            TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded => {
                "firmware or microcode is out of date: install the vendor's BIOS update; microcode that Linux loads does not count"
            }
            TcbStatus::Revoked => "Intel has revoked this platform: it cannot be used",
        }
    }

    fn to_json(&self) -> Value {
        let mut json = super::attest::report_json(&self.report);
        if let Value::Object(json) = &mut json {
            json.insert("assurance".to_owned(), json!(assurance(self.assurance)));
            json.insert("advice".to_owned(), json!(self.advice()));
            json.insert("confidence".to_owned(), self.confidence.to_json());
        }
        json
    }
}

fn answer(appraisal: &Appraisal, evidence: Option<&Assessment>, wanted: bool, output: Output) -> Result<(), CliError> {
    let ready = appraisal.ready();
    let ways: Vec<Value> = appraisal.ways.iter().map(Appraised::to_json).collect();
    let json = json!({
        "usable": ready.is_some(),
        "processor": appraisal.processor,
        "tees": ways,
        "reason": appraisal.reason,
        "evidence": evidence.map(Assessment::to_json),
    });
    if !output.is_json() {
        line(&report(appraisal, evidence, wanted));
    }
    if ready.is_some() {
        if output.is_json() {
            output.data(&json, String::new);
        }
        return Ok(());
    }
    let mut error = match (&appraisal.reason, appraisal.ways.first()) {
        (Some(reason), _) => CliError::environment(format!("this machine has no TEE that a worker can use: {reason}"))
            .with_hint("`phala dev` runs a network on INSECURE simulated TEEs, for development"),
        (None, Some(way)) => {
            CliError::environment(format!("no worker can run here yet: {} is not complete", way.way.as_str()))
                .with_hint(way.next())
        }
        (None, None) => CliError::environment("this machine has no TEE that a worker can use"),
    };
    if let Value::Object(details) = json {
        error.details = details;
    }
    Err(error)
}

fn report(appraisal: &Appraisal, evidence: Option<&Assessment>, wanted: bool) -> String {
    let mut lines = vec![format!("processor: {}", appraisal.processor)];
    for way in &appraisal.ways {
        lines.push(format!("\n{}: {}", way.way.as_str(), if way.is_ready() { "ready" } else { "not complete" }));
        let rows: Vec<Vec<String>> = way
            .findings
            .iter()
            .map(|finding| {
                let fix = finding.fix.as_ref().map(|fix| format!("; fix: {fix}")).unwrap_or_default();
                vec![finding.state.as_str().to_owned(), finding.what.to_owned(), format!("{}{fix}", finding.found)]
            })
            .collect();
        lines.push(table(&["", "", ""], &rows).trim_start().to_owned());
        if way.is_ready() {
            lines.push(format!("next: {}", way.next()));
        }
    }
    match evidence {
        Some(found) => {
            lines.push(format!("\n{}\nadvice       {}", report_text(&found.report), found.advice()));
            lines.push(found.confidence.to_text());
            lines.push(assurance_line(found.assurance).to_owned());
        }
        None if wanted => lines.push("\nevidence: none, no quote can be made here; --quote names one".to_owned()),
        None => lines.push("\nevidence: not judged; --collateral FILE does that".to_owned()),
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::commands::attest::samples::SAMPLES;
    use phala_insecure_tee::InsecureMachine;

    const QUOTE: &[u8] = include_bytes!("../../../../testing/vectors/attest/tdx_v4.bin");
    const COLLATERAL: &[u8] = include_bytes!("../../../../testing/vectors/attest/tdx_v4.collateral.json");
    const LATER: &[u8] = include_bytes!("../../../../testing/vectors/attest/tdx_v4.later-collateral.json");
    /// A day after the first of them was issued.
    const THEN: u64 = 1_750_414_563;
    /// 2026-10-09, a day after the second.
    const AFTER: u64 = 1_791_504_000;

    fn judged(quote: &[u8], collateral: &[u8], at: u64) -> Result<Assessment, CliError> {
        let (evidence, collateral) = (evidence::evidence(quote).unwrap(), evidence::collateral(collateral).unwrap());
        assess(&evidence, &collateral, at, &Rules::defaults())
    }

    #[test]
    fn the_operator_of_a_genuine_machine_sees_its_status_and_what_to_do_about_it() {
        for sample in &SAMPLES {
            let found = judged(sample.quote, sample.collateral, sample.at).unwrap();
            assert_eq!((found.report.tcb_status(), found.assurance), (sample.status, Assurance::Hardware));
            assert_eq!(found.to_json()["tcb_status"], sample.status.name());
            assert_eq!(found.to_json()["measurement"], sample.measurement.trim());
            let advice = if sample.is_enclave() { "a setting of the firmware" } else { "nothing that Intel knows of" };
            assert!(found.advice().contains(advice), "{}", found.advice());
        }
        let good = judged(QUOTE, COLLATERAL, THEN).unwrap();
        assert_eq!(good.to_json()["confidence"]["level"], 1);
        let late = judged(QUOTE, LATER, AFTER).unwrap();
        assert_eq!(late.report.tcb_status(), TcbStatus::OutOfDate);
        assert!(late.advice().contains("BIOS update"));
        assert!(!late.report.advisories().is_empty());
        let text = report(&Appraisal::of(&Probe::new(Path::new("/nonexistent"))), Some(&late), true);
        assert!(text.contains("OutOfDate") && text.contains("assurance: hardware"), "{text}");
        assert!(text.contains("level 5 of 5") && text.contains("weight 0.7"), "{text}");
    }

    #[test]
    fn evidence_or_collateral_that_does_not_hold_is_an_error_and_no_status() {
        for sample in &SAMPLES {
            let expired = judged(sample.quote, sample.collateral, sample.at + 60 * 86_400).unwrap_err();
            assert!(expired.exit_code() == 7 && expired.message.contains("expired"), "{}", expired.message);
            // A byte of the report data: of an enclave behind 320 bytes of its report, of TDX 1.0 behind 520.
            let at = match sample.quote[0] {
                3 => 48 + 320,
                4 => 48 + 520,
                _ => 48 + 6 + 520,
            };
            let mut forged = sample.quote.to_vec();
            forged[at] ^= 1;
            let forged = judged(&forged, sample.collateral, sample.at).unwrap_err();
            assert!(forged.exit_code() == 7 && forged.message.contains("not signed"), "{}", forged.message);
        }
    }

    #[test]
    fn simulated_evidence_says_so() {
        let machine = InsecureMachine::new("machine", b"program", THEN).unwrap();
        let evidence = evidence::evidence(&machine.quote([0; 64])).unwrap();
        let found = assess(&evidence, machine.collateral(), THEN, &Rules::defaults()).unwrap();
        assert_eq!(found.assurance, Assurance::Simulated);
        assert_eq!(found.to_json()["assurance"], "simulated");
        assert!(found.to_json()["confidence"]["protects"].as_str().unwrap().contains("INSECURE"));
    }

    #[test]
    fn a_machine_without_a_tee_is_an_environment_error_with_every_finding() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = Appraisal::of(&Probe::new(folder.path()));
        let error = answer(&nothing, None, false, Output::new(true)).unwrap_err();
        assert_eq!((error.code.as_str(), error.exit_code()), ("environment", 9));
        assert!(error.message.contains("no TEE"));
        assert_eq!(error.details["usable"], false);

        let sgx = crate::machine::fixture::tree(&[("/dev/sgx_enclave", "")]);
        let half = Appraisal::of(&Probe::new(sgx.path()));
        let error = answer(&half, None, false, Output::new(true)).unwrap_err();
        assert_eq!(error.exit_code(), 9);
        assert!(error.hint.unwrap().contains("firmware"));
        assert_eq!(error.details["tees"][0]["tee"], "sgx-host");

        let enclave = crate::machine::fixture::tree(&[
            ("/dev/attestation/attestation_type", "dcap"),
            ("/dev/attestation/quote", ""),
            ("/dev/attestation/keys/_sgx_mrenclave", ""),
        ]);
        let ready = Appraisal::of(&Probe::new(enclave.path()));
        assert!(answer(&ready, None, false, Output::new(true)).is_ok());
    }
}
