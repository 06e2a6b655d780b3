//! No key seals two messages under one nonce while workers, gatekeepers and clients live in a hostile world: over epochs and
//! boundaries, power cuts, rewound disks, restarts, queries, and snapshots of every state that became final.
//!
//! A host may bring a query again, also to a worker that forgot it in a restart, and the key of its answers follows from the query. Their
//! nonces follow from what they say: what is sealed under the same key and nonce once more is the same answer, in the same bytes. Nothing
//! but answers is under AES-GCM-SIV without associated data, and nothing but answers may repeat.
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
use phala_protocol::Hash;
use phala_sim::{run, run_seed, Action, Scenario};
use std::collections::{BTreeMap, BTreeSet};

fn is_answer_to_a_query(sealed: &Sealed) -> bool {
    sealed.cipher == "SivKey" && sealed.associated_bytes == 0
}

/// What was sealed, by kind.
#[derive(Default)]
struct Counts {
    /// Envelopes and grants.
    once: usize,
    /// Of stores, and parts of snapshots.
    rows: usize,
    answers: usize,
    /// Answers that are the same as one before, in the same bytes.
    equal: usize,
    /// Answers under a key that another answer was under.
    other: usize,
}

impl Counts {
    /// Fails where two messages are under one key and nonce.
    fn add(&mut self, what: &str, all: &[Sealed]) {
        let mut seen: BTreeMap<_, Sealed> = BTreeMap::new();
        let mut answered: BTreeSet<Hash> = BTreeSet::new();
        for sealed in all {
            let before = seen.insert((sealed.cipher, sealed.key, sealed.nonce), *sealed);
            if !is_answer_to_a_query(sealed) {
                match sealed.cipher {
                    "GcmKey" => self.once += 1,
                    _ => self.rows += 1,
                }
                assert_eq!(before, None, "{what}: and now {sealed:?}");
                continue;
            }
            self.answers += 1;
            match before {
                Some(before) => {
                    assert_eq!(before, *sealed, "{what}: two answers under one key and nonce");
                    self.equal += 1;
                }
                None => self.other += usize::from(!answered.insert(sealed.key)),
            }
        }
    }
}

fn recorded<T>(run: impl FnOnce() -> T) -> (T, Vec<Sealed>) {
    let recording = Recording::begin();
    let ran = run();
    (ran, recording.end())
}

#[test]
fn no_key_seals_two_messages_under_one_nonce_in_a_hostile_world() {
    let (mut counts, mut parts) = (Counts::default(), 0);
    for seed in 1..7 {
        let ((ran, scenario), all) = recorded(|| run_seed(seed, 80));
        assert_eq!(ran.violation, None, "seed {seed}:\n{scenario}");
        parts += ran.counts.get("= parts of snapshots").copied().unwrap_or_default();
        counts.add(&format!("seed {seed}"), &all);
    }
    let Counts { once, rows, answers, .. } = counts;
    assert!(once > 500 && rows > 300 && answers > 300, "{once} {rows} {answers}");
    assert!(parts > 20, "{parts}");
}

/// One query that arrives three times: an answer, and twice the same refusal, all under one key.
#[test]
fn a_query_that_is_brought_again_has_one_nonce_for_each_answer() {
    let requery = || Action::Requery { tee: 1 };
    let newest = Action::Deliver { tee: 1, boundaries: 64 };
    let actions = vec![Action::Settle {}, newest, Action::Query { tee: 1, account: 0 }, requery(), requery()];
    let scenario = Scenario { seed: 1, workers: 1, spares: 0, epoch_length: 20, actions };
    let (ran, all) = recorded(|| run(&scenario));
    assert_eq!(ran.violation, None);
    assert_eq!(ran.counts.get("= queries replayed"), Some(&2));
    let mut counts = Counts::default();
    counts.add("a query brought again", &all);
    assert_eq!((counts.other, counts.equal), (1, 1));
}
