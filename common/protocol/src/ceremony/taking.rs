//! Which statements the chain takes, in a ceremony of the root and in one of identities alike.
//!
//! Guarantees: a function of record, what is said, what stands beside it, and [`Circumstances`]. What is said counts when it has its place in
//! the phase; each is taken once, and what is refused changes nothing. What stands beside a statement is what the record has the hash of,
//! and bounded. Does not verify signatures: whoever keeps the record does, before, and says whether a key beside a complaint is signed. Nor
//! that whoever speaks takes part, which each ceremony's own rules say before. Dealers and whoever receives control what they state,
//! and through it only what the record says of themselves.

use super::{
    complaints::accusers_key, Attachment, CeremonyAttempt, Complaint, ParcelHeader, ParcelKind, Phase, Said,
    MAX_ATTACHMENT_BYTES,
};
use crate::{ids::BlockNumber, Hash};
use alloc::vec::Vec;

/// What a statement is taken under, beside the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The chain's genesis hash.
    pub genesis: Hash,
    /// The block.
    pub now: BlockNumber,
    /// Whether the speaker's gatekeeper signed the announcement that stands beside the statement, if one does. Of which attempt that is,
    /// the rules look at.
    pub announced: bool,
}

/// Why a statement is not taken. Nothing of the record changed. The fault is the seat's, or of whoever carried it too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no seat of this index.
    #[error("there is no seat of this index")]
    NoSuchSeat,
    /// The seat takes no part in this phase.
    #[error("the seat takes no part in this phase")]
    TakesNoPart,
    /// What is said has no place in this phase.
    #[error("what is said has no place in this phase")]
    WrongPhase,
    /// The seat has said this, or the opposite, already. What it said first stands.
    #[error("the seat has said this, or the opposite, already")]
    AlreadyStated,
    /// The dealer takes no part, or is the seat itself.
    #[error("the dealer takes no part, or is the seat itself")]
    NoSuchDealer,
    /// There is no such complaint, or it is not disputed: what is not disputed is not answered in public.
    #[error("there is no such complaint, or it is not disputed")]
    NoSuchComplaint,
    /// The dealer delivered nothing on this complaint, or something else.
    #[error("the dealer delivered nothing on this complaint, or something else")]
    NoSuchDelivery,
    /// What stands beside the statement is missing, not what it says, too long, or not asked for.
    #[error("what stands beside the statement is missing, not what it says, too long, or not asked for")]
    WrongAttachment,
    /// The phase's last call has begun: it could not be disputed or rejected in time any more.
    #[error("the phase's last call has begun: it could not be disputed or rejected in time")]
    TooLate,
    /// The share is not the canonical encoding of a scalar.
    #[error("the share is not the canonical encoding of a scalar")]
    BadShare,
    /// The dealer answered as many disputes as it may: with more, what it deals would be public. Of a ceremony of identities only.
    #[error("the dealer answered as many disputes as it may; with more, what it deals would be public")]
    TooManyAnswers,
}

/// The order of the Ristretto group, 2^252 + 27742317777372353535851937790883648493, little-endian (RFC 9496, section 4).
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Whether these are the bytes of a scalar below the group's order.
fn is_canonical(scalar: &[u8; 32]) -> bool {
    scalar.iter().rev().lt(GROUP_ORDER.iter().rev())
}

/// A ceremony's record, as far as these rules are concerned. Indices are from 1; of dealers and of whoever receives they are those of that
/// kind of ceremony.
pub(crate) trait Refereed {
    /// What is confirmed.
    type Keys;

    /// As what a parcel is delivered on chain.
    const DELIVERY: ParcelKind;

    /// The attempt.
    fn of(&self) -> CeremonyAttempt;
    /// Where it stands.
    fn phase(&self) -> Phase;
    /// Whether block `now` is of the phase's last call, or later.
    fn is_over_soon(&self, now: BlockNumber) -> bool;
    /// Whether the dealer deals, and is another gatekeeper than the one that receives, which complains of no other and rejects no other.
    fn is_of_another(&self, receiver: u16, dealer: u16) -> bool;
    /// Answers of one dealer that are taken at most.
    fn most_answers(&self) -> usize;
    /// The hash of a dealer's package in the attempt `of`.
    fn package_hash(genesis: &Hash, of: &CeremonyAttempt, dealer: u16, package: &[u8]) -> Hash;
    /// The hash that the dealer of this index committed to; none if there is no such dealer.
    fn package(&mut self, dealer: u16) -> Option<&mut Option<Hash>>;
    /// What the record has of whoever receives under this index.
    fn receiver(&mut self, index: u16) -> Option<Receiver<'_, Self::Keys>>;
    /// The complaints of the attempt.
    fn complaints(&mut self) -> &mut Vec<Complaint>;
}

/// What a record has of one that receives.
pub(crate) struct Receiver<'a, K> {
    /// What it confirmed.
    pub confirmed: &'a mut Option<K>,
    /// Hash of the key under which it complained.
    pub key: &'a mut Option<Hash>,
    /// Dealers that it rejected.
    pub rejected: &'a mut Vec<u16>,
}

/// Takes what is said under `index` by one that takes part, with what stands beside it, or leaves the record as it is.
pub(crate) fn take<R: Refereed>(
    record: &mut R,
    index: u16,
    said: Said<R::Keys>,
    attachment: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    let alone = match attachment {
        None => Ok(()),
        Some(_) => Err(Refused::WrongAttachment),
    };
    match (record.phase(), said) {
        (Phase::Commit, Said::Commit { package }) => alone.and_then(|()| commit(record, index, package)),
        (Phase::Share, Said::Complain { dealer }) => complain(record, (index, dealer), attachment, circumstances),
        (Phase::Deliver, Said::Deliver { accuser, parcel }) => {
            deliver(record, (accuser, index), parcel, attachment, circumstances)
        }
        (Phase::Deliver, Said::Dispute { dealer, parcel }) => {
            alone.and_then(|()| dispute(record, (index, dealer), parcel))
        }
        (Phase::Settle, Said::Answer { accuser, shares }) => {
            answer(record, (accuser, index), shares, attachment, circumstances)
        }
        (Phase::Settle, Said::Reject { dealer }) => alone.and_then(|()| reject(record, index, dealer)),
        (Phase::Share | Phase::Deliver | Phase::Settle, Said::Confirm(keys)) => {
            alone.and_then(|()| confirm(record, index, keys))
        }
        _ => Err(Refused::WrongPhase),
    }
}

/// Notes what is said once in an attempt.
fn note<T>(place: &mut Option<T>, said: T) -> Result<(), Refused> {
    if place.is_some() {
        return Err(Refused::AlreadyStated);
    }
    *place = Some(said);
    Ok(())
}

fn commit<R: Refereed>(record: &mut R, dealer: u16, package: Hash) -> Result<(), Refused> {
    note(record.package(dealer).ok_or(Refused::NoSuchSeat)?, package)
}

/// Not of one that confirmed: it has shares of every dealer. The first complaint brings its key of the attempt, so that whoever reads the
/// chain can seal to it.
fn complain<R: Refereed>(
    record: &mut R,
    (accuser, dealer): (u16, u16),
    key: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    if !record.is_of_another(accuser, dealer) {
        return Err(Refused::NoSuchDealer);
    }
    let repeated = record.complaints().iter().any(|known| (known.accuser, known.dealer) == (accuser, dealer));
    let of = record.of();
    let receiver = record.receiver(accuser).ok_or(Refused::NoSuchSeat)?;
    if receiver.confirmed.is_some() || repeated {
        return Err(Refused::AlreadyStated);
    }
    *receiver.key = Some(accusers_key(&of, *receiver.key, key, circumstances.announced)?);
    record.complaints().push(Complaint::new(accuser, dealer));
    Ok(())
}

/// Before the last call only: the accuser needs it to dispute what is wrong.
fn deliver<R: Refereed>(
    record: &mut R,
    (accuser, dealer): (u16, u16),
    hash: Hash,
    sealed: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    if record.is_over_soon(circumstances.now) {
        return Err(Refused::TooLate);
    }
    let key = record.receiver(accuser).and_then(|receiver| *receiver.key).ok_or(Refused::NoSuchComplaint)?;
    let CeremonyAttempt { era, attempt, .. } = record.of();
    let header = ParcelHeader { era, attempt, from: dealer, to: accuser, kind: R::DELIVERY };
    Complaint::find(record.complaints(), (accuser, dealer))?.deliver(&header, &key, hash, sealed)
}

fn dispute<R: Refereed>(record: &mut R, pair: (u16, u16), hash: Hash) -> Result<(), Refused> {
    let confirmed = record.receiver(pair.0).is_some_and(|receiver| receiver.confirmed.is_some());
    Complaint::find(record.complaints(), pair)?.dispute(hash, confirmed)
}

/// Before the last call only: a wrong answer in the last block would go unrejected, and its accuser would be the one left out. The
/// first answer of a dealer brings its package, without which nobody could say that he knows whether an answer is right.
fn answer<R: Refereed>(
    record: &mut R,
    (accuser, dealer): (u16, u16),
    shares: [[u8; 32]; 2],
    package: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    if !shares.iter().all(is_canonical) {
        return Err(Refused::BadShare);
    }
    if record.is_over_soon(circumstances.now) {
        return Err(Refused::TooLate);
    }
    let (of, most) = (record.of(), record.most_answers());
    let is_answered = |known: &&Complaint| known.dealer == dealer && known.answer.is_some();
    let answered = record.complaints().iter().filter(is_answered).count();
    let committed = record.package(dealer).and_then(|package| *package).ok_or(Refused::NoSuchSeat)?;
    let complaint = Complaint::find(record.complaints(), (accuser, dealer))?;
    if !complaint.disputed {
        return Err(Refused::NoSuchComplaint);
    }
    if complaint.answer.is_some() {
        return Err(Refused::AlreadyStated);
    }
    if answered >= most {
        return Err(Refused::TooManyAnswers);
    }
    let shown = match package {
        None => answered > 0,
        Some(Attachment::Package(bytes)) => {
            bytes.len() <= MAX_ATTACHMENT_BYTES
                && R::package_hash(&circumstances.genesis, &of, dealer, bytes) == committed
        }
        Some(_) => false,
    };
    if !shown {
        return Err(Refused::WrongAttachment);
    }
    complaint.answer = Some(shares);
    Ok(())
}

/// Also of one that confirmed before: that its own shares are good does not make an answer to another right. Also of a dealer that
/// answered nobody: what it committed to may be no package, which no answer mends. The dealer loses nothing by fewer than a
/// threshold of these, and nobody honest says it of an honest dealer.
fn reject<R: Refereed>(record: &mut R, index: u16, dealer: u16) -> Result<(), Refused> {
    if !record.is_of_another(index, dealer) {
        return Err(Refused::NoSuchDealer);
    }
    let receiver = record.receiver(index).ok_or(Refused::NoSuchSeat)?;
    if receiver.rejected.contains(&dealer) {
        return Err(Refused::AlreadyStated);
    }
    receiver.rejected.push(dealer);
    Ok(())
}

fn confirm<R: Refereed>(record: &mut R, index: u16, keys: R::Keys) -> Result<(), Refused> {
    note(record.receiver(index).ok_or(Refused::NoSuchSeat)?.confirmed, keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_below_the_groups_order() {
        let mut below = GROUP_ORDER;
        below[0] -= 1;
        assert!(is_canonical(&below) && is_canonical(&[0; 32]));
        let mut above = GROUP_ORDER;
        above[31] = 0x11;
        assert!(!is_canonical(&GROUP_ORDER) && !is_canonical(&above) && !is_canonical(&[0xff; 32]));
    }
}
