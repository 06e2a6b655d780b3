//! Kinds of evidence and of collateral: the first byte of the encoding of each.
//!
//! | byte | evidence | collateral |
//! |------|----------|------------|
//! | 0    | Intel TDX, a DCAP quote | Intel's DCAP collateral, of SGX and TDX |
//! | 1    | Intel SGX, a DCAP quote | kept for AMD SEV-SNP: its chain and revocation list |
//! | 2    | kept for AMD SEV-SNP: a report and its VCEK | kept for Arm CCA: endorsements of a platform |
//! | 3    | kept for Arm CCA: a token of platform and realm | - |
//!
//! A byte is never given to another kind (ADR 0019). Whoever sends the bytes controls them. Holds: bytes of a kind that this build does not
//! verify are refused by that kind and not as malformed, whatever follows. Does not judge what it decodes.

use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};

use crate::{collateral::Collateral, evidence::Evidence};

/// The kinds of evidence, for people.
const EVIDENCE_KINDS: &str = "0 (Intel TDX) and 1 (Intel SGX); 2 is kept for AMD SEV-SNP and 3 for Arm CCA";
/// The kinds of collateral, for people.
const COLLATERAL_KINDS: &str = "0 (Intel DCAP); 1 is kept for AMD SEV-SNP and 2 for Arm CCA";

/// Whose collateral it is: the first byte of [`Collateral`]. The index of one never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum CollateralKind {
    /// Intel's, for DCAP quotes of SGX and of TDX.
    #[codec(index = 0)]
    IntelDcap,
}

/// Why bytes are neither evidence nor collateral that this build verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindFault {
    /// Evidence of another kind than those that are verified.
    #[error("evidence of kind {0} is not verified by this build, which verifies {EVIDENCE_KINDS}")]
    UnsupportedEvidence(u8),
    /// Collateral of another kind than those that are verified.
    #[error("collateral of kind {0} is not verified by this build, which verifies {COLLATERAL_KINDS}")]
    UnsupportedCollateral(u8),
    /// Not the encoding of its kind, or bytes are behind it.
    #[error("not the encoding of its kind, or bytes are behind it")]
    Malformed,
}

/// Evidence out of exactly these bytes.
///
/// # Errors
/// [`KindFault::UnsupportedEvidence`] for another kind, whatever follows it; else [`KindFault::Malformed`].
pub fn decode_evidence(bytes: &[u8]) -> Result<Evidence, KindFault> {
    match bytes.first() {
        Some(0 | 1) => Evidence::decode_all(&mut &bytes[..]).map_err(|_| KindFault::Malformed),
        Some(kind) => Err(KindFault::UnsupportedEvidence(*kind)),
        None => Err(KindFault::Malformed),
    }
}

/// Collateral out of exactly these bytes.
///
/// # Errors
/// [`KindFault::UnsupportedCollateral`] for another kind, whatever follows it; else [`KindFault::Malformed`].
pub fn decode_collateral(bytes: &[u8]) -> Result<Collateral, KindFault> {
    match bytes.first() {
        Some(0) => Collateral::decode_all(&mut &bytes[..]).map_err(|_| KindFault::Malformed),
        Some(kind) => Err(KindFault::UnsupportedCollateral(*kind)),
        None => Err(KindFault::Malformed),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::list::List;
    use alloc::{string::ToString, vec};

    fn collateral() -> Collateral {
        let bytes = |byte: u8| vec![byte; 3];
        Collateral {
            kind: CollateralKind::IntelDcap,
            tcb_info: List::try_from(bytes(1)).unwrap(),
            tcb_info_signature: [2; 64],
            tcb_info_issuer_chain: List::try_from(bytes(3)).unwrap(),
            qe_identity: List::try_from(bytes(4)).unwrap(),
            qe_identity_signature: [5; 64],
            qe_identity_issuer_chain: List::try_from(bytes(6)).unwrap(),
            root_ca_crl: List::try_from(bytes(7)).unwrap(),
            pck_crl: List::try_from(bytes(8)).unwrap(),
            pck_crl_issuer_chain: List::try_from(bytes(9)).unwrap(),
        }
    }

    #[test]
    fn evidence_of_a_kind_that_is_not_verified_is_refused_by_its_kind() {
        let quote = List::try_from(vec![7; 9]).unwrap();
        let good = [Evidence::TdxDcap(quote.clone()), Evidence::SgxDcap(quote)];
        let encoded = good[0].encode();
        for kind in 0..=u8::MAX {
            let mut bytes = encoded.clone();
            bytes[0] = kind;
            match good.get(usize::from(kind)) {
                Some(evidence) => assert_eq!(decode_evidence(&bytes).as_ref(), Ok(evidence)),
                None => {
                    // The kind counts, whatever follows it; and nothing else takes it for a kind that is known.
                    for bytes in [&bytes[..], &[kind], &[kind, 0xff, 0xff, 0xff]] {
                        assert_eq!(decode_evidence(bytes), Err(KindFault::UnsupportedEvidence(kind)));
                        assert!(Evidence::decode(&mut &bytes[..]).is_err(), "{kind}");
                    }
                }
            }
        }
        for broken in [&b""[..], &[0], &encoded[..encoded.len() - 1], &[&encoded[..], &[0]].concat()] {
            assert_eq!(decode_evidence(broken), Err(KindFault::Malformed));
        }
        let told = KindFault::UnsupportedEvidence(2).to_string();
        assert!(told.contains("kind 2") && told.contains("1 (Intel SGX)") && told.contains("SEV-SNP"), "{told}");
    }

    #[test]
    fn collateral_begins_with_its_kind_and_another_is_refused_by_it() {
        let good = collateral();
        let encoded = good.encode();
        // The kind, then the first list: its length, shifted by two, and what is in it.
        assert_eq!(encoded[..5], [0, 12, 1, 1, 1]);
        for kind in 0..=u8::MAX {
            let mut bytes = encoded.clone();
            bytes[0] = kind;
            if kind == 0 {
                assert_eq!(decode_collateral(&bytes).as_ref(), Ok(&good));
            } else {
                assert_eq!(decode_collateral(&bytes), Err(KindFault::UnsupportedCollateral(kind)));
                assert!(Collateral::decode(&mut &bytes[..]).is_err(), "{kind}");
            }
        }
        // What was submitted before there were kinds began with a list.
        assert_eq!(decode_collateral(&encoded[1..]), Err(KindFault::UnsupportedCollateral(12)));
        for broken in [&b""[..], &[0], &encoded[..encoded.len() - 1], &[&encoded[..], &[0]].concat()] {
            assert_eq!(decode_collateral(broken), Err(KindFault::Malformed));
        }
        let told = KindFault::UnsupportedCollateral(1).to_string();
        assert!(told.contains("kind 1") && told.contains("0 (Intel DCAP)"), "{told}");
    }
}
