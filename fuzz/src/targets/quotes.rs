//! Attestation evidence of each kind: the format of quotes, and the judgement of what a good key signed.
//!
//! Oracle: dcap-qvl, Intel's logic. Whatever it refuses, we refuse; what both accept reads the same.

use crate::{engine::Choices, measured, Target, Verdict};
use codec::Encode;
use dcap_qvl::{configs::RustCryptoConfig, verify::QuoteVerifier};
use phala_attest::{
    canonical_quote, claimed_fmspc, claimed_measurement, claimed_processor, decode_evidence, decode_quote,
    is_development_root, verify_collateral, verify_evidence, AcceptedStatuses, Collateral, DevelopmentGenesis,
    EnclaveReport, Evidence, KindFault, List, Policy, PolicyTerms, Refusal, Report, TrustAnchor, Vendor,
    VerifiedCollateral, QUOTE_LIMIT,
};
use phala_attest_corpus::{genuine, oracle};
use phala_insecure_tee::{
    development_root_der, qe_identity_json, sgx_qe_identity_json, sgx_tcb_info_json, tcb_info_json, InsecureVendor,
    Processor, QuoteFields, QuoteFormat, QuoteSigner, Revoked, Window,
};
use std::sync::LazyLock;

const INTEL_QUOTE: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.bin");
const INTEL_COLLATERAL: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.collateral.json");
/// A second at which Intel's sample is current.
pub(super) const INTEL_NOW: u64 = 1_750_414_563;
pub(super) const NOW: u64 = 1_800_000_000;
const GENESIS: [u8; 32] = [7; 32];

/// INSECURE: the anchor of a genesis that is marked as a development one.
pub(super) fn development() -> TrustAnchor {
    TrustAnchor::InsecureDevelopment(DevelopmentGenesis::for_genesis(GENESIS, &[GENESIS]).unwrap())
}

/// Accepts every status that can be accepted, as dcap-qvl does.
pub(super) fn lenient(anchor: TrustAnchor) -> Policy {
    let accepted = AcceptedStatuses::ALL_BUT_REVOKED;
    Policy { anchor, terms: PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 } }
}

/// Intel's sample collateral.
pub(super) fn intel_collateral() -> Collateral {
    genuine::collateral(INTEL_COLLATERAL).0
}

/// INSECURE: a vendor whose keys are published, and its collateral of the simulated platform.
pub(super) struct Simulated {
    pub vendor: InsecureVendor,
    pub signer: QuoteSigner,
    pub collateral: Collateral,
    pub verified: VerifiedCollateral,
    pub quote: Vec<u8>,
    pub quote_v5: Vec<u8>,
    pub sgx_collateral: Collateral,
    pub sgx_verified: VerifiedCollateral,
    pub sgx_quote: Vec<u8>,
    pub root: Vec<u8>,
}

/// What the simulated quoting enclave of SGX says about itself, in the fields of the one of TDX.
fn sgx_fields() -> QuoteFields {
    QuoteFields { qe_isv_prod_id: 1, ..QuoteFields::of(b"the program") }
}

fn enclave() -> EnclaveReport {
    EnclaveReport {
        cpu_svn: [2; 16],
        misc_select: [0; 4],
        isv_ext_prod_id: [0; 16],
        attributes: [0x5, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0],
        mr_enclave: [0xe1; 32],
        mr_signer: [0x51; 32],
        config_id: [0; 64],
        isv_prod_id: 7,
        isv_svn: 3,
        config_svn: 0,
        isv_family_id: [0; 16],
        report_data: [9; 64],
        reserved_is_zero: true,
    }
}

pub(super) static SIMULATED: LazyLock<Simulated> = LazyLock::new(|| {
    let vendor = InsecureVendor::new().unwrap();
    let signer = QuoteSigner::new(&vendor, &Processor::named("alpha")).unwrap();
    let window = Window::around(NOW);
    let documents = (tcb_info_json(window).unwrap(), qe_identity_json(window).unwrap());
    let collateral = vendor.collateral(window, &documents.0, &documents.1, &Revoked::default()).unwrap();
    let verified = verify_collateral(&collateral, &development(), NOW).unwrap();
    let fields = QuoteFields::of(b"the program");
    let quote = signer.sign(&fields);
    let quote_v5 = signer.sign_parts(&signer.parts(&fields, &QuoteFormat::TdxV5(Some(fields.td_15()))));
    let documents = (sgx_tcb_info_json(window).unwrap(), sgx_qe_identity_json(window).unwrap());
    let sgx_collateral = vendor.collateral(window, &documents.0, &documents.1, &Revoked::default()).unwrap();
    let sgx_verified = verify_collateral(&sgx_collateral, &development(), NOW).unwrap();
    let sgx_quote = signer.sign_parts(&signer.parts(&sgx_fields(), &QuoteFormat::SgxV3(enclave())));
    let root = development_root_der().unwrap();
    Simulated { vendor, signer, collateral, verified, quote, quote_v5, sgx_collateral, sgx_verified, sgx_quote, root }
});

static INTEL: LazyLock<VerifiedCollateral> =
    LazyLock::new(|| verify_collateral(&intel_collateral(), &TrustAnchor::Intel, INTEL_NOW).unwrap());

/// Their verdict under the development root.
pub(super) fn their_verdict(quote: &[u8], collateral: &Collateral) -> Option<bool> {
    let verifier = QuoteVerifier::<RustCryptoConfig>::new_with_config(SIMULATED.root.clone());
    Some(verifier.verify(quote, &oracle::collateral(collateral)?, NOW).is_ok())
}

/// Bytes that say they are a quote.
pub static QUOTES: Target = Target {
    name: "quotes",
    covers: &[
        "common/attest/src/quote.rs::decode_quote",
        "common/attest/src/quote.rs::canonical_quote",
        "common/attest/src/evidence.rs::verify_evidence",
        "common/attest/src/kind.rs::decode_evidence",
        "common/attest/src/evidence.rs::claimed_fmspc",
        "common/attest/src/evidence.rs::claimed_processor",
        "common/attest/src/evidence.rs::claimed_measurement",
        "common/attest/src/anchor.rs::is_development_root",
    ],
    samples: LazyLock::new(|| {
        let canonical = canonical_quote(INTEL_QUOTE).unwrap().to_vec();
        let later = include_bytes!("../../../testing/vectors/attest/tdx_v5.bin").to_vec();
        let sgx = include_bytes!("../../../testing/vectors/attest/sgx_v3.bin").to_vec();
        let simulated = [&SIMULATED.quote, &SIMULATED.quote_v5, &SIMULATED.sgx_quote].map(Clone::clone);
        [vec![canonical, INTEL_QUOTE.to_vec(), later, sgx], simulated.to_vec()].concat()
    }),
    check: quote,
    iterations: 500,
};

fn quote(bytes: &[u8]) -> Verdict {
    let _ = is_development_root(bytes);
    if let Ok(quote) = canonical_quote(bytes) {
        assert!(bytes.starts_with(quote) && bytes[quote.len()..].iter().all(|byte| *byte == 0));
        assert_eq!(canonical_quote(quote), Ok(quote));
    }
    // As evidence the same bytes begin with a kind, and one that is not verified is refused by it.
    match (decode_evidence(bytes), bytes.first()) {
        (Ok(evidence), Some(0 | 1)) => assert_eq!(evidence.encode(), bytes),
        (Err(KindFault::Malformed), None | Some(0 | 1)) => {}
        (Err(KindFault::UnsupportedEvidence(kind)), Some(2..)) => assert_eq!(bytes.first(), Some(&kind)),
        (other, first) => panic!("{other:?} of bytes that begin with {first:?}"),
    }
    let (decoded, peak) = measured(|| decode_quote(bytes));
    // Borrows from its input.
    assert_eq!(peak, 0, "decoding a quote allocates");
    let Ok(list) = List::try_from(bytes.to_vec()) else {
        assert!(bytes.len() > QUOTE_LIMIT && decoded.is_err());
        return Verdict::refused("too long");
    };
    let sgx = decoded.as_ref().is_ok_and(|quote| quote.vendor() == Vendor::IntelSgx);
    let evidence = if sgx { Evidence::SgxDcap(list.clone()) } else { Evidence::TdxDcap(list.clone()) };
    let mislabelled = if sgx { Evidence::TdxDcap(list) } else { Evidence::SgxDcap(list) };
    assert_eq!(decode_evidence(&evidence.encode()).as_ref(), Ok(&evidence));
    let claimed = claimed_fmspc(&evidence);
    assert_eq!(claimed_processor(&evidence).map(|processor| processor.fmspc), claimed);
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(claimed.is_err());
            assert!(verify_evidence(&evidence, &INTEL, &lenient(TrustAnchor::Intel), INTEL_NOW).is_err());
            return Verdict::refused(error);
        }
    };
    let theirs = dcap_qvl::quote::Quote::parse(bytes).expect("dcap-qvl reads what we read");
    match &decoded.report {
        Report::Enclave(ours) => {
            let report = theirs.report.as_sgx().expect("an SGX report");
            assert_eq!((report.mr_enclave, report.report_data), (ours.mr_enclave, ours.report_data));
        }
        Report::Td(ours, later) => {
            let report = theirs.report.as_td10().expect("a TDX report");
            assert_eq!((report.mr_td, report.report_data), (ours.mr_td, ours.report_data));
            assert_eq!(
                theirs.report.as_td15().map(|report| report.mr_service_td),
                later.as_ref().map(|l| l.mr_service_td)
            );
        }
    }
    assert_eq!(decoded.signed, &bytes[..theirs.signed_length()]);

    let here = if sgx { &SIMULATED.sgx_verified } else { &SIMULATED.verified };
    let simulated = verify_evidence(&evidence, here, &lenient(development()), NOW);
    let relabelled = verify_evidence(&mislabelled, here, &lenient(development()), NOW);
    assert_eq!(relabelled, Err(Refusal::Kind), "a quote under the label of another kind");
    let intel = verify_evidence(&evidence, &INTEL, &lenient(TrustAnchor::Intel), INTEL_NOW);
    assert!(simulated.is_err() || intel.is_err(), "one quote under two roots");
    match (simulated, intel) {
        (Ok(report), _) | (_, Ok(report)) => {
            let genuine = QUOTES.samples.iter().any(|sample| sample.starts_with(decoded.signed));
            assert!(genuine, "a report that no machine signed");
            assert_eq!(Ok(report.measurement()), claimed_measurement(&evidence));
            assert!(claimed.is_ok());
            Verdict::accepted("")
        }
        // The refusal of the root that it seems to be of: the other one says "another root".
        (Err(simulated), Err(intel)) => Verdict::refused(format_args!("{simulated} {intel} {}", claimed.is_ok())),
    }
}

/// Claims that are well signed: every check behind the signatures, against dcap-qvl's.
pub static SIGNED_QUOTES: Target = Target {
    name: "signed-quotes",
    covers: &[],
    samples: LazyLock::new(|| vec![vec![], vec![1; 40], (0..200).collect()]),
    check: |bytes| {
        let mut fields = QuoteFields::of(b"the program");
        let mut choices = Choices::new(bytes);
        while !choices.is_empty() {
            let report = &mut fields.report;
            let parts: [&mut [u8]; 19] = [
                &mut fields.header_reserved,
                &mut fields.qe_vendor_id,
                &mut fields.user_data,
                &mut report.tee_tcb_svn,
                &mut report.mr_seam,
                &mut report.mr_signer_seam,
                &mut report.seam_attributes,
                &mut report.td_attributes,
                &mut report.xfam,
                &mut report.mr_config_id,
                &mut report.mr_owner,
                &mut report.mr_owner_config,
                &mut report.report_data,
                &mut fields.qe_misc_select,
                &mut fields.qe_reserved,
                &mut fields.qe_attributes,
                &mut fields.qe_mr_signer,
                &mut fields.qe_report_data_tail,
                &mut fields.qe_authentication_data,
            ];
            let which = choices.below(21);
            match which {
                19 => fields.qe_isv_prod_id = choices.byte().into(),
                20 => fields.qe_isv_svn = choices.byte().into(),
                part => {
                    let part = parts.into_iter().nth(part).unwrap();
                    if !part.is_empty() {
                        let at = choices.below(part.len());
                        part[at] ^= 1 << choices.below(8);
                    }
                }
            }
        }
        let quote = SIMULATED.signer.sign(&fields);
        let evidence = Evidence::TdxDcap(List::try_from(quote.clone()).unwrap());
        let ours = verify_evidence(&evidence, &SIMULATED.verified, &lenient(development()), NOW);
        match ours {
            Ok(report) => {
                assert_eq!(their_verdict(&quote, &SIMULATED.collateral), Some(true), "dcap-qvl refuses it");
                assert_eq!(report.report_data(), fields.report.report_data);
                Verdict::accepted(format_args!("{:?}", report.tcb_status()))
            }
            Err(refusal) => Verdict::refused(refusal),
        }
    },
    iterations: 300,
};

/// Bytes of header and report of each kind, altered before they are signed; the first byte says of which kind.
pub static SIGNED_BYTES: Target = Target {
    name: "signed-bytes",
    covers: &[],
    samples: LazyLock::new(|| vec![vec![0], vec![1, 3, 3, 3], (2..200).collect()]),
    check: |bytes| {
        let mut choices = Choices::new(bytes);
        let sgx = choices.below(2) == 0;
        let (fields, format) = if sgx {
            (sgx_fields(), QuoteFormat::SgxV3(enclave()))
        } else {
            let fields = QuoteFields::of(b"the program");
            let later = fields.td_15();
            (fields, QuoteFormat::TdxV5(Some(later)))
        };
        let mut parts = SIMULATED.signer.parts(&fields, &format);
        let unaltered = parts.signed.clone();
        while !choices.is_empty() {
            let at = choices.below(parts.signed.len());
            parts.signed[at] ^= 1 << choices.below(8);
        }
        let quote = SIMULATED.signer.sign_parts(&parts);
        let list = List::try_from(quote.clone()).unwrap();
        let evidence = if sgx { Evidence::SgxDcap(list) } else { Evidence::TdxDcap(list) };
        let (verified, raw) = if sgx {
            (&SIMULATED.sgx_verified, &SIMULATED.sgx_collateral)
        } else {
            (&SIMULATED.verified, &SIMULATED.collateral)
        };
        match verify_evidence(&evidence, verified, &lenient(development()), NOW) {
            Ok(report) => {
                assert_eq!(their_verdict(&quote, raw), Some(true), "dcap-qvl refuses it");
                assert_eq!(Ok(report.measurement()), claimed_measurement(&evidence));
                Verdict::accepted(format_args!("{sgx} {} {:?}", unaltered == parts.signed, report.tcb_status()))
            }
            Err(refusal) => Verdict::refused(refusal).of(if sgx { "sgx" } else { "tdx" }),
        }
    },
    iterations: 300,
};
