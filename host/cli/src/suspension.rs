//! Suspensions as people and files write them: whom, and one gatekeeper's part of one.
//!
//! Guarantees: a subject that is read is one that the brake may suspend, and is written as it is read; a file of a part is bounded before it is parsed. A file
//! is its writer's word: [`crate::commands`] verifies what it says against the chain's own record before anything rests on it.

use crate::{
    error::{io, CliError},
    network,
};
use phala_attest::{Subject, Vendor};
use phala_protocol::{brake::SignedSuspension, ids::to_hex, WorkerId};
use serde::{Deserialize, Serialize};
use std::{fs, io::Read, path::Path};

/// A part, as the chain and the gatekeeper's TEE read it.
pub type Part = SignedSuspension<Subject>;

/// Bytes of a part's file: it holds a few lines.
const MAX_FILE_BYTES: u64 = 8 * 1024;

const VENDORS: [(&str, Vendor); 2] = [("intel-tdx", Vendor::IntelTdx), ("intel-sgx", Vendor::IntelSgx)];
/// How a subject is written.
pub const FORMS: &str =
    "vendor:intel-tdx, model:intel-tdx:FMSPC (12 digits), evaluation:intel-tdx:BELOW, or measurement:0x and 64 digits";

/// Whom to suspend, from one of [`FORMS`].
pub fn subject(text: &str) -> Result<Subject, String> {
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
        ["measurement", digits] => network::hash(digits).map(Subject::Measurement),
        _ => None,
    };
    subject.ok_or_else(wrong)
}

fn fmspc(digits: &str) -> Option<[u8; 6]> {
    hex::decode(digits).ok()?.try_into().ok()
}

/// The same, written.
pub fn text(subject: &Subject) -> String {
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
            subject: text(&part.subject),
            sequence: part.sequence,
            until: part.expires,
            era: part.era,
            seat: part.seat,
            gatekeeper: part.gatekeeper.to_string(),
            signature: to_hex(&part.signature),
        }
    }

    fn part(&self) -> Option<Part> {
        let signature = hex::decode(self.signature.strip_prefix("0x")?).ok()?.try_into().ok()?;
        Some(SignedSuspension {
            genesis: network::hash(&self.genesis)?,
            era: self.era,
            seat: self.seat,
            gatekeeper: WorkerId(network::hash(&self.gatekeeper)?),
            subject: subject(&self.subject).ok()?,
            sequence: self.sequence,
            expires: self.until,
            signature,
        })
    }
}

/// A part from its file.
pub fn read(path: &Path) -> Result<Part, CliError> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(io("read", path))?;
    file.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut text).map_err(io("read", path))?;
    let no_part = |why: String| {
        CliError::invalid(format!("{} is no part of a suspension: {why}", path.display()))
            .with_hint("`phala gatekeeper suspend SUBJECT --until BLOCK --out FILE` writes one")
    };
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(no_part(format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    let file: PartFile = serde_json::from_slice(&text).map_err(|error| no_part(error.to_string()))?;
    file.part().ok_or_else(|| no_part("a value in it is malformed".to_owned()))
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
            assert_eq!(subject(written).unwrap(), meant);
            assert_eq!(text(&meant), written);
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
            "measurement:cdcd",
            "root:Intel",
        ] {
            assert!(subject(wrong).unwrap_err().contains("vendor:intel-tdx"), "{wrong}");
        }
        assert!(subject(&text(&Subject::Root(Root::Intel))).is_err(), "a vendor's root is never suspended");
    }

    #[test]
    fn a_part_is_read_as_it_was_written_and_a_file_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.json");
        let good = serde_json::to_string_pretty(&PartFile::of(&part())).unwrap();
        fs::write(&path, &good).unwrap();
        assert_eq!(read(&path).unwrap(), part());
        for wrong in [
            String::new(),
            "{}".to_owned(),
            good.replace("0x0707", "0x07"),
            good.replace("model:", "root:"),
            good.replace("\"era\"", "\"age\""),
            good.clone() + &" ".repeat(9_000),
        ] {
            fs::write(&path, wrong).unwrap();
            assert_eq!(read(&path).unwrap_err().code.as_str(), "invalid");
        }
        assert_eq!(read(&folder.path().join("none")).unwrap_err().code.as_str(), "not_found");
    }
}
