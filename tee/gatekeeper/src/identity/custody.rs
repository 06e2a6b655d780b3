//! Which shares of identities a gatekeeper keeps, and when it drops them.
//!
//! ```text
//! a ceremony gives shares        coming: sealed before the gatekeeper confirms them
//! the chain has their record     held; those held before are dropped in the same step
//! the chain has another's        dropped, with those that came of no later ceremony: another set holds the keys
//! their attempt is given up      what was coming is dropped, by whoever sees it on the chain: the record is never the chain's
//! ```
//! Guarantees: shares are of use only while the finalised chain's record is theirs; those of a former record are kept until there is
//! another one, for until then they sign and hand over, and not a head longer. A record of the past - a machine that starts runs through it -
//! changes nothing. [`Custody::observe`] says what changed: the caller seals [`Custody::to_secret_bytes`] over what it had sealed, and shares
//! that were dropped are wiped here.
//!
//! Not shares alone give shares away. A dealer's seed is its part of a key that is made, and with one value that it dealt its share of a key
//! that is handed over; a holder's values add up to its shares. So whoever calls this also drops [`Dealer`](super::ceremony::Dealer) and
//! [`Holder`](super::ceremony::Holder), the seed, and what is sealed of them, when the chain has the record of their era or a later one, or no
//! ceremony of it any more: whatever [`Change`] says, for a dealer need not hold anything.
//!
//! What is dropped here is not gone where the host kept a sealed state, or recorded parcels: the machine's own keys open them as long as it has
//! its identity. A TEE that is not broken does nothing with them. But whoever breaks `t` machines of one former set later, with what their
//! hosts kept, has the keys.
//!
//! Records must be facts of one finalised chain: whoever can finalise a fork, for which `t` validators must collude, can have shares
//! dropped. The host can put an older sealed state back, of which the chain's record says again what is to be dropped. Does not write disks.

use super::{
    ceremony::Outcome,
    pair::{verify_identities, IdentityKeys, IdentityShares, IDENTITY_SHARE_BYTES},
};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::Secret;
use phala_protocol::{identities::IdentityRecord, WorkerId};
use zeroize::Zeroize;

/// What sealed bytes of this form begin with.
const FORM: [u8; 8] = *b"custody1";

/// Shares, with the record that they are of.
pub struct Held {
    record: IdentityRecord,
    keys: IdentityKeys,
    shares: IdentityShares,
}

impl Held {
    fn new(record: IdentityRecord, open: impl FnOnce(&IdentityKeys) -> Option<IdentityShares>) -> Option<Self> {
        let keys = verify_identities(&record).ok()?;
        let shares = open(&keys)?;
        Some(Self { record, keys, shares })
    }

    /// The record.
    pub fn record(&self) -> &IdentityRecord {
        &self.record
    }

    /// The network's keys, with which to derive a contract's.
    pub fn keys(&self) -> &IdentityKeys {
        &self.keys
    }

    /// The gatekeeper's shares of them.
    pub fn shares(&self) -> &IdentityShares {
        &self.shares
    }
}

/// The shares that a gatekeeper has.
#[derive(Default)]
pub struct Custody {
    held: Option<Held>,
    coming: Option<Held>,
}

/// What a look at the chain's record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The shares that were coming are held; former ones are dropped.
    Received,
    /// Another set holds the keys: what this gatekeeper had is dropped.
    Dropped,
    /// The chain has this gatekeeper as a holder of shares that it does not have: it counts among those that may be missing. Former ones are
    /// dropped all the same.
    Lost,
}

/// Why shares are not kept, or not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustodyError {
    /// What the ceremony gave is no record with its shares; the caller's fault.
    #[error("record and shares of identities do not fit each other")]
    Unfit,
    /// The sealed bytes are none, or of another form.
    #[error("sealed shares of identities are malformed")]
    Malformed,
}

impl Custody {
    /// What signs, and hands over: the shares of the record that the chain had when it was looked at last.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Whether it has nothing: neither shares that are held, nor some that are coming.
    pub fn is_empty(&self) -> bool {
        self.held.is_none() && self.coming.is_none()
    }

    /// Whether the shares of this record are those that are coming.
    pub fn expects(&self, record: &IdentityRecord) -> bool {
        self.coming.as_ref().is_some_and(|coming| coming.record == *record)
    }

    /// Keeps what a ceremony gave until the chain has its record. It replaces what an earlier attempt gave, which is over when a finalised
    /// record shows a later one.
    pub fn expect(&mut self, outcome: &Outcome) -> Result<(), CustodyError> {
        let index = outcome.shares.index();
        let bytes = outcome.shares.to_bytes();
        let kept = Held::new(outcome.record.clone(), |keys| IdentityShares::open(keys, index, &bytes).ok());
        self.coming = Some(kept.ok_or(CustodyError::Unfit)?);
        Ok(())
    }

    /// Drops what an attempt gave of which the chain never has the record any more, and says whether there was anything. Where keys are
    /// handed over, those who confirmed such an attempt could use them as well as those who hold them.
    pub fn give_up(&mut self) -> bool {
        self.coming.take().is_some()
    }

    /// Looks at the chain's record; `gatekeeper` is this one's identity.
    pub fn observe(&mut self, gatekeeper: &WorkerId, record: &IdentityRecord) -> Change {
        let era_of = |kept: &Option<Held>| kept.as_ref().map(|kept| kept.record.era);
        if self.held.as_ref().is_some_and(|held| held.record == *record) {
            return Change::None;
        }
        if era_of(&self.held).is_some_and(|era| era > record.era) {
            return Change::None;
        }
        if let Some(coming) = self.coming.take_if(|coming| coming.record == *record) {
            self.held = Some(coming);
            return Change::Received;
        }
        let had = self.held.take().is_some();
        // Of the same era too: a set receives the keys once.
        let stale = era_of(&self.coming).is_some_and(|era| era <= record.era);
        if stale {
            self.coming = None;
        }
        match (record.holder(gatekeeper), had || stale) {
            (Some(_), _) => Change::Lost,
            (None, true) => Change::Dropped,
            (None, false) => Change::None,
        }
    }

    /// The bytes to seal.
    pub fn to_secret_bytes(&self) -> Secret<Vec<u8>> {
        let stored = Stored { form: FORM, held: self.held.as_ref().map(keep), coming: self.coming.as_ref().map(keep) };
        let mut bytes = Vec::with_capacity(stored.encoded_size());
        stored.encode_to(&mut bytes);
        Secret::new(bytes)
    }

    /// What was sealed.
    pub fn from_secret_bytes(bytes: &Secret<Vec<u8>>) -> Result<Self, CustodyError> {
        let malformed = CustodyError::Malformed;
        let stored = Stored::decode_all(&mut bytes.expose().as_slice()).map_err(|_| malformed)?;
        if stored.form != FORM {
            return Err(malformed);
        }
        let open = |kept: &Option<Kept>| match kept {
            Some(kept) => restore(kept).map(Some).ok_or(malformed),
            None => Ok(None),
        };
        Ok(Self { held: open(&stored.held)?, coming: open(&stored.coming)? })
    }
}

#[derive(Encode, Decode)]
struct Kept {
    record: IdentityRecord,
    index: u16,
    shares: [u8; IDENTITY_SHARE_BYTES],
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shares.zeroize();
    }
}

#[derive(Encode, Decode)]
struct Stored {
    form: [u8; 8],
    held: Option<Kept>,
    coming: Option<Kept>,
}

fn keep(held: &Held) -> Kept {
    let (index, shares) = (held.shares.index(), *held.shares.to_bytes().expose());
    Kept { record: held.record.clone(), index, shares }
}

fn restore(kept: &Kept) -> Option<Held> {
    let shares = Secret::<[u8; IDENTITY_SHARE_BYTES]>::fill(|bytes| bytes.copy_from_slice(&kept.shares));
    Held::new(kept.record.clone(), |keys| IdentityShares::open(keys, kept.index, &shares).ok())
}
