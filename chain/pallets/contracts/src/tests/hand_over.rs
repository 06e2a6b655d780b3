//! Clusters that go over from one root to the next: by two epochs, and with the former root until then.

use super::*;
use crate::rolls::LOOKED_AT_PER_BLOCK;
use phala_pallet_attestation::{NextRoot, Root as PresentRoot};

fn root(era: u32) -> RootRecord {
    RootRecord { era, threshold: 1, seats: Vec::new(), share_list: [0; 32] }
}

/// [`network`] whose root is of era 0.
fn network_with_root(replicas: u8, open: bool) -> sp_io::TestExternalities {
    let mut network = network(replicas, open);
    network.execute_with(|| PresentRoot::<Test>::put(root(0)));
    network
}

/// Begins the hand-over to the root of `era` in the present block, as the gatekeepers pallet does.
fn begin(era: u32) {
    NextRoot::<Test>::put(root(era));
    Contracts::begin_hand_over();
}

/// Ends it: the root to which clusters went over answers.
fn adopt() {
    PresentRoot::<Test>::put(NextRoot::<Test>::take().unwrap());
}

/// All replicas of cluster 0 that are needed announce `epoch`, and the next block begins.
fn open_epoch(replicas: u8, epoch: Epoch) {
    for number in 1..=replicas / 2 + 1 {
        assert_ok!(announce(&replica(number), epoch, epoch as u8));
    }
    at(System::block_number() + 1);
    assert_eq!(record().epoch, epoch);
}

fn eras() -> (u32, u32) {
    (record().era_before, record().era)
}

/// Clusters that need the root of era 0 while they go over to that of era 1.
fn former() -> u32 {
    Contracts::clusters_of_former_eras(1)
}

fn cluster_of(replicas: &[u8]) -> DispatchResult {
    let ids: Vec<_> = replicas.iter().map(|number| id(&replica(*number))).collect();
    Contracts::create_cluster(RuntimeOrigin::root(), ids.try_into().unwrap())
}

#[test]
fn two_epochs_move_a_cluster_and_it_needs_the_former_root_until_then() {
    network_with_root(3, true).execute_with(|| {
        at(10);
        assert_noop!(announce(&replica(1), 2, 6), Error::<Test>::TooEarly);
        begin(1);
        assert_eq!((eras(), former()), ((0, 0), 1));
        at(11);
        assert!(happened(Event::GoesOver { cluster: CLUSTER, era: 1, epochs: 2 }));
        assert_eq!((record().next_epoch_due(), record().era_of(2, Attestation::coming_era())), (11, Some(1)));
        open_epoch(3, 2);
        assert_eq!((eras(), former()), ((0, 1), 1), "the state is taken over from the former root's epoch");
        assert_eq!(record().next_epoch_due(), 12, "at once");
        open_epoch(3, 3);
        assert_eq!((eras(), former()), ((1, 1), 0));
        assert!(happened(Event::WentOver { cluster: CLUSTER, era: 1 }));
        assert_eq!(ClustersOfEra::<Test>::iter().collect::<Vec<_>>(), [(1, 1)]);
        // The length of epochs is what it was.
        assert_eq!((record().epoch_length, record().next_epoch_due(), Rolls::<Test>::get(CLUSTER)), (100, 113, None));
        assert_noop!(announce(&replica(1), 4, 7), Error::<Test>::TooEarly);
        adopt();
        at(113);
        open_epoch(3, 4);
        assert_eq!((eras(), Contracts::clusters_of_former_eras(1)), ((1, 1), 0));
    });
}

#[test]
fn a_cluster_needs_the_former_root_while_its_last_epoch_is_not_closed() {
    network_with_root(1, true).execute_with(|| {
        assert_ok!(push(1));
        at(10);
        begin(1);
        at(11);
        open_epoch(1, 2);
        // The item of the former root's epoch waits for its result, and the next epoch for that and for the binding.
        assert_noop!(announce(&replica(1), 3, 7), Error::<Test>::StillClosing);
        assert_ok!(vote(&replica(1), result_at(2, 1, 0, 1)));
        assert_noop!(announce(&replica(1), 3, 7), Error::<Test>::StillClosing);
        assert_eq!(former(), 1);
        assert_ok!(bind(&replica(1), 2, 1, 2));
        open_epoch(1, 3);
        assert_eq!(former(), 0);
    });
}

#[test]
fn what_was_announced_of_a_former_era_opens_nothing_and_keeps_nobody_from_announcing_again() {
    network_with_root(3, true).execute_with(|| {
        at(102);
        assert_ok!(announce(&replica(1), 2, 6));
        begin(1);
        assert_noop!(announce_of(&replica(2), 0, CLUSTER, 2, 6), Error::<Test>::WrongEra);
        assert_noop!(announce_of(&replica(2), 2, CLUSTER, 2, 6), Error::<Test>::WrongEra);
        // The same bytes of the same replicas: one of them said them of the former root's key.
        assert_ok!(announce(&replica(2), 2, 6));
        at(103);
        assert_eq!(record().epoch, 1, "two announced, and one of them counts");
        assert_eq!(Announcements::<Test>::get(CLUSTER).len(), 1);
        assert_ok!(announce(&replica(1), 2, 6));
        assert_noop!(announce(&replica(1), 2, 6), Error::<Test>::AlreadyVoted);
        at(104);
        assert_eq!((record().epoch, eras()), (2, (0, 1)));
    });
}

#[test]
fn what_was_decided_of_a_former_era_does_not_open_once_the_hand_over_has_begun() {
    network_with_root(1, true).execute_with(|| {
        at(102);
        assert_ok!(announce(&replica(1), 2, 6));
        begin(1);
        at(103);
        assert_eq!((record().epoch, Opening::<Test>::get()), (1, Vec::new()));
        open_epoch(1, 2);
        assert_eq!(eras(), (0, 1));
    });
}

#[test]
fn an_announcement_is_signed_for_its_era() {
    network_with_root(1, true).execute_with(|| {
        at(102);
        begin(1);
        let key = vec![6; PUBLIC_KEY_BYTES];
        let of_former = announcement_payload(&Contracts::genesis(), CLUSTER, 0, 2, &key);
        let (worker, signature) = (id(&replica(1)), replica(1).sign(&of_former).0);
        let (origin, key) = (RuntimeOrigin::signed(ALICE), key.try_into().unwrap());
        let carried = Contracts::announce_key(origin, CLUSTER, 1, 2, key, worker, signature);
        assert_noop!(carried, Error::<Test>::BadSignature);
    });
}

#[test]
fn a_cluster_whose_first_epoch_never_opened_needs_no_former_root() {
    network_with_root(1, false).execute_with(|| {
        assert_eq!(former(), 1);
        begin(1);
        at(2);
        assert_eq!((eras(), former()), ((1, 1), 0));
        assert!(happened(Event::WentOver { cluster: CLUSTER, era: 1 }));
        assert_eq!(Rolls::<Test>::get(CLUSTER), None);
        open_epoch(1, 1);
        assert_eq!((eras(), ClustersOfEra::<Test>::iter().collect::<Vec<_>>()), ((1, 1), vec![(1, 1)]));
        assert_eq!(record().epoch_length, 100);
    });
}

#[test]
fn the_first_epoch_is_of_the_root_that_comes_also_before_the_cluster_is_looked_at() {
    network_with_root(1, false).execute_with(|| {
        // No search, as if many clusters came before it.
        NextRoot::<Test>::put(root(1));
        open_epoch(1, 1);
        assert_eq!((eras(), former()), ((1, 1), 0));
    });
}

#[test]
fn a_cluster_that_is_created_during_the_hand_over_is_of_the_root_that_comes() {
    network_with_root(1, true).execute_with(|| {
        begin(1);
        assert_ok!(cluster_of(&[1]));
        let created = Clusters::<Test>::get(ClusterId(1)).unwrap();
        assert_eq!((created.era, created.era_before, former()), (1, 1, 1));
        at(3);
        assert_eq!((Rolls::<Test>::get(ClusterId(1)), former()), (None, 1));
    });
}

#[test]
fn replicas_that_are_assigned_meanwhile_take_the_cluster_over() {
    network_with_root(3, true).execute_with(|| {
        begin(1);
        at(3);
        assert_ok!(announce(&replica(1), 2, 6));
        register(&replica(4), u64::MAX);
        let ids = vec![id(&replica(2)), id(&replica(3)), id(&replica(4))].try_into().unwrap();
        assert_ok!(Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, ids));
        assert_eq!((eras(), former(), record().next_epoch_due()), ((0, 0), 1, 3));
        for epoch in [2, 3] {
            for number in [3, 4] {
                assert_ok!(announce(&replica(number), epoch, 6));
            }
            at(2 + epoch);
        }
        assert_eq!((eras(), former(), record().epoch_length), ((1, 1), 0, 100));
    });
}

#[test]
fn a_cluster_that_stands_still_keeps_the_former_root_and_says_so() {
    network_with_root(1, true).execute_with(|| {
        assert_ok!(cluster_of(&[1]));
        at(10);
        // As when its machine is revoked.
        Workers::<Test>::remove(id(&replica(1)));
        begin(1);
        at(11);
        assert!(happened(Event::AwaitingAssignment { cluster: CLUSTER, remaining: 0, majority: 1 }));
        assert!(happened(Event::GoesOver { cluster: CLUSTER, era: 1, epochs: 2 }));
        at(10_000);
        // The other cluster has no epoch, and nothing that it could lose.
        assert_eq!((eras(), former(), record().epoch), ((0, 0), 1, 1));
        register(&replica(2), u64::MAX);
        let ids = vec![id(&replica(2))].try_into().unwrap();
        assert_ok!(Contracts::assign_replicas(RuntimeOrigin::root(), CLUSTER, ids));
        for epoch in [2, 3] {
            assert_ok!(announce(&replica(2), epoch, 6));
            at(9_999 + epoch);
        }
        assert_eq!((former(), record().epoch_length), (0, 100));
    });
}

#[test]
fn forty_clusters_are_called_up_sixteen_a_block_and_counted_right() {
    network_with_root(1, true).execute_with(|| {
        for _ in 1..40 {
            assert_ok!(cluster_of(&[1]));
        }
        let all = || (0..40).map(ClusterId);
        for cluster in all().skip(1) {
            assert_ok!(announce_of(&replica(1), 0, cluster, 1, 5));
        }
        at(3);
        assert_eq!(former(), 40);
        begin(1);
        let rolling = || Rolls::<Test>::iter().count() as u32;
        for (block, called_up) in [(4, LOOKED_AT_PER_BLOCK), (5, 2 * LOOKED_AT_PER_BLOCK), (6, 40), (7, 40)] {
            at(block);
            assert_eq!(rolling(), called_up);
        }
        for (block, epoch, needing, rolls) in [(8, 2, 40, 40), (9, 3, 0, 0)] {
            for cluster in all() {
                assert_ok!(announce_of(&replica(1), 1, cluster, epoch, 6));
            }
            at(block);
            assert_eq!((former(), rolling()), (needing, rolls));
        }
        assert_eq!(ClustersOfEra::<Test>::iter().collect::<Vec<_>>(), [(1, 40)]);
        assert!(all().all(|cluster| Clusters::<Test>::get(cluster).unwrap().epoch_length == 100));
    });
}

#[test]
fn an_epoch_that_opens_before_the_cluster_is_called_up_is_one_of_the_two() {
    network_with_root(1, true).execute_with(|| {
        at(102);
        NextRoot::<Test>::put(root(1));
        open_epoch(1, 2);
        assert_eq!(eras(), (0, 1));
        Contracts::begin_hand_over();
        at(104);
        assert!(happened(Event::GoesOver { cluster: CLUSTER, era: 1, epochs: 1 }));
        open_epoch(1, 3);
        assert_eq!((former(), record().epoch_length, Rolls::<Test>::get(CLUSTER)), (0, 100, None));
    });
}

#[test]
fn a_roll_that_is_under_way_and_a_hand_over_are_one() {
    network_with_root(3, true).execute_with(|| {
        at(10);
        Rolls::<Test>::insert(CLUSTER, Roll { length: 100, left: 1 });
        Clusters::<Test>::mutate(CLUSTER, |record| record.as_mut().unwrap().epoch_length = 8);
        begin(1);
        assert_ok!(Contracts::set_epoch_length(RuntimeOrigin::root(), CLUSTER, 50));
        at(11);
        assert_eq!(Rolls::<Test>::get(CLUSTER), Some(Roll { length: 50, left: 2 }));
        open_epoch(3, 2);
        open_epoch(3, 3);
        assert_eq!((former(), record().epoch_length, Rolls::<Test>::get(CLUSTER)), (0, 50, None));
    });
}

#[test]
fn clusters_go_over_twice_in_a_row() {
    network_with_root(1, true).execute_with(|| {
        for era in 1..=2 {
            begin(era);
            at(System::block_number() + 1);
            open_epoch(1, 2 * era);
            open_epoch(1, 2 * era + 1);
            assert_eq!((eras(), Contracts::clusters_of_former_eras(era)), ((era, era), 0));
            adopt();
        }
        assert_eq!(ClustersOfEra::<Test>::iter().collect::<Vec<_>>(), [(2, 1)]);
        assert_eq!(record().epoch_length, 100);
    });
}
