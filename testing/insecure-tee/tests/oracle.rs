//! Compares verdicts with dcap-qvl's on evidence that is well signed, under the development root, but says something wrong.
//!
//! `common/attest/tests/oracle.rs` flips bits under Intel's root, where a signature refuses most of them. Here each claim
//! is altered *before* it is signed, so that the check meant for it has to catch it, by name.
//!
//! Rule: whatever dcap-qvl refuses, we refuse. We refuse more, each because the specification of this network says that
//! what is not understood or not wanted is refused:
//!
//! | alteration | dcap-qvl | ours |
//! |---|---|---|
//! | reserved bytes of the header, tail of its user data | accepts | `HeaderReserved` |
//! | reserved bytes of the QE report, tail of its report data | accepts | `QeReportReserved`, `QeReportData` |
//! | XFAM with an unknown bit, or without x87 and SSE | accepts | `Xfam` |
//! | attributes PERFMON, TPA, and the unreviewed 18 to 22 | accepts | `TdAttributes` |
//! | TCB info for another PCE | accepts | `PceId` |
//! | unknown or double entries in the SGX extension | accepts | `PckExtension` |
//! | key usage missing or without digitalSignature on the PCK certificate | accepts | `PckCertificate(KeyUsage)` |
//! | TCB info of a type other than 0, two identities for one module version | accepts | `TcbInfo(..)` |
//! | a level without exactly sixteen components, when another level matches | accepts | `TcbInfo(Components)` |
//! | levels beyond our limits | accepts | `TcbInfo(TooLong)` |

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use dcap_qvl::{configs::RustCryptoConfig, verify::QuoteVerifier, QuoteCollateralV3};
use phala_attest::{
    confidence_of, verify_collateral, verify_evidence, AcceptedStatuses, Advisory, AdvisoryPolicy, Assurance,
    CertificateFault, Collateral, CollateralRefusal, ConfidenceLevel, ConfidenceRefusal, DecodeError,
    DevelopmentGenesis, DocumentFault, Evidence, List, PckFault, Policy, PolicyTerms, Refusal, RevocationFault,
    SignerRole, TcbStatus, TrustAnchor, VerifiedReport,
};
use phala_insecure_tee::{
    development_root_der, qe_identity_json, tcb_info_json, InsecureMachine, InsecureVendor, Processor, QuoteFields,
    QuoteSigner, Revoked, Window,
};

const NOW: u64 = 1_800_000_000;
const GENESIS: [u8; 32] = [7; 32];

fn development() -> TrustAnchor {
    TrustAnchor::InsecureDevelopment(DevelopmentGenesis::for_genesis(GENESIS, &[GENESIS]).unwrap())
}

fn lenient(anchor: TrustAnchor) -> Policy {
    let accepted = AcceptedStatuses::ALL_BUT_REVOKED;
    Policy { anchor, terms: PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 } }
}

fn evidence(quote: &[u8]) -> Evidence {
    Evidence::TdxDcap(List::try_from(quote.to_vec()).unwrap())
}

fn text<const LIMIT: usize>(bytes: &List<u8, LIMIT>) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn theirs_of(ours: &Collateral) -> QuoteCollateralV3 {
    QuoteCollateralV3 {
        pck_crl_issuer_chain: text(&ours.pck_crl_issuer_chain),
        root_ca_crl: ours.root_ca_crl.to_vec(),
        pck_crl: ours.pck_crl.to_vec(),
        tcb_info_issuer_chain: text(&ours.tcb_info_issuer_chain),
        tcb_info: text(&ours.tcb_info),
        tcb_info_signature: ours.tcb_info_signature.to_vec(),
        qe_identity_issuer_chain: text(&ours.qe_identity_issuer_chain),
        qe_identity: text(&ours.qe_identity),
        qe_identity_signature: ours.qe_identity_signature.to_vec(),
        pck_certificate_chain: None,
    }
}

fn their_verdict(
    quote: &[u8],
    collateral: &Collateral,
    root: &[u8],
    now: u64,
) -> Result<dcap_qvl::verify::VerifiedReport, String> {
    QuoteVerifier::<RustCryptoConfig>::new_with_config(root.to_vec())
        .verify(quote, &theirs_of(collateral), now)
        .map_err(|error| format!("{error:#}"))
}

#[derive(Debug, PartialEq)]
enum Ours {
    Collateral(CollateralRefusal),
    Evidence(Refusal),
}

fn our_verdict(quote: &[u8], collateral: &Collateral, now: u64) -> Result<VerifiedReport, Ours> {
    let collateral = verify_collateral(collateral, &development(), now).map_err(Ours::Collateral)?;
    verify_evidence(&evidence(quote), &collateral, &lenient(development()), now).map_err(Ours::Evidence)
}

/// What is altered before it is signed. The default is a machine that both verifiers accept.
struct Specimen {
    processor: Processor,
    fields: QuoteFields,
    tcb_info: String,
    qe_identity: String,
    window: Window,
    revoked: Revoked,
    certificate: fn(&mut rcgen::CertificateParams),
    now: u64,
}

impl Specimen {
    fn new() -> Self {
        let window = Window::around(NOW);
        Self {
            processor: Processor::named("alpha"),
            fields: QuoteFields::of(b"the program"),
            tcb_info: tcb_info_json(window).unwrap(),
            qe_identity: qe_identity_json(window).unwrap(),
            window,
            revoked: Revoked::default(),
            certificate: |_| (),
            now: NOW,
        }
    }

    fn verdicts(&self) -> (Result<VerifiedReport, Ours>, Result<dcap_qvl::verify::VerifiedReport, String>) {
        let vendor = InsecureVendor::new().unwrap();
        let quote = QuoteSigner::with_altered_certificate(&vendor, &self.processor, self.certificate)
            .unwrap()
            .sign(&self.fields);
        let collateral = vendor.collateral(self.window, &self.tcb_info, &self.qe_identity, &self.revoked).unwrap();
        (
            our_verdict(&quote, &collateral, self.now),
            their_verdict(&quote, &collateral, &development_root_der().unwrap(), self.now),
        )
    }
}

fn altered(alter: impl FnOnce(&mut Specimen)) -> Specimen {
    let mut specimen = Specimen::new();
    alter(&mut specimen);
    specimen
}

fn set_attribute(specimen: &mut Specimen, bit: u32) {
    let attributes = u64::from_le_bytes(specimen.fields.report.td_attributes) ^ (1 << bit);
    specimen.fields.report.td_attributes = attributes.to_le_bytes();
}

fn replace(text: &mut String, from: &str, to: &str) {
    assert!(text.contains(from), "{from} is not in the document");
    *text = text.replacen(from, to, 1);
}

/// Whether the oracle must refuse too.
#[derive(Clone, Copy, PartialEq)]
enum Oracle {
    Refuses,
    Accepts,
}
use Oracle::{Accepts, Refuses};

type Case = (&'static str, fn(&mut Specimen), Ours, Oracle);

fn check(cases: Vec<Case>) {
    for (name, alter, expected, oracle) in cases {
        let (ours, theirs) = altered(alter).verdicts();
        assert_eq!(ours.map(|_| ()), Err(expected), "{name}");
        assert_eq!(
            theirs.is_err(),
            oracle == Refuses,
            "{name}: the oracle says {:?}",
            theirs.map(|report| report.status)
        );
    }
}

#[test]
fn both_accept_a_simulated_machine_under_the_development_root_with_the_same_findings() {
    let machine = InsecureMachine::new("alpha", b"the program", NOW).unwrap();
    let quote = machine.quote([5; 64]);
    let ours = our_verdict(&quote, machine.collateral(), NOW).unwrap();
    let theirs = their_verdict(&quote, machine.collateral(), phala_attest::INSECURE_DEVELOPMENT_ROOT_DER, NOW).unwrap();
    assert_eq!(ours.assurance(), Assurance::Simulated);
    assert_eq!(ours.tcb_status().name(), theirs.status);
    assert_eq!(ours.tcb_status(), TcbStatus::UpToDate);
    assert_eq!(ours.report_data(), [5; 64]);
    assert_eq!(ours.report_data(), theirs.report.as_td10().unwrap().report_data);
    assert_eq!(ours.measurement(), machine.measurement());
}

#[test]
fn both_refuse_a_simulated_machine_under_intels_root() {
    let machine = InsecureMachine::new("alpha", b"the program", NOW).unwrap();
    let quote = machine.quote([5; 64]);
    assert_eq!(
        verify_collateral(machine.collateral(), &TrustAnchor::Intel, NOW),
        Err(CollateralRefusal::RootCrl(RevocationFault::IssuerName))
    );
    // Collateral that was verified for a development chain is refused on every other, however it got there.
    let collateral = verify_collateral(machine.collateral(), &development(), NOW).unwrap();
    assert_eq!(
        verify_evidence(&evidence(&quote), &collateral, &lenient(TrustAnchor::Intel), NOW),
        Err(Refusal::DevelopmentRoot)
    );
    assert!(their_verdict(&quote, machine.collateral(), phala_attest::INTEL_ROOT_DER, NOW).is_err());
}

#[test]
fn there_is_no_development_anchor_without_a_marked_genesis() {
    assert_eq!(DevelopmentGenesis::for_genesis([8; 32], &[GENESIS]), None);
}

#[test]
fn machine_identity_follows_binary_and_name() {
    let report = |name: &str, binary: &[u8]| {
        let machine = InsecureMachine::new(name, binary, NOW).unwrap();
        let report = our_verdict(&machine.quote([0; 64]), machine.collateral(), NOW).unwrap();
        (report.measurement(), report.hardware_id(), machine.sealing_key())
    };
    let (first, same, other_binary, other_machine) =
        (report("alpha", b"1"), report("alpha", b"1"), report("alpha", b"2"), report("beta", b"1"));
    assert_eq!(first, same);
    assert!(other_binary.0 != first.0 && other_binary.1 == first.1 && other_binary.2 != first.2);
    assert!(other_machine.0 == first.0 && other_machine.1 != first.1 && other_machine.2 != first.2);
}

#[test]
fn collateral_of_one_machine_serves_another_started_later() {
    let first = InsecureMachine::new("alpha", b"1", NOW).unwrap();
    let second = InsecureMachine::new("beta", b"1", NOW + 5 * 86_400).unwrap();
    assert!(our_verdict(&second.quote([0; 64]), first.collateral(), NOW + 5 * 86_400).is_ok());
    assert!(our_verdict(&first.quote([0; 64]), second.collateral(), NOW + 5 * 86_400).is_ok());
}

#[test]
fn refuses_wrong_machines_by_name() {
    use Ours::Evidence as E;
    check(vec![
        ("debug", |s| set_attribute(s, 0), E(Refusal::TdDebug), Refuses),
        ("profiling 4", |s| set_attribute(s, 4), E(Refusal::TdProfiling), Refuses),
        ("profiling 6", |s| set_attribute(s, 6), E(Refusal::TdProfiling), Refuses),
        ("service td", |s| set_attribute(s, 17), E(Refusal::TdServiceTd), Refuses),
        ("migratable", |s| set_attribute(s, 29), E(Refusal::TdMigratable), Refuses),
        ("sept_ve_disable off", |s| set_attribute(s, 28), E(Refusal::TdSeptVe), Refuses),
        ("reserved 1", |s| set_attribute(s, 1), E(Refusal::TdAttributes), Refuses),
        ("reserved 15", |s| set_attribute(s, 15), E(Refusal::TdAttributes), Refuses),
        ("reserved 25", |s| set_attribute(s, 25), E(Refusal::TdAttributes), Refuses),
        ("reserved 40", |s| set_attribute(s, 40), E(Refusal::TdAttributes), Refuses),
        ("unreviewed 18", |s| set_attribute(s, 18), E(Refusal::TdAttributes), Accepts),
        ("unreviewed 22", |s| set_attribute(s, 22), E(Refusal::TdAttributes), Accepts),
        ("tpa", |s| set_attribute(s, 62), E(Refusal::TdAttributes), Accepts),
        ("perfmon", |s| set_attribute(s, 63), E(Refusal::TdAttributes), Accepts),
        ("xfam unknown", |s| s.fields.report.xfam[3] = 1, E(Refusal::Xfam), Accepts),
        ("xfam without sse", |s| s.fields.report.xfam[0] = 1, E(Refusal::Xfam), Accepts),
        ("header reserved", |s| s.fields.header_reserved[0] = 1, E(Refusal::HeaderReserved), Accepts),
        ("user data tail", |s| s.fields.user_data[19] = 1, E(Refusal::HeaderReserved), Accepts),
        ("qe vendor", |s| s.fields.qe_vendor_id[0] = 0, E(Refusal::QeVendor), Refuses),
        ("module signer", |s| s.fields.report.mr_signer_seam[47] = 1, E(Refusal::ModuleSigner), Refuses),
        ("module attributes", |s| s.fields.report.seam_attributes[0] = 1, E(Refusal::ModuleAttributes), Refuses),
        ("module version", |s| s.fields.report.tee_tcb_svn[1] = 9, E(Refusal::ModuleVersion), Refuses),
        ("module too old", |s| s.fields.report.tee_tcb_svn[0] = 1, E(Refusal::ModuleLevel), Refuses),
        ("cpu too old", |s| s.processor.cpu_svn[4] = 2, E(Refusal::TcbLevel), Refuses),
        ("pce too old", |s| s.processor.pce_svn = 4, E(Refusal::TcbLevel), Refuses),
    ]);
}

#[test]
fn refuses_wrong_quoting_enclaves_by_name() {
    use Ours::Evidence as E;
    check(vec![
        ("signer", |s| s.fields.qe_mr_signer[0] ^= 1, E(Refusal::QeSigner), Refuses),
        ("product", |s| s.fields.qe_isv_prod_id = 1, E(Refusal::QeProduct), Refuses),
        ("debug", |s| s.fields.qe_attributes[0] |= 2, E(Refusal::QeDebug), Refuses),
        ("misc select", |s| s.fields.qe_misc_select[0] = 1, E(Refusal::QeMiscSelect), Refuses),
        ("attributes", |s| s.fields.qe_attributes[0] |= 0x20, E(Refusal::QeAttributes), Refuses),
        ("security version", |s| s.fields.qe_isv_svn = 2, E(Refusal::QeSecurityVersion), Refuses),
        (
            "authentication data short",
            |s| s.fields.qe_authentication_data.truncate(31),
            E(Refusal::QeAuthenticationData),
            Refuses,
        ),
        (
            "authentication data long",
            |s| s.fields.qe_authentication_data.push(0),
            E(Refusal::QeAuthenticationData),
            Refuses,
        ),
        ("reserved", |s| s.fields.qe_reserved[27] = 1, E(Refusal::QeReportReserved), Accepts),
        ("report data tail", |s| s.fields.qe_report_data_tail[31] = 1, E(Refusal::QeReportData), Accepts),
    ]);
}

#[test]
fn refuses_wrong_certificates_by_name() {
    use Ours::Evidence as E;
    let certificate = |fault| E(Refusal::PckCertificate(fault));
    let extension = |fault| E(Refusal::PckExtension(fault));
    check(vec![
        (
            "revoked",
            |s| s.revoked.by_authority = vec![vec![1], InsecureVendor::new().unwrap().serial_of(&s.processor).unwrap()],
            E(Refusal::PckRevoked),
            Refuses,
        ),
        (
            "expired",
            |s| s.certificate = |c| c.not_after = c.not_before,
            certificate(CertificateFault::Expired),
            Refuses,
        ),
        (
            "not yet valid",
            |s| s.certificate = |c| c.not_before = c.not_after,
            certificate(CertificateFault::NotYetValid),
            Refuses,
        ),
        (
            "authority",
            |s| s.certificate = |c| c.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0)),
            certificate(CertificateFault::IsAuthority),
            Refuses,
        ),
        (
            "no key usage",
            |s| s.certificate = |c| c.key_usages.clear(),
            certificate(CertificateFault::KeyUsage),
            Accepts,
        ),
        (
            "wrong key usage",
            |s| s.certificate = |c| c.key_usages = vec![rcgen::KeyUsagePurpose::KeyAgreement],
            certificate(CertificateFault::KeyUsage),
            Accepts,
        ),
        (
            "unknown critical extension",
            |s| {
                s.certificate = |c| {
                    let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
                    extension.set_criticality(true);
                    c.custom_extensions.push(extension);
                }
            },
            certificate(CertificateFault::UnknownCriticalExtension),
            Refuses,
        ),
        ("no sgx extension", |s| s.certificate = |c| c.custom_extensions.clear(), extension(PckFault::Absent), Refuses),
        (
            "unknown entry",
            |s| s.processor.further_entries = Processor::further_entry(&[8], &[0]),
            extension(PckFault::Unknown),
            Accepts,
        ),
        (
            "double entry",
            |s| s.processor.further_entries = Processor::further_entry(&[4], &[0; 6]),
            extension(PckFault::Twice),
            Accepts,
        ),
        ("other model", |s| s.processor.fmspc[0] ^= 1, E(Refusal::PlatformModel), Refuses),
        ("other pce", |s| s.processor.pce_id[1] = 1, E(Refusal::PceId), Accepts),
    ]);
}

#[test]
fn refuses_wrong_documents_by_name() {
    let tcb = |fault| Ours::Collateral(CollateralRefusal::TcbInfo(fault));
    let qe = |fault| Ours::Collateral(CollateralRefusal::QeIdentity(fault));
    check(vec![
        (
            "sgx tcb info beside the identity of a tdx enclave",
            |s| replace(&mut s.tcb_info, "\"id\":\"TDX\"", "\"id\":\"SGX\""),
            qe(DocumentFault::WrongId),
            Refuses,
        ),
        (
            "tcb info version",
            |s| replace(&mut s.tcb_info, "\"version\":3", "\"version\":2"),
            tcb(DocumentFault::Version),
            Refuses,
        ),
        (
            "tcb type",
            |s| replace(&mut s.tcb_info, "\"tcbType\":0", "\"tcbType\":1"),
            tcb(DocumentFault::Version),
            Accepts,
        ),
        ("no json", |s| s.tcb_info = "{".into(), tcb(DocumentFault::Json), Refuses),
        ("trailing json", |s| s.tcb_info.push_str("{}"), tcb(DocumentFault::Json), Refuses),
        ("tcb status", |s| replace(&mut s.tcb_info, "\"UpToDate\"", "\"Fine\""), tcb(DocumentFault::Status), Refuses),
        (
            "two identities of one module",
            |s| {
                let (_, rest) = s.tcb_info.split_once("\"tdxModuleIdentities\":[").unwrap();
                let (identity, _) = rest.split_once("],\"tcbLevels\":[{\"tcb\":{\"sgx").unwrap();
                let twice = format!("{identity},{identity}");
                s.tcb_info = s.tcb_info.replacen(identity, &twice, 1);
            },
            tcb(DocumentFault::Ambiguous),
            Accepts,
        ),
        (
            "levels beyond the limit",
            |s| {
                let (_, rest) = s.tcb_info.split_once("]}],\"tcbLevels\":[").unwrap();
                let levels = rest.strip_suffix("]}").unwrap();
                let many = vec![levels; 17].join(",");
                s.tcb_info = s.tcb_info.replacen(levels, &many, 1);
            },
            tcb(DocumentFault::TooLong),
            Accepts,
        ),
        (
            "no levels",
            |s| {
                let (head, _) = s.qe_identity.split_once("\"tcbLevels\"").unwrap();
                s.qe_identity = format!("{head}\"tcbLevels\":[]}}");
            },
            qe(DocumentFault::NoLevels),
            Refuses,
        ),
        (
            "fifteen components",
            |s| replace(&mut s.tcb_info, "{\"svn\":5},", ""),
            tcb(DocumentFault::Components),
            Accepts,
        ),
        ("fmspc", |s| replace(&mut s.tcb_info, "494E53454355", "494E5345435"), tcb(DocumentFault::Hex), Refuses),
        (
            "no tdx module",
            |s| replace(&mut s.tcb_info, "\"tdxModule\"", "\"other\""),
            tcb(DocumentFault::NoModule),
            Refuses,
        ),
        (
            "expired",
            |s| s.now = s.window.end + 1,
            Ours::Collateral(CollateralRefusal::RootCrl(RevocationFault::Expired)),
            Refuses,
        ),
        (
            "not yet issued",
            |s| s.now = s.window.start - 1,
            Ours::Collateral(CollateralRefusal::RootCrl(RevocationFault::NotYetIssued)),
            Refuses,
        ),
        ("sgx qe", |s| replace(&mut s.qe_identity, "TD_QE", "QE"), qe(DocumentFault::WrongId), Refuses),
        (
            "qe version",
            |s| replace(&mut s.qe_identity, "\"version\":2", "\"version\":4"),
            qe(DocumentFault::Version),
            Refuses,
        ),
        (
            "qe status",
            |s| replace(&mut s.qe_identity, "\"UpToDate\"", "\"SWHardeningNeeded\""),
            qe(DocumentFault::Status),
            Refuses,
        ),
        (
            "qe signer length",
            |s| replace(&mut s.qe_identity, "494E534543555245", "494E53454355"),
            qe(DocumentFault::Hex),
            Refuses,
        ),
    ]);
}

#[test]
fn refuses_revoked_authorities_by_name() {
    fn revoke(specimen: &mut Specimen, which: usize) {
        specimen.revoked.by_root = vec![InsecureVendor::new().unwrap().serials()[which].clone()];
    }
    let revoked = |role| Ours::Collateral(CollateralRefusal::Revoked(role));
    check(vec![
        ("root", |s| revoke(s, 0), revoked(SignerRole::Root), Refuses),
        ("pck authority", |s| revoke(s, 1), revoked(SignerRole::PckAuthority), Refuses),
        ("signer of documents", |s| revoke(s, 2), revoked(SignerRole::TcbInfo), Refuses),
    ]);
}

#[test]
fn gives_the_oracles_status_and_advisories_below_the_newest_level() {
    type Case = (&'static str, fn(&mut Specimen), TcbStatus);
    let cases: &[Case] = &[
        ("older module", |s| s.fields.report.tee_tcb_svn[0] = 3, TcbStatus::OutOfDate),
        ("older pce", |s| s.processor.pce_svn = 7, TcbStatus::OutOfDate),
        ("older quoting enclave", |s| s.fields.qe_isv_svn = 3, TcbStatus::OutOfDate),
        (
            "configuration",
            |s| replace(&mut s.tcb_info, "\"UpToDate\"},{\"tcb\":{\"sgx", "\"ConfigurationNeeded\"},{\"tcb\":{\"sgx"),
            TcbStatus::ConfigurationNeeded,
        ),
        (
            "configuration and an older quoting enclave",
            |s| {
                replace(&mut s.tcb_info, "\"UpToDate\"},{\"tcb\":{\"sgx", "\"ConfigurationNeeded\"},{\"tcb\":{\"sgx");
                s.fields.qe_isv_svn = 3;
            },
            TcbStatus::OutOfDateConfigurationNeeded,
        ),
        ("newer than known", |s| (s.processor.pce_svn, s.processor.cpu_svn) = (300, [255; 16]), TcbStatus::UpToDate),
    ];
    for (name, alter, status) in cases {
        let (ours, theirs) = altered(alter).verdicts();
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.tcb_status(), *status, "{name}");
        assert_eq!(ours.tcb_status().name(), theirs.status, "{name}");
        assert_eq!(
            ours.advisories().iter().map(|advisory| advisory.id()).collect::<Vec<_>>(),
            theirs.advisory_ids,
            "{name}"
        );
    }
}

#[test]
fn more_advisories_than_are_kept_refuse_no_model_and_no_advisory_is_invented() {
    fn lengthen(specimen: &mut Specimen) {
        let many: Vec<String> = (101..=140).map(|number| format!("\"INSECURE-SA-{number:05}\"")).collect();
        replace(&mut specimen.tcb_info, "\"INSECURE-SA-00001\"", &many.join(","));
    }
    let (ours, theirs) = altered(lengthen).verdicts();
    assert!(theirs.is_ok() && ours.unwrap().advisories().is_empty(), "a machine that is up to date");

    let (ours, theirs) = altered(|specimen| {
        lengthen(specimen);
        specimen.fields.report.tee_tcb_svn[0] = 3;
    })
    .verdicts();
    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
    assert_eq!(ours.tcb_status(), TcbStatus::OutOfDate);
    let kept: Vec<String> = ours.advisories().iter().map(|advisory| advisory.id()).collect();
    assert!((32..theirs.advisory_ids.len()).contains(&kept.len()));
    assert!(kept.iter().all(|id| theirs.advisory_ids.contains(id)));
    // Nothing is known to be forbidden, and of what is, nothing is known not to apply.
    assert_eq!(confidence_of(&ours, &AdvisoryPolicy::default()), Ok(ConfidenceLevel::Five));
    let (other, _) = altered(|specimen| specimen.processor.pce_svn = 7).verdicts();
    let forbidden: Vec<Advisory> = other.unwrap().advisories().to_vec();
    assert_eq!(forbidden[0].id(), "INSECURE-SA-00002");
    let policy = AdvisoryPolicy { forbidden: forbidden.try_into().unwrap(), ..AdvisoryPolicy::default() };
    assert_eq!(confidence_of(&ours, &policy), Err(ConfidenceRefusal::TooManyAdvisories));
}

#[test]
fn refuses_revoked_platforms_whatever_the_policy() {
    check(vec![
        (
            "platform",
            |s| replace(&mut s.tcb_info, "\"UpToDate\"},{\"tcb\":{\"sgx", "\"Revoked\"},{\"tcb\":{\"sgx"),
            Ours::Evidence(Refusal::TcbRevoked),
            Refuses,
        ),
        (
            "module",
            |s| replace(&mut s.tcb_info, "\"UpToDate\"", "\"Revoked\""),
            Ours::Evidence(Refusal::TcbRevoked),
            Refuses,
        ),
        (
            "quoting enclave",
            |s| replace(&mut s.qe_identity, "\"UpToDate\"", "\"Revoked\""),
            Ours::Evidence(Refusal::TcbRevoked),
            Refuses,
        ),
    ]);
}

#[test]
fn refuses_a_quote_with_bytes_behind_it() {
    let machine = InsecureMachine::new("alpha", b"the program", NOW).unwrap();
    let mut quote = machine.quote([5; 64]);
    quote.push(0);
    assert_eq!(
        our_verdict(&quote, machine.collateral(), NOW).map(|_| ()),
        Err(Ours::Evidence(Refusal::Decode(DecodeError::TrailingBytes)))
    );
}
