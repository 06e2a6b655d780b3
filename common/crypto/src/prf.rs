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
//! bad entropy does not reveal a share.
//!
//! Does not do: make or hand over shares, decide which inputs may be asked, or check that public shares belong to one root
//! (the chain's record does). Public shares are public inside sealed channels only: with one, a later quantum adversary
//! finds the share. Whoever answers controls partials; whoever asks may choose `data`.

use crate::{kdf, Secret};
use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
    traits::Identity,
};
use hkdf::Hkdf;
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

/// One holder's share of the root.
pub struct KeyShare {
    index: u16,
    scalar: Secret<Scalar>,
}

impl KeyShare {
    /// A share from its canonical encoding, 32 bytes little-endian.
    pub fn from_bytes(index: u16, scalar: &Secret<[u8; 32]>) -> Result<Self, ShareError> {
        if index == 0 {
            return Err(ShareError::Index);
        }
        let scalar: Option<Scalar> = Scalar::from_canonical_bytes(*scalar.expose()).into();
        let scalar = scalar.filter(|scalar| *scalar != Scalar::ZERO).ok_or(ShareError::Scalar)?;
        Ok(Self { index, scalar: Secret::new(scalar) })
    }

    /// The index, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The encoding that [`Self::from_bytes`] reads, for sealing.
    pub fn to_bytes(&self) -> Secret<[u8; 32]> {
        Secret::fill(|bytes| bytes.copy_from_slice(self.scalar.expose().as_bytes()))
    }

    /// What [`verify_partial`] checks this share's partials against.
    pub fn public_share(&self) -> PublicShare {
        PublicShare { index: self.index, point: RistrettoPoint::mul_base(self.scalar.expose()) }
    }

    /// The partial evaluation at `input`, with its proof. `entropy` should be fresh; a constant one is safe.
    pub fn partial(&self, input: &Input, entropy: &[u8; 32]) -> PartialEvaluation {
        self.partial_under(&KEYS, input, entropy)
    }

    pub(crate) fn partial_under(&self, labels: &Labels, input: &Input, entropy: &[u8; 32]) -> PartialEvaluation {
        let share = self.scalar.expose();
        let public = self.public_share();
        let evaluated = input.point() * share;
        let mut nonce =
            hash_to_scalar(labels.nonce, &[share.as_bytes(), &input.to_bytes(), entropy, &self.index.to_le_bytes()]);
        let commitments = [RistrettoPoint::mul_base(&nonce), input.point() * nonce];
        let challenge = challenge(labels, &public, input, &evaluated, &commitments);
        let response = nonce - challenge * share;
        nonce.zeroize();
        let mut proof = [0; 64];
        for (target, byte) in proof.iter_mut().zip(challenge.as_bytes().iter().chain(response.as_bytes())) {
            *target = *byte;
        }
        PartialEvaluation { index: self.index, point: evaluated.compress().to_bytes(), proof }
    }
}

/// The public half of a share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicShare {
    index: u16,
    point: RistrettoPoint,
}

impl PublicShare {
    /// A public share from its canonical encoding; refuses the identity and index 0.
    pub fn from_bytes(index: u16, point: &[u8; 32]) -> Result<Self, ShareError> {
        if index == 0 {
            return Err(ShareError::Index);
        }
        let point = decode_point(point).ok_or(ShareError::Point)?;
        Ok(Self { index, point })
    }

    /// The index, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The compressed point.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.point.compress().to_bytes()
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
    let commitments =
        [RistrettoPoint::mul_base(&response) + public.point * claimed, input.point() * response + point * claimed];
    // Challenge and commitments are public: the comparison need not be in constant time.
    if challenge(labels, public, input, &point, &commitments) != claimed {
        return Err(PartialError::Proof);
    }
    Ok(VerifiedPartial { index: partial.index, input: input.to_bytes(), point })
}

/// The PRF's output from at least `threshold` partials of different holders at one input; the first `threshold` are used.
pub fn combine(threshold: usize, partials: &[VerifiedPartial]) -> Result<Secret<[u8; 32]>, CombineError> {
    let (mut evaluated, input) = interpolate(threshold, partials)?;
    let mut bytes = evaluated.compress().to_bytes();
    let hkdf = Hkdf::new(None, &bytes);
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

fn challenge(
    labels: &Labels,
    public: &PublicShare,
    input: &Input,
    evaluated: &RistrettoPoint,
    commitments: &[RistrettoPoint; 2],
) -> Scalar {
    let [first, second] = commitments;
    hash_to_scalar(
        labels.proof,
        &[
            &public.index.to_le_bytes(),
            &public.to_bytes(),
            &input.to_bytes(),
            evaluated.compress().as_bytes(),
            first.compress().as_bytes(),
            second.compress().as_bytes(),
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
