//! Public gas classes: what the chain may know about a command's cost before anyone can open it.
//!
//! Guarantees: a class bounds the gas of its command, its price bounds the fee, and both are constants, so that every replica
//! agrees. The exact gas a command used is private. Who pushes a message chooses its class.

use crate::ids::Balance;
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

    /// Price of the class at `backlog` units of unacknowledged gas: the base price, rising linearly to eleven times that at
    /// the limit, so that filling a cluster's queue costs more the fuller it is.
    pub fn price_at(self, backlog: u64) -> Balance {
        let backlog = backlog.min(BACKLOG_LIMIT);
        let base = self.base_price();
        base.saturating_add(base.saturating_mul(10).saturating_mul(backlog as Balance) / BACKLOG_LIMIT as Balance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
