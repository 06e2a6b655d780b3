//! SIGSTRUCT: what an SGX enclave's signer signed, and the report that the enclave will have.
//!
//! Source: Intel SDM volume 3D, SIGSTRUCT and EINIT. 1808 bytes, little-endian:
//!
//! ```text
//!    0  header, vendor, date, header2, SWDEFINED, reserved          signed
//!  128  modulus of 384 bytes; 512 exponent; 516 signature
//!  900  MISCSELECT, its mask; 908 CET_ATTRIBUTES, its mask           signed, as all to 1028
//!  912  ISVFAMILYID; 928 ATTRIBUTES (FLAGS, XFRM); 944 their mask
//!  960  ENCLAVEHASH, which is MRENCLAVE; 1008 ISVEXTPRODID; 1024 ISVPRODID; 1026 ISVSVN
//! 1040  Q1, Q2: quotients by which a processor checks the signature
//! ```
//!
//! A processor starts an enclave whose fields are the signed ones in the bits of the masks; in the others whoever launches it chooses. So a
//! SIGSTRUCT stands for one measurement only if no mask leaves a bit open, which [`Sigstruct::enclave`] asks.
//!
//! Whoever wrote the file controls it. [`decode_sigstruct`] allocates no more than numbers of 768 bytes, and takes what a processor would: one
//! layout, the signature by the key inside. That says nothing of whose key it is: MRSIGNER does. Does not compute MRENCLAVE.

use super::{array, slice, u16_at, u32_at, u64_at};
use num_bigint::BigUint;
use phala_attest::{check_enclave, EnclaveReport, Refusal};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Bytes of a SIGSTRUCT.
pub const SIGSTRUCT_LENGTH: usize = 1_808;

const HEADER: [u8; 16] = [6, 0, 0, 0, 0xe1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
const HEADER_2: [u8; 16] = [1, 1, 0, 0, 0x60, 0, 0, 0, 0x60, 0, 0, 0, 1, 0, 0, 0];
/// Vendors that a processor takes: none, and Intel.
const VENDORS: [u32; 2] = [0, 0x8086];
/// Bytes of a number of RSA-3072.
const NUMBER: usize = 384;
/// Where bytes are reserved, and how many.
const RESERVED: [(usize, usize); 4] = [(44, 84), (910, 2), (992, 16), (1_028, 12)];
/// DigestInfo of SHA-256, in DER, without the hash.
const DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// Bytes of ones before it: the number has three others, and the hash.
const PADDING: usize = NUMBER - 3 - DIGEST_INFO.len() - 32;

/// INIT: of a report, and of no enclave before its launch.
const INIT: u64 = 1;
/// Key Separation and Sharing.
const KSS: u64 = 1 << 7;

/// A field whose bits a mask fixes or leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masked {
    /// ATTRIBUTES.FLAGS.
    Flags,
    /// ATTRIBUTES.XFRM.
    Xfrm,
    /// MISCSELECT.
    MiscSelect,
}

impl Masked {
    const fn name(self) -> &'static str {
        match self {
            Self::Flags => "ATTRIBUTES.FLAGS",
            Self::Xfrm => "ATTRIBUTES.XFRM",
            Self::MiscSelect => "MISCSELECT",
        }
    }

    /// What a bit is called, if it has a name.
    const fn bit(self, bit: u32) -> Option<&'static str> {
        Some(match (self, bit) {
            (Self::Flags, 1) => "DEBUG",
            (Self::Flags, 2) => "MODE64BIT",
            (Self::Flags, 4) => "PROVISIONKEY",
            (Self::Flags, 5) => "EINITTOKENKEY",
            (Self::Flags, 6) => "CET",
            (Self::Flags, 7) => "KSS",
            (Self::Flags, 10) => "AEXNOTIFY",
            (Self::Xfrm, 0) => "x87",
            (Self::Xfrm, 1) => "SSE",
            (Self::Xfrm, 2) => "AVX",
            (Self::Xfrm, 3 | 4) => "MPX",
            (Self::Xfrm, 5..=7) => "AVX-512",
            (Self::Xfrm, 9) => "PKRU",
            (Self::Xfrm, 11 | 12) => "CET",
            (Self::Xfrm, 17 | 18) => "AMX",
            (Self::MiscSelect, 0) => "EXINFO",
            (Self::MiscSelect, 1) => "CPINFO",
            _ => return None,
        })
    }
}

/// Bits of a field that a mask leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBits {
    /// Of which field.
    pub field: Masked,
    /// Which.
    pub bits: u64,
}

impl fmt::Display for OpenBits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = (0..u64::BITS).filter(|bit| (self.bits >> bit) & 1 == 1);
        let named =
            open.map(|bit| self.field.bit(bit).map_or(format!("bit {bit}"), |name| format!("{name} (bit {bit})")));
        // A mask of zeros would be a line of 64.
        let mut named: Vec<String> = named.collect();
        let all = named.len();
        if all > 12 {
            named.truncate(12);
            named.push(format!("and {} more", all.saturating_sub(12)));
        }
        write!(formatter, "{}: {}", self.field.name(), named.join(", "))
    }
}

/// Why bytes are no SIGSTRUCT that a processor takes, or stand for no one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigstructFault {
    /// Another length.
    #[error("it has another length than 1808 bytes")]
    Length,
    /// Not the headers of a SIGSTRUCT, or a vendor that no processor takes.
    #[error("it does not have the headers of a SIGSTRUCT")]
    Header,
    /// Reserved bytes that are not zero.
    #[error("its reserved bytes are not zero")]
    Reserved,
    /// Not an RSA-3072 key with the exponent 3.
    #[error("its key is none of RSA-3072 with the exponent 3")]
    Key,
    /// The key did not sign these fields.
    #[error("its signature is not its key's over these fields")]
    Signature,
    /// Q1 or Q2 is another: no processor takes the signature.
    #[error("its quotients q1 and q2 are not those of its signature: no processor takes it")]
    Quotients,
    /// A mask leaves bits open that are in the measurement.
    #[error("a mask leaves to whoever launches it what the measurement fixes: {0}")]
    Open(OpenBits),
    /// INIT in ATTRIBUTES, which no enclave has when it is launched.
    #[error("its attributes have INIT, which no enclave has when it is launched")]
    Init,
    /// CET_ATTRIBUTES are set, which are in no measurement.
    #[error("its CET_ATTRIBUTES are not zero: the verifier refuses such an enclave")]
    Cet,
    /// KSS is on, and what whoever launches it names is not known.
    #[error("it has KSS: CONFIGID and CONFIGSVN are chosen at its launch, and are in the measurement, so they have to be given")]
    Configuration,
    /// The verifier would refuse the enclave's evidence.
    #[error("the verifier refuses such an enclave: {0}")]
    Refused(#[source] Refusal),
}

/// What is chosen at the launch of an enclave with Key Separation and Sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// CONFIGID.
    pub id: [u8; 64],
    /// CONFIGSVN.
    pub svn: u16,
}

/// The signed fields, and whose key it was. Only of [`decode_sigstruct`]'s is it known that it signed them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct Sigstruct {
    /// SHA-256 of the modulus.
    pub mr_signer: [u8; 32],
    pub misc_select: u32,
    pub misc_mask: u32,
    pub cet_attributes: u8,
    pub isv_family_id: [u8; 16],
    pub flags: u64,
    pub xfrm: u64,
    pub flags_mask: u64,
    pub xfrm_mask: u64,
    /// ENCLAVEHASH.
    pub mr_enclave: [u8; 32],
    pub isv_ext_prod_id: [u8; 16],
    pub isv_prod_id: u16,
    pub isv_svn: u16,
}

/// A SIGSTRUCT out of exactly these bytes, as Gramine writes it into a file with the ending `.sig`.
///
/// # Errors
/// A length, a layout, a key or a signature that no processor takes.
pub fn decode_sigstruct(bytes: &[u8]) -> Result<Sigstruct, SigstructFault> {
    if bytes.len() != SIGSTRUCT_LENGTH {
        return Err(SigstructFault::Length);
    }
    let fields = fields(bytes).ok_or(SigstructFault::Length)?;
    let headers = (array(bytes, 0), array(bytes, 24));
    if headers != (Some(HEADER), Some(HEADER_2)) || !u32_at(bytes, 16).is_some_and(|vendor| VENDORS.contains(&vendor)) {
        return Err(SigstructFault::Header);
    }
    let is_zero = |(at, length)| slice(bytes, at, length).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
    if !RESERVED.into_iter().all(is_zero) {
        return Err(SigstructFault::Reserved);
    }
    check_signature(bytes)?;
    Ok(fields)
}

fn fields(bytes: &[u8]) -> Option<Sigstruct> {
    Some(Sigstruct {
        mr_signer: Sha256::digest(slice(bytes, 128, NUMBER)?).into(),
        misc_select: u32_at(bytes, 900)?,
        misc_mask: u32_at(bytes, 904)?,
        cet_attributes: *bytes.get(908)?,
        isv_family_id: array(bytes, 912)?,
        flags: u64_at(bytes, 928)?,
        xfrm: u64_at(bytes, 936)?,
        flags_mask: u64_at(bytes, 944)?,
        xfrm_mask: u64_at(bytes, 952)?,
        mr_enclave: array(bytes, 960)?,
        isv_ext_prod_id: array(bytes, 1_008)?,
        isv_prod_id: u16_at(bytes, 1_024)?,
        isv_svn: u16_at(bytes, 1_026)?,
    })
}

/// RSASSA-PKCS1-v1_5 with SHA-256, and the quotients on the way to it: Q1 = s² / n, Q2 = (s² mod n) s / n.
fn check_signature(bytes: &[u8]) -> Result<(), SigstructFault> {
    let number = |at| slice(bytes, at, NUMBER).map(BigUint::from_bytes_le).ok_or(SigstructFault::Length);
    let (modulus, signature, q1, q2) = (number(128)?, number(516)?, number(1_040)?, number(1_424)?);
    if modulus.bits() != 3_072 || u32_at(bytes, 512) != Some(3) {
        return Err(SigstructFault::Key);
    }
    if signature >= modulus {
        return Err(SigstructFault::Signature);
    }
    let square = &signature * &signature;
    let cube = &(&square % &modulus) * &signature;
    let (head, body) = (slice(bytes, 0, 128), slice(bytes, 900, 128));
    let (Some(head), Some(body)) = (head, body) else { return Err(SigstructFault::Length) };
    let hash = Sha256::new().chain_update(head).chain_update(body).finalize();
    let padded = [&[0, 1][..], &[0xff; PADDING], &[0], &DIGEST_INFO, hash.as_slice()].concat();
    if &cube % &modulus != BigUint::from_bytes_be(&padded) {
        return Err(SigstructFault::Signature);
    }
    if &square / &modulus != q1 || &cube / &modulus != q2 {
        return Err(SigstructFault::Quotients);
    }
    Ok(())
}

impl Sigstruct {
    /// The report that the launched enclave has, as far as it is in the measurement: [`phala_attest::enclave_measurement`] of it is what the
    /// allow-list names. `configuration` is for enclaves with KSS alone.
    ///
    /// # Errors
    /// A mask that leaves open what the measurement fixes, something that the signer did not decide, or an enclave that the verifier refuses.
    pub fn enclave(&self, configuration: Option<Configuration>) -> Result<EnclaveReport, SigstructFault> {
        // INIT is not compared: the processor sets it afterwards.
        let masks = [
            (Masked::Flags, !self.flags_mask & !INIT),
            (Masked::Xfrm, !self.xfrm_mask),
            (Masked::MiscSelect, u64::from(!self.misc_mask)),
        ];
        if let Some((field, bits)) = masks.into_iter().find(|(_, open)| *open != 0) {
            return Err(SigstructFault::Open(OpenBits { field, bits }));
        }
        if self.flags & INIT != 0 {
            return Err(SigstructFault::Init);
        }
        if self.cet_attributes != 0 {
            return Err(SigstructFault::Cet);
        }
        if self.flags & KSS != 0 && configuration.is_none() {
            return Err(SigstructFault::Configuration);
        }
        let Configuration { id, svn } = configuration.unwrap_or(Configuration { id: [0; 64], svn: 0 });
        let mut attributes = [0; 16];
        let halves = [(self.flags | INIT).to_le_bytes(), self.xfrm.to_le_bytes()];
        attributes.iter_mut().zip(halves.as_flattened()).for_each(|(to, from)| *to = *from);
        let report = EnclaveReport {
            cpu_svn: [0; 16],
            misc_select: self.misc_select.to_le_bytes(),
            isv_ext_prod_id: self.isv_ext_prod_id,
            attributes,
            mr_enclave: self.mr_enclave,
            mr_signer: self.mr_signer,
            config_id: id,
            isv_prod_id: self.isv_prod_id,
            isv_svn: self.isv_svn,
            config_svn: svn,
            isv_family_id: self.isv_family_id,
            report_data: [0; 64],
            reserved_is_zero: true,
        };
        check_enclave(&report).map_err(SigstructFault::Refused)?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
