//! Dealers and holders as they are sealed.
//!
//! Guarantees: what is restored deals the polynomials that were dealt before, holds to who dealt, to what it made public and to what it confirmed;
//! packages and shares are verified again, and nothing is restored into another attempt. The bytes hold seed and shares: they are sealed, never
//! sent; what stands between them and a view is wiped, and never grows out of a buffer that is not. The host decides which of its
//! sealed states is restored: an older one of the same attempt costs what arrived since. Of a seed that is older than the ceremony the
//! record says that it is not this gatekeeper's.

use super::{attempt::ShareBytes, CeremonyError, Dealer, Holder};
use crate::identity::{IdentityShares, IDENTITY_SHARE_BYTES};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::Secret;
use phala_protocol::{
    identities::{IdentityCeremonyRecord, IdentityRecord},
    Hash, WorkerId,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};
use zeroize::Zeroize;

/// What a dealer of this form begins with.
const DEALER: [u8; 8] = *b"deals/1\0";
/// What a holder of this form begins with.
const HOLDER: [u8; 8] = *b"holds/1\0";

/// Era, attempt, index, and the hash of what is handed over.
type Place = (u32, u32, u16, Option<Hash>);

#[derive(Encode, Decode)]
struct StoredDealer {
    form: [u8; 8],
    place: Place,
    seed: [u8; 32],
    answered: BTreeSet<u16>,
}

#[derive(Encode, Decode)]
struct StoredHolder {
    form: [u8; 8],
    place: Place,
    roster: BTreeMap<u16, Hash>,
    packages: BTreeMap<u16, Vec<u8>>,
    broken: BTreeSet<u16>,
    /// By dealer. No map: its nodes keep copies of what moved in them.
    shares: Vec<(u16, [u8; IDENTITY_SHARE_BYTES])>,
    confirmed: Option<Hash>,
}

impl Drop for StoredDealer {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl Zeroize for StoredHolder {
    fn zeroize(&mut self) {
        self.shares.iter_mut().for_each(|(_, shares)| shares.zeroize());
    }
}

impl Drop for StoredHolder {
    fn drop(&mut self) {
        self.zeroize();
    }
}

fn encoded(stored: &impl Encode) -> Secret<Vec<u8>> {
    let mut bytes = Vec::with_capacity(stored.encoded_size());
    stored.encode_to(&mut bytes);
    Secret::new(bytes)
}

impl Dealer {
    /// The bytes to seal.
    pub fn to_secret_bytes(&self) -> Secret<Vec<u8>> {
        let (era, attempt) = self.attempt();
        encoded(&StoredDealer {
            form: DEALER,
            place: (era, attempt, self.index, self.attempt.former),
            seed: *self.seed.expose(),
            answered: self.dealt.answered().clone(),
        })
    }

    /// A dealer from unsealed bytes, in the attempt that `record` is of: see [`Dealer::begin`].
    pub fn from_secret_bytes(
        bytes: &Secret<Vec<u8>>,
        genesis: &Hash,
        gatekeeper: &WorkerId,
        record: &IdentityCeremonyRecord,
        former: Option<&IdentityRecord>,
        shares: Option<&IdentityShares>,
    ) -> Result<Self, CeremonyError> {
        let stored = StoredDealer::decode_all(&mut bytes.expose().as_slice()).map_err(|_| CeremonyError::Malformed)?;
        let seed = Secret::<[u8; 32]>::fill(|bytes| bytes.copy_from_slice(&stored.seed));
        let mut dealer = Self::begin(genesis, gatekeeper, &seed, record, former, shares)?;
        let (era, attempt) = dealer.attempt();
        if stored.form != DEALER || stored.place != (era, attempt, dealer.index, dealer.attempt.former) {
            return Err(CeremonyError::Malformed);
        }
        dealer.dealt.note_answered(&stored.answered);
        Ok(dealer)
    }
}

impl Holder {
    /// The bytes to seal.
    pub fn to_secret_bytes(&self) -> Secret<Vec<u8>> {
        let ((era, attempt), received) = (self.attempt(), &self.received);
        // With its full capacity, so that growing leaves no copy behind.
        let mut shares = Vec::with_capacity(received.shares.len());
        shares.extend(received.shares.iter().map(|(dealer, shares)| (*dealer, *shares.expose())));
        encoded(&StoredHolder {
            form: HOLDER,
            place: (era, attempt, self.index, self.attempt.former),
            roster: received.roster.clone(),
            packages: received.packages.iter().map(|(dealer, package)| (*dealer, package.bytes().to_vec())).collect(),
            broken: received.broken.clone(),
            shares,
            confirmed: self.confirmed,
        })
    }

    /// A holder from unsealed bytes, in the attempt that `record` is of: see [`Holder::begin`].
    pub fn from_secret_bytes(
        bytes: &Secret<Vec<u8>>,
        genesis: &Hash,
        gatekeeper: &WorkerId,
        record: &IdentityCeremonyRecord,
        former: Option<&IdentityRecord>,
    ) -> Result<Self, CeremonyError> {
        let malformed = CeremonyError::Malformed;
        let mut stored = StoredHolder::decode_all(&mut bytes.expose().as_slice()).map_err(|_| malformed)?;
        let mut holder = Self::begin(genesis, gatekeeper, record, former)?;
        let (era, attempt) = holder.attempt();
        if stored.form != HOLDER || stored.place != (era, attempt, holder.index, holder.attempt.former) {
            return Err(malformed);
        }
        for (dealer, bytes) in &stored.packages {
            let package = holder.attempt.verify_package(*dealer, bytes).map_err(|_| malformed)?;
            holder.received.packages.insert(*dealer, package);
        }
        for (dealer, shares) in &stored.shares {
            let shares = ShareBytes::fill(|bytes| bytes.copy_from_slice(shares));
            let package = holder.received.packages.get(dealer).ok_or(malformed)?;
            if !holder.attempt.fits(package, holder.index, &shares) {
                return Err(malformed);
            }
            holder.received.shares.insert(*dealer, shares);
        }
        holder.received.roster = take(&mut stored.roster);
        holder.received.broken = take(&mut stored.broken);
        holder.confirmed = stored.confirmed;
        Ok(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiping_leaves_no_shares() {
        let mut stored = StoredHolder {
            form: HOLDER,
            place: (1, 0, 3, None),
            roster: BTreeMap::new(),
            packages: BTreeMap::new(),
            broken: BTreeSet::new(),
            shares: vec![(2, [2; IDENTITY_SHARE_BYTES]), (3, [3; IDENTITY_SHARE_BYTES])],
            confirmed: None,
        };
        stored.zeroize();
        assert_eq!(stored.shares[..], [(2, [0; IDENTITY_SHARE_BYTES]), (3, [0; IDENTITY_SHARE_BYTES])]);
    }
}
