//! The set of GRANDPA authorities whose signatures count, and the only rules by which one comes to be.
//!
//! Guarantees that a set is not empty, has at most [`MAX_AUTHORITIES`] distinct keys, each of weight 1, so that "more
//! than two thirds of the keys" is "more than two thirds of the weight". The lists come from genesis state, headers and
//! checkpoints. Does not do: verify that a list belongs to the chain; that is the caller's proof or justification.

use crate::limits::MAX_AUTHORITIES;
use codec::{Compact, Decode};
use std::collections::BTreeSet;

/// An Ed25519 public key of an authority.
pub type AuthorityKey = [u8; 32];

/// A set of authorities and its number in the chain's history, starting at 0 and growing by one with each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthoritySet {
    id: u64,
    keys: Vec<AuthorityKey>,
}

/// Why a list of authorities is not a set; the chain's fault if the list is proven, otherwise the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// Not the encoding of an authority list.
    #[error("authority list is malformed")]
    Malformed,
    /// Nobody could finalise anything.
    #[error("authority list is empty")]
    Empty,
    /// More authorities than [`MAX_AUTHORITIES`].
    #[error("{0} authorities are over the limit")]
    TooMany(usize),
    /// A weight other than 1, which pallet-grandpa never gives.
    #[error("an authority has weight {0}; only weights of 1 are counted")]
    Weight(u64),
    /// The same key twice, which would count one signature as two authorities or two as one.
    #[error("an authority is listed twice")]
    Duplicate,
}

impl AuthoritySet {
    /// Makes a set of weighted keys.
    pub(crate) fn verify(
        id: u64,
        authorities: impl ExactSizeIterator<Item = (AuthorityKey, u64)>,
    ) -> Result<Self, AuthoritiesError> {
        if authorities.len() > MAX_AUTHORITIES {
            return Err(AuthoritiesError::TooMany(authorities.len()));
        }
        let mut keys = Vec::with_capacity(authorities.len());
        let mut seen = BTreeSet::new();
        for (key, weight) in authorities {
            if weight != 1 {
                return Err(AuthoritiesError::Weight(weight));
            }
            if !seen.insert(key) {
                return Err(AuthoritiesError::Duplicate);
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        Ok(Self { id, keys })
    }

    /// Makes a set of the value of `Grandpa::Authorities`: a SCALE `Vec<(key, u64 weight)>`.
    pub(crate) fn verify_encoded(id: u64, value: &[u8]) -> Result<Self, AuthoritiesError> {
        let mut rest = value;
        let Compact(count) = Compact::<u32>::decode(&mut rest).map_err(|_| AuthoritiesError::Malformed)?;
        let count = count as usize;
        if count > MAX_AUTHORITIES {
            return Err(AuthoritiesError::TooMany(count));
        }
        let mut authorities = Vec::with_capacity(count);
        for _ in 0..count {
            authorities.push(<(AuthorityKey, u64)>::decode(&mut rest).map_err(|_| AuthoritiesError::Malformed)?);
        }
        if !rest.is_empty() {
            return Err(AuthoritiesError::Malformed);
        }
        Self::verify(id, authorities.into_iter())
    }

    /// The set's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The keys, in the chain's order.
    pub fn keys(&self) -> &[AuthorityKey] {
        &self.keys
    }

    /// How many distinct keys must sign: more than two thirds of them.
    pub fn threshold(&self) -> usize {
        // `n - (n - 1) / 3` as finality-grandpa has it; the list is bounded, so nothing overflows. Never empty.
        self.keys.len() - self.keys.len().saturating_sub(1) / 3
    }
}
