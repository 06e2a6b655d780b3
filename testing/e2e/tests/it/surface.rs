//! What the commands that look on print while a network runs: the shapes that scripts read.

use phala_e2e::Network;
use serde_json::Value;

/// An amount as it is printed: a decimal string, in 10^-12 PHA.
fn amount(json: &Value) -> u128 {
    json.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{json} is no amount"))
}

/// Each command once on `network`, on which `called`, a transfer of 271828 of the sample token, was printed.
pub fn what_looks_on_prints_its_shape(network: &Network, called: &Value) {
    let token = network.ready["contracts"]["token"].as_str().unwrap();

    let event = &called["events"].as_array().unwrap()[..];
    assert!(event.len() == 1 && event[0]["contract"] == token && event[0]["name"] == "Transfer", "{called}");
    assert_eq!(event[0]["fields"]["amount"], "271828");

    let doctor = network.phala(&["doctor"]).data();
    assert_eq!(doctor["ok"], true, "{doctor}");
    let checks = doctor["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["check"] == "free disk space"));
    for check in checks {
        assert!(check["check"].is_string() && check["found"].is_string() && check["needed"].is_boolean(), "{check}");
        assert_eq!(check["ok"] == true, check["fix"].is_null(), "{check}");
    }

    let listed = network.phala(&["contract", "list"]).data();
    let found = listed["contracts"].as_array().unwrap().iter().find(|contract| contract["contract"] == token).unwrap();
    assert_eq!(found["name"], "token");
    assert!(found["cluster"].is_u64() && found["block"].is_u64() && found["deployer"].is_string(), "{found}");

    let estimate = network.phala(&["contract", "estimate", "token"]).data();
    assert_eq!(estimate["cluster"], found["cluster"]);
    let classes = estimate["classes"].as_array().unwrap();
    assert_eq!(classes.iter().map(|class| &class["class"]).collect::<Vec<_>>(), ["small", "medium", "large"]);
    for class in classes {
        assert!(class["gas"].as_u64().unwrap() > 0);
        assert!(amount(&class["fee_now"]) > 0 && amount(&class["fee_now"]) <= amount(&class["fee_most"]), "{class}");
        let (least, most) = (amount(&class["transaction_fee"]), amount(&class["transaction_fee_most"]));
        assert!(0 < least && least < most, "bytes are paid for: {class}");
        let paid = amount(&called["transaction_fee"]);
        assert!(least / 2 < paid && paid < most * 2, "{paid} was paid: {class}");
    }

    let worker = network.ready["workers"][0].as_str().unwrap();
    let status = network.phala(&["worker", "status", worker]).data();
    assert_eq!((&status["url"], &status["registered"]), (&worker.into(), &true.into()), "{status}");
    assert_eq!((&status["insecure"], &status["assurance"]), (&true.into(), &"simulated".into()), "{status}");
    assert!(status["height"].is_u64() && status["behind"].is_u64() && status["clusters"].is_array(), "{status}");

    let logs = network.phala(&["logs", "node", "-n", "2"]);
    assert_eq!(logs.code, Some(0), "{}", logs.text);
    let lines: Vec<Value> = logs.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{}", logs.text);
    assert!(lines.iter().all(|line| line["process"] == "node-0" && line["line"].is_string()), "{}", logs.text);

    let completions = network.phala(&["completions", "bash"]);
    assert!(completions.code == Some(0) && completions.text.contains("estimate"), "{}", completions.text);
}
