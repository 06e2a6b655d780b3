//! The rules, one module each: a pure function from the tree to what is wrong with it.
//!
//! Every rule has tests that show it finding a fault and accepting the tree without it. A rule reports all places at
//! once, and the fix where there is only one.

mod descriptions;
mod direction;
mod features;
mod links;
mod map;
mod names;
mod sources;
mod specification;
mod trusted;
mod unsafe_code;
mod versions;
mod words;

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::Workspace;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A file (with `:line` where it has one), or a crate.
    pub place: String,
    pub problem: String,
}

impl Finding {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

type Rule = fn(&Workspace) -> Vec<Finding>;

const RULES: [(&str, Rule); 13] = [
    ("crates depend along the zones", direction::check),
    ("tee/TCB.txt is the list of crates in the trusted binary", trusted::check),
    ("crates are named after their folder", names::check),
    ("descriptions are one sentence that starts with a verb", descriptions::check),
    ("the README's map is the tree", map::check),
    ("versions stand in the workspace manifest only", versions::check),
    ("builds with and without tests resolve the same features", features::check),
    ("unsafe code is forbidden", unsafe_code::check),
    ("every promise names its tests or says [not yet]", specification::check),
    ("source files are short and explained", sources::check),
    ("nothing is left unfinished", sources::check_finished),
    ("no file names one machine", words::check),
    ("links between documents hold", links::check),
];

/// Runs all rules and prints one line for each, and one for each finding.
pub fn check(workspace: &Workspace) -> Result<ExitCode> {
    let mut failed = 0;
    for (name, rule) in RULES {
        let findings = rule(workspace);
        println!("{} {name}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for Finding { place, problem } in &findings {
            println!("     {place}: {problem}");
        }
        failed += usize::from(!findings.is_empty());
    }
    let promises = specification::count(workspace);
    println!(
        "{} promises, {} with tests, {} [not yet] in whole or in part",
        promises.all, promises.tested, promises.open
    );
    println!("{} rules, {failed} failed", RULES.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The line number of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
