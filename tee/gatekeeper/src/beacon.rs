//! A gatekeeper's share of an era's beacon key, and the record of that key.
//!
//! Guarantees: the share is secret, and leaves only sealed with its seat; the record is public, and names the public half of this share
//! under this holder's index. The input is built here, of genesis, era and period alone. Does not decide which period may be
//! evaluated: whoever asks has a proof of the chain, or a value is known before its time. The host controls when a seat is made
//! and restored, never what is in it.

use phala_crypto::{beacon::BeaconShare, prf::KeyShare, Secret};
use phala_protocol::{
    beacon::{BeaconHolder, BeaconInput, BeaconPartial, BeaconRecord, Period},
    Hash,
};
use std::collections::BTreeMap;

/// What a seat holds of its era's beacon key.
pub struct BeaconSeat {
    share: BeaconShare,
    record: BeaconRecord,
}

impl BeaconSeat {
    /// Of a key that was generated together: `points` are the public shares of those that took part, by index from 1.
    pub(crate) fn dealt(era: u32, threshold: u16, share: KeyShare, points: &BTreeMap<u16, [u8; 32]>) -> Self {
        let holders = points.iter().map(|(index, share)| BeaconHolder { index: *index, share: *share }).collect();
        Self { share: BeaconShare::new(share), record: BeaconRecord { era, threshold, holders } }
    }

    /// Out of what was sealed; none if the record has another public share of this holder.
    pub(crate) fn restored(share: KeyShare, record: BeaconRecord) -> Option<Self> {
        let own = BeaconHolder { index: share.index(), share: share.public_share().to_bytes() };
        record.holders.contains(&own).then(|| Self { share: BeaconShare::new(share), record })
    }

    /// The encoding of the share, for sealing.
    pub(crate) fn share_bytes(&self) -> Secret<[u8; 32]> {
        self.share.to_bytes()
    }

    /// The record of the key, as the chain awaits it.
    pub fn record(&self) -> &BeaconRecord {
        &self.record
    }

    /// The holder's index, from 1.
    pub fn index(&self) -> u16 {
        self.share.index()
    }

    /// This holder's evaluation for `period` on the chain of `genesis`. `entropy` should be fresh; a constant one is safe.
    ///
    /// Whoever has as many of these as the threshold knows the period's value: made for nothing but a period that is due.
    pub fn partial(&self, genesis: &Hash, period: Period, entropy: &[u8; 32]) -> BeaconPartial {
        self.share.partial(&BeaconInput { genesis: *genesis, era: self.record.era, period }, entropy)
    }
}
