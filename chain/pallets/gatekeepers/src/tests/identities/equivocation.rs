//! Dealers and holders of identities that contradict themselves.

use super::*;

fn report(first: SignedIdentityStatement, second: SignedIdentityStatement) -> DispatchResult {
    let reported = Gatekeepers::report_identity_equivocation(RuntimeOrigin::signed(ANYBODY), first, second);
    reported.map(|_| ()).map_err(|refused| refused.error)
}

fn commitment_of(number: u8, index: u16, byte: u8) -> SignedIdentityStatement {
    signed_identity(number, index, IdentityStatement::Commit { package: [byte; 32] })
}

fn confirmation_of(number: u8, index: u16, byte: u8) -> SignedIdentityStatement {
    signed_identity(number, index, IdentityStatement::Confirm { record: [byte; 32] })
}

/// Who was convicted, of the seat of which era, and who reported it.
fn convicted() -> Vec<(AccountId32, u32, Vec<AccountId32>)> {
    let misdeeds = Punished::get();
    assert!(misdeeds.iter().all(|misdeed| misdeed.offence == Offence::Equivocation));
    misdeeds.into_iter().map(|misdeed| (misdeed.offender, misdeed.era, misdeed.reporters)).collect()
}

#[test]
fn a_dealer_of_identities_that_contradicts_itself_is_convicted_of_the_seat_by_which_it_deals() {
    to_others().execute_with(|| {
        let (first, second) = (commitment_of(4, 4, 1), commitment_of(4, 4, 2));
        // It stands for election no more, and what it did is remembered.
        assert_ok!(Gatekeepers::leave(RuntimeOrigin::signed(account(4))));
        let reported = Gatekeepers::report_identity_equivocation(RuntimeOrigin::signed(ANYBODY), first, second);
        assert_eq!(reported.unwrap().pays_fee, Pays::No);
        assert_eq!(convicted(), [(account(4), 0, vec![ANYBODY])]);
        assert_eq!(Punished::get()[0].fraction, CurrentPolicy::<Test>::get().fault);
        assert_noop!(bind(4), Error::<Test>::Convicted);
        // Once, however often it is reported, and of whatever.
        assert_eq!(report(first, second), Err(Error::<Test>::Convicted.into()));
        assert_eq!(report(second, first), Err(Error::<Test>::Convicted.into()));
        assert_eq!(report(commitment_of(4, 4, 3), first), Err(Error::<Test>::Convicted.into()));
        assert_eq!(convicted().len(), 1);
    });
}

#[test]
fn a_holder_of_identities_that_contradicts_itself_is_convicted_also_when_the_ceremony_is_over() {
    to_others().execute_with(|| {
        let (first, second) = (confirmation_of(8, 4, 1), confirmation_of(8, 4, 2));
        agree(&FIRST, &held(1, 9, 5..=8));
        assert_ok!(bring(held(1, 9, 5..=8)));
        assert_ok!(report(first, second));
        assert_eq!(convicted(), [(account(8), 1, vec![ANYBODY])]);
    });
}

#[test]
fn what_proves_no_contradiction_convicts_nobody() {
    to_others().execute_with(|| {
        let (first, second) = (commitment_of(4, 4, 1), commitment_of(4, 4, 2));
        let refused = |one, other, error: Error<Test>| assert_eq!(report(one, other), Err(error.into()));
        refused(first, first, Error::<Test>::NotEquivocation);
        // What a dealer and what a holder of one index say are two gatekeepers' words.
        refused(first, confirmation_of(8, 4, 2), Error::<Test>::NotEquivocation);
        let resigned = |statement| sign_identity(4, statement);
        refused(first, resigned(SignedIdentityStatement { attempt: 1, ..second }), Error::<Test>::NotEquivocation);
        refused(first, resigned(SignedIdentityStatement { era: 2, ..second }), Error::<Test>::NotEquivocation);
        refused(first, SignedIdentityStatement { signature: [0; 64], ..second }, Error::<Test>::BadSignature);
        refused(SignedIdentityStatement { signature: second.signature, ..first }, second, Error::<Test>::BadSignature);
        // Of another chain.
        let elsewhere = |said: SignedIdentityStatement| {
            let signature = pair(4).sign(&said.signing_payload(&[9; 32])).0;
            SignedIdentityStatement { signature, ..said }
        };
        refused(elsewhere(first), elsewhere(second), Error::<Test>::BadSignature);
        // The holder of the index signs what dealers say, and the dealer what holders say.
        refused(sign_identity(8, first), sign_identity(8, second), Error::<Test>::BadSignature);
        refused(confirmation_of(4, 4, 1), confirmation_of(4, 4, 2), Error::<Test>::BadSignature);
        for nobody in [0, 5, u16::MAX] {
            let as_nobody = |statement| sign_identity(4, SignedIdentityStatement { index: nobody, ..statement });
            refused(as_nobody(first), as_nobody(second), Error::<Test>::NoSuchSeat);
        }
        // Of an era in which there was no such ceremony, though its seats are known, and of one that is not.
        Elections::<Test>::insert(2, Elections::<Test>::get(0).unwrap());
        for era in [2, 7] {
            let of_era = |statement| sign_identity(4, SignedIdentityStatement { era, ..statement });
            refused(of_era(first), of_era(second), Error::<Test>::NoSuchSeat);
        }
        assert!(convicted().is_empty() && Convictions::<Test>::iter().count() == 0);
    });
}

#[test]
fn a_statement_of_a_roots_ceremony_is_none_of_identities() {
    with_root().execute_with(|| {
        // The same seat commits in both, by the same index, era and attempt.
        let of_root = |package| {
            let said = SignedStatement {
                era: 0,
                attempt: 0,
                index: 4,
                statement: Statement::Commit { package },
                signature: [0; 64],
            };
            sign(4, said)
        };
        assert_ok!(begin());
        let as_identity = |said: SignedStatement, package| SignedIdentityStatement {
            era: said.era,
            attempt: said.attempt,
            index: said.index,
            statement: IdentityStatement::Commit { package },
            signature: said.signature,
        };
        let (first, second) = (as_identity(of_root([1; 32]), [1; 32]), as_identity(of_root([2; 32]), [2; 32]));
        assert_eq!(report(first, second), Err(Error::<Test>::BadSignature.into()));
    });
}

#[test]
fn contradictions_are_reported_for_as_many_eras_as_seats_are_remembered() {
    to_others().execute_with(|| {
        let (first, second) = (confirmation_of(8, 4, 1), confirmation_of(8, 4, 2));
        assert_ok!(Gatekeepers::cancel_identities(RuntimeOrigin::root()));
        assert_eq!(DealtBy::<Test>::get(1), Some(0));
        Root::<Test>::put(RootRecord { era: REMEMBERED_ERAS, threshold: 3, seats: ids(5..=8), share_list: LIST });
        assert_ok!(start(1..=4));
        assert_eq!((record().era, DealtBy::<Test>::get(1)), (REMEMBERED_ERAS + 1, None));
        assert_eq!(report(first, second), Err(Error::<Test>::NoSuchSeat.into()));
        assert!(convicted().is_empty());
    });
}
