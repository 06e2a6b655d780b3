//! Who was missing from a ceremony of identities.

use super::*;

fn absent(number: u8, times: u32) -> Event<Test> {
    Event::AbsentFromIdentities { validator: account(number), times }
}

fn rows() -> Vec<(AccountId32, u32)> {
    let mut rows: Vec<_> = IdentityAbsences::<Test>::iter().collect();
    rows.sort();
    rows
}

/// These dealers alone commit, and the phase runs out.
fn commit_alone(dealers: &[(u8, u16)]) {
    for (number, index) in dealers {
        assert_ok!(tell(signed_identity(*number, *index, IdentityStatement::Commit { package: [*number; 32] })));
    }
    at(ceremony().until + 1);
}

fn confirm_identities(holders: &[(u8, u16)], record: Hash) {
    for (number, index) in holders {
        assert_ok!(tell(signed_identity(*number, *index, IdentityStatement::Confirm { record })));
    }
}

#[test]
fn a_holder_that_is_never_there_is_counted_and_fined_the_third_time() {
    to_others().execute_with(|| {
        // Twice before; and one that is there now was not then.
        for number in [7, 8] {
            IdentityAbsences::<Test>::insert(account(number), 2);
        }
        deal(&FIRST);
        confirm_identities(&[(5, 1), (6, 2), (7, 3)], [1; 32]);
        for phase in [Phase::Deliver, Phase::Settle, Phase::Commit] {
            at(ceremony().until + 1);
            assert_eq!(ceremony().phase, phase);
        }
        assert!(Punished::get().is_empty(), "an attempt is no ceremony");
        agree(&FIRST, &held(1, 9, 5..=7));
        assert_ok!(bring(held(1, 9, 5..=7)));
        assert!(happened(absent(8, 3)) && !happened(absent(7, 3)));
        let punished = Punished::get();
        assert_eq!(punished.len(), 1);
        let Misdeed { offender, offence, era, attempt, fraction, .. } = &punished[0];
        assert_eq!((offender, *offence, *era, *attempt), (&account(8), Offence::IdentityAbsence, 1, 1));
        assert_eq!((*fraction, rows()), (CurrentPolicy::<Test>::get().fine, vec![]), "counted anew");
    });
}

#[test]
fn a_dealer_that_does_not_commit_is_counted_also_where_others_deal() {
    to_others().execute_with(|| {
        IdentityAbsences::<Test>::insert(account(1), 2);
        commit_alone(&[(1, 1), (2, 2), (3, 3)]);
        assert_eq!(ceremony().phase, Phase::Share);
        let record = held(1, 9, 5..=8);
        confirm_identities(&[(5, 1), (6, 2), (7, 3), (8, 4)], record.hash());
        next();
        assert_ok!(bring(record));
        assert!(happened(absent(4, 1)) && Punished::get().is_empty());
        assert_eq!(rows(), [(account(4), 1)]);
    });
}

#[test]
fn whoever_is_in_both_sets_is_counted_once() {
    with_root().execute_with(|| {
        assert_ok!(begin());
        commit_alone(&FIRST[..3]);
        confirm_identities(&FIRST[..3], [1; 32]);
        for _ in 0..3 {
            at(ceremony().until + 1);
        }
        assert_eq!((ceremony().attempt, ceremony().holders[3].left_out), (1, Some(Fault::Absent)));
        commit_alone(&FIRST[..3]);
        let record = held(0, 9, 1..=3);
        confirm_identities(&FIRST[..3], record.hash());
        next();
        assert_ok!(bring(record));
        assert_eq!(rows(), [(account(4), 1)]);
    });
}

#[test]
fn those_for_whom_a_ceremony_is_given_up_are_counted_unless_they_are_as_many_as_would_do() {
    let give_up = |dealers: &[(u8, u16)]| {
        for _ in 0..=MOST_READMISSIONS {
            commit_alone(dealers);
        }
        assert!(!IdentityCeremony::<Test>::exists());
    };
    to_others().execute_with(|| {
        // Of four who have the keys two are missing: the others could not.
        give_up(&FIRST[..2]);
        assert_eq!(rows(), [(account(3), 1), (account(4), 1)]);
        assert!(happened(absent(3, 1)));
    });
    for there in [1, 0] {
        to_others().execute_with(|| {
            IdentityAbsences::<Test>::insert(account(2), 2);
            give_up(&FIRST[..there]);
            assert_eq!(rows(), [(account(2), 2)], "the network, or a release that runs no such ceremony");
        });
    }
}

#[test]
fn holders_for_whom_a_ceremony_is_given_up_are_counted() {
    to_others().execute_with(|| {
        for _ in 0..=MOST_READMISSIONS {
            deal(&FIRST);
            confirm_identities(&[(5, 1), (6, 2)], [1; 32]);
            for _ in 0..3 {
                at(ceremony().until + 1);
            }
        }
        assert!(!IdentityCeremony::<Test>::exists());
        assert_eq!(rows(), [(account(7), 1), (account(8), 1)]);
    });
}

#[test]
fn a_ceremony_of_identities_that_governance_cancels_counts_for_nobody() {
    to_others().execute_with(|| {
        commit_alone(&FIRST[..3]);
        assert_ok!(Gatekeepers::cancel_identities(RuntimeOrigin::root()));
        assert!(rows().is_empty() && Punished::get().is_empty());
    });
}
