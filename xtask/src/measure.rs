//! Starts what measures and what searches: benchmarks and campaigns, each a program of its own crate.
//!
//! They are separate programs so that this tool links neither the node nor the worker. A benchmark is always compiled for release:
//! a figure of another build would say nothing. It guarantees that an unknown name is an error that lists the known ones, and that
//! the program's exit code is this tool's. What the figures mean stands in the program that prints them.

use std::process::{Command, ExitCode};

use anyhow::{bail, Context, Result};

/// A program of this workspace: the name given on the command line, the crate, and the crate's binary.
type Program = (&'static str, &'static str, &'static str);

/// `cargo xtask bench NAME`: printed as one JSON line a metric.
const BENCHMARKS: &[Program] = &[
    ("start", "phala-bench-network", "phala-bench-network"),
    ("chain", "phala-bench-chain", "phala-bench-chain"),
    ("sync", "phala-bench-sync", "phala-bench-sync"),
    ("command", "phala-bench-tee", "phala-bench-tee"),
    ("query", "phala-bench-tee", "phala-bench-tee"),
    ("attest", "phala-bench-attest", "phala-bench-attest"),
    ("profile", "phala-bench-tee", "phala-bench-tee"),
];

/// `cargo xtask campaign NAME`: full n, seeded; the results are committed under `docs/campaigns/`.
const CAMPAIGNS: &[Program] = &[
    ("crash", "phala-e2e", "crash"),
    ("canary", "phala-e2e", "canary"),
    ("sim", "phala-sim", "phala-sim"),
    ("fuzz", "phala-fuzz", "phala-fuzz"),
];

/// Runs a benchmark with the words that follow its name.
pub fn bench(words: &[&str]) -> Result<ExitCode> {
    run("bench", BENCHMARKS, words)
}

/// Runs a campaign with the words that follow its name.
pub fn campaign(words: &[&str]) -> Result<ExitCode> {
    run("campaign", CAMPAIGNS, words)
}

fn run(kind: &str, known: &[Program], words: &[&str]) -> Result<ExitCode> {
    let names = || known.iter().map(|program| program.0).collect::<Vec<_>>().join(", ");
    let Some((name, rest)) = words.split_first() else { bail!("cargo xtask {kind} NAME, one of: {}", names()) };
    let Some((_, package, binary)) = known.iter().find(|program| program.0 == *name) else {
        bail!("no {kind} '{name}'; there are: {}", names())
    };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--locked", "--release", "--package", package, "--bin", binary, "--", name])
        .args(rest)
        .status()
        .context("cannot start cargo")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
