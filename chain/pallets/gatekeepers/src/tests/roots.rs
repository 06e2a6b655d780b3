//! The hand-over from the root that answers to the one that comes.

use super::*;

fn made(era: u32) -> RootRecord {
    RootRecord { era, threshold: 3, seats: ids(1..=4), share_list: LIST }
}

/// A network whose root of era 0 answers, and whose root of era 1 was made in the present block while `clusters` need the former.
fn handing_over(clusters: u32) -> sp_io::TestExternalities {
    let mut network = started(4);
    network.execute_with(|| {
        make_root(1..=4);
        assert_ok!(start(1..=4));
        FormerClusters::set(clusters);
        make_root(1..=4);
    });
    network
}

#[test]
fn the_former_root_answers_while_a_cluster_is_its() {
    handing_over(2).execute_with(|| {
        let now = System::block_number();
        assert_eq!(Next::<Test>::get(), Some(HandOver { era: 1, from: now }));
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(made(0)), Some(made(1))));
        assert!(happened(Event::HandOverBegan { era: 1, clusters: 2 }));
        at(now + 1_000);
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(made(0)), Some(made(1))));
        assert_eq!(TimesToldToGoOver::get(), 1);
        assert_noop!(start(1..=4), Error::<Test>::HandOverPending);
        FormerClusters::set(0);
        at(now + 1_001);
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(made(1)), None));
        assert_eq!((Next::<Test>::get(), Roots::<Test>::iter_keys().collect::<Vec<_>>()), (None, vec![1]));
        assert!(happened(Event::RootActive { era: 1 }));
    });
}

/// Roots that the chain said are retired, in that order: era, and seats.
fn retired() -> Vec<(u32, u32)> {
    let events = System::events().into_iter();
    let retired = events.filter_map(|record| match record.event {
        RuntimeEvent::Gatekeepers(Event::RootRetired { era, seats }) => Some((era, seats)),
        _ => None,
    });
    retired.collect()
}

#[test]
fn a_root_is_retired_when_no_cluster_needs_it_any_more_and_not_before() {
    handing_over(2).execute_with(|| {
        assert!(retired().is_empty(), "the first root had none before it, and its own answers");
        FormerClusters::set(1);
        at(System::block_number() + 1_000);
        assert!(retired().is_empty(), "one cluster needs it");
        FormerClusters::set(0);
        next();
        assert_eq!((Root::<Test>::get().map(|root| root.era), retired()), (Some(1), vec![(0, 4)]));
        next();
        assert_eq!(retired(), [(0, 4)], "it is said once");
        // A root that is cancelled before it answers was never one to retire, nor is the one that answers on.
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        assert_ok!(start(1..=4));
        make_root(1..=4);
        assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
        at(System::block_number() + 20);
        assert_eq!(retired(), [(0, 4)]);
    });
}

#[test]
fn a_hand_over_without_a_cluster_is_at_once() {
    handing_over(0).execute_with(|| {
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(made(1)), None));
        assert_eq!((Next::<Test>::get(), TimesToldToGoOver::get()), (None, 0));
        assert!(!happened(Event::HandOverBegan { era: 1, clusters: 0 }));
        assert_eq!(retired(), [(0, 4)]);
    });
}

#[test]
fn a_network_without_a_root_begins_with_that_of_era_0() {
    started(4).execute_with(|| {
        // Whatever the clusters are of, no root before gave them keys.
        FormerClusters::set(3);
        make_root(1..=4);
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(made(0)), None));
        assert_eq!((Next::<Test>::get(), TimesToldToGoOver::get()), (None, 0));
    });
}

#[test]
fn a_lone_root_hands_over_to_one_of_four_seats() {
    network(4).execute_with(|| {
        let lone = RootRecord { era: 0, threshold: 1, seats: ids([9]), share_list: [8; 32] };
        Root::<Test>::put(lone.clone());
        FormerClusters::set(1);
        assert_ok!(start(1..=4));
        make_root(1..=4);
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(lone), Some(made(1))));
        assert!(retired().is_empty());
        assert_eq!(Gatekeepers::election(), Election::Open);
        FormerClusters::set(0);
        next();
        assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(made(1)), None));
        assert_eq!(retired(), [(0, 1)], "the single gatekeeper's");
        assert_eq!(Gatekeepers::election(), Election::Candidates, "the root has more than one seat");
    });
}

#[test]
fn nothing_takes_a_root_away_to_which_clusters_go_over() {
    handing_over(1).execute_with(|| {
        assert_noop!(Gatekeepers::cancel_next(RuntimeOrigin::root()), Error::<Test>::HandOverBegan);
        let by_hand = RootRecord { share_list: [8; 32], ..made(1) };
        assert!(Attestation::record_root(RuntimeOrigin::root(), by_hand, vec![[0; 64]; 4]).is_err());
        next();
        assert_eq!((NextRoot::<Test>::get(), Roots::<Test>::get(1)), (Some(made(1)), Some(made(1))));
    });
}

#[test]
fn the_delay_comes_before_the_hand_over() {
    started(4).execute_with(|| {
        make_root(1..=4);
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        FormerClusters::set(1);
        assert_ok!(start(1..=4));
        make_root(1..=4);
        let from = System::block_number() + 10;
        at(from - 1);
        assert_eq!((NextRoot::<Test>::get(), TimesToldToGoOver::get()), (None, 0));
        at(from);
        assert_eq!((NextRoot::<Test>::get(), TimesToldToGoOver::get()), (Some(made(1)), 1));
    });
}

#[test]
fn no_hand_over_begins_to_a_root_whose_seats_are_too_few() {
    started(4).execute_with(|| {
        make_root(1..=4);
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        FormerClusters::set(1);
        assert_ok!(start(1..=4));
        make_root(1..=4);
        let from = System::block_number() + 10;
        let present = Workers::<Test>::get(id(1)).unwrap().valid_until;
        let attested_until = |number, until| {
            Workers::<Test>::mutate(id(number), |record| record.as_mut().unwrap().valid_until = until);
        };
        attested_until(1, 0);
        attested_until(2, 0);
        at(from + 5);
        assert_eq!((NextRoot::<Test>::get(), TimesToldToGoOver::get()), (None, 0));
        assert_eq!(Next::<Test>::get(), Some(HandOver { era: 1, from }), "governance may still cancel it");
        // Three of four are its threshold.
        attested_until(2, present);
        at(from + 6);
        assert_eq!((NextRoot::<Test>::get(), TimesToldToGoOver::get()), (Some(made(1)), 1));
    });
}

#[test]
fn roots_follow_each_other_and_there_are_two_at_most() {
    handing_over(1).execute_with(|| {
        for era in 1..=3 {
            assert_eq!(Roots::<Test>::iter_keys().count(), 2);
            FormerClusters::set(0);
            next();
            assert_eq!((Root::<Test>::get(), NextRoot::<Test>::get()), (Some(made(era)), None));
            assert_eq!(Roots::<Test>::iter_keys().collect::<Vec<_>>(), [era]);
            assert_ok!(start(1..=4));
            assert_eq!(record().era, era + 1);
            FormerClusters::set(1);
            make_root(1..=4);
            assert_eq!(NextRoot::<Test>::get(), Some(made(era + 1)));
        }
    });
}

#[test]
fn governance_cancels_a_root_within_its_delay_and_not_afterwards() {
    started(4).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        make_root(1..=4);
        let from = System::block_number() + 10;
        assert_eq!(Next::<Test>::get(), Some(HandOver { era: 0, from }));
        at(from - 1);
        assert_eq!(Root::<Test>::get(), None);
        assert!(Gatekeepers::cancel_next(RuntimeOrigin::signed(account(1))).is_err());
        assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
        at(from);
        assert_eq!((Root::<Test>::get(), Roots::<Test>::iter().count()), (None, 0));
        assert_ok!(start(1..=4));
        assert_eq!((record().era, record().attempt), (0, 1));
        make_root(1..=4);
        at(System::block_number() + 10);
        assert_eq!(Root::<Test>::get(), Some(made(0)));
        assert_noop!(Gatekeepers::cancel_next(RuntimeOrigin::root()), Error::<Test>::NothingToCancel);
    });
}

#[test]
fn a_root_that_was_recorded_by_hand_meanwhile_stays() {
    started(4).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        let other = RootRecord { share_list: [8; 32], ..made(0) };
        Root::<Test>::put(other.clone());
        make_root(1..=4);
        assert!(happened(Event::CeremonyAbandoned { era: 0, attempt: 0 }) && Next::<Test>::get().is_none());
        assert_ok!(start(1..=4));
        make_root(1..=4);
        Root::<Test>::put(RootRecord { era: 1, ..other.clone() });
        at(System::block_number() + 10);
        assert_eq!(Root::<Test>::get(), Some(RootRecord { era: 1, ..other }));
        assert!(happened(Event::NextDropped { era: 1 }) && Roots::<Test>::iter().count() == 0);
    });
}

#[test]
fn a_beacon_key_is_awaited_and_in_use_as_its_root_is() {
    started(4).execute_with(|| {
        make_root(1..=4);
        assert_eq!(Told::take(), [Said::Awaited(0, KEYS.beacon), Said::Active(0)]);
        assert_ok!(start(1..=4));
        FormerClusters::set(1);
        make_root(1..=4);
        next();
        assert_eq!(Told::take(), [Said::Awaited(1, KEYS.beacon)], "the former root answers");
        FormerClusters::set(0);
        next();
        assert_eq!(Told::take(), [Said::Active(1)]);
        next();
        assert!(Told::take().is_empty());
    });
}

#[test]
fn a_beacon_key_is_dropped_with_its_root() {
    started(4).execute_with(|| {
        CurrentPolicy::<Test>::mutate(|policy| policy.delay = 10);
        make_root(1..=4);
        assert_ok!(Gatekeepers::cancel_next(RuntimeOrigin::root()));
        assert_eq!(Told::take(), [Said::Awaited(0, KEYS.beacon), Said::Dropped(0)]);
        assert_ok!(start(1..=4));
        make_root(1..=4);
        // Governance records another root of the era by hand meanwhile.
        Root::<Test>::put(RootRecord { share_list: [8; 32], ..made(0) });
        at(System::block_number() + 10);
        assert_eq!(Told::take(), [Said::Awaited(0, KEYS.beacon), Said::Dropped(0)]);
    });
}

#[test]
fn seats_that_agree_on_the_root_and_not_on_the_beacon_make_neither() {
    started(4).execute_with(|| {
        to_share();
        confirm(1..=3);
        assert_ok!(say(4, Statement::Confirm(Confirmed { beacon: [16; 32], ..KEYS })));
        next();
        assert_eq!((Roots::<Test>::iter().count(), Told::take()), (0, Vec::new()));
        assert_eq!((stand(), left_out()), ((1, Phase::Commit), vec![None, None, None, Some(Fault::Absent)]));
        make_root(1..=3);
        assert_eq!(Told::take(), [Said::Awaited(0, KEYS.beacon), Said::Active(0)]);
    });
}
