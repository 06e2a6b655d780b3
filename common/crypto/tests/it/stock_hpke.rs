//! Our HPKE and an independent one (`hpke` over `x-wing` and `ml-kem`) understand each other, byte for byte.

use crate::{bytes, secret, seeded};
use core::convert::Infallible;
use hpke::{
    aead::AesGcm256,
    kdf::HkdfSha256,
    kem::{Kem, XWing},
    rand_core::{TryCryptoRng, TryRng},
    Deserializable, OpModeR, OpModeS, Serializable,
};
use phala_crypto::{
    envelope::{seal_envelope, Destination},
    hpke::{setup_receiver, setup_sender},
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_protocol::{
    envelope::{EnvelopeKind, SizeClass},
    ClusterId,
};
use rand::{Rng, RngCore};

/// Hands the stock implementation the entropy that ours takes as an argument.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word).map(|()| u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word).map(|()| u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(target.len());
        target.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Given {}

#[test]
fn understands_and_is_understood_in_a_hundred_seeded_cases_each_way() {
    for case in 0..100 {
        let random = &mut seeded(case);
        let seed: [u8; 32] = bytes(random);
        let entropy: [u8; 64] = bytes(random);
        let [info, aad, plaintext] = [64, 64, 700].map(|longest| {
            let mut data = vec![0; random.random_range(0..longest)];
            random.fill_bytes(&mut data);
            data
        });

        let ours = DecapsulationKey::from_seed(&Secret::new(seed));
        let theirs = <XWing as Kem>::PrivateKey::from_bytes(&seed).unwrap();
        let their_public = XWing::sk_to_pk(&theirs);
        assert_eq!(ours.public_key()[..], their_public.to_bytes()[..]);

        let recipient = EncapsulationKey::from_bytes(ours.public_key()).unwrap();
        let (encapsulated, context) = setup_sender(&recipient, &info, &entropy);
        let (ciphertext, exporter) = context.seal(&aad, &plaintext).unwrap();
        let mut receiver = hpke::setup_receiver::<AesGcm256, HkdfSha256, XWing>(
            &OpModeR::Base,
            &theirs,
            &<XWing as Kem>::EncappedKey::from_bytes(&encapsulated[..]).unwrap(),
            &info,
        )
        .unwrap();
        assert_eq!(receiver.open(&ciphertext, &aad).unwrap(), plaintext);
        let exported: Secret<[u8; 48]> = exporter.export(b"context");
        let mut expected = [0; 48];
        receiver.export(b"context", &mut expected).unwrap();
        assert_eq!(*exported.expose(), expected);

        let (their_encapsulated, mut sender) = hpke::setup_sender_with_rng::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Base,
            &their_public,
            &info,
            &mut Given(entropy.to_vec()),
        )
        .unwrap();
        let their_ciphertext = sender.seal(&plaintext, &aad).unwrap();
        assert_eq!(their_encapsulated.to_bytes()[..], encapsulated[..]);
        assert_eq!(their_ciphertext, ciphertext);
        let their_encapsulated: Box<[u8; 1120]> = their_encapsulated.to_bytes().to_vec().try_into().unwrap();
        let context = setup_receiver(&ours, &their_encapsulated, &info);
        let (opened, exporter) = context.open(&aad, &their_ciphertext).unwrap();
        assert_eq!(*opened.expose(), plaintext);
        let exported: Secret<[u8; 48]> = exporter.export(b"context");
        assert_eq!(*exported.expose(), expected);
    }
}

/// Info and associated data written out by hand: what a client in another language has to build.
#[test]
fn opens_one_of_our_envelopes() {
    let random = &mut seeded(2000);
    let (seed, entropy, genesis): ([u8; 32], [u8; 64], [u8; 32]) = (bytes(random), bytes(random), bytes(random));
    let key = DecapsulationKey::from_seed(&Secret::new(seed));
    let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
    let destination = Destination { genesis, cluster: ClusterId(0x0a0b), epoch: 0x0c0d };
    let (envelope, _) =
        seal_envelope(&recipient, &destination, EnvelopeKind::SessionOpen, SizeClass::K1, b"data", &entropy).unwrap();
    let sealed = envelope.to_bytes();

    let info = [&b"PHALA/envelope/info/v1"[..], &genesis].concat();
    let public = [0x0b, 0x0a, 0, 0, 0x0d, 0x0c, 0, 0, 1];
    let associated_data = [&b"PHALA/envelope/aad/v1"[..], &[1, 1], &genesis, &public].concat();
    assert_eq!(sealed[..11], [&[1, 1][..], &public].concat());
    let mut receiver = hpke::setup_receiver::<AesGcm256, HkdfSha256, XWing>(
        &OpModeR::Base,
        &<XWing as Kem>::PrivateKey::from_bytes(&seed).unwrap(),
        &<XWing as Kem>::EncappedKey::from_bytes(&sealed[11..11 + 1120]).unwrap(),
        &info,
    )
    .unwrap();
    let plaintext = receiver.open(&sealed[11 + 1120..], &associated_data).unwrap();
    let mut expected = [0; 1024];
    expected[..6].copy_from_slice(b"\x04\0data");
    assert_eq!(plaintext, expected);
}

#[test]
fn refuses_another_key_info_or_associated_data() {
    let random = &mut seeded(1000);
    let key = DecapsulationKey::from_seed(&secret(random));
    let other = DecapsulationKey::from_seed(&secret(random));
    let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
    let (encapsulated, context) = setup_sender(&recipient, b"info", &bytes(random));
    let (ciphertext, _) = context.seal(b"aad", b"plaintext").unwrap();
    let open = |key: &DecapsulationKey, info: &[u8], aad: &[u8]| {
        setup_receiver(key, &encapsulated, info).open(aad, &ciphertext).is_ok()
    };
    assert!(open(&key, b"info", b"aad"));
    assert!(!open(&other, b"info", b"aad"));
    assert!(!open(&key, b"inf", b"aad"));
    assert!(!open(&key, b"info", b""));
}
