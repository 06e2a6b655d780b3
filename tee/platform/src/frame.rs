//! Where a quote ends, which kind it is, and the 64 bytes it is about: what has to be known before it travels.
//!
//! Guarantees: a [`Frame`] is exactly one quote of a known kind - what a driver leaves behind it must be zeros, and is cut off, since
//! evidence has one encoding. Judges nothing else: `phala-attest` decodes and verifies, at the verifier. The driver, which is the
//! host's outside a TEE, controls every byte.
//!
//! Source: Intel, "SGX ECDSA Quote Library Reference" (version 3) and "TDX DCAP: Quote Generation Library and Quote Verification
//! Library" (versions 4 and 5). Little-endian:
//!
//! ```text
//! version 3, SGX:  48 header, 384 report body, 4 length, signature data
//! version 4, TDX:  48 header, 584 TD report,   4 length, signature data
//! version 5, TDX:  48 header, 2 body type, 4 body size, body, 4 length, signature data
//!                  type 2 is a TD report 1.0 (584 bytes), 3 is 1.5 (648), 4 is 1.5 extended (885)
//! ```

/// Bytes of the header of every version.
const HEADER_LENGTH: usize = 48;
const SGX_BODY_LENGTH: usize = 384;
const SGX_REPORT_DATA: usize = 320;
const TD10_BODY_LENGTH: usize = 584;
const TD15_BODY_LENGTH: usize = 648;
const TD15_EXTENDED_BODY_LENGTH: usize = 885;
/// Of every TD report: what is newer than version 1.0 stands behind it.
const TD_REPORT_DATA: usize = 520;
/// The body's type and size, in version 5 only.
const BODY_HEADER_LENGTH: usize = 6;
const TEE_TYPE_SGX: u32 = 0;
const TEE_TYPE_TDX: u32 = 0x81;

/// The kinds of quotes that a supported machine makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteKind {
    /// SGX, quote version 3.
    SgxV3,
    /// TDX, quote version 4.
    TdxV4,
    /// TDX, quote version 5.
    TdxV5,
}

/// Why bytes are no quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// They end inside it.
    #[error("it ends inside the quote")]
    TooShort,
    /// What is behind it is not padding.
    #[error("there are bytes behind the quote that are not zero")]
    TrailingBytes,
    /// A version or TEE type that no supported machine makes.
    #[error("version {version} of TEE type {tee:#x} is not supported")]
    Kind {
        /// The version.
        version: u16,
        /// The TEE type.
        tee: u32,
    },
    /// A body of version 5 that is of another type or size.
    #[error("body of type {kind} with {size} bytes is not supported")]
    Body {
        /// Its type.
        kind: u16,
        /// Its size.
        size: u32,
    },
}

/// One quote among a driver's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which kind it says it is.
    pub kind: QuoteKind,
    /// Its bytes, without padding.
    pub quote: &'a [u8],
    /// What it says it is about.
    pub report_data: [u8; 64],
}

/// Finds the quote at the start of `bytes`, which a driver gave. For whoever has the bytes by other ways than [`crate::Quote`].
pub fn frame(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let version = u16::from_le_bytes(array(bytes, 0)?);
    let tee = u32::from_le_bytes(array(bytes, 4)?);
    let (kind, body, length, report_data) = match (version, tee) {
        (3, TEE_TYPE_SGX) => (QuoteKind::SgxV3, HEADER_LENGTH, SGX_BODY_LENGTH, SGX_REPORT_DATA),
        (4, TEE_TYPE_TDX) => (QuoteKind::TdxV4, HEADER_LENGTH, TD10_BODY_LENGTH, TD_REPORT_DATA),
        (5, TEE_TYPE_TDX) => {
            let kind = u16::from_le_bytes(array(bytes, HEADER_LENGTH)?);
            let size = u32::from_le_bytes(array(bytes, HEADER_LENGTH + 2)?);
            let length = match (kind, size as usize) {
                (2, TD10_BODY_LENGTH) => TD10_BODY_LENGTH,
                (3, TD15_BODY_LENGTH) => TD15_BODY_LENGTH,
                (4, TD15_EXTENDED_BODY_LENGTH) => TD15_EXTENDED_BODY_LENGTH,
                _ => return Err(FrameError::Body { kind, size }),
            };
            (QuoteKind::TdxV5, HEADER_LENGTH + BODY_HEADER_LENGTH, length, TD_REPORT_DATA)
        }
        _ => return Err(FrameError::Kind { version, tee }),
    };
    let signed = body.saturating_add(length);
    let signature = u32::from_le_bytes(array(bytes, signed)?) as usize;
    let end = signed.saturating_add(4).saturating_add(signature);
    let (quote, padding) = bytes.split_at_checked(end).ok_or(FrameError::TooShort)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(FrameError::TrailingBytes);
    }
    Ok(Frame { kind, quote, report_data: array(bytes, body.saturating_add(report_data))? })
}

fn array<const LENGTH: usize>(bytes: &[u8], offset: usize) -> Result<[u8; LENGTH], FrameError> {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().ok_or(FrameError::TooShort)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SGX: &[u8] = include_bytes!("../../../testing/vectors/attest/sgx_v3.bin");
    const TDX4: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.bin");
    const TDX5: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v5.bin");
    /// With three thousand zeros behind it, as configfs-tsm gives it.
    const TDX4_PADDED: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4_cos.bin");

    #[test]
    fn finds_the_quotes_that_genuine_machines_made() {
        for (bytes, kind) in [
            (SGX, QuoteKind::SgxV3),
            (TDX4, QuoteKind::TdxV4),
            (TDX4_PADDED, QuoteKind::TdxV4),
            (TDX5, QuoteKind::TdxV5),
        ] {
            let found = frame(bytes).unwrap();
            assert_eq!(found.kind, kind);
            // Some of Intel's libraries count the zero behind the certificates to them, and some do not.
            let certificates = found.quote.strip_suffix(b"\0").unwrap_or(found.quote);
            assert!(certificates.ends_with(b"-----END CERTIFICATE-----\n"), "{kind:?}");
            assert_eq!(frame(found.quote).unwrap(), found, "{kind:?}: nothing is cut off twice");
        }
        for bytes in [SGX, TDX4, TDX4_PADDED, TDX5] {
            // The verifier reads the same.
            let found = frame(bytes).unwrap();
            assert_eq!(found.quote, phala_attest::canonical_quote(bytes).unwrap());
            assert_eq!(&found.report_data, phala_attest::decode_quote(found.quote).unwrap().report.report_data());
        }
    }

    #[test]
    fn refuses_every_shorter_and_every_longer_one() {
        for bytes in [SGX, TDX4, TDX5] {
            let quote = frame(bytes).unwrap().quote;
            for length in 0..quote.len() {
                assert_eq!(frame(&quote[..length]), Err(FrameError::TooShort), "{length}");
            }
            assert_eq!(frame(&[quote, &[0; 9]].concat()).unwrap().quote, quote);
            assert_eq!(frame(&[quote, &[0, 1]].concat()), Err(FrameError::TrailingBytes));
        }
    }

    #[test]
    fn refuses_other_versions_types_and_bodies_by_name() {
        let altered = |bytes: &[u8], offset: usize, value: u8| {
            let mut bytes = bytes.to_vec();
            bytes[offset] = value;
            frame(&bytes).map(|found| found.kind)
        };
        assert_eq!(altered(SGX, 0, 4), Err(FrameError::Kind { version: 4, tee: 0 }));
        assert_eq!(altered(SGX, 4, 0x81), Err(FrameError::Kind { version: 3, tee: 0x81 }));
        assert_eq!(altered(TDX4, 4, 0), Err(FrameError::Kind { version: 4, tee: 0 }));
        assert_eq!(altered(TDX5, 48, 1), Err(FrameError::Body { kind: 1, size: 885 }));
        assert_eq!(altered(TDX5, 50, 0x74), Err(FrameError::Body { kind: 4, size: 884 }));
        assert_eq!(frame(&[]), Err(FrameError::TooShort));
    }
}
