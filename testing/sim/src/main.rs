//! `cargo xtask campaign sim`: thousands of seeds, and a minimal scenario of whatever fails.
//!
//! Prints every failing seed with its shrunk scenario, then one table of what happened how often. Exit code 1 if anything failed.
#![forbid(unsafe_code)]

use clap::Parser;
use phala_sim::{invariants, run, run_seed, shrink, Scenario};
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

/// Simulates hostile networks. INSECURE: nothing here is secret.
#[derive(Parser)]
struct Arguments {
    /// The campaign's name, as `cargo xtask` passes it.
    name: String,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    n: u64,
    /// Actions of each.
    #[arg(long, default_value_t = 150)]
    steps: usize,
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
        return Ok(report(&ran.counts, ran.violation.iter().map(|violation| violation.to_string()).collect()));
    }
    if arguments.show {
        let (ran, scenario) = run_seed(arguments.seed, arguments.steps);
        println!("{scenario}# {:?}", ran.violation);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}: {} seeds from {}, {} actions each", arguments.name, arguments.n, arguments.seed, arguments.steps);
    let (mut counts, mut failures) = (BTreeMap::new(), Vec::new());
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.n) {
        let (ran, scenario) = run_seed(seed, arguments.steps);
        for (what, count) in ran.counts {
            let total: &mut u64 = counts.entry(what).or_default();
            *total = if what.ends_with("most") { (*total).max(count) } else { *total + count };
        }
        let Some(violation) = ran.violation else { continue };
        println!("seed {seed} fails: {violation}");
        let small = shrink(&scenario, violation.invariant, arguments.shrink);
        println!("# {violation}\n{small}");
        failures.push(format!("seed {seed}: {}", violation.invariant));
    }
    Ok(report(&counts, failures))
}

/// Prints what happened. Actions of the network first, then what came of them.
fn report(counts: &BTreeMap<&'static str, u64>, failures: Vec<String>) -> ExitCode {
    for (what, count) in counts {
        println!("{count:>9}  {}", what.trim_start_matches("= "));
    }
    println!("{:>9}  invariants, by name", invariants::NAMES.len());
    println!("{:>9}  failures", failures.len());
    failures.iter().for_each(|failure| println!("           {failure}"));
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
