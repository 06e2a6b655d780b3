//! A developer's own contract, in a folder of their own: made, built, deployed, called, queried, its receipt verified - over an
//! epoch change of its cluster.

use phala_e2e::{binary, Network};
use std::{process::Command, time::Duration};

#[test]
fn a_contract_made_outside_the_repository_works_over_an_epoch_change() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(&folder.path().join("network"), &["--fresh", "--epoch-blocks", "30"]);

    let made =
        Command::new(binary("phala")).args(["contract", "new", "diary"]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let project = folder.path().join("diary");
    let built = Command::new(binary("phala"))
        .args(["--json", "contract", "build"])
        .current_dir(&project)
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let built: serde_json::Value = serde_json::from_slice(&built.stdout).unwrap();
    let wasm = built["wasm"].as_str().unwrap().to_owned();

    let deployed = network.phala(&["contract", "deploy", &wasm, "--from", "charlie", "--cluster", "1"]).data();
    let contract = deployed["contract"].as_str().unwrap().to_owned();
    let write = |text: &str, receipt: &str| {
        let arguments = serde_json::json!([text]).to_string();
        let command =
            ["contract", "call", &contract, "write", &arguments, "--from", "charlie", "--wait", "--receipt", receipt];
        network.phala(&command).data();
    };
    let read = |account: &str| {
        network.phala(&["contract", "query", &contract, "read", "--from", account]).data()["value"].clone()
    };
    let receipt = folder.path().join("receipt.json");
    write("first", receipt.to_str().unwrap());
    assert_eq!(read("charlie"), "first");
    assert_ne!(read("dave"), "first", "a note is its writer's alone");

    // The cluster's next epoch.
    let epoch = || {
        let status = network.phala(&["status"]).data();
        let clusters = status["clusters"].as_array().unwrap().clone();
        clusters.iter().find(|cluster| cluster["cluster"] == 1).unwrap()["epoch"].as_u64().unwrap()
    };
    let before = epoch();
    phala_e2e::wait_until("the next epoch", Duration::from_secs(120), || epoch() > before);
    assert_eq!(read("charlie"), "first", "the state came along");
    write("second", receipt.to_str().unwrap());
    assert_eq!(read("charlie"), "second");
    let verified = network.phala(&["verify", receipt.to_str().unwrap(), "--allow-simulated"]);
    assert_eq!(verified.code, Some(0), "{}", verified.text);
    assert_eq!(network.stop(), Some(0));
}
