//! What opening an envelope costs: `cargo run --release -p phala-crypto --example open_cost`.
//!
//! Compares the expanded key that a worker keeps for an epoch with one expanded for each envelope, and with the stock
//! `hpke` crate. One thread, the wall clock of this machine, the median of several rounds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement, never shipped")]

use hpke::{
    aead::AesGcm256,
    kdf::HkdfSha256,
    kem::{Kem, XWing},
    Deserializable, OpModeR,
};
use phala_crypto::{
    envelope::{open_envelope, seal_envelope, Destination},
    signature::{ed25519, ed25519::IdentityKey, sr25519, sr25519::AccountKey},
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_protocol::{
    domain,
    envelope::{EnvelopeKind, SizeClass},
    ClusterId,
};
use std::{hint::black_box, time::Instant};

fn measure(name: &str, mut run: impl FnMut()) {
    const RUNS: u32 = 400;
    let mut rounds: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            (0..RUNS).for_each(|_| run());
            start.elapsed().as_secs_f64() / f64::from(RUNS) * 1e6
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<48} {:8.1} us   (fastest round {:.1})", rounds[4], rounds[0]);
}

fn main() {
    let seed = [1; 32];
    let destination = Destination { genesis: [2; 32], cluster: ClusterId(3), epoch: 4 };
    let key = DecapsulationKey::from_seed(&Secret::new(seed));
    let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
    let seal =
        || seal_envelope(&recipient, &destination, EnvelopeKind::Call, SizeClass::B256, &[5; 200], &[6; 64]).unwrap().0;
    let envelope = seal();

    measure("open_envelope, expanded key kept", || {
        black_box(open_envelope(&key, &destination, &envelope).unwrap());
    });
    measure("open_envelope, key expanded each time", || {
        let key = DecapsulationKey::from_seed(&Secret::new(seed));
        black_box(open_envelope(&key, &destination, &envelope).unwrap());
    });
    let stock_key = <XWing as Kem>::PrivateKey::from_bytes(&seed).unwrap();
    let info = [domain::ENVELOPE_INFO.as_bytes(), &destination.genesis].concat();
    let associated_data = envelope.header.associated_data(&destination.genesis, &[]);
    measure("the same bytes opened by stock hpke 0.15", || {
        let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(&envelope.opening).unwrap();
        let mut context =
            hpke::setup_receiver::<AesGcm256, HkdfSha256, XWing>(&OpModeR::Base, &stock_key, &encapsulated, &info)
                .unwrap();
        black_box(context.open(&envelope.body, &associated_data).unwrap());
    });
    measure("seal_envelope, validated public key", || {
        black_box(seal());
    });

    let account = AccountKey::from_mini_secret(&Secret::new(seed)).unwrap();
    let (public, signature) = (account.public(), account.sign(&seed, &seed));
    measure("sr25519 verify", || sr25519::verify(&public, &seed, &signature).unwrap());
    let identity = IdentityKey::from_seed(&Secret::new(seed));
    let (public, signature) = (identity.public(), identity.sign(&seed));
    measure("ed25519 verify", || ed25519::verify(&public, &seed, &signature).unwrap());
}
