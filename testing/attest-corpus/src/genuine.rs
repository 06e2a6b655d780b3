//! Evidence that Intel's hardware and services made, each at a second when its collateral holds. Provenance:
//! `testing/vectors/attest/README.md`.

use crate::{Case, Kind};
use dcap_qvl::QuoteCollateralV3;
use phala_attest::{canonical_quote, parse_rfc3339_utc, Collateral, CollateralKind, List};

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../vectors/attest/", $name))
    };
}

/// The genuine samples of a kind.
pub fn of(kind: Kind) -> Vec<Case> {
    let samples: &[(&[u8], &[u8])] = match kind {
        Kind::SgxV3 => &[(vector!("sgx_v3.bin"), vector!("sgx_v3.collateral.json"))],
        Kind::TdxV4 => &[(vector!("tdx_v4.bin"), vector!("tdx_v4.collateral.json"))],
        Kind::TdxV5 => &[(vector!("tdx_v5.bin"), vector!("tdx_v4.later-collateral.json"))],
    };
    samples
        .iter()
        .map(|(quote, json)| {
            let (collateral, now) = collateral(json);
            Case::new(kind, canonical_quote(quote).unwrap(), &collateral, now, false)
        })
        .collect()
}

/// A genuine TDX 1.5 quote (without the extension) of a platform that is below every level of its own model's collateral, at a second
/// when that holds: everything but the level is right about it.
pub fn below_every_level() -> Case {
    let (collateral, now) = collateral(vector!("other-model.collateral.json"));
    Case::refused(Kind::TdxV5, canonical_quote(vector!("tdx_v5_td15.bin")).unwrap(), &collateral, now)
}

/// A genuine TDX quote of version 4, of a model whose collateral is not here, beside another model's: everything but the model is right
/// about it, which both verifiers compare behind every signature.
pub fn of_another_model() -> Case {
    let (collateral, now) = collateral(vector!("tdx_v4.collateral.json"));
    Case::refused(Kind::TdxV4, canonical_quote(vector!("tdx_v4_cos.bin")).unwrap(), &collateral, now)
}

/// The genuine samples that are refused as they are.
pub fn refused() -> Vec<Case> {
    vec![below_every_level(), of_another_model()]
}

/// Collateral out of dcap-qvl's form, and the second a day after its TCB info was issued.
pub fn collateral(json: &[u8]) -> (Collateral, u64) {
    let theirs: QuoteCollateralV3 = serde_json::from_slice(json).unwrap();
    let tcb_info: serde_json::Value = serde_json::from_str(&theirs.tcb_info).unwrap();
    let issued = parse_rfc3339_utc(tcb_info["issueDate"].as_str().unwrap()).unwrap();
    let collateral = Collateral {
        kind: CollateralKind::IntelDcap,
        tcb_info: List::try_from(theirs.tcb_info.into_bytes()).unwrap(),
        tcb_info_signature: theirs.tcb_info_signature.try_into().unwrap(),
        tcb_info_issuer_chain: List::try_from(theirs.tcb_info_issuer_chain.into_bytes()).unwrap(),
        qe_identity: List::try_from(theirs.qe_identity.into_bytes()).unwrap(),
        qe_identity_signature: theirs.qe_identity_signature.try_into().unwrap(),
        qe_identity_issuer_chain: List::try_from(theirs.qe_identity_issuer_chain.into_bytes()).unwrap(),
        root_ca_crl: List::try_from(theirs.root_ca_crl).unwrap(),
        pck_crl: List::try_from(theirs.pck_crl).unwrap(),
        pck_crl_issuer_chain: List::try_from(theirs.pck_crl_issuer_chain.into_bytes()).unwrap(),
    };
    (collateral, issued + 86_400)
}
