//! Records what is sealed, so that a test can hold that no key seals two messages under one nonce. Never in a shipped binary.
//!
//! Guarantees: while a [`Recording`] lives, every [`crate::aead`] seal of this process is in it, whichever thread makes it, with a hash
//! of its key instead of the key; nothing is kept while there is none. Two recordings never overlap. Does not: see ciphers that are
//! used without that module.

use alloc::vec::Vec;
use phala_protocol::{hash::blake2_256, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

static SEALS: Mutex<Option<Vec<Sealed>>> = Mutex::new(None);
static TURN: Mutex<()> = Mutex::new(());

/// One message that was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed {
    /// `GcmKey` or `SivKey`.
    pub cipher: &'static str,
    /// Hash of the key.
    pub key: Hash,
    /// The nonce.
    pub nonce: [u8; 12],
    /// Bytes of associated data.
    pub associated_bytes: usize,
    /// Hash of the associated data's hash and of ciphertext and tag: equal messages under one key and nonce have the same.
    pub message: Hash,
}

/// Keeps what is sealed from its beginning to its end.
pub struct Recording {
    _turn: MutexGuard<'static, ()>,
}

impl Recording {
    /// Begins one, after any other has ended.
    pub fn begin() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        *seals() = Some(Vec::new());
        Self { _turn: turn }
    }

    /// Ends it: what was sealed since, in order.
    pub fn end(self) -> Vec<Sealed> {
        seals().take().unwrap_or_default()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        *seals() = None;
    }
}

fn seals() -> MutexGuard<'static, Option<Vec<Sealed>>> {
    SEALS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a seal, if anybody records.
pub(crate) fn note(cipher: &'static str, key: &Hash, nonce: &[u8; 12], associated_data: &[u8], sealed: &[u8]) {
    if let Some(seals) = seals().as_mut() {
        let message = blake2_256(&[&blake2_256(associated_data)[..], sealed].concat());
        seals.push(Sealed { cipher, key: *key, nonce: *nonce, associated_bytes: associated_data.len(), message });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{
        aead::{GcmKey, SivKey},
        Secret,
    };

    #[test]
    fn what_is_sealed_is_recorded_with_its_key_and_nonce_while_somebody_asks() {
        // Keys that no other test of this process has.
        let secret = || Secret::new([0xd7; 32]);
        let key = blake2_256(&[0xd7; 32]);
        let (gcm, siv) = (GcmKey::new(&secret()), SivKey::new(&secret()));
        gcm.seal(&[0; 12], b"", b"before").unwrap();
        let recording = Recording::begin();
        gcm.seal(&[1; 12], b"with", b"one").unwrap();
        gcm.seal(&[1; 12], b"with", b"two").unwrap();
        siv.seal(&[2; 12], b"", b"three").unwrap();
        siv.seal(&[2; 12], b"", b"three").unwrap();
        let all: Vec<Sealed> = recording.end().into_iter().filter(|sealed| sealed.key == key).collect();
        let told: Vec<_> = all.iter().map(|sealed| (sealed.cipher, sealed.nonce[0], sealed.associated_bytes)).collect();
        assert_eq!(told, [("GcmKey", 1, 4), ("GcmKey", 1, 4), ("SivKey", 2, 0), ("SivKey", 2, 0)]);
        assert_ne!(all[0].message, all[1].message);
        assert_eq!(all[2].message, all[3].message);
    }
}
