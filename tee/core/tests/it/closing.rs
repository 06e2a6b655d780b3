//! A cluster that governance closes for good: what its worker drops, who gives its keys no more, and what goes on without it.

use crate::{
    chain::CLUSTER,
    client::Account,
    egress::{input, offered, paid, pay, scene, sequences, RETURN},
    network::{Network, GATEKEEPER, WORKER},
    poison::{code, KEEP},
    root::PlayedRoot,
};
use phala_core::Notice;
use phala_gatekeeper::Refusal;
use phala_protocol::{relay::Outgoing, storage};

fn asks(network: &Network) -> bool {
    let outgoing = network.worker().tee().status().outgoing;
    outgoing.iter().any(|item| matches!(item, Outgoing::AskKeys(_)))
}

fn is_of_the_cluster(item: &Outgoing) -> bool {
    matches!(
        item,
        Outgoing::AskKeys(_)
            | Outgoing::Result(_)
            | Outgoing::Rekey(_)
            | Outgoing::AnnounceKey { .. }
            | Outgoing::Egress(_)
    )
}

/// How often the worker has said that its cluster is closed.
fn said(network: &Network) -> usize {
    let closed = Notice::ClusterClosed { cluster: CLUSTER };
    network.worker().notices.iter().filter(|notice| **notice == closed).count()
}

/// Closes the cluster, and has the worker see it.
fn close(network: &mut Network) {
    network.chain.close();
    network.chain.next_block();
    network.deliver(WORKER).unwrap();
}

/// The worker offers these items of its closed cluster, and does nothing else for it.
fn assert_only_leaving(network: &Network, items: &[u64]) {
    let tee = network.worker().tee();
    let (health, status) = (tee.cluster_health().unwrap(), tee.status());
    assert!(health.closed && !health.serving && tee.serving().is_none());
    assert!(health.epoch == 0 && !status.inboxes[0].ready && status.wanted_codes.is_empty());
    let others = |item: &&Outgoing| is_of_the_cluster(item) && !matches!(item, Outgoing::Egress(_));
    assert_eq!(status.outgoing.iter().filter(others).count(), 0);
    assert_eq!(sequences(&offered(network, WORKER)), items);
}

fn assert_nothing_is_left(network: &Network) {
    let tee = network.worker().tee();
    let (health, status) = (tee.cluster_health().unwrap(), tee.status());
    assert!(health.closed && !health.serving && tee.serving().is_none());
    assert_eq!((health.executed, health.pending, health.epoch), (0, 0, 0));
    assert!(!status.inboxes[0].ready && !status.outgoing.iter().any(is_of_the_cluster));
}

fn given(network: &Network) -> usize {
    let notices = &network.nodes[GATEKEEPER].notices;
    notices.iter().filter(|notice| matches!(notice, Notice::KeysGiven { .. })).count()
}

#[test]
fn a_worker_whose_cluster_is_closed_keeps_and_answers_nothing_of_it() {
    let mut network = Network::ready(140, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    network.run(3);
    assert!(network.worker().tee().serving().is_some());
    // An item that comes in the same block: nobody executes it.
    alice.push(&mut network, contract, vec![KEEP, 2]);
    let answered = network.chain.finals.len();
    close(&mut network);
    assert_nothing_is_left(&network);
    network.run(5);
    assert_nothing_is_left(&network);
    assert_eq!(network.chain.finals.len(), answered);
    assert_eq!(said(&network), 1, "once, and not with each block");
    // It starts again from its disk, which nobody gives it a key to.
    let before = given(&network);
    network.start(WORKER);
    network.run(5);
    assert_nothing_is_left(&network);
    assert_eq!((said(&network), given(&network)), (2, before));
}

#[test]
fn what_a_closed_cluster_has_sent_is_offered_until_the_chain_has_it_and_then_all_is_dropped() {
    let (mut network, mut alice, sender) = scene(143, 1);
    network.chain.open_to_egress = false;
    alice.push(&mut network, sender, input(RETURN, 2, &pay(1)));
    network.settle();
    network.run(2);
    // One more becomes final with the close, and one never does.
    alice.push(&mut network, sender, input(RETURN, 1, &pay(2)));
    network.chain.next_block();
    network.deliver(WORKER).unwrap();
    network.chain.open_to_results = false;
    alice.push(&mut network, sender, input(RETURN, 1, &pay(3)));
    network.chain.next_block();
    let mut delivery = network.delivery(WORKER);
    // As from a host that shows nothing of results.
    let boundary = network.chain.items.last().unwrap().header.block;
    delivery.proof = network.prove(&[storage::cluster_key(CLUSTER), storage::boundary_key(CLUSTER, boundary)]);
    network.bring(WORKER, delivery).unwrap();
    assert_eq!(network.worker().tee().cluster_health().unwrap().pending, 2);
    network.chain.open_to_results = true;
    close(&mut network);
    assert_only_leaving(&network, &[0, 1, 2]);
    // For as long as it takes, also while its host shows nothing.
    network.run(20);
    network.chain.next_block();
    let mut delivery = network.delivery(WORKER);
    delivery.proof = network.prove(&[storage::TIMESTAMP_NOW.to_vec()]);
    network.bring(WORKER, delivery).unwrap();
    assert_only_leaving(&network, &[0, 1, 2]);
    network.chain.open_to_egress = true;
    network.run(3);
    assert_eq!(paid(&network), [1, 1, 2]);
    assert_nothing_is_left(&network);
    assert_eq!(said(&network), 1);
}

#[test]
fn a_closed_cluster_whose_results_never_became_final_is_dropped_at_once() {
    let (mut network, mut alice, sender) = scene(144, 1);
    network.chain.open_to_results = false;
    alice.push(&mut network, sender, input(RETURN, 1, &pay(1)));
    network.run(3);
    assert_eq!(network.worker().tee().cluster_health().unwrap().pending, 1);
    network.chain.open_to_results = true;
    close(&mut network);
    assert_nothing_is_left(&network);
}

#[test]
fn a_worker_that_restarts_after_the_close_has_lost_what_its_cluster_sent() {
    let (mut network, mut alice, sender) = scene(145, 1);
    network.chain.open_to_egress = false;
    alice.push(&mut network, sender, input(RETURN, 1, &pay(1)));
    network.settle();
    network.run(2);
    close(&mut network);
    assert_only_leaving(&network, &[0]);
    network.start(WORKER);
    network.chain.open_to_egress = true;
    network.run(5);
    assert_nothing_is_left(&network);
    assert!(paid(&network).is_empty());
}

#[test]
fn no_gatekeeper_gives_the_keys_of_a_closed_cluster_to_a_worker_that_does_not_know_yet() {
    let mut network = Network::ready(141, 1);
    network.nodes[GATEKEEPER].paused = true;
    network.start(WORKER);
    network.run(3);
    assert!(asks(&network));
    network.nodes[WORKER].paused = true;
    network.chain.close();
    network.chain.next_block();
    let before = given(&network);
    network.nodes[GATEKEEPER].paused = false;
    network.run(5);
    let asker = network.worker().id();
    let refused = |notice: &Notice| {
        let Notice::KeysRefused { worker, refusal, .. } = notice else { return false };
        (*worker, *refusal) == (asker, Refusal::NotAssigned)
    };
    assert!(network.nodes[GATEKEEPER].notices.iter().any(refused));
    assert_eq!(given(&network), before);
}

#[test]
fn a_hand_over_that_waits_for_a_cluster_without_state_ends_when_it_is_closed() {
    let mut network = Network::ready(142, 1);
    network.nodes[WORKER].tee = None;
    let root = PlayedRoot::deal(7, 1, 3, 4);
    network.chain.hand_over(root.record());
    network.roots.push(root);
    network.run(100);
    assert!(network.chain.hands_over(), "it waits for whoever may come back");
    let retired = Notice::SeatRetired { era: 0 };
    assert!(!network.nodes[GATEKEEPER].notices.contains(&retired));
    network.chain.close();
    network.run(5);
    assert!(!network.chain.hands_over());
    assert_eq!(network.chain.root.as_ref().map(|root| root.era), Some(1));
    assert!(network.nodes[GATEKEEPER].notices.contains(&retired), "the former root is gone");
    // Too late: there is nothing to come back to.
    network.start(WORKER);
    network.run(5);
    assert_nothing_is_left(&network);
}
