//! Processes that this benchmark starts, and those of the `phala dev` network that it looks at.
//!
//! Guarantees: a process that was started is asked to end when its value is dropped, by its own id, and killed when it does not in time.
//! What the network's processes were started with is read of `/proc`, for one like them. Linux only.

use anyhow::{bail, ensure, Context, Result};
use serde_json::Value;
use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a process may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of the end of a log that are shown.
const SHOWN: usize = 2_000;

/// A process that ends with its owner.
pub struct Running {
    child: Child,
    /// What it logs, if that is kept.
    log: Option<PathBuf>,
}

impl Running {
    /// One that somebody started.
    pub fn of(child: Child) -> Self {
        Self { child, log: None }
    }

    /// Runs `words`, with what it says going to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(words: &[String], home: &Path, log: &Path) -> Result<Self> {
        let (program, rest) = words.split_first().context("no program")?;
        let file = File::create(log)?;
        let child = Command::new(program)
            .args(rest)
            .env("PHALA_HOME", home)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, log: Some(log.to_owned()) })
    }

    /// That it still runs.
    ///
    /// # Errors
    /// It has ended: with the end of its log, which goes with the folder.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = self.log.as_ref().and_then(|log| fs::read(log).ok()).unwrap_or_default();
            let end = log.get(log.len().saturating_sub(SHOWN)..).unwrap_or_default();
            bail!("a process ended with {status}\n{}", String::from_utf8_lossy(end));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended the id may be another's by now.
        let lives = matches!(self.child.try_wait(), Ok(None));
        let process = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(process) = process.filter(|_| lives) {
            // SIGTERM: `phala dev` stops its own processes.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The words with which the process called `name` of the network in `base` was started, its program first.
///
/// # Errors
/// There is no such network, or no such process.
pub fn words_of(base: &Path, name: &str) -> Result<Vec<String>> {
    let file: Value = serde_json::from_slice(&fs::read(base.join("network.json"))?)?;
    let id = file.get("pids").and_then(|pids| pids.get(name)).and_then(Value::as_u64);
    let id = id.with_context(|| format!("the network has no process called {name}"))?;
    let words = fs::read(format!("/proc/{id}/cmdline")).with_context(|| format!("{name} does not run"))?;
    let words: Vec<String> = words
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    ensure!(!words.is_empty(), "{name} has ended");
    Ok(words)
}

/// The word after `flag`.
///
/// # Errors
/// There is none.
pub fn argument<'a>(words: &'a [String], flag: &str) -> Result<&'a str> {
    let at = words.iter().position(|word| word == flag).with_context(|| format!("no {flag} among {words:?}"))?;
    words.get(at + 1).map(String::as_str).with_context(|| format!("nothing after {flag}"))
}

/// The same words with another one after `flag`.
///
/// # Errors
/// The flag is not there.
pub fn with(mut words: Vec<String>, flag: &str, value: &str) -> Result<Vec<String>> {
    let at = words.iter().position(|word| word == flag).with_context(|| format!("no {flag} among {words:?}"))?;
    value.clone_into(words.get_mut(at + 1).with_context(|| format!("nothing after {flag}"))?);
    Ok(words)
}

/// Loopback addresses that were free a moment ago, each another one.
///
/// # Errors
/// There are not so many ports.
pub fn free_addresses<const N: usize>() -> Result<[String; N]> {
    // All are held until all are known.
    let mut listeners = Vec::new();
    let mut addresses = [const { String::new() }; N];
    for address in &mut addresses {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *address = listener.local_addr()?.to_string();
        listeners.push(listener);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_process_become_those_of_another_like_it() {
        let words = ["worker", "run", "--data", "/a", "--listen", "b"].map(str::to_owned).to_vec();
        let other = with(words.clone(), "--data", "/c").unwrap();
        assert_eq!((argument(&words, "--data").unwrap(), argument(&other, "--data").unwrap()), ("/a", "/c"));
        assert_eq!(argument(&other, "--listen").unwrap(), "b");
        assert!(with(words.clone(), "--tsm", "/c").is_err() && argument(&words, "b").is_err());
        let [one, two] = free_addresses::<2>().unwrap();
        assert_ne!(one, two);
    }

    #[test]
    fn a_process_ends_with_its_value_and_one_that_ended_is_an_error_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let start = |script: &str, log: &str| {
            let words = ["/bin/sh", "-c", script].map(str::to_owned);
            Running::start(&words, folder.path(), &folder.path().join(log)).unwrap()
        };
        let mut sleeping = start("exec sleep 60", "one");
        sleeping.check().unwrap();
        let id = sleeping.child.id();
        drop(sleeping);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
        let mut ended = start("echo what it said; exit 3", "two");
        ended.child.wait().unwrap();
        assert!(ended.check().unwrap_err().to_string().contains("what it said"));
    }
}
