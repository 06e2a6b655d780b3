//! Replicas that are shut out: the next epoch opens at once and without them.

use super::*;
use crate::{lapses::WATCHED_PER_BLOCK, rolls::LOOKED_AT_PER_BLOCK};
use phala_attest::{ConfidenceLevel, Origin, Root, Subject, TcbStatus, Vendor};
use phala_pallet_attestation::{Appraisal, Appraisals, Hardware};

/// What the replicas run that are shut out.
const BAD: Hash = [9; 32];
const BAD_RELEASE: Subject = Subject::Measurement(BAD);

/// Says of replica `number` that it runs `measurement`.
fn runs(number: u8, measurement: Hash) {
    let origin =
        Origin { root: Root::InsecureDevelopment, vendor: Vendor::IntelTdx, fmspc: [0; 6], evaluation: 1, measurement };
    let appraisal = Appraisal { origin, status: TcbStatus::UpToDate, confidence: ConfidenceLevel::One };
    list(measurement);
    Workers::<Test>::mutate(id(&replica(number)), |record| record.as_mut().unwrap().measurement = measurement);
    Appraisals::<Test>::insert(id(&replica(number)), appraisal);
}

/// [`network`] with its first epoch open since block 2, whose replicas `bad` run [`BAD`].
fn network_with(replicas: u8, bad: &[u8]) -> sp_io::TestExternalities {
    let mut network = network(replicas, true);
    network.execute_with(|| {
        for number in 1..=replicas {
            runs(number, if bad.contains(&number) { BAD } else { MEASUREMENT });
        }
    });
    network
}

fn suspend() {
    assert_ok!(Attestation::suspend(RuntimeOrigin::root(), BAD_RELEASE));
}

fn assign(replicas: &[u8]) -> DispatchResult {
    let ids: Vec<_> = replicas.iter().map(|number| id(&replica(*number))).collect();
    Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, ids.try_into().unwrap())
}

fn rolls(epochs: u32) -> bool {
    happened(Event::EpochRolls { cluster: CLUSTER, epochs })
}

fn awaits(remaining: u32, majority: u32) -> bool {
    happened(Event::AwaitingAssignment { cluster: CLUSTER, remaining, majority })
}

#[test]
fn a_suspension_makes_the_next_epoch_due_at_once_where_a_replica_is_hit_and_nowhere_else() {
    network_with(3, &[3]).execute_with(|| {
        let others = vec![id(&replica(1)), id(&replica(2))].try_into().unwrap();
        assert_ok!(Contracts::create_cluster(RuntimeOrigin::root(), others));
        let untouched = Clusters::<Test>::get(ClusterId(1));
        at(10);
        assert_noop!(announce(&replica(1), 2, 6), Error::<Test>::TooEarly);
        suspend();
        at(11);
        assert_eq!((record().next_epoch_due(), record().replicas.len()), (11, 3));
        assert!(rolls(1) && !awaits(2, 2));
        assert_eq!(Clusters::<Test>::get(ClusterId(1)), untouched);
        assert_noop!(announce(&replica(3), 2, 6), Error::<Test>::NotAWorker);
        assert_ok!(announce(&replica(1), 2, 6));
        assert_ok!(announce(&replica(2), 2, 6));
        at(12);
        assert_eq!((record().epoch, record().epoch_length, record().next_epoch_due()), (2, 100, 112));
        assert_eq!(Rolls::<Test>::get(CLUSTER), None);
        // Nothing more is looked at, and nothing rolls, before somebody is shut out again.
        assert_eq!(Search::<Test>::get().left, 0);
        at(13);
        assert_noop!(announce(&replica(1), 3, 7), Error::<Test>::TooEarly);
    });
}

#[test]
fn an_epoch_whose_keys_may_have_been_given_to_it_is_left_at_once_too() {
    network_with(3, &[3]).execute_with(|| {
        // The next epoch is due in block 102; its keys are given thirty blocks before.
        at(72);
        suspend();
        at(73);
        assert!(rolls(2));
        for epoch in [2, 3] {
            assert_ok!(announce(&replica(1), epoch, 6));
            assert_ok!(announce(&replica(2), epoch, 6));
            at(72 + epoch);
            assert_eq!(record().epoch, epoch);
        }
        assert_eq!((record().epoch_length, Rolls::<Test>::get(CLUSTER)), (100, None));
    });
}

#[test]
fn an_epoch_that_was_decided_before_the_suspension_opens_and_is_left_again() {
    network_with(3, &[3]).execute_with(|| {
        at(102);
        assert_ok!(announce(&replica(3), 2, 6));
        assert_ok!(announce(&replica(1), 2, 6));
        suspend();
        at(103);
        assert_eq!((record().epoch, record().next_epoch_due()), (2, 103));
        assert!(rolls(1));
    });
}

#[test]
fn what_a_replica_announced_before_it_was_shut_out_opens_nothing() {
    network_with(3, &[3]).execute_with(|| {
        at(102);
        assert_ok!(announce(&replica(3), 2, 6));
        suspend();
        // In the block of the suspension, and after the search.
        assert_ok!(announce(&replica(1), 2, 6));
        at(103);
        assert_eq!(record().epoch, 1, "two announced, and one of them counts");
        assert_eq!(Announcements::<Test>::get(CLUSTER).len(), 1);
        // When it is lifted, it is heard again.
        assert_ok!(Attestation::lift(RuntimeOrigin::root(), BAD_RELEASE));
        assert_ok!(announce(&replica(3), 2, 6));
        at(104);
        assert_eq!(record().epoch, 2);
    });
}

#[test]
fn what_a_replica_voted_before_it_was_shut_out_decides_nothing() {
    network_with(3, &[3]).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        let result = result_at(2, 1, 0, 1);
        assert_ok!(vote(&replica(3), result));
        suspend();
        assert_ok!(vote(&replica(1), result));
        assert_eq!(FinalResults::<Test>::get((CLUSTER, 2)), None);
        assert_ok!(vote(&replica(2), result));
        let votes = FinalResults::<Test>::get((CLUSTER, 2)).unwrap().votes;
        let voters: Vec<_> = votes.iter().map(|(worker, _)| *worker).collect();
        assert_eq!(voters, [id(&replica(1)), id(&replica(2))], "nobody counts it for a majority");
        // Nor what it said of the next epoch's beginning.
        at(4);
        for number in [1, 2] {
            assert_ok!(announce(&replica(number), 2, 6));
        }
        at(5);
        assert_ok!(Attestation::lift(RuntimeOrigin::root(), BAD_RELEASE));
        assert_ok!(bind(&replica(3), 2, 1, 2));
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), BAD_RELEASE, None));
        assert_ok!(bind(&replica(1), 2, 1, 2));
        assert_eq!(record().bound_epoch, 1);
        assert_ok!(bind(&replica(2), 2, 1, 2));
        assert_eq!(record().bound_epoch, 2);
    });
}

#[test]
fn a_cluster_whose_only_replica_is_shut_out_waits_for_governance_to_assign_another() {
    network_with(1, &[1]).execute_with(|| {
        at(10);
        suspend();
        at(11);
        assert!(rolls(1) && awaits(0, 1));
        assert_noop!(announce(&replica(1), 2, 6), Error::<Test>::NotAWorker);
        assert_eq!(record().replicas, [id(&replica(1))], "nobody decides in its place");
        register(&replica(2), u64::MAX);
        runs(2, MEASUREMENT);
        assert_noop!(assign(&[1]), Error::<Test>::NotAWorker);
        assert_ok!(assign(&[2]));
        assert_ok!(announce(&replica(2), 2, 6));
        at(12);
        assert_eq!((record().epoch, record().epoch_length), (2, 100));
    });
}

#[test]
fn the_number_of_votes_that_decide_does_not_fall_with_those_who_are_shut_out() {
    network_with(3, &[2, 3]).execute_with(|| {
        at(10);
        suspend();
        at(11);
        assert!(awaits(1, 2));
        assert_ok!(announce(&replica(1), 2, 6));
        at(12);
        assert_eq!(record().epoch, 1);
    });
}

#[test]
fn a_deadline_rolls_when_it_is_reached() {
    network_with(3, &[3]).execute_with(|| {
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), BAD_RELEASE, Some(20)));
        for block in 3..=20 {
            System::set_block_number(block);
            Attestation::on_initialize(block);
            at(block);
            assert_eq!(rolls(1), block == 20);
        }
        assert_eq!(record().next_epoch_due(), 20);
    });
}

#[test]
fn a_release_whose_sunset_passes_rolls() {
    network_with(3, &[3]).execute_with(|| {
        assert_ok!(Attestation::set_sunset(RuntimeOrigin::root(), BAD, Some(19)));
        for block in 3..=20 {
            System::set_block_number(block);
            Attestation::on_initialize(block);
            at(block);
            assert_eq!(rolls(1), block == 20);
        }
        assert_eq!(record().next_epoch_due(), 20);
    });
}

#[test]
fn a_revoked_machine_and_a_delisted_release_roll_too() {
    network_with(3, &[3]).execute_with(|| {
        let (three, hardware) = (id(&replica(3)), replica(3).public().0);
        Hardware::<Test>::insert(hardware, three);
        assert_ok!(Attestation::revoke_hardware(RuntimeOrigin::root(), hardware));
        at(3);
        assert!(rolls(1));
    });
    network_with(3, &[3]).execute_with(|| {
        assert_ok!(Attestation::remove_measurement(RuntimeOrigin::root(), BAD));
        at(3);
        assert!(rolls(1));
    });
}

#[test]
fn a_block_looks_at_a_bounded_number_of_clusters_and_passes_over_none() {
    network_with(3, &[3]).execute_with(|| {
        let replicas: BoundedVec<_, _> = vec![id(&replica(1)), id(&replica(3))].try_into().unwrap();
        for _ in 1..40 {
            assert_ok!(Contracts::create_cluster(RuntimeOrigin::root(), replicas.clone()));
        }
        let weight = |looked_at| {
            <() as WeightInfo>::open_epochs(0)
                .saturating_add(<() as WeightInfo>::look_at_clusters(looked_at))
                .saturating_add(<() as WeightInfo>::watch_replicas(WATCHED_PER_BLOCK))
        };
        let rolling = || Rolls::<Test>::iter().count() as u32;
        suspend();
        assert_eq!(Contracts::on_initialize(3), weight(LOOKED_AT_PER_BLOCK));
        assert_eq!(rolling(), LOOKED_AT_PER_BLOCK);
        // Another decision begins nothing anew: the search goes on from its place, once around.
        assert_ok!(Attestation::revoke(RuntimeOrigin::root(), Subject::Measurement([8; 32]), None));
        assert_eq!(Contracts::on_initialize(4), weight(LOOKED_AT_PER_BLOCK));
        assert_eq!(rolling(), 2 * LOOKED_AT_PER_BLOCK);
        assert_eq!(Contracts::on_initialize(5), weight(LOOKED_AT_PER_BLOCK));
        assert_eq!(rolling(), 40);
        assert_eq!(Contracts::on_initialize(6), weight(40 - 2 * LOOKED_AT_PER_BLOCK));
        assert_eq!(Contracts::on_initialize(7), weight(0));
    });
}

#[test]
fn the_length_that_governance_sets_meanwhile_holds_after_the_roll() {
    network_with(3, &[3]).execute_with(|| {
        at(10);
        suspend();
        at(11);
        assert_ok!(Contracts::set_epoch_length(RuntimeOrigin::root(), CLUSTER, 50));
        assert_eq!(record().next_epoch_due(), 11, "what is due stays due");
        for number in [1, 2] {
            assert_ok!(announce(&replica(number), 2, 6));
        }
        at(12);
        assert_eq!(record().next_epoch_due(), 62);
    });
}
