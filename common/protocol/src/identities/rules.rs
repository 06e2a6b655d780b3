//! Who speaks in a ceremony of identities, of what its statements are taken, and with which record it ends.
//!
//! Guarantees: [`take`] is a function of record, statement, what stands beside it, and [`Circumstances`]; [`show`] of ceremony and records. A
//! statement counts when its dealer deals or its holder takes part, and it has its place in the phase: for the rest see
//! [`crate::ceremony::taking`]. Does not verify signatures, nor that a gatekeeper is active: whoever keeps the record does, before. Dealers
//! and holders control what they state, and through it only what the record says of themselves.

use super::{dealing_hash, IdentityCeremonyRecord, IdentityRecord, IdentityStatement};
use crate::{
    ceremony::{
        taking::{self, Receiver, Refereed},
        tolerated, Attachment, CeremonyAttempt, Circumstances, Complaint, ParcelKind, Phase, Refused,
    },
    ids::BlockNumber,
    Hash,
};
use alloc::vec::Vec;

/// Takes what the dealer or holder of `index` says, with what stands beside it, or leaves the record as it is.
pub fn take(
    record: &mut IdentityCeremonyRecord,
    index: u16,
    statement: &IdentityStatement,
    attachment: Option<&Attachment>,
    circumstances: &Circumstances,
) -> Result<(), Refused> {
    takes_part(record, index, statement)?;
    if record.agreed.is_some() {
        return Err(Refused::WrongPhase);
    }
    taking::take(record, index, statement.said(), attachment, circumstances)
}

/// Whether whoever speaks is there, and takes part in this phase as what it speaks as.
fn takes_part(record: &IdentityCeremonyRecord, index: u16, statement: &IdentityStatement) -> Result<(), Refused> {
    let part = if statement.is_of_dealer() {
        record.dealer(index).ok_or(Refused::NoSuchSeat)?;
        record.deals(index)
    } else {
        record.holder(index).ok_or(Refused::NoSuchSeat)?.left_out.is_none()
    };
    part.then_some(()).ok_or(Refused::TakesNoPart)
}

/// Dealers deal and holders receive, each under indices of their own.
impl Refereed for IdentityCeremonyRecord {
    type Keys = Hash;

    const DELIVERY: ParcelKind = ParcelKind::Identities;

    fn of(&self) -> CeremonyAttempt {
        CeremonyAttempt::identities(self.era, self.attempt)
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn is_over_soon(&self, now: BlockNumber) -> bool {
        self.is_last_call(now)
    }

    fn is_of_another(&self, receiver: u16, dealer: u16) -> bool {
        let dealing = self.dealing().find(|known| known.index == dealer);
        dealing.zip(self.holder(receiver)).is_some_and(|(dealer, holder)| dealer.gatekeeper != holder.gatekeeper)
    }

    /// So many answers as the threshold would be what the dealer deals, which is its share of a key that lives for ever.
    fn most_answers(&self) -> usize {
        tolerated(self.holders.len())
    }

    fn package_hash(genesis: &Hash, of: &CeremonyAttempt, dealer: u16, package: &[u8]) -> Hash {
        dealing_hash(genesis, of.era, of.attempt, dealer, package)
    }

    fn package(&mut self, dealer: u16) -> Option<&mut Option<Hash>> {
        self.dealer_mut(dealer).map(|dealer| &mut dealer.package)
    }

    fn receiver(&mut self, index: u16) -> Option<Receiver<'_, Hash>> {
        let holder = self.holder_mut(index)?;
        Some(Receiver { confirmed: &mut holder.confirmed, key: &mut holder.key, rejected: &mut holder.rejected })
    }

    fn complaints(&mut self) -> &mut Vec<Complaint> {
        &mut self.complaints
    }
}

/// Why a record is not the one with which a ceremony ends; the fault is of whoever shows it, or of a threshold of holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// The holders have not agreed on any.
    #[error("holders have not agreed on a record of identities")]
    NotAgreed,
    /// It has another hash than the one that the holders confirmed.
    #[error("this is not the record of identities that the holders confirmed")]
    OtherRecord,
    /// What was given as the former record is not what is handed over; the caller's fault.
    #[error("the former record of identities is not the one that is handed over")]
    OtherFormer,
    /// Its era or threshold are not the ceremony's, or its holders are not those that confirmed it, ascending.
    #[error("the record of identities is not of the ceremony's era, threshold and holders")]
    OtherHolders,
    /// Its keys are not those that were handed over.
    #[error("the record of identities has other keys than those that were handed over")]
    OtherKeys,
}

/// Whether `shown` is the record with which the ceremony ends: from then on its holders have the keys, and nobody else. `former` is the record
/// that is handed over, if there is one. Looks at no more holders than the ceremony has.
pub fn show(
    ceremony: &IdentityCeremonyRecord,
    shown: &IdentityRecord,
    former: Option<&IdentityRecord>,
) -> Result<(), NotShown> {
    let agreed = ceremony.agreed.ok_or(NotShown::NotAgreed)?;
    let those = ceremony.receiving().map(|(index, holder)| (index, holder.gatekeeper));
    let holders = shown.holders.iter().map(|holder| (holder.index, holder.gatekeeper));
    if (shown.era, shown.threshold) != (ceremony.era, ceremony.threshold) || !those.eq(holders) {
        return Err(NotShown::OtherHolders);
    }
    if shown.hash() != agreed {
        return Err(NotShown::OtherRecord);
    }
    if former.map(IdentityRecord::hash) != ceremony.former {
        return Err(NotShown::OtherFormer);
    }
    if former.is_some_and(|former| former.keys != shown.keys) {
        return Err(NotShown::OtherKeys);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ceremony::{
            delivery_hash,
            testing::{announced, judged, key_hash, sealed, wrong_deliveries, GENESIS},
            AnnouncedKey, Parcel, ParcelHeader, LAST_CALL_BLOCKS,
        },
        identities::{IdentityHolder, IdentityPoints},
        ids::WorkerId,
    };

    const OF: CeremonyAttempt = CeremonyAttempt::identities(2, 0);
    const CONFIRM: IdentityStatement = IdentityStatement::Confirm { record: [5; 32] };
    const COMMIT: IdentityStatement = IdentityStatement::Commit { package: [1; 32] };
    const ANSWER: IdentityStatement = IdentityStatement::Answer { accuser: 1, shares: [[1; 32]; 2] };
    const COMPLAIN: IdentityStatement = IdentityStatement::Complain { dealer: 5 };
    const REJECT: IdentityStatement = IdentityStatement::Reject { dealer: 5 };

    fn id(byte: u8) -> WorkerId {
        WorkerId([byte; 32])
    }

    fn former() -> IdentityRecord {
        let points = |byte: u8| IdentityPoints { ed25519: [byte; 32], sr25519: [byte; 32] };
        let holder = |index: u8| IdentityHolder { index: index.into(), gatekeeper: id(index), shares: points(index) };
        IdentityRecord { era: 1, threshold: 3, keys: points(9), holders: Vec::from([1, 2, 4, 5].map(holder)) }
    }

    /// Holders 1, 2, 4 and 5 of the former set hand over to four, of which the fourth is the former fifth; it, the first, and the fourth
    /// committed. In this phase until block 100. The first holder complained of the fifth dealer.
    fn record(phase: Phase) -> IdentityCeremonyRecord {
        let holders = [11, 12, 13, 5].map(id);
        let mut record = IdentityCeremonyRecord::new(2, 0, Some(&former()), &holders, |_| true);
        assert_eq!((record.deals, record.threshold), (3, 3));
        record.begin(Phase::Commit, 1, 50);
        for dealer in [1, 4, 5] {
            let package = dealing_hash(&GENESIS, 2, 0, dealer, b"package");
            say(&mut record, dealer, IdentityStatement::Commit { package }, 1).unwrap();
        }
        record.begin(phase, 51, 50);
        if matches!(phase, Phase::Deliver | Phase::Settle) {
            record.holders[0].key = Some(key_hash(1));
            record.complaints.push(Complaint::new(1, 5));
        }
        record
    }

    fn disputed() -> IdentityCeremonyRecord {
        let mut record = record(Phase::Settle);
        (record.complaints[0].delivered, record.complaints[0].disputed) = (Some([9; 32]), true);
        record
    }

    fn key(index: u16) -> Attachment {
        Attachment::Key(announced(OF, index))
    }

    fn parcel() -> Parcel {
        sealed(ParcelHeader { era: 2, attempt: 0, from: 5, to: 1, kind: ParcelKind::Identities })
    }

    fn delivery(parcel: &Parcel) -> IdentityStatement {
        IdentityStatement::Deliver { accuser: 1, parcel: delivery_hash(&key_hash(1), parcel) }
    }

    fn beside(statement: IdentityStatement) -> Option<Attachment> {
        match statement {
            IdentityStatement::Complain { .. } => Some(key(1)),
            IdentityStatement::Deliver { .. } => Some(Attachment::Parcel(parcel())),
            IdentityStatement::Answer { .. } => Some(Attachment::Package(b"package".to_vec())),
            _ => None,
        }
    }

    fn say(
        record: &mut IdentityCeremonyRecord,
        index: u16,
        statement: IdentityStatement,
        now: BlockNumber,
    ) -> Result<(), Refused> {
        say_with(record, index, statement, beside(statement).as_ref(), now)
    }

    fn say_with(
        record: &mut IdentityCeremonyRecord,
        index: u16,
        statement: IdentityStatement,
        attachment: Option<&Attachment>,
        now: BlockNumber,
    ) -> Result<(), Refused> {
        judged(record, now, |record, circumstances| take(record, index, &statement, attachment, circumstances))
    }

    fn refused(
        record: &IdentityCeremonyRecord,
        index: u16,
        statement: IdentityStatement,
        now: BlockNumber,
    ) -> Option<Refused> {
        say(&mut record.clone(), index, statement, now).err()
    }

    #[test]
    fn a_statement_is_taken_of_who_deals_or_receives_in_its_phase_once() {
        let deliver = delivery(&parcel());
        let dispute = IdentityStatement::Dispute { dealer: 5, parcel: [9; 32] };
        let mut delivered = record(Phase::Deliver);
        delivered.complaints[0].delivered = Some([9; 32]);
        let places: [(IdentityCeremonyRecord, u16, &[IdentityStatement]); 7] = [
            (record(Phase::Commit), 2, &[COMMIT]),
            (record(Phase::Share), 1, &[COMPLAIN, CONFIRM]),
            (record(Phase::Deliver), 5, &[deliver]),
            (record(Phase::Deliver), 2, &[CONFIRM]),
            (delivered, 1, &[dispute, CONFIRM]),
            (disputed(), 1, &[REJECT, CONFIRM]),
            (disputed(), 5, &[ANSWER]),
        ];
        let phase_of = |statement: &IdentityStatement| match statement {
            IdentityStatement::Commit { .. } => Some(Phase::Commit),
            IdentityStatement::Complain { .. } => Some(Phase::Share),
            IdentityStatement::Deliver { .. } | IdentityStatement::Dispute { .. } => Some(Phase::Deliver),
            IdentityStatement::Answer { .. } | IdentityStatement::Reject { .. } => Some(Phase::Settle),
            IdentityStatement::Confirm { .. } => None,
        };
        for (record, index, taken) in &places {
            for statement in *taken {
                let mut record = record.clone();
                for nobody in [0, 6, u16::MAX] {
                    assert_eq!(refused(&record, nobody, *statement, 60), Some(Refused::NoSuchSeat));
                }
                say(&mut record, *index, *statement, 60).unwrap();
                assert_eq!(refused(&record, *index, *statement, 60), Some(Refused::AlreadyStated), "{statement:?}");
                record.agreed = Some([5; 32]);
                assert_eq!(refused(&record, *index, *statement, 60), Some(Refused::WrongPhase), "{statement:?}");
            }
            for statement in [COMMIT, COMPLAIN, deliver, dispute, ANSWER, REJECT, CONFIRM] {
                let out_of_phase = phase_of(&statement).is_some_and(|phase| phase != record.phase);
                let speaks = if statement.is_of_dealer() { record.deals(*index) } else { *index <= 4 };
                if out_of_phase && speaks {
                    let taken = say_with(&mut record.clone(), *index, statement, None, 60);
                    assert_eq!(taken, Err(Refused::WrongPhase), "{statement:?}");
                }
            }
        }
    }

    #[test]
    fn dealers_and_holders_are_two_lists_and_only_as_many_deal_as_it_takes() {
        let mut record = record(Phase::Commit);
        assert_eq!(refused(&record, 3, COMMIT, 1), Some(Refused::NoSuchSeat), "the former third holds nothing");
        say(&mut record, 2, COMMIT, 1).unwrap();
        assert_eq!(record.dealing().map(|dealer| dealer.index).collect::<Vec<_>>(), [1, 2, 4, 5]);
        record.begin(Phase::Share, 51, 50);
        assert_eq!(record.dealing().map(|dealer| dealer.index).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(refused(&record, 1, COMPLAIN, 60), Some(Refused::NoSuchDealer), "the fifth does not deal");
        assert_eq!(refused(&record, 5, ANSWER, 60), Some(Refused::TakesNoPart));
        record.holders[1].left_out = Some(crate::ceremony::Fault::Absent);
        assert_eq!(refused(&record, 2, CONFIRM, 60), Some(Refused::TakesNoPart));
        assert_eq!(record.receiving().map(|(index, _)| index).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn nobody_accuses_or_rejects_itself_or_who_does_not_deal_and_whoever_confirmed_accuses_nobody() {
        let (mut sharing, settling) = (record(Phase::Share), record(Phase::Settle));
        for nobody in [0, 2, 3, 6, u16::MAX] {
            let complain = IdentityStatement::Complain { dealer: nobody };
            assert_eq!(refused(&sharing, 1, complain, 60), Some(Refused::NoSuchDealer));
            let reject = IdentityStatement::Reject { dealer: nobody };
            assert_eq!(refused(&settling, 1, reject, 60), Some(Refused::NoSuchDealer));
        }
        assert_eq!(refused(&sharing, 4, COMPLAIN, 60), Some(Refused::NoSuchDealer), "it is the former fifth");
        assert_eq!(refused(&settling, 4, REJECT, 60), Some(Refused::NoSuchDealer));
        say(&mut sharing, 1, CONFIRM, 60).unwrap();
        assert_eq!(refused(&sharing, 1, COMPLAIN, 60), Some(Refused::AlreadyStated));
    }

    #[test]
    fn a_complaint_brings_a_key_of_the_attempt_and_a_delivery_is_the_parcel_beside_it_sealed_to_that() {
        let mut record = record(Phase::Share);
        let roots = AnnouncedKey { of: CeremonyAttempt::root(2, 0), ..announced(OF, 1) };
        let later = AnnouncedKey { of: CeremonyAttempt::identities(2, 1), ..announced(OF, 1) };
        for wrong in
            [None, Some(Attachment::Key(roots)), Some(Attachment::Key(later)), Some(Attachment::Package(Vec::new()))]
        {
            assert_eq!(say_with(&mut record, 1, COMPLAIN, wrong.as_ref(), 60), Err(Refused::WrongAttachment));
        }
        say(&mut record, 1, COMPLAIN, 60).unwrap();
        assert_eq!(record.holders[0].key, Some(key_hash(1)));
        say_with(&mut record, 1, IdentityStatement::Complain { dealer: 4 }, None, 60).unwrap();
        record.begin(Phase::Deliver, 51, 50);
        let good = parcel();
        for (stated, beside) in wrong_deliveries(&good, ParcelKind::Delivery) {
            let beside = beside.map(Attachment::Parcel);
            assert_eq!(say_with(&mut record, 5, delivery(&stated), beside.as_ref(), 60), Err(Refused::WrongAttachment));
        }
        assert_eq!(refused(&record, 5, delivery(&good), 101 - LAST_CALL_BLOCKS), Some(Refused::TooLate));
        let dispute = |parcel| IdentityStatement::Dispute { dealer: 5, parcel };
        assert_eq!(refused(&record, 1, dispute([9; 32]), 60), Some(Refused::NoSuchDelivery));
        say(&mut record, 5, delivery(&good), 90).unwrap();
        assert_eq!(refused(&record, 1, dispute([9; 32]), 100), Some(Refused::NoSuchDelivery), "of a fork");
        assert_eq!(refused(&record, 3, dispute([9; 32]), 100), Some(Refused::NoSuchComplaint));
        say(&mut record, 1, dispute(delivery_hash(&key_hash(1), &good)), 100).unwrap();
    }

    #[test]
    fn an_answer_is_to_a_dispute_with_the_package_and_leaves_the_last_call_to_reject_it() {
        assert_eq!(refused(&record(Phase::Settle), 5, ANSWER, 60), Some(Refused::NoSuchComplaint), "not disputed");
        let mut record = disputed();
        let bad = IdentityStatement::Answer { accuser: 1, shares: [[1; 32], [0xff; 32]] };
        assert_eq!(refused(&record, 5, bad, 60), Some(Refused::BadShare));
        assert_eq!(refused(&record, 4, ANSWER, 60), Some(Refused::NoSuchComplaint));
        assert_eq!(refused(&record, 5, ANSWER, 91), Some(Refused::TooLate));
        let package = |bytes: &[u8]| Some(Attachment::Package(bytes.to_vec()));
        for wrong in [None, package(b"another"), Some(key(2))] {
            assert_eq!(say_with(&mut record, 5, ANSWER, wrong.as_ref(), 60), Err(Refused::WrongAttachment));
        }
        say(&mut record, 5, ANSWER, 90).unwrap();
        assert_eq!(refused(&record, 1, REJECT, 100), None, "there is time");
    }

    #[test]
    fn no_dealer_answers_as_many_as_give_its_share_away() {
        for holders in 4..=40u8 {
            let ids: Vec<WorkerId> = (101..101 + holders).map(id).collect();
            let mut record = IdentityCeremonyRecord::new(2, 0, Some(&former()), &ids, |_| true);
            for dealer in [1, 2, 4] {
                record.dealer_mut(dealer).unwrap().package = Some(dealing_hash(&GENESIS, 2, 0, dealer, b"package"));
            }
            record.begin(Phase::Settle, 51, 50);
            for (accuser, dealer) in (1..=u16::from(holders)).flat_map(|accuser| [(accuser, 1), (accuser, 2)]) {
                let complaint =
                    Complaint { delivered: Some([9; 32]), disputed: true, ..Complaint::new(accuser, dealer) };
                record.complaints.push(complaint);
            }
            for dealer in [1, 2] {
                let mut taken = 0;
                for accuser in 1..=u16::from(holders) {
                    let answer = IdentityStatement::Answer { accuser, shares: [[1; 32]; 2] };
                    match say(&mut record, dealer, answer, 60) {
                        Ok(()) => taken += 1,
                        refused => assert_eq!(refused, Err(Refused::TooManyAnswers)),
                    }
                }
                assert_eq!(taken, tolerated(holders.into()));
                assert!(taken < usize::from(record.threshold) - 1, "not even one value less than decides it");
            }
        }
    }

    #[test]
    fn a_record_is_shown_that_was_agreed_on_of_the_same_keys_and_those_that_confirmed() {
        let former = former();
        let mut ceremony = record(Phase::Settle);
        ceremony.holders[1].left_out = Some(crate::ceremony::Fault::Absent);
        let points = |byte: u8| IdentityPoints { ed25519: [byte; 32], sr25519: [byte; 32] };
        let holder =
            |(index, holder): (u16, u8)| IdentityHolder { index, gatekeeper: id(holder), shares: points(holder) };
        let shown = IdentityRecord {
            era: 2,
            threshold: 3,
            keys: former.keys,
            holders: Vec::from([(1, 11), (3, 13), (4, 5)].map(holder)),
        };
        assert_eq!(show(&ceremony, &shown, Some(&former)), Err(NotShown::NotAgreed));
        ceremony.agreed = Some(shown.hash());
        assert_eq!(show(&ceremony, &shown, Some(&former)), Ok(()));
        assert_eq!(show(&ceremony, &shown, None), Err(NotShown::OtherFormer));
        let other = IdentityRecord { era: 0, ..former.clone() };
        assert_eq!(show(&ceremony, &shown, Some(&other)), Err(NotShown::OtherFormer));
        let refusal = |change: fn(&mut IdentityRecord), agreed_too: bool| {
            let (mut ceremony, mut shown) = (ceremony.clone(), shown.clone());
            change(&mut shown);
            if agreed_too {
                ceremony.agreed = Some(shown.hash());
            }
            show(&ceremony, &shown, Some(&former)).err()
        };
        assert_eq!(refusal(|shown| shown.holders[0].shares.ed25519[0] ^= 1, false), Some(NotShown::OtherRecord));
        assert_eq!(refusal(|shown| shown.keys.sr25519[0] ^= 1, true), Some(NotShown::OtherKeys));
        let others: [fn(&mut IdentityRecord); 6] = [
            |shown| shown.era = 3,
            |shown| shown.threshold = 2,
            |shown| shown.holders.truncate(shown.holders.len() - 1),
            |shown| shown.holders.swap(0, 1),
            |shown| shown.holders[0].gatekeeper = id(12),
            |shown| shown.holders.push(shown.holders[0]),
        ];
        for change in others {
            assert_eq!(refusal(change, true), Some(NotShown::OtherHolders));
        }
    }
}
