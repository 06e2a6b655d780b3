//! A ceremony that everybody confirms, and statements that the chain took or did not.
use super::*;
use crate::{signature::ed25519::IdentityKey, Secret};
use phala_protocol::{
    ceremony::{Complaint, Phase, Statement},
    WorkerId,
};

const GENESIS: Hash = [7; 32];
const KEYS: Confirmed = Confirmed { share_list: [9; 32], beacon: [8; 32] };

fn key(index: u16) -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([index as u8; 32]))
}

fn signed(index: u16, statement: Statement) -> SignedStatement {
    let mut signed = SignedStatement { era: 0, attempt: 0, index, statement, signature: [0; 64] };
    signed.signature = key(index).sign(&signed.signing_payload(&GENESIS));
    signed
}

/// Four seats that commit and confirm, and what each of them said.
fn whole() -> Transcript {
    let ids = [1, 2, 3, 4].map(|index| WorkerId(key(index).public()));
    let mut record = CeremonyRecord::new(0, 0, &ids);
    record.begin(Phase::Commit, 1, 50);
    let mut transcript = Transcript::default();
    transcript.observe(1, &record);
    let say = |transcript: &mut Transcript, record: &CeremonyRecord, index, statement| {
        let statement = signed(index, statement);
        assert!(is_taken(record, &statement));
        transcript.note(&statement);
    };
    for (index, seat) in (1u16..).zip([0usize, 1, 2, 3]) {
        let package = [index as u8; 32];
        record.seats[seat].package = Some(package);
        say(&mut transcript, &record, index, Statement::Commit { package });
    }
    transcript.observe(2, &record);
    record.begin(Phase::Share, 3, 100);
    for (index, seat) in (1u16..).zip([0usize, 1, 2, 3]) {
        record.seats[seat].confirmed = Some(KEYS);
        say(&mut transcript, &record, index, Statement::Confirm(KEYS));
    }
    transcript.observe(4, &record);
    transcript
}

#[test]
fn a_transcript_is_read_as_it_was_written_and_shows_who_confirmed_what() {
    let transcript = whole();
    let read = <Transcript>::decode_bounded(&transcript.encode()).unwrap();
    assert_eq!(read, transcript);
    let outcome = verify_transcript(&GENESIS, &read).unwrap();
    assert_eq!(outcome.made, Some((0, KEYS)));
    assert_eq!(outcome.confirmed[&0], BTreeMap::from([1, 2, 3, 4].map(|index| (index, KEYS))));
    assert!(outcome.blamed.is_empty());
    let elsewhere = verify_transcript(&[8; 32], &read);
    assert_eq!(elsewhere, Err(TranscriptError::BadSignature(0)), "of another chain");
}

#[test]
fn what_is_no_transcript_is_not_read() {
    let bytes = whole().encode();
    assert_eq!(<Transcript>::decode_bounded(&bytes[1..]), Err(TranscriptError::Malformed));
    assert_eq!(<Transcript>::decode_bounded(&[&bytes[..], &[0]].concat()), Err(TranscriptError::Malformed));
    let long = alloc::vec![0; MAX_TRANSCRIPT_BYTES + 1];
    assert_eq!(<Transcript>::decode_bounded(&long), Err(TranscriptError::TooLong));
}

#[test]
fn a_statement_that_the_chain_did_not_take_is_told_from_one_that_it_took() {
    let transcript = whole();
    let (_, record) = transcript.records.last().unwrap();
    assert!(transcript.statements.iter().all(|statement| is_taken(record, statement)));
    let other = signed(1, Statement::Commit { package: [99; 32] });
    assert!(!is_taken(record, &other), "the seat's signature does not make it the chain's");
    assert!(!is_taken(record, &signed(9, Statement::Complain { dealer: 1 })));
    let other_beacon = Confirmed { beacon: [7; 32], ..KEYS };
    assert!(!is_taken(record, &signed(1, Statement::Confirm(other_beacon))), "the root's list is half of it");
    let mut disputed = record.clone();
    assert!(!is_taken(&disputed, &signed(1, Statement::Complain { dealer: 2 })));
    let mut complaint = Complaint::new(1, 2);
    (complaint.delivered, complaint.disputed, complaint.answer) = (Some([5; 32]), true, Some([[6; 32]; 2]));
    disputed.complaints.push(complaint);
    disputed.seats[0].rejected.push(2);
    for (index, statement, wrong) in [
        (1, Statement::Complain { dealer: 2 }, Statement::Complain { dealer: 3 }),
        (2, Statement::Deliver { accuser: 1, parcel: [5; 32] }, Statement::Deliver { accuser: 1, parcel: [4; 32] }),
        (1, Statement::Dispute { dealer: 2, parcel: [5; 32] }, Statement::Dispute { dealer: 2, parcel: [4; 32] }),
        (
            2,
            Statement::Answer { accuser: 1, shares: [[6; 32]; 2] },
            Statement::Answer { accuser: 1, shares: [[6; 32], [4; 32]] },
        ),
        (1, Statement::Reject { dealer: 2 }, Statement::Reject { dealer: 3 }),
    ] {
        assert!(is_taken(&disputed, &signed(index, statement)), "{statement:?}");
        assert!(!is_taken(&disputed, &signed(index, wrong)), "{wrong:?}");
    }
    let earlier = SignedStatement { attempt: 1, ..transcript.statements[0] };
    assert!(!is_taken(record, &earlier), "of another attempt");
}
