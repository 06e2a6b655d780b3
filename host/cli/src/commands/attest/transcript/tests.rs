//! Transcripts of genuine evidence, and of evidence that says something wrong.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    commands::attest::samples::{Sample, SAMPLES},
    evidence::{collateral, evidence, RootArgument},
};
use phala_attest::{
    decode_quote, AcceptedStatuses, CertificateFault, DecodeError, DocumentFault, PckFault, PemFault, PolicyTerms,
    Report, RevocationFault, TcbStatus, TrustAnchor,
};
use phala_insecure_tee::{
    qe_identity_json, sgx_qe_identity_json, sgx_tcb_info_json, tcb_info_json, InsecureVendor, Processor, QuoteFields,
    QuoteFormat, QuoteSigner, Revoked, Window,
};

const QUOTE: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v4.bin");
const COLLATERAL: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v4.collateral.json");
const LATER: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v4.later-collateral.json");
const OTHER: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/other-model.collateral.json");
/// Genuine platforms below every level of the collateral of their models: of `COLLATERAL`, and of `OTHER`.
const BELOW: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v4_below_levels_1.bin");
const BELOW_OTHER: &[u8] = include_bytes!("../../../../../../testing/vectors/attest/tdx_v5_td15.bin");
/// A day after the first collateral was issued.
const THEN: u64 = 1_750_414_563;
/// The day after the other model's was.
const AT_OTHER: u64 = 1_771_459_200;

fn policy(accepted: AcceptedStatuses) -> Policy {
    Policy { anchor: TrustAnchor::Intel, terms: PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 } }
}

fn strict() -> Policy {
    policy(AcceptedStatuses::UP_TO_DATE)
}

fn transcript(quote: &[u8], collateral: &Collateral, at: u64) -> Transcript {
    Transcript::of(&evidence(quote).unwrap(), collateral, &strict(), at)
}

/// Of a quote in the place of the sample's, under a policy that takes the sample.
fn beside(sample: &Sample, quote: &[u8], collateral: &Collateral) -> Transcript {
    Transcript::of(&evidence(quote).unwrap(), collateral, &policy(sample.accepted()), sample.at)
}

/// The name of the check that failed. Those before it hold, and of those after it nothing is said.
fn failed(transcript: &Transcript) -> String {
    assert!(transcript.report.is_none());
    let checks = &transcript.checks;
    let at = checks.iter().position(|check| check.outcome == Outcome::Failed).unwrap();
    assert!(checks[..at].iter().all(|check| check.outcome == Outcome::Ok));
    assert!(checks[at + 1..].iter().all(|check| check.outcome == Outcome::NotChecked));
    assert!(checks[at].reason.is_some());
    checks[at].name.clone()
}

/// The checks that evidence of a kind is put to.
fn checks_of(is_enclave: bool) -> Vec<&'static str> {
    CHECKS.into_iter().filter(|name| !(is_enclave && name.contains("tdx module"))).collect()
}

/// The names of what stands beside a check.
fn shown_beside<'a>(found: &'a Transcript, name: &str) -> Vec<&'a str> {
    let check = found.checks.iter().find(|check| check.name == name);
    check.into_iter().flat_map(|check| &check.evidence).map(|field| field.name.as_str()).collect()
}

#[test]
fn every_check_of_genuine_evidence_holds_with_its_bytes_beside_it() {
    for sample in &SAMPLES {
        let signed = collateral(sample.collateral).unwrap();
        let found = beside(sample, sample.quote, &signed);
        let checks: Vec<&str> = found.checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(checks, checks_of(sample.is_enclave()));
        assert!(found.checks.iter().all(|check| check.outcome == Outcome::Ok));
        // Two checks compare what others have shown already.
        let without: Vec<&str> =
            found.checks.iter().filter(|check| check.evidence.is_empty()).map(|check| check.name.as_str()).collect();
        assert_eq!(without, ["collateral for this policy and time", "status by the policy"]);
        let json = found.to_json();
        assert_eq!(json["report"]["tcb_status"], sample.status.name());
        assert_eq!(json["report"]["measurement"], sample.measurement.trim());
        assert_eq!(json["checks"][3]["evidence"]["tcb_info_signature"].as_str().unwrap().len(), 128);
        assert!(found.to_text().contains(sample.measurement.trim()));
        assert_eq!(found.to_text(), beside(sample, sample.quote, &signed).to_text());
    }
}

#[test]
fn what_decides_stands_beside_the_check_that_it_decides_for_each_kind() {
    let [sgx, v4, v5] = [0, 1, 2].map(|index| {
        let sample = &SAMPLES[index];
        let found = beside(sample, sample.quote, &collateral(sample.collateral).unwrap());
        // What the processor's certificate says is shown with its values, and not only inside the certificate.
        let json = found.to_json();
        let checks = json["checks"].as_array().unwrap();
        let level = checks.iter().find(|check| check["check"] == "tcb level").unwrap();
        let [fmspc, pce_id, cpu_svn, pce_svn] = sample.processor;
        assert_eq!(level["evidence"]["pck.cpu_svn"], cpu_svn);
        assert_eq!(level["evidence"]["pck.pce_svn"], pce_svn);
        let model = checks.iter().find(|check| check["check"] == "platform model").unwrap();
        assert_eq!(model["evidence"], json!({"pck.fmspc": fmspc, "pck.pce_id": pce_id}));
        found
    });
    assert_eq!(
        shown_beside(&sgx, "attributes of the machine"),
        [
            "enclave.misc_select",
            "enclave.reserved_1",
            "enclave.isv_ext_prod_id",
            "enclave.attributes",
            "enclave.reserved_2",
            "enclave.reserved_3",
            "enclave.config_id",
            "enclave.config_svn",
            "enclave.reserved_4",
            "enclave.isv_family_id",
        ]
    );
    assert_eq!(shown_beside(&sgx, "tcb level"), ["pck.cpu_svn", "pck.pce_svn"]);
    assert_eq!(shown_beside(&v4, "attributes of the machine"), ["td.td_attributes", "td.xfam"]);
    assert_eq!(shown_beside(&v4, "tdx module"), ["td.tee_tcb_svn", "td.mr_signer_seam", "td.seam_attributes"]);
    assert_eq!(shown_beside(&v4, "tcb level"), ["td.tee_tcb_svn", "pck.cpu_svn", "pck.pce_svn"]);
    assert_eq!(
        shown_beside(&v5, "attributes of the machine"),
        [
            "td.td_attributes",
            "td.xfam",
            "td.mr_service_td",
            "td.vm_id",
            "td.dev_info",
            "td.init_service_td_hash",
            "td.init_service_td_attributes",
            "td.init_cpu_svn",
            "td.init_tee_tcb_svn",
            "td.init_tee_fmspc",
            "td.cur_service_td_hash",
            "td.cur_service_td_attributes",
        ]
    );
    assert_eq!(
        shown_beside(&v5, "tdx module"),
        ["td.tee_tcb_svn", "td.mr_signer_seam", "td.seam_attributes", "td.tee_tcb_svn_2"]
    );
    assert_eq!(shown_beside(&v5, "tcb level"), ["td.tee_tcb_svn", "td.tee_tcb_svn_2", "pck.cpu_svn", "pck.pce_svn"]);
    assert_eq!(shown_beside(&v5, "level of the tdx module"), ["td.tee_tcb_svn", "td.tee_tcb_svn_2"]);
}

#[test]
fn the_check_that_fails_is_named_those_before_it_hold_and_those_after_it_are_not_claimed() {
    for sample in &SAMPLES {
        let good = collateral(sample.collateral).unwrap();
        let places = fields(&evidence(sample.quote).unwrap()).unwrap();
        let altered = |name: &str, offset: usize| {
            let place = places.iter().find(|field| field.name == name).unwrap().place.clone().unwrap();
            let mut quote = sample.quote.to_vec();
            quote[place.start + offset] ^= 1;
            failed(&beside(sample, &quote, &good))
        };
        let own = if sample.is_enclave() { "enclave.report_data" } else { "td.report_data" };
        assert_eq!(altered("header.qe_vendor_id", 0), "header of the quote");
        assert_eq!(altered(own, 0), "signature of the quote");
        assert_eq!(altered("signature", 4), "signature of the quote");
        assert_eq!(altered("attestation_key", 0), "qe report binds the attestation key");
        assert_eq!(altered("qe.authentication_data", 0), "qe report binds the attestation key");
        assert_eq!(altered("qe.mr_signer", 0), "signature of the qe report");
        assert_eq!(altered("qe.report_signature", 6), "signature of the qe report");
        assert_eq!(altered("pck_chain.pem", 142), "pck chain");

        let mut tampered = good.clone();
        tampered.tcb_info_signature[0] ^= 1;
        let found = beside(sample, sample.quote, &tampered);
        assert_eq!(failed(&found), "tcb info");
        let outcomes: Vec<Outcome> = found.checks.iter().map(|check| check.outcome).collect();
        assert_eq!(outcomes[..3], [Outcome::Ok; 3]);
        assert_eq!(outcomes[4..], vec![Outcome::NotChecked; checks_of(sample.is_enclave()).len() - 4]);
        assert!(found.to_text().contains("FAILED  tcb info: tcb info: signature is not its signer's"));
        let mut tampered = good.clone();
        tampered.qe_identity_signature[0] ^= 1;
        assert_eq!(failed(&beside(sample, sample.quote, &tampered)), "qe identity");
    }

    let good = collateral(COLLATERAL).unwrap();
    assert_eq!(failed(&transcript(QUOTE, &good, THEN + 60 * 86_400)), "tcb info");
    assert_eq!(failed(&transcript(QUOTE, &good, THEN - 2 * 86_400)), "tcb info");
    assert_eq!(failed(&transcript(QUOTE, &collateral(LATER).unwrap(), 1_791_504_000)), "status by the policy");
    let [sgx, ..] = &SAMPLES;
    let enclaves = collateral(sgx.collateral).unwrap();
    assert_eq!(failed(&transcript(sgx.quote, &enclaves, sgx.at)), "status by the policy");
    assert_eq!(failed(&transcript(sgx.quote, &good, THEN)), "form of the quote", "of another technology");
    let other = collateral(OTHER).unwrap();
    assert_eq!(failed(&transcript(QUOTE, &other, AT_OTHER)), "platform model");
    // The levels of genuine platforms: their module was found to be Intel's, and its own level was not looked at.
    for (quote, collateral, at) in [(BELOW, &good, THEN), (BELOW_OTHER, &other, AT_OTHER)] {
        let found = transcript(quote, collateral, at);
        assert_eq!(failed(&found), "tcb level");
        assert!(found.to_text().contains("\nok      tdx module\n"), "{}", found.to_text());
        assert!(found.to_text().contains("\n-       level of the tdx module\n"), "{}", found.to_text());
    }
    let development = Policy { anchor: RootArgument::Development.anchor().unwrap(), terms: PolicyTerms::STRICT };
    let found = Transcript::of(&evidence(QUOTE).unwrap(), &good, &development, THEN);
    assert_eq!(failed(&found), "revocation list of the root", "intel's list is not signed by the development root");
    let floor = PolicyTerms { accepted: AcceptedStatuses::UP_TO_DATE, minimum_tcb_evaluation_number: 99 };
    let policy = Policy { anchor: TrustAnchor::Intel, terms: floor };
    let found = Transcript::of(&evidence(QUOTE).unwrap(), &good, &policy, THEN);
    assert_eq!(failed(&found), "collateral for this policy and time");
}

/// A simulated machine with a report of TDX 1.5, before it is signed.
struct Machine {
    processor: Processor,
    /// TEE_TCB_SVN at launch: its first byte is the module's own security version, its second its major version.
    launch: [u8; 16],
    /// The same of the module that runs now.
    now: [u8; 16],
    mr_signer_seam: [u8; 48],
}

/// The check that fails, for a machine of which all of `alter` is wrong.
fn failed_of(alter: fn(&mut Machine)) -> String {
    let mut fields = QuoteFields::of(b"program");
    let svn = fields.report.tee_tcb_svn;
    let mut machine = Machine { processor: Processor::named("alpha"), launch: svn, now: svn, mr_signer_seam: [0; 48] };
    alter(&mut machine);
    let mut later = fields.td_15();
    later.tee_tcb_svn_2 = machine.now;
    fields.report.tee_tcb_svn = machine.launch;
    fields.report.mr_signer_seam = machine.mr_signer_seam;

    let vendor = InsecureVendor::new().unwrap();
    let window = Window::around(THEN);
    // The platform's levels ask for a third component of the module, which the simulated ones do not.
    let (before, after) = (
        "\"tdxtcbcomponents\":[{\"svn\":0},{\"svn\":0},{\"svn\":0}",
        "\"tdxtcbcomponents\":[{\"svn\":0},{\"svn\":0},{\"svn\":3}",
    );
    let tcb_info = tcb_info_json(window).unwrap();
    assert!(tcb_info.contains(before) && svn[2] == 3);
    let tcb_info = tcb_info.replace(before, after);
    let qe_identity = qe_identity_json(window).unwrap();
    let signed = vendor.collateral(window, &tcb_info, &qe_identity, &Revoked::default()).unwrap();
    let signer = QuoteSigner::new(&vendor, &machine.processor).unwrap();
    let quote = signer.sign_parts(&signer.parts(&fields, &QuoteFormat::TdxV5(Some(later))));
    let policy = Policy { anchor: RootArgument::Development.anchor().unwrap(), terms: PolicyTerms::STRICT };
    let found = Transcript::of(&evidence(&quote).unwrap(), &signed, &policy, THEN);
    if found.report.is_some() {
        return "none".to_owned();
    }
    failed(&found)
}

/// Where two things are wrong, the check that comes first in the transcript is the one that fails, whichever module it is about: so that
/// none before it is said to hold which was not looked at.
#[test]
fn of_two_things_that_are_wrong_the_transcripts_first_fails() {
    assert_eq!(failed_of(|_| ()), "none");
    assert_eq!(failed_of(|machine| machine.mr_signer_seam[0] = 1), "tdx module");
    assert_eq!(failed_of(|machine| machine.launch[1] = 9), "tdx module");
    // The module that runs now has an unknown version, and the platform is below every level.
    let both: fn(&mut Machine) = |machine| {
        machine.now[1] = 9;
        machine.processor.pce_svn = 1;
    };
    assert_eq!(failed_of(both), "tdx module");
    // The module of the launch is below every level, and so is the platform: at all, and with the module that runs now.
    let both: fn(&mut Machine) = |machine| {
        machine.launch[0] = 1;
        machine.processor.pce_svn = 1;
    };
    assert_eq!(failed_of(both), "tcb level");
    let both: fn(&mut Machine) = |machine| {
        machine.launch[0] = 1;
        machine.now[2] = 2;
    };
    assert_eq!(failed_of(both), "tcb level");
    assert_eq!(failed_of(|machine| machine.launch[0] = 1), "level of the tdx module");
    assert_eq!(failed_of(|machine| machine.now[0] = 1), "level of the tdx module");
    assert_eq!(failed_of(|machine| machine.now[0] = 3), "status by the policy");
}

/// An enclave's level has no module: a platform below every level says so at its own place.
#[test]
fn an_enclave_below_every_level_fails_at_the_level_of_its_platform() {
    let [sgx, ..] = &SAMPLES;
    let Report::Enclave(report) = decode_quote(sgx.quote).unwrap().report else { panic!("an enclave") };
    let vendor = InsecureVendor::new().unwrap();
    let window = Window::around(THEN);
    let documents = (sgx_tcb_info_json(window).unwrap(), sgx_qe_identity_json(window).unwrap());
    let signed = vendor.collateral(window, &documents.0, &documents.1, &Revoked::default()).unwrap();
    let policy = Policy { anchor: RootArgument::Development.anchor().unwrap(), terms: PolicyTerms::STRICT };
    let found = |pce_svn: u16| {
        let signer = QuoteSigner::new(&vendor, &Processor { pce_svn, ..Processor::named("alpha") }).unwrap();
        let fields = QuoteFields { qe_isv_prod_id: 1, ..QuoteFields::of(b"program") };
        let quote = signer.sign_parts(&signer.parts(&fields, &QuoteFormat::SgxV3(report.clone())));
        Transcript::of(&evidence(&quote).unwrap(), &signed, &policy, THEN)
    };
    assert!(found(11).report.is_some());
    assert_eq!(failed(&found(5)), "status by the policy");
    assert_eq!(failed(&found(1)), "tcb level");
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
