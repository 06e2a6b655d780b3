//! The client against the simulator, and against a fixture that behaves as the kernel's files do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::{frame::QuoteKind, quote::ANSWER_LIMIT};
use phala_attest::{
    verify_collateral, verify_evidence, Assurance, DevelopmentGenesis, Policy, PolicyTerms, TrustAnchor,
};
use phala_insecure_tee::{InsecureMachine, InsecureTee};
use std::{
    sync::{atomic::AtomicBool, Arc},
    time::{SystemTime, UNIX_EPOCH},
};

fn machine(now: u64) -> InsecureMachine {
    InsecureMachine::new("alpha", b"the program", now).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Runs `client` while the simulator serves `directory`.
fn with_simulator<R>(directory: &Path, client: impl FnOnce() -> R) -> R {
    let tee = InsecureTee::new(directory, machine(now())).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let stop = stop.clone();
        move || tee.run(&stop, &mut |message| assert!(message.contains("INSECURE")))
    });
    let result = client();
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    result
}

/// An entry with all files at once, as the kernel makes it; `generation` is 4.
fn kernel_entry(directory: &Path, provider: &str) -> Entry {
    let entry = Entry::create(directory).unwrap();
    fs::write(entry.0.join("inblob"), b"").unwrap();
    fs::write(entry.0.join("outblob"), b"").unwrap();
    fs::write(entry.0.join("provider"), provider).unwrap();
    fs::write(entry.0.join("generation"), b"4\n").unwrap();
    entry
}

/// Asks `entry` while a thread does the kernel's part: on a request, `answer` goes to `outblob` and `counted` is added to
/// `generation`.
fn ask_kernel_fixture(entry: &Entry, answer: &[u8], counted: u64) -> Result<Quoted, QuoteError> {
    thread::scope(|scope| {
        scope.spawn(|| {
            while fs::read(entry.0.join("inblob")).unwrap() != [3; 64] {
                thread::sleep(Duration::from_millis(1));
            }
            fs::write(entry.0.join("outblob"), answer).unwrap();
            fs::write(entry.0.join("generation.new"), format!("{}\n", 4 + counted)).unwrap();
            fs::rename(entry.0.join("generation.new"), entry.0.join("generation")).unwrap();
        });
        entry.ask(&[3; 64], Duration::from_secs(20))
    })
}

#[test]
fn gets_a_quote_from_the_simulator_that_verifies_as_simulated() {
    let directory = tempfile::tempdir().unwrap();
    let report_data = [9u8; 64];
    let quoted =
        with_simulator(directory.path(), || ConfigfsTsm::new(directory.path().join("report")).quote(&report_data))
            .unwrap();
    assert_eq!(quoted.provider, Provider::TdxGuest);
    let now = now();
    let anchor = TrustAnchor::InsecureDevelopment(DevelopmentGenesis::for_genesis([1; 32], &[[1; 32]]).unwrap());
    let machine = machine(now);
    let collateral = verify_collateral(machine.collateral(), &anchor, now).unwrap();
    let report =
        verify_evidence(&quoted.evidence().unwrap(), &collateral, &Policy { anchor, terms: PolicyTerms::STRICT }, now)
            .unwrap();
    assert_eq!(report.report_data(), report_data);
    assert_eq!(report.measurement(), machine.measurement());
    assert_eq!(report.assurance(), Assurance::Simulated);
    assert_eq!(fs::read_dir(directory.path().join("report")).unwrap().count(), 0, "the entry was not removed");
}

#[test]
fn answers_many_requests_at_once_each_with_its_own_data() {
    let directory = tempfile::tempdir().unwrap();
    let client = ConfigfsTsm::new(directory.path().join("report"));
    with_simulator(directory.path(), || {
        thread::scope(|scope| {
            for index in 0..8u8 {
                let client = &client;
                scope.spawn(move || {
                    let quoted = client.quote(&[index; 64]).unwrap();
                    assert_eq!(phala_attest::decode_quote(&quoted.quote).unwrap().report.report_data(), &[index; 64]);
                });
            }
        });
    });
}

#[test]
fn times_out_when_nobody_answers_and_cleans_up() {
    let directory = tempfile::tempdir().unwrap();
    let client = ConfigfsTsm::new(directory.path()).with_timeout(Duration::from_millis(50));
    assert!(matches!(client.quote(&[0; 64]), Err(QuoteError::Timeout(_))));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn refuses_a_directory_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let client = ConfigfsTsm::new(directory.path().join("absent"));
    assert!(matches!(client.quote(&[0; 64]), Err(QuoteError::NoInterface(_))));
}

#[test]
fn speaks_to_files_that_the_kernel_made() {
    let directory = tempfile::tempdir().unwrap();
    let padded = [machine(now()).quote([3; 64]), vec![0; 70]].concat();
    let entry = kernel_entry(directory.path(), "tdx_guest\n");
    let quoted = ask_kernel_fixture(&entry, &padded, 1).unwrap();
    assert_eq!(quoted.provider, Provider::TdxGuest);
    assert_eq!(quoted.quote.len() + 70, padded.len(), "the driver's padding was not stripped");
    assert!(!entry.0.join("inblob.new").exists(), "the kernel allows no new files");
}

/// Bytes that Intel's hardware made: the driver's whole answer, with its padding.
#[test]
fn takes_the_recorded_answers_of_genuine_drivers() {
    for (answer, kind, offset) in [
        (&include_bytes!("../../../../../testing/vectors/attest/tdx_v4.bin")[..], QuoteKind::TdxV4, 48 + 520),
        (&include_bytes!("../../../../../testing/vectors/attest/tdx_v5.bin")[..], QuoteKind::TdxV5, 54 + 520),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let entry = kernel_entry(directory.path(), "tdx_guest\n");
        let mut about = answer.to_vec();
        about[offset..offset + 64].copy_from_slice(&[3; 64]);
        let quoted = ask_kernel_fixture(&entry, &about, 1).unwrap();
        assert_eq!(quoted.kind, kind);
        assert!(about.starts_with(&quoted.quote) && about[quoted.quote.len()..].iter().all(|byte| *byte == 0));
        let entry = kernel_entry(directory.path(), "tdx_guest\n");
        assert!(matches!(ask_kernel_fixture(&entry, answer, 1), Err(QuoteError::OtherData)), "{kind:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let entry = kernel_entry(directory.path(), "tdx_guest\n");
    let sgx = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.bin");
    assert!(matches!(ask_kernel_fixture(&entry, sgx, 1), Err(QuoteError::OtherMachine { .. })));
}

#[test]
fn gives_up_in_time_on_a_driver_that_blocks_while_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let client = ConfigfsTsm::new(directory.path()).with_timeout(Duration::from_millis(200));
    let stuck = directory.path().to_path_buf();
    let driver = thread::spawn(move || loop {
        let Some(entry) = fs::read_dir(&stuck).unwrap().flatten().next() else { continue };
        if entry.path().join("inblob").exists() {
            // Opening a pipe waits for its other end.
            let pipe = entry.path().join("outblob");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            fs::write(entry.path().join("generation.new"), "1\n").unwrap();
            fs::rename(entry.path().join("generation.new"), entry.path().join("generation")).unwrap();
            return pipe;
        }
    });
    assert!(matches!(client.quote(&[0; 64]), Err(QuoteError::Timeout(_))));
    drop(fs::OpenOptions::new().write(true).open(driver.join().unwrap()).unwrap());
}

#[test]
fn refuses_what_another_process_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let entry = kernel_entry(directory.path(), "tdx_guest\n");
    assert!(matches!(ask_kernel_fixture(&entry, b"", 2), Err(QuoteError::Conflict { expected: 5, found: 6 })));
}

#[test]
fn refuses_unknown_providers_and_answers_that_are_no_quotes() {
    let directory = tempfile::tempdir().unwrap();
    let entry = kernel_entry(directory.path(), "sev_guest\n");
    assert!(
        matches!(ask_kernel_fixture(&entry, &machine(now()).quote([3; 64]), 1), Err(QuoteError::Provider(name)) if name == "sev_guest")
    );
    let entry = kernel_entry(directory.path(), "tdx_guest\n");
    assert!(matches!(ask_kernel_fixture(&entry, b"no quote", 1), Err(QuoteError::Malformed(_))));
    let entry = kernel_entry(directory.path(), "tdx_guest\n");
    assert!(matches!(ask_kernel_fixture(&entry, &[0; ANSWER_LIMIT + 1], 1), Err(QuoteError::AnswerTooLong)));
}
