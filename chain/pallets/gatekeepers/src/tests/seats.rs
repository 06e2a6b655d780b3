//! Which validator runs which gatekeeper.

use super::*;

#[test]
fn a_validator_runs_one_registered_gatekeeper_of_its_own() {
    network(1).execute_with(|| {
        assert_eq!(Gatekeepers::seat_of(&account(1)), Some(id(1)));
        assert_noop!(bind(1), Error::<Test>::AlreadySeated);
        assert_noop!(bind(2), Error::<Test>::NotAGatekeeper);
        attest(2);
        let stolen = Gatekeepers::register_seat(RuntimeOrigin::signed(account(3)), id(2));
        assert_eq!(stolen, Err(Error::<Test>::NotTheOperator.into()));
        Workers::<Test>::mutate(id(2), |record| record.as_mut().unwrap().role = Role::Worker);
        assert_noop!(bind(2), Error::<Test>::NotAGatekeeper);
        assert_ok!(Gatekeepers::leave(RuntimeOrigin::signed(account(1))));
        assert_noop!(Gatekeepers::leave(RuntimeOrigin::signed(account(1))), Error::<Test>::NotSeated);
        assert_eq!((Seats::<Test>::iter().count(), Validators::<Test>::iter().count()), (0, 0));
        assert_ok!(bind(1));
    });
}

#[test]
fn a_binding_counts_while_the_registry_agrees() {
    network(1).execute_with(|| {
        Workers::<Test>::mutate(id(1), |record| record.as_mut().unwrap().valid_until = 1);
        assert_eq!(Gatekeepers::seat_of(&account(1)), None);
        attest(1);
        let listed = Measurements::<Test>::take(MEASUREMENT).unwrap();
        assert_eq!(Gatekeepers::seat_of(&account(1)), None);
        Measurements::<Test>::insert(MEASUREMENT, listed);
        Workers::<Test>::mutate(id(1), |record| record.as_mut().unwrap().operator.0 = [2; 32]);
        assert_eq!(Gatekeepers::seat_of(&account(1)), None);
        // Whoever operates it now takes it over.
        assert_ok!(Gatekeepers::register_seat(RuntimeOrigin::signed(account(2)), id(1)));
        assert_eq!((Gatekeepers::seat_of(&account(2)), Seats::<Test>::get(account(1))), (Some(id(1)), None));
    });
}

#[test]
fn another_gatekeeper_replaces_a_validators_in_one_step_and_seats_stay_with_whom_they_were_given_to() {
    network(4).execute_with(|| {
        assert_ok!(start(1..=4));
        // A machine of the fourth validator's, in the place of one that is lost.
        assert_ok!(replace_by(4, 5));
        assert_eq!(Gatekeepers::seat_of(&account(4)), Some(id(5)));
        assert_eq!((Seats::<Test>::iter().count(), Validators::<Test>::iter().count()), (4, 4));
        assert_eq!((Validators::<Test>::get(id(4)), Validators::<Test>::get(id(5))), (None, Some(account(4))));
        assert!(happened(Event::SeatLeft { validator: account(4), gatekeeper: id(4) }));
        assert!(happened(Event::SeatRegistered { validator: account(4), gatekeeper: id(5) }));
        assert_eq!(replace_by(4, 5), Err(Error::<Test>::AlreadySeated.into()));
        // The ceremony under way stays that of those who were asked for it.
        assert_eq!(record().seats[3].gatekeeper, id(4));
        assert_ok!(say(4, commitment(4)));
        assert_ok!(Gatekeepers::cancel(RuntimeOrigin::root()));
        assert_eq!(start(1..=4), Err(Error::<Test>::NotSeated.into()));
        assert_ok!(start([1, 2, 3, 5]));
        assert_eq!(record().seats[3].gatekeeper, id(5));
        // Nor is one replaced by a gatekeeper that is convicted, or by another's.
        Convictions::<Test>::insert(id(4), 0);
        let back = Gatekeepers::register_seat(RuntimeOrigin::signed(account(4)), id(4));
        assert_eq!(back, Err(Error::<Test>::Convicted.into()));
        let stolen = Gatekeepers::register_seat(RuntimeOrigin::signed(account(4)), id(1));
        assert_eq!(stolen, Err(Error::<Test>::NotTheOperator.into()));
        assert_eq!(Gatekeepers::seat_of(&account(4)), Some(id(5)));
    });
}
