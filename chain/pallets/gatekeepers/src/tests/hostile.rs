//! Statements that are wrong in one way each: refused by name, and nothing changes.

use super::*;
use codec::Decode;
use frame_support::dispatch::GetDispatchInfo;
use frame_support::dispatch::Pays;
use phala_protocol::ceremony::LAST_CALL_BLOCKS;

const COMMIT: Statement = Statement::Commit { package: [1; 32] };

fn refused(statement: SignedStatement, error: Error<Test>) {
    let before = record();
    assert_eq!(submit(statement).unwrap_err().error, error.into());
    assert_eq!(record(), before);
}

#[test]
fn a_statement_is_taken_of_its_seat_on_its_chain_in_its_attempt_only() {
    started(4).execute_with(|| {
        let good = signed(1, COMMIT);
        refused(SignedStatement { signature: [0; 64], ..good }, Error::<Test>::BadSignature);
        refused(
            SignedStatement { statement: Statement::Commit { package: [2; 32] }, ..good },
            Error::<Test>::BadSignature,
        );
        let elsewhere = pair(1).sign(&good.signing_payload(&[9; 32])).0;
        refused(SignedStatement { signature: elsewhere, ..good }, Error::<Test>::BadSignature);
        // Of a stranger, in the name of a seat; of a seat, in the name of another.
        refused(sign(9, good), Error::<Test>::BadSignature);
        refused(SignedStatement { index: 2, ..good }, Error::<Test>::BadSignature);
        refused(sign(1, SignedStatement { index: 0, ..good }), Error::<Test>::NoSuchSeat);
        refused(sign(1, SignedStatement { index: 5, ..good }), Error::<Test>::NoSuchSeat);
        refused(sign(1, SignedStatement { era: 1, ..good }), Error::<Test>::WrongEra);
        refused(sign(1, SignedStatement { attempt: 1, ..good }), Error::<Test>::WrongAttempt);
        assert_ok!(submit(good));
        refused(good, Error::<Test>::AlreadyStated);
        refused(signed(1, Statement::Commit { package: [2; 32] }), Error::<Test>::AlreadyStated);
        assert!(Gatekeepers::state(RuntimeOrigin::none(), signed(2, COMMIT)).is_err());
    });
}

#[test]
fn a_bit_flipped_anywhere_in_a_statement_is_refused_and_changes_nothing() {
    started(4).execute_with(|| {
        let (bytes, before) = (signed(1, COMMIT).encode(), record());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Another statement may not even be one.
            if let Ok(flipped) = SignedStatement::decode(&mut &flipped[..]) {
                assert!(submit(flipped).is_err(), "bit {bit}");
            }
        }
        assert_eq!(record(), before);
        assert_ok!(submit(SignedStatement::decode(&mut &bytes[..]).unwrap()));
    });
}

#[test]
fn a_gatekeeper_that_lapsed_or_is_shut_out_states_nothing() {
    started(4).execute_with(|| {
        Workers::<Test>::mutate(id(1), |record| record.as_mut().unwrap().valid_until = 0);
        refused(signed(1, COMMIT), Error::<Test>::NotAGatekeeper);
        attest(1);
        let listed = Measurements::<Test>::take(MEASUREMENT).unwrap();
        refused(signed(1, COMMIT), Error::<Test>::NotAGatekeeper);
        Measurements::<Test>::insert(MEASUREMENT, listed);
        assert_ok!(submit(signed(1, COMMIT)));
    });
}

#[test]
fn each_statement_has_its_phase() {
    started(4).execute_with(|| {
        let complain = Statement::Complain { dealer: 2 };
        let deliver = Statement::Deliver { accuser: 2, parcel: delivered(1, 2) };
        let dispute = Statement::Dispute { dealer: 2, parcel: delivered(2, 1) };
        let answer = Statement::Answer { accuser: 2, shares: [[1; 32]; 2] };
        let reject = Statement::Reject { dealer: 2 };
        let confirm = Statement::Confirm(KEYS);
        for early in [complain, deliver, dispute, answer, reject, confirm] {
            refused(signed(1, early), Error::<Test>::WrongPhase);
        }
        to_share();
        for wrong in [COMMIT, deliver, dispute, answer, reject] {
            refused(signed(1, wrong), Error::<Test>::WrongPhase);
        }
        run_out();
        assert_eq!(stand(), (0, Phase::Deliver));
        for wrong in [COMMIT, complain, answer, reject] {
            refused(signed(1, wrong), Error::<Test>::WrongPhase);
        }
        run_out();
        assert_eq!(stand(), (0, Phase::Settle));
        for late in [COMMIT, complain, deliver, dispute] {
            refused(signed(1, late), Error::<Test>::WrongPhase);
        }
    });
}

#[test]
fn complaints_answers_and_rejections_are_about_what_is_there_and_are_made_once() {
    started(5).execute_with(|| {
        commit(1..=4);
        run_out();
        for nobody in [0, 1, 5, 6, u16::MAX] {
            refused(signed(1, Statement::Complain { dealer: nobody }), Error::<Test>::NoSuchDealer);
        }
        assert_ok!(complain(1, 2));
        refused(signed(1, Statement::Complain { dealer: 2 }), Error::<Test>::AlreadyStated);
        confirm([3]);
        refused(signed(3, Statement::Complain { dealer: 2 }), Error::<Test>::AlreadyStated);
        refused(signed(3, Statement::Confirm(Confirmed { share_list: [6; 32], ..KEYS })), Error::<Test>::AlreadyStated);
        run_out();
        let deliver_to = |accuser, parcel| Statement::Deliver { accuser, parcel };
        refused(signed(2, deliver_to(3, delivered(2, 3))), Error::<Test>::NoSuchComplaint);
        refused(signed(2, deliver_to(1, [1; 32])), Error::<Test>::WrongAttachment);
        refused(signed(1, Statement::Dispute { dealer: 2, parcel: delivered(2, 1) }), Error::<Test>::NoSuchDelivery);
        assert_ok!(deliver(2, 1));
        refused(signed(2, deliver_to(1, delivered(2, 1))), Error::<Test>::AlreadyStated);
        refused(signed(1, Statement::Dispute { dealer: 2, parcel: [1; 32] }), Error::<Test>::NoSuchDelivery);
        assert_ok!(dispute(1, 2));
        refused(signed(1, Statement::Dispute { dealer: 2, parcel: delivered(2, 1) }), Error::<Test>::AlreadyStated);
        run_out();
        let answer_of = |accuser, byte| Statement::Answer { accuser, shares: [[byte; 32]; 2] };
        refused(signed(2, answer_of(3, 1)), Error::<Test>::NoSuchComplaint);
        refused(signed(4, answer_of(1, 1)), Error::<Test>::NoSuchComplaint);
        refused(signed(2, answer_of(1, 0xff)), Error::<Test>::BadShare);
        for nobody in [0, 3, 5, 6] {
            refused(signed(3, Statement::Reject { dealer: nobody }), Error::<Test>::NoSuchDealer);
        }
        assert_ok!(answer(2, 1));
        refused(signed(2, answer_of(1, 2)), Error::<Test>::AlreadyStated);
        refused(signed(2, Statement::Reject { dealer: 2 }), Error::<Test>::NoSuchDealer);
        // Whoever confirmed its own share still rejects an answer to another.
        assert_ok!(reject(3, 2));
        refused(signed(3, Statement::Reject { dealer: 2 }), Error::<Test>::AlreadyStated);
        assert_eq!(record().complaints[0].answer, Some([[1; 32]; 2]));
        assert_eq!(record().seats[2].rejected, [2]);
    });
}

#[test]
fn what_stands_beside_a_statement_is_what_it_says_and_is_published() {
    started(4).execute_with(|| {
        let refused = |said, beside| {
            let before = record();
            let taken = Gatekeepers::state_with(RuntimeOrigin::signed(ANYBODY), said, beside);
            assert_eq!(taken.unwrap_err().error, Error::<Test>::WrongAttachment.into());
            assert_eq!(record(), before);
        };
        refused(signed(1, commitment(1)), Attachment::Key(key_of(1, 1)));
        to_share();
        let said = signed(1, Statement::Complain { dealer: 2 });
        // A key that another announced, for another attempt or ceremony, or for another chain.
        refused(said, Attachment::Key(key_of(1, 2)));
        for of in [CeremonyAttempt::root(0, 1), CeremonyAttempt::root(1, 0), CeremonyAttempt::identities(0, 0)] {
            refused(said, Attachment::Key(announced(of, 1, 1)));
            // As it is renamed by whoever carries it.
            refused(said, Attachment::Key(AnnouncedKey { of: CeremonyAttempt::root(0, 0), ..announced(of, 1, 1) }));
        }
        let payload = key_of(1, 1).signing_payload(&[4; 32]);
        refused(said, Attachment::Key(AnnouncedKey { signature: pair(1).sign(&payload).0, ..key_of(1, 1) }));
        refused(said, Attachment::Package(vec![1]));
        let alone = Gatekeepers::state(RuntimeOrigin::signed(ANYBODY), said);
        assert_eq!(alone.unwrap_err().error, Error::<Test>::WrongAttachment.into());
        let taken = submit(said).unwrap();
        assert_eq!((taken.pays_fee, taken.actual_weight), (Pays::No, Some(<() as WeightInfo>::state_with(4, 1))));
        let attachment = Attachment::Key(key_of(1, 1));
        assert!(happened(Event::Attached { era: 0, attempt: 0, index: 1, attachment }));
        to_settle([(1, 2)]);
        let said = signed(2, Statement::Answer { accuser: 1, shares: [[1; 32]; 2] });
        refused(said, Attachment::Package(vec![1]));
        assert_ok!(submit(said));
    });
}

#[test]
fn a_delivery_comes_while_there_is_time_to_dispute_it() {
    started(4).execute_with(|| {
        to_share();
        assert_ok!(complain(1, 4));
        assert_ok!(complain(2, 4));
        run_out();
        let until = record().until;
        at(until - LAST_CALL_BLOCKS);
        assert_ok!(deliver(4, 1));
        at(until - LAST_CALL_BLOCKS + 1);
        refused(signed(4, Statement::Deliver { accuser: 2, parcel: delivered(4, 2) }), Error::<Test>::TooLate);
        at(until);
        assert_ok!(dispute(1, 4));
    });
}

#[test]
fn an_answer_comes_while_there_is_time_to_reject_it() {
    started(4).execute_with(|| {
        to_share();
        assert_ok!(complain(1, 4));
        assert_ok!(complain(2, 4));
        to_settle([(1, 4), (2, 4)]);
        let (begun, until) = (System::block_number(), record().until);
        assert_eq!(until, begun + 99);
        at(until - LAST_CALL_BLOCKS);
        assert_ok!(answer(4, 1));
        at(until - LAST_CALL_BLOCKS + 1);
        refused(signed(4, Statement::Answer { accuser: 2, shares: [[1; 32]; 2] }), Error::<Test>::TooLate);
        at(until);
        assert_ok!(reject(2, 4));
    });
}

#[test]
fn what_is_charged_before_covers_the_largest_ceremony() {
    let call = Call::<Test>::state {
        statement: SignedStatement { era: 0, attempt: 0, index: 1, statement: COMMIT, signature: [0; 64] },
    };
    let charged = call.get_dispatch_info().call_weight;
    assert_eq!((charged, MOST_COMPLAINTS), (<() as WeightInfo>::state(100, 9_900), 9_900));
}

#[test]
fn a_statement_is_awaited_of_its_seats_operator_and_when_the_next_block_would_take_it() {
    started(4).execute_with(|| {
        let good = signed(1, COMMIT);
        // A pool asks of the block after the newest one.
        System::set_block_number(2);
        let awaited = |statement: &SignedStatement| Gatekeepers::is_awaited(&account(1), statement, None);
        let before = record();
        assert!(awaited(&good));
        for other in [account(2), ANYBODY] {
            assert!(!Gatekeepers::is_awaited(&other, &good, None), "a copy in another's transaction");
        }
        assert!(!Gatekeepers::is_awaited(&account(1), &good, Some(&Attachment::Key(key_of(1, 1)))));
        let wrong = [
            SignedStatement { signature: [0; 64], ..good },
            sign(1, SignedStatement { era: 1, ..good }),
            sign(1, SignedStatement { attempt: 1, ..good }),
            sign(1, SignedStatement { index: 2, ..good }),
            sign(1, SignedStatement { index: 0, ..good }),
            signed(1, Statement::Confirm(KEYS)),
        ];
        assert!(wrong.iter().all(|statement| !awaited(statement)));
        assert_eq!(record(), before, "asking changes nothing");
        assert_ok!(submit(good));
        assert!(!awaited(&good) && !awaited(&signed(1, Statement::Commit { package: [2; 32] })));
        // Nor in the block in whose beginning the phase ends.
        let second = signed(2, COMMIT);
        let by_second = || Gatekeepers::is_awaited(&account(2), &second, None);
        System::set_block_number(record().until);
        assert!(by_second());
        System::set_block_number(record().until + 1);
        assert!(!by_second());
    });
}
