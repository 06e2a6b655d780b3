//! Files that operators hand each other: evidence, collateral, and a gatekeeper's part of a suspension. Whoever wrote one controls it.
//!
//! Holds: what is read, written again, is read as the same, in every spelling; a quote is the one that the verifier finds; memory is in
//! proportion to the file. Whether any of it is true, `quotes`, `collateral` and the brake's own checks say.

use super::quotes::{intel_collateral, SIMULATED};
use crate::{assert_bounded, measured, Target, Verdict};
use codec::Encode;
use phala_attest::{canonical_quote, Collateral, Evidence, List, Subject, Vendor};
use phala_client::{
    evidence::{decode_collateral, decode_evidence},
    suspension::{decode_part, parse_subject, subject_text, Part, PartFile},
};
use phala_protocol::WorkerId;
use serde_json::json;
use std::sync::LazyLock;

/// `collateral` as `dcap-qvl` and its relatives write it.
fn written(collateral: &Collateral) -> Vec<u8> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    json!({
        "tcb_info": text(&collateral.tcb_info),
        "tcb_info_signature": hex::encode(collateral.tcb_info_signature),
        "tcb_info_issuer_chain": text(&collateral.tcb_info_issuer_chain),
        "qe_identity": text(&collateral.qe_identity),
        "qe_identity_signature": hex::encode(collateral.qe_identity_signature),
        "qe_identity_issuer_chain": text(&collateral.qe_identity_issuer_chain),
        "root_ca_crl": hex::encode(&collateral.root_ca_crl[..]),
        "pck_crl": hex::encode(&collateral.pck_crl[..]),
        "pck_crl_issuer_chain": text(&collateral.pck_crl_issuer_chain),
    })
    .to_string()
    .into_bytes()
}

/// Evidence and collateral, as any tool writes them. None is told by the other's marks: a file may be read as both.
pub static EVIDENCE_FILES: Target = Target {
    name: "evidence-files",
    covers: &["host/client/src/evidence.rs::decode_evidence", "host/client/src/evidence.rs::decode_collateral"],
    samples: LazyLock::new(|| {
        let evidence = Evidence::TdxDcap(List::try_from(SIMULATED.quote.clone()).unwrap());
        let mut samples = vec![
            SIMULATED.quote.clone(),
            SIMULATED.sgx_quote.clone(),
            [&SIMULATED.quote[..], &[0; 70]].concat(),
            hex::encode(&SIMULATED.quote).into_bytes(),
            format!("0x{}\n", hex::encode(evidence.encode())).into_bytes(),
            evidence.encode(),
        ];
        for collateral in [&intel_collateral(), &SIMULATED.collateral, &SIMULATED.sgx_collateral] {
            samples.extend([collateral.encode(), hex::encode(collateral.encode()).into_bytes(), written(collateral)]);
        }
        samples
    }),
    check: |bytes| {
        let verdicts = [check_evidence(bytes).of("evidence"), check_collateral(bytes).of("collateral")];
        let accepted = verdicts.iter().any(|verdict| verdict.accepted);
        let signature = verdicts.iter().fold(0, |sum: u64, verdict| sum.rotate_left(7) ^ verdict.signature);
        Verdict { accepted, signature }
    },
    iterations: 1_000,
};

fn check_evidence(bytes: &[u8]) -> Verdict {
    let (decoded, peak) = measured(|| decode_evidence(bytes));
    assert_bounded(peak, bytes.len(), 6);
    let evidence = match decoded {
        Ok(evidence) => evidence,
        Err(fault) => return Verdict::refused(fault),
    };
    let scale = evidence.encode();
    for again in [scale.clone(), hex::encode(&scale).into_bytes(), format!("0x{}\n", hex::encode(&scale)).into_bytes()]
    {
        assert_eq!(decode_evidence(&again).as_ref(), Ok(&evidence), "another spelling of it means something else");
    }
    let (Evidence::TdxDcap(quote) | Evidence::SgxDcap(quote)) = &evidence;
    // Bytes that begin as a quote are that quote, and nothing else.
    let is_framed = matches!(bytes.first_chunk::<4>(), Some([3..=5, 0, 2 | 3, 0]));
    if is_framed {
        assert_eq!(canonical_quote(bytes), Ok(&quote[..]));
        assert_eq!(evidence.vendor() == Vendor::IntelSgx, bytes[0] == 3);
    }
    Verdict::accepted(is_framed)
}

fn check_collateral(bytes: &[u8]) -> Verdict {
    let (decoded, peak) = measured(|| decode_collateral(bytes));
    assert_bounded(peak, bytes.len(), 8);
    let collateral = match decoded {
        Ok(collateral) => collateral,
        Err(fault) => return Verdict::refused(fault),
    };
    assert_eq!(decode_collateral(&collateral.encode()).as_ref(), Ok(&collateral));
    let texts: [&[u8]; 5] = [
        &collateral.tcb_info[..],
        &collateral.tcb_info_issuer_chain[..],
        &collateral.qe_identity[..],
        &collateral.qe_identity_issuer_chain[..],
        &collateral.pck_crl_issuer_chain[..],
    ];
    let is_text = texts.iter().all(|text| std::str::from_utf8(text).is_ok());
    if is_text {
        assert_eq!(decode_collateral(&written(&collateral)).as_ref(), Ok(&collateral));
    }
    Verdict::accepted(is_text)
}

fn part(subject: Subject) -> Part {
    Part {
        genesis: [1; 32],
        era: 2,
        seat: 3,
        gatekeeper: WorkerId([4; 32]),
        subject,
        sequence: 5,
        expires: 6,
        signature: [7; 64],
    }
}

/// A part's file, and a subject as a person writes it.
pub static SUSPENSIONS: Target = Target {
    name: "suspensions",
    covers: &["host/client/src/suspension.rs::decode_part", "host/client/src/suspension.rs::parse_subject"],
    samples: LazyLock::new(|| {
        let subjects = [
            Subject::Vendor(Vendor::IntelTdx),
            Subject::Model { vendor: Vendor::IntelSgx, fmspc: [0xab; 6] },
            Subject::Evaluation { vendor: Vendor::IntelTdx, below: 18 },
            Subject::Measurement([0xcd; 32]),
        ];
        let mut samples: Vec<Vec<u8>> = subjects.iter().map(|subject| subject_text(subject).into_bytes()).collect();
        samples.extend(subjects.map(|subject| serde_json::to_vec(&PartFile::of(&part(subject))).unwrap()));
        samples
    }),
    check: |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let (subject, peak) = measured(|| parse_subject(text));
            assert_bounded(peak, bytes.len(), 60);
            if let Ok(subject) = subject {
                assert_suspendable(&subject);
                return Verdict::accepted("subject");
            }
        }
        let (decoded, peak) = measured(|| decode_part(bytes));
        assert_bounded(peak, bytes.len(), 60);
        match decoded {
            Ok(part) => {
                assert_suspendable(&part.subject);
                let again = serde_json::to_vec(&PartFile::of(&part)).unwrap();
                assert_eq!(decode_part(&again).as_ref(), Ok(&part));
                Verdict::accepted("part")
            }
            Err(fault) => Verdict::refused(fault),
        }
    },
    iterations: 4_000,
};

/// That a subject is one that the brake may suspend, and is read as it is written.
fn assert_suspendable(subject: &Subject) {
    assert!(!matches!(subject, Subject::Root(_)), "a vendor's root");
    assert_eq!(parse_subject(&subject_text(subject)).as_ref(), Ok(subject));
}
