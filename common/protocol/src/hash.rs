//! Domain-separated BLAKE2b-256: the network's hash.
//!
//! Guarantees injectivity: the input is `len(label) as u8 || label || data`, and no label is used for two purposes.
//! Anyone may control `data`. Callers hash one SCALE value ([`hash_value`]) wherever a value has more than one part.

use crate::Domain;
use blake2b_simd::{Params, State, BLOCKBYTES, OUTBYTES};
use codec::{Encode, Output};

/// 32 bytes of BLAKE2b-256.
pub type Hash = [u8; 32];

/// Hash of `data` for the purpose that `domain` names.
pub fn hash(domain: Domain, data: &[u8]) -> Hash {
    let mut input = Input::new(domain);
    input.write(data);
    input.finish()
}

/// Hash of a value's SCALE encoding for the purpose that `domain` names, without building the encoding in memory.
pub fn hash_value<T: Encode + ?Sized>(domain: Domain, value: &T) -> Hash {
    let mut input = Input::new(domain);
    value.encode_to(&mut input);
    input.finish()
}

/// Plain BLAKE2b-256 without a label: the hash of the chain's own headers and tries, and of nothing we define.
pub fn blake2_256(data: &[u8]) -> Hash {
    digest(&params::<32>().hash(data))
}

/// Plain BLAKE2b-128, as FRAME's `Blake2_128Concat` map keys use it.
pub fn blake2_128(data: &[u8]) -> [u8; 16] {
    digest(&params::<16>().hash(data))
}

/// BLAKE2b with a digest of `N` bytes: more than 64 do not compile.
fn params<const N: usize>() -> Params {
    const { assert!(0 < N && N <= OUTBYTES, "BLAKE2b gives 1 to 64 bytes") };
    let mut params = Params::new();
    params.hash_length(N);
    params
}

/// A digest that [`params`] was made for.
fn digest<const N: usize>(hash: &blake2b_simd::Hash) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    bytes
}

/// What is hashed, in pieces. One block, which is what most of it is, is gathered here and hashed at its end in one go; only what is
/// longer goes through a hasher, which looks at every piece.
struct Input {
    block: [u8; BLOCKBYTES],
    length: usize,
    /// Has the block and what came after, of an input that is longer.
    hasher: Option<State>,
}

impl Input {
    fn new(domain: Domain) -> Self {
        let label = domain.as_bytes();
        let mut input = Self { block: [0; BLOCKBYTES], length: 0, hasher: None };
        // Labels have at most 255 bytes (tested in `domain`), so the cast keeps the length.
        input.write(&[label.len() as u8]);
        input.write(label);
        input
    }

    fn gathered(&self) -> &[u8] {
        self.block.get(..self.length).unwrap_or_default()
    }

    fn finish(&self) -> Hash {
        match &self.hasher {
            Some(hasher) => digest(&hasher.finalize()),
            None => digest(&params::<32>().hash(self.gathered())),
        }
    }
}

impl Output for Input {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
            return;
        }
        let end = self.length.saturating_add(bytes.len());
        if let Some(room) = self.block.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
            return;
        }
        let mut hasher = params::<32>().to_state();
        hasher.update(self.gathered()).update(bytes);
        self.hasher = Some(hasher);
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

    /// Every length up to a few blocks, of one piece and of several, against the RustCrypto implementation.
    #[test]
    fn hashes_are_those_of_another_implementation() {
        use blake2::digest::{consts, Digest};
        let data: alloc::vec::Vec<u8> = (0..700u32).map(|index| (index * 7 + index / 256) as u8).collect();
        let label = domain::CODE.as_bytes();
        let prefix = [&[label.len() as u8][..], label].concat();
        for length in 0..data.len() {
            let data = &data[..length];
            let expected: [u8; 32] = blake2::Blake2b::<consts::U32>::digest(data).into();
            assert_eq!(blake2_256(data), expected, "{length}");
            let expected: [u8; 16] = blake2::Blake2b::<consts::U16>::digest(data).into();
            assert_eq!(blake2_128(data), expected, "{length}");
            let expected: Hash =
                blake2::Blake2b::<consts::U32>::new_with_prefix(&prefix).chain_update(data).finalize().into();
            assert_eq!(hash(domain::CODE, data), expected, "{length}");
            let (one, other) = data.split_at(length / 3);
            let mut input = Input::new(domain::CODE);
            input.write(one);
            other.iter().for_each(|byte| input.write(&[*byte]));
            assert_eq!(input.finish(), expected, "{length}");
        }
    }

    #[test]
    fn label_and_data_cannot_be_traded() {
        assert_ne!(hash(domain::CODE, b"x"), hash(domain::CALL, b"x"));
        assert_eq!(hash(domain::CODE, &(1u8, 2u32).encode()), hash_value(domain::CODE, &(1u8, 2u32)));
    }
}
