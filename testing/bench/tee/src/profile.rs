//! `profile`: where a command's microseconds go. Each part is run by itself, by the functions that the worker calls, on inputs of the
//! same size as in `command`; what is left of the whole is the rest. Parts that share a cache cost less together than apart.
//!
//! `everything` is measured over a few boundaries, among which the store need not write its pages. That happens once in many, and is measured
//! apart: the same commits go on from one writing of pages to the next, of which one writes and the others cost more than the first few, for
//! what they read is in memory less often. Their sum with what a change of epoch costs is what `command` counts, where as many
//! boundaries are measured as one such round has; `command` has a few more or less, and no second store beside it.

use crate::{
    chain::CLUSTER,
    command::{change_of_epoch, EMPTY_BLOCKS},
    machine::TimedFile,
    measure::{repeated, DiskWait, Stopwatch},
    plain,
    scene::{Costs, Scene, EPOCH_LENGTH},
};
use anyhow::Result;
use codec::Encode;
use phala_crypto::{
    envelope::{open_envelope, seal_envelope, Destination},
    signature::sr25519::{verify_all, AccountKey, Claim},
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_light_client::testing::TestRandom;
use phala_protocol::{
    envelope::{EnvelopeKind, SizeClass},
    ContractId,
};
use phala_state::{ClusterStore, Entropy, EntropyError, Options, StorageKey};
use std::{hint::black_box, sync::Mutex, time::Duration};

const COMMANDS: usize = 1_000;

pub fn run(quick: bool) -> Result<()> {
    let (least, boundaries) = if quick { (Duration::from_millis(100), 2) } else { (Duration::from_secs(1), 10) };
    let line = |part: &str, seconds: f64| println!("{part:<64} {:>8.1} us", seconds * 1e6);
    line("open an envelope (X-Wing, HPKE, AES-GCM)", open(least));
    line("check a signature, in a batch of 1,000", signature(least));
    line("run the contract (instance, fuel, calls)", plain::execution(least));
    // A small journal is full soon.
    let journal_bytes = if quick { 4 << 20 } else { Options::default().journal_bytes };
    for accounts in if quick { [1_000, 10_000] } else { [1_000, 1_000_000] } {
        let commits = store(accounts, boundaries, Options { journal_bytes, ..Options::default() });
        line(&format!("commit 3 entries and a record of {accounts}"), commits.processor);
        line(&format!("  and wait for the disk, of {accounts}"), commits.disk);
        let mut scene = Scene::new(1, accounts, (boundaries + 1) * COMMANDS);
        let disk = scene.network.worker().machine.disk.clone();
        scene.boundary(COMMANDS, &mut Costs::new(disk.clone()));
        let mut costs = Costs::new(disk);
        (0..boundaries).for_each(|_| scene.boundary(COMMANDS, &mut costs));
        let (finality, commands) = (costs.finality(scene.empty_block(EMPTY_BLOCKS)), (boundaries * COMMANDS) as f64);
        let everything = (costs.executing.busy() + finality) / commands;
        line(&format!("everything, with {accounts} accounts, {boundaries} boundaries"), everything);
        line("  and of that, finalising", finality / commands);
        let Commits { writing, later, every, .. } = commits;
        line(&format!("writing the pages of {accounts} accounts, per command, once in {every}"), writing);
        line(&format!("  and what the commits between cost more than {boundaries} of them"), later);
        // Each of an epoch's blocks brings a boundary, as in `command`.
        let epoch = change_of_epoch(&mut scene) / f64::from(EPOCH_LENGTH) / COMMANDS as f64;
        line(&format!("its part of a change of epoch, with {accounts} accounts"), epoch);
        line(&format!("together, with {accounts} accounts"), everything + writing + later + epoch);
    }
    Ok(())
}

fn open(least: Duration) -> f64 {
    let key = DecapsulationKey::from_seed(&Secret::new([5; 32]));
    let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
    let destination = Destination { genesis: [1; 32], cluster: CLUSTER, epoch: 1 };
    let size = SizeClass::holding(200).unwrap();
    let (envelope, _) = seal_envelope(&recipient, &destination, EnvelopeKind::Call, size, &[3; 200], &[9; 64]).unwrap();
    repeated(least, || {
        for _ in 0..COMMANDS {
            black_box(open_envelope(&key, &destination, &envelope).unwrap().data.expose());
        }
    }) / COMMANDS as f64
}

fn signature(least: Duration) -> f64 {
    let mut random = TestRandom::new(4);
    let claims: Vec<Claim> = (0..COMMANDS)
        .map(|_| {
            let key = AccountKey::from_mini_secret(&Secret::new(random.bytes())).unwrap();
            let message = random.bytes();
            Claim { public: key.public(), message, signature: key.sign(&message, &[0; 32]) }
        })
        .collect();
    repeated(least, || assert!(verify_all(&claims))) / COMMANDS as f64
}

struct Seeded(Mutex<TestRandom>);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut random = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(32) {
            chunk.copy_from_slice(&random.bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// What commits cost, in seconds a command.
struct Commits {
    /// Of the first that write no pages: processor, and waiting for the disk.
    processor: f64,
    disk: f64,
    /// Of the one that writes pages: what it costs more than the others since the last such one, as a part of each command since then.
    writing: f64,
    /// What the others since then cost more than the first. Below zero when they cost less.
    later: f64,
    /// Commands from one writing to the next.
    every: usize,
}

/// A boundary's commit.
struct Commit {
    watch: Stopwatch,
    /// Bytes that the file was given.
    written: u64,
}

/// Commits so many boundaries that pages are written twice among them, and as many as `first` before, after or between that write none.
fn store(accounts: usize, first: usize, options: Options) -> Commits {
    let folder = tempfile::TempDir::new().unwrap();
    let disk = DiskWait::default();
    let backend = TimedFile::open(&folder.path().join("store.redb"), disk.clone()).unwrap();
    let key = StorageKey::derive(1, &Secret::new([7; 32]), b"measurement");
    let entropy = Box::new(Seeded(Mutex::new(TestRandom::new(2))));
    let store = ClusterStore::open_with_backend(backend, key, entropy, options).unwrap();
    let (contract, mut random) = (ContractId([7; 32]), TestRandom::new(8));
    // As in a worker: a balance and a window of nonces for each account.
    for from in (0..2 * accounts).step_by(20_000) {
        let mut batch = store.begin();
        for number in from..(from + 20_000).min(2 * accounts) {
            batch.set(&contract, &(number as u64, [0; 32]).encode(), vec![1; 16]).unwrap();
        }
        store.commit(batch, Vec::new(), Vec::new()).unwrap();
    }
    let mut commits: Vec<Commit> = Vec::new();
    loop {
        let boundary = commits.len() as u64;
        assert!(boundary < MOST_BOUNDARIES, "the store wrote its pages less than twice in {boundary} boundaries");
        let keys: Vec<_> = (0..3 * COMMANDS).map(|_| (random.below(2 * accounts) as u64, [0u8; 32]).encode()).collect();
        // As in a worker: a reply for each command, and for all of them the leaves that prove them and the list of what to forget.
        let mut records: Vec<_> =
            (0..COMMANDS).map(|number| ((boundary, number as u64, [0u8; 30]).encode(), Some(vec![4; 172]))).collect();
        records.push(((boundary, 0u8).encode(), Some(vec![5; 200 + 32 * COMMANDS])));
        records.push(((boundary, 1u8).encode(), Some(vec![6; 41 * COMMANDS])));
        let (mut watch, written) = (Stopwatch::new(disk.clone()), disk.written());
        watch.time(|| {
            let mut batch = store.begin();
            for key in &keys {
                let _before = batch.get(&contract, key).unwrap();
                batch.set(&contract, key, vec![boundary as u8; 16]).unwrap();
            }
            batch.root().unwrap();
            store.commit(batch, Vec::new(), records).unwrap();
        });
        commits.push(Commit { watch, written: disk.written() - written });
        if let Some(found) = summed(&commits, first) {
            return found;
        }
    }
}

/// Boundaries after which pages must have been written twice.
const MOST_BOUNDARIES: u64 = 1_000;
/// How many times as much as a list of changes a commit writes that writes pages.
const PAGES: u64 = 3;

/// The costs, once pages were written twice and `first` commits wrote none. Which commits wrote pages is told by what the file was given.
fn summed(commits: &[Commit], first: usize) -> Option<Commits> {
    let list = commits.iter().map(|commit| commit.written).min()?;
    let writes_pages = |commit: &Commit| commit.written > PAGES * list;
    let writing: Vec<usize> = (0..commits.len()).filter(|index| writes_pages(&commits[*index])).collect();
    let [.., before, last] = writing.as_slice() else { return None };
    let ordinary: Vec<&Commit> = commits.iter().filter(|commit| !writes_pages(commit)).take(first).collect();
    let between: Vec<&Commit> = commits[before + 1..*last].iter().collect();
    if ordinary.len() < first || between.is_empty() {
        return None;
    }
    let mean = |of: &[&Commit], part: fn(&Stopwatch) -> f64| {
        of.iter().map(|commit| part(&commit.watch)).sum::<f64>() / of.len() as f64
    };
    let (commands, every) = (COMMANDS as f64, (last - before) * COMMANDS);
    let usual = mean(&between, Stopwatch::busy);
    Some(Commits {
        processor: mean(&ordinary, |watch| watch.processor.as_secs_f64()) / commands,
        disk: mean(&ordinary, |watch| watch.waited.as_secs_f64()) / commands,
        writing: (commits[*last].watch.busy() - usual) / every as f64,
        later: (usual - mean(&ordinary, Stopwatch::busy)) / commands,
        every,
    })
}
