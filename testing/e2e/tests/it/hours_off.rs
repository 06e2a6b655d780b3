//! Wall clocks: a network that was off for weeks, longer than a session of its chain and than everything it had attested; then one
//! whose clocks are set while it runs, forwards and back.
//!
//! All its processes have one clock, which the test moves.

use phala_e2e::{alone, clock::Clock, processes, wait_until, Network};
use serde_json::Value;
use std::{
    thread,
    time::{Duration, Instant},
};

const DAY: i64 = 86_400;
/// Nobody authors for so long: more than simulated collateral is good for (30 days), and hundreds of thousands of sessions.
const AWAY: i64 = 40 * DAY;
/// Until what was authored before a clock was set is final.
const SETTLED: Duration = Duration::from_secs(2);
/// How long a chain is watched standing still: ten of its slots.
const STOOD: Duration = Duration::from_secs(5);
/// How long a network may take to go on once its clocks are right.
const GOES_ON_WITHIN: Duration = Duration::from_secs(90);

fn workers(status: &Value) -> Vec<(String, u64)> {
    let workers = status["workers"].as_array().unwrap();
    let of = |worker: &Value| {
        (worker["identity"].as_str().unwrap().to_owned(), worker["valid_for_seconds"].as_u64().unwrap())
    };
    workers.iter().map(of).collect()
}

/// A network whose token moves from one account to another.
struct Story {
    network: Network,
    token: String,
}

impl Story {
    fn send(&self, from: &str, to: &str, amount: &str, timeout: &str) -> phala_e2e::Run {
        let arguments = format!(r#"["{to}", "{amount}"]"#);
        let command =
            ["contract", "call", &self.token, "transfer", &arguments, "--from", from, "--wait", "--timeout", timeout];
        self.network.phala(&command)
    }

    fn balance(&self, account: &str) -> Value {
        let command = ["contract", "query", &self.token, "balance", "--from", account];
        self.network.phala(&command).data()["value"].clone()
    }

    fn finalised(&self) -> u64 {
        self.network.phala(&["status"]).data()["finalised"].as_u64().unwrap()
    }
}

#[test]
fn a_network_that_was_off_longer_than_its_sessions_and_its_collateral_goes_on() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::new(folder.path());
    let base = folder.path().join("network");
    let short = ["--fresh", "--workers", "1", "--session-blocks", "10", "--block-milliseconds", "500"];
    let network = Network::start_in(&base, &short, &clock.variables());
    let token = network.ready["contracts"]["token"].as_str().unwrap().to_owned();
    let story = Story { network, token };
    story.send("alice", "bob", "5", "60").data();
    let status = story.network.phala(&["status"]).data();
    let before = workers(&status);
    assert_eq!(before.len(), 2, "a gatekeeper and a worker");
    for (identity, valid) in &before {
        let valid = i64::try_from(*valid).unwrap();
        assert!(valid > 0 && valid < AWAY, "{identity} is registered for {valid} s");
    }
    let height = status["finalised"].as_u64().unwrap();
    let Story { network, token } = story;
    assert_eq!(network.stop(), Some(0));

    clock.set(AWAY);
    let network = Network::start_in(&base, &[], &clock.variables());
    assert_eq!(network.ready["contracts"]["token"], token.as_str());
    let story = Story { network, token };
    let status = story.network.phala(&["status"]).data();
    assert!(status["finalised"].as_u64().unwrap() > height);
    let after = workers(&status);
    let identities =
        |workers: &[(String, u64)]| workers.iter().map(|(identity, _)| identity.clone()).collect::<Vec<_>>();
    assert_eq!(identities(&after), identities(&before), "the same TEEs, attested anew");
    assert!(after.iter().all(|(_, valid)| *valid > 0), "{after:?}");
    assert_eq!(story.balance("bob"), "5");
    story.send("alice", "bob", "6", "60").data();
    assert_eq!(story.balance("bob"), "11");
    // Sessions go on too: more blocks than one has since the pause, in which there were none.
    wait_until("a session after the pause", GOES_ON_WITHIN, || story.finalised() > height + 15);

    clocks_jump(&story, &clock);
    assert_eq!(story.network.stop(), Some(0));
}

/// The clocks of a network that runs are set, to tomorrow and then to yesterday: no process ends, and nothing is lost.
fn clocks_jump(story: &Story, clock: &Clock) {
    let base = &story.network.base;
    let processes = processes::ids(base);
    clock.set(AWAY + DAY);
    story.send("alice", "bob", "7", "90").data();
    assert_eq!(story.balance("bob"), "18");

    // Back: nobody may author again in a slot that has passed, so that the chain stands still. What is final is still told, and
    // what is sent waits.
    clock.set(AWAY);
    thread::sleep(SETTLED);
    let height = story.finalised();
    thread::scope(|scope| {
        let sent = scope.spawn(|| story.send("bob", "charlie", "1", "90").data());
        let stood = Instant::now();
        while stood.elapsed() < STOOD {
            assert_eq!(story.balance("bob"), "18");
            assert_eq!(story.finalised(), height, "a block in a slot that has passed");
        }
        assert!(!sent.is_finished(), "without a block it cannot be executed");
        clock.set(AWAY + DAY);
        sent.join().unwrap();
    });
    assert_eq!((story.balance("bob"), story.balance("charlie")), ("17".into(), "1".into()));
    story.send("bob", "charlie", "1", "90").data();
    assert_eq!(story.balance("charlie"), "2");
    assert_eq!(processes::ids(base), processes, "a process ended over a clock");
}
