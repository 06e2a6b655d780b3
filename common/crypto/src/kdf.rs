//! Key derivation (HKDF-SHA256, RFC 5869) and keyed commitments (HMAC-SHA256, RFC 2104).
//!
//! Guarantees: a derived key depends on its parent, on one label of [`phala_protocol::domain`] and on the context, and a
//! label and a context cannot be traded for each other (the label's length comes first). Commitments hide what they
//! commit as long as the key stays secret, and bind it.
//!
//! Parents must already be uniform 32-byte secrets: this is no password hash. Contexts may come from anywhere; a context
//! with more than one part is one SCALE value.

use crate::Secret;
use codec::Encode;
use hkdf::{Hkdf, HkdfExtract};
use hmac::{Hmac, KeyInit, Mac};
use phala_protocol::{Domain, Hash};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// The most bytes that HKDF-SHA256 gives: 255 blocks of 32.
pub(crate) const MAX_EXPAND_BYTES: usize = 255 * 32;

/// Derives `N` bytes: HKDF-SHA256 with no salt and info `len(label) as u8 || label || context`.
///
/// More than 8,160 bytes do not compile.
pub fn derive<const N: usize>(parent: &Secret<[u8; 32]>, domain: Domain, context: &[u8]) -> Secret<[u8; N]> {
    Parent::new(parent).derive(domain, context)
}

/// As [`derive()`], for a context that is the SCALE encoding of `context`.
pub fn derive_for<const N: usize>(
    parent: &Secret<[u8; 32]>,
    domain: Domain,
    context: &(impl Encode + ?Sized),
) -> Secret<[u8; N]> {
    Parent::new(parent).derive_for(domain, context)
}

/// A parent that many keys are derived of: what is the same for all of them is computed once. Wiped when dropped; the
/// pseudorandom key it is made of is wiped when it is made.
pub struct Parent(Hkdf<Sha256>);

impl Parent {
    /// Prepares `parent`.
    pub fn new(parent: &Secret<[u8; 32]>) -> Self {
        Self(extract(None, &[parent.expose()]))
    }

    /// What [`derive()`] gives.
    pub fn derive<const N: usize>(&self, domain: Domain, context: &[u8]) -> Secret<[u8; N]> {
        debug_assert!(domain.derives(), "{} is not listed as a label that derives, with a vector", domain.as_str());
        let label = domain.as_bytes();
        expand(&self.0, &[&[label.len() as u8], label, context])
    }

    /// What [`derive_for()`] gives.
    pub fn derive_for<const N: usize>(&self, domain: Domain, context: &(impl Encode + ?Sized)) -> Secret<[u8; N]> {
        context.using_encoded(|bytes| self.derive(domain, bytes))
    }
}

/// Commits to `data` under `key`: HMAC-SHA256 over `len(label) as u8 || label || data`.
///
/// What the chain sees of an internal root: without the key nobody can test guesses of small states.
pub fn hmac_commit(key: &Secret<[u8; 32]>, domain: Domain, data: &[u8]) -> Hash {
    let label = domain.as_bytes();
    let mut mac = hmac(key.expose());
    mac.update(&[label.len() as u8]);
    mac.update(label);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Whether `commitment` is [`hmac_commit`] of `data`, in time that does not depend on where they differ.
pub fn verify_hmac(key: &Secret<[u8; 32]>, domain: Domain, data: &[u8], commitment: &Hash) -> bool {
    hmac_commit(key, domain, data).ct_eq(commitment).into()
}

/// HKDF-Extract, of the concatenated parts of `input`, ready for as many expansions as follow. The bare pseudorandom key is wiped, which `Hkdf::new` does not do.
pub(crate) fn extract(salt: Option<&[u8]>, input: &[&[u8]]) -> Hkdf<Sha256> {
    let mut context = HkdfExtract::<Sha256>::new(salt);
    for part in input {
        context.input_ikm(part);
    }
    let (mut pseudorandom, hkdf) = context.finalize();
    Zeroize::zeroize(&mut pseudorandom[..]);
    hkdf
}

/// HKDF-Expand into a secret of `N` bytes; the parts of `info` are concatenated.
#[expect(clippy::expect_used, reason = "expansion fails above 8,160 bytes only, and such an N does not compile")]
pub(crate) fn expand<const N: usize>(hkdf: &Hkdf<Sha256>, info: &[&[u8]]) -> Secret<[u8; N]> {
    const { assert!(N <= MAX_EXPAND_BYTES, "HKDF-SHA256 gives at most 8,160 bytes") };
    Secret::fill(|output| hkdf.expand_multi_info(info, output).expect("N is within bounds"))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104, section 3)")]
pub(crate) fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::domain;

    fn parent(byte: u8) -> Secret<[u8; 32]> {
        Secret::new([byte; 32])
    }

    #[test]
    fn derived_keys_differ_by_parent_label_and_context() {
        let base: Secret<[u8; 32]> = derive(&parent(1), domain::EPOCH_STORAGE, b"x");
        assert!(base.equals(&derive(&parent(1), domain::EPOCH_STORAGE, b"x")));
        assert!(!base.equals(&derive(&parent(2), domain::EPOCH_STORAGE, b"x")));
        assert!(!base.equals(&derive(&parent(1), domain::EPOCH_COMMIT, b"x")));
        assert!(!base.equals(&derive(&parent(1), domain::EPOCH_STORAGE, b"y")));
        assert!(!base.equals(&derive(&parent(1), domain::EPOCH_STORAGE, b"")));
    }

    #[test]
    fn context_values_are_their_encoding() {
        let value: Secret<[u8; 48]> = derive_for(&parent(1), domain::EPOCH_STORAGE, &(1u32, [2u8; 3]));
        assert!(value.equals(&derive(&parent(1), domain::EPOCH_STORAGE, &[1, 0, 0, 0, 2, 2, 2])));
    }

    /// Against the RFC's steps by HMAC, none of which is shared.
    #[test]
    fn keys_of_a_prepared_parent_are_those_of_a_new_one_each() {
        let prepared = Parent::new(&parent(1));
        for sequence in [0u64, 1, 7, 1, u64::MAX] {
            let one: Secret<[u8; 48]> = prepared.derive_for(domain::REPLY_SALT, &sequence);
            assert!(one.equals(&derive_for(&parent(1), domain::REPLY_SALT, &sequence)));
            assert!(one.equals(&derive(&parent(1), domain::REPLY_SALT, &sequence.to_le_bytes())));
            let mut extract = hmac(&[0; 32]);
            extract.update(parent(1).expose());
            let extracted: Hash = extract.finalize().into_bytes().into();
            let label = domain::REPLY_SALT.as_bytes();
            let block = |before: &[u8], number: u8| -> Hash {
                let mut next = hmac(&extracted);
                next.update(before);
                next.update(&[label.len() as u8]);
                next.update(label);
                next.update(&sequence.to_le_bytes());
                next.update(&[number]);
                next.finalize().into_bytes().into()
            };
            let first = block(&[], 1);
            assert_eq!(one.expose()[..32], first);
            assert_eq!(one.expose()[32..], block(&first, 2)[..16]);
        }
        let other: Secret<[u8; 48]> = prepared.derive_for(domain::REPLY_SALT, &2u64);
        assert!(!other.equals(&prepared.derive_for(domain::REPLY_SALT, &3u64)));
    }

    #[test]
    fn commitments_bind_key_label_and_data() {
        let commitment = hmac_commit(&parent(1), domain::COMMITMENT, b"root");
        assert!(verify_hmac(&parent(1), domain::COMMITMENT, b"root", &commitment));
        assert!(!verify_hmac(&parent(2), domain::COMMITMENT, b"root", &commitment));
        assert!(!verify_hmac(&parent(1), domain::REPLY, b"root", &commitment));
        assert!(!verify_hmac(&parent(1), domain::COMMITMENT, b"roof", &commitment));
    }

    /// RFC 5869, appendix A.3 (no salt, no info): the library's HKDF is the RFC's.
    #[test]
    fn expansion_is_rfc_5869() {
        let output: Secret<[u8; 42]> = expand(&extract(None, &[&[0x0b; 10], &[0x0b; 12]]), &[]);
        let expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
        assert_eq!(hex::encode(output.expose()), expected);
    }
}
