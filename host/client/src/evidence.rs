//! Evidence and collateral as tools write them into files.
//!
//! Takes what tools give: a quote as bytes or hexadecimal, evidence as a worker shows it, collateral as a relayer takes it (SCALE) or in
//! the JSON that Intel's and Phala's tools write. Guarantees: bytes have one meaning, or are an error that says what was expected; memory is
//! in proportion to them; what is read, written in SCALE, is read as the same; a kind of another vendor is named only where the bytes behind it
//! look like that vendor's. Whoever wrote a file controls its content. Does not: bound how long a file is, which whoever opens it does, nor
//! judge what is in it.

use codec::{Compact, Decode};
use phala_attest::{canonical_quote, Collateral, CollateralKind, Evidence, KindFault, List};
use serde::Deserialize;

/// What evidence is given as.
const EVIDENCE_FORMS: &str =
    "a quote of Intel SGX (version 3) or Intel TDX (version 4 or 5), or evidence in SCALE; each as bytes or in hexadecimal";
/// What collateral is given as.
const COLLATERAL_FORMS: &str = "a JSON object, or collateral in SCALE, as bytes or in hexadecimal";
/// Bytes of AMD SEV-SNP's attestation report.
const SNP_REPORT: usize = 1_184;

/// Why bytes are not what they should be; the fault is whoever wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileFault(String);

/// The evidence in some bytes.
pub fn decode_evidence(bytes: &[u8]) -> Result<Evidence, FileFault> {
    let read = unhex(bytes);
    // A quote begins with its version, evidence with its kind: 3 to 5 as two bytes and a key type of two bytes are no kind.
    if matches!(read.first_chunk::<4>(), Some([3..=5, 0, 2 | 3, 0])) {
        let quote = canonical_quote(&read).map_err(|error| FileFault(error.to_string()))?;
        let quote = List::try_from(quote.to_vec()).map_err(|error| FileFault(error.to_string()))?;
        return Ok(if read.starts_with(&[3]) { Evidence::SgxDcap(quote) } else { Evidence::TdxDcap(quote) });
    }
    phala_attest::decode_evidence(&read).map_err(|fault| match fault {
        KindFault::UnsupportedEvidence(_) if is_other_evidence(&read) => FileFault(fault.to_string()),
        _ => unread(bytes, EVIDENCE_FORMS),
    })
}

/// The collateral in some bytes.
pub fn decode_collateral(bytes: &[u8]) -> Result<Collateral, FileFault> {
    // Its kind comes first in SCALE, which no number of reads as white space or as a brace.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        let json: JsonCollateral = serde_json::from_slice(bytes).map_err(|error| FileFault(error.to_string()))?;
        return json.into_collateral().map_err(FileFault);
    }
    let read = unhex(bytes);
    phala_attest::decode_collateral(&read).map_err(|fault| match fault {
        KindFault::UnsupportedCollateral(_) if is_other_collateral(&read) => FileFault(fault.to_string()),
        _ => unread(bytes, COLLATERAL_FORMS),
    })
}

/// Collateral in the JSON that `dcap-qvl` and its relatives write: text as text, the rest in hexadecimal.
#[derive(Deserialize)]
struct JsonCollateral {
    tcb_info: String,
    tcb_info_signature: String,
    tcb_info_issuer_chain: String,
    qe_identity: String,
    qe_identity_signature: String,
    qe_identity_issuer_chain: String,
    root_ca_crl: String,
    pck_crl: String,
    pck_crl_issuer_chain: String,
}

impl JsonCollateral {
    fn into_collateral(self) -> Result<Collateral, String> {
        Ok(Collateral {
            kind: CollateralKind::IntelDcap,
            tcb_info: list("tcb_info", self.tcb_info.into_bytes())?,
            tcb_info_signature: signature("tcb_info_signature", &self.tcb_info_signature)?,
            tcb_info_issuer_chain: list("tcb_info_issuer_chain", self.tcb_info_issuer_chain.into_bytes())?,
            qe_identity: list("qe_identity", self.qe_identity.into_bytes())?,
            qe_identity_signature: signature("qe_identity_signature", &self.qe_identity_signature)?,
            qe_identity_issuer_chain: list("qe_identity_issuer_chain", self.qe_identity_issuer_chain.into_bytes())?,
            root_ca_crl: list("root_ca_crl", from_hex("root_ca_crl", &self.root_ca_crl)?)?,
            pck_crl: list("pck_crl", from_hex("pck_crl", &self.pck_crl)?)?,
            pck_crl_issuer_chain: list("pck_crl_issuer_chain", self.pck_crl_issuer_chain.into_bytes())?,
        })
    }
}

fn list<const LIMIT: usize>(name: &str, bytes: Vec<u8>) -> Result<List<u8, LIMIT>, String> {
    List::try_from(bytes).map_err(|_| format!("{name} is too long"))
}

fn from_hex(name: &str, text: &str) -> Result<Vec<u8>, String> {
    hex::decode(text).map_err(|error| format!("{name}: {error}"))
}

fn signature(name: &str, text: &str) -> Result<[u8; 64], String> {
    from_hex(name, text)?.try_into().map_err(|_| format!("{name} does not have 64 bytes"))
}

/// The bytes that hexadecimal text stands for; bytes that are no such text, as they are.
fn unhex(bytes: &[u8]) -> Vec<u8> {
    digits(bytes).and_then(|digits| hex::decode(digits).ok()).unwrap_or_else(|| bytes.to_vec())
}

/// What may be hexadecimal digits: text without what may stand around them.
fn digits(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    Some(text.strip_prefix("0x").unwrap_or(text))
}

/// That bytes of a file have none of these forms, and what they are as far as it can be told.
fn unread(bytes: &[u8], forms: &str) -> FileFault {
    let is_text = |text: &&str| text.chars().all(|read| !read.is_control() || read.is_ascii_whitespace());
    let found = match digits(bytes).filter(is_text).map(|text| (text, hex::decode(text))) {
        Some(("", _)) => "nothing".to_owned(),
        Some((text, _)) if text.starts_with('\u{feff}') => {
            "text that is no hexadecimal: it begins with a byte order mark".to_owned()
        }
        Some((_, Err(error))) => format!("text that is no hexadecimal ({error})"),
        Some((_, Ok(_))) => "hexadecimal of something else".to_owned(),
        None => "bytes of something else".to_owned(),
    };
    FileFault(format!("this is {found}; expected is {forms}"))
}

/// Whether this looks like evidence of a kind that is kept for another vendor. These have a first byte and what they carry (ADR 0019), and no
/// encoding yet: a length may stand before what they carry.
fn is_other_evidence(bytes: &[u8]) -> bool {
    match bytes {
        // SEV-SNP's report begins with its version, of four bytes.
        [2, rest @ ..] => [rest, behind_length(rest)]
            .iter()
            .any(|form| form.len() >= SNP_REPORT && matches!(form, [2..=5, 0, 0, 0, ..])),
        // A token of Arm CCA is CBOR, and begins with its tag, its map and the key of the platform's token, 44234.
        [3, rest @ ..] => rest.windows(3).take(16).any(|key| key == [0x19_u8, 0xac, 0xca]),
        _ => false,
    }
}

/// The same of collateral.
fn is_other_collateral(bytes: &[u8]) -> bool {
    match bytes {
        // Certificates of SEV-SNP, in DER or PEM.
        [1, rest @ ..] => [rest, behind_length(rest)]
            .iter()
            .any(|form| matches!(form, [0x30, 0x82, ..]) || form.starts_with(b"-----BEGIN ")),
        // Endorsements of Arm CCA: a CoRIM, CBOR's tag 501, or a signed one, its tag 18.
        [2, rest @ ..] => {
            [rest, behind_length(rest)].iter().any(|form| matches!(form, [0xd9, 0x01, 0xf5, ..] | [0xd2, 0x84, ..]))
        }
        _ => false,
    }
}

/// What a SCALE list holds that bytes begin with; nothing if it is not all there.
fn behind_length(mut bytes: &[u8]) -> &[u8] {
    let length = Compact::<u32>::decode(&mut bytes).map_or(0, |length| length.0 as usize);
    bytes.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use codec::Encode;

    const QUOTE: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.bin");
    const COLLATERAL: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.collateral.json");

    #[test]
    fn reads_evidence_in_every_form_that_tools_give_and_as_one_thing() {
        let expected = decode_evidence(QUOTE).unwrap();
        let quote = canonical_quote(QUOTE).unwrap().to_vec();
        assert_eq!(quote.len(), QUOTE.len() - 70, "the driver's padding is no evidence");
        assert_eq!(expected, Evidence::TdxDcap(quote.try_into().unwrap()));
        for form in [
            hex::encode(QUOTE).into_bytes(),
            format!("0x{}\n", hex::encode(QUOTE)).into_bytes(),
            expected.encode(),
            hex::encode(expected.encode()).into_bytes(),
        ] {
            assert_eq!(decode_evidence(&form).unwrap(), expected);
        }
        for bad in [&b""[..], b"0x", b"quote", &QUOTE[..700], &[4, 0, 2, 0]] {
            assert!(decode_evidence(bad).is_err());
        }
    }

    #[test]
    fn a_kind_of_evidence_is_named_where_it_is_kept_and_looks_like_it_and_else_what_was_expected_is_said() {
        let told = |bytes: &[u8]| decode_evidence(bytes).unwrap_err().to_string();
        let report = [&[5_u8, 0, 0, 0][..], &[7; SNP_REPORT - 4]].concat();
        let token = [0xd9_u8, 0x01, 0x8f, 0xa2, 0x19, 0xac, 0xca, 0x58];
        for (kind, carried) in [(2, &report[..]), (3, &token[..])] {
            for other in [[&[kind], carried].concat(), [vec![kind], carried.to_vec().encode()].concat()] {
                for other in [hex::encode(&other).into_bytes(), other] {
                    let told = told(&other);
                    assert!(told.contains(&format!("evidence of kind {kind} is not verified")), "{told}");
                    assert!(told.contains("0 (Intel TDX) and 1 (Intel SGX)"), "{told}");
                }
            }
        }
        let mut old = QUOTE.to_vec();
        old[0] = 2;
        let nonsense = [&[2], QUOTE].concat();
        for (bytes, found) in [
            (&old[..], "bytes of something else"),
            (hex::encode(&old).as_bytes(), "hexadecimal of something else"),
            (&[&[2_u8, 0, 2, 0][..], &[0; 2_000]].concat()[..], "bytes of something else"),
            (&nonsense[..], "bytes of something else"),
            (&[&[2], &report[..SNP_REPORT - 1]].concat()[..], "bytes of something else"),
            (&[3, 0, 1, 0][..], "bytes of something else"),
            (&[0, 0, 0][..], "bytes of something else"),
            (&[0xfe; 9][..], "bytes of something else"),
            (&b""[..], "nothing"),
            (
                hex::encode(QUOTE).replacen("00", "0g", 1).as_bytes(),
                "text that is no hexadecimal (Invalid character 'g'",
            ),
            (&hex::encode(QUOTE).as_bytes()[1..], "text that is no hexadecimal"),
            ("\u{feff}{}".as_bytes(), "byte order mark"),
            (&b"{\"quote\": 1}\n"[..], "text that is no hexadecimal"),
        ] {
            let told = told(bytes);
            assert!(told.starts_with("this is ") && told.contains(found), "{told}");
            assert!(
                told.contains("a quote of Intel SGX") && told.contains("hexadecimal") && told.contains("SCALE"),
                "{told}"
            );
            assert!(!told.contains("kind") && !told.contains("SEV-SNP"), "{told}");
        }
    }

    #[test]
    fn a_kind_of_collateral_is_named_where_it_is_kept_and_looks_like_it_and_else_what_was_expected_is_said() {
        let told = |bytes: &[u8]| decode_collateral(bytes).unwrap_err().to_string();
        let (der, pem) = ([0x30_u8, 0x82, 1, 2], b"-----BEGIN CERTIFICATE-----");
        let (endorsements, signed) = ([0xd9_u8, 0x01, 0xf5, 0xa0], [0xd2_u8, 0x84, 0x43, 0xa1]);
        for (kind, carried) in [(1, &der[..]), (1, &pem[..]), (2, &endorsements[..]), (2, &signed[..])] {
            for other in [[&[kind], carried].concat(), [vec![kind], carried.to_vec().encode()].concat()] {
                let told = told(&other);
                assert!(told.contains(&format!("collateral of kind {kind} is not verified")), "{told}");
                assert!(told.contains("0 (Intel DCAP)"), "{told}");
            }
        }
        let scale = decode_collateral(COLLATERAL).unwrap().encode();
        let marked = [&b"\xef\xbb\xbf"[..], COLLATERAL].concat();
        for (bytes, found) in [
            (&marked[..], "byte order mark"),
            (&[&[1], &scale[1..]].concat()[..], "bytes of something else"),
            (&[&[2], &scale[1..]].concat()[..], "bytes of something else"),
            (&scale[1..], "bytes of something else"),
            (&scale[..scale.len() - 1], "bytes of something else"),
            (&hex::encode(&scale).as_bytes()[1..], "text that is no hexadecimal"),
            (&b"[1]"[..], "text that is no hexadecimal"),
            (&b""[..], "nothing"),
        ] {
            let told = told(bytes);
            assert!(told.contains(found) && told.contains("a JSON object") && told.contains("SCALE"), "{told}");
            assert!(!told.contains("kind"), "{told}");
        }
    }

    #[test]
    fn reads_collateral_as_json_and_as_scale() {
        let expected = decode_collateral(COLLATERAL).unwrap();
        assert_eq!(decode_collateral(&expected.encode()).unwrap(), expected);
        assert_eq!(decode_collateral(hex::encode(expected.encode()).as_bytes()).unwrap(), expected);
        assert!(decode_collateral(b"{}").unwrap_err().to_string().contains("tcb_info"));
        assert!(decode_collateral(b"").is_err());
        let text = String::from_utf8(COLLATERAL.to_vec()).unwrap();
        assert!(decode_collateral(text.replace("\"root_ca_crl\": \"30", "\"root_ca_crl\": \"3x").as_bytes()).is_err());
    }

    #[test]
    fn a_length_that_reads_as_white_space_makes_no_json_of_scale() {
        let mut collateral = decode_collateral(COLLATERAL).unwrap();
        let document = [&b"{"[..], &[b' '; 2_050]].concat();
        collateral.tcb_info = document.try_into().unwrap();
        let bytes = collateral.encode();
        assert_eq!(bytes[..4], *b"\0\r {", "its kind, 2051 as a compact number, then the document");
        assert_eq!(decode_collateral(&bytes), Ok(collateral));
    }
}
