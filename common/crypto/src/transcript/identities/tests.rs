//! A hand-over of identities, by three holders to four seats of whom one held a share before, seen whole and with one part of it wrong.
use super::super::*;
use super::*;
use crate::{signature::ed25519::IdentityKey, Secret};
use phala_protocol::{
    ceremony::{SignedStatement, Statement},
    identities::{DealerRecord, IdentityHolder, IdentityPoints, IdentityRecord, IdentityStatement},
};

const GENESIS: Hash = [7; 32];
const HELD: Hash = [9; 32];
const PHASE: u32 = 20;

fn key(index: u8) -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([index; 32]))
}

fn id(index: u8) -> WorkerId {
    WorkerId(key(index).public())
}

fn former() -> IdentityRecord {
    let points = IdentityPoints { ed25519: [1; 32], sr25519: [2; 32] };
    let holder = |index: u8| IdentityHolder { index: index.into(), gatekeeper: id(index), shares: points };
    IdentityRecord { era: 1, threshold: 2, keys: points, holders: [1, 2, 4].map(holder).to_vec() }
}

/// The former fourth holder is the second of the new ones.
fn begun() -> IdentityCeremonyRecord {
    let mut record = IdentityCeremonyRecord::new(2, 0, Some(&former()), &[11, 4, 13, 14].map(id), |_| true);
    record.begin(Phase::Commit, 1, PHASE);
    record
}

fn signed(by: u8, index: u16, statement: IdentityStatement) -> SignedIdentityStatement {
    signed_in(by, (2, 0), index, statement)
}

fn signed_in(by: u8, (era, attempt): (u32, u32), index: u16, statement: IdentityStatement) -> SignedIdentityStatement {
    let mut signed = SignedIdentityStatement { era, attempt, index, statement, signature: [0; 64] };
    signed.signature = key(by).sign(&signed.signing_payload(&GENESIS));
    signed
}

/// Two of the three deal, all four confirm, and the chain notes that they agree.
fn whole() -> IdentityTranscript {
    let mut transcript = IdentityTranscript::default();
    let mut record = begun();
    transcript.observe(1, &record);
    for position in [0usize, 2] {
        record.dealers[position].package = Some([5; 32]);
    }
    transcript.observe(2, &record);
    transcript.observe(PHASE, &record);
    record.begin(Phase::Share, PHASE + 1, PHASE);
    for holder in &mut record.holders {
        holder.confirmed = Some(HELD);
    }
    transcript.observe(PHASE + 1, &record);
    record.agreed = Some(HELD);
    record.begin(Phase::Share, PHASE + 2, PHASE);
    transcript.observe(PHASE + 2, &record);
    transcript.note(&signed(4, 4, IdentityStatement::Commit { package: [5; 32] }));
    transcript.note(&signed(4, 2, IdentityStatement::Confirm { record: HELD }));
    transcript
}

fn refused(change: fn(&mut IdentityTranscript)) -> Option<TranscriptError> {
    let mut transcript = whole();
    change(&mut transcript);
    verify_transcript(&GENESIS, &transcript).err()
}

#[test]
fn a_hand_over_of_identities_shows_who_confirmed_which_record() {
    let transcript = whole();
    let read = IdentityTranscript::decode_bounded(&transcript.encode()).unwrap();
    assert_eq!(read, transcript);
    assert_eq!(transcript.records.len(), 5);
    let outcome = verify_transcript(&GENESIS, &read).unwrap();
    assert_eq!(outcome.made, Some((0, HELD)));
    assert_eq!(outcome.confirmed[&0], BTreeMap::from([1, 2, 3, 4].map(|index| (index, HELD))));
    assert!(outcome.blamed.is_empty(), "whoever did not commit was not needed");
    let bytes = transcript.encode();
    assert_eq!(IdentityTranscript::decode_bounded(&bytes[1..]), Err(TranscriptError::Malformed));
    assert_eq!(IdentityTranscript::decode_bounded(&[&bytes[..], &[0]].concat()), Err(TranscriptError::Malformed));
}

#[test]
fn a_gatekeeper_signs_as_dealer_and_as_holder_under_the_index_that_it_has_as_such() {
    let transcript = whole();
    let (_, record) = transcript.records.last().unwrap();
    assert!(transcript.statements.iter().all(|statement| is_taken(record, statement)));
    // The fourth holder of the new set is another gatekeeper than the fourth dealer.
    let (commit, confirm) =
        (IdentityStatement::Commit { package: [5; 32] }, IdentityStatement::Confirm { record: HELD });
    for (by, index, statement, error) in [
        (14, 4, commit, Some(TranscriptError::BadSignature(2))),
        (14, 4, confirm, None),
        (4, 4, confirm, Some(TranscriptError::BadSignature(2))),
        // There is no third dealer, and no fifth holder.
        (13, 3, commit, Some(TranscriptError::NoSuchSeat(2))),
        (4, 5, confirm, Some(TranscriptError::NoSuchSeat(2))),
        (4, 2, IdentityStatement::Confirm { record: [8; 32] }, Some(TranscriptError::OtherStatement(2))),
        (4, 4, IdentityStatement::Commit { package: [8; 32] }, Some(TranscriptError::OtherStatement(2))),
    ] {
        let mut said = transcript.clone();
        said.note(&signed(by, index, statement));
        assert_eq!(verify_transcript(&GENESIS, &said).err(), error, "{by} as {index}: {statement:?}");
    }
    assert!(verify_transcript(&[8; 32], &transcript).is_err(), "of another chain");
}

#[test]
fn a_statement_of_another_era_attempt_or_kind_of_ceremony_is_none_of_this_one() {
    let refused = |statement: SignedIdentityStatement| {
        let mut said = whole();
        said.note(&statement);
        verify_transcript(&GENESIS, &said).err()
    };
    let commit = IdentityStatement::Commit { package: [5; 32] };
    for elsewhere in [(1, 0), (3, 0), (2, 1)] {
        assert_eq!(refused(signed_in(4, elsewhere, 4, commit)), Some(TranscriptError::NoSuchSeat(2)));
        // As it is renamed by whoever carries it.
        let signature = signed_in(4, elsewhere, 4, commit).signature;
        let renamed = SignedIdentityStatement { signature, ..signed(4, 4, commit) };
        assert_eq!(refused(renamed), Some(TranscriptError::BadSignature(2)));
    }
    let statement = Statement::Commit { package: [5; 32] };
    let of_roots = SignedStatement { era: 2, attempt: 0, index: 4, statement, signature: [0; 64] };
    let signature = key(4).sign(&of_roots.signing_payload(&GENESIS));
    let renamed = SignedIdentityStatement { signature, ..signed(4, 4, commit) };
    assert_eq!(refused(renamed), Some(TranscriptError::BadSignature(2)));
}

#[test]
fn a_statement_of_a_dealer_or_holder_that_the_chain_did_not_take_is_told_from_one_that_it_took() {
    let mut record = begun();
    record.dealers[0].package = Some([5; 32]);
    record.holders[0].confirmed = Some(HELD);
    record.holders[0].rejected.push(4);
    let disputed = Complaint { delivered: Some([5; 32]), disputed: true, ..Complaint::new(1, 4) };
    record.complaints.push(Complaint { answer: Some([[6; 32]; 2]), ..disputed });
    for (index, statement, wrong) in [
        (1, IdentityStatement::Commit { package: [5; 32] }, IdentityStatement::Commit { package: [4; 32] }),
        (1, IdentityStatement::Confirm { record: HELD }, IdentityStatement::Confirm { record: [4; 32] }),
        (1, IdentityStatement::Complain { dealer: 4 }, IdentityStatement::Complain { dealer: 2 }),
        (
            4,
            IdentityStatement::Deliver { accuser: 1, parcel: [5; 32] },
            IdentityStatement::Deliver { accuser: 1, parcel: [4; 32] },
        ),
        (
            1,
            IdentityStatement::Dispute { dealer: 4, parcel: [5; 32] },
            IdentityStatement::Dispute { dealer: 4, parcel: [4; 32] },
        ),
        (
            4,
            IdentityStatement::Answer { accuser: 1, shares: [[6; 32]; 2] },
            IdentityStatement::Answer { accuser: 2, shares: [[6; 32]; 2] },
        ),
        (1, IdentityStatement::Reject { dealer: 4 }, IdentityStatement::Reject { dealer: 2 }),
    ] {
        assert!(is_taken(&record, &signed(1, index, statement)), "{statement:?}");
        assert!(!is_taken(&record, &signed(1, index, wrong)), "{wrong:?}");
        let later = SignedIdentityStatement { attempt: 1, ..signed(1, index, statement) };
        assert!(!is_taken(&record, &later), "of another attempt");
    }
}

/// Alters a transcript.
type Edit = fn(&mut IdentityTranscript);

#[test]
fn a_transcript_of_identities_that_does_not_hold_is_refused_for_what_is_wrong_with_it() {
    let cases: [(Edit, TranscriptError); 20] = [
        (|t| t.records.clear(), TranscriptError::Empty),
        (|t| t.records[1].1.threshold = 2, TranscriptError::Unsound(1)),
        (|t| t.records[1].1.holders.clear(), TranscriptError::Unsound(1)),
        (|t| t.records[1].1.deals = 4, TranscriptError::Unsound(1)),
        (|t| t.records[1].1.dealers.swap(0, 1), TranscriptError::Unsound(1)),
        (|t| t.records[1].1.dealers.push(DealerRecord::new(5, id(1))), TranscriptError::Unsound(1)),
        // What makes keys is made by those who receive them.
        (|t| t.records[1].1.former = None, TranscriptError::Unsound(1)),
        (|t| t.records[1].1.former = Some([1; 32]), TranscriptError::OtherCeremony(1)),
        (|t| t.records[1].1.holders.swap(0, 1), TranscriptError::OtherCeremony(1)),
        // Agreed on something that one of them did not confirm.
        (|t| t.records[4].1.holders[0].confirmed = Some([8; 32]), TranscriptError::Unsound(4)),
        (|t| t.records[4].1.agreed = Some([8; 32]), TranscriptError::Unsound(4)),
        // The second holder is the fourth dealer.
        (|t| t.records[3].1.complaints.push(Complaint::new(2, 4)), TranscriptError::Unsound(3)),
        // The second dealer does not deal.
        (|t| t.records[3].1.complaints.push(Complaint::new(1, 2)), TranscriptError::Unsound(3)),
        // One that deals is not enough.
        (|t| t.records[3].1.dealers[2].package = None, TranscriptError::Unsound(3)),
        (|t| t.records[2].1.dealers[0].left_out = Some(Fault::Absent), TranscriptError::Unsound(2)),
        (|t| t.records[3].1.holders[0].left_out = Some(Fault::Absent), TranscriptError::Unsound(3)),
        // It committed in time, and then it did not.
        (|t| t.records[3].1.dealers[1].package = Some([5; 32]), TranscriptError::Contradiction(4)),
        (|t| t.records[1].1.holders[0].left_out = Some(Fault::Absent), TranscriptError::Contradiction(1)),
        (|t| t.records[1].1.holders[0].confirmed = Some(HELD), TranscriptError::Contradiction(1)),
        (|t| t.records.swap(0, 2), TranscriptError::OutOfOrder(1)),
    ];
    for (place, (change, error)) in cases.into_iter().enumerate() {
        assert_eq!(refused(change), Some(error), "case {place}");
    }
    // All who take part confirmed it, and are fewer than the threshold.
    let few = refused(|t| {
        for holder in t.records.iter_mut().flat_map(|(_, record)| record.holders.iter_mut().skip(2)) {
            (holder.left_out, holder.confirmed) = (Some(Fault::Absent), None);
        }
    });
    assert_eq!(few, Some(TranscriptError::Unsound(4)));
    // When they have agreed nothing is added any more.
    let added = refused(|t| {
        let (head, mut record) = t.records[4].clone();
        record.until += 1;
        t.records.push((head + 1, record));
    });
    assert_eq!(added, Some(TranscriptError::Contradiction(5)));
}

#[test]
fn dealers_and_holders_that_an_attempt_leaves_out_are_blamed_for_what_its_last_record_shows() {
    let mut record = begun();
    for position in [0usize, 2] {
        record.dealers[position].package = Some([5; 32]);
    }
    // The first holder lacks what the first dealer owes it; the third says nothing, and nobody owes it anything.
    record.begin(Phase::Settle, 21, PHASE);
    record.holders[0].key = Some([3; 32]);
    record.complaints.push(Complaint::new(1, 1));
    for position in [1usize, 3] {
        record.holders[position].confirmed = Some(HELD);
    }
    let last = record.until;
    let mut next = record.clone();
    let ended = end_phase(&mut next);
    assert_eq!(ended.next, IdentityNext::Begin(Phase::Commit));
    next.begin(Phase::Commit, last + 1, PHASE);
    let shown = |head, after: &IdentityCeremonyRecord| {
        let mut transcript = IdentityTranscript::default();
        transcript.observe(head, &record);
        transcript.observe(last + 1, after);
        verify_transcript(&GENESIS, &transcript).unwrap().blamed[&0].clone()
    };
    let blamed = |dealer, holder| {
        BTreeMap::from([(Part::Dealer(1), (Fault::Absent, dealer)), (Part::Holder(3), (Fault::Absent, holder))])
    };
    let why = blamed(Some(Reason::NotDelivered), Some(Reason::NotConfirmed));
    assert_eq!(shown(last, &next), why);
    // What an exporter leaves out gives nobody a reason.
    assert_eq!(shown(last - 1, &next), blamed(None, None));
    let restarted = IdentityCeremonyRecord { readmissions: 3, ..next.clone() };
    assert_eq!(shown(last, &restarted), blamed(None, None), "another ceremony of the same era");
    let later = IdentityCeremonyRecord { attempt: 2, ..next.clone() };
    assert_eq!(shown(last, &later), blamed(None, None), "an attempt between them is left out");
}

#[test]
fn complaints_of_holders_that_are_gone_are_dropped_when_all_agree_and_none_is_otherwise() {
    let mut record = begun();
    for position in [0usize, 2] {
        record.dealers[position].package = Some([5; 32]);
    }
    record.begin(Phase::Settle, 21, PHASE);
    record.holders[0].key = Some([3; 32]);
    record.complaints.extend([Complaint::new(1, 1), Complaint::new(3, 1), Complaint::new(1, 4)]);
    for holder in &mut record.holders {
        holder.confirmed = Some(HELD);
    }
    let follows = |agreed: Option<Hash>, kept: fn(&Complaint) -> bool| {
        let mut after = IdentityCeremonyRecord { agreed, ..record.clone() };
        after.complaints.retain(kept);
        after.follows(&record)
    };
    assert!(follows(Some(HELD), |_| true) && follows(None, |_| true));
    assert!(follows(Some(HELD), |known| known.accuser != 1));
    assert!(!follows(None, |known| known.accuser != 1));
    assert!(!follows(Some(HELD), |known| known.dealer != 4), "one of two of the same holder");
}

#[test]
fn complaints_in_vain_of_whoever_was_out_of_reach_are_dropped_when_delivering_ends_and_only_then() {
    let mut record = begun();
    for position in [0usize, 2] {
        record.dealers[position].package = Some([5; 32]);
    }
    record.begin(Phase::Deliver, 21, PHASE);
    record.holders[0].key = Some([3; 32]);
    record.holders[2].key = Some([4; 32]);
    record.complaints.extend([Complaint::new(1, 1), Complaint::new(3, 1), Complaint::new(1, 3)]);
    record.complaints[2].delivered = Some([6; 32]);
    let follows = |phase, kept: fn(&Complaint) -> bool| {
        let mut after = record.clone();
        after.begin(phase, 41, PHASE);
        after.complaints.retain(kept);
        after.follows(&record)
    };
    assert!(follows(Phase::Settle, |_| true));
    // The first holder's in vain, which is one of its two; or the third's; or both.
    assert!(follows(Phase::Settle, |known| (known.accuser, known.dealer) != (1, 1)));
    assert!(follows(Phase::Settle, |known| known.accuser != 3));
    assert!(follows(Phase::Settle, |known| known.delivered.is_some()));
    assert!(!follows(Phase::Settle, |known| known.accuser != 1), "what was delivered stays");
    assert!(!follows(Phase::Deliver, |known| known.accuser != 3), "while others may still deliver");
}
