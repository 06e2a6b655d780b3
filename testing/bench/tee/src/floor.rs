//! The floor: what a command's cryptography costs with the fastest maintained implementations, and nothing else.
//!
//! Per command: one ML-KEM-768 decapsulation with the key expanded (libcrux, AVX2 where the machine has it), one X25519
//! (graviola or ring, both assembly for BMI2 and ADX: whichever is faster here), one AES-256-GCM opening of an envelope of the
//! smallest class (ring), one sr25519 signature in a batch as large as a boundary (schnorrkel). No key schedule, no parsing, no state, no
//! contract, no disk.

use crate::measure::{processor_time, repeated};
use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
use libcrux_ml_kem::mlkem768;
use phala_light_client::testing::TestRandom;
use ring::{
    aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM},
    agreement::{agree_ephemeral, EphemeralPrivateKey, UnparsedPublicKey, X25519},
    rand::SystemRandom,
};
use schnorrkel::{signing_context, ExpansionMode, Keypair, MiniSecretKey};
use std::{hint::black_box, time::Duration};

/// Seconds a command, part by part.
pub struct Floor {
    pub ml_kem: f64,
    /// By graviola.
    pub graviola: f64,
    /// By ring.
    pub ring: f64,
    pub aead: f64,
    pub signature: f64,
}

impl Floor {
    pub fn seconds(&self) -> f64 {
        self.ml_kem + self.x25519().0 + self.aead + self.signature
    }

    /// The X25519 that counts: of the faster implementation, and which that is.
    pub fn x25519(&self) -> (f64, &'static str) {
        if self.ring < self.graviola {
            (self.ring, "ring")
        } else {
            (self.graviola, "graviola")
        }
    }

    /// The mean of several, at least one.
    pub fn mean(of: &[Self]) -> Self {
        let mean = |part: fn(&Self) -> f64| of.iter().map(part).sum::<f64>() / of.len() as f64;
        Self {
            ml_kem: mean(|floor| floor.ml_kem),
            graviola: mean(|floor| floor.graviola),
            ring: mean(|floor| floor.ring),
            aead: mean(|floor| floor.aead),
            signature: mean(|floor| floor.signature),
        }
    }
}

/// Measures it; signatures in batches of `batch`.
pub fn measure(batch: usize, least: Duration) -> Floor {
    let mut random = TestRandom::new(9);
    Floor {
        ml_kem: ml_kem(&mut random, least),
        graviola: graviola(&mut random, least),
        ring: ring(&mut random, least),
        aead: aead(least),
        signature: signatures(&mut random, batch, least) / batch as f64,
    }
}

fn ml_kem(random: &mut TestRandom, least: Duration) -> f64 {
    let seed: [u8; 64] = [random.bytes(), random.bytes()].concat().try_into().unwrap();
    let pair = mlkem768::portable::generate_key_pair(seed);
    let (ciphertext, secret) = mlkem768::portable::encapsulate(pair.public_key(), random.bytes());
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        use mlkem768::avx2::unpacked;
        let mut key = Box::new(unpacked::init_key_pair());
        unpacked::generate_key_pair_mut(seed, &mut key);
        assert_eq!(unpacked::decapsulate(&key, &ciphertext), secret);
        return repeated(least, || {
            for _ in 0..1_000 {
                black_box(unpacked::decapsulate(&key, black_box(&ciphertext)));
            }
        }) / 1_000.0;
    }
    use mlkem768::portable::unpacked;
    let mut key = Box::new(unpacked::init_key_pair());
    unpacked::generate_key_pair_mut(seed, &mut key);
    assert_eq!(unpacked::decapsulate(&key, &ciphertext), secret);
    repeated(least, || {
        for _ in 0..1_000 {
            black_box(unpacked::decapsulate(&key, black_box(&ciphertext)));
        }
    }) / 1_000.0
}

fn graviola(random: &mut TestRandom, least: Duration) -> f64 {
    let key = StaticPrivateKey::from_array(&random.bytes());
    let other = StaticPrivateKey::from_array(&random.bytes()).public_key();
    repeated(least, || {
        for _ in 0..1_000 {
            black_box(key.diffie_hellman(black_box(&other)).unwrap());
        }
    }) / 1_000.0
}

/// ring has no X25519 with a key that is used again: keys are made outside of what is counted, and each is used once.
fn ring(random: &mut TestRandom, least: Duration) -> f64 {
    let other = StaticPrivateKey::from_array(&random.bytes());
    let peer = UnparsedPublicKey::new(&X25519, other.public_key().as_bytes());
    let keys = |count: usize| -> Vec<EphemeralPrivateKey> {
        (0..count).map(|_| EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap()).collect()
    };
    let agree = |key: EphemeralPrivateKey| -> [u8; 32] {
        agree_ephemeral(key, black_box(&peer), |shared: &[u8]| <[u8; 32]>::try_from(shared)).unwrap().unwrap()
    };
    for key in keys(10) {
        let public = key.compute_public_key().unwrap();
        let own = <[u8; 32]>::try_from(public.as_ref()).unwrap();
        let shared = other.diffie_hellman(&PublicKey::from_array(&own)).unwrap();
        assert_eq!(agree(key), shared.as_bytes(), "the two agree");
    }
    // Processor time is exact to 10 ms: the keys are as many as take `least` and are counted together, as the others are.
    let mut count = 1_000;
    loop {
        let keys = keys(count);
        let start = processor_time();
        for key in keys {
            black_box(agree(key));
        }
        let passed = processor_time().saturating_sub(start);
        if passed >= least {
            return passed.as_secs_f64() / count as f64;
        }
        count *= 2;
    }
}

fn aead(least: Duration) -> f64 {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let mut sealed = vec![3; 256];
    let aad = [1; 48];
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from(&aad), &mut sealed).unwrap();
    repeated(least, || {
        for _ in 0..1_000 {
            // Every command has a key of its own.
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, black_box(&[7; 32])).unwrap());
            let mut bytes = sealed.clone();
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            black_box(key.open_in_place(nonce, Aad::from(&aad), &mut bytes).unwrap());
        }
    }) / 1_000.0
}

fn signatures(random: &mut TestRandom, batch: usize, least: Duration) -> f64 {
    let context = signing_context(b"substrate");
    let keys: Vec<Keypair> = (0..batch)
        .map(|_| MiniSecretKey::from_bytes(&random.bytes()).unwrap().expand_to_keypair(ExpansionMode::Ed25519))
        .collect();
    let messages: Vec<[u8; 32]> = (0..batch).map(|_| random.bytes()).collect();
    let signatures: Vec<_> = keys
        .iter()
        .zip(&messages)
        .map(|(key, message)| {
            // Deterministic: the transcript's own randomness is not wanted here.
            key.sign(schnorrkel::context::attach_rng(context.bytes(message), Constant))
        })
        .collect();
    let publics: Vec<_> = keys.iter().map(|key| key.public.to_bytes()).collect();
    let bytes: Vec<_> = signatures.iter().map(schnorrkel::Signature::to_bytes).collect();
    repeated(least, || {
        // From bytes, as they arrive.
        let publics: Vec<_> = publics.iter().map(|bytes| schnorrkel::PublicKey::from_bytes(bytes).unwrap()).collect();
        let signatures: Vec<_> = bytes.iter().map(|bytes| schnorrkel::Signature::from_bytes(bytes).unwrap()).collect();
        let transcripts = messages.iter().map(|message| context.bytes(message));
        schnorrkel::verify_batch_rng(transcripts, &signatures, &publics, false, Constant).unwrap();
    })
}

/// INSECURE: no randomness at all; the measured work does not depend on it.
struct Constant;

impl rand_core::RngCore for Constant {
    fn next_u32(&mut self) -> u32 {
        7
    }

    fn next_u64(&mut self) -> u64 {
        7
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for Constant {}
