//! Every field of a quote, by the specification's names, as bytes.
//!
//! Guarantees: all bytes of the quote are among the values but for lengths and types, which have one value each in a quote that decodes.
//! Nothing is judged: these are claims of whoever wrote the file.

use crate::evidence::quote_of;
use base64::{engine::general_purpose::STANDARD, Engine};
use phala_attest::{
    claimed_fmspc, claimed_measurement, decode_quote, DecodeError, EnclaveReport, Evidence, Report, TdReport,
    TdReport15,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Bytes of the longest value that is shown whole to people.
const SHOWN_BYTES: usize = 64;

/// A field's name and its bytes.
pub type Field = (String, Vec<u8>);

/// The fields of evidence, in the quote's order, and what they come to.
pub fn fields(evidence: &Evidence) -> Result<Vec<Field>, DecodeError> {
    let decoded = decode_quote(quote_of(evidence))?;
    let mut fields: Vec<Field> = Vec::new();
    let mut add = |name: &str, bytes: &[u8]| fields.push((name.to_owned(), bytes.to_vec()));
    add("header.version_and_types", decoded.signed.get(..8).unwrap_or_default());
    add("header.versions", &decoded.header_versions);
    add("header.qe_vendor_id", &decoded.qe_vendor_id);
    add("header.user_data", &decoded.user_data);
    match &decoded.report {
        Report::Enclave(report) => add_enclave("enclave", report, &mut add),
        Report::Td(report, later) => {
            add_td(report, &mut add);
            if let Some(later) = later {
                add_td15(later, &mut add);
            }
        }
    }
    add("signature", &decoded.signature);
    add("attestation_key", &decoded.attestation_key);
    add_enclave("qe", &decoded.qe_report, &mut add);
    add("qe.report", decoded.qe_report_bytes);
    add("qe.report_signature", &decoded.qe_report_signature);
    add("qe.authentication_data", decoded.qe_authentication_data);
    for (index, certificate) in certificates(decoded.pck_chain).iter().enumerate() {
        add(&format!("pck_chain.{index}"), certificate);
    }
    add("pck_chain.pem", decoded.pck_chain);
    // The model that the leaf names, where it can be read: which collateral to ask for.
    if let Ok(fmspc) = claimed_fmspc(evidence) {
        add("pck.fmspc", &fmspc);
    }
    add("measurement", &claimed_measurement(evidence)?);
    Ok(fields)
}

fn add_td(report: &TdReport, add: &mut dyn FnMut(&str, &[u8])) {
    add("td.tee_tcb_svn", &report.tee_tcb_svn);
    add("td.mr_seam", &report.mr_seam);
    add("td.mr_signer_seam", &report.mr_signer_seam);
    add("td.seam_attributes", &report.seam_attributes);
    add("td.td_attributes", &report.td_attributes);
    add("td.xfam", &report.xfam);
    add("td.mr_td", &report.mr_td);
    add("td.mr_config_id", &report.mr_config_id);
    add("td.mr_owner", &report.mr_owner);
    add("td.mr_owner_config", &report.mr_owner_config);
    for (index, register) in report.rtmr.iter().enumerate() {
        add(&format!("td.rtmr{index}"), register);
    }
    add("td.report_data", &report.report_data);
}

fn add_td15(report: &TdReport15, add: &mut dyn FnMut(&str, &[u8])) {
    add("td.tee_tcb_svn_2", &report.tee_tcb_svn_2);
    add("td.mr_service_td", &report.mr_service_td);
    let Some(more) = &report.extended else { return };
    add("td.vm_id", &[more.vm_id]);
    add("td.td_id", &more.td_id);
    add("td.dev_info", &more.dev_info);
    add("td.init_service_td_hash", &more.init_service_td_hash);
    add("td.init_service_td_attributes", &more.init_service_td_attributes);
    add("td.init_cpu_svn", &more.init_cpu_svn);
    add("td.init_tee_tcb_svn", &more.init_tee_tcb_svn);
    add("td.init_tee_fmspc", &more.init_tee_fmspc);
    add("td.cur_service_td_hash", &more.cur_service_td_hash);
    add("td.cur_service_td_attributes", &more.cur_service_td_attributes);
}

fn add_enclave(whose: &str, report: &EnclaveReport, add: &mut dyn FnMut(&str, &[u8])) {
    let fields: [(&str, &[u8]); 12] = [
        ("cpu_svn", &report.cpu_svn),
        ("misc_select", &report.misc_select),
        ("isv_ext_prod_id", &report.isv_ext_prod_id),
        ("attributes", &report.attributes),
        ("mr_enclave", &report.mr_enclave),
        ("mr_signer", &report.mr_signer),
        ("config_id", &report.config_id),
        ("isv_prod_id", &report.isv_prod_id.to_le_bytes()),
        ("isv_svn", &report.isv_svn.to_le_bytes()),
        ("config_svn", &report.config_svn.to_le_bytes()),
        ("isv_family_id", &report.isv_family_id),
        ("report_data", &report.report_data),
    ];
    for (name, bytes) in fields {
        add(&format!("{whose}.{name}"), bytes);
    }
}

/// The bytes inside each certificate of a PEM chain. What is no such text gives none: its bytes are shown as they are.
pub fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = String::from_utf8_lossy(pem);
    let bodies = text.split(BEGIN).skip(1).filter_map(|part| Some(part.split_once(END)?.0));
    let whole = bodies.map(|body| body.split_whitespace().collect::<String>());
    whole.filter_map(|body| STANDARD.decode(body).ok()).collect()
}

/// All bytes, in hexadecimal.
pub fn to_json(fields: &[Field]) -> Value {
    let entries = fields.iter().map(|(name, bytes)| (name.clone(), Value::String(hex::encode(bytes))));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// One line a field; a long value by its hash.
pub fn to_text(fields: &[Field]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    fields.iter().map(|(name, bytes)| format!("{name:width$}  {}", shown(bytes))).collect::<Vec<_>>().join("\n")
}

/// Hexadecimal, or the length and SHA-256 of what is longer than people read.
pub fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= SHOWN_BYTES {
        hex::encode(bytes)
    } else {
        format!("{} bytes, sha256 {} (whole with --json)", bytes.len(), hex::encode(Sha256::digest(bytes)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::evidence;

    const QUOTE: &[u8] = include_bytes!("../../../../../testing/vectors/attest/tdx_v4.bin");

    #[test]
    fn shows_every_byte_of_a_genuine_quote_but_lengths_and_types() {
        let evidence = evidence::evidence(QUOTE).unwrap();
        let (quote, fields) = (quote_of(&evidence), fields(&evidence).unwrap());
        let mut seen = vec![false; quote.len()];
        for (name, bytes) in &fields {
            // Several values repeat; each of their places counts.
            for (at, _) in quote.windows(bytes.len().max(1)).enumerate().filter(|(_, window)| *window == &bytes[..]) {
                seen[at..at + bytes.len()].fill(true);
            }
            assert!(!name.is_empty());
        }
        let unseen: Vec<usize> = seen.iter().enumerate().filter(|(_, seen)| !**seen).map(|(at, _)| at).collect();
        // Lengths of the signature data and of the authentication data; types and lengths of certification data.
        let framing: Vec<usize> = [632..636, 764..770, 1218..1220, 1252..1258].into_iter().flatten().collect();
        assert!(unseen.iter().all(|at| framing.contains(at)), "{unseen:?}");

        let text = to_text(&fields);
        let json = to_json(&fields);
        let expected = include_str!("../../../../../testing/vectors/attest/tdx_v4.measurement").trim();
        assert_eq!(json["measurement"], expected);
        assert!(text.contains(expected));
        assert_eq!(json["pck.fmspc"], "b0c06f000000");
        assert_eq!(json["td.report_data"].as_str().unwrap().len(), 128);
        assert_eq!(
            fields.iter().filter(|(name, _)| name.starts_with("pck_chain.") && name != "pck_chain.pem").count(),
            3
        );
        assert_eq!(fields.last().map(|(name, _)| name.as_str()), Some("measurement"));
    }

    #[test]
    fn a_chain_that_is_none_is_shown_as_bytes_and_breaks_nothing() {
        assert!(certificates(b"").is_empty());
        assert!(certificates(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----").is_empty());
        assert!(certificates(&[0xff; 40]).is_empty());
        let no_quote = Evidence::TdxDcap(b"no quote".to_vec().try_into().unwrap());
        assert!(fields(&no_quote).is_err());
    }
}
