//! Starts what measures and what searches: benchmarks and campaigns, each a program of its own crate.
//!
//! They are separate programs so that this tool links neither the node nor the worker. A benchmark is always compiled for release:
//! a figure of another build would say nothing. It guarantees that an unknown name is an error that lists the known ones, and that
//! the program's exit code is this tool's; what a campaign prints is also kept in a file of its own, see [`result`]. What the figures
//! mean stands in the program that prints them.

mod result;

use std::process::{Command, ExitCode, ExitStatus, Stdio};

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
    ("keys", "phala-bench-keys", "phala-bench-keys"),
    ("profile", "phala-bench-tee", "phala-bench-tee"),
    ("weights", "phala-bench-weights", "phala-bench-weights"),
];

/// `cargo xtask campaign NAME`: full n; the results are committed under `docs/campaigns/`.
///
/// A campaign is one line here and a program that: takes the campaign's name as its first word, then `--seed S` where it has a seed and
/// `--record FILE` to go on from what an earlier run did; prints on standard output what it ran, what it did not run and what it found,
/// and INSECURE where TEEs are simulated; exits with 0 when all was run and nothing found, 1 when something was found, 3 when nothing
/// was found and something is left to run. The commit is in its environment as `PHALA_COMMIT`, for records over several commits.
const CAMPAIGNS: &[Program] = &[
    ("crash", "phala-e2e", "crash"),
    ("canary", "phala-e2e", "canary"),
    ("sim", "phala-sim", "phala-sim"),
    ("fuzz", "phala-fuzz", "phala-fuzz"),
    ("keys", "phala-keys-sim", "phala-keys-sim"),
];

/// Words with which a campaign's program does something else than its campaign: nothing of that is kept.
const NO_CAMPAIGN: [&str; 5] = ["--quick", "--help", "-h", "--replay", "--show"];

/// Runs a benchmark with the words that follow its name.
pub fn bench(words: &[&str]) -> Result<ExitCode> {
    let (program, rest) = find("bench", BENCHMARKS, words)?;
    let status = cargo("run", program).arg("--").arg(program.0).args(rest).status().context("cannot start cargo")?;
    Ok(exit_code(status))
}

/// Runs a campaign with the words that follow its name, and keeps what it prints.
pub fn campaign(words: &[&str]) -> Result<ExitCode> {
    let (program, rest) = find("campaign", CAMPAIGNS, words)?;
    // By itself, so that compiling counts as nobody's time.
    let built = cargo("build", program).status().context("cannot start cargo")?;
    if !built.success() {
        bail!("{} was not built", program.1);
    }
    let commit = result::commit();
    let mut command = cargo("run", program);
    command.arg("--").arg(program.0).args(rest).env("PHALA_COMMIT", &commit);
    if rest.iter().any(|word| NO_CAMPAIGN.contains(word)) {
        return Ok(exit_code(command.status().context("cannot start cargo")?));
    }
    let mut kept = result::ResultFile::begin(program.0, rest, &commit, program.1 == "phala-e2e")?;
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("the program has no output")?;
    let copied = kept.copy(output, std::io::stdout());
    let status = child.wait().context("the program is lost")?;
    copied.and_then(|()| kept.end(status))?;
    eprintln!("kept in {}", kept.name());
    Ok(exit_code(status))
}

fn find<'a>(kind: &str, known: &'static [Program], words: &'a [&'a str]) -> Result<(&'static Program, &'a [&'a str])> {
    let names = || known.iter().map(|program| program.0).collect::<Vec<_>>().join(", ");
    let Some((name, rest)) = words.split_first() else { bail!("cargo xtask {kind} NAME, one of: {}", names()) };
    let Some(program) = known.iter().find(|program| program.0 == *name) else {
        bail!("no {kind} '{name}'; there are: {}", names())
    };
    Ok((program, rest))
}

fn cargo(verb: &str, &(_, package, binary): &Program) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([verb, "--quiet", "--locked", "--release", "--package", package, "--bin", binary]);
    command
}

fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_an_unknown_name_and_lists_the_known_ones() {
        for words in [&["crush"][..], &[]] {
            let error = find("campaign", CAMPAIGNS, words).unwrap_err().to_string();
            assert!(CAMPAIGNS.iter().all(|program| error.contains(program.0)), "{error}");
        }
        let (program, rest) = find("campaign", CAMPAIGNS, &["sim", "--n", "3"]).unwrap();
        assert_eq!((program.1, rest), ("phala-sim", &["--n", "3"][..]));
    }
}
