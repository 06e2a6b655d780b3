//! The record of identities: who holds which share of the network's two keys; and what a contract's key is away from them.
//!
//! Guarantees: [`IdentityRecord::hash`] binds every byte of the record; [`derivation_offset`] binds chain, scheme, key and contract. Public keys
//! and public shares are no secret: whoever could invert one could invert an address. Does not check that points are points, nor
//! that shares are of one key: whoever uses a record does. Holders control what is in it, a threshold of them together.

use crate::{
    domain, hash_value,
    ids::{ContractId, WorkerId},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// Which key: part of everything that is hashed, so that nothing of one serves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Scheme {
    /// Ed25519 (RFC 8032).
    #[codec(index = 0)]
    Ed25519,
    /// The group of RFC 9496, in which sr25519 keys live.
    #[codec(index = 1)]
    Ristretto255,
}

/// A point of each of the two groups, encoded: keys, or public shares of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct IdentityPoints {
    /// Of Ed25519.
    pub ed25519: [u8; 32],
    /// Of sr25519.
    pub sr25519: [u8; 32],
}

impl IdentityPoints {
    /// The point of a scheme.
    pub const fn of(&self, scheme: Scheme) -> &[u8; 32] {
        match scheme {
            Scheme::Ed25519 => &self.ed25519,
            Scheme::Ristretto255 => &self.sr25519,
        }
    }
}

/// One who holds shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct IdentityHolder {
    /// Its index, from 1: that of its seat.
    pub index: u16,
    /// The gatekeeper.
    pub gatekeeper: WorkerId,
    /// Its public shares.
    pub shares: IdentityPoints,
}

/// The network's identities: `Gatekeepers::Identity`. The keys stay for ever; era, threshold, holders and shares are those of the set that
/// received them last.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct IdentityRecord {
    /// The era whose set holds them.
    pub era: u32,
    /// Holders that it takes to sign.
    pub threshold: u16,
    /// The two keys.
    pub keys: IdentityPoints,
    /// Who holds a share, ascending by index; a seat that the ceremony left out holds none.
    pub holders: Vec<IdentityHolder>,
}

impl IdentityRecord {
    /// What holders confirm and the chain expects.
    pub fn hash(&self) -> Hash {
        hash_value(domain::IDENTITY_RECORD, self)
    }

    /// The holder that this gatekeeper is, if it is one.
    pub fn holder(&self, gatekeeper: &WorkerId) -> Option<&IdentityHolder> {
        self.holders.iter().find(|holder| holder.gatekeeper == *gatekeeper)
    }

    /// Each holder's index and public share of one key, in the record's order.
    pub fn shares(&self, scheme: Scheme) -> Vec<(u16, [u8; 32])> {
        self.holders.iter().map(|holder| (holder.index, *holder.shares.of(scheme))).collect()
    }
}

/// By how much a contract's key is away from the network's: 64 bytes, little-endian, to be reduced modulo the group's order. A contract's
/// key is `key + offset G`.
pub fn derivation_offset(genesis: &Hash, scheme: Scheme, key: &[u8; 32], contract: &ContractId) -> [u8; 64] {
    let mut wide = [0; 64];
    let (halves, _) = wide.as_chunks_mut::<32>();
    for (number, half) in (0u8..).zip(halves) {
        *half = hash_value(domain::IDENTITY_OFFSET, &(genesis, scheme, key, contract, number));
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_binds_chain_scheme_key_and_contract() {
        let contract = ContractId([3; 32]);
        let base = derivation_offset(&[1; 32], Scheme::Ed25519, &[2; 32], &contract);
        assert_ne!(base[..32], base[32..]);
        for other in [
            derivation_offset(&[9; 32], Scheme::Ed25519, &[2; 32], &contract),
            derivation_offset(&[1; 32], Scheme::Ristretto255, &[2; 32], &contract),
            derivation_offset(&[1; 32], Scheme::Ed25519, &[9; 32], &contract),
            derivation_offset(&[1; 32], Scheme::Ed25519, &[2; 32], &ContractId([9; 32])),
        ] {
            assert!(other[..32] != base[..32] && other[32..] != base[32..]);
        }
    }

    #[test]
    fn a_record_is_known_by_its_hash_and_its_holders_by_their_gatekeepers() {
        let points = |byte: u8| IdentityPoints { ed25519: [byte; 32], sr25519: [byte ^ 0xff; 32] };
        let holder = |index: u8| IdentityHolder {
            index: index.into(),
            gatekeeper: WorkerId([index; 32]),
            shares: points(index),
        };
        let record =
            IdentityRecord { era: 1, threshold: 3, keys: points(9), holders: Vec::from([1, 2, 4].map(holder)) };
        assert_eq!(record.holder(&WorkerId([4; 32])).map(|holder| holder.index), Some(4));
        assert_eq!(record.holder(&WorkerId([3; 32])), None);
        assert_eq!(record.shares(Scheme::Ed25519)[2], (4, [4; 32]));
        assert_eq!(record.shares(Scheme::Ristretto255)[2], (4, [0xfb; 32]));
        let mut other = record.clone();
        other.holders[1].shares.sr25519[31] ^= 1;
        assert_ne!(other.hash(), record.hash());
    }
}
