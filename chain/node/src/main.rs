//! Runs the chain node: the only program that links the chain's client libraries.
//!
//! It keeps the chain, takes part in consensus when it holds authority keys, and serves JSON-RPC on loopback. Nobody has to
//! trust it: what light clients take from it they verify. It decides nothing about the chain's rules, which are the
//! runtime's.

// One module has unsafe code, and says why: `fault`.
#![deny(unsafe_code)]

mod anchor;
mod chain_spec;
mod cli;
mod disk;
mod epochs;
mod fault;
#[cfg(test)]
mod judgement;
mod rpc;
mod service;
mod whole;

use std::{error::Error, io::Write, process::ExitCode};

fn main() -> ExitCode {
    if let Err(error) = disk::survive_file_size_limit() {
        say(&format!("warning: a write beyond the file-size limit will end this process: {error}"));
    }
    if let Err(error) = fault::ends_with_a_reason() {
        say(&format!(
            "warning: a mapped file that cannot be read or written will end this process without a word: {error}"
        ));
    }
    let Err(failure) = cli::run() else { return ExitCode::SUCCESS };
    // What went wrong in words, and its causes: an error returned from here would be shown as its type.
    let mut said = failure.to_string();
    let mut cause: Option<&dyn Error> = failure.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        cause = deeper.source();
    }
    say(&format!("error: {said}"));
    failure.exit_code()
}

/// A line on standard error, which may be a file on a full disk: then it is lost, and nothing else is.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
