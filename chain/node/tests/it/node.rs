//! A node process under test, its JSON-RPC over plain HTTP, and specifications with short epochs.

use rustix::process::{kill_process, waitpid, Pid, Resource, Rlimit, Signal, WaitOptions};
use serde_json::{json, Value};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_phala-node");

/// A running node; killed, and its log shown, when a test fails.
pub struct Node {
    child: Child,
    pub rpc_port: u16,
    log: PathBuf,
}

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Node {
    /// Starts `authority` (`alice` and so on) of the chain `chain`, keeping everything in `base`.
    pub fn start(chain: &str, authority: &str, base: &Path, more: &[&str]) -> Self {
        let rpc_port = free_port();
        let peer_port = free_port().to_string();
        let peer_port: &[&str] = if more.contains(&"--port") { &[] } else { &["--port", &peer_port] };
        std::fs::create_dir_all(base).unwrap();
        let log = base.join("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let child = Command::new(BINARY)
            .args(["--chain", chain, &format!("--{authority}"), "--base-path", base.to_str().unwrap()])
            .args(["--rpc-port", &rpc_port.to_string()])
            .args(["--no-prometheus", "--no-telemetry", "--no-mdns"])
            .args(peer_port)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        let node = Self { child, rpc_port, log };
        wait("the RPC to answer", Duration::from_secs(90), || node.try_call("system_health", json!([])).ok());
        node
    }

    /// The result of an RPC method, which must have one.
    pub fn call(&self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The result of an RPC method or its error object.
    pub fn try_call(&self, method: &str, parameters: Value) -> Result<Value, Value> {
        let io = |error: std::io::Error| json!(error.to_string());
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.rpc_port)).map_err(io)?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(io)?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.rpc_port,
            body.len()
        )
        .map_err(io)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(io)?;
        let start = answer.find('{').ok_or_else(|| json!("no JSON in the answer"))?;
        let end = answer.rfind('}').ok_or_else(|| json!("no JSON in the answer"))?;
        let answer: Value = serde_json::from_str(&answer[start..=end]).map_err(|error| json!(error.to_string()))?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(answer["error"].clone()),
        }
    }

    /// The height of the newest finalised block.
    pub fn finalised(&self) -> u32 {
        let hash = self.call("chain_getFinalizedHead", json!([]));
        let header = self.call("chain_getHeader", json!([hash]));
        u32::from_str_radix(header["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    /// Waits until block `height` is finalised.
    pub fn wait_finalised(&self, height: u32, bound: Duration) {
        wait(&format!("block {height} to be finalised"), bound, || (self.finalised() >= height).then_some(()));
    }

    /// The hash of the finalised chain's block `height`.
    pub fn hash(&self, height: u32) -> Value {
        self.call("chain_getBlockHash", json!([height]))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> ExitStatus {
        // The shell's own `kill`: a minimal system has no program of that name.
        let id = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", "-TERM", &id]).status().unwrap().success());
        self.ended(Duration::from_secs(30))
    }

    /// Waits for it to end.
    pub fn ended(mut self, bound: Duration) -> ExitStatus {
        wait("the node to end", bound, || self.child.try_wait().unwrap())
    }

    /// Stops all of its threads, does `meanwhile`, and lets it go on.
    pub fn paused<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::STOP).unwrap();
        // The kernel reports it when the last of the threads has stopped.
        let (_, status) = waitpid(Some(id), WaitOptions::UNTRACED).unwrap().expect("it waits");
        assert!(status.stopped(), "{status:?}");
        let done = meanwhile();
        kill_process(id, Signal::CONT).unwrap();
        done
    }

    /// Lets no file that it writes become longer than `bytes`.
    pub fn limit_files(&self, bytes: u64) {
        let id = Pid::from_child(&self.child);
        let limit = Rlimit { current: Some(bytes), maximum: None };
        rustix::process::prlimit(Some(id), Resource::Fsize, limit).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- {} ---\n{}", self.log.display(), lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// Polls until `probe` gives something; fails after `bound`.
pub fn wait<T>(what: &str, bound: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < bound, "waited {bound:?} for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What the binary prints on standard output with `arguments`; it must succeed.
pub fn output(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Writes the specification `chain` with its genesis built. Whoever is given one that is not executes the runtime for it, and compiles it
/// before that: for seconds, in every process and at every start.
pub fn built(chain: &str, folder: &Path) -> String {
    let path = folder.join("built.json");
    std::fs::write(&path, output(&["export-chain-spec", "--chain", chain, "--raw"])).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Writes the specification of `chain`, [`built`], with epochs of 10 slots of 500 ms, so that an era takes 30 s.
pub fn fast_spec(chain: &str, folder: &Path) -> String {
    let mut spec: Value = serde_json::from_slice(&output(&["export-chain-spec", "--chain", chain])).unwrap();
    let genesis = spec["genesis"]["runtimeGenesis"].as_object_mut().unwrap();
    let (_, genesis) = genesis.iter_mut().find(|(key, _)| *key == "patch" || *key == "config").unwrap();
    genesis["network"]["slotMilliseconds"] = json!(500);
    genesis["network"]["epochSlots"] = json!(10);
    let path = folder.join(format!("{chain}-fast.json"));
    std::fs::write(&path, serde_json::to_vec(&spec).unwrap()).unwrap();
    built(path.to_str().unwrap(), folder)
}

/// The bytes of a JSON string in hexadecimal.
pub fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().trim_start_matches("0x")).unwrap()
}
