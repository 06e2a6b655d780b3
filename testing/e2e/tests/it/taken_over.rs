//! A cluster of one replica whose machine is switched off, and goes on with another machine's: one with an identity of its own, that has nothing
//! of the state but what relayers kept of it, sealed.
//!
//! Two relayers, as of two hosts. The cluster is in its second epoch or a later one, so that nobody is given the keys by which its first
//! commands could be executed again: what is answered of them was in the snapshot. The machine's process is killed when its relayer has one;
//! governance assigns the newcomer in its place, whose relayer asks the other for it. Later the former machine comes back, and is nobody's any
//! more, until it gets a place beside the newcomer, and a third machine joins both: `joins`. TEEs are simulated: INSECURE. Not here: four
//! gatekeepers, which `successor` has, and that looks at the same things.

use crate::joins::{self, Replicas};
use codec::Decode;
use phala_client::chain::ChainCall;
use phala_e2e::{
    alone,
    canary::from_hex,
    governance::Governance,
    load::link::NetworkFile,
    processes::{words_with, ByHand, Place, Stopped},
    raw_http::{ask, host_of},
    wait_until, Network,
};
use phala_protocol::{
    chain_state::{ClusterRecord, Standing, WorkerRecord},
    snapshot::SnapshotHeader,
    storage, ClusterId, WorkerId,
};
use serde_json::{json, Value};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The cluster that is taken over.
pub const CLUSTER: ClusterId = ClusterId(0);
/// What the other machine is called.
const NEWCOMER: &str = "newcomer";
/// For an epoch to open that is due, and a snapshot of it to be made.
const OPENED_WITHIN: Duration = Duration::from_secs(60);
/// For a process that is started.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// For a machine to follow the chain to its head, to attest itself, and to be in a finalised block.
const REGISTERED_WITHIN: Duration = Duration::from_secs(120);
/// For keys, a snapshot and its parts to arrive, and what came after it to be executed.
const TAKEN_WITHIN: Duration = Duration::from_secs(90);
/// Blocks of an epoch that is due soon, and of one that is not due in this test.
const SHORT: u32 = 20;
const LONG: u32 = 1_000;
/// The length of a snapshot's file up to its header, and of that.
const MAGIC_BYTES: usize = 8;
const HEADER_BYTES: usize = 88;

/// The network and its token, which is on [`CLUSTER`].
pub struct Story {
    pub network: Network,
    pub chain: Governance,
    token: String,
    /// Address of the former machine.
    pub former: String,
    /// And of the one in its place.
    pub newcomer: String,
}

impl Story {
    fn record(&self) -> ClusterRecord {
        record(&self.chain)
    }

    fn lengthen(&self, blocks: u32) {
        self.chain.decide(&ChainCall::set_epoch_length(CLUSTER, blocks)).unwrap();
    }

    /// Waits until an epoch after `former` is open, and sees to it that none follows soon.
    fn next_epoch(&self, former: u32) {
        self.lengthen(SHORT);
        wait_until("the next epoch to open", OPENED_WITHIN, || self.record().epoch > former);
        self.lengthen(LONG);
    }

    /// So much to bob, as the worker at this address says that it is executed.
    pub fn transfer(&self, amount: &str, worker: &str) {
        let arguments = format!(r#"["bob", "{amount}"]"#);
        let words = ["contract", "call", &self.token, "transfer", &arguments, "--from", "alice", "--wait"];
        self.network.phala(&[&words[..], &["--timeout", "90", "--worker", worker]].concat()).data();
    }

    /// What bob has, as this worker says.
    pub fn balance(&self, worker: &str) -> Value {
        let words = ["contract", "query", &self.token, "balance", "--from", "bob", "--worker", worker];
        self.network.phala(&words).data()["value"].clone()
    }
}

/// What the chain says of the cluster.
pub fn record(chain: &Governance) -> ClusterRecord {
    chain.read(&storage::cluster_key(CLUSTER)).unwrap()
}

/// The headers of the cluster's snapshots that a relayer has whole, made here or given by a peer.
pub fn kept(network: &Network, relayer: &str, origin: &str) -> Vec<SnapshotHeader> {
    let folder = network.base.join("snapshots").join(relayer);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(&format!(".{origin}.snapshot")) {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            let header = bytes.get(MAGIC_BYTES..MAGIC_BYTES + HEADER_BYTES).unwrap_or_default();
            found.extend(SnapshotHeader::decode(&mut &header[..]).ok());
        }
    }
    found.retain(|header| header.cluster == CLUSTER);
    found
}

/// What a machine says at `path`; null while it does not answer.
pub fn told(url: &str, path: &str) -> Value {
    ask(host_of(url), "GET", path, &[]).map_or(Value::Null, |answer| answer.json())
}

/// The epoch under whose key a machine answers queries about the cluster.
pub fn serves(url: &str) -> Option<u64> {
    let info = told(url, "/v1/info");
    let served = &info["clusters"][0];
    (served["cluster"] == CLUSTER.0).then(|| served["epoch"].as_u64()).flatten()
}

/// A machine that runs answers nothing about the cluster: it has no key that a query would be sealed to, and refuses one before it looks at it,
/// for want of a state.
pub fn answers_nothing(url: &str) {
    let (info, health) = (told(url, "/v1/info"), told(url, "/v1/health"));
    assert_eq!(info["clusters"], json!([]), "{info}");
    assert_eq!((&health["healthy"], &health["cluster"]["serving"]), (&json!(false), &json!(false)), "{health}");
    let refused = ask(host_of(url), "POST", "/v1/query", b"whatever is asked").unwrap();
    assert_eq!((refused.status, refused.code().as_deref()), (503, Some("stale")), "{}", refused.json());
}

/// Whoever asks the only machine that network.json names for the cluster, the former one, is told that it has no key.
pub fn clients_are_refused(network: &Network) {
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    let refused = network.phala(&["contract", "query", token, "balance", "--from", "bob"]);
    let said = (refused.code != Some(0), &refused.json["error"]["code"]);
    assert_eq!(said, (true, &json!("busy")), "{}", refused.text);
}

/// Waits until a machine that was started again has followed the chain to where it is now.
pub fn has_caught_up(chain: &Governance, url: &str) {
    let head = u64::from(chain.height());
    wait_until("the former machine to know what the chain decided", REGISTERED_WITHIN, || {
        told(url, "/v1/health")["height"].as_u64() >= Some(head)
    });
}

/// An identity as processes show it.
pub fn identity(text: &str) -> WorkerId {
    WorkerId(from_hex(text).unwrap().try_into().unwrap())
}

/// Waits until the chain knows a machine.
pub fn is_registered(chain: &Governance, machine: &WorkerId) {
    let key = storage::worker_key(machine);
    wait_until("the other machine to be registered", REGISTERED_WITHIN, || chain.read::<WorkerRecord>(&key).is_some());
}

/// Gatekeepers' logs from some moment on.
pub struct Heard(Vec<(PathBuf, usize)>);

impl Heard {
    /// From now on, of the processes that are called so.
    pub fn from_now(network: &Network, names: &[impl AsRef<str>]) -> Self {
        let logs = network.base.join("logs");
        let place = |name: &str| {
            let path = logs.join(format!("{name}.log"));
            let length = fs::read(&path).unwrap().len();
            (path, length)
        };
        Self(names.iter().map(|name| place(name.as_ref())).collect())
    }

    /// The epochs of which each says since then that it gave keys to a worker.
    pub fn given(&self, worker: &WorkerId) -> Vec<Vec<u32>> {
        let since = |(path, from): &(PathBuf, usize)| {
            let bytes = fs::read(path).unwrap();
            let said = String::from_utf8_lossy(bytes.get(*from..).expect("a log only grows"));
            // The last line may be half of one.
            let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
            given(whole, worker)
        };
        self.0.iter().map(since).collect()
    }
}

/// The epochs of which a gatekeeper's log says that it gave keys to a worker.
fn given(log: &str, worker: &WorkerId) -> Vec<u32> {
    let worker = worker.to_string();
    let lines = log.lines().filter(|line| line.contains("gave the keys of an epoch") && line.contains(&worker));
    let epoch = |line: &str| -> Option<u32> {
        line.split_whitespace().find_map(|word| word.strip_prefix("epoch="))?.parse().ok()
    };
    lines.map(|line| epoch(line).unwrap_or_else(|| panic!("it names no epoch: {line}"))).collect()
}

/// Starts another machine, simulated in a folder of its own, in the place of one that serves another cluster; gives its identity.
fn begin(story: &Story, supervisor: &Stopped, by_hand: &mut Vec<ByHand>) -> WorkerId {
    let base = &story.network.base;
    let log = |process: &str| base.join("logs").join(format!("{process}.log"));
    let worker = Place::take(supervisor, &story.network, "worker-1");
    let tee = Place::take(supervisor, &story.network, "tee-worker-1");
    let machine = base.join("tee").join(NEWCOMER);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let words = words_with(&tee.arguments, "--dir", &text(&machine));
    by_hand.push(ByHand::start(&words_with(&words, "--machine", NEWCOMER), &log("tee-newcomer")));
    wait_until("the other machine to be simulated", STARTED_WITHIN, || machine.join("collateral").exists());
    let words = worker.words_with("--data", &text(&base.join("workers").join(NEWCOMER)));
    let words = words_with(&words, "--tsm", &text(&machine.join("report")));
    let words = words_with(&words, "--sealing-key", &text(&machine.join("keys/sealing")));
    let words = words_with(&words, "--cluster", &CLUSTER.to_string());
    by_hand.push(ByHand::start(&words, &log(NEWCOMER)));
    let mut said = None;
    wait_until("the other machine to say who it is", STARTED_WITHIN, || {
        said = told(&story.newcomer, "/v1/info")["identity"].as_str().map(identity);
        said.is_some()
    });
    let newcomer = said.unwrap();
    is_registered(&story.chain, &newcomer);
    newcomer
}

#[test]
fn a_clusters_only_replica_is_switched_off_and_another_machine_goes_on_from_what_relayers_kept() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let two = ["--fresh", "--workers", "2", "--relayers", "2", "--session-blocks", "10", "--block-milliseconds", "500"];
    let network = Network::start(folder.path(), &two);
    let begun = Instant::now();
    let machines = NetworkFile::read(&network.base).unwrap().machines("workers");
    let text = |machine: usize, name: &str| machines[machine][name].as_str().unwrap().to_owned();
    let (former, before) = (identity(&text(0, "identity")), identity(&text(1, "identity")));
    let token = network.ready["contracts"]["token"].as_str().unwrap().to_owned();
    let chain = Governance::of(&network);
    let story = Story { network, chain, token, former: text(0, "http"), newcomer: text(1, "http") };
    assert_eq!(story.record().replicas, [former], "one machine has the state, and no other");

    // What is executed now is of an epoch whose keys nobody gets who was not there.
    story.transfer("7", &story.former);
    story.next_epoch(story.record().epoch);
    story.transfer("5", &story.former);
    assert_eq!(story.balance(&story.former), "12");
    // `phala dev` shares machines out from the last relayer back.
    let (of_newcomer, of_former) = ("relayer-0", "relayer-1");
    wait_until("the machine's relayer to keep a snapshot of the open epoch", OPENED_WITHIN, || {
        let epoch = story.record().epoch;
        kept(&story.network, of_former, "own").iter().any(|header| header.epoch == epoch)
    });
    let of_newcomers = |origin: &str| kept(&story.network, of_newcomer, origin);
    assert!(of_newcomers("own").is_empty() && of_newcomers("peer").is_empty());

    let joiner = joins::plan(&story.network);
    let supervisor = Stopped::new(story.network.id());
    let mut by_hand = Vec::new();
    let place = Place::take(&supervisor, &story.network, "worker-0");
    let off = Instant::now();
    let newcomer = begin(&story, &supervisor, &mut by_hand);
    assert!(newcomer != before && newcomer != former, "nothing of either is in it");
    let gatekeeper = ["gatekeeper"];
    let heard = Heard::from_now(&story.network, &gatekeeper);
    let epoch = story.record().epoch;
    story.chain.decide(&ChainCall::assign_replicas(CLUSTER, &[newcomer])).unwrap();
    wait_until("the other machine to serve the cluster", TAKEN_WITHIN, || {
        serves(&story.newcomer) == Some(u64::from(epoch))
    });
    assert_eq!(story.record().epoch, epoch, "within the epoch in which the former machine went off");
    assert!(of_newcomers("peer").iter().any(|header| header.epoch == epoch), "by way of both relayers");
    assert_eq!(story.balance(&story.newcomer), "12", "what was executed before it was there");
    let counted = story.record().final_count;
    story.transfer("1", &story.newcomer);
    let went_on = off.elapsed();
    assert_eq!(story.balance(&story.newcomer), "13");
    let counted = is_final_by(&story.chain, &story.newcomer, &newcomer, counted);
    assert!(heard.given(&newcomer).concat().contains(&epoch));

    // The former machine comes back with all that it had: the keys of the open epoch would open all of it.
    let heard = Heard::from_now(&story.network, &gatekeeper);
    let back = story.network.base.join("logs").join("worker-0-back.log");
    let running = ByHand::start(&place.arguments, &back);
    has_caught_up(&story.chain, &story.former);
    answers_nothing(&story.former);
    clients_are_refused(&story.network);
    story.next_epoch(epoch);
    wait_until("the other machine to serve the next epoch", TAKEN_WITHIN, || {
        serves(&story.newcomer) == Some(u64::from(story.record().epoch))
    });
    answers_nothing(&story.former);
    let (ours, theirs) = (heard.given(&newcomer).concat(), heard.given(&former).concat());
    assert!(ours.iter().any(|of| *of > epoch), "{ours:?}");
    assert!(theirs.is_empty(), "keys of epochs {theirs:?} for the machine that has the cluster no more");
    story.transfer("1", &story.newcomer);
    assert_eq!(story.balance(&story.newcomer), "14");
    is_final_by(&story.chain, &story.newcomer, &newcomer, counted);
    joins::joins_others(&story, &supervisor, joiner, Replicas { newcomer, former, running }, 14);
    println!(
        "a cluster's only machine was switched off; a transfer was final by another one {:.1} s later; all of it took {:.1} s",
        went_on.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
}

/// More than `counted` items are final now, by the own signature of the newcomer at `url`, which signed nothing else; how many they are.
pub fn is_final_by(chain: &Governance, url: &str, newcomer: &WorkerId, counted: u64) -> u64 {
    let record = record(chain);
    assert!(record.final_count > counted, "{record:?}");
    assert_eq!(record.replicas, [*newcomer]);
    let standings: Vec<Standing> = chain.read(&storage::standings_key(CLUSTER)).unwrap();
    let own = standings.iter().find(|standing| standing.worker == *newcomer).unwrap();
    assert_eq!((own.dissent, own.lost), (None, false), "{own:?}");
    assert!(own.confirmed >= record.final_count, "{own:?} of {}", record.final_count);
    let health = told(url, "/v1/health");
    assert_eq!((&health["healthy"], &health["cluster"]["diverged_at"]), (&json!(true), &Value::Null), "{health}");
    record.final_count
}
