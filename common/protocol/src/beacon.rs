//! The beacon: one public value a period, that nobody can choose and that fewer than a threshold of gatekeepers cannot know before.
//!
//! A threshold VRF over [`BeaconInput`] alone, never over a block hash, which a producer could grind. Its key is of a key generation of
//! its own, and lives one era as the root's does: whoever gathers a threshold of shares knows every value of that era, and of no other.
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
