//! Authenticated encryption with nonces that the caller chooses.
//!
//! Guarantees: [`SivKey::open`] and [`GcmKey::open`] return a plaintext only if key, nonce, associated data and every bit
//! of the ciphertext are those of one `seal`; key schedules are wiped on drop.
//!
//! Does not do: choose nonces. Two messages under one nonce of a [`GcmKey`] reveal their difference *and* let anyone
//! forge: use it only for keys that seal once, or count. A repeated nonce of a [`SivKey`] (RFC 8452) reveals only
//! whether two messages are equal, which is why everything on a disk that a host can rewind uses it.
//! Ciphertexts, nonces and associated data may come from anyone.
//!
//! Under the feature `testing` each seal is recorded while a test asks for it: see `testing.rs`.

use crate::Secret;
use aes_gcm::{
    aead::{Aead, KeyInit, Payload},
    Aes256Gcm,
};
use aes_gcm_siv::Aes256GcmSiv;
use alloc::vec::Vec;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;

macro_rules! aead_key {
    ($(#[$doc:meta])* $name:ident($cipher:ty)) => {
        $(#[$doc])*
        pub struct $name {
            cipher: $cipher,
            #[cfg(feature = "testing")]
            key: phala_protocol::Hash,
        }

        impl $name {
            /// The key's schedule, expanded once for as many messages as follow.
            pub fn new(key: &Secret<[u8; 32]>) -> Self {
                Self {
                    cipher: <$cipher>::new(key.expose().into()),
                    #[cfg(feature = "testing")]
                    key: phala_protocol::hash::blake2_256(key.expose()),
                }
            }

            /// Ciphertext and tag of `plaintext`, [`TAG_BYTES`] longer than it. Fails on more than 64 GB.
            pub fn seal(&self, nonce: &[u8; NONCE_BYTES], associated_data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
                let sealed = self
                    .cipher
                    .encrypt(nonce.into(), Payload { msg: plaintext, aad: associated_data })
                    .map_err(|_| SealError::TooLong)?;
                #[cfg(feature = "testing")]
                crate::testing::note(stringify!($name), &self.key, nonce, associated_data, &sealed);
                Ok(sealed)
            }

            /// The plaintext of a ciphertext that this key sealed.
            pub fn open(&self, nonce: &[u8; NONCE_BYTES], associated_data: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, OpenError> {
                self.cipher
                    .decrypt(nonce.into(), Payload { msg: ciphertext, aad: associated_data })
                    .map_err(|_| OpenError::Unauthentic)
            }
        }
    };
}

aead_key! {
    /// AES-256-GCM-SIV (RFC 8452): survives a repeated nonce.
    SivKey(Aes256GcmSiv)
}

impl SivKey {
    /// Tag of `associated_data` alone at `nonce`, which may come again: nothing is encrypted, and over associated data the tag of RFC 8452 is
    /// a PRF of both, so it is a MAC. Not recorded, for no message is sealed. Fails on more than 64 GB.
    pub fn tag(&self, nonce: &[u8; NONCE_BYTES], associated_data: &[u8]) -> Result<[u8; TAG_BYTES], SealError> {
        let tag = self.cipher.encrypt(nonce.into(), Payload { msg: &[], aad: associated_data });
        tag.ok().and_then(|tag| tag.try_into().ok()).ok_or(SealError::TooLong)
    }

    /// Whether that is the tag.
    pub fn has_tag(&self, nonce: &[u8; NONCE_BYTES], associated_data: &[u8], tag: &[u8]) -> bool {
        self.open(nonce, associated_data, tag).is_ok_and(|nothing| nothing.is_empty())
    }
}

aead_key! {
    /// AES-256-GCM (NIST SP 800-38D): a repeated nonce is fatal. For keys that seal one message.
    GcmKey(Aes256Gcm)
}

/// Why nothing was sealed; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than one AEAD message may hold.
    #[error("plaintext or associated data is longer than the cipher allows; split it")]
    TooLong,
}

/// Why a ciphertext was not opened. The reasons cannot be told apart: that is what authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another key, nonce or associated data, or altered or truncated bytes.
    #[error("ciphertext is not authentic under this key, nonce and associated data")]
    Unauthentic,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_is_of_its_key_nonce_and_data_alone() {
        let (key, other) = (SivKey::new(&Secret::new([7; 32])), SivKey::new(&Secret::new([8; 32])));
        let tag = key.tag(&[1; 12], b"block").unwrap();
        assert_eq!(tag.to_vec(), key.seal(&[1; 12], b"block", b"").unwrap());
        assert!(key.has_tag(&[1; 12], b"block", &tag));
        assert!(!key.has_tag(&[2; 12], b"block", &tag) && !key.has_tag(&[1; 12], b"blocks", &tag));
        assert!(!other.has_tag(&[1; 12], b"block", &tag) && !key.has_tag(&[1; 12], b"block", &tag[..15]));
        // A sealed message is no tag.
        assert!(!key.has_tag(&[1; 12], b"block", &key.seal(&[1; 12], b"block", b"x").unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn opens_what_it_sealed_and_nothing_else(
            key in any::<[u8; 32]>(), nonce in any::<[u8; 12]>(),
            aad in proptest::collection::vec(any::<u8>(), 0..24), plaintext in proptest::collection::vec(any::<u8>(), 0..80),
            flip in any::<proptest::sample::Index>(),
        ) {
            let key = Secret::new(key);
            let (siv, gcm) = (SivKey::new(&key), GcmKey::new(&key));
            let mut sealed = [siv.seal(&nonce, &aad, &plaintext).unwrap(), gcm.seal(&nonce, &aad, &plaintext).unwrap()];
            prop_assert_eq!(siv.open(&nonce, &aad, &sealed[0]).unwrap(), plaintext.clone());
            prop_assert_eq!(gcm.open(&nonce, &aad, &sealed[1]).unwrap(), plaintext.clone());
            prop_assert_eq!(siv.open(&nonce, &aad, &sealed[1]), Err(OpenError::Unauthentic));

            let mut other = aad.clone();
            other.push(0);
            prop_assert_eq!(siv.open(&nonce, &other, &sealed[0]), Err(OpenError::Unauthentic));
            prop_assert_eq!(gcm.open(&nonce, &other, &sealed[1]), Err(OpenError::Unauthentic));
            let mut other = nonce;
            other[0] ^= 1;
            prop_assert_eq!(siv.open(&other, &aad, &sealed[0]), Err(OpenError::Unauthentic));
            prop_assert_eq!(gcm.open(&other, &aad, &sealed[1]), Err(OpenError::Unauthentic));

            let bit = flip.index(sealed[0].len() * 8);
            for bytes in &mut sealed {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            prop_assert_eq!(siv.open(&nonce, &aad, &sealed[0]), Err(OpenError::Unauthentic));
            prop_assert_eq!(gcm.open(&nonce, &aad, &sealed[1]), Err(OpenError::Unauthentic));
        }
    }

    #[test]
    fn refuses_less_than_a_tag() {
        let key = Secret::new([1; 32]);
        for length in 0..TAG_BYTES {
            assert_eq!(SivKey::new(&key).open(&[0; 12], b"", &[0; 16][..length]), Err(OpenError::Unauthentic));
            assert_eq!(GcmKey::new(&key).open(&[0; 12], b"", &[0; 16][..length]), Err(OpenError::Unauthentic));
        }
    }

    /// RFC 8452, appendix C.2: the first case with a plaintext.
    #[test]
    fn siv_is_rfc_8452() {
        let mut key = [0; 32];
        key[0] = 1;
        let mut nonce = [0; 12];
        nonce[0] = 3;
        let sealed = SivKey::new(&Secret::new(key)).seal(&nonce, b"", &[1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(hex::encode(sealed), "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28");
    }
}
