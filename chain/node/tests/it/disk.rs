//! A disk that is nearly full, and files that may not grow: the node ends by itself, says why, and goes on afterwards.

use crate::node::{built, output, Node, BINARY};
use std::{
    process::{Command, Stdio},
    time::Duration,
};

/// What the node exits with when its disk has to be seen to.
const DISK: i32 = 9;
/// Less than the database's files have, more than the log of a short run.
const LITTLE_FILE: u64 = 256 * 1024;

#[test]
fn refuses_a_disk_with_too_little_room_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    let arguments = ["--chain", "dev", "--alice", "--base-path", base.to_str().unwrap()];
    let run = Command::new(BINARY)
        .args(arguments)
        .args(["--db-storage-threshold", &u64::MAX.to_string(), "--no-prometheus", "--no-telemetry"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(DISK), "{said}");
    let why = said.lines().find(|line| line.starts_with("error: disk_low: ")).expect("it says why");
    assert!(why.contains("make room") && why.contains("--db-storage-threshold"), "{said}");
    assert!(!base.join("chains/dev/paritydb").exists(), "no database was opened");
    // Nobody needs a disk to print something.
    assert!(!output(&["export-genesis-anchor", "--chain", "dev"]).is_empty());
}

#[test]
fn ends_by_itself_when_its_files_may_not_grow_and_goes_on_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let chain = built("dev", folder.path());
    let node = Node::start(&chain, "alice", folder.path(), &[]);
    node.wait_finalised(3, Duration::from_secs(60));
    let (before, third) = (node.finalised(), node.hash(3));
    node.limit_files(LITTLE_FILE);
    let status = node.ended(Duration::from_secs(180));
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(status.code(), Some(DISK), "{status}: {log}");
    assert!(log.contains("error: database_closed: ") && log.contains("RLIMIT_FSIZE"), "{log}");

    let node = Node::start(&chain, "alice", folder.path(), &[]);
    assert_eq!(node.hash(3), third);
    node.wait_finalised(before + 3, Duration::from_secs(60));
    assert_eq!(node.terminate().code(), Some(0));
}
