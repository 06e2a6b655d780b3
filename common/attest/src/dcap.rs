//! The checks that every DCAP quote of Intel's passes, SGX or TDX, each with a refusal of its own.
//!
//! ```text
//! compiled-in root -> PCK authority (of the collateral) -> PCK certificate -> quoting enclave's report -> attestation key -> quote
//! ```
//!
//! An allow-list in a fixed order: collateral in date and of this kind, header, chain, quoting enclave against its identity,
//! signature of the quote, what it is about (`sgx.rs`, `tdx.rs`), platform model, security versions, policy. The evidence
//! comes from the attacker; the collateral is verified. It does not compare the measurement or the report data with anything.
//!
//! Not judged, and no part of any identity: the 16 bytes by which a quoting enclave names its platform, the security versions
//! of QE and PCE in the header of an SGX quote (those that count are in the QE report and in the PCK certificate), CPUSVN of
//! either report (that of the PCK certificate counts) and MRENCLAVE of the quoting enclave (its signer and security version count).

use p256::ecdsa::{signature::Verifier, Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{
    anchor::{Assurance, Root},
    certificate::{Certificate, Use},
    collateral::VerifiedCollateral,
    evidence::{Refusal, Vendor, VerifiedReport},
    pck::{read_extension, PckExtension},
    pem::decode_chain,
    policy::Policy,
    quote::{decode_quote, Quote},
    report::Report,
    revocation::is_revoked,
    sgx,
    tcb::{merge_advisories, Advisories, QeIdentity, TcbStatus, Unmatched},
    tdx,
};

const HARDWARE_LABEL: &[u8] = b"PHALA/attest/hardware-id/v1";

/// The vendor id of Intel's quoting enclaves.
const INTEL_QE_VENDOR_ID: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];
/// Bytes of authentication data that Intel's quoting enclaves use.
const QE_AUTHENTICATION_DATA_LENGTH: usize = 32;

/// Checks a quote of `vendor`'s against collateral and policy at `now`, Unix seconds.
pub(crate) fn verify(
    bytes: &[u8],
    vendor: Vendor,
    collateral: &VerifiedCollateral,
    policy: &Policy,
    now: u64,
) -> Result<VerifiedReport, Refusal> {
    check_collateral(&Documents::of(collateral), policy, now)?;
    let quote = decode_quote(bytes)?;
    if quote.vendor() != vendor {
        return Err(Refusal::Kind);
    }
    if collateral.vendor() != vendor {
        return Err(Refusal::CollateralKind);
    }
    check_header(&quote)?;
    let Pck { key: pck, certified_from, certified_until, extension } = check_pck_chain(&quote, collateral, now)?;
    let (qe_status, qe_advisories) = check_quoting_enclave(&quote, &pck, &collateral.qe)?;
    verify_with_raw_key(&quote.attestation_key, quote.signed, &quote.signature).ok_or(Refusal::QuoteSignature)?;
    match &quote.report {
        Report::Enclave(report) => sgx::check_enclave(report)?,
        Report::Td(report, later) => tdx::check(report, later.as_ref())?,
    }

    if extension.fmspc != collateral.tcb.fmspc {
        return Err(Refusal::PlatformModel);
    }
    if extension.pce_id != collateral.tcb.pce_id {
        return Err(Refusal::PceId);
    }
    let (platform_status, mut advisories) = match &quote.report {
        Report::Enclave(_) => collateral.tcb.appraise_sgx(&extension.cpu_svn, extension.pce_svn).map_err(unmatched)?,
        Report::Td(report, later) => tdx::appraise(&collateral.tcb, &extension, report, later.as_ref())?,
    };
    merge_advisories(&mut advisories, &qe_advisories);
    let tcb_status = platform_status.converge(qe_status);
    if tcb_status == TcbStatus::Revoked {
        return Err(Refusal::TcbRevoked);
    }
    check_status(tcb_status, policy)?;

    Ok(VerifiedReport {
        vendor,
        measurement: measurement_of(&quote.report),
        report_data: *quote.report.report_data(),
        tcb_status,
        advisories: advisories.into_inner(),
        hardware_id: hardware_id(&extension),
        assurance: collateral.root.assurance(),
        valid_until: collateral.valid_until.min(certified_until),
        certified_from,
        certified_until,
    })
}

/// The measurement of what `report` claims to be.
pub(crate) fn measurement_of(report: &Report) -> [u8; 32] {
    match report {
        Report::Enclave(report) => sgx::enclave_measurement(report),
        Report::Td(report, _) => tdx::measurement(report),
    }
}

/// What a quote's own, unverified PCK certificate says about its processor.
pub(crate) fn claimed_extension(bytes: &[u8]) -> Result<PckExtension, Refusal> {
    let quote = decode_quote(bytes)?;
    let chain = decode_chain(quote.pck_chain).map_err(Refusal::PckChain)?;
    let leaf = Certificate::decode(chain.first().ok_or(Refusal::PckChainLength)?).map_err(Refusal::PckCertificate)?;
    read_extension(&leaf).map_err(Refusal::PckExtension)
}

/// SHA-256 of the second certificate of a quote's own, unverified PCK chain.
pub(crate) fn claimed_authority(bytes: &[u8]) -> Result<[u8; 32], Refusal> {
    let quote = decode_quote(bytes)?;
    let chain = decode_chain(quote.pck_chain).map_err(Refusal::PckChain)?;
    Ok(Sha256::digest(chain.get(1).ok_or(Refusal::PckChainLength)?).into())
}

/// What time and terms are compared with in collateral.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Documents {
    pub(crate) root: Root,
    /// The first Unix second in which all parts are valid, and the first after it in which one is not.
    pub(crate) valid: (u64, u64),
    /// The lower evaluation number of the two documents, and the higher.
    pub(crate) evaluation: (u32, u32),
}

impl Documents {
    pub(crate) fn of(collateral: &VerifiedCollateral) -> Self {
        Self {
            root: collateral.root,
            valid: (collateral.valid_from, collateral.valid_until),
            evaluation: (collateral.tcb_evaluation_number(), collateral.latest_evaluation_number()),
        }
    }
}

/// The first of the checks that depend on time or policy; the validity of the processor's certificate, and `check_status`, are the
/// others, in this order. Whoever judges again what passed all of them asks these three.
pub(crate) fn check_collateral(documents: &Documents, policy: &Policy, now: u64) -> Result<(), Refusal> {
    if documents.root != policy.anchor.root() {
        return Err(match documents.root.assurance() {
            Assurance::Simulated => Refusal::DevelopmentRoot,
            Assurance::Hardware => Refusal::OtherRoot,
        });
    }
    let (from, until) = documents.valid;
    if now < from {
        return Err(Refusal::CollateralNotYetValid);
    }
    if now >= until {
        return Err(Refusal::CollateralExpired);
    }
    let (lower, _) = documents.evaluation;
    if lower < policy.terms.minimum_tcb_evaluation_number {
        return Err(Refusal::EvaluationNumber);
    }
    Ok(())
}

/// Whether the policy accepts the status.
pub(crate) fn check_status(status: TcbStatus, policy: &Policy) -> Result<(), Refusal> {
    if policy.terms.accepted.contains(status) {
        Ok(())
    } else {
        Err(Refusal::TcbStatus(status))
    }
}

fn check_header(quote: &Quote<'_>) -> Result<(), Refusal> {
    if quote.qe_vendor_id != INTEL_QE_VENDOR_ID {
        return Err(Refusal::QeVendor);
    }
    let reserved = quote.vendor() == Vendor::IntelTdx && quote.header_versions != [0; 4];
    if reserved || !quote.user_data.ends_with(&[0; 4]) {
        return Err(Refusal::HeaderReserved);
    }
    Ok(())
}

/// A processor's certificate that was found good.
struct Pck {
    key: VerifyingKey,
    /// Its first Unix second, and its last.
    certified_from: u64,
    certified_until: u64,
    extension: PckExtension,
}

/// Checks leaf <- authority <- root. The authority was checked with the collateral and has to be the same certificate.
fn check_pck_chain(quote: &Quote<'_>, collateral: &VerifiedCollateral, now: u64) -> Result<Pck, Refusal> {
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
    leaf.verify(&leaf.issuer, &authority_key, Use::Signer, now)
        .and_then(|()| leaf.check_name(collateral.root.names().processors))
        .map_err(Refusal::PckCertificate)?;
    if is_revoked(&collateral.revoked, &leaf.serial) {
        return Err(Refusal::PckRevoked);
    }
    let extension = read_extension(&leaf).map_err(Refusal::PckExtension)?;
    Ok(Pck { key: leaf.key, certified_from: leaf.not_before, certified_until: leaf.not_after, extension })
}

/// Checks that the enclave which holds the attestation key is Intel's, and gives its status.
fn check_quoting_enclave(
    quote: &Quote<'_>,
    pck: &VerifyingKey,
    identity: &QeIdentity,
) -> Result<(TcbStatus, Advisories), Refusal> {
    let signature = Signature::from_slice(&quote.qe_report_signature).map_err(|_| Refusal::QeReportSignature)?;
    pck.verify(quote.qe_report_bytes, &signature).map_err(|_| Refusal::QeReportSignature)?;

    let report = &quote.qe_report;
    if !report.reserved_is_zero || !report.kss_is_zero() {
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
    if report.flags() & sgx::DEBUG != 0 {
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

fn hardware_id(extension: &PckExtension) -> [u8; 32] {
    // One processor package has one PPID whichever kind of machine runs on it, so the vendor is Intel, not TDX.
    labelled(HARDWARE_LABEL).chain_update(b"intel").chain_update(extension.ppid).finalize().into()
}

pub(crate) fn labelled(label: &[u8]) -> Sha256 {
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

pub(crate) fn unmatched(reason: Unmatched) -> Refusal {
    match reason {
        Unmatched::Platform => Refusal::TcbLevel,
        Unmatched::Technology => Refusal::CollateralKind,
        Unmatched::ModuleVersion => Refusal::ModuleVersion,
        Unmatched::ModuleLevel => Refusal::ModuleLevel,
        Unmatched::ModuleSigner => Refusal::ModuleSigner,
        Unmatched::ModuleAttributes => Refusal::ModuleAttributes,
    }
}
