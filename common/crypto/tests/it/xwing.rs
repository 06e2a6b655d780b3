//! X-Wing is the draft's, and does not panic on hostile bytes.

use crate::{bytes, secret, seeded};
use phala_crypto::{
    xwing::{DecapsulationKey, EncapsulationKey, PublicKeyError, CIPHERTEXT_BYTES, PUBLIC_KEY_BYTES},
    Secret,
};
use serde_json::Value;

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn key_ciphertext_and_secret_are_those_of_the_draft() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../testing/vectors/crypto/xwing-draft.json")).unwrap();
    for vector in vectors.as_array().unwrap() {
        let key = DecapsulationKey::from_seed(&Secret::from_slice(&unhex(&vector["seed"])).unwrap());
        assert_eq!(key.public_key()[..], unhex(&vector["pk"]));
        let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
        let (ciphertext, shared) = recipient.encapsulate(&unhex(&vector["eseed"]).try_into().unwrap());
        assert_eq!(ciphertext[..], unhex(&vector["ct"]));
        assert_eq!(shared.expose()[..], unhex(&vector["ss"]));
        assert_eq!(key.decapsulate(&ciphertext).expose()[..], unhex(&vector["ss"]));
    }
    assert_eq!(vectors.as_array().unwrap().len(), 3);
}

#[test]
fn refuses_a_public_key_of_another_length_or_beyond_the_modulus() {
    let key = DecapsulationKey::from_seed(&secret(&mut seeded(3)));
    for length in [0, 1, PUBLIC_KEY_BYTES - 1] {
        let refused = EncapsulationKey::from_bytes(&key.public_key()[..length]).err();
        assert_eq!(refused, Some(PublicKeyError::Length(length)));
    }
    assert!(EncapsulationKey::from_bytes(&[0; PUBLIC_KEY_BYTES + 1]).is_err());
    // A coefficient takes 12 bits and must be below 3,329: raise each of the first ones to 4,095.
    for coefficient in 0..768 {
        let mut public = *key.public_key();
        let (byte, odd) = (coefficient * 3 / 2, coefficient % 2 == 1);
        public[byte] |= if odd { 0xf0 } else { 0xff };
        public[byte + 1] |= if odd { 0xff } else { 0x0f };
        assert_eq!(EncapsulationKey::from_bytes(&public).err(), Some(PublicKeyError::Modulus), "{coefficient}");
    }
}

#[test]
fn any_ciphertext_gives_some_other_secret() {
    let random = &mut seeded(4);
    let key = DecapsulationKey::from_seed(&secret(random));
    let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
    let (ciphertext, shared) = recipient.encapsulate(&bytes(random));
    for position in (0..CIPHERTEXT_BYTES).step_by(37).chain([CIPHERTEXT_BYTES - 32, CIPHERTEXT_BYTES - 1]) {
        let mut altered = ciphertext.clone();
        altered[position] ^= 1;
        assert!(!key.decapsulate(&altered).equals(&shared), "{position}");
    }
    for hostile in [[0; CIPHERTEXT_BYTES], [0xff; CIPHERTEXT_BYTES], bytes(random)] {
        assert!(!key.decapsulate(&hostile).equals(&shared));
    }
    let other = DecapsulationKey::from_seed(&secret(random));
    assert!(!other.decapsulate(&ciphertext).equals(&shared));
}

#[test]
fn a_small_order_x25519_half_is_bound_and_still_hybrid() {
    let random = &mut seeded(5);
    let key = DecapsulationKey::from_seed(&secret(random));
    let mut public = *key.public_key();
    public[PUBLIC_KEY_BYTES - 32..].fill(0);
    let weak = EncapsulationKey::from_bytes(&public).unwrap();
    let (ciphertext, shared) = weak.encapsulate(&bytes(random));
    assert!(!key.decapsulate(&ciphertext).equals(&shared));
}
