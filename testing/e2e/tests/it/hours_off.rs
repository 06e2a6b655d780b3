//! A network that was off for longer than a session of its chain and than everything it had attested: it goes on.
//!
//! Clocks cannot be moved here. So sessions are short, and collateral is dated by a simulator whose clock is late, until it has only
//! seconds left: after the pause, the chain knows no collateral that is good and no TEE whose registration is in force, as after weeks.

use phala_e2e::{wait_until, Network};
use serde_json::Value;
use std::{
    thread,
    time::{Duration, Instant},
};

/// For how long simulated collateral holds from the simulator's now on, in seconds: 30 days that begin a day before.
const HOLDS: i64 = 29 * 86_400;
/// How long it holds in this story: the network has to be made within.
const REMAINS: u64 = 80;
/// At least this long nobody authors: three sessions of ten blocks.
const OFF: Duration = Duration::from_secs(30);

fn workers(status: &Value) -> Vec<(String, u64)> {
    let workers = status["workers"].as_array().unwrap();
    let of = |worker: &Value| {
        (worker["identity"].as_str().unwrap().to_owned(), worker["valid_for_seconds"].as_u64().unwrap())
    };
    workers.iter().map(of).collect()
}

#[test]
fn a_network_that_was_off_longer_than_its_sessions_and_its_collateral_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let offset = (i64::try_from(REMAINS).unwrap() - HOLDS).to_string();
    let late = [("PHALA_INSECURE_CLOCK_OFFSET", offset.as_str())];
    let network = Network::start_in(folder.path(), &["--fresh", "--workers", "1", "--session-blocks", "10"], &late);
    let token = network.ready["contracts"]["token"].as_str().unwrap().to_owned();
    let send = |network: &Network, amount: &str| {
        let arguments = format!(r#"["bob", "{amount}"]"#);
        network.phala(&["contract", "call", &token, "transfer", &arguments, "--from", "alice", "--wait"]).data();
    };
    let balance = |network: &Network| {
        network.phala(&["contract", "query", &token, "balance", "--from", "bob"]).data()["value"].clone()
    };
    send(&network, "5");
    let status = network.phala(&["status"]).data();
    let before = workers(&status);
    assert_eq!(before.len(), 2, "a gatekeeper and a worker");
    for (identity, valid) in &before {
        assert!(*valid <= REMAINS, "{identity} is registered for {valid} s, longer than its collateral holds");
    }
    let height = status["finalised"].as_u64().unwrap();
    assert_eq!(network.stop(), Some(0));

    thread::sleep(OFF.max(Duration::from_secs(REMAINS + 2).saturating_sub(begun.elapsed())));
    let network = Network::start(folder.path(), &[]);
    assert_eq!(network.ready["contracts"]["token"], token.as_str());
    let status = network.phala(&["status"]).data();
    assert!(status["finalised"].as_u64().unwrap() > height);
    let after = workers(&status);
    let identities =
        |workers: &[(String, u64)]| workers.iter().map(|(identity, _)| identity.clone()).collect::<Vec<_>>();
    assert_eq!(identities(&after), identities(&before), "the same TEEs, attested anew");
    assert!(after.iter().all(|(_, valid)| *valid > REMAINS), "{after:?}");
    assert_eq!(balance(&network), "5");
    send(&network, "6");
    assert_eq!(balance(&network), "11");
    // Sessions go on too: more blocks than one has since the pause, in which there were none.
    wait_until("a session after the pause", Duration::from_secs(60), || {
        network.phala(&["status"]).data()["finalised"].as_u64().unwrap() > height + 15
    });
    assert_eq!(network.stop(), Some(0));
}
