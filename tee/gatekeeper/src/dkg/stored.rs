//! A seat's view of an attempt as it is sealed.
//!
//! Guarantees: what is restored deals the polynomials that were dealt before, holds to whoever took part, to what it made public and
//! to what it confirmed; packages and shares are verified again. The bytes hold the seed: they are sealed, never sent; what stands
//! between them and a view is wiped, and never grows out of a buffer that is not. The host
//! decides which of its sealed states is restored: see `ceremony.rs` for what an old one can do.

use super::{
    ceremony::{Ceremony, CeremonyError},
    package::{Package, Shares},
};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::Secret;
use phala_protocol::{ceremony::Confirmed, Hash, WorkerId};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};
use zeroize::Zeroize;

/// What a view of this form begins with: one that was sealed when there was a root alone is no view any more.
const FORM: [u8; 8] = *b"view/v2\0";

#[derive(Encode, Decode)]
struct Stored {
    form: [u8; 8],
    genesis: Hash,
    attempt: (u32, u32, u16, u16),
    seats: Vec<WorkerId>,
    seed: [u8; 32],
    roster: BTreeMap<u16, Hash>,
    packages: BTreeMap<u16, Vec<u8>>,
    broken: BTreeSet<u16>,
    /// By dealer. No map: its nodes keep copies of what moved in them.
    shares: Vec<(u16, [[u8; 32]; 2])>,
    answered: BTreeSet<u16>,
    confirmed: Option<Confirmed>,
}

impl Zeroize for Stored {
    fn zeroize(&mut self) {
        self.seed.zeroize();
        self.shares.iter_mut().for_each(|(_, shares)| shares.zeroize());
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl Ceremony {
    /// The bytes to seal.
    pub fn to_secret_bytes(&self) -> Secret<Vec<u8>> {
        let received = &self.received;
        // With its full capacity, so that growing leaves no copy behind.
        let mut shares = Vec::with_capacity(received.shares.len());
        shares.extend(received.shares.iter().map(|(dealer, shares)| (*dealer, shares.to_scalars())));
        let stored = Stored {
            form: FORM,
            genesis: self.genesis,
            attempt: (self.era, self.attempt, self.threshold, self.index),
            seats: self.seats.clone(),
            seed: *self.seed.expose(),
            roster: received.roster.clone(),
            packages: received.packages.iter().map(|(dealer, package)| (*dealer, package.bytes().to_vec())).collect(),
            broken: received.broken.clone(),
            shares,
            answered: self.answered.clone(),
            confirmed: self.confirmed,
        };
        let mut bytes = Vec::with_capacity(stored.encoded_size());
        stored.encode_to(&mut bytes);
        Secret::new(bytes)
    }

    /// A view from unsealed bytes.
    pub fn from_secret_bytes(bytes: &Secret<Vec<u8>>) -> Result<Self, CeremonyError> {
        let mut stored = Stored::decode_all(&mut bytes.expose().as_slice()).map_err(|_| CeremonyError::Malformed)?;
        if stored.form != FORM {
            return Err(CeremonyError::Malformed);
        }
        let seed = Secret::<[u8; 32]>::fill(|bytes| bytes.copy_from_slice(&stored.seed));
        let mut ceremony = Self::resume(stored.genesis, &seed, stored.attempt, take(&mut stored.seats))?;
        for (dealer, bytes) in &stored.packages {
            let package = Package::decode(*dealer, ceremony.threshold, bytes).map_err(|_| CeremonyError::Malformed)?;
            ceremony.received.packages.insert(*dealer, package);
        }
        for (dealer, shares) in &stored.shares {
            let shares = Shares::copied(shares);
            let package = ceremony.received.packages.get(dealer).ok_or(CeremonyError::Malformed)?;
            if !package.fits_secret(ceremony.index, &shares) {
                return Err(CeremonyError::Malformed);
            }
            ceremony.received.shares.insert(*dealer, shares);
        }
        ceremony.received.roster = take(&mut stored.roster);
        ceremony.received.broken = take(&mut stored.broken);
        ceremony.answered = take(&mut stored.answered);
        ceremony.confirmed = stored.confirmed;
        Ok(ceremony)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiping_leaves_neither_seed_nor_shares() {
        let mut stored = Stored {
            form: FORM,
            genesis: [7; 32],
            attempt: (1, 0, 3, 1),
            seats: Vec::new(),
            seed: [1; 32],
            roster: BTreeMap::new(),
            packages: BTreeMap::new(),
            broken: BTreeSet::new(),
            shares: vec![(2, [[2; 32], [4; 32]]), (3, [[3; 32], [5; 32]])],
            answered: BTreeSet::new(),
            confirmed: None,
        };
        stored.zeroize();
        assert_eq!((stored.seed, &stored.shares[..]), ([0; 32], &[(2, [[0; 32]; 2]), (3, [[0; 32]; 2])][..]));
    }
}
