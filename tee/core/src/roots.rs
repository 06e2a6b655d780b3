//! The roots that give epoch keys, as the chain's records show them: the one that answers, and the one to which clusters go over.
//!
//! Guarantees: each is what the newest proof that covered it showed. The host decides when a proof shows them.

use crate::chain::{ChainError, Records, Shown};
use phala_protocol::{
    chain_state::{next_epoch_era, RootRecord},
    storage,
};

/// What is known of the roots.
pub(crate) struct Roots {
    present: Shown<RootRecord>,
    next: Shown<RootRecord>,
}

impl Roots {
    /// Nothing seen yet.
    pub(crate) fn unknown() -> Self {
        Self { present: Shown::Nothing, next: Shown::Nothing }
    }

    /// The keys under which they stand.
    pub(crate) fn wanted_keys() -> [Vec<u8>; 2] {
        [storage::root_key(), storage::next_root_key()]
    }

    /// Takes what the proof shows of them. Only together are they a fact: when clusters have gone over, one becomes the other.
    pub(crate) fn observe(&mut self, records: &Records<'_>) -> Result<(), ChainError> {
        let present = records.get::<RootRecord>(&storage::root_key())?;
        let next = records.get::<RootRecord>(&storage::next_root_key())?;
        if present != Shown::Nothing && next != Shown::Nothing {
            *self = Self { present, next };
        }
        Ok(())
    }

    /// The root that answers.
    pub(crate) fn present(&self) -> Option<&RootRecord> {
        value(&self.present)
    }

    /// The root to which clusters go over.
    pub(crate) fn next(&self) -> Option<&RootRecord> {
        value(&self.next)
    }

    /// Whether the chain is known to have no root at all.
    pub(crate) fn none_recorded(&self) -> bool {
        self.present == Shown::Absent && self.next == Shown::Absent
    }

    /// The root of an era, if it is one of the two.
    pub(crate) fn of_era(&self, era: u32) -> Option<&RootRecord> {
        [self.present(), self.next()].into_iter().flatten().find(|root| root.era == era)
    }

    /// The era whose root gives the keys of next epochs.
    pub(crate) fn coming_era(&self) -> Option<u32> {
        next_epoch_era(self.present(), self.next())
    }
}

fn value(shown: &Shown<RootRecord>) -> Option<&RootRecord> {
    match shown {
        Shown::Value(root) => Some(root),
        Shown::Nothing | Shown::Absent => None,
    }
}
