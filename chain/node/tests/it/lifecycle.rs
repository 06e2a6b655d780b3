//! Start, stop, start again; one authority and four.

use crate::node::{fast_spec, free_port, wait, Node};
use serde_json::json;
use std::time::Duration;

#[test]
fn one_authority_finalises_restarts_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("dev", "alice", folder.path(), &[]);
    node.wait_finalised(3, Duration::from_secs(60));
    let (genesis, third) = (node.hash(0), node.hash(3));

    let properties = node.call("system_properties", json!([]));
    assert_eq!(properties, json!({"ss58Format": 30, "tokenDecimals": 12, "tokenSymbol": "PHA"}));
    let methods = node.call("rpc_methods", json!([]))["methods"].clone();
    for method in [
        "author_submitExtrinsic",
        "chain_getFinalizedHead",
        "grandpa_proveFinality",
        "grandpa_roundState",
        "grandpa_subscribeJustifications",
        "payment_queryInfo",
        "phala_finalityProof",
        "phala_inboxItems",
        "phala_justification",
        "state_getReadProof",
        "system_accountNextIndex",
    ] {
        assert!(methods.as_array().unwrap().contains(&json!(method)), "{method} is missing");
    }
    let no_inbox = node.try_call("phala_inboxItems", json!([4_000_000_000_u32, 0, 1])).unwrap_err();
    assert_eq!(no_inbox["code"], 7005, "{no_inbox}");
    let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    assert_eq!(node.call("system_accountNextIndex", json!([alice])), json!(0));

    let before = node.finalised();
    assert_eq!(node.terminate().code(), Some(0));

    let node = Node::start("dev", "alice", folder.path(), &[]);
    assert_eq!((node.hash(0), node.hash(3)), (genesis, third), "the chain after a restart is the one before it");
    node.wait_finalised(before + 3, Duration::from_secs(60));
    assert_eq!(node.terminate().code(), Some(0));
}

#[test]
fn four_authorities_finalise_across_an_era() {
    let folder = tempfile::tempdir().unwrap();
    let chain = fast_spec("local", folder.path());
    let port = free_port().to_string();
    let alice = Node::start(&chain, "alice", &folder.path().join("alice"), &["--port", &port]);
    let peer = alice.call("system_localPeerId", json!([]));
    let bootnode = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", peer.as_str().unwrap());
    let others: Vec<_> = ["bob", "charlie", "dave"]
        .map(|name| Node::start(&chain, name, &folder.path().join(name), &["--bootnodes", &bootnode]))
        .into();

    // The set of the second era is in force once GRANDPA's rounds are of set 1.
    wait("a new authority set", Duration::from_secs(180), || {
        (alice.call("grandpa_roundState", json!([]))["setId"].as_u64()? >= 1).then_some(())
    });
    let height = alice.finalised();
    for node in others.iter().chain([&alice]) {
        node.wait_finalised(height + 5, Duration::from_secs(60));
        assert_eq!(node.hash(height), alice.hash(height));
        assert_eq!(node.call("grandpa_roundState", json!([]))["best"]["totalWeight"], json!(4));
    }
    for node in others.into_iter().chain([alice]) {
        assert_eq!(node.terminate().code(), Some(0));
    }
}
