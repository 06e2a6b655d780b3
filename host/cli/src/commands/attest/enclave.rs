//! `phala attest enclave`: the measurement that the allow-list names, from the SIGSTRUCT that an enclave is launched with.
//!
//! For whoever reproduces a build: his own signing writes the file, and no machine with SGX is needed. What is printed is the verifier's own hash
//! over the fields that the launched enclave reports; a SIGSTRUCT that leaves one of them to whoever launches it has none, and is refused. Does
//! not say that MRENCLAVE is of this source: building and signing it again does.

use super::measurement::enclave_fields;
use crate::{args::AttestEnclaveArgs, error::CliError, evidence::read, output::Output};
use phala_attest::{enclave_measurement, EnclaveReport};
use phala_client::launch::{decode_sigstruct, Configuration, SigstructFault};
use phala_protocol::ids::to_hex;
use serde_json::{json, Value};

/// Runs `phala attest enclave`.
pub fn run(args: &AttestEnclaveArgs, output: Output) -> Result<(), CliError> {
    let report = report(args)?;
    output.data(&to_json(&report), || to_text(&report));
    Ok(())
}

/// What the launched enclave reports.
fn report(args: &AttestEnclaveArgs) -> Result<EnclaveReport, CliError> {
    let refused = |fault: SigstructFault| {
        let error = CliError::invalid(format!("{}: {fault}", args.sigstruct.display()));
        match fault {
            SigstructFault::Length | SigstructFault::Header => {
                error.with_hint("the file that gramine-sgx-sign writes beside the manifest, with the ending .sig")
            }
            SigstructFault::Open(_) => error.with_hint(
                "let the manifest say it, as sgx.cpu_features does in deploy/sgx: left open, one SIGSTRUCT stands for many measurements",
            ),
            SigstructFault::Configuration => error.with_hint("give --config-id and --config-svn"),
            _ => error,
        }
    };
    let sigstruct = decode_sigstruct(&read(&args.sigstruct)?).map_err(refused)?;
    let configuration = args.config_id.zip(args.config_svn).map(|(id, svn)| Configuration { id, svn });
    sigstruct.enclave(configuration).map_err(refused)
}

fn to_json(report: &EnclaveReport) -> Value {
    json!({"fields": enclave_fields(report), "measurement": to_hex(&enclave_measurement(report))})
}

fn to_text(report: &EnclaveReport) -> String {
    let fields = enclave_fields(report);
    let width = fields.keys().map(String::len).max().unwrap_or_default();
    let lines = fields.iter().map(|(name, value)| format!("{name:width$}  {}", value.as_str().unwrap_or_default()));
    let measurement = format!("{:width$}  {}", "measurement", to_hex(&enclave_measurement(report)));
    lines.chain([measurement]).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use crate::{
        commands::attest::measurement::of_fields,
        evidence::{collateral, evidence},
    };
    use phala_attest::{
        canonical_quote, decode_quote, verify_collateral, verify_evidence, AcceptedStatuses, Policy, PolicyTerms,
        Report, TrustAnchor,
    };
    use std::io::Write;

    const GOOD: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.sigstruct");
    const OPEN: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.open.sigstruct");
    const MEASUREMENT: &str = include_str!("../../../../../testing/vectors/attest/sgx_v3.sigstruct.measurement");
    const QUOTE: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.bin");
    const COLLATERAL: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.collateral.json");
    /// 20 June 2025, when that collateral holds.
    const NOW: u64 = 1_750_414_563;

    fn of(bytes: &[u8], configuration: Option<([u8; 64], u16)>) -> Result<EnclaveReport, CliError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        report(&AttestEnclaveArgs {
            sigstruct: file.path().into(),
            config_id: configuration.map(|(id, _)| id),
            config_svn: configuration.map(|(_, svn)| svn),
        })
    }

    #[test]
    fn a_sigstruct_gives_the_measurement_that_genuine_evidence_of_such_an_enclave_verifies_to() {
        let report = of(GOOD, None).unwrap();
        let json = to_json(&report);
        assert_eq!(json["measurement"], format!("0x{}", MEASUREMENT.trim()));
        assert_eq!(of_fields(json.to_string().as_bytes()).unwrap(), json["measurement"].as_str().unwrap());
        assert!(to_text(&report).ends_with(MEASUREMENT.trim()));

        // The genuine enclave differs in its signer alone: with it, the fields measure to what its quote verifies to.
        let anchor = TrustAnchor::Intel;
        let terms = PolicyTerms { accepted: AcceptedStatuses::ALL_BUT_REVOKED, minimum_tcb_evaluation_number: 0 };
        let verified = verify_collateral(&collateral(COLLATERAL).unwrap(), &anchor, NOW).unwrap();
        let verdict = verify_evidence(&evidence(QUOTE).unwrap(), &verified, &Policy { anchor, terms }, NOW).unwrap();
        let quote = decode_quote(canonical_quote(QUOTE).unwrap()).unwrap();
        let Report::Enclave(genuine) = quote.report else { panic!("an enclave") };
        assert_ne!(enclave_measurement(&report), verdict.measurement());
        let mut fields = json["fields"].clone();
        fields["enclave.mr_signer"] = json!(hex::encode(genuine.mr_signer));
        assert_eq!(of_fields(fields.to_string().as_bytes()).unwrap(), to_hex(&verdict.measurement()));
    }

    #[test]
    fn what_stands_for_no_one_measurement_is_refused_with_what_to_do() {
        let told = |bytes: &[u8], configuration| {
            let error = of(bytes, configuration).unwrap_err();
            assert_eq!((error.code.as_str(), error.exit_code()), ("invalid", 2));
            (error.message, error.hint.unwrap_or_default())
        };
        let (message, hint) = told(OPEN, None);
        assert!(message.contains("AVX (bit 2)") && hint.contains("sgx.cpu_features"), "{message} {hint}");
        let (message, hint) = told(&GOOD[..1_807], None);
        assert!(message.contains("1808 bytes") && hint.contains(".sig"), "{message} {hint}");
        assert!(told(&[GOOD, &[0]].concat(), None).0.contains("1808 bytes"));
        let mut altered = GOOD.to_vec();
        altered[960] ^= 1;
        assert!(told(&altered, None).0.contains("signature"));
        // Without KSS there is no configuration.
        assert!(told(GOOD, Some(([1; 64], 0))).0.contains("key separation"));
    }
}
