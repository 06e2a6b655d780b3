//! The ML-KEM-768 halves of keys (FIPS 203), the secret one expanded, on the fastest of libcrux's code paths that the processor has.
//!
//! Guarantees: every path gives the same bytes for every seed, every public key and every ciphertext, made for the key or not, and the same
//! verdict on public keys; the tests compare them. AVX2, whose code is in every build for x86-64, is looked for when a secret key is made,
//! and whenever a public key is used. Without `std`, and on other processors, the portable path is the only one. Whoever sends
//! ciphertexts, and whoever publishes keys, controls their bytes.

use super::ML_KEM_PUBLIC_BYTES;
use alloc::boxed::Box;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use libcrux_ml_kem::mlkem768::avx2::{self as packed_avx2, unpacked as avx2};
use libcrux_ml_kem::mlkem768::{
    portable::{self as packed_portable, unpacked as portable},
    MlKem768Ciphertext, MlKem768PublicKey,
};

/// A secret key with its matrix and vectors (about 16 KB).
pub(super) enum SecretKey {
    Portable(Box<portable::MlKem768KeyPairUnpacked>),
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    Avx2(Box<avx2::MlKem768KeyPairUnpacked>),
}

impl SecretKey {
    /// The key pair of `seed`.
    pub(super) fn from_seed(seed: [u8; 64]) -> Self {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self::avx2(seed);
        }
        Self::portable(seed)
    }

    fn portable(seed: [u8; 64]) -> Self {
        let mut key = Box::new(portable::init_key_pair());
        portable::generate_key_pair_mut(seed, &mut key);
        Self::Portable(key)
    }

    /// Only on a processor that has AVX2.
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    fn avx2(seed: [u8; 64]) -> Self {
        let mut key = Box::new(avx2::init_key_pair());
        avx2::generate_key_pair_mut(seed, &mut key);
        Self::Avx2(key)
    }

    /// The public key's bytes.
    pub(super) fn public(&self) -> [u8; ML_KEM_PUBLIC_BYTES] {
        let mut public = MlKem768PublicKey::default();
        match self {
            Self::Portable(key) => portable::key_pair_serialized_public_key_mut(key, &mut public),
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Self::Avx2(key) => avx2::key_pair_serialized_public_key_mut(key, &mut public),
        }
        *public.as_slice()
    }

    /// The shared secret of `ciphertext`; an unrelated one if it was not made for this key.
    pub(super) fn decapsulate(&self, ciphertext: &MlKem768Ciphertext) -> [u8; 32] {
        match self {
            Self::Portable(key) => portable::decapsulate(key, ciphertext),
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Self::Avx2(key) => avx2::decapsulate(key, ciphertext),
        }
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        // libcrux's types neither wipe themselves nor show their fields: they are overwritten with an empty key, and the barrier
        // keeps the compiler from dropping that write.
        match self {
            Self::Portable(key) => {
                **key = portable::init_key_pair();
                zeroize::optimization_barrier(&**key);
            }
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Self::Avx2(key) => {
                **key = avx2::init_key_pair();
                zeroize::optimization_barrier(&**key);
            }
        }
    }
}

/// A public key that was validated (FIPS 203, section 7.2).
pub(super) struct PublicKey(Box<MlKem768PublicKey>);

impl PublicKey {
    /// The key of these bytes, if they are one.
    pub(super) fn from_bytes(bytes: [u8; ML_KEM_PUBLIC_BYTES]) -> Option<Self> {
        let key = Box::new(MlKem768PublicKey::from(bytes));
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        if std::arch::is_x86_feature_detected!("avx2") {
            return packed_avx2::validate_public_key(&key).then_some(Self(key));
        }
        packed_portable::validate_public_key(&key).then_some(Self(key))
    }

    /// The ciphertext and the shared secret that `entropy` gives.
    pub(super) fn encapsulate(&self, entropy: [u8; 32]) -> (MlKem768Ciphertext, [u8; 32]) {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        if std::arch::is_x86_feature_detected!("avx2") {
            return packed_avx2::encapsulate(&self.0, entropy);
        }
        packed_portable::encapsulate(&self.0, entropy)
    }
}

#[cfg(all(test, target_arch = "x86_64", feature = "std"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::{super::part, *};
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use serde_json::Value;
    use sha3::{
        digest::{ExtendableOutput, Update, XofReader},
        Shake256,
    };

    fn unhex<const N: usize>(value: &Value) -> [u8; N] {
        hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
    }

    /// The seed of the ML-KEM half of an X-Wing seed.
    fn expanded(seed: &[u8; 32]) -> [u8; 64] {
        let (mut shake, mut expanded) = (Shake256::default(), [0; 64]);
        shake.update(seed);
        shake.finalize_xof().read(&mut expanded);
        expanded
    }

    #[test]
    fn avx2_and_portable_agree_on_vectors_and_on_hostile_ciphertexts() {
        if !std::arch::is_x86_feature_detected!("avx2") {
            // Nothing to compare: such a processor runs the portable path alone.
            return;
        }
        let vectors: Value =
            serde_json::from_str(include_str!("../../../../testing/vectors/crypto/xwing-draft.json")).unwrap();
        let mut random = StdRng::seed_from_u64(7);
        let seeds = vectors.as_array().unwrap().iter().map(|vector| expanded(&unhex(&vector["seed"])));
        let seeds: Vec<[u8; 64]> = seeds.chain(core::iter::repeat_with(|| random.random()).take(20)).collect();
        let ciphertexts: Vec<[u8; 1120]> =
            vectors.as_array().unwrap().iter().map(|vector| unhex(&vector["ct"])).collect();
        assert_eq!((seeds.len(), ciphertexts.len()), (23, 3));
        for seed in seeds {
            let (fast, oracle) = (SecretKey::avx2(seed), SecretKey::portable(seed));
            assert_eq!(fast.public(), oracle.public());
            let public = MlKem768PublicKey::from(oracle.public());
            let entropy: [u8; 32] = random.random();
            let (made_for, shared) = packed_portable::encapsulate(&public, entropy);
            let (fast_ciphertext, fast_shared) = packed_avx2::encapsulate(&public, entropy);
            assert_eq!((fast_ciphertext.as_slice(), fast_shared), (made_for.as_slice(), shared));
            let (chosen, chosen_shared) = PublicKey::from_bytes(oracle.public()).unwrap().encapsulate(entropy);
            assert_eq!((chosen.as_slice(), chosen_shared), (made_for.as_slice(), shared));
            assert_eq!(fast.decapsulate(&made_for), shared);
            assert_eq!(oracle.decapsulate(&made_for), shared);
            let mut altered = *made_for.as_slice();
            altered[random.random_range(0..altered.len())] ^= 1 << random.random_range(0..8);
            let mut garbage = [0; 1088];
            random.fill(&mut garbage[..]);
            let foreign = ciphertexts.iter().map(part::<0, 1088, _>);
            for ciphertext in foreign.chain([altered, garbage, [0; 1088], [0xff; 1088]]) {
                let ciphertext = MlKem768Ciphertext::from(ciphertext);
                assert_eq!(fast.decapsulate(&ciphertext), oracle.decapsulate(&ciphertext));
                assert_ne!(fast.decapsulate(&ciphertext), shared);
            }
        }
    }

    #[test]
    fn avx2_and_portable_agree_on_which_bytes_are_a_public_key() {
        if !std::arch::is_x86_feature_detected!("avx2") {
            return;
        }
        let mut random = StdRng::seed_from_u64(8);
        let honest = SecretKey::portable(random.random()).public();
        let mut refused = 0;
        for round in 0..400 {
            let mut bytes = honest;
            match round % 4 {
                0 => random.fill(&mut bytes[..]),
                1 => bytes[random.random_range(0..1152usize)] = 0xff,
                2 => bytes[random.random_range(0..1184usize)] ^= 1 << random.random_range(0..8),
                // Two coefficients of 12 bits around the modulus, 3329 = 0xd01.
                _ => {
                    let (at, value) = (random.random_range(0..384usize) * 3, random.random_range(3327..3332u16));
                    let [low, high] = value.to_le_bytes();
                    bytes[at] = low;
                    bytes[at + 1] = (bytes[at + 1] & 0xf0) | high;
                }
            }
            let key = MlKem768PublicKey::from(bytes);
            let verdict = packed_portable::validate_public_key(&key);
            assert_eq!(packed_avx2::validate_public_key(&key), verdict);
            assert_eq!(PublicKey::from_bytes(bytes).is_some(), verdict);
            refused += usize::from(!verdict);
        }
        assert!((100..400).contains(&refused), "{refused}");
    }
}
