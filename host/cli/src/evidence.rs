//! Evidence, collateral and times as operators have them in files.
//!
//! Takes what tools give: a quote as bytes or hexadecimal, evidence as a worker shows it, collateral as a relayer takes it (SCALE) or in
//! the JSON that Intel's and Phala's tools write. Guarantees: a file is read within a bound and has one meaning, or is an error that says what
//! was expected; nothing is judged here. Whoever wrote the file controls its content.

use crate::error::{io, CliError};
use codec::DecodeAll;
use phala_attest::{canonical_quote, parse_rfc3339_utc, Collateral, DevelopmentGenesis, Evidence, List, TrustAnchor};
use serde::Deserialize;
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

/// The evidence in some bytes.
pub fn evidence(bytes: &[u8]) -> Result<Evidence, String> {
    let bytes = unhex(bytes);
    // A quote begins with its version, evidence with its kind: 3 to 5 as two bytes and a key type of two bytes are no kind.
    if matches!(bytes.first_chunk::<4>(), Some([3..=5, 0, 2 | 3, 0])) {
        let quote = canonical_quote(&bytes).map_err(|error| error.to_string())?;
        let quote = List::try_from(quote.to_vec()).map_err(|error| error.to_string())?;
        return Ok(if bytes.starts_with(&[3]) { Evidence::SgxDcap(quote) } else { Evidence::TdxDcap(quote) });
    }
    Evidence::decode_all(&mut &bytes[..]).map_err(|_| "neither a quote nor SCALE of evidence".to_owned())
}

/// The collateral in a file.
pub fn read_collateral(path: &Path) -> Result<Collateral, CliError> {
    collateral(&read(path)?).map_err(|why| {
        CliError::invalid(format!("{} is no collateral: {why}", path.display())).with_hint(
            "SCALE as a relayer takes it, or JSON with tcb_info, qe_identity, root_ca_crl, pck_crl and their chains",
        )
    })
}

/// The collateral in some bytes.
pub fn collateral(bytes: &[u8]) -> Result<Collateral, String> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        let json: JsonCollateral = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        return json.into_collateral();
    }
    Collateral::decode_all(&mut &unhex(bytes)[..]).map_err(|_| "neither JSON nor SCALE of it".to_owned())
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
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    let digits = text.map(|text| text.strip_prefix("0x").unwrap_or(text));
    digits.and_then(|digits| hex::decode(digits).ok()).unwrap_or_else(|| bytes.to_vec())
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
    use codec::Encode;

    const QUOTE: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.bin");
    const COLLATERAL: &[u8] = include_bytes!("../../../testing/vectors/attest/tdx_v4.collateral.json");

    #[test]
    fn reads_evidence_in_every_form_that_tools_give_and_as_one_thing() {
        let expected = evidence(QUOTE).unwrap();
        assert_eq!(quote_of(&expected).len(), QUOTE.len() - 70, "the driver's padding is no evidence");
        for form in [
            hex::encode(QUOTE).into_bytes(),
            format!("0x{}\n", hex::encode(QUOTE)).into_bytes(),
            expected.encode(),
            hex::encode(expected.encode()).into_bytes(),
        ] {
            assert_eq!(evidence(&form).unwrap(), expected);
        }
        for bad in [&b""[..], b"0x", b"quote", &QUOTE[..700], &[4, 0, 2, 0]] {
            assert!(evidence(bad).is_err());
        }
    }

    #[test]
    fn reads_collateral_as_json_and_as_scale() {
        let expected = collateral(COLLATERAL).unwrap();
        assert_eq!(collateral(&expected.encode()).unwrap(), expected);
        assert_eq!(collateral(hex::encode(expected.encode()).as_bytes()).unwrap(), expected);
        assert!(collateral(b"{}").unwrap_err().contains("tcb_info"));
        assert!(collateral(b"").is_err());
        let text = String::from_utf8(COLLATERAL.to_vec()).unwrap();
        assert!(collateral(text.replace("\"root_ca_crl\": \"30", "\"root_ca_crl\": \"3x").as_bytes()).is_err());
    }

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
