//! A developer's own contract, in a folder of their own: made, built, deployed, called, queried, its receipt verified - on one chain
//! authority, over an epoch change of its cluster and a change of the authorities' set. On four authorities `gatekeepers` does the same
//! on its own network, whose epochs and authorities change anyway: four nodes take longer to start than all that a diary does.

use phala_e2e::{alone, binary, wait_until, Network};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// Sessions of ten blocks of half a second: an era, after which the set of authorities changes, takes half a minute.
const SHORT: [&str; 7] = ["--fresh", "--session-blocks", "10", "--block-milliseconds", "500", "--epoch-blocks", "20"];

/// What the README tells a developer to do before there is anything to deploy. The contract's WebAssembly.
pub fn made_and_built(folder: &Path) -> PathBuf {
    let phala = |arguments: &[&str], folder: &Path| {
        let run = Command::new(binary("phala"))
            .args(arguments)
            .current_dir(folder)
            .env("CARGO_NET_OFFLINE", "true")
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    phala(&["contract", "new", "diary"], folder);
    // The cargo that runs us, without what it was told about this repository's build.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    let tested = cargo.args(["test", "--offline"]).current_dir(folder.join("diary")).output().unwrap();
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{said}{}", String::from_utf8_lossy(&tested.stderr));
    let passed = |line: &str| line.strip_prefix("test result: ok. ").is_some_and(|counts| !counts.starts_with("0 "));
    assert!(said.lines().any(passed), "the template's own tests run: {said}");
    let built = phala(&["--json", "contract", "build"], &folder.join("diary"));
    let wasm = folder.join("diary/target/diary.wasm");
    assert_eq!(serde_json::from_str::<Value>(&built).unwrap()["wasm"], wasm.to_str().unwrap());
    wasm
}

/// A deployed diary, and what its writer does with it.
pub struct Diary<'a> {
    network: &'a Network,
    contract: String,
    cluster: u32,
    receipt: PathBuf,
    /// The epoch and the authorities' set in which its first note was proved.
    written_in: (u64, u64),
}

impl<'a> Diary<'a> {
    /// Deploys it on `cluster`, writes and reads a first note, and verifies its receipt.
    pub fn begin(network: &'a Network, wasm: &Path, cluster: u32) -> Self {
        let words =
            ["contract", "deploy", wasm.to_str().unwrap(), "--from", "charlie", "--cluster", &cluster.to_string()];
        let deployed = network.phala(&words).data();
        let contract = deployed["contract"].as_str().unwrap().to_owned();
        let receipt = network.base.join("diary-receipt.json");
        let mut diary = Self { network, contract, cluster, receipt, written_in: (0, 0) };
        let written = diary.write("first");
        assert_eq!((&written["value"], &written["assurance"]), (&Value::Null, &"simulated".into()));
        let entry = diary.read("charlie");
        assert_eq!((&entry["value"], &entry["assurance"]), (&"first".into(), &"simulated".into()));
        assert_ne!(diary.read("dave")["value"], "first", "a note is its writer's alone");
        diary.written_in = (diary.epoch(), diary.verified_set());
        diary
    }

    /// Waits for the cluster's next epoch and the next set of authorities; reads the first note in them, writes another, and verifies its
    /// receipt.
    pub fn goes_on_after_changes(&self) {
        let (epoch, set) = self.written_in;
        wait_until("the next epoch and authority set", Duration::from_secs(180), || {
            self.epoch() > epoch && self.status()["authority_set"].as_u64().unwrap() > set
        });
        assert_eq!(self.read("charlie")["value"], "first", "the state came along");
        self.write("second");
        assert_eq!(self.read("charlie")["value"], "second");
        assert!(self.verified_set() > set, "the receipt's block is final by a later set than the first one's");
    }

    fn write(&self, text: &str) -> Value {
        let (arguments, receipt) = (serde_json::json!([text]).to_string(), self.receipt.to_str().unwrap());
        let command = ["contract", "call", &self.contract, "write", &arguments, "--from", "charlie", "--wait"];
        self.network.phala(&[&command[..], &["--receipt", receipt]].concat()).data()
    }

    fn read(&self, account: &str) -> Value {
        self.network.phala(&["contract", "query", &self.contract, "read", "--from", account]).data()
    }

    fn status(&self) -> Value {
        self.network.phala(&["status"]).data()
    }

    fn epoch(&self) -> u64 {
        let status = self.status();
        let clusters = status["clusters"].as_array().unwrap();
        clusters.iter().find(|known| known["cluster"] == self.cluster).unwrap()["epoch"].as_u64().unwrap()
    }

    /// The number of the set that finalised the receipt's block, by the receipt's own proofs.
    fn verified_set(&self) -> u64 {
        let verified = self.network.phala(&["verify", self.receipt.to_str().unwrap(), "--allow-simulated"]).data();
        assert_eq!((&verified["holds"], &verified["assurance"]), (&true.into(), &"simulated".into()), "{verified}");
        let link = verified["links"].as_array().unwrap().iter().find(|link| link["name"] == "authority sets").unwrap();
        let detail = link["detail"].as_str().unwrap().to_owned();
        let number = detail.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{detail}"))
    }
}

#[test]
fn a_contract_made_outside_the_repository_works_over_an_epoch_and_an_authority_set_change() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    // A developer needs no network until there is something to deploy.
    let (network, wasm) = thread::scope(|scope| {
        let wasm = scope.spawn(|| made_and_built(folder.path()));
        (Network::start(&folder.path().join("network"), &SHORT), wasm.join().unwrap())
    });
    Diary::begin(&network, &wasm, 1).goes_on_after_changes();
    assert_eq!(network.stop(), Some(0));
}
