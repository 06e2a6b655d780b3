//! The beacon as gatekeepers see it: the key that a ceremony made beside the root, and the periods that the chain opens.
//!
//! The chain's part - what it awaits, what is due - is written by hand; `phala-pallet-beacon` has the rules.

use super::{count, play::Play, seats};
use phala_core::{DeliveryError, Notice, SeatHealth};
use phala_crypto::beacon::{verify_beacon, verify_beacon_record, VerifiedBeaconRecord};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    beacon::{AwaitedBeacon, BeaconRecord, DueBeacon, Period},
    chain_state::RootRecord,
    relay::Outgoing,
    storage,
};
use std::collections::BTreeSet;

/// Four gatekeepers whose root of an era is recorded.
fn recorded(seed: u64, era: u32) -> (Play, RootRecord, AwaitedBeacon) {
    let mut play = Play::new(seed, false);
    play.start(era);
    let root = play.make_root();
    let awaited = play.made_beacon.unwrap();
    play.record(Some(root.clone()), None);
    play.run(2);
    (play, root, awaited)
}

fn due(era: u32, period: Period, present: &[u16]) -> Option<DueBeacon> {
    Some(DueBeacon { era, period, present: present.to_vec() })
}

/// The key that a gatekeeper has for the chain now.
fn shown(play: &Play, index: usize) -> Option<BeaconRecord> {
    let outgoing = play.nodes[index].tee().status().outgoing;
    outgoing.into_iter().find_map(|item| match item {
        Outgoing::BeaconKey(record) => Some(record),
        _ => None,
    })
}

/// Opens a period, or none, and tells who evaluated what once all gatekeepers have seen that.
fn evaluated(play: &mut Play, due: Option<DueBeacon>) -> BTreeSet<(u32, Period, u16)> {
    play.due(due);
    play.run(1);
    play.partials.clear();
    play.run(2);
    play.partials.iter().map(|(era, period, partial)| (*era, *period, partial.index)).collect()
}

fn genesis(play: &Play) -> phala_protocol::Hash {
    play.nodes[0].tee().genesis()
}

fn verified(play: &mut Play, awaited: AwaitedBeacon) -> VerifiedBeaconRecord {
    play.await_beacon(Some(awaited));
    play.run(2);
    let record = shown(play, 0).unwrap();
    play.await_beacon(None);
    play.run(2);
    verify_beacon_record(&genesis(play), &record).unwrap()
}

#[test]
fn the_key_that_the_chain_awaits_is_shown_by_each_holder_until_it_is_taken() {
    let mut play = Play::new(910, false);
    play.start(1);
    play.make_root();
    let awaited = play.made_beacon.unwrap();
    play.run(2);
    assert!(play.beacon_keys.is_empty(), "nobody awaits it");
    play.await_beacon(Some(awaited));
    play.run(2);
    let record = shown(&play, 0).unwrap();
    assert_eq!((record.hash(), record.era, record.threshold), (awaited.hash, 1, 3));
    assert_eq!(record.holders.iter().map(|holder| holder.index).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(verify_beacon_record(&genesis(&play), &record).is_ok());
    play.restart(1);
    for _ in 0..3 {
        play.run(1);
        assert!((0..4).all(|index| shown(&play, index).as_ref() == Some(&record)), "repeated, after a start too");
    }
    for other in [AwaitedBeacon { hash: [9; 32], ..awaited }, AwaitedBeacon { era: 2, ..awaited }] {
        play.await_beacon(Some(other));
        play.run(2);
        assert!((0..4).all(|index| shown(&play, index).is_none()), "of another key they have nothing");
    }
    play.await_beacon(Some(awaited));
    play.run(2);
    assert!((0..4).all(|index| shown(&play, index).is_some()));
    play.await_beacon(None);
    play.run(2);
    assert!((0..4).all(|index| shown(&play, index).is_none()), "it is taken");
}

#[test]
fn a_period_is_evaluated_when_it_is_due_and_no_other_is() {
    let (mut play, _, awaited) = recorded(911, 1);
    let record = verified(&mut play, awaited);
    assert!(play.partials.is_empty(), "nothing is due");
    let all = |period| (1..=4).map(|index| (1, period, index)).collect::<BTreeSet<_>>();
    assert_eq!(evaluated(&mut play, due(1, 0, &[])), all(0));
    let first = play.partials.clone();
    assert!(first.len() >= 8, "each repeats its own");
    let proved: Vec<_> =
        first.iter().take(4).map(|(_, _, partial)| record.verify_partial(0, partial).unwrap()).collect();
    let value = |of: &[_]| *verify_beacon(&record, 0, &record.combine(0, of).unwrap()).unwrap().value();
    assert_eq!(value(&proved[..3]), value(&proved[1..]), "one value, whoever makes it");
    assert!(record.combine(0, &proved[..2]).is_err());
    for (position, (_, _, partial)) in first.iter().enumerate() {
        assert_eq!(*partial, first[position % 4].2, "made once, and said again");
        assert!(record.verify_partial(1, partial).is_err());
    }

    // Whose partial the chain has says no more; nobody does of what is over.
    assert_eq!(evaluated(&mut play, due(1, 0, &[1, 3])), BTreeSet::from([(1, 0, 2), (1, 0, 4)]));
    assert_eq!(evaluated(&mut play, due(1, 0, &[1, 2, 3, 4])), BTreeSet::new());
    assert_eq!(evaluated(&mut play, None), BTreeSet::new());
    assert_eq!(evaluated(&mut play, due(1, 7, &[])), all(7), "the next need not be the one after");
    // Of an era that these gatekeepers have no share of.
    assert_eq!(evaluated(&mut play, due(0, 8, &[])), BTreeSet::new());
    assert_eq!(evaluated(&mut play, due(2, 8, &[])), BTreeSet::new());

    // Whoever starts again goes on.
    assert_eq!(evaluated(&mut play, due(1, 9, &[])), all(9));
    let before = play.partials.iter().find(|(_, _, partial)| partial.index == 1).unwrap().2;
    play.restart(0);
    play.partials.clear();
    play.run(1);
    let after = play.partials.iter().find(|(_, _, partial)| partial.index == 1).unwrap();
    assert_eq!((after.0, after.1, after.2.point), (1, 9, before.point));
}

#[test]
fn nothing_is_evaluated_of_what_the_own_head_does_not_show() {
    let (mut play, _, _) = recorded(912, 1);
    let (key, opened) = (storage::beacon_due_key(), due(1, 5, &[]).unwrap());
    assert!(play.nodes[0].tee().status().wanted_keys.contains(&key));
    let said = |play: &Play| {
        let outgoing = play.nodes[0].tee().status().outgoing;
        outgoing.iter().any(|item| matches!(item, Outgoing::BeaconPartial { .. }))
    };
    // A state that no block has.
    let forged = TestChain::new(1, 3, [(key.clone(), codec::Encode::encode(&opened))]);
    let mut delivery = play.delivery(0);
    delivery.proof = forged.read_proof(0, &[key.as_slice()]);
    let refused = play.bring(0, delivery).unwrap_err();
    assert!(matches!(refused, DeliveryError::Chain(_)) && refused.is_the_relayers(), "{refused}");
    assert!(!said(&play));
    // The same beside what the head does show.
    let mut delivery = play.delivery(0);
    delivery.proof.extend(forged.read_proof(0, &[key.as_slice()]));
    assert!(matches!(play.bring(0, delivery), Err(DeliveryError::Chain(_))));
    assert!(!said(&play));

    // A block that is there and that this gatekeeper has no proof of finality of.
    play.run(1);
    play.due(Some(opened));
    play.next_block();
    let block = play.number() - 1;
    let mut early = play.proved(0, block);
    early.finality.clear();
    assert!(matches!(play.bring(0, early), Err(DeliveryError::Chain(_))));
    assert!(!said(&play), "its value would be known early");
    // What it says is over by the head that this gatekeeper has.
    play.due(None);
    play.next_block();
    play.deliver(0).unwrap();
    let mut late = play.proved(0, block);
    late.finality.clear();
    assert!(matches!(play.bring(0, late), Err(DeliveryError::Chain(_))));
    assert!(!said(&play) && play.partials.is_empty());
}

#[test]
fn nothing_is_evaluated_before_the_era_has_its_root_nor_after_it() {
    let mut play = Play::new(913, false);
    play.start(1);
    let root = play.make_root();
    assert_eq!(evaluated(&mut play, due(1, 0, &[])), BTreeSet::new(), "the root is not recorded");
    play.record(Some(root.clone()), None);
    assert_eq!(evaluated(&mut play, due(1, 1, &[])).len(), 4);
    let old = play.nodes[0].machine.disk();

    play.start(2);
    let next = play.make_root();
    assert_eq!(evaluated(&mut play, due(2, 0, &[])), BTreeSet::new());
    play.record(Some(root), Some(next.clone()));
    assert_eq!(evaluated(&mut play, due(1, 2, &[])).len(), 4, "clusters go over, and this era is not over");
    play.record(Some(next), None);
    assert_eq!(evaluated(&mut play, due(1, 3, &[])), BTreeSet::new(), "a chain that says so finds nobody");
    assert_eq!(count(&play, 0, &Notice::SeatRetired { era: 1 }), 1);
    assert_eq!(evaluated(&mut play, due(2, 1, &[])).len(), 4);
    // The disk of the former era brings the share back, and the head that it is shown takes it away before it is asked.
    play.due(due(1, 4, &[]));
    play.run(2);
    play.nodes[0].machine.rewind(old);
    play.restart(0);
    assert_eq!(seats(&play, 0), [SeatHealth { era: 1, recorded: false }]);
    play.partials.clear();
    play.run(2);
    assert!(seats(&play, 0).is_empty() && play.partials.is_empty());
}

#[test]
fn whoever_holds_no_share_of_a_beacon_key_is_shown_nothing_of_it() {
    // A lone seat is of no ceremony, and the other three have none.
    let mut play = Play::new(914, true);
    play.run_until(|play| play.roots.0.is_some());
    play.run(2);
    assert!(play.nodes[0].tee().has_seat());
    let keys = [storage::beacon_awaited_key(), storage::beacon_due_key()];
    for node in &play.nodes {
        let wanted = node.tee().status().wanted_keys;
        assert!(keys.iter().all(|key| !wanted.contains(key)));
    }
    play.await_beacon(Some(AwaitedBeacon { era: 0, hash: [1; 32] }));
    assert_eq!(evaluated(&mut play, due(0, 0, &[])), BTreeSet::new());
    assert!(play.beacon_keys.is_empty());
}
