//! `cargo xtask bench start [--json] [--quick] [--any-build] [--runs N]`: what `phala dev --fresh` takes until it is usable, and the memory it then has.
//!
//! | metric | formula |
//! |---|---|
//! | `start.ready_s` | median over the runs of the seconds from starting `phala dev --fresh` to its `ready` line, from built binaries; aim <= 60 |
//! | `start.rss_mb` | median over the runs of the sum of PSS, in MiB, of every process in `network.json` (the supervisor `phala dev` is one of them), [`SETTLE`] after the ready line; aim <= 1024 |
//!
//! The baseline of both is the same node binary alone, as anybody starts a Substrate node: `phala-node --dev` in an empty folder, until it has
//! finalised its first block, and its PSS as long after that. The ratio is value / baseline: what the confidential part costs on top.
//!
//! It measures the binaries of the folder that `PHALA_BIN` names, or of `bin/`, says on standard error which build they are, and fails
//! unless all are release builds, but with `--any-build` or `--quick` (`builds.rs`): it cannot make them, as a release build of the node
//! takes far longer than what is measured. PSS (proc_pid_smaps(5)) counts a page that n processes share as 1/n in each, so that the sum is
//! memory and not a count of mappings.
//!
//! INSECURE: the network's TEEs are simulated. It ends every process that it starts.
#![forbid(unsafe_code)]

mod builds;
mod processes;

use anyhow::{bail, ensure, Context, Result};
use builds::binary;
use processes::{proportional_kib, Started};
use serde_json::{json, Value};
use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

const USAGE: &str = "\
bench start [--json] [--quick] [--any-build] [--runs N]
  --json        one JSON line a metric and nothing else on standard output: the only form there is
  --quick       one run of each, without the settling time, of whatever build: no figures
  --any-build   measure binaries that are no release builds, too
  --runs N      runs of which the median is taken [default: 3]";
/// What a network is made of.
const PROGRAMS: [&str; 4] = ["phala", "phala-node", "phala-worker", "phala-insecure-tee"];

/// How long after it is ready memory is measured.
const SETTLE: Duration = Duration::from_secs(10);
/// How long a start may take.
const READY_WITHIN: Duration = Duration::from_secs(300);

struct Arguments {
    runs: usize,
    settle: Duration,
    any_build: bool,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments { runs: 3, settle: SETTLE, any_build: false };
    // The first word is the benchmark's name.
    let mut words = std::env::args().skip(1).skip_while(|word| word == "start");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => {}
            "--quick" => found = Arguments { runs: 1, settle: Duration::ZERO, any_build: true },
            "--any-build" => found.any_build = true,
            "--runs" => found.runs = words.next().context("--runs needs a number")?.parse()?,
            _ => bail!("unknown word {word}\n{USAGE}"),
        }
    }
    ensure!(found.runs > 0, "--runs needs a number above 0");
    Ok(found)
}

/// What one start came to.
#[derive(Clone, Copy)]
struct Measured {
    seconds: f64,
    mebibytes: f64,
}

fn main() -> Result<ExitCode> {
    let Arguments { runs, settle, any_build } = arguments()?;
    builds::check(&PROGRAMS, any_build)?;
    let mut networks = Vec::new();
    let mut nodes = Vec::new();
    for run in 0..runs {
        // In turns, so that whatever else the machine does meets both.
        nodes.push(node_alone(settle)?);
        networks.push(network(settle)?);
        eprintln!("run {}: {:.1} s, {:.0} MiB", run + 1, networks[run].seconds, networks[run].mebibytes);
    }
    let metric = |name: &str, unit: &str, of: fn(&Measured) -> f64| {
        let (value, baseline) = (median(&networks, of), median(&nodes, of));
        let rounded = |number: f64| (number * 100.0).round() / 100.0;
        let line = json!({
            "metric": name, "value": rounded(value), "unit": unit,
            "baseline": rounded(baseline), "ratio": rounded(value / baseline), "n": runs,
        });
        println!("{line}");
    };
    metric("start.ready_s", "s", |measured| measured.seconds);
    metric("start.rss_mb", "MiB", |measured| measured.mebibytes);
    Ok(ExitCode::SUCCESS)
}

/// A whole network, from nothing to usable.
fn network(settle: Duration) -> Result<Measured> {
    let folder = tempfile::Builder::new().prefix("phala-bench-").tempdir()?;
    let mut command = Command::new(binary("phala")?);
    command.args(["dev", "--fresh", "--json", "--base-path"]).arg(folder.path());
    command.env("PHALA_HOME", folder.path().join("home"));
    let started = Instant::now();
    let mut dev = Started::new(&mut command, &folder.path().join("dev.log"))?;
    let line = dev.first_line(READY_WITHIN).context("the network was not ready in time")?;
    let seconds = started.elapsed().as_secs_f64();
    let ready: Value = serde_json::from_str(&line).context("the ready line is no JSON")?;
    ensure!(ready["ready"] == true, "the network says {line}");
    std::thread::sleep(settle);
    let file: Value = serde_json::from_str(&std::fs::read_to_string(folder.path().join("network.json"))?)?;
    let pids = file["pids"].as_object().context("network.json names no processes")?;
    ensure!(pids.get("dev") == Some(&json!(dev.id())), "the supervisor is not in the list of processes");
    let mut kib = 0;
    for (name, pid) in pids {
        let of = proportional_kib(pid.as_u64().context("a process id is no number")?)?;
        eprintln!("  {name}: {} MiB", of / 1024);
        kib += of;
    }
    dev.end()?;
    Ok(Measured { seconds, mebibytes: kib as f64 / 1024.0 })
}

/// The node alone.
fn node_alone(settle: Duration) -> Result<Measured> {
    let folder = tempfile::Builder::new().prefix("phala-bench-").tempdir()?;
    let port = processes::free_port()?;
    let mut command = Command::new(binary("phala-node")?);
    command.arg("--dev").arg("--base-path").arg(folder.path().join("node"));
    command.args(["--rpc-port", &port.to_string(), "--port", &processes::free_port()?.to_string()]);
    command.args(["--no-telemetry", "--no-prometheus", "--no-mdns"]);
    let started = Instant::now();
    let mut node = Started::new(&mut command, &folder.path().join("node.log"))?;
    while !has_finalised(port) {
        ensure!(started.elapsed() < READY_WITHIN && node.lives(), "the node alone finalised nothing in time");
        std::thread::sleep(Duration::from_millis(100));
    }
    let seconds = started.elapsed().as_secs_f64();
    std::thread::sleep(settle);
    let kib = proportional_kib(node.id().into())?;
    node.end()?;
    Ok(Measured { seconds, mebibytes: kib as f64 / 1024.0 })
}

/// Whether a node has finalised more than the genesis block.
fn has_finalised(port: u16) -> bool {
    let hash = processes::rpc(port, "chain_getFinalizedHead", &json!([]));
    let header = hash.and_then(|hash| processes::rpc(port, "chain_getHeader", &json!([hash])));
    header.is_some_and(|header| header["number"].as_str().is_some_and(|number| number != "0x0"))
}

fn median(runs: &[Measured], of: fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        (at(middle.saturating_sub(1)) + at(middle)) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two() {
        let runs = |seconds: &[f64]| {
            seconds.iter().map(|seconds| Measured { seconds: *seconds, mebibytes: 0.0 }).collect::<Vec<_>>()
        };
        assert!((median(&runs(&[3.0, 1.0, 2.0]), |run| run.seconds) - 2.0).abs() < f64::EPSILON);
        assert!((median(&runs(&[4.0, 1.0]), |run| run.seconds) - 2.5).abs() < f64::EPSILON);
    }
}
