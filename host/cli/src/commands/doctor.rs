//! `phala doctor`: what is missing on this machine, and the fix. Changes nothing.

use super::contract::toolchain::Toolchain;
use crate::{
    error::CliError,
    home,
    output::{table, Output},
};
use rustix::fs::Access;
use serde_json::json;
use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

/// How long a program may take to name its version.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Free bytes below which a development network is not worth starting: its chain, states and logs grow as long as it runs.
const FREE_BYTES: u64 = 1 << 30;

/// One thing that was looked at.
struct Check {
    what: &'static str,
    /// What was found, or what is wrong and how to mend it.
    found: Result<String, (String, &'static str)>,
    /// Whether a development network needs it.
    needed: bool,
}

/// Runs `phala doctor`.
pub async fn run(output: Output) -> Result<(), CliError> {
    let checks = checks().await;
    let json: Vec<_> = checks
        .iter()
        .map(|check| {
            let (found, fix) = match &check.found {
                Ok(found) => (found, None),
                Err((wrong, fix)) => (wrong, Some(fix)),
            };
            json!({"check": check.what, "ok": check.found.is_ok(), "needed": check.needed, "found": found, "fix": fix})
        })
        .collect();
    let missing: Vec<&str> =
        checks.iter().filter(|check| check.needed && check.found.is_err()).map(|check| check.what).collect();
    if missing.is_empty() || !output.is_json() {
        output.data(&json!({"ok": missing.is_empty(), "checks": json}), || report(&checks));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let mut error = CliError::environment(format!("missing: {}", missing.join(", ")))
        .with_hint("./scripts/build installs and makes what is missing");
    error.details.insert("checks".to_owned(), json.into());
    Err(error)
}

async fn checks() -> Vec<Check> {
    const BUILD: &str = "./scripts/build in a checkout of Phala makes it and links it into ./bin";
    let mut checks = Vec::new();
    for (what, name) in
        [("chain node", "phala-node"), ("worker", "phala-worker"), ("simulated TEE", "phala-insecure-tee")]
    {
        let found = match home::program(name) {
            Ok(path) => {
                let mut command = Command::new(&path);
                command.arg("--version");
                starts(command, START_TIMEOUT).await.map(|version| format!("{} ({version})", path.display()))
            }
            Err(error) => Err(error.message),
        };
        checks.push(Check { what, found: found.map_err(|wrong| (wrong, BUILD)), needed: true });
    }
    let token = home::program("token.wasm").map(|path| path.display().to_string());
    checks.push(Check { what: "sample token", found: token.map_err(|error| (error.message, BUILD)), needed: true });
    let toolchain = Toolchain::find().await.map(|toolchain| toolchain.describe());
    checks.push(Check {
        what: "contract toolchain",
        found: toolchain.map_err(|error| (error.message, super::contract::toolchain::FIX)),
        needed: false,
    });
    let home = home::folder().map_err(|error| error.message);
    checks.push(Check {
        what: "home folder",
        found: home
            .clone()
            .and_then(|home| writable(&home))
            .map_err(|wrong| (wrong, "make it writable, or set PHALA_HOME")),
        needed: true,
    });
    checks.push(Check {
        what: "free disk space",
        found: home
            .and_then(|home| free_space(&home, FREE_BYTES))
            .map_err(|wrong| (wrong, "remove something, or set PHALA_HOME to a folder on another disk")),
        needed: true,
    });
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 9944));
    checks.push(Check {
        what: "default node port",
        found: port.map(|_| "9944 is free".to_owned()).map_err(|error| {
            (format!("9944 is not free ({error})"), "none needed: `phala dev` picks another and says so")
        }),
        needed: false,
    });
    checks
}

/// The first line that a program prints which is asked for its version, or why it does not start.
async fn starts(mut command: Command, timeout: Duration) -> Result<String, String> {
    let name = PathBuf::from(command.as_std().get_program());
    let name = name.display();
    let run = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match tokio::time::timeout(timeout, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{name} does not start: {error}")),
        Err(_) => return Err(format!("{name} does not name its version within {} s", timeout.as_secs())),
    };
    let first = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
    if output.status.success() {
        return Ok(first(&output.stdout));
    }
    Err(format!("{name} does not start: it ended with {}: {}", output.status, first(&output.stderr)))
}

/// `folder`, or the nearest one above it that exists.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Whether files can be made in `folder`, or `folder` itself be made. Makes neither.
fn writable(folder: &Path) -> Result<String, String> {
    let nearest = existing(folder);
    if !nearest.is_dir() {
        return Err(format!("{} is no folder", nearest.display()));
    }
    rustix::fs::access(&nearest, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("cannot write in {}: {error}", nearest.display()))?;
    let not_yet = if nearest == folder { "" } else { " (made when it is needed)" };
    Ok(format!("{}{not_yet}", folder.display()))
}

/// What is free for us on the file system that `folder` is or will be in, if that is at least `needed` bytes.
fn free_space(folder: &Path, needed: u64) -> Result<String, String> {
    let nearest = existing(folder);
    let system = rustix::fs::statvfs(&nearest)
        .map_err(|error| format!("cannot look at the file system of {}: {error}", nearest.display()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let said = format!("{} MiB are free for {}", free >> 20, folder.display());
    if free < needed {
        return Err(format!("{said}, and a network needs {} MiB", needed >> 20));
    }
    Ok(said)
}

fn report(checks: &[Check]) -> String {
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            let (state, text) = match &check.found {
                Ok(found) => ("ok", found.clone()),
                Err((wrong, fix)) => (if check.needed { "MISSING" } else { "note" }, format!("{wrong}; fix: {fix}")),
            };
            vec![state.to_owned(), check.what.to_owned(), text]
        })
        .collect();
    table(&["", "", ""], &rows).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_program_that_is_there_and_does_not_start_is_missing() {
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            starts(command, Duration::from_secs(1))
        };
        assert_eq!(shell("echo program 1.2; echo more").await.unwrap(), "program 1.2");
        let error = shell("echo no such library >&2; exit 127").await.unwrap_err();
        assert!(error.contains("127") && error.contains("no such library"), "{error}");
        assert!(shell("exec sleep 30").await.unwrap_err().contains("within 1 s"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("no-program");
        fs::write(&file, b"").unwrap();
        assert!(starts(Command::new(file), START_TIMEOUT).await.unwrap_err().contains("does not start"));
    }

    #[test]
    fn looking_at_the_home_folder_does_not_make_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("not/yet");
        assert!(writable(&home).unwrap().contains("made when it is needed"));
        assert!(free_space(&home, 1).unwrap().contains("MiB are free"));
        assert!(!folder.path().join("not").exists());
        assert_eq!(writable(folder.path()).unwrap(), folder.path().display().to_string());
        fs::write(folder.path().join("not"), b"").unwrap();
        assert!(writable(&home).is_err(), "a file is in its place");
    }

    #[test]
    fn a_full_disk_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_space(folder.path(), u64::MAX).unwrap_err().contains("a network needs"));
    }
}
