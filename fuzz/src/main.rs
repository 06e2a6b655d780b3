//! `cargo xtask campaign fuzz [--minutes M] [--target NAME] [--seed N] [--write]`: every target for M minutes (1 unless said), one
//! after the other, each in a process of its own with bounded memory.
//!
//! Prints one line a target and, with `--write`, keeps the table as `docs/campaigns/fuzz.md`. Exit code 1 when something was found.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a tool that stops when its own machine fails it")]

use phala_fuzz::{
    campaign::{find, keep, search, Report},
    targets::TARGETS,
    Target,
};
use std::{
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

/// Bytes of memory that a target's process may write to. What needs more is a finding.
const MEMORY: u64 = 3 << 30;

struct Options {
    minutes: f64,
    target: Option<String>,
    seed: u64,
    write: bool,
    /// Given to the process of one target: the file of its current input.
    current: Option<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match parse(&words) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match (&options.target, &options.current) {
        (Some(name), Some(current)) => {
            alone(find(name).expect("its parent knows the name"), &options, Path::new(current));
            ExitCode::SUCCESS
        }
        _ => all(&options),
    }
}

fn parse(words: &[String]) -> Result<Options, String> {
    let mut options = Options { minutes: 1.0, target: None, seed: 1, write: false, current: None };
    let mut words = words.iter().peekable();
    // `cargo xtask campaign` hands the campaign's name on.
    words.next_if(|word| *word == "fuzz");
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--minutes" => options.minutes = value()?.parse().map_err(|_| "--minutes is a number")?,
            "--seed" => options.seed = value()?.parse().map_err(|_| "--seed is a number")?,
            "--target" => options.target = Some(value()?),
            "--current" => options.current = Some(value()?),
            "--write" => options.write = true,
            "--quick" => options.minutes = 0.05,
            other => return Err(format!("unknown argument '{other}'; see the head of fuzz/src/main.rs")),
        }
    }
    if let Some(name) = &options.target {
        let names = || TARGETS.map(|target| target.name).join(", ");
        find(name).ok_or_else(|| format!("no target '{name}'; there are: {}", names()))?;
    }
    Ok(options)
}

/// One target, in this process.
fn alone(target: &Target, options: &Options, current: &Path) {
    let limit = rustix::process::Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    rustix::process::setrlimit(rustix::process::Resource::Data, limit).expect("memory can be limited");
    let report = search(target, options.seed, Duration::from_secs_f64(options.minutes * 60.0), current);
    let Report { executions, accepted, kinds, slowest_ms, findings } = report;
    println!(
        "{}",
        serde_json::json!({
            "executions": executions, "accepted": accepted, "kinds": kinds, "slowest_ms": slowest_ms, "findings": findings
        })
    );
}

/// The targets, each in a process of its own.
fn all(options: &Options) -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut table = String::from(
        "| target | seconds | executions | accepted | kinds of verdict | slowest | findings |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    println!("seed {}, {} minutes a target", options.seed, options.minutes);
    let (mut found, mut executed) = (Vec::new(), 0);
    for target in TARGETS.iter().filter(|target| options.target.as_ref().is_none_or(|name| name == target.name)) {
        let current = folder.path().join(target.name);
        let begun = std::time::Instant::now();
        let output = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--target", target.name, "--seed", &options.seed.to_string()])
            .args(["--minutes", &options.minutes.to_string(), "--current", &current.to_string_lossy()])
            .output()
            .expect("a process can be started");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut findings: Vec<String> = report["findings"]
            .as_array()
            .map(|list| list.iter().filter_map(|finding| finding.as_str().map(str::to_owned)).collect())
            .unwrap_or_default();
        if !output.status.success() {
            let input = std::fs::read(&current).unwrap_or_default();
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or_default();
            findings.push(format!(
                "the process ended with {}: {last} ({})",
                output.status,
                keep(target, &input).display()
            ));
        }
        let number = |name: &str| report[name].as_u64().unwrap_or(0);
        executed += number("executions");
        let line = format!(
            "| {} | {:.0} | {} | {} | {} | {} ms | {} |",
            target.name,
            begun.elapsed().as_secs_f64(),
            number("executions"),
            number("accepted"),
            number("kinds"),
            number("slowest_ms"),
            findings.len()
        );
        println!("{line}");
        table.push_str(&line);
        table.push('\n');
        for finding in findings {
            println!("  FOUND {}: {finding}", target.name);
            found.push(format!("- `{}`: {}", target.name, finding.lines().next().unwrap_or_default()));
        }
    }
    println!("{executed} executions, {} findings", found.len());
    if options.write {
        write(options, &table, &found, executed);
    }
    if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Keeps the results beside those of the other campaigns. What stands after the mark is written by hand and stays.
fn write(options: &Options, table: &str, found: &[String], executed: u64) {
    let output = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    let changed = output("git", &["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    let date = output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("unknown");
    let found = if found.is_empty() { "Nothing was found in this run.".to_owned() } else { found.join("\n") };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/campaigns/fuzz.md");
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    const MARK: &str = "<!-- end of the run -->\n";
    let kept = old.split_once(MARK).map_or("", |(_, kept)| kept);
    let text = format!(
        "# Campaign: fuzz\n\nWhat each target holds a decoder to stands in `fuzz/src/targets`. Again: `cargo xtask campaign fuzz --minutes {} --seed {} --write`.\n\n- commit: {commit}{}\n- machine: {cpus} cores, {model}, {}\n- date: {date}\n- engine: random and verdict-guided, no coverage instrumentation\n- ran: {} minutes a target, seed {}, {executed} executions\n\n{table}\n{found}\n\n{MARK}{kept}",
        options.minutes,
        options.seed,
        if changed { ", and changes that are not committed" } else { "" },
        if cfg!(debug_assertions) { "debug build" } else { "release build" },
        options.minutes,
        options.seed,
    );
    std::fs::write(&path, text).expect("docs/campaigns can be written");
    println!("written to docs/campaigns/fuzz.md");
}
