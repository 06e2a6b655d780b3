//! The file of one run of a campaign: which commit on which machine, what it printed, how it ended.
//!
//! Guarantees: a run has a file of its own and never replaces another's; it is written while the campaign runs, so that a run that is
//! cut off leaves what it said, and is told by its missing last line; exit codes are told in words. Its content is the program's.
//! Does not: judge, or sum up. Pages in `docs/campaigns/` do that, and name the files they rest on.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Instant,
};

use anyhow::{Context, Result};

/// Where the files are, from the root of the repository.
const FOLDER: &str = "docs/campaigns/results";

/// One run's file.
pub struct ResultFile {
    file: File,
    name: String,
    begun: Instant,
}

/// What the head of a file says.
struct Facts<'a> {
    words: &'a str,
    commit: &'a str,
    machine: &'a str,
    binaries: Option<&'a str>,
    date: &'a str,
}

impl ResultFile {
    /// Begins the file of the campaign `name` with `words`. `uses_binaries` says whether it runs the binaries of `bin/`.
    ///
    /// # Errors
    /// When the file cannot be made, or is there already.
    pub fn begin(name: &str, words: &[&str], commit: &str, uses_binaries: bool) -> Result<Self> {
        let stamp = date("+%Y%m%d-%H%M%S").context("`date` does not say the time")?;
        let short = commit.split(',').next().unwrap_or(commit);
        let name_of_file = format!("{FOLDER}/{name}-{stamp}-{short}.txt");
        let binaries = uses_binaries.then(binaries);
        let text = head(&Facts {
            words: &std::iter::once(&name).chain(words).copied().collect::<Vec<_>>().join(" "),
            commit,
            machine: &machine(),
            binaries: binaries.as_deref(),
            date: &date("+%Y-%m-%d %H:%M:%S UTC").unwrap_or_default(),
        });
        let path = root().join(&name_of_file);
        let mut file = fs::create_dir_all(root().join(FOLDER))
            .and_then(|()| File::create_new(&path))
            .with_context(|| format!("cannot make {name_of_file}"))?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {name_of_file}"))?;
        Ok(Self { file, name: name_of_file, begun: Instant::now() })
    }

    /// The file's name, from the root of the repository.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Copies what the program prints, to `onlooker` and into the file, until it prints no more.
    ///
    /// # Errors
    /// When something of it could not be written into the file; all of it was read then.
    pub fn copy(&mut self, mut output: impl Read, mut onlooker: impl Write) -> Result<()> {
        let mut kept = Ok(());
        let mut piece = [0; 8192];
        loop {
            let length = match output.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.context("cannot read what the program prints")?,
            };
            let Some(bytes) = piece.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            // Whoever looks on may have gone.
            let _ = onlooker.write_all(bytes).and_then(|()| onlooker.flush());
            // A program that is not read from would stop.
            if kept.is_ok() {
                kept = self.file.write_all(bytes);
            }
        }
        kept.with_context(|| format!("what the campaign found is not all in {}", self.name))
    }

    /// Says how the program ended.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn end(&mut self, status: ExitStatus) -> Result<()> {
        let seconds = self.begun.elapsed().as_secs();
        let last = format!("--- end ---\nran: {seconds} s\nended: {status}: {}\n", verdict(status.code()));
        self.file.write_all(last.as_bytes()).with_context(|| format!("cannot write {}", self.name))
    }
}

fn head(facts: &Facts<'_>) -> String {
    let Facts { words, commit, machine, binaries, date } = facts;
    let binaries = binaries.map(|binaries| format!("binaries: {binaries}\n")).unwrap_or_default();
    format!(
        "campaign: {words}\nINSECURE: every TEE in it is simulated; it says nothing about hardware\ncommit: {commit}\n\
         machine: {machine}\nbuild: the campaign's program for release\n{binaries}began: {date}\n--- output ---\n"
    )
}

fn verdict(code: Option<i32>) -> &'static str {
    match code {
        Some(0) => "all of it was run, nothing was found",
        Some(1) => "SOMETHING WAS FOUND, or it broke off",
        Some(3) => "nothing was found; NOT ALL of it was run",
        _ => "it did NOT run to its end",
    }
}

/// The commit that is checked out, and whether there is more than that in the tree.
pub fn commit() -> String {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    // What earlier runs left is no change.
    let others = format!(":(exclude){FOLDER}");
    match said("git", &["status", "--porcelain", "--", ".", &others]) {
        Some(changes) if changes.is_empty() => commit,
        Some(_) => format!("{commit}, and changes that are not committed"),
        None => format!("{commit}, and it is not known whether there are changes"),
    }
}

/// As cargo says when it runs this tool: what the compiler said may be of another clone that shares the target directory.
fn root() -> PathBuf {
    let compiled = || env!("CARGO_MANIFEST_DIR").into();
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(compiled)).join("..")
}

fn said(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn date(format: &str) -> Option<String> {
    said("date", &["-u", format])
}

/// Cores, processor, memory, kernel and how busy it is.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (processors, memory, load) = (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/proc/loadavg"));
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let gibibytes = kilobytes.and_then(|number| number.parse::<u64>().ok()).map_or(0, |number| number >> 20);
    let load = load.split_whitespace().next().unwrap_or("unknown");
    format!(
        "{cores} cores, {}, {gibibytes} GiB, {}, load {load} before it began",
        model.unwrap_or("unknown processor"),
        said("uname", &["-sr"]).unwrap_or_else(|| "unknown kernel".to_owned()),
    )
}

/// How and when the binaries were built that the campaign runs. They may be another commit's: nothing rebuilds them.
fn binaries() -> String {
    let folder = std::env::var_os("PHALA_BIN").map_or_else(|| root().join("bin"), PathBuf::from);
    let told = ["phala-node", "phala-worker", "phala"].map(|name| {
        let path = fs::canonicalize(folder.join(name)).ok()?;
        let built = fs::metadata(&path).and_then(|file| file.modified()).ok()?;
        let seconds = built.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        let when = said("date", &["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%d %H:%M UTC"])?;
        Some(format!("{name} {} of {when}", path.parent()?.file_name()?.to_string_lossy()))
    });
    told.into_iter().map(|one| one.unwrap_or_else(|| "one that is missing".to_owned())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_head_says_what_was_run_of_which_commit_on_which_machine_and_that_it_is_insecure() {
        let facts = Facts {
            words: "sim --n 3",
            commit: "0123456789ab",
            machine: "2 cores",
            binaries: None,
            date: "2026-01-01 00:00:00 UTC",
        };
        let text = head(&facts);
        for part in ["campaign: sim --n 3\n", "INSECURE", "commit: 0123456789ab\n", "machine: 2 cores\n", "began: 2026"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("binaries"));
        assert!(head(&Facts { binaries: Some("phala debug"), ..facts }).contains("binaries: phala debug\n"));
    }

    #[test]
    fn a_file_holds_what_was_printed_and_how_it_ended_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.txt");
        let mut kept =
            ResultFile { file: File::create_new(&path).unwrap(), name: "run.txt".to_owned(), begun: Instant::now() };
        let printed = "line\n".repeat(5000);
        kept.copy(printed.as_bytes(), std::io::sink()).unwrap();
        kept.end(ExitStatus::from_raw(1 << 8)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&printed) && text.ends_with("SOMETHING WAS FOUND, or it broke off\n"),
            "{}",
            &text[text.len() - 80..]
        );
        assert!(File::create_new(&path).is_err());
    }

    #[test]
    fn only_exit_code_0_says_that_all_was_run_and_nothing_found() {
        assert!(verdict(Some(0)).starts_with("all of it"));
        for code in [Some(1), Some(2), Some(3), Some(101), None] {
            assert!(verdict(code).contains("NOT") || verdict(code).contains("FOUND"), "{code:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_after_everything_was_read() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut kept = ResultFile { file: full, name: "full".to_owned(), begun: Instant::now() };
        let mut left: &[u8] = &[b'x'; 20_000];
        assert!(kept.copy(&mut left, std::io::sink()).is_err());
        assert!(left.is_empty());
    }
}
