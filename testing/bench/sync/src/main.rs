//! `cargo xtask bench sync --json`: what it costs a fresh worker to believe the newest block of a chain it has never seen.
//!
//! | metric | what it is |
//! |---|---|
//! | `sync.seconds_1e3`, `sync.seconds_1e5` | seconds of one core from the pinned genesis to the head of a chain of 10^3 and of 10^5 blocks, both with [`CHANGES`] changes of [`AUTHORITIES`] authorities: anchor, decoding, signatures. The median of n runs. Baseline: the same signatures verified one by one |
//! | `sync.bytes_1e3` | SCALE bytes of the answers of `phala_finalityProof` that lead there (JSON-RPC writes each as two digits). Baseline: all headers of the chain, which a client without finality proofs would read |
//! | `sync.bytes_ratio_1e5_1e3` | the same bytes for 10^5 blocks, divided by those for 10^3; aim at most 1.1. Baseline: that ratio for all headers |
//! | `sync.bytes_per_set_change` | the bytes for 10^3 blocks, less those for the same chain without a change, divided by the changes |
//! | `sync.real_seconds`, `sync.real_bytes`, `sync.real_set_changes` | the same for a real node of `phala dev`, whose `phala_finalityProof` is asked over its socket; n is the number of blocks. The seconds include the node's answer. Sessions are so short that the authorities change as a set about ten times in 10^3 blocks. Only with `--real` |
//! | `sync.real_bytes_ratio_1e5` | SCALE bytes of the answers for a synthetic chain of 10^5 blocks with as many authorities and as many changes of them as the real one had, divided by `sync.real_bytes`; aim at most 1.1. Baseline: all headers of the synthetic chain, divided by `sync.real_bytes`. n is the number of real blocks: give `--real 1000`. A synthetic header has less in it than a real one, which also names the next set of block authors. Only with `--real` |
//! | `sync.worker_s` | on that network, seconds from starting a worker with an empty folder, with a relayer of its own, until its `/v1/health` says a height that the node has no newer final block than. To 50 ms. Baseline: `sync.real_seconds`, a light client alone. n is that height. Only with `--real` |
//! | `sync.worker_bytes` | bytes of the bodies of all deliveries that it was brought up to then: finality, and storage proofs of what it asks for. Baseline: `sync.real_bytes`, of some blocks before. Only with `--real` |
//!
//! The synthetic chain is `phala_light_client::testing`'s: Parity's own types and signatures, blocks that are not executed. It is served as
//! the node serves it: at most 64 fragments and 2 MiB an answer.
//!
//! `--quick` shortens 10^5 to 10^4 and says so in no metric: its figures are for a smoke test. `--real BLOCKS` starts `phala dev`
//! (out of `PHALA_BIN`, or the checkout's `bin/`) and measures once so many blocks are final, two a second; it fails unless its binaries are
//! release builds, but with `--any-build` or `--quick`. `--json` is accepted and changes nothing.
#![forbid(unsafe_code)]

#[path = "../../network/src/builds.rs"]
mod builds;
mod http;
mod processes;
mod real;
mod tap;
mod worker;

use anyhow::{bail, ensure, Context, Result};
use codec::Encode;
use phala_crypto::{signature::ed25519, Secret};
use phala_light_client::{
    testing::TestChain, verify_anchor, FinalityFragment, FinalityProof, GenesisAnchor, LightClient,
};
use phala_protocol::{limits::MAX_FINALITY_FRAGMENTS, Hash};
use std::time::Instant;

/// Authorities of every set, unless a real chain says how many: as many as a public network has.
const AUTHORITIES: usize = 100;
/// Changes of authorities, however long the chain is, unless a real one says how many.
const CHANGES: usize = 10;
/// Bytes of fragments that a node puts into one answer (`chain/node/src/rpc/finality.rs`).
const ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// What a real network is made of.
const PROGRAMS: [&str; 4] = ["phala", "phala-node", "phala-worker", "phala-insecure-tee"];
/// What a worker draws from its machine.
const ENTROPY: [u8; 32] = [0x5c; 32];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut words = words.iter().map(String::as_str).peekable();
    words.next_if_eq(&"sync");
    let (mut quick, mut any_build, mut blocks) = (false, false, None);
    while let Some(word) = words.next() {
        match word {
            "--json" => {}
            "--quick" => quick = true,
            "--any-build" => any_build = true,
            "--real" => blocks = Some(words.next().context("--real needs a number of blocks")?.parse()?),
            other => bail!("unknown argument '{other}'; see the head of testing/bench/sync/src/main.rs"),
        }
    }
    if blocks.is_some() {
        builds::check(&PROGRAMS, any_build || quick)?;
    }
    let long = if quick { 10_000 } else { 100_000 };
    synthetic(long, if quick { 3 } else { 15 })?;
    if let Some(blocks) = blocks {
        let real = real::measure(blocks)?;
        let alike = sync(long, real.changes, real.authorities, 1)?;
        let (bytes, headers) = (alike.bytes as f64 / real.bytes as f64, alike.header_bytes as f64 / real.bytes as f64);
        print("sync.real_bytes_ratio_1e5", bytes, "", Some(headers), real.blocks.into());
    }
    Ok(())
}

/// Prints one metric.
fn print(metric: &str, value: f64, unit: &str, baseline: Option<f64>, n: u64) {
    let ratio = baseline.map(|baseline| value / baseline);
    let line = serde_json::json!({
        "metric": metric, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "n": n
    });
    println!("{line}");
}

/// What a client was shown, and how long believing it took.
struct Sync {
    seconds: f64,
    bytes: usize,
    /// All headers of the chain.
    header_bytes: usize,
    signatures: usize,
}

fn synthetic(long: usize, runs: usize) -> Result<()> {
    let short = sync(1_000, CHANGES, AUTHORITIES, runs)?;
    let bare = sync(1_000, 0, AUTHORITIES, 1)?;
    let long = sync(long, CHANGES, AUTHORITIES, runs)?;
    ensure!(short.signatures == long.signatures, "the two chains differ in more than their length");
    let baseline = one_by_one(short.signatures)?;
    let n = runs as u64;
    print("sync.seconds_1e3", short.seconds, "s", Some(baseline), n);
    print("sync.seconds_1e5", long.seconds, "s", Some(baseline), n);
    print("sync.bytes_1e3", short.bytes as f64, "B", Some(short.header_bytes as f64), 1_000);
    let headers = long.header_bytes as f64 / short.header_bytes as f64;
    print("sync.bytes_ratio_1e5_1e3", long.bytes as f64 / short.bytes as f64, "", Some(headers), 1);
    let each = (short.bytes - bare.bytes) as f64 / CHANGES as f64;
    print("sync.bytes_per_set_change", each, "B", None, CHANGES as u64);
    Ok(())
}

/// A chain of `blocks` blocks with `changes` hand-overs at even distances, of `authorities` each, and a client that follows it.
fn sync(blocks: usize, changes: usize, authorities: usize, runs: usize) -> Result<Sync> {
    let mut chain = TestChain::new(1, authorities, []);
    let stretch = blocks / (changes + 1);
    for _ in 0..changes {
        chain.build_blocks(stretch - 1);
        chain.build_set_change(authorities);
    }
    chain.build_blocks(blocks - chain.best() as usize);
    let answers = answers(&mut chain);
    let (genesis, anchor) = (chain.genesis_hash(), chain.anchor());
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..runs {
        let begun = Instant::now();
        let client = follow(&genesis, &anchor, &answers)?;
        seconds.push(begun.elapsed().as_secs_f64());
        ensure!(client.head().number() == chain.best(), "the client stopped at block {}", client.head().number());
        ensure!(client.authorities().id() == changes as u64, "the client missed a change of authorities");
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Sync {
        seconds: seconds.get(runs / 2).copied().context("no run")?,
        bytes: answers.iter().map(Vec::len).sum(),
        header_bytes: (1..=chain.best()).map(|number| chain.header(number).encoded_size()).sum(),
        signatures: (changes + 1) * authorities,
    })
}

/// What a node answers, one answer after the other, until the client is at the chain's head.
fn answers(chain: &mut TestChain) -> Vec<Vec<u8>> {
    let FinalityProof { fragments, .. } = chain.proof(0, chain.best());
    let (mut answers, mut waiting) = (Vec::new(), fragments.into_iter().peekable());
    while waiting.peek().is_some() {
        let (mut fragments, mut bytes): (Vec<FinalityFragment>, usize) = (Vec::new(), 0);
        while let Some(fragment) = waiting.next_if(|fragment| {
            fragments.len() < MAX_FINALITY_FRAGMENTS && bytes + fragment.encoded_size() <= ANSWER_BYTES
        }) {
            bytes += fragment.encoded_size();
            fragments.push(fragment);
        }
        answers.push(FinalityProof { fragments, complete: waiting.peek().is_none() }.encode());
    }
    answers
}

/// A fresh client, led along.
fn follow(genesis: &Hash, anchor: &GenesisAnchor, answers: &[Vec<u8>]) -> Result<LightClient> {
    let mut client = verify_anchor(genesis, anchor)?;
    for answer in answers {
        client.advance(answer, &ENTROPY)?;
    }
    Ok(client)
}

/// Seconds for as many signatures over messages of a vote's length, by the fastest single verification that the network has.
fn one_by_one(signatures: usize) -> Result<f64> {
    let key = ed25519::IdentityKey::from_seed(&Secret::new([3; 32]));
    // One tag, hash, number, round and set.
    let messages: Vec<[u8; 53]> = (0..signatures).map(|index| [index as u8; 53]).collect();
    let signed: Vec<_> = messages.iter().map(|message| key.sign(message)).collect();
    let begun = Instant::now();
    for (message, signature) in messages.iter().zip(&signed) {
        ed25519::verify(&key.public(), message, signature)?;
    }
    Ok(begun.elapsed().as_secs_f64())
}
