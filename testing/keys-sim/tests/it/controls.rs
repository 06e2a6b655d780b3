//! That what is looked at after each block would be seen if it were otherwise.

use phala_keys_sim::{
    chain::Chain,
    invariants::{
        attempts_at_most, faults_are_the_liars, first_after_cut, package_is_what_was_committed_to,
        t_minus_1_learn_nothing, what_is_owed_once_is_said_once, what_is_said_gives_nothing_away,
        whoever_contradicts_itself_is_convicted, Answered, CutOff, Holder, Owed, NAMES,
    },
    malice::sign,
    members::GENESIS,
    rotation::{Cluster, Former},
    run,
    seating::Seating,
    shares::{Shares, ONE_KEY_PER_EPOCH},
    Members, Ran,
};
use phala_protocol::ceremony::{
    package_hash, CeremonyRecord, Confirmed, Ended, Next, ParcelHeader, ParcelKind, Phase, Reason, SignedStatement,
    Statement,
};
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
        // Nor is it excused when its ceremony was cancelled.
        let mut chain = Chain::new(1, seating.ids(0));
        chain.elect_anew(&seating.ids(0)).unwrap();
        assert!(whoever_contradicts_itself_is_convicted(&chain, &second).is_err());
        assert_eq!(chain.report(&first, &second), Ok(()));
        assert_eq!(whoever_contradicts_itself_is_convicted(&chain, &second), Ok(()));
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

#[test]
fn whoever_is_cut_off_is_excused_in_that_attempt_and_nobody_else() {
    const STORM: u32 = 2;
    let ids = Members::new(7).ids(7);
    let liars = BTreeSet::from([7]);
    let cut = |attempt, seats: &[u16]| CutOff::from([(attempt, seats.iter().copied().collect())]);
    // Attempts that failed, with the seats that are at fault, and which invariant was violated.
    let judged = |failed: &[(u32, &[u16])], cut_off: &CutOff| {
        let mut chain = Chain::new(1, ids.clone());
        for (attempt, at_fault) in failed {
            let left_out = at_fault.iter().map(|index| (*index, Reason::NotConfirmed)).collect();
            let next = Next::Begin(Phase::Commit);
            chain.ended.push((*attempt, Ended { next, convicted: Vec::new(), left_out, readmitted: 0 }));
        }
        faults_are_the_liars(&chain, &liars, cut_off, STORM).map_err(|violation| violation.invariant)
    };
    let seen = Err(NAMES[6]);
    // One of seven lies, and one is cut off: as many as may be missing.
    assert_eq!(judged(&[(2, &[3, 7])], &cut(2, &[3])), Ok(()));
    assert_eq!(judged(&[(2, &[3, 7])], &CutOff::new()), seen);
    assert_eq!(judged(&[(2, &[3, 7])], &cut(3, &[3])), seen, "in another attempt");
    assert_eq!(judged(&[(2, &[3, 5])], &cut(2, &[3])), seen, "another seat");
    assert_eq!(judged(&[(2, &[])], &cut(2, &[3])), seen, "nobody is at fault");
    // The attempt after can do without it, and whoever is at fault in that is seen; so it is after one of the storm.
    assert_eq!(judged(&[(2, &[3]), (3, &[5])], &cut(2, &[3])), seen);
    assert_eq!(judged(&[(1, &[3]), (2, &[5])], &cut(1, &[3])), seen);
    // One more is cut off: anybody may be at fault, or nobody, and after that nobody who is not missing.
    for at_fault in [&[][..], &[3, 4], &[5]] {
        assert_eq!(judged(&[(2, at_fault)], &cut(2, &[3, 4])), Ok(()));
    }
    assert_eq!(judged(&[(2, &[]), (3, &[5])], &cut(2, &[3, 4])), seen);
    assert_eq!(judged(&[(2, &[3, 4]), (3, &[5])], &cut(2, &[3, 4])), Ok(()), "two are missing still");

    // So many attempts more it may take: of those in which too many were cut off.
    let two = CutOff::from([(2, BTreeSet::from([3, 4])), (3, BTreeSet::from([3, 4])), (4, BTreeSet::from([3]))]);
    assert_eq!(first_after_cut(&two, &liars, 7), 4);
    assert_eq!(first_after_cut(&cut(6, &[3]), &liars, 7), 0);
    assert_eq!(attempts_at_most(7, 4), attempts_at_most(7, STORM) + 2);
}

#[test]
fn a_second_package_and_a_second_confirmation_are_seen_and_what_is_repeated_is_neither() {
    let said = |attempt, index, statement| SignedStatement { era: 1, attempt, index, statement, signature: [0; 64] };
    let commit = |byte| Statement::Commit { package: [byte; 32] };
    let confirm = |byte| Statement::Confirm(Confirmed { share_list: [1; 32], beacon: [byte; 32] });
    for [first, second] in [[commit(1), commit(2)], [confirm(1), confirm(2)]] {
        let mut owed = Owed::new();
        for statement in [first, first] {
            assert_eq!(what_is_owed_once_is_said_once(&said(0, 1, statement), &mut owed), Ok(()));
        }
        for (attempt, index) in [(1, 1), (0, 2)] {
            assert_eq!(what_is_owed_once_is_said_once(&said(attempt, index, second), &mut owed), Ok(()));
        }
        let seen = what_is_owed_once_is_said_once(&said(0, 1, second), &mut owed).unwrap_err();
        assert!(seen.invariant == NAMES[5] && seen.what.contains("a second"), "{seen:?}");
    }

    let (package, header) =
        (b"a package", ParcelHeader { era: 1, attempt: 0, from: 1, to: 2, kind: ParcelKind::Package });
    let mut owed = Owed::new();
    let uncommitted = package_is_what_was_committed_to(&header, package, &owed).unwrap_err();
    let committed = Statement::Commit { package: package_hash(&GENESIS, 1, 0, 1, package) };
    what_is_owed_once_is_said_once(&said(0, 1, committed), &mut owed).unwrap();
    assert_eq!(package_is_what_was_committed_to(&header, package, &owed), Ok(()));
    let another = package_is_what_was_committed_to(&header, b"another package", &owed).unwrap_err();
    assert_eq!((uncommitted.invariant, another.invariant), (NAMES[5], NAMES[5]));
}

#[test]
fn an_old_eras_share_that_gives_anything_of_the_next_is_seen_in_the_block_in_which_it_does() {
    let members = Members::new(4);
    let mut eras = (900..930).map(|seed| [1, 2].map(|era| run(&members, seed, era, 4)));
    let are_whole = |[old, new]: &[Ran; 2]| old.root.is_some() && new.root.is_some() && new.holders.len() == 4;
    let [old, new] = eras.find(are_whole).unwrap();
    let (old_root, new_root) = (old.root.unwrap(), new.root.unwrap());
    let of = |holders: &[Holder]| {
        let mut shares = Shares::new(new_root.threshold.into());
        holders.iter().for_each(|holder| shares.add(holder.clone()).unwrap());
        shares
    };
    let former = |holders: &[Holder]| Former::new((&old_root, holders), 2);
    let seen = |mut former: Former, shares: &Shares| {
        (1..=40).find_map(|block| former.try_on(block, None, shares).err()).map_or_else(String::new, |violation| {
            assert_eq!(violation.invariant, NAMES[7]);
            violation.what
        })
    };
    // Nothing to try before there is a key, and nothing to see of what the code that ships makes, recorded or not.
    let tried = former(&old.holders).try_on(1, None, &of(&new.holders[..2])).unwrap();
    assert!(tried.iter().all(|(_, count)| *count == 0), "{tried:?}");
    let mut whole = former(&old.holders);
    for block in 1..=40 {
        let recorded = (block > 30).then_some(&new_root);
        let [sets, mixtures, epochs] = whole.try_on(block, recorded, &of(&new.holders)).unwrap();
        assert_eq!((sets.1 > 0, mixtures.1, epochs.1 > 0), (true, 2, block > 30), "{block}");
    }

    // If the next era kept the root,
    let kept: Vec<Holder> = old.holders.iter().map(|holder| Holder { era: 2, ..holder.clone() }).collect();
    assert!(seen(former(&old.holders), &of(&kept)).contains("give a key of the next"));
    // if a seat had the same share in both,
    let mut same = old.holders.clone();
    let index = same[1].index;
    same[1].share = new.holders.iter().find(|holder| holder.index == index).unwrap().share;
    assert!(seen(former(&same), &of(&new.holders)).contains("shares of two eras"));
    // or if what its old share gives were taken for what the new one does.
    let place = usize::from(old.holders[0].index) - 1;
    let mut listed: Vec<Holder> = new.holders.clone();
    listed.retain(|holder| holder.index != old.holders[0].index);
    listed.iter_mut().for_each(|holder| holder.shares[place] = old.holders[0].shares[place]);
    assert!(seen(former(&old.holders), &of(&listed)).contains("passes as a new one"));

    // A chain that takes a root back gives an epoch to the era before.
    let mut cluster = Cluster::new(&old_root);
    assert_eq!((cluster.open(None), cluster.open(Some(&new_root))), (Ok(()), Ok(())));
    assert_eq!(cluster.open(None).unwrap_err().invariant, NAMES[7]);
}
