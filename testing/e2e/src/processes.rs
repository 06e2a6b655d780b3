//! The processes of a running `phala dev`, from outside: their ids, their memory, their limits; and taking one's place.
//!
//! Guarantees: signals go to ids that the network's own list names at that moment, never to names; whoever was stopped goes on, and
//! whatever was started by hand is ended, when the values here are dropped. Linux only, by `/proc`.

use crate::{signal, wait_until, Network};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long a process may take to appear.
const APPEARS_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of memory read at once.
const CHUNK: usize = 4 * 1024 * 1024;

/// Ids of the network's processes by name, those of `phala dev` itself left out.
pub fn ids(base: &Path) -> BTreeMap<String, u32> {
    let list = fs::read(base.join("pids.json")).unwrap_or_default();
    let list: BTreeMap<String, Value> = serde_json::from_slice(&list).unwrap_or_default();
    list.into_iter().filter_map(|(name, process)| Some((name, u32::try_from(process["pid"].as_u64()?).ok()?))).collect()
}

/// The id of the process called `name`, waiting for it.
pub fn id(base: &Path, name: &str) -> u32 {
    wait_until(&format!("{name} runs"), APPEARS_WITHIN, || ids(base).contains_key(name));
    ids(base)[name]
}

/// The words with which a process was started.
pub fn arguments(id: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into())
        .collect()
}

/// Whether a process has ended: it stays a zombie as long as its parent is stopped.
pub fn is_dead(id: u32) -> bool {
    match fs::read_to_string(format!("/proc/{id}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    }
}

/// Sets how long the files may become that a process writes: bytes, or `unlimited`.
///
/// # Panics
/// Without `prlimit` of util-linux.
pub fn limit_files(id: u32, bytes: &str) {
    let done = Command::new("prlimit").args(["--pid", &id.to_string(), &format!("--fsize={bytes}:")]).status();
    assert!(done.is_ok_and(|done| done.success()), "prlimit of util-linux is needed");
}

/// The word after `flag`.
pub fn argument(arguments: &[String], flag: &str) -> String {
    let place = arguments.iter().position(|word| word == flag).expect("the flag is there");
    arguments[place + 1].clone()
}

/// The same words with another one after `flag`.
pub fn words_with(words: &[String], flag: &str, value: &str) -> Vec<String> {
    let mut words = words.to_vec();
    let at = words.iter().position(|word| word == flag).expect("the flag is there");
    value.clone_into(&mut words[at + 1]);
    words
}

/// The share of memory that a process has, in kB: pages that are shared count in part (PSS).
pub fn memory_kb(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Reads all memory of a process that can be read, in pieces that overlap by `overlap` bytes, and gives each to `look`. Returns how
/// many bytes it read; an error when this user may not.
pub fn read_memory(id: u32, overlap: usize, mut look: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{id}/maps"))?;
    let memory = File::open(format!("/proc/{id}/mem"))?;
    let mut bytes = 0;
    let mut piece = vec![0; CHUNK];
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let Some((start, end)) = range.split_once('-') else { continue };
        let (Ok(mut at), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else { continue };
        if !rights.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
            continue;
        }
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            // Some mappings, of devices for one, have nothing to read.
            let Ok(length) = memory.read_at(&mut piece[..wanted], at) else { break };
            if length == 0 {
                break;
            }
            // Most of what is mapped was never written.
            if piece[..length].iter().any(|byte| *byte != 0) {
                look(&piece[..length]);
            }
            bytes += length as u64;
            if at + length as u64 >= end {
                break;
            }
            at += length.saturating_sub(overlap).max(1) as u64;
        }
    }
    Ok(bytes)
}

/// A process that was told to stop, and goes on when this is dropped.
pub struct Stopped(u32);

impl Stopped {
    /// Stops the process.
    pub fn new(id: u32) -> Self {
        signal(id, "-STOP");
        Self(id)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

/// A process that we started by hand.
pub struct ByHand {
    child: Child,
    /// What it logs.
    pub log: PathBuf,
}

impl ByHand {
    /// Runs `words` with its output added to `log`.
    pub fn start(words: &[String], log: &Path) -> Self {
        Self::start_in(words, &[], log)
    }

    /// [`Self::start`] with more variables of the environment.
    pub fn start_in(words: &[String], variables: &[(String, String)], log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log");
        Self::spawn(words, variables, [Stdio::from(file.try_clone().expect("a log")), Stdio::from(file)], log)
    }

    /// Runs `words` with its output somewhere.
    pub fn start_into(words: &[String], stdout: Stdio, stderr: Stdio, log: &Path) -> Self {
        Self::spawn(words, &[], [stdout, stderr], log)
    }

    fn spawn(words: &[String], variables: &[(String, String)], [stdout, stderr]: [Stdio; 2], log: &Path) -> Self {
        let (program, rest) = words.split_first().expect("a program");
        let child = Command::new(program)
            .args(rest)
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("it starts");
        Self { child, log: log.to_owned() }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code if it has ended: none while it runs, -1 if a signal ended it.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().map(|status| status.code().unwrap_or(-1))
    }

    /// Asks it to end and waits, a quarter of a minute at most; its exit code.
    pub fn end(&mut self) -> Option<i32> {
        signal(self.child.id(), "-TERM");
        for _ in 0..150 {
            if let Some(code) = self.ended() {
                return Some(code);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The place of one process of the network, for one that is run by hand. `phala dev` must be [`Stopped`] meanwhile, so that it starts no
/// other.
pub struct Place {
    /// The words with which the process was started.
    pub arguments: Vec<String>,
}

impl Place {
    /// Kills the process called `name` for good.
    pub fn take(_supervisor: &Stopped, network: &Network, name: &str) -> Self {
        let id = id(&network.base, name);
        let arguments = arguments(id);
        signal(id, "-KILL");
        wait_until("it is dead", APPEARS_WITHIN, || is_dead(id));
        Self { arguments }
    }

    /// Its words with another one after `flag`.
    pub fn words_with(&self, flag: &str, value: &str) -> Vec<String> {
        words_with(&self.arguments, flag, value)
    }
}
