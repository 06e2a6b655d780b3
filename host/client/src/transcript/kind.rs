//! What a file of a transcript has to know of the kind of ceremony that it is of; and what that is of ceremonies of the root.
//!
//! Guarantees: functions of their arguments. Whoever made the file controls what stands beside the transcript.

use super::VerifyError;
use codec::{DecodeAll, DecodeWithMemTracking, Encode};
use phala_crypto::transcript::{CeremonyKind, OutcomeOf};
use phala_protocol::{ceremony::CeremonyRecord, chain_state::RootRecord, storage};
use std::fmt::Debug;

/// A kind of ceremony that has a form as a file.
pub trait FileKind: CeremonyKind {
    /// What a file of this kind says that it is.
    const TAG: u8;
    /// Storage key of the ceremony's record.
    const KEY: &'static [u8];
    /// Storage key of what stands beside the transcript, if anything does: in a state of the ceremony, and in the one after it.
    const BESIDE: Option<&'static [u8]>;
    /// What stands beside the transcript.
    type Beside: Clone + Debug + PartialEq + Eq + Encode + DecodeWithMemTracking;

    /// Storage key of what is made in an era.
    fn made_key(era: u32) -> Vec<u8>;
    /// What has to stand beside a transcript that ends with this record, of what a node has under [`Self::BESIDE`] in the record's state and
    /// in that of the block after the ceremony, if there was one. None if it is nothing of this ceremony.
    fn beside(&self, before: Option<&[u8]>, after: Option<&[u8]>) -> Option<Self::Beside>;
    /// The encoding of what was made, if it stands beside the transcript: its proof need not repeat it.
    fn known(beside: &Self::Beside) -> Option<Vec<u8>>;
    /// Whether what stands beside a transcript that ends with this record belongs to it.
    fn check_beside(&self, beside: &Self::Beside) -> Result<(), VerifyError>;
    /// Whether `value`, which the chain has under [`Self::made_key`], is what a ceremony that ends with this record made, or shows that it made
    /// nothing. None if it is something else.
    fn is_made(&self, beside: &Self::Beside, outcome: &OutcomeOf<Self>, value: Option<&[u8]>) -> Option<bool>;
}

impl FileKind for CeremonyRecord {
    const TAG: u8 = 0;
    const KEY: &'static [u8] = &storage::CEREMONY;
    const BESIDE: Option<&'static [u8]> = None;
    type Beside = ();

    /// Of `Gatekeepers::Roots`, which is no key that TEEs read.
    fn made_key(era: u32) -> Vec<u8> {
        crate::chain::short_map_key("Gatekeepers", "Roots", &era.encode())
    }

    fn beside(&self, _: Option<&[u8]>, _: Option<&[u8]>) -> Option<()> {
        Some(())
    }

    fn known(_: &()) -> Option<Vec<u8>> {
        None
    }

    fn check_beside(&self, _: &()) -> Result<(), VerifyError> {
        Ok(())
    }

    fn is_made(&self, _: &(), outcome: &OutcomeOf<Self>, value: Option<&[u8]>) -> Option<bool> {
        let Some(mut value) = value else { return Some(false) };
        let root = RootRecord::decode_all(&mut value).ok()?;
        let seats = self.seats.iter().map(|seat| seat.gatekeeper);
        let same = outcome.made.is_some_and(|(_, keys)| keys.share_list == root.share_list)
            && (root.era, root.threshold) == (self.era, self.threshold)
            && root.seats.iter().copied().eq(seats);
        same.then_some(true)
    }
}
