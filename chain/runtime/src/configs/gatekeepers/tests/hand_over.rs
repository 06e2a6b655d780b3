//! A root that is made while clusters have keys of the one before: the pallets together.

use super::*;
use crate::Beacon;
use phala_pallet_attestation::NextRoot;
use phala_pallet_beacon::{Awaited, Due, Schedule};
use phala_pallet_contracts::Clusters as ClusterRecords;
use phala_protocol::{
    beacon::AwaitedBeacon,
    envelope::{announcement_payload, PUBLIC_KEY_BYTES},
    storage, ClusterId,
};

/// The replica of every cluster.
const REPLICA: u8 = 50;
/// More than are looked at in a block.
const CLUSTERS: u32 = 20;

/// Enters `block`, in the runtime's order of pallets.
pub(super) fn enter(block: BlockNumber) {
    System::set_block_number(block);
    <Contracts as Hooks<BlockNumber>>::on_initialize(block);
    <Gatekeepers as Hooks<BlockNumber>>::on_initialize(block);
    <Beacon as Hooks<BlockNumber>>::on_initialize(block);
}

pub(super) fn next() {
    enter(System::block_number() + 1);
}

pub(super) fn announce(cluster: ClusterId, era: u32, epoch: u32) -> sp_runtime::DispatchResult {
    let (genesis, key): ([u8; 32], _) = (System::block_hash(0).into(), vec![6; PUBLIC_KEY_BYTES]);
    let signature = pair(REPLICA).sign(&announcement_payload(&genesis, cluster, era, epoch, &key)).0;
    let (origin, key) = (RuntimeOrigin::signed(account(6)), key.try_into().unwrap());
    Contracts::announce_key(origin, cluster, era, epoch, key, gatekeeper(REPLICA), signature)
}

pub(super) fn clusters() -> impl Iterator<Item = ClusterId> {
    (0..CLUSTERS).map(ClusterId)
}

/// Where the clusters stand, which is the same of each: era of the epoch before, of the open epoch, and that.
pub(super) fn stand() -> (u32, u32, u32) {
    let stands: Vec<_> = clusters()
        .map(|cluster| ClusterRecords::<Runtime>::get(cluster).unwrap())
        .map(|record| (record.era_before, record.era, record.epoch))
        .collect();
    assert!(stands.iter().all(|stand| *stand == stands[0]));
    stands[0]
}

pub(super) fn eras() -> (Option<u32>, Option<u32>) {
    (Root::<Runtime>::get().map(|root| root.era), NextRoot::<Runtime>::get().map(|root| root.era))
}

/// Clusters of one replica, which enter their first epoch under the root of era 0.
pub(super) fn create_clusters() {
    let worker = Workers::<Runtime>::get(gatekeeper(1)).unwrap();
    Workers::<Runtime>::insert(gatekeeper(REPLICA), WorkerRecord { role: Role::Worker, ..worker });
    for cluster in clusters() {
        let replicas = vec![gatekeeper(REPLICA)].try_into().unwrap();
        Contracts::create_cluster(RuntimeOrigin::root(), replicas).unwrap();
        announce(cluster, 0, 1).unwrap();
    }
    next();
    assert_eq!(stand(), (0, 0, 1));
}

/// A development network whose lone root is of era 0, with four gatekeepers and clusters in their first epoch.
fn network_with_clusters() -> sp_io::TestExternalities {
    let mut network = network(true);
    network.execute_with(|| {
        Root::<Runtime>::put(RootRecord { era: 0, threshold: 1, seats: vec![gatekeeper(9)], share_list: [5; 32] });
        (1..=4).for_each(attest_and_bind);
        create_clusters();
    });
    network
}

/// The gatekeepers make the root of the next era.
fn make_root() {
    let seats: Vec<_> = (1..=4).map(gatekeeper).collect();
    Gatekeepers::start(RuntimeOrigin::root(), seats.try_into().unwrap()).unwrap();
    all_say(|number| Statement::Commit { package: [number; 32] });
    next();
    all_say(|_| Statement::Confirm(KEYS));
    next();
}

#[test]
fn a_lone_root_hands_its_clusters_over_to_a_root_of_four_seats_and_that_to_the_next() {
    network_with_clusters().execute_with(|| {
        for era in 1..=2 {
            let former = era - 1;
            let epoch = stand().2;
            make_root();
            assert_eq!(eras(), (Some(former), Some(era)));
            assert_eq!(Awaited::<Runtime>::get(), Some(AwaitedBeacon { era, hash: KEYS.beacon }));
            let cancelled = Gatekeepers::cancel_next(RuntimeOrigin::root());
            assert_eq!(cancelled, Err(phala_pallet_gatekeepers::Error::<Runtime>::HandOverBegan.into()));
            // All are called up within two blocks.
            next();
            next();
            for cluster in clusters() {
                let of_former = announce(cluster, former, epoch + 1);
                assert_eq!(of_former, Err(phala_pallet_contracts::Error::<Runtime>::WrongEra.into()));
                announce(cluster, era, epoch + 1).unwrap();
            }
            next();
            assert_eq!((stand(), eras()), ((former, era, epoch + 1), (Some(former), Some(era))));
            for cluster in clusters().skip(1) {
                announce(cluster, era, epoch + 2).unwrap();
            }
            next();
            assert_eq!(Contracts::clusters_of_former_eras(era), 1);
            assert_eq!(eras(), (Some(former), Some(era)), "one cluster needs it");
            announce(ClusterId(0), era, epoch + 2).unwrap();
            // In the block in which the last one has gone over.
            next();
            assert_eq!((stand(), eras()), ((era, era, epoch + 2), (Some(era), None)));
            assert_eq!(Schedule::<Runtime>::get().map(|timetable| timetable.era), Some(era));
        }
        assert_eq!(Root::<Runtime>::get().unwrap().seats.len(), 4);
    });
}

#[test]
fn the_beacon_is_where_tees_look_for_it() {
    assert_eq!(Awaited::<Runtime>::hashed_key().to_vec(), storage::beacon_awaited_key());
    assert_eq!(Due::<Runtime>::hashed_key().to_vec(), storage::beacon_due_key());
    assert_eq!(phala_pallet_beacon::Keys::<Runtime>::hashed_key_for(1), storage::beacon_record_key(1));
}

#[test]
fn a_cluster_whose_state_is_lost_holds_the_next_root_up_until_it_is_closed() {
    network_with_clusters().execute_with(|| {
        make_root();
        next();
        next();
        for epoch in [2, 3] {
            for cluster in clusters().skip(1) {
                announce(cluster, 1, epoch).unwrap();
            }
            next();
        }
        let close = || Contracts::close_cluster(RuntimeOrigin::root(), ClusterId(0));
        let still_opening = Err(phala_pallet_contracts::Error::<Runtime>::StillOpening.into());
        assert_eq!((close(), Contracts::clusters_of_former_eras(1)), (still_opening, 1));
        enter(ClusterRecords::<Runtime>::get(ClusterId(0)).unwrap().next_epoch_due() + 600);
        assert_eq!(eras(), (Some(0), Some(1)));
        close().unwrap();
        next();
        assert_eq!(eras(), (Some(1), None));
        // The next ceremony begins, and its root waits for nobody but those who are there.
        make_root();
        assert_eq!(eras(), (Some(1), Some(2)));
        assert_eq!(Contracts::clusters_of_former_eras(2), CLUSTERS - 1);
    });
}
