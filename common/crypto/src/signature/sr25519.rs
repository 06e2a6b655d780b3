//! sr25519: Schnorr signatures over Ristretto, as Substrate's accounts make them (schnorrkel, signing context
//! `substrate`).
//!
//! Guarantees: [`verify`] gives the verdict of `sp_core::sr25519` (tested against it). [`AccountKey`] opens every secret
//! form that polkadot.js exports. Nonces are derived from key, message and the caller's entropy together, so a signature
//! stays safe when the entropy is bad, and two signatures differ when it is good.
//!
//! Public keys, messages and signatures may come from anyone.

use super::VerifyError;
use crate::{entropy::EntropyBuilder, Secret};
use alloc::vec::Vec;
use phala_protocol::domain;
use schnorrkel::{context::attach_rng, signing_context, ExpansionMode, Keypair, MiniSecretKey, PublicKey, Signature};
use zeroize::Zeroize;

/// The signing context of every Substrate chain.
pub const CONTEXT: &[u8] = b"substrate";
/// What wallets put around bytes that are not an extrinsic.
const WRAP: (&[u8], &[u8]) = (b"<Bytes>", b"</Bytes>");

/// An account's secret key.
pub struct AccountKey(Secret<Keypair>);

impl AccountKey {
    /// From the 32-byte mini secret (a polkadot.js "seed"), expanded as Substrate does.
    pub fn from_mini_secret(mini: &Secret<[u8; 32]>) -> Result<Self, KeyError> {
        let mini = MiniSecretKey::from_bytes(mini.expose()).map_err(|_| KeyError::Scalar)?;
        Ok(Self(Secret::new(mini.expand_to_keypair(ExpansionMode::Ed25519))))
    }

    /// From the 64-byte expanded form that polkadot.js keeps in its key files: the scalar times eight, then the nonce seed.
    ///
    /// The same key in the form of `sp_core` (the scalar itself) is refused, as a scalar that is no multiple of eight.
    /// One scalar in eight passes by chance as the other form of another key: check [`Self::public`] against the file.
    pub fn from_polkadot_js(expanded: &Secret<[u8; 64]>) -> Result<Self, KeyError> {
        let secret = schnorrkel::SecretKey::from_ed25519_bytes(expanded.expose()).map_err(|_| KeyError::Scalar)?;
        let key = Self(Secret::new(secret.to_keypair()));
        if key.to_polkadot_js().equals(expanded) {
            Ok(key)
        } else {
            Err(KeyError::Form)
        }
    }

    /// The form that [`Self::from_polkadot_js`] reads: what goes, encrypted, into a key file.
    pub fn to_polkadot_js(&self) -> Secret<[u8; 64]> {
        let mut bytes = self.0.expose().secret.to_ed25519_bytes();
        let secret = Secret::fill(|secret| secret.copy_from_slice(&bytes));
        bytes.zeroize();
        secret
    }

    /// The account's id.
    pub fn public(&self) -> [u8; 32] {
        self.0.expose().public.to_bytes()
    }

    /// Signs `message`. `entropy` makes signatures unlinkable to the message alone; a constant one is safe.
    pub fn sign(&self, message: &[u8], entropy: &[u8; 32]) -> [u8; 64] {
        let transcript = signing_context(CONTEXT).bytes(message);
        let stream = EntropyBuilder::new(domain::SIGNATURE_NONCE, entropy).finish();
        self.0.expose().sign(attach_rng(transcript, stream)).to_bytes()
    }
}

/// Verifies that the account `public` signed `message`.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), VerifyError> {
    let public = PublicKey::from_bytes(public).map_err(|_| VerifyError::PublicKey)?;
    let signature = Signature::from_bytes(signature).map_err(|_| VerifyError::Malformed)?;
    public.verify_simple(CONTEXT, message, &signature).map_err(|_| VerifyError::Invalid)
}

/// Verifies that the account `public` signed `message`, itself or inside `<Bytes>` and `</Bytes>`, and says which.
///
/// Browser wallets refuse to sign bare bytes, which might be an extrinsic, and sign them wrapped. This is a *second*
/// attempt with its own message, never a looser check of the first. It is sound for the 32-byte hashes that we sign: no
/// wrapped message is 32 bytes that are a hash of ours, so neither form can stand for another message's.
pub fn verify_wallet(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<SignedForm, VerifyError> {
    match verify(public, message, signature) {
        Ok(()) => Ok(SignedForm::Bare),
        Err(VerifyError::Invalid) => verify(public, &wrap(message), signature).map(|()| SignedForm::Wrapped),
        Err(error) => Err(error),
    }
}

/// What an account is said to have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The account's id.
    pub public: [u8; 32],
    /// What it signed.
    pub message: [u8; 32],
    /// By what it is said to have signed it.
    pub signature: [u8; 64],
}

/// Whether [`verify`] accepts every one of `claims`, in less than half the time that asking it of each takes.
///
/// False says only that one of them is refused. The coefficients of the batch equation are drawn from a hash of all claims whole -
/// schnorrkel's own deterministic ones leave out half of each signature, so that two bad ones could be made to cancel - and so
/// the answer is the same on every machine, and wrong with a probability of 2^-128 for each set of claims that somebody tries.
pub fn verify_all(claims: &[Claim]) -> bool {
    let mut parsed = Vec::with_capacity(claims.len());
    let mut seed = EntropyBuilder::new(domain::ACCOUNT_BATCH, &[0; 32]);
    for claim in claims {
        seed = seed.bind(&claim.public).bind(&claim.message).bind(&claim.signature);
        match (PublicKey::from_bytes(&claim.public), Signature::from_bytes(&claim.signature)) {
            (Ok(public), Ok(signature)) => parsed.push((public, signature)),
            _ => return false,
        }
    }
    let (publics, signatures): (Vec<_>, Vec<_>) = parsed.into_iter().unzip();
    let context = signing_context(CONTEXT);
    let transcripts = claims.iter().map(|claim| context.bytes(&claim.message));
    schnorrkel::verify_batch_rng(transcripts, &signatures, &publics, false, seed.finish()).is_ok()
}

/// `message` as a browser wallet signs it.
pub fn wrap(message: &[u8]) -> Vec<u8> {
    [WRAP.0, message, WRAP.1].concat()
}

/// In which form a message was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedForm {
    /// The bytes themselves: a key file or a hardware wallet.
    Bare,
    /// Between `<Bytes>` and `</Bytes>`: a browser wallet.
    Wrapped,
}

/// Why bytes are not a secret key; the fault is the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The scalar is out of range.
    #[error("secret key holds a scalar out of range")]
    Scalar,
    /// The scalar is no multiple of eight.
    #[error("secret key is not in the form of polkadot.js, whose scalar is a multiple of eight")]
    Form,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use curve25519_dalek::scalar::Scalar;

    fn claim(number: u8) -> Claim {
        let key = AccountKey::from_mini_secret(&Secret::new([number; 32])).unwrap();
        let message = [number ^ 0x55; 32];
        Claim { public: key.public(), message, signature: key.sign(&message, &[number; 32]) }
    }

    #[test]
    fn a_batch_holds_exactly_when_each_of_it_does() {
        let good: Vec<Claim> = (1..40).map(claim).collect();
        assert!(verify_all(&good) && verify_all(&[]));
        for (index, at) in [(0, 0), (7, 31), (12, 32), (38, 63), (20, 40)] {
            for edit in [
                (|claim, at| claim.signature[at] ^= 1) as fn(&mut Claim, usize),
                |claim, at| claim.message[at % 32] ^= 1,
                |claim, at| claim.public[at % 32] ^= 1,
                |claim, _| claim.signature = super::tests::claim(99).signature,
            ] {
                let mut claims = good.clone();
                edit(&mut claims[index], at);
                let alone = verify(&claims[index].public, &claims[index].message, &claims[index].signature);
                assert!(alone.is_err() && !verify_all(&claims), "{index} {at}");
            }
        }
    }

    /// Two signatures whose errors cancel in a plain sum.
    #[test]
    fn bad_signatures_do_not_cancel() {
        let mut claims = vec![claim(1), claim(2), claim(3)];
        let shift = |claim: &mut Claim, by: Scalar| {
            let mut scalar: [u8; 32] = claim.signature[32..].try_into().unwrap();
            // The highest bit marks the scheme, and is no part of the number.
            scalar[31] &= 0x7f;
            let sum = Scalar::from_canonical_bytes(scalar).unwrap() + by;
            claim.signature[32..].copy_from_slice(sum.as_bytes());
            claim.signature[63] |= 0x80;
        };
        shift(&mut claims[0], Scalar::ONE);
        shift(&mut claims[1], -Scalar::ONE);
        assert!(!verify_all(&claims));
        shift(&mut claims[0], -Scalar::ONE);
        shift(&mut claims[1], Scalar::ONE);
        assert!(verify_all(&claims), "the shift is what broke it");
    }

    #[test]
    fn a_wrapped_signature_is_no_bare_one_in_a_batch_either() {
        let key = AccountKey::from_mini_secret(&Secret::new([5; 32])).unwrap();
        let message = [6; 32];
        let wrapped = Claim { public: key.public(), message, signature: key.sign(&wrap(&message), &[0; 32]) };
        assert!(!verify_all(&[claim(1), wrapped]));
        assert_eq!(verify_wallet(&wrapped.public, &message, &wrapped.signature), Ok(SignedForm::Wrapped));
    }
}
