//! Epoch keys: what a worker asks of a gatekeeper, and what it is answered.
//!
//! Each gatekeeper `i` of an era returns `Y_i = k_i * H2C(input)` with a proof, for an input that it builds itself from the
//! request's fields; `t` of them combine into `Y = k * H2C(input)`, from which the key is derived. The shape is the same for one
//! gatekeeper (development) and for many.
//!
//! The public shares are never public: they travel in the sealed answer, and the chain keeps the hash of their list, so that a
//! later quantum adversary who holds only public data has no `g^k` to invert. Hosts control transport of both messages.
//!
//! The answer is sealed to a key that the worker draws for the request and forgets with it: whoever recorded letters, and takes the
//! worker later, opens none of them.

use crate::{
    domain, hash_value,
    ids::{BlockNumber, ClusterId, Epoch, WorkerId},
    limits::KEY_REQUEST_BLOCKS,
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};

/// What a key is for. Each has its own PRF input, so that a hand-over can give one without the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen)]
#[cfg_attr(feature = "scale-info", derive(scale_info::TypeInfo))]
pub enum KeyPurpose {
    /// Seed of the epoch's envelope key pair.
    #[codec(index = 0)]
    Envelope,
    /// Wraps the cluster's data keys.
    #[codec(index = 1)]
    Storage,
    /// Commits results.
    #[codec(index = 2)]
    Commit,
    /// The epoch's entropy, which random bytes of contracts are drawn from.
    #[codec(index = 3)]
    Entropy,
}

impl KeyPurpose {
    /// All purposes: what the set of an epoch gets.
    pub const ALL: [Self; 4] = [Self::Envelope, Self::Storage, Self::Commit, Self::Entropy];
}

/// The input of the threshold PRF; hashed to the group under [`domain::PRF_INPUT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PrfInput {
    /// The chain.
    pub genesis: Hash,
    /// The era whose root answers: the one that the chain gives the epoch to.
    pub era: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch: the open one or the next, nothing else.
    pub epoch: Epoch,
    /// What for.
    pub purpose: KeyPurpose,
}

/// A worker's request for the keys of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct KeyRequest {
    /// The chain.
    pub genesis: Hash,
    /// Who asks.
    pub worker: WorkerId,
    /// Of which gatekeeper.
    pub gatekeeper: WorkerId,
    /// For which cluster.
    pub cluster: ClusterId,
    /// Of which era's root; its gatekeepers answer for the epochs that the chain gives to that era.
    pub era: u32,
    /// For which epoch.
    pub epoch: Epoch,
    /// Fresh; an answer names it, so that an old answer is never taken for a new one.
    pub nonce: [u8; 32],
    /// [`answer_key_hash`] of the X-Wing key that the answer is to be sealed to, of this request alone.
    pub answer_key: Hash,
    /// The worker's finalised head when it made the request: the request is good for [`KEY_REQUEST_BLOCKS`] from there.
    pub at: BlockNumber,
}

/// A request under its worker's signature, with the key that the answer is sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct SignedKeyRequest {
    /// What is asked.
    pub request: KeyRequest,
    /// The X-Wing public key whose hash the request has; bytes of another are refused.
    pub public_key: Vec<u8>,
    /// Ed25519 by the worker over [`KeyRequest::signing_payload`].
    pub signature: [u8; 64],
}

impl KeyRequest {
    /// The 32 bytes that the worker signs.
    pub fn signing_payload(&self) -> Hash {
        hash_value(domain::KEY_REQUEST, self)
    }

    /// Whether it is too old for a gatekeeper at block `head`. One that names a later block is not: a gatekeeper may be behind the worker.
    pub fn is_stale(&self, head: BlockNumber) -> bool {
        head > self.at.saturating_add(KEY_REQUEST_BLOCKS)
    }
}

/// One evaluation: a compressed Ristretto point and the proof that it used the share behind the public share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Evaluation {
    /// What for.
    pub purpose: KeyPurpose,
    /// `k_i * H2C(input)`, compressed.
    pub point: [u8; 32],
    /// Chaum-Pedersen proof: challenge then response.
    pub proof: [u8; 64],
}

/// The plaintext of a gatekeeper's answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyGrant {
    /// [`KeyRequest::signing_payload`] of the request that is answered.
    pub request: Hash,
    /// The era.
    pub era: u32,
    /// The gatekeeper's index, from 1.
    pub index: u16,
    /// Public shares of all indices, in order; hashes to the chain's record.
    pub shares: Vec<[u8; 32]>,
    /// One evaluation a purpose: of all purposes, or of an epoch that is only taken over from for [`KeyPurpose::Storage`] alone.
    pub evaluations: Vec<Evaluation>,
    /// The gatekeeper's finalised head. Evaluations are proved, and this is not: an answer is not signed, so nothing rests on it.
    pub head: (BlockNumber, Hash),
}

/// A sealed answer: HPKE single-shot to the request's own key, AAD being the request's payload.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct KeyAnswer {
    /// The X-Wing ciphertext.
    pub encapsulated: Vec<u8>,
    /// The AEAD's output over a [`KeyGrant`].
    pub body: Vec<u8>,
}

/// Hash of a root's public shares and threshold, as chain state keeps it.
pub fn share_list_hash(era: u32, threshold: u16, shares: &[[u8; 32]]) -> Hash {
    hash_value(domain::SHARE_LIST, &(era, threshold, shares))
}

/// Hash of the X-Wing public key that the answer to a request is sealed to.
pub fn answer_key_hash(public_key: &[u8]) -> Hash {
    crate::hash(domain::ANSWER_KEY, public_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::to_hex;

    /// The values were computed by another implementation: BLAKE2b-256 of Python's hashlib, over the label behind its length and the fields
    /// one behind another.
    #[test]
    fn what_a_worker_signs_to_ask_is_golden_and_binds_every_field() {
        let answer_key = answer_key_hash(&[8; 1_216]);
        assert_eq!(to_hex(&answer_key), "0x4a8901fa89f600048ceb6a4f9831bcea474e2f65e47d1b060eac9d1e44f90405");
        let base = KeyRequest {
            genesis: [1; 32],
            worker: WorkerId([2; 32]),
            gatekeeper: WorkerId([3; 32]),
            cluster: ClusterId(4),
            era: 5,
            epoch: 6,
            nonce: [7; 32],
            answer_key,
            at: 9,
        };
        let payload = base.signing_payload();
        assert_eq!(to_hex(&payload), "0x8f636be52d19cae178e8ef88fec60f1d6d77c4b13ce43bd3b7e8f2625047c03b");
        for other in [
            KeyRequest { genesis: [0; 32], ..base },
            KeyRequest { worker: WorkerId([0; 32]), ..base },
            KeyRequest { gatekeeper: WorkerId([0; 32]), ..base },
            KeyRequest { cluster: ClusterId(0), ..base },
            KeyRequest { era: 0, ..base },
            KeyRequest { epoch: 0, ..base },
            KeyRequest { nonce: [0; 32], ..base },
            KeyRequest { answer_key: answer_key_hash(&[9; 1_216]), ..base },
            KeyRequest { at: 0, ..base },
        ] {
            assert_ne!(other.signing_payload(), payload);
        }
        for (at, head, stale) in [
            (9, 9 + KEY_REQUEST_BLOCKS, false),
            (9, 10 + KEY_REQUEST_BLOCKS, true),
            (9, 0, false),
            (BlockNumber::MAX, BlockNumber::MAX, false),
        ] {
            assert_eq!(KeyRequest { at, ..base }.is_stale(head), stale, "{at} at {head}");
        }
    }
}
