//! Reads and checks one certificate revocation list (RFC 5280 section 5, the complete lists that Intel issues).
//!
//! Guarantees that a list which passes was signed by the given authority, is current, and complete: a list with a
//! critical extension (a delta, a partition, an indirect list) is refused rather than understood in part.

use alloc::vec::Vec;
use der::Decode as _;
use p256::ecdsa::{signature::Verifier, Signature, VerifyingKey};
use x509_cert::{certificate::Rfc5280, certificate::Version, crl::CertificateList};

use crate::certificate::{is_ecdsa_with_sha256, name_bytes, signed_part, Serial};

/// Why a revocation list was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, codec::Encode, codec::Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum RevocationFault {
    /// Not the DER of a revocation list.
    #[error("not a revocation list in DER")]
    Malformed,
    /// Not version 2.
    #[error("not a version 2 revocation list")]
    Version,
    /// Signed with another algorithm.
    #[error("signature algorithm is not ECDSA with SHA-256")]
    SignatureAlgorithm,
    /// Issued by somebody else.
    #[error("issuer is not the authority whose certificates it should list")]
    IssuerName,
    /// The authority did not sign it.
    #[error("signature is not the authority's")]
    Signature,
    /// Issued in the future.
    #[error("issued in the future")]
    NotYetIssued,
    /// A newer list is due.
    #[error("expired: a newer list is due")]
    Expired,
    /// Names no time by which a newer list appears, so that it would never expire.
    #[error("names no next update")]
    NoNextUpdate,
    /// A delta, partial or indirect list.
    #[error("has a critical extension: not a complete list")]
    NotComplete,
    /// A serial number that no certificate can have.
    #[error("lists a malformed serial number")]
    Serial,
    /// More entries than this verifier keeps.
    #[error("lists more certificates than the limit")]
    TooLong,
}

/// A verified, current, complete list.
pub(crate) struct RevocationList {
    /// Revoked serial numbers, sorted.
    pub(crate) serials: Vec<Serial>,
    pub(crate) this_update: u64,
    pub(crate) next_update: u64,
}

/// Checks `der` as the list of the authority with this name and key, at `now` (Unix seconds).
pub(crate) fn verify(
    der: &[u8],
    issuer_name: &[u8],
    issuer_key: &VerifyingKey,
    now: u64,
) -> Result<RevocationList, RevocationFault> {
    let list = CertificateList::<Rfc5280>::from_der(der).map_err(|_| RevocationFault::Malformed)?;
    let tbs = &list.tbs_cert_list;
    if tbs.version != Version::V2 {
        return Err(RevocationFault::Version);
    }
    if !is_ecdsa_with_sha256(&tbs.signature) || !is_ecdsa_with_sha256(&list.signature_algorithm) {
        return Err(RevocationFault::SignatureAlgorithm);
    }
    if name_bytes(&tbs.issuer).as_deref() != Some(issuer_name) {
        return Err(RevocationFault::IssuerName);
    }
    if tbs.crl_extensions.iter().flatten().any(|extension| extension.critical) {
        return Err(RevocationFault::NotComplete);
    }
    let this_update = tbs.this_update.to_unix_duration().as_secs();
    let next_update = tbs.next_update.ok_or(RevocationFault::NoNextUpdate)?.to_unix_duration().as_secs();
    if now < this_update {
        return Err(RevocationFault::NotYetIssued);
    }
    if now >= next_update {
        return Err(RevocationFault::Expired);
    }
    let message = signed_part(der).ok_or(RevocationFault::Malformed)?;
    let signature = list
        .signature
        .as_bytes()
        .and_then(|bytes| Signature::from_der(bytes).ok())
        .ok_or(RevocationFault::Malformed)?;
    issuer_key.verify(message, &signature).map_err(|_| RevocationFault::Signature)?;

    let mut serials = Vec::new();
    for entry in tbs.revoked_certificates.iter().flatten() {
        // A reason of "remove from list" has a meaning in delta lists only; here every entry revokes.
        if entry.crl_entry_extensions.iter().flatten().any(|extension| extension.critical) {
            return Err(RevocationFault::NotComplete);
        }
        serials.push(Serial::new(&entry.serial_number).ok_or(RevocationFault::Serial)?);
    }
    serials.sort_unstable();
    serials.dedup();
    Ok(RevocationList { serials, this_update, next_update })
}

/// Whether `serial` is in a sorted list.
pub(crate) fn is_revoked(serials: &[Serial], serial: &Serial) -> bool {
    serials.binary_search(serial).is_ok()
}
