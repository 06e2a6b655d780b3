//! Compares every verdict with dcap-qvl's, on genuine evidence under Intel's root.
//!
//! The rule tested: **whatever dcap-qvl refuses, we refuse**; and what both accept has the same measurement inputs, status
//! and advisories. We refuse more. The cases met by these tests, and why:
//!
//! | input | dcap-qvl | ours | why |
//! |---|---|---|---|
//! | padding behind the quote | ignores any bytes | `Decode(TrailingBytes)` | bytes nobody signed identify nothing; `canonical_quote` strips zeros where the driver left them |
//! | outer certification data of a type other than 6 | ignores the type | `Decode(CertificationType)` | the type says how the rest reads |
//! | root certificate at the end of a PEM chain | ignores it | must equal the compiled-in root | one reading of a chain |
//! | bytes of PEM that the reader skips | lenient | `PemFault` | the same |
//! | PCK CRL issuer chain | unused: takes the key from the quote's chain | verified, and must be the quote's authority | collateral is verified on its own, once |
//! | expiry in the very second of `nextUpdate` | accepts | refuses | half-open intervals |
//!
//! The same comparison on evidence that is well signed but says something wrong needs a root that we can sign under: it is in
//! `testing/insecure-tee/tests/oracle.rs`. All kinds of evidence, altered systematically, and the whole table of differences are in
//! `testing/attest-corpus`; this file looks at TDX version 4 closely.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use dcap_qvl::{configs::RustCryptoConfig, verify::QuoteVerifier, QuoteCollateralV3};
use phala_attest::{
    canonical_quote, claimed_fmspc, decode_quote, measurement, parse_rfc3339_utc, verify_collateral, verify_evidence,
    AcceptedStatuses, Assurance, Collateral, CollateralKind, CollateralRefusal, DecodeError, DocumentFault, Evidence,
    List, Policy, PolicyTerms, Refusal, RevocationFault, TcbStatus, TrustAnchor, VerifiedCollateral, VerifiedReport,
};

const DAY: u64 = 86_400;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../testing/vectors/attest/", $name))
    };
}

/// Accepts every status that can be accepted, as dcap-qvl's `verify` does.
fn lenient() -> Policy {
    let accepted = AcceptedStatuses::ALL_BUT_REVOKED;
    Policy { anchor: TrustAnchor::Intel, terms: PolicyTerms { accepted, minimum_tcb_evaluation_number: 0 } }
}

fn strict() -> Policy {
    Policy { anchor: TrustAnchor::Intel, terms: PolicyTerms::STRICT }
}

fn theirs_of(json: &[u8]) -> QuoteCollateralV3 {
    let mut collateral: QuoteCollateralV3 = serde_json::from_slice(json).unwrap();
    // The quote carries its own chain; one sample repeats another quote's here.
    collateral.pck_certificate_chain = None;
    collateral
}

fn ours_of(theirs: &QuoteCollateralV3) -> Collateral {
    Collateral {
        kind: CollateralKind::IntelDcap,
        tcb_info: List::try_from(theirs.tcb_info.clone().into_bytes()).unwrap(),
        tcb_info_signature: theirs.tcb_info_signature.clone().try_into().unwrap(),
        tcb_info_issuer_chain: List::try_from(theirs.tcb_info_issuer_chain.clone().into_bytes()).unwrap(),
        qe_identity: List::try_from(theirs.qe_identity.clone().into_bytes()).unwrap(),
        qe_identity_signature: theirs.qe_identity_signature.clone().try_into().unwrap(),
        qe_identity_issuer_chain: List::try_from(theirs.qe_identity_issuer_chain.clone().into_bytes()).unwrap(),
        root_ca_crl: List::try_from(theirs.root_ca_crl.clone()).unwrap(),
        pck_crl: List::try_from(theirs.pck_crl.clone()).unwrap(),
        pck_crl_issuer_chain: List::try_from(theirs.pck_crl_issuer_chain.clone().into_bytes()).unwrap(),
    }
}

fn evidence(quote: &[u8]) -> Evidence {
    Evidence::TdxDcap(List::try_from(quote.to_vec()).unwrap())
}

fn day_after_issue(theirs: &QuoteCollateralV3) -> u64 {
    let tcb_info: serde_json::Value = serde_json::from_str(&theirs.tcb_info).unwrap();
    parse_rfc3339_utc(tcb_info["issueDate"].as_str().unwrap()).unwrap() + DAY
}

fn their_verdict(
    quote: &[u8],
    theirs: &QuoteCollateralV3,
    now: u64,
) -> Result<dcap_qvl::verify::VerifiedReport, String> {
    QuoteVerifier::new_prod()
        .with_config::<RustCryptoConfig>()
        .verify(quote, theirs, now)
        .map_err(|error| format!("{error:#}"))
}

fn our_verdict(quote: &[u8], collateral: &Collateral, now: u64) -> Result<VerifiedReport, String> {
    let collateral =
        verify_collateral(collateral, &TrustAnchor::Intel, now).map_err(|refusal| format!("{refusal:?}"))?;
    verify_evidence(&evidence(quote), &collateral, &lenient(), now).map_err(|refusal| format!("{refusal:?}"))
}

struct Genuine {
    quote: &'static [u8],
    theirs: QuoteCollateralV3,
    raw: Collateral,
    verified: VerifiedCollateral,
    now: u64,
}

fn genuine() -> Genuine {
    let theirs = theirs_of(vector!("tdx_v4.collateral.json"));
    let raw = ours_of(&theirs);
    let now = day_after_issue(&theirs);
    let verified = verify_collateral(&raw, &TrustAnchor::Intel, now).unwrap();
    Genuine { quote: canonical_quote(vector!("tdx_v4.bin")).unwrap(), theirs, raw, verified, now }
}

#[test]
fn accepts_genuine_evidence_with_the_same_findings() {
    let Genuine { quote, theirs, verified, now, .. } = genuine();
    let ours = verify_evidence(&evidence(quote), &verified, &strict(), now).unwrap();
    let theirs = their_verdict(quote, &theirs, now).unwrap();

    assert_eq!(ours.assurance(), Assurance::Hardware);
    assert_eq!(ours.tcb_status(), TcbStatus::UpToDate);
    assert_eq!(ours.tcb_status().name(), theirs.status);
    assert!(ours.advisories().is_empty() && theirs.advisory_ids.is_empty());
    let report = theirs.report.as_td10().unwrap();
    assert_eq!(ours.report_data(), report.report_data);
    // The measurement's inputs, read by the other implementation.
    let mut decoded = decode_quote(quote).unwrap().report.td().unwrap().clone();
    decoded.td_attributes = report.td_attributes;
    decoded.xfam = report.xfam;
    decoded.mr_td = report.mr_td;
    decoded.mr_config_id = report.mr_config_id;
    decoded.mr_owner = report.mr_owner;
    decoded.mr_owner_config = report.mr_owner_config;
    decoded.rtmr = [report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3];
    assert_eq!(ours.measurement(), measurement(&decoded));
    assert_eq!(claimed_fmspc(&evidence(quote)).unwrap(), verified.fmspc());
    assert_eq!(hex::encode_upper(verified.fmspc()), "B0C06F000000");
    assert_eq!(verified.tcb_evaluation_number(), 17);
    assert!(verified.valid_until() > now && ours.valid_until() <= verified.valid_until());
}

#[test]
fn measurement_and_hardware_id_are_frozen() {
    let Genuine { quote, verified, now, .. } = genuine();
    let report = verify_evidence(&evidence(quote), &verified, &strict(), now).unwrap();
    assert_eq!(
        hex::encode(report.measurement()),
        include_str!("../../../testing/vectors/attest/tdx_v4.measurement").trim()
    );
    assert_eq!(
        hex::encode(report.hardware_id()),
        include_str!("../../../testing/vectors/attest/tdx_v4.hardware-id").trim()
    );
}

#[test]
fn same_quote_is_out_of_date_by_later_collateral() {
    let quote = canonical_quote(vector!("tdx_v4.bin")).unwrap();
    let theirs = theirs_of(vector!("tdx_v4.later-collateral.json"));
    let now = day_after_issue(&theirs);
    let verified = verify_collateral(&ours_of(&theirs), &TrustAnchor::Intel, now).unwrap();
    let ours = verify_evidence(&evidence(quote), &verified, &lenient(), now).unwrap();
    let theirs = their_verdict(quote, &theirs, now).unwrap();
    assert_eq!(ours.tcb_status(), TcbStatus::OutOfDate);
    assert_eq!(ours.tcb_status().name(), theirs.status);
    let advisories: Vec<String> = ours.advisories().iter().map(|advisory| advisory.id()).collect();
    assert!(!advisories.is_empty());
    assert_eq!(advisories, theirs.advisory_ids);
    assert_eq!(
        verify_evidence(&evidence(quote), &verified, &strict(), now),
        Err(Refusal::TcbStatus(TcbStatus::OutOfDate))
    );
}

#[test]
fn refuses_collateral_under_the_evaluation_floor() {
    let Genuine { quote, verified, now, .. } = genuine();
    let policy = |minimum| Policy {
        terms: PolicyTerms { minimum_tcb_evaluation_number: minimum, ..PolicyTerms::STRICT },
        ..strict()
    };
    assert!(verify_evidence(&evidence(quote), &verified, &policy(17), now).is_ok());
    assert_eq!(verify_evidence(&evidence(quote), &verified, &policy(18), now), Err(Refusal::EvaluationNumber));
}

#[test]
fn refuses_platforms_below_every_level_as_the_oracle_does() {
    let Genuine { theirs, verified, now, .. } = genuine();
    for quote in [&vector!("tdx_v4_below_levels_1.bin")[..], &vector!("tdx_v4_below_levels_2.bin")[..]] {
        let quote = canonical_quote(quote).unwrap();
        assert_eq!(verify_evidence(&evidence(quote), &verified, &lenient(), now), Err(Refusal::TcbLevel));
        assert!(their_verdict(quote, &theirs, now).unwrap_err().contains("No matching TCB level"));
    }
}

#[test]
fn refuses_versions_types_and_reports_it_does_not_know_by_name() {
    let altered = |at: usize, value: u8| {
        let mut quote = vector!("tdx_v5.bin").to_vec();
        quote[at] = value;
        decode_quote(&quote).map(|quote| quote.version).unwrap_err()
    };
    for version in [0, 1, 2, 6, 255] {
        assert_eq!(altered(0, version), DecodeError::Version(version.into()));
    }
    assert_eq!(altered(2, 3), DecodeError::AttestationKeyType(3));
    assert_eq!(altered(4, 0), DecodeError::TeeType(0));
    // An SGX report in a quote of version 5, and a report of a TDX that does not exist yet.
    for body_type in [0, 1, 5] {
        assert_eq!(altered(48, body_type), DecodeError::BodyType(body_type.into()));
    }
    assert_eq!(altered(50, 0), DecodeError::BodyLength(0x300));
}

#[test]
fn refuses_collateral_of_another_model() {
    let Genuine { quote, .. } = genuine();
    let theirs = theirs_of(vector!("other-model.collateral.json"));
    let now = day_after_issue(&theirs);
    let verified = verify_collateral(&ours_of(&theirs), &TrustAnchor::Intel, now).unwrap();
    assert_eq!(verify_evidence(&evidence(quote), &verified, &lenient(), now), Err(Refusal::PlatformModel));
    assert!(their_verdict(quote, &theirs, now).is_err());
}

#[test]
fn refuses_before_issue_and_after_expiry() {
    let Genuine { quote, theirs, raw, verified, now } = genuine();
    let verify = |now| verify_evidence(&evidence(quote), &verified, &lenient(), now).map(|_| ());
    assert_eq!(verify(verified.valid_from() - 1), Err(Refusal::CollateralNotYetValid));
    assert_eq!(verify(verified.valid_from()), Ok(()));
    assert_eq!(verify(verified.valid_until() - 1), Ok(()));
    assert_eq!(verify(verified.valid_until()), Err(Refusal::CollateralExpired));

    // The whole path at times far and near, in step with the oracle.
    for time in [
        0,
        now - 3 * DAY,
        now - DAY - 3600,
        now,
        now + 27 * DAY,
        now + 30 * DAY,
        now + 300 * DAY,
        now + 3000 * DAY,
        u64::MAX,
    ] {
        let (ours, theirs) = (our_verdict(quote, &raw, time), their_verdict(quote, &theirs, time));
        assert_eq!(ours.is_ok(), theirs.is_ok(), "at {time}: {ours:?} {theirs:?}");
    }
    // The parts expire in this order here: the PCK list, then the documents.
    let late = verified.valid_until();
    assert_eq!(
        verify_collateral(&raw, &TrustAnchor::Intel, late),
        Err(CollateralRefusal::PckCrl(RevocationFault::Expired))
    );
    assert_eq!(
        verify_collateral(&raw, &TrustAnchor::Intel, late + DAY),
        Err(CollateralRefusal::TcbInfo(DocumentFault::Expired))
    );
}

#[test]
fn strips_only_zero_padding() {
    let padded = vector!("tdx_v4.bin");
    assert_eq!(decode_quote(padded), Err(DecodeError::TrailingBytes));
    assert_eq!(canonical_quote(padded).unwrap().len(), 4936);
    let mut dirty = padded.to_vec();
    *dirty.last_mut().unwrap() = 1;
    assert_eq!(canonical_quote(&dirty), Err(DecodeError::TrailingBytes));
}

#[test]
fn every_prefix_is_refused_without_a_panic() {
    let Genuine { quote, verified, now, .. } = genuine();
    for length in 0..quote.len() {
        let short = quote.get(..length).unwrap();
        assert!(decode_quote(short).is_err(), "{length}");
        assert!(canonical_quote(short).is_err(), "{length}");
    }
    assert!(verify_evidence(&evidence(&[]), &verified, &lenient(), now).is_err());
}

/// Offsets of the first, a middle and the last byte of each field of a version 4 quote, and further ones at a stride.
fn quote_offsets(quote: &[u8]) -> Vec<usize> {
    const FIELDS: &[usize] = &[
        2, 2, 4, 4, 16, 16, 4, // header
        16, 48, 48, 8, 8, 8, 48, 48, 48, 48, 48, 48, 48, 48, 64, // TD report
        4, 64, 64, 2, 4, // auth data
        16, 4, 28, 16, 32, 32, 32, 96, 2, 2, 60, 32, 32, // QE report
        64, 2, 32, 2, 4, // its signature, authentication data, certification data
    ];
    let mut offsets = Vec::new();
    let mut start = 0;
    for length in FIELDS {
        offsets.extend([start, start + length / 2, start + length - 1]);
        start += length;
    }
    // Then the PEM chain: every 23rd byte, a stride that meets every column of its 64-byte lines.
    offsets.extend((start..quote.len()).step_by(23));
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

/// Bits of PEM text may be flipped into a different spelling of the same certificate, which dcap-qvl reads and we refuse;
/// it does not look at the root's certificate, nor at the outer certification data's type: the only places where we may
/// refuse alone.
#[test]
fn refuses_every_flipped_bit_of_the_quote() {
    let Genuine { quote, theirs, verified, now, .. } = genuine();
    let offsets = quote_offsets(quote);
    assert!(offsets.len() >= 250, "{}", offsets.len());
    let chain_start = quote.windows(5).position(|window| window == b"-----").unwrap();
    let root_start = quote
        .windows(27)
        .enumerate()
        .filter(|(_, window)| *window == b"-----BEGIN CERTIFICATE-----")
        .map(|(at, _)| at)
        .next_back()
        .unwrap();
    let mut alone = 0;
    for (index, offset) in offsets.iter().enumerate() {
        let mut mutated = quote.to_vec();
        mutated[*offset] ^= 1 << (index % 8);
        let ours = verify_evidence(&evidence(&mutated), &verified, &lenient(), now);
        assert!(ours.is_err(), "we accept a flipped bit at {offset}");
        if their_verdict(&mutated, &theirs, now).is_ok() {
            // The two bytes of the outer certification data's type: signed by nobody.
            let outer_type = matches!(offset, 764 | 765);
            assert!(outer_type || *offset >= chain_start, "only we refuse a flipped bit at {offset}: {ours:?}");
            assert!(
                outer_type || *offset >= root_start || matches!(ours, Err(Refusal::PckChain(_))),
                "only we refuse at {offset}: {ours:?}"
            );
            alone += 1;
        }
    }
    println!(
        "{} flipped bits refused by us, {alone} of them accepted by the oracle (root certificate, PEM spelling)",
        offsets.len()
    );
}

#[test]
fn refuses_every_flipped_bit_of_the_collateral() {
    let Genuine { quote, theirs, now, .. } = genuine();
    type Field = (&'static str, fn(&mut QuoteCollateralV3) -> Vec<u8>, fn(&mut QuoteCollateralV3, Vec<u8>));
    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }
    let fields: &[Field] = &[
        ("tcb_info", |c| c.tcb_info.clone().into(), |c, b| c.tcb_info = text(b)),
        ("tcb_info_signature", |c| c.tcb_info_signature.clone(), |c, b| c.tcb_info_signature = b),
        ("tcb_info_issuer_chain", |c| c.tcb_info_issuer_chain.clone().into(), |c, b| c.tcb_info_issuer_chain = text(b)),
        ("qe_identity", |c| c.qe_identity.clone().into(), |c, b| c.qe_identity = text(b)),
        ("qe_identity_signature", |c| c.qe_identity_signature.clone(), |c, b| c.qe_identity_signature = b),
        (
            "qe_identity_issuer_chain",
            |c| c.qe_identity_issuer_chain.clone().into(),
            |c, b| c.qe_identity_issuer_chain = text(b),
        ),
        ("root_ca_crl", |c| c.root_ca_crl.clone(), |c, b| c.root_ca_crl = b),
        ("pck_crl", |c| c.pck_crl.clone(), |c, b| c.pck_crl = b),
        ("pck_crl_issuer_chain", |c| c.pck_crl_issuer_chain.clone().into(), |c, b| c.pck_crl_issuer_chain = text(b)),
    ];
    let (mut tried, mut alone) = (0, 0);
    for (name, get, set) in fields {
        let original = get(&mut theirs.clone());
        for index in 0..16 {
            let offset = index * (original.len() - 1) / 15;
            let mut bytes = original.clone();
            // Bits 0 to 6 keep a text ASCII.
            bytes[offset] ^= 1 << (index % 7);
            let mut mutated = theirs.clone();
            set(&mut mutated, bytes);
            let ours = our_verdict(quote, &ours_of(&mutated), now);
            assert!(ours.is_err(), "we accept a flipped bit in {name} at {offset}");
            tried += 1;
            if their_verdict(quote, &mutated, now).is_ok() {
                // The chain it does not read, the root it does not compare, and white space in PEM.
                let unread = *name == "pck_crl_issuer_chain"
                    || (name.ends_with("chain")
                        && (offset > original.len() / 2
                            || ours.as_ref().is_err_and(|refusal| refusal.starts_with("Chain"))));
                assert!(unread, "only we refuse a flipped bit in {name} at {offset}: {ours:?}");
                alone += 1;
            }
        }
    }
    assert_eq!(tried, 144);
    println!("{tried} flipped bits refused by us, {alone} of them accepted by the oracle");
}

#[test]
fn refuses_swapped_parts() {
    let Genuine { quote, theirs, now, .. } = genuine();
    let swaps: &[fn(&mut QuoteCollateralV3)] = &[
        |c| std::mem::swap(&mut c.root_ca_crl, &mut c.pck_crl),
        |c| std::mem::swap(&mut c.tcb_info, &mut c.qe_identity),
        |c| std::mem::swap(&mut c.tcb_info_signature, &mut c.qe_identity_signature),
        |c| c.tcb_info_issuer_chain = c.pck_crl_issuer_chain.clone(),
        |c| c.qe_identity_issuer_chain = c.pck_crl_issuer_chain.clone(),
        |c| c.tcb_info_issuer_chain.clear(),
        |c| c.root_ca_crl.clear(),
        |c| c.pck_crl.clear(),
        |c| c.tcb_info_signature = vec![0; 64],
    ];
    for (index, swap) in swaps.iter().enumerate() {
        let mut swapped = theirs.clone();
        swap(&mut swapped);
        assert!(our_verdict(quote, &ours_of(&swapped), now).is_err(), "{index}");
        assert!(their_verdict(quote, &swapped, now).is_err(), "{index}");
    }
}

#[test]
fn development_anchor_refuses_genuine_evidence() {
    let Genuine { quote, raw, verified, now, .. } = genuine();
    let token = phala_attest::DevelopmentGenesis::for_genesis([7; 32], &[[7; 32]]).unwrap();
    let anchor = TrustAnchor::InsecureDevelopment(token);
    assert!(verify_collateral(&raw, &anchor, now).is_err());
    let policy = Policy { anchor, ..lenient() };
    assert_eq!(verify_evidence(&evidence(quote), &verified, &policy, now), Err(Refusal::OtherRoot));
}

#[test]
fn collateral_keeps_its_verdict_through_storage() {
    use codec::{Decode, Encode, MaxEncodedLen};
    let Genuine { quote, raw, verified, now, .. } = genuine();
    let stored = verified.encode();
    let restored = VerifiedCollateral::decode(&mut &stored[..]).unwrap();
    assert_eq!(restored, verified);
    assert!(stored.len() <= VerifiedCollateral::max_encoded_len());
    assert!(verify_evidence(&evidence(quote), &restored, &strict(), now).is_ok());
    println!(
        "encoded: quote {}, collateral {}, verified collateral {}, limit {}",
        quote.len(),
        raw.encode().len(),
        stored.len(),
        VerifiedCollateral::max_encoded_len()
    );
}

/// Prints what a verdict costs: `cargo test --release -p phala-attest --test oracle -- --ignored --nocapture cost`.
#[test]
#[ignore = "a measurement, not a check"]
#[allow(clippy::disallowed_methods, reason = "a stopwatch, not an input of a verdict")]
fn cost_of_a_verdict() {
    let Genuine { quote, theirs, raw, verified, now } = genuine();
    let time = |name: &str, run: &dyn Fn()| {
        let start = std::time::Instant::now();
        (0..200).for_each(|_| run());
        println!("{name}: {:?}", start.elapsed() / 200);
    };
    time("verify_collateral", &|| drop(verify_collateral(&raw, &TrustAnchor::Intel, now).unwrap()));
    let evidence = evidence(quote);
    time("verify_evidence", &|| drop(verify_evidence(&evidence, &verified, &strict(), now).unwrap()));
    time("dcap-qvl, both (rustcrypto)", &|| drop(their_verdict(quote, &theirs, now).unwrap()));
}
