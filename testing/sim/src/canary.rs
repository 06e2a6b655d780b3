//! Marked plaintext, and the search for it in everything that leaves a TEE.
//!
//! Guarantees: a mark that stands whole in searched bytes is found, wherever it begins. A mark that is split over two writes to a
//! disk is found by the search of the whole disk, if it is still there then.

/// What an account says in plain words inside its commands.
pub const WORDS: &[u8] = b"CANARY: what no host may ever read";
/// Every token there is: a number that stands out among bytes.
pub const SUPPLY: u128 = 0xca7a_2bad_cafe_f00d_0dd5_eeda_11d0_75ee;

/// Everything that must not be found.
#[derive(Clone, Debug, Default)]
pub struct Canaries {
    marks: Vec<(String, Vec<u8>)>,
    first: Vec<u8>,
}

impl Canaries {
    /// Adds a mark of at least 8 bytes, with the name that a finding gives it.
    pub fn add(&mut self, name: impl Into<String>, mark: &[u8]) {
        assert!(mark.len() >= 8, "a short mark is found everywhere");
        self.marks.push((name.into(), mark.to_vec()));
        self.first = vec![0; 256];
        for (_, mark) in &self.marks {
            self.first[usize::from(mark[0])] = 1;
        }
    }

    /// The name of a mark that stands in `bytes`.
    pub fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        if self.marks.is_empty() {
            return None;
        }
        for (index, byte) in bytes.iter().enumerate() {
            if self.first[usize::from(*byte)] == 0 {
                continue;
            }
            let rest = &bytes[index..];
            if let Some((name, _)) = self.marks.iter().find(|(_, mark)| rest.starts_with(mark)) {
                return Some(name);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_mark_wherever_it_stands() {
        let mut canaries = Canaries::default();
        assert_eq!(canaries.found_in(WORDS), None);
        canaries.add("words", WORDS);
        canaries.add("supply", &SUPPLY.to_le_bytes());
        for before in 0..5 {
            let mut bytes = vec![WORDS[0]; before];
            assert_eq!(canaries.found_in(&bytes), None);
            bytes.extend_from_slice(WORDS);
            assert_eq!(canaries.found_in(&bytes), Some("words"));
            bytes.pop();
            assert_eq!(canaries.found_in(&bytes), None);
            bytes.extend_from_slice(&SUPPLY.to_le_bytes());
            assert_eq!(canaries.found_in(&bytes), Some("supply"));
        }
    }
}
