//! `cargo xtask campaign canary`: the whole search for marked plaintext, several times over, with core dumps.
//!
//! `canary [--n ROUNDS] [--record FILE]`: each round draws new markers, sends them through a network of real processes, and searches
//! everything but the worker's own memory; then every process but `phala dev` is crashed, and what it leaves on the disk is searched:
//! TEEs may leave nothing. There is no seed: a marker that could be computed again could also stand somewhere by
//! accident. Prints one table a round, what could not be searched on this machine, and a verdict. With `--record FILE` rounds may come
//! in pieces: what FILE says is done counts, and what was found stays found. Exit code 1 when something was found or the search was not
//! shown to work; 3 when nothing was found and something was not searched; 0 otherwise.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a tool of tests: what it cannot do ends it")]

use anyhow::{bail, ensure, Context, Result};
use phala_campaigns::{read, write};
use phala_e2e::{canary_run::Canary, core_dumps, probe, redaction::OF_A_CAMPAIGN, wait_until, Network};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, process::ExitCode, time::Duration};

const USAGE: &str = "campaign canary [--n ROUNDS, 1 to 40; default 3] [--record FILE]";
/// Rounds of one network: the inbox is read in one answer, and a round puts a handful of items into it.
const MAX_ROUNDS: usize = 40;

/// The finest level of which each log has to have a line. Nothing that a gatekeeper is built of says more than its own lines.
const LEVELS: [(&str, &str); 4] =
    [("node-0", "DEBUG"), ("relayer-by-hand", "TRACE"), ("gatekeeper", "INFO"), ("worker-0", "TRACE")];

/// For processes that crashed to serve again.
const BACK_WITHIN: Duration = Duration::from_secs(240);

/// What one round came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Round {
    commit: String,
    table: String,
    bytes: u64,
    faults: Vec<String>,
    not_searched: Vec<String>,
    /// TEEs that crashed and left no core dump.
    forbidden: Vec<String>,
}

struct Arguments {
    rounds: usize,
    record: Option<PathBuf>,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments { rounds: 3, record: None };
    // The first word is the campaign's name.
    let mut words = std::env::args().skip(1).skip_while(|word| word == "canary");
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value\n{USAGE}"))?;
        match word.as_str() {
            "--n" => found.rounds = value.parse().with_context(|| format!("--n is a number\n{USAGE}"))?,
            // Processes are started in another folder, where their core dumps go.
            "--record" => found.record = Some(std::path::absolute(value)?),
            _ => bail!("unknown word {word}\n{USAGE}"),
        }
    }
    // No round would find nothing.
    ensure!((1..=MAX_ROUNDS).contains(&found.rounds), "{USAGE}");
    Ok(found)
}

fn main() -> Result<ExitCode> {
    let arguments = arguments()?;
    let mut rounds = match &arguments.record {
        Some(path) => read(path)?.unwrap_or_default(),
        None => Vec::new(),
    };
    println!("{} rounds, of them {} recorded; simulated TEEs: INSECURE", arguments.rounds, rounds.len());
    if rounds.len() < arguments.rounds {
        run(&arguments, &mut rounds)?;
    }
    Ok(conclude(&rounds))
}

fn run(arguments: &Arguments, rounds: &mut Vec<Round>) -> Result<()> {
    let commit = phala_campaigns::commit();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wasm = probe::build(&folder.path().join("contracts"));
    std::env::set_current_dir(folder.path())?;
    // After the contract is built: only the network's processes are to say everything.
    OF_A_CAMPAIGN.into_iter().for_each(|(name, filter)| std::env::set_var(name, filter));
    let dumps = core_dumps::allow();
    let network = Network::start(&folder.path().join("network"), &["--fresh"]);
    let token = network.ready["contracts"]["token"].as_str().context("no token")?.to_owned();
    while rounds.len() < arguments.rounds {
        let mut canary = Canary::run(&network, &wasm, folder.path());
        let mut faults = quiet(&network);
        match &dumps {
            Ok(()) => canary.search_core_dumps(&network),
            Err(why) => canary.not_searched.push(format!("core dumps: {why}")),
        }
        faults.extend(canary.faults());
        let round = Round {
            commit: commit.clone(),
            table: canary.search.to_string(),
            bytes: canary.search.rows.iter().map(|row| row.bytes).sum(),
            faults,
            not_searched: std::mem::take(&mut canary.not_searched),
            forbidden: std::mem::take(&mut canary.forbidden),
        };
        // Its relayer makes room for the network's own.
        drop(canary);
        wait_until("the network to be back", BACK_WITHIN, || {
            let asked = network.phala(&["contract", "query", &token, "balance", "--from", "alice"]);
            asked.code == Some(0)
        });
        println!("round {} of {}\n\n{}", rounds.len() + 1, arguments.rounds, round.table);
        rounds.push(round);
        if let Some(path) = &arguments.record {
            write(path, rounds)?;
        }
    }
    let ended = network.stop();
    ensure!(ended == Some(0), "`phala dev` ended with {ended:?}");
    Ok(())
}

/// Logs that say less than was asked for.
fn quiet(network: &Network) -> Vec<String> {
    let says = |name: &str, level: &str| {
        let log = std::fs::read(network.base.join("logs").join(format!("{name}.log"))).unwrap_or_default();
        log.windows(level.len()).any(|window| window == level.as_bytes())
    };
    let quiet = LEVELS.iter().filter(|(name, level)| !says(name, level));
    quiet
        .map(|(name, level)| format!("no line of {level} in the log of {name}: what was searched said little"))
        .collect()
}

/// What all rounds came to.
fn conclude(rounds: &[Round]) -> ExitCode {
    let searched: u64 = rounds.iter().map(|round| round.bytes).sum();
    let faults: usize = rounds.iter().map(|round| round.faults.len()).sum();
    println!("{} rounds, {searched} bytes searched, {faults} faults (simulated TEE: INSECURE)", rounds.len());
    let mut complete = true;
    for (number, round) in rounds.iter().enumerate() {
        println!("round {}: commit {}", number + 1, round.commit);
        round.faults.iter().for_each(|fault| println!("FAULT in round {}: {fault}", number + 1));
        println!("crashed and left no core dump: {}", round.forbidden.join(", "));
        round.not_searched.iter().for_each(|what| println!("NOT SEARCHED in round {}: {what}", number + 1));
        complete &= round.not_searched.is_empty();
    }
    match (faults, complete) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    }
}
