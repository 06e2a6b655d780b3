//! Verdicts on signatures are those of the chain, singly and in batches.

use crate::{bytes, secret, seeded};
use phala_crypto::{
    signature::{
        ed25519::{self, BatchError, IdentityKey, Signed},
        sr25519::{self, AccountKey, KeyError, SignedForm},
        VerifyError,
    },
    Secret,
};
use proptest::prelude::*;
use sp_core::Pair;

/// polkadot.js's development account //Alice: mini secret, the 64 bytes its keyring holds, and its public key.
const ALICE: [&str; 3] = [
    "e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a",
    "98319d4ff8a9508c4bb0cf0b5a78d760a0b2082c02775e6e82370816fedfff48925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011",
    "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
];

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[test]
fn opens_both_secret_forms_of_polkadot_js() {
    let from_mini = AccountKey::from_mini_secret(&Secret::new(unhex(ALICE[0]))).unwrap();
    let from_file = AccountKey::from_polkadot_js(&Secret::new(unhex(ALICE[1]))).unwrap();
    assert_eq!(hex::encode(from_mini.public()), ALICE[2]);
    assert_eq!(hex::encode(from_file.public()), ALICE[2]);
    assert_eq!(hex::encode(from_mini.to_polkadot_js().expose()), ALICE[1]);
}

#[test]
fn refuses_a_secret_in_another_form() {
    let mut odd: [u8; 64] = unhex(ALICE[1]);
    odd[0] |= 1;
    assert_eq!(AccountKey::from_polkadot_js(&Secret::new(odd)).err(), Some(KeyError::Form));
    assert_eq!(AccountKey::from_polkadot_js(&Secret::new([0xff; 64])).err(), Some(KeyError::Scalar));
}

#[test]
fn sr25519_agrees_with_the_chain_both_ways() {
    let random = &mut seeded(1);
    for _ in 0..20 {
        let mini: [u8; 32] = bytes(random);
        let message: [u8; 32] = bytes(random);
        let ours = AccountKey::from_mini_secret(&Secret::new(mini)).unwrap();
        let theirs = sp_core::sr25519::Pair::from_seed(&mini);
        assert_eq!(ours.public(), theirs.public().0);
        let signature = ours.sign(&message, &bytes(random));
        assert!(sp_core::sr25519::Pair::verify(&signature.into(), message, &theirs.public()));
        assert_eq!(sr25519::verify(&ours.public(), &message, &theirs.sign(&message).0), Ok(()));
    }
}

#[test]
fn entropy_separates_signatures_and_its_absence_is_safe() {
    let key = AccountKey::from_mini_secret(&Secret::new([1; 32])).unwrap();
    let sign = |message: &[u8], entropy: u8| key.sign(message, &[entropy; 32]);
    assert_eq!(sign(b"a", 0), sign(b"a", 0));
    assert_ne!(sign(b"a", 0), sign(b"a", 1));
    // With the same entropy two messages still get different nonces: equal ones would reveal the key.
    assert_ne!(sign(b"a", 0)[..32], sign(b"b", 0)[..32]);
}

#[test]
fn a_wallets_wrapping_is_a_second_explicit_attempt() {
    let key = AccountKey::from_mini_secret(&Secret::new([2; 32])).unwrap();
    let (public, message) = (key.public(), [7u8; 32]);
    let bare = key.sign(&message, &[0; 32]);
    let wrapped = key.sign(&[&b"<Bytes>"[..], &message, b"</Bytes>"].concat(), &[0; 32]);
    assert_eq!(sr25519::verify_wallet(&public, &message, &bare), Ok(SignedForm::Bare));
    assert_eq!(sr25519::verify_wallet(&public, &message, &wrapped), Ok(SignedForm::Wrapped));
    assert_eq!(sr25519::verify(&public, &message, &wrapped), Err(VerifyError::Invalid));
    assert_eq!(sr25519::verify_wallet(&public, &[8; 32], &wrapped), Err(VerifyError::Invalid));
    let twice = key.sign(&sr25519::wrap(&sr25519::wrap(&message)), &[0; 32]);
    assert_eq!(sr25519::verify_wallet(&public, &message, &twice), Err(VerifyError::Invalid));
}

#[test]
fn refuses_what_is_no_key_and_no_signature() {
    let key = AccountKey::from_mini_secret(&Secret::new([2; 32])).unwrap();
    assert_eq!(sr25519::verify(&[0xff; 32], b"", &[0; 64]), Err(VerifyError::PublicKey));
    assert_eq!(sr25519::verify(&key.public(), b"", &[0; 64]), Err(VerifyError::Malformed));
    let not_a_point: [u8; 32] = unhex("0200000000000000000000000000000000000000000000000000000000000000");
    assert_eq!(ed25519::verify(&not_a_point, b"", &[0; 64]), Err(VerifyError::PublicKey));
}

/// RFC 8032, section 7.1, test 2.
#[test]
fn ed25519_is_rfc_8032() {
    let seed = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let key = IdentityKey::from_seed(&Secret::new(seed));
    assert_eq!(hex::encode(key.public()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    assert_eq!(hex::encode(key.sign(&[0x72])), expected);
}

/// ZIP-215 is about exactly these: keys and nonces of small order, of which "strict" rules refuse some singly only.
#[test]
fn small_order_points_have_one_verdict_singly_in_batches_and_on_the_chain() {
    for torsion in curve25519_dalek::constants::EIGHT_TORSION {
        for nonce in curve25519_dalek::constants::EIGHT_TORSION {
            let public = torsion.compress().to_bytes();
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(nonce.compress().as_bytes());
            assert_eq!(ed25519::verify(&public, b"any", &signature), Ok(()));
            let batch = [Signed { public: &public, message: b"any", signature: &signature }];
            assert_eq!(ed25519::verify_batch(&batch, &[0; 32]), Ok(()));
            assert!(sp_core::ed25519::Pair::verify(&signature.into(), b"any", &public.into()));
        }
    }
}

#[test]
fn one_bad_signature_fails_a_batch_wherever_it_stands() {
    let random = &mut seeded(2);
    let entropy = bytes(random);
    let signed: Vec<([u8; 32], [u8; 32], [u8; 64])> = (0..8)
        .map(|_| {
            let (key, message) = (IdentityKey::from_seed(&secret(random)), bytes(random));
            (key.public(), message, key.sign(&message))
        })
        .collect();
    fn batch(signed: &[([u8; 32], [u8; 32], [u8; 64])]) -> Vec<Signed<'_>> {
        signed.iter().map(|(public, message, signature)| Signed { public, message, signature }).collect()
    }
    assert_eq!(ed25519::verify_batch(&batch(&signed), &entropy), Ok(()));
    assert_eq!(ed25519::verify_batch(&[], &entropy), Ok(()));
    for position in 0..signed.len() {
        let mut bad = signed.clone();
        bad[position].2[40] ^= 1;
        assert_eq!(ed25519::verify_batch(&batch(&bad), &entropy), Err(BatchError::Invalid));
    }
    // Two errors that cancel in a plain sum: the coefficients must not let them.
    let mut cancelling = signed.clone();
    let (first, second) = (cancelling[0].2, cancelling[1].2);
    cancelling[0].2[32..].copy_from_slice(&second[32..]);
    cancelling[1].2[32..].copy_from_slice(&first[32..]);
    assert_eq!(ed25519::verify_batch(&batch(&cancelling), &entropy), Err(BatchError::Invalid));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn refuses_every_kind_of_flipped_bit(
        seed in any::<[u8; 32]>(), message in any::<[u8; 32]>(), signature_bit in 0..512usize, other_bit in 0..256usize,
    ) {
        let account = AccountKey::from_mini_secret(&Secret::new(seed)).unwrap();
        let identity = IdentityKey::from_seed(&Secret::new(seed));
        let mut checks: Vec<(bool, [u8; 32], [u8; 64])> = vec![
            (true, account.public(), account.sign(&message, &seed)), (false, identity.public(), identity.sign(&message)),
        ];
        for (is_account, public, signature) in &mut checks {
            let verify = if *is_account { sr25519::verify } else { ed25519::verify };
            prop_assert_eq!(verify(public, &message, signature), Ok(()));
            let mut flipped = *signature;
            flipped[signature_bit / 8] ^= 1 << (signature_bit % 8);
            prop_assert!(verify(public, &message, &flipped).is_err());
            let mut flipped = message;
            flipped[other_bit / 8] ^= 1 << (other_bit % 8);
            prop_assert!(verify(public, &flipped, signature).is_err());
            public[other_bit / 8] ^= 1 << (other_bit % 8);
            prop_assert!(verify(public, &message, signature).is_err());
        }
    }
}
