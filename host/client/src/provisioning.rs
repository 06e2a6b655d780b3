//! What Intel's provisioning certification service (version 4) answers, or a PCCS, as collateral.
//!
//! Reads shape and judges nothing: the service controls every byte, and what it gives is signed by Intel, so that whoever takes collateral
//! verifies it ([`phala_attest::verify_collateral`]). Guarantees: signed JSON is kept byte for byte, what is longer than collateral may be is
//! refused, and every refusal says of which answer it is. Does not fetch anything, and bounds no answer before it is here: the caller does.
//!
//! Source: Intel, "API documentation for Provisioning Certification Service", version 4, and the PCCS of the DCAP primitives. A PCCS gives
//! the root's revocation list in hexadecimal, Intel's service as DER.

use phala_attest::{Collateral, CollateralKind, List};
use serde::{de::Error as _, Deserialize};
use serde_json::value::RawValue;

/// The answers that collateral is made of: bodies, and the values of the headers that hold certificate chains.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers<'a> {
    /// Body of TCB info: an object with `tcbInfo` and `signature`.
    pub tcb_info: &'a [u8],
    /// Header `TCB-Info-Issuer-Chain` beside it: PEM, in percent-encoding.
    pub tcb_info_chain: &'a [u8],
    /// Body of the QE identity: an object with `enclaveIdentity` and `signature`.
    pub qe_identity: &'a [u8],
    /// Header `SGX-Enclave-Identity-Issuer-Chain` beside it.
    pub qe_identity_chain: &'a [u8],
    /// Body of the PCK authority's revocation list: DER, or that in hexadecimal.
    pub pck_crl: &'a [u8],
    /// Header `SGX-PCK-CRL-Issuer-Chain` beside it.
    pub pck_crl_chain: &'a [u8],
    /// Body of the root's revocation list: DER, or that in hexadecimal.
    pub root_ca_crl: &'a [u8],
}

/// Why answers are no collateral.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// Not the JSON of such an answer.
    #[error("the {0} is malformed: {1}")]
    Malformed(&'static str, #[source] serde_json::Error),
    /// A signature that is not r and s in hexadecimal.
    #[error("the signature of the {0} does not have 64 bytes")]
    Signature(&'static str),
    /// Longer than collateral may be.
    #[error("the {0} is too long")]
    TooLong(&'static str),
}

#[derive(Deserialize)]
struct SignedTcbInfo<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    document: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
struct SignedIdentity<'a> {
    #[serde(borrow, rename = "enclaveIdentity")]
    document: &'a RawValue,
    signature: String,
}

/// The collateral in these answers.
pub fn decode_answers(answers: &Answers<'_>) -> Result<Collateral, AnswerFault> {
    let tcb_info: SignedTcbInfo<'_> = parse(answers.tcb_info, "TCB info")?;
    let identity: SignedIdentity<'_> = parse(answers.qe_identity, "QE identity")?;
    Ok(Collateral {
        kind: CollateralKind::IntelDcap,
        tcb_info: limited(tcb_info.document.get().as_bytes().to_vec(), "TCB info")?,
        tcb_info_signature: signature(&tcb_info.signature, "TCB info")?,
        tcb_info_issuer_chain: limited(unescape(answers.tcb_info_chain), "chain of the TCB info")?,
        qe_identity: limited(identity.document.get().as_bytes().to_vec(), "QE identity")?,
        qe_identity_signature: signature(&identity.signature, "QE identity")?,
        qe_identity_issuer_chain: limited(unescape(answers.qe_identity_chain), "chain of the QE identity")?,
        root_ca_crl: limited(der(answers.root_ca_crl), "root's revocation list")?,
        pck_crl: limited(der(answers.pck_crl), "revocation list")?,
        pck_crl_issuer_chain: limited(unescape(answers.pck_crl_chain), "chain of the revocation list")?,
    })
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &'static str) -> Result<T, AnswerFault> {
    // Serde takes the fields of a record out of an array too, by their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(AnswerFault::Malformed(what, serde_json::Error::custom("not an object")));
    }
    serde_json::from_slice(body).map_err(|error| AnswerFault::Malformed(what, error))
}

fn signature(text: &str, what: &'static str) -> Result<[u8; 64], AnswerFault> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(AnswerFault::Signature(what))
}

fn limited<const LIMIT: usize>(bytes: Vec<u8>, what: &'static str) -> Result<List<u8, LIMIT>, AnswerFault> {
    List::try_from(bytes).map_err(|_| AnswerFault::TooLong(what))
}

/// A revocation list as it is, from Intel; a PCCS gives the same in hexadecimal.
fn der(body: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(body).ok().map(str::trim);
    text.and_then(|text| hex::decode(text).ok()).unwrap_or_else(|| body.to_vec())
}

/// The bytes that `%41` and the like stand for; what is none of these is itself.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.first_chunk::<2>()).flatten();
        let decoded = escaped.and_then(|digits| {
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok().map(|()| byte[0])
        });
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn signed_json_is_kept_byte_for_byte_and_lists_in_either_form() {
        let answers = Answers {
            tcb_info: &[
                b" {\"signature\":\"".as_slice(),
                "07".repeat(64).as_bytes(),
                b"\", \"tcbInfo\": {\"b\" :1,\"a\":[ ]} }",
            ]
            .concat(),
            tcb_info_chain: b"-----BEGIN%20C%0a%",
            qe_identity: &[b"{\"enclaveIdentity\":{},\"signature\":\"".as_slice(), &[b'0'; 128], b"\"}"].concat(),
            pck_crl: &[0x30, 0x80, 0xff],
            root_ca_crl: b"3080FF\n",
            ..Answers::default()
        };
        let collateral = decode_answers(&answers).unwrap();
        assert_eq!(*collateral.tcb_info, *b"{\"b\" :1,\"a\":[ ]}");
        assert_eq!((collateral.tcb_info_signature, collateral.qe_identity_signature), ([7; 64], [0; 64]));
        assert_eq!(*collateral.tcb_info_issuer_chain, *b"-----BEGIN C\n%");
        assert_eq!(
            (&*collateral.pck_crl, &*collateral.root_ca_crl),
            (&[0x30, 0x80, 0xff][..], &[0x30, 0x80, 0xff][..])
        );
    }

    #[test]
    fn what_is_no_answer_is_refused_by_name() {
        let signed = |name: &str, signature: usize| {
            format!("{{\"{name}\":{{}},\"signature\":\"{}\"}}", "0".repeat(signature)).into_bytes()
        };
        let (tcb_info, qe_identity) = (signed("tcbInfo", 128), signed("enclaveIdentity", 128));
        let good = Answers { tcb_info: &tcb_info, qe_identity: &qe_identity, ..Answers::default() };
        assert!(decode_answers(&good).is_ok());
        let refused = |answers: Answers<'_>| decode_answers(&answers).unwrap_err().to_string();
        assert!(refused(Answers { tcb_info: b"{}", ..good }).starts_with("the TCB info is malformed"));
        assert!(refused(Answers { qe_identity: &tcb_info, ..good }).starts_with("the QE identity is malformed"));
        let twice = [&tcb_info[..tcb_info.len() - 1], b",\"tcbInfo\":{}}"].concat();
        assert!(refused(Answers { tcb_info: &twice, ..good }).contains("duplicate field"));
        let array = format!("[{{}},\"{}\"]", "0".repeat(128));
        assert!(refused(Answers { tcb_info: array.as_bytes(), ..good }).contains("not an object"));
        let short = signed("tcbInfo", 126);
        assert_eq!(
            refused(Answers { tcb_info: &short, ..good }),
            "the signature of the TCB info does not have 64 bytes"
        );
        let long = vec![0; 100_000];
        assert_eq!(refused(Answers { pck_crl: &long, ..good }), "the revocation list is too long");
        assert_eq!(refused(Answers { qe_identity_chain: &long, ..good }), "the chain of the QE identity is too long");
    }

    #[test]
    fn escapes_are_undone_and_nothing_else() {
        assert_eq!(unescape(b"%2D%2d%2B%0A"), b"--+\n");
        for kept in ["%", "%4", "%zz", "a%", "%%", "+"] {
            assert_eq!(unescape(kept.as_bytes()), kept.as_bytes(), "{kept}");
        }
    }
}
