//! The verifier in the runtime's blob, asked through a node's client and executor, says what it says natively.
//!
//! Proves: a development chain's blob, as its genesis holds it and as [`service::Executor`] runs it, finds in every case of the corpus
//! what the verifier finds natively, in each field of a report, and refuses for the same reason where it refuses. Registrations are
//! judged by the same functions of the same blob. It says nothing of another blob that governance may enact.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::{cli, service};
use phala_attest::{PolicyTerms, Root};
use phala_attest_corpus::{every_case, parallel, Case};
use phala_attest_corpus_module::verdict;
use phala_runtime::judgement::{AttestationApi, Fault, Finding, Question};
use sp_api::ProvideRuntimeApi;
use sp_blockchain::HeaderBackend;

fn question(case: &Case) -> Question {
    let root = if case.input.development { Root::InsecureDevelopment } else { Root::Intel };
    Question {
        evidence: case.input.evidence.clone(),
        collateral: Some((root, case.input.collateral.clone())),
        terms: Some(PolicyTerms { accepted: case.input.accepted, minimum_tcb_evaluation_number: 0 }),
        at: Some(case.input.now),
    }
}

/// A refusal in the words of [`verdict`].
fn told(fault: Fault) -> String {
    match fault {
        Fault::EvidenceShape => "Evidence(Shape)".to_owned(),
        Fault::CollateralShape => "Collateral(Shape)".to_owned(),
        Fault::UnsupportedEvidence(kind) => format!("Evidence(UnsupportedKind({kind}))"),
        Fault::UnsupportedCollateral(kind) => format!("Collateral(UnsupportedKind({kind}))"),
        Fault::Evidence(refusal) => format!("Evidence({refusal:?})"),
        Fault::Collateral(refusal) => format!("Collateral({refusal:?})"),
        // Of these the corpus has none.
        Fault::NotDevelopment | Fault::NoCollateral => format!("{fault:?}"),
    }
}

#[test]
fn the_runtimes_blob_gives_the_native_verdict_on_every_case() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entered = runtime.enter();
    let base = folder.path().to_str().unwrap();
    let arguments = ["phala-node", "--chain", "dev", "--base-path", base, "--no-prometheus", "--no-telemetry"];
    let config = cli::configuration(&arguments, runtime.handle().clone()).unwrap();
    let node = service::parts(&config).unwrap();
    drop(entered);

    let client = &node.client;
    let genesis = client.info().genesis_hash;
    let cases = every_case();
    let verdicts = parallel(&cases, |case| {
        let answer = client.runtime_api().judge(genesis, question(case)).unwrap();
        (verdict(&case.input).map(|report| Finding::from(&report)), answer.map_err(told))
    });
    let mut accepted = 0;
    for (case, (native, asked)) in cases.iter().zip(verdicts) {
        assert_eq!(native, asked, "{:?} {}: {}", case.kind, case.class, case.name);
        accepted += usize::from(native.is_ok());
    }
    assert!(accepted > 20, "nothing is accepted: {accepted}");
    println!("{} cases, {accepted} accepted, identical", cases.len());
}
