//! A verdict as the list of its checks: each by name, in the verifier's order, with the bytes that it looked at.
//!
//! `phala-attest` decides, and stops at the first check that fails; which one that was is in its refusal. So the checks before it held, it
//! failed, and those after it were not looked at. A refusal that is not in this list is shown as a check of its own, and then nothing is
//! said of the others: a transcript must not claim more than the verifier found.

use super::fields::{certificates, fields, shown, to_json, Field};
use crate::evidence::{date, quote_of};
use phala_attest::{
    verify_collateral, verify_evidence, Collateral, CollateralRefusal, Evidence, Policy, Refusal, SignerRole,
    VerifiedReport, INSECURE_DEVELOPMENT_ROOT_DER, INTEL_ROOT_DER,
};
use serde_json::{json, Value};

/// The checks, in the verifier's order. The first eight are of the collateral.
pub const CHECKS: [&str; 24] = [
    "root",
    "revocation list of the root",
    "signer of tcb info",
    "tcb info",
    "signer of qe identity",
    "qe identity",
    "pck authority",
    "revocation list of the pck authority",
    "collateral for this policy and time",
    "form of the quote",
    "header of the quote",
    "pck chain",
    "pck revocation",
    "pck extension",
    "signature of the qe report",
    "qe report binds the attestation key",
    "quoting enclave",
    "signature of the quote",
    "attributes of the machine",
    "platform model",
    "tdx module",
    "tcb level",
    "level of the tdx module",
    "status by the policy",
];

/// Those that an enclave is not put to: it has no module of trust domains.
const OF_TRUST_DOMAINS: [&str; 2] = ["tdx module", "level of the tdx module"];

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Ok,
    /// It does not.
    Failed,
    /// The verifier had stopped.
    NotChecked,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::NotChecked => "-",
        }
    }
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    /// Why it failed.
    pub reason: Option<String>,
    /// What it looked at.
    pub evidence: Vec<Field>,
}

/// What the verifier found.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Its checks.
    pub checks: Vec<Check>,
    /// What holds, if everything does.
    pub report: Option<VerifiedReport>,
}

impl Transcript {
    /// Verifies, and writes down.
    pub fn of(evidence: &Evidence, collateral: &Collateral, policy: &Policy, now: u64) -> Self {
        let verdict = verify_collateral(collateral, &policy.anchor, now)
            .map_err(|refusal| (Some(place_of_collateral(&refusal)), refusal.to_string()))
            .and_then(|collateral| {
                verify_evidence(evidence, &collateral, policy, now)
                    .map_err(|refusal| (place_of_evidence(&refusal), refusal.to_string()))
            });
        let raw = Raw::new(evidence, collateral, policy);
        let (failed, report) = match verdict {
            Ok(report) => (None, Some(report)),
            Err(failed) => (Some(failed), None),
        };
        let is_enclave = matches!(evidence, Evidence::SgxDcap(_));
        let mut checks: Vec<Check> = CHECKS
            .iter()
            .enumerate()
            .filter(|(_, name)| !(is_enclave && OF_TRUST_DOMAINS.contains(name)))
            .map(|(index, name)| {
                let (outcome, reason) = match &failed {
                    None => (Outcome::Ok, None),
                    Some((Some(place), _)) if index < *place => (Outcome::Ok, None),
                    Some((Some(place), reason)) if index == *place => (Outcome::Failed, Some(reason.clone())),
                    Some(_) => (Outcome::NotChecked, None),
                };
                Check { name: (*name).to_owned(), outcome, reason, evidence: raw.of(index) }
            })
            .collect();
        if let Some((None, reason)) = failed {
            let name = "another check".to_owned();
            checks.push(Check { name, outcome: Outcome::Failed, reason: Some(reason), evidence: Vec::new() });
        }
        Self { checks, report }
    }

    /// The check that failed.
    pub fn failed(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.outcome == Outcome::Failed)
    }

    /// Everything, with whole bytes.
    pub fn to_json(&self) -> Value {
        let checks = self.checks.iter().map(|check| {
            json!({
                "check": check.name,
                "ok": match check.outcome {
                    Outcome::Ok => Some(true),
                    Outcome::Failed => Some(false),
                    Outcome::NotChecked => None,
                },
                "reason": check.reason,
                "evidence": to_json(&check.evidence),
            })
        });
        json!({"checks": checks.collect::<Vec<_>>(), "report": self.report.as_ref().map(report_json)})
    }

    /// Lines for people: the check, then what it looked at.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for check in &self.checks {
            let reason = check.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            lines.push(format!("{:<6}  {}{reason}", check.outcome.as_str(), check.name));
            lines.extend(
                check.evidence.iter().map(|field| format!("          {} = {}", field.name, shown(&field.bytes))),
            );
        }
        if let Some(report) = &self.report {
            lines.push(report_text(report));
        }
        lines.join("\n")
    }
}

/// What verified evidence says, as data.
pub fn report_json(report: &VerifiedReport) -> Value {
    json!({
        "measurement": hex::encode(report.measurement()),
        "report_data": hex::encode(report.report_data()),
        "tcb_status": report.tcb_status().name(),
        "advisories": report.advisories().iter().map(phala_attest::Advisory::id).collect::<Vec<_>>(),
        "hardware_id": hex::encode(report.hardware_id()),
        "valid_until": report.valid_until(),
    })
}

/// The same for people.
pub fn report_text(report: &VerifiedReport) -> String {
    let advisories: Vec<String> = report.advisories().iter().map(phala_attest::Advisory::id).collect();
    let advisories = if advisories.is_empty() { "none".to_owned() } else { advisories.join(", ") };
    [
        format!("measurement  {}", hex::encode(report.measurement())),
        format!("report data  {}", hex::encode(report.report_data())),
        format!("tcb status   {}", report.tcb_status().name()),
        format!("advisories   {advisories}"),
        format!("hardware id  {}", hex::encode(report.hardware_id())),
        format!("valid until  {}", date(report.valid_until())),
    ]
    .join("\n")
}

fn place_of_collateral(refusal: &CollateralRefusal) -> usize {
    match refusal {
        CollateralRefusal::RootCrl(_) | CollateralRefusal::Revoked(SignerRole::Root) => 1,
        CollateralRefusal::TcbInfo(_) => 3,
        CollateralRefusal::QeIdentity(_) => 5,
        CollateralRefusal::PckCrl(_) => 7,
        CollateralRefusal::Chain(role, _)
        | CollateralRefusal::ChainLength(role)
        | CollateralRefusal::UntrustedRoot(role)
        | CollateralRefusal::Certificate(role, _)
        | CollateralRefusal::Revoked(role) => match role {
            SignerRole::Root => 0,
            SignerRole::TcbInfo => 2,
            SignerRole::QeIdentity => 4,
            SignerRole::PckAuthority => 6,
        },
    }
}

#[allow(unreachable_patterns, reason = "a refusal that the verifier gains later has no place here yet")]
fn place_of_evidence(refusal: &Refusal) -> Option<usize> {
    Some(match refusal {
        Refusal::DevelopmentRoot
        | Refusal::OtherRoot
        | Refusal::CollateralNotYetValid
        | Refusal::CollateralExpired
        | Refusal::EvaluationNumber => 8,
        Refusal::Decode(_) | Refusal::Kind | Refusal::CollateralKind => 9,
        Refusal::QeVendor | Refusal::HeaderReserved => 10,
        Refusal::PckChain(_)
        | Refusal::PckChainLength
        | Refusal::PckRoot
        | Refusal::PckAuthority
        | Refusal::PckCertificate(_) => 11,
        Refusal::PckRevoked => 12,
        Refusal::PckExtension(_) => 13,
        Refusal::QeReportSignature => 14,
        Refusal::QeReportReserved | Refusal::QeAuthenticationData | Refusal::QeReportData => 15,
        Refusal::QeSigner
        | Refusal::QeProduct
        | Refusal::QeDebug
        | Refusal::QeMiscSelect
        | Refusal::QeAttributes
        | Refusal::QeSecurityVersion => 16,
        Refusal::QuoteSignature => 17,
        Refusal::TdDebug
        | Refusal::TdProfiling
        | Refusal::TdServiceTd
        | Refusal::TdPartition
        | Refusal::TdDevices
        | Refusal::TdInitialPlatform
        | Refusal::EnclaveDebug
        | Refusal::EnclaveReserved
        | Refusal::EnclaveAttributes
        | Refusal::EnclaveXfrm
        | Refusal::EnclaveMiscSelect
        | Refusal::EnclaveKss
        | Refusal::TdMigratable
        | Refusal::TdAttributes
        | Refusal::TdSeptVe
        | Refusal::Xfam => 18,
        Refusal::PlatformModel | Refusal::PceId => 19,
        Refusal::ModuleVersion | Refusal::ModuleSigner | Refusal::ModuleAttributes => 20,
        Refusal::TcbLevel => 21,
        Refusal::ModuleLevel => 22,
        Refusal::TcbRevoked | Refusal::TcbStatus(_) => 23,
        _ => return None,
    })
}

/// The bytes that the checks look at.
struct Raw<'a> {
    collateral: &'a Collateral,
    quote: &'a [u8],
    fields: Vec<Field>,
    root: &'static [u8],
}

impl<'a> Raw<'a> {
    fn new(evidence: &'a Evidence, collateral: &'a Collateral, policy: &Policy) -> Self {
        let quote = quote_of(evidence);
        let root = match policy.anchor.root() {
            phala_attest::Root::Intel => INTEL_ROOT_DER,
            phala_attest::Root::InsecureDevelopment => INSECURE_DEVELOPMENT_ROOT_DER,
        };
        // A quote that does not decode fails at its form, and the checks behind it have nothing to show.
        Self { collateral, quote, fields: fields(evidence).unwrap_or_default(), root }
    }

    /// What the check at `index` looks at, besides what the checks of collateral before it have shown.
    fn of(&self, index: usize) -> Vec<Field> {
        let named = |name: &str, bytes: &[u8]| vec![Field::beside(name, bytes)];
        let chain = |name: &str, pem: &[u8]| {
            let certificates = certificates(pem).into_iter().enumerate();
            certificates.map(|(index, bytes)| Field::beside(format!("{name}.{index}"), bytes)).collect::<Vec<_>>()
        };
        let raw = self.collateral;
        match index {
            0 => named("certificate", self.root),
            1 => named("root_ca_crl", &raw.root_ca_crl),
            2 => chain("tcb_info_issuer_chain", &raw.tcb_info_issuer_chain),
            3 => [named("tcb_info", &raw.tcb_info), named("tcb_info_signature", &raw.tcb_info_signature)].concat(),
            4 => chain("qe_identity_issuer_chain", &raw.qe_identity_issuer_chain),
            5 => [named("qe_identity", &raw.qe_identity), named("qe_identity_signature", &raw.qe_identity_signature)]
                .concat(),
            6 => chain("pck_crl_issuer_chain", &raw.pck_crl_issuer_chain),
            7 => named("pck_crl", &raw.pck_crl),
            9 => named("quote", self.quote),
            10 => self.fields(&["header."]),
            11 => self.fields(&["pck_chain."]),
            12 => [self.fields(&["pck_chain.0"]), named("pck_crl", &raw.pck_crl)].concat(),
            13 => self.fields(&["pck_chain.0", "pck."]),
            14 => self.fields(&["pck_chain.0", "qe.report", "qe.report_signature"]),
            15 => self.fields(&[
                "attestation_key",
                "qe.reserved_",
                "qe.isv_ext_prod_id",
                "qe.config_",
                "qe.isv_family_id",
                "qe.authentication_data",
                "qe.report_data",
            ]),
            16 => self.fields(&["qe.mr_signer", "qe.isv_prod_id", "qe.isv_svn", "qe.attributes", "qe.misc_select"]),
            17 => self.fields(&["signed", "attestation_key", "signature"]),
            18 => self.fields(&[
                "enclave.attributes",
                "enclave.reserved_",
                "enclave.misc_select",
                "enclave.isv_ext_prod_id",
                "enclave.config_",
                "enclave.isv_family_id",
                "td.td_attributes",
                "td.xfam",
                "td.mr_service_td",
                "td.vm_id",
                "td.dev_info",
                "td.init_",
                "td.cur_",
            ]),
            19 => self.fields(&["pck.fmspc", "pck.pce_id"]),
            20 => self.fields(&["td.tee_tcb_svn", "td.tee_tcb_svn_2", "td.mr_signer_seam", "td.seam_attributes"]),
            21 => self.fields(&["pck.cpu_svn", "pck.pce_svn", "td.tee_tcb_svn", "td.tee_tcb_svn_2"]),
            22 => self.fields(&["td.tee_tcb_svn", "td.tee_tcb_svn_2"]),
            _ => Vec::new(),
        }
    }

    fn fields(&self, names: &[&str]) -> Vec<Field> {
        let wanted = |name: &str| {
            names.iter().any(|wanted| name == *wanted || wanted.ends_with(['.', '_']) && name.starts_with(wanted))
        };
        self.fields.iter().filter(|field| wanted(&field.name)).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
