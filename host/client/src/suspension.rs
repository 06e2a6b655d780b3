//! Suspensions as people and files write them: whom, and one gatekeeper's part of one.
//!
//! Guarantees: a subject that is read is one that the brake may suspend, and is written as it is read, since another spelling of one is
//! refused; a part is bounded before it is parsed, and each value of one that is read is written as it was. A part is its writer's word:
//! whoever uses one verifies what it says against the chain's own record before anything rests on it.

use phala_attest::{Subject, Vendor};
use phala_protocol::{brake::SignedSuspension, ids::to_hex, WorkerId};
use serde::{Deserialize, Serialize};

/// A part, as the chain and the gatekeeper's TEE read it.
pub type Part = SignedSuspension<Subject>;

/// Bytes of a part's file: it holds a few lines.
pub const MAX_PART_BYTES: u64 = 8 * 1024;

const VENDORS: [(&str, Vendor); 2] = [("intel-tdx", Vendor::IntelTdx), ("intel-sgx", Vendor::IntelSgx)];
/// How a subject is written.
pub const FORMS: &str =
    "vendor:intel-tdx, model:intel-tdx:FMSPC (12 digits), evaluation:intel-tdx:BELOW, or measurement:0x and 64 digits, all in small letters";

/// Whom to suspend, from one of [`FORMS`].
pub fn parse_subject(text: &str) -> Result<Subject, String> {
    let wrong = || format!("`{text}` is nothing that the brake suspends: write {FORMS}");
    let parts: Vec<&str> = text.split(':').collect();
    let vendor = |name: &str| VENDORS.iter().find(|(known, _)| *known == name).map(|(_, vendor)| *vendor);
    let subject = match parts.as_slice() {
        ["vendor", name] => vendor(name).map(Subject::Vendor),
        ["model", name, digits] => {
            vendor(name).zip(fmspc(digits)).map(|(vendor, fmspc)| Subject::Model { vendor, fmspc })
        }
        ["evaluation", name, below] => {
            vendor(name).zip(below.parse().ok()).map(|(vendor, below)| Subject::Evaluation { vendor, below })
        }
        ["measurement", digits] => hexadecimal(digits).map(Subject::Measurement),
        _ => None,
    };
    // A number with a sign or zeros before it and digits in capitals are other spellings of what has one.
    subject.filter(|subject| subject_text(subject) == text).ok_or_else(wrong)
}

fn fmspc(digits: &str) -> Option<[u8; 6]> {
    hex::decode(digits).ok()?.try_into().ok()
}

/// The same, written.
pub fn subject_text(subject: &Subject) -> String {
    let name = |vendor: &Vendor| VENDORS.iter().find(|(_, known)| known == vendor).map_or("other", |(name, _)| *name);
    match subject {
        // The brake does not suspend one; governance's list may hold one.
        Subject::Root(root) => format!("root:{root:?}"),
        Subject::Vendor(vendor) => format!("vendor:{}", name(vendor)),
        Subject::Model { vendor, fmspc } => format!("model:{}:{}", name(vendor), hex::encode(fmspc)),
        Subject::Evaluation { vendor, below } => format!("evaluation:{}:{below}", name(vendor)),
        Subject::Measurement(measurement) => format!("measurement:{}", to_hex(measurement)),
    }
}

/// A part as its file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartFile {
    genesis: String,
    subject: String,
    /// How often the brake had suspended the subject before.
    sequence: u32,
    /// Last block in which the chain takes the signature.
    until: u32,
    era: u32,
    seat: u16,
    gatekeeper: String,
    signature: String,
}

impl PartFile {
    /// What is written of a part.
    pub fn of(part: &Part) -> Self {
        Self {
            genesis: to_hex(&part.genesis),
            subject: subject_text(&part.subject),
            sequence: part.sequence,
            until: part.expires,
            era: part.era,
            seat: part.seat,
            gatekeeper: part.gatekeeper.to_string(),
            signature: to_hex(&part.signature),
        }
    }

    fn part(&self) -> Option<Part> {
        Some(SignedSuspension {
            genesis: hexadecimal(&self.genesis)?,
            era: self.era,
            seat: self.seat,
            gatekeeper: WorkerId(hexadecimal(&self.gatekeeper)?),
            subject: parse_subject(&self.subject).ok()?,
            sequence: self.sequence,
            expires: self.until,
            signature: hexadecimal(&self.signature)?,
        })
    }
}

/// Why bytes are no part; the fault is whoever wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartFault {
    /// Longer than a part may be.
    #[error("it is longer than {MAX_PART_BYTES} bytes")]
    TooLong,
    /// Not the JSON of a part.
    #[error("{0}")]
    Json(String),
    /// A value is not what it should be.
    #[error("a value in it is malformed")]
    Malformed,
}

/// A part from the bytes of its file. Judges nothing.
pub fn decode_part(bytes: &[u8]) -> Result<Part, PartFault> {
    if bytes.len() as u64 > MAX_PART_BYTES {
        return Err(PartFault::TooLong);
    }
    let file: PartFile = serde_json::from_slice(bytes).map_err(|error| PartFault::Json(error.to_string()))?;
    file.part().ok_or(PartFault::Malformed)
}

/// Bytes from 0x and two digits of each, as they are written.
fn hexadecimal<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let bytes: [u8; LENGTH] = hex::decode(text.strip_prefix("0x")?).ok()?.try_into().ok()?;
    (to_hex(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_attest::Root;

    fn part() -> Part {
        SignedSuspension {
            genesis: [1; 32],
            era: 2,
            seat: 3,
            gatekeeper: WorkerId([4; 32]),
            subject: Subject::Model { vendor: Vendor::IntelSgx, fmspc: [0xab; 6] },
            sequence: 5,
            expires: 6,
            signature: [7; 64],
        }
    }

    #[test]
    fn subjects_are_read_as_they_are_written_and_nothing_else_is_one() {
        let measurement = format!("measurement:{}", to_hex(&[0xcd; 32]));
        for (written, meant) in [
            ("vendor:intel-tdx", Subject::Vendor(Vendor::IntelTdx)),
            ("vendor:intel-sgx", Subject::Vendor(Vendor::IntelSgx)),
            (
                "model:intel-tdx:50806f000000",
                Subject::Model { vendor: Vendor::IntelTdx, fmspc: [0x50, 0x80, 0x6f, 0, 0, 0] },
            ),
            ("evaluation:intel-tdx:18", Subject::Evaluation { vendor: Vendor::IntelTdx, below: 18 }),
            (measurement.as_str(), Subject::Measurement([0xcd; 32])),
        ] {
            assert_eq!(parse_subject(written).unwrap(), meant);
            assert_eq!(subject_text(&meant), written);
        }
        for wrong in [
            "",
            "vendor",
            "vendor:",
            "vendor:other",
            "vendor:intel-tdx:1",
            "model:intel-tdx",
            "model:intel-tdx:5080",
            "evaluation:intel-tdx:-1",
            "evaluation:intel-tdx:4294967296",
            "evaluation:intel-tdx:+18",
            "evaluation:intel-tdx:018",
            "model:intel-tdx:50806F000000",
            "measurement:cdcd",
            measurement.replace("cd", "CD").as_str(),
            "root:Intel",
        ] {
            assert!(parse_subject(wrong).unwrap_err().contains("vendor:intel-tdx"), "{wrong}");
        }
        assert!(
            parse_subject(&subject_text(&Subject::Root(Root::Intel))).is_err(),
            "a vendor's root is never suspended"
        );
    }

    #[test]
    fn a_part_is_read_as_it_was_written_and_nothing_else_is_one() {
        let good = serde_json::to_string_pretty(&PartFile::of(&part())).unwrap();
        assert_eq!(decode_part(good.as_bytes()), Ok(part()));
        let json = |text: &str| matches!(decode_part(text.as_bytes()), Err(PartFault::Json(_)));
        assert!(json("") && json("{}") && json(&good.replace("\"era\"", "\"age\"")));
        for wrong in [
            good.replace("0x0707", "0x07"),
            good.replace("model:", "root:"),
            good.replace("abab", "ABAB"),
            good.replace("\"signature\": \"0x07", "\"signature\": \"0x0A"),
        ] {
            assert_eq!(decode_part(wrong.as_bytes()), Err(PartFault::Malformed));
        }
        assert_eq!(decode_part((good + &" ".repeat(9_000)).as_bytes()), Err(PartFault::TooLong));
    }
}
