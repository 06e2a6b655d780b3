//! Which machine a worker starts on, and what it says of it.

use crate::process::command;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// Runs a command line that has to end by itself; what it logged.
fn failing(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// Starts, waits until it listens, ends it; what it logged until then.
fn started(command: &mut Command) -> String {
    let mut child = command.spawn().unwrap();
    let mut log = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        log += &(line + "\n");
        if log.matches("listening address=").count() == 2 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(log.matches("listening address=").count(), 2, "{log}");
    log
}

fn identity(log: &str) -> &str {
    log.split_once("identity=").unwrap().1.split_whitespace().next().unwrap()
}

fn on_tdx(folder: &Path, is_development: bool, role: &str) -> Command {
    let mut command = command(folder, is_development);
    command.args(["--role", role, "--tsm"]).arg(folder.join("tsm"));
    command
}

#[test]
fn refuses_a_sealing_key_of_the_hosts_on_a_network_that_is_no_development_one() {
    let folder = TempDir::new().unwrap();
    let log = failing(on_tdx(folder.path(), false, "worker").arg("--sealing-key").arg(folder.path().join("key")));
    assert!(log.contains("development networks only"), "{log}");
    assert!(!log.contains("listening"), "{log}");
    let log = started(on_tdx(folder.path(), true, "worker").arg("--sealing-key").arg(folder.path().join("key")));
    assert!(log.contains("secrets=\"sealed\"") && log.contains("INSECURE"), "{log}");
}

#[test]
fn a_machine_without_a_sealing_key_starts_as_somebody_new_with_an_empty_disk() {
    let folder = TempDir::new().unwrap();
    let first = started(&mut on_tdx(folder.path(), false, "worker"));
    assert!(first.contains("tee=\"TDX guest\"") && first.contains("admitted anew after each start"), "{first}");
    let life = folder.path().join("data").join("one-life");
    fs::write(life.join("cluster-0.store"), b"of the first").unwrap();
    fs::write(folder.path().join("data").join("cluster-0.store"), b"of a machine that seals").unwrap();
    let second = started(&mut on_tdx(folder.path(), false, "worker"));
    assert_ne!(identity(&first), identity(&second));
    assert_eq!(fs::read_dir(&life).unwrap().count(), 0);
    assert!(folder.path().join("data").join("cluster-0.store").exists(), "what is not its own is left alone");
    assert!(second.contains("removed the state of an earlier start"), "{second}");
}

#[test]
fn a_machine_with_a_sealing_key_starts_as_the_one_it_was() {
    let folder = TempDir::new().unwrap();
    let start = || started(on_tdx(folder.path(), true, "worker").arg("--sealing-key").arg(folder.path().join("key")));
    assert_eq!(identity(&start()), identity(&start()));
    // Sealed for another program or processor.
    fs::write(folder.path().join("other"), [8; 32]).unwrap();
    let log = failing(on_tdx(folder.path(), true, "worker").arg("--sealing-key").arg(folder.path().join("other")));
    assert!(log.contains("does not open") && log.contains("move it away"), "{log}");
}

#[test]
fn a_gatekeeper_is_not_run_where_nothing_is_kept() {
    let folder = TempDir::new().unwrap();
    let log = failing(&mut on_tdx(folder.path(), true, "gatekeeper"));
    assert!(log.contains("keeps no secret over a restart"), "{log}");
}

#[test]
fn a_tee_that_is_named_and_not_there_is_an_error_and_no_fallback() {
    let folder = TempDir::new().unwrap();
    let log = failing(command(folder.path(), true).args(["--role", "worker", "--tee", "sgx"]));
    assert!(log.contains("/dev/attestation") && !log.contains("listening"), "{log}");
    let log = failing(on_tdx(folder.path(), true, "worker").args(["--tee", "sgx"]));
    assert!(log.contains("cannot be used with"), "{log}");
}

/// The same start in 64 GiB of address space.
fn limited(start: &Command) -> Command {
    let mut limited = Command::new("sh");
    // In KiB.
    limited.args(["-c", "ulimit -v 67108864 && exec \"$0\" \"$@\""]).arg(start.get_program()).args(start.get_args());
    limited.stderr(Stdio::piped());
    limited
}

/// An enclave's layout of the engine, in a process that has less address space than the other one reserves.
#[test]
fn a_worker_runs_with_an_enclaves_engine_where_the_other_has_no_room_and_says_so() {
    let folder = TempDir::new().unwrap();
    let log = started(limited(&on_tdx(folder.path(), true, "worker")).arg("--compact-engine"));
    assert!(log.contains("layout=\"compact\" reserved_gib=2"), "{log}");
    let log = started(&mut on_tdx(folder.path(), true, "worker"));
    assert!(log.contains("layout=\"wide\""), "{log}");
}

/// The engine's slots are address space, which a limit may forbid: then nothing slower, or smaller, takes their place.
#[test]
fn a_process_without_address_space_for_contracts_says_so_and_does_not_start() {
    let folder = TempDir::new().unwrap();
    let log = failing(&mut limited(&on_tdx(folder.path(), false, "worker")));
    assert!(log.contains("GiB of address space") && log.contains("RLIMIT_AS"), "{log}");
    assert!(!log.contains("listening"), "{log}");
    started(&mut on_tdx(folder.path(), false, "worker"));
}

#[test]
fn a_gatekeeper_needs_no_address_space_for_contracts() {
    let folder = TempDir::new().unwrap();
    let start = |role| {
        let mut start = on_tdx(folder.path(), true, role);
        start.arg("--sealing-key").arg(folder.path().join("key"));
        limited(&start)
    };
    assert!(failing(&mut start("worker")).contains("GiB of address space"));
    started(&mut start("gatekeeper"));
}
