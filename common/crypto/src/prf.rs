//! A verifiable threshold PRF over Ristretto255: how gatekeepers answer for a root that none of them holds.
//!
//! ```text
//! x   = hash_to_group(domain, data)            RFC 9380 ristretto255_XMD:SHA-512_R255MAP_RO_
//! k_i = share i of k (Shamir, index i >= 1)    P_i = k_i G
//! Z_i = k_i x, with a proof that log_G(P_i) = log_x(Z_i)        (partial)
//! Y   = sum of lambda_i Z_i over any t indices = k x            (combine)
//! key = HKDF-SHA256(Y, PRF_OUTPUT || x)
//! proof (Chaum-Pedersen, Fiat-Shamir): A = r G, B = r x, c = H(PRF_PROOF, i, P_i, x, Z_i, A, B), s = r - c k_i
//! ```
//!
//! Guarantees: `t` verified partials of one input give the same key whichever they are; fewer give nothing (one-more
//! gap Diffie-Hellman, random oracle). A [`VerifiedPartial`] comes from [`verify_partial`] only, and proves that the
//! holder of `P_i`'s share made it for this input. A proof's nonce is derived from share, input and entropy together:
//! bad entropy does not reveal a share. What is multiplied by a share or a nonce takes constant time; verifying does not, as the scalars
//! of a proof are no secret.
//!
//! Encoding a point costs an inverse square root. [`RistrettoPoint::double_and_compress_batch`] encodes the doubles of many points at one
//! inversion for all, so that evaluations and commitments are computed as halves, `(k_i / 2) x`, and encoded together; the input's encoding
//! and `P_i`'s are kept. Halves are of scalars: the group's order is odd. Bytes are those of the definition above, which the tests compute
//! beside it.
//!
//! Does not do: make or hand over shares, decide which inputs may be asked, or check that public shares belong to one root
//! (the chain's record does). Public shares are public inside sealed channels only: with one, a later quantum adversary
//! finds the share. Whoever answers controls partials; whoever asks may choose `data`.

use crate::{kdf, Secret};
use alloc::vec::Vec;
use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
    traits::{Identity, VartimeMultiscalarMul},
};
use phala_protocol::{domain, Domain};
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

mod hash_to_group;

pub use hash_to_group::{hash_to_group, Input};

/// The labels of one use of the construction: proofs and nonces of two uses never serve each other.
pub(crate) struct Labels {
    /// Of a proof's challenge.
    pub(crate) proof: Domain,
    /// Of a proof's nonce.
    pub(crate) nonce: Domain,
}

/// The labels of the PRF that gives epoch keys.
const KEYS: Labels = Labels { proof: domain::PRF_PROOF, nonce: domain::PRF_NONCE };

/// One holder's share of the root, with what every evaluation needs of it.
pub struct KeyShare {
    scalar: Secret<Scalar>,
    /// Twice this is the scalar.
    half: Secret<Scalar>,
    public: PublicShare,
}

impl KeyShare {
    /// A share from its canonical encoding, 32 bytes little-endian. Computes the public share, once for all evaluations.
    pub fn from_bytes(index: u16, scalar: &Secret<[u8; 32]>) -> Result<Self, ShareError> {
        if index == 0 {
            return Err(ShareError::Index);
        }
        let scalar: Option<Scalar> = Scalar::from_canonical_bytes(*scalar.expose()).into();
        let scalar = scalar.filter(|scalar| *scalar != Scalar::ZERO).ok_or(ShareError::Scalar)?;
        let public = PublicShare::of(index, RistrettoPoint::mul_base(&scalar));
        Ok(Self { half: Secret::new(scalar.div_by_2()), scalar: Secret::new(scalar), public })
    }

    /// The index, from 1.
    pub fn index(&self) -> u16 {
        self.public.index
    }

    /// The encoding that [`Self::from_bytes`] reads, for sealing.
    pub fn to_bytes(&self) -> Secret<[u8; 32]> {
        Secret::fill(|bytes| bytes.copy_from_slice(self.scalar.expose().as_bytes()))
    }

    /// What [`verify_partial`] checks this share's partials against.
    pub fn public_share(&self) -> PublicShare {
        self.public
    }

    /// The partial evaluation at `input`, with its proof. `entropy` should be fresh; a constant one is safe.
    pub fn partial(&self, input: &Input, entropy: &[u8; 32]) -> PartialEvaluation {
        self.partial_under(&KEYS, input, entropy)
    }

    /// The partial evaluations at `inputs`, in their order: what [`Self::partial`] gives for each, at less cost together.
    pub fn partials(&self, inputs: &[Input], entropy: &[u8; 32]) -> Vec<PartialEvaluation> {
        let opened: Vec<Opened> = inputs.iter().map(|input| self.open(&KEYS, input, entropy)).collect();
        let encoded = RistrettoPoint::double_and_compress_batch(opened.iter().flat_map(|opened| &opened.halves));
        let (encoded, _) = encoded.as_chunks::<3>();
        let proofs = inputs.iter().zip(&opened).zip(encoded);
        proofs.map(|((input, opened), encoded)| self.close(&KEYS, input, opened, encoded)).collect()
    }

    pub(crate) fn partial_under(&self, labels: &Labels, input: &Input, entropy: &[u8; 32]) -> PartialEvaluation {
        let opened = self.open(labels, input, entropy);
        let encoded = opened.halves.map(|half| (half + half).compress());
        self.close(labels, input, &opened, &encoded)
    }

    /// Evaluates at `input`, and commits to a proof's nonce.
    fn open(&self, labels: &Labels, input: &Input, entropy: &[u8; 32]) -> Opened {
        let share = self.scalar.expose();
        let nonce = hash_to_scalar(
            labels.nonce,
            &[share.as_bytes(), &input.to_bytes(), entropy, &self.public.index.to_le_bytes()],
        );
        let mut half = nonce.div_by_2();
        let halves = [input.point() * self.half.expose(), RistrettoPoint::mul_base(&half), input.point() * half];
        half.zeroize();
        Opened { nonce, halves }
    }

    /// Answers the challenge; `encoded` is the evaluation and the two commitments, whose halves `opened` has.
    fn close(
        &self,
        labels: &Labels,
        input: &Input,
        opened: &Opened,
        encoded: &[CompressedRistretto; 3],
    ) -> PartialEvaluation {
        let [evaluated, first, second] = encoded;
        let challenge = challenge(labels, &self.public, input, evaluated.as_bytes(), [first, second]);
        let response = opened.nonce - challenge * self.scalar.expose();
        let mut proof = [0; 64];
        for (target, byte) in proof.iter_mut().zip(challenge.as_bytes().iter().chain(response.as_bytes())) {
            *target = *byte;
        }
        PartialEvaluation { index: self.public.index, point: evaluated.to_bytes(), proof }
    }
}

/// An evaluation whose proof has its commitments, and no challenge yet.
struct Opened {
    nonce: Scalar,
    /// Of the evaluation, of the nonce's multiple of the base point, and of that of the input.
    halves: [RistrettoPoint; 3],
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.nonce.zeroize();
        self.halves.zeroize();
    }
}

/// The public half of a share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicShare {
    index: u16,
    point: RistrettoPoint,
    /// The point, compressed.
    bytes: [u8; 32],
}

impl PublicShare {
    fn of(index: u16, point: RistrettoPoint) -> Self {
        Self { index, point, bytes: point.compress().to_bytes() }
    }

    /// A public share from its canonical encoding; refuses the identity and index 0.
    pub fn from_bytes(index: u16, bytes: &[u8; 32]) -> Result<Self, ShareError> {
        if index == 0 {
            return Err(ShareError::Index);
        }
        let point = decode_point(bytes).ok_or(ShareError::Point)?;
        // A point has one encoding.
        Ok(Self { index, point, bytes: *bytes })
    }

    /// The index, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The compressed point.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }

    pub(crate) fn point(&self) -> &RistrettoPoint {
        &self.point
    }
}

/// One holder's answer as it travels: an allegation until [`verify_partial`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PartialEvaluation {
    /// The holder's index, from 1.
    pub index: u16,
    /// `k_i x`, compressed.
    pub point: [u8; 32],
    /// Challenge, then response.
    pub proof: [u8; 64],
}

/// A partial evaluation whose proof holds for one public share and one input.
#[derive(Clone)]
pub struct VerifiedPartial {
    index: u16,
    input: [u8; 32],
    point: RistrettoPoint,
}

impl VerifiedPartial {
    /// The holder's index.
    pub fn index(&self) -> u16 {
        self.index
    }
}

/// Verifies that `partial` is the evaluation at `input` by the share behind `public`.
pub fn verify_partial(
    public: &PublicShare,
    input: &Input,
    partial: &PartialEvaluation,
) -> Result<VerifiedPartial, PartialError> {
    verify_partial_under(&KEYS, public, input, partial)
}

pub(crate) fn verify_partial_under(
    labels: &Labels,
    public: &PublicShare,
    input: &Input,
    partial: &PartialEvaluation,
) -> Result<VerifiedPartial, PartialError> {
    if partial.index != public.index {
        return Err(PartialError::Index { named: partial.index, expected: public.index });
    }
    let point = decode_point(&partial.point).ok_or(PartialError::Point)?;
    let claimed = decode_scalar(partial.proof.first_chunk()).ok_or(PartialError::Scalar)?;
    let response = decode_scalar(partial.proof.last_chunk()).ok_or(PartialError::Scalar)?;
    // The scalars of a proof are public, so that variable time tells nothing: it does not depend on points.
    let (half_claimed, half_response) = (claimed.div_by_2(), response.div_by_2());
    let halves = [
        RistrettoPoint::vartime_double_scalar_mul_basepoint(&half_claimed, &public.point, &half_response),
        RistrettoPoint::vartime_multiscalar_mul([half_response, half_claimed], [*input.point(), point]),
    ];
    let encoded = RistrettoPoint::double_and_compress_batch(&halves);
    let [first, second] = encoded.as_slice() else { return Err(PartialError::Proof) };
    // So is the challenge: the comparison need not be in constant time.
    if challenge(labels, public, input, &partial.point, [first, second]) != claimed {
        return Err(PartialError::Proof);
    }
    Ok(VerifiedPartial { index: partial.index, input: input.to_bytes(), point })
}

/// The PRF's output from at least `threshold` partials of different holders at one input; the first `threshold` are used.
pub fn combine(threshold: usize, partials: &[VerifiedPartial]) -> Result<Secret<[u8; 32]>, CombineError> {
    let (mut evaluated, input) = interpolate(threshold, partials)?;
    let mut bytes = evaluated.compress().to_bytes();
    let hkdf = kdf::extract(None, &[&bytes]);
    let label = domain::PRF_OUTPUT.as_bytes();
    let output = kdf::expand(&hkdf, &[&[label.len() as u8], label, &input]);
    bytes.zeroize();
    evaluated.zeroize();
    Ok(output)
}

/// `k x`, and `x` compressed, from at least `threshold` partials of different holders at one input.
pub(crate) fn interpolate(
    threshold: usize,
    partials: &[VerifiedPartial],
) -> Result<(RistrettoPoint, [u8; 32]), CombineError> {
    let used = partials.get(..threshold).ok_or(CombineError::TooFew { have: partials.len(), need: threshold })?;
    let first = used.first().ok_or(CombineError::Threshold)?;
    for (position, partial) in partials.iter().enumerate() {
        if partials.iter().take(position).any(|earlier| earlier.index == partial.index) {
            return Err(CombineError::Duplicate(partial.index));
        }
        if partial.input != first.input {
            return Err(CombineError::Input(partial.index));
        }
    }
    let mut evaluated = RistrettoPoint::identity();
    for partial in used {
        evaluated += partial.point * lagrange_at_zero(partial.index, used.iter().map(VerifiedPartial::index));
    }
    if evaluated == RistrettoPoint::identity() {
        return Err(CombineError::Identity);
    }
    Ok((evaluated, first.input))
}

/// Why bytes are not a share; the fault is whoever stored or sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Index 0 is where the root itself would be.
    #[error("share index is 0; indices start at 1")]
    Index,
    /// Not a canonical scalar, or zero.
    #[error("share is not a canonical scalar other than zero")]
    Scalar,
    /// Not a canonical point, or the identity.
    #[error("public share is not a canonical point other than the identity")]
    Point,
}

/// Why a partial evaluation is not believed; the fault is the holder's, or whoever carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartialError {
    /// Another holder's.
    #[error("partial evaluation names holder {named}, not holder {expected}")]
    Index {
        /// The index that it names.
        named: u16,
        /// The index of the public share.
        expected: u16,
    },
    /// Not a canonical point, or the identity.
    #[error("partial evaluation is not a canonical point other than the identity")]
    Point,
    /// A proof with a scalar that is not canonical.
    #[error("proof holds a scalar that is not canonical")]
    Scalar,
    /// The proof does not hold.
    #[error("proof does not hold for this share, input and point")]
    Proof,
}

/// Why partials give no output; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// A threshold of 0.
    #[error("threshold is 0")]
    Threshold,
    /// Fewer partials than the threshold.
    #[error("{have} partial evaluations are fewer than the threshold of {need}")]
    TooFew {
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// Two partials of one holder.
    #[error("holder {0} appears twice")]
    Duplicate(u16),
    /// A partial of another input.
    #[error("the partial evaluation of holder {0} is for another input")]
    Input(u16),
    /// The shares sum to zero: they are not shares of a root.
    #[error("partial evaluations combine to the identity")]
    Identity,
}

/// The Lagrange coefficient at 0 of `index` among `used`, which are distinct and not 0.
pub(crate) fn lagrange_at_zero(index: u16, used: impl Iterator<Item = u16>) -> Scalar {
    let own = Scalar::from(index);
    let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
    for other in used.filter(|other| *other != index) {
        let other = Scalar::from(other);
        numerator *= other;
        denominator *= other - own;
    }
    // Not zero: indices are distinct and below the group's order.
    numerator * denominator.invert()
}

/// The challenge of a proof; `evaluated` is the evaluation's encoding.
fn challenge(
    labels: &Labels,
    public: &PublicShare,
    input: &Input,
    evaluated: &[u8; 32],
    commitments: [&CompressedRistretto; 2],
) -> Scalar {
    let [first, second] = commitments;
    hash_to_scalar(
        labels.proof,
        &[
            &public.index.to_le_bytes(),
            &public.bytes,
            &input.to_bytes(),
            evaluated,
            first.as_bytes(),
            second.as_bytes(),
        ],
    )
}

/// SHA-512 over `len(label) as u8 || label || parts`, reduced; each caller's parts have fixed lengths, but for the last.
pub(crate) fn hash_to_scalar(domain: Domain, parts: &[&[u8]]) -> Scalar {
    let label = domain.as_bytes();
    let mut hasher = Sha512::new();
    hasher.update([label.len() as u8]);
    hasher.update(label);
    for part in parts {
        hasher.update(part);
    }
    let mut digest: [u8; 64] = hasher.finalize().into();
    let scalar = Scalar::from_bytes_mod_order_wide(&digest);
    digest.zeroize();
    scalar
}

fn decode_point(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress().filter(|point| *point != RistrettoPoint::identity())
}

fn decode_scalar(bytes: Option<&[u8; 32]>) -> Option<Scalar> {
    bytes.and_then(|bytes| Scalar::from_canonical_bytes(*bytes).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    fn scalar(random: &mut StdRng) -> Scalar {
        let mut wide = [0; 64];
        random.fill(&mut wide[..]);
        Scalar::from_bytes_mod_order_wide(&wide)
    }

    /// The challenge as the head of this file defines it, each point encoded by itself.
    fn defined_challenge(labels: &Labels, index: u16, points: [RistrettoPoint; 5]) -> Scalar {
        let encoded = points.map(|point| point.compress().to_bytes());
        hash_to_scalar(labels.proof, &[&index.to_le_bytes(), encoded.as_flattened()])
    }

    /// A partial as the head of this file defines it.
    fn defined(labels: &Labels, index: u16, share: Scalar, input: &Input, entropy: &[u8; 32]) -> PartialEvaluation {
        let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
        let x = *input.point();
        let nonce =
            hash_to_scalar(labels.nonce, &[share.as_bytes(), x.compress().as_bytes(), entropy, &index.to_le_bytes()]);
        let challenge = defined_challenge(labels, index, [share * base, x, share * x, nonce * base, nonce * x]);
        let response = nonce - challenge * share;
        let proof = [challenge.to_bytes(), response.to_bytes()].concat().try_into().unwrap();
        PartialEvaluation { index, point: (share * x).compress().to_bytes(), proof }
    }

    /// Whether a partial holds, by the definition.
    fn defined_holds(
        labels: &Labels,
        index: u16,
        public: RistrettoPoint,
        x: RistrettoPoint,
        partial: &PartialEvaluation,
    ) -> bool {
        let base = curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
        let [claimed, response] = [partial.proof.first_chunk(), partial.proof.last_chunk()].map(decode_scalar);
        let (Some(evaluated), Some(claimed), Some(response)) = (decode_point(&partial.point), claimed, response) else {
            return false;
        };
        let commitments = [response * base + claimed * public, response * x + claimed * evaluated];
        let [first, second] = commitments;
        partial.index == index && defined_challenge(labels, index, [public, x, evaluated, first, second]) == claimed
    }

    #[test]
    fn partials_are_those_of_the_definition_singly_and_together() {
        let random = &mut StdRng::seed_from_u64(11);
        // The least and the greatest share beside others: an odd one and an even one are halved differently.
        let edges = [Scalar::ONE, Scalar::from(2u8), -Scalar::ONE, -Scalar::from(2u8)];
        let drawn: Vec<Scalar> = (0..12).map(|_| scalar(random)).collect();
        for (number, secret) in (1u16..).zip(edges.into_iter().chain(drawn)) {
            let index = number * 4_001;
            let share = KeyShare::from_bytes(index, &Secret::new(secret.to_bytes())).unwrap();
            let point = secret * curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
            assert_eq!(share.public_share().to_bytes(), point.compress().to_bytes());
            assert!(*share.public_share().point() == point && share.index() == index);
            let entropy: [u8; 32] = random.random();
            let inputs: Vec<Input> = (0..usize::from(number % 6))
                .map(|_| hash_to_group(domain::PRF_INPUT, &random.random::<[u8; 20]>()))
                .collect();
            let together = share.partials(&inputs, &entropy);
            assert_eq!(together.len(), inputs.len());
            for (input, partial) in inputs.iter().zip(&together) {
                assert_eq!(input.to_bytes(), input.point().compress().to_bytes());
                assert!(*partial == defined(&KEYS, index, secret, input, &entropy));
                assert!(*partial == share.partial(input, &entropy));
                let verified = verify_partial(&share.public_share(), input, partial).unwrap();
                assert!(verified.input == input.to_bytes() && verified.point.compress().to_bytes() == partial.point);
            }
            let labels = Labels { proof: domain::BEACON_PROOF, nonce: domain::BEACON_NONCE };
            let input = hash_to_group(domain::BEACON_INPUT, &[7]);
            let partial = share.partial_under(&labels, &input, &entropy);
            assert!(partial == defined(&labels, index, secret, &input, &entropy));
            assert!(verify_partial(&share.public_share(), &input, &partial).is_err(), "of another use");
        }
    }

    #[test]
    fn a_partial_is_verified_exactly_when_the_definition_holds() {
        let random = &mut StdRng::seed_from_u64(12);
        let (secret, other) = (scalar(random), scalar(random));
        let [share, stranger] =
            [secret, other].map(|secret| KeyShare::from_bytes(3, &Secret::new(secret.to_bytes())).unwrap());
        let public = share.public_share();
        let inputs = [b"here", b"gone"].map(|data| hash_to_group(domain::PRF_INPUT, data));
        let mut cases: Vec<PartialEvaluation> = share.partials(&inputs, &[1; 32]);
        cases.extend(stranger.partials(&inputs, &[1; 32]));
        for bit in 0..(32 + 64) * 8 {
            let mut altered = share.partial(&inputs[0], &[1; 32]);
            let byte = if bit < 256 { &mut altered.point[bit / 8] } else { &mut altered.proof[bit / 8 - 32] };
            *byte ^= 1 << (bit % 8);
            cases.push(altered);
        }
        // Proofs whose commitments are the identity, or are of it.
        let honest = share.partial(&inputs[0], &[1; 32]);
        for (challenge, response) in [(Scalar::ZERO, Scalar::ZERO), (Scalar::ONE, -secret), (Scalar::ZERO, Scalar::ONE)]
        {
            let proof = [challenge.to_bytes(), response.to_bytes()].concat().try_into().unwrap();
            cases.push(PartialEvaluation { proof, ..honest });
        }
        let mut accepted = 0;
        for input in &inputs {
            for partial in &cases {
                let holds = defined_holds(&KEYS, 3, *public.point(), *input.point(), partial);
                assert_eq!(verify_partial(&public, input, partial).is_ok(), holds);
                accepted += usize::from(holds);
            }
        }
        assert_eq!(accepted, 2, "each of the two that are honest, for its input");
    }
}
