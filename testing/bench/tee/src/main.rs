//! Measures the worker: how fast it executes sealed commands and answers sealed queries, and where the time goes.
//!
//! ```text
//! phala-bench-tee command [--quick] [--json]   the metrics of docs/bench/command.md
//! phala-bench-tee query [--quick] [--json]     the metrics of docs/bench/query.md
//! phala-bench-tee profile [--quick]            where a command's microseconds go, a table
//! ```
//! Metrics go to standard output, one JSON line each; what was measured beside them goes to standard error. It guarantees that every
//! figure comes from the code that ships, fed with what a relayer would bring: signed finality, storage proofs, sealed envelopes.
//! INSECURE: the machine is simulated, keys are seeded; nothing of this ships. Its inputs are its command line.
#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark: what surprises it ends it"
)]

// What the echo that queries are compared with stands behind: the worker's own bounds.
#[path = "../../../../tee/worker/src/bounds.rs"]
#[allow(dead_code, reason = "the worker uses more of it")]
mod bounds;
mod bulk;
#[path = "../../../../tee/core/tests/it/cargo.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod cargo;
// The network of phala-core's own tests: one chain, one relayer and one client for tests and figures alike.
#[path = "../../../../tee/core/tests/it/chain.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod chain;
#[path = "../../../../tee/core/tests/it/client.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod client;
mod command;
mod floor;
#[path = "../../../../tee/worker/src/limits.rs"]
mod limits;
#[path = "../../../../tee/worker/src/listener.rs"]
#[allow(dead_code, reason = "the worker uses more of it")]
mod listener;
mod machine;
mod measure;
#[path = "../../../../tee/core/tests/it/machine.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod memory;
#[path = "../../../../tee/core/tests/it/network.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod network;
#[path = "../../../../tee/worker/src/patient.rs"]
mod patient;
#[path = "../../../../tee/worker/src/places.rs"]
mod places;
mod plain;
#[path = "../../../../tee/worker/src/presence.rs"]
mod presence;
mod profile;
mod query;
#[path = "../../../../tee/core/tests/it/root.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod root;
mod scene;

use anyhow::{bail, Result};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Lines are JSON in any case: the word is there for whoever writes it.
    words.retain(|word| *word != "--json");
    let quick = words.contains(&"--quick");
    words.retain(|word| *word != "--quick");
    match words.as_slice() {
        ["command"] => command::run(quick),
        ["profile"] => profile::run(quick),
        ["query"] => query::run(quick),
        // For itself: the other side of `query`.
        ["echo", size] => query::serve_echo(size.parse()?),
        other => bail!("unknown words '{}'; there are: command, query, profile, --quick, --json", other.join(" ")),
    }
}
