//! Parts that are wrong, states that are not the chain's, and whoever has no keys: all are refused, and the next good one is taken.

use super::{fault, taking, Scene, GONE, NEW, OLD, STAYS};
use crate::{
    network::GATEKEEPER,
    sealed::{insecure_part, part_opens},
};
use codec::Encode;
use phala_core::{SnapshotFault, SnapshotRefusal};
use phala_crypto::Secret;
use phala_protocol::{
    relay::Outgoing,
    result::Boundary,
    snapshot::{SnapshotHeader, SnapshotPart, SNAPSHOT_PART_BYTES},
    ClusterId, Epoch,
};

/// Seals a stream of one part of the length that all have.
fn whole_part(header: SnapshotHeader, storage: &Secret<[u8; 32]>, stream: &[u8]) -> SnapshotPart {
    insecure_part(header, storage, stream, SNAPSHOT_PART_BYTES)
}

#[test]
fn a_wrong_part_is_refused_without_harm_and_the_right_one_is_taken() {
    let mut scene = Scene::new(204);
    scene.next_epoch();
    scene.grow(3);
    scene.assign();
    let parts = scene.snapshot(OLD);
    assert!(parts.len() >= 3 && parts.iter().rev().skip(1).all(|part| !part.last));
    let id = parts[0].header.id();
    let flipped = |part: &SnapshotPart| {
        let mut part = part.clone();
        part.sealed[1_000] ^= 1;
        part
    };
    let refused = |scene: &mut Scene, parts: &[SnapshotPart]| fault(scene.bring(NEW, parts));
    assert!(matches!(refused(&mut scene, &[flipped(&parts[0])]), SnapshotFault::Unauthentic(0)));
    assert!(matches!(refused(&mut scene, &parts[1..2]), SnapshotFault::OutOfOrder { given: 1, due: 0 }));
    assert_eq!(taking(&scene.network), None);

    scene.bring(NEW, &parts[..1]).unwrap();
    assert_eq!(taking(&scene.network), Some((id, 1)));
    let header = parts[1].header;
    let of = |header: SnapshotHeader| SnapshotPart { header, ..parts[1].clone() };
    let foreign = [
        of(SnapshotHeader { cluster: ClusterId(9), ..header }),
        of(SnapshotHeader { epoch: 1, ..header }),
        of(SnapshotHeader { epoch: 3, ..header }),
        of(SnapshotHeader { era: 1, ..header }),
    ];
    for part in foreign {
        assert!(matches!(refused(&mut scene, &[part]), SnapshotFault::NotOfTheEpoch));
    }
    let swapped = SnapshotPart { index: 1, ..parts[2].clone() };
    let cut = SnapshotPart { last: true, ..parts[1].clone() };
    let short = SnapshotPart { sealed: parts[1].sealed[1..].to_vec(), ..parts[1].clone() };
    for part in [flipped(&parts[1]), swapped, cut, short] {
        assert!(matches!(refused(&mut scene, &[part]), SnapshotFault::Unauthentic(1)));
    }
    assert!(matches!(refused(&mut scene, &parts[2..3]), SnapshotFault::OutOfOrder { given: 2, due: 1 }));
    let many = vec![parts[0].clone(); 9];
    assert!(matches!(refused(&mut scene, &many), SnapshotFault::TooMany(9)));
    // Another snapshot's first part begins anew only if it opens.
    let other = SnapshotPart { header: SnapshotHeader { salt: [1; 32], ..header }, ..parts[0].clone() };
    assert!(matches!(refused(&mut scene, &[other]), SnapshotFault::Unauthentic(0)));
    assert_eq!(taking(&scene.network), Some((id, 1)), "nothing of it was lost");

    // Brought again, as relayers do, and then without the last one: it waits.
    scene.bring(NEW, &parts[..2]).unwrap();
    scene.network.run(2);
    assert_eq!((taking(&scene.network), scene.taken_over().len()), (Some((id, 2)), 0));
    // A second snapshot takes the place of the first.
    let second = scene.snapshot(STAYS);
    scene.bring(NEW, &second[..1]).unwrap();
    assert_eq!(taking(&scene.network), Some((second[0].header.id(), 1)));
    scene.bring(NEW, &second[1..]).unwrap();
    scene.network.deliver(NEW).unwrap();
    assert_eq!(scene.taken_over().len(), 1);
    // What comes late is no fault.
    scene.bring(NEW, &parts[2..]).unwrap();
    scene.goes_on();
}

#[test]
fn a_state_that_is_not_the_chains_final_one_is_refused_and_the_true_one_is_taken() {
    let mut scene = Scene::new(205);
    scene.write();
    scene.next_epoch();
    scene.assign();
    let parts = scene.snapshot(OLD);
    let (header, storage) = (parts[0].header, scene.insecure_storage_key(2));
    assert!(part_opens(&parts[0], &storage) && parts[0].last);
    let refused = |scene: &mut Scene, header: SnapshotHeader, stream: &[u8]| {
        scene.bring(NEW, &[whole_part(header, &scene.insecure_storage_key(2), stream)]).unwrap();
        let refused = fault(scene.network.deliver(NEW));
        assert_eq!(taking(&scene.network), None, "all of it is thrown away");
        refused
    };
    let salted = |salt: u8| SnapshotHeader { salt: [salt; 32], ..header };
    let nothing = (1u8, (0u64, 0u64), (0u64, 0u64), 0u64, 0u64).encode();
    let block = header.boundary.block;
    let other = refused(&mut scene, salted(1), &nothing);
    assert!(matches!(other, SnapshotFault::OtherState(at) if at == block));
    let entry = ([5u8; 32], b"balance".to_vec(), b"all of it".to_vec());
    let invented = ((1u8, (0u64, 0u64), (0u64, 0u64), 1u64), entry, 0u64).encode();
    assert!(matches!(refused(&mut scene, salted(2), &invented), SnapshotFault::OtherState(at) if at == block));
    // Of boundaries that the chain does not have, or has otherwise, or has of another epoch.
    let first = scene.network.chain.finals.values().next().unwrap().result.boundary;
    assert!(first.block < block);
    for boundary in [
        Boundary { link: [3; 32], ..header.boundary },
        Boundary { block: block - 1, ..header.boundary },
        Boundary { count: header.boundary.count - 1, ..header.boundary },
        first,
    ] {
        let refused = refused(&mut scene, SnapshotHeader { boundary, ..salted(3) }, &nothing);
        assert!(matches!(refused, SnapshotFault::NotFinal(at) if at == boundary.block), "{refused:?}");
    }
    // The last one before the epoch is bound to it, but not this state.
    let last = scene.network.chain.finals.values().nth(1).unwrap().result;
    assert_eq!((last.epoch, last.boundary.count), (1, first.count + 1));
    let quiet = SnapshotHeader { boundary: last.boundary, ..salted(5) };
    let fault_of_state = refused(&mut scene, quiet, &invented);
    assert!(matches!(fault_of_state, SnapshotFault::OtherState(at) if at == last.boundary.block), "{fault_of_state:?}");
    // No stream at all is found out at once.
    let part = whole_part(salted(4), &storage, b"\x01");
    assert!(matches!(fault(scene.bring(NEW, &[part])), SnapshotFault::Malformed));
    assert!(scene.taken_over().is_empty());
    scene.take_over(&parts);
    scene.goes_on();
}

#[test]
fn whoever_is_no_replica_of_the_epoch_opens_no_snapshot_of_it() {
    let mut scene = Scene::assigned(211);
    let second = scene.snapshot(OLD);
    scene.take_over(&second);
    scene.next_epoch();
    let third = scene.snapshot(OLD);
    assert_eq!((second[0].header.epoch, third[0].header.epoch), (2, 3));
    let opens = |part: &SnapshotPart, epoch: Epoch| part_opens(part, &scene.insecure_storage_key(epoch));
    assert!(opens(&second[0], 2) && opens(&third[0], 3), "its own epoch's key does");
    assert!(!opens(&third[0], 2) && !opens(&third[0], 1) && !opens(&second[0], 1) && !opens(&second[0], 3));

    // Who lost its place is given no keys, asks for none, and takes nothing of what it is brought.
    for parts in [&second, &third] {
        scene.bring(GONE, parts).unwrap();
    }
    scene.network.run(2);
    let tee = scene.network.nodes[GONE].tee.as_mut().unwrap();
    assert_eq!(tee.status().snapshot, None);
    assert!(!tee.status().outgoing.iter().any(|item| matches!(item, Outgoing::AskKeys(_))));
    assert!(matches!(tee.begin_snapshot(), Err(SnapshotRefusal::NoState)));
    assert!(!scene.network.nodes[GONE].machine.folder().join("cluster-0.fresh").exists());
    let gatekeeper = scene.network.nodes[GATEKEEPER].tee.as_mut().unwrap();
    assert!(matches!(gatekeeper.begin_snapshot(), Err(SnapshotRefusal::NotAWorker)));
}
