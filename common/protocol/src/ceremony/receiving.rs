//! The keys that seats receive parcels under, each of which lives one attempt.
//!
//! A gatekeeper's evidence binds an encryption key for as long as the machine lives, and nothing of a ceremony is sealed to that one: who
//! gets it years later would open what a host recorded. For each attempt it makes a key pair, and announces the public key under its
//! identity: in its introduction to whoever seals to it, and on chain beside its first complaint.
//!
//! Guarantees: a signature's payload binds chain, ceremony, era, attempt and key, so that no announcement serves two attempts. Verifies
//! nothing, and bounds nothing that it decodes. Gatekeepers and whoever carries it control every byte.

use crate::{domain, hash_value, Hash};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode};

/// Which ceremony, of an era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum CeremonyKind {
    /// The one that makes its root, and its beacon's key.
    #[codec(index = 0)]
    Root,
    /// The one in which its set makes or receives the keys of identities, which comes after.
    #[codec(index = 1)]
    Identities,
}

/// One attempt of one ceremony: later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct CeremonyAttempt {
    /// The era.
    pub era: u32,
    /// The ceremony.
    pub kind: CeremonyKind,
    /// The attempt.
    pub attempt: u32,
}

impl CeremonyAttempt {
    /// An attempt at an era's root.
    pub const fn root(era: u32, attempt: u32) -> Self {
        Self { era, kind: CeremonyKind::Root, attempt }
    }

    /// An attempt at the identities of an era's set.
    pub const fn identities(era: u32, attempt: u32) -> Self {
        Self { era, kind: CeremonyKind::Identities, attempt }
    }

    /// The 32 bytes that a gatekeeper signs to announce `key` for this attempt.
    pub fn announcing_payload(&self, genesis: &Hash, key: &[u8]) -> Hash {
        hash_value(domain::CEREMONY_RECEIVING, &(genesis, self, key))
    }
}

/// The key under which a gatekeeper receives in one attempt, as it announces it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct AnnouncedKey {
    /// The attempt.
    pub of: CeremonyAttempt,
    /// The X-Wing key.
    pub key: Vec<u8>,
    /// Ed25519 by the gatekeeper over [`Self::signing_payload`].
    pub signature: [u8; 64],
}

/// Bytes of an X-Wing key.
const KEY_BYTES: usize = 1_216;
/// Of these the coefficients of its ML-KEM half, two in three bytes.
const COEFFICIENT_BYTES: usize = 1_152;
/// What each of them is below (FIPS 203, section 2.4).
const MODULUS: u16 = 3_329;

impl AnnouncedKey {
    /// Whether anyone can seal to the key: it has the length of one, and FIPS 203's check (section 7.2) takes it. Whoever complained under
    /// another would have dealers left out that cannot deliver.
    pub fn is_well_formed(&self) -> bool {
        let below = |triple: &[u8]| match *triple {
            [first, second, third] => {
                let (first, second, third) = (u16::from(first), u16::from(second), u16::from(third));
                (first | ((second & 0x0f) << 8)) < MODULUS && ((second >> 4) | (third << 4)) < MODULUS
            }
            _ => false,
        };
        let coefficients = self.key.get(..COEFFICIENT_BYTES);
        self.key.len() == KEY_BYTES && coefficients.is_some_and(|bytes| bytes.chunks_exact(3).all(below))
    }

    /// The 32 bytes that the gatekeeper signs.
    pub fn signing_payload(&self, genesis: &Hash) -> Hash {
        self.of.announcing_payload(genesis, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_binds_chain_ceremony_era_attempt_and_key() {
        let of = CeremonyAttempt::root(1, 2);
        let announced = AnnouncedKey { of, key: Vec::from([3; 4]), signature: [0; 64] };
        let payload = announced.signing_payload(&[7; 32]);
        let in_another = |of| AnnouncedKey { of, ..announced.clone() }.signing_payload(&[7; 32]);
        for other in [
            announced.signing_payload(&[8; 32]),
            in_another(CeremonyAttempt::identities(1, 2)),
            in_another(CeremonyAttempt::root(2, 2)),
            in_another(CeremonyAttempt::root(1, 3)),
            AnnouncedKey { key: Vec::from([4; 4]), ..announced.clone() }.signing_payload(&[7; 32]),
        ] {
            assert_ne!(other, payload);
        }
    }

    #[test]
    fn a_key_is_well_formed_if_all_its_coefficients_are_below_the_modulus() {
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut key = Vec::from([0; KEY_BYTES]);
            change(&mut key);
            AnnouncedKey { of: CeremonyAttempt::root(1, 2), key, signature: [0; 64] }.is_well_formed()
        };
        assert!(with(&|_| ()) && with(&|key| key[COEFFICIENT_BYTES..].fill(0xff)));
        assert!(!with(&|key| key.truncate(KEY_BYTES - 1)) && !with(&|key| key.push(0)) && !with(&|key| key.clear()));
        for triple in [0, 3, COEFFICIENT_BYTES - 3] {
            // 3,328 and 3,329, as the first and as the second of two.
            assert!(with(&|key| key[triple..triple + 2].copy_from_slice(&[0x00, 0x0d])));
            assert!(!with(&|key| key[triple..triple + 2].copy_from_slice(&[0x01, 0x0d])));
            assert!(with(&|key| key[triple + 1..triple + 3].copy_from_slice(&[0x00, 0xd0])));
            assert!(!with(&|key| key[triple + 1..triple + 3].copy_from_slice(&[0x10, 0xd0])));
        }
    }

    #[test]
    fn later_attempts_are_greater_and_identities_come_after_the_root_of_their_era() {
        let in_order = [
            CeremonyAttempt::root(1, 0),
            CeremonyAttempt::root(1, 9),
            CeremonyAttempt::identities(1, 0),
            CeremonyAttempt::identities(1, 1),
            CeremonyAttempt::root(2, 0),
        ];
        assert!(in_order.is_sorted_by(|one, next| one < next));
    }
}
