//! A session from the command line: opened once, then commands that need no signature of the account, each under a number of its own.

use phala_e2e::Network;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

fn balance(network: &Network, token: &str, account: &str) -> u128 {
    let told = network.phala(&["contract", "query", token, "balance", "--from", account]).data()["value"].clone();
    told.as_str().unwrap().parse().unwrap()
}

/// Alice, who has some of the token, sends it to Charlie in a session; Bob has none, and is told so.
pub fn a_session_carries_commands_and_is_its_owners_alone(network: &Network, token: &str) {
    let before = balance(network, token, "charlie");
    let opened = network.phala(&["session", "open", "--from", "alice"]).data();
    assert!(opened["epoch"].as_u64().unwrap() > 0 && opened["fee"].as_str().is_some(), "{opened}");
    for amount in ["3", "4"] {
        let arguments = format!(r#"["charlie", "{amount}"]"#);
        let words =
            ["contract", "call", token, "transfer", arguments.as_str(), "--from", "alice", "--session", "--wait"];
        network.phala(&words).data();
    }
    assert_eq!(balance(network, token, "charlie"), before + 7);

    let kept: Vec<_> =
        std::fs::read_dir(network.base.join("home").join("sessions")).unwrap().map(Result::unwrap).collect();
    assert!(!kept.is_empty());
    assert!(kept.iter().all(|file| file.metadata().unwrap().permissions().mode() & 0o077 == 0));

    let none = r#"["charlie", "1"]"#;
    let refused = network.phala(&["contract", "call", token, "transfer", none, "--from", "bob", "--session"]);
    assert_eq!(
        (refused.code, &refused.json["error"]["code"]),
        (Some(3), &Value::from("not_found")),
        "{}",
        refused.text
    );
    assert!(refused.json["error"]["hint"].as_str().unwrap().contains("phala session open"), "{}", refused.text);
}
