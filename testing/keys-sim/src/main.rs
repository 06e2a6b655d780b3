//! `cargo xtask campaign keys`: thousands of seeds of key ceremonies among hostile seats, and of ceremonies of
//! identities and signing sessions after one root in three. INSECURE, never shipped.
//!
//! Prints every failing seed with its trace, then one table of what happened how often. The code that stops at a surprise, ours or
//! the simulation's, is a finding of its seed. With `--record FILE` a campaign may come in pieces: a run goes on where the one before
//! ended, and the table is that of all. Exit code 1 if anything failed, in this run or a recorded one; 3 if nothing failed and
//! seeds are left.
#![forbid(unsafe_code)]

mod record;

use clap::Parser;
use phala_keys_sim::{
    identities::{self, Lived},
    invariants::{self, Holder},
    rotation, run, run_next, Counts, Members, Ran,
};
use phala_protocol::{chain_state::RootRecord, domain, hash_value, ids::to_hex, Hash};
use record::{Campaign, Piece, Record};
use std::{
    any::Any,
    collections::BTreeMap,
    ops::Range,
    panic::{catch_unwind, AssertUnwindSafe},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Seeds after which the record is written. The first of each is run twice.
const PIECE: u64 = 20;
/// One of so many seeds is run for the next era too, whose keys the shares of the first must not open.
const ROTATED: u64 = 4;
/// The era whose root is made.
const ERA: u32 = 1;
/// What happens in any [`ENOUGH`] seeds: without it the invariants had nothing to look at.
const NEEDED: [&str; 45] = [
    "answer taken",
    "reject taken",
    "complain taken",
    "started from an old disk",
    "started from before its confirmation",
    "parcel refused",
    "malice BadBeaconPackage",
    "malice BadBeaconShare",
    "malice Equivocate",
    "seeds in which more lie than may",
    "seeds in which more lie than may and a root is made",
    "seeds in which shares of an old era were tried on the next",
    "sets of shares tried",
    "share held again after a restart",
    "registration lapsed",
    "machine lost",
    "gatekeeper replaced",
    "ceremony cancelled",
    "parcel that a replaced gatekeeper does not open",
    "network cut in two",
    "network cut in two, with no more cut off than may be missing",
    "network cut in two, with more cut off than may be missing",
    "network cut in two at the end of a phase",
    "network cut in two for longer than a phase",
    "statement held at a cut",
    "statement lost at a cut",
    "parcel held at a cut",
    "parcel lost at a cut",
    "root made after the network was cut in two",
    "sets of shares of an old era tried on the next",
    "mixtures of shares of two eras tried",
    "epochs of the next era on which shares of an old one were tried",
    "seeds with a ceremony of identities",
    "identities made",
    "identities handed over",
    "attempts of identities that failed",
    "ceremony of identities cancelled",
    "ceremony of identities in which more lie than may",
    "former shares put back",
    "identities: network cut in two for longer than a phase",
    "identities: started from an old disk",
    "sets of shares of identities tried",
    "signing sessions",
    "attempts to sign that failed",
    "coordinator crashed",
];

const ENOUGH: u64 = 200;
/// What happens in any [`MANY`] seeds: one liar's attempt in twenty contradicts itself, each time in one of three ways, and about as many about
/// identities end in a dispute; a cut is rarely late, and an old disk is rarely one that leaves no time to come to hold the share again.
const RARE: [&str; 8] = [
    "report of two commitments taken",
    "report of two answers taken",
    "report of two confirmations taken",
    "share of an honest dealer made public",
    "network cut in two in the calm",
    "root made without the share of a restored machine",
    "identities: dispute taken",
    "identities: answer taken",
];

const MANY: u64 = 1_000;

/// Simulates key ceremonies among hostile seats. INSECURE: nothing here is secret.
#[derive(Parser)]
struct Arguments {
    /// The campaign's name, as `cargo xtask` passes it.
    name: String,
    /// The seeds: the first, and the one after the last.
    #[arg(long, value_name = "A..B", default_value = "1..3001", value_parser = seeds)]
    seeds: Range<u64>,
    /// Seats of each ceremony. Every subset of seats is looked at: twice the seats take many times as long.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=10))]
    seats: u8,
    /// Begins no further seeds after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Goes on from what this file says is done of these seeds, and adds what this run does.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Runs this seed alone, and tells how it ended.
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, end) = text.split_once("..").ok_or("seeds are A..B, as in 1..3001")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("'{text}' is no seed: {error}"));
    let seeds = number(from)?..number(end)?;
    if seeds.is_empty() {
        return Err(format!("there is no seed in {text}: B is the one after the last"));
    }
    Ok(seeds)
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    println!("simulated machines and published keys: INSECURE");
    let members = Members::new(arguments.seats);
    if let Some(seed) = arguments.replay {
        let ceremony = ceremony(&members, seed, arguments.seats);
        println!("seed {seed}, {} seats: trace {}", arguments.seats, trace(&ceremony));
        report(&ceremony.counts, ceremony.failure.as_slice());
        return Ok(if ceremony.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    campaign(&arguments, &members)
}

fn campaign(arguments: &Arguments, members: &Members) -> anyhow::Result<ExitCode> {
    let Arguments { name, seeds, seats, .. } = arguments;
    println!("{name}: seeds {} to {}, {seats} seats each", seeds.start, seeds.end.saturating_sub(1));
    let decided = Campaign { from: seeds.start, end: seeds.end, seats: *seats };
    let mut record = Record::open(arguments.record.as_deref(), decided)?;
    let commit = phala_campaigns::commit();
    let limit = arguments.minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
    let begun = Instant::now();
    while let Some(from) = record.next_seed() {
        if limit.is_some_and(|limit| begun.elapsed() > limit) {
            break;
        }
        let end = from.saturating_add(PIECE).min(seeds.end);
        record.add(piece(members, from..end, *seats, &commit))?;
    }

    let (counts, mut failures) = (record.counts(), record.failures());
    let needed = NEEDED.iter().filter(|_| record.done() >= ENOUGH);
    for needed in needed.chain(RARE.iter().filter(|_| record.done() >= MANY)) {
        if counts.get(*needed).is_none_or(|count| *count == 0) {
            failures.push(format!("nothing was looked at: no {needed}"));
        }
    }
    println!("{:>9}  seeds of {}", record.done(), seeds.end.saturating_sub(seeds.start));
    report(&counts, &failures);
    let traces: Vec<&str> = record.pieces().iter().map(|piece| piece.trace.as_str()).collect();
    println!("traces: {}", to_hex(&hash_value(domain::MERKLE_NODE, &traces)));
    Ok(record.conclude(&failures))
}

/// Runs seeds that follow each other, and prints those that fail.
fn piece(members: &Members, seeds: Range<u64>, seats: u8, commit: &str) -> Piece {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let (mut failures, mut traces) = (Vec::new(), Vec::new());
    for seed in seeds.clone() {
        let first = ceremony(members, seed, seats);
        let mut failed: Vec<String> = first.failure.iter().cloned().collect();
        if seed == seeds.start && ceremony(members, seed, seats).trace != first.trace {
            failed.push("the same seed ended in another trace".to_owned());
        }
        let mut tried = Counts::new();
        if let Some((root, holders)) = first.made.as_ref().filter(|_| seed.is_multiple_of(ROTATED)) {
            match rotated(members, seed, seats, (root, holders.as_slice())) {
                Ok(counts) => tried = counts,
                Err(failure) => failed.push(failure),
            }
        }
        for failure in failed {
            let failure = format!("seed {seed}, {seats} seats, trace {}: {failure}", trace(&first));
            println!("{failure}");
            failures.push(failure);
        }
        for (what, count) in first.counts.into_iter().chain(tried) {
            *counts.entry(what).or_default() += count;
        }
        traces.push(first.trace);
    }
    let trace = to_hex(&hash_value(domain::MERKLE_NODE, &traces));
    Piece { from: seeds.start, end: seeds.end, commit: commit.to_owned(), trace, counts, failures }
}

/// How one seed ended.
struct Ceremony {
    /// Hash over all that happened, unless the code stopped at a surprise.
    trace: Option<Hash>,
    counts: BTreeMap<String, u64>,
    failure: Option<String>,
    /// The root, if one was made, and INSECURE: all shares of it.
    made: Option<(RootRecord, Vec<Holder>)>,
}

fn ceremony(members: &Members, seed: u64, seats: u8) -> Ceremony {
    // Nothing of the members changes in a run, so that nothing is left half done.
    let with_identities = || {
        let ran = run(members, seed, ERA, seats.into());
        let lived = identities::follow(members, seed, &ran);
        (ran, lived)
    };
    match catch_unwind(AssertUnwindSafe(with_identities)) {
        Ok((ran, lived)) => {
            let violation = ran.violation.as_ref().or(lived.as_ref().and_then(|lived| lived.violation.as_ref()));
            let failure = match (violation, &ran.root) {
                (Some(violation), _) => Some(format!("{}: {}", violation.invariant, violation.what)),
                (None, None) if !ran.beyond => Some("it ended without a root".to_owned()),
                (None, _) => None,
            };
            let made = ran.root.clone().map(|root| (root, ran.holders.clone()));
            let identities = lived.as_ref().map(|lived| lived.trace);
            let trace = hash_value(domain::MERKLE_NODE, &(ran.trace, identities));
            Ceremony { trace: Some(trace), counts: tally(ran, lived), failure, made }
        }
        Err(surprise) => {
            let failure = Some(format!("the code stopped: {}", said(surprise.as_ref())));
            Ceremony { trace: None, counts: BTreeMap::new(), failure, made: None }
        }
    }
}

/// Makes the root of the next era on the same machines, and tries the `old` one's shares on it after each block, and on what clusters do
/// then. Says what was tried how often.
fn rotated(members: &Members, seed: u64, seats: u8, old: (&RootRecord, &[Holder])) -> Result<Counts, String> {
    let next = catch_unwind(AssertUnwindSafe(|| run_next(members, seed, ERA + 1, seats.into(), old)));
    let new = next.map_err(|surprise| format!("the code stopped: {}", said(surprise.as_ref())))?;
    let told = |violation: &invariants::Violation| format!("{}: {}", violation.invariant, violation.what);
    if let Some(violation) = &new.violation {
        return Err(format!("in the next era, {}", told(violation)));
    }
    let counted = rotation::COUNTED.iter().filter_map(|what| Some(((*what).to_owned(), *new.counts.get(*what)?)));
    let mut tried: Counts = counted.collect();
    match &new.root {
        None if !new.beyond => return Err("the next era ended without a root".to_owned()),
        None => {}
        Some(root) => {
            let whole = rotation::old_era_opens_nothing_newer(old, (root, new.holders.as_slice()));
            whole.map_err(|violation| told(&violation))?;
            tried.insert("seeds in which shares of an old era were tried on the next".to_owned(), 1);
        }
    }
    Ok(tried)
}

/// What happened in a ceremony, and in those of identities after it, how often, with its attempts and liars.
fn tally(ran: Ran, lived: Option<Lived>) -> BTreeMap<String, u64> {
    let mut counts = ran.counts;
    let ended = format!("ended in attempt {}", ran.attempts);
    let liars = ran.liars.len() as u64;
    let told = [("attempts".to_owned(), u64::from(ran.attempts)), ("liars".to_owned(), liars), (ended, 1)];
    let beyond = [
        ("seeds in which more lie than may", ran.beyond),
        ("seeds in which more lie than may and a root is made", ran.beyond && ran.root.is_some()),
    ];
    let beyond = beyond.into_iter().filter(|(_, is_so)| *is_so).map(|(what, _)| (what.to_owned(), 1));
    let identities = lived.map(|lived| {
        let seeds = ("seeds with a ceremony of identities".to_owned(), 1);
        lived.counts.into_iter().chain([seeds]).collect::<Vec<_>>()
    });
    for (what, count) in told.into_iter().chain(beyond).chain(identities.into_iter().flatten()) {
        *counts.entry(what).or_default() += count;
    }
    counts
}

fn said(surprise: &(dyn Any + Send)) -> &str {
    let owned = surprise.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| surprise.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

fn trace(ceremony: &Ceremony) -> String {
    ceremony.trace.map_or_else(|| "none".to_owned(), |trace| to_hex(&trace))
}

/// Prints what happened.
fn report(counts: &BTreeMap<String, u64>, failures: &[String]) {
    for (what, count) in counts {
        println!("{count:>9}  {what}");
    }
    println!("{:>9}  invariants, by name", invariants::NAMES.len());
    println!("{:>9}  failures", failures.len());
    failures.iter().for_each(|failure| println!("           {failure}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_the_first_and_the_one_after_the_last() {
        assert_eq!(seeds("5..7"), Ok(5..7));
        for wrong in ["", "5", "5..", "..7", "7..7", "7..5", "5..=7", "-1..2", "a..b"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
        let parsed = Arguments::try_parse_from(["phala-keys-sim", "keys", "--seeds", "2..9"]).unwrap();
        assert_eq!((parsed.seeds, parsed.seats), (2..9, 4));
        assert!(Arguments::try_parse_from(["phala-keys-sim", "keys", "--seats", "3"]).is_err());
    }

    #[test]
    fn a_piece_tells_what_happened_and_repeats() {
        let members = Members::new(4);
        let first = piece(&members, 7..10, 4, "0123");
        assert_eq!(first.failures, Vec::<String>::new());
        assert!(first.counts.get("attempts").is_some_and(|attempts| *attempts >= 3), "{:?}", first.counts);
        assert_eq!(piece(&members, 7..10, 4, "0123"), first);
        assert_ne!(piece(&members, 8..11, 4, "0123").trace, first.trace);
    }

    #[test]
    fn code_that_stops_is_a_finding_of_its_seed() {
        // One member fewer than there are seats: the simulation stops at the missing one.
        let stopped = piece(&Members::new(3), 1..2, 4, "0123");
        assert!(
            stopped.failures[0].starts_with("seed 1, 4 seats, trace none: the code stopped"),
            "{:?}",
            stopped.failures
        );
    }
}
