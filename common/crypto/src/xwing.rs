//! X-Wing: the hybrid KEM of X25519 and ML-KEM-768 (draft-connolly-cfrg-xwing-kem-06 and later; HPKE KEM id `0x647a`).
//!
//! ```text
//! seed (32) -> SHAKE256, 96 bytes -> d (32) | z (32) | x25519 secret (32)
//! public key (1216)  = ML-KEM public key (1184) | X25519 public key (32)
//! ciphertext (1120)  = ML-KEM ciphertext (1088) | X25519 public key (32)
//! shared secret (32) = SHA3-256(ML-KEM secret | X25519 secret | X25519 ciphertext | X25519 public key | "\.//^\")
//! ```
//!
//! Guarantees: the shared secret is safe while *either* half holds. Nothing panics on bytes that arrive: every public key
//! is validated (FIPS 203, section 7.2) before it is used, and every ciphertext of the right length decapsulates to a
//! secret - a wrong one if it was not made for this key (implicit rejection), which the AEAD above then refuses.
//! A [`DecapsulationKey`] keeps ML-KEM's matrix and vectors expanded, which spares every opening that work
//! (`examples/open_cost.rs` measures it).
//!
//! Does not do: authenticate a sender, or refuse an X25519 point of small order (the draft does not either: ML-KEM's half
//! still protects, and the combiner binds the point). Whoever publishes keys or sends ciphertexts controls their bytes.
//!
//! Deviations: none in bytes. ML-KEM's half uses the fastest of libcrux's code paths that the processor has (`xwing/ml_kem.rs`), X25519's
//! verified assembly where it can run (`xwing/x25519.rs`).

mod ml_kem;
mod x25519;

use crate::Secret;
use alloc::boxed::Box;
use libcrux_ml_kem::mlkem768::MlKem768Ciphertext;
use sha3::{
    digest::{ExtendableOutput, Update, XofReader},
    Digest, Sha3_256, Shake256,
};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroize;

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;
/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = ML_KEM_PUBLIC_BYTES + X25519_BYTES;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_BYTES: usize = ML_KEM_CIPHERTEXT_BYTES + X25519_BYTES;
/// Bytes of entropy that one encapsulation consumes.
pub const ENTROPY_BYTES: usize = 64;

const ML_KEM_PUBLIC_BYTES: usize = 1184;
const ML_KEM_CIPHERTEXT_BYTES: usize = 1088;
const X25519_BYTES: usize = 32;
/// The draft's drawing of an X-wing.
const LABEL: &[u8; 6] = br"\.//^\";

/// A secret key, expanded once for as many ciphertexts as follow (about 16 KB).
pub struct DecapsulationKey {
    ml_kem: ml_kem::SecretKey,
    x25519: StaticSecret,
    public: Box<[u8; PUBLIC_KEY_BYTES]>,
}

impl DecapsulationKey {
    /// The key pair of `seed`.
    pub fn from_seed(seed: &Secret<[u8; SEED_BYTES]>) -> Self {
        let expanded: Secret<[u8; 96]> = Secret::fill(|expanded| {
            let mut shake = Shake256::default();
            shake.update(seed.expose());
            shake.finalize_xof().read(expanded);
        });
        let mut ml_kem_seed = part::<0, 64, _>(expanded.expose());
        let mut x25519_seed = part::<64, 32, _>(expanded.expose());

        let ml_kem = ml_kem::SecretKey::from_seed(ml_kem_seed);
        let x25519 = StaticSecret::from(x25519_seed);
        ml_kem_seed.zeroize();
        x25519_seed.zeroize();

        let public = join(&ml_kem.public(), PublicKey::from(&x25519).as_bytes());
        Self { ml_kem, x25519, public }
    }

    /// The public key's bytes.
    pub fn public_key(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }

    /// The shared secret of `ciphertext`; an unrelated one if the ciphertext was not made for this key.
    pub fn decapsulate(&self, ciphertext: &[u8; CIPHERTEXT_BYTES]) -> Secret<[u8; 32]> {
        let ml_kem_ciphertext = MlKem768Ciphertext::from(part::<0, ML_KEM_CIPHERTEXT_BYTES, _>(ciphertext));
        let x25519_ciphertext = part::<ML_KEM_CIPHERTEXT_BYTES, X25519_BYTES, _>(ciphertext);
        let x25519_public = part::<ML_KEM_PUBLIC_BYTES, X25519_BYTES, _>(&self.public);
        let mut ml_kem = self.ml_kem.decapsulate(&ml_kem_ciphertext);
        let x25519 = x25519::shared_secret(&self.x25519, &PublicKey::from(x25519_ciphertext));
        let shared = combine(&ml_kem, x25519.expose(), &x25519_ciphertext, &x25519_public);
        ml_kem.zeroize();
        shared
    }
}

/// A public key that was validated.
pub struct EncapsulationKey {
    ml_kem: ml_kem::PublicKey,
    x25519: PublicKey,
}

impl EncapsulationKey {
    /// Verifies that `bytes` are a public key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let bytes: &[u8; PUBLIC_KEY_BYTES] = bytes.try_into().map_err(|_| PublicKeyError::Length(bytes.len()))?;
        let ml_kem = ml_kem::PublicKey::from_bytes(part::<0, ML_KEM_PUBLIC_BYTES, _>(bytes));
        let ml_kem = ml_kem.ok_or(PublicKeyError::Modulus)?;
        Ok(Self { ml_kem, x25519: PublicKey::from(part::<ML_KEM_PUBLIC_BYTES, X25519_BYTES, _>(bytes)) })
    }

    /// A fresh shared secret and the ciphertext that carries it.
    ///
    /// `entropy` must be unpredictable and never used again: whoever knows it knows the secret.
    pub fn encapsulate(&self, entropy: &[u8; ENTROPY_BYTES]) -> (Box<[u8; CIPHERTEXT_BYTES]>, Secret<[u8; 32]>) {
        let (ml_kem_ciphertext, mut ml_kem) = self.ml_kem.encapsulate(part::<0, 32, _>(entropy));
        let ephemeral = StaticSecret::from(part::<32, 32, _>(entropy));
        let x25519_ciphertext = PublicKey::from(&ephemeral);
        let x25519 = x25519::shared_secret(&ephemeral, &self.x25519);
        let shared = combine(&ml_kem, x25519.expose(), x25519_ciphertext.as_bytes(), self.x25519.as_bytes());
        ml_kem.zeroize();
        (join(ml_kem_ciphertext.as_slice(), x25519_ciphertext.as_bytes()), shared)
    }
}

/// Why bytes are not a public key; the fault is whoever published them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not 1,216 bytes.
    #[error("X-Wing public key has {0} bytes, not 1216")]
    Length(usize),
    /// A coefficient of the ML-KEM half is not below the modulus.
    #[error("X-Wing public key holds a coefficient that is not below the ML-KEM modulus")]
    Modulus,
}

/// `LENGTH` bytes of `bytes` from `FROM` on; a range that is not inside does not compile.
fn part<const FROM: usize, const LENGTH: usize, const N: usize>(bytes: &[u8; N]) -> [u8; LENGTH] {
    const { assert!(FROM + LENGTH <= N) };
    let mut part = [0; LENGTH];
    part.copy_from_slice(&bytes[FROM..FROM + LENGTH]);
    part
}

/// `first` and `second`, which together have `N` bytes or it does not compile.
fn join<const N: usize, const FIRST: usize>(first: &[u8; FIRST], second: &[u8; X25519_BYTES]) -> Box<[u8; N]> {
    const { assert!(FIRST + X25519_BYTES == N) };
    let mut joined = Box::new([0; N]);
    for (target, byte) in joined.iter_mut().zip(first.iter().chain(second)) {
        *target = *byte;
    }
    joined
}

fn combine(ml_kem: &[u8; 32], x25519: &[u8; 32], ciphertext: &[u8; 32], public: &[u8; 32]) -> Secret<[u8; 32]> {
    let mut hasher = Sha3_256::new();
    for part in [&ml_kem[..], x25519, ciphertext, public, LABEL] {
        Digest::update(&mut hasher, part);
    }
    let mut digest: [u8; 32] = hasher.finalize().into();
    let secret = Secret::fill(|secret| secret.copy_from_slice(&digest));
    digest.zeroize();
    secret
}
