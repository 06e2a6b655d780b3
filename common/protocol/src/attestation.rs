//! What a TEE's evidence binds when it joins a network, as a worker or as a gatekeeper.
//!
//! Guarantees: [`Registration::report_data`] is injective over chain, role, identity key, encryption key, operator and a recent
//! finalised block, so that evidence made for one network, role or owner serves no other and goes stale. The evidence itself
//! is judged by `phala-attest`. The operator controls everything here but the TEE's keys.

use crate::{
    domain, hash_value,
    ids::{AccountId, BlockNumber, WorkerId},
    Hash,
};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// What a TEE does in the network. The same measured binary serves every role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Role {
    /// Executes a cluster's commands.
    #[codec(index = 0)]
    Worker,
    /// Holds shares of the network's secrets.
    #[codec(index = 1)]
    Gatekeeper,
}

/// Whether real hardware vouches for a TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum Assurance {
    /// INSECURE: a simulator under the public development root.
    #[codec(index = 0)]
    Simulated,
    /// A vendor's root.
    #[codec(index = 1)]
    Hardware,
}

/// A TEE's application to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Registration {
    /// In which role.
    pub role: Role,
    /// Its identity: signs results, announcements and answers.
    pub identity: WorkerId,
    /// Hash of its X-Wing encryption key: receives key answers. Never the identity key.
    pub encryption_key: Hash,
    /// The account that operates the machine and pays.
    pub operator: AccountId,
    /// A finalised block, at most [`crate::limits::MAX_REGISTRATION_AGE_BLOCKS`] old.
    pub block: BlockNumber,
    /// That block's hash.
    pub block_hash: Hash,
}

impl Registration {
    /// The 64 bytes that the TEE puts in its quote: a hash over everything, then the role in clear, then zeros.
    pub fn report_data(&self, genesis: &Hash) -> [u8; 64] {
        let mut data = [0; 64];
        let digest = hash_value(domain::REPORT_DATA, &(genesis, self));
        data[..32].copy_from_slice(&digest);
        data[32] = self.role as u8;
        data
    }
}

/// The version of a release: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Version(pub u16, pub u16, pub u16);

/// What governance says of a measurement when it lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub struct Listing {
    /// The commit of the source that reproduces the measurement (20 bytes of SHA-1, zero-padded); zeros, which say nothing, on a
    /// development network only.
    pub source: Hash,
    /// The release that was measured.
    pub version: Version,
    /// The only role in which it may join; none for every role.
    pub role: Option<Role>,
    /// From which block it may join.
    pub not_before: BlockNumber,
    /// The last block at which it may be active, if any.
    pub sunset: Option<BlockNumber>,
}

impl Listing {
    /// Whether the measurement may join as `role`.
    pub fn admits(&self, role: Role) -> bool {
        self.role.is_none_or(|only| only == role)
    }
}

/// Hash of a TEE's X-Wing encryption key.
pub fn encryption_key_hash(public_key: &[u8]) -> Hash {
    crate::hash(domain::ENCRYPTION_KEY, public_key)
}

/// A machine's pseudonym on one chain: ties a registry entry to hardware without publishing the vendor's id.
pub fn hardware_pseudonym(genesis: &Hash, hardware_id: &Hash) -> Hash {
    hash_value(domain::HARDWARE_ID, &(genesis, hardware_id))
}

/// The 32 bytes that a seat of the recorded root signs, by its identity, to suspend `subject` (a `phala_attest::Subject`).
///
/// `sequence` is how often the brake has suspended this subject before, so that no signature serves twice; `expires` is the last
/// block in which the chain takes it.
pub fn suspension_payload(genesis: &Hash, subject: &impl Encode, sequence: u32, expires: BlockNumber) -> Hash {
    hash_value(domain::SUSPENSION, &(genesis, subject, sequence, expires))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspensions_payload_is_golden_and_binds_chain_subject_sequence_and_end() {
        // `Subject::Measurement([2; 32])`, by its index.
        let subject = (4u8, [2u8; 32]);
        let payload = suspension_payload(&[1; 32], &subject, 3, 5);
        let golden = "0x59cb33a58364f32a739095cf437d7b50ab360b270c56ffc810ece1953482cbbd";
        assert_eq!(crate::ids::to_hex(&payload), golden);
        for other in [
            suspension_payload(&[9; 32], &subject, 3, 5),
            suspension_payload(&[1; 32], &(4u8, [9u8; 32]), 3, 5),
            suspension_payload(&[1; 32], &subject, 4, 5),
            suspension_payload(&[1; 32], &subject, 3, 6),
        ] {
            assert_ne!(other, payload);
        }
    }

    #[test]
    fn report_data_binds_everything() {
        let base = Registration {
            role: Role::Worker,
            identity: WorkerId([1; 32]),
            encryption_key: [2; 32],
            operator: AccountId([3; 32]),
            block: 4,
            block_hash: [5; 32],
        };
        let data = base.report_data(&[0; 32]);
        assert_eq!(data[32], 0);
        assert!(data[33..].iter().all(|byte| *byte == 0));
        let others = [
            base.report_data(&[1; 32]),
            Registration { role: Role::Gatekeeper, ..base }.report_data(&[0; 32]),
            Registration { identity: WorkerId([0; 32]), ..base }.report_data(&[0; 32]),
            Registration { encryption_key: [0; 32], ..base }.report_data(&[0; 32]),
            Registration { operator: AccountId([0; 32]), ..base }.report_data(&[0; 32]),
            Registration { block: 0, ..base }.report_data(&[0; 32]),
            Registration { block_hash: [0; 32], ..base }.report_data(&[0; 32]),
        ];
        assert!(others.iter().all(|other| other[..32] != data[..32]));
    }
}
