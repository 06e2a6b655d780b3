//! The workspace's own tool: `cargo xtask help` lists what it does.
//!
//! It guarantees that what the documents claim about the tree (zones, the list of crates in the trusted binary, the
//! map, the tests behind each promise) is computed from the tree and compared. Its input is this repository, written
//! by whoever proposes a change; it never runs code of the crates it judges, except in `contracts`, which builds and
//! tests them. It does not judge whether a test proves what its promise says: a reader does.

#![forbid(unsafe_code)]

mod contracts;
mod map;
mod measure;
mod rules;
mod trusted;
mod workspace;

use std::process::ExitCode;

use anyhow::{bail, Result};

const HELP: &str = "\
cargo xtask check [--bless]   run every rule; --bless rewrites tee/TCB.txt and the README's map first
cargo xtask map               print the map of crates
cargo xtask contracts         build contracts/* for wasm32v1-none and run their own tests
cargo xtask bench NAME        measure one thing, one JSON line a metric; see docs/bench
cargo xtask campaign NAME     search for faults at length, and keep what was found; see docs/campaigns
cargo xtask help              print this";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Exit code 0: nothing found; 1: a rule or a contract failed; 2: the tool itself could not run.
fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["check"] => rules::check(&workspace::Workspace::load()?),
        ["check", "--bless"] => {
            let before = workspace::Workspace::load()?;
            trusted::bless(&before)?;
            map::bless(&before)?;
            rules::check(&workspace::Workspace::load()?)
        }
        ["map"] => {
            print!("{}", map::render(&workspace::Workspace::load()?));
            Ok(ExitCode::SUCCESS)
        }
        ["bench", words @ ..] => measure::bench(words),
        ["campaign", words @ ..] => measure::campaign(words),
        ["contracts"] => contracts::build_and_test(&workspace::Workspace::load()?),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("unknown command '{}'\n{HELP}", other.join(" ")),
    }
}
