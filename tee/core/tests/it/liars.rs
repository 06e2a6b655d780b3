//! Gatekeepers that lie: to whoever asks them, and in the name of the others, whose requests they saw.
//!
//! The root has four seats, of which three give keys, and they are played (`root.rs`); the worker is the code that ships.

use crate::{
    chain::CLUSTER,
    client::Account,
    contract::{code, KEEP},
    network::{Network, WORKER},
    root::{Lie, PlayedRoot},
};
use phala_core::{AnswersHealth, Notice};
use phala_protocol::{
    keys::{KeyAnswer, KeyRequest},
    query::AnswerContent,
    relay::{Delivery, Outgoing, MOST_ANSWERS},
    ContractId, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// Fewer than the blocks after which a worker asks anew: a lie that took a request away would cost all of these.
const STEPS: usize = 16;

struct Scene {
    network: Network,
    alice: Account,
    contract: ContractId,
}

impl Scene {
    /// A cluster of one replica that has gone over to a root whose seats are all honest.
    fn new(seed: u64) -> Self {
        let (mut network, mut alice) = (Network::ready(seed, 1), Account::new(1));
        let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
        let root = PlayedRoot::deal(7, 1, 3, 4);
        network.chain.hand_over(root.record());
        network.roots.push(root);
        network.run_until(|network| {
            let record = network.chain.cluster.as_ref().unwrap();
            (record.era_before, record.era) == (1, 1) && !network.chain.hands_over() && !record.is_closing()
        });
        Self { network, alice, contract }
    }

    fn lie(&mut self, liars: &[(u16, Lie)]) {
        self.network.roots[0].liars = liars.iter().copied().collect();
    }

    /// Whether the worker serves within so many steps.
    fn serves(&mut self) -> bool {
        (0..STEPS).any(|_| {
            self.network.step();
            self.network.worker().tee().serving().is_some()
        })
    }

    /// Starts the worker anew, without any keys.
    fn restart(&mut self) {
        self.network.start(WORKER);
        self.network.nodes[WORKER].notices.clear();
    }

    fn answers(&self) -> AnswersHealth {
        self.network.worker().tee().cluster_health().unwrap().answers
    }

    /// The requests of which the worker said that an answer was refused.
    fn told(&self) -> Vec<Hash> {
        let told = self.network.worker().notices.iter().filter_map(|notice| match notice {
            Notice::AnswerRefused { cluster, request, .. } => {
                assert_eq!(*cluster, CLUSTER);
                Some(*request)
            }
            _ => None,
        });
        told.collect()
    }

    fn asked(&self) -> Vec<KeyRequest> {
        let outgoing = self.network.worker().tee().status().outgoing.into_iter();
        let asked = outgoing.filter_map(|item| match item {
            Outgoing::AskKeys(inquiry) => Some(inquiry.request.request),
            _ => None,
        });
        asked.collect()
    }
}

#[test]
fn a_gatekeeper_that_lies_in_every_seats_name_keeps_no_keys_from_a_worker() {
    let mut scene = Scene::new(160);
    let expected: [&[&str]; 7] = [
        &["wrong_evaluation"],
        &["wrong_purposes"],
        &["wrong_purposes"],
        &[],
        &["no_such_seat"],
        &["wrong_evaluation", "wrong_purposes"],
        &["unauthentic"],
    ];
    for (lie, kinds) in Lie::ALL.into_iter().zip(expected) {
        scene.lie(&[(2, lie)]);
        let before = scene.network.lies;
        scene.restart();
        assert!(scene.serves(), "{lie:?}: {:?}", scene.answers());
        assert!(scene.network.lies > before, "{lie:?}");
        // What it refused is counted by kind, and told once for each request.
        let health = scene.answers();
        let refused: Vec<&str> = health.refused.keys().copied().collect();
        assert_eq!((refused.as_slice(), health.left_out), (kinds, 0), "{lie:?}");
        assert!(health.taken >= scene.network.roots[0].threshold() as u64, "{lie:?}: {health:?}");
        let told = scene.told();
        assert_eq!(told.is_empty(), kinds.is_empty(), "{lie:?}");
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "{lie:?}: {told:?}");
    }

    // The next epoch's keys come too, and commands go on.
    scene.lie(&[(3, Lie::Empty)]);
    let epoch = scene.network.chain.epoch();
    scene.network.run_until(|network| network.chain.epoch() == epoch + 1);
    scene.alice.push(&mut scene.network, scene.contract, vec![KEEP, 2]);
    scene.network.settle();
    let kept = scene.alice.ask_contract(&scene.network, scene.contract, vec![KEEP]);
    assert_eq!(kept, AnswerContent::Output(vec![KEEP, 2]));
}

#[test]
fn where_fewer_than_t_seats_are_honest_no_keys_come_and_no_wrong_ones() {
    let mut scene = Scene::new(161);
    scene.lie(&[(1, Lie::Empty), (3, Lie::WrongProof)]);
    scene.restart();
    assert!(!scene.serves());
    assert!(!scene.network.worker().notices.iter().any(|notice| matches!(notice, Notice::EpochKeys { .. })));
    // Of the open epoch: who gave all it has is asked no more, and who lied is.
    let epoch = scene.network.chain.epoch();
    let asked: BTreeSet<WorkerId> =
        scene.asked().iter().filter(|request| request.epoch == epoch).map(|request| request.gatekeeper).collect();
    let seats = scene.network.roots[0].record().seats;
    assert_eq!(asked, BTreeSet::from([seats[0], seats[2]]));
    // One that comes to its senses is enough.
    scene.lie(&[(1, Lie::Empty)]);
    assert!(scene.serves());
}

#[test]
fn a_flood_of_forgeries_is_opened_up_to_a_bound_told_once_and_costs_no_request() {
    let mut scene = Scene::new(162);
    scene.restart();
    let id = scene.network.worker().id();
    scene.network.run_until(|network| network.answers.get(&id).is_some_and(|answers| !answers.is_empty()));
    let honest = scene.network.delivery(WORKER);
    let (asked, answers) = (scene.asked(), honest.answers.clone());
    assert!(answers.len() >= scene.network.roots[0].threshold());
    // To a request that waits, to one that nobody made, and the true ones behind all of them.
    let forged = |request: Hash| (request, KeyAnswer { encapsulated: vec![1; 40], body: vec![2; 16] });
    let flood = std::iter::repeat_n(forged(asked[0].signing_payload()), MOST_ANSWERS + 5);
    let unasked = std::iter::repeat_n(forged([7; 32]), 100);
    let brought = unasked.chain(flood).chain(answers.iter().cloned()).collect();
    scene.network.bring(WORKER, Delivery { answers: brought, ..honest }).unwrap();
    let expected = AnswersHealth {
        taken: 0,
        refused: BTreeMap::from([("malformed", MOST_ANSWERS as u64)]),
        left_out: 5 + answers.len() as u64,
    };
    assert_eq!((scene.answers(), scene.told().len()), (expected, 1));
    assert_eq!(scene.asked(), asked, "all wait on");
    assert!(scene.serves());
}
