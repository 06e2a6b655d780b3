//! A simulated machine: what it measures, and the quotes it signs in the genuine format (`quote.rs`). The machine of a network is
//! a TDX one with quotes of version 4; the other formats are there for tests of the verifier.

use phala_attest::{Collateral, TdReport, TdReport15, TdReport15Extended};
use rcgen::CertificateParams;
use sha2::{Digest, Sha256, Sha384};

use crate::{
    documents::{qe_identity_json, tcb_info_json, Window},
    extension::Processor,
    pki::{InsecureKey, InsecureVendor, PkiError, Revoked},
    quote::{QuoteFormat, QuoteParts},
};

/// Security versions of the simulated TDX module: version 1.
pub(crate) const TEE_TCB_SVN: [u8; 16] = [6, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Signer of the simulated quoting enclaves: text, so that a look at it tells.
pub(crate) const QE_MR_SIGNER: [u8; 32] = *b"INSECURE simulated TDX quoting e";

/// Everything a quote says besides its keys. Public, so that a test can say something wrong and sign it well.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct QuoteFields {
    pub header_reserved: [u8; 4],
    pub qe_vendor_id: [u8; 16],
    pub user_data: [u8; 20],
    pub report: TdReport,
    pub qe_misc_select: [u8; 4],
    pub qe_reserved: [u8; 28],
    pub qe_attributes: [u8; 16],
    pub qe_mr_signer: [u8; 32],
    pub qe_isv_prod_id: u16,
    pub qe_isv_svn: u16,
    pub qe_report_data_tail: [u8; 32],
    pub qe_authentication_data: Vec<u8>,
}

/// The keys of one processor, with its chain.
#[derive(Clone)]
pub struct QuoteSigner {
    attestation: InsecureKey,
    pck: InsecureKey,
    chain: String,
}

/// A simulated machine with its collateral.
pub struct InsecureMachine {
    name: String,
    fields: QuoteFields,
    signer: QuoteSigner,
    window: Window,
    collateral: Collateral,
    sealing_key: [u8; 32],
}

/// RTMR3 of a machine that runs `binary`: a register of zeros, extended once by the SHA-384 of the binary.
///
/// The arithmetic is the hardware's (new = SHA-384(old || digest)). On a real machine the boot chain extends RTMR0 to
/// RTMR2 first; here they are constants, and only this register changes with the binary.
pub fn rtmr3_of(binary: &[u8]) -> [u8; 48] {
    Sha384::new().chain_update([0; 48]).chain_update(Sha384::digest(binary)).finalize().into()
}

impl QuoteFields {
    /// What the up-to-date simulated machine says when it runs `binary`.
    pub fn of(binary: &[u8]) -> Self {
        let constant = |text: &str| -> [u8; 48] { Sha384::digest(format!("INSECURE: simulated {text}")).into() };
        Self {
            header_reserved: [0; 4],
            qe_vendor_id: [
                0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
            ],
            user_data: [0; 20],
            report: TdReport {
                tee_tcb_svn: TEE_TCB_SVN,
                mr_seam: constant("TDX module"),
                mr_signer_seam: [0; 48],
                seam_attributes: [0; 8],
                td_attributes: (1u64 << 28).to_le_bytes(),
                xfam: 0x0006_02e7_u64.to_le_bytes(),
                mr_td: constant("firmware"),
                mr_config_id: [0; 48],
                mr_owner: [0; 48],
                mr_owner_config: [0; 48],
                rtmr: [
                    constant("firmware configuration"),
                    constant("kernel"),
                    constant("initial file system"),
                    rtmr3_of(binary),
                ],
                report_data: [0; 64],
            },
            qe_misc_select: [0; 4],
            qe_reserved: [0; 28],
            qe_attributes: [0x15, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0],
            qe_mr_signer: QE_MR_SIGNER,
            qe_isv_prod_id: 2,
            qe_isv_svn: 4,
            qe_report_data_tail: [0; 32],
            qe_authentication_data: (0..32).collect(),
        }
    }

    /// What the same machine says beside it in the longest report, of quotes of version 5.
    pub fn td_15(&self) -> TdReport15 {
        TdReport15 {
            tee_tcb_svn_2: self.report.tee_tcb_svn,
            mr_service_td: [0; 48],
            extended: Some(TdReport15Extended {
                vm_id: 0,
                td_id: [0x1d; 32],
                dev_info: [0; 48],
                init_service_td_hash: [0; 48],
                init_service_td_attributes: [0; 8],
                init_cpu_svn: [0; 16],
                init_tee_tcb_svn: [0; 16],
                init_tee_fmspc: [0; 12],
                cur_service_td_hash: [0; 48],
                cur_service_td_attributes: [0; 8],
            }),
        }
    }
}

impl QuoteSigner {
    /// The keys of `processor`, certified by `vendor`.
    pub fn new(vendor: &InsecureVendor, processor: &Processor) -> Result<Self, PkiError> {
        Self::with_altered_certificate(vendor, processor, |_| ())
    }

    /// [`Self::new`], with the PCK certificate altered before it is signed: for tests.
    pub fn with_altered_certificate(
        vendor: &InsecureVendor,
        processor: &Processor,
        alter: impl FnOnce(&mut CertificateParams),
    ) -> Result<Self, PkiError> {
        let (pck, chain) = vendor.certify(processor, alter)?;
        let attestation = InsecureKey::derive(&format!(
            "INSECURE: the attestation key of the simulated processor {}.",
            hex::encode(processor.ppid)
        ))?;
        Ok(Self { attestation, pck, chain })
    }

    /// The attestation key of one, the PCK key of another and the chain of a third: for tests.
    pub fn mixed(attestation: &Self, pck: &Self, chain: &Self) -> Self {
        Self { attestation: attestation.attestation.clone(), pck: pck.pck.clone(), chain: chain.chain.clone() }
    }

    /// Signs `fields` as a quote of version 4.
    pub fn sign(&self, fields: &QuoteFields) -> Vec<u8> {
        self.sign_parts(&self.parts(fields, &QuoteFormat::TdxV4))
    }

    /// What is signed when `fields` become a quote in `format`.
    pub fn parts(&self, fields: &QuoteFields, format: &QuoteFormat) -> QuoteParts {
        QuoteParts::new(fields, format, &self.attestation.public())
    }

    /// Signs parts as they are, and puts them together.
    pub fn sign_parts(&self, parts: &QuoteParts) -> Vec<u8> {
        parts.assemble(
            &self.attestation.sign_raw(&parts.signed),
            &self.attestation.public(),
            &self.pck.sign_raw(&parts.qe_report),
            self.chain.as_bytes(),
        )
    }
}

fn collateral(vendor: &InsecureVendor, window: Window) -> Result<Collateral, PkiError> {
    vendor.collateral(window, &tcb_info_json(window)?, &qe_identity_json(window)?, &Revoked::default())
}

impl InsecureMachine {
    /// The machine called `name`, running `binary`, with collateral around `now` (Unix seconds).
    pub fn new(name: &str, binary: &[u8], now: u64) -> Result<Self, PkiError> {
        let vendor = InsecureVendor::new()?;
        let window = Window::around(now);
        let fields = QuoteFields::of(binary);
        let sealing_key = Sha256::new()
            .chain_update("INSECURE: simulated sealing key")
            .chain_update(Sha256::digest(name))
            .chain_update(phala_attest::measurement(&fields.report))
            .finalize()
            .into();
        Ok(Self {
            name: name.to_string(),
            fields,
            signer: QuoteSigner::new(&vendor, &Processor::named(name))?,
            collateral: collateral(&vendor, window)?,
            window,
            sealing_key,
        })
    }

    /// Makes new collateral when at `now` (Unix seconds) half of the time of what it has is over, or the clock went back before
    /// it: a vendor renews in time, and a machine may run, or sleep, for longer than collateral holds. Says whether it did.
    pub fn renew_collateral(&mut self, now: u64) -> Result<bool, PkiError> {
        let half = self.window.start / 2 + self.window.end / 2;
        if (self.window.start..half).contains(&now) {
            return Ok(false);
        }
        let window = Window::around(now);
        self.collateral = collateral(&InsecureVendor::new()?, window)?;
        self.window = window;
        Ok(true)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The measurement that its quotes verify to.
    pub fn measurement(&self) -> [u8; 32] {
        phala_attest::measurement(&self.fields.report)
    }

    /// A quote over `report_data`.
    pub fn quote(&self, report_data: [u8; 64]) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.report.report_data = report_data;
        self.signer.sign(&fields)
    }

    /// Collateral that its quotes verify with, and those of every other simulated machine.
    pub const fn collateral(&self) -> &Collateral {
        &self.collateral
    }

    /// INSECURE: the key it "seals" with. The same for the same machine and binary, another for another; secret from nobody.
    pub const fn sealing_key(&self) -> [u8; 32] {
        self.sealing_key
    }
}
