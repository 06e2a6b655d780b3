//! The network's two keys together, as records, parcels and disks have them.
//!
//! Guarantees: [`IdentityKeys`] were verified to be of one polynomial each, and an [`IdentityShares`] fits its holder's public shares of both. Whoever
//! made the record, or stored the shares, controls the bytes.

use super::{
    derive::DeriveError,
    sharing::{open_share, verify_key_record, IdentityShare, KeyRecord, RecordError, ShareError},
};
use curve25519_dalek::{edwards::EdwardsPoint, ristretto::RistrettoPoint};
use phala_crypto::Secret;
use phala_protocol::{
    identities::{IdentityHolder, IdentityPoints, IdentityRecord, Scheme},
    ContractId, Hash, WorkerId,
};

/// Bytes of one holder's shares, as they are sealed and kept: of Ed25519, then of sr25519.
pub const IDENTITY_SHARE_BYTES: usize = 64;

/// The public side of both keys.
#[derive(Clone, PartialEq)]
pub struct IdentityKeys {
    /// Of Ed25519.
    pub ed25519: KeyRecord<EdwardsPoint>,
    /// Of sr25519.
    pub sr25519: KeyRecord<RistrettoPoint>,
}

/// One holder's shares of both keys.
pub struct IdentityShares {
    /// Of Ed25519.
    pub ed25519: IdentityShare<EdwardsPoint>,
    /// Of sr25519.
    pub sr25519: IdentityShare<RistrettoPoint>,
}

/// Verifies that the shares of a record are of its keys, both with its threshold.
pub fn verify_identities(record: &IdentityRecord) -> Result<IdentityKeys, RecordError> {
    let IdentityRecord { threshold, keys, .. } = record;
    Ok(IdentityKeys {
        ed25519: verify_key_record(*threshold, &keys.ed25519, &record.shares(Scheme::Ed25519))?,
        sr25519: verify_key_record(*threshold, &keys.sr25519, &record.shares(Scheme::Ristretto255))?,
    })
}

impl IdentityKeys {
    /// The chain's record of these keys, held by `holders`. A holder whose index has no public share is none.
    pub fn to_record(&self, era: u32, holders: impl IntoIterator<Item = (u16, WorkerId)>) -> IdentityRecord {
        let holder = |(index, gatekeeper)| {
            let (ed25519, sr25519) = (self.ed25519.encoded_share(index)?, self.sr25519.encoded_share(index)?);
            Some(IdentityHolder { index, gatekeeper, shares: IdentityPoints { ed25519, sr25519 } })
        };
        IdentityRecord {
            era,
            threshold: self.ed25519.threshold(),
            keys: IdentityPoints { ed25519: self.ed25519.key(), sr25519: self.sr25519.key() },
            holders: holders.into_iter().filter_map(holder).collect(),
        }
    }

    /// A contract's two keys, of the network's.
    pub fn derived(&self, genesis: &Hash, contract: &ContractId) -> Result<Self, DeriveError> {
        let (ed25519, sr25519) = (self.ed25519.derived(genesis, contract)?, self.sr25519.derived(genesis, contract)?);
        Ok(Self { ed25519, sr25519 })
    }
}

impl IdentityShares {
    /// Shares from the bytes of [`Self::to_bytes`], if they are those of `index` in both keys.
    pub fn open(
        keys: &IdentityKeys,
        index: u16,
        bytes: &Secret<[u8; IDENTITY_SHARE_BYTES]>,
    ) -> Result<Self, ShareError> {
        let [ed25519, sr25519] = halves(bytes);
        Ok(Self {
            ed25519: open_share(&keys.ed25519, index, &ed25519)?,
            sr25519: open_share(&keys.sr25519, index, &sr25519)?,
        })
    }

    /// The holder's index, from 1.
    pub fn index(&self) -> u16 {
        self.ed25519.index()
    }

    /// For sealing.
    pub fn to_bytes(&self) -> Secret<[u8; IDENTITY_SHARE_BYTES]> {
        joined(&self.ed25519.to_bytes(), &self.sr25519.to_bytes())
    }
}

/// Two scalars, one after the other.
pub(super) fn joined(ed25519: &Secret<[u8; 32]>, sr25519: &Secret<[u8; 32]>) -> Secret<[u8; IDENTITY_SHARE_BYTES]> {
    Secret::fill(|bytes| {
        for (target, byte) in bytes.iter_mut().zip(ed25519.expose().iter().chain(sr25519.expose())) {
            *target = *byte;
        }
    })
}

/// The two scalars of [`joined`].
pub(super) fn halves(bytes: &Secret<[u8; IDENTITY_SHARE_BYTES]>) -> [Secret<[u8; 32]>; 2] {
    let half = |skipped: usize| {
        Secret::<[u8; 32]>::fill(|half| {
            for (target, byte) in half.iter_mut().zip(bytes.expose().iter().skip(skipped)) {
                *target = *byte;
            }
        })
    };
    [half(0), half(32)]
}
