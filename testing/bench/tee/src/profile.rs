//! `profile`: where a command's microseconds go. Each part is run by itself, by the functions that the worker calls, on inputs of the
//! same size as in `command`; what is left of the whole is the rest. Parts that share a cache cost less together than apart.

use crate::{
    chain::CLUSTER,
    machine::TimedFile,
    measure::{repeated, DiskWait, Stopwatch},
    plain,
    scene::Scene,
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
    let line = |part: &str, seconds: f64| println!("{part:<44} {:>8.1} us", seconds * 1e6);
    line("open an envelope (X-Wing, HPKE, AES-GCM)", open(least));
    line("check a signature, in a batch of 1,000", signature(least));
    line("run the contract (instance, fuel, calls)", plain::execution(least));
    for accounts in if quick { [1_000, 10_000] } else { [1_000, 1_000_000] } {
        let (processor, disk) = store(accounts, boundaries);
        line(&format!("commit 3 entries and a record of {accounts}"), processor);
        line(&format!("  and wait for the disk, of {accounts}"), disk);
        let mut scene = Scene::new(1, accounts, (boundaries + 1) * COMMANDS);
        let disk = scene.network.worker().machine.disk.clone();
        scene.boundary(COMMANDS, &mut Stopwatch::new(disk.clone()));
        let mut watch = Stopwatch::new(disk);
        (0..boundaries).for_each(|_| scene.boundary(COMMANDS, &mut watch));
        line(&format!("everything, with {accounts} accounts"), watch.busy() / (boundaries * COMMANDS) as f64);
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

/// Seconds a command of processor, and of waiting for the disk.
fn store(accounts: usize, boundaries: usize) -> (f64, f64) {
    let folder = tempfile::TempDir::new().unwrap();
    let disk = DiskWait::default();
    let backend = TimedFile::open(&folder.path().join("store.redb"), disk.clone()).unwrap();
    let key = StorageKey::derive(1, &Secret::new([7; 32]), b"measurement");
    let entropy = Box::new(Seeded(Mutex::new(TestRandom::new(2))));
    let store = ClusterStore::open_with_backend(backend, key, entropy, Options::default()).unwrap();
    let (contract, mut random) = (ContractId([7; 32]), TestRandom::new(8));
    // As in a worker: a balance and a window of nonces for each account.
    for from in (0..2 * accounts).step_by(20_000) {
        let mut batch = store.begin();
        for number in from..(from + 20_000).min(2 * accounts) {
            batch.set(&contract, &(number as u64, [0; 32]).encode(), vec![1; 16]).unwrap();
        }
        store.commit(batch, Vec::new(), Vec::new()).unwrap();
    }
    let mut watch = Stopwatch::new(disk);
    for boundary in 0..boundaries {
        let keys: Vec<_> = (0..3 * COMMANDS).map(|_| (random.below(2 * accounts) as u64, [0u8; 32]).encode()).collect();
        // As in a worker: a reply for each command, and for all of them the leaves that prove them and the list of what to forget.
        let mut records: Vec<_> = (0..COMMANDS)
            .map(|number| ((boundary as u64, number as u64, [0u8; 30]).encode(), Some(vec![4; 172])))
            .collect();
        records.push(((boundary as u64, 0u8).encode(), Some(vec![5; 200 + 32 * COMMANDS])));
        records.push(((boundary as u64, 1u8).encode(), Some(vec![6; 41 * COMMANDS])));
        watch.time(|| {
            let mut batch = store.begin();
            for key in &keys {
                let _before = batch.get(&contract, key).unwrap();
                batch.set(&contract, key, vec![boundary as u8; 16]).unwrap();
            }
            batch.root().unwrap();
            store.commit(batch, Vec::new(), records).unwrap();
        });
    }
    let commands = (boundaries * COMMANDS) as f64;
    (watch.processor.as_secs_f64() / commands, watch.waited.as_secs_f64() / commands)
}
