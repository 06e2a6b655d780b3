//! Collateral: PEM chains, certificates and revocation lists in DER, and the extension of a processor's certificate.
//!
//! Holds: altered collateral is refused, or says the same; what is accepted, dcap-qvl accepts. Certificates and lists are parsed before
//! their signature is checked, so their parsers meet every byte.

use super::quotes::{development, intel_collateral, lenient, their_verdict, INTEL_NOW, NOW, SIMULATED};
use crate::{assert_bounded, measured, Target, Verdict};
use codec::{DecodeAll, Encode};
use phala_attest::{
    claimed_fmspc, decode_collateral, verify_collateral, verify_evidence, Evidence, KindFault, List, TrustAnchor,
    Vendor, VerifiedCollateral,
};
use phala_insecure_tee::{Processor, QuoteFields, QuoteSigner};
use std::sync::LazyLock;

/// What anyone submits to the chain as collateral.
pub static COLLATERAL: Target = Target {
    name: "collateral",
    covers: &["common/attest/src/collateral.rs::verify_collateral", "common/attest/src/kind.rs::decode_collateral"],
    samples: LazyLock::new(|| {
        vec![SIMULATED.collateral.encode(), SIMULATED.sgx_collateral.encode(), intel_collateral().encode()]
    }),
    check: |bytes| {
        let (decoded, peak) = measured(|| decode_collateral(bytes));
        assert_bounded(peak, bytes.len(), 4);
        let collateral = match decoded {
            Ok(collateral) => collateral,
            Err(KindFault::UnsupportedCollateral(kind)) => {
                assert_eq!(bytes.first(), Some(&kind));
                assert_ne!(kind, 0, "a kind that is verified");
                return Verdict::refused("kind");
            }
            Err(fault) => return Verdict::refused(fault),
        };
        assert_eq!(collateral.encode(), bytes);
        let simulated = verify_collateral(&collateral, &development(), NOW);
        let intel = verify_collateral(&collateral, &TrustAnchor::Intel, INTEL_NOW);
        match (simulated, intel) {
            (Ok(verified), _) => {
                let sgx = verified.vendor() == Vendor::IntelSgx;
                let (genuine, quote) = if sgx {
                    (&SIMULATED.sgx_verified, &SIMULATED.sgx_quote)
                } else {
                    (&SIMULATED.verified, &SIMULATED.quote)
                };
                assert_eq!(&verified, genuine, "altered collateral says something else");
                assert_ne!(their_verdict(quote, &collateral), Some(false), "dcap-qvl refuses it");
                Verdict::accepted("simulated")
            }
            (_, Ok(verified)) => {
                let genuine = verify_collateral(&intel_collateral(), &TrustAnchor::Intel, INTEL_NOW).unwrap();
                assert_eq!(verified, genuine, "altered collateral says something else");
                Verdict::accepted("intel")
            }
            (Err(simulated), Err(intel)) => Verdict::refused(format_args!("{simulated} {intel}")),
        }
    },
    iterations: 250,
};

/// Collateral as chain state keeps it. Decoding it trusts the state; using it never panics, whatever it says.
pub static VERIFIED_COLLATERAL: Target = Target {
    name: "verified-collateral",
    covers: &[],
    samples: LazyLock::new(|| vec![SIMULATED.verified.encode(), SIMULATED.sgx_verified.encode()]),
    check: |bytes| {
        let (decoded, peak) = measured(|| VerifiedCollateral::decode_all(&mut &bytes[..]));
        assert_bounded(peak, bytes.len(), 80);
        let Ok(collateral) = decoded else { return Verdict::refused("shape") };
        assert_eq!(collateral.encode(), bytes);
        let evidence = Evidence::TdxDcap(List::try_from(SIMULATED.quote.clone()).unwrap());
        match verify_evidence(&evidence, &collateral, &lenient(development()), NOW) {
            Ok(report) => {
                assert!(report.valid_until() > NOW, "an answer that had lapsed");
                Verdict::accepted("")
            }
            Err(refusal) => Verdict::refused(refusal),
        }
    },
    iterations: 400,
};

/// A well-signed processor's certificate with anything in its SGX extension.
pub static EXTENSIONS: Target = Target {
    name: "extensions",
    covers: &["common/attest/src/evidence.rs::claimed_model"],
    samples: LazyLock::new(|| {
        vec![
            vec![],
            Processor::further_entry(&[18], &[1]),
            Processor::further_entry(&[2, 1], &[7]),
            [Processor::further_entry(&[5], &[1, 2]), Processor::further_entry(&[2, 17], &[4; 3])].concat(),
        ]
    }),
    check: |bytes| {
        if bytes.len() > 1024 {
            return Verdict::refused("longer than a certificate may be");
        }
        let processor = Processor { further_entries: bytes.to_vec(), ..Processor::named("alpha") };
        let signer = QuoteSigner::new(&SIMULATED.vendor, &processor).unwrap();
        let quote = signer.sign(&QuoteFields::of(b"the program"));
        let evidence = Evidence::TdxDcap(List::try_from(quote.clone()).unwrap());
        let claimed = claimed_fmspc(&evidence);
        let model = phala_attest::claimed_model(&evidence);
        match verify_evidence(&evidence, &SIMULATED.verified, &lenient(development()), NOW) {
            Ok(_) => {
                assert_eq!(their_verdict(&quote, &SIMULATED.collateral), Some(true), "dcap-qvl refuses it");
                assert_eq!(claimed.as_ref(), Ok(&processor.fmspc));
                assert_eq!(model, Ok(SIMULATED.verified.model()));
                Verdict::accepted("")
            }
            Err(refusal) => Verdict::refused(format_args!("{refusal} {}", claimed.is_ok())),
        }
    },
    iterations: 200,
};
