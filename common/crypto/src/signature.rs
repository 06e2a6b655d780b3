//! Signatures: [`sr25519`] of accounts, [`ed25519`] of workers, gatekeepers and sessions.
//!
//! Guarantees: the verdict on a signature is that of the chain (schnorrkel with the context of Substrate, ZIP-215), so
//! that no two zones disagree on one. Signing keys are never used for Diffie-Hellman, and never leave as bytes unless a
//! function says so in its name.
//!
//! Does not do: separate domains. What is signed is a 32-byte hash made with a label of [`phala_protocol::domain`]; the
//! functions here take whatever bytes they get. Public keys, messages and signatures may come from anyone.

pub mod ed25519;
pub mod sr25519;

/// Why a signature was not accepted; the signer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The public key is not the encoding of a point.
    #[error("public key is not the encoding of a point")]
    PublicKey,
    /// The signature is not in its scheme's form.
    #[error("signature is malformed")]
    Malformed,
    /// The signature is not this key's over this message.
    #[error("signature does not verify under this key for this message")]
    Invalid,
}
