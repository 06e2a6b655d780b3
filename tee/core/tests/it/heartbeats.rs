//! A worker's signs of life: made for the round that its own head shows, once, until the chain has them.
//!
//! The chain's part - rounds, and how workers stand - is written by hand; `phala-pallet-heartbeats` has the rules.

use crate::network::{Network, GATEKEEPER, WORKER};
use codec::Encode;
use phala_core::DeliveryError;
use phala_crypto::signature::ed25519;
use phala_light_client::testing::TestChain;
use phala_protocol::{
    heartbeat::{is_sampled, HeartbeatRound, HeartbeatStanding, SignedHeartbeat, EVERY_WORKER},
    relay::Outgoing,
    storage,
};

/// What a TEE has to say now.
fn said(network: &Network, index: usize) -> Option<SignedHeartbeat> {
    let outgoing = network.nodes[index].tee().status().outgoing;
    let mut beats = outgoing.into_iter().filter_map(|item| match item {
        Outgoing::Heartbeat(signed) => Some(signed),
        _ => None,
    });
    let first = beats.next();
    assert!(beats.next().is_none(), "one at a time");
    first
}

/// A network with `workers` registered workers.
fn registered(seed: u64, workers: usize) -> Network {
    let mut network = Network::new(seed, workers);
    network.run_until(|network| network.nodes.iter().all(|node| node.tee().registration().is_some()));
    network
}

/// A round that opens in the block under construction.
fn round(network: &Network, period: u32, value: u8, rate: u32) -> HeartbeatRound {
    let opened = network.chain.number();
    HeartbeatRound { era: 1, period, value: [value; 32], rate, opened, until: opened + 20, patience: 3 }
}

fn open(network: &mut Network, period: u32, value: u8, rate: u32) -> HeartbeatRound {
    let round = round(network, period, value, rate);
    network.chain.ask_heartbeats(&round);
    network.run(2);
    round
}

/// The chain has a worker's answer to this round.
fn takes(network: &mut Network, index: usize, round: &HeartbeatRound) {
    let worker = network.nodes[index].id();
    let answered = Some((round.era, round.period));
    network.chain.stand_by_heartbeats(&worker, &HeartbeatStanding { answered, ..Default::default() });
    network.run(2);
}

/// Rounds of a value that samples the first worker and not the second, at half.
fn telling(network: &Network) -> u8 {
    let [first, second] = [WORKER, WORKER + 1].map(|index| network.nodes[index].id());
    let half = EVERY_WORKER / 2;
    let tells = |value: &u8| is_sampled(&[*value; 32], &first, half) && !is_sampled(&[*value; 32], &second, half);
    (0..=u8::MAX).find(tells).unwrap()
}

#[test]
fn a_worker_that_is_sampled_answers_once_and_stops_when_the_chain_has_it() {
    let mut network = registered(940, 2);
    assert_eq!((said(&network, WORKER), said(&network, WORKER + 1)), (None, None), "nobody asks");
    let value = telling(&network);
    let first = open(&mut network, 7, value, EVERY_WORKER / 2);
    let beat = said(&network, WORKER).unwrap();
    let heartbeat = beat.heartbeat;
    assert_eq!((heartbeat.worker, heartbeat.era, heartbeat.period), (network.nodes[WORKER].id(), 1, 7));
    assert_eq!(heartbeat.genesis, network.chain.genesis());
    let verified = ed25519::verify(&heartbeat.worker.0, &heartbeat.signing_payload(), &beat.signature);
    assert!(verified.is_ok());
    // Of a block of the round, by the hash that the chain has.
    assert!(heartbeat.block >= first.opened);
    assert_eq!(heartbeat.block_hash, network.chain.blocks.header(heartbeat.block).hash().0);
    // Repeated as it is; the other worker, whom the value does not sample, and the gatekeeper say nothing.
    for _ in 0..3 {
        network.run(1);
        assert_eq!(said(&network, WORKER), Some(beat));
        assert_eq!((said(&network, WORKER + 1), said(&network, GATEKEEPER)), (None, None));
    }
    takes(&mut network, WORKER, &first);
    assert_eq!(said(&network, WORKER), None, "the chain has it");
    network.start(WORKER);
    network.run(3);
    assert_eq!(said(&network, WORKER), None, "also after a start");
    // Another round asks anew.
    let second = open(&mut network, 8, value, EVERY_WORKER);
    for index in [WORKER, WORKER + 1] {
        let beat = said(&network, index).unwrap().heartbeat;
        assert!(beat.period == 8 && beat.block >= second.opened);
    }
}

#[test]
fn an_unresponsive_worker_answers_every_round_and_nobody_one_that_is_over() {
    let mut network = registered(941, 2);
    let second = network.nodes[WORKER + 1].id();
    network.chain.stand_by_heartbeats(&second, &HeartbeatStanding { answered: None, misses: 3, unresponsive: true });
    open(&mut network, 7, 1, 0);
    assert_eq!(said(&network, WORKER), None, "nobody is sampled");
    assert_eq!(said(&network, WORKER + 1).map(|beat| beat.heartbeat.period), Some(7));
    // The window ends, and with it what was to be said.
    let over = HeartbeatRound { until: network.chain.number() + 3, ..round(&network, 8, 1, EVERY_WORKER) };
    network.chain.ask_heartbeats(&over);
    network.run(2);
    assert!(said(&network, WORKER).is_some());
    network.run(4);
    assert_eq!((said(&network, WORKER), said(&network, WORKER + 1)), (None, None), "no block takes it any more");
}

#[test]
fn nothing_is_answered_that_the_own_head_does_not_show() {
    let mut network = registered(942, 1);
    let id = network.nodes[WORKER].id();
    let keys = [storage::heartbeat_round_key(), storage::heartbeat_standing_key(&id)];
    let wanted = network.nodes[WORKER].tee().status().wanted_keys;
    assert!(keys.iter().all(|key| wanted.contains(key)));
    let wanted = network.nodes[GATEKEEPER].tee().status().wanted_keys;
    assert!(keys.iter().all(|key| !wanted.contains(key)), "no gatekeeper is asked");
    // A round in a state that no block has, alone and beside what the head does show.
    let opened = round(&network, 7, 1, EVERY_WORKER);
    let forged = TestChain::new(1, 3, [(keys[0].clone(), opened.encode())]);
    let read: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    for beside in [false, true] {
        let mut delivery = network.delivery(WORKER);
        if !beside {
            delivery.proof.clear();
        }
        delivery.proof.extend(forged.read_proof(0, &read));
        let refused = network.bring(WORKER, delivery).unwrap_err();
        assert!(matches!(refused, DeliveryError::Chain(_)) && refused.is_the_relayers(), "{refused}");
        assert_eq!(said(&network, WORKER), None);
    }
    // The same record, in a block: of the same worker it is answered.
    network.chain.ask_heartbeats(&opened);
    network.run(2);
    let beat = said(&network, WORKER).unwrap();
    // A relayer that hides how the worker stands changes nothing of what it says.
    takes(&mut network, WORKER, &opened);
    assert_eq!(said(&network, WORKER), None);
    let again = round(&network, 8, 2, EVERY_WORKER);
    network.chain.ask_heartbeats(&again);
    network.chain.next_block();
    let mut hiding = network.delivery(WORKER);
    let status = network.nodes[WORKER].tee().status();
    let shown: Vec<Vec<u8>> = status.wanted_keys.into_iter().filter(|key| *key != keys[1]).collect();
    hiding.proof = network.prove(&shown);
    network.bring(WORKER, hiding).unwrap();
    assert_eq!(said(&network, WORKER), None, "half of it is no fact");
    network.run(1);
    assert!(said(&network, WORKER).is_some_and(|other| other.heartbeat.period == 8 && other != beat));
}

#[test]
fn whoever_is_not_registered_is_silent() {
    let mut network = Network::new(943, 1);
    let asked = round(&network, 7, 1, EVERY_WORKER);
    network.chain.ask_heartbeats(&HeartbeatRound { until: asked.opened + 90, ..asked });
    let mut before = 0;
    network.run_until(|network| {
        let known = network.nodes[WORKER].tee().registration().is_some();
        assert_eq!(said(network, WORKER).is_some(), known);
        before += usize::from(!known);
        known
    });
    assert!(before > 1, "it was silent for a while");
}
