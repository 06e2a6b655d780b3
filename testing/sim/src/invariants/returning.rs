//! Who is left behind, who may return by a snapshot, and what has to hold for both.
//!
//! Guarantees: judged by the chain's records, by what was seen executed into a disk, and by what relayers and other TEEs hold; of the TEE
//! in question itself only that it says of a damaged disk that it lacks the state. Does not: hand anything on.

use super::{hold, Check, Violation};
use crate::{
    host::Outcome,
    majority::{self, Departure, Loss, Place},
    world::World,
};
use phala_protocol::{relay::Outgoing, snapshot::SnapshotStand, Epoch, Hash, WorkerId};

/// Whether a replica can never go on from its own state by the protocol's own rules: the next item it needs is of an epoch whose keys
/// nobody gets any more, its store is two epochs old, or its host damaged the disk.
fn is_left_behind(world: &World, index: usize) -> bool {
    let record = world.node.cluster_at(world.node.finalised());
    record.is_some_and(|record| was_left_behind(world, index, record.epoch, record.is_closing()))
}

/// The same at the time at which this epoch was open, with or without results of the one before to come.
fn was_left_behind(world: &World, index: usize, open: Epoch, closing: bool) -> bool {
    let host = &world.hosts[index];
    // By what was seen executed into its disk, not by what a process says that may be stuck before it opened its store.
    let next = world.node.items_to(world.node.finalised()).get(host.executed as usize);
    let epoch = next.and_then(|item| world.node.cluster_at(item.header.block)).map_or(open, |then| then.epoch);
    let passed = epoch + u32::from(closing) < open;
    let outdated = host.stored.is_some_and(|stored| stored.saturating_add(1) < open);
    outdated || passed || (host.damaged && (host.lacks || matches!(host.outcome, Outcome::Fault(_))))
}

pub(super) fn is_replica(world: &World, index: usize) -> bool {
    let id = world.hosts[index].tee.as_ref().map(|tee| tee.identity());
    let replicas = world.node.pallets.cluster.as_ref().map(|record| record.replicas.as_slice());
    id.is_some_and(|id| replicas.is_some_and(|replicas| replicas.contains(&id)))
}

pub(super) fn has_caught_up(world: &World, index: usize) -> bool {
    let total = world.node.items_to(world.node.finalised()).len() as u64;
    let health = world.hosts[index].tee.as_ref().and_then(|tee| tee.cluster_health());
    health.is_some_and(|health| health.executed == total && health.pending == 0 && health.serving)
}

/// Whether a damaged file opens, and fails later each time: nobody then says that the state is lacked, and nobody hands it on.
fn is_beyond_remedy(world: &World, index: usize) -> bool {
    let host = &world.hosts[index];
    host.damaged && !host.lacks && matches!(host.outcome, Outcome::Fault(_))
}

/// Whether replicas that are left behind get the state of others: relayers keep snapshots, and of the open epoch there is one, or a
/// replica that makes one, or a majority that goes on and will have something final in it.
fn may_return(world: &World) -> bool {
    let open = world.node.cluster_at(world.node.finalised()).map_or(0, |record| record.epoch);
    let has = |index: usize| {
        let stand = world.hosts[index].tee.as_ref().and_then(|tee| tee.status().snapshot);
        is_replica(world, index) && matches!(stand, Some(SnapshotStand::Has { epoch, .. }) if epoch == open)
    };
    let goes_on = || majority::has_majority(&behind(world));
    world.folders && (goes_on() || world.shelf.whole(open) > 0 || (1..world.hosts.len()).any(has))
}

/// Of each replica, whether it is left behind.
fn behind(world: &World) -> Vec<bool> {
    places(world).map(|index| is_left_behind(world, index)).collect()
}

/// The hosts of the replicas.
fn places(world: &World) -> impl Iterator<Item = usize> + '_ {
    let replicas = world.node.pallets.cluster.as_ref().map(|record| record.replicas.as_slice()).unwrap_or_default();
    replicas.iter().filter_map(move |id| host_of(world, id))
}

fn host_of(world: &World, id: &WorkerId) -> Option<usize> {
    (1..world.hosts.len()).find(|index| world.hosts[*index].identity == Some(*id))
}

/// The first replica that is left behind and gets the state of others, and has not got it.
fn waits(world: &World) -> Option<usize> {
    let waits = |index: &usize| {
        is_replica(world, *index)
            && !has_caught_up(world, *index)
            && is_left_behind(world, *index)
            && !is_beyond_remedy(world, *index)
    };
    (1..world.hosts.len()).find(waits).filter(|_| may_return(world))
}

/// Whether a replica is left behind that will return.
pub(crate) fn somebody_waits_for_a_state(world: &World) -> bool {
    waits(world).is_some()
}

/// Within the same bound a replica that is left behind, new or away for too long, has taken the state over from a snapshot and caught up:
/// wherever relayers keep any, and another replica or a relayer has the state of the open epoch.
pub fn invariant_whoever_lacks_the_state_gets_it(world: &World) -> Check {
    let waits = waits(world);
    hold(waits.is_none(), "invariant_whoever_lacks_the_state_gets_it", || {
        let stands = world.hosts.iter().map(|host| {
            let stand = host.tee.as_ref().and_then(|tee| tee.status().snapshot);
            format!("\n  {:?}, {} executed, {stand:?}", host.outcome, host.executed)
        });
        let record = world.node.cluster_at(world.node.finalised());
        let record = record.map(|record| (record.epoch, record.opened_count, record.final_count, record.bound_epoch));
        let stands: Vec<_> = stands.collect();
        format!("TEE {waits:?} waits; (epoch, opened, final, bound) {record:?}{}", stands.concat())
    })
}

/// A TEE that lacks the state of the open epoch signs nothing of that epoch that it had not signed before, and announces no next one.
pub fn invariant_whoever_lacks_the_state_signs_nothing(world: &World, open: Epoch, message: &Outgoing) -> Check {
    let signs = match message {
        Outgoing::Result(signed) => {
            let known = world.results.get(&signed.result.boundary.block);
            signed.result.epoch >= open && !known.is_some_and(|known| known.contains_key(&signed.worker))
        }
        Outgoing::Rekey(signed) => signed.rekey.epoch >= open,
        Outgoing::AnnounceKey { .. } => true,
        _ => false,
    };
    hold(!signs, "invariant_whoever_lacks_the_state_signs_nothing", || {
        format!("without the state of epoch {open}: {message:?}")
    })
}

/// A TEE refuses parts of a snapshot that were altered, and what it had taken of one stays.
pub(crate) fn invariant_altered_snapshots_are_refused(
    world: &World,
    index: usize,
    before: Option<(Hash, u32)>,
    after: Option<(Hash, u32)>,
) -> Check {
    let outcome = &world.hosts[index].outcome;
    hold(*outcome != Outcome::Taken && before == after, "invariant_altered_snapshots_are_refused", || {
        format!("TEE {index}: {outcome:?}, and {before:?} became {after:?}")
    })
}

/// Why the cluster lost its majority, if that is no defect.
fn lost_majority(world: &World) -> Option<Loss> {
    let replicas = world.node.pallets.cluster.as_ref().map(|record| record.replicas.as_slice()).unwrap_or_default();
    let returns = may_return(world);
    let now: Vec<_> = places(world)
        .map(|index| Place {
            left_behind: is_left_behind(world, index) && (!returns || is_beyond_remedy(world, index)),
            attacked: world.hosts[index].attacked,
        })
        .collect();
    // The one that made the set what it is: an abandoned block may have had another.
    let departure = world.departed.iter().rfind(|change| change.after == replicas).map(|change| {
        let behind = |id: &WorkerId| {
            let index = host_of(world, id)?;
            Some(was_left_behind(world, index, change.epoch, change.closing))
        };
        Departure {
            before: change.before.iter().filter_map(behind).collect(),
            after: change.after.iter().filter_map(behind).collect(),
        }
    });
    majority::lost(&now, departure.as_ref())
}

fn is_chain_settled(world: &World) -> bool {
    let total = world.node.items_to(world.node.finalised()).len() as u64;
    let Some(record) = world.node.cluster_at(world.node.finalised()) else { return false };
    record.epoch > 0
        && record.final_count == total
        && total == world.node.pallets.head.count
        && !record.is_closing()
        && !world.node.pallets.hands_over()
        && world.node.finalised() < record.next_epoch_due().saturating_add(4)
}

/// Whether everything is answered, and every replica that can go on, or return, has.
pub(crate) fn is_settled(world: &World) -> bool {
    let all = (1..world.hosts.len())
        .all(|index| !is_replica(world, index) || has_caught_up(world, index) || is_left_behind(world, index));
    all && is_chain_settled(world)
        && !somebody_waits_for_a_state(world)
        && world.node.items_to(world.node.finalised()).len() > 1
}

/// Within a bound after the last fault everything accepted is answered, epochs go on, and every replica that was not put out of
/// action by its host, or left behind where nobody hands it the state, has caught up and serves. A cluster may lose its majority as
/// `majority.rs` says.
pub fn invariant_liveness(world: &mut World) -> Check {
    for index in 1..world.hosts.len() {
        if is_replica(world, index) && !has_caught_up(world, index) && is_left_behind(world, index) {
            world.count("= replicas left behind");
        }
    }
    if is_settled(world) {
        return Ok(());
    }
    if let Some(loss) = lost_majority(world) {
        world.count(loss.name());
        return Ok(());
    }
    let hosts = world.hosts.iter().enumerate().map(|(index, host)| {
        let health = host.tee.as_ref().and_then(|tee| tee.cluster_health());
        format!("\n  TEE {index}: {:?}, {health:?}", host.outcome)
    });
    let record = world.node.cluster_at(world.node.finalised());
    let record = record.map(|record| (record.epoch, record.opened_count, record.final_count, record.bound_epoch));
    let (head, total) = (world.node.finalised(), world.node.pallets.head.count);
    Err(Violation::new(
        "invariant_liveness",
        format!(
            "block {head}, {total} items; (epoch, opened, final, bound) {record:?}{}",
            hosts.collect::<Vec<_>>().concat()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, Scenario};
    use phala_protocol::result::SignedResult;

    /// A network in which TEE 3 stays behind, since no relayer keeps a snapshot.
    fn left_behind() -> World {
        let text = include_str!("../../scenarios/nobody_keeps_a_snapshot.txt");
        let scenario: Scenario = text.parse().unwrap();
        let mut world = World::new(&scenario).unwrap();
        scenario.actions.iter().for_each(|action| world.act(action).unwrap());
        world
    }

    #[test]
    fn the_checks_of_snapshots_find_who_does_not_return_signs_too_early_or_takes_what_was_altered() {
        let mut world = left_behind();
        assert_eq!(invariant_whoever_lacks_the_state_gets_it(&world), Ok(()));
        // Where relayers keep snapshots the same is a defect.
        world.folders = true;
        let found = invariant_whoever_lacks_the_state_gets_it(&world).unwrap_err();
        assert_eq!(found.invariant, "invariant_whoever_lacks_the_state_gets_it");
        world.act(&Action::Settle {}).unwrap();
        assert_eq!(invariant_whoever_lacks_the_state_gets_it(&world), Ok(()));
        assert!(has_caught_up(&world, 3) && !world.hosts[3].lacks);

        let (block, signed) = world.results.last_key_value().unwrap();
        let (signer, result) = signed.first_key_value().unwrap();
        assert_eq!(*block, result.boundary.block);
        let message = |worker| Outgoing::Result(SignedResult { result: *result, worker, signature: [0; 64] });
        let check = |worker, open| invariant_whoever_lacks_the_state_signs_nothing(&world, open, &message(worker));
        assert_eq!(check(*signer, result.epoch), Ok(()), "it is said once more");
        assert_eq!(check(WorkerId([9; 32]), result.epoch + 1), Ok(()), "of an epoch before");
        let found = check(WorkerId([9; 32]), result.epoch).unwrap_err();
        assert_eq!(found.invariant, "invariant_whoever_lacks_the_state_signs_nothing");

        let altered = |world: &World, before, after| invariant_altered_snapshots_are_refused(world, 3, before, after);
        assert_eq!(world.hosts[3].outcome, Outcome::Taken);
        assert!(altered(&world, None, None).is_err());
        world.hosts[3].outcome = Outcome::Refused(String::new());
        assert_eq!(altered(&world, None, None), Ok(()));
        assert!(altered(&world, Some(([1; 32], 2)), None).is_err());
    }
}
