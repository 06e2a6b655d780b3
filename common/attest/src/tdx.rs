//! What is checked of a trust domain (TDX), each with a refusal of its own; the signatures around it are `dcap.rs`'s.
//!
//! # The measurement
//!
//! SHA-256 over the domain label `PHALA/attest/tdx-measurement/v1` (its length in one byte before it) and these fields of
//! the TD report, in this order and at these fixed lengths, so that no two machines share an input:
//!
//! | field           | bytes | what it identifies |
//! |-----------------|-------|--------------------|
//! | TDATTRIBUTES    | 8     | how the TD was configured: features, and the bits checked below |
//! | XFAM            | 8     | processor features it may use |
//! | MRTD            | 48    | initial contents: the virtual firmware |
//! | MRCONFIGID      | 48    | configuration its owner named at launch |
//! | MROWNER         | 48    | who launched it |
//! | MROWNERCONFIG   | 48    | what the owner configured |
//! | RTMR0..RTMR3    | 4x48  | firmware configuration, kernel, initial file system and command line, application |
//!
//! Fields that are *not* launch identity are judged instead of hashed: TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM and
//! SEAMATTRIBUTES belong to Intel's module and are matched with the collateral (MRSEAM changes with each security update
//! that we want machines to take); REPORTDATA is what the machine says. The version of the quote is no part of the
//! measurement: one image on one machine has one, whichever version its quoting enclave makes.
//!
//! # What version 5 adds
//!
//! | field of TD report 1.5        | verdict |
//! |-------------------------------|---------|
//! | TEE_TCB_SVN_2                 | judged like TEE_TCB_SVN: the module that runs now must reach a level too, and the status is the worse of both |
//! | MRSERVICETD                   | refused unless zero: a service TD may act on this one |
//! | *extended:* VM_ID             | refused unless zero: a partition inside the machine asked, whose memory the machine reads |
//! | TD_ID                         | ignored: names one launch, and says nothing about what was launched |
//! | DEV_INFO                      | refused unless zero: devices that nobody reviewed share its memory |
//! | INIT_SERVTD_*, CUR_SERVTD_*   | refused unless zero: a service TD again |
//! | INIT_CPUSVN, INIT_TEE_TCB_SVN, INIT_TEE_FMSPC | refused unless zero: it began on another platform |
//!
//! A machine that was launched under an outdated module, and runs under a newer one since, has the status of its launch:
//! Intel calls it `TDRelaunchAdvised`, and what the old module could do to it is done.
//!
//! # TD attributes
//!
//! | bit | name            | verdict |
//! |-----|-----------------|---------|
//! | 0   | DEBUG           | refused: the host reads the memory |
//! | 4-6 | profiling       | refused: the host samples execution |
//! | 16  | ICSSD           | allowed: a defence |
//! | 17  | SERVTD_EXT      | refused: a service TD may act on this one |
//! | 27  | LASS            | allowed |
//! | 28  | SEPT_VE_DISABLE | required: without it the host can inject exceptions by removing pages |
//! | 29  | MIGRATABLE      | refused: the memory may move to a machine nobody attested |
//! | 30  | PKS             | allowed |
//! | 31  | KL              | allowed |
//! | any other          | | refused: reserved, or its effect is not reviewed (PERFMON, TPA) |

use sha2::Digest;

use crate::{
    dcap::{labelled, unmatched},
    evidence::Refusal,
    pck::PckExtension,
    report::{TdReport, TdReport15, TdReport15Extended},
    tcb::{merge_advisories, Advisories, TcbInfo, TcbStatus},
};

const MEASUREMENT_LABEL: &[u8] = b"PHALA/attest/tdx-measurement/v1";

const TD_DEBUG: u64 = 1;
const TD_PROFILING: u64 = 0b111 << 4;
const TD_SERVICE_EXTENSION: u64 = 1 << 17;
const TD_SEPT_VE_DISABLE: u64 = 1 << 28;
const TD_MIGRATABLE: u64 = 1 << 29;
const TD_ALLOWED: u64 = 1 << 16 | 1 << 27 | TD_SEPT_VE_DISABLE | 1 << 30 | 1 << 31;
/// XFAM bits that are always one (x87, SSE) and that may be one, from the TDX Module specification.
const XFAM_FIXED_ONE: u64 = 0x3;
const XFAM_ALLOWED: u64 = 0x0006_dbe7;

/// The measurement of the machine that `report` claims to be; see the module's table.
pub fn measurement(report: &TdReport) -> [u8; 32] {
    let mut hash = labelled(MEASUREMENT_LABEL);
    hash.update(report.td_attributes);
    hash.update(report.xfam);
    hash.update(report.mr_td);
    hash.update(report.mr_config_id);
    hash.update(report.mr_owner);
    hash.update(report.mr_owner_config);
    for register in &report.rtmr {
        hash.update(register);
    }
    hash.finalize().into()
}

/// Checks what a quote says about a trust domain.
pub(crate) fn check(report: &TdReport, later: Option<&TdReport15>) -> Result<(), Refusal> {
    check_attributes(report)?;
    let Some(later) = later else { return Ok(()) };
    if later.mr_service_td != [0; 48] {
        return Err(Refusal::TdServiceTd);
    }
    later.extended.as_ref().map_or(Ok(()), check_extended)
}

/// The status of the platform and of the TDX module, at launch and now, and the advisories that apply.
///
/// Checks of one kind stand together, those of launch before those of now: the module (signer, attributes, version), then the level of the
/// platform, then the level of the module. So a refusal says which kinds of checks hold.
pub(crate) fn appraise(
    tcb: &TcbInfo,
    extension: &PckExtension,
    report: &TdReport,
    later: Option<&TdReport15>,
) -> Result<(TcbStatus, Advisories), Refusal> {
    tcb.check_module(&report.tee_tcb_svn, &report.mr_signer_seam, &report.seam_attributes).map_err(unmatched)?;
    if let Some(later) = later {
        tcb.check_module_version(&later.tee_tcb_svn_2).map_err(unmatched)?;
    }
    let match_tdx = |svn: &[u8; 16]| tcb.match_tdx(&extension.cpu_svn, extension.pce_svn, svn).map_err(unmatched);
    let launch = match_tdx(&report.tee_tcb_svn)?;
    let now = later.map(|later| match_tdx(&later.tee_tcb_svn_2)).transpose()?;
    let (mut status, mut advisories) = launch.status().map_err(unmatched)?;
    if let Some(now) = now {
        let (current, more) = now.status().map_err(unmatched)?;
        status = status.join(current);
        merge_advisories(&mut advisories, &more);
    }
    Ok((status, advisories))
}

fn check_attributes(report: &TdReport) -> Result<(), Refusal> {
    let attributes = u64::from_le_bytes(report.td_attributes);
    for (bits, refusal) in [
        (TD_DEBUG, Refusal::TdDebug),
        (TD_PROFILING, Refusal::TdProfiling),
        (TD_SERVICE_EXTENSION, Refusal::TdServiceTd),
        (TD_MIGRATABLE, Refusal::TdMigratable),
        (!TD_ALLOWED, Refusal::TdAttributes),
    ] {
        if attributes & bits != 0 {
            return Err(refusal);
        }
    }
    if attributes & TD_SEPT_VE_DISABLE == 0 {
        return Err(Refusal::TdSeptVe);
    }
    let xfam = u64::from_le_bytes(report.xfam);
    if xfam & XFAM_FIXED_ONE != XFAM_FIXED_ONE || xfam & !XFAM_ALLOWED != 0 {
        return Err(Refusal::Xfam);
    }
    Ok(())
}

fn check_extended(extended: &TdReport15Extended) -> Result<(), Refusal> {
    let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    if extended.vm_id != 0 {
        return Err(Refusal::TdPartition);
    }
    if !zero(&extended.dev_info) {
        return Err(Refusal::TdDevices);
    }
    if !zero(&extended.init_service_td_hash)
        || !zero(&extended.init_service_td_attributes)
        || !zero(&extended.cur_service_td_hash)
        || !zero(&extended.cur_service_td_attributes)
    {
        return Err(Refusal::TdServiceTd);
    }
    if !zero(&extended.init_cpu_svn) || !zero(&extended.init_tee_tcb_svn) || !zero(&extended.init_tee_fmspc) {
        return Err(Refusal::TdInitialPlatform);
    }
    Ok(())
}
