//! Ed25519 (RFC 8032) with the verification rules of ZIP-215, as GRANDPA and `sp_core` use them.
//!
//! Guarantees: a signature has one verdict, singly and in a batch, here and on the chain; other rules ("strict" ones)
//! accept singly what they refuse in a batch, which would let one crafted signature fork two replicas. Signatures are
//! deterministic and need no entropy.
//!
//! ZIP-215 accepts non-canonical points and small orders: an attacker with such a *key* can make one signature fit several
//! messages. Nothing here may rest on "who signed this signed nothing else"; keys that matter are registered beforehand.
//! Public keys, messages and signatures may come from anyone.

use super::VerifyError;
use crate::{entropy::EntropyBuilder, Secret};
use ed25519_zebra::{batch::Verifier, Signature, SigningKey, VerificationKey, VerificationKeyBytes};
use phala_protocol::domain;

/// An Ed25519 secret key: a worker's identity, a gatekeeper's, or a session's.
pub struct IdentityKey(Secret<SigningKey>);

impl IdentityKey {
    /// From the 32-byte seed of RFC 8032.
    pub fn from_seed(seed: &Secret<[u8; 32]>) -> Self {
        Self(Secret::new(SigningKey::from_bytes(seed.expose())))
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        VerificationKeyBytes::from(self.0.expose()).into()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.expose().sign(message).to_bytes()
    }
}

/// Verifies that `public` signed `message`.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), VerifyError> {
    let key = VerificationKey::try_from(*public).map_err(|_| VerifyError::PublicKey)?;
    key.verify(&Signature::from_bytes(signature), message).map_err(|_| VerifyError::Invalid)
}

/// One signature of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Whose.
    pub public: &'a [u8; 32],
    /// Over what.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a [u8; 64],
}

/// Verifies that *all* of `batch` are valid, at about half the cost of one by one; an empty batch is valid.
///
/// On failure the caller asks [`verify`] which ones are bad: the verdicts agree. The batch's coefficients come from
/// `entropy` *and* from the batch itself, so they stay unpredictable to signers even where the entropy is known.
pub fn verify_batch(batch: &[Signed<'_>], entropy: &[u8; 32]) -> Result<(), BatchError> {
    let mut coefficients = EntropyBuilder::new(domain::SIGNATURE_BATCH, entropy);
    let mut verifier = Verifier::new();
    for signed in batch {
        coefficients = coefficients.bind(signed.public).bind(signed.signature).bind(signed.message);
        let signature = Signature::from_bytes(signed.signature);
        verifier.queue((VerificationKeyBytes::from(*signed.public), signature, signed.message));
    }
    verifier.verify(coefficients.finish()).map_err(|_| BatchError::Invalid)
}

/// Why a batch was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// At least one signature is bad.
    #[error("at least one signature of the batch does not verify; verify them one by one")]
    Invalid,
}
