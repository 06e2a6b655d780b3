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
    /// A hash of what was said, without its numbers.
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
        Self { signature: self.signature ^ signature(decoder).rotate_left(17), ..self }
    }
}

/// FNV-1a over the letters: "block 7 comes after block 9" and the same with other blocks are one reason.
fn signature(text: &str) -> u64 {
    text.bytes()
        .filter(|byte| !byte.is_ascii_digit())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
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
