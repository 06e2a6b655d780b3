//! The first thing anyone does: start a network, use the sample token, verify a receipt, stop, start again, kill a part at rest.

use phala_e2e::{alone, binary, bytes_below, phala, signal, wait_until, Network};
use serde_json::Value;
use std::{net::TcpListener, path::Path, process::Command, time::Duration};

/// Exit code of `phala verify` when every link holds but the evidence is simulated.
const SIMULATED: i32 = 8;

fn balance(network: &Network, account: &str) -> Value {
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    network.phala(&["contract", "query", token, "balance", "--from", account]).data()["value"].clone()
}

fn transfer(network: &Network, amount: &str, receipt: &Path) -> Value {
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    let receipt = receipt.to_str().unwrap();
    let arguments = format!(r#"["bob", "{amount}"]"#);
    network
        .phala(&["contract", "call", token, "transfer", &arguments, "--from", "alice", "--wait", "--receipt", receipt])
        .data()
}

/// What a person sees of a command that succeeds: data and logs.
fn for_people(network: &Path, words: &[&str]) -> String {
    let home = network.join("home");
    let run = Command::new(binary("phala")).arg("--network").arg(network).args(words).env("PHALA_HOME", home).output();
    let run = run.unwrap();
    assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
    format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr))
}

/// Beginner's mistakes with a network running: typed errors, and the network does not notice.
fn a_second_network_here_or_on_a_busy_port_is_refused(network: &Network) {
    let listing = || std::fs::read(network.base.join("network.json")).unwrap();
    let before = listing();
    let here = network.base.to_str().unwrap();
    let dev = |arguments: &[&str]| {
        let home = network.base.join("home");
        let run =
            Command::new(binary("phala")).args(["--json", "dev"]).args(arguments).env("PHALA_HOME", home).output();
        let run = run.unwrap();
        let json = serde_json::from_slice(&run.stdout).unwrap_or(Value::Null);
        (run.status.code(), json, String::from_utf8_lossy(&run.stderr).into_owned())
    };
    for here in [vec!["--base-path", here], vec!["--fresh", "--base-path", here]] {
        let (code, json, notes) = dev(&here);
        assert_eq!((code, &json["error"]["code"]), (Some(4), &Value::from("refused")), "{here:?}: {json} {notes}");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("process id {} ", network.id())),
            "it names the process that runs: {message}"
        );
        let hint = json["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("phala stop") && hint.contains("--base-path"), "it says what to do: {hint}");
    }

    let elsewhere = tempfile::tempdir().unwrap();
    let port = network.node().rsplit(':').next().unwrap();
    let elsewhere = elsewhere.path().to_str().unwrap();
    let (code, json, notes) = dev(&["--base-path", elsewhere, "--node-port", port]);
    assert_eq!((code, &json["error"]["code"]), (Some(9), &Value::from("port_in_use")), "{json} {notes}");
    assert!(json["error"]["message"].as_str().unwrap().contains(port));

    assert_eq!(listing(), before, "same processes, same addresses");
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    network.phala(&["contract", "query", token, "balance", "--from", "bob"]).data();
}

#[test]
fn a_sealed_token_transfer_is_final_private_and_verifiable_and_survives_restarts() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    // The default port is busy, by us or by somebody else: another one is taken, and said.
    let busy = TcpListener::bind(("127.0.0.1", 9944));
    let network = Network::start(folder.path(), &["--fresh"]);
    let node = network.ready["node_ws"].as_str().unwrap();
    assert!(node.starts_with("ws://127.0.0.1:") && !node.ends_with(":9944"), "{node}");
    let port = node.rsplit(':').next().unwrap();
    let said = format!("port 9944 for the node-0 is busy, using {port}");
    assert!(network.notes().contains(&said), "{}", network.notes());
    drop(busy);
    assert!(network.ready["workers"].as_array().unwrap().len() >= 2);
    assert!(network.ready["accounts"].as_array().unwrap().iter().any(|name| name == "ferdie"));

    // Call, query, receipt.
    assert_eq!(balance(&network, "bob"), "0");
    let receipt = folder.path().join("receipt.json");
    let called = transfer(&network, "271828", &receipt);
    assert!(called["block"].as_u64().is_some() && called["fee"].as_str().is_some(), "{called}");
    assert_eq!(balance(&network, "bob"), "271828");
    crate::surface::what_looks_on_prints_its_shape(&network, &called);

    // The receipt verifies, says that it is simulated, and names the link that an altered one breaks.
    let path = receipt.to_str().unwrap();
    let verified = phala(folder.path(), &["verify", path]);
    assert_eq!(verified.code, Some(SIMULATED), "{}", verified.text);
    let verified = phala(folder.path(), &["verify", path, "--allow-simulated"]);
    assert_eq!(verified.code, Some(0), "{}", verified.text);
    let text = std::fs::read_to_string(&receipt).unwrap();
    let mut altered: Value = serde_json::from_str(&text).unwrap();
    let genesis = altered["genesis"].as_str().unwrap().to_owned();
    altered["genesis"] = genesis.replace(&genesis[2..4], if &genesis[2..4] == "00" { "11" } else { "00" }).into();
    let forged = folder.path().join("forged.json");
    std::fs::write(&forged, altered.to_string()).unwrap();
    let refused = phala(folder.path(), &["verify", forged.to_str().unwrap(), "--allow-simulated"]);
    assert!(refused.code != Some(0) && refused.code != Some(SIMULATED), "{}", refused.text);
    assert!(refused.text.contains("genesis"), "{}", refused.text);

    // Failures are typed.
    let token = network.ready["contracts"]["token"].as_str().unwrap().to_owned();
    let nothing = format!("0x{}", "00".repeat(32));
    let missing = network.phala(&["contract", "query", &nothing, "balance", "--from", "bob"]);
    assert_eq!((missing.code, &missing.json["error"]["code"]), (Some(3), &Value::from("not_found")));
    let too_much = r#"["bob", "340282366920938463463374607431768211455"]"#;
    let refused = network.phala(&["contract", "call", &token, "transfer", too_much, "--from", "ferdie", "--wait"]);
    assert_eq!((refused.code, &refused.json["error"]["code"]), (Some(5), &Value::from("contract_error")));

    // Status says what it is.
    let status = network.phala(&["status"]).data();
    assert_eq!(status["insecure"], true);

    assert_eq!(status["assurance"], "simulated");
    assert!(status["workers"].as_array().unwrap().iter().all(|worker| worker["assurance"] == "simulated"));
    assert_eq!(called["assurance"], "simulated");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["assurance"], "simulated");
    for (words, shown) in [
        (vec!["status"], "assurance: simulated"),
        (vec!["contract", "query", "token", "balance", "--from", "bob"], "assurance: simulated"),
        (vec!["contract", "info", "token"], "assurance: simulated"),
        (vec!["verify", path, "--allow-simulated"], "assurance: simulated"),
    ] {
        let text = for_people(folder.path(), &words);
        assert!(text.contains(shown), "{words:?}: {text}");
    }

    a_second_network_here_or_on_a_busy_port_is_refused(&network);

    // Kill one part at a time, at rest: the network goes on.
    for role in ["worker-0", "relayer", "node"] {
        let pids: Value =
            serde_json::from_str::<Value>(&std::fs::read_to_string(folder.path().join("network.json")).unwrap())
                .unwrap()["pids"]
                .clone();
        let (_, pid) = pids
            .as_object()
            .unwrap()
            .iter()
            .find(|(name, _)| name.starts_with(role))
            .unwrap_or_else(|| panic!("no {role} in {pids}"));
        signal(u32::try_from(pid.as_u64().unwrap()).unwrap(), "-KILL");
        wait_until(&format!("a transfer after {role} was killed"), Duration::from_secs(120), || {
            let arguments = r#"["charlie", "1"]"#;
            let from = ["--from", "alice", "--wait"];
            let mut command = vec!["contract", "call", token.as_str(), "transfer", arguments];
            command.extend(from);
            network.phala(&command).code == Some(0)
        });
    }

    // Stop, look at what is on the disk, start again from the same state.
    assert_eq!(network.stop(), Some(0));
    let canary = 271_828u128.to_le_bytes();
    let worker_files: Vec<_> = bytes_below(folder.path())
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "store" || extension == "sealed"))
        .collect();
    assert!(!worker_files.is_empty(), "the workers keep their state on disk");
    for (path, bytes) in &worker_files {
        let found = bytes.windows(canary.len()).any(|window| window == canary);
        assert!(!found, "the transferred amount stands in {}", path.display());
    }
    let network = Network::start(folder.path(), &[]);
    assert_eq!(network.ready["contracts"]["token"], token.as_str());
    assert_eq!(balance(&network, "bob"), "271828");
    transfer(&network, "1", &receipt);
    assert_eq!(balance(&network, "bob"), "271829");
    crate::sessions::a_session_carries_commands_and_is_its_owners_alone(&network, &token);
    crate::replies::what_was_not_seen_is_fetched(&network, &token);
    assert_eq!(network.stop(), Some(0));
}
