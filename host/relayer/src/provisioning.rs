//! Collateral from Intel's provisioning certification service (version 4), or from one that answers as it does: a PCCS.
//!
//! The operator names the service; there is no default, and no answer names another. Guarantees: every answer is bounded in bytes and time,
//! redirections are not followed, signed JSON is kept byte for byte, and what comes out has been judged by nobody: the caller verifies it. The
//! service controls all of it, and can at most be useless, since everything that it gives is signed by Intel; see `service.rs` for what TLS
//! adds, and [`phala_client::provisioning`] for how answers are read.
//!
//! Source: Intel, "API documentation for Provisioning Certification Service", version 4, and the PCCS of the DCAP primitives. They differ
//! in one thing that matters here: a PCCS gives the root's revocation list, Intel's service leaves it where its certificates say it is.

mod service;
#[cfg(test)]
pub(crate) mod tests;

pub use service::{Service, ServiceError};

use phala_attest::{Collateral, Vendor};
use phala_client::{
    provisioning::{decode_answers, Answers},
    ClientError,
};
use service::malformed;

/// Intel's own service, and where the root's revocation list stands that it does not give.
const INTEL: &str = "https://api.trustedservices.intel.com";
const INTEL_ROOT_LIST: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";

/// Which of Intel's authorities certifies a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PckAuthority {
    /// That of servers with several sockets.
    Platform,
    /// That of the others.
    Processor,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The technology.
    pub vendor: Vendor,
    /// The platform model.
    pub fmspc: [u8; 6],
    /// Who certifies its processors.
    pub authority: PckAuthority,
}

impl Service {
    /// Fetches what evidence of one model is verified with. Nobody has judged it yet, and it may be of another model.
    pub async fn collateral(&self, wanted: &Wanted) -> Result<Collateral, ClientError> {
        let base = self.base();
        let tee = match wanted.vendor {
            Vendor::IntelTdx => "tdx",
            Vendor::IntelSgx => "sgx",
        };
        let ca = match wanted.authority {
            PckAuthority::Platform => "platform",
            PckAuthority::Processor => "processor",
        };
        let fmspc = hex::encode_upper(wanted.fmspc);
        let tcb = self
            .get(
                &format!("{base}/{tee}/certification/v4/tcb?fmspc={fmspc}"),
                &["TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"],
            )
            .await?;
        let qe = self
            .get(&format!("{base}/{tee}/certification/v4/qe/identity"), &["SGX-Enclave-Identity-Issuer-Chain"])
            .await?;
        let list = self
            .get(&format!("{base}/sgx/certification/v4/pckcrl?ca={ca}&encoding=der"), &["SGX-PCK-CRL-Issuer-Chain"])
            .await?;
        let root_list = self.get(&root_list_of(base), &[]).await?;

        let answers = Answers {
            tcb_info: &tcb.body,
            tcb_info_chain: &tcb.header,
            qe_identity: &qe.body,
            qe_identity_chain: &qe.header,
            pck_crl: &list.body,
            pck_crl_chain: &list.header,
            root_ca_crl: &root_list.body,
        };
        decode_answers(&answers).map_err(|fault| malformed(&fault.to_string()))
    }
}

/// Where the service at `base` has the root's revocation list.
fn root_list_of(base: &str) -> String {
    if base.eq_ignore_ascii_case(INTEL) {
        INTEL_ROOT_LIST.to_owned()
    } else {
        format!("{base}/sgx/certification/v4/rootcacrl")
    }
}
