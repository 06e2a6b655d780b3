//! From a fuzzer's bytes to a decoder's input: choose a sample, alter it.
//!
//! Guarantees that the same bytes build the same input, and that any bytes build one.

use crate::{Target, Verdict};

/// Bytes of the longest input: what is longer is refused by length alone, and has tests of its own.
pub const MAX_INPUT_BYTES: usize = 256 * 1024;

/// The numbers at which decoders go wrong.
const EDGES: [u8; 12] = [0, 1, 2, 3, 4, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff, 0xfc];
/// Lengths and counts that promise more than there is: SCALE compact, and little-endian.
const PROMISES: [&[u8]; 6] = [
    &[0xfe, 0xff, 0xff, 0xff],
    &[0x03, 0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff],
    &[0x02, 0x00, 0x01, 0x00],
];

/// Reads decisions out of a fuzzer's bytes; zeros when they end.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Decisions out of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Four bytes.
    pub fn number(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // As few bytes as do: what follows then moves less when a fuzzer alters one.
        let number = if bound <= 256 { u32::from(self.byte()) } else { self.number() };
        number as usize % bound
    }

    /// Up to `count` bytes.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Whether there is more.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The input that `bytes` build: for one in eight the bytes themselves, for half of them one of `valid`, altered, and for the others one of
/// `pool`, altered. What joins the pool is mostly refused: without the half, samples would be chosen ever less often the more there is.
pub fn build(valid: &[Vec<u8>], pool: &[Vec<u8>], bytes: &[u8]) -> Vec<u8> {
    let mut choices = Choices::new(bytes);
    let base = match choices.byte() % 8 {
        1..=4 if !valid.is_empty() => valid,
        1..=7 if !pool.is_empty() => pool,
        _ => return choices.0.to_vec(),
    };
    let mut input = base[choices.below(base.len())].clone();
    for _ in 0..1 + choices.below(4) {
        alter(&mut input, pool, &mut choices);
    }
    input.truncate(MAX_INPUT_BYTES);
    input
}

/// Builds the input and checks it.
pub fn run(target: &Target, bytes: &[u8]) -> Verdict {
    (target.check)(&build(&target.samples, &target.samples, bytes))
}

/// Alters an input in one way; `pool` has pieces of others.
fn alter(input: &mut Vec<u8>, pool: &[Vec<u8>], choices: &mut Choices<'_>) {
    if input.is_empty() {
        let length = choices.below(64);
        input.extend_from_slice(choices.take(length));
        return;
    }
    let kind = choices.below(12);
    let at = choices.below(input.len());
    match kind {
        0 | 1 => input[at] ^= 1 << choices.below(8),
        2 => input[at] = choices.byte(),
        3 => input[at] = EDGES[choices.below(EDGES.len())],
        4 => input[at] = input[at].wrapping_add(if choices.byte().is_multiple_of(2) { 1 } else { 0xff }),
        5 => {
            let end = (at + 1 + choices.below(32)).min(input.len());
            input.drain(at..end);
        }
        6 => {
            let length = 1 + choices.below(16);
            let inserted = choices.take(length).to_vec();
            input.splice(at..at, inserted);
        }
        7 => {
            let end = (at + 1 + choices.below(64)).min(input.len());
            let repeated = input[at..end].to_vec();
            input.splice(at..at, repeated);
        }
        8 => input.truncate(at),
        9 => {
            let promise = PROMISES[choices.below(PROMISES.len())];
            let end = (at + promise.len()).min(input.len());
            input.splice(at..end, promise.iter().copied());
        }
        10 if !pool.is_empty() => {
            let donor = &pool[choices.below(pool.len())];
            if !donor.is_empty() {
                let from = choices.below(donor.len());
                let length = 1 + choices.below(256);
                let piece = donor[from..(from + length).min(donor.len())].to_vec();
                let end = (at + choices.below(2) * piece.len()).min(input.len());
                input.splice(at..end, piece);
            }
        }
        _ => {
            let other = choices.below(input.len());
            let length = (1 + choices.below(40)).min(input.len() - at).min(input.len() - other);
            for offset in 0..length {
                input.swap(at + offset, other + offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_inputs_are_altered_samples_however_much_is_in_the_pool() {
        let (valid, pool) = (vec![vec![7; 8]], vec![vec![1; 8]; 4096]);
        // The first byte chooses a base. What follows chooses the first of it and one alteration, of its first byte.
        let built = (0..=u8::MAX).map(|first| build(&valid, &pool, &[&[first][..], &[0; 16]].concat()));
        let bases: Vec<u8> = built.map(|input| input[7]).collect();
        let count = |base: u8| bases.iter().filter(|found| **found == base).count();
        assert_eq!((count(7), count(1), count(0)), (128, 96, 32));
    }

    #[test]
    fn without_a_sample_or_a_pool_any_bytes_build_an_input() {
        let (none, some): (&[Vec<u8>], &[Vec<u8>]) = (&[], &[vec![7; 8]]);
        for first in 0..=u8::MAX {
            let bytes: Vec<u8> = (0..40).map(|at: u8| first.wrapping_add(at.wrapping_mul(29))).collect();
            for (valid, pool) in [(some, some), (some, none), (none, some)] {
                let once = build(valid, pool, &bytes);
                assert_eq!(build(valid, pool, &bytes), once);
            }
            assert_eq!(build(none, none, &bytes), bytes[1..]);
        }
        assert!(build(some, some, &[]).is_empty());
    }
}
