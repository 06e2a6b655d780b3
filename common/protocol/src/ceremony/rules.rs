//! Who speaks in a ceremony of the root, and of what its statements are taken.
//!
//! Guarantees: [`take`] is a function of record, statement, what stands beside it, and [`Circumstances`]. A statement counts when its
//! seat takes part and it has its place in the phase: for the rest see [`super::taking`]. Does not verify signatures, nor that the seat's
//! gatekeeper is active: whoever keeps the record does, before. Seats control what they state, and through it only what the record says of
//! themselves.

use super::{
    package_hash,
    taking::{self, Receiver, Refereed},
    Attachment, CeremonyAttempt, CeremonyRecord, Circumstances, Complaint, Confirmed, ParcelKind, Phase, Refused,
    Statement,
};
use crate::{ids::BlockNumber, Hash};
use alloc::vec::Vec;

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
    taking::take(record, index, statement.said(), attachment, circumstances)
}

/// Every seat deals and receives, under one index.
impl Refereed for CeremonyRecord {
    type Keys = Confirmed;

    const DELIVERY: ParcelKind = ParcelKind::Delivery;

    fn of(&self) -> CeremonyAttempt {
        CeremonyAttempt::root(self.era, self.attempt)
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn is_over_soon(&self, now: BlockNumber) -> bool {
        self.is_last_call(now)
    }

    fn is_of_another(&self, receiver: u16, dealer: u16) -> bool {
        dealer != receiver && self.takes_part(dealer)
    }

    /// As many as there are disputes. An honest dealer answers no more than may lie of itself.
    fn most_answers(&self) -> usize {
        usize::MAX
    }

    fn package_hash(genesis: &Hash, of: &CeremonyAttempt, dealer: u16, package: &[u8]) -> Hash {
        package_hash(genesis, of.era, of.attempt, dealer, package)
    }

    fn package(&mut self, dealer: u16) -> Option<&mut Option<Hash>> {
        self.seat_mut(dealer).map(|seat| &mut seat.package)
    }

    fn receiver(&mut self, index: u16) -> Option<Receiver<'_, Confirmed>> {
        let seat = self.seat_mut(index)?;
        Some(Receiver { confirmed: &mut seat.confirmed, key: &mut seat.key, rejected: &mut seat.rejected })
    }

    fn complaints(&mut self) -> &mut Vec<Complaint> {
        &mut self.complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ceremony::{
            delivery_hash,
            testing::{announced, judged, key_hash, sealed, wrong_deliveries, GENESIS},
            AnnouncedKey, Parcel, ParcelHeader,
        },
        ids::WorkerId,
    };

    const OF: CeremonyAttempt = CeremonyAttempt::root(1, 0);

    const COMMIT: Statement = Statement::Commit { package: [1; 32] };
    const CONFIRM: Statement = Statement::Confirm(Confirmed { share_list: [5; 32], beacon: [6; 32] });
    const ANSWER: Statement = Statement::Answer { accuser: 1, shares: [[1; 32]; 2] };

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

    fn key(index: u16) -> Attachment {
        Attachment::Key(announced(OF, index))
    }

    fn parcel() -> Parcel {
        sealed(ParcelHeader { era: 1, attempt: 0, from: 2, to: 1, kind: ParcelKind::Delivery })
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
        judged(record, now, |record, circumstances| take(record, index, &statement, attachment, circumstances))
    }

    fn refused(record: &CeremonyRecord, index: u16, statement: Statement, now: BlockNumber) -> Option<Refused> {
        say(&mut record.clone(), index, statement, now).err()
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
        let of = |of| Some(Attachment::Key(AnnouncedKey { of, ..announced(OF, 1) }));
        let long = AnnouncedKey { key: Vec::from([0; 1_217]), ..announced(OF, 1) };
        let nobodys = AnnouncedKey { key: Vec::from([0xff; 1_216]), ..announced(OF, 1) };
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
        for (stated, beside) in wrong_deliveries(&good, ParcelKind::Share) {
            let beside = beside.map(Attachment::Parcel);
            assert_eq!(say_with(&mut record, 2, delivery(&stated), beside.as_ref(), 60), Err(Refused::WrongAttachment));
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
