//! The two JSON documents of collateral, in Intel's format, about the simulated platform: for TDX, and for SGX.

use time::OffsetDateTime;

use crate::{
    extension::{CPU_SVN, FMSPC, PCE_SVN},
    machine::{QE_MR_SIGNER, TEE_TCB_SVN},
    pki::PkiError,
};

/// From when until when a document or list holds, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub start: u64,
    /// When a newer one is due.
    pub end: u64,
}

impl Window {
    /// 30 days around `now`, begun a day ago: a chain's clock is behind ours, and a network that was off comes back behind.
    pub const fn around(now: u64) -> Self {
        let start = now.saturating_sub(86_400);
        Self { start, end: start.saturating_add(30 * 86_400) }
    }

    pub(crate) fn start_time(self) -> Result<OffsetDateTime, PkiError> {
        to_time(self.start)
    }

    pub(crate) fn end_time(self) -> Result<OffsetDateTime, PkiError> {
        to_time(self.end)
    }
}

fn to_time(seconds: u64) -> Result<OffsetDateTime, PkiError> {
    Ok(OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))?)
}

fn rfc3339(time: OffsetDateTime) -> String {
    let (date, hour, minute, second) = (time.date(), time.hour(), time.minute(), time.second());
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year(), u8::from(date.month()), date.day())
}

fn components(versions: &[u8; 16]) -> String {
    versions.map(|svn| format!("{{\"svn\":{svn}}}")).join(",")
}

/// TCB info (version 3) in which the simulated platform is up to date, and one with any lower version is not.
pub fn tcb_info_json(window: Window) -> Result<String, PkiError> {
    let zeros = "0".repeat(96);
    let [module_svn, module_version, ..] = TEE_TCB_SVN;
    let signer =
        format!("\"mrsigner\":\"{zeros}\",\"attributes\":\"0000000000000000\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\"");
    let level = |pce_svn: u16, rest: &str| {
        let (sgx, tdx) = (components(&CPU_SVN), components(&[0; 16]));
        format!("{{\"tcb\":{{\"sgxtcbcomponents\":[{sgx}],\"pcesvn\":{pce_svn},\"tdxtcbcomponents\":[{tdx}]}},\"tcbDate\":\"2025-01-01T00:00:00Z\",{rest}}}")
    };
    Ok([
        format!("{{\"id\":\"TDX\",\"version\":3,\"issueDate\":\"{}\",\"nextUpdate\":\"{}\",", rfc3339(window.start_time()?), rfc3339(window.end_time()?)),
        format!("\"fmspc\":\"{}\",\"pceId\":\"0000\",\"tcbType\":0,\"tcbEvaluationDataNumber\":1,", hex::encode_upper(FMSPC)),
        format!("\"tdxModule\":{{{signer}}},\"tdxModuleIdentities\":[{{\"id\":\"TDX_{module_version:02X}\",{signer},\"tcbLevels\":["),
        format!("{{\"tcb\":{{\"isvsvn\":{module_svn}}},\"tcbDate\":\"2025-01-01T00:00:00Z\",\"tcbStatus\":\"UpToDate\"}},"),
        "{\"tcb\":{\"isvsvn\":2},\"tcbDate\":\"2024-01-01T00:00:00Z\",\"tcbStatus\":\"OutOfDate\",\"advisoryIDs\":[\"INSECURE-SA-00001\"]}]}],".to_string(),
        format!("\"tcbLevels\":[{},", level(PCE_SVN, "\"tcbStatus\":\"UpToDate\"")),
        format!("{}]}}", level(5, "\"tcbStatus\":\"OutOfDate\",\"advisoryIDs\":[\"INSECURE-SA-00002\"]")),
    ]
    .concat())
}

/// [`tcb_info_json`] for SGX.
pub fn sgx_tcb_info_json(window: Window) -> Result<String, PkiError> {
    let level = |pce_svn: u16, rest: &str| {
        let sgx = components(&CPU_SVN);
        format!("{{\"tcb\":{{\"sgxtcbcomponents\":[{sgx}],\"pcesvn\":{pce_svn}}},\"tcbDate\":\"2025-01-01T00:00:00Z\",{rest}}}")
    };
    Ok([
        format!(
            "{{\"id\":\"SGX\",\"version\":3,\"issueDate\":\"{}\",\"nextUpdate\":\"{}\",",
            rfc3339(window.start_time()?),
            rfc3339(window.end_time()?)
        ),
        format!(
            "\"fmspc\":\"{}\",\"pceId\":\"0000\",\"tcbType\":0,\"tcbEvaluationDataNumber\":1,",
            hex::encode_upper(FMSPC)
        ),
        format!("\"tcbLevels\":[{},", level(PCE_SVN, "\"tcbStatus\":\"UpToDate\"")),
        format!("{}]}}", level(5, "\"tcbStatus\":\"OutOfDate\",\"advisoryIDs\":[\"INSECURE-SA-00003\"]")),
    ]
    .concat())
}

/// QE identity (version 2) of the simulated quoting enclave of TDX.
pub fn qe_identity_json(window: Window) -> Result<String, PkiError> {
    enclave_identity_json("TD_QE", 2, window)
}

/// QE identity (version 2) of the simulated quoting enclave of SGX.
pub fn sgx_qe_identity_json(window: Window) -> Result<String, PkiError> {
    enclave_identity_json("QE", 1, window)
}

fn enclave_identity_json(id: &str, product: u16, window: Window) -> Result<String, PkiError> {
    Ok([
        format!(
            "{{\"id\":\"{id}\",\"version\":2,\"issueDate\":\"{}\",\"nextUpdate\":\"{}\",",
            rfc3339(window.start_time()?),
            rfc3339(window.end_time()?)
        ),
        "\"tcbEvaluationDataNumber\":1,\"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\",".to_string(),
        "\"attributes\":\"11000000000000000000000000000000\",\"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\","
            .to_string(),
        format!("\"mrsigner\":\"{}\",\"isvprodid\":{product},", hex::encode_upper(QE_MR_SIGNER)),
        "\"tcbLevels\":[{\"tcb\":{\"isvsvn\":4},\"tcbDate\":\"2025-01-01T00:00:00Z\",\"tcbStatus\":\"UpToDate\"},"
            .to_string(),
        "{\"tcb\":{\"isvsvn\":3},\"tcbDate\":\"2024-01-01T00:00:00Z\",\"tcbStatus\":\"OutOfDate\"}]}".to_string(),
    ]
    .concat())
}
