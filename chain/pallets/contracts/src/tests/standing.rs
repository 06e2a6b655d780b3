//! Replicas that are late, disagree, fall behind or lapse.

use super::*;
use frame_support::traits::Get;
use phala_attest::{ConfidenceLevel, Origin, Root, Subject, TcbStatus, Vendor};
use phala_pallet_attestation::{Appraisal, Appraisals};
use phala_protocol::limits::FINAL_RESULTS_KEPT;

fn standing(number: u8) -> Standing {
    let worker = id(&replica(number));
    Standings::<Test>::get(CLUSTER).into_iter().find(|standing| standing.worker == worker).unwrap()
}

fn drop_replica(number: u8) -> DispatchResult {
    Contracts::drop_replica(RuntimeOrigin::signed(ALICE), CLUSTER, id(&replica(number)))
}

/// One more boundary, decided by the replicas `voters`; gives its result.
fn decide(voters: &[u8]) -> ClusterResult {
    let block = System::block_number();
    assert_ok!(push(1));
    at(block + 1);
    let before = u8::from(Commitments::<Test>::get(CLUSTER).is_some());
    let result = result_at(block, 1, before, 1);
    for number in voters {
        assert_ok!(vote(&replica(*number), result));
    }
    assert!(FinalResults::<Test>::contains_key((CLUSTER, block)));
    result
}

#[test]
fn a_late_vote_confirms_and_a_late_dissent_is_reported_once() {
    network(3, true).execute_with(|| {
        let (two, three) = (replica(2), replica(3));
        let first = decide(&[1, 2]);
        assert_eq!((standing(1).confirmed, standing(2).confirmed, standing(3).confirmed), (1, 1, 0));
        assert_ok!(vote(&three, first));
        assert!(happened(Event::Confirmed { cluster: CLUSTER, worker: id(&three), count: 1 }));
        assert_eq!(standing(3).confirmed, 1);
        assert_noop!(vote(&three, first), Error::<Test>::AlreadyVoted);
        assert_eq!(FinalResults::<Test>::get((CLUSTER, 2)).unwrap().votes.len(), 2, "it decides nothing any more");

        let second = decide(&[1, 2]);
        let other = ClusterResult { next: [9; 32], ..second };
        assert_noop!(vote(&three, ClusterResult { epoch: 2, ..other }), Error::<Test>::WrongEpoch);
        let elsewhere = Boundary { link: [9; 32], ..second.boundary };
        assert_noop!(vote(&three, ClusterResult { boundary: elsewhere, ..second }), Error::<Test>::WrongBoundary);
        assert_ok!(vote(&three, other));
        assert!(happened(Event::Dissented { cluster: CLUSTER, block: 3, worker: id(&three) }));
        assert_eq!((standing(3).confirmed, standing(3).dissent), (1, Some(3)));
        assert_noop!(vote(&three, other), Error::<Test>::AlreadyVoted);
        // It signed the final result before: two signatures of one replica.
        assert_ok!(vote(&two, other));
        assert!(happened(Event::Equivocated { cluster: CLUSTER, block: 3, worker: id(&two) }));
        assert_eq!(standing(2).dissent, None);
    });
}

#[test]
fn dissent_before_the_majority_is_reported_when_it_decides() {
    network(3, true).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        assert_ok!(vote(&replica(3), result_at(2, 1, 0, 9)));
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 1)));
        let dissented = Event::Dissented { cluster: CLUSTER, block: 2, worker: id(&replica(3)) };
        assert!(!happened(dissented.clone()));
        assert_ok!(vote(&replica(2), result_at(2, 1, 0, 1)));
        assert!(happened(dissented));
        assert_eq!(standing(3).dissent, Some(2));
    });
}

#[test]
fn final_results_wait_for_a_replica_that_is_behind_and_not_for_ever() {
    network(3, true).execute_with(|| {
        let kept = || FinalResults::<Test>::iter_keys().count() as u32;
        let first = decide(&[1, 2]);
        let oldest = || FinalResults::<Test>::contains_key((CLUSTER, first.boundary.block));
        for _ in 1..290 {
            decide(&[1, 2]);
        }
        assert!(kept() == 290 && oldest(), "more than {FINAL_RESULTS_KEPT} are kept for the third");
        // The third executes the oldest boundary again and finds its result confirmed.
        assert_ok!(vote(&replica(3), first));
        decide(&[1, 2]);
        assert!(!oldest(), "nobody needs it any more");

        // It stays silent from here on: results wait until the limit, then it is given up.
        let limit = <Test as crate::Config>::MaxReplicaLag::get();
        let lost = || happened(Event::ReplicaLost { cluster: CLUSTER, worker: id(&replica(3)), confirmed: 1 });
        while !lost() {
            assert!(kept() <= limit);
            decide(&[1, 2]);
        }
        assert!(standing(3).lost && kept() <= limit);
        for _ in 0..limit - FINAL_RESULTS_KEPT {
            decide(&[1, 2]);
        }
        assert_eq!(kept(), FINAL_RESULTS_KEPT, "what the lag left is forgotten, two for each that comes");
        assert_eq!(FinalOrder::<Test>::iter_keys().count() as u32, FINAL_RESULTS_KEPT);

        // Anyone may have it dropped.
        assert_noop!(drop_replica(2), Error::<Test>::StillServing);
        assert_noop!(drop_replica(9), Error::<Test>::NotAReplica);
        assert_ok!(drop_replica(3));
        let reason = DropReason::Lost;
        assert!(happened(Event::ReplicaDropped { cluster: CLUSTER, worker: id(&replica(3)), reason }));
        assert_eq!((record().replicas.len(), record().majority()), (2, 2));
        assert_noop!(drop_replica(3), Error::<Test>::NotAReplica);
        decide(&[1, 2]);
    });
}

#[test]
fn nothing_is_kept_for_a_replica_that_dissented() {
    network(3, true).execute_with(|| {
        let first = decide(&[1, 2]);
        assert_ok!(vote(&replica(3), ClusterResult { next: [9; 32], ..first }));
        for _ in 0..FINAL_RESULTS_KEPT + 5 {
            decide(&[1, 2]);
        }
        assert_eq!(FinalResults::<Test>::iter_keys().count() as u32, FINAL_RESULTS_KEPT);
    });
}

#[test]
fn a_lapsed_replica_may_be_dropped_after_a_period_unless_fewer_would_then_decide() {
    network(3, true).execute_with(|| {
        register(&replica(3), 50);
        let at_second = |seconds: u64| pallet_timestamp::Now::<Test>::put(seconds * 1_000);
        at_second(60);
        assert_noop!(drop_replica(3), Error::<Test>::StillServing);
        at_second(50 + 86_400 - 1);
        assert_noop!(drop_replica(3), Error::<Test>::StillServing);
        at_second(50 + 86_400);
        let announced = |number| Announcement { worker: id(&replica(number)), era: 0, public_key: vec![5] };
        Announcements::<Test>::insert(CLUSTER, vec![announced(3), announced(1)]);
        assert_ok!(drop_replica(3));
        assert_eq!(Announcements::<Test>::get(CLUSTER).len(), 1, "what it announced counts no more");
        let (worker, reason) = (id(&replica(3)), DropReason::Lapsed);
        assert!(happened(Event::ReplicaDropped { cluster: CLUSTER, worker, reason }));
        // Two of two decide now. Were one enough, who keeps honest replicas from attesting would decide alone in the end.
        Workers::<Test>::remove(id(&replica(2)));
        assert_noop!(drop_replica(2), Error::<Test>::MajorityWouldFall);
    });
}

#[test]
fn a_replica_that_is_shut_out_votes_no_more_and_may_be_dropped_unless_fewer_would_then_decide() {
    network(3, true).execute_with(|| {
        let suspended = [9; 32];
        for (number, measurement) in [(1, MEASUREMENT), (2, suspended), (3, suspended)] {
            let origin = Origin {
                root: Root::InsecureDevelopment,
                vendor: Vendor::IntelTdx,
                fmspc: [0; 6],
                evaluation: 1,
                measurement,
            };
            let appraisal = Appraisal { origin, status: TcbStatus::UpToDate, confidence: ConfidenceLevel::One };
            Appraisals::<Test>::insert(id(&replica(number)), appraisal);
        }
        let result = decide(&[1, 2]);
        assert_ok!(Attestation::suspend(RuntimeOrigin::root(), Subject::Measurement(suspended)));
        assert_noop!(vote(&replica(3), result), Error::<Test>::NotAWorker);
        assert_noop!(drop_replica(1), Error::<Test>::StillServing);
        assert_ok!(drop_replica(3));
        let (worker, reason) = (id(&replica(3)), DropReason::Barred);
        assert!(happened(Event::ReplicaDropped { cluster: CLUSTER, worker, reason }));
        assert_noop!(drop_replica(2), Error::<Test>::MajorityWouldFall);
    });
}

#[test]
fn a_new_assignment_keeps_what_members_confirmed_and_asks_new_ones_from_now_on() {
    network(3, true).execute_with(|| {
        decide(&[1, 2]);
        decide(&[1, 2]);
        register(&replica(4), u64::MAX);
        let ids = vec![id(&replica(2)), id(&replica(3)), id(&replica(4))].try_into().unwrap();
        assert_ok!(Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, ids));
        let confirmed: Vec<_> = Standings::<Test>::get(CLUSTER).iter().map(|standing| standing.confirmed).collect();
        assert_eq!(confirmed, [2, 0, 2]);
    });
}
