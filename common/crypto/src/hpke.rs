//! HPKE (RFC 9180) in base mode, for one message in each context: X-Wing KEM `0x647a`, HKDF-SHA256 `0x0001`, AES-256-GCM
//! `0x0002` (draft-ietf-hpke-pq).
//!
//! ```text
//! sender:   (encapsulated, context) = setup_sender(public key, info, 64 bytes of entropy)
//!           (ciphertext, exporter)  = context.seal(aad, plaintext)
//! receiver: context                 = setup_receiver(secret key, encapsulated, info)
//!           (plaintext, exporter)   = context.open(aad, ciphertext)
//! ```
//!
//! Guarantees: whoever opens a message holds the secret key, and saw it with the same info and associated data. Nothing
//! about the sender: base mode authenticates nobody, signatures inside do. A context is consumed by its one message, so a
//! nonce cannot repeat by construction. Info, associated data, encapsulated keys and ciphertexts may come from anyone.
//!
//! Deviations from RFC 9180: one message a context (sequence number 0, nonce = base nonce); no PSK and no authenticated
//! modes (X-Wing has none); receiver keys come from a 32-byte seed, not from `DeriveKeyPair`. Bytes are those of any other
//! implementation of this suite, which the tests check against one.

use crate::{
    aead::{GcmKey, OpenError, SealError, NONCE_BYTES},
    kdf,
    xwing::{DecapsulationKey, EncapsulationKey, CIPHERTEXT_BYTES, ENTROPY_BYTES},
    Secret,
};
use alloc::{boxed::Box, vec::Vec};
use hkdf::Hkdf;
use hmac::Mac;
use sha2::Sha256;

/// `"HPKE" || kem_id || kdf_id || aead_id` of the suite.
const SUITE: [u8; 10] = *b"HPKE\x64\x7a\x00\x01\x00\x02";
const VERSION: &[u8] = b"HPKE-v1";
const MODE_BASE: u8 = 0;
/// `LabeledExtract("", "psk_id_hash", "")`, the same for every context without a PSK; a test computes it.
const PSK_ID_HASH: [u8; 32] = [
    0xbc, 0xc3, 0xfc, 0xa5, 0x5d, 0x6d, 0x27, 0x60, 0x85, 0xe2, 0xea, 0xb4, 0xb5, 0x56, 0x5d, 0x37, 0x0f, 0xca, 0x95,
    0x06, 0x9e, 0xe7, 0xbe, 0xbb, 0x0a, 0x19, 0x7b, 0x25, 0x56, 0xa5, 0x83, 0x9f,
];

/// Makes a fresh context for one message to `recipient`, and the bytes by which it finds its key.
///
/// `entropy` must be unpredictable and never used again.
pub fn setup_sender(
    recipient: &EncapsulationKey,
    info: &[u8],
    entropy: &[u8; ENTROPY_BYTES],
) -> (Box<[u8; CIPHERTEXT_BYTES]>, SenderContext) {
    let (encapsulated, shared) = recipient.encapsulate(entropy);
    (encapsulated, SenderContext(KeySchedule::new(&SUITE, &PSK_ID_HASH, &shared, info)))
}

/// Finds the context of one message to `secret`. Always succeeds: an encapsulation for another key gives a context that
/// opens nothing.
pub fn setup_receiver(
    secret: &DecapsulationKey,
    encapsulated: &[u8; CIPHERTEXT_BYTES],
    info: &[u8],
) -> ReceiverContext {
    ReceiverContext(KeySchedule::new(&SUITE, &PSK_ID_HASH, &secret.decapsulate(encapsulated), info))
}

/// The sender's side of one message.
pub struct SenderContext(KeySchedule);

impl SenderContext {
    /// Seals the message; what remains of the context exports secrets.
    pub fn seal(self, associated_data: &[u8], plaintext: &[u8]) -> Result<(Vec<u8>, Exporter), SealError> {
        let ciphertext = GcmKey::new(&self.0.key).seal(self.0.nonce.expose(), associated_data, plaintext)?;
        Ok((ciphertext, self.0.exporter))
    }
}

/// The receiver's side of one message.
pub struct ReceiverContext(KeySchedule);

impl ReceiverContext {
    /// Opens the message; what remains of the context exports secrets.
    pub fn open(self, associated_data: &[u8], ciphertext: &[u8]) -> Result<(Secret<Vec<u8>>, Exporter), OpenError> {
        let plaintext = GcmKey::new(&self.0.key).open(self.0.nonce.expose(), associated_data, ciphertext)?;
        Ok((Secret::new(plaintext), self.0.exporter))
    }
}

/// Derives further secrets that only sender and receiver share: a session's, or the key of an answer.
pub struct Exporter {
    secret: Secret<[u8; 32]>,
    suite: [u8; 10],
}

impl Exporter {
    /// `Context.Export` of RFC 9180, section 5.3. The context is a label of [`phala_protocol::domain`].
    #[expect(clippy::expect_used, reason = "HKDF takes every pseudorandom key of at least 32 bytes")]
    pub fn export<const N: usize>(&self, context: &[u8]) -> Secret<[u8; N]> {
        let hkdf = Hkdf::from_prk(self.secret.expose()).expect("32 bytes are enough");
        labeled_expand(&hkdf, &self.suite, b"sec", context)
    }
}

/// `KeySchedule` of RFC 9180, section 5.1, without a PSK.
struct KeySchedule {
    key: Secret<[u8; 32]>,
    nonce: Secret<[u8; NONCE_BYTES]>,
    exporter: Exporter,
}

impl KeySchedule {
    fn new(suite: &[u8; 10], psk_id_hash: &[u8; 32], shared: &Secret<[u8; 32]>, info: &[u8]) -> Self {
        let info_hash = labeled_hash(suite, b"info_hash", info);
        let mut context = [MODE_BASE; 65];
        context[1..33].copy_from_slice(psk_id_hash);
        context[33..].copy_from_slice(&info_hash);
        let hkdf = labeled_extract(shared, suite, b"secret");
        Self {
            key: labeled_expand(&hkdf, suite, b"key", &context),
            nonce: labeled_expand(&hkdf, suite, b"base_nonce", &context),
            exporter: Exporter { secret: labeled_expand(&hkdf, suite, b"exp", &context), suite: *suite },
        }
    }
}

/// `LabeledExtract` of RFC 9180, section 4, without a salt: what it makes of public bytes is public.
fn labeled_hash(suite: &[u8; 10], label: &[u8], input: &[u8]) -> [u8; 32] {
    let mut mac = kdf::hmac(&[]);
    for part in [VERSION, suite, label, input] {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `LabeledExtract` of RFC 9180, section 4, of no input: its pseudorandom key, ready for as many expansions as follow.
fn labeled_extract(salt: &Secret<[u8; 32]>, suite: &[u8; 10], label: &[u8]) -> Hkdf<Sha256> {
    kdf::extract(Some(salt.expose()), &[VERSION, suite, label])
}

/// `LabeledExpand` of RFC 9180, section 4.
fn labeled_expand<const N: usize>(hkdf: &Hkdf<Sha256>, suite: &[u8; 10], label: &[u8], info: &[u8]) -> Secret<[u8; N]> {
    const { assert!(N <= kdf::MAX_EXPAND_BYTES, "HKDF-SHA256 gives at most 8,160 bytes") };
    kdf::expand(hkdf, &[&(N as u16).to_be_bytes(), VERSION, suite, label, info])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::Value;

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    #[test]
    fn hash_of_no_psk_is_the_suites() {
        assert_eq!(PSK_ID_HASH, labeled_hash(&SUITE, b"psk_id_hash", &[]));
    }

    /// The published vector is for ChaCha20-Poly1305: all but the AEAD is the same with its suite id.
    #[test]
    fn key_schedule_and_exports_are_the_published_ones() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../testing/vectors/crypto/hpke-xwing.json")).unwrap();
        for vector in vectors.as_array().unwrap() {
            let suite: [u8; 10] = bytes(&vector["suite_id"]).try_into().unwrap();
            assert_eq!(suite[..8], SUITE[..8]);
            let key = DecapsulationKey::from_seed(&Secret::from_slice(&bytes(&vector["skRm"])).unwrap());
            assert_eq!(key.public_key()[..], bytes(&vector["pkRm"]));
            let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
            let (encapsulated, shared) = recipient.encapsulate(&bytes(&vector["ikmE"]).try_into().unwrap());
            assert_eq!(encapsulated[..], bytes(&vector["enc"]));
            assert_eq!(shared.expose()[..], bytes(&vector["shared_secret"]));
            assert!(key.decapsulate(&encapsulated).equals(&shared));

            let psk_id_hash = labeled_hash(&suite, b"psk_id_hash", &[]);
            let schedule = KeySchedule::new(&suite, &psk_id_hash, &shared, &bytes(&vector["info"]));
            assert_eq!(schedule.key.expose()[..], bytes(&vector["key"]));
            assert_eq!(schedule.nonce.expose()[..], bytes(&vector["base_nonce"]));
            assert_eq!(schedule.exporter.secret.expose()[..], bytes(&vector["exporter_secret"]));
            for export in vector["exports"].as_array().unwrap() {
                let value: Secret<[u8; 32]> = schedule.exporter.export(&bytes(&export["exporter_context"]));
                assert_eq!(value.expose()[..], bytes(&export["exported_value"]));
            }
        }
    }
}
