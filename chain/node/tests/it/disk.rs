//! A disk that is nearly full, files that may not grow, and files that were cut: the node ends by itself, says why, and goes on afterwards.

use crate::node::{built, free_port, output, Node, BINARY};
use std::{
    fs::{self, DirEntry, File},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// What the node exits with when its disk has to be seen to.
const DISK: i32 = 9;
/// What it exits with when a mapped file failed it.
const FAULT: i32 = 13;
/// The index of the states' nodes: every block looks for its new ones there, before it writes them.
const STATES: &str = "index_01_";
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

    cut_files_are_refused(&chain, folder.path());
    let node = Node::start(&chain, "alice", folder.path(), &[]);
    assert_eq!(node.hash(3), third);
    assert_eq!(node.terminate().code(), Some(0));
}

#[test]
fn a_file_that_is_cut_under_it_ends_it_with_a_reason_and_by_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let chain = built("dev", folder.path());
    let node = Node::start(&chain, "alice", folder.path(), &[]);
    node.wait_finalised(3, Duration::from_secs(60));
    let third = node.hash(3);
    // A young node's log is all there is: files appear when that is written to them, at the latest at its end.
    assert_eq!(node.terminate().code(), Some(0));
    let node = Node::start(&chain, "alice", folder.path(), &[]);
    node.wait_finalised(5, Duration::from_secs(60));
    let before = node.finalised();
    let (cut, whole) = node.paused(|| {
        let file = longest(folder.path(), STATES).path();
        let whole = fs::read(&file).unwrap();
        File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
        (file, whole)
    });
    let status = node.ended(Duration::from_secs(60));
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!((status.signal(), status.code()), (None, Some(FAULT)), "{status}: {log}");
    let why = log.lines().find(|line| line.starts_with("error: database_fault: ")).expect("it says why");
    assert!(why.contains("make room") && why.contains("put back"), "{log}");

    // With the file as it was it goes on from what was final.
    fs::write(cut, whole).unwrap();
    let node = Node::start(&chain, "alice", folder.path(), &[]);
    assert_eq!(node.hash(3), third);
    node.wait_finalised(before + 3, Duration::from_secs(60));
    assert_eq!(node.terminate().code(), Some(0));
}

/// The longest file of the database in `base` whose name starts with `kind`.
fn longest(base: &Path, kind: &str) -> DirEntry {
    let chains = fs::read_dir(base.join("chains")).unwrap().next().unwrap().unwrap().path();
    let files = fs::read_dir(chains.join("paritydb/full")).unwrap().map(|entry| entry.unwrap());
    files
        .filter(|file| file.file_name().to_string_lossy().starts_with(kind) && file.metadata().unwrap().len() > 0)
        .max_by_key(|file| (file.metadata().unwrap().len(), file.file_name()))
        .expect("the database has such a file")
}

/// Every kind of file of the database in `base`, cut in the middle: the node does not start on it, and names it. Each is whole again after.
fn cut_files_are_refused(chain: &str, base: &Path) {
    for kind in ["table_", "index_"] {
        let file = longest(base, kind);
        let whole = fs::read(file.path()).unwrap();
        File::options().write(true).open(file.path()).unwrap().set_len(whole.len() as u64 / 2 + 1).unwrap();
        let run = Command::new(BINARY)
            .args(["--chain", chain, "--alice", "--base-path", base.to_str().unwrap()])
            .args(["--rpc-port", &free_port().to_string(), "--port", &free_port().to_string()])
            .args(["--no-prometheus", "--no-telemetry", "--no-mdns"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        // A signal would be no exit code at all.
        assert_eq!(run.status.code(), Some(DISK), "{}: {said}", run.status);
        let why = said.lines().find(|line| line.starts_with("error: database_cut: ")).expect("it says why");
        assert!(why.contains(&*file.file_name().to_string_lossy()) && why.contains("purge-chain"), "{said}");
        fs::write(file.path(), whole).unwrap();
    }
}
