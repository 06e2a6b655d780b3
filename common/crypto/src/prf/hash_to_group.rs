//! Hashing to Ristretto255: RFC 9380, suite `ristretto255_XMD:SHA-512_R255MAP_RO_` (appendix B).
//!
//! Guarantees: nobody knows a discrete logarithm of an [`Input`] to any base, so evaluations at different inputs tell
//! nothing about each other. Anyone may choose what is hashed; it is public.

use codec::Encode;
use curve25519_dalek::ristretto::RistrettoPoint;
use phala_protocol::Domain;
use sha2::{Digest, Sha512};

/// Ends every domain separation tag: the suite of RFC 9380.
const SUITE: &[u8] = b"/ristretto255_XMD:SHA-512_R255MAP_RO_";
const BLOCK_BYTES: usize = 128;

/// An input of the PRF: a point that was hashed to, never one that arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Input {
    point: RistrettoPoint,
    /// The point, compressed: every nonce and every challenge is made of it.
    bytes: [u8; 32],
}

impl Input {
    /// The input that `value` names: [`hash_to_group`] of its SCALE encoding.
    pub fn of(domain: Domain, value: &(impl Encode + ?Sized)) -> Self {
        value.using_encoded(|data| hash_to_group(domain, data))
    }

    /// The compressed point.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }

    pub(super) fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

/// Hashes `data` to the group; the domain separation tag is the label, then `/` and the suite's name.
pub fn hash_to_group(domain: Domain, data: &[u8]) -> Input {
    let uniform = expand_message_xmd::<64>(&[domain.as_bytes(), SUITE], &[data]);
    let point = RistrettoPoint::from_uniform_bytes(&uniform);
    Input { point, bytes: point.compress().to_bytes() }
}

/// `expand_message_xmd` of RFC 9380, section 5.3.1, with SHA-512, for at most 255 blocks of 64 bytes.
///
/// `tag` has at most 255 bytes in all (labels are bounded where they are declared; longer tags would need section 5.3.3).
fn expand_message_xmd<const N: usize>(tag: &[&[u8]], message: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 255 * 64) };
    let tag_bytes: usize = tag.iter().map(|part| part.len()).sum();
    debug_assert!(tag_bytes <= 255);
    let finish = |mut hasher: Sha512| -> [u8; 64] {
        for part in tag {
            hasher.update(part);
        }
        hasher.update([tag_bytes as u8]);
        hasher.finalize().into()
    };

    let mut hasher = Sha512::new_with_prefix([0; BLOCK_BYTES]);
    for part in message {
        hasher.update(part);
    }
    hasher.update((N as u16).to_be_bytes());
    hasher.update([0]);
    let seed = finish(hasher);

    let mut block = [0; 64];
    let mut output = [0; N];
    for (index, target) in output.chunks_mut(64).enumerate() {
        for (byte, seed) in block.iter_mut().zip(seed) {
            *byte ^= seed;
        }
        block = finish(Sha512::new_with_prefix(block).chain_update([index as u8 + 1]));
        for (target, byte) in target.iter_mut().zip(block) {
            *target = byte;
        }
    }
    output
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use alloc::vec::Vec;
    use curve25519_dalek::{ristretto::CompressedRistretto, scalar::Scalar};
    use serde_json::Value;

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    #[test]
    fn expansion_is_rfc_9380() {
        let file: Value =
            serde_json::from_str(include_str!("../../../../testing/vectors/crypto/expand-message-xmd-sha512.json"))
                .unwrap();
        let tag = file["DST"].as_str().unwrap().as_bytes();
        let vectors = file["vectors"].as_array().unwrap();
        for vector in vectors {
            let message = vector["msg"].as_str().unwrap().as_bytes();
            let expanded = match vector["len_in_bytes"].as_u64().unwrap() {
                32 => expand_message_xmd::<32>(&[tag], &[message]).to_vec(),
                length => {
                    assert_eq!(length, 128);
                    expand_message_xmd::<128>(&[tag], &[message]).to_vec()
                }
            };
            assert_eq!(expanded, bytes(&vector["uniform_bytes"]));
        }
        assert_eq!(vectors.len(), 10);
    }

    #[test]
    fn every_label_makes_a_tag_that_needs_no_hashing() {
        for domain in phala_protocol::domain::ALL {
            assert!(domain.as_bytes().len() + SUITE.len() <= 255, "{}", domain.as_str());
        }
    }

    /// RFC 9497 hashes to the same group by the same suite: its blinded elements are `blind * HashToGroup(input)`.
    #[test]
    fn hashing_is_that_of_rfc_9497() {
        let file: Value =
            serde_json::from_str(include_str!("../../../../testing/vectors/crypto/oprf-ristretto255.json")).unwrap();
        let scalar =
            |value: &Value| -> Scalar { Scalar::from_canonical_bytes(bytes(value).try_into().unwrap()).unwrap() };
        let mut checked = 0;
        for suite in file.as_array().unwrap() {
            let (tag, key) = (bytes(&suite["groupDST"]), scalar(&suite["skSm"]));
            for vector in suite["vectors"].as_array().unwrap() {
                let hashed =
                    RistrettoPoint::from_uniform_bytes(&expand_message_xmd(&[&tag], &[&bytes(&vector["Input"])]));
                let blinded = hashed * scalar(&vector["Blind"]);
                assert_eq!(
                    blinded.compress(),
                    CompressedRistretto::from_slice(&bytes(&vector["BlindedElement"])).unwrap()
                );
                assert_eq!((blinded * key).compress().to_bytes()[..], bytes(&vector["EvaluationElement"]));
                checked += 1;
            }
        }
        assert_eq!(checked, 4);
    }
}
