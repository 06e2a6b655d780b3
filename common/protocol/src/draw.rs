//! Drawing from a value of the beacon: the same choice for everyone who has the value, and fair.
//!
//! ```text
//! seed   = H(BEACON_DRAW, (beacon, purpose, context))
//! word n = the first 16 bytes of H(BEACON_WORD, (seed, n)), little-endian, n from 0
//! ```
//!
//! A number below a bound is a word modulo the bound, words of the last, incomplete stretch being thrown away (rejection sampling): no
//! number is likelier than another. Guarantees: a drawing is a function of its arguments, the same on every machine; one purpose or
//! context tells nothing of another. Does not do: decide who is eligible, or verify the beacon; whoever chooses the weights after the
//! value is known chooses the outcome, so they must have been frozen before.

use crate::{domain, hash_value, Hash};
use alloc::vec::Vec;
use codec::Encode;
use core::num::NonZeroU128;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub enum DrawPurpose {
    /// Workers for a cluster.
    #[codec(index = 0)]
    Assignment,
    /// Workers that must show a sign of life.
    #[codec(index = 1)]
    Heartbeat,
}

/// A drawing under way.
#[derive(Clone, Debug)]
pub struct Draw {
    seed: Hash,
    words: u64,
}

impl Draw {
    /// A drawing of its own for each purpose and context (a cluster, say) of one value.
    pub fn new(beacon: &Hash, purpose: DrawPurpose, context: &(impl Encode + ?Sized)) -> Self {
        Self { seed: hash_value(domain::BEACON_DRAW, &(beacon, purpose, context)), words: 0 }
    }

    /// A number from 0 up to and without `bound`, each as likely as any other.
    pub fn below(&mut self, bound: NonZeroU128) -> u128 {
        // 2^128 modulo the bound: as many words are too many.
        let excess = (u128::MAX % bound + 1) % bound;
        loop {
            let word = self.word();
            if word <= u128::MAX - excess {
                return word % bound;
            }
        }
    }

    /// A position in `weights`, with a probability in proportion to its weight; a position of weight 0 never.
    pub fn weighted(&mut self, weights: &[u128]) -> Result<usize, DrawError> {
        let total = weights.iter().try_fold(0u128, |sum, weight| sum.checked_add(*weight));
        let total = NonZeroU128::new(total.ok_or(DrawError::Overflow)?).ok_or(DrawError::TooFew)?;
        let mut left = self.below(total);
        for (position, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return Ok(position),
            }
        }
        // Not reached: the number is below the sum of all weights.
        Err(DrawError::TooFew)
    }

    /// `count` different positions in `weights`, in the order in which they were drawn, each [`Self::weighted`] among those that are left.
    ///
    /// Takes time in proportion to `count` times the number of weights.
    pub fn sample(&mut self, count: usize, weights: &[u128]) -> Result<Vec<usize>, DrawError> {
        if weights.iter().filter(|weight| **weight > 0).count() < count {
            return Err(DrawError::TooFew);
        }
        let mut left = weights.to_vec();
        let mut chosen = Vec::with_capacity(count);
        for _ in 0..count {
            let position = self.weighted(&left)?;
            if let Some(weight) = left.get_mut(position) {
                *weight = 0;
            }
            chosen.push(position);
        }
        Ok(chosen)
    }

    fn word(&mut self) -> u128 {
        let hash = hash_value(domain::BEACON_WORD, &(self.seed, self.words));
        self.words = self.words.wrapping_add(1);
        hash.iter().take(16).rev().fold(0, |word, byte| (word << 8) | u128::from(*byte))
    }
}

/// Why nothing was drawn; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// Fewer weights above 0 than are to be drawn.
    #[error("fewer candidates with a weight than are to be drawn")]
    TooFew,
    /// The weights' sum is 2^128 or more.
    #[error("sum of the weights overflows")]
    Overflow,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(beacon: u8) -> Draw {
        Draw::new(&[beacon; 32], DrawPurpose::Assignment, &7u32)
    }

    fn bound(bound: u128) -> NonZeroU128 {
        NonZeroU128::new(bound).unwrap()
    }

    #[test]
    fn beacon_purpose_and_context_each_make_another_drawing() {
        let first = |mut draw: Draw| draw.below(bound(u128::MAX));
        assert_eq!(first(draw(1)), first(draw(1)));
        assert_ne!(first(draw(1)), first(draw(2)));
        assert_ne!(first(draw(1)), first(Draw::new(&[1; 32], DrawPurpose::Heartbeat, &7u32)));
        assert_ne!(first(draw(1)), first(Draw::new(&[1; 32], DrawPurpose::Assignment, &8u32)));
    }

    #[test]
    fn positions_come_in_proportion_to_their_weights() {
        let (mut draw, weights) = (draw(3), [1, 0, 2, 5]);
        let mut counts = [0i32; 4];
        for _ in 0..8_000 {
            counts[draw.weighted(&weights).unwrap()] += 1;
        }
        // Standard deviations are at most 45: five of them.
        for (count, weight) in counts.into_iter().zip(weights) {
            assert!((count - 1_000 * weight as i32).abs() <= 225, "{counts:?}");
        }
        assert_eq!(counts[1], 0);
    }

    #[test]
    fn words_of_the_incomplete_stretch_are_thrown_away() {
        // Just over half of all words: without rejection the lower numbers would be twice as likely as the upper one.
        let bound = bound((1 << 127) + 1);
        let mut draw = draw(4);
        for _ in 0..64 {
            assert!(draw.below(bound) < bound.get());
        }
        assert!(draw.words > 64);
        let mut draw = Draw { words: 0, ..draw };
        for _ in 0..64 {
            draw.below(NonZeroU128::new(1 << 64).unwrap());
        }
        assert_eq!(draw.words, 64, "a power of two divides the words evenly");
    }

    #[test]
    fn a_sample_has_no_position_twice_and_none_without_weight() {
        let weights = [3, 0, 1, 10, 2];
        for beacon in 0..50 {
            let mut sample = draw(beacon).sample(4, &weights).unwrap();
            sample.sort_unstable();
            assert_eq!(sample, [0, 2, 3, 4]);
        }
        assert_eq!(draw(0).sample(5, &weights), Err(DrawError::TooFew));
        assert_eq!(draw(0).sample(0, &[]), Ok(Vec::new()));
        assert_eq!(draw(0).weighted(&[]), Err(DrawError::TooFew));
        assert_eq!(draw(0).weighted(&[u128::MAX, 1]), Err(DrawError::Overflow));
    }
}
