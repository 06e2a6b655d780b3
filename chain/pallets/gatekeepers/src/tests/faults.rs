//! Who is left out, who is convicted, and who is not.

use super::*;

/// The ceremony of `seats` seats in which shares travel, all of them committed.
fn sharing(seats: u8) -> sp_io::TestExternalities {
    let mut network = started(seats);
    network.execute_with(to_share);
    network
}

fn punished() -> Vec<(AccountId32, Offence)> {
    Punished::get().into_iter().map(|misdeed| (misdeed.offender, misdeed.offence)).collect()
}

#[test]
fn a_dealer_whose_answer_a_threshold_rejects_is_out_for_the_era_and_punished() {
    sharing(4).execute_with(|| {
        assert_ok!(complain(1, 4));
        confirm([2, 3, 4]);
        to_settle([(1, 4)]);
        assert_ok!(answer(4, 1));
        for index in 1..=3 {
            assert_ok!(reject(index, 4));
        }
        run_out();
        assert_eq!(stand(), (1, Phase::Commit));
        assert_eq!(left_out(), [None, None, None, Some(Fault::WrongShare)], "the accuser is excused");
        assert_eq!(punished(), [(account(4), Offence::WrongShare)]);
        assert_eq!(Punished::get()[0].fraction, Perbill::from_percent(10));
        // Its validator may not stand again with it.
        assert_eq!((Gatekeepers::seat_of(&account(4)), Convictions::<Test>::get(id(4))), (None, Some(0)));
        assert_noop!(bind(4), Error::<Test>::Convicted);
        make_root(1..=3);
        assert!(happened(Event::RootMade {
            era: 0,
            attempt: 1,
            share_list: LIST,
            holders: 3,
            from: System::block_number()
        }));
        assert_eq!(Roots::<Test>::get(0).unwrap().threshold, 3);
    });
}

#[test]
fn the_end_of_a_phase_is_charged_for_all_behind_whoever_it_convicts() {
    let ended = |rejecting: u8| {
        sharing(4).execute_with(|| {
            assert_ok!(complain(1, 4));
            confirm([2, 3, 4]);
            to_settle([(1, 4)]);
            assert_ok!(answer(4, 1));
            for index in 1..=rejecting {
                assert_ok!(reject(index, 4));
            }
            (enter(record().until + 1), punished().len())
        })
    };
    let ((spared, nobody), (weight, one)) = (ended(2), ended(3));
    assert_eq!((nobody, one), (0, 1));
    let conviction = <() as WeightInfo>::report(<Mock as Punish<AccountId32>>::MOST_BACKERS);
    assert_eq!(weight, spared.saturating_add(conviction));
}

#[test]
fn a_convicted_dealer_is_not_asked_again_when_too_few_are_left() {
    sharing(4).execute_with(|| {
        assert_ok!(complain(1, 4));
        to_settle([(1, 4)]);
        assert_ok!(answer(4, 1));
        for index in 1..=3 {
            assert_ok!(reject(index, 4));
        }
        run_out();
        commit([1, 2]);
        run_out();
        assert_eq!((stand(), left_out()), ((2, Phase::Commit), vec![None, None, None, Some(Fault::WrongShare)]));
        assert_eq!(say(4, Statement::Commit { package: [4; 32] }), Err(Error::<Test>::TakesNoPart.into()));
    });
}

#[test]
fn false_accusations_below_the_threshold_harm_their_makers_only() {
    sharing(4).execute_with(|| {
        // Seat 1 lies: the answer is right, which two honest seats see.
        assert_ok!(complain(1, 4));
        confirm([2, 3, 4]);
        to_settle([(1, 4)]);
        assert_ok!(answer(4, 1));
        assert_ok!(reject(1, 4));
        run_out();
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![Some(Fault::Absent), None, None, None]));
        assert!(punished().is_empty());
        make_root(2..=4);
        assert_eq!(Root::<Test>::get().unwrap().seats, ids(1..=4));
    });
}

#[test]
fn rejections_below_the_threshold_do_not_undo_what_all_confirmed() {
    sharing(4).execute_with(|| {
        assert_ok!(complain(1, 4));
        confirm([2, 3, 4]);
        to_settle([(1, 4)]);
        assert_ok!(answer(4, 1));
        assert_ok!(reject(1, 4));
        assert_ok!(reject(2, 4));
        confirm([1]);
        next();
        assert!(Root::<Test>::get().is_some() && punished().is_empty());
    });
}

#[test]
fn a_dealer_that_is_silent_is_left_out_and_whom_it_owed_is_not() {
    sharing(5).execute_with(|| {
        // It owes everybody; nobody can confirm.
        for accuser in 1..=4 {
            assert_ok!(complain(accuser, 5));
        }
        run_out();
        run_out();
        run_out();
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![None, None, None, None, Some(Fault::Absent)]));
        assert!(punished().is_empty(), "that it did not answer proves no more than that it was not heard");
        make_root(1..=4);
        assert!(Root::<Test>::get().is_some());
    });
}

#[test]
fn a_dealer_that_does_not_answer_a_dispute_is_left_out_and_whoever_disputes_nothing_with_it() {
    sharing(5).execute_with(|| {
        assert_ok!(complain(1, 5));
        assert_ok!(complain(2, 4));
        confirm([3, 4, 5]);
        to_settle([(1, 5)]);
        run_out();
        // Too few are left, and all are asked again; the events say who was at fault.
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![None; 5]));
        for (number, is_at_fault) in [(1, false), (2, true), (3, false), (4, false), (5, true)] {
            let event = Event::LeftOut { era: 0, attempt: 0, gatekeeper: id(number), fault: Fault::Absent };
            assert_eq!(happened(event), is_at_fault, "{number}");
        }
    });
}

#[test]
fn whoever_complained_and_is_active_no_more_accuses_nobody() {
    fn change(what: fn(&mut WorkerRecord)) {
        Workers::<Test>::mutate(id(1), |worker| what(worker.as_mut().unwrap()));
    }
    let cases: [(fn(), bool); 5] = [
        (|| {}, true),
        // Another key of its registration changes nothing: nothing is sealed to that one.
        (|| change(|worker| worker.encryption_key = [9; 32]), true),
        // Nobody who does not know it yet can verify it.
        (|| Workers::<Test>::remove(id(1)), false),
        (|| change(|worker| worker.valid_until = 0), false),
        // It lapsed, and was renewed in the phase's last block.
        (|| change(|worker| worker.registered_at = record().until), false),
    ];
    for (change, counts) in cases {
        sharing(4).execute_with(|| {
            assert_ok!(complain(1, 4));
            confirm([2, 3, 4]);
            run_out();
            change();
            run_out();
            assert_eq!((stand(), record().complaints.len()), ((0, Phase::Settle), usize::from(counts)));
            run_out();
            let absent = Some(Fault::Absent);
            let expected = if counts { vec![None, None, None, absent] } else { vec![absent, None, None, None] };
            assert_eq!((stand(), left_out()), ((1, Phase::Commit), expected));
        });
    }
}

#[test]
fn what_was_delivered_and_disputed_is_answered_whatever_becomes_of_the_accusers_registration() {
    sharing(4).execute_with(|| {
        assert_ok!(complain(1, 4));
        confirm([2, 3, 4]);
        to_settle([(1, 4)]);
        Workers::<Test>::remove(id(1));
        run_out();
        assert_eq!(left_out(), vec![None, None, None, Some(Fault::Absent)]);
    });
}

#[test]
fn a_dealer_of_no_package_is_convicted_though_it_answers_nobody() {
    sharing(4).execute_with(|| {
        for accuser in 1..=3 {
            assert_ok!(complain(accuser, 4));
        }
        to_settle([(1, 4), (2, 4), (3, 4)]);
        for index in 1..=3 {
            assert_ok!(reject(index, 4));
        }
        run_out();
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![None, None, None, Some(Fault::WrongShare)]));
        assert_eq!(punished(), [(account(4), Offence::WrongShare)]);
    });
}

#[test]
fn a_seat_that_confirmed_what_most_were_kept_from_is_not_at_fault() {
    sharing(7).execute_with(|| {
        // Two of seven lie: one gives its share to the first alone, and both confirm what nobody else has.
        for accuser in 2..=5 {
            assert_ok!(complain(accuser, 6));
        }
        confirm([1]);
        for index in [6, 7] {
            assert_ok!(say(index, Statement::Confirm(Confirmed { share_list: [6; 32], ..KEYS })));
        }
        run_out();
        run_out();
        run_out();
        let mut expected = vec![None; 7];
        expected[5] = Some(Fault::Absent);
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), expected));
    });
}

#[test]
fn a_complaint_whose_maker_confirmed_afterwards_is_moot() {
    sharing(4).execute_with(|| {
        assert_ok!(complain(1, 2));
        confirm([1, 2, 3]);
        run_out();
        run_out();
        run_out();
        assert_eq!(left_out(), [None, None, None, Some(Fault::Absent)]);
    });
}

#[test]
fn when_lists_differ_the_minority_is_left_out() {
    sharing(4).execute_with(|| {
        confirm(1..=3);
        assert_ok!(say(4, Statement::Confirm(Confirmed { share_list: [6; 32], ..KEYS })));
        next();
        // All have spoken: no phase more is waited for.
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![None, None, None, Some(Fault::Absent)]));
        assert!(Roots::<Test>::iter().next().is_none());
        make_root(1..=3);
        assert_eq!(Root::<Test>::get().unwrap().share_list, LIST);
    });
}

#[test]
fn when_no_list_prevails_nobody_is_blamed() {
    sharing(4).execute_with(|| {
        confirm([1, 2]);
        for index in [3, 4] {
            assert_ok!(say(index, Statement::Confirm(Confirmed { share_list: [6; 32], ..KEYS })));
        }
        next();
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![None; 4]));
    });
}

#[test]
fn attempts_in_which_no_list_prevails_are_given_up_like_those_of_the_silent() {
    started(4).execute_with(|| {
        for attempt in 0..=MOST_READMISSIONS {
            assert_eq!(stand(), (attempt, Phase::Commit));
            to_share();
            confirm([1, 2]);
            for index in [3, 4] {
                assert_ok!(say(index, Statement::Confirm(Confirmed { share_list: [6; 32], ..KEYS })));
            }
            next();
        }
        assert!(!Ceremony::<Test>::exists() && Readmissions::<Test>::get() == 0);
        assert!(happened(Event::CeremonyAbandoned { era: 0, attempt: MOST_READMISSIONS }) && punished().is_empty());
    });
}

#[test]
fn a_ceremony_with_fewer_left_than_a_threshold_for_good_is_abandoned() {
    sharing(4).execute_with(|| {
        // Three seats convict the two dealers that they can: more than a root can lack.
        assert_ok!(complain(1, 3));
        assert_ok!(complain(1, 4));
        to_settle([(1, 3), (1, 4)]);
        for dealer in [3, 4] {
            assert_ok!(answer(dealer, 1));
        }
        for (index, dealer) in [(1, 3), (2, 3), (4, 3), (1, 4), (2, 4), (3, 4)] {
            assert_ok!(reject(index, dealer));
        }
        run_out();
        assert!(!Ceremony::<Test>::exists() && happened(Event::CeremonyAbandoned { era: 0, attempt: 0 }));
        assert_eq!(punished().len(), 2);
        // The same era is begun anew, after what its attempts were.
        for number in 5..=6 {
            attest(number);
            assert_ok!(bind(number));
        }
        assert_ok!(start([1, 2, 5, 6]));
        assert_eq!((record().era, record().attempt), (0, 1));
    });
}

#[test]
fn whoever_is_missing_from_three_roots_in_a_row_is_fined() {
    started(4).execute_with(|| {
        let absent = |times| Event::Absent { validator: account(4), times };
        for round in 1..=2u32 {
            make_root(1..=3);
            assert!(happened(absent(round)) && punished().is_empty());
            assert_ok!(start(1..=4));
        }
        make_root(1..=3);
        assert_eq!(punished(), [(account(4), Offence::Absence)]);
        assert_eq!(Punished::get()[0].fraction, CurrentPolicy::<Test>::get().fine);
        assert_eq!(Absences::<Test>::iter().count(), 0, "counted anew");
        // Two absences and a presence are no three absences.
        for seats in [3, 3, 4, 3] {
            assert_ok!(start(1..=4));
            make_root(1..=seats);
        }
        assert_eq!((punished().len(), Absences::<Test>::get(account(4))), (1, 1));
    });
}

#[test]
fn warnings_are_the_validators_whichever_gatekeeper_it_binds() {
    started(4).execute_with(|| {
        for another in [5, 6] {
            make_root(1..=3);
            assert_ok!(replace_by(4, another));
            assert_ok!(start([1, 2, 3, another]));
        }
        assert!(punished().is_empty());
        make_root(1..=3);
        assert_eq!(punished(), [(account(4), Offence::Absence)]);
    });
}

fn report(first: SignedStatement, second: SignedStatement) -> DispatchResult {
    let reported = Gatekeepers::report_equivocation(RuntimeOrigin::signed(ANYBODY), first, second);
    reported.map(|_| ()).map_err(|refused| refused.error)
}

#[test]
fn two_statements_of_which_one_can_be_true_convict_their_seat_also_afterwards() {
    started(4).execute_with(|| {
        let (first, second) =
            (signed(4, Statement::Commit { package: [1; 32] }), signed(4, Statement::Commit { package: [2; 32] }));
        let unrelated = signed(4, Statement::Confirm(KEYS));
        make_root(1..=4);
        assert_eq!(report(first, first), Err(Error::<Test>::NotEquivocation.into()));
        assert_eq!(report(first, unrelated), Err(Error::<Test>::NotEquivocation.into()));
        let later = sign(4, SignedStatement { attempt: 1, ..second });
        assert_eq!(report(first, later), Err(Error::<Test>::NotEquivocation.into()));
        let forged = SignedStatement { signature: [0; 64], ..second };
        assert_eq!(report(first, forged), Err(Error::<Test>::BadSignature.into()));
        let of_another = |statement| sign(3, statement);
        assert_eq!(report(of_another(first), of_another(second)), Err(Error::<Test>::BadSignature.into()));
        let nobodys = |statement| sign(4, SignedStatement { index: 9, ..statement });
        assert_eq!(report(nobodys(first), nobodys(second)), Err(Error::<Test>::NoSuchSeat.into()));
        let unknown = |statement| sign(4, SignedStatement { era: 7, ..statement });
        assert_eq!(report(unknown(first), unknown(second)), Err(Error::<Test>::NoSuchSeat.into()));
        assert!(punished().is_empty());
        // Leaving does not help: who had the seat is remembered.
        assert_ok!(Gatekeepers::leave(RuntimeOrigin::signed(account(4))));
        assert_ok!(report(first, second));
        assert_eq!(punished(), [(account(4), Offence::Equivocation)]);
        assert_eq!(Punished::get()[0].reporters, [ANYBODY]);
        assert_eq!(report(first, second), Err(Error::<Test>::Convicted.into()));
        assert_noop!(bind(4), Error::<Test>::Convicted);
    });
}

#[test]
fn two_answers_to_one_accuser_and_two_confirmations_convict_as_two_commitments_do() {
    let answer = |accuser, byte| Statement::Answer { accuser, shares: [[1; 32], [byte; 32]] };
    let confirm = |byte| Statement::Confirm(Confirmed { beacon: [byte; 32], ..KEYS });
    let cases = [[answer(1, 1), answer(1, 2), answer(2, 2)], [confirm(1), confirm(2), answer(1, 2)]];
    for statements in cases {
        started(4).execute_with(|| {
            let [first, second, compatible] = statements.map(|statement| signed(4, statement));
            assert_eq!(report(first, compatible), Err(Error::<Test>::NotEquivocation.into()));
            assert!(punished().is_empty());
            assert_ok!(report(first, second));
            assert_eq!(punished(), [(account(4), Offence::Equivocation)]);
            assert_eq!(report(second, first), Err(Error::<Test>::Convicted.into()));
        });
    }
}

#[test]
fn whoever_had_the_seat_pays_and_nobody_keeps_a_convicted_gatekeeper_whatever_was_bound_since() {
    started(5).execute_with(|| {
        let both = |index: u8| [[1; 32], [2; 32]].map(|package| signed(index, Statement::Commit { package }));
        let said = [both(4), both(5)];
        // The fourth one binds another machine, and the fifth one's machine moves to the first validator.
        assert_ok!(replace_by(4, 6));
        assert_ok!(replace_by(1, 5));
        for [first, second] in said {
            assert_ok!(report(first, second));
        }
        assert_eq!(punished(), [(account(4), Offence::Equivocation), (account(5), Offence::Equivocation)]);
        // The other machine did nothing; the one that did is nobody's.
        let bound = [1, 4, 5].map(|number| Gatekeepers::seat_of(&account(number)));
        assert_eq!(bound, [None, Some(id(6)), None]);
        assert_eq!((Validators::<Test>::get(id(4)), Validators::<Test>::get(id(5))), (None, None));
        assert!(happened(Event::SeatLeft { validator: account(1), gatekeeper: id(5) }));
        assert_eq!(replace_by(1, 5), Err(Error::<Test>::Convicted.into()));
    });
}

#[test]
fn seats_that_are_silent_together_end_a_ceremony_count_as_absent_and_are_not_elected_next() {
    network(6).execute_with(|| {
        assert_ok!(Gatekeepers::set_policy(
            RuntimeOrigin::root(),
            Policy { absences: 2, ..CurrentPolicy::<Test>::get() }
        ));
        // A root of several seats, so that elections ask for gatekeepers.
        Root::<Test>::put(RootRecord { era: 0, threshold: 3, seats: ids(1..=4), share_list: LIST });
        let validators = |numbers: core::ops::RangeInclusive<u8>| numbers.map(account).collect::<Vec<_>>();
        for round in 1..=2 {
            assert_ok!(Gatekeepers::plan(validators(1..=6)));
            let first = record().attempt;
            // A root of six seats needs five: two that are silent together keep it from being made.
            for again in 0..=MOST_READMISSIONS {
                assert_eq!(stand(), (first + again, Phase::Commit));
                commit(1..=4);
                run_out();
            }
            assert!(!Ceremony::<Test>::exists() && Readmissions::<Test>::get() == 0);
            let attempt = first + MOST_READMISSIONS;
            assert!(happened(Event::CeremonyAbandoned { era: 1, attempt }));
            assert!(happened(Event::Absent { validator: account(5), times: round }));
            assert_eq!(Gatekeepers::election(), Election::Candidates);
            assert_eq!(Gatekeepers::electable(validators(1..=6)), validators(1..=4));
        }
        assert_eq!(punished(), [(account(5), Offence::Absence), (account(6), Offence::Absence)]);
        // For one election only.
        assert_ok!(Gatekeepers::plan(validators(1..=4)));
        make_root(1..=4);
        assert!(Gatekeepers::take_plan(&validators(1..=4), 4));
        assert_eq!(Gatekeepers::electable(validators(1..=6)), validators(1..=6));
    });
}

#[test]
fn whoever_was_absent_is_asked_again_where_nobody_can_take_its_place() {
    network(4).execute_with(|| {
        Root::<Test>::put(RootRecord { era: 0, threshold: 3, seats: ids(1..=4), share_list: LIST });
        KeptOut::<Test>::put(vec![account(3), account(4)]);
        let all: Vec<_> = (1..=4).map(account).collect();
        assert_eq!(Gatekeepers::electable(all.clone()), all);
        assert_eq!(Gatekeepers::plan(vec![account(1)]), Err(Error::<Test>::TooFewSeats));
        assert!(KeptOut::<Test>::get().is_empty(), "also when the election was refused");
    });
}
