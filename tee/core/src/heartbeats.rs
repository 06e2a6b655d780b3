//! A worker's signs of life, when the beacon samples it.
//!
//! Guarantees: a heartbeat is signed for the round that this worker's own finalised head shows, if that round asks it by the value in it and
//! by how the worker stands there, and for nothing else; one is made a round, and repeated until a head shows that the chain has it or that
//! the window is over. It names the head by which it was made. The host decides which heads arrive and when: it can keep a worker from
//! answering, as it can by turning it off, and make it sign for a round that is long over, which the chain does not take.

use crate::{
    chain::{Chain, ChainError, Records, Shown},
    identity::Identity,
};
use phala_protocol::{
    heartbeat::{Heartbeat, HeartbeatRound, HeartbeatStanding, SignedHeartbeat},
    relay::Outgoing,
    storage, WorkerId,
};

/// The worker's part in heartbeats.
#[derive(Default)]
pub(crate) struct Heartbeats {
    /// The newest one.
    made: Option<SignedHeartbeat>,
    /// Whether the chain lacks it.
    lacks: bool,
}

impl Heartbeats {
    /// What has to be proved.
    pub(crate) fn wanted_keys(worker: &WorkerId) -> [Vec<u8>; 2] {
        [storage::heartbeat_round_key(), storage::heartbeat_standing_key(worker)]
    }

    /// Answers what the head's records ask of this worker. Only together are they a fact.
    pub(crate) fn observe(
        &mut self,
        records: &Records<'_>,
        chain: &Chain,
        identity: &Identity,
    ) -> Result<(), ChainError> {
        let worker = identity.id();
        let round = records.get::<HeartbeatRound>(&storage::heartbeat_round_key())?;
        let standing = records.get::<HeartbeatStanding>(&storage::heartbeat_standing_key(&worker))?;
        if round == Shown::Nothing || standing == Shown::Nothing {
            return Ok(());
        }
        let (block, block_hash) = chain.head();
        let standing = standing.value().unwrap_or_default();
        // An answer is in a later block than the head at the earliest.
        let asks = |round: &HeartbeatRound| block < round.until && round.asks(&worker, &standing);
        let asking = round.value().filter(asks);
        self.lacks = asking.is_some();
        if let Some(HeartbeatRound { era, period, .. }) = asking {
            let is_of_it = |made: &SignedHeartbeat| (made.heartbeat.era, made.heartbeat.period) == (era, period);
            if !self.made.as_ref().is_some_and(is_of_it) {
                let heartbeat = Heartbeat { genesis: *chain.genesis(), worker, era, period, block, block_hash };
                let signature = identity.sign(&heartbeat.signing_payload());
                self.made = Some(SignedHeartbeat { heartbeat, signature });
            }
        }
        Ok(())
    }

    /// What the chain is to be told, until a later head shows that it knows.
    pub(crate) fn outgoing(&self) -> Option<Outgoing> {
        self.made.filter(|_| self.lacks).map(Outgoing::Heartbeat)
    }
}
