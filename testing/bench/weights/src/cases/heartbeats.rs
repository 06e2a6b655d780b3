//! Heartbeats: answers to a round, and rounds that workers with measurements of their own have missed.

use crate::{
    case::{number, Case, Scene, Work},
    world::{self, BLOCK, ERA, GENESIS},
};
use anyhow::Result;
use frame_support::traits::Hooks;
use phala_pallet_beacon::{Latest, Values};
use phala_pallet_heartbeats::{Call, Round, Search, SearchPlace, Standings, WeightInfo};
use phala_protocol::{
    attestation::Role,
    beacon::{BeaconPartial, BeaconValue, MadeBeacon},
    heartbeat::{Heartbeat, HeartbeatPolicy, HeartbeatRound, HeartbeatStanding, SignedHeartbeat, EVERY_WORKER},
};
use phala_runtime::{Heartbeats, Runtime, RuntimeCall};

/// The round's period.
const PERIOD: u32 = 5;
/// Partials of a value of a hundred holders.
const PARTIALS: usize = 67;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("heartbeats", "refuse", |_| <() as WeightInfo>::refuse()).at("an unknown block", &[], unknown_block),
        Case::new("heartbeats", "submit_heartbeat", |_| <() as WeightInfo>::submit_heartbeat())
            .at("of a worker that was unresponsive", &[], answer)
            .at("with another's signature", &[], forged),
        Case::new("heartbeats", "set_policy", |_| <() as WeightInfo>::set_policy()).at("a policy", &[], set_policy),
        Case::new("heartbeats", "open", |_| <() as WeightInfo>::open()).at("by a value of 100 holders", &[], open),
        Case::new("heartbeats", "look", |at| <() as WeightInfo>::look(number(at, 0))).at("one", &[1], look).at(
            "8",
            &[8],
            look,
        ),
    ]
}

/// A round that asks everybody, and takes answers up to this block.
fn round(until: u32) -> HeartbeatRound {
    let (era, period, rate) = (ERA, PERIOD, EVERY_WORKER);
    HeartbeatRound { era, period, value: [6; 32], rate, opened: BLOCK - 50, until, patience: 3 }
}

/// Worker 1 is asked, and was unresponsive; what it answers.
fn asked() -> Result<Heartbeat> {
    let worker = world::register(1, Role::Worker)?;
    Round::<Runtime>::put(round(BLOCK + 5));
    Search::<Runtime>::put(SearchPlace::Workers(None));
    Standings::<Runtime>::insert(worker, HeartbeatStanding { answered: None, misses: 3, unresponsive: true });
    let (block, block_hash) = (BLOCK - 1, world::bytes(0x60, BLOCK - 1));
    Ok(Heartbeat { genesis: GENESIS, worker, era: ERA, period: PERIOD, block, block_hash })
}

fn submit(heartbeat: Heartbeat, signer: u32) -> RuntimeCall {
    let signature = world::sign(signer, &heartbeat.signing_payload());
    RuntimeCall::Heartbeats(Call::submit_heartbeat { heartbeat: SignedHeartbeat { heartbeat, signature } })
}

fn unknown_block(_: &[u32]) -> Result<Scene> {
    let heartbeat = Heartbeat { block_hash: [1; 32], ..asked()? };
    Ok(Scene { at: vec![], work: Work::Refused(submit(heartbeat, 1), "UnknownBlock") })
}

fn answer(_: &[u32]) -> Result<Scene> {
    Ok(Scene { at: vec![], work: Work::Call(submit(asked()?, 1)) })
}

fn forged(_: &[u32]) -> Result<Scene> {
    Ok(Scene { at: vec![], work: Work::Refused(submit(asked()?, 2), "BadSignature") })
}

fn set_policy(_: &[u32]) -> Result<Scene> {
    let policy = HeartbeatPolicy { rate: EVERY_WORKER, window: 100, patience: 3 };
    Ok(Scene { at: vec![], work: Work::Root(RuntimeCall::Heartbeats(Call::set_policy { policy })) })
}

fn open(_: &[u32]) -> Result<Scene> {
    let partial = BeaconPartial { index: 1, point: [1; 32], proof: [1; 64] };
    let proof = BeaconValue { era: ERA, period: PERIOD, partials: vec![partial; PARTIALS] };
    Values::<Runtime>::insert((ERA, PERIOD), MadeBeacon { opened: BLOCK - 5, made: BLOCK, value: [6; 32], proof });
    Latest::<Runtime>::put((ERA, PERIOD));
    Round::<Runtime>::put(HeartbeatRound { period: PERIOD - 1, ..round(BLOCK - 10) });
    let hook = <Heartbeats as Hooks<u32>>::on_initialize;
    let done = || Round::<Runtime>::get().is_some_and(|round| round.period == PERIOD);
    Ok(Scene { at: vec![], work: Work::Block { hook, done } })
}

/// `[registrations]`: of workers that have missed the round, and too many with it.
fn look(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    for number in 0..number(size, 0) {
        let worker = world::register(number, Role::Worker)?;
        Standings::<Runtime>::insert(worker, HeartbeatStanding { answered: None, misses: 2, unresponsive: false });
    }
    Round::<Runtime>::put(round(BLOCK));
    Search::<Runtime>::put(SearchPlace::Workers(None));
    let hook = <Heartbeats as Hooks<u32>>::on_initialize;
    let done = || {
        let all = Standings::<Runtime>::iter_values().collect::<Vec<_>>();
        !all.is_empty() && all.iter().all(|standing| standing.unresponsive)
    };
    Ok(Scene { at: size.to_vec(), work: Work::Block { hook, done } })
}
