//! Reads and checks one X.509 certificate of a vendor's chain (RFC 5280, the subset that Intel issues).
//!
//! Guarantees that a certificate which passes [`Certificate::verify`] was signed by the given issuer with
//! ECDSA-P256-SHA256, is valid at the given time, is allowed the use it is put to, and carries no critical extension
//! that this code does not understand, nor another that restricts it; [`Certificate::check_name`] adds that it was issued for
//! that use and not for another of the same issuer's. The bytes come from the attacker. It does not build paths: the chain's
//! order is fixed by the caller, because a verifier that searches for a path can be made to search for long.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use der::{asn1::ObjectIdentifier, Decode as _, Encode as _, Header, Reader, SliceReader};
use p256::ecdsa::{signature::Verifier, Signature, VerifyingKey};
use x509_cert::{
    certificate::Version,
    ext::{
        pkix::{BasicConstraints, KeyUsage},
        Extension,
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
};

pub(crate) const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Extensions that narrow what a certificate is good for, critical or not: of names, of policies (two), of uses. Intel issues none.
const RESTRICTIONS: [ObjectIdentifier; 4] = [
    ObjectIdentifier::new_unwrap("2.5.29.30"),
    ObjectIdentifier::new_unwrap("2.5.29.36"),
    ObjectIdentifier::new_unwrap("2.5.29.54"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
];

/// Why a certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum CertificateFault {
    /// Not the DER of a certificate.
    #[error("not a certificate in DER")]
    Malformed,
    /// Not X.509 version 3.
    #[error("not an X.509 version 3 certificate")]
    Version,
    /// Signed with another algorithm, or the two places that name it differ.
    #[error("signature algorithm is not ECDSA with SHA-256")]
    SignatureAlgorithm,
    /// The certified key is not one of P-256.
    #[error("certified key is not on P-256")]
    KeyAlgorithm,
    /// The issuer did not sign this.
    #[error("signature is not the issuer's")]
    Signature,
    /// The issuer's name is not the subject of the next certificate.
    #[error("issuer is not the subject of the issuing certificate")]
    IssuerName,
    /// Not valid before a later time.
    #[error("not valid yet")]
    NotYetValid,
    /// Expired.
    #[error("expired")]
    Expired,
    /// Used to sign certificates without being an authority, or with another length of the path below it than its place has.
    #[error("not an authority for this path length")]
    NotAuthority,
    /// An authority used as an end entity.
    #[error("an authority's certificate used as an end entity's")]
    IsAuthority,
    /// Key usage absent, or without the needed bit.
    #[error("key usage does not allow this")]
    KeyUsage,
    /// A critical extension that is not understood.
    #[error("unknown critical extension")]
    UnknownCriticalExtension,
    /// An extension appears twice.
    #[error("an extension appears twice")]
    DuplicateExtension,
    /// Serial number negative or longer than 20 bytes.
    #[error("serial number is not a positive number of at most 20 bytes")]
    Serial,
    /// Not of the name that its issuer gives to what is put to this use, or of several.
    #[error("subject is not the one that is certified for this use")]
    SubjectName,
    /// Holds a unique identifier of issuer or subject, which RFC 5280 takes from authorities.
    #[error("holds a unique identifier")]
    UniqueIdentifier,
    /// An extension that restricts names, policies or uses, and is not understood.
    #[error("an extension restricts it in a way that is not understood")]
    Restricted,
}

/// A serial number, padded in front with zeros to the 20 bytes that RFC 5280 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub(crate) struct Serial([u8; 20]);

impl Serial {
    pub(crate) fn new(serial: &SerialNumber) -> Option<Self> {
        let bytes = serial.as_bytes();
        let bytes = match bytes {
            [0, rest @ ..] => rest,
            [first, ..] if *first < 0x80 => bytes,
            _ => return None,
        };
        let mut padded = [0u8; 20];
        let start = padded.len().checked_sub(bytes.len())?;
        padded.get_mut(start..)?.copy_from_slice(bytes);
        Some(Self(padded))
    }
}

/// What a certificate is put to use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Signs documents or reports.
    Signer,
    /// Signs certificates and revocation lists, and says that exactly `below` further authorities may follow.
    Authority { below: u8 },
}

/// A decoded certificate. Nothing about it is checked but its form.
pub(crate) struct Certificate {
    signed_part: Vec<u8>,
    signature: Signature,
    pub(crate) key: VerifyingKey,
    pub(crate) serial: Serial,
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// Of the subject, if it has exactly one.
    common_name: Option<Vec<u8>>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    extensions: Vec<Extension>,
}

impl Certificate {
    /// Decodes DER without trailing bytes.
    pub(crate) fn decode(der: &[u8]) -> Result<Self, CertificateFault> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| CertificateFault::Malformed)?;
        let tbs = parsed.tbs_certificate();
        if tbs.version() != Version::V3 {
            return Err(CertificateFault::Version);
        }
        if !is_ecdsa_with_sha256(tbs.signature()) || !is_ecdsa_with_sha256(parsed.signature_algorithm()) {
            return Err(CertificateFault::SignatureAlgorithm);
        }
        if tbs.issuer_unique_id().is_some() || tbs.subject_unique_id().is_some() {
            return Err(CertificateFault::UniqueIdentifier);
        }
        let extensions = tbs.extensions().cloned().unwrap_or_default();
        for (index, extension) in extensions.iter().enumerate() {
            if extensions.iter().take(index).any(|earlier| earlier.extn_id == extension.extn_id) {
                return Err(CertificateFault::DuplicateExtension);
            }
            if extension.critical && extension.extn_id != KEY_USAGE && extension.extn_id != BASIC_CONSTRAINTS {
                return Err(CertificateFault::UnknownCriticalExtension);
            }
            if RESTRICTIONS.contains(&extension.extn_id) {
                return Err(CertificateFault::Restricted);
            }
        }
        let signature = parsed.signature().as_bytes().ok_or(CertificateFault::Malformed)?;
        Ok(Self {
            signed_part: signed_part(der).ok_or(CertificateFault::Malformed)?.to_vec(),
            signature: Signature::from_der(signature).map_err(|_| CertificateFault::Malformed)?,
            key: public_key(tbs.subject_public_key_info()).ok_or(CertificateFault::KeyAlgorithm)?,
            serial: Serial::new(tbs.serial_number()).ok_or(CertificateFault::Serial)?,
            issuer: name_bytes(tbs.issuer()).ok_or(CertificateFault::Malformed)?,
            subject: name_bytes(tbs.subject()).ok_or(CertificateFault::Malformed)?,
            common_name: common_name(tbs.subject()),
            not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
            extensions,
        })
    }

    /// Checks that the holder of `issuer_key`, whose name is `issuer_name`, certified this for `intended` use, and that
    /// `now` (Unix seconds) lies in its validity.
    pub(crate) fn verify(
        &self,
        issuer_name: &[u8],
        issuer_key: &VerifyingKey,
        intended: Use,
        now: u64,
    ) -> Result<(), CertificateFault> {
        if self.issuer != issuer_name {
            return Err(CertificateFault::IssuerName);
        }
        check_validity(self.not_before, self.not_after, now)?;
        self.check_use(intended)?;
        issuer_key.verify(&self.signed_part, &self.signature).map_err(|_| CertificateFault::Signature)
    }

    /// Checks that its subject has one common name, and one of these. Whoever else the issuer certifies has another.
    pub(crate) fn check_name(&self, names: &[&str]) -> Result<(), CertificateFault> {
        match &self.common_name {
            Some(own) if names.iter().any(|name| name.as_bytes() == own.as_slice()) => Ok(()),
            _ => Err(CertificateFault::SubjectName),
        }
    }

    /// The checks on a root: its bytes are compiled in, so that its own signature proves nothing more.
    pub(crate) fn verify_compiled_in(&self, now: u64) -> Result<(), CertificateFault> {
        check_validity(self.not_before, self.not_after, now)?;
        self.check_use(Use::Authority { below: 1 })
    }

    fn check_use(&self, intended: Use) -> Result<(), CertificateFault> {
        let constraints = match self.extension(BASIC_CONSTRAINTS) {
            Some(value) => Some(BasicConstraints::from_der(value).map_err(|_| CertificateFault::Malformed)?),
            None => None,
        };
        let usage = self.extension(KEY_USAGE).ok_or(CertificateFault::KeyUsage)?;
        let usage = KeyUsage::from_der(usage).map_err(|_| CertificateFault::Malformed)?;
        match intended {
            Use::Signer => {
                if constraints.is_some_and(|constraints| constraints.ca) {
                    return Err(CertificateFault::IsAuthority);
                }
                if !usage.digital_signature() {
                    return Err(CertificateFault::KeyUsage);
                }
            }
            Use::Authority { below } => {
                let constraints =
                    constraints.filter(|constraints| constraints.ca).ok_or(CertificateFault::NotAuthority)?;
                if constraints.path_len_constraint != Some(below) {
                    return Err(CertificateFault::NotAuthority);
                }
                if !usage.key_cert_sign() || !usage.crl_sign() {
                    return Err(CertificateFault::KeyUsage);
                }
            }
        }
        Ok(())
    }

    /// The value of an extension, inside its octet string.
    pub(crate) fn extension(&self, id: ObjectIdentifier) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|extension| extension.extn_id == id)
            .map(|extension| extension.extn_value.as_bytes())
    }
}

/// Whether `now` lies in a certificate's validity, whose last second is still in it. All in Unix seconds.
pub(crate) fn check_validity(not_before: u64, not_after: u64, now: u64) -> Result<(), CertificateFault> {
    if now < not_before {
        return Err(CertificateFault::NotYetValid);
    }
    if now > not_after {
        return Err(CertificateFault::Expired);
    }
    Ok(())
}

pub(crate) fn is_ecdsa_with_sha256(algorithm: &AlgorithmIdentifierOwned) -> bool {
    algorithm.oid == ECDSA_WITH_SHA256 && algorithm.parameters.is_none()
}

pub(crate) fn name_bytes(name: &Name) -> Option<Vec<u8>> {
    name.to_der().ok()
}

/// The value of a name's common name, if there is exactly one.
fn common_name(name: &Name) -> Option<Vec<u8>> {
    let mut found = name.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let only = found.next()?;
    found.next().is_none().then(|| only.value.value().to_vec())
}

/// The first element of an outer SEQUENCE, with its header: the bytes that a certificate's or list's signature covers.
///
/// Taken from the input and not encoded again, so that what is verified is what was signed.
pub(crate) fn signed_part(der: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(der).ok()?;
    Header::decode(&mut reader).ok()?;
    reader.tlv_bytes().ok()
}

fn public_key(info: &SubjectPublicKeyInfoOwned) -> Option<VerifyingKey> {
    let curve = info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()?;
    if info.algorithm.oid != EC_PUBLIC_KEY || curve != P256_CURVE {
        return None;
    }
    let point = info.subject_public_key.as_bytes()?;
    // Uncompressed only, as Intel issues: one encoding per key.
    if point.len() != 65 {
        return None;
    }
    VerifyingKey::from_sec1_bytes(point).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::anchor::INTEL_ROOT_DER;

    #[test]
    fn each_extension_that_restricts_a_certificate_is_refused_though_it_is_not_critical() {
        // In the place of the subject key identifier, which is not critical. Decoding asks for no signature.
        const IDENTIFIER: [u8; 5] = [6, 3, 0x55, 0x1d, 14];
        let at = INTEL_ROOT_DER.windows(5).position(|found| found == IDENTIFIER).unwrap() + 4;
        let restricted = Some(CertificateFault::Restricted);
        let twice = Some(CertificateFault::DuplicateExtension);
        // Itself, names, policies and their inhibition, uses; and one that is there already.
        for (number, fault) in
            [(14, None), (30, restricted), (36, restricted), (54, restricted), (37, restricted), (15, twice)]
        {
            let mut der = INTEL_ROOT_DER.to_vec();
            der[at] = number;
            assert_eq!(Certificate::decode(&der).err(), fault, "{number}");
        }
    }
}
