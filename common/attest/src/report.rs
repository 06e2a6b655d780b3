//! The reports inside a quote: what hardware says about an enclave (SGX) or a trust domain (TDX).
//!
//! Source: Intel SDM volume 3D (SGX REPORT), the TDX Module ABI specification and `sgx_quote_5.h` (TD reports 1.0, 1.5 and 1.5
//! extended). Fixed layouts, little-endian. Decoding judges nothing and allocates nothing; the bytes come from the attacker.

use crate::quote::{Cursor, DecodeError};

/// Bytes of an SGX report body.
pub(crate) const ENCLAVE_REPORT_LENGTH: usize = 384;
/// Bytes of a TD report 1.0.
pub(crate) const TD_REPORT_LENGTH: usize = 584;
/// Bytes of a TD report 1.0, of a TD report 1.5 (with [`TdReport15`]) and of an extended one (with [`TdReport15Extended`]).
pub(crate) const TD_REPORT_LENGTHS: [usize; 3] = [TD_REPORT_LENGTH, 648, 885];

/// What a quote is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "decoding allocates nothing, and reports are not kept")]
pub enum Report {
    /// An SGX enclave: quote version 3.
    Enclave(EnclaveReport),
    /// A trust domain: quote version 4 and body type 2 of version 5; with what body types 3 and 4 of version 5 add.
    Td(TdReport, Option<TdReport15>),
}

impl Report {
    /// The 64 bytes that the enclave or trust domain asked to have certified.
    pub const fn report_data(&self) -> &[u8; 64] {
        match self {
            Self::Enclave(report) => &report.report_data,
            Self::Td(report, _) => &report.report_data,
        }
    }

    /// The trust domain, if it is one.
    pub const fn td(&self) -> Option<&TdReport> {
        match self {
            Self::Enclave(_) => None,
            Self::Td(report, _) => Some(report),
        }
    }
}

/// An SGX REPORT body: of the attested enclave, and of the quoting enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct EnclaveReport {
    pub cpu_svn: [u8; 16],
    pub misc_select: [u8; 4],
    pub isv_ext_prod_id: [u8; 16],
    /// FLAGS and XFRM, 8 bytes each.
    pub attributes: [u8; 16],
    pub mr_enclave: [u8; 32],
    pub mr_signer: [u8; 32],
    pub config_id: [u8; 64],
    pub isv_prod_id: u16,
    pub isv_svn: u16,
    pub config_svn: u16,
    pub isv_family_id: [u8; 16],
    pub report_data: [u8; 64],
    /// Whether every reserved byte is zero.
    pub reserved_is_zero: bool,
}

impl EnclaveReport {
    /// The FLAGS half of the attributes.
    pub(crate) fn flags(&self) -> u64 {
        self.attributes.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// The XFRM half of the attributes.
    pub(crate) fn xfrm(&self) -> u64 {
        self.attributes.iter().skip(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// Whether the fields of Key Separation and Sharing are all zero, as they are in an enclave without that attribute.
    pub(crate) fn kss_is_zero(&self) -> bool {
        self.isv_ext_prod_id == [0; 16]
            && self.config_id == [0; 64]
            && self.config_svn == 0
            && self.isv_family_id == [0; 16]
    }
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

/// What TDX 1.5 adds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct TdReport15 {
    /// Security versions of the TDX module that runs now; `tee_tcb_svn` are those at launch.
    pub tee_tcb_svn_2: [u8; 16],
    pub mr_service_td: [u8; 48],
    /// What body type 4 adds.
    pub extended: Option<TdReport15Extended>,
}

/// What the extended report of TDX 1.5 adds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct TdReport15Extended {
    /// Which virtual machine inside the TD asked: 0 is the TD itself.
    pub vm_id: u8,
    /// Names this instance: made anew at each launch, kept over updates of the module.
    pub td_id: [u8; 32],
    /// Hash of the devices assigned to the TD.
    pub dev_info: [u8; 48],
    pub init_service_td_hash: [u8; 48],
    pub init_service_td_attributes: [u8; 8],
    pub init_cpu_svn: [u8; 16],
    pub init_tee_tcb_svn: [u8; 16],
    pub init_tee_fmspc: [u8; 12],
    pub cur_service_td_hash: [u8; 48],
    pub cur_service_td_attributes: [u8; 8],
}

pub(crate) fn decode_enclave_report(input: &mut Cursor<'_>) -> Result<EnclaveReport, DecodeError> {
    let mut reserved_is_zero = true;
    let mut reserved = |input: &mut Cursor<'_>, length: usize| -> Result<(), DecodeError> {
        reserved_is_zero &= input.slice(length)?.iter().all(|byte| *byte == 0);
        Ok(())
    };
    let cpu_svn = input.array()?;
    let misc_select = input.array()?;
    reserved(input, 12)?;
    let isv_ext_prod_id = input.array()?;
    let attributes = input.array()?;
    let mr_enclave = input.array()?;
    reserved(input, 32)?;
    let mr_signer = input.array()?;
    reserved(input, 32)?;
    let config_id = input.array()?;
    let isv_prod_id = input.u16()?;
    let isv_svn = input.u16()?;
    let config_svn = input.u16()?;
    reserved(input, 42)?;
    let isv_family_id = input.array()?;
    let report_data = input.array()?;
    Ok(EnclaveReport {
        cpu_svn,
        misc_select,
        isv_ext_prod_id,
        attributes,
        mr_enclave,
        mr_signer,
        config_id,
        isv_prod_id,
        isv_svn,
        config_svn,
        isv_family_id,
        report_data,
        reserved_is_zero,
    })
}

pub(crate) fn decode_td_report(input: &mut Cursor<'_>) -> Result<TdReport, DecodeError> {
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

/// The body of a version 5 quote: its type, its length and a TD report.
pub(crate) fn decode_typed_body(input: &mut Cursor<'_>) -> Result<Report, DecodeError> {
    let body_type = input.u16()?;
    let [td_10, td_15, td_15_extended] = TD_REPORT_LENGTHS;
    let expected = match body_type {
        2 => td_10,
        3 => td_15,
        4 => td_15_extended,
        _ => return Err(DecodeError::BodyType(body_type)),
    };
    let length = input.u32()?;
    if length as usize != expected {
        return Err(DecodeError::BodyLength(length));
    }
    let report = decode_td_report(input)?;
    if body_type == 2 {
        return Ok(Report::Td(report, None));
    }
    let (tee_tcb_svn_2, mr_service_td) = (input.array()?, input.array()?);
    let extended = match body_type {
        4 => Some(decode_extended(input)?),
        _ => None,
    };
    Ok(Report::Td(report, Some(TdReport15 { tee_tcb_svn_2, mr_service_td, extended })))
}

fn decode_extended(input: &mut Cursor<'_>) -> Result<TdReport15Extended, DecodeError> {
    let [vm_id] = input.array()?;
    Ok(TdReport15Extended {
        vm_id,
        td_id: input.array()?,
        dev_info: input.array()?,
        init_service_td_hash: input.array()?,
        init_service_td_attributes: input.array()?,
        init_cpu_svn: input.array()?,
        init_tee_tcb_svn: input.array()?,
        init_tee_fmspc: input.array()?,
        cur_service_td_hash: input.array()?,
        cur_service_td_attributes: input.array()?,
    })
}
