//! Clusters that governance closes for good: what they take, what they hold up, and that nothing brings them back.

use super::*;
use crate::closing::OVERDUE_BLOCKS;
use phala_pallet_attestation::{CurrentWindows, NextRoot, Root as PresentRoot};

const OTHER: ClusterId = ClusterId(1);

fn root(era: u32) -> RootRecord {
    RootRecord { era, threshold: 1, seats: Vec::new(), share_list: [0; 32] }
}

fn close(cluster: ClusterId) -> DispatchResult {
    Contracts::close_cluster(RuntimeOrigin::root(), cluster)
}

/// [`network`] of one replica, whose cluster is overdue just now.
fn overdue() -> sp_io::TestExternalities {
    let mut network = network(1, true);
    network.execute_with(|| {
        PresentRoot::<Test>::put(root(0));
        at(record().next_epoch_due() + OVERDUE_BLOCKS);
    });
    network
}

/// Creates a second cluster of the same replica, whose first epoch opens with the block after.
fn create_other() {
    let ids = vec![id(&replica(1))].try_into().unwrap();
    assert_ok!(Contracts::create_cluster(RuntimeOrigin::root(), ids));
    assert_ok!(announce_of(&replica(1), Attestation::coming_era(), OTHER, 1, 5));
    at(System::block_number() + 1);
}

#[test]
fn a_closed_cluster_takes_nothing_answers_nothing_and_says_what_is_unanswered() {
    network(1, true).execute_with(|| {
        assert_ok!(push(1));
        at(3);
        assert_ok!(push(1));
        assert_ok!(push(1));
        at(4);
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 1)));
        let late = result_at(3, 1, 1, 2);
        at(record().next_epoch_due() + OVERDUE_BLOCKS);
        let paid = Balances::free_balance(ALICE);
        assert_ok!(close(CLUSTER));
        assert!(happened(Event::ClusterClosed { cluster: CLUSTER, answered: 1, unanswered: 2 }));
        let closed = record();
        assert!(closed.is_closed() && closed.envelope_key.is_empty());
        assert_eq!((closed.final_count, closed.epoch), (1, 1));
        assert_eq!((Contracts::open_epoch(CLUSTER), Contracts::is_closed(CLUSTER)), (None, true));
        assert_noop!(push(1), phala_pallet_inbox::Error::<Test>::Closed);
        assert_noop!(vote(&replica(1), late), Error::<Test>::NotAReplica);
        assert_noop!(announce(&replica(1), 2, 6), Error::<Test>::NotAReplica);
        assert_noop!(bind(&replica(1), 1, 1, 2), Error::<Test>::NotAReplica);
        // What was final stays so, but nothing of it leaves; what waits is shown, and fees stay paid.
        assert!(Contracts::is_disputed(CLUSTER));
        assert!(FinalResults::<Test>::contains_key((CLUSTER, 2)));
        assert_eq!(Inbox::oldest_boundary(CLUSTER).map(|boundary| (boundary.block, boundary.count)), Some((3, 3)));
        assert_eq!(Balances::free_balance(ALICE), paid);
    });
}

#[test]
fn nothing_undoes_it() {
    overdue().execute_with(|| {
        assert_ok!(close(CLUSTER));
        let ids = vec![id(&replica(1))].try_into().unwrap();
        assert_noop!(Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, ids), Error::<Test>::ClusterClosed);
        assert_noop!(Contracts::set_epoch_length(RuntimeOrigin::root(), CLUSTER, 50), Error::<Test>::ClusterClosed);
        assert_noop!(close(CLUSTER), Error::<Test>::ClusterClosed);
        let code = BoundedVec::try_from(WASM.to_vec()).unwrap();
        assert_ok!(Contracts::upload_code(RuntimeOrigin::signed(ALICE), code));
        let (hash, init) = (CodeHash::of(WASM), envelope(1).try_into().unwrap());
        let made = Contracts::instantiate(
            RuntimeOrigin::signed(ALICE),
            CLUSTER,
            hash,
            [1; 32],
            GasClass::Small,
            init,
            u128::MAX,
        );
        assert_noop!(made, phala_pallet_inbox::Error::<Test>::Closed);
        let before = record();
        at(System::block_number() + 10_000);
        assert_eq!(record(), before);
    });
}

#[test]
fn a_cluster_that_works_is_not_closed_and_governance_alone_closes_one() {
    network(1, true).execute_with(|| {
        at(record().next_epoch_due() + OVERDUE_BLOCKS - 1);
        assert_noop!(close(CLUSTER), Error::<Test>::StillOpening);
        assert_noop!(close(ClusterId(9)), Error::<Test>::NoSuchCluster);
        at(System::block_number() + 1);
        assert!(Contracts::close_cluster(RuntimeOrigin::signed(ALICE), CLUSTER).is_err());
        // It comes back in the last moment: the epoch opens with the next block.
        assert_ok!(announce(&replica(1), 2, 6));
        assert_noop!(close(CLUSTER), Error::<Test>::StillOpening);
        at(System::block_number() + 1);
        assert_eq!((record().epoch, record().is_closed()), (2, false));
        assert_noop!(close(CLUSTER), Error::<Test>::StillOpening);
    });
}

#[test]
fn a_hand_over_goes_on_when_the_cluster_that_held_it_up_is_closed() {
    overdue().execute_with(|| {
        create_other();
        NextRoot::<Test>::put(root(1));
        Contracts::begin_hand_over();
        at(System::block_number() + 1);
        for epoch in [2, 3] {
            assert_ok!(announce_of(&replica(1), 1, OTHER, epoch, 6));
            at(System::block_number() + 1);
        }
        assert_eq!(Contracts::clusters_of_former_eras(1), 1, "the cluster whose state is lost");
        at(System::block_number() + OVERDUE_BLOCKS);
        assert_ok!(close(CLUSTER));
        assert_eq!(Contracts::clusters_of_former_eras(1), 0);
        assert_eq!((ClustersOfEra::<Test>::get(0), ClustersOfEra::<Test>::get(1)), (0, 1));
        assert!(!Rolls::<Test>::contains_key(CLUSTER));
        // Nor does the next hand-over wait for it, or call it up.
        PresentRoot::<Test>::put(NextRoot::<Test>::take().unwrap());
        NextRoot::<Test>::put(root(2));
        Contracts::begin_hand_over();
        at(System::block_number() + 1);
        assert!(!Rolls::<Test>::contains_key(CLUSTER) && Rolls::<Test>::contains_key(OTHER));
        for epoch in [4, 5] {
            assert_ok!(announce_of(&replica(1), 2, OTHER, epoch, 7));
            at(System::block_number() + 1);
        }
        assert_eq!(Contracts::clusters_of_former_eras(2), 0);
        assert_eq!(ClustersOfEra::<Test>::iter().collect::<Vec<_>>(), [(2, 1)]);
    });
}

#[test]
fn a_cluster_that_never_opened_is_closed_and_counted_nowhere() {
    network(1, false).execute_with(|| {
        PresentRoot::<Test>::put(root(0));
        assert_noop!(close(CLUSTER), Error::<Test>::StillOpening);
        at(OVERDUE_BLOCKS);
        assert_ok!(close(CLUSTER));
        assert_eq!(ClustersOfEra::<Test>::iter().count(), 0);
        NextRoot::<Test>::put(root(1));
        Contracts::begin_hand_over();
        at(OVERDUE_BLOCKS + 1);
        assert_eq!((ClustersOfEra::<Test>::iter().count(), record().era), (0, 0));
    });
}

#[test]
fn a_cluster_whose_replica_is_suspended_is_not_closed_before_it_could_be_back() {
    network(1, true).execute_with(|| {
        let measurement = phala_attest::Subject::Measurement(MEASUREMENT);
        let suspension = CurrentWindows::<Test>::get().suspension;
        assert_ok!(Attestation::suspend(RuntimeOrigin::root(), measurement));
        at(3);
        let due = record().next_epoch_due();
        assert_eq!(due, 3, "it rolls");
        for block in [due + OVERDUE_BLOCKS, due + suspension, due + suspension + OVERDUE_BLOCKS - 2] {
            at(block);
            assert_noop!(close(CLUSTER), Error::<Test>::StillOpening);
        }
        at(due + suspension + OVERDUE_BLOCKS);
        assert_ok!(close(CLUSTER));
    });
}
