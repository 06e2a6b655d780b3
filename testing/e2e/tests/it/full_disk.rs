//! The worker's disk fails: no file may grow, the file system is full, the log cannot be written, files are cut, emptied and put back.
//! Its clock is wrong.
//!
//! Workers are the real processes; `phala dev` is stopped meanwhile, so that it is this test that starts them again, on copies of their
//! disks. Each time: a typed error and no death, and once the disk is well the worker goes on from the same state.

use crate::gatekeeper_disk::Gatekeeper;
use phala_e2e::{
    binary,
    clock::Clock,
    processes::{self, limit_files, ByHand, Place, Stopped},
    raw_http::{ask, host_of},
    skipped,
    small_disk::{copy_all, SmallDisk},
    wait_until, Network,
};
use serde_json::Value;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

/// How long the worker may take to be well again.
const WELL_WITHIN: Duration = Duration::from_secs(120);
/// How long, in seconds, a command is waited for whose worker cannot answer: long enough for inclusion, in which the worker has no part.
/// A block takes half a second here, and nothing rests on its being there in time: it is looked for once the disk is well.
const UNANSWERED: &str = "12";
/// Enough for a log and not for a store.
const LITTLE_FILE: &str = "65536";
/// Seconds of more than a year.
const YEAR: i64 = 400 * 86_400;
/// Room of the small file system: for the store as it is, and not much more.
const SMALL_DISK: u64 = 1536 * 1024;

/// A worker in the place of the network's own, on a disk that the test controls.
struct Disk<'a> {
    network: &'a Network,
    /// The token of the worker's cluster.
    token: String,
    place: Place,
    /// Where the copies are.
    folder: PathBuf,
    /// What the worker itself left when it was killed.
    own: PathBuf,
    url: String,
}

impl<'a> Disk<'a> {
    fn take(supervisor: &Stopped, network: &'a Network, worker: usize, token: String, folder: PathBuf) -> Self {
        let url = network.ready["workers"][worker].as_str().unwrap().to_owned();
        let place = Place::take(supervisor, network, &format!("worker-{worker}"));
        let own = PathBuf::from(processes::argument(&place.arguments, "--data"));
        fs::create_dir_all(&folder).unwrap();
        Self { network, token, place, folder, own, url }
    }

    fn start(&self, data: &Path, log: &str) -> ByHand {
        ByHand::start(&self.words(data), &self.folder.join(log))
    }

    fn words(&self, data: &Path) -> Vec<String> {
        self.place.words_with("--data", data.to_str().unwrap())
    }

    fn health(&self) -> Value {
        health(&self.url)
    }

    fn wait_until_well(&self) {
        wait_until("the worker is well", WELL_WITHIN, || self.health()["healthy"] == true);
    }

    fn call(&self, timeout: &str) -> phala_e2e::Run {
        transfer(self.network, &self.token, timeout)
    }

    fn balance(&self) -> u128 {
        balance(self.network, &self.token)
    }

    /// One more transfer executes; what bob has now.
    fn goes_on(&self) -> u128 {
        self.wait_until_well();
        let before = self.balance();
        self.call("120").data();
        assert_eq!(self.balance(), before + 1);
        before + 1
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

fn health(url: &str) -> Value {
    ask(host_of(url), "GET", "/v1/health", &[]).map_or(Value::Null, |answer| answer.json())
}

/// One transfer to bob; waits for its reply.
pub fn transfer(network: &Network, token: &str, timeout: &str) -> phala_e2e::Run {
    let words =
        ["contract", "call", token, "transfer", r#"["bob", "1"]"#, "--from", "alice", "--wait", "--timeout", timeout];
    network.phala(&words)
}

fn balance(network: &Network, token: &str) -> u128 {
    let answer = network.phala(&["contract", "query", token, "balance", "--from", "bob"]).data();
    answer["value"].as_str().unwrap().parse().unwrap()
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

/// Two workers at once: one whose writes fail, one whose files are not what it wrote. The gatekeeper that they ask for keys can write nothing
/// either. Meanwhile a third worker has `beside` to do.
pub fn check(network: &Network, folder: &Path, beside: impl FnOnce() + Send) {
    let tokens = [1, 2].map(|cluster| token_on(network, cluster));
    thread::scope(|scope| {
        scope.spawn(beside);
        let supervisor = Stopped::new(network.id());
        let gatekeeper = Gatekeeper::take(&supervisor, network, &folder.join("gatekeeper"));
        let [first, second] = tokens.clone();
        let failing = Disk::take(&supervisor, network, 1, first, folder.join("failing"));
        let altered = Disk::take(&supervisor, network, 2, second, folder.join("altered"));
        let failing = scope.spawn(move || {
            let data = failing.folder.join("data");
            copy(&failing.own, &data);
            a_file_may_not_grow(&failing, &data);
            let before = the_log_cannot_be_written(&failing, &data);
            a_disk_is_full(&failing, &data).unwrap_or(before)
        });
        let altered = scope.spawn(move || files_are_rewound_emptied_and_cut(&altered));
        let expected = [failing.join(), altered.join()].map(Result::unwrap);
        gatekeeper.check();
        // The network's own disks are the oldest copies of all: what happened meanwhile is caught up from the chain.
        drop(supervisor);
        for ((worker, token), expected) in [1_usize, 2].into_iter().zip(&tokens).zip(expected) {
            let url = network.ready["workers"][worker].as_str().unwrap();
            wait_until("the network's own worker is well", WELL_WITHIN, || {
                ask(host_of(url), "GET", "/v1/health", &[]).is_ok_and(|answer| answer.status == 200)
            });
            assert_eq!(balance(network, token), expected);
        }
    });
}

/// Another token, on `cluster`.
fn token_on(network: &Network, cluster: usize) -> String {
    let (wasm, cluster) = (binary("token.wasm"), cluster.to_string());
    let words = ["contract", "deploy", wasm.to_str().unwrap(), "1000000", "--from", "alice", "--cluster", &cluster];
    let deployed = network.phala(&words).data();
    deployed["contract"].as_str().unwrap().to_owned()
}

/// `RLIMIT_FSIZE` of less than the store has: its writes fail with "file too large". By default the kernel would kill.
fn a_file_may_not_grow(disk: &Disk<'_>, data: &Path) {
    let mut worker = disk.start(data, "limited.log");
    let now = disk.goes_on();
    limit_files(worker.id(), LITTLE_FILE);
    let failed = disk.call(UNANSWERED);
    assert_eq!((failed.code, &failed.json["error"]["code"]), (Some(6), &Value::from("timeout")), "{}", failed.text);
    assert_eq!(worker.ended(), None, "the worker died of a limit: {}", disk.log("limited.log"));
    wait_until("it says that it does not serve", WELL_WITHIN, || disk.health()["healthy"] == false);
    limit_files(worker.id(), "unlimited");
    disk.wait_until_well();
    wait_until("what waited was executed", WELL_WITHIN, || disk.balance() == now + 1);
    disk.goes_on();
    assert_eq!(worker.ended(), None);
    assert_eq!(worker.end(), Some(0));
    let log = disk.log("limited.log");
    assert!(log.contains("size limit"), "{log}");
}

/// A log on a full device: lines are lost, and nothing else. What bob has at the end.
fn the_log_cannot_be_written(disk: &Disk<'_>, data: &Path) -> u128 {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let mut worker = ByHand::start_into(&disk.words(data), full(), full(), Path::new("/dev/full"));
    let held = disk.goes_on();
    assert_eq!(worker.ended(), None);
    assert_eq!(worker.end(), Some(0));
    held
}

/// A file system without room. Needs root, to mount one. What bob has at the end.
fn a_disk_is_full(disk: &Disk<'_>, data: &Path) -> Option<u128> {
    let small = match SmallDisk::mount(&disk.folder.join("small"), SMALL_DISK) {
        Ok(small) => small,
        Err(why) => {
            skipped(&format!("a worker's full disk: {why}"));
            return None;
        }
    };
    copy_all(data, &small.path);
    let mut worker = disk.start(&small.path, "full.log");
    let now = disk.goes_on();
    small.fill();
    let is_full = || disk.log("full.log").contains("the disk is full");
    let sent = thread::scope(|scope| {
        let mut sent = 0;
        // The store has pages of its own to use up first.
        while sent < 10 && !is_full() {
            // Who has no reply by then may have one once there is room.
            let call = scope.spawn(|| disk.call(UNANSWERED));
            sent += 1;
            wait_until("a reply, or a full disk", WELL_WITHIN, || call.is_finished() || is_full());
        }
        assert_eq!(worker.ended(), None, "the worker died of a full disk: {}", disk.log("full.log"));
        assert!(is_full(), "after {sent} commands: {}", disk.log("full.log"));
        wait_until("it says that it does not serve", WELL_WITHIN, || disk.health()["healthy"] == false);
        small.make_room();
        sent
    });
    wait_until("what waited was executed", WELL_WITHIN, || {
        disk.health()["healthy"] == true && disk.balance() == now + sent
    });
    let held = disk.goes_on();
    assert_eq!(worker.end(), Some(0));
    copy(&small.path, data);
    Some(held)
}

/// Returns what bob has in the end.
fn files_are_rewound_emptied_and_cut(disk: &Disk<'_>) -> u128 {
    let (now, before) = (&disk.folder.join("now"), &disk.folder.join("before"));
    let run = |data: &Path, log: &str, until: &dyn Fn() -> u128| {
        let mut worker = disk.start(data, log);
        let balance = until();
        assert_eq!(worker.end(), Some(0), "{}", disk.log(log));
        balance
    };
    copy(&disk.own, now);
    run(now, "before.log", &|| disk.goes_on());
    copy(now, before);
    let expected = run(now, "now.log", &|| disk.goes_on());
    // Files as they were before, with one thing done to them.
    let altered = |name: &str, change: &dyn Fn(&Path)| {
        let data = disk.folder.join(name);
        copy(before, &data);
        change(&data);
        data
    };
    let cut = |path: &Path, to: u64| {
        let file = File::options().write(true).open(path).unwrap();
        assert!(file.metadata().unwrap().len() > to, "{} is longer", path.display());
        file.set_len(to).unwrap();
    };
    let caught_up = || {
        disk.wait_until_well();
        wait_until("the disk is caught up", WELL_WITHIN, || disk.balance() == expected);
        expected
    };

    // An earlier copy, as a host that wants to undo something would put back: the chain knows better.
    run(&altered("rewound", &|_| {}), "rewound.log", &caught_up);
    // Nothing: the same, from the first command on.
    run(&altered("emptied", &|data| cut(&file_of(data, ".store"), 0)), "emptied.log", &caught_up);

    // Half: the worker says what is wrong, serves nothing from it, and lives.
    let half = altered("half", &|data| {
        let store = file_of(data, ".store");
        cut(&store, fs::metadata(&store).unwrap().len() / 2);
    });
    let mut worker = disk.start(&half, "half.log");
    wait_until("a cut file is refused as damaged", WELL_WITHIN, || disk.log("half.log").contains("file is damaged"));
    assert_eq!(worker.ended(), None);
    assert_eq!(disk.health()["healthy"], false, "nothing is served from a damaged file");
    assert_eq!(worker.end(), Some(0));
    // What its words say to do: without the file, it starts from what the chain has.
    fs::remove_file(file_of(&half, ".store")).unwrap();
    run(&half, "mended.log", &caught_up);

    // A sealed identity that was cut or altered: refused at the start, with what to look at, and nothing new is made in its place.
    for (name, length) in [("no-identity", 0), ("half-an-identity", 60)] {
        let data = altered(name, &|data| cut(&file_of(data, ".sealed"), length));
        let log = format!("{name}.log");
        let mut worker = disk.start(&data, &log);
        wait_until("a damaged identity is refused", WELL_WITHIN, || worker.ended().is_some());
        assert_eq!(worker.ended(), Some(1));
        let said = disk.log(&log);
        assert!(said.contains("sealed data could not be written or read; check the disk"), "{said}");
        assert_eq!(fs::metadata(file_of(&data, ".sealed")).unwrap().len(), length, "it was left as it was");
    }
    the_clock_is_wrong(disk, now, expected)
}

/// A worker's clock is its host's: it starts more than a year ahead, and is set back by two while it runs. Nothing rests on it.
fn the_clock_is_wrong(disk: &Disk<'_>, data: &Path, expected: u128) -> u128 {
    let clock = Clock::new(&disk.folder);
    clock.set(YEAR);
    let log = disk.folder.join("clock.log");
    let mut worker = ByHand::start_in(&disk.words(data), &clock.variables(), &log);
    disk.wait_until_well();
    assert_eq!(disk.balance(), expected);
    clock.set(-YEAR);
    assert_eq!(disk.goes_on(), expected + 1);
    assert_eq!(worker.ended(), None);
    assert_eq!(worker.end(), Some(0));
    expected + 1
}
