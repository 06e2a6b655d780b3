//! Public gas classes, and what they cost: what the chain may know about a command's cost before anyone can open it.
//!
//! The price of a class is `base * (1 + 10 * b / L) * e^x`, where `b` is the cluster's unacknowledged gas, `L` is
//! [`BACKLOG_LIMIT`] and `x` is the cluster's [`Surge`]: a state variable that grows with every block that ends with more than
//! [`BACKLOG_TARGET`] of unacknowledged gas, and shrinks with every block that ends with less. Keeping a queue full therefore
//! costs exponentially more with time, and a queue that empties is cheap again within minutes. The target rule is that of
//! EIP-1559 (a half-full block leaves the price as it is; a step is at most 1/8); the exponent is kept and exponentiated as in
//! EIP-4844 (`fake_exponential` over excess gas), so that any number of blocks is one step of constant work.
//!
//! Guarantees: a class bounds the gas of its command, and a price is a function of chain state, so that every node agrees.
//! The exact gas a command used is private. Who pushes a message chooses its class; replicas decide how fast a backlog shrinks.

use crate::ids::{Balance, BlockNumber};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// The gas bound of one message, public on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum GasClass {
    /// A transfer, a vote: 10 million units of fuel.
    #[codec(index = 0)]
    Small,
    /// Most commands: 100 million units.
    #[codec(index = 1)]
    Medium,
    /// Batch work: one billion units.
    #[codec(index = 2)]
    Large,
}

/// Price of a million units of gas, in 10^-12 PHA.
pub const PRICE_PER_MILLION_GAS: Balance = 10_000_000;

/// Unacknowledged gas at which a cluster's inbox refuses more: twenty large commands.
pub const BACKLOG_LIMIT: u64 = 20_000_000_000;

/// Unacknowledged gas at which the price neither rises nor falls: half of the limit.
pub const BACKLOG_TARGET: u64 = BACKLOG_LIMIT / 2;

/// One, in the unit of [`Surge::exponent`].
pub const SURGE_UNIT: u32 = 1_000_000;
/// How far the exponent moves in one block at most: 1/8, so that the price rises by at most 13.3 % and falls by at most 11.8 %.
pub const SURGE_STEP: u32 = SURGE_UNIT / 8;
/// The highest exponent: 162,754 times the price. From there an empty queue takes 96 blocks back to the base price.
pub const SURGE_LIMIT: u32 = 12 * SURGE_UNIT;

impl GasClass {
    /// All classes, cheapest first.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// Units of gas (wasmtime fuel under the pinned cost table) that a message of this class may use.
    pub const fn gas(self) -> u64 {
        match self {
            Self::Small => 10_000_000,
            Self::Medium => 100_000_000,
            Self::Large => 1_000_000_000,
        }
    }

    /// The cheapest class that covers `gas`, or `None` when no class does.
    pub fn covering(gas: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.gas() >= gas)
    }

    /// Price of the class with an empty backlog, in 10^-12 PHA.
    pub const fn base_price(self) -> Balance {
        // At most 10^9 / 10^6 * 10^7 = 10^10: far from overflow.
        (self.gas() / 1_000_000) as Balance * PRICE_PER_MILLION_GAS
    }

    /// Price of the class at `backlog` units of unacknowledged gas without any surge: the base price, rising linearly to eleven
    /// times that at the limit, so that filling a cluster's queue costs more the fuller it is.
    pub fn price_at(self, backlog: u64) -> Balance {
        let backlog = backlog.min(BACKLOG_LIMIT);
        let base = self.base_price();
        base.saturating_add(base.saturating_mul(10).saturating_mul(backlog as Balance) / BACKLOG_LIMIT as Balance)
    }
}

/// How dear a cluster's inbox has become by a backlog that stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Surge {
    /// The exponent in millionths, at most [`SURGE_LIMIT`].
    pub exponent: u32,
    /// The block that it is of.
    pub block: BlockNumber,
}

impl Surge {
    /// The surge in block `now`, when every block from [`Surge::block`] on ended with `backlog` units of unacknowledged gas:
    /// `x + n * (b - T) / T / 8` for `n` blocks and the target `T`, within 0 and the limit.
    pub fn advanced(self, backlog: u64, now: BlockNumber) -> Self {
        let blocks = u64::from(now.saturating_sub(self.block));
        let (rising, distance) = match backlog.checked_sub(BACKLOG_TARGET) {
            Some(over) => (true, over.min(BACKLOG_TARGET)),
            None => (false, BACKLOG_TARGET.saturating_sub(backlog)),
        };
        // At most 2^17 * 2^34, then times 2^32 blocks, saturating: a step never exceeds SURGE_STEP.
        let step = distance.saturating_mul(SURGE_STEP.into()) / BACKLOG_TARGET;
        let change = u32::try_from(step.saturating_mul(blocks)).unwrap_or(u32::MAX);
        let exponent = if rising { self.exponent.saturating_add(change) } else { self.exponent.saturating_sub(change) };
        Self { exponent: exponent.min(SURGE_LIMIT), block: now.max(self.block) }
    }

    /// What prices are multiplied by, the same for every message of a block.
    pub fn multiplier(&self) -> Multiplier {
        Multiplier(exponential(Multiplier::UNIT, self.exponent.min(SURGE_LIMIT)))
    }

    /// The price of `class` at `backlog`, in 10^-12 PHA, where only one is asked for; see [`Multiplier::price`].
    pub fn price(&self, class: GasClass, backlog: u64) -> Balance {
        self.multiplier().price(class, backlog)
    }

    /// The most that `class` can cost within `blocks` blocks of this one, whatever others push: the backlog at its limit from
    /// now on. What a caller who wants to be served puts into `max_fee`.
    pub fn most_within(&self, class: GasClass, blocks: BlockNumber) -> Balance {
        self.advanced(BACKLOG_LIMIT, self.block.saturating_add(blocks)).price(class, BACKLOG_LIMIT)
    }
}

/// `e^x` of a [`Surge`] in 10^-12, rounded down. It takes some ninety long divisions at most, and a price with it one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier(Balance);

impl Multiplier {
    /// One.
    const UNIT: Balance = 1_000_000_000_000;

    /// The price of `class` at `backlog`: [`GasClass::price_at`] times `e^x`, rounded down, in 10^-12 PHA.
    pub fn price(self, class: GasClass, backlog: u64) -> Balance {
        // At most 1.1 * 10^11 times e^12 * 10^12: under 2^95.
        class.price_at(backlog).saturating_mul(self.0) / Self::UNIT
    }
}

/// `factor * e^(exponent / 10^6)` by its Taylor series in integers: EIP-4844's `fake_exponential`.
fn exponential(factor: Balance, exponent: u32) -> Balance {
    const UNIT: Balance = SURGE_UNIT as Balance;
    let mut sum: Balance = 0;
    let mut term = factor.saturating_mul(UNIT);
    let mut index: Balance = 1;
    // For x <= 12 the terms vanish after fewer than ninety; none exceeds 10^12 * 10^6 * e^12, times 1.2 * 10^7: under 2^101.
    while term > 0 {
        sum = sum.saturating_add(term);
        term = term.saturating_mul(exponent.into()) / UNIT.saturating_mul(index);
        index = index.saturating_add(1);
    }
    sum / UNIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(exponent: u32) -> Surge {
        Surge { exponent, block: 0 }
    }

    proptest! {
        #[test]
        fn a_step_is_bounded_and_follows_the_side_of_the_target(exponent in 0..=SURGE_LIMIT, backlog in 0..=2 * BACKLOG_LIMIT) {
            let next = at(exponent).advanced(backlog, 1).exponent;
            prop_assert!(next.abs_diff(exponent) <= SURGE_STEP && next <= SURGE_LIMIT);
            match backlog.cmp(&BACKLOG_TARGET) {
                core::cmp::Ordering::Less => prop_assert!(next <= exponent),
                core::cmp::Ordering::Equal => prop_assert_eq!(next, exponent),
                core::cmp::Ordering::Greater => prop_assert!(next >= exponent),
            }
            let (before, after) = (at(exponent).price(GasClass::Large, 0), at(next).price(GasClass::Large, 0));
            prop_assert!(after <= before + before * 134 / 1_000 && after + before * 119 / 1_000 + 1 >= before);
        }

        #[test]
        fn many_blocks_at_once_are_the_same_as_one_by_one(
            exponent in 0..=SURGE_LIMIT, backlog in 0..=BACKLOG_LIMIT, blocks in 0..300u32,
        ) {
            let at_once = at(exponent).advanced(backlog, blocks);
            let one_by_one = (1..=blocks).fold(at(exponent), |surge, block| surge.advanced(backlog, block));
            prop_assert_eq!(at_once, one_by_one);
        }

        #[test]
        fn price_is_the_exponential_within_a_millionth(exponent in 0..=SURGE_LIMIT, backlog in 0..=BACKLOG_LIMIT) {
            let exact = GasClass::Large.price_at(backlog) as f64 * (f64::from(exponent) / 1e6).exp();
            let price = at(exponent).price(GasClass::Large, backlog) as f64;
            prop_assert!((price / exact - 1.0).abs() < 1e-6, "{price} is not {exact}");
        }

        #[test]
        fn a_fuller_queue_is_never_cheaper_and_never_below_the_price_without_surge(
            exponent in 0..=SURGE_LIMIT, emptier in 0..=BACKLOG_LIMIT, more in 0..=BACKLOG_LIMIT,
        ) {
            let multiplier = at(exponent).multiplier();
            let (less, price) = (multiplier.price(GasClass::Small, emptier), multiplier.price(GasClass::Small, emptier + more));
            prop_assert!(less <= price && less >= GasClass::Small.price_at(emptier));
        }

        #[test]
        fn nothing_overflows_and_no_time_goes_back(exponent: u32, block: u32, backlog: u64, now: u32) {
            let next = Surge { exponent, block }.advanced(backlog, now);
            prop_assert!(next.exponent <= SURGE_LIMIT && next.block >= block);
            prop_assert!(next.price(GasClass::Large, u64::MAX) < Balance::MAX / 1_000_000);
            prop_assert!(next.most_within(GasClass::Small, now) >= next.price(GasClass::Small, backlog));
        }
    }

    #[test]
    fn keeping_a_queue_full_costs_exponentially_more_and_emptying_it_makes_it_cheap_again() {
        let price = |blocks| at(0).advanced(BACKLOG_LIMIT, blocks).price(GasClass::Small, BACKLOG_LIMIT);
        // A minute of 1 s blocks: e^7.5, then the cap.
        assert!(price(60) > 1_800 * price(0) && price(60) < 1_810 * price(0));
        assert!(price(96) > 162_000 * price(0));
        assert_eq!(price(97), price(u32::MAX));
        assert_eq!(at(SURGE_LIMIT).advanced(0, 96), Surge { exponent: 0, block: 96 });
        assert_eq!(at(0).price(GasClass::Medium, 0), GasClass::Medium.base_price());
    }

    #[test]
    fn price_rises_with_the_backlog_and_stops_at_the_limit() {
        let class = GasClass::Small;
        assert_eq!(class.price_at(0), class.base_price());
        assert!(class.price_at(BACKLOG_LIMIT / 2) > class.price_at(0));
        assert_eq!(class.price_at(BACKLOG_LIMIT), class.base_price() * 11);
        assert_eq!(class.price_at(u64::MAX), class.base_price() * 11);
    }

    #[test]
    fn covering_class_is_the_cheapest() {
        assert_eq!(GasClass::covering(0), Some(GasClass::Small));
        assert_eq!(GasClass::covering(10_000_001), Some(GasClass::Medium));
        assert_eq!(GasClass::covering(1_000_000_001), None);
    }
}
