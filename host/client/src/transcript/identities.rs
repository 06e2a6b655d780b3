//! Files of ceremonies in which identities are made or handed over.
//!
//! Guarantees: what was handed over is the record whose hash the ceremony's own record has, held by its dealers, so it is as true as that
//! one; what is shown as taken is the record whose hash all holders that took part confirmed, of those holders, of the ceremony's era and
//! threshold, and of the keys that were handed over: as the chain itself judges it, by [`show`]. Whoever made the file controls both records.

use super::{FileKind, VerifyError};
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode};
use phala_crypto::transcript::{CeremonyKind, OutcomeOf};
use phala_protocol::{
    identities::{show, IdentityCeremonyRecord, IdentityRecord},
    storage,
};

/// The records of identities before and after a ceremony.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct IdentityRecords {
    /// What is handed over; none where keys are made.
    pub former: Option<IdentityRecord>,
    /// What the chain has afterwards, if the ceremony led to it.
    pub taken: Option<IdentityRecord>,
}

/// The ceremony as it stands when its end is noted: it may be that the record was shown in the very block that noted it, and that no state says
/// that it is awaited.
fn ended(record: &IdentityCeremonyRecord) -> IdentityCeremonyRecord {
    IdentityCeremonyRecord { agreed: CeremonyKind::agreed(record), ..record.clone() }
}

impl FileKind for IdentityCeremonyRecord {
    const TAG: u8 = 1;
    const KEY: &'static [u8] = &storage::IDENTITY_CEREMONY;
    const BESIDE: Option<&'static [u8]> = Some(&storage::IDENTITY);
    type Beside = IdentityRecords;

    fn made_key(_: u32) -> Vec<u8> {
        storage::identity_key()
    }

    fn beside(&self, before: Option<&[u8]>, after: Option<&[u8]>) -> Option<IdentityRecords> {
        let decode = |bytes: Option<&[u8]>| match bytes {
            Some(mut bytes) => IdentityRecord::decode_all(&mut bytes).ok().map(Some),
            None => Some(None),
        };
        let former = decode(before)?;
        let taken = decode(after)?.filter(|taken| show(&ended(self), taken, former.as_ref()).is_ok());
        let records = IdentityRecords { former, taken };
        self.check_beside(&records).is_ok().then_some(records)
    }

    fn known(beside: &IdentityRecords) -> Option<Vec<u8>> {
        beside.taken.as_ref().map(Encode::encode)
    }

    fn check_beside(&self, beside: &IdentityRecords) -> Result<(), VerifyError> {
        let IdentityRecords { former, taken } = beside;
        // Whoever holds what is handed over deals.
        let is_dealt = |former: &IdentityRecord| {
            let dealers = self.dealers.iter().map(|dealer| (dealer.index, dealer.gatekeeper));
            let held = former.holders.iter().map(|holder| (holder.index, holder.gatekeeper));
            self.deals == former.threshold && dealers.eq(held)
        };
        let others = former.as_ref().is_some_and(|former| !is_dealt(former));
        if others || former.as_ref().map(IdentityRecord::hash) != self.former {
            return Err(VerifyError::Former);
        }
        match taken {
            Some(taken) => show(&ended(self), taken, former.as_ref()).map_err(VerifyError::Taken),
            None => Ok(()),
        }
    }

    fn is_made(&self, beside: &IdentityRecords, _: &OutcomeOf<Self>, value: Option<&[u8]>) -> Option<bool> {
        let is = |record: &Option<IdentityRecord>| record.as_ref().map(Encode::encode).as_deref() == value;
        if beside.taken.is_some() {
            // It is shown as what the chain has: then the chain has it.
            return is(&beside.taken).then_some(true);
        }
        is(&beside.former).then_some(false)
    }
}

#[cfg(test)]
mod tests;
