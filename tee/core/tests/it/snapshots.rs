//! A replica that has the open epoch's keys and not the state takes it over from a snapshot, whatever else it is brought.
#![allow(clippy::disallowed_methods, reason = "looks at a worker's files, as its host can")]

use crate::{
    chain::CLUSTER,
    client::{Account, Session},
    contract::{code, KEEP},
    network::{Network, WORKER},
};
use phala_core::{ClusterError, ClusterHealth, DeliveryError, Lack, Notice, SnapshotFault, SnapshotRefusal};
use phala_crypto::{kdf, Secret};
use phala_protocol::{
    domain,
    gas::GasClass,
    keys::KeyPurpose,
    query::{AnswerContent, QueryRequest},
    relay::{Delivery, Outgoing},
    snapshot::{SnapshotPart, SnapshotStand},
    ContractId, Epoch, Hash,
};
use std::sync::atomic::Ordering::SeqCst;

mod alone;
mod damaged;
mod refused;

/// A replica that has been there from the beginning, and hands out snapshots.
const OLD: usize = WORKER;
/// Another one that stays.
const STAYS: usize = WORKER + 1;
/// A replica of the first epoch, whose place [`NEW`] takes.
const GONE: usize = WORKER + 2;
const NEW: usize = WORKER + 3;

struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
    kept: Vec<u8>,
}

impl Scene {
    /// Three replicas with a contract that keeps something in the first epoch, and a worker that is none.
    fn new(seed: u64) -> Self {
        let mut network = Network::new(seed, 4);
        network.run_until(|network| network.nodes.iter().all(|node| node.tee().registration().is_some()));
        let ids = [OLD, STAYS, GONE].map(|index| network.nodes[index].id()).to_vec();
        network.chain.create_cluster(ids);
        network.run_until(|network| {
            [OLD, STAYS, GONE].iter().all(|index| network.nodes[*index].tee().status().inboxes[0].ready)
        });
        let mut alice = Account::new(1);
        let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
        network.run(3);
        Self { network, alice, contract, kept: vec![KEEP, 1] }
    }

    /// The same in the second epoch, with a final state of it, and with the new worker in the place of the one that goes.
    fn assigned(seed: u64) -> Self {
        let mut scene = Self::new(seed);
        scene.next_epoch();
        scene.assign();
        scene
    }

    fn epoch(&self) -> Epoch {
        self.network.chain.epoch()
    }

    fn write(&mut self) -> u64 {
        let next = self.kept[1] + 1;
        let nonce = self.alice.push(&mut self.network, self.contract, vec![KEEP, next]);
        self.network.settle();
        self.kept = vec![KEEP, next];
        nonce
    }

    /// Up to the first final state of the next epoch.
    fn next_epoch(&mut self) {
        let next = self.epoch() + 1;
        self.network.run_until(|network| network.chain.epoch() == next);
        self.network.run_until(|network| !network.chain.cluster.as_ref().unwrap().is_closing());
        self.write();
        assert_eq!(self.network.last_final().epoch, next);
    }

    fn assign(&mut self) {
        let ids = [OLD, STAYS, NEW].map(|index| self.network.nodes[index].id()).to_vec();
        self.network.chain.assign(ids);
        self.network.run_until(|network| lacks(network, NEW));
    }

    /// A snapshot as a replica seals it now.
    fn snapshot(&mut self, of: usize) -> Vec<SnapshotPart> {
        let tee = self.network.nodes[of].tee.as_mut().unwrap();
        let id = tee.begin_snapshot().unwrap().id();
        let mut parts: Vec<SnapshotPart> = Vec::new();
        while parts.last().is_none_or(|part| !part.last) {
            parts.push(tee.snapshot_part(&id, parts.len() as u32).unwrap());
        }
        parts
    }

    /// Brings parts with what an honest relayer brings.
    fn bring(&mut self, to: usize, parts: &[SnapshotPart]) -> Result<(), DeliveryError> {
        let delivery = Delivery { snapshot: parts.to_vec(), ..self.network.delivery(to) };
        self.network.bring(to, delivery)
    }

    /// Takes all parts, and the proof that is wanted then.
    fn take_over(&mut self, parts: &[SnapshotPart]) {
        for part in parts {
            self.bring(NEW, std::slice::from_ref(part)).unwrap();
        }
        self.network.deliver(NEW).unwrap();
        assert!(!lacks(&self.network, NEW));
        assert_eq!(self.taken_over().last(), Some(&parts[0].header.boundary.block));
    }

    /// How often the new replica's own file was tried.
    fn tried(&self) -> usize {
        self.network.nodes[NEW].machine.tried.load(SeqCst)
    }

    /// Lets blocks pass in which the new replica lacks the state, and its own file is not read.
    fn wait_without_its_file(&mut self) {
        let (epoch, tried) = (self.epoch(), self.tried());
        self.network.run(5);
        assert_eq!((self.epoch(), self.tried()), (epoch, tried));
        assert!(lacks(&self.network, NEW));
    }

    /// Blocks of the boundaries whose state the new replica has taken over.
    fn taken_over(&self) -> Vec<u32> {
        let block = |notice: &Notice| match notice {
            Notice::StateTakenOver { cluster: CLUSTER, block, .. } => Some(*block),
            _ => None,
        };
        self.network.nodes[NEW].notices.iter().filter_map(block).collect()
    }

    /// The new replica serves the state that all have, after a few blocks, and signs what comes next.
    fn goes_on(&mut self) {
        self.network.run_until(|network| network.nodes[NEW].tee().serving().is_some());
        self.check(NEW);
        // Of three, one is asleep: nothing becomes final without the new one.
        self.network.nodes[STAYS].paused = true;
        self.write();
        self.network.run(2);
        let votes = &self.network.chain.finals.values().next_back().unwrap().votes;
        let voted = |index: usize| votes.iter().any(|(voter, _)| *voter == self.network.nodes[index].id());
        assert!(voted(OLD) && voted(NEW) && !voted(STAYS));
        self.check(NEW);
        self.network.nodes[STAYS].paused = false;
        self.network.run(3);
        assert!(self.network.nodes.iter().all(|node| {
            let health = node.tee().cluster_health();
            health.is_none_or(|health| health.diverged_at.is_none())
        }));
    }

    fn check(&mut self, index: usize) {
        let request = QueryRequest::Contract { contract: self.contract, payload: vec![KEEP] };
        let answer = self.alice.ask(&self.network, &self.network.nodes[index], request);
        assert_eq!(answer, AnswerContent::Output(self.kept.clone()));
    }

    fn reply(&mut self, index: usize, nonce: u64) -> AnswerContent {
        self.alice.ask(&self.network, &self.network.nodes[index], QueryRequest::Reply { nonce })
    }

    /// Makes the records so large that a snapshot has several parts.
    fn grow(&mut self, codes: u8) {
        for number in 0..codes {
            let code = padded(number);
            self.network.deploy(&mut self.alice, &code, vec![KEEP, 1]);
        }
    }

    /// INSECURE: the storage key of an epoch.
    fn insecure_storage_key(&self, epoch: Epoch) -> Secret<[u8; 32]> {
        kdf::derive(&self.network.insecure_key(0, epoch, KeyPurpose::Storage), domain::EPOCH_STORAGE, &[])
    }
}

/// The contract with a custom section of 400,000 bytes, which means nothing.
fn padded(byte: u8) -> Vec<u8> {
    let section = [&[1, b'p'][..], &vec![byte; 400_000]].concat();
    let mut wasm = code();
    wasm.push(0);
    let mut length = section.len();
    while length >= 128 {
        wasm.push((length % 128) as u8 | 128);
        length /= 128;
    }
    wasm.push(length as u8);
    [wasm, section].concat()
}

fn stand(network: &Network, index: usize) -> Option<SnapshotStand> {
    network.nodes[index].tee().status().snapshot
}

fn lacks(network: &Network, index: usize) -> bool {
    matches!(stand(network, index), Some(SnapshotStand::Lacks { .. }))
}

fn taking(network: &Network) -> Option<(Hash, u32)> {
    match stand(network, NEW) {
        Some(SnapshotStand::Lacks { cluster: CLUSTER, taking, .. }) => taking,
        other => panic!("it lacks nothing: {other:?}"),
    }
}

/// Why parts were refused, as the relayer's fault.
fn fault(taken: Result<(), DeliveryError>) -> SnapshotFault {
    let error = taken.unwrap_err();
    assert!(error.is_the_relayers(), "{error:?}");
    match error {
        DeliveryError::Cluster(CLUSTER, ClusterError::Snapshot(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_replica_takes_the_state_over_and_comes_to_the_same_results() {
    let mut scene = Scene::new(200);
    let first = scene.alice.next_nonce;
    scene.next_epoch();
    // A command that is brought again later, and a session that goes on later.
    let call = scene.alice.call(&scene.network, scene.contract, vec![KEEP, 90]);
    let replayed = scene.alice.seal(&scene.network, call);
    scene.network.chain.push(GasClass::Small, scene.alice.id(), replayed.clone());
    scene.network.settle();
    scene.kept = vec![KEEP, 91];
    let call = scene.alice.call(&scene.network, scene.contract, scene.kept.clone());
    let (envelope, session): (Vec<u8>, Session) = scene.alice.open_session(&scene.network, call, 7);
    scene.network.chain.push(GasClass::Small, scene.alice.id(), envelope);
    scene.network.settle();
    scene.assign();

    let none = SnapshotStand::Lacks { cluster: CLUSTER, epoch: 2, taking: None };
    assert_eq!(stand(&scene.network, NEW), Some(none));
    let node = &scene.network.nodes[NEW];
    assert!(node.tee().serving().is_none() && !node.tee().status().inboxes[0].ready);
    let said = Notice::StateLacked { cluster: CLUSTER, epoch: 2, why: Lack::Behind };
    assert_eq!(node.notices.iter().filter(|notice| **notice == said).count(), 1);
    let boundary = scene.network.last_final().boundary;
    let has = SnapshotStand::Has { cluster: CLUSTER, epoch: 2, boundary };
    assert_eq!(stand(&scene.network, OLD), Some(has));

    let parts = scene.snapshot(OLD);
    assert_eq!((parts.len(), parts[0].header.boundary), (1, boundary));
    scene.bring(NEW, &parts).unwrap();
    assert_eq!(taking(&scene.network), Some((parts[0].header.id(), 1)), "the chain has to confirm it");
    scene.network.deliver(NEW).unwrap();
    assert_eq!(scene.taken_over(), [boundary.block]);
    assert_eq!(scene.network.nodes[NEW].tee().cluster_health().unwrap().executed, boundary.count);
    scene.network.run(2);
    assert_eq!(stand(&scene.network, NEW), Some(has), "and hands it out itself");
    scene.check(NEW);
    assert!(matches!(scene.reply(NEW, first), AnswerContent::Reply { result, .. } if result.epoch == 1));
    let offers = scene.network.nodes[NEW].tee().status().outgoing;
    assert!(!offers.iter().any(|item| matches!(item, Outgoing::Result(_))), "it signs only what it has executed");

    // Of three, one is asleep from here on: what becomes final is what the old one and the new one agree on.
    scene.network.nodes[STAYS].paused = true;
    scene.network.chain.push(GasClass::Small, scene.alice.id(), replayed);
    scene.network.settle();
    scene.network.run(2);
    scene.check(NEW);
    let call = scene.alice.call(&scene.network, scene.contract, vec![KEEP, 92]);
    scene.network.chain.push(GasClass::Small, scene.alice.id(), session.seal(1, &call));
    scene.network.settle();
    scene.network.run(2);
    scene.kept = vec![KEEP, 92];
    scene.check(NEW);
    scene.network.nodes[STAYS].paused = false;
    scene.goes_on();
    // And over the next epoch, which its keys and its store go along with.
    scene.next_epoch();
    scene.goes_on();
}

#[test]
fn a_restart_right_after_it_goes_on_from_what_was_taken_over() {
    let mut scene = Scene::assigned(201);
    let parts = scene.snapshot(OLD);
    scene.take_over(&parts);
    scene.network.start(NEW);
    assert!(scene.network.nodes[NEW].tee().serving().is_none(), "the chain has to confirm it again");
    scene.goes_on();
    assert_eq!(scene.taken_over().len(), 1);
}

#[test]
fn an_older_snapshot_of_the_epoch_is_taken_and_what_came_since_is_executed() {
    let mut scene = Scene::assigned(202);
    let parts = scene.snapshot(OLD);
    let (third, fourth) = (scene.write(), scene.write());
    scene.take_over(&parts);
    scene.goes_on();
    for nonce in [third, fourth] {
        assert!(matches!(scene.reply(NEW, nonce), AnswerContent::Reply { .. }));
    }
}

#[test]
fn what_waits_to_become_final_is_in_no_snapshot() {
    let mut scene = Scene::assigned(203);
    let last = scene.network.last_final().boundary;
    scene.network.chain.open_to_results = false;
    scene.alice.push(&mut scene.network, scene.contract, vec![KEEP, 77]);
    scene.network.run(3);
    assert_eq!(scene.network.nodes[OLD].tee().cluster_health().unwrap().pending, 1);
    let parts = scene.snapshot(OLD);
    assert_eq!(parts[0].header.boundary, last);
    scene.take_over(&parts);
    scene.network.run(2);
    scene.check(NEW);
    scene.network.chain.open_to_results = true;
    scene.network.settle();
    scene.kept = vec![KEEP, 77];
    scene.goes_on();
}

#[test]
fn a_crash_in_the_middle_begins_anew_and_a_full_disk_costs_a_turn() {
    let mut scene = Scene::new(206);
    scene.next_epoch();
    scene.grow(2);
    scene.assign();
    let parts = scene.snapshot(OLD);
    assert!(parts.len() >= 2);
    scene.bring(NEW, &parts[..1]).unwrap();
    assert!(scene.network.nodes[NEW].machine.folder().join("cluster-0.fresh").exists());
    scene.network.start(NEW);
    scene.network.run_until(|network| lacks(network, NEW));
    assert_eq!(taking(&scene.network), None);
    let refused = fault(scene.bring(NEW, &parts[1..]));
    assert!(matches!(refused, SnapshotFault::OutOfOrder { given: 1, due: 0 }));

    // Everything is right, and cannot be put in its place.
    scene.bring(NEW, &parts).unwrap();
    scene.network.nodes[NEW].machine.disk_full.store(true, SeqCst);
    let failed = scene.network.deliver(NEW).unwrap_err();
    assert!(!failed.is_the_relayers(), "{failed:?}");
    scene.network.nodes[NEW].machine.disk_full.store(false, SeqCst);
    scene.network.deliver(NEW).unwrap();
    assert_eq!((taking(&scene.network), scene.taken_over().len()), (None, 0));
    scene.take_over(&parts);
    scene.goes_on();
}

#[test]
fn a_replica_that_was_down_over_two_epochs_takes_over() {
    let mut scene = Scene::new(207);
    let ids = [OLD, STAYS, NEW].map(|index| scene.network.nodes[index].id()).to_vec();
    scene.network.chain.assign(ids);
    // It is new in the first epoch, and executes everything itself.
    scene.network.run_until(|network| network.nodes[NEW].tee().serving().is_some());
    scene.check(NEW);
    scene.network.nodes[NEW].tee = None;
    scene.next_epoch();
    scene.next_epoch();
    assert_eq!(scene.epoch(), 3);
    scene.network.start(NEW);
    scene.network.run_until(|network| lacks(network, NEW));
    let said = Notice::StateLacked { cluster: CLUSTER, epoch: 3, why: Lack::Outdated { stored: 1 } };
    assert_eq!(scene.network.nodes[NEW].notices.iter().filter(|notice| **notice == said).count(), 1);
    assert!(scene.network.nodes[NEW].tee().serving().is_none());
    scene.wait_without_its_file();
    scene.check(OLD);
    let file = |name: &str| scene.network.nodes[NEW].machine.folder().join(name);
    let (own, fresh) = (file("cluster-0.redb"), file("cluster-0.fresh"));
    let parts = scene.snapshot(OLD);
    scene.bring(NEW, &parts).unwrap();
    assert!(own.exists() && fresh.exists(), "the old store stays until the chain has confirmed the new one");
    scene.network.deliver(NEW).unwrap();
    assert_eq!(scene.taken_over().len(), 1);
    assert!(own.exists() && !fresh.exists());
    scene.goes_on();
    // Its own file is the one that it opens from now on.
    scene.network.start(NEW);
    scene.goes_on();
}

#[test]
fn a_replica_that_slept_over_two_epochs_takes_over_in_the_same_process() {
    let mut scene = Scene::new(208);
    let ids = [OLD, STAYS, NEW].map(|index| scene.network.nodes[index].id()).to_vec();
    scene.network.chain.assign(ids);
    scene.network.run_until(|network| network.nodes[NEW].tee().serving().is_some());
    scene.network.nodes[NEW].paused = true;
    scene.write();
    scene.next_epoch();
    scene.next_epoch();
    scene.network.nodes[NEW].paused = false;
    scene.network.run_until(|network| lacks(network, NEW));
    assert_eq!(scene.network.nodes[NEW].tee().cluster_health().unwrap().executed, 1);
    let parts = scene.snapshot(OLD);
    scene.take_over(&parts);
    scene.goes_on();
}

#[test]
fn a_store_that_can_go_on_is_never_replaced() {
    let mut scene = Scene::new(210);
    // Asleep since the first epoch, with a command of it to execute, for which it has the keys.
    scene.network.nodes[GONE].paused = true;
    scene.write();
    scene.next_epoch();
    let parts = scene.snapshot(OLD);
    scene.network.nodes[GONE].paused = false;
    scene.network.nodes[GONE].batch = 1;
    for _ in 0..4 {
        for index in [STAYS, GONE] {
            scene.bring(index, &parts).unwrap();
            assert!(!lacks(&scene.network, index));
        }
        scene.network.chain.next_block();
    }
    scene.network.run_until(|network| {
        let tee = network.nodes[GONE].tee();
        // It serves the final state before until the chain has confirmed what it executed last.
        let done = |health: ClusterHealth| (health.executed, health.pending) == (3, 0);
        tee.serving().is_some() && tee.cluster_health().is_some_and(done)
    });
    for index in [STAYS, GONE] {
        let node = &scene.network.nodes[index];
        assert!(!node.machine.folder().join("cluster-0.fresh").exists());
        let snapshots = |notice: &&Notice| matches!(notice, Notice::StateLacked { .. } | Notice::StateTakenOver { .. });
        assert_eq!(node.notices.iter().filter(snapshots).count(), 0);
        assert_eq!(node.tee().cluster_health().unwrap().executed, 3);
        scene.check(index);
    }
}

#[test]
fn a_pinned_state_is_let_go_with_its_epoch_and_in_time_and_one_is_handed_out_at_once() {
    let mut scene = Scene::new(212);
    assert!(matches!(scene.network.nodes[NEW].tee.as_mut().unwrap().begin_snapshot(), Err(SnapshotRefusal::NoState)));
    scene.grow(2);
    let begin = |scene: &mut Scene| scene.network.nodes[OLD].tee.as_mut().unwrap().begin_snapshot();
    let part = |scene: &Scene, id: &Hash, index| scene.network.nodes[OLD].tee().snapshot_part(id, index);
    let first = begin(&mut scene).unwrap().id();
    part(&scene, &first, 0).unwrap();
    let now = scene.network.nodes[OLD].tee().head().0;
    let rationed = begin(&mut scene);
    assert!(matches!(rationed, Err(SnapshotRefusal::Rationed { until }) if until == now + 20));
    scene.network.run(21);
    let second = begin(&mut scene).unwrap().id();
    assert!(matches!(part(&scene, &first, 1), Err(SnapshotRefusal::Unknown)), "another one took its place");
    part(&scene, &second, 0).unwrap();
    scene.network.run_until(|network| network.chain.epoch() == 2);
    scene.network.run(2);
    assert!(matches!(part(&scene, &second, 1), Err(SnapshotRefusal::Unknown)), "its epoch is over");
    let without = begin(&mut scene);
    assert!(matches!(without, Err(SnapshotRefusal::NoState)), "nothing is bound to this one yet");
    assert_eq!(stand(&scene.network, OLD), None);
    scene.network.run(2);
    let boundary = scene.network.last_final().boundary;
    let has = SnapshotStand::Has { cluster: CLUSTER, epoch: 2, boundary };
    assert_eq!(stand(&scene.network, OLD), Some(has), "now the last state before it is");
    assert_eq!(scene.network.last_final().epoch, 1);
    let quiet = scene.snapshot(OLD);
    assert_eq!((quiet[0].header.epoch, quiet[0].header.boundary), (2, boundary));

    scene.write();
    let third = begin(&mut scene).unwrap().id();
    part(&scene, &third, 0).unwrap();
    // No epoch opens meanwhile: nobody announces one.
    (0..250).for_each(|_| scene.network.chain.next_block());
    scene.network.deliver(OLD).unwrap();
    part(&scene, &third, 0).unwrap();
    (0..10).for_each(|_| scene.network.chain.next_block());
    scene.network.deliver(OLD).unwrap();
    assert!(matches!(part(&scene, &third, 1), Err(SnapshotRefusal::Unknown)), "nobody came for it");
    assert!(begin(&mut scene).is_ok());
}
