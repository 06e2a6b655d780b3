//! The node's disk fails, under the network's own supervisor: files of its database were cut, there is too little room, then none, then its
//! files may not grow. After that nothing that `phala dev` and the relayer write may grow.
//!
//! Each time: a process that ends says why with its own exit code, nothing is ended by a signal, and once the disk is well everything
//! goes on by itself. What was pushed before is executed, and what was final is final.

use crate::full_disk::transfer;
use phala_e2e::{
    processes::{self, is_dead, limit_files, ByHand, Place, Stopped},
    raw_http::{host_of, rpc},
    signal, skipped,
    small_disk::{copy_all, SmallDisk},
    wait_until, Network,
};
use serde_json::{json, Value};
use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

/// How long the network may take to be well again: the longest pause of `phala dev` between two starts, and a slow start.
const WELL_WITHIN: Duration = Duration::from_secs(150);
/// Room of the small file system, and what is left of it when the node has to end: less than a development node keeps.
const SMALL_DISK: u64 = 640 * 1024 * 1024;
const LITTLE_ROOM: u64 = 192 * 1024 * 1024;
/// Less than any file of the node has.
const LITTLE_FILE: &str = "4096";
/// What the supervisor says of a node that ended for the sake of its disk.
const ENDED: &str = "node-0 ended with exit status: 9";

/// The token of worker 0 and the network under it.
struct Story<'a> {
    network: &'a Network,
    token: String,
    /// What was said before this story, which killed nodes of its own.
    before: usize,
}

/// Everything, one thing after the other.
pub fn check(network: &Network, folder: &Path) {
    let token = network.ready["contracts"]["token"].as_str().unwrap().to_owned();
    let small = onto_small_disk(network, folder);
    let mut story = Story { network, token, before: 0 };
    story.goes_on();
    story.before = network.notes().len();
    match &small {
        Ok(small) => story.there_is_no_room(small),
        Err(why) => skipped(&format!("a node's full disk: {why}")),
    }
    story.the_nodes_files_may_not_grow();
    if let Ok(small) = small {
        back_from_small_disk(network, small, folder);
    }
    story.goes_on();
    story.nothing_else_may_grow();
}

impl Story<'_> {
    /// Bob's balance, unless the network cannot tell it now.
    fn balance(&self) -> Option<u128> {
        let answer = self.network.phala(&["contract", "query", &self.token, "balance", "--from", "bob"]);
        answer.json["value"].as_str()?.parse().ok()
    }

    /// One more transfer executes; what bob has now.
    fn goes_on(&self) -> u128 {
        wait_until("the node answers", WELL_WITHIN, || finalised(self.network).is_some());
        wait_until("the worker answers", WELL_WITHIN, || self.balance().is_some());
        let before = self.balance().unwrap();
        transfer(self.network, &self.token, "120").data();
        assert_eq!(self.balance(), Some(before + 1));
        before + 1
    }

    /// What was said since the story began.
    fn said(&self) -> String {
        self.network.notes().split_off(self.before)
    }

    /// How often the node ended for the sake of its disk.
    fn ended(&self) -> usize {
        self.said().matches(ENDED).count()
    }

    fn log(&self) -> String {
        let log = fs::read(self.network.base.join("logs").join("node-0.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// First too little room, then none at all, then enough.
    fn there_is_no_room(&self, small: &SmallDisk) {
        let held = self.goes_on();
        let (height, hash) = finalised(self.network).unwrap();
        let words = ["contract", "call", &self.token, "transfer", r#"["bob", "1"]"#, "--from", "alice"];
        self.network.phala(&words).data();
        small.fill_to(LITTLE_ROOM);
        wait_until("the node ends before its disk is full", WELL_WITHIN, || self.ended() > 0);
        assert!(self.log().contains("error: disk_low: "), "{}", self.log());
        small.fill();
        let ended = self.ended();
        wait_until("the node is not started on a full disk", WELL_WITHIN, || self.ended() > ended);
        small.make_room();
        wait_until("what was pushed before is executed", WELL_WITHIN, || self.balance() == Some(held + 1));
        assert_eq!(hash_of(self.network, height), Some(hash), "what was final is final");
        self.goes_on();
        let said = self.said();
        assert!(!said.contains("node-0 ended with signal"), "{said}");
    }

    /// `RLIMIT_FSIZE`: the database closes, and the node does not go on without it. Its log cannot be written either.
    fn the_nodes_files_may_not_grow(&self) {
        let ended = self.ended();
        let (height, hash) = finalised(self.network).unwrap();
        limit_files(processes::id(&self.network.base, "node-0"), LITTLE_FILE);
        wait_until("the node ends when its database is closed", WELL_WITHIN, || self.ended() > ended);
        self.goes_on();
        assert_eq!(hash_of(self.network, height), Some(hash), "what was final is final");
        let said = self.said();
        assert!(!said.contains("node-0 ended with signal"), "{said}");
    }

    /// The relayer's log is lost, and the list of processes is late; the network goes on.
    fn nothing_else_may_grow(&self) {
        let base = &self.network.base;
        let relayer = processes::id(base, "relayer");
        limit_files(self.network.id(), "1");
        limit_files(relayer, "1");
        self.goes_on();
        assert!(!is_dead(relayer), "the relayer died of a limit");
        // The one that is started in its place has the limit of its parent.
        let before = self.network.notes().matches("relayer ended with").count();
        signal(relayer, "-KILL");
        wait_until("the supervisor says so", WELL_WITHIN, || {
            self.network.notes().matches("relayer ended with").count() > before
        });
        self.goes_on();
        let failing = self.network.notes();
        assert!(failing.contains("cannot write") && failing.contains("trying again"), "{failing}");
        limit_files(self.network.id(), "unlimited");
        wait_until("the list of processes is right again", WELL_WITHIN, || {
            processes::ids(base).get("relayer").is_some_and(|id| *id != relayer && !is_dead(*id))
        });
        limit_files(processes::id(base, "relayer"), "unlimited");
        self.goes_on();
    }
}

/// The newest finalised block's height and hash, if the node answers.
fn finalised(network: &Network) -> Option<(u64, Value)> {
    let node = host_of(network.node());
    let hash = rpc(node, "chain_getFinalizedHead", json!([])).ok()?["result"].clone();
    let header = rpc(node, "chain_getHeader", json!([hash])).ok()?;
    let number = header["result"]["number"].as_str()?.trim_start_matches("0x");
    Some((u64::from_str_radix(number, 16).ok()?, hash))
}

fn hash_of(network: &Network, height: u64) -> Option<Value> {
    Some(rpc(host_of(network.node()), "chain_getBlockHash", json!([height])).ok()?["result"].clone())
}

/// One file of each kind of the database `whole`, cut in the middle of a copy: the node that is started on it ends with an error that names
/// it, and by no signal.
fn cut_files_are_refused(place: &Place, whole: &Path, folder: &Path) {
    for kind in ["table_", "index_"] {
        let copy = folder.join(format!("cut-{kind}"));
        copy_all(whole, &copy);
        let chain = fs::read_dir(copy.join("chains")).unwrap().next().unwrap().unwrap().path();
        let files = fs::read_dir(chain.join("paritydb").join("full")).unwrap().map(|entry| entry.unwrap());
        let file = files
            .filter(|file| file.file_name().to_string_lossy().starts_with(kind))
            .max_by_key(|file| (file.metadata().unwrap().len(), file.file_name()))
            .expect("the database has such a file");
        let half = file.metadata().unwrap().len() / 2 + 1;
        File::options().write(true).open(file.path()).unwrap().set_len(half).unwrap();
        let log = folder.join(format!("cut-{kind}.log"));
        let mut node = ByHand::start(&place.words_with("--base-path", copy.to_str().unwrap()), &log);
        wait_until("the node ends on a file that was cut", WELL_WITHIN, || node.ended().is_some());
        let said = fs::read_to_string(&log).unwrap();
        assert_eq!(node.ended(), Some(9), "{said}");
        let name = file.file_name().to_string_lossy().into_owned();
        assert!(said.contains("error: database_cut: ") && said.contains(&name), "{said}");
        fs::remove_dir_all(&copy).unwrap();
    }
}

/// Puts a small file system under the node, with everything that the node has. On failure the node goes on where it was.
fn onto_small_disk(network: &Network, folder: &Path) -> Result<SmallDisk, String> {
    let (own, aside) = (network.base.join("nodes").join("node-0"), folder.join("before"));
    let supervisor = Stopped::new(network.id());
    let place = Place::take(&supervisor, network, "node-0");
    copy_all(&own, &aside);
    cut_files_are_refused(&place, &aside, folder);
    let small = SmallDisk::mount(&own, SMALL_DISK)?;
    copy_all(&aside, &small.path);
    Ok(small)
}

/// Puts what the node has now where it was, because workers have seen its blocks.
fn back_from_small_disk(network: &Network, small: SmallDisk, folder: &Path) {
    let (own, aside) = (small.path.clone(), folder.join("after"));
    let supervisor = Stopped::new(network.id());
    Place::take(&supervisor, network, "node-0");
    copy_all(&own, &aside);
    drop(small);
    fs::remove_dir_all(&own).expect("nothing is mounted there any more");
    copy_all(&aside, &own);
    drop(supervisor);
}
