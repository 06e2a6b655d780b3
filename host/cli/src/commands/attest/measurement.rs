//! `phala attest measurement`: what the allow-list names, from the fields of a launch.
//!
//! For whoever reproduces a build: registers that he computed or read go in, the verifier's own hash over them comes out. Every field that is
//! hashed has to be there; a field that is forgotten must not count as zeros.

use crate::error::CliError;
use phala_attest::{enclave_measurement, measurement, EnclaveReport, TdReport};
use phala_protocol::ids::to_hex;
use serde_json::{Map, Value};

/// The measurement of an SGX enclave or a TDX machine, whichever has fields there, from `attest show --json`, or from an object with the same names.
pub fn of_fields(json: &[u8]) -> Result<String, CliError> {
    let json: Value =
        serde_json::from_slice(json).map_err(|error| CliError::invalid(format!("the fields are no JSON: {error}")))?;
    let fields = json
        .get("fields")
        .unwrap_or(&json)
        .as_object()
        .ok_or_else(|| CliError::invalid("the fields are no object of names and hexadecimal values"))?;
    if fields.contains_key("enclave.mr_enclave") {
        let report = EnclaveReport {
            cpu_svn: [0; 16],
            misc_select: field(fields, "enclave.misc_select")?,
            isv_ext_prod_id: field(fields, "enclave.isv_ext_prod_id")?,
            attributes: field(fields, "enclave.attributes")?,
            mr_enclave: field(fields, "enclave.mr_enclave")?,
            mr_signer: field(fields, "enclave.mr_signer")?,
            config_id: field(fields, "enclave.config_id")?,
            isv_prod_id: u16::from_le_bytes(field(fields, "enclave.isv_prod_id")?),
            isv_svn: u16::from_le_bytes(field(fields, "enclave.isv_svn")?),
            config_svn: u16::from_le_bytes(field(fields, "enclave.config_svn")?),
            isv_family_id: field(fields, "enclave.isv_family_id")?,
            report_data: [0; 64],
            reserved_is_zero: true,
        };
        return Ok(to_hex(&enclave_measurement(&report)));
    }
    let report = TdReport {
        tee_tcb_svn: [0; 16],
        mr_seam: [0; 48],
        mr_signer_seam: [0; 48],
        seam_attributes: [0; 8],
        td_attributes: field(fields, "td.td_attributes")?,
        xfam: field(fields, "td.xfam")?,
        mr_td: field(fields, "td.mr_td")?,
        mr_config_id: field(fields, "td.mr_config_id")?,
        mr_owner: field(fields, "td.mr_owner")?,
        mr_owner_config: field(fields, "td.mr_owner_config")?,
        rtmr: [
            field(fields, "td.rtmr0")?,
            field(fields, "td.rtmr1")?,
            field(fields, "td.rtmr2")?,
            field(fields, "td.rtmr3")?,
        ],
        report_data: [0; 64],
    };
    Ok(to_hex(&measurement(&report)))
}

/// The fields of an enclave that are hashed, by the names that [`of_fields`] reads.
pub fn enclave_fields(report: &EnclaveReport) -> Map<String, Value> {
    let fields: [(&str, &[u8]); 10] = [
        ("mr_enclave", &report.mr_enclave),
        ("mr_signer", &report.mr_signer),
        ("isv_prod_id", &report.isv_prod_id.to_le_bytes()),
        ("isv_svn", &report.isv_svn.to_le_bytes()),
        ("attributes", &report.attributes),
        ("misc_select", &report.misc_select),
        ("config_id", &report.config_id),
        ("config_svn", &report.config_svn.to_le_bytes()),
        ("isv_ext_prod_id", &report.isv_ext_prod_id),
        ("isv_family_id", &report.isv_family_id),
    ];
    fields.into_iter().map(|(name, bytes)| (format!("enclave.{name}"), Value::String(hex::encode(bytes)))).collect()
}

fn field<const LENGTH: usize>(fields: &Map<String, Value>, name: &str) -> Result<[u8; LENGTH], CliError> {
    let text = fields.get(name).and_then(Value::as_str).ok_or_else(|| {
        CliError::invalid(format!("the field {name} is missing"))
            .with_hint("`phala attest show --json` prints them all")
    })?;
    let mut bytes = [0; LENGTH];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
        .map_err(|error| CliError::invalid(format!("{name} is not {LENGTH} bytes in hexadecimal: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{
        commands::attest::{fields, samples::SAMPLES},
        evidence,
    };
    use serde_json::json;

    const OF_AN_ENCLAVE: [&str; 10] = [
        "enclave.mr_enclave",
        "enclave.mr_signer",
        "enclave.isv_prod_id",
        "enclave.isv_svn",
        "enclave.attributes",
        "enclave.misc_select",
        "enclave.config_id",
        "enclave.config_svn",
        "enclave.isv_ext_prod_id",
        "enclave.isv_family_id",
    ];
    const OF_A_TRUST_DOMAIN: [&str; 10] = [
        "td.td_attributes",
        "td.xfam",
        "td.mr_td",
        "td.mr_config_id",
        "td.mr_owner",
        "td.mr_owner_config",
        "td.rtmr0",
        "td.rtmr1",
        "td.rtmr2",
        "td.rtmr3",
    ];

    #[test]
    fn what_is_shown_of_a_quote_gives_the_measurement_that_it_verifies_to() {
        for sample in &SAMPLES {
            let shown = fields::to_json(&fields::fields(&evidence::evidence(sample.quote).unwrap()).unwrap());
            let expected = format!("0x{}", sample.measurement.trim());
            let whole = json!({"judged": false, "fields": shown});
            assert_eq!(of_fields(whole.to_string().as_bytes()).unwrap(), expected);
            assert_eq!(of_fields(shown.to_string().as_bytes()).unwrap(), expected);
            let hashed = if sample.is_enclave() { OF_AN_ENCLAVE } else { OF_A_TRUST_DOMAIN };
            for (name, value) in shown.as_object().unwrap() {
                let text = value.as_str().unwrap();
                let mut other = shown.clone();
                other[name] = json!(format!("{}{}", if text.starts_with('0') { "1" } else { "0" }, &text[1..]));
                let measured = of_fields(other.to_string().as_bytes()).unwrap();
                assert_eq!(measured != expected, hashed.contains(&name.as_str()), "{name}");
                other.as_object_mut().unwrap().remove(name);
                let without = of_fields(other.to_string().as_bytes());
                if hashed.contains(&name.as_str()) {
                    assert_eq!(without.unwrap_err().exit_code(), 2, "{name}");
                } else {
                    assert_eq!(without.unwrap(), expected, "{name}");
                }
            }
        }
        assert!(of_fields(b"[]").is_err() && of_fields(b"no json").is_err());
    }
}
