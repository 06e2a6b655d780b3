//! The checks on a TDX quote, each with a refusal of its own.
//!
//! # The measurement
//!
//! SHA-256 over the domain label `PHALA/attest/tdx-measurement/v1` (its length in one byte before it) and these fields of
//! the TD report, in this order and at these fixed lengths, so that no two machines share an input:
//!
//! | field           | bytes | what it identifies |
//! |-----------------|-------|--------------------|
//! | TDATTRIBUTES    | 8     | how the TD was configured: features, and the bits checked below |
//! | XFAM            | 8     | processor features it may use |
//! | MRTD            | 48    | initial contents: the virtual firmware |
//! | MRCONFIGID      | 48    | configuration its owner named at launch |
//! | MROWNER         | 48    | who launched it |
//! | MROWNERCONFIG   | 48    | what the owner configured |
//! | RTMR0..RTMR3    | 4x48  | firmware configuration, kernel, initial file system and command line, application |
//!
//! Fields that are *not* launch identity are judged instead of hashed: TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM and
//! SEAMATTRIBUTES belong to Intel's module and are matched with the collateral (MRSEAM changes with each security update
//! that we want machines to take); REPORTDATA is what the machine says. MRSERVICETD does not exist in a version 4 quote:
//! a TD with service TDs gets version 5, and the attribute that would bind one is refused.
//!
//! # TD attributes
//!
//! | bit | name            | verdict |
//! |-----|-----------------|---------|
//! | 0   | DEBUG           | refused: the host reads the memory |
//! | 4-6 | profiling       | refused: the host samples execution |
//! | 16  | ICSSD           | allowed: a defence |
//! | 17  | SERVTD_EXT      | refused: a service TD may act on this one |
//! | 27  | LASS            | allowed |
//! | 28  | SEPT_VE_DISABLE | required: without it the host can inject exceptions by removing pages |
//! | 29  | MIGRATABLE      | refused: the memory may move to a machine nobody attested |
//! | 30  | PKS             | allowed |
//! | 31  | KL              | allowed |
//! | any other          | | refused: reserved, or its effect is not reviewed (PERFMON, TPA) |

use p256::ecdsa::{signature::Verifier, Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{
    anchor::Assurance,
    certificate::{Certificate, Use},
    collateral::VerifiedCollateral,
    evidence::{Refusal, Vendor, VerifiedReport},
    pck::{read_extension, PckExtension},
    pem::decode_chain,
    policy::Policy,
    quote::{decode_quote, QeReport, QuoteV4, TdReport},
    revocation::is_revoked,
    tcb::{merge_advisories, Advisories, QeIdentity, TcbStatus, Unmatched},
};

const MEASUREMENT_LABEL: &[u8] = b"PHALA/attest/tdx-measurement/v1";
const HARDWARE_LABEL: &[u8] = b"PHALA/attest/hardware-id/v1";

/// The vendor id of Intel's quoting enclaves.
const INTEL_QE_VENDOR_ID: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];
/// Bytes of authentication data that Intel's quoting enclaves use.
const QE_AUTHENTICATION_DATA_LENGTH: usize = 32;
/// DEBUG of an SGX enclave's attributes, in their first byte.
const SGX_DEBUG: u8 = 1 << 1;

const TD_DEBUG: u64 = 1;
const TD_PROFILING: u64 = 0b111 << 4;
const TD_SERVICE_EXTENSION: u64 = 1 << 17;
const TD_SEPT_VE_DISABLE: u64 = 1 << 28;
const TD_MIGRATABLE: u64 = 1 << 29;
const TD_ALLOWED: u64 = 1 << 16 | 1 << 27 | TD_SEPT_VE_DISABLE | 1 << 30 | 1 << 31;
/// XFAM bits that are always one (x87, SSE) and that may be one, from the TDX Module specification.
const XFAM_FIXED_ONE: u64 = 0x3;
const XFAM_ALLOWED: u64 = 0x0006_dbe7;

/// The measurement of the machine that `report` claims to be; see the module's table.
pub fn measurement(report: &TdReport) -> [u8; 32] {
    let mut hash = labelled(MEASUREMENT_LABEL);
    hash.update(report.td_attributes);
    hash.update(report.xfam);
    hash.update(report.mr_td);
    hash.update(report.mr_config_id);
    hash.update(report.mr_owner);
    hash.update(report.mr_owner_config);
    for register in &report.rtmr {
        hash.update(register);
    }
    hash.finalize().into()
}

/// Checks a quote against collateral and policy at `now`, Unix seconds.
pub(crate) fn verify(
    bytes: &[u8],
    collateral: &VerifiedCollateral,
    policy: &Policy,
    now: u64,
) -> Result<VerifiedReport, Refusal> {
    check_collateral(collateral, policy, now)?;
    let quote = decode_quote(bytes)?;
    check_header(&quote)?;
    let (pck, pck_expiry, extension) = check_pck_chain(&quote, collateral, now)?;
    let (qe_status, qe_advisories) = check_quoting_enclave(&quote, &pck, &collateral.qe)?;
    verify_with_raw_key(&quote.attestation_key, quote.signed, &quote.signature).ok_or(Refusal::QuoteSignature)?;
    check_attributes(&quote.report)?;

    if extension.fmspc != collateral.tcb.fmspc {
        return Err(Refusal::PlatformModel);
    }
    if extension.pce_id != collateral.tcb.pce_id {
        return Err(Refusal::PceId);
    }
    let report = &quote.report;
    collateral
        .tcb
        .check_module(&report.tee_tcb_svn, &report.mr_signer_seam, &report.seam_attributes)
        .map_err(unmatched)?;
    let (platform_status, mut advisories) =
        collateral.tcb.appraise(&extension.cpu_svn, extension.pce_svn, &report.tee_tcb_svn).map_err(unmatched)?;
    merge_advisories(&mut advisories, &qe_advisories);
    let tcb_status = platform_status.converge(qe_status);
    if tcb_status == TcbStatus::Revoked {
        return Err(Refusal::TcbRevoked);
    }
    if !policy.terms.accepted.contains(tcb_status) {
        return Err(Refusal::TcbStatus(tcb_status));
    }

    Ok(VerifiedReport {
        vendor: Vendor::IntelTdx,
        measurement: measurement(report),
        report_data: report.report_data,
        tcb_status,
        advisories: advisories.into_inner(),
        hardware_id: hardware_id(&extension),
        assurance: collateral.root.assurance(),
        valid_until: collateral.valid_until.min(pck_expiry),
    })
}

/// The platform model that a quote's own, unverified PCK certificate names.
pub(crate) fn claimed_fmspc(bytes: &[u8]) -> Result<[u8; 6], Refusal> {
    let quote = decode_quote(bytes)?;
    let chain = decode_chain(quote.pck_chain).map_err(Refusal::PckChain)?;
    let leaf = Certificate::decode(chain.first().ok_or(Refusal::PckChainLength)?).map_err(Refusal::PckCertificate)?;
    Ok(read_extension(&leaf).map_err(Refusal::PckExtension)?.fmspc)
}

/// SHA-256 of the second certificate of a quote's own, unverified PCK chain.
pub(crate) fn claimed_authority(bytes: &[u8]) -> Result<[u8; 32], Refusal> {
    let quote = decode_quote(bytes)?;
    let chain = decode_chain(quote.pck_chain).map_err(Refusal::PckChain)?;
    Ok(Sha256::digest(chain.get(1).ok_or(Refusal::PckChainLength)?).into())
}

fn check_collateral(collateral: &VerifiedCollateral, policy: &Policy, now: u64) -> Result<(), Refusal> {
    if collateral.root != policy.anchor.root() {
        return Err(match collateral.root.assurance() {
            Assurance::Simulated => Refusal::DevelopmentRoot,
            Assurance::Hardware => Refusal::OtherRoot,
        });
    }
    if now < collateral.valid_from {
        return Err(Refusal::CollateralNotYetValid);
    }
    if now >= collateral.valid_until {
        return Err(Refusal::CollateralExpired);
    }
    if collateral.tcb_evaluation_number() < policy.terms.minimum_tcb_evaluation_number {
        return Err(Refusal::EvaluationNumber);
    }
    Ok(())
}

fn check_header(quote: &QuoteV4<'_>) -> Result<(), Refusal> {
    if quote.qe_vendor_id != INTEL_QE_VENDOR_ID {
        return Err(Refusal::QeVendor);
    }
    if quote.header_reserved != [0; 4] || !quote.user_data.ends_with(&[0; 4]) {
        return Err(Refusal::HeaderReserved);
    }
    Ok(())
}

/// Checks leaf <- authority <- root. The authority was checked with the collateral and has to be the same certificate.
fn check_pck_chain(
    quote: &QuoteV4<'_>,
    collateral: &VerifiedCollateral,
    now: u64,
) -> Result<(VerifyingKey, u64, PckExtension), Refusal> {
    let chain = decode_chain(quote.pck_chain).map_err(Refusal::PckChain)?;
    let [leaf, authority, root] = chain.as_slice() else { return Err(Refusal::PckChainLength) };
    if root != collateral.root.der() {
        return Err(Refusal::PckRoot);
    }
    let known = &collateral.authority;
    if <[u8; 32]>::from(Sha256::digest(authority)) != known.certificate_hash {
        return Err(Refusal::PckAuthority);
    }
    let leaf = Certificate::decode(leaf).map_err(Refusal::PckCertificate)?;
    if <[u8; 32]>::from(Sha256::digest(&leaf.issuer)) != known.name_hash {
        return Err(Refusal::PckAuthority);
    }
    let authority_key = raw_key(&known.key).ok_or(Refusal::PckAuthority)?;
    leaf.verify(&leaf.issuer, &authority_key, Use::Signer, now).map_err(Refusal::PckCertificate)?;
    if is_revoked(&collateral.revoked, &leaf.serial) {
        return Err(Refusal::PckRevoked);
    }
    let extension = read_extension(&leaf).map_err(Refusal::PckExtension)?;
    Ok((leaf.key, leaf.not_after, extension))
}

/// Checks that the enclave which holds the attestation key is Intel's, and gives its status.
fn check_quoting_enclave(
    quote: &QuoteV4<'_>,
    pck: &VerifyingKey,
    identity: &QeIdentity,
) -> Result<(TcbStatus, Advisories), Refusal> {
    let signature = Signature::from_slice(&quote.qe_report_signature).map_err(|_| Refusal::QeReportSignature)?;
    pck.verify(quote.qe_report_bytes, &signature).map_err(|_| Refusal::QeReportSignature)?;

    let report: &QeReport = &quote.qe_report;
    if !report.reserved_is_zero {
        return Err(Refusal::QeReportReserved);
    }
    if quote.qe_authentication_data.len() != QE_AUTHENTICATION_DATA_LENGTH {
        return Err(Refusal::QeAuthenticationData);
    }
    let bound = Sha256::new().chain_update(quote.attestation_key).chain_update(quote.qe_authentication_data).finalize();
    if report.report_data != *[bound.as_slice(), &[0; 32]].concat() {
        return Err(Refusal::QeReportData);
    }
    if report.mr_signer != identity.mr_signer {
        return Err(Refusal::QeSigner);
    }
    if report.isv_prod_id != identity.isv_prod_id {
        return Err(Refusal::QeProduct);
    }
    if report.attributes.first().is_some_and(|flags| flags & SGX_DEBUG != 0) {
        return Err(Refusal::QeDebug);
    }
    if !masked_equal(&report.misc_select, &identity.misc_select, &identity.misc_select_mask) {
        return Err(Refusal::QeMiscSelect);
    }
    if !masked_equal(&report.attributes, &identity.attributes, &identity.attributes_mask) {
        return Err(Refusal::QeAttributes);
    }
    let level = identity.levels.iter().find(|level| report.isv_svn >= level.svn).ok_or(Refusal::QeSecurityVersion)?;
    Ok((level.status, level.advisories.clone()))
}

fn check_attributes(report: &TdReport) -> Result<(), Refusal> {
    let attributes = u64::from_le_bytes(report.td_attributes);
    for (bits, refusal) in [
        (TD_DEBUG, Refusal::TdDebug),
        (TD_PROFILING, Refusal::TdProfiling),
        (TD_SERVICE_EXTENSION, Refusal::TdServiceTd),
        (TD_MIGRATABLE, Refusal::TdMigratable),
        (!TD_ALLOWED, Refusal::TdAttributes),
    ] {
        if attributes & bits != 0 {
            return Err(refusal);
        }
    }
    if attributes & TD_SEPT_VE_DISABLE == 0 {
        return Err(Refusal::TdSeptVe);
    }
    let xfam = u64::from_le_bytes(report.xfam);
    if xfam & XFAM_FIXED_ONE != XFAM_FIXED_ONE || xfam & !XFAM_ALLOWED != 0 {
        return Err(Refusal::Xfam);
    }
    Ok(())
}

fn hardware_id(extension: &PckExtension) -> [u8; 32] {
    // One processor package has one PPID whichever kind of machine runs on it, so the vendor is Intel, not TDX.
    labelled(HARDWARE_LABEL).chain_update(b"intel").chain_update(extension.ppid).finalize().into()
}

fn labelled(label: &[u8]) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update([u8::try_from(label.len()).unwrap_or(u8::MAX)]);
    hash.update(label);
    hash
}

fn masked_equal<const LENGTH: usize>(actual: &[u8; LENGTH], expected: &[u8; LENGTH], mask: &[u8; LENGTH]) -> bool {
    actual.iter().zip(expected).zip(mask).all(|((actual, expected), mask)| actual & mask == expected & mask)
}

fn raw_key(key: &[u8; 64]) -> Option<VerifyingKey> {
    let mut point = [4u8; 65];
    point.get_mut(1..)?.copy_from_slice(key);
    VerifyingKey::from_sec1_bytes(&point).ok()
}

fn verify_with_raw_key(key: &[u8; 64], message: &[u8], signature: &[u8; 64]) -> Option<()> {
    let signature = Signature::from_slice(signature).ok()?;
    raw_key(key)?.verify(message, &signature).ok()
}

fn unmatched(reason: Unmatched) -> Refusal {
    match reason {
        Unmatched::Platform => Refusal::TcbLevel,
        Unmatched::ModuleVersion => Refusal::ModuleVersion,
        Unmatched::ModuleLevel => Refusal::ModuleLevel,
        Unmatched::ModuleSigner => Refusal::ModuleSigner,
        Unmatched::ModuleAttributes => Refusal::ModuleAttributes,
    }
}
