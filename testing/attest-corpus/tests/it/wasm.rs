//! The verifier compiled to WASM says, word for word, what it says natively.
//!
//! Proves: the code of `common/attest`, with the cryptography and parsers of the workspace's lock file, compiled for `wasm32v1-none`
//! as the runtime's blob is, gives the same text of the verdict on every case: with 32-bit words, another compiler back end and
//! overflow checks. The verifier has no other code for any target. A browser's engine runs the same module in `engine.rs`, and the
//! node's executor the runtime's own blob in `chain/node/src/judgement.rs`.

use codec::Encode;
use phala_attest_corpus::{every_case, parallel, wasm::Wasm};
use phala_attest_corpus_module::judge;

#[test]
fn wasm_gives_the_native_verdict_on_every_case() {
    let wasm = Wasm::build().unwrap();
    let cases = every_case();
    let verdicts = parallel(&cases, |case| {
        let input = case.input.encode();
        (judge(&input), wasm.instantiate(&input).and_then(|mut loaded| loaded.run()).unwrap())
    });
    let mut accepted = 0;
    for (case, (native, wasm)) in cases.iter().zip(verdicts) {
        assert_eq!(native, wasm, "{:?} {}: {}", case.kind, case.class, case.name);
        accepted += usize::from(native.starts_with("Ok"));
    }
    assert!(accepted > 20, "nothing is accepted: {accepted}");
    println!("{} cases, {accepted} accepted, identical; the module has {} bytes", cases.len(), wasm.bytes);
}
