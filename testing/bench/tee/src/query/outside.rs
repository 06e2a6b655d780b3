//! The worker that ships, as a process, on a simulated machine. INSECURE: anyone can derive that machine's keys.
//!
//! It ends with the value that stands for it, by its own id, whatever becomes of the benchmark.

use super::http::{request, Connection};
use crate::{chain::MockChain, machine::START};
use anyhow::{bail, ensure, Context, Result};
use codec::{DecodeAll, Encode};
use phala_insecure_tee::{InsecureMachine, InsecureTee};
use phala_protocol::{ids::to_hex, relay::TeeStatus};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    thread::{self, JoinHandle},
};
use tempfile::TempDir;

/// What an operator sets for a worker that one address asks at full rate.
const RATE: &str = "1000000";

pub struct OutsideWorker {
    child: Child,
    pub public: SocketAddr,
    operator: SocketAddr,
    stop: Arc<AtomicBool>,
    machine: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl OutsideWorker {
    /// Builds the binary that ships, for release, and starts it on `chain`.
    pub fn start(chain: &MockChain) -> Result<Self> {
        let binary = build()?;
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("anchor"), chain.anchor().encode())?;
        // Measured as the machines of the chain's allow-list, and dated as the chain.
        let tee = InsecureTee::new(&path("tee"), InsecureMachine::new("outside", b"phala-worker", START)?)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let machine = thread::spawn(move || tee.run(&stopping, &mut |_| {}));
        let child = Command::new(binary)
            .args(["run", "--role", "worker", "--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"])
            .args(["--requests-per-second", RATE, "--burst", RATE])
            .args(["--genesis", &to_hex(&chain.genesis()), "--operator", &to_hex(&[1; 32])])
            .arg("--anchor")
            .arg(path("anchor"))
            .arg("--data")
            .arg(path("data"))
            .arg("--tsm")
            .arg(path("tee").join("report"))
            .arg("--sealing-key")
            .arg(path("tee").join("keys").join("sealing"))
            .stderr(Stdio::piped())
            .spawn()
            .context("the worker does not start")?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut worker =
            Self { child, public: nowhere, operator: nowhere, stop, machine: Some(machine), _folder: folder };
        let mut lines = BufReader::new(worker.child.stderr.take().context("a log")?).lines();
        let mut addresses = Vec::new();
        while addresses.len() < 2 {
            let line = lines.next().context("the worker ended early")??;
            if let Some((_, address)) = line.split_once("listening address=") {
                addresses.push(address.trim().parse()?);
            }
        }
        (worker.public, worker.operator) = (addresses[0], addresses[1]);
        // Read to its end, or the worker would wait for somebody to.
        thread::spawn(move || {
            for line in lines.map_while(std::result::Result::ok).filter(|line| !line.contains(" INFO ")) {
                eprintln!("worker: {line}");
            }
        });
        Ok(worker)
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The operator's listener, as the relayer has it.
    pub fn relayed(&self) -> Result<Relayed> {
        Ok(Relayed(Connection::open(self.operator)?))
    }

    /// What it says under a public path.
    pub fn says(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&Connection::open(self.public)?.ask(&request("GET", path, b""))?.body)?)
    }
}

impl Drop for OutsideWorker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stop.store(true, Ordering::Relaxed);
        if let Some(machine) = self.machine.take() {
            let _ = machine.join();
        }
    }
}

/// A relayer's connection to the worker.
pub struct Relayed(Connection);

impl Relayed {
    pub fn status(&mut self) -> Result<TeeStatus> {
        self.taken(&request("GET", "/operator/v1/status", b""))
    }

    pub fn deliver(&mut self, delivery: &[u8]) -> Result<TeeStatus> {
        self.taken(&request("POST", "/operator/v1/deliver", delivery))
    }

    fn taken(&mut self, request: &[u8]) -> Result<TeeStatus> {
        let answer = self.0.ask(request)?;
        if answer.status != 200 {
            bail!("the worker refuses ({}): {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(TeeStatus::decode_all(&mut answer.body.as_slice())?)
    }
}

/// The worker's binary, beside this one. It is built by itself: as a dependency of this crate it would have this crate's features.
fn build() -> Result<PathBuf> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--release", "--package", "phala-worker", "--bin", "phala-worker"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the worker does not build");
    let binary = std::env::current_exe()?.with_file_name("phala-worker");
    ensure!(binary.is_file(), "{} is missing: run this by `cargo xtask bench query`", binary.display());
    Ok(binary)
}
