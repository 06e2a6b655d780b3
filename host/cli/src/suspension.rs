//! One gatekeeper's part of a suspension as operators have it in a file.
//!
//! Guarantees: a file is bounded before it is parsed, by [`phala_client::suspension`], and is a part or an error that says what was expected.
//! A file is its writer's word: [`crate::commands`] verifies what it says against the chain's own record before anything rests on it.

use crate::error::{io, CliError};
use phala_client::suspension::{decode_part, MAX_PART_BYTES};
pub use phala_client::suspension::{parse_subject as subject, subject_text as text, Part, PartFile};
use std::{fs, io::Read, path::Path};

/// A part from its file.
pub fn read(path: &Path) -> Result<Part, CliError> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(io("read", path))?;
    file.take(MAX_PART_BYTES.saturating_add(1)).read_to_end(&mut text).map_err(io("read", path))?;
    decode_part(&text).map_err(|why| {
        CliError::invalid(format!("{} is no part of a suspension: {why}", path.display()))
            .with_hint("`phala gatekeeper suspend SUBJECT --until BLOCK --out FILE` writes one")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_attest::{Subject, Vendor};
    use phala_protocol::WorkerId;

    fn part() -> Part {
        Part {
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
