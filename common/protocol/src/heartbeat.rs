//! Heartbeats: a sign of life that the beacon asks some workers for in each of its periods.
//!
//! ```text
//! sampled = the first number of Draw(value, Heartbeat, worker) below 65,536 is below the rate
//! ```
//!
//! Whoever has the value of a period knows who is sampled; before it is public nobody does but a threshold of gatekeepers, whose value it
//! is. An answer names the newest finalised block that the worker has verified, one of the round's opening or later: it was signed after
//! the value was public, by a TEE that follows this chain.
//!
//! Guarantees: who is sampled is a function of its arguments, the same on every machine; each worker is sampled for itself, whoever else is
//! there; what is drawn for another purpose tells nothing of it ([`crate::draw`]). Records are facts only out of chain state, and an answer
//! is an allegation until the chain has compared it. Does not: show that a worker ran between two answers, or that it serves anybody.

use crate::{
    beacon::Period,
    domain,
    draw::{Draw, DrawPurpose},
    hash_value,
    ids::{BlockNumber, WorkerId},
    Hash,
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::{num::NonZeroU128, ops::RangeInclusive};

/// The rate at which every worker is sampled in every period; at half of it one of two is.
pub const EVERY_WORKER: u32 = 65_536;
/// Blocks of a window: enough for a head to be finalised and an answer to be carried, and few enough for the chain to know the hashes of
/// all of them.
pub const WINDOW_BLOCKS: RangeInclusive<BlockNumber> = 5..=1_200;
/// Sampled periods without an answer, in a row, after which a worker is unresponsive.
pub const PATIENCE: RangeInclusive<u32> = 1..=64;

/// [`EVERY_WORKER`], as a bound.
const PARTS: NonZeroU128 = match NonZeroU128::new(EVERY_WORKER as u128) {
    Some(parts) => parts,
    None => NonZeroU128::MIN,
};

/// Whether a value of the beacon samples a worker, at a rate in 1/65,536: at 0 nobody, from [`EVERY_WORKER`] on everybody.
pub fn is_sampled(value: &Hash, worker: &WorkerId, rate: u32) -> bool {
    Draw::new(value, DrawPurpose::Heartbeat, worker).below(PARTS) < u128::from(rate)
}

/// What governance decides about heartbeats: `Heartbeats::Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct HeartbeatPolicy {
    /// The part of all workers that a period samples, in 1/65,536.
    pub rate: u32,
    /// Blocks in which answers are taken.
    pub window: BlockNumber,
    /// Sampled periods without an answer, in a row, after which a worker is unresponsive.
    pub patience: u32,
}

impl HeartbeatPolicy {
    /// Whether each value is one that can be.
    pub fn in_range(&self) -> bool {
        self.rate <= EVERY_WORKER && WINDOW_BLOCKS.contains(&self.window) && PATIENCE.contains(&self.patience)
    }
}

/// The newest period that asks for heartbeats: `Heartbeats::Round`. It stays when its window is over, until the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct HeartbeatRound {
    /// The era of the beacon's key.
    pub era: u32,
    /// The period.
    pub period: Period,
    /// The period's value.
    pub value: Hash,
    /// The rate at which it samples.
    pub rate: u32,
    /// The block in which the window opened: the one after that of the value, or a later one.
    pub opened: BlockNumber,
    /// The last block in which an answer is taken.
    pub until: BlockNumber,
    /// Sampled periods without an answer, in a row, after which a worker is unresponsive.
    pub patience: u32,
}

impl HeartbeatRound {
    /// Whether a worker that stands so owes this round an answer: it is sampled, or it is unresponsive, so that it can come back in every
    /// round; and it has not answered. Whether the window is open is not asked.
    pub fn asks(&self, worker: &WorkerId, standing: &HeartbeatStanding) -> bool {
        let answered = standing.answered == Some((self.era, self.period));
        !answered && (standing.unresponsive || is_sampled(&self.value, worker, self.rate))
    }
}

/// How a worker stands with its heartbeats: `Heartbeats::Standings[worker]`; the empty one where there is no entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct HeartbeatStanding {
    /// Era and period of its newest answer.
    pub answered: Option<(u32, Period)>,
    /// Rounds since then that asked it and had no answer.
    pub misses: u32,
    /// Whether these were too many: no cluster draws it until it answers.
    pub unresponsive: bool,
}

/// What a worker says when a round asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Heartbeat {
    /// The chain.
    pub genesis: Hash,
    /// Who.
    pub worker: WorkerId,
    /// The round's era.
    pub era: u32,
    /// The round's period.
    pub period: Period,
    /// The finalised block that it has verified.
    pub block: BlockNumber,
    /// That block's hash.
    pub block_hash: Hash,
}

impl Heartbeat {
    /// The 32 bytes that the worker signs.
    pub fn signing_payload(&self) -> Hash {
        hash_value(domain::HEARTBEAT, self)
    }
}

/// A heartbeat as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct SignedHeartbeat {
    /// What is said.
    pub heartbeat: Heartbeat,
    /// Ed25519 by the worker's identity, over [`Heartbeat::signing_payload`].
    pub signature: [u8; 64],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: u32) -> WorkerId {
        WorkerId(hash_value(domain::HEARTBEAT, &number))
    }

    fn sampled(value: u8, workers: u32, rate: u32) -> u32 {
        (0..workers).filter(|number| is_sampled(&[value; 32], &worker(*number), rate)).count() as u32
    }

    #[test]
    fn as_many_are_sampled_as_the_rate_says() {
        // Five standard deviations each, which are 45, 30 and 11.
        for (value, rate, most) in [(1, EVERY_WORKER / 2, 225), (2, EVERY_WORKER / 8, 148), (3, EVERY_WORKER / 64, 56)]
        {
            let expected = 8_000 * rate / EVERY_WORKER;
            let found = sampled(value, 8_000, rate);
            assert!(found.abs_diff(expected) <= most, "{found} of {expected} at {rate}");
        }
    }

    #[test]
    fn at_no_rate_nobody_is_sampled_and_at_the_whole_one_everybody() {
        for value in 0..4 {
            assert_eq!(sampled(value, 500, 0), 0);
            assert_eq!(sampled(value, 500, EVERY_WORKER), 500);
            assert_eq!(sampled(value, 500, u32::MAX), 500);
        }
        // Whoever is sampled at a rate is at every higher one.
        for number in 0..200 {
            let who = worker(number);
            let first = (0..=16).find(|rate| is_sampled(&[9; 32], &who, rate * (EVERY_WORKER / 16))).unwrap();
            assert!((first..=16).all(|rate| is_sampled(&[9; 32], &who, rate * (EVERY_WORKER / 16))));
        }
    }

    #[test]
    fn values_workers_and_purposes_sample_independently() {
        let half = EVERY_WORKER / 2;
        let both = |one: fn(u32) -> bool, other: fn(u32) -> bool| (0..4_000).filter(|n| one(*n) && other(*n)).count();
        let first: fn(u32) -> bool = |number| is_sampled(&[1; 32], &worker(number), EVERY_WORKER / 2);
        let second: fn(u32) -> bool = |number| is_sampled(&[2; 32], &worker(number), EVERY_WORKER / 2);
        let drawn: fn(u32) -> bool = |number| {
            let mut draw = Draw::new(&[1; 32], DrawPurpose::Assignment, &worker(number));
            draw.below(PARTS) < u128::from(EVERY_WORKER / 2)
        };
        // A quarter of 4,000, whose standard deviation is 27; the same half twice would be 2,000.
        for (name, found) in [("value", both(first, second)), ("purpose", both(first, drawn))] {
            assert!(found.abs_diff(1_000) <= 137, "another {name}: {found}");
        }
        assert!(both(first, first).abs_diff(2_000) <= 158 && sampled(1, 4_000, half) as usize == both(first, first));
    }

    fn round(rate: u32) -> HeartbeatRound {
        HeartbeatRound { era: 1, period: 2, value: [3; 32], rate, opened: 10, until: 20, patience: 3 }
    }

    #[test]
    fn a_round_asks_who_is_sampled_and_who_is_unresponsive_until_they_answer() {
        let (who, none) = (worker(1), HeartbeatStanding::default());
        let unresponsive = HeartbeatStanding { unresponsive: true, misses: 3, ..none };
        assert!(round(EVERY_WORKER).asks(&who, &none) && !round(0).asks(&who, &none));
        assert!(round(0).asks(&who, &unresponsive), "so that it can come back");
        let answered = |answered| HeartbeatStanding { answered: Some(answered), ..unresponsive };
        assert!(!round(EVERY_WORKER).asks(&who, &answered((1, 2))));
        for other in [(1, 1), (0, 2), (2, 2)] {
            assert!(round(EVERY_WORKER).asks(&who, &answered(other)));
        }
    }

    #[test]
    fn a_policy_has_a_range() {
        let good = HeartbeatPolicy { rate: EVERY_WORKER, window: 5, patience: 1 };
        assert!(good.in_range() && HeartbeatPolicy { rate: 0, window: 1_200, patience: 64 }.in_range());
        for bad in [
            HeartbeatPolicy { rate: EVERY_WORKER + 1, ..good },
            HeartbeatPolicy { window: 4, ..good },
            HeartbeatPolicy { window: 1_201, ..good },
            HeartbeatPolicy { patience: 0, ..good },
            HeartbeatPolicy { patience: 65, ..good },
        ] {
            assert!(!bad.in_range(), "{bad:?}");
        }
    }

    #[test]
    fn a_heartbeats_payload_is_golden_and_binds_every_part() {
        let base =
            Heartbeat { genesis: [1; 32], worker: WorkerId([2; 32]), era: 3, period: 4, block: 5, block_hash: [6; 32] };
        let golden = "0x49777a609a98cd00a01125b62154125712e1dffd2ea58337bd1658e7b4e826c4";
        assert_eq!(crate::ids::to_hex(&base.signing_payload()), golden);
        for other in [
            Heartbeat { genesis: [9; 32], ..base },
            Heartbeat { worker: WorkerId([9; 32]), ..base },
            Heartbeat { era: 9, ..base },
            Heartbeat { period: 9, ..base },
            Heartbeat { block: 9, ..base },
            Heartbeat { block_hash: [9; 32], ..base },
        ] {
            assert_ne!(other.signing_payload(), base.signing_payload(), "{other:?}");
        }
    }

    #[test]
    fn who_is_sampled_is_golden() {
        // Made by a second implementation, in Python with hashlib: the numbers of workers 0x00.. to 0x07.. for a value.
        let value: Hash = core::array::from_fn(|index| index as u8 + 8);
        let numbers: [u128; 8] = [65135, 62904, 12323, 10217, 25565, 32785, 6662, 36594];
        for (number, expected) in (0u8..).zip(numbers) {
            let who = WorkerId([number; 32]);
            let rate = expected as u32;
            assert!(!is_sampled(&value, &who, rate) && is_sampled(&value, &who, rate + 1), "{number}");
        }
    }
}
