//! A worker that begins with nothing on a chain that is there: until its process believes the newest block, and what it is brought for it.
//!
//! On a `phala dev` network that runs, a machine is simulated beside the others, a worker is started on it with the words of the network's own
//! and a folder of its own, and a relayer that serves it alone, through a tap that counts. The clock runs from the worker's start: in the
//! seconds are its process's start with its first evidence, the relayer's, what that asks of the node, and as many deliveries as it takes. The
//! node's newest final block is asked each time before the worker, which must have reached it. Not in it: registration, keys and state,
//! which come after; the two relayers share an account, and may stand in each other's way there.
//!
//! INSECURE, as every development network. What is started here ends here.

use crate::{
    http::ask,
    print,
    processes::{argument, free_addresses, with, words_of, Running},
    real::{finalised, Real},
    tap::Tap,
};
use anyhow::{ensure, Context, Result};
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// What machine and worker are called.
const NAME: &str = "worker-of-bench";
/// How often the worker is asked how far it is: less often than its public listener lets one address ask.
const POLL: Duration = Duration::from_millis(50);
/// How long the machine may take to be there.
const SIMULATED_WITHIN: Duration = Duration::from_secs(60);
/// How long the worker may take to reach the head.
const WITHIN: Duration = Duration::from_secs(600);

/// Measures it on the network in `base`, whose node answers at `node`. `real` is what a light client alone took.
///
/// # Errors
/// A process ends, or the worker does not reach the head in time.
pub fn measure(base: &Path, node: &str, real: &Real) -> Result<()> {
    let (folder, home, logs) = (base.join("tee").join(NAME), base.join("home"), base.join("logs"));
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
    let log = |name: &str| logs.join(format!("{name}.log"));

    let machine = with(words_of(base, "tee-worker-0")?, "--dir", &text(&folder)?)?;
    let machine = with(machine, "--machine", NAME)?;
    let mut machine = Running::start(&machine, &home, &log(&format!("tee-{NAME}")))?;
    let (collateral, begun) = (folder.join("collateral"), Instant::now());
    while !collateral.exists() {
        machine.check()?;
        ensure!(begun.elapsed() < SIMULATED_WITHIN, "no machine was simulated");
        std::thread::sleep(POLL);
    }

    let [public, operator] = free_addresses::<2>()?;
    let tap = Tap::start(&operator)?;
    let own = [
        ("--data", text(&base.join("workers").join(NAME))?),
        ("--tsm", text(&folder.join("report"))?),
        ("--sealing-key", text(&folder.join("keys").join("sealing"))?),
        ("--listen", public.clone()),
        ("--operator-listen", operator),
    ];
    let worker = own.iter().try_fold(words_of(base, "worker-0")?, |words, (flag, value)| with(words, flag, value))?;
    let like = words_of(base, "relayer")?;
    let (tee, collateral) = (format!("http://{}", tap.address()), text(&collateral)?);
    let relayer = [
        like.first().map(String::as_str).context("no program")?,
        "relayer",
        "run",
        "--network",
        argument(&like, "--network")?,
        "--from",
        argument(&like, "--from")?,
        "--tee",
        tee.as_str(),
        "--collateral",
        collateral.as_str(),
    ]
    .map(str::to_owned);

    let begun = Instant::now();
    let mut worker = Running::start(&worker, &home, &log(NAME))?;
    let mut relayer = Running::start(&relayer, &home, &log("relayer-of-bench"))?;
    let mut answered = None;
    let (height, seconds, delivered) = loop {
        worker.check()?;
        relayer.check()?;
        ensure!(begun.elapsed() < WITHIN, "the worker did not reach the head in {} s", WITHIN.as_secs());
        let head = finalised(node)?;
        if let Some(height) = said_height(&public) {
            answered.get_or_insert_with(|| begun.elapsed());
            if height >= head {
                break (height, begun.elapsed().as_secs_f64(), tap.delivered());
            }
        }
        std::thread::sleep(POLL);
    };
    ensure!(delivered.deliveries > 0, "the worker is at block {height}, and nothing was delivered");
    eprintln!(
        "a worker at block {height}: it answered after {:.2} s, and took {} deliveries",
        answered.unwrap_or_default().as_secs_f64(),
        delivered.deliveries
    );
    print("sync.worker_s", seconds, "s", Some(real.seconds), height.into());
    print("sync.worker_bytes", delivered.bytes as f64, "B", Some(real.bytes as f64), height.into());
    Ok(())
}

/// The head that a worker says it has; none while it does not answer.
fn said_height(public: &str) -> Option<u32> {
    let answer = ask(public, "GET", "/v1/health", &[]).ok()?;
    let said: Value = serde_json::from_slice(&answer.body).ok()?;
    u32::try_from(said.get("height")?.as_u64()?).ok()
}
