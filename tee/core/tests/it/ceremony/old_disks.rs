//! Old disks that a former set puts back under a chain that it makes up: what its gatekeepers' TEEs give then, and what that opens.
//!
//! Nobody breaks a TEE here. The former authorities hold their finality keys, on hosts, and each of them has a copy of its gatekeeper's
//! disk; TEEs follow finality and execute nothing, so that they believe what that chain says of workers and clusters. INSECURE: on a
//! development network; elsewhere the chain has to list the worker's measurement for a day of its blocks first, which costs its makers nothing.

use super::{
    play::{Asker, Play},
    seats,
};
use crate::{chain::CLUSTER, sealed::Sealed};
use phala_core::SeatHealth;
use phala_gatekeeper::Refusal;
use phala_protocol::{chain_state::RootRecord, keys::KeyPurpose, Epoch};
use std::collections::BTreeMap;
use tempfile::TempDir;

type Keys = BTreeMap<KeyPurpose, [u8; 32]>;
type Disk = BTreeMap<String, Vec<u8>>;

fn disks(play: &Play) -> Vec<Disk> {
    play.nodes.iter().map(|node| node.machine.disk()).collect()
}

/// All machines start from these disks.
fn put_back(play: &mut Play, disks: &[Disk]) {
    for (index, disk) in disks.iter().enumerate() {
        play.nodes[index].machine.rewind(disk.clone());
        play.restart(index);
    }
}

/// The cluster is this worker's, and its open epoch and the one before are of these eras.
fn assign(play: &mut Play, worker: &Asker, epoch: Epoch, eras: (u32, u32)) {
    play.cluster(worker, epoch, eras);
    play.run(2);
}

#[test]
fn old_disks_under_a_forged_continuation_of_their_era_open_that_era_and_nothing_after_the_hand_over() {
    let mut play = Play::new(910, false);
    let (genesis, folder) = (play.genesis(), TempDir::new().unwrap());
    let seal = |epoch: Epoch, keys: &Keys| {
        let store = folder.path().join(format!("{epoch}.redb"));
        Sealed::new(&genesis, CLUSTER, epoch, |purpose| keys[&purpose], store)
    };
    play.start(1);
    let first = play.make_root();
    play.record(Some(first.clone()), None);
    let worker = Asker::new(&mut play);
    assign(&mut play, &worker, 1, (1, 1));
    let of_first = play.keys(&worker, 1, 1).unwrap();
    let in_first = seal(1, &of_first);
    let (old, last) = (disks(&play), play.number() - 1);

    // The chain goes on: another root, to which the cluster goes over in its second epoch, and other authorities.
    play.start(2);
    let second = play.make_root();
    play.record(Some(first.clone()), Some(second.clone()));
    assign(&mut play, &worker, 1, (1, 1));
    let of_both = disks(&play);
    assign(&mut play, &worker, 2, (2, 1));
    let mut in_second = vec![seal(2, &play.keys(&worker, 2, 2).unwrap())];
    play.record(Some(second.clone()), None);
    play.replace_authorities();
    assign(&mut play, &worker, 3, (2, 2));
    in_second.push(seal(3, &play.keys(&worker, 2, 3).unwrap()));
    in_second.push(seal(4, &play.keys(&worker, 2, 4).unwrap()));
    for index in 0..play.nodes.len() {
        assert_eq!(seats(&play, index), [SeatHealth { era: 2, recorded: true }]);
    }

    // The former authorities make up another chain, on which their era never ended and the cluster is their worker's, with the old disks.
    play.fork(last);
    put_back(&mut play, &old);
    play.record(Some(first.clone()), None);
    let theirs = Asker::of(&mut play, 0x66);
    let mut given: BTreeMap<Epoch, Keys> = BTreeMap::new();
    for epoch in 1..=5 {
        assign(&mut play, &theirs, epoch, (1, 1));
        let keys = play.keys(&theirs, 1, epoch).unwrap();
        assert_eq!(keys.len(), KeyPurpose::ALL.len());
        given.insert(epoch, keys);
    }
    for index in 0..play.nodes.len() {
        assert_eq!(seats(&play, index), [SeatHealth { era: 1, recorded: true }]);
    }
    // Their era is theirs: t shares of it, whoever gathers them, open it. For all other epochs the same root gives keys that nothing is under.
    assert!(given[&1] == of_first && in_first.opens_by(|purpose| given[&1][&purpose]));
    for sealed in &in_second {
        for (named, keys) in &given {
            for (purpose, tried) in keys {
                let opened = sealed.opened(tried, true);
                assert!(opened.is_empty(), "{opened:?} of epoch {} by epoch {named}'s {purpose:?}", sealed.epoch);
            }
        }
    }

    // By the newer era's name they have nothing to give: neither under its root, nor under their own as if it were that.
    assert_eq!(second.era, 2);
    for root in [second.clone(), RootRecord { era: 2, ..first.clone() }] {
        play.record(Some(first.clone()), Some(root));
        assign(&mut play, &theirs, 3, (2, 1));
        for index in 0..play.nodes.len() {
            for epoch in [3, 4] {
                assert_eq!(play.ask(&theirs, index, 2, epoch), Err(Refusal::RootNotRecorded));
                assert_eq!(play.ask(&theirs, index, 1, epoch), Err(Refusal::WrongEra));
            }
        }
    }

    // Disks of the time when the seats of both eras were on them are the newer set's too, which opens its own era: so it is tried.
    play.record(Some(first), Some(second));
    play.next_block();
    put_back(&mut play, &of_both);
    assign(&mut play, &theirs, 3, (2, 1));
    let keys = play.keys(&theirs, 2, 3).unwrap();
    assert!(in_second[1].epoch == 3 && in_second[1].opens_by(|purpose| keys[&purpose]));
}
