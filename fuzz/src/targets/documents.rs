//! Intel's two JSON documents, behind a good signature, and the dates in them.
//!
//! Oracles: dcap-qvl for the documents; for dates, the calendar written once more, the slow way.

use super::quotes::{development, lenient, their_verdict, NOW, SIMULATED};
use crate::{Target, Verdict};
use phala_attest::{parse_rfc3339_utc, verify_collateral, verify_evidence, Evidence, List};
use phala_insecure_tee::{qe_identity_json, tcb_info_json, Revoked, Window};
use std::sync::LazyLock;

static GENUINE: LazyLock<[String; 2]> = LazyLock::new(|| {
    let window = Window::around(NOW);
    [tcb_info_json(window).unwrap(), qe_identity_json(window).unwrap()]
});

/// The first byte says which of the two the others are.
pub static DOCUMENTS: Target = Target {
    name: "documents",
    covers: &[],
    samples: LazyLock::new(|| {
        let samples = GENUINE.iter().enumerate();
        samples.map(|(which, text)| [&[which as u8], text.as_bytes()].concat()).collect()
    }),
    check: |bytes| {
        let (which, text) = bytes.split_first().unwrap_or((&0, &[]));
        let Ok(text) = std::str::from_utf8(text) else { return Verdict::refused("not text") };
        let [tcb_info, qe_identity] = &*GENUINE;
        let (tcb_info, qe_identity) =
            if which.is_multiple_of(2) { (text, qe_identity.as_str()) } else { (tcb_info.as_str(), text) };
        let signed = SIMULATED.vendor.collateral(Window::around(NOW), tcb_info, qe_identity, &Revoked::default());
        let Ok(collateral) = signed else { return Verdict::refused("longer than collateral may be") };
        let verified = match verify_collateral(&collateral, &development(), NOW) {
            Ok(verified) => verified,
            Err(refusal) => return Verdict::refused(refusal),
        };
        let evidence = Evidence::TdxDcap(List::try_from(SIMULATED.quote.clone()).unwrap());
        match verify_evidence(&evidence, &verified, &lenient(development()), NOW) {
            Ok(report) => {
                assert_eq!(their_verdict(&SIMULATED.quote, &collateral), Some(true), "dcap-qvl refuses {text}");
                Verdict::accepted(format_args!("{:?} {}", report.tcb_status(), report.advisories().len()))
            }
            Err(refusal) => Verdict::refused(refusal).of("evidence"),
        }
    },
    iterations: 150,
};

/// Text that says it is a second.
pub static DATES: Target = Target {
    name: "dates",
    covers: &["common/attest/src/time.rs::parse_rfc3339_utc"],
    samples: LazyLock::new(|| {
        ["1970-01-01T00:00:00Z", "2000-02-29T12:30:45Z", "2100-03-01T23:59:59Z", "9999-12-31T23:59:59Z"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec()
    }),
    check: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::refused("not text") };
        match parse_rfc3339_utc(text) {
            Some(seconds) => {
                assert_eq!(written(seconds), text, "two texts for one second");
                Verdict::accepted("")
            }
            None => Verdict::refused(""),
        }
    },
    iterations: 20_000,
};

/// The text of a second, by counting years and months.
fn written(seconds: u64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}
