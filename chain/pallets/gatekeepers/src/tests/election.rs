//! Elections that wait for ceremonies.

use super::*;
use phala_attest::{Appraisal, ConfidenceLevel, Origin, Root as VendorRoot, TcbStatus, Vendor};
use phala_pallet_attestation::Appraisals;

fn accounts(numbers: impl IntoIterator<Item = u8>) -> Vec<AccountId32> {
    numbers.into_iter().map(account).collect()
}

/// A network that asks for gatekeepers, with `validators` of them and no root yet.
fn asking(validators: u8) -> sp_io::TestExternalities {
    let mut network = network(validators);
    network.execute_with(|| {
        Development::set(false);
        CurrentPolicy::<Test>::mutate(|policy| (policy.vendor_quota, policy.delay) = (false, 0));
    });
    network
}

/// Whether the set that waits takes over with these.
fn takes_over(elected: Vec<AccountId32>) -> bool {
    Gatekeepers::take_plan(&elected, 3)
}

/// A network of `validators` that enforces the quota, of whom these run machines of Intel. Of the others' nothing is known: they count as
/// another vendor's.
fn with_quota(validators: u8, intel: impl IntoIterator<Item = u8>) -> sp_io::TestExternalities {
    let mut network = asking(validators);
    network.execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.vendor_quota = true);
        for number in intel {
            // Of either technology: it is one maker's.
            let vendor = if number % 2 == 0 { Vendor::IntelTdx } else { Vendor::IntelSgx };
            let (root, measurement) = (VendorRoot::Intel, MEASUREMENT);
            let origin = Origin { root, vendor, fmspc: [0; 6], evaluation: 1, measurement };
            let appraisal = Appraisal { origin, status: TcbStatus::UpToDate, confidence: ConfidenceLevel::One };
            Appraisals::<Test>::insert(id(number), appraisal);
        }
    });
    network
}

/// The elected, each with what backs it.
fn backed(elected: impl IntoIterator<Item = (u8, u128)>) -> Vec<(AccountId32, u128)> {
    elected.into_iter().map(|(number, backing)| (account(number), backing)).collect()
}

fn named(numbers: impl IntoIterator<Item = u8>) -> Event<Test> {
    Event::LeftOutByQuota { validators: accounts(numbers) }
}

#[test]
fn an_election_leaves_out_the_least_backed_of_a_vendor_that_would_hold_a_threshold() {
    with_quota(7, 3..=7).execute_with(|| {
        // Of all seven there would be no root.
        assert_eq!(Gatekeepers::plan(accounts(1..=7)), Err(Error::<Test>::VendorQuota));
        let elected = backed([(1, 1), (2, 2), (3, 50), (4, 40), (5, 30), (6, 20), (7, 10)]);
        let set = Gatekeepers::keep_quota(elected, 4);
        assert_eq!(set, accounts(1..=6), "without one of Intel's");
        assert!(happened(named([7])));
        assert_ok!(Gatekeepers::plan(set.clone()));
        assert_eq!((record().threshold, record().seats.len()), (5, 6));
        // Whoever is left out is not part of the set that takes over, and stands in the next election.
        make_root(1..=6);
        assert_eq!(Gatekeepers::electable(accounts(1..=7)), set);
        assert!(takes_over(set));
        assert_eq!(Gatekeepers::electable(accounts(1..=7)), accounts(1..=7));
    });
    with_quota(8, 1..=6).execute_with(|| {
        let elected = backed([(7, 1), (1, 9), (4, 5), (3, 8), (2, 5), (5, 7), (6, 6), (8, 1)]);
        assert_eq!(Gatekeepers::keep_quota(elected, 6), accounts([7, 1, 3, 5, 6, 8]), "in the election's order");
        assert!(happened(named([2, 4])));
    });
    // The other vendor's, where it has too many.
    with_quota(7, [1, 2]).execute_with(|| {
        let elected = backed([(1, 1), (2, 1), (3, 5), (4, 4), (5, 4), (6, 9), (7, 8)]);
        assert_eq!(Gatekeepers::keep_quota(elected, 4), accounts([1, 2, 3, 5, 6, 7]), "of equals the first by number");
    });
}

#[test]
fn where_no_set_keeps_the_quota_the_election_is_refused_as_it_is() {
    // Too few others for a root, none, and fewer than staking takes.
    for (intel, least) in [(6, 4), (7, 4), (5, 7)] {
        with_quota(7, 1..=intel).execute_with(|| {
            let set = Gatekeepers::keep_quota(backed((1..=7u8).map(|number| (number, u128::from(number)))), least);
            assert_eq!(set, accounts(1..=7));
            let events = System::events().into_iter().map(|record| record.event);
            let mut told =
                events.filter(|event| matches!(event, RuntimeEvent::Gatekeepers(Event::LeftOutByQuota { .. })));
            assert!(told.next().is_none());
            assert_eq!(Gatekeepers::plan(set), Err(Error::<Test>::VendorQuota));
            assert!(happened(Event::ElectionRefused { validators: 7 }));
        });
    }
}

#[test]
fn an_election_of_which_less_than_two_thirds_would_be_left_is_refused() {
    let elected = || backed((1..=100u8).map(|number| (number, u128::from(number))));
    // Four beside 96 would hold a third of twelve seats, and 22 one of 66.
    for intel in [96u8, 78] {
        with_quota(100, 1..=intel).execute_with(|| {
            assert_eq!(Gatekeepers::keep_quota(elected(), 4), accounts(1..=100));
            let events = System::events().into_iter().map(|record| record.event);
            let told = |event| matches!(event, RuntimeEvent::Gatekeepers(Event::LeftOutByQuota { .. }));
            assert_eq!(events.filter(|event| told(event.clone())).count(), 0);
            assert_eq!(Gatekeepers::plan(accounts(1..=100)), Err(Error::<Test>::VendorQuota));
            assert!(happened(Event::ElectionRefused { validators: 100 }));
            assert!(Planned::<Test>::get().is_none() && Ceremony::<Test>::get().is_none());
        });
    }
    // 23 are enough, and 30: the least backed go.
    for (intel, gone) in [(77u8, 31u8), (70, 10)] {
        with_quota(100, 1..=intel).execute_with(|| {
            let set = Gatekeepers::keep_quota(elected(), 4);
            assert_eq!(set, accounts(gone + 1..=100));
            assert!(happened(named(1..=gone)));
            assert_ok!(Gatekeepers::plan(set));
            assert_eq!(record().seats.len(), 100 - usize::from(gone));
        });
    }
}

#[test]
fn an_election_within_the_quota_or_without_one_is_left_alone() {
    let elected = || backed((1..=6u8).map(|number| (number, u128::from(number))));
    with_quota(6, 1..=4).execute_with(|| {
        assert_eq!(Gatekeepers::keep_quota(elected(), 4), accounts(1..=6));
        assert_ok!(Gatekeepers::plan(accounts(1..=6)));
    });
    with_quota(6, 1..=6).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.vendor_quota = false);
        assert_eq!(Gatekeepers::keep_quota(elected(), 4), accounts(1..=6));
        assert_ok!(Gatekeepers::plan(accounts(1..=6)));
    });
}

#[test]
fn a_development_network_with_a_lone_root_or_none_elects_as_ever() {
    network(2).execute_with(|| {
        assert_eq!(Gatekeepers::election(), Election::Open);
        Root::<Test>::put(RootRecord { era: 0, threshold: 1, seats: ids([1]), share_list: LIST });
        assert_eq!(Gatekeepers::election(), Election::Open);
        assert_eq!(Gatekeepers::electable(accounts(1..=9)), accounts(1..=9));
        Root::<Test>::put(RootRecord { era: 1, threshold: 3, seats: ids(1..=4), share_list: LIST });
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        Development::set(false);
        Root::<Test>::kill();
        assert_eq!(Gatekeepers::election(), Election::Candidates);
    });
}

#[test]
fn only_validators_with_an_active_gatekeeper_are_electable() {
    asking(3).execute_with(|| {
        Workers::<Test>::mutate(id(2), |record| record.as_mut().unwrap().valid_until = 0);
        assert_eq!(Gatekeepers::electable(accounts(1..=5)), accounts([1, 3]));
        assert_eq!(Gatekeepers::plan(accounts([1, 3])), Err(Error::<Test>::TooFewSeats));
        assert_eq!(Gatekeepers::plan(accounts(1..=4)), Err(Error::<Test>::NotSeated));
        assert!(happened(Event::ElectionRefused { validators: 2 }) && !Ceremony::<Test>::exists());
        assert_eq!(Gatekeepers::election(), Election::Candidates);
    });
}

#[test]
fn the_elected_take_over_when_their_root_is_made_and_not_before() {
    asking(5).execute_with(|| {
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        assert_eq!(record().seats.iter().map(|seat| seat.gatekeeper).collect::<Vec<_>>(), ids(1..=4));
        assert_eq!(Gatekeepers::election(), Election::Withheld);
        assert!(Gatekeepers::electable(accounts(1..=5)).is_empty());
        make_root(1..=4);
        assert_eq!(Gatekeepers::election(), Election::Ready(accounts(1..=4)));
        assert_eq!(Gatekeepers::electable(accounts(1..=5)), accounts(1..=4));
        assert!(takes_over(accounts(1..=4)));
        assert!(happened(Event::SetReady { era: 0 }));
        assert_eq!(Acting::<Test>::get(), Some((0, 0)));
        assert!(!takes_over(accounts(1..=4)), "once");
        assert_eq!(Gatekeepers::election(), Election::Candidates);
    });
}

#[test]
fn the_next_set_waits_for_the_hand_over_too() {
    asking(5).execute_with(|| {
        Root::<Test>::put(RootRecord { era: 0, threshold: 3, seats: ids(1..=4), share_list: LIST });
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        FormerClusters::set(1);
        make_root(1..=4);
        // The set whose root is made takes over; the former root still answers.
        assert!(takes_over(accounts(1..=4)));
        assert_eq!(Gatekeepers::election(), Election::Withheld);
        FormerClusters::set(0);
        next();
        assert_eq!(Gatekeepers::election(), Election::Candidates);
    });
}

#[test]
fn a_plan_ends_with_its_ceremony_or_its_root() {
    asking(4).execute_with(|| {
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        assert_ok!(Gatekeepers::cancel(RuntimeOrigin::root()));
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        assert!(happened(Event::PlanDropped { era: 0 }) && !Planned::<Test>::exists());
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        make_root(1..=4);
        assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
        assert_eq!(Gatekeepers::election(), Election::Candidates);
    });
}

#[test]
fn a_plan_that_lost_its_ceremony_or_root_takes_over_with_no_root_that_others_make_for_its_era() {
    let ends: [fn(); 3] = [
        || {
            assert_ok!(Gatekeepers::cancel(RuntimeOrigin::root()));
        },
        || {
            CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
            make_root(1..=4);
            assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
        },
        || {
            while Ceremony::<Test>::exists() {
                run_out();
            }
        },
    ];
    for end in ends {
        asking(5).execute_with(|| {
            assert_ok!(Gatekeepers::plan(accounts(1..=4)));
            end();
            // At once, whatever staking asks in between.
            assert!(!Planned::<Test>::exists() && happened(Event::PlanDropped { era: 0 }));
            assert_ok!(start([1, 2, 3, 5]));
            assert_eq!((record().era, Gatekeepers::election()), (0, Election::Withheld));
            make_root(1..=3);
            assert!(Roots::<Test>::contains_key(0));
            assert!(!matches!(Gatekeepers::election(), Election::Ready(_)));
            // Nobody is fined for a candidacy that he never had, and nobody takes over.
            Gatekeepers::fine_withdrawn(|validator| *validator != account(5));
            assert!(Punished::get().is_empty());
            assert!(!takes_over(accounts(1..=3)));
        });
    }
}

#[test]
fn the_acting_set_is_told_from_those_that_begin_its_era_before_and_after_it() {
    asking(5).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        assert_ok!(Gatekeepers::plan(accounts(2..=5)));
        assert_ok!(Gatekeepers::cancel(RuntimeOrigin::root()));
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        // What made the root is an attempt of the set, and not its first.
        run_out();
        make_root(1..=4);
        assert!(takes_over(accounts(1..=4)));
        assert_eq!((Acting::<Test>::get(), NextAttempt::<Test>::get()), (Some((0, 1)), (0, 3)));
        // It acts on while its root is cancelled and another one waits.
        assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
        assert_ok!(Gatekeepers::plan(accounts([1, 2, 3, 5])));
        assert_eq!((record().era, record().attempt, Acting::<Test>::get()), (0, 3, Some((0, 1))));
        make_root(1..=3);
        assert_eq!(Acting::<Test>::get(), Some((0, 1)));
        assert!(takes_over(accounts(1..=3)));
        assert_eq!(Acting::<Test>::get(), Some((0, 3)));
    });
}

#[test]
fn a_plan_is_given_up_when_a_root_that_was_recorded_by_hand_takes_its_place() {
    asking(4).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        let by_hand = |era| RootRecord { era, threshold: 3, seats: ids(1..=4), share_list: [8; 32] };
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        Root::<Test>::put(by_hand(0));
        make_root(1..=4);
        assert!(happened(Event::CeremonyAbandoned { era: 0, attempt: 0 }));
        assert!(!Planned::<Test>::exists() && happened(Event::PlanDropped { era: 0 }));
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        make_root(1..=4);
        assert_eq!(Gatekeepers::election(), Election::Ready(accounts(1..=4)));
        Root::<Test>::put(by_hand(1));
        at(System::block_number() + 10);
        assert!(happened(Event::NextDropped { era: 1 }));
        assert!(!Planned::<Test>::exists() && happened(Event::PlanDropped { era: 1 }));
    });
}

#[test]
fn a_ceremony_that_begins_ends_a_plan_of_its_own_era_and_no_other() {
    asking(5).execute_with(|| {
        // Whatever left it.
        Planned::<Test>::put(Plan { era: 0, validators: accounts(1..=4) });
        assert_ok!(start(1..=4));
        assert!(!Planned::<Test>::exists() && happened(Event::PlanDropped { era: 0 }));
        assert_ok!(Gatekeepers::cancel(RuntimeOrigin::root()));
        // A set whose root answers waits for the end of the session, and governance begins the next era meanwhile.
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        make_root(1..=4);
        assert_ok!(start([1, 2, 3, 5]));
        assert_eq!((record().era, Gatekeepers::election()), (1, Election::Ready(accounts(1..=4))));
        System::reset_events();
        // The root that comes of it answers before that end: there is none that the set could take over with.
        make_root(1..=3);
        assert_eq!(Root::<Test>::get().map(|root| root.era), Some(1));
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        assert!(!Planned::<Test>::exists() && happened(Event::PlanDropped { era: 0 }));
    });
}

#[test]
fn a_set_of_which_too_few_still_stand_is_given_up() {
    asking(6).execute_with(|| {
        let attempt = |standing: Vec<AccountId32>| {
            assert_ok!(Gatekeepers::plan(accounts(1..=6)));
            make_root(1..=6);
            takes_over(standing)
        };
        assert!(!attempt(accounts(1..=4)), "a root of six needs five");
        assert!(!attempt(accounts([1, 2, 3, 4, 7])), "a stranger");
        assert_eq!(Acting::<Test>::get(), None);
        assert!(attempt(accounts(1..=5)));
    });
}

#[test]
fn a_convicted_validator_does_not_take_over_with_its_set() {
    asking(5).execute_with(|| {
        assert_ok!(Gatekeepers::plan(accounts(1..=5)));
        to_share();
        assert_ok!(complain(1, 5));
        to_settle([(1, 5)]);
        assert_ok!(answer(5, 1));
        for index in 1..=4 {
            assert_ok!(reject(index, 5));
        }
        run_out();
        make_root(1..=4);
        assert_eq!(Gatekeepers::electable(accounts(1..=5)), accounts(1..=4));
        // Nor with another gatekeeper, which has no share of the root either.
        assert_ok!(replace_by(5, 6));
        assert_eq!(Gatekeepers::electable(accounts(1..=5)), accounts(1..=4));
        assert!(takes_over(accounts(1..=4)));
        // With that one it stands in the next election.
        assert_eq!(Gatekeepers::electable(accounts(1..=5)), accounts(1..=5));
    });
}

#[test]
fn one_of_four_that_withdraws_stalls_nothing_and_is_fined() {
    asking(4).execute_with(|| {
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        make_root(1..=4);
        assert_ok!(Gatekeepers::leave(RuntimeOrigin::signed(account(4))));
        Gatekeepers::fine_withdrawn(|_| true);
        assert!(takes_over(accounts(1..=3)), "as many as the root needs");
        let fined = || -> Vec<_> {
            Punished::get().into_iter().map(|misdeed| (misdeed.offender, misdeed.offence, misdeed.fraction)).collect()
        };
        let fine = CurrentPolicy::<Test>::get().fine;
        assert_eq!(fined(), [(account(4), Offence::Withdrawal, fine)]);
        assert!(happened(Event::Withdrew { era: 0, validator: account(4) }));
    });
}

#[test]
fn one_of_four_whose_lost_gatekeeper_is_replaced_takes_over_and_is_not_fined() {
    asking(4).execute_with(|| {
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        make_root(1..=4);
        assert_ok!(replace_by(4, 5));
        Gatekeepers::fine_withdrawn(|_| true);
        assert_eq!(Gatekeepers::electable(accounts(1..=4)), accounts(1..=4));
        assert!(takes_over(accounts(1..=4)));
        assert!(Punished::get().is_empty());
        // The other one has its seat with the next set.
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        assert_eq!(record().seats.iter().map(|seat| seat.gatekeeper).collect::<Vec<_>>(), ids([1, 2, 3, 5]));
    });
}

#[test]
fn whoever_is_chilled_by_itself_is_fined_and_whoever_is_convicted_is_not_twice() {
    asking(5).execute_with(|| {
        assert_ok!(Gatekeepers::plan(accounts(1..=5)));
        to_share();
        assert_ok!(complain(1, 5));
        to_settle([(1, 5)]);
        assert_ok!(answer(5, 1));
        for index in 1..=4 {
            assert_ok!(reject(index, 5));
        }
        run_out();
        make_root(1..=4);
        Gatekeepers::fine_withdrawn(|validator| *validator != account(4));
        let punished: Vec<_> = Punished::get().into_iter().map(|misdeed| (misdeed.offender, misdeed.offence)).collect();
        assert_eq!(punished, [(account(5), Offence::WrongShare), (account(4), Offence::Withdrawal)]);
        // A second time there is nothing that waits.
        assert!(!takes_over(accounts(1..=3)), "a root of five needs four");
        Gatekeepers::fine_withdrawn(|_| false);
        assert_eq!(Punished::get().len(), 2);
    });
}

#[test]
fn a_set_that_is_given_up_takes_its_root_with_it_and_the_next_is_elected() {
    asking(4).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        make_root(1..=4);
        assert!(Next::<Test>::exists());
        assert!(!takes_over(accounts(1..=2)));
        assert!(happened(Event::PlanDropped { era: 0 }) && happened(Event::NextDropped { era: 0 }));
        assert!(!Next::<Test>::exists() && !Roots::<Test>::contains_key(0));
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        // The attempts of that era are not used again.
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        assert_eq!((record().era, record().attempt), (0, 1));
        make_root(1..=4);
        assert!(!Gatekeepers::take_plan(&accounts(1..=4), 5), "staking would refuse them");
        assert!(!happened(Event::SetReady { era: 0 }));
    });
}

#[test]
fn a_set_that_is_given_up_leaves_its_root_to_the_clusters_that_go_over_to_it() {
    asking(5).execute_with(|| {
        let root = |era| RootRecord { era, threshold: 3, seats: ids(1..=4), share_list: LIST };
        Root::<Test>::put(root(0));
        FormerClusters::set(1);
        assert_ok!(Gatekeepers::plan(accounts(1..=4)));
        make_root(1..=4);
        assert!(!takes_over(accounts(1..=2)));
        assert!(happened(Event::PlanDropped { era: 1 }) && !happened(Event::NextDropped { era: 1 }));
        assert_eq!((NextRoot::<Test>::get(), Roots::<Test>::get(1)), (Some(root(1)), Some(root(1))));
        // The next election waits for the hand-over, whose end does not depend on who acts.
        assert_eq!(Gatekeepers::election(), Election::Withheld);
        FormerClusters::set(0);
        next();
        assert_eq!((Root::<Test>::get(), Acting::<Test>::get()), (Some(root(1)), None));
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        assert_ok!(Gatekeepers::plan(accounts(2..=5)));
        assert_eq!(record().era, 2);
    });
}
