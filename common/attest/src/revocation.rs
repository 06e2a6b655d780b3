//! Reads and checks one certificate revocation list (RFC 5280 section 5, the complete lists that Intel issues).
//!
//! Guarantees that a list which passes was signed by the given authority, is current, numbered, and complete: a list with a
//! critical extension is refused rather than understood in part, and so is a delta, a partition or an indirect list that does not
//! say that it is critical. What the number is does not matter here: dates say which of two lists is newer.

use alloc::vec::Vec;
use der::{
    asn1::{ObjectIdentifier, UintRef},
    Decode as _,
};
use p256::ecdsa::{signature::Verifier, Signature, VerifyingKey};
use x509_cert::{certificate::Rfc5280, certificate::Version, crl::CertificateList, ext::Extension};

use crate::certificate::{is_ecdsa_with_sha256, name_bytes, signed_part, Serial};

const NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const DELTA: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");
const PARTITION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
/// Of an entry: who issued the certificate, where that is not who issued the list.
const CERTIFICATE_ISSUER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.29");
/// Bytes of the longest number of a list (RFC 5280 section 5.2.3).
const LONGEST_NUMBER: usize = 20;

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
    /// A delta, partial or indirect list, or one with another critical extension.
    #[error("says by an extension that it is no complete list")]
    NotComplete,
    /// A serial number that no certificate can have.
    #[error("lists a malformed serial number")]
    Serial,
    /// More entries than this verifier keeps.
    #[error("lists more certificates than the limit")]
    TooLong,
    /// Has no number, or one that is negative, longer than 20 bytes or none at all.
    #[error("has no number of a list")]
    Number,
    /// An extension appears twice.
    #[error("an extension appears twice")]
    DuplicateExtension,
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
    check_extensions(tbs.crl_extensions.as_deref().unwrap_or_default())?;
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
        let mut extensions = entry.crl_entry_extensions.iter().flatten();
        if extensions.any(|extension| extension.critical || extension.extn_id == CERTIFICATE_ISSUER) {
            return Err(RevocationFault::NotComplete);
        }
        serials.push(Serial::new(&entry.serial_number).ok_or(RevocationFault::Serial)?);
    }
    serials.sort_unstable();
    serials.dedup();
    Ok(RevocationList { serials, this_update, next_update })
}

/// Nobody has signed them yet, and a list has room for thousands: none is compared with each other one.
fn check_extensions(extensions: &[Extension]) -> Result<(), RevocationFault> {
    if extensions.iter().any(|extension| extension.critical || [DELTA, PARTITION].contains(&extension.extn_id)) {
        return Err(RevocationFault::NotComplete);
    }
    let mut ids: Vec<ObjectIdentifier> = extensions.iter().map(|extension| extension.extn_id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| matches!(pair, [one, next] if one == next)) {
        return Err(RevocationFault::DuplicateExtension);
    }
    let number = extensions.iter().find(|extension| extension.extn_id == NUMBER).ok_or(RevocationFault::Number)?;
    let number = UintRef::from_der(number.extn_value.as_bytes()).map_err(|_| RevocationFault::Number)?;
    if number.as_bytes().len() > LONGEST_NUMBER {
        return Err(RevocationFault::Number);
    }
    Ok(())
}

/// Whether `serial` is in a sorted list.
pub(crate) fn is_revoked(serials: &[Serial], serial: &Serial) -> bool {
    serials.binary_search(serial).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use der::asn1::OctetString;

    fn extension(id: ObjectIdentifier, value: &[u8]) -> Extension {
        Extension { extn_id: id, critical: false, extn_value: OctetString::new(value.to_vec()).unwrap() }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a stopwatch, not an input of a verdict")]
    fn one_that_appears_twice_is_found_among_any_number_and_without_comparing_all_pairs() {
        let id = |number: u32| ObjectIdentifier::new(&format!("1.2.3.{number}")).unwrap();
        // Ten times what a list has room for, so that five thousand million comparisons would show.
        let start = std::time::Instant::now();
        let mut extensions: Vec<Extension> = (0..100_000).rev().map(|number| extension(id(number), &[])).collect();
        assert_eq!(check_extensions(&extensions), Err(RevocationFault::Number));
        extensions.push(extension(NUMBER, &[2, 1, 7]));
        assert_eq!(check_extensions(&extensions), Ok(()));
        extensions.push(extension(id(5), &[]));
        assert_eq!(check_extensions(&extensions), Err(RevocationFault::DuplicateExtension));
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
    }
}
