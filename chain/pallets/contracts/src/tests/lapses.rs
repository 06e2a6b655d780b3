//! Assignments that end by themselves.

use super::*;
use crate::lapses::{NOTICE_BLOCKS, WATCHED_PER_BLOCK};
use phala_attest::{Subject, Vendor};

/// The registry's grace, in seconds and, with a block a second, in blocks.
const GRACE: u32 = 86_400;
/// The second at which a test's registrations lapse.
const END: u32 = 50;
/// The first block in which they have lapsed for longer than the grace.
const OVER: u32 = END + GRACE;

fn lapses(number: u8) {
    register(&replica(number), END.into());
}

fn noticed(number: u8) -> bool {
    happened(Event::ReplicaLapsed { cluster: CLUSTER, worker: id(&replica(number)) })
}

fn dropped(number: u8) -> bool {
    happened(Event::ReplicaDropped { cluster: CLUSTER, worker: id(&replica(number)), reason: DropReason::Lapsed })
}

fn replicas() -> Vec<u8> {
    (1..=9).filter(|number| record().replicas.contains(&id(&replica(*number)))).collect()
}

fn lapsed() -> Vec<Option<u32>> {
    LapsedReplicas::<Test>::get(CLUSTER).iter().map(|lapsed| lapsed.since).collect()
}

#[test]
fn a_replica_that_lapsed_loses_its_assignment_by_itself_after_grace_and_notice_and_nothing_else() {
    network(3, true).execute_with(|| {
        lapses(3);
        let before = (Workers::<Test>::get(id(&replica(3))).unwrap(), Balances::free_balance(ALICE), record());
        at(OVER - 1);
        assert!(!noticed(3) && lapsed().is_empty(), "within the grace");
        at(OVER);
        assert!(noticed(3) && !dropped(3));
        assert_eq!(lapsed(), [Some(OVER)]);
        let announced = |number| Announcement { worker: id(&replica(number)), era: 0, public_key: vec![5] };
        Announcements::<Test>::insert(CLUSTER, vec![announced(3), announced(1)]);
        at(OVER + NOTICE_BLOCKS - 1);
        assert_eq!(replicas(), [1, 2, 3]);
        // No call was made, by anybody.
        at(OVER + NOTICE_BLOCKS);
        assert!(dropped(3));
        assert_eq!((replicas(), record().majority()), (vec![1, 2], before.2.majority()));
        assert_eq!(Standings::<Test>::get(CLUSTER).len(), 2);
        assert_eq!(Announcements::<Test>::get(CLUSTER).len(), 1, "what it announced counts no more");
        assert!(lapsed().is_empty() && !LapsedReplicas::<Test>::contains_key(CLUSTER));
        // Its registration, and with it whatever rests on that, stands as it lapsed; nobody's balance has moved.
        assert_eq!(
            (Workers::<Test>::get(id(&replica(3))).unwrap(), Balances::free_balance(ALICE)),
            (before.0, before.1)
        );
        let events = System::events().len();
        at(OVER + 2 * NOTICE_BLOCKS);
        assert_eq!(System::events().len(), events, "it is said once");
    });
}

#[test]
fn a_replica_that_attests_again_in_time_keeps_its_assignment() {
    network(3, true).execute_with(|| {
        // Within the grace: nothing was noticed.
        lapses(3);
        at(OVER - 1);
        register(&replica(3), u64::from(OVER) + 10);
        at(OVER);
        assert!(!noticed(3));
        // Within the notice: it is forgotten that it had lapsed.
        lapses(3);
        at(OVER + 1);
        at(OVER + NOTICE_BLOCKS);
        assert!(noticed(3));
        register(&replica(3), u64::MAX);
        at(OVER + NOTICE_BLOCKS + 1);
        assert!(!dropped(3) && lapsed().is_empty());
        assert_eq!(replicas(), [1, 2, 3]);
        // Another lapse has a notice of its own.
        lapses(3);
        at(OVER + NOTICE_BLOCKS + 2);
        at(OVER + 2 * NOTICE_BLOCKS + 1);
        assert_eq!(replicas(), [1, 2, 3]);
        at(OVER + 2 * NOTICE_BLOCKS + 2);
        assert_eq!(replicas(), [1, 2]);
    });
}

#[test]
fn nobody_is_dropped_where_fewer_votes_would_decide_and_governance_is_told_once() {
    for number in [1, 2, 4] {
        network(number, true).execute_with(|| {
            lapses(number);
            for block in [OVER, OVER + 1, OVER + NOTICE_BLOCKS, OVER + 10 * NOTICE_BLOCKS] {
                at(block);
            }
            assert_eq!(replicas().len(), usize::from(number));
            assert_eq!(lapsed(), [None]);
            let told = |event: &RuntimeEvent| matches!(event, RuntimeEvent::Contracts(Event::ReplicaLapsed { .. }));
            assert_eq!(System::events().iter().filter(|record| told(&record.event)).count(), 1);
        });
    }
    // Of five one goes; of the four that are left none.
    network(5, true).execute_with(|| {
        lapses(4);
        lapses(5);
        at(OVER);
        at(OVER + NOTICE_BLOCKS);
        assert_eq!((replicas(), record().majority()), (vec![1, 2, 3, 5], 3));
        at(OVER + NOTICE_BLOCKS + 1);
        at(OVER + 10 * NOTICE_BLOCKS);
        assert_eq!((replicas(), lapsed()), (vec![1, 2, 3, 5], vec![None]));
        // A member that governance gives the cluster takes the place: then the notice of the other one begins.
        register(&replica(6), u64::MAX);
        register(&replica(5), u64::MAX);
        let ids: Vec<_> = [1, 2, 3, 5, 6].map(|number| id(&replica(number))).into();
        assert_ok!(Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, ids.try_into().unwrap()));
        lapses(5);
        let now = OVER + 11 * NOTICE_BLOCKS;
        at(now);
        assert_eq!(lapsed(), [Some(now)]);
        at(now + NOTICE_BLOCKS);
        assert_eq!(replicas(), [1, 2, 3, 6]);
    });
}

#[test]
fn an_outage_drops_nobody_and_who_comes_back_last_has_the_whole_notice() {
    network(3, true).execute_with(|| {
        // As when nobody could renew collateral, or the chain stood still for days.
        (1..=3).for_each(lapses);
        at(OVER);
        at(OVER + 5 * NOTICE_BLOCKS);
        assert_eq!(lapsed(), [None; 3]);
        register(&replica(1), u64::MAX);
        at(OVER + 5 * NOTICE_BLOCKS + 1);
        assert_eq!(lapsed(), [None; 2], "one of three decides nothing");
        register(&replica(2), u64::MAX);
        let back = OVER + 6 * NOTICE_BLOCKS;
        at(back);
        assert_eq!(lapsed(), [Some(back)]);
        at(back + NOTICE_BLOCKS - 1);
        assert_eq!(replicas(), [1, 2, 3]);
        register(&replica(3), u64::MAX);
        at(back + NOTICE_BLOCKS);
        assert_eq!(replicas(), [1, 2, 3]);
    });
}

#[test]
fn an_outage_that_ends_registrations_one_after_the_other_drops_nobody() {
    network(3, true).execute_with(|| {
        // Two held for the whole grace of the first: they have lapsed by then, but not for longer than theirs.
        lapses(3);
        register(&replica(1), OVER.into());
        register(&replica(2), OVER.into());
        at(OVER);
        assert!(noticed(3) && !noticed(1) && !noticed(2));
        for block in [OVER + NOTICE_BLOCKS, OVER + 2 * NOTICE_BLOCKS] {
            at(block);
            assert_eq!((replicas(), lapsed()), (vec![1, 2, 3], vec![None]));
            // Nor may anybody use the time.
            assert_noop!(
                Contracts::drop_replica(RuntimeOrigin::signed(BOB), CLUSTER, id(&replica(3))),
                Error::<Test>::OthersAway
            );
        }
        register(&replica(1), u64::MAX);
        at(OVER + 3 * NOTICE_BLOCKS);
        assert_eq!(lapsed(), [None], "one of three decides nothing");
        register(&replica(2), u64::MAX);
        let back = OVER + 4 * NOTICE_BLOCKS;
        at(back);
        assert_eq!(lapsed(), [Some(back)]);
        at(back + NOTICE_BLOCKS - 1);
        assert_eq!(replicas(), [1, 2, 3]);
        at(back + NOTICE_BLOCKS);
        assert_eq!(replicas(), [1, 2]);
    });
}

#[test]
fn nobody_is_dropped_while_the_others_are_lost_stopped_or_unlisted() {
    network(3, true).execute_with(|| {
        lapses(3);
        let stands = |lost, dissent| {
            Standings::<Test>::mutate(CLUSTER, |standings| {
                let standing = standings.iter_mut().find(|standing| standing.worker == id(&replica(2))).unwrap();
                (standing.lost, standing.dissent) = (lost, dissent);
            });
        };
        stands(true, None);
        at(OVER);
        assert_eq!(lapsed(), [None]);
        stands(false, Some(2));
        at(OVER + NOTICE_BLOCKS);
        assert_eq!(lapsed(), [None]);
        stands(false, None);
        Listings::<Test>::remove(MEASUREMENT);
        at(OVER + 2 * NOTICE_BLOCKS);
        assert_eq!((replicas(), lapsed()), (vec![1, 2, 3], vec![None]));
        list(MEASUREMENT);
        at(OVER + 3 * NOTICE_BLOCKS);
        assert_eq!(lapsed(), [Some(OVER + 3 * NOTICE_BLOCKS)]);
    });
}

#[test]
fn nobody_is_dropped_while_the_brake_holds_for_the_suspended_cannot_attest() {
    network(3, true).execute_with(|| {
        lapses(3);
        at(OVER);
        // Whatever it is used on.
        assert_ok!(Attestation::suspend(RuntimeOrigin::root(), Subject::Vendor(Vendor::IntelSgx)));
        let (until, _) = phala_pallet_attestation::Brake::<Test>::get().unwrap();
        at(OVER + 1);
        assert_eq!(lapsed(), [None]);
        at(until);
        assert!(until > OVER + NOTICE_BLOCKS && !dropped(3));
        at(until + 1);
        assert_eq!(lapsed(), [Some(until + 1)]);
        at(until + NOTICE_BLOCKS);
        assert!(!dropped(3));
        at(until + 1 + NOTICE_BLOCKS);
        assert!(dropped(3));
    });
}

#[test]
fn an_identity_without_a_registration_and_one_of_another_role_have_lapsed() {
    network(3, true).execute_with(|| {
        // As when its machine carries another identity now.
        Workers::<Test>::remove(id(&replica(3)));
        at(10);
        assert_eq!(lapsed(), [Some(10)]);
        register(&replica(3), u64::MAX);
        Workers::<Test>::mutate(id(&replica(3)), |record| record.as_mut().unwrap().role = Role::Gatekeeper);
        at(11);
        assert_eq!(lapsed(), [Some(10)]);
        at(10 + NOTICE_BLOCKS);
        assert_eq!(replicas(), [1, 2]);
    });
}

#[test]
fn a_block_watches_a_bounded_number_of_clusters_and_all_of_them_in_time() {
    network(3, true).execute_with(|| {
        let clusters = 3 * WATCHED_PER_BLOCK + 2;
        let ids: Vec<_> = [1, 2, 3].map(|number| id(&replica(number))).into();
        for _ in 1..clusters {
            assert_ok!(Contracts::create_cluster(RuntimeOrigin::root(), ids.clone().try_into().unwrap()));
        }
        lapses(3);
        // As many as are created; the weight of a block is that of those that are looked at.
        let entries = || LapsedReplicas::<Test>::iter().count() as u32;
        let weight = <() as WeightInfo>::open_epochs(0)
            .saturating_add(<() as WeightInfo>::look_at_clusters(0))
            .saturating_add(<() as WeightInfo>::watch_replicas(WATCHED_PER_BLOCK));
        for (block, noticed) in (OVER..).zip([1, 2, 3].map(|blocks| blocks * WATCHED_PER_BLOCK)) {
            System::set_block_number(block);
            pallet_timestamp::Now::<Test>::put(u64::from(block) * 1_000);
            assert_eq!(Contracts::on_initialize(block), weight);
            assert_eq!(entries(), noticed);
        }
        at(OVER + 3);
        assert_eq!(entries(), clusters);
        (OVER + NOTICE_BLOCKS..OVER + NOTICE_BLOCKS + 8).for_each(at);
        assert!((0..clusters).all(|cluster| Clusters::<Test>::get(ClusterId(cluster)).unwrap().replicas.len() == 2));
        assert_eq!(entries(), 0);
    });
    // A network with fewer clusters than a block may look at is charged for those.
    network(1, false).execute_with(|| {
        let watched = |number| <() as WeightInfo>::watch_replicas(number);
        assert_eq!(Contracts::watch_replicas(), watched(1));
        NextCluster::<Test>::put(0);
        assert_eq!(Contracts::watch_replicas(), watched(0));
    });
}
