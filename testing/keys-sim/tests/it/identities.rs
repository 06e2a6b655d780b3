//! Identities in a hostile network: a few lives of them, and that what is looked at would be seen if it were otherwise.

use phala_keys_sim::{
    identities::{
        chain::Chain,
        checks::{
            self, fewer_give_nothing, gives_the_keys, mixed_give_nothing, no_share_is_of_a_later_set, Checks, Sharing,
            FORMER_CANNOT_SIGN, KEEP_THEIR_KEYS, LIVENESS, ONE_RECORD,
        },
        follow, live,
        signing::{self, NonceLog, ONE_MESSAGE},
        Lived, ONE_OF,
    },
    invariants::NAMES,
    random::Random,
    run, Counts, Members,
};
use phala_protocol::{
    ceremony::Phase,
    identities::{
        signing::{NonceCommitments, PartialSignature, SigningMessage, SigningSession},
        Scheme,
    },
};
use std::collections::{BTreeMap, BTreeSet};

const STORM: u32 = 2;
/// Sets of either kind that there are at most of a sharing among few.
const ALL_TURNS: usize = 64;

/// Lives of identities that the first gatekeepers make, in which nothing is violated.
fn lives(members: &Members, seeds: std::ops::Range<u64>) -> (Counts, Vec<Lived>) {
    let (mut counts, mut all) = (Counts::new(), Vec::new());
    let first = members.ids(members.seats());
    for seed in seeds {
        let lived = live(members, seed, &first);
        assert_eq!(lived.violation, None, "seed {seed}, {:?}", lived.counts);
        for (what, count) in &lived.counts {
            *counts.entry(what.clone()).or_default() += count;
        }
        all.push(lived);
    }
    (counts, all)
}

/// All shares of some last set, which are more than it takes.
fn a_sharing(members: &Members) -> Sharing {
    let is_whole = |sharing: &Sharing| sharing.shares.len() > usize::from(sharing.record.threshold);
    let first = members.ids(members.seats());
    (500..530).find_map(|seed| live(members, seed, &first).sharing.filter(is_whole)).unwrap()
}

fn in_all_turns(look: impl Fn(usize) -> Result<u64, phala_keys_sim::invariants::Violation>) -> Option<&'static str> {
    (0..ALL_TURNS).find_map(|turn| look(turn).err()).map(|violation| violation.invariant)
}

#[test]
fn every_invariant_of_identities_holds_among_hostile_holders() {
    let members = Members::new(4);
    let (counts, all) = lives(&members, 0..12);
    for what in [
        "identities made",
        "identities handed over",
        "attempts of identities that failed",
        "ceremony of identities cancelled",
        "identities: started from an old disk",
        "identities: parcel severed",
        "identities: network cut in two",
        "identities: complain taken",
        "identities: deliver taken",
        "sets of shares of identities tried",
        "signing sessions",
        "coordinator crashed",
        "liars in ceremonies of identities",
        "liars in signing sessions",
    ] {
        assert!(counts.get(what).is_some_and(|count| *count > 0), "{what}: {counts:?}");
    }
    // Sets of several sizes came to hold them.
    let sizes: BTreeSet<u16> = all.iter().filter_map(|lived| Some(lived.record.as_ref()?.threshold)).collect();
    assert!(sizes.len() > 1, "{sizes:?}");
}

#[test]
fn identities_of_one_seed_live_one_life() {
    let members = Members::new(4);
    let first = members.ids(4);
    for seed in 40..42 {
        let (one, other) = (live(&members, seed, &first), live(&members, seed, &first));
        assert_eq!((one.trace, one.record, one.counts), (other.trace, other.record, other.counts));
    }
    assert_ne!(live(&members, 40, &first).trace, live(&members, 41, &first).trace);
}

#[test]
fn some_roots_are_followed_by_identities_of_their_seats() {
    let members = Members::new(4);
    let mut followed = 0;
    for seed in 2_000..2_012 {
        let ran = run(&members, seed, 1, 4);
        let Some(lived) = follow(&members, seed, &ran) else { continue };
        assert_eq!(lived.violation, None, "seed {seed}");
        assert!(lived.counts["ceremony of identities"] >= 2);
        followed += 1;
    }
    assert!((1..12).contains(&followed), "{followed} of 12, where it is one of {ONE_OF}");
}

#[test]
fn whoever_lied_before_a_cancellation_may_meet_what_it_said() {
    // Gatekeeper 4 commits to garbage in the first attempt, does not lie in the set elected after, and is shown a head of before.
    let members = Members::new(4);
    let lived = follow(&members, 61, &run(&members, 61, 1, 4)).unwrap();
    assert_eq!(lived.violation, None, "{:?}", lived.counts);
    for what in ["ceremony of identities cancelled", "identities: met what it said as a liar"] {
        assert!(lived.counts.get(what).is_some_and(|count| *count > 0), "{what}: {:?}", lived.counts);
    }
}

#[test]
fn invariant_identities_keep_their_keys() {
    assert_eq!(KEEP_THEIR_KEYS, NAMES[10]);
    let members = Members::new(4);
    let sharing = a_sharing(&members);
    assert_eq!(in_all_turns(|turn| gives_the_keys(&sharing, turn)), None);
    let mut checks = Checks::default();
    assert!(checks.see(&sharing.record, sharing.shares.clone()).is_ok());
    // One bit of one share, of either key.
    for half in 0..2 {
        let mut wrong = sharing.clone();
        wrong.shares.values_mut().next().unwrap()[half][0] ^= 1;
        assert_eq!(in_all_turns(|turn| gives_the_keys(&wrong, turn)), Some(KEEP_THEIR_KEYS));
        let held = checks.see(&sharing.record, wrong.shares).unwrap_err();
        assert_eq!(held.invariant, KEEP_THEIR_KEYS, "another share than before");
    }
    // A later record of other keys.
    let mut other = sharing.record.clone();
    (other.era, other.keys.sr25519) = (other.era + 1, other.keys.ed25519);
    assert_eq!(checks.see(&other, BTreeMap::new()).unwrap_err().invariant, KEEP_THEIR_KEYS);
}

#[test]
fn invariant_former_holders_cannot_sign() {
    assert_eq!(FORMER_CANNOT_SIGN, NAMES[11]);
    let members = Members::new(4);
    let sharing = a_sharing(&members);
    assert_eq!(in_all_turns(|turn| fewer_give_nothing(&sharing, &[], turn)), None);
    // Were one fewer enough, those who are too few would have it.
    let mut higher = sharing.clone();
    higher.record.threshold += 1;
    assert_eq!(in_all_turns(|turn| fewer_give_nothing(&higher, &[], turn)), Some(FORMER_CANNOT_SIGN));
    // So they would were one's share public.
    let mut without = sharing.clone();
    let (missing, public) = without.shares.pop_last().unwrap();
    without.record.holders.retain(|holder| holder.index == missing || without.shares.contains_key(&holder.index));
    while without.shares.len() >= usize::from(without.record.threshold) {
        let (index, _) = without.shares.pop_first().unwrap();
        without.record.holders.retain(|holder| holder.index != index);
    }
    assert_eq!(in_all_turns(|turn| fewer_give_nothing(&without, &[[[1; 32]; 2]], turn)), None);
    assert_eq!(in_all_turns(|turn| fewer_give_nothing(&without, &[public], turn)), Some(FORMER_CANNOT_SIGN));
    // A hand-over that leaves shares as they were would leave former holders with the key.
    assert_eq!(in_all_turns(|turn| mixed_give_nothing(&sharing, &sharing, turn)), Some(FORMER_CANNOT_SIGN));
    assert_eq!(no_share_is_of_a_later_set(&sharing, &sharing).unwrap_err().invariant, FORMER_CANNOT_SIGN);
    let mut others = sharing.clone();
    // Each by another number: were all one more, the coefficients of two could cancel it.
    for (place, pair) in others.shares.values_mut().enumerate() {
        pair.iter_mut().for_each(|share| share[place] ^= 1);
    }
    assert_eq!(in_all_turns(|turn| mixed_give_nothing(&others, &sharing, turn)), None);
    assert_eq!(no_share_is_of_a_later_set(&others, &sharing), Ok(()));
}

#[test]
fn invariant_identity_liveness_with_t_honest() {
    assert_eq!(LIVENESS, NAMES[12]);
    let members = Members::new(4);
    let ids = members.ids(4);
    let mut chain = Chain::default();
    chain.elect(1, &ids);
    assert_eq!(checks::liveness(&chain, &BTreeSet::new(), STORM), Ok(()));
    // Nobody says anything: too few are asked again so often, and then it is given up.
    let (mut seen, two) = (false, BTreeSet::from([ids[0], ids[1]]));
    for _ in 0..2_000 {
        let given_up = chain.tick();
        seen |=
            checks::liveness(&chain, &BTreeSet::new(), STORM).is_err_and(|violation| violation.invariant == LIVENESS);
        // Where more lie than may that is nothing to be seen.
        assert_eq!(checks::liveness(&chain, &two, STORM), Ok(()));
        if given_up {
            break;
        }
    }
    assert!(seen && chain.ceremony.is_none());
    assert_eq!(checks::liveness(&chain, &BTreeSet::new(), STORM).unwrap_err().invariant, LIVENESS);
    // And that nobody is at fault for it is seen as well.
    assert_eq!(checks::faults_are_the_liars(&chain, &BTreeSet::new(), STORM).unwrap_err().invariant, NAMES[6]);
    chain.elect(2, &ids);
    assert_eq!(chain.ceremony.as_ref().map(|ceremony| ceremony.phase), Some(Phase::Commit));
    assert_eq!(checks::liveness(&chain, &BTreeSet::new(), STORM), Ok(()));
}

#[test]
fn invariant_one_record_per_attempt() {
    assert_eq!(ONE_RECORD, NAMES[13]);
    let members = Members::new(4);
    let record = a_sharing(&members).record;
    let (place, later) = ((record.era, 1), (record.era, 2));
    let mut checks = Checks::default();
    assert_eq!(checks.note_confirmed(place, record.hash()), Ok(()));
    assert_eq!(checks.note_confirmed(place, record.hash()), Ok(()));
    assert_eq!(checks.note_confirmed(later, [1; 32]), Ok(()), "of another attempt");
    assert_eq!(checks.note_confirmed(place, [1; 32]).unwrap_err().invariant, ONE_RECORD);
    let mut other = record.clone();
    other.threshold += 1;
    assert_eq!(checks.note_shown(place, &other).unwrap_err().invariant, ONE_RECORD, "nobody confirmed it");
    assert_eq!(checks.note_shown(place, &record), Ok(()));
    for again in [place, (record.era, 3)] {
        assert_eq!(checks.note_shown(again, &record).unwrap_err().invariant, ONE_RECORD);
    }
}

#[test]
fn invariant_no_nonce_serves_two_messages() {
    assert_eq!(ONE_MESSAGE, NAMES[14]);
    let session = |item: u8| SigningSession { scheme: Scheme::Ed25519, sharing: [1; 32], item: [item; 32], attempt: 0 };
    let commitments = |half: u8| NonceCommitments { index: 2, hiding: [half; 32], binding: [half + 1; 32] };
    let commit = |item, half| SigningMessage::Commit { session: session(item), commitments: commitments(half) };
    let part = |item, list: u8| {
        let part = PartialSignature { index: 2, part: [list; 32] };
        SigningMessage::Part { session: session(item), list: [list; 32], part }
    };
    let log = || {
        let mut log = NonceLog::default();
        for said in [commit(1, 10), commit(1, 10), commit(2, 20), part(1, 1), part(1, 1), part(2, 2)] {
            assert_eq!(log.note(2, &said), Ok(()));
        }
        log
    };
    assert_eq!(log().signed(), 2);
    // The nonces of one message for another, other ones for the same, half of them, a list of one's own with them, and a second list.
    let list = SigningMessage::List { session: session(3), commitments: vec![commitments(10)] };
    for said in [commit(3, 10), commit(1, 30), commit(3, 11), list, part(1, 3)] {
        assert_eq!(log().note(2, &said).unwrap_err().invariant, ONE_MESSAGE, "{said:?}");
    }
    assert_eq!(log().note(2, &commit(3, 30)), Ok(()));
}

#[test]
fn holders_sign_whoever_lies_and_crashes_and_not_with_shares_of_another_key() {
    let members = Members::new(4);
    let sharing = a_sharing(&members);
    let (mut log, mut random) = (NonceLog::default(), Random::new(7));
    let spare = sharing.shares.len() - usize::from(sharing.record.threshold);
    let liars: BTreeSet<u16> = sharing.shares.keys().copied().take(spare).collect();
    let (mut in_vain, mut crashed) = (0, 0);
    for _ in 0..6 {
        let told = signing::sign(&sharing.record, &sharing.shares, &liars, &mut random, &mut log).unwrap();
        assert_eq!(told.signed, 2);
        (in_vain, crashed) = (in_vain + told.in_vain, crashed + told.crashed);
    }
    assert!(in_vain > 0 && crashed > 0 && log.signed() > 0, "{in_vain}, {crashed}");
    // With too few there is no signature, and that is seen.
    let few = usize::from(sharing.record.threshold) - 1;
    let few: BTreeMap<u16, checks::Pair> =
        sharing.shares.iter().take(few).map(|(index, pair)| (*index, *pair)).collect();
    let none = signing::sign(&sharing.record, &few, &BTreeSet::new(), &mut random, &mut NonceLog::default());
    assert_eq!(none.unwrap_err().invariant, LIVENESS);
}
