//! One polynomial of a dealer - what it commits to and its shares - and every call into frost.
//!
//! ```text
//! commitment = compact(t) | t compressed points (commitments to the coefficients, constant term first) | R (32) | z (32)
//! ```
//! Guarantees: a [`Commitment`] was decoded from exactly the length that its threshold gives, of canonical points other than the
//! identity, and whoever made it for its index knew the constant term. The proof names no chain, era or attempt, nor which of the two
//! keys: who has the index now may commit to what an earlier dealer of that index sent it. It cannot deal shares of that, and is left
//! out: nobody builds on the proof beyond one attempt. What a dealer deals follows from its stream alone.
//! Other dealers control the bytes of commitments and shares. Values cross to the group of [`phala_crypto::prf`] as bytes only: frost
//! brings another version of the same curve.

use super::package::PackageError;
use codec::{Compact, CompactLen, Decode, DecodeAll, Encode};
use frost_ristretto255::{
    keys::{self, dkg, IdentifierList, SecretShare, SigningShare, VerifiableSecretSharingCommitment},
    Field, Identifier, RistrettoScalarField, Signature,
};
use phala_crypto::{entropy::EntropyStream, prf::KeyShare, Secret};
use std::collections::BTreeMap;

/// Bytes of a compressed point, and of a scalar.
const ELEMENT_BYTES: usize = 32;
/// Bytes of a proof of possession.
const PROOF_BYTES: usize = 2 * ELEMENT_BYTES;

/// Bytes of every commitment to a polynomial with this threshold.
pub(super) fn commitment_bytes(threshold: u16) -> usize {
    Compact::<u32>::compact_len(&u32::from(threshold)) + usize::from(threshold) * ELEMENT_BYTES + PROOF_BYTES
}

/// Key generation stopped inside the library: the caller's fault, or entropy that gives zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key generation failed on verified input; the attempt gives this seat no share")]
pub(super) struct Failed;

#[derive(Encode, Decode)]
struct Encoded {
    commitments: Vec<[u8; ELEMENT_BYTES]>,
    proof: [u8; PROOF_BYTES],
}

/// What another dealer commits to, verified.
pub(super) struct Commitment(dkg::round1::Package);

impl Commitment {
    /// Decodes and verifies the commitment of dealer `index`.
    pub(super) fn decode(index: u16, threshold: u16, bytes: &[u8]) -> Result<Self, PackageError> {
        if bytes.len() != commitment_bytes(threshold) {
            return Err(PackageError::Length);
        }
        let encoded = Encoded::decode_all(&mut &bytes[..]).map_err(|_| PackageError::Length)?;
        if encoded.commitments.len() != usize::from(threshold) {
            return Err(PackageError::Length);
        }
        let commitment =
            VerifiableSecretSharingCommitment::deserialize(&encoded.commitments).map_err(|_| PackageError::Element)?;
        let proof = Signature::deserialize(&encoded.proof).map_err(|_| PackageError::Element)?;
        let parsed = dkg::round1::Package::new(commitment, proof);
        verify_possession(index, threshold, &parsed)?;
        Ok(Self(parsed))
    }

    /// Whether `share` is the share of `recipient` on the committed polynomial.
    pub(super) fn fits(&self, recipient: u16, share: &[u8; ELEMENT_BYTES]) -> bool {
        let (Ok(recipient), Ok(share)) = (identifier(recipient), SigningShare::deserialize(share)) else {
            return false;
        };
        SecretShare::new(recipient, share, self.0.commitment().clone()).verify().is_ok()
    }
}

/// A polynomial that is dealt.
pub(super) struct Dealt {
    /// What is committed to it.
    pub(super) commitment: Vec<u8>,
    /// The shares, by index from 1.
    pub(super) shares: Vec<Secret<[u8; ELEMENT_BYTES]>>,
}

/// What an attempt gives a seat of one key.
pub(super) struct Outcome {
    /// Its share.
    pub(super) share: KeyShare,
    /// The public shares of all that took part, by index.
    pub(super) points: BTreeMap<u16, [u8; ELEMENT_BYTES]>,
}

/// Draws the polynomial of dealer `index` and evaluates it at all `seats`. `stream` gives the same stream each time.
///
/// frost hands out shares only in part 2, once every other package is there; a dealer that waited for all packages could be kept
/// from dealing by the one that withholds its own. Its trusted-dealer function draws the same polynomial from the same stream and
/// evaluates it at once. That both committed to the same is checked.
pub(super) fn deal(
    stream: impl Fn() -> EntropyStream,
    index: u16,
    threshold: u16,
    seats: u16,
) -> Result<Dealt, Failed> {
    let (_, package) = dkg::part1(identifier(index)?, seats, threshold, stream()).map_err(|_| Failed)?;
    let (dealt, _) =
        keys::generate_with_dealer(seats, threshold, IdentifierList::Default, stream()).map_err(|_| Failed)?;
    let mut shares = Vec::with_capacity(dealt.len());
    for seat in 1..=seats {
        let share = dealt.get(&identifier(seat)?).ok_or(Failed)?;
        if share.commitment() != package.commitment() {
            return Err(Failed);
        }
        shares.push(secret_element(share.signing_share())?);
    }
    Ok(Dealt { commitment: encode(&package)?, shares })
}

/// The outcome of an attempt for the seat of `index`, of what each other dealer committed to and the share that it gave. Verifies every
/// share against that once more.
pub(super) fn finish(
    stream: EntropyStream,
    index: u16,
    threshold: u16,
    received: &BTreeMap<u16, (&Commitment, &Secret<[u8; ELEMENT_BYTES]>)>,
) -> Result<Outcome, Failed> {
    let participants = u16::try_from(received.len()).ok().and_then(|others| others.checked_add(1)).ok_or(Failed)?;
    let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
    for (dealer, (commitment, share)) in received {
        let share = SigningShare::deserialize(share.expose()).map_err(|_| Failed)?;
        first.insert(identifier(*dealer)?, commitment.0.clone());
        second.insert(identifier(*dealer)?, dkg::round2::Package::new(share));
    }
    // The number of participants enters no coefficient: it is known only now.
    let (secret, _) = dkg::part1(identifier(index)?, participants, threshold, stream).map_err(|_| Failed)?;
    let (secret, _) = dkg::part2(secret, &first).map_err(|_| Failed)?;
    let (key, public) = dkg::part3(&secret, &first, &second).map_err(|_| Failed)?;

    let share = KeyShare::from_bytes(index, &secret_element(key.signing_share())?).map_err(|_| Failed)?;
    let mut points = BTreeMap::new();
    for seat in received.keys().copied().chain([index]) {
        let point = public.verifying_shares().get(&identifier(seat)?).ok_or(Failed)?;
        points.insert(seat, element(&point.serialize().map_err(|_| Failed)?)?);
    }
    Ok(Outcome { share, points })
}

/// Verifies one commitment's proof of possession. Part 2 is where frost does it, for all others at once: here it is told that there is
/// one other dealer, and the secret that it asks for has no content.
fn verify_possession(index: u16, threshold: u16, package: &dkg::round1::Package) -> Result<(), PackageError> {
    let (dealer, other) = (identifier(index), identifier(if index == 1 { 2 } else { 1 }));
    let (Ok(dealer), Ok(other)) = (dealer, other) else { return Err(PackageError::Proof) };
    let nothing = dkg::round1::SecretPackage::new(
        other,
        vec![RistrettoScalarField::zero()],
        package.commitment().clone(),
        threshold,
        2,
    );
    dkg::part2(nothing, &BTreeMap::from([(dealer, package.clone())])).map(drop).map_err(|_| PackageError::Proof)
}

fn encode(package: &dkg::round1::Package) -> Result<Vec<u8>, Failed> {
    let commitments = package.commitment().serialize().map_err(|_| Failed)?;
    let commitments = commitments.iter().map(|point| element(point)).collect::<Result<_, _>>()?;
    let proof = package.proof_of_knowledge().serialize().map_err(|_| Failed)?;
    Ok(Encoded { commitments, proof: proof.try_into().map_err(|_| Failed)? }.encode())
}

fn identifier(index: u16) -> Result<Identifier, Failed> {
    Identifier::try_from(index).map_err(|_| Failed)
}

fn element(bytes: &[u8]) -> Result<[u8; ELEMENT_BYTES], Failed> {
    bytes.try_into().map_err(|_| Failed)
}

fn secret_element(share: &SigningShare) -> Result<Secret<[u8; ELEMENT_BYTES]>, Failed> {
    let bytes = Secret::new(share.serialize());
    Secret::from_slice(bytes.expose()).ok_or(Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_crypto::entropy::EntropyBuilder;
    use phala_protocol::domain;

    fn dealt(seed: u8, index: u16) -> Dealt {
        deal(|| EntropyBuilder::new(domain::CEREMONY_SEED, &[seed; 32]).finish(), index, 3, 4).unwrap()
    }

    fn refused(index: u16, bytes: &[u8]) -> Option<PackageError> {
        Commitment::decode(index, 3, bytes).err()
    }

    #[test]
    fn a_commitment_shows_which_shares_are_right() {
        let dealt = dealt(1, 2);
        assert_eq!(dealt.commitment.len(), commitment_bytes(3));
        assert_eq!(commitment_bytes(67), 2 + 67 * 32 + 64);
        let commitment = Commitment::decode(2, 3, &dealt.commitment).unwrap();
        for (recipient, share) in (1..=4).zip(&dealt.shares) {
            let share = share.expose();
            assert!(commitment.fits(recipient, share));
            assert!(!commitment.fits(recipient % 4 + 1, share) && !commitment.fits(0, share));
            let mut altered = *share;
            altered[0] ^= 1;
            assert!(!commitment.fits(recipient, &altered) && !commitment.fits(recipient, &[0xff; 32]));
        }
        assert_eq!(dealt.shares.len(), 4);
    }

    #[test]
    fn a_stream_deals_the_same_again_and_another_stream_another() {
        assert_eq!(dealt(1, 2).commitment, dealt(1, 2).commitment);
        assert_ne!(dealt(1, 2).commitment, dealt(2, 2).commitment);
        assert!(dealt(1, 2).shares[0].equals(&dealt(1, 2).shares[0]));
    }

    #[test]
    fn a_proof_is_of_an_index_and_of_no_attempt_so_that_shares_decide() {
        let (earlier, now) = (dealt(1, 2), dealt(2, 2));
        let taken_over = Commitment::decode(2, 3, &earlier.commitment).unwrap();
        assert!((1..=4).zip(&now.shares).all(|(recipient, share)| !taken_over.fits(recipient, share.expose())));
        assert_eq!(refused(3, &earlier.commitment), Some(PackageError::Proof));
    }

    #[test]
    fn what_commits_to_no_polynomial_is_refused() {
        let dealt = dealt(1, 2);
        assert_eq!(refused(2, &dealt.commitment), None);
        assert_eq!(refused(1, &dealt.commitment), Some(PackageError::Proof), "another dealer's");
        assert_eq!(refused(3, &dealt.commitment), Some(PackageError::Proof), "another dealer's");
        assert_eq!(refused(0, &dealt.commitment), Some(PackageError::Proof));
        assert_eq!(refused(2, &[]), Some(PackageError::Length));
        assert_eq!(refused(2, &dealt.commitment[1..]), Some(PackageError::Length));
        assert_eq!(refused(2, &[&dealt.commitment[..], &[0]].concat()), Some(PackageError::Length));
        assert_eq!(Commitment::decode(2, 4, &dealt.commitment).err(), Some(PackageError::Length));
        let with = |position: usize, byte: u8, count: usize| {
            let mut bytes = dealt.commitment.clone();
            bytes[position..position + count].fill(byte);
            refused(2, &bytes)
        };
        assert_eq!(with(0, 2 << 2, 1), Some(PackageError::Length), "says another number than there are");
        assert_eq!(with(1, 0, 32), Some(PackageError::Element), "the identity");
        assert_eq!(with(1, 0xff, 32), Some(PackageError::Element));
        assert_eq!(with(97 + 32, 0xff, 32), Some(PackageError::Element), "a scalar that is not canonical");
        let mut bytes = dealt.commitment.clone();
        bytes[97 + 32] ^= 1;
        assert_eq!(refused(2, &bytes), Some(PackageError::Proof));
    }
}
