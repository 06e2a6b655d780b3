//! The course of a ceremony: its start, its phases, its deadlines and its end.

use super::*;
use frame_support::{dispatch::Pays, traits::BuildGenesisConfig};

#[test]
fn the_record_is_the_one_that_tees_read() {
    assert_eq!(Ceremony::<Test>::hashed_key().to_vec(), storage::ceremony_key());
    started(4).execute_with(|| {
        assert_eq!(sp_io::storage::get(&storage::ceremony_key()).unwrap().to_vec(), record().encode());
    });
}

#[test]
fn four_seats_make_a_root() {
    started(4).execute_with(|| {
        let CeremonyRecord { era, attempt, threshold, phase, until, seats, .. } = record();
        assert_eq!((era, attempt, threshold, phase, until), (0, 0, 3, Phase::Commit, 50));
        assert_eq!(seats.iter().map(|seat| seat.gatekeeper).collect::<Vec<_>>(), ids(1..=4));
        commit(1..=4);
        assert_eq!(stand(), (0, Phase::Commit), "not within the block");
        next();
        assert_eq!((stand(), record().until), ((0, Phase::Share), 101));
        confirm(1..=4);
        next();
        assert!(!Ceremony::<Test>::exists() && Due::<Test>::get().is_none());
        let root = RootRecord { era: 0, threshold: 3, seats: ids(1..=4), share_list: LIST };
        assert_eq!(Roots::<Test>::get(0), Some(root.clone()));
        assert!(happened(Event::RootMade { era: 0, attempt: 0, share_list: LIST, holders: 4, from: 3 }));
        assert_eq!(Root::<Test>::get(), Some(root), "nothing keeps it waiting");
        assert!(happened(Event::RootActive { era: 0 }) && Next::<Test>::get().is_none());
        assert!(Punished::get().is_empty());
        // The next one is of the next era.
        assert_ok!(start(1..=4));
        assert_eq!((record().era, record().attempt), (1, 0));
    });
}

#[test]
fn a_ceremony_needs_governance_and_four_bound_and_active_gatekeepers() {
    network(4).execute_with(|| {
        let anybody = Gatekeepers::start(RuntimeOrigin::signed(account(1)), ids(1..=4).try_into().unwrap());
        assert!(anybody.is_err());
        assert_noop!(start(1..=3), Error::<Test>::TooFewSeats);
        assert_noop!(start([1, 2, 3, 3]), Error::<Test>::RepeatedSeat);
        attest(5);
        assert_noop!(start([1, 2, 3, 5]), Error::<Test>::NotSeated);
        Workers::<Test>::mutate(id(4), |record| record.as_mut().unwrap().valid_until = 0);
        assert_noop!(start(1..=4), Error::<Test>::NotAGatekeeper);
        attest(4);
        assert_ok!(start(1..=4));
        assert_noop!(start(1..=4), Error::<Test>::UnderWay);
    });
}

#[test]
fn a_threshold_goes_on_without_those_that_did_not_commit() {
    started(4).execute_with(|| {
        commit(1..=3);
        at(50);
        assert_eq!(stand(), (0, Phase::Commit), "the last block of the phase");
        at(51);
        assert_eq!(stand(), (0, Phase::Share));
        assert_eq!(left_out(), [None, None, None, Some(Fault::Absent)]);
        assert_noop!(say(4, Statement::Commit { package: [4; 32] }), Error::<Test>::TakesNoPart);
        confirm(1..=3);
        next();
        assert!(happened(Event::RootMade { era: 0, attempt: 0, share_list: LIST, holders: 3, from: 52 }));
        // All elected seats are in the root, so that the threshold is of all.
        assert_eq!(Roots::<Test>::get(0).unwrap().seats, ids(1..=4));
    });
}

#[test]
fn fewer_than_a_threshold_begin_again_with_all_that_were_absent() {
    started(4).execute_with(|| {
        commit(1..=3);
        run_out();
        run_out();
        run_out();
        assert_eq!(stand(), (0, Phase::Settle));
        confirm([1, 2]);
        run_out();
        // Seat 3 did not confirm: two are left, so the absent are asked again.
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![None; 4]));
        assert!(happened(Event::Readmitted { era: 0, seats: 2 }));
        commit([1, 2]);
        run_out();
        assert_eq!((stand(), left_out()), ((2, Phase::Commit), vec![None; 4]));
        assert!(record().seats.iter().all(|seat| seat.package.is_none()));
        make_root(1..=4);
        assert!(happened(Event::RootMade {
            era: 0,
            attempt: 2,
            share_list: LIST,
            holders: 4,
            from: System::block_number()
        }));
    });
}

#[test]
fn what_is_taken_is_free_and_charged_by_the_size_of_the_ceremony() {
    started(4).execute_with(|| {
        let taken = submit(signed(1, Statement::Commit { package: [1; 32] })).unwrap();
        assert_eq!((taken.pays_fee, taken.actual_weight), (Pays::No, Some(<() as WeightInfo>::state(4, 0))));
        let refused = submit(signed(1, Statement::Commit { package: [1; 32] })).unwrap_err();
        assert_eq!(refused.post_info.pays_fee, Pays::Yes);
    });
}

#[test]
fn a_cancelled_ceremony_leaves_nothing_and_its_attempts_are_never_used_again() {
    started(4).execute_with(|| {
        commit([1, 2]);
        run_out();
        assert_eq!(stand(), (1, Phase::Commit));
        let old = signed(1, Statement::Commit { package: [1; 32] });
        assert!(Gatekeepers::cancel(RuntimeOrigin::signed(account(1))).is_err());
        assert_ok!(Gatekeepers::cancel(RuntimeOrigin::root()));
        assert_noop!(Gatekeepers::cancel(RuntimeOrigin::root()), Error::<Test>::NothingToCancel);
        assert_eq!(submit(old).unwrap_err().error, Error::<Test>::NoCeremony.into());
        at(1_000);
        assert!(!Ceremony::<Test>::exists() && Roots::<Test>::iter().count() == 0);
        assert_ok!(start(1..=4));
        assert_eq!((record().era, record().attempt), (0, 2));
        assert_eq!(submit(old).unwrap_err().error, Error::<Test>::WrongAttempt.into());
        make_root(1..=4);
        assert_eq!(Root::<Test>::get().unwrap().era, 0);
    });
}

#[test]
fn a_policy_under_which_nothing_could_end_is_refused() {
    network(4).execute_with(|| {
        let set = |change: fn(&mut Policy)| {
            let mut policy = CurrentPolicy::<Test>::get();
            change(&mut policy);
            Gatekeepers::set_policy(RuntimeOrigin::root(), policy)
        };
        let wrong: [fn(&mut Policy); 10] = [
            |policy| policy.commit = 9,
            |policy| policy.share = 14_401,
            |policy| policy.share = 19,
            |policy| policy.deliver = 19,
            |policy| policy.settle = 19,
            |policy| policy.settle = 0,
            |policy| policy.delay = 100_801,
            |policy| policy.absences = 1,
            |policy| policy.absences = 101,
            |policy| policy.fine = Perbill::from_percent(2),
        ];
        for change in wrong {
            assert_noop!(set(change), Error::<Test>::PolicyOutOfRange);
        }
        assert!(Gatekeepers::set_policy(RuntimeOrigin::signed(account(1)), CurrentPolicy::<Test>::get()).is_err());
        // Under the shortest phases a complaint is still made, delivered on, disputed, answered, and the answer rejected.
        assert_ok!(set(|policy| {
            (policy.commit, policy.share, policy.deliver, policy.settle) = (10, 20, 20, 20);
        }));
        assert_ok!(start(1..=4));
        assert_eq!(record().until, 10);
        to_share();
        at(record().until);
        assert_ok!(complain(1, 4));
        run_out();
        assert_ok!(deliver(4, 1));
        at(record().until);
        assert_ok!(dispute(1, 4));
        run_out();
        assert_ok!(answer(4, 1));
        at(record().until);
        assert_ok!(reject(1, 4));
    });
}

#[test]
fn a_vendor_holds_no_threshold_where_the_quota_is_enforced() {
    network(4).execute_with(|| {
        assert!(!CurrentPolicy::<Test>::get().vendor_quota, "off on a development network");
        Development::set(false);
        assert!(CurrentPolicy::<Test>::get().vendor_quota && CurrentPolicy::<Test>::get().delay > 0);
        assert_noop!(start(1..=4), Error::<Test>::VendorQuota);
        let exception = GenesisConfig::<Test> { without_vendor_quota: true, ..Default::default() };
        exception.build();
        assert_ok!(start(1..=4));
    });
}
