//! dcap-qvl's verdict: Intel's logic, written by others.

use crate::Case;
use dcap_qvl::{configs::RustCryptoConfig, verify::QuoteVerifier, QuoteCollateralV3};
use phala_attest::{Collateral, List, INSECURE_DEVELOPMENT_ROOT_DER, INTEL_ROOT_DER};

/// What it says; nothing when the case cannot be put to it (collateral that is no text).
pub fn verdict(case: &Case) -> Option<Result<dcap_qvl::verify::VerifiedReport, String>> {
    let root = if case.input.development { INSECURE_DEVELOPMENT_ROOT_DER } else { INTEL_ROOT_DER };
    let collateral = collateral(case.collateral.as_ref()?)?;
    let verifier = QuoteVerifier::<RustCryptoConfig>::new_with_config(root.to_vec());
    Some(verifier.verify(&case.quote, &collateral, case.input.now).map_err(|error| format!("{error:#}")))
}

/// Collateral as it takes it; nothing when a text is not UTF-8.
pub fn collateral(ours: &Collateral) -> Option<QuoteCollateralV3> {
    fn text<const LIMIT: usize>(bytes: &List<u8, LIMIT>) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }
    Some(QuoteCollateralV3 {
        pck_crl_issuer_chain: text(&ours.pck_crl_issuer_chain)?,
        root_ca_crl: ours.root_ca_crl.to_vec(),
        pck_crl: ours.pck_crl.to_vec(),
        tcb_info_issuer_chain: text(&ours.tcb_info_issuer_chain)?,
        tcb_info: text(&ours.tcb_info)?,
        tcb_info_signature: ours.tcb_info_signature.to_vec(),
        qe_identity_issuer_chain: text(&ours.qe_identity_issuer_chain)?,
        qe_identity: text(&ours.qe_identity)?,
        qe_identity_signature: ours.qe_identity_signature.to_vec(),
        pck_certificate_chain: None,
    })
}
