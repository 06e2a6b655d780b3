//! `cargo xtask campaign fuzz [--minutes M] [--jobs J] [--only NAME]... [--seed N] [--record FILE]`: every target for M minutes (1 unless
//! said), J of them at once (1 unless said), each in a process of its own with bounded memory and time. Minutes are the clock's: where
//! more run than there are cores, each has its part of one, and its line says how much that was.
//!
//! Prints one line a target, then the table of all, what was not searched, and what was found. With `--record FILE` a campaign may come
//! in pieces: a target that is in the file is not searched again, and the table is that of all pieces. Exit code 1 when something was
//! found, in this run or a recorded one; 3 when nothing was found and the record lacks targets.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a tool that stops when its own machine fails it")]

use phala_fuzz::{
    campaign::{find, keep, last_tried, search, Report},
    record::{Campaign, Record, Row},
    targets::TARGETS,
    Target,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::{mpsc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Bytes of memory that a target's process may write to. What needs more is a finding.
const MEMORY: u64 = 3 << 30;
/// How much longer than its minutes a target may take: its samples, its last input, and making twenty findings smaller, ten seconds
/// each. What takes longer is a finding.
const GRACE: Duration = Duration::from_secs(300);
/// The longest search of one target: a week.
const MAX_MINUTES: f64 = 10_080.0;
/// The most targets at once: each may need [`MEMORY`], and a part of a core that finds something.
const MAX_JOBS: usize = 64;

struct Options {
    minutes: f64,
    jobs: usize,
    only: Vec<String>,
    seed: u64,
    record: Option<PathBuf>,
    /// Given to the process of one target: its name.
    alone: Option<String>,
    /// The same: the file of its current input.
    current: Option<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = parse(&words).and_then(|options| match (&options.alone, &options.current) {
        (Some(name), Some(current)) => {
            alone(named(name)?, &options, Path::new(current));
            Ok(ExitCode::SUCCESS)
        }
        _ => all(&options),
    });
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

fn parse(words: &[String]) -> Result<Options, String> {
    let mut options =
        Options { minutes: 1.0, jobs: 1, only: Vec::new(), seed: 1, record: None, alone: None, current: None };
    let mut words = words.iter().peekable();
    // `cargo xtask campaign` hands the campaign's name on.
    words.next_if(|word| *word == "fuzz");
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--minutes" => options.minutes = value()?.parse().map_err(|_| "--minutes is a number")?,
            "--jobs" => options.jobs = value()?.parse().map_err(|_| "--jobs is a number")?,
            "--seed" => options.seed = value()?.parse().map_err(|_| "--seed is a number")?,
            "--only" => options.only.push(value()?),
            "--record" => options.record = Some(value()?.into()),
            "--alone" => options.alone = Some(value()?),
            "--current" => options.current = Some(value()?),
            "--quick" => options.minutes = 0.05,
            other => return Err(format!("unknown argument '{other}'; see the head of fuzz/src/main.rs")),
        }
    }
    let searches = options.minutes > 0.0 && options.minutes <= MAX_MINUTES;
    if !searches {
        return Err(format!("--minutes is more than 0 and at most {MAX_MINUTES}"));
    }
    if !(1..=MAX_JOBS).contains(&options.jobs) {
        return Err(format!("--jobs is at least 1 and at most {MAX_JOBS}"));
    }
    for name in &options.only {
        named(name)?;
    }
    Ok(options)
}

fn named(name: &str) -> Result<&'static Target, String> {
    let names = || TARGETS.map(|target| target.name).join(", ");
    find(name).ok_or_else(|| format!("no target '{name}'; there are: {}", names()))
}

/// One target, in this process.
fn alone(target: &Target, options: &Options, current: &Path) {
    let limit = rustix::process::Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    rustix::process::setrlimit(rustix::process::Resource::Data, limit).expect("memory can be limited");
    let report = search(target, options.seed, Duration::from_secs_f64(options.minutes * 60.0), current);
    println!("{}", serde_json::to_string(&report).expect("a report is JSON"));
}

/// The targets, each in a process of its own.
fn all(options: &Options) -> Result<ExitCode, String> {
    let campaign = Campaign { seed: options.seed, milliseconds: (options.minutes * 60_000.0) as u64 };
    let mut record = Record::open(options.record.as_deref(), campaign)?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let commit = phala_campaigns::commit();
    println!(
        "seed {}, {} minutes a target, {} at once, random and verdict-guided, no coverage instrumentation",
        options.seed, options.minutes, options.jobs
    );
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let targets = TARGETS.iter().copied().filter(|target| wanted(target.name) && !record.has(target.name));
    let waiting = Mutex::new(targets.collect::<Vec<_>>().into_iter());
    let (ended, rows) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..options.jobs {
            let (waiting, ended, folder, commit) = (&waiting, ended.clone(), folder.path(), &commit);
            scope.spawn(move || {
                // A panic elsewhere leaves a list of whole targets. The lock is given back before the search.
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(target) = next() {
                    let begun = Instant::now();
                    let report = searched(target, options, folder);
                    let (target, commit) = (target.name.to_owned(), commit.clone());
                    // Nobody hears it when the record could not be written: then nothing more is begun.
                    if ended.send(Row { target, seconds: begun.elapsed().as_secs(), commit, report }).is_err() {
                        break;
                    }
                }
            });
        }
        drop(ended);
        // Moved here, so that it is gone when this ends early.
        for row in rows {
            println!("{}", line(&row));
            record.add(row)?;
        }
        Ok::<(), String>(())
    })?;
    Ok(conclude(&record, options.record.is_some()))
}

/// What the search of one target in a process of its own came to. What ends the process, or keeps it from ending, is a finding.
fn searched(target: &Target, options: &Options, folder: &Path) -> Report {
    let file = |ending: &str| folder.join(format!("{}.{ending}", target.name));
    let (current, printed, said) = (file("input"), file("out"), file("err"));
    // Files, because a process whose pipe is full waits for ever.
    let into = |path: &Path| Stdio::from(File::create(path).expect("a file"));
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--alone", target.name, "--seed", &options.seed.to_string()])
        .args(["--minutes", &options.minutes.to_string(), "--current", &current.to_string_lossy()])
        .stdin(Stdio::null())
        .stdout(into(&printed))
        .stderr(into(&said))
        .spawn()
        .expect("a process can be started");
    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0) + GRACE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            break Some(status);
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(100));
    };
    let printed = fs::read(&printed).unwrap_or_default();
    let said = fs::read(&said).unwrap_or_default();
    judged(serde_json::from_slice(&printed).ok(), status, &String::from_utf8_lossy(&said), || {
        // Without an input it ended before it tried one.
        let input = last_tried(&current)?;
        let kept = keep(target, &input);
        Some(kept.file_name()?.to_string_lossy().into_owned())
    })
}

/// The report of a process, with what it could not report itself. `status` is none when it had to be ended; `kept` keeps its last input.
fn judged(
    report: Option<Report>,
    status: Option<ExitStatus>,
    said: &str,
    kept: impl FnOnce() -> Option<String>,
) -> Report {
    let failed = match (status, &report) {
        (None, _) => Some("the process did not end in time".to_owned()),
        (Some(status), Some(report)) if status.success() => {
            // Findings are what ends a search early; a search without inputs has found out nothing.
            (report.executions == 0).then(|| "the search tried no input".to_owned())
        }
        (Some(status), None) if status.success() => Some("the process ended without a report".to_owned()),
        (Some(status), _) => {
            Some(format!("the process ended with {status}: {}", said.lines().last().unwrap_or_default()))
        }
    };
    let mut report = report.unwrap_or_default();
    if let Some(failed) = failed {
        let input = kept().map_or_else(|| "before its first input".to_owned(), |name| format!("input {name}"));
        report.findings.push(format!("{failed} ({input})"));
    }
    report
}

fn line(row: &Row) -> String {
    let Report { executions, accepted, kinds, slowest_ms, core_seconds, findings } = &row.report;
    format!(
        "| {} | {} | {core_seconds} | {executions} | {accepted} | {kinds} | {slowest_ms} ms | {} |",
        row.target,
        row.seconds,
        findings.len()
    )
}

/// Prints what all pieces came to.
fn conclude(record: &Record, recorded: bool) -> ExitCode {
    let (rows, left) = (record.rows(), record.left());
    println!("\n| target | seconds | of a core | executions | accepted | kinds of verdict | slowest | findings |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    rows.iter().for_each(|row| println!("{}", line(row)));
    let executed: u64 = rows.iter().map(|row| row.report.executions).sum();
    let found: usize = rows.iter().map(|row| row.report.findings.len()).sum();
    println!("\n{} of {} targets, {executed} executions, {found} findings", rows.len(), TARGETS.len());
    let commits = phala_campaigns::commits(rows.iter().map(|row| row.commit.as_str()));
    println!("commits: {}", commits.join("; "));
    for row in &rows {
        for finding in &row.report.findings {
            println!("FOUND {}: {}", row.target, finding.lines().next().unwrap_or_default());
        }
        if row.report.accepted == 0 {
            println!("NOTE {}: no input was accepted: only refusals were searched", row.target);
        }
    }
    if !left.is_empty() {
        println!("NOT SEARCHED: {}", left.join(", "));
    }
    match (found, left.is_empty() || !recorded) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => {
            println!("run it again to go on");
            ExitCode::from(3)
        }
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn report(executions: u64) -> Option<Report> {
        Some(Report { executions, ..Report::default() })
    }

    #[test]
    fn a_search_that_says_nothing_or_tried_nothing_is_a_finding() {
        let ok = Some(ExitStatus::from_raw(0));
        assert_eq!(judged(report(5), ok, "", || panic!("nothing is kept")).findings, Vec::<String>::new());
        for (report, status, expected) in [
            (report(0), ok, "tried no input"),
            (None, ok, "without a report"),
            (report(5), None, "did not end in time"),
            (report(5), Some(ExitStatus::from_raw(6)), "SIGABRT"),
            (None, Some(ExitStatus::from_raw(101 << 8)), "out of memory"),
        ] {
            let findings = judged(report, status, "first\nout of memory", || Some("12.bin".to_owned())).findings;
            assert_eq!(findings.len(), 1, "{expected}");
            assert!(findings[0].contains(expected) && findings[0].ends_with("(input 12.bin)"), "{findings:?}");
        }
        let before = judged(None, None, "", || None).findings;
        assert!(before[0].ends_with("(before its first input)"), "{before:?}");
    }

    #[test]
    fn arguments_that_would_search_nothing_are_refused() {
        let parse = |words: &[&str]| parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(parse(&["fuzz", "--minutes", "30", "--jobs", "2", "--only", TARGETS[0].name]).is_ok());
        for words in [
            ["--minutes", "0"],
            ["--minutes", "-1"],
            ["--minutes", "NaN"],
            ["--minutes", "inf"],
            ["--jobs", "0"],
            ["--jobs", "65"],
            ["--only", "nothing"],
            ["--write", "x"],
        ] {
            assert!(parse(&words).is_err(), "{words:?}");
        }
    }
}
