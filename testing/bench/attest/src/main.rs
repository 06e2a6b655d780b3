//! `cargo xtask bench attest [--json] [--quick]`: what verifying evidence costs a core, and what re-attestation costs the chain.
//!
//! | metric | formula |
//! |---|---|
//! | `attest.verifications.KIND` | `verify_evidence` of the genuine sample a second of one core's processor time, against verified collateral. Baseline: the floor, which is the three P-256 signatures in it (processor's certificate, quoting enclave's report, quote) over messages of the same lengths, and nothing else. The ratio is value / baseline |
//! | `attest.floor_ratio` | the smallest of those ratios; aim at least 0.7 |
//! | `attest.collateral` | `verify_collateral` of TDX a second of one core: once a model and month |
//! | `attest.bytes` | bytes of a signed transaction that registers with the longest genuine sample: SCALE of the arguments, and [`TRANSACTION_BYTES`] around them. Baseline: its quote |
//! | `attest.weight_ms` | milliseconds of the reference machine that the chain charges for a registration, storage included (`WeightInfo::register`) |
//! | `attest.wasm_ms` | milliseconds of this core that the verification takes in WASM under wasmtime, whose compiler is the node's of another version: median. Baseline: native |
//! | `attest.block_share_200k` | percent of the chain's wall time that 200,000 re-attestations a day take: 200,000 / ([`DAY`] / [`BLOCK_SECONDS`]) registrations a block x weight / [`BLOCK_SECONDS`]; aim under 5. Baseline: with `attest.wasm_ms` for the weight |
//! | `attest.block_weight_share_200k` | the same of the [`BLOCK_WEIGHT_MS`] of work that a block may hold, which is what registrations take from other transactions. Baseline: with `attest.wasm_ms` |
//! | `attest.block_bytes_share_200k` | their bytes, percent of the [`BLOCK_BYTES`] that a block may hold |
//!
//! `n` is the number of verifications of a run. `--quick` runs a few, for a smoke test.
#![forbid(unsafe_code)]

use anyhow::{anyhow, bail, ensure, Context, Result};
use codec::{DecodeAll, Encode};
use p256::ecdsa::{signature::Signer, signature::Verifier, Signature, SigningKey, VerifyingKey};
use phala_attest::{
    decode_quote, verify_collateral, verify_evidence, Evidence, Policy, PolicyTerms, TrustAnchor, VerifiedCollateral,
};
use phala_attest_corpus::{genuine, lenient, wasm::Wasm, Case, Kind};
use phala_pallet_attestation::WeightInfo;
use phala_protocol::{
    attestation::{Registration, Role},
    ids::{AccountId, WorkerId},
};
use rustix::time::{clock_gettime, ClockId};
use serde_json::json;
use std::hint::black_box;

/// Seconds of a day.
const DAY: f64 = 86_400.0;
/// Seconds between blocks.
const BLOCK_SECONDS: f64 = 6.0;
/// What `chain/runtime/src/configs/system.rs` lets a block hold: milliseconds of the reference machine, and bytes.
const BLOCK_WEIGHT_MS: f64 = 400.0;
const BLOCK_BYTES: f64 = 5.0 * 1024.0 * 1024.0;
/// What a signed transaction of the runtime has around a call's arguments: 2 of its length (up to 16 KiB), version, 33 of the signer,
/// 65 of an sr25519 signature, 2 of a mortal era, nonce (up to 63), tip (none), mode of the metadata's hash, and 2 of pallet and call. A
/// test of `phala-runtime` encodes one, and compares.
const TRANSACTION_BYTES: usize = 108;
const WORKERS: f64 = 200_000.0;
/// Bytes of the signed part of a processor's certificate.
const CERTIFICATE_BYTES: usize = 1_150;

fn main() -> Result<()> {
    let mut quick = false;
    for word in std::env::args().skip(1).skip_while(|word| word == "attest") {
        match word.as_str() {
            "--json" => {}
            "--quick" => quick = true,
            other => bail!("unknown argument '{other}'; see the head of testing/bench/attest/src/main.rs"),
        }
    }
    let runtime = include_str!("../../../../chain/runtime/src/configs/system.rs");
    ensure!(
        runtime.contains("from_parts(400 * WEIGHT_REF_TIME_PER_MILLIS") && runtime.contains("5 * 1024 * 1024"),
        "the runtime's limits are not this benchmark's any more"
    );
    let n = if quick { 20 } else { 2_000 };
    let native_ms = verifications(n)?;
    let bytes = registration()?;
    block(bytes, native_ms, if quick { 3 } else { 101 })
}

/// Prints one metric.
fn print(metric: &str, value: f64, unit: &str, baseline: Option<f64>, n: usize) {
    let ratio = baseline.map(|baseline| value / baseline);
    let line = json!({ "metric": metric, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "n": n });
    println!("{line}");
}

/// Processor time of this thread, in seconds: another process on the machine makes a figure less exact, and not smaller.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Seconds of processor time that `work` takes each time.
fn seconds(n: usize, mut work: impl FnMut()) -> f64 {
    (0..n.div_ceil(10)).for_each(|_| work());
    let start = processor_seconds();
    (0..n).for_each(|_| work());
    (processor_seconds() - start) / n as f64
}

fn prepared(case: &Case) -> Result<(Evidence, VerifiedCollateral, Policy, u64)> {
    let raw = case.collateral.as_ref().context("a genuine case has collateral")?;
    let now = case.input.now;
    let terms = PolicyTerms { accepted: lenient(), minimum_tcb_evaluation_number: 0 };
    Ok((
        Evidence::decode_all(&mut &case.input.evidence[..])?,
        verify_collateral(raw, &TrustAnchor::Intel, now)?,
        Policy { anchor: TrustAnchor::Intel, terms },
        now,
    ))
}

/// Native verifications a second; gives the milliseconds of one of TDX version 4.
fn verifications(n: usize) -> Result<f64> {
    let (mut least, mut native_ms) = (f64::INFINITY, 0.0);
    for kind in Kind::ALL {
        let case = genuine::of(kind).into_iter().next().context("no genuine sample")?;
        let (evidence, collateral, policy, now) = prepared(&case)?;
        let quote = decode_quote(&case.quote)?;
        let floor = floor([CERTIFICATE_BYTES, quote.qe_report_bytes.len(), quote.signed.len()])?;
        // Taken in turns, so that a disturbance of the machine meets both.
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            ours.push(seconds(n / 5, || {
                assert!(black_box(verify_evidence(black_box(&evidence), &collateral, &policy, now)).is_ok());
            }));
            theirs.push(seconds(n / 5, &floor));
        }
        let (ours, theirs) = (median(ours), median(theirs));
        least = least.min(theirs / ours);
        if kind == Kind::TdxV4 {
            native_ms = ours * 1e3;
        }
        let name = match kind {
            Kind::SgxV3 => "sgx_v3",
            Kind::TdxV4 => "tdx_v4",
            Kind::TdxV5 => "tdx_v5",
        };
        print(&format!("attest.verifications.{name}"), 1.0 / ours, "1/s", Some(1.0 / theirs), n);
    }
    print("attest.floor_ratio", least, "", None, n);
    let case = genuine::of(Kind::TdxV4).into_iter().next().context("no genuine sample")?;
    let raw = case.collateral.as_ref().context("a genuine case has collateral")?;
    let each = seconds(n / 10, || {
        assert!(black_box(verify_collateral(black_box(raw), &TrustAnchor::Intel, case.input.now)).is_ok());
    });
    print("attest.collateral", 1.0 / each, "1/s", None, n / 10);
    Ok(native_ms)
}

/// Verifies three signatures, each over a message of one of these lengths and by another key.
fn floor(lengths: [usize; 3]) -> Result<impl Fn()> {
    let signed = (1u8..)
        .zip(lengths)
        .map(|(index, length)| {
            let key = SigningKey::from_slice(&[index; 32]).ok().context("not a key")?;
            let message = vec![index; length];
            let signature: Signature = key.sign(&message);
            Ok((VerifyingKey::from(&key), message, signature))
        })
        .collect::<Result<Vec<(VerifyingKey, Vec<u8>, Signature)>>>()?;
    Ok(move || {
        for (key, message, signature) in &signed {
            assert!(black_box(key.verify(black_box(message), signature)).is_ok());
        }
    })
}

/// Bytes of a registration as it stands in a block.
fn registration() -> Result<f64> {
    let samples = Kind::ALL.into_iter().flat_map(genuine::of);
    let longest = samples.max_by_key(|case| case.quote.len()).context("no genuine sample")?;
    let registration = Registration {
        role: Role::Worker,
        identity: WorkerId([1; 32]),
        encryption_key: [2; 32],
        operator: AccountId([3; 32]),
        block: 1_000_000,
        block_hash: [4; 32],
    };
    let bytes = (registration.encoded_size() + longest.input.evidence.len() + TRANSACTION_BYTES) as f64;
    print("attest.bytes", bytes, "B", Some(longest.quote.len() as f64), 1);
    Ok(bytes)
}

fn block(bytes: f64, native_ms: f64, runs: usize) -> Result<()> {
    let weight_ms = <() as WeightInfo>::register().ref_time() as f64 / 1e9;
    print("attest.weight_ms", weight_ms, "ms", None, 1);
    let case = genuine::of(Kind::TdxV4).into_iter().next().context("no genuine sample")?;
    // A quote under the label of another kind is refused after the collateral: what is left is the verification.
    let mut mislabelled = case.clone();
    mislabelled.input.evidence[0] = 1;
    let wasm = Wasm::build().map_err(told)?;
    let milliseconds = |case: &Case| -> Result<f64> {
        let input = case.input.encode();
        let mut each = Vec::new();
        for _ in 0..runs {
            let mut instance = wasm.instantiate(&input).map_err(told)?;
            let start = processor_seconds();
            let text = instance.run().map_err(told)?;
            each.push((processor_seconds() - start) * 1e3);
            ensure!(text == phala_attest_corpus_module::judge(&input), "WASM gives another verdict");
        }
        Ok(median(each))
    };
    let wasm_ms = milliseconds(&case)? - milliseconds(&mislabelled)?;
    print("attest.wasm_ms", wasm_ms, "ms", Some(native_ms), runs);
    let per_block = WORKERS / (DAY / BLOCK_SECONDS);
    let share = |each_ms: f64, of_ms: f64| 100.0 * per_block * each_ms / of_ms;
    let time_ms = BLOCK_SECONDS * 1e3;
    print("attest.block_share_200k", share(weight_ms, time_ms), "percent", Some(share(wasm_ms, time_ms)), 1);
    let of_weight = share(weight_ms, BLOCK_WEIGHT_MS);
    print("attest.block_weight_share_200k", of_weight, "percent", Some(share(wasm_ms, BLOCK_WEIGHT_MS)), 1);
    print("attest.block_bytes_share_200k", 100.0 * per_block * bytes / BLOCK_BYTES, "percent", None, 1);
    Ok(())
}

/// An error of the engine, which is none of the standard library's.
fn told(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error:#}")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
