//! The verifier's module says in a browser's engine, word for word, what the verifier says natively.
//!
//! Proves: the module of `wasm.rs`, loaded by `browser/verifier.mjs` as a page loads it, gives the same text of the verdict on every case
//! in V8, the engine of Chromium, here that of Node.js (18 or newer, which `scripts/stock` installs). It runs no browser around the
//! engine, and no other browser's engine.

use codec::Encode;
use phala_attest_corpus::{cores, every_case, parallel, wasm, Case};
use phala_attest_corpus_module::judge;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn a_browsers_engine_gives_the_native_verdict_on_every_case() {
    let module = wasm::compile().unwrap();
    let cases = every_case();
    let native = parallel(&cases, |case| judge(&case.input.encode()));
    // A process for each core: the engine's own threads only compile.
    let parts: Vec<&[Case]> = cases.chunks(cases.len().div_ceil(cores()).max(1)).collect();
    let judged = parallel(&parts, |part| judged_in_v8(&module, part));
    let engine = &judged[0].0;
    let verdicts: Vec<&String> = judged.iter().flat_map(|(_, verdicts)| verdicts).collect();
    assert_eq!(verdicts.len(), cases.len());
    let mut accepted = 0;
    for (case, (native, found)) in cases.iter().zip(native.iter().zip(verdicts)) {
        assert_eq!(native, found, "{:?} {}: {}", case.kind, case.class, case.name);
        accepted += usize::from(native.starts_with("Ok"));
    }
    assert!(accepted > 20, "nothing is accepted: {accepted}");
    println!("{} cases, {accepted} accepted, identical in {engine}", cases.len());
}

/// The engine, and its verdicts.
fn judged_in_v8(module: &Path, cases: &[Case]) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("cases"), folder.path().join("verdicts"));
    fs::write(&input, framed(cases)).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("browser/run.mjs");
    let run = Command::new("node")
        .arg(script)
        .args([module, &input, &output])
        .output()
        .unwrap_or_else(|error| panic!("Node.js is missing: run scripts/stock first ({error})"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    (String::from_utf8(run.stdout).unwrap().trim().to_owned(), unframed(&fs::read(output).unwrap()))
}

/// Each case behind its length.
fn framed(cases: &[Case]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for case in cases {
        let input = case.input.encode();
        bytes.extend(u32::try_from(input.len()).unwrap().to_le_bytes());
        bytes.extend(input);
    }
    bytes
}

/// The texts, each of which stands behind its length.
fn unframed(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (text, after) = rest.split_at(u32::from_le_bytes(*length) as usize);
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        bytes = after;
    }
    assert!(bytes.is_empty(), "the last verdict is cut off");
    texts
}
