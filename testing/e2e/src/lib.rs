//! Runs the binaries as a user does, for the stories in `tests/it`.
//!
//! It knows the command line and nothing else of the workspace. Guarantees: every process it starts is ended by its number when
//! the test ends, also when the test fails; every wait is bounded. The binaries are those that `scripts/build` linked into `bin/`.
//! Does not: build anything.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "it serves tests, and a failure here is theirs")]

pub mod brake;
pub mod canary;
pub mod canary_run;
pub mod clock;
pub mod core_dumps;
pub mod governance;
pub mod hostile_relayer;
pub mod inbox;
pub mod machines;
pub mod probe;
pub mod processes;
pub mod raw_http;
pub mod redaction;
pub mod small_disk;

pub mod campaign;
pub mod load;

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{mpsc, Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a network may take to be usable.
const READY_WITHIN: Duration = Duration::from_secs(240);
/// How long it may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// The turn of a test that runs a network: its nodes and workers share the machine, and timeouts are for one network.
/// `.config/nextest.toml` does the same for tests that are processes of their own.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has ended its network.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A binary that `scripts/build` made, or of the folder that `PHALA_BIN` names: another build's.
pub fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("PHALA_BIN").map_or_else(|| repository().join("bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run scripts/build first", path.display());
    path
}

/// A running `phala dev`.
pub struct Network {
    process: Child,
    /// Its base path.
    pub base: PathBuf,
    /// The line it printed when it was usable.
    pub ready: Value,
    notes: Arc<Mutex<String>>,
    variables: Vec<(String, String)>,
}

impl Network {
    /// Starts `phala dev --json --base-path BASE` with `arguments` and waits until it is usable.
    pub fn start(base: &Path, arguments: &[&str]) -> Self {
        Self::start_in(base, arguments, &[])
    }

    /// [`Self::start`] with more variables of the environment, which its commands get, too.
    pub fn start_in(base: &Path, arguments: &[&str], variables: &[(String, String)]) -> Self {
        let mut process = Command::new(binary("phala"))
            .args(["dev", "--json", "--base-path"])
            .arg(base)
            .args(arguments)
            .env("PHALA_HOME", base.join("home"))
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("phala starts");
        let notes = Arc::new(Mutex::new(String::new()));
        let stderr = process.stderr.take().expect("stderr is piped");
        thread::spawn({
            let notes = Arc::clone(&notes);
            move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    eprintln!("{line}");
                    let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                    notes.push_str(&line);
                    notes.push('\n');
                }
            }
        });
        let stdout = process.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut network =
            Self { process, base: base.to_owned(), ready: Value::Null, notes, variables: variables.to_vec() };
        let line = lines.recv_timeout(READY_WITHIN).expect("the network is usable in time");
        network.ready = serde_json::from_str(&line).expect("the line is JSON");
        assert_eq!(network.ready["ready"], true);
        network
    }

    /// Runs `phala --json --network BASE ARGUMENTS`.
    pub fn phala(&self, arguments: &[&str]) -> Run {
        phala_in(&self.base, arguments, &self.variables)
    }

    /// What it said on standard error so far.
    pub fn notes(&self) -> String {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first node's address, `ws://127.0.0.1:PORT`.
    pub fn node(&self) -> &str {
        self.ready["node_ws"].as_str().unwrap_or_default()
    }

    /// The id of `phala dev` itself.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as Ctrl-C would; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.end()
    }

    fn end(&mut self) -> Option<i32> {
        if let Ok(Some(status)) = self.process.try_wait() {
            return status.code();
        }
        signal(self.process.id(), "-TERM");
        let given_up = Instant::now() + ENDED_WITHIN;
        while Instant::now() < given_up {
            if let Ok(Some(status)) = self.process.try_wait() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(100));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        None
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to one process, by its number.
pub fn signal(process: u32, name: &str) {
    // The shell's own: a minimal system has no program of that name.
    let _ = Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", name, &process.to_string()]).status();
}

/// What a command came to.
#[derive(Debug)]
pub struct Run {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed as data, if that is JSON.
    pub json: Value,
    /// Everything it printed, for failures.
    pub text: String,
}

impl Run {
    fn of(output: Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let json = serde_json::from_str(stdout.trim()).unwrap_or(Value::Null);
        let text = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        Self { code: output.status.code(), json, text }
    }

    /// The data of a command that succeeded.
    pub fn data(self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.json
    }
}

/// Runs `phala --json --network NETWORK ARGUMENTS`.
pub fn phala(network: &Path, arguments: &[&str]) -> Run {
    phala_in(network, arguments, &[])
}

fn phala_in(network: &Path, arguments: &[&str], variables: &[(String, String)]) -> Run {
    let output = Command::new(binary("phala"))
        .arg("--json")
        .arg("--network")
        .arg(network)
        .args(arguments)
        .env("PHALA_HOME", network.join("home"))
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .output()
        .expect("phala runs");
    Run::of(output)
}

/// Says that a part of a test could not be done on this machine, and why. `scripts/test` names a file in `PHALA_TEST_SKIPS` and counts
/// its lines, so that what was left out never looks like what passed.
pub fn skipped(what: &str) {
    println!("SKIPPED: {what}");
    if let Some(list) = std::env::var_os("PHALA_TEST_SKIPS") {
        let file = std::fs::File::options().create(true).append(true).open(&list);
        let line = format!("{}\n", what.replace('\n', " "));
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the list of what was skipped can be written");
    }
}

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until `check` holds, trying it again and again.
pub fn wait_until(what: &str, within: Duration, mut check: impl FnMut() -> bool) {
    let given_up = Instant::now() + within;
    while !check() {
        assert!(Instant::now() < given_up, "{what}: not within {within:?}");
        thread::sleep(LOOK);
    }
}

/// All bytes of all files below `folder`.
pub fn bytes_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if let Ok(mut file) = std::fs::File::open(&path) {
                let mut bytes = Vec::new();
                if file.read_to_end(&mut bytes).is_ok() {
                    found.push((path, bytes));
                }
            }
        }
    }
    found
}
