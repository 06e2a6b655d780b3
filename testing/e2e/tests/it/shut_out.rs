//! Governance revokes one of a cluster's three machines: the next epoch is due at once and opens without it, commands go on, and nobody
//! asks it any more.
//!
//! `phala dev` gives each worker a cluster of its own. Here its three workers serve a new one together: they are run by hand, with the
//! identities that they have, while `phala dev` is stopped. An epoch of the new cluster lasts an hour, so that one that opens within a
//! minute does so for the revocation alone. It leaves the network's own clusters without workers: the last thing that is done to it.

use crate::gatekeepers::Ends;
use codec::{Decode, Encode};
use phala_client::chain::ChainCall;
use phala_e2e::{
    binary,
    canary::from_hex,
    governance::Governance,
    load::link::NetworkFile,
    processes::{ByHand, Place, Stopped},
    raw_http::{ask, host_of},
    wait_until, Network, Run,
};
use phala_protocol::{
    chain_state::{ClusterRecord, WorkerRecord},
    storage, ClusterId, WorkerId,
};
use serde_json::Value;
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

const MACHINES: usize = 3;
/// Which one is revoked; two of three votes decide without it.
const REVOKED: usize = 2;
/// For workers that start with what they have, and for what they have to see on the chain.
const SEEN_WITHIN: Duration = Duration::from_secs(90);
/// For an epoch to open that is due.
const OPENED_WITHIN: Duration = Duration::from_secs(60);
/// Blocks of an epoch that is not due in this test.
const LONG: u32 = 1_000;
/// Who deploys and sends; governance has an account of its own.
const OWNER: &str = "charlie";

/// A worker.
pub struct Machine {
    /// Who it is.
    pub id: WorkerId,
    /// Where it is asked.
    pub url: String,
}

impl Machine {
    /// As network.json has it.
    fn of(machine: &Value) -> Self {
        let text = |name: &str| machine[name].as_str().unwrap().to_owned();
        let id = from_hex(&text("identity")).unwrap();
        Self { id: WorkerId(id.try_into().unwrap()), url: text("http") }
    }

    pub fn told(&self, path: &str) -> Value {
        ask(host_of(&self.url), "GET", path, &[]).map_or(Value::Null, |answer| answer.json())
    }

    /// Whether it answers queries about the cluster under a key of this epoch.
    pub fn serves(&self, cluster: ClusterId, epoch: u32) -> bool {
        let info = self.told("/v1/info");
        let served = &info["clusters"][0];
        served["cluster"] == cluster.0 && served["epoch"] == epoch
    }

    /// Items that it has executed.
    pub fn executed(&self) -> Option<u64> {
        self.told("/v1/health")["cluster"]["executed"].as_u64()
    }
}

/// A token on the cluster.
pub struct Token<'a> {
    network: &'a Network,
    contract: String,
}

impl<'a> Token<'a> {
    /// Deploys it on a cluster that these workers serve.
    pub fn deploy(network: &'a Network, cluster: ClusterId, workers: &[Machine]) -> Self {
        let (wasm, number) = (binary("token.wasm"), cluster.to_string());
        let words = ["contract", "deploy", wasm.to_str().unwrap(), "1000000", "--from", OWNER, "--cluster", &number];
        let deployed = network.phala(&with(&words, workers)).data();
        Self { network, contract: deployed["contract"].as_str().unwrap().to_owned() }
    }

    /// One more to bob, as `workers` say that it is executed.
    pub fn transfer(&self, workers: &[Machine]) {
        let words = ["contract", "call", &self.contract, "transfer", r#"["bob", "1"]"#, "--from", OWNER];
        let words = [&words[..], &["--wait", "--timeout", "90"]].concat();
        self.network.phala(&with(&words, workers)).data();
    }

    /// Asks one worker, and no other.
    pub fn asked(&self, worker: &Machine) -> Run {
        let words = ["contract", "query", &self.contract, "balance", "--from", "bob"];
        self.network.phala(&with(&words, std::slice::from_ref(worker)))
    }

    pub fn balance(&self, worker: &Machine) -> u64 {
        self.asked(worker).data()["value"].as_str().unwrap().parse().unwrap()
    }
}

/// A command that knows of these workers, of whom network.json says that they serve other clusters.
fn with<'a>(words: &[&'a str], workers: &'a [Machine]) -> Vec<&'a str> {
    let named = workers.iter().flat_map(|worker| ["--worker", worker.url.as_str()]);
    words.iter().copied().chain(named).collect()
}

/// Gives the network's workers one cluster, and revokes one of them.
pub fn check(network: &Network) {
    let begun = Instant::now();
    let chain = Governance::of(network);
    let machines = NetworkFile::read(&network.base).unwrap().machines("workers");
    let machines: Vec<Machine> = machines.iter().map(Machine::of).collect();
    assert_eq!(machines.len(), MACHINES);
    let (others, revoked) = (&machines[..REVOKED], &machines[REVOKED]);
    let replicas: Vec<WorkerId> = machines.iter().map(|machine| machine.id).collect();
    let created = chain.decide(&ChainCall::create_cluster(&replicas)).unwrap();
    let cluster = ClusterId::decode(&mut created.event("Contracts", "ReplicasAssigned").unwrap()).unwrap();
    let record = || chain.read::<ClusterRecord>(&storage::cluster_key(cluster)).unwrap();

    let supervisor = Stopped::new(network.id());
    let _workers: Vec<ByHand> = (0..MACHINES)
        .map(|number| {
            let name = format!("worker-{number}");
            let log = network.base.join("logs").join(format!("{name}-of-three.log"));
            let place = Place::take(&supervisor, network, &name);
            ByHand::start(&place.words_with("--cluster", &cluster.to_string()), &log)
        })
        .collect();
    wait_until("three machines to serve one cluster", SEEN_WITHIN, || {
        machines.iter().all(|machine| machine.serves(cluster, 1))
    });
    let token = Token::deploy(network, cluster, &machines);
    token.transfer(&machines);
    wait_until("three machines to execute alike", SEEN_WITHIN, || {
        let executed = machines[0].executed();
        executed.is_some() && machines.iter().all(|machine| machine.executed() == executed)
    });
    assert_eq!(token.balance(revoked), 1, "it is asked as the others are");
    let before = record();
    assert!(before.epoch == 1 && before.epoch_length > LONG, "no epoch is due: {before:?}");

    let log = network.base.join("logs").join("gatekeeper.log");
    let said = || fs::read_to_string(&log).unwrap();
    let (heard, ended, decided) = (said().len(), AtomicBool::new(false), Instant::now());
    let registered: WorkerRecord = chain.read(&storage::worker_key(&revoked.id)).unwrap();
    let (sent, opened) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent = 0;
            while !ended.load(Ordering::Relaxed) {
                token.transfer(others);
                sent += 1;
            }
            sent
        });
        let _ends = Ends(&ended);
        let revoke = ChainCall::raw("Attestation", "revoke_hardware", registered.hardware.encode());
        chain.decide(&revoke).unwrap();
        wait_until("the next epoch to open without the machine", OPENED_WITHIN, || record().epoch == 2);
        let opened = decided.elapsed();
        ended.store(true, Ordering::Relaxed);
        (load.join().unwrap(), opened)
    });
    assert!(sent > 0, "commands went on");

    // Nobody is taken off the cluster, and what decides is what did before.
    let now = record();
    assert!(now.replicas == before.replicas && now.envelope_key != before.envelope_key, "{now:?}");
    wait_until("the two others to serve the new epoch", SEEN_WITHIN, || {
        others.iter().all(|machine| machine.serves(cluster, 2))
    });
    // It asks for the new epoch's keys like the others, and has none.
    let identity = revoked.id.to_string();
    let refusal = |line: &str| {
        line.contains("refused keys") && line.contains(&identity) && line.contains("worker is not registered")
    };
    wait_until("the gatekeeper to refuse it the keys", SEEN_WITHIN, || {
        said().get(heard..).unwrap_or_default().lines().any(refusal)
    });
    wait_until("it to know that it is not registered", SEEN_WITHIN, || revoked.told("/v1/info")["registered"] == false);
    token.transfer(others);
    for machine in others {
        wait_until("what was sent in the new epoch", SEEN_WITHIN, || token.balance(machine) == sent + 2);
    }
    let (left_behind, ahead) = (revoked.executed().unwrap(), machines[0].executed().unwrap());
    assert!(!revoked.serves(cluster, 2) && left_behind < ahead, "{left_behind} of {ahead}");
    // Its host may answer as before: no client takes it.
    let refused = token.asked(revoked);
    assert_eq!(
        (refused.code, &refused.json["error"]["code"]),
        (Some(7), &Value::from("unattested")),
        "{}",
        refused.text
    );
    assert!(refused.text.contains("the chain has not registered it"), "{}", refused.text);
    println!(
        "a machine was revoked, and its cluster's next epoch opened {:.1} s later, during {sent} transfers; all of it took {:.1} s",
        opened.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
}
