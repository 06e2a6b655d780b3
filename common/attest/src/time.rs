//! Reads the dates of Intel's JSON documents.
//!
//! Guarantees one reading per text: only `YYYY-MM-DDThh:mm:ssZ` is a date, which is the form Intel writes. RFC 3339
//! allows offsets and fractions; none of them has ever been issued, and two readings of a date are one too many.

use crate::collateral::DocumentFault;

/// Unix seconds of `YYYY-MM-DDThh:mm:ssZ`, for years 1970 to 9999.
pub fn parse_rfc3339_utc(text: &str) -> Option<u64> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    for (position, expected) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')] {
        if bytes.get(position) != Some(&expected) {
            return None;
        }
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        bytes
            .get(from..to)?
            .iter()
            .try_fold(0u64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if year < 1970 || day == 0 || day > length || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days from 1970-01-01 in the proleptic Gregorian calendar, years counted from March (Howard Hinnant's algorithm).
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// [`parse_rfc3339_utc`], with the error of the document the date stands in.
pub(crate) fn document_date(text: &str) -> Result<u64, DocumentFault> {
    parse_rfc3339_utc(text).ok_or(DocumentFault::Date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_known_dates() {
        assert_eq!(parse_rfc3339_utc("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_rfc3339_utc("2000-02-29T12:30:45Z"), Some(951_827_445));
        assert_eq!(parse_rfc3339_utc("2025-06-19T10:16:03Z"), Some(1_750_328_163));
        assert_eq!(parse_rfc3339_utc("2100-03-01T00:00:00Z"), Some(4_107_542_400));
    }

    #[test]
    fn refuses_every_other_form() {
        for text in [
            "",
            "2025-06-19",
            "2025-06-19T10:16:03",
            "2025-06-19T10:16:03+00:00",
            "2025-06-19t10:16:03Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-06-31T00:00:00Z",
            "2025-06-19T24:00:00Z",
            "2025-06-19T10:16:60Z",
            "1969-12-31T23:59:59Z",
            "+025-06-19T10:16:03Z",
            "2025-06-19T10:16:0 Z",
            "2025-06-19T10:16:03Z ",
        ] {
            assert_eq!(parse_rfc3339_utc(text), None, "{text}");
        }
    }
}
