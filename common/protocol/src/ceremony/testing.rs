//! What the tests of both kinds of ceremony put beside statements. Tests alone.

use super::{
    AnnouncedKey, CeremonyAttempt, Circumstances, Parcel, ParcelHeader, ParcelKind, Refused, MAX_ATTACHMENT_BYTES,
};
use crate::{attestation::encryption_key_hash, ids::BlockNumber, Hash};
use alloc::vec::Vec;
use core::fmt::Debug;

pub(crate) const GENESIS: Hash = [7; 32];

/// One's key of an attempt, another for each index.
pub(crate) fn announced(of: CeremonyAttempt, index: u16) -> AnnouncedKey {
    let mut key = Vec::from([0; 1_216]);
    key[1_184..1_186].copy_from_slice(&index.to_le_bytes());
    AnnouncedKey { of, key, signature: [0; 64] }
}

/// The hash of the key of that index, in any attempt.
pub(crate) fn key_hash(index: u16) -> Hash {
    encryption_key_hash(&announced(CeremonyAttempt::root(0, 0), index).key)
}

/// Something sealed.
pub(crate) fn sealed(header: ParcelHeader) -> Parcel {
    Parcel { header, encapsulated: Vec::from([1]), body: Vec::from([2]), signature: [0; 64] }
}

/// What is not the delivery `good`, or not beside it: what is stated, and what stands beside that.
pub(crate) fn wrong_deliveries(good: &Parcel, other: ParcelKind) -> Vec<(Parcel, Option<Parcel>)> {
    let mut wrong: Vec<(Parcel, Option<Parcel>)> = Vec::new();
    for header in [
        ParcelHeader { attempt: 1, ..good.header },
        ParcelHeader { from: 3, ..good.header },
        ParcelHeader { to: 3, ..good.header },
        ParcelHeader { kind: other, ..good.header },
    ] {
        wrong.push((sealed(header), Some(sealed(header))));
    }
    let long = Parcel { body: Vec::from([0; MAX_ATTACHMENT_BYTES]), ..good.clone() };
    let another = Parcel { body: Vec::from([0]), ..good.clone() };
    wrong.extend([(long.clone(), Some(long)), (good.clone(), Some(another)), (good.clone(), None)]);
    wrong
}

/// What becomes of something that is said at block `now`.
pub(crate) fn judged<R: Clone + Debug + PartialEq>(
    record: &mut R,
    now: BlockNumber,
    take: impl FnOnce(&mut R, &Circumstances) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let before = record.clone();
    let taken = take(record, &Circumstances { genesis: GENESIS, now, announced: true });
    assert_eq!(taken.is_err(), before == *record, "taken is noted, and refused is not");
    taken
}
