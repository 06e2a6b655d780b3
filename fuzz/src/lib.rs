//! Feeds hostile bytes to every decoder of foreign bytes, and holds each to more than "does not panic".
//!
//! A [`Target`] is a name, valid samples, and a check over raw bytes: what is accepted encodes back to the same bytes or means what
//! the genuine sample means; what is altered is refused with a typed error and leaves no trace; memory stays in proportion to the
//! input; where another implementation exists, its verdict is compared. Inputs of a fuzzer are instructions: they choose a sample and
//! alter it ([`engine::build`]), so that few of them die at the first length field.
//!
//! Three uses: `cargo test -p phala-fuzz` (bounded, with every committed finding replayed), `cargo xtask campaign fuzz` (long), and any
//! engine that bolero speaks to. `tests/it/inventory.rs` fails when a decoder of `common/`, `tee/` or `host/` is in no
//! target.
//!
//! Never shipped. Does not do: processes, sockets or clocks; `testing/` has those.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a target stops at the first surprise: that is its purpose"
)]

pub mod campaign;
pub mod engine;
pub mod record;
pub mod targets;

use codec::{Decode, DecodeAll, Encode};
use std::{fmt::Display, sync::LazyLock};

/// One decoder, or a few that belong together.
pub struct Target {
    /// On the command line, in findings and in reports.
    pub name: &'static str,
    /// The functions that it covers, as `path/of/file.rs::function`: compared with the tree.
    pub covers: &'static [&'static str],
    /// Inputs that the check accepts: what is altered.
    pub samples: LazyLock<Vec<Vec<u8>>>,
    /// Panics when a property does not hold.
    pub check: fn(&[u8]) -> Verdict,
    /// How many inputs an ordinary test tries: more for what is cheap.
    pub iterations: usize,
}

/// What a check saw, as far as two inputs that differ in it are worth keeping both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Verdict {
    /// Whether the input was taken.
    pub accepted: bool,
    /// A hash of what was said, without what only repeats the input: its numbers and what stands in quotes.
    pub signature: u64,
}

impl Verdict {
    /// Taken; `what` tells kinds of acceptance apart.
    pub fn accepted(what: impl Display) -> Self {
        Self { accepted: true, signature: signature(&what.to_string()) }
    }

    /// Refused, for this reason.
    pub fn refused(why: impl Display) -> Self {
        Self { accepted: false, signature: signature(&why.to_string()) }
    }

    /// The same, told apart by which of several decoders spoke.
    #[must_use]
    pub fn of(self, decoder: &str) -> Self {
        Self { signature: self.signature ^ hash(decoder.as_bytes()).rotate_left(17), ..self }
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// A hash of the words that the program chose: "block 7 comes after block 9" and the same with other blocks are one reason, and so are
/// errors that repeat other names, bytes or hashes of the input. Otherwise each input is a kind of its own, and a pool of kinds is noise.
fn signature(text: &str) -> u64 {
    let mut kept = String::new();
    for word in unquoted(text).split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        // Words such as "a" and "be" are dropped with hexadecimal ones: no two reasons differ in those alone.
        if !digits.bytes().all(|letter| letter.is_ascii_hexdigit()) {
            kept.extend(word.chars().filter(|letter| !letter.is_ascii_digit()));
            kept.push(' ');
        }
    }
    hash(kept.as_bytes())
}

/// The text without what stands in quotes, from the first mark of a kind to the last: what is quoted may have such marks in it. What the
/// program says between two quotes is lost with them.
fn unquoted(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    let in_a_word = |before: &str| before.ends_with(char::is_alphanumeric);
    loop {
        let mut marks = rest.char_indices().filter(|(_, letter)| ['"', '`', '\''].contains(letter));
        // An apostrophe is no quote.
        let Some((at, mark)) = marks.find(|(at, mark)| *mark != '\'' || !in_a_word(&rest[..*at])) else {
            kept.push_str(rest);
            return kept;
        };
        kept.push_str(&rest[..at]);
        kept.push(' ');
        let inside = &rest[at + 1..];
        let is_last = |(end, _): &(usize, &str)| mark != '\'' || !inside[end + 1..].starts_with(char::is_alphanumeric);
        // One that is never closed reaches to the end.
        let Some((end, _)) = inside.rmatch_indices(mark).find(is_last) else { return kept };
        rest = &inside[end + 1..];
    }
}

/// Runs `work` and returns what it returned, with the most bytes it had allocated at once (of this thread).
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let mut result = None;
    let allocated = allocation_counter::measure(|| result = Some(work()));
    (result.expect("it ran"), allocated.bytes_max)
}

/// Asserts that decoding `input` bytes allocated no more than `factor` times as much, and a page or so.
pub fn assert_bounded(peak: u64, input: usize, factor: u64) {
    let allowed = input as u64 * factor + 64 * 1024;
    assert!(peak <= allowed, "{peak} bytes allocated for an input of {input}");
}

/// The value that `bytes` encode, if they encode one: in memory of their own measure, and in no second way.
pub fn decoded<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let (decoded, peak) = measured(|| T::decode_all(&mut &bytes[..]).ok());
    assert_bounded(peak, bytes.len(), 4);
    decoded.inspect(|value| assert_eq!(value.encode(), bytes, "two encodings of one value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_attest::DecodeError;
    use phala_client::suspension::decode_part;
    use std::collections::BTreeSet;

    fn refused(texts: &[&str]) -> BTreeSet<Verdict> {
        texts.iter().map(Verdict::refused).collect()
    }

    #[test]
    fn verdicts_that_differ_by_an_input_have_one_signature() {
        for texts in [
            ["block 7 comes after block 9", "block 12 comes after block 0", "block 1 comes after block 444"],
            ["of the chain 0xfeed, not of 0x00", "of the chain 0x07, not of 0xABBA", "of the chain 9a, not of e"],
            ["import of `a`.`b` is none", "import of `x`y`.`z` is none", "import of ```.`' \"` is none"],
            [r#"the format is "a"; not"#, r#"the format is "\"b\" and \u{1}"; not"#, r#"the format is ""; not"#],
            ["character 'z' at 3", r"character '\'' at 4", "character ''' at 0"],
            ["found [1, 2, 3]", "found []", "found [255]"],
            ["a name `never closed", "a name `", "a name \"of another kind"],
            ["it's 'x', the relayer's", "it's 'y's', the relayer's", "it's '', the relayer's"],
        ] {
            assert_eq!(refused(&texts).len(), 1, "{texts:?}");
        }
        // The program's own, of which each input once made a kind.
        let tee = |found| Verdict::refused(DecodeError::TeeType(found));
        assert_eq!(tee(0xdead_beef), tee(0x17));
        let part = |json: &str| Verdict::refused(decode_part(json.as_bytes()).unwrap_err());
        let unknown = [r#"{"abc":1}"#, r#"{"":1}"#, r#"{"x`y'z\"":1}"#, r#"{"\u0001 of":1}"#].map(part);
        assert_eq!(BTreeSet::from(unknown).len(), 1);
        let mistyped = [r#"{"era":"x"}"#, r#"{"era":"a `b` \"c\""}"#].map(part);
        assert_eq!(mistyped[0], mistyped[1]);
        assert_ne!(unknown[0], mistyped[0]);
    }

    #[test]
    fn verdicts_that_differ_in_what_the_program_says_have_two() {
        let texts = [
            "quote ends inside a field",
            "quote has bytes behind its end",
            "the chain's word",
            "the relayer's word",
            "the word of `a` is missing",
            "the word of `a` is malformed",
            "",
            "x",
            "xx",
        ];
        assert_eq!(refused(&texts).len(), texts.len());
        assert_ne!(Verdict::refused("x"), Verdict::accepted("x"));
        let decoders = ["1", "2", "face", "`a`"].map(|decoder| Verdict::refused("x").of(decoder));
        assert_eq!(BTreeSet::from(decoders).len(), decoders.len());
    }
}
