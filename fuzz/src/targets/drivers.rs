//! What a quoting driver answers, before it is a quote. Outside a TEE the host plays the driver.
//!
//! Holds: a frame is exactly one quote, with nothing but zeros behind it, whatever those are; the verifier's own readers, which are other
//! code, find the same quote and the same report data in it; what they take and this refuses is of a kind that no machine makes.

use crate::{assert_bounded, measured, Target, Verdict};
use phala_attest::{canonical_quote, decode_quote, Vendor};
use phala_platform::{frame, FrameError, QuoteKind};
use std::sync::LazyLock;

macro_rules! answer {
    ($name:literal) => {
        include_bytes!(concat!("../../../testing/vectors/attest/", $name)).to_vec()
    };
}

/// Answers of drivers of genuine machines.
pub static DRIVER_FRAMES: Target = Target {
    name: "driver-frames",
    covers: &["tee/platform/src/frame.rs::frame"],
    samples: LazyLock::new(|| {
        vec![
            answer!("sgx_v3.bin"),
            answer!("tdx_v4.bin"),
            answer!("tdx_v4_cos.bin"),
            answer!("tdx_v5.bin"),
            answer!("tdx_v5_td15.bin"),
        ]
    }),
    check: |bytes| {
        let (framed, peak) = measured(|| frame(bytes));
        assert_bounded(peak, bytes.len(), 0);
        let found = match framed {
            Ok(found) => found,
            Err(error) => {
                let told = matches!(error, FrameError::Kind { .. } | FrameError::Body { .. });
                assert!(told || canonical_quote(bytes).is_err(), "the verifier finds a quote: {error}");
                return Verdict::refused(error);
            }
        };
        let (quote, padding) = bytes.split_at(found.quote.len());
        assert_eq!(quote, found.quote);
        assert!(padding.iter().all(|byte| *byte == 0), "bytes that are nobody's were cut off");
        assert_eq!(canonical_quote(bytes), Ok(quote));
        assert_eq!(frame(quote), Ok(found), "cut twice");
        assert_eq!(frame(&[quote, &[0; 3]].concat()).map(|longer| longer.report_data), Ok(found.report_data));
        assert_eq!(frame(&[quote, &[0, 1]].concat()), Err(FrameError::TrailingBytes));
        assert_eq!(frame(&quote[..quote.len() - 1]), Err(FrameError::TooShort));
        match decode_quote(quote) {
            Ok(decoded) => {
                assert_eq!(*decoded.report.report_data(), found.report_data);
                assert_eq!(decoded.vendor() == Vendor::IntelSgx, found.kind == QuoteKind::SgxV3);
                Verdict::accepted(format_args!("{:?}", found.kind))
            }
            // The rest of it is the verifier's to refuse.
            Err(error) => Verdict::accepted(format_args!("{:?} {error}", found.kind)),
        }
    },
    iterations: 3_000,
};
