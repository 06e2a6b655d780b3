//! Splits a PEM chain into its certificates' DER.
//!
//! Bounded and judgement-free: at most [`CHAIN_LENGTH`] certificates of at most [`CERTIFICATE_LIMIT`] bytes. Between and
//! around the blocks only white space and NUL are allowed (Intel's quoting enclave ends its chain with a NUL): text
//! that is skipped is text that two readers can disagree about.

use alloc::vec::Vec;

/// Certificates in a chain: leaf, intermediate, root.
pub(crate) const CHAIN_LENGTH: usize = 3;
/// Bytes of one certificate's DER. Intel's largest, a PCK leaf, has about 1,270.
pub(crate) const CERTIFICATE_LIMIT: usize = 4096;

/// Why a PEM chain was not readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, codec::Encode, codec::Decode, thiserror::Error)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum PemFault {
    /// Something other than white space outside the certificate blocks.
    #[error("text outside the certificate blocks")]
    Framing,
    /// A block's body is not base64.
    #[error("certificate block is not base64")]
    Base64,
    /// Too many certificates, or too large a one.
    #[error("chain has too many certificates or too large a one")]
    TooLong,
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The DER of each certificate in `text`, in its order.
pub(crate) fn decode_chain(text: &[u8]) -> Result<Vec<Vec<u8>>, PemFault> {
    let mut chain = Vec::new();
    let mut rest = skip_blank(text);
    while !rest.is_empty() {
        if chain.len() >= CHAIN_LENGTH {
            return Err(PemFault::TooLong);
        }
        let body = rest.strip_prefix(BEGIN).ok_or(PemFault::Framing)?;
        let length = body.iter().position(|byte| *byte == b'-').ok_or(PemFault::Framing)?;
        let (encoded, after) = body.split_at_checked(length).ok_or(PemFault::Framing)?;
        rest = skip_blank(after.strip_prefix(END).ok_or(PemFault::Framing)?);
        chain.push(decode_base64(encoded)?);
    }
    Ok(chain)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0)
}

fn skip_blank(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// Canonical, padded base64 with line breaks anywhere.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>, PemFault> {
    if text.len() > CERTIFICATE_LIMIT * 2 {
        return Err(PemFault::TooLong);
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut accumulator, mut digits, mut padding) = (0u32, 0u8, 0u8);
    for &byte in text {
        if matches!(byte, b'\r' | b'\n') {
            continue;
        }
        if byte == b'=' {
            padding = padding.saturating_add(1);
            continue;
        }
        let value = match byte {
            _ if padding > 0 => return Err(PemFault::Base64),
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(PemFault::Base64),
        };
        accumulator = (accumulator << 6) | u32::from(value);
        digits += 1;
        if digits == 4 {
            bytes.extend_from_slice(accumulator.to_be_bytes().get(1..).unwrap_or_default());
            (accumulator, digits) = (0, 0);
        }
    }
    // The bits beyond the last byte must be zero, or two texts would decode to the same certificate.
    let spare = match (digits, padding) {
        (0, 0) => 0,
        (2, 2) => {
            bytes.push((accumulator >> 4) as u8);
            accumulator & 0xf
        }
        (3, 1) => {
            bytes.extend_from_slice(&[(accumulator >> 10) as u8, (accumulator >> 2) as u8]);
            accumulator & 0x3
        }
        _ => return Err(PemFault::Base64),
    };
    if spare != 0 {
        return Err(PemFault::Base64);
    }
    if bytes.len() > CERTIFICATE_LIMIT {
        return Err(PemFault::TooLong);
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn decodes_each_padding_and_a_trailing_nul() {
        let text = b"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\r\n-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----AQI=-----END CERTIFICATE-----\n\0";
        assert_eq!(decode_chain(text).unwrap(), [vec![1u8, 2, 3], vec![1], vec![1, 2]]);
        assert_eq!(decode_chain(b"").unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn refuses_non_canonical_bodies_and_text_outside() {
        let block = |body: &str| [BEGIN, body.as_bytes(), END].concat();
        for body in ["AQJ=", "AR==", "A", "AQ=A", "AQI", "AQ!D", "====", "AQID="] {
            assert_eq!(decode_chain(&block(body)), Err(PemFault::Base64), "{body}");
        }
        assert_eq!(decode_chain(b"x-----BEGIN CERTIFICATE-----AQID-----END CERTIFICATE-----"), Err(PemFault::Framing));
        assert_eq!(decode_chain(b"-----BEGIN CERTIFICATE-----AQID"), Err(PemFault::Framing));
        assert_eq!(decode_chain(&block("AQID").repeat(CHAIN_LENGTH + 1)), Err(PemFault::TooLong));
        assert_eq!(decode_chain(&block(&"AAAA".repeat(CERTIFICATE_LIMIT / 3 + 1))), Err(PemFault::TooLong));
    }
}
