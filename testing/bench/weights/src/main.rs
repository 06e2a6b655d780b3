//! `cargo xtask bench weights [--json] [--quick] [--only TEXT] [-- --write]`: what the calls and hooks of our seven pallets cost, each in
//! the worst state that we know, and the weights that follow.
//!
//! Each scene is a development chain in block 1,000, prepared natively and committed. What is done in it is a transaction or the
//! beginning of a block of the real runtime: executed natively to count the keys that it reads and writes and the bytes of the proof of
//! what it reads, and in the runtime's WASM, under the node's executor, for its time. See `measure.rs` for what is subtracted, and `fit.rs`
//! for how a function of the parameters comes of it, with its margin.
//!
//! | metric | formula |
//! |---|---|
//! | `weights.PALLET.FUNCTION` | milliseconds of the weight that covers one state: time in WASM, and reads and writes at the costs of the runtime's database, without the margin. Baseline: what the pallet charges for it now; the ratio is value / baseline, and over 1 it charges too little |
//!
//! Times are those of the slowest machine that weights were taken on: [`REFERENCE`] is measured first, and where it takes less here than
//! `measured.json` has of it, every time is multiplied by the quotient, `slower`. A faster machine so lowers no weight.
//!
//! `state` says which, `at` the arguments of the function, `wasm_ms`, `reads`, `writes` and `proof_bytes` what was measured, `n` the runs.
//! `--write` rewrites the functions of `chain/pallets/*/src/weights.rs` that were measured in all of their states, and keeps the measurement
//! in `testing/bench/weights/measured.json`, with which the tests compare what is charged; `--refit` rewrites them from what is kept there. `--quick` counts and takes no time, for a
//! smoke test. `--seconds` bounds the whole, 400 by default. INSECURE: all keys follow from numbers, and machines are simulated.
#![forbid(unsafe_code)]

mod case;
mod cases;
mod fit;
mod kept;
mod measure;
mod sources;
#[cfg(test)]
mod tests;
mod world;

use anyhow::{bail, ensure, Context, Result};
use case::{Case, Point};
use fit::{Fitted, Sample};
use measure::{Engine, Prepared};
use serde_json::json;
use sp_core::storage::Storage;
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

const USAGE: &str = "\
bench weights [--json] [--quick] [--only TEXT] [--seconds N] [--write]
  --json       one JSON line a state and nothing else on standard output: the only form there is
  --quick      count reads and writes, and measure no time
  --only TEXT  the functions whose PALLET.FUNCTION contains the text
  --seconds N  bound the whole, 400 by default
  --write      rewrite the pallets' weights.rs and measured.json
  --refit      measure nothing: rewrite weights.rs from measured.json";

/// The function and its state by which machines are compared: it verifies evidence, in WASM, and does little else.
const REFERENCE: (&str, &str, &str) = ("attestation", "register", "in place of two others");

/// The longest that one state is measured.
const LONGEST: Duration = Duration::from_secs(4);

struct Options {
    quick: bool,
    write: bool,
    refit: bool,
    only: String,
    seconds: u64,
}

fn main() -> Result<ExitCode> {
    let options = options(std::env::args().skip(1).skip_while(|word| word == "weights"))?;
    let cases: Vec<Case> = cases::all()
        .into_iter()
        .filter(|case| format!("{}.{}", case.pallet, case.function).contains(&options.only))
        .collect();
    ensure!(!cases.is_empty(), "no function's name contains '{}'", options.only);
    if options.refit {
        kept::refit(&cases)?;
        return Ok(ExitCode::SUCCESS);
    }
    let begun = Instant::now();
    let genesis = world::genesis_state()?;
    let engine = if options.quick { None } else { Some(Engine::new()?) };
    let slower = engine.as_ref().map_or(Ok(1.0), |engine| slower(&genesis, engine))?;
    eprintln!("         times are multiplied by {slower:.2}");
    let (mut failed, mut measured) = (0u32, Vec::new());
    let mut left = cases.iter().map(|case| case.points.len()).sum::<usize>();
    for case in &cases {
        let mut samples = Vec::new();
        for point in &case.points {
            let remaining = Duration::from_secs(options.seconds).saturating_sub(begun.elapsed());
            // Preparing a state takes about as long as measuring it.
            let budget = remaining.checked_div(u32::try_from(2 * left)?).unwrap_or(Duration::ZERO).min(LONGEST);
            left = left.saturating_sub(1);
            eprintln!("[{:4} s] {}.{}: {}", begun.elapsed().as_secs(), case.pallet, case.function, point.label);
            match run(&genesis, engine.as_ref(), case, point, budget, slower) {
                Ok(sample) => samples.push((point.label, sample)),
                Err(error) => {
                    failed = failed.saturating_add(1);
                    eprintln!("         FAILED: {error:#}");
                }
            }
        }
        if samples.len() == case.points.len() {
            measured.push((case, samples));
        }
    }
    for (pallet, function, reason) in cases::ESTIMATED {
        eprintln!("         {pallet}.{function} keeps its estimate: {reason}");
    }
    eprintln!("[{:4} s] {failed} states failed", begun.elapsed().as_secs());
    if options.write {
        kept::write(&measured, slower)?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { quick: false, write: false, refit: false, only: String::new(), seconds: 400 };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" | "--" => {}
            "--quick" => options.quick = true,
            "--write" => options.write = true,
            "--refit" => options.refit = true,
            "--only" => options.only = words.next().context("--only TEXT")?,
            "--seconds" => options.seconds = words.next().context("--seconds N")?.parse().context("--seconds N")?,
            _ => bail!("unknown word {word}\n{USAGE}"),
        }
    }
    ensure!(!(options.quick && options.write), "--quick measures no time: there is nothing to write");
    Ok(options)
}

/// How much slower than this machine the one was that [`REFERENCE`] is kept of; 1 if it was not.
fn slower(genesis: &Storage, engine: &Engine) -> Result<f64> {
    let (pallet, function, state) = REFERENCE;
    let cases = cases::all();
    let case = cases.iter().find(|case| (case.pallet, case.function) == (pallet, function)).context("no reference")?;
    let point = case.points.iter().find(|point| point.label == state).context("no state of the reference")?;
    let kept = kept::read()?;
    let is_it = |kept: &&kept::Kept| {
        (kept.pallet.as_str(), kept.function.as_str(), kept.state.as_str()) == (pallet, function, state)
    };
    let Some(kept) = kept.iter().find(is_it) else { return Ok(1.0) };
    let (here, _) = Prepared::new(genesis, point)?.time(engine, LONGEST)?;
    Ok((kept.sample.nanoseconds as f64 / here as f64).max(1.0))
}

/// Measures one state, and prints it; times are multiplied by `slower`.
fn run(
    genesis: &Storage,
    engine: Option<&Engine>,
    case: &Case,
    point: &Point,
    budget: Duration,
    slower: f64,
) -> Result<Sample> {
    let mut prepared = Prepared::new(genesis, point)?;
    let counts = prepared.count(case.charged)?;
    let (nanoseconds, runs) = match engine {
        Some(engine) => prepared.time(engine, budget)?,
        None => (0, 0),
    };
    let nanoseconds = (nanoseconds as f64 * slower) as u64;
    let sample = case.sample(prepared.at, counts, nanoseconds);
    let milliseconds = |weight: frame_support::weights::Weight| weight.ref_time() as f64 / 1e9;
    let (value, charged) = (milliseconds(sample.weight()), milliseconds((case.charged)(&sample.at)));
    let line = json!({
        "metric": format!("weights.{}.{}", case.pallet, case.function),
        "value": value,
        "unit": "ms",
        "baseline": charged,
        "ratio": value / charged,
        "n": runs,
        "state": point.label,
        "at": sample.at,
        "wasm_ms": sample.nanoseconds as f64 / 1e6,
        "slower": slower,
        "reads": sample.reads,
        "writes": sample.writes,
        "proof_bytes": sample.proof,
    });
    println!("{line}");
    Ok(sample)
}

/// What was measured of one function.
type Measured<'a> = (&'a Case, Vec<(&'static str, Sample)>);

/// The function of a case, from what was measured of it.
fn fitted(samples: &[(&'static str, Sample)], parameters: usize) -> Result<Fitted> {
    let samples: Vec<Sample> = samples.iter().map(|(_, sample)| sample.clone()).collect();
    Fitted::of(&samples, parameters)
}
