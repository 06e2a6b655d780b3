//! Domain-separated BLAKE2b-256: the network's hash.
//!
//! Guarantees injectivity: the input is `len(label) as u8 || label || data`, and no label is used for two purposes.
//! Anyone may control `data`. Callers hash one SCALE value ([`hash_value`]) wherever a value has more than one part.

use crate::Domain;
use alloc::vec::Vec;
use blake2b_simd::{
    many::{hash_many, HashManyJob},
    Params, State, BLOCKBYTES, OUTBYTES,
};
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

/// [`hash()`] of each of `data`, in their order: as [`hash_values`].
pub fn hash_each<'a>(domain: Domain, data: impl IntoIterator<Item = &'a [u8]>) -> Vec<Hash> {
    hash_values(domain, data.into_iter().map(Bare))
}

/// [`hash_value`] of each of `values`, in their order. Where the processor has vectors for it, four take little longer than one, of which
/// each step waits for the one before.
pub fn hash_values<T: Encode>(domain: Domain, values: impl IntoIterator<Item = T>) -> Vec<Hash> {
    let values = values.into_iter();
    let mut hashes = Vec::with_capacity(values.size_hint().0);
    let mut several = Several::new();
    for value in values {
        if value.size_hint() > LONG {
            several.finish(&mut hashes);
            hashes.push(hash_value(domain, &value));
            continue;
        }
        several.add(domain, &value);
        if several.count == SIDE_BY_SIDE {
            several.finish(&mut hashes);
        }
    }
    several.finish(&mut hashes);
    hashes
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

/// Inputs that are hashed side by side: twice as many as vectors have lanes, so that those of several lengths keep the lanes busy.
const SIDE_BY_SIDE: usize = 8;
/// Fewer inputs than this are hashed one after the other: no lane would have another one beside it for long.
const FEW: usize = 4;
/// Bytes over which a value is hashed where it is: gathered, it would be there twice.
const LONG: usize = 8 << 10;

/// Bytes that are hashed as they are.
struct Bare<'a>(&'a [u8]);

impl Encode for Bare<'_> {
    fn size_hint(&self) -> usize {
        self.0.len()
    }

    fn encode_to<T: Output + ?Sized>(&self, to: &mut T) {
        to.write(self.0);
    }
}

/// Inputs to be hashed side by side, one behind the other.
struct Several {
    bytes: Vec<u8>,
    lengths: [usize; SIDE_BY_SIDE],
    count: usize,
}

impl Several {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(SIDE_BY_SIDE * BLOCKBYTES), lengths: [0; SIDE_BY_SIDE], count: 0 }
    }

    /// There must be fewer than [`SIDE_BY_SIDE`] of them.
    fn add(&mut self, domain: Domain, value: &impl Encode) {
        let (label, from) = (domain.as_bytes(), self.bytes.len());
        // As in [`Input::new`].
        self.bytes.push(label.len() as u8);
        self.bytes.extend_from_slice(label);
        value.encode_to(self);
        if let Some(length) = self.lengths.get_mut(self.count) {
            *length = self.bytes.len() - from;
            self.count += 1;
        }
    }

    fn inputs(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().take(self.count).map(move |length| {
            let (input, behind) = rest.split_at_checked(*length).unwrap_or_default();
            rest = behind;
            input
        })
    }

    /// Appends the hashes of the inputs, and begins anew.
    fn finish(&mut self, hashes: &mut Vec<Hash>) {
        let params = params::<32>();
        if self.count < FEW {
            hashes.extend(self.inputs().map(|input| -> Hash { digest(&params.hash(input)) }));
        } else {
            let mut inputs = self.inputs();
            let mut jobs: [HashManyJob<'_>; SIDE_BY_SIDE] =
                core::array::from_fn(|_| HashManyJob::new(&params, inputs.next().unwrap_or_default()));
            hash_many(jobs.iter_mut().take(self.count));
            hashes.extend(jobs.iter().take(self.count).map(|job| -> Hash { digest(&job.to_hash()) }));
        }
        self.bytes.clear();
        self.count = 0;
    }
}

impl Output for Several {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
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

    /// Every number of them around those that fit side by side, of lengths that are alike, that are not, and that are too long to be gathered.
    #[test]
    fn hashes_of_several_are_those_of_each() {
        let data: Vec<u8> = (0..3 * LONG).map(|index| (index * 11 + index / 256) as u8).collect();
        let lengths: [fn(usize) -> usize; 5] = [
            |_| 40,
            |number: usize| number * 37 % 600,
            |number: usize| if number.is_multiple_of(5) { 0 } else { 128 * (number % 4) + number % 3 },
            |number: usize| if number % 6 == 4 { LONG + 1 } else { 1_500 - number },
            |number: usize| if number.is_multiple_of(3) { 2 * LONG } else { LONG - number },
        ];
        for length in lengths {
            for count in 0..3 * SIDE_BY_SIDE + 2 {
                let several: Vec<&[u8]> = (0..count).map(|number| &data[number..number + length(number)]).collect();
                let each: Vec<Hash> = several.iter().map(|data| hash(domain::CODE, data)).collect();
                assert_eq!(hash_each(domain::CODE, several.iter().copied()), each, "{count}");
                let values = || several.iter().map(|data| (7u8, *data, [9u8; 32]));
                let each: Vec<Hash> = values().map(|value| hash_value(domain::CALL, &value)).collect();
                assert_eq!(hash_values(domain::CALL, values()), each, "{count}");
            }
        }
    }

    #[test]
    fn label_and_data_cannot_be_traded() {
        assert_ne!(hash(domain::CODE, b"x"), hash(domain::CALL, b"x"));
        assert_eq!(hash(domain::CODE, &(1u8, 2u32).encode()), hash_value(domain::CODE, &(1u8, 2u32)));
    }
}
