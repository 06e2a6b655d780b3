//! Specifications: what `staging` refuses and what it needs.
//!
//! Each genesis that the blob judges costs a start of the node that compiles it. So a few are refused and one is taken here, which shows that
//! the blob judges and that its word counts; each reason of the judge is tested natively, in the runtime's `genesis`.

use crate::node::{output, BINARY};
use serde_json::{json, Value};
use std::{path::Path, process::Command};

/// Runs `build-staging-spec` on `patch`; gives standard output, or standard error when it refuses.
fn staging(folder: &Path, patch: &Value) -> Result<Value, String> {
    let path = folder.join("patch.json");
    std::fs::write(&path, patch.to_string()).unwrap();
    let output = Command::new(BINARY)
        .args(["build-staging-spec", "--name", "Test", "--id", "test", "--genesis", path.to_str().unwrap()])
        .output()
        .unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// A key made by the binary from `seed`: its account and SS58 form.
fn key(scheme: &str, seed: &str) -> String {
    let inspected = output(&["key", "inspect", "--scheme", scheme, "--output-type", "json", seed]);
    let inspected: Value = serde_json::from_slice(&inspected).unwrap();
    inspected["ss58Address"].as_str().unwrap().to_owned()
}

/// A genesis with `authorities` authorities whose keys come from `seed`.
fn genesis(seed: &str, authorities: usize) -> Value {
    let seeds: Vec<_> = (0..authorities)
        .map(|number| if number == 0 { seed.to_owned() } else { format!("{seed}//{number}") })
        .collect();
    let stashes: Vec<_> = seeds.iter().map(|seed| key("sr25519", &format!("{seed}//stash"))).collect();
    let keys = seeds.iter().zip(&stashes).map(|(seed, stash)| {
        let keys = json!({"babe": key("sr25519", seed), "grandpa": key("ed25519", seed)});
        json!([stash, stash, keys])
    });
    let balances = stashes.iter().map(|stash| json!([stash, 2_000_000_000_000_000_u64]));
    let stakers = stashes.iter().map(|stash| json!([stash, stash, 1_000_000_000_000_000_u64, "Validator"]));
    json!({
        "balances": {"balances": balances.collect::<Vec<_>>()},
        "session": {"keys": keys.collect::<Vec<_>>()},
        "staking": {"stakers": stakers.collect::<Vec<_>>()},
    })
}

#[test]
fn staging_needs_authorities_and_refuses_development_keys() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "0x7c3a1f0e5d9b42688a17c04e2f6b95d3c8e07a1b4f529d6e83b0a7c5f1d2e946";

    let refused = Command::new(BINARY).args(["export-chain-spec", "--chain", "staging"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("build-staging-spec"));

    assert!(staging(folder.path(), &json!({})).unwrap_err().contains("no authorities"));
    // Each of its keys is a start of the binary.
    let good = genesis(secret, 4);
    for mark in [json!(true), json!(null), json!("false")] {
        let mut marked = good.clone();
        marked["network"] = json!({"development": mark});
        assert!(staging(folder.path(), &marked).unwrap_err().contains("network.development"), "{mark}");
    }
    let mut alices = good.clone();
    alices["session"]["keys"][0][2] = json!({"babe": key("sr25519", "//Alice"), "grandpa": key("ed25519", "//Alice")});
    assert!(staging(folder.path(), &alices).unwrap_err().contains("well-known key"));

    let spec = staging(folder.path(), &good).unwrap();
    assert_eq!(spec["chainType"], json!("Live"));
    let path = folder.path().join("chain.json");
    std::fs::write(&path, spec.to_string()).unwrap();
    let anchor: Value =
        serde_json::from_slice(&output(&["export-genesis-anchor", "--chain", path.to_str().unwrap()])).unwrap();
    assert_eq!(anchor["authorities"].as_array().unwrap().len(), 4);
}

#[test]
fn presets_of_several_authorities_take_no_lone_root() {
    for (preset, lone) in [("dev", true), ("local", false)] {
        let spec: Value = serde_json::from_slice(&output(&["export-chain-spec", "--chain", preset])).unwrap();
        let genesis = &spec["genesis"]["runtimeGenesis"];
        let network = ["patch", "config"].map(|form| &genesis[form]["network"]);
        let network = network.into_iter().find(|network| network.is_object()).unwrap();
        assert_eq!((&network["development"], &network["loneRoot"]), (&json!(true), &json!(lone)), "{preset}");
    }
}
