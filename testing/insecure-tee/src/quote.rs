//! The bytes of a quote in Intel's formats: SGX version 3, TDX versions 4 and 5.
//!
//! Written apart from the verifier's decoder, from the same sources, so that a test of one meets the other. Signs nothing and
//! checks nothing: [`crate::QuoteSigner`] signs, and a test may alter any byte before it does.

use phala_attest::{EnclaveReport, TdReport, TdReport15};
use sha2::{Digest, Sha256};

use crate::machine::QuoteFields;

/// Which of Intel's formats.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a test makes a few of them")]
pub enum QuoteFormat {
    /// TDX, version 4.
    TdxV4,
    /// TDX, version 5: a TD report 1.0, or 1.5 with this.
    TdxV5(Option<TdReport15>),
    /// SGX, version 3, about this enclave instead of the fields' trust domain.
    SgxV3(EnclaveReport),
}

/// A quote before it is signed.
#[derive(Clone, Debug)]
pub struct QuoteParts {
    /// Header and report: what the attestation key signs.
    pub signed: Vec<u8>,
    /// The quoting enclave's report: what the PCK key signs.
    pub qe_report: Vec<u8>,
    /// What that report binds beside the attestation key.
    pub qe_authentication_data: Vec<u8>,
    /// Whether the QE report is inside certification data of type 6, as versions 4 and 5 have it.
    pub nested: bool,
}

impl QuoteParts {
    pub(crate) fn new(fields: &QuoteFields, format: &QuoteFormat, attestation_key: &[u8; 64]) -> Self {
        let (version, tee_type): (u16, u32) = match format {
            QuoteFormat::TdxV4 => (4, 0x81),
            QuoteFormat::TdxV5(_) => (5, 0x81),
            QuoteFormat::SgxV3(_) => (3, 0),
        };
        let mut signed = Vec::with_capacity(1_000);
        signed.extend(version.to_le_bytes());
        signed.extend(2u16.to_le_bytes());
        signed.extend(tee_type.to_le_bytes());
        for bytes in [&fields.header_reserved[..], &fields.qe_vendor_id, &fields.user_data] {
            signed.extend(bytes);
        }
        match format {
            QuoteFormat::TdxV4 => signed.extend(td_report(&fields.report)),
            QuoteFormat::TdxV5(later) => {
                let mut body = td_report(&fields.report);
                let mut body_type = 2u16;
                if let Some(later) = later {
                    body_type = if later.extended.is_some() { 4 } else { 3 };
                    body.extend(td_report_15(later));
                }
                signed.extend(body_type.to_le_bytes());
                signed.extend(length32(&body));
                signed.extend(body);
            }
            QuoteFormat::SgxV3(report) => signed.extend(enclave_report(report)),
        }
        Self {
            signed,
            qe_report: qe_report(fields, attestation_key),
            qe_authentication_data: fields.qe_authentication_data.clone(),
            nested: version != 3,
        }
    }

    pub(crate) fn assemble(
        &self,
        signature: &[u8; 64],
        attestation_key: &[u8; 64],
        qe_report_signature: &[u8; 64],
        chain: &[u8],
    ) -> Vec<u8> {
        let mut certification = self.qe_report.clone();
        certification.extend(qe_report_signature);
        certification.extend(length16(&self.qe_authentication_data));
        certification.extend(&self.qe_authentication_data);
        certification.extend(5u16.to_le_bytes());
        certification.extend(length32(chain));
        certification.extend(chain);

        let mut authentication = signature.to_vec();
        authentication.extend(attestation_key);
        if self.nested {
            authentication.extend(6u16.to_le_bytes());
            authentication.extend(length32(&certification));
        }
        authentication.extend(certification);

        let mut quote = self.signed.clone();
        quote.extend(length32(&authentication));
        quote.extend(authentication);
        quote
    }
}

fn td_report(report: &TdReport) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(584);
    for field in [
        &report.tee_tcb_svn[..],
        &report.mr_seam,
        &report.mr_signer_seam,
        &report.seam_attributes,
        &report.td_attributes,
        &report.xfam,
        &report.mr_td,
        &report.mr_config_id,
        &report.mr_owner,
        &report.mr_owner_config,
    ] {
        bytes.extend(field);
    }
    bytes.extend(report.rtmr.concat());
    bytes.extend(report.report_data);
    bytes
}

fn td_report_15(later: &TdReport15) -> Vec<u8> {
    let mut bytes = [&later.tee_tcb_svn_2[..], &later.mr_service_td].concat();
    if let Some(extended) = &later.extended {
        bytes.push(extended.vm_id);
        for field in [
            &extended.td_id[..],
            &extended.dev_info,
            &extended.init_service_td_hash,
            &extended.init_service_td_attributes,
            &extended.init_cpu_svn,
            &extended.init_tee_tcb_svn,
            &extended.init_tee_fmspc,
            &extended.cur_service_td_hash,
            &extended.cur_service_td_attributes,
        ] {
            bytes.extend(field);
        }
    }
    bytes
}

fn enclave_report(report: &EnclaveReport) -> Vec<u8> {
    [
        &report.cpu_svn[..],
        &report.misc_select,
        &[0; 12],
        &report.isv_ext_prod_id,
        &report.attributes,
        &report.mr_enclave,
        &[0; 32],
        &report.mr_signer,
        &[0; 32],
        &report.config_id,
        &report.isv_prod_id.to_le_bytes(),
        &report.isv_svn.to_le_bytes(),
        &report.config_svn.to_le_bytes(),
        &[0; 42],
        &report.isv_family_id,
        &report.report_data,
    ]
    .concat()
}

fn qe_report(fields: &QuoteFields, attestation_key: &[u8; 64]) -> Vec<u8> {
    let bound = Sha256::new().chain_update(attestation_key).chain_update(&fields.qe_authentication_data).finalize();
    [
        &[0; 16][..],
        &fields.qe_misc_select,
        &fields.qe_reserved,
        &fields.qe_attributes,
        &[0; 32 + 32],
        &fields.qe_mr_signer,
        &[0; 96],
        &fields.qe_isv_prod_id.to_le_bytes(),
        &fields.qe_isv_svn.to_le_bytes(),
        &[0; 60],
        bound.as_slice(),
        &fields.qe_report_data_tail,
    ]
    .concat()
}

fn length16(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes()
}

fn length32(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}
