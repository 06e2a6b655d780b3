//! The client against directories that look like Gramine's, with a quote that genuine hardware made.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::frame::QuoteKind;
use std::{os::unix::fs::symlink, thread};

const RECORDED: &[u8] = include_bytes!("../../../../../testing/vectors/attest/sgx_v3.bin");
/// Where a quote of version 3 has its report data.
const REPORT_DATA: usize = 48 + 320;

fn recorded_data() -> [u8; 64] {
    RECORDED[REPORT_DATA..REPORT_DATA + 64].try_into().unwrap()
}

/// A directory with what Gramine has in an enclave; `quote` is answered by nobody.
fn enclave(attestation_type: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("keys")).unwrap();
    fs::write(directory.path().join("attestation_type"), attestation_type).unwrap();
    fs::write(directory.path().join("user_report_data"), [0; 64]).unwrap();
    fs::write(Gramine::sealing_key(directory.path()), [5; 16]).unwrap();
    directory
}

/// Makes `quote` a pipe and answers `requests` of them: opening one side waits for the other, as Gramine's quote is made when it is
/// opened. Every answer is about what stands in `user_report_data` at that moment.
fn play(directory: &Path, requests: usize) -> thread::JoinHandle<()> {
    let quote = directory.join("quote");
    assert!(std::process::Command::new("mkfifo").arg(&quote).status().unwrap().success());
    let directory = directory.to_path_buf();
    thread::spawn(move || {
        for _ in 0..requests {
            let mut pipe = fs::OpenOptions::new().write(true).open(&quote).unwrap();
            let asked = fs::read(directory.join("user_report_data")).unwrap();
            let mut answer = RECORDED.to_vec();
            answer[REPORT_DATA..REPORT_DATA + 64].copy_from_slice(&asked);
            pipe.write_all(&answer).unwrap();
            drop(pipe);
            // The next opening must not meet the reader of this one.
            thread::sleep(Duration::from_millis(30));
        }
    })
}

#[test]
fn gets_the_recorded_quote_for_the_data_that_it_is_about() {
    let directory = enclave("dcap");
    fs::write(directory.path().join("quote"), RECORDED).unwrap();
    let quoted = Gramine::new(directory.path()).unwrap().quote(&recorded_data()).unwrap();
    assert_eq!((quoted.provider, quoted.kind), (Provider::Gramine, QuoteKind::SgxV3));
    assert_eq!(quoted.quote, RECORDED);
    let evidence = quoted.evidence().unwrap();
    assert!(matches!(&evidence, phala_attest::Evidence::SgxDcap(quote) if **quote == *RECORDED));
    assert_eq!(fs::read(directory.path().join("user_report_data")).unwrap(), recorded_data());
    // The padding of a library OS that hands out its whole buffer.
    fs::write(directory.path().join("quote"), [RECORDED, &[0; 3592]].concat()).unwrap();
    assert_eq!(Gramine::new(directory.path()).unwrap().quote(&recorded_data()).unwrap().quote, RECORDED);
}

#[test]
fn requests_of_many_threads_never_meet_in_the_files() {
    let directory = enclave("dcap\n");
    let driver = play(directory.path(), 4);
    let client = Gramine::new(directory.path()).unwrap();
    thread::scope(|scope| {
        for index in 1..=4u8 {
            let client = client.clone();
            scope.spawn(move || {
                let quoted = client.quote(&[index; 64]).unwrap();
                assert_eq!(quoted.quote[REPORT_DATA..REPORT_DATA + 64], [index; 64]);
            });
        }
    });
    driver.join().unwrap();
}

#[test]
fn refuses_a_quote_about_other_data_of_another_kind_or_none() {
    let directory = enclave("dcap");
    let client = Gramine::new(directory.path()).unwrap();
    let answer = |bytes: &[u8]| {
        fs::write(directory.path().join("quote"), bytes).unwrap();
        client.quote(&[9; 64])
    };
    assert!(matches!(answer(RECORDED), Err(QuoteError::OtherData)));
    let other = include_bytes!("../../../../../testing/vectors/attest/tdx_v4.bin");
    assert!(matches!(
        answer(other),
        Err(QuoteError::OtherMachine { provider: Provider::Gramine, kind: QuoteKind::TdxV4 })
    ));
    assert!(matches!(answer(b""), Err(QuoteError::Malformed(_))));
    assert!(matches!(answer(&[0; super::super::ANSWER_LIMIT + 1]), Err(QuoteError::AnswerTooLong)));
    fs::remove_file(directory.path().join("quote")).unwrap();
    assert!(matches!(client.quote(&[9; 64]), Err(QuoteError::File { action: "read", .. })));
}

#[test]
fn gives_up_in_time_when_the_quoting_service_hangs_and_goes_on_when_it_is_back() {
    let directory = enclave("dcap");
    let quote = directory.path().join("quote");
    assert!(std::process::Command::new("mkfifo").arg(&quote).status().unwrap().success());
    let client = Gramine::new(directory.path()).unwrap().with_timeout(Duration::from_millis(50));
    assert!(matches!(client.quote(&[1; 64]), Err(QuoteError::Timeout(_))));
    assert!(matches!(client.quote(&[2; 64]), Err(QuoteError::Timeout(_))), "the first request is still in the files");
    // Somebody opens and closes the pipe: the request that hung ends, with an answer that nobody waits for.
    drop(fs::OpenOptions::new().write(true).open(&quote).unwrap());
    let real = directory.path().join("answer");
    fs::write(&real, RECORDED).unwrap();
    fs::remove_file(&quote).unwrap();
    symlink(&real, &quote).unwrap();
    let client = client.with_timeout(Duration::from_secs(20));
    assert_eq!(client.quote(&recorded_data()).unwrap().quote, RECORDED);
}

#[test]
fn refuses_other_types_of_attestation_by_name_and_a_directory_without_one() {
    for other in ["none", "epid", "maa", ""] {
        let directory = enclave(other);
        assert!(matches!(Gramine::new(directory.path()), Err(QuoteError::AttestationType(found)) if found == other));
    }
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Gramine::new(directory.path()), Err(QuoteError::NoInterface(_))));
}
