//! How often a gatekeeper gives a worker the keys of one epoch, and what it says of it.

use crate::{
    chain::CLUSTER,
    client::Account,
    contract::{code, KEEP},
    network::{Network, GATEKEEPER, WORKER},
};
use phala_core::{Identity, KeysHealth, Machine, Notice};
use phala_gatekeeper::Refusal;
use phala_protocol::{
    hash::blake2_256,
    ids::BlockNumber,
    limits::KEY_REQUEST_BLOCKS,
    relay::{KeyInquiry, Outgoing},
    WorkerId,
};
use std::collections::BTreeMap;

/// As the gatekeeper promises it.
const MOST: usize = 64;
const WINDOW: BlockNumber = 600;
/// What one worker may have waiting.
const AT_ONCE: usize = 8;

fn keys(network: &Network) -> KeysHealth {
    network.nodes[GATEKEEPER].tee().gate_health().unwrap().keys
}

/// Two workers that have just asked for their first keys.
struct Scene {
    network: Network,
    asked: BTreeMap<WorkerId, KeyInquiry>,
    nonce: u32,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut network = Network::new(seed, 2);
        network.run_until(|network| network.nodes.iter().all(|node| node.tee().registration().is_some()));
        let workers = vec![network.nodes[WORKER].id(), network.nodes[WORKER + 1].id()];
        network.chain.create_cluster(workers.clone());
        let asked = |network: &Network| -> BTreeMap<WorkerId, KeyInquiry> {
            let inquiries = network.inquiries.iter().cloned();
            inquiries.map(|inquiry| (inquiry.request.request.worker, inquiry)).collect()
        };
        network.run_until(|network| asked(network).len() == workers.len());
        let asked = asked(&network);
        network.inquiries.clear();
        Self { network, asked, nonce: 0 }
    }

    /// Another request of a worker, as each process of it makes them.
    fn fresh(&mut self, index: usize) -> KeyInquiry {
        let machine: &dyn Machine = &*self.network.nodes[index].machine;
        let identity = Identity::open(machine, &self.network.chain.genesis()).unwrap();
        self.nonce += 1;
        let mut inquiry = self.asked[&identity.id()].clone();
        inquiry.request.request.nonce = blake2_256(&self.nonce.to_le_bytes());
        inquiry.request.request.at = self.network.chain.blocks.best();
        inquiry.request.signature = identity.sign(&inquiry.request.request.signing_payload());
        inquiry
    }

    /// Brings inquiries to the gatekeeper, and what it says to each.
    fn bring(&mut self, inquiries: Vec<KeyInquiry>) -> Vec<Notice> {
        let count = inquiries.len();
        self.network.nodes[GATEKEEPER].notices.clear();
        self.network.inquiries = inquiries;
        for _ in 0..6 {
            self.network.deliver(GATEKEEPER).unwrap();
            let said = &self.network.nodes[GATEKEEPER].notices;
            if said.len() >= count {
                return said.clone();
            }
            self.network.chain.next_block();
        }
        panic!("the gatekeeper says nothing to some of {count}");
    }

    /// What it says to one.
    fn ask(&mut self, inquiry: KeyInquiry) -> Notice {
        let mut said = self.bring(vec![inquiry]);
        assert_eq!(said.len(), 1, "{said:?}");
        said.remove(0)
    }
}

#[test]
fn a_worker_that_restarts_again_and_again_is_served_each_time() {
    let mut network = Network::ready(150, 1);
    network.deploy(&mut Account::new(1), &code(), vec![KEEP, 1]);
    for _ in 0..12 {
        network.nodes[WORKER].notices.clear();
        network.start(WORKER);
        network.settle();
        let keys = |notice: &Notice| matches!(notice, Notice::EpochKeys { .. });
        assert!(network.worker().notices.iter().any(keys), "it keeps none over a restart");
    }
    let health = keys(&network);
    assert!(health.given > 12 && health.refused.is_empty() && health.left_out == 0, "{health:?}");
}

#[test]
fn whoever_asks_beyond_the_bound_is_refused_until_the_window_opens_and_others_are_served() {
    let mut scene = Scene::new(151);
    let id = scene.network.nodes[WORKER].id();
    let (mut lines, mut last) = (Vec::new(), None);
    while lines.len() < MOST {
        let inquiries: Vec<_> = (0..AT_ONCE).map(|_| scene.fresh(WORKER)).collect();
        last = inquiries.last().cloned();
        lines.extend(scene.bring(inquiries.clone()));
        // The audit says what was given: to whom, of what, how much, to which request, without a gap.
        for (inquiry, line) in inquiries.iter().zip(lines.iter().skip(lines.len() - AT_ONCE)) {
            let Notice::KeysGiven { worker, cluster, era, epoch, request, purposes, .. } = line else {
                panic!("{line:?}")
            };
            assert_eq!((*worker, *cluster, *era, *epoch, *purposes), (id, CLUSTER, 0, 1, 4));
            assert_eq!(*request, inquiry.request.request.signing_payload());
        }
    }
    let counted = lines.iter().map(|line| match line {
        Notice::KeysGiven { number, recent, .. } => (*number, *recent),
        other => panic!("{other:?}"),
    });
    assert!(counted.eq((1..=MOST).map(|number| (number as u64, number))));

    // One more is refused: it says until when.
    let beyond = scene.fresh(WORKER);
    let refused = |scene: &mut Scene, number: u64| -> BlockNumber {
        let line = scene.ask(beyond.clone());
        let Notice::KeysRefused { number: numbered, worker, cluster, era, epoch, request, refusal } = line else {
            panic!("{line:?}")
        };
        assert_eq!((numbered, worker, cluster, era, epoch), (number, id, CLUSTER, 0, 1));
        assert_eq!(request, beyond.request.request.signing_payload());
        let Refusal::TooOften { from } = refusal else { panic!("{refusal:?}") };
        from
    };
    let from = refused(&mut scene, 65);
    let now = scene.network.chain.number();
    assert!(from > now && from <= now + WINDOW);
    // The other worker is served, and so is whoever brings what was answered before: it uses up nothing.
    let other = scene.fresh(WORKER + 1);
    let line = scene.ask(other);
    assert!(matches!(line, Notice::KeysGiven { number: 66, recent: 1, .. }), "{line:?}");
    let last = last.unwrap();
    (0..20).for_each(|_| scene.network.chain.next_block());
    // Its answer is repeated no more: it is made anew.
    scene.network.deliver(GATEKEEPER).unwrap();
    let line = scene.ask(last);
    assert!(matches!(line, Notice::KeysGiven { number: 67, recent: MOST, .. }), "{line:?}");
    assert_eq!(refused(&mut scene, 68), from, "the same as before");
    let expected = KeysHealth { given: 66, refused: BTreeMap::from([("too_often", 2)]), left_out: 0 };
    assert_eq!(keys(&scene.network), expected);

    // The window opens with the block that it was told, and not before.
    while scene.network.chain.blocks.best() + 1 < from {
        scene.network.chain.next_block();
    }
    assert_eq!(scene.network.chain.blocks.best(), from - 1);
    let said = |network: &mut Network, inquiry: &KeyInquiry| {
        network.nodes[GATEKEEPER].notices.clear();
        network.inquiries = vec![inquiry.clone()];
        // At one head: what has to be proved is known step by step.
        (0..4).for_each(|_| network.deliver(GATEKEEPER).unwrap());
        network.nodes[GATEKEEPER].notices.clone()
    };
    let late = scene.fresh(WORKER);
    let line = said(&mut scene.network, &late);
    assert!(matches!(line[..], [Notice::KeysRefused { refusal: Refusal::TooOften { .. }, .. }]), "{line:?}");
    scene.network.chain.next_block();
    let line = said(&mut scene.network, &late);
    assert!(matches!(line[..], [Notice::KeysGiven { number: 70, .. }]), "{line:?}");
}

/// What a gatekeeper refuses because it is too old.
fn is_stale(notice: &Notice) -> bool {
    matches!(notice, Notice::KeysRefused { refusal: Refusal::Stale { .. }, .. })
}

#[test]
fn whoever_recorded_requests_that_no_seat_answered_uses_up_nothing_of_the_workers_with_them() {
    let mut scene = Scene::new(153);
    // As many as are answered in a window, and none arrives in time.
    let recorded: Vec<_> = (0..MOST).map(|_| scene.fresh(WORKER)).collect();
    let mut young = scene.fresh(WORKER);
    (0..=KEY_REQUEST_BLOCKS).for_each(|_| scene.network.chain.next_block());
    scene.network.deliver(GATEKEEPER).unwrap();
    for some in recorded.chunks(AT_ONCE) {
        let said = scene.bring(some.to_vec());
        assert!(said.iter().all(is_stale), "{said:?}");
    }
    assert_eq!(keys(&scene.network).refused, BTreeMap::from([("stale", MOST as u64)]));
    // The worker has all of its own, and what it signed with another block is none of its requests.
    let line = scene.ask({
        young.request.request.at = scene.network.chain.blocks.best();
        young
    });
    assert!(matches!(line, Notice::KeysRefused { refusal: Refusal::BadSignature, .. }), "{line:?}");
    for recent in 1..=AT_ONCE {
        let own = scene.fresh(WORKER);
        let line = scene.ask(own);
        assert!(matches!(line, Notice::KeysGiven { recent: counted, .. } if counted == recent), "{line:?}");
    }
}

#[test]
fn a_gatekeeper_that_is_thirty_blocks_behind_the_worker_gives_it_its_keys() {
    let mut scene = Scene::new(154);
    let mut ahead = scene.fresh(WORKER);
    ahead.request.request.at += 30;
    let machine: &dyn Machine = &*scene.network.nodes[WORKER].machine;
    let identity = Identity::open(machine, &scene.network.chain.genesis()).unwrap();
    ahead.request.signature = identity.sign(&ahead.request.request.signing_payload());
    let line = scene.ask(ahead);
    assert!(matches!(line, Notice::KeysGiven { recent: 1, .. }), "{line:?}");
}

#[test]
fn a_worker_whose_relayer_withholds_blocks_is_refused_as_long_and_asks_anew_by_itself() {
    let mut scene = Scene::new(155);
    scene.network.nodes[WORKER].paused = true;
    let mut outgoing = scene.network.worker().tee().status().outgoing.into_iter();
    let asks = |item| if let Outgoing::AskKeys(inquiry) = item { Some(inquiry) } else { None };
    let old = outgoing.find_map(asks).unwrap();
    let request = old.request.request;
    (0..=KEY_REQUEST_BLOCKS).for_each(|_| scene.network.chain.next_block());
    scene.network.deliver(GATEKEEPER).unwrap();
    let collateral = scene.network.nodes[GATEKEEPER].machine.collateral();
    let line = scene.ask(KeyInquiry { collateral, ..old });
    assert!(is_stale(&line), "{line:?}");

    scene.network.nodes[WORKER].paused = false;
    let has_keys = |line: &Notice| matches!(line, Notice::EpochKeys { .. });
    scene.network.run_until(|network| network.worker().notices.iter().any(has_keys));
    let answered = scene.network.traffic.values().filter(|(asked, answers)| {
        asked.worker == request.worker && asked.gatekeeper == request.gatekeeper && !answers.is_empty()
    });
    let heads: Vec<BlockNumber> = answered.map(|(asked, _)| asked.at).collect();
    assert!(!heads.is_empty() && heads.iter().all(|at| *at > request.at + KEY_REQUEST_BLOCKS), "{heads:?}");
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut scene = Scene::new(152);
    let inquiries: Vec<_> = (0..AT_ONCE + 5).map(|_| scene.fresh(WORKER)).collect();
    scene.network.inquiries = inquiries;
    for _ in 0..4 {
        scene.network.deliver(GATEKEEPER).unwrap();
        scene.network.chain.next_block();
    }
    let expected = KeysHealth { given: AT_ONCE as u64, refused: BTreeMap::new(), left_out: 5 };
    assert_eq!(keys(&scene.network), expected);
}
