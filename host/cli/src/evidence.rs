//! Evidence, collateral and times as operators have them in files.
//!
//! What the bytes mean, [`phala_client::evidence`] says. Guarantees: a file is read within a bound and has one meaning, or is an error that
//! says what was expected; nothing is judged here. Whoever wrote the file controls its content.

use crate::error::{io, CliError};
use phala_attest::{parse_rfc3339_utc, Collateral, DevelopmentGenesis, Evidence, TrustAnchor};
pub use phala_client::evidence::{decode_collateral as collateral, decode_evidence as evidence};
use std::{
    fs::File,
    io::Read,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes of the longest file: collateral of 136 KiB at its limits, in hexadecimal.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The root that a user is willing to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RootArgument {
    /// Intel's, which certifies hardware
    Intel,
    /// INSECURE: the development root, whose private key is public
    Development,
}

impl RootArgument {
    /// As an anchor. The user of a command line decides what he trusts; INSECURE if it is the development root, and said in the verdict.
    pub fn anchor(self) -> Result<TrustAnchor, CliError> {
        match self {
            Self::Intel => Ok(TrustAnchor::Intel),
            Self::Development => DevelopmentGenesis::for_genesis([0; 32], &[[0; 32]])
                .map(TrustAnchor::InsecureDevelopment)
                .ok_or_else(|| CliError::new(phala_client::ErrorCode::Internal, "the development root has no token")),
        }
    }
}

/// `now`, Unix seconds, or `YYYY-MM-DDThh:mm:ssZ`, in Unix seconds.
pub fn time(text: &str) -> Result<u64, String> {
    if text == "now" {
        return Ok(now());
    }
    text.parse()
        .ok()
        .or_else(|| parse_rfc3339_utc(text))
        .ok_or_else(|| "neither `now`, nor Unix seconds, nor a time such as 2025-06-20T12:00:00Z".to_owned())
}

/// The clock of this machine, in Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// `YYYY-MM-DDThh:mm:ssZ` of Unix seconds (Howard Hinnant's days-to-civil algorithm).
pub fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days.saturating_add(719_468);
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// The quote inside evidence.
pub fn quote_of(evidence: &Evidence) -> &[u8] {
    match evidence {
        Evidence::TdxDcap(quote) | Evidence::SgxDcap(quote) => quote,
    }
}

/// The evidence in a file.
pub fn read_evidence(path: &Path) -> Result<Evidence, CliError> {
    evidence(&read(path)?).map_err(|why| {
        CliError::invalid(format!("{} is no evidence: {why}", path.display()))
            .with_hint("a quote as bytes or hexadecimal, or what a worker shows as its evidence")
    })
}

/// The collateral in a file.
pub fn read_collateral(path: &Path) -> Result<Collateral, CliError> {
    collateral(&read(path)?).map_err(|why| {
        CliError::invalid(format!("{} is no collateral: {why}", path.display())).with_hint(
            "SCALE as a relayer takes it, or JSON with tcb_info, qe_identity, root_ca_crl, pck_crl and their chains",
        )
    })
}

/// All bytes of a file, up to 1 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(io("read", path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CliError::invalid(format!("{} is longer than 1 MiB", path.display()))
            .with_hint("no evidence and no collateral is: check that it is the right file"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn times_are_read_and_written_in_one_way() {
        assert_eq!(time("1750328163"), Ok(1_750_328_163));
        assert_eq!(time("2025-06-19T10:16:03Z"), Ok(1_750_328_163));
        assert!(time("now").unwrap() > 1_735_689_600);
        assert!(time("yesterday").is_err() && time("2025-06-19").is_err() && time("-1").is_err());
        for seconds in [0, 951_782_399, 951_782_400, 1_750_328_163, 4_107_542_400, 253_402_300_799] {
            assert_eq!(parse_rfc3339_utc(&date(seconds)), Some(seconds), "{}", date(seconds));
        }
    }
}
