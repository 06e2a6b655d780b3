//! Keeps bytes on a disk that somebody else owns.
//!
//! Format: version 1 in one byte, a random nonce of 12, then AES-256-GCM-SIV ciphertext with its tag of 16. The key is
//! HKDF-SHA256 of the key file under a label of its own, so that the file's key itself encrypts nothing else; the caller's
//! label is associated data, so that a blob sealed as one thing does not open as another.
//!
//! What it cannot do: tell an old blob from the newest. The host may put back any earlier one. Whatever must not be rewound
//! needs a witness outside this machine.

use std::{fs, io, path::PathBuf};

use aes_gcm_siv::{
    aead::{Aead, Payload},
    Aes256GcmSiv, KeyInit, Nonce,
};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::entropy::{Entropy, EntropyError};

const VERSION: u8 = 1;
const NONCE_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;
const KEY_LABEL: &[u8] = b"PHALA/platform/seal-key/v1";
const SEAL_LABEL: &[u8] = b"PHALA/platform/seal/v1";
/// Bytes of the largest blob that is opened: an identity has a few hundred.
const SEALED_LIMIT: usize = 1024 * 1024;

/// Seals and opens bytes.
pub trait Seal {
    /// Seals `plaintext` as what `label` says it is.
    fn seal(&self, label: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError>;

    /// Opens what [`Seal::seal`] made under the same key and label. The result is wiped when dropped.
    fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError>;
}

/// Why bytes were not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file is not readable.
    #[error("cannot read the sealing key at {path}: is this process inside the TEE that serves it?")]
    KeyFile {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not readable.
        #[source]
        source: io::Error,
    },
    /// The key file has neither 16 bytes (SGX under Gramine) nor 32.
    #[error("sealing key at {path} has {length} bytes, not 16 or 32")]
    KeyLength {
        /// Where it is.
        path: PathBuf,
        /// How long it is.
        length: usize,
    },
    /// The key is all zeros: nothing would be sealed.
    #[error("sealing key at {0} is all zeros")]
    KeyIsZero(PathBuf),
    /// No randomness for a nonce.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The plaintext or blob is too large.
    #[error("more than {SEALED_LIMIT} bytes")]
    TooLong,
    /// Not of this format: another program wrote it, or another version.
    #[error("not a sealed blob of version {VERSION}")]
    Format,
    /// Altered, sealed under another label, or by another machine or program.
    #[error("sealed blob does not open: it was altered, or another machine, program or purpose sealed it")]
    Open,
}

/// Seals with a key from a file.
///
/// Under Gramine the file is `/dev/attestation/keys/_sgx_mrenclave` (16 bytes, this very binary) or `_sgx_mrsigner` (any
/// binary of its signer); it exists only inside the enclave. The same key must not also mount an encrypted file system.
/// With the simulator it is `DIR/keys/sealing`, and seals nothing from anybody. The file is read at every use: the key
/// is in memory only while one blob is sealed or opened.
#[derive(Clone, Debug)]
pub struct KeyFileSeal<E> {
    path: PathBuf,
    entropy: E,
}

impl<E: Entropy> KeyFileSeal<E> {
    /// Seals with the key in the file at `path`; reads it once, to fail now rather than when the first secret is at hand.
    pub fn new(path: impl Into<PathBuf>, entropy: E) -> Result<Self, SealError> {
        let seal = Self { path: path.into(), entropy };
        seal.cipher()?;
        Ok(seal)
    }

    fn cipher(&self) -> Result<Aes256GcmSiv, SealError> {
        let file = fs::read(&self.path).map_err(|source| SealError::KeyFile { path: self.path.clone(), source })?;
        let material = Zeroizing::new(file);
        if !matches!(material.len(), 16 | 32) {
            return Err(SealError::KeyLength { path: self.path.clone(), length: material.len() });
        }
        if material.iter().all(|byte| *byte == 0) {
            return Err(SealError::KeyIsZero(self.path.clone()));
        }
        let mut key = Zeroizing::new([0u8; 32]);
        let (mut pseudorandom, hkdf) = Hkdf::<Sha256>::extract(None, &material);
        Zeroize::zeroize(&mut pseudorandom[..]);
        // 32 bytes are always within what HKDF can give.
        hkdf.expand(KEY_LABEL, key.as_mut_slice()).map_err(|_| SealError::Open)?;
        Aes256GcmSiv::new_from_slice(key.as_slice()).map_err(|_| SealError::Open)
    }
}

impl<E: Entropy> Seal for KeyFileSeal<E> {
    fn seal(&self, label: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > SEALED_LIMIT {
            return Err(SealError::TooLong);
        }
        let mut nonce = [0u8; NONCE_LENGTH];
        self.entropy.fill(&mut nonce)?;
        let ciphertext = self
            .cipher()?
            .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: &associated_data(label) })
            .map_err(|_| SealError::TooLong)?;
        Ok([&[VERSION], nonce.as_slice(), &ciphertext].concat())
    }

    fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.len() > SEALED_LIMIT + 1 + NONCE_LENGTH + TAG_LENGTH {
            return Err(SealError::TooLong);
        }
        let (version, rest) = sealed.split_first().ok_or(SealError::Format)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(SealError::Format)?;
        if *version != VERSION {
            return Err(SealError::Format);
        }
        self.cipher()?
            .decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad: &associated_data(label) })
            .map(Zeroizing::new)
            .map_err(|_| SealError::Open)
    }
}

/// The domain label, the version, and the caller's label, which is last and so needs no length.
fn associated_data(label: &str) -> Vec<u8> {
    [SEAL_LABEL, &[VERSION], label.as_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::entropy::KernelEntropy;

    fn seal_with(
        directory: &tempfile::TempDir,
        name: &str,
        key: &[u8],
    ) -> Result<KeyFileSeal<KernelEntropy>, SealError> {
        let path = directory.path().join(name);
        fs::write(&path, key).unwrap();
        KeyFileSeal::new(path, KernelEntropy)
    }

    #[test]
    fn opens_what_it_sealed_under_the_same_key_and_label() {
        let directory = tempfile::tempdir().unwrap();
        for length in [16, 32] {
            let seal = seal_with(&directory, "key", &vec![7; length]).unwrap();
            let sealed = seal.seal("identity", b"secret").unwrap();
            assert_eq!(sealed.len(), 1 + NONCE_LENGTH + 6 + TAG_LENGTH);
            assert_eq!(seal.open("identity", &sealed).unwrap().as_slice(), b"secret");
            assert_ne!(seal.seal("identity", b"secret").unwrap(), sealed, "nonces repeat");
        }
    }

    #[test]
    fn refuses_another_label_key_version_and_every_altered_byte() {
        let directory = tempfile::tempdir().unwrap();
        let seal = seal_with(&directory, "key", &[7; 32]).unwrap();
        let other = seal_with(&directory, "other", &[8; 32]).unwrap();
        let sealed = seal.seal("identity", b"secret").unwrap();
        assert!(matches!(seal.open("cursor", &sealed), Err(SealError::Open)));
        assert!(matches!(other.open("identity", &sealed), Err(SealError::Open)));
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert!(seal.open("identity", &altered).is_err(), "{index}");
        }
        for length in 0..sealed.len() {
            assert!(seal.open("identity", &sealed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn refuses_a_missing_short_or_zero_key() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            KeyFileSeal::new(directory.path().join("absent"), KernelEntropy),
            Err(SealError::KeyFile { .. })
        ));
        assert!(matches!(seal_with(&directory, "key", &[7; 31]), Err(SealError::KeyLength { length: 31, .. })));
        assert!(matches!(seal_with(&directory, "key", &[0; 32]), Err(SealError::KeyIsZero(_))));
    }

    #[test]
    fn refuses_to_seal_without_entropy() {
        struct Dry;
        impl Entropy for Dry {
            fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
                Err(EntropyError(getrandom::Error::UNSUPPORTED))
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, [7; 32]).unwrap();
        let seal = KeyFileSeal::new(path, Dry).unwrap();
        assert!(matches!(seal.seal("identity", b"secret"), Err(SealError::Entropy(_))));
    }

    /// Computed by a second implementation, written from the head of this file, with the nonce 1 to 12.
    #[test]
    fn opens_what_a_second_implementation_sealed() {
        let sealed = [
            0x01, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x24, 0x27, 0xbf, 0x90, 0x8d,
            0xe9, 0x87, 0x63, 0x3f, 0x7c, 0x15, 0xa5, 0x84, 0xd2, 0x4d, 0x79, 0x48, 0xe7, 0xbf, 0xf7, 0xee, 0x28,
        ];
        let directory = tempfile::tempdir().unwrap();
        let seal = seal_with(&directory, "key", &[7; 32]).unwrap();
        assert_eq!(seal.open("identity", &sealed).unwrap().as_slice(), b"secret");
    }
}
