//! Commands whose sender did not see the reply: one gave up in time, one was killed. Another process fetches both.

use phala_e2e::{
    binary,
    governance::Governance,
    phala,
    processes::{self, ByHand, Stopped},
    signal, wait_until, Network,
};
use phala_protocol::{chain_state::ClusterRecord, inbox::Head, storage, ClusterId};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Seconds of which all that a command waits for is part: inclusion, which takes a few, and a reply, which does not come.
const PATIENCE: u64 = 12;
/// Less than two of them, which is what steps with times of their own would take.
const AT_MOST: Duration = Duration::from_secs(22);
/// For a command to be in the inbox.
const INCLUDED_WITHIN: Duration = Duration::from_secs(60);
/// Where the sample token runs, on `worker-0`.
const CLUSTER: ClusterId = ClusterId(0);

/// Nonces of the commands that are waited for.
fn pending(network: &Network) -> BTreeSet<String> {
    let listed = network.phala(&["contract", "pending"]).data();
    let listed = listed["pending"].as_array().unwrap();
    listed.iter().map(|command| command["nonce"].as_str().unwrap().to_owned()).collect()
}

fn balance(network: &Network, token: &str) -> u128 {
    let told = network.phala(&["contract", "query", token, "balance", "--from", "dave"]).data();
    told["value"].as_str().unwrap().parse().unwrap()
}

/// Alice and Bob, who have some of the token, send it to Dave while the worker stands still.
pub fn what_was_not_seen_is_fetched(network: &Network, token: &str) {
    let chain = Governance::of(network);
    let waiting = || {
        let items = chain.read::<Head>(&storage::inbox_head_key(CLUSTER)).map_or(0, |head| head.count);
        let record: ClusterRecord = chain.read(&storage::cluster_key(CLUSTER)).unwrap();
        items.saturating_sub(record.final_count)
    };
    let (had, known) = (balance(network, token), pending(network));
    wait_until("nothing to wait", INCLUDED_WITHIN, || waiting() == 0);
    {
        let _still = Stopped::new(processes::id(&network.base, "worker-0"));
        let base = network.base.to_str().unwrap();
        let words = ["--json", "--network", base, "contract", "call", token, "transfer", r#"["dave", "2"]"#];
        let words = [&words[..], &["--from", "bob", "--wait"]].concat();
        let program = binary("phala").to_str().unwrap().to_owned();
        let words: Vec<String> = std::iter::once(program).chain(words.into_iter().map(str::to_owned)).collect();
        let home = [("PHALA_HOME".to_owned(), network.base.join("home").to_str().unwrap().to_owned())];
        let mut killed = ByHand::start_in(&words, &home, &network.base.join("logs").join("call-by-hand.log"));

        let (begun, patience) = (Instant::now(), PATIENCE.to_string());
        let words = ["contract", "call", token, "transfer", r#"["dave", "1"]"#, "--from", "alice", "--wait"];
        let late = network.phala(&[&words[..], &["--timeout", &patience]].concat());
        let took = begun.elapsed();
        assert_eq!((late.code, &late.json["error"]["code"]), (Some(6), &Value::from("timeout")), "{}", late.text);
        assert!(Duration::from_secs(PATIENCE) <= took && took < AT_MOST, "it gave up after {took:?}");

        wait_until("both commands to be in the inbox", INCLUDED_WITHIN, || waiting() == 2);
        assert_eq!(killed.ended(), None, "it waits for its reply");
        signal(killed.id(), "-KILL");
        wait_until("it to be dead", INCLUDED_WITHIN, || killed.ended().is_some());
    }
    let left: Vec<String> = pending(network).difference(&known).cloned().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    for nonce in &left {
        let receipt = network.base.join(format!("reply-{nonce}.json"));
        let path = receipt.to_str().unwrap();
        network.phala(&["contract", "reply", nonce, "--receipt", path, "--timeout", "120"]).data();
        let verified = phala(&network.base, &["verify", path, "--allow-simulated"]);
        assert_eq!(verified.code, Some(0), "{}", verified.text);
    }
    assert_eq!((balance(network, token), pending(network)), (had + 3, known), "each was executed once, and is seen");
    let again = network.phala(&["contract", "reply", &left[0]]);
    assert_eq!((again.code, &again.json["error"]["code"]), (Some(3), &Value::from("not_found")), "{}", again.text);
}
