//! The simulator as the process that a development network starts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use codec::Decode;
use phala_attest::{
    verify_collateral, verify_evidence, Assurance, Collateral, DevelopmentGenesis, Evidence, List, Policy, PolicyTerms,
    TrustAnchor,
};
use phala_insecure_tee::{InsecureMachine, InsecureTee};

/// Ended when the test does, also by a failure.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn await_file(path: &Path) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match fs::read(path) {
            Ok(bytes) => return bytes,
            Err(error) if Instant::now() >= deadline => panic!("{}: {error}", path.display()),
            Err(_) => sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn answers_what_was_asked_while_it_was_down() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let start =
        || InsecureTee::new(directory.path(), InsecureMachine::new("alpha", b"a worker", now).unwrap()).unwrap();
    drop(start());
    let entry = directory.path().join("report/request");
    fs::create_dir(&entry).unwrap();
    fs::write(entry.join("inblob"), [7; 64]).unwrap();
    start().answer_pending(&mut |_| {});
    assert_eq!(fs::read_to_string(entry.join("generation")).unwrap(), "1\n");
}

#[test]
fn serves_the_file_protocol_and_says_that_it_is_insecure() {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("worker");
    fs::write(&binary, "a worker").unwrap();
    let dir = directory.path().join("tee");
    let mut child = Command::new(env!("CARGO_BIN_EXE_phala-insecure-tee"))
        .args(["--machine", "alpha", "--dir"])
        .arg(&dir)
        .arg("--measure")
        .arg(&binary)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let process = Process(child);

    let collateral = Collateral::decode(&mut &await_file(&dir.join("collateral"))[..]).unwrap();
    let entry = dir.join("report/request");
    fs::create_dir(&entry).unwrap();
    for generation in ["1\n", "2\n"] {
        fs::write(entry.join("inblob.new"), [6; 64]).unwrap();
        fs::rename(entry.join("inblob.new"), entry.join("inblob")).unwrap();
        while await_file(&entry.join("generation")) != generation.as_bytes() {
            sleep(Duration::from_millis(5));
        }
        assert!(!entry.join("inblob").exists(), "the request was not taken");
        assert_eq!(fs::read(entry.join("provider")).unwrap(), b"tdx_guest\n");
    }
    assert_eq!(fs::read(dir.join("keys/sealing")).unwrap().len(), 32);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let anchor = TrustAnchor::InsecureDevelopment(DevelopmentGenesis::for_genesis([1; 32], &[[1; 32]]).unwrap());
    let collateral = verify_collateral(&collateral, &anchor, now).unwrap();
    let evidence = Evidence::TdxDcap(List::try_from(fs::read(entry.join("outblob")).unwrap()).unwrap());
    let report = verify_evidence(&evidence, &collateral, &Policy { anchor, terms: PolicyTerms::STRICT }, now).unwrap();
    assert_eq!(report.assurance(), Assurance::Simulated);
    assert_eq!(report.report_data(), [6; 64]);

    let printed = Command::new(env!("CARGO_BIN_EXE_phala-insecure-tee"))
        .arg("--print-measurement")
        .arg("--measure")
        .arg(&binary)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap().trim(), hex::encode(report.measurement()));

    drop(process);
    let lines: Vec<String> = BufReader::new(stderr).lines().map(Result::unwrap).collect();
    assert!(lines.iter().all(|line| line.starts_with("INSECURE")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("SIMULATED quote")).count(), 2, "{lines:?}");
}

#[test]
fn collateral_is_renewed_before_it_ends_also_after_a_clock_that_jumped() {
    const DAY: u64 = 86_400;
    let directory = tempfile::tempdir().unwrap();
    let start = 1_800_000_000;
    let machine = InsecureMachine::new("alpha", b"a worker", start).unwrap();
    let mut tee = InsecureTee::new(directory.path(), machine).unwrap();
    let anchor = TrustAnchor::InsecureDevelopment(DevelopmentGenesis::for_genesis([1; 32], &[[1; 32]]).unwrap());
    let good_at = |now| {
        let bytes = fs::read(directory.path().join("collateral")).unwrap();
        verify_collateral(&Collateral::decode(&mut &bytes[..]).unwrap(), &anchor, now)
    };
    let mut issued = good_at(start).unwrap().issued();
    assert!(good_at(start + 40 * DAY).is_err(), "it ends");

    // An hour, a week: nothing to do. Looked at every day, there is no day on which it does not hold, or goes back in time.
    assert!(!tee.renew_collateral(start + 3_600).unwrap());
    for day in 0..60 {
        tee.renew_collateral(start + day * DAY).unwrap();
        let now = good_at(start + day * DAY).unwrap().issued();
        assert!(now >= issued);
        issued = now;
    }
    // Asleep for a year, then set back by two.
    for now in [start + 425 * DAY, start - 305 * DAY] {
        assert!(tee.renew_collateral(now).unwrap());
        assert!(good_at(now).is_ok());
        assert!(!tee.renew_collateral(now).unwrap());
    }
}
