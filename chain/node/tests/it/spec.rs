//! Specifications: what `staging` refuses and what it needs.

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

/// A genesis with one authority whose keys come from `seed`.
fn genesis(seed: &str) -> Value {
    let stash = key("sr25519", &format!("{seed}//stash"));
    let keys = json!({"babe": key("sr25519", seed), "grandpa": key("ed25519", seed)});
    json!({
        "balances": {"balances": [[stash, 2_000_000_000_000_000_u64]]},
        "session": {"keys": [[stash, stash, keys]]},
        "staking": {"stakers": [[stash, stash, 1_000_000_000_000_000_u64, "Validator"]]},
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
    assert!(staging(folder.path(), &genesis("//Alice")).unwrap_err().contains("well-known key"));
    let mut with_sudo = genesis(secret);
    with_sudo["sudo"] = json!({"key": key("sr25519", secret)});
    assert!(staging(folder.path(), &with_sudo).unwrap_err().contains("sudo.key"));
    for mark in [json!(true), json!(null), json!("false")] {
        let mut marked = genesis(secret);
        marked["network"] = json!({"development": mark});
        assert!(staging(folder.path(), &marked).unwrap_err().contains("network.development"), "{mark}");
    }

    let spec = staging(folder.path(), &genesis(secret)).unwrap();
    assert_eq!(spec["chainType"], json!("Live"));
    let path = folder.path().join("chain.json");
    std::fs::write(&path, spec.to_string()).unwrap();
    let anchor: Value =
        serde_json::from_slice(&output(&["export-genesis-anchor", "--chain", path.to_str().unwrap()])).unwrap();
    assert_eq!(anchor["authorities"].as_array().unwrap().len(), 1);
}
