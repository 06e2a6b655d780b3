//! Drawing the replicas of a cluster from a value of the beacon.

use super::*;
use crate::drawing::{lowest, NotDrawn};

/// Blocks in which workers registered, and in which the value's period opened.
const REGISTERED: u32 = 1;
const OPENED: u32 = 40;

fn value(fill: u8) {
    let proof = BeaconValue { era: 3, period: 7, partials: Vec::new() };
    NewestBeacon::set(Some(MadeBeacon { opened: OPENED, made: OPENED + 5, value: [fill; 32], proof }));
}

/// A network in block 50 with workers 2 to 13 that serve nothing, and worker 1, which serves cluster 0; the newest value is `fill`s.
fn candidates(fill: u8) -> sp_io::TestExternalities {
    let mut network = network(1, false);
    Silent::set(Vec::new());
    network.execute_with(|| {
        (2..=13).for_each(|number| register_in(number, REGISTERED));
        at(50);
        value(fill);
    });
    network
}

fn register_in(number: u8, block: u32) {
    register(&replica(number), u64::MAX);
    Workers::<Test>::mutate(id(&replica(number)), |record| record.as_mut().unwrap().registered_at = block);
    give_to(number, number);
}

/// The worker is `operator`'s.
fn give_to(number: u8, operator: u8) {
    let operator = phala_protocol::AccountId([operator; 32]);
    Workers::<Test>::mutate(id(&replica(number)), |record| record.as_mut().unwrap().operator = operator);
}

fn draw(number: u32) -> DispatchResult {
    Contracts::draw_cluster(RuntimeOrigin::root(), number, 100, 100).map(|_| ()).map_err(|refused| refused.error)
}

/// The replicas of the cluster that is created by drawing so many.
fn drawn(number: u32) -> Vec<WorkerId> {
    assert_ok!(draw(number));
    let cluster = ClusterId(NextCluster::<Test>::get() - 1);
    assert!(happened(Event::ClusterDrawn { cluster, era: 3, period: 7 }));
    Clusters::<Test>::get(cluster).unwrap().replicas
}

#[test]
fn the_same_value_gives_the_same_replicas_and_another_gives_others() {
    let of = |fill| candidates(fill).execute_with(|| drawn(3));
    let first = of(1);
    assert_eq!(first, of(1));
    let mut sorted = first.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 3);
    // Of twelve candidates there are 220 sets: that eight values all give the first is no accident.
    assert!((2..10).any(|fill| of(fill) != first));
    // More are the same and some more.
    assert_eq!(candidates(1).execute_with(|| drawn(5))[..3], first);
}

#[test]
fn every_candidate_is_drawn_by_some_value() {
    let mut seen = std::collections::BTreeSet::new();
    for fill in 0..40 {
        seen.extend(candidates(fill).execute_with(|| drawn(3)));
    }
    assert_eq!(seen, (2..=13).map(|number| id(&replica(number))).collect());
}

#[test]
fn each_cluster_draws_for_itself_among_those_that_serve_none() {
    candidates(1).execute_with(|| {
        let mut serving = vec![id(&replica(1))];
        for _ in 0..4 {
            let replicas = drawn(3);
            assert!(replicas.iter().all(|worker| !serving.contains(worker)));
            serving.extend(replicas);
        }
        assert_noop!(draw(1), Error::<Test>::TooFewEligible);
    });
}

#[test]
fn whoever_registered_when_the_period_was_open_is_not_drawn() {
    let favourite = candidates(1).execute_with(|| drawn(1))[0];
    let number = (2..=13).find(|number| id(&replica(*number)) == favourite).unwrap();
    // The same identity, registered anew: in the block of the opening, and after it.
    for block in [OPENED, OPENED + 1, 50] {
        candidates(1).execute_with(|| {
            register_in(number, block);
            assert!(!drawn(11).contains(&favourite));
            assert_noop!(draw(1), Error::<Test>::TooFewEligible);
        });
    }
    candidates(1).execute_with(|| {
        register_in(number, OPENED - 1);
        assert_eq!(drawn(1), [favourite]);
    });
}

#[test]
fn a_candidate_that_takes_itself_out_moves_nobody_else() {
    let whole = candidates(1).execute_with(|| drawn(12));
    for out in 0..12 {
        let rest = candidates(1).execute_with(|| {
            Workers::<Test>::remove(whole[out]);
            drawn(11)
        });
        let expected: Vec<_> = whole.iter().filter(|worker| **worker != whole[out]).copied().collect();
        assert_eq!(rest, expected);
    }
}

#[test]
fn only_active_workers_are_drawn() {
    candidates(1).execute_with(|| {
        let lapsed = id(&replica(2));
        Workers::<Test>::mutate(lapsed, |record| record.as_mut().unwrap().valid_until = 0);
        let gatekeeper = id(&replica(3));
        Workers::<Test>::mutate(gatekeeper, |record| record.as_mut().unwrap().role = Role::Gatekeeper);
        let unlisted = id(&replica(4));
        Workers::<Test>::mutate(unlisted, |record| record.as_mut().unwrap().measurement = [8; 32]);
        assert_noop!(draw(10), Error::<Test>::TooFewEligible);
        let replicas = drawn(9);
        assert!([lapsed, gatekeeper, unlisted].iter().all(|worker| !replicas.contains(worker)));
    });
}

#[test]
fn whoever_is_unresponsive_is_not_drawn_until_it_answers() {
    let whole = candidates(1).execute_with(|| drawn(12));
    candidates(1).execute_with(|| {
        // The first and the fifth: the others move up, and nobody else goes.
        Silent::set(vec![whole[0], whole[4]]);
        assert_noop!(draw(11), Error::<Test>::TooFewEligible);
        let left: Vec<_> = whole.iter().filter(|worker| !Silent::get().contains(worker)).copied().collect();
        assert_eq!(drawn(10), left);
    });
    candidates(1).execute_with(|| {
        Silent::set(vec![whole[0]]);
        assert_eq!(drawn(1), [whole[1]]);
    });
    candidates(1).execute_with(|| assert_eq!(drawn(1), [whole[0]], "it answered"));
}

#[test]
fn a_drawing_needs_governance_a_value_and_a_number_of_replicas() {
    candidates(1).execute_with(|| {
        assert!(Contracts::draw_cluster(RuntimeOrigin::signed(ALICE), 3, 100, 100).is_err());
        for number in [0, 16, u32::MAX] {
            assert_noop!(draw(number), Error::<Test>::BadReplicaCount);
        }
        NewestBeacon::set(None);
        assert_noop!(draw(3), Error::<Test>::NoBeacon);
        value(1);
        assert_ok!(draw(3));
    });
}

#[test]
fn an_old_value_draws_nothing() {
    candidates(1).execute_with(|| {
        // Two epochs of a hundred blocks.
        at(OPENED + 201);
        assert_noop!(draw(3), Error::<Test>::NoBeacon);
        at(OPENED + 200);
        assert_ok!(draw(3));
    });
}

#[test]
fn no_two_replicas_are_of_one_operator() {
    let whole = candidates(1).execute_with(|| drawn(12));
    let number = |worker: &WorkerId| (2..=13).find(|number| id(&replica(*number)) == *worker).unwrap();
    candidates(1).execute_with(|| {
        // The first, the third and the last are of one operator, of whom the first serves.
        [0, 2, 11].into_iter().for_each(|place: usize| give_to(number(&whole[place]), 99));
        assert_noop!(draw(11), Error::<Test>::TooFewEligible);
        let expected: Vec<_> = [&whole[..2], &whole[3..11]].concat();
        assert_eq!(drawn(10), expected);
    });
}

#[test]
fn nothing_is_drawn_from_a_part_of_those_that_are_there() {
    candidates(1).execute_with(|| {
        let within = |registrations, clusters| {
            let outcome = Contracts::draw_cluster(RuntimeOrigin::root(), 3, registrations, clusters);
            outcome.map(|post| post.actual_weight).map_err(|refused| refused.error)
        };
        assert_noop!(within(12, 1), Error::<Test>::MoreToLookAt);
        assert_noop!(within(13, 0), Error::<Test>::MoreToLookAt);
        assert_eq!(within(1_000, 1_000), Ok(Some(<() as WeightInfo>::draw_cluster(3, 13, 1))));
    });
}

#[test]
fn equal_numbers_decide_nothing() {
    let worker = |number: u8| WorkerId([number; 32]);
    let numbered = |numbers: [u128; 4]| numbers.into_iter().zip((1..).map(worker)).collect::<Vec<_>>();
    assert_eq!(lowest(numbered([9, 5, 7, 5]), 1), Err(NotDrawn::Tied), "the last in and the first out");
    assert_eq!(lowest(numbered([9, 5, 7, 5]), 2), Err(NotDrawn::Tied));
    assert_eq!(lowest(numbered([9, 5, 7, 9]), 2), Ok(vec![worker(2), worker(3)]), "neither serves");
    assert_eq!(lowest(numbered([9, 5, 7, 9]), 4), Err(NotDrawn::Tied));
    assert_eq!(lowest(numbered([4, 3, 2, 1]), 4), Ok([4, 3, 2, 1].map(worker).to_vec()));
    assert_eq!(lowest(numbered([4, 3, 2, 1]), 5), Err(NotDrawn::TooFew));
    assert_eq!(lowest(Vec::new(), 0), Ok(Vec::new()));
}
