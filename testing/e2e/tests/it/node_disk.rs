//! The node's disk fails: its files may not grow, then its file system is full. What was final stays final, and the chain goes on.
//!
//! A chain database that cannot write ends its node, or stops it in its place; its end or its log says why. It is the network's only
//! node, so that nothing goes on meanwhile: it is started again on the same files, as `phala dev` or an operator does.

use phala_e2e::{
    processes::{self, is_dead, limit_files, ByHand, Stopped},
    raw_http::{host_of, rpc},
    signal, skipped,
    small_disk::{copy_all, SmallDisk},
    wait_until, Network,
};
use serde_json::{json, Value};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a node may take to be there again: it compiles its runtime first.
const THERE_WITHIN: Duration = Duration::from_secs(120);
/// How long a node may take to notice that it cannot write: most of what it writes goes into room that its files have.
const FAILS_WITHIN: Duration = Duration::from_secs(90);
/// A chain that has not grown for so long stands, with blocks of half a second.
const STANDS: Duration = Duration::from_secs(8);
/// Room of the small file system beyond what the node's files take.
const SPARE: u64 = 512 * 1024;
/// What a node says when it cannot write, or the system for it.
const REASONS: [&str; 3] = ["No space left on device", "os error 28", "StorageFull"];

/// The network's chain, as one who asks its node.
struct Chain<'a> {
    network: &'a Network,
    token: &'a str,
}

/// A block: number and hash.
type Block = (u64, Value);

impl Chain<'_> {
    fn call(&self, method: &str, parameters: Value) -> Option<Value> {
        Some(rpc(host_of(self.network.node()), method, parameters).ok()?["result"].clone())
    }

    /// The newest finalised block; none while the node does not answer.
    fn finalised(&self) -> Option<Block> {
        let hash = self.call("chain_getFinalizedHead", json!([]))?;
        let header = self.call("chain_getHeader", json!([hash]))?;
        let number = header["number"].as_str()?.trim_start_matches("0x").to_owned();
        Some((u64::from_str_radix(&number, 16).ok()?, hash))
    }

    fn balance(&self) -> u128 {
        let answer = self.network.phala(&["contract", "query", self.token, "balance", "--from", "dave"]).data();
        answer["value"].as_str().unwrap().parse().unwrap()
    }

    /// The node is there, what was final is final, and a transfer is executed, which makes `balance`.
    fn goes_on(&self, (height, hash): &Block, balance: u128) -> Block {
        wait_until("the chain goes on", THERE_WITHIN, || self.finalised().is_some_and(|(now, _)| now > *height));
        assert_eq!(self.call("chain_getBlockHash", json!([height])).as_ref(), Some(hash), "what was final is final");
        let words = ["contract", "call", self.token, "transfer", r#"["dave", "1"]"#, "--from", "alice", "--wait"];
        self.network.phala(&words).data();
        assert_eq!(self.balance(), balance);
        self.finalised().unwrap()
    }

    /// Waits until the node has ended, or makes no blocks any more.
    fn fails(&self, mut ended: impl FnMut() -> bool) {
        let begun = Instant::now();
        let (mut height, mut since) = (0, Instant::now());
        while !ended() && since.elapsed() < STANDS {
            assert!(begun.elapsed() < FAILS_WITHIN, "the node goes on without a disk");
            let now = self.finalised().map_or(0, |(number, _)| number);
            if now > height {
                (height, since) = (now, Instant::now());
            }
        }
    }
}

pub fn check(network: &Network, folder: &Path) {
    let chain = Chain { network, token: network.ready["contracts"]["token"].as_str().unwrap() };
    fs::create_dir_all(folder).unwrap();
    let (last, balance) = (chain.finalised().unwrap(), chain.balance());
    let supervisor = Stopped::new(network.id());
    let id = processes::id(&network.base, "node-0");
    let words = processes::arguments(id);
    let data = PathBuf::from(processes::argument(&words, "--base-path"));

    // Its files may not grow. By default the kernel ends a process that goes on writing; `phala dev` says so, and starts it again.
    limit_files(id, "0");
    chain.fails(|| is_dead(id));
    println!("without growing files, the node {}", if is_dead(id) { "ends" } else { "stands" });
    signal(id, "-KILL");
    wait_until("the node is dead", THERE_WITHIN, || is_dead(id));

    let (last, balance) = match SmallDisk::mount(&folder.join("small"), used(&data) + SPARE) {
        Ok(small) => (its_disk_is_full(&chain, &words, &data, &small, &last, balance + 1), balance + 1),
        Err(why) => {
            skipped(&format!("a node's full disk: {why}"));
            (last, balance)
        }
    };
    drop(supervisor);
    chain.goes_on(&last, balance + 1);
    assert!(network.notes().contains("node-0 ended with "), "phala dev says what ended: {}", network.notes());
}

/// The node on a copy of its files, on `small`, which is then full. In the end its files are where they were. Returns the last block
/// that it had made final.
fn its_disk_is_full(
    chain: &Chain<'_>,
    words: &[String],
    data: &Path,
    small: &SmallDisk,
    last: &Block,
    balance: u128,
) -> Block {
    copy_all(data, &small.path);
    let mut words = words.to_vec();
    let place = words.iter().position(|word| word == "--base-path").unwrap();
    words[place + 1] = small.path.to_str().unwrap().to_owned();
    // Not on the small disk: what it says must not be lost.
    let log = small.path.with_extension("log");
    let mut node = ByHand::start(&words, &log);
    let last = chain.goes_on(last, balance);
    small.fill();
    chain.fails(|| node.ended().is_some());
    let (ended, said) = (node.ended(), fs::read_to_string(&log).unwrap_or_default());
    println!("on a full disk, the node {}", ended.map_or("stands".to_owned(), |code| format!("ends with {code}")));
    // A write to a mapped file has no other way to fail than a signal.
    assert!(ended == Some(-1) || REASONS.iter().any(|reason| said.contains(reason)), "{said}");
    small.make_room();
    if ended.is_none() {
        let _ = node.end();
    }
    drop(node);
    fs::remove_dir_all(data).unwrap();
    copy_all(&small.path, data);
    last
}

/// Bytes that the files below a folder take on the disk.
fn used(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => used(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
