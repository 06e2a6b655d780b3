//! Domain-separated BLAKE2b-256: the network's hash.
//!
//! Guarantees injectivity: the input is `len(label) as u8 || label || data`, and no label is used for two purposes.
//! Anyone may control `data`. Callers hash one SCALE value ([`hash_value`]) wherever a value has more than one part.

use crate::Domain;
use blake2::digest::{consts::U32, Digest};
use codec::{Encode, Output};

/// 32 bytes of BLAKE2b-256.
pub type Hash = [u8; 32];

type Blake2b256 = blake2::Blake2b<U32>;

/// Hash of `data` for the purpose that `domain` names.
pub fn hash(domain: Domain, data: &[u8]) -> Hash {
    let mut hasher = start(domain);
    hasher.update(data);
    hasher.finalize().into()
}

/// Hash of a value's SCALE encoding for the purpose that `domain` names, without building the encoding in memory.
pub fn hash_value<T: Encode + ?Sized>(domain: Domain, value: &T) -> Hash {
    let mut sink = Sink(start(domain));
    value.encode_to(&mut sink);
    sink.0.finalize().into()
}

/// Plain BLAKE2b-256 without a label: the hash of the chain's own headers and tries, and of nothing we define.
pub fn blake2_256(data: &[u8]) -> Hash {
    Blake2b256::digest(data).into()
}

/// Plain BLAKE2b-128, as FRAME's `Blake2_128Concat` map keys use it.
pub fn blake2_128(data: &[u8]) -> [u8; 16] {
    blake2::Blake2b::<blake2::digest::consts::U16>::digest(data).into()
}

fn start(domain: Domain) -> Blake2b256 {
    let label = domain.as_bytes();
    let mut hasher = Blake2b256::new();
    // Labels have at most 255 bytes (tested in `domain`), so the cast keeps the length.
    hasher.update([label.len() as u8]);
    hasher.update(label);
    hasher
}

struct Sink(Blake2b256);

impl Output for Sink {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;

    #[test]
    fn plain_hashes_are_the_chains() {
        assert_eq!(blake2_256(b"phala"), sp_crypto_hashing::blake2_256(b"phala"));
        assert_eq!(blake2_128(b"phala"), sp_crypto_hashing::blake2_128(b"phala"));
    }

    #[test]
    fn label_and_data_cannot_be_traded() {
        assert_ne!(hash(domain::CODE, b"x"), hash(domain::CALL, b"x"));
        assert_eq!(hash(domain::CODE, &(1u8, 2u32).encode()), hash_value(domain::CODE, &(1u8, 2u32)));
    }
}
