//! Which statements the chain takes.
//!
//! Guarantees: [`take`] is a function of record, statement, what stands beside it, and [`Circumstances`]. A statement counts when its
//! seat takes part and it has its place in the phase; each is taken once, and what is refused changes nothing. What stands beside a
//! statement is what the record has the hash of, and bounded. Does not verify signatures, nor that the seat's gatekeeper is active:
//! whoever keeps the record does, before, and says whether a key beside a complaint is signed. Seats control what they state, and
//! through it only what the record says of themselves.

use super::{
    complaints::accusers_key, package_hash, Attachment, CeremonyAttempt, CeremonyRecord, Complaint, Confirmed,
    ParcelHeader, ParcelKind, Phase, Statement, MAX_ATTACHMENT_BYTES,
};
use crate::{ids::BlockNumber, Hash};

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
pub(crate) fn is_canonical(scalar: &[u8; 32]) -> bool {
    scalar.iter().rev().lt(GROUP_ORDER.iter().rev())
}

/// Takes what the seat of `index` says, with what stands beside it, or leaves the record as it is.
pub fn take(
    record: &mut CeremonyRecord,
    index: u16,
    statement: &Statement,
    attachment: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    record.seat(index).ok_or(Refused::NoSuchSeat)?;
    if !record.takes_part(index) {
        return Err(Refused::TakesNoPart);
    }
    let alone = match attachment {
        None => Ok(()),
        Some(_) => Err(Refused::WrongAttachment),
    };
    match (record.phase, *statement) {
        (Phase::Commit, Statement::Commit { package }) => alone.and_then(|()| commit(record, index, package)),
        (Phase::Share, Statement::Complain { dealer }) => complain(record, (index, dealer), attachment, circumstances),
        (Phase::Deliver, Statement::Deliver { accuser, parcel }) => {
            deliver(record, (accuser, index), parcel, attachment, circumstances)
        }
        (Phase::Deliver, Statement::Dispute { dealer, parcel }) => {
            alone.and_then(|()| dispute(record, (index, dealer), parcel))
        }
        (Phase::Settle, Statement::Answer { accuser, shares }) => {
            answer(record, (accuser, index), shares, attachment, circumstances)
        }
        (Phase::Settle, Statement::Reject { dealer }) => alone.and_then(|()| reject(record, index, dealer)),
        (Phase::Share | Phase::Deliver | Phase::Settle, Statement::Confirm(keys)) => {
            alone.and_then(|()| confirm(record, index, keys))
        }
        _ => Err(Refused::WrongPhase),
    }
}

fn commit(record: &mut CeremonyRecord, index: u16, package: Hash) -> Result<(), Refused> {
    let seat = record.seat_mut(index).ok_or(Refused::NoSuchSeat)?;
    if seat.package.is_some() {
        return Err(Refused::AlreadyStated);
    }
    seat.package = Some(package);
    Ok(())
}

/// Not of a seat that confirmed: it holds a share of every dealer. The first complaint of a seat brings its key of the attempt, so that
/// whoever reads the chain can seal to it.
fn complain(
    record: &mut CeremonyRecord,
    (accuser, dealer): (u16, u16),
    key: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    if dealer == accuser || !record.takes_part(dealer) {
        return Err(Refused::NoSuchDealer);
    }
    let repeated = record.complaints.iter().any(|known| (known.accuser, known.dealer) == (accuser, dealer));
    let of = CeremonyAttempt::root(record.era, record.attempt);
    let seat = record.seat_mut(accuser).ok_or(Refused::NoSuchSeat)?;
    if seat.confirmed.is_some() || repeated {
        return Err(Refused::AlreadyStated);
    }
    seat.key = Some(accusers_key(&of, seat.key, key, circumstances.announced)?);
    record.complaints.push(Complaint::new(accuser, dealer));
    Ok(())
}

/// Before the last call only: the accuser needs it to dispute what is wrong.
fn deliver(
    record: &mut CeremonyRecord,
    (accuser, dealer): (u16, u16),
    hash: Hash,
    sealed: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    if record.is_last_call(circumstances.now) {
        return Err(Refused::TooLate);
    }
    let key = record.seat(accuser).and_then(|seat| seat.key).ok_or(Refused::NoSuchComplaint)?;
    let (era, attempt) = (record.era, record.attempt);
    let header = ParcelHeader { era, attempt, from: dealer, to: accuser, kind: ParcelKind::Delivery };
    Complaint::find(&mut record.complaints, (accuser, dealer))?.deliver(&header, &key, hash, sealed)
}

fn dispute(record: &mut CeremonyRecord, pair: (u16, u16), hash: Hash) -> Result<(), Refused> {
    let confirmed = record.seat(pair.0).is_some_and(|seat| seat.confirmed.is_some());
    Complaint::find(&mut record.complaints, pair)?.dispute(hash, confirmed)
}

/// Before the last call only: a wrong answer in the last block would go unrejected, and its accuser would be the one left out. The
/// first answer of a dealer brings its package, without which nobody could say that he knows whether an answer is right.
fn answer(
    record: &mut CeremonyRecord,
    (accuser, dealer): (u16, u16),
    shares: [[u8; 32]; 2],
    package: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    if !shares.iter().all(is_canonical) {
        return Err(Refused::BadShare);
    }
    if record.is_last_call(circumstances.now) {
        return Err(Refused::TooLate);
    }
    let answered = record.complaints.iter().any(|known| known.dealer == dealer && known.answer.is_some());
    let committed = record.seat(dealer).and_then(|seat| seat.package).ok_or(Refused::NoSuchSeat)?;
    let (era, attempt) = (record.era, record.attempt);
    let complaint = Complaint::find(&mut record.complaints, (accuser, dealer))?;
    if !complaint.disputed {
        return Err(Refused::NoSuchComplaint);
    }
    if complaint.answer.is_some() {
        return Err(Refused::AlreadyStated);
    }
    let shown = match package {
        None => answered,
        Some(Attachment::Package(bytes)) => {
            bytes.len() <= MAX_ATTACHMENT_BYTES
                && package_hash(&circumstances.genesis, era, attempt, dealer, bytes) == committed
        }
        Some(_) => false,
    };
    if !shown {
        return Err(Refused::WrongAttachment);
    }
    complaint.answer = Some(shares);
    Ok(())
}

/// Also of a seat that confirmed before: that its own share is good does not make an answer to another right. Also of a dealer that
/// answered nobody: what it committed to may be no package, which no answer mends. The dealer loses nothing by fewer than a
/// threshold of these, and no honest seat says it of an honest dealer.
fn reject(record: &mut CeremonyRecord, index: u16, dealer: u16) -> Result<(), Refused> {
    if dealer == index || !record.takes_part(dealer) {
        return Err(Refused::NoSuchDealer);
    }
    let seat = record.seat_mut(index).ok_or(Refused::NoSuchSeat)?;
    if seat.rejected.contains(&dealer) {
        return Err(Refused::AlreadyStated);
    }
    seat.rejected.push(dealer);
    Ok(())
}

fn confirm(record: &mut CeremonyRecord, index: u16, keys: Confirmed) -> Result<(), Refused> {
    let seat = record.seat_mut(index).ok_or(Refused::NoSuchSeat)?;
    if seat.confirmed.is_some() {
        return Err(Refused::AlreadyStated);
    }
    seat.confirmed = Some(keys);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attestation::encryption_key_hash,
        ceremony::{delivery_hash, AnnouncedKey, Parcel},
        ids::WorkerId,
    };
    use alloc::vec::Vec;

    const COMMIT: Statement = Statement::Commit { package: [1; 32] };
    const CONFIRM: Statement = Statement::Confirm(Confirmed { share_list: [5; 32], beacon: [6; 32] });
    const ANSWER: Statement = Statement::Answer { accuser: 1, shares: [[1; 32]; 2] };

    const GENESIS: Hash = [7; 32];

    /// Five seats of which four committed, in this phase until block 100. The first complained of the second.
    fn record(phase: Phase) -> CeremonyRecord {
        let mut record = CeremonyRecord::new(1, 0, &[1, 2, 3, 4, 5].map(|byte| WorkerId([byte; 32])));
        for index in 1..=4 {
            let package = package_hash(&GENESIS, 1, 0, index, b"package");
            say(&mut record, index, Statement::Commit { package }, 1).unwrap();
        }
        record.begin(phase, 51, 50);
        if matches!(phase, Phase::Deliver | Phase::Settle) {
            record.seats[0].key = Some(key_hash(1));
            record.complaints.push(Complaint::new(1, 2));
        }
        record
    }

    fn disputed() -> CeremonyRecord {
        let mut record = record(Phase::Settle);
        (record.complaints[0].delivered, record.complaints[0].disputed) = (Some([9; 32]), true);
        record
    }

    fn announced(index: u16) -> AnnouncedKey {
        let mut key = Vec::from([0; 1_216]);
        key[1_184..1_186].copy_from_slice(&index.to_le_bytes());
        AnnouncedKey { of: CeremonyAttempt::root(1, 0), key, signature: [0; 64] }
    }

    fn key(index: u16) -> Attachment {
        Attachment::Key(announced(index))
    }

    fn key_hash(index: u16) -> Hash {
        encryption_key_hash(&announced(index).key)
    }

    fn parcel() -> Parcel {
        let header = ParcelHeader { era: 1, attempt: 0, from: 2, to: 1, kind: ParcelKind::Delivery };
        Parcel { header, encapsulated: Vec::from([1]), body: Vec::from([2]), signature: [0; 64] }
    }

    fn delivery(parcel: &Parcel) -> Statement {
        Statement::Deliver { accuser: 1, parcel: delivery_hash(&key_hash(1), parcel) }
    }

    /// What honest seats put beside it.
    fn beside(statement: Statement) -> Option<Attachment> {
        match statement {
            Statement::Complain { .. } => Some(key(1)),
            Statement::Deliver { .. } => Some(Attachment::Parcel(parcel())),
            Statement::Answer { .. } => Some(Attachment::Package(b"package".to_vec())),
            _ => None,
        }
    }

    fn say(record: &mut CeremonyRecord, index: u16, statement: Statement, now: BlockNumber) -> Result<(), Refused> {
        say_with(record, index, statement, beside(statement).as_ref(), now)
    }

    fn say_with(
        record: &mut CeremonyRecord,
        index: u16,
        statement: Statement,
        attachment: Option<&Attachment>,
        now: BlockNumber,
    ) -> Result<(), Refused> {
        let before = record.clone();
        let circumstances = Circumstances { genesis: GENESIS, now, announced: true };
        let taken = take(record, index, &statement, attachment, &circumstances);
        assert_eq!(taken.is_err(), before == *record, "taken is noted, and refused is not");
        taken
    }

    fn refused(record: &CeremonyRecord, index: u16, statement: Statement, now: BlockNumber) -> Option<Refused> {
        say(&mut record.clone(), index, statement, now).err()
    }

    #[test]
    fn a_scalar_is_below_the_groups_order() {
        let mut below = GROUP_ORDER;
        below[0] -= 1;
        assert!(is_canonical(&below) && is_canonical(&[0; 32]));
        let mut above = GROUP_ORDER;
        above[31] = 0x11;
        assert!(!is_canonical(&GROUP_ORDER) && !is_canonical(&above) && !is_canonical(&[0xff; 32]));
    }

    #[test]
    fn a_statement_is_taken_of_a_seat_that_takes_part_in_its_phase_once() {
        let (complain, reject) = (Statement::Complain { dealer: 2 }, Statement::Reject { dealer: 2 });
        let (deliver, dispute) = (delivery(&parcel()), Statement::Dispute { dealer: 2, parcel: [9; 32] });
        let mut delivered = record(Phase::Deliver);
        delivered.complaints[0].delivered = Some([9; 32]);
        let places: [(CeremonyRecord, u16, &[Statement]); 6] = [
            (record(Phase::Commit), 5, &[COMMIT]),
            (record(Phase::Share), 1, &[complain, CONFIRM]),
            (record(Phase::Deliver), 2, &[deliver, CONFIRM]),
            (delivered, 1, &[dispute, CONFIRM]),
            (disputed(), 1, &[reject, CONFIRM]),
            (disputed(), 2, &[ANSWER, Statement::Reject { dealer: 1 }, CONFIRM]),
        ];
        let phase_of = |statement: &Statement| match statement {
            Statement::Commit { .. } => Some(Phase::Commit),
            Statement::Complain { .. } => Some(Phase::Share),
            Statement::Deliver { .. } | Statement::Dispute { .. } => Some(Phase::Deliver),
            Statement::Answer { .. } | Statement::Reject { .. } => Some(Phase::Settle),
            Statement::Confirm { .. } => None,
        };
        for (record, index, taken) in &places {
            for statement in *taken {
                let mut record = record.clone();
                assert_eq!(refused(&record, 0, *statement, 60), Some(Refused::NoSuchSeat));
                assert_eq!(refused(&record, 6, *statement, 60), Some(Refused::NoSuchSeat));
                say(&mut record, *index, *statement, 60).unwrap();
                assert_eq!(refused(&record, *index, *statement, 60), Some(Refused::AlreadyStated), "{statement:?}");
            }
            for statement in [COMMIT, complain, deliver, dispute, ANSWER, reject, CONFIRM] {
                if phase_of(&statement).is_some_and(|phase| phase != record.phase) {
                    let taken = say_with(&mut record.clone(), *index, statement, None, 60);
                    assert_eq!(taken, Err(Refused::WrongPhase), "{statement:?}");
                }
            }
        }
        assert_eq!(refused(&record(Phase::Share), 5, CONFIRM, 60), Some(Refused::TakesNoPart), "it did not commit");
    }

    #[test]
    fn complaints_and_rejections_are_of_others_that_take_part_and_complaints_of_who_has_not_confirmed() {
        let mut sharing = record(Phase::Share);
        let settling = record(Phase::Settle);
        for nobody in [0, 1, 5, 6, u16::MAX] {
            assert_eq!(refused(&sharing, 1, Statement::Complain { dealer: nobody }, 60), Some(Refused::NoSuchDealer));
            assert_eq!(refused(&settling, 1, Statement::Reject { dealer: nobody }, 60), Some(Refused::NoSuchDealer));
        }
        say(&mut sharing, 1, CONFIRM, 60).unwrap();
        assert_eq!(refused(&sharing, 1, Statement::Complain { dealer: 2 }, 60), Some(Refused::AlreadyStated));
    }

    #[test]
    fn a_first_complaint_brings_a_key_that_is_announced_for_the_attempt_and_a_later_one_no_other() {
        let mut record = record(Phase::Share);
        let complain = |dealer| Statement::Complain { dealer };
        let of = |of| Some(Attachment::Key(AnnouncedKey { of, ..announced(1) }));
        let long = AnnouncedKey { key: Vec::from([0; 1_217]), ..announced(1) };
        let nobodys = AnnouncedKey { key: Vec::from([0xff; 1_216]), ..announced(1) };
        for wrong in [
            None,
            of(CeremonyAttempt::root(1, 1)),
            of(CeremonyAttempt::root(0, 0)),
            of(CeremonyAttempt::identities(1, 0)),
            Some(Attachment::Key(long)),
            Some(Attachment::Key(nobodys)),
            Some(Attachment::Package(Vec::new())),
        ] {
            let taken = say_with(&mut record, 1, complain(2), wrong.as_ref(), 60);
            assert_eq!(taken, Err(Refused::WrongAttachment));
        }
        let unsigned = Circumstances { genesis: GENESIS, now: 60, announced: false };
        let mut untouched = record.clone();
        let taken = take(&mut untouched, 1, &complain(2), Some(&key(1)), &unsigned);
        assert_eq!((taken, &untouched), (Err(Refused::WrongAttachment), &record));
        say(&mut record, 1, complain(2), 60).unwrap();
        assert_eq!(record.seats[0].key, Some(key_hash(1)));
        assert_eq!(say_with(&mut record, 1, complain(3), Some(&key(2)), 60), Err(Refused::WrongAttachment));
        let taken = take(&mut record.clone(), 1, &complain(3), Some(&key(1)), &unsigned);
        assert_eq!(taken, Err(Refused::WrongAttachment), "whoever looks for the key would find this one");
        say_with(&mut record, 1, complain(3), None, 60).unwrap();
        say(&mut record, 1, complain(4), 60).unwrap();
    }

    #[test]
    fn a_delivery_is_the_parcel_beside_it_to_the_accuser_and_leaves_the_last_call_to_dispute_it() {
        let mut record = record(Phase::Deliver);
        let good = parcel();
        for header in [
            ParcelHeader { attempt: 1, ..good.header },
            ParcelHeader { from: 3, ..good.header },
            ParcelHeader { to: 3, ..good.header },
            ParcelHeader { kind: ParcelKind::Share, ..good.header },
        ] {
            let parcel = Parcel { header, ..good.clone() };
            let taken = say_with(&mut record, 2, delivery(&parcel), Some(&Attachment::Parcel(parcel)), 60);
            assert_eq!(taken, Err(Refused::WrongAttachment));
        }
        let long = Parcel { body: Vec::from([0; MAX_ATTACHMENT_BYTES]), ..good.clone() };
        let other = Parcel { body: Vec::from([0]), ..good.clone() };
        for (said, beside) in [(delivery(&long), Some(long)), (delivery(&good), Some(other)), (delivery(&good), None)] {
            let beside = beside.map(Attachment::Parcel);
            assert_eq!(say_with(&mut record, 2, said, beside.as_ref(), 60), Err(Refused::WrongAttachment));
        }
        assert_eq!(refused(&record, 3, delivery(&good), 60), Some(Refused::NoSuchComplaint));
        let dispute = |parcel| Statement::Dispute { dealer: 2, parcel };
        assert_eq!(refused(&record, 1, dispute([9; 32]), 60), Some(Refused::NoSuchDelivery));
        assert_eq!(refused(&record, 2, delivery(&good), 91), Some(Refused::TooLate));
        say(&mut record, 2, delivery(&good), 90).unwrap();
        assert_eq!(refused(&record, 1, dispute([9; 32]), 100), Some(Refused::NoSuchDelivery), "of a fork");
        assert_eq!(
            refused(&record, 3, dispute(delivery_hash(&key_hash(1), &good)), 100),
            Some(Refused::NoSuchComplaint)
        );
        say(&mut record, 1, dispute(delivery_hash(&key_hash(1), &good)), 100).unwrap();
    }

    #[test]
    fn an_answer_is_to_a_dispute_with_the_package_and_leaves_the_last_call_to_reject_it() {
        assert_eq!(refused(&record(Phase::Settle), 2, ANSWER, 60), Some(Refused::NoSuchComplaint), "not disputed");
        let mut record = disputed();
        record.complaints.push(Complaint { accuser: 3, ..record.complaints[0] });
        assert_eq!(
            refused(&record, 2, Statement::Answer { accuser: 1, shares: [[1; 32], [0xff; 32]] }, 60),
            Some(Refused::BadShare)
        );
        assert_eq!(refused(&record, 3, ANSWER, 60), Some(Refused::NoSuchComplaint));
        assert_eq!(refused(&record, 2, ANSWER, 91), Some(Refused::TooLate));
        let package = |bytes: &[u8]| Some(Attachment::Package(bytes.to_vec()));
        for wrong in [None, package(b"another"), Some(key(2))] {
            assert_eq!(say_with(&mut record, 2, ANSWER, wrong.as_ref(), 60), Err(Refused::WrongAttachment));
        }
        say(&mut record, 2, ANSWER, 90).unwrap();
        let second = Statement::Answer { accuser: 3, shares: [[1; 32]; 2] };
        assert_eq!(say_with(&mut record, 2, second, package(b"another").as_ref(), 90), Err(Refused::WrongAttachment));
        say_with(&mut record, 2, second, None, 90).unwrap();
        assert_eq!(refused(&record, 1, Statement::Reject { dealer: 2 }, 100), None, "there is time");
    }
}
