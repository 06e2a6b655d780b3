//! Files that the host damaged, swapped, or put there before they were whole: what they hold is not gone on from, and a snapshot helps.

use super::{lacks, taking, Scene, GONE, NEW, OLD};
use crate::chain::CLUSTER;
use phala_core::{ClusterError, DeliveryError, Lack, Notice};
use phala_state::OpenError;
use std::{path::PathBuf, sync::atomic::Ordering::SeqCst};

impl Scene {
    fn own_file(&self) -> PathBuf {
        self.file_of(NEW)
    }

    fn file_of(&self, index: usize) -> PathBuf {
        self.network.nodes[index].machine.folder().join("cluster-0.redb")
    }

    /// How often the new replica said that its file is not one to go on from.
    fn said_unreadable(&self) -> usize {
        let said = |notice: &&Notice| matches!(notice, Notice::StateLacked { why: Lack::Unreadable(_), .. });
        self.network.nodes[NEW].notices.iter().filter(said).count()
    }
}

#[test]
fn a_file_that_its_host_damaged_is_replaced_by_a_snapshots_state_alone() {
    let mut scene = Scene::assigned(209);
    let parts = scene.snapshot(OLD);
    scene.take_over(&parts);
    scene.goes_on();
    scene.network.nodes[NEW].tee = None;
    std::fs::write(scene.own_file(), vec![0x5a; 100_000]).unwrap();
    scene.network.start(NEW);
    scene.network.run_until(|network| lacks(network, NEW));
    assert_eq!(scene.said_unreadable(), 1);
    let parts = scene.snapshot(OLD);
    scene.take_over(&parts);
    scene.goes_on();
}

#[test]
fn a_file_that_does_not_open_is_read_once_an_epoch_and_gone_on_from_when_it_is_whole_again() {
    let mut scene = Scene::assigned(225);
    let parts = scene.snapshot(OLD);
    scene.take_over(&parts);
    scene.goes_on();
    scene.network.nodes[NEW].tee = None;
    let whole = scene.own_file().with_extension("whole");
    std::fs::copy(scene.own_file(), &whole).unwrap();
    std::fs::write(scene.own_file(), vec![0x5a; 100_000]).unwrap();
    scene.network.start(NEW);
    scene.network.run_until(|network| lacks(network, NEW));
    scene.wait_without_its_file();
    std::fs::copy(&whole, scene.own_file()).unwrap();
    scene.wait_without_its_file();
    let tried = scene.tried();
    scene.next_epoch();
    scene.network.run_until(|network| network.nodes[NEW].tee().serving().is_some());
    assert!(scene.tried() > tried);
    assert_eq!(scene.taken_over().len(), 1, "nobody brought a state");
    scene.goes_on();
}

#[test]
fn a_file_of_a_later_epoch_is_read_once_an_epoch_and_gone_on_from_when_its_epoch_is_open() {
    // One network twice: what its machines draw is the same, and so are the keys of their files. One of the two is an epoch ahead.
    let (mut ahead, mut scene) = (Scene::new(226), Scene::new(226));
    ahead.network.run_until(|network| network.chain.epoch() == 2);
    ahead.network.run_until(|network| !network.chain.cluster.as_ref().unwrap().is_closing());
    ahead.network.run(3);
    assert_eq!(ahead.network.nodes[GONE].id(), scene.network.nodes[GONE].id());
    ahead.network.nodes[GONE].tee = None;
    scene.network.nodes[GONE].tee = None;
    std::fs::copy(ahead.file_of(GONE), scene.file_of(GONE)).unwrap();
    scene.network.start(GONE);
    // Its relayer goes on though deliveries fail.
    scene.network.nodes[GONE].paused = true;
    let tried = |scene: &Scene| scene.network.nodes[GONE].machine.tried.load(SeqCst);
    let before = tried(&scene);
    let mut failed = 0;
    for _ in 0..20 {
        scene.network.step();
        if let Err(error) = scene.network.deliver(GONE) {
            let DeliveryError::Cluster(CLUSTER, ClusterError::Open(said)) = &error else { panic!("{error:?}") };
            assert!(matches!(said, OpenError::Generation { stored: 2, given: 1 }), "{said:?}");
            failed += 1;
        }
    }
    assert!(failed >= 5, "{failed} of 20 deliveries failed");
    assert_eq!((scene.epoch(), tried(&scene) - before), (1, 1), "one of {failed} deliveries has read the file");
    assert!(!lacks(&scene.network, GONE), "it may be whole: no snapshot takes its place");

    let open_in_time = (0..100).any(|_| {
        scene.network.step();
        scene.network.deliver(GONE).is_ok()
    });
    assert!(open_in_time && scene.epoch() == 2);
    scene.network.nodes[GONE].paused = false;
    scene.network.run_until(|network| network.nodes[GONE].tee().serving().is_some());
    assert_eq!(tried(&scene) - before, 2, "once in each epoch");
    scene.network.run_until(|network| !network.chain.cluster.as_ref().unwrap().is_closing());
    scene.write();
    scene.network.run(3);
    scene.check(GONE);
    let node = &scene.network.nodes[GONE];
    let snapshots = |notice: &Notice| matches!(notice, Notice::StateLacked { .. } | Notice::StateTakenOver { .. });
    assert!(!node.notices.iter().any(snapshots));
    assert_eq!(node.tee().cluster_health().unwrap().diverged_at, None);
}

#[test]
fn a_store_that_was_never_whole_is_replaced_when_it_is_put_in_place() {
    let mut scene = Scene::new(220);
    scene.next_epoch();
    scene.grow(2);
    scene.assign();
    let parts = scene.snapshot(OLD);
    assert!(parts.len() >= 2);
    scene.bring(NEW, &parts[..1]).unwrap();
    scene.network.nodes[NEW].tee = None;
    let fresh = scene.network.nodes[NEW].machine.folder().join("cluster-0.fresh");
    std::fs::rename(fresh, scene.own_file()).unwrap();
    scene.network.start(NEW);
    scene.network.run_until(|network| lacks(network, NEW));
    assert_eq!((scene.said_unreadable(), taking(&scene.network)), (1, None));
    let parts = scene.snapshot(OLD);
    scene.take_over(&parts);
    scene.goes_on();
}

#[test]
fn what_is_opened_is_what_was_verified_or_is_not_taken_over() {
    let mut scene = Scene::assigned(221);
    let parts = scene.snapshot(OLD);
    // The own store, which is empty, and opens under the same key.
    let empty = scene.own_file().with_extension("empty");
    std::fs::copy(scene.own_file(), &empty).unwrap();
    *scene.network.nodes[NEW].machine.swapped.lock().unwrap() = Some(empty);
    scene.bring(NEW, &parts).unwrap();
    scene.network.deliver(NEW).unwrap();
    assert!(scene.network.nodes[NEW].machine.swapped.lock().unwrap().is_none(), "it was adopted, and swapped");
    assert!(scene.taken_over().is_empty());
    assert!(scene.network.nodes[NEW].tee().serving().is_none());
    scene.network.run(2);
    assert_eq!((lacks(&scene.network, NEW), taking(&scene.network)), (true, None));
    scene.take_over(&parts);
    scene.goes_on();
}
