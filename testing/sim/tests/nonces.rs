//! No key seals two messages under one nonce while workers, gatekeepers and clients live in a hostile world: over epochs and
//! boundaries, power cuts, rewound disks, restarts, queries.
//!
//! One exception, by its name: the answer to a query. A host may bring a query again, also to a worker that forgot it in a restart, and
//! the answer's key follows from the query. It is sealed under AES-GCM-SIV with a nonce of zeros and no associated data, and nothing
//! else is: a repetition tells whether two answers are equal, and nothing of what they say (RFC 8452).
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

use phala_crypto::testing::{Recording, Sealed};
use phala_sim::run_seed;
use std::collections::BTreeMap;

fn is_answer_to_a_query(sealed: &Sealed) -> bool {
    sealed.cipher == "SivKey" && sealed.nonce == [0; 12] && sealed.associated_bytes == 0
}

#[test]
fn no_key_seals_two_messages_under_one_nonce_in_a_hostile_world() {
    let (mut once, mut rows, mut answers) = (0, 0, 0);
    for seed in 1..7 {
        let recording = Recording::begin();
        let (ran, scenario) = run_seed(seed, 80);
        let all = recording.end();
        assert_eq!(ran.violation, None, "seed {seed}:\n{scenario}");
        let mut seen: BTreeMap<_, Sealed> = BTreeMap::new();
        for sealed in &all {
            if is_answer_to_a_query(sealed) {
                answers += 1;
                continue;
            }
            match sealed.cipher {
                "GcmKey" => once += 1,
                _ => rows += 1,
            }
            let before = seen.insert((sealed.cipher, sealed.key, sealed.nonce), *sealed);
            assert_eq!(before, None, "seed {seed}: and now {sealed:?}");
        }
    }
    // Envelopes and grants; rows of stores; answers.
    assert!(once > 500 && rows > 300 && answers > 300, "{once} {rows} {answers}");
}
