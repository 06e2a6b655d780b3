//! Every field of a quote, by the specification's names, as bytes.
//!
//! Guarantees: every byte of the quote is in exactly one field that says where in the quote it is, lengths, types and reserved bytes too. Beside
//! those stand fields without a place, which repeat such bytes (a whole report) or are derived of them (a certificate, a measurement).
//! Nothing is judged: these are claims of whoever wrote the file.

use crate::evidence::quote_of;
use base64::{engine::general_purpose::STANDARD, Engine};
use phala_attest::{
    claimed_measurement, claimed_processor, decode_quote, DecodeError, EnclaveReport, Evidence, Report, TdReport,
    TdReport15,
};
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Bytes of the longest value that is shown whole to people.
const SHOWN_BYTES: usize = 64;

/// Some bytes by a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What is there.
    pub bytes: Vec<u8>,
    /// Where in the quote; none for what repeats other fields or is derived of them, and for what is in no quote.
    pub place: Option<Range<usize>>,
}

impl Field {
    /// Bytes without a place in the quote.
    pub fn beside(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into(), place: None }
    }
}

/// A quote that is gone through from its first byte to its last.
struct Walk<'a> {
    quote: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

impl<'a> Walk<'a> {
    /// The next field, with the value that the verifier reads in it.
    fn read(&mut self, name: impl Into<String>, value: &[u8]) {
        let place = self.at..self.at.saturating_add(value.len());
        self.at = place.end;
        self.fields.push(Field { name: name.into(), bytes: value.to_vec(), place: Some(place) });
    }

    /// The next bytes, of which the verifier keeps no value: lengths, types, and what is reserved.
    fn take(&mut self, name: impl Into<String>, length: usize) {
        let bytes = self.since(self.at, length);
        self.read(name, bytes);
    }

    fn beside(&mut self, name: impl Into<String>, bytes: &[u8]) {
        self.fields.push(Field::beside(name, bytes));
    }

    fn since(&self, start: usize, length: usize) -> &'a [u8] {
        self.quote.get(start..start.saturating_add(length)).unwrap_or_default()
    }

    /// The bytes from `start` to here, as one.
    fn whole(&mut self, name: impl Into<String>, start: usize) {
        let bytes = self.since(start, self.at.saturating_sub(start));
        self.beside(name, bytes);
    }
}

/// The fields of evidence, in the quote's order, and what they come to.
pub fn fields(evidence: &Evidence) -> Result<Vec<Field>, DecodeError> {
    let quote = quote_of(evidence);
    let decoded = decode_quote(quote)?;
    let mut walk = Walk { quote, at: 0, fields: Vec::new() };
    walk.take("header.version_and_types", 8);
    walk.read("header.versions", &decoded.header_versions);
    walk.read("header.qe_vendor_id", &decoded.qe_vendor_id);
    walk.read("header.user_data", &decoded.user_data);
    if decoded.version == 5 {
        walk.take("report.type_and_length", 6);
    }
    match &decoded.report {
        Report::Enclave(report) => add_enclave("enclave", report, &mut walk),
        Report::Td(report, later) => {
            let start = walk.at;
            add_td(report, &mut walk);
            if let Some(later) = later {
                add_td15(later, &mut walk);
            }
            walk.whole("td.report", start);
        }
    }
    walk.beside("signed", decoded.signed);
    walk.take("signature_data.length", 4);
    walk.read("signature", &decoded.signature);
    walk.read("attestation_key", &decoded.attestation_key);
    if decoded.version != 3 {
        walk.take("certification_data.type_and_length", 6);
    }
    add_enclave("qe", &decoded.qe_report, &mut walk);
    walk.read("qe.report_signature", &decoded.qe_report_signature);
    walk.take("qe.authentication_data_length", 2);
    walk.read("qe.authentication_data", decoded.qe_authentication_data);
    walk.take("pck_chain.type_and_length", 6);
    for (index, certificate) in certificates(decoded.pck_chain).iter().enumerate() {
        walk.beside(format!("pck_chain.{index}"), certificate);
    }
    walk.read("pck_chain.pem", decoded.pck_chain);
    // What the leaf says of its processor, where it can be read: which collateral to ask for, and what that is compared with.
    if let Ok(processor) = claimed_processor(evidence) {
        walk.beside("pck.fmspc", &processor.fmspc);
        walk.beside("pck.pce_id", &processor.pce_id);
        walk.beside("pck.cpu_svn", &processor.cpu_svn);
        walk.beside("pck.pce_svn", &processor.pce_svn.to_le_bytes());
    }
    walk.beside("measurement", &claimed_measurement(evidence)?);
    Ok(walk.fields)
}

fn add_td(report: &TdReport, walk: &mut Walk<'_>) {
    walk.read("td.tee_tcb_svn", &report.tee_tcb_svn);
    walk.read("td.mr_seam", &report.mr_seam);
    walk.read("td.mr_signer_seam", &report.mr_signer_seam);
    walk.read("td.seam_attributes", &report.seam_attributes);
    walk.read("td.td_attributes", &report.td_attributes);
    walk.read("td.xfam", &report.xfam);
    walk.read("td.mr_td", &report.mr_td);
    walk.read("td.mr_config_id", &report.mr_config_id);
    walk.read("td.mr_owner", &report.mr_owner);
    walk.read("td.mr_owner_config", &report.mr_owner_config);
    for (index, register) in report.rtmr.iter().enumerate() {
        walk.read(format!("td.rtmr{index}"), register);
    }
    walk.read("td.report_data", &report.report_data);
}

fn add_td15(report: &TdReport15, walk: &mut Walk<'_>) {
    walk.read("td.tee_tcb_svn_2", &report.tee_tcb_svn_2);
    walk.read("td.mr_service_td", &report.mr_service_td);
    let Some(more) = &report.extended else { return };
    walk.read("td.vm_id", &[more.vm_id]);
    walk.read("td.td_id", &more.td_id);
    walk.read("td.dev_info", &more.dev_info);
    walk.read("td.init_service_td_hash", &more.init_service_td_hash);
    walk.read("td.init_service_td_attributes", &more.init_service_td_attributes);
    walk.read("td.init_cpu_svn", &more.init_cpu_svn);
    walk.read("td.init_tee_tcb_svn", &more.init_tee_tcb_svn);
    walk.read("td.init_tee_fmspc", &more.init_tee_fmspc);
    walk.read("td.cur_service_td_hash", &more.cur_service_td_hash);
    walk.read("td.cur_service_td_attributes", &more.cur_service_td_attributes);
}

fn add_enclave(whose: &str, report: &EnclaveReport, walk: &mut Walk<'_>) {
    let start = walk.at;
    let name = |field: &str| format!("{whose}.{field}");
    walk.read(name("cpu_svn"), &report.cpu_svn);
    walk.read(name("misc_select"), &report.misc_select);
    walk.take(name("reserved_1"), 12);
    walk.read(name("isv_ext_prod_id"), &report.isv_ext_prod_id);
    walk.read(name("attributes"), &report.attributes);
    walk.read(name("mr_enclave"), &report.mr_enclave);
    walk.take(name("reserved_2"), 32);
    walk.read(name("mr_signer"), &report.mr_signer);
    walk.take(name("reserved_3"), 32);
    walk.read(name("config_id"), &report.config_id);
    walk.read(name("isv_prod_id"), &report.isv_prod_id.to_le_bytes());
    walk.read(name("isv_svn"), &report.isv_svn.to_le_bytes());
    walk.read(name("config_svn"), &report.config_svn.to_le_bytes());
    walk.take(name("reserved_4"), 42);
    walk.read(name("isv_family_id"), &report.isv_family_id);
    walk.read(name("report_data"), &report.report_data);
    walk.whole(name("report"), start);
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
    let entries = fields.iter().map(|field| (field.name.clone(), Value::String(hex::encode(&field.bytes))));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Where in the quote each field is that has a place there: its first byte, and the first behind it.
pub fn places(fields: &[Field]) -> Value {
    let placed = fields.iter().filter_map(|field| Some((field.name.clone(), field.place.as_ref()?)));
    Value::Object(placed.map(|(name, place)| (name, json!([place.start, place.end]))).collect::<Map<_, _>>())
}

/// One line a field; a long value by its hash.
pub fn to_text(fields: &[Field]) -> String {
    let width = fields.iter().map(|field| field.name.len()).max().unwrap_or_default();
    let lines = fields.iter().map(|field| format!("{:width$}  {}", field.name, shown(&field.bytes)));
    lines.collect::<Vec<_>>().join("\n")
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
    use crate::{commands::attest::samples::SAMPLES, evidence};
    use phala_insecure_tee::{InsecureVendor, Processor, QuoteFields, QuoteFormat, QuoteSigner};

    /// Genuine quotes of reports that no sample with collateral has: TD report 1.5 without the extension, and another length of chain.
    const OTHERS: [&[u8]; 2] = [
        include_bytes!("../../../../../testing/vectors/attest/tdx_v5_td15.bin"),
        include_bytes!("../../../../../testing/vectors/attest/tdx_v4_cos.bin"),
    ];

    /// Whether the fields with a place are the quote, one behind the other.
    fn tile(quote: &[u8], fields: &[Field]) -> bool {
        let mut at = 0;
        for (field, place) in fields.iter().filter_map(|field| Some((field, field.place.clone()?))) {
            if place.start != at || quote.get(place.clone()) != Some(&field.bytes[..]) {
                return false;
            }
            at = place.end;
        }
        at == quote.len()
    }

    #[test]
    fn shows_every_byte_of_a_quote_of_each_kind_at_its_place() {
        let vendor = InsecureVendor::new().unwrap();
        let signer = QuoteSigner::new(&vendor, &Processor::named("alpha")).unwrap();
        // The one report that no genuine quote here has: TD report 1.0 in version 5.
        let parts = signer.parts(&QuoteFields::of(b"program"), &QuoteFormat::TdxV5(None));
        let simulated = signer.sign_parts(&parts);
        let genuine = SAMPLES.iter().map(|sample| sample.quote).chain(OTHERS);
        for (index, quote) in genuine.chain([&simulated[..]]).enumerate() {
            let evidence = evidence::evidence(quote).unwrap();
            let (quote, fields) = (quote_of(&evidence), fields(&evidence).unwrap());
            assert!(tile(quote, &fields), "{index}");
            let placed: Vec<&Field> = fields.iter().filter(|field| field.place.is_some()).collect();
            for left_out in 0..placed.len() {
                let mut less: Vec<Field> = placed.iter().map(|field| (*field).clone()).collect();
                less.remove(left_out);
                assert!(!tile(quote, &less), "{index}: nobody misses {}", placed[left_out].name);
            }
            let mut names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            assert_eq!(names.last(), Some(&"measurement"));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), fields.len(), "{index}: two fields of one name, of which JSON shows one");
            let (json, places) = (to_json(&fields), places(&fields));
            assert_eq!(places.as_object().unwrap().len(), placed.len());
            assert_eq!(places["pck_chain.pem"][1], quote.len());
            assert_eq!(json["pck_chain.pem"].as_str().unwrap(), hex::encode(decode_quote(quote).unwrap().pck_chain));
        }
    }

    #[test]
    fn shows_what_the_fields_of_each_kind_come_to() {
        for sample in &SAMPLES {
            let evidence = evidence::evidence(sample.quote).unwrap();
            let fields = fields(&evidence).unwrap();
            let (text, json) = (to_text(&fields), to_json(&fields));
            assert_eq!(json["measurement"], sample.measurement.trim());
            assert!(text.contains(sample.measurement.trim()));
            let processor = ["pck.fmspc", "pck.pce_id", "pck.cpu_svn", "pck.pce_svn"].map(|name| json[name].clone());
            assert_eq!(processor, sample.processor);
            let certificates = (0..4).filter(|index| json.get(format!("pck_chain.{index}")).is_some());
            assert_eq!(certificates.count(), 3);
            let decoded = decode_quote(quote_of(&evidence)).unwrap();
            assert_eq!(json["signed"], hex::encode(decoded.signed));
            assert_eq!(json["qe.report"], hex::encode(decoded.qe_report_bytes));
            let report = if decoded.version == 3 { "enclave" } else { "td" };
            assert!(json["signed"].as_str().unwrap().ends_with(json[format!("{report}.report")].as_str().unwrap()));
            let data = json[format!("{report}.report_data")].as_str().unwrap();
            assert_eq!(data, hex::encode(decoded.report.report_data()));
        }
    }

    /// A byte that the verifier reads only to see that it is zero is shown where it is: an enclave with such a byte says which.
    #[test]
    fn reserved_bytes_of_an_enclave_are_shown_one_by_one() {
        let quote = SAMPLES[0].quote;
        for (name, at) in [("reserved_1", 68), ("reserved_2", 175), ("reserved_3", 208), ("reserved_4", 349)] {
            let mut altered = quote.to_vec();
            altered[at] ^= 1;
            let shown = |quote: &[u8]| fields(&evidence::evidence(quote).unwrap()).unwrap();
            let (before, after) = (shown(quote), shown(&altered));
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
            let changed: Vec<&str> = changed.map(|(_, after)| after.name.as_str()).collect();
            assert_eq!(changed, [format!("enclave.{name}").as_str(), "enclave.report", "signed"], "{at}");
        }
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
