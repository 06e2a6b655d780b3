//! Several replicas of one cluster: the same results whatever each is brought, and a stop when the chain says otherwise.

use crate::{
    cargo,
    chain::CLUSTER,
    client::Account,
    network::{Network, WORKER},
    poison::{code, KEEP},
};
use codec::Encode;
use phala_core::{ClusterError, DeliveryError, Notice};
use phala_protocol::{
    query::{AnswerContent, QueryRequest},
    relay::Outgoing,
    result::SignedResult,
};

fn results(network: &Network, index: usize) -> Vec<SignedResult> {
    let outgoing = network.nodes[index].tee().status().outgoing.into_iter();
    outgoing.filter_map(|item| if let Outgoing::Result(signed) = item { Some(signed) } else { None }).collect()
}

#[test]
fn replicas_fed_different_batches_reach_the_same_results() {
    let mut network = Network::ready(60, 2);
    let layout = |index: usize| network.nodes[index].tee().layout();
    assert_ne!(layout(WORKER), layout(WORKER + 1), "one is laid out as an enclave");
    let (mut alice, mut bob) = (Account::new(1), Account::new(2));
    let token = network.deploy(&mut alice, cargo::token(), ("create", 1_000u128).encode());
    network.nodes[WORKER].batch = 1;
    network.chain.open_to_results = false;
    for block in 0..6u128 {
        network.nodes[WORKER + 1].paused = block < 5;
        alice.push(&mut network, token, ("transfer", (bob.id(), block)).encode());
        if block % 2 == 0 {
            bob.push(&mut network, token, ("transfer", (alice.id(), 1u128)).encode());
        }
        network.step();
    }
    network.run(6);
    let (one, many) = (results(&network, WORKER), results(&network, WORKER + 1));
    assert_eq!(one.len(), 6);
    let of = |signed: &[SignedResult]| signed.iter().map(|signed| signed.result).collect::<Vec<_>>();
    assert_eq!(of(&one), of(&many));
    assert!(one.iter().zip(&many).all(|(one, other)| one.worker != other.worker && one.signature != other.signature));
    network.chain.open_to_results = true;
    network.settle();
    let record = &network.chain.finals[&one[5].result.boundary.block];
    assert_eq!((record.votes.len(), record.replicas), (2, 2));
    network.run(2);
    for index in [WORKER, WORKER + 1] {
        let request = QueryRequest::Contract { contract: token, payload: ("balance", ()).encode() };
        let answer = bob.ask(&network, &network.nodes[index], request);
        // The first of Bob's three had nothing to send.
        assert_eq!(answer, AnswerContent::Output((15u128 - 2).encode()));
    }
}

#[test]
fn a_different_final_result_stops_the_worker_for_good() {
    let mut network = Network::ready(61, 1);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    network.chain.open_to_results = false;
    alice.push(&mut network, contract, vec![KEEP, 2]);
    network.run(2);
    let own = results(&network, WORKER)[0].result;
    let mut other = own;
    other.next[0] ^= 1;
    network.chain.finalise(other, Vec::new());
    network.chain.next_block();
    let block = own.boundary.block;
    let diverged = |result: Result<(), DeliveryError>| matches!(result, Err(DeliveryError::Cluster(CLUSTER, ClusterError::Diverged(at))) if at == block);
    let result = network.deliver(WORKER);
    assert!(!result.as_ref().unwrap_err().is_the_relayers());
    assert!(diverged(result));
    let stopped = |network: &Network| {
        let health = network.worker().tee().cluster_health().unwrap();
        assert_eq!((health.diverged_at, health.serving), (Some(block), false));
        assert!(network.worker().tee().serving().is_none());
        assert!(!network.worker().tee().status().inboxes[0].ready);
    };
    stopped(&network);
    assert!(network.worker().notices.contains(&Notice::Diverged { cluster: CLUSTER, block }));
    alice.push(&mut network, contract, vec![KEEP, 3]);
    network.chain.next_block();
    assert!(diverged(network.deliver(WORKER)));
    stopped(&network);

    // Starting again does not help it.
    network.start(WORKER);
    let mut stopped_again = false;
    for _ in 0..12 {
        let _ = network.deliver(0);
        stopped_again = diverged(network.deliver(WORKER));
        assert!(network.worker().tee().serving().is_none());
        if stopped_again {
            break;
        }
        network.chain.next_block();
    }
    assert!(stopped_again);
    stopped(&network);

    // It goes on attesting: that its cluster is stuck is no reason for its registration to lapse.
    network.chain.pass_time(86_400_000);
    for _ in 0..310 {
        network.chain.next_block();
    }
    assert!(diverged(network.deliver(WORKER)));
    let status = network.worker().tee().status();
    let registers = |item: &Outgoing| matches!(item, Outgoing::Register { registration, .. } if registration.block == status.height);
    assert!(status.outgoing.iter().any(registers));
}

#[test]
fn a_worker_whose_cluster_is_taken_away_forgets_it() {
    let mut network = Network::ready(62, 2);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    let stays = network.nodes[WORKER + 1].id();
    network.chain.assign(vec![stays]);
    network.run(3);
    let tee = network.worker().tee();
    assert!(tee.serving().is_none());
    assert!(!tee.status().inboxes[0].ready);
    assert_eq!(tee.cluster_health().unwrap().executed, 0);
    assert!(!tee.status().outgoing.iter().any(|item| matches!(item, Outgoing::AskKeys(_))));
    let request = QueryRequest::Contract { contract, payload: vec![KEEP] };
    let answer = alice.ask(&network, &network.nodes[WORKER + 1], request.clone());
    assert_eq!(answer, AnswerContent::Output(vec![KEEP, 1]));

    // And it takes it up again where it was.
    let both = vec![network.worker().id(), stays];
    network.chain.assign(both);
    network.settle();
    assert_eq!(alice.ask(&network, network.worker(), request), AnswerContent::Output(vec![KEEP, 1]));
}

#[test]
fn a_vote_that_came_after_the_majority_is_offered_until_the_chain_counts_it() {
    let mut network = Network::ready(65, 3);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    let slow = WORKER + 2;
    network.run(4);
    let id = network.nodes[slow].id();
    let confirmed = |network: &Network| network.chain.standings.get(&id).map_or(0, |standing| standing.confirmed);
    assert_eq!(confirmed(&network), 1, "the third of three votes is late in every boundary");
    assert!(results(&network, slow).is_empty());

    network.nodes[slow].paused = true;
    for kept in 2..5 {
        alice.push(&mut network, contract, vec![KEEP, kept]);
        network.settle();
    }
    // It learns that everything is final from the very delivery after which it could have voted, and nobody takes its votes.
    network.nodes[slow].paused = false;
    network.chain.open_to_results = false;
    network.run(6);
    let offers_the_last = |network: &Network| {
        let health = network.nodes[slow].tee().cluster_health().unwrap();
        assert_eq!((health.executed, health.pending), (4, 0));
        let offered = results(network, slow);
        assert_eq!(offered.iter().map(|signed| signed.result.boundary.count).collect::<Vec<_>>(), [4]);
        assert_eq!(offered[0].worker, id);
    };
    offers_the_last(&network);
    network.run(8);
    offers_the_last(&network);

    // A crash in between loses nothing of it.
    network.start(slow);
    network.run_until(|network| {
        let health = network.nodes[slow].tee().cluster_health().unwrap();
        health.executed == 4 && health.pending == 0
    });
    offers_the_last(&network);

    network.chain.open_to_results = true;
    network.run(1);
    assert_eq!(confirmed(&network), 4);
    network.run(2);
    assert!(results(&network, slow).is_empty(), "and then no more");
    assert!([WORKER, WORKER + 1].iter().all(|index| results(&network, *index).is_empty()));

    // The next one that comes in time needs no second word.
    network.nodes[WORKER].paused = true;
    alice.push(&mut network, contract, vec![KEEP, 5]);
    network.run(6);
    assert_eq!(confirmed(&network), 5);
    assert!(results(&network, slow).is_empty());
}

#[test]
fn a_late_vote_on_a_result_that_the_chain_has_forgotten_is_offered_no_more() {
    let mut network = Network::ready(66, 3);
    let mut alice = Account::new(1);
    let slow = WORKER + 2;
    network.nodes[slow].paused = true;
    network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    network.nodes[slow].paused = false;
    network.chain.open_to_results = false;
    network.run(6);
    let offered = results(&network, slow);
    assert_eq!(offered.len(), 1);
    network.chain.forget(offered[0].result.boundary.block);
    network.run(2);
    assert!(results(&network, slow).is_empty());
}

#[test]
fn a_replica_whose_last_result_is_not_kept_any_more_goes_on_after_a_restart() {
    let mut network = Network::ready(67, 3);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    let slow = WORKER + 2;
    network.run(4);
    let last = network.last_final().boundary.block;
    network.nodes[slow].paused = true;
    // More than may wait to become final.
    for kept in 2..20 {
        alice.push(&mut network, contract, vec![KEEP, kept]);
        network.step();
    }
    network.settle();
    // What it has not confirmed is kept for it; what it has, and says on its disk that it waits for, is not.
    network.chain.forget(last);
    network.start(slow);
    network.nodes[slow].paused = false;
    network.run_until(|network| {
        let health = network.nodes[slow].tee().cluster_health().unwrap();
        (health.executed, health.pending, health.serving) == (19, 0, true)
    });
    let request = QueryRequest::Contract { contract, payload: vec![KEEP] };
    let answer = alice.ask(&network, &network.nodes[slow], request);
    assert_eq!(answer, AnswerContent::Output(vec![KEEP, 19]));
    let snapshots = |notice: &Notice| matches!(notice, Notice::StateLacked { .. } | Notice::Diverged { .. });
    assert!(!network.nodes[slow].notices.iter().any(snapshots));
}

#[test]
fn a_replica_that_is_an_epoch_behind_catches_up_with_the_keys_it_has() {
    let mut network = Network::ready(63, 3);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    let slow = WORKER + 2;
    network.run(3);
    network.nodes[slow].paused = true;
    alice.push(&mut network, contract, vec![KEEP, 2]);
    network.settle();
    network.run_until(|network| network.chain.epoch() == 2);
    alice.push(&mut network, contract, vec![KEEP, 3]);
    network.settle();
    assert!(!network.chain.cluster.as_ref().unwrap().is_closing());
    network.nodes[slow].paused = false;
    network.run_until(|network| {
        let health = network.nodes[slow].tee().cluster_health().unwrap();
        health.executed == 3 && health.pending == 0
    });
    network.run(2);
    let request = QueryRequest::Contract { contract, payload: vec![KEEP] };
    let answer = alice.ask(&network, &network.nodes[slow], request);
    assert_eq!(answer, AnswerContent::Output(vec![KEEP, 3]));
    assert_eq!(network.nodes[slow].tee().cluster_health().unwrap().diverged_at, None);
}

#[test]
fn a_replica_that_is_two_epochs_behind_stalls_rather_than_execute_under_wrong_keys() {
    let mut network = Network::ready(64, 3);
    let mut alice = Account::new(1);
    let contract = network.deploy(&mut alice, &code(), vec![KEEP, 1]);
    let slow = WORKER + 2;
    network.run(3);
    network.nodes[slow].paused = true;
    for epoch in 2..4 {
        alice.push(&mut network, contract, vec![KEEP, epoch as u8]);
        network.settle();
        network.run_until(|network| network.chain.epoch() == epoch);
    }
    // The binding is held back, so that gatekeepers still give all keys of the second epoch.
    network.chain.open_to_results = false;
    network.run(1);
    network.nodes[slow].paused = false;
    network.run(10);
    assert_eq!(network.chain.cluster.as_ref().map(|record| (record.epoch, record.is_closing())), Some((3, true)));
    network.chain.open_to_results = true;
    network.run(10);
    let health = network.nodes[slow].tee().cluster_health().unwrap();
    assert_eq!((health.executed, health.diverged_at), (1, None));
    assert!(network.nodes[slow].notices.contains(&Notice::EpochKeys { cluster: CLUSTER, epoch: 2 }));
}
