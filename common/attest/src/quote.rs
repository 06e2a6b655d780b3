//! The wire format of a TDX quote, version 4, signed with ECDSA on P-256.
//!
//! Source: Intel, "TDX DCAP: Quote Generation Library and Quote Verification Library", appendix 3 (quote format), and the
//! TDX Module ABI specification for the TD report. All integers are little-endian.
//!
//! ```text
//! offset  bytes  field
//!      0     48  header: version, attestation key type, TEE type, 4 reserved, QE vendor id, 20 user data
//!     48    584  TD report
//!    632      4  length of what follows
//!    636     64  signature of bytes 0..632 by the attestation key (r, s)
//!    700     64  attestation key (x, y)
//!    764      6  certification data: type 6, length
//!    770    384  QE report
//!   1154     64  signature of the QE report by the PCK key
//!   1218      2  length of the QE authentication data, then that data
//!      .      6  certification data: type 5, length, then the PCK certificate chain in PEM
//! ```
//!
//! Decoding is bounded, copies no more than it reads, and judges nothing: a decoded quote is a claim. A layout that is
//! not the above is an error; so is every byte too many, since bytes that no signature covers identify nothing.

/// Bytes of the longest quote accepted. Genuine ones have about 5,000.
pub const QUOTE_LIMIT: usize = 16 * 1024;

const HEADER_LENGTH: usize = 48;
const REPORT_LENGTH: usize = 584;
/// Header and TD report: what the attestation key signs.
const SIGNED_LENGTH: usize = HEADER_LENGTH + REPORT_LENGTH;
const QE_REPORT_LENGTH: usize = 384;

/// Why bytes are not a TDX quote of version 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// A version other than 4.
    #[error("quote version {0} is not supported, only 4")]
    Version(u16),
    /// An attestation key that is not ECDSA on P-256.
    #[error("attestation key type {0} is not supported, only 2 (ECDSA on P-256)")]
    AttestationKeyType(u16),
    /// Not TDX.
    #[error("TEE type {0:#x} is not supported, only 0x81 (TDX)")]
    TeeType(u32),
    /// Outer certification data that is not a QE report, or inner that is not a chain of certificates.
    #[error("certification data type {0} is not supported, only 5 inside 6")]
    CertificationType(u16),
}

/// A decoded quote: claims, not facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteV4<'a> {
    /// Header and TD report as signed.
    pub signed: &'a [u8],
    /// Header bytes 8..12: security versions of QE and PCE for SGX, reserved for TDX.
    pub header_reserved: [u8; 4],
    /// Who made the quoting enclave.
    pub qe_vendor_id: [u8; 16],
    /// 16 bytes that name the platform to its own QE, then 4 that are unused.
    pub user_data: [u8; 20],
    /// What the TDX module reported about the virtual machine.
    pub report: TdReport,
    /// Signature of `signed` by the attestation key.
    pub signature: [u8; 64],
    /// The key that the quoting enclave made for attestation.
    pub attestation_key: [u8; 64],
    /// The report of the quoting enclave, as signed.
    pub qe_report_bytes: &'a [u8],
    /// The report of the quoting enclave.
    pub qe_report: QeReport,
    /// Signature of `qe_report_bytes` by the PCK key.
    pub qe_report_signature: [u8; 64],
    /// What the QE report's data commits beside the attestation key.
    pub qe_authentication_data: &'a [u8],
    /// PEM of PCK certificate, PCK authority, root.
    pub pck_chain: &'a [u8],
}

/// The report of a trust domain (TDREPORT as quoted by TDX 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct TdReport {
    pub tee_tcb_svn: [u8; 16],
    pub mr_seam: [u8; 48],
    pub mr_signer_seam: [u8; 48],
    pub seam_attributes: [u8; 8],
    pub td_attributes: [u8; 8],
    pub xfam: [u8; 8],
    pub mr_td: [u8; 48],
    pub mr_config_id: [u8; 48],
    pub mr_owner: [u8; 48],
    pub mr_owner_config: [u8; 48],
    pub rtmr: [[u8; 48]; 4],
    pub report_data: [u8; 64],
}

/// The report of the quoting enclave (an SGX REPORT body).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct QeReport {
    pub cpu_svn: [u8; 16],
    pub misc_select: [u8; 4],
    pub attributes: [u8; 16],
    pub mr_enclave: [u8; 32],
    pub mr_signer: [u8; 32],
    pub isv_prod_id: u16,
    pub isv_svn: u16,
    pub report_data: [u8; 64],
    /// Whether every reserved byte is zero.
    pub reserved_is_zero: bool,
}

/// Decodes a quote without padding behind it.
pub fn decode_quote(bytes: &[u8]) -> Result<QuoteV4<'_>, DecodeError> {
    if bytes.len() > QUOTE_LIMIT {
        return Err(DecodeError::TooLong);
    }
    let mut input = Cursor(bytes);
    let version = input.u16()?;
    if version != 4 {
        return Err(DecodeError::Version(version));
    }
    let attestation_key_type = input.u16()?;
    if attestation_key_type != 2 {
        return Err(DecodeError::AttestationKeyType(attestation_key_type));
    }
    let tee_type = input.u32()?;
    if tee_type != 0x81 {
        return Err(DecodeError::TeeType(tee_type));
    }
    let header_reserved = input.array()?;
    let qe_vendor_id = input.array()?;
    let user_data = input.array()?;
    let report = decode_td_report(&mut input)?;

    let mut input = input.sized_rest()?;
    let signature = input.array()?;
    let attestation_key = input.array()?;
    let mut certification = input.certification(6)?;
    input.finish()?;

    let qe_report_bytes = certification.slice(QE_REPORT_LENGTH)?;
    let qe_report = decode_qe_report(qe_report_bytes)?;
    let qe_report_signature = certification.array()?;
    let length = certification.u16()?;
    let qe_authentication_data = certification.slice(usize::from(length))?;
    let pck_chain = certification.certification(5)?.0;
    certification.finish()?;

    Ok(QuoteV4 {
        signed: bytes.get(..SIGNED_LENGTH).ok_or(DecodeError::TooShort)?,
        header_reserved,
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
    input.slice(SIGNED_LENGTH)?;
    let length = input.u32()? as usize;
    let end = (SIGNED_LENGTH + 4).checked_add(length).ok_or(DecodeError::TooLong)?;
    let (quote, padding) = bytes.split_at_checked(end).ok_or(DecodeError::TooShort)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::TrailingBytes);
    }
    Ok(quote)
}

fn decode_td_report(input: &mut Cursor<'_>) -> Result<TdReport, DecodeError> {
    Ok(TdReport {
        tee_tcb_svn: input.array()?,
        mr_seam: input.array()?,
        mr_signer_seam: input.array()?,
        seam_attributes: input.array()?,
        td_attributes: input.array()?,
        xfam: input.array()?,
        mr_td: input.array()?,
        mr_config_id: input.array()?,
        mr_owner: input.array()?,
        mr_owner_config: input.array()?,
        rtmr: [input.array()?, input.array()?, input.array()?, input.array()?],
        report_data: input.array()?,
    })
}

fn decode_qe_report(bytes: &[u8]) -> Result<QeReport, DecodeError> {
    let mut input = Cursor(bytes);
    let mut reserved_is_zero = true;
    let mut reserved = |input: &mut Cursor<'_>, length: usize| -> Result<(), DecodeError> {
        reserved_is_zero &= input.slice(length)?.iter().all(|byte| *byte == 0);
        Ok(())
    };
    let cpu_svn = input.array()?;
    let misc_select = input.array()?;
    reserved(&mut input, 28)?;
    let attributes = input.array()?;
    let mr_enclave = input.array()?;
    reserved(&mut input, 32)?;
    let mr_signer = input.array()?;
    reserved(&mut input, 96)?;
    let isv_prod_id = input.u16()?;
    let isv_svn = input.u16()?;
    reserved(&mut input, 60)?;
    let report_data = input.array()?;
    input.finish()?;
    Ok(QeReport {
        cpu_svn,
        misc_select,
        attributes,
        mr_enclave,
        mr_signer,
        isv_prod_id,
        isv_svn,
        report_data,
        reserved_is_zero,
    })
}

/// The bytes not read yet.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn slice(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::TooShort)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DecodeError> {
        self.slice(LENGTH)?.try_into().map_err(|_| DecodeError::TooShort)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
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
