//! No input panics, and none but the genuine one is accepted. Evidence and collateral come from the attacker.

#![allow(clippy::unwrap_used, reason = "tests")]

use codec::{Decode, Encode};
use phala_attest::{
    canonical_quote, claimed_fmspc, decode_quote, is_development_root, parse_rfc3339_utc, verify_collateral,
    verify_evidence, AcceptedStatuses, Collateral, CollateralKind, Evidence, List, Policy, PolicyTerms, TrustAnchor,
    Verdict, VerifiedCollateral,
};
use proptest::{collection::vec, prelude::*};

const QUOTE: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.bin");
const COLLATERAL: &str = include_str!("../../../testing/vectors/attest/tdx_v4.collateral.json");
const NOW: u64 = 1_750_414_563;

fn genuine_collateral() -> Collateral {
    let json: serde_json::Value = serde_json::from_str(COLLATERAL).unwrap();
    let text = |name: &str| json[name].as_str().unwrap().as_bytes().to_vec();
    let bytes = |name: &str| hex::decode(json[name].as_str().unwrap()).unwrap();
    Collateral {
        kind: CollateralKind::IntelDcap,
        tcb_info: List::try_from(text("tcb_info")).unwrap(),
        tcb_info_signature: bytes("tcb_info_signature").try_into().unwrap(),
        tcb_info_issuer_chain: List::try_from(text("tcb_info_issuer_chain")).unwrap(),
        qe_identity: List::try_from(text("qe_identity")).unwrap(),
        qe_identity_signature: bytes("qe_identity_signature").try_into().unwrap(),
        qe_identity_issuer_chain: List::try_from(text("qe_identity_issuer_chain")).unwrap(),
        root_ca_crl: List::try_from(bytes("root_ca_crl")).unwrap(),
        pck_crl: List::try_from(bytes("pck_crl")).unwrap(),
        pck_crl_issuer_chain: List::try_from(text("pck_crl_issuer_chain")).unwrap(),
    }
}

fn policy() -> Policy {
    Policy { anchor: TrustAnchor::Intel, terms: PolicyTerms::STRICT }
}

/// Replaces `length` bytes at a fraction of `original` by others.
fn spliced(original: &[u8], at: prop::sample::Index, length: usize, insert: &[u8]) -> Vec<u8> {
    let at = at.index(original.len());
    let end = (at + length).min(original.len());
    [&original[..at], insert, &original[end..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..6000)) {
        prop_assert!(decode_quote(&bytes).is_err());
        let _ = canonical_quote(&bytes);
        let _ = is_development_root(&bytes);
        let _ = parse_rfc3339_utc(&String::from_utf8_lossy(&bytes));
        let _ = Evidence::decode(&mut &bytes[..]);
        let _ = Collateral::decode(&mut &bytes[..]);
        let _ = VerifiedCollateral::decode(&mut &bytes[..]);
    }

    #[test]
    fn spliced_quotes_are_refused(at in any::<prop::sample::Index>(), length in 0usize..64, insert in vec(any::<u8>(), 0..64)) {
        let quote = canonical_quote(QUOTE).unwrap();
        let mutated = spliced(quote, at, length, &insert);
        prop_assume!(mutated != quote);
        let collateral = verify_collateral(&genuine_collateral(), &TrustAnchor::Intel, NOW).unwrap();
        let evidence = Evidence::TdxDcap(List::try_from(mutated).unwrap());
        prop_assert!(verify_evidence(&evidence, &collateral, &policy(), NOW).is_err());
        let _ = claimed_fmspc(&evidence);
    }

    #[test]
    fn spliced_collateral_is_refused(at in any::<prop::sample::Index>(), length in 0usize..64, insert in vec(any::<u8>(), 0..64)) {
        // Over the encoding, so that lengths are hit too; what does not decode is refused already.
        let genuine = genuine_collateral();
        let mutated = spliced(&genuine.encode(), at, length, &insert);
        if let Ok(collateral) = Collateral::decode(&mut &mutated[..]) {
            prop_assume!(collateral != genuine);
            prop_assert!(verify_collateral(&collateral, &TrustAnchor::Intel, NOW).is_err());
        }
    }

    #[test]
    fn collateral_that_is_kept_is_good_when_the_same_bytes_are(edge in 0usize..5, offset in -2i64..=2, second in any::<u32>()) {
        let raw = genuine_collateral();
        let kept = verify_collateral(&raw, &TrustAnchor::Intel, NOW).unwrap();
        let edges = [0, kept.valid_from(), NOW, kept.valid_until(), u64::MAX];
        for now in [edges[edge].saturating_add_signed(offset), u64::from(second)] {
            let fresh = verify_collateral(&raw, &TrustAnchor::Intel, now);
            if kept.is_good_at(now) {
                prop_assert_eq!(fresh.as_ref(), Ok(&kept));
            } else {
                prop_assert!(fresh.is_err() || now == kept.valid_until());
            }
        }
    }

    #[test]
    fn a_verdict_that_is_kept_is_the_fresh_one_at_any_time_under_any_terms(
        edge in 0usize..6,
        offset in -2i64..=2,
        second in any::<u32>(),
        statuses in any::<u8>(),
        floor in 0u32..40,
    ) {
        let evidence = Evidence::TdxDcap(List::try_from(canonical_quote(QUOTE).unwrap().to_vec()).unwrap());
        let collateral = verify_collateral(&genuine_collateral(), &TrustAnchor::Intel, NOW).unwrap();
        let lenient = PolicyTerms { accepted: AcceptedStatuses::ALL_BUT_REVOKED, minimum_tcb_evaluation_number: 0 };
        let kept = Verdict::of(&evidence, &collateral, &Policy { terms: lenient, ..policy() }, NOW).unwrap();
        let report = kept.holds(&Policy { terms: lenient, ..policy() }, NOW).unwrap();
        let ends = [report.valid_until(), report.certified_until(), collateral.valid_until()];
        let edges = [0, collateral.valid_from(), NOW, ends[0], ends[1], ends[2]];
        // Any byte is a set of statuses.
        let accepted = AcceptedStatuses::decode(&mut &[statuses][..]).unwrap();
        for accepted in [accepted, AcceptedStatuses::ALL_BUT_REVOKED] {
            let terms = PolicyTerms { accepted, minimum_tcb_evaluation_number: floor };
            let policy = Policy { terms, ..policy() };
            for now in [NOW, edges[edge].saturating_add_signed(offset), u64::from(second)] {
                let fresh = verify_evidence(&evidence, &collateral, &policy, now);
                prop_assert_eq!(kept.holds(&policy, now).cloned(), fresh);
                prop_assert_eq!(kept.documents_are_good_at(now), collateral.is_good_at(now));
            }
        }
    }

    #[test]
    fn stored_collateral_with_altered_bytes_never_panics(at in any::<prop::sample::Index>(), bit in 0u32..8) {
        // A corrupted store is not the attacker's, yet what it decodes to must still be judged without a panic.
        let verified = verify_collateral(&genuine_collateral(), &TrustAnchor::Intel, NOW).unwrap();
        let mut stored = verified.encode();
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        if let Ok(collateral) = VerifiedCollateral::decode(&mut &stored[..]) {
            let evidence = Evidence::TdxDcap(List::try_from(canonical_quote(QUOTE).unwrap().to_vec()).unwrap());
            let _ = verify_evidence(&evidence, &collateral, &policy(), NOW);
        }
    }
}
