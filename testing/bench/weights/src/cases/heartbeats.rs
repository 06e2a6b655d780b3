//! Heartbeats: answers to a round, rounds that workers with measurements of their own have missed, and standings of workers that are gone.

use crate::{
    case::{number, Case, Scene, Work},
    world::{self, BLOCK, ERA, GENESIS},
};
use anyhow::Result;
use frame_support::traits::Hooks;
use phala_pallet_attestation::Workers;
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
            .at("of a worker that is sampled", &[], answer)
            .at("of a worker that was unresponsive", &[], come_back)
            .at("with another's signature", &[], forged),
        Case::new("heartbeats", "set_policy", |_| <() as WeightInfo>::set_policy()).at("a policy", &[], set_policy),
        Case::new("heartbeats", "open", |_| <() as WeightInfo>::open()).at("by a value of 100 holders", &[], open),
        Case::new("heartbeats", "look", |at| <() as WeightInfo>::look(number(at, 0)))
            .at("one that has missed the round", &[1], look)
            .at("8 that have missed the round", &[8], look)
            .at("8 that are new", &[8], excuse)
            .at("8 that are gone", &[8], forget),
    ]
}

/// A round that asks everybody, and takes answers up to this block.
fn round(until: u32) -> HeartbeatRound {
    let (era, period, rate) = (ERA, PERIOD, EVERY_WORKER);
    HeartbeatRound { era, period, value: [6; 32], rate, opened: BLOCK - 50, until, patience: 3 }
}

/// How a worker stands that answered once and missed two rounds since: what a round asks of it follows from the round's value.
const SAMPLED: HeartbeatStanding =
    HeartbeatStanding { answered: Some((ERA, PERIOD - 3)), misses: 2, unresponsive: false };

/// Worker 1 stands so, and is asked; what it answers.
fn asked(standing: HeartbeatStanding) -> Result<Heartbeat> {
    let worker = world::register(1, Role::Worker)?;
    Round::<Runtime>::put(round(BLOCK + 5));
    Search::<Runtime>::put(SearchPlace::Workers(None));
    Standings::<Runtime>::insert(worker, standing);
    let (block, block_hash) = (BLOCK - 1, world::bytes(0x60, BLOCK - 1));
    Ok(Heartbeat { genesis: GENESIS, worker, era: ERA, period: PERIOD, block, block_hash })
}

fn submit(heartbeat: Heartbeat, signer: u32) -> RuntimeCall {
    let signature = world::sign(signer, &heartbeat.signing_payload());
    RuntimeCall::Heartbeats(Call::submit_heartbeat { heartbeat: SignedHeartbeat { heartbeat, signature } })
}

fn unknown_block(_: &[u32]) -> Result<Scene> {
    let heartbeat = Heartbeat { block_hash: [1; 32], ..asked(SAMPLED)? };
    Ok(Scene { at: vec![], work: Work::Refused(submit(heartbeat, 1), "UnknownBlock") })
}

fn answer(_: &[u32]) -> Result<Scene> {
    Ok(Scene { at: vec![], work: Work::Call(submit(asked(SAMPLED)?, 1)) })
}

fn come_back(_: &[u32]) -> Result<Scene> {
    let standing = HeartbeatStanding { misses: 3, unresponsive: true, ..SAMPLED };
    Ok(Scene { at: vec![], work: Work::Call(submit(asked(standing)?, 1)) })
}

fn forged(_: &[u32]) -> Result<Scene> {
    Ok(Scene { at: vec![], work: Work::Refused(submit(asked(SAMPLED)?, 2), "BadSignature") })
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
        Standings::<Runtime>::insert(worker, SAMPLED);
    }
    let done = || {
        let all = Standings::<Runtime>::iter_values().collect::<Vec<_>>();
        !all.is_empty() && all.iter().all(|standing| standing.unresponsive)
    };
    search(size, SearchPlace::Workers(None), done)
}

/// `[registrations]`: of workers that attested behind the window and were never asked before.
fn excuse(size: &[u32]) -> Result<Scene> {
    world::strict()?;
    for number in 0..number(size, 0) {
        let worker = world::register(number, Role::Worker)?;
        Workers::<Runtime>::mutate(worker, |known| {
            if let Some(known) = known {
                known.registered_at = BLOCK + 1;
            }
        });
    }
    let done = || {
        let all = Standings::<Runtime>::iter_values().collect::<Vec<_>>();
        !all.is_empty() && all.iter().all(|standing| *standing == HeartbeatStanding::default())
    };
    search(size, SearchPlace::Workers(None), done)
}

/// `[standings]`: of workers that are registered no longer.
fn forget(size: &[u32]) -> Result<Scene> {
    (0..number(size, 0)).for_each(|number| Standings::<Runtime>::insert(world::id(number), SAMPLED));
    search(size, SearchPlace::Standings(None), || Standings::<Runtime>::iter_keys().next().is_none())
}

/// The window is over, and the search goes on here.
fn search(size: &[u32], place: SearchPlace, done: fn() -> bool) -> Result<Scene> {
    Round::<Runtime>::put(round(BLOCK));
    Search::<Runtime>::put(place);
    let hook = <Heartbeats as Hooks<u32>>::on_initialize;
    Ok(Scene { at: size.to_vec(), work: Work::Block { hook, done } })
}
