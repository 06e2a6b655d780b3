//! One network, and everything that a hostile world does to it: on the real processes, one thing after the other.
//!
//! They share a network because starting one takes longer than most of what is done to it. Each part but the last leaves it as it must be
//! left: working. While commands are looked for in logs every process says all that it could; then the network is started again, and says
//! what it does by itself: a worker that writes down each step of a compiler is several times slower. TEE simulated: INSECURE.

use crate::{full_disk, hostile_contracts, hostile_flood, node_disk, relay_lies, shut_out};
use phala_e2e::{
    alone,
    canary_run::{Canary, CALLER},
    probe,
    redaction::{Redaction, EVERYTHING},
    Network,
};
use std::{path::Path, thread, time::Instant};

/// The public key of [`CALLER`], which a worker's log must not tell.
const CALLER_KEY: &str = "0x90b5ab205c6974c9ea841be688864633dc9ca8a357843eeacf2314649965fe22";

/// Three workers, of which two can be taken apart while a third serves; blocks twice as fast as usual, because most is waiting for them.
const SHAPE: [&str; 5] = ["--fresh", "--workers", "3", "--block-milliseconds", "500"];
/// Whose logs are read.
const TEES: [&str; 4] = ["gatekeeper", "worker-0", "worker-1", "worker-2"];

/// Every process that starts meanwhile logs everything; those of later tests do not.
struct LogEverything;

impl LogEverything {
    fn begin() -> Self {
        std::env::set_var("PHALA_LOG", EVERYTHING);
        Self
    }
}

impl Drop for LogEverything {
    fn drop(&mut self) {
        std::env::remove_var("PHALA_LOG");
    }
}

#[test]
fn a_network_holds_in_a_hostile_world() {
    let _turn = alone();
    let everything = LogEverything::begin();
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let said = |what: &str| println!("{:>7.1} s  {what}", begun.elapsed().as_secs_f64());
    let (network, wasm) = thread::scope(|scope| {
        let wasm = scope.spawn(|| probe::build(&folder.path().join("contracts")));
        (Network::start(&folder.path().join("network"), &SHAPE), wasm.join().unwrap())
    });
    said("the network is usable");

    let canary = Canary::run(&network, &wasm, folder.path());
    println!("{}", canary.search);
    assert_eq!(canary.faults(), Vec::<String>::new());
    said("no trace of what was said");
    logs_tell_nothing(&network, &canary);
    said("logs tell nothing");
    hostile_flood::two_commands_leave_the_same_traces(&network, &canary);
    said("two commands leave the same traces");

    let lies = relay_lies::check(&network, &canary.tapped);
    said(&format!("the worker was told {lies} lies"));
    drop(canary.tapped);

    hostile_flood::check(&network);
    said("floods are borne");

    let token = network.ready["contracts"]["token"].clone();
    assert_eq!(network.stop(), Some(0));
    drop(everything);
    let network = Network::start(&folder.path().join("network"), &[]);
    assert_eq!(network.ready["contracts"]["token"], token);
    said("the network goes on, and logs what it does by itself");
    full_disk::check(&network, &folder.path().join("disks"), || {
        hostile_contracts::check(&network, &canary.contract, &wasm, folder.path());
        said("whatever a contract does ends as its own error");
    });
    said("failing disks of workers and gatekeeper are survived");
    node_disk::check(&network, &folder.path().join("node-disk"));
    said("failing disks of node, relayer and supervisor are survived");

    let status = network.phala(&["status"]).data();
    assert_eq!(status["silent"].as_array().unwrap().len(), 0, "{status}");
    assert!(status["clusters"].as_array().unwrap().iter().all(|cluster| cluster["queue"] == 0), "{status}");

    shut_out::check(&network);
    said("a machine that is revoked is left behind");
    assert_eq!(network.stop(), Some(0));
}

/// What workers and gatekeeper log at the finest level names no text of a command, no caller, and no bytes that could be a secret.
fn logs_tell_nothing(network: &Network, canary: &Canary) {
    let key = phala_e2e::canary::from_hex(CALLER_KEY).unwrap();
    let address = network.phala(&["account", "balance", CALLER]).data();
    let address = address["address"].as_str().unwrap().as_bytes().to_vec();
    let mut secrets: Vec<Vec<u8>> = canary.markers.iter().map(|marker| marker.clone().into_bytes()).collect();
    secrets.extend([key, address, canary_contract(canary)]);
    for machine in TEES {
        secrets.push(std::fs::read(network.base.join("tee").join(machine).join("keys").join("sealing")).unwrap());
    }
    let texts: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
    let rules = Redaction::of(&texts);
    for machine in TEES {
        let log = std::fs::read_to_string(log(&network.base, machine)).unwrap();
        assert!(log.lines().count() >= 4, "{machine} logs what it does");
        for (number, line) in log.lines().enumerate() {
            let fault = rules.fault(line);
            assert_eq!(fault, None, "line {number} of the log of {machine}: {line}");
        }
        println!("{machine}: {} lines say nothing that they must not", log.lines().count());
    }
}

/// Which contract was called is inside the envelope too.
fn canary_contract(canary: &Canary) -> Vec<u8> {
    phala_e2e::canary::from_hex(&canary.contract).unwrap()
}

fn log(base: &Path, machine: &str) -> std::path::PathBuf {
    base.join("logs").join(format!("{machine}.log"))
}
