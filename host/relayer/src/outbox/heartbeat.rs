//! Workers' heartbeats: submitted while the chain asks for them.
//!
//! One is free when it is taken, and costs a fee when the chain has it already or its window is over. So the newest block is asked first
//! whether its successor would take it. Each worker has its own, so that relayers take no turns. The node can lie, which costs its own user a
//! fee, or the worker a round.

use phala_client::{
    chain::{Chain, ChainCall, HeadRef},
    ClientError,
};
use phala_protocol::{
    heartbeat::{Heartbeat, HeartbeatRound, HeartbeatStanding, SignedHeartbeat},
    ids::BlockNumber,
    storage,
};

/// The call for a heartbeat, if the newest block asks for it.
pub(super) async fn call(chain: &Chain, signed: &SignedHeartbeat) -> Result<Option<ChainCall>, ClientError> {
    let HeadRef { number, hash } = chain.best_head().await?;
    let at = Some(&hash);
    let round: Option<HeartbeatRound> = chain.storage(&storage::heartbeat_round_key(), at).await?;
    let key = storage::heartbeat_standing_key(&signed.heartbeat.worker);
    let standing: Option<HeartbeatStanding> = chain.storage(&key, at).await?;
    let asked = is_asked_for(&signed.heartbeat, number, round.as_ref(), &standing.unwrap_or_default());
    Ok(asked.then(|| ChainCall::submit_heartbeat(signed)))
}

/// Whether the block after `now` takes it, by what that one's state says.
fn is_asked_for(
    heartbeat: &Heartbeat,
    now: BlockNumber,
    round: Option<&HeartbeatRound>,
    standing: &HeartbeatStanding,
) -> bool {
    round.is_some_and(|round| {
        let of_it = (heartbeat.era, heartbeat.period) == (round.era, round.period);
        of_it && now < round.until && round.asks(&heartbeat.worker, standing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_protocol::{heartbeat::EVERY_WORKER, WorkerId};

    const ROUND: HeartbeatRound =
        HeartbeatRound { era: 2, period: 7, value: [1; 32], rate: EVERY_WORKER, opened: 10, until: 20, patience: 3 };
    const SAID: Heartbeat =
        Heartbeat { genesis: [3; 32], worker: WorkerId([4; 32]), era: 2, period: 7, block: 11, block_hash: [5; 32] };

    #[test]
    fn a_heartbeat_is_submitted_while_the_chain_asks_for_it_and_not_after() {
        let none = HeartbeatStanding::default();
        let asked = |now, standing: &HeartbeatStanding| is_asked_for(&SAID, now, Some(&ROUND), standing);
        assert!(asked(12, &none) && asked(19, &none));
        assert!(!asked(20, &none), "the next block is behind the window");
        assert!(!is_asked_for(&SAID, 12, None, &none));
        let answered = |period| HeartbeatStanding { answered: Some((2, period)), ..none };
        assert!(!asked(12, &answered(7)) && asked(12, &answered(6)));
        for (era, period) in [(2, 8), (2, 6), (1, 7)] {
            let other = HeartbeatRound { era, period, ..ROUND };
            assert!(!is_asked_for(&SAID, 12, Some(&other), &none), "another round");
        }
        let nobody = HeartbeatRound { rate: 0, ..ROUND };
        assert!(!is_asked_for(&SAID, 12, Some(&nobody), &none));
        let unresponsive = HeartbeatStanding { unresponsive: true, misses: 3, ..none };
        assert!(is_asked_for(&SAID, 12, Some(&nobody), &unresponsive));
    }
}
