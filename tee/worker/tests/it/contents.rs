//! What the measured binary is not made of.

use phala_attest::{is_development_root, INSECURE_DEVELOPMENT_ROOT_DER};

/// Sentences of the simulator, backwards, so that this test does not hold them itself: one that its keys are derived from, and the signer
/// of its quoting enclave.
const SENTENCES: [&str; 2] = [".esoprup no cilbup si yek etavirp sihT", "e gnitouq XDT detalumis ERUCESNI"];

fn holds(program: &[u8], text: &[u8]) -> bool {
    program.windows(text.len()).any(|window| window == text)
}

#[test]
fn the_measured_binary_contains_no_simulator_and_the_development_root_only_to_know_it() {
    let worker = std::fs::read(env!("CARGO_BIN_EXE_phala-worker")).unwrap();
    // This program links the simulator, and so holds what is looked for.
    let simulated = phala_insecure_tee::development_root_der().unwrap();
    let machine = phala_insecure_tee::InsecureMachine::new("machine", b"program", 1_800_000_000).unwrap();
    assert!(is_development_root(&simulated) && machine.quote([0; 64]).len() > 1_000);
    let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    for sentence in SENTENCES {
        let sentence: String = sentence.chars().rev().collect();
        assert!(holds(&this, sentence.as_bytes()), "the search would not find it");
        assert!(!holds(&worker, sentence.as_bytes()), "{sentence}");
    }
    assert!(holds(&worker, INSECURE_DEVELOPMENT_ROOT_DER), "it has to know what it refuses outside development");
}
