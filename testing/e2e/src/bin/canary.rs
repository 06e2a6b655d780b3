//! `cargo xtask campaign canary`: the whole search for marked plaintext, several times over, with core dumps.
//!
//! `canary [--n ROUNDS]`: each round draws new markers, sends them through a network of real processes, and searches everything but the
//! worker's own memory. There is no seed: a marker that could be computed again could also stand somewhere by accident. Prints one
//! table a round and a verdict; the exit code is 0 only when nothing was found, and the search was shown to work.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a tool of tests: what it cannot do ends it")]

use phala_e2e::{canary_run::Canary, probe, redaction::EVERYTHING, Network};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let rounds =
        words.iter().position(|word| word == "--n").and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(3);
    std::env::set_var("PHALA_LOG", EVERYTHING);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wasm = probe::build(&folder.path().join("contracts"));
    let network = Network::start(&folder.path().join("network"), &["--fresh"]);
    let mut faults = Vec::new();
    let mut searched = 0;
    for round in 1..=rounds {
        let mut canary = Canary::run(&network, &wasm, folder.path());
        canary.search_core_dumps(&network, folder.path());
        println!("round {round} of {rounds}\n\n{}", canary.search);
        searched += canary.search.rows.iter().map(|row| row.bytes).sum::<u64>();
        faults.extend(canary.faults());
    }
    println!("{rounds} rounds, {searched} bytes searched, {} faults (simulated TEE: INSECURE)", faults.len());
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    let ended = network.stop();
    ExitCode::from(u8::from(!faults.is_empty() || ended != Some(0)))
}
