//! Files that the host damaged, swapped, or put there before they were whole: what they hold is not gone on from, and a snapshot helps.

use super::{lacks, taking, Scene, NEW, OLD};
use phala_core::{Lack, Notice};
use std::path::PathBuf;

impl Scene {
    fn own_file(&self) -> PathBuf {
        self.network.nodes[NEW].machine.folder().join("cluster-0.redb")
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
