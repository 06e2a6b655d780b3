//! A running worker. INSECURE: its sealing key is a constant, and no TEE is asked for anything before it has heard of its chain.

use codec::Encode;
use phala_light_client::testing::TestChain;
use phala_protocol::{finality::GenesisAnchor, ids::to_hex, storage};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

pub struct Worker {
    child: Child,
    pub public: SocketAddr,
    pub operator: SocketAddr,
    log: Arc<Mutex<String>>,
    _folder: TempDir,
}

/// The worker's command line on a chain that never goes on, without its machine; what it needs is made in `folder`.
pub fn command(folder: &Path, is_development: bool) -> Command {
    let chain = TestChain::new(1, 3, [(storage::DEVELOPMENT.to_vec(), vec![u8::from(is_development)])]);
    let authorities_proof = chain.read_proof(0, &[&storage::GRANDPA_AUTHORITIES, &storage::DEVELOPMENT]);
    let anchor = GenesisAnchor { header: chain.header(0).encode(), authorities_proof };
    std::fs::write(folder.join("anchor"), anchor.encode()).unwrap();
    std::fs::write(folder.join("key"), [7; 32]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_phala-worker"));
    command
        .args(["run", "--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"])
        .args(["--genesis", &to_hex(&chain.genesis_hash()), "--operator", &to_hex(&[1; 32])])
        .arg("--anchor")
        .arg(folder.join("anchor"))
        .arg("--data")
        .arg(folder.join("data"))
        .stderr(Stdio::piped());
    command
}

impl Worker {
    pub fn start(options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = command(folder.path(), true);
        command.args(["--role", "worker", "--tsm"]).arg(folder.path().join("tsm"));
        command.arg("--sealing-key").arg(folder.path().join("key")).args(options);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut addresses = Vec::new();
        let log = Arc::new(Mutex::new(String::new()));
        while addresses.len() < 2 {
            let line = lines.next().expect("the worker ended early").unwrap();
            if let Some((_, address)) = line.split_once("listening address=") {
                addresses.push(address.trim().parse().unwrap());
            }
            *log.lock().unwrap() += &(line + "\n");
        }
        let kept = log.clone();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *kept.lock().unwrap() += &(line + "\n"))
        });
        Self { child, public: addresses[0], operator: addresses[1], log, _folder: folder }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// It is the process that was started, and nothing in it gave up.
    pub fn is_unharmed(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none() && !self.log.lock().unwrap().contains("panicked")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
