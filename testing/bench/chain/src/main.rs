//! `cargo xtask bench chain [--json] [--quick]`: how many commands a block of the real runtime holds, what each costs the chain in
//! bytes, and which of the block's limits binds.
//!
//! A block is built as an authority builds it: the runtime, compiled natively, is initialised with the header of a slot, given the
//! timestamp, and then signed transactions, one after the other through `Executive::apply_extrinsic`, until it refuses one because the
//! block is full. Senders are [`SENDERS`] accounts that take turns; clusters have three replicas and one is used after the other as
//! each one's backlog limit is reached. Transactions are immortal, without a tip.
//!
//! | metric | formula |
//! |---|---|
//! | `chain.commands_per_block.S.B` | commands in a full block: `inbox.push` of `B` envelopes of size class `S` each |
//! | `chain.bytes_per_command.S.B` | bytes of those transactions, as the block's body has them, / commands |
//! | `chain.proof_bytes_per_command.S.B` | bytes of the storage proof of all that the block reads / commands |
//! | `chain.fill_bytes.S.B` | bytes of the transactions / limit for ordinary ones, percent |
//! | `chain.fill_weight.S.B` | weight charged for the transactions / limit for ordinary ones, percent |
//! | `chain.fill_backlog.S.B` | public gas of the commands (class small) / backlog limit of one cluster, percent; over 100 means more than one cluster is needed |
//! | `chain.fill_hash.S.B` | time to hash the block's messages and their links into a hash chain / 400 ms, the time that a block's weight stands for, percent |
//! | `chain.block_ms.S.B` | milliseconds to execute the block's transactions natively, signatures included: the median over the runs |
//!
//! The binding limit is the fullest of bytes, weight and hash for a block; backlog for a single cluster. The baseline of each is the same block of `balances.transfer_keep_alive`, a command being a
//! transfer; ratio = value / baseline. `n` is the number of commands in the block; counts and bytes are exact and the same on
//! every machine and in every build, only `block_ms` and `fill_hash` are measured.
#![forbid(unsafe_code)]

mod block;
mod scene;

use anyhow::{bail, Result};
use block::Full;
use phala_protocol::envelope::SizeClass;
use scene::{Scene, Workload};
use serde_json::json;

const USAGE: &str = "\
bench chain [--json] [--quick]
  --json    one JSON line a metric and nothing else on standard output: the only form there is
  --quick   one run of the smallest class, instead of the median of five of each";

/// Accounts that send, in turns.
pub(crate) const SENDERS: u32 = 1_000;
/// Envelopes in a push: a user's own, and a relayer's for many.
const BATCHES: [u32; 2] = [1, 64];

fn main() -> Result<()> {
    let mut quick = false;
    for word in std::env::args().skip(1).skip_while(|word| word == "chain") {
        match word.as_str() {
            "--json" => {}
            "--quick" => quick = true,
            _ => bail!("unknown word {word}\n{USAGE}"),
        }
    }
    let runs = if quick { 1 } else { 5 };
    let classes = if quick { &SizeClass::ALL[..1] } else { &SizeClass::ALL[..] };
    let scene = Scene::new()?;
    let transfers = block::fill(&scene, Workload::Transfers, runs)?;
    for size in classes {
        for batch in BATCHES {
            let full = block::fill(&scene, Workload::Commands { size: *size, batch }, runs)?;
            print(&format!("{}.{batch}", name(*size)), &full, &transfers);
        }
    }
    Ok(())
}

fn name(size: SizeClass) -> &'static str {
    match size {
        SizeClass::B256 => "b256",
        SizeClass::K1 => "k1",
        SizeClass::K4 => "k4",
        SizeClass::K16 => "k16",
    }
}

/// Its name and unit, and how it is read off a full block.
type Metric = (&'static str, &'static str, fn(&Full) -> f64);

fn print(label: &str, full: &Full, baseline: &Full) {
    let metrics: [Metric; 8] = [
        ("commands_per_block", "commands", |block| f64::from(block.commands)),
        ("bytes_per_command", "bytes", |block| block.bytes as f64 / f64::from(block.commands)),
        ("proof_bytes_per_command", "bytes", |block| block.proof_bytes as f64 / f64::from(block.commands)),
        ("fill_bytes", "percent", |block| block.fill_bytes),
        ("fill_weight", "percent", |block| block.fill_weight),
        ("fill_backlog", "percent", |block| block.fill_backlog),
        ("fill_hash", "percent", |block| block.fill_hash),
        ("block_ms", "ms", |block| block.milliseconds),
    ];
    for (metric, unit, read) in metrics {
        let (value, base) = (read(full), read(baseline));
        // A transfer has neither gas nor messages: there is nothing to compare with.
        let (base, ratio) = if base > 0.0 { (json!(base), json!(value / base)) } else { (json!(null), json!(null)) };
        let line = json!({
            "metric": format!("chain.{metric}.{label}"),
            "value": value,
            "unit": unit,
            "baseline": base,
            "ratio": ratio,
            "n": full.commands,
        });
        println!("{line}");
    }
}
