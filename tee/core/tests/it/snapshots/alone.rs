//! A cluster whose only replica is switched off, and a newcomer in its place: whoever has not got the state holds the epoch open, and takes
//! over what was last final, were it before the epoch.

use super::{fault, lacks, taking, Scene, NEW, OLD, STAYS};
use crate::{
    chain::EPOCH_LENGTH,
    contract::KEEP,
    network::{Network, GATEKEEPER},
};
use phala_core::{ClusterHealth, Notice, SnapshotFault};
use phala_protocol::{
    query::AnswerContent,
    relay::{Delivery, Outgoing},
    snapshot::SnapshotStand,
};

impl Scene {
    /// A cluster of one replica, with a final state in the second epoch.
    pub fn alone(seed: u64) -> Self {
        let mut scene = Self::new(seed);
        scene.serve(OLD);
        scene.next_epoch();
        scene
    }

    /// This one is the cluster's only replica from now on.
    pub fn serve(&mut self, index: usize) {
        let id = self.network.nodes[index].id();
        self.network.chain.assign(vec![id]);
    }

    /// The only replica is off for good, and the newcomer in its place.
    pub fn replace(&mut self) {
        self.network.nodes[OLD].paused = true;
        self.serve(NEW);
        self.network.run_until(|network| lacks(network, NEW));
    }

    /// Lets the open epoch become overdue while nobody works.
    fn overdue(&mut self) {
        (0..EPOCH_LENGTH + 10).for_each(|_| self.network.chain.next_block());
    }

    /// A command that becomes final with the newcomer alone.
    pub fn write_alone(&mut self) {
        let next = self.kept[1] + 1;
        self.alice.push(&mut self.network, self.contract, vec![KEEP, next]);
        self.kept[1] = next;
        let count = self.network.chain.head.count;
        self.network.run_until(|network| {
            let done = |health: ClusterHealth| (health.executed, health.pending, health.serving) == (count, 0, true);
            let final_count = network.chain.cluster.as_ref().unwrap().final_count;
            final_count == count && network.nodes[NEW].tee().cluster_health().is_some_and(done)
        });
    }
}

/// What it signs about the cluster's state, or for its next epoch.
fn signed(network: &Network, index: usize) -> Vec<Outgoing> {
    let speaks = |item: &Outgoing| {
        matches!(item, Outgoing::Result(_) | Outgoing::Rekey(_) | Outgoing::Egress(_) | Outgoing::AnnounceKey { .. })
    };
    network.nodes[index].tee().status().outgoing.into_iter().filter(speaks).collect()
}

/// Whether it has a next epoch's key for the chain.
fn announces(network: &Network, index: usize) -> bool {
    signed(network, index).iter().any(|item| matches!(item, Outgoing::AnnounceKey { .. }))
}

#[test]
fn a_newcomer_alone_holds_an_overdue_epoch_open_until_it_has_the_state() {
    let mut scene = Scene::alone(213);
    let parts = scene.snapshot(OLD);
    scene.overdue();
    scene.replace();
    // Long enough for the next epoch's keys: alone it is the majority, and nobody else would stop it.
    for _ in 0..20 {
        scene.network.step();
        assert!(signed(&scene.network, NEW).is_empty());
        assert_eq!((scene.epoch(), scene.network.chain.opening()), (2, None));
    }
    assert!(lacks(&scene.network, NEW));

    scene.take_over(&parts);
    scene.network.run_until(|network| network.chain.epoch() == 3);
    scene.write_alone();
    scene.check(NEW);
}

#[test]
fn a_newcomer_in_a_first_epoch_whose_first_results_are_gone_holds_it_open_until_it_has_the_state() {
    let mut scene = Scene::new(223);
    scene.serve(OLD);
    scene.write();
    scene.write();
    let parts = scene.snapshot(OLD);
    let first = *scene.network.chain.finals.keys().next().unwrap();
    assert!(first < parts[0].header.boundary.block);
    scene.network.chain.forget(first);
    scene.overdue();
    scene.replace();
    for _ in 0..20 {
        scene.network.step();
        assert!(signed(&scene.network, NEW).is_empty());
        assert_eq!((scene.epoch(), scene.network.chain.opening()), (1, None));
    }
    assert!(lacks(&scene.network, NEW));

    scene.take_over(&parts);
    scene.network.run_until(|network| network.chain.epoch() == 2);
    scene.write_alone();
    scene.check(NEW);
}

#[test]
fn a_lone_replica_whose_disk_was_put_back_holds_the_epoch_open_until_it_has_the_state_again() {
    for kept in [true, false] {
        let mut scene = Scene::alone(224);
        let before = scene.network.last_final().boundary;
        let own = scene.network.nodes[OLD].machine.folder().join("cluster-0.redb");
        let older = own.with_extension("older");
        scene.network.nodes[OLD].tee = None;
        std::fs::copy(&own, &older).unwrap();
        scene.network.start(OLD);
        scene.write();
        scene.write();
        let parts = scene.snapshot(OLD);
        if !kept {
            // The oldest go first.
            let next = *scene.network.chain.finals.keys().find(|block| **block > before.block).unwrap();
            let gone: Vec<_> = scene.network.chain.finals.keys().copied().filter(|block| *block <= next).collect();
            gone.into_iter().for_each(|block| scene.network.chain.forget(block));
        }
        scene.network.nodes[OLD].tee = None;
        std::fs::copy(&older, &own).unwrap();
        scene.network.start(OLD);
        scene.overdue();
        // It is brought keys and records, and none of the commands that it has not got.
        for _ in 0..20 {
            scene.network.deliver(GATEKEEPER).unwrap();
            let delivery = Delivery { items: Vec::new(), ..scene.network.delivery(OLD) };
            scene.network.bring(OLD, delivery).unwrap();
            scene.network.chain.next_block();
            assert!(!announces(&scene.network, OLD));
        }
        assert_eq!(scene.network.nodes[OLD].tee().cluster_health().unwrap().executed, before.count);
        assert!(!lacks(&scene.network, OLD), "nothing has shown that it cannot go on");
        if !kept {
            for _ in 0..20 {
                scene.network.step();
                assert!(!announces(&scene.network, OLD));
                assert_eq!((scene.epoch(), scene.network.chain.opening()), (2, None));
            }
            assert!(lacks(&scene.network, OLD));
            scene.bring(OLD, &parts).unwrap();
            scene.network.deliver(OLD).unwrap();
        }
        scene.network.run_until(|network| network.chain.epoch() == 3);
        let lacked = |notice: &Notice| matches!(notice, Notice::StateLacked { .. });
        assert_eq!(scene.network.nodes[OLD].notices.iter().any(lacked), !kept);
        scene.write();
        scene.check(OLD);
    }
}

#[test]
fn a_newcomer_among_others_announces_no_epoch_before_it_has_the_state() {
    let mut scene = Scene::assigned(214);
    let parts = scene.snapshot(OLD);
    for index in [OLD, STAYS] {
        scene.network.nodes[index].paused = true;
    }
    scene.overdue();
    scene.network.run(10);
    assert!(lacks(&scene.network, NEW));
    assert!(signed(&scene.network, NEW).is_empty());

    scene.take_over(&parts);
    scene.network.run(3);
    let announced = signed(&scene.network, NEW);
    assert!(matches!(announced[..], [Outgoing::AnnounceKey { epoch: 3, .. }]), "with the state it does: {announced:?}");
    assert_eq!(scene.epoch(), 2, "and is one of three");
    for index in [OLD, STAYS] {
        scene.network.nodes[index].paused = false;
    }
    scene.network.run_until(|network| network.chain.epoch() == 3);
    scene.goes_on();
}

/// A cluster of one replica in an epoch in which it executed nothing, bound to that.
pub(super) fn quiet(seed: u64) -> Scene {
    let mut scene = Scene::alone(seed);
    scene.network.run_until(|network| network.chain.epoch() == 3);
    scene.network.run_until(|network| {
        let has = |stand: SnapshotStand| matches!(stand, SnapshotStand::Has { epoch: 3, .. });
        network.nodes[OLD].tee().status().snapshot.is_some_and(has)
    });
    assert!(!scene.network.chain.cluster.as_ref().unwrap().is_closing());
    assert_eq!(scene.network.last_final().epoch, 2, "nothing is final in the third");
    scene
}

#[test]
fn the_state_of_an_epoch_without_commands_is_taken_over() {
    let mut scene = quiet(215);
    let parts = scene.snapshot(OLD);
    assert_eq!((parts[0].header.epoch, parts[0].header.boundary), (3, scene.network.last_final().boundary));
    scene.replace();
    scene.take_over(&parts);
    scene.network.run(2);
    scene.check(NEW);
    assert!(signed(&scene.network, NEW).is_empty(), "the epoch is bound, and it has executed nothing");
    // What it signs next continues the binding; and it hands the same state out before.
    assert_eq!(scene.snapshot(NEW)[0].header.boundary, parts[0].header.boundary);
    scene.network.start(NEW);
    scene.write_alone();
    assert_eq!(scene.network.last_final().epoch, 3);
    scene.check(NEW);
    scene.network.run_until(|network| network.chain.epoch() == 4);
    scene.write_alone();
    scene.check(NEW);
}

#[test]
fn a_state_taken_over_is_bound_to_the_next_epoch_though_nothing_was_executed_after_it() {
    let mut scene = quiet(216);
    let parts = scene.snapshot(OLD);
    scene.replace();
    scene.take_over(&parts);
    scene.network.run_until(|network| network.chain.epoch() == 4);
    scene.network.run_until(|network| !network.chain.cluster.as_ref().unwrap().is_closing());
    assert_eq!(scene.network.last_final().epoch, 2);
    scene.write_alone();
    scene.check(NEW);
}

#[test]
fn the_last_state_before_an_epoch_is_taken_over_after_its_first_commands_too() {
    let mut scene = quiet(217);
    let parts = scene.snapshot(OLD);
    // Nobody made another snapshot since.
    let nonce = scene.write();
    scene.write();
    scene.replace();
    scene.take_over(&parts);
    scene.network.run(4);
    scene.check(NEW);
    assert!(matches!(scene.reply(NEW, nonce), AnswerContent::Reply { result, .. } if result.epoch == 3));
    scene.write_alone();
    scene.check(NEW);
}

#[test]
fn a_snapshot_is_too_old_once_its_own_result_is_not_kept_any_more() {
    for begun in [false, true] {
        let mut scene = Scene::alone(218);
        scene.grow(2);
        let parts = scene.snapshot(OLD);
        let block = parts[0].header.boundary.block;
        scene.write();
        scene.write();
        scene.replace();
        if begun {
            // The chain has the word for it, and shows it: it is the last part that comes too late.
            scene.bring(NEW, &parts[..1]).unwrap();
            scene.network.deliver(NEW).unwrap();
            assert_eq!(taking(&scene.network), Some((parts[0].header.id(), 1)));
        }
        // The chain forgets the oldest first: where this one is gone, so may be the one after it, without which nothing goes on.
        let next = *scene.network.chain.finals.keys().find(|other| **other > block).unwrap();
        scene.network.chain.forget(block);
        scene.network.chain.forget(next);
        scene.network.chain.next_block();
        let refused = if begun {
            scene.bring(NEW, &parts[1..])
        } else {
            scene.bring(NEW, &parts).unwrap();
            scene.network.deliver(NEW)
        };
        let refused = fault(refused);
        assert!(matches!(refused, SnapshotFault::NotFinal(at) if at == block), "{refused:?}");
        assert_eq!((taking(&scene.network), scene.taken_over().len()), (None, 0), "it waits for another");
        // Which is there as soon as anybody has made it.
        let newer = scene.snapshot(OLD);
        assert!(newer[0].header.boundary.block > next);
        scene.take_over(&newer);
        scene.write_alone();
        scene.check(NEW);
    }
}
