//! Workers' signs of life, on a network whose gatekeepers make values of the beacon.

use crate::gatekeepers::Story;
use phala_e2e::wait_until;
use phala_protocol::{
    chain_state::ClusterRecord,
    heartbeat::{HeartbeatRound, HeartbeatStanding},
    storage, ClusterId,
};
use std::time::Duration;

/// For a value, and for a worker to answer it: some periods of ten seconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(90);

/// The chain has a sign of life that the beacon asked a worker for, of a period whose value the seats made.
pub fn a_worker_answers(story: &Story) {
    let replicas = story.chain.read::<ClusterRecord>(&storage::cluster_key(ClusterId(0))).unwrap().replicas;
    wait_until("a worker's heartbeat to stand on chain", ANSWERED_WITHIN, || {
        let standings = replicas.iter().map(storage::heartbeat_standing_key);
        let mut known = standings.filter_map(|key| story.chain.read::<HeartbeatStanding>(&key));
        known.any(|standing| standing.answered.is_some())
    });
    assert!(story.chain.read::<HeartbeatRound>(&storage::heartbeat_round_key()).is_some());
}
