//! What is checked of an SGX enclave, each with a refusal of its own; the signatures around it are `dcap.rs`'s.
//!
//! # The measurement
//!
//! SHA-256 over the domain label `PHALA/attest/sgx-measurement/v1` (its length in one byte before it) and these fields of the
//! report, in this order, at these fixed lengths and little-endian, so that no two enclaves share an input:
//!
//! | field            | bytes | what it identifies |
//! |------------------|-------|--------------------|
//! | MRENCLAVE        | 32    | initial contents |
//! | MRSIGNER         | 32    | whose key signed it |
//! | ISVPRODID        | 2     | which product of that signer |
//! | ISVSVN           | 2     | its security version |
//! | ATTRIBUTES.FLAGS | 8     | how it was configured, and the bits checked below |
//! | ATTRIBUTES.XFRM  | 8     | processor features it may use |
//! | MISCSELECT       | 4     | what the processor reports to it about faults |
//! | CONFIGID         | 64    | configuration its owner named at launch (KSS) |
//! | CONFIGSVN        | 2     | security version of that configuration (KSS) |
//! | ISVEXTPRODID     | 16    | extended product (KSS) |
//! | ISVFAMILYID      | 16    | product family (KSS) |
//!
//! Fields that are *not* launch identity: CPUSVN is the platform's, which is judged by its PCK certificate; REPORTDATA is what the
//! enclave says. Reserved bytes that are not zero are refused. Under Gramine the arguments and the environment are in the manifest,
//! and the manifest is in MRENCLAVE.
//!
//! # Attributes
//!
//! | bit of FLAGS | name           | verdict |
//! |--------------|----------------|---------|
//! | 0            | INIT           | required: the contents are what MRENCLAVE says |
//! | 1            | DEBUG          | refused: the host reads the memory |
//! | 2            | MODE64BIT      | required: no other is reviewed |
//! | 4            | PROVISIONKEY   | refused: the enclave may ask for a key that names its platform over owners |
//! | 5            | EINITTOKENKEY  | refused: a launch enclave |
//! | 6            | CET            | allowed: a defence |
//! | 7            | KSS            | allowed, and required where a field marked so above is not zero |
//! | 10           | AEXNOTIFY      | allowed: a defence against single-stepping |
//! | any other    |                | refused: reserved, or its effect is not reviewed |
//!
//! XFRM: x87 and SSE required; AVX, AVX-512, PKRU and AMX allowed. MISCSELECT: EXINFO (bit 0) allowed: what it adds is written into
//! the enclave's own memory.

use sha2::Digest;

use crate::{dcap::labelled, evidence::Refusal, report::EnclaveReport};

const MEASUREMENT_LABEL: &[u8] = b"PHALA/attest/sgx-measurement/v1";

const INIT: u64 = 1;
pub(crate) const DEBUG: u64 = 1 << 1;
const MODE_64_BIT: u64 = 1 << 2;
const KSS: u64 = 1 << 7;
const FLAGS_REQUIRED: u64 = INIT | MODE_64_BIT;
const FLAGS_ALLOWED: u64 = FLAGS_REQUIRED | 1 << 6 | KSS | 1 << 10;
/// x87 and SSE.
const XFRM_REQUIRED: u64 = 0x3;
/// And AVX, AVX-512 (three bits), PKRU, AMX (two).
const XFRM_ALLOWED: u64 = XFRM_REQUIRED | 1 << 2 | 0b111 << 5 | 1 << 9 | 0b11 << 17;
/// EXINFO.
const MISC_SELECT_ALLOWED: u32 = 1;

/// The measurement of the enclave that `report` claims to be; see the module's table.
pub fn enclave_measurement(report: &EnclaveReport) -> [u8; 32] {
    let mut hash = labelled(MEASUREMENT_LABEL);
    hash.update(report.mr_enclave);
    hash.update(report.mr_signer);
    hash.update(report.isv_prod_id.to_le_bytes());
    hash.update(report.isv_svn.to_le_bytes());
    hash.update(report.attributes);
    hash.update(report.misc_select);
    hash.update(report.config_id);
    hash.update(report.config_svn.to_le_bytes());
    hash.update(report.isv_ext_prod_id);
    hash.update(report.isv_family_id);
    hash.finalize().into()
}

/// Checks what a quote says about an enclave: the rules of the module's tables, and no signature.
///
/// # Errors
/// One of its own for each rule.
pub fn check_enclave(report: &EnclaveReport) -> Result<(), Refusal> {
    let (flags, xfrm) = (report.flags(), report.xfrm());
    if flags & DEBUG != 0 {
        return Err(Refusal::EnclaveDebug);
    }
    if !report.reserved_is_zero {
        return Err(Refusal::EnclaveReserved);
    }
    if flags & FLAGS_REQUIRED != FLAGS_REQUIRED || flags & !FLAGS_ALLOWED != 0 {
        return Err(Refusal::EnclaveAttributes);
    }
    if xfrm & XFRM_REQUIRED != XFRM_REQUIRED || xfrm & !XFRM_ALLOWED != 0 {
        return Err(Refusal::EnclaveXfrm);
    }
    if u32::from_le_bytes(report.misc_select) & !MISC_SELECT_ALLOWED != 0 {
        return Err(Refusal::EnclaveMiscSelect);
    }
    if flags & KSS == 0 && !report.kss_is_zero() {
        return Err(Refusal::EnclaveKss);
    }
    Ok(())
}
