//! That keys arrive while enough gatekeepers are honest, whatever the others say in their own name and in that of these.
//!
//! Guarantees: which answers are true is known from those who play the gatekeepers, and that keys are here from a TEE that asks for them no
//! more. Does not: look at the first era's gatekeeper, which is one TEE of the code that ships.

use super::{hold, Check};
use crate::{host::Outcome, world::World};
use codec::Encode;
use phala_protocol::{
    hash::blake2_256,
    keys::KeyRequest,
    relay::{Delivery, Outgoing},
    Epoch, Hash, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};

/// An era and an epoch.
type Of = (u32, Epoch);

/// What a TEE asks gatekeepers, by the hash that it signed.
fn asked(world: &World, index: usize) -> BTreeMap<Hash, KeyRequest> {
    let outgoing = world.hosts[index].tee.as_ref().map(|tee| tee.status().outgoing).unwrap_or_default();
    let asks = outgoing.into_iter().filter_map(|item| match item {
        Outgoing::AskKeys(inquiry) => Some(inquiry.request.request),
        _ => None,
    });
    asks.map(|request| (request.signing_payload(), request)).collect()
}

/// The epochs that a TEE asks for and a delivery brings to it whole: answers with all keys, of as many honest seats as give them, among
/// whatever else.
pub(crate) fn keys_brought(world: &World, index: usize, delivery: &Delivery) -> Vec<Of> {
    let asked = asked(world, index);
    let mut seats: BTreeMap<Of, BTreeSet<WorkerId>> = BTreeMap::new();
    for (payload, answer) in &delivery.answers {
        let Some(request) = asked.get(payload) else { continue };
        if world.honest.contains(&(*payload, blake2_256(&answer.encode()))) {
            seats.entry((request.era, request.epoch)).or_default().insert(request.gatekeeper);
        }
    }
    let needed = |era: u32| world.roots.iter().find(|root| root.era() == era).map(|root| root.threshold());
    let enough = seats.into_iter().filter(|((era, _), seats)| needed(*era).is_some_and(|needed| seats.len() >= needed));
    enough.map(|(of, _)| of).collect()
}

/// A worker that is brought the keys of an epoch by as many honest gatekeepers as give them has them, and asks nobody for them any more.
pub fn invariant_keys_arrive_while_t_seats_are_honest(world: &mut World, index: usize, brought: &[Of]) -> Check {
    // A machine that failed may have done so before it came to them.
    if brought.is_empty() || world.hosts[index].outcome != Outcome::Taken {
        return Ok(());
    }
    world.count("= keys of honest gatekeepers brought");
    let asks: BTreeSet<Of> = asked(world, index).values().map(|request| (request.era, request.epoch)).collect();
    let lacking = brought.iter().find(|of| asks.contains(of));
    hold(lacking.is_none(), "invariant_keys_arrive_while_t_seats_are_honest", || {
        let health = world.hosts[index].tee.as_ref().and_then(|tee| tee.cluster_health());
        format!("TEE {index} asks for (era, epoch) {lacking:?} still, though it was brought: {health:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::{Action, Scenario};

    /// A cluster under a root two of whose four seats lie, so that whoever starts anew asks in vain.
    #[test]
    fn whoever_lacks_keys_that_were_brought_is_found_and_whoever_waits_for_them_is_not() {
        let text = "seed 5\nworkers 1\nepoch 20\ntransfer 0 1 1\nnext_root 0\nsettle\nexpect_era 1\nlie 3 1\ncrash 1\n\
                    start 1\nround 6\nexpect_silent 1\n";
        let scenario: Scenario = text.parse().unwrap();
        let mut world = World::new(&scenario).unwrap();
        scenario.actions.iter().for_each(|action| world.act(action).unwrap());
        let asks: Vec<Of> = asked(&world, 1).values().map(|request| (request.era, request.epoch)).collect();
        let lacks = *asks.iter().max().expect("it asks");
        let check = |world: &mut World, of| invariant_keys_arrive_while_t_seats_are_honest(world, 1, &[of]);
        assert_eq!(world.hosts[1].outcome, Outcome::Taken);
        let found = check(&mut world, lacks).unwrap_err();
        assert_eq!(found.invariant, "invariant_keys_arrive_while_t_seats_are_honest");
        assert_eq!(check(&mut world, (lacks.0, lacks.1 + 9)), Ok(()));
        world.act(&Action::Settle {}).unwrap();
        assert_eq!(check(&mut world, lacks), Ok(()));
        let counted = |what: &str| world.counts.get(what).copied().unwrap_or_default();
        assert!(counted("= lies of gatekeepers") > 0 && counted("= keys of honest gatekeepers brought") > 0);
    }
}
