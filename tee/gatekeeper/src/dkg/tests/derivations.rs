//! What a seat derives is what the vectors say (`testing/vectors/crypto/derivations.json`), bytes that are bound included.

use super::*;
use crate::dkg::{ceremony::stream, package::KeyKind};
use phala_crypto::xwing::{DecapsulationKey, EncapsulationKey, ENTROPY_BYTES};
use phala_protocol::{domain, envelope::public_key_hash, Domain};
use serde_json::Value;

/// The vector of a label.
fn vector(label: Domain) -> Value {
    let file: Value =
        serde_json::from_str(include_str!("../../../../../testing/vectors/crypto/derivations.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    cases.iter().find(|case| case["label"] == label.as_str()).unwrap().clone()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

/// 32 bytes that count up from `first`.
fn count(first: u8) -> [u8; 32] {
    core::array::from_fn(|index| first + index as u8)
}

#[test]
fn the_streams_of_polynomials_follow_their_vectors() {
    let seats = [1, 2, 3, 4].map(|seat| WorkerId([seat; 32]));
    for (key, label) in [(KeyKind::Root, domain::CEREMONY_SEED), (KeyKind::Beacon, domain::CEREMONY_BEACON_SEED)] {
        let vector = vector(label);
        let seed = Secret::new(bytes(&vector["secret"]));
        let drawn = stream(key, &seed, &count(13), (5, 2, 3, 1), &seats).secret::<64>();
        assert_eq!(*drawn.expose(), bytes::<64>(&vector["output"]), "{key:?}");
    }
}

#[test]
fn the_key_that_a_seat_receives_under_follows_its_vector() {
    let vector = vector(domain::CEREMONY_RECEIVING_SEED);
    let seed = Secret::new(bytes(&vector["secret"]));
    let key = ReceivingKey::derive(&seed, &count(13), CeremonyAttempt::root(5, 2));
    assert_eq!(public_key_hash(key.public_key()), bytes::<32>(&vector["public_key_hash"]));
}

#[test]
fn what_sealing_a_parcel_consumes_follows_its_vector() {
    let vector = vector(domain::CEREMONY_ENTROPY);
    let entropy = Secret::new(bytes(&vector["secret"]));
    let recipient = DecapsulationKey::from_seed(&Secret::new([1; 32]));
    let recipient = EncapsulationKey::from_bytes(recipient.public_key()).unwrap();
    let header = ParcelHeader { era: 5, attempt: 2, from: 3, to: 4, kind: ParcelKind::Share };
    let parcel = seal_parcel(&GENESIS, &identity(3), &recipient, header, b"a share", &entropy).unwrap();
    let (encapsulated, _) = recipient.encapsulate(&bytes::<ENTROPY_BYTES>(&vector["output"]));
    assert_eq!(parcel.encapsulated, encapsulated[..]);
}
