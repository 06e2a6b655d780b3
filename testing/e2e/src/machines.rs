//! Simulated machines beside those of `phala dev`, each with a worker or a gatekeeper, run by hand: with the words of one that runs, and a
//! folder, an identity and ports of its own. INSECURE, as all that is simulated.
//!
//! Guarantees: what is started here is ended when its value is dropped; no port is given twice by this process; every wait is bounded. Whoever
//! runs on this machine controls what answers at a port that is not taken yet. Does not: serve them, which is a relayer's.

use crate::{
    canary::from_hex,
    processes::{self, argument, words_with, ByHand, Stopped},
    raw_http::ask,
    wait_until, Network,
};
use phala_protocol::{Hash, WorkerId};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// For a machine to be simulated, and for a process to say who it is.
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// A loopback port that was free a moment ago.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = bound.expect("a free port").port();
        if given.insert(port) {
            return port;
        }
    }
}

/// The words by which a machine is simulated that runs another release, which is written to `release`, and what that measures: the same
/// program with bytes behind it that nobody reads.
pub fn of_another_release(words: &[String], release: &Path) -> (Vec<String>, Hash) {
    fs::copy(argument(words, "--measure"), release).expect("the release is copied");
    let mut file = File::options().append(true).open(release).expect("the release is there");
    file.write_all(b"another release").expect("the release is written");
    let words = words_with(words, "--measure", &text(release));
    let (program, rest) = words.split_first().expect("a program");
    let printed = Command::new(program).args(rest).arg("--print-measurement").output().expect("it runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = String::from_utf8(printed.stdout).expect("it prints text");
    let measurement = hex::decode(printed.trim()).expect("it prints a measurement");
    (words, measurement.try_into().expect("a measurement has 32 bytes"))
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of text").to_owned()
}

/// How a machine and what runs on it are started.
pub struct MachinePlan {
    name: String,
    logs: PathBuf,
    folder: PathBuf,
    tee: Vec<String>,
    process: Vec<String>,
    http: String,
    operator: String,
}

impl MachinePlan {
    /// One called `name`, as that of the network's process `like`.
    pub fn like(network: &Network, like: &str, name: &str) -> Self {
        let base = &network.base;
        let folder = base.join("tee").join(name);
        let arguments = |process: &str| processes::arguments(processes::id(base, process));
        let tee = words_with(&arguments(&format!("tee-{like}")), "--dir", &text(&folder));
        let tee = words_with(&tee, "--machine", name);
        let [http, operator] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let own = [
            ("--data", text(&base.join("workers").join(name))),
            ("--tsm", text(&folder.join("report"))),
            ("--sealing-key", text(&folder.join("keys").join("sealing"))),
            ("--listen", http.clone()),
            ("--operator-listen", operator.clone()),
        ];
        let words = |words: Vec<String>, (flag, value): &(&str, String)| words_with(&words, flag, value);
        let process = own.iter().fold(arguments(like), words);
        Self { name: name.to_owned(), logs: base.join("logs"), folder, tee, process, http, operator }
    }

    /// With another word after `flag`.
    #[must_use]
    pub fn with(self, flag: &str, value: &str) -> Self {
        Self { process: words_with(&self.process, flag, value), ..self }
    }

    /// With one word more.
    #[must_use]
    pub fn and(mut self, flag: &str) -> Self {
        self.process.push(flag.to_owned());
        self
    }

    /// Of another release, and what that measures.
    #[must_use]
    pub fn of_another_release(self) -> (Self, Hash) {
        let (tee, measurement) = of_another_release(&self.tee, &self.folder.with_extension("release"));
        (Self { tee, ..self }, measurement)
    }

    /// Starts both, the machine first.
    pub fn start(self) -> Machine {
        let log = |name: &str| self.logs.join(format!("{name}.log"));
        let tee = ByHand::start(&self.tee, &log(&format!("tee-{}", self.name)));
        let collateral = self.folder.join("collateral");
        wait_until(&format!("{} to be simulated", self.name), STARTED_WITHIN, || collateral.exists());
        let process = ByHand::start(&self.process, &log(&self.name));
        Machine { http: self.http, operator: self.operator, name: self.name, _process: process, _tee: tee }
    }
}

/// A machine that runs.
pub struct Machine {
    /// `HOST:PORT` of its public listener.
    pub http: String,
    /// The same of the operator's.
    pub operator: String,
    name: String,
    // Ended before the machine that it is on.
    _process: ByHand,
    _tee: ByHand,
}

impl Machine {
    /// What it says at `path`; null while it does not answer.
    pub fn told(&self, path: &str) -> Value {
        ask(&self.http, "GET", path, &[]).map_or(Value::Null, |answer| answer.json())
    }

    /// Who it is, once it says so.
    pub fn identity(&self) -> WorkerId {
        let mut identity: Option<[u8; 32]> = None;
        wait_until(&format!("{} to say who it is", self.name), STARTED_WITHIN, || {
            let told = self.told("/v1/info");
            identity = told["identity"].as_str().and_then(from_hex).and_then(|id| id.try_into().ok());
            identity.is_some()
        });
        WorkerId(identity.expect("it was waited for"))
    }
}

/// The network's only relayer serves more TEEs: it stands still, and one that serves these too runs in its place.
pub struct Served {
    // Ended before the other one goes on.
    _by_hand: ByHand,
    _own: Stopped,
}

impl Served {
    /// `more` are operators' addresses, each with its account after a comma where that is not the relayer's.
    pub fn begin(network: &Network, more: &[String]) -> Self {
        let id = processes::id(&network.base, "relayer");
        let mut words = processes::arguments(id);
        for tee in more {
            words.extend(["--tee".to_owned(), tee.clone()]);
        }
        let own = Stopped::new(id);
        let by_hand = ByHand::start(&words, &network.base.join("logs").join("relayer-of-more.log"));
        Self { _by_hand: by_hand, _own: own }
    }
}
