//! FROST for sr25519: the ciphersuite under which holders make the signatures that schnorrkel, and with it every Substrate chain, takes.
//!
//! FROST (RFC 9591) leaves the challenge of the signature to a ciphersuite. Here it is schnorrkel's, a Merlin transcript over signing
//! context, message, key and commitment; all else is that of FROST(ristretto255, SHA-512) under a context string of our own, so that no
//! nonce, binding factor or part of one suite serves the other. The proof of FROST asks of the challenge that it behaves as a random
//! function of commitment, key and message, which is what the transcript is there for.
//!
//! Guarantees: what [`aggregate`](super::aggregate) gives under this suite verifies under `sr25519` as anybody else's signature does (it
//! is checked so each time). Whoever controls message or commitments controls what goes into the transcript, and nothing else.

use frost_core::{Ciphersuite, Field};
use frost_ristretto255::{Ristretto255Sha512, RistrettoGroup, RistrettoScalarField};
use merlin::Transcript;
use phala_crypto::signature::sr25519::CONTEXT;

/// Bytes of a compressed point.
const POINT_BYTES: usize = 32;

type Scalar = <RistrettoScalarField as Field>::Scalar;

/// FROST with schnorrkel's challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schnorrkel;

/// One of FROST's hash functions under this suite's own name: that of the suite whose group this is, over a longer input.
fn named(purpose: &str, message: &[u8]) -> Vec<u8> {
    [Schnorrkel::ID.as_bytes(), purpose.as_bytes(), message].concat()
}

/// The scalar that 64 uniform bytes stand for.
fn reduced(bytes: &[u8; 64]) -> Scalar {
    let canonical = curve25519_dalek::scalar::Scalar::from_bytes_mod_order_wide(bytes).to_bytes();
    // Never another: the bytes were reduced just now.
    RistrettoScalarField::deserialize(&canonical).unwrap_or(RistrettoScalarField::zero())
}

#[allow(non_snake_case, reason = "the names of RFC 9591")]
impl Ciphersuite for Schnorrkel {
    const ID: &'static str = "PHALA-FROST-SCHNORRKEL-v1";

    type Group = RistrettoGroup;
    type HashOutput = <Ristretto255Sha512 as Ciphersuite>::HashOutput;
    type SignatureSerialization = <Ristretto255Sha512 as Ciphersuite>::SignatureSerialization;

    fn H1(message: &[u8]) -> Scalar {
        Ristretto255Sha512::H1(&named("rho", message))
    }

    /// The challenge: `message` is commitment, key and what is signed, one after the other (RFC 9591, section 4.6).
    fn H2(message: &[u8]) -> Scalar {
        let (commitment, rest) = message.split_at_checked(POINT_BYTES).unwrap_or((message, &[]));
        let (key, signed) = rest.split_at_checked(POINT_BYTES).unwrap_or((rest, &[]));
        // schnorrkel 0.11: `signing_context(CONTEXT).bytes(signed)`, then `PublicKey::verify`.
        let mut transcript = Transcript::new(b"SigningContext");
        transcript.append_message(b"", CONTEXT);
        transcript.append_message(b"sign-bytes", signed);
        transcript.append_message(b"proto-name", b"Schnorr-sig");
        transcript.append_message(b"sign:pk", key);
        transcript.append_message(b"sign:R", commitment);
        let mut challenge = [0; 64];
        transcript.challenge_bytes(b"sign:c", &mut challenge);
        reduced(&challenge)
    }

    fn H3(message: &[u8]) -> Scalar {
        Ristretto255Sha512::H3(&named("nonce", message))
    }

    fn H4(message: &[u8]) -> Self::HashOutput {
        Ristretto255Sha512::H4(&named("msg", message))
    }

    fn H5(message: &[u8]) -> Self::HashOutput {
        Ristretto255Sha512::H5(&named("com", message))
    }
}

/// The signature as schnorrkel writes it: a bit says that it is none of Ed25519.
pub(super) fn marked(mut signature: [u8; 64]) -> [u8; 64] {
    signature[63] |= 128;
    signature
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use frost_core::Group;
    use phala_crypto::{signature::sr25519, Secret};

    #[test]
    fn the_challenge_is_schnorrkels() {
        // A signature of schnorrkel's own: s * B = R + c * A, with the challenge of this suite.
        let key = sr25519::AccountKey::from_mini_secret(&Secret::new([7; 32])).unwrap();
        let mut signature = key.sign(b"message", &[1; 32]);
        assert_eq!(sr25519::verify(&key.public(), b"message", &signature), Ok(()));
        signature[63] &= 127;
        let [commitment, response]: [[u8; 32]; 2] =
            [signature[..32].try_into().unwrap(), signature[32..].try_into().unwrap()];
        let challenge = Schnorrkel::H2(&[&commitment[..], &key.public(), b"message"].concat());
        let left = RistrettoGroup::generator() * RistrettoScalarField::deserialize(&response).unwrap();
        let point = |bytes: &[u8; 32]| RistrettoGroup::deserialize(bytes).unwrap();
        assert!(left == point(&commitment) + point(&key.public()) * challenge);
        let other = Schnorrkel::H2(&[&commitment[..], &key.public(), b"another"].concat());
        assert!(left != point(&commitment) + point(&key.public()) * other);
    }

    #[test]
    fn no_hash_is_one_of_the_suite_whose_group_it_shares() {
        let message = b"message";
        assert!(Schnorrkel::H1(message) != Ristretto255Sha512::H1(message));
        assert!(Schnorrkel::H3(message) != Ristretto255Sha512::H3(message));
        assert_ne!(Schnorrkel::H4(message), Ristretto255Sha512::H4(message));
        assert_ne!(Schnorrkel::H5(message), Ristretto255Sha512::H5(message));
    }
}
