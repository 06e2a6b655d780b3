//! That what is looked at after each block would be seen if it were otherwise.

use phala_keys_sim::{
    chain::Chain,
    invariants::{
        t_minus_1_learn_nothing, what_is_said_gives_nothing_away, whoever_contradicts_itself_is_convicted, Answered,
        Holder, NAMES,
    },
    malice::sign,
    run,
    seating::Seating,
    shares::{Shares, ONE_KEY_PER_EPOCH},
    Members,
};
use phala_protocol::ceremony::{CeremonyRecord, Confirmed, SignedStatement, Statement};
use std::collections::{BTreeMap, BTreeSet};

/// Shares of keys that are said to have this threshold.
fn shares(threshold: u16, holders: &[Holder]) -> Shares {
    let mut shares = Shares::new(threshold.into());
    for holder in holders {
        shares.add(holder.clone()).unwrap();
        shares.try_next().unwrap();
    }
    shares
}

#[test]
fn every_set_of_shares_has_its_turn_and_one_that_gives_too_much_or_another_key_is_seen() {
    let members = Members::new(4);
    let ran = (900..930).map(|seed| run(&members, seed, 1, 4)).find(|ran| ran.holders.len() == 4).unwrap();
    let threshold = ran.root.unwrap().threshold;
    // Four sets of three and six of two: all of them, the smaller ones in every step.
    assert_eq!(shares(threshold, &ran.holders).try_all(), Ok(12));
    // Were one fewer said to be enough, two sets of them would have two keys.
    let mut lower = Shares::new(usize::from(threshold) - 1);
    let added: Result<(), _> = ran.holders.iter().try_for_each(|holder| lower.add(holder.clone()));
    assert_eq!(added, Ok(()));
    assert_eq!(lower.try_all().unwrap_err().invariant, NAMES[1]);
    // Were one more needed, fewer would have the key.
    let mut higher = Shares::new(usize::from(threshold) + 1);
    let added: Result<(), _> = ran.holders.iter().try_for_each(|holder| higher.add(holder.clone()));
    assert_eq!(added, Ok(()));
    assert_eq!(higher.try_all().unwrap_err().invariant, NAMES[0]);
    // And a seat with another list is none of these.
    let mut other = ran.holders[3].clone();
    other.shares[0] = other.shares[1];
    let violation = shares(threshold, &ran.holders[..3]).add(other).unwrap_err();
    assert_eq!(violation.invariant, NAMES[1]);
}

#[test]
fn invariant_one_key_per_epoch() {
    assert_eq!(ONE_KEY_PER_EPOCH, NAMES[15]);
    let members = Members::new(4);
    let ran = (900..930).map(|seed| run(&members, seed, 1, 4)).find(|ran| ran.holders.len() == 4).unwrap();
    let (threshold, all) = (usize::from(ran.root.unwrap().threshold), ran.holders);
    let of = |threshold, holders: &[Holder]| {
        let mut shares = Shares::new(threshold);
        holders.iter().for_each(|holder| shares.add(holder.clone()).unwrap());
        shares
    };
    assert_eq!(of(threshold, &all).one_key_per_epoch(), Ok(4));
    // It would be seen if another set gave an epoch another key, as sets of fewer do;
    let several = of(threshold - 1, &all).one_key_per_epoch().unwrap_err();
    assert!(several.invariant == ONE_KEY_PER_EPOCH && several.what.contains("other keys"), "{several:?}");
    // if a seat, with its share of the same key, answered for another input than the rest;
    let mut astray = all.clone();
    astray[3].era += 1;
    let violation = of(threshold, &astray).one_key_per_epoch().unwrap_err();
    assert!(violation.invariant == ONE_KEY_PER_EPOCH && violation.what.contains("another input"), "{violation:?}");
    // and so after each block of a ceremony, in which that one shows with the second set;
    let mut shares = of(threshold, &astray);
    assert_eq!((shares.try_next(), shares.try_next()), (Ok(2), Err(violation)));
    // and if two epochs had one key.
    let mut same = Shares::at(threshold, [3, 3]);
    let added: Result<(), _> = all.iter().try_for_each(|holder| same.add(holder.clone()));
    let violation = added.unwrap_err();
    assert!(violation.invariant == ONE_KEY_PER_EPOCH && violation.what.contains("have one key"), "{violation:?}");
}

#[test]
fn a_seat_that_holds_another_share_after_a_restart_than_before_is_seen() {
    let members = Members::new(4);
    let ran = (900..930).map(|seed| run(&members, seed, 1, 4)).find(|ran| ran.holders.len() == 4).unwrap();
    let (threshold, all) = (usize::from(ran.root.unwrap().threshold), ran.holders);
    // One crashes, and holds its share again.
    let restarted = || {
        let mut shares = Shares::new(threshold);
        assert_eq!(shares.see(all.clone()), Ok(0));
        assert_eq!((shares.see(all[..3].to_vec()), shares.present(), shares.holders().count()), (Ok(0), 3, 4));
        shares
    };
    assert_eq!(restarted().see(all.clone()), Ok(1));
    let alterations: [fn(&mut Holder); 3] = [
        |holder| holder.share[0] ^= 1,
        |holder| holder.shares.swap(0, 1),
        |holder| holder.beacon.as_mut().unwrap().0[0] ^= 1,
    ];
    for alter in alterations {
        let mut now = all.clone();
        alter(&mut now[3]);
        assert_eq!(restarted().see(now).unwrap_err().invariant, NAMES[1]);
    }
}

#[test]
fn a_contradiction_that_convicts_nobody_is_seen_of_every_kind() {
    let members = Members::new(4);
    let seating = Seating::new(&members, 4);
    let commit = |byte| Statement::Commit { package: [byte; 32] };
    let answer = |byte| Statement::Answer { accuser: 1, shares: [[1; 32], [byte; 32]] };
    let confirm = |byte| Statement::Confirm(Confirmed { share_list: [1; 32], beacon: [byte; 32] });
    for said in [[commit(1), commit(2)], [answer(1), answer(2)], [confirm(1), confirm(2)]] {
        let mut chain = Chain::new(1, seating.ids(0));
        let [first, second] = said.map(|statement| sign(&seating, &chain.record, 2, statement));
        let unconvicted = whoever_contradicts_itself_is_convicted(&chain, &second).unwrap_err();
        assert_eq!(unconvicted.invariant, NAMES[9]);
        assert_eq!(chain.report(&first, &second), Ok(()));
        assert_eq!(whoever_contradicts_itself_is_convicted(&chain, &second), Ok(()));
        let another = SignedStatement { index: 3, ..second };
        assert!(whoever_contradicts_itself_is_convicted(&chain, &another).is_err(), "nobody else");
    }
}

#[test]
fn what_a_coalition_knows_is_looked_at_before_who_said_it() {
    let record = CeremonyRecord::new(1, 0, &Members::new(4).ids(4));
    let said = |index, statement| SignedStatement { era: 1, attempt: 0, index, statement, signature: [0; 64] };
    let answer = |accuser| said(1, Statement::Answer { accuser, shares: [[1; 32]; 2] });
    let (mut answered, liars) = (Answered::new(), BTreeSet::from([3]));
    let mut look = |said: &SignedStatement| what_is_said_gives_nothing_away(said, &record, &mut answered, &liars);
    assert_eq!((look(&answer(3)), look(&answer(3))), (Ok(true), Ok(false)), "the liar had it");
    // A run meets both checks here, and is stopped by the first.
    let known = look(&answer(2)).unwrap_err();
    assert!(known.invariant == NAMES[0] && known.what.contains("know what seat 1 dealt"), "{known:?}");
    let dispute = said(1, Statement::Dispute { dealer: 2, parcel: [1; 32] });
    let disputed = look(&dispute).unwrap_err();
    assert!(disputed.invariant == NAMES[0] && disputed.what.contains("said of seat 2"), "{disputed:?}");
}

#[test]
fn a_share_that_became_public_for_an_honest_seat_is_one_too_many() {
    let record = CeremonyRecord::new(1, 0, &Members::new(4).ids(4));
    let answered: Answered = BTreeMap::from([(1, BTreeSet::from([2]))]);
    assert_eq!(t_minus_1_learn_nothing(&record, &answered, &BTreeSet::from([2])), Ok(()), "the liar had it");
    let nobody_lies = t_minus_1_learn_nothing(&record, &answered, &BTreeSet::new()).unwrap_err();
    assert_eq!(nobody_lies.invariant, NAMES[0]);
    // What a liar deals is nobody's secret.
    assert_eq!(t_minus_1_learn_nothing(&record, &answered, &BTreeSet::from([1])), Ok(()));
}
