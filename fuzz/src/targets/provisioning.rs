//! What a provisioning service answers. It, and whoever stands between where there is no TLS, controls every byte.
//!
//! Holds: signed JSON is taken byte for byte and is what its key holds; what was taken, answered again in another spelling, is taken the
//! same; and of altered answers none verifies that says anything but what the genuine ones say.

use super::quotes::{development, intel_collateral, INTEL_NOW, NOW, SIMULATED};
use crate::{assert_bounded, measured, Target, Verdict};
use phala_attest::{verify_collateral, Collateral, TrustAnchor};
use phala_client::provisioning::{decode_answers, Answers};
use serde_json::Value;
use std::sync::LazyLock;

/// An answer behind its length.
fn part(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

/// The next part; what is left, if it promises more than there is.
fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, after)) = rest.split_first_chunk() else { return std::mem::take(rest) };
    let length = (u32::from_le_bytes(*length) as usize).min(after.len());
    let (found, left) = after.split_at(length);
    *rest = left;
    found
}

fn escaped(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect()
}

fn signed(key: &str, document: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let end = format!(",\"signature\":\"{}\"}}", hex::encode(signature));
    [b"{\"", key.as_bytes(), b"\":", document, end.as_bytes()].concat()
}

/// `collateral` as a service answers it: its lists in hexadecimal, as a PCCS has them, or as they are.
fn answered(collateral: &Collateral, hexadecimal: bool) -> [Vec<u8>; 7] {
    let list = |der: &[u8]| if hexadecimal { hex::encode(der).into_bytes() } else { der.to_vec() };
    [
        signed("tcbInfo", &collateral.tcb_info, &collateral.tcb_info_signature),
        escaped(&collateral.tcb_info_issuer_chain),
        signed("enclaveIdentity", &collateral.qe_identity, &collateral.qe_identity_signature),
        escaped(&collateral.qe_identity_issuer_chain),
        list(&collateral.pck_crl),
        escaped(&collateral.pck_crl_issuer_chain),
        list(&collateral.root_ca_crl),
    ]
}

fn answers(parts: &[Vec<u8>; 7]) -> Answers<'_> {
    let [tcb_info, tcb_info_chain, qe_identity, qe_identity_chain, pck_crl, pck_crl_chain, root_ca_crl] = parts;
    Answers { tcb_info, tcb_info_chain, qe_identity, qe_identity_chain, pck_crl, pck_crl_chain, root_ca_crl }
}

/// That `document` stands in `body` as it is, and is what another reader finds under `key`.
fn assert_kept(body: &[u8], key: &str, document: &[u8]) {
    assert!(body.windows(document.len()).any(|window| window == document), "signed JSON is not as it was");
    // Numbers, depths and text that are none to this reader are none of a document's either.
    if let (Ok(whole), Ok(inner)) = (serde_json::from_slice::<Value>(body), serde_json::from_slice::<Value>(document)) {
        assert_eq!(whole[key], inner);
    }
}

/// The seven answers that collateral is made of.
pub static ANSWERS: Target = Target {
    name: "provisioning-answers",
    covers: &["host/client/src/provisioning.rs::decode_answers"],
    samples: LazyLock::new(|| {
        let intel = intel_collateral();
        let all = [(&intel, true), (&intel, false), (&SIMULATED.collateral, false), (&SIMULATED.sgx_collateral, true)];
        all.map(|(collateral, hexadecimal)| answered(collateral, hexadecimal).map(|bytes| part(&bytes)).concat())
            .to_vec()
    }),
    check: |bytes| {
        let mut rest = bytes;
        let parts: [&[u8]; 7] = std::array::from_fn(|_| take(&mut rest));
        let [tcb_info, tcb_info_chain, qe_identity, qe_identity_chain, pck_crl, pck_crl_chain, root_ca_crl] = parts;
        let given =
            Answers { tcb_info, tcb_info_chain, qe_identity, qe_identity_chain, pck_crl, pck_crl_chain, root_ca_crl };
        let (decoded, peak) = measured(|| decode_answers(&given));
        assert_bounded(peak, bytes.len(), 4);
        let collateral = match decoded {
            Ok(collateral) => collateral,
            Err(fault) => return Verdict::refused(fault),
        };
        assert_kept(tcb_info, "tcbInfo", &collateral.tcb_info);
        assert_kept(qe_identity, "enclaveIdentity", &collateral.qe_identity);
        let again = answered(&collateral, true);
        assert_eq!(decode_answers(&answers(&again)).expect("answered again"), collateral);
        let simulated = verify_collateral(&collateral, &development(), NOW).is_ok();
        let intel = verify_collateral(&collateral, &TrustAnchor::Intel, INTEL_NOW).is_ok();
        if simulated || intel {
            let genuine =
                [&intel_collateral(), &SIMULATED.collateral, &SIMULATED.sgx_collateral].into_iter().any(|genuine| {
                    genuine.tcb_info == collateral.tcb_info && genuine.qe_identity == collateral.qe_identity
                });
            assert!(genuine, "altered documents verify");
        }
        Verdict::accepted(format_args!("{simulated} {intel}"))
    },
    iterations: 400,
};
