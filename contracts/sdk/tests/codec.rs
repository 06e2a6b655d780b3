//! The codec against the chain's own, and the hash against the one that workers compute.
#![allow(clippy::unwrap_used, reason = "tests")]

use parity_scale_codec as parity;
use phala_sdk::{
    codec::{Decode, Encode, MAX_EMPTY_ELEMENTS},
    env, AccountId,
};
use proptest::prelude::*;
use std::fmt::Debug;

/// Same bytes, read back as the same; and every other input is read alike by both.
fn agrees<T>(value: &T)
where
    T: Encode + Decode + parity::Encode + parity::Decode + PartialEq + Debug,
{
    let bytes = Encode::encode(value);
    assert_eq!(bytes, parity::Encode::encode(value));
    assert_eq!(&<T as Decode>::decode_all(&bytes).unwrap(), value);
}

fn reads_alike<T>(bytes: &[u8])
where
    T: Decode + parity::Decode + PartialEq + Debug,
{
    let (mut ours, mut theirs) = (bytes, bytes);
    let (a, b) = (<T as Decode>::decode(&mut ours).ok(), <T as parity::Decode>::decode(&mut theirs).ok());
    assert_eq!(a, b, "{bytes:?}");
    if a.is_some() {
        assert_eq!(ours, theirs);
    }
}

type Everything = (u8, u16, (u32, u64, u128), (i8, i16, i32), (i64, i128, bool), (String, Vec<u8>, Option<Vec<u32>>));

proptest! {
    #[test]
    fn values_have_the_chains_encoding(
        everything: Everything,
        result: Result<u32, String>,
        nested: Vec<(Option<bool>, [u16; 3])>,
        account: [u8; 32],
    ) {
        agrees(&everything);
        agrees(&result);
        agrees(&nested);
        agrees(&account);
        prop_assert_eq!(Encode::encode(&AccountId(account)), account.to_vec());
    }

    #[test]
    fn hostile_bytes_are_read_as_the_chain_reads_them(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        reads_alike::<Everything>(&bytes);
        reads_alike::<Vec<u8>>(&bytes);
        reads_alike::<Vec<u64>>(&bytes);
        reads_alike::<String>(&bytes);
        reads_alike::<Option<bool>>(&bytes);
        reads_alike::<Result<u16, bool>>(&bytes);
        reads_alike::<[u32; 4]>(&bytes);
    }

    #[test]
    fn lengths_are_read_as_the_chain_reads_them(prefix: [u8; 5], rest in 0usize..70_000) {
        let mut bytes = prefix.to_vec();
        bytes.resize(5 + rest, 7);
        reads_alike::<Vec<u8>>(&bytes);
    }

    #[test]
    fn hash_is_the_one_that_workers_compute(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        use blake2::Digest;
        let expected: [u8; 32] = blake2::Blake2b::<blake2::digest::consts::U32>::digest(&bytes).into();
        prop_assert_eq!(env::blake2b_256(&bytes), expected);
    }
}

#[test]
fn elements_that_are_no_bytes_are_read_up_to_their_bound() {
    for count in [0, 1, 63, 64, 1_000, MAX_EMPTY_ELEMENTS] {
        agrees(&vec![(); count]);
    }
    agrees(&vec![vec![(), ()], vec![]]);
    agrees(&(7u8, vec![(); 3], Some(vec![((), ())]), 9u8));
    agrees(&[(); 5]);
    let over = Encode::encode(&vec![(); MAX_EMPTY_ELEMENTS + 1]);
    assert!(<Vec<()> as Decode>::decode_all(&over).is_err());
    // A length alone: of four billion that are no bytes, and of more bytes than there are.
    let four_billion = [3, 0xff, 0xff, 0xff, 0xff];
    assert!(<Vec<()> as Decode>::decode(&mut &four_billion[..]).is_err());
    assert!(<Vec<[(); 4]> as Decode>::decode(&mut &four_billion[..]).is_err());
    assert!(<Vec<u8> as Decode>::decode(&mut &four_billion[..]).is_err());
}

#[test]
fn lengths_at_the_edges_of_each_form_agree() {
    for length in [0, 1, 63, 64, 16_383, 16_384, 100_000] {
        agrees(&vec![7u8; length]);
    }
    // One, in each of the longer forms that it must not have.
    for bytes in [&[5, 0, 9][..], &[6, 0, 0, 0, 9], &[3, 1, 0, 0, 0, 9], &[7, 1, 0, 0, 0, 0, 9]] {
        assert!(<Vec<u8> as Decode>::decode_all(bytes).is_err());
        reads_alike::<Vec<u8>>(bytes);
    }
}

#[test]
fn a_length_alone_allocates_nothing() {
    // Compact 2^32 - 1 and no bytes.
    assert!(<Vec<u64> as Decode>::decode_all(&[3, 0xff, 0xff, 0xff, 0xff]).is_err());
}

#[test]
fn trailing_bytes_are_refused() {
    assert!(u32::decode_all(&[0; 5]).is_err());
    assert!(<()>::decode_all(&[0]).is_err());
}
