//! The worker's disk fails: no file may grow, the file system is full, the log cannot be written, files are cut, emptied and put back.
//!
//! The worker is the real process; `phala dev` is stopped meanwhile, so that it is this test that starts it again, on copies of its
//! disk. Each time: a typed error and no death, and once the disk is well the worker goes on from the same state.

use phala_e2e::{
    phala,
    processes::{self, ByHand, Place},
    raw_http::{ask, host_of},
    signal, wait_until, Network,
};
use serde_json::Value;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How long the worker may take to be well again.
const WELL_WITHIN: Duration = Duration::from_secs(120);
/// Enough for a log and not for a store.
const LITTLE_FILE: &str = "65536:";
/// Room of the small file system: for the store as it is, and not much more.
const SMALL_DISK: &str = "size=1536k";

/// A worker in the place of the network's own, on a disk that the test controls.
struct Disk<'a> {
    network: &'a Network,
    token: &'a str,
    place: Place,
    /// Where the copies are.
    folder: PathBuf,
    url: String,
}

impl Disk<'_> {
    fn start(&self, data: &Path, log: &str) -> ByHand {
        ByHand::start(&self.words(data), &self.folder.join(log))
    }

    fn words(&self, data: &Path) -> Vec<String> {
        let mut words = self.place.arguments.clone();
        let at = words.iter().position(|word| word == "--data").unwrap();
        words[at + 1] = data.to_str().unwrap().to_owned();
        words
    }

    fn health(&self) -> Value {
        ask(host_of(&self.url), "GET", "/v1/health", &[]).map_or(Value::Null, |answer| answer.json())
    }

    fn wait_until_well(&self) {
        wait_until("the worker is well", WELL_WITHIN, || self.health()["healthy"] == true);
    }

    fn call(&self, timeout: &str) -> phala_e2e::Run {
        let arguments = [
            "contract",
            "call",
            self.token,
            "transfer",
            r#"["bob", "1"]"#,
            "--from",
            "alice",
            "--wait",
            "--timeout",
            timeout,
        ];
        phala(&self.network.base, &arguments)
    }

    fn balance(&self) -> u128 {
        let answer = phala(&self.network.base, &["contract", "query", self.token, "balance", "--from", "bob"]).data();
        answer["value"].as_str().unwrap().parse().unwrap()
    }

    /// One more transfer executes; what bob has now.
    fn goes_on(&self) -> u128 {
        self.wait_until_well();
        let before = self.balance();
        self.call("60").data();
        assert_eq!(self.balance(), before + 1);
        before + 1
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn file_of(folder: &Path, ending: &str) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    files.find(|path| path.to_str().is_some_and(|path| path.ends_with(ending))).unwrap()
}

pub fn check(network: &Network, folder: &Path) {
    let token = network.ready["contracts"]["token"].as_str().unwrap();
    let url = network.ready["workers"][0].as_str().unwrap().to_owned();
    let place = Place::take(network, "worker-0");
    let own = PathBuf::from(processes::argument(&place.arguments, "--data"));
    let disk = Disk { network, token, place, folder: folder.to_owned(), url };

    let first = folder.join("first");
    copy(&own, &first);
    a_file_may_not_grow(&disk, &first);
    the_log_cannot_be_written(&disk, &first);
    let before = folder.join("before");
    copy(&first, &before);
    a_disk_is_full(&disk, &first);
    let balance = files_are_rewound_emptied_and_cut(&disk, &first, &before);

    // The network's own disk is the oldest copy of all: what happened meanwhile is caught up from the chain.
    drop(disk);
    let url = network.ready["workers"][0].as_str().unwrap();
    wait_until("the network's own worker is well", WELL_WITHIN, || {
        ask(host_of(url), "GET", "/v1/health", &[]).is_ok_and(|answer| answer.status == 200)
    });
    let answer = network.phala(&["contract", "query", token, "balance", "--from", "bob"]).data();
    assert_eq!(answer["value"], balance.to_string());
}

/// `RLIMIT_FSIZE` of less than the store has: its writes fail with "file too large". By default the kernel would kill.
fn a_file_may_not_grow(disk: &Disk<'_>, data: &Path) {
    let mut worker = disk.start(data, "limited.log");
    let now = disk.goes_on();
    limit(worker.id(), LITTLE_FILE);
    let failed = disk.call("6");
    assert_eq!((failed.code, &failed.json["error"]["code"]), (Some(6), &Value::from("timeout")), "{}", failed.text);
    assert_eq!(worker.ended(), None, "the worker died of a limit: {}", disk.log("limited.log"));
    assert_eq!(disk.health()["healthy"], false, "it says that it does not serve");
    limit(worker.id(), "unlimited:");
    disk.wait_until_well();
    wait_until("what waited was executed", WELL_WITHIN, || disk.balance() == now + 1);
    disk.goes_on();
    assert_eq!(worker.ended(), None);
    assert_eq!(worker.end(), Some(0));
    let log = disk.log("limited.log");
    assert!(log.contains("size limit"), "{log}");
}

/// A log on a full device: lines are lost, and nothing else.
fn the_log_cannot_be_written(disk: &Disk<'_>, data: &Path) {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let mut worker = ByHand::start_into(&disk.words(data), full(), full(), Path::new("/dev/full"));
    disk.goes_on();
    assert_eq!(worker.ended(), None);
    assert_eq!(worker.end(), Some(0));
}

/// A file system without room. Needs root, to mount one.
fn a_disk_is_full(disk: &Disk<'_>, data: &Path) {
    let small = disk.folder.join("small");
    fs::create_dir_all(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"]).arg(&small).output();
    if !mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
        println!("SKIPPED: a full disk: cannot mount a small file system here, which needs root: {mounted:?}");
        return;
    }
    let _unmount = Unmount(small.clone());
    // With holes where nothing was written: they are what there is no room for.
    let copied = Command::new("cp").args(["-r", "--sparse=always"]).arg(data.join(".")).arg(&small).status();
    assert!(copied.is_ok_and(|copied| copied.success()));
    let mut worker = disk.start(&small, "full.log");
    let now = disk.goes_on();
    // The rest of the room; the last byte of it is found by asking for more.
    let ballast = small.join("ballast");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096"])
        .arg(format!("of={}", ballast.display()))
        .stderr(Stdio::null())
        .status();
    // The store has pages of its own to use up first.
    let mut sent = 0;
    while sent < 10 && disk.health()["healthy"] == true {
        let _ = disk.call("4");
        sent += 1;
    }
    assert_eq!(worker.ended(), None, "the worker died of a full disk: {}", disk.log("full.log"));
    let log = disk.log("full.log");
    assert!(log.contains("the disk is full"), "after {sent} commands: {log}");
    fs::remove_file(&ballast).unwrap();
    wait_until("what waited was executed", WELL_WITHIN, || {
        disk.health()["healthy"] == true && disk.balance() == now + sent
    });
    disk.goes_on();
    assert_eq!(worker.end(), Some(0));
    copy(&small, data);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Returns what bob has in the end.
fn files_are_rewound_emptied_and_cut(disk: &Disk<'_>, now: &Path, before: &Path) -> u128 {
    let expected = {
        let mut worker = disk.start(now, "now.log");
        let balance = disk.goes_on();
        assert_eq!(worker.end(), Some(0));
        balance
    };
    let store = file_of(before, ".store");
    let length = fs::metadata(&store).unwrap().len();
    let cut = |to: u64| {
        let data = disk.folder.join(format!("cut-{to}"));
        copy(before, &data);
        File::options().write(true).open(file_of(&data, ".store")).unwrap().set_len(to).unwrap();
        data
    };

    // An earlier copy, as a host that wants to undo something would put back: the chain knows better.
    let mut worker = disk.start(before, "rewound.log");
    disk.wait_until_well();
    wait_until("a rewound disk is caught up", WELL_WITHIN, || disk.balance() == expected);
    assert_eq!(worker.end(), Some(0));

    // Nothing: the same, from the first command on.
    let mut worker = disk.start(&cut(0), "emptied.log");
    disk.wait_until_well();
    wait_until("an emptied disk is caught up", WELL_WITHIN, || disk.balance() == expected);
    assert_eq!(worker.end(), Some(0));

    // Half: the worker says what is wrong, serves nothing from it, and lives; unless the file still holds all that it needs, for a
    // store grows in steps and its end may be unused. Whatever it then serves is right.
    let half = cut(length / 2);
    let mut worker = disk.start(&half, "cut.log");
    let damaged = || disk.log("cut.log").contains("damaged");
    let whole = || disk.health()["healthy"] == true && disk.balance() == expected;
    wait_until("a cut file is refused or was whole", WELL_WITHIN, || damaged() || whole());
    assert_eq!(worker.ended(), None);
    assert!(!damaged() || disk.health()["healthy"] == false, "nothing is served from a damaged file");
    assert_eq!(worker.end(), Some(0));
    // What its words say to do: without the file, it starts from what the chain has.
    fs::remove_file(file_of(&half, ".store")).unwrap();
    let mut worker = disk.start(&half, "mended.log");
    disk.wait_until_well();
    wait_until("a mended disk is caught up", WELL_WITHIN, || disk.balance() == expected);
    assert_eq!(worker.end(), Some(0));

    // A sealed identity that was cut or altered: refused at the start, with what to look at, and nothing new is made in its place.
    for (name, change) in [("emptied", 0), ("cut", 60)] {
        let data = disk.folder.join(format!("identity-{name}"));
        copy(before, &data);
        let sealed = file_of(&data, ".sealed");
        File::options().write(true).open(&sealed).unwrap().set_len(change).unwrap();
        let log = format!("identity-{name}.log");
        let mut worker = disk.start(&data, &log);
        wait_until("a damaged identity is refused", WELL_WITHIN, || worker.ended().is_some());
        assert_eq!(worker.ended(), Some(1));
        assert!(
            disk.log(&log).contains("sealed data could not be written or read; check the disk"),
            "{}",
            disk.log(&log)
        );
        assert_eq!(fs::metadata(&sealed).unwrap().len(), change, "it was left as it was");
    }
    let mut worker = disk.start(now, "last.log");
    disk.wait_until_well();
    assert_eq!(disk.balance(), expected);
    signal(worker.id(), "-TERM");
    wait_until("it ends", Duration::from_secs(15), || worker.ended() == Some(0));
    expected
}

fn limit(process: u32, size: &str) {
    let done = Command::new("prlimit").args(["--pid", &process.to_string(), &format!("--fsize={size}")]).status();
    assert!(done.is_ok_and(|done| done.success()), "prlimit of util-linux is needed");
}
