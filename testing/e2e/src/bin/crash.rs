//! `cargo xtask campaign crash [--seed S] [--n KILLS]`: kills parts of a network under load; see [`phala_e2e::campaign`].
//!
//! Prints its seed first, what it does on standard error, and a summary in Markdown on standard output that can go into
//! `docs/campaigns/crash.md`. With `--record FILE` a campaign may come in pieces: each run goes on where the one before ended, and the
//! summary is that of all. Exits with 1 when an invariant was broken or the network did not recover, in this run or a recorded one; the
//! network's folder, with its logs, is kept then. Exits with 3 when nothing was broken and steps or kills are missing, with a record or
//! without.
#![forbid(unsafe_code)]

use anyhow::{bail, Context, Result};
use phala_e2e::campaign::{
    self, plan,
    record::{Campaign, Record},
    Options, Report,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

const USAGE: &str = "\
campaign crash [--seed S] [--n KILLS] [--minutes M] [--record FILE] [--epoch-blocks B] [--base-path DIR] [--quick]
  --seed S          decides what is killed and when [default: 1]
  --n KILLS         at least so many kills [default: 200]
  --minutes M       begin no further step after so long
  --record FILE     go on from what FILE says is done of this seed and number, and add what this run does
  --epoch-blocks B  least length of clusters' epochs, 10 or more [default: 30]
  --base-path DIR   where the network lives, and stays [default: a temporary folder, kept after a failure]
  --quick           one kill of each role, one cluster, no second replica";

struct Arguments {
    seed: u64,
    kills: usize,
    minutes: Option<u64>,
    record: Option<PathBuf>,
    epoch_blocks: u32,
    base: Option<PathBuf>,
    quick: bool,
}

fn arguments() -> Result<Arguments> {
    let mut found =
        Arguments { seed: 1, kills: 200, minutes: None, record: None, epoch_blocks: 30, base: None, quick: false };
    // The first word is the campaign's name.
    let mut words = std::env::args().skip(1).skip_while(|word| word == "crash");
    while let Some(word) = words.next() {
        if word == "--quick" {
            found.quick = true;
            continue;
        }
        let value = words.next().with_context(|| format!("{word} needs a value\n{USAGE}"))?;
        match word.as_str() {
            "--seed" => found.seed = value.parse()?,
            "--n" => found.kills = value.parse()?,
            "--minutes" => found.minutes = Some(value.parse()?),
            "--record" => found.record = Some(value.into()),
            "--epoch-blocks" => found.epoch_blocks = value.parse()?,
            "--base-path" => found.base = Some(value.into()),
            _ => bail!("unknown word {word}\n{USAGE}"),
        }
    }
    if found.quick && found.record.is_some() {
        bail!("--quick is done in one piece: it has no --record\n{USAGE}");
    }
    Ok(found)
}

fn main() -> Result<ExitCode> {
    let arguments = arguments()?;
    println!("seed {}, at least {} kills; simulated TEEs: INSECURE", arguments.seed, arguments.kills);
    let temporary = tempfile::Builder::new().prefix("phala-crash-").tempdir()?;
    let base = arguments.base.clone().unwrap_or_else(|| temporary.path().to_owned());
    let campaign = Campaign { seed: arguments.seed, kills: arguments.kills, epoch_blocks: arguments.epoch_blocks };
    let mut record = arguments.record.as_deref().map(|path| Record::open(path, campaign)).transpose()?;
    let (load_seed, steps) = match &record {
        Some(record) => (record.load_seed(), record.left().to_vec()),
        None if arguments.quick => (arguments.seed, plan::one_of_each(arguments.seed)),
        None => (plan::load_seed(arguments.seed, 0), plan::plan(arguments.seed, arguments.kills)),
    };
    let planned = steps.len();
    if steps.is_empty() {
        println!("all steps of this campaign are done");
    } else {
        let options = Options {
            seed: load_seed,
            steps,
            base: base.clone(),
            witness: true,
            both_clusters: !arguments.quick,
            calm_probes: if arguments.quick { 1 } else { 5 },
            epoch_blocks: arguments.epoch_blocks,
            network: Vec::new(),
            pause: Duration::from_secs(2),
            until: arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes)),
        };
        let report = campaign::run(&options);
        if !report.as_ref().is_ok_and(|report| report.violations.is_empty()) {
            eprintln!("the network's folder is kept: {}", base.display());
            let _ = temporary.keep();
        }
        let Some(record) = &mut record else {
            let report = report?;
            summarise(&report);
            let wanted = if arguments.quick { 0 } else { arguments.kills };
            return Ok(verdict(&report, planned - report.recoveries.len().min(planned), wanted));
        };
        record.add(&report)?;
    }
    Ok(record.map_or(ExitCode::SUCCESS, |record| conclude(&record)))
}

/// What all pieces came to.
fn conclude(record: &Record) -> ExitCode {
    let (total, failures) = (record.total(), record.failures());
    println!("{} pieces, {} steps done, {} left", record.pieces().len(), record.done(), record.left().len());
    for piece in record.pieces() {
        let (from, to) = (piece.from, piece.from + piece.steps());
        println!("- steps {from} to {to}, load of seed {}, commit {}", piece.load_seed, piece.commit);
    }
    summarise(&total);
    for failure in &failures {
        println!("- a piece broke off: {failure}");
    }
    if failures.is_empty() {
        verdict(&total, record.left().len(), record.wanted())
    } else {
        ExitCode::FAILURE
    }
}

/// Says whether the campaign is whole, and what it came to.
fn verdict(report: &Report, left: usize, wanted: usize) -> ExitCode {
    let killed = report.killed();
    if left > 0 {
        println!("NOT RUN: {left} steps; with --record the same command goes on from here");
    } else if killed < wanted {
        println!("NOT RUN: {killed} kills of {wanted}; processes that were down already cannot be killed");
    }
    if !report.violations.is_empty() {
        ExitCode::FAILURE
    } else if left > 0 || killed < wanted {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    }
}

fn summarise(report: &Report) {
    let counts = &report.counts;
    println!("\n{} kills in {} s: {:?}", report.killed(), report.took.as_secs(), report.kills);
    println!(
        "{} transfers wanted, {} of them sent more than once; {} items, {} of them repeated, {} refused by the contract",
        report.transfers, report.resent, counts.items, counts.repeated, counts.refused
    );
    println!("{} replies proved, {} final results, {} changes of epoch", counts.replies, counts.results, counts.epochs);
    println!("\n| killed | n | p50 s | p95 s | max s | of it since the process ran again, p50 s |\n|---|---:|---:|---:|---:|---:|");
    let mut rows: BTreeMap<String, (Vec<Duration>, Vec<Duration>)> = BTreeMap::new();
    for recovery in &report.recoveries {
        // Pairs are too many kinds for a row each.
        let name = if recovery.action.contains(", then ") { "one, then another" } else { recovery.action.as_str() };
        for row in [name, "all"] {
            let (recovered, since) = rows.entry(row.to_owned()).or_default();
            recovered.push(recovery.recovered);
            since.push(recovery.recovered.saturating_sub(recovery.started));
        }
    }
    rows.insert("nothing (the probe's round trip)".to_owned(), (report.calm.clone(), Vec::new()));
    for (name, (mut recovered, mut since)) in rows {
        recovered.sort_unstable();
        since.sort_unstable();
        let at = |list: &[Duration], percent: usize| match list.len() {
            0 => "-".to_owned(),
            length => format!("{:.1}", list[(length * percent).div_ceil(100).clamp(1, length) - 1].as_secs_f64()),
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            recovered.len(),
            at(&recovered, 50),
            at(&recovered, 95),
            at(&recovered, 100),
            at(&since, 50)
        );
    }
    println!("\n{} violations", report.violations.len());
    for violation in &report.violations {
        println!("- {violation}");
    }
}
