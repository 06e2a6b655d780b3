//! `cargo xtask campaign sim`: thousands of seeds, and a minimal scenario of whatever fails.
//!
//! Prints every failing seed, with a shrunk scenario for the first of each kind, then one table of what happened how often. With
//! `--record FILE` a campaign may come in pieces: a run goes on where the one before ended, and the table is that of all. Exit code 1 if
//! anything failed, in this run or a recorded one, or something has not happened that so many seeds need; 3 if nothing failed and seeds are
//! left.
#![forbid(unsafe_code)]

use clap::Parser;
use phala_campaigns::seeds::add;
use phala_sim::{
    invariants,
    record::{missing, Campaign, Piece, Record},
    run, run_seed, shrink, Scenario,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Seeds after which the record is written.
const PIECE: u64 = 20;

/// Simulates hostile networks. INSECURE: nothing here is secret.
#[derive(Parser)]
struct Arguments {
    /// The campaign's name, as `cargo xtask` passes it.
    name: String,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    n: u64,
    /// Actions of each.
    #[arg(long, default_value_t = 150)]
    steps: usize,
    /// Begins no further seeds after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Goes on from what this file says is done of these seeds, and adds what this run does.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Runs at most to make a failing scenario smaller.
    #[arg(long, default_value_t = 200)]
    shrink: usize,
    /// Replays this scenario instead.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// With --replay: tells what every TEE did.
    #[arg(long)]
    story: bool,
    /// Prints the first seed's scenario, and runs nothing else.
    #[arg(long)]
    show: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(path) = &arguments.replay {
        let scenario: Scenario = std::fs::read_to_string(path)?.parse()?;
        let ran = run(&scenario);
        if arguments.story {
            ran.story.iter().for_each(|line| println!("{line}"));
        }
        println!("trace {}", phala_protocol::ids::to_hex(&ran.trace));
        let mut counts = BTreeMap::new();
        ran.counts.iter().for_each(|(what, count)| add(&mut counts, what, *count));
        let failures: Vec<String> = ran.violation.iter().map(ToString::to_string).collect();
        report(&counts, &failures);
        return Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if arguments.show {
        let (ran, scenario) = run_seed(arguments.seed, arguments.steps);
        println!("{scenario}# {:?}", ran.violation);
        return Ok(ExitCode::SUCCESS);
    }
    campaign(&arguments)
}

fn campaign(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, seed, n, steps, .. } = arguments;
    println!("{name}: {n} seeds from {seed}, {steps} actions each; simulated TEEs: INSECURE");
    let campaign = Campaign { seed: *seed, seeds: *n, steps: *steps };
    let mut record = Record::open(arguments.record.as_deref(), campaign)?;
    let commit = phala_campaigns::commit();
    let until = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let mut known = BTreeSet::new();
    while let Some(from) = record.next_seed() {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let seeds = PIECE.min(seed.saturating_add(*n) - from);
        let mut piece = Piece { from, seeds, commit: commit.clone(), counts: BTreeMap::new(), failures: Vec::new() };
        for seed in from..from + seeds {
            let (ran, scenario) = run_seed(seed, *steps);
            ran.counts.iter().for_each(|(what, count)| add(&mut piece.counts, what, *count));
            let Some(violation) = ran.violation else { continue };
            println!("seed {seed} fails: {violation}");
            // One of each kind: making a scenario smaller takes as long as hundreds of seeds.
            if known.insert(violation.invariant) {
                let small = shrink(&scenario, violation.invariant, arguments.shrink);
                println!("# {violation}\n{small}");
            }
            piece.failures.push(format!("seed {seed}: {violation}"));
        }
        record.add(piece)?;
    }

    let (counts, mut failures) = (record.counts(), record.failures());
    for what in missing(record.done(), &counts) {
        failures.push(format!(
            "nothing was looked at: no {} in {} seeds",
            what.trim_start_matches("= "),
            record.done()
        ));
    }
    println!("{:>9}  seeds of {n}", record.done());
    report(&counts, &failures);
    Ok(record.conclude(&failures))
}

/// Prints what happened. Actions of the network first, then what came of them.
fn report(counts: &BTreeMap<String, u64>, failures: &[String]) {
    for (what, count) in counts {
        println!("{count:>9}  {}", what.trim_start_matches("= "));
    }
    println!("{:>9}  invariants, by name", invariants::NAMES.len());
    println!("{:>9}  failures", failures.len());
    failures.iter().for_each(|failure| println!("           {failure}"));
}
