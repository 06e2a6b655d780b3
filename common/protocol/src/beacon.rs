//! The beacon: one public value a period, that fewer than a threshold t of n gatekeepers cannot know before the period opens, nor give
//! another. n-t+1 of them together see it before it is made, from what the others gave, and can have it skipped by their silence.
//!
//! A threshold VRF over [`BeaconInput`] alone, never over a block hash, which a producer could grind. Its key has polynomials of its own
//! in the ceremony that makes the era's root, and lives one era as the root does: whoever gathers a threshold of shares knows every value of that era, and of no other.
//! Unlike the root's, its public shares are public, so that anyone checks a value: a later quantum adversary finds a key that
//! has nothing left to tell.
//!
//! A value travels as its threshold of partial evaluations with proofs, 98 bytes each: 303 bytes for 4 seats, 1,479 for 21, 6,576 for
//! 100. A proof of the combined value would take 96 bytes whatever the seats, but holders would have to make it together in two
//! rounds, with nonces that must never repeat; partials need no round, no state and no coordinator, and name whoever made a wrong one.
//!
//! Guarantees: bounded decoding, if the caller bounds the bytes by [`MAX_BEACON_VALUE_BYTES`]. Anyone may send a value or a partial:
//! allegations until `phala_crypto::beacon` verified them. Does not say who may be asked for which period.

use crate::{
    ceremony::{threshold_of, MAX_SEATS},
    domain, hash_value,
    ids::BlockNumber,
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// A period of the beacon, counted from 0.
pub type Period = u32;

/// Bytes of one partial evaluation.
pub const BEACON_PARTIAL_BYTES: usize = 98;
/// Bytes of a value at most: era, period, length, and the partials of a threshold of [`MAX_SEATS`].
pub const MAX_BEACON_VALUE_BYTES: usize = 4 + 4 + 2 + BEACON_PARTIAL_BYTES * threshold_of(MAX_SEATS);

/// What the beacon is evaluated at, and all of it; hashed to the group under [`crate::domain::BEACON_INPUT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BeaconInput {
    /// The chain.
    pub genesis: Hash,
    /// The era whose beacon key answers.
    pub era: u32,
    /// The period.
    pub period: Period,
}

/// The public half of one holder's share of a beacon key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct BeaconHolder {
    /// The holder's index, from 1.
    pub index: u16,
    /// Its public share, a compressed Ristretto point.
    pub share: [u8; 32],
}

/// The beacon key of an era, as the chain keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct BeaconRecord {
    /// The era.
    pub era: u32,
    /// Partials that make a value.
    pub threshold: u16,
    /// Those who hold a share, ascending by index; a seat that the key generation left out holds none.
    pub holders: Vec<BeaconHolder>,
}

impl BeaconRecord {
    /// What seats confirm and the chain expects.
    pub fn hash(&self) -> Hash {
        hash_value(domain::BEACON_KEY, self)
    }
}

/// The beacon key that the chain knows the hash of, and nobody has shown it yet: `Beacon::Awaited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct AwaitedBeacon {
    /// The era.
    pub era: u32,
    /// [`BeaconRecord::hash`].
    pub hash: Hash,
}

/// The period whose value is due: `Beacon::Due`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct DueBeacon {
    /// The era whose key answers.
    pub era: u32,
    /// The period.
    pub period: Period,
    /// Indices of the holders whose partials the chain has, ascending.
    pub present: Vec<u16>,
}

/// One holder's evaluation for a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct BeaconPartial {
    /// The holder's index, from 1.
    pub index: u16,
    /// `k_i * H2C(input)`, compressed.
    pub point: [u8; 32],
    /// Chaum-Pedersen proof: challenge then response.
    pub proof: [u8; 64],
}

/// A value of the beacon as it travels: the value itself follows from the partials.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct BeaconValue {
    /// The era.
    pub era: u32,
    /// The period.
    pub period: Period,
    /// Exactly a threshold of partials, ascending by index.
    pub partials: Vec<BeaconPartial>,
}

/// A value that the chain has: `Beacon::Values[(era, period)]`. Era and period stand in its proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct MadeBeacon {
    /// The block in which the period opened. Before it nobody but a threshold of holders could know the value.
    pub opened: BlockNumber,
    /// The block in which the value was made.
    pub made: BlockNumber,
    /// The value.
    pub value: Hash,
    /// What shows it to whoever has the era's record.
    pub proof: BeaconValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_as_long_as_is_said() {
        let partial = BeaconPartial { index: 1, point: [2; 32], proof: [3; 64] };
        assert_eq!(partial.encoded_size(), BEACON_PARTIAL_BYTES);
        assert_eq!(BeaconPartial::max_encoded_len(), BEACON_PARTIAL_BYTES);
        for (seats, bytes) in [(4, 303), (21, 1_479), (100, 6_576)] {
            let value = BeaconValue { era: 1, period: 2, partials: [partial].repeat(threshold_of(seats)) };
            assert_eq!(value.encoded_size(), bytes);
            assert!(bytes <= MAX_BEACON_VALUE_BYTES);
        }
    }
}
