//! No key seals two messages under one nonce in a ceremony, of a root or of identities, whatever is dropped, and whoever crashes and comes back
//! from an old disk.
//!
//! A test binary of its own: what is recorded is what the whole process seals.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod identities;

use phala_crypto::testing::{Recording, Sealed};
use phala_keys_sim::{run, Members};
use std::collections::BTreeSet;

/// What was sealed under a key and nonce that had sealed before.
fn repeated(all: &[Sealed]) -> Vec<Sealed> {
    let mut seen = BTreeSet::new();
    all.iter().filter(|sealed| !seen.insert((sealed.cipher, sealed.key, sealed.nonce))).copied().collect()
}

#[test]
fn no_key_seals_twice_under_one_nonce_in_a_ceremony() {
    let members = Members::new(4);
    let (mut restored, mut sealed) = (0, 0);
    for seed in 0..24 {
        let recording = Recording::begin();
        let ran = run(&members, seed, 1, 4);
        let all = recording.end();
        assert_eq!(ran.violation, None, "seed {seed}");
        restored += ran.counts.get("started from an old disk").copied().unwrap_or_default();
        sealed += all.len();
        assert!(all.iter().all(|sealed| sealed.cipher == "GcmKey"));
        assert_eq!(repeated(&all), [], "seed {seed}");
        // It would be seen.
        let again = [all.as_slice(), &all[..1]].concat();
        assert_eq!(repeated(&again).len(), 1);
    }
    // Each of four seats sends three others a package and a share, unless it is stopped.
    assert!(sealed >= 24 * 24, "{sealed} messages in 24 ceremonies");
    assert!(restored > 0, "nobody came back from an old disk");
}

/// Of the same machines in one recording: each has keys of its own in each attempt of either kind.
#[test]
fn no_key_seals_twice_under_one_nonce_in_ceremonies_of_identities_and_of_the_root_before() {
    let members = Members::new(4);
    let (mut restored, mut delivered) = (0, 0);
    for seed in 0..6 {
        let recording = Recording::begin();
        let ran = run(&members, seed, 1, 4);
        let told = identities::ceremonies(&members, seed);
        let all = recording.end();
        assert_eq!((ran.violation, told.ended), (None, 3), "seed {seed}");
        assert_eq!(repeated(&all), [], "seed {seed}");
        // Each of three dealers seals to the three holders that it is not, in each ceremony; what is repeated is sealed once, but by a
        // dealer that was restored.
        assert!(all.iter().all(|sealed| sealed.cipher == "GcmKey"));
        assert!(told.parcels >= 3 * 9 && all.len() >= 3 * 9, "{} sealed in seed {seed}", all.len());
        restored += told.restored;
        delivered += told.delivered;
        // It would be seen.
        let again = [all.as_slice(), &all[all.len() - 1..]].concat();
        assert_eq!(repeated(&again).len(), 1);
    }
    assert!(restored > 0 && delivered > 0, "{restored} restored, {delivered} delivered");
}
