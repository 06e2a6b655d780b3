//! A cluster goes over from one era's root to the next: state, queries and workers that die on the way.
//!
//! The first root is a lone seat in a gatekeeper's TEE, the next one has four seats, of which three give keys (`root.rs`).

use crate::{
    chain::CLUSTER,
    client::Account,
    network::{Network, GATEKEEPER, WORKER},
    poison::{code, KEEP},
    root::PlayedRoot,
};
use phala_core::Notice;
use phala_crypto::{kdf, xwing::DecapsulationKey};
use phala_protocol::{
    chain_state::{ClusterRecord, KEY_LEAD_BLOCKS},
    domain,
    keys::KeyPurpose,
    query::{AnswerContent, QueryRequest},
    relay::{Delivery, KeyInquiry, Outgoing},
    ContractId, Epoch,
};

const SEATS: u16 = 4;
const THRESHOLD: u16 = 3;

struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
    /// What the contract keeps.
    kept: u8,
}

impl Scene {
    /// A cluster of so many replicas under the lone root of era 0, which keeps something.
    fn new(seed: u64, workers: usize) -> Self {
        let mut network = Network::ready(seed, workers);
        let mut alice = Account::new(1);
        let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
        network.run(3);
        Self { network, alice, contract, kept: 1 }
    }

    /// The same, up to the block whose state shows the next root.
    fn begin_to_hand_over(&mut self) {
        self.hand_over();
        self.network.chain.next_block();
        self.network.chain.next_block();
    }

    fn record(&self) -> &ClusterRecord {
        self.network.chain.cluster.as_ref().unwrap()
    }

    fn eras(&self) -> (u32, u32) {
        (self.record().era_before, self.record().era)
    }

    /// From the next block on the cluster goes over to a root of the next era.
    fn hand_over(&mut self) {
        let era = self.network.chain.root.as_ref().unwrap().era + 1;
        let root = PlayedRoot::deal(7, era, THRESHOLD, SEATS);
        self.network.chain.hand_over(root.record());
        self.network.roots.push(root);
    }

    /// A step with everybody who runs; whoever serves says what is kept.
    fn step(&mut self) {
        self.network.step();
        for index in WORKER..self.network.nodes.len() {
            if self.network.nodes[index].tee.as_ref().is_some_and(|tee| tee.serving().is_some()) {
                self.check(index);
            }
        }
    }

    fn check(&mut self, index: usize) {
        let request = QueryRequest::Contract { contract: self.contract, payload: vec![KEEP] };
        let answer = self.alice.ask(&self.network, &self.network.nodes[index], request);
        assert_eq!(answer, AnswerContent::Output(vec![KEEP, self.kept]), "TEE {index}");
    }

    fn step_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if done(self) {
                return;
            }
            self.step();
        }
        let health = self.network.worker().tee.as_ref().map(|tee| tee.cluster_health());
        panic!("not within 200 steps: {what}; {:?}; {health:?}", self.network.chain.cluster);
    }

    /// Until the cluster needs the former root no more, and its replicas are ready again.
    fn finish(&mut self) {
        let era = self.network.roots.last().unwrap().era();
        self.step_until("the cluster has gone over", |scene| {
            !scene.network.chain.hands_over() && scene.eras() == (era, era) && !scene.record().is_closing()
        });
        self.step_until("the replicas are ready", |scene| {
            scene.network.nodes[WORKER..].iter().all(|node| {
                node.tee.as_ref().is_none_or(|tee| tee.serving().is_some() && tee.status().inboxes[0].ready)
            })
        });
        assert_eq!(self.network.chain.root.as_ref().map(|root| root.era), Some(era));
    }

    /// Writes, and waits until every replica that runs has read it.
    fn write(&mut self) {
        let next = self.kept + 1;
        let nonce = self.alice.push(&mut self.network, self.contract, vec![KEEP, next]);
        self.network.settle();
        self.network.run(3);
        self.kept = next;
        for index in WORKER..self.network.nodes.len() {
            if self.network.nodes[index].tee.is_some() {
                self.check(index);
            }
        }
        assert!(matches!(self.alice.ask_reply(&self.network, nonce), AnswerContent::Reply { .. }));
        assert_eq!(self.record().bound_epoch, self.record().epoch);
    }

    fn kill(&mut self) {
        self.network.nodes[WORKER].tee = None;
    }

    /// The worker comes back, and serves what it kept.
    fn come_back(&mut self) {
        self.network.start(WORKER);
        self.step_until("the worker serves again", |scene| scene.network.worker().tee().serving().is_some());
    }

    /// Deliveries to everybody, and not the block after them.
    fn deliver(&mut self) {
        for index in 0..self.network.nodes.len() {
            if self.network.nodes[index].tee.is_some() && !self.network.nodes[index].paused {
                self.network.deliver(index).unwrap();
            }
        }
    }

    /// Up to the end of the block in which it is decided that `epoch` opens with the next one.
    fn decide(&mut self, epoch: Epoch) {
        for _ in 0..100 {
            self.deliver();
            if self.network.chain.opening() == Some(epoch) {
                return;
            }
            self.network.chain.next_block();
        }
        panic!("epoch {epoch} does not open");
    }

    fn asked(&self, index: usize) -> Vec<KeyInquiry> {
        let outgoing = self.network.nodes[index].tee().status().outgoing.into_iter();
        outgoing.filter_map(|item| if let Outgoing::AskKeys(inquiry) = item { Some(inquiry) } else { None }).collect()
    }

    fn has_keys(&self, index: usize, epoch: Epoch) -> usize {
        let keys = Notice::EpochKeys { cluster: CLUSTER, epoch };
        self.network.nodes[index].notices.iter().filter(|notice| **notice == keys).count()
    }

    /// The public key that commands of an epoch are sealed to, if it is of this era's root.
    fn envelope_key(&self, era: u32, epoch: Epoch) -> Vec<u8> {
        let seed = self.network.insecure_key(era, epoch, KeyPurpose::Envelope);
        DecapsulationKey::from_seed(&kdf::derive(&seed, domain::EPOCH_ENVELOPE, &[])).public_key().to_vec()
    }

    /// Until the keys of the second epoch may be had, and the replicas have them.
    fn fetch_the_second_epochs_keys(&mut self) {
        let due = self.record().next_epoch_due();
        self.step_until("the lead begins", |scene| scene.network.chain.number() + KEY_LEAD_BLOCKS > due);
        self.step_until("the keys are here", |scene| {
            (WORKER..scene.network.nodes.len()).all(|index| scene.has_keys(index, 2) == 1)
        });
        assert!(self.network.chain.number() + 5 < due && self.record().epoch == 1);
    }
}

#[test]
fn state_of_a_former_era_is_read_and_written_under_the_next_by_one_replica_and_by_three() {
    for (seed, workers) in [(120, 1), (121, 3)] {
        let mut scene = Scene::new(seed, workers);
        scene.hand_over();
        scene.step_until("the first epoch of the next era", |scene| scene.eras() == (0, 1));
        assert_eq!(scene.network.chain.root.as_ref().map(|root| root.era), Some(0), "it is needed still");
        let epoch = scene.record().epoch;
        assert_eq!(scene.record().envelope_key, scene.envelope_key(1, epoch));
        assert_ne!(scene.record().envelope_key, scene.envelope_key(0, epoch));
        scene.finish();
        assert_eq!(scene.record().epoch, epoch + 1);
        scene.write();
        let length = scene.record().epoch_length;
        scene.step_until("an epoch of its usual length", |scene| scene.record().epoch == epoch + 2);
        assert!(length > KEY_LEAD_BLOCKS);
        scene.write();

        // And once more, from a root of many seats to another one.
        scene.hand_over();
        scene.finish();
        scene.write();
        assert_eq!(scene.eras(), (2, 2));
    }
}

#[test]
fn items_around_the_change_of_eras_execute_under_their_own_epochs_keys() {
    let mut scene = Scene::new(122, 3);
    scene.hand_over();
    let mut nonces = Vec::new();
    for number in 0..16u8 {
        nonces.push(scene.alice.push(&mut scene.network, scene.contract, vec![KEEP, 10 + number]));
        scene.network.step();
    }
    scene.network.run_until(|network| !network.chain.hands_over());
    scene.kept = 25;
    scene.network.settle();
    let epochs = nonces.iter().map(|nonce| match scene.alice.ask_reply(&scene.network, *nonce) {
        AnswerContent::Reply { result, .. } => result.epoch,
        other => panic!("no reply: {other:?}"),
    });
    let epochs: Vec<Epoch> = epochs.collect();
    assert!(epochs.is_sorted() && epochs.contains(&1) && epochs.contains(&2), "{epochs:?}");
    scene.finish();
    scene.write();
}

/// Kills the only replica where `until` says, lets some blocks go by, and starts it again.
fn dies_and_comes_back(seed: u64, until: impl FnOnce(&mut Scene)) {
    let mut scene = Scene::new(seed, 1);
    until(&mut scene);
    scene.kill();
    for _ in 0..3 {
        scene.step();
    }
    scene.come_back();
    scene.finish();
    scene.write();
    // What it has written since is under the next era's keys alone: the former gatekeeper is not needed for it.
    scene.network.nodes[GATEKEEPER].tee = None;
    scene.kill();
    scene.come_back();
    scene.write();
}

#[test]
fn a_worker_that_dies_before_it_has_the_next_eras_keys_comes_back() {
    dies_and_comes_back(123, |scene| {
        scene.begin_to_hand_over();
        assert!(scene.network.chain.next_root.is_some());
    });
}

#[test]
fn a_worker_that_dies_after_it_announced_under_the_former_era_comes_back() {
    dies_and_comes_back(124, |scene| {
        scene.decide(2);
        // It does not open: with the block in which it would, the next root appears.
        scene.hand_over();
        scene.network.chain.next_block();
        assert_eq!((scene.eras(), scene.record().epoch), ((0, 0), 1));
        assert!(scene.network.chain.next_root.is_some() && scene.network.chain.opening().is_none());
    });
}

#[test]
fn a_worker_that_dies_before_it_sees_the_former_eras_last_epoch_open_comes_back() {
    dies_and_comes_back(133, |scene| {
        scene.decide(2);
        scene.network.chain.next_block();
        scene.begin_to_hand_over();
        assert_eq!((scene.eras(), scene.record().epoch), ((0, 0), 2));
        assert!(scene.network.chain.next_root.is_some());
    });
}

#[test]
fn whoever_announced_under_the_former_era_announces_again_under_the_next() {
    let mut scene = Scene::new(134, 3);
    scene.fetch_the_second_epochs_keys();
    // All have announced it; the block that would open the epoch begins the hand-over.
    scene.decide(2);
    scene.hand_over();
    scene.network.chain.next_block();
    assert_eq!(scene.record().epoch, 1);
    scene.finish();
    assert_eq!(scene.record().envelope_key, scene.envelope_key(1, scene.record().epoch));
    scene.write();
}

#[test]
fn a_worker_that_dies_before_it_sees_the_next_eras_epoch_open_comes_back() {
    dies_and_comes_back(125, |scene| {
        scene.hand_over();
        scene.network.chain.next_block();
        scene.decide(2);
        scene.network.chain.next_block();
        // Its store is under a key of the former root, which answers for the epoch before.
        assert_eq!((scene.eras(), scene.record().epoch), ((0, 1), 2));
    });
}

#[test]
fn a_worker_that_dies_between_the_two_epochs_comes_back() {
    dies_and_comes_back(126, |scene| {
        scene.hand_over();
        scene.step_until("the first epoch of the next era", |scene| scene.eras() == (0, 1));
        // It sees it open, moves its store to the new keys, and binds the two epochs.
        scene.step();
        scene.deliver();
        assert_eq!((scene.eras(), scene.record().bound_epoch), ((0, 1), 2));
        assert!(scene.network.chain.opening().is_none());
    });
}

#[test]
fn a_worker_that_dies_before_it_sees_the_second_epoch_open_comes_back_without_the_former_root() {
    dies_and_comes_back(127, |scene| {
        scene.hand_over();
        scene.network.chain.next_block();
        scene.decide(2);
        scene.network.chain.next_block();
        scene.decide(3);
        scene.network.chain.next_block();
        assert_eq!((scene.eras(), scene.record().epoch), ((1, 1), 3));
        assert!(!scene.network.chain.hands_over());
        scene.network.nodes[GATEKEEPER].tee = None;
    });
}

#[test]
fn keys_of_the_former_era_that_were_fetched_for_the_next_epoch_are_never_announced() {
    let mut scene = Scene::new(128, 3);
    scene.fetch_the_second_epochs_keys();
    scene.begin_to_hand_over();
    // One of them hears nothing of it for a while.
    let slow = WORKER + 2;
    scene.network.nodes[slow].paused = true;
    scene.deliver();
    for index in [WORKER, WORKER + 1] {
        let asked = scene.asked(index);
        let of_next = |inquiry: &KeyInquiry| (inquiry.request.request.era, inquiry.request.request.epoch) == (1, 2);
        assert_eq!(asked.len(), usize::from(SEATS));
        assert!(asked.iter().all(of_next));
        let announces = |item: &Outgoing| matches!(item, Outgoing::AnnounceKey { .. });
        assert!(!scene.network.nodes[index].tee().status().outgoing.iter().any(announces));
    }
    scene.step_until("the epoch opens", |scene| scene.record().epoch == 2);
    assert_eq!(scene.eras(), (0, 1));
    assert_eq!(scene.record().envelope_key, scene.envelope_key(1, 2));
    assert_eq!((scene.has_keys(WORKER, 2), scene.has_keys(WORKER + 1, 2), scene.has_keys(slow, 2)), (2, 2, 1));
    // Two thirds are a majority: the third takes up where they are.
    scene.network.nodes[slow].paused = false;
    scene.finish();
    scene.write();
}

#[test]
fn requests_of_a_former_era_that_nobody_answers_any_more_are_made_anew_when_the_head_moves_on() {
    let mut scene = Scene::new(129, 1);
    let due = scene.record().next_epoch_due();
    scene.network.nodes[GATEKEEPER].paused = true;
    scene.step_until("the lead begins", |scene| scene.network.chain.number() + KEY_LEAD_BLOCKS > due + 2);
    let asked = scene.asked(WORKER);
    assert!(asked.iter().all(|inquiry| (inquiry.request.request.era, inquiry.request.request.epoch) == (0, 2)));
    assert_eq!(asked.len(), 1);
    // The chain moves on, and the gatekeeper with it; the worker's head stays.
    scene.begin_to_hand_over();
    scene.network.nodes[GATEKEEPER].paused = false;
    scene.network.nodes[WORKER].paused = true;
    scene.network.run(4);
    let payload = asked[0].request.request.signing_payload();
    let answered = |item: &Outgoing| matches!(item, Outgoing::AnswerKeys { request, .. } if *request == payload);
    assert!(!scene.network.nodes[GATEKEEPER].tee().status().outgoing.iter().any(answered));
    assert_eq!(scene.has_keys(WORKER, 2), 0);
    scene.network.nodes[WORKER].paused = false;
    scene.finish();
    scene.write();
}

#[test]
fn a_former_eras_gatekeeper_answers_nothing_after_the_next_root_is_adopted() {
    let mut scene = Scene::new(130, 1);
    scene.hand_over();
    scene.network.chain.next_block();
    scene.decide(2);
    scene.network.chain.next_block();
    // The worker comes back, and wants the key of the epoch before: of the former root, which answers it. Its request is kept.
    scene.kill();
    scene.network.start(WORKER);
    let mut kept = None;
    for _ in 0..12 {
        scene.network.deliver(WORKER).unwrap();
        scene.network.inquiries.clear();
        kept = scene.asked(WORKER).into_iter().find(|inquiry| inquiry.request.request.era == 0);
        if kept.is_some() {
            break;
        }
        scene.network.chain.next_block();
    }
    let mut kept = kept.unwrap();
    assert_eq!(kept.request.request.epoch, 1);
    kept.collateral = scene.network.nodes[GATEKEEPER].machine.collateral();
    // Another process makes requests of its own.
    scene.network.start(WORKER);
    scene.finish();
    let given = |scene: &Scene| {
        let given = |notice: &&Notice| matches!(notice, Notice::KeysGiven { .. });
        scene.network.nodes[GATEKEEPER].notices.iter().filter(given).count()
    };
    scene.network.run(3);
    let before = given(&scene);
    for _ in 0..6 {
        let delivery = scene.network.delivery(GATEKEEPER);
        let delivery = Delivery { inquiries: vec![kept.clone()], ..delivery };
        scene.network.bring(GATEKEEPER, delivery).unwrap();
        scene.network.chain.next_block();
    }
    assert_eq!(given(&scene), before);
    scene.network.nodes[GATEKEEPER].tee = None;
    let epoch = scene.record().epoch;
    scene.step_until("epochs go on without it", |scene| scene.record().epoch == epoch + 2);
    scene.write();
}

#[test]
fn any_threshold_of_a_roots_seats_gives_keys_and_fewer_give_none() {
    let mut scene = Scene::new(131, 1);
    scene.hand_over();
    scene.network.roots[0].silent.extend([1, 3]);
    for _ in 0..8 {
        scene.step();
    }
    assert_eq!((scene.has_keys(WORKER, 2), scene.record().epoch), (0, 1));
    // Whoever answered is not asked again and again.
    let record = scene.network.roots[0].record();
    let asked: Vec<_> = scene.asked(WORKER).into_iter().map(|inquiry| inquiry.request.request.gatekeeper).collect();
    assert_eq!(asked.len(), 2);
    assert!(asked.contains(&record.seats[0]) && asked.contains(&record.seats[2]));
    scene.network.roots[0].silent.remove(&3);
    scene.finish();
    scene.write();
    assert!(scene.network.roots[0].silent.contains(&1), "one of them never answered");
}

#[test]
fn an_ex_replica_opens_nothing_newer() {
    let mut scene = Scene::new(132, 3);
    scene.fetch_the_second_epochs_keys();
    // It holds the former era's keys of the next epoch, hears of the next root, and asks its gatekeepers.
    scene.begin_to_hand_over();
    let gone = WORKER + 2;
    let delivery = scene.network.delivery(gone);
    let (_, taken) = scene.network.nodes[gone].tee.as_mut().unwrap().deliver(delivery);
    taken.unwrap();
    let asked = scene.asked(gone);
    assert!(asked.iter().all(|inquiry| inquiry.request.request.era == 1) && asked.len() == usize::from(SEATS));
    // Before they hear it, the chain takes it off, which its host keeps from it.
    let stay = [WORKER, WORKER + 1].map(|index| scene.network.nodes[index].id()).to_vec();
    scene.network.chain.assign(stay);
    scene.network.chain.next_block();
    let id = scene.network.nodes[gone].id();
    let kept_in_the_dark = scene.network.nodes[gone].tee.take();
    // What the former era's gatekeeper repeats of before.
    scene.network.answers.remove(&id);
    asked.iter().for_each(|inquiry| scene.network.ask_played(inquiry));
    assert!(scene.network.answers.get(&id).is_none_or(Vec::is_empty));
    let epoch_two = scene.envelope_key(0, 2);
    scene.finish();
    scene.write();
    scene.network.answers.remove(&id);
    asked.iter().for_each(|inquiry| scene.network.ask_played(inquiry));
    assert!(scene.network.answers.get(&id).is_none_or(Vec::is_empty));
    // What it holds is of a root that gave none of the keys since.
    assert_eq!(scene.has_keys(gone, 2), 1);
    assert_ne!(epoch_two, scene.envelope_key(1, 2));
    assert_eq!(scene.record().envelope_key, scene.envelope_key(1, scene.record().epoch));
    // When it hears the truth it forgets the cluster, and asks for nothing.
    scene.network.nodes[gone].tee = kept_in_the_dark;
    scene.network.run(3);
    assert!(scene.asked(gone).is_empty());
    assert!(scene.network.nodes[gone].tee().serving().is_none());
}
