//! Transcripts of genuine evidence, and of evidence that says something wrong.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::evidence::{collateral, evidence, RootArgument};
use phala_attest::{
    AcceptedStatuses, CertificateFault, DecodeError, DocumentFault, PckFault, PemFault, PolicyTerms, RevocationFault,
    TcbStatus, TrustAnchor,
};

const QUOTE: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v4.bin");
const COLLATERAL: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v4.collateral.json");
const LATER: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v4.later-collateral.json");
const OTHER: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/other-model.collateral.json");
/// A day after the first collateral was issued.
const THEN: u64 = 1_750_414_563;

fn strict() -> Policy {
    Policy { anchor: TrustAnchor::Intel, terms: PolicyTerms::STRICT }
}

fn transcript(quote: &[u8], collateral: &Collateral, at: u64) -> Transcript {
    Transcript::of(&evidence(quote).unwrap(), collateral, &strict(), at)
}

/// The name of the check that failed.
fn failed(transcript: &Transcript) -> String {
    assert!(transcript.report.is_none());
    transcript.failed().unwrap().name.clone()
}

#[test]
fn every_check_of_genuine_evidence_holds_with_its_bytes_beside_it() {
    let found = transcript(QUOTE, &collateral(COLLATERAL).unwrap(), THEN);
    assert_eq!(found.checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), CHECKS);
    assert!(found.checks.iter().all(|check| check.outcome == Outcome::Ok));
    // Two checks compare what others have shown already.
    let without: Vec<&str> =
        found.checks.iter().filter(|check| check.evidence.is_empty()).map(|check| check.name.as_str()).collect();
    assert_eq!(without, ["collateral for this policy and time", "status by the policy"]);
    let json = found.to_json();
    assert_eq!(json["report"]["tcb_status"], "UpToDate");
    let measurement = include_str!("../../../../../../testing/vectors/attest/tdx_v4.measurement").trim();
    assert_eq!(json["report"]["measurement"], measurement);
    assert_eq!(json["checks"][3]["evidence"]["tcb_info_signature"].as_str().unwrap().len(), 128);
    assert!(found.to_text().contains(measurement));
    assert_eq!(found.to_text(), transcript(QUOTE, &collateral(COLLATERAL).unwrap(), THEN).to_text());
}

#[test]
fn the_check_that_fails_is_named_those_before_it_hold_and_those_after_it_are_not_claimed() {
    let good = collateral(COLLATERAL).unwrap();
    let altered = |offset: usize| {
        let mut quote = QUOTE.to_vec();
        quote[offset] ^= 1;
        failed(&transcript(&quote, &good, THEN))
    };
    assert_eq!(altered(12), "header of the quote");
    assert_eq!(altered(568), "signature of the quote");
    assert_eq!(altered(640), "signature of the quote");
    assert_eq!(altered(700), "qe report binds the attestation key");
    assert_eq!(altered(800), "signature of the qe report");
    assert_eq!(altered(1160), "signature of the qe report");
    assert_eq!(altered(1400), "pck chain");

    let mut tampered = good.clone();
    tampered.tcb_info_signature[0] ^= 1;
    let found = transcript(QUOTE, &tampered, THEN);
    assert_eq!(failed(&found), "tcb info");
    let outcomes: Vec<Outcome> = found.checks.iter().map(|check| check.outcome).collect();
    assert_eq!(outcomes[..3], [Outcome::Ok; 3]);
    assert_eq!(outcomes[4..], [Outcome::NotChecked; 19]);
    assert!(found.to_text().contains("FAILED  tcb info: tcb info: signature is not its signer's"));
    let mut tampered = good.clone();
    tampered.qe_identity_signature[0] ^= 1;
    assert_eq!(failed(&transcript(QUOTE, &tampered, THEN)), "qe identity");

    assert_eq!(failed(&transcript(QUOTE, &good, THEN + 60 * 86_400)), "tcb info");
    assert_eq!(failed(&transcript(QUOTE, &good, THEN - 2 * 86_400)), "tcb info");
    assert_eq!(failed(&transcript(QUOTE, &collateral(LATER).unwrap(), 1_791_504_000)), "status by the policy");
    let other = transcript(QUOTE, &collateral(OTHER).unwrap(), 1_771_459_200);
    assert_eq!(failed(&other), "platform model");
    let development = Policy { anchor: RootArgument::Development.anchor().unwrap(), terms: PolicyTerms::STRICT };
    let found = Transcript::of(&evidence(QUOTE).unwrap(), &good, &development, THEN);
    assert_eq!(failed(&found), "revocation list of the root", "intel's list is not signed by the development root");
    let floor = PolicyTerms { accepted: AcceptedStatuses::UP_TO_DATE, minimum_tcb_evaluation_number: 99 };
    let policy = Policy { anchor: TrustAnchor::Intel, terms: floor };
    let found = Transcript::of(&evidence(QUOTE).unwrap(), &good, &policy, THEN);
    assert_eq!(failed(&found), "collateral for this policy and time");
}

/// One of each, in the order of its declaration. A refusal without a place would be shown as a check of its own.
#[test]
fn every_refusal_of_the_verifier_has_its_place_and_every_place_has_a_refusal() {
    use Refusal as R;
    let evidence = [
        R::DevelopmentRoot,
        R::OtherRoot,
        R::CollateralNotYetValid,
        R::CollateralExpired,
        R::EvaluationNumber,
        R::Decode(DecodeError::TooShort),
        R::Kind,
        R::CollateralKind,
        R::QeVendor,
        R::HeaderReserved,
        R::PckChain(PemFault::Framing),
        R::PckChainLength,
        R::PckRoot,
        R::PckAuthority,
        R::PckCertificate(CertificateFault::Malformed),
        R::PckRevoked,
        R::PckExtension(PckFault::Absent),
        R::QeReportSignature,
        R::QeReportReserved,
        R::QeAuthenticationData,
        R::QeReportData,
        R::QeSigner,
        R::QeProduct,
        R::QeDebug,
        R::QeMiscSelect,
        R::QeAttributes,
        R::QeSecurityVersion,
        R::QuoteSignature,
        R::TdDebug,
        R::TdProfiling,
        R::TdServiceTd,
        R::TdPartition,
        R::TdDevices,
        R::TdInitialPlatform,
        R::EnclaveDebug,
        R::EnclaveReserved,
        R::EnclaveAttributes,
        R::EnclaveXfrm,
        R::EnclaveMiscSelect,
        R::EnclaveKss,
        R::TdMigratable,
        R::TdAttributes,
        R::TdSeptVe,
        R::Xfam,
        R::PlatformModel,
        R::PceId,
        R::ModuleVersion,
        R::ModuleLevel,
        R::ModuleSigner,
        R::ModuleAttributes,
        R::TcbLevel,
        R::TcbRevoked,
        R::TcbStatus(TcbStatus::OutOfDate),
    ];
    let mut places: Vec<usize> = evidence.iter().map(|refusal| place_of_evidence(refusal).unwrap()).collect();
    use CollateralRefusal as C;
    let roles = [SignerRole::Root, SignerRole::TcbInfo, SignerRole::QeIdentity, SignerRole::PckAuthority];
    places.extend(roles.map(|role| place_of_collateral(&C::UntrustedRoot(role))));
    places.extend(
        [
            C::RootCrl(RevocationFault::TooLong),
            C::PckCrl(RevocationFault::TooLong),
            C::TcbInfo(DocumentFault::Json),
            C::QeIdentity(DocumentFault::Json),
        ]
        .map(|refusal| place_of_collateral(&refusal)),
    );
    places.sort_unstable();
    places.dedup();
    assert_eq!(places, (0..CHECKS.len()).collect::<Vec<_>>());
}
