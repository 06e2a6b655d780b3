//! Whoever had a seat of an era that was begun again answers for what it signed then.

use super::*;

fn report([first, second]: [SignedStatement; 2]) -> DispatchResult {
    let reported = Gatekeepers::report_equivocation(RuntimeOrigin::signed(ANYBODY), first, second);
    reported.map(|_| ()).map_err(|refused| refused.error)
}

/// Two commitments of gatekeeper `number` as the seat of `index`, in an attempt of an era.
fn both(number: u8, (era, attempt): (u32, u32), index: u16) -> [SignedStatement; 2] {
    [[1; 32], [2; 32]].map(|package| {
        let statement = Statement::Commit { package };
        sign(number, SignedStatement { era, attempt, index, statement, signature: [0; 64] })
    })
}

/// Who was convicted of a contradiction: of which era and attempt, and with the set of which first attempt.
fn equivocators() -> Vec<(AccountId32, u32, u32, u32)> {
    let misdeeds = Punished::get().into_iter().filter(|misdeed| misdeed.offence == Offence::Equivocation);
    misdeeds.map(|misdeed| (misdeed.offender, misdeed.era, misdeed.attempt, misdeed.set)).collect()
}

fn cancel() {
    assert_ok!(Gatekeepers::cancel(RuntimeOrigin::root()));
}

/// Three of four seats convict two dealers: more than a root can lack.
fn abandon() {
    to_share();
    for dealer in [3, 4] {
        assert_ok!(complain(1, dealer));
    }
    to_settle([(1, 3), (1, 4)]);
    for dealer in [3, 4] {
        assert_ok!(answer(dealer, 1));
    }
    for (index, dealer) in [(1, 3), (2, 3), (4, 3), (1, 4), (2, 4), (3, 4)] {
        assert_ok!(reject(index, dealer));
    }
    run_out();
}

fn give_up() {
    while Ceremony::<Test>::exists() {
        run_out();
    }
}

fn cancel_the_root() {
    CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
    make_root(1..=4);
    assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
}

#[test]
fn whoever_contradicted_itself_is_convicted_also_when_the_era_was_begun_again_without_it() {
    let ends: [fn(); 4] = [cancel, abandon, give_up, cancel_the_root];
    for end in ends {
        network(8).execute_with(|| {
            assert_ok!(start(1..=4));
            let said = both(2, (0, 0), 2);
            end();
            assert!(!Ceremony::<Test>::exists() && equivocators().is_empty());
            assert_ok!(start(5..=8));
            assert_eq!(record().era, 0);
            // Leaving does not help either.
            assert_ok!(Gatekeepers::leave(RuntimeOrigin::signed(account(2))));
            // Whoever has the seat now did nothing, and the one before has none of the present attempt.
            let present = (0, record().attempt);
            assert_eq!(report(both(6, (0, 0), 2)), Err(Error::<Test>::BadSignature.into()));
            assert_eq!(report(both(2, present, 2)), Err(Error::<Test>::BadSignature.into()));
            assert_ok!(report(said));
            assert_eq!(equivocators(), [(account(2), 0, 0, 0)]);
            assert!(happened(Event::Convicted {
                validator: account(2),
                gatekeeper: id(2),
                offence: Offence::Equivocation
            }));
            assert_noop!(bind(2), Error::<Test>::Convicted);
            assert_eq!(report(said), Err(Error::<Test>::Convicted.into()));
            // The present set answers as ever.
            assert_ok!(report(both(6, present, 2)));
            assert_eq!(equivocators()[1..], [(account(6), 0, present.1, present.1)]);
        });
    }
}

#[test]
fn an_attempt_is_of_the_set_that_was_asked_for_it() {
    network(8).execute_with(|| {
        assert_ok!(start(1..=4));
        run_out();
        assert_eq!(record().attempt, 1);
        cancel();
        assert_ok!(start(5..=8));
        cancel();
        assert_ok!(start(1..=4));
        assert_eq!((record().attempt, FormerSets::<Test>::get()), (3, vec![(0, 0), (0, 2)]));
        let not_signed: DispatchResult = Err(Error::<Test>::BadSignature.into());
        for (number, attempt) in [(5, 0), (5, 1), (1, 2), (5, 3)] {
            assert_eq!(report(both(number, (0, attempt), 1)), not_signed, "{number} in {attempt}");
        }
        for nobody in [0, 5, u16::MAX] {
            assert_eq!(report(both(1, (0, 1), nobody)), Err(Error::<Test>::NoSuchSeat.into()));
        }
        assert_eq!(report(both(1, (1, 0), 1)), Err(Error::<Test>::NoSuchSeat.into()), "of an era that did not begin");
        for (number, attempt, index) in [(1, 0, 1), (2, 1, 2), (5, 2, 1), (3, 3, 3)] {
            assert_ok!(report(both(number, (0, attempt), index)));
        }
        let expected = [(1, 0, 0), (2, 1, 0), (5, 2, 2), (3, 3, 3)];
        assert_eq!(equivocators(), expected.map(|(number, attempt, set)| (account(number), 0, attempt, set)));
    });
}

#[test]
fn former_sets_are_bounded_and_forgotten_with_their_era() {
    network(4).execute_with(|| {
        let kept = || {
            let sets = FormerSets::<Test>::get();
            assert!(sets.iter().all(FormerElections::<Test>::contains_key));
            assert_eq!(FormerElections::<Test>::iter().count(), sets.len());
            sets
        };
        // Two more than are kept, and the one that has the seats.
        for _ in 0..MOST_FORMER_SETS + 2 {
            assert_ok!(start(1..=4));
            cancel();
        }
        assert_ok!(start(1..=4));
        let expected: Vec<_> = (2..MOST_FORMER_SETS + 2).map(|first| (0, first)).collect();
        assert_eq!(kept(), expected);
        assert_eq!(report(both(1, (0, 1), 1)), Err(Error::<Test>::NoSuchSeat.into()));
        assert_ok!(report(both(4, (0, 2), 4)));
        cancel();

        // Of too long ago, from one era to the next: nothing of it is known, and what was kept of it goes by and by.
        attest(5);
        assert_ok!(bind(5));
        Root::<Test>::put(RootRecord { era: REMEMBERED_ERAS - 1, threshold: 3, seats: ids(1..=4), share_list: LIST });
        let others = [1, 2, 3, 5];
        assert_ok!(start(others));
        assert_eq!((record().era, kept().len()), (REMEMBERED_ERAS, MOST_FORMER_SETS as usize - 2));
        assert_eq!(report(both(1, (0, 100), 1)), Err(Error::<Test>::NoSuchSeat.into()));
        let mut again = 0;
        while kept().iter().any(|(era, _)| *era == 0) {
            cancel();
            assert_ok!(start(others));
            again += 1;
        }
        let expected: Vec<_> = (0..again).map(|first| (REMEMBERED_ERAS, first)).collect();
        assert_eq!((again, kept()), (MOST_FORMER_SETS / 2 - 1, expected));
        assert_ok!(report(both(1, (REMEMBERED_ERAS, 0), 1)));
    });
}
