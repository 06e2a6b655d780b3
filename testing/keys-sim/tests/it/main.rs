//! A few hundred seeds, that the simulation is deterministic, and what two eras of the same machines have in common: nothing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod seizure;

use phala_gatekeeper::dkg::{verify_transcript, TranscriptError};
use phala_keys_sim::{
    invariants::{interpolate, subsets, Holder, NAMES},
    members::GENESIS,
    rotation::{follow, old_era_opens_nothing_newer},
    run, Counts, Members, Ran,
};
use phala_protocol::chain_state::RootRecord;

fn holds(members: &Members, seeds: std::ops::Range<u64>, seats: u16) -> (Counts, Vec<Ran>) {
    let (mut counts, mut all) = (Counts::new(), Vec::new());
    for seed in seeds {
        let ran = run(members, seed, 1, seats);
        assert_eq!(ran.violation, None, "seed {seed}, {} liars {:?}, {:?}", ran.attempts, ran.liars, ran.counts);
        assert!(ran.root.is_some(), "seed {seed}");
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
        "malice BadBeaconPackage",
        "malice BadBeaconShare",
    ] {
        assert!(counts.get(what).is_some_and(|count| *count > 0), "{what}: {counts:?}");
    }
    assert!(all.iter().any(|ran| ran.attempts == 1) && all.iter().any(|ran| ran.attempts > 2), "{counts:?}");
}

#[test]
fn every_invariant_holds_among_seven_hostile_seats() {
    let members = Members::new(7);
    let (counts, all) = holds(&members, 1_000..1_030, 7);
    assert!(all.iter().any(|ran| ran.liars.len() == 2), "{counts:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let members = Members::new(4);
    let first = run(&members, 5, 1, 4);
    assert_eq!(first.trace, run(&members, 5, 1, 4).trace);
    assert_ne!(first.trace, run(&members, 6, 1, 4).trace);
}

#[test]
fn an_old_eras_shares_open_nothing_newer() {
    let members = Members::new(4);
    for seed in 200..205 {
        // The same machines with the same sealed seeds, in two eras.
        let (old, new) = (run(&members, seed, 1, 4), run(&members, seed, 2, 4));
        assert_eq!((old.violation, new.violation), (None, None));
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
    for (seats, seeds) in [(4u8, 500..504), (7, 600..601)] {
        let members = Members::new(seats);
        for seed in seeds {
            let [old, new] = [1, 2].map(|era| run(&members, seed, era, seats.into()));
            let (old_root, new_root) = (old.root.unwrap(), new.root.unwrap());
            let eras = follow(&old_root, &new_root).unwrap();
            assert!(
                eras.values().is_sorted() && eras.values().any(|era| *era == 1) && eras.values().any(|era| *era == 2)
            );
            let of_old = (&old_root, old.holders.as_slice());
            let checked = old_era_opens_nothing_newer(of_old, (&new_root, new.holders.as_slice()));
            assert_eq!(checked, Ok(()), "seed {seed}");
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
