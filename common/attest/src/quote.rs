//! The wire format of Intel's DCAP quotes, signed with ECDSA on P-256: SGX version 3, TDX versions 4 and 5.
//!
//! Source: Intel, "SGX ECDSA Quote Library API", appendix A.4 (version 3), "TDX DCAP: Quote Generation Library and Quote
//! Verification Library", appendix 3 (versions 4 and 5), and the reports of `report.rs`. All integers are little-endian.
//!
//! ```text
//! bytes  field
//!    48  header: version, attestation key type, TEE type, security versions of QE and PCE (SGX; reserved for TDX),
//!        QE vendor id, 20 user data
//!     6  version 5 only: type of the report, its length
//!     .  report: 384 (SGX), 584 (TD 1.0), 648 (TD 1.5) or 885 (TD 1.5 extended)
//!     4  length of what follows
//!    64  signature of everything above, without that length, by the attestation key (r, s)
//!    64  attestation key (x, y)
//!     6  versions 4 and 5 only: certification data of type 6, length; what follows is inside it
//!   384  QE report
//!    64  signature of the QE report by the PCK key
//!     2  length of the QE authentication data, then that data
//!     6  certification data: type 5, length, then the PCK certificate chain in PEM
//! ```
//!
//! Decoding is bounded, copies no more than it reads, and judges nothing: a decoded quote is a claim. A layout that is
//! not the above is an error; so is every byte too many, since bytes that no signature covers identify nothing.

use crate::{
    evidence::Vendor,
    report::{
        decode_enclave_report, decode_td_report, decode_typed_body, EnclaveReport, Report, ENCLAVE_REPORT_LENGTH,
        TD_REPORT_LENGTH, TD_REPORT_LENGTHS,
    },
};

/// Bytes of the longest quote accepted. Genuine ones have about 5,000.
pub const QUOTE_LIMIT: usize = 16 * 1024;

const HEADER_LENGTH: usize = 48;
const BODY_HEADER_LENGTH: usize = 6;
const TEE_SGX: u32 = 0;
const TEE_TDX: u32 = 0x81;

/// Why bytes are not a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, codec::Encode, codec::Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum DecodeError {
    /// Longer than [`QUOTE_LIMIT`].
    #[error("quote is longer than {QUOTE_LIMIT} bytes")]
    TooLong,
    /// Ends inside a field.
    #[error("quote ends inside a field")]
    TooShort,
    /// Bytes behind the end.
    #[error("quote has bytes behind its end; use canonical_quote to strip a driver's padding")]
    TrailingBytes,
    /// A version other than 3 to 5.
    #[error("quote version {0} is not supported, only 3 (SGX), 4 and 5 (TDX)")]
    Version(u16),
    /// An attestation key that is not ECDSA on P-256.
    #[error("attestation key type {0} is not supported, only 2 (ECDSA on P-256)")]
    AttestationKeyType(u16),
    /// Not the technology of its version.
    #[error("TEE type {0:#x} is not supported, only 0 (SGX) in version 3 and 0x81 (TDX) in versions 4 and 5")]
    TeeType(u32),
    /// A report in a version 5 quote that is not of a trust domain.
    #[error("report type {0} is not supported, only 2, 3 and 4 (TD reports 1.0, 1.5 and 1.5 extended)")]
    BodyType(u16),
    /// The report's length is not its type's.
    #[error("report has {0} bytes, which its type has not")]
    BodyLength(u32),
    /// Outer certification data that is not a QE report, or inner that is not a chain of certificates.
    #[error("certification data type {0} is not supported, only 5, in versions 4 and 5 inside 6")]
    CertificationType(u16),
}

/// A decoded quote: claims, not facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote<'a> {
    /// Version: 3, 4 or 5.
    pub version: u16,
    /// Header and report as signed.
    pub signed: &'a [u8],
    /// Header bytes 8..12: for SGX the security versions of QE and PCE when it was made, reserved for TDX.
    pub header_versions: [u8; 4],
    /// Who made the quoting enclave.
    pub qe_vendor_id: [u8; 16],
    /// 16 bytes that name the platform to its own QE, then 4 that are unused.
    pub user_data: [u8; 20],
    /// What the hardware reported about the enclave or the virtual machine.
    pub report: Report,
    /// Signature of `signed` by the attestation key.
    pub signature: [u8; 64],
    /// The key that the quoting enclave made for attestation.
    pub attestation_key: [u8; 64],
    /// The report of the quoting enclave, as signed.
    pub qe_report_bytes: &'a [u8],
    /// The report of the quoting enclave.
    pub qe_report: EnclaveReport,
    /// Signature of `qe_report_bytes` by the PCK key.
    pub qe_report_signature: [u8; 64],
    /// What the QE report's data commits beside the attestation key.
    pub qe_authentication_data: &'a [u8],
    /// PEM of PCK certificate, PCK authority, root.
    pub pck_chain: &'a [u8],
}

impl Quote<'_> {
    /// Whose hardware it claims to be from.
    pub const fn vendor(&self) -> Vendor {
        match self.report {
            Report::Enclave(_) => Vendor::IntelSgx,
            Report::Td(..) => Vendor::IntelTdx,
        }
    }
}

/// Decodes a quote without padding behind it.
pub fn decode_quote(bytes: &[u8]) -> Result<Quote<'_>, DecodeError> {
    if bytes.len() > QUOTE_LIMIT {
        return Err(DecodeError::TooLong);
    }
    let mut input = Cursor(bytes);
    let version = input.u16()?;
    let expected_tee_type = match version {
        3 => TEE_SGX,
        4 | 5 => TEE_TDX,
        _ => return Err(DecodeError::Version(version)),
    };
    let attestation_key_type = input.u16()?;
    if attestation_key_type != 2 {
        return Err(DecodeError::AttestationKeyType(attestation_key_type));
    }
    let tee_type = input.u32()?;
    if tee_type != expected_tee_type {
        return Err(DecodeError::TeeType(tee_type));
    }
    let header_versions = input.array()?;
    let qe_vendor_id = input.array()?;
    let user_data = input.array()?;
    let report = match version {
        3 => Report::Enclave(decode_enclave_report(&mut input)?),
        4 => Report::Td(decode_td_report(&mut input)?, None),
        _ => decode_typed_body(&mut input)?,
    };
    let signed_length = bytes.len().saturating_sub(input.0.len());
    let signed = bytes.get(..signed_length).ok_or(DecodeError::TooShort)?;

    let mut input = input.sized_rest()?;
    let signature = input.array()?;
    let attestation_key = input.array()?;
    let mut certification = if version == 3 {
        input
    } else {
        let inside = input.certification(6)?;
        input.finish()?;
        inside
    };
    let qe_report_bytes = certification.slice(ENCLAVE_REPORT_LENGTH)?;
    let qe_report = decode_enclave_report(&mut Cursor(qe_report_bytes))?;
    let qe_report_signature = certification.array()?;
    let length = certification.u16()?;
    let qe_authentication_data = certification.slice(usize::from(length))?;
    let pck_chain = certification.certification(5)?.0;
    certification.finish()?;

    Ok(Quote {
        version,
        signed,
        header_versions,
        qe_vendor_id,
        user_data,
        report,
        signature,
        attestation_key,
        qe_report_bytes,
        qe_report,
        qe_report_signature,
        qe_authentication_data,
        pck_chain,
    })
}

/// `bytes` without the zeros that quoting drivers leave behind a quote; an error if what is behind it is not zero.
///
/// For whoever reads a quote from a driver, before it travels: evidence has one encoding.
pub fn canonical_quote(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let mut input = Cursor(bytes);
    let version = input.u16()?;
    input.slice(HEADER_LENGTH - 2)?;
    let (before, report) = match version {
        3 => (0, ENCLAVE_REPORT_LENGTH),
        4 => (0, TD_REPORT_LENGTH),
        5 => {
            input.u16()?;
            let length = input.u32()?;
            if !TD_REPORT_LENGTHS.contains(&(length as usize)) {
                return Err(DecodeError::BodyLength(length));
            }
            (BODY_HEADER_LENGTH, length as usize)
        }
        _ => return Err(DecodeError::Version(version)),
    };
    input.slice(report)?;
    let length = input.u32()? as usize;
    let end = (HEADER_LENGTH + before + report + 4).checked_add(length).ok_or(DecodeError::TooLong)?;
    let (quote, padding) = bytes.split_at_checked(end).ok_or(DecodeError::TooShort)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::TrailingBytes);
    }
    Ok(quote)
}

/// The bytes not read yet.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn slice(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::TooShort)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DecodeError> {
        self.slice(LENGTH)?.try_into().map_err(|_| DecodeError::TooShort)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length, and exactly that many bytes up to the end.
    fn sized_rest(mut self) -> Result<Self, DecodeError> {
        let length = self.u32()? as usize;
        let body = self.slice(length)?;
        self.finish()?;
        Ok(Self(body))
    }

    /// Certification data of the type `expected`.
    fn certification(&mut self, expected: u16) -> Result<Self, DecodeError> {
        let found = self.u16()?;
        if found != expected {
            return Err(DecodeError::CertificationType(found));
        }
        let length = self.u32()? as usize;
        self.slice(length).map(Self)
    }

    fn finish(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }
}
