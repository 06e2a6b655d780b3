//! What a seat does about shares that did not come: complaints, deliveries, disputes, answers; old disks; and what transcripts show of it.

use super::*;

/// Keys that nobody made.
const OTHER: Confirmed = Confirmed { share_list: [5; 32], beacon: [6; 32] };

#[test]
fn complaints_wait_for_the_last_call_and_bring_the_key_of_whoever_is_cut_off() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 2 && header.to == 1);
    assert_eq!(table.said(1, LAST_CALL - 1), []);
    let turn = table.step(1, LAST_CALL).unwrap();
    let [(signed, Attachment::Key(key))] = &turn.attached[..] else { panic!() };
    assert_eq!((signed.statement, key), (Statement::Complain { dealer: 2 }, &receiving(1, OF).announce(&identity(1))));
    table.complain(1, 2);
    assert_eq!(table.said(1, LAST_CALL), []);

    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    assert_eq!(table.said(1, LAST_CALL), [2, 3, 4].map(|dealer| Statement::Complain { dealer }));
    table.complain(1, 4);
    let turn = table.step(1, LAST_CALL).unwrap();
    assert_eq!((turn.attached.len(), turn.statements.len()), (0, 2), "the key stands");
}

#[test]
fn what_is_delivered_on_chain_is_taken_and_disputed_only_if_it_is_useless() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    (2..=4).for_each(|dealer| table.complain(1, dealer));
    assert_eq!(table.said(2, 2).len(), 1, "a confirmation: nothing is delivered in this phase");
    table.record.phase = Phase::Deliver;
    let turn = table.step(2, 2).unwrap();
    let [(signed, Attachment::Parcel(parcel))] = &turn.attached[..] else { panic!() };
    assert_eq!(table.said(1, 2), []);
    assert_eq!(table.accept(parcel), Err(ParcelRefusal::NotDelivered), "the chain does not have it");
    let hash = table.delivered(0, parcel);
    assert_eq!(signed.statement, Statement::Deliver { accuser: 1, parcel: hash });
    assert!(table.step(2, 3).unwrap().attached.is_empty(), "it stands");

    // The third delivers what is nothing; the host of the first shows it nothing of the fourth's.
    let useless = table.forge(3, 1, ParcelKind::Delivery, b"nothing");
    let hash = table.delivered(1, &useless);
    let withheld = table.forge(4, 1, ParcelKind::Delivery, b"nothing");
    table.record.complaints[2].delivered = Some([1; 32]);
    assert_eq!(table.said(1, 3), [], "no bytes, no dispute");
    assert_eq!(table.accept(parcel), Ok(()));
    assert_eq!(table.accept(&withheld), Err(ParcelRefusal::NotDelivered), "not what the chain has");
    assert_eq!(table.accept(&useless), Err(ParcelRefusal::WrongShare));
    assert_eq!(table.said(1, 4), [Statement::Dispute { dealer: 3, parcel: hash }]);
    // A restored state says it again when it has seen it again.
    let sealed = table.seats[0].to_secret_bytes();
    table.seats[0] = Ceremony::from_secret_bytes(&sealed).unwrap();
    assert_eq!(table.said(1, 5), []);
    assert_eq!(table.accept(&useless), Err(ParcelRefusal::WrongShare));
    assert_eq!(table.said(1, 6), [Statement::Dispute { dealer: 3, parcel: hash }]);
    table.record.complaints[1].disputed = true;
    assert_eq!(table.said(1, 7), []);
}

#[test]
fn a_delivery_is_sealed_to_the_key_of_the_complaint_before_the_last_call() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.to == 1);
    table.complain(1, 2);
    table.record.phase = Phase::Deliver;
    assert!(table.step(2, LAST_CALL).unwrap().attached.is_empty());
    table.record.seats[0].key = Some([1; 32]);
    let turn = table.step(2, 2).unwrap();
    assert_eq!((turn.attached.len(), turn.strangers), (0, vec![id(1)]), "this key nobody introduced");
    table.record.seats[0].key = Some(table.peers[&id(1)].key_hash());
    table.record.seats[0].confirmed = Some(OTHER);
    assert!(table.step(2, 2).unwrap().attached.is_empty(), "it lacks nothing");
}

#[test]
fn a_share_is_answered_in_settle_to_a_dispute_that_stands_and_to_as_many_as_may_lie() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 1);
    table.dispute(2, 1, None);
    table.dispute(3, 1, None);
    table.dispute(3, 4, None);
    let shares = table.shares(1, 2);
    let answers = |said: Vec<Statement>| -> Vec<Statement> {
        said.into_iter().filter(|statement| matches!(statement, Statement::Answer { .. })).collect()
    };
    assert_eq!(answers(table.said(1, 2)), [], "not in this phase");
    table.record.phase = Phase::Deliver;
    assert_eq!(answers(table.said(1, 2)), [], "nor in this");
    table.settle();
    table.record.complaints.iter_mut().for_each(|complaint| complaint.disputed = false);
    assert_eq!(answers(table.said(1, 2)), [], "nor what was delivered and is not disputed");
    table.record.complaints.iter_mut().for_each(|complaint| complaint.disputed = true);
    let expected = [Statement::Answer { accuser: 2, shares }];
    assert_eq!(answers(table.said(1, 2)), expected, "the first of two");
    let turn = table.step(1, 3).unwrap();
    assert!(turn.attached.iter().all(|(_, beside)| *beside == Attachment::Package(table.package(1))));
    assert_eq!(answers(table.said(1, LAST_CALL - 1)), expected, "until it stands");
    assert_eq!(answers(table.said(1, LAST_CALL)), [], "the chain would not take it, and all would have read it");
    // An old state that is restored answers the same one, and no other.
    table.record.complaints[0].answer = Some(shares);
    table.seats[0] = begin(1, &table.record).unwrap();
    assert_eq!(answers(table.said(1, 4)), []);
    // On a fork the disputes come in another order: the bound holds.
    table.record.complaints.swap(0, 1);
    assert_eq!(answers(table.said(1, 5)), []);
}

#[test]
fn a_fitting_answer_is_taken_with_the_package_that_stands_beside_it() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 2 && header.to == 1);
    let shares = table.shares(2, 1);
    table.dispute(1, 2, Some(shares));
    table.settle();
    assert_eq!(table.said(1, 2), [], "an answer without a package proves nothing");
    let package = table.package(2);
    assert_eq!(table.seats[0].accept_package(2, &package[1..]), Err(ParcelRefusal::WrongHash));
    assert_eq!(table.seats[0].accept_package(9, &package), Err(ParcelRefusal::NoParticipant));
    assert_eq!(table.seats[0].accept_package(2, &package), Ok(()));
    assert!(matches!(table.said(1, 3)[..], [Statement::Confirm(_)]));
}

#[test]
fn a_wrong_answer_and_a_package_that_is_none_are_rejected_and_nothing_for_want_of_a_package() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|header| header.from == 2 && header.to == 1);
    let of_another = table.shares(2, 3);
    table.dispute(1, 2, Some(of_another));
    table.settle();
    let said = table.said(3, 2);
    assert!(said.contains(&Statement::Reject { dealer: 2 }), "{said:?}");
    table.record.seats[2].rejected.push(2);
    assert!(!table.said(3, 3).contains(&Statement::Reject { dealer: 2 }));
    assert_eq!(table.said(1, LAST_CALL), [], "its host keeps the package from it");
    let package = table.package(2);
    assert_eq!(table.seats[0].accept_package(2, &package), Ok(()));
    assert_eq!(table.said(1, LAST_CALL), [Statement::Reject { dealer: 2 }]);

    // Right shares of the root beside wrong ones of the beacon are a wrong answer, and the other way round.
    for half in [0, 1] {
        let mut table = Table::dealt(SEATS);
        table.exchange(|header| header.from == 2 && header.to == 1);
        let mut answer = table.shares(2, 1);
        answer[half] = table.shares(2, 3)[half];
        table.dispute(1, 2, Some(answer));
        table.settle();
        assert!(table.said(3, 2).contains(&Statement::Reject { dealer: 2 }));
        let package = table.package(2);
        assert_eq!(table.seats[0].accept_package(2, &package), Ok(()));
        assert_eq!(table.said(1, 3), [Statement::Reject { dealer: 2 }]);
    }

    // A dealer that committed to what is no package, or to one whose half of the beacon is none.
    let mut half_good = Table::new().package(2);
    let last = half_good.len() - 1;
    half_good[last] ^= 1;
    for garbage in [vec![1; package_bytes(3)], half_good] {
        rejects_what_is_no_package(garbage);
    }
}

fn rejects_what_is_no_package(garbage: Vec<u8>) {
    let mut table = Table::dealt(SEATS);
    table.record.seats[1].package = Some(package_hash(&GENESIS, 1, 0, 2, &garbage));
    assert!(table.step(1, 1).unwrap().seal_first);
    let parcel = table.forge(2, 1, ParcelKind::Package, &garbage);
    assert!(matches!(table.accept(&parcel), Err(ParcelRefusal::Package(_))));
    assert_eq!(table.said(1, 2), [], "not before anybody had to answer");
    table.settle();
    assert_eq!(table.said(1, 3), [Statement::Reject { dealer: 2 }]);
}

#[test]
fn a_restored_old_disk_continues_with_the_same_package_and_no_second_polynomial() {
    let mut table = Table::dealt(SEATS);
    let oldest = begin(1, &record(0)).unwrap().to_secret_bytes();
    table.exchange(|header| header.from == 3);
    let middle = table.seats[0].to_secret_bytes();
    let shares: Vec<Vec<u8>> = (1..=SEATS).map(|to| table.share(1, to)).collect();
    table.exchange(|_| false);
    let list = table.said(1, 2);
    assert!(matches!(list[..], [Statement::Confirm(_)]));
    for state in [oldest, middle] {
        table.seats[0] = Ceremony::from_secret_bytes(&state).unwrap();
        assert_eq!((1..=SEATS).map(|to| table.share(1, to)).collect::<Vec<_>>(), shares);
        assert!(table.said(1, 2).is_empty(), "something is missing again");
        table.exchange(|_| false);
        table.exchange(|_| false);
        assert_eq!(table.said(1, 3), list, "and confirms what it would have confirmed");
    }
    // Another attempt, other seats or another seed: another polynomial.
    let package = |ceremony: &Ceremony| ceremony.own_package();
    let mut more = record(0);
    more.seats[3].gatekeeper = id(5);
    let other_seed = Ceremony::begin(&GENESIS, &id(1), &seed(2), &record(0)).unwrap();
    for other in [begin(1, &record(1)).unwrap(), begin(1, &more).unwrap(), other_seed] {
        assert_ne!(package(&other), package(&table.seats[0]));
        let [root, beacon] = other.dealt.share(2).unwrap().to_scalars();
        assert!(root[..] != shares[1][..32] && beacon[..] != shares[1][32..]);
    }
}

#[test]
fn sealed_bytes_that_are_no_view_are_refused() {
    let mut table = Table::dealt(SEATS);
    table.exchange(|_| false);
    let bytes = table.seats[0].to_secret_bytes();
    assert_eq!(bytes.expose().capacity(), bytes.expose().len(), "it outgrew no buffer");
    let bytes = bytes.expose().clone();
    let refused = |bytes: Vec<u8>| Ceremony::from_secret_bytes(&Secret::new(bytes)).err();
    assert_eq!(refused(bytes.clone()), None);
    // Also as it was sealed when there was a root alone, which had no mark of its form.
    let former = begin(1, &record(0)).unwrap().to_secret_bytes().expose()[8..].to_vec();
    for altered in [Vec::new(), bytes[1..].to_vec(), [&bytes[..], &[0]].concat(), former] {
        assert_eq!(refused(altered), Some(CeremonyError::Malformed));
    }
    let mut other_form = bytes;
    other_form[6] += 1;
    assert_eq!(refused(other_form), Some(CeremonyError::Malformed));
}

#[test]
fn a_transcript_that_does_not_hold_is_refused_for_what_is_wrong_with_it() {
    let mut table = Table::dealt(SEATS);
    let mut good = Transcript::default();
    let mut commit = record(0);
    good.observe(1, &commit);
    commit.seats[0].package = table.record.seats[0].package;
    good.observe(2, &commit);
    good.observe(3, &commit);
    table.exchange(|header| header.from == 2);
    good.observe(4, &table.record);
    let signed = begin(1, &record(0)).map(|mut seat| {
        let view = View {
            record: &record(0),
            head: 1,
            now: NOW,
            since: 0,
            identity: &identity(1),
            receiving: &receiving(1, OF),
            peers: &table.peers,
            entropy: &Secret::new([9; 32]),
        };
        seat.step(&view).unwrap().statements
    });
    signed.unwrap().iter().for_each(|statement| good.note(statement));
    table.complain(1, 2);
    table.settle();
    (1..4).for_each(|seat: usize| table.record.seats[seat].confirmed = Some(OTHER));
    good.observe(UNTIL, &table.record);
    let mut next = record(1);
    next.seats[1].left_out = Some(Fault::Absent);
    good.observe(UNTIL + 1, &next);
    assert_eq!((good.records.len(), good.statements.len()), (5, 1), "a record that is no news is not noted");

    let blamed = |transcript: &Transcript| {
        let outcome = verify_transcript(&GENESIS, transcript).unwrap();
        assert_eq!(outcome.made, None);
        outcome.blamed[&0].clone()
    };
    assert_eq!(blamed(&good), BTreeMap::from([(2, (Fault::Absent, Some(Reason::NotDelivered)))]));

    // What an exporter leaves out gives nobody a reason: the attempt's last record, an attempt, or what else was left out.
    let unexplained = BTreeMap::from([(2, (Fault::Absent, None))]);
    let without = |change: fn(&mut Transcript)| {
        let mut transcript = good.clone();
        change(&mut transcript);
        blamed(&transcript)
    };
    assert_eq!(without(|t| t.records[3].0 = UNTIL - 1), unexplained);
    assert_eq!(without(|t| drop(t.records.remove(3))), unexplained);
    assert_eq!(without(|t| t.records[4].1.attempt = 2), unexplained);
    assert_eq!(without(|t| t.records[3].1.seats[2].confirmed = None), unexplained, "the third would be left out too");
    let mut waiting = Transcript::default();
    waiting.observe(UNTIL - 1, &table.record);
    waiting.observe(UNTIL, &table.record);
    waiting.observe(UNTIL + 1, &table.record);
    assert_eq!(waiting.records.len(), 2, "that nothing was added until the end is news");

    // Whoever does not commit is left out when the phase ends, and nobody else is left out within an attempt.
    let late = |change: fn(&mut CeremonyRecord)| {
        let mut transcript = Transcript::default();
        let mut shown = record(0);
        (0..3).for_each(|position: usize| shown.seats[position].package = Some([1; 32]));
        transcript.observe(1, &shown);
        shown.phase = Phase::Share;
        change(&mut shown);
        transcript.observe(2, &shown);
        verify_transcript(&GENESIS, &transcript).map(|outcome| outcome.blamed)
    };
    let blamed = BTreeMap::from([(0, BTreeMap::from([(4, (Fault::Absent, Some(Reason::NotCommitted)))]))]);
    assert_eq!(late(|shown| shown.seats[3].left_out = Some(Fault::Absent)), Ok(blamed));
    let contradiction = Err(TranscriptError::Contradiction(1));
    assert_eq!(late(|shown| shown.seats[3].left_out = Some(Fault::WrongShare)), contradiction);
    assert_eq!(late(|shown| shown.seats[2].left_out = Some(Fault::Absent)), contradiction);

    // Complaints in vain of one that nobody could seal to go when delivering ends: all that it made, and no sooner.
    let in_vain = |phase, kept: fn(&Complaint) -> bool| {
        let mut transcript = Transcript::default();
        let mut shown = record(0);
        shown.seats.iter_mut().for_each(|seat| seat.package = Some([1; 32]));
        shown.phase = Phase::Deliver;
        shown.seats[0].key = Some([2; 32]);
        shown.complaints = vec![Complaint::new(1, 2), Complaint::new(1, 3)];
        transcript.observe(1, &shown);
        shown.phase = phase;
        shown.complaints.retain(kept);
        transcript.observe(2, &shown);
        verify_transcript(&GENESIS, &transcript).map(|outcome| outcome.blamed.is_empty())
    };
    assert_eq!(in_vain(Phase::Settle, |_| true), Ok(true));
    assert_eq!(in_vain(Phase::Settle, |_| false), Ok(true));
    let taken_back = Err(TranscriptError::Contradiction(1));
    assert_eq!(in_vain(Phase::Settle, |known| known.dealer == 2), taken_back);
    assert_eq!(in_vain(Phase::Deliver, |_| false), taken_back);

    let refused = |change: fn(&mut Transcript)| {
        let mut transcript = good.clone();
        change(&mut transcript);
        verify_transcript(&GENESIS, &transcript).err()
    };
    assert_eq!(refused(|t| t.records.clear()), Some(TranscriptError::Empty));
    let many = |t: &mut Transcript| t.statements = vec![t.statements[0]; MAX_TRANSCRIPT_STATEMENTS + 1];
    assert_eq!(refused(many), Some(TranscriptError::TooLong));
    for (accuser, dealer) in [(1, 2), (1, 1), (0, 1), (1, 5), (u16::MAX, 1)] {
        let mut transcript = good.clone();
        transcript.records[3].1.complaints.push(Complaint::new(accuser, dealer));
        assert_eq!(verify_transcript(&GENESIS, &transcript), Err(TranscriptError::Unsound(3)));
        let mut transcript = good.clone();
        transcript.records[3].1.seats[0].rejected = vec![2, if accuser == 1 { dealer } else { accuser }];
        assert_eq!(verify_transcript(&GENESIS, &transcript), Err(TranscriptError::Unsound(3)));
    }
    assert_eq!(refused(|t| t.records[4].0 = UNTIL), Some(TranscriptError::Contradiction(4)), "two at one block");
    assert_eq!(refused(|t| t.records[1].1.threshold = 2), Some(TranscriptError::Unsound(1)));
    assert_eq!(refused(|t| t.records[1].1.era = 2), Some(TranscriptError::OtherCeremony(1)));
    assert_eq!(refused(|t| t.records[1].1.seats.swap(0, 1)), Some(TranscriptError::OtherCeremony(1)));
    assert_eq!(refused(|t| t.records[2].0 = 1), Some(TranscriptError::OutOfOrder(2)));
    assert_eq!(refused(|t| t.records.swap(0, 2)), Some(TranscriptError::OutOfOrder(1)));
    assert_eq!(refused(|t| t.records[2].1.seats[0].package = Some([1; 32])), Some(TranscriptError::Contradiction(2)));
    assert_eq!(refused(|t| t.records[3].1.seats[3].package = None), Some(TranscriptError::Contradiction(3)));
    assert_eq!(refused(|t| t.records[0].1.seats[0].confirmed = Some(OTHER)), Some(TranscriptError::Contradiction(0)));
    assert_eq!(refused(|t| t.records[2].1.complaints.push(Complaint::new(1, 3))), {
        Some(TranscriptError::Contradiction(3))
    });
    assert_eq!(refused(|t| t.statements[0].attempt = 7), Some(TranscriptError::NoSuchSeat(0)));
    assert_eq!(refused(|t| t.statements[0].index = 9), Some(TranscriptError::NoSuchSeat(0)));
    assert_eq!(refused(|t| t.statements[0].index = 2), Some(TranscriptError::BadSignature(0)));
    let restated = |t: &mut Transcript| {
        let unsigned = SignedStatement { statement: Statement::Commit { package: [1; 32] }, ..t.statements[0] };
        t.statements[0] =
            SignedStatement { signature: identity(1).sign(&unsigned.signing_payload(&GENESIS)), ..unsigned };
    };
    assert_eq!(refused(restated), Some(TranscriptError::OtherStatement(0)));
}
