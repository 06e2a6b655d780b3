//! A key in shares (Shamir, CACM 1979): what everyone knows of it, and what one holder has.
//!
//! Guarantees: all public shares of a [`KeyRecord`] and its key lie on one polynomial of a degree below its threshold, so that any
//! threshold of holders has the same key; an [`IdentityShare`] fits its holder's public share. Public shares of an identity are no
//! secret: whoever could invert one could invert the key itself, which is an address. Peers control what is verified here.

use super::group::Group;
use core::marker::PhantomData;
use curve25519_dalek::scalar::Scalar;
use phala_crypto::Secret;
use phala_protocol::ceremony::MAX_SEATS;
use std::collections::BTreeMap;

/// The public side of a shared key.
#[derive(Clone, PartialEq)]
pub struct KeyRecord<G> {
    threshold: u16,
    key: G,
    holders: BTreeMap<u16, G>,
}

/// Verifies that `key` is shared among `holders` - index from 1, public share - with `threshold`.
pub fn verify_key_record<G: Group>(
    threshold: u16,
    key: &[u8; 32],
    holders: &[(u16, [u8; 32])],
) -> Result<KeyRecord<G>, RecordError> {
    if threshold == 0 || usize::from(threshold) > holders.len() || holders.len() > MAX_SEATS {
        return Err(RecordError::Size { threshold, holders: holders.len() });
    }
    let key = G::from_encoding(key).ok_or(RecordError::Key)?;
    let mut points = BTreeMap::new();
    for (index, share) in holders {
        let point = G::from_encoding(share).ok_or(RecordError::Share(*index))?;
        if *index == 0 || points.insert(*index, point).is_some() {
            return Err(RecordError::Index(*index));
        }
    }
    let record = KeyRecord { threshold, key, holders: points };
    // A threshold of shares decides the polynomial; the key and all further shares must be on it.
    let (indices, shares): (Vec<u16>, Vec<G>) =
        record.holders.iter().take(threshold.into()).map(|(index, share)| (*index, *share)).unzip();
    let at = |index: u16| G::vartime_multiscalar_mul(&lagrange(&indices, index), &shares);
    if at(0) != record.key {
        return Err(RecordError::Inconsistent(0));
    }
    for (index, share) in record.holders.iter().skip(threshold.into()) {
        if at(*index) != *share {
            return Err(RecordError::Inconsistent(*index));
        }
    }
    Ok(record)
}

impl<G: Group> KeyRecord<G> {
    /// Holders that it takes to use the key.
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The public key, encoded.
    pub fn key(&self) -> [u8; 32] {
        self.key.to_encoding()
    }

    /// Each holder's index and public share, ascending.
    pub fn holders(&self) -> Vec<(u16, [u8; 32])> {
        self.holders.iter().map(|(index, share)| (*index, share.to_encoding())).collect()
    }

    /// A holder's public share, encoded.
    pub fn encoded_share(&self, index: u16) -> Option<[u8; 32]> {
        self.holders.get(&index).map(G::to_encoding)
    }

    pub(super) fn point(&self) -> &G {
        &self.key
    }

    pub(super) fn public_share(&self, index: u16) -> Option<&G> {
        self.holders.get(&index)
    }

    /// The record of the key that is `offset` away from this one, and whose holders added it to their shares: the same polynomial, moved.
    pub(super) fn shifted(&self, offset: &Scalar) -> Self {
        let by = G::base_times(offset);
        let holders = self.holders.iter().map(|(index, share)| (*index, *share + by)).collect();
        Self { threshold: self.threshold, key: self.key + by, holders }
    }

    /// Whether key and public shares are such as [`verify_key_record`] takes.
    pub(super) fn has_no_identity(&self) -> bool {
        self.key != G::identity() && self.holders.values().all(|share| *share != G::identity())
    }

    /// The record of the key that `commitments` commit the polynomial of, for holders 1 to `holders`.
    pub(super) fn of_polynomial(commitments: &[G], threshold: u16, holders: u16) -> Option<Self> {
        let key = *commitments.first()?;
        let holders = (1..=holders).map(|index| (index, evaluate(commitments, index))).collect();
        Some(Self { threshold, key, holders })
    }
}

/// One holder's share of a key in `G`.
pub struct IdentityShare<G> {
    index: u16,
    scalar: Secret<Scalar>,
    group: PhantomData<G>,
}

/// A share from its canonical encoding, 32 bytes little-endian, if it is the one of `index` in `record`.
pub fn open_share<G: Group>(
    record: &KeyRecord<G>,
    index: u16,
    bytes: &Secret<[u8; 32]>,
) -> Result<IdentityShare<G>, ShareError> {
    let public = record.public_share(index).ok_or(ShareError::NoSuchHolder(index))?;
    let scalar: Option<Scalar> = Scalar::from_canonical_bytes(*bytes.expose()).into();
    let share = IdentityShare::of(index, Secret::new(scalar.ok_or(ShareError::Scalar)?));
    if share.public() != *public {
        return Err(ShareError::Mismatch(index));
    }
    Ok(share)
}

impl<G: Group> IdentityShare<G> {
    pub(super) fn of(index: u16, scalar: Secret<Scalar>) -> Self {
        Self { index, scalar, group: PhantomData }
    }

    /// The holder's index, from 1.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// The encoding that [`open_share`] reads, for sealing.
    pub fn to_bytes(&self) -> Secret<[u8; 32]> {
        Secret::fill(|bytes| bytes.copy_from_slice(self.scalar.expose().as_bytes()))
    }

    pub(super) fn scalar(&self) -> &Secret<Scalar> {
        &self.scalar
    }

    pub(super) fn public(&self) -> G {
        G::base_times(self.scalar.expose())
    }
}

/// The weights by which values at `indices`, which are distinct, give the polynomial's value at `at` (Lagrange).
pub(super) fn lagrange(indices: &[u16], at: u16) -> Vec<Scalar> {
    let at = Scalar::from(at);
    let weight = |own: &u16| {
        let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
        for other in indices.iter().filter(|other| *other != own) {
            let other = Scalar::from(*other);
            numerator *= at - other;
            denominator *= Scalar::from(*own) - other;
        }
        // Not zero: indices are distinct and below the group's order.
        numerator * denominator.invert()
    };
    indices.iter().map(weight).collect()
}

/// What `commitments`, to the coefficients of a polynomial (Feldman, FOCS 1987), commit to its value at `index`.
pub(super) fn evaluate<G: Group>(commitments: &[G], index: u16) -> G {
    let at = Scalar::from(index);
    let powers: Vec<Scalar> =
        core::iter::successors(Some(Scalar::ONE), |power| Some(power * at)).take(commitments.len()).collect();
    G::vartime_multiscalar_mul(&powers, commitments)
}

/// Why a record is not of one key; the fault is whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A threshold of 0 or above the number of holders, or more holders than seats can be.
    #[error("identity record has a threshold of {threshold} for {holders} holders")]
    Size {
        /// The threshold.
        threshold: u16,
        /// How many holders there are.
        holders: usize,
    },
    /// The key is not a point of prime order.
    #[error("identity's key is not a canonical point of prime order")]
    Key,
    /// A public share is not a point of prime order.
    #[error("public share of holder {0} is not a canonical point of prime order")]
    Share(u16),
    /// Index 0, or one that is there twice.
    #[error("index {0} of the identity record is 0 or appears twice")]
    Index(u16),
    /// This holder's share (0: the key) is not on the polynomial of the others.
    #[error("public share of holder {0} is not of the same key as the others")]
    Inconsistent(u16),
}

/// Why bytes are not a holder's share; the fault is whoever stored or sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The index holds no share.
    #[error("index {0} holds no share of this identity")]
    NoSuchHolder(u16),
    /// Not a canonical scalar.
    #[error("share is not a canonical scalar")]
    Scalar,
    /// Another scalar than the public share's.
    #[error("share does not fit the public share of holder {0}")]
    Mismatch(u16),
}
