//! A few hundred seeds, that the simulation is deterministic, and what two eras of the same machines have in common: nothing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod changes;
mod controls;
mod identities;
mod names;
mod seizure;

use phala_gatekeeper::dkg::{verify_transcript, TranscriptError};
use phala_keys_sim::{
    invariants::{interpolate, subsets, Holder, NAMES},
    malice::Twice,
    members::GENESIS,
    rotation::{follow, old_era_opens_nothing_newer, COUNTED},
    run, run_beyond, run_contradicting, run_next, Counts, Members, Ran, BEYOND,
};
use phala_protocol::{ceremony::tolerated, chain_state::RootRecord};
use std::ops::{Range, RangeFrom};

fn holds(members: &Members, seeds: Range<u64>, seats: u16) -> (Counts, Vec<Ran>) {
    let (mut counts, mut all) = (Counts::new(), Vec::new());
    for seed in seeds {
        let ran = run(members, seed, 1, seats);
        assert_eq!(ran.violation, None, "seed {seed}, {} liars {:?}, {:?}", ran.attempts, ran.liars, ran.counts);
        assert!(ran.root.is_some() || ran.beyond, "seed {seed}");
        for (what, count) in &ran.counts {
            *counts.entry(what.clone()).or_default() += count;
        }
        all.push(ran);
    }
    (counts, all)
}

#[test]
fn every_invariant_holds_among_four_hostile_seats() {
    let members = Members::new(4);
    let (counts, all) = holds(&members, 0..120, 4);
    // What is to be survived did happen.
    for what in [
        "complain taken",
        "deliver taken",
        "dispute taken",
        "answer taken",
        "reject taken",
        "parcel severed",
        "parcel refused",
        "started from an old disk",
        "started from before its confirmation",
        "network cut in two",
        "network cut in two for longer than a phase",
        "root made after the network was cut in two",
        "malice BadBeaconPackage",
        "malice BadBeaconShare",
        "malice Equivocate",
        "sets of shares tried",
        "share held again after a restart",
        "share of an honest dealer made public",
    ] {
        assert!(counts.get(what).is_some_and(|count| *count > 0), "{what}: {counts:?}");
    }
    assert!(counts.keys().any(|what| what.starts_with("report of two") && what.ends_with("taken")), "{counts:?}");
    // No more machines are restored to before their confirmations than may be missing, and nobody else lacks a share.
    for ran in all.iter().filter(|ran| !ran.forgot.is_empty()) {
        assert!(ran.liars.len() + ran.forgot.len() <= tolerated(4) && ran.forgot.is_disjoint(&ran.liars));
        assert!(ran.holders.len() + ran.forgot.len() >= 4, "{:?} and {} shares", ran.forgot, ran.holders.len());
    }
    // Some seeds draw more liars than may be, as many as it is said to be.
    let beyond = all.iter().filter(|ran| ran.beyond).count();
    assert!((1..=4 * all.len() / BEYOND as usize).contains(&beyond), "{beyond}");
    assert!(all.iter().any(|ran| ran.attempts == 1) && all.iter().any(|ran| ran.attempts > 2), "{counts:?}");
}

#[test]
fn every_invariant_holds_among_seven_hostile_seats() {
    let members = Members::new(7);
    let (counts, all) = holds(&members, 1_000..1_030, 7);
    assert!(all.iter().any(|ran| ran.liars.len() == 2), "{counts:?}");
}

/// Ceremonies with more liars than they tolerate, in which all holds that may not depend on that.
fn beyond(seeds: Range<u64>, seats: u8) -> (Counts, Vec<Ran>) {
    let members = Members::new(seats);
    let all: Vec<Ran> = seeds.map(|seed| run_beyond(&members, seed, 1, seats.into())).collect();
    (safe(&all), all)
}

/// What happened in ceremonies in which nothing was violated.
fn safe(all: &[Ran]) -> Counts {
    let mut counts = Counts::new();
    for ran in all {
        assert_eq!(ran.violation, None, "trace {:?}, liars {:?}, {:?}", ran.trace, ran.liars, ran.counts);
        for (what, count) in &ran.counts {
            *counts.entry(what.clone()).or_default() += count;
        }
    }
    counts
}

#[test]
fn whoever_contradicts_itself_is_convicted_and_nobody_else() {
    let members = Members::new(4);
    // Each kind by itself: a liar that said two things of another kind before would be convicted already.
    for (twice, what) in [
        (Twice::Commit, "report of two commitments"),
        (Twice::Answer, "report of two answers"),
        (Twice::Confirm, "report of two confirmations"),
    ] {
        let all: Vec<Ran> = (700..710).map(|seed| run_contradicting(&members, seed, 1, 4, twice)).collect();
        let counts = safe(&all);
        let taken = counts.get(&format!("{what} taken"));
        assert!(taken.is_some_and(|count| *count > 0), "{what}: {counts:?}");
        let mut reports = counts.keys().filter(|key| key.starts_with("report of two"));
        assert!(reports.all(|report| report.starts_with(what)), "another kind: {counts:?}");
        assert!(!counts.keys().any(|key| key.ends_with("refused, not signed by the seat")), "{counts:?}");
    }
    // Nothing that honest seats say, whatever disk they come back from, can be reported.
    let all = (720..740).map(|seed| run(&members, seed, 1, 4));
    let honest: Vec<Ran> = all.filter(|ran| ran.liars.is_empty()).collect();
    assert!(honest.iter().any(|ran| ran.counts.contains_key("started from an old disk")));
    for ran in &honest {
        assert_eq!(ran.violation, None);
        assert!(!ran.counts.keys().any(|what| what.starts_with("report of two")), "{:?}", ran.counts);
    }
}

/// More lie than a ceremony tolerates, and fewer than open a root: it may end in nothing, and what is safe stays safe.
#[test]
fn what_is_safe_stays_safe_among_more_liars_than_may_be() {
    for (seats, liars, seeds) in [(4, 2..=2, 2_000..2_016), (7, 3..=4, 2_000..2_003)] {
        let (counts, all) = beyond(seeds, seats);
        assert!(all.iter().all(|ran| ran.beyond && liars.contains(&ran.liars.len())), "{counts:?}");
        // There is something to look at: shares of a root, or what honest seats dealt in attempts that failed.
        assert!(counts.contains_key("confirm taken") && counts.contains_key("parcel taken"), "{counts:?}");
        assert!(seats > 4 || all.iter().any(|ran| ran.root.is_some()), "{counts:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let members = Members::new(4);
    let first = run(&members, 5, 1, 4);
    assert_eq!(first.trace, run(&members, 5, 1, 4).trace);
    assert_ne!(first.trace, run(&members, 6, 1, 4).trace);
}

/// The same machines with the same sealed seeds, in two eras that both have a root: with more liars than may be one need not.
fn rooted_eras(members: &Members, seeds: RangeFrom<u64>, seats: u16) -> impl Iterator<Item = (Ran, Ran)> + '_ {
    seeds.filter_map(move |seed| {
        let old = run(members, seed, 1, seats);
        assert_eq!(old.violation, None, "seed {seed}");
        let new = run_next(members, seed, 2, seats, (old.root.as_ref()?, &old.holders));
        assert_eq!(new.violation, None, "seed {seed}");
        new.root.is_some().then_some((old, new))
    })
}

#[test]
fn an_old_eras_shares_open_nothing_newer() {
    let members = Members::new(4);
    for (old, new) in rooted_eras(&members, 200.., 4).take(5) {
        let threshold = usize::from(old.root.unwrap().threshold);
        let all = |holders: &[Holder]| -> Vec<[u8; 32]> {
            let holders: Vec<&Holder> = holders.iter().collect();
            subsets(&holders, threshold).iter().map(|subset| interpolate(subset)).collect()
        };
        let (old_keys, new_keys) = (all(&old.holders), all(&new.holders));
        assert!(old_keys.iter().all(|key| !new_keys.contains(key)));
        for holder in &old.holders {
            for root in &new.holders {
                assert!(holder.evaluate_as_of(root, 3).is_err(), "an old share passes as a new one");
                // Nor does mixing help: t-1 new shares and one of the old era.
                let rest = new.holders.iter().filter(|other| other.index != holder.index).take(threshold - 1);
                let mixed: Vec<&Holder> = rest.chain([holder]).collect();
                assert!(!new_keys.contains(&interpolate(&mixed)));
            }
        }
    }
}

#[test]
fn invariant_old_era_opens_nothing_newer() {
    for (seats, from, number) in [(4u8, 500, 4), (7, 600, 1)] {
        let members = Members::new(seats);
        for (old, new) in rooted_eras(&members, from.., seats.into()).take(number) {
            // After blocks of the next era, too.
            for what in COUNTED {
                assert!(new.counts.get(what).is_some_and(|count| *count > 0), "{what}: {:?}", new.counts);
            }
            let (old_root, new_root) = (old.root.unwrap(), new.root.unwrap());
            let eras = follow(&old_root, &new_root).unwrap();
            assert!(
                eras.values().is_sorted() && eras.values().any(|era| *era == 1) && eras.values().any(|era| *era == 2)
            );
            let of_old = (&old_root, old.holders.as_slice());
            let checked = old_era_opens_nothing_newer(of_old, (&new_root, new.holders.as_slice()));
            assert_eq!(checked, Ok(()));
            // It would be seen if the next era kept the root.
            let kept = RootRecord { era: 2, ..old_root.clone() };
            let violation = old_era_opens_nothing_newer(of_old, (&kept, old.holders.as_slice())).unwrap_err();
            assert_eq!(violation.invariant, NAMES[7]);
        }
    }
}

#[test]
fn what_honest_seats_saw_passes_as_a_transcript_and_altered_it_does_not() {
    let members = Members::new(4);
    let (_, all) = holds(&members, 300..312, 4);
    let mut altered = 0;
    for ran in &all {
        for transcript in ran.transcripts.iter().filter(|transcript| !transcript.records.is_empty()) {
            let outcome = verify_transcript(&GENESIS, transcript).unwrap();
            if let Some((_, keys)) = outcome.made {
                assert_eq!(keys.share_list, ran.root.as_ref().unwrap().share_list);
                let is_confirmed = |holder: &Holder| holder.beacon.as_ref().unwrap().1.hash() == keys.beacon;
                assert!(ran.holders.iter().all(is_confirmed));
            }
            let mut forged = transcript.clone();
            if let Some(statement) = forged.statements.first_mut() {
                statement.signature[0] ^= 1;
                assert_eq!(verify_transcript(&GENESIS, &forged), Err(TranscriptError::BadSignature(0)));
                altered += 1;
            }
        }
    }
    assert!(altered > 0);
}
