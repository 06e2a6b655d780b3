//! A developer's own contract, in a folder of their own: made, built, deployed, called, queried, its receipt verified - on one chain
//! authority and on four, over an epoch change of its cluster and a change of the authorities' set.

use phala_e2e::{alone, binary, Network};
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
fn made_and_built(folder: &Path) -> PathBuf {
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

/// The story on a network that was started with `arguments` beside [`SHORT`], in `cluster`.
fn a_diary_works(arguments: &[&str], cluster: u32) {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    // A developer needs no network until there is something to deploy.
    let (network, wasm) = thread::scope(|scope| {
        let wasm = scope.spawn(|| made_and_built(folder.path()));
        let network = Network::start(&folder.path().join("network"), &[&SHORT[..], arguments].concat());
        (network, wasm.join().unwrap())
    });

    let deployed = network
        .phala(&["contract", "deploy", wasm.to_str().unwrap(), "--from", "charlie", "--cluster", &cluster.to_string()])
        .data();
    let contract = deployed["contract"].as_str().unwrap().to_owned();
    let receipt = folder.path().join("receipt.json");
    let receipt = receipt.to_str().unwrap();
    let write = |text: &str| {
        let arguments = serde_json::json!([text]).to_string();
        let command =
            ["contract", "call", &contract, "write", &arguments, "--from", "charlie", "--wait", "--receipt", receipt];
        network.phala(&command).data()
    };
    let read = |account: &str| network.phala(&["contract", "query", &contract, "read", "--from", account]).data();
    // The number of the set that finalised the receipt's block, by the receipt's own proofs.
    let verified_set = || {
        let verified = network.phala(&["verify", receipt, "--allow-simulated"]).data();
        assert_eq!((&verified["holds"], &verified["assurance"]), (&true.into(), &"simulated".into()), "{verified}");
        let link = verified["links"].as_array().unwrap().iter().find(|link| link["name"] == "authority sets").unwrap();
        let detail = link["detail"].as_str().unwrap().to_owned();
        detail
            .split_whitespace()
            .nth(1)
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{detail}"))
    };
    let written = write("first");
    assert_eq!((&written["value"], &written["assurance"]), (&Value::Null, &"simulated".into()));
    let entry = read("charlie");
    assert_eq!((&entry["value"], &entry["assurance"]), (&"first".into(), &"simulated".into()));
    assert_ne!(read("dave")["value"], "first", "a note is its writer's alone");
    let before = verified_set();

    // The cluster's next epoch, and the next set of authorities.
    let changes = || {
        let status = network.phala(&["status"]).data();
        let clusters = status["clusters"].as_array().unwrap();
        let of = clusters.iter().find(|known| known["cluster"] == cluster).unwrap();
        (of["epoch"].as_u64().unwrap(), status["authority_set"].as_u64().unwrap())
    };
    let (epoch, _) = changes();
    phala_e2e::wait_until("the next epoch and authority set", Duration::from_secs(180), || {
        let now = changes();
        now.0 > epoch && now.1 > before
    });
    assert_eq!(read("charlie")["value"], "first", "the state came along");
    write("second");
    assert_eq!(read("charlie")["value"], "second");
    assert!(verified_set() > before, "the receipt's block is final by a later set than genesis had");
    assert_eq!(network.stop(), Some(0));
}

#[test]
fn a_contract_made_outside_the_repository_works_over_an_epoch_and_an_authority_set_change() {
    a_diary_works(&[], 1);
}

#[test]
fn a_contract_made_outside_the_repository_works_on_four_authorities() {
    a_diary_works(&["--authorities", "4", "--workers", "3"], 2);
}
