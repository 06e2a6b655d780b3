//! One process of the network: how it is started, how it is ended, what it logged last.
//!
//! Guarantees: a process is ended by its id, and only while the id is still that process's, told by the time at which it started.
//! Processes get a group of their own, so that Ctrl-C reaches them through us, in order.

use crate::error::{io, CliError};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// How long a process has to end by itself.
const PATIENCE: Duration = Duration::from_secs(20);
/// A log that is longer starts anew; the one before is kept.
const MAX_LOG_BYTES: u64 = 32 * 1024 * 1024;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What it is called here: `node-0`, `worker-1`.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// The file that its output is added to.
    pub log: PathBuf,
}

/// A process as we remember it across our own death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub started: u64,
}

impl Spec {
    /// Starts it.
    pub fn spawn(&self) -> Result<Child, CliError> {
        if fs::metadata(&self.log).is_ok_and(|log| log.len() > MAX_LOG_BYTES) {
            fs::rename(&self.log, self.log.with_extension("log.old")).map_err(io("move", &self.log))?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(io("open", &self.log))?;
        let errors = log.try_clone().map_err(io("open", &self.log))?;
        Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(io("start", &self.program))
    }

    /// The end of its log.
    pub fn last_lines(&self, count: usize) -> String {
        last_lines(&self.log, count).unwrap_or_default()
    }
}

/// Ends a child of ours: asks, waits, and insists.
pub async fn end(child: &mut Child) {
    if let Some(pid) = child.id() {
        signal(pid, Signal::TERM);
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Ends processes that a `phala dev` which was killed left behind.
pub async fn end_left_over(file: &Path) -> Result<Vec<String>, CliError> {
    let left: BTreeMap<String, Identity> = match fs::read(file) {
        // A damaged list names nobody.
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("read", file)(error)),
    };
    let alive: Vec<(String, Identity)> =
        left.into_iter().filter(|(_, process)| Identity::of(process.pid) == Some(*process)).collect();
    for (_, process) in &alive {
        signal(process.pid, Signal::TERM);
    }
    let started = Instant::now();
    while alive.iter().any(|(_, process)| Identity::of(process.pid) == Some(*process)) {
        if started.elapsed() > PATIENCE {
            for (_, process) in alive.iter().filter(|(_, process)| Identity::of(process.pid) == Some(*process)) {
                signal(process.pid, Signal::KILL);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fs::remove_file(file).map_err(io("remove", file))?;
    Ok(alive.into_iter().map(|(name, _)| name).collect())
}

impl Identity {
    /// Of the process that has this id now, if one does and it is not merely waiting to be collected.
    pub fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; fields are counted after it (proc(5): 3 is the state, 22 the start).
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, started })
    }
}

/// Sends a signal; a process that has ended already is no error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The last `count` lines of a file, of its last MiB.
pub fn last_lines(file: &Path, count: usize) -> std::io::Result<String> {
    let mut file = fs::File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(1024 * 1024)))?;
    let mut bytes = Vec::new();
    file.take(2 * 1024 * 1024).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    Ok(lines.get(from..).unwrap_or_default().join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn spec(folder: &Path, script: &str) -> Spec {
        Spec {
            name: "test".to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            log: folder.join("test.log"),
        }
    }

    #[tokio::test]
    async fn output_goes_to_the_log_and_its_end_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(folder.path(), "echo one; echo two >&2; echo three");
        assert!(spec.spawn().unwrap().wait().await.unwrap().success());
        assert_eq!(spec.last_lines(2), "two\nthree");
    }

    #[tokio::test]
    async fn a_process_is_asked_to_end_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = spec(folder.path(), "trap 'exit 0' TERM; while :; do sleep 0.05; done").spawn().unwrap();
        let pid = child.id().unwrap();
        assert_eq!(Identity::of(pid).unwrap().pid, pid);
        end(&mut child).await;
        assert_eq!(Identity::of(pid), None);
    }

    #[tokio::test]
    async fn left_over_processes_end_and_strangers_with_their_ids_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut ours = spec(folder.path(), "sleep 60").spawn().unwrap();
        let mut stranger = spec(folder.path(), "sleep 60").spawn().unwrap();
        let ours_now = Identity::of(ours.id().unwrap()).unwrap();
        let before = Identity { pid: stranger.id().unwrap(), started: 1 };
        let list = BTreeMap::from([("node-0", ours_now), ("worker-0", before)]);
        let file = folder.path().join("pids.json");
        fs::write(&file, serde_json::to_vec(&list).unwrap()).unwrap();
        let (ended, _) = tokio::join!(end_left_over(&file), ours.wait());
        assert_eq!(ended.unwrap(), ["node-0"]);
        assert!(stranger.try_wait().unwrap().is_none());
        assert!(!file.exists());
        end(&mut stranger).await;
    }
}
